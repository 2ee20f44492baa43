//! Every layer, loss, activation and regularizer against differences, over grids of shapes and
//! arguments, and proof that faults are found.

use cornu::layer::{Backward, Build, Forward, Gradients, Param, Values};
use cornu::layers::{DataFormat, Encoding, FillMode, Interpolation};
use cornu::losses::*;
use cornu::prelude::*;
use cornu::regularizers::{OrthogonalMode, OrthogonalRegularizer, Regularizer};
use cornu::testing::{self, GradientCheck, check_layer};
use std::collections::BTreeSet;

/// A layer and the shapes of its inputs.
type Case = (LayerHandle, Vec<Vec<usize>>);

fn case(layer: impl Into<LayerHandle>, input: &[usize]) -> Case {
    (layer.into(), vec![input.to_vec()])
}

/// Checks all cases, and says which of them fail.
fn check(cases: Vec<Case>) {
    check_with(&GradientCheck::new(), cases);
}

fn check_with(options: &GradientCheck, cases: Vec<Case>) {
    let failures: Vec<String> = cases
        .into_iter()
        .enumerate()
        .filter_map(|(i, (layer, inputs))| {
            let failed = options.layer(layer, &inputs).err()?;
            Some(format!("case {i}, inputs {inputs:?}: {failed}"))
        })
        .collect();
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

/// Numbers from `low` to `high` that look random.
fn numbers(shape: &[usize], seed: u64, low: f32, high: f32) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let draw = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        low + (high - low) * ((state >> 40) as f32 / (1u32 << 24) as f32)
    };
    Tensor::new(shape, (0..shape.iter().product()).map(draw).collect()).unwrap()
}

fn dense() -> Vec<Case> {
    let mut cases = vec![case(Dense::new(1), &[1, 1]), case(Dense::new(3).use_bias(false), &[4, 2, 3, 5])];
    for activation in ["linear", "relu", "tanh", "softmax", "gelu"] {
        for use_bias in [true, false] {
            cases.push(case(Dense::new(6).activation(activation).use_bias(use_bias), &[5, 7]));
        }
    }
    cases.push(case(Dense::new(3).kernel_regularizer(L1L2::new(0.1, 0.2)).bias_regularizer("l2"), &[4, 5]));
    cases.push(case(Dense::new(3).activation("tanh").activity_regularizer(L1::new(0.3)), &[4, 5]));
    cases.push(case(Dense::new(3).trainable(false), &[4, 5]));
    for (equation, output, bias, input) in [
        ("ab,bc->ac", &[Some(3)][..], Some("c"), &[4, 5][..]),
        ("abc,cd->abd", &[None, Some(3)], Some("d"), &[2, 3, 4]),
        ("abc,dc->abd", &[None, Some(3)], Some("bd"), &[2, 3, 4]),
        ("abc,cde->abde", &[None, Some(2), Some(3)], Some("de"), &[2, 3, 4]),
        ("abcd,cde->abe", &[None, Some(5)], None, &[2, 3, 2, 2]),
        ("abc,cd->adb", &[Some(5), Some(3)], Some("db"), &[2, 3, 4]),
        ("abc,bcd->abd", &[Some(3), Some(2)], Some("bd"), &[2, 3, 4]),
        ("abc,cd->ad", &[Some(2)], Some("d"), &[2, 3, 4]),
        ("...x,xy->...y", &[Some(3)], Some("y"), &[2, 2, 2, 4]),
        ("ab...,bc->ac...", &[Some(3)], Some("c"), &[2, 2, 4, 3]),
    ] {
        let layer = EinsumDense::new(equation, output).activation("tanh");
        cases.push(case(bias.map_or(layer.clone(), |axes| layer.bias_axes(axes)), input));
    }
    cases
}

fn activation_layers() -> Vec<Case> {
    vec![
        case(Activation::new("silu"), &[3, 4]),
        case(Activation::new("relu"), &[3, 4]),
        case(ReLU::new(), &[4, 9]),
        case(ReLU::new().max_value(1.0).negative_slope(0.2).threshold(0.3), &[4, 9]),
        case(LeakyReLU::new(), &[4, 9]),
        case(PReLU::new().alpha_initializer("random_normal"), &[4, 9]),
        case(PReLU::new().alpha_initializer("random_normal").shared_axes([1, 2]), &[3, 2, 3, 4]),
        case(PReLU::new().alpha_initializer("random_normal").shared_axes([2]), &[3, 2, 3, 4]),
        case(ELU::new().alpha(0.7), &[4, 9]),
        case(Softmax::new(), &[3, 5]),
        case(Softmax::new().axis(1), &[2, 3, 4]),
        case(Softmax::new().axes([1, 2]), &[2, 3, 4, 2]),
        case(Identity::new(), &[2, 3]),
        case(ActivityRegularization::new(0.2, 0.3), &[4, 5]),
        case(Rescaling::new(1.0 / 3.0).offset(-1.0), &[2, 3, 4]),
        case(Rescaling::new([1.0, -2.0, 0.5]).offset([0.1, 0.2, 0.3]), &[2, 4, 3]),
    ]
}

fn reshaping() -> Vec<Case> {
    vec![
        case(Flatten::new(), &[2, 3, 4, 2]),
        case(Flatten::new(), &[3]),
        case(Reshape::new([-1, 2]), &[2, 3, 4]),
        case(Reshape::new([12]), &[2, 3, 4]),
        case(Permute::new([2, 1]), &[2, 3, 4]),
        case(Permute::new([3, 1, 2]), &[2, 3, 4, 5]),
        case(RepeatVector::new(3), &[2, 5]),
        case(ZeroPadding2D::new(1), &[2, 3, 4, 2]),
        case(ZeroPadding2D::new(((1, 0), (2, 3))), &[2, 3, 4, 2]),
        case(Cropping2D::new((1, 2)), &[2, 5, 6, 2]),
        case(Cropping2D::new(((2, 0), (0, 1))), &[2, 5, 6, 3]),
        case(ZeroPadding1D::new((1, 2)), &[2, 3, 4]),
        case(ZeroPadding3D::new([[1, 0], [0, 2], [1, 1]]), &[2, 3, 2, 2, 2]),
        case(ZeroPadding2D::new((1, 2)).data_format(DataFormat::ChannelsFirst), &[2, 3, 4, 2]),
        case(Cropping1D::new((1, 2)), &[2, 5, 4]),
        case(Cropping3D::new([[1, 0], [0, 2], [1, 1]]), &[2, 3, 4, 4, 2]),
        case(Cropping2D::new(1).data_format(DataFormat::ChannelsFirst), &[2, 3, 4, 5]),
        case(Flatten::new().data_format(DataFormat::ChannelsFirst), &[2, 3, 4, 2]),
        case(UpSampling1D::new(3), &[2, 3, 4]),
        case(UpSampling2D::new((2, 3)), &[2, 3, 2, 2]),
        case(UpSampling2D::new((2, 1)).interpolation(Interpolation::Bilinear), &[2, 3, 2, 2]),
        case(UpSampling2D::new((2, 3)).interpolation(Interpolation::Bicubic), &[2, 3, 4, 2]),
        case(UpSampling2D::new((2, 3)).interpolation(Interpolation::Lanczos3), &[2, 3, 4, 2]),
        case(
            UpSampling2D::new(2).interpolation(Interpolation::Lanczos5).data_format(DataFormat::ChannelsFirst),
            &[2, 3, 4, 2],
        ),
        case(UpSampling3D::new((2, 1, 3)), &[2, 3, 2, 2, 2]),
    ]
}

