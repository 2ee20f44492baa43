//! The arguments that all optimizers have.

use super::check_fraction;
use crate::config::{self, Shared};
use crate::error::{Result, ensure};
use crate::schedules::Schedule;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A learning rate: a number, or a schedule that gives one for each step.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum LearningRate {
    /// The same for all steps, until someone changes it.
    Constant(f64),
    /// One for each step.
    Schedule(Shared<dyn Schedule>),
}

impl<'de> Deserialize<'de> for LearningRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Number(rate) => Ok(LearningRate::Constant(rate.as_f64().unwrap_or(f64::NAN))),
            schedule => {
                Shared::<dyn Schedule>::deserialize(schedule).map(LearningRate::Schedule).map_err(D::Error::custom)
            }
        }
    }
}

impl From<f64> for LearningRate {
    fn from(rate: f64) -> Self {
        LearningRate::Constant(rate)
    }
}

impl From<f32> for LearningRate {
    fn from(rate: f32) -> Self {
        LearningRate::Constant(rate.into())
    }
}

impl From<Shared<dyn Schedule>> for LearningRate {
    fn from(schedule: Shared<dyn Schedule>) -> Self {
        LearningRate::Schedule(schedule)
    }
}

impl<S: Schedule + 'static> From<S> for LearningRate {
    fn from(schedule: S) -> Self {
        LearningRate::Schedule(schedule.into())
    }
}

/// The arguments that all optimizers have, with Keras' names and defaults. Every built-in optimizer
/// has the same builder methods; an optimizer of one's own keeps them in a field, with
/// `#[serde(flatten)]` if it can be saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    pub(crate) name: Option<String>,
    pub(crate) learning_rate: LearningRate,
    pub(crate) weight_decay: Option<f64>,
    pub(crate) clipnorm: Option<f64>,
    pub(crate) global_clipnorm: Option<f64>,
    pub(crate) clipvalue: Option<f64>,
    pub(crate) use_ema: bool,
    pub(crate) ema_momentum: f64,
    pub(crate) ema_overwrite_frequency: Option<u64>,
    pub(crate) loss_scale_factor: Option<f64>,
    pub(crate) gradient_accumulation_steps: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) exclude_from_weight_decay: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options::constant(0.001)
    }
}

/// Builder methods for the shared arguments: `option_setters!(.options)` where they are a field.
macro_rules! option_setters {
    ($($options:tt)*) => {
        /// The learning rate: a number or a schedule.
        pub fn learning_rate(mut self, learning_rate: impl Into<$crate::optimizers::LearningRate>) -> Self {
            self$($options)*.learning_rate = learning_rate.into();
            self
        }

        /// Takes `learning_rate * weight_decay` of every weight away before each update, apart from
        /// its gradient ("decoupled"). Default: none (AdamW: 0.004).
        pub fn weight_decay(mut self, weight_decay: f64) -> Self {
            self$($options)*.weight_decay = Some(weight_decay);
            self
        }

        /// No decay for weights whose name (the last part of the path, such as `"bias"`) contains one
        /// of these. Default: all decay. Keras' files have no place for it; `.cornu` files keep it.
        pub fn exclude_from_weight_decay<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
            self$($options)*.exclude_from_weight_decay = names.into_iter().map(Into::into).collect();
            self
        }

        /// Shortens the gradient of each weight to this norm if it is longer. Default: none.
        pub fn clipnorm(mut self, clipnorm: f64) -> Self {
            self$($options)*.clipnorm = Some(clipnorm);
            self
        }

        /// Shortens the gradient of all weights together to this norm if it is longer. Default: none.
        pub fn global_clipnorm(mut self, global_clipnorm: f64) -> Self {
            self$($options)*.global_clipnorm = Some(global_clipnorm);
            self
        }

        /// Cuts each value of the gradient to the range from minus this to this. Default: none.
        pub fn clipvalue(mut self, clipvalue: f64) -> Self {
            self$($options)*.clipvalue = Some(clipvalue);
            self
        }

        /// Keeps an exponential moving average of every weight, which takes the weight's place when
        /// training ends. Default false.
        pub fn use_ema(mut self, use_ema: bool) -> Self {
            self$($options)*.use_ema = use_ema;
            self
        }

        /// How much of the average is kept in each step: 0 to 1. Default 0.99.
        pub fn ema_momentum(mut self, ema_momentum: f64) -> Self {
            self$($options)*.ema_momentum = ema_momentum;
            self
        }

        /// Writes the average over the weights every so many steps. Default: only when training ends.
        pub fn ema_overwrite_frequency(mut self, steps: u64) -> Self {
            self$($options)*.ema_overwrite_frequency = Some(steps);
            self
        }

        /// What the loss was multiplied by before its gradient was taken; gradients are divided by it.
        /// Default: nothing.
        pub fn loss_scale_factor(mut self, loss_scale_factor: f64) -> Self {
            self$($options)*.loss_scale_factor = Some(loss_scale_factor);
            self
        }

        /// Updates once every so many batches, with the mean of their gradients. At least 2.
        /// Default: an update for each batch.
        pub fn gradient_accumulation_steps(mut self, steps: u64) -> Self {
            self$($options)*.gradient_accumulation_steps = Some(steps);
            self
        }

        /// The optimizer's name in files. Default: none.
        pub fn name(mut self, name: impl Into<String>) -> Self {
            self$($options)*.name = Some(name.into());
            self
        }
    };
}
pub(super) use option_setters;

