//! The workflow of a model: build, compile, fit, evaluate, predict, and the mistakes people make.

use cornu::optimizers::Optimizer;
use cornu::prelude::*;
use cornu::runtime::threads;
use cornu::training::Differentiate;
use ndarray::{Array1, Array2, Array4, array};

/// Points of two classes, by the sign of x0 * x1, and their labels.
fn xor(n: usize) -> (Array2<f32>, Array1<u8>) {
    let x = Array2::from_shape_fn((n, 2), |(i, j)| ((i * (7 + 4 * j) % 41) as f32 - 20.0) / 20.0);
    let y = x.rows().into_iter().map(|r| u8::from(r[0] * r[1] > 0.0)).collect();
    (x, y)
}

fn classifier(seed: u64) -> Sequential {
    let mut model = Sequential::new().with_seed(seed);
    model
        .add(Input::new([2]))
        .add(Dense::new(16).activation("tanh"))
        .add(Dense::new(2).activation("softmax").name("classes"));
    model.compile(Adam::new(0.01), "sparse_categorical_crossentropy", ["accuracy"]).unwrap();
    model
}

/// A small convolutional network and images for it.
fn convnet(seed: u64) -> (Sequential, Array4<f32>, Array1<u8>) {
    let mut model = Sequential::new().with_seed(seed);
    model
        .add(Input::new([8, 8, 1]))
        .add(Conv2D::new(4, 3).padding(Padding::Same).activation("relu").kernel_regularizer(L2::new(1e-3)))
        .add(MaxPooling2D::new(2))
        .add(Flatten::new())
        .add(Dense::new(10).activation("softmax"));
    model.compile(Sgd::new(0.05).momentum(0.9), "sparse_categorical_crossentropy", ["accuracy"]).unwrap();
    let digits = datasets::digits();
    (model, digits.x_f32().slice_move(ndarray::s![..300, .., .., ..]), digits.y.slice_move(ndarray::s![..300]))
}

#[test]
fn a_model_learns_and_the_history_tells() {
    let (x, y) = xor(200);
    let mut model = classifier(3);
    let before = model.evaluate(&x, &y, Evaluate::default()).unwrap();
    let history = model.fit(&x, &y, Fit::new().epochs(60).verbose(0).validation_split(0.2)).unwrap();
    assert_eq!(history.epochs().len(), 60);
    assert_eq!(history.names().collect::<Vec<_>>(), ["loss", "accuracy", "val_loss", "val_accuracy"]);
    let after = model.evaluate(&x, &y, Evaluate::default()).unwrap();
    assert!(after["loss"] < before["loss"] / 3.0, "{before:?} {after:?}");
    assert!(after["accuracy"] > 0.95, "{after:?}");
    let p = model.predict(&x, Predict::default()).unwrap();
    assert_eq!(p.shape(), [200, 2]);
    assert!(p.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-5));
}

#[test]
fn the_same_seed_gives_the_same_bits_on_any_number_of_threads() {
    let run = |threads: usize| {
        threads::with_num_threads(threads, || {
            let (mut model, x, y) = convnet(11);
            let history = model.fit(&x, &y, Fit::new().epochs(2).batch_size(70).verbose(0)).unwrap();
            let predictions = model.predict(&x, Predict::new().batch_size(77)).unwrap();
            (model.get_weights(), history, predictions)
        })
    };
    let one = run(1);
    assert_eq!(one, run(1));
    assert_eq!(one, run(2));
    assert_eq!(one, run(5));
}

