//! Channels that are left out at random.

use super::dropout::{drop_gradients, drop_values};
use super::{ChannelsLast, image_channels};
use crate::config::{self, Config};
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::random::check_rate;
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// As [`Dropout`](super::Dropout), but drops whole channels of an image (Keras:
/// `SpatialDropout2D`; Tompson et al. 2014): neighbours within a channel tell of each other.
///
/// Input and output `(batch, height, width, channels)`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SpatialDropout2D {
    rate: f64,
    seed: Option<u64>,
    data_format: ChannelsLast,
}

impl SpatialDropout2D {
    /// Drops this share of the channels: at least 0, below 1.
    pub fn new(rate: f64) -> Self {
        SpatialDropout2D { rate, ..Self::default() }
    }

    /// A seed of the layer's own. Default: the model's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}

impl Layer for SpatialDropout2D {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        check_rate("rate", self.rate)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        image_channels(input)?;
        Ok(vec![input.clone()])
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let noise_shape = [None, Some(1), Some(1), None];
        Ok(drop_values(inputs.one()?, self.rate, self.seed, Some(&noise_shape), cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        Ok(drop_gradients(gradients.one()?, self.rate, cx)?.into())
    }
}
