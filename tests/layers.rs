//! What layers compute: the course's worked examples, Keras' numbers, plain formulas, and what they
//! say to wrong arguments.

use cornu::layer::LayerHandle;
use cornu::prelude::*;
use cornu::testing::check_close;
use cornu::training::Differentiate;
use ndarray::{Array4, ArrayD, array};
use serde_json::{Value, json};

/// A model of one layer, for inputs of this shape.
fn model_of(layer: impl Into<LayerHandle>, sample: &[usize]) -> Sequential {
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new(sample)).add(layer);
    model
}

/// What a layer makes of a batch, outside training.
fn apply(layer: impl Into<LayerHandle>, x: &ArrayD<f32>) -> ArrayD<f32> {
    let mut model = model_of(layer, &x.shape()[1..]);
    model.build().unwrap();
    let y = model.predict(x, Predict::default()).unwrap();
    assert!(model.output_shape().unwrap().accepts(y.shape()), "{:?}", y.shape());
    y
}

/// What a layer makes of a batch in training.
fn train(layer: impl Into<LayerHandle>, x: &ArrayD<f32>) -> ArrayD<f32> {
    let mut model = model_of(layer, &x.shape()[1..]);
    model.build().unwrap();
    model.forward(x, true, Differentiate::Inputs).unwrap().output().into_array()
}

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::new(shape, values.to_vec()).unwrap()
}

#[track_caller]
fn assert_close(got: &ArrayD<f32>, want: &ArrayD<f32>, tolerance: f32) {
    check_close(&got.clone().into(), &want.clone().into(), tolerance).unwrap();
}

/// Values 0, 1, 2, … in this shape.
fn counting(shape: &[usize]) -> ArrayD<f32> {
    let n = shape.iter().product::<usize>();
    ArrayD::from_shape_vec(shape, (0..n).map(|i| i as f32).collect()).unwrap()
}

/// Values from -1 to 1 that look random.
fn waves(shape: &[usize]) -> ArrayD<f32> {
    counting(shape).mapv(|i| (i * 1.7).sin())
}

/// An image of one channel.
fn image<const H: usize, const W: usize>(rows: [[f32; W]; H]) -> ArrayD<f32> {
    ArrayD::from_shape_vec(vec![1, H, W, 1], rows.concat()).unwrap()
}

// Worked examples of the course.

#[test]
fn convolution_of_the_course() {
    let x = image([[1.0, 2.0, 3.0, 0.0], [0.0, 1.0, 2.0, 3.0], [3.0, 0.0, 1.0, 2.0], [2.0, 3.0, 0.0, 1.0]]);
    let filter = tensor(&[3, 3, 1, 1], &[2.0, 0.0, 1.0, 0.0, 1.0, 2.0, 1.0, 0.0, 2.0]);
    let convolve = |layer: Conv2D, bias: Option<f32>| {
        let mut model = model_of(layer, &[4, 4, 1]);
        model.build().unwrap();
        let bias = bias.map(|bias| tensor(&[1], &[bias]));
        model.set_weights(&[Some(filter.clone()), bias].into_iter().flatten().collect::<Vec<_>>()).unwrap();
        model.predict(&x, Predict::default()).unwrap()
    };
    assert_eq!(convolve(Conv2D::new(1, 3).use_bias(false), None), image([[15.0, 16.0], [6.0, 15.0]]));
    let padded = [[7.0, 12.0, 10.0, 2.0], [4.0, 15.0, 16.0, 10.0], [10.0, 6.0, 15.0, 6.0], [8.0, 10.0, 4.0, 3.0]];
    assert_eq!(convolve(Conv2D::new(1, 3).use_bias(false).padding(Padding::Same), None), image(padded));
    assert_eq!(convolve(Conv2D::new(1, 3), Some(3.0)), image([[18.0, 19.0], [9.0, 18.0]]));
    assert_eq!(convolve(Conv2D::new(1, 3).strides(2).padding(Padding::Same), Some(0.0)).shape(), [1, 2, 2, 1]);

    // The same padding by a layer of its own.
    let mut model = Sequential::new();
    model.add(Input::new([4, 4, 1])).add(ZeroPadding2D::new(1)).add(Conv2D::new(1, 3).use_bias(false));
    model.build().unwrap();
    model.set_weights(std::slice::from_ref(&filter)).unwrap();
    assert_eq!(model.predict(&x, Predict::default()).unwrap(), image(padded));
}

#[test]
fn a_filter_sees_all_channels() {
    // Two channels, a filter for each: their results are added.
    let x = ArrayD::from_shape_fn(vec![1, 4, 4, 2], |i| (i[1] * 4 + i[2]) as f32 * if i[3] == 0 { 1.0 } else { -2.0 });
    let mut model = model_of(Conv2D::new(3, 2).use_bias(false), &[4, 4, 2]);
    model.build().unwrap();
    model.set_weights(&[Tensor::full([2, 2, 2, 3], 1.0)]).unwrap();
    let y = model.predict(&x, Predict::default()).unwrap();
    assert_eq!(y.shape(), [1, 3, 3, 3]);
    assert_eq!(y[[0, 0, 0, 0]], -(0.0 + 1.0 + 4.0 + 5.0));
    assert_eq!(y[[0, 2, 2, 2]], -(10.0 + 11.0 + 14.0 + 15.0));
}

