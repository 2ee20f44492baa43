//! The exponential linear unit as a layer.

use super::{Activation, activate, deactivate};
use crate::config::{self, Config};
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use serde::{Deserialize, Serialize};

/// `x` if positive, else `alpha * (e^x - 1)` (Keras: `ELU`; Clevert, Unterthiner, Hochreiter 2015).
///
/// The output has the shape of the input. Default: alpha 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ELU {
    alpha: f64,
}

impl ELU {
    /// An alpha of 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// The limit of the negative side, at least 0. Default: 1.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    fn function(&self) -> Activation {
        Activation::Elu { alpha: self.alpha }
    }
}

impl Default for ELU {
    fn default() -> Self {
        ELU { alpha: 1.0 }
    }
}

impl Layer for ELU {
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
