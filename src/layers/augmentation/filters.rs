//! Changes of each value by those around it.

use super::color::range;
use super::{Augmentation, BYTES, Draws, Range, augmentations, between};
use crate::error::{Result, ensure};
use crate::kernels::vectorised;
use crate::layers::Sizes;

augmentations! {
    /// Blurs images (Keras: `RandomGaussianBlur`). Beyond the border stand zeros.
    RandomGaussianBlur() [seed] {
        /// How many of the images: a number `f` means a probability drawn from 0 to `f`. Default: 1.
        factor: Range = Range::Between(0.0, 1.0),
        /// The size of the kernel, odd numbers: the first counts columns and the second rows, as in Keras on JAX.
        /// Default: 3 by 3.
        kernel_size: Sizes<2> = Sizes([3, 3]),
        /// The standard deviations in pixels, one drawn for each direction and shared by a batch, from 0 to 1: a number
        /// `s` means 0 to `s`. Default: 1.
        sigma: Range = Range::Between(0.0, 1.0),
        /// The smallest and the largest value of an image, between which the result is kept. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
    }
    /// Sharpens or softens each image (Keras: `RandomSharpness`): 0 softens, 0.5 leaves it, 1 sharpens. Beyond the
    /// border stand zeros.
    RandomSharpness(factor: impl Into<Range>) [seed] {
        /// By how much, from 0 to 1: a number `f` means 0 to `f`.
        factor: Range = Range::UpTo(0.0),
        /// The smallest and the largest value of an image, between which the result is kept. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
    }
}

/// Weights of so many positions around the middle, with a sum of 1 (Keras: `gaussian_blur`).
pub(super) fn gaussian(size: usize, sigma: f64) -> Vec<f32> {
    let middle = (size as f64 - 1.0) / 2.0;
    let weights = (0..size).map(|i| (-0.5 * ((i as f64 - middle) / sigma).powi(2)).exp());
    let sum: f64 = weights.clone().sum();
    weights.map(|w| (w / sum) as f32).collect()
}

/// Each channel of an image filtered with a kernel of odd sides, `(rows, columns)`; beyond the border stand zeros.
fn filtered([height, width, channels]: [usize; 3], kernel: &[f32], columns: usize, image: &[f32], out: &mut [f32]) {
    let (row, [above, before]) = (width * channels, [kernel.len() / columns / 2, columns / 2]);
    vectorised(
        #[inline(always)]
        || {
            for (i, out) in out.chunks_exact_mut(row).enumerate() {
                out.fill(0.0);
                for (k, weights) in kernel.chunks_exact(columns).enumerate() {
                    let Some(from) = (i + k).checked_sub(above).filter(|i| *i < height) else { continue };
                    let from = &image[from * row..][..row];
                    for (l, weight) in weights.iter().enumerate() {
                        // The columns whose neighbour, `l - before` further on, exists.
                        let [skip_out, skip_from] = [before.saturating_sub(l), l.saturating_sub(before)];
                        let [out_at, from_at] = [skip_out, skip_from].map(|n| n.min(width) * channels);
                        let pairs = out[out_at..].iter_mut().zip(&from[from_at..]);
                        pairs.for_each(|(y, x)| *y += weight * x);
                    }
                }
            }
        },
    );
}

/// An image blurred along both axes; beyond the border stand zeros.
pub(super) fn blurred(size: [usize; 3], down: &[f32], across: &[f32], image: &[f32], out: &mut [f32]) {
    let mut half = vec![0.0; image.len()];
    filtered(size, across, across.len(), image, &mut half);
    filtered(size, down, 1, &half, out);
}

impl RandomGaussianBlur {
    fn check_arguments(&self) -> Result<()> {
        let Sizes(size) = self.kernel_size;
        ensure!(
            size.iter().all(|n| n % 2 == 1 && *n < 1 << 16),
            Argument,
            "kernel_size is {size:?}; both must be odd and below 65536"
        );
        self.factor.check_within("factor", 0.0, 1.0)?;
        self.sigma.check_within("sigma", 0.0, 1.0)
    }

