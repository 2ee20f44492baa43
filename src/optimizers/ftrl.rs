//! Ftrl.

use super::{Optimizer, Options, Slot, Step, optimizer, slots};
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::kernels::vectorised;

optimizer! {
    /// "Follow the regularized leader", for large sparse linear models: weights of no use become
    /// exactly zero (McMahan et al., <https://research.google.com/pubs/archive/41159.pdf>, algorithm 1).
    ///
    /// With `p = -learning_rate_power`, `n = a + g^2`, `g' = g + 2 * l2_shrinkage * w`:
    /// `z += g' - (n^p - a^p) / learning_rate * w; a = n;
    /// w = (clip(z, -l1, l1) - z) / ((n^p + beta) / learning_rate + 2 * l2)`.
    Ftrl(Options::new(0.001)) {
        /// How the learning rate falls: 0 keeps it, -0.5 goes with the root of the sum of squares.
        /// Default -0.5.
        learning_rate_power: f64 = -0.5,
        /// What the sum of squares starts with. Default 0.1.
        initial_accumulator_value: f64 = 0.1,
        /// The penalty on absolute values. Default 0.
        l1_regularization_strength: f64 = 0.0,
        /// The penalty on squares. Default 0.
        l2_regularization_strength: f64 = 0.0,
        /// A penalty on squares that acts through the gradient alone. Default 0.
        l2_shrinkage_regularization_strength: f64 = 0.0,
        /// The paper's beta. Default 0.
        beta: f64 = 0.0,
    }
}

impl Ftrl {
    /// The update, with `power` the function that raises to minus the learning rate's power.
    fn step(
        &self,
        rate: f32,
        power: impl Fn(f32) -> f32,
        weight: &mut [f32],
        gradient: &[f32],
        state: &mut [&mut [f32]],
    ) -> Result<()> {
        let l1 = self.l1_regularization_strength as f32;
        let l2 = self.l2_regularization_strength as f32 + self.beta as f32 / (2.0 * rate);
        let shrinkage = 2.0 * self.l2_shrinkage_regularization_strength as f32;
        let [sum, linear] = slots(state)?;
        let state = sum.iter_mut().zip(linear.iter_mut());
        vectorised(
            #[inline(always)]
            move || {
                weight.iter_mut().zip(gradient).zip(state).for_each(|((w, g), (sum, z))| {
                    let new = *sum + g * g;
                    *z += g + shrinkage * *w - (power(new) - power(*sum)) / rate * *w;
                    *w = (z.max(-l1).min(l1) - *z) / (power(new) / rate + 2.0 * l2);
                    *sum = new;
                });
            },
        );
        Ok(())
    }
}

impl Optimizer for Ftrl {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        let power = self.learning_rate_power;
        ensure!(
            power.is_finite() && power <= 0.0,
            Argument,
            "learning_rate_power is {power}; it must be zero or negative"
        );
        for (name, value) in [
            ("initial_accumulator_value", self.initial_accumulator_value),
            ("l1_regularization_strength", self.l1_regularization_strength),
            ("l2_regularization_strength", self.l2_regularization_strength),
            ("l2_shrinkage_regularization_strength", self.l2_shrinkage_regularization_strength),
            ("beta", self.beta),
        ] {
            config::check_non_negative(name, value)?;
        }
        Ok(())
    }
    fn elementwise(&self) -> bool {
        true
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn slots(&self, shape: &[usize]) -> Vec<Slot> {
        vec![Slot::zeros("accumulator", shape).first(self.initial_accumulator_value), Slot::zeros("linear", shape)]
    }
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], state: &mut [&mut [f32]]) -> Result<()> {
        let rate = step.learning_rate;
        if rate == 0.0 {
            // The formula divides by it.
            return Ok(());
        }
        match -self.learning_rate_power as f32 {
            0.5 => self.step(rate, f32::sqrt, weight, gradient, state),
            exponent => self.step(rate, |v| v.powf(exponent), weight, gradient, state),
        }
    }
}
