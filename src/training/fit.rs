//! `fit`: the loop.

use super::backup::{Backup, Run};
use super::callbacks::{BackupAndRestore, Callback, CallbackList, Found, Params, ProgbarLogger, Verbose, say};
use super::feed::Feed;
use super::inputs::{Inputs, check_batch_size, check_pair};
use super::{Compiled, History, Logs};
use crate::data::Cardinality;
use crate::error::{Context, Error, Result, ensure};
use crate::layer::Param;
use crate::model::Model;
use crate::runtime::threads;
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::Range;

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

    /// Samples in a step. The last batch of an epoch may be smaller. A dataset that is batched already keeps its
    /// batches.
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

    /// Keeps the last part of the samples, before any shuffling, for validation: 0.1 is a tenth. For arrays only.
    pub fn validation_split(mut self, fraction: f64) -> Self {
        self.validation_split = fraction;
        self
    }

    /// Data for validation after each epoch, as arrays or as a dataset: `validation_data(&dataset, ())`. Overrides
    /// `validation_split`.
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

    /// How much each sample counts: an array as long as `x`. The elements of a dataset bring their own.
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
    /// the epoch ends and they are shuffled anew. A dataset that never ends needs it.
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

/// How a run of `fit` goes.
struct Course {
    epochs: Range<usize>,
    batch_size: usize,
    /// Batches in an epoch, where that is known.
    steps: Option<usize>,
    /// Whether each epoch begins a new pass over the data.
    whole_passes: bool,
    validation_freq: usize,
    validation_steps: Option<usize>,
    verbose: Verbose,
}

impl Course {
    /// What must not change when the run is taken up again.
    fn conditions(&self, feed: &Feed<'_>, compiled: &Compiled) -> Vec<(String, String)> {
        let mut conditions = feed.conditions();
        // One's own may have no configuration to compare.
        let optimizer = &compiled.optimizer;
        let arguments = optimizer.config().map_or_else(|_| String::new(), |config| json!(config).to_string());
        conditions.push(("the optimizer".to_owned(), format!("{}{arguments}", optimizer.class_name())));
        let steps = if self.whole_passes { None } else { self.steps };
        conditions.push(("steps_per_epoch".to_owned(), format!("{steps:?}")));
        conditions
    }

    /// The run before its first step.
    fn begin(&self, conditions: Vec<(String, String)>, sample: &[usize]) -> Run {
        Run { conditions, epoch: self.epochs.start, sample: sample.to_vec(), ..Run::default() }
    }
}