/// Kernels, strides, paddings, dilations, groups (the last is depthwise), biases, activations.
fn convolution() -> Vec<Case> {
    let mut cases = Vec::new();
    for kernel in [[1, 1], [2, 2], [3, 3], [5, 5], [2, 3], [3, 1]] {
        for (stride, dilation) in [(1, 1), (2, 1), (3, 1), (1, 2)] {
            for padding in [Padding::Valid, Padding::Same] {
                for groups in [1, 2, 4] {
                    for activation in ["relu", "tanh", "gelu"] {
                        let layer = Conv2D::new(4, kernel).strides(stride).dilation_rate(dilation).padding(padding);
                        let layer = layer.groups(groups).activation(activation).use_bias(activation != "tanh");
                        cases.push(case(layer, &[2, 9, 10, 4]));
                    }
                }
            }
        }
    }
    // One of everything, many channels, a kernel as large as the image, more filters than channels in groups.
    cases.push(case(Conv2D::new(1, 1), &[1, 1, 1, 1]));
    cases.push(case(Conv2D::new(17, 3).padding(Padding::Same), &[1, 5, 4, 19]));
    cases.push(case(Conv2D::new(5, [4, 6]), &[3, 4, 6, 2]));
    cases.push(case(Conv2D::new(6, 3).groups(3).strides([2, 1]).padding(Padding::Same), &[2, 6, 5, 3]));
    cases.push(case(Conv2D::new(2, 3).kernel_regularizer("l2").activity_regularizer("l2"), &[2, 5, 5, 2]));
    cases
}

/// Convolutions over one and three axes, transposed, depthwise and separable ones.
fn more_convolutions() -> Vec<Case> {
    let mut cases = Vec::new();
    for padding in [Padding::Valid, Padding::Same] {
        for (stride, dilation) in [(1, 1), (2, 1), (3, 1), (1, 2)] {
            for groups in [1, 2] {
                let layer = Conv1D::new(4, 3).strides(stride).dilation_rate(dilation).padding(padding).groups(groups);
                cases.push(case(layer.activation("relu"), &[2, 9, 6]));
                let layer = Conv3D::new(4, [2, 3, 2]).strides(stride).dilation_rate(dilation).padding(padding);
                cases.push(case(layer.groups(groups).activation("tanh"), &[2, 4, 5, 6, 4]));
            }
            let layer = Conv1DTranspose::new(3, 3).strides(stride).dilation_rate(dilation).padding(padding);
            cases.push(case(layer.activation("relu"), &[2, 5, 4]));
            let layer = Conv2DTranspose::new(3, [2, 4]).strides(stride).dilation_rate(dilation).padding(padding);
            cases.push(case(layer.use_bias(false), &[2, 3, 4, 2]));
            let layer = Conv3DTranspose::new(2, 2).strides(stride).dilation_rate(dilation).padding(padding);
            cases.push(case(layer, &[2, 3, 2, 3, 3]));
            let layer = DepthwiseConv1D::new(2).strides(stride).dilation_rate(dilation).padding(padding);
            cases.push(case(layer.depth_multiplier(3).activation("relu"), &[2, 8, 3]));
            let layer = DepthwiseConv2D::new([3, 2]).strides(stride).dilation_rate(dilation).padding(padding);
            cases.push(case(layer.depth_multiplier(2).activation("gelu"), &[2, 7, 6, 3]));
            let layer = SeparableConv1D::new(4, 2).strides(stride).dilation_rate(dilation).padding(padding);
            cases.push(case(layer.depth_multiplier(2), &[2, 8, 3]));
            let layer = SeparableConv2D::new(4, [3, 2]).strides(stride).dilation_rate(dilation).padding(padding);
            cases.push(case(layer.activation("relu").use_bias(false), &[2, 7, 6, 3]));
        }
    }
    cases.push(case(Conv1D::new(4, 3).padding(Padding::Causal).dilation_rate(2), &[2, 9, 3]));
    cases.push(case(Conv2DTranspose::new(3, 3).strides(2).output_padding([1, 0]), &[2, 3, 4, 2]));
    let first = DataFormat::ChannelsFirst;
    cases.push(case(Conv2D::new(4, 3).data_format(first).activation("softmax"), &[2, 3, 5, 6]));
    cases.push(case(Conv1DTranspose::new(4, 3).data_format(first).activation("tanh"), &[2, 3, 5]));
    cases.push(case(DepthwiseConv2D::new(3).data_format(first), &[2, 3, 5, 6]));
    // Their way back needs more than what was stored.
    for max_value in [None, Some(0.5)] {
        let limited = Activation::ReluWith { negative_slope: 0.0, max_value, threshold: 0.0 };
        cases.push(case(Conv2D::new(2, 3).activation(limited.clone()), &[2, 5, 5, 2]));
        cases.push(case(DepthwiseConv2D::new(3).activation(limited.clone()), &[2, 5, 5, 2]));
        cases.push(case(SeparableConv2D::new(2, 3).activation(limited), &[2, 5, 5, 2]));
    }
    cases.push(case(SeparableConv2D::new(2, 3).data_format(first).activation("relu"), &[2, 3, 5, 6]));
    cases.push(case(SeparableConv1D::new(2, 3).pointwise_regularizer("l2").depthwise_regularizer("l1"), &[2, 5, 3]));
    cases
}

