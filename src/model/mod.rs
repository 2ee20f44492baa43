//! Models: topology, execution order, and the workflow on top of them.

pub(crate) mod config;
mod functional;
mod fusion;
mod graph;
mod graph_config;
pub(crate) mod nested;
mod sequential;
mod summary;
mod table;

pub use functional::{SymbolicTensor, Symbols};
pub(crate) use graph::Graph;
#[cfg(feature = "plot")]
pub(crate) use graph::{Node, Port};
pub use sequential::Sequential;
pub use summary::Summary;
pub(crate) use summary::bytes;
#[cfg(feature = "plot")]
pub(crate) use summary::thousands;
pub(crate) use table::{Align, Column, Table};

use crate::error::{Context, Error, Result, ensure};
use crate::layer::{Build, LayerHandle, Param};
use crate::random;
use crate::shape::Shape;
use crate::training::Compiled;
use std::fmt;
use std::sync::OnceLock;

/// A network of layers that can be compiled, trained, evaluated, asked for predictions and saved.
///
/// It is made through [`Sequential`], which dereferences to it, or as a graph by [`Model::new`]. Training methods are in
/// [`training`](crate::training): [`compile`](Model::compile), [`fit`](Model::fit),
/// [`evaluate`](Model::evaluate), [`predict`](Model::predict).
pub struct Model {
    pub(crate) name: String,
    pub(crate) seed: u64,
    /// The layers of a model that is a chain, also before its input shape is known.
    pub(crate) chain: Vec<LayerHandle>,
    /// A graph whose weights are not made yet.
    pub(crate) pending: Option<Graph>,
    pub(crate) graph: Option<Graph>,
    /// The model as a layer, once it was asked for.
    pub(crate) layer: OnceLock<LayerHandle>,
    pub(crate) compiled: Option<Compiled>,
    /// Set by a callback to end training after this batch or epoch.
    pub(crate) stop_training: bool,
    /// Whether the last training was to go on another time.
    pub(crate) interrupted: bool,
}

impl Model {
    pub(crate) fn empty(name: &str) -> Self {
        Self::empty_seeded(name, random::fresh_seed())
    }

    /// As [`empty`](Self::empty), for a model of the inside, which must not change the seeds of those to come.
    pub(crate) fn empty_seeded(name: &str, seed: u64) -> Self {
        Model {
            name: name.to_owned(),
            seed,
            chain: Vec::new(),
            pending: None,
            graph: None,
            layer: OnceLock::new(),
            compiled: None,
            stop_training: false,
            interrupted: false,
        }
    }

    /// The name of the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The seed that its first weights, its shuffling and its dropout follow.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Its layers, in order, without inputs.
    pub fn layers(&self) -> Vec<LayerHandle> {
        match self.graph.as_ref().or(self.pending.as_ref()) {
            Some(graph) => graph.layers(),
            None => self.chain.iter().filter(|l| l.class_name() != "InputLayer").cloned().collect(),
        }
    }

    /// The layer of this name (Keras: `get_layer`).
    ///
    /// # Errors
    /// When there is none; the error lists the nearest names.
    pub fn layer(&self, name: &str) -> Result<LayerHandle> {
        let layers = self.layers();
        let names: Vec<String> = layers.iter().map(LayerHandle::name).collect();
        match names.iter().position(|n| n == name) {
            Some(i) => Ok(layers[i].clone()),
            None => Err(Error::unknown_name("layer of this model", name, names.iter().map(String::as_str))),
        }
    }

    /// The layer at this place, inputs not counted.
    ///
    /// # Errors
    /// When there are not so many layers.
    pub fn layer_at(&self, index: usize) -> Result<LayerHandle> {
        let layers = self.layers();
        let n = layers.len();
        layers.into_iter().nth(index).ok_or_else(|| {
            Error::Argument(format!("there is no layer {index}; the model has {n} layers, counted from 0"))
        })
    }

    /// Freezes all layers (`false`) or lets them all learn (`true`). Compile again after a change.
    pub fn set_trainable(&mut self, trainable: bool) {
        self.layers().iter().for_each(|layer| layer.set_trainable(trainable));
    }

    /// Freezes the layers of these names (`false`) or lets them learn (`true`). Compile again after a change.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// let mut model = Sequential::new();
    /// model.add(Input::new([4])).add(Dense::new(3).name("hidden")).add(Dense::new(1).name("top"));
    /// model.build()?;
    /// model.set_trainable_of(["hidden"], false)?;
    /// assert_eq!(model.trainable_weights().len(), 2);
    /// assert!(model.set_trainable_of(["hiden"], false).unwrap_err().to_string().contains("did you mean 'hidden'"));
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// When there is no layer of a name; then nothing is changed.
    pub fn set_trainable_of<N: AsRef<str>>(
        &mut self,
        names: impl IntoIterator<Item = N>,
        trainable: bool,
    ) -> Result<()> {
        let layers: Vec<LayerHandle> =
            names.into_iter().map(|name| self.layer(name.as_ref())).collect::<Result<_>>()?;
        layers.iter().for_each(|layer| layer.set_trainable(trainable));
        Ok(())
    }

