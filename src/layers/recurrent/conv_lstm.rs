//! Long short-term memory over images.

use super::Recurrent;
use super::cell::{Cell, Sequence, SequenceGradients, features};
use super::gates::{Back, Gates, gate_builders};
use super::lstm::{ForgetBias, Memory};
use super::product::multiply;
use crate::activations::Activation;
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Context, Error, Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::Epilogue;
use crate::kernels::conv3d::Conv3d;
use crate::kernels::reduce::{add, fill_rows};
use crate::layer::{Backward, Build, Forward, Param};
use crate::layers::DataFormat;
use crate::regularizers::Regularizer;
use crate::runtime::Workspace;
use crate::shape::{Padding, Shape, Window};
use crate::tensor::Tensor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Debug;
use std::sync::Arc;

/// An [`LSTM`](super::LSTM) over images, whose products are convolutions (Keras: `ConvLSTM2D`; Shi et al. 2015).
///
/// Input `(batch, time, height, width, channels)`, output `(batch, new_height, new_width, filters)`, the last step's,
/// or `(batch, time, new_height, new_width, filters)`; kernel `(kernel_height, kernel_width, channels, 4 filters)`,
/// recurrent kernel the same with `filters` channels, bias `(4 filters)`; states `h` and `c`. Defaults as those of the
/// LSTM; strides 1, padding valid, dilation 1. Strides, padding and dilation are those of the inputs' convolution; the
/// states' keeps their size. Height and width must be known.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([5, 16, 16, 1])).add(ConvLSTM2D::new(4, 3).padding(Padding::Same).return_sequences(true));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 5, 16, 16, 4)");
/// # Ok::<(), cornu::Error>(())
/// ```
pub type ConvLSTM2D = Recurrent<ConvLSTMCell<Sides<2>>>;

/// As [`ConvLSTM2D`], over lines: input `(batch, time, width, channels)` (Keras: `ConvLSTM1D`).
pub type ConvLSTM1D = Recurrent<ConvLSTMCell<Sides<1>>>;

/// As [`ConvLSTM2D`], over volumes: input `(batch, time, depth, height, width, channels)` (Keras: `ConvLSTM3D`).
pub type ConvLSTM3D = Recurrent<ConvLSTMCell<Sides<3>>>;

/// The step of [`ConvLSTM2D`], [`ConvLSTM1D`] and [`ConvLSTM3D`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "S: Extent"))]
pub struct ConvLSTMCell<S> {
    filters: usize,
    kernel_size: S,
    strides: S,
    padding: Padding,
    data_format: DataFormat,
    dilation_rate: S,
    recurrent_activation: Activation,
    unit_forget_bias: bool,
    #[serde(flatten)]
    gates: Gates,
}

/// One number for each axis; from one number for all.
#[derive(Clone, Copy, Debug)]
pub struct Sides<const RANK: usize>([usize; RANK]);

impl<const RANK: usize> From<usize> for Sides<RANK> {
    fn from(side: usize) -> Self {
        Sides([side; RANK])
    }
}

impl<const RANK: usize> From<[usize; RANK]> for Sides<RANK> {
    fn from(sides: [usize; RANK]) -> Self {
        Sides(sides)
    }
}

impl<const RANK: usize> Serialize for Sides<RANK> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de, const RANK: usize> Deserialize<'de> for Sides<RANK> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMore {
            One(usize),
            More(Vec<usize>),
        }
        match OneOrMore::deserialize(deserializer)? {
            OneOrMore::One(side) => Ok(side.into()),
            OneOrMore::More(sides) => <[usize; RANK]>::try_from(sides).map(Sides).map_err(|sides| {
                serde::de::Error::custom(format!("{sides:?} are {} numbers, not {RANK}", sides.len()))
            }),
        }
    }
}

