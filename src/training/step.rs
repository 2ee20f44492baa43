//! One batch through the model, forward and, in training, back.
//!
//! Where no layer and no loss couples samples, the batch is cut into pieces that threads work on
//! side by side, each with memory and gradients of its own. How it is cut depends on its size alone,
//! and the pieces' gradients are added in order, so any number of threads gives the same bits.

use super::compile::{Compiled, Term};
use super::feed::Batch;
use super::pieces::{self, Done, Piece, concatenate, cut, slice};
use crate::config::Shared;
use crate::error::{Context, Error, Result};
use crate::layer::{Backward, Effects, Forward, GradientStore, Masks, Param, Pass, Saved};
use crate::losses::{self, Loss};
use crate::model::{Graph, Model};
use crate::optimizers::{Update, takes_products};
use crate::runtime::threads;
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use smallvec::SmallVec;
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
        let n = batch.len();

        let places = compiled.target_places(batch.y.len())?;
        let mut targets: SmallVec<[Target<'_>; 2]> = compiled
            .terms
            .iter()
            .zip(&places)
            .enumerate()
            .filter_map(|(output, (term, place))| {
                let (loss, place) = (term.loss.clone()?, (*place)?);
                let (y_true, sample_weight) = (&batch.y[place], batch.weight(place));
                Some(Target { output, loss, weight: term.weight, y_true, sample_weight, entry_weights: None })
            })
            .collect();
        // The weight of each entry in the mean is decided on the whole batch, before it is cut.
        let known: Option<SmallVec<[Dims; 2]>> =
            graph.output_shapes().iter().map(|shape| sample_dims(shape, n)).collect();
        let whole = targets.iter().any(|target| target.loss.couples_samples())
            || graph.creates_mask()
            || graph.carries_states()
            || (training && graph.couples_samples());
        let known = known.filter(|_| !whole);
        if let Some(known) = &known {
            for target in &mut targets {
                target.entry_weights = Some(target.weigh(&known[target.output], None)?);
            }
        }
        let count = match (known.is_none(), training) {
            (true, _) => 1,
            // A step takes the forward pass and two more of its size.
            (false, true) => pieces::count(n, 3.0 * n as f64 * graph.work(), values(&compiled.weights)),
            (false, false) => pieces::count(n, n as f64 * graph.work(), 0),
        };
        let ranges: SmallVec<[Range<usize>; 8]> = cut(n, count).collect();
        compiled.pieces.resize_with(compiled.pieces.len().max(ranges.len()), Piece::new);
        let step = compiled.state.iterations();
        let weights = &compiled.weights;
        let leaves_products = ranges.len() == 1 && takes_products(&*compiled.optimizer);
        let workspaces = &compiled.workspaces;
        threads::for_each(&mut compiled.pieces[..ranges.len()], |i, piece| {
            let range = ranges[i].clone();
            if training {
                let gradients = piece.gradients.get_or_insert_with(|| GradientStore::new(weights));
                if !piece.cleared {
                    gradients.clear();
                }
                gradients.leave_products(weights, leaves_products);
                piece.cleared = false;
            }
            let gradients = piece.gradients.as_mut().filter(|_| training);
            piece.result = workspaces.with(|workspace| {
                let pass = Pass {
                    training,
                    seed,
                    step,
                    first_sample: batch.first_sample + range.start as u64,
                    share: range.len() as f64 / n as f64,
                    workspace: workspace.clone(),
                };
                run_piece(graph, &targets, batch, range, &pass, gradients).map(Some)
            });
        });

        let mut total = penalty(&compiled.weights);
        let mut losses: SmallVec<[f64; 2]> = smallvec::smallvec![0.0; targets.len()];
        let mut outputs: SmallVec<[Vec<Tensor>; 1]> = smallvec::smallvec![Vec::new(); compiled.terms.len()];
        let mut masks = Masks::new();
        let mut states = Vec::new();
        for piece in &mut compiled.pieces[..ranges.len()] {
            if let Some(done) = std::mem::replace(&mut piece.result, Ok(None))? {
                total += done.loss;
                losses.iter_mut().zip(&done.losses).for_each(|(sum, loss)| *sum += loss);
                outputs.iter_mut().zip(done.outputs).for_each(|(parts, output)| parts.push(output));
                masks = done.masks;
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
        let losses: SmallVec<[(usize, f64); 2]> = targets.iter().map(|target| target.output).zip(losses).collect();
        if training {
            compiled.step(count)?;
        }
        states.into_iter().try_for_each(|(param, value)| param.set(value))?;
        compiled.loss_total.0 += total * n as f64;
        compiled.loss_total.1 += n as f64;
        for (output, loss) in losses {
            compiled.terms[output].loss_total += loss * n as f64;
        }
        for (i, (term, parts)) in compiled.terms.iter_mut().zip(outputs).enumerate() {
            let Some(place) = places[i] else { continue };
            let y_pred = concatenate(parts, &compiled.workspace)?;
            term.report(&batch.y[place], &y_pred, batch.weight(place), masks.get(i).and_then(Option::as_ref))?;
        }
        Ok(total)
    }
}

/// An output that has a loss.
struct Target<'a> {
    output: usize,
    loss: Shared<dyn Loss>,
    weight: Option<f64>,
    y_true: &'a Tensor,
    sample_weight: Option<&'a Tensor>,
    /// The weight of each entry of the loss in the mean, where it is known before the model runs.
    entry_weights: Option<Tensor>,
}

