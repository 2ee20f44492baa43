//! LossScaleOptimizer.

use super::{Optimizer, Options, Slot, Step};
use crate::config::{self, Config, Shared};
use crate::error::{Result, ensure};
use serde::{Deserialize, Serialize};

/// Steps as another optimizer, but leaves a step out when a gradient is not finite, and keeps the factor by which
/// Keras multiplies the loss of models in half precision.
///
/// The factor is halved by a step that is left out, and doubled after every `dynamic_growth_steps` steps in a row that
/// were not. Here all numbers have 32 bits, so training does not multiply the loss: a step is left out when a gradient
/// *times the factor* is not finite, as it would be in Keras, and gradients need no division. Gradients that are given
/// to [`OptimizerState::apply`](super::OptimizerState::apply) by hand are those of the loss times
/// [`OptimizerState::loss_scale`](super::OptimizerState::loss_scale), as for Keras' `apply`.
///
/// All arguments that optimizers have in common, the learning rate among them, are those of the inner optimizer; its
/// own `loss_scale_factor` does not count. Keras puts this one around the optimizer of a model whose policy is
/// `mixed_float16`, which is how most files come to have it.
///
/// ```
/// use cornu::prelude::*;
///
/// let mut model = Sequential::new();
/// model.add(Input::new([4])).add(Dense::new(1));
/// model.compile(LossScaleOptimizer::new(Adam::new(0.01)).initial_scale(1024.0), "mse", ())?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LossScaleOptimizer {
    #[serde(default)]
    name: Option<String>,
    inner_optimizer: Shared<dyn Optimizer>,
    #[serde(default = "initial_scale")]
    initial_scale: f64,
    #[serde(default = "growth_steps")]
    dynamic_growth_steps: u64,
}

fn initial_scale() -> f64 {
    32768.0
}

fn growth_steps() -> u64 {
    2000
}

impl LossScaleOptimizer {
    /// Around this optimizer, given by name or by value.
    pub fn new(inner_optimizer: impl Into<Shared<dyn Optimizer>>) -> Self {
        LossScaleOptimizer {
            name: None,
            inner_optimizer: inner_optimizer.into(),
            initial_scale: initial_scale(),
            dynamic_growth_steps: growth_steps(),
        }
    }

    /// The factor of the loss at first, above 0. Default 32768.
    pub fn initial_scale(mut self, initial_scale: f64) -> Self {
        self.initial_scale = initial_scale;
        self
    }

    /// After how many steps in a row with finite gradients the factor is doubled. Default 2000.
    pub fn dynamic_growth_steps(mut self, steps: u64) -> Self {
        self.dynamic_growth_steps = steps;
        self
    }

    /// The optimizer's name in files. Default: none.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl Optimizer for LossScaleOptimizer {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        ensure!(
            self.initial_scale.is_finite() && self.initial_scale > 0.0,
            Argument,
            "initial_scale is {}; it must be a number above 0",
            self.initial_scale
        );
        // Variables are of 32 bits: up to here they count without a gap.
        ensure!(
            (1..=1 << 24).contains(&self.dynamic_growth_steps),
            Argument,
            "dynamic_growth_steps is {}; it must be from 1 to 16777216",
            self.dynamic_growth_steps
        );
        ensure!(
            self.inner_optimizer.loss_scaling().is_none(),
            Argument,
            "the inner optimizer is a LossScaleOptimizer itself"
        );
        self.inner_optimizer.check()
    }
    fn loss_scaling(&self) -> Option<LossScaling> {
        Some(LossScaling { initial_scale: self.initial_scale, dynamic_growth_steps: self.dynamic_growth_steps })
    }
    fn options(&self) -> &Options {
        self.inner_optimizer.options()
    }
    fn slots(&self, shape: &[usize]) -> Vec<Slot> {
        self.inner_optimizer.slots(shape)
    }
    fn slots_of(&self, path: &str, shape: &[usize]) -> Vec<Slot> {
        self.inner_optimizer.slots_of(path, shape)
    }
    fn decay(&self, path: &str, shape: &[usize]) -> Option<f64> {
        self.inner_optimizer.decay(path, shape)
    }
    fn shared(&self) -> Option<(&'static str, f32)> {
        self.inner_optimizer.shared()
    }
    fn next_shared(&self, last: f32, t: u64) -> f32 {
        self.inner_optimizer.next_shared(last, t)
    }
    fn elementwise(&self) -> bool {
        self.inner_optimizer.elementwise()
    }
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], slots: &mut [&mut [f32]]) -> Result<()> {
        self.inner_optimizer.update(step, weight, gradient, slots)
    }
}

/// How the factor of the loss changes: the arguments of a [`LossScaleOptimizer`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScaling {
    /// The factor at first.
    pub initial_scale: f64,
    /// After how many steps in a row with finite gradients it is doubled.
    pub dynamic_growth_steps: u64,
}
