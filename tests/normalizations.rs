//! Normalizations, EinsumDense and encodings against Keras 3.15.

use cornu::layer::{Backward, Forward, Gradients, LayerHandle, Values};
use cornu::layers::Encoding;
use cornu::prelude::*;
use cornu::testing::check_close;
use cornu::training::Differentiate;
use ndarray::{ArrayD, array};
use serde_json::{Value, json};

/// Values from -1 to 1 that look random.
fn waves(shape: &[usize]) -> ArrayD<f32> {
    let n = shape.iter().product::<usize>();
    ArrayD::from_shape_vec(shape, (0..n).map(|i| (i as f32 * 1.7).sin()).collect()).unwrap()
}

fn model_of(layer: impl Into<LayerHandle>, sample: &[usize]) -> Sequential {
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new(sample)).add(layer);
    model.build().unwrap();
    model
}

/// What a layer with these weights makes of a batch, against what Keras does.
#[track_caller]
fn follows(layer: impl Into<LayerHandle>, x: &ArrayD<f32>, weights: &[ArrayD<f32>], want: (&[usize], &[f32])) {
    let model = &mut model_of(layer, &x.shape()[1..]);
    let weights: Vec<Tensor> = weights.iter().cloned().map(Tensor::from).collect();
    model.set_weights(&weights).unwrap();
    let y = model.predict(x, Predict::default()).unwrap();
    assert!(model.output_shape().unwrap().accepts(y.shape()), "{:?}", y.shape());
    check_close(&y.into(), &Tensor::new(want.0, want.1.to_vec()).unwrap(), 5e-6).unwrap();
}

fn vector<const N: usize>(values: [f32; N]) -> ArrayD<f32> {
    ArrayD::from_shape_vec(vec![N], values.to_vec()).unwrap()
}

#[test]
#[rustfmt::skip]
fn normalizations_follow_keras() {
    let x = waves(&[2, 2, 4]);
    let (gamma, beta) = (vector([1.0, 2.0, -1.0, 0.5]), vector([0.0, 0.1, 0.2, 0.3]));
    let both = [gamma.clone(), beta];
    let two = [vector([1.0, 2.0]), vector([0.0, 0.1])];
    let shape = &[2, 2, 4][..];
    follows(LayerNormalization::new(), &x, &both, (shape, &[
        0.06879298, 3.114669, 0.5019035, -0.337112, 0.7550207, 2.528418, 1.246272, -0.161479,
        1.212882, 1.162437, 1.670836, 0.1633678, 1.293263, -0.3956252, 1.647886, 0.5012176,
    ]));
    let counting = ArrayD::from_shape_vec(vec![2, 4], (0..8).map(|i| i as f32 / 4.0).collect()).unwrap();
    follows(LayerNormalization::new().axis([2, 1]).epsilon(0.1), &x, &[counting, ArrayD::zeros(vec![2, 4])], (shape, &[
        0.0, 0.3412778, -0.1532259, -0.9035874, 0.69827, 1.382757, -1.352953, -1.386733,
        0.0, 0.1120678, -0.6614121, -0.1975542, 1.234689, -0.263465, -2.004581, 0.6984801,
    ]));
    follows(LayerNormalization::new().axis(1), &x, &two, (shape, &[
        -0.9919075, 0.9503622, 0.9900213, -0.9795198, 2.083815, -1.800725, -1.880043, 2.059041,
        -0.912014, 0.9922602, 0.1622696, -0.9923406, 1.92403, -1.88452, -0.2245445, 2.084681,
    ]));
    follows(LayerNormalization::new().rms_scaling(true), &x, &both[..1], (shape, &[
        0.0, 2.877083, 0.3706965, -0.6715086, 0.7454367, 2.40925, 1.055856, -0.4662711,
        1.266506, 1.169684, 1.417213, -0.1098205, 1.390035, -0.302081, 1.351114, 0.2496036,
    ]));
    follows(RMSNormalization::new(), &x, &both[..1], (shape, &[
        0.0, 2.873307, 0.3702099, -0.6706271, 0.7462512, 2.411883, 1.057009, -0.4667805,
        1.266059, 1.169272, 1.416713, -0.1097818, 1.384897, -0.3009645, 1.34612, 0.248681,
    ]));
    follows(UnitNormalization::new().axis([1, 2]), &x, &[], (shape, &[
        0.0, 0.5183883, -0.133583, -0.4839653, 0.2582956, 0.4174055, -0.3658566, -0.3231281,
        0.4335692, 0.2002118, -0.4851615, -0.07519078, 0.5045375, -0.05482278, -0.4904101, 0.1811959,
    ]));
    follows(GroupNormalization::new(2), &x, &both, (shape, &[
        -1.519926, 2.338893, -1.318321, -0.3187008, -0.2048144, 1.310586, 0.5084877, 0.3137838,
        0.7403686, -0.5431165, 1.137452, 0.5489197, 1.06332, -2.864261, 1.155827, 0.9977195,
    ]));
    follows(GroupNormalization::new(-1).axis(1), &x, &two, (shape, &[
        0.06879298, 1.507335, -0.3019035, -1.274224, 1.610041, 2.528418, -1.992543, -1.745916,
        1.212882, 0.5312183, -1.470836, -0.2732644, 2.686527, -0.3956252, -2.795772, 0.9048702,
    ]));
    let gamma = gamma.into_shape_with_order(vec![1, 4]).unwrap();
    follows(PReLU::new().shared_axes([1]), &x, &[gamma], (shape, &[
        0.0, 0.9916648, 0.2555412, -0.4629073, 0.4941135, 0.7984871, 0.6998752, -0.3090683,
        0.859162, 0.3967404, 0.9613975, -0.07449914, 0.9997929, -0.217274, 0.9717982, 0.3590584,
    ]));
}

