//! Noise that is multiplied in training.

use super::gaussian_noise::for_each_draw;
use crate::config::{self, Config};
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use crate::random::check_rate;
use serde::{Deserialize, Serialize};

/// In training, multiplies with draws from a normal distribution of mean 1 and standard deviation
/// `sqrt(rate / (1 - rate))`, which is that of [`Dropout`](super::Dropout) (Keras: `GaussianDropout`;
/// Srivastava et al. 2014).
///
/// The output has the shape of the input.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GaussianDropout {
    rate: f64,
    seed: Option<u64>,
}

impl GaussianDropout {
    /// Noise as strong as that of a dropout of this rate: at least 0, below 1.
    pub fn new(rate: f64) -> Self {
        GaussianDropout { rate, seed: None }
    }

    /// A seed of the layer's own. Default: the model's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

impl Layer for GaussianDropout {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        check_rate("rate", self.rate)
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let noisy = cx.training() && self.rate > 0.0;
        let y = if noisy {
            let stddev = (self.rate / (1.0 - self.rate)).sqrt() as f32;
            let mut factors = cx.scratch(x.shape());
            for_each_draw(&mut factors, |i| cx.rng_with(self.seed, i), |factor, z| *factor = 1.0 + stddev * z);
            let y = x.zip_map(&factors, |x, factor| x * factor)?;
            cx.save(factors);
            y
        } else {
            x
        };
        // A mark of whether there are factors to restore.
        cx.save_shape(&[usize::from(noisy)]);
        Ok(y.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let dy = gradients.one()?;
        let noisy = cx.restore_shape()?[0] == 1;
        Ok(if noisy { dy.zip_map(&cx.restore()?, |dy, factor| dy * factor)? } else { dy }.into())
    }
}
