//! Channels that are left out at random.

use super::dropout::{drop_gradients, drop_values};
use super::spatial::{DataFormat, channels, class_of};
use crate::config::{self, Config};
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::random::check_rate;
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// Drops whole channels of a sequence (Keras: `SpatialDropout1D`): see [`SpatialDropout`].
pub type SpatialDropout1D = SpatialDropout<1>;
/// Drops whole channels of an image (Keras: `SpatialDropout2D`): see [`SpatialDropout`].
pub type SpatialDropout2D = SpatialDropout<2>;
/// Drops whole channels of a volume (Keras: `SpatialDropout3D`): see [`SpatialDropout`].
pub type SpatialDropout3D = SpatialDropout<3>;

/// As [`Dropout`](super::Dropout), but drops whole channels (Keras: [`SpatialDropout1D`], [`SpatialDropout2D`],
/// [`SpatialDropout3D`]; Tompson et al. 2014): neighbours within a channel tell of each other.
///
/// Input and output `(batch, …, channels)`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default = "Default::default")]
pub struct SpatialDropout<const N: usize> {
    rate: f64,
    seed: Option<u64>,
    data_format: DataFormat,
}

impl<const N: usize> SpatialDropout<N> {
    /// Drops this share of the channels: at least 0, below 1.
    pub fn new(rate: f64) -> Self {
        SpatialDropout { rate, ..Self::default() }
    }

    /// A seed of the layer's own. Default: the model's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Where the channels are. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }
}

impl<const N: usize> Layer for SpatialDropout<N> {
    fn class_name(&self) -> &str {
        class_of::<N>(["SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"])
    }

    fn config(&self) -> Result<Config> {
        let mut config = config::of(self)?;
        if N == 1 {
            // Keras' SpatialDropout1D has no such argument.
            config.remove("data_format");
        }
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        check_rate("rate", self.rate)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        channels::<N>(&self.data_format.last_shape(input))?;
        Ok(vec![input.clone()])
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let mut noise_shape = [Some(1); 5];
        noise_shape[0] = None;
        noise_shape[if self.data_format == DataFormat::ChannelsLast { N + 1 } else { 1 }] = None;
        Ok(drop_values(x, self.rate, self.seed, Some(&noise_shape[..N + 2]), cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        Ok(drop_gradients(gradients.one()?, self.rate, cx)?.into())
    }
}
