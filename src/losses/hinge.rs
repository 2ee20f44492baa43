//! Losses that ask for a margin.

use super::{Loss, loss, mean_gradient, mean_of, per_row, row_gradient};
use crate::error::Result;
use crate::tensor::Tensor;

/// Labels 0 and 1 become -1 and 1; others stay as they are. Keras decides by the whole batch.
fn signed(y_true: &Tensor) -> Tensor {
    if y_true.data().iter().all(|y| *y == 0.0 || *y == 1.0) {
        y_true.clone().map(|y| 2.0 * y - 1.0)
    } else {
        y_true.clone()
    }
}

loss! {
    /// The mean of `max(1 - y * p, 0)`, for labels -1 and 1, or 0 and 1 if the whole batch has no others.
    Hinge, "hinge";
}

impl Loss for Hinge {
    loss!(@common);
    fn couples_samples(&self) -> bool {
        true
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        mean_of(&signed(y_true), y_pred, margin)
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        mean_gradient(&signed(y_true), y_pred, weights, |y, p| if y * p >= 1.0 { 0.0 } else { -y })
    }
}

/// `max(1 - y * p, 0)`; NaN stays NaN.
fn margin(y: f32, p: f32) -> f32 {
    let m = 1.0 - y * p;
    if m < 0.0 { 0.0 } else { m }
}

loss! {
    /// The mean of `max(1 - y * p, 0)²`, for labels as in [`Hinge`].
    SquaredHinge, "squared_hinge";
}

impl Loss for SquaredHinge {
    loss!(@common);
    fn couples_samples(&self) -> bool {
        true
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        mean_of(&signed(y_true), y_pred, |y, p| margin(y, p).powi(2))
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        mean_gradient(&signed(y_true), y_pred, weights, |y, p| -2.0 * y * margin(y, p))
    }
}

loss! {
    /// How far the best wrong class comes within 1 of the right one:
    /// `max(max((1 - y) * p) - sum(y * p) + 1, 0)`, for one-hot targets.
    CategoricalHinge, "categorical_hinge";
}

/// The largest `(1 - y) * p`, and `1 +` it `- sum(y * p)`.
fn rival(y: &[f32], p: &[f32]) -> (f32, f64) {
    let mut largest = f32::NEG_INFINITY;
    let mut right = 0.0;
    for (y, p) in y.iter().zip(p) {
        let wrong = (1.0 - y) * p;
        if wrong > largest || wrong.is_nan() {
            largest = wrong;
        }
        right += f64::from(y * p);
    }
    (largest, f64::from(largest) - right + 1.0)
}

impl Loss for CategoricalHinge {
    loss!(@common);
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        per_row(y_true, y_pred, |y, p| {
            let (_, loss) = rival(y, p);
            if loss < 0.0 { 0.0 } else { loss }
        })
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        row_gradient(y_true, y_pred, weights, |y, p, w, g| {
            let (largest, loss) = rival(y, p);
            if loss <= 0.0 {
                return g.fill(0.0);
            }
            // Equal rivals share the blame.
            let rivals = y.iter().zip(p).filter(|(y, p)| (1.0 - **y) * **p == largest).count().max(1) as f32;
            for ((g, y), p) in g.iter_mut().zip(y).zip(p) {
                let wrong = if (1.0 - y) * p == largest { (1.0 - y) / rivals } else { 0.0 };
                *g = w * (wrong - y);
            }
        })
    }
}
