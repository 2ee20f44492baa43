//! Profiles and summaries: formulas of operations against counts by hand, tables with models inside.

use cornu::applications;
use cornu::layer::LayerHandle;
use cornu::prelude::*;
use cornu::training::Profile;
use ndarray::{Array, ArrayD};

/// The profile of a chain for zeros of this shape, the batch first.
fn profile(layers: Vec<LayerHandle>, shape: &[usize]) -> Profile {
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new(&shape[1..]));
    layers.into_iter().for_each(|layer| {
        model.add(layer);
    });
    model.build().unwrap();
    model.profile(&ArrayD::<f32>::zeros(shape)).unwrap()
}

/// The operations of the only layer for one sample.
fn flops(layer: impl Into<LayerHandle>, sample: &[usize]) -> f64 {
    let shape: Vec<usize> = [3].iter().chain(sample).copied().collect();
    let profile = profile(vec![layer.into()], &shape);
    profile.layers()[0].forward_flops / 3.0
}

#[test]
fn operations_are_those_counted_by_hand() {
    // A product and a sum for each weight, a sum for each bias.
    assert_eq!(flops(Dense::new(5), &[7]), (2 * 7 * 5 + 5) as f64);
    assert_eq!(flops(Dense::new(5).use_bias(false), &[4, 7]), (4 * 2 * 7 * 5) as f64);
    // At each of 4 x 4 places of the output.
    assert_eq!(flops(Conv2D::new(6, 3), &[6, 6, 2]), (16 * 6 * (2 * 3 * 3 * 2 + 1)) as f64);
    assert_eq!(
        flops(Conv2D::new(6, 3).padding(Padding::Same).strides(2), &[6, 6, 2]),
        (9 * 6 * (2 * 9 * 2 + 1)) as f64
    );
    // In two groups each filter sees half of the channels.
    assert_eq!(flops(Conv2D::new(6, 3).groups(2), &[6, 6, 4]), (16 * 6 * (2 * 9 * 2 + 1)) as f64);
    assert_eq!(flops(Conv1D::new(3, 2), &[5, 4]), (4 * 3 * (2 * 2 * 4 + 1)) as f64);
    assert_eq!(flops(DepthwiseConv2D::new(3).depth_multiplier(2), &[6, 6, 4]), (16 * 8 * (2 * 9 + 1)) as f64);
    // Each of 4 channels filtered, then mixed.
    assert_eq!(flops(SeparableConv2D::new(5, 3), &[6, 6, 4]), (16 * (4 * 2 * 9 + 5 * 2 * 4 + 5)) as f64);
    // Each of 3 x 3 inputs is spread by a kernel of 2 x 2; 6 x 6 results have a bias.
    assert_eq!(flops(Conv2DTranspose::new(5, 2).strides(2), &[3, 3, 4]), (9 * 2 * 4 * 4 * 5 + 36 * 5) as f64);
    // Four gates that see the input and the state, at each of 6 steps.
    let lstm = (6 * (2 * 4 * 5 * (3 + 5) + 4 * 5)) as f64;
    assert_eq!(flops(LSTM::new(5), &[6, 3]), lstm);
    assert_eq!(flops(LSTM::new(5).return_sequences(true), &[6, 3]), lstm);
    assert_eq!(flops(Bidirectional::new(LSTM::new(5)), &[6, 3]), 2.0 * lstm);
    assert_eq!(flops(SimpleRNN::new(5), &[6, 3]), (6 * (2 * 5 * (3 + 5) + 5)) as f64);
    assert_eq!(flops(TimeDistributed::new(Dense::new(5)), &[6, 3]), (6 * (2 * 3 * 5 + 5)) as f64);
    // What windows read.
    assert_eq!(flops(MaxPooling2D::new(2), &[6, 6, 4]), (9 * 4 * 4) as f64);
    assert_eq!(flops(AveragePooling2D::new(3).strides(1), &[6, 6, 4]), (16 * 4 * 9) as f64);
    assert_eq!(flops(GlobalAveragePooling2D::new(), &[6, 6, 4]), (36 * 4) as f64);
    assert_eq!(flops(BatchNormalization::new(), &[6, 6, 4]), (2 * 36 * 4) as f64);
    assert_eq!(flops(LayerNormalization::new(), &[10]), 70.0);
    for nothing in [Flatten::new().into(), ReLU::new().into(), Dropout::new(0.5).into()] as [LayerHandle; 3] {
        assert_eq!(flops(nothing, &[6, 6, 4]), 0.0);
    }
    let heads = EinsumDense::new("abc,cde->abde", [None, Some(4), Some(16)]).bias_axes("de");
    assert_eq!(flops(heads, &[10, 64]), (10 * 4 * 16 * (2 * 64 + 1)) as f64);
    assert_eq!(flops(EinsumDense::new("abc,bcd->abd", [Some(3), Some(5)]), &[3, 7]), (3 * 5 * 2 * 7) as f64);
    assert_eq!(flops(SpectralNormalization::new(Conv2D::new(6, 3)), &[6, 6, 2]), (16 * 6 * (2 * 9 * 2 + 1)) as f64);
    let channels_first = Conv2D::new(6, 3).data_format(cornu::layers::DataFormat::ChannelsFirst);
    assert_eq!(flops(channels_first, &[2, 6, 6]), (16 * 6 * (2 * 9 * 2 + 1)) as f64);
}