#[test]
fn pooling_of_the_course() {
    let x =
        image([[12.0, 20.0, 30.0, 0.0], [8.0, 12.0, 2.0, 0.0], [34.0, 70.0, 37.0, 4.0], [112.0, 100.0, 25.0, 12.0]]);
    assert_eq!(apply(MaxPooling2D::new(2), &x), image([[20.0, 30.0], [112.0, 37.0]]));
    assert_eq!(apply(AveragePooling2D::new(2), &x), image([[13.0, 8.0], [79.0, 19.5]]));
    assert_eq!(apply(GlobalMaxPooling2D::new(), &x), array![[112.0]].into_dyn());
    assert_eq!(apply(GlobalAveragePooling2D::new(), &x), array![[29.875]].into_dyn());
    // Overlapping, as in AlexNet.
    assert_eq!(apply(MaxPooling2D::new(3).strides(1), &x), image([[70.0, 70.0], [112.0, 100.0]]));
}

// Batch normalization against Keras 3.15.

/// Input, output, gradients of input, gamma and beta, moving mean and variance of one step.
type Step = [&'static [f32]; 7];

/// Three steps with an output gradient of (i mod 5 - 2) / 2, plain SGD of rate 0.1 on gamma and beta.
fn batch_norm_steps(layer: BatchNormalization, sample: &[usize], first: [&[f32]; 2], steps: [Step; 3], last: &[f32]) {
    let mut model = model_of(layer.momentum(0.9).epsilon(1e-2), sample);
    model.compile(Sgd::new(0.1), "mse", ()).unwrap();
    let weights = model.weights();
    let names: Vec<&str> = weights.iter().map(|w| w.name()).collect();
    assert_eq!(names, ["gamma", "beta", "moving_mean", "moving_variance"]);
    for (weight, values) in weights.iter().zip(first) {
        weight.set(tensor(&[values.len()], values)).unwrap();
    }
    let close = |got: &Tensor, want: &[f32]| check_close(got, &tensor(got.shape(), want), 2e-6).unwrap();
    let n = steps[0][0].len();
    let shape: Vec<usize> =
        std::iter::once(n / sample.iter().product::<usize>()).chain(sample.iter().copied()).collect();
    let r = counting(&shape).mapv(|i| (i % 5.0 - 2.0) / 2.0);
    for [x, y, dx, dgamma, dbeta, mean, variance] in steps {
        let x = ArrayD::from_shape_vec(shape.clone(), x.to_vec()).unwrap();
        let pass = model.forward(&x, true, Differentiate::Both).unwrap();
        close(&pass.output(), y);
        let gradients = model.backward(pass, r.clone()).unwrap();
        close(gradients.inputs[0].as_ref().unwrap(), dx);
        close(&gradients.weights.values()[0], dgamma);
        close(&gradients.weights.values()[1], dbeta);
        close(&weights[2].value(), mean);
        close(&weights[3].value(), variance);
        model.apply(gradients.weights).unwrap();
    }
    let x = ArrayD::from_shape_vec(shape, steps[0][0].to_vec()).unwrap();
    close(&model.predict(&x, Predict::default()).unwrap().into(), last);
}

#[test]
#[rustfmt::skip]
#[allow(clippy::excessive_precision, reason = "as Keras prints them")]
fn batch_normalization_follows_keras() {
    let steps: [Step; 3] = [
        [
            &[3.5, 0.75, 2.0, 4.5, 3.75, -2.0, 2.0, -0.25, -0.25, 0.75, 0.25, 3.0],
            &[1.1005962, -1.120235, -0.84607077, 2.1474838, -0.15835547, 3.2562404, -0.46973538, -1.4408613, 1.4614792, -1.7783451, -1.2805482, -1.8716486],
            &[-0.89151585, -0.07465628, -0.16237578, 0.8700427, 0.04165429, 0.5766689, -0.6549124, 0.2072, -0.83633953, 0.6763855, -0.17419799, 0.42204636],
            &[-1.0468878, 2.3646202, 0.5448382], &[0.0, -0.5, -1.0],
            &[0.26875, 0.1125, 0.06875], &[1.1042968, 1.1421875, 1.2792969],
        ],
        [
            &[1.5, 0.25, 1.0, 0.75, 3.0, -0.5, 0.75, -1.75, -5.0, 1.25, 1.75, -1.5],
            &[2.3160305, -1.0335673, -1.7238626, -1.2257357, -0.62501574, -0.32954508, -1.2257357, -1.3306957, 3.8534074, 1.1354418, -0.81072104, 0.6],
            &[-3.6040704, -0.045545235, -0.5594396, 1.5624028, 0.12759896, 0.56633747, -3.1599522, 0.06488388, -0.23928416, 5.2016196, -0.14693761, 0.23238626],
            &[-0.73571193, 0.8632113, -1.2442292], &[0.0, -0.5, -1.0],
            &[0.348125, 0.1825, -0.088125005], &[1.004414, 1.3416405, 1.6388671],
        ],
        [
            &[4.5, -3.0, 0.0, -0.25, 3.0, 3.0, 0.25, 0.75, -1.75, -4.0, -0.75, 0.25],
            &[2.6855671, -1.1428857, 1.1249683, 0.0412371, -0.6571143, -2.2747777, 0.31958765, -0.8392786, 3.1081533, -2.046392, -0.9607214, 0.8416561],
            &[0.029536784, 0.036174633, -0.1505382, 0.22810158, 0.02454678, -0.0794813, -0.26160088, -0.0065135993, -0.09755063, 0.003962517, -0.054207813, 0.32757017],
            &[-2.902491, 2.3984735, -2.128444], &[0.0, -0.5, -1.0],
            &[0.3258125, 0.16425, -0.0418125], &[1.8117851, 1.6856014, 1.7640429],
        ],
    ];
    let last = [4.8793654, -0.8781732, -1.8324425, 6.337806, -1.0224662, 3.3246276, 2.6917038, -0.8300755, 1.0684094, 0.8686525, -0.8541243, -3.12171];
    batch_norm_steps(BatchNormalization::new(), &[3], [&[1.5, 0.5, -2.0], &[0.25, -1.0, 0.5]], steps, &last);

    let steps: [Step; 3] = [
        [
            &[2.5, 2.5, -0.75, -0.5, -2.0, -2.75, -3.5, 4.0, -1.0, -1.0, -2.5, 1.5],
            &[1.3388852, 1.3388852, -0.5485158, -0.7557189, -1.27302, -1.5316706, -2.1455474, 2.2099934, -0.69370055, -0.92815256, -1.4454538, -0.06598401],
            &[-0.39305007, -0.102680676, 0.11401508, 0.1482227, 0.3719268, -0.29217288, -0.23869354, 0.22169194, 0.39871728, 0.33774656, -0.30071795, -0.26500526],
            &[-0.60493624, 0.8621686], &[-1.5, 0.0],
            &[0.0625, -0.12083334], &[1.5661459, 1.1092014],
        ],
        [
            &[-3.25, -0.5, -1.75, 0.75, -1.0, -2.25, -0.0, 0.75, 0.25, 0.5, -1.25, -0.75],
            &[-2.4573247, 0.6857324, -0.74292994, -0.43212545, -1.1336175, -1.6346834, 1.2571974, 2.1143947, 1.5429299, -0.5323386, -1.2338307, -1.0334044],
            &[-0.21854627, -0.34959757, 0.5411929, -0.13265964, 0.47922578, -0.02858013, -0.47732782, -0.097458184, 0.60173696, 0.12654653, -0.2636996, -0.18083303],
            &[1.8310392, 3.6328144], &[-1.5, 0.0],
            &[-0.018750004, -0.17541668], &[1.5949479, 1.1038368],
        ],
        [
            &[-1.25, -0.75, -1.75, -3.5, 0.25, -0.75, -3.25, 1.0, -1.75, 0.0, 1.5, 0.25],
            &[0.5947647, 1.1319425, 0.05758679, -1.1018577, -0.97962844, -1.0122229, -1.5539467, 3.012065, 0.05758679, -0.98777705, -0.9388854, -0.97962844],
            &[-8.0775267e-01, -2.9440498e-01, 2.9043329e-01, -4.9783848e-04, 3.5953458e-02, -3.4609854e-02, -1.7525402e-01, 1.5936723e-01, 8.2761115e-01, 3.4609854e-02, -2.2517409e-02, -1.2938211e-02],
            &[0.3412474, -1.5328562], &[-1.5, 0.0],
            &[-0.14604166, -0.195375], &[1.5988212, 1.2325156],
        ],
    ];
    let last = [3.5022345, 3.5022345, 0.06039077, -1.0556918, -1.3299234, -1.4670391, -2.8519387, 5.090778, -0.20436645, -1.1471024, -1.4213339, -0.69004977];
    batch_norm_steps(BatchNormalization::new().axis(1), &[2, 3], [&[1.5, 0.5], &[0.25, -1.0]], steps, &last);
}

#[test]
fn batch_normalization_of_large_values() {
    // A mean of 10,000 and a deviation of 1: sums of squares in f32 would lose it.
    let x = waves(&[64, 8, 8, 3]).mapv(|v| 10_000.0 + (v * 16.0).round() / 16.0);
    let layer = BatchNormalization::new().epsilon(1e-6);
    let y = train(layer, &x);
    for channel in 0..3 {
        let of_channel = |a: &ArrayD<f32>| {
            let values: Vec<f64> = a.iter().skip(channel).step_by(3).map(|&v| f64::from(v)).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64)
        };
        let (mean, variance) = of_channel(&y);
        assert!(mean.abs() < 1e-3 && (variance - 1.0).abs() < 1e-4, "{mean} {variance}");
        assert!(of_channel(&x).1 > 0.3);
    }
}

