//! Changes of colours, pixel by pixel.

use super::{Augmentation, BYTES, Draws, Range, augmentations, check_channels};
use crate::error::Result;
use crate::kernels::color::{GREY, grey, hsv_to_rgb, rgb_to_hsv};
use crate::kernels::vectorised;
use ndarray_rand::rand::Rng as _;

augmentations! {
    /// Changes the contrast of each image (Keras: `RandomContrast`): the distances from the mean of a channel times
    /// a number from `1 - low` to `1 + high`.
    RandomContrast(factor: impl Into<Range>) [seed] {
        /// How far from 1, from 0 to 1: a number `f` means `(0, f)`, so that contrast only grows, as Keras 3.15 does.
        factor: Range = Range::UpTo(0.0),
        /// The smallest and the largest value of an image, between which the result is kept. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
    }
    /// Makes each image lighter or darker (Keras: `RandomBrightness`) by a share of the range of values.
    RandomBrightness(factor: impl Into<Range>) [seed] {
        /// The share, from -1 to 1: a number `f` means `-f` to `f`.
        factor: Range = Range::UpTo(0.0),
        /// The smallest and the largest value of an image, between which the result is kept. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
    }
    /// Turns the hue of each image (Keras: `RandomHue`) by up to half a circle, either way. Three channels.
    RandomHue(factor: impl Into<Range>) [seed] {
        /// By how much of half a circle, from 0 to 1: a number `f` means 0 to `f`.
        factor: Range = Range::UpTo(0.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
    }
    /// Changes how colourful each image is (Keras: `RandomSaturation`): the saturation times `f / (1 - f)`, so that
    /// 0 makes it grey, 0.5 leaves it and 1 gives pure colours. Three channels.
    ///
    /// As in Keras 3.15 a single number draws negative ones too, which make grey, and the saturation is kept within
    /// `value_range`, so that only with a range of 0 to 1 no colour leaves the range of values.
    RandomSaturation(factor: impl Into<Range>) [seed] {
        /// The number `f`, from -1 to 1: one number means `-f` to `f`.
        factor: Range = Range::UpTo(0.0),
        /// What bounds the saturation. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
    }
    /// Mixes each image with its own grey (Keras: `RandomColorDegeneration`): 0 leaves it, 1 makes it grey. Three
    /// channels.
    RandomColorDegeneration(factor: impl Into<Range>) [seed] {
        /// The share of the grey, from -1 to 1: a number `f` means `-f` to `f`, as Keras 3.15 does; below 0 colours
        /// become stronger.
        factor: Range = Range::UpTo(0.0),
        /// The smallest and the largest value of an image, between which the result is kept. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
    }
    /// Changes brightness, contrast, saturation and hue of each image, in this order (Keras: `RandomColorJitter`);
    /// those without a factor stay.
    ///
    /// ```
    /// use cornu::layers::RandomColorJitter;
    /// let jitter = RandomColorJitter::new().brightness_factor(0.2).saturation_factor((-0.1, 0.4));
    /// ```
    RandomColorJitter() [seed] {
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// See [`RandomBrightness`]. Default: none.
        brightness_factor: Option<Range> as Range = None,
        /// See [`RandomContrast`]. Default: none.
        contrast_factor: Option<Range> as Range = None,
        /// See [`RandomSaturation`]. Default: none.
        saturation_factor: Option<Range> as Range = None,
        /// See [`RandomHue`]. Default: none.
        hue_factor: Option<Range> as Range = None,
    }
    /// Takes the colours of some images away (Keras: `RandomGrayscale`); the number of channels, one or three, stays.
    RandomGrayscale() {
        /// How many of the images, from 0 to 1. Default: 0.5.
        factor: f64 = 0.5,
    }
    /// Inverts some images (Keras: `RandomInvert`): the largest value of the range less each value.
    RandomInvert() [seed] {
        /// How many of the images: a number `f` means a probability drawn from 0 to `f`. Default: 1.
        factor: Range = Range::Between(0.0, 1.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
    }
}

/// Calls `change` with each value and where it goes.
#[inline(always)]
pub(super) fn each_value(image: &[f32], out: &mut [f32], change: impl Fn(f32) -> f32) {
    vectorised(
        #[inline(always)]
        || out.iter_mut().zip(image).for_each(|(y, x)| *y = change(*x)),
    );
}

/// Calls `change` with each pixel of three channels and where it goes.
#[inline(always)]
fn each_pixel(image: &[f32], out: &mut [f32], change: impl Fn([f32; 3]) -> [f32; 3]) {
    let (pixels, _) = image.as_chunks::<3>();
    vectorised(
        #[inline(always)]
        || out.as_chunks_mut::<3>().0.iter_mut().zip(pixels).for_each(|(y, x)| *y = change(*x)),
    );
}

/// The gradient of values that were brought into a range: where they were outside, it is 0.
fn within(value: f32, [low, high]: [f32; 2]) -> f32 {
    if value >= low && value <= high { 1.0 } else { 0.0 }
}

pub(super) fn range(value_range: [f64; 2]) -> [f32; 2] {
    value_range.map(|v| v as f32)
}

/// The mean of each channel.
fn means(channels: usize, image: &[f32]) -> Vec<f32> {
    // Sixteen sums for each channel, side by side; short sums in f32 lose nothing that counts.
    let block = 16 * channels;
    let (mut sums, mut part) = (vec![0f64; channels], vec![0f32; block]);
    for piece in image.chunks(64 * block) {
        part.fill(0.0);
        vectorised(
            #[inline(always)]
            || {
                for row in piece.chunks(block) {
                    part.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                }
            },
        );
        part.iter().enumerate().for_each(|(i, part)| sums[i % channels] += f64::from(*part));
    }
    let pixels = (image.len() / channels) as f64;
    sums.into_iter().map(|sum| (sum / pixels) as f32).collect()
}

impl RandomContrast {
    fn check_arguments(&self) -> Result<()> {
        self.factor.check_within("factor", 0.0, 1.0)
    }
}

impl Augmentation for RandomContrast {
    /// By what the distances from the mean are multiplied.
    type Parameters = f64;

    fn draw(&self, _: [usize; 3], draws: &mut Draws) -> f64 {
        let (low, high) = self.factor.bounds(0.0);
        draws.between((1.0 - low, 1.0 + high))
    }

    fn write(&self, [_, _, channels]: [usize; 3], factor: &f64, image: &[f32], out: &mut [f32]) -> Result<()> {
        let (factor, [low, high], means) = (*factor as f32, range(self.value_range), means(channels, image));
        let change = |x: f32, mean: f32| ((x - mean) * factor + mean).max(low).min(high);
        if let [mean] = means[..] {
            each_value(
                image,
                out,
                #[inline(always)]
                |x| change(x, mean),
            );
        } else if let [red, green, blue] = means[..] {
            each_pixel(
                image,
                out,
                #[inline(always)]
                |[r, g, b]| [change(r, red), change(g, green), change(b, blue)],
            );
        } else {
            for (y, x) in out.chunks_exact_mut(channels).zip(image.chunks_exact(channels)) {
                y.iter_mut().zip(x).zip(&means).for_each(|((y, x), mean)| *y = change(*x, *mean));
            }
        }
        Ok(())
    }

    fn gradient(
        &self,
        [height, width, channels]: [usize; 3],
        factor: &f64,
        image: &[f32],
        dy: &[f32],
        dx: &mut [f32],
    ) -> Result<()> {
        let (factor, range, of_image) = (*factor as f32, range(self.value_range), means(channels, image));
        for (i, (dx, dy)) in dx.iter_mut().zip(dy).enumerate() {
            let mean = of_image[i % channels];
            *dx = dy * within((image[i] - mean) * factor + mean, range);
        }
        // What the mean takes from each output goes to all pixels alike.
        let of_gradient = means(channels, dx);
        debug_assert_eq!(dx.len(), height * width * channels);
        for (i, dx) in dx.iter_mut().enumerate() {
            *dx = factor * *dx + (1.0 - factor) * of_gradient[i % channels];
        }
        Ok(())
    }
}

impl RandomBrightness {
    fn check_arguments(&self) -> Result<()> {
        self.factor.check_within("factor", -1.0, 1.0)
    }
}

impl Augmentation for RandomBrightness {
    /// What is added to each value.
    type Parameters = f64;

    fn draw(&self, _: [usize; 3], draws: &mut Draws) -> f64 {
        draws.between(self.factor.bounds(-1.0)) * (self.value_range[1] - self.value_range[0])
    }

    fn write(&self, _: [usize; 3], delta: &f64, image: &[f32], out: &mut [f32]) -> Result<()> {
        let (delta, [low, high]) = (*delta as f32, range(self.value_range));
        each_value(
            image,
            out,
            #[inline(always)]
            |x| (x + delta).max(low).min(high),
        );
        Ok(())
    }

    fn gradient(&self, _: [usize; 3], delta: &f64, image: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<()> {
        let (delta, range) = (*delta as f32, range(self.value_range));
        dx.iter_mut().zip(dy).zip(image).for_each(|((dx, dy), x)| *dx = dy * within(x + delta, range));
        Ok(())
    }
}

impl RandomHue {
    fn check_arguments(&self) -> Result<()> {
        self.factor.check_within("factor", 0.0, 1.0)
    }
}

impl Augmentation for RandomHue {
    /// What is added to the hue, in turns.
    type Parameters = f64;

    fn draw(&self, _: [usize; 3], draws: &mut Draws) -> f64 {
        draws.sign() * draws.between(self.factor.bounds(0.0)) * 0.5
    }

    fn check_size(&self, size: [usize; 3]) -> Result<()> {
        check_channels(size, &[3])
    }

    fn write(&self, _: [usize; 3], turn: &f64, image: &[f32], out: &mut [f32]) -> Result<()> {
        let (turn, [low, high]) = (*turn as f32, range(self.value_range));
        let (scale, back) = (1.0 / (high - low), high - low);
        each_pixel(
            image,
            out,
            #[inline(always)]
            |rgb| {
                let [hue, saturation, value] = rgb_to_hsv(rgb.map(|v| (v - low) * scale));
                hsv_to_rgb([hue + turn, saturation, value]).map(|v| v.clamp(0.0, 1.0) * back + low)
            },
        );
        Ok(())
    }
}

impl RandomSaturation {
    fn check_arguments(&self) -> Result<()> {
        self.factor.check_within("factor", -1.0, 1.0)
    }
}

impl Augmentation for RandomSaturation {
    /// By what the saturation is multiplied.
    type Parameters = f64;

    fn draw(&self, _: [usize; 3], draws: &mut Draws) -> f64 {
        let factor = draws.between(self.factor.bounds(-1.0));
        factor / (1.0 - factor + 1e-7)
    }

    fn check_size(&self, size: [usize; 3]) -> Result<()> {
        check_channels(size, &[3])
    }

    fn write(&self, _: [usize; 3], factor: &f64, image: &[f32], out: &mut [f32]) -> Result<()> {
        let (factor, [low, high]) = (*factor as f32, range(self.value_range));
        each_pixel(
            image,
            out,
            #[inline(always)]
            |rgb| {
                let [hue, saturation, value] = rgb_to_hsv(rgb);
                hsv_to_rgb([hue, (saturation * factor).max(low).min(high), value])
            },
        );
        Ok(())
    }
}

impl RandomColorDegeneration {
    fn check_arguments(&self) -> Result<()> {
        self.factor.check_within("factor", -1.0, 1.0)
    }
}

impl Augmentation for RandomColorDegeneration {
    /// The share of the grey.
    type Parameters = f64;

    fn draw(&self, _: [usize; 3], draws: &mut Draws) -> f64 {
        draws.between(self.factor.bounds(-1.0))
    }

    fn check_size(&self, size: [usize; 3]) -> Result<()> {
        check_channels(size, &[3])
    }

    fn write(&self, _: [usize; 3], share: &f64, image: &[f32], out: &mut [f32]) -> Result<()> {
        let (share, [low, high]) = (*share as f32, range(self.value_range));
        each_pixel(
            image,
            out,
            #[inline(always)]
            |rgb| {
                let grey = grey(rgb);
                rgb.map(|v| (v + share * (grey - v)).max(low).min(high))
            },
        );
        Ok(())
    }

    fn gradient(&self, _: [usize; 3], share: &f64, image: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<()> {
        let (share, range) = (*share as f32, range(self.value_range));
        let ((images, _), (dys, _), (dxs, _)) = (image.as_chunks::<3>(), dy.as_chunks::<3>(), dx.as_chunks_mut::<3>());
        for ((dx, dy), rgb) in dxs.iter_mut().zip(dys).zip(images) {
            let grey = grey(*rgb);
            let kept = std::array::from_fn::<_, 3, _>(|c| dy[c] * within(rgb[c] + share * (grey - rgb[c]), range));
            let sum: f32 = kept.iter().sum();
            *dx = std::array::from_fn(|c| (1.0 - share) * kept[c] + share * GREY[c] * sum);
        }
        Ok(())
    }
}

/// What [`RandomColorJitter`] draws; what has no factor is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Jitter {
    /// What is added to each value.
    pub brightness: Option<f64>,
    /// By what the distances from the mean are multiplied.
    pub contrast: Option<f64>,
    /// By what the saturation is multiplied.
    pub saturation: Option<f64>,
    /// What is added to the hue, in turns.
    pub hue: Option<f64>,
}

/// One change of an image.
type Change<'a> = &'a dyn Fn(&[f32], &mut [f32]) -> Result<()>;

impl RandomColorJitter {
    fn check_arguments(&self) -> Result<()> {
        self.brightness().map_or(Ok(()), |layer| layer.check_arguments())?;
        self.contrast().map_or(Ok(()), |layer| layer.check_arguments())?;
        self.saturation().map_or(Ok(()), |layer| layer.check_arguments())?;
        self.hue().map_or(Ok(()), |layer| layer.check_arguments())
    }

    fn brightness(&self) -> Option<RandomBrightness> {
        self.brightness_factor.map(|factor| RandomBrightness::new(factor).value_range(self.value_range))
    }

    fn contrast(&self) -> Option<RandomContrast> {
        self.contrast_factor.map(|factor| RandomContrast::new(factor).value_range(self.value_range))
    }

    fn saturation(&self) -> Option<RandomSaturation> {
        self.saturation_factor.map(|factor| RandomSaturation::new(factor).value_range(self.value_range))
    }

    fn hue(&self) -> Option<RandomHue> {
        self.hue_factor.map(|factor| RandomHue::new(factor).value_range(self.value_range))
    }
}

impl Augmentation for RandomColorJitter {
    type Parameters = Jitter;

    fn draw(&self, size: [usize; 3], draws: &mut Draws) -> Jitter {
        Jitter {
            brightness: self.brightness().map(|layer| layer.draw(size, draws)),
            contrast: self.contrast().map(|layer| layer.draw(size, draws)),
            saturation: self.saturation().map(|layer| layer.draw(size, draws)),
            hue: self.hue().map(|layer| layer.draw(size, draws)),
        }
    }

    fn check_size(&self, size: [usize; 3]) -> Result<()> {
        if self.saturation_factor.is_some() || self.hue_factor.is_some() { check_channels(size, &[3]) } else { Ok(()) }
    }

    fn write(&self, size: [usize; 3], drawn: &Jitter, image: &[f32], out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(image);
        let mut before = image.to_vec();
        let mut step = |work: Change<'_>| {
            before.copy_from_slice(out);
            work(&before, out)
        };
        if let (Some(layer), Some(delta)) = (self.brightness(), &drawn.brightness) {
            step(&|image, out| layer.write(size, delta, image, out))?;
        }
        if let (Some(layer), Some(factor)) = (self.contrast(), &drawn.contrast) {
            step(&|image, out| layer.write(size, factor, image, out))?;
        }
        if let (Some(layer), Some(factor)) = (self.saturation(), &drawn.saturation) {
            step(&|image, out| layer.write(size, factor, image, out))?;
        }
        if let (Some(layer), Some(turn)) = (self.hue(), &drawn.hue) {
            step(&|image, out| layer.write(size, turn, image, out))?;
        }
        Ok(())
    }
}

impl RandomGrayscale {
    fn check_arguments(&self) -> Result<()> {
        Range::UpTo(self.factor).check_within("factor", 0.0, 1.0)
    }
}

impl Augmentation for RandomGrayscale {
    /// Whether the image loses its colours.
    type Parameters = bool;

    fn draw(&self, _: [usize; 3], draws: &mut Draws) -> bool {
        draws.sample.random::<f64>() < self.factor
    }

    fn check_size(&self, size: [usize; 3]) -> Result<()> {
        check_channels(size, &[1, 3])
    }

    fn write(&self, size: [usize; 3], becomes: &bool, image: &[f32], out: &mut [f32]) -> Result<()> {
        if *becomes && size[2] == 3 {
            each_pixel(
                image,
                out,
                #[inline(always)]
                |rgb| [grey(rgb); 3],
            );
        } else {
            out.copy_from_slice(image);
        }
        Ok(())
    }

    fn gradient(&self, size: [usize; 3], becomes: &bool, _: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<()> {
        if *becomes && size[2] == 3 {
            each_pixel(
                dy,
                dx,
                #[inline(always)]
                |dy| GREY.map(|part| part * (dy[0] + dy[1] + dy[2])),
            );
        } else {
            dx.copy_from_slice(dy);
        }
        Ok(())
    }
}

impl RandomInvert {
    fn check_arguments(&self) -> Result<()> {
        self.factor.check_within("factor", 0.0, 1.0)
    }
}

impl Augmentation for RandomInvert {
    /// Whether the image is inverted.
    type Parameters = bool;

    fn draw(&self, _: [usize; 3], draws: &mut Draws) -> bool {
        draws.happens(self.factor)
    }

    fn write(&self, _: [usize; 3], inverted: &bool, image: &[f32], out: &mut [f32]) -> Result<()> {
        let [_, largest] = range(self.value_range);
        if *inverted {
            each_value(
                image,
                out,
                #[inline(always)]
                |x| largest - x,
            )
        } else {
            out.copy_from_slice(image)
        }
        Ok(())
    }

    fn gradient(&self, _: [usize; 3], inverted: &bool, _: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<()> {
        if *inverted {
            each_value(
                dy,
                dx,
                #[inline(always)]
                |dy| -dy,
            )
        } else {
            dx.copy_from_slice(dy)
        }
        Ok(())
    }
}
