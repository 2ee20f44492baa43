//! Crossentropies that attend to hard examples ([Lin et al., 2018](https://arxiv.org/abs/1708.02002)).

use super::probabilistic::{
    TOP, clipped, crossentropy, crossentropy_slope, sigmoid, slope_of_normalized, smooth, softmax_into, sum,
};
use super::{EPSILON, LastAxis, Loss, check_share, loss, mean_gradient, mean_of, per_row, row_gradient};
use crate::config::check_non_negative;
use crate::error::{Result, ensure};
use crate::shape::{Dims, resolve_axis};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

loss! {
    /// The binary crossentropy times `(1 - q)^gamma`, where `q` is the probability of the right answer:
    /// what is easy weighs little.
    ///
    /// Targets and predictions have one shape, `(batch, labels)`.
    BinaryFocalCrossentropy, "binary_focal_crossentropy";
    /// Whether label 1 weighs `alpha` and label 0 `1 - alpha`; the default is false.
    apply_class_balancing: bool = false;
    /// The weight of label 1, if classes are balanced; the default is 0.25.
    alpha: f64 = 0.25;
    /// How strongly easy examples are played down; the default is 2.
    gamma: f64 = 2.0;
    /// Whether predictions are logits (the last layer has no sigmoid); the default is false.
    from_logits: bool = false;
    /// How far labels are drawn towards 1/2, from 0 to 1.
    label_smoothing: f64 = 0.0;
    /// The axis that the mean is over; the default is -1.
    axis: isize = -1;
}

/// `base^gamma` and its derivative, which is 0 for `gamma` 0.
fn power(base: f32, gamma: f32) -> (f32, f32) {
    (base.powf(gamma), if gamma == 0.0 { 0.0 } else { gamma * base.powf(gamma - 1.0) })
}

impl BinaryFocalCrossentropy {
    fn balance(&self, y: f32) -> f32 {
        let alpha = self.alpha as f32;
        if self.apply_class_balancing { y * alpha + (1.0 - y) * (1.0 - alpha) } else { 1.0 }
    }

    fn value(&self, y: f32, p: f32) -> f32 {
        let miss = 1.0 - (y * p + (1.0 - y) * (1.0 - p));
        self.balance(y) * power(miss, self.gamma as f32).0 * crossentropy(y, p)
    }

    fn slope(&self, y: f32, p: f32) -> f32 {
        let miss = 1.0 - (y * p + (1.0 - y) * (1.0 - p));
        let (factor, slope) = power(miss, self.gamma as f32);
        self.balance(y) * (factor * crossentropy_slope(y, p) - slope * (2.0 * y - 1.0) * crossentropy(y, p))
    }
}

impl Loss for BinaryFocalCrossentropy {
    loss!(@common);
    fn check(&self) -> Result<()> {
        check_share("label_smoothing", self.label_smoothing)?;
        check_share("alpha", self.alpha)?;
        check_non_negative("gamma", self.gamma)
    }
    fn couples_samples(&self) -> bool {
        LastAxis::may_couple(self.axis)
    }
    fn entries_shape(&self, y_pred: &[usize]) -> Result<Dims> {
        LastAxis::entries(self.axis, y_pred)
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        let smooth = smooth(self.label_smoothing, 2);
        LastAxis::call(self.axis, y_true, y_pred, |y_true, y_pred| {
            if self.from_logits {
                mean_of(y_true, y_pred, |y, x| self.value(smooth(y), sigmoid(x)))
            } else {
                mean_of(y_true, y_pred, |y, p| self.value(smooth(y), p))
            }
        })
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let smooth = smooth(self.label_smoothing, 2);
        LastAxis::gradient(self.axis, y_true, y_pred, |y_true, y_pred| {
            if self.from_logits {
                mean_gradient(y_true, y_pred, weights, |y, x| {
                    let p = sigmoid(x);
                    self.slope(smooth(y), p) * p * (1.0 - p)
                })
            } else {
                mean_gradient(y_true, y_pred, weights, |y, p| self.slope(smooth(y), p))
            }
        })
    }
}

loss! {
    /// The categorical crossentropy times `alpha * (1 - p)^gamma`: `-sum(alpha (1 - p)^gamma y log p)`.
    ///
    /// Targets are one-hot, of the shape of the predictions, `(batch, classes)`. Probabilities are
    /// divided by their sum and clipped to `[1e-7, 1 - 1e-7]`.
    CategoricalFocalCrossentropy, "categorical_focal_crossentropy";
    /// The weight of all classes, or a list with one for each (the last axis); the default is 0.25.
    alpha(impl Into<Alpha>): Alpha = Alpha::All(0.25);
    /// How strongly easy examples are played down; the default is 2.
    gamma: f64 = 2.0;
    /// Whether predictions are logits (the last layer has no softmax); the default is false.
    from_logits: bool = false;
    /// How far targets are drawn towards the even distribution, from 0 to 1.
    label_smoothing: f64 = 0.0;
    /// The axis of the classes; the default is -1.
    axis: isize = -1;
}

