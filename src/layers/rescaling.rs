//! Values on another scale.

use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, flops, one_shape};
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// `x * scale + offset` (Keras: `Rescaling`), with one number for all values or one for each channel.
///
/// The output has the shape of the input. Default offset: 0.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// // Bytes of an image become numbers from -1 to 1.
/// model.add(Input::new([2])).add(Rescaling::new(1.0 / 127.5).offset(-1.0));
/// model.build()?;
/// let y = model.predict(&ndarray::array![[0.0, 255.0]], Predict::default())?;
/// assert_eq!(y, ndarray::array![[-1.0, 1.0]].into_dyn());
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default = "Default::default")]
pub struct Rescaling {
    scale: Factor,
    offset: Factor,
}

/// One number for all channels, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Factor {
    /// The same for all values.
    All(f64),
    /// One for each place of the last axis.
    Each(Vec<f64>),
}

impl From<f64> for Factor {
    fn from(value: f64) -> Self {
        Factor::All(value)
    }
}

impl From<Vec<f64>> for Factor {
    fn from(values: Vec<f64>) -> Self {
        Factor::Each(values)
    }
}

impl<const N: usize> From<[f64; N]> for Factor {
    fn from(values: [f64; N]) -> Self {
        Factor::Each(values.to_vec())
    }
}

impl Factor {
    fn values(&self) -> &[f64] {
        match self {
            Factor::All(value) => std::slice::from_ref(value),
            Factor::Each(values) => values,
        }
    }

    /// One value for each of `last` channels.
    fn row(&self, name: &str, last: usize) -> Result<Vec<f32>> {
        let values = self.values();
        ensure!(
            values.len() == 1 || values.len() == last,
            Shape,
            "{name} has {} values, the last axis of the input {last} channels",
            values.len()
        );
        Ok(values.iter().cycle().take(last).map(|&v| v as f32).collect())
    }
}

impl Rescaling {
    /// Multiplies by `scale`: one number, or one for each channel.
    pub fn new(scale: impl Into<Factor>) -> Self {
        Rescaling { scale: scale.into(), ..Self::default() }
    }

    /// Adds `offset`: one number, or one for each channel. Default: 0.
    pub fn offset(mut self, offset: impl Into<Factor>) -> Self {
        self.offset = offset.into();
        self
    }
}

impl Default for Rescaling {
    fn default() -> Self {
        Rescaling { scale: 1.0.into(), offset: 0.0.into() }
    }
}

impl Layer for Rescaling {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        for (name, factor) in [("scale", &self.scale), ("offset", &self.offset)] {
            let usable = !factor.values().is_empty() && factor.values().iter().all(|v| v.is_finite());
            ensure!(usable, Argument, "{name} is {:?}; it must hold finite numbers", factor.values());
        }
        Ok(())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        if let Some(last) = input.last() {
            self.scale.row("scale", last)?;
            self.offset.row("offset", last)?;
        }
        Ok(vec![input.clone()])
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> f64 {
        // A factor and an offset.
        2.0 * flops::values(outputs)
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        let mut x = inputs.one()?;
        let last = x.last();
        let (scale, offset) = (self.scale.row("scale", last)?, self.offset.row("offset", last)?);
        by_rows(&mut x, |row| {
            row.iter_mut().zip(&scale).zip(&offset).for_each(|((x, scale), offset)| *x = *x * scale + offset);
        });
        Ok(x.into())
    }

    fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        let mut gradient = gradients.one()?;
        let scale = self.scale.row("scale", gradient.last())?;
        by_rows(&mut gradient, |row| row.iter_mut().zip(&scale).for_each(|(g, scale)| *g *= scale));
        Ok(gradient.into())
    }
}

/// Calls `change` with each run of values along the last axis.
fn by_rows(x: &mut Tensor, change: impl FnMut(&mut [f32])) {
    let last = x.last().max(1);
    x.data_mut().chunks_exact_mut(last).for_each(change);
}
