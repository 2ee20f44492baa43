//! Weights from files that fit a model in part.

#![cfg(feature = "keras")]

use cornu::formats::{LoadWeights, Skipped};
use cornu::prelude::*;
use ndarray::ArrayD;
use std::path::Path;

fn network(hidden: usize, names: [&str; 2], weights: f32) -> Sequential {
    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([3]))
        .add(Dense::new(hidden).name(names[0]))
        .add(BatchNormalization::new().name("norm"))
        .add(Dense::new(2).name(names[1]));
    model.build().unwrap();
    fill(&mut model, weights);
    model
}

fn fill(model: &mut Model, value: f32) {
    let values: Vec<ArrayD<f32>> = model.get_weights().iter().map(|w| w.mapv(|_| value)).collect();
    model.set_weights(&values).unwrap();
}

/// The first value of each weight.
fn values(model: &Model) -> Vec<f32> {
    model.get_weights().iter().filter_map(|w| w.iter().next().copied()).collect()
}

fn places(skipped: &[Skipped]) -> Vec<&str> {
    skipped.iter().map(|skipped| skipped.place.as_str()).collect()
}

#[test]
fn what_has_another_shape_can_stay() {
    let folder = tempfile::tempdir().unwrap();
    let skip = LoadWeights::new().skip_mismatch(true);
    let saved = network(4, ["hidden", "top"], 5.0);
    saved.save(folder.path().join("a.keras")).unwrap();
    let mut files = vec!["a.cornu", "a.weights.h5", "a.keras"];
    if cfg!(feature = "safetensors") {
        files.push("a.safetensors");
    }
    for name in files {
        let path = folder.path().join(name);
        if name != "a.keras" {
            saved.save_weights(&path).unwrap();
        }
        // The same shapes: nothing is left.
        let mut same = network(4, ["hidden", "top"], 0.0);
        assert_eq!(same.load_weights_with(&path, skip.clone()).unwrap(), []);
        assert_eq!(values(&same), [5.0; 8]);
        // Only the last bias has its shape.
        let mut wide = network(6, ["hidden", "top"], 0.0);
        let error = wide.load_weights(&path).unwrap_err().to_string();
        assert!(error.contains("'hidden/kernel' has shape [3, 6], got a value of shape [3, 4]"), "{name}: {error}");
        assert_eq!(values(&wide), [0.0; 8], "{name}");
        let skipped = wide.load_weights_with(&path, skip.clone()).unwrap();
        let norm = ["gamma", "beta", "moving_mean", "moving_variance"].map(|weight| format!("norm/{weight}"));
        let kept = [&["hidden/kernel", "hidden/bias"], &norm.each_ref().map(String::as_str)[..], &["top/kernel"]];
        assert_eq!(places(&skipped), kept.concat(), "{name}");
        assert_eq!(values(&wide), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0], "{name}");
        assert!(skipped[0].to_string().contains("hidden/kernel: it has shape [3, 6]"));
        // A layer without a bias has one weight less.
        let mut fewer = Sequential::new();
        fewer
            .add(Input::new([3]))
            .add(Dense::new(4).use_bias(false).name("hidden"))
            .add(BatchNormalization::new().name("norm"))
            .add(Dense::new(2).name("top"));
        fewer.build().unwrap();
        fill(&mut fewer, 0.0);
        assert!(fewer.load_weights(&path).is_err());
        match name {
            "a.cornu" | "a.safetensors" => {
                let error = fewer.load_weights_with(&path, skip.clone()).unwrap_err().to_string();
                assert!(error.contains("missing are none, unexpected are 'hidden/bias'"), "{error}");
                let skipped = fewer.load_weights_with(&path, skip.clone().by_name(true)).unwrap();
                assert_eq!(places(&skipped), ["hidden/bias"]);
                assert_eq!(values(&fewer), [5.0; 7]);
            }
            _ => {
                let skipped = fewer.load_weights_with(&path, skip.clone()).unwrap();
                assert_eq!(places(&skipped), ["layer 'hidden' (Dense)"]);
                assert_eq!(values(&fewer), [0.0, 5.0, 5.0, 5.0, 5.0, 5.0, 5.0]);
                // Keras refuses it as well: the file does not have the names.
                let error = fewer.load_weights_with(&path, LoadWeights::new().by_name(true)).unwrap_err();
                assert!(error.to_string().contains("by_name"), "{error}");
            }
        }
    }
}

#[test]
fn names_decide_in_native_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.cornu");
    network(4, ["hidden", "top"], 5.0).save_weights(&path).unwrap();
    let mut other = network(4, ["hidden", "new"], 0.0);
    let error = other.load_weights(&path).unwrap_err().to_string();
    assert!(error.contains("missing are 'new/kernel', 'new/bias', unexpected are 'top/bias', 'top/kernel'"), "{error}");
    let skipped = other.load_weights_with(&path, LoadWeights::new().by_name(true)).unwrap();
    assert_eq!(places(&skipped), ["new/kernel", "new/bias", "top/bias", "top/kernel"]);
    assert_eq!(values(&other), [5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 0.0, 0.0]);
}

