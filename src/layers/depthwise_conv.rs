//! Convolution of each channel on its own.

use super::filters::Filters;
use super::spatial::{
    DataFormat, Sizes, channels, check_padding, class_of, dims, padded_windows, volume, window_shape,
};
use super::{Activation, weight_builders};
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Error, Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::conv3d::Conv3d;
use crate::layer::{Backward, Build, Forward, Fusible, Gradients, Layer, Param, Values, flops, one_shape};
use crate::regularizers::Regularizer;
use crate::shape::{Padding, Shape};
use serde::{Deserialize, Serialize};

/// Filters for each channel of a sequence (Keras: `DepthwiseConv1D`): see [`DepthwiseConv`].
///
/// Input `(batch, steps, channels)`, output `(batch, new_steps, channels · depth_multiplier)`, kernel `(size,
/// channels, depth_multiplier)`.
pub type DepthwiseConv1D = DepthwiseConv<1>;

/// Filters for each channel of an image (Keras: `DepthwiseConv2D`): see [`DepthwiseConv`].
///
/// Input `(batch, height, width, channels)`, output `(batch, new_height, new_width, channels · depth_multiplier)`,
/// kernel `(kernel_height, kernel_width, channels, depth_multiplier)`.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([28, 28, 8])).add(DepthwiseConv2D::new(3).depth_multiplier(2));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 26, 26, 16)");
/// # Ok::<(), cornu::Error>(())
/// ```
pub type DepthwiseConv2D = DepthwiseConv<2>;

/// Slides `depth_multiplier` filters over each channel on its own (Keras: [`DepthwiseConv1D`], [`DepthwiseConv2D`]).
///
/// Output channel `c · depth_multiplier + m` is filter `m` of channel `c`. Defaults: strides 1, padding valid, one
/// filter for each channel, dilation 1, linear, with bias, kernel `glorot_uniform`, bias `zeros`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default = "Default::default")]
pub struct DepthwiseConv<const N: usize> {
    depth_multiplier: usize,
    kernel_size: Sizes<N>,
    strides: Sizes<N>,
    padding: Padding,
    data_format: DataFormat,
    dilation_rate: Sizes<N>,
    activation: Activation,
    use_bias: bool,
    depthwise_initializer: Shared<dyn Initializer>,
    bias_initializer: Shared<dyn Initializer>,
    depthwise_regularizer: Option<Shared<dyn Regularizer>>,
    bias_regularizer: Option<Shared<dyn Regularizer>>,
    depthwise_constraint: Option<Shared<dyn Constraint>>,
    bias_constraint: Option<Shared<dyn Constraint>>,
    #[serde(skip)]
    kernel: Param,
    #[serde(skip)]
    bias: Option<Param>,
}

impl<const N: usize> DepthwiseConv<N> {
    /// Filters of `kernel_size`: one number, or one for each axis.
    pub fn new(kernel_size: impl Into<Sizes<N>>) -> Self {
        DepthwiseConv { kernel_size: kernel_size.into(), ..Self::default() }
    }

