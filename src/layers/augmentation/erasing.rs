//! Rectangles that are filled.

use super::color::range;
use super::{Augmentation, BYTES, Draws, Range, augmentations};
use crate::error::{Result, ensure};
use ndarray_rand::rand::Rng as _;
use ndarray_rand::rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::ops;

/// What fills the rectangle of [`RandomErasing`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Filling {
    /// One value.
    Value(f64),
    /// One value for each channel.
    Channels(Vec<f64>),
}

impl From<f64> for Filling {
    fn from(value: f64) -> Self {
        Filling::Value(value)
    }
}

augmentations! {
    /// Fills a rectangle of each image (Keras: `RandomErasing`).
    RandomErasing() [seed] {
        /// How many of the images: a number `f` means a probability drawn from 0 to `f`. Default: 1.
        factor: Range = Range::Between(0.0, 1.0),
        /// The share of the image, from 0 to 1: its square root for each side, drawn one by one. Default: 0.02 to 0.33.
        scale: Range = Range::Between(0.02, 0.33),
        /// What fills the rectangle. Default: for each value a draw from a normal distribution whose deviation is the
        /// largest value of the range.
        fill_value: Option<Filling> as Filling = None,
        /// The smallest and the largest value of an image, between which the filling is kept. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
    }
}

/// Where a rectangle lies: rows and columns.
pub(super) type Rectangle = [ops::Range<usize>; 2];

/// A rectangle with these shares of the height and the width, at a random place, and its share of the image.
pub(super) fn rectangle(
    [height, width, _]: [usize; 3],
    [down, across]: [f64; 2],
    draws: &mut Draws,
) -> (Rectangle, f64) {
    // Keras draws the place along the width first, and takes the pixels whose number lies in between.
    let mut span = |length: usize, share: f64| {
        let size = share * length as f64;
        let start = draws.sample.random::<f64>() * (length as f64 - size);
        let pixel = |v: f64| (v.ceil().max(0.0) as usize).min(length);
        pixel(start)..pixel(start + size)
    };
    let columns = span(width, across);
    let rows = span(height, down);
    ([rows, columns], down * across)
}

/// What [`RandomErasing`] draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Erased {
    /// The rows of the rectangle.
    pub rows: ops::Range<usize>,
    /// Its columns.
    pub columns: ops::Range<usize>,
    /// Its new values: for each pixel, row by row, one for each channel.
    pub values: Vec<f32>,
}

impl RandomErasing {
    fn check_arguments(&self) -> Result<()> {
        self.factor.check_within("factor", 0.0, 1.0)?;
        self.scale.check_within("scale", 0.0, 1.0)
    }

    /// The places of the values of each row of the rectangle.
    fn rows(size: [usize; 3], erased: &Erased) -> Result<impl Iterator<Item = ops::Range<usize>>> {
        let [height, width, channels] = size;
        let Erased { rows, columns, values } = erased;
        ensure!(
            rows.start <= rows.end
                && columns.start <= columns.end
                && rows.end <= height
                && columns.end <= width
                && values.len() == rows.len() * columns.len() * channels,
            Shape,
            "rows {rows:?} and columns {columns:?} with {} values do not fit an image of shape {size:?}",
            values.len()
        );
        let (first, last) = (columns.start * channels, columns.end * channels);
        Ok(rows.clone().map(move |row| row * width * channels + first..row * width * channels + last))
    }
}

impl Augmentation for RandomErasing {
    /// None where the image stays.
    type Parameters = Option<Erased>;

    fn draw(&self, size: [usize; 3], draws: &mut Draws) -> Option<Erased> {
        let scale = self.scale.bounds(0.0);
        // The share that is drawn first counts for the width.
        let [across, down] = [(); 2].map(|()| draws.between(scale).sqrt());
        let ([rows, columns], _) = rectangle(size, [down, across], draws);
        if !draws.happens(self.factor) {
            return None;
        }
        let (channels, [low, high]) = (size[2], range(self.value_range));
        let fill = |i: usize| match &self.fill_value {
            None => high * Distribution::<f32>::sample(&StandardNormal, &mut draws.sample),
            Some(Filling::Value(value)) => *value as f32,
            Some(Filling::Channels(values)) => values.get(i % channels).copied().unwrap_or(0.0) as f32,
        };
        let values = (0..rows.len() * columns.len() * channels).map(fill).map(|v| v.max(low).min(high)).collect();
        Some(Erased { rows, columns, values })
    }

    fn check_size(&self, size: [usize; 3]) -> Result<()> {
        if let Some(Filling::Channels(values)) = &self.fill_value {
            ensure!(values.len() == size[2], Shape, "fill_value has {} values for {} channels", values.len(), size[2]);
        }
        Ok(())
    }

    fn write(&self, size: [usize; 3], erased: &Option<Erased>, image: &[f32], out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(image);
        if let Some(erased) = erased {
            let mut values = erased.values.as_slice();
            for row in Self::rows(size, erased)? {
                let (now, rest) = values.split_at(row.len());
                out[row].copy_from_slice(now);
                values = rest;
            }
        }
        Ok(())
    }

    fn gradient(&self, size: [usize; 3], erased: &Option<Erased>, _: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<()> {
        dx.copy_from_slice(dy);
        if let Some(erased) = erased {
            Self::rows(size, erased)?.for_each(|row| dx[row].fill(0.0));
        }
        Ok(())
    }
}
