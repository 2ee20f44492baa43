//! What a recurrent layer does at each step, and the loop over the steps that all cells share.

use super::{GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells};
use crate::config::{self, Config, Unknown, family};
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Build, Forward, Param};
use crate::layers::DataFormat;
use crate::runtime::Workspace;
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// The states of a cell, or their gradients.
pub type States = SmallVec<[Tensor; 2]>;

/// One step of a recurrent layer: from an input and the states before it, the states after it. One of the
/// states is also its output.
///
/// A cell is called with whole sequences, so that it can do for all steps at once what does not
/// depend on the states; [`Sequence`] goes through the steps and looks after masks.
///
/// ```
/// use cornu::layer::{Backward, Build, Forward, Param};
/// use cornu::layers::{Cell, Sequence, SequenceGradients, States, RNN};
/// use cornu::{Result, Shape, Tensor, testing};
///
/// /// The sum of the inputs so far, with a share that is forgotten.
/// #[derive(Debug)]
/// struct Leak(f32);
///
/// impl Cell for Leak {
///     fn state_shapes(&self, input: &Shape) -> Result<Vec<Shape>> {
///         Ok(vec![input.clone()])
///     }
///     fn run(&self, x: Tensor, sequence: &mut Sequence, _: &mut Forward<'_>) -> Result<()> {
///         sequence.forward(|t, before, after| {
///             for ((after, before), x) in after[0].iter_mut().zip(before[0]).zip(x.row(t)) {
///                 *after = self.0 * before + x;
///             }
///             Ok(())
///         })
///     }
///     fn run_back(
///         &self,
///         sequence: &Sequence,
///         gradients: SequenceGradients,
///         cx: &mut Backward<'_>,
///     ) -> Result<(Option<Tensor>, States)> {
///         let mut dx = cx.scratch(sequence.inputs());
///         let len = dx.len() / sequence.steps();
///         let first = sequence.backward(gradients, cx.workspace(), |t, _, _, after, before| {
///             dx.data_mut()[t * len..][..len].copy_from_slice(after[0]);
///             before[0].iter_mut().zip(&*after[0]).for_each(|(before, after)| *before = self.0 * after);
///             Ok(())
///         })?;
///         Ok((Some(dx), first))
///     }
/// }
///
/// testing::check_layer(RNN::new(Leak(0.9)).return_sequences(true), &[[2, 5, 3]])?;
/// # Ok::<(), cornu::Error>(())
/// ```
pub trait Cell: Any + Send + Sync {
    /// Keras' name of the class: `"LSTMCell"`.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }

    /// What makes it again.
    ///
    /// # Errors
    /// By default: that it has none.
    fn config(&self) -> Result<Config> {
        Err(config::no_config("cell", self.class_name()))
    }

    /// Whether its arguments make sense.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The shapes of its states, the batch first, for the input `(batch, …)` of one step.
    ///
    /// # Errors
    /// When it cannot take such inputs.
    fn state_shapes(&self, input: &Shape) -> Result<Vec<Shape>>;

    /// How many states it has. Default: one.
    fn states(&self) -> usize {
        1
    }

    /// Which of the states is the output. Default: the first.
    fn output(&self) -> usize {
        0
    }

    /// Where the layer around it has the channels of inputs, outputs and states; the cell itself sees them last.
    #[doc(hidden)]
    fn data_format(&self) -> DataFormat {
        DataFormat::ChannelsLast
    }

    /// Makes its weights, for the input `(batch, …)` of one step.
    ///
    /// # Errors
    /// When it cannot take such inputs.
    fn build(&mut self, _input: &Shape, _cx: &mut Build) -> Result<()> {
        Ok(())
    }

