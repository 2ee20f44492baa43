//! Learning rates that change with the step.
//!
//! A schedule stands wherever an optimizer takes a learning rate:
//!
//! ```
//! use cornu::{optimizers::Sgd, schedules::ExponentialDecay};
//! let optimizer = Sgd::new(ExponentialDecay::new(0.1, 1000, 0.96).staircase(true)).momentum(0.9);
//! # let _ = optimizer;
//! ```

use crate::config::{self, Config, Shared, Unknown, family};
use crate::error::{Result, ensure};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::fmt::Debug;

/// The learning rate of each step.
///
/// A schedule of one's own:
///
/// ```
/// use cornu::{optimizers::Sgd, schedules::Schedule};
///
/// #[derive(Debug)]
/// struct Halving;
///
/// impl Schedule for Halving {
///     fn rate(&self, step: u64) -> f64 { 0.1 / 2f64.powf(step as f64 / 100.0) }
/// }
/// let optimizer = Sgd::new(Halving);
/// # let _ = optimizer;
/// ```
pub trait Schedule: Debug + Send + Sync {
    /// The name it is saved under.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }

    /// What makes it again (Keras: `get_config`). Without it a model that uses it cannot be saved.
    ///
    /// # Errors
    /// By default: that it has none.
    fn config(&self) -> Result<Config> {
        Err(config::no_config("learning rate schedule", self.class_name()))
    }

    /// Whether its arguments make sense.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The learning rate of a step, the first of which is 0. With gradient accumulation every batch
    /// counts as a step here, as in Keras.
    fn rate(&self, step: u64) -> f64;
}

family! { Shared<dyn Schedule>, "learning rate schedule", "keras.optimizers.schedules";
    ExponentialDecay;
    PiecewiseConstantDecay;
    PolynomialDecay;
    InverseTimeDecay;
    CosineDecay;
    CosineDecayRestarts;
}

impl Schedule for Unknown {
    fn check(&self) -> Result<()> {
        Err(self.error())
    }
    fn rate(&self, _: u64) -> f64 {
        f64::NAN
    }
}

/// The arguments that most schedules begin with must be a rate and a length.
fn check_start(initial_learning_rate: f64, name: &str, steps: f64) -> Result<()> {
    config::check_non_negative("initial_learning_rate", initial_learning_rate)?;
    ensure!(steps.is_finite() && steps > 0.0, Argument, "{name} is {steps}; it must be a number above 0");
    Ok(())
}

/// How many decays there have been: a fraction, or whole ones if the rate falls in stairs.
fn decays(step: u64, decay_steps: f64, staircase: bool) -> f64 {
    let decays = step as f64 / decay_steps;
    if staircase { decays.floor() } else { decays }
}

/// Half a wave of the cosine, from 1 at `fraction` 0 to 0 at 1.
fn cosine(fraction: f64) -> f64 {
    0.5 * (1.0 + (PI * fraction).cos())
}

/// `initial_learning_rate * decay_rate ^ (step / decay_steps)`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExponentialDecay {
    initial_learning_rate: f64,
    decay_steps: f64,
    decay_rate: f64,
    #[serde(default)]
    staircase: bool,
}

impl ExponentialDecay {
    /// Multiplies the rate by `decay_rate` over each `decay_steps` steps.
    pub fn new(initial_learning_rate: f64, decay_steps: u64, decay_rate: f64) -> Self {
        ExponentialDecay { initial_learning_rate, decay_steps: decay_steps as f64, decay_rate, staircase: false }
    }

    /// Whether the rate falls at once after each `decay_steps` steps instead of with every step.
    /// Default false.
    pub fn staircase(mut self, staircase: bool) -> Self {
        self.staircase = staircase;
        self
    }
}

impl Schedule for ExponentialDecay {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        check_start(self.initial_learning_rate, "decay_steps", self.decay_steps)?;
        config::check_non_negative("decay_rate", self.decay_rate)
    }
    fn rate(&self, step: u64) -> f64 {
        self.initial_learning_rate * self.decay_rate.powf(decays(step, self.decay_steps, self.staircase))
    }
}

