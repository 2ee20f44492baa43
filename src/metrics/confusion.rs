//! Counts of right and wrong positives and negatives, and what follows from them.

use super::{Metric, mean, metric, over};
use crate::error::{Result, ensure};
use crate::losses::{self, align};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// One threshold or several; in Keras' configurations a number, a list, or null for the default.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Thresholds {
    /// The metric's default.
    #[default]
    Usual,
    /// One threshold: the metric is one number.
    One(f64),
    /// Several: the metric has a value for each.
    Some(Vec<f64>),
}

impl From<f64> for Thresholds {
    fn from(threshold: f64) -> Self {
        Thresholds::One(threshold)
    }
}

impl<const N: usize> From<[f64; N]> for Thresholds {
    fn from(thresholds: [f64; N]) -> Self {
        Thresholds::Some(thresholds.to_vec())
    }
}

impl From<Vec<f64>> for Thresholds {
    fn from(thresholds: Vec<f64>) -> Self {
        Thresholds::Some(thresholds)
    }
}

impl Thresholds {
    fn values(&self) -> Option<&[f64]> {
        match self {
            Thresholds::Usual => None,
            Thresholds::One(threshold) => Some(std::slice::from_ref(threshold)),
            Thresholds::Some(thresholds) => Some(thresholds),
        }
    }
}

/// Below every prediction: what does not belong to the top k gets it.
const NOTHING: f32 = -1e10;

/// The thresholds that are counted at.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    values: Vec<f32>,
    /// Whether they are `i / (n - 1)`, so that a prediction's place among them is known at once.
    even: bool,
}

impl Levels {
    /// `thresholds` as they are.
    fn new(thresholds: &[f64]) -> Self {
        Levels { values: thresholds.iter().map(|t| *t as f32).collect(), even: is_even(thresholds) }
    }

    /// What an argument asks for.
    fn of(thresholds: &Thresholds, default: f64) -> Self {
        Levels::new(thresholds.values().unwrap_or(&[default]))
    }

    /// `count` thresholds from 0 to 1.
    fn spaced(count: usize) -> Self {
        match count {
            1 => Levels::new(&[0.5]),
            n => Levels { values: (0..n).map(|i| (i as f64 / (n - 1) as f64) as f32).collect(), even: true },
        }
    }

    /// These thresholds between one below 0 and one above 1, so that the ends count all and none.
    pub fn closed(inner: &[f64], even: bool) -> Self {
        let all = std::iter::once(-1e-7).chain(inner.iter().copied()).chain([1.0 + 1e-7]);
        Levels { values: all.map(|t| t as f32).collect(), even }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// For evenly spaced thresholds: how many of them, from the first on, `p` is above.
    fn passed(&self, p: f32) -> usize {
        let steps = (self.values.len() - 1) as f32;
        let passed = (p.clamp(0.0, 1.0) * steps).ceil() as usize;
        if self.values[0] < 0.0 { passed.max(1) } else { passed }
    }
}

/// Whether thresholds are `0, 1/(n-1), …, 1`, as near as Keras looks.
pub(super) fn is_even(thresholds: &[f64]) -> bool {
    let last = thresholds.len().saturating_sub(1) as f64;
    let near = |(i, t): (usize, &f64)| (t - i as f64 / last).abs() <= 1e-7 + 1e-5 * (i as f64 / last);
    thresholds.len() >= 3 && thresholds.iter().enumerate().all(near)
}

/// Weighted counts at each threshold.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    pub true_positives: Vec<f64>,
    pub false_positives: Vec<f64>,
    pub true_negatives: Vec<f64>,
    pub false_negatives: Vec<f64>,
}

