//! One batch through the model, forward and, in training, back.
//!
//! Where no layer and no loss couples samples, the batch is cut into pieces that threads work on
//! side by side, each with memory and gradients of its own. How it is cut depends on its size alone,
//! and the pieces' gradients are added in order, so any number of threads gives the same bits.

use super::compile::Compiled;
use super::inputs::Batch;
use super::pieces::{Done, MAX_GRADIENT_COPIES, Piece, concatenate, cut, slice};
use crate::error::{Context, Error, Result};
use crate::layer::{Backward, Effects, Forward, GradientStore, Param, Pass, Saved};
use crate::losses::{self, Loss};
use crate::model::{Graph, Model};
use crate::optimizers::Update;
use crate::runtime::threads;
use crate::shape::Dims;
use crate::tensor::Tensor;
use std::ops::Range;

/// The penalty on the size of the weights that are learned.
fn penalty(weights: &[Param]) -> f64 {
    weights.iter().filter_map(|w| Some(w.regularizer()?.loss(&w.value()))).sum()
}

impl Model {
    /// Runs one batch: forward and loss; in training also backward, and the weights move.
    /// Returns the loss and adds to the metrics.
    pub(crate) fn run_batch(&mut self, batch: &Batch<'_>, training: bool) -> Result<f64> {
        let seed = self.seed;
        let graph = self.graph.as_ref().ok_or_else(|| Error::State("the model is not built".to_owned()))?;
        let compiled = self.compiled.as_mut().ok_or_else(|| Error::State("the model is not compiled".to_owned()))?;
        let n = batch.rows.len();

        // The weight of each entry in the mean is decided on the whole batch, before it is cut.
        let known = sample_dims(graph, n);
        let gradient_values: usize = compiled.weights.iter().map(|w| w.value().len()).sum();
        let pieces = cut(n).len();
        let whole = known.is_none()
            || compiled.loss.couples_samples()
            || (training && (graph.couples_samples() || gradient_values * pieces > MAX_GRADIENT_COPIES));
        let ranges: Vec<Range<usize>> = if whole { std::iter::once(0..n).collect() } else { cut(n).collect() };
        let weigh = |y_pred: &[usize]| {
            let entries = compiled.loss.entries_shape(y_pred)?;
            losses::entry_weights(&*compiled.loss, &batch.y, &entries, batch.sample_weight.as_ref())
                .at(|| "loss".to_owned())
        };
        let entry_weights = known.as_deref().map(weigh).transpose()?;
        compiled.pieces.resize_with(compiled.pieces.len().max(ranges.len()), Piece::new);
        let step = compiled.state.iterations();
        let loss = compiled.loss.clone();
        let weights = &compiled.weights;
        threads::for_each(&mut compiled.pieces[..ranges.len()], |i, piece| {
            let range = ranges[i].clone();
            let pass = Pass {
                training,
                seed,
                step,
                first_sample: batch.first_sample + range.start as u64,
                share: range.len() as f64 / n as f64,
                workspace: piece.workspace.clone(),
            };
            if training {
                match &mut piece.gradients {
                    Some(gradients) => gradients.clear(),
                    None => piece.gradients = Some(GradientStore::new(weights)),
                }
            }
            let gradients = piece.gradients.as_mut().filter(|_| training);
            piece.result = run_piece(graph, &*loss, batch, range, entry_weights.as_ref(), &pass, gradients).map(Some);
        });

        let mut total = penalty(&compiled.weights);
        let mut outputs = Vec::with_capacity(ranges.len());
        let mut states = Vec::new();
        for piece in &mut compiled.pieces[..ranges.len()] {
            if let Some(done) = std::mem::replace(&mut piece.result, Ok(None))? {
                total += done.loss;
                outputs.push(done.outputs.one()?);
                states.extend(done.states);
            }
        }
        let mut set = std::collections::HashSet::new();
        if let Some((param, _)) = states.iter().find(|(param, _)| ranges.len() > 1 && !set.insert(param.id())) {
            return Err(Error::State(format!(
                "the tracked weight '{}' was set by several pieces of a batch; its layer must say that it couples_samples",
                param.path()
            )));
        }
        if training {
            fold(&mut compiled.pieces[..ranges.len()]);
            compiled.step()?;
            states.into_iter().try_for_each(|(param, value)| param.set(value))?;
        }
        let y_pred = concatenate(outputs)?;
        compiled.loss_total.0 += total * n as f64;
        compiled.loss_total.1 += n as f64;
        for metric in &mut compiled.metrics.0 {
            metric.update(&batch.y, &y_pred, None).at(|| format!("metric '{}'", metric.name()))?;
        }
        for metric in &mut compiled.weighted_metrics.0 {
            let weights = batch.sample_weight.as_ref();
            metric.update(&batch.y, &y_pred, weights).at(|| format!("metric '{}'", metric.name()))?;
        }
        Ok(total)
    }
}

