//! Zeros around an image.

use super::{ChannelsLast, Margins};
use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// Adds rows and columns of zeros around an image (Keras: `ZeroPadding2D`).
///
/// Input `(batch, height, width, channels)`, output `(batch, top + height + bottom, left + width +
/// right, channels)`. Default: one on each side.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([5, 5, 3])).add(ZeroPadding2D::new(((1, 2), (0, 3))));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 8, 8, 3)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ZeroPadding2D {
    padding: Margins,
    data_format: ChannelsLast,
}

impl ZeroPadding2D {
    /// One number for all sides, `(vertical, horizontal)`, or `((top, bottom), (left, right))`.
    pub fn new(padding: impl Into<Margins>) -> Self {
        ZeroPadding2D { padding: padding.into(), ..Self::default() }
    }
}

impl Default for ZeroPadding2D {
    fn default() -> Self {
        ZeroPadding2D { padding: 1.into(), data_format: ChannelsLast }
    }
}

impl Layer for ZeroPadding2D {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let longer = |n: usize, [before, after]: [usize; 2], name| {
            let sum = before.checked_add(n).and_then(|n| n.checked_add(after));
            sum.ok_or_else(|| Error::Argument(format!("padding ({before}, {after}) of the {name} is too large")))
        };
        Ok(vec![self.padding.shape(one_shape(inputs)?, longer)?])
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        Ok(self.padding.add(&inputs.one()?)?.into())
    }

    fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Ok(self.padding.take_away(&gradients.one()?)?.into())
    }
}