#[test]
fn nothing_has_no_length() {
    let x = ArrayD::<f32>::zeros(vec![1, 3]);
    assert_eq!(model_of(UnitNormalization::new(), &[3]).predict(&x, Predict::default()).unwrap(), x);
}

#[test]
#[rustfmt::skip]
fn einsum_dense_follows_keras() {
    let x = waves(&[2, 2, 4]);
    let layer = |equation: &str, shape: &[Option<usize>]| EinsumDense::new(equation, shape);
    let kernel = waves(&[4, 3]);
    follows(layer("abc,cd->abd", &[None, Some(3)]).bias_axes("d"), &x, &[kernel.clone(), waves(&[3])], (&[2, 2, 3], &[
        -1.106559, 2.529695, 0.4546838, -0.4946654, 2.903097, -0.2534308,
        0.2464366, 2.777222, -0.9620962, 0.9231681, 2.184952, -1.486206,
    ]));
    follows(layer("...x,xy->...y", &[Some(3)]), &x, &[kernel], (&[2, 2, 3], &[
        -1.106559, 1.53803, 0.710225, -0.4946654, 1.911432, 0.00211041,
        0.2464366, 1.785557, -0.7065549, 0.9231681, 1.193287, -1.230665,
    ]));
    let heads = layer("abc,cde->abde", &[None, Some(2), Some(3)]).bias_axes("de");
    follows(heads, &x, &[waves(&[4, 2, 3]), waves(&[2, 3])], (&[2, 2, 2, 3], &[
        -0.2752032, -0.3095161, 0.3549616, 0.2180477, -0.411151, -0.1120979, -0.8083453, 0.586096, 0.6573143,
        -0.7554775, -0.4626366, 0.8746953, -1.130343, 1.587645, 0.7212237, -1.773495, -0.2642133, 1.841582,
        -1.157089, 2.43352, 0.5299971, -2.570094, 0.1322887, 2.536006,
    ]));
    follows(layer("ab...,bc->ac...", &[Some(3)]).bias_axes("c"), &x, &[waves(&[2, 3]), waves(&[3, 1])], (&[2, 3, 4], &[
        -0.4574575, -0.739251, 0.6479547, 0.5722799, 1.235813, 2.369607, 0.3924358, -0.2318626,
        0.1390021, 0.1286293, -0.7490813, -0.5125316, -0.9256229, 0.1005777, 0.8997049, -0.3324215,
        2.337677, 1.331419, -0.4418978, 1.021324, 0.3232293, -0.4436699, -0.7858329, 0.06923747,
    ]));
    let merge = layer("abcd,cde->abe", &[None, Some(5)]).bias_axes("e");
    follows(merge, &waves(&[2, 3, 2, 2]), &[waves(&[2, 2, 5]), waves(&[5])], (&[2, 3, 5], &[
        0.7050868, -0.4783451, -0.5818211, 0.6282741, 0.4199237, 1.088493, 0.483588, -1.213107, -0.1709836, 1.257169,
        1.187578, 1.578233, -1.594272, -1.167407, 1.8951, 0.9764619, 2.519663, -1.625752, -2.100725, 2.167085,
        0.5102887, 3.061973, -1.299327, -2.727151, 2.002082, -0.08917411, 3.063508, -0.70026, -2.883059, 1.443191,
    ]));
    let turned = layer("abc,cd->adb", &[Some(5), Some(3)]).bias_axes("db");
    follows(turned, &waves(&[2, 3, 4]), &[waves(&[4, 5]), waves(&[5, 3])], (&[2, 5, 3], &[
        0.7050868, 2.080158, 0.9320369, -2.395824, -0.01396331, 1.385056, -1.026155, -1.575703, -0.4795683, 1.950829,
        -0.2065665, -0.3905909, 0.9256032, 0.6544188, 0.4291881, 0.9764619, 1.501954, -0.3447153, 0.6021836, 2.564421,
        2.870331, -2.070086, -1.661922, 0.4144432, -0.7781699, -2.762734, -2.106243, 2.672765, 1.399332, -0.02272093,
    ]));
}

