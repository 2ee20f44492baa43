//! California housing: 20,640 districts of 1990 with eight measurements each, and the median price of a house there.
//!
//! R. K. Pace and R. Barry, *Sparse Spatial Autoregressions*, 1997, in the form that Keras gave it:
//! `california_housing.npz`. The columns have very different units: put a `Normalization` layer first.

use super::origin::{Checksum, Origin, locate};
use crate::data::{RandomState, npy};
use crate::error::{Context, Error, Result, ensure};
use ndarray::{Array1, Array2, Axis, Ix1, Ix2};
use std::path::Path;

const ORIGIN: Origin = Origin {
    folder: "california_housing",
    file: "california_housing.npz",
    url: "https://storage.googleapis.com/tensorflow/tf-keras-datasets/california_housing.npz",
    checksum: Checksum::Sha256("1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f"),
};

/// The names of the columns.
pub const FEATURES: [&str; 8] =
    ["MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup", "Latitude", "Longitude"];

/// Rows of a table and what is to be predicted for each: one part of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The measurements, of shape `(rows, 8)`.
    pub x: Array2<f32>,
    /// The prices in dollars, of shape `(rows,)`.
    pub y: Array1<f32>,
}

/// How the table is read: Keras' arguments of `load_data`, with its defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    small: bool,
    test_split: f64,
    seed: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { small: false, test_split: 0.2, seed: 113 }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only the first 600 rows (Keras: `version="small"`). Default: all.
    pub fn small(mut self, small: bool) -> Self {
        self.small = small;
        self
    }

    /// The part of the rows that is for the test. Default: 0.2.
    pub fn test_split(mut self, fraction: f64) -> Self {
        self.test_split = fraction;
        self
    }

    /// The seed of the order of the rows. Default: 113.
    pub fn seed(mut self, seed: u32) -> Self {
        self.seed = seed;
        self
    }
}

/// Reads the training and the test part: from `california_housing.npz` in `folder`, else in
/// [`cache_dir`](super::cache_dir), to where the feature `download` brings it. Rows come in Keras' order.
///
/// # Errors
/// When the file is nowhere or not what it should be; when `test_split` is not at least 0 and below 1.
pub fn load(folder: impl AsRef<Path>, options: Options) -> Result<(Table, Table)> {
    read(Some(folder.as_ref()), options)
}

/// As [`load`], from the cache (Keras: `load_data`).
///
/// # Errors
/// As [`load`].
pub fn load_data(options: Options) -> Result<(Table, Table)> {
    read(None, options)
}

fn read(given: Option<&Path>, options: Options) -> Result<(Table, Table)> {
    let Options { small, test_split, seed } = options;
    ensure!(
        (0.0..1.0).contains(&test_split),
        Argument,
        "test_split is {test_split}; it must be at least 0 and below 1"
    );
    let path = locate(given, &ORIGIN)?;
    let mut arrays = npy::read_npz(&path)?;
    let mut parse = || {
        let mut take = |name: &str| {
            let place = arrays.iter().position(|(known, _)| known == name);
            let place = place.ok_or_else(|| Error::Format(format!("it has no array '{name}'")))?;
            Ok::<_, Error>(std::mem::take(&mut arrays[place].1))
        };
        let shape = |error: ndarray::ShapeError| Error::Format(error.to_string());
        let x = take("x")?.into_dimensionality::<Ix2>().map_err(shape)?;
        let y = take("y")?;
        let y = y.to_shape(y.len()).map_err(shape)?.to_owned().into_dimensionality::<Ix1>().map_err(shape)?;
        ensure!(
            x.ncols() == FEATURES.len() && x.nrows() == y.len() && !y.is_empty(),
            Format,
            "x has the shape {:?} and y {:?}; expected (rows, 8) and (rows,)",
            x.shape(),
            y.shape()
        );
        let mut rows: Vec<usize> = (0..if small { y.len().min(600) } else { y.len() }).collect();
        RandomState::new(seed).shuffle(&mut rows);
        let (train, test) = rows.split_at((rows.len() as f64 * (1.0 - test_split)) as usize);
        let part = |rows: &[usize]| Table { x: x.select(Axis(0), rows), y: y.select(Axis(0), rows) };
        Ok((part(train), part(test)))
    };
    parse().at(|| format!("file '{}'", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A table whose numbers tell their row.
    fn write(folder: &Path, rows: usize, columns: usize) {
        let npy = |array: &ndarray::ArrayD<f32>| {
            let path = folder.join("array.npy");
            npy::write(&path, array).unwrap();
            std::fs::read(path).unwrap()
        };
        let mut archive = zip::ZipWriter::new(std::fs::File::create(folder.join(ORIGIN.file)).unwrap());
        let x = Array2::from_shape_fn((rows, columns), |(i, j)| (i * 10 + j) as f32).into_dyn();
        let y = Array1::from_shape_fn(rows, |i| i as f32).into_dyn();
        for (name, array) in [("x.npy", x), ("y.npy", y)] {
            archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(&npy(&array)).unwrap();
        }
        archive.finish().unwrap();
    }

    #[test]
    fn rows_come_in_the_order_of_keras() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 20, 8);
        let (train, test) = load(folder.path(), Options::new()).unwrap();
        // The order of numpy.random.RandomState(113).
        assert_eq!(train.y.to_vec(), [14., 11., 19., 17., 1., 4., 8., 3., 13., 15., 16., 9., 0., 7., 6., 18.]);
        assert_eq!(test.y.to_vec(), [12., 10., 2., 5.]);
        assert_eq!(test.x.row(1).to_vec(), [100., 101., 102., 103., 104., 105., 106., 107.]);
        write(folder.path(), 700, 8);
        let (train, test) = load(folder.path(), Options::new().small(true).test_split(0.5).seed(1)).unwrap();
        assert_eq!((train.y.len(), test.y.len()), (300, 300));
        assert!(train.y.iter().chain(&test.y).all(|&y| y < 600.0));
    }

    #[test]
    fn mistakes_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 5, 7);
        assert!(load(folder.path(), Options::new()).unwrap_err().to_string().contains("(rows, 8)"));
        assert!(load(folder.path(), Options::new().test_split(1.0)).is_err());
        std::fs::write(folder.path().join(ORIGIN.file), b"PK").unwrap();
        assert!(load(folder.path(), Options::new()).unwrap_err().to_string().contains("california_housing.npz"));
    }
}
