//! Data on its way into a model: what callers hand in, checked, and gathered into batches.

use crate::data::{Dataset, Rows};
use crate::error::{Error, Result, ensure};
use crate::layer::Values;
use crate::runtime::{Workspace, threads};
use crate::shape::Dims;
use crate::tensor::Tensor;
use std::sync::Arc;

/// The inputs or the targets of a model: one array, or one for each; or a [`Dataset`], which brings both.
///
/// A reference to any `ndarray` array or view of floats, integers or booleans converts into it:
/// `model.fit(&x, &y, …)`; several inputs are `[&a as &dyn Rows, &b]`. So does a reference to a dataset, with `()` in
/// the place of the targets: `model.fit(&dataset, (), …)`; and to a folder of images.
#[derive(Clone)]
pub enum Inputs<'a> {
    /// Arrays; none stand for `()`.
    Arrays(Vec<&'a dyn Rows>),
    /// Inputs, targets and weights together.
    Dataset(&'a Dataset),
}

impl<'a, R: Rows> From<&'a R> for Inputs<'a> {
    fn from(rows: &'a R) -> Self {
        Inputs::Arrays(vec![rows])
    }
}

impl<'a, const N: usize> From<[&'a dyn Rows; N]> for Inputs<'a> {
    fn from(rows: [&'a dyn Rows; N]) -> Self {
        Inputs::Arrays(rows.to_vec())
    }
}

impl<'a> From<Vec<&'a dyn Rows>> for Inputs<'a> {
    fn from(rows: Vec<&'a dyn Rows>) -> Self {
        Inputs::Arrays(rows)
    }
}

impl<'a> From<&'a Dataset> for Inputs<'a> {
    fn from(dataset: &'a Dataset) -> Self {
        Inputs::Dataset(dataset)
    }
}

/// A folder of images is its dataset.
///
/// ```
/// use cornu::data::image_dataset_from_directory;
/// use cornu::prelude::*;
/// # let folder = tempfile::tempdir().unwrap();
/// # let photographs = folder.path();
/// # for class in ["cat", "dog"] {
/// #     std::fs::create_dir(photographs.join(class)).unwrap();
/// #     for i in 0..4 {
/// #         let pixels = ndarray::Array3::from_elem((8, 8, 3), 40.0 * i as f32);
/// #         cornu::data::image::save_img(photographs.join(class).join(format!("{i}.png")), &pixels)?;
/// #     }
/// # }
/// let (train, validation) = image_dataset_from_directory(photographs)
///     .image_size(8, 8)
///     .validation_split(0.25)
///     .seed(1)
///     .verbose(false)
///     .load_both()?;
/// let mut model = Sequential::new().with_seed(1);
/// model.add(Input::new([8, 8, 3])).add(Rescaling::new(1.0 / 255.0)).add(Flatten::new());
/// model.add(Dense::new(2).activation("softmax"));
/// model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])?;
/// let history = model.fit(&train, (), Fit::new().epochs(2).validation_data(&validation, ()).verbose(0))?;
/// let scores = model.evaluate(&validation, (), Evaluate::default())?;
/// assert!((history.last("val_loss").unwrap() - scores["loss"]).abs() < 1e-6);
/// # Ok::<(), cornu::Error>(())
/// ```
#[cfg(feature = "image")]
impl<'a> From<&'a crate::data::ImageDataset> for Inputs<'a> {
    fn from(images: &'a crate::data::ImageDataset) -> Self {
        Inputs::Dataset(&images.dataset)
    }
}

impl From<()> for Inputs<'_> {
    fn from((): ()) -> Self {
        Inputs::Arrays(Vec::new())
    }
}

impl<'a> Inputs<'a> {
    /// The arrays; a dataset has none.
    pub(crate) fn arrays(&self) -> &[&'a dyn Rows] {
        match self {
            Inputs::Arrays(arrays) => arrays,
            Inputs::Dataset(_) => &[],
        }
    }

    /// Whether it is `()`.
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Inputs::Arrays(arrays) if arrays.is_empty())
    }

    /// The number of samples, the same in all arrays and not zero.
    pub(super) fn samples(&self, what: &str) -> Result<usize> {
        ensure!(
            !matches!(self, Inputs::Dataset(_)),
            Argument,
            "{what} is a Dataset, which goes into fit, evaluate and predict as their first argument; here arrays are expected"
        );
        let Some(first) = self.arrays().first() else {
            return Err(Error::Data(format!("{what} holds no array")));
        };
        let n = first.len();
        ensure!(n > 0, Data, "{what} is empty: it has no samples");
        for (i, rows) in self.arrays().iter().enumerate() {
            ensure!(
                rows.len() == n,
                Data,
                "the arrays of {what} have unequal lengths: number 0 has {n} samples, number {i} has {}",
                rows.len()
            );
        }
        Ok(n)
    }

    /// The shape of one sample of the first array.
    pub(super) fn sample_shape(&self) -> Dims {
        self.arrays().first().map(|rows| rows.sample_shape()).unwrap_or_default()
    }
}

/// Checks that inputs and targets go together, and returns the number of samples.
pub(super) fn check_pair(x: &Inputs<'_>, y: &Inputs<'_>) -> Result<usize> {
    let n = x.samples("x")?;
    let targets = y.samples("y")?;
    ensure!(n == targets, Data, "x has {n} samples and y has {targets}; they must have as many");
    Ok(n)
}

pub(super) fn check_batch_size(batch_size: usize) -> Result<()> {
    ensure!(batch_size > 0, Argument, "batch_size must be at least 1");
    Ok(())
}

pub(super) fn check_weights(weights: Option<&Inputs<'_>>, n: usize) -> Result<()> {
    if let Some(weights) = weights {
        let len = weights.samples("sample_weight")?;
        ensure!(len == n, Data, "sample_weight has {len} values for {n} samples");
    }
    Ok(())
}

/// Values that a thread gathers at once.
const GATHERED: usize = 1 << 13;

/// The inputs for these rows.
pub(crate) fn gather(x: &Inputs<'_>, rows: &[usize], workspace: &Arc<Workspace>) -> Values {
    let one = |source: &&dyn Rows| {
        let mut dims: Dims = smallvec::smallvec![rows.len()];
        dims.extend_from_slice(&source.sample_shape());
        let mut tensor = Tensor::scratch(&dims, workspace);
        let each = tensor.len() / rows.len().max(1);
        let most = (GATHERED / each.max(1)).max(1);
        threads::for_each_chunk(tensor.data_mut(), most * each, |i, part| {
            source.gather(&rows[i * most..][..part.len() / each], part);
        });
        tensor
    };
    x.arrays().iter().map(one).collect()
}
