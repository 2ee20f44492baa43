//! The contract of a layer: the trait, its weights, and the contexts of a forward and a backward pass.
//!
//! A layer owns its weights and nothing else. What a forward pass must remember for its backward
//! pass is saved in the context of that **call**, gradients go to a store that belongs to the step,
//! and the name, the `trainable` flag and the activity regularizer belong to the [`LayerHandle`]
//! around it. So one layer can stand at several places of a graph or in several models, predictions
//! can share a model between threads, and inference saves nothing.

use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Context, Error, Result, ensure};
use crate::initializers::Initializer;
use crate::random::{self, Rng};
use crate::regularizers::Regularizer;
use crate::runtime::Workspace;
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A layer with any number of inputs, outputs, weights and child layers.
///
/// A layer with one input, one output and nothing to learn is easier to write as a [`SimpleLayer`].
pub trait Layer: Any + Send + Sync {
    /// Keras' name of the class: `"Conv2D"`.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }

    /// What makes it again (Keras: `get_config`), without the name and what else belongs to the
    /// [`LayerHandle`]. Without it the layer runs, and a model that uses it cannot be saved.
    ///
    /// # Errors
    /// By default: that it has none.
    fn config(&self) -> Result<Config> {
        Err(config::no_config("layer", self.class_name()))
    }

    /// Whether its arguments make sense. Called before [`build`](Self::build).
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The shapes of its outputs for these inputs. By default those of the inputs.
    ///
    /// # Errors
    /// When it cannot take such inputs.
    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        Ok(inputs.to_vec())
    }

    /// Makes its weights, once the shapes of its inputs are known.
    ///
    /// # Errors
    /// When it cannot take such inputs.
    fn build(&mut self, _inputs: &[Shape], _cx: &mut Build) -> Result<()> {
        Ok(())
    }

    /// Computes the outputs, and saves in `cx` what [`backward`](Self::backward) will need.
    ///
    /// # Errors
    /// When the inputs do not fit.
    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values>;

    /// From the gradients of the outputs, adds those of its weights to the store and returns those
    /// of its inputs. What `forward` saved last is restored first.
    ///
    /// # Errors
    /// When the gradients do not fit.
    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients>;

    /// Shows its weights, its state and its child layers, in the order in which Keras stores them.
    fn visit(&self, _visit: &mut dyn FnMut(&Param)) {}

    /// Whether, in training, an output depends on other samples of the batch (BatchNormalization):
    /// then a batch is not split.
    fn couples_samples(&self) -> bool {
        false
    }
}

impl fmt::Debug for dyn Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class_name())
    }
}

/// A layer with one input, one output, and neither weights nor randomness.
///
/// ```
/// use cornu::prelude::*;
///
/// /// y = x², value by value.
/// struct Square;
///
/// impl SimpleLayer for Square {
///     fn forward(&self, x: &Tensor) -> Result<Tensor> {
///         Ok(x.clone().map(|v| v * v))
///     }
///     fn backward(&self, x: &Tensor, _y: &Tensor, gradient: Tensor) -> Result<Tensor> {
///         gradient.zip_map(x, |g, v| g * 2.0 * v)
///     }
/// }
///
/// let mut model = Sequential::new();
/// model.add(Input::new([3])).add(Square).add(Dense::new(1));
/// model.build()?;
/// assert_eq!(model.predict(&ndarray::array![[1.0, 2.0, 3.0]], Predict::default())?.shape(), [1, 1]);
/// # Ok::<(), cornu::Error>(())
/// ```
pub trait SimpleLayer: Any + Send + Sync {
    /// The name it is saved under. By default the name of the type.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }

    /// What makes it again. Without it the layer runs, and a model that uses it cannot be saved.
    ///
    /// # Errors
    /// By default: that it has none.
    fn config(&self) -> Result<Config> {
        Err(config::no_config("layer", self.class_name()))
    }

    /// The shape of the output. By default that of the input.
    ///
    /// # Errors
    /// When it cannot take such an input.
    fn output_shape(&self, input: &Shape) -> Result<Shape> {
        Ok(input.clone())
    }

    /// The output for a batch.
    ///
    /// # Errors
    /// When the input does not fit.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;

    /// The gradient of the input, from the input, the output and the gradient of the output.
    ///
    /// # Errors
    /// When the gradient does not fit.
    fn backward(&self, x: &Tensor, y: &Tensor, gradient: Tensor) -> Result<Tensor>;
}