#[test]
fn frozen_batch_normalization_leaves_its_averages() {
    let x = waves(&[16, 3]);
    let y = waves(&[16, 1]);
    let averages = |trainable: bool| {
        let mut model = Sequential::new().with_seed(1);
        model.add(Input::new([3])).add(BatchNormalization::new().name("bn").trainable(trainable)).add(Dense::new(1));
        model.compile(Sgd::new(0.1), "mse", ()).unwrap();
        model.train_on_batch(&x, &y).unwrap();
        model.layer("bn").unwrap().weights()[2..].iter().map(|w| w.value().into_vec()).collect::<Vec<_>>()
    };
    assert_eq!(averages(false), [[0.0; 3], [1.0; 3]]);
    let moved = averages(true);
    let mean = x.iter().step_by(3).sum::<f32>() / 16.0;
    assert!((moved[0][0] - 0.01 * mean).abs() < 1e-6, "{moved:?}");
    assert!(moved[1].iter().all(|v| *v < 1.0 && *v > 0.99), "{moved:?}");
}

// Local response normalization.

#[test]
fn local_response_normalization_is_its_formula() {
    let x = waves(&[2, 3, 4, 9]).mapv(|v| 3.0 * v);
    let by_formula = |size: usize, k: f64, alpha: f64, beta: f64| {
        ArrayD::from_shape_fn(x.raw_dim(), |i| {
            let near = i[3].saturating_sub(size / 2)..(i[3] + size / 2 + 1).min(9);
            let sum: f64 = near.map(|j| f64::from(x[[i[0], i[1], i[2], j]]).powi(2)).sum();
            (f64::from(x[&i]) / (k + alpha * sum).powf(beta)) as f32
        })
    };
    assert_close(&apply(LocalResponseNormalization::new(), &x), &by_formula(5, 2.0, 1e-4, 0.75), 1e-6);
    let layer = LocalResponseNormalization::new().size(3).k(1.0).alpha(0.5).beta(0.6);
    assert_close(&apply(layer, &x), &by_formula(3, 1.0, 0.5, 0.6), 1e-6);
}