/// A number for each axis of what is convolved.
pub trait Extent: Copy + Debug + From<usize> + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The name of the cell over such axes.
    #[doc(hidden)]
    const CELL: &'static str;

    /// The numbers.
    fn sides(&self) -> &[usize];

    /// Depth, height and width; what is not there is 1.
    #[doc(hidden)]
    fn volume(&self) -> [usize; 3] {
        let (mut volume, sides) = ([1; 3], self.sides());
        volume[3 - sides.len()..].copy_from_slice(sides);
        volume
    }

    #[doc(hidden)]
    fn check(&self, name: &str) -> Result<()> {
        let sides = self.sides();
        ensure!(sides.iter().all(|&side| side > 0), Argument, "{name} is {sides:?}; all must be at least 1");
        Ok(())
    }
}

impl Extent for Sides<1> {
    const CELL: &'static str = "ConvLSTM1DCell";
    fn sides(&self) -> &[usize] {
        &self.0
    }
}

impl Extent for Sides<2> {
    const CELL: &'static str = "ConvLSTM2DCell";
    fn sides(&self) -> &[usize] {
        &self.0
    }
}

impl Extent for Sides<3> {
    const CELL: &'static str = "ConvLSTM3DCell";
    fn sides(&self) -> &[usize] {
        &self.0
    }
}

impl<S: Extent> Default for ConvLSTMCell<S> {
    fn default() -> Self {
        ConvLSTMCell {
            filters: 0,
            kernel_size: 1.into(),
            strides: 1.into(),
            padding: Padding::Valid,
            data_format: DataFormat::ChannelsLast,
            dilation_rate: 1.into(),
            recurrent_activation: Activation::Sigmoid,
            unit_forget_bias: true,
            gates: Gates::default(),
        }
    }
}

impl<S: Extent> Recurrent<ConvLSTMCell<S>> {
    /// A layer of `filters` filters of `kernel_size`: one number, or one for each axis.
    pub fn new(filters: usize, kernel_size: impl Into<S>) -> Self {
        Recurrent::of(ConvLSTMCell { filters, kernel_size: kernel_size.into(), ..ConvLSTMCell::default() })
    }

    /// Steps of the filter over the inputs. Default: 1.
    pub fn strides(mut self, strides: impl Into<S>) -> Self {
        self.cell.strides = strides.into();
        self
    }

    /// What happens at the border of the inputs. Default: valid.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.cell.padding = padding;
        self
    }

    /// Where the channels of inputs, outputs and states are. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.cell.data_format = data_format;
        self
    }

    /// The distance of a filter's taps over the inputs. Default: 1. Not together with strides above 1.
    pub fn dilation_rate(mut self, dilation_rate: impl Into<S>) -> Self {
        self.cell.dilation_rate = dilation_rate.into();
        self
    }

    /// What is applied to the gates. Default: `sigmoid`.
    pub fn recurrent_activation(mut self, activation: impl Into<Activation>) -> Self {
        self.cell.recurrent_activation = activation.into();
        self
    }

    /// Whether the bias of `f` starts at 1. Default: true.
    pub fn unit_forget_bias(mut self, unit_forget_bias: bool) -> Self {
        self.cell.unit_forget_bias = unit_forget_bias;
        self
    }
}

gate_builders!(ConvLSTM1D, cell.gates);
gate_builders!(ConvLSTM2D, cell.gates);
gate_builders!(ConvLSTM3D, cell.gates);

/// A convolution into the four gates, perhaps of inputs of which each gate drops others.
struct Filters<'a> {
    conv: Conv3d,
    /// One gate alone.
    gate: Conv3d,
    kernel: &'a Tensor,
    /// `(4, batch, values of an image)`
    drops: Option<&'a Tensor>,
}

