//! Models that are graphs: several inputs and outputs, shared layers, models inside models, their files.

use cornu::prelude::*;
use cornu::training::Inputs;
use cornu::{Registry, data::Rows};
use ndarray::{Array1, Array2};

fn grid(rows: usize, cols: usize, shift: f32) -> Array2<f32> {
    Array2::from_shape_fn((rows, cols), |(i, j)| ((i * 7 + j * 3) % 11) as f32 / 11.0 - shift)
}

/// Two inputs, a layer that both share, a skip, an operator, two outputs.
fn two_and_two() -> cornu::Result<Model> {
    let (a, b) = (Input::new([6]).name("a").node(), Input::new([6]).name("b").node());
    let shared = Dense::new(5).activation("tanh").name("shared");
    let (x, y) = (shared.clone().call(&a)?, shared.call(&b)?);
    let both = Concatenate::new().call([&x, &y])?;
    let skip = Dense::new(10).activation("relu").call(&both)?;
    let sum = Add::new().call([&both, &skip])?;
    let class = Dense::new(3).activation("softmax").name("class").call(&sum)?;
    let value = Dense::new(1).name("value").call(&Subtract::new().call([&x, &y])?)?;
    Model::seeded("pair", 3, [&a, &b], [&class, &value])
}

fn settings() -> Compile {
    Compile::each("adam", [("class", "sparse_categorical_crossentropy"), ("value", "mse")])
        .loss_weights([("value", 0.5)])
        .metrics_of("class", ["accuracy"])
        .metrics_of("value", ["mae"])
}

#[test]
fn shared_layers_are_counted_once() {
    let model = two_and_two().unwrap();
    let names: Vec<String> = model.layers().iter().map(LayerHandle::name).collect();
    assert_eq!(model.count_params(), (6 * 5 + 5) + (10 * 10 + 10) + (10 * 3 + 3) + (5 + 1), "{names:?}");
    let summary = model.summary().to_string();
    assert!(summary.contains("Connected to") && summary.contains("shared[1][0]"), "{summary}");
}

#[test]
fn several_outputs_train_report_and_survive_files() {
    let (a, b) = (grid(20, 6, 0.2), grid(20, 6, 0.6));
    let (class, value) = (Array1::from_shape_fn(20, |i| (i % 3) as u8), grid(20, 1, 0.0));
    let x = || Inputs::from([&a as &dyn Rows, &b]);
    let y = || Inputs::from([&class as &dyn Rows, &value]);
    let mut model = two_and_two().unwrap();
    model.compile_with(settings()).unwrap();
    let history = model.fit(x(), y(), Fit::new().epochs(30).batch_size(5).verbose(0)).unwrap();
    for name in ["loss", "class_loss", "value_loss", "class_accuracy", "value_mae"] {
        assert_eq!(history.get(name).map(<[f64]>::len), Some(30), "{name}");
    }
    let of = |name: &str, epoch: usize| history.get(name).unwrap()[epoch];
    assert!((of("loss", 4) - of("class_loss", 4) - 0.5 * of("value_loss", 4)).abs() < 1e-6);
    assert!(of("loss", 29) < of("loss", 0));
    let scores = model.evaluate(x(), y(), Evaluate::default()).unwrap();
    let before = model.predict_all(x(), Predict::new().batch_size(7)).unwrap();
    assert_eq!([before[0].shape(), before[1].shape()], [[20, 3], [20, 1]]);

    let folder = tempfile::tempdir().unwrap();
    for file in ["model.cornu", "model.keras"] {
        if file.ends_with("keras") && !cfg!(feature = "keras") {
            continue;
        }
        let path = folder.path().join(file);
        model.save(&path).unwrap();
        let mut same = Model::load(&path).unwrap();
        assert_eq!(same.predict_all(x(), Predict::new().batch_size(7)).unwrap(), before, "{file}");
        let again = same.evaluate(x(), y(), Evaluate::default()).unwrap();
        assert_eq!(again.logs(), scores.logs(), "{file}");
        // And the optimizer goes on where it was.
        let mut twin = Model::load(&path).unwrap();
        same.fit(x(), y(), Fit::new().shuffle(false).verbose(0)).unwrap();
        twin.fit(x(), y(), Fit::new().shuffle(false).verbose(0)).unwrap();
        assert_eq!(same.get_weights(), twin.get_weights());
        assert_ne!(same.get_weights(), model.get_weights());
    }
    let described = Model::from_json(&model.to_json().unwrap(), &Registry::new()).unwrap();
    assert_eq!(described.to_json().unwrap(), model.to_json().unwrap());
}

#[test]
fn gradients_through_the_graph_are_right() {
    let model = two_and_two().unwrap();
    let inputs = [grid(4, 6, 0.2), grid(4, 6, 0.6)].map(|x| Tensor::from(x.into_dyn()));
    cornu::testing::GradientCheck::new().layer_at(model.as_layer(), &inputs).unwrap();
}

