//! Cells on top of each other.

use super::cell::{Cell, Sequence, SequenceGradients, States};
use super::gates::Back;
use crate::config::{self, Config, snake_case};
use crate::error::{Context, Result, ensure};
use crate::layer::{Backward, Build, Call, Forward, Masks, Param, Values, child_stream};
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Cells that work as one: the output of each is the input of the next (Keras: `StackedRNNCells`).
///
/// Its states are those of all cells, the first cell's first; its output is the last cell's.
///
/// ```
/// use cornu::prelude::*;
/// let cells = StackedRNNCells::new().add(LSTMCell::new(8)).add(GRUCell::new(4));
/// let mut model = Sequential::new();
/// model.add(Input::new([28, 6])).add(RNN::new(cells));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 4)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StackedRNNCells {
    cells: Vec<Box<dyn Cell>>,
}

impl StackedRNNCells {
    /// No cells yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a cell, on top of those before.
    #[allow(clippy::should_implement_trait)] // As in a model.
    pub fn add(mut self, cell: impl Into<Box<dyn Cell>>) -> Self {
        self.cells.push(cell.into());
        self
    }

    /// The shapes of the states, cell by cell.
    fn shapes(&self, input: &Shape) -> Result<Vec<Vec<Shape>>> {
        let mut input = input.clone();
        let mut all = Vec::new();
        for cell in &self.cells {
            let shapes = cell.state_shapes(&input)?;
            input = shapes[cell.output()].clone();
            all.push(shapes);
        }
        Ok(all)
    }
}

/// What a cell gives out at each step, `(steps, batch, …)`.
fn outputs(state: &Tensor, cx: &Forward<'_>) -> Tensor {
    let mut dims = state.shape().to_vec();
    dims[0] -= 1;
    let mut y = cx.scratch(&dims);
    y.data_mut().copy_from_slice(&state.data()[state.len() / (dims[0] + 1)..]);
    y
}

impl Cell for StackedRNNCells {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(!self.cells.is_empty(), Argument, "there are no cells; add at least one");
        self.cells.iter().try_for_each(|cell| cell.check().at(|| format!("cell {}", cell.class_name())))
    }

    fn state_shapes(&self, input: &Shape) -> Result<Vec<Shape>> {
        Ok(self.shapes(input)?.concat())
    }

    fn output(&self) -> usize {
        let last = self.cells.last().map_or(0, |last| last.states() - last.output());
        self.states() - last
    }

    fn states(&self) -> usize {
        self.cells.iter().map(|cell| cell.states()).sum()
    }

    fn build(&mut self, input: &Shape, cx: &mut Build) -> Result<()> {
        let mut input = input.clone();
        let mut used: HashMap<String, usize> = HashMap::new();
        let mut cells = cx.below("cells");
        for cell in &mut self.cells {
            // As Keras names the groups of a list in a file.
            let class = snake_case(cell.class_name());
            let count = used.entry(class.clone()).or_default();
            let name = if *count == 0 { class } else { format!("{class}_{count}") };
            *count += 1;
            cells.child(&name, |cx| cell.build(&input, cx))?;
            input = cell.state_shapes(&input)?[cell.output()].clone();
        }
        Ok(())
    }

    /// Nothing goes from a cell to one below it, so each can go through the whole sequence in its turn.
    fn run(&self, x: Tensor, sequence: &mut Sequence, cx: &mut Forward<'_>) -> Result<()> {
        let mut rest = sequence.states.drain(..).collect::<States>().into_iter();
        let (mut x, mut done) = (x, States::new());
        for (i, cell) in self.cells.iter().enumerate() {
            let states = rest.by_ref().take(cell.states()).collect();
            let mut own = Sequence::restored(x.shape().into(), states, sequence.mask.clone());
            let input = x;
            let call = Call {
                stream: child_stream(cx.stream, i as u64),
                masks: Masks::new(),
                trainable: cx.trainable,
                recording: cx.recording,
                inputs_need_gradient: true,
                arguments: None,
                fused: Default::default(),
            };
            cx.nested(call, false, |cx| cell.run(input, &mut own, cx).map(|()| Values::default()))?;
            x = outputs(own.state(cell.output()), cx);
            done.extend(own.states);
        }
        sequence.states = done;
        Ok(())
    }

    fn run_back(&self, sequence: &Sequence, gradients: SequenceGradients, cx: &mut Backward<'_>) -> Result<Back> {
        let SequenceGradients { mut each, mut last, .. } = gradients;
        let mut states = sequence.states.clone();
        let mut first: Vec<States> = Vec::new();
        for (i, cell) in self.cells.iter().enumerate().rev() {
            let count = cell.states();
            let own = states.drain(states.len() - count..).collect::<States>();
            let last = last.drain(last.len() - count..).collect();
            let inputs = match i {
                0 => sequence.inputs().into(),
                _ => {
                    let below = &states[states.len() - self.cells[i - 1].states() + self.cells[i - 1].output()];
                    std::iter::once(sequence.steps()).chain(below.shape()[1..].iter().copied()).collect()
                }
            };
            let own = Sequence::restored(inputs, own, sequence.mask.clone());
            let gradients = SequenceGradients { each: each.take(), last, output: cell.output() };
            let wanted = i > 0 || cx.wants(0);
            let trainable = cx.trainable();
            let (dx, d) = cx.nested(trainable, smallvec::smallvec![wanted], |cx| cell.run_back(&own, gradients, cx))?;
            each = dx;
            first.push(d);
        }
        Ok((each, first.into_iter().rev().flatten().collect()))
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.cells.iter().for_each(|cell| cell.visit(visit));
    }
}