/// How much classes weigh in a [`CategoricalFocalCrossentropy`]: a number or a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Alpha {
    /// All the same.
    All(f64),
    /// Each its own.
    Each(Vec<f64>),
}

impl Alpha {
    /// That of class `i`.
    fn of(&self, i: usize) -> f32 {
        match self {
            Alpha::All(alpha) => *alpha as f32,
            Alpha::Each(alphas) => alphas[i] as f32,
        }
    }
}

impl From<f64> for Alpha {
    fn from(alpha: f64) -> Self {
        Alpha::All(alpha)
    }
}

impl<const N: usize> From<[f64; N]> for Alpha {
    fn from(alphas: [f64; N]) -> Self {
        Alpha::Each(alphas.to_vec())
    }
}

impl From<Vec<f64>> for Alpha {
    fn from(alphas: Vec<f64>) -> Self {
        Alpha::Each(alphas)
    }
}

impl CategoricalFocalCrossentropy {
    /// The term of class `i`, from the probability after division by the sum.
    fn value(&self, i: usize, y: f32, q: f32) -> f32 {
        let q = q.clamp(EPSILON, TOP);
        -self.alpha.of(i) * power(1.0 - q, self.gamma as f32).0 * y * q.ln()
    }

    fn slope(&self, i: usize, y: f32, q: f32) -> f32 {
        if clipped(q) {
            return 0.0;
        }
        let (factor, slope) = power(1.0 - q, self.gamma as f32);
        self.alpha.of(i) * y * (slope * q.ln() - factor / q)
    }

    /// Whether a list of weights fits predictions of this shape.
    fn check_alpha(&self, y_pred: &[usize]) -> Result<()> {
        let Alpha::Each(alphas) = &self.alpha else { return Ok(()) };
        let rank = y_pred.len();
        ensure!(
            resolve_axis(self.axis, rank)? + 1 == rank && y_pred.last() == Some(&alphas.len()),
            Argument,
            "alpha lists {} weights; there must be one for each class, on the last axis of predictions of shape {y_pred:?}",
            alphas.len()
        );
        Ok(())
    }
}

impl Loss for CategoricalFocalCrossentropy {
    loss!(@common);
    fn check(&self) -> Result<()> {
        check_share("label_smoothing", self.label_smoothing)?;
        match &self.alpha {
            Alpha::All(alpha) => check_non_negative("alpha", *alpha)?,
            Alpha::Each(alphas) => alphas.iter().try_for_each(|alpha| check_non_negative("alpha", *alpha))?,
        }
        check_non_negative("gamma", self.gamma)
    }
    fn couples_samples(&self) -> bool {
        LastAxis::may_couple(self.axis)
    }
    fn entries_shape(&self, y_pred: &[usize]) -> Result<Dims> {
        LastAxis::entries(self.axis, y_pred)
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        self.check_alpha(y_pred.shape())?;
        let smooth = smooth(self.label_smoothing, y_pred.last());
        LastAxis::call(self.axis, y_true, y_pred, |y_true, y_pred| {
            let probabilities = if self.from_logits { softmax(y_pred) } else { y_pred.clone() };
            per_row(y_true, &probabilities, |y, p| {
                let scale = (1.0 / sum(p)) as f32;
                let each = y.iter().zip(p).enumerate();
                each.map(|(i, (y, p))| f64::from(self.value(i, smooth(*y), p * scale))).sum()
            })
        })
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        self.check_alpha(y_pred.shape())?;
        let smooth = smooth(self.label_smoothing, y_pred.last());
        LastAxis::gradient(self.axis, y_true, y_pred, |y_true, y_pred| {
            let probabilities = if self.from_logits { softmax(y_pred) } else { y_pred.clone() };
            row_gradient(y_true, &probabilities, weights, |y, p, w, g| {
                slope_of_normalized(p, w, g, |i, q| self.slope(i, smooth(y[i]), q));
                if self.from_logits {
                    let common = g.iter().zip(p).map(|(g, p)| f64::from(g * p)).sum::<f64>() as f32;
                    g.iter_mut().zip(p).for_each(|(g, p)| *g = p * (*g - common));
                }
            })
        })
    }
}

/// Softmax along the last axis.
fn softmax(logits: &Tensor) -> Tensor {
    let n = logits.last().max(1);
    let mut probabilities = logits.sibling(logits.shape());
    for (p, x) in probabilities.data_mut().chunks_exact_mut(n).zip(logits.data().chunks_exact(n)) {
        softmax_into(x, p);
    }
    probabilities
}
