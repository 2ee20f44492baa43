//! Lion.

use super::{Optimizer, Options, Slot, Step, check_fraction, flush, optimizer, slots};
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::kernels::vectorised;

optimizer! {
    /// Moves every weight by the learning rate, along the sign of its momentum: one number to remember
    /// for each weight. Takes a learning rate 3 to 10 times lower than Adam's, and a weight decay as many
    /// times larger (Chen et al., <https://arxiv.org/abs/2302.06675>).
    ///
    /// `w -= learning_rate * sign(beta_1 * m + (1 - beta_1) * g); m = beta_2 * m + (1 - beta_2) * g`.
    Lion(Options::new(0.001)) {
        /// How much the momentum counts against the gradient in a step. Default 0.9.
        beta_1: f64 = 0.9,
        /// How much of the momentum is kept in each step. Default 0.99.
        beta_2: f64 = 0.99,
    }
}

impl Optimizer for Lion {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        let beta_1 = self.beta_1;
        ensure!(
            beta_1 > 0.0 && beta_1 <= 1.0,
            Argument,
            "beta_1 is {beta_1}; it must be above 0 and at most 1, or the momentum would not count"
        );
        check_fraction("beta_2", self.beta_2)
    }
    fn elementwise(&self) -> bool {
        true
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn slots(&self, shape: &[usize]) -> Vec<Slot> {
        vec![Slot::zeros("momentum", shape)]
    }
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], state: &mut [&mut [f32]]) -> Result<()> {
        let rate = step.learning_rate;
        let (beta_1, beta_2) = (self.beta_1 as f32, self.beta_2 as f32);
        let [m] = slots(state)?;
        vectorised(
            #[inline(always)]
            move || {
                weight.iter_mut().zip(gradient).zip(m.iter_mut()).for_each(|((w, g), m)| {
                    let along = *m * beta_1 + g * (1.0 - beta_1);
                    // Where there is no direction there is no step; `signum` has none for zero.
                    *w -= if along == 0.0 { 0.0 } else { rate * along.signum() };
                    *m = flush(*m * beta_2 + g * (1.0 - beta_2));
                });
            },
        );
        Ok(())
    }
}