// Layers that move values, against plain indexing.

#[test]
fn moving_values_about() {
    let x = counting(&[2, 3, 4, 2]);
    let padded = apply(ZeroPadding2D::new(((1, 2), (3, 0))), &x);
    let inside = |i: usize, before: usize, n: usize| i.checked_sub(before).filter(|&i| i < n);
    let want = ArrayD::from_shape_fn(vec![2, 6, 7, 2], |i| match (inside(i[1], 1, 3), inside(i[2], 3, 4)) {
        (Some(row), Some(col)) => x[[i[0], row, col, i[3]]],
        _ => 0.0,
    });
    assert_eq!(padded, want);
    assert_eq!(apply(Cropping2D::new(((1, 2), (3, 0))), &padded), x);
    let cropped = ArrayD::from_shape_fn(vec![2, 1, 2, 2], |i| x[[i[0], i[1] + 1, i[2] + 1, i[3]]]);
    assert_eq!(apply(Cropping2D::new(1), &x), cropped);
    assert_eq!(apply(ZeroPadding2D::new((0, 1)), &x).shape(), [2, 3, 6, 2]);

    let permuted = ArrayD::from_shape_fn(vec![2, 2, 3, 4], |i| x[[i[0], i[2], i[3], i[1]]]);
    assert_eq!(apply(Permute::new([3, 1, 2]), &x), permuted);
    for (target, shape) in [(vec![-1], vec![2, 24]), (vec![6, -1, 2], vec![2, 6, 2, 2]), (vec![24, 1], vec![2, 24, 1])]
    {
        assert_eq!(apply(Reshape::new(target), &x), counting(&shape));
    }
    assert_eq!(apply(Flatten::new(), &x), counting(&[2, 24]));
    assert_eq!(apply(Identity::new(), &x), x);
    let repeated = ArrayD::from_shape_fn(vec![2, 4, 3], |i| (i[0] * 3 + i[2]) as f32);
    assert_eq!(apply(RepeatVector::new(4), &counting(&[2, 3])), repeated);
}

#[test]
fn global_pooling_by_hand() {
    let x = waves(&[3, 4, 5, 2]);
    let cells = |i: usize, c: usize| x.iter().skip(i * 40 + c).step_by(2).take(20).copied().collect::<Vec<f32>>();
    let largest = ArrayD::from_shape_fn(vec![3, 2], |i| cells(i[0], i[1]).into_iter().fold(f32::MIN, f32::max));
    let mean = ArrayD::from_shape_fn(vec![3, 2], |i| cells(i[0], i[1]).iter().sum::<f32>() / 20.0);
    assert_eq!(apply(GlobalMaxPooling2D::new(), &x), largest);
    assert_close(&apply(GlobalAveragePooling2D::new(), &x), &mean, 1e-6);
    let kept = largest.into_shape_with_order(vec![3, 1, 1, 2]).unwrap();
    assert_eq!(apply(GlobalMaxPooling2D::new().keepdims(true), &x), kept);
    assert_eq!(apply(GlobalAveragePooling2D::new().keepdims(true), &x).shape(), [3, 1, 1, 2]);

    // Two cells are the largest: each gets half of the gradient, as in Keras.
    let mut model = model_of(GlobalMaxPooling2D::new(), &[2, 2, 1]);
    model.build().unwrap();
    let pass = model.forward(&image([[1.0, 3.0], [3.0, 2.0]]), true, Differentiate::Inputs).unwrap();
    let gradients = model.backward(pass, array![[1.0f32]].into_dyn()).unwrap();
    assert_eq!(gradients.inputs[0].as_ref().unwrap().data(), [0.0, 0.5, 0.5, 0.0]);
}

#[test]
fn numbers_of_keras() {
    let x = array![[-2.0f32, -0.5, 0.0, 0.5, 1.0, 7.0]].into_dyn();
    let row = |values: [f32; 6]| array![values].into_dyn();
    let relu = ReLU::new().max_value(6.0).negative_slope(0.1).threshold(0.25);
    assert_close(&apply(relu, &x), &row([-0.225, -0.075, -0.025, 0.5, 1.0, 6.0]), 1e-6);
    let relu = ReLU::new().negative_slope(0.1).threshold(0.75);
    assert_close(&apply(relu, &x), &row([-0.275, -0.125, -0.075, -0.025, 1.0, 7.0]), 1e-6);
    assert_eq!(apply(ReLU::new(), &x), row([0.0, 0.0, 0.0, 0.5, 1.0, 7.0]));
    assert_close(&apply(LeakyReLU::new(), &x), &row([-0.6, -0.15, 0.0, 0.5, 1.0, 7.0]), 1e-6);
    let elu = row([-0.6052653, -0.27542853, 0.0, 0.5, 1.0, 7.0]);
    assert_close(&apply(ELU::new().alpha(0.7), &x), &elu, 1e-6);

    let x = counting(&[1, 2, 2, 3]).mapv(|v| v / 4.0);
    let by_place = |places: [f32; 4]| ArrayD::from_shape_fn(vec![1, 2, 2, 3], |i| places[i[1] * 2 + i[2]]);
    let both = by_place([0.05852599, 0.12389953, 0.2622953, 0.5552792]);
    assert_close(&apply(Softmax::new().axes([1, 2]), &x), &both, 1e-6);
    let rows = by_place([0.18242553, 0.18242553, 0.8175745, 0.8175745]);
    assert_close(&apply(Softmax::new().axis(1), &x), &rows, 1e-6);

    let scaled = [0.0, 1.5, 2.0, 0.75, 3.0, 4.25, 1.5, 4.5, 6.5, 2.25, 6.0, 8.75];
    let scaled = ArrayD::from_shape_vec(vec![1, 2, 2, 3], scaled.to_vec()).unwrap();
    assert_close(&apply(Rescaling::new([1.0, 2.0, 3.0]).offset([0.0, 1.0, 0.5]), &x), &scaled, 1e-6);

    let mut model = model_of(ActivityRegularization::new(0.1, 0.2), &[2, 2, 3]);
    model.build().unwrap();
    let pass = model.forward(&x, true, Differentiate::Inputs).unwrap();
    assert!((pass.added_loss() - 7.975).abs() < 1e-5, "{}", pass.added_loss());
    // For more samples, their mean.
    let twice = ndarray::concatenate![ndarray::Axis(0), x, x];
    let pass = model.forward(&twice, true, Differentiate::Inputs).unwrap();
    assert!((pass.added_loss() - 7.975).abs() < 1e-5, "{}", pass.added_loss());
}