impl Counts {
    /// Takes in `(label, prediction, weight)`s.
    pub fn add(&mut self, levels: &Levels, cells: impl Iterator<Item = (bool, f32, f64)>) {
        let n = levels.len();
        // Weights of positives and negatives by the number of thresholds they are above.
        let (mut positives, mut negatives) = (vec![0.0; n + 1], vec![0.0; n + 1]);
        let (mut all_positives, mut all_negatives) = (0.0, 0.0);
        let mut above = vec![(0.0, 0.0); n];
        for (label, p, w) in cells {
            if label {
                all_positives += w;
            } else {
                all_negatives += w;
            }
            if levels.even {
                let kind = if label { &mut positives } else { &mut negatives };
                kind[levels.passed(p).min(n)] += w;
            } else {
                for (above, _) in above.iter_mut().zip(&levels.values).filter(|(_, t)| p > **t) {
                    if label {
                        above.0 += w;
                    } else {
                        above.1 += w;
                    }
                }
            }
        }
        if levels.even {
            let mut sum = (0.0, 0.0);
            for i in (0..n).rev() {
                sum = (sum.0 + positives[i + 1], sum.1 + negatives[i + 1]);
                above[i] = sum;
            }
        }
        for all in [&mut self.true_positives, &mut self.false_positives] {
            all.resize(n, 0.0);
        }
        for all in [&mut self.true_negatives, &mut self.false_negatives] {
            all.resize(n, 0.0);
        }
        for (i, (positive, negative)) in above.into_iter().enumerate() {
            self.true_positives[i] += positive;
            self.false_positives[i] += negative;
            self.true_negatives[i] += all_negatives - negative;
            self.false_negatives[i] += all_positives - positive;
        }
    }

    /// How many of the predicted positives are right, at threshold `i`.
    pub fn precision(&self, i: usize) -> f64 {
        over(self.true_positives[i], self.true_positives[i] + self.false_positives[i])
    }

    /// How many of the positives are predicted (sensitivity).
    pub fn recall(&self, i: usize) -> f64 {
        over(self.true_positives[i], self.true_positives[i] + self.false_negatives[i])
    }

    /// How many of the negatives are predicted.
    fn specificity(&self, i: usize) -> f64 {
        over(self.true_negatives[i], self.true_negatives[i] + self.false_positives[i])
    }

    /// `value(i)` of each threshold, 0 as long as nothing was taken in.
    fn each(&self, value: impl Fn(usize) -> f64) -> Vec<f64> {
        match self.true_positives.len() {
            0 => vec![0.0],
            n => (0..n).map(value).collect(),
        }
    }
}

/// Labels, predictions and weights of a batch, in one shape.
pub(super) struct Cells {
    pub labels: Tensor,
    pub predictions: Tensor,
    pub weights: Option<Tensor>,
}

impl Cells {
    pub fn new(y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<Self> {
        Self::of(y_true, y_pred, sample_weight, None, None)
    }

    /// Only the `top_k` largest of each row can be positive; `class_id` looks at one column alone.
    fn of(
        y_true: &Tensor,
        y_pred: &Tensor,
        sample_weight: Option<&Tensor>,
        top_k: Option<usize>,
        class_id: Option<usize>,
    ) -> Result<Self> {
        let mut labels = align(y_true, y_pred.shape())?;
        let mut predictions = y_pred.clone();
        if let Some(k) = top_k {
            keep_top(&mut predictions, k)?;
        }
        if let Some(class) = class_id {
            labels = column(&labels, class)?;
            predictions = column(&predictions, class)?;
        }
        let weights = sample_weight.map(|w| losses::spread("sample_weight", w, predictions.shape())).transpose()?;
        Ok(Cells { labels, predictions, weights })
    }

    /// The cells one by one: whether the label is not 0, the prediction, the weight.
    pub fn iter(&self) -> impl Iterator<Item = (bool, f32, f64)> + '_ {
        let pairs = self.labels.data().iter().zip(self.predictions.data()).enumerate();
        pairs.map(|(i, (y, p))| (*y != 0.0, *p, self.weights.as_ref().map_or(1.0, |w| f64::from(w.data()[i]))))
    }
}

