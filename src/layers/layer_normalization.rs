//! Values with the same mean and variance in every sample.

use super::axes::Axes;
use super::row_norm::{Measure, RowNorm};
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Result, ensure};
use crate::initializers::Initializer;
use crate::layer::{Backward, Build, Forward, Gradients, Layer, Param, Values, flops, one_shape};
use crate::regularizers::Regularizer;
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// `gamma * (x - mean) / sqrt(variance + epsilon) + beta`, with mean and (biased) variance over the axes of `axis`,
/// for each place of the others (Keras: `LayerNormalization`; Ba et al. 2016).
///
/// The output has the shape of the input; gamma and beta have a value for each place of `axis`.
/// Defaults: the last axis, epsilon 1e-3, with gamma (`ones`) and beta (`zeros`).
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([10, 64])).add(LayerNormalization::new().epsilon(1e-6));
/// model.build()?;
/// assert_eq!(model.count_params(), 2 * 64);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerNormalization {
    axis: Axes,
    epsilon: f64,
    center: bool,
    scale: bool,
    rms_scaling: bool,
    beta_initializer: Shared<dyn Initializer>,
    gamma_initializer: Shared<dyn Initializer>,
    beta_regularizer: Option<Shared<dyn Regularizer>>,
    gamma_regularizer: Option<Shared<dyn Regularizer>>,
    beta_constraint: Option<Shared<dyn Constraint>>,
    gamma_constraint: Option<Shared<dyn Constraint>>,
    #[serde(skip)]
    gamma: Option<Param>,
    #[serde(skip)]
    beta: Option<Param>,
}

impl LayerNormalization {
    /// Over the last axis.
    pub fn new() -> Self {
        Self::default()
    }

    /// The axis, or several that are normalized together; the last one is -1. Default: -1.
    pub fn axis(mut self, axis: impl Into<Axes>) -> Self {
        self.axis = axis.into();
        self
    }

    /// Keras' old `rms_scaling`: `gamma * x / sqrt(variance + epsilon)`, where the mean stays and there is no beta.
    /// Default: false. [`RMSNormalization`](super::RMSNormalization) is what is usually meant by that name.
    pub fn rms_scaling(mut self, rms_scaling: bool) -> Self {
        self.rms_scaling = rms_scaling;
        self
    }

    super::affine::affine_builders!();

    fn norm(&self) -> RowNorm<'_> {
        let measure = if self.rms_scaling { Measure::Deviation } else { Measure::Centred };
        let (scale, offset) = (self.gamma.as_ref(), self.beta.as_ref());
        RowNorm { axis: &self.axis, measure, epsilon: self.epsilon, scale, offset }
    }
}

impl Default for LayerNormalization {
    fn default() -> Self {
        LayerNormalization {
            axis: Axes::default(),
            epsilon: 1e-3,
            center: true,
            scale: true,
            rms_scaling: false,
            beta_initializer: "zeros".into(),
            gamma_initializer: "ones".into(),
            beta_regularizer: None,
            gamma_regularizer: None,
            beta_constraint: None,
            gamma_constraint: None,
            gamma: None,
            beta: None,
        }
    }
}

impl Layer for LayerNormalization {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.check_epsilon()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        self.axis.sizes(input)?;
        Ok(vec![input.clone()])
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let shape = self.axis.sizes(one_shape(inputs)?)?;
        if self.rms_scaling {
            // Keras then makes gamma, and no beta, whatever `scale` and `center` say.
            let (scale, center) = (self.scale, self.center);
            (self.scale, self.center) = (true, false);
            let built = self.build_affine(&shape, cx);
            (self.scale, self.center) = (scale, center);
            return built;
        }
        self.build_affine(&shape, cx)
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> f64 {
        // Mean and variance of each row take four, the scale, a factor and an offset the others.
        7.0 * flops::values(outputs)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        Ok(self.norm().forward(inputs.one()?, cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        self.norm().backward(gradients.one()?, cx)
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.gamma.iter().for_each(&mut *visit);
        self.beta.iter().for_each(&mut *visit);
    }
}