// Randomness.

#[test]
fn dropout_keeps_its_rate_and_the_mean() {
    let x = ArrayD::from_elem(vec![100, 1003], 2.0f32);
    for rate in [0.1, 0.5, 0.8] {
        let y = train(Dropout::new(rate), &x);
        let kept = (2.0 / (1.0 - rate)) as f32;
        assert!(y.iter().all(|&v| v == 0.0 || (v - kept).abs() < 1e-5), "values are dropped or scaled");
        let dropped = y.iter().filter(|v| **v == 0.0).count() as f64 / y.len() as f64;
        // Five standard deviations.
        assert!((dropped - rate).abs() < 5.0 * (rate * (1.0 - rate) / y.len() as f64).sqrt(), "{rate}: {dropped}");
        assert_eq!(apply(Dropout::new(rate), &x), x, "outside training all pass");
    }
    assert_eq!(train(Dropout::new(0.0), &x), x);
}

#[test]
fn dropout_follows_its_seeds() {
    let x = ArrayD::from_elem(vec![4, 50], 1.0f32);
    let run = |model_seed: u64, layer: Dropout| {
        let mut model = Sequential::new().with_seed(model_seed);
        model.add(Input::new([50])).add(layer).add(Identity::new());
        model.build().unwrap();
        model.forward(&x, true, Differentiate::Inputs).unwrap().output()
    };
    assert_eq!(run(1, Dropout::new(0.5)), run(1, Dropout::new(0.5)));
    assert_ne!(run(1, Dropout::new(0.5)), run(2, Dropout::new(0.5)));
    assert_eq!(run(1, Dropout::new(0.5).seed(7)), run(2, Dropout::new(0.5).seed(7)));
    assert_ne!(run(1, Dropout::new(0.5).seed(7)), run(1, Dropout::new(0.5).seed(8)));
    let y = run(1, Dropout::new(0.5));
    assert_ne!(y.row(0), y.row(1), "samples have draws of their own");

    // Each step draws anew.
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([50])).add(Dense::new(50).trainable(false)).add(Dropout::new(0.5)).add(Dense::new(1));
    model.compile(Sgd::new(0.0), "mse", ()).unwrap();
    let output = |model: &Sequential| model.forward(&x, true, Differentiate::Weights).unwrap().output();
    let first = output(&model);
    assert_eq!(first, output(&model), "the same step");
    model.train_on_batch(&x, &ArrayD::<f32>::zeros(vec![4, 1])).unwrap();
    assert_ne!(first, output(&model), "the next step");
}

#[test]
fn dropout_shares_draws_along_its_noise_shape() {
    let x = ArrayD::from_elem(vec![8, 5, 33], 1.0f32);
    let y = train(Dropout::new(0.5).noise_shape([None, Some(1), None]), &x);
    assert!(y.indexed_iter().all(|(i, v)| *v == y[[i[0], 0, i[2]]]), "one draw for all of axis 1");
    assert!((0..8).any(|i| y[[i, 0, 0]] != y[[0, 0, 0]]) && (0..33).any(|j| y[[0, 0, j]] != y[[0, 0, 0]]));
    let y = train(Dropout::new(0.5).noise_shape([Some(1), Some(5), None]), &x);
    assert!(y.indexed_iter().all(|(i, v)| *v == y[[0, i[1], i[2]]]), "one draw for all samples");
    assert!((0..5).any(|j| y[[0, j, 0]] != y[[0, 0, 0]]));

    let x = ArrayD::from_elem(vec![16, 3, 4, 20], 1.0f32);
    let y = train(SpatialDropout2D::new(0.5), &x);
    assert!(y.indexed_iter().all(|(i, v)| *v == y[[i[0], 0, 0, i[3]]]), "whole channels");
    let kept = y.iter().filter(|v| **v > 0.0).count() as f64 / y.len() as f64;
    assert!((kept - 0.5).abs() < 0.15, "{kept}");
}

#[test]
fn noise_has_its_deviation() {
    let x = ArrayD::from_elem(vec![100, 1000], 3.0f32);
    let moments = |y: ArrayD<f32>| {
        let mean = y.iter().map(|&v| f64::from(v)).sum::<f64>() / y.len() as f64;
        let variance = y.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / y.len() as f64;
        (mean, variance.sqrt())
    };
    let (mean, deviation) = moments(train(GaussianNoise::new(0.4), &x));
    assert!((mean - 3.0).abs() < 0.01 && (deviation - 0.4).abs() < 0.01, "{mean} {deviation}");
    let (mean, deviation) = moments(train(GaussianDropout::new(0.2), &x));
    assert!((mean - 3.0).abs() < 0.03 && (deviation - 1.5).abs() < 0.03, "{mean} {deviation}");
    assert_eq!(apply(GaussianNoise::new(0.4), &x), x);
    assert_eq!(apply(GaussianDropout::new(0.2), &x), x);
}

