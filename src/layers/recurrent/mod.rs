//! Recurrent layers: one of them, [`Recurrent`], over cells of many kinds.

mod cell;
mod conv_lstm;
mod gates;
mod gru;
mod lstm;
mod product;
mod simple_rnn;
mod stacked;
#[cfg(test)]
mod tests;

pub use cell::{Cell, Sequence, SequenceGradients, States};
pub use conv_lstm::{ConvLSTM1D, ConvLSTM2D, ConvLSTM3D, ConvLSTMCell, Extent, Sides};
pub use gru::{GRU, GRUCell};
pub use lstm::{LSTM, LSTMCell};
pub use simple_rnn::{SimpleRNN, SimpleRNNCell};
pub use stacked::StackedRNNCells;

use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Build, Forward, Gradients, Layer, Param, Values, flops};
use crate::layers::DataFormat;
use crate::runtime::Workspace;
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A layer that goes through the time steps of its input, `(batch, time, …)`, with a [`Cell`] that remembers
/// (Keras: `RNN`): [`SimpleRNN`], [`LSTM`], [`GRU`], and [`RNN`] for other cells.
///
/// It gives out what the cell does at the last step, `(batch, …)`, or at each, `(batch, time, …)`. It starts with
/// states of zeros, or with those that are its further inputs. Where the input has a mask, a step that does not count
/// keeps the states and repeats the output before (zeros at the start).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recurrent<C> {
    #[serde(flatten)]
    cell: C,
    #[serde(flatten)]
    options: Options,
    /// Where it is stateful: the states after the last batch; of no samples where there was none.
    #[serde(skip)]
    states: Vec<Param>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Options {
    return_sequences: bool,
    return_state: bool,
    go_backwards: bool,
    stateful: bool,
    unroll: bool,
    zero_output_for_mask: bool,
}

/// A [`Recurrent`] layer over any cell (Keras: `RNN`).
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([10, 3])).add(RNN::new(LSTMCell::new(8)).return_sequences(true));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 10, 8)");
/// # Ok::<(), cornu::Error>(())
/// ```
pub type RNN = Recurrent<AnyCell>;

/// The cell of an [`RNN`], of whatever class.
#[derive(Debug, Serialize, Deserialize)]
pub struct AnyCell {
    cell: Box<dyn Cell>,
}

impl RNN {
    /// A layer over this cell; [`StackedRNNCells`] are several in one.
    pub fn new(cell: impl Into<Box<dyn Cell>>) -> Self {
        Recurrent::of(AnyCell { cell: cell.into() })
    }

    /// Whether a step that the mask leaves out gives zeros, rather than the output before. Default: false.
    pub fn zero_output_for_mask(mut self, zero_output_for_mask: bool) -> Self {
        self.options.zero_output_for_mask = zero_output_for_mask;
        self
    }
}

impl<C> Recurrent<C> {
    fn of(cell: C) -> Self {
        Recurrent { cell, options: Options::default(), states: Vec::new() }
    }

    /// Whether the outputs of all steps are given out, not only the last one's. Default: false.
    pub fn return_sequences(mut self, return_sequences: bool) -> Self {
        self.options.return_sequences = return_sequences;
        self
    }

    /// Whether the states after the last step are further outputs. Default: false.
    pub fn return_state(mut self, return_state: bool) -> Self {
        self.options.return_state = return_state;
        self
    }

    /// Whether the last step is the first to be seen. Sequences come out in the order in which they are computed.
    /// Default: false.
    pub fn go_backwards(mut self, go_backwards: bool) -> Self {
        self.options.go_backwards = go_backwards;
        self
    }

    /// Whether a batch starts with the states with which the one before ended, sample by sample, until
    /// [`reset_states`](Layer::reset_states). All batches must then have the same size. Default: false.
    pub fn stateful(mut self, stateful: bool) -> Self {
        self.options.stateful = stateful;
        self
    }

    /// Has no effect here: in Keras it says how the loop over the steps is compiled. Default: false.
    pub fn unroll(mut self, unroll: bool) -> Self {
        self.options.unroll = unroll;
        self
    }
}

