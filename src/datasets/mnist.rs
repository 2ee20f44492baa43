//! MNIST: 60,000 + 10,000 grey images (28x28) of handwritten digits.
//!
//! Y. LeCun, C. Cortes and C. J. C. Burges, *The MNIST database of handwritten digits*, CC BY-SA 3.0.
//! The four files lie in `examples/data/mnist` of cornu's repository, and in many other places under the same names.

use super::Split;
use super::idx::Files;
use super::origin::{Checksum, Origin};
use crate::error::Result;
use std::path::Path;

const FILES: Files = Files(&[
    origin("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    origin("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
    origin("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
    origin("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
]);

const fn origin(file: &'static str, md5: &'static str) -> Origin {
    Origin {
        folder: "mnist",
        file,
        url: "https://ossci-datasets.s3.amazonaws.com/mnist/",
        checksum: Checksum::Md5(md5),
    }
}

/// Reads the training and the test part from the folder that holds the four IDX files, with or
/// without `.gz`, in any of the spellings that [`idx::load`](super::idx::load) lists, or Keras' `mnist.npz` (with the
/// feature `keras`). If they are not there they are read from [`cache_dir`](super::cache_dir), to where the feature
/// `download` brings them.
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
    let folder = folder.as_ref();
    #[cfg(feature = "keras")]
    if let Some(path) = Some(folder.join("mnist.npz")).filter(|path| path.is_file()) {
        return npz::read(&path);
    }
    FILES.load(Some(folder), 28, 28, 10)
}

/// As [`load`], from the cache (Keras: `load_data`).
///
/// # Errors
/// As [`load`].
pub fn load_data() -> Result<(Split, Split)> {
    FILES.load(None, 28, 28, 10)
}

/// The file that Keras downloads.
#[cfg(feature = "keras")]
mod npz {
    use crate::data::npy;
    use crate::datasets::{Split, idx};
    use crate::error::{Context, Error, Result, ensure};
    use ndarray::ArrayD;
    use std::path::Path;

    pub(super) fn read(path: &Path) -> Result<(Split, Split)> {
        let mut arrays = npy::read_npz(path)?;
        let mut bytes = |name: &str| -> Result<ArrayD<u8>> {
            let place = arrays.iter().position(|(known, _)| known == name);
            let place = place.ok_or_else(|| Error::Format(format!("it has no array '{name}'")))?;
            let array = std::mem::take(&mut arrays[place].1);
            let whole = array.iter().all(|v| v.fract() == 0.0 && (0.0..256.0).contains(v));
            ensure!(whole, Format, "'{name}' holds something else than whole numbers from 0 to 255");
            Ok(array.mapv(|v| v as u8))
        };
        let mut part = |name: &str| idx::split(bytes(&format!("x_{name}"))?, bytes(&format!("y_{name}"))?);
        let mut both = || {
            let parts = (part("train")?, part("test")?);
            idx::check(&parts, path, 28, 28, 10)?;
            Ok(parts)
        };
        both().at(|| format!("file '{}'", path.display()))
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::io::Write;

        #[test]
        fn the_file_of_keras_is_read() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("mnist.npz");
            let write = |largest: f32, side: usize| {
                let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
                for (name, n) in [("x_train", 3), ("y_train", 3), ("x_test", 2), ("y_test", 2)] {
                    let shape = if name.starts_with('x') { vec![n, side, side] } else { vec![n] };
                    let array = ArrayD::from_shape_fn(shape, |at| if at[0] == 1 { largest } else { at[0] as f32 });
                    let plain = folder.path().join("array.npy");
                    npy::write(&plain, &array).unwrap();
                    archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
                    archive.write_all(&std::fs::read(plain).unwrap()).unwrap();
                }
                archive.finish().unwrap();
            };
            write(9.0, 28);
            let (train, test) = crate::datasets::mnist::load(folder.path()).unwrap();
            assert_eq!((train.x.dim(), train.y.to_vec()), ((3, 28, 28, 1), vec![0, 9, 2]));
            assert_eq!((test.x[[1, 5, 5, 0]], test.y.to_vec()), (9, vec![0, 9]));
            for (largest, side, text) in [(300.0, 28, "0 to 255"), (12.0, 28, "labels above 9"), (1.0, 8, "8x8")] {
                write(largest, side);
                let error = crate::datasets::mnist::load(folder.path()).unwrap_err().to_string();
                assert!(error.contains(text) && error.contains("mnist.npz"), "{error}");
            }
        }
    }
}
