//! The layers: one file each, with Keras' names, arguments and defaults.

mod activation;
mod activity_regularization;
mod adaptive_pooling;
mod affine;
mod alpha_dropout;
mod attention;
pub mod augmentation;
mod axes;
mod batch_normalization;
mod bidirectional;
mod broadcast;
#[cfg(test)]
mod called;
mod category_encoding;
mod concatenate;
mod conv;
mod conv_transpose;
mod cropping;
mod dense;
mod depthwise_conv;
mod discretization;
mod dot;
mod dropout;
mod einsum_dense;
mod elu;
mod embedding;
mod encoding;
mod filters;
mod flatten;
mod gaussian_dropout;
mod gaussian_noise;
mod global_pooling;
mod group_normalization;
mod hashing;
mod identity;
mod input;
mod integer_lookup;
mod layer_normalization;
mod leaky_relu;
mod local_response_normalization;
mod margins;
mod masking;
mod merge;
mod normalization;
pub mod operator;
mod permute;
mod pooling;
mod prelu;
mod recurrent;
mod relu;
mod repeat_vector;
mod rescaling;
mod reshape;
mod resizing;
mod rms_normalization;
mod row_norm;
mod separable_conv;
mod softmax;
mod spatial;
mod spatial_dropout;
mod spectral_normalization;
mod spectrogram;
mod time_distributed;
mod unit_normalization;
mod up_sampling;
mod zero_padding;

pub use crate::activations::Activation;
pub use activity_regularization::ActivityRegularization;
pub use adaptive_pooling::{
    AdaptiveAveragePooling, AdaptiveAveragePooling1D, AdaptiveAveragePooling2D, AdaptiveAveragePooling3D,
    AdaptiveMaxPooling, AdaptiveMaxPooling1D, AdaptiveMaxPooling2D, AdaptiveMaxPooling3D,
};
pub use alpha_dropout::AlphaDropout;
pub use attention::{AdditiveAttention, Attention, GroupQueryAttention, MultiHeadAttention, ScoreMode};
pub use augmentation::{
    AugMix, Augmentation, AutoContrast, ContrastLimitedAdaptiveHistogramEqualization, CutMix, Equalization, FillMode,
    Flip, MixUp, Pipeline, RandAugment, RandomAffine, RandomBrightness, RandomColorDegeneration, RandomColorJitter,
    RandomContrast, RandomCrop, RandomElasticTransform, RandomErasing, RandomFlip, RandomGaussianBlur, RandomGrayscale,
    RandomHue, RandomInvert, RandomPerspective, RandomPosterization, RandomRotation, RandomSaturation, RandomSharpness,
    RandomShear, RandomTranslation, RandomZoom, Range, Solarization,
};
pub use axes::Axes;
pub use batch_normalization::BatchNormalization;
pub use bidirectional::{Bidirectional, Merge};
pub use category_encoding::CategoryEncoding;
pub use concatenate::Concatenate;
pub use conv::{Conv, Conv1D, Conv2D, Conv3D};
pub use conv_transpose::{Conv1DTranspose, Conv2DTranspose, Conv3DTranspose, ConvTranspose};
pub use cropping::{Cropping, Cropping1D, Cropping2D, Cropping3D};
pub use dense::Dense;
pub use depthwise_conv::{DepthwiseConv, DepthwiseConv1D, DepthwiseConv2D};
pub use discretization::Discretization;
pub use dot::{Dot, DotAxes};
pub use dropout::Dropout;
pub use einsum_dense::EinsumDense;
pub use elu::ELU;
pub use embedding::Embedding;
pub use encoding::Encoding;
pub use flatten::Flatten;
pub use gaussian_dropout::GaussianDropout;
pub use gaussian_noise::GaussianNoise;
pub use global_pooling::{
    GlobalAveragePooling, GlobalAveragePooling1D, GlobalAveragePooling2D, GlobalAveragePooling3D, GlobalMaxPooling,
    GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D,
};
pub use group_normalization::GroupNormalization;
pub use hashing::Hashing;
pub use identity::Identity;
pub use input::Input;
pub use integer_lookup::IntegerLookup;
pub use layer_normalization::LayerNormalization;
pub use leaky_relu::LeakyReLU;
pub use local_response_normalization::LocalResponseNormalization;
pub use margins::Margins;
pub use masking::Masking;
pub use merge::{Add, Average, Maximum, Minimum, Multiply, Subtract};
pub use normalization::{Normalization, Statistic};
pub use permute::Permute;
pub use pooling::{
    AveragePooling, AveragePooling1D, AveragePooling2D, AveragePooling3D, MaxPooling, MaxPooling1D, MaxPooling2D,
    MaxPooling3D,
};
pub use prelu::PReLU;
pub use recurrent::{
    AnyCell, Cell, ConvLSTM1D, ConvLSTM2D, ConvLSTM3D, ConvLSTMCell, Extent, GRU, GRUCell, LSTM, LSTMCell, RNN,
    Recurrent, Sequence, SequenceGradients, Sides, SimpleRNN, SimpleRNNCell, StackedRNNCells, States,
};
pub use relu::ReLU;
pub use repeat_vector::RepeatVector;
pub use rescaling::{Factor, Rescaling};
pub use reshape::Reshape;
pub use resizing::{CenterCrop, Resizing};
pub use rms_normalization::RMSNormalization;
pub use separable_conv::{SeparableConv, SeparableConv1D, SeparableConv2D};
pub use softmax::Softmax;
pub use spatial::{DataFormat, Sizes};
pub use spatial_dropout::{SpatialDropout, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D};
pub use spectral_normalization::SpectralNormalization;
pub use spectrogram::{MelSpectrogram, STFTSpectrogram, SpectrogramMode};
pub use time_distributed::TimeDistributed;
pub use unit_normalization::UnitNormalization;
pub use up_sampling::{Interpolation, UpSampling, UpSampling1D, UpSampling2D, UpSampling3D};
pub use zero_padding::{ZeroPadding, ZeroPadding1D, ZeroPadding2D, ZeroPadding3D};

