//! Models, training runs and files of Keras 3.15.1, against the numbers that Keras gave.
//!
//! The cases stand in the folder that the environment variable `CORNU_CONFORMANCE` names, or else in
//! `tests/fixtures/conformance`, a few of them. `index.json` there says what a case is and when it
//! passes.

#![cfg(feature = "keras")]

mod common;

use common::Npy;
use cornu::data::Rows;
use cornu::prelude::*;
use cornu::training::Inputs;
use ndarray::ArrayD;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance");
    std::env::var_os("CORNU_CONFORMANCE").map_or_else(own, PathBuf::from)
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn keras_agrees() {
    let folder = folder();
    let index = json(&folder.join("index.json"));
    let cases = index["cases"].as_array().unwrap();
    let name = |case: &Value| case["case"].as_str().unwrap().to_owned();
    let run = |case| {
        let result = std::panic::catch_unwind(|| check(&folder.join(name(case)), case));
        let why = result.unwrap_or_else(|_| Err("it panicked".into())).err()?;
        Some(format!("{}: {why}", name(case)))
    };
    let failed: Vec<String> = cases.iter().filter_map(run).collect();
    failed.iter().for_each(|line| println!("FAILED {line}"));
    println!("{} passed, {} failed", cases.len() - failed.len(), failed.len());
    assert!(!cases.is_empty(), "there are no cases in {}", folder.display());
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
}

/// An error's text, to be shown with the case.
fn text(error: cornu::Error) -> String {
    error.to_string()
}

fn check(folder: &Path, case: &Value) -> Result<(), String> {
    let file = |name: &str| folder.join(name);
    let mut model = Model::load(file("model.keras")).map_err(|error| format!("load: {error}"))?;
    let x = numbered(folder, "x");
    let x: Vec<&dyn Rows> = x.iter().map(Npy::rows).collect();
    let predict = |model: &Model, want: &str, tolerance: &Value| {
        let got = model.predict_all(Inputs::from(x.clone()), Predict::default()).map_err(text)?;
        let wanted = numbered(folder, want);
        if got.len() != wanted.len() {
            return Err(format!("{} outputs, {} wanted", got.len(), wanted.len()));
        }
        got.iter()
            .zip(&wanted)
            .try_for_each(|(got, wanted)| compare(&format!("predict against {want}"), got, &wanted.f32(), tolerance))
    };
    predict(&model, "predict", &case["predict_tolerance"])?;

    for name in case["files"].as_array().unwrap().iter().filter_map(Value::as_str) {
        let at = |error: cornu::Error| format!("{name}: {error}");
        let other = match name {
            "model.h5" => Model::load(file(name)).map_err(at)?,
            "model.weights.h5" | "legacy_weights.h5" => {
                let mut other = Model::from_json(&model.to_json().map_err(at)?, &cornu::Registry::new()).map_err(at)?;
                other.load_weights(file(name)).map_err(at)?;
                other
            }
            _ => continue,
        };
        predict(&other, "predict", &case["predict_tolerance"]).map_err(|why| format!("{name}: {why}"))?;
    }
    if !file("fit.json").exists() {
        return Ok(());
    }

    let tolerance = &case["fit_tolerance"];
    let fit = json(&file("fit.json"));
    let y = numbered(folder, "y");
    let y: Vec<&dyn Rows> = y.iter().map(Npy::rows).collect();
    let weights = fit["sample_weight"].as_str().map(|name| Npy::read(&file(name)));
    let batch_size = fit["batch_size"].as_u64().unwrap() as usize;
    let mut options = Evaluate::new().batch_size(batch_size);
    if let Some(weights) = &weights {
        options = options.sample_weight(Inputs::from(vec![weights.rows()]));
    }
    let scores = model.evaluate(Inputs::from(x.clone()), Inputs::from(y.clone()), options).map_err(text)?;
    compare_logs(
        "evaluate",
        |name| scores.logs().get_list(name).map(<[f64]>::to_vec),
        &fit["evaluate_before"],
        tolerance,
    )?;

    let mut options = Fit::new()
        .epochs(fit["epochs"].as_u64().unwrap() as usize)
        .batch_size(batch_size)
        .shuffle(fit["shuffle"].as_bool().unwrap())
        .validation_split(fit["validation_split"].as_f64().unwrap())
        .verbose(0);
    if let Some(weights) = &weights {
        options = options.sample_weight(Inputs::from(vec![weights.rows()]));
    }
    if let Some(weights) = fit["class_weight"].as_object() {
        options = options.class_weight(weights.iter().map(|(class, w)| (class.parse().unwrap(), w.as_f64().unwrap())));
    }
    let history = model.fit(Inputs::from(x.clone()), Inputs::from(y.clone()), options).map_err(text)?;
    for (name, epochs) in fit["history"].as_object().unwrap() {
        for (epoch, want) in epochs.as_array().unwrap().iter().enumerate() {
            let got = |name: &str| history.get_lists(name).and_then(|values| values.get(epoch)).cloned();
            let want = Value::Object(Map::from_iter([(name.clone(), want.clone())]));
            compare_logs(&format!("epoch {epoch}"), got, &want, tolerance)?;
        }
    }
    predict(&model, "after_predict", tolerance)?;
    if file("after.keras").exists() {
        let after = Model::load(file("after.keras")).map_err(|error| format!("after.keras: {error}"))?;
        predict(&after, "after_predict", tolerance)?;
        let (got, want) = (model.iterations().map_err(text)?, after.iterations().map_err(text)?);
        if got != want {
            return Err(format!("after.keras: {got} iterations, wanted {want}"));
        }
    }
    Ok(())
}