impl Filters<'_> {
    /// The channels of all gates.
    fn columns(&self) -> usize {
        self.kernel.last()
    }

    /// `y += dropped x * kernel`
    fn add_forward(&self, x: &[f32], y: &mut [f32], workspace: &Arc<Workspace>) {
        let Some(drops) = self.drops else {
            let mut part = workspace.take(y.len());
            self.conv.forward(x, self.kernel.data(), Epilogue::default(), &mut part, workspace);
            add(y, &part);
            return workspace.give(part);
        };
        let (mut dropped, mut part) = (workspace.take(x.len()), workspace.take(y.len() / 4));
        for gate in 0..4 {
            multiply(x, drops.row(gate), &mut dropped);
            let kernel = columns(self.kernel.data(), self.columns(), gate, workspace);
            self.gate.forward(&dropped, &kernel, Epilogue::default(), &mut part, workspace);
            add_columns(y, self.columns(), gate, &part);
            workspace.give(kernel);
        }
        workspace.give(dropped);
        workspace.give(part);
    }

    fn add_weights(&self, x: &[f32], dy: &[f32], dkernel: &mut [f32], workspace: &Arc<Workspace>) {
        let Some(drops) = self.drops else { return self.conv.backward_weights(x, dy, dkernel, None, workspace) };
        let (mut dropped, mut part) = (workspace.take(x.len()), workspace.take(dkernel.len() / 4));
        for gate in 0..4 {
            multiply(x, drops.row(gate), &mut dropped);
            let dy = columns(dy, self.columns(), gate, workspace);
            part.fill(0.0);
            self.gate.backward_weights(&dropped, &dy, &mut part, None, workspace);
            add_columns(dkernel, self.columns(), gate, &part);
            workspace.give(dy);
        }
        workspace.give(dropped);
        workspace.give(part);
    }

    fn backward(&self, dy: &[f32], dx: &mut [f32], workspace: &Arc<Workspace>) {
        let Some(drops) = self.drops else {
            return self.conv.backward_data(dy, self.kernel.data(), dx, workspace);
        };
        dx.fill(0.0);
        let (mut part, mut dropped) = (workspace.take(dx.len()), workspace.take(dx.len()));
        for gate in 0..4 {
            let kernel = columns(self.kernel.data(), self.columns(), gate, workspace);
            let dy = columns(dy, self.columns(), gate, workspace);
            self.gate.backward_data(&dy, &kernel, &mut part, workspace);
            multiply(&part, drops.row(gate), &mut dropped);
            add(dx, &dropped);
            workspace.give(kernel);
            workspace.give(dy);
        }
        workspace.give(part);
        workspace.give(dropped);
    }
}

/// A gate's quarter of each row.
fn columns(rows: &[f32], all: usize, gate: usize, workspace: &Arc<Workspace>) -> Vec<f32> {
    let each = all / 4;
    let mut part = workspace.take(rows.len() / 4);
    let pairs = part.chunks_exact_mut(each).zip(rows.chunks_exact(all));
    pairs.for_each(|(part, row)| part.copy_from_slice(&row[gate * each..][..each]));
    part
}

/// Adds to a gate's quarter of each row.
fn add_columns(rows: &mut [f32], all: usize, gate: usize, part: &[f32]) {
    let each = all / 4;
    let pairs = rows.chunks_exact_mut(all).zip(part.chunks_exact(each));
    pairs.for_each(|(row, part)| add(&mut row[gate * each..][..each], part));
}

impl<S: Extent> ConvLSTMCell<S> {
    fn rank(&self) -> usize {
        self.kernel_size.sides().len()
    }

    fn memory(&self) -> Memory<'_> {
        Memory {
            units: self.filters,
            activation: &self.gates.activation,
            recurrent_activation: &self.recurrent_activation,
        }
    }

    /// The convolution of `images` inputs of these dimensions, `(…, height, width, channels)`.
    fn inputs<'a>(
        &self,
        images: usize,
        dims: &[usize],
        kernel: &'a Tensor,
        drops: Option<&'a Tensor>,
    ) -> Result<Filters<'a>> {
        let input = volumes(self.rank(), images, dims);
        let make = |filters| {
            let (size, strides, dilation) =
                (self.kernel_size.volume(), self.strides.volume(), self.dilation_rate.volume());
            Conv3d::new(input, size, filters, strides, dilation, self.padding, 1)
        };
        ensure!(
            kernel.shape()[self.rank()] == input[4],
            Shape,
            "expected {} channels, got an input of shape {dims:?}",
            kernel.shape()[self.rank()]
        );
        Ok(Filters { conv: make(4 * self.filters)?, gate: make(self.filters)?, kernel, drops })
    }

    /// The convolution of `images` states of these dimensions.
    fn states<'a>(
        &self,
        images: usize,
        dims: &[usize],
        kernel: &'a Tensor,
        drops: Option<&'a Tensor>,
    ) -> Result<Filters<'a>> {
        let state = volumes(self.rank(), images, dims);
        let make = |filters| Conv3d::new(state, self.kernel_size.volume(), filters, [1; 3], [1; 3], Padding::Same, 1);
        Ok(Filters { conv: make(4 * self.filters)?, gate: make(self.filters)?, kernel, drops })
    }
}

