//! Plain means and sums, and metrics from functions.

use super::{Metric, Running, metric, weighted};
use crate::error::Result;
use crate::tensor::Tensor;
use std::fmt;
use std::sync::Arc;

metric! {
    /// The weighted mean of values, 0 of none. In `compile` it is the mean of the predictions.
    ///
    /// ```
    /// use cornu::{Tensor, metrics::{Mean, Metric}};
    /// let mut mean = Mean::new();
    /// mean.add(&Tensor::new([3], vec![1.0, 2.0, 6.0])?, None)?;
    /// mean.add(&Tensor::new([1], vec![7.0])?, None)?;
    /// assert_eq!(mean.result(), 4.0);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    Mean(), "mean", Running;
}

impl Mean {
    /// Takes in values of shape `(batch, …)`, with the weight of each sample.
    ///
    /// # Errors
    /// When the weights do not fit the values.
    pub fn add(&mut self, values: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        self.state.add(values, sample_weight)
    }
}

impl Metric for Mean {
    metric!(@common);
    fn update(&mut self, _: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        self.add(y_pred, sample_weight)
    }
    fn result(&self) -> f64 {
        self.state.mean()
    }
}

metric! {
    /// The weighted sum of values. In `compile` it is the sum of the predictions.
    Sum(), "sum", f64;
}

impl Sum {
    /// Takes in values of shape `(batch, …)`, with the weight of each sample.
    ///
    /// # Errors
    /// When the weights do not fit the values.
    pub fn add(&mut self, values: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        self.state += weighted(values, sample_weight)?.0;
        Ok(())
    }
}

impl Metric for Sum {
    metric!(@common);
    fn update(&mut self, _: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        self.add(y_pred, sample_weight)
    }
    fn result(&self) -> f64 {
        self.state
    }
}

/// A metric from a function: the weighted mean of its values, one for each sample or more.
///
/// ```
/// use cornu::{Tensor, metrics::{Metric, MeanMetricWrapper}};
/// let mut bias = MeanMetricWrapper::new("bias", |y_true, y_pred| y_pred.clone().zip_map(y_true, |p, y| p - y));
/// bias.update(&Tensor::zeros([2, 1]), &Tensor::full([2, 1], 0.5), None)?;
/// assert_eq!(bias.result(), 0.5);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone)]
pub struct MeanMetricWrapper {
    name: String,
    function: Function,
    state: Running,
}

type Function = Arc<dyn Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync>;

impl MeanMetricWrapper {
    /// The metric of this name whose values `function(y_true, y_pred)` gives, as `(batch, …)`.
    pub fn new(
        name: impl Into<String>,
        function: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Self {
        MeanMetricWrapper { name: name.into(), function: Arc::new(function), state: Running::default() }
    }
}

impl fmt::Debug for MeanMetricWrapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeanMetricWrapper").field("name", &self.name).field("state", &self.state).finish()
    }
}

impl Metric for MeanMetricWrapper {
    fn name(&self) -> String {
        self.name.clone()
    }
    fn sees_masks(&self) -> bool {
        true
    }
    fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        let values = (self.function)(y_true, y_pred)?;
        self.state.add(&values, sample_weight)
    }
    fn result(&self) -> f64 {
        self.state.mean()
    }
    fn reset(&mut self) {
        self.state = Running::default();
    }
    metric!(@state);
}
