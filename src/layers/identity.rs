//! Nothing, as a layer.

use crate::config::{self, Config};
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use serde::{Deserialize, Serialize};

/// Puts out its input (Keras: `Identity`): a place holder, or a named point in a graph.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {}

impl Identity {
    /// The layer.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Layer for Identity {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        Ok(inputs)
    }

    fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Ok(gradients.into_iter().map(Some).collect())
    }
}
