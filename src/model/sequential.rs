//! A model as a list of layers.

use super::Model;
use super::functional::free_name;
use crate::layer::LayerHandle;
use std::ops::{Deref, DerefMut};

/// A model in which each layer feeds the next (Keras: `Sequential`).
///
/// Adding never fails: a wrong name, value or shape is reported by `build`, `compile` or the first
/// call that needs the model, with the layer's name.
///
/// ```
/// use cornu::prelude::*;
///
/// let mut model = Sequential::new().with_seed(7);
/// model
///     .add(Input::new([28, 28, 1]))
///     .add(Conv2D::new(6, 5).activation("relu"))
///     .add(Flatten::new())
///     .add(Dense::new(10).activation("softmax").name("digits"));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 10)");
/// assert_eq!(model.layer("digits")?.count_params(), 24 * 24 * 6 * 10 + 10);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Debug)]
pub struct Sequential {
    model: Model,
}

impl Sequential {
    /// A model without layers.
    pub fn new() -> Self {
        Sequential { model: Model::empty("sequential") }
    }

    /// Gives the model a name. Default: `sequential`.
    pub fn with_name(mut self, name: &str) -> Self {
        self.model.name = name.to_owned();
        self
    }

    /// Gives the model a seed: the same seed gives the same first weights, shuffling and dropout.
    /// Default: that of [`set_random_seed`](crate::set_random_seed), else a new one each time.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.model.seed = seed;
        self
    }

    /// Adds a layer at the end. One without a name is called by its class, numbered: `dense`, `dense_1`.
    ///
    /// A model that was compiled must be compiled again.
    pub fn add(&mut self, layer: impl Into<LayerHandle>) -> &mut Self {
        let layer = layer.into();
        if layer.name().is_empty() {
            let taken: Vec<String> = self.model.chain.iter().map(LayerHandle::name).collect();
            layer.set_name(free_name(&layer.class_name(), |name| taken.iter().any(|known| known == name)));
        }
        self.model.chain.push(layer);
        self.model.forget_graph();
        self
    }

    /// Takes the last layer off.
    pub fn pop(&mut self) -> Option<LayerHandle> {
        self.model.forget_graph();
        self.model.chain.pop()
    }
}

impl Default for Sequential {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Sequential {
    type Target = Model;
    fn deref(&self) -> &Model {
        &self.model
    }
}

impl DerefMut for Sequential {
    fn deref_mut(&mut self) -> &mut Model {
        &mut self.model
    }
}

impl From<Model> for Sequential {
    fn from(model: Model) -> Self {
        Sequential { model }
    }
}

impl From<Sequential> for Model {
    fn from(sequential: Sequential) -> Self {
        sequential.model
    }
}