/// The dimensions of the model's output for `n` samples, if they are known before it runs.
fn sample_dims(graph: &Graph, n: usize) -> Option<Dims> {
    let shape = graph.output_shapes().into_iter().next()?;
    std::iter::once(Some(n)).chain(shape.sample().iter().copied()).collect()
}

fn run_piece(
    graph: &Graph,
    loss: &dyn Loss,
    batch: &Batch<'_>,
    range: Range<usize>,
    entry_weights: Option<&Tensor>,
    pass: &Pass,
    gradients: Option<&mut GradientStore>,
) -> Result<Done> {
    let mut saved = Saved::default();
    let mut effects = Effects::default();
    let outputs = graph.forward(
        batch.gather(range.clone(), &pass.workspace),
        &mut Forward {
            pass,
            saved: &mut saved,
            effects: &mut effects,
            stream: 0,
            trainable: true,
            recording: gradients.is_some(),
            inputs_need_gradient: false,
        },
    )?;
    let y_pred = outputs.clone().one()?;
    let y_true = slice(&batch.y, range.clone(), &pass.workspace);
    let weights = match entry_weights {
        Some(weights) => slice(weights, range, &pass.workspace),
        // The output's shape was not known before: then the batch is one piece.
        None => {
            let entries = loss.entries_shape(y_pred.shape())?;
            losses::entry_weights(loss, &batch.y, &entries, batch.sample_weight.as_ref()).at(|| "loss".to_owned())?
        }
    };
    let each = loss.call(&y_true, &y_pred).at(|| "loss".to_owned())?;
    let value = losses::weighted_sum(&each, &weights);
    if let Some(gradients) = gradients {
        let gradient = loss.gradient(&y_true, &y_pred, &weights).at(|| "loss".to_owned())?;
        graph.backward(
            gradient.into(),
            &mut Backward {
                saved: &mut saved,
                gradients,
                workspace: &pass.workspace,
                share: pass.share,
                trainable: true,
                wanted: smallvec::smallvec![],
            },
        )?;
    }
    Ok(Done { outputs, loss: value + effects.loss, states: effects.states })
}

/// Adds the gradients of all pieces to those of the first, in order.
fn fold(pieces: &mut [Piece]) {
    let Some((first, rest)) = pieces.split_first_mut() else { return };
    let Some(sums) = &mut first.gradients else { return };
    let rest: Vec<&GradientStore> = rest.iter().filter_map(|piece| piece.gradients.as_ref()).collect();
    if rest.is_empty() {
        return;
    }
    threads::for_each(sums.values_mut(), |i, sum| {
        let sum = sum.data_mut();
        for store in &rest {
            sum.iter_mut().zip(store.values()[i].data()).for_each(|(a, b)| *a += b);
        }
    });
}

impl Compiled {
    /// Moves the weights along the gradients of the first piece.
    fn step(&mut self) -> Result<()> {
        let Some(gradients) = self.pieces.first_mut().and_then(|piece| piece.gradients.as_mut()) else {
            return Ok(());
        };
        apply(&*self.optimizer, &mut self.state, &self.weights, gradients.values_mut())
    }
}

/// Adds the gradients of the weights' penalties, then moves the weights: one step of the optimizer.
pub(crate) fn apply(
    optimizer: &dyn crate::optimizers::Optimizer,
    state: &mut crate::optimizers::OptimizerState,
    weights: &[Param],
    gradients: &mut [Tensor],
) -> Result<()> {
    for (weight, gradient) in weights.iter().zip(gradients.iter_mut()) {
        if let Some(regularizer) = weight.regularizer() {
            regularizer.add_gradient(&weight.value(), 1.0, gradient.data_mut());
        }
    }
    with_updates(weights, gradients, |updates| state.apply(optimizer, updates))
}

/// Calls `change` with all weights open for writing.
pub(crate) fn with_updates<T>(
    weights: &[Param],
    gradients: &mut [Tensor],
    change: impl FnOnce(&mut [Update<'_>]) -> T,
) -> T {
    let mut open: Vec<_> = weights.iter().map(Param::write).collect();
    let mut updates: Vec<Update<'_>> = open
        .iter_mut()
        .zip(weights)
        .zip(gradients)
        .map(|((value, weight), gradient)| Update {
            constraint: weight.constraint().map(|c| &**c),
            ..Update::new(weight.path(), &mut *value, gradient.data_mut())
        })
        .collect();
    change(&mut updates)
}
