//! Long short-term memory.

use super::Recurrent;
use super::cell::{Cell, Sequence, SequenceGradients};
use super::gates::{Back, Gates, gate_builders};
use super::product::{Place, Product};
use crate::activations::Activation;
use crate::activations::math::{sigmoid, tanh};
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::Result;
use crate::initializers::Initializer;
use crate::kernels::vectorised;
use crate::layer::{Backward, Build, Forward, Param};
use crate::random::Rng;
use crate::regularizers::Regularizer;
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Long short-term memory (Keras: `LSTM`; Hochreiter & Schmidhuber 1997): a carry `c` that gates let in, keep
/// and let out.
///
/// With `z = x · kernel + h · recurrent_kernel + bias` in four parts, `i`, `f` and `o` are `sigmoid` of the
/// first, the second and the last of them, `c = f c + i tanh(third)`, and `h = o tanh(c)`.
///
/// Input `(batch, time, features)`, output `(batch, units)`, the last `h`, or `(batch, time, units)`; kernel
/// `(features, 4 units)`, recurrent kernel `(units, 4 units)`, bias `(4 units)`; states `h` and `c`. Defaults:
/// with bias, which starts at 1 for `f`. What else it can do is that of every [`Recurrent`] layer.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([28, 8])).add(LSTM::new(16).return_sequences(true)).add(LSTM::new(4));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 4)");
/// # Ok::<(), cornu::Error>(())
/// ```
pub type LSTM = Recurrent<LSTMCell>;

/// The step of [`LSTM`], for [`RNN`](super::RNN) (Keras: `LSTMCell`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct LSTMCell {
    #[serde(flatten)]
    gates: Gates,
    recurrent_activation: Activation,
    unit_forget_bias: bool,
}

impl LSTMCell {
    /// A cell of `units` units.
    pub fn new(units: usize) -> Self {
        LSTMCell { gates: Gates { units, ..Gates::default() }, ..LSTMCell::default() }
    }

    /// What is applied to the gates. Default: `sigmoid`.
    pub fn recurrent_activation(mut self, activation: impl Into<Activation>) -> Self {
        self.recurrent_activation = activation.into();
        self
    }

    /// Whether the bias of `f` starts at 1, so that a fresh cell remembers. Default: true.
    pub fn unit_forget_bias(mut self, unit_forget_bias: bool) -> Self {
        self.unit_forget_bias = unit_forget_bias;
        self
    }
}

impl LSTM {
    /// A layer of `units` units.
    pub fn new(units: usize) -> Self {
        Recurrent::of(LSTMCell::new(units))
    }

    /// What is applied to the gates. Default: `sigmoid`.
    pub fn recurrent_activation(mut self, activation: impl Into<Activation>) -> Self {
        self.cell.recurrent_activation = activation.into();
        self
    }

    /// Whether the bias of `f` starts at 1, so that a fresh layer remembers. Default: true.
    pub fn unit_forget_bias(mut self, unit_forget_bias: bool) -> Self {
        self.cell.unit_forget_bias = unit_forget_bias;
        self
    }
}

gate_builders!(LSTMCell, gates);
gate_builders!(LSTM, cell.gates);

impl Default for LSTMCell {
    fn default() -> Self {
        LSTMCell { gates: Gates::default(), recurrent_activation: Activation::Sigmoid, unit_forget_bias: true }
    }
}

/// A bias of four parts, of which the second starts at 1.
#[derive(Debug)]
pub(super) struct ForgetBias(pub Shared<dyn Initializer>);

impl Initializer for ForgetBias {
    fn check(&self) -> Result<()> {
        self.0.check()
    }
    fn initialize(&self, shape: &[usize], rng: &mut Rng) -> Result<Tensor> {
        let units = shape[0] / 4;
        let (first, rest) = (self.0.initialize(&[units], rng)?, self.0.initialize(&[2 * units], rng)?);
        Tensor::new(shape, [first.data(), &vec![1.0; units], rest.data()].concat())
    }
}

/// The part of an LSTM that follows the products: the same for one of images.
pub(super) struct Memory<'a> {
    pub units: usize,
    pub activation: &'a Activation,
    pub recurrent_activation: &'a Activation,
}

