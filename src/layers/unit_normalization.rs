//! Values of length 1.

use super::axes::Axes;
use super::row_norm::{Measure, RowNorm};
use crate::config::{self, Config};
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values, flops, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// `x / max(|x|, 1e-12)`, with the Euclidean length over the axes of `axis`, for each place of the others (Keras:
/// `UnitNormalization`).
///
/// The output has the shape of the input. Default: the last axis.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitNormalization {
    axis: Axes,
}

impl UnitNormalization {
    /// Over the last axis.
    pub fn new() -> Self {
        Self::default()
    }

    /// The axis, or several that are normalized together; the last one is -1. Default: -1.
    pub fn axis(mut self, axis: impl Into<Axes>) -> Self {
        self.axis = axis.into();
        self
    }

    fn norm(&self) -> RowNorm<'_> {
        RowNorm { axis: &self.axis, measure: Measure::Length, epsilon: 1e-12, scale: None, offset: None }
    }
}

impl Layer for UnitNormalization {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        self.axis.of_rank(input.rank())?;
        Ok(vec![input.clone()])
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> f64 {
        // The square and its sum, and the scale.
        3.0 * flops::values(outputs)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        Ok(self.norm().forward(inputs.one()?, cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        self.norm().backward(gradients.one()?, cx)
    }
}
