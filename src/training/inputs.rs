//! Data on its way into a model: what callers hand in, checked, and gathered into batches.

use crate::data::Rows;
use crate::error::{Error, Result, ensure};
use crate::layer::Values;
use crate::runtime::{Workspace, threads};
use crate::shape::Dims;
use crate::tensor::Tensor;
use std::ops::Range;
use std::sync::Arc;

/// The inputs or the targets of a model: one array, or one for each.
///
/// A reference to any `ndarray` array or view of floats, integers or booleans converts into it:
/// `model.fit(&x, &y, …)`; several inputs are `[&a as &dyn Rows, &b]`.
#[derive(Clone)]
pub struct Inputs<'a>(pub(crate) Vec<&'a dyn Rows>);

impl<'a, R: Rows> From<&'a R> for Inputs<'a> {
    fn from(rows: &'a R) -> Self {
        Inputs(vec![rows])
    }
}

impl<'a, const N: usize> From<[&'a dyn Rows; N]> for Inputs<'a> {
    fn from(rows: [&'a dyn Rows; N]) -> Self {
        Inputs(rows.to_vec())
    }
}

impl<'a> From<Vec<&'a dyn Rows>> for Inputs<'a> {
    fn from(rows: Vec<&'a dyn Rows>) -> Self {
        Inputs(rows)
    }
}

impl Inputs<'_> {
    /// The number of samples, the same in all arrays and not zero.
    pub(super) fn samples(&self, what: &str) -> Result<usize> {
        let Some(first) = self.0.first() else {
            return Err(Error::Data(format!("{what} holds no array")));
        };
        let n = first.len();
        ensure!(n > 0, Data, "{what} is empty: it has no samples");
        for (i, rows) in self.0.iter().enumerate() {
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
        self.0.first().map(|rows| rows.sample_shape()).unwrap_or_default()
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

/// Arrays that belong together.
#[derive(Clone, Copy)]
pub(crate) struct Data<'a> {
    pub x: &'a Inputs<'a>,
    pub y: &'a Inputs<'a>,
    pub weights: Option<&'a Inputs<'a>>,
}

impl<'a> Data<'a> {
    /// The batch of these rows.
    pub fn batch(self, rows: &'a [usize], first_sample: usize, workspace: &Arc<Workspace>) -> Result<Batch<'a>> {
        let collect = |source: &Inputs<'_>| gather(source, rows, workspace);
        Ok(Batch {
            x: self.x,
            y: collect(self.y),
            sample_weight: self.weights.map(collect).unwrap_or_default(),
            rows,
            first_sample: first_sample as u64,
        })
    }
}

/// A batch: rows of the data, their targets and weights.
pub(crate) struct Batch<'a> {
    pub x: &'a Inputs<'a>,
    /// The targets of these rows, array by array.
    pub y: Values,
    /// Their weights: none, the same for all outputs, or an array for each of the targets.
    pub sample_weight: Values,
    pub rows: &'a [usize],
    /// The place in the epoch of the first row.
    pub first_sample: u64,
}

impl Batch<'_> {
    /// The weights of the samples for the target array `i`.
    pub fn weight(&self, i: usize) -> Option<&Tensor> {
        if self.sample_weight.len() == 1 { self.sample_weight.first() } else { self.sample_weight.get(i) }
    }

    /// The inputs for some of the rows.
    pub fn gather(&self, range: Range<usize>, workspace: &Arc<Workspace>) -> Values {
        gather(self.x, &self.rows[range], workspace)
    }
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
    x.0.iter().map(one).collect()
}