fn more_pooling() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.push(case(Resizing::new(3, 7), &[2, 5, 4, 2]));
    let small = Resizing::new(2, 3).interpolation(Interpolation::Bicubic).antialias(true);
    cases.push(case(small, &[2, 7, 5, 2]));
    cases.push(case(Resizing::new(3, 4).crop_to_aspect_ratio(true), &[2, 7, 5, 2]));
    cases.push(case(Resizing::new(6, 3).pad_to_aspect_ratio(true).fill_value(0.5), &[2, 4, 5, 2]));
    cases.push(case(CenterCrop::new(2, 3), &[2, 5, 4, 2]));
    cases.push(case(CenterCrop::new(6, 3), &[2, 5, 4, 2]));
    for (size, stride) in [(1, 1), (2, 2), (3, 1), (2, 3)] {
        for padding in [Padding::Valid, Padding::Same] {
            cases.push(case(MaxPooling1D::new(size).strides(stride).padding(padding), &[2, 7, 3]));
            cases.push(case(AveragePooling1D::new(size).strides(stride).padding(padding), &[2, 7, 3]));
            cases.push(case(MaxPooling3D::new(size).strides(stride).padding(padding), &[2, 5, 4, 6, 2]));
            cases.push(case(AveragePooling3D::new(size).strides(stride).padding(padding), &[2, 5, 4, 6, 2]));
        }
    }
    for size in [1, 2, 3, 5] {
        cases.push(case(AdaptiveAveragePooling1D::new(size), &[2, 4, 3]));
        cases.push(case(AdaptiveMaxPooling1D::new(size), &[2, 7, 3]));
        cases.push(case(AdaptiveAveragePooling2D::new([size, 2]), &[2, 7, 5, 3]));
        cases.push(case(AdaptiveMaxPooling2D::new([2, size]), &[2, 3, 8, 3]));
    }
    cases.push(case(AdaptiveAveragePooling3D::new([2, 3, 1]), &[2, 3, 4, 5, 2]));
    cases.push(case(AdaptiveMaxPooling3D::new([2, 3, 1]), &[2, 3, 4, 5, 2]));
    let first = DataFormat::ChannelsFirst;
    cases.push(case(MaxPooling2D::new(2).data_format(first), &[2, 3, 5, 6]));
    cases.push(case(AveragePooling1D::new(2).data_format(first), &[2, 3, 5]));
    cases.push(case(AdaptiveMaxPooling2D::new(2).data_format(first), &[2, 3, 5, 6]));
    for keepdims in [false, true] {
        cases.push(case(GlobalMaxPooling1D::new().keepdims(keepdims), &[3, 6, 2]));
        cases.push(case(GlobalAveragePooling1D::new().keepdims(keepdims), &[3, 6, 2]));
        cases.push(case(GlobalMaxPooling3D::new().keepdims(keepdims), &[3, 2, 3, 4, 2]));
        cases.push(case(GlobalAveragePooling3D::new().keepdims(keepdims), &[3, 2, 3, 4, 2]));
        cases.push(case(GlobalMaxPooling2D::new().keepdims(keepdims).data_format(first), &[3, 2, 3, 4]));
        cases.push(case(GlobalAveragePooling1D::new().keepdims(keepdims).data_format(first), &[3, 2, 6]));
    }
    cases
}

fn pooling() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in [[1, 1], [2, 2], [3, 3], [2, 3], [5, 1]] {
        for stride in [1, 2, 3] {
            for padding in [Padding::Valid, Padding::Same] {
                cases.push(case(MaxPooling2D::new(size).strides(stride).padding(padding), &[2, 7, 6, 2]));
                cases.push(case(AveragePooling2D::new(size).strides(stride).padding(padding), &[2, 7, 6, 3]));
            }
        }
    }
    for keepdims in [false, true] {
        cases.push(case(GlobalMaxPooling2D::new().keepdims(keepdims), &[3, 4, 5, 2]));
        cases.push(case(GlobalAveragePooling2D::new().keepdims(keepdims), &[3, 4, 5, 2]));
    }
    cases
}

/// With moving averages that are not 0 and 1.
fn batch_norm() -> BatchNormalization {
    BatchNormalization::new()
        .moving_mean_initializer(cornu::initializers::RandomUniform::new(-0.5, 0.5))
        .moving_variance_initializer(cornu::initializers::RandomUniform::new(0.5, 2.0))
}

fn normalization() -> Vec<Case> {
    let mut cases = Vec::new();
    for (center, scale) in [(true, true), (false, true), (true, false), (false, false)] {
        cases.push(case(batch_norm().center(center).scale(scale), &[6, 3]));
        cases.push(case(batch_norm().center(center).scale(scale).epsilon(0.1), &[3, 4, 5, 2]));
        cases.push(case(batch_norm().center(center).scale(scale).trainable(false), &[3, 4, 2]));
    }
    cases.push(case(batch_norm().axis(1), &[4, 3, 5]));
    cases.push(case(batch_norm().axis(2), &[2, 3, 4, 5]));
    cases.push(case(batch_norm(), &[2, 3, 70]));
    for (center, scale) in [(true, true), (false, true), (true, false), (false, false)] {
        cases.push(case(LayerNormalization::new().center(center).scale(scale), &[3, 2, 7]));
        cases.push(case(LayerNormalization::new().axis([1, -1]).center(center).scale(scale), &[3, 4, 2, 35]));
        cases.push(case(LayerNormalization::new().axis(1).center(center).scale(scale), &[3, 4, 5]));
    }
    cases.push(case(LayerNormalization::new().rms_scaling(true), &[3, 2, 7]));
    cases.push(case(LayerNormalization::new().trainable(false), &[3, 40]));
    cases.push(case(LayerNormalization::new().gamma_regularizer("l2"), &[3, 7]));
    for groups in [1, 2, 3, -1] {
        cases.push(case(GroupNormalization::new(groups).center(groups != 2), &[3, 4, 2, 6]));
        cases.push(case(GroupNormalization::new(groups).axis(1).scale(groups != 3), &[2, 6, 3]));
    }
    cases.push(case(GroupNormalization::new(2), &[3, 4]));
    let given = Normalization::new().mean_and_variance([0.5, -1.0, 2.0], [0.3, 4.0, 1.0]);
    cases.push(case(given.clone(), &[2, 5, 3]));
    cases.push(case(given.axis([1]).invert(true), &[2, 3, 4]));
    cases.push(case(Normalization::new().axis([]).mean_and_variance(0.5, 0.2), &[2, 3]));
    cases.push(case(Normalization::new().axis([1, -1]), &[2, 3, 2, 2]));
    cases.push(case(RMSNormalization::new(), &[3, 2, 39]));
    cases.push(case(RMSNormalization::new().axis([1, 2]).epsilon(0.1), &[2, 3, 4, 2]));
    cases.push(case(UnitNormalization::new(), &[3, 2, 5]));
    cases.push(case(UnitNormalization::new().axis([1, 2]), &[2, 3, 4, 2]));
    cases.push(case(LocalResponseNormalization::new(), &[2, 3, 2, 7]));
    for size in [1, 3, 5, 9] {
        let layer = LocalResponseNormalization::new().size(size).k(1.0).alpha(0.5).beta(0.6);
        cases.push(case(layer, &[2, 2, 3, 6]));
    }
    cases
}

fn several(layer: impl Into<LayerHandle>, inputs: &[&[usize]]) -> Case {
    (layer.into(), inputs.iter().map(|shape| shape.to_vec()).collect())
}