    /// Goes through a sequence: `x` is `(steps, batch, …)`, the first step first.
    ///
    /// # Errors
    /// When the inputs do not fit.
    fn run(&self, x: Tensor, sequence: &mut Sequence, cx: &mut Forward<'_>) -> Result<()>;

    /// Goes back through the sequence that [`run`](Self::run) went through. Returns the gradient of `x`, if it is
    /// asked for ([`Backward::wants`] of 0), and those of the states before the first step.
    ///
    /// # Errors
    /// When the gradients do not fit.
    fn run_back(
        &self,
        sequence: &Sequence,
        gradients: SequenceGradients,
        cx: &mut Backward<'_>,
    ) -> Result<(Option<Tensor>, States)>;

    /// Shows its weights in the order in which Keras stores them.
    fn visit(&self, _visit: &mut dyn FnMut(&Param)) {}
}

family! { Box<dyn Cell>, "cell", "keras.layers";
    SimpleRNNCell;
    LSTMCell;
    GRUCell;
    StackedRNNCells;
}

impl fmt::Debug for dyn Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class_name())
    }
}

impl Cell for Unknown {
    fn check(&self) -> Result<()> {
        Err(self.error())
    }
    fn state_shapes(&self, _: &Shape) -> Result<Vec<Shape>> {
        Err(self.error())
    }
    fn run(&self, _: Tensor, _: &mut Sequence, _: &mut Forward<'_>) -> Result<()> {
        Err(self.error())
    }
    fn run_back(&self, _: &Sequence, _: SequenceGradients, _: &mut Backward<'_>) -> Result<(Option<Tensor>, States)> {
        Err(self.error())
    }
}

/// The states of a cell along a sequence, and which steps count for which sample.
#[derive(Debug)]
pub struct Sequence {
    steps: usize,
    /// Of an input: (steps, batch, …).
    inputs: Dims,
    /// Of each state (steps + 1, batch, …): before the first step, and after each.
    pub(super) states: States,
    /// `(steps, batch)`: 0 where a sample keeps its states.
    pub(super) mask: Option<Tensor>,
}

/// The gradients that come to a sequence from outside.
#[derive(Debug)]
pub struct SequenceGradients {
    /// Those of the output of each step, `(steps, batch, …)`, if there are any.
    pub each: Option<Tensor>,
    /// Those of the states after the last step.
    pub last: States,
    /// Which state is the output.
    pub output: usize,
}

type Slices<'a> = SmallVec<[&'a [f32]; 2]>;
type SlicesMut<'a> = SmallVec<[&'a mut [f32]; 2]>;

impl Sequence {
    /// A sequence of the input `(steps, batch, …)` that starts with these states, `(batch, …)` each.
    pub(super) fn new(inputs: &[usize], first: &[Tensor], mask: Option<Tensor>, workspace: &Arc<Workspace>) -> Self {
        let steps = inputs[0];
        let start = |first: &Tensor| {
            let dims: Dims = std::iter::once(steps + 1).chain(first.shape().iter().copied()).collect();
            let mut state = Tensor::scratch(&dims, workspace);
            state.data_mut()[..first.len()].copy_from_slice(first.data());
            state
        };
        Sequence { steps, inputs: Dims::from_slice(inputs), states: first.iter().map(start).collect(), mask }
    }

    pub(super) fn restored(inputs: Dims, states: States, mask: Option<Tensor>) -> Self {
        Sequence { steps: inputs[0], inputs, states, mask }
    }

    /// The number of steps.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The number of samples.
    pub fn batch(&self) -> usize {
        self.inputs[1]
    }

    /// The dimensions of the input, `(steps, batch, …)`.
    pub fn inputs(&self) -> &[usize] {
        &self.inputs
    }

    /// A state before the first step and after each: `(steps + 1, batch, …)`.
    pub fn state(&self, i: usize) -> &Tensor {
        &self.states[i]
    }

    /// A state before each step: the values of `(steps, batch, …)`.
    pub fn before(&self, i: usize) -> &[f32] {
        let state = &self.states[i];
        &state.data()[..state.len() / (self.steps + 1) * self.steps]
    }

    /// A state after the last step, `(batch, …)`.
    pub(super) fn last(&self, i: usize, workspace: &Arc<Workspace>) -> Tensor {
        let state = &self.states[i];
        let mut last = Tensor::scratch(&state.shape()[1..], workspace);
        last.data_mut().copy_from_slice(state.row(self.steps));
        last
    }