impl Target<'_> {
    /// The weights of the entries for an output of this shape, of which some may be masked.
    fn weigh(&self, y_pred: &[usize], mask: Option<&Tensor>) -> Result<Tensor> {
        let weigh = || {
            let entries = self.loss.entries_shape(y_pred)?;
            losses::masked_entry_weights(&*self.loss, self.y_true, &entries, self.sample_weight, mask)
        };
        weigh().at(|| "loss".to_owned())
    }
}

impl Term {
    /// Feeds the metrics, weighted and others. What a mask hides does not count in those that see masks.
    fn report(
        &mut self,
        y_true: &Tensor,
        y_pred: &Tensor,
        sample_weight: Option<&Tensor>,
        mask: Option<&Tensor>,
    ) -> Result<()> {
        let masked = match (sample_weight, mask) {
            (Some(weight), Some(mask)) => {
                Some(losses::spread("sample_weight", weight, mask.shape())?.zip_map(mask, |w, m| w * m)?)
            }
            _ => None,
        };
        let weighted = masked.as_ref().or(sample_weight).or(mask);
        for metric in &mut self.metrics.0 {
            let weight = mask.filter(|_| metric.sees_masks());
            metric.update(y_true, y_pred, weight).at(|| format!("metric '{}'", metric.name()))?;
        }
        for metric in &mut self.weighted_metrics.0 {
            let weight = if metric.sees_masks() { weighted } else { sample_weight };
            metric.update(y_true, y_pred, weight).at(|| format!("metric '{}'", metric.name()))?;
        }
        Ok(())
    }
}

/// The dimensions of an output for `n` samples, if they are known before the model runs.
pub(super) fn sample_dims(shape: &Shape, n: usize) -> Option<Dims> {
    std::iter::once(Some(n)).chain(shape.sample().iter().copied()).collect()
}

