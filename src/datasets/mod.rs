//! Data sets that many start with.
//!
//! | module | what | where it lies |
//! |---|---|---|
//! | [`mnist`] | 70,000 handwritten digits, 28x28 | a folder of the four IDX files |
//! | [`fashion_mnist`] | 70,000 pieces of clothing, 28x28 | a folder of the four IDX files |
//! | [`digits()`] | 1,797 handwritten digits, 8x8 | inside the crate |
//! | [`wine`] | 178 wines with 13 measurements each, of 3 kinds | inside the crate |
//!
//! [`idx`] reads other sets in MNIST's format (KMNIST, EMNIST, your own).

mod digits;
pub mod fashion_mnist;
pub mod idx;
pub mod mnist;
pub mod wine;

pub use digits::digits;

use ndarray::{Array1, Array4};

/// Grey images and the class of each: one part (training or test) of a data set.
///
/// The pixels stay bytes, which takes a quarter of the memory of `f32`; a model reads them as they
/// are. To bring them to 0..1, either let the first layer be `Rescaling::new(1.0 / 255.0)`, which then
/// is part of the saved model, or train on [`x_f32`](Self::x_f32).
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The images, of shape `(samples, height, width, 1)`.
    pub x: Array4<u8>,
    /// The class of each image, of shape `(samples,)`.
    pub y: Array1<u8>,
    /// The pixel value that means full ink: 255, or 16 in [`digits()`].
    pub full: u8,
}

impl Split {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }

    /// The images as `f32` between 0 and 1, of shape `(samples, height, width, 1)`.
    pub fn x_f32(&self) -> Array4<f32> {
        let full = f32::from(self.full);
        self.x.mapv(|pixel| f32::from(pixel) / full)
    }
}