impl Model {
    /// Trains on `x` and `y` and returns what was reported, epoch by epoch.
    ///
    /// `x` and `y` are `ndarray` arrays or views of floats, integers or booleans, the batch first:
    /// images are `(batch, height, width, channels)`. Or `x` is a [`Dataset`](crate::data::Dataset), and `y` is `()`:
    /// each epoch is then a pass over it of that number; samples that are not batched yet are batched here, and it
    /// shuffles as it says itself, with the model's seed if it has none. A loss that becomes NaN or infinite does not end
    /// training (see [`TerminateOnNaN`](super::callbacks::TerminateOnNaN)); it is printed, and kept in
    /// [`History::first_non_finite`].
    ///
    /// # Errors
    /// When the model is not compiled, the data is empty or of unequal lengths, a shape does not fit, a
    /// label is out of range, an option makes no sense, a callback fails, or an element of a dataset cannot be made.
    pub fn fit<'a>(
        &mut self,
        x: impl Into<Inputs<'a>>,
        y: impl Into<Inputs<'a>>,
        mut options: Fit<'a>,
    ) -> Result<History> {
        let (x, y) = (x.into(), y.into());
        options.check()?;
        self.compiled()?;
        let mut callbacks = std::mem::take(&mut options.callbacks);
        callbacks.push(ProgbarLogger::new(options.verbose));
        let at_validation = |error| Error::At { place: "validation_data".to_owned(), source: Box::new(error) };

        let feed = Feed::new(&x, &y, options.sample_weight.as_ref(), options.batch_size)?;
        // Class weights are for training; sample weights are cut along with the samples.
        let (feed, held_out) = match options.validation_data {
            Some(_) => (feed, None),
            None => feed.split(options.validation_split)?,
        };
        let mut feed = feed.shuffled(options.shuffle).class_weight(options.class_weight.as_ref());
        let validation_batch_size = options.validation_batch_size.unwrap_or(options.batch_size);
        let mut validation = match &options.validation_data {
            Some((x, y)) => {
                let weights = options.validation_weight.as_ref();
                Some(Feed::new(x, y, weights, validation_batch_size).map_err(at_validation)?)
            }
            None => held_out.map(|feed| feed.batch_size(validation_batch_size)).transpose()?,
        };
        let all = match feed.steps() {
            Cardinality::Known(steps) => Some(steps),
            Cardinality::Unknown => None,
            Cardinality::Infinite => {
                ensure!(
                    options.steps_per_epoch.is_some(),
                    Argument,
                    "the dataset never ends; steps_per_epoch says how many batches an epoch has"
                );
                None
            }
        };
        ensure!(all != Some(0), Data, "the dataset is empty: it has no batches");
        let endless = validation.as_ref().is_some_and(|feed| feed.steps() == Cardinality::Infinite);
        ensure!(
            !endless || options.validation_steps.is_some(),
            Argument,
            "the dataset for validation never ends; validation_steps says how many batches to take"
        );
        let course = Course {
            epochs: options.initial_epoch..options.epochs,
            batch_size: options.batch_size,
            steps: all.into_iter().chain(options.steps_per_epoch).min(),
            whole_passes: options.steps_per_epoch.is_none(),
            validation_freq: options.validation_freq,
            validation_steps: options.validation_steps,
            verbose: options.verbose,
        };

        // A backup is looked at first: the seed of its data is needed before there is a model to be restored.
        let found = callbacks.backup().map(|backup| backup.begin()).transpose()?.flatten();
        let backup = found.as_ref().map(|found| Ok((found, found.backup()?))).transpose()?;
        let conditions = course.conditions(&feed, self.compiled()?);
        let seed = self.seed;
        if let Some((found, backup)) = &backup {
            found.explain(backup.check(&conditions))?;
            self.seed = backup.seed();
            found.explain(feed.go_to(&backup.run.place, self.seed)).inspect_err(|_| self.seed = seed)?;
        }

        let Fit { sample_weight, class_weight, validation_data, validation_weight, .. } = &options;
        let begun = threads::enter(|| {
            let sample = match (&backup, &x) {
                // A dataset would have to make a batch for it.
                (Some((found, backup)), Inputs::Dataset(_)) => found.explain(backup.sample())?,
                _ => feed.sample_shape(self, course.epochs.start)?,
            };
            self.ensure_built(&sample)?;
            self.check_trainable()?;
            if let Inputs::Arrays(_) = x {
                self.check_targets(&y, sample_weight.as_ref())?;
                ensure!(
                    class_weight.is_none() || y.arrays().len() == 1,
                    Argument,
                    "class_weight is for models of one output; use sample_weight, with an array for each output"
                );
            }
            if let Some((Inputs::Arrays(_), y)) = validation_data {
                self.check_targets(y, validation_weight.as_ref()).map_err(at_validation)?;
            }
            match backup {
                Some((found, backup)) => {
                    found.explain(backup.restore(self))?;
                    if course.verbose != Verbose::Silent {
                        say(&format!("Going on from {}", found.path().display()));
                    }
                    Ok(backup.run.into_owned())
                }
                None => Ok(course.begin(conditions, &sample)),
            }
        });
        let run = begun.inspect_err(|_| self.seed = seed)?;
        let found = found.map(Found::without_bytes);
        threads::enter(|| self.fit_feed((run, found), &mut feed, validation.as_mut(), &course, &mut callbacks))
    }

    /// Goes through the epochs, from where the run stands: afresh, or where a backup was found.
    fn fit_feed(
        &mut self,
        (mut run, found): (Run, Option<Found>),
        feed: &mut Feed<'_>,
        mut validation: Option<&mut Feed<'_>>,
        course: &Course,
        callbacks: &mut CallbackList<'_>,
    ) -> Result<History> {
        let params = Params { epochs: course.epochs.end, steps: course.steps, batch_size: course.batch_size };
        callbacks.set_params(&params)?;
        (self.stop_training, self.interrupted) = (false, false);
        callbacks.on_train_begin(self)?;
        if callbacks.backup().is_some_and(|backup| backup.frequency().is_some())
            && let Some(metric) = self.compiled()?.metric_without_state()
        {
            return Err(Error::Argument(format!(
                "BackupAndRestore: save_freq backs up in the middle of epochs, but the metric '{metric}' does not tell \
                 its state; back up after epochs, or write its `state` and `restore`"
            )));
        }
        if let (Some(found), Some(states)) = (&found, &run.callbacks) {
            found.explain(callbacks.restore(states))?;
        }
        // A callback may have ended it now, or back then.
        let stopped_now = self.is_stopped();
        self.stop_training |= run.stopped;
        let epochs = match (stopped_now, run.stopped, run.batch) {
            // Before it began, or the backup is that of its last epoch.
            (true, ..) | (_, true, None) => 0..0,
            _ => run.epoch..course.epochs.end,
        };
        for epoch in epochs {
            run.epoch = epoch;
            let first = match run.batch {
                Some(done) => done,
                None => {
                    callbacks.on_epoch_begin(self, epoch)?;
                    self.compiled_mut()?.reset_metrics();
                    feed.begin(self, epoch)?;
                    run.batch = Some(0);
                    self.back_up_if(|_| false, &mut run, feed, callbacks)?;
                    0
                }
            };
            for step in first..course.steps.unwrap_or(usize::MAX) {
                if self.is_stopped() {
                    break;
                }
                let Some(batch) = feed.next(&self.compiled()?.workspace)? else { break };
                callbacks.on_train_batch_begin(self, step)?;
                let loss = self.run_batch(&batch, true)?;
                if !loss.is_finite() {
                    run.history.note_not_finite(epoch, step);
                }
                run.logs = self.compiled()?.logs();
                callbacks.on_train_batch_end(self, step, &run.logs)?;
                run.batch = Some(step + 1);
                self.back_up_if(BackupAndRestore::is_due, &mut run, feed, callbacks)?;
            }
            if self.interrupted && callbacks.backup().is_some() {
                break;
            }
            run.batch = None;
            if course.whole_passes {
                feed.end();
            }
            run.logs = self.compiled()?.logs();
            if let Some(validation) = validation.as_deref_mut().filter(|_| (epoch + 1) % course.validation_freq == 0) {
                let logged = self.test(validation, epoch, course.validation_steps, callbacks);
                let logged = logged.at(|| "validation".to_owned())?;
                for (name, values) in logged.iter() {
                    run.logs.insert_list(&format!("val_{name}"), values.to_vec());
                }
            }
            callbacks.on_epoch_end(self, epoch, &mut run.logs)?;
            run.history.push(epoch, &run.logs);
            run.epoch = epoch + 1;
            if callbacks.backup().is_some_and(|backup| self.interrupted || backup.frequency().is_none()) {
                self.back_up(&mut run, feed, callbacks)?;
            }
            if self.is_stopped() {
                break;
            }
        }
        self.put_averages()?;
        callbacks.on_train_end(self, &run.logs)?;
        if let Some(backup) = callbacks.backup() {
            backup.end(!self.interrupted)?;
            let path = backup.path();
            if self.interrupted && course.verbose != Verbose::Silent && path.exists() {
                eprintln!("cornu: training was interrupted; start it again to go on from {}", path.display());
            }
        }
        if let Some((epoch, batch)) = run.history.first_non_finite()
            && course.verbose != Verbose::Silent
        {
            eprintln!(
                "cornu: the loss was NaN or infinite first in epoch {}, batch {}; try a lower learning rate, clipnorm, or scaled inputs",
                epoch.saturating_add(1),
                batch.saturating_add(1)
            );
        }
        Ok(run.history)
    }

    /// [Backs up](Self::back_up) within an epoch, if one is due or training was interrupted.
    fn back_up_if(
        &mut self,
        due: impl Fn(&BackupAndRestore) -> bool,
        run: &mut Run,
        feed: &Feed<'_>,
        callbacks: &mut CallbackList<'_>,
    ) -> Result<()> {
        // Where the epoch cannot go on in its middle, the backup from before it is kept.
        let interrupted = self.interrupted && self.compiled()?.metric_without_state().is_none();
        match callbacks.backup().is_some_and(|backup| interrupted || due(backup)) {
            true => self.back_up(run, feed, callbacks),
            false => Ok(()),
        }
    }

    /// Writes all of it to the file of the backup among the callbacks.
    fn back_up(&mut self, run: &mut Run, feed: &Feed<'_>, callbacks: &mut CallbackList<'_>) -> Result<()> {
        (run.place, run.callbacks) = (feed.place(), callbacks.state()?);
        run.stopped = self.stop_training;
        let backup = Backup::of(run, self)?;
        callbacks.backup().map_or(Ok(()), |place| place.write(&backup))
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
        let targets = y.arrays().len();
        self.compiled()?.target_places(targets)?;
        let arrays = weights.map_or(1, |weights| weights.arrays().len());
        ensure!(
            arrays == 1 || arrays == targets,
            Data,
            "sample_weight holds {arrays} arrays; it must be one, or as many as y, which holds {targets}"
        );
        Ok(())
    }

    /// The averages take the weights' place, where the optimizer keeps averages and has some.
    pub(crate) fn put_averages(&self) -> Result<()> {
        let Compiled { state, weights, .. } = self.compiled()?;
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
        threads::enter(|| {
            let mut feed = Feed::new(x, y, None, n)?;
            if let Some(batch) = feed.next(&self.compiled()?.workspace)? {
                self.run_batch(&batch, training)?;
            }
            Ok(self.compiled()?.logs())
        })
    }
}
