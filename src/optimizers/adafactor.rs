//! Adafactor.

use super::{Optimizer, Options, Slot, Step, optimizer, slots, squares, squares_of};
use crate::config::{self, Config};
use crate::error::{Result, ensure};

optimizer! {
    /// Adam without momentum, whose mean squares of a matrix are kept as one number for each row and
    /// each column (Shazeer and Stern, <https://arxiv.org/abs/1804.04235>).
    ///
    /// With `b = 1 - t^beta_2_decay` the means `r` and `c` of `g^2 + epsilon_1` over the last and the
    /// second last axis are averaged with weight `b`; `v = r * c / mean(r)` (for weights of one axis, `v`
    /// is averaged itself); `u = g / sqrt(v)`;
    /// `w -= max(epsilon_2, rms(w)) * min(learning_rate, 1 / sqrt(t)) * u / max(1, rms(u) / clip_threshold)`.
    Adafactor(Options::new(0.001)) {
        /// How fast the averages become long. Default -0.8.
        beta_2_decay: f64 = -0.8,
        /// Added to squared gradients. Default 1e-30.
        epsilon_1: f64 = 1e-30,
        /// The least that a weight's size counts in its step. Default 0.001.
        epsilon_2: f64 = 1e-3,
        /// The root mean square above which a step is shortened. Default 1.
        clip_threshold: f64 = 1.0,
        /// Keras' argument of this name, kept for its files. Keras bounds the learning rate by
        /// `1 / sqrt(t)` whatever it says. Default true.
        relative_step: bool = true,
    }
}

fn mean(sum: f64, n: usize) -> f32 {
    (sum / n.max(1) as f64) as f32
}

impl Optimizer for Adafactor {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        let (decay, threshold) = (self.beta_2_decay, self.clip_threshold);
        ensure!(decay.is_finite() && decay <= 0.0, Argument, "beta_2_decay is {decay}; it must be zero or negative");
        ensure!(
            threshold.is_finite() && threshold > 0.0,
            Argument,
            "clip_threshold is {threshold}; it must be a number above 0"
        );
        config::check_non_negative("epsilon_1", self.epsilon_1)?;
        config::check_non_negative("epsilon_2", self.epsilon_2)
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn slots(&self, shape: &[usize]) -> Vec<Slot> {
        let (row, column) = match shape {
            [outer @ .., rows, columns] => ([outer, &[*rows]].concat(), [outer, &[*columns]].concat()),
            // Not factored, but Keras' files have a place for them.
            _ => (Vec::new(), Vec::new()),
        };
        vec![Slot::zeros("row", &row), Slot::zeros("column", &column), Slot::zeros("velocity", shape)]
    }
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], state: &mut [&mut [f32]]) -> Result<()> {
        let t = step.t as f32;
        let rate = step.learning_rate.min(1.0 / t.sqrt());
        let kept = 1.0 - t.powf(self.beta_2_decay as f32);
        let epsilon = self.epsilon_1 as f32;
        let [rows, columns, v] = slots(state)?;
        if let [.., row_count, column_count] = *step.shape {
            let matrix = (row_count * column_count).max(1);
            let parts = gradient.chunks(matrix).zip(v.chunks_mut(matrix));
            let factors = rows.chunks_mut(row_count.max(1)).zip(columns.chunks_mut(column_count.max(1)));
            for ((gradient, v), (rows, columns)) in parts.zip(factors) {
                let mut sums = vec![0f64; column_count];
                for (row, gradient) in rows.iter_mut().zip(gradient.chunks(column_count)) {
                    let new = mean(squares(gradient), column_count) + epsilon;
                    *row = kept * *row + (1.0 - kept) * new;
                    sums.iter_mut().zip(gradient).for_each(|(sum, &g)| *sum += f64::from(g * g));
                }
                for (column, sum) in columns.iter_mut().zip(sums) {
                    *column = kept * *column + (1.0 - kept) * (mean(sum, row_count) + epsilon);
                }
                let mean_row = mean(rows.iter().map(|&r| f64::from(r)).sum(), row_count);
                for (v, row) in v.chunks_mut(column_count).zip(&*rows) {
                    v.iter_mut().zip(&*columns).for_each(|(v, column)| *v = row / mean_row * column);
                }
            }
        } else {
            v.iter_mut().zip(gradient).for_each(|(v, &g)| *v = kept * *v + (1.0 - kept) * (g * g + epsilon));
        }
        let n = weight.len();
        let direction = |g: f32, v: f32| g / v.sqrt();
        let size = mean(squares(weight), n).sqrt().max(self.epsilon_2 as f32);
        let length = mean(squares_of(gradient, v, direction), n).sqrt();
        let excess = (length / self.clip_threshold as f32).max(1.0);
        let rate = size * rate / excess;
        let moves = gradient.iter().zip(v.iter());
        weight.iter_mut().zip(moves).for_each(|(w, (&g, &v))| *w -= rate * direction(g, v));
        Ok(())
    }
}