fn merging() -> Vec<Case> {
    vec![
        several(Add::new(), &[&[2, 3, 4], &[2, 3, 4], &[2, 1, 4]]),
        several(Add::new(), &[&[2, 3, 4], &[2, 4]]),
        several(Subtract::new(), &[&[2, 3, 4], &[2, 3, 1]]),
        several(Multiply::new(), &[&[2, 3, 3, 4], &[2, 1, 1, 4]]),
        several(Average::new(), &[&[2, 3], &[2, 3], &[2, 3]]),
        several(Maximum::new(), &[&[2, 3], &[2, 3]]),
        several(Minimum::new(), &[&[2, 3], &[2, 3]]),
        several(Dot::new([1, 2]), &[&[2, 3, 4], &[2, 5, 3]]),
        several(Dot::new(-1).normalize(true), &[&[3, 4], &[3, 4]]),
        several(Attention::new().use_scale(true), &[&[2, 3, 4], &[2, 5, 4]]),
        several(AdditiveAttention::new(), &[&[2, 3, 4], &[2, 5, 4], &[2, 5, 4]]),
        several(MultiHeadAttention::new(2, 3), &[&[2, 3, 4], &[2, 5, 6]]),
        several(MultiHeadAttention::new(2, 3).value_dim(2).dropout(0.3).use_gate(true), &[&[2, 3, 4], &[2, 3, 4]]),
        several(GroupQueryAttention::new(3, 4, 2), &[&[2, 3, 4], &[2, 5, 4]]),
        several(Concatenate::new(), &[&[2, 3, 4], &[2, 3, 1]]),
        several(Concatenate::new().axis(1), &[&[2, 3, 4], &[2, 1, 4], &[2, 2, 4]]),
    ]
}

/// A step of training divides the kernel by an estimate that goes on from step to step.
fn spectral() -> Vec<Case> {
    vec![
        case(SpectralNormalization::new(Dense::new(3).activation("tanh")), &[4, 5]),
        case(SpectralNormalization::new(Conv2D::new(3, 2)).power_iterations(3), &[2, 4, 4, 2]),
    ]
}

/// Sounds as their frequencies.
fn sounds() -> Vec<Case> {
    let layer = || STFTSpectrogram::new().frame_length(4).frame_step(3);
    vec![
        case(layer(), &[2, 11, 2]),
        case(layer().mode(SpectrogramMode::Psd).padding(Padding::Same).expand_dims(true), &[2, 11, 2]),
    ]
}

/// The same in bands, without a gradient.
fn loudness() -> Vec<Case> {
    vec![case(MelSpectrogram::new().fft_length(8).sequence_stride(4).num_mel_bins(3), &[2, 20])]
}

#[test]
fn frequencies() {
    check(sounds());
    for (layer, inputs) in loudness() {
        let error = GradientCheck::new().layer(layer, &inputs).unwrap_err().to_string();
        assert!(error.contains("no gradient passes a MelSpectrogram"), "{error}");
    }
}

/// Layers whose output does not change with small changes of the input.
fn categories() -> Vec<Case> {
    vec![
        case(CategoryEncoding::new(2), &[3, 4]),
        case(Discretization::new([-0.5, 0.5]).output_mode(Encoding::OneHot), &[3, 4]),
        case(Hashing::new(5), &[3, 4]),
        case(IntegerLookup::new([1, 2]), &[3, 4]),
    ]
}

/// Layers that do nothing outside of training, and have a gradient in it.
fn augmentation() -> Vec<Case> {
    let image: &[usize] = &[2, 4, 5, 3];
    // Wide enough for the values of the check, narrow enough that some leave it.
    let range = [-1.0, 1.0];
    let on = (1.0, 1.0);
    vec![
        case(RandomFlip::new(), image),
        case(RandomFlip::new().data_format(DataFormat::ChannelsFirst), image),
        case(RandomRotation::new(0.2), image),
        case(RandomRotation::new(0.2).fill_mode(FillMode::Constant).fill_value(2.0), &[2, 4, 5, 1]),
        case(RandomZoom::new(0.2).fill_mode(FillMode::Nearest), image),
        case(RandomTranslation::new(0.2, (-0.1, 0.3)).fill_mode(FillMode::Wrap), &[2, 4, 5, 2]),
        case(RandomShear::new().x_factor(0.5).interpolation(Interpolation::Nearest), image),
        case(RandomPerspective::new().factor(on), image),
        case(RandomElasticTransform::new().factor(on).value_range(range), image),
        case(RandomAffine::new().rotation(180.0).shift(0.2).scale(0.3).shear(20.0).stretch(0.2), image),
        case(RandomContrast::new(0.2).value_range(range), image),
        case(RandomContrast::new(0.2).value_range(range), &[2, 4, 5, 2]),
        case(RandomBrightness::new(0.2).value_range(range), image),
        case(RandomColorDegeneration::new(0.9).value_range(range), image),
        case(RandomErasing::new().factor(on), image),
        case(RandomGaussianBlur::new().factor(on).kernel_size([3, 5]).value_range(range), &[2, 6, 5, 2]),
        case(RandomGrayscale::new(), image),
        case(RandomInvert::new(), image),
        case(RandomSharpness::new(1.0).value_range(range), image),
        case(RandomPosterization::new(4.0), image),
        case(Solarization::new().threshold_factor((0.45, 0.5)).value_range([-10.0, 10.0]), image),
        case(Equalization::new(), image),
        case(CutMix::new(), &[4, 5, 4, 2]),
        case(MixUp::new().alpha(1.0), &[4, 5, 4, 2]),
        case(RandomCrop::new(3, 2), image),
        case(RandomCrop::new(6, 4), image),
        case(Pipeline::new().add(RandomFlip::new()).add(RandomContrast::new(0.3).value_range(range)), image),
    ]
}

/// Those without one.
fn without_gradient() -> Vec<Case> {
    let image: &[usize] = &[2, 4, 5, 3];
    vec![
        case(RandomHue::new(0.2), image),
        case(RandomSaturation::new(0.2), image),
        case(RandomColorJitter::new(), image),
        case(AugMix::new(), image),
        case(RandAugment::new(), image),
    ]
}

/// Those without one that work in inference too.
fn always_active() -> Vec<Case> {
    let image: &[usize] = &[2, 4, 5, 3];
    vec![case(AutoContrast::new(), image), case(ContrastLimitedAdaptiveHistogramEqualization::new(), image)]
}

