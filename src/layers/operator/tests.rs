//! Values by hand and gradients.

use super::super::called::{Called, assert_values, tensor, wave};
use super::*;
use crate::config::Registry;
use crate::data::Rows;
use crate::layer::LayerHandle;
use crate::model::Model;
use crate::testing::{GradientCheck, check_close, check_layer};
use crate::training::Predict;
use serde_json::Value;
use std::path::Path;

fn positive(shape: &[usize], phase: f32) -> Tensor {
    wave(shape, phase, 1.0).map(|x| 1.5 + x)
}

fn apply(operator: Operator, x: &Tensor) -> Tensor {
    Called::new(operator).run(std::slice::from_ref(x)).unwrap().0.one().unwrap()
}

#[test]
fn two_operands() {
    let (a, b) = (positive(&[2, 3, 2], 0.0), positive(&[2, 1, 2], 1.0));
    for op in [Op::Add, Op::Subtract, Op::Multiply, Op::Divide, Op::Power, Op::Maximum, Op::Minimum] {
        let f = |a: f32, b: f32| match op {
            Op::Add => a + b,
            Op::Subtract => a - b,
            Op::Multiply => a * b,
            Op::Divide => a / b,
            Op::Power => a.powf(b),
            Op::Maximum => a.max(b),
            Op::Minimum => a.min(b),
            _ => unreachable!("they have tests of their own"),
        };
        let (y, _) = Called::new(Operator::binary(op)).run(&[a.clone(), b.clone()]).unwrap();
        let want: Vec<f32> = (0..12).map(|i| f(a.data()[i], b.data()[i / 6 * 2 + i % 2])).collect();
        assert_values(&y.one().unwrap(), &want);
        let right = apply(Operator::with_constant(op, 0.7, Side::Right), &a);
        assert_values(&right, &a.data().iter().map(|a| f(*a, 0.7)).collect::<Vec<_>>());
        let left = apply(Operator::with_constant(op, 0.7, Side::Left), &a);
        assert_values(&left, &a.data().iter().map(|a| f(0.7, *a)).collect::<Vec<_>>());

        GradientCheck::new().layer_at(Operator::binary(op), &[a.clone(), b.clone()]).unwrap();
        for side in [Side::Left, Side::Right] {
            GradientCheck::new().layer_at(Operator::with_constant(op, 0.7, side), std::slice::from_ref(&a)).unwrap();
            let row = Operator::with_tensor(op, tensor(&[2], &[0.45, 1.9]), side);
            GradientCheck::new().layer_at(row, std::slice::from_ref(&a)).unwrap();
        }
    }
    assert_values(&apply(Operator::with_constant(Op::Power, 2.0, Side::Right), &a.clone().map(|a| -a)), &{
        a.data().iter().map(|a| a * a).collect::<Vec<_>>()
    });
    let error = Operator::with_tensor(Op::Add, Tensor::zeros([5, 2]), Side::Left);
    let error = error.output_shapes(&[Shape::batch_of([2])]).unwrap_err().to_string();
    assert!(error.contains("the same for all samples"), "{error}");
}

