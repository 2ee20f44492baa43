//! `fit`: the loop.

use super::callbacks::{CallbackList, Params, ProgbarLogger, Verbose};
use super::inputs::{Data, Inputs, check_batch_size, check_pair, check_weights};
use super::{History, Logs};
use crate::error::{Context, Error, Result, ensure};
use crate::layer::Param;
use crate::model::Model;
use crate::random;
use crate::runtime::threads;
use crate::tensor::Tensor;
use std::collections::BTreeMap;

/// Options of [`Model::fit`]. Defaults are Keras': 1 epoch, batches of 32, shuffled, a progress bar.
///
/// ```
/// use cornu::prelude::*;
/// let options = Fit::new().epochs(10).batch_size(128).validation_split(0.1)
///     .callback(EarlyStopping::new().monitor("val_loss").patience(2));
/// # let _ = options;
/// ```
pub struct Fit<'a> {
    epochs: usize,
    batch_size: usize,
    verbose: Verbose,
    validation_split: f64,
    validation_data: Option<(Inputs<'a>, Inputs<'a>)>,
    validation_weight: Option<Inputs<'a>>,
    validation_batch_size: Option<usize>,
    validation_freq: usize,
    validation_steps: Option<usize>,
    shuffle: bool,
    class_weight: Option<BTreeMap<i64, f64>>,
    sample_weight: Option<Inputs<'a>>,
    initial_epoch: usize,
    steps_per_epoch: Option<usize>,
    callbacks: CallbackList<'a>,
}

impl Default for Fit<'_> {
    fn default() -> Self {
        Fit {
            epochs: 1,
            batch_size: 32,
            verbose: Verbose::default(),
            validation_split: 0.0,
            validation_data: None,
            validation_weight: None,
            validation_batch_size: None,
            validation_freq: 1,
            validation_steps: None,
            shuffle: true,
            class_weight: None,
            sample_weight: None,
            initial_epoch: 0,
            steps_per_epoch: None,
            callbacks: CallbackList::default(),
        }
    }
}

impl<'a> Fit<'a> {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The epoch to train to. It is an index, not a count: with `initial_epoch(3)`, `epochs(5)` trains two.
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Samples in a step. The last batch of an epoch may be smaller.
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// What is printed: 0 nothing, 1 a progress bar (plain lines where there is no terminal), 2 a line
    /// an epoch.
    pub fn verbose(mut self, verbose: impl Into<Verbose>) -> Self {
        self.verbose = verbose.into();
        self
    }

    /// Keeps the last part of the samples, before any shuffling, for validation: 0.1 is a tenth.
    pub fn validation_split(mut self, fraction: f64) -> Self {
        self.validation_split = fraction;
        self
    }

    /// Data for validation after each epoch. Overrides `validation_split`.
    pub fn validation_data(mut self, x: impl Into<Inputs<'a>>, y: impl Into<Inputs<'a>>) -> Self {
        self.validation_data = Some((x.into(), y.into()));
        self
    }

    /// The weight of each sample of `validation_data`.
    pub fn validation_sample_weight(mut self, weights: impl Into<Inputs<'a>>) -> Self {
        self.validation_weight = Some(weights.into());
        self
    }

    /// Samples that are validated together. Default: the batch size.
    pub fn validation_batch_size(mut self, batch_size: usize) -> Self {
        self.validation_batch_size = Some(batch_size);
        self
    }

    /// Validates after every so many epochs.
    pub fn validation_freq(mut self, epochs: usize) -> Self {
        self.validation_freq = epochs;
        self
    }

    /// Validates on so many batches only.
    pub fn validation_steps(mut self, steps: usize) -> Self {
        self.validation_steps = Some(steps);
        self
    }

    /// Whether samples take a new order each epoch. The order follows the model's seed and the number of
    /// steps it has made.
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// How much the samples of each class count: pairs of label and weight; others count 1. For
    /// labels as numbers or one-hot rows. Validation does not use it.
    pub fn class_weight(mut self, weights: impl IntoIterator<Item = (i64, f64)>) -> Self {
        self.class_weight = Some(weights.into_iter().collect());
        self
    }

