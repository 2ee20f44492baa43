//! An activation function as a layer of its own.

use super::{Activation, activate, deactivate};
use crate::config::Config;
use crate::error::Result;
use crate::layer::{Backward, Forward, Fusible, Gradients, Layer, Values};
use crate::shape::Shape;

impl Layer for Activation {
    fn class_name(&self) -> &str {
        "Activation"
    }

    fn config(&self) -> Result<Config> {
        let mut config = Config::new();
        config.insert("activation".to_owned(), serde_json::json!(self));
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        Activation::check(self)
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn ends_in_relu(&self) -> bool {
        *self == Activation::Relu
    }

    fn fusible(&self, _: &[Shape]) -> Option<Fusible> {
        Some(Fusible::Activation(self.clone()))
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        Ok(activate(self, inputs.one()?, cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        Ok(deactivate(self, gradients.one()?, cx)?.into())
    }
}
