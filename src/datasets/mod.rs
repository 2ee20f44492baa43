//! Data sets that many start with.
//!
//! | module | what | where it lies |
//! |---|---|---|
//! | [`mnist`] | 70,000 handwritten digits, 28x28 | four IDX files, or `mnist.npz` |
//! | [`fashion_mnist`] | 70,000 pieces of clothing, 28x28 | four IDX files |
//! | [`cifar10`], [`cifar100`] | 60,000 colour images each, 32x32 | the authors' binary archive or its files |
//! | `imdb`, `reuters` | film reviews and newswires as word numbers (feature `keras`) | Keras' `.npz` |
//! | `california_housing` | 20,640 districts, eight measurements, prices (feature `keras`) | Keras' `.npz` |
//! | [`digits()`] | 1,797 handwritten digits, 8x8 | inside the crate |
//! | [`wine`] | 178 wines with 13 measurements each, of 3 kinds | inside the crate |
//!
//! [`idx`] reads other sets in MNIST's format (KMNIST, EMNIST, your own).
//!
//! `load(folder)` looks in that folder and then in [`cache_dir`]; `load_data()` in the latter alone. With the feature
//! `download` what is missing comes from its authors or from where Keras takes it, and is kept in the cache: checked
//! against the published checksum, in one piece or not at all, and going on where an earlier attempt broke off.

#[cfg(feature = "keras")]
pub mod california_housing;
mod cifar;
pub mod cifar10;
pub mod cifar100;
mod digits;
#[cfg(feature = "download")]
mod download;
pub mod fashion_mnist;
pub mod idx;
#[cfg(feature = "keras")]
pub mod imdb;
pub mod mnist;
mod origin;
#[cfg(feature = "keras")]
mod pickle;
#[cfg(feature = "keras")]
pub mod reuters;
#[cfg(feature = "keras")]
mod text;
pub mod wine;

pub use digits::digits;
pub use origin::cache_dir;
#[cfg(feature = "keras")]
pub use text::{Texts, Words};

use ndarray::{Array1, Array4};

/// Images and the class of each: one part (training or test) of a data set.
///
/// The pixels stay bytes, which takes a quarter of the memory of `f32`; a model reads them as they
/// are. To bring them to 0..1, either let the first layer be `Rescaling::new(1.0 / 255.0)`, which then
/// is part of the saved model, or train on [`x_f32`](Self::x_f32).
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// The images, of shape `(samples, height, width, channels)`: grey ones have one channel.
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

    /// The images as `f32` between 0 and 1, of shape `(samples, height, width, channels)`.
    pub fn x_f32(&self) -> Array4<f32> {
        let full = f32::from(self.full);
        self.x.mapv(|pixel| f32::from(pixel) / full)
    }
}