#[test]
fn augmentation_of_images() {
    check(augmentation());
    let same_size = |case: &Case| !class_of(&case.0).contains("Crop");
    check_with(&GradientCheck::new().training(false), augmentation().into_iter().filter(same_size).collect());
    check_with(&GradientCheck::new().training(false), without_gradient());
    check_with(&GradientCheck::new().training(false), vec![case(RandomCrop::new(4, 5), &[2, 4, 5, 3])]);
    for (layer, inputs) in without_gradient().into_iter().chain(always_active()) {
        let class = class_of(&layer);
        let error = GradientCheck::new().layer(layer, &inputs).unwrap_err().to_string();
        assert!(error.contains(&format!("{class} has no gradient by its images")), "{error}");
    }
}

fn noise() -> Vec<Case> {
    vec![
        case(Dropout::new(0.4), &[4, 37]),
        case(Dropout::new(0.0), &[2, 3]),
        case(Dropout::new(0.5).noise_shape([None, Some(1), None]), &[3, 5, 4]),
        case(Dropout::new(0.5).noise_shape([Some(1), None, Some(1)]), &[3, 5, 4]),
        case(SpatialDropout1D::new(0.5), &[3, 4, 6]),
        case(SpatialDropout2D::new(0.5), &[3, 4, 5, 6]),
        case(SpatialDropout2D::new(0.5).data_format(DataFormat::ChannelsFirst), &[3, 6, 4, 5]),
        case(SpatialDropout3D::new(0.5), &[3, 2, 4, 5, 6]),
        case(AlphaDropout::new(0.4), &[4, 37]),
        case(AlphaDropout::new(0.0), &[2, 3]),
        case(AlphaDropout::new(0.5).noise_shape([None, Some(1), None]), &[3, 5, 4]),
        case(GaussianDropout::new(0.3), &[3, 8]),
        case(GaussianNoise::new(0.3), &[3, 8]),
    ]
}

#[test]
fn dense_layers() {
    check(dense());
}

#[test]
fn layers_that_work_value_by_value() {
    check(activation_layers());
}

#[test]
fn layers_that_move_values() {
    check(reshaping());
}

#[test]
fn convolutions() {
    check_with(&GradientCheck::new().directions(2), convolution());
}

#[test]
fn poolings() {
    check(pooling());
}

#[test]
fn convolutions_and_pooling_over_other_axes() {
    check(more_convolutions());
    check(more_pooling());
}

#[test]
fn normalizations() {
    check(normalization());
    check_with(&GradientCheck::new().training(false), normalization());
}

#[test]
fn merges() {
    check(merging());
}

#[test]
fn spectral_normalization() {
    check_with(&GradientCheck::new().training(false), spectral());
}

#[test]
fn encodings() {
    check(categories());
}

#[test]
fn dropout_and_noise() {
    check(noise());
    check_with(&GradientCheck::new().training(false), noise());
}

fn recurrent() -> Vec<Case> {
    let x = [3, 4, 5];
    let mut cases = vec![case(Masking::new(0.0), &x)];
    for sequences in [true, false] {
        for backwards in [true, false] {
            let mut add = |layer: LayerHandle| cases.push((layer, vec![x.to_vec()]));
            add(SimpleRNN::new(3).return_sequences(sequences).go_backwards(backwards).into());
            add(LSTM::new(3).return_sequences(sequences).go_backwards(backwards).into());
            for after in [true, false] {
                add(GRU::new(3).return_sequences(sequences).go_backwards(backwards).reset_after(after).into());
            }
        }
    }
    // Activations that need their inputs or rows, dropped inputs and states, no bias, states given out.
    cases.push(case(SimpleRNN::new(4).activation("silu").dropout(0.3).recurrent_dropout(0.4).return_state(true), &x));
    for activation in ["softmax", "gelu"] {
        for dropout in [(0.0, 0.0), (0.3, 0.0), (0.0, 0.4), (0.3, 0.4)] {
            let lstm = LSTM::new(4).activation(activation).recurrent_activation("tanh").return_state(true);
            cases.push(case(lstm.dropout(dropout.0).recurrent_dropout(dropout.1).use_bias(false), &x));
            for after in [true, false] {
                let gru = GRU::new(4).activation("tanh").recurrent_activation(activation).reset_after(after);
                let gru = gru.dropout(dropout.0).recurrent_dropout(dropout.1).return_state(true);
                cases.push(case(gru.use_bias(activation == "gelu"), &x));
            }
        }
    }
    // Initial states, cells on top of each other.
    let lstm = LSTM::new(2).return_state(true).return_sequences(true).kernel_regularizer("l2");
    cases.push((lstm.into(), vec![vec![2, 3, 4], vec![2, 2], vec![2, 2]]));
    cases.push((GRU::new(3).into(), vec![vec![2, 3, 4], vec![2, 3]]));
    cases.push(case(RNN::new(LSTMCell::new(3)), &x));
    let cells = || {
        let lower = LSTMCell::new(3).dropout(0.3).recurrent_dropout(0.2);
        StackedRNNCells::new().add(lower).add(GRUCell::new(2)).add(SimpleRNNCell::new(4))
    };
    cases.push(case(RNN::new(cells()).return_sequences(true).return_state(true), &x));
    cases.push(case(RNN::new(cells()).go_backwards(true), &x));

    cases.push(case(ConvLSTM2D::new(2, [2, 3]).padding(Padding::Same).return_sequences(true), &[2, 3, 3, 4, 2]));
    let strided = ConvLSTM2D::new(2, 2).strides(2).go_backwards(true).return_state(true).use_bias(false);
    cases.push(case(strided.activation("silu"), &[2, 2, 4, 5, 2]));
    cases.push(case(ConvLSTM2D::new(2, 2).dropout(0.3).recurrent_dropout(0.3), &[2, 2, 4, 4, 2]));
    cases.push(case(ConvLSTM1D::new(2, 2).dilation_rate(2).return_sequences(true), &[2, 3, 5, 2]));
    let first = ConvLSTM2D::new(3, 2).data_format(DataFormat::ChannelsFirst).return_sequences(true).return_state(true);
    cases.push(case(first, &[2, 3, 2, 3, 4]));
    cases.push(case(ConvLSTM1D::new(2, 2).data_format(DataFormat::ChannelsFirst), &[2, 2, 3, 4]));
    cases.push(case(ConvLSTM3D::new(2, [2, 1, 2]).padding(Padding::Same).strides([1, 1, 2]), &[2, 2, 2, 3, 3, 2]));

    for merge in [Some(Merge::Concat), Some(Merge::Sum), Some(Merge::Mul), Some(Merge::Ave), None] {
        for sequences in [true, false] {
            let lstm = LSTM::new(3).return_sequences(sequences).return_state(!sequences);
            cases.push(case(Bidirectional::new(lstm).merge_mode(merge), &x));
            let states = vec![vec![2, 3, 4], vec![2, 3], vec![2, 3]];
            cases.push((Bidirectional::new(GRU::new(3).return_sequences(sequences)).merge_mode(merge).into(), states));
        }
    }
    let other = SimpleRNN::new(4).go_backwards(true);
    cases.push(case(Bidirectional::new(LSTM::new(2)).backward_layer(other), &x));
    cases.push(case(TimeDistributed::new(Dense::new(3).activation("tanh")), &x));
    cases.push(case(TimeDistributed::new(Dense::new(3).activity_regularizer(L1::new(0.3))), &x));
    cases.push(case(TimeDistributed::new(Conv2D::new(2, 2)), &[2, 3, 4, 4, 2]));
    cases.push(case(TimeDistributed::new(LSTM::new(2)), &[2, 3, 4, 2]));
    cases.push(case(TimeDistributed::new(Dropout::new(0.5)), &x));
    cases
}