    /// Freezes the layers whose names begin so (`false`) or lets them learn (`true`): `"block5_"` of a VGG. Compile
    /// again after a change.
    ///
    /// # Errors
    /// When no layer's name begins so.
    pub fn set_trainable_prefix(&mut self, prefix: &str, trainable: bool) -> Result<()> {
        let layers = self.layers();
        let names: Vec<String> = layers.iter().map(LayerHandle::name).collect();
        ensure!(
            names.iter().any(|name| name.starts_with(prefix)),
            Argument,
            "no layer's name begins with '{prefix}'; the layers are {}",
            names.join(", ")
        );
        let chosen = layers.iter().zip(&names).filter(|(_, name)| name.starts_with(prefix));
        chosen.for_each(|(layer, _)| layer.set_trainable(trainable));
        Ok(())
    }

    /// Freezes all layers but the last `n` of [`layers`](Self::layers), which learn (Keras: a loop over
    /// `model.layers[:-n]`). Layers without weights count. Compile again after a change.
    ///
    /// # Errors
    /// When the model has fewer layers.
    pub fn freeze_all_but_last(&mut self, n: usize) -> Result<()> {
        let layers = self.layers();
        let frozen = layers.len().checked_sub(n).ok_or_else(|| {
            Error::Argument(format!("all but the last {n} layers: the model has only {}", layers.len()))
        })?;
        layers.iter().enumerate().for_each(|(i, layer)| layer.set_trainable(i >= frozen));
        Ok(())
    }

    /// Whether the shapes are known and the weights made.
    pub fn is_built(&self) -> bool {
        self.graph.is_some()
    }

    pub(crate) fn built(&self) -> Result<&Graph> {
        self.graph.as_ref().ok_or_else(|| {
            let how = match self.starts_with_input() {
                true => "call build, compile or fit",
                false => "its input shape is not known yet. Add an Input layer first, or call build_for or fit",
            };
            Error::State(format!("model '{}' is not built: {how}", self.name))
        })
    }

    /// The shape of its first input, the batch first.
    ///
    /// # Errors
    /// When it is not built.
    pub fn input_shape(&self) -> Result<Shape> {
        self.built()?.input_shapes().into_iter().next().ok_or_else(|| Error::State("the model has no input".to_owned()))
    }

    /// The shape of its first output, the batch first.
    ///
    /// # Errors
    /// When it is not built.
    pub fn output_shape(&self) -> Result<Shape> {
        self.built()?
            .output_shapes()
            .into_iter()
            .next()
            .ok_or_else(|| Error::State("the model has no output".to_owned()))
    }

    /// The shapes of its inputs, the batch first.
    ///
    /// # Errors
    /// When it is not built.
    pub fn input_shapes(&self) -> Result<Vec<Shape>> {
        Ok(self.built()?.input_shapes())
    }

    /// The shapes of its outputs, the batch first.
    ///
    /// # Errors
    /// When it is not built.
    pub fn output_shapes(&self) -> Result<Vec<Shape>> {
        Ok(self.built()?.output_shapes())
    }

    /// The names of its inputs: those of the Input layers. One that will be made is called `input_layer`.
    pub fn input_names(&self) -> Vec<String> {
        match self.graph.as_ref().or(self.pending.as_ref()) {
            Some(graph) => graph.inputs.iter().map(|&input| graph.nodes[input].layer.name()).collect(),
            None => {
                let first = self.chain.first().filter(|_| self.starts_with_input());
                vec![first.map_or_else(|| "input_layer".to_owned(), LayerHandle::name)]
            }
        }
    }

    /// The names of its outputs: those of the layers that give them.
    pub fn output_names(&self) -> Vec<String> {
        match self.graph.as_ref().or(self.pending.as_ref()) {
            Some(graph) => graph.output_names(),
            None => self.chain.last().map(LayerHandle::name).into_iter().collect(),
        }
    }

    /// All weights of all layers, learned and tracked, in Keras' order.
    pub fn weights(&self) -> Vec<Param> {
        distinct(self.layers().iter().flat_map(LayerHandle::weights))
    }

    /// The weights that a training step changes: the learned ones of layers that are not frozen.
    pub fn trainable_weights(&self) -> Vec<Param> {
        distinct(self.layers().iter().flat_map(LayerHandle::trainable_weights))
    }

    /// The number of values in all weights.
    pub fn count_params(&self) -> usize {
        self.weights().iter().map(|w| w.value().len()).sum()
    }

