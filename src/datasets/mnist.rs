//! MNIST: 60,000 + 10,000 grey images (28x28) of handwritten digits.
//!
//! Y. LeCun, C. Cortes and C. J. C. Burges, *The MNIST database of handwritten digits*, CC BY-SA 3.0.
//! cornu downloads nothing: the four files lie in `examples/data/mnist` of its repository, and in
//! many other places under the same names.

use super::{Split, idx};
use crate::error::Result;
use std::path::Path;

/// Reads the training and the test part from the folder that holds the four IDX files, with or
/// without `.gz`, in any of the spellings that [`idx::load`] lists.
///
/// ```no_run
/// let (train, test) = cornu::datasets::mnist::load("examples/data/mnist")?;
/// assert_eq!(train.x.shape(), [60_000, 28, 28, 1]);
/// assert_eq!(test.y.len(), 10_000);
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When a file is missing or is not what it should be: damaged, of another size, with other labels.
pub fn load(folder: impl AsRef<Path>) -> Result<(Split, Split)> {
    idx::load_checked(folder.as_ref(), 28, 28, 10)
}
