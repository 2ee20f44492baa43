//! Models as files: what is saved comes back to the last bit, and no file breaks anything.

use cornu::config::{self, Config};
use cornu::formats::Load;
use cornu::layer::{Backward, Forward, Gradients, Values};
use cornu::prelude::*;
use cornu::runtime::threads;
use cornu::{Error, Registry};
use ndarray::{Array1, Array4, ArrayD, s};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// A layer of a user's own, with an argument and randomness: passes each value on with the
/// probability `keep`.
#[derive(Serialize, Deserialize)]
struct Thin {
    keep: f64,
}

impl Layer for Thin {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        use ndarray_rand::rand::Rng;
        let x = inputs.one()?;
        let mut mask = Tensor::full(x.shape(), 1.0);
        if cx.training() {
            let each = x.len() / x.batch();
            for (i, row) in mask.data_mut().chunks_mut(each).enumerate() {
                let mut rng = cx.rng(i);
                row.iter_mut().for_each(|v| *v = f32::from(rng.random_bool(self.keep)));
            }
        }
        let y = x.zip_map(&mask, |x, m| x * m)?;
        cx.save(mask);
        Ok(y.into())
    }
    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let mask = cx.restore()?;
        Ok(gradients.one()?.zip_map(&mask, |g, m| g * m)?.into())
    }
}

fn known() -> Registry {
    Registry::new().register::<Box<dyn Layer>, Thin>("Thin")
}

/// A layer whose author gave it no configuration.
struct Secret;

impl SimpleLayer for Secret {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.clone())
    }
    fn backward(&self, _: &Tensor, _: &Tensor, gradient: Tensor) -> Result<Tensor> {
        Ok(gradient)
    }
}

fn data() -> (Array4<f32>, Array1<u8>) {
    let digits = datasets::digits();
    (digits.x_f32().slice_move(s![..200, .., .., ..]), digits.y.slice_move(s![..200]))
}

/// A network with much that must be kept: a frozen layer, penalties, constraints, randomness.
fn network(optimizer: impl Into<cornu::Shared<dyn cornu::optimizers::Optimizer>>) -> Sequential {
    let mut model = Sequential::new().with_name("net").with_seed(5);
    model
        .add(Input::new([8, 8, 1]))
        .add(Conv2D::new(4, 3).padding(Padding::Same).activation("relu").kernel_regularizer(L2::new(1e-3)))
        .add(MaxPooling2D::new(2))
        .add(Flatten::new())
        .add(Dense::new(16).activation("tanh").kernel_constraint("max_norm").name("hidden"))
        .add(Thin { keep: 0.7 })
        .add(Dense::new(16).activation("relu").trainable(false))
        .add(Dense::new(10).activation("softmax").activity_regularizer(L2::new(1e-4)));
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"]).unwrap();
    model
}

fn train(model: &mut Model, from: usize, to: usize) -> History {
    let (x, y) = data();
    let options = Fit::new().initial_epoch(from).epochs(to).batch_size(48).verbose(0);
    model.fit(&x, &y, options).unwrap()
}

fn bits(arrays: &[ArrayD<f32>]) -> Vec<Vec<u32>> {
    arrays.iter().map(|array| array.iter().map(|v| v.to_bits()).collect()).collect()
}

fn predictions(model: &Model) -> Vec<Vec<u32>> {
    bits(&[model.predict(&data().0, Predict::default()).unwrap()])
}

fn save_and_load(model: &Model) -> Model {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cornu");
    model.save(&path).unwrap();
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "no drafts are left: {files:?}");
    Model::load_with(&path, &known()).unwrap()
}

