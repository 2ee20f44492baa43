//! What layer, root-mean-square and unit normalization have in common: each row is brought to a size of its own.

use super::axes::Axes;
use crate::error::{Result, ensure};
use crate::kernels::vectorised;
use crate::layer::{Backward, Forward, Gradients, Param};
use crate::runtime::threads;
use crate::tensor::Tensor;

/// What a row is measured by; it is multiplied by the inverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// The mean is taken off, the rest measured by `sqrt(variance + epsilon)`.
    Centred,
    /// `sqrt(variance + epsilon)`, but the mean stays.
    Deviation,
    /// `sqrt(mean of squares + epsilon)`
    RootMeanSquare,
    /// `max(length, epsilon)`
    Length,
}

/// `scale * (x - shift) / measure + offset` over the values of some axes together.
pub(super) struct RowNorm<'a> {
    pub axis: &'a Axes,
    pub measure: Measure,
    pub epsilon: f64,
    /// One for each value of a row; none is 1.
    pub scale: Option<&'a Param>,
    /// One for each value of a row; none is 0.
    pub offset: Option<&'a Param>,
}

/// The values that are folded side by side; their order is fixed.
const LANES: usize = 32;
/// At most so many pieces, for each of which there is a row of sums; and none with fewer values than this.
const PIECES: usize = 32;
const SMALLEST: usize = 1 << 14;

/// The number of values in a piece of whole rows.
fn piece(len: usize, row: usize) -> usize {
    (len.div_ceil(PIECES).max(SMALLEST)).next_multiple_of(row)
}

/// What is known of one row: what it is measured around, and the inverse of its measure.
const KNOWN: usize = 2;

impl RowNorm<'_> {
    pub fn forward(&self, x: Tensor, cx: &mut Forward<'_>) -> Result<Tensor> {
        let end = self.axis.to_end(x.rank())?;
        let x = end.turn(x)?;
        let row: usize = x.shape()[x.rank() - end.count..].iter().product();
        let fits = |param: &Param| param.len() == row;
        ensure!(
            self.scale.is_none_or(fits) && self.offset.is_none_or(fits),
            Shape,
            "its weights do not fit rows of {row} values, of an input of shape {:?}",
            x.shape()
        );
        let mut y = cx.scratch(x.shape());
        if row == 0 {
            return end.turn_back(y);
        }
        let mut known = cx.scratch([x.len() / row, KNOWN]);
        let scale = self.scale.map_or_else(|| constant(cx.scratch([row]), 1.0), Param::value);
        let offset = self.offset.map_or_else(|| constant(cx.scratch([row]), 0.0), Param::value);
        let (scale, offset) = (scale.data(), offset.data());
        let length = piece(x.len(), row);
        let pieces = y.data_mut().chunks_mut(length).zip(known.data_mut().chunks_mut(length / row * KNOWN));
        let mut pieces: Vec<_> = pieces.zip(x.data().chunks(length)).collect();
        let (measure, epsilon) = (self.measure, self.epsilon);
        threads::for_each(&mut pieces, |_, ((y, known), x)| {
            let (y, known, x) = (&mut **y, &mut **known, *x);
            vectorised(
                #[inline(always)]
                move || {
                    let rows = y.chunks_exact_mut(row).zip(x.chunks_exact(row)).zip(known.chunks_exact_mut(KNOWN));
                    for ((y, x), known) in rows {
                        let [centre, inverse] = measure_row(measure, epsilon, x);
                        known.copy_from_slice(&[centre, inverse]);
                        let shift = if measure == Measure::Centred { centre } else { 0.0 };
                        let each = y.iter_mut().zip(x).zip(scale).zip(offset);
                        each.for_each(|(((y, x), scale), offset)| *y = (x - shift) * inverse * scale + offset);
                    }
                },
            );
        });
        drop(pieces);
        cx.save(x);
        cx.save(known);
        end.turn_back(y)
    }

    pub fn backward(&self, dy: Tensor, cx: &mut Backward<'_>) -> Result<Gradients> {
        let end = self.axis.to_end(dy.rank())?;
        let mut dy = end.turn(dy)?;
        let row: usize = dy.shape()[dy.rank() - end.count..].iter().product();
        if row == 0 {
            return Ok(end.turn_back(dy)?.into());
        }
        let known = cx.restore()?;
        let x = cx.restore()?;
        let scale = self.scale.map_or_else(|| constant(cx.scratch([row]), 1.0), Param::value);
        let scale = scale.data();
        let length = piece(dy.len(), row);
        let (learn_scale, learn_offset) =
            (self.scale.is_some() && cx.trainable(), self.offset.is_some() && cx.trainable());
        let sums = |wanted: bool| vec![0f64; if wanted { row } else { 0 }];
        let pieces = dy.data_mut().chunks_mut(length).zip(x.data().chunks(length));
        let mut pieces: Vec<_> = pieces
            .zip(known.data().chunks(length / row * KNOWN))
            .map(|((dy, x), known)| (dy, x, known, sums(learn_scale), sums(learn_offset)))
            .collect();
        let (measure, epsilon) = (self.measure, self.epsilon);
        threads::for_each(&mut pieces, |_, (dy, x, known, scales, offsets)| {
            let (dy, x, known, scales, offsets) = (&mut **dy, *x, *known, &mut **scales, &mut **offsets);
            vectorised(
                #[inline(always)]
                move || {
                    let rows = dy.chunks_exact_mut(row).zip(x.chunks_exact(row)).zip(known.chunks_exact(KNOWN));
                    for ((dy, x), known) in rows {
                        let &[centre, inverse] = known else { return };
                        let shift = if measure == Measure::Centred { centre } else { 0.0 };
                        offsets.iter_mut().zip(&*dy).for_each(|(sum, dy)| *sum += f64::from(*dy));
                        let each = scales.iter_mut().zip(&*dy).zip(x);
                        each.for_each(|((sum, dy), x)| *sum += f64::from(dy * ((x - shift) * inverse)));

                        let [sum, product] = gradient_sums(dy, x, scale, shift);
                        let (n, wide) = (row as f64, f64::from(inverse));
                        // How the inverse moves with x, along x - centre.
                        let slope = match measure {
                            Measure::Length if wide >= 1.0 / epsilon => 0.0,
                            Measure::Length => product * wide.powi(3),
                            _ => product * wide.powi(3) / n,
                        };
                        let along_one = if measure == Measure::Centred { sum / n * wide } else { 0.0 };
                        let (slope, along_one) = (slope as f32, along_one as f32);
                        let each = dy.iter_mut().zip(x).zip(scale);
                        each.for_each(|((dy, x), scale)| {
                            *dy = *dy * scale * inverse - along_one - (x - centre) * slope;
                        });
                    }
                },
            );
        });
        let partial: Vec<_> = pieces.into_iter().map(|(.., scales, offsets)| (scales, offsets)).collect();
        let fold = |gradient: &mut [f32], sums: &mut dyn Iterator<Item = &Vec<f64>>| {
            let mut total = vec![0f64; gradient.len()];
            sums.for_each(|sums| total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum));
            gradient.iter_mut().zip(total).for_each(|(g, total)| *g += total as f32);
        };
        if let Some(gradient) = self.scale.and_then(|scale| cx.gradient(scale)) {
            fold(gradient, &mut partial.iter().map(|(scales, _)| scales));
        }
        if let Some(gradient) = self.offset.and_then(|offset| cx.gradient(offset)) {
            fold(gradient, &mut partial.iter().map(|(_, offsets)| offsets));
        }
        Ok(end.turn_back(dy)?.into())
    }
}

