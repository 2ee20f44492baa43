//! Learns more slowly when learning stagnates.

use super::monitor::{Mode, Monitor};
use super::{Callback, Verbose, say};
use crate::config::check_non_negative;
use crate::error::{Context, Result, ensure};
use crate::model::Model;
use crate::state::State;
use crate::training::Logs;

const NAME: &str = "ReduceLROnPlateau";

/// Multiplies the learning rate by a factor when a monitored value has stopped getting better (Keras:
/// `ReduceLROnPlateau`; AlexNet was trained so, by hand).
///
/// Adds `learning_rate` to the logs: the rate with which the epoch was trained.
///
/// ```
/// use cornu::prelude::*;
/// let options = Fit::new().epochs(90).callback(ReduceLROnPlateau::new().factor(0.2).patience(5).min_lr(1e-5));
/// # let _ = options;
/// ```
#[derive(Debug)]
pub struct ReduceLROnPlateau {
    monitor: Monitor,
    factor: f64,
    patience: usize,
    cooldown: usize,
    min_lr: f64,
    verbose: Verbose,
    best: Option<f64>,
    wait: usize,
    /// Epochs of the cooldown that are left.
    cooling: usize,
}

impl Default for ReduceLROnPlateau {
    fn default() -> Self {
        ReduceLROnPlateau {
            monitor: Monitor::new(1e-4),
            factor: 0.1,
            patience: 10,
            cooldown: 0,
            min_lr: 0.0,
            verbose: Verbose::Silent,
            best: None,
            wait: 0,
            cooling: 0,
        }
    }
}

impl ReduceLROnPlateau {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value to watch. Default: `val_loss`.
    pub fn monitor(mut self, name: &str) -> Self {
        self.monitor.name = name.to_owned();
        self
    }

    /// What the learning rate is multiplied by: below 1. Default: 0.1.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// The number of epochs in a row without a better value that reduce the rate. Default: 10.
    pub fn patience(mut self, epochs: usize) -> Self {
        self.patience = epochs;
        self
    }

    /// Whether the value is to fall or to rise. Default: as its name says.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.monitor.mode = mode;
        self
    }

    /// By how much a value must be better to count as better. Default: 1e-4.
    pub fn min_delta(mut self, min_delta: f64) -> Self {
        self.monitor.min_delta = min_delta;
        self
    }

    /// Epochs after a reduction that do not count. Default: 0.
    pub fn cooldown(mut self, epochs: usize) -> Self {
        self.cooldown = epochs;
        self
    }

    /// The rate goes no lower than this. Default: 0.
    pub fn min_lr(mut self, rate: f64) -> Self {
        self.min_lr = rate;
        self
    }

    /// Whether to say what is done (1) or not (0, the default).
    pub fn verbose(mut self, verbose: impl Into<Verbose>) -> Self {
        self.verbose = verbose.into();
        self
    }
}

impl Callback for ReduceLROnPlateau {
    fn on_train_begin(&mut self, model: &mut Model) -> Result<()> {
        (self.best, self.wait, self.cooling) = (None, 0, 0);
        let factor = self.factor;
        ensure!(
            (0.0..1.0).contains(&factor),
            Argument,
            "{NAME}: factor is {factor}; it must be at least 0 and below 1"
        );
        check_non_negative("min_lr", self.min_lr).at(|| NAME.to_owned())?;
        // A rate that follows a schedule is refused now, not after hours at the first plateau.
        model.learning_rate().and_then(|rate| model.set_learning_rate(rate)).at(|| NAME.to_owned())?;
        self.monitor.begin(NAME)
    }

    fn on_epoch_end(&mut self, model: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        let rate = model.learning_rate()?;
        logs.insert("learning_rate", rate);
        let Some(current) = self.monitor.current(NAME, logs) else { return Ok(()) };
        if self.cooling > 0 {
            self.cooling -= 1;
            self.wait = 0;
        }
        if self.monitor.is_better(current, self.best) {
            self.best = Some(current);
            self.wait = 0;
        } else if self.cooling == 0 {
            self.wait += 1;
            // The rate is kept in single precision, so the bound is met in it too.
            if self.wait >= self.patience && rate > f64::from(self.min_lr as f32) {
                let reduced = (rate * self.factor).max(self.min_lr);
                model.set_learning_rate(reduced)?;
                if self.verbose != Verbose::Silent {
                    say(&format!("Epoch {}: {NAME} reducing learning rate to {reduced}.", epoch + 1));
                }
                self.cooling = self.cooldown;
                self.wait = 0;
            }
        }
        Ok(())
    }

    fn state(&self) -> Result<Option<State>> {
        State::of(&(self.best, self.wait, self.cooling)).map(Some)
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        (self.best, self.wait, self.cooling) = state.get()?;
        Ok(())
    }
}