#[test]
fn comparisons_give_zeros_and_ones() {
    let (a, b) = (tensor(&[1, 4], &[0.0, 1.0, 2.0, 0.0]), tensor(&[1, 4], &[0.0, 2.0, 1.0, 3.0]));
    for (name, asked) in Comparison::ALL {
        let (y, _) = Called::new(Operator::binary(Op::Compare(asked))).run(&[a.clone(), b.clone()]).unwrap();
        let want = match asked {
            Comparison::Equal => [1.0, 0.0, 0.0, 0.0],
            Comparison::NotEqual => [0.0, 1.0, 1.0, 1.0],
            Comparison::Greater => [0.0, 0.0, 1.0, 0.0],
            Comparison::GreaterEqual => [1.0, 0.0, 1.0, 0.0],
            Comparison::Less => [0.0, 1.0, 0.0, 1.0],
            Comparison::LessEqual => [1.0, 1.0, 0.0, 1.0],
            Comparison::And => [0.0, 1.0, 1.0, 0.0],
            Comparison::Or => [0.0, 1.0, 1.0, 1.0],
            Comparison::Xor => [0.0, 0.0, 0.0, 1.0],
        };
        assert_eq!(y.one().unwrap().into_vec(), want, "{name}");
    }
    let x = tensor(&[2, 3], &[0.0, 1.0, 0.0, 2.0, -1.0, 1.0]);
    let over = |how| apply(Operator::unary(Function::Reduce { how, axes: vec![1], keepdims: false }), &x);
    assert_eq!(over(Reduction::Any).into_vec(), [1.0, 1.0]);
    assert_eq!(over(Reduction::All).into_vec(), [0.0, 1.0]);
    // Of nothing, as in NumPy.
    for (axes, shape) in [(vec![1], vec![2]), (vec![1, 2], vec![2]), (vec![2], vec![2, 0])] {
        for (how, value) in [(Reduction::Any, 0.0), (Reduction::All, 1.0)] {
            let reduce = Function::Reduce { how, axes: axes.clone(), keepdims: false };
            let sizes: &[usize] = if axes == [1] { &[2, 0] } else { &[2, 0, 3] };
            assert_eq!(apply(Operator::unary(reduce), &Tensor::zeros(sizes)), Tensor::full(&shape, value));
        }
    }
}

#[test]
fn extremes_are_the_first_of_equal_values_and_nan_is_one() {
    let axis = || Some(Integers::One(-1));
    let places = |values: &[f32]| {
        let x = tensor(&[1, values.len()], values);
        let place = |along| apply(Operator::along(along), &x).into_vec()[0];
        let (max, min) =
            (Along::Argmax { axis: axis(), keepdims: false }, Along::Argmin { axis: axis(), keepdims: false });
        (place(max), place(min))
    };
    assert_eq!(places(&[2.0, 5.0, 1.0, 5.0, 1.0]), (1.0, 2.0));
    assert_eq!(places(&[-0.0, 0.0]), (0.0, 0.0));
    assert_eq!(places(&[0.0, -0.0]), (0.0, 0.0));
    assert_eq!(places(&[3.0, f32::NAN, f32::INFINITY, -f32::NAN, f32::NEG_INFINITY]), (1.0, 1.0));
    assert_eq!(places(&[f32::NEG_INFINITY]), (0.0, 0.0));
}