    /// The number of filters for each channel. Default: 1.
    pub fn depth_multiplier(mut self, depth_multiplier: usize) -> Self {
        self.depth_multiplier = depth_multiplier;
        self
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

    /// Where the channels are. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }

    /// The distance of a filter's taps. Default: 1.
    pub fn dilation_rate(mut self, dilation_rate: impl Into<Sizes<N>>) -> Self {
        self.dilation_rate = dilation_rate.into();
        self
    }

    /// What is applied to the result. Default: nothing.
    pub fn activation(mut self, activation: impl Into<Activation>) -> Self {
        self.activation = activation.into();
        self
    }

    weight_builders!("depthwise kernel": depthwise_initializer, depthwise_regularizer, depthwise_constraint);
    weight_builders!(bias);

    /// The number of output channels.
    fn filters(&self, channels: usize) -> Result<usize> {
        let filters = channels.checked_mul(self.depth_multiplier);
        filters.ok_or_else(|| Error::Argument(format!("depth_multiplier {} is too large", self.depth_multiplier)))
    }

    fn geometry(&self, input: &[usize], margins: [[usize; 2]; 2]) -> Result<Conv3d> {
        let (strides, dilation) = (self.strides.lift(), self.dilation_rate.lift());
        let kernel = self.kernel_size.lift();
        let input = volume::<N>(input)?;
        let channels = input[4];
        let windows = padded_windows(input, margins, [kernel, strides, dilation], self.padding)?;
        Conv3d::with_windows(input, kernel, self.filters(channels)?, strides, dilation, windows, channels)
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

impl<const N: usize> Default for DepthwiseConv<N> {
    fn default() -> Self {
        DepthwiseConv {
            depth_multiplier: 1,
            kernel_size: 1.into(),
            strides: 1.into(),
            padding: Padding::Valid,
            data_format: DataFormat::default(),
            dilation_rate: 1.into(),
            activation: Activation::Linear,
            use_bias: true,
            depthwise_initializer: "glorot_uniform".into(),
            bias_initializer: "zeros".into(),
            depthwise_regularizer: None,
            bias_regularizer: None,
            depthwise_constraint: None,
            bias_constraint: None,
            kernel: Param::default(),
            bias: None,
        }
    }
}

impl<const N: usize> Layer for DepthwiseConv<N> {
    fn class_name(&self) -> &str {
        class_of::<N>(["DepthwiseConv1D", "DepthwiseConv2D", "DepthwiseConv3D"])
    }

    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.depth_multiplier > 0, Argument, "depth_multiplier is 0; it must be at least 1");
        self.kernel_size.check("kernel_size")?;
        self.strides.check("strides")?;
        self.dilation_rate.check("dilation_rate")?;
        check_padding(self.padding)?;
        self.activation.check()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = &self.data_format.last_shape(one_shape(inputs)?);
        let channels = channels::<N>(input)?;
        let (kernel, strides, dilation) = (self.kernel_size, self.strides, self.dilation_rate);
        let output = window_shape(input, kernel, strides, dilation, self.padding, self.filters(channels)?)?;
        Ok(vec![self.data_format.given_shape(output)])
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let channels = channels::<N>(&self.data_format.last_shape(one_shape(inputs)?))?;
        let shape: Vec<usize> = self.kernel_size.0.into_iter().chain([channels, self.depth_multiplier]).collect();
        let (regularizer, constraint) = (&self.depthwise_regularizer, &self.depthwise_constraint);
        self.kernel = cx.weight("kernel", &shape, &self.depthwise_initializer, regularizer, constraint)?;
        self.bias = match self.use_bias {
            true => {
                let (regularizer, constraint) = (&self.bias_regularizer, &self.bias_constraint);
                let filters = self.filters(channels)?;
                Some(cx.weight("bias", &[filters], &self.bias_initializer, regularizer, constraint)?)
            }
            false => None,
        };
        Ok(())
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = self.data_format.last(inputs.one()?);
        let fused = cx.fused();
        let g = self.geometry(x.shape(), fused.padding)?;
        Ok(self.parts().forward(x, &g, dims::<N>(g.output()), fused, cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        self.parts().backward(gradients.one()?, |shape| self.geometry(shape, Default::default()), cx)
    }

    fn ends_in_relu(&self) -> bool {
        self.activation == Activation::Relu
    }

    fn fuses(&self, what: &[Fusible], _: bool) -> bool {
        match what {
            [Fusible::Padding(_)] => N == 2 && self.data_format == DataFormat::ChannelsLast,
            what => self.parts().fuses(what),
        }
    }

    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> f64 {
        let weights = flops::of_weights(|visit| self.visit(visit));
        outputs.first().map_or(0.0, |output| weights * flops::positions(&self.data_format.last_shape(output)))
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        visit(&self.kernel);
        self.bias.iter().for_each(visit);
    }
}
