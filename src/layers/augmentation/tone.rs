//! Changes of the scale of values: fewer of them, others spread over the range.

use super::color::{each_value, range};
use super::{Augmentation, BYTES, Draws, Range, augmentations};
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use crate::layers::DataFormat;
use ndarray_rand::rand::Rng as _;
use serde::{Deserialize, Serialize};

augmentations! {
    /// Leaves each image few different values (Keras: `RandomPosterization`): of 8 bits the lower ones become 0. Its
    /// gradient is 0.
    RandomPosterization(factor: impl Into<Range>) [seed] {
        /// How many bits are kept, from 1 to 8: of a range the last number is not drawn, as Keras 3.15 does, and one
        /// number `f` means 1 to `f`.
        factor: Range = Range::Between(1.0, 8.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
    }
    /// Inverts what is not darker than a threshold (Keras: `Solarization`), in training alone.
    Solarization() [seed] {
        /// What is added first, from 0 to 1: of `(low, high)` a number from `low` to `255 · high` is drawn, for images
        /// from 0 to 255. Default: nothing.
        addition_factor: Range = Range::UpTo(0.0),
        /// The threshold, drawn likewise. Default: 0, which inverts all.
        threshold_factor: Range = Range::UpTo(0.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
    }
    /// Spreads the values of each channel evenly (Keras: `Equalization`), in training alone, as Keras does. Its
    /// gradient is 0.
    ///
    /// Each image has a histogram of its own, as Keras' documentation says; Keras 3.15 itself takes one over the whole
    /// batch, so that only for batches of one image the pixels are the same.
    Equalization() {
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// The number of bins of the histogram, at least 2. Default: 256.
        bins: usize as usize = 256,
    }
}

/// Takes values of one range to the other.
#[inline(always)]
fn scaled(value: f32, [from_low, from_high]: [f32; 2], [low, high]: [f32; 2]) -> f32 {
    if [from_low, from_high] == [low, high] {
        return value;
    }
    (value - from_low) / (from_high - from_low) * (high - low) + low
}

/// The range in which Keras computes.
const OF_BYTES: [f32; 2] = [0.0, 255.0];

impl RandomPosterization {
    fn check_arguments(&self) -> Result<()> {
        self.factor.check_within("factor", 1.0, 8.0)
    }
}

impl Augmentation for RandomPosterization {
    /// The number of bits that are kept, from 1 to 8.
    type Parameters = u32;

    fn draw(&self, _: [usize; 3], draws: &mut Draws) -> u32 {
        let (low, high) = match self.factor {
            Range::UpTo(factor) => (1, factor as u32),
            Range::Between(low, high) => (low as u32, high as u32),
        };
        if low < high { draws.sample.random_range(low..high) } else { low }
    }

    fn write(&self, _: [usize; 3], bits: &u32, image: &[f32], out: &mut [f32]) -> Result<()> {
        let (range, shift) = (range(self.value_range), 8u32.saturating_sub(*bits).min(7));
        each_value(
            image,
            out,
            #[inline(always)]
            |x| {
                let byte = scaled(x, range, OF_BYTES) as u8;
                scaled(f32::from(byte >> shift << shift), OF_BYTES, range)
            },
        );
        Ok(())
    }

    fn gradient(&self, _: [usize; 3], _: &u32, _: &[f32], _: &[f32], dx: &mut [f32]) -> Result<()> {
        dx.fill(0.0);
        Ok(())
    }
}

impl Solarization {
    fn check_arguments(&self) -> Result<()> {
        self.addition_factor.check_within("addition_factor", 0.0, 1.0)?;
        self.threshold_factor.check_within("threshold_factor", 0.0, 1.0)
    }
}

impl Augmentation for Solarization {
    /// What is added, and the threshold, for images from 0 to 255.
    type Parameters = [f64; 2];

    fn draw(&self, _: [usize; 3], draws: &mut Draws) -> [f64; 2] {
        [self.addition_factor, self.threshold_factor].map(|factor| {
            let (low, high) = factor.bounds(0.0);
            draws.between((low, high * 255.0))
        })
    }

    fn write(&self, _: [usize; 3], drawn: &[f64; 2], image: &[f32], out: &mut [f32]) -> Result<()> {
        let ([addition, threshold], range) = (drawn.map(|v| v as f32), range(self.value_range));
        each_value(
            image,
            out,
            #[inline(always)]
            |x| {
                let value = (scaled(x, range, OF_BYTES) + addition).clamp(0.0, 255.0);
                scaled(if value < threshold { value } else { 255.0 - value }, OF_BYTES, range)
            },
        );
        Ok(())
    }

    fn gradient(&self, _: [usize; 3], drawn: &[f64; 2], image: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<()> {
        let ([addition, threshold], range) = (drawn.map(|v| v as f32), range(self.value_range));
        for ((dx, dy), x) in dx.iter_mut().zip(dy).zip(image) {
            let value = scaled(*x, range, OF_BYTES) + addition;
            *dx = match () {
                _ if !(0.0..=255.0).contains(&value) => 0.0,
                _ if value < threshold => *dy,
                _ => -*dy,
            };
        }
        Ok(())
    }
}

impl Equalization {
    fn check_arguments(&self) -> Result<()> {
        ensure!((2..=1 << 20).contains(&self.bins), Argument, "bins is {}; it must be from 2 to 2²⁰", self.bins);
        Ok(())
    }
}

impl Augmentation for Equalization {
    /// Nothing is drawn.
    type Parameters = ();

    fn draw(&self, _: [usize; 3], _: &mut Draws) {}

    fn write(&self, [_, _, channels]: [usize; 3], (): &(), image: &[f32], out: &mut [f32]) -> Result<()> {
        let (range, last) = (range(self.value_range), self.bins - 1);
        let (scale, back) = (255.0 / (range[1] - range[0]), (range[1] - range[0]) / 255.0);
        let byte = |x: f32| x * scale - range[0] * scale;
        let mut histogram = vec![0u32; self.bins];
        for channel in 0..channels {
            histogram.fill(0);
            for x in image[channel..].iter().step_by(channels) {
                histogram[((byte(*x) * last as f32 / 255.0) as usize).min(last)] += 1;
            }
            let pixels = (image.len() / channels) as u64;
            let smallest = u64::from(histogram.iter().copied().find(|n| *n > 0).unwrap_or(0));
            let flat = histogram.iter().filter(|n| **n > 0).count() <= 1;
            // What each bin becomes.
            let mut sum = 0;
            let table: Vec<f32> = histogram
                .iter()
                .map(|n| {
                    sum += u64::from(*n);
                    let above = sum.saturating_sub(smallest) * 255;
                    (above as f64 / (pixels - smallest).max(1) as f64).round_ties_even() as f32
                })
                .collect();
            let outputs = out[channel..].iter_mut().step_by(channels);
            for (y, x) in outputs.zip(image[channel..].iter().step_by(channels)) {
                let value = byte(*x);
                let found = table[((value / 255.0 * last as f32) as usize).min(last)];
                *y = (if flat { value } else { found }) * back + range[0];
            }
        }
        Ok(())
    }

    fn gradient(&self, _: [usize; 3], (): &(), _: &[f32], _: &[f32], dx: &mut [f32]) -> Result<()> {
        dx.fill(0.0);
        Ok(())
    }
}

/// Spreads the values of each channel of an image over the whole range (Keras: `AutoContrast`), in training **and in
/// inference**. A channel of one value stays.
///
/// Input and output `(batch, height, width, channels)`. It has no gradient by its images.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct AutoContrast {
    value_range: [f64; 2],
    data_format: DataFormat,
}

impl AutoContrast {
    /// For values from 0 to 255.
    pub fn new() -> Self {
        Self::default()
    }

    /// The smallest and the largest value of an image. Default: 0 and 255.
    pub fn value_range(mut self, value_range: [f64; 2]) -> Self {
        self.value_range = value_range;
        self
    }

    /// Where the channels are in a model. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }
}

impl Default for AutoContrast {
    fn default() -> Self {
        AutoContrast { value_range: BYTES, data_format: DataFormat::default() }
    }
}

impl Augmentation for AutoContrast {
    /// Nothing is drawn.
    type Parameters = ();

    fn draw(&self, _: [usize; 3], _: &mut Draws) {}

    fn write(&self, [_, _, channels]: [usize; 3], (): &(), image: &[f32], out: &mut [f32]) -> Result<()> {
        let range = range(self.value_range);
        let mut ends = vec![[f32::INFINITY, f32::NEG_INFINITY]; channels];
        for pixel in image.chunks_exact(channels) {
            ends.iter_mut().zip(pixel).for_each(|([low, high], x)| (*low, *high) = (low.min(*x), high.max(*x)));
        }
        let ([least, most], size) = (range, range[1] - range[0]);
        let stretch: Vec<f32> = ends.iter().map(|[low, high]| size / (high - low)).collect();
        for (out, pixel) in out.chunks_exact_mut(channels).zip(image.chunks_exact(channels)) {
            for (c, (y, x)) in out.iter_mut().zip(pixel).enumerate() {
                let value = (x - ends[c][0]) * stretch[c] + least;
                *y = if ends[c][0] < ends[c][1] { value.max(least).min(most) } else { *x };
            }
        }
        Ok(())
    }
}

impl Layer for AutoContrast {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        super::Checked::checked(&self.value_range, "value_range")
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        super::forward(self, true, None, self.data_format, inputs, cx)
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        super::backward(self, self.data_format, gradients, cx)
    }
}