    /// How much each sample counts: an array as long as `x`.
    pub fn sample_weight(mut self, weights: impl Into<Inputs<'a>>) -> Self {
        self.sample_weight = Some(weights.into());
        self
    }

    /// The epoch to start from, to go on with an earlier training.
    pub fn initial_epoch(mut self, epoch: usize) -> Self {
        self.initial_epoch = epoch;
        self
    }

    /// Steps in an epoch. The next epoch goes on where the last one ended; when all samples were seen
    /// the epoch ends and they are shuffled anew.
    pub fn steps_per_epoch(mut self, steps: usize) -> Self {
        self.steps_per_epoch = Some(steps);
        self
    }

    super::callbacks::callback_builder!();

    fn check(&self) -> Result<()> {
        check_batch_size(self.batch_size)?;
        check_batch_size(self.validation_batch_size.unwrap_or(1))?;
        ensure!(self.validation_freq > 0, Argument, "validation_freq must be at least 1");
        ensure!(self.steps_per_epoch != Some(0), Argument, "steps_per_epoch must be at least 1");
        ensure!(self.validation_steps != Some(0), Argument, "validation_steps must be at least 1");
        ensure!(
            self.validation_weight.is_none() || self.validation_data.is_some(),
            Argument,
            "validation_sample_weight belongs to validation_data, which is not given"
        );
        ensure!(
            (0.0..1.0).contains(&self.validation_split),
            Argument,
            "validation_split is {}; it must be at least 0 and below 1",
            self.validation_split
        );
        ensure!(
            self.class_weight.is_none() || self.sample_weight.is_none(),
            Argument,
            "class_weight and sample_weight cannot be used together; multiply them into sample_weight"
        );
        Ok(())
    }
}

