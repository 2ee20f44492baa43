//! CIFAR-100: 50,000 + 10,000 colour images (32x32) of a hundred kinds of things in twenty groups.
//!
//! A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009,
//! <https://www.cs.toronto.edu/~kriz/cifar.html>. cornu reads the binary version, 161 MB.

use super::{Split, cifar::CIFAR100};
use crate::error::Result;
use std::path::Path;

/// Which of an image's two labels is meant (Keras: `label_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Labels {
    /// What it shows: 0 to 99.
    #[default]
    Fine,
    /// The group of that: 0 to 19.
    Coarse,
}

/// Reads the training and the test part: from `folder`, which holds `cifar-100-binary.tar.gz` or its unpacked files; else
/// from the archive in [`cache_dir`](super::cache_dir), to where the feature `download` brings it.
///
/// ```no_run
/// use cornu::datasets::cifar100::{Labels, load};
/// let (train, _) = load("data", Labels::Fine)?;
/// assert_eq!(train.x.dim(), (50_000, 32, 32, 3));
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When the files are nowhere or not what they should be: damaged, of another size, with other labels.
pub fn load(folder: impl AsRef<Path>, labels: Labels) -> Result<(Split, Split)> {
    CIFAR100.load(Some(folder.as_ref()), place(labels))
}

/// As [`load`], from the cache (Keras: `load_data`).
///
/// # Errors
/// As [`load`].
pub fn load_data(labels: Labels) -> Result<(Split, Split)> {
    CIFAR100.load(None, place(labels))
}

fn place(labels: Labels) -> usize {
    usize::from(labels == Labels::Fine)
}
