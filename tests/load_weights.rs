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
