//! Losses for numbers.

use super::{EPSILON, LastAxis, Loss, loss, mean_gradient, mean_of, per_row, row_gradient};
use crate::activations::math::{exp, ln_1p, tanh};
use crate::config::check_non_negative;
use crate::error::Result;
use crate::shape::Dims;
use crate::tensor::Tensor;

loss! {
    /// The mean of the squares of the errors: `mean((y - p)²)`.
    MeanSquaredError, "mean_squared_error";
}

impl Loss for MeanSquaredError {
    loss!(@common);
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        mean_of(y_true, y_pred, |y, p| (y - p) * (y - p))
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        mean_gradient(y_true, y_pred, weights, |y, p| 2.0 * (p - y))
    }
}

/// -1, 0 or 1 (NaN stays NaN).
fn sign(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

loss! {
    /// The mean of the sizes of the errors: `mean(|y - p|)`.
    MeanAbsoluteError, "mean_absolute_error";
}

impl Loss for MeanAbsoluteError {
    loss!(@common);
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        mean_of(y_true, y_pred, |y, p| (y - p).abs())
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        mean_gradient(y_true, y_pred, weights, |y, p| sign(p - y))
    }
}

loss! {
    /// The mean error in percent of the target: `100 * mean(|(y - p) / max(|y|, 1e-7)|)`.
    MeanAbsolutePercentageError, "mean_absolute_percentage_error";
}

impl Loss for MeanAbsolutePercentageError {
    loss!(@common);
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        mean_of(y_true, y_pred, |y, p| 100.0 * ((y - p) / y.abs().max(EPSILON)).abs())
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        mean_gradient(y_true, y_pred, weights, |y, p| 100.0 * sign(p - y) / y.abs().max(EPSILON))
    }
}

loss! {
    /// The mean of the squares of the differences of logarithms:
    /// `mean((log(max(y, 1e-7) + 1) - log(max(p, 1e-7) + 1))²)`.
    MeanSquaredLogarithmicError, "mean_squared_logarithmic_error";
}

/// `log(max(x, 1e-7) + 1)`; NaN stays NaN.
fn log1p_floored(x: f32) -> f32 {
    if x < EPSILON { EPSILON.ln_1p() } else { x.ln_1p() }
}

impl Loss for MeanSquaredLogarithmicError {
    loss!(@common);
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        mean_of(y_true, y_pred, |y, p| (log1p_floored(p) - log1p_floored(y)).powi(2))
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        mean_gradient(y_true, y_pred, weights, |y, p| {
            if p < EPSILON { 0.0 } else { 2.0 * (log1p_floored(p) - log1p_floored(y)) / (p + 1.0) }
        })
    }
}

loss! {
    /// Square near zero, straight beyond `delta`: the mean of `e²/2` where `|e| ≤ delta`, and of
    /// `delta * |e| - delta²/2` elsewhere.
    Huber, "huber_loss";
    /// Where the square goes over into the straight line; the default is 1.
    delta: f64 = 1.0;
}

impl Loss for Huber {
    loss!(@common);
    fn check(&self) -> Result<()> {
        check_non_negative("delta", self.delta)
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        let delta = self.delta as f32;
        mean_of(y_true, y_pred, |y, p| {
            let e = (p - y).abs();
            if e <= delta { 0.5 * e * e } else { delta * e - 0.5 * delta * delta }
        })
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let delta = self.delta as f32;
        mean_gradient(y_true, y_pred, weights, |y, p| {
            let e = p - y;
            if e.abs() <= delta { e } else { delta * sign(e) }
        })
    }
}

loss! {
    /// The mean of `log(cosh(p - y))`: nearly `e²/2` for small errors, `|e| - log 2` for large ones.
    LogCosh, "log_cosh";
}

impl Loss for LogCosh {
    loss!(@common);
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        // Written for |e|, where nothing overflows.
        mean_of(y_true, y_pred, |y, p| {
            let e = (p - y).abs();
            e + ln_1p(exp(-2.0 * e)) - std::f32::consts::LN_2
        })
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        mean_gradient(y_true, y_pred, weights, |y, p| tanh(p - y))
    }
}

loss! {
    /// The cosine of the angle between target and prediction, **negative**, so that -1 is best:
    /// `-sum(y/‖y‖ * p/‖p‖)` along `axis`.
    CosineSimilarity, "cosine_similarity";
    /// The axis of the vectors; the default is -1.
    axis: isize = -1;
}

/// `1 / ‖x‖`, at most 1e7, and whether it depends on `x`.
fn inverse_norm(x: &[f32]) -> (f64, bool) {
    let square: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
    let inverse = square.sqrt().recip();
    if inverse > 1e7 { (1e7, false) } else { (inverse, true) }
}

/// The cosine of the angle between two vectors, as Keras computes it.
pub(crate) fn cosine(y: &[f32], p: &[f32]) -> f64 {
    let dot: f64 = y.iter().zip(p).map(|(y, p)| f64::from(*y) * f64::from(*p)).sum();
    dot * inverse_norm(y).0 * inverse_norm(p).0
}

impl Loss for CosineSimilarity {
    loss!(@common);
    fn couples_samples(&self) -> bool {
        LastAxis::may_couple(self.axis)
    }
    fn entries_shape(&self, y_pred: &[usize]) -> Result<Dims> {
        LastAxis::entries(self.axis, y_pred)
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        LastAxis::call(self.axis, y_true, y_pred, |y_true, y_pred| per_row(y_true, y_pred, |y, p| -cosine(y, p)))
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        LastAxis::gradient(self.axis, y_true, y_pred, |y_true, y_pred| {
            row_gradient(y_true, y_pred, weights, |y, p, w, g| {
                let (norm_y, (norm_p, moves)) = (inverse_norm(y).0, inverse_norm(p));
                // Turning the prediction matters, its length does not.
                let along = if moves { cosine(y, p) * norm_p * norm_p } else { 0.0 };
                for ((g, y), p) in g.iter_mut().zip(y).zip(p) {
                    *g = (f64::from(w) * (along * f64::from(*p) - f64::from(*y) * norm_y * norm_p)) as f32;
                }
            })
        })
    }
}