    /// Calls `step(t, before, after)` for each step, which computes the states after it from those before it.
    /// Where the mask says so, a sample's states are then set back to what they were.
    ///
    /// # Errors
    /// Those of `step`.
    pub fn forward(&mut self, mut step: impl FnMut(usize, &[&[f32]], &mut [&mut [f32]]) -> Result<()>) -> Result<()> {
        let (steps, batch) = (self.steps, self.batch());
        for t in 0..steps {
            let (mut before, mut after) = (Slices::new(), SlicesMut::new());
            for state in &mut self.states {
                let len = state.len() / (steps + 1);
                let (done, rest) = state.data_mut().split_at_mut((t + 1) * len);
                before.push(&done[t * len..]);
                after.push(&mut rest[..len]);
            }
            step(t, &before, &mut after)?;
            for (before, after) in before.iter().zip(&mut after) {
                for row in skipped(&self.mask, t, batch, after.len()) {
                    after[row.clone()].copy_from_slice(&before[row]);
                }
            }
        }
        Ok(())
    }

    /// Calls `step(t, before, after, dafter, dbefore)` for each step, the last one first: from the gradients
    /// of the states after it, which it may change, it computes those of the states before it. For a sample that the
    /// mask leaves out, the former are zero. Returns the gradients of the states before the first step.
    ///
    /// # Errors
    /// Those of `step`; when the gradients do not fit.
    pub fn backward(
        &self,
        gradients: SequenceGradients,
        workspace: &Arc<Workspace>,
        mut step: impl FnMut(usize, &[&[f32]], &[&[f32]], &mut [&mut [f32]], &mut [&mut [f32]]) -> Result<()>,
    ) -> Result<States> {
        let SequenceGradients { each, last: mut given, output } = gradients;
        let fits = given.len() == self.states.len()
            && given.iter().zip(&self.states).all(|(d, state)| d.shape() == &state.shape()[1..])
            && each.iter().all(|each| each.len() * (self.steps + 1) == self.states[output].len() * self.steps);
        ensure!(fits, State, "the gradients of a sequence do not have the shapes of its states");
        let batch = self.batch();
        let mut next: States = given.iter().map(|d| Tensor::scratch(d.shape(), workspace)).collect();
        let mut kept: SmallVec<[Vec<f32>; 2]> = SmallVec::new();
        for t in (0..self.steps).rev() {
            if let Some(each) = &each {
                crate::kernels::reduce::add(given[output].data_mut(), each.row(t));
            }
            for d in given.iter_mut().filter(|_| self.mask.is_some()) {
                let mut copy = workspace.take(d.len());
                copy.copy_from_slice(d.data());
                let d = d.data_mut();
                skipped(&self.mask, t, batch, d.len()).for_each(|row| d[row].fill(0.0));
                kept.push(copy);
            }
            let before: Slices<'_> = self.states.iter().map(|state| state.row(t)).collect();
            let after: Slices<'_> = self.states.iter().map(|state| state.row(t + 1)).collect();
            let mut dafter: SlicesMut<'_> = given.iter_mut().map(Tensor::data_mut).collect();
            let mut dbefore: SlicesMut<'_> = next.iter_mut().map(Tensor::data_mut).collect();
            step(t, &before, &after, &mut dafter, &mut dbefore)?;
            for (copy, dbefore) in kept.drain(..).zip(&mut dbefore) {
                for row in skipped(&self.mask, t, batch, copy.len()) {
                    dbefore[row.clone()].copy_from_slice(&copy[row]);
                }
                workspace.give(copy);
            }
            drop((dafter, dbefore));
            std::mem::swap(&mut given, &mut next);
        }
        Ok(given)
    }
}

/// The places, among `len` values of a step, of the samples that the mask leaves out.
fn skipped(
    mask: &Option<Tensor>,
    t: usize,
    batch: usize,
    len: usize,
) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let each = len / batch.max(1);
    let rows = mask.as_ref().map_or(&[][..], |mask| mask.row(t)).iter().enumerate();
    rows.filter(|(_, counts)| **counts == 0.0).map(move |(i, _)| i * each..(i + 1) * each)
}

/// The known size of the last axis of a step's input.
pub(super) fn features(input: &Shape) -> Result<usize> {
    input.last().ok_or_else(|| {
        Error::Shape(format!("the number of features, the last dimension of a step {input}, must be known"))
    })
}
