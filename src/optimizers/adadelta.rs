//! Adadelta.

use super::{Optimizer, Options, Slot, Step, check_fraction, flush, optimizer, slots};
use crate::config::{self, Config};
use crate::error::Result;
use crate::kernels::vectorised;

optimizer! {
    /// Steps in the ratio of the mean squared step to the mean squared gradient
    /// (Zeiler, <https://arxiv.org/abs/1212.5701>, where the learning rate is 1).
    ///
    /// `a = rho * a + (1 - rho) * g^2; d = sqrt(b + epsilon) / sqrt(a + epsilon) * g;
    /// b = rho * b + (1 - rho) * d^2; w -= learning_rate * d`.
    Adadelta(Options::new(0.001)) {
        /// How much of the mean squares is kept in each step. Default 0.95.
        rho: f64 = 0.95,
        /// Keeps the roots from zero. Default 1e-7.
        epsilon: f64 = 1e-7,
    }
}

impl Optimizer for Adadelta {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        check_fraction("rho", self.rho)?;
        config::check_non_negative("epsilon", self.epsilon)
    }
    fn elementwise(&self) -> bool {
        true
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn slots(&self, shape: &[usize]) -> Vec<Slot> {
        vec![Slot::zeros("accumulated_grad", shape), Slot::zeros("accumulated_delta_var", shape)]
    }
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], state: &mut [&mut [f32]]) -> Result<()> {
        let (rate, epsilon) = (step.learning_rate, self.epsilon as f32);
        let (rho, fresh) = (self.rho as f32, (1.0 - self.rho) as f32);
        let [grads, deltas] = slots(state)?;
        let state = grads.iter_mut().zip(deltas.iter_mut());
        vectorised(
            #[inline(always)]
            move || {
                weight.iter_mut().zip(gradient).zip(state).for_each(|((w, g), (grads, deltas))| {
                    *grads = flush(rho * *grads + fresh * (g * g));
                    let delta = (*deltas + epsilon).sqrt() * g / (*grads + epsilon).sqrt();
                    *deltas = flush(rho * *deltas + fresh * (delta * delta));
                    *w -= rate * delta;
                });
            },
        );
        Ok(())
    }
}