impl<C: Cell> Recurrent<C> {
    /// The shapes of the states for inputs `(batch, time, …)`.
    fn state_shapes(&self, input: &Shape) -> Result<Vec<Shape>> {
        ensure!(input.rank() >= 3, Shape, "expected an input (batch, time, features), got {input}");
        let shapes = self.cell.state_shapes(&step_of(input))?;
        ensure!(
            shapes.len() == self.cell.states() && self.cell.output() < shapes.len(),
            Argument,
            "the cell {} has {} states, of which {} is the output, but {} shapes of states",
            self.cell.class_name(),
            self.cell.states(),
            self.cell.output(),
            shapes.len()
        );
        Ok(shapes)
    }

    /// Checks that further inputs are one for each state, of its shape.
    fn check_initial(&self, shapes: &[Shape], initial: &[impl AsRef<[usize]>]) -> Result<()> {
        let fits = initial.is_empty()
            || initial.len() == shapes.len() && shapes.iter().zip(initial).all(|(s, i)| s.accepts(i.as_ref()));
        ensure!(
            fits,
            Shape,
            "the inputs after the sequence are the initial states, of shapes {shapes:?}, got {:?}",
            initial.iter().map(AsRef::as_ref).collect::<Vec<_>>()
        );
        Ok(())
    }

    /// The states of the batch before; zeros when there was none.
    fn carried(&self, shapes: &[Shape], batch: usize) -> Result<Vec<Tensor>> {
        let carried = |(state, shape): (&Param, &Shape)| {
            let mut value = state.value();
            if value.batch() == 0 {
                value = Tensor::zeros(dims(shape, batch));
                *state.write() = value.clone();
            }
            ensure!(
                value.batch() == batch,
                Shape,
                "it is stateful and the batch before had {} samples, this one {batch}; use batches of one size, or call \
                 reset_states between",
                value.batch()
            );
            Ok(value)
        };
        self.states.iter().zip(shapes).map(carried).collect()
    }

    /// The outputs, `(steps, batch, …)` in the order of the steps, from where the steps are.
    fn outputs(&self, sequence: &Sequence, workspace: &Arc<Workspace>) -> Tensor {
        let (steps, batch) = (sequence.steps(), sequence.batch());
        let state = sequence.state(self.cell.output());
        let first = if self.options.return_sequences { 0 } else { steps - 1 };
        let mut dims = Dims::from_slice(state.shape());
        dims[0] = steps - first;
        let mut y = Tensor::scratch(&dims, workspace);
        y.data_mut().copy_from_slice(&state.data()[(first + 1) * (state.len() / (steps + 1))..]);
        self.hide(sequence, first, batch, y.data_mut());
        y
    }

    /// Sets to zero what stands for steps that give no output: those before any step that counts, or all that do
    /// not.
    fn hide(&self, sequence: &Sequence, first: usize, batch: usize, y: &mut [f32]) {
        let Some(mask) = &sequence.mask else { return };
        let each = y.len() / ((sequence.steps() - first) * batch).max(1);
        for sample in 0..batch {
            let mut seen = false;
            for t in 0..sequence.steps() {
                let counts = mask.row(t)[sample] != 0.0;
                seen = counts || seen && !self.options.zero_output_for_mask;
                if !seen && t >= first {
                    y[((t - first) * batch + sample) * each..][..each].fill(0.0);
                }
            }
        }
    }
}

/// The shape of one step of `(batch, time, …)`.
fn step_of(input: &Shape) -> Shape {
    Shape::new(input.dims().iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, d)| *d).collect::<Vec<_>>())
}

/// The dimensions of a state whose shape is known but for the batch.
fn dims(shape: &Shape, batch: usize) -> Dims {
    std::iter::once(batch).chain(shape.sample().iter().map(|d| d.unwrap_or(0))).collect()
}

