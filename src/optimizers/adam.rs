//! Adam and AdamW.

use super::{Optimizer, Options, Slot, Step, check_fraction, flush, optimizer, slots};
use crate::activations::math::sqrt;
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::kernels::vectorised;

optimizer! {
    /// Adam: steps along the mean gradient, divided by the root of its mean square
    /// (Kingma and Ba, <https://arxiv.org/abs/1412.6980>).
    ///
    /// `m` and `v` are moving averages of `g` and `g^2`;
    /// `w -= learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)`.
    Adam(Options::new(0.001)) {
        /// How much of the mean gradient is kept in each step. Default 0.9.
        beta_1: f64 = 0.9,
        /// How much of the mean squared gradient is kept in each step. Default 0.999.
        beta_2: f64 = 0.999,
        /// Keeps the divisor from zero. Default 1e-7.
        epsilon: f64 = 1e-7,
        /// Whether to divide by the largest mean square so far
        /// (Reddi et al., <https://arxiv.org/abs/1904.09237>). Default false.
        amsgrad: bool = false,
    }
}

optimizer! {
    /// [`Adam`] with a weight decay of 0.004
    /// (Loshchilov and Hutter, <https://arxiv.org/abs/1711.05101>).
    AdamW(Options::new(0.001).weight_decay(0.004)) {
        /// How much of the mean gradient is kept in each step. Default 0.9.
        beta_1: f64 = 0.9,
        /// How much of the mean squared gradient is kept in each step. Default 0.999.
        beta_2: f64 = 0.999,
        /// Keeps the divisor from zero. Default 1e-7.
        epsilon: f64 = 1e-7,
        /// Whether to divide by the largest mean square so far
        /// (Reddi et al., <https://arxiv.org/abs/1904.09237>). Default false.
        amsgrad: bool = false,
    }
}

/// Adam's slots in Keras' order.
pub(super) fn moments(shape: &[usize], amsgrad: bool) -> Vec<Slot> {
    let mut slots = vec![Slot::zeros("momentum", shape), Slot::zeros("velocity", shape)];
    if amsgrad {
        slots.push(Slot::zeros("velocity_hat", shape).block(1));
    }
    slots
}

/// The arguments of the moving averages that Adam's family has in common.
pub(super) fn check_moments(beta_1: f64, beta_2: f64, epsilon: f64) -> Result<()> {
    check_fraction("beta_1", beta_1)?;
    check_fraction("beta_2", beta_2)?;
    ensure!(beta_1 < 1.0 && beta_2 < 1.0, Argument, "beta_1 is {beta_1} and beta_2 {beta_2}; both must be below 1");
    config::check_non_negative("epsilon", epsilon)
}

macro_rules! impl_adam {
    ($class:ident) => {
        impl Optimizer for $class {
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
                moments(shape, self.amsgrad)
            }
            fn update(
                &self,
                step: &Step,
                weight: &mut [f32],
                gradient: &[f32],
                state: &mut [&mut [f32]],
            ) -> Result<()> {
                let rate =
                    step.learning_rate * (1.0 - step.power(self.beta_2)).sqrt() / (1.0 - step.power(self.beta_1));
                let (fresh_1, fresh_2) = ((1.0 - self.beta_1) as f32, (1.0 - self.beta_2) as f32);
                let epsilon = self.epsilon as f32;
                let weights = weight.iter_mut().zip(gradient);
                if self.amsgrad {
                    let [m, v, largest] = slots(state)?;
                    let state = m.iter_mut().zip(v.iter_mut()).zip(largest.iter_mut());
                    vectorised(
                        #[inline(always)]
                        move || {
                            weights.zip(state).for_each(|((w, g), ((m, v), largest))| {
                                *m = flush(*m + (g - *m) * fresh_1);
                                *v = flush(*v + (g * g - *v) * fresh_2);
                                *largest = largest.max(*v);
                                *w -= *m * rate / (sqrt(*largest) + epsilon);
                            });
                        },
                    );
                } else {
                    let [m, v] = slots(state)?;
                    let state = m.iter_mut().zip(v.iter_mut());
                    vectorised(
                        #[inline(always)]
                        move || {
                            weights.zip(state).for_each(|((w, g), (m, v))| {
                                *m = flush(*m + (g - *m) * fresh_1);
                                *v = flush(*v + (g * g - *v) * fresh_2);
                                *w -= *m * rate / (sqrt(*v) + epsilon);
                            });
                        },
                    );
                }
                Ok(())
            }
        }
    };
}
impl_adam!(Adam);
impl_adam!(AdamW);
