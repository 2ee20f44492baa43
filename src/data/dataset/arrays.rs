//! Datasets from arrays, and from anything with [`Rows`].

use super::stage::{Job, Jobs, Pass, Stage};
use super::{Cardinality, Dataset, Item};
use crate::data::Rows;
use crate::error::{Error, Result, ensure};
use crate::shape::Dims;
use crate::tensor::Tensor;
use std::sync::Arc;

/// The inputs, the targets or the weights of a dataset: an array, several of them, or `()` for none.
///
/// Anything with [`Rows`] that owns its values converts into it: arrays of floats, integers or booleans, tensors,
/// vectors; several are `[Arc::new(a) as Arc<dyn Rows>, Arc::new(b)]`. An array that others use as well is
/// given as `Arc<Array…>`, which is not copied.
#[derive(Clone, Default)]
pub struct Columns(Vec<Arc<dyn Rows>>);

impl<R: Rows + 'static> From<R> for Columns {
    fn from(rows: R) -> Self {
        Columns(vec![Arc::new(rows)])
    }
}

impl From<()> for Columns {
    fn from((): ()) -> Self {
        Columns::default()
    }
}

impl<const N: usize> From<[Arc<dyn Rows>; N]> for Columns {
    fn from(rows: [Arc<dyn Rows>; N]) -> Self {
        Columns(rows.to_vec())
    }
}

impl From<Vec<Arc<dyn Rows>>> for Columns {
    fn from(rows: Vec<Arc<dyn Rows>>) -> Self {
        Columns(rows)
    }
}

impl Dataset {
    /// The samples of arrays, whose first axis counts them (Keras: `tf.data.Dataset.from_tensor_slices`).
    ///
    /// The arrays become part of the dataset, in their own element type: images of bytes take a quarter of the memory
    /// that they would as `f32`. `y` is `()` where there are no targets; several inputs or targets are as
    /// [`Columns`] says.
    ///
    /// ```
    /// use cornu::data::Dataset;
    /// let digits = cornu::datasets::digits();
    /// let data = Dataset::from_arrays(digits.x, digits.y)?.shuffle(2000).batch(32);
    /// assert_eq!(data.iter().next().unwrap()?.x[0].shape(), [32, 8, 8, 1]);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there is no input or the arrays differ in their number of samples.
    pub fn from_arrays(x: impl Into<Columns>, y: impl Into<Columns>) -> Result<Dataset> {
        Self::from_weighted_arrays(x, y, ())
    }

    /// As [`from_arrays`](Self::from_arrays), with how much each sample counts: an array of shape `(samples,)`, or one
    /// for each target.
    ///
    /// # Errors
    /// As [`from_arrays`](Self::from_arrays).
    pub fn from_weighted_arrays(
        x: impl Into<Columns>,
        y: impl Into<Columns>,
        weights: impl Into<Columns>,
    ) -> Result<Dataset> {
        let parts = [x.into().0, y.into().0, weights.into().0];
        let n = parts[0].first().map(|rows| rows.len());
        let n = n.ok_or_else(|| Error::Data("a dataset needs at least one array of inputs".to_owned()))?;
        for (name, rows) in ["x", "y", "sample weights"].iter().zip(&parts) {
            if let Some(other) = rows.iter().find(|rows| rows.len() != n) {
                return Err(Error::Data(format!(
                    "x has {n} samples, {name} has {}; all arrays must have as many",
                    other.len()
                )));
            }
        }
        ensure!(n > 0, Data, "x is empty: it has no samples");
        Ok(Dataset { ready: true, ..Dataset::new(Arrays { parts: Arc::new(parts), n }) })
    }
}

struct Arrays {
    /// x, y and weights.
    parts: Arc<[Vec<Arc<dyn Rows>>; 3]>,
    n: usize,
}

impl Stage for Arrays {
    fn jobs(&self, _pass: Pass) -> Jobs {
        let parts = self.parts.clone();
        Box::new((0..self.n).map(move |i| {
            let parts = parts.clone();
            Job::new(move || {
                let [x, y, weights] = &*parts;
                let row = |part: &[Arc<dyn Rows>]| part.iter().map(|rows| row(&**rows, i)).collect();
                Ok(Item { x: row(x), y: row(y), weights: row(weights) })
            })
        }))
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Known(self.n)
    }
}

/// Sample `i`.
fn row(rows: &dyn Rows, i: usize) -> Tensor {
    let shape: Dims = rows.sample_shape();
    let mut sample = Tensor::zeros(shape);
    rows.gather(&[i], sample.data_mut());
    sample
}
