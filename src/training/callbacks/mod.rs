//! What can happen during training besides training.

mod csv_logger;
mod early_stopping;
#[cfg(feature = "plot")]
mod html_report;
mod lambda_callback;
mod learning_rate_scheduler;
mod model_checkpoint;
mod monitor;
mod path_template;
mod progbar_logger;
mod reduce_lr_on_plateau;
#[cfg(feature = "tensorboard")]
mod tensorboard;
mod terminate_on_nan;

pub use csv_logger::CSVLogger;
pub use early_stopping::EarlyStopping;
#[cfg(feature = "plot")]
pub use html_report::HtmlReport;
pub use lambda_callback::LambdaCallback;
pub use learning_rate_scheduler::LearningRateScheduler;
pub use model_checkpoint::ModelCheckpoint;
pub use monitor::Mode;
pub use progbar_logger::ProgbarLogger;
pub use reduce_lr_on_plateau::ReduceLROnPlateau;
#[cfg(feature = "tensorboard")]
pub use tensorboard::{TensorBoard, UpdateFreq};
pub use terminate_on_nan::TerminateOnNaN;

use super::Logs;
use crate::error::Result;
use crate::model::Model;
use std::io::Write;

/// How a run of `fit`, `evaluate` or `predict` is laid out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// The last epoch, counted from 1.
    pub epochs: usize,
    /// Batches in an epoch, where that is known before they have come.
    pub steps: Option<usize>,
    /// Samples in a full batch.
    pub batch_size: usize,
}

/// Hooks into training. All do nothing by default; epochs and batches count from 0.
///
/// A hook may read and change the model: its weights, [`set_learning_rate`](Model::set_learning_rate),
/// [`stop_training`](Model::stop_training), [`save`](Model::save). An error ends the run.
///
/// ```
/// use cornu::prelude::*;
///
/// /// Ends training as soon as the loss is good enough.
/// struct GoodEnough(f64);
///
/// impl Callback for GoodEnough {
///     fn on_epoch_end(&mut self, model: &mut Model, _epoch: usize, logs: &mut Logs) -> Result<()> {
///         if logs.get("loss").is_some_and(|loss| loss < self.0) {
///             model.stop_training();
///         }
///         Ok(())
///     }
/// }
/// ```
#[allow(unused_variables)]
pub trait Callback: Send {
    /// Before anything else.
    ///
    /// # Errors
    /// Ends the run, as in all hooks.
    fn set_params(&mut self, params: &Params) -> Result<()> {
        Ok(())
    }
    /// Training begins.
    ///
    /// # Errors
    /// Ends the run.
    fn on_train_begin(&mut self, model: &mut Model) -> Result<()> {
        Ok(())
    }
    /// Training is over. `logs` are those of the last epoch.
    ///
    /// # Errors
    /// Ends the run.
    fn on_train_end(&mut self, model: &mut Model, logs: &Logs) -> Result<()> {
        Ok(())
    }
    /// An epoch begins.
    ///
    /// # Errors
    /// Ends the run.
    fn on_epoch_begin(&mut self, model: &mut Model, epoch: usize) -> Result<()> {
        Ok(())
    }
    /// An epoch is over, its validation too. What is added to `logs` appears in the history.
    ///
    /// # Errors
    /// Ends the run.
    fn on_epoch_end(&mut self, model: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        Ok(())
    }
    /// A batch of training begins.
    ///
    /// # Errors
    /// Ends the run.
    fn on_train_batch_begin(&mut self, model: &mut Model, batch: usize) -> Result<()> {
        Ok(())
    }
    /// A batch of training is over. `logs` are the running values of the epoch.
    ///
    /// # Errors
    /// Ends the run.
    fn on_train_batch_end(&mut self, model: &mut Model, batch: usize, logs: &Logs) -> Result<()> {
        Ok(())
    }
    /// An evaluation or a validation begins.
    ///
    /// # Errors
    /// Ends the run.
    fn on_test_begin(&mut self, model: &mut Model) -> Result<()> {
        Ok(())
    }
    /// An evaluation or a validation is over.
    ///
    /// # Errors
    /// Ends the run.
    fn on_test_end(&mut self, model: &mut Model, logs: &Logs) -> Result<()> {
        Ok(())
    }
    /// A batch of an evaluation begins.
    ///
    /// # Errors
    /// Ends the run.
    fn on_test_batch_begin(&mut self, model: &mut Model, batch: usize) -> Result<()> {
        Ok(())
    }
    /// A batch of an evaluation is over.
    ///
    /// # Errors
    /// Ends the run.
    fn on_test_batch_end(&mut self, model: &mut Model, batch: usize, logs: &Logs) -> Result<()> {
        Ok(())
    }
}