#[test]
fn einsum_dense_tells_its_initializer_what_is_input() {
    // 8 heads of 8 from 64 features: Glorot's limit is that of a kernel (64, 64).
    let model = model_of(EinsumDense::new("abc,cde->abde", [None, Some(8), Some(8)]), &[3, 64]);
    let limit = (6.0f32 / 128.0).sqrt();
    let largest = model.get_weights()[0].iter().fold(0.0f32, |a, b| a.max(b.abs()));
    assert!(largest <= limit && largest > 0.95 * limit, "{largest} {limit}");
}

#[test]
#[rustfmt::skip]
fn statistics_of_data_follow_keras() {
    let x = waves(&[2, 2, 4]);
    let adapted = |axis: &[isize]| Normalization::new().axis(axis).adapt(&x).unwrap();
    let normalized = |layer: Normalization| model_of(layer, &[2, 4]).predict(&x, Predict::default()).unwrap().into();
    let close = |axis: &[isize], want: &[f32]| {
        check_close(&normalized(adapted(axis)), &Tensor::new([2, 2, 4], want.to_vec()).unwrap(), 5e-6).unwrap();
    };
    close(&[-1], &[
        -1.521869, 1.120247, 1.605708, -1.218328, -0.2435787, 0.6618561, 0.07666243, -0.5854962,
        0.7008153, -0.2914472, -0.8232897, 0.3794269, 1.064633, -1.490655, -0.8590807, 1.424397,
    ]);
    close(&[], &[
        -0.01895737, 1.421465, -0.3901385, -1.36373, 0.6987571, 1.140869, -1.035547, -0.916819,
        1.229001, 0.5573197, -1.415416, -0.2353818, 1.433271, -0.1767558, -1.430523, 0.5025855,
    ]);
    close(&[1], &[
        0.008069452, 1.456945, -0.36529, -1.344596, 0.6683843, 1.108263, -1.05716, -0.9390318,
        1.263351, 0.5877285, -1.396584, -0.2096251, 1.399188, -0.2027065, -1.450141, 0.4732035,
    ]);
    close(&[1, 2], &[-1.0, 1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0]);
    let given = Normalization::new().mean_and_variance([1.0, 2.0, 3.0, 4.0], [1.0, 4.0, 0.0, 0.25]).invert(true);
    check_close(&normalized(given), &Tensor::new([2, 2, 4], vec![
        1.0, 3.98333, 3.0, 3.537093, 1.494114, 3.596974, 3.0, 3.690932,
        1.859162, 2.793481, 3.0, 3.925501, 1.999793, 1.782726, 3.0, 4.179529,
    ]).unwrap(), 5e-6).unwrap();

    // What the data were stays with the model.
    let model = model_of(adapted(&[-1]), &[2, 4]);
    assert_eq!(model.get_weights().iter().map(ArrayD::len).collect::<Vec<_>>(), [4, 4, 1]);
    assert!(model.trainable_weights().is_empty());
}