impl Memory<'_> {
    /// Whether the sums of the gates must be kept for the way back, besides their values.
    pub fn keeps_sums(&self) -> bool {
        self.activation.needs_input() || self.recurrent_activation.needs_input()
    }

    /// Whether the activations are those of Keras' defaults, for which a step is one pass over its values.
    fn is_usual(&self) -> bool {
        (self.recurrent_activation, self.activation) == (&Activation::Sigmoid, &Activation::Tanh)
    }

    /// From the sums `z` of some rows the gates, in place; from the carry before, `c0`, that after, what the
    /// activation makes of it, `a`, and the output `h`.
    pub fn step(&self, z: &mut [f32], c0: &[f32], c: &mut [f32], a: &mut [f32], h: &mut [f32]) {
        if self.is_usual() {
            return usual_step(self.units, z, c0, [c, a, h]);
        }
        let units = self.units;
        let rows = z.chunks_exact_mut(4 * units).zip(c0.chunks_exact(units)).zip(c.chunks_exact_mut(units));
        for ((z, c0), c) in rows {
            self.recurrent_activation.apply_slice(&mut z[..2 * units], units);
            self.activation.apply_slice(&mut z[2 * units..3 * units], units);
            self.recurrent_activation.apply_slice(&mut z[3 * units..], units);
            let [i, f, g, _] = quarters(z);
            vectorised(
                #[inline(always)]
                move || {
                    for ((((c, c0), i), f), g) in c.iter_mut().zip(c0).zip(i).zip(f).zip(g) {
                        *c = f * c0 + i * g;
                    }
                },
            );
        }
        a.copy_from_slice(c);
        self.activation.apply_slice(a, units);
        let rows = z.chunks_exact(4 * units).zip(a.chunks_exact(units)).zip(h.chunks_exact_mut(units));
        vectorised(
            #[inline(always)]
            move || {
                for ((z, a), h) in rows {
                    for ((h, a), o) in h.iter_mut().zip(a).zip(&z[3 * units..]) {
                        *h = a * o;
                    }
                }
            },
        );
    }

    /// From the gradients `dh` and `dc` after the step those of the sums, which take the place of the gates in `z`,
    /// and that of the carry before, `dc0`. `sums` are those that were kept, if any. Changes `dh` and `dc`.
    #[allow(clippy::too_many_arguments)] // One for each thing that a step has.
    pub fn back(
        &self,
        z: &mut [f32],
        sums: Option<&[f32]>,
        [c0, c, a]: [&[f32]; 3],
        dh: &mut [f32],
        dc: &mut [f32],
        dc0: &mut [f32],
        row: &mut [f32],
    ) {
        let units = self.units;
        if self.is_usual() {
            return usual_back(units, z, [c0, a, dh, dc], dc0);
        }
        for (i, z) in z.chunks_exact_mut(4 * units).enumerate() {
            let place = i * units..(i + 1) * units;
            let (dh, dc, a) = (&mut dh[place.clone()], &mut dc[place.clone()], &a[place.clone()]);
            let (c0, c, dc0) = (&c0[place.clone()], &c[place.clone()], &mut dc0[place]);
            let [di, df, dg, dout] = quarters_mut(row);
            let [i_, f, g, o] = quarters(z);
            product(dout, dh, a);
            product(dc0, dh, o);
            self.activation.backward_slice(if self.activation.needs_input() { c } else { a }, dc0, units);
            crate::kernels::reduce::add(dc, dc0);
            product(di, dc, g);
            product(df, dc, c0);
            product(dg, dc, i_);
            product(dc0, dc, f);
            let sums = sums.map(|sums| &sums[i * 4 * units..][..4 * units]);
            let saved = |activation: &Activation| sums.filter(|_| activation.needs_input()).unwrap_or(z);
            let gates = saved(self.recurrent_activation);
            self.recurrent_activation.backward_slice(&gates[..2 * units], &mut row[..2 * units], units);
            self.recurrent_activation.backward_slice(&gates[3 * units..], &mut row[3 * units..], units);
            let new = &saved(self.activation)[2 * units..3 * units];
            self.activation.backward_slice(new, &mut row[2 * units..3 * units], units);
            z.copy_from_slice(row);
        }
    }
}

