//! Maps along one axis: each position of the output comes from a run of positions of the input. Resizing of
//! images and adaptive pooling are such maps, one for each axis.

use super::vectorised;
use crate::error::{Result, ensure};
use crate::runtime::threads;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;
use std::ops::Range;

/// How values between those of an image are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The nearest value.
    #[default]
    Nearest,
    /// A straight line between two values.
    Bilinear,
    /// Keys' cubic through four values (a = -1/2).
    Bicubic,
    /// Lanczos' kernel over six values.
    Lanczos3,
    /// Lanczos' kernel over ten values.
    Lanczos5,
    /// The mean over what an output stands for.
    Area,
    /// A bell curve (σ = 1/2) over three values.
    Gaussian,
    /// Mitchell's and Netravali's cubic through four values.
    MitchellCubic,
}

impl Interpolation {
    /// How far a value is seen.
    fn radius(self) -> f64 {
        match self {
            Interpolation::Nearest | Interpolation::Area => 0.5,
            Interpolation::Bilinear => 1.0,
            Interpolation::Gaussian => 1.5,
            Interpolation::Bicubic | Interpolation::MitchellCubic => 2.0,
            Interpolation::Lanczos3 => 3.0,
            Interpolation::Lanczos5 => 5.0,
        }
    }

    /// The weight of a value at this distance.
    fn weight(self, distance: f64) -> f64 {
        let (x, radius) = (distance.abs(), self.radius());
        match self {
            _ if x >= radius => 0.0,
            Interpolation::Nearest | Interpolation::Area => 1.0,
            Interpolation::Bilinear => 1.0 - x,
            Interpolation::Gaussian => (-2.0 * x * x).exp(),
            Interpolation::MitchellCubic if x < 1.0 => (7.0 / 6.0 * x - 2.0) * x * x + 8.0 / 9.0,
            Interpolation::MitchellCubic => ((2.0 - 7.0 / 18.0 * x) * x - 10.0 / 3.0) * x + 16.0 / 9.0,
            Interpolation::Bicubic if x <= 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Interpolation::Bicubic => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Interpolation::Lanczos3 | Interpolation::Lanczos5 if x < 1e-3 => 1.0,
            Interpolation::Lanczos3 | Interpolation::Lanczos5 => {
                radius * (PI * x).sin() * (PI * x / radius).sin() / (PI * PI * x * x)
            }
        }
    }
}

/// Where the largest middle part in the proportions of `to` lies in an image of this height and width, and its height
/// and width, which are at least 1.
pub(crate) fn middle([height, width]: [usize; 2], to: [usize; 2]) -> [[usize; 2]; 2] {
    let part = [(width * to[0] / to[1].max(1)).min(height).max(1), (height * to[1] / to[0].max(1)).min(width).max(1)];
    [[height.saturating_sub(part[0]) / 2, width.saturating_sub(part[1]) / 2], part]
}

/// For each position of an output axis, a run of positions of the input axis and their weights.
#[derive(Clone, Debug)]
pub struct Runs {
    input: usize,
    /// For each output the first position of its run and where its weights lie.
    runs: Vec<(usize, Range<usize>)>,
    weights: Vec<f32>,
}

impl Runs {
    fn new(input: usize, runs: impl IntoIterator<Item = (usize, Vec<f64>)>) -> Self {
        let mut made = Runs { input, runs: Vec::new(), weights: Vec::new() };
        for (first, weights) in runs {
            let from = made.weights.len();
            made.weights.extend(weights.into_iter().map(|w| w as f32));
            made.runs.push((first, from..made.weights.len()));
        }
        made
    }

