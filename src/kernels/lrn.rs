//! Local response normalisation across channels, as in AlexNet.

use super::vectorised;
use crate::error::{Result, ensure};
use crate::runtime::threads;

/// `y_i = x_i / (k + alpha * sum_j x_j²)^beta`, where `j` runs over the `size` channels around `i`
/// (those from `i - size/2` to `i + size/2` that exist).
///
/// Krizhevsky, Sutskever, Hinton: *ImageNet classification with deep convolutional neural networks*
/// (2012), section 3.3. `alpha` is not divided by `size`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lrn {
    size: usize,
    k: f32,
    alpha: f32,
    beta: f32,
}

/// One thread takes at once whole rows of about so many values.
const VALUES: usize = 1 << 16;

impl Default for Lrn {
    /// The paper's constants: size 5, k 2, alpha 1e-4, beta 0.75.
    fn default() -> Self {
        Lrn { size: 5, k: 2.0, alpha: 1e-4, beta: 0.75 }
    }
}

impl Lrn {
    /// A normalisation over `size` adjacent channels.
    ///
    /// # Errors
    /// When `size` is even, or the base of the power could be zero or negative.
    pub fn new(size: usize, k: f64, alpha: f64, beta: f64) -> Result<Self> {
        ensure!(size % 2 == 1, Argument, "the number of adjacent channels is {size}; it must be odd");
        ensure!(
            k as f32 > 0.0 && alpha >= 0.0 && beta.is_finite() && k.is_finite() && alpha.is_finite(),
            Argument,
            "k is {k}, alpha {alpha} and beta {beta}; k must be positive, alpha at least 0, and all finite"
        );
        Ok(Lrn { size, k: k as f32, alpha: alpha as f32, beta: beta as f32 })
    }

    /// Normalises `x`, rows of `channels` values, into `y`; `scale`, of the same length, takes
    /// `k + alpha * sum` for the backward pass.
    ///
    /// # Panics
    /// When the lengths differ or are not whole rows.
    pub fn forward(&self, x: &[f32], channels: usize, y: &mut [f32], scale: &mut [f32]) {
        check([x.len(), y.len(), scale.len()], channels);
        if channels == 0 {
            return;
        }
        let chunk = VALUES.next_multiple_of(channels);
        threads::for_each_two_chunks([y, scale], chunk, |i, y, scale| {
            let outputs = y.chunks_exact_mut(channels).zip(scale.chunks_exact_mut(channels));
            vectorised(
                #[inline(always)]
                || {
                    for (x, (y, scale)) in x[i * chunk..].chunks_exact(channels).zip(outputs) {
                        // Squares stand in y until they are summed.
                        y.iter_mut().zip(x).for_each(|(y, x)| *y = x * x);
                        self.window_sums(y, scale);
                        for ((y, x), scale) in y.iter_mut().zip(x).zip(scale) {
                            *scale = self.k + self.alpha * *scale;
                            *y = x * self.power(*scale);
                        }
                    }
                },
            );
        });
    }

    /// The gradient of the loss by `x`, from `dy` and what the forward pass read and left.
    ///
    /// `dx_j = dy_j s_j^-beta - 2 alpha beta x_j sum_i dy_i x_i s_i^(-beta-1)`; `work` is scratch.
    ///
    /// # Panics
    /// When the lengths differ or are not whole rows.
    pub fn backward(&self, x: &[f32], scale: &[f32], dy: &[f32], channels: usize, dx: &mut [f32], work: &mut [f32]) {
        check([x.len(), dx.len(), scale.len()], channels);
        check([x.len(), dy.len(), work.len()], channels);
        if channels == 0 {
            return;
        }
        let factor = 2.0 * self.alpha * self.beta;
        let chunk = VALUES.next_multiple_of(channels);
        threads::for_each_two_chunks([dx, work], chunk, |i, dx, work| {
            let [x, scale, dy] = [x, scale, dy].map(|given| given[i * chunk..].chunks_exact(channels));
            let outputs = dx.chunks_exact_mut(channels).zip(work.chunks_exact_mut(channels));
            vectorised(
                #[inline(always)]
                || {
                    for (((x, scale), dy), (dx, work)) in x.zip(scale).zip(dy).zip(outputs) {
                        for (((work, x), scale), dy) in work.iter_mut().zip(x).zip(scale).zip(dy) {
                            *work = dy * x * self.power(*scale) / scale;
                        }
                        self.window_sums(work, dx);
                        for (((dx, x), scale), dy) in dx.iter_mut().zip(x).zip(scale).zip(dy) {
                            *dx = dy * self.power(*scale) - factor * x * *dx;
                        }
                    }
                },
            );
        });
    }

    /// `sums[i]` = the sum of `values` in the window around `i`: whole rows shifted and added, so
    /// that it vectorises over channels.
    #[inline(always)]
    fn window_sums(&self, values: &[f32], sums: &mut [f32]) {
        sums.copy_from_slice(values);
        let channels = values.len();
        for shift in 1..=(self.size / 2).min(channels - 1) {
            sums[shift..].iter_mut().zip(values).for_each(|(sum, x)| *sum += x);
            sums.iter_mut().zip(&values[shift..]).for_each(|(sum, x)| *sum += x);
        }
    }

    /// `scale^-beta`; the paper's exponent takes two square roots, which are much cheaper.
    #[inline(always)]
    fn power(&self, scale: f32) -> f32 {
        if self.beta == 0.75 {
            let root = scale.sqrt();
            1.0 / (root * root.sqrt())
        } else {
            scale.powf(-self.beta)
        }
    }
}

fn check(lens: [usize; 3], channels: usize) {
    assert!(lens.iter().all(|&len| len == lens[0]), "slices of different lengths: {lens:?}");
    assert!(lens[0].is_multiple_of(channels), "{} values, {channels} channels", lens[0]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reference;
    use crate::kernels::reference::testing::{Draws, assert_close};

    #[test]
    fn agrees_with_the_reference() {
        let mut draws = Draws::new("lrn");
        for case in 0..400 {
            let (rows, channels) = (1 + draws.below(6), 1 + draws.below(20));
            let lrn = match case % 2 {
                0 => Lrn { alpha: 0.3, ..Lrn::default() },
                _ => Lrn::new(1 + 2 * draws.below(5), 1.0, 0.5, 0.6).unwrap(),
            };
            let (x, dy) = (draws.floats(rows * channels), draws.floats(rows * channels));
            let [mut y, mut scale, mut dx, mut work] = [0; 4].map(|_| vec![f32::NAN; x.len()]);
            lrn.forward(&x, channels, &mut y, &mut scale);
            lrn.backward(&x, &scale, &dy, channels, &mut dx, &mut work);
            let constants = (lrn.size, f64::from(lrn.k), f64::from(lrn.alpha), f64::from(lrn.beta));
            assert_close(&y, &reference::lrn(&x, channels, constants), 1e-5);
            assert_close(&dx, &reference::lrn_gradient(&x, &dy, channels, constants), 1e-5);
        }
    }

    #[test]
    fn paper_constants() {
        let (mut y, mut scale) = ([0.0; 1], [0.0; 1]);
        Lrn::default().forward(&[100.0], 1, &mut y, &mut scale);
        assert_eq!(scale, [3.0]);
        assert_close(&y, &[100.0 / 3f32.powf(0.75)], 1e-6);
        assert_eq!(Lrn::new(5, 2.0, 1e-4, 0.75).unwrap(), Lrn::default());
        assert!(Lrn::new(4, 2.0, 1e-4, 0.75).is_err());
        assert!(Lrn::new(5, 0.0, 1e-4, 0.75).is_err());
    }
}