#[test]
fn what_is_no_number_is_left_out() {
    let nan = f32::NAN;
    let x = tensor(&[3, 4], &[nan, 3.0, -1.0, 3.0, nan, nan, nan, nan, 2.0, nan, 0.5, nan]);
    let axis = || Some(Integers::One(-1));
    let keepdims = false;
    // NumPy's, but of nothing, where sums and products alone are a number.
    for (along, want) in [
        (Along::Nansum { axis: axis(), keepdims }, [5.0, 0.0, 2.5]),
        (Along::Nanprod { axis: axis(), keepdims }, [-9.0, 1.0, 1.0]),
        (Along::Nanmean { axis: axis(), keepdims }, [5.0 / 3.0, nan, 1.25]),
        (Along::Nanvar { axis: axis(), keepdims }, [3.5555556, nan, 0.5625]),
        (Along::Nanstd { axis: axis(), keepdims }, [1.8856181, nan, 0.75]),
        (Along::Nanmax { axis: axis(), keepdims }, [3.0, nan, 2.0]),
        (Along::Nanmin { axis: axis(), keepdims }, [-1.0, nan, 0.5]),
    ] {
        let got = apply(Operator::along(along.clone()), &x).into_vec();
        for (got, want) in got.iter().zip(want) {
            assert!((got - want).abs() < 1e-6 || got.is_nan() && want.is_nan(), "{along:?}: {got} {want}");
        }
    }
    let other = tensor(&[1, 4], &[1.0, nan, nan, 2.0]);
    let y = |op| apply(Operator::with_tensor(op, other.clone(), Side::Right), &x).into_vec();
    assert_eq!(y(Op::Fmax)[..2], [1.0, 3.0]);
    assert_eq!(y(Op::Fmin)[2..4], [-1.0, 2.0]);
    let x = tensor(&[1, 4], &[nan, f32::INFINITY, f32::NEG_INFINITY, 2.0]);
    let to_num =
        |posinf, neginf| apply(Operator::unary(Function::NanToNum { nan: 0.5, posinf, neginf }), &x).into_vec();
    assert_eq!(to_num(Some(3.0), None), [0.5, 3.0, f32::MIN, 2.0]);
    assert_eq!(to_num(None, Some(-1.0)), [0.5, f32::MAX, -1.0, 2.0]);
    let erfinv =
        |x: f32| apply(Operator::unary(Function::Each(Elementwise::Erfinv)), &tensor(&[1], &[x])).into_vec()[0];
    assert_eq!((erfinv(0.0), erfinv(1.0), erfinv(-1.0)), (0.0, f32::INFINITY, f32::NEG_INFINITY));
    for (x, want) in
        [(0.1, 0.08885599), (-0.5, -0.47693628), (0.9, 1.1630871), (0.999, 2.3267563), (0.99999, 3.123_206)]
    {
        assert!((erfinv(x) - want).abs() < 1e-6 * want.abs(), "{x}: {}", erfinv(x));
    }
}

#[test]
fn one_operand() {
    let x = positive(&[2, 3, 4], 0.5);
    let reduce = |how, axes: &[isize], keepdims| Function::Reduce { how, axes: axes.to_vec(), keepdims };
    // Those that are defined near 0 or above 1 alone, and what has no gradient on purpose, are left out below.
    use Elementwise::{Arccos, Arccosh, Arcsin, Arctanh, Erfinv, StopGradient};
    for (function, x) in [
        (Erfinv, x.clone().map(|x| x * 0.3)),
        (Arcsin, x.clone().map(|x| x * 0.3)),
        (Arccos, x.clone().map(|x| x * 0.3)),
        (Arctanh, x.clone().map(|x| x * 0.3)),
        (Arccosh, x.clone().map(|x| x + 1.0)),
    ] {
        GradientCheck::new().layer_at(Operator::unary(Function::Each(function)), &[x]).unwrap();
    }
    let anywhere = Elementwise::ALL.into_iter().map(|(_, function)| function);
    let nowhere = [Arcsin, Arccos, Arctanh, Arccosh, Erfinv, StopGradient];
    let anywhere = anywhere.filter(|function| !nowhere.contains(function));
    let smooth = anywhere.map(Function::Each);
    for function in smooth.chain([
        Function::Activation("tanh".into()),
        Function::Activation("gelu".into()),
        Function::Negative,
        Function::Absolute,
        Function::Exp,
        Function::Log,
        Function::Sqrt,
        Function::Rsqrt,
        Function::Square,
        Function::Reciprocal,
        Function::Clip { min: 0.8, max: 2.1 },
        reduce(Reduction::Sum, &[1], false),
        reduce(Reduction::Mean, &[-1], true),
        reduce(Reduction::Mean, &[2, 1], false),
        reduce(Reduction::Max, &[1], false),
        reduce(Reduction::Max, &[1, 2], true),
        reduce(Reduction::Min, &[-1], false),
        Function::Transpose(vec![0, 2, 1]),
        Function::Reshape(vec![-1, 2]),
        Function::ExpandDims(vec![1]),
        Function::ExpandDims(vec![-1]),
        Function::GetItem(vec![Index::At(-1)]),
        Function::GetItem(vec![Index::ALL, Index::Slice { start: Some(1), stop: Some(-1), step: 1 }]),
        Function::GetItem(vec![Index::Slice { start: None, stop: None, step: -2 }, Index::NewAxis, Index::At(1)]),
    ]) {
        GradientCheck::new().layer_at(Operator::unary(function), std::slice::from_ref(&x)).unwrap();
    }
    check_layer(Operator::unary(Function::Absolute), &[[3, 4]]).unwrap();
    check_layer(Operator::unary(Function::Squeeze(vec![1])), &[[3, 1, 4]]).unwrap();

    assert_values(&apply(Operator::unary(Function::Log), &x), &x.data().iter().map(|x| x.ln()).collect::<Vec<_>>());
    let counting = Tensor::new([1, 2, 3], (0..6).map(|i| i as f32).collect()).unwrap();
    let reduced = |how, axes: &[isize]| apply(Operator::unary(reduce(how, axes, false)), &counting).into_vec();
    assert_eq!(reduced(Reduction::Sum, &[1]), [3.0, 5.0, 7.0]);
    assert_eq!(reduced(Reduction::Mean, &[2]), [1.0, 4.0]);
    assert_eq!(reduced(Reduction::Max, &[1]), [3.0, 4.0, 5.0]);
    assert_eq!(reduced(Reduction::Min, &[-1]), [0.0, 3.0]);
    assert_eq!(reduced(Reduction::Max, &[1, 2]), [5.0]);
    let item = |indices: &[Index]| apply(Operator::unary(Function::GetItem(indices.to_vec())), &counting).into_vec();
    assert_eq!(item(&[Index::At(1)]), [3.0, 4.0, 5.0]);
    assert_eq!(item(&[Index::ALL, Index::At(-1)]), [2.0, 5.0]);
    assert_eq!(item(&[Index::ALL, Index::Slice { start: None, stop: None, step: -1 }]), [2.0, 1.0, 0.0, 5.0, 4.0, 3.0]);
    assert_eq!(item(&[Index::ALL, Index::Slice { start: Some(-2), stop: Some(9), step: 1 }]), [1.0, 2.0, 4.0, 5.0]);
}

