//! What training reports.
//!
//! A metric is fed batch by batch ([`Metric::update`]) and tells its value over all of them since the
//! last [`Metric::reset`]. `compile` takes metrics by name, by value, or mixed:
//!
//! ```
//! use cornu::metrics::{AUC, Metrics, Precision};
//! let by_name = Metrics::from(["accuracy", "mae"]);
//! let by_value = Metrics::from(Precision::new());
//! let mixed = cornu::metrics!["acc", AUC::new().name("area"), Precision::new()];
//! assert_eq!(mixed.names(), ["acc", "area", "precision"]);
//! # let _ = (by_name, by_value);
//! ```
//!
//! `"accuracy"` and `"acc"` stand for the accuracy that fits the shapes ([`AutoAccuracy`]). Losses of
//! numbers and probabilities are metrics too, under the names they have as losses. What a trained model gets right and wrong,
//! class by class, tells [`classification_report`](fn@classification_report).

use crate::config::{self, Config, Unknown, family};
use crate::error::Result;
use crate::losses;
use crate::state::State;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

mod accuracy;
mod auc;
mod classification_report;
mod confusion;
mod correlation;
mod f_score;
mod from_loss;
mod iou;
pub(crate) mod labels;
mod reduction;
mod regression;

pub use accuracy::{
    Accuracy, AutoAccuracy, BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy, TopKCategoricalAccuracy,
};
pub use auc::{AUC, AUCCurve, AUCSummationMethod};
pub use classification_report::{ClassScores, ClassificationReport, classification_report};
pub use confusion::{
    FalseNegatives, FalsePositives, Precision, PrecisionAtRecall, Recall, RecallAtPrecision, SensitivityAtSpecificity,
    SpecificityAtSensitivity, Thresholds, TrueNegatives, TruePositives,
};
pub use correlation::{ConcordanceCorrelation, PearsonCorrelation};
pub use f_score::{Average, F1Score, FBetaScore};
pub use from_loss::{
    BinaryCrossentropy, CategoricalCrossentropy, CategoricalHinge, Crossentropy, Hinge, HuberError, KLDivergence,
    LogCoshError, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredError, MeanSquaredLogarithmicError,
    Poisson, SparseCategoricalCrossentropy, SquaredHinge,
};
pub use iou::{BinaryIoU, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU};
pub use reduction::{Mean, MeanMetricWrapper, Sum};
pub use regression::{ClassAggregation, CosineSimilarity, R2Score, RootMeanSquaredError};

/// A measure that is gathered over batches.
///
/// A metric of your own:
///
/// ```
/// use cornu::metrics::Metric;
/// use cornu::{Result, Tensor};
///
/// /// The largest error seen.
/// #[derive(Debug, Default)]
/// struct MaxError { largest: f64 }
///
/// impl Metric for MaxError {
///     fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, _: Option<&Tensor>) -> Result<()> {
///         for (y, p) in y_true.data().iter().zip(y_pred.data()) {
///             self.largest = self.largest.max(f64::from((y - p).abs()));
///         }
///         Ok(())
///     }
///     fn result(&self) -> f64 { self.largest }
///     fn reset(&mut self) { self.largest = 0.0; }
/// }
///
/// let mut metric = MaxError::default();
/// assert_eq!(metric.name(), "max_error");
/// metric.update(&Tensor::zeros([2, 1]), &Tensor::new([2, 1], vec![0.5, -2.0])?, None)?;
/// assert_eq!(metric.result(), 2.0);
/// # Ok::<(), cornu::Error>(())
/// ```
pub trait Metric: Debug + Send + Sync {
    /// The name it is saved under.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }

    /// What makes it again (Keras: `get_config`). Without it a model that uses it cannot be saved.
    ///
    /// # Errors
    /// By default: that it has none.
    fn config(&self) -> Result<Config> {
        Err(config::no_config("metric", self.class_name()))
    }

    /// Whether its arguments make sense.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Its key in the history: the name it was asked for by (`"acc"` stays `"acc"`), else its own, by
    /// default the class name in Keras' snake case.
    fn name(&self) -> String {
        config::snake_case(self.class_name())
    }

    /// Whether larger is better, if that is known; callbacks with mode "auto" ask.
    fn higher_is_better(&self) -> Option<bool> {
        None
    }

    /// Whether what a mask of the predictions hides does not count, as if its weight were 0. So it is in Keras with the
    /// metrics that are a mean of a function's values, while others see all. Default: false.
    fn sees_masks(&self) -> bool {
        false
    }

    /// Takes in a batch. `sample_weight` is `(batch,)`, or for sequences also `(batch, time)`; a sample
    /// of weight 2 counts as two.
    ///
    /// # Errors
    /// When the shapes do not fit each other.
    fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()>;

    /// The value over what was taken in since the last reset; for metrics with several values their mean.
    fn result(&self) -> f64;

    /// All values, of metrics that have several: one for each class, output or threshold.
    fn results(&self) -> Vec<f64> {
        vec![self.result()]
    }

    /// Forgets what was taken in.
    fn reset(&mut self);

