use super::Activation::*;
use super::golden::{GOLDEN, GRADIENT, Golden, INPUT};
use super::*;
use serde_json::json;

fn tensor(values: &[f32]) -> Tensor {
    Tensor::new([4, 7], values.to_vec()).unwrap()
}

fn gradient() -> Tensor {
    tensor(&GRADIENT.repeat(4))
}

fn apply(activation: &Activation, x: &[f32]) -> Tensor {
    let mut y = tensor(x);
    activation.apply(&mut y).unwrap();
    y
}

/// Backward as a layer does it: with the input only where it is needed.
fn backward(activation: &Activation, x: &[f32]) -> Tensor {
    let input = activation.needs_input().then(|| tensor(x));
    let mut g = gradient();
    activation.backward(input.as_ref(), &apply(activation, x), &mut g).unwrap();
    g
}

fn check(what: &str, got: &Tensor, want: &[f64; 28], relative: f64, absolute: f64) {
    for ((x, &got), &want) in INPUT.iter().zip(got.data()).zip(want) {
        let want = if want.abs() > f64::from(f32::MAX) { f64::INFINITY.copysign(want) } else { want };
        let close = f64::from(got) == want || (f64::from(got) - want).abs() <= absolute + relative * want.abs();
        assert!(close, "{what} at {x}: {got}, but Keras {want}");
    }
}

#[test]
fn outputs_and_gradients_are_those_of_keras() {
    for Golden { activation, output, gradient } in GOLDEN {
        check(&format!("{activation:?}"), &apply(activation, &INPUT), output, 5e-7, 3e-8);
        let (got, mut want) = (backward(activation, &INPUT), *gradient);
        for (i, &x) in INPUT.iter().enumerate() {
            // In a bend any slope between the two sides is right. Keras adds both sides up in two
            // of them, and opens the gate of hard_tanh at its ends.
            let bend = match activation {
                Celu { .. } => x == 0.0,
                ReluWith { max_value: Some(5.0), .. } => x == 0.0,
                HardTanh => x.abs() == 1.0,
                _ => false,
            };
            if bend {
                want[i] = f64::from(got.data()[i]);
            }
        }
        check(&format!("gradient of {activation:?}"), &got, &want, 2e-6, 3e-7);
    }
}

#[test]
fn every_activation_is_tested() {
    for (name, _) in names::NAMED {
        let a: Activation = name.parse().unwrap();
        assert!(GOLDEN.iter().any(|golden| golden.activation == a), "{name}");
    }
}

#[test]
fn gradients_are_slopes() {
    // Away from the bends at 0, ±0.1, ±0.4, ±0.5, ±0.7, ±1, ±2, ±3 and 5.
    let x: Vec<f32> = (0..28).map(|i| -2.450 + 0.200 * i as f32).collect();
    for Golden { activation, .. } in GOLDEN {
        let loss = |x: &[f32]| -> f64 {
            let y = apply(activation, x);
            y.data().iter().zip(gradient().data()).map(|(&y, &g)| f64::from(y) * f64::from(g)).sum()
        };
        let got = backward(activation, &x);
        for (i, &got) in got.data().iter().enumerate() {
            let [mut low, mut high] = [x.clone(), x.clone()];
            low[i] -= 0.01;
            high[i] += 0.01;
            let slope = (loss(&high) - loss(&low)) / f64::from(high[i] - low[i]);
            assert!((f64::from(got) - slope).abs() < 2e-3, "{activation:?} at {}: {got}, but {slope}", x[i]);
        }
    }
}

#[test]
fn rows_are_distributions() {
    for last in [1, 2, 10, 16, 33, 1000] {
        let values: Vec<f32> = (0..3 * last).map(|i| 30.0 * (i as f32 * 0.7).sin()).collect();
        for activation in [Softmax, LogSoftmax] {
            let mut y = Tensor::new([3, last], values.clone()).unwrap();
            activation.apply(&mut y).unwrap();
            for row in y.data().chunks(last) {
                let p = |v: &f32| f64::from(if activation == LogSoftmax { v.exp() } else { *v });
                assert!(row.iter().all(|v| (0.0..=1.0).contains(&p(v))));
                let total: f64 = row.iter().map(p).sum();
                assert!((total - 1.0).abs() < 1e-6, "{activation:?} over {last}: {total}");
            }
        }
    }
}