/// A pooling takes over the gradient of the ReLU before it, but not from behind another layer.
#[test]
fn a_relu_before_a_pooling_learns_as_elsewhere() {
    let run = |apart: bool| {
        let mut model = Sequential::new().with_seed(3);
        model.add(Input::new([9, 9, 2])).add(Conv2D::new(5, 3).activation("relu").padding(Padding::Same));
        if apart {
            model.add(Identity::new().name("between"));
        }
        model.add(MaxPooling2D::new(2).name("pool")).add(Conv2D::new(4, 2).name("second")).add(Activation::Relu);
        if apart {
            model.add(Identity::new().name("between_2"));
        }
        model.add(MaxPooling2D::new(2).strides(1).name("pool_2")).add(Flatten::new()).add(Dense::new(3).name("out"));
        model.compile(Sgd::new(0.1), "mse", ()).unwrap();
        let x =
            Array4::from_shape_fn((6, 9, 9, 2), |(b, h, w, c)| ((b * 7 + h * 5 + w * 3 + c) % 11) as f32 / 5.0 - 1.0);
        let y = Array2::from_shape_fn((6, 3), |(b, k)| ((b + k) % 3) as f32);
        model.fit(&x, &y, Fit::new().epochs(3).batch_size(3).shuffle(false).verbose(0)).unwrap();
        model.get_weights()
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn another_seed_gives_other_weights() {
    assert_ne!(classifier(1).get_weights(), classifier(2).get_weights());
    assert_eq!(classifier(1).get_weights(), classifier(1).get_weights());
}

#[test]
fn batch_size_does_not_change_evaluation_or_prediction() {
    let (mut model, x, y) = convnet(5);
    let all = model.evaluate(&x, &y, Evaluate::new().batch_size(300)).unwrap();
    for batch_size in [1, 7, 32, 299] {
        let scores = model.evaluate(&x, &y, Evaluate::new().batch_size(batch_size)).unwrap();
        assert!((scores["loss"] - all["loss"]).abs() < 1e-5, "{batch_size}: {scores:?} {all:?}");
        assert!((scores["accuracy"] - all["accuracy"]).abs() < 1e-9);
    }
    let whole = model.predict(&x, Predict::new().batch_size(300)).unwrap();
    let parts = model.predict(&x, Predict::new().batch_size(13)).unwrap();
    assert!(whole.iter().zip(&parts).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn any_array_of_the_usual_elements_will_do() {
    let (x, y) = xor(64);
    let model = classifier(1);
    let want = model.predict(&x, Predict::default()).unwrap();
    let double = x.mapv(f64::from);
    assert_eq!(model.predict(&double, Predict::default()).unwrap(), want);
    assert_eq!(model.predict(&x.view(), Predict::default()).unwrap(), want);
    assert_eq!(model.predict(&x.t().as_standard_layout().t(), Predict::default()).unwrap(), want);
    let mut model = model;
    let labels = y.mapv(i64::from);
    let column = y.clone().insert_axis(ndarray::Axis(1));
    let a = model.evaluate(&x, &y, Evaluate::default()).unwrap();
    assert_eq!(a, model.evaluate(&x, &labels, Evaluate::default()).unwrap());
    assert_eq!(a, model.evaluate(&x, &column, Evaluate::default()).unwrap());
    assert_eq!(a, model.evaluate(&x, &y.mapv(|y| y == 1), Evaluate::default()).unwrap());
}

#[test]
fn frozen_layers_stay_and_cost_no_gradient() {
    let (x, y) = xor(64);
    let mut model = classifier(1);
    model.layer("dense").unwrap().set_trainable(false);
    model.compile("sgd", "sparse_categorical_crossentropy", ()).unwrap();
    let before = model.get_weights();
    model.fit(&x, &y, Fit::new().verbose(0)).unwrap();
    let after = model.get_weights();
    assert_eq!(before[..2], after[..2]);
    assert_ne!(before[2..], after[2..]);
    let pass = model.forward(&x, true, Differentiate::Weights).unwrap();
    let ones = pass.output().map(|_| 1.0);
    let gradients = model.backward(pass, ones).unwrap();
    assert_eq!(gradients.weights.values().len(), 2, "only the head's kernel and bias have gradients");
}

#[test]
fn forward_backward_apply_are_a_training_step() {
    let (x, y) = xor(16);
    let (mut whole, mut parts) = (classifier(9), classifier(9));
    whole.train_on_batch(&x, &y).unwrap();

    let pass = parts.forward(&x, true, Differentiate::Weights).unwrap();
    let p = pass.output();
    let mut gradient = p.clone().map(|_| 0.0);
    for (i, label) in y.iter().enumerate() {
        let at = i * 2 + usize::from(*label);
        gradient.data_mut()[at] = -1.0 / p.data()[at] / 16.0;
    }
    // The loss divides by the sum of each row, which softmax makes 1: that adds 1 / n to each entry.
    let gradient = gradient.map(|g| g + 1.0 / 16.0);
    let gradients = parts.backward(pass, gradient).unwrap();
    parts.apply(gradients.weights).unwrap();
    for (a, b) in whole.get_weights().iter().zip(parts.get_weights()) {
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 2e-5), "{a} {b}");
    }
    assert_eq!(parts.iterations().unwrap(), 1);
}

#[test]
fn large_dense_layers_learn_as_small_ones_do() {
    // `fit` leaves the gradients of such weights to the optimizer, `apply` is given them.
    const UNITS: usize = 1100;
    let x = Array2::from_shape_fn((6, UNITS), |(i, j)| ((i * 37 + j * 11) % 23) as f32 / 23.0 - 0.5);
    let y = Array2::from_shape_fn((6, 3), |(i, j)| ((i + 2 * j) % 4) as f32);
    let optimizers: [fn() -> Shared<dyn Optimizer>; 4] = [
        || Sgd::new(0.02).momentum(0.9).into(),
        || Adam::new(1e-3).into(),
        || Adam::new(1e-3).clipnorm(0.1).into(),
        || Adam::new(1e-3).gradient_accumulation_steps(2).into(),
    ];
    for (i, optimizer) in optimizers.into_iter().enumerate() {
        let model = || -> cornu::Result<Model> {
            let input = Input::new([UNITS]).node();
            let twice = LayerHandle::from(Dense::new(UNITS).activation("tanh"));
            let once = Dense::new(UNITS).activation("relu");
            let once = if i == 1 { once.kernel_regularizer(L2::new(1e-3)) } else { once };
            let hidden = twice.call(&twice.call(&input)?)?;
            let output = Dense::new(3).call(&once.call(&hidden)?)?;
            let mut model = Model::seeded("large", 7, &input, &output)?;
            model.compile(optimizer(), "mse", ())?;
            Ok(model)
        };
        let (mut model, mut by_parts) = (model().unwrap(), model().unwrap());
        for _ in 0..4 {
            model.train_on_batch(&x, &y).unwrap();
            let pass = by_parts.forward(&x, true, Differentiate::Weights).unwrap();
            let target = Tensor::from(y.clone().into_dyn());
            let error = pass.output().zip_map(&target, |p, t| 2.0 * (p - t) / 18.0).unwrap();
            let gradients = by_parts.backward(pass, error).unwrap();
            by_parts.apply(gradients.weights).unwrap();
        }
        for (a, b) in model.weights().iter().zip(by_parts.weights()) {
            let most = a.value().data().iter().zip(b.value().data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most <= 1e-5, "optimizer {i}, {}: {most}", a.path());
        }
    }
}

#[test]
fn gradients_of_inputs() {
    let mut model = Sequential::new();
    model.add(Input::new([2])).add(Dense::new(1).use_bias(false));
    model.build().unwrap();
    model.set_weights(&[array![[3.0_f32], [-2.0]].into_dyn()]).unwrap();
    let pass = model.forward(&array![[1.0, 1.0]], false, Differentiate::Inputs).unwrap();
    assert_eq!(pass.output().data(), [1.0]);
    let gradients = model.backward(pass, Tensor::full([1, 1], 1.0)).unwrap();
    assert_eq!(gradients.inputs[0].as_ref().unwrap().data(), [3.0, -2.0]);
    assert!(gradients.weights.values().is_empty());
}

#[test]
fn weights_of_classes_and_samples() {
    let (x, y) = xor(60);
    let weights = y.mapv(|y| if y == 1 { 3.0 } else { 1.0 });
    let fit = |options: Fit<'_>| {
        let mut model = classifier(4);
        let history = model.fit(&x, &y, options.epochs(3).verbose(0)).unwrap();
        (model.get_weights(), history)
    };
    let by_class = fit(Fit::new().class_weight([(1, 3.0)]));
    let by_sample = fit(Fit::new().sample_weight(&weights));
    assert_eq!(by_class, by_sample);
    assert_ne!(by_class, fit(Fit::new()));
    let both = classifier(4).fit(&x, &y, Fit::new().class_weight([(1, 3.0)]).sample_weight(&weights));
    assert!(both.unwrap_err().to_string().contains("cannot be used together"));
}

#[test]
fn epochs_steps_and_validation_follow_keras() {
    let (x, y) = xor(100);
    let mut model = classifier(1);
    let history = model.fit(&x, &y, Fit::new().initial_epoch(2).epochs(5).verbose(0)).unwrap();
    assert_eq!(history.epochs(), [2, 3, 4]);
    let iterations = model.iterations().unwrap();
    assert_eq!(iterations, 3 * 4, "100 samples are four batches of 32, the last one short");
    model.fit(&x, &y, Fit::new().steps_per_epoch(2).epochs(3).verbose(0)).unwrap();
    assert_eq!(model.iterations().unwrap() - iterations, 6);
    let options = Fit::new().epochs(4).validation_data(&x, &y).validation_freq(2).verbose(0);
    let history = model.fit(&x, &y, options).unwrap();
    assert_eq!(history.epochs_of("val_loss").unwrap(), [1, 3]);
    assert_eq!(history["loss"].len(), 4);
}

#[test]
fn the_validation_split_is_the_last_part_before_shuffling() {
    let (x, y) = xor(10);
    let mut split = classifier(1);
    let history = split.fit(&x, &y, Fit::new().validation_split(0.3).verbose(0)).unwrap();
    let held_out = (x.slice(ndarray::s![7.., ..]), y.slice(ndarray::s![7..]));
    let scores = split.evaluate(&held_out.0, &held_out.1, Evaluate::default()).unwrap();
    assert_eq!(history.last("val_loss"), scores.get("loss"));
}

#[test]
fn a_loss_that_is_not_finite_is_reported() {
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([1])).add(Dense::new(1));
    model.compile(Sgd::new(1e10), "mse", ()).unwrap();
    let x = array![[1e5_f32], [2e5]];
    let history = model.fit(&x, &x, Fit::new().epochs(8).batch_size(1).verbose(0)).unwrap();
    assert!(history.first_non_finite().is_some());
}