/// As in Keras: layers by their names, whatever their order is.
#[test]
fn names_decide_in_legacy_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance/file_legacy_h5");
    let path = folder.join("legacy_weights.h5");
    let whole = Model::load(folder.join("model.h5")).unwrap();
    let dense = whole.layers().into_iter().find(|layer| layer.class_name() == "Dense").unwrap();
    let norm = whole.layers().into_iter().find(|layer| layer.class_name() == "BatchNormalization").unwrap();
    let (inputs, units) = (dense.weights()[0].shape()[0], dense.weights()[0].shape()[1]);
    let mut model = Sequential::new();
    model
        .add(Input::new([inputs]))
        .add(Dense::new(units).name("dense"))
        .add(Dense::new(5).name("new"))
        .add(BatchNormalization::new().name("batch_normalization"));
    model.build().unwrap();
    fill(&mut model, 7.0);
    assert!(model.load_weights(&path).is_err());
    let by_name = LoadWeights::new().by_name(true);
    let channels = norm.weights()[0].shape()[0];
    assert_ne!(channels, 5);
    let error = model.load_weights_with(&path, by_name.clone()).unwrap_err().to_string();
    assert!(error.contains(&format!("got a value of shape [{channels}]")), "{error}");
    assert_eq!(values(&model), [7.0; 8]);
    let skipped = model.load_weights_with(&path, by_name.skip_mismatch(true)).unwrap();
    assert!(
        skipped.contains(&Skipped { place: "new".to_owned(), reason: "the file has no layer of this name".to_owned() })
    );
    assert!(skipped.iter().any(|skipped| skipped.reason == "the model has no layer of this name"));
    assert_eq!(skipped.iter().filter(|skipped| skipped.reason.contains("has shape")).count(), 4);
    assert_eq!(
        model.get_weights()[..2],
        dense.weights().iter().map(|w| w.value().into_array()).collect::<Vec<_>>()[..]
    );
    assert_eq!(values(&model)[2..], [7.0; 6]);
}

/// One error tells all that does not fit: shapes, what is missing and what is unexpected.
#[test]
fn all_that_does_not_fit_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let saved = network(4, ["hidden", "top"], 5.0);
    let mut other = Sequential::new();
    other
        .add(Input::new([3]))
        .add(Dense::new(6).use_bias(false).name("hidden"))
        .add(BatchNormalization::new().name("norm"))
        .add(Dense::new(2).name("top"))
        .add(PReLU::new().name("last"));
    other.build().unwrap();
    fill(&mut other, 1.0);
    let path = folder.path().join("a.cornu");
    saved.save_weights(&path).unwrap();
    let error = other.load_weights(&path).unwrap_err().to_string();
    for told in [
        "weight 'hidden/kernel' has shape [3, 6], got a value of shape [3, 4]",
        "weight 'top/kernel' has shape [6, 2], got a value of shape [4, 2]",
        "missing are 'last/alpha', unexpected are 'hidden/bias'",
    ] {
        assert!(error.contains(told), "{error}");
    }
    for name in ["a.weights.h5", "a.keras"] {
        let path = folder.path().join(name);
        match name {
            "a.keras" => saved.save(&path).unwrap(),
            _ => saved.save_weights(&path).unwrap(),
        }
        let error = other.load_weights(&path).unwrap_err().to_string();
        for told in [
            "layer 'hidden' (Dense): it has 1 weights, of shapes [[3, 6]], but the group 'layers/dense/vars' of the file \
             holds 2, of shapes [[3, 4], [4]]",
            "weight 'top/kernel' has shape [6, 2], got a value of shape [4, 2]",
            "missing are 'last/alpha (layers/p_re_lu/vars/0)', unexpected are 'layers/dense/vars/1'",
        ] {
            assert!(error.contains(told), "{name}: {error}");
        }
    }
    assert_eq!(values(&other), [1.0; 8]);
}

#[test]
fn layers_of_legacy_files_are_told_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut model = Sequential::new();
    model.add(Input::new([6])).add(Dense::new(4).name("other")).add(Dense::new(2).name("dense_1")).add(PReLU::new());
    model.build().unwrap();
    let error = model.load_weights(folder.join("spectral_normalization.h5")).unwrap_err().to_string();
    assert!(error.contains("the model has 3 layers with weights, the file 2; missing are 'other', "), "{error}");
    assert!(error.contains("unexpected are 'spectral_normalization'"), "{error}");
    let mut model = Sequential::new();
    model.add(Input::new([6])).add(Dense::new(4).name("other")).add(Dense::new(2).name("dense_1"));
    model.build().unwrap();
    let error = model.load_weights(folder.join("spectral_normalization.h5")).unwrap_err().to_string();
    assert!(
        error.contains("layer 'other' (Dense): it has 2 weights, of shapes [[6, 4], [4]], but layer")
            && error.contains("unexpected are 'sequential/spectral_normalization/vector_u'"),
        "{error}"
    );
}

