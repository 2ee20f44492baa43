//! Images drawn on rubber.

use super::color::range;
use super::filters::{blurred, gaussian};
use super::{Augmentation, BYTES, Draws, FillMode, Range, augmentations, between};
use crate::error::{Result, ensure};
use crate::kernels::resize::Interpolation;
use crate::kernels::warp::Warp;
use crate::random::Rng;
use ndarray_rand::rand_distr::{Distribution, StandardNormal};

augmentations! {
    /// Moves pixels by smooth noise (Keras: `RandomElasticTransform`). The noise is scaled by `0.05 · scale` of the
    /// shorter side, smoothed with that deviation, and scaled by `0.1 · scale` of the longer one.
    RandomElasticTransform() [seed] {
        /// How many of the images: a number `f` means a probability drawn from 0 to `f`. Default: 1.
        factor: Range = Range::Between(0.0, 1.0),
        /// How strongly, from 0 to 1, one number for all images of a batch: a number `f` means 0 to `f`. Default: 1.
        scale: Range = Range::Between(0.0, 1.0),
        /// How values between those of the image are found: nearest or bilinear. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
        /// What comes in at the borders. Default: the image, reflected.
        fill_mode: FillMode = FillMode::default(),
        /// The value of borders with [`FillMode::Constant`]. Default: 0.
        fill_value: f64 = 0.0,
        /// The smallest and the largest value of an image, between which the result is kept. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
    }
}

/// How far each pixel of the output lies from where it is read, in pixels, row by row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Displacement {
    /// Along the width.
    pub x: Vec<f32>,
    /// Along the height.
    pub y: Vec<f32>,
}

impl Displacement {
    /// From draws of a standard normal distribution, two for each pixel of an image of this size.
    fn of_noise(noise: [Vec<f32>; 2], size: [usize; 3], scale: f64) -> Self {
        let [height, width, _] = size;
        let (alpha, sigma) = (0.1 * scale * height.max(width) as f64, 0.05 * scale * height.min(width) as f64);
        let kernel = gaussian((6 * sigma as usize) | 1, sigma);
        let [x, y] = noise.map(|mut noise| {
            noise.iter_mut().for_each(|v| *v *= sigma as f32);
            let mut smooth = vec![0.0; noise.len()];
            blurred([height, width, 1], &kernel, &kernel, &noise, &mut smooth);
            smooth.iter_mut().for_each(|v| *v *= alpha as f32);
            smooth
        });
        Displacement { x, y }
    }

    /// Where each pixel is read.
    fn places(&self, [_, width, _]: [usize; 3]) -> [Vec<f32>; 2] {
        let x = self.x.iter().enumerate().map(|(i, dx)| (i % width) as f32 + dx);
        let y = self.y.iter().enumerate().map(|(i, dy)| (i / width) as f32 + dy);
        [x.collect(), y.collect()]
    }
}

impl RandomElasticTransform {
    fn check_arguments(&self) -> Result<()> {
        self.factor.check_within("factor", 0.0, 1.0)?;
        self.scale.check_within("scale", 0.0, 1.0)
    }

    fn warp(&self, size: [usize; 3], moved: &Displacement) -> Result<Warp> {
        let pixels = size[0] * size[1];
        ensure!(
            [moved.x.len(), moved.y.len()] == [pixels; 2],
            Shape,
            "there are {} and {} displacements for {pixels} pixels",
            moved.x.len(),
            moved.y.len()
        );
        Warp::new(size, self.interpolation, self.fill_mode, self.fill_value)
    }
}

impl Augmentation for RandomElasticTransform {
    /// None where the image stays.
    type Parameters = Option<Displacement>;

    fn draw(&self, size: [usize; 3], draws: &mut Draws) -> Option<Displacement> {
        let scale = between(&mut draws.batch, self.scale.bounds(0.0));
        if !draws.happens(self.factor) || scale <= 0.0 {
            return None;
        }
        let normal = |rng: &mut Rng| -> Vec<f32> { StandardNormal.sample_iter(rng).take(size[0] * size[1]).collect() };
        let noise = [normal(&mut draws.sample), normal(&mut draws.sample)];
        Some(Displacement::of_noise(noise, size, scale))
    }

    fn write(&self, size: [usize; 3], moved: &Option<Displacement>, image: &[f32], out: &mut [f32]) -> Result<()> {
        match moved {
            Some(moved) => {
                let [x, y] = moved.places(size);
                self.warp(size, moved)?.forward_at([&x, &y], image, out);
            }
            None => out.copy_from_slice(image),
        }
        let [low, high] = range(self.value_range);
        out.iter_mut().for_each(|y| *y = y.max(low).min(high));
        Ok(())
    }

    fn gradient(
        &self,
        size: [usize; 3],
        moved: &Option<Displacement>,
        image: &[f32],
        dy: &[f32],
        dx: &mut [f32],
    ) -> Result<()> {
        let [low, high] = range(self.value_range);
        let Some(moved) = moved else {
            dx.copy_from_slice(dy);
            dx.iter_mut().zip(image).filter(|(_, x)| !(low..=high).contains(x)).for_each(|(dx, _)| *dx = 0.0);
            return Ok(());
        };
        let ([x, y], warp) = (moved.places(size), self.warp(size, moved)?);
        let mut inside = vec![0.0; dy.len()];
        warp.forward_at([&x, &y], image, &mut inside);
        inside.iter_mut().zip(dy).for_each(|(v, dy)| *v = if (low..=high).contains(v) { *dy } else { 0.0 });
        warp.backward_at([&x, &y], &inside, dx);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_scaled_and_smoothed() {
        // One pixel of noise in the middle of 41 by 60: sigma is 0.05 · 41 · 0.6 = 1.23, the kernel 7 wide.
        let size = [41, 60, 1];
        let mut noise = vec![0.0; 41 * 60];
        noise[20 * 60 + 30] = 1.0;
        let moved = Displacement::of_noise([noise.clone(), noise], size, 0.6);
        assert_eq!(moved.x, moved.y);
        let kernel = gaussian(7, 1.23);
        let strength = 0.1 * 0.6 * 60.0 * 1.23;
        for (i, v) in moved.x.iter().enumerate() {
            let [row, column] = [(i / 60).abs_diff(20), (i % 60).abs_diff(30)];
            let want = if row > 3 || column > 3 { 0.0 } else { strength * kernel[3 + row] * kernel[3 + column] };
            assert!((v - want).abs() < 1e-6, "pixel {i}: {v}, not {want}");
        }
    }
}