/// `(batch, time, …)` as `(time, batch, …)`, the last step first if `reverse`; and the same the other way round,
/// with `from_time`.
fn turn(x: Tensor, reverse: bool, from_time: bool, workspace: &Arc<Workspace>) -> Tensor {
    let mut dims = Dims::from_slice(x.shape());
    let [outer, inner] = [dims[0], dims[1]];
    dims.swap(0, 1);
    if (outer == 1 || inner == 1) && !reverse {
        return match x.clone().reshape(&dims) {
            Ok(y) => y,
            Err(_) => x,
        };
    }
    let mut y = Tensor::scratch(&dims, workspace);
    let each = x.len() / (outer * inner).max(1);
    for (i, rows) in x.data().chunks_exact((inner * each).max(1)).enumerate() {
        for (j, row) in rows.chunks_exact(each.max(1)).enumerate() {
            let (i, j) = match (reverse, from_time) {
                (false, _) => (i, j),
                (true, false) => (i, inner - 1 - j),
                (true, true) => (outer - 1 - i, j),
            };
            y.data_mut()[(j * outer + i) * each..][..each].copy_from_slice(row);
        }
    }
    y
}

/// The shape with the channels last, of a sequence or of a step.
fn last_shape(format: DataFormat, shape: &Shape, is_sequence: bool) -> Shape {
    if !is_sequence || shape.rank() < 2 {
        return format.last_shape(shape);
    }
    let mut dims = format.last_shape(&step_of(shape)).dims().to_vec();
    dims.insert(1, shape.dims()[1]);
    Shape::new(dims)
}

/// The opposite of [`last_shape`].
fn given_shape(format: DataFormat, shape: Shape, is_sequence: bool) -> Shape {
    if !is_sequence || shape.rank() < 2 {
        return format.given_shape(shape);
    }
    let mut dims = format.given_shape(step_of(&shape)).dims().to_vec();
    dims.insert(1, shape.dims()[1]);
    Shape::new(dims)
}

/// Turns each step of a sequence `(batch, time, …)`, or a tensor without steps.
fn by_step(x: Tensor, is_sequence: bool, turn: impl Fn(Tensor) -> Tensor) -> Result<Tensor> {
    if !is_sequence || x.rank() < 2 {
        return Ok(turn(x));
    }
    let (batch, steps) = (x.shape()[0], x.shape()[1]);
    let mut dims = Dims::from_slice(&x.shape()[1..]);
    dims[0] = batch * steps;
    let y = turn(x.reshape(dims)?);
    let dims: Dims = [batch, steps].into_iter().chain(y.shape()[1..].iter().copied()).collect();
    y.reshape(dims)
}

