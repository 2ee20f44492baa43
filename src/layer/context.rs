//! The contexts of a forward and of a backward call, and what passes between them.

use super::{Fused, GradientStore, Gradients, Layer, LayerHandle, Param, Values};
use crate::config::Config;
use crate::error::{Error, Result, ensure};
use crate::random::{Address, Rng};
use crate::runtime::Workspace;
use crate::shape::Dims;
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

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

    /// The number of things in it; a call counts as one.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The memory of what lies above the first `n` things, but for tensors whose memory was `seen`, in bytes.
    pub(crate) fn bytes_after(&self, n: usize, seen: &mut HashSet<*const f32>) -> usize {
        let mut bytes = |item: &Item| match item {
            Item::Tensor(tensor) if seen.insert(tensor.data().as_ptr()) => 4 * tensor.len(),
            Item::Tensor(_) => 0,
            Item::Indices(indices) => 4 * indices.len(),
            Item::Shape(dims) => std::mem::size_of_val(dims.as_slice()),
            Item::Call(saved) => saved.bytes_after(0, seen),
        };
        self.0.get(n..).unwrap_or_default().iter().map(&mut bytes).sum()
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

/// What a call of a layer is given besides tensors, by name (Keras: the keyword arguments of `call`).
#[derive(Clone, Debug, Default)]
pub struct Arguments {
    /// Plain values: `use_causal_mask`.
    pub values: Config,
    /// Names of the inputs that were given by name: `initial_state`, with their places among the inputs.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// Whether several inputs are arguments of their own (`layer(query, value)`) and not a list of inputs.
    pub separate: bool,
    /// Whether masks were given by hand: a layer that takes other tensors by name sees no others.
    pub masked: bool,
}

impl Arguments {
    /// Whether the call is given nothing by name.
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.tensors.is_empty() && !self.masked
    }
}

/// The masks of inputs or outputs: for sequences `(batch, time)`, 1 where a step counts and 0 where it does not.
pub type Masks = SmallVec<[Option<Tensor>; 1]>;

/// The context of one forward call of a layer.
pub struct Forward<'a> {
    pub(crate) pass: &'a Pass,
    pub(crate) training: bool,
    pub(crate) arguments: &'a Arguments,
    pub(crate) masks: Masks,
    /// Those of the outputs, where the layer set them.
    pub(crate) output_masks: Option<Masks>,
    pub(crate) saved: &'a mut Saved,
    pub(crate) effects: &'a mut Effects,
    pub(crate) stream: u64,
    pub(crate) trainable: bool,
    pub(crate) recording: bool,
    pub(crate) inputs_need_gradient: bool,
    pub(crate) fused: Fused,
}

impl<'a> Forward<'a> {
    /// The context of a whole model's forward pass.
    pub(crate) fn of_model(pass: &'a Pass, saved: &'a mut Saved, effects: &'a mut Effects, recording: bool) -> Self {
        static NONE: LazyLock<Arguments> = LazyLock::new(Arguments::default);
        Forward {
            pass,
            training: pass.training,
            arguments: &NONE,
            masks: Masks::new(),
            output_masks: None,
            saved,
            effects,
            stream: 0,
            trainable: true,
            recording,
            inputs_need_gradient: false,
            fused: Fused::default(),
        }
    }
}

