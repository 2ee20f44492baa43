//! The largest or the mean value of each of a given number of windows.

use super::spatial::{DataFormat, Sizes, channels, class_of, dims, spatial_shape, volume};
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::kernels::resize::Runs;
use crate::layer::{Backward, Forward, Gradients, Layer, Values, flops, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// As many maxima of a sequence as are wanted (Keras: `AdaptiveMaxPooling1D`): see [`AdaptiveMaxPooling`].
pub type AdaptiveMaxPooling1D = AdaptiveMaxPooling<1>;
/// As many maxima of an image as are wanted (Keras: `AdaptiveMaxPooling2D`): see [`AdaptiveMaxPooling`].
pub type AdaptiveMaxPooling2D = AdaptiveMaxPooling<2>;
/// As many maxima of a volume as are wanted (Keras: `AdaptiveMaxPooling3D`): see [`AdaptiveMaxPooling`].
pub type AdaptiveMaxPooling3D = AdaptiveMaxPooling<3>;
/// As many means of a sequence as are wanted (Keras: `AdaptiveAveragePooling1D`): see [`AdaptiveAveragePooling`].
pub type AdaptiveAveragePooling1D = AdaptiveAveragePooling<1>;
/// As many means of an image as are wanted (Keras: `AdaptiveAveragePooling2D`): see [`AdaptiveAveragePooling`].
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([13, 10, 8])).add(AdaptiveAveragePooling2D::new([6, 5]));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 6, 5, 8)");
/// # Ok::<(), cornu::Error>(())
/// ```
pub type AdaptiveAveragePooling2D = AdaptiveAveragePooling<2>;
/// As many means of a volume as are wanted (Keras: `AdaptiveAveragePooling3D`): see [`AdaptiveAveragePooling`].
pub type AdaptiveAveragePooling3D = AdaptiveAveragePooling<3>;

macro_rules! adaptive {
    ($(#[$doc:meta])* $class:ident, $names:expr, $max:literal) => {
        $(#[$doc])*
        ///
        /// Of `n` cells along an axis window `i` of `o` has those from `⌊i n / o⌋` to before `⌈(i + 1) n / o⌉`.
        /// Input `(batch, …, channels)`, output `(batch, output_size…, channels)`.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(default = "Default::default")]
        pub struct $class<const N: usize> {
            output_size: Sizes<N>,
            data_format: DataFormat,
        }

        impl<const N: usize> $class<N> {
            /// Outputs of this size: one number, or one for each axis.
            pub fn new(output_size: impl Into<Sizes<N>>) -> Self {
                $class { output_size: output_size.into(), ..Self::default() }
            }

            /// Where the channels are. Default: last.
            pub fn data_format(mut self, data_format: DataFormat) -> Self {
                self.data_format = data_format;
                self
            }
        }

        impl<const N: usize> Default for $class<N> {
            /// One window.
            fn default() -> Self {
                $class { output_size: 1.into(), data_format: DataFormat::default() }
            }
        }

        impl<const N: usize> Layer for $class<N> {
            fn class_name(&self) -> &str {
                class_of::<N>($names)
            }

            fn config(&self) -> Result<Config> {
                config::of(self)
            }

            fn check(&self) -> Result<()> {
                self.output_size.check("output_size")
            }

            fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
                let input = &self.data_format.last_shape(one_shape(inputs)?);
                let mut output = input.dims().to_vec();
                spatial_shape::<N>(input, channels::<N>(input)?, |_, n| {
                    ensure!(n > 0, Shape, "the input has size 0");
                    Ok(n)
                })?;
                output[1..=N].iter_mut().zip(self.output_size.0).for_each(|(n, size)| *n = Some(size));
                Ok(vec![self.data_format.given_shape(Shape::new(output))])
            }

        fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> f64 {
            flops::values(inputs)
        }

            fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
                let mut x = self.data_format.last(inputs.one()?);
                let mut shape = volume::<N>(x.shape())?;
                // One axis after the other; each remembers what it saw.
                for axis in 4 - N..4 {
                    let runs = Runs::adaptive(shape[axis], self.output_size.0[axis + N - 4])?;
                    let inner = shape[axis + 1..].iter().product();
                    shape[axis] = runs.output();
                    let mut y = cx.scratch(dims::<N>(shape));
                    if $max {
                        runs.max_forward(x.data(), inner, y.data_mut());
                        cx.save(x);
                        cx.save(y.clone());
                    } else {
                        runs.forward(x.data(), inner, y.data_mut());
                        cx.save_shape(x.shape());
                    }
                    x = y;
                }
                Ok(self.data_format.given(x).into())
            }

            fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
                let mut dy = self.data_format.last(gradients.one()?);
                for axis in (4 - N..4).rev() {
                    let saved = if $max { Some((cx.restore()?, cx.restore()?)) } else { None };
                    let shape = match &saved {
                        Some((_, x)) => volume::<N>(x.shape())?,
                        None => volume::<N>(&cx.restore_shape()?)?,
                    };
                    let runs = Runs::adaptive(shape[axis], self.output_size.0[axis + N - 4])?;
                    let inner = shape[axis + 1..].iter().product();
                    let mut dx = cx.scratch(dims::<N>(shape));
                    match saved {
                        Some((y, x)) => runs.max_backward(x.data(), y.data(), dy.data(), inner, dx.data_mut()),
                        None => runs.backward(dy.data(), inner, dx.data_mut()),
                    }
                    dy = dx;
                }
                Ok(self.data_format.given(dy).into())
            }
        }
    };
}

adaptive! {
    /// The largest value of each of `output_size` windows (Keras: [`AdaptiveMaxPooling1D`], [`AdaptiveMaxPooling2D`],
    /// [`AdaptiveMaxPooling3D`]).
    AdaptiveMaxPooling,
    ["AdaptiveMaxPooling1D", "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D"],
    true
}

adaptive! {
    /// The mean of each of `output_size` windows (Keras: [`AdaptiveAveragePooling1D`], [`AdaptiveAveragePooling2D`],
    /// [`AdaptiveAveragePooling3D`]).
    AdaptiveAveragePooling,
    ["AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D"],
    false
}