fn keep_top(predictions: &mut Tensor, k: usize) -> Result<()> {
    let n = predictions.last();
    ensure!(k <= n, Shape, "top_k is {k}, but predictions of shape {:?} have {n} classes", predictions.shape());
    let mut order: Vec<usize> = Vec::new();
    for row in predictions.data_mut().chunks_exact_mut(n.max(1)) {
        order.clear();
        order.extend(0..n);
        // Stable: of equals the first ones are kept.
        order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
        order[k..].iter().for_each(|&i| row[i] = NOTHING);
    }
    Ok(())
}

fn column(tensor: &Tensor, class: usize) -> Result<Tensor> {
    let n = tensor.last();
    ensure!(
        tensor.rank() > 1 && class < n,
        Shape,
        "class_id is {class}, but predictions of shape {:?} have no such class",
        tensor.shape()
    );
    let mut shape = tensor.shape().to_vec();
    shape.pop();
    shape.push(1);
    Tensor::new(shape, tensor.data().chunks_exact(n).map(|row| row[class]).collect())
}

fn check_thresholds(thresholds: &Thresholds) -> Result<()> {
    let Some(values) = thresholds.values() else { return Ok(()) };
    ensure!(!values.is_empty(), Argument, "thresholds is an empty list; leave it out for the default");
    for threshold in values {
        ensure!((0.0..=1.0).contains(threshold), Argument, "threshold {threshold} does not lie between 0 and 1");
    }
    Ok(())
}

/// A metric that counts one of the four kinds.
macro_rules! count {
    ($(#[$doc:meta])* $class:ident, $name:literal, $kind:ident) => {
        metric! {
            $(#[$doc])*
            ///
            /// Targets and predictions have one shape. Counts are numbers of values, weighted with the
            /// weights of samples.
            $class(), $name, Counts;
            /// Values strictly above it are positive; the default is 0.5. With several thresholds the
            /// metric has a value for each.
            thresholds(impl Into<Thresholds>): Thresholds = Thresholds::Usual;
        }

        impl $class {
            fn counts(&self) -> Vec<f64> {
                self.state.each(|i| self.state.$kind[i])
            }
        }

        impl Metric for $class {
            metric!(@common);
            fn check(&self) -> Result<()> {
                check_thresholds(&self.thresholds)
            }
            fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
                let cells = Cells::new(y_true, y_pred, sample_weight)?;
                self.state.add(&Levels::of(&self.thresholds, 0.5), cells.iter());
                Ok(())
            }
            fn result(&self) -> f64 {
                mean(&self.counts())
            }
            fn results(&self) -> Vec<f64> {
                self.counts()
            }
        }
    };
}

count! {
    /// The number of positives that are predicted.
    TruePositives, "true_positives", true_positives
}

count! {
    /// The number of negatives that are predicted as positives.
    FalsePositives, "false_positives", false_positives
}

count! {
    /// The number of negatives that are predicted.
    TrueNegatives, "true_negatives", true_negatives
}

count! {
    /// The number of positives that are predicted as negatives.
    FalseNegatives, "false_negatives", false_negatives
}

metric! {
    /// How many of the predicted positives are right: `TP / (TP + FP)`.
    ///
    /// Targets and predictions have one shape, `(batch, labels)`.
    Precision(), "precision", Counts;
    /// Values strictly above it are positive; the default is 0.5, or with `top_k` that all of the top
    /// are. With several thresholds the metric has a value for each.
    thresholds(impl Into<Thresholds>): Thresholds = Thresholds::Usual;
    /// Only the `k` largest values of each sample can be positive.
    top_k(usize): Option<usize> = None;
    /// Looks at this class alone.
    class_id(usize): Option<usize> = None;
}

impl Metric for Precision {
    metric!(@common);
    fn check(&self) -> Result<()> {
        check_thresholds(&self.thresholds)
    }
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
    fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        let cells = Cells::of(y_true, y_pred, sample_weight, self.top_k, self.class_id)?;
        let default = if self.top_k.is_some() { f64::from(NOTHING) } else { 0.5 };
        self.state.add(&Levels::of(&self.thresholds, default), cells.iter());
        Ok(())
    }
    fn result(&self) -> f64 {
        mean(&self.results())
    }
    fn results(&self) -> Vec<f64> {
        self.state.each(|i| self.state.precision(i))
    }
}