/// One value up to and with each boundary, the next after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PiecewiseConstantDecay {
    boundaries: Vec<f64>,
    values: Vec<f64>,
}

impl PiecewiseConstantDecay {
    /// `values[i]` while `step <= boundaries[i]`, the last value after the last boundary.
    ///
    /// ```
    /// use cornu::schedules::{PiecewiseConstantDecay, Schedule};
    /// let schedule = PiecewiseConstantDecay::new([1000, 2000], [0.1, 0.01, 0.001]);
    /// assert_eq!([1000, 1001, 5000].map(|step| schedule.rate(step)), [0.1, 0.01, 0.001]);
    /// ```
    pub fn new(boundaries: impl AsRef<[u64]>, values: impl Into<Vec<f64>>) -> Self {
        PiecewiseConstantDecay {
            boundaries: boundaries.as_ref().iter().map(|&b| b as f64).collect(),
            values: values.into(),
        }
    }
}

impl Schedule for PiecewiseConstantDecay {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        let (boundaries, values) = (&self.boundaries, &self.values);
        ensure!(
            boundaries.len() + 1 == values.len(),
            Argument,
            "PiecewiseConstantDecay has {} boundaries and {} values; it needs one more value than boundaries",
            boundaries.len(),
            values.len()
        );
        ensure!(
            boundaries.is_sorted_by(|a, b| a < b),
            Argument,
            "the boundaries {boundaries:?} of PiecewiseConstantDecay must rise"
        );
        values.iter().try_for_each(|&value| config::check_non_negative("a value of PiecewiseConstantDecay", value))
    }
    fn rate(&self, step: u64) -> f64 {
        let passed = self.boundaries.iter().filter(|&&boundary| step as f64 > boundary).count();
        self.values.get(passed).copied().unwrap_or(f64::NAN)
    }
}

/// From the initial to the end rate along `(1 - step / decay_steps) ^ power`, and constant then.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolynomialDecay {
    initial_learning_rate: f64,
    decay_steps: f64,
    #[serde(default = "end_learning_rate")]
    end_learning_rate: f64,
    #[serde(default = "one")]
    power: f64,
    #[serde(default)]
    cycle: bool,
}

fn end_learning_rate() -> f64 {
    0.0001
}
fn one() -> f64 {
    1.0
}
fn two() -> f64 {
    2.0
}

impl PolynomialDecay {
    /// Falls to 0.0001 in a straight line within `decay_steps` steps.
    pub fn new(initial_learning_rate: f64, decay_steps: u64) -> Self {
        PolynomialDecay {
            initial_learning_rate,
            decay_steps: decay_steps as f64,
            end_learning_rate: end_learning_rate(),
            power: one(),
            cycle: false,
        }
    }

    /// The rate at the end. Default 0.0001.
    pub fn end_learning_rate(mut self, end_learning_rate: f64) -> Self {
        self.end_learning_rate = end_learning_rate;
        self
    }

    /// The exponent. Default 1: a straight line.
    pub fn power(mut self, power: f64) -> Self {
        self.power = power;
        self
    }

    /// Whether the rate rises again after `decay_steps` steps and falls over a longer stretch each
    /// time. Default false.
    pub fn cycle(mut self, cycle: bool) -> Self {
        self.cycle = cycle;
        self
    }
}

impl Schedule for PolynomialDecay {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        check_start(self.initial_learning_rate, "decay_steps", self.decay_steps)?;
        config::check_non_negative("end_learning_rate", self.end_learning_rate)?;
        config::check_non_negative("power", self.power)
    }
    fn rate(&self, step: u64) -> f64 {
        let step = step as f64;
        let fraction = if self.cycle {
            step / (self.decay_steps * (step / self.decay_steps).ceil().max(1.0))
        } else {
            (step / self.decay_steps).min(1.0)
        };
        (self.initial_learning_rate - self.end_learning_rate) * (1.0 - fraction).powf(self.power)
            + self.end_learning_rate
    }
}