#[test]
fn operations_of_graphs() {
    let (x, y) = (Input::new([4, 6]).node(), Input::new([5, 6]).node());
    let attended = MultiHeadAttention::new(2, 3).call([&x, &y]).unwrap();
    let sum = Add::new().call([&attended, &x]).unwrap();
    let model = Model::new([&x, &y], [&sum]).unwrap();
    for attention in [Attention::new().into(), LayerHandle::from(AdditiveAttention::new())] {
        let attended = attention.call([&x, &y]).unwrap();
        let model = Model::new([&x, &y], [&attended]).unwrap();
        assert_eq!(model.flops().unwrap(), (2 * 4 * 5 * (6 + 6)) as f64);
    }
    // 4 queries and 5 values of size 6, two heads of size 3.
    let projections = 4 * (2 * 6 * 6 + 6) * 2 + 5 * (2 * 6 * 6 + 6) * 2;
    let pairs = 2 * 4 * 5 * 2 * (3 + 3);
    assert_eq!(model.flops().unwrap(), (projections + pairs + 4 * 6) as f64);

    let mut inner = Sequential::new();
    inner.add(Input::new([7])).add(Dense::new(5)).add(Dense::new(2));
    let mut outer = Sequential::new();
    outer.add(Input::new([7])).add(inner.as_layer()).add(Dense::new(3));
    outer.build().unwrap();
    let profile = outer.profile(&ArrayD::<f32>::zeros(vec![4, 7])).unwrap();
    let counted: Vec<f64> = profile.layers().iter().map(|layer| layer.forward_flops).collect();
    assert_eq!(counted, [(4 * (75 + 22)) as f64, (4 * 15) as f64]);
    assert_eq!(profile.total().forward_flops, 4.0 * outer.flops().unwrap());
}

#[test]
fn resnet_50_has_the_operations_of_its_paper() {
    let model = applications::ResNet50::new().build().unwrap();
    // He et al. count 3.8 thousand million multiplications, those who followed 4.1, with the projections.
    let flops = model.flops().unwrap() / 2e9;
    assert!((3.8..4.2).contains(&flops), "{flops}");
}

#[test]
fn times_and_memory_by_layer() {
    let layers = vec![
        Conv2D::new(4, 3).activation("relu").into(),
        MaxPooling2D::new(2).into(),
        Dropout::new(0.5).into(),
        Flatten::new().into(),
        Dense::new(10).into(),
        Activation::Softmax.into(),
    ];
    let profile = profile(layers, &[8, 10, 10, 2]);
    let names: Vec<&str> = profile.layers().iter().map(|layer| layer.class_name.as_str()).collect();
    assert_eq!(names, ["Conv2D", "MaxPooling2D", "Dropout", "Flatten", "Dense", "Activation"]);
    assert_eq!(profile.batch_size(), 8);
    let each = |of: fn(&cornu::training::LayerProfile) -> usize| profile.layers().iter().map(of).collect::<Vec<_>>();
    let values = [8 * 8 * 8 * 4, 8 * 4 * 4 * 4, 8 * 4 * 4 * 4, 8 * 64, 8 * 10, 8 * 10];
    assert_eq!(each(|layer| layer.output_bytes), values.map(|n| 4 * n));
    assert_eq!(each(|layer| layer.weight_bytes), [4 * (9 * 2 * 4 + 4), 0, 0, 0, 4 * 650, 0]);
    for layer in profile.layers() {
        assert!(!layer.forward.is_zero() && !layer.backward.is_zero(), "{layer:?}");
    }
    // The convolution is first: it has a gradient of its weights alone; Dense has two.
    let conv = &profile.layers()[0];
    assert_eq!(conv.backward_flops, conv.forward_flops);
    let dense = &profile.layers()[4];
    assert_eq!(dense.backward_flops, 2.0 * dense.forward_flops);
    assert!((dense.forward_gflops() - dense.forward_flops / dense.forward.as_secs_f64() / 1e9).abs() < 1e-12);
    // The input and the convolution's output, which a layer behind it needs not count again.
    assert!(conv.saved_bytes >= 4 * 8 * 10 * 10 * 2, "{conv:?}");
    let total = profile.total();
    assert_eq!(total.saved_bytes, each(|layer| layer.saved_bytes).iter().sum::<usize>());
    assert_eq!(total.forward, profile.layers().iter().map(|layer| layer.forward).sum());
    let text = profile.to_string();
    for part in ["a batch of 8", "conv2d (Conv2D)", "(8, 8, 8, 4)", "GFLOP/s", "total", "8.00 KB"] {
        assert!(text.contains(part), "{text}\nlacks {part}");
    }
}

