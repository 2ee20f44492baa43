//! Nadam.

use super::adam::{check_moments, moments};
use super::{Optimizer, Options, Slot, Step, flush, optimizer, power, slots};
use crate::config::{self, Config};
use crate::error::Result;
use crate::kernels::vectorised;

optimizer! {
    /// Adam that looks ahead along its momentum, as Nesterov does
    /// (Dozat, <https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ>).
    ///
    /// With `u(t) = beta_1 * (1 - 0.96^t / 2)` and `p` the product of all `u` so far,
    /// `w -= learning_rate * m' / (sqrt(v / (1 - beta_2^t)) + epsilon)` where
    /// `m' = u(t+1) * m / (1 - p * u(t+1)) + (1 - u(t)) * g / (1 - p)`.
    Nadam(Options::new(0.001)) {
        /// How much of the mean gradient is kept in each step. Default 0.9.
        beta_1: f64 = 0.9,
        /// How much of the mean squared gradient is kept in each step. Default 0.999.
        beta_2: f64 = 0.999,
        /// Keeps the divisor from zero. Default 1e-7.
        epsilon: f64 = 1e-7,
    }
}

impl Nadam {
    fn momentum(&self, t: u64) -> f32 {
        self.beta_1 as f32 * (1.0 - 0.5 * power(0.96, t))
    }
}

impl Optimizer for Nadam {
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
        moments(shape, false)
    }
    fn shared(&self) -> Option<(&'static str, f32)> {
        Some(("u_product", 1.0))
    }
    fn next_shared(&self, last: f32, t: u64) -> f32 {
        last * self.momentum(t)
    }
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], state: &mut [&mut [f32]]) -> Result<()> {
        let (rate, epsilon) = (step.learning_rate, self.epsilon as f32);
        let (fresh_1, fresh_2) = ((1.0 - self.beta_1) as f32, (1.0 - self.beta_2) as f32);
        let (now, next) = (self.momentum(step.t), self.momentum(step.t + 1));
        let of_mean = next / (1.0 - step.shared * next);
        let of_gradient = (1.0 - now) / (1.0 - step.shared);
        let unbias = 1.0 - step.power(self.beta_2);
        let [m, v] = slots(state)?;
        let state = m.iter_mut().zip(v.iter_mut());
        vectorised(
            #[inline(always)]
            move || {
                weight.iter_mut().zip(gradient).zip(state).for_each(|((w, g), (m, v))| {
                    *m = flush(*m + (g - *m) * fresh_1);
                    *v = flush(*v + (g * g - *v) * fresh_2);
                    *w -= rate * (of_mean * *m + of_gradient * g) / ((*v / unbias).sqrt() + epsilon);
                });
            },
        );
        Ok(())
    }
}
