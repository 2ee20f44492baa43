mod ctc;

use super::*;

/// Shape and values.
type Array = (&'static [usize], &'static [f32]);

fn tensor(array: &Array) -> Tensor {
    Tensor::new(array.0, array.1.to_vec()).unwrap()
}

fn weights_of(loss: &dyn Loss, y: &Tensor, p: &Tensor, w: Option<&Tensor>) -> Tensor {
    entry_weights(loss, y, &loss.entries_shape(p.shape()).unwrap(), w).unwrap()
}

fn close(got: f64, want: f64, what: &str) {
    assert!((got - want).abs() <= 1e-5 + 1e-4 * want.abs(), "{what}: {got} instead of {want}");
}

/// The total and its gradient are Keras' (in 64 bits, by central differences), however the batch is cut.
fn check(loss: impl Loss + 'static, y: &Array, p: &Array, w: Option<&Array>, total: f64, gradient: &[f64]) {
    let what = format!("{loss:?}");
    let loss: Shared<dyn Loss> = loss.into();
    let (y, p, w) = (tensor(y), tensor(p), w.map(tensor));
    close(value(&*loss, &y, &p, w.as_ref()).unwrap(), total, &what);
    let weights = weights_of(&*loss, &y, &p, w.as_ref());
    let entries = loss.call(&y, &p).unwrap();
    assert_eq!(entries.shape(), &loss.entries_shape(p.shape()).unwrap()[..], "{what}");
    let whole = loss.gradient(&y, &p, &weights).unwrap();
    assert_eq!(whole.shape(), p.shape());
    for (got, want) in whole.data().iter().zip(gradient) {
        close(f64::from(*got), *want, &what);
    }
    // Saved and loaded it is the same.
    let text = serde_json::to_string(&loss).unwrap();
    let again: Shared<dyn Loss> = serde_json::from_str(&text).unwrap();
    assert_eq!(again.call(&y, &p).unwrap(), entries, "{text}");
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
    if loss.couples_samples() {
        return;
    }
    let sample = |tensor: &Tensor, i: usize| {
        let mut shape = tensor.shape().to_vec();
        shape[0] = 1;
        Tensor::new(shape, tensor.row(i).to_vec()).unwrap()
    };
    for i in 0..p.batch() {
        let (y, p, w) = (sample(&y, i), sample(&p, i), sample(&weights, i));
        assert_eq!(loss.call(&y, &p).unwrap().data(), entries.row(i), "{what}");
        assert_eq!(loss.gradient(&y, &p, &w).unwrap().data(), whole.row(i), "{what}");
    }
}

