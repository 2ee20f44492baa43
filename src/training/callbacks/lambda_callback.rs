//! A callback made of closures.

use super::Callback;
use crate::error::Result;
use crate::model::Model;
use crate::training::Logs;
use std::fmt;

/// Writes the struct, a builder method for each hook and the hooks themselves.
macro_rules! lambda_callback {
    ($($(#[$doc:meta])* $hook:ident(model: $model:ty $(, $argument:ident: $kind:ty)*);)*) => {
        /// A callback made of closures, one for each hook that is needed (Keras: `LambdaCallback`).
        ///
        /// ```
        /// use cornu::prelude::*;
        /// # let (x, y) = (ndarray::arr2(&[[1.0], [2.0]]), ndarray::arr2(&[[2.0], [4.0]]));
        /// let mut model = Sequential::new();
        /// model.add(Input::new([1])).add(Dense::new(1));
        /// model.compile("sgd", "mse", ())?;
        ///
        /// let mut losses = Vec::new();
        /// let watch = LambdaCallback::new().on_epoch_end(|_model, _epoch, logs| {
        ///     losses.extend(logs.get("loss"));
        ///     Ok(())
        /// });
        /// let history = model.fit(&x, &y, Fit::new().epochs(2).verbose(0).callback(watch))?;
        /// assert_eq!(history["loss"], losses);
        /// # Ok::<(), cornu::Error>(())
        /// ```
        #[derive(Default)]
        pub struct LambdaCallback<'a> {
            $($hook: Option<Box<dyn FnMut($model $(, $kind)*) -> Result<()> + Send + 'a>>,)*
        }

        impl<'a> LambdaCallback<'a> {
            /// Does nothing yet.
            pub fn new() -> Self {
                Self::default()
            }
            $(
                $(#[$doc])*
                pub fn $hook(mut self, call: impl FnMut($model $(, $kind)*) -> Result<()> + Send + 'a) -> Self {
                    self.$hook = Some(Box::new(call));
                    self
                }
            )*
        }

        impl Callback for LambdaCallback<'_> {
            $(
                fn $hook(&mut self, model: $model $(, $argument: $kind)*) -> Result<()> {
                    self.$hook.as_mut().map_or(Ok(()), |call| call(model $(, $argument)*))
                }
            )*
        }

        impl fmt::Debug for LambdaCallback<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let hooks = [$((stringify!($hook), self.$hook.is_some())),*];
                f.debug_set().entries(hooks.iter().filter(|(_, set)| *set).map(|(hook, _)| hook)).finish()
            }
        }
    };
}

lambda_callback! {
    /// When training begins.
    on_train_begin(model: &mut Model);
    /// When training is over: with the logs of the last epoch.
    on_train_end(model: &mut Model, logs: &Logs);
    /// When an epoch begins: with its number from 0.
    on_epoch_begin(model: &mut Model, epoch: usize);
    /// When an epoch is over: with its number and its logs, to which values may be added.
    on_epoch_end(model: &mut Model, epoch: usize, logs: &mut Logs);
    /// When a batch of training begins: with its number from 0.
    on_train_batch_begin(model: &mut Model, batch: usize);
    /// When a batch of training is over: with its number and the running logs of the epoch.
    on_train_batch_end(model: &mut Model, batch: usize, logs: &Logs);
    /// When an evaluation or a validation begins.
    on_test_begin(model: &mut Model);
    /// When an evaluation or a validation is over: with its logs.
    on_test_end(model: &mut Model, logs: &Logs);
    /// When a batch of an evaluation begins: with its number from 0.
    on_test_batch_begin(model: &mut Model, batch: usize);
    /// When a batch of an evaluation is over: with its number and the running logs.
    on_test_batch_end(model: &mut Model, batch: usize, logs: &Logs);
    /// When a prediction begins.
    on_predict_begin(model: &Model);
    /// When a prediction is over.
    on_predict_end(model: &Model);
    /// When a batch of a prediction begins: with its number from 0.
    on_predict_batch_begin(model: &Model, batch: usize);
    /// When a batch of a prediction is over: with its number.
    on_predict_batch_end(model: &Model, batch: usize);
}
