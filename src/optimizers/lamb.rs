//! Lamb.

use super::adam::{check_moments, moments};
use super::{Optimizer, Options, Slot, Step, flush, optimizer, slots, squares, squares_of};
use crate::config::{self, Config};
use crate::error::Result;
use crate::kernels::vectorised;

optimizer! {
    /// Adam whose step for each weight is scaled to the weight's own norm, for very large batches
    /// (You et al., <https://arxiv.org/abs/1904.00962>).
    ///
    /// `u = m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon);
    /// w -= learning_rate * |w| / |u| * u`; a norm of zero makes the ratio 1.
    Lamb(Options::new(0.001)) {
        /// How much of the mean gradient is kept in each step. Default 0.9.
        beta_1: f64 = 0.9,
        /// How much of the mean squared gradient is kept in each step. Default 0.999.
        beta_2: f64 = 0.999,
        /// Keeps the divisor from zero. Default 1e-7.
        epsilon: f64 = 1e-7,
    }
}

impl Optimizer for Lamb {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        check_moments(self.beta_1, self.beta_2, self.epsilon)
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn slots(&self, shape: &[usize]) -> Vec<Slot> {
        moments(shape, false)
    }
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], state: &mut [&mut [f32]]) -> Result<()> {
        let (fresh_1, fresh_2) = ((1.0 - self.beta_1) as f32, (1.0 - self.beta_2) as f32);
        let (unbias_1, unbias_2) = (1.0 / (1.0 - step.power(self.beta_1)), 1.0 / (1.0 - step.power(self.beta_2)));
        let epsilon = self.epsilon as f32;
        // Cheaper to compute twice than to keep.
        let direction = |m: f32, v: f32| m * unbias_1 / ((v * unbias_2).sqrt() + epsilon);
        let [m, v] = slots(state)?;
        let state = m.iter_mut().zip(v.iter_mut());
        vectorised(
            #[inline(always)]
            move || {
                gradient.iter().zip(state).for_each(|(g, (m, v))| {
                    *m = flush(*m + (g - *m) * fresh_1);
                    *v = flush(*v + (g * g - *v) * fresh_2);
                });
            },
        );
        let (of_weight, of_step) = (squares(weight), squares_of(m, v, direction));
        let ratio = if of_weight > 0.0 && of_step > 0.0 { (of_weight / of_step).sqrt() as f32 } else { 1.0 };
        let rate = ratio * step.learning_rate;
        let state = m.iter().zip(v.iter());
        vectorised(
            #[inline(always)]
            move || weight.iter_mut().zip(state).for_each(|(w, (m, v))| *w -= rate * direction(*m, *v)),
        );
        Ok(())
    }
}
