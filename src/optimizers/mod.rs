//! How weights move along their gradients.
//!
//! An optimizer is an immutable description: its arguments, the state it wants for each weight, and
//! the formula of one update. All that is common (learning rate, clipping, weight decay, averages,
//! accumulation) stands in [`Options`], and [`OptimizerState::apply`] does it, in Keras' order.
//!
//! ```
//! use cornu::{Tensor, optimizers::{OptimizerState, Sgd, Update}};
//! let optimizer = Sgd::new(0.1).momentum(0.9).weight_decay(1e-4);
//! let mut state = OptimizerState::new(&optimizer)?;
//! let mut weight = Tensor::full([2], 1.0);
//! for _ in 0..50 {
//!     // The gradient of the sum of squares.
//!     let mut gradient: Vec<f32> = weight.data().iter().map(|w| 2.0 * w).collect();
//!     state.apply(&optimizer, &mut [Update::new("w", &mut weight, &mut gradient)])?;
//! }
//! assert!(weight.data()[0].abs() < 0.1);
//! # Ok::<(), cornu::Error>(())
//! ```

mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adamax;
mod ftrl;
mod lamb;
mod lion;
mod loss_scale_optimizer;
mod muon;
mod nadam;
mod options;
mod rmsprop;
mod schedule_free_adamw;
mod sgd;
mod state;

pub use adadelta::Adadelta;
pub use adafactor::Adafactor;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use adamax::Adamax;
pub use ftrl::Ftrl;
pub use lamb::Lamb;
pub use lion::Lion;
pub use loss_scale_optimizer::{LossScaleOptimizer, LossScaling};
pub use muon::Muon;
pub use nadam::Nadam;
pub use options::{LearningRate, Options};
pub use rmsprop::RMSprop;
pub use schedule_free_adamw::ScheduleFreeAdamW;
pub use sgd::{SGD, Sgd};
pub(crate) use state::Stored;
pub(crate) use state::takes_products;
pub use state::{OptimizerState, Update};

use crate::config::{self, Config, Shared, Unknown, family};
use crate::error::Result;
use crate::kernels::{reduce::sum_of_squares, vectorised};
use std::fmt::Debug;

/// The rule by which weights follow their gradients.
///
/// An optimizer of one's own:
///
/// ```
/// use cornu::{Result, optimizers::{Optimizer, Options, Step}};
///
/// /// Moves each weight by the learning rate, whatever the size of its gradient.
/// #[derive(Debug)]
/// struct SignSgd { options: Options }
///
/// impl Optimizer for SignSgd {
///     fn options(&self) -> &Options { &self.options }
///     fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], _: &mut [&mut [f32]]) -> Result<()> {
///         for (w, g) in weight.iter_mut().zip(gradient) {
///             *w -= step.learning_rate * g.signum();
///         }
///         Ok(())
///     }
/// }
/// let optimizer = SignSgd { options: Options::new(0.01) };
/// # let _ = optimizer;
/// ```
pub trait Optimizer: Debug + Send + Sync {
    /// The name it is saved under.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }

    /// What makes it again (Keras: `get_config`). Without it a model that uses it cannot be saved.
    ///
    /// # Errors
    /// By default: that it has none.
    fn config(&self) -> Result<Config> {
        Err(config::no_config("optimizer", self.class_name()))
    }

    /// Whether its own arguments make sense; the [`Options`] are checked apart.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The arguments that all optimizers have.
    fn options(&self) -> &Options;

    /// What it remembers of a weight of this shape. Default: nothing.
    fn slots(&self, shape: &[usize]) -> Vec<Slot> {
        let _ = shape;
        Vec::new()
    }

    /// As [`slots`](Self::slots), where it depends on the weight's path too. Default: it does not.
    fn slots_of(&self, path: &str, shape: &[usize]) -> Vec<Slot> {
        let _ = path;
        self.slots(shape)
    }

    /// The weight decay of a weight that is not excluded from it. Default: that of the [`Options`].
    fn decay(&self, path: &str, shape: &[usize]) -> Option<f64> {
        let _ = (path, shape);
        self.options().weight_decay
    }

    /// A number that it keeps for all weights together, as (name, first value). Default: none.
    fn shared(&self) -> Option<(&'static str, f32)> {
        None
    }

    /// The shared number in update `t` (the first is 1), from the one before.
    fn next_shared(&self, last: f32, t: u64) -> f32 {
        let _ = t;
        last
    }

    /// How the factor of the loss changes, if it keeps one that does (see [`LossScaleOptimizer`]): then steps whose
    /// gradients are not finite are left out. Default: none.
    fn loss_scaling(&self) -> Option<LossScaling> {
        None
    }

    /// Whether each value moves by itself, so that a large weight may be updated in pieces on several
    /// threads. It needs slots of the weight's own shape. Default false.
    fn elementwise(&self) -> bool {
        false
    }

    /// Moves one weight (or a piece of it) by one step. `slots` are those that
    /// [`slots`](Self::slots) asked for.
    ///
    /// # Errors
    /// When it cannot serve this weight.
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], slots: &mut [&mut [f32]]) -> Result<()>;
}

/// What an update knows besides its weight.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The learning rate now.
    pub learning_rate: f32,
    /// The number of this update; the first is 1.
    pub t: u64,
    /// The weight's path.
    pub path: &'a str,
    /// The shape of the whole weight.
    pub shape: &'a [usize],
    /// The number that the optimizer keeps for all weights together (1 if it keeps none).
    pub shared: f32,
}