#[test]
fn a_model_without_an_input_is_built_by_its_data() {
    let mut model = Sequential::new();
    model.add(Dense::new(3)).add(Dense::new(1));
    assert!(model.summary().to_string().contains('?'));
    let x = array![[1.0, 2.0], [3.0, 4.0]];
    let error = model.predict(&x, Predict::default()).unwrap_err().to_string();
    assert!(error.contains("not built"), "{error}");
    model.compile("adam", "mse", ()).unwrap();
    let before_fit = model.is_built();
    model.fit(&x, &array![1.0, 0.0], Fit::new().verbose(0)).unwrap();
    assert!(!before_fit && model.is_built());
    assert_eq!(model.count_params(), 3 * 2 + 3 + 3 + 1);
    assert_eq!(model.iterations().unwrap(), 1);
}

#[test]
fn shared_references_predict_from_several_threads() {
    let (x, _) = xor(50);
    let model = classifier(1);
    let want = model.predict(&x, Predict::default()).unwrap();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(|| model.predict(&x, Predict::default()).unwrap())).collect();
        runs.into_iter().for_each(|run| assert_eq!(run.join().unwrap(), want));
    });
}

/// Checks that an error's text has all of these parts.
fn says<T: std::fmt::Debug>(result: cornu::Result<T>, parts: &[&str]) {
    let text = result.unwrap_err().to_string();
    for part in parts {
        assert!(text.contains(part), "'{text}' does not say '{part}'");
    }
}

