//! The plain recurrent layer.

use super::Recurrent;
use super::cell::{Cell, Sequence, SequenceGradients};
use super::gates::{Back, Gates, gate_builders};
use super::product::{Place, Product};
use crate::activations::Activation;
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::Result;
use crate::initializers::Initializer;
use crate::layer::{Backward, Build, Forward, Param};
use crate::regularizers::Regularizer;
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// `h = activation(x · kernel + h · recurrent_kernel + bias)` over the steps of a sequence (Keras: `SimpleRNN`).
///
/// Input `(batch, time, features)`, output `(batch, units)`, the last step's, or `(batch, time, units)`; kernel
/// `(features, units)`, recurrent kernel `(units, units)`, bias `(units)`. Defaults: `tanh`, with bias. What
/// else it can do is that of every [`Recurrent`] layer.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([28, 8])).add(SimpleRNN::new(16));
/// model.build()?;
/// assert_eq!(model.count_params(), 8 * 16 + 16 * 16 + 16);
/// # Ok::<(), cornu::Error>(())
/// ```
pub type SimpleRNN = Recurrent<SimpleRNNCell>;

/// The step of [`SimpleRNN`], for [`RNN`](super::RNN) (Keras: `SimpleRNNCell`).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SimpleRNNCell {
    #[serde(flatten)]
    gates: Gates,
}

impl SimpleRNNCell {
    /// A cell of `units` units.
    pub fn new(units: usize) -> Self {
        SimpleRNNCell { gates: Gates { units, ..Gates::default() } }
    }
}

impl SimpleRNN {
    /// A layer of `units` units.
    pub fn new(units: usize) -> Self {
        Recurrent::of(SimpleRNNCell::new(units))
    }
}

gate_builders!(SimpleRNNCell, gates);
gate_builders!(SimpleRNN, cell.gates);

impl Cell for SimpleRNNCell {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.gates.check()
    }

    fn state_shapes(&self, input: &Shape) -> Result<Vec<Shape>> {
        Ok(vec![self.gates.state_shape(input)?])
    }

    fn build(&mut self, input: &Shape, cx: &mut Build) -> Result<()> {
        let initializer = self.gates.bias_initializer.clone();
        self.gates.build(1, &[self.gates.units], &initializer, input, cx)
    }

    fn run(&self, x: Tensor, sequence: &mut Sequence, cx: &mut Forward<'_>) -> Result<()> {
        let Gates { units, activation, bias, recurrent_kernel, .. } = &self.gates;
        let (units, batch) = (*units, sequence.batch());
        let drops = self.gates.drops(1, batch, [x.last(), units], cx);
        let bias = bias.as_ref().map(Param::value);
        // Of each step: the sum, then what its gradient needs of it.
        let mut z = self.gates.project(&x, bias.as_ref().map(|b| b.data()), &drops, cx)?;
        let kernel = recurrent_kernel.value();
        let product = Product::each_step(recurrent_kernel, &kernel, 0..units, drops.state.as_ref());
        let workspace = cx.workspace().clone();
        sequence.forward(|t, before, after| {
            let z = &mut z.data_mut()[t * batch * units..][..batch * units];
            product.forward(before[0], 1.0, Place { rows: &mut *z, len: units, first: 0 }, &workspace);
            after[0].copy_from_slice(z);
            activation.apply_slice(after[0], units);
            if !activation.needs_input() {
                z.copy_from_slice(after[0]);
            }
            Ok(())
        })?;
        cx.save(x);
        cx.save(z);
        Ok(())
    }

    fn run_back(&self, sequence: &Sequence, gradients: SequenceGradients, cx: &mut Backward<'_>) -> Result<Back> {
        let Gates { units, activation, recurrent_kernel, .. } = &self.gates;
        let (units, batch) = (*units, sequence.batch());
        let mut z = cx.restore()?;
        let x = cx.restore()?;
        let drops = Gates::restore_drops(cx)?;
        let kernel = recurrent_kernel.value();
        let workspace = cx.workspace().clone();
        let product = Product::each_step_back(recurrent_kernel, &kernel, 0..units, drops.state.as_ref());
        // The gradients of the sums take the place of these.
        let first = sequence.backward(gradients, &workspace, |t, _, _, dafter, dbefore| {
            let z = &mut z.data_mut()[t * batch * units..][..batch * units];
            activation.backward_slice(z, dafter[0], units);
            z.copy_from_slice(dafter[0]);
            product.backward(&Place { rows: &*z, len: units, first: 0 }, 0.0, dbefore[0], &workspace);
            Ok(())
        })?;
        self.gates.recurrent_back(&product, sequence.before(0), Place { rows: z.data(), len: units, first: 0 }, cx);
        self.gates.bias_back(&z, cx);
        Ok((self.gates.project_back(&x, &z, &drops, cx), first))
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.gates.visit(visit);
    }
}
