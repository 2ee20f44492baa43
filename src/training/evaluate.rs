//! `evaluate`: loss and metrics on data, without learning.

use super::Logs;
use super::callbacks::{Callback, CallbackList, Params, ProgbarLogger, Verbose};
use super::feed::Feed;
use super::inputs::Inputs;
use crate::data::Cardinality;
use crate::error::{Result, ensure};
use crate::model::Model;
use crate::runtime::threads;
use std::ops::Index;

/// Options of [`Model::evaluate`]: batches of 32, silent.
pub struct Evaluate<'a> {
    pub(crate) batch_size: usize,
    pub(crate) sample_weight: Option<Inputs<'a>>,
    pub(crate) steps: Option<usize>,
    pub(crate) verbose: Verbose,
    pub(crate) callbacks: CallbackList<'a>,
}

impl Default for Evaluate<'_> {
    fn default() -> Self {
        Evaluate {
            batch_size: 32,
            sample_weight: None,
            steps: None,
            verbose: Verbose::Silent,
            callbacks: CallbackList::default(),
        }
    }
}

impl<'a> Evaluate<'a> {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Samples that are computed together. The result does not depend on it, but for rounding.
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// The weight of each sample in the loss and the weighted metrics.
    pub fn sample_weight(mut self, weights: impl Into<Inputs<'a>>) -> Self {
        self.sample_weight = Some(weights.into());
        self
    }

    /// Stops after so many batches.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = Some(steps);
        self
    }

    /// What is printed: 0 nothing (the default), 1 a progress bar, 2 a line.
    pub fn verbose(mut self, verbose: impl Into<Verbose>) -> Self {
        self.verbose = verbose.into();
        self
    }

    super::callbacks::callback_builder!();
}

/// What [`Model::evaluate`] found: `scores["loss"]`, `scores["accuracy"]`, ….
#[derive(Clone, Debug, PartialEq)]
pub struct Scores(pub(crate) Logs);

impl Scores {
    /// The number under this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name)
    }

    /// All names and values, the loss first.
    pub fn logs(&self) -> &Logs {
        &self.0
    }
}

impl Index<&str> for Scores {
    type Output = f64;

    /// The number under this name; of a metric that gives a list, the first.
    ///
    /// # Panics
    /// When there is no such name; [`Scores::get`] does not.
    fn index(&self, name: &str) -> &f64 {
        match self.0.get_list(name).and_then(<[f64]>::first) {
            Some(value) => value,
            None => panic!("there is no score '{name}', only {:?}", self.0.names().collect::<Vec<_>>()),
        }
    }
}

impl Model {
    /// The loss and the metrics on `x` and `y`, in inference mode.
    ///
    /// `x` and `y` are `ndarray` arrays or views of floats, integers or booleans, the batch first; or a
    /// [`Dataset`](crate::data::Dataset) and `()`.
    ///
    /// # Errors
    /// When the model is not compiled, the arrays are empty or of unequal lengths, a shape does not
    /// fit, a label is out of range or an element of a dataset cannot be made.
    pub fn evaluate<'a>(
        &mut self,
        x: impl Into<Inputs<'a>>,
        y: impl Into<Inputs<'a>>,
        options: Evaluate<'a>,
    ) -> Result<Scores> {
        let (x, y) = (x.into(), y.into());
        let Evaluate { batch_size, sample_weight, steps, verbose, mut callbacks } = options;
        if verbose != Verbose::Silent {
            callbacks.push(ProgbarLogger::new(verbose));
        }
        self.compiled()?;
        ensure!(steps != Some(0), Argument, "steps must be at least 1");
        let mut feed = Feed::new(&x, &y, sample_weight.as_ref(), batch_size)?;
        ensure!(
            feed.steps() != Cardinality::Infinite || steps.is_some(),
            Argument,
            "the dataset never ends; steps says how many batches to take"
        );
        threads::enter(|| {
            let sample = feed.sample_shape(self, 0)?;
            self.ensure_built(&sample)?;
            self.collect_weights()?;
            if let Inputs::Arrays(_) = x {
                self.check_targets(&y, sample_weight.as_ref())?;
            }
            let known = feed.steps().known().into_iter().chain(steps).min();
            callbacks.set_params(&Params { epochs: 1, steps: known, batch_size })?;
            self.test(&mut feed, 0, steps, &mut callbacks)
        })
        .map(Scores)
    }

    /// Loss and metrics over a pass, or the first steps of it.
    pub(crate) fn test(
        &mut self,
        feed: &mut Feed<'_>,
        epoch: usize,
        steps: Option<usize>,
        callbacks: &mut CallbackList<'_>,
    ) -> Result<Logs> {
        self.compiled_mut()?.reset_metrics();
        callbacks.on_test_begin(self)?;
        let tested = self.test_batches(feed, epoch, steps, callbacks);
        feed.end();
        let logs = self.compiled()?.logs();
        // Also after an error: what a callback has changed for the evaluation is set right again.
        let ended = callbacks.on_test_end(self, &logs);
        tested.and(ended).map(|()| logs)
    }

    /// The batches of [`test`](Self::test).
    fn test_batches(
        &mut self,
        feed: &mut Feed<'_>,
        epoch: usize,
        steps: Option<usize>,
        callbacks: &mut CallbackList<'_>,
    ) -> Result<()> {
        feed.begin(self, epoch)?;
        for i in 0..steps.unwrap_or(usize::MAX) {
            let Some(batch) = feed.next(&self.compiled()?.workspace)? else { break };
            callbacks.on_test_batch_begin(self, i)?;
            self.run_batch(&batch, false)?;
            let logs = self.compiled()?.logs();
            callbacks.on_test_batch_end(self, i, &logs)?;
        }
        Ok(())
    }
}