/// The gradient by `x`, after a forward pass.
fn gradient(operator: Operator, x: Tensor, of_y: Tensor) -> Tensor {
    let workspace = crate::runtime::Workspace::new();
    let pass = crate::layer::Pass { training: true, seed: 1, step: 0, first_sample: 0, share: 1.0, workspace };
    let (mut saved, mut effects) = Default::default();
    operator.forward(x.into(), &mut Forward::of_model(&pass, &mut saved, &mut effects, true)).unwrap();
    let mut cx = Backward {
        saved: &mut saved,
        gradients: &mut crate::layer::GradientStore::new(&[]),
        workspace: &pass.workspace,
        share: 1.0,
        trainable: true,
        wanted: [true].into_iter().collect(),
        gates: Default::default(),
    };
    operator.backward(of_y.into(), &mut cx).unwrap().into_iter().next().unwrap().unwrap()
}

#[test]
fn equal_extremes_share_the_gradient() {
    let max = Operator::unary(Function::Reduce { how: Reduction::Max, axes: vec![1], keepdims: false });
    let dx = gradient(max, tensor(&[1, 3], &[2.0, 1.0, 2.0]), tensor(&[1], &[3.0]));
    assert_eq!(dx.data(), [1.5, 0.0, 1.5]);
}

/// By the products of the others, without a division.
#[test]
fn products_with_zeros_have_gradients() {
    for x in [[0.5, -1.25, 4.0, 2.0], [0.5, 0.0, 4.0, 2.0], [0.0, 0.5, 4.0, 0.0]] {
        let prod = Operator::along(Along::Prod { axis: Some(Integers::One(1)), keepdims: false });
        let want: Vec<f32> = (0..4).map(|i| 3.0 * (0..4).filter(|j| *j != i).map(|j| x[j]).product::<f32>()).collect();
        assert_eq!(gradient(prod, tensor(&[1, 4], &x), tensor(&[1], &[3.0])).data(), want);
    }
}

