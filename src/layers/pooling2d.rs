//! The largest or the mean value of each window of an image.

use super::{ChannelsLast, Pair, check_positive, image_channels, window_shape};
use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::kernels::pool::Pool2d;
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::{Padding, Shape};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The arguments of a pooling layer, and what the layers share.
macro_rules! pooling {
    ($(#[$doc:meta])* $class:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $class {
            pool_size: Pair,
            strides: Option<Pair>,
            padding: Padding,
            data_format: ChannelsLast,
        }

        impl $class {
            /// Windows of this size: one number, or `[height, width]`.
            pub fn new(pool_size: impl Into<Pair>) -> Self {
                $class { pool_size: pool_size.into(), ..Self::default() }
            }

            /// Steps of the window, down and right. Default: the size of the window.
            pub fn strides(mut self, strides: impl Into<Pair>) -> Self {
                self.strides = Some(strides.into());
                self
            }

            /// What happens at the border; padding itself never counts. Default: valid.
            pub fn padding(mut self, padding: Padding) -> Self {
                self.padding = padding;
                self
            }

            fn geometry(&self, input: &[usize]) -> Result<Pool2d> {
                let input: [usize; 4] = input.try_into().map_err(|_| {
                    Error::Shape(format!("expected (batch, height, width, channels), got an input of shape {input:?}"))
                })?;
                Pool2d::new(input, self.pool_size.0, self.strides.unwrap_or(self.pool_size).0, self.padding)
            }

            fn checked(&self) -> Result<()> {
                check_positive("pool_size", self.pool_size)?;
                check_positive("strides", self.strides.unwrap_or(self.pool_size))
            }

            fn shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
                let input = one_shape(inputs)?;
                let strides = self.strides.unwrap_or(self.pool_size);
                window_shape(input, self.pool_size, strides, Pair([1, 1]), self.padding, image_channels(input)?)
            }
        }

        impl Default for $class {
            /// Windows of 2 x 2.
            fn default() -> Self {
                $class {
                    pool_size: Pair([2, 2]),
                    strides: None,
                    padding: Padding::Valid,
                    data_format: ChannelsLast,
                }
            }
        }
    };
}

pooling! {
    /// The largest value of each window (Keras: `MaxPooling2D`).
    ///
    /// Input `(batch, height, width, channels)`, output `(batch, new_height, new_width, channels)`.
    /// Defaults: windows of 2 x 2 that do not overlap.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// let mut model = Sequential::new();
    /// model.add(Input::new([27, 27, 96])).add(MaxPooling2D::new(3).strides(2));
    /// model.build()?;
    /// assert_eq!(model.output_shape()?.to_string(), "(None, 13, 13, 96)");
    /// # Ok::<(), cornu::Error>(())
    /// ```
    MaxPooling2D
}

pooling! {
    /// The mean of each window; with padding, of its cells that are really there (Keras:
    /// `AveragePooling2D`).
    ///
    /// Input `(batch, height, width, channels)`, output `(batch, new_height, new_width, channels)`.
    /// Defaults: windows that do not overlap.
    AveragePooling2D
}

impl Layer for MaxPooling2D {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.checked()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        self.shapes(inputs)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let g = self.geometry(x.shape())?;
        let mut y = cx.scratch([g.batch, g.out_h, g.out_w, g.channels]);
        if cx.recording() {
            let mut indices = cx.workspace().take_indices(y.len());
            g.max_forward(x.data(), y.data_mut(), Some(&mut indices));
            cx.save_indices(indices);
            cx.save_shape(x.shape());
        } else {
            g.max_forward(x.data(), y.data_mut(), None);
        }
        Ok(y.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let shape = cx.restore_shape()?;
        let indices = cx.restore_indices()?;
        let dx = if cx.wants(0) {
            let mut dx = cx.scratch(&shape);
            self.geometry(&shape)?.max_backward(gradients.one()?.data(), &indices, dx.data_mut());
            Some(dx)
        } else {
            None
        };
        cx.workspace().give_indices(indices);
        Ok(dx.into())
    }
}

impl Layer for AveragePooling2D {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.checked()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        self.shapes(inputs)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let g = self.geometry(x.shape())?;
        let mut y: Tensor = cx.scratch([g.batch, g.out_h, g.out_w, g.channels]);
        g.average_forward(x.data(), y.data_mut());
        cx.save_shape(x.shape());
        Ok(y.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let shape = cx.restore_shape()?;
        if !cx.wants(0) {
            return Ok(None.into());
        }
        let mut dx = cx.scratch(&shape);
        self.geometry(&shape)?.average_backward(gradients.one()?.data(), dx.data_mut());
        Ok(dx.into())
    }
}