/// `x.npy`, or `x0.npy`, `x1.npy`, ….
fn numbered(folder: &Path, name: &str) -> Vec<Npy> {
    let only = folder.join(format!("{name}.npy"));
    if only.exists() {
        return vec![Npy::read(&only)];
    }
    let paths = (0..).map(|i| folder.join(format!("{name}{i}.npy")));
    paths.take_while(|path| path.exists()).map(|path| Npy::read(&path)).collect()
}

fn compare(what: &str, got: &ArrayD<f32>, want: &ArrayD<f32>, tolerance: &Value) -> Result<(), String> {
    if got.shape() != want.shape() {
        return Err(format!("{what}: shape {:?}, wanted {:?}", got.shape(), want.shape()));
    }
    let values = got.iter().zip(want).map(|(got, want)| (f64::from(*got), f64::from(*want)));
    within(what, values, tolerance)
}

fn compare_logs(
    what: &str,
    got: impl Fn(&str) -> Option<Vec<f64>>,
    want: &Value,
    tolerance: &Value,
) -> Result<(), String> {
    for (name, want) in want.as_object().unwrap() {
        let got = got(name).ok_or_else(|| format!("{what}: there is no '{name}'"))?;
        let want: Vec<f64> = match want {
            Value::Array(list) => list.iter().map(|v| v.as_f64().unwrap()).collect(),
            one => vec![one.as_f64().unwrap()],
        };
        if got.len() != want.len() {
            return Err(format!("{what} {name}: {} values, {} wanted", got.len(), want.len()));
        }
        within(&format!("{what} {name}"), got.into_iter().zip(want), tolerance)?;
    }
    Ok(())
}

/// The rule: `|got - want| <= atol + rtol * |want|` for every value.
fn within(what: &str, values: impl Iterator<Item = (f64, f64)>, tolerance: &Value) -> Result<(), String> {
    let (atol, rtol) = (tolerance["atol"].as_f64().unwrap(), tolerance["rtol"].as_f64().unwrap());
    for (i, (got, want)) in values.enumerate() {
        let fits = (got - want).abs() <= atol + rtol * want.abs();
        if !fits && got != want {
            return Err(format!("{what}: value {i} is {got}, wanted {want}"));
        }
    }
    Ok(())
}
