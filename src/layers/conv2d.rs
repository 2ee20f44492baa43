//! Convolution over height and width.

use super::{Activation, ChannelsLast, Pair, activate, deactivate};
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Error, Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::conv::Conv2d;
use crate::layer::{Backward, Build, Forward, Gradients, Layer, Param, Values, one_shape};
use crate::regularizers::Regularizer;
use crate::shape::{Padding, Shape};
use serde::{Deserialize, Serialize};

/// Slides `filters` filters over an image (Keras: `Conv2D`; it is cross-correlation, as there).
///
/// Input `(batch, height, width, channels)`, output `(batch, new_height, new_width, filters)`; kernel
/// `(kernel_height, kernel_width, channels / groups, filters)`, bias `(filters)`. Sizes follow from
/// [`Padding`]. Defaults: strides 1, padding valid, dilation 1, one group, linear, with bias, kernel
/// `glorot_uniform`, bias `zeros`.
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
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Conv2D {
    filters: usize,
    kernel_size: Pair,
    strides: Pair,
    padding: Padding,
    data_format: ChannelsLast,
    dilation_rate: Pair,
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

impl Conv2D {
    /// A layer of `filters` filters of `kernel_size`: one number, or `[height, width]`.
    pub fn new(filters: usize, kernel_size: impl Into<Pair>) -> Self {
        Conv2D { filters, kernel_size: kernel_size.into(), ..Self::default() }
    }

    /// Steps of the filter, down and right. Default: 1.
    pub fn strides(mut self, strides: impl Into<Pair>) -> Self {
        self.strides = strides.into();
        self
    }

    /// What happens at the border. Default: valid.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// The distance of a filter's taps. Default: 1. Not together with strides above 1.
    pub fn dilation_rate(mut self, dilation_rate: impl Into<Pair>) -> Self {
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

    super::weight_builders!(kernel, bias);

    fn geometry(&self, input: &[usize]) -> Result<Conv2d> {
        let input: [usize; 4] = input.try_into().map_err(|_| {
            Error::Shape(format!("expected (batch, height, width, channels), got an input of shape {input:?}"))
        })?;
        let Pair(kernel) = self.kernel_size;
        Conv2d::new(input, kernel, self.filters, self.strides.0, self.dilation_rate.0, self.padding, self.groups)
    }
}

impl Default for Conv2D {
    fn default() -> Self {
        Conv2D {
            filters: 0,
            kernel_size: Pair([1, 1]),
            strides: Pair([1, 1]),
            padding: Padding::Valid,
            data_format: ChannelsLast,
            dilation_rate: Pair([1, 1]),
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

impl Layer for Conv2D {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.filters > 0, Argument, "filters is 0; a convolution needs at least one");
        super::check_positive("kernel_size", self.kernel_size)?;
        super::check_positive("strides", self.strides)?;
        super::check_positive("dilation_rate", self.dilation_rate)?;
        ensure!(
            self.groups > 0 && self.filters.is_multiple_of(self.groups),
            Argument,
            "groups is {}, which does not divide the {} filters",
            self.groups,
            self.filters
        );
        ensure!(
            self.strides == Pair([1, 1]) || self.dilation_rate == Pair([1, 1]),
            Argument,
            "strides {:?} and dilation_rate {:?} cannot both be above 1",
            self.strides.0,
            self.dilation_rate.0
        );
        self.activation.check()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        let channels = super::image_channels(input)?;
        ensure!(
            channels.is_multiple_of(self.groups),
            Shape,
            "the {channels} channels of the input {input} cannot be cut into {} groups",
            self.groups
        );
        super::window_shape(input, self.kernel_size, self.strides, self.dilation_rate, self.padding, self.filters)
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let channels = super::image_channels(one_shape(inputs)?)?;
        let Pair([height, width]) = self.kernel_size;
        self.kernel = cx.weight(
            "kernel",
            &[height, width, channels / self.groups, self.filters],
            &self.kernel_initializer,
            &self.kernel_regularizer,
            &self.kernel_constraint,
        )?;
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
        let x = inputs.one()?;
        let g = self.geometry(x.shape())?;
        let kernel = self.kernel.value();
        ensure!(
            kernel.shape()[2] * self.groups == g.in_c,
            Shape,
            "expected {} channels, got an input of shape {:?}",
            kernel.shape()[2] * self.groups,
            x.shape()
        );
        let mut y = cx.scratch([g.batch, g.out_h, g.out_w, g.out_c]);
        let bias = self.bias.as_ref().map(Param::value);
        g.forward(x.data(), kernel.data(), bias.as_ref().map(|b| b.data()), y.data_mut(), cx.workspace());
        cx.save(x);
        Ok(activate(&self.activation, y, cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let dy = deactivate(&self.activation, gradients.one()?, cx)?;
        let x = cx.restore()?;
        let g = self.geometry(x.shape())?;
        let workspace = cx.workspace().clone();
        if let Some(dkernel) = cx.gradient(&self.kernel) {
            g.backward_weights(x.data(), dy.data(), dkernel, &workspace);
        }
        if let Some(dbias) = self.bias.as_ref().and_then(|bias| cx.gradient(bias)) {
            g.backward_bias(dy.data(), dbias);
        }
        if !cx.wants(0) {
            return Ok(None.into());
        }
        let mut dx = cx.scratch(x.shape());
        g.backward_data(dy.data(), self.kernel.value().data(), dx.data_mut(), &workspace);
        Ok(dx.into())
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        visit(&self.kernel);
        self.bias.iter().for_each(visit);
    }
}