impl<C: Cell> Recurrent<C> {
    /// With the channels last: the shapes of the outputs, ...
    fn last_output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let Some((input, initial)) = inputs.split_first() else {
            return Err(Error::Argument("expected a sequence, got no input".to_owned()));
        };
        let shapes = self.state_shapes(input)?;
        let samples = |shape: &Shape| shape.sample().iter().map(|d| d.unwrap_or(0)).collect::<Vec<_>>();
        ensure!(
            initial.is_empty()
                || initial.len() == shapes.len() && initial.iter().map(samples).eq(shapes.iter().map(samples)),
            Shape,
            "the inputs after the sequence are the initial states, of shapes {shapes:?}, got {initial:?}"
        );
        let mut output = shapes[self.cell.output()].dims().to_vec();
        if self.options.return_sequences {
            output.insert(1, input.dims()[1]);
        }
        let states = shapes.into_iter().filter(|_| self.options.return_state);
        Ok(std::iter::once(Shape::new(output)).chain(states).collect())
    }

    /// ... and both ways.
    fn last_forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let workspace = cx.workspace().clone();
        let count = inputs.len();
        let mut inputs = inputs.into_iter();
        let x = inputs.next().unwrap_or_default();
        let shapes = self.state_shapes(&Shape::from(x.shape()))?;
        let (batch, steps) = (x.shape()[0], x.shape()[1]);
        ensure!(steps > 0, Shape, "expected at least one time step, got an input of shape {:?}", x.shape());
        let mut initial: Vec<Tensor> = inputs.collect();
        self.check_initial(&shapes, &initial.iter().map(Tensor::shape).collect::<Vec<_>>())?;
        if initial.is_empty() {
            initial = match self.options.stateful {
                true => self.carried(&shapes, batch)?,
                false => shapes.iter().map(|shape| zeros(&dims(shape, batch), &workspace)).collect(),
            };
        }
        let passed = cx.mask(0).cloned();
        // As in Keras, a call with initial states sees no mask, unless it is given by hand.
        let mask = passed.clone().filter(|_| count == 1 || cx.arguments().masked);
        if let Some(mask) = &mask {
            ensure!(
                mask.shape() == [batch, steps],
                Shape,
                "expected a mask (batch, time) of shape {:?}, got {:?}",
                [batch, steps],
                mask.shape()
            );
        }
        let timed = mask.map(|mask| turn(mask, self.options.go_backwards, false, &workspace));
        let x = turn(x, self.options.go_backwards, false, &workspace);
        let mut sequence = Sequence::new(x.shape(), &initial, timed, &workspace);
        self.cell.run(x, &mut sequence, cx)?;

        let mut outputs = vec![turn(self.outputs(&sequence, &workspace), false, true, &workspace)];
        if !self.options.return_sequences {
            let last = outputs.remove(0);
            let shape = dims(&shapes[self.cell.output()], batch);
            outputs.push(last.reshape(&shape)?);
        }
        for (i, state) in self.states.iter().enumerate() {
            cx.update_state(state, sequence.last(i, &workspace));
        }
        if self.options.return_state {
            outputs.extend((0..shapes.len()).map(|i| sequence.last(i, &workspace)));
        }
        let output_mask = passed.filter(|_| self.options.return_sequences);
        cx.set_masks(std::iter::once(output_mask).chain(outputs.iter().skip(1).map(|_| None)).collect::<Vec<_>>());
        cx.save_shape(sequence.inputs());
        sequence.states.iter().for_each(|state| cx.save(state.clone()));
        cx.save(sequence.mask.clone().unwrap_or_default());
        cx.save_shape(&[count]);
        Ok(outputs.into_iter().collect())
    }

    fn last_backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let workspace = cx.workspace().clone();
        let count = cx.restore_shape()?[0];
        let mask = Some(cx.restore()?).filter(|mask| !mask.is_empty());
        let mut states: States = (0..self.cell.states()).map(|_| cx.restore()).collect::<Result<_>>()?;
        states.reverse();
        let sequence = Sequence::restored(cx.restore_shape()?, states, mask);
        let (steps, batch) = (sequence.steps(), sequence.batch());

        let mut gradients = gradients.into_iter();
        let mut dy = gradients.next().unwrap_or_default();
        let mut last: States = match self.options.return_state {
            true => gradients.collect(),
            false => sequence.states.iter().map(|state| zeros(&state.shape()[1..], &workspace)).collect(),
        };
        let each = if self.options.return_sequences {
            let mut each = turn(dy, false, false, &workspace);
            self.hide(&sequence, 0, batch, each.data_mut());
            Some(each)
        } else {
            self.hide(&sequence, steps - 1, batch, dy.data_mut());
            match last.get_mut(self.cell.output()) {
                Some(last) if last.len() == dy.len() => crate::kernels::reduce::add(last.data_mut(), dy.data()),
                _ => return Err(Error::Shape(format!("the gradient of the output has shape {:?}", dy.shape()))),
            }
            None
        };
        let gradients = SequenceGradients { each, last, output: self.cell.output() };
        let (dx, first) = self.cell.run_back(&sequence, gradients, cx)?;
        let dx = dx.map(|dx| turn(dx, self.options.go_backwards, true, &workspace));
        Ok(std::iter::once(dx).chain(first.into_iter().map(Some).take(count - 1)).collect())
    }
}

impl<C: Cell + Serialize> Layer for Recurrent<C> {
    fn class_name(&self) -> &str {
        self.cell.class_name().trim_end_matches("Cell")
    }