/// Gives its input a mask.
struct Masks([f32; 6]);

impl Layer for Masks {
    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        cx.set_masks([Some(Tensor::new([2, 3], self.0.to_vec())?)]);
        Ok(inputs)
    }
    fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Ok(gradients.one()?.into())
    }
}

#[test]
#[rustfmt::skip]
fn batch_normalization_of_masked_steps_follows_keras() {
    let x = waves(&[2, 3, 2]);
    let mut model = Sequential::new();
    model.add(Input::new([3, 2])).add(Masks([1.0, 1.0, 0.0, 1.0, 0.0, 0.0])).add(BatchNormalization::new().momentum(0.9));
    model.compile(Sgd::new(0.0), "mse", ()).unwrap();
    let pass = model.forward(&x, true, Differentiate::Both).unwrap();
    let close = |got: &Tensor, want: &[f32]| {
        check_close(got, &Tensor::new(got.shape(), want.to_vec()).unwrap(), 2e-5).unwrap();
    };
    close(&pass.output(), &[
        1.094815, 1.397356, 0.2163385, -0.8815112, 2.793435, 1.16777,
        -1.311154, -0.5158451, 4.048366, 0.6903062, -2.210191, 0.04171196,
    ]);
    let gradients = model.backward(pass, x.mapv(|x| x * x)).unwrap();
    close(gradients.inputs[0].as_ref().unwrap(), &[
        -4.074687, -0.741647, -2.844159, 0.2599022, 0.8393109, 0.7577469,
        0.364532, -0.4894558, 2.537579, 0.1870687, 3.177425, 0.02638462,
    ]);
    close(&gradients.weights.values()[0], &[0.9993953, 1.275618]);
    close(&gradients.weights.values()[1], &[2.461719, 3.03981]);
    close(&model.weights()[2].value(), &[-0.03184722, -0.01840955]);
    close(&model.weights()[3].value(), &[0.9083617, 0.9706984]);
}

#[test]
#[rustfmt::skip]
fn spectral_normalization_follows_keras() {
    let x = waves(&[2, 4]);
    let mut model = model_of(SpectralNormalization::new(Dense::new(3)).power_iterations(2), &[4]);
    let names: Vec<String> = model.weights().iter().map(|weight| weight.path().to_owned()).collect();
    let base = "spectral_normalization";
    let paths = ["kernel", "vector_u", "layer/kernel", "layer/bias"].map(|name| format!("{base}/{name}"));
    assert_eq!(names, paths);
    assert_eq!(model.trainable_weights().len(), 2);
    let kernel: Tensor = waves(&[4, 3]).into();
    let u = Tensor::new([1, 3], vec![0.1, 0.2, -0.3]).unwrap();
    model.set_weights(&[kernel.clone(), u, kernel, Tensor::zeros([3])]).unwrap();
    let y = model.forward(&x, true, Differentiate::Inputs).unwrap().output();
    let close = |got: &Tensor, want: &[f32]| {
        check_close(got, &Tensor::new(got.shape(), want.to_vec()).unwrap(), 5e-6).unwrap();
    };
    close(&y, &[-0.6734807, 0.9360856, 0.4322616, -0.3010664, 1.163348, 0.001284432]);
    // A step on JAX: the gradient goes through the division, and what is learned is not divided.
    model.compile(Sgd::new(0.5), "mse", ()).unwrap();
    let loss = model.train_on_batch(&x, &waves(&[2, 3])).unwrap().get("loss").unwrap();
    assert!((loss - 0.40057587).abs() < 1e-6, "{loss}");
    let kernel = [
        -0.00027196144, 0.9875919, -0.2542196, -0.9393261, 0.4163941, 0.8320259,
        -0.7271952, -0.6235381, 0.88787407, 0.3623365, -0.9344605, -0.12153627,
    ];
    close(&model.weights()[0].value(), &kernel);
    close(&model.weights()[2].value(), &kernel);
    close(&model.weights()[1].value(), &[0.538345, 0.511096, -0.670049]);
    close(&model.weights()[3].value(), &[0.008122293, -0.102276, 0.018233093]);
}