/// Values that are worked on side by side: a vector of the widest kind.
const BLOCK: usize = 16;

/// The values of a row from `at` on; behind its end zeros.
#[inline(always)]
fn block(row: &[f32], at: usize) -> [f32; BLOCK] {
    let rest = &row[at..];
    rest.first_chunk().copied().unwrap_or_else(|| {
        let mut block = [0.0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        block
    })
}

/// Writes those of a [`block`] that are in the row.
#[inline(always)]
fn put(row: &mut [f32], at: usize, block: [f32; BLOCK]) {
    let rest = &mut row[at..];
    match rest.first_chunk_mut() {
        Some(place) => *place = block,
        None => rest.copy_from_slice(&block[..rest.len()]),
    }
}

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; BLOCK] {
    std::array::from_fn(f)
}

/// [`Memory::step`] with `sigmoid` and `tanh`.
fn usual_step(units: usize, z: &mut [f32], c0: &[f32], [c, a, h]: [&mut [f32]; 3]) {
    vectorised(
        #[inline(always)]
        move || {
            for (row, z) in z.chunks_exact_mut(4 * units).enumerate() {
                let place = row * units..(row + 1) * units;
                let (c0, c) = (&c0[place.clone()], &mut c[place.clone()]);
                let (a, h) = (&mut a[place.clone()], &mut h[place]);
                z[..2 * units].iter_mut().for_each(|z| *z = sigmoid(*z));
                z[2 * units..3 * units].iter_mut().for_each(|z| *z = tanh(*z));
                z[3 * units..].iter_mut().for_each(|z| *z = sigmoid(*z));
                let [i, f, g, o] = quarters(z);
                for ((((c, c0), i), f), g) in c.iter_mut().zip(c0).zip(i).zip(f).zip(g) {
                    *c = f * c0 + i * g;
                }
                a.iter_mut().zip(&*c).for_each(|(a, c)| *a = tanh(*c));
                h.iter_mut().zip(&*a).zip(o).for_each(|((h, a), o)| *h = a * o);
            }
        },
    );
}

/// [`Memory::back`] with `sigmoid` and `tanh`.
fn usual_back(units: usize, z: &mut [f32], [c0, a, dh, dc]: [&[f32]; 4], dc0: &mut [f32]) {
    vectorised(
        #[inline(always)]
        move || {
            for (row, z) in z.chunks_exact_mut(4 * units).enumerate() {
                let place = row * units..(row + 1) * units;
                let (c0, a, dc0) = (&c0[place.clone()], &a[place.clone()], &mut dc0[place.clone()]);
                let (dh, dc) = (&dh[place.clone()], &dc[place]);
                let [zi, zf, zg, zo] = quarters_mut(z);
                for at in (0..units).step_by(BLOCK) {
                    let (i, f, g, o) = (block(zi, at), block(zf, at), block(zg, at), block(zo, at));
                    let (old, a, dh, dc) = (block(c0, at), block(a, at), block(dh, at), block(dc, at));
                    let dc = each(|k| dc[k] + dh[k] * o[k] * (1.0 - a[k] * a[k]));
                    put(zi, at, each(|k| dc[k] * g[k] * (i[k] * (1.0 - i[k]))));
                    put(zf, at, each(|k| dc[k] * old[k] * (f[k] * (1.0 - f[k]))));
                    put(zg, at, each(|k| dc[k] * i[k] * (1.0 - g[k] * g[k])));
                    put(zo, at, each(|k| dh[k] * a[k] * (o[k] * (1.0 - o[k]))));
                    put(dc0, at, each(|k| dc[k] * f[k]));
                }
            }
        },
    );
}

#[inline(always)]
fn quarters(z: &[f32]) -> [&[f32]; 4] {
    let (left, right) = z.split_at(z.len() / 2);
    let ((i, f), (g, o)) = (left.split_at(left.len() / 2), right.split_at(right.len() / 2));
    [i, f, g, o]
}

#[inline(always)]
fn quarters_mut(z: &mut [f32]) -> [&mut [f32]; 4] {
    let (left, right) = z.split_at_mut(z.len() / 2);
    let middle = left.len() / 2;
    let ((i, f), (g, o)) = (left.split_at_mut(middle), right.split_at_mut(middle));
    [i, f, g, o]
}

