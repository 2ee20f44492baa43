//! ScheduleFreeAdamW.

use super::{Optimizer, Options, Slot, Step, check_fraction, flush, optimizer, slots};
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::kernels::vectorised;

optimizer! {
    /// AdamW without a schedule: the weights are a mixture of where the steps lead (`z`) and of the mean of all these
    /// places (`x`), so that the learning rate need not fall towards the end (Defazio et al.,
    /// <https://arxiv.org/abs/2405.15682>).
    ///
    /// `z -= lr * g / (sqrt(v / (1 - beta_2^t)) + epsilon)`, `x += (z - x) / t`, `w = (1 - beta_1) * z + beta_1 * x`;
    /// `v` is the mean of squared gradients. The model predicts with `w`, as in Keras. So it is in Keras on JAX; on
    /// TensorFlow and PyTorch it finds the old mean with the `z` that has already moved.
    ScheduleFreeAdamW(Options::new(0.0025)) {
        /// The share of the mean in the weights. Default 0.9.
        beta_1: f64 = 0.9,
        /// How much of the mean of squares is kept in each step. Default 0.999.
        beta_2: f64 = 0.999,
        /// Keeps the divisor from zero. Default 1e-8.
        epsilon: f64 = 1e-8,
        /// The steps in which the learning rate rises to its value. Default 0.
        warmup_steps: u64 = 0,
    }
}

impl Optimizer for ScheduleFreeAdamW {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        let beta_1 = self.beta_1;
        ensure!(
            beta_1 > 0.0 && beta_1 <= 1.0,
            Argument,
            "beta_1 is {beta_1}; it must be above 0 and at most 1, since the mean is found by a division by it"
        );
        let beta_2 = self.beta_2;
        check_fraction("beta_2", beta_2)?;
        let below = beta_2 < 1.0;
        ensure!(below, Argument, "beta_2 is {beta_2}; it must be below 1");
        config::check_non_negative("epsilon", self.epsilon)
    }
    fn elementwise(&self) -> bool {
        true
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn slots(&self, shape: &[usize]) -> Vec<Slot> {
        // Where the steps lead begins at the weight itself.
        vec![Slot::zeros("momentum", shape).of_weight(), Slot::zeros("velocity", shape)]
    }
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], state: &mut [&mut [f32]]) -> Result<()> {
        let warm = match self.warmup_steps {
            0 => 1.0,
            steps => (step.t as f32 / steps as f32).min(1.0),
        };
        let rate = step.learning_rate * warm;
        let (beta_1, beta_2, epsilon) = (self.beta_1 as f32, self.beta_2 as f32, self.epsilon as f32);
        let (correction, share) = (1.0 - step.power(self.beta_2), 1.0 / step.t as f32);
        let [z, v] = slots(state)?;
        vectorised(
            #[inline(always)]
            move || {
                let values = weight.iter_mut().zip(gradient).zip(z.iter_mut().zip(v.iter_mut()));
                values.for_each(|((w, g), (z, v))| {
                    *v = flush(*v + (g * g - *v) * (1.0 - beta_2));
                    let mean = (*w - (1.0 - beta_1) * *z) / beta_1;
                    *z -= rate * g / ((*v / correction).sqrt() + epsilon);
                    *w = (1.0 - beta_1) * *z + beta_1 * ((1.0 - share) * mean + share * *z);
                });
            },
        );
        Ok(())
    }
}
