//! The `.h5` files of before Keras 3: whole models and weights, among them the pretrained weights that
//! are found on the web.
//!
//! Attributes list the layers in order (`layer_names`) and, at the group of each, its weights
//! (`weight_names`), which are paths below that group. Weights go to the model's layers by their order,
//! as in Keras; names do not matter. The optimizer's variables are read from files of Keras 3 alone,
//! since earlier ones keep others: there it starts afresh.

use super::hdf5::{Hdf5, strings};
use crate::error::{Context, Error, Result, ensure};
use crate::model::{Model, config::parse};
use crate::tensor::Tensor;
use hdf5_pure::Group;
use serde_json::Value;

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
    read_weights(&mut model, &file, &layers)?;
    if let (true, Some(settings)) = (compile, text("training_config")?)
        && let Value::Object(mut settings) = parse(&settings).at(|| "attribute 'training_config'".to_owned())?
    {
        let optimizer = settings.remove("optimizer_config").unwrap_or_default();
        settings.insert("optimizer".to_owned(), optimizer);
        model.compile_from(settings).at(|| "attribute 'training_config'".to_owned())?;
        let version = text("keras_version")?.unwrap_or_default();
        if let (true, Some(group)) = (version.starts_with("3."), file.group("optimizer_weights")?) {
            let names = list(&group, "weight_names")?.unwrap_or_default();
            if let Some((iterations, variables)) = names.split_first() {
                let iterations = file.count_at(&group, iterations)?;
                let variables = variables.iter().map(|name| file.array(&group, name)).collect::<Result<_>>()?;
                let weights = model.trainable_weights();
                let place = || "the optimizer's variables".to_owned();
                model.compiled_mut()?.restore(weights, iterations, variables).at(place)?;
            }
        }
    }
    Ok(model)
}

/// Sets all weights, or none if one does not fit.
pub(super) fn read_weights(model: &mut Model, file: &Hdf5, layers: &Group) -> Result<()> {
    let mut found: Vec<(String, Vec<Tensor>)> = Vec::new();
    for name in list(layers, "layer_names")?.unwrap_or_default() {
        let read = || -> Result<Vec<Tensor>> {
            let Some(group) = file.group_in(layers, &name)? else {
                return Err(Error::Format("the file lists it, but does not have it".to_owned()));
            };
            let names = list(&group, "weight_names")?.unwrap_or_default();
            names.iter().map(|name| file.array(&group, name)).collect()
        };
        let weights = read().at(|| format!("layer '{name}' of the file"))?;
        if !weights.is_empty() {
            found.push((name, weights));
        }
    }
    let layers: Vec<_> = model.layers().into_iter().filter(|layer| !layer.weights().is_empty()).collect();
    ensure!(
        layers.len() == found.len(),
        Data,
        "the model has {} layers with weights, the file {}",
        layers.len(),
        found.len()
    );
    for (layer, (name, weights)) in layers.iter().zip(&found) {
        let wanted = layer.weights().len();
        ensure!(
            wanted == weights.len(),
            Data,
            "{} has {wanted} weights, but layer '{name}', at its place in the file, has {}",
            layer.place(),
            weights.len()
        );
    }
    let values: Vec<Tensor> = found.into_iter().flat_map(|(_, weights)| weights).collect();
    model.set_weights(&values)
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
