//! Losses as metrics: the mean of the loss over all samples.

use super::{Metric, Running, metric};
use crate::error::Result;
use crate::losses::{self, Loss};
use crate::tensor::Tensor;

/// A metric that is the mean of a loss whose arguments are the metric's.
macro_rules! loss_metric {
    ($(#[$doc:meta])* $class:ident, $name:literal, $loss:ident;
     $($(#[$field_doc:meta])* $field:ident $(($argument:ty))?: $type:ty = $default:expr;)*) => {
        metric! {
            $(#[$doc])* $class(), $name, Running;
            $($(#[$field_doc])* $field $(($argument))?: $type = $default;)*
        }

        impl $class {
            fn loss(&self) -> losses::$loss {
                losses::$loss { $($field: self.$field,)* ..losses::$loss::default() }
            }
        }

        impl Metric for $class {
            metric!(@common);
            fn check(&self) -> Result<()> {
                self.loss().check()
            }
            fn higher_is_better(&self) -> Option<bool> {
                Some(false)
            }
            fn sees_masks(&self) -> bool {
                true
            }
            fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
                let loss = self.loss();
                let values = loss.call(y_true, y_pred)?;
                match (sample_weight, loss.counted(y_true)) {
                    // As in Keras, what a loss leaves out is left out here where there are weights, and
                    // counts as 0 where there are none.
                    (Some(weights), Some(counted)) => {
                        let weights = losses::spread("sample_weight", weights, values.shape())?;
                        let weights = weights.zip_map(&counted.reshape(values.shape())?, |w, c| w * c)?;
                        self.state.add(&values, Some(&weights))
                    }
                    _ => self.state.add(&values, sample_weight),
                }
            }
            fn result(&self) -> f64 {
                self.state.mean()
            }
        }
    };
}

loss_metric! {
    /// The mean of [the loss of this name](losses::MeanSquaredError).
    MeanSquaredError, "mean_squared_error", MeanSquaredError;
}

loss_metric! {
    /// The mean of [the loss of this name](losses::MeanAbsoluteError).
    MeanAbsoluteError, "mean_absolute_error", MeanAbsoluteError;
}

loss_metric! {
    /// The mean of [the loss of this name](losses::MeanAbsolutePercentageError).
    MeanAbsolutePercentageError, "mean_absolute_percentage_error", MeanAbsolutePercentageError;
}

loss_metric! {
    /// The mean of [the loss of this name](losses::MeanSquaredLogarithmicError).
    MeanSquaredLogarithmicError, "mean_squared_logarithmic_error", MeanSquaredLogarithmicError;
}

loss_metric! {
    /// The mean of [the Huber loss](losses::Huber).
    HuberError, "huber", Huber;
    /// Where the square goes over into the straight line; the default is 1.
    delta: f64 = 1.0;
}

loss_metric! {
    /// The mean of [the log-cosh loss](losses::LogCosh).
    LogCoshError, "logcosh", LogCosh;
}

loss_metric! {
    /// The mean of [the loss of this name](losses::BinaryCrossentropy).
    BinaryCrossentropy, "binary_crossentropy", BinaryCrossentropy;
    /// Whether predictions are logits; the default is false.
    from_logits: bool = false;
    /// How far labels are drawn towards 1/2, from 0 to 1.
    label_smoothing: f64 = 0.0;
}

loss_metric! {
    /// The mean of [the loss of this name](losses::CategoricalCrossentropy).
    CategoricalCrossentropy, "categorical_crossentropy", CategoricalCrossentropy;
    /// Whether predictions are logits; the default is false.
    from_logits: bool = false;
    /// How far targets are drawn towards the even distribution, from 0 to 1.
    label_smoothing: f64 = 0.0;
    /// The axis of the classes; the default is -1.
    axis: isize = -1;
}

loss_metric! {
    /// The mean of [the loss of this name](losses::SparseCategoricalCrossentropy).
    SparseCategoricalCrossentropy, "sparse_categorical_crossentropy", SparseCategoricalCrossentropy;
    /// Whether predictions are logits; the default is false.
    from_logits: bool = false;
    /// A label whose entries do not count where samples have weights, and count as 0 where they have
    /// none (as in Keras).
    ignore_class(i64): Option<i64> = None;
}

loss_metric! {
    /// The mean of [the crossentropy that fits the shapes](losses::Crossentropy).
    Crossentropy, "crossentropy", Crossentropy;
}

loss_metric! {
    /// The mean of [the loss of this name](losses::KLDivergence).
    KLDivergence, "kl_divergence", KLDivergence;
}

loss_metric! {
    /// The mean of [the loss of this name](losses::Poisson).
    Poisson, "poisson", Poisson;
}

loss_metric! {
    /// The mean of [the loss of this name](losses::Hinge).
    Hinge, "hinge", Hinge;
}

loss_metric! {
    /// The mean of [the loss of this name](losses::SquaredHinge).
    SquaredHinge, "squared_hinge", SquaredHinge;
}

loss_metric! {
    /// The mean of [the loss of this name](losses::CategoricalHinge).
    CategoricalHinge, "categorical_hinge", CategoricalHinge;
}
