//! Many tiles: the loops of a matrix product around [`tile`](super::tile), and the copy of the right operand
//! that it reads.
//!
//! The left operand is never copied. The right one is cut into panels as wide as a tile. A panel is
//! read again for each few rows of the left one, so where there are many rows, its rows are copied
//! to follow each other.

use super::scratch::Scratch;
use super::simd::{Isa, Lanes, Work};
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

/// Where the values of a matrix lie: one of the strides is 1.
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
        panels.copy_in(isa, 0..rows, source, factor);
        panels
    }

    /// Copies a matrix into the rows `at`.
    pub(super) fn copy_in(&mut self, isa: Isa, at: Range<usize>, source: Source, factor: f32) {
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
                let rows = at.len();
                isa.run(Transpose { from, from_step: source.col_stride, to: panel, to_step: width, rows, cols: count });
                panel.chunks_exact_mut(width).for_each(|row| row[count..].fill(0.0));
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

/// Copies the transpose of a matrix with contiguous rows, `from_step` apart: `to` has `rows` rows
/// of `cols` values, `to_step` apart.
pub(super) struct Transpose<'a> {
    pub from: &'a [f32],
    pub from_step: usize,
    pub to: &'a mut [f32],
    pub to_step: usize,
    pub rows: usize,
    pub cols: usize,
}

impl Work for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Transpose { from, from_step, to, to_step, rows, cols } = self;
        for i in (0..rows).step_by(8) {
            for j in (0..cols).step_by(8) {
                if i + 8 <= rows && j + 8 <= cols {
                    let from = &from[j * from_step + i..][..7 * from_step + 8];
                    let to = &mut to[i * to_step + j..][..7 * to_step + 8];
                    // SAFETY: both slices hold 8 rows of 8 values; the caller has the instruction set.
                    unsafe { L::transpose8(from.as_ptr(), from_step, to.as_mut_ptr(), to_step) };
                    continue;
                }
                for i in i..rows.min(i + 8) {
                    for j in j..cols.min(j + 8) {
                        to[i * to_step + j] = from[j * from_step + i];
                    }
                }
            }
        }
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