    fn config(&self) -> Result<Config> {
        let mut config = config::of(self)?;
        if config.contains_key("filters") {
            // A convolution has these in the place of units.
            config.remove("units");
        }
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        self.cell.check()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let format = self.cell.data_format();
        let inputs: Vec<Shape> =
            inputs.iter().enumerate().map(|(i, shape)| last_shape(format, shape, i == 0)).collect();
        let outputs = self.last_output_shapes(&inputs)?.into_iter().enumerate();
        let given = |(i, shape)| given_shape(format, shape, i == 0 && self.options.return_sequences);
        Ok(outputs.map(given).collect())
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let Some(input) = inputs.first() else {
            return Err(Error::Argument("expected a sequence, got no input".to_owned()));
        };
        let cell = &mut self.cell;
        let input = &last_shape(cell.data_format(), input, true);
        cx.child("cell", |cx| cell.build(&step_of(input), cx))?;
        if self.options.stateful {
            let shapes = self.state_shapes(input)?;
            let state = |shape: &Shape| cx.state("rnn_state", &dims(shape, 0), &"zeros".into());
            self.states = shapes.iter().map(state).collect::<Result<_>>()?;
        }
        Ok(())
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> f64 {
        // The weights of a cell are used at each step, by a convolution for each position of the state.
        let Some(input) = inputs.first() else { return 0.0 };
        let input = last_shape(self.cell.data_format(), input, true);
        let states = self.state_shapes(&input).unwrap_or_default();
        let positions = states.get(self.cell.output()).map_or(1.0, flops::positions);
        let steps = input.get(1).unwrap_or(1) as f64;
        steps * positions * flops::of_weights(|visit| self.cell.visit(visit))
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let format = self.cell.data_format();
        if format == DataFormat::ChannelsLast {
            return self.last_forward(inputs, cx);
        }
        let turned = inputs.into_iter().enumerate().map(|(i, x)| by_step(x, i == 0, |x| format.last(x)));
        let outputs = self.last_forward(turned.collect::<Result<_>>()?, cx)?.into_iter().enumerate();
        let sequences = self.options.return_sequences;
        outputs.map(|(i, y)| by_step(y, i == 0 && sequences, |y| format.given(y))).collect()
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let format = self.cell.data_format();
        if format == DataFormat::ChannelsLast {
            return self.last_backward(gradients, cx);
        }
        let sequences = self.options.return_sequences;
        let turned =
            gradients.into_iter().enumerate().map(|(i, g)| by_step(g, i == 0 && sequences, |g| format.last(g)));
        let gradients = self.last_backward(turned.collect::<Result<_>>()?, cx)?.into_iter().enumerate();
        let given =
            |(i, dx): (usize, Option<Tensor>)| dx.map(|dx| by_step(dx, i == 0, |dx| format.given(dx))).transpose();
        gradients.map(given).collect()
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.cell.visit(visit);
    }

    fn reset_states(&self) {
        for state in &self.states {
            let mut value = state.write();
            let mut dims = Dims::from_slice(value.shape());
            dims[0] = 0;
            *value = Tensor::zeros(dims);
        }
    }

    fn carries_states(&self) -> bool {
        self.options.stateful
    }

    fn visit_states(&self, visit: &mut dyn FnMut(&Param)) {
        self.states.iter().for_each(visit);
    }

    /// A stateful layer belongs to whole batches.
    fn couples_samples(&self) -> bool {
        self.options.stateful
    }
}

fn zeros(dims: &[usize], workspace: &Arc<Workspace>) -> Tensor {
    let mut zeros = Tensor::scratch(dims, workspace);
    zeros.data_mut().fill(0.0);
    zeros
}

impl Cell for AnyCell {
    /// With which the layer is an `RNN`.
    fn class_name(&self) -> &str {
        "RNNCell"
    }

    fn config(&self) -> Result<Config> {
        self.cell.config()
    }

    fn check(&self) -> Result<()> {
        self.cell.check()
    }

    fn states(&self) -> usize {
        self.cell.states()
    }

    fn state_shapes(&self, input: &Shape) -> Result<Vec<Shape>> {
        self.cell.state_shapes(input)
    }

    fn output(&self) -> usize {
        self.cell.output()
    }

    fn build(&mut self, input: &Shape, cx: &mut Build) -> Result<()> {
        self.cell.build(input, cx)
    }

    fn run(&self, x: Tensor, sequence: &mut Sequence, cx: &mut Forward<'_>) -> Result<()> {
        self.cell.run(x, sequence, cx)
    }

    fn run_back(
        &self,
        sequence: &Sequence,
        gradients: SequenceGradients,
        cx: &mut Backward<'_>,
    ) -> Result<(Option<Tensor>, States)> {
        self.cell.run_back(sequence, gradients, cx)
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.cell.visit(visit);
    }
}