#[test]
fn spectral_normalization_of_zeros_and_of_a_training_run() {
    let mut model = model_of(SpectralNormalization::new(Dense::new(3).kernel_initializer("zeros")), &[4]);
    model.compile(Sgd::new(0.5), "mse", ()).unwrap();
    let (x, y) = (waves(&[8, 4]), waves(&[8, 3]));
    let mut step = || model.train_on_batch(&x, &y).unwrap().get("loss").unwrap();
    let first = step();
    let last = (0..30).map(|_| step()).last().unwrap();
    assert!(last < first, "{last} {first}");
}

#[test]
fn statistics_and_normalized_kernels_are_saved() {
    let x = waves(&[8, 4]);
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([4])).add(Normalization::new().adapt(&x).unwrap());
    model.add(SpectralNormalization::new(Dense::new(3)));
    model.compile(Sgd::new(0.1), "mse", ()).unwrap();
    model.train_on_batch(&x, &waves(&[8, 3])).unwrap();
    let want = model.predict(&x, Predict::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for name in ["model.cornu", "model.keras"] {
        if name.ends_with("keras") && !cfg!(feature = "keras") {
            continue;
        }
        let path = folder.path().join(name);
        model.save(&path).unwrap();
        let read = Sequential::load(&path).unwrap();
        assert_eq!(read.predict(&x, Predict::default()).unwrap(), want, "{name}");
        assert_eq!(read.trainable_weights().len(), 2);
    }
}

#[test]
fn categories_follow_keras() {
    let encode = |layer: LayerHandle, x: ArrayD<f32>| {
        let model = model_of(layer, &x.shape()[1..]);
        let y = model.predict(&x, Predict::default()).unwrap();
        assert!(model.output_shape().unwrap().accepts(y.shape()));
        y
    };
    let category = |mode| CategoryEncoding::new(4).output_mode(mode).into();
    let pair = array![[0.0, 3.0], [1.0, 1.0]].into_dyn();
    let rows = |a: [f32; 4], b: [f32; 4]| ArrayD::from_shape_vec(vec![2, 4], [a, b].concat()).unwrap();
    let one_hot = encode(category(Encoding::OneHot), pair.clone());
    assert_eq!(one_hot.shape(), [2, 2, 4]);
    assert_eq!(one_hot.sum(), 4.0);
    assert_eq!((one_hot[[0, 0, 0]], one_hot[[0, 1, 3]], one_hot[[1, 1, 1]]), (1.0, 1.0, 1.0));
    let column = array![[2.0], [0.0]].into_dyn();
    let alone = rows([0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]);
    for mode in [Encoding::OneHot, Encoding::MultiHot, Encoding::Count] {
        assert_eq!(encode(category(mode), column.clone()), alone);
    }
    let multi_hot = rows([1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]);
    assert_eq!(encode(category(Encoding::MultiHot), pair.clone()), multi_hot);
    let count = rows([1.0, 0.0, 0.0, 1.0], [0.0, 2.0, 0.0, 0.0]);
    assert_eq!(encode(category(Encoding::Count), pair), count);
    // Of more axes, those along axis 1 are one vector; what is no category is left out.
    let cube = array![[[0.0, 1.0], [3.0, 9.0]]].into_dyn();
    let want = array![[[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]]].into_dyn();
    assert_eq!(encode(category(Encoding::Count), cube), want);

    let bins = |mode| Discretization::new([-0.5, 0.0, 0.5]).output_mode(mode).into();
    let x = array![[-0.5, 0.2], [0.7, -3.0]].into_dyn();
    assert_eq!(encode(bins(Encoding::Int), x.clone()), array![[1.0, 2.0], [3.0, 0.0]].into_dyn());
    assert_eq!(encode(bins(Encoding::Count), x), rows([0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0]));
}