impl Options {
    /// A learning rate, a number or a schedule, and Keras' defaults for the rest.
    pub fn new(learning_rate: impl Into<LearningRate>) -> Self {
        Options { learning_rate: learning_rate.into(), ..Options::default() }
    }

    option_setters!();

    pub(super) const fn constant(learning_rate: f64) -> Self {
        Options {
            name: None,
            learning_rate: LearningRate::Constant(learning_rate),
            weight_decay: None,
            clipnorm: None,
            global_clipnorm: None,
            clipvalue: None,
            use_ema: false,
            ema_momentum: 0.99,
            ema_overwrite_frequency: None,
            loss_scale_factor: None,
            gradient_accumulation_steps: None,
            exclude_from_weight_decay: Vec::new(),
        }
    }

    /// Whether the arguments make sense.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<()> {
        match &self.learning_rate {
            LearningRate::Constant(rate) => config::check_non_negative("learning_rate", *rate)?,
            LearningRate::Schedule(schedule) => schedule.check()?,
        }
        let clips =
            [("clipnorm", self.clipnorm), ("global_clipnorm", self.global_clipnorm), ("clipvalue", self.clipvalue)];
        for (name, value) in clips.into_iter().chain([("weight_decay", self.weight_decay)]) {
            config::check_non_negative(name, value.unwrap_or(0.0))?;
        }
        let set: Vec<&str> = clips.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| *name).collect();
        ensure!(set.len() <= 1, Argument, "{} are set together; choose one way to clip gradients", set.join(" and "));
        check_fraction("ema_momentum", self.ema_momentum)?;
        ensure!(
            self.ema_overwrite_frequency != Some(0),
            Argument,
            "ema_overwrite_frequency is 0; it must be at least 1, or left out"
        );
        ensure!(
            self.gradient_accumulation_steps.is_none_or(|steps| steps >= 2),
            Argument,
            "gradient_accumulation_steps is {}; it must be at least 2, or left out",
            self.gradient_accumulation_steps.unwrap_or(0)
        );
        let scale = self.loss_scale_factor.unwrap_or(1.0);
        ensure!(
            scale.is_finite() && scale > 0.0,
            Argument,
            "loss_scale_factor is {scale}; it must be a number above 0"
        );
        Ok(())
    }

    /// The decay of a weight, if it has one.
    pub(super) fn decays(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        !self.exclude_from_weight_decay.iter().any(|part| name.contains(part.as_str()))
    }
}