fn run_piece(
    graph: &Graph,
    targets: &[Target<'_>],
    batch: &Batch<'_>,
    range: Range<usize>,
    pass: &Pass,
    gradients: Option<&mut GradientStore>,
) -> Result<Done> {
    let mut saved = Saved::default();
    let mut effects = Effects::default();
    let (outputs, masks) = graph.forward(
        batch.gather(range.clone(), &pass.workspace),
        &mut Forward::of_model(pass, &mut saved, &mut effects, gradients.is_some()),
    )?;
    let mut losses: SmallVec<[f64; 2]> = SmallVec::new();
    let mut slopes: SmallVec<[Option<Tensor>; 1]> = smallvec::smallvec![None; outputs.len()];
    let mut total = effects.loss;
    for target in targets {
        let (loss, y_pred) = (&*target.loss, &outputs[target.output]);
        let y_true = slice(target.y_true, range.clone(), &pass.workspace);
        let weights = match &target.entry_weights {
            Some(weights) => slice(weights, range.clone(), &pass.workspace),
            // Only now are the output's shape and mask known: then the batch is one piece.
            None => target.weigh(y_pred.shape(), masks.get(target.output).and_then(Option::as_ref))?,
        };
        let each = loss.call(&y_true, y_pred).at(|| "loss".to_owned())?;
        let value = losses::weighted_sum(&each, &weights);
        losses.push(value);
        total += target.weight.map_or(value, |weight| weight * value);
        if gradients.is_some() {
            let weights = match target.weight {
                Some(weight) => weights.map(|w| w * weight as f32),
                None => weights,
            };
            slopes[target.output] = Some(loss.gradient(&y_true, y_pred, &weights).at(|| "loss".to_owned())?);
        }
    }
    if let Some(gradients) = gradients {
        graph.backward(
            slopes,
            &mut Backward {
                saved: &mut saved,
                gradients,
                workspace: &pass.workspace,
                share: pass.share,
                trainable: true,
                wanted: smallvec::smallvec![],
                gates: Default::default(),
            },
        )?;
    }
    Ok(Done { outputs, masks, losses, loss: total, states: effects.states })
}

/// The number of values in these weights.
fn values(weights: &[Param]) -> usize {
    weights.iter().map(Param::len).sum()
}

impl Compiled {
    /// Moves the weights along the gradients of the first `count` pieces together.
    fn step(&mut self, count: usize) -> Result<()> {
        let pieces = &mut self.pieces[..count];
        let mut stores = pieces.iter_mut().filter_map(|piece| piece.gradients.as_mut());
        if let Some(first) = stores.next() {
            let mut others: SmallVec<[&mut [Tensor]; 8]> = stores.map(GradientStore::values_mut).collect();
            apply(&*self.optimizer, &mut self.state, &self.weights, first, &mut others)?;
        }
        pieces.iter_mut().for_each(|piece| piece.cleared = true);
        Ok(())
    }
}

/// Adds the gradients of the weights' penalties, then moves the weights: one step of the optimizer along the sum of
/// all gradients. It leaves zeros in their places.
pub(crate) fn apply(
    optimizer: &dyn crate::optimizers::Optimizer,
    state: &mut crate::optimizers::OptimizerState,
    weights: &[Param],
    gradients: &mut GradientStore,
    others: &mut [&mut [Tensor]],
) -> Result<()> {
    for (weight, gradient) in weights.iter().zip(gradients.values_mut()) {
        if let Some(regularizer) = weight.regularizer() {
            regularizer.add_gradient(&weight.value(), 1.0, gradient.data_mut());
        }
    }
    let mut open: Vec<_> = weights.iter().map(Param::write).collect();
    let mut updates: Vec<Update<'_>> = open
        .iter_mut()
        .zip(weights)
        .zip(gradients.parts_mut())
        .map(|((value, weight), (gradient, products))| Update {
            products,
            others: others.iter_mut().filter_map(|rest| rest.split_off_first_mut().map(Tensor::data_mut)).collect(),
            constraint: weight.constraint().map(|c| &**c),
            ..Update::new(weight.path(), &mut *value, gradient.data_mut())
        })
        .collect();
    // Numbers of 32 bits need no loss scale: the loss was not multiplied, so gradients are as they should be.
    let done = state.step(optimizer, &mut updates, None);
    drop(updates);
    gradients.forget_products();
    done
}
