//! RMSprop.

use super::{Optimizer, Options, Slot, Step, check_fraction, flush, optimizer, slots};
use crate::config::{self, Config};
use crate::error::Result;
use crate::kernels::vectorised;

optimizer! {
    /// Gradient descent whose step is divided by the root of the mean squared gradient
    /// (Hinton, <https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf>).
    ///
    /// `v = rho * v + (1 - rho) * g^2; w -= learning_rate * g / sqrt(v + epsilon)`. With momentum
    /// these steps are added up, `m = momentum * m + step; w -= m`.
    RMSprop(Options::new(0.001)) {
        /// How much of the mean square is kept in each step. Default 0.9.
        rho: f64 = 0.9,
        /// How much of the last step is kept. Default 0.
        momentum: f64 = 0.0,
        /// Keeps the divisor from zero. Default 1e-7.
        epsilon: f64 = 1e-7,
        /// Whether to divide by the deviation from the mean gradient instead. Default false.
        centered: bool = false,
    }
}

impl RMSprop {
    /// One weight's step, for each combination of what is remembered.
    #[inline(always)]
    fn step(&self, rate: f32, (w, g): (&mut f32, f32), v: &mut f32, mean: Option<&mut f32>, speed: Option<&mut f32>) {
        let (rho, fresh) = (self.rho as f32, (1.0 - self.rho) as f32);
        *v = flush(rho * *v + fresh * (g * g));
        let spread = match mean {
            Some(mean) => {
                *mean = flush(rho * *mean + fresh * g);
                *v - *mean * *mean
            }
            None => *v,
        };
        let step = rate * g / (spread + self.epsilon as f32).sqrt();
        *w -= match speed {
            Some(speed) => {
                *speed = flush(self.momentum as f32 * *speed + step);
                *speed
            }
            None => step,
        };
    }
}

impl Optimizer for RMSprop {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        check_fraction("rho", self.rho)?;
        check_fraction("momentum", self.momentum)?;
        config::check_non_negative("epsilon", self.epsilon)
    }
    fn elementwise(&self) -> bool {
        true
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn slots(&self, shape: &[usize]) -> Vec<Slot> {
        let mut slots = vec![Slot::zeros("velocity", shape)];
        if self.momentum > 0.0 {
            slots.push(Slot::zeros("momentum", shape).block(1));
        }
        if self.centered {
            slots.push(Slot::zeros("average_gradient", shape).block(2));
        }
        slots
    }
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], state: &mut [&mut [f32]]) -> Result<()> {
        let rate = step.learning_rate;
        let weights = weight.iter_mut().zip(gradient.iter().copied());
        match (self.momentum > 0.0, self.centered) {
            (false, false) => {
                let [v] = slots(state)?;
                let weights = weights.zip(v.iter_mut());
                vectorised(
                    #[inline(always)]
                    move || weights.for_each(|(w, v)| self.step(rate, w, v, None, None)),
                );
            }
            (true, false) => {
                let [v, speed] = slots(state)?;
                let weights = weights.zip(v.iter_mut()).zip(speed.iter_mut());
                vectorised(
                    #[inline(always)]
                    move || weights.for_each(|((w, v), speed)| self.step(rate, w, v, None, Some(speed))),
                );
            }
            (false, true) => {
                let [v, mean] = slots(state)?;
                let weights = weights.zip(v.iter_mut()).zip(mean.iter_mut());
                vectorised(
                    #[inline(always)]
                    move || weights.for_each(|((w, v), mean)| self.step(rate, w, v, Some(mean), None)),
                );
            }
            (true, true) => {
                let [v, speed, mean] = slots(state)?;
                let weights = weights.zip(v.iter_mut()).zip(speed.iter_mut().zip(mean.iter_mut()));
                vectorised(
                    #[inline(always)]
                    move || weights.for_each(|((w, v), (speed, mean))| self.step(rate, w, v, Some(mean), Some(speed))),
                );
            }
        }
        Ok(())
    }
}
