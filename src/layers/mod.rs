//! The layers: one file each, with Keras' names, arguments and defaults.

mod activation;
mod activity_regularization;
mod batch_normalization;
mod conv2d;
mod cropping2d;
mod dense;
mod dropout;
mod elu;
mod flatten;
mod gaussian_dropout;
mod gaussian_noise;
mod global_pooling2d;
mod identity;
mod input;
mod leaky_relu;
mod local_response_normalization;
mod margins;
mod permute;
mod pooling2d;
mod relu;
mod repeat_vector;
mod rescaling;
mod reshape;
mod softmax;
mod spatial_dropout2d;
mod zero_padding2d;

pub use crate::activations::Activation;
pub use activity_regularization::ActivityRegularization;
pub use batch_normalization::BatchNormalization;
pub use conv2d::Conv2D;
pub use cropping2d::Cropping2D;
pub use dense::Dense;
pub use dropout::Dropout;
pub use elu::ELU;
pub use flatten::Flatten;
pub use gaussian_dropout::GaussianDropout;
pub use gaussian_noise::GaussianNoise;
pub use global_pooling2d::{GlobalAveragePooling2D, GlobalMaxPooling2D};
pub use identity::Identity;
pub use input::Input;
pub use leaky_relu::LeakyReLU;
pub use local_response_normalization::LocalResponseNormalization;
pub use margins::Margins;
pub use permute::Permute;
pub use pooling2d::{AveragePooling2D, MaxPooling2D};
pub use relu::ReLU;
pub use repeat_vector::RepeatVector;
pub use rescaling::{Factor, Rescaling};
pub use reshape::Reshape;
pub use softmax::Softmax;
pub use spatial_dropout2d::SpatialDropout2D;
pub use zero_padding2d::ZeroPadding2D;

/// Keras' other name of [`Conv2D`].
pub type Convolution2D = Conv2D;
/// Keras' other name of [`MaxPooling2D`].
pub type MaxPool2D = MaxPooling2D;
/// Keras' other name of [`AveragePooling2D`].
pub type AvgPool2D = AveragePooling2D;
/// Keras' other name of [`GlobalMaxPooling2D`].
pub type GlobalMaxPool2D = GlobalMaxPooling2D;
/// Keras' other name of [`GlobalAveragePooling2D`].
pub type GlobalAvgPool2D = GlobalAveragePooling2D;

use crate::config::{Unknown, family};
use crate::error::{Context, Error, Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use crate::shape::{Padding, Shape, Window};
use crate::tensor::Tensor;
use input::Input as InputLayer;
use serde::Deserialize;

family! { Box<dyn Layer>, "layer", "keras.layers";
    InputLayer;
    Dense;
    Activation;
    ReLU;
    LeakyReLU;
    ELU;
    Softmax;
    Identity;
    Flatten;
    Reshape;
    Permute;
    RepeatVector;
    Conv2D = "Conv2D" | "Convolution2D";
    MaxPooling2D = "MaxPooling2D" | "MaxPool2D";
    AveragePooling2D = "AveragePooling2D" | "AvgPool2D";
    GlobalMaxPooling2D = "GlobalMaxPooling2D" | "GlobalMaxPool2D";
    GlobalAveragePooling2D = "GlobalAveragePooling2D" | "GlobalAvgPool2D";
    ZeroPadding2D;
    Cropping2D;
    BatchNormalization = "BatchNormalization" | "BatchNormalizationV1" | "BatchNormalizationV2" | "SyncBatchNormalization";
    LocalResponseNormalization = "LocalResponseNormalization" | "cornu>LocalResponseNormalization";
    Rescaling;
    Dropout;
    SpatialDropout2D;
    GaussianDropout;
    GaussianNoise;
    ActivityRegularization;
}

impl Layer for Unknown {
    fn check(&self) -> Result<()> {
        Err(self.error())
    }
    fn forward(&self, _: Values, _: &mut Forward<'_>) -> Result<Values> {
        Err(self.error())
    }
    fn backward(&self, _: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Err(self.error())
    }
}

/// Applies a layer's own activation to its result and saves what [`deactivate`] needs.
pub(crate) fn activate(activation: &Activation, mut y: Tensor, cx: &mut Forward<'_>) -> Result<Tensor> {
    if *activation == Activation::Linear {
        return Ok(y);
    }
    if activation.needs_input() {
        cx.save(y.clone());
        activation.apply(&mut y)?;
    } else {
        activation.apply(&mut y)?;
        cx.save(y.clone());
    }
    Ok(y)
}

/// Takes the gradient back through a layer's own activation.
pub(crate) fn deactivate(activation: &Activation, mut gradient: Tensor, cx: &mut Backward<'_>) -> Result<Tensor> {
    if *activation == Activation::Linear {
        return Ok(gradient);
    }
    let saved = cx.restore()?;
    let input = activation.needs_input().then_some(&saved);
    activation.backward(input, &saved, &mut gradient)?;
    Ok(gradient)
}

/// The builder methods of a layer with a kernel and a bias.
macro_rules! weight_builders {
    (kernel, bias) => {
        /// Whether a bias is added. Default: true.
        pub fn use_bias(mut self, use_bias: bool) -> Self {
            self.use_bias = use_bias;
            self
        }

        /// How the kernel starts, by name or by value. Default: `glorot_uniform`.
        pub fn kernel_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
            self.kernel_initializer = initializer.into();
            self
        }

        /// How the bias starts, by name or by value. Default: `zeros`.
        pub fn bias_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
            self.bias_initializer = initializer.into();
            self
        }

        /// The penalty on the kernel. Default: none.
        pub fn kernel_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
            self.kernel_regularizer = Some(regularizer.into());
            self
        }

        /// The penalty on the bias. Default: none.
        pub fn bias_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
            self.bias_regularizer = Some(regularizer.into());
            self
        }

        /// What the kernel is brought back to after each step. Default: nothing.
        pub fn kernel_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
            self.kernel_constraint = Some(constraint.into());
            self
        }

        /// What the bias is brought back to after each step. Default: nothing.
        pub fn bias_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
            self.bias_constraint = Some(constraint.into());
            self
        }
    };
}
pub(crate) use weight_builders;

