//! Gradient descent, with and without momentum.

use super::{Optimizer, Options, Slot, Step, check_fraction, flush, optimizer, slots};
use crate::config::{self, Config};
use crate::error::Result;
use crate::kernels::vectorised;

optimizer! {
    /// Gradient descent: `v = momentum * v - learning_rate * g; w = w + v`, and with Nesterov's
    /// momentum `w = w + momentum * v - learning_rate * g`.
    ///
    /// ```
    /// use cornu::optimizers::Sgd;
    /// let optimizer = Sgd::new(0.05).momentum(0.9).nesterov(true);
    /// # let _ = optimizer;
    /// ```
    Sgd(Options::new(0.01)) {
        /// How much of the last step is kept: 0 to 1. Default 0.
        momentum: f64 = 0.0,
        /// Whether to look ahead along the momentum (Sutskever et al.,
        /// <https://proceedings.mlr.press/v28/sutskever13.html>). Default false.
        nesterov: bool = false,
    }
}

/// Keras' spelling.
pub type SGD = Sgd;

impl Optimizer for Sgd {
    fn class_name(&self) -> &str {
        "SGD"
    }
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        check_fraction("momentum", self.momentum)
    }
    fn elementwise(&self) -> bool {
        true
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn slots(&self, shape: &[usize]) -> Vec<Slot> {
        if self.momentum == 0.0 { Vec::new() } else { vec![Slot::zeros("momentum", shape)] }
    }
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], state: &mut [&mut [f32]]) -> Result<()> {
        let (rate, momentum) = (step.learning_rate, self.momentum as f32);
        let weights = weight.iter_mut().zip(gradient);
        if self.momentum == 0.0 {
            vectorised(
                #[inline(always)]
                move || weights.for_each(|(w, g)| *w -= g * rate),
            );
            return Ok(());
        }
        let [velocity] = slots(state)?;
        let weights = weights.zip(velocity.iter_mut());
        vectorised(
            #[inline(always)]
            move || {
                if self.nesterov {
                    weights.for_each(|((w, g), v)| {
                        *v = flush(*v * momentum - g * rate);
                        *w += *v * momentum - g * rate;
                    });
                } else {
                    weights.for_each(|((w, g), v)| {
                        *v = flush(*v * momentum - g * rate);
                        *w += *v;
                    });
                }
            },
        );
        Ok(())
    }
}