impl<T: SimpleLayer> Layer for T {
    fn class_name(&self) -> &str {
        SimpleLayer::class_name(self)
    }
    fn config(&self) -> Result<Config> {
        SimpleLayer::config(self)
    }
    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![self.output_shape(one_shape(inputs)?)?])
    }
    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let y = SimpleLayer::forward(self, &x)?;
        cx.save(x);
        cx.save(y.clone());
        Ok(y.into())
    }
    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let y = cx.restore()?;
        let x = cx.restore()?;
        Ok(SimpleLayer::backward(self, &x, &y, gradients.one()?)?.into())
    }
}

/// The only one of these shapes.
///
/// # Errors
/// When there are none or several.
pub fn one_shape(inputs: &[Shape]) -> Result<&Shape> {
    match inputs {
        [only] => Ok(only),
        other => Err(Error::Argument(format!("expected one input, got {}", other.len()))),
    }
}

/// The inputs or outputs of a layer, or the gradients of its outputs.
#[derive(Clone, Debug, Default)]
pub struct Values(SmallVec<[Tensor; 2]>);

impl Values {
    /// The only one of them.
    ///
    /// # Errors
    /// When there are none or several.
    pub fn one(mut self) -> Result<Tensor> {
        match (self.0.len(), self.0.pop()) {
            (1, Some(only)) => Ok(only),
            (n, _) => Err(Error::Argument(format!("expected one tensor, got {n}"))),
        }
    }
}

impl From<Tensor> for Values {
    fn from(tensor: Tensor) -> Self {
        Values(smallvec::smallvec![tensor])
    }
}

impl FromIterator<Tensor> for Values {
    fn from_iter<I: IntoIterator<Item = Tensor>>(tensors: I) -> Self {
        Values(tensors.into_iter().collect())
    }
}

impl IntoIterator for Values {
    type Item = Tensor;
    type IntoIter = smallvec::IntoIter<[Tensor; 2]>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl std::ops::Deref for Values {
    type Target = [Tensor];
    fn deref(&self) -> &[Tensor] {
        &self.0
    }
}

/// The gradients of a layer's inputs; `None` where none was asked for or none exists.
#[derive(Clone, Debug, Default)]
pub struct Gradients(SmallVec<[Option<Tensor>; 2]>);

impl From<Tensor> for Gradients {
    fn from(gradient: Tensor) -> Self {
        Some(gradient).into()
    }
}

impl From<Option<Tensor>> for Gradients {
    fn from(gradient: Option<Tensor>) -> Self {
        Gradients(smallvec::smallvec![gradient])
    }
}

impl FromIterator<Option<Tensor>> for Gradients {
    fn from_iter<I: IntoIterator<Item = Option<Tensor>>>(gradients: I) -> Self {
        Gradients(gradients.into_iter().collect())
    }
}

impl IntoIterator for Gradients {
    type Item = Option<Tensor>;
    type IntoIter = smallvec::IntoIter<[Option<Tensor>; 2]>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// A weight of a layer, learned or tracked. A clone is another handle to the same weight.
#[derive(Clone, Default)]
pub struct Param(Arc<ParamInner>);

#[derive(Default)]
struct ParamInner {
    id: u64,
    path: String,
    learned: bool,
    regularizer: Option<Shared<dyn Regularizer>>,
    constraint: Option<Shared<dyn Constraint>>,
    value: RwLock<Tensor>,
}

impl Param {
    /// Where it stands in its model: `"conv2d/kernel"`.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The last part of its path: `"kernel"`.
    pub fn name(&self) -> &str {
        self.path().rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is learned by gradient (a kernel) rather than tracked (a moving average).
    pub fn is_learned(&self) -> bool {
        self.0.learned
    }

    /// Its value. The tensor shares the weight's memory until one of them is written.
    pub fn value(&self) -> Tensor {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its shape.
    pub fn shape(&self) -> Vec<usize> {
        self.0.value.read().unwrap_or_else(PoisonError::into_inner).shape().to_vec()
    }

    /// Sets its value.
    ///
    /// # Errors
    /// When the shape is another one.
    pub fn set(&self, value: impl Into<Tensor>) -> Result<()> {
        let value = value.into();
        let mut old = self.write();
        ensure!(
            old.shape() == value.shape(),
            Shape,
            "weight '{}' has shape {:?}, cannot be set to one of shape {:?}",
            self.path(),
            old.shape(),
            value.shape()
        );
        // Copied in, so that a weight never keeps memory of some step's workspace.
        old.data_mut().copy_from_slice(value.data());
        Ok(())
    }

    /// Opens its value for writing, as long as the guard lives.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Tensor> {
        self.0.value.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is added to the loss for its size.
    pub fn regularizer(&self) -> Option<&Shared<dyn Regularizer>> {
        self.0.regularizer.as_ref()
    }

    /// What it is brought back to after each step.
    pub fn constraint(&self) -> Option<&Shared<dyn Constraint>> {
        self.0.constraint.as_ref()
    }

    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.path(), self.shape())
    }
}

/// The context in which a layer makes its weights.
#[derive(Clone, Debug)]
pub struct Build {
    seed: u64,
    path: String,
    /// How many more values may be made, when they are zeros that those of a file will replace.
    room: Option<Arc<AtomicUsize>>,
}

impl Build {
    /// Weights start as their initializers say.
    pub(crate) fn new(seed: u64) -> Self {
        Build { seed, path: String::new(), room: None }
    }

