//! Convolution of each channel on its own, and then across channels at each place.

use super::filters::Filters;
use super::spatial::{DataFormat, Sizes, channels, check_padding, class_of, dims, volume, window_shape};
use super::{Activation, deactivate, weight_builders};
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Error, Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::conv3d::Conv3d;
use crate::layer::{Backward, Build, Forward, Fusible, Gradients, Layer, Param, Values, flops, one_shape};
use crate::regularizers::Regularizer;
use crate::shape::{Padding, Shape};
use serde::{Deserialize, Serialize};

/// A separable convolution over the steps of a sequence (Keras: `SeparableConv1D`): see [`SeparableConv`].
///
/// Input `(batch, steps, channels)`, output `(batch, new_steps, filters)`.
pub type SeparableConv1D = SeparableConv<1>;

/// A separable convolution over height and width (Keras: `SeparableConv2D`): see [`SeparableConv`].
///
/// Input `(batch, height, width, channels)`, output `(batch, new_height, new_width, filters)`.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([28, 28, 8])).add(SeparableConv2D::new(16, 3));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 26, 26, 16)");
/// assert_eq!(model.count_params(), 3 * 3 * 8 + 8 * 16 + 16);
/// # Ok::<(), cornu::Error>(())
/// ```
pub type SeparableConv2D = SeparableConv<2>;

/// A depthwise convolution without bias, then one of size 1 with it (Keras: [`SeparableConv1D`],
/// [`SeparableConv2D`]).
///
/// Kernels `(size…, channels, depth_multiplier)` and `(1…, channels · depth_multiplier, filters)`; strides, padding
/// and dilation are those of the first. Defaults: strides 1, padding valid, dilation 1, one filter for each channel,
/// linear, with bias, kernels `glorot_uniform`, bias `zeros`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default = "Default::default")]
pub struct SeparableConv<const N: usize> {
    depth_multiplier: usize,
    filters: usize,
    kernel_size: Sizes<N>,
    strides: Sizes<N>,
    padding: Padding,
    data_format: DataFormat,
    dilation_rate: Sizes<N>,
    activation: Activation,
    use_bias: bool,
    depthwise_initializer: Shared<dyn Initializer>,
    pointwise_initializer: Shared<dyn Initializer>,
    bias_initializer: Shared<dyn Initializer>,
    depthwise_regularizer: Option<Shared<dyn Regularizer>>,
    pointwise_regularizer: Option<Shared<dyn Regularizer>>,
    bias_regularizer: Option<Shared<dyn Regularizer>>,
    depthwise_constraint: Option<Shared<dyn Constraint>>,
    pointwise_constraint: Option<Shared<dyn Constraint>>,
    bias_constraint: Option<Shared<dyn Constraint>>,
    #[serde(skip)]
    depthwise_kernel: Param,
    #[serde(skip)]
    pointwise_kernel: Param,
    #[serde(skip)]
    bias: Option<Param>,
}

impl<const N: usize> SeparableConv<N> {
    /// A layer of `filters` filters of `kernel_size`: one number, or one for each axis.
    pub fn new(filters: usize, kernel_size: impl Into<Sizes<N>>) -> Self {
        SeparableConv { filters, kernel_size: kernel_size.into(), ..Self::default() }
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

    /// The number of depthwise filters for each channel. Default: 1.
    pub fn depth_multiplier(mut self, depth_multiplier: usize) -> Self {
        self.depth_multiplier = depth_multiplier;
        self
    }

    /// What is applied to the result. Default: nothing.
    pub fn activation(mut self, activation: impl Into<Activation>) -> Self {
        self.activation = activation.into();
        self
    }

    weight_builders!("depthwise kernel": depthwise_initializer, depthwise_regularizer, depthwise_constraint);
    weight_builders!("pointwise kernel": pointwise_initializer, pointwise_regularizer, pointwise_constraint);
    weight_builders!(bias);

    /// The channels between the two convolutions.
    fn between(&self, channels: usize) -> Result<usize> {
        let between = channels.checked_mul(self.depth_multiplier);
        between.ok_or_else(|| Error::Argument(format!("depth_multiplier {} is too large", self.depth_multiplier)))
    }

    /// The second step.
    fn mix(&self) -> Filters<'_> {
        Filters {
            kernel: &self.pointwise_kernel,
            bias: self.bias.as_ref(),
            activation: &self.activation,
            data_format: self.data_format,
        }
    }

    fn geometries(&self, input: &[usize]) -> Result<[Conv3d; 2]> {
        let input = volume::<N>(input)?;
        let (kernel, strides, dilation) = (self.kernel_size.lift(), self.strides.lift(), self.dilation_rate.lift());
        let depthwise = Conv3d::new(input, kernel, self.between(input[4])?, strides, dilation, self.padding, input[4])?;
        let pointwise = Conv3d::new(depthwise.output(), [1; 3], self.filters, [1; 3], [1; 3], Padding::Valid, 1)?;
        Ok([depthwise, pointwise])
    }
}

