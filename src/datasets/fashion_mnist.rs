//! Fashion-MNIST: 60,000 + 10,000 grey images (28x28) of ten kinds of clothing.
//!
//! H. Xiao, K. Rasul and R. Vollgraf, *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
//! Learning Algorithms*, 2017, arXiv:1708.07747; (c) 2017 Zalando SE, MIT licence. The four
//! files lie in `examples/data/fashion-mnist` of cornu's repository.

use super::Split;
use super::idx::Files;
use super::origin::{Checksum, Origin};
use crate::error::Result;
use std::path::Path;

const FILES: Files = Files(&[
    origin("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    origin("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
    origin("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
    origin("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
]);

const fn origin(file: &'static str, md5: &'static str) -> Origin {
    Origin {
        folder: "fashion_mnist",
        file,
        url: "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        checksum: Checksum::Md5(md5),
    }
}

/// What each label stands for.
pub const CLASSES: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];

/// Reads the training and the test part from the folder that holds the four IDX files, with or
/// without `.gz`, in any of the spellings that [`idx::load`](super::idx::load) lists. If they are not there they are read
/// from [`cache_dir`](super::cache_dir), to where the feature `download` brings them.
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
    FILES.load(Some(folder.as_ref()), 28, 28, 10)
}

/// As [`load`], from the cache (Keras: `load_data`).
///
/// # Errors
/// As [`load`].
pub fn load_data() -> Result<(Split, Split)> {
    FILES.load(None, 28, 28, 10)
}
