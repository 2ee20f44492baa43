//! The `.h5` files of before Keras 3: whole models and weights, among them the pretrained weights that
//! are found on the web.
//!
//! Attributes list the layers in order (`layer_names`) and, at the group of each, its weights
//! (`weight_names`), which are paths below that group. Weights go to the model's layers by their order,
//! as in Keras; names do not matter. The optimizer's variables are read from files of Keras 3 alone,
//! since earlier ones keep others: there it starts afresh.

use super::hdf5::{Hdf5, strings};
use crate::error::{Context, Error, Result};
use crate::formats::load_weights::{Found, LoadWeights, Skipped, list_names};
use crate::layer::{LayerHandle, Param};
use crate::model::{Model, config::parse};
use crate::tensor::Tensor;
use hdf5_pure::Group;
use serde_json::Value;
use std::collections::HashSet;

/// The group that lists the layers, if the file is of this kind.
pub(super) fn layers_of(file: &Hdf5) -> Result<Option<Group>> {
    match file.group("model_weights")? {
        Some(group) => Ok(Some(group)),
        None => Ok(list(&file.root(), "layer_names")?.map(|_| file.root())),
    }
}

pub(super) fn load(bytes: Vec<u8>, compile: bool) -> Result<Model> {
    let values = bytes.len();
    let file = Hdf5::open(bytes)?;
    let root = file.root();
    let text = |name: &str| Ok::<_, Error>(strings(&root, name)?.and_then(|texts| texts.into_iter().next()));
    let Some(config) = text("model_config")? else {
        return Err(Error::Format(
            "the file holds weights alone: build the model, then call its load_weights".to_owned(),
        ));
    };
    let mut model = Model::from_value(parse(&config)?).at(|| "attribute 'model_config'".to_owned())?;
    // A value takes at least a byte, however it is stored.
    model.build_to_load(values)?;
    let layers = layers_of(&file)?.ok_or_else(|| Error::Format("the file has no group 'model_weights'".to_owned()))?;
    read_weights(&model, &file, &layers, &LoadWeights::new())?;
    if let (true, Some(settings)) = (compile, text("training_config")?)
        && let Value::Object(mut settings) = parse(&settings).at(|| "attribute 'training_config'".to_owned())?
    {
        let optimizer = settings.remove("optimizer_config").unwrap_or_default();
        settings.insert("optimizer".to_owned(), optimizer);
        model.compile_from(settings).at(|| "attribute 'training_config'".to_owned())?;
        let version = text("keras_version")?.unwrap_or_default();
        if let (true, Some(group)) = (version.starts_with("3."), file.group("optimizer_weights")?) {
            let names = list(&group, "weight_names")?.unwrap_or_default();
            let arrays = names.iter().map(|name| file.dataset_at(&group, name)).collect::<Result<Vec<_>>>()?;
            super::restore_optimizer(&mut model, &file, &arrays).at(|| "the optimizer's variables".to_owned())?;
        }
    }
    Ok(model)
}

/// Sets all weights, or none if one does not fit and may not be skipped.
pub(super) fn read_weights(model: &Model, file: &Hdf5, layers: &Group, options: &LoadWeights) -> Result<Vec<Skipped>> {
    let mut stored: Vec<StoredLayer> = Vec::new();
    for name in list(layers, "layer_names")?.unwrap_or_default() {
        let read = || -> Result<Vec<(String, Tensor)>> {
            let Some(group) = file.group_in(layers, &name)? else {
                return Err(Error::Format("the file lists it, but does not have it".to_owned()));
            };
            let names = list(&group, "weight_names")?.unwrap_or_default();
            names.into_iter().map(|name| file.array(&group, &name).map(|value| (name, value))).collect()
        };
        let weights = read().at(|| format!("layer '{name}' of the file"))?;
        if !weights.is_empty() {
            stored.push(StoredLayer { name, weights });
        }
    }
    let layers: Vec<LayerHandle> = model.layers().into_iter().filter(|layer| !layer.weights().is_empty()).collect();
    let mut found = Found::new(options);
    let mut pairs: Vec<(&LayerHandle, StoredLayer)> = Vec::new();
    if options.by_name {
        for layer in &layers {
            let name = layer.name();
            match stored.iter().position(|stored| stored.name == name) {
                Some(at) => pairs.push((layer, stored.swap_remove(at))),
                None => found.skip(name, "the file has no layer of this name"),
            }
        }
        stored.into_iter().for_each(|stored| found.skip(stored.name, "the model has no layer of this name"));
    } else if layers.len() == stored.len() {
        pairs.extend(layers.iter().zip(stored));
    } else {
        // Which of them do not correspond only their names can tell.
        let names: Vec<String> = layers.iter().map(|layer| layer.name()).collect();
        let theirs: Vec<String> = stored.into_iter().map(|stored| stored.name).collect();
        let without = |names: &[String], others: &[String]| {
            list_names(&names.iter().filter(|name| !others.contains(name)).cloned().collect::<Vec<_>>())
        };
        return Err(Error::Data(format!(
            "the model has {} layers with weights, the file {}; missing are {}, unexpected are {}; by_name(true) takes \
             those that fit",
            names.len(),
            theirs.len(),
            without(&names, &theirs),
            without(&theirs, &names)
        )));
    }
    for (layer, StoredLayer { name, weights: values }) in pairs {
        let weights = in_legacy_order(layer);
        if weights.len() == values.len() {
            weights.iter().zip(values).for_each(|(weight, (_, value))| found.put(weight, value));
            continue;
        }
        let shapes: [Vec<_>; 2] = [
            weights.iter().map(Param::shape).collect(),
            values.iter().map(|(_, value)| value.shape().to_vec()).collect(),
        ];
        let [wanted, held] = [weights.len(), values.len()];
        let [of_ours, of_theirs] = &shapes;
        found.mismatch(
            layer.place(),
            format!("it has {wanted} weights, of shapes {of_ours:?}, but layer '{name}' of the file has {held}, of shapes {of_theirs:?}"),
        );
        if !options.skip_mismatch {
            weights.iter().skip(held).for_each(|weight| found.missing(weight.path()));
            values.into_iter().skip(wanted).for_each(|(name, _)| found.unexpected(name));
        }
    }
    found.finish()
}

/// A layer of the file that has weights: their names and values.
struct StoredLayer {
    name: String,
    weights: Vec<(String, Tensor)>,
}

/// The weights of a layer, each value once: those that a step changes come first, also those of a model inside.
fn in_legacy_order(layer: &LayerHandle) -> Vec<Param> {
    let mut seen = HashSet::new();
    let all = layer.trainable_weights().into_iter().chain(layer.weights());
    all.filter(|weight| seen.insert(weight.value_id())).collect()
}

/// A list of texts, which may be cut into `name0`, `name1`, … where it is long.
fn list(group: &Group, name: &str) -> Result<Option<Vec<String>>> {
    if let Some(whole) = strings(group, name)? {
        return Ok(Some(whole));
    }
    let mut all = None;
    for i in 0.. {
        match strings(group, &format!("{name}{i}"))? {
            Some(part) => all.get_or_insert_with(Vec::new).extend(part),
            None => break,
        }
    }
    Ok(all)
}