#[test]
fn recurrence() {
    check(recurrent());
}

/// A layer that is given a mask.
struct Masked<L>(L, Tensor);

impl<L: Layer> Layer for Masked<L> {
    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        self.0.output_shapes(inputs)
    }
    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        self.0.build(inputs, cx)
    }
    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let masks = inputs.iter().enumerate().map(|(i, _)| (i == 0).then(|| self.1.clone())).collect::<Vec<_>>();
        cx.child_masked(0, &self.0, inputs, masks).map(|(outputs, _)| outputs)
    }
    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let wanted: Vec<bool> = (0..3).map(|i| cx.wants(i)).collect();
        cx.child(&self.0, gradients, &wanted)
    }
    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.0.visit(visit);
    }
}

#[test]
fn masked_steps() {
    // Steps left out at the start, in the middle and at the end, and all of them.
    let mask = Tensor::new([4, 3], vec![0., 1., 1., 1., 0., 1., 1., 1., 0., 0., 0., 0.]).unwrap();
    let x = [4, 3, 2];
    let mut cases = Vec::new();
    for sequences in [true, false] {
        for backwards in [true, false] {
            let lstm = LSTM::new(3).return_sequences(sequences).go_backwards(backwards).return_state(true);
            cases.push((Masked(lstm, mask.clone()).into(), vec![x.to_vec(), vec![4, 3], vec![4, 3]]));
            let gru = GRU::new(3).return_sequences(sequences).go_backwards(backwards).reset_after(backwards);
            cases.push((Masked(gru, mask.clone()).into(), vec![x.to_vec(), vec![4, 3]]));
            let plain = SimpleRNN::new(3).return_sequences(sequences).go_backwards(backwards);
            cases.push(case(Masked(plain, mask.clone()), &x));
            let cells = StackedRNNCells::new().add(GRUCell::new(3)).add(LSTMCell::new(2));
            let rnn = RNN::new(cells).return_sequences(sequences).zero_output_for_mask(backwards);
            cases.push(case(Masked(rnn, mask.clone()), &x));
            let both = Bidirectional::new(GRU::new(2).return_sequences(sequences).go_backwards(backwards));
            let other = LSTM::new(3).return_sequences(sequences).go_backwards(!backwards);
            cases.push(case(Masked(both.backward_layer(other), mask.clone()), &x));
        }
    }
    check(cases);
}

#[test]
fn embeddings() {
    let numbers = Tensor::new([3, 4], vec![0.0, 2.0, 2.0, 1.0, 5.0, 0.0, 3.0, 3.0, 3.0, 1.0, 5.0, 2.0]).unwrap();
    let embedding = || Embedding::new(6, 3).embeddings_regularizer("l2");
    for layer in [embedding(), embedding().mask_zero(true)] {
        GradientCheck::new().inputs(false).layer_at(layer, std::slice::from_ref(&numbers)).unwrap();
    }
}

#[test]
fn every_built_in_layer_has_a_case() {
    let families = [
        dense(),
        activation_layers(),
        reshaping(),
        convolution(),
        pooling(),
        more_convolutions(),
        more_pooling(),
        normalization(),
        merging(),
        noise(),
        recurrent(),
        spectral(),
        sounds(),
        loudness(),
        categories(),
        augmentation(),
        without_gradient(),
        always_active(),
    ];
    let mut covered: BTreeSet<String> = families.into_iter().flatten().map(|(layer, _)| class_of(&layer)).collect();
    covered.insert("Embedding".to_owned()); // in a test of its own
    let all: BTreeSet<String> = testing::built_in_layers().into_iter().map(str::to_owned).collect();
    assert_eq!(covered, all, "each layer of the crate needs a case in one of the lists of this file");
}

fn class_of(layer: &LayerHandle) -> String {
    layer.class_name().rsplit('>').next().unwrap().to_owned()
}

#[test]
fn every_activation() {
    let with_arguments = [
        Activation::ReluWith { negative_slope: 0.1, max_value: Some(1.0), threshold: 0.5 },
        Activation::Gelu { approximate: true },
        Activation::Celu { alpha: 0.6 },
        Activation::Threshold { threshold: 0.4, default_value: -2.0 },
    ];
    let named = testing::built_in_activations().into_iter().map(Activation::new);
    for activation in named.chain(with_arguments) {
        GradientCheck::new().activation(activation.clone(), [6, 11]).unwrap();
        // As part of a layer, which keeps what its gradient needs.
        check_layer(Dense::new(4).activation(activation), &[[5, 3]]).unwrap();
    }
}

#[test]
fn every_regularizer() {
    let mut covered = BTreeSet::new();
    let mut check = |regularizer: Shared<dyn Regularizer>, shape: &[usize]| {
        covered.insert(regularizer.class_name().to_owned());
        GradientCheck::new().regularizer(regularizer, shape).unwrap();
    };
    check(L1::new(0.3).into(), &[4, 5]);
    check(L2::new(0.3).into(), &[3, 3, 2, 4]);
    check(L1L2::new(0.2, 0.5).into(), &[7]);
    check(OrthogonalRegularizer::new(0.1).into(), &[4, 5]);
    check(OrthogonalRegularizer::new(0.1).mode(OrthogonalMode::Columns).into(), &[4, 5]);
    let all: BTreeSet<String> = testing::built_in_regularizers().into_iter().map(str::to_owned).collect();
    assert_eq!(covered, all);
}