/// `initial_learning_rate / (1 + decay_rate * step / decay_steps)`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InverseTimeDecay {
    initial_learning_rate: f64,
    decay_steps: f64,
    decay_rate: f64,
    #[serde(default)]
    staircase: bool,
}

impl InverseTimeDecay {
    /// Divides the rate by `1 + decay_rate` within the first `decay_steps` steps, and ever slower then.
    pub fn new(initial_learning_rate: f64, decay_steps: u64, decay_rate: f64) -> Self {
        InverseTimeDecay { initial_learning_rate, decay_steps: decay_steps as f64, decay_rate, staircase: false }
    }

    /// Whether the rate falls at once after each `decay_steps` steps instead of with every step.
    /// Default false.
    pub fn staircase(mut self, staircase: bool) -> Self {
        self.staircase = staircase;
        self
    }
}

impl Schedule for InverseTimeDecay {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        check_start(self.initial_learning_rate, "decay_steps", self.decay_steps)?;
        config::check_non_negative("decay_rate", self.decay_rate)
    }
    fn rate(&self, step: u64) -> f64 {
        self.initial_learning_rate / (1.0 + self.decay_rate * decays(step, self.decay_steps, self.staircase))
    }
}

/// Half a cosine wave down, after a straight line up if there is a warm-up
/// (Loshchilov and Hutter, "SGDR", <https://arxiv.org/abs/1608.03983>).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CosineDecay {
    initial_learning_rate: f64,
    decay_steps: f64,
    #[serde(default)]
    alpha: f64,
    #[serde(default)]
    warmup_target: Option<f64>,
    #[serde(default)]
    warmup_steps: f64,
}

impl CosineDecay {
    /// Falls to 0 within `decay_steps` steps (counted from the end of the warm-up, if there is one).
    pub fn new(initial_learning_rate: f64, decay_steps: u64) -> Self {
        CosineDecay {
            initial_learning_rate,
            decay_steps: decay_steps as f64,
            alpha: 0.0,
            warmup_target: None,
            warmup_steps: 0.0,
        }
    }

    /// The rate at the end, as a fraction of the highest. Default 0.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Rises from the initial rate to `target` over the first `steps` steps, and falls from there.
    /// Default: no warm-up.
    pub fn warmup(mut self, target: f64, steps: u64) -> Self {
        self.warmup_target = Some(target);
        self.warmup_steps = steps as f64;
        self
    }
}

impl Schedule for CosineDecay {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        check_start(self.initial_learning_rate, "decay_steps", self.decay_steps)?;
        config::check_non_negative("alpha", self.alpha)?;
        config::check_non_negative("warmup_target", self.warmup_target.unwrap_or(0.0))?;
        config::check_non_negative("warmup_steps", self.warmup_steps)
    }
    fn rate(&self, step: u64) -> f64 {
        let step = step as f64;
        let (step, highest) = match self.warmup_target {
            None => (step, self.initial_learning_rate),
            Some(target) if step < self.warmup_steps => {
                let rise = target - self.initial_learning_rate;
                return self.initial_learning_rate + rise * step / self.warmup_steps;
            }
            Some(target) => (step - self.warmup_steps, target),
        };
        let fraction = (step / self.decay_steps).min(1.0);
        highest * ((1.0 - self.alpha) * cosine(fraction) + self.alpha)
    }
}

/// Cosine waves down, one after another, each `t_mul` times as long and `m_mul` times as high as the
/// one before (Loshchilov and Hutter, "SGDR", <https://arxiv.org/abs/1608.03983>).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CosineDecayRestarts {
    initial_learning_rate: f64,
    first_decay_steps: f64,
    #[serde(default = "two")]
    t_mul: f64,
    #[serde(default = "one")]
    m_mul: f64,
    #[serde(default)]
    alpha: f64,
}

impl CosineDecayRestarts {
    /// The first wave falls to 0 within `first_decay_steps` steps.
    pub fn new(initial_learning_rate: f64, first_decay_steps: u64) -> Self {
        CosineDecayRestarts {
            initial_learning_rate,
            first_decay_steps: first_decay_steps as f64,
            t_mul: two(),
            m_mul: one(),
            alpha: 0.0,
        }
    }