    /// Weights start as zeros, since a file has the values: so many, and no more can be made, so that
    /// a damaged file cannot ask for more memory than it fills.
    pub(crate) fn to_load(seed: u64, values: usize) -> Self {
        Build { room: Some(Arc::new(AtomicUsize::new(values))), ..Build::new(seed) }
    }

    /// The same, for what stands below `name`.
    pub(crate) fn below(&self, name: &str) -> Self {
        Build { path: join(&self.path, name), ..self.clone() }
    }

    /// Makes a learned weight. Its first values depend on the model's seed and on its path alone.
    ///
    /// # Errors
    /// When an argument is wrong or the weight is too large.
    pub fn weight(
        &mut self,
        name: &str,
        shape: &[usize],
        initializer: &Shared<dyn Initializer>,
        regularizer: &Option<Shared<dyn Regularizer>>,
        constraint: &Option<Shared<dyn Constraint>>,
    ) -> Result<Param> {
        let make = || {
            regularizer.as_ref().map_or(Ok(()), |r| r.check()).at(|| format!("{name}_regularizer"))?;
            constraint.as_ref().map_or(Ok(()), |c| c.check()).at(|| format!("{name}_constraint"))?;
            let mut inner = self.make(name, shape, initializer)?;
            inner.learned = true;
            inner.regularizer = regularizer.clone();
            inner.constraint = constraint.clone();
            Ok(Param(Arc::new(inner)))
        };
        make()
    }

    /// Makes a weight that is tracked, not learned: a moving average, a count.
    ///
    /// # Errors
    /// As [`weight`](Self::weight).
    pub fn state(&mut self, name: &str, shape: &[usize], initializer: &Shared<dyn Initializer>) -> Result<Param> {
        Ok(Param(Arc::new(self.make(name, shape, initializer)?)))
    }

    /// Builds a child layer, whose weights' paths go through `name`.
    ///
    /// # Errors
    /// Those of `build`, with the child's name.
    pub fn child<T>(&mut self, name: &str, build: impl FnOnce(&mut Build) -> Result<T>) -> Result<T> {
        build(&mut self.below(name)).at(|| format!("'{name}'"))
    }

    /// The seed of the model.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    fn make(&self, name: &str, shape: &[usize], initializer: &Shared<dyn Initializer>) -> Result<ParamInner> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let path = join(&self.path, name);
        let bytes = shape.iter().try_fold(4usize, |n, &d| n.checked_mul(d));
        ensure!(
            bytes.is_some_and(|b| b <= isize::MAX as usize / 2),
            Shape,
            "weight '{path}' of shape {shape:?} is too large"
        );
        initializer.check().at(|| format!("{name}_initializer"))?;
        let value = match &self.room {
            None => {
                let mut rng = random::stream(self.seed, random::stream_of(&path), 0, 0);
                initializer.initialize(shape, &mut rng).at(|| format!("{name}_initializer"))?
            }
            Some(room) => {
                let values = shape.iter().product();
                let take = |left: usize| left.checked_sub(values);
                let taken = room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
                ensure!(taken.is_ok(), Format, "the file has no values for weight '{path}' of shape {shape:?}");
                Tensor::zeros(shape)
            }
        };
        ensure!(
            value.shape() == shape,
            Shape,
            "{name}_initializer made values of shape {:?} for weight '{path}' of shape {shape:?}",
            value.shape()
        );
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Ok(ParamInner { id, path, value: RwLock::new(value), ..ParamInner::default() })
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// What is the same for all layers of one pass over (a piece of) a batch.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    pub training: bool,
    pub seed: u64,
    pub step: u64,
    /// The place in the epoch of the first sample.
    pub first_sample: u64,
    /// The part of its batch that these samples are: 1 where a batch is not cut.
    pub share: f64,
    pub workspace: Arc<Workspace>,
}

/// What a forward pass remembers for its backward pass: a stack, emptied in reverse.
#[derive(Debug, Default)]
pub struct Saved(Vec<Item>);

impl Saved {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug)]
enum Item {
    Tensor(Tensor),
    Indices(Vec<u32>),
    Shape(Dims),
    Call(Saved),
}

/// What a forward pass does besides its outputs.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Terms added to the loss.
    pub loss: f64,
    /// New values of tracked weights, set after the step, in this order.
    pub states: Vec<(Param, Tensor)>,
}

