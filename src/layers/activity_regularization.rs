//! A penalty on what passes.

use crate::config::{self, Config};
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use crate::regularizers::{L1L2, Regularizer};
use serde::{Deserialize, Serialize};

/// Puts out its input and adds `(l1 * sum(|x|) + l2 * sum(x²)) / batch` to the loss (Keras:
/// `ActivityRegularization`).
///
/// Any layer can have such a penalty through [`activity_regularizer`](crate::LayerExt::activity_regularizer).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ActivityRegularization {
    l1: f64,
    l2: f64,
}

impl ActivityRegularization {
    /// A penalty with these factors.
    pub fn new(l1: f64, l2: f64) -> Self {
        ActivityRegularization { l1, l2 }
    }

    fn penalty(&self) -> L1L2 {
        L1L2::new(self.l1, self.l2)
    }
}

impl Layer for ActivityRegularization {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.penalty().check()
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        cx.add_loss(self.penalty().loss(&x) * cx.mean_scale(&x));
        cx.save(x.clone());
        Ok(x.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let x = cx.restore()?;
        let mut gradient = gradients.one()?;
        self.penalty().add_gradient(&x, cx.mean_scale(&x) as f32, gradient.data_mut());
        Ok(gradient.into())
    }
}