    /// How much longer each wave is than the last. Default 2.
    pub fn t_mul(mut self, t_mul: f64) -> Self {
        self.t_mul = t_mul;
        self
    }

    /// How much higher each wave starts than the last. Default 1.
    pub fn m_mul(mut self, m_mul: f64) -> Self {
        self.m_mul = m_mul;
        self
    }

    /// The lowest rate, as a fraction of the initial one. Default 0.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }
}

impl Schedule for CosineDecayRestarts {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        check_start(self.initial_learning_rate, "first_decay_steps", self.first_decay_steps)?;
        ensure!(
            self.t_mul.is_finite() && self.t_mul >= 1.0,
            Argument,
            "t_mul is {}; it must be at least 1, or the waves would end",
            self.t_mul
        );
        config::check_non_negative("m_mul", self.m_mul)?;
        config::check_non_negative("alpha", self.alpha)
    }
    fn rate(&self, step: u64) -> f64 {
        let waves = step as f64 / self.first_decay_steps;
        let (restarts, fraction) = if self.t_mul == 1.0 {
            (waves.floor(), waves - waves.floor())
        } else {
            // Wave i begins at (t^i - 1) / (t - 1) first waves and is t^i of them long.
            let start = |i: f64| (self.t_mul.powf(i) - 1.0) / (self.t_mul - 1.0);
            let mut i = (1.0 + waves * (self.t_mul - 1.0)).log(self.t_mul).floor();
            // The logarithm may fall a hair short of the whole number where a wave begins.
            if start(i + 1.0) <= waves {
                i += 1.0;
            }
            (i, (waves - start(i)) / self.t_mul.powf(i))
        };
        let height = self.m_mul.powf(restarts) * cosine(fraction);
        self.initial_learning_rate * ((1.0 - self.alpha) * height + self.alpha)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the rates at some steps with Keras 3.15.1, also after a trip through the config.
    #[track_caller]
    fn golden(schedule: impl Into<Shared<dyn Schedule>>, expected: [f64; 11]) {
        let schedule = schedule.into();
        schedule.check().unwrap();
        let text = serde_json::to_string(&schedule).unwrap();
        let back: Shared<dyn Schedule> = serde_json::from_str(&text).unwrap();
        for (step, expected) in [0, 1, 2, 3, 4, 5, 6, 7, 9, 13, 21].into_iter().zip(expected) {
            let rate = schedule.rate(step);
            assert!((rate - expected).abs() < 1e-7, "{text}: {rate} is not {expected} at step {step}");
            assert_eq!(back.rate(step), rate);
        }
    }

    #[test]
    fn rates_are_those_of_keras() {
        golden(
            ExponentialDecay::new(0.2, 3, 0.5),
            [0.2, 0.1587401, 0.1259921, 0.1, 0.07937005, 0.06299605, 0.05, 0.03968503, 0.025, 0.0099212555, 0.0015625],
        );
        golden(
            ExponentialDecay::new(0.2, 3, 0.5).staircase(true),
            [0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.0125, 0.0015625],
        );
        golden(
            PiecewiseConstantDecay::new([2, 5], [0.2, 0.1, 0.02]),
            [0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.02, 0.02, 0.02, 0.02, 0.02],
        );
        golden(
            PolynomialDecay::new(0.2, 6).end_learning_rate(0.01).power(2.0),
            [0.2, 0.14194444, 0.09444443, 0.057499997, 0.031111108, 0.015277779, 0.01, 0.01, 0.01, 0.01, 0.01],
        );
        golden(
            PolynomialDecay::new(0.2, 4).end_learning_rate(0.01).cycle(true),
            [
                0.2,
                0.1525,
                0.105,
                0.057499997,
                0.01,
                0.08125,
                0.057499997,
                0.033749998,
                0.057499997,
                0.045625,
                0.033749998,
            ],
        );
        golden(
            InverseTimeDecay::new(0.2, 2, 0.5),
            [0.2, 0.16, 0.13333334, 0.114285715, 0.1, 0.08888889, 0.08, 0.07272727, 0.06153846, 0.047058824, 0.032],
        );
        golden(
            InverseTimeDecay::new(0.2, 2, 0.5).staircase(true),
            [0.2, 0.2, 0.13333334, 0.13333334, 0.1, 0.1, 0.08, 0.08, 0.06666667, 0.05, 0.033333335],
        );
        golden(
            CosineDecay::new(0.2, 6).alpha(0.1),
            [
                0.2,
                0.1879423,
                0.155,
                0.10999999,
                0.06499999,
                0.032057714,
                0.020000001,
                0.020000001,
                0.020000001,
                0.020000001,
                0.020000001,
            ],
        );
        golden(
            CosineDecay::new(0.0, 6).alpha(0.1).warmup(0.3, 3),
            [
                0.0,
                0.10000001,
                0.20000002,
                0.3,
                0.28191346,
                0.2325,
                0.16499999,
                0.09749999,
                0.030000001,
                0.030000001,
                0.030000001,
            ],
        );
        golden(
            CosineDecayRestarts::new(0.2, 3).m_mul(0.5).alpha(0.1),
            [0.2, 0.155, 0.06499999, 0.11000001, 0.103971146, 0.0875, 0.065, 0.042500008, 0.065, 0.053749997, 0.0425],
        );
        golden(
            CosineDecayRestarts::new(0.2, 3).t_mul(1.0).m_mul(0.8),
            [
                0.2,
                0.15,
                0.049999993,
                0.16000001,
                0.12,
                0.04000001,
                0.128,
                0.09600002,
                0.102400005,
                0.061439987,
                0.041943043,
            ],
        );
    }

    #[test]
    fn waves_restart_on_time_at_any_length() {
        for t_mul in [1.1, 1.5, 2.0, 3.0] {
            let schedule = CosineDecayRestarts::new(1.0, 1000).t_mul(t_mul);
            assert_eq!(schedule.rate(1000), 1.0, "t_mul {t_mul}");
            assert!(schedule.rate(999) < 1e-5);
        }
    }

    #[test]
    fn files_of_keras_are_read() {
        let text = r#"{"module": "keras.optimizers.schedules", "class_name": "CosineDecay", "config":
            {"initial_learning_rate": 0.2, "decay_steps": 6, "alpha": 0.1, "name": "CosineDecay",
            "warmup_target": null, "warmup_steps": 0}, "registered_name": null}"#;
        let schedule: Shared<dyn Schedule> = serde_json::from_str(text).unwrap();
        assert!((schedule.rate(3) - 0.11).abs() < 1e-12);
        let error = serde_json::from_str::<Shared<dyn Schedule>>(r#"{"class_name": "CosineDecay", "config": {}}"#);
        assert!(error.unwrap_err().to_string().contains("initial_learning_rate"));
    }

    #[test]
    fn wrong_arguments_are_named() {
        let error = |schedule: Shared<dyn Schedule>| schedule.check().unwrap_err().to_string();
        assert!(error(ExponentialDecay::new(-0.1, 3, 0.5).into()).contains("initial_learning_rate is -0.1"));
        assert!(error(InverseTimeDecay::new(0.1, 0, 0.5).into()).contains("decay_steps is 0"));
        assert!(error(CosineDecayRestarts::new(0.1, 0).into()).contains("first_decay_steps is 0"));
        assert!(error(CosineDecayRestarts::new(0.1, 3).t_mul(0.5).into()).contains("t_mul is 0.5"));
        assert!(error(PiecewiseConstantDecay::new([1, 2], [0.1]).into()).contains("2 boundaries and 1 values"));
        assert!(error(PiecewiseConstantDecay::new([2, 1], [0.1, 0.2, 0.3]).into()).contains("must rise"));
        assert!(error(PolynomialDecay::new(0.1, 3).power(-1.0).into()).contains("power is -1"));
        assert!(error("CosineDecya".into()).contains("CosineDecay"));
    }
}
