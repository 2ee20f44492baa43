//! The area under a curve of thresholds.

use super::confusion::{Cells, Counts, Levels, is_even};
use super::regression::matrix_width;
use super::{Metric, metric, over};
use crate::error::{Result, ensure};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The curve that [`AUC`] takes the area under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AUCCurve {
    /// True positive rate over false positive rate.
    #[serde(alias = "roc")]
    ROC,
    /// Precision over recall.
    #[serde(alias = "pr")]
    PR,
    /// Precision gain over recall gain ([Flach & Kull, 2015](https://papers.nips.cc/paper/5867)).
    #[serde(alias = "prgain")]
    PRGAIN,
}

/// How the area between two thresholds is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AUCSummationMethod {
    /// A trapezoid; for precision and recall the curve of [Davis & Goadrich, 2006](https://doi.org/10.1145/1143844.1143874).
    #[serde(alias = "Interpolation")]
    Interpolation,
    /// The lower of the two heights.
    #[serde(alias = "Minoring")]
    Minoring,
    /// The higher of the two heights.
    #[serde(alias = "Majoring")]
    Majoring,
}

metric! {
    /// The area under the ROC or the precision-recall curve: how well predictions separate 1 from 0,
    /// whatever the threshold.
    ///
    /// Targets and predictions have one shape; predictions lie between 0 and 1. 1 is best, 0.5 (for
    /// ROC) is chance. The area is a sum over `num_thresholds` thresholds.
    AUC(), "auc", Vec<Counts>;
    /// How many thresholds there are, from 0 to 1; the default is 200.
    num_thresholds: usize = 200;
    /// The curve; the default is ROC.
    curve: AUCCurve = AUCCurve::ROC;
    /// How the area between two thresholds is taken; the default is interpolation.
    summation_method: AUCSummationMethod = AUCSummationMethod::Interpolation;
    /// Thresholds of your own, between 0 and 1.
    thresholds(Vec<f64>): Option<Vec<f64>> = None;
    /// Whether each column is a label of its own, whose areas are averaged; the default is false: all
    /// values together.
    multi_label: bool = false;
    /// How many labels there are; it need not be given.
    num_labels(usize): Option<usize> = None;
    /// How much each label weighs.
    label_weights(Vec<f64>): Option<Vec<f64>> = None;
    /// Whether predictions are logits; the default is false.
    from_logits: bool = false;
}

impl AUC {
    fn levels(&self) -> Levels {
        match &self.thresholds {
            Some(thresholds) => {
                let mut inner = thresholds.clone();
                inner.sort_by(f64::total_cmp);
                let all: Vec<f64> = std::iter::once(0.0).chain(inner.iter().copied()).chain([1.0]).collect();
                Levels::closed(&inner, is_even(&all))
            }
            None => {
                let last = self.num_thresholds - 1;
                let inner: Vec<f64> = (1..last).map(|i| i as f64 / last as f64).collect();
                Levels::closed(&inner, true)
            }
        }
    }

    /// The area of one label.
    fn area(&self, counts: &Counts) -> f64 {
        let n = counts.true_positives.len();
        let between = (1..n).map(|i| (i - 1, i));
        if self.curve == AUCCurve::PR && self.summation_method == AUCSummationMethod::Interpolation {
            return between.map(|(a, b)| interpolated_precision(counts, a, b)).sum();
        }
        let points: Vec<(f64, f64)> = (0..n).map(|i| self.point(counts, i)).collect();
        let height = |a: f64, b: f64| match self.summation_method {
            AUCSummationMethod::Interpolation => (a + b) / 2.0,
            AUCSummationMethod::Minoring => a.min(b),
            AUCSummationMethod::Majoring => a.max(b),
        };
        between.map(|(a, b)| (points[a].0 - points[b].0) * height(points[a].1, points[b].1)).sum()
    }

    /// The point of the curve at threshold `i`.
    fn point(&self, counts: &Counts, i: usize) -> (f64, f64) {
        let (tp, fp) = (counts.true_positives[i], counts.false_positives[i]);
        let (tn, fna) = (counts.true_negatives[i], counts.false_negatives[i]);
        match self.curve {
            AUCCurve::ROC => (over(fp, fp + tn), counts.recall(i)),
            AUCCurve::PR => (counts.recall(i), counts.precision(i)),
            AUCCurve::PRGAIN if tp == 0.0 => (0.0, 1.0),
            AUCCurve::PRGAIN => {
                let odds = over(tp + fna, tn + fp);
                ((1.0 - odds * fna / tp).max(0.0), 1.0 - odds * fp / tp)
            }
        }
    }
}

/// The area under the precision-recall curve between two thresholds, along which the numbers of true
/// and of false positives change in proportion.
fn interpolated_precision(counts: &Counts, a: usize, b: usize) -> f64 {
    let tp = [counts.true_positives[a], counts.true_positives[b]];
    let all = [tp[0] + counts.false_positives[a], tp[1] + counts.false_positives[b]];
    let slope = over(tp[0] - tp[1], (all[0] - all[1]).max(0.0));
    let intercept = tp[1] - slope * all[1];
    let ratio = if all[0] > 0.0 && all[1] > 0.0 { all[0] / all[1] } else { 1.0 };
    over(slope * (tp[0] - tp[1] + intercept * ratio.ln()), tp[1] + counts.false_negatives[b])
}

impl Metric for AUC {
    metric!(@common);
    fn check(&self) -> Result<()> {
        ensure!(
            self.thresholds.is_some() || self.num_thresholds > 1,
            Argument,
            "num_thresholds is {}; it must be at least 2",
            self.num_thresholds
        );
        ensure!(self.multi_label || self.num_labels.is_none(), Argument, "num_labels needs multi_label(true)");
        ensure!(
            self.thresholds.iter().flatten().all(|t| (0.0..=1.0).contains(t)),
            Argument,
            "thresholds must lie between 0 and 1"
        );
        Ok(())
    }
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
    fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        self.check()?;
        let y_pred = if self.from_logits { y_pred.clone().map(|x| 1.0 / (1.0 + (-x).exp())) } else { y_pred.clone() };
        let cells = Cells::new(y_true, &y_pred, sample_weight)?;
        let columns = y_pred.last();
        if let Some(weights) = &self.label_weights {
            ensure!(
                weights.len() == columns,
                Shape,
                "there are {} label_weights, but predictions of shape {:?}",
                weights.len(),
                y_pred.shape()
            );
        }
        let levels = self.levels();
        if self.multi_label {
            let before = self.num_labels.unwrap_or(self.state.len());
            let labels = matrix_width("AUC with multi_label", &y_pred, before)?;
            self.state.resize(labels, Counts::default());
            for (label, counts) in self.state.iter_mut().enumerate() {
                counts.add(&levels, cells.iter().skip(label).step_by(labels));
            }
        } else {
            self.state.resize(1, Counts::default());
            let weights = self.label_weights.as_deref();
            let cells = cells.iter().enumerate();
            self.state[0].add(&levels, cells.map(|(i, (y, p, w))| (y, p, w * weights.map_or(1.0, |l| l[i % columns]))));
        }
        Ok(())
    }
    fn result(&self) -> f64 {
        let areas = self.state.iter().map(|counts| self.area(counts));
        match &self.label_weights {
            Some(weights) if self.multi_label => {
                over(areas.zip(weights).map(|(area, w)| area * w).sum(), weights.iter().sum())
            }
            _ => over(areas.sum(), self.state.len() as f64),
        }
    }
}