#[test]
fn a_profile_changes_nothing() {
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([6, 2])).add(BatchNormalization::new());
    model.add(LSTM::new(3).stateful(true)).add(Dropout::new(0.5)).add(Dense::new(1));
    model.layer_at(3).unwrap().set_trainable(false);
    model.build().unwrap();
    let before = model.get_weights();
    let x = Array::from_shape_fn((4, 6, 2), |(i, t, k)| (i + 2 * t + k) as f32 / 7.0);
    let profile = model.profile(&x).unwrap();
    assert_eq!(model.get_weights(), before);
    let frozen = &profile.layers()[3];
    assert_eq!(frozen.backward_flops, frozen.forward_flops, "only the gradient of its input");
    // Its batch size is forgotten, too.
    model.predict(&x.slice(ndarray::s![..2, .., ..]), Predict::default()).unwrap();

    let error = model.profile(&ArrayD::<f32>::zeros(vec![4, 6, 3])).unwrap_err().to_string();
    assert!(error.contains("(None, 6, 2)"), "{error}");
    let unbuilt = Sequential::new();
    assert!(unbuilt.profile(&x).is_err());
    let mut all_frozen = Sequential::new();
    all_frozen.add(Input::new([2])).add(Dense::new(2).trainable(false));
    all_frozen.build().unwrap();
    let profile = all_frozen.profile(&ArrayD::<f32>::zeros(vec![1, 2])).unwrap();
    assert!(profile.layers()[0].backward.is_zero() && profile.layers()[0].backward_flops == 0.0);
}

/// A model with a frozen one inside, which has a functional one inside.
fn nested() -> Sequential {
    let a = Input::new([4]).name("a");
    let a = a.node();
    let b = Dense::new(3).name("b").call(&a).unwrap();
    let deep = Model::seeded("deep", 1, [&a], [&Add::new().name("twice").call([&b, &b]).unwrap()]).unwrap();
    let mut middle = Sequential::new().with_name("middle");
    middle.add(Input::new([4])).add(deep.as_layer()).add(Dense::new(2).name("c").trainable(false));
    let mut model = Sequential::new().with_name("outer");
    model.add(Input::new([4])).add(middle.as_layer()).add(Dense::new(1).name("d"));
    model.build().unwrap();
    model
}

#[test]
fn summaries_with_models_inside() {
    let model = nested();
    let lines = |text: String| text.lines().filter(|line| line.starts_with('│')).map(str::to_owned).collect::<Vec<_>>();
    let labels = |text: String| {
        lines(text).iter().map(|line| line.split('│').nth(1).unwrap().trim_end().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(labels(model.summary().to_string()), [" middle (Sequential)", " d (Dense)"]);
    let expanded = model.summary().expand_nested(true);
    let tree = [
        " middle (Sequential)",
        "    └ deep (Functional)",
        "       └ a (InputLayer)",
        "       └ b (Dense)",
        "       └ twice (Add)",
        "    └ c (Dense)",
        " d (Dense)",
    ];
    assert_eq!(labels(expanded.to_string()), tree);
    let text = expanded.show_trainable(true).to_string();
    let marks: Vec<String> =
        lines(text.clone()).iter().map(|line| line.split('│').nth(4).unwrap().trim().to_owned()).collect();
    assert_eq!(marks, ["Y", "Y", "-", "Y", "-", "N", "Y"], "{text}");
    assert!(text.contains("Trainable") && text.contains("Non-trainable params: 8 (32.00 B)"), "{text}");
}

#[test]
fn summaries_of_a_given_width() {
    let model = nested();
    let widths = |text: &str| {
        let table: Vec<usize> =
            text.lines().filter(|line| "┏┃┡│├└".contains(&line[..3])).map(|line| line.chars().count()).collect();
        assert!(table.iter().all(|width| *width == table[0]), "{text}");
        table[0]
    };
    for width in [30, 50, 65, 100, 140] {
        let text = model.summary().expand_nested(true).show_trainable(true).width(width).to_string();
        assert_eq!(widths(&text), width, "{text}");
    }
    let text = model.summary().width(100).positions([0.5, 0.8, 1.0]).to_string();
    let header = text.lines().nth(2).unwrap();
    let ends: Vec<usize> = header.chars().enumerate().filter(|(_, c)| *c == '┃').map(|(i, _)| i).collect();
    assert_eq!(ends, [0, 50, 80, 100]);
    let same = model.summary().positions([50.0, 80.0, 100.0]).to_string();
    assert_eq!(same, text);
}
