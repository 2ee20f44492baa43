//! How targets and predictions vary together.

use super::{Metric, Running, metric};
use crate::error::{Result, ensure};
use crate::losses::align;
use crate::shape::resolve_axis;
use crate::tensor::Tensor;

/// Means, variances and covariance along an axis.
struct Moments {
    mean_y: f64,
    mean_p: f64,
    var_y: f64,
    var_p: f64,
    covariance: f64,
}

/// `value(moments)` of each line of values along `axis`.
fn along(axis: isize, y_true: &Tensor, y_pred: &Tensor, value: impl Fn(Moments) -> f64) -> Result<Tensor> {
    let y_true = align(y_true, y_pred.shape())?;
    let axis = resolve_axis(axis, y_pred.rank())?;
    ensure!(!y_pred.is_empty(), Shape, "predictions of shape {:?} have no values", y_pred.shape());
    let mut shape = y_pred.shape().to_vec();
    let n = shape.remove(axis);
    let inner: usize = shape[axis..].iter().product();
    let mut values = Vec::with_capacity(y_pred.len() / n);
    for line in 0..y_pred.len() / n {
        let start = line / inner * inner * n + line % inner;
        let pairs =
            || (0..n).map(|i| start + i * inner).map(|i| (f64::from(y_true.data()[i]), f64::from(y_pred.data()[i])));
        let mean = |f: &dyn Fn((f64, f64)) -> f64| pairs().map(f).sum::<f64>() / n as f64;
        let (mean_y, mean_p) = (mean(&|(y, _)| y), mean(&|(_, p)| p));
        values.push(value(Moments {
            mean_y,
            mean_p,
            var_y: mean(&|(y, _)| (y - mean_y).powi(2)),
            var_p: mean(&|(_, p)| (p - mean_p).powi(2)),
            covariance: mean(&|(y, p)| (y - mean_y) * (p - mean_p)),
        }) as f32);
    }
    Tensor::new(shape, values)
}

metric! {
    /// The mean of Pearson's correlation between targets and predictions along `axis`, from -1 to 1.
    PearsonCorrelation(), "pearson_correlation", Running;
    /// The axis of the values to compare; the default is -1, the outputs of each sample. 0 compares
    /// the samples of a batch.
    axis: isize = -1;
}

impl PearsonCorrelation {
    fn values(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        along(self.axis, y_true, y_pred, |m| m.covariance / (m.var_y * m.var_p).sqrt())
    }
}

impl Metric for PearsonCorrelation {
    metric!(@common);
    metric!(@mean);
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
}

metric! {
    /// The mean of the concordance correlation along `axis`: as Pearson's, but a shift or another scale
    /// of the predictions costs too.
    ConcordanceCorrelation(), "concordance_correlation", Running;
    /// The axis of the values to compare; the default is -1, the outputs of each sample. 0 compares
    /// the samples of a batch.
    axis: isize = -1;
}

impl ConcordanceCorrelation {
    fn values(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        along(self.axis, y_true, y_pred, |m| {
            2.0 * m.covariance / (m.var_y + m.var_p + (m.mean_y - m.mean_p).powi(2) + 1e-7)
        })
    }
}

impl Metric for ConcordanceCorrelation {
    metric!(@common);
    metric!(@mean);
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
}
