//! The `.cornu` file: a model, or its weights alone, in a [container](crate::container).
//!
//! The architecture and the compile settings are JSON text, whose parser limits how deep it goes.

use super::load_weights::{LoadWeights, Skipped, by_path};
use super::{Contents, StoredArray};
use crate::container::{Blob, Kind, VERSION, decode};
use crate::error::{Error, Result};
use crate::layer::Param;
use crate::model::{Model, config::parse};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

const FILE: Kind = Kind { magic: *b"\x89cornu\r\n", name: "model" };

#[derive(Serialize, Deserialize)]
struct Container<'a> {
    /// The version of cornu that wrote the file, for people.
    #[serde(borrow)]
    writer: Cow<'a, str>,
    /// None in a file of weights alone.
    #[serde(borrow)]
    model: Option<Whole<'a>>,
    #[serde(borrow)]
    weights: Vec<Blob<'a>>,
}

/// What there is besides the weights.
#[derive(Serialize, Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    architecture: Cow<'a, str>,
    seed: u64,
    built: bool,
    #[serde(borrow)]
    training: Option<Training<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Training<'a> {
    #[serde(borrow)]
    compile: Cow<'a, str>,
    iterations: u64,
    /// The places among the weights of those that a step changes.
    weights: Vec<u64>,
    /// The optimizer's variables, the learning rate first.
    #[serde(borrow)]
    variables: Vec<Blob<'a>>,
}

pub(super) fn save(model: &Model, path: &Path) -> Result<()> {
    let weights = model.weights();
    let training = match (&model.compiled, model.get_compile_config()?) {
        (Some(compiled), Some(compile)) => Some(Training {
            compile: Value::Object(compile).to_string().into(),
            iterations: compiled.state.iterations(),
            weights: compiled
                .weights
                .iter()
                .filter_map(|changed| weights.iter().position(|weight| weight.id() == changed.id()))
                .map(|place| place as u64)
                .collect(),
            variables: compiled.state.variables().into_iter().map(|(name, value)| Blob::of(name, value)).collect(),
        }),
        _ => None,
    };
    let whole = Whole { architecture: model.to_json()?.into(), seed: model.seed, built: model.is_built(), training };
    write(path, Some(whole), blobs(&weights))
}

pub(super) fn save_weights(model: &Model, path: &Path) -> Result<()> {
    model.built()?;
    write(path, None, blobs(&model.weights()))
}

pub(super) fn load(path: &Path, compile: bool) -> Result<Model> {
    let bytes = FILE.read(path)?;
    let Container { model, weights, .. } = decode(&bytes)?;
    let Some(Whole { architecture, seed, built, training }) = model else {
        return Err(Error::Format(
            "the file holds weights alone: build the model, then call its load_weights".to_owned(),
        ));
    };
    let mut model = Model::from_value(parse(&architecture)?)?;
    model.seed = seed;
    if built {
        let values = weights.iter().map(Blob::tensor).collect::<Result<Vec<_>>>()?;
        model.build_to_load(values.iter().map(Tensor::len).sum())?;
        model.set_weights(&values)?;
    }
    if let Some(training) = training.filter(|_| compile) {
        let Value::Object(settings) = parse(&training.compile)? else {
            return Err(Error::Format("the compile settings are no object".to_owned()));
        };
        model.compile_from(settings)?;
        let weights = model.weights();
        let changed = training.weights.iter().map(|&place| {
            let weight = usize::try_from(place).ok().and_then(|place| weights.get(place).cloned());
            weight.ok_or_else(|| Error::Format(format!("the optimizer's weight number {place} does not exist")))
        });
        let changed = changed.collect::<Result<_>>()?;
        let variables = training.variables.iter().map(Blob::tensor).collect::<Result<_>>()?;
        model.compiled_mut()?.restore(changed, training.iterations, variables)?;
    }
    Ok(model)
}

pub(super) fn load_weights(model: &mut Model, path: &Path, options: &LoadWeights) -> Result<Vec<Skipped>> {
    model.built()?;
    let bytes = FILE.read(path)?;
    let Container { weights: blobs, .. } = decode(&bytes)?;
    let by_name: HashMap<&str, &Blob<'_>> = blobs.iter().map(|blob| (&*blob.path, blob)).collect();
    let read = |_: &Param, name: &str| match by_name.get(name) {
        Some(blob) => blob.tensor(),
        None => Err(Error::Format(format!("the file has no '{name}'"))),
    };
    by_path(model, options, by_name.keys().copied(), |weight| weight.path().to_owned(), read)
}

pub(super) fn inspect(path: &Path) -> Result<Contents> {
    let bytes = FILE.read(path)?;
    let Container { writer, model, weights } = decode(&bytes)?;
    let kind = if model.is_some() { "model" } else { "weights alone" };
    let training = model.as_ref().and_then(|model| model.training.as_ref());
    let stored = |blob: &Blob<'_>, above: &str| StoredArray {
        path: format!("{above}{}", blob.path),
        dtype: "float32".to_owned(),
        shape: blob.shape.iter().map(|&d| d as usize).collect(),
    };
    let variables = training.iter().flat_map(|training| &training.variables);
    Ok(Contents {
        format: format!("cornu (.cornu), {kind}, version {VERSION}, written by cornu {writer}"),
        config: model.as_ref().map(|model| parse(&model.architecture)).transpose()?,
        compile: training.map(|training| parse(&training.compile)).transpose()?,
        arrays: weights
            .iter()
            .map(|blob| stored(blob, ""))
            .chain(variables.map(|blob| stored(blob, "optimizer/")))
            .collect(),
    })
}

/// All weights, by path.
fn blobs(weights: &[Param]) -> Vec<Blob<'_>> {
    weights.iter().map(|weight| Blob::of(weight.path(), weight.value())).collect()
}

fn write(path: &Path, model: Option<Whole<'_>>, weights: Vec<Blob<'_>>) -> Result<()> {
    FILE.write(path, &Container { writer: env!("CARGO_PKG_VERSION").into(), model, weights })
}