/// The context of one forward call of a layer.
pub struct Forward<'a> {
    pub(crate) pass: &'a Pass,
    pub(crate) saved: &'a mut Saved,
    pub(crate) effects: &'a mut Effects,
    pub(crate) stream: u64,
    pub(crate) trainable: bool,
    pub(crate) recording: bool,
    pub(crate) inputs_need_gradient: bool,
}

impl Forward<'_> {
    /// Whether this call is part of training (dropout drops, batch statistics are used).
    pub fn training(&self) -> bool {
        self.pass.training
    }

    /// Whether this layer's weights are to be learned.
    pub fn trainable(&self) -> bool {
        self.trainable
    }

    /// Whether a backward pass will follow. Without one, what is saved is dropped at once.
    pub fn recording(&self) -> bool {
        self.recording
    }

    /// Whether the backward pass will ask for the gradient of any input.
    pub fn inputs_need_gradient(&self) -> bool {
        self.inputs_need_gradient
    }

    /// Saves a tensor for the backward pass. It is a stack: last in, first out.
    pub fn save(&mut self, tensor: Tensor) {
        if self.recording {
            self.saved.0.push(Item::Tensor(tensor));
        }
    }

    /// Saves indices for the backward pass, on the same stack; best taken from the
    /// [`workspace`](Self::workspace).
    pub fn save_indices(&mut self, indices: Vec<u32>) {
        if self.recording {
            self.saved.0.push(Item::Indices(indices));
        } else {
            self.pass.workspace.give_indices(indices);
        }
    }

    /// Saves a shape for the backward pass, on the same stack.
    pub fn save_shape(&mut self, shape: &[usize]) {
        if self.recording {
            self.saved.0.push(Item::Shape(Dims::from_slice(shape)));
        }
    }

    /// A tensor from the workspace. **Its values are not specified: overwrite them all.**
    pub fn scratch(&self, shape: impl AsRef<[usize]>) -> Tensor {
        Tensor::scratch(shape, &self.pass.workspace)
    }

    /// The recycled memory of this pass.
    pub fn workspace(&self) -> &Arc<Workspace> {
        &self.pass.workspace
    }

    /// The random stream of this layer for sample `i` of this call: it depends on the model's seed,
    /// the layer, the step and the sample's place in the epoch, not on how a batch is split.
    pub fn rng(&self, i: usize) -> Rng {
        self.rng_with(None, i)
    }

    /// As [`rng`](Self::rng), but where the layer has a seed of its own that one counts, not the model's.
    pub fn rng_with(&self, seed: Option<u64>, i: usize) -> Rng {
        let sample = self.pass.first_sample + i as u64;
        random::stream(seed.unwrap_or(self.pass.seed), self.stream, self.pass.step, sample)
    }

    /// As [`rng_with`](Self::rng_with), for a draw that all samples of a step share.
    pub fn shared_rng(&self, seed: Option<u64>) -> Rng {
        random::stream(seed.unwrap_or(self.pass.seed), self.stream, self.pass.step, u64::MAX)
    }

    /// What turns a sum over the samples of `tensor` into its part of a mean over the whole batch, of
    /// which this call may see a piece.
    pub fn mean_scale(&self, tensor: &Tensor) -> f64 {
        self.pass.share / tensor.batch().max(1) as f64
    }

    /// Adds a term to the loss (Keras: `add_loss`). Its gradient is this layer's own business.
    pub fn add_loss(&mut self, loss: f64) {
        self.effects.loss += loss;
    }

    /// Gives a tracked weight a new value, which it takes after the step.
    pub fn update_state(&mut self, param: &Param, value: Tensor) {
        self.effects.states.push((param.clone(), value));
    }

    /// Calls a child layer, whose saved tensors and random streams are kept apart by `index`.
    ///
    /// # Errors
    /// Those of the child.
    pub fn child(&mut self, index: u64, layer: &dyn Layer, inputs: Values) -> Result<Values> {
        let stream = child_stream(self.stream, index);
        let (trainable, recording, need) = (self.trainable, self.recording, true);
        self.nested(stream, trainable, recording, need, |cx| layer.forward(inputs, cx))
    }

    pub(crate) fn nested<T>(
        &mut self,
        stream: u64,
        trainable: bool,
        recording: bool,
        inputs_need_gradient: bool,
        call: impl FnOnce(&mut Forward<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut saved = Saved::default();
        let output = call(&mut Forward {
            pass: self.pass,
            saved: &mut saved,
            effects: self.effects,
            stream,
            trainable,
            recording,
            inputs_need_gradient,
        })?;
        if recording {
            self.saved.0.push(Item::Call(saved));
        }
        Ok(output)
    }
}

