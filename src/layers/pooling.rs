//! The largest or the mean value of each window.

use super::spatial::{DataFormat, Sizes, channels, check_padding, class_of, dims, pooling, window_shape};
use crate::config::{self, Config};
use crate::error::Result;
use crate::layer::{Backward, Forward, Fusible, Gradients, Layer, Values, flops, one_shape};
use crate::shape::{Padding, Shape};
use serde::{Deserialize, Serialize};

/// The largest value of each window of a sequence (Keras: `MaxPooling1D`): see [`MaxPooling`].
///
/// Input `(batch, steps, channels)`, output `(batch, new_steps, channels)`.
pub type MaxPooling1D = MaxPooling<1>;

/// The largest value of each window of an image (Keras: `MaxPooling2D`): see [`MaxPooling`].
///
/// Input `(batch, height, width, channels)`, output `(batch, new_height, new_width, channels)`.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([27, 27, 96])).add(MaxPooling2D::new(3).strides(2));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 13, 13, 96)");
/// # Ok::<(), cornu::Error>(())
/// ```
pub type MaxPooling2D = MaxPooling<2>;

/// The largest value of each window of a volume (Keras: `MaxPooling3D`): see [`MaxPooling`].
///
/// Input `(batch, depth, height, width, channels)`, output `(batch, new_depth, new_height, new_width, channels)`.
pub type MaxPooling3D = MaxPooling<3>;

/// The mean of each window of a sequence (Keras: `AveragePooling1D`): see [`AveragePooling`].
///
/// Input `(batch, steps, channels)`, output `(batch, new_steps, channels)`.
pub type AveragePooling1D = AveragePooling<1>;

/// The mean of each window of an image (Keras: `AveragePooling2D`): see [`AveragePooling`].
///
/// Input `(batch, height, width, channels)`, output `(batch, new_height, new_width, channels)`.
pub type AveragePooling2D = AveragePooling<2>;

/// The mean of each window of a volume (Keras: `AveragePooling3D`): see [`AveragePooling`].
///
/// Input `(batch, depth, height, width, channels)`, output `(batch, new_depth, new_height, new_width, channels)`.
pub type AveragePooling3D = AveragePooling<3>;

/// The arguments of a pooling layer, and what the layers share.
macro_rules! pooling {
    ($(#[$doc:meta])* $class:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(default = "Default::default")]
        pub struct $class<const N: usize> {
            pool_size: Sizes<N>,
            strides: Option<Sizes<N>>,
            padding: Padding,
            data_format: DataFormat,
        }

        impl<const N: usize> $class<N> {
            /// Windows of this size: one number, or one for each axis.
            pub fn new(pool_size: impl Into<Sizes<N>>) -> Self {
                $class { pool_size: pool_size.into(), ..Self::default() }
            }

            /// Steps of the window along each axis. Default: the size of the window.
            pub fn strides(mut self, strides: impl Into<Sizes<N>>) -> Self {
                self.strides = Some(strides.into());
                self
            }

            /// What happens at the border; padding itself never counts. Default: valid.
            pub fn padding(mut self, padding: Padding) -> Self {
                self.padding = padding;
                self
            }

            /// Where the channels are. Default: last.
            pub fn data_format(mut self, data_format: DataFormat) -> Self {
                self.data_format = data_format;
                self
            }

            fn steps(&self) -> Sizes<N> {
                self.strides.unwrap_or(self.pool_size)
            }

            fn checked(&self) -> Result<()> {
                self.pool_size.check("pool_size")?;
                self.steps().check("strides")?;
                check_padding(self.padding)
            }

            fn shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
                let input = &self.data_format.last_shape(one_shape(inputs)?);
                let channels = channels::<N>(input)?;
                let output = window_shape(input, self.pool_size, self.steps(), 1.into(), self.padding, channels)?;
                Ok(vec![self.data_format.given_shape(output)])
            }
        }

        impl<const N: usize> Default for $class<N> {
            /// Windows of 2 cells along each axis.
            fn default() -> Self {
                $class {
                    pool_size: 2.into(),
                    strides: None,
                    padding: Padding::Valid,
                    data_format: DataFormat::default(),
                }
            }
        }
    };
}