impl Step<'_> {
    /// `base ^ t`, rounded once: the power that corrects the bias of a moving average.
    pub fn power(&self, base: f64) -> f32 {
        power(base, self.t)
    }
}

/// `base`, as the `f32` that the moving average is made with, to the `t`-th power.
fn power(base: f64, t: u64) -> f32 {
    f64::from(base as f32).powf(t as f64) as f32
}

/// Something that an optimizer remembers of each weight, such as its momentum.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Keras' name of it: "momentum".
    pub name: &'static str,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The value it starts with everywhere.
    pub first: f32,
    /// Its place in files: slots of the same block alternate from weight to weight, and the next
    /// block follows after the last weight.
    pub block: usize,
    /// Whether it starts as a copy of the weight instead.
    pub of_weight: bool,
}

impl Slot {
    /// Zeros of this shape, in the first block.
    pub fn zeros(name: &'static str, shape: &[usize]) -> Self {
        Slot { name, shape: shape.to_vec(), first: 0.0, block: 0, of_weight: false }
    }

    /// The same, starting with `first`.
    pub fn first(mut self, first: f64) -> Self {
        self.first = first as f32;
        self
    }

    /// The same, starting as a copy of the weight.
    pub fn of_weight(mut self) -> Self {
        self.of_weight = true;
        self
    }

    /// The same, in another block.
    pub fn block(mut self, block: usize) -> Self {
        self.block = block;
        self
    }
}

family! { Shared<dyn Optimizer>, "optimizer", "keras.optimizers";
    SGD = "sgd";
    RMSprop = "rmsprop" | "RMSProp";
    Adam = "adam";
    AdamW = "adamw";
    Nadam = "nadam";
    Adamax = "adamax";
    Adagrad = "adagrad";
    Adadelta = "adadelta";
    Adafactor = "adafactor";
    Ftrl = "ftrl";
    Lion = "lion";
    Lamb = "lamb";
    Muon = "muon";
    ScheduleFreeAdamW = "schedulefreeadamw";
    LossScaleOptimizer;
}

impl Optimizer for Unknown {
    fn check(&self) -> Result<()> {
        Err(self.error())
    }
    fn options(&self) -> &Options {
        static OPTIONS: Options = Options::constant(0.001);
        &OPTIONS
    }
    fn update(&self, _: &Step, _: &mut [f32], _: &[f32], _: &mut [&mut [f32]]) -> Result<()> {
        Err(self.error())
    }
}

/// The slots that an optimizer asked for, by position.
fn slots<'a, 'b, const N: usize>(slots: &'a mut [&'b mut [f32]]) -> Result<&'a mut [&'b mut [f32]; N]> {
    let found = slots.len();
    slots.try_into().map_err(|_| {
        crate::Error::State(format!("the optimizer's state has {found} slots for a weight that needs {N}"))
    })
}

/// The sum of squares of `term` over both slices, eight at a time so that it vectorises.
fn squares_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    const LANES: usize = 32;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(&a, &b)| f64::from(term(a, b)).powi(2)).sum();
    let sums = vectorised(
        #[inline(always)]
        move || {
            // Inside, so that they stand in registers.
            let mut sums = [0f64; LANES];
            for (a, b) in a.iter().zip(b) {
                for i in 0..LANES {
                    let t = f64::from(term(a[i], b[i]));
                    sums[i] += t * t;
                }
            }
            sums
        },
    );
    sums.iter().sum::<f64>() + rest
}

/// The sum of squares.
fn squares(values: &[f32]) -> f64 {
    sum_of_squares(values)
}

/// `x`, but zero where it is too small for a normal number. What decays towards zero, such as the momentum of a unit
/// that has died, would otherwise end among the subnormal numbers and stay there, since rounding keeps the smallest
/// of them; and processors need some hundred cycles for each operation on one.
#[inline(always)]
fn flush(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0 } else { x }
}

/// Checks that `value`, an argument called `name`, is from 0 to 1.
fn check_fraction(name: &str, value: f64) -> Result<()> {
    crate::error::ensure!((0.0..=1.0).contains(&value), Argument, "{name} is {value}; it must be from 0 to 1");
    Ok(())
}

/// An optimizer's struct from its own arguments and their defaults: its constructor, its builder
/// methods, those of the [`Options`] and its reading and writing in Keras' flat form.
macro_rules! optimizer {
    (
        $(#[$doc:meta])*
        $class:ident($options:expr) {
            $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(remote = "Self")]
        pub struct $class {
            #[serde(flatten)]
            options: $crate::optimizers::Options,
            $($field: $type,)*
        }

        impl Default for $class {
            fn default() -> Self {
                $class { options: $options, $($field: $default,)* }
            }
        }

        impl $class {
            /// With this learning rate, a number or a schedule, and otherwise Keras' defaults.
            pub fn new(learning_rate: impl Into<$crate::optimizers::LearningRate>) -> Self {
                $class::default().learning_rate(learning_rate)
            }

            $(
                $(#[$field_doc])*
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*

            $crate::optimizers::options::option_setters!(.options);
        }

        impl serde::Serialize for $class {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                $class::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $class {
            // Absent keys take this optimizer's defaults, among the shared arguments as well.
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                use serde::de::Error;
                let mut config = $crate::config::of(&$class::default()).map_err(D::Error::custom)?;
                config.extend($crate::config::Config::deserialize(deserializer)?);
                $class::deserialize(serde_json::Value::Object(config)).map_err(D::Error::custom)
            }
        }
    };
}
use optimizer;

#[cfg(test)]
mod tests;