#[test]
fn mistakes_are_told() {
    let told = |function: Function, sample: &[usize]| {
        Operator::unary(function).output_shapes(&[Shape::batch_of(sample)]).unwrap_err().to_string()
    };
    let sum = |axes: &[isize]| Function::Reduce { how: Reduction::Sum, axes: axes.to_vec(), keepdims: false };
    assert!(told(sum(&[0]), &[3]).contains("the batch"));
    assert!(told(sum(&[]), &[3]).contains("no axis"));
    assert!(told(sum(&[3]), &[3]).contains("axis 3 does not exist"));
    assert!(told(Function::Reshape(vec![-1, 5]), &[3, 4]).contains("do not fit"));
    assert!(told(Function::Reshape(vec![-1, -1]), &[3, 4]).contains("one size of -1"));
    assert!(told(Function::Transpose(vec![1, 0]), &[3]).contains("stay first"));
    assert!(told(Function::Squeeze(vec![1]), &[3]).contains("not 1"));
    assert!(told(Function::GetItem(vec![Index::At(3)]), &[3]).contains("outside"));
    assert!(told(Function::GetItem(vec![Index::ALL, Index::ALL]), &[3]).contains("more than the axes"));
}

/// Models of one operation of `keras.ops` each, as Keras 3.15 wrote them, with its inputs and outputs.
fn cases() -> Vec<(String, Value, Vec<Tensor>, Vec<Tensor>)> {
    let all = ["operators.json", "operators_rare.json"].map(|name| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        serde_json::from_str::<Value>(&std::fs::read_to_string(path).unwrap()).unwrap()
    });
    let tensors = |value: &Value| {
        let read = |value: &Value| {
            let shape: Vec<usize> = serde_json::from_value(value["shape"].clone()).unwrap();
            Tensor::new(shape, serde_json::from_value(value["values"].clone()).unwrap()).unwrap()
        };
        value.as_array().unwrap().iter().map(read).collect::<Vec<_>>()
    };
    let case = |case: &Value| {
        let name = case["name"].as_str().unwrap().to_owned();
        (name, case["config"].clone(), tensors(&case["inputs"]), tensors(&case["outputs"]))
    };
    all.iter().flat_map(|file| file["cases"].as_array().unwrap()).map(case).collect()
}