/// Keras' other name of [`Conv1D`].
pub type Convolution1D = Conv1D;
/// Keras' other name of [`Conv2D`].
pub type Convolution2D = Conv2D;
/// Keras' other name of [`Conv3D`].
pub type Convolution3D = Conv3D;
/// Keras' other name of [`Conv1DTranspose`].
pub type Convolution1DTranspose = Conv1DTranspose;
/// Keras' other name of [`Conv2DTranspose`].
pub type Convolution2DTranspose = Conv2DTranspose;
/// Keras' other name of [`Conv3DTranspose`].
pub type Convolution3DTranspose = Conv3DTranspose;
/// Keras' other name of [`SeparableConv1D`].
pub type SeparableConvolution1D = SeparableConv1D;
/// Keras' other name of [`SeparableConv2D`].
pub type SeparableConvolution2D = SeparableConv2D;
/// Keras' other name of [`MaxPooling1D`].
pub type MaxPool1D = MaxPooling1D;
/// Keras' other name of [`MaxPooling2D`].
pub type MaxPool2D = MaxPooling2D;
/// Keras' other name of [`MaxPooling3D`].
pub type MaxPool3D = MaxPooling3D;
/// Keras' other name of [`AveragePooling1D`].
pub type AvgPool1D = AveragePooling1D;
/// Keras' other name of [`AveragePooling2D`].
pub type AvgPool2D = AveragePooling2D;
/// Keras' other name of [`AveragePooling3D`].
pub type AvgPool3D = AveragePooling3D;
/// Keras' other name of [`GlobalMaxPooling1D`].
pub type GlobalMaxPool1D = GlobalMaxPooling1D;
/// Keras' other name of [`GlobalMaxPooling2D`].
pub type GlobalMaxPool2D = GlobalMaxPooling2D;
/// Keras' other name of [`GlobalMaxPooling3D`].
pub type GlobalMaxPool3D = GlobalMaxPooling3D;
/// Keras' other name of [`GlobalAveragePooling1D`].
pub type GlobalAvgPool1D = GlobalAveragePooling1D;
/// Keras' other name of [`GlobalAveragePooling2D`].
pub type GlobalAvgPool2D = GlobalAveragePooling2D;
/// Keras' other name of [`GlobalAveragePooling3D`].
pub type GlobalAvgPool3D = GlobalAveragePooling3D;

