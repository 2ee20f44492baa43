//! Adagrad.

use super::{Optimizer, Options, Slot, Step, optimizer, slots};
use crate::config::{self, Config};
use crate::error::Result;
use crate::kernels::vectorised;

optimizer! {
    /// Gradient descent whose step is divided by the root of the sum of all squared gradients so far
    /// (Duchi et al., <https://jmlr.org/papers/v12/duchi11a.html>):
    /// `a += g^2; w -= learning_rate * g / sqrt(a + epsilon)`.
    Adagrad(Options::new(0.001)) {
        /// What the sum of squares starts with. Default 0.1.
        initial_accumulator_value: f64 = 0.1,
        /// Keeps the divisor from zero. Default 1e-7.
        epsilon: f64 = 1e-7,
    }
}

impl Optimizer for Adagrad {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        config::check_non_negative("initial_accumulator_value", self.initial_accumulator_value)?;
        config::check_non_negative("epsilon", self.epsilon)
    }
    fn elementwise(&self) -> bool {
        true
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn slots(&self, shape: &[usize]) -> Vec<Slot> {
        vec![Slot::zeros("accumulator", shape).first(self.initial_accumulator_value)]
    }
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], state: &mut [&mut [f32]]) -> Result<()> {
        let (rate, epsilon) = (step.learning_rate, self.epsilon as f32);
        let [sum] = slots(state)?;
        vectorised(
            #[inline(always)]
            move || {
                weight.iter_mut().zip(gradient).zip(sum.iter_mut()).for_each(|((w, g), sum)| {
                    *sum += g * g;
                    *w -= rate * g / (*sum + epsilon).sqrt();
                });
            },
        );
        Ok(())
    }
}