/// Of `(…, height, width, channels)`, with so many axes before the channels, as volumes; those that are not there are 1.
fn volumes(rank: usize, images: usize, dims: &[usize]) -> [usize; 5] {
    let mut volume = [images, 1, 1, 1, 1];
    volume[4 - rank..].copy_from_slice(&dims[dims.len() - rank - 1..]);
    volume
}

impl<S: Extent> Cell for ConvLSTMCell<S> {
    fn class_name(&self) -> &str {
        S::CELL
    }

    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.filters > 0, Argument, "filters is 0; a convolution needs at least one");
        self.kernel_size.check("kernel_size")?;
        self.strides.check("strides")?;
        self.dilation_rate.check("dilation_rate")?;
        ensure!(
            [self.strides, self.dilation_rate].iter().any(|sides| sides.sides().iter().all(|&side| side == 1)),
            Argument,
            "strides {:?} and dilation_rate {:?} cannot both be above 1",
            self.strides.sides(),
            self.dilation_rate.sides()
        );
        self.gates.check_rates()?;
        self.recurrent_activation.check()
    }

    fn states(&self) -> usize {
        2
    }

    fn data_format(&self) -> DataFormat {
        self.data_format
    }

    fn state_shapes(&self, input: &Shape) -> Result<Vec<Shape>> {
        let axes = ["width", "height, width", "depth, height, width"][self.rank().clamp(1, 3) - 1];
        ensure!(
            input.rank() == self.rank() + 2,
            Shape,
            "expected an input (batch, time, {axes}, channels), so steps (batch, {axes}, channels), got steps {input}"
        );
        let mut dims = vec![input.dims()[0]];
        for axis in 0..self.rank() {
            let size = input.get(axis + 1).ok_or_else(|| {
                Error::Shape(format!("{axes} must be known, since the states have them too; a step is {input}"))
            })?;
            let (kernel, stride, dilation) =
                (self.kernel_size.sides()[axis], self.strides.sides()[axis], self.dilation_rate.sides()[axis]);
            let window = Window::new(size, kernel, stride, dilation, self.padding);
            dims.push(Some(window.at(|| format!("a step {input}"))?.out));
        }
        dims.push(Some(self.filters));
        Ok(vec![Shape::new(dims); 2])
    }

    fn build(&mut self, input: &Shape, cx: &mut Build) -> Result<()> {
        let channels = features(input)?;
        let shape = |channels| self.kernel_size.sides().iter().copied().chain([channels, 4 * self.filters]);
        let (kernel, recurrent): (Vec<usize>, Vec<usize>) = (shape(channels).collect(), shape(self.filters).collect());
        let plain = self.gates.bias_initializer.clone();
        let initializer = if self.unit_forget_bias { ForgetBias(plain).into() } else { plain };
        self.gates.build_as([&kernel, &recurrent, &[4 * self.filters]], &initializer, cx)
    }

    fn run(&self, x: Tensor, sequence: &mut Sequence, cx: &mut Forward<'_>) -> Result<()> {
        let (steps, batch) = (sequence.steps(), sequence.batch());
        let workspace = cx.workspace().clone();
        let state = sequence.state(0).shape()[1..].to_vec();
        let state_len: usize = state.iter().product();
        let image_len = x.len() / (steps * batch).max(1);
        // Each gate drops for itself.
        let drops = self.gates.drops(4, batch, [image_len, state_len / batch.max(1)], cx);
        let (kernel, recurrent) = (self.gates.kernel.value(), self.gates.recurrent_kernel.value());
        let inputs = self.inputs(steps * batch, x.shape(), &kernel, drops.input.as_ref())?;
        let states = self.states(batch, &state, &recurrent, drops.state.as_ref())?;
        let memory = self.memory();
        let mut z = cx.scratch([steps, state_len, 4]);
        match &self.gates.bias {
            Some(bias) => fill_rows(z.data_mut(), bias.value().data()),
            None => z.data_mut().fill(0.0),
        }
        inputs.add_forward(x.data(), z.data_mut(), &workspace);
        let mut a = cx.scratch([steps, state_len]);
        let mut sums = (cx.recording() && memory.keeps_sums()).then(|| cx.scratch(z.shape()));
        sequence.forward(|t, before, after| {
            let z = &mut z.data_mut()[t * 4 * state_len..][..4 * state_len];
            states.add_forward(before[0], z, &workspace);
            if let Some(sums) = &mut sums {
                sums.data_mut()[t * z.len()..][..z.len()].copy_from_slice(z);
            }
            let a = &mut a.data_mut()[t * state_len..][..state_len];
            let [h, c] = after else { unreachable!("two states") };
            memory.step(z, before[1], c, a, h);
            Ok(())
        })?;
        cx.save(x);
        sums.into_iter().for_each(|sums| cx.save(sums));
        cx.save(a);
        cx.save(z);
        Ok(())
    }

    fn run_back(&self, sequence: &Sequence, gradients: SequenceGradients, cx: &mut Backward<'_>) -> Result<Back> {
        let (steps, batch) = (sequence.steps(), sequence.batch());
        let workspace = cx.workspace().clone();
        let memory = self.memory();
        let mut z = cx.restore()?;
        let a = cx.restore()?;
        let sums = memory.keeps_sums().then(|| cx.restore()).transpose()?;
        let x = cx.restore()?;
        let drops = Gates::restore_drops(cx)?;
        let state = sequence.state(0).shape()[1..].to_vec();
        let state_len: usize = state.iter().product();
        let (kernel, recurrent) = (self.gates.kernel.value(), self.gates.recurrent_kernel.value());
        let states = self.states(batch, &state, &recurrent, drops.state.as_ref())?;
        let mut row = workspace.take(4 * self.filters);
        let first = sequence.backward(gradients, &workspace, |t, before, after, dafter, dbefore| {
            let place = t * 4 * state_len..(t + 1) * 4 * state_len;
            let sums = sums.as_ref().map(|sums| &sums.data()[place.clone()]);
            let z = &mut z.data_mut()[place];
            let a = &a.data()[t * state_len..][..state_len];
            let ([dh, dc], [dh0, dc0]) = (dafter, dbefore) else { unreachable!("two states") };
            memory.back(z, sums, [before[1], after[1], a], dh, dc, dc0, &mut row);
            states.backward(z, dh0, &workspace);
            Ok(())
        })?;
        workspace.give(row);
        let states = self.states(steps * batch, &state, &recurrent, drops.state.as_ref())?;
        if let Some(d) = cx.gradient(&self.gates.recurrent_kernel) {
            states.add_weights(sequence.before(0), z.data(), d, &workspace);
        }
        self.gates.bias_back(&z, cx);
        let inputs = self.inputs(steps * batch, x.shape(), &kernel, drops.input.as_ref())?;
        if let Some(d) = cx.gradient(&self.gates.kernel) {
            inputs.add_weights(x.data(), z.data(), d, &workspace);
        }
        let dx = cx.wants(0).then(|| {
            let mut dx = cx.scratch(x.shape());
            inputs.backward(z.data(), dx.data_mut(), &workspace);
            dx
        });
        Ok((dx, first))
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.gates.visit(visit);
    }
}
