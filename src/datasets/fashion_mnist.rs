//! Fashion-MNIST: 60,000 + 10,000 grey images (28x28) of ten kinds of clothing.
//!
//! H. Xiao, K. Rasul and R. Vollgraf, *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
//! Learning Algorithms*, 2017, arXiv:1708.07747; (c) 2017 Zalando SE, MIT licence. cornu downloads
//! nothing: the four files lie in `examples/data/fashion-mnist` of its repository.

use super::{Split, idx};
use crate::error::Result;
use std::path::Path;

/// What each label stands for.
pub const CLASSES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// Reads the training and the test part from the folder that holds the four IDX files, with or
/// without `.gz`, in any of the spellings that [`idx::load`] lists.
///
/// ```no_run
/// let (train, _) = cornu::datasets::fashion_mnist::load("examples/data/fashion-mnist")?;
/// println!("{}", cornu::datasets::fashion_mnist::CLASSES[usize::from(train.y[0])]);
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When a file is missing or is not what it should be: damaged, of another size, with other labels.
pub fn load(folder: impl AsRef<Path>) -> Result<(Split, Split)> {
    idx::load_checked(folder.as_ref(), 28, 28, 10)
}