impl Model {
    /// Trains on `x` and `y` and returns what was reported, epoch by epoch.
    ///
    /// `x` and `y` are `ndarray` arrays or views of floats, integers or booleans, the batch first:
    /// images are `(batch, height, width, channels)`. A loss that becomes NaN or infinite does not end
    /// training (see [`TerminateOnNaN`](super::callbacks::TerminateOnNaN)); it is printed, and kept in
    /// [`History::first_non_finite`].
    ///
    /// # Errors
    /// When the model is not compiled, the data is empty or of unequal lengths, a shape does not fit, a
    /// label is out of range, an option makes no sense or a callback fails.
    pub fn fit<'a>(
        &mut self,
        x: impl Into<Inputs<'a>>,
        y: impl Into<Inputs<'a>>,
        mut options: Fit<'a>,
    ) -> Result<History> {
        let (x, y) = (x.into(), y.into());
        options.check()?;
        self.compiled()?;
        let n = check_pair(&x, &y)?;
        check_weights(options.sample_weight.as_ref(), n)?;
        if let Some((x, y)) = &options.validation_data {
            let n =
                check_pair(x, y).map_err(|e| Error::At { place: "validation_data".to_owned(), source: Box::new(e) })?;
            check_weights(options.validation_weight.as_ref(), n)?;
        }
        self.ensure_built(&x.sample_shape())?;
        self.check_trainable()?;
        self.check_targets(&y, options.sample_weight.as_ref())?;
        if let Some((_, y)) = &options.validation_data {
            self.check_targets(y, options.validation_weight.as_ref()).at(|| "validation_data".to_owned())?;
        }
        ensure!(
            options.class_weight.is_none() || y.0.len() == 1,
            Argument,
            "class_weight is for models of one output; use sample_weight, with an array for each output"
        );
        let class_weights = options.class_weight.as_ref().map(|w| class_weights(&y, n, w)).transpose()?;
        let class_weights = class_weights.as_ref().map(Inputs::from);
        let weights = options.sample_weight.clone().or(class_weights);

        let kept =
            if options.validation_data.is_some() { n } else { (n as f64 * (1.0 - options.validation_split)) as usize };
        ensure!(kept > 0, Data, "validation_split {} leaves none of {n} samples to train on", options.validation_split);
        threads::enter(|| self.fit_rows(&Data { x: &x, y: &y, weights: weights.as_ref() }, n, kept, &mut options))
    }

    fn fit_rows(&mut self, data: &Data<'_>, n: usize, kept: usize, options: &mut Fit<'_>) -> Result<History> {
        let steps = kept.div_ceil(options.batch_size).min(options.steps_per_epoch.unwrap_or(usize::MAX));
        let mut callbacks = std::mem::take(&mut options.callbacks);
        callbacks.push(ProgbarLogger::new(options.verbose));
        let params = Params { epochs: options.epochs, steps, batch_size: options.batch_size };
        callbacks.each(|c| c.set_params(&params))?;

        let mut history = History::default();
        let mut logs = Logs::new();
        let mut order: Vec<usize> = Vec::new();
        let mut at = 0;
        self.stop_training = false;
        callbacks.each(|c| c.on_train_begin(self))?;
        for epoch in options.initial_epoch..options.epochs {
            callbacks.each(|c| c.on_epoch_begin(self, epoch))?;
            self.compiled_mut()?.reset_metrics();
            if at >= order.len() {
                at = 0;
                order = match options.shuffle {
                    true => {
                        let (stream, step) = (random::stream_of("shuffle"), self.iterations()?);
                        random::permutation(kept, &mut random::stream(self.seed, stream, step, 0))
                    }
                    false => (0..kept).collect(),
                };
            }
            for step in 0..steps {
                if at >= order.len() || self.stop_training {
                    break;
                }
                let rows = &order[at..(at + options.batch_size).min(order.len())];
                callbacks.each(|c| c.on_train_batch_begin(self, step))?;
                let loss = self.run_batch(&data.batch(rows, at, &self.compiled()?.workspace)?, true)?;
                if !loss.is_finite() {
                    history.note_not_finite(epoch, step);
                }
                at += rows.len();
                logs = self.compiled()?.logs();
                callbacks.each(|c| c.on_train_batch_end(self, step, &logs))?;
            }
            logs = self.compiled()?.logs();
            if (epoch + 1) % options.validation_freq == 0 {
                let batch_size = options.validation_batch_size.unwrap_or(options.batch_size);
                let validation_steps = options.validation_steps.unwrap_or(usize::MAX);
                let held_out: Vec<usize> = (kept..n).collect();
                let validation = match &options.validation_data {
                    Some((x, y)) => {
                        let rows: Vec<usize> = (0..x.samples("x")?).collect();
                        let data = Data { x, y, weights: options.validation_weight.as_ref() };
                        Some(self.test(&data, &rows, batch_size, validation_steps, &mut callbacks)?)
                    }
                    None if !held_out.is_empty() => {
                        // Class weights are for training; sample weights are cut along with the samples.
                        let data = Data { x: data.x, y: data.y, weights: options.sample_weight.as_ref() };
                        Some(self.test(&data, &held_out, batch_size, validation_steps, &mut callbacks)?)
                    }
                    None => None,
                };
                for (name, values) in validation.iter().flat_map(Logs::iter) {
                    logs.insert_list(&format!("val_{name}"), values.to_vec());
                }
            }
            callbacks.each(|c| c.on_epoch_end(self, epoch, &mut logs))?;
            history.push(epoch, &logs);
            if self.stop_training {
                break;
            }
        }
        self.finish_training()?;
        callbacks.each(|c| c.on_train_end(self, &logs))?;
        if let Some((epoch, batch)) = history.first_non_finite()
            && options.verbose != Verbose::Silent
        {
            eprintln!(
                "cornu: the loss was NaN or infinite first in epoch {}, batch {}; try a lower learning rate, clipnorm, or scaled inputs",
                epoch + 1,
                batch + 1
            );
        }
        Ok(history)
    }

    /// Takes in the weights of a model that was compiled before its input shape was known.
    pub(crate) fn collect_weights(&mut self) -> Result<()> {
        if !self.compiled()?.collected {
            let weights = self.trainable_weights();
            let compiled = self.compiled_mut()?;
            (compiled.weights, compiled.collected) = (weights, true);
        }
        Ok(())
    }

    /// As [`collect_weights`](Self::collect_weights), before training: then they must be those of `compile`.
    pub(crate) fn check_trainable(&mut self) -> Result<()> {
        self.collect_weights()?;
        let (now, known) = (self.trainable_weights(), &self.compiled()?.weights);
        ensure!(
            known.iter().map(Param::id).eq(now.iter().map(Param::id)),
            State,
            "what is trainable has changed since compile; compile again"
        );
        Ok(())
    }

    /// Checks that there is an array of targets for each output, and of weights for none, all or each of them.
    pub(crate) fn check_targets(&self, y: &Inputs<'_>, weights: Option<&Inputs<'_>>) -> Result<()> {
        self.compiled()?.target_places(y.0.len())?;
        let arrays = weights.map_or(1, |weights| weights.0.len());
        ensure!(
            arrays == 1 || arrays == y.0.len(),
            Data,
            "sample_weight holds {arrays} arrays; it must be one, or as many as y, which holds {}",
            y.0.len()
        );
        Ok(())
    }

    /// The averaged weights take their place, where the optimizer keeps averages.
    fn finish_training(&mut self) -> Result<()> {
        let super::Compiled { state, weights, .. } = self.compiled_mut()?;
        let mut open: Vec<_> = weights.iter().map(|w| (w.path(), w.write())).collect();
        state.finish(open.iter_mut().map(|(path, value)| (*path, &mut **value)));
        Ok(())
    }

    /// One step on one batch (Keras: `train_on_batch`). Returns the loss and the metrics of this batch.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn train_on_batch<'a>(&mut self, x: impl Into<Inputs<'a>>, y: impl Into<Inputs<'a>>) -> Result<Logs> {
        self.on_batch(&x.into(), &y.into(), true)
    }

    /// Loss and metrics on one batch (Keras: `test_on_batch`).
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn test_on_batch<'a>(&mut self, x: impl Into<Inputs<'a>>, y: impl Into<Inputs<'a>>) -> Result<Logs> {
        self.on_batch(&x.into(), &y.into(), false)
    }

    fn on_batch(&mut self, x: &Inputs<'_>, y: &Inputs<'_>, training: bool) -> Result<Logs> {
        self.compiled()?;
        let n = check_pair(x, y)?;
        self.ensure_built(&x.sample_shape())?;
        if training {
            self.check_trainable()?
        } else {
            self.collect_weights()?
        }
        self.check_targets(y, None)?;
        self.compiled_mut()?.reset_metrics();
        let rows: Vec<usize> = (0..n).collect();
        let batch = Data { x, y, weights: None }.batch(&rows, 0, &self.compiled()?.workspace)?;
        threads::enter(|| self.run_batch(&batch, training))?;
        Ok(self.compiled()?.logs())
    }
}

/// The weight of each sample by its class.
fn class_weights(y: &Inputs<'_>, n: usize, weights: &BTreeMap<i64, f64>) -> Result<Tensor> {
    let source = y.0[0];
    let classes: usize = source.sample_shape().iter().product();
    let mut row = vec![0.0; classes];
    let label = |i: usize, row: &mut [f32]| {
        source.gather(&[i], row);
        match row {
            [label] => label.round() as i64,
            one_hot => {
                let largest = |best: usize, (i, v): (usize, &f32)| if *v > one_hot[best] { i } else { best };
                one_hot.iter().enumerate().fold(0, largest) as i64
            }
        }
    };
    let values = (0..n).map(|i| weights.get(&label(i, &mut row)).map_or(1.0, |w| *w as f32)).collect();
    Tensor::new([n], values)
}