#[test]
fn bins_of_data_follow_keras() {
    let bounds = |layer: Discretization| layer.config().unwrap()["bin_boundaries"].as_array().unwrap().clone();
    let close = |got: Vec<Value>, want: &[f64]| {
        assert_eq!(got.len(), want.len());
        assert!(got.iter().zip(want).all(|(a, b)| (a.as_f64().unwrap() - b).abs() < 1e-5), "{got:?} {want:?}");
    };
    let four = Discretization::with_num_bins(4).adapt(&waves(&[50])).unwrap();
    close(bounds(four), &[-0.7141178250312805, 0.0, 0.712934136390686]);
    let three = Discretization::with_num_bins(3).epsilon(0.05).adapt(&waves(&[100])).unwrap();
    close(bounds(three), &[-0.5115969777107239, 0.4652436077594757]);
}

#[test]
fn configurations_are_those_of_keras() {
    let initializer =
        |class| json!({"module": "keras.initializers", "class_name": class, "config": {}, "registered_name": null});
    let affine = |first: Value| {
        let mut all = json!({
            "epsilon": 0.001, "center": true, "scale": true,
            "beta_initializer": initializer("Zeros"), "gamma_initializer": initializer("Ones"),
            "beta_regularizer": null, "gamma_regularizer": null, "beta_constraint": null, "gamma_constraint": null
        });
        all.as_object_mut().unwrap().extend(first.as_object().unwrap().clone());
        all
    };
    for (class, config) in [
        ("LayerNormalization", affine(json!({"axis": [1, 2], "rms_scaling": false}))),
        ("GroupNormalization", affine(json!({"axis": -1, "groups": 2}))),
        ("RMSNormalization", json!({"axis": -1, "epsilon": 1e-6})),
        ("UnitNormalization", json!({"axis": -1})),
        ("Normalization", json!({"axis": [-1], "invert": false, "mean": null, "variance": null})),
        ("Normalization", json!({"axis": [], "invert": true, "mean": 1.0, "variance": 2.0})),
        ("Normalization", json!({"axis": [1, 2], "invert": false, "mean": [[1.0, 2.0]], "variance": [[1.0, 2.0]]})),
        ("CategoryEncoding", json!({"num_tokens": 4, "output_mode": "multi_hot"})),
        (
            "Discretization",
            json!({
                "bin_boundaries": [0.0, 1.0], "num_bins": null, "epsilon": 0.01, "output_mode": "int", "sparse": false
            }),
        ),
        (
            "PReLU",
            json!({
                "alpha_initializer": initializer("Zeros"), "alpha_regularizer": null, "alpha_constraint": null,
                "shared_axes": [1]
            }),
        ),
        (
            "EinsumDense",
            json!({
                "output_shape": [null, 64], "equation": "abc,cd->abd", "activation": "linear", "bias_axes": "d",
                "kernel_initializer": initializer("Ones"), "bias_initializer": initializer("Zeros"),
                "kernel_regularizer": null, "bias_regularizer": null, "kernel_constraint": null,
                "bias_constraint": null
            }),
        ),
    ] {
        let written = json!({"module": "keras.layers", "class_name": class, "config": config, "registered_name": null});
        let layer: Box<dyn Layer> = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(&*layer).unwrap(), written);
    }
    let dense: Box<dyn Layer> = Box::new(SpectralNormalization::new(Dense::new(3).name("inner")));
    let written = serde_json::to_value(&*dense).unwrap();
    assert_eq!(written["config"]["layer"]["config"]["name"], "inner");
    let read: Box<dyn Layer> = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(serde_json::to_value(&*read).unwrap(), written);
}

