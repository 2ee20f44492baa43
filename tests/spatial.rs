//! The layers over sequences, images and volumes, against numbers of Keras 3.15.

use cornu::layer::LayerHandle;
use cornu::prelude::*;
use cornu::training::Differentiate;
use ndarray::ArrayD;

/// Sines of 0, 1, 2, … times a number.
fn waves(shape: &[usize], by: f64) -> Tensor {
    let n = shape.iter().product::<usize>();
    Tensor::new(shape, (0..n).map(|i| (i as f64 * by).sin() as f32).collect()).unwrap()
}

/// One number that depends on every value and its place.
fn digest(x: &Tensor) -> f64 {
    x.data().iter().enumerate().map(|(i, &v)| f64::from(v) * (i as f64 * 0.3).cos()).sum()
}

/// A layer, the shape of its input and of its output; digests of its output and of the gradients of its input and its
/// weights.
type Golden = (LayerHandle, &'static [usize], &'static [usize], f64, &'static [f64]);

fn check(cases: Vec<Golden>) {
    let mut failures = Vec::new();
    for (i, (layer, input, output, value, gradients)) in cases.into_iter().enumerate() {
        let name = format!("case {i}, {}", layer.class_name());
        let mut model = Sequential::new();
        model.add(Input::new(&input[1..])).add(layer);
        model.build().unwrap_or_else(|error| panic!("{name}: {error}"));
        for (k, weight) in model.weights().iter().enumerate() {
            weight.set(waves(&weight.shape(), 0.9 + 0.2 * k as f64)).unwrap();
        }
        let x: ArrayD<f32> = waves(input, 1.7).into_array();
        let pass = model.forward(&x, false, Differentiate::Both).unwrap();
        let y = pass.output();
        if y.shape() != output || !model.output_shape().unwrap().accepts(output) {
            failures.push(format!("{name}: shape {:?}, told {}", y.shape(), model.output_shape().unwrap()));
            continue;
        }
        let back = model.backward(pass, waves(output, 0.6).into_array()).unwrap();
        let all = back.inputs[0].iter().chain(back.weights.values());
        let got: Vec<f64> = std::iter::once(digest(&y)).chain(all.map(digest)).collect();
        let want: Vec<f64> = std::iter::once(value).chain(gradients.iter().copied()).collect();
        // TensorFlow reads its cubic weights from a table of 1024 entries.
        let tolerance = if name.contains("UpSampling") { 5e-3 } else { 2e-4 };
        let close = |(got, want): (&f64, &f64)| (got - want).abs() < tolerance * want.abs().max(1.0);
        if got.len() != want.len() || !got.iter().zip(&want).all(close) {
            failures.push(format!("{name}: {got:?}, expected {want:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn transposed_convolutions_follow_keras() {
    let layer = |k: usize, s: usize| Conv1DTranspose::new(2, k).strides(s);
    let same = |k: usize, s: usize| layer(k, s).padding(Padding::Same);
    let input: &[usize] = &[2, 5, 3];
    check(vec![
        (layer(3, 1).into(), input, &[2, 7, 2], 2.63692, &[-0.50757, 2.17729, 2.74700]),
        (layer(3, 2).into(), input, &[2, 11, 2], 1.08936, &[-0.43580, 0.86627, 0.62836]),
        (layer(4, 2).into(), input, &[2, 12, 2], 0.36608, &[-0.20515, 0.20214, 3.19164]),
        (layer(5, 3).into(), input, &[2, 17, 2], 2.36213, &[-0.09105, 0.87851, 3.13197]),
        (layer(2, 3).into(), input, &[2, 15, 2], -1.30673, &[-0.35663, 0.33574, 2.27448]),
        (layer(1, 2).into(), input, &[2, 10, 2], 3.07697, &[-0.65532, 0.58124, 1.36075]),
        (layer(3, 1).dilation_rate(2).into(), input, &[2, 9, 2], -1.57107, &[0.10494, -5.03668, 2.84391]),
        (layer(3, 2).output_padding(1).into(), input, &[2, 12, 2], 0.54560, &[-0.26973, 0.41740, 3.19164]),
        (layer(4, 2).output_padding(0).into(), input, &[2, 12, 2], 0.36608, &[-0.20515, 0.20214, 3.19164]),
        (layer(3, 3).output_padding(2).into(), input, &[2, 17, 2], 1.79190, &[-0.36807, 1.03517, 3.13197]),
        (layer(5, 2).output_padding(0).into(), input, &[2, 13, 2], 1.72207, &[0.30258, 0.00590, 0.14374]),
        (same(3, 1).into(), input, &[2, 5, 2], -0.43468, &[0.43685, -13.51241, 0.51450]),
        (same(3, 2).into(), input, &[2, 10, 2], 1.81897, &[0.36939, 0.29891, 1.36075]),
        (same(4, 2).into(), input, &[2, 10, 2], -0.77729, &[1.16444, 1.10491, 1.36075]),
        (same(5, 3).into(), input, &[2, 15, 2], -0.85020, &[1.33687, 1.99454, 2.27448]),
        (same(2, 3).into(), input, &[2, 15, 2], -1.30673, &[-0.35663, 0.33574, 2.27448]),
        (same(1, 2).into(), input, &[2, 10, 2], 3.07697, &[-0.65532, 0.58124, 1.36075]),
        (same(3, 1).dilation_rate(2).into(), input, &[2, 5, 2], -0.31722, &[-1.19713, -11.87222, 0.51450]),
        (same(3, 2).output_padding(1).into(), input, &[2, 10, 2], 1.81897, &[0.36939, 0.29891, 1.36075]),
        (same(3, 3).output_padding(2).into(), input, &[2, 15, 2], -1.12819, &[-0.11148, 0.36011, 2.27448]),
        (same(5, 2).output_padding(0).into(), input, &[2, 9, 2], -2.46430, &[0.71192, -0.65341, 2.84391]),
        (
            Conv2DTranspose::new(2, (3, 2)).strides((2, 3)).padding(Padding::Same).into(),
            &[2, 3, 4, 3],
            &[2, 6, 12, 2],
            -2.05533,
            &[-1.31877, -0.12221, 3.15971],
        ),
        (
            Conv2DTranspose::new(2, 3).strides(2).output_padding(1).into(),
            &[2, 3, 4, 3],
            &[2, 8, 10, 2],
            0.81944,
            &[0.03761, 32.81611, 3.22843],
        ),
        (
            Conv3DTranspose::new(2, 3).strides(2).padding(Padding::Same).into(),
            &[1, 2, 3, 2, 2],
            &[1, 4, 6, 4, 2],
            -1.39033,
            &[1.88422, -6.54540, 1.94556],
        ),
        (
            Conv3DTranspose::new(2, (2, 3, 2)).strides((1, 2, 3)).into(),
            &[1, 2, 3, 2, 2],
            &[1, 3, 7, 6, 2],
            0.10977,
            &[0.56632, -10.82134, -0.06968],
        ),
    ]);
    // TensorFlow cannot run this one; the size is Keras' rule.
    let output = same(4, 2).output_padding(0).output_shapes(&[Shape::batch_of([5, 3])]).unwrap();
    assert_eq!(output, [Shape::batch_of([8, 2])]);
}

#[test]
fn convolutions_follow_keras() {
    check(vec![
        (
            Conv1D::new(3, 3).dilation_rate(2).padding(Padding::Causal).into(),
            &[2, 7, 2],
            &[2, 7, 3],
            3.96895,
            &[0.18486, -1.60504, -0.03190],
        ),
        (
            Conv1D::new(3, 3).strides(2).padding(Padding::Causal).into(),
            &[2, 7, 2],
            &[2, 4, 3],
            1.95533,
            &[1.33947, 1.56303, 1.36132],
        ),
        (
            Conv3D::new(3, (2, 3, 2)).strides((2, 1, 2)).padding(Padding::Same).into(),
            &[2, 3, 4, 5, 2],
            &[2, 2, 4, 3, 3],
            3.95653,
            &[1.21215, 7.07344, 1.99794],
        ),
        (
            Conv3D::new(3, 2).dilation_rate(2).into(),
            &[2, 4, 4, 5, 2],
            &[2, 2, 2, 3, 3],
            -4.06749,
            &[0.65738, -4.07032, 0.80074],
        ),
        (
            DepthwiseConv1D::new(3).strides(2).depth_multiplier(2).padding(Padding::Same).into(),
            &[2, 7, 3],
            &[2, 4, 6],
            19.40795,
            &[-4.03611, -1.36383, 2.20296],
        ),
        (
            DepthwiseConv2D::new((2, 3)).depth_multiplier(2).dilation_rate(2).into(),
            &[2, 6, 7, 3],
            &[2, 4, 3, 6],
            3.57373,
            &[0.43022, -27.11422, 1.94863],
        ),
        (
            DepthwiseConv2D::new(3).strides(2).padding(Padding::Same).into(),
            &[2, 6, 7, 3],
            &[2, 3, 4, 3],
            4.23275,
            &[-0.25697, -1.51788, 0.80074],
        ),
        (
            SeparableConv1D::new(4, 3).strides(2).depth_multiplier(2).activation("tanh").into(),
            &[2, 8, 3],
            &[2, 3, 4],
            3.02843,
            &[-5.28430, -0.95024, -2.50365, 0.20664],
        ),
        (
            SeparableConv2D::new(4, (3, 2)).depth_multiplier(2).padding(Padding::Same).into(),
            &[2, 5, 4, 3],
            &[2, 5, 4, 4],
            21.55140,
            &[3.18156, 2.08597, -0.95472, 0.98507],
        ),
    ]);
}

#[test]
fn pooling_follows_keras() {
    check(vec![
        (
            MaxPooling3D::new((2, 3, 2)).strides((2, 1, 2)).padding(Padding::Same).into(),
            &[2, 5, 4, 5, 2],
            &[2, 3, 4, 3, 2],
            -0.93356,
            &[-1.36805],
        ),
        (
            AveragePooling3D::new((2, 3, 2)).strides((2, 1, 2)).padding(Padding::Same).into(),
            &[2, 5, 4, 5, 2],
            &[2, 3, 4, 3, 2],
            -0.03461,
            &[-2.16078],
        ),
        (AveragePooling3D::new(2).into(), &[2, 5, 4, 5, 2], &[2, 2, 2, 2, 2], 0.03441, &[-0.06137]),
        (MaxPooling1D::new(3).strides(2).padding(Padding::Same).into(), &[2, 8, 2], &[2, 4, 2], -1.55761, &[-2.36601]),
        (
            AveragePooling1D::new(3).strides(2).padding(Padding::Same).into(),
            &[2, 8, 2],
            &[2, 4, 2],
            1.20091,
            &[-2.59583],
        ),
        (AdaptiveAveragePooling1D::new(5).into(), &[2, 7, 2], &[2, 5, 2], 0.19453, &[5.09420]),
        (AdaptiveMaxPooling1D::new(3).into(), &[2, 7, 2], &[2, 3, 2], -0.02119, &[-2.92631]),
        (AdaptiveAveragePooling2D::new((3, 2)).into(), &[2, 7, 5, 2], &[2, 3, 2, 2], 0.07800, &[-0.72573]),
        (AdaptiveMaxPooling2D::new((3, 4)).into(), &[2, 7, 5, 2], &[2, 3, 4, 2], 3.59205, &[-3.24918]),
        (AdaptiveAveragePooling3D::new((2, 3, 2)).into(), &[1, 3, 7, 5, 2], &[1, 2, 3, 2, 2], 0.07545, &[-0.22183]),
        (AdaptiveMaxPooling3D::new((2, 3, 2)).into(), &[1, 3, 7, 5, 2], &[1, 2, 3, 2, 2], 2.77348, &[0.65774]),
        (AdaptiveAveragePooling1D::new(7).into(), &[2, 4, 2], &[2, 7, 2], 0.17827, &[1.07459]),
        (GlobalMaxPooling3D::new().keepdims(true).into(), &[2, 3, 4, 2, 3], &[2, 1, 1, 1, 3], 3.81155, &[0.42702]),
        (GlobalAveragePooling3D::new().into(), &[2, 3, 4, 2, 3], &[2, 3], 0.04727, &[-0.10506]),
    ]);
}

#[test]
fn upsampling_follows_keras() {
    check(vec![
        (UpSampling3D::new((2, 1, 3)).into(), &[2, 2, 3, 2, 2], &[2, 4, 3, 6, 2], 0.50024, &[-0.08799]),
        (
            UpSampling2D::new((2, 3)).interpolation(Interpolation::Nearest).into(),
            &[2, 3, 4, 2],
            &[2, 6, 12, 2],
            2.93505,
            &[9.03165],
        ),
        (
            UpSampling2D::new((2, 3)).interpolation(Interpolation::Bilinear).into(),
            &[2, 3, 4, 2],
            &[2, 6, 12, 2],
            2.29079,
            &[5.46030],
        ),
        (
            UpSampling2D::new((2, 3)).interpolation(Interpolation::Bicubic).into(),
            &[2, 3, 4, 2],
            &[2, 6, 12, 2],
            2.99265,
            &[6.63022],
        ),
        (
            UpSampling2D::new((2, 3)).interpolation(Interpolation::Lanczos3).into(),
            &[2, 3, 4, 2],
            &[2, 6, 12, 2],
            3.57457,
            &[6.64740],
        ),
        (
            UpSampling2D::new((2, 3)).interpolation(Interpolation::Lanczos5).into(),
            &[2, 3, 4, 2],
            &[2, 6, 12, 2],
            3.92358,
            &[6.26943],
        ),
    ]);
}

#[test]
fn channels_first_is_channels_last_turned() {
    check(vec![
        (
            GlobalAveragePooling2D::new().data_format(DataFormat::ChannelsFirst).into(),
            &[2, 3, 4, 5],
            &[2, 3],
            0.01958,
            &[-0.07406],
        ),
        (
            GlobalMaxPooling2D::new().keepdims(true).data_format(DataFormat::ChannelsFirst).into(),
            &[2, 3, 4, 5],
            &[2, 3, 1, 1],
            3.81587,
            &[0.22644],
        ),
        (
            ZeroPadding2D::new(((1, 2), (0, 1))).data_format(DataFormat::ChannelsFirst).into(),
            &[2, 3, 4, 5],
            &[2, 3, 7, 6],
            -0.69079,
            &[-10.27727],
        ),
        (
            UpSampling2D::new((2, 1)).data_format(DataFormat::ChannelsFirst).into(),
            &[2, 3, 4, 5],
            &[2, 3, 8, 5],
            0.36989,
            &[-0.09858],
        ),
    ]);
    // A convolution, against itself between two permutations.
    let first = Conv2D::new(4, 3).data_format(DataFormat::ChannelsFirst).activation("softmax");
    let x: ArrayD<f32> = waves(&[2, 3, 5, 6], 1.7).into_array();
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([3, 5, 6])).add(first);
    model.build().unwrap();
    let mut turned = Sequential::new();
    turned.add(Input::new([3, 5, 6])).add(Permute::new([2, 3, 1])).add(Conv2D::new(4, 3)).add(Permute::new([3, 1, 2]));
    turned.add(Activation::new("softmax"));
    turned.build().unwrap();
    turned.set_weights(&model.get_weights()).unwrap();
    let predict = |model: &Sequential| model.predict(&x, Predict::default()).unwrap();
    assert_eq!(predict(&model).shape(), [2, 4, 3, 4]);
    assert_eq!(predict(&model), predict(&turned));
    // Flatten moves the channels last.
    let mut model = Sequential::new();
    model.add(Input::new([2, 1, 2])).add(Flatten::new().data_format(DataFormat::ChannelsFirst));
    model.build().unwrap();
    let x = ndarray::array![[[[1.0, 2.0]], [[3.0, 4.0]]]];
    assert_eq!(model.predict(&x, Predict::default()).unwrap(), ndarray::array![[1.0, 3.0, 2.0, 4.0]].into_dyn());
}

#[test]
fn padding_and_cropping_a_volume() {
    let x: ArrayD<f32> = waves(&[2, 3, 2, 4, 2], 1.7).into_array();
    let apply = |layer: LayerHandle, x: &ArrayD<f32>| {
        let mut model = Sequential::new();
        model.add(Input::new(&x.shape()[1..])).add(layer);
        model.build().unwrap();
        model.predict(x, Predict::default()).unwrap()
    };
    let padded = apply(ZeroPadding3D::new([[1, 2], [0, 1], [3, 0]]).into(), &x);
    assert_eq!(padded.shape(), [2, 6, 3, 7, 2]);
    assert_eq!(padded[[1, 2, 1, 5, 1]], x[[1, 1, 1, 2, 1]]);
    let cells = |x: &ArrayD<f32>| x.iter().filter(|v| **v != 0.0).count();
    assert_eq!(cells(&padded), cells(&x), "all else is 0");
    assert_eq!(apply(Cropping3D::new([[1, 2], [0, 1], [3, 0]]).into(), &padded), x);
    let sequence: ArrayD<f32> = waves(&[2, 4, 3], 1.7).into_array();
    let padded = apply(ZeroPadding1D::new((2, 1)).into(), &sequence);
    assert_eq!((padded.shape(), padded[[1, 3, 2]]), ([2, 7, 3].as_slice(), sequence[[1, 1, 2]]));
    assert_eq!(apply(Cropping1D::new((2, 1)).into(), &padded), sequence);
    assert_eq!(apply(Cropping1D::default().into(), &sequence).shape(), [2, 2, 3]);
}

#[test]
fn configurations_are_keras_own() {
    let config = |layer: &dyn Layer| serde_json::Value::Object(layer.config().unwrap());
    assert_eq!(config(&UpSampling1D::new(3)), serde_json::json!({"size": 3}));
    assert_eq!(config(&Cropping1D::new((1, 2))), serde_json::json!({"cropping": [1, 2]}));
    let padding = serde_json::json!({"padding": [[1, 1], [2, 2], [0, 0]], "data_format": "channels_last"});
    assert_eq!(config(&ZeroPadding3D::new([1, 2, 0])), padding);
    let size = serde_json::json!({"size": [2, 2, 2], "data_format": "channels_last"});
    assert_eq!(config(&UpSampling3D::new(2)), size);
    for (text, sides) in [("1", [1, 1]), ("[2, 3]", [2, 3]), ("[[2, 3]]", [2, 3])] {
        assert_eq!(serde_json::from_str::<cornu::layers::Margins<1>>(text).unwrap().0, [sides]);
    }
    assert_eq!(serde_json::from_str::<cornu::layers::Margins<2>>("[1, [2, 3]]").unwrap().0, [[1, 1], [2, 3]]);
    assert!(serde_json::from_str::<cornu::layers::Margins<3>>("[1, 2]").is_err());
    let error = serde_json::from_str::<cornu::layers::Sizes<2>>("[1, 2, 3]").unwrap_err();
    assert!(error.to_string().contains("for the 2 spatial axes"), "{error}");
}

#[test]
fn wrong_arguments_are_told() {
    let cases: Vec<(LayerHandle, &[usize], &str)> = vec![
        (Conv2D::new(2, 3).padding(Padding::Causal).into(), &[5, 5, 1], "which Conv1D alone has"),
        (MaxPooling1D::new(2).padding(Padding::Causal).into(), &[5, 1], "which Conv1D alone has"),
        (Conv1D::new(2, 3).into(), &[5, 5, 1], "expected an input (batch, steps, channels)"),
        (Conv3D::new(2, [2, 0, 2]).into(), &[5, 5, 5, 1], "kernel_size is [2, 0, 2]; all must be at least 1"),
        (Conv3D::new(2, [4, 1, 1]).into(), &[3, 5, 5, 1], "depth of input"),
        (Conv1DTranspose::new(2, 3).output_padding(1).into(), &[5, 1], "must be less than the strides"),
        (Conv1DTranspose::new(2, 2).padding(Padding::Same).strides(2).output_padding(0).into(), &[1, 1], "no output"),
        (DepthwiseConv2D::new(3).depth_multiplier(0).into(), &[5, 5, 1], "depth_multiplier is 0"),
        (DepthwiseConv1D::new(2).depth_multiplier(usize::MAX).into(), &[5, 2], "too large"),
        (SeparableConv1D::new(0, 3).into(), &[5, 1], "filters is 0"),
        (AdaptiveMaxPooling1D::new(0).into(), &[5, 1], "output_size is [0]; it must be at least 1"),
        (UpSampling2D::new(0).into(), &[5, 5, 1], "size is [0, 0]"),
        (UpSampling1D::new(usize::MAX).into(), &[5, 1], "too many"),
        (Cropping1D::new(3).into(), &[5, 1], "leaves nothing of the input's length of 5"),
        (ZeroPadding3D::new(usize::MAX).into(), &[5, 5, 5, 1], "of the depth is too large"),
        (AlphaDropout::new(1.0).into(), &[5], "rate is 1"),
        (AlphaDropout::new(0.5).noise_shape([None, Some(2)]).into(), &[5], "does not fit"),
    ];
    for (layer, sample, told) in cases {
        let mut model = Sequential::new();
        let class = layer.class_name();
        model.add(Input::new(sample)).add(layer);
        let error = model.build().unwrap_err().to_string();
        assert!(error.contains(told) && error.contains(&class), "{class}: {error}\nshould tell: {told}");
    }
}

#[test]
fn alpha_dropout_keeps_mean_and_variance() {
    let mut model = Sequential::new().with_seed(3);
    model.add(Input::new([4000])).add(AlphaDropout::new(0.3));
    model.build().unwrap();
    // Mean 0 and variance 1.
    let x = waves(&[20, 4000], 1.7).map(|v| v * 2f32.sqrt()).into_array();
    let y = model.forward(&x, true, Differentiate::Inputs).unwrap().output();
    let n = y.len() as f64;
    let mean = y.data().iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = y.data().iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    // a · (lowest + rate · -lowest), by Keras' formula.
    let lowest = y.data().iter().copied().fold(f32::MAX, f32::min);
    let dropped = y.data().iter().filter(|&&v| v == lowest).count() as f64 / n;
    assert!((lowest + 1.059_548_2).abs() < 1e-5 && (dropped - 0.3).abs() < 0.01, "{lowest} {dropped}");
    assert_eq!(model.predict(&x, Predict::default()).unwrap(), x);
}
