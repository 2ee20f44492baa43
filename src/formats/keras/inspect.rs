//! What Keras' files hold, without making a model of it.

use super::{WEIGHTS, archive, hdf5};
use crate::error::{Context, Error, Result};
use crate::formats::Contents;
use crate::model::config::parse;
use hdf5::Hdf5;
use serde_json::Value;
use std::path::Path;

pub(in crate::formats) fn inspect(path: &Path) -> Result<Contents> {
    let mut archive = archive::read(path)?;
    let mut json = |name: &str| {
        let bytes = archive.remove(name).unwrap_or_else(|| b"null".to_vec());
        parse(&String::from_utf8_lossy(&bytes)).at(|| format!("member '{name}'"))
    };
    let metadata = json("metadata.json")?;
    let mut config = json("config.json")?;
    let compile = config.get_mut("compile_config").map(Value::take);
    let text = |key: &str| metadata.get(key).and_then(Value::as_str);
    let mut format = format!("Keras archive (.keras), version {}", text("keras_version").unwrap_or("unknown"));
    if let Some(writer) = text("writer") {
        format += &format!(", written by {writer}");
    }
    let arrays = match archive.remove(WEIGHTS) {
        Some(bytes) => Hdf5::open(bytes).and_then(|file| file.list()).at(super::in_weights)?,
        None => Vec::new(),
    };
    Ok(Contents { format, config: some(config), compile: compile.and_then(some), arrays })
}

pub(in crate::formats) fn inspect_h5(path: &Path) -> Result<Contents> {
    let file = Hdf5::open(std::fs::read(path).map_err(|source| Error::io(path, source))?)?;
    let root = file.root();
    let text = |name: &str| Ok::<_, Error>(hdf5::strings(&root, name)?.and_then(|texts| texts.into_iter().next()));
    let json = |name: &str| -> Result<Option<Value>> {
        let value = text(name)?.map(|text| parse(&text).at(|| format!("attribute '{name}'"))).transpose()?;
        Ok(value.and_then(some))
    };
    let (config, compile) = (json("model_config")?, json("training_config")?);
    let kind = match &config {
        Some(_) => "whole model of before Keras 3 (.h5)",
        None if super::legacy::layers_of(&file)?.is_some() => "weights of before Keras 3 (.h5)",
        None => "weights of Keras 3 (.weights.h5)",
    };
    let version = text("keras_version")?.map(|version| format!(", written by Keras {version}")).unwrap_or_default();
    Ok(Contents { format: format!("HDF5, {kind}{version}"), config, compile, arrays: file.list()? })
}

/// A value that says something.
fn some(value: Value) -> Option<Value> {
    let empty = value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
    (!empty).then_some(value)
}
