//! Adamax.

use super::adam::check_moments;
use super::{Optimizer, Options, Slot, Step, flush, optimizer, slots};
use crate::config::{self, Config};
use crate::error::Result;
use crate::kernels::vectorised;

optimizer! {
    /// Adam with the largest gradient instead of the mean square
    /// (Kingma and Ba, <https://arxiv.org/abs/1412.6980>, section 7.1).
    ///
    /// `m` is the moving average of `g`, `u = max(beta_2 * u, |g|)`;
    /// `w -= learning_rate * m / ((1 - beta_1^t) * (u + epsilon))`.
    Adamax(Options::new(0.001)) {
        /// How much of the mean gradient is kept in each step. Default 0.9.
        beta_1: f64 = 0.9,
        /// How much of the largest gradient is kept in each step. Default 0.999.
        beta_2: f64 = 0.999,
        /// Keeps the divisor from zero. Default 1e-7.
        epsilon: f64 = 1e-7,
    }
}

impl Optimizer for Adamax {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        check_moments(self.beta_1, self.beta_2, self.epsilon)
    }
    fn elementwise(&self) -> bool {
        true
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn slots(&self, shape: &[usize]) -> Vec<Slot> {
        vec![Slot::zeros("momentum", shape), Slot::zeros("norm", shape)]
    }
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], state: &mut [&mut [f32]]) -> Result<()> {
        let (rate, epsilon) = (step.learning_rate, self.epsilon as f32);
        let (fresh, kept, unbias) = ((1.0 - self.beta_1) as f32, self.beta_2 as f32, 1.0 - step.power(self.beta_1));
        let [m, u] = slots(state)?;
        let state = m.iter_mut().zip(u.iter_mut());
        vectorised(
            #[inline(always)]
            move || {
                weight.iter_mut().zip(gradient).zip(state).for_each(|((w, g), (m, u))| {
                    *m = flush(*m + (g - *m) * fresh);
                    *u = flush((kept * *u).max(g.abs()));
                    *w -= rate * *m / (unbias * (*u + epsilon));
                });
            },
        );
        Ok(())
    }
}