    /// What was taken in since the last reset, for a backup in the middle of an epoch. Default: none, and such backups
    /// are refused, since the epoch's value could not go on.
    ///
    /// # Errors
    /// When it cannot be written.
    fn state(&self) -> Result<Option<State>> {
        Ok(None)
    }

    /// Takes back what [`state`](Self::state) gave.
    ///
    /// # Errors
    /// When it is not that of such a metric.
    fn restore(&mut self, state: &State) -> Result<()> {
        let _ = state;
        Ok(())
    }
}

family! { Box<dyn Metric>, "metric", "keras.metrics", keeps_name = true;
    AutoAccuracy = "accuracy" | "acc" | "Accuracy" | "Acc" | "ACC";
    BinaryAccuracy = "binary_accuracy";
    CategoricalAccuracy = "categorical_accuracy";
    SparseCategoricalAccuracy = "sparse_categorical_accuracy";
    TopKCategoricalAccuracy = "top_k_categorical_accuracy";
    SparseTopKCategoricalAccuracy = "sparse_top_k_categorical_accuracy";
    Accuracy;
    MeanSquaredError = "mse" | "mean_squared_error" | "MSE";
    MeanAbsoluteError = "mae" | "mean_absolute_error" | "MAE";
    MeanAbsolutePercentageError = "mape" | "mean_absolute_percentage_error" | "MAPE";
    MeanSquaredLogarithmicError = "msle" | "mean_squared_logarithmic_error" | "MSLE";
    RootMeanSquaredError = "root_mean_squared_error" | "rmse";
    HuberError = "huber";
    LogCoshError = "log_cosh_error" | "logcosh" | "log_cosh";
    CosineSimilarity = "cosine_similarity";
    R2Score = "r2_score";
    BinaryCrossentropy = "binary_crossentropy" | "bce" | "BCE";
    CategoricalCrossentropy = "categorical_crossentropy";
    SparseCategoricalCrossentropy = "sparse_categorical_crossentropy";
    Crossentropy = "crossentropy" | "ce";
    KLDivergence = "kl_divergence" | "kld" | "KLD" | "kullback_leibler_divergence";
    Poisson = "poisson";
    Hinge = "hinge";
    SquaredHinge = "squared_hinge";
    CategoricalHinge = "categorical_hinge";
    Precision = "precision";
    Recall = "recall";
    AUC = "auc";
    TruePositives = "true_positives";
    TrueNegatives = "true_negatives";
    FalsePositives = "false_positives";
    FalseNegatives = "false_negatives";
    F1Score = "f1_score";
    FBetaScore = "f_beta_score" | "fbeta_score";
    SensitivityAtSpecificity = "sensitivity_at_specificity";
    SpecificityAtSensitivity = "specificity_at_sensitivity";
    PrecisionAtRecall = "precision_at_recall";
    RecallAtPrecision = "recall_at_precision";
    IoU = "io_u";
    BinaryIoU = "binary_io_u";
    MeanIoU = "mean_io_u";
    OneHotIoU = "one_hot_io_u";
    OneHotMeanIoU = "one_hot_mean_io_u";
    PearsonCorrelation = "pearson_correlation";
    ConcordanceCorrelation = "concordance_correlation";
    Mean = "mean";
    Sum = "sum";
}

impl Metric for Unknown {
    fn check(&self) -> Result<()> {
        Err(self.error())
    }
    fn name(&self) -> String {
        self.name.clone()
    }
    fn update(&mut self, _: &Tensor, _: &Tensor, _: Option<&Tensor>) -> Result<()> {
        Err(self.error())
    }
    fn result(&self) -> f64 {
        f64::NAN
    }
    fn reset(&mut self) {}
}

/// The metrics of a model or of one output, as `compile` takes them.
///
/// Made from one name or metric, from an array or `Vec` of either, from `()` for none, or, where the
/// kinds mix, with [`metrics!`](crate::metrics!).
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metrics(pub Vec<Box<dyn Metric>>);

impl Metrics {
    /// The name of each, numbered where one repeats: `auc`, `auc_1`.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for metric in &self.0 {
            let name = metric.name();
            let numbered = (1..).map(|n| format!("{name}_{n}"));
            let free = std::iter::once(name.clone()).chain(numbered).find(|name| !names.contains(name));
            names.extend(free);
        }
        names
    }

    /// Whether the arguments of all make sense and all names are known.
    ///
    /// # Errors
    /// What is wrong with the first that does not.
    pub fn check(&self) -> Result<()> {
        self.0.iter().try_for_each(|metric| metric.check())
    }
}

impl From<()> for Metrics {
    fn from((): ()) -> Self {
        Metrics::default()
    }
}

impl From<&str> for Metrics {
    fn from(name: &str) -> Self {
        Metrics(vec![name.into()])
    }
}

impl<T: Metric + 'static> From<T> for Metrics {
    fn from(metric: T) -> Self {
        Metrics(vec![metric.into()])
    }
}

impl From<Box<dyn Metric>> for Metrics {
    fn from(metric: Box<dyn Metric>) -> Self {
        Metrics(vec![metric])
    }
}