fn constant(mut tensor: Tensor, value: f32) -> Tensor {
    tensor.data_mut().fill(value);
    tensor
}

/// What `x` is measured around and the inverse of its measure.
#[inline(always)]
fn measure_row(measure: Measure, epsilon: f64, x: &[f32]) -> [f32; 2] {
    let n = x.len() as f64;
    let centre = match measure {
        Measure::Centred | Measure::Deviation => sum(x, |x| x) / n,
        Measure::RootMeanSquare | Measure::Length => 0.0,
    };
    let squares = sum(x, |x| (x - centre) * (x - centre));
    let inverse = match measure {
        Measure::Length => (1.0 / squares.sqrt()).min(1.0 / epsilon),
        _ => 1.0 / (squares / n + epsilon).sqrt(),
    };
    [centre as f32, inverse as f32]
}

#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    let (blocks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0f64; LANES];
    for block in blocks {
        for i in 0..LANES {
            lanes[i] += f(f64::from(block[i]));
        }
    }
    rest.iter().map(|&x| f(f64::from(x))).sum::<f64>() + lanes.iter().sum::<f64>()
}

/// The sums of `dy * scale` and of `dy * scale * (x - shift)`.
#[inline(always)]
fn gradient_sums(dy: &[f32], x: &[f32], scale: &[f32], shift: f32) -> [f64; 2] {
    const LANES: usize = 16;
    let ((dys, dy_rest), (xs, x_rest)) = (dy.as_chunks::<LANES>(), x.as_chunks::<LANES>());
    let (scales, scale_rest) = scale.as_chunks::<LANES>();
    let (mut sums, mut products) = ([0f64; LANES], [0f64; LANES]);
    for ((dy, x), scale) in dys.iter().zip(xs).zip(scales) {
        for i in 0..LANES {
            let g = f64::from(dy[i] * scale[i]);
            sums[i] += g;
            products[i] += g * f64::from(x[i] - shift);
        }
    }
    let (mut sum, mut product) = (sums.iter().sum::<f64>(), products.iter().sum::<f64>());
    for ((dy, x), scale) in dy_rest.iter().zip(x_rest).zip(scale_rest) {
        let g = f64::from(dy * scale);
        sum += g;
        product += g * f64::from(x - shift);
    }
    [sum, product]
}