use crate::config::{Unknown, family};
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use crate::tensor::Tensor;
use input::Input as InputLayer;

family! { Box<dyn Layer>, "layer", "keras.layers";
    InputLayer;
    Dense;
    EinsumDense;
    Activation;
    ReLU;
    LeakyReLU;
    PReLU;
    ELU;
    Softmax;
    Identity;
    Flatten;
    Reshape;
    Permute;
    RepeatVector;
    Conv1D = "Conv1D" | "Convolution1D";
    Conv2D = "Conv2D" | "Convolution2D";
    Conv3D = "Conv3D" | "Convolution3D";
    Conv1DTranspose = "Conv1DTranspose" | "Convolution1DTranspose";
    Conv2DTranspose = "Conv2DTranspose" | "Convolution2DTranspose";
    Conv3DTranspose = "Conv3DTranspose" | "Convolution3DTranspose";
    DepthwiseConv1D;
    DepthwiseConv2D;
    SeparableConv1D = "SeparableConv1D" | "SeparableConvolution1D";
    SeparableConv2D = "SeparableConv2D" | "SeparableConvolution2D";
    MaxPooling1D = "MaxPooling1D" | "MaxPool1D";
    MaxPooling2D = "MaxPooling2D" | "MaxPool2D";
    MaxPooling3D = "MaxPooling3D" | "MaxPool3D";
    AveragePooling1D = "AveragePooling1D" | "AvgPool1D";
    AveragePooling2D = "AveragePooling2D" | "AvgPool2D";
    AveragePooling3D = "AveragePooling3D" | "AvgPool3D";
    GlobalMaxPooling1D = "GlobalMaxPooling1D" | "GlobalMaxPool1D";
    GlobalMaxPooling2D = "GlobalMaxPooling2D" | "GlobalMaxPool2D";
    GlobalMaxPooling3D = "GlobalMaxPooling3D" | "GlobalMaxPool3D";
    GlobalAveragePooling1D = "GlobalAveragePooling1D" | "GlobalAvgPool1D";
    GlobalAveragePooling2D = "GlobalAveragePooling2D" | "GlobalAvgPool2D";
    GlobalAveragePooling3D = "GlobalAveragePooling3D" | "GlobalAvgPool3D";
    AdaptiveMaxPooling1D;
    AdaptiveMaxPooling2D;
    AdaptiveMaxPooling3D;
    AdaptiveAveragePooling1D;
    AdaptiveAveragePooling2D;
    AdaptiveAveragePooling3D;
    ZeroPadding1D;
    ZeroPadding2D;
    ZeroPadding3D;
    Cropping1D;
    Cropping2D;
    Cropping3D;
    UpSampling1D;
    UpSampling2D;
    UpSampling3D;
    BatchNormalization = "BatchNormalization" | "BatchNormalizationV1" | "BatchNormalizationV2" | "SyncBatchNormalization";
    LayerNormalization;
    GroupNormalization;
    RMSNormalization;
    UnitNormalization;
    SpectralNormalization;
    LocalResponseNormalization = "LocalResponseNormalization" | "cornu>LocalResponseNormalization";
    Normalization;
    Rescaling;
    Resizing;
    CenterCrop;
    RandomFlip;
    RandomRotation;
    RandomZoom;
    RandomTranslation;
    RandomShear;
    RandomPerspective;
    RandomElasticTransform;
    RandomContrast;
    RandomBrightness;
    RandomHue;
    RandomSaturation;
    RandomColorDegeneration;
    RandomColorJitter;
    RandomErasing;
    RandomGaussianBlur;
    RandomGrayscale;
    RandomInvert;
    RandomSharpness;
    RandomPosterization;
    Solarization;
    Equalization;
    CutMix;
    MixUp;
    AugMix;
    RandAugment;
    RandomCrop;
    AutoContrast;
    ContrastLimitedAdaptiveHistogramEqualization;
    RandomAffine = "RandomAffine" | "cornu>RandomAffine";
    Pipeline;
    CategoryEncoding;
    Discretization;
    Hashing;
    IntegerLookup;
    MelSpectrogram;
    STFTSpectrogram;
    Dropout;
    AlphaDropout;
    SpatialDropout1D;
    SpatialDropout2D;
    SpatialDropout3D;
    GaussianDropout;
    GaussianNoise;
    ActivityRegularization;
    Embedding;
    Masking;
    SimpleRNN;
    LSTM;
    GRU;
    RNN;
    Add;
    Subtract;
    Multiply;
    Average;
    Maximum;
    Minimum;
    Concatenate;
    Dot;
    Attention;
    AdditiveAttention;
    MultiHeadAttention;
    GroupQueryAttention = "GroupQueryAttention" | "GroupedQueryAttention";
    ConvLSTM1D;
    ConvLSTM2D;
    ConvLSTM3D;
    Bidirectional;
    TimeDistributed;
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
    if activation.needs_input() {
        cx.save(y.clone());
    }
    activation.apply(&mut y)?;
    save_activated(activation, &y, cx);
    Ok(y)
}