/// A loss, its targets and its predictions.
fn losses() -> Vec<(Shared<dyn Loss>, Tensor, Tensor)> {
    let mut cases: Vec<(Shared<dyn Loss>, Tensor, Tensor)> = Vec::new();
    let mut add = |loss: Shared<dyn Loss>, y: &Tensor, p: &Tensor| cases.push((loss, y.clone(), p.clone()));

    // Targets stay away from predictions, where some of these have kinks.
    let (y, p) = (numbers(&[4, 3], 1, 0.2, 1.0), numbers(&[4, 3], 2, 1.3, 3.0));
    let losses: [Shared<dyn Loss>; 11] = [
        MeanSquaredError::new().into(),
        MeanAbsoluteError::new().into(),
        MeanAbsolutePercentageError::new().into(),
        MeanSquaredLogarithmicError::new().into(),
        Huber::new().into(),
        Huber::new().delta(0.4).into(),
        LogCosh::new().into(),
        CosineSimilarity::new().into(),
        CosineSimilarity::new().axis(0).into(),
        Poisson::new().into(),
        MeanSquaredError::new().reduction(Reduction::Sum).into(),
    ];
    losses.into_iter().for_each(|loss| add(loss, &y, &p));
    add("mse".into(), &numbers(&[2, 3, 4], 3, -1.0, 1.0), &numbers(&[2, 3, 4], 4, -1.0, 1.0));

    let yes_no = numbers(&[5, 4], 5, 0.0, 1.0).map(f32::round);
    let logits = numbers(&[5, 4], 6, -2.0, 2.0);
    let probabilities = numbers(&[5, 4], 7, 0.1, 0.9);
    let one_hot = Tensor::new([5, 4], (0..20).map(|i| f32::from(u8::from(i % 4 == i / 4 % 3))).collect()).unwrap();
    let classes = Tensor::new([5], vec![0.0, 1.0, 3.0, 2.0, 3.0]).unwrap();
    let some = Tensor::new([5], vec![0.0, 1.0, -1.0, 2.0, -1.0]).unwrap();
    for from_logits in [false, true] {
        let p = if from_logits { &logits } else { &probabilities };
        for smoothing in [0.0, 0.2] {
            let binary = BinaryCrossentropy::new().from_logits(from_logits).label_smoothing(smoothing);
            add(binary.into(), &yes_no, p);
            let focal = BinaryFocalCrossentropy::new().from_logits(from_logits).label_smoothing(smoothing);
            add(focal.clone().into(), &yes_no, p);
            add(focal.apply_class_balancing(true).gamma(1.5).alpha(0.3).into(), &yes_no, p);
            let categorical = CategoricalCrossentropy::new().from_logits(from_logits).label_smoothing(smoothing);
            add(categorical.clone().into(), &one_hot, p);
            add(categorical.axis(0).into(), &one_hot, p);
            let focal = CategoricalFocalCrossentropy::new().from_logits(from_logits).label_smoothing(smoothing);
            add(focal.into(), &one_hot, p);
        }
        add(SparseCategoricalCrossentropy::new().from_logits(from_logits).into(), &classes, p);
        add(SparseCategoricalCrossentropy::new().from_logits(from_logits).ignore_class(-1).into(), &some, p);
    }
    add(Crossentropy::new().into(), &classes, &probabilities);
    add(Crossentropy::new().into(), &one_hot, &probabilities);
    let (y, p) = (Tensor::new([3, 1], vec![1.0, 0.0, 1.0]).unwrap(), numbers(&[3, 1], 8, 0.2, 0.8));
    add(Crossentropy::new().into(), &y, &p);
    add(KLDivergence::new().into(), &numbers(&[5, 4], 9, 0.1, 0.9), &probabilities);
    for q in [0.3, 0.5] {
        add(CategoricalGeneralizedCrossEntropy::new().q(q).into(), &classes, &probabilities);
    }

    let signs = yes_no.clone().map(|y| 2.0 * y - 1.0);
    for y in [&yes_no, &signs] {
        add(Hinge::new().into(), y, &logits);
        add(SquaredHinge::new().into(), y, &logits);
    }
    add(CategoricalHinge::new().into(), &one_hot, &logits);

    let (mask, p) = (numbers(&[2, 3, 4, 1], 10, 0.0, 1.0).map(f32::round), numbers(&[2, 3, 4, 1], 11, 0.1, 0.9));
    add(Dice::new().into(), &mask, &p);
    add(Dice::new().axis([1, 2, 3]).into(), &mask, &p);
    add(Tversky::new().alpha(0.3).beta(0.7).into(), &mask, &p);
    add(Tversky::new().axis([1, 2, 3]).into(), &mask, &p);

    let pairs = Tensor::new([5], vec![0.0, 1.0, 0.0, 1.0, 2.0]).unwrap();
    let embeddings = numbers(&[5, 4], 12, -0.5, 0.5);
    for remove in [true, false] {
        add(Circle::new().gamma(2.0).remove_diagonal(remove).into(), &pairs, &embeddings);
    }

    let spelled = Tensor::new([3, 3], vec![1.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
    add(CTC::new().into(), &spelled, &numbers(&[3, 6, 4], 13, -2.0, 2.0));
    cases
}

#[test]
fn every_loss() {
    let mut covered = BTreeSet::new();
    let mut failures = Vec::new();
    for (i, (loss, y_true, y_pred)) in losses().into_iter().enumerate() {
        covered.insert(loss.class_name().to_owned());
        let mut entries = loss.entries_shape(y_pred.shape()).unwrap().to_vec();
        if entries.is_empty() {
            entries = vec![y_pred.batch()];
        }
        let weights = numbers(&entries, 20, 0.5, 2.0);
        for weights in [None, Some(&weights)] {
            let result = GradientCheck::new().loss(loss.clone(), &y_true, &y_pred, weights);
            let weighted = if weights.is_some() { "weighted" } else { "plain" };
            failures.extend(result.err().map(|error| format!("case {i}, {weighted}: {error}")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let all: BTreeSet<String> = testing::built_in_losses().into_iter().map(str::to_owned).collect();
    assert_eq!(covered, all, "each loss of the crate needs a case");
}

#[test]
fn a_small_network_with_penalties() {
    let mut model = Sequential::new().with_seed(3);
    model
        .add(Input::new([8, 8, 2]))
        .add(Conv2D::new(4, 3).padding(Padding::Same).kernel_regularizer(L2::new(0.01)))
        .add(BatchNormalization::new().gamma_regularizer("l2"))
        .add(Activation::new("relu"))
        .add(MaxPooling2D::new(2))
        .add(Conv2D::new(3, 2).activation("gelu").activity_regularizer(L1L2::new(0.01, 0.02)))
        .add(Dropout::new(0.3))
        .add(Flatten::new())
        .add(Dense::new(5).activation("softmax").kernel_regularizer(L1::new(0.01)));
    model.build().unwrap();
    let x = numbers(&[4, 8, 8, 2], 1, -1.0, 1.0);
    let y = Tensor::new([4], vec![0.0, 4.0, 2.0, 1.0]).unwrap();
    let loss = "sparse_categorical_crossentropy";
    let before = model.get_weights();
    for training in [true, false] {
        let options = GradientCheck::new().training(training);
        let report = options.model(&model, loss, std::slice::from_ref(&x), &y).unwrap();
        assert_eq!(report.checks().len(), 1 + 2 + 2 + 2 + 2, "{report}");
    }
    // Frozen layers are not asked for, and gradients pass through them.
    model.layer("conv2d").unwrap().set_trainable(false);
    model.layer("batch_normalization").unwrap().set_trainable(false);
    let report = testing::check_model(&model, loss, &x, &y).unwrap();
    assert_eq!(report.checks().len(), 1 + 2 + 2, "{report}");
    assert_eq!(model.get_weights(), before, "the weights are as they were");
}

// Faults, each of which must be found.

type Derivative = fn(f32) -> f32;

/// y = x + x², with a derivative of one's own.
struct Parabola(Derivative);

impl SimpleLayer for Parabola {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.clone().map(|v| v + v * v))
    }
    fn backward(&self, x: &Tensor, _: &Tensor, gradient: Tensor) -> Result<Tensor> {
        gradient.zip_map(x, |g, v| g * (self.0)(v))
    }
}

#[test]
fn wrong_derivatives_are_found() {
    let report = check_layer(Parabola(|v| 1.0 + 2.0 * v), &[[3, 4]]).unwrap();
    assert_eq!(report.checks()[0].name, "input 0");
    assert!(report.max_error() < 1e-3, "{report}");

    let faults: [(&str, Derivative); 5] = [
        ("a flipped sign", |v| -1.0 - 2.0 * v),
        ("a dropped term", |v| 2.0 * v),
        ("a small factor", |v| 1.005 * (1.0 + 2.0 * v)),
        ("one side of 0 alone", |v| if v > 0.0 { 1.0 + 2.0 * v } else { 0.0 }),
        ("not a number", |_| f32::NAN),
    ];
    for (fault, derivative) in faults {
        let error = check_layer(Parabola(derivative), &[[3, 4]]).unwrap_err();
        assert!(matches!(error.root(), Error::Gradient(_)), "{fault}: {error}");
        assert!(error.to_string().contains("layer 'parabola' (Parabola): "), "{fault}: {error}");
    }
}

/// y = w x, with a fault.
struct Scale {
    fault: Fault,
    w: Param,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Sets the weight's gradient instead of adding to it.
    Overwrites,
    /// Leaves the weight's gradient out.
    Forgets,
    /// Takes the weight's gradient only where the input's is wanted.
    Skips,
    /// Saves more than it restores.
    Leaves,
    /// Gives out a gradient of the wrong shape.
    Flattens,
    /// Computes something else when nothing is recorded.
    Differs,
    /// Says that the output has another shape.
    Lies,
}

impl Layer for Scale {
    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![if self.fault == Fault::Lies { inputs[0].with_last(1) } else { inputs[0].clone() }])
    }
    fn build(&mut self, _: &[Shape], cx: &mut Build) -> Result<()> {
        self.w = cx.weight("w", &[1], &"ones".into(), &None, &None)?;
        Ok(())
    }
    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let w = self.w.value().data()[0] + f32::from(u8::from(self.fault == Fault::Differs && !cx.recording()));
        cx.save(x.clone());
        if self.fault == Fault::Leaves {
            cx.save(x.clone());
        }
        Ok(x.map(|x| x * w).into())
    }
    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let dy = gradients.one()?;
        let x = cx.restore()?;
        let sum: f32 = x.data().iter().zip(dy.data()).map(|(x, dy)| x * dy).sum();
        let skip = self.fault == Fault::Skips && !cx.wants(0);
        if let Some(dw) = cx.gradient(&self.w).filter(|_| self.fault != Fault::Forgets && !skip) {
            dw[0] = sum + if self.fault == Fault::Overwrites { 0.0 } else { dw[0] };
        }
        let w = self.w.value().data()[0];
        let dx = dy.map(|dy| dy * w);
        let flat = dx.len();
        Ok(if self.fault == Fault::Flattens { dx.reshape([flat])? } else { dx }.into())
    }
    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        visit(&self.w);
    }
}