    /// The floating-point operations of a forward pass for one sample: the sum of [`Layer::flops`](crate::Layer::flops) over
    /// all layers; operations between layers count nothing but what [`Dot`](crate::layers::Dot) and the merging layers do. A
    /// training step takes about three times as many. Dimensions that are not known count as 1.
    ///
    /// # Errors
    /// When it is not built.
    pub fn flops(&self) -> Result<f64> {
        let graph = self.built()?;
        Ok(graph.flops_of(graph.nodes.iter().map(|node| node.output_shapes.as_slice())).iter().sum())
    }

    /// Gives it another seed: that of its shuffling and its dropout from now on, and of its first weights if
    /// it is not built yet.
    pub fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// The values of all weights, in the order of [`weights`](Self::weights).
    pub fn get_weights(&self) -> Vec<ndarray::ArrayD<f32>> {
        self.weights().iter().map(|w| w.value().into_array()).collect()
    }

    /// Sets the values of all weights, in the order of [`weights`](Self::weights).
    ///
    /// # Errors
    /// When there are more or fewer, or a shape differs; then no weight is changed.
    pub fn set_weights<A: Into<crate::Tensor> + Clone>(&mut self, values: &[A]) -> Result<()> {
        let weights = self.weights();
        ensure!(
            weights.len() == values.len(),
            Argument,
            "model '{}' has {} weights, got values for {}",
            self.name,
            weights.len(),
            values.len()
        );
        let values: Vec<crate::Tensor> = values.iter().cloned().map(Into::into).collect();
        for (weight, value) in weights.iter().zip(&values) {
            ensure!(
                weight.value().shape() == value.shape(),
                Shape,
                "weight '{}' has shape {:?}, got a value of shape {:?}",
                weight.path(),
                weight.shape(),
                value.shape()
            );
        }
        weights.iter().zip(values).try_for_each(|(weight, value)| weight.set(value))
    }

    /// Makes the weights of a model that starts with an Input. [`compile`](Self::compile) does it too.
    ///
    /// # Errors
    /// When the input shape is not known, or a layer cannot take what it is given.
    pub fn build(&mut self) -> Result<()> {
        match self.graph {
            Some(_) => Ok(()),
            None => self.build_in(None, &Build::new(self.seed)).at(|| format!("model '{}'", self.name)),
        }
    }

    /// Makes the weights, with paths below that of `cx`; a chain without an Input takes inputs of `shape`.
    pub(crate) fn build_in(&mut self, shape: Option<Shape>, cx: &Build) -> Result<()> {
        if self.graph.is_none() {
            self.graph = Some(match self.pending.take() {
                Some(mut graph) => {
                    if let Err(error) = graph.build(cx) {
                        self.pending = Some(graph);
                        return Err(error);
                    }
                    graph
                }
                None => Graph::chain(&self.chain, shape, cx)?,
            });
        }
        Ok(())
    }

    /// Another model of the same layers, not compiled.
    fn twin(&self) -> Model {
        Model {
            chain: self.chain.clone(),
            pending: self.pending.clone(),
            graph: self.graph.clone(),
            ..Model::empty_seeded(&self.name, self.seed)
        }
    }

    /// Keras' class of it.
    pub(crate) fn class_name(&self) -> &'static str {
        if self.chain.is_empty() && (self.graph.is_some() || self.pending.is_some()) {
            "Functional"
        } else {
            "Sequential"
        }
    }

    /// Makes the weights of a model without an Input, for samples of this shape.
    ///
    /// # Errors
    /// When a layer cannot take what it is given, or the model is built for another shape.
    pub fn build_for(&mut self, sample: impl AsRef<[usize]>) -> Result<()> {
        let shape = Shape::batch_of(sample);
        match &self.graph {
            Some(_) => {
                let built = self.input_shape()?;
                ensure!(built == shape, Shape, "the model is built for inputs of shape {built}, not {shape}");
            }
            None => {
                let cx = Build::new(self.seed);
                self.build_in(Some(shape), &cx).at(|| format!("model '{}'", self.name))?;
            }
        }
        Ok(())
    }

    /// Forgets the order of execution, since the layers change. Their weights stay.
    fn forget_graph(&mut self) {
        self.graph = None;
        self.layer = OnceLock::new();
        self.compiled = None;
    }

    pub(crate) fn starts_with_input(&self) -> bool {
        self.pending.is_some() || self.chain.first().is_some_and(|layer| layer.class_name() == "InputLayer")
    }

    /// Builds a chain without an Input from the data it is first given.
    pub(crate) fn ensure_built(&mut self, sample: &[usize]) -> Result<()> {
        if self.graph.is_none() && !self.starts_with_input() { self.build_for(sample) } else { self.build() }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("name", &self.name).field("layers", &self.layers()).finish_non_exhaustive()
    }
}

/// Each weight once: layers may share some.
fn distinct(weights: impl Iterator<Item = Param>) -> Vec<Param> {
    let mut seen = std::collections::HashSet::new();
    weights.filter(|weight| seen.insert(weight.id())).collect()
}