// Configurations.

#[test]
fn configurations_are_those_of_keras() {
    // As Keras 3.15 writes them, without name, trainable and dtype.
    for (class, config) in [
        ("Reshape", json!({"target_shape": [-1, 2]})),
        ("Permute", json!({"dims": [2, 1]})),
        ("RepeatVector", json!({"n": 3})),
        ("Flatten", json!({"data_format": "channels_last"})),
        ("Identity", json!({})),
        ("Add", json!({})),
        ("Subtract", json!({})),
        ("Multiply", json!({})),
        ("Average", json!({})),
        ("Maximum", json!({})),
        ("Minimum", json!({})),
        ("Concatenate", json!({"axis": 1})),
        ("Dot", json!({"axes": 1, "normalize": false})),
        ("Dot", json!({"axes": [1, 2], "normalize": true})),
        ("Attention", json!({"use_scale": true, "score_mode": "concat", "dropout": 0.1, "seed": 3})),
        ("AdditiveAttention", json!({"use_scale": true, "dropout": 0.0, "seed": null})),
        (
            "MultiHeadAttention",
            json!({
                "num_heads": 2, "key_dim": 3, "value_dim": 2, "dropout": 0.1, "use_bias": true, "use_gate": false,
                "output_shape": [5], "attention_axes": [1], "sliding_window": null,
                "kernel_initializer": initializer("Zeros"), "bias_initializer": initializer("Zeros"),
                "kernel_regularizer": null, "bias_regularizer": null,
                "kernel_constraint": null, "bias_constraint": null, "seed": null
            }),
        ),
        (
            "GroupQueryAttention",
            json!({
                "head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2, "use_bias": true, "use_gate": true,
                "sliding_window": 3, "dropout": 0.0,
                "kernel_initializer": initializer("Zeros"), "bias_initializer": initializer("Zeros"),
                "kernel_regularizer": null, "bias_regularizer": null,
                "kernel_constraint": null, "bias_constraint": null, "seed": null
            }),
        ),
        ("Dropout", json!({"rate": 0.5, "seed": 3, "noise_shape": [null, 1, 3]})),
        ("SpatialDropout2D", json!({"rate": 0.1, "seed": null, "data_format": "channels_last"})),
        ("GaussianNoise", json!({"stddev": 0.1, "seed": null})),
        ("GaussianDropout", json!({"rate": 0.1, "seed": null})),
        ("GlobalMaxPooling2D", json!({"data_format": "channels_last", "keepdims": true})),
        ("GlobalAveragePooling2D", json!({"data_format": "channels_last", "keepdims": false})),
        ("ZeroPadding2D", json!({"padding": [[1, 2], [3, 4]], "data_format": "channels_last"})),
        ("Cropping2D", json!({"cropping": [[2, 2], [2, 2]], "data_format": "channels_last"})),
        ("Rescaling", json!({"scale": [0.5, 2.0], "offset": 0.5})),
        ("ReLU", json!({"max_value": 6.0, "negative_slope": 0.0, "threshold": 0.0})),
        ("LeakyReLU", json!({"negative_slope": 0.3})),
        ("ELU", json!({"alpha": 1.0})),
        ("Softmax", json!({"axis": -1})),
        ("Softmax", json!({"axis": [1, 2]})),
        ("ActivityRegularization", json!({"l1": 0.1, "l2": 0.2})),
        (
            "BatchNormalization",
            json!({
                "axis": -1, "momentum": 0.99, "epsilon": 0.001, "center": true, "scale": true,
                "beta_initializer": initializer("Zeros"), "gamma_initializer": initializer("Ones"),
                "moving_mean_initializer": initializer("Zeros"), "moving_variance_initializer": initializer("Ones"),
                "beta_regularizer": null, "gamma_regularizer": null, "beta_constraint": null, "gamma_constraint": null
            }),
        ),
    ] {
        let written = json!({"module": "keras.layers", "class_name": class, "config": config, "registered_name": null});
        let layer: Box<dyn Layer> = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&*layer).unwrap(), written);
    }
    // A class of cornu's own.
    let layer: Box<dyn Layer> = Box::new(LocalResponseNormalization::new().size(3));
    let written = serde_json::to_value(&*layer).unwrap();
    assert_eq!(
        written,
        json!({
            "module": null, "class_name": "LocalResponseNormalization",
            "config": {"size": 3, "k": 2.0, "alpha": 1e-4, "beta": 0.75},
            "registered_name": "cornu>LocalResponseNormalization"
        })
    );
    let read: Box<dyn Layer> = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(&*read).unwrap(), written);
}

fn initializer(class: &str) -> Value {
    json!({"module": "keras.initializers", "class_name": class, "config": {}, "registered_name": null})
}

fn read(class: &str, config: Value) -> std::result::Result<Box<dyn Layer>, serde_json::Error> {
    serde_json::from_value(json!({"class_name": class, "config": config}))
}

