//! Sets the learning rate of each epoch.

use super::{Callback, Verbose, say};
use crate::error::{Context, Result};
use crate::model::Model;
use crate::training::Logs;

const NAME: &str = "LearningRateScheduler";

/// Sets the learning rate at the beginning of each epoch (Keras: `LearningRateScheduler`).
///
/// The schedule is given the epoch, counted from 0, and the rate as it is now. Adds `learning_rate` to
/// the logs.
///
/// ```
/// use cornu::prelude::*;
/// # let (x, y) = (ndarray::arr2(&[[1.0], [2.0]]), ndarray::arr2(&[[2.0], [4.0]]));
/// let mut model = Sequential::new();
/// model.add(Input::new([1])).add(Dense::new(1));
/// model.compile(Sgd::new(0.5), "mse", ())?;
///
/// let halve = LearningRateScheduler::new(|epoch, rate| if epoch == 0 { rate } else { rate / 2.0 });
/// let history = model.fit(&x, &y, Fit::new().epochs(3).verbose(0).callback(halve))?;
/// assert_eq!(history["learning_rate"], [0.5, 0.25, 0.125]);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Debug)]
pub struct LearningRateScheduler<F> {
    schedule: F,
    verbose: Verbose,
}

impl<F: FnMut(usize, f64) -> f64 + Send> LearningRateScheduler<F> {
    /// Sets the rates that `schedule` gives for the epoch and the rate so far.
    pub fn new(schedule: F) -> Self {
        LearningRateScheduler { schedule, verbose: Verbose::Silent }
    }

    /// Whether to say what is done (1) or not (0, the default).
    pub fn verbose(mut self, verbose: impl Into<Verbose>) -> Self {
        self.verbose = verbose.into();
        self
    }
}

impl<F: FnMut(usize, f64) -> f64 + Send> Callback for LearningRateScheduler<F> {
    fn on_epoch_begin(&mut self, model: &mut Model, epoch: usize) -> Result<()> {
        let rate = (self.schedule)(epoch, model.learning_rate()?);
        model.set_learning_rate(rate).at(|| NAME.to_owned())?;
        if self.verbose != Verbose::Silent {
            say(&format!("Epoch {}: {NAME} setting learning rate to {rate}.", epoch + 1));
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, model: &mut Model, _epoch: usize, logs: &mut Logs) -> Result<()> {
        logs.insert("learning_rate", model.learning_rate()?);
        Ok(())
    }
}