/// Saves what [`deactivate`] needs of a result to which the activation was applied already.
pub(crate) fn save_activated(activation: &Activation, y: &Tensor, cx: &mut Forward<'_>) {
    if *activation != Activation::Linear && !activation.needs_input() {
        cx.save(y.clone());
    }
}

/// Takes the gradient back through a layer's own activation.
pub(crate) fn deactivate(activation: &Activation, mut gradient: Tensor, cx: &mut Backward<'_>) -> Result<Tensor> {
    if *activation == Activation::Linear {
        return Ok(gradient);
    }
    let saved = cx.restore()?;
    if cx.output_is_gated() {
        return Ok(gradient);
    }
    let input = activation.needs_input().then_some(&saved);
    activation.backward(input, &saved, &mut gradient)?;
    Ok(gradient)
}

/// The builder methods of a layer with a kernel and a bias.
macro_rules! weight_builders {
    (kernel, bias) => {
        $crate::layers::weight_builders!("kernel": kernel_initializer, kernel_regularizer, kernel_constraint);
        $crate::layers::weight_builders!(bias);
    };
    (bias) => {
        /// Whether a bias is added. Default: true.
        pub fn use_bias(mut self, use_bias: bool) -> Self {
            self.use_bias = use_bias;
            self
        }

        /// How the bias starts, by name or by value. Default: `zeros`.
        pub fn bias_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
            self.bias_initializer = initializer.into();
            self
        }

        /// The penalty on the bias. Default: none.
        pub fn bias_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
            self.bias_regularizer = Some(regularizer.into());
            self
        }

        /// What the bias is brought back to after each step. Default: nothing.
        pub fn bias_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
            self.bias_constraint = Some(constraint.into());
            self
        }
    };
    ($kernel:literal: $initializer:ident, $regularizer:ident, $constraint:ident) => {
        #[doc = concat!("How the ", $kernel, " starts, by name or by value. Default: `glorot_uniform`.")]
        pub fn $initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
            self.$initializer = initializer.into();
            self
        }

        #[doc = concat!("The penalty on the ", $kernel, ". Default: none.")]
        pub fn $regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
            self.$regularizer = Some(regularizer.into());
            self
        }

        #[doc = concat!("What the ", $kernel, " is brought back to after each step. Default: nothing.")]
        pub fn $constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
            self.$constraint = Some(constraint.into());
            self
        }
    };
}
pub(crate) use weight_builders;
