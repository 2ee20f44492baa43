//! What is frozen: which layers, what it costs, and what it keeps.

use cornu::applications::ResNet20;
use cornu::prelude::*;
use ndarray::{Array1, Array4};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the bytes in use, and the most that there were.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
/// The tests of this file run one after another.
static ALONE: Mutex<()> = Mutex::new(());

// SAFETY: all calls go to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that the call needs beyond those in use before it.
fn peak<T>(call: impl FnOnce() -> T) -> usize {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    call();
    MOST.load(Ordering::Relaxed) - before
}

fn network() -> Sequential {
    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([6, 6, 1]))
        .add(Conv2D::new(4, 3).name("block1_conv"))
        .add(BatchNormalization::new().name("block1_norm"))
        .add(Conv2D::new(4, 3).name("block2_conv"))
        .add(BatchNormalization::new().name("block2_norm"))
        .add(Flatten::new())
        .add(Dense::new(3).activation("softmax").name("top"));
    model.build().unwrap();
    model
}

fn images(samples: usize, side: usize, channels: usize) -> (Array4<f32>, Array1<u8>) {
    let x = Array4::from_shape_fn((samples, side, side, channels), |(n, i, j, c)| {
        ((n * 31 + i * 7 + j * 13 + c * 5) % 29) as f32 / 29.0
    });
    (x, Array1::from_shape_fn(samples, |n| (n % 3) as u8))
}

fn learning(model: &Model) -> Vec<String> {
    model.trainable_weights().iter().map(|weight| weight.path().to_owned()).collect()
}

#[test]
fn layers_are_chosen_by_name_by_prefix_and_from_the_end() {
    let _alone = ALONE.lock();
    let mut model = network();
    let (block2, top) = (
        ["block2_conv/kernel", "block2_conv/bias", "block2_norm/gamma", "block2_norm/beta"],
        ["top/kernel", "top/bias"],
    );
    model.set_trainable_of(["block1_conv", "block1_norm"], false).unwrap();
    assert_eq!(learning(&model), [&block2[..], &top].concat());
    model.set_trainable(true);
    model.set_trainable_prefix("block1_", false).unwrap();
    assert_eq!(learning(&model), [&block2[..], &top].concat());
    model.set_trainable_prefix("block", false).unwrap();
    assert_eq!(learning(&model), top);
    model.freeze_all_but_last(3).unwrap();
    assert_eq!(learning(&model), [&block2[2..], &top].concat());
    model.freeze_all_but_last(0).unwrap();
    assert_eq!(learning(&model), [""; 0]);
    model.layer("top").unwrap().set_trainable(true);
    assert_eq!(learning(&model), top);

    // A wrong name changes nothing.
    assert!(model.set_trainable_of(["top", "block3"], false).unwrap_err().to_string().contains("block3"));
    assert!(model.set_trainable_prefix("blok", false).unwrap_err().to_string().contains("block1_conv"));
    assert!(model.freeze_all_but_last(7).unwrap_err().to_string().contains("only 6"));
    assert_eq!(learning(&model), top);
}

/// The five steps of fine-tuning: what is trained at each changes alone, and nothing is lost between them.
#[test]
fn compiling_again_keeps_weights() {
    let _alone = ALONE.lock();
    let mut model = network();
    let (x, y) = images(12, 6, 1);
    let train = |model: &mut Sequential| {
        let before = model.get_weights();
        model.compile("sgd", "sparse_categorical_crossentropy", ()).unwrap();
        assert_eq!(model.get_weights(), before);
        model.fit(&x, &y, Fit::new().epochs(1).verbose(0)).unwrap();
        let after = model.get_weights();
        let weights = model.weights();
        let changed = weights.iter().zip(before.iter().zip(&after)).filter(|(_, (before, after))| before != after);
        changed.map(|(weight, _)| weight.path().to_owned()).collect::<Vec<_>>()
    };
    model.set_trainable_prefix("block", false).unwrap();
    assert_eq!(train(&mut model), ["top/kernel", "top/bias"]);
    // The moving averages of the frozen block stay, those of the other move.
    model.set_trainable_prefix("block2_", true).unwrap();
    let block2 = ["conv/kernel", "conv/bias", "norm/gamma", "norm/beta", "norm/moving_mean", "norm/moving_variance"];
    let mut want: Vec<String> = block2.iter().map(|name| format!("block2_{name}")).collect();
    want.extend(["top/kernel".to_owned(), "top/bias".to_owned()]);
    let mut changed = train(&mut model);
    // A bias in front of a normalization has no gradient but rounding errors.
    changed.retain(|path| path != "block2_conv/bias");
    want.retain(|path| path != "block2_conv/bias");
    assert_eq!(changed, want);
}

/// In training as in inference: the moving averages count, not those of the batch.
#[test]
fn frozen_normalization_runs_in_inference_mode() {
    let _alone = ALONE.lock();
    let mut model = network();
    let (x, y) = images(12, 6, 1);
    model.set_trainable(false);
    model.layer("top").unwrap().set_trainable(true);
    model.compile("sgd", "sparse_categorical_crossentropy", ()).unwrap();
    // Without a step of the optimizer the loss of training is that of inference.
    model.set_learning_rate(0.0).unwrap();
    let trained = model.train_on_batch(&x, &y).unwrap().get("loss").unwrap();
    let tested = model.test_on_batch(&x, &y).unwrap().get("loss").unwrap();
    assert!((trained - tested).abs() < 1e-6, "{trained} and {tested}");
    model.set_trainable(true);
    model.compile("sgd", "sparse_categorical_crossentropy", ()).unwrap();
    let trained = model.train_on_batch(&x, &y).unwrap().get("loss").unwrap();
    assert!((trained - tested).abs() > 1e-3, "{trained} and {tested}");
}

/// A step with a frozen base needs hardly more memory than a prediction, and far less than one that trains it.
#[test]
fn a_frozen_base_keeps_nothing() {
    let _alone = ALONE.lock();
    let (x, y) = images(16, 32, 3);
    let model = || {
        let base = ResNet20::new().include_top(false).input_shape([32, 32, 3]).seed(1).build().unwrap();
        let mut model = Sequential::new().with_seed(2);
        model.add(Input::new([32, 32, 3])).add(base.as_layer()).add(GlobalAveragePooling2D::new()).add(Dense::new(3));
        model.build().unwrap();
        (base, model)
    };
    let step = |frozen: bool| {
        let (mut base, mut model) = model();
        base.set_trainable(!frozen);
        model.compile("sgd", "mse", ()).unwrap();
        let y = y.mapv(f32::from).insert_axis(ndarray::Axis(1)) * ndarray::Array2::<f32>::ones((1, 3));
        peak(|| model.train_on_batch(&x, &y).unwrap())
    };
    let predicted = {
        let (_, model) = model();
        peak(|| model.predict_on_batch(&x).unwrap())
    };
    let (frozen, trained) = (step(true), step(false));
    println!("predict {predicted} bytes, step with a frozen base {frozen}, with a base that learns {trained}");
    // Most of all: 16 images of 32 x 32 x 16 values, of which three are alive at once.
    assert!(frozen < 2 * predicted.max(16 * 32 * 32 * 16 * 4 * 3), "frozen {frozen}, predict {predicted}");
    assert!(frozen * 4 < trained, "frozen {frozen}, trained {trained}");
}
