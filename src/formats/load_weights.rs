//! Weights from files that do not fit the model in every place.

use crate::error::{Error, Result};
use crate::layer::Param;
use crate::model::Model;
use crate::tensor::Tensor;
use std::collections::BTreeSet;

/// How [`Model::load_weights_with`] reads a file. The defaults are those of [`Model::load_weights`]: all
/// must fit.
///
/// ```no_run
/// use cornu::{formats::LoadWeights, prelude::*};
/// # let mut model = Sequential::new();
/// // Pretrained layers by their names; the new top keeps what it has.
/// let skipped = model.load_weights_with("vgg16.h5", LoadWeights::new().by_name(true).skip_mismatch(true))?;
/// skipped.iter().for_each(|skipped| println!("{skipped}"));
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct LoadWeights {
    pub(super) by_name: bool,
    pub(super) skip_mismatch: bool,
    #[cfg(feature = "safetensors")]
    pub(super) pytorch: Option<super::safetensors::PyTorch>,
}

impl LoadWeights {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether layers are told by their names rather than by their order, and what has no partner of the same
    /// name stays as it is. For older `.h5` files, `.cornu` and `.safetensors`; Keras 3's files do not have
    /// the names of layers.
    pub fn by_name(mut self, by_name: bool) -> Self {
        self.by_name = by_name;
        self
    }

    /// Whether what has another shape, or a layer with another number of weights, stays as it is; else it is
    /// an error.
    pub fn skip_mismatch(mut self, skip: bool) -> Self {
        self.skip_mismatch = skip;
        self
    }
}

/// What [`Model::load_weights_with`] left as it was, and why. Prints as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// A weight of the model (`"dense/kernel"`), a layer of it, or a name in the file.
    pub place: String,
    /// Why it could not be used.
    pub reason: String,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// Values that were read for weights; they are set when all are there, so that an error changes nothing.
pub(super) struct Found {
    skip_mismatch: bool,
    values: Vec<(Param, Tensor)>,
    pub skipped: Vec<Skipped>,
}

impl Found {
    pub fn new(options: &LoadWeights) -> Self {
        Found { skip_mismatch: options.skip_mismatch, values: Vec::new(), skipped: Vec::new() }
    }

    pub fn skip(&mut self, place: impl Into<String>, reason: impl Into<String>) {
        self.skipped.push(Skipped { place: place.into(), reason: reason.into() });
    }

    /// Something of a file that does not fit, which may be skipped.
    pub fn mismatch(&mut self, place: String, error: Error) -> Result<()> {
        if !self.skip_mismatch {
            return Err(Error::At { place, source: Box::new(error) });
        }
        self.skip(place, error.to_string());
        Ok(())
    }

    /// A value for a weight.
    pub fn put(&mut self, weight: &Param, value: Tensor) -> Result<()> {
        if weight.shape() == value.shape() {
            self.values.push((weight.clone(), value));
            return Ok(());
        }
        let shape = format!("has shape {:?}, got a value of shape {:?}", weight.shape(), value.shape());
        if !self.skip_mismatch {
            return Err(Error::Shape(format!("weight '{}' {shape}", weight.path())));
        }
        self.skip(weight.path(), format!("it {shape}"));
        Ok(())
    }

    /// Sets them.
    pub fn finish(self) -> Result<Vec<Skipped>> {
        self.values.into_iter().try_for_each(|(weight, value)| weight.set(value))?;
        Ok(self.skipped)
    }
}

/// Loads from a file that has the weights under names: `stored` are all names there, `name_of` tells which one
/// a weight should have, and `read` gets its value.
pub(super) fn by_path<'a>(
    model: &Model,
    options: &LoadWeights,
    stored: impl Iterator<Item = &'a str>,
    name_of: impl Fn(&Param) -> String,
    read: impl Fn(&Param, &str) -> Result<Tensor>,
) -> Result<Vec<Skipped>> {
    let mut left: BTreeSet<&str> = stored.collect();
    let mut found = Found::new(options);
    let mut missing: Vec<String> = Vec::new();
    for weight in model.weights() {
        let name = name_of(&weight);
        if left.remove(name.as_str()) {
            match read(&weight, &name) {
                Ok(value) => found.put(&weight, value)?,
                Err(error) => found.mismatch(format!("weight '{}'", weight.path()), error)?,
            }
        } else if options.by_name {
            found.skip(weight.path(), format!("the file has no '{name}'"));
        } else {
            missing.push(name);
        }
    }
    if options.by_name {
        left.iter().for_each(|name| found.skip(*name, "the model has no such weight"));
    } else if !missing.is_empty() || !left.is_empty() {
        return Err(Error::Data(format!(
            "its weights are not the model's: missing are {}, unexpected are {}; by_name(true) takes those that fit",
            list(missing.iter().map(String::as_str)),
            list(left.into_iter())
        )));
    }
    found.finish()
}

/// The first few of these names.
fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 8;
    let more = names.len().saturating_sub(SHOWN);
    let mut shown: Vec<String> = names.take(SHOWN).map(|name| format!("'{name}'")).collect();
    match (shown.len(), more) {
        (0, _) => return "none".to_owned(),
        (_, 0) => {}
        _ => shown.push(format!("{more} more")),
    }
    shown.join(", ")
}