/// The place of the channels: last, the only one that is supported so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ChannelsLast;

/// As in Keras' configurations, so that one that asks for another place is refused.
impl serde::Serialize for ChannelsLast {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str("channels_last")
    }
}

impl<'de> Deserialize<'de> for ChannelsLast {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Option::<String>::deserialize(deserializer)?.as_deref() {
            None | Some("channels_last") => Ok(ChannelsLast),
            Some(other) => Err(serde::de::Error::custom(format!(
                "data_format is '{other}'; only 'channels_last', (batch, height, width, channels), is supported"
            ))),
        }
    }
}

/// One number for both directions, or one for each: how Keras writes `kernel_size`, `strides`, ….
///
/// `2` and `[2, 2]` mean the same; the height comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrTwo")]
pub struct Pair(pub [usize; 2]);

impl serde::Serialize for Pair {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrTwo {
    One(usize),
    Two([usize; 2]),
}

impl From<OneOrTwo> for Pair {
    fn from(value: OneOrTwo) -> Self {
        match value {
            OneOrTwo::One(n) => Pair([n, n]),
            OneOrTwo::Two(pair) => Pair(pair),
        }
    }
}

impl From<usize> for Pair {
    fn from(n: usize) -> Self {
        Pair([n, n])
    }
}

impl From<[usize; 2]> for Pair {
    fn from(pair: [usize; 2]) -> Self {
        Pair(pair)
    }
}

impl From<(usize, usize)> for Pair {
    fn from((height, width): (usize, usize)) -> Self {
        Pair([height, width])
    }
}

/// Checks that neither number of an argument is zero.
pub(crate) fn check_positive(name: &str, Pair(pair): Pair) -> Result<()> {
    ensure!(pair[0] > 0 && pair[1] > 0, Argument, "{name} is {pair:?}; both must be at least 1");
    Ok(())
}

/// The channels of `(batch, height, width, channels)`.
pub(crate) fn image_channels(input: &Shape) -> Result<usize> {
    match (input.rank(), input.last()) {
        (4, Some(channels)) => Ok(channels),
        (4, None) => Err(Error::Shape(format!("the number of channels, the last dimension of {input}, must be known"))),
        _ => Err(Error::Shape(format!("expected an input (batch, height, width, channels), got {input}"))),
    }
}

/// The shape of an image after a window slid over it.
pub(crate) fn window_shape(
    input: &Shape,
    size: Pair,
    strides: Pair,
    dilation: Pair,
    padding: Padding,
    channels: usize,
) -> Result<Vec<Shape>> {
    let mut dims = vec![input.dims()[0]];
    for axis in 0..2 {
        let window = |n| Window::new(n, size.0[axis], strides.0[axis], dilation.0[axis], padding);
        let side = if axis == 0 { "height" } else { "width" };
        let out = input.get(axis + 1).map(window).transpose().at(|| format!("{side} of input {input}"))?;
        dims.push(out.map(|w| w.out));
    }
    dims.push(Some(channels));
    Ok(vec![Shape::new(dims)])
}
