//! CIFAR-10: 50,000 + 10,000 colour images (32x32) of ten kinds of things.
//!
//! A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009,
//! <https://www.cs.toronto.edu/~kriz/cifar.html>. cornu reads the binary version, 162 MB.

use super::{Split, cifar::CIFAR10};
use crate::error::Result;
use std::path::Path;

/// What each label stands for.
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Reads the training and the test part: from `folder`, which holds `cifar-10-binary.tar.gz` or its unpacked files; else
/// from the archive in [`cache_dir`](super::cache_dir), to where the feature `download` brings it.
///
/// ```no_run
/// let (train, test) = cornu::datasets::cifar10::load("data")?;
/// assert_eq!((train.x.dim(), test.x.dim()), ((50_000, 32, 32, 3), (10_000, 32, 32, 3)));
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When the files are nowhere or not what they should be: damaged, of another size, with other labels.
pub fn load(folder: impl AsRef<Path>) -> Result<(Split, Split)> {
    CIFAR10.load(Some(folder.as_ref()), 0)
}

/// As [`load`], from the cache (Keras: `load_data`).
///
/// # Errors
/// As [`load`].
pub fn load_data() -> Result<(Split, Split)> {
    CIFAR10.load(None, 0)
}