#[test]
fn configurations_of_older_keras_and_short_forms() {
    for (class, config, reads_as) in [
        ("LeakyReLU", json!({"alpha": 0.1}), json!({"negative_slope": 0.1})),
        ("ZeroPadding2D", json!({"padding": 2}), json!({"padding": [[2, 2], [2, 2]], "data_format": "channels_last"})),
        (
            "ZeroPadding2D",
            json!({"padding": [1, 2]}),
            json!({"padding": [[1, 1], [2, 2]], "data_format": "channels_last"}),
        ),
        ("Cropping2D", json!({}), json!({"cropping": [[0, 0], [0, 0]], "data_format": "channels_last"})),
        ("GlobalMaxPool2D", json!({"data_format": null}), json!({"keepdims": false, "data_format": "channels_last"})),
    ] {
        let layer = read(class, config).unwrap();
        assert_eq!(Value::Object(layer.config().unwrap()), reads_as);
    }
    let layer = read("BatchNormalization", json!({"axis": [3], "renorm": false})).unwrap();
    assert_eq!(layer.config().unwrap()["axis"], 3);
    for class in ["Conv2D", "MaxPooling2D", "GlobalAveragePooling2D", "ZeroPadding2D", "Flatten", "SpatialDropout2D"] {
        let error = read(class, json!({"data_format": "channels_middle"})).unwrap_err().to_string();
        assert!(error.contains("data_format is 'channels_middle'; it must be"), "{class}: {error}");
        let first = read(class, json!({"data_format": "channels_first"})).unwrap();
        assert_eq!(first.config().unwrap()["data_format"], "channels_first");
    }
    assert!(read("MaxPool2", json!({})).unwrap_err().to_string().contains("'MaxPool2D'"));
}

// Mistakes.

#[test]
fn mistakes_name_the_layer_and_what_to_do() {
    let image = [8usize, 8, 3].as_slice();
    let cases: Vec<(LayerHandle, &[usize], &str)> = vec![
        (Conv2D::new(0, 3).into(), image, "layer 'conv2d' (Conv2D): filters is 0"),
        (Conv2D::new(4, 0).into(), image, "layer 'conv2d' (Conv2D): kernel_size is [0, 0]; both must be at least 1"),
        (
            Conv2D::new(4, 9).into(),
            image,
            "height of input (None, 8, 8, 3): a window of 9 is larger than the input of 8",
        ),
        (
            Conv2D::new(4, 3).groups(2).into(),
            image,
            "the 3 channels of the input (None, 8, 8, 3) cannot be cut into 2 groups",
        ),
        (Conv2D::new(4, 3).groups(3).into(), image, "groups is 3, which does not divide the 4 filters"),
        (Conv2D::new(4, 3).strides(2).dilation_rate(2).into(), image, "cannot both be above 1"),
        (Conv2D::new(4, 3).strides(0).into(), image, "strides is [0, 0]"),
        (Conv2D::new(4, 3).into(), &[8, 8], "expected an input (batch, height, width, channels), got (None, 8, 8)"),
        (Conv2D::new(4, 3).activation("rellu").into(), image, "did you mean 'relu'"),
        (MaxPooling2D::new(0).into(), image, "layer 'max_pooling2d' (MaxPooling2D): pool_size is [0, 0]"),
        (MaxPooling2D::new(9).into(), image, "a window of 9 is larger than the input of 8"),
        (AveragePooling2D::new(2).into(), &[8], "expected an input (batch, height, width, channels)"),
        (GlobalMaxPooling2D::new().into(), &[8, 3], "expected an input (batch, height, width, channels)"),
        (GlobalAveragePooling2D::new().into(), &[0, 8, 3], "have no cells"),
        (Dense::new(0).into(), &[3], "layer 'dense' (Dense): units is 0"),
        (Dropout::new(1.0).into(), &[3], "layer 'dropout' (Dropout): rate is 1; it must be at least 0 and below 1"),
        (Dropout::new(-0.1).into(), &[3], "rate is -0.1"),
        (Dropout::new(f64::NAN).into(), &[3], "rate is NaN"),
        (
            Dropout::new(0.5).noise_shape([None, Some(2)]).into(),
            &[3],
            "noise_shape (None, 2) does not fit the input (None, 3)",
        ),
        (Dropout::new(0.5).noise_shape([None]).into(), &[3], "noise_shape (None,) does not fit"),
        (SpatialDropout2D::new(1.5).into(), image, "rate is 1.5"),
        (SpatialDropout2D::new(0.5).into(), &[3], "expected an input (batch, height, width, channels)"),
        (GaussianDropout::new(1.0).into(), &[3], "rate is 1"),
        (GaussianNoise::new(-1.0).into(), &[3], "stddev is -1"),
        (Reshape::new([2, 2]).into(), &[3], "samples of 3 values cannot take target_shape [2, 2]"),
        (Reshape::new([2, -1]).into(), &[3], "samples of 3 values cannot take target_shape [2, -1]"),
        (Reshape::new([-1, -1]).into(), &[4], "at most one -1"),
        (Reshape::new([0, -1]).into(), &[4], "must be at least 1"),
        (Reshape::new([isize::MAX, isize::MAX]).into(), &[4], "target_shape is"),
        (Permute::new([1, 1]).into(), &[3, 4], "dims is [1, 1]; it must hold each of 1 to 2 once"),
        (Permute::new([0, 1]).into(), &[3, 4], "the batch, axis 0, stays"),
        (Permute::new([2, 1]).into(), &[3], "dims [2, 1] permute 2 axes besides the batch, got rank 2"),
        (RepeatVector::new(0).into(), &[3], "n is 0"),
        (RepeatVector::new(2).into(), &[3, 4], "expected an input (batch, features), got (None, 3, 4)"),
        (ZeroPadding2D::new(1).into(), &[3], "expected an input (batch, height, width, channels)"),
        (ZeroPadding2D::new(usize::MAX).into(), image, "of the height is too large"),
        (Cropping2D::new(4).into(), image, "cropping (4, 4) leaves nothing of the input's height of 8"),
        (Cropping2D::new(usize::MAX).into(), image, "leaves nothing"),
        (BatchNormalization::new().axis(0).into(), &[3], "axis 0 is the batch"),
        (BatchNormalization::new().axis(2).into(), &[3], "axis 2 does not exist in a tensor of rank 2"),
        (BatchNormalization::new().epsilon(0.0).into(), &[3], "epsilon is 0"),
        (BatchNormalization::new().momentum(1.1).into(), &[3], "momentum is 1.1"),
        (
            BatchNormalization::new().gamma_initializer("onse").into(),
            &[3],
            "gamma_initializer: unknown initializer 'onse'; did you mean",
        ),
        (
            LocalResponseNormalization::new().size(4).into(),
            image,
            "(cornu>LocalResponseNormalization): the number of adjacent channels is 4; it must be odd",
        ),
        (LocalResponseNormalization::new().k(0.0).into(), image, "k must be positive"),
        (LocalResponseNormalization::new().into(), &[3], "expected an input (batch, height, width, channels)"),
        (Rescaling::new([1.0, 2.0]).into(), image, "scale has 2 values, the last axis of the input 3 channels"),
        (Rescaling::new(1.0).offset(vec![]).into(), image, "offset is []"),
        (Rescaling::new(f64::INFINITY).into(), image, "scale is [inf]; it must hold finite numbers"),
        (ReLU::new().max_value(-1.0).into(), &[3], "max_value of relu is -1"),
        (LeakyReLU::new().negative_slope(-1.0).into(), &[3], "negative_slope of leaky_relu is -1"),
        (ELU::new().alpha(f64::NAN).into(), &[3], "alpha of elu is NaN"),
        (Softmax::new().axis(0).into(), &[3], "it cannot be empty or hold the batch"),
        (Softmax::new().axis(5).into(), &[3], "axis 5 does not exist"),
        (Softmax::new().axes([]).into(), &[3], "it cannot be empty"),
        (ActivityRegularization::new(-1.0, 0.0).into(), &[3], "l1 is -1"),
        (LSTM::new(0).into(), &[3, 2], "units is 0"),
        (LSTM::new(2).into(), &[3], "expected an input (batch, time, features), got (None, 3)"),
        (GRU::new(2).into(), &[3, 4, 2], "expected an input (batch, time, features)"),
        (GRU::new(2).dropout(1.0).into(), &[3, 2], "dropout is 1"),
        (LSTM::new(2).recurrent_activation("sigmod").into(), &[3, 2], "unknown activation 'sigmod'"),
        (RNN::new("LSTMCel").into(), &[3, 2], "unknown cell 'LSTMCel'"),
        (RNN::new(StackedRNNCells::new()).into(), &[3, 2], "there are no cells"),
        (ConvLSTM2D::new(2, 0).into(), &[3, 4, 4, 1], "kernel_size is [0, 0]"),
        (ConvLSTM2D::new(2, 2).into(), &[3, 4, 1], "expected an input (batch, time, height, width, channels)"),
        (ConvLSTM2D::new(2, 2).strides(2).dilation_rate(2).into(), &[3, 4, 4, 1], "cannot both be above 1"),
        (Bidirectional::new(Dense::new(2)).into(), &[3, 2], "Dense is not a recurrent layer"),
        (Bidirectional::new(LSTM::new(2).go_backwards(true)).into(), &[3, 2], "must differ in go_backwards"),
        (
            Bidirectional::new(LSTM::new(2))
                .backward_layer(LSTM::new(3).go_backwards(true))
                .merge_mode(Merge::Sum)
                .into(),
            &[3, 2],
            "cannot be merged",
        ),
        (TimeDistributed::new(Dense::new(2)).into(), &[3], "at least 3 dimensions, (batch, time, …)"),
        (Embedding::new(0, 2).into(), &[3], "input_dim is 0"),
    ];
    for (layer, sample, told) in cases {
        let class = layer.class_name();
        let error = model_of(layer, sample).build().unwrap_err().to_string();
        assert!(error.contains(told), "{class}: {error}\nshould tell: {told}");
        assert!(error.contains(&format!("({class}): ")), "{class}: {error}");
    }
}

