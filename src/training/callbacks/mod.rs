//! What can happen during training besides training.

mod backup_and_restore;
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
#[cfg(feature = "download")]
mod remote_monitor;
#[cfg(feature = "interrupt")]
mod stop_on_interrupt;
mod swap_ema_weights;
#[cfg(feature = "tensorboard")]
mod tensorboard;
mod terminate_on_nan;

pub use backup_and_restore::BackupAndRestore;
pub(crate) use backup_and_restore::Found;
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
#[cfg(feature = "download")]
pub use remote_monitor::RemoteMonitor;
#[cfg(feature = "interrupt")]
pub use stop_on_interrupt::StopOnInterrupt;
pub use swap_ema_weights::SwapEMAWeights;
#[cfg(feature = "tensorboard")]
pub use tensorboard::{TensorBoard, UpdateFreq};
pub use terminate_on_nan::TerminateOnNaN;

use super::Logs;
use crate::config;
use crate::error::{Context, Result, ensure};
use crate::model::Model;
use crate::state::State;
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

/// Hooks into training, evaluation and prediction. All do nothing by default; epochs and batches count from 0.
///
/// A hook may read and change the model: its weights, [`set_learning_rate`](Model::set_learning_rate),
/// [`stop_training`](Model::stop_training), [`save`](Model::save). An error ends the run. A prediction only reads the
/// model, and so do its hooks.
///
/// What a callback counts is part of training. If it tells it by [`state`](Self::state), a training that
/// [`BackupAndRestore`] takes up again goes on counting: then [`restore`](Self::restore) is called after
/// `on_train_begin`, and no hook is called a second time for what happened before the backup.
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
    /// A prediction begins.
    ///
    /// # Errors
    /// Ends the run.
    fn on_predict_begin(&mut self, model: &Model) -> Result<()> {
        Ok(())
    }
    /// A prediction is over.
    ///
    /// # Errors
    /// Ends the run.
    fn on_predict_end(&mut self, model: &Model) -> Result<()> {
        Ok(())
    }
    /// A batch of a prediction begins.
    ///
    /// # Errors
    /// Ends the run.
    fn on_predict_batch_begin(&mut self, model: &Model, batch: usize) -> Result<()> {
        Ok(())
    }
    /// A batch of a prediction is over.
    ///
    /// # Errors
    /// Ends the run.
    fn on_predict_batch_end(&mut self, model: &Model, batch: usize) -> Result<()> {
        Ok(())
    }

    /// The name by which a backup knows it. Default: that of its type.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }
    /// What it has counted and must not forget when training is taken up again: see [`BackupAndRestore`]. Default:
    /// nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    fn state(&self) -> Result<Option<State>> {
        Ok(None)
    }
    /// Takes back what [`state`](Self::state) gave, after `on_train_begin`.
    ///
    /// # Errors
    /// When it is not that of such a callback.
    fn restore(&mut self, state: &State) -> Result<()> {
        Ok(())
    }
    /// The backup that it is, or that a callback inside it is. Default: none.
    fn backup(&mut self) -> Option<&mut BackupAndRestore> {
        None
    }
}

/// All hooks, for what hands them on: `forward` writes their bodies.
macro_rules! hooks {
    ($forward:ident) => {
        $forward! {
            set_params(params: &Params);
            on_train_begin(model: &mut Model);
            on_train_end(model: &mut Model, logs: &Logs);
            on_epoch_begin(model: &mut Model, epoch: usize);
            on_epoch_end(model: &mut Model, epoch: usize, logs: &mut Logs);
            on_train_batch_begin(model: &mut Model, batch: usize);
            on_train_batch_end(model: &mut Model, batch: usize, logs: &Logs);
            on_test_begin(model: &mut Model);
            on_test_end(model: &mut Model, logs: &Logs);
            on_test_batch_begin(model: &mut Model, batch: usize);
            on_test_batch_end(model: &mut Model, batch: usize, logs: &Logs);
            on_predict_begin(model: &Model);
            on_predict_end(model: &Model);
            on_predict_batch_begin(model: &Model, batch: usize);
            on_predict_batch_end(model: &Model, batch: usize);
        }
    };
}