#[test]
fn everything_comes_back_to_the_last_bit() {
    let mut model = network(Adam::new(0.01).amsgrad(true).use_ema(true).exclude_from_weight_decay(["bias"]));
    train(&mut model, 0, 2);
    model.set_learning_rate(0.003).unwrap();
    let same = save_and_load(&model);
    assert_eq!(bits(&same.get_weights()), bits(&model.get_weights()));
    assert_eq!(predictions(&same), predictions(&model));
    assert_eq!(same.to_json().unwrap(), model.to_json().unwrap());
    assert_eq!(same.get_compile_config().unwrap(), model.get_compile_config().unwrap());
    assert_eq!(same.learning_rate().unwrap(), model.learning_rate().unwrap());
    assert_eq!(same.iterations().unwrap(), 10);
    assert_eq!((same.name(), same.seed()), ("net", 5));
    assert_eq!(same.summary().to_string(), model.summary().to_string());
    let trainable = |m: &Model| m.layers().iter().map(|l| l.trainable()).collect::<Vec<_>>();
    assert_eq!(trainable(&same), trainable(&model));
}

#[test]
fn training_goes_on_as_if_it_had_never_stopped() {
    type Make = fn() -> Sequential;
    let networks: [(&str, Make); 5] = [
        ("adam", || network("adam")),
        ("momentum", || network(Sgd::new(0.05).momentum(0.9).nesterov(true).global_clipnorm(0.5))),
        ("accumulation", || network(Adam::new(0.01).gradient_accumulation_steps(3))),
        ("nadam", || network(Nadam::new(0.01))),
        ("schedule", || network(Adam::new(ExponentialDecay::new(0.01, 7, 0.5)))),
    ];
    for (name, make) in networks {
        let mut whole = make();
        let all = train(&mut whole, 0, 4);
        for threads in [1, 2] {
            let (weights, last) = threads::with_num_threads(threads, || {
                let mut model = make();
                train(&mut model, 0, 2);
                let mut again = save_and_load(&model);
                let history = train(&mut again, 2, 4);
                (bits(&again.get_weights()), history)
            });
            assert_eq!(weights, bits(&whole.get_weights()), "{name}, {threads} threads");
            assert_eq!(last["loss"], all["loss"][2..], "{name}, {threads} threads");
        }
    }
}

#[test]
fn averages_and_the_learning_rate_go_on_too() {
    // fit puts the averages in the weights' place when it ends, so the comparison stops there too.
    let make = || network(Adam::new(0.01).use_ema(true).ema_momentum(0.9).weight_decay(0.01));
    let mut model = make();
    train(&mut model, 0, 2);
    model.set_learning_rate(0.002).unwrap();
    let mut again = save_and_load(&model);
    train(&mut model, 2, 4);
    train(&mut again, 2, 4);
    assert_eq!(bits(&again.get_weights()), bits(&model.get_weights()));
}

#[test]
fn what_was_frozen_after_compile_must_be_compiled_again_also_after_a_file() {
    let mut model = network("adam");
    train(&mut model, 0, 1);
    model.layer("hidden").unwrap().set_trainable(false);
    let again = save_and_load(&model);
    let (x, y) = data();
    for mut model in [model, again.into()] {
        let error = model.fit(&x, &y, Fit::new().verbose(0)).unwrap_err().to_string();
        assert!(error.contains("compile again"), "{error}");
        let before = model.layer("hidden").unwrap().weights()[0].value();
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"]).unwrap();
        train(&mut model, 1, 2);
        assert_eq!(model.layer("hidden").unwrap().weights()[0].value(), before);
    }
}

#[test]
fn models_come_back_at_every_stage() {
    let mut model = Sequential::new();
    model.add(Dense::new(3));
    let unbuilt = save_and_load(&model);
    assert!(!unbuilt.is_built() && unbuilt.learning_rate().is_err());
    model.build_for([4]).unwrap();
    assert_eq!(bits(&save_and_load(&model).get_weights()), bits(&model.get_weights()));
    model.compile("sgd", "mse", ()).unwrap();
    assert_eq!(save_and_load(&model).iterations().unwrap(), 0);

    let json = model.to_json().unwrap();
    let copy = Model::from_json(&json, &Registry::new()).unwrap();
    assert_eq!(copy.to_json().unwrap(), json);
    assert_ne!(bits(&copy.get_weights()), bits(&model.get_weights()), "new weights");
}

