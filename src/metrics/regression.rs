//! Metrics for numbers.

use super::{Metric, Running, metric};
use crate::error::{Result, ensure};
use crate::losses::{self, align};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

metric! {
    /// The root of the mean of the squares of all errors.
    RootMeanSquaredError(), "root_mean_squared_error", Running;
}

impl Metric for RootMeanSquaredError {
    metric!(@common);
    fn higher_is_better(&self) -> Option<bool> {
        Some(false)
    }
    fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        let squares = align(y_true, y_pred.shape())?.zip_map(y_pred, |y, p| (y - p) * (y - p))?;
        self.state.add(&squares, sample_weight)
    }
    fn result(&self) -> f64 {
        self.state.mean().sqrt()
    }
}

metric! {
    /// The mean cosine of the angle between target and prediction: 1 is best (the loss of this name has
    /// the opposite sign).
    CosineSimilarity(), "cosine_similarity", Running;
    /// The axis of the vectors; the default is -1.
    axis: isize = -1;
}

impl CosineSimilarity {
    fn values(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        use losses::Loss;
        let loss = losses::CosineSimilarity::new().axis(self.axis);
        Ok(loss.call(y_true, y_pred)?.map(|cosine| -cosine))
    }
}

impl Metric for CosineSimilarity {
    metric!(@common);
    metric!(@mean);
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
}

/// How [`R2Score`] makes one number of the scores of several outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassAggregation {
    /// Their mean.
    UniformAverage,
    /// Their mean, weighted with the variance of the targets.
    VarianceWeightedAverage,
}

metric! {
    /// The share of the targets' variance that predictions explain: `1 - sum((y - p)²) / sum((y - mean(y))²)`.
    ///
    /// Targets and predictions are `(batch, outputs)`. 1 is best; always predicting the mean gives 0.
    R2Score(), "r2_score", R2State;
    /// How the scores of several outputs become one; the default is their mean, `None` keeps them apart.
    class_aggregation(impl Into<Option<ClassAggregation>>): Option<ClassAggregation> =
        Some(ClassAggregation::UniformAverage);
    /// The number of independent regressors, for the adjusted score; the default is 0: not adjusted.
    num_regressors: usize = 0;
}

/// Sums over samples, for each output.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct R2State {
    outputs: Vec<R2Sums>,
    values: f64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct R2Sums {
    sum: f64,
    squares: f64,
    residual: f64,
    count: f64,
}

impl R2Score {
    /// The score of each output, and the spread of its targets.
    fn scores(&self) -> Vec<(f64, f64)> {
        let score = |sums: &R2Sums| {
            let spread = sums.squares - sums.sum * sums.sum / sums.count;
            let score = 1.0 - sums.residual / spread;
            (if score.is_infinite() { 0.0 } else { score }, spread)
        };
        self.state.outputs.iter().map(score).collect()
    }

    /// Pays for the number of regressors, unless there are too few samples for it.
    fn adjust(&self, score: f64) -> f64 {
        let (n, p) = (self.state.values, self.num_regressors as f64);
        if self.num_regressors == 0 || p >= n - 1.0 { score } else { 1.0 - (1.0 - score) * (n - 1.0) / (n - p - 1.0) }
    }
}

impl Metric for R2Score {
    metric!(@common);
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
    fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        let y_true = align(y_true, y_pred.shape())?;
        let outputs = matrix_width("R2Score", y_pred, self.state.outputs.len())?;
        let weights = sample_weight.map(|w| losses::spread("sample_weight", w, y_pred.shape())).transpose()?;
        self.state.outputs.resize(outputs, R2Sums::default());
        for (i, (y, p)) in y_true.data().iter().zip(y_pred.data()).enumerate() {
            let (y, p) = (f64::from(*y), f64::from(*p));
            let w = weights.as_ref().map_or(1.0, |w| f64::from(w.data()[i]));
            let sums = &mut self.state.outputs[i % outputs];
            sums.sum += w * y;
            sums.squares += w * y * y;
            sums.residual += w * (y - p) * (y - p);
            sums.count += w;
        }
        self.state.values += y_pred.len() as f64;
        Ok(())
    }
    fn result(&self) -> f64 {
        let scores = self.scores();
        let score = match self.class_aggregation {
            Some(ClassAggregation::VarianceWeightedAverage) => {
                scores.iter().map(|(score, spread)| score * spread).sum::<f64>()
                    / scores.iter().map(|(_, spread)| spread).sum::<f64>()
            }
            _ => scores.iter().map(|(score, _)| score).sum::<f64>() / scores.len() as f64,
        };
        self.adjust(score)
    }
    fn results(&self) -> Vec<f64> {
        match self.class_aggregation {
            None => self.scores().into_iter().map(|(score, _)| self.adjust(score)).collect(),
            Some(_) => vec![self.result()],
        }
    }
}

/// The width of predictions that must be a matrix, as wide as the ones before (0: there were none).
pub(super) fn matrix_width(metric: &str, y_pred: &Tensor, before: usize) -> Result<usize> {
    let width = y_pred.last();
    ensure!(
        y_pred.rank() == 2 && width > 0,
        Shape,
        "{metric} needs predictions of shape (batch, outputs), found {:?}",
        y_pred.shape()
    );
    ensure!(
        before == 0 || before == width,
        Shape,
        "{metric} has seen predictions with {before} outputs, these have {width}; reset it in between"
    );
    Ok(width)
}