impl Forward<'_> {
    /// Whether this call is part of training (dropout drops, batch statistics are used).
    pub fn training(&self) -> bool {
        self.training
    }

    /// What this call was given besides its inputs.
    pub fn arguments(&self) -> &Arguments {
        self.arguments
    }

    /// Takes what this call is to do besides the layer's own work: nothing, unless the layer
    /// [said that it can](Layer::fuses).
    pub fn fused(&mut self) -> Fused {
        std::mem::take(&mut self.fused)
    }

    /// The mask of input `i`, if it has one: see [`Masks`].
    pub fn mask(&self, i: usize) -> Option<&Tensor> {
        self.masks.get(i)?.as_ref()
    }

    /// The masks of all inputs.
    pub fn masks(&self) -> &[Option<Tensor>] {
        &self.masks
    }

    /// Sets the masks of the outputs. Without it a layer that [supports masking](Layer::supports_masking) hands
    /// the mask of its first input on, and another one none.
    pub fn set_masks(&mut self, masks: impl IntoIterator<Item = Option<Tensor>>) {
        self.output_masks = Some(masks.into_iter().collect());
    }

    /// Whether this layer's weights are to be learned.
    pub fn trainable(&self) -> bool {
        self.trainable
    }

    /// Whether weights are read again, by the next batch, before they change: then it pays to keep copies of them as
    /// products read them.
    pub(crate) fn keeps_weights(&self) -> bool {
        !self.pass.training
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
        self.address(seed).sample(i)
    }

    /// Where the draws of this call come from, for a layer that makes them on several threads or once more in its
    /// backward pass.
    pub(crate) fn address(&self, seed: Option<u64>) -> Address {
        Address {
            seed: seed.unwrap_or(self.pass.seed),
            stream: self.stream,
            step: self.pass.step,
            first_sample: self.pass.first_sample,
        }
    }

    /// As [`rng_with`](Self::rng_with), for a draw that all samples of a step share.
    pub fn shared_rng(&self, seed: Option<u64>) -> Rng {
        self.address(seed).shared()
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

    /// The value of a tracked weight as this pass has left it: a layer that is called twice goes on from the first call.
    pub fn state(&self, param: &Param) -> Tensor {
        let last = self.effects.states.iter().rev().find(|(known, _)| known.id() == param.id());
        last.map_or_else(|| param.value(), |(_, value)| value.clone())
    }

    /// Gives a tracked weight a new value, which it takes after the step.
    pub fn update_state(&mut self, param: &Param, value: Tensor) {
        self.effects.states.push((param.clone(), value));
    }

    /// Calls a child layer, whose saved tensors and random streams are kept apart by `index`, without masks.
    ///
    /// # Errors
    /// Those of the child.
    pub fn child(&mut self, index: u64, layer: &dyn Layer, inputs: Values) -> Result<Values> {
        self.child_masked(index, layer, inputs, []).map(|(outputs, _)| outputs)
    }

    /// As [`child`](Self::child), for inputs with masks; returns those of the outputs too.
    ///
    /// # Errors
    /// Those of the child.
    pub fn child_masked(
        &mut self,
        index: u64,
        layer: &dyn Layer,
        inputs: Values,
        masks: impl IntoIterator<Item = Option<Tensor>>,
    ) -> Result<(Values, Masks)> {
        let call = Call {
            stream: child_stream(self.stream, index),
            masks: masks.into_iter().collect(),
            trainable: self.trainable,
            recording: self.recording,
            inputs_need_gradient: true,
            arguments: None,
            fused: Fused::default(),
        };
        self.nested(call, layer.supports_masking(), |cx| layer.forward(inputs, cx))
    }

    /// As [`child_masked`](Self::child_masked), for a layer that is wrapped with its name and its activity regularizer.
    pub(crate) fn wrapped(
        &mut self,
        index: u64,
        layer: &LayerHandle,
        inputs: Values,
        masks: impl IntoIterator<Item = Option<Tensor>>,
    ) -> Result<(Values, Masks)> {
        self.by_hand(index, layer, masks, |cx| layer.forward(inputs, cx))
    }

    /// As [`wrapped`](Self::wrapped), but past the layer's activity regularizer.
    pub(crate) fn wrapped_bare(
        &mut self,
        index: u64,
        layer: &LayerHandle,
        inputs: Values,
        masks: impl IntoIterator<Item = Option<Tensor>>,
    ) -> Result<(Values, Masks)> {
        self.by_hand(index, layer, masks, |cx| layer.layer().forward(inputs, cx))
    }

    /// A wrapper hands masks on by hand.
    fn by_hand(
        &mut self,
        index: u64,
        layer: &LayerHandle,
        masks: impl IntoIterator<Item = Option<Tensor>>,
        run: impl FnOnce(&mut Forward<'_>) -> Result<Values>,
    ) -> Result<(Values, Masks)> {
        static BY_HAND: LazyLock<Arguments> = LazyLock::new(|| Arguments { masked: true, ..Arguments::default() });
        let call = Call {
            stream: child_stream(self.stream, index),
            masks: masks.into_iter().collect(),
            trainable: self.trainable && layer.trainable(),
            recording: self.recording,
            inputs_need_gradient: true,
            arguments: Some(&BY_HAND),
            fused: Fused::default(),
        };
        let passes_masks = layer.layer().supports_masking();
        self.nested(call, passes_masks, run)
    }

    pub(crate) fn nested(
        &mut self,
        call: Call<'_>,
        passes_masks: bool,
        run: impl FnOnce(&mut Forward<'_>) -> Result<Values>,
    ) -> Result<(Values, Masks)> {
        let Call { stream, masks, trainable, recording, inputs_need_gradient, arguments, fused } = call;
        static NONE: LazyLock<Arguments> = LazyLock::new(Arguments::default);
        let arguments = arguments.unwrap_or(&NONE);
        let mut saved = Saved::default();
        let first = masks.first().cloned().flatten();
        let mut cx = Forward {
            pass: self.pass,
            training: self.training,
            arguments,
            masks,
            output_masks: None,
            saved: &mut saved,
            effects: self.effects,
            stream,
            trainable,
            recording,
            inputs_need_gradient,
            fused,
        };
        let outputs = run(&mut cx)?;
        let masks =
            cx.output_masks.unwrap_or_else(|| outputs.iter().map(|_| first.clone().filter(|_| passes_masks)).collect());
        if recording {
            self.saved.0.push(Item::Call(saved));
        }
        Ok((outputs, masks))
    }
}

/// What is different for one call of a layer.
pub(crate) struct Call<'a> {
    pub stream: u64,
    pub masks: Masks,
    pub trainable: bool,
    pub recording: bool,
    pub inputs_need_gradient: bool,
    pub arguments: Option<&'a Arguments>,
    pub fused: Fused,
}

pub(crate) fn child_stream(stream: u64, index: u64) -> u64 {
    (stream ^ index.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
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
    pub(crate) gates: Gates,
}

/// Who makes a gradient 0 where a ReLU was closed: the layer that ends in it, or the one that reads its output.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gates {
    /// This call, for its input.
    pub input: bool,
    /// The reader of this call's output has done it.
    pub output: bool,
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

    /// Adds the product of the transpose of `left`, `(..., n)`, and `right`, `(..., m)`, to the gradient of an `(n, m)`
    /// weight, if it is learned now: what a dense layer does. In a training step that of a large weight may be left to
    /// the optimizer, which computes a few rows at a time and never writes the gradient to memory.
    ///
    /// # Errors
    /// When these shapes do not go together: a fault of the layer.
    pub fn add_product(&mut self, param: &Param, left: &Tensor, right: &Tensor) -> Result<()> {
        let split = |tensor: &Tensor| tensor.shape().split_last().map(|(last, first)| (*last, first.iter().product()));
        let (n, rows): (usize, usize) = split(left).unwrap_or((1, 1));
        let (m, others): (usize, usize) = split(right).unwrap_or((1, 1));
        ensure!(
            param.shape() == [n, m] && rows == others,
            Shape,
            "the weight '{}' of shape {:?} has no gradient from tensors of shapes {:?} and {:?}",
            param.path(),
            param.shape(),
            left.shape(),
            right.shape()
        );
        if self.trainable {
            self.gradients.add_product(param, left, right);
        }
        Ok(())
    }

    /// Whether the gradient of the input must be 0 where the input is not above 0: asked for only of layers that
    /// [can do so](Layer::gates_relu), whose input is a ReLU's output.
    pub fn gates_input(&self) -> bool {
        self.gates.input
    }

    /// Whether the gradient of the output is 0 already where the ReLU that this layer [ends in](Layer::ends_in_relu)
    /// was closed.
    pub fn output_is_gated(&self) -> bool {
        self.gates.output
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

    /// Calls the backward pass of the wrapped layer that was called last; a gradient that nothing gave is `None`.
    pub(crate) fn wrapped(
        &mut self,
        layer: &LayerHandle,
        gradients: impl IntoIterator<Item = Option<Tensor>>,
        wanted: &[bool],
    ) -> Result<Gradients> {
        let trainable = self.trainable && layer.trainable();
        let gradients = gradients.into_iter().collect();
        self.nested(trainable, wanted.iter().copied().collect(), |cx| layer.backward(gradients, cx))
    }

    /// Calls the backward pass of the layer that [`Forward::wrapped_bare`] called last.
    pub(crate) fn wrapped_bare(
        &mut self,
        layer: &LayerHandle,
        gradients: Values,
        wanted: &[bool],
    ) -> Result<Gradients> {
        let trainable = self.trainable && layer.trainable();
        self.nested(trainable, wanted.iter().copied().collect(), |cx| layer.layer().backward(gradients, cx))
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
            gates: Gates::default(),
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
