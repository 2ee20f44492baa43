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

/// Values that were read for weights, and what does not fit; all of it is told in one error, and the values are set
/// when all are there, so that an error changes nothing.
pub(super) struct Found {
    by_name: bool,
    skip_mismatch: bool,
    values: Vec<(Param, Tensor)>,
    pub skipped: Vec<Skipped>,
    misfits: Vec<String>,
    missing: Vec<String>,
    unexpected: Vec<String>,
}

impl Found {
    pub fn new(options: &LoadWeights) -> Self {
        Found {
            by_name: options.by_name,
            skip_mismatch: options.skip_mismatch,
            values: Vec::new(),
            skipped: Vec::new(),
            misfits: Vec::new(),
            missing: Vec::new(),
            unexpected: Vec::new(),
        }
    }

    pub fn skip(&mut self, place: impl Into<String>, reason: impl Into<String>) {
        self.skipped.push(Skipped { place: place.into(), reason: reason.into() });
    }

    /// Something of a file that does not fit, which may be skipped.
    pub fn mismatch(&mut self, place: String, reason: impl ToString) {
        match self.skip_mismatch {
            true => self.skip(place, reason.to_string()),
            false => self.misfits.push(format!("{place}: {}", reason.to_string())),
        }
    }

    /// A weight or a layer of the model that the file does not have.
    pub fn missing(&mut self, name: impl Into<String>) {
        self.missing.push(name.into());
    }

    /// Something of the file that the model does not have.
    pub fn unexpected(&mut self, name: impl Into<String>) {
        self.unexpected.push(name.into());
    }

    /// Whether something does not fit that may not be skipped.
    pub fn fails(&self) -> bool {
        !(self.misfits.is_empty() && self.missing.is_empty() && self.unexpected.is_empty())
    }

    /// A value for a weight.
    pub fn put(&mut self, weight: &Param, value: Tensor) {
        if weight.shape() == value.shape() {
            self.values.push((weight.clone(), value));
            return;
        }
        let shape = format!("has shape {:?}, got a value of shape {:?}", weight.shape(), value.shape());
        match self.skip_mismatch {
            true => self.skip(weight.path(), format!("it {shape}")),
            false => self.misfits.push(format!("weight '{}' {shape}", weight.path())),
        }
    }

    /// Sets them.
    ///
    /// # Errors
    /// When something does not fit: all of it.
    pub fn finish(self) -> Result<Vec<Skipped>> {
        if !self.fails() {
            self.values.into_iter().try_for_each(|(weight, value)| weight.set(value))?;
            return Ok(self.skipped);
        }
        let mut parts: Vec<String> = self.misfits.iter().take(SHOWN).cloned().collect();
        let more = self.misfits.len() - parts.len();
        if more > 0 {
            parts.push(format!("and {more} more"));
        }
        parts.push(format!(
            "missing are {}, unexpected are {}",
            list_names(&self.missing),
            list_names(&self.unexpected)
        ));
        if !self.misfits.is_empty() {
            parts.push("skip_mismatch(true) leaves what has another shape as it is".to_owned());
        } else if !self.by_name {
            parts.push("by_name(true) takes those that fit, where the file has names".to_owned());
        }
        Err(Error::Data(format!("its weights are not the model's: {}", parts.join("; "))))
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
    for weight in model.weights() {
        let name = name_of(&weight);
        if left.remove(name.as_str()) {
            match read(&weight, &name) {
                Ok(value) => found.put(&weight, value),
                Err(error) => found.mismatch(format!("weight '{}'", weight.path()), error),
            }
        } else if options.by_name {
            found.skip(weight.path(), format!("the file has no '{name}'"));
        } else {
            found.missing(name);
        }
    }
    for name in left {
        match options.by_name {
            true => found.skip(name, "the model has no such weight"),
            false => found.unexpected(name),
        }
    }
    found.finish()
}

/// So many of those that do not fit are told.
const SHOWN: usize = 8;

/// The first few of these names.
pub(super) fn list_names(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("'{name}'")).collect();
    match (shown.len(), names.len().saturating_sub(SHOWN)) {
        (0, _) => return "none".to_owned(),
        (_, 0) => {}
        (_, more) => shown.push(format!("{more} more")),
    }
    shown.join(", ")
}
