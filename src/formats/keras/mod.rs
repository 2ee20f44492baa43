//! Files of Python's Keras: the `.keras` archive of Keras 3 and its `.weights.h5`.
//!
//! An archive is a zip of `metadata.json`, `config.json` (architecture and compile settings) and
//! `model.weights.h5` (weights and the optimizer's variables). In the HDF5 file the weights of a layer
//! stand at `layers/<class>_<n>/vars/<i>`: the group is named after the class, numbered in the order
//! of the layers, whatever the layer's own name is. The weights of a layer inside a layer stand below
//! the name it has there (`layers/lstm/cell/vars/0`), which is what its [`Build::child`] is called.
//!
//! [`Build::child`]: crate::layer::Build::child

mod archive;
mod hdf5;
mod inspect;
mod legacy;

pub(super) use inspect::{inspect, inspect_h5};

use super::StoredArray;
use super::load_weights::{Found, LoadWeights, Skipped};
use crate::config::snake_case;
use crate::error::{Context, Error, Result, ensure};
use crate::files::write_whole;
use crate::layer::{LayerHandle, Param};
use crate::layers::TimeDistributed;
use crate::model::{Model, config::parse, nested::Nested};
use crate::optimizers::{LossScaleOptimizer, Stored};
use crate::tensor::Tensor;
use hdf5::{Array, Hdf5, Tree};
use hdf5_pure::Dataset;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::Path;

const WEIGHTS: &str = "model.weights.h5";

/// What the weights file of an archive is called in errors.
fn in_weights() -> String {
    format!("member '{WEIGHTS}'")
}

pub(super) fn load(path: &Path, compile: bool) -> Result<Model> {
    let mut archive = archive::read(path)?;
    let mut member = |name: &str| {
        archive
            .remove(name)
            .ok_or_else(|| Error::Format(format!("the archive has no '{name}': it is no model of Keras 3")))
    };
    let json =
        |bytes: Vec<u8>| parse(std::str::from_utf8(&bytes).map_err(|_| Error::Format("it is not text".to_owned()))?);
    let metadata = json(member("metadata.json")?).at(|| "member 'metadata.json'".to_owned())?;
    let version = metadata.get("keras_version").and_then(Value::as_str).unwrap_or("3");
    ensure!(
        !version.starts_with("2."),
        Format,
        "the archive was written by Keras {version}, whose layout is another one; open it in Keras 3 and save it anew"
    );
    let mut config = json(member("config.json")?).at(|| "member 'config.json'".to_owned())?;
    let weights = member(WEIGHTS)?;
    fill_vocabularies(&mut config, "", &archive)?;
    let compile_config = config.get_mut("compile_config").map(Value::take);
    let mut model = Model::from_value(config).at(|| "member 'config.json'".to_owned())?;
    if !model.starts_with_input() {
        // A model whose input shape Keras did not know either: it has no weights.
        return Ok(model);
    }
    // A value takes at least a byte, however it is stored.
    model.build_to_load(weights.len())?;
    let weights = Hdf5::open(weights).at(in_weights)?;
    read_weights(&model, &weights, &LoadWeights::new()).at(in_weights)?;
    if let (true, Some(Value::Object(settings))) = (compile, compile_config)
        && !settings.is_empty()
    {
        model.compile_from(settings).at(|| "compile settings".to_owned())?;
        read_optimizer(&mut model, &weights).at(in_weights)?;
    }
    Ok(model)
}