impl<C: Callback + ?Sized> Callback for &mut C {
    fn set_params(&mut self, params: &Params) -> Result<()> {
        (**self).set_params(params)
    }
    fn on_train_begin(&mut self, model: &mut Model) -> Result<()> {
        (**self).on_train_begin(model)
    }
    fn on_train_end(&mut self, model: &mut Model, logs: &Logs) -> Result<()> {
        (**self).on_train_end(model, logs)
    }
    fn on_epoch_begin(&mut self, model: &mut Model, epoch: usize) -> Result<()> {
        (**self).on_epoch_begin(model, epoch)
    }
    fn on_epoch_end(&mut self, model: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        (**self).on_epoch_end(model, epoch, logs)
    }
    fn on_train_batch_begin(&mut self, model: &mut Model, batch: usize) -> Result<()> {
        (**self).on_train_batch_begin(model, batch)
    }
    fn on_train_batch_end(&mut self, model: &mut Model, batch: usize, logs: &Logs) -> Result<()> {
        (**self).on_train_batch_end(model, batch, logs)
    }
    fn on_test_begin(&mut self, model: &mut Model) -> Result<()> {
        (**self).on_test_begin(model)
    }
    fn on_test_end(&mut self, model: &mut Model, logs: &Logs) -> Result<()> {
        (**self).on_test_end(model, logs)
    }
    fn on_test_batch_begin(&mut self, model: &mut Model, batch: usize) -> Result<()> {
        (**self).on_test_batch_begin(model, batch)
    }
    fn on_test_batch_end(&mut self, model: &mut Model, batch: usize, logs: &Logs) -> Result<()> {
        (**self).on_test_batch_end(model, batch, logs)
    }
}

/// A list of callbacks, called one after another.
#[derive(Default)]
pub struct CallbackList<'a>(Vec<Box<dyn Callback + 'a>>);

impl<'a> CallbackList<'a> {
    /// Adds one at the end.
    pub fn push(&mut self, callback: impl Callback + 'a) {
        self.0.push(Box::new(callback));
    }

    /// Calls `hook` of each, in order, until one fails.
    pub(crate) fn each(&mut self, mut hook: impl FnMut(&mut (dyn Callback + 'a)) -> Result<()>) -> Result<()> {
        self.0.iter_mut().try_for_each(|callback| hook(callback.as_mut()))
    }
}

/// How much `fit` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbose {
    /// 0: nothing.
    Silent,
    /// 1: a progress bar; where there is no terminal, a plain line an epoch.
    #[default]
    Bar,
    /// 2: a line an epoch.
    Lines,
}

impl From<u8> for Verbose {
    /// Keras' numbers: 0 silent, 1 bar, 2 and above lines.
    fn from(n: u8) -> Self {
        match n {
            0 => Verbose::Silent,
            1 => Verbose::Bar,
            _ => Verbose::Lines,
        }
    }
}

/// Prints a line for the user. A closed output is no reason to end training.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A number in scientific notation with the exponent as Python writes it: `5.0000e-04`.
fn scientific(x: f64, digits: usize) -> String {
    let text = format!("{x:.digits$e}");
    match text.split_once('e').and_then(|(mantissa, exponent)| Some((mantissa, exponent.parse::<i32>().ok()?))) {
        Some((mantissa, exponent)) => format!("{mantissa}e{exponent:+03}"),
        None => text,
    }
}

/// The `callback` method of an options type.
macro_rules! callback_builder {
    () => {
        /// Adds a callback. To look at it afterwards, lend it: `.callback(&mut mine)`.
        pub fn callback(mut self, callback: impl super::callbacks::Callback + 'a) -> Self {
            self.callbacks.push(callback);
            self
        }
    };
}
pub(super) use callback_builder;
