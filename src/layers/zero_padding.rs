//! Zeros around a sequence, an image or a volume.

use super::Margins;
use super::spatial::{DataFormat, class_of};
use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::layer::{Backward, Forward, Fusible, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// Adds steps of zeros before and after a sequence (Keras: `ZeroPadding1D`): see [`ZeroPadding`].
///
/// Input `(batch, steps, channels)`, output `(batch, before + steps + after, channels)`.
pub type ZeroPadding1D = ZeroPadding<1>;

/// Adds rows and columns of zeros around an image (Keras: `ZeroPadding2D`): see [`ZeroPadding`].
///
/// Input `(batch, height, width, channels)`, output `(batch, top + height + bottom, left + width +
/// right, channels)`.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([5, 5, 3])).add(ZeroPadding2D::new(((1, 2), (0, 3))));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 8, 8, 3)");
/// # Ok::<(), cornu::Error>(())
/// ```
pub type ZeroPadding2D = ZeroPadding<2>;

/// Adds planes of zeros around a volume (Keras: `ZeroPadding3D`): see [`ZeroPadding`].
pub type ZeroPadding3D = ZeroPadding<3>;

/// Adds zeros on all sides (Keras: [`ZeroPadding1D`], [`ZeroPadding2D`], [`ZeroPadding3D`]). Default: one on each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default = "Default::default")]
pub struct ZeroPadding<const N: usize> {
    padding: Margins<N>,
    data_format: DataFormat,
}

impl<const N: usize> ZeroPadding<N> {
    /// One number for all sides, or those of [`Margins`].
    pub fn new(padding: impl Into<Margins<N>>) -> Self {
        ZeroPadding { padding: padding.into(), ..Self::default() }
    }

    /// Where the channels are. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }
}

impl<const N: usize> Default for ZeroPadding<N> {
    fn default() -> Self {
        ZeroPadding { padding: 1.into(), data_format: DataFormat::default() }
    }
}

impl<const N: usize> Layer for ZeroPadding<N> {
    fn class_name(&self) -> &str {
        class_of::<N>(["ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"])
    }

    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let longer = |n: usize, [before, after]: [usize; 2], name| {
            let sum = before.checked_add(n).and_then(|n| n.checked_add(after));
            sum.ok_or_else(|| Error::Argument(format!("padding ({before}, {after}) of the {name} is too large")))
        };
        let input = self.data_format.last_shape(one_shape(inputs)?);
        Ok(vec![self.data_format.given_shape(self.padding.shape(&input, longer)?)])
    }

    fn fusible(&self, _: &[Shape]) -> Option<Fusible> {
        let last = self.data_format == DataFormat::ChannelsLast;
        <[[usize; 2]; 2]>::try_from(&self.padding.0[..]).ok().filter(|_| last).map(Fusible::Padding)
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        let values = self.data_format.last(inputs.one()?);
        Ok(self.data_format.given(self.padding.add(&values, 0.0)?).into())
    }

    fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        let values = self.data_format.last(gradients.one()?);
        Ok(self.data_format.given(self.padding.take_away(&values)?).into())
    }
}