#[test]
fn broken_rules_are_found() {
    let check = |fault| check_layer(Scale { fault, w: Param::default() }, &[[3, 4]]);
    let report = check(Fault::None).unwrap();
    assert_eq!(report.checks()[1].name, "scale/w");
    for (fault, told) in [
        (Fault::Overwrites, "must be added to"),
        (Fault::Forgets, "gradient of scale/w: error 1.0e0 > 1e-3"),
        (Fault::Skips, "not depend on whether"),
        (Fault::Leaves, "mirror each other"),
        (Fault::Flattens, "has shape [12], the input [3, 4]"),
        (Fault::Differs, "a pass that saves gives other outputs"),
        (Fault::Lies, "where output_shapes said [(None, 1)]"),
    ] {
        let error = check(fault).unwrap_err();
        assert!(matches!(error.root(), Error::Gradient(_)) && error.to_string().contains(told), "{error}");
    }
}

/// The squares of errors, half of their gradient.
#[derive(Debug)]
struct HalfGradient;

impl Loss for HalfGradient {
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        MeanSquaredError::new().call(y_true, y_pred)
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        Ok(MeanSquaredError::new().gradient(y_true, y_pred, weights)?.map(|g| g / 2.0))
    }
}

/// The sum of fourth powers, without its sign in the gradient.
#[derive(Debug)]
struct Unsigned;

impl Regularizer for Unsigned {
    fn loss(&self, weight: &Tensor) -> f64 {
        weight.data().iter().map(|&w| f64::from(w).powi(4)).sum()
    }
    fn add_gradient(&self, weight: &Tensor, scale: f32, gradient: &mut [f32]) {
        gradient.iter_mut().zip(weight.data()).for_each(|(g, w)| *g += scale * 4.0 * w.abs().powi(3));
    }
}

#[test]
fn wrong_losses_and_regularizers_are_found() {
    let (y, p) = (numbers(&[4, 3], 1, -1.0, 1.0), numbers(&[4, 3], 2, -1.0, 1.0));
    let error = testing::check_loss(HalfGradient, &y, &p).unwrap_err().to_string();
    assert!(error.contains("loss 'half_gradient': gradient of predictions: error 5.0e-1"), "{error}");
    assert!(GradientCheck::new().regularizer(Unsigned, [3, 3]).is_err());
    // Through a layer, where they are added to right ones.
    assert!(check_layer(Dense::new(3).kernel_regularizer(Unsigned), &[[2, 3]]).is_err());
    assert!(check_layer(Dense::new(3).activity_regularizer(Unsigned), &[[2, 3]]).is_err());
}

#[test]
fn values_on_kinks_are_told_not_guessed() {
    // At 0, relu has two slopes, and differences would give their mean.
    let error = GradientCheck::new().layer_at(ReLU::new(), &[Tensor::zeros([2, 3])]).unwrap_err().to_string();
    assert!(error.contains("kinks or jumps"), "{error}");
}