    fn blur(&self, size: [usize; 3], sigma: [f64; 2], image: &[f32], out: &mut [f32]) {
        let Sizes([columns, rows]) = self.kernel_size;
        blurred(size, &gaussian(rows, sigma[1]), &gaussian(columns, sigma[0]), image, out);
    }
}

impl Augmentation for RandomGaussianBlur {
    /// The standard deviations along the width and the height; none where the image stays.
    type Parameters = Option<[f64; 2]>;

    fn draw(&self, _: [usize; 3], draws: &mut Draws) -> Option<[f64; 2]> {
        let bounds = self.sigma.bounds(0.0);
        let sigma = [(); 2].map(|()| between(&mut draws.batch, bounds) + 1e-6);
        draws.happens(self.factor).then_some(sigma)
    }

    fn write(&self, size: [usize; 3], sigma: &Option<[f64; 2]>, image: &[f32], out: &mut [f32]) -> Result<()> {
        match sigma {
            Some(sigma) => self.blur(size, *sigma, image, out),
            None => out.copy_from_slice(image),
        }
        let [low, high] = range(self.value_range);
        out.iter_mut().for_each(|y| *y = y.max(low).min(high));
        Ok(())
    }

    fn gradient(
        &self,
        size: [usize; 3],
        sigma: &Option<[f64; 2]>,
        image: &[f32],
        dy: &[f32],
        dx: &mut [f32],
    ) -> Result<()> {
        let mut inside = vec![0.0; dy.len()];
        let unbounded = RandomGaussianBlur { value_range: [f64::MIN, f64::MAX], ..self.clone() };
        unbounded.write(size, sigma, image, &mut inside)?;
        let [low, high] = range(self.value_range);
        inside.iter_mut().zip(dy).for_each(|(v, dy)| *v = if (low..=high).contains(v) { *dy } else { 0.0 });
        // The kernel is symmetrical, and so its own opposite.
        unbounded.write(size, sigma, &inside, dx)
    }
}

/// The filter that softens.
const SOFT: [f32; 9] = {
    let (around, middle) = (1.0 / 13.0, 5.0 / 13.0);
    [around, around, around, around, middle, around, around, around, around]
};

impl RandomSharpness {
    fn check_arguments(&self) -> Result<()> {
        self.factor.check_within("factor", 0.0, 1.0)
    }

    /// The image and its softened self, mixed.
    fn mix(size: [usize; 3], factor: f64, image: &[f32], out: &mut [f32]) {
        let share = (1.0 - 2.0 * factor) as f32;
        filtered(size, &SOFT, 3, image, out);
        out.iter_mut().zip(image).for_each(|(y, x)| *y = x + share * (*y - x));
    }
}

impl Augmentation for RandomSharpness {
    /// From 0, soft, to 1, sharp.
    type Parameters = f64;

    fn draw(&self, _: [usize; 3], draws: &mut Draws) -> f64 {
        draws.between(self.factor.bounds(0.0))
    }

    fn write(&self, size: [usize; 3], factor: &f64, image: &[f32], out: &mut [f32]) -> Result<()> {
        Self::mix(size, *factor, image, out);
        let [low, high] = range(self.value_range);
        out.iter_mut().for_each(|y| *y = y.max(low).min(high));
        Ok(())
    }

    fn gradient(&self, size: [usize; 3], factor: &f64, image: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<()> {
        let mut inside = vec![0.0; dy.len()];
        Self::mix(size, *factor, image, &mut inside);
        let [low, high] = range(self.value_range);
        inside.iter_mut().zip(dy).for_each(|(v, dy)| *v = if (low..=high).contains(v) { *dy } else { 0.0 });
        // The filter is symmetrical, and so its own opposite.
        Self::mix(size, *factor, &inside, dx);
        Ok(())
    }
}
