//! Noise that is added in training.

use crate::config::{self, Config, check_non_negative};
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use crate::random::Rng;
use crate::tensor::Tensor;
use ndarray_rand::rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// In training, adds draws from a normal distribution of mean 0 (Keras: `GaussianNoise`).
///
/// The output has the shape of the input.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GaussianNoise {
    stddev: f64,
    seed: Option<u64>,
}

impl GaussianNoise {
    /// Noise of this standard deviation.
    pub fn new(stddev: f64) -> Self {
        GaussianNoise { stddev, seed: None }
    }

    /// A seed of the layer's own. Default: the model's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

impl Layer for GaussianNoise {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        check_non_negative("stddev", self.stddev)
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let mut x = inputs.one()?;
        if cx.training() && self.stddev > 0.0 {
            let stddev = self.stddev as f32;
            for_each_draw(&mut x, |i| cx.rng_with(self.seed, i), |x, z| *x += stddev * z);
        }
        Ok(x.into())
    }

    fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Ok(gradients.one()?.into())
    }
}

/// Calls `change` with each value and a draw from the standard normal distribution for it.
pub(super) fn for_each_draw(x: &mut Tensor, rng: impl Fn(usize) -> Rng, change: impl Fn(&mut f32, f32)) {
    let len = x.len() / x.batch().max(1);
    for (i, x) in x.data_mut().chunks_exact_mut(len.max(1)).enumerate() {
        let mut rng = rng(i);
        x.iter_mut().for_each(|x| change(x, StandardNormal.sample(&mut rng)));
    }
}