#[test]
fn weights_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.cornu");
    let mut model = network("adam");
    train(&mut model, 0, 1);
    model.save_weights(&path).unwrap();
    let mut other = network("sgd");
    assert_ne!(predictions(&other), predictions(&model));
    other.load_weights(&path).unwrap();
    assert_eq!(predictions(&other), predictions(&model));
    let error = Model::load(&path).unwrap_err().to_string();
    assert!(error.contains("weights alone") && error.contains("weights.cornu"), "{error}");

    // A whole model has weights too.
    model.save(&path).unwrap();
    network("sgd").load_weights(&path).unwrap();
    let mut wrong = Sequential::new();
    wrong.add(Input::new([8, 8, 1])).add(Conv2D::new(4, 3).name("first"));
    wrong.build().unwrap();
    let before = bits(&wrong.get_weights());
    let error = wrong.load_weights(&path).unwrap_err().to_string();
    assert!(error.contains("'conv2d/kernel'") && error.contains("'first/kernel'"), "{error}");
    assert_eq!(bits(&wrong.get_weights()), before);
    assert!(matches!(Sequential::new().load_weights(&path).unwrap_err().root(), Error::State(_)));
}

#[test]
fn classes_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cornu");
    let model = network("adam");
    model.save(&path).unwrap();
    let error = Model::load(&path).unwrap_err().to_string();
    assert!(error.contains("'Thin'") && error.contains("Registry::register"), "{error}");
    // The registry is known while the file is read, not afterwards.
    Sequential::load_with(&path, &known()).unwrap();
    assert!(Model::load(&path).is_err());
    let lean = Model::load_with(&path, Load::new().registry(known()).compile(false)).unwrap();
    assert!(lean.learning_rate().is_err());
    assert_eq!(predictions(&lean), predictions(&model));
}

#[test]
fn what_cannot_be_saved_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cornu");
    let mut model = Sequential::new();
    model.add(Input::new([3])).add(Dense::new(2));
    model.build().unwrap();
    model.save(&path).unwrap();
    let old = fs::read(&path).unwrap();
    model.add(Secret);
    model.build().unwrap();
    let error = model.save(&path).unwrap_err();
    assert!(matches!(error.root(), Error::NotSerializable(_)), "{error}");
    assert!(error.to_string().contains("layer 'secret' (Secret)"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), old);

    // A name that a file cannot take, and a folder that is not there.
    let taken = folder.path().join("taken.cornu");
    fs::create_dir(&taken).unwrap();
    model.pop();
    model.build().unwrap();
    for path in [&taken, &folder.path().join("nowhere/model.cornu")] {
        assert!(matches!(model.save(path).unwrap_err().root(), Error::Io { .. }));
    }
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    for name in ["model.onnx", "model"] {
        let error = model.save(folder.path().join(name)).unwrap_err().to_string();
        assert!(error.contains(".cornu"), "{error}");
    }
}

/// A small file with everything in it, and a way to load other bytes in its place.
fn small_file(folder: &Path) -> (Vec<u8>, impl Fn(&[u8]) -> Result<Model>) {
    let path = folder.join("model.cornu");
    let mut model = Sequential::new();
    model.add(Input::new([2])).add(Dense::new(1));
    model.compile(Adam::new(0.1), "mse", ["mae"]).unwrap();
    model.fit(&ndarray::array![[1.0, 2.0]], &ndarray::array![[1.0]], Fit::new().verbose(0)).unwrap();
    model.save(&path).unwrap();
    (fs::read(&path).unwrap(), move |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        Model::load(&path)
    })
}

#[track_caller]
fn refused(loaded: Result<Model>) -> String {
    let error = loaded.expect_err("a damaged file was loaded");
    assert!(matches!(error.root(), Error::Format(_)), "{error}");
    error.to_string()
}

