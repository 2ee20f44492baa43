//! Muon.

use super::adam::check_moments;
use super::{Optimizer, Options, Slot, Step, check_fraction, flush, optimizer, slots, squares};
use crate::config::{self, Config};
use crate::error::{Context, Result};
use crate::kernels::gemm::{Mat, MatMut, gemm_parallel, transpose};
use crate::kernels::vectorised;

optimizer! {
    /// Moves matrices along the nearest matrix with orthogonal rows to their momentum, so that all directions of a
    /// layer learn at the same pace; all other weights, and embeddings, follow AdamW (Jordan et al.,
    /// <https://kellerjordan.github.io/posts/muon/>; scaled as in <https://arxiv.org/abs/2502.16982>).
    ///
    /// `m = momentum * m + g`, `w -= lr * rms_rate * sqrt(max(rows, columns)) * orthogonal(g + momentum * m)`.
    Muon(Options::new(0.001).weight_decay(0.004)) {
        /// AdamW's `beta_1`. Default 0.9.
        adam_beta_1: f64 = 0.9,
        /// AdamW's `beta_2`. Default 0.999.
        adam_beta_2: f64 = 0.999,
        /// The weight decay of what follows AdamW. Default 0.004.
        adam_weight_decay: Option<f64> = Some(0.004),
        /// Keeps AdamW's divisor from zero. Default 1e-7.
        epsilon: f64 = 1e-7,
        /// Parts of paths: matrices whose path contains one of them follow AdamW too. Default: none.
        exclude_layers: Vec<String> = Vec::new(),
        /// Whether embeddings follow AdamW. Default: true.
        exclude_embeddings: bool = true,
        /// The first coefficient of an iteration. Default 3.4445.
        muon_a: f64 = 3.4445,
        /// The second one. Default -4.7750.
        muon_b: f64 = -4.7750,
        /// The third one. Default 2.0315.
        muon_c: f64 = 2.0315,
        /// AdamW's learning rate, as a multiple of the other. Default 1.
        adam_lr_ratio: f64 = 1.0,
        /// How much of the momentum is kept in each step. Default 0.95.
        momentum: f64 = 0.95,
        /// The iterations towards the orthogonal matrix. Default 5.
        ns_steps: u32 = 5,
        /// Whether a step looks ahead along the momentum. Default: true.
        nesterov: bool = true,
        /// The scale of a step, by which the learning rate is like AdamW's; none: no scale. Default 0.2.
        rms_rate: Option<f64> = Some(0.2),
    }
}

impl Muon {
    /// Whether a weight follows AdamW.
    fn is_adam(&self, path: &str, shape: &[usize]) -> bool {
        shape.len() != 2
            || self.exclude_embeddings && path.to_lowercase().contains("embedding")
            || self.exclude_layers.iter().any(|part| path.contains(part.as_str()))
    }

    /// Nearly the matrix of orthogonal rows (or columns, if these are fewer) that is nearest to `x`: the iterations of
    /// Newton and Schulz, whose steps are so wide that the singular values end around 1, not at it.
    fn orthogonal(&self, x: Vec<f32>, [rows, cols]: [usize; 2]) -> Vec<f32> {
        let (n, k) = (rows.min(cols), rows.max(cols));
        let mut x = if rows > cols { transposed(&x, rows, cols) } else { x };
        let norm = (squares(&x).sqrt() + 1e-7) as f32;
        x.iter_mut().for_each(|x| *x /= norm);
        let [a, b, c] = [self.muon_a, self.muon_b, self.muon_c].map(|factor| factor as f32);
        let (mut square, mut sum, mut next) = (vec![0.0; n * n], vec![0.0; n * n], vec![0.0; n * k]);
        for _ in 0..self.ns_steps {
            gemm_parallel(1.0, Mat::new(&x, n, k), Mat::new(&x, n, k).t(), 0.0, MatMut::new(&mut square, n, n));
            sum.copy_from_slice(&square);
            gemm_parallel(c, Mat::new(&square, n, n), Mat::new(&square, n, n), b, MatMut::new(&mut sum, n, n));
            next.copy_from_slice(&x);
            gemm_parallel(1.0, Mat::new(&sum, n, n), Mat::new(&x, n, k), a, MatMut::new(&mut next, n, k));
            std::mem::swap(&mut x, &mut next);
        }
        if rows > cols { transposed(&x, cols, rows) } else { x }
    }
}

/// A matrix of so many rows and columns with these exchanged.
fn transposed(x: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut to = vec![0.0; x.len()];
    transpose(Mat::new(x, rows, cols), &mut to);
    to
}

impl Optimizer for Muon {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        check_moments(self.adam_beta_1, self.adam_beta_2, self.epsilon).at(|| "Muon's AdamW".to_owned())?;
        check_fraction("momentum", self.momentum)?;
        config::check_non_negative("adam_weight_decay", self.adam_weight_decay.unwrap_or(0.0))
    }
    fn options(&self) -> &Options {
        &self.options
    }
    fn decay(&self, path: &str, shape: &[usize]) -> Option<f64> {
        if self.is_adam(path, shape) { self.adam_weight_decay } else { self.options.weight_decay }
    }
    fn slots_of(&self, path: &str, shape: &[usize]) -> Vec<Slot> {
        let velocity = self.is_adam(path, shape).then(|| Slot::zeros("velocity", shape));
        std::iter::once(Slot::zeros("momentum", shape)).chain(velocity).collect()
    }
    fn update(&self, step: &Step, weight: &mut [f32], gradient: &[f32], state: &mut [&mut [f32]]) -> Result<()> {
        if self.is_adam(step.path, step.shape) {
            let rate = step.learning_rate * self.adam_lr_ratio as f32;
            let alpha = rate * (1.0 - step.power(self.adam_beta_2)).sqrt() / (1.0 - step.power(self.adam_beta_1));
            let (beta_1, beta_2) = (self.adam_beta_1 as f32, self.adam_beta_2 as f32);
            let epsilon = self.epsilon as f32;
            let [m, v] = slots(state)?;
            vectorised(
                #[inline(always)]
                move || {
                    let values = weight.iter_mut().zip(gradient).zip(m.iter_mut().zip(v.iter_mut()));
                    values.for_each(|((w, g), (m, v))| {
                        *m = flush(*m + (g - *m) * (1.0 - beta_1));
                        *v = flush(*v + (g * g - *v) * (1.0 - beta_2));
                        *w -= *m * alpha / (v.sqrt() + epsilon);
                    });
                },
            );
            return Ok(());
        }
        let momentum = self.momentum as f32;
        let [m] = slots(state)?;
        m.iter_mut().zip(gradient).for_each(|(m, g)| *m = flush(*m + (g + *m * (momentum - 1.0))));
        let along: Vec<f32> = match self.nesterov {
            true => m.iter().zip(gradient).map(|(m, g)| g + momentum * m).collect(),
            false => m.to_vec(),
        };
        let sizes = [step.shape[0], step.shape[1]];
        let scale = self.rms_rate.map_or(1.0, |rate| (sizes[0].max(sizes[1]) as f32).sqrt() * rate as f32);
        let update = self.orthogonal(along, sizes);
        weight.iter_mut().zip(update).for_each(|(w, update)| *w -= step.learning_rate * update * scale);
        Ok(())
    }
}