pooling! {
    /// The largest value of each window (Keras: [`MaxPooling1D`], [`MaxPooling2D`], [`MaxPooling3D`]).
    ///
    /// Defaults: windows of 2 cells along each axis that do not overlap.
    MaxPooling
}

pooling! {
    /// The mean of each window; with padding, of its cells that are really there (Keras: [`AveragePooling1D`],
    /// [`AveragePooling2D`], [`AveragePooling3D`]).
    ///
    /// Defaults: windows that do not overlap.
    AveragePooling
}

impl<const N: usize> Layer for MaxPooling<N> {
    fn class_name(&self) -> &str {
        class_of::<N>(["MaxPooling1D", "MaxPooling2D", "MaxPooling3D"])
    }

    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.checked()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        self.shapes(inputs)
    }

    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> f64 {
        flops::values(outputs) * self.pool_size.0.iter().product::<usize>() as f64
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = self.data_format.last(inputs.one()?);
        let g = pooling(x.shape(), self.pool_size, self.steps(), self.padding)?.with_margins(cx.fused().padding)?;
        let mut y = cx.scratch(dims::<N>(g.output()));
        g.max_forward(x.data(), y.data_mut(), cx.workspace());
        cx.save(x);
        cx.save(y.clone());
        Ok(self.data_format.given(y).into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let (y, x) = (cx.restore()?, cx.restore()?);
        if !cx.wants(0) {
            return Ok(None.into());
        }
        let dy = self.data_format.last(gradients.one()?);
        let g = pooling(x.shape(), self.pool_size, self.steps(), self.padding)?;
        let mut dx = cx.scratch(x.shape());
        g.max_backward(x.data(), y.data(), dy.data(), cx.gates_input(), dx.data_mut(), cx.workspace());
        Ok(self.data_format.given(dx).into())
    }

    fn gates_relu(&self) -> bool {
        true
    }

    fn fusible(&self, _: &[Shape]) -> Option<Fusible> {
        let plain = (N, self.padding, self.data_format) == (2, Padding::Valid, DataFormat::ChannelsLast);
        let apart = plain && self.steps() == self.pool_size;
        apart.then(|| Fusible::MaxPooling([self.pool_size.0[0], self.pool_size.0[1]]))
    }

    fn fuses(&self, what: &[Fusible], positive: bool) -> bool {
        // Zeros are then never larger than what else a window sees, and no window sees them alone.
        let within = |margins: &[[usize; 2]; 2]| {
            margins.iter().zip(&self.pool_size.0).all(|(margins, pool)| margins.iter().all(|margin| margin < pool))
        };
        matches!(what, [Fusible::Padding(margins)] if within(margins))
            && (positive, N, self.padding, self.data_format) == (true, 2, Padding::Valid, DataFormat::ChannelsLast)
    }
}

impl<const N: usize> Layer for AveragePooling<N> {
    fn class_name(&self) -> &str {
        class_of::<N>(["AveragePooling1D", "AveragePooling2D", "AveragePooling3D"])
    }

    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.checked()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        self.shapes(inputs)
    }

    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> f64 {
        flops::values(outputs) * self.pool_size.0.iter().product::<usize>() as f64
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = self.data_format.last(inputs.one()?);
        let g = pooling(x.shape(), self.pool_size, self.steps(), self.padding)?;
        let mut y = cx.scratch(dims::<N>(g.output()));
        g.average_forward(x.data(), y.data_mut(), cx.workspace());
        cx.save_shape(x.shape());
        Ok(self.data_format.given(y).into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let shape = cx.restore_shape()?;
        if !cx.wants(0) {
            return Ok(None.into());
        }
        let dy = self.data_format.last(gradients.one()?);
        let g = pooling(&shape, self.pool_size, self.steps(), self.padding)?;
        let mut dx = cx.scratch(&shape);
        g.average_backward(dy.data(), dx.data_mut(), cx.workspace());
        Ok(self.data_format.given(dx).into())
    }
}
