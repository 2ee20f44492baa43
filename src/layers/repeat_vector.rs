//! One vector, several times.

use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::kernels::reduce::{add_column_sums, fill_rows};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// Repeats each sample `n` times (Keras: `RepeatVector`).
///
/// Input `(batch, features)`, output `(batch, n, features)`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct RepeatVector {
    n: usize,
}

impl RepeatVector {
    /// Each sample `n` times.
    pub fn new(n: usize) -> Self {
        RepeatVector { n }
    }
}

impl Default for RepeatVector {
    fn default() -> Self {
        RepeatVector { n: 1 }
    }
}

impl Layer for RepeatVector {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.n > 0, Argument, "n is 0; it must be at least 1");
        Ok(())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        match one_shape(inputs)?.dims() {
            [batch, features] => Ok(vec![Shape::new([*batch, Some(self.n), *features])]),
            _ => Err(Error::Shape(format!("expected an input (batch, features), got {}", inputs[0]))),
        }
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let &[batch, features] = x.shape() else {
            return Err(Error::Shape(format!("expected (batch, features), got an input of shape {:?}", x.shape())));
        };
        let mut y = cx.scratch([batch, self.n, features]);
        let rows = y.data_mut().chunks_exact_mut((self.n * features).max(1));
        rows.zip(x.data().chunks_exact(features.max(1))).for_each(|(y, x)| fill_rows(y, x));
        Ok(y.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let dy = gradients.one()?;
        let (batch, features) = (dy.batch(), dy.last());
        let mut dx = cx.scratch([batch, features]);
        dx.data_mut().fill(0.0);
        let rows = dy.data().chunks_exact((self.n * features).max(1));
        rows.zip(dx.data_mut().chunks_exact_mut(features.max(1))).for_each(|(dy, dx)| add_column_sums(dy, dx));
        Ok(dx.into())
    }
}