pub(crate) fn child_stream(stream: u64, index: u64) -> u64 {
    (stream ^ index.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

/// The gradients of a set of weights.
#[derive(Debug, Clone)]
pub struct GradientStore {
    index: Arc<HashMap<u64, usize>>,
    values: Vec<Tensor>,
}

impl GradientStore {
    /// Zero gradients for these weights.
    pub fn new(params: &[Param]) -> Self {
        GradientStore {
            index: Arc::new(params.iter().enumerate().map(|(i, p)| (p.id(), i)).collect()),
            values: params.iter().map(|p| Tensor::zeros(p.shape())).collect(),
        }
    }

    /// The gradient of a weight; none when it is not among those that are learned.
    pub fn get(&self, param: &Param) -> Option<&Tensor> {
        self.values.get(*self.index.get(&param.id())?)
    }

    /// The gradient of a weight, to be changed.
    pub fn get_mut(&mut self, param: &Param) -> Option<&mut Tensor> {
        self.values.get_mut(*self.index.get(&param.id())?)
    }

    /// All gradients, in the order of the weights.
    pub fn values(&self) -> &[Tensor] {
        &self.values
    }

    /// All gradients, to be changed.
    pub fn values_mut(&mut self) -> &mut [Tensor] {
        &mut self.values
    }

    /// Sets all to zero.
    pub fn clear(&mut self) {
        self.values.iter_mut().for_each(|g| g.data_mut().fill(0.0));
    }
}

/// The context of one backward call of a layer.
pub struct Backward<'a> {
    pub(crate) saved: &'a mut Saved,
    pub(crate) gradients: &'a mut GradientStore,
    pub(crate) workspace: &'a Arc<Workspace>,
    pub(crate) share: f64,
    pub(crate) trainable: bool,
    /// Which inputs' gradients are wanted.
    pub(crate) wanted: SmallVec<[bool; 4]>,
}

impl Backward<'_> {
    /// Takes back the tensor that the forward call saved last.
    ///
    /// # Errors
    /// When `forward` saved something else: a fault of the layer.
    pub fn restore(&mut self) -> Result<Tensor> {
        match self.saved.0.pop() {
            Some(Item::Tensor(tensor)) => Ok(tensor),
            other => Err(unbalanced("a tensor", other)),
        }
    }

    /// Takes back the indices that the forward call saved last.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub fn restore_indices(&mut self) -> Result<Vec<u32>> {
        match self.saved.0.pop() {
            Some(Item::Indices(indices)) => Ok(indices),
            other => Err(unbalanced("indices", other)),
        }
    }

    /// Takes back the shape that the forward call saved last.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub fn restore_shape(&mut self) -> Result<Dims> {
        match self.saved.0.pop() {
            Some(Item::Shape(shape)) => Ok(shape),
            other => Err(unbalanced("a shape", other)),
        }
    }

    /// The gradient of a weight, to be **added** to; none when it is not learned now.
    pub fn gradient(&mut self, param: &Param) -> Option<&mut [f32]> {
        if !self.trainable {
            return None;
        }
        self.gradients.get_mut(param).map(Tensor::data_mut)
    }

    /// Whether this layer's weights are to be learned.
    pub fn trainable(&self) -> bool {
        self.trainable
    }

    /// Whether the gradient of input `i` is asked for.
    pub fn wants(&self, i: usize) -> bool {
        self.wanted.get(i).copied().unwrap_or(false)
    }

    /// A tensor from the workspace. **Its values are not specified: overwrite them all.**
    pub fn scratch(&self, shape: impl AsRef<[usize]>) -> Tensor {
        Tensor::scratch(shape, self.workspace)
    }

    /// The recycled memory of this pass.
    pub fn workspace(&self) -> &Arc<Workspace> {
        self.workspace
    }

    /// As [`Forward::mean_scale`].
    pub fn mean_scale(&self, tensor: &Tensor) -> f64 {
        self.share / tensor.batch().max(1) as f64
    }

    /// Calls the backward pass of the child layer that was called last.
    ///
    /// # Errors
    /// Those of the child.
    pub fn child(&mut self, layer: &dyn Layer, gradients: Values, wanted: &[bool]) -> Result<Gradients> {
        let trainable = self.trainable;
        self.nested(trainable, wanted.iter().copied().collect(), |cx| layer.backward(gradients, cx))
    }

    pub(crate) fn nested<T>(
        &mut self,
        trainable: bool,
        wanted: SmallVec<[bool; 4]>,
        call: impl FnOnce(&mut Backward<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut saved = match self.saved.0.pop() {
            Some(Item::Call(saved)) => saved,
            other => return Err(unbalanced("a child's call", other)),
        };
        call(&mut Backward {
            saved: &mut saved,
            gradients: self.gradients,
            workspace: self.workspace,
            share: self.share,
            trainable,
            wanted,
        })
    }
}

