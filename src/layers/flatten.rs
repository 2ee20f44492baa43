//! All dimensions of a sample in one.

use super::spatial::DataFormat;
use crate::config::{self, Config};
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// Makes `(batch, height, width, channels)` into `(batch, height * width * channels)`, at no cost
/// (Keras: `Flatten`). `(batch,)` becomes `(batch, 1)`. Where the channels are first they are moved last before.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Flatten {
    data_format: DataFormat,
}

impl Flatten {
    /// The layer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the channels are. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }
}

impl Layer for Flatten {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        Ok(vec![Shape::new([input.dims().first().copied().flatten(), input.sample_len()])])
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = self.data_format.last(inputs.one()?);
        cx.save_shape(x.shape());
        let (batch, len) = (x.batch(), x.len());
        Ok(x.reshape([batch, len / batch.max(1)])?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let shape = cx.restore_shape()?;
        Ok(self.data_format.given(gradients.one()?.reshape(&shape)?).into())
    }
}
