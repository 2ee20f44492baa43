//! Transposed convolution: from what a convolution gives back to what it takes.

use super::filters::Filters;
use super::spatial::{DataFormat, Sizes, channels, check_padding, class_of, dims, lift, spatial_shape, volume};
use super::{Activation, weight_builders};
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Error, Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::conv3d::Conv3d;
use crate::layer::{Backward, Build, Forward, Gradients, Layer, Param, Values, flops, one_shape};
use crate::regularizers::Regularizer;
use crate::shape::{Padding, Shape, Window};
use serde::{Deserialize, Serialize};

/// Transposed convolution over the steps of a sequence (Keras: `Conv1DTranspose`): see [`ConvTranspose`].
///
/// Input `(batch, steps, channels)`, output `(batch, new_steps, filters)`, kernel `(size, filters, channels)`.
pub type Conv1DTranspose = ConvTranspose<1>;

/// Transposed convolution over height and width (Keras: `Conv2DTranspose`): see [`ConvTranspose`].
///
/// Input `(batch, height, width, channels)`, output `(batch, new_height, new_width, filters)`, kernel
/// `(kernel_height, kernel_width, filters, channels)`.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([7, 7, 64])).add(Conv2DTranspose::new(32, 3).strides(2).padding(Padding::Same));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 14, 14, 32)");
/// # Ok::<(), cornu::Error>(())
/// ```
pub type Conv2DTranspose = ConvTranspose<2>;

/// Transposed convolution over depth, height and width (Keras: `Conv3DTranspose`): see [`ConvTranspose`].
pub type Conv3DTranspose = ConvTranspose<3>;

/// The transpose of a convolution: each value of the input adds a scaled filter to the output (Keras:
/// [`Conv1DTranspose`], [`Conv2DTranspose`], [`Conv3DTranspose`]).
///
/// For an input of `n` cells, stride `s` and a filter that spans `k` cells the output has, with padding valid,
/// `(n - 1) s + max(k, s)` cells, with same `n s`; with an output padding `p` it has `(n - 1) s + k + p` and
/// `(n - 1) s + k mod 2 + p`. Defaults: strides 1, padding valid, no output padding, dilation 1, linear, with bias,
/// kernel `glorot_uniform`, bias `zeros`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default = "Default::default")]
pub struct ConvTranspose<const N: usize> {
    filters: usize,
    kernel_size: Sizes<N>,
    strides: Sizes<N>,
    padding: Padding,
    output_padding: Option<Sizes<N>>,
    data_format: DataFormat,
    dilation_rate: Sizes<N>,
    activation: Activation,
    use_bias: bool,
    kernel_initializer: Shared<dyn Initializer>,
    bias_initializer: Shared<dyn Initializer>,
    kernel_regularizer: Option<Shared<dyn Regularizer>>,
    bias_regularizer: Option<Shared<dyn Regularizer>>,
    kernel_constraint: Option<Shared<dyn Constraint>>,
    bias_constraint: Option<Shared<dyn Constraint>>,
    #[serde(skip)]
    kernel: Param,
    #[serde(skip)]
    bias: Option<Param>,
}

impl<const N: usize> ConvTranspose<N> {
    /// A layer of `filters` filters of `kernel_size`: one number, or one for each axis.
    pub fn new(filters: usize, kernel_size: impl Into<Sizes<N>>) -> Self {
        ConvTranspose { filters, kernel_size: kernel_size.into(), ..Self::default() }
    }

    /// Steps of the filter along each axis. Default: 1.
    pub fn strides(mut self, strides: impl Into<Sizes<N>>) -> Self {
        self.strides = strides.into();
        self
    }

    /// What happens at the border. Default: valid.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Cells added to the output along each axis, fewer than the stride. Default: those that make the sizes above.
    pub fn output_padding(mut self, output_padding: impl Into<Sizes<N>>) -> Self {
        self.output_padding = Some(output_padding.into());
        self
    }

    /// Where the channels are. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }

    /// The distance of a filter's taps. Default: 1. Not together with strides above 1.
    pub fn dilation_rate(mut self, dilation_rate: impl Into<Sizes<N>>) -> Self {
        self.dilation_rate = dilation_rate.into();
        self
    }

    /// What is applied to the result. Default: nothing.
    pub fn activation(mut self, activation: impl Into<Activation>) -> Self {
        self.activation = activation.into();
        self
    }

    weight_builders!(kernel, bias);

    /// The convolution along an axis that leads from the output to the `n` cells of the input, and the output's size.
    fn window(&self, axis: usize, n: usize) -> Result<(usize, Window)> {
        let (stride, size, dilation) = (self.strides.0[axis], self.kernel_size.0[axis], self.dilation_rate.0[axis]);
        let sizes = || {
            let span = (size - 1).checked_mul(dilation)?.checked_add(1)?;
            let extra = self.output_padding.map(|padding| padding.0[axis]);
            let apart = n.checked_sub(1)?.checked_mul(stride)?;
            if self.padding == Padding::Valid {
                return Some((apart.checked_add(span)?.checked_add(extra.unwrap_or(stride.saturating_sub(span)))?, 0));
            }
            // What is cut off in front follows from all that is cut off, as Keras shares it out.
            let (out, around) = match extra {
                None => (n.checked_mul(stride)?, stride.checked_add(span)? - 2),
                Some(extra) => {
                    (apart.checked_add(span % 2)?.checked_add(extra)?, (span + span % 2 + extra).checked_sub(2)?)
                }
            };
            Some((out, span - 1 - around.div_ceil(2).min(span - 1)))
        };
        let fitting = sizes().filter(|(out, _)| (1..1 << 40).contains(out));
        let (out, before) = fitting.ok_or_else(|| {
            Error::Shape(format!("an input of {n} cells with this kernel and stride {stride} gives no output"))
        })?;
        Ok((out, Window { out: n, before, after: 0 }))
    }