#[test]
fn mistakes_say_what_to_do() {
    let unknown = [None, Some(4)];
    let cases: Vec<(LayerHandle, &[usize], &str)> = vec![
        (LayerNormalization::new().axis(0).into(), &[4], "axis is [0]; it cannot be empty or hold the batch"),
        (LayerNormalization::new().axis(3).into(), &[4], "axis 3 does not exist"),
        (LayerNormalization::new().epsilon(0.0).into(), &[4], "epsilon is 0"),
        (RMSNormalization::new().epsilon(f64::NAN).into(), &[4], "epsilon is NaN"),
        (GroupNormalization::new(3).into(), &[4], "groups is 3; it must divide the 4 channels"),
        (GroupNormalization::new(0).into(), &[4], "groups is 0; it must be at least 1"),
        (GroupNormalization::new(-2).into(), &[4], "groups is -2"),
        (
            PReLU::new().shared_axes([2]).into(),
            &[4],
            "shared_axes is [2]; the axes of the input (None, 4) count from 1",
        ),
        (EinsumDense::new("ab,bc", [Some(3)]).into(), &[4], "equation is 'ab,bc'; it must have the form"),
        (EinsumDense::new("aab,bc->aac", [Some(3)]).into(), &[4, 4], "each letter at most once"),
        (
            EinsumDense::new("abc,cd->abd", unknown).into(),
            &[4],
            "equation 'abc,cd->abd' is for 3 axes, the input has 2",
        ),
        (EinsumDense::new("ab,bc->ad", [Some(3)]).into(), &[4], "each of the output one of the input or the kernel"),
        (EinsumDense::new("ab,bc->ac", unknown).into(), &[4], "and have 1 sizes besides"),
        (EinsumDense::new("ab,bc->ac", [None]).into(), &[4], "the kernel would have shape (4, None)"),
        (EinsumDense::new("ab,bc->ac", [Some(3)]).bias_axes("b").into(), &[4], "bias_axes holds 'b'"),
        (EinsumDense::new("abc,cd->abd", [Some(9), Some(3)]).into(), &[4, 5], "has size 4, not 9"),
        (Normalization::new().axis([0]).into(), &[4], "axis is [0]; it cannot hold the batch"),
        (Normalization::new().mean_and_variance([1.0], [1.0, 2.0]).into(), &[2], "arrays of the same shape"),
        (Normalization::new().mean_and_variance([1.0, 2.0], [1.0, 2.0]).into(), &[4], "do not fit"),
        (SpectralNormalization::new(Flatten::new()).into(), &[4], "layer is a Flatten, which has no kernel"),
        (SpectralNormalization::new(Dense::new(2)).power_iterations(0).into(), &[4], "power_iterations is 0"),
        (CategoryEncoding::new(0).into(), &[4], "num_tokens is 0"),
        (CategoryEncoding::new(3).output_mode(Encoding::Int).into(), &[4], "output_mode is 'int'"),
        (Discretization::new([1.0, 0.0]).into(), &[4], "they must rise"),
        (Discretization::with_num_bins(3).into(), &[4], "it has no bin_boundaries; give them, or call adapt"),
    ];
    for (layer, sample, want) in cases {
        let mut model = Sequential::new();
        let error = model.add(Input::new(sample)).add(layer).build().unwrap_err().to_string();
        assert!(error.contains(want), "'{want}' is not in: {error}");
    }
    assert!(Normalization::new().adapt(&ArrayD::<f32>::zeros(vec![0, 3])).is_err());
    let renorm: Box<dyn Layer> =
        serde_json::from_value(json!({"class_name": "BatchNormalization", "config": {"renorm": true}})).unwrap();
    assert!(renorm.check().unwrap_err().to_string().contains("renorm is true"));
    let lambda: std::result::Result<Box<dyn Layer>, _> =
        serde_json::from_value(json!({"class_name": "Lambda", "config": {}}));
    let error = lambda.unwrap_err().to_string();
    assert!(error.contains("'Lambda'") && error.contains("Registry::register"), "{error}");
}
