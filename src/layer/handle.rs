//! A layer with what belongs to every layer.

use super::{Arguments, Backward, Build, Forward, Gradients, Layer, Param, Values};
use crate::config::Shared;
use crate::error::{Context, Result, ensure};
use crate::model::nested::Nested;
use crate::model::{SymbolicTensor, Symbols};
use crate::regularizers::Regularizer;
use crate::shape::Shape;
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// A layer in a model: with its name, its `trainable` flag and its activity regularizer.
///
/// A clone is another handle to the same layer, so a layer can be shared between places and models. Of
/// models that share layers, none may be used on another thread while one is trained: they wait for each
/// other's weights.
#[derive(Clone)]
pub struct LayerHandle(Arc<HandleInner>);

struct HandleInner {
    name: RwLock<String>,
    trainable: AtomicBool,
    activity_regularizer: RwLock<Option<Shared<dyn Regularizer>>>,
    layer: RwLock<Box<dyn Layer>>,
    /// The shapes of the inputs it was built for, and what the paths of its weights begin with.
    built: RwLock<Option<(Vec<Shape>, String)>>,
}

impl LayerHandle {
    pub(crate) fn from_parts(
        layer: Box<dyn Layer>,
        name: String,
        trainable: bool,
        activity_regularizer: Option<Shared<dyn Regularizer>>,
    ) -> Self {
        LayerHandle(Arc::new(HandleInner {
            name: RwLock::new(name),
            trainable: AtomicBool::new(trainable),
            activity_regularizer: RwLock::new(activity_regularizer),
            layer: RwLock::new(layer),
            built: RwLock::new(None),
        }))
    }