    /// The convolution that leads from the output to the input.
    fn geometry(&self, input: &[usize]) -> Result<Conv3d> {
        let input = volume::<N>(input)?;
        let mut sizes = [input[0], 1, 1, 1, self.filters];
        let mut windows = lift([Window { out: 1, before: 0, after: 0 }; N], Window { out: 1, before: 0, after: 0 });
        for axis in 0..N {
            let (out, window) = self.window(axis, input[4 - N + axis])?;
            sizes[4 - N + axis] = out;
            windows[3 - N + axis] = window;
        }
        let (kernel, strides, dilation) = (self.kernel_size.lift(), self.strides.lift(), self.dilation_rate.lift());
        Conv3d::with_windows(sizes, kernel, input[4], strides, dilation, windows, 1)
    }

    fn parts(&self) -> Filters<'_> {
        Filters {
            kernel: &self.kernel,
            bias: self.bias.as_ref(),
            activation: &self.activation,
            data_format: self.data_format,
        }
    }
}

impl<const N: usize> Default for ConvTranspose<N> {
    fn default() -> Self {
        ConvTranspose {
            filters: 0,
            kernel_size: 1.into(),
            strides: 1.into(),
            padding: Padding::Valid,
            output_padding: None,
            data_format: DataFormat::default(),
            dilation_rate: 1.into(),
            activation: Activation::Linear,
            use_bias: true,
            kernel_initializer: "glorot_uniform".into(),
            bias_initializer: "zeros".into(),
            kernel_regularizer: None,
            bias_regularizer: None,
            kernel_constraint: None,
            bias_constraint: None,
            kernel: Param::default(),
            bias: None,
        }
    }
}

impl<const N: usize> Layer for ConvTranspose<N> {
    fn class_name(&self) -> &str {
        class_of::<N>(["Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"])
    }

    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.filters > 0, Argument, "filters is 0; a convolution needs at least one");
        self.kernel_size.check("kernel_size")?;
        self.strides.check("strides")?;
        self.dilation_rate.check("dilation_rate")?;
        check_padding(self.padding)?;
        if let Some(padding) = self.output_padding {
            ensure!(
                padding.0.iter().zip(self.strides.0).all(|(padding, stride)| *padding < stride),
                Argument,
                "output_padding {:?} must be less than the strides {:?}",
                padding.0,
                self.strides.0
            );
        }
        ensure!(
            self.strides.ones() || self.dilation_rate.ones(),
            Argument,
            "strides {:?} and dilation_rate {:?} cannot both be above 1",
            self.strides.0,
            self.dilation_rate.0
        );
        self.activation.check()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = &self.data_format.last_shape(one_shape(inputs)?);
        channels::<N>(input)?;
        let output = spatial_shape::<N>(input, self.filters, |axis, n| Ok(self.window(axis, n)?.0))?;
        Ok(vec![self.data_format.given_shape(output)])
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let channels = channels::<N>(&self.data_format.last_shape(one_shape(inputs)?))?;
        let shape: Vec<usize> = self.kernel_size.0.into_iter().chain([self.filters, channels]).collect();
        let (regularizer, constraint) = (&self.kernel_regularizer, &self.kernel_constraint);
        self.kernel = cx.weight("kernel", &shape, &self.kernel_initializer, regularizer, constraint)?;
        self.bias = match self.use_bias {
            true => {
                let (regularizer, constraint) = (&self.bias_regularizer, &self.bias_constraint);
                Some(cx.weight("bias", &[self.filters], &self.bias_initializer, regularizer, constraint)?)
            }
            false => None,
        };
        Ok(())
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = self.data_format.last(inputs.one()?);
        let g = self.geometry(x.shape())?;
        Ok(self.parts().forward_transposed(x, &g, dims::<N>(g.input()), cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        self.parts().backward_transposed(gradients.one()?, |shape| self.geometry(shape), cx)
    }

    fn flops(&self, inputs: &[Shape], outputs: &[Shape]) -> f64 {
        // The kernel is used once for each position of the input.
        let places =
            |shapes: &[Shape]| shapes.first().map_or(0.0, |x| flops::positions(&self.data_format.last_shape(x)));
        let kernel = flops::of_weights(|visit| visit(&self.kernel));
        let bias = flops::of_weights(|visit| self.bias.iter().for_each(visit));
        kernel * places(inputs) + bias * places(outputs)
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        visit(&self.kernel);
        self.bias.iter().for_each(visit);
    }
}