/// A file that is not there is named once.
#[test]
fn absent_files_are_named_once() {
    let path = Path::new("no/such.keras");
    for error in [
        Model::load(path).unwrap_err(),
        network(2, ["a", "b"], 0.0).load_weights(path).unwrap_err(),
        cornu::formats::inspect(path).unwrap_err(),
        cornu::data::npy::read(path).unwrap_err(),
    ] {
        let error = error.to_string();
        assert_eq!(error.matches("such.keras").count(), 1, "{error}");
        assert!(error.starts_with("file 'no/such.keras': "), "{error}");
    }
}

/// Keras 3.15 keeps the kernel of a wrapped layer once in such files.
#[test]
fn legacy_files_of_spectral_normalization() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spectral_normalization.h5");
    let model = Model::load(path).unwrap();
    let x = ArrayD::from_shape_vec(vec![3, 6], (0..18).map(|i| i as f32 / 10.0).collect()).unwrap();
    let y = model.predict(&x, Predict::default()).unwrap();
    let want = [-0.09112397, -0.71609986, -0.19709834, -0.9850906, -0.39678752, -1.0660203];
    y.iter().zip(want).for_each(|(y, want)| assert!((y - want).abs() < 1e-6, "{y} {want}"));
}

/// The state of training of a LossScaleOptimizer: files of Keras 3.15.1, and what Keras (PyTorch) made of them after.
#[test]
fn loss_scale_optimizers() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let x = ArrayD::from_shape_fn(vec![8, 3], |at| ((at[0] * 7 + at[1] * 3) % 11) as f32 / 5.0 - 1.0);
    let y = ArrayD::from_shape_fn(vec![8, 1], |at| (at[0] * 5 % 7) as f32 / 3.0 - 1.0);
    let fit = |epochs| Fit::new().epochs(epochs).batch_size(4).shuffle(false).verbose(0);
    let folder = tempfile::tempdir().unwrap();

    let mut model = Model::load(fixtures.join("loss_scale.keras")).unwrap();
    let losses = model.fit(&x, &y, fit(3)).unwrap()["loss"].to_vec();
    for (loss, want) in losses.iter().zip([0.6798171997070312, 0.651386022567749, 0.6270291209220886]) {
        assert!((loss - want).abs() < 1e-5 * want, "{loss} {want}");
    }
    let predictions = model.predict(&x, Predict::default()).unwrap();
    let want = [-0.11321131, -0.005060002, -0.5984106, -0.33175445, 0.1842702, -0.4810045, -0.1800052, 0.33196986];
    predictions.iter().zip(want).for_each(|(y, want)| assert!((y - want).abs() < 3e-6, "{y} {want}"));

    // Through files, and on: the same as without.
    let mut copies = Vec::new();
    for name in ["copy.keras", "copy.cornu"] {
        let path = folder.path().join(name);
        model.save(&path).unwrap();
        copies.push(Model::load(&path).unwrap());
    }
    assert_eq!(model.get_compile_config().unwrap(), copies[0].get_compile_config().unwrap());
    let config = model.get_compile_config().unwrap().unwrap();
    assert_eq!(config["optimizer"]["config"]["inner_optimizer"]["config"]["learning_rate"], 0.009999999776482582);
    model.fit(&x, &y, fit(2)).unwrap();
    for copy in &mut copies {
        copy.fit(&x, &y, fit(2)).unwrap();
        assert_eq!(copy.get_weights(), model.get_weights());
        assert_eq!(copy.iterations().unwrap(), 16);
    }

    // Keras puts one around the optimizer of a model in half precision; its settings do not say so.
    let mut model = Model::load(fixtures.join("loss_scale_mixed.keras")).unwrap();
    assert_eq!(model.iterations().unwrap(), 4);
    let losses = model.fit(&x, &y, fit(2)).unwrap()["loss"].to_vec();
    for (loss, want) in losses.iter().zip([1.0192683935165405, 0.9930093288421631]) {
        assert!((loss - want).abs() < 2e-3, "{loss} {want}: as far as half precision goes");
    }
    let config = model.get_compile_config().unwrap().unwrap();
    assert_eq!(config["optimizer"]["class_name"], "LossScaleOptimizer");
}

/// Keras 3.15.1 keeps vocabularies that came from data in members of their own, those of a model in a model as well.
#[test]
fn vocabularies_come_with_files() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lookups.keras");
    let model = Model::load(path).unwrap();
    let x = ndarray::array![[5, 7, -12, 3], [0, 12345, 3, 1234]];
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.keras");
    model.save(&copy).unwrap();
    for model in [&model, &Model::load(copy).unwrap()] {
        let places = model.predict_all(&x, Predict::default()).unwrap();
        let want: [&[f32]; 4] = [
            &[3., 1., 0., 2., 0., 0., 2., 0.],
            &[2., 5., 2., 0., 2., 5., 0., 5.],
            &[2., 0., 0., 1., 0., 0., 1., 0.],
            &[3., 0., 0., 1., 1., 1., 0., 1.],
        ];
        for (places, want) in places.iter().zip(want) {
            assert_eq!(places.iter().copied().collect::<Vec<_>>(), want);
        }
    }
}