#[test]
fn infinities_and_nan() {
    let special = |a: &Activation| {
        let mut y = Tensor::new([3], vec![f32::NEG_INFINITY, f32::INFINITY, f32::NAN]).unwrap();
        a.apply(&mut y).unwrap();
        y.into_vec()
    };
    const INF: f32 = f32::INFINITY;
    for (activation, want) in [
        (Relu, [0.0, INF]),
        (Relu6, [0.0, 6.0]),
        (ReluWith { negative_slope: 0.0, max_value: Some(2.0), threshold: 0.0 }, [0.0, 2.0]),
        (Activation::elu(0.5), [-0.5, INF]),
        (Celu { alpha: 2.0 }, [-2.0, INF]),
        (Sigmoid, [0.0, 1.0]),
        (HardSigmoid, [0.0, 1.0]),
        (LogSigmoid, [-INF, 0.0]),
        (Tanh, [-1.0, 1.0]),
        (Softplus, [0.0, INF]),
        (Squareplus { b: 4.0 }, [0.0, INF]),
        (SparsePlus, [0.0, INF]),
        (Exponential, [0.0, INF]),
    ] {
        let got = special(&activation);
        assert_eq!(got[..2], want, "{activation:?}");
        assert!(got[2].is_nan(), "{activation:?} hides NaN");
    }
    let mut masked = Tensor::new([1, 3], vec![f32::NEG_INFINITY, 0.0, 0.0]).unwrap();
    Softmax.apply(&mut masked).unwrap();
    assert_eq!(masked.data(), [0.0, 0.5, 0.5]);
    for activation in [Softmax, LogSoftmax, Sparsemax] {
        for bad in [f32::NAN, INF] {
            let mut y = Tensor::new([1, 3], vec![0.0, bad, 1.0]).unwrap();
            activation.apply(&mut y).unwrap();
            assert!(y.data().iter().any(|y| y.is_nan()), "{activation:?} hides {bad}");
        }
    }
}

#[test]
fn odd_shapes() {
    for activation in [Relu, Softmax, LogSoftmax, Sparsemax] {
        for shape in [&[][..], &[0], &[3, 0], &[0, 3], &[2, 1, 3]] {
            let mut x = Tensor::full(shape, 0.5);
            activation.apply(&mut x).unwrap();
            let mut g = Tensor::full(shape, 1.0);
            activation.backward(Some(&x), &x, &mut g).unwrap();
            assert_eq!(g.shape(), shape);
        }
    }
}

#[test]
fn mistakes_are_errors() {
    let message = |a: Activation| a.check().unwrap_err().to_string();
    assert!(message("rleu".into()).contains("did you mean 'relu'"), "{}", message("rleu".into()));
    assert!(message(Activation::new("leaky_relu6")).contains("'leaky_relu'"));
    assert!(message("threshold".into()).contains("default_value"));
    assert!(message("glu".into()).contains("halves"));
    assert!("Relu".parse::<Activation>().is_err());
    assert!(Activation::new("rleu").apply(&mut Tensor::zeros([2])).is_err());
    for bad in [
        Activation::leaky_relu(-0.1),
        Activation::leaky_relu(f64::NAN),
        Activation::elu(f64::INFINITY),
        Celu { alpha: 0.0 },
        Celu { alpha: 1e-40 },
        Celu { alpha: 1e60 },
        Squareplus { b: -1.0 },
        HardShrink { threshold: -1.0 },
        SoftShrink { threshold: -1.0 },
        Threshold { threshold: 0.0, default_value: f64::NAN },
        ReluWith { negative_slope: 0.0, max_value: Some(-1.0), threshold: 0.0 },
    ] {
        assert!(matches!(bad.check(), Err(Error::Argument(_))), "{bad:?}");
    }
    let x = Tensor::zeros([2]);
    let forgotten = Silu.backward(None, &x, &mut Tensor::zeros([2]));
    assert!(forgotten.unwrap_err().to_string().contains("silu needs its input"));
    assert!(matches!(Relu.backward(None, &x, &mut Tensor::zeros([3])), Err(Error::Shape(_))));
}