#[test]
fn a_model_inside_a_model_shares_its_weights() {
    let mut base = Sequential::new().with_name("base").with_seed(1);
    base.add(Input::new([8, 8, 1])).add(Conv2D::new(4, 3).activation("relu")).add(BatchNormalization::new());
    base.build().unwrap();
    let (a, b) = (Input::new([8, 8, 1]).node(), Input::new([8, 8, 1]).node());
    let features = |x: &SymbolicTensor| GlobalAveragePooling2D::new().call(&base.call(x)?);
    let difference = Subtract::new().call([features(&a).unwrap(), features(&b).unwrap()]).unwrap();
    let out = Dense::new(1).call(&difference).unwrap();
    let mut model = Model::seeded("siamese", 2, [&a, &b], &out).unwrap();
    assert_eq!(model.count_params(), (9 * 4 + 4) + 4 * 4 + 5);
    model.compile("sgd", "mse", ()).unwrap();
    let images = |shift: f32| grid(12, 64, shift).into_shape_with_order((12, 8, 8, 1)).unwrap();
    let (x, y) = ([images(0.0), images(0.7)], grid(12, 1, 0.3));
    let x = || Inputs::from([&x[0] as &dyn Rows, &x[1]]);
    let before = base.get_weights();
    model.fit(x(), &y, Fit::new().epochs(2).verbose(0)).unwrap();
    assert_ne!(base.get_weights(), before, "the base learns with the model around it");

    // Frozen, it stays as it is: its moving averages too.
    base.set_trainable(false);
    model.compile("sgd", "mse", ()).unwrap();
    let (frozen, all) = (base.get_weights(), model.get_weights());
    model.fit(x(), &y, Fit::new().epochs(2).verbose(0)).unwrap();
    assert_eq!(base.get_weights(), frozen);
    assert_ne!(model.get_weights(), all);
    assert_eq!(model.trainable_weights().len(), 2);

    #[cfg(feature = "keras")]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("siamese.keras");
        model.save(&path).unwrap();
        let same = Model::load(&path).unwrap();
        let predict = |model: &Model| model.predict(x(), Predict::new()).unwrap();
        assert_eq!(predict(&same), predict(&model));
        assert!(!same.layer("base").unwrap().weights().is_empty());
    }
}

#[test]
fn inner_tensors_are_outputs_and_inputs_of_other_models() {
    let input = Input::new([4]).node();
    let hidden = Dense::new(3).activation("relu").name("hidden").call(&input).unwrap();
    let out = Dense::new(2).name("out").call(&hidden).unwrap();
    let whole = Model::new(&input, &out).unwrap();
    let (front, back) = (Model::new(&input, &hidden).unwrap(), Model::new(&hidden, &out).unwrap());
    let x = grid(5, 4, 0.5);
    let through = front.predict(&x, Predict::new()).unwrap();
    assert_eq!(back.predict(&through, Predict::new()).unwrap(), whole.predict(&x, Predict::new()).unwrap());
    assert_eq!(back.input_shape().unwrap().to_string(), "(None, 3)");
}

#[test]
fn mistakes_are_explained() {
    let says = |error: cornu::Error, words: &[&str]| {
        let text = error.to_string();
        words.iter().for_each(|word| assert!(text.contains(word), "{text}"));
    };
    let (a, b) = (Input::new([4]).node(), Input::new([3]).node());
    let x = Dense::new(2).name("x").call(&a).unwrap();
    says(Model::new(&b, &x).unwrap_err(), &["not among the inputs"]);
    says(Add::new().call([&x, &b]).unwrap_err(), &["(None, 2)", "(None, 3)"]);
    let y = Dense::new(2).name("x").call(&x).unwrap();
    says(Model::new(&a, &y).unwrap_err(), &["two layers are named 'x'"]);
    says(Conv2D::new(2, 3).call(&a).unwrap_err(), &["Conv2D", "(batch, height, width, channels)"]);
    let shared = Dense::new(2).name("shared");
    let (p, q) = (shared.call(&a).unwrap(), Dense::new(3).call(&a).unwrap());
    let mut model = Model::new(&a, [&p, &q]).unwrap();
    says(shared.call(&b).unwrap_err(), &["shared", "its weights were made for inputs of shape"]);
    says(model.predict(&grid(2, 4, 0.0), Predict::new()).unwrap_err(), &["2 outputs", "predict_all"]);
    says(model.compile_with(Compile::each("sgd", [("sharde", "mse")])).unwrap_err(), &["did you mean 'shared'"]);
    says(model.compile("sgd", "mse", ["mae"]).unwrap_err(), &["2 outputs", "metrics_of"]);
    model.compile("sgd", "mse", ()).unwrap();
    let x = grid(2, 4, 0.0);
    says(model.fit(&x, &grid(2, 2, 0.0), Fit::new()).unwrap_err(), &["y holds 1 array", "2 outputs"]);
    says(model.fit(Inputs::from([&x as &dyn Rows, &x]), &x, Fit::new()).unwrap_err(), &["y holds 1 array"]);
}