metric! {
    /// How many of the positives are predicted: `TP / (TP + FN)`.
    ///
    /// Targets and predictions have one shape, `(batch, labels)`.
    Recall(), "recall", Counts;
    /// Values strictly above it are positive; the default is 0.5, or with `top_k` that all of the top
    /// are. With several thresholds the metric has a value for each.
    thresholds(impl Into<Thresholds>): Thresholds = Thresholds::Usual;
    /// Only the `k` largest values of each sample can be positive.
    top_k(usize): Option<usize> = None;
    /// Looks at this class alone.
    class_id(usize): Option<usize> = None;
}

impl Metric for Recall {
    metric!(@common);
    fn check(&self) -> Result<()> {
        check_thresholds(&self.thresholds)
    }
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
    fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        let cells = Cells::of(y_true, y_pred, sample_weight, self.top_k, self.class_id)?;
        let default = if self.top_k.is_some() { f64::from(NOTHING) } else { 0.5 };
        self.state.add(&Levels::of(&self.thresholds, default), cells.iter());
        Ok(())
    }
    fn result(&self) -> f64 {
        mean(&self.results())
    }
    fn results(&self) -> Vec<f64> {
        self.state.each(|i| self.state.recall(i))
    }
}

/// The best of one measure over all thresholds at which another reaches a given value.
macro_rules! at {
    ($class:ident, $name:literal, $goal:ident, $goal_of:ident, $best_of:ident) => {
        metric! {
            #[doc = concat!("The best ", stringify!($best_of), " at a threshold where ", stringify!($goal),
                " is at least the given value, 0 if there is none.")]
            ///
            /// Targets and predictions have one shape; predictions lie between 0 and 1.
            $class($goal: f64 = f64::NAN), $name, Counts;
            /// How many thresholds from 0 to 1 are tried; the default is 200.
            num_thresholds: usize = 200;
            /// Looks at this class alone.
            class_id(usize): Option<usize> = None;
        }

        impl Metric for $class {
            metric!(@common);
            fn check(&self) -> Result<()> {
                ensure!(
                    (0.0..=1.0).contains(&self.$goal),
                    Argument,
                    concat!(stringify!($goal), " of ", stringify!($class), " must be given, between 0 and 1; it is {}"),
                    self.$goal
                );
                ensure!(self.num_thresholds > 0, Argument, "num_thresholds is 0; it must be at least 1");
                Ok(())
            }
            fn higher_is_better(&self) -> Option<bool> {
                Some(true)
            }
            fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
                let cells = Cells::of(y_true, y_pred, sample_weight, None, self.class_id)?;
                self.state.add(&Levels::spaced(self.num_thresholds), cells.iter());
                Ok(())
            }
            fn result(&self) -> f64 {
                let state = &self.state;
                let reached = |i: usize| state.$goal_of(i) >= self.$goal;
                state.each(|i| if reached(i) { state.$best_of(i) } else { 0.0 }).into_iter().fold(0.0, f64::max)
            }
        }
    };
}

at!(SensitivityAtSpecificity, "sensitivity_at_specificity", specificity, specificity, recall);
at!(SpecificityAtSensitivity, "specificity_at_sensitivity", sensitivity, recall, specificity);
at!(PrecisionAtRecall, "precision_at_recall", recall, recall, precision);
at!(RecallAtPrecision, "recall_at_precision", precision, precision, recall);