#[test]
fn every_loss_passes_finite_differences() {
    // Over and above the golden values: other inputs, each loss with its defaults, by each name.
    let p = Tensor::new([4, 3], vec![0.2, 0.31, 0.52, 0.7, 0.13, 0.4, 0.11, 0.93, 0.25, 0.6, 0.35, 0.44]).unwrap();
    let one_hot = Tensor::new([4, 3], vec![0., 0., 1., 1., 0., 0., 0., 1., 0., 1., 0., 0.]).unwrap();
    let ids = Tensor::new([4], vec![2.0, 0.0, 1.0, 0.0]).unwrap();
    // A percentage of a target of 0 is too steep for finite differences.
    let positive = p.clone().map(|p| 1.0 - 0.9 * p);
    let sample_weight = Tensor::new([4], vec![1.0, 0.5, 2.0, 1.5]).unwrap();
    // Four samples of three steps and two classes.
    let sequences = p.clone().map(|p| 3.0 * p).reshape([4, 3, 1]).unwrap();
    let sequences = Tensor::new([4, 3, 2], sequences.data().iter().flat_map(|&x| [x, 1.0]).collect()).unwrap();
    let labels = Tensor::new([4, 2], vec![1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).unwrap();
    let mut names = 0;
    for class in <Shared<dyn Loss> as config::Family>::classes() {
        let loss = Shared::<dyn Loss>::from(class.class_name);
        loss.check().unwrap();
        assert_eq!(loss.class_name(), class.class_name);
        for name in class.names {
            assert_eq!(Shared::<dyn Loss>::from(*name).class_name(), class.class_name);
            names += 1;
        }
        let sparse = ["SparseCategoricalCrossentropy", "CategoricalGeneralizedCrossEntropy", "Circle"];
        let y = match class.class_name {
            sparse_one if sparse.contains(&sparse_one) => &ids,
            "MeanAbsolutePercentageError" => &positive,
            "CTC" => &labels,
            _ => &one_hot,
        };
        let p = if class.class_name == "CTC" { &sequences } else { &p };
        let weights = weights_of(&*loss, y, p, Some(&sample_weight));
        let gradient = loss.gradient(y, p, &weights).unwrap();
        for i in 0..p.len() {
            let at = |step: f32| {
                let mut p = p.clone();
                p.data_mut()[i] += step;
                let entries = loss.call(y, &p).unwrap();
                weighted_sum(&entries, &weights)
            };
            let (h, got) = (2e-3, f64::from(gradient.data()[i]));
            let want = (at(h) - at(-h)) / (2.0 * f64::from(h));
            assert!(
                (got - want).abs() < 4e-3 * (1.0 + want.abs()),
                "{} at {i}: {got} instead of {want}",
                class.class_name
            );
        }
    }
    assert!(names >= 35);
}

#[test]
fn clipped_probabilities_have_no_gradient() {
    let y = Tensor::new([1, 2], vec![0.0, 1.0]).unwrap();
    let p = Tensor::new([1, 2], vec![1.0, 0.0]).unwrap();
    let one = Tensor::full([1], 1.0);
    for loss in ["bce", "categorical_crossentropy"].map(Shared::<dyn Loss>::from) {
        let entry = loss.call(&y, &p).unwrap().data()[0];
        assert!((15.9..16.2).contains(&entry), "{loss:?}: {entry}");
        assert_eq!(loss.gradient(&y, &p, &one).unwrap().data(), [0.0, 0.0]);
    }
    let label = Tensor::new([1], vec![1.0]).unwrap();
    let sparse = SparseCategoricalCrossentropy::new();
    assert!((16.1..16.2).contains(&sparse.call(&label, &p).unwrap().data()[0]));
    assert_eq!(sparse.gradient(&label, &p, &one).unwrap().data(), [0.0, 0.0]);
}

#[test]
fn huge_logits_stay_finite_and_nan_is_seen() {
    let y = Tensor::new([1, 2], vec![0.0, 1.0]).unwrap();
    let x = Tensor::new([1, 2], vec![900.0, -900.0]).unwrap();
    let label = Tensor::new([1], vec![1.0]).unwrap();
    let one = Tensor::full([1], 1.0);
    assert_eq!(CategoricalCrossentropy::new().from_logits(true).call(&y, &x).unwrap().data(), [1800.0]);
    assert_eq!(BinaryCrossentropy::new().from_logits(true).call(&y, &x).unwrap().data(), [900.0]);
    let sparse = SparseCategoricalCrossentropy::new().from_logits(true);
    assert_eq!(sparse.call(&label, &x).unwrap().data(), [1800.0]);
    assert_eq!(sparse.gradient(&label, &x, &one).unwrap().data(), [1.0, -1.0]);
    let nan = Tensor::full([1, 2], f32::NAN);
    for class in <Shared<dyn Loss> as config::Family>::classes() {
        let loss = Shared::<dyn Loss>::from(class.class_name);
        let y =
            if class.class_name.contains("Sparse") || class.class_name.contains("Generalized") { &label } else { &y };
        if class.class_name == "CTC" {
            assert!(loss.call(y, &nan.clone().reshape([1, 1, 2]).unwrap()).is_err(), "two labels in one step");
            assert!(loss.call(y, &Tensor::full([1, 2, 2], f32::NAN)).is_err(), "a blank before a label");
            let y = Tensor::new([1, 2], vec![1.0, 0.0]).unwrap();
            assert!(loss.call(&y, &Tensor::full([1, 2, 2], f32::NAN)).unwrap().data()[0].is_nan());
        } else if class.class_name != "Circle" {
            assert!(loss.call(y, &nan).unwrap().data()[0].is_nan(), "{loss:?}");
        }
    }
}

#[test]
fn targets_of_fewer_axes_are_aligned() {
    let flat = Tensor::new([2], vec![1.0, 3.0]).unwrap();
    let column = Tensor::new([2, 1], vec![2.0, 5.0]).unwrap();
    let loss = MeanSquaredError::new();
    assert_eq!(loss.call(&flat, &column).unwrap().data(), [1.0, 4.0]);
    assert_eq!(loss.call(&column, &flat).unwrap().data(), [1.0, 4.0]);
    assert_eq!(loss.call(&flat, &flat).unwrap().shape(), [2]);
    let steps = Tensor::zeros([2, 3]);
    assert_eq!(loss.call(&steps, &Tensor::full([2, 3, 1], 2.0)).unwrap().data(), [4.0; 6]);
    let gradient = loss.gradient(&steps, &Tensor::full([2, 3, 1], 2.0), &Tensor::full([2, 3], 1.0)).unwrap();
    assert_eq!(gradient.shape(), [2, 3, 1]);
}

fn message<T: Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn wrong_shapes_and_labels_are_explained() {
    let (ids, p) = (Tensor::new([2], vec![0.0, 3.0]).unwrap(), Tensor::full([2, 3], 0.3));
    let one_hot = Tensor::zeros([2, 3]);
    let sparse = SparseCategoricalCrossentropy::new();
    let text = message(sparse.call(&ids, &p));
    assert!(text.contains("label 3 at position (1)") && text.contains("3 classes"), "{text}");
    for wrong in [-1.0, 0.5, f32::NAN, f32::INFINITY] {
        let y = Tensor::new([2, 1], vec![1.0, wrong]).unwrap();
        assert!(matches!(sparse.call(&y, &p), Err(Error::Data(_))), "{wrong}");
        assert!(matches!(sparse.gradient(&y, &p, &Tensor::zeros([2])), Err(Error::Data(_))), "{wrong}");
    }
    let steps = Tensor::new([1, 2], vec![0.0, 7.0]).unwrap();
    let text = message(sparse.call(&steps, &Tensor::full([1, 2, 3], 0.3)));
    assert!(text.contains("label 7 at position (0, 1)"), "{text}");
    assert!(message(sparse.call(&one_hot, &p)).contains("categorical_crossentropy"));
    assert!(message(CategoricalCrossentropy::new().call(&ids, &p)).contains("sparse_categorical_crossentropy"));
    assert!(message(MeanSquaredError::new().call(&Tensor::zeros([2, 2]), &p)).contains("[2, 2]"));
    assert!(message(MeanSquaredError::new().call(&Tensor::zeros([3, 3]), &p)).contains("one target for each"));
    assert!(MeanSquaredError::new().call(&Tensor::zeros([2, 0]), &Tensor::zeros([2, 0])).is_err());
    assert!(MeanSquaredError::new().call(&Tensor::zeros([]), &Tensor::zeros([])).is_err());
    assert!(MeanSquaredError::new().gradient(&p, &p, &Tensor::zeros([3])).is_err());
    let only = Tensor::full([2, 1], 0.5);
    assert!(message(sparse.call(&Tensor::full([2], 1.0), &only)).contains("binary_crossentropy"));
    assert!(Circle::new().call(&Tensor::full([2], f32::NAN), &p).is_err());
    assert!(value(&Circle::new(), &Tensor::full([2], f32::NAN), &p, None).is_err());
    assert!(CategoricalCrossentropy::new().axis(5).call(&p, &p).is_err());
    assert!(Dice::new().axis(4).call(&p, &p).is_err());
    let empty = Tensor::zeros([0, 3]);
    assert_eq!(value(&MeanSquaredError::new(), &empty, &empty, None).unwrap(), 0.0);
}

#[test]
fn sample_weights_must_fit() {
    let p = Tensor::zeros([2, 3, 4]);
    let loss = MeanSquaredError::new();
    let flat = Tensor::zeros([2]);
    let text = message(value(&loss, &p, &p, Some(&flat)));
    assert!(text.contains("(2, 3)") && text.contains("(2, 1)"), "{text}");
    for wrong in [vec![2, 4], vec![3, 3], vec![1, 3], vec![2, 3, 4]] {
        assert!(value(&loss, &p, &p, Some(&Tensor::zeros(wrong))).is_err());
    }
    let p = Tensor::zeros([2, 4]);
    assert!(value(&loss, &p, &p, Some(&Tensor::zeros([3]))).is_err());
    assert!(value(&loss, &p, &p, Some(&Tensor::zeros([2, 4]))).is_err());
    assert!(value(&loss, &p, &p, Some(&Tensor::zeros([2, 1]))).is_ok());
    // All weights 0: the mean over no weight is 0, not NaN.
    let loss = loss.reduction(Reduction::MeanWithSampleWeight);
    assert_eq!(value(&loss, &p, &Tensor::full([2, 4], 1.0), Some(&flat)).unwrap(), 0.0);
}

#[test]
fn a_mask_makes_the_mean_that_of_valid_steps() {
    let y = Tensor::zeros([2, 3]);
    let mask = Tensor::new([2, 3], vec![1.0, 1.0, 0.0, 1.0, 0.0, 0.0]).unwrap();
    let weigh = |reduction, w: Option<&Tensor>| {
        let loss = MeanSquaredError::new().reduction(reduction);
        masked_entry_weights(&loss, &y, &[2, 3], w, Some(&mask)).unwrap().into_vec()
    };
    let third = 1.0 / 3.0;
    assert_eq!(weigh(Reduction::SumOverBatchSize, None), [third, third, 0.0, third, 0.0, 0.0]);
    assert_eq!(weigh(Reduction::Sum, None), [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    let samples = Tensor::new([2, 1], vec![1.0, 3.0]).unwrap();
    assert_eq!(weigh(Reduction::Mean, Some(&samples)), [third, third, 0.0, 1.0, 0.0, 0.0]);
    assert_eq!(weigh(Reduction::MeanWithSampleWeight, Some(&samples)), [0.2, 0.2, 0.0, 0.6, 0.0, 0.0]);
}

#[test]
fn arguments_are_checked() {
    assert!(BinaryCrossentropy::new().label_smoothing(1.5).check().is_err());
    assert!(CategoricalCrossentropy::new().label_smoothing(-0.1).check().is_err());
    assert!(CategoricalFocalCrossentropy::new().gamma(f64::NAN).check().is_err());
    assert!(CategoricalFocalCrossentropy::new().alpha([0.5, -1.0]).check().is_err());
    let two_of_three = CategoricalFocalCrossentropy::new().alpha([0.5, 1.0]);
    let error = two_of_three.call(&Tensor::zeros([2, 3]), &Tensor::full([2, 3], 0.5)).unwrap_err();
    assert!(error.to_string().contains("lists 2 weights"), "{error}");
    assert!(Huber::new().delta(-1.0).check().is_err());
    assert!(CategoricalGeneralizedCrossEntropy::new().q(1.0).check().is_err());
    let wrong = Shared::<dyn Loss>::from("sparse_categorical_crossentropi");
    assert!(message(wrong.check()).contains("did you mean 'sparse_categorical_crossentropy'"));
}

#[test]
fn configurations_are_those_of_keras() {
    let text = r#"{"module": "keras.losses", "class_name": "BinaryCrossentropy", "config": {"name": "mine",
        "reduction": "sum", "from_logits": false, "label_smoothing": 0.2, "axis": -1}, "registered_name": null}"#;
    let loss: Shared<dyn Loss> = serde_json::from_str(text).unwrap();
    assert_eq!((loss.name().as_str(), loss.reduction()), ("mine", Reduction::Sum));
    assert_eq!(serde_json::to_value(&loss).unwrap(), serde_json::from_str::<serde_json::Value>(text).unwrap());
    let none = r#"{"class_name": "Dice", "config": {"reduction": null, "axis": [1, 2, 3], "dtype": "float32"}}"#;
    let loss: Shared<dyn Loss> = serde_json::from_str(none).unwrap();
    assert_eq!(loss.reduction(), Reduction::None);
    assert!(!loss.couples_samples());
    assert!(serde_json::from_str::<Reduction>("\"avarage\"").is_err());
    assert_eq!(Loss::name(&KLDivergence::new()), "kl_divergence");
}

#[test]
fn crossentropy_chooses_by_shape() {
    let loss = Crossentropy::new();
    let ids = Tensor::new([2], vec![1.0, 0.0]).unwrap();
    let p = Tensor::new([2, 2], vec![0.2, 0.8, 0.6, 0.4]).unwrap();
    let one_hot = Tensor::new([2, 2], vec![0.0, 1.0, 1.0, 0.0]).unwrap();
    assert_eq!(loss.call(&ids, &p).unwrap(), loss.call(&one_hot, &p).unwrap());
    let column = Tensor::new([2, 1], vec![0.8, 0.4]).unwrap();
    assert_eq!(loss.call(&ids, &column).unwrap(), BinaryCrossentropy::new().call(&ids, &column).unwrap());
}

const REAL_Y: Array = (&[3, 4], &[0.0, 0.3, -0.27, -0.89, -0.45, -0.99, 0.06, 1.34, -0.49, -0.62, 0.49, 0.36]);
const REAL_P: Array = (&[3, 4], &[0.16, -1.4, -0.04, 1.05, -2.01, -0.69, -2.85, -1.94, -2.76, -0.36, -1.9, 0.4]);
const COUNT_Y: Array = (&[3, 4], &[0.0, 2.0, 1.0, 3.0, 4.0, 0.0, 1.0, 1.0, 2.0, 2.0, 0.0, 5.0]);
const COUNT_P: Array = (&[3, 4], &[0.34, 2.16, 1.97, 3.69, 2.59, 2.15, 2.09, 1.14, 0.24, 0.93, 2.83, 0.96]);
const HOT: Array = (&[3, 4], &[0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
const PROB: Array = (&[3, 4], &[0.38, 0.05, 0.8, 0.19, 0.29, 0.84, 0.51, 0.81, 0.63, 0.72, 0.13, 0.54]);
const LOGITS: Array = (&[3, 4], &[0.24, -1.28, 4.0, 1.52, -2.4, 0.14, 1.16, -0.38, 1.36, -0.14, 1.34, 2.88]);
const BIN: Array = (&[3, 4], &[0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0]);
const SIGN: Array = (&[3, 4], &[-1.0, 1.0, 1.0, -1.0, 1.0, -1.0, -1.0, -1.0, 1.0, 1.0, -1.0, 1.0]);
const IDS: Array = (&[3], &[2.0, 0.0, 3.0]);
const STEPS: Array = (&[2, 3], &[1.0, -1.0, 0.0, 3.0, 2.0, -1.0]);
const STEP_P: Array = (
    &[2, 3, 4],
    &[
        0.59, 0.62, 0.66, 0.19, 0.45, 0.27, 0.41, 0.14, 0.92, 0.24, 0.65, 0.32, 0.84, 0.65, 0.17, 0.81, 0.9, 0.86,
        0.56, 0.18, 0.22, 0.89, 0.55, 0.21,
    ],
);
const HOT_STEPS: Array = (
    &[2, 3, 4],
    &[
        0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0,
        0.0, 0.0,
    ],
);
const UNIT: Array = (
    &[5, 3],
    &[
        -0.1058, -0.1763, -0.9786, -0.008, -0.352, 0.936, 0.6962, -0.0214, 0.7176, -0.308, 0.9513, -0.0091, 0.3981,
        -0.8853, 0.2402,
    ],
);
const GROUPS: Array = (&[5], &[0.0, 1.0, 0.0, 2.0, 1.0]);
const W: Array = (&[3], &[0.5, 2.0, 1.0]);
const STEP_W: Array = (&[2, 3], &[1.0, 2.0, 0.5, 0.25, 1.0, 3.0]);
const W_COLUMN: Array = (&[2, 1], &[0.5, 2.0]);
const MASKS: Array = (&[2, 2, 3, 1], &[0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0]);
const MASK_P: Array = (&[2, 2, 3, 1], &[0.87, 0.19, 0.89, 0.05, 0.73, 0.78, 0.17, 0.43, 0.78, 0.06, 0.62, 0.76]);

#[test]
fn values_and_gradients_are_keras() {
    check(
        MeanSquaredError::new(),
        &REAL_Y,
        &REAL_P,
        None,
        3.2847,
        &[
            0.02666667,
            -0.2833333,
            0.03833333,
            0.3233333,
            -0.26,
            0.05,
            -0.485,
            -0.5466667,
            -0.3783333,
            0.04333333,
            -0.3983333,
            0.006666667,
        ],
    );
    check(
        MeanSquaredError::new(),
        &REAL_Y,
        &REAL_P,
        Some(&W),
        4.816704,
        &[
            0.01333333,
            -0.1416667,
            0.01916667,
            0.1616667,
            -0.52,
            0.1,
            -0.97,
            -1.093333,
            -0.3783333,
            0.04333333,
            -0.3983333,
            0.006666667,
        ],
    );
    check(
        MeanAbsoluteError::new(),
        &REAL_Y,
        &REAL_P,
        None,
        1.42,
        &[
            0.08333333,
            -0.08333333,
            0.08333333,
            0.08333333,
            -0.08333333,
            0.08333333,
            -0.08333333,
            -0.08333333,
            -0.08333333,
            0.08333333,
            -0.08333333,
            0.08333333,
        ],
    );
    check(
        MeanAbsoluteError::new(),
        &REAL_Y,
        &REAL_P,
        Some(&W),
        1.922917,
        &[
            0.04166667,
            -0.04166667,
            0.04166667,
            0.04166667,
            -0.1666667,
            0.1666667,
            -0.1666667,
            -0.1666667,
            -0.08333333,
            0.08333333,
            -0.08333333,
            0.08333333,
        ],
    );
    check(
        MeanAbsolutePercentageError::new(),
        &PROB,
        &COUNT_P,
        None,
        813.6879,
        &[
            -21.92982, 166.6667, 10.41667, 43.85965, 28.73563, 9.920635, 16.33987, 10.28807, -13.22751, 11.57407,
            64.10256, 15.4321,
        ],
    );
    check(
        MeanAbsolutePercentageError::new(),
        &PROB,
        &COUNT_P,
        Some(&W),
        662.8678,
        &[
            -10.96491, 83.33333, 5.208333, 21.92982, 57.47126, 19.84127, 32.67974, 20.57613, -13.22751, 11.57407,
            64.10256, 15.4321,
        ],
    );
    check(
        MeanSquaredLogarithmicError::new(),
        &COUNT_Y,
        &COUNT_P,
        None,
        0.493359,
        &[
            0.03640168,
            0.002740493,
            0.02218938,
            0.005655232,
            -0.01538002,
            0.06070912,
            0.02346407,
            0.005269365,
            -0.1187501,
            -0.03809087,
            0.05843624,
            -0.09513733,
        ],
    );
    check(
        MeanSquaredLogarithmicError::new(),
        &COUNT_Y,
        &COUNT_P,
        Some(&W),
        0.6171164,
        &[
            0.01820084,
            0.001370246,
            0.01109469,
            0.002827616,
            -0.03076005,
            0.1214182,
            0.04692815,
            0.01053873,
            -0.1187501,
            -0.03809087,
            0.05843624,
            -0.09513733,
        ],
    );
    check(
        LogCosh::new(),
        &REAL_Y,
        &REAL_P,
        None,
        0.9529447,
        &[
            0.01322071,
            -0.07795076,
            0.0188357,
            0.07996117,
            -0.07628504,
            0.02427605,
            -0.0828402,
            -0.08309769,
            -0.08157322,
            0.02119129,
            -0.08194565,
            0.003331557,
        ],
    );
    check(
        LogCosh::new(),
        &REAL_Y,
        &REAL_P,
        Some(&W),
        1.335404,
        &[
            0.006610354,
            -0.03897538,
            0.009417848,
            0.03998058,
            -0.1525701,
            0.0485521,
            -0.1656804,
            -0.1661954,
            -0.08157322,
            0.02119129,
            -0.08194565,
            0.003331557,
        ],
    );
    check(
        CosineSimilarity::new(),
        &REAL_Y,
        &REAL_P,
        None,
        0.2394514,
        &[
            -0.01350283,
            0.05993408,
            0.05576984,
            0.08409425,
            0.0283584,
            0.049559,
            0.006937608,
            -0.05720014,
            0.02965253,
            0.05864635,
            -0.06108397,
            -0.03276465,
        ],
    );
    check(
        CosineSimilarity::new(),
        &REAL_Y,
        &REAL_P,
        Some(&W),
        0.1654634,
        &[
            -0.006751416,
            0.02996704,
            0.02788492,
            0.04204712,
            0.05671679,
            0.099118,
            0.01387522,
            -0.1144003,
            0.02965253,
            0.05864635,
            -0.06108397,
            -0.03276465,
        ],
    );
    check(
        MeanSquaredLogarithmicError::new(),
        &REAL_Y,
        &REAL_P,
        None,
        0.1243476,
        &[0.0213247, 0.0, 0.0, 0.05836095, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.003450897],
    );
    check(
        CosineSimilarity::new().axis(0),
        &REAL_Y,
        &REAL_P,
        None,
        0.05981384,
        &[
            0.00339796,
            -0.07316461,
            0.03550306,
            0.0122968,
            0.006785645,
            0.1111946,
            0.02659394,
            -0.002129002,
            -0.004744737,
            0.07140607,
            -0.04063835,
            -0.04260475,
        ],
    );
    check(
        CosineSimilarity::new().axis(1),
        &HOT_STEPS,
        &STEP_P,
        None,
        -0.4632445,
        &[
            0.02009925,
            -0.04415056,
            0.05158451,
            0.0,
            -0.09042772,
            0.05663451,
            0.03204492,
            0.0,
            0.03134121,
            0.05034178,
            -0.07259107,
            0.0,
            0.01181019,
            0.0,
            0.02297245,
            -0.01525004,
            0.01265377,
            0.0,
            -0.07996924,
            0.02906479,
            -0.09685889,
            0.0,
            0.07432265,
            0.03390892,
        ],
    );
    check(
        Huber::new(),
        &REAL_Y,
        &REAL_P,
        None,
        1.055737,
        &[
            0.01333333,
            -0.08333333,
            0.01916667,
            0.08333333,
            -0.08333333,
            0.025,
            -0.08333333,
            -0.08333333,
            -0.08333333,
            0.02166667,
            -0.08333333,
            0.003333333,
        ],
    );
    check(
        Huber::new().delta(0.3),
        &REAL_Y,
        &REAL_P,
        Some(&W),
        0.5277687,
        &[
            0.006666667,
            -0.0125,
            0.009583333,
            0.0125,
            -0.05,
            0.04999996,
            -0.05,
            -0.05,
            -0.025,
            0.02166667,
            -0.025,
            0.003333333,
        ],
    );
    check(
        MeanSquaredError::new().reduction(Reduction::Sum),
        &REAL_Y,
        &REAL_P,
        None,
        9.8541,
        &[0.08, -0.85, 0.115, 0.97, -0.78, 0.15, -1.455, -1.64, -1.135, 0.13, -1.195, 0.02],
    );
    check(
        MeanSquaredError::new().reduction(Reduction::Sum),
        &REAL_Y,
        &REAL_P,
        Some(&W),
        14.45011,
        &[0.04, -0.425, 0.0575, 0.485, -1.56, 0.3, -2.91, -3.28, -1.135, 0.13, -1.195, 0.02],
    );
    check(
        SparseCategoricalCrossentropy::new().ignore_class(-1).reduction(Reduction::Sum),
        &STEPS,
        &STEP_P,
        None,
        4.651294,
        &[
            0.4854369, -1.127466, 0.4854369, 0.4854369, 0.0, 0.0, 0.0, 0.0, -0.617473, 0.4694836, 0.4694836, 0.4694836,
            0.4048583, 0.4048583, 0.4048583, -0.8297096, 0.4, 0.4, -1.385714, 0.4, 0.0, 0.0, 0.0, 0.0,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new().ignore_class(-1).reduction(Reduction::Sum),
        &STEPS,
        &STEP_P,
        Some(&STEP_W),
        3.395338,
        &[
            0.4854369, -1.127466, 0.4854369, 0.4854369, 0.0, 0.0, 0.0, 0.0, -0.3087365, 0.2347418, 0.2347418,
            0.2347418, 0.1012146, 0.1012146, 0.1012146, -0.2074274, 0.4, 0.4, -1.385714, 0.4, 0.0, 0.0, 0.0, 0.0,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new().ignore_class(-1).reduction(Reduction::Sum),
        &STEPS,
        &STEP_P,
        Some(&W_COLUMN),
        6.24222,
        &[
            0.2427184, -0.5637332, 0.2427184, 0.2427184, 0.0, 0.0, 0.0, 0.0, -0.3087365, 0.2347418, 0.2347418,
            0.2347418, 0.8097166, 0.8097166, 0.8097166, -1.659419, 0.8, 0.8, -2.771429, 0.8, 0.0, 0.0, 0.0, 0.0,
        ],
    );
    check(
        MeanSquaredError::new().reduction(Reduction::Sum),
        &HOT_STEPS,
        &STEP_P,
        Some(&STEP_W),
        2.492506,
        &[
            0.295, -0.19, 0.33, 0.095, -0.55, 0.27, 0.41, 0.14, 0.23, 0.06, -0.0875, 0.08, 0.105, 0.08125, 0.02125,
            -0.02375, 0.45, 0.43, -0.22, 0.09, -1.17, 1.335, 0.825, 0.315,
        ],
    );
    check(
        MeanSquaredError::new().reduction(Reduction::Sum),
        &HOT_STEPS,
        &STEP_P,
        Some(&W_COLUMN),
        2.689925,
        &[
            0.1475, -0.095, 0.165, 0.0475, -0.1375, 0.0675, 0.1025, 0.035, 0.23, 0.06, -0.0875, 0.08, 0.84, 0.65, 0.17,
            -0.19, 0.9, 0.86, -0.44, 0.18, -0.78, 0.89, 0.55, 0.21,
        ],
    );
    check(
        MeanSquaredError::new().reduction(Reduction::Mean),
        &REAL_Y,
        &REAL_P,
        None,
        3.2847,
        &[
            0.02666667,
            -0.2833333,
            0.03833333,
            0.3233333,
            -0.26,
            0.05,
            -0.485,
            -0.5466667,
            -0.3783333,
            0.04333333,
            -0.3983333,
            0.006666667,
        ],
    );
    check(
        MeanSquaredError::new().reduction(Reduction::Mean),
        &REAL_Y,
        &REAL_P,
        Some(&W),
        4.816704,
        &[
            0.01333333,
            -0.1416667,
            0.01916667,
            0.1616667,
            -0.52,
            0.1,
            -0.97,
            -1.093333,
            -0.3783333,
            0.04333333,
            -0.3983333,
            0.006666667,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new().ignore_class(-1).reduction(Reduction::Mean),
        &STEPS,
        &STEP_P,
        None,
        1.162823,
        &[
            0.1213592, -0.2818666, 0.1213592, 0.1213592, 0.0, 0.0, 0.0, 0.0, -0.1543682, 0.1173709, 0.1173709,
            0.1173709, 0.1012146, 0.1012146, 0.1012146, -0.2074274, 0.1, 0.1, -0.3464286, 0.1, 0.0, 0.0, 0.0, 0.0,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new().ignore_class(-1).reduction(Reduction::Mean),
        &STEPS,
        &STEP_P,
        Some(&STEP_W),
        0.8488344,
        &[
            0.1213592,
            -0.2818666,
            0.1213592,
            0.1213592,
            0.0,
            0.0,
            0.0,
            0.0,
            -0.07718412,
            0.05868545,
            0.05868545,
            0.05868545,
            0.02530364,
            0.02530364,
            0.02530364,
            -0.05185685,
            0.1,
            0.1,
            -0.3464286,
            0.1,
            0.0,
            0.0,
            0.0,
            0.0,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new().ignore_class(-1).reduction(Reduction::Mean),
        &STEPS,
        &STEP_P,
        Some(&W_COLUMN),
        1.560555,
        &[
            0.06067961,
            -0.1409333,
            0.06067961,
            0.06067961,
            0.0,
            0.0,
            0.0,
            0.0,
            -0.07718412,
            0.05868545,
            0.05868545,
            0.05868545,
            0.2024291,
            0.2024291,
            0.2024291,
            -0.4148548,
            0.2,
            0.2,
            -0.6928571,
            0.2,
            0.0,
            0.0,
            0.0,
            0.0,
        ],
    );
    check(
        MeanSquaredError::new().reduction(Reduction::Mean),
        &HOT_STEPS,
        &STEP_P,
        Some(&STEP_W),
        0.4154177,
        &[
            0.04916667,
            -0.03166667,
            0.055,
            0.01583333,
            -0.09166667,
            0.045,
            0.06833333,
            0.02333333,
            0.03833333,
            0.01,
            -0.01458333,
            0.01333333,
            0.0175,
            0.01354167,
            0.003541667,
            -0.003958333,
            0.075,
            0.07166667,
            -0.03666667,
            0.015,
            -0.195,
            0.2225,
            0.1375,
            0.0525,
        ],
    );
    check(
        MeanSquaredError::new().reduction(Reduction::Mean),
        &HOT_STEPS,
        &STEP_P,
        Some(&W_COLUMN),
        0.4483208,
        &[
            0.02458333,
            -0.01583333,
            0.0275,
            0.007916667,
            -0.02291667,
            0.01125,
            0.01708333,
            0.005833333,
            0.03833333,
            0.01,
            -0.01458333,
            0.01333333,
            0.14,
            0.1083333,
            0.02833333,
            -0.03166667,
            0.15,
            0.1433333,
            -0.07333333,
            0.03,
            -0.13,
            0.1483333,
            0.09166667,
            0.035,
        ],
    );
    check(
        MeanSquaredError::new().reduction(Reduction::MeanWithSampleWeight),
        &REAL_Y,
        &REAL_P,
        None,
        3.2847,
        &[
            0.02666667,
            -0.2833333,
            0.03833333,
            0.3233333,
            -0.26,
            0.05,
            -0.485,
            -0.5466667,
            -0.3783333,
            0.04333333,
            -0.3983333,
            0.006666667,
        ],
    );
    check(
        MeanSquaredError::new().reduction(Reduction::MeanWithSampleWeight),
        &REAL_Y,
        &REAL_P,
        Some(&W),
        4.128604,
        &[
            0.01142857,
            -0.1214286,
            0.01642857,
            0.1385714,
            -0.4457143,
            0.08571429,
            -0.8314286,
            -0.9371429,
            -0.3242857,
            0.03714286,
            -0.3414286,
            0.005714286,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new().ignore_class(-1).reduction(Reduction::MeanWithSampleWeight),
        &STEPS,
        &STEP_P,
        None,
        1.162823,
        &[
            0.1213592, -0.2818666, 0.1213592, 0.1213592, 0.0, 0.0, 0.0, 0.0, -0.1543682, 0.1173709, 0.1173709,
            0.1173709, 0.1012146, 0.1012146, 0.1012146, -0.2074274, 0.1, 0.1, -0.3464286, 0.1, 0.0, 0.0, 0.0, 0.0,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new().ignore_class(-1).reduction(Reduction::MeanWithSampleWeight),
        &STEPS,
        &STEP_P,
        Some(&STEP_W),
        1.234668,
        &[
            0.1765225,
            -0.4099878,
            0.1765225,
            0.1765225,
            0.0,
            0.0,
            0.0,
            0.0,
            -0.1122678,
            0.08536065,
            0.08536065,
            0.08536065,
            0.0368053,
            0.0368053,
            0.0368053,
            -0.07542815,
            0.1454545,
            0.1454545,
            -0.5038961,
            0.1454545,
            0.0,
            0.0,
            0.0,
            0.0,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new().ignore_class(-1).reduction(Reduction::MeanWithSampleWeight),
        &STEPS,
        &STEP_P,
        Some(&W_COLUMN),
        1.248444,
        &[
            0.04854369, -0.1127466, 0.04854369, 0.04854369, 0.0, 0.0, 0.0, 0.0, -0.0617473, 0.04694836, 0.04694836,
            0.04694836, 0.1619433, 0.1619433, 0.1619433, -0.3318838, 0.16, 0.16, -0.5542857, 0.16, 0.0, 0.0, 0.0, 0.0,
        ],
    );
    check(
        MeanSquaredError::new().reduction(Reduction::MeanWithSampleWeight),
        &HOT_STEPS,
        &STEP_P,
        Some(&STEP_W),
        0.3216137,
        &[
            0.03806452,
            -0.02451613,
            0.04258065,
            0.01225806,
            -0.07096774,
            0.03483871,
            0.05290323,
            0.01806452,
            0.02967742,
            0.007741936,
            -0.01129032,
            0.01032258,
            0.01354839,
            0.01048387,
            0.002741936,
            -0.003064516,
            0.05806452,
            0.05548387,
            -0.0283871,
            0.0116129,
            -0.1509677,
            0.1722581,
            0.1064516,
            0.04064516,
        ],
    );
    check(
        MeanSquaredError::new().reduction(Reduction::MeanWithSampleWeight),
        &HOT_STEPS,
        &STEP_P,
        Some(&W_COLUMN),
        1.07597,
        &[
            0.059, -0.038, 0.066, 0.019, -0.055, 0.027, 0.041, 0.014, 0.092, 0.024, -0.035, 0.032, 0.336, 0.26, 0.068,
            -0.076, 0.36, 0.344, -0.176, 0.072, -0.312, 0.356, 0.22, 0.084,
        ],
    );
    check(
        BinaryCrossentropy::new(),
        &BIN,
        &PROB,
        None,
        0.9081798,
        &[
            0.1344086, -1.666667, -0.1041667, 0.1028807, -0.2873563, 0.5208333, 0.170068, 0.4385965, -0.1322751,
            -0.1157407, 0.09578544, -0.154321,
        ],
    );
    check(
        BinaryCrossentropy::new().label_smoothing(0.2),
        &BIN,
        &PROB,
        Some(&W),
        1.162752,
        &[
            0.04951896,
            -0.745614,
            -0.02604167,
            0.02436647,
            -0.4937672,
            0.9176587,
            0.2734427,
            0.7688976,
            -0.0965251,
            -0.07440476,
            0.02210433,
            -0.1207729,
        ],
    );
    check(
        BinaryCrossentropy::new().from_logits(true).label_smoothing(0.1),
        &BIN,
        &LOGITS,
        None,
        0.9940875,
        &[
            0.04247614,
            -0.06103748,
            0.002667816,
            0.06421154,
            -0.07223561,
            0.04041191,
            0.05927773,
            0.02967724,
            -0.01285336,
            -0.04041191,
            0.06187416,
            -0.0002625947,
        ],
    );
    check(
        BinaryCrossentropy::new().axis(1),
        &HOT_STEPS,
        &STEP_P,
        None,
        0.8812293,
        &[
            0.101626,
            -0.0672043,
            0.122549,
            0.05144033,
            -0.09259259,
            0.05707763,
            0.07062147,
            0.04844961,
            0.5208333,
            0.05482456,
            -0.06410256,
            0.06127451,
            0.2604167,
            0.1190476,
            0.0502008,
            -0.05144033,
            0.4166667,
            0.297619,
            -0.07440476,
            0.05081301,
            -0.1893939,
            0.3787879,
            0.09259259,
            0.05274262,
        ],
    );
    check(
        CategoricalCrossentropy::new(),
        &HOT,
        &PROB,
        None,
        1.342349,
        &[
            0.2347418, 0.2347418, -0.1819249, 0.2347418, -1.013371, 0.1360544, 0.1360544, 0.1360544, 0.1650165,
            0.1650165, 0.1650165, -0.4522674,
        ],
    );
    check(
        CategoricalCrossentropy::new().label_smoothing(0.2),
        &HOT,
        &PROB,
        Some(&W),
        1.927188,
        &[
            0.09544107,
            -0.04929577,
            -0.05971244,
            0.07351124,
            -1.681914,
            0.2324263,
            0.2067494,
            0.2309566,
            0.1385615,
            0.1418684,
            0.03681137,
            -0.3596749,
        ],
    );
    check(
        CategoricalCrossentropy::new().from_logits(true).label_smoothing(0.1),
        &HOT,
        &LOGITS,
        Some(&W),
        2.800242,
        &[
            -0.0006772722,
            -0.003403495,
            -0.004302662,
            0.008383429,
            -0.6048424,
            0.1332612,
            0.3991126,
            0.07246855,
            0.04086314,
            0.002643882,
            0.03988898,
            -0.083396,
        ],
    );
    check(
        CategoricalCrossentropy::new().axis(1),
        &HOT_STEPS,
        &STEP_P,
        None,
        0.8064508,
        &[
            0.06377551,
            -0.09099343,
            0.07267442,
            0.0,
            -0.2140023,
            0.1106195,
            0.07267442,
            0.0,
            0.06377551,
            0.1106195,
            -0.1196333,
            0.0,
            0.06377551,
            0.0,
            0.09765625,
            -0.05015432,
            0.06377551,
            0.0,
            -0.125558,
            0.1041667,
            -0.5044063,
            0.0,
            0.09765625,
            0.1041667,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new(),
        &IDS,
        &PROB,
        None,
        1.342349,
        &[
            0.2347418, 0.2347418, -0.1819249, 0.2347418, -1.013371, 0.1360544, 0.1360544, 0.1360544, 0.1650165,
            0.1650165, 0.1650165, -0.4522674,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new(),
        &IDS,
        &PROB,
        Some(&W),
        1.958036,
        &[
            0.1173709,
            0.1173709,
            -0.09096244,
            0.1173709,
            -2.026742,
            0.2721088,
            0.2721088,
            0.2721088,
            0.1650165,
            0.1650165,
            0.1650165,
            -0.4522674,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new().from_logits(true),
        &IDS,
        &LOGITS,
        Some(&W),
        2.836909,
        &[
            0.003489395,
            0.000763172,
            -0.01680266,
            0.0125501,
            -0.6548424,
            0.1499279,
            0.4157793,
            0.08913522,
            0.04919647,
            0.01097722,
            0.04822231,
            -0.108396,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new().ignore_class(-1),
        &STEPS,
        &STEP_P,
        None,
        1.162823,
        &[
            0.1213592, -0.2818666, 0.1213592, 0.1213592, 0.0, 0.0, 0.0, 0.0, -0.1543682, 0.1173709, 0.1173709,
            0.1173709, 0.1012146, 0.1012146, 0.1012146, -0.2074274, 0.1, 0.1, -0.3464286, 0.1, 0.0, 0.0, 0.0, 0.0,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new().ignore_class(-1),
        &STEPS,
        &STEP_P,
        Some(&STEP_W),
        0.8488344,
        &[
            0.1213592,
            -0.2818666,
            0.1213592,
            0.1213592,
            0.0,
            0.0,
            0.0,
            0.0,
            -0.07718412,
            0.05868545,
            0.05868545,
            0.05868545,
            0.02530364,
            0.02530364,
            0.02530364,
            -0.05185685,
            0.1,
            0.1,
            -0.3464286,
            0.1,
            0.0,
            0.0,
            0.0,
            0.0,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new().ignore_class(-1),
        &STEPS,
        &STEP_P,
        Some(&W_COLUMN),
        1.560555,
        &[
            0.06067961,
            -0.1409333,
            0.06067961,
            0.06067961,
            0.0,
            0.0,
            0.0,
            0.0,
            -0.07718412,
            0.05868545,
            0.05868545,
            0.05868545,
            0.2024291,
            0.2024291,
            0.2024291,
            -0.4148548,
            0.2,
            0.2,
            -0.6928571,
            0.2,
            0.0,
            0.0,
            0.0,
            0.0,
        ],
    );
    check(
        SparseCategoricalCrossentropy::new().ignore_class(-1).from_logits(true),
        &STEPS,
        &STEP_P,
        None,
        1.262824,
        &[
            0.06625531, -0.1817269, 0.07105936, 0.04441226, 0.0, 0.0, 0.0, 0.0, -0.16131, 0.04493184, 0.0677041,
            0.04867409, 0.07554894, 0.06247589, 0.03865904, -0.1766839, 0.07913115, 0.07602838, -0.1936768, 0.03851727,
            0.0, 0.0, 0.0, 0.0,
        ],
    );
    check(
        KLDivergence::new(),
        &HOT,
        &PROB,
        Some(&W),
        1.06783,
        &[
            -4.385381e-08,
            -3.334e-07,
            -0.2083333,
            -8.770762e-08,
            -2.298851,
            -7.938095e-08,
            -1.306732e-07,
            -8.226753e-08,
            -5.284662e-08,
            -4.62963e-08,
            -2.563505e-07,
            -0.617284,
        ],
    );
    check(
        Poisson::new(),
        &COUNT_Y,
        &COUNT_P,
        Some(&W),
        1.313856,
        &[
            0.04166667,
            0.003086422,
            0.02051608,
            0.007791329,
            -0.09073358,
            0.1666667,
            0.08692185,
            0.02046785,
            -0.6111108,
            -0.09587812,
            0.08333333,
            -0.3506944,
        ],
    );
    check(
        Hinge::new(),
        &SIGN,
        &REAL_P,
        None,
        1.3075,
        &[
            0.08333333,
            -0.08333333,
            -0.08333333,
            0.08333333,
            -0.08333333,
            0.08333333,
            0.0,
            0.0,
            -0.08333333,
            -0.08333333,
            0.0,
            -0.08333333,
        ],
    );
    check(
        Hinge::new(),
        &BIN,
        &REAL_P,
        Some(&W),
        1.307083,
        &[
            0.04166667,
            -0.04166667,
            -0.04166667,
            0.04166667,
            -0.1666667,
            0.1666667,
            0.0,
            0.0,
            -0.08333333,
            -0.08333333,
            0.0,
            -0.08333333,
        ],
    );
    check(
        SquaredHinge::new(),
        &SIGN,
        &REAL_P,
        None,
        3.157758,
        &[0.1933333, -0.4, -0.1733333, 0.3416667, -0.5016667, 0.05166667, 0.0, 0.0, -0.6266667, -0.2266667, 0.0, -0.1],
    );
    check(
        SquaredHinge::new(),
        &BIN,
        &REAL_P,
        Some(&W),
        3.404537,
        &[0.09666667, -0.2, -0.08666667, 0.1708333, -1.003333, 0.1033333, 0.0, 0.0, -0.6266667, -0.2266667, 0.0, -0.1],
    );
    check(
        CategoricalHinge::new(),
        &HOT,
        &REAL_P,
        None,
        1.9,
        &[0.0, 0.0, -0.3333333, 0.3333333, -0.3333333, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.3333333],
    );
    check(
        CategoricalHinge::new(),
        &HOT,
        &LOGITS,
        Some(&W),
        3.04,
        &[0.0, 0.0, 0.0, 0.0, -0.6666667, 0.0, 0.6666667, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
    check(
        BinaryFocalCrossentropy::new(),
        &BIN,
        &PROB,
        None,
        0.5169321,
        &[
            0.0496842,
            -1.978491,
            -0.01160479,
            0.01038682,
            -0.2913381,
            0.6240614,
            0.1048694,
            0.5119619,
            -0.04660065,
            -0.02440426,
            0.004636119,
            -0.07989526,
        ],
    );
    check(
        BinaryFocalCrossentropy::new().apply_class_balancing(true).alpha(0.3).gamma(1.5).label_smoothing(0.1),
        &BIN,
        &PROB,
        Some(&W),
        0.3812913,
        &[
            0.02177448,
            -0.2662776,
            -0.003903447,
            0.007770551,
            -0.1690773,
            0.7223795,
            0.1534061,
            0.5992769,
            -0.01956381,
            -0.01248238,
            0.0100605,
            -0.02921854,
        ],
    );
    check(
        BinaryFocalCrossentropy::new().from_logits(true),
        &BIN,
        &LOGITS,
        None,
        0.5658034,
        &[
            0.03347061,
            -0.07377953,
            -1.445899e-06,
            0.08063099,
            -0.09319853,
            0.02973801,
            0.0698066,
            0.01408922,
            -0.001973896,
            -0.02973801,
            0.07563387,
            -3.68614e-05,
        ],
    );
    check(
        CategoricalFocalCrossentropy::new(),
        &HOT,
        &PROB,
        None,
        0.2063559,
        &[
            0.02775393, 0.02775393, -0.0215093, 0.02775393, -0.3097525, 0.04158714, 0.04158714, 0.04158714, 0.04346569,
            0.04346569, 0.04346569, -0.1191282,
        ],
    );
    check(
        CategoricalFocalCrossentropy::new().alpha(0.5).gamma(1.5).label_smoothing(0.1),
        &HOT,
        &PROB,
        Some(&W),
        0.7310516,
        &[
            0.03209835,
            -0.008701655,
            -0.02065417,
            0.02505813,
            -1.09884,
            0.1498405,
            0.1409139,
            0.149298,
            0.08214015,
            0.08335751,
            0.05168796,
            -0.2194169,
        ],
    );
    check(
        CategoricalFocalCrossentropy::new().from_logits(true),
        &HOT,
        &LOGITS,
        None,
        0.3277538,
        &[
            5.134754e-05,
            1.123032e-05,
            -0.0002472564,
            0.0001846785,
            -0.09047762,
            0.02071509,
            0.05744698,
            0.01231555,
            0.003423688,
            0.0007639281,
            0.003355895,
            -0.007543511,
        ],
    );
    check(
        CategoricalGeneralizedCrossEntropy::new(),
        &IDS,
        &PROB,
        Some(&W),
        0.827271,
        &[0.0, 0.0, -0.186339, 0.0, -1.237969, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.4536092],
    );
    check(
        CategoricalGeneralizedCrossEntropy::new().q(0.8),
        &IDS,
        &PROB,
        None,
        0.4921669,
        &[0.0, 0.0, -0.3485465, 0.0, -0.4269718, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.3770509],
    );
    check(
        Dice::new(),
        &MASKS,
        &MASK_P,
        None,
        0.2770412,
        &[
            0.05045072,
            -0.08911662,
            -0.08911662,
            0.05045072,
            -0.08911662,
            -0.08911662,
            0.05045072,
            -0.08911662,
            -0.08911662,
            0.05045072,
            -0.08911662,
            -0.08911662,
        ],
    );
    check(
        Dice::new(),
        &BIN,
        &PROB,
        Some(&W),
        0.5720493,
        &[
            0.05000987, -0.1462335, -0.1462335, 0.05000987, -0.1462335, 0.05000987, 0.05000987, 0.05000987, -0.1462335,
            -0.1462335, 0.05000987, -0.1462335,
        ],
    );
    check(
        Dice::new().axis([1, 2, 3]),
        &MASKS,
        &MASK_P,
        None,
        0.2753611,
        &[
            0.0459219,
            -0.08723389,
            -0.08723389,
            0.0459219,
            -0.08723389,
            -0.08723389,
            0.05568407,
            -0.09094349,
            -0.09094349,
            0.05568407,
            -0.09094349,
            -0.09094349,
        ],
    );
    check(
        Dice::new().axis(-1),
        &BIN,
        &PROB,
        Some(&W),
        0.7207474,
        &[
            0.02422398,
            -0.07324191,
            -0.07324191,
            0.02422398,
            -0.3539872,
            0.03248617,
            0.03248617,
            0.03248617,
            -0.08280292,
            -0.08280292,
            0.0499992,
            -0.08280292,
        ],
    );
    check(
        Tversky::new(),
        &MASKS,
        &MASK_P,
        None,
        0.2770412,
        &[
            0.05045072,
            -0.08911662,
            -0.08911662,
            0.05045072,
            -0.08911662,
            -0.08911662,
            0.05045072,
            -0.08911662,
            -0.08911662,
            0.05045072,
            -0.08911662,
            -0.08911662,
        ],
    );
    check(
        Tversky::new().alpha(0.3).beta(0.9).axis([1, 2, 3]),
        &MASKS,
        &MASK_P,
        None,
        0.2606743,
        &[
            0.07899937,
            -0.06873047,
            -0.06873047,
            0.07899937,
            -0.06873047,
            -0.06873047,
            0.1124089,
            -0.06785039,
            -0.06785039,
            0.1124089,
            -0.06785039,
            -0.06785039,
        ],
    );
    check(
        Circle::new(),
        &GROUPS,
        &UNIT,
        None,
        134.474,
        &[
            -98.70047,
            3.033875,
            -101.7344,
            22.65501,
            31.90118,
            29.70379,
            21.96393,
            -10.42231,
            193.6407,
            5.272227e-06,
            8.796519e-06,
            4.878586e-05,
            13.23247,
            12.74507,
            -21.61607,
        ],
    );
    check(
        Circle::new().gamma(4.0).margin(0.3),
        &GROUPS,
        &UNIT,
        None,
        7.894837,
        &[
            -4.958214,
            0.1831466,
            -5.114066,
            0.5156601,
            1.421473,
            0.8116071,
            1.002919,
            0.0486257,
            8.660989,
            -0.03523894,
            0.01465502,
            0.02940453,
            0.4579741,
            0.5867879,
            -0.9809412,
        ],
    );
    check(
        Circle::new().remove_diagonal(false).gamma(4.0),
        &GROUPS,
        &UNIT,
        None,
        6.262424,
        &[
            -3.95754, 0.1222357, -4.088608, 0.5905341, 0.6162764, 0.7106671, 0.8057978, 0.03649464, 6.873121,
            -0.0611187, 0.07653905, -0.1604207, 0.3394883, 0.3264011, -0.4406809,
        ],
    );
}
