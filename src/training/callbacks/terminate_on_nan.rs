//! Ends training that has gone wrong.

use super::{Callback, say};
use crate::error::{Result, ensure};
use crate::model::Model;
use crate::training::Logs;

/// Ends training after the batch whose loss is NaN or infinite (Keras: `TerminateOnNaN`).
///
/// Training ends in order: the epoch is closed and the other callbacks are told. With
/// [`raise_error`](Self::raise_error) `fit` fails instead.
#[derive(Clone, Debug, Default)]
pub struct TerminateOnNaN {
    raise_error: bool,
}

impl TerminateOnNaN {
    /// Ends training in order.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `fit` is to fail with an error. Default: no.
    pub fn raise_error(mut self, raise: bool) -> Self {
        self.raise_error = raise;
        self
    }
}

impl Callback for TerminateOnNaN {
    fn on_train_batch_end(&mut self, model: &mut Model, batch: usize, logs: &Logs) -> Result<()> {
        if let Some(loss) = logs.get("loss")
            && !loss.is_finite()
        {
            ensure!(
                !self.raise_error,
                Data,
                "TerminateOnNaN: the loss is {loss} in batch {batch}; try a lower learning rate, clipnorm, or scaled inputs"
            );
            say(&format!("Batch {batch}: invalid loss, terminating training"));
            model.stop_training();
        }
        Ok(())
    }
}