#[test]
fn mistakes_with_data() {
    let (x, y) = xor(20);
    let mut model = classifier(1);
    let fit = Fit::new;
    says(model.fit(&Array2::<f32>::zeros((20, 3)), &y, fit()), &["input_layer", "(None, 2)", "(None, 3)"]);
    says(model.predict(&Array1::<f32>::zeros(2), Predict::default()), &["(None, 2)", "axis is missing"]);
    says(model.fit(&x, &y.slice(ndarray::s![..19]), fit()), &["x has 20 samples", "y has 19"]);
    says(model.fit(&Array2::<f32>::zeros((0, 2)), &Array1::<u8>::zeros(0), fit()), &["x is empty"]);
    says(model.evaluate(&x, &y.mapv(|_| 7), Evaluate::default()), &["7", "2 classes"]);
    says(model.evaluate(&x, &y.mapv(|_| -1), Evaluate::default()), &["-1"]);
    says(model.fit(&x, &y, fit().batch_size(0)), &["batch_size must be at least 1"]);
    says(model.fit(&x, &y, fit().validation_split(1.5)), &["validation_split is 1.5"]);
    says(model.fit(&x, &y, fit().sample_weight(&array![1.0])), &["sample_weight has 1 values for 20 samples"]);
    says(model.fit(&x, &y, fit().validation_data(&x, &array![1])), &["validation_data", "20", "1"]);
    says(model.set_weights(&[Tensor::zeros([1])]), &["4 weights", "1"]);
    // The model still works.
    model.fit(&x, &y, fit().verbose(0)).unwrap();
}