impl<T: Into<Box<dyn Metric>>, const N: usize> From<[T; N]> for Metrics {
    fn from(metrics: [T; N]) -> Self {
        Metrics(metrics.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Box<dyn Metric>>> From<Vec<T>> for Metrics {
    fn from(metrics: Vec<T>) -> Self {
        Metrics(metrics.into_iter().map(Into::into).collect())
    }
}

/// [`Metrics`](crate::metrics::Metrics) from names and values, mixed.
///
/// ```
/// use cornu::metrics::{AUC, Metrics};
/// let metrics: Metrics = cornu::metrics!["accuracy", AUC::new()];
/// assert_eq!(metrics.0.len(), 2);
/// ```
#[macro_export]
macro_rules! metrics {
    ($($metric:expr),* $(,)?) => {
        $crate::metrics::Metrics(::std::vec![
            $(<::std::boxed::Box<dyn $crate::metrics::Metric> as ::std::convert::From<_>>::from($metric)),*
        ])
    };
}

/// A weighted mean over samples that grows batch by batch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Running {
    total: f64,
    count: f64,
}

impl Running {
    /// Takes in the values of a batch, `(batch, …)`; each sample weighs 1 or its `sample_weight`,
    /// however many values it has.
    pub fn add(&mut self, values: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        let (total, count) = weighted(values, sample_weight)?;
        let each = (values.len() / values.batch().max(1)).max(1) as f64;
        self.total += total / each;
        self.count += count / each;
        Ok(())
    }

    /// The mean; 0 of nothing.
    pub fn mean(&self) -> f64 {
        if self.count == 0.0 { 0.0 } else { self.total / self.count }
    }
}

/// The weighted sum of the values, and the sum of the weights.
fn weighted(values: &Tensor, sample_weight: Option<&Tensor>) -> Result<(f64, f64)> {
    let Some(weights) = sample_weight else {
        return Ok((values.data().iter().map(|v| f64::from(*v)).sum(), values.len() as f64));
    };
    let weights = losses::spread("sample_weight", weights, values.shape())?;
    let pairs = values.data().iter().zip(weights.data()).filter(|(_, w)| **w != 0.0);
    Ok(pairs.fold((0.0, 0.0), |(total, count), (v, w)| (total + f64::from(*v) * f64::from(*w), count + f64::from(*w))))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// `a / b`, or 0 where `b` is.
fn over(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// A metric's struct with Keras' arguments and defaults, and a builder method for each of them.
/// Arguments in the brackets behind the class are required and go to `new`; behind
/// the name stands the type of the state.
macro_rules! metric {
    ($(#[$doc:meta])* $class:ident($($required:ident: $kind:ty = $missing:expr),*), $name:literal, $state:ty;
     $($(#[$field_doc:meta])* $field:ident $(($argument:ty))?: $type:ty = $default:expr;)*) => {
        $(#[$doc])*
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $class {
            name: String,
            $($required: $kind,)*
            $($field: $type,)*
            #[serde(skip)]
            state: $state,
        }

        impl Default for $class {
            fn default() -> Self {
                $class {
                    name: $name.to_owned(),
                    $($required: $missing,)*
                    $($field: $default,)*
                    state: Default::default(),
                }
            }
        }

        impl $class {
            /// The metric, with Keras' defaults for what is not given here.
            pub fn new($($required: impl Into<$kind>),*) -> Self {
                Self { $($required: $required.into(),)* ..Self::default() }
            }

            /// Its key in the history.
            pub fn name(mut self, name: impl Into<String>) -> Self {
                self.name = name.into();
                self
            }

            $(
                $(#[$field_doc])*
                pub fn $field(mut self, $field: $crate::metrics::metric!(@argument $type $(, $argument)?)) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
    // A builder takes the field's own type, unless another stands in brackets behind its name.
    (@argument $type:ty) => { $type };
    (@argument $type:ty, $argument:ty) => { $argument };
    // The methods of `Metric` that are the same in all.
    (@common) => {
        fn config(&self) -> $crate::error::Result<$crate::config::Config> {
            $crate::config::of(self)
        }
        fn name(&self) -> String {
            self.name.clone()
        }
        fn reset(&mut self) {
            self.state = Default::default();
        }
        $crate::metrics::metric!(@state);
    };
    (@state) => {
        fn state(&self) -> $crate::error::Result<Option<$crate::state::State>> {
            $crate::state::State::of(&self.state).map(Some)
        }
        fn restore(&mut self, state: &$crate::state::State) -> $crate::error::Result<()> {
            self.state = state.get()?;
            Ok(())
        }
    };
    // The methods of metrics that are a mean of `self.values(y_true, y_pred)`.
    (@mean) => {
        fn sees_masks(&self) -> bool {
            true
        }
        fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
            let values = self.values(y_true, y_pred)?;
            self.state.add(&values, sample_weight)
        }
        fn result(&self) -> f64 {
            self.state.mean()
        }
    };
}
use metric;

#[cfg(test)]
mod tests;