    /// Resizing of `input` positions to `output`, by the centres of pixels (TensorFlow: `half_pixel_centers`): output
    /// `i` lies at `(i + 0.5) · input / output - 0.5`. Weights beyond the border count for nothing, and those within
    /// are scaled to a sum of 1. With `antialias` a smaller output sees a wider run.
    ///
    /// # Errors
    /// When a size is 0.
    pub fn resize(input: usize, output: usize, interpolation: Interpolation, antialias: bool) -> Result<Self> {
        ensure!(input > 0 && output > 0, Shape, "cannot resize {input} positions to {output}");
        let scale = input as f64 / output as f64;
        let run = |i: usize| {
            let centre = (i as f64 + 0.5) * scale - 0.5;
            if interpolation == Interpolation::Nearest {
                let nearest = (((i as f64 + 0.5) * scale) as usize).min(input - 1);
                return (nearest, vec![1.0]);
            }
            if interpolation == Interpolation::Area {
                let (from, to) = (i as f64 * scale, (i as f64 + 1.0) * scale);
                let first = from as usize;
                let covered = |at: usize| (to.min(at as f64 + 1.0) - from.max(at as f64)) / scale;
                let last = (to.ceil() as usize).clamp(first + 1, input);
                return (first, (first..last).map(covered).collect());
            }
            let width = if antialias { scale.max(1.0) } else { 1.0 };
            let reach = interpolation.radius() * width;
            let first = (centre - reach).ceil().max(0.0) as usize;
            let last = ((centre + reach).floor() as usize).min(input - 1);
            let weights = (first..=last).map(|at| interpolation.weight((at as f64 - centre) / width));
            let mut weights: Vec<f64> = weights.collect();
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|w| *w /= sum);
            (first, weights)
        };
        Ok(Self::new(input, (0..output).map(run)))
    }

    /// `output` runs of about the same length that cover `input` positions, with weights that give their means
    /// (adaptive pooling): run `i` is `⌊i · input / output⌋ .. ⌈(i + 1) · input / output⌉`.
    ///
    /// # Errors
    /// When a size is 0.
    pub fn adaptive(input: usize, output: usize) -> Result<Self> {
        ensure!(input > 0 && output > 0, Shape, "cannot pool {input} positions to {output}");
        let run = |i: usize| {
            let run = i * input / output..((i + 1) * input).div_ceil(output);
            (run.start, vec![1.0 / run.len() as f64; run.len()])
        };
        Ok(Self::new(input, (0..output).map(run)))
    }

    /// The first input position and the weights of output `i`.
    #[cfg(feature = "image")]
    pub(crate) fn run(&self, i: usize) -> (usize, &[f32]) {
        let (first, weights) = &self.runs[i];
        (*first, &self.weights[weights.clone()])
    }

    /// The number of positions of the output.
    pub fn output(&self) -> usize {
        self.runs.len()
    }

    /// The weighted sums of `x`, `(outer, input, inner)`, into `y`, `(outer, output, inner)`.
    ///
    /// # Panics
    /// When a slice has another length.
    pub fn forward(&self, x: &[f32], inner: usize, y: &mut [f32]) {
        self.each(x, inner, y, |run, weights, x, y| {
            for (i, (&w, x)) in weights.iter().zip(x[run.start * inner..].chunks_exact(inner)).enumerate() {
                let each = y.iter_mut().zip(x);
                if i == 0 { each.for_each(|(y, x)| *y = w * x) } else { each.for_each(|(y, x)| *y += w * x) }
            }
        });
    }

    /// The gradient by `x` of [`forward`](Self::forward), into `dx`.
    ///
    /// # Panics
    /// When a slice has another length.
    pub fn backward(&self, dy: &[f32], inner: usize, dx: &mut [f32]) {
        self.each_back(dx, inner, dy.len(), |at, run, weights, dx| {
            let dy = &dy[at..at + inner];
            for (w, dx) in weights.iter().zip(dx[run.start * inner..].chunks_exact_mut(inner)) {
                dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += w * dy);
            }
        });
    }

    /// The maximum of each run; a NaN stays.
    ///
    /// # Panics
    /// When a slice has another length.
    pub fn max_forward(&self, x: &[f32], inner: usize, y: &mut [f32]) {
        self.each(x, inner, y, |run, _, x, y| {
            y.copy_from_slice(&x[run.start * inner..][..inner]);
            for x in x[(run.start + 1) * inner..run.end * inner].chunks_exact(inner) {
                y.iter_mut().zip(x).for_each(|(y, x)| *y = if *x > *y || x.is_nan() { *x } else { *y });
            }
        });
    }

    /// The gradient by `x` of [`max_forward`](Self::max_forward), into `dx`: that of a run goes to the first position
    /// that equals its maximum.
    ///
    /// # Panics
    /// When a slice has another length.
    pub fn max_backward(&self, x: &[f32], y: &[f32], dy: &[f32], inner: usize, dx: &mut [f32]) {
        assert_eq!((x.len(), y.len()), (dx.len(), dy.len()), "lengths of values and gradients");
        let of_y = (self.output() * inner).max(1);
        self.each_back(dx, inner, dy.len(), |at, run, _, dx| {
            let x = &x[at / of_y * self.input * inner..];
            for i in 0..inner {
                let same = |&position: &usize| x[position * inner + i] == y[at + i];
                if let Some(position) = run.clone().find(same) {
                    dx[position * inner + i] += dy[at + i];
                }
            }
        });
    }

    /// Calls `work(run, weights, x of the sample, y of the position)` for each position of the output.
    fn each(
        &self,
        x: &[f32],
        inner: usize,
        y: &mut [f32],
        work: impl Fn(Range<usize>, &[f32], &[f32], &mut [f32]) + Sync,
    ) {
        let (of_x, of_y) = (self.input * inner, self.output() * inner);
        if y.is_empty() {
            return;
        }
        assert_eq!(x.len() / of_x, y.len() / of_y, "lengths of the input and the output");
        let at_once = ((1 << 16) / of_y).max(1);
        threads::for_each_chunk(y, at_once * of_y, |i, y| {
            let samples = x[i * at_once * of_x..].chunks_exact(of_x).zip(y.chunks_exact_mut(of_y));
            vectorised(
                #[inline(always)]
                || {
                    for (x, y) in samples {
                        for ((first, at), y) in self.runs.iter().zip(y.chunks_exact_mut(inner)) {
                            work(*first..first + at.len(), &self.weights[at.clone()], x, y);
                        }
                    }
                },
            );
        });
    }

    /// Clears `dx` and calls `work(offset of the gradient, run, weights, dx of the sample)` for each position.
    fn each_back(
        &self,
        dx: &mut [f32],
        inner: usize,
        dy: usize,
        work: impl Fn(usize, Range<usize>, &[f32], &mut [f32]) + Sync,
    ) {
        let (of_x, of_y) = (self.input * inner, self.output() * inner);
        if dx.is_empty() {
            return;
        }
        assert_eq!(dx.len() / of_x, dy / of_y, "lengths of the input and the output");
        let at_once = ((1 << 16) / of_x).max(1);
        threads::for_each_chunk(dx, at_once * of_x, |i, dx| {
            vectorised(
                #[inline(always)]
                || {
                    for (sample, dx) in dx.chunks_exact_mut(of_x).enumerate() {
                        dx.fill(0.0);
                        for (position, (first, at)) in self.runs.iter().enumerate() {
                            let offset = (i * at_once + sample) * of_y + position * inner;
                            work(offset, *first..first + at.len(), &self.weights[at.clone()], dx);
                        }
                    }
                },
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_follow_their_formulas() {
        let runs = Runs::adaptive(7, 5).unwrap();
        let spans: Vec<_> = runs.runs.iter().map(|(first, at)| (*first, first + at.len())).collect();
        assert_eq!(spans, [(0, 2), (1, 3), (2, 5), (4, 6), (5, 7)]);
        let x = [1.0, 5.0, 2.0, 2.0, -1.0, 0.0, 3.0];
        let mut y = [0.0; 5];
        runs.max_forward(&x, 1, &mut y);
        assert_eq!(y, [5.0, 5.0, 2.0, 0.0, 3.0]);
        let mut dx = [9.0; 7];
        runs.max_backward(&x, &y, &[1.0, 2.0, 3.0, 4.0, 5.0], 1, &mut dx);
        assert_eq!(dx, [0.0, 3.0, 3.0, 0.0, 0.0, 4.0, 5.0]);

        // Twice as many: a quarter between the centres; the border is repeated.
        let runs = Runs::resize(2, 4, Interpolation::Bilinear, false).unwrap();
        let mut y = [0.0; 4];
        runs.forward(&[0.0, 8.0], 1, &mut y);
        assert_eq!(y, [0.0, 2.0, 6.0, 8.0]);
        let runs = Runs::resize(5, 2, Interpolation::Nearest, false).unwrap();
        assert_eq!(runs.runs.iter().map(|run| run.0).collect::<Vec<_>>(), [1, 3]);
        assert!(Runs::resize(0, 2, Interpolation::Nearest, false).is_err());
        assert!(Runs::adaptive(2, 0).is_err());
    }

    #[test]
    fn the_middle_is_as_large_as_it_can_be() {
        assert_eq!(middle([480, 640], [224, 224]), [[0, 80], [480, 480]]);
        assert_eq!(middle([7, 5], [2, 4]), [[2, 0], [2, 5]]);
        assert_eq!(middle([1, 900], [900, 1]), [[0, 449], [1, 1]]);
        // Nothing, of which nothing can be taken.
        assert_eq!(middle([0, 5], [2, 3]), [[0, 2], [1, 1]]);
        assert_eq!(middle([4, 4], [0, 0]), [[1, 1], [1, 1]]);
    }
}