#[test]
fn shapes_that_are_not_known_before() {
    // Height and width are open: they follow from the data.
    let open = || Input::of(Shape::new([None, None, None, Some(2)]));
    let mut model = Sequential::new();
    model
        .add(open())
        .add(ZeroPadding2D::new(1))
        .add(Conv2D::new(3, 3))
        .add(BatchNormalization::new())
        .add(ReLU::new())
        .add(Dropout::new(0.5))
        .add(MaxPooling2D::new(2))
        .add(GlobalAveragePooling2D::new());
    model.build().unwrap();
    assert_eq!(model.output_shape().unwrap().to_string(), "(None, 3)");
    for side in [4, 7] {
        let x = Array4::<f32>::ones((2, side, side + 1, 2));
        assert_eq!(model.predict(&x, Predict::default()).unwrap().shape(), [2, 3]);
    }
    // Where they must be known, or do not fit at last, that is told.
    let mut model = Sequential::new();
    model.add(open()).add(Reshape::new([4, -1])).add(Identity::new());
    model.build().unwrap();
    assert_eq!(model.output_shape().unwrap().to_string(), "(None, 4, None)");
    let error = model.predict(&Array4::<f32>::ones((1, 3, 3, 2)), Predict::default()).unwrap_err().to_string();
    assert!(error.contains("layer 'reshape' (Reshape): samples of 18 values"), "{error}");
    let mut model = Sequential::new();
    model.add(Input::of(Shape::new([None, None, None, None]))).add(BatchNormalization::new());
    assert!(model.build().unwrap_err().to_string().contains("must be known"));
}

#[test]
fn numbers_without_a_vector() {
    let mut model = model_of(Embedding::new(4, 2), &[3]);
    model.build().unwrap();
    for bad in [4.0, -1.0, f32::NAN] {
        let error = model.predict(&array![[0.0, bad, 1.0]], Predict::default()).unwrap_err().to_string();
        assert!(error.contains("numbers must be from 0 to 3"), "{error}");
    }
}
