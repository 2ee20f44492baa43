//! Many tiles: the loops of a matrix product around [`tile`](super::tile), and the copy of the right operand
//! that it reads.
//!
//! The left operand is never copied. The right one is cut into panels as wide as a tile. A panel is
//! read again for each few rows of the left one, so where there are many rows, its rows are copied
//! to follow each other.

use super::scratch::Scratch;
use super::simd::Isa;
use super::tile::{Left, Reading, Right, Sizes, Start, split, tile};
use std::ops::Range;

/// Rows of panels that are worked on at once, so that a panel stays in the first-level cache ...
const DEPTH: usize = 384;
/// ... and rows of the left operand: these times `DEPTH` values stay in the second-level cache.
const HEIGHT: usize = 252;

/// A matrix that is a right operand, by panels of [`Sizes::cols`] columns; the last one is narrower.
pub(super) struct Panels<'a> {
    data: Data<'a>,
    rows: usize,
    cols: usize,
    sizes: &'static Sizes,
}

enum Data<'a> {
    /// Read where it is: rows so far apart.
    InPlace(&'a [f32], usize),
    /// Panel after panel, each without gaps between its rows; the last one is filled up to whole vectors.
    Copied(Scratch),
}

/// How the rows of a matrix lie in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub data: &'a [f32],
    pub row_stride: usize,
    pub col_stride: usize,
}

impl<'a> Panels<'a> {
    /// Reads `rows` rows of `cols` contiguous values where they are.
    pub(super) fn in_place(isa: Isa, data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        Panels { data: Data::InPlace(data, row_stride), rows, cols, sizes: Sizes::of(isa) }
    }

    /// Space for a matrix, to be filled by [`copy_in`](Self::copy_in).
    pub(super) fn new(isa: Isa, rows: usize, cols: usize) -> Panels<'static> {
        let sizes = Sizes::of(isa);
        Panels { data: Data::Copied(Scratch::take(rows * cols.next_multiple_of(sizes.lanes))), rows, cols, sizes }
    }

    /// A copy of a matrix, times `factor`.
    pub(super) fn copy(isa: Isa, source: Source, rows: usize, cols: usize, factor: f32) -> Panels<'static> {
        let mut panels = Panels::new(isa, rows, cols);
        panels.copy_in(0..rows, source, factor);
        panels
    }

    /// Copies a matrix into the rows `at`.
    pub(super) fn copy_in(&mut self, at: Range<usize>, source: Source, factor: f32) {
        let (total, cols, wide, lanes) = (self.rows, self.cols, self.sizes.cols(), self.sizes.lanes);
        let Data::Copied(data) = &mut self.data else { return };
        for first in (0..cols).step_by(wide) {
            let count = wide.min(cols - first);
            let width = count.next_multiple_of(lanes);
            let panel = &mut data[first * total..][at.start * width..at.end * width];
            let from = source.data.get(first * source.col_stride..).unwrap_or_default();
            if source.col_stride == 1 {
                for (k, to) in panel.chunks_exact_mut(width).enumerate() {
                    let from = &from[k * source.row_stride..][..count];
                    to[..count].copy_from_slice(from);
                    to[count..].fill(0.0);
                }
            } else {
                transpose(from, source.row_stride, source.col_stride, panel, width, count);
            }
            if factor != 1.0 {
                panel.iter_mut().for_each(|x| *x *= factor);
            }
        }
    }

    /// The panels of some rows, each with its first column.
    pub(super) fn of(&self, rows: Range<usize>) -> impl Iterator<Item = (usize, Right<'_>)> {
        let (cols, wide) = (self.cols, self.sizes.cols());
        (0..cols).step_by(wide).map(move |first| {
            let count = wide.min(cols - first);
            let (b, step) = match &self.data {
                Data::InPlace(data, step) => (&data[(rows.start * step + first).min(data.len())..], *step),
                Data::Copied(data) => {
                    let width = count.next_multiple_of(self.sizes.lanes);
                    (&data[first * self.rows..][rows.start * width..rows.end * width], width)
                }
            };
            (first, Right { b, step, cols: count })
        })
    }
}

/// Copies columns that are contiguous in memory: `count` of them, into rows of `width`.
fn transpose(from: &[f32], row_stride: usize, col_stride: usize, panel: &mut [f32], width: usize, count: usize) {
    for (k, to) in panel.chunks_exact_mut(width).enumerate() {
        let (to, rest) = to.split_at_mut(count);
        for (j, to) in to.iter_mut().enumerate() {
            *to = from[k * row_stride + j * col_stride];
        }
        rest.fill(0.0);
    }
}

/// `c = start + left * right`, for `rows` rows of `c`, `c_step` apart; the left operand is one segment.
///
/// # Panics
/// When something does not fit in its slice.
#[allow(clippy::too_many_arguments, reason = "a product has many")]
pub(super) fn product(
    isa: Isa,
    a: &[f32],
    reading: Reading,
    rows: usize,
    depth: usize,
    right: &Panels,
    start: Start,
    c: &mut [f32],
    c_step: usize,
) {
    let sizes = Sizes::of(isa);
    // Without depth there is still one round, which stores the start.
    for ks in split(depth, DEPTH).chain((depth == 0).then_some(0..0)) {
        let start = if ks.start > 0 { Start::Sum } else { start };
        let k_step = match reading {
            Reading::Rows(_) => 1,
            Reading::Columns(step) => step,
        };
        let row_step = match reading {
            Reading::Rows(step) => step,
            Reading::Columns(_) => 1,
        };
        let left = Left { a, reading, segments: &[ks.start * k_step], run: ks.len() };
        for block in split(rows, HEIGHT) {
            for (col, right) in right.of(ks.clone()) {
                let start = match start {
                    Start::Bias(bias) => Start::Bias(&bias[col..]),
                    start => start,
                };
                for at in split(block.len(), sizes.rows(right.cols)) {
                    let (row, count) = (block.start + at.start, at.len());
                    let c = &mut c[row * c_step + col..];
                    tile(isa, count, &left, row * row_step, &right, start, false, c, c_step);
                }
            }
        }
    }
}