#[test]
fn damaged_and_foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (file, load) = small_file(folder.path());
    load(&file).unwrap();
    for length in 0..file.len() {
        refused(load(&file[..length]));
    }
    // Every byte of the header and a sample of the rest, each bit in turn.
    for (n, i) in (0..28).chain((28..file.len()).step_by(7)).enumerate() {
        let mut flipped = file.clone();
        flipped[i] ^= 1 << (n % 8);
        refused(load(&flipped));
    }
    let with = |i: usize, bytes: &[u8]| {
        let mut file = file.clone();
        file[i..i + bytes.len()].copy_from_slice(bytes);
        file
    };
    assert!(refused(load(&with(8, &7u32.to_le_bytes()))).contains("version 7"));
    assert!(refused(load(&with(12, &9u32.to_le_bytes()))).contains("way 9"));
    assert!(refused(load(&with(16, &u64::MAX.to_le_bytes()))).contains("cut off"));
    assert!(refused(load(&[&file[..], b"x"].concat())).contains("goes on"));
    let foreign: [&[u8]; 4] = [b"\x89PNG\r\n\x1a\n0000000000000000000000000", b"", b"{\"class_name\": 1}", &[7; 999]];
    for foreign in foreign {
        assert!(refused(load(foreign)).contains("no model"));
    }
    assert!(matches!(Model::load(folder.path()).unwrap_err().root(), Error::Io { .. }));
    assert!(matches!(Model::load(folder.path().join("none")).unwrap_err().root(), Error::Io { .. }));
}

/// The header that belongs to a container.
fn sealed(body: &[u8]) -> Vec<u8> {
    let (length, checksum) = ((body.len() as u64).to_le_bytes(), crc32fast::hash(body).to_le_bytes());
    [b"\x89cornu\r\n".as_slice(), &1u32.to_le_bytes(), &1u32.to_le_bytes(), &length, &checksum, body].concat()
}

#[test]
fn files_that_lie_with_a_right_checksum_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let (file, load) = small_file(folder.path());
    let body = &file[28..];
    assert_eq!(sealed(body), file);
    // Cut short, with bytes after the end, with lengths of nearly 2^64 and 2^40 (bincode's marks for
    // numbers of 8 bytes) at every place: nothing of that size is ever allocated.
    for length in (0..body.len()).step_by(3) {
        refused(load(&sealed(&body[..length])));
    }
    assert!(refused(load(&sealed(&[body, b"x"].concat()))).contains("1 bytes follow"));
    let outcome = |loaded: Result<Model>| assert!(loaded.is_ok() || !loaded.unwrap_err().to_string().is_empty());
    for i in (0..body.len()).step_by(5) {
        for lie in [u64::MAX, 1 << 40, 1 << 33] {
            outcome(load(&sealed(&[&body[..i], &[253], &lie.to_le_bytes(), &body[i + 1..]].concat())));
        }
    }
    // Any other byte at any place is an error or another model, never a panic.
    let mut random = 1u32;
    for _ in 0..1000 {
        let mut body = body.to_vec();
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let i = (random >> 8) as usize % body.len();
        body[i] = random as u8;
        outcome(load(&sealed(&body)));
    }
}

#[test]
fn an_architecture_cannot_ask_for_more_memory_than_the_file_fills() {
    let folder = tempfile::tempdir().unwrap();
    let (file, load) = small_file(folder.path());
    let replace = |bytes: &mut Vec<u8>, old: &str, new: &str| {
        let at = bytes.windows(old.len()).position(|w| w == old.as_bytes()).unwrap();
        bytes.splice(at..at + old.len(), new.bytes());
    };
    // The name gives its letters to the number, so that the text keeps its length.
    let mut lie = file[28..].to_vec();
    replace(&mut lie, "\"units\":1", "\"units\":1111111111");
    replace(&mut lie, "\"name\":\"sequential\"", "\"name\":\"s\"");
    let error = refused(load(&sealed(&lie)));
    assert!(error.contains("no values for weight 'dense/kernel'"), "{error}");
    // JSON as deep as a well is refused by its parser.
    let deep = "[".repeat(100_000);
    assert!(matches!(Model::from_json(&deep, &Registry::new()).unwrap_err().root(), Error::Format(_)));
}

