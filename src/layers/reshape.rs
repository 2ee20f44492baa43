//! Samples in another shape.

use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::{Dims, Shape};
use serde::{Deserialize, Serialize};

/// Gives each sample another shape, at no cost (Keras: `Reshape`).
///
/// Input `(batch, …)`, output `(batch, target_shape…)`. One dimension may be -1: it takes what is left.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([784])).add(Reshape::new([28, 28, -1]));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 28, 28, 1)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reshape {
    target_shape: Vec<isize>,
}

impl Reshape {
    /// Samples of this shape, the batch left out.
    pub fn new(target_shape: impl Into<Vec<isize>>) -> Self {
        Reshape { target_shape: target_shape.into() }
    }

    /// The product of the dimensions that are given.
    fn given(&self) -> Option<usize> {
        self.target_shape.iter().filter(|&&d| d != -1).try_fold(1usize, |n, &d| n.checked_mul(usize::try_from(d).ok()?))
    }

    /// The dimensions of a sample of `len` values, where that is known.
    fn sample(&self, len: Option<usize>) -> Result<Vec<Option<usize>>> {
        let given = self.given().unwrap_or(0);
        let free = self.target_shape.contains(&-1);
        let rest = len.map(|len| len.checked_div(given).unwrap_or(0));
        if let Some(len) = len {
            let fits = if free { given > 0 && len.is_multiple_of(given) } else { given == len };
            ensure!(fits, Shape, "samples of {len} values cannot take target_shape {:?}", self.target_shape);
        }
        Ok(self.target_shape.iter().map(|&d| usize::try_from(d).ok().or(rest)).collect())
    }
}

impl Layer for Reshape {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.target_shape.iter().all(|&d| d == -1 || d > 0)
                && self.target_shape.iter().filter(|&&d| d == -1).count() <= 1
                && self.given().is_some(),
            Argument,
            "target_shape is {:?}; its dimensions must be at least 1, except for at most one -1",
            self.target_shape
        );
        Ok(())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        let batch = input.dims().first().copied().flatten();
        let sample = self.sample(input.sample_len())?;
        Ok(vec![Shape::new(std::iter::once(batch).chain(sample).collect::<Vec<_>>())])
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        cx.save_shape(x.shape());
        let batch = x.batch();
        let sample = self.sample(Some(x.shape().iter().skip(1).product()))?;
        let shape: Dims = std::iter::once(batch).chain(sample.into_iter().flatten()).collect();
        Ok(x.reshape(&shape)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let shape = cx.restore_shape()?;
        Ok(gradients.one()?.reshape(&shape)?.into())
    }
}
