//! How often the answer is right.

use super::{Metric, Running, metric};
use crate::error::{Result, ensure};
use crate::losses::{Labels, align, align_labels};
use crate::tensor::Tensor;

/// The place of the largest value, the first of equals.
pub(super) fn argmax(row: &[f32]) -> usize {
    row.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (i, v)| if *v > best.1 { (i, *v) } else { best }).0
}

/// 1 for rows of the predictions where `hit(row, predictions)` holds, else 0.
fn hits(y_pred: &Tensor, hit: impl Fn(usize, &[f32]) -> bool) -> Result<Tensor> {
    let shape = y_pred.shape();
    ensure!(
        shape.len() > 1 && y_pred.last() > 0,
        Shape,
        "class probabilities must have the shape (batch, …, classes), found {shape:?}"
    );
    let mut values = y_pred.sibling(&shape[..shape.len() - 1]);
    let rows = y_pred.data().chunks_exact(y_pred.last()).enumerate();
    for (value, (i, row)) in values.data_mut().iter_mut().zip(rows) {
        *value = f32::from(hit(i, row));
    }
    Ok(values)
}

fn categorical(y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
    let y_true = align(y_true, y_pred.shape())?;
    let n = y_pred.last();
    hits(y_pred, |i, row| argmax(row) == argmax(&y_true.data()[i * n..(i + 1) * n]))
}

fn sparse(y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
    let labels = align_labels(y_true, y_pred.shape())?;
    hits(y_pred, |i, row| argmax(row) as f32 == labels.data()[i])
}

fn binary(y_true: &Tensor, y_pred: &Tensor, threshold: f32) -> Result<Tensor> {
    let y_true = align(y_true, y_pred.shape())?;
    y_true.zip_map(y_pred, |y, p| f32::from(y == f32::from(p > threshold)))
}

/// Whether class `at` is among the `k` most probable ones (in a tie it is).
fn in_top(row: &[f32], at: usize, k: usize) -> bool {
    row[at].is_finite() && row.iter().filter(|p| **p > row[at]).count() < k
}

metric! {
    /// How often a prediction equals its target to the last bit, for outputs that are labels
    /// themselves. By the name `"accuracy"` you get [`AutoAccuracy`].
    Accuracy(), "accuracy", Running;
}

impl Accuracy {
    fn values(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        align(y_true, y_pred.shape())?.zip_map(y_pred, |y, p| f32::from(y == p))
    }
}

impl Metric for Accuracy {
    metric!(@common);
    metric!(@mean);
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
}

metric! {
    /// How often yes/no predictions are right: a value above the threshold is 1, else 0. Targets have
    /// the shape of the predictions; a sample with several labels counts with the share that is right.
    BinaryAccuracy(), "binary_accuracy", Running;
    /// Values strictly above it count as 1; the default is 0.5.
    threshold: f64 = 0.5;
}

impl BinaryAccuracy {
    fn values(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        binary(y_true, y_pred, self.threshold as f32)
    }
}

impl Metric for BinaryAccuracy {
    metric!(@common);
    metric!(@mean);
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
}

metric! {
    /// How often the most probable class is the right one, for one-hot targets of the shape of the
    /// predictions, `(batch, classes)`.
    CategoricalAccuracy(), "categorical_accuracy", Running;
}

impl CategoricalAccuracy {
    fn values(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        categorical(y_true, y_pred)
    }
}

impl Metric for CategoricalAccuracy {
    metric!(@common);
    metric!(@mean);
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
}

metric! {
    /// How often the most probable class is the right one, for class numbers as targets: `(batch,)` or
    /// `(batch, 1)` for predictions `(batch, classes)`.
    SparseCategoricalAccuracy(), "sparse_categorical_accuracy", Running;
}

impl SparseCategoricalAccuracy {
    fn values(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        sparse(y_true, y_pred)
    }
}

impl Metric for SparseCategoricalAccuracy {
    metric!(@common);
    metric!(@mean);
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
}

metric! {
    /// Keras' `"accuracy"`: [`BinaryAccuracy`] if predictions have one value,
    /// [`SparseCategoricalAccuracy`] if targets have fewer axes than predictions or a last one of size
    /// 1, else [`CategoricalAccuracy`] (also for several labels at once: there name [`BinaryAccuracy`]).
    ///
    /// Once it has seen data it is saved as the class that it stands for.
    AutoAccuracy(), "accuracy", AutoState;
}

#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
struct AutoState {
    running: Running,
    labels: Option<Labels>,
}

impl Metric for AutoAccuracy {
    fn class_name(&self) -> &str {
        match self.state.labels {
            None => "AutoAccuracy",
            Some(Labels::Binary) => "BinaryAccuracy",
            Some(Labels::Sparse) => "SparseCategoricalAccuracy",
            Some(Labels::Categorical) => "CategoricalAccuracy",
        }
    }
    fn config(&self) -> Result<crate::config::Config> {
        crate::config::of(self)
    }
    fn name(&self) -> String {
        self.name.clone()
    }
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
    fn sees_masks(&self) -> bool {
        true
    }
    fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        let labels = *self.state.labels.get_or_insert_with(|| Labels::of(y_true.shape(), y_pred.shape()));
        let values = match labels {
            Labels::Binary => binary(y_true, y_pred, 0.5)?,
            Labels::Sparse => sparse(y_true, y_pred)?,
            Labels::Categorical => categorical(y_true, y_pred)?,
        };
        self.state.running.add(&values, sample_weight)
    }
    fn result(&self) -> f64 {
        self.state.running.mean()
    }
    fn reset(&mut self) {
        self.state.running = Running::default();
    }
    metric!(@state);
}

/// Checks that the most probable `k` classes are at least one.
fn check_k(k: usize) -> Result<()> {
    ensure!(k > 0, Argument, "k is 0; at least the most probable class must count");
    Ok(())
}

metric! {
    /// How often the right class is among the `k` most probable ones, for one-hot targets.
    TopKCategoricalAccuracy(), "top_k_categorical_accuracy", Running;
    /// How many classes may hold the right one; the default is 5.
    k: usize = 5;
}

impl TopKCategoricalAccuracy {
    fn values(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        let y_true = align(y_true, y_pred.shape())?;
        let n = y_pred.last();
        hits(y_pred, |i, row| in_top(row, argmax(&y_true.data()[i * n..(i + 1) * n]), self.k))
    }
}

impl Metric for TopKCategoricalAccuracy {
    metric!(@common);
    metric!(@mean);
    fn check(&self) -> Result<()> {
        check_k(self.k)
    }
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
}

metric! {
    /// How often the right class is among the `k` most probable ones, for class numbers as targets.
    SparseTopKCategoricalAccuracy(), "sparse_top_k_categorical_accuracy", Running;
    /// How many classes may hold the right one; the default is 5.
    k: usize = 5;
    /// Whether predictions are not probabilities but class numbers, the most probable first; the
    /// default is false.
    from_sorted_ids: bool = false;
}

impl SparseTopKCategoricalAccuracy {
    fn values(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        let labels = align_labels(y_true, y_pred.shape())?;
        hits(y_pred, |i, row| {
            let label = labels.data()[i];
            if self.from_sorted_ids {
                return row.iter().take(self.k).any(|class| *class == label);
            }
            label >= 0.0 && label < row.len() as f32 && in_top(row, label as usize, self.k)
        })
    }
}

impl Metric for SparseTopKCategoricalAccuracy {
    metric!(@common);
    metric!(@mean);
    fn check(&self) -> Result<()> {
        check_k(self.k)
    }
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
}
