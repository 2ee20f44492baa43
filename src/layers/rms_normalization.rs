//! Values with the same root mean square in every sample.

use super::axes::Axes;
use super::row_norm::{Measure, RowNorm};
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::layer::{Backward, Build, Forward, Gradients, Layer, Param, Values, flops, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// `scale * x / sqrt(mean(x²) + epsilon)`, with the mean over the axes of `axis`, for each place of the others
/// (Keras: `RMSNormalization`; Zhang & Sennrich 2019).
///
/// The output has the shape of the input; the scale, which starts as 1, has a value for each place of `axis`.
/// Defaults: the last axis, epsilon 1e-6.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct RMSNormalization {
    axis: Axes,
    epsilon: f64,
    #[serde(skip)]
    scale: Param,
}

impl RMSNormalization {
    /// Over the last axis.
    pub fn new() -> Self {
        Self::default()
    }

    /// The axis, or several that are normalized together; the last one is -1. Default: -1.
    pub fn axis(mut self, axis: impl Into<Axes>) -> Self {
        self.axis = axis.into();
        self
    }

    /// What is added to the mean of squares, positive. Default: 1e-6.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    fn norm(&self) -> RowNorm<'_> {
        let (measure, epsilon) = (Measure::RootMeanSquare, self.epsilon);
        RowNorm { axis: &self.axis, measure, epsilon, scale: Some(&self.scale), offset: None }
    }
}

impl Default for RMSNormalization {
    fn default() -> Self {
        RMSNormalization { axis: Axes::default(), epsilon: 1e-6, scale: Param::default() }
    }
}

impl Layer for RMSNormalization {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        let epsilon = self.epsilon;
        ensure!(epsilon.is_finite() && epsilon > 0.0, Argument, "epsilon is {epsilon}; it must be a number above 0");
        Ok(())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        self.axis.sizes(input)?;
        Ok(vec![input.clone()])
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let shape = self.axis.sizes(one_shape(inputs)?)?;
        self.scale = cx.weight("scale", &shape, &"ones".into(), &None, &None)?;
        Ok(())
    }

    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> f64 {
        // The square and its sum, the scale and a factor.
        4.0 * flops::values(outputs)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        Ok(self.norm().forward(inputs.one()?, cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        self.norm().backward(gradients.one()?, cx)
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        visit(&self.scale);
    }
}