#[test]
fn json_that_describes_no_model_is_explained() {
    let error = |text: &str| Model::from_json(text, &Registry::new()).unwrap_err().to_string();
    assert!(error("{").contains("not JSON"));
    assert!(error("{}").contains("class_name"));
    assert!(error(r#"{"class_name": "Functional", "config": {}}"#).contains("list of \"layers\""));
    assert!(error(r#"{"class_name": "MyModel", "config": {}}"#).contains("'MyModel'"));
    let layer = |layer: &str| error(&format!(r#"{{"class_name": "Sequential", "config": {{"layers": [{layer}]}}}}"#));
    let unknown = layer(r#"{"class_name": "Dens", "config": {"name": "d"}}"#);
    assert!(unknown.contains("layer 'd' (Dens)") && unknown.contains("'Dense'"), "{unknown}");
    assert!(unknown.contains("Registry::register"), "{unknown}");
    let misfit = layer(r#"{"class_name": "Dense", "config": {"units": "many"}}"#);
    assert!(misfit.contains("Dense") && misfit.contains("units") || misfit.contains("usize"), "{misfit}");
    let quantized = layer(
        r#"{"class_name": "Dense", "config": {"units": 1, "dtype": {"class_name": "QuantizedDTypePolicy", "config": {}}}}"#,
    );
    assert!(quantized.contains("quantization"), "{quantized}");
}

/// Files of Keras.
#[cfg(feature = "keras")]
mod keras {
    use super::*;
    use std::io::Write;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    fn network(optimizer: impl Into<cornu::Shared<dyn cornu::optimizers::Optimizer>>) -> Sequential {
        let mut model = Sequential::new().with_name("net").with_seed(5);
        model
            .add(Input::new([8, 8, 1]))
            .add(Conv2D::new(4, 3).padding(Padding::Same).activation("relu").kernel_regularizer(L2::new(1e-3)))
            .add(BatchNormalization::new())
            .add(LocalResponseNormalization::new())
            .add(MaxPooling2D::new(2))
            .add(Flatten::new())
            .add(Dense::new(16).activation("leaky_relu").kernel_constraint("max_norm").name("hidden"))
            .add(Dense::new(16).trainable(false))
            .add(Dense::new(10).activation("softmax").activity_regularizer(L2::new(1e-4)));
        model.compile(optimizer, "sparse_categorical_crossentropy", ["acc"]).unwrap();
        model
    }

    fn train(model: &mut Model) {
        // The seed does not travel, so nothing random may happen.
        let (x, y) = data();
        model.fit(&x, &y, Fit::new().epochs(2).batch_size(48).shuffle(false).verbose(0)).unwrap();
    }

    #[test]
    fn archives_carry_weights_settings_and_the_state_of_training() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.keras");
        type Make = fn() -> Sequential;
        let networks: [(&str, Make); 6] = [
            ("sgd", || network("sgd")),
            ("momentum", || network(Sgd::new(0.05).momentum(0.9))),
            ("adam", || network(Adam::new(0.01).amsgrad(true).use_ema(true))),
            ("accumulation", || network(Adam::new(0.01).gradient_accumulation_steps(3))),
            ("nadam", || network(Nadam::new(0.01))),
            ("schedule", || network(RMSprop::new(ExponentialDecay::new(0.01, 7, 0.5)).centered(true))),
        ];
        for (name, make) in networks {
            let mut model = make();
            model.save(&path).unwrap();
            assert_eq!(predictions(&Model::load(&path).unwrap()), predictions(&model), "{name}, not trained");
            train(&mut model);
            model.save(&path).unwrap();
            let mut again = Model::load(&path).unwrap();
            assert_eq!(bits(&again.get_weights()), bits(&model.get_weights()), "{name}");
            assert_eq!(predictions(&again), predictions(&model), "{name}");
            assert_eq!(again.to_json().unwrap(), model.to_json().unwrap(), "{name}");
            assert_eq!(again.get_compile_config().unwrap(), model.get_compile_config().unwrap(), "{name}");
            assert_eq!(again.iterations().unwrap(), model.iterations().unwrap(), "{name}");
            train(&mut again);
            train(&mut model);
            assert_eq!(bits(&again.get_weights()), bits(&model.get_weights()), "{name}, trained on");
        }
        // The same model gives the same file.
        let model = network("adam");
        model.save(&path).unwrap();
        let first = fs::read(&path).unwrap();
        model.save(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), first);
    }

    #[test]
    fn weights_go_by_class_and_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.weights.h5");
        let model = network("adam");
        model.save_weights(&path).unwrap();
        let mut other = network("sgd").with_seed(77);
        train(&mut other);
        other.load_weights(&path).unwrap();
        assert_eq!(bits(&other.get_weights()), bits(&model.get_weights()));
        // Out of an archive as well.
        let archive = folder.path().join("net.keras");
        model.save(&archive).unwrap();
        train(&mut other);
        other.load_weights(&archive).unwrap();
        assert_eq!(bits(&other.get_weights()), bits(&model.get_weights()));

        let mut wrong = Sequential::new();
        wrong.add(Input::new([3])).add(Dense::new(2)).add(Dense::new(2).use_bias(false));
        wrong.build().unwrap();
        let before = bits(&wrong.get_weights());
        let error = wrong.load_weights(&path).unwrap_err().to_string();
        assert!(error.contains("layer 'dense_1' (Dense)") && error.contains("layers/dense_1/vars"), "{error}");
        assert_eq!(bits(&wrong.get_weights()), before);

        let error = |result: Result<()>| result.unwrap_err().to_string();
        assert!(error(model.save(&path)).contains(".keras"));
        assert!(error(model.save_weights(&archive)).contains(".weights.h5"));
        assert!(error(Model::load(&path).map(|_| ())).contains("weights alone"));
    }

    #[test]
    fn what_keras_has_no_class_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.keras");
        let config = network("adam").get_compile_config().unwrap().unwrap();
        assert_eq!(config["metrics"], serde_json::json!(["acc"]));
        let json = network("adam").to_json().unwrap();
        assert!(json.contains(r#""registered_name":"cornu>LocalResponseNormalization""#), "{json}");
        // Keras refuses arguments that it does not know.
        network(Adam::new(0.1).exclude_from_weight_decay(["bias"])).save(&path).unwrap();
        let same = Model::load(&path).unwrap().get_compile_config().unwrap().unwrap();
        assert!(!same["optimizer"].to_string().contains("exclude"));
    }

    /// The outcome of a file that someone damaged: any but a panic.
    fn outcome<T>(loaded: Result<T>) {
        assert!(loaded.is_ok() || !loaded.err().unwrap().to_string().is_empty());
    }

    #[test]
    fn damaged_archives_and_weights_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut model = Sequential::new();
        model.add(Input::new([2])).add(Dense::new(37));
        model.compile(Adam::new(0.1), "mse", ["mae"]).unwrap();
        let (path, weights) = (folder.path().join("model.keras"), folder.path().join("model.weights.h5"));
        model.save(&path).unwrap();
        model.save_weights(&weights).unwrap();
        let good = fs::read(&path).unwrap();
        for length in (0..good.len()).step_by(13) {
            fs::write(&path, &good[..length]).unwrap();
            refused(Model::load(&path));
        }
        for i in (0..good.len()).step_by(5) {
            let mut bad = good.clone();
            bad[i] ^= 1 << (i % 8);
            fs::write(&path, bad).unwrap();
            outcome(Model::load(&path));
        }
        // No checksum guards an HDF5 file, so most changes of values pass; none may do harm.
        let good = fs::read(&weights).unwrap();
        for i in 0..good.len() {
            for byte in [good[i] ^ (1 << (i % 8)), 0xff] {
                let mut bad = good.clone();
                bad[i] = byte;
                fs::write(&weights, bad).unwrap();
                outcome(model.load_weights(&weights));
            }
        }
        // A size that is a lie.
        let mut lie = good.clone();
        let dims: Vec<usize> = (0..lie.len() - 8).filter(|&i| lie[i..i + 8] == 37u64.to_le_bytes()).collect();
        assert!(!dims.is_empty());
        dims.iter().for_each(|&i| lie[i..i + 8].copy_from_slice(&(1u64 << 40).to_le_bytes()));
        fs::write(&weights, lie).unwrap();
        assert!(matches!(model.load_weights(&weights).unwrap_err().root(), Error::Format(_)));
    }

    #[test]
    fn archives_that_are_none_of_a_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.keras");
        let write = |members: &[(&str, &[u8])]| {
            let mut archive = ZipWriter::new(fs::File::create(&path).unwrap());
            for (name, bytes) in members {
                archive.start_file(*name, SimpleFileOptions::default()).unwrap();
                archive.write_all(bytes).unwrap();
            }
            archive.finish().unwrap();
            Model::load(&path)
        };
        let load = |members: &[(&str, &[u8])]| refused(write(members));
        assert!(load(&[("readme.txt", b"hello")]).contains("metadata.json"));
        assert!(load(&[("metadata.json", b"{")]).contains("not JSON"));
        let old = br#"{"keras_version": "2.15.0"}"#;
        assert!(load(&[("metadata.json", old)]).contains("Keras 2.15.0"));
        let graph = br#"{"class_name": "Functional", "config": {}}"#;
        let members: [(&str, &[u8]); 3] = [("metadata.json", b"{}"), ("config.json", graph), ("model.weights.h5", b"")];
        assert!(load(&members).contains("list of \"layers\""));
        // No objects where there should be some, and more than can be.
        let layer = |class: &str, config: &str| {
            format!(
                r#"{{"class_name": "Sequential", "config": {{"layers": [
                    {{"class_name": "InputLayer", "config": {{"batch_shape": [null, 8], "name": "in"}}}},
                    {{"class_name": "{class}", "config": {config}}}
                ]}}}}"#
            )
        };
        let configs = [
            ("[]".to_owned(), "class_name"),
            ("3".to_owned(), "class_name"),
            ("\"x\"".to_owned(), "class_name"),
            ("null".to_owned(), "class_name"),
            (r#"{"config": "x"}"#.to_owned(), "class_name"),
            (r#"{"class_name": "Functional", "config": "x"}"#.to_owned(), "no \"config\""),
            (r#"{"class_name": "Functional", "config": {"layers": [3, "x", [], null]}}"#.to_owned(), ""),
            (r#"{"class_name": "Sequential", "config": {"layers": [3, "x", [], null]}}"#.to_owned(), ""),
            (layer("Functional", "[1]"), ""),
            (layer("Functional", r#"{"layers": {"a": 1}}"#), ""),
            (layer("IntegerLookup", "\"x\""), ""),
            (layer("IntegerLookup", "[1]"), ""),
            (layer("IntegerLookup", r#"{"num_oov_indices": 1099511627776}"#), "num_oov_indices is 1099511627776"),
            (layer("STFTSpectrogram", r#"{"frame_length": 1099511627776}"#), "frame_length is 1099511627776"),
            (layer("MelSpectrogram", r#"{"num_mel_bins": 1099511627776}"#), "num_mel_bins is 1099511627776"),
        ];
        for (config, told) in &configs {
            let members: [(&str, &[u8]); 4] = [
                ("metadata.json", b"{}"),
                ("config.json", config.as_bytes()),
                ("model.weights.h5", b""),
                ("assets/layers/integer_lookup/vocabulary.txt", b"1"),
            ];
            let error = write(&members).unwrap_err().to_string();
            assert!(error.contains(told), "{config}: {error}");
        }
        // 60 MB of nothing in a small file.
        assert!(load(&[("metadata.json", &vec![0; 60 << 20])]).contains("unpacks to more"));
    }
}

#[cfg(feature = "keras")]
#[test]
fn what_python_must_know_of_a_model_is_written() {
    // A stateful layer needs the batch size, in its own build configuration too.
    let mut model = Sequential::new();
    model.add(Input::new([4, 2]).batch_size(3)).add(LSTM::new(3).stateful(true));
    model.build().unwrap();
    let config: serde_json::Value = serde_json::from_str(&model.to_json().unwrap()).unwrap();
    let layers = &config["config"]["layers"];
    assert_eq!(layers[0]["config"]["batch_shape"], serde_json::json!([3, 4, 2]));
    assert_eq!(layers[1]["build_config"]["input_shape"], serde_json::json!([3, 4, 2]));
    assert_eq!(config["config"]["build_input_shape"], serde_json::json!([3, 4, 2]));
    // A convolution with memory has no units, dropout of channels is not trainable, and a model inside is Keras' own.
    let mut inner = Sequential::new().with_name("inner");
    inner.add(Input::new([2, 4, 4, 1])).add(ConvLSTM2D::new(1, 2));
    inner.build().unwrap();
    let mut model = Sequential::new();
    model.add(Input::new([2, 4, 4, 1])).add(inner.as_layer()).add(SpatialDropout2D::new(0.5));
    model.build().unwrap();
    let config: serde_json::Value = serde_json::from_str(&model.to_json().unwrap()).unwrap();
    let layers = &config["config"]["layers"];
    assert_eq!((&layers[1]["module"], &layers[1]["registered_name"]), (&"keras".into(), &serde_json::Value::Null));
    assert!(layers[1]["config"]["layers"][1]["config"].get("units").is_none());
    assert!(layers[2]["config"].get("trainable").is_none());
}

/// ConvLSTM with the channels first, over lines and over volumes, as Keras 3.15 computes them.
#[cfg(feature = "keras")]
#[test]
fn convolutions_that_remember_come_from_keras() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let model = Model::load(folder.join("conv_lstm.keras")).unwrap();
    let want = std::fs::read_to_string(folder.join("conv_lstm.json")).unwrap();
    let want: Vec<serde_json::Value> = serde_json::from_str(&want).unwrap();
    let shapes: [&[usize]; 3] = [&[2, 3, 2, 4, 5], &[2, 2, 3, 4, 3, 2], &[2, 3, 2, 6]];
    let x: Vec<_> = shapes
        .iter()
        .enumerate()
        .map(|(n, shape)| {
            let value = |i: usize| (i as f64 * 1.7 + n as f64).sin() as f32;
            ndarray::ArrayD::from_shape_vec(shape.to_vec(), (0..shape.iter().product()).map(value).collect()).unwrap()
        })
        .collect();
    let predict = |model: &Model| {
        let rows: Vec<&dyn cornu::data::Rows> = x.iter().map(|x| x as &dyn cornu::data::Rows).collect();
        model.predict_all(rows, Predict::default()).unwrap()
    };
    let got = predict(&model);
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(&want) {
        let shape: Vec<usize> = serde_json::from_value(want["shape"].clone()).unwrap();
        assert_eq!(got.shape(), shape);
        let want: Vec<f32> = serde_json::from_value(want["values"].clone()).unwrap();
        got.iter().zip(want).for_each(|(got, want)| assert!((got - want).abs() < 1e-5, "{got} {want}"));
    }
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("again.keras");
    model.save(&path).unwrap();
    let again = Model::load(&path).unwrap();
    assert_eq!(again.get_weights(), model.get_weights());
    assert_eq!(predict(&again), got);
}