impl<const N: usize> Default for SeparableConv<N> {
    fn default() -> Self {
        SeparableConv {
            depth_multiplier: 1,
            filters: 0,
            kernel_size: 1.into(),
            strides: 1.into(),
            padding: Padding::Valid,
            data_format: DataFormat::default(),
            dilation_rate: 1.into(),
            activation: Activation::Linear,
            use_bias: true,
            depthwise_initializer: "glorot_uniform".into(),
            pointwise_initializer: "glorot_uniform".into(),
            bias_initializer: "zeros".into(),
            depthwise_regularizer: None,
            pointwise_regularizer: None,
            bias_regularizer: None,
            depthwise_constraint: None,
            pointwise_constraint: None,
            bias_constraint: None,
            depthwise_kernel: Param::default(),
            pointwise_kernel: Param::default(),
            bias: None,
        }
    }
}

impl<const N: usize> Layer for SeparableConv<N> {
    fn class_name(&self) -> &str {
        class_of::<N>(["SeparableConv1D", "SeparableConv2D", "SeparableConv3D"])
    }

    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.filters > 0, Argument, "filters is 0; a convolution needs at least one");
        ensure!(self.depth_multiplier > 0, Argument, "depth_multiplier is 0; it must be at least 1");
        self.kernel_size.check("kernel_size")?;
        self.strides.check("strides")?;
        self.dilation_rate.check("dilation_rate")?;
        check_padding(self.padding)?;
        self.activation.check()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = &self.data_format.last_shape(one_shape(inputs)?);
        channels::<N>(input)?;
        let (kernel, strides, dilation) = (self.kernel_size, self.strides, self.dilation_rate);
        let output = window_shape(input, kernel, strides, dilation, self.padding, self.filters)?;
        Ok(vec![self.data_format.given_shape(output)])
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let channels = channels::<N>(&self.data_format.last_shape(one_shape(inputs)?))?;
        let shape: Vec<usize> = self.kernel_size.0.into_iter().chain([channels, self.depth_multiplier]).collect();
        let (regularizer, constraint) = (&self.depthwise_regularizer, &self.depthwise_constraint);
        self.depthwise_kernel =
            cx.weight("depthwise_kernel", &shape, &self.depthwise_initializer, regularizer, constraint)?;
        let shape: Vec<usize> = [1; N].into_iter().chain([self.between(channels)?, self.filters]).collect();
        let (regularizer, constraint) = (&self.pointwise_regularizer, &self.pointwise_constraint);
        self.pointwise_kernel =
            cx.weight("pointwise_kernel", &shape, &self.pointwise_initializer, regularizer, constraint)?;
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
        let [depthwise, pointwise] = self.geometries(x.shape())?;
        let kernel = self.depthwise_kernel.value();
        ensure!(
            depthwise.kernel_len() == kernel.len(),
            Shape,
            "an input of shape {:?} has not the channels that the kernel {:?} was made for",
            x.shape(),
            kernel.shape()
        );
        let mut between = cx.scratch(dims::<N>(depthwise.output()));
        depthwise.forward(x.data(), kernel.data(), None, between.data_mut(), cx.workspace());
        cx.save(x);
        let fused = cx.fused();
        Ok(self.mix().forward(between, &pointwise, dims::<N>(pointwise.output()), fused, cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let dy = self.data_format.last(deactivate(&self.activation, gradients.one()?, cx)?);
        let (between, x) = (cx.restore()?, cx.restore()?);
        let [depthwise, pointwise] = self.geometries(x.shape())?;
        let workspace = cx.workspace().clone();
        if let Some(dmix) = cx.gradient(&self.pointwise_kernel) {
            pointwise.backward_weights(between.data(), dy.data(), dmix, None, &workspace);
        }
        if let Some(dbias) = self.bias.as_ref().and_then(|bias| cx.gradient(bias)) {
            pointwise.backward_bias(dy.data(), dbias);
        }
        let mut dbetween = cx.scratch(between.shape());
        let mix = self.pointwise_kernel.value();
        pointwise.backward_data(dy.data(), mix.data(), dbetween.data_mut(), &workspace);
        if let Some(dkernel) = cx.gradient(&self.depthwise_kernel) {
            depthwise.backward_weights(x.data(), dbetween.data(), dkernel, None, &workspace);
        }
        if !cx.wants(0) {
            return Ok(None.into());
        }
        let mut dx = cx.scratch(x.shape());
        let kernel = self.depthwise_kernel.value();
        depthwise.backward_data(dbetween.data(), kernel.data(), dx.data_mut(), &workspace);
        Ok(self.data_format.given(dx).into())
    }

    fn fuses(&self, what: &[Fusible], _: bool) -> bool {
        self.mix().fuses(what)
    }

    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> f64 {
        let weights = flops::of_weights(|visit| self.visit(visit));
        outputs.first().map_or(0.0, |output| weights * flops::positions(&self.data_format.last_shape(output)))
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        visit(&self.depthwise_kernel);
        visit(&self.pointwise_kernel);
        self.bias.iter().for_each(visit);
    }
}
