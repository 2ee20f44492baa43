//! Convolution over a sequence, an image or a volume.

use super::filters::Filters;
use super::spatial::{
    DataFormat, Sizes, channels, check_padding, class_of, dims, padded_windows, volume, window_shape,
};
use super::{Activation, weight_builders};
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::conv3d::Conv3d;
use crate::layer::{Backward, Build, Forward, Fusible, Gradients, Layer, Param, Values, flops, one_shape};
use crate::regularizers::Regularizer;
use crate::shape::{Padding, Shape};
use serde::{Deserialize, Serialize};

/// Convolution over the steps of a sequence (Keras: `Conv1D`): see [`Conv`].
///
/// Input `(batch, steps, channels)`, output `(batch, new_steps, filters)`, kernel `(size, channels / groups, filters)`.
/// Alone among the convolutions it knows [`Padding::Causal`]: no step sees those after it.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([100, 8])).add(Conv1D::new(16, 3).padding(Padding::Causal).dilation_rate(4));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 100, 16)");
/// # Ok::<(), cornu::Error>(())
/// ```
pub type Conv1D = Conv<1>;

/// Convolution over height and width (Keras: `Conv2D`): see [`Conv`].
///
/// Input `(batch, height, width, channels)`, output `(batch, new_height, new_width, filters)`, kernel
/// `(kernel_height, kernel_width, channels / groups, filters)`.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([28, 28, 1])).add(Conv2D::new(6, 5).padding(Padding::Same).activation("relu"));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 28, 28, 6)");
/// assert_eq!(model.count_params(), 5 * 5 * 6 + 6);
/// # Ok::<(), cornu::Error>(())
/// ```
pub type Conv2D = Conv<2>;

/// Convolution over depth, height and width (Keras: `Conv3D`): see [`Conv`].
///
/// Input `(batch, depth, height, width, channels)`, output `(batch, new_depth, new_height, new_width, filters)`.
pub type Conv3D = Conv<3>;

/// Slides `filters` filters over its input (Keras: [`Conv1D`], [`Conv2D`], [`Conv3D`]; it is cross-correlation, as
/// there).
///
/// Sizes follow from [`Padding`]. Defaults: strides 1, padding valid, dilation 1, one group, linear, with bias,
/// kernel `glorot_uniform`, bias `zeros`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default = "Default::default")]
pub struct Conv<const N: usize> {
    filters: usize,
    kernel_size: Sizes<N>,
    strides: Sizes<N>,
    padding: Padding,
    data_format: DataFormat,
    dilation_rate: Sizes<N>,
    groups: usize,
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

impl<const N: usize> Conv<N> {
    /// A layer of `filters` filters of `kernel_size`: one number, or one for each axis.
    pub fn new(filters: usize, kernel_size: impl Into<Sizes<N>>) -> Self {
        Conv { filters, kernel_size: kernel_size.into(), ..Self::default() }
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

    /// The distance of a filter's taps. Default: 1. Not together with strides above 1.
    pub fn dilation_rate(mut self, dilation_rate: impl Into<Sizes<N>>) -> Self {
        self.dilation_rate = dilation_rate.into();
        self
    }

    /// Cuts the channels into groups, each seen by its own filters. Default: 1.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// What is applied to the result. Default: nothing.
    pub fn activation(mut self, activation: impl Into<Activation>) -> Self {
        self.activation = activation.into();
        self
    }

    weight_builders!(kernel, bias);

    fn geometry(&self, input: &[usize], margins: [[usize; 2]; 2]) -> Result<Conv3d> {
        let (strides, dilation) = (self.strides.lift(), self.dilation_rate.lift());
        let kernel = self.kernel_size.lift();
        let input = volume::<N>(input)?;
        let windows = padded_windows(input, margins, [kernel, strides, dilation], self.padding)?;
        Conv3d::with_windows(input, kernel, self.filters, strides, dilation, windows, self.groups)
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

impl<const N: usize> Default for Conv<N> {
    fn default() -> Self {
        Conv {
            filters: 0,
            kernel_size: 1.into(),
            strides: 1.into(),
            padding: Padding::Valid,
            data_format: DataFormat::default(),
            dilation_rate: 1.into(),
            groups: 1,
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

impl<const N: usize> Layer for Conv<N> {
    fn class_name(&self) -> &str {
        class_of::<N>(["Conv1D", "Conv2D", "Conv3D"])
    }

    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.filters > 0, Argument, "filters is 0; a convolution needs at least one");
        self.kernel_size.check("kernel_size")?;
        self.strides.check("strides")?;
        self.dilation_rate.check("dilation_rate")?;
        if N > 1 {
            check_padding(self.padding)?;
        }
        ensure!(
            self.groups > 0 && self.filters.is_multiple_of(self.groups),
            Argument,
            "groups is {}, which does not divide the {} filters",
            self.groups,
            self.filters
        );
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
        let channels = channels::<N>(input)?;
        ensure!(
            channels.is_multiple_of(self.groups),
            Shape,
            "the {channels} channels of the input {input} cannot be cut into {} groups",
            self.groups
        );
        let (kernel, strides, dilation) = (self.kernel_size, self.strides, self.dilation_rate);
        let output = window_shape(input, kernel, strides, dilation, self.padding, self.filters)?;
        Ok(vec![self.data_format.given_shape(output)])
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let channels = channels::<N>(&self.data_format.last_shape(one_shape(inputs)?))?;
        let shape: Vec<usize> = self.kernel_size.0.into_iter().chain([channels / self.groups, self.filters]).collect();
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

    fn gates_relu(&self) -> bool {
        true
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
