//! Contrast, evened out piece by piece.

use super::color::range;
use super::{Augmentation, BYTES, Checked, Draws};
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use crate::layers::{DataFormat, Sizes};
use serde::{Deserialize, Serialize};

/// Spreads the values of each channel evenly in each of some tiles, with a limit to how far, and mixes the tiles
/// (Keras: `ContrastLimitedAdaptiveHistogramEqualization`; Zuiderveld 1994), in training **and in inference**.
///
/// Input and output `(batch, height, width, channels)`. It has no gradient by its images.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ContrastLimitedAdaptiveHistogramEqualization {
    value_range: [f64; 2],
    clip_limit: f64,
    tile_grid_size: Sizes<2>,
    data_format: DataFormat,
}

impl ContrastLimitedAdaptiveHistogramEqualization {
    /// With Keras' defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The smallest and the largest value of an image. Default: 0 and 255.
    pub fn value_range(mut self, value_range: [f64; 2]) -> Self {
        self.value_range = value_range;
        self
    }

    /// How many times the mean a bin of a histogram may hold; what is above is shared among all. 0: no limit. On PyTorch
    /// Keras 3.15 rounds the limit down to a whole number; here, as elsewhere, it is taken as it is. Default: 4.
    pub fn clip_limit(mut self, clip_limit: f64) -> Self {
        self.clip_limit = clip_limit;
        self
    }

    /// How many tiles stand below and beside each other. Default: 8 by 8.
    pub fn tile_grid_size(mut self, tile_grid_size: impl Into<Sizes<2>>) -> Self {
        self.tile_grid_size = tile_grid_size.into();
        self
    }

    /// Where the channels are in a model. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }

    /// What each byte becomes in a tile with these numbers of bytes.
    fn table(&self, histogram: &[f32; 256], pixels: f32) -> [f32; 256] {
        let limit = if self.clip_limit > 0.0 { self.clip_limit as f32 * pixels / 256.0 } else { f32::INFINITY };
        let excess: f32 = histogram.iter().map(|n| n - n.min(limit)).sum::<f32>() / 256.0;
        let mut sum = 0.0;
        let sums = histogram.map(|n| {
            sum += n.min(limit) + excess;
            sum
        });
        let first = sums[0];
        let all = if pixels == first { 1.0 } else { pixels - first };
        sums.map(|sum| ((sum - first) * 255.0 / all).clamp(0.0, 255.0))
    }
}

impl Default for ContrastLimitedAdaptiveHistogramEqualization {
    fn default() -> Self {
        ContrastLimitedAdaptiveHistogramEqualization {
            value_range: BYTES,
            clip_limit: 4.0,
            tile_grid_size: Sizes([8, 8]),
            data_format: DataFormat::default(),
        }
    }
}

/// The two tiles whose middles a position lies between, and how far it is from the first one to the second.
fn tiles(position: usize, tile: usize, count: usize) -> (usize, usize, f32) {
    let place = (position as f32 - tile as f32 / 2.0) / tile as f32;
    let first = place.floor();
    let within = |i: f32| (i.max(0.0) as usize).min(count - 1);
    (within(first), within(first + 1.0), place - first)
}

impl Augmentation for ContrastLimitedAdaptiveHistogramEqualization {
    /// Nothing is drawn.
    type Parameters = ();

    fn draw(&self, _: [usize; 3], _: &mut Draws) {}

    fn write(&self, [height, width, channels]: [usize; 3], (): &(), image: &[f32], out: &mut [f32]) -> Result<()> {
        let ([low, high], Sizes([rows, columns])) = (range(self.value_range), self.tile_grid_size);
        let (tall, wide) = (height.div_ceil(rows), width.div_ceil(columns));
        let byte = |value: f32| ((value - low) / (high - low) * 255.0) as u8;
        // The last tiles look into a mirror at the border.
        let mirror = |i: usize, n: usize| {
            let i = i % (2 * n);
            i.min(2 * n - 1 - i)
        };
        let mut tables = vec![[0.0; 256]; rows * columns];
        for channel in 0..channels {
            for (t, table) in tables.iter_mut().enumerate() {
                let mut histogram = [0.0; 256];
                for (i, j) in (0..tall).flat_map(|i| (0..wide).map(move |j| (i, j))) {
                    let (i, j) = (mirror(t / columns * tall + i, height), mirror(t % columns * wide + j, width));
                    histogram[usize::from(byte(image[(i * width + j) * channels + channel]))] += 1.0;
                }
                *table = self.table(&histogram, (tall * wide) as f32);
            }
            for (i, j) in (0..height).flat_map(|i| (0..width).map(move |j| (i, j))) {
                let ((top, bottom, down), (left, right, across)) = (tiles(i, tall, rows), tiles(j, wide, columns));
                let at = (i * width + j) * channels + channel;
                let value = |row: usize, column: usize| tables[row * columns + column][usize::from(byte(image[at]))];
                let between = |row: usize| value(row, left) * (1.0 - across) + value(row, right) * across;
                let mixed = between(top) * (1.0 - down) + between(bottom) * down;
                out[at] = mixed / 255.0 * (high - low) + low;
            }
        }
        Ok(())
    }
}

impl Layer for ContrastLimitedAdaptiveHistogramEqualization {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.value_range.checked("value_range")?;
        let Sizes(tiles) = self.tile_grid_size;
        ensure!(
            tiles.iter().all(|n| (1..=1 << 10).contains(n)) && self.clip_limit.is_finite(),
            Argument,
            "tile_grid_size is {tiles:?} and clip_limit {}; there can be 1 to 1024 tiles either way",
            self.clip_limit
        );
        Ok(())
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        super::forward(self, true, None, self.data_format, inputs, cx)
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        super::backward(self, self.data_format, gradients, cx)
    }
}