    /// Its name; empty until it is given one or is added to a model.
    pub fn name(&self) -> String {
        self.0.name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_name(&self, name: String) {
        *self.0.name.write().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// The class of the layer: `"Conv2D"`.
    pub fn class_name(&self) -> String {
        self.layer().class_name().to_owned()
    }

    /// Whether its weights are learned. Compile the model again after a change.
    pub fn trainable(&self) -> bool {
        self.0.trainable.load(Ordering::Relaxed)
    }

    /// Freezes it (`false`) or lets it learn (`true`).
    pub fn set_trainable(&self, trainable: bool) {
        self.0.trainable.store(trainable, Ordering::Relaxed);
    }

    /// What is added to the loss for the size of its output.
    pub fn activity_regularizer(&self) -> Option<Shared<dyn Regularizer>> {
        self.0.activity_regularizer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The layer itself, as long as the guard lives.
    pub fn layer(&self) -> RwLockReadGuard<'_, Box<dyn Layer>> {
        self.0.layer.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `with` with the layer as its own type; `None` when it is of another type.
    pub fn downcast<L: Layer, T>(&self, with: impl FnOnce(&L) -> T) -> Option<T> {
        let layer = self.layer();
        let any: &dyn Any = &**layer;
        any.downcast_ref::<L>().map(with)
    }

    /// Shows its weights, learned and tracked, in Keras' order.
    pub fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.layer().visit(visit);
    }

    /// All its weights, learned and tracked, in Keras' order.
    pub fn weights(&self) -> Vec<Param> {
        self.weights_of(&**self.layer())
    }

    fn weights_of(&self, layer: &dyn Layer) -> Vec<Param> {
        let mut weights = Vec::new();
        layer.visit(&mut |param: &Param| weights.push(param.clone()));
        weights
    }

    /// The number of values in its weights.
    pub fn count_params(&self) -> usize {
        self.weights().iter().map(|w| w.value().len()).sum()
    }

    /// The weights that a step changes: the learned ones, unless it is frozen. Of a model inside, those of its layers
    /// that are not frozen.
    pub fn trainable_weights(&self) -> Vec<Param> {
        if !self.trainable() {
            return Vec::new();
        }
        match self.downcast(|nested: &Nested| nested.model().layers()) {
            Some(layers) => layers.iter().flat_map(LayerHandle::trainable_weights).collect(),
            None => self.weights().into_iter().filter(Param::is_learned).collect(),
        }
    }

    /// Whether it has weights that a step changes.
    pub(crate) fn learns(&self) -> bool {
        if let Some(layers) = self.downcast(|nested: &Nested| nested.model().layers()) {
            return self.trainable() && layers.iter().any(LayerHandle::learns);
        }
        let mut learns = false;
        if self.trainable() {
            self.layer().visit(&mut |param: &Param| learns |= param.is_learned());
        }
        learns
    }

    /// Whether the two are handles to one layer.
    pub(crate) fn is(&self, other: &LayerHandle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// "layer 'conv2d' (Conv2D)".
    pub(crate) fn place(&self) -> String {
        format!("layer '{}' ({})", self.name(), self.class_name())
    }

    /// Whether its arguments make sense and it can take such inputs; and what shapes it gives out for them.
    pub(crate) fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        self.call_shapes(inputs, &Arguments::default())
    }

    /// As [`output_shapes`](Self::output_shapes), for a call with these arguments.
    pub(crate) fn call_shapes(&self, inputs: &[Shape], arguments: &Arguments) -> Result<Vec<Shape>> {
        let infer = || {
            let layer = self.layer();
            layer.check()?;
            if let Some(regularizer) = self.activity_regularizer() {
                regularizer.check().at(|| "activity_regularizer".to_owned())?;
            }
            let built = self.0.built.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((built, _)) = built.as_ref()
                && !self.weights_of(&**layer).is_empty()
            {
                // Inputs that are given by name stand behind the others, and one call may have some that another has not.
                let fits = built.iter().zip(inputs).all(|(a, b)| (a.rank(), a.last()) == (b.rank(), b.last()));
                let named = !arguments.tensors.is_empty();
                ensure!(
                    fits && (named || built.len() == inputs.len()),
                    Shape,
                    "its weights were made for inputs of shape {built:?}, and it cannot take {inputs:?}; use a new layer"
                );
            }
            layer.call_shapes(inputs, arguments)
        };
        infer().at(|| self.place())
    }

    /// Makes its weights, if it has not yet.
    pub(crate) fn build(&self, inputs: &[Shape], cx: &Build) -> Result<()> {
        self.build_as(&self.name(), inputs, cx)
    }

    /// As [`build`](Self::build), where its weights' paths go through another name than its own: that which a layer
    /// around it gives it (`forward_layer`).
    pub(crate) fn build_as(&self, name: &str, inputs: &[Shape], cx: &Build) -> Result<()> {
        let build = || {
            let mut built = self.0.built.write().unwrap_or_else(PoisonError::into_inner);
            if built.is_none() {
                let mut layer = self.0.layer.write().unwrap_or_else(PoisonError::into_inner);
                let mut cx = cx.below(name);
                layer.build(inputs, &mut cx)?;
                *built = Some((inputs.to_vec(), cx.path().to_owned()));
            }
            Ok(())
        };
        // The place is asked for when the layer is no longer held.
        build().at(|| self.place())
    }

    /// What the paths of its weights begin with, once it is built.
    #[cfg(feature = "keras")]
    pub(crate) fn path(&self) -> String {
        let built = self.0.built.read().unwrap_or_else(PoisonError::into_inner);
        built.as_ref().map(|(_, path)| path.clone()).unwrap_or_default()
    }

    /// Calls the layer, and adds the penalty on its outputs to the loss.
    pub(crate) fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let outputs = self.layer().forward(inputs, cx)?;
        if let Some(regularizer) = self.activity_regularizer() {
            for output in outputs.iter() {
                cx.add_loss(regularizer.loss(output) * cx.mean_scale(output));
                cx.save(output.clone());
            }
        }
        // Of several outputs some may be asked for no gradient: then it is zeros of their shape.
        if outputs.len() > 1 {
            outputs.iter().for_each(|output| cx.save_shape(output.shape()));
        }
        Ok(outputs)
    }

    /// From the gradients of the outputs, as far as there are any, those of the inputs.
    pub(crate) fn backward(
        &self,
        mut known: SmallVec<[Option<Tensor>; 1]>,
        cx: &mut Backward<'_>,
    ) -> Result<Gradients> {
        if known.len() > 1 {
            for gradient in known.iter_mut().rev() {
                let shape = cx.restore_shape()?;
                gradient.get_or_insert_with(|| Tensor::zeros(&shape));
            }
        }
        if let Some(regularizer) = self.activity_regularizer() {
            for gradient in known.iter_mut().rev() {
                let output = cx.restore()?;
                let gradient = gradient.get_or_insert_with(|| Tensor::zeros(output.shape()));
                regularizer.add_gradient(&output, cx.mean_scale(&output) as f32, gradient.data_mut());
            }
        }
        // Nothing downstream depends on this layer's only output.
        let Some(gradients) = known.into_iter().collect::<Option<Values>>() else {
            *cx.saved = Default::default();
            return Ok(Gradients::default());
        };
        self.layer().backward(gradients, cx)
    }
}

impl fmt::Debug for LayerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

impl<L: Layer> From<L> for LayerHandle {
    fn from(layer: L) -> Self {
        LayerHandle::from_parts(Box::new(layer), String::new(), true, None)
    }
}

/// What every layer can be given besides its own arguments. These methods end a builder's chain,
/// since they belong to the handle around the layer.
pub trait LayerExt: Into<LayerHandle> {
    /// Gives it a name, which must be unique in its model. Default: the class name, numbered.
    fn name(self, name: &str) -> LayerHandle {
        let handle: LayerHandle = self.into();
        handle.set_name(name.to_owned());
        handle
    }

    /// Freezes it (`false`): its weights are not learned.
    fn trainable(self, trainable: bool) -> LayerHandle {
        let handle: LayerHandle = self.into();
        handle.set_trainable(trainable);
        handle
    }

    /// Adds a penalty on its output to the loss, divided by the size of the batch.
    fn activity_regularizer(self, regularizer: impl Into<Shared<dyn Regularizer>>) -> LayerHandle {
        let handle: LayerHandle = self.into();
        *handle.0.activity_regularizer.write().unwrap_or_else(PoisonError::into_inner) = Some(regularizer.into());
        handle
    }
}

impl<T: Into<LayerHandle>> LayerExt for T {}

/// Calling a layer on symbolic tensors without a handle to it: `Dense::new(4).call(&x)?`.
pub trait CallExt: Layer + Sized {
    /// Calls it on one symbolic tensor or several; see [`LayerHandle::call`].
    ///
    /// # Errors
    /// When it cannot take such inputs, or has several outputs.
    fn call(self, inputs: impl Into<Symbols>) -> Result<SymbolicTensor> {
        let handle: LayerHandle = self.into();
        handle.call(inputs)
    }

    /// As [`call`](Self::call), for a layer of any number of outputs.
    ///
    /// # Errors
    /// When it cannot take such inputs.
    fn call_all(self, inputs: impl Into<Symbols>) -> Result<Vec<SymbolicTensor>> {
        let handle: LayerHandle = self.into();
        handle.call_all(inputs)
    }
}

impl<L: Layer> CallExt for L {}