#[test]
fn mistakes_with_models() {
    let (x, y) = xor(4);
    let mut model = Sequential::new();
    model.add(Input::new([2])).add(Dense::new(2));
    says(model.fit(&x, &y, Fit::new()), &["not compiled", "call compile"]);
    says(model.learning_rate(), &["not compiled"]);
    says(model.compile("adma", "mse", ()), &["unknown optimizer 'adma'", "'adam'"]);
    says(
        model.compile("adam", "sparse_categorical_crossentropi", ()),
        &["unknown loss", "'sparse_categorical_crossentropy'"],
    );
    says(model.compile("adam", "mse", ["acuracy"]), &["unknown metric 'acuracy'", "'accuracy'"]);
    says(model.compile(Sgd::new(-1.0), "mse", ()), &["learning_rate", "-1"]);
    says(model.layer("dens"), &["'dens'", "'dense'"]);
    says(model.layer_at(3), &["no layer 3", "1 layers"]);

    let build = |layer: LayerHandle| {
        let mut model = Sequential::new();
        model.add(Input::new([4, 4, 3])).add(layer);
        model.build()
    };
    says(build(Dense::new(0).into()), &["layer 'dense' (Dense)", "units is 0"]);
    says(build(Dense::new(1).activation("rellu").into()), &["'dense'", "unknown activation 'rellu'", "'relu'"]);
    says(build(Dense::new(1).kernel_initializer("he_norml").into()), &["kernel_initializer", "'he_normal'"]);
    says(build(Dense::new(1).bias_regularizer("l3").into()), &["bias_regularizer", "'l3'", "'l1'"]);
    says(build(Conv2D::new(0, 3).into()), &["layer 'conv2d' (Conv2D)", "filters is 0"]);
    says(build(Conv2D::new(2, 5).into()), &["'conv2d'", "height", "larger than the input", "same"]);
    says(build(Conv2D::new(2, 0).into()), &["kernel_size", "at least 1"]);
    says(build(Conv2D::new(2, 2).strides(2).dilation_rate(2).into()), &["strides", "dilation_rate"]);
    says(build(Conv2D::new(4, 1).groups(2).into()), &["3 channels", "2 groups"]);
    says(build(MaxPooling2D::new(2).strides(0).into()), &["strides", "at least 1"]);

    let mut model = Sequential::new();
    says(model.build(), &["Input"]);
    model.add(Input::new([2])).add(Dense::new(1).name("a")).add(Dense::new(1).name("a"));
    says(model.build(), &["two layers are named 'a'"]);
    let mut model = Sequential::new();
    model.add(Input::new([2])).add(Conv2D::new(1, 1));
    says(model.build(), &["'conv2d'", "(batch, height, width, channels)", "(None, 2)"]);
}

#[test]
fn the_summary_is_keras_table() {
    let (model, _, _) = convnet(1);
    let text = model.summary().to_string();
    for line in [
        "Model: \"sequential\"",
        "│ conv2d (Conv2D)               │ (None, 8, 8, 4)        │         40 │",
        "│ max_pooling2d (MaxPooling2D)  │ (None, 4, 4, 4)        │          0 │",
        "│ dense (Dense)                 │ (None, 10)             │        650 │",
        "Total params: 690 (2.70 KB)",
        "Non-trainable params: 0 (0.00 B)",
    ] {
        assert!(text.contains(line), "{text}\nlacks\n{line}");
    }
}

