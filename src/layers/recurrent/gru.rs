//! Gated recurrent units.

use super::Recurrent;
use super::cell::{Cell, Sequence, SequenceGradients};
use super::gates::{Back, Gates, gate_builders};
use super::product::{Place, Product};
use crate::activations::Activation;
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::Result;
use crate::initializers::Initializer;
use crate::kernels::reduce::{add, add_column_sums, fill_rows};
use crate::kernels::vectorised;
use crate::layer::{Backward, Build, Forward, Param};
use crate::regularizers::Regularizer;
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Gated recurrent units (Keras: `GRU`; Cho et al. 2014).
///
/// The gates `z` and `r` are `sigmoid(x · kernel + h · recurrent_kernel + bias)` of their parts of the weights, and
/// `h = z h + (1 - z) tanh(x · kernel + r (h · recurrent_kernel + recurrent_bias) + bias)`; without `reset_after` it is
/// `(r h) · recurrent_kernel` there, and there is one bias.
///
/// Input `(batch, time, features)`, output `(batch, units)`, the last `h`, or `(batch, time, units)`; kernel
/// `(features, 3 units)`, recurrent kernel `(units, 3 units)`, bias `(2, 3 units)`, or `(3 units)` without
/// `reset_after`, in the order `z`, `r`, `h`. What else it can do is that of every [`Recurrent`] layer.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([28, 8])).add(GRU::new(16));
/// model.build()?;
/// assert_eq!(model.count_params(), 3 * 16 * (8 + 16 + 2));
/// # Ok::<(), cornu::Error>(())
/// ```
pub type GRU = Recurrent<GRUCell>;

/// The step of [`GRU`], for [`RNN`](super::RNN) (Keras: `GRUCell`).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct GRUCell {
    #[serde(flatten)]
    gates: Gates,
    recurrent_activation: Activation,
    reset_after: bool,
}

impl GRUCell {
    /// A cell of `units` units.
    pub fn new(units: usize) -> Self {
        GRUCell { gates: Gates { units, ..Gates::default() }, ..GRUCell::default() }
    }

    /// What is applied to the gates. Default: `sigmoid`.
    pub fn recurrent_activation(mut self, activation: impl Into<Activation>) -> Self {
        self.recurrent_activation = activation.into();
        self
    }

    /// Whether the gate `r` works after the product with the recurrent kernel. Default: true.
    pub fn reset_after(mut self, reset_after: bool) -> Self {
        self.reset_after = reset_after;
        self
    }
}

impl GRU {
    /// A layer of `units` units.
    pub fn new(units: usize) -> Self {
        Recurrent::of(GRUCell::new(units))
    }

    /// What is applied to the gates. Default: `sigmoid`.
    pub fn recurrent_activation(mut self, activation: impl Into<Activation>) -> Self {
        self.cell.recurrent_activation = activation.into();
        self
    }

    /// Whether the gate `r` works after the product with the recurrent kernel. Default: true.
    pub fn reset_after(mut self, reset_after: bool) -> Self {
        self.cell.reset_after = reset_after;
        self
    }
}

gate_builders!(GRUCell, gates);
gate_builders!(GRU, cell.gates);

impl Default for GRUCell {
    fn default() -> Self {
        GRUCell { gates: Gates::default(), recurrent_activation: Activation::Sigmoid, reset_after: true }
    }
}

impl GRUCell {
    fn keeps_sums(&self) -> bool {
        self.gates.activation.needs_input() || self.recurrent_activation.needs_input()
    }

    /// The columns of the recurrent kernel: those of the gates, and those of the new values.
    fn columns(&self) -> [Range<usize>; 2] {
        let units = self.gates.units;
        [0..2 * units, 2 * units..3 * units]
    }

    /// What is dropped of the state for the gates, and for the new values.
    fn split(drops: &Option<Tensor>) -> Result<[Option<Tensor>; 2]> {
        let Some(drops) = drops else { return Ok([None, None]) };
        let each = drops.len() / 3;
        let shape = |groups| [groups, drops.shape()[1], drops.shape()[2]];
        let part = |groups, values: &[f32]| Tensor::new(shape(groups), values.to_vec());
        Ok([Some(part(2, &drops.data()[..2 * each])?), Some(part(1, &drops.data()[2 * each..])?)])
    }
}

