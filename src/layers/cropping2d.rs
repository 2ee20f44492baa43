//! The inner part of an image.

use super::{ChannelsLast, Margins};
use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// Takes rows and columns away at the sides of an image (Keras: `Cropping2D`).
///
/// Input `(batch, height, width, channels)`, output `(batch, height - top - bottom, width - left -
/// right, channels)`. Default: nothing is taken away.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cropping2D {
    cropping: Margins,
    data_format: ChannelsLast,
}

impl Cropping2D {
    /// One number for all sides, `(vertical, horizontal)`, or `((top, bottom), (left, right))`.
    pub fn new(cropping: impl Into<Margins>) -> Self {
        Cropping2D { cropping: cropping.into(), ..Self::default() }
    }
}

impl Layer for Cropping2D {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let shorter = |n: usize, [before, after]: [usize; 2], name| {
            let rest = n.checked_sub(before).and_then(|n| n.checked_sub(after)).filter(|&n| n > 0);
            rest.ok_or_else(|| {
                Error::Shape(format!("cropping ({before}, {after}) leaves nothing of the input's {name} of {n}"))
            })
        };
        Ok(vec![self.cropping.shape(one_shape(inputs)?, shorter)?])
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        Ok(self.cropping.take_away(&inputs.one()?)?.into())
    }

    fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Ok(self.cropping.add(&gradients.one()?)?.into())
    }
}
