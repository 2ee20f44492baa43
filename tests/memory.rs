//! What a prediction takes at its peak besides the weights: a few buffers, not one for each layer.

use cornu::prelude::*;
use cornu::runtime::{set_weight_copies, threads};
use ndarray::{Array2, Array4};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the bytes that are in use, and the most that ever were.
struct Counting;

static USED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(used, Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that were in use during a call, beyond those before it.
fn peak(call: impl FnOnce()) -> usize {
    let before = USED.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    call();
    PEAK.load(Ordering::Relaxed) - before
}

/// Five blocks as those of VGG16, and two dense layers that hold most of the weights.
fn vgg() -> Sequential {
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([96, 96, 3]));
    for (convolutions, filters) in [(2, 32), (2, 64), (3, 128), (3, 256), (3, 256)] {
        for _ in 0..convolutions {
            model.add(Conv2D::new(filters, 3).padding(Padding::Same).activation("relu"));
        }
        model.add(MaxPooling2D::new(2));
    }
    model.add(Flatten::new()).add(Dense::new(2048).activation("relu")).add(Dense::new(1000).activation("softmax"));
    model
}

/// A chain of residual blocks on features that stay as large as they are.
fn residual() -> Model {
    let image = Input::new([64, 64, 16]).node();
    let mut x = image.clone();
    for _ in 0..12 {
        let norm = |x: &SymbolicTensor| BatchNormalization::new().call(x);
        let convolution = || Conv2D::new(16, 3).padding(Padding::Same);
        let y = Activation::relu().call(norm(&convolution().call(&x).unwrap()).unwrap()).unwrap();
        let y = norm(&convolution().call(&y).unwrap()).unwrap();
        x = Activation::relu().call(Add::new().call([&x, &y]).unwrap()).unwrap();
    }
    let y = GlobalAveragePooling2D::new().call(&x).unwrap();
    Model::new(&image, &y).unwrap()
}

// One test, since others would be counted with it.
#[test]
fn a_prediction_takes_a_few_buffers_and_the_copies_that_it_is_allowed() {
    threads::with_num_threads(2, || {
        let mut model = vgg();
        model.build().unwrap();
        let weights = 4 * model.count_params();
        let x = Array4::from_elem((1, 96, 96, 3), 0.5f32);
        let mut y = Array2::zeros((1, 1000));
        let largest = 4 * 96 * 96 * 32;
        // Without copies of the weights: what goes into a layer and what comes out of it.
        set_weight_copies(0);
        let least = peak(|| model.predictor().predict_into(&x, y.view_mut()).unwrap());
        assert!(least < 4 * largest + (2 << 20), "{least} bytes, where the largest layer's output takes {largest}");
        let first = y.clone();

        // With them a quarter of the weights more, as allowed.
        set_weight_copies(weights / 4);
        let more = peak(|| model.predictor().predict_into(&x, y.view_mut()).unwrap());
        assert!(least + weights / 8 < more, "{more} bytes with copies, {least} without");
        // What is between the products of Winograd's way takes 8 MiB at most.
        assert!(more < least + weights / 4 + (9 << 20), "{more} bytes besides the weights' {weights}");
        assert!(first.iter().zip(&y).all(|(a, b)| (a - b).abs() < 1e-4 * a), "copies change only the last digits");

        // They are given back where there is no room for them any more.
        let held = USED.load(Ordering::Relaxed);
        set_weight_copies(0);
        model.predictor().predict_into(&x, y.view_mut()).unwrap();
        let left = USED.load(Ordering::Relaxed);
        assert!(left + weights / 8 < held, "{held} bytes were held, now {left}");

        let model = residual();
        let x = Array4::from_elem((1, 64, 64, 16), 0.5f32);
        let mut y = Array2::zeros((1, 16));
        let layer = 4 * 64 * 64 * 16;
        let used = peak(|| model.predictor().predict_into(&x, y.view_mut()).unwrap());
        assert!(used < 6 * layer + (1 << 20), "{used} bytes, where a layer's output takes {layer}");
    });
}