#[test]
fn metrics_are_named_as_in_keras() {
    let (x, y) = xor(20);
    let mut model = classifier(1);
    let settings = Compile::new("sgd", "sparse_categorical_crossentropy")
        .metrics(cornu::metrics!["acc", "acc", "sparse_top_k_categorical_accuracy"])
        .weighted_metrics(["acc", "accuracy"]);
    model.compile_with(settings).unwrap();
    let weights = y.mapv(f32::from);
    let scores = model.evaluate(&x, &y, Evaluate::new().sample_weight(&weights)).unwrap();
    let names: Vec<&str> = scores.logs().names().collect();
    let want = ["loss", "acc", "acc_1", "sparse_top_k_categorical_accuracy", "weighted_acc", "accuracy"];
    assert_eq!(names, want);
    let (x1, y1): (Vec<_>, Vec<_>) = (0..20).filter(|&i| y[i] == 1).map(|i| (x.row(i).to_vec(), y[i])).unzip();
    let x1 = Array2::from_shape_fn((x1.len(), 2), |(i, j)| x1[i][j]);
    let only = model.evaluate(&x1, &Array1::from(y1), Evaluate::default()).unwrap();
    assert!((scores["weighted_acc"] - only["acc"]).abs() < 1e-9);
}

#[test]
fn checkpoints_are_whole_models() {
    let (x, y) = xor(40);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs/{epoch:02d}-{val_loss:.2f}.cornu");
    let mut model = classifier(2);
    let mut checkpoint = ModelCheckpoint::new(path);
    let options = Fit::new().epochs(3).validation_split(0.25).verbose(0).callback(&mut checkpoint);
    let history = model.fit(&x, &y, options).unwrap();
    let last = folder.path().join(format!("runs/03-{:.2}.cornu", history.last("val_loss").unwrap()));
    assert_eq!(checkpoint.last_saved(), Some(last.as_path()));
    let loaded = Sequential::load(&last).unwrap();
    assert_eq!(loaded.get_weights(), model.get_weights());
    assert_eq!(std::fs::read_dir(folder.path().join("runs")).unwrap().count(), 3);
}

#[test]
fn a_build_that_fails_leaves_nothing_behind() {
    let mut model = Sequential::new();
    model.add(BatchNormalization::new()).add(Conv2D::new(2, 3)).add(Flatten::new()).add(Dense::new(1));
    model.compile("sgd", "mse", ()).unwrap();
    let images = ndarray::Array3::<f32>::zeros((4, 8, 8));
    let y = Array1::<f32>::zeros(4);
    says(model.fit(&images, &y, Fit::new().verbose(0)), &["'conv2d'", "(batch, height, width, channels)"]);
    let images = images.insert_axis(ndarray::Axis(3));
    model.fit(&images, &y, Fit::new().verbose(0)).unwrap();
    assert_eq!(model.layer("batch_normalization").unwrap().count_params(), 4, "one channel");
}

#[test]
fn weights_are_made_for_one_number_of_features() {
    let mut model = Sequential::new();
    model.add(Input::new([4])).add(Dense::new(3)).add(Dense::new(2).name("head"));
    model.build().unwrap();
    let head = model.pop().unwrap();
    model.add(Dense::new(5)).add(head);
    says(model.build(), &["layer 'head' (Dense)", "(None, 3)", "(None, 5)", "new layer"]);
}

#[test]
fn what_is_trainable_is_decided_at_compile() {
    let (x, y) = xor(20);
    let mut model = classifier(1);
    model.set_trainable(false);
    says(model.fit(&x, &y, Fit::new().verbose(0)), &["trainable has changed", "compile again"]);
    model.evaluate(&x, &y, Evaluate::default()).unwrap();
    let before = model.get_weights();
    model.compile("sgd", "sparse_categorical_crossentropy", ()).unwrap();
    model.fit(&x, &y, Fit::new().verbose(0)).unwrap();
    assert_eq!(model.get_weights(), before, "nothing learns");
}

#[test]
fn options_that_mean_nothing_are_refused() {
    let (x, y) = xor(20);
    let mut model = classifier(1);
    says(model.fit(&x, &y, Fit::new().validation_data(&x, &y).validation_steps(0)), &["validation_steps"]);
    says(model.evaluate(&x, &y, Evaluate::new().steps(0)), &["steps must be at least 1"]);
    says(model.fit(&x, &y, Fit::new().validation_sample_weight(&y)), &["belongs to validation_data"]);
    says(model.fit(&x, [&y as &dyn cornu::data::Rows, &y], Fit::new()), &["y holds 2 arrays"]);
}

