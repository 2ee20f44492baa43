//! Ends training when it no longer gets better.

use super::monitor::{Mode, Monitor};
use super::{Callback, Verbose, say};
use crate::error::Result;
use crate::layer::Param;
use crate::model::Model;
use crate::state::State;
use crate::tensor::Tensor;
use crate::training::Logs;

const NAME: &str = "EarlyStopping";

/// Ends training when a monitored value has stopped getting better (Keras: `EarlyStopping`).
///
/// By default it watches `val_loss` and has no patience: the first epoch that is not better than the
/// best before ends training. Where the value is missing from an epoch's logs, that is said once and
/// the epoch does not count.
///
/// Lend it to look at it afterwards:
///
/// ```
/// use cornu::prelude::*;
/// # let x = ndarray::Array2::from_shape_fn((64, 3), |(i, j)| ((i * 7 + j * 3) % 11) as f32 / 11.0);
/// # let y = x.map_axis(ndarray::Axis(1), |row| row.sum()).insert_axis(ndarray::Axis(1));
/// let mut model = Sequential::new().with_seed(1);
/// model.add(Input::new([3])).add(Dense::new(1));
/// model.compile(Sgd::new(0.1), "mse", ())?;
///
/// let mut early = EarlyStopping::new().patience(2).min_delta(0.01).restore_best_weights(true);
/// let options = Fit::new().epochs(100).verbose(0).validation_split(0.25).callback(&mut early);
/// model.fit(&x, &y, options)?;
/// assert!(early.stopped_epoch() < Some(99));
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Debug)]
pub struct EarlyStopping {
    monitor: Monitor,
    patience: usize,
    baseline: Option<f64>,
    restore_best_weights: bool,
    start_from_epoch: usize,
    verbose: Verbose,
    wait: usize,
    stopped_epoch: Option<usize>,
    best: Option<f64>,
    best_epoch: Option<usize>,
    best_weights: Option<Vec<Tensor>>,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        EarlyStopping {
            monitor: Monitor::new(0.0),
            patience: 0,
            baseline: None,
            restore_best_weights: false,
            start_from_epoch: 0,
            verbose: Verbose::Silent,
            wait: 0,
            stopped_epoch: None,
            best: None,
            best_epoch: None,
            best_weights: None,
        }
    }
}

impl EarlyStopping {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value to watch. Default: `val_loss`.
    pub fn monitor(mut self, name: &str) -> Self {
        self.monitor.name = name.to_owned();
        self
    }

    /// By how much a value must be better to count as better. Default: 0.
    pub fn min_delta(mut self, min_delta: f64) -> Self {
        self.monitor.min_delta = min_delta;
        self
    }

    /// The number of epochs in a row without a better value that end training. Default: 0, which is as 1.
    pub fn patience(mut self, epochs: usize) -> Self {
        self.patience = epochs;
        self
    }

    /// Whether the value is to fall or to rise. Default: as its name says.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.monitor.mode = mode;
        self
    }

    /// The patience starts anew only with values that are also better than this one.
    pub fn baseline(mut self, baseline: f64) -> Self {
        self.baseline = Some(baseline);
        self
    }

    /// Whether the weights of the best epoch come back when training ends, early or not. Default: no.
    pub fn restore_best_weights(mut self, restore: bool) -> Self {
        self.restore_best_weights = restore;
        self
    }

    /// The epoch, counted from 0, before which nothing counts. Default: 0.
    pub fn start_from_epoch(mut self, epoch: usize) -> Self {
        self.start_from_epoch = epoch;
        self
    }

    /// Whether to say what is done (1) or not (0, the default).
    pub fn verbose(mut self, verbose: impl Into<Verbose>) -> Self {
        self.verbose = verbose.into();
        self
    }

    /// The epoch, counted from 0, after which training was ended; none if it was not.
    pub fn stopped_epoch(&self) -> Option<usize> {
        self.stopped_epoch
    }

    /// The best value of the last run.
    pub fn best(&self) -> Option<f64> {
        self.best
    }

    /// The epoch of the best value, counted from 0.
    pub fn best_epoch(&self) -> Option<usize> {
        self.best_epoch
    }
}

impl Callback for EarlyStopping {
    fn on_train_begin(&mut self, _model: &mut Model) -> Result<()> {
        self.wait = 0;
        (self.stopped_epoch, self.best, self.best_epoch, self.best_weights) = (None, None, None, None);
        self.monitor.begin(NAME)
    }

    fn on_epoch_end(&mut self, model: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        let Some(current) = self.monitor.current(NAME, logs) else { return Ok(()) };
        if epoch < self.start_from_epoch {
            return Ok(());
        }
        self.wait += 1;
        if self.monitor.is_better(current, self.best) {
            (self.best, self.best_epoch) = (Some(current), Some(epoch));
            if self.restore_best_weights {
                self.best_weights = Some(model.weights().iter().map(Param::value).collect());
            }
            if self.baseline.is_none() || self.monitor.is_better(current, self.baseline) {
                self.wait = 0;
            }
        } else if self.wait >= self.patience && epoch > 0 {
            self.stopped_epoch = Some(epoch);
            model.stop_training();
        }
        Ok(())
    }

    fn on_train_end(&mut self, model: &mut Model, _logs: &Logs) -> Result<()> {
        let speak = self.verbose != Verbose::Silent;
        if let (Some(epoch), true) = (self.stopped_epoch, speak) {
            say(&format!("Epoch {}: early stopping", epoch + 1));
        }
        if let Some(weights) = self.best_weights.take() {
            if let (Some(epoch), true) = (self.best_epoch, speak) {
                say(&format!("Restoring model weights from the end of the best epoch: {}.", epoch + 1));
            }
            model.set_weights(&weights)?;
        }
        Ok(())
    }

    fn state(&self) -> Result<Option<State>> {
        State::of(&(self.wait, self.stopped_epoch, self.best, self.best_epoch, &self.best_weights)).map(Some)
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        (self.wait, self.stopped_epoch, self.best, self.best_epoch, self.best_weights) = state.get()?;
        Ok(())
    }
}
