//! Ctrl-C ends training in order.

use super::Callback;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::training::Logs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// At Ctrl-C training ends in order: after the batch that runs, the epoch is closed (validated, logged, saved), `fit`
/// returns, and the program goes on with the model as it is. A second Ctrl-C ends the process at once.
///
/// With a [`BackupAndRestore`](super::BackupAndRestore) beside it the epoch is left open instead: a backup is made after
/// the batch, and the same program goes on from there when it is started again.
/// [`Model::is_interrupted`] tells afterwards.
///
/// A metric of one's own that does not tell its [`state`](crate::metrics::Metric::state) allows no backup in the middle of
/// an epoch: then the program goes on from the last one after an epoch.
///
/// It works while `fit` runs; before and afterwards Ctrl-C ends the process as ever. (After a `fit` that failed it does so
/// when the callback is dropped, which is later where it was lent.) Only one handler of the signal can be installed in a
/// process: a program that has its own calls [`Model::interrupt_training`] in a callback of its own. With the feature
/// `interrupt`.
///
/// ```
/// use cornu::prelude::*;
/// let options = Fit::new().epochs(90).callback(StopOnInterrupt::new()).callback(BackupAndRestore::new("run/backup"));
/// # let _ = options;
/// ```
#[derive(Debug, Default)]
pub struct StopOnInterrupt {
    /// Whether it listens now.
    listens: bool,
}

/// Whether Ctrl-C was pressed.
static PRESSED: AtomicBool = AtomicBool::new(false);
/// How many runs listen.
static LISTENERS: AtomicUsize = AtomicUsize::new(0);
/// Whether the handler is installed.
static INSTALLED: Mutex<bool> = Mutex::new(false);

/// Exit code of a process that was ended by Ctrl-C: 128 and the number of the signal.
const ENDED: i32 = 130;

impl StopOnInterrupt {
    /// Listens during `fit`.
    pub fn new() -> Self {
        Self::default()
    }

    fn listen(&mut self) -> Result<()> {
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if !*installed {
            // Runs on a thread of its own.
            let pressed = || {
                if LISTENERS.load(Ordering::SeqCst) == 0 || PRESSED.swap(true, Ordering::SeqCst) {
                    std::process::exit(ENDED);
                }
                eprintln!("\ncornu: training ends after this batch; press Ctrl-C again to end at once");
            };
            ctrlc::set_handler(pressed).map_err(|error| {
                Error::State(format!("StopOnInterrupt: there can be no handler of Ctrl-C: {error}; remove one of them"))
            })?;
            *installed = true;
        }
        // Who listens changes under the lock.
        if !std::mem::replace(&mut self.listens, true) {
            if LISTENERS.load(Ordering::SeqCst) == 0 {
                // The handler may have come too late for the last run; that was not meant for this one.
                PRESSED.store(false, Ordering::SeqCst);
            }
            LISTENERS.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    fn leave(&mut self) {
        let _lock = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut self.listens) && LISTENERS.fetch_sub(1, Ordering::SeqCst) == 1 {
            PRESSED.store(false, Ordering::SeqCst);
        }
    }
}

impl Drop for StopOnInterrupt {
    /// A run that failed did not say that it was over.
    fn drop(&mut self) {
        self.leave();
    }
}

impl Callback for StopOnInterrupt {
    fn on_train_begin(&mut self, _model: &mut Model) -> Result<()> {
        self.listen()
    }

    fn on_train_batch_end(&mut self, model: &mut Model, _batch: usize, _logs: &Logs) -> Result<()> {
        if PRESSED.load(Ordering::SeqCst) {
            model.interrupt_training();
        }
        Ok(())
    }

    /// Between two epochs, too: validation may have taken long.
    fn on_epoch_end(&mut self, model: &mut Model, _epoch: usize, _logs: &mut Logs) -> Result<()> {
        if PRESSED.load(Ordering::SeqCst) {
            model.interrupt_training();
        }
        Ok(())
    }

    fn on_train_end(&mut self, _model: &mut Model, _logs: &Logs) -> Result<()> {
        self.leave();
        Ok(())
    }
}
