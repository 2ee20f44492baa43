//! The harmonic mean of precision and recall.

use super::regression::matrix_width;
use super::{Metric, mean, metric};
use crate::error::{Result, ensure};
use crate::losses::{self, align};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// How the scores of several classes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Average {
    /// The score of all classes' counts together.
    Micro,
    /// The mean of the classes' scores.
    Macro,
    /// The mean of the classes' scores, weighted with how often each occurs.
    Weighted,
}

metric! {
    /// `(1 + beta²) * precision * recall / (beta² * precision + recall)`.
    ///
    /// Targets and predictions are `(batch, classes)`, with one label (one-hot) or several.
    FBetaScore(), "fbeta_score", Vec<Class>;
    /// How the scores of the classes become one; the default `None` keeps them apart.
    average(impl Into<Option<Average>>): Option<Average> = None;
    /// How much more recall weighs than precision; the default is 1.
    beta: f64 = 1.0;
    /// Values above it count as predicted; the default `None` takes the largest of each row.
    threshold(impl Into<Option<f64>>): Option<f64> = None;
}

/// Weighted counts of one class.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Class {
    true_positives: f64,
    false_positives: f64,
    false_negatives: f64,
    occurs: f64,
}

impl FBetaScore {
    fn score(&self, class: &Class) -> f64 {
        const EPSILON: f64 = 1e-7;
        let precision = class.true_positives / (class.true_positives + class.false_positives + EPSILON);
        let recall = class.true_positives / (class.true_positives + class.false_negatives + EPSILON);
        let beta = self.beta * self.beta;
        (1.0 + beta) * precision * recall / (beta * precision + recall + EPSILON)
    }
}

impl Metric for FBetaScore {
    metric!(@common);
    fn check(&self) -> Result<()> {
        ensure!(self.beta > 0.0 && self.beta.is_finite(), Argument, "beta is {}; it must be above 0", self.beta);
        if let Some(threshold) = self.threshold {
            ensure!(
                threshold > 0.0 && threshold <= 1.0,
                Argument,
                "threshold is {threshold}; it must lie above 0 and not above 1"
            );
        }
        Ok(())
    }
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
    fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        let y_true = align(y_true, y_pred.shape())?;
        let n = matrix_width("FBetaScore", y_pred, self.state.len())?;
        let weights = sample_weight.map(|w| losses::spread("sample_weight", w, y_pred.shape())).transpose()?;
        self.state.resize(n, Class::default());
        for (i, (y, p)) in y_true.data().chunks_exact(n).zip(y_pred.data().chunks_exact(n)).enumerate() {
            let largest = p.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for (j, class) in self.state.iter_mut().enumerate() {
                let predicted = match self.threshold {
                    Some(threshold) => p[j] > threshold as f32,
                    None => p[j] >= largest && p[j].abs() > 1e-9,
                };
                let w = weights.as_ref().map_or(1.0, |w| f64::from(w.data()[i * n + j]));
                let (predicted, y) = (f64::from(u8::from(predicted)), f64::from(y[j]));
                class.true_positives += w * predicted * y;
                class.false_positives += w * predicted * (1.0 - y);
                class.false_negatives += w * (1.0 - predicted) * y;
                class.occurs += w * y;
            }
        }
        Ok(())
    }
    fn result(&self) -> f64 {
        mean(&self.results())
    }
    fn results(&self) -> Vec<f64> {
        let scores: Vec<f64> = self.state.iter().map(|class| self.score(class)).collect();
        match self.average {
            _ if scores.is_empty() => vec![0.0],
            None => scores,
            Some(Average::Macro) => vec![mean(&scores)],
            Some(Average::Weighted) => {
                let all: f64 = self.state.iter().map(|class| class.occurs).sum();
                let weighted = scores.iter().zip(&self.state).map(|(score, class)| score * class.occurs);
                vec![weighted.sum::<f64>() / (all + 1e-7)]
            }
            Some(Average::Micro) => {
                let all = self.state.iter().fold(Class::default(), |all, class| Class {
                    true_positives: all.true_positives + class.true_positives,
                    false_positives: all.false_positives + class.false_positives,
                    false_negatives: all.false_negatives + class.false_negatives,
                    occurs: all.occurs + class.occurs,
                });
                vec![self.score(&all)]
            }
        }
    }
}

metric! {
    /// [`FBetaScore`] with `beta` 1: `2 * precision * recall / (precision + recall)`.
    F1Score(), "f1_score", Vec<Class>;
    /// How the scores of the classes become one; the default `None` keeps them apart.
    average(impl Into<Option<Average>>): Option<Average> = None;
    /// Values above it count as predicted; the default `None` takes the largest of each row.
    threshold(impl Into<Option<f64>>): Option<f64> = None;
}

impl F1Score {
    /// The same as an F-beta score, with this one's counts.
    fn general(&self, state: Vec<Class>) -> FBetaScore {
        FBetaScore { average: self.average, threshold: self.threshold, state, ..FBetaScore::new() }
    }
}

impl Metric for F1Score {
    metric!(@common);
    fn check(&self) -> Result<()> {
        self.general(Vec::new()).check()
    }
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
    fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        let state = std::mem::take(&mut self.state);
        let mut general = self.general(state);
        let updated = general.update(y_true, y_pred, sample_weight);
        self.state = general.state;
        updated
    }
    fn result(&self) -> f64 {
        self.general(self.state.clone()).result()
    }
    fn results(&self) -> Vec<f64> {
        self.general(self.state.clone()).results()
    }
}