impl Cell for GRUCell {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.gates.check()?;
        self.recurrent_activation.check()
    }

    fn state_shapes(&self, input: &Shape) -> Result<Vec<Shape>> {
        Ok(vec![self.gates.state_shape(input)?])
    }

    fn build(&mut self, input: &Shape, cx: &mut Build) -> Result<()> {
        let initializer = self.gates.bias_initializer.clone();
        let columns = 3 * self.gates.units;
        let bias: &[usize] = if self.reset_after { &[2, columns] } else { &[columns] };
        self.gates.build(3, bias, &initializer, input, cx)
    }

    fn run(&self, x: Tensor, sequence: &mut Sequence, cx: &mut Forward<'_>) -> Result<()> {
        let (units, batch) = (self.gates.units, sequence.batch());
        let (activation, recurrent_activation) = (&self.gates.activation, &self.recurrent_activation);
        let drops = self.gates.drops(self.gates.groups(3), batch, [x.last(), units], cx);
        let [gate_drops, new_drops] = Self::split(&drops.state)?;
        let bias = self.gates.bias.as_ref().map(Param::value);
        // The bias of the inputs, with that of the states where the two are only added.
        let (mut input_bias, mut state_bias) = (None, None);
        if let Some(bias) = &bias {
            let (first, second) = bias.data().split_at(3 * units);
            let mut sum = first.to_vec();
            if self.reset_after {
                add(&mut sum[..2 * units], &second[..2 * units]);
                state_bias = Some(&second[2 * units..]);
            }
            input_bias = Some(sum);
        }
        let mut z = self.gates.project(&x, input_bias.as_deref(), &drops, cx)?;
        let weight = &self.gates.recurrent_kernel;
        let (kernel, [gates, new]) = (weight.value(), self.columns());
        let gates = Product::each_step(weight, &kernel, gates, gate_drops.as_ref());
        let new = Product::each_step(weight, &kernel, new, new_drops.as_ref());
        // The state's part of the new values; without reset_after, r ∘ h.
        let mut inner = cx.scratch([sequence.steps(), batch, units]);
        let mut sums = (cx.recording() && self.keeps_sums()).then(|| cx.scratch(z.shape()));
        let workspace = cx.workspace().clone();
        sequence.forward(|t, before, after| {
            let z = &mut z.data_mut()[t * batch * 3 * units..][..batch * 3 * units];
            let inner = &mut inner.data_mut()[t * batch * units..][..batch * units];
            let (h, after) = (before[0], &mut *after[0]);
            gates.forward(h, 1.0, Place { rows: &mut *z, len: 3 * units, first: 0 }, &workspace);
            if self.reset_after {
                match state_bias {
                    Some(bias) => fill_rows(inner, bias),
                    None => inner.fill(0.0),
                }
                new.forward(h, 1.0, Place { rows: &mut *inner, len: units, first: 0 }, &workspace);
            }
            let mut sums = sums.as_mut().map(|sums| &mut sums.data_mut()[t * batch * 3 * units..][..batch * 3 * units]);
            if let Some(sums) = &mut sums {
                sums.copy_from_slice(z);
            }
            for (i, z) in z.chunks_exact_mut(3 * units).enumerate() {
                let place = i * units..(i + 1) * units;
                let (gates, new) = z.split_at_mut(2 * units);
                recurrent_activation.apply_slice(gates, units);
                let (r, inner) = (&gates[units..], &mut inner[place.clone()]);
                if self.reset_after {
                    add_product(new, r, inner);
                } else {
                    let h = &h[place];
                    vectorised(
                        #[inline(always)]
                        move || inner.iter_mut().zip(h).zip(r).for_each(|((inner, h), r)| *inner = h * r),
                    );
                }
            }
            if !self.reset_after {
                new.forward(inner, 1.0, Place { rows: &mut *z, len: 3 * units, first: 2 * units }, &workspace);
            }
            for (i, z) in z.chunks_exact_mut(3 * units).enumerate() {
                let place = i * units..(i + 1) * units;
                if let Some(sums) = &mut sums {
                    sums[i * 3 * units + 2 * units..][..units].copy_from_slice(&z[2 * units..]);
                }
                activation.apply_slice(&mut z[2 * units..], units);
                let (gate, new) = (&z[..units], &z[2 * units..]);
                let (h, after) = (&h[place.clone()], &mut after[place]);
                vectorised(
                    #[inline(always)]
                    move || {
                        for (((after, h), z), new) in after.iter_mut().zip(h).zip(gate).zip(new) {
                            *after = z * h + (1.0 - z) * new;
                        }
                    },
                );
            }
            Ok(())
        })?;
        cx.save(x);
        sums.into_iter().for_each(|sums| cx.save(sums));
        cx.save(inner);
        cx.save(z);
        Ok(())
    }

    fn run_back(&self, sequence: &Sequence, gradients: SequenceGradients, cx: &mut Backward<'_>) -> Result<Back> {
        let (units, batch) = (self.gates.units, sequence.batch());
        let (activation, recurrent_activation) = (&self.gates.activation, &self.recurrent_activation);
        let mut z = cx.restore()?;
        let mut inner = cx.restore()?;
        let sums = self.keeps_sums().then(|| cx.restore()).transpose()?;
        let x = cx.restore()?;
        let drops = Gates::restore_drops(cx)?;
        let [gate_drops, new_drops] = Self::split(&drops.state)?;
        let weight = &self.gates.recurrent_kernel;
        let (kernel, [gates, new]) = (weight.value(), self.columns());
        let workspace = cx.workspace().clone();
        let gates = Product::each_step_back(weight, &kernel, gates, gate_drops.as_ref());
        let new = Product::each_step_back(weight, &kernel, new, new_drops.as_ref());
        let (mut rows, mut dinner) = (workspace.take(batch * 3 * units), workspace.take(batch * units));
        // The gradients of the sums take the place of the gates in z; with reset_after, those of the state's part of the
        // new values that of this part.
        let first = sequence.backward(gradients, &workspace, |t, before, _, dafter, dbefore| {
            let z = &mut z.data_mut()[t * batch * 3 * units..][..batch * 3 * units];
            let inner = &mut inner.data_mut()[t * batch * units..][..batch * units];
            let (h, dafter, dbefore) = (before[0], &*dafter[0], &mut *dbefore[0]);
            let sums = sums.as_ref().map(|sums| &sums.data()[t * batch * 3 * units..][..batch * 3 * units]);
            let saved = |activation: &Activation, i: usize| {
                let sums = sums.filter(|_| activation.needs_input());
                sums.map(|sums| &sums[i * 3 * units..][..3 * units])
            };
            for (i, (z, row)) in z.chunks_exact(3 * units).zip(rows.chunks_exact_mut(3 * units)).enumerate() {
                let place = i * units..(i + 1) * units;
                let (h, d, dh) = (&h[place.clone()], &dafter[place.clone()], &mut dbefore[place]);
                let (gate, value) = (&z[..units], &z[2 * units..]);
                let (dgates, new) = row.split_at_mut(2 * units);
                let (dgate, dnew) = (&mut dgates[..units], &mut *new);
                vectorised(
                    #[inline(always)]
                    move || {
                        for (((dgate, d), h), value) in dgate.iter_mut().zip(d).zip(h).zip(value) {
                            *dgate = d * (h - value);
                        }
                        for (((dnew, dh), d), gate) in dnew.iter_mut().zip(dh).zip(d).zip(gate) {
                            *dnew = d * (1.0 - gate);
                            *dh = d * gate;
                        }
                    },
                );
                activation.backward_slice(&saved(activation, i).unwrap_or(z)[2 * units..], new, units);
            }
            if !self.reset_after {
                let dnew = Place { rows: &*rows, len: 3 * units, first: 2 * units };
                new.backward(&dnew, 0.0, &mut dinner, &workspace);
            }
            for (i, (z, row)) in z.chunks_exact(3 * units).zip(rows.chunks_exact_mut(3 * units)).enumerate() {
                let place = i * units..(i + 1) * units;
                let r = &z[units..2 * units];
                let (dgates, dnew) = row.split_at_mut(2 * units);
                let (dr, inner) = (&mut dgates[units..], &mut inner[place.clone()]);
                if self.reset_after {
                    vectorised(
                        #[inline(always)]
                        move || {
                            for (((dr, inner), dnew), r) in dr.iter_mut().zip(inner).zip(&*dnew).zip(r) {
                                *dr = dnew * *inner;
                                *inner = dnew * r;
                            }
                        },
                    );
                } else {
                    let (h, dh, dinner) = (&h[place.clone()], &mut dbefore[place.clone()], &dinner[place]);
                    vectorised(
                        #[inline(always)]
                        move || dr.iter_mut().zip(dinner).zip(h).for_each(|((dr, dinner), h)| *dr = dinner * h),
                    );
                    add_product(dh, dinner, r);
                }
                recurrent_activation.backward_slice(
                    &saved(recurrent_activation, i).unwrap_or(z)[..2 * units],
                    dgates,
                    units,
                );
            }
            z.copy_from_slice(&rows);
            gates.backward(&Place { rows: &*z, len: 3 * units, first: 0 }, 1.0, dbefore, &workspace);
            if self.reset_after {
                new.backward(&Place { rows: &*inner, len: units, first: 0 }, 1.0, dbefore, &workspace);
            }
            Ok(())
        })?;
        workspace.give(rows);
        workspace.give(dinner);
        self.gates.recurrent_back(&gates, sequence.before(0), Place { rows: z.data(), len: 3 * units, first: 0 }, cx);
        if self.reset_after {
            let dnew = Place { rows: inner.data(), len: units, first: 0 };
            self.gates.recurrent_back(&new, sequence.before(0), dnew, cx);
        } else {
            let dnew = Place { rows: z.data(), len: 3 * units, first: 2 * units };
            self.gates.recurrent_back(&new, inner.data(), dnew, cx);
        }
        if let Some(dbias) = self.gates.bias.as_ref().and_then(|bias| cx.gradient(bias)) {
            let (first, second) = dbias.split_at_mut(3 * units);
            let mut sums = workspace.take(3 * units);
            sums.fill(0.0);
            add_column_sums(z.data(), &mut sums);
            add(first, &sums);
            if self.reset_after {
                add(&mut second[..2 * units], &sums[..2 * units]);
                add_column_sums(inner.data(), &mut second[2 * units..]);
            }
            workspace.give(sums);
        }
        Ok((self.gates.project_back(&x, &z, &drops, cx), first))
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.gates.visit(visit);
    }
}

/// `y += a ∘ b`
fn add_product(y: &mut [f32], a: &[f32], b: &[f32]) {
    vectorised(
        #[inline(always)]
        move || y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y += a * b),
    );
}
