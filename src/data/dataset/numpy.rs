//! Datasets from NumPy's files.

use super::stage::{Job, Jobs, Pass, Stage};
use super::{Cardinality, Dataset, Item};
use crate::data::npy::{self, FileRows};
use crate::error::{Result, ensure};
use std::path::Path;
use std::sync::Arc;

impl Dataset {
    /// The samples of a `.npy` file, whose first axis counts them, which are read one by one when they are needed: the
    /// file may be larger than memory. Its targets, if it has some, come from [`zip`](Self::zip):
    ///
    /// ```
    /// use cornu::data::{Dataset, npy};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let (x, y) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    /// npy::write(&x, &ndarray::array![[1.0, 2.0], [3.0, 4.0]].into_dyn())?;
    /// npy::write(&y, &ndarray::array![0.0, 1.0].into_dyn())?;
    /// let data = Dataset::from_npy(&x)?.zip(&Dataset::from_npy(&y)?);
    /// let last = data.iter().last().unwrap()?;
    /// assert_eq!((last.x[0].data(), last.y[0].data()), (&[3.0, 4.0][..], &[1.0][..]));
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// An array in Fortran order is read as a whole.
    ///
    /// # Errors
    /// As [`npy::read`]; when it has no samples.
    pub fn from_npy(path: impl AsRef<Path>) -> Result<Dataset> {
        let path = path.as_ref();
        let Some(rows) = FileRows::open(path)? else { return Self::from_arrays(npy::read(path)?, ()) };
        ensure!(rows.len() > 0, Data, "file '{}' has no samples", path.display());
        Ok(Dataset::new(Npy(Arc::new(rows))))
    }

    /// The samples of two arrays of a `.npz` archive, in memory: `x` is the name of the inputs and `y` that of the
    /// targets, if there are some.
    ///
    /// # Errors
    /// As [`npy::read_npz`] and [`from_arrays`](Self::from_arrays); when the archive has no array of that name.
    #[cfg(feature = "keras")]
    pub fn from_npz<'a>(path: impl AsRef<Path>, x: &str, y: impl Into<Option<&'a str>>) -> Result<Dataset> {
        let mut arrays = npy::read_npz(path)?;
        let mut take = |name: &str| match arrays.iter().position(|(known, _)| known == name) {
            Some(i) => Ok(std::mem::take(&mut arrays[i].1)),
            None => {
                let known: Vec<&str> = arrays.iter().map(|(known, _)| known.as_str()).collect();
                Err(crate::Error::unknown_name("array", name, known))
            }
        };
        let x = take(x)?;
        match y.into() {
            Some(y) => Self::from_arrays(x, take(y)?),
            None => Self::from_arrays(x, ()),
        }
    }
}

struct Npy(Arc<FileRows>);

impl Stage for Npy {
    fn jobs(&self, _pass: Pass) -> Jobs {
        let rows = self.0.clone();
        Box::new((0..rows.len()).map(move |i| {
            let rows = rows.clone();
            Job::new(move || Ok(Item::from(rows.row(i)?)))
        }))
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Known(self.0.len())
    }
}
