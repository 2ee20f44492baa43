//! The rectifier that leaks, as a layer.

use super::{Activation, activate, deactivate};
use crate::config::{self, Config};
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use serde::{Deserialize, Serialize};

/// `x` if positive, else `negative_slope * x` (Keras: `LeakyReLU`).
///
/// The output has the shape of the input. The slope's default is 0.3, as in Keras, where the
/// activation named `"leaky_relu"` has 0.2.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct LeakyReLU {
    // Keras 2 calls it alpha.
    #[serde(alias = "alpha")]
    negative_slope: f64,
}

impl LeakyReLU {
    /// A slope of 0.3.
    pub fn new() -> Self {
        Self::default()
    }

    /// The slope of the negative side. Default: 0.3.
    pub fn negative_slope(mut self, negative_slope: f64) -> Self {
        self.negative_slope = negative_slope;
        self
    }

    fn function(&self) -> Activation {
        Activation::LeakyRelu { negative_slope: self.negative_slope }
    }
}

impl Default for LeakyReLU {
    fn default() -> Self {
        LeakyReLU { negative_slope: 0.3 }
    }
}

impl Layer for LeakyReLU {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.function().check()
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        Ok(activate(&self.function(), inputs.one()?, cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        Ok(deactivate(&self.function(), gradients.one()?, cx)?.into())
    }
}
