//! More cells: each is repeated, or values between them are found.

use super::spatial::{DataFormat, Sizes, channels, class_of, dims, spatial_shape, volume};
use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
pub use crate::kernels::resize::Interpolation;
use crate::kernels::resize::Runs;
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// Repeats each step of a sequence (Keras: `UpSampling1D`): see [`UpSampling`].
///
/// Input `(batch, steps, channels)`, output `(batch, size · steps, channels)`.
pub type UpSampling1D = UpSampling<1>;

/// Makes an image larger (Keras: `UpSampling2D`): see [`UpSampling`]; alone it can interpolate.
///
/// Input `(batch, height, width, channels)`, output `(batch, size · height, size · width, channels)`.
///
/// ```
/// use cornu::{layers::Interpolation, prelude::*};
/// let mut model = Sequential::new();
/// model.add(Input::new([7, 7, 3])).add(UpSampling2D::new((2, 3)).interpolation(Interpolation::Bilinear));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 14, 21, 3)");
/// # Ok::<(), cornu::Error>(())
/// ```
pub type UpSampling2D = UpSampling<2>;

/// Repeats each cell of a volume (Keras: `UpSampling3D`): see [`UpSampling`].
pub type UpSampling3D = UpSampling<3>;

/// `size` times as many cells along each axis (Keras: [`UpSampling1D`], [`UpSampling2D`], [`UpSampling3D`]).
///
/// Defaults: twice as many, each cell repeated.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default = "Default::default")]
pub struct UpSampling<const N: usize> {
    size: Sizes<N>,
    data_format: DataFormat,
    interpolation: Interpolation,
}

impl<const N: usize> UpSampling<N> {
    /// So many times as many cells: one number, or one for each axis.
    pub fn new(size: impl Into<Sizes<N>>) -> Self {
        UpSampling { size: size.into(), ..Self::default() }
    }

    /// Where the channels are. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }

    fn runs(&self, axis: usize, cells: usize) -> Result<Runs> {
        Runs::resize(cells, longer(cells, self.size.0[axis + N - 4])?, self.interpolation, false)
    }
}

impl UpSampling2D {
    /// How values between those of the image are found. Default: nearest, each is repeated.
    pub fn interpolation(mut self, interpolation: Interpolation) -> Self {
        self.interpolation = interpolation;
        self
    }
}

fn longer(cells: usize, size: usize) -> Result<usize> {
    let more = cells.checked_mul(size).filter(|&n| n < 1 << 40);
    more.ok_or_else(|| Error::Shape(format!("{size} times {cells} cells are too many")))
}

impl<const N: usize> Default for UpSampling<N> {
    fn default() -> Self {
        UpSampling { size: 2.into(), data_format: DataFormat::default(), interpolation: Interpolation::default() }
    }
}

impl<const N: usize> Layer for UpSampling<N> {
    fn class_name(&self) -> &str {
        class_of::<N>(["UpSampling1D", "UpSampling2D", "UpSampling3D"])
    }

    fn config(&self) -> Result<Config> {
        let mut config = config::of(self)?;
        if N != 2 {
            config.remove("interpolation");
        }
        if N == 1 {
            // Keras takes a plain number here alone.
            config.remove("data_format");
            config.insert("size".to_owned(), self.size.0[0].into());
        }
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        ensure!(
            N == 2 || self.interpolation == Interpolation::Nearest,
            Argument,
            "interpolation is {:?}, which UpSampling2D alone has",
            self.interpolation
        );
        self.size.check("size")
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = &self.data_format.last_shape(one_shape(inputs)?);
        let output = spatial_shape::<N>(input, channels::<N>(input)?, |axis, n| longer(n, self.size.0[axis]))?;
        Ok(vec![self.data_format.given_shape(output)])
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let mut x = self.data_format.last(inputs.one()?);
        let mut shape = volume::<N>(x.shape())?;
        cx.save_shape(x.shape());
        for axis in 4 - N..4 {
            let runs = self.runs(axis, shape[axis])?;
            shape[axis] = runs.output();
            let mut y = cx.scratch(dims::<N>(shape));
            runs.forward(x.data(), shape[axis + 1..].iter().product(), y.data_mut());
            x = y;
        }
        Ok(self.data_format.given(x).into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let input = volume::<N>(&cx.restore_shape()?)?;
        let mut dy = self.data_format.last(gradients.one()?);
        let mut shape = volume::<N>(dy.shape())?;
        for axis in (4 - N..4).rev() {
            let runs = self.runs(axis, input[axis])?;
            shape[axis] = input[axis];
            let mut dx = cx.scratch(dims::<N>(shape));
            runs.backward(dy.data(), shape[axis + 1..].iter().product(), dx.data_mut());
            dy = dx;
        }
        Ok(self.data_format.given(dy).into())
    }
}