#[test]
fn each_call_of_fit_shuffles_anew() {
    let (x, y) = xor(64);
    let run = |calls: usize, epochs: usize| {
        let mut model = classifier(6);
        for _ in 0..calls {
            model.fit(&x, &y, Fit::new().epochs(epochs).batch_size(8).verbose(0)).unwrap();
        }
        model.get_weights()
    };
    assert_eq!(run(3, 1), run(1, 3));
}

/// A layer that counts the samples it has seen, badly: it does not say that it couples them.
#[derive(Default)]
struct Counter {
    seen: cornu::layer::Param,
}

impl Layer for Counter {
    fn build(&mut self, _: &[Shape], cx: &mut cornu::layer::Build) -> cornu::Result<()> {
        self.seen = cx.state("seen", &[1], &"zeros".into())?;
        Ok(())
    }
    fn forward(
        &self,
        inputs: cornu::layer::Values,
        cx: &mut cornu::layer::Forward<'_>,
    ) -> cornu::Result<cornu::layer::Values> {
        let x = inputs.one()?;
        if cx.training() {
            cx.update_state(&self.seen, self.seen.value().map(|n| n + x.batch() as f32));
        }
        Ok(x.into())
    }
    fn backward(
        &self,
        gradients: cornu::layer::Values,
        _: &mut cornu::layer::Backward<'_>,
    ) -> cornu::Result<cornu::layer::Gradients> {
        Ok(gradients.one()?.into())
    }
    fn visit(&self, visit: &mut dyn FnMut(&cornu::layer::Param)) {
        visit(&self.seen);
    }
}

#[test]
fn state_that_pieces_of_a_batch_would_overwrite_is_an_error() {
    let (x, y) = xor(512);
    let mut model = Sequential::new();
    // Wide, so that a large batch is worth cutting.
    model.add(Input::new([2])).add(Counter::default()).add(Dense::new(2000)).add(Dense::new(1));
    model.compile("sgd", "mse", ()).unwrap();
    model.fit(&x, &y, Fit::new().batch_size(16).verbose(0)).unwrap();
    assert_eq!(model.layer("counter").unwrap().weights()[0].value().data(), [512.0]);
    says(model.fit(&x, &y, Fit::new().batch_size(512).verbose(0)), &["counter/seen", "couples_samples"]);
}

/// As in Keras: what a stateful layer ended a batch with, the next batch begins with, in whatever call.
#[test]
fn stateful_layers_carry_on_in_inference() {
    let model = |stateful: bool, steps: usize| {
        let mut model = Sequential::new().with_seed(7);
        model.add(Input::new([steps, 2])).add(LSTM::new(3).return_sequences(true).stateful(stateful).name("lstm"));
        model.compile("sgd", "mse", ()).unwrap();
        model
    };
    let x = ndarray::Array3::from_shape_fn((3, 4, 2), |(i, t, j)| ((i * 8 + t * 2 + j) as f32 * 0.7).sin());
    let whole = model(false, 4).predict(&x, Predict::new()).unwrap();
    let wanted = whole.slice(ndarray::s![.., 2.., ..]).to_owned().into_dyn();
    let (first, second) = (x.slice(ndarray::s![.., ..2, ..]), x.slice(ndarray::s![.., 2.., ..]));

    let mut carried = model(true, 2);
    carried.predict(&first, Predict::new()).unwrap();
    let got = carried.predict(&second, Predict::new()).unwrap();
    assert!(got.iter().zip(&wanted).all(|(got, wanted)| (got - wanted).abs() < 1e-6), "{got} {wanted}");

    // The second batch of one call, and an evaluation after a prediction.
    let reset = |model: &Sequential| model.layer("lstm").unwrap().layer().reset_states();
    reset(&carried);
    let both = ndarray::concatenate![ndarray::Axis(0), first, second];
    let got = carried.predict(&both, Predict::new().batch_size(3)).unwrap();
    let got = got.slice(ndarray::s![3.., .., ..]).to_owned().into_dyn();
    assert!(got.iter().zip(&wanted).all(|(got, wanted)| (got - wanted).abs() < 1e-6), "{got} {wanted}");
    reset(&carried);
    carried.predict(&first, Predict::new()).unwrap();
    assert!(carried.evaluate(&second, &wanted, Evaluate::new()).unwrap()["loss"] < 1e-12);
}