/// Gives the vocabularies that came from data, which Keras keeps in members of their own, to the layers of a model's
/// configuration. `group` is the model's, as in the file of weights.
fn fill_vocabularies(model: &mut Value, group: &str, archive: &HashMap<String, Vec<u8>>) -> Result<()> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    // What is no model, or no layer, is told by whoever makes one of it.
    let layers = model.get_mut("config").and_then(|config| config.get_mut("layers")).and_then(Value::as_array_mut);
    for layer in layers.into_iter().flatten() {
        let class = layer["class_name"].as_str().map(snake_case).unwrap_or_default();
        let n = counts.entry(class.clone()).or_default();
        let name = if *n == 0 { class.clone() } else { format!("{class}_{n}") };
        *n += 1;
        let place = format!("{group}layers/{name}/");
        match class.as_str() {
            "functional" | "sequential" => fill_vocabularies(layer, &place, archive)?,
            "integer_lookup" => {
                let Some(Value::Object(config)) = layer.get_mut("config") else { continue };
                if config.get("vocabulary").is_some_and(|vocabulary| !vocabulary.is_null()) {
                    continue;
                }
                let member = format!("assets/{place}vocabulary.txt");
                let Some(bytes) = archive.get(&member) else { continue };
                let numbers =
                    String::from_utf8_lossy(bytes).lines().map(|line| line.trim().parse::<i64>().ok()).collect();
                let numbers: Option<Vec<i64>> = numbers;
                let wrong = || Error::Format(format!("member '{member}' is no list of whole numbers"));
                config.insert("vocabulary".to_owned(), json!(numbers.ok_or_else(wrong)?));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn load_weights(model: &mut Model, path: &Path, options: &LoadWeights) -> Result<Vec<Skipped>> {
    model.built()?;
    let bytes = archive::read(path)?.remove(WEIGHTS);
    let bytes = bytes.ok_or_else(|| Error::Format(format!("the archive has no '{WEIGHTS}'")))?;
    read_weights(model, &Hdf5::open(bytes).at(in_weights)?, options).at(in_weights)
}

pub(super) fn load_weights_h5(model: &mut Model, path: &Path, options: &LoadWeights) -> Result<Vec<Skipped>> {
    model.built()?;
    let file = Hdf5::open(std::fs::read(path).map_err(|source| Error::io(path, source))?)?;
    match legacy::layers_of(&file)? {
        Some(layers) => legacy::read_weights(model, &file, &layers, options),
        None => read_weights(model, &file, options),
    }
}

pub(super) fn load_h5(path: &Path, compile: bool) -> Result<Model> {
    legacy::load(std::fs::read(path).map_err(|source| Error::io(path, source))?, compile)
}

pub(super) fn save(model: &Model, path: &Path) -> Result<()> {
    let mut config = model.to_value()?;
    let mut tree = weights_tree(model)?;
    if let Some(mut settings) = model.get_compile_config()? {
        if let Some(Value::Object(optimizer)) = settings.get_mut("optimizer").and_then(|o| o.get_mut("config")) {
            // Keras refuses arguments that it does not know.
            optimizer.remove("exclude_from_weight_decay");
            if let Some(Value::Object(inner)) = optimizer.get_mut("inner_optimizer").and_then(|o| o.get_mut("config")) {
                inner.remove("exclude_from_weight_decay");
            }
        }
        config["compile_config"] = settings.into();
        write_optimizer(model, &mut tree)?;
    }
    // The version of Keras whose form this is; without a date, equal models give equal files.
    let metadata = json!({ "keras_version": "3.15.1", "writer": concat!("cornu ", env!("CARGO_PKG_VERSION")) });
    let members = [
        ("metadata.json", metadata.to_string().into_bytes()),
        ("config.json", config.to_string().into_bytes()),
        (WEIGHTS, tree.finish()?),
    ];
    write_whole(path, &archive::write(&members)?)
}

pub(super) fn save_weights(model: &Model, path: &Path) -> Result<()> {
    model.built()?;
    write_whole(path, &weights_tree(model)?.finish()?)
}

/// The groups of a layer that hold weights of its own or of a layer inside it, each with its weights.
struct Place {
    layer: LayerHandle,
    /// `layers/dense/vars`.
    group: String,
    weights: Vec<Param>,
}

/// Where the weights of a model stand, in the model's order.
fn places(model: &Model) -> Vec<Place> {
    let mut places = Vec::new();
    places_of(model, &Groups::Numbered(""), &mut HashSet::new(), &mut places);
    places
}

/// Where they stand in this file: a model whose class was written in Python has no list of layers, but keeps each under
/// the name of an attribute, which a model here has as the layer's name.
fn places_in(model: &Model, file: &Hdf5) -> Result<Vec<Place>> {
    if file.group("layers")?.is_some() {
        return Ok(places(model));
    }
    let mut places = Vec::new();
    places_of(model, &Groups::Named, &mut HashSet::new(), &mut places);
    Ok(places)
}

/// How the groups of a model's layers are called.
enum Groups<'a> {
    /// `layers/conv2d_1` below this group.
    Numbered(&'a str),
    /// By the layers' names.
    Named,
}

/// Adds those of a model; a weight that several layers share stands at the first.
fn places_of(model: &Model, groups: &Groups<'_>, seen: &mut HashSet<u64>, places: &mut Vec<Place>) {
    let mut used: HashMap<String, usize> = HashMap::new();
    for layer in model.layers() {
        let class = layer.class_name();
        // Operators are no layers to Keras.
        if class == "Operator" {
            continue;
        }
        let class = snake_case(class.rsplit('>').next().unwrap_or_default());
        let count = used.entry(class.clone()).or_default();
        let base = match (groups, *count) {
            (Groups::Named, _) => layer.name(),
            (Groups::Numbered(outer), 0) => format!("{outer}layers/{class}"),
            (Groups::Numbered(outer), count) => format!("{outer}layers/{class}_{count}"),
        };
        *count += 1;
        if layer
            .downcast(|nested: &Nested| places_of(nested.model(), &Groups::Numbered(&format!("{base}/")), seen, places))
            .is_some()
        {
            continue;
        }
        // A wrapper around a model.
        let inside = layer.downcast(|wrapper: &TimeDistributed| wrapper.layer().clone());
        let inside = inside.filter(|inside| inside.downcast(|_: &Nested| ()).is_some());
        if let Some(inside) = inside {
            inside.downcast(|nested: &Nested| {
                places_of(nested.model(), &Groups::Numbered(&format!("{base}/layer/")), seen, places)
            });
            continue;
        }
        let above = layer.path();
        for weight in layer.weights() {
            if !seen.insert(weight.id()) {
                continue;
            }
            let inside = weight.path().strip_prefix(above.as_str()).and_then(|path| path.strip_prefix('/'));
            let group = match inside.and_then(|path| path.rsplit_once('/')) {
                Some((children, _)) => format!("{base}/{children}/vars"),
                None => format!("{base}/vars"),
            };
            match places.last_mut().filter(|place| place.group == group) {
                Some(place) => place.weights.push(weight),
                None => places.push(Place { layer: layer.clone(), group, weights: vec![weight] }),
            }
        }
    }
}

/// Sets all weights, or none if one does not fit and may not be skipped.
fn read_weights(model: &Model, file: &Hdf5, options: &LoadWeights) -> Result<Vec<Skipped>> {
    ensure!(
        !options.by_name,
        Argument,
        "files of Keras 3 do not say which layer of which name a weight belongs to; by_name is for older .h5 files, \
         .cornu and .safetensors"
    );
    let mut found = Found::new(options);
    let places = places_in(model, file)?;
    for Place { layer, group, weights } in &places {
        let arrays = file.arrays(group)?;
        if arrays.len() == weights.len() {
            for (weight, array) in weights.iter().zip(&arrays) {
                let value = file.tensor(array).at(|| format!("an array of '{group}'")).at(|| layer.place())?;
                found.put(weight, value);
            }
            continue;
        }
        let shapes = arrays.iter().map(|array| file.shape(array)).collect::<Result<Vec<_>>>()?;
        let held = match arrays.len() {
            0 => "is missing or empty".to_owned(),
            n => format!("holds {n}, of shapes {shapes:?}"),
        };
        let wanted: Vec<_> = weights.iter().map(Param::shape).collect();
        let n = weights.len();
        found.mismatch(
            layer.place(),
            format!("it has {n} weights, of shapes {wanted:?}, but the group '{group}' of the file {held}"),
        );
        if !options.skip_mismatch {
            let absent = weights.iter().enumerate().skip(arrays.len());
            absent.for_each(|(i, weight)| found.missing(format!("{} ({group}/{i})", weight.path())));
        }
    }
    // Keras takes a file that has more, too; it is told where something else does not fit.
    if found.fails() {
        let claimed = |group: &str, i: &str| {
            let place = places.iter().find(|place| place.group == group);
            place.is_some_and(|place| i.parse::<usize>().is_ok_and(|i| i < place.weights.len()))
        };
        for StoredArray { path, .. } in file.list()? {
            let (group, i) = path.rsplit_once('/').unwrap_or(("", &path));
            if !claimed(group, i) && !group.starts_with("optimizer/") && !group.ends_with("seed_generator/vars") {
                found.unexpected(path);
            }
        }
    }
    found.finish()
}

/// The optimizer's variables.
fn read_optimizer(model: &mut Model, file: &Hdf5) -> Result<()> {
    let arrays = file.arrays("optimizer/vars")?;
    restore_optimizer(model, file, &arrays).at(|| "the optimizer's variables".to_owned())
}

fn restore_optimizer(model: &mut Model, file: &Hdf5, arrays: &[Dataset]) -> Result<()> {
    if arrays.is_empty() {
        return Ok(());
    }
    let weights = model.trainable_weights();
    let compiled = model.compiled_mut()?;
    // Keras puts one around the optimizer of a model in half precision, and does not write that into the settings. Its
    // variables come first: a count and a rate, and then another count.
    if let (Some(array), None) = (arrays.get(2), compiled.optimizer.loss_scaling())
        && file.is_count(array)?
    {
        compiled.optimizer = LossScaleOptimizer::new(compiled.optimizer.clone()).into();
    }
    compiled.restore_keras(weights, arrays.len(), |i| file.count(&arrays[i]), |i| file.tensor(&arrays[i]))
}

fn weights_tree(model: &Model) -> Result<Tree> {
    let mut tree = Tree::default();
    for Place { group, weights, .. } in places(model) {
        weights.iter().for_each(|weight| tree.push(&group, Array::Floats(weight.value())));
    }
    Ok(tree)
}

fn write_optimizer(model: &Model, tree: &mut Tree) -> Result<()> {
    let state = &model.compiled()?.state;
    let count = |n: u64| {
        let n = i32::try_from(n);
        n.map(Array::Count)
            .map_err(|_| Error::Format(format!("{} steps are more than Keras' counter holds", state.iterations())))
    };
    let mut inner = false;
    for stored in state.stored() {
        let array = || {
            Ok::<_, Error>(match &stored {
                Stored::Iterations(n) | Stored::Count(n) => count(*n)?,
                Stored::Value(value) => Array::Floats(value.clone()),
                Stored::NoCount => Array::Count(0),
                Stored::NoRate => Array::Floats(Tensor::full([], 0.0)),
            })
        };
        tree.push("optimizer/vars", array()?);
        // Keras writes the variables of an optimizer inside another a second time, at its place.
        inner |= matches!(stored, Stored::Iterations(_)) && state.loss_scale().is_some();
        if inner {
            tree.push("optimizer/inner_optimizer/vars", array()?);
        }
    }
    Ok(())
}