#[test]
fn models_of_keras_give_its_numbers_and_come_back() {
    let mut wrong = Vec::new();
    for (name, config, inputs, outputs) in cases() {
        let run = |config: &Value| {
            let mut model = Model::from_json(&config.to_string(), &Registry::new())?;
            model.build()?;
            let arrays: Vec<_> = inputs.iter().map(|x| x.clone().into_array()).collect();
            let rows: Vec<&dyn Rows> = arrays.iter().map(|array| array as &dyn Rows).collect();
            let got = model.predict_all(rows, Predict::default())?;
            assert_eq!(got.len(), outputs.len(), "{name}");
            for (got, want) in got.into_iter().zip(&outputs) {
                assert_eq!(got.shape(), want.shape(), "{name}");
                check_close(&Tensor::from(got), want, 2e-5)?;
            }
            Ok::<_, Error>(serde_json::from_str::<Value>(&model.to_json()?).unwrap())
        };
        // What is written is read again, and the same is written then.
        match run(&config).and_then(|written| Ok((run(&written)?, written))) {
            Ok((again, written)) => assert_eq!(again, written, "{name}"),
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn operations_of_keras_have_gradients() {
    // Steps, and places.
    let flat = ["Argsort", "Argmax", "Argmin", "CountNonzero", "OneHot", "MultiHot", "FloorDivide", "StopGradient"];
    let mut checked = 0;
    let mut wrong = Vec::new();
    for (name, config, inputs, _) in cases() {
        let layers = config["config"]["layers"].as_array().unwrap().clone();
        let operators: Vec<Value> = layers.into_iter().filter(|layer| layer["class_name"] != "InputLayer").collect();
        // Conditions have inputs of their own.
        let [entry] = operators.as_slice() else { continue };
        if flat.contains(&entry["class_name"].as_str().unwrap()) {
            continue;
        }
        let operator = Operator::from_keras(entry, entry["inbound_nodes"].get(0)).unwrap();
        // Away from zeros and from equal values, where some have kinks.
        let apart = |(n, x): (usize, &Tensor)| {
            let value = |i: usize| ((i * 7 + n * 3) % 29) as f32 * 0.09 + 0.31 + n as f32 * 0.05;
            let sign = if ["Arccosh", "Arctanh", "Arcsin"].iter().any(|c| name.starts_with(c)) { 1.0 } else { -1.0 };
            let values = (0..x.len()).map(|i| if i % 4 == 3 { sign * value(i) } else { value(i) });
            Tensor::new(x.shape(), values.collect()).unwrap()
        };
        let within = |x: Tensor| if name.starts_with("erfinv") { x.map(|x| x * 0.3) } else { x };
        let count = entry["inbound_nodes"].to_string().matches("__keras_tensor__").count();
        let inputs: Vec<Tensor> = inputs.iter().take(count).enumerate().map(apart).map(within).collect();
        match GradientCheck::new().layer_at(LayerHandle::from_parts(operator, String::new(), true, None), &inputs) {
            Ok(_) => checked += 1,
            Err(error) => wrong.push(format!("{name}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 50, "{checked}");
}

#[test]
fn sizes_that_are_not_known_stay_so() {
    let sequence = Shape::new([None, None, Some(6)]);
    let one = |axis| Integers::One(axis);
    let told = |operator: Operator| {
        let shapes = operator.output_shapes(std::slice::from_ref(&sequence))?;
        Ok::<_, Error>(shapes.iter().map(Shape::to_string).collect::<Vec<_>>().join(" "))
    };
    let arrange = |arrange| told(Operator::arrange(arrange));
    assert_eq!(arrange(Arrange::Flip { axis: one(1) }).unwrap(), "(None, None, 6)");
    let split = |axis| Arrange::Split { indices_or_sections: one(2), axis };
    assert_eq!(arrange(split(-1)).unwrap(), "(None, None, 3) (None, None, 3)");
    assert_eq!(arrange(Arrange::Swapaxes { axis1: 1, axis2: 2 }).unwrap(), "(None, 6, None)");
    assert!(arrange(Arrange::Unstack { num: None, axis: 1 }).unwrap_err().to_string().contains("must be known"));
    let sum = Along::Cumsum { axis: Some(one(1)) };
    assert_eq!(told(Operator::along(sum)).unwrap(), "(None, None, 6)");
    let norm = Along::Norm { ord: None, axis: Some(one(1)), keepdims: false };
    assert_eq!(told(Operator::along(norm)).unwrap(), "(None, 6)");
    // What would mix the samples is refused.
    for (refused, why) in [
        (Operator::arrange(Arrange::Flip { axis: one(0) }), "the batch"),
        (Operator::arrange(Arrange::Tile { repeats: Integers::Many(vec![2, 1, 1]) }), "the batch stays"),
        (Operator::along(Along::Sort { axis: None }), "mix the samples"),
        (Operator::along(Along::TopK { k: 7, sorted: true }), "7 largest of 6"),
        (Operator::stack(0), "mix the samples"),
    ] {
        let name = refused.class_name().to_owned();
        let error = told(refused).unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
    let mixes = Contract::Einsum { subscripts: "bij,bij->ij".to_owned() };
    let error = Operator::contract(mixes, [None, None]).output_shapes(&[sequence.clone(), sequence.clone()]);
    assert!(error.unwrap_err().to_string().contains("mix the samples"));
}
