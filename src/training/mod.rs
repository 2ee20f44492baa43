//! Compile, fit, evaluate, predict: the workflow of a [`Model`].
//!
//! [`Model::fit`] is a loop and a step; everything else that can happen during training is a
//! [`Callback`](callbacks::Callback). Those who write their own loop use
//! [`forward`](Model::forward), [`backward`](Model::backward) and [`apply`](Model::apply).

pub mod callbacks;
mod compile;
mod custom;
pub(crate) mod direction;
mod evaluate;
mod fit;
mod history;
mod predict;
mod step;

pub use compile::Compile;
pub(crate) use compile::Compiled;
pub use custom::{Differentiate, Recorded};
pub use evaluate::{Evaluate, Scores};
pub use fit::Fit;
pub use history::{History, Logs};
pub use predict::Predict;

use crate::data::Rows;
use crate::error::{Result, ensure};

/// The inputs or the targets of a model: one array, or one for each.
///
/// A reference to any `ndarray` array or view of floats, integers or booleans converts into it:
/// `model.fit(&x, &y, …)`; several inputs are `[&a as &dyn Rows, &b]`.
#[derive(Clone)]
pub struct Inputs<'a>(pub(crate) Vec<&'a dyn Rows>);

impl<'a, R: Rows> From<&'a R> for Inputs<'a> {
    fn from(rows: &'a R) -> Self {
        Inputs(vec![rows])
    }
}

impl<'a, const N: usize> From<[&'a dyn Rows; N]> for Inputs<'a> {
    fn from(rows: [&'a dyn Rows; N]) -> Self {
        Inputs(rows.to_vec())
    }
}

impl<'a> From<Vec<&'a dyn Rows>> for Inputs<'a> {
    fn from(rows: Vec<&'a dyn Rows>) -> Self {
        Inputs(rows)
    }
}

impl Inputs<'_> {
    /// The number of samples, the same in all arrays and not zero.
    fn samples(&self, what: &str) -> Result<usize> {
        let Some(first) = self.0.first() else {
            return Err(crate::Error::Data(format!("{what} holds no array")));
        };
        let n = first.len();
        ensure!(n > 0, Data, "{what} is empty: it has no samples");
        for (i, rows) in self.0.iter().enumerate() {
            ensure!(
                rows.len() == n,
                Data,
                "the arrays of {what} have unequal lengths: number 0 has {n} samples, number {i} has {}",
                rows.len()
            );
        }
        Ok(n)
    }

    /// The shape of one sample of the first array.
    fn sample_shape(&self) -> crate::shape::Dims {
        self.0.first().map(|rows| rows.sample_shape()).unwrap_or_default()
    }
}

/// Checks that inputs and targets go together, and returns the number of samples.
fn check_pair(x: &Inputs<'_>, y: &Inputs<'_>) -> Result<usize> {
    let n = x.samples("x")?;
    let targets = y.samples("y")?;
    ensure!(n == targets, Data, "x has {n} samples and y has {targets}; they must have as many");
    Ok(n)
}