/// `y = a ∘ b`
fn product(y: &mut [f32], a: &[f32], b: &[f32]) {
    vectorised(
        #[inline(always)]
        move || y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = a * b),
    );
}

impl LSTMCell {
    fn memory(&self) -> Memory<'_> {
        Memory {
            units: self.gates.units,
            activation: &self.gates.activation,
            recurrent_activation: &self.recurrent_activation,
        }
    }
}

impl Cell for LSTMCell {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.gates.check()?;
        self.recurrent_activation.check()
    }

    fn states(&self) -> usize {
        2
    }

    fn state_shapes(&self, input: &Shape) -> Result<Vec<Shape>> {
        Ok(vec![self.gates.state_shape(input)?; 2])
    }

    fn build(&mut self, input: &Shape, cx: &mut Build) -> Result<()> {
        let plain = self.gates.bias_initializer.clone();
        let initializer = if self.unit_forget_bias { ForgetBias(plain).into() } else { plain };
        self.gates.build(4, &[4 * self.gates.units], &initializer, input, cx)
    }

    fn run(&self, x: Tensor, sequence: &mut Sequence, cx: &mut Forward<'_>) -> Result<()> {
        let (units, batch) = (self.gates.units, sequence.batch());
        let drops = self.gates.drops(self.gates.groups(4), batch, [x.last(), units], cx);
        let bias = self.gates.bias.as_ref().map(Param::value);
        let mut z = self.gates.project(&x, bias.as_ref().map(|b| b.data()), &drops, cx)?;
        let weight = &self.gates.recurrent_kernel;
        let kernel = weight.value();
        let product = Product::each_step(weight, &kernel, 0..4 * units, drops.state.as_ref());
        let memory = self.memory();
        let mut a = cx.scratch([sequence.steps(), batch, units]);
        let mut sums = (cx.recording() && memory.keeps_sums()).then(|| cx.scratch(z.shape()));
        let workspace = cx.workspace().clone();
        sequence.forward(|t, before, after| {
            let z = &mut z.data_mut()[t * batch * 4 * units..][..batch * 4 * units];
            product.forward(before[0], 1.0, Place { rows: &mut *z, len: 4 * units, first: 0 }, &workspace);
            if let Some(sums) = &mut sums {
                sums.data_mut()[t * z.len()..][..z.len()].copy_from_slice(z);
            }
            let [h, c] = after else { unreachable!("two states") };
            let a = &mut a.data_mut()[t * batch * units..][..batch * units];
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
        let (units, batch) = (self.gates.units, sequence.batch());
        let memory = self.memory();
        let mut z = cx.restore()?;
        let a = cx.restore()?;
        let sums = memory.keeps_sums().then(|| cx.restore()).transpose()?;
        let x = cx.restore()?;
        let drops = Gates::restore_drops(cx)?;
        let weight = &self.gates.recurrent_kernel;
        let kernel = weight.value();
        let workspace = cx.workspace().clone();
        let product = Product::each_step_back(weight, &kernel, 0..4 * units, drops.state.as_ref());
        let mut row = workspace.take(4 * units);
        let first = sequence.backward(gradients, &workspace, |t, before, after, dafter, dbefore| {
            let sums = sums.as_ref().map(|sums| &sums.data()[t * batch * 4 * units..][..batch * 4 * units]);
            let z = &mut z.data_mut()[t * batch * 4 * units..][..batch * 4 * units];
            let a = &a.data()[t * batch * units..][..batch * units];
            let ([dh, dc], [dh0, dc0]) = (dafter, dbefore) else { unreachable!("two states") };
            memory.back(z, sums, [before[1], after[1], a], dh, dc, dc0, &mut row);
            product.backward(&Place { rows: &*z, len: 4 * units, first: 0 }, 0.0, dh0, &workspace);
            Ok(())
        })?;
        workspace.give(row);
        self.gates.recurrent_back(&product, sequence.before(0), Place { rows: z.data(), len: 4 * units, first: 0 }, cx);
        self.gates.bias_back(&z, cx);
        Ok((self.gates.project_back(&x, &z, &drops, cx), first))
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.gates.visit(visit);
    }
}
