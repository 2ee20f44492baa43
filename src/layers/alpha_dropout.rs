//! Dropout that keeps mean and variance.

use super::dropout::{check_noise_shape, drop_gradients, drop_values};
use crate::config::{self, Config};
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::random::check_rate;
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// In training, sets values to the lower limit of SELU with probability `rate`, and scales and moves all so that
/// mean and variance stay 0 and 1; else lets all pass (Keras: `AlphaDropout`; Klambauer et al. 2017).
///
/// The output has the shape of the input. It goes with the activation `"selu"` and the initializer `lecun_normal`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AlphaDropout {
    rate: f64,
    seed: Option<u64>,
    noise_shape: Option<Vec<Option<usize>>>,
}

/// What SELU makes of very negative values.
const LOWEST: f64 = -1.673_263_242_354_377_2 * 1.050_700_987_355_480_5;

impl AlphaDropout {
    /// Drops this share of the values: at least 0, below 1.
    pub fn new(rate: f64) -> Self {
        AlphaDropout { rate, ..Self::default() }
    }

    /// A seed of the layer's own. Default: the model's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The shape of the draws: see [`Dropout::noise_shape`](super::Dropout::noise_shape).
    pub fn noise_shape(mut self, noise_shape: impl Into<Vec<Option<usize>>>) -> Self {
        self.noise_shape = Some(noise_shape.into());
        self
    }

    /// The factor of all values.
    fn scale(&self) -> f64 {
        ((1.0 - self.rate) * (1.0 + self.rate * LOWEST * LOWEST)).powf(-0.5)
    }
}

impl Layer for AlphaDropout {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        check_rate("rate", self.rate)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        check_noise_shape(self.noise_shape.as_deref(), input)?;
        Ok(vec![input.clone()])
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let drops = cx.training() && self.rate > 0.0 && !x.is_empty();
        let y = if drops {
            let mut ones = cx.scratch(x.shape());
            ones.data_mut().fill(1.0);
            let kept = drop_values(ones, self.rate, self.seed, self.noise_shape.as_deref(), cx)?;
            let scale = self.scale();
            let offset = -scale * LOWEST * self.rate;
            let (scale, offset, dropped) = (scale as f32, offset as f32, (scale * LOWEST + offset) as f32);
            x.zip_map(&kept, |x, kept| if kept == 0.0 { dropped } else { scale * x + offset })?
        } else {
            x
        };
        // A mark of whether there are draws to restore.
        cx.save_shape(&[usize::from(drops)]);
        Ok(y.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let dy = gradients.one()?;
        if cx.restore_shape()?[0] == 0 {
            return Ok(dy.into());
        }
        // Dropout has divided what it kept by 1 - rate.
        let scale = (self.scale() * (1.0 - self.rate)) as f32;
        Ok(drop_gradients(dy, self.rate, cx)?.map(|dy| dy * scale).into())
    }
}