macro_rules! to_the_one {
    ($($hook:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $hook(&mut self, $($argument: $kind),*) -> Result<()> {
            (**self).$hook($($argument),*)
        })*
    };
}

macro_rules! to_each {
    ($($hook:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $hook(&mut self, $($argument: $kind),*) -> Result<()> {
            for callback in &mut self.0 {
                callback.$hook($($argument),*)?;
            }
            Ok(())
        })*
    };
}

impl<C: Callback + ?Sized> Callback for &mut C {
    hooks!(to_the_one);

    fn class_name(&self) -> &str {
        (**self).class_name()
    }
    fn state(&self) -> Result<Option<State>> {
        (**self).state()
    }
    fn restore(&mut self, state: &State) -> Result<()> {
        (**self).restore(state)
    }
    fn backup(&mut self) -> Option<&mut BackupAndRestore> {
        (**self).backup()
    }
}

/// Callbacks that are called one after another, in the order in which they were added (Keras: `CallbackList`).
///
/// It is a callback itself: each hook calls that of all of them, until one fails. `fit` has one; a loop of one's own
/// calls the hooks by hand:
///
/// ```
/// use cornu::prelude::*;
/// use cornu::training::callbacks::{CallbackList, Params};
/// # let x = ndarray::Array2::from_shape_fn((8, 1), |(i, _)| i as f32 / 8.0);
/// # let y = &x * 2.0;
/// let mut model = Sequential::new().with_seed(1);
/// model.add(Input::new([1])).add(Dense::new(1));
/// model.compile(Sgd::new(0.1), "mse", ())?;
///
/// let mut early = EarlyStopping::new().monitor("loss").min_delta(0.01);
/// let mut callbacks = CallbackList::new();
/// callbacks.push(&mut early);
/// callbacks.set_params(&Params { epochs: 50, steps: Some(1), batch_size: 8 })?;
///
/// let mut logs = Logs::new();
/// callbacks.on_train_begin(&mut model)?;
/// for epoch in 0..50 {
///     callbacks.on_epoch_begin(&mut model, epoch)?;
///     callbacks.on_train_batch_begin(&mut model, 0)?;
///     logs = model.train_on_batch(&x, &y)?;
///     callbacks.on_train_batch_end(&mut model, 0, &logs)?;
///     callbacks.on_epoch_end(&mut model, epoch, &mut logs)?;
///     if model.is_stopped() {
///         break;
///     }
/// }
/// callbacks.on_train_end(&mut model, &logs)?;
/// drop(callbacks);
/// assert!(early.stopped_epoch().is_some());
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Default)]
pub struct CallbackList<'a>(Vec<Box<dyn Callback + 'a>>);

impl<'a> CallbackList<'a> {
    /// Without any yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one at the end. To look at it afterwards, lend it: `push(&mut mine)`.
    pub fn push(&mut self, callback: impl Callback + 'a) {
        self.0.push(Box::new(callback));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Callback for CallbackList<'_> {
    hooks!(to_each);

    fn class_name(&self) -> &str {
        "CallbackList"
    }

    /// The states of those that have one, by their names.
    fn state(&self) -> Result<Option<State>> {
        let mut states: Vec<(String, State)> = Vec::new();
        for callback in &self.0 {
            let name = callback.class_name();
            states.extend(callback.state().at(|| name.to_owned())?.map(|state| (name.to_owned(), state)));
        }
        State::of(&states).map(Some)
    }

    /// Gives each state to the next callback of its name. Callbacks that are new since then start as they are.
    fn restore(&mut self, state: &State) -> Result<()> {
        let mut callbacks: Vec<_> = self.0.iter_mut().collect();
        for (name, state) in state.get::<Vec<(String, State)>>()? {
            let place = callbacks.iter().position(|callback| callback.class_name() == name);
            ensure!(
                place.is_some(),
                State,
                "the state of the callback {name} is there, but {name} is not among the callbacks now"
            );
            if let Some(place) = place {
                callbacks.remove(place).restore(&state).at(|| name)?;
            }
        }
        Ok(())
    }

    fn backup(&mut self) -> Option<&mut BackupAndRestore> {
        self.0.iter_mut().find_map(|callback| callback.backup())
    }
}

/// How much `fit`, `evaluate` and `predict` print.
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
pub(super) fn say(line: &str) {
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