#[test]
fn names() {
    for (name, activation) in names::NAMED {
        assert_eq!(name.parse::<Activation>().unwrap(), *activation);
        assert_eq!(Activation::new(name), *activation);
        assert_eq!(activation.name().parse::<Activation>().unwrap(), *activation);
        activation.check().unwrap();
    }
    assert_eq!(Activation::new("hard_swish").name(), "hard_silu");
    assert_eq!(Activation::leaky_relu(0.1).name(), "leaky_relu");
    assert_eq!(ReluWith { negative_slope: 0.0, max_value: None, threshold: 1.0 }.name(), "relu");
    assert_eq!(Activation::default(), Linear);
}

#[test]
fn json_round_trip() {
    for Golden { activation, .. } in GOLDEN {
        let text = serde_json::to_string(activation).unwrap();
        assert_eq!(serde_json::from_str::<Activation>(&text).unwrap(), *activation, "{text}");
    }
    assert_eq!(json!(Silu), json!("silu"));
    assert_eq!(json!(Activation::gelu()), json!("gelu"));
    assert_eq!(
        json!(Activation::leaky_relu(0.1)),
        json!({
            "module": "keras.layers", "class_name": "LeakyReLU",
            "config": {"negative_slope": 0.1}, "registered_name": null
        })
    );
    assert!(serde_json::to_string(&Activation::new("rleu")).is_err());
}

#[test]
fn reads_what_keras_writes() {
    let read = |value| serde_json::from_value::<Activation>(value);
    for (value, want) in [
        (json!(null), Linear),
        (json!("swish"), Silu),
        (
            json!({"module": "keras.src.ops.nn", "class_name": "Celu",
                "config": {"name": "celu_2", "alpha": 0.5}, "registered_name": "Celu"}),
            Celu { alpha: 0.5 },
        ),
        (
            json!({"module": "keras.layers", "class_name": "LeakyReLU", "config": {
                "name": "leaky_re_lu", "trainable": true, "dtype": "float32"}, "registered_name": null}),
            Activation::leaky_relu(0.3),
        ),
        (json!({"class_name": "LeakyReLU", "config": {"alpha": 0.25}}), Activation::leaky_relu(0.25)),
        (json!({"module": "keras.src.ops.nn", "class_name": "HardTanh", "config": {}}), HardTanh),
        (json!({"module": "keras.layers", "class_name": "Softmax", "config": {"axis": -1}}), Softmax),
        (json!({"module": "keras.layers", "class_name": "ReLU", "config": {"max_value": null}}), Relu),
        (
            json!({"module": "builtins", "class_name": "function", "config": "hard_tanh",
                "registered_name": "function"}),
            HardTanh,
        ),
        (
            json!({"module": "keras.activations", "class_name": "function", "config": "mish",
                "registered_name": "mish"}),
            Mish,
        ),
    ] {
        assert_eq!(read(value.clone()).unwrap(), want, "{value}");
    }
    for (value, part) in [
        (json!("rleu"), "did you mean 'relu'"),
        (json!(3), "expected an activation"),
        (json!({"config": {}}), "class_name"),
        (json!({"class_name": "Celu", "config": {"alpha": "big"}}), "not a number"),
        (json!({"class_name": "Celu", "config": {"alpha": -1}}), "above 0"),
        (json!({"class_name": "Celu", "config": 3}), "cannot be 3"),
        (json!({"class_name": "Threshold", "config": {}}), "has no \"threshold\""),
        (json!({"class_name": "Softmax", "config": {"axis": 1}}), "last axis"),
        (json!({"module": null, "class_name": "Relu", "config": {}, "registered_name": "my>Relu"}), "my>Relu"),
        (json!({"class_name": "function", "config": "mine", "registered_name": "function"}), "'mine'"),
    ] {
        let error = read(value.clone()).unwrap_err().to_string();
        assert!(error.contains(part), "{value}: {error}");
    }
}
