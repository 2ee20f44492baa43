//! The inner part of a sequence, an image or a volume.

use super::Margins;
use super::spatial::{DataFormat, class_of};
use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// Takes steps away before and after a sequence (Keras: `Cropping1D`): see [`Cropping`]. Default: one on each side.
///
/// Input `(batch, steps, channels)`, output `(batch, steps - before - after, channels)`.
pub type Cropping1D = Cropping<1>;

/// Takes rows and columns away at the sides of an image (Keras: `Cropping2D`): see [`Cropping`]. Default: none.
///
/// Input `(batch, height, width, channels)`, output `(batch, height - top - bottom, width - left -
/// right, channels)`.
pub type Cropping2D = Cropping<2>;

/// Takes planes away at the sides of a volume (Keras: `Cropping3D`): see [`Cropping`]. Default: one on each side.
pub type Cropping3D = Cropping<3>;

/// Takes cells away on all sides (Keras: [`Cropping1D`], [`Cropping2D`], [`Cropping3D`]).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default = "Default::default")]
pub struct Cropping<const N: usize> {
    cropping: Margins<N>,
    data_format: DataFormat,
}

impl<const N: usize> Cropping<N> {
    /// One number for all sides, or those of [`Margins`].
    pub fn new(cropping: impl Into<Margins<N>>) -> Self {
        Cropping { cropping: cropping.into(), ..Self::default() }
    }

    /// Where the channels are. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }
}

impl<const N: usize> Default for Cropping<N> {
    fn default() -> Self {
        Cropping { cropping: if N == 2 { 0 } else { 1 }.into(), data_format: DataFormat::default() }
    }
}

impl<const N: usize> Layer for Cropping<N> {
    fn class_name(&self) -> &str {
        class_of::<N>(["Cropping1D", "Cropping2D", "Cropping3D"])
    }

    fn config(&self) -> Result<Config> {
        let mut config = config::of(self)?;
        if N == 1 {
            // Keras' Cropping1D has no such argument.
            config.remove("data_format");
        }
        Ok(config)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let shorter = |n: usize, [before, after]: [usize; 2], name| {
            let rest = n.checked_sub(before).and_then(|n| n.checked_sub(after)).filter(|&n| n > 0);
            rest.ok_or_else(|| {
                Error::Shape(format!("cropping ({before}, {after}) leaves nothing of the input's {name} of {n}"))
            })
        };
        let input = self.data_format.last_shape(one_shape(inputs)?);
        Ok(vec![self.data_format.given_shape(self.cropping.shape(&input, shorter)?)])
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        let values = self.data_format.last(inputs.one()?);
        Ok(self.data_format.given(self.cropping.take_away(&values)?).into())
    }

    fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        let values = self.data_format.last(gradients.one()?);
        Ok(self.data_format.given(self.cropping.add(&values, 0.0)?).into())
    }
}
