//! In the steady state a step allocates nothing that grows with the batch or with the layers' widths.

use cornu::prelude::*;
use ndarray::{Array1, Array2, Array4};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the bytes that are asked for.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
/// The tests of this file count one after another.
static ALONE: Mutex<()> = Mutex::new(());

// SAFETY: all calls go to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The fewest bytes of any of a few calls: threads may allocate a queue now and then.
fn bytes(mut call: impl FnMut() -> cornu::Result<()>) -> usize {
    (0..4).for_each(|_| call().unwrap());
    (0..8)
        .map(|_| {
            let before = BYTES.load(Ordering::Relaxed);
            call().unwrap();
            BYTES.load(Ordering::Relaxed) - before
        })
        .min()
        .unwrap_or(0)
}

fn lenet(width: usize) -> Sequential {
    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([12, 12, 1]))
        .add(Conv2D::new(width, 3).padding(Padding::Same).activation("relu"))
        .add(BatchNormalization::new())
        .add(MaxPooling2D::new(2))
        .add(Conv2D::new(2 * width, 3).activation("relu"))
        .add(AveragePooling2D::new(2))
        .add(Flatten::new())
        .add(Dense::new(8 * width).activation("tanh"))
        .add(Dropout::new(0.5))
        .add(Dense::new(10).activation("softmax"));
    model
}

fn mlp(width: usize) -> Sequential {
    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([12, 12, 1]))
        .add(Flatten::new())
        .add(Dense::new(16 * width).activation("relu"))
        .add(Dense::new(10).activation("softmax"));
    model
}

fn batch(n: usize) -> (Array4<f32>, Array1<u8>) {
    (Array4::from_elem((n, 12, 12, 1), 0.5), Array1::from_shape_fn(n, |i| (i % 10) as u8))
}

/// What a step may allocate: lists of its nodes and tensors, and for each piece of a batch as much again. The
/// values between the layers of these networks take far more.
fn room(samples: usize) -> usize {
    (128 << 10) + 200 * samples
}

#[test]
fn a_training_step() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for make in [lenet as fn(usize) -> Sequential, mlp] {
        for optimizer in ["adam", "sgd"] {
            for (width, n) in [(4, 64), (4, 512), (32, 64), (32, 512)] {
                let mut model = make(width);
                model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"]).unwrap();
                let (x, y) = batch(n);
                let used = bytes(|| model.train_on_batch(&x, &y).map(|_| ()));
                assert!(used < room(n), "{optimizer}, width {width}, batch {n}: {used} bytes in a step");
            }
        }
    }
}

#[test]
fn a_prediction() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for make in [lenet as fn(usize) -> Sequential, mlp] {
        for (width, n) in [(4, 1), (4, 512), (32, 1), (32, 512)] {
            let mut model = make(width);
            model.build().unwrap();
            let (x, _) = batch(n);
            let mut y = Array2::zeros((n, 10));
            let mut predictor = model.predictor();
            let used = bytes(|| predictor.predict_into(&x, y.view_mut()));
            assert!(used < room(n), "width {width}, batch {n}: {used} bytes in a prediction");
        }
    }
}

/// So many channels that one value for each, beside the lists, is more than a prediction may allocate.
#[test]
fn a_prediction_of_a_normalized_convolution() {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([2, 2, 1])).add(Conv2D::new(1 << 15, 1)).add(BatchNormalization::new());
    model.add(GlobalAveragePooling2D::new()).add(Dense::new(10));
    model.build().unwrap();
    let (x, mut y) = (Array4::from_elem((1, 2, 2, 1), 0.5), Array2::zeros((1, 10)));
    let mut predictor = model.predictor();
    let used = bytes(|| predictor.predict_into(&x, y.view_mut()));
    assert!(used < room(1), "{used} bytes in a prediction");
}