fn unbalanced(wanted: &str, found: Option<Item>) -> Error {
    let found = match found {
        None => "nothing",
        Some(Item::Tensor(_)) => "a tensor",
        Some(Item::Indices(_)) => "indices",
        Some(Item::Shape(_)) => "a shape",
        Some(Item::Call(_)) => "a child's call",
    };
    Error::State(format!("backward asks for {wanted} where forward saved {found}; they must mirror each other"))
}

/// A layer in a model: with its name, its `trainable` flag and its activity regularizer.
///
/// A clone is another handle to the same layer, so a layer can be shared between places and models.
#[derive(Clone)]
pub struct LayerHandle(Arc<HandleInner>);

struct HandleInner {
    name: RwLock<String>,
    trainable: AtomicBool,
    activity_regularizer: RwLock<Option<Shared<dyn Regularizer>>>,
    layer: RwLock<Box<dyn Layer>>,
    built: AtomicBool,
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
            built: AtomicBool::new(false),
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

    /// All its weights, learned and tracked, in Keras' order.
    pub fn weights(&self) -> Vec<Param> {
        let mut weights = Vec::new();
        self.layer().visit(&mut |param: &Param| weights.push(param.clone()));
        weights
    }

    /// The number of values in its weights.
    pub fn count_params(&self) -> usize {
        self.weights().iter().map(|w| w.value().len()).sum()
    }

    /// Whether it has weights that a step changes.
    pub(crate) fn learns(&self) -> bool {
        let mut learns = false;
        if self.trainable() {
            self.layer().visit(&mut |param: &Param| learns |= param.is_learned());
        }
        learns
    }

    /// "layer 'conv2d' (Conv2D)".
    pub(crate) fn place(&self) -> String {
        format!("layer '{}' ({})", self.name(), self.class_name())
    }

    /// Makes its weights if it has none yet, and says what shapes it gives out.
    pub(crate) fn build(&self, inputs: &[Shape], cx: &Build) -> Result<Vec<Shape>> {
        let build = || {
            let mut layer = self.0.layer.write().unwrap_or_else(PoisonError::into_inner);
            layer.check()?;
            if let Some(regularizer) = self.activity_regularizer() {
                regularizer.check().at(|| "activity_regularizer".to_owned())?;
            }
            let outputs = layer.output_shapes(inputs)?;
            if !self.0.built.swap(true, Ordering::Relaxed) {
                layer.build(inputs, &mut cx.below(&self.name())).inspect_err(|_| {
                    self.0.built.store(false, Ordering::Relaxed);
                })?;
            }
            Ok(outputs)
        };
        build().at(|| self.place())
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
