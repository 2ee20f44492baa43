//! The input as the tiles read it: output rows ("lines") of windows, with the padding in place.
//!
//! Where there is no padding, that is the input itself. Otherwise a block of lines at a time is copied
//! between zeros: as much work as the input is large, not as all patches are.

use super::Conv2d;
use crate::kernels::scratch::Scratch;
use crate::kernels::simd::{Isa, Lanes, Work};
use smallvec::SmallVec;
use std::ops::Range;

/// Values of the input that are worked on at once: a part of the second-level cache.
const BLOCK_LEN: usize = 1 << 17;
/// Lines that are worked on at once.
const MOST: usize = 64;

/// The lines of one convolution. They count through all images.
pub(super) struct Lines<'a> {
    g: &'a Conv2d,
    x: &'a [f32],
    /// Where lines are copied to, if there is padding.
    buffer: Option<Scratch>,
    /// Values in a row of what is read.
    row_len: usize,
    /// Lines in a block.
    step: usize,
}

/// A few lines: where each begins in the data.
pub(super) struct Block<'a> {
    pub(super) data: &'a [f32],
    pub(super) starts: SmallVec<[usize; MOST]>,
}

impl<'a> Lines<'a> {
    /// The lines of `x`, no more than `most` in a block, but for a number that all blocks are multiples of.
    pub(super) fn of(g: &'a Conv2d, x: &'a [f32], most: usize, multiple: usize) -> Self {
        let (in_h, in_w) = Self::size(g);
        let padded = g.pad_top > 0 || g.pad_left > 0 || in_h > g.in_h || in_w > g.in_w;
        let row_len = if padded { in_w } else { g.in_w } * g.in_c;
        let step = (BLOCK_LEN / (row_len * g.stride_h)).clamp(1, MOST.min(most.max(1)));
        // Whole images, if one fits.
        let step = if step > g.out_h { step / g.out_h * g.out_h } else { (step / multiple).max(1) * multiple };
        // A block may begin and end within an image.
        let parts = (step - 1).div_ceil(g.out_h) + 1;
        let most_rows = step * g.stride_h + parts * ((g.kernel_h - 1) * g.dilation_h + 1);
        let buffer = padded.then(|| Scratch::take(most_rows * row_len));
        Lines { g, x, buffer, row_len, step }
    }

    /// Rows and columns of an image that the windows see, with the padding.
    pub(super) fn size(g: &Conv2d) -> (usize, usize) {
        (g.rows_seen(g.out_h), (g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1)
    }

    /// Copies all that the windows of an image see.
    pub(super) fn pad(g: &Conv2d, isa: Isa, x: &[f32], image: usize, to: &mut [f32]) {
        let len = g.in_h * g.in_w * g.in_c;
        let row_len = Self::size(g).1 * g.in_c;
        isa.run(Pad { g, x: &x[image * len..][..len], first: 0, row_len, to });
    }

    /// The blocks that cover `all`.
    pub(super) fn blocks(&self, all: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let step = self.step;
        all.clone().step_by(step).map(move |start| start..(start + step).min(all.end))
    }

    /// Lines in the largest block.
    pub(super) fn most(&self) -> usize {
        self.step
    }

    /// The distance of rows in the data.
    pub(super) fn row_len(&self) -> usize {
        self.row_len
    }

    /// Some lines, ready to be read.
    pub(super) fn load(&mut self, isa: Isa, lines: Range<usize>) -> Block<'_> {
        let g = self.g;
        let image_len = g.in_h * g.in_w * g.in_c;
        let Some(buffer) = &mut self.buffer else {
            let start = |line: usize| line / g.out_h * image_len + line % g.out_h * g.stride_h * self.row_len;
            return Block { data: self.x, starts: lines.map(start).collect() };
        };
        let mut starts = SmallVec::new();
        let (mut at, mut done) = (lines.start, 0);
        while at < lines.end {
            let (image, first) = (at / g.out_h, at % g.out_h);
            let count = (g.out_h - first).min(lines.end - at);
            let rows = g.rows_seen(count);
            let to = &mut buffer[done..][..rows * self.row_len];
            starts.extend((0..count).map(|i| done + i * g.stride_h * self.row_len));
            let x = &self.x[image * image_len..][..image_len];
            isa.run(Pad { g, x, first: first * g.stride_h, row_len: self.row_len, to });
            (at, done) = (at + count, done + to.len());
        }
        Block { data: buffer, starts }
    }
}

impl Conv2d {
    /// Input rows, with padding, that `lines` lines of one image see.
    fn rows_seen(&self, lines: usize) -> usize {
        (lines - 1) * self.stride_h + (self.kernel_h - 1) * self.dilation_h + 1
    }
}

/// Copies rows of an image, from padded row `first` on, with the zeros around them.
struct Pad<'a> {
    g: &'a Conv2d,
    x: &'a [f32],
    first: usize,
    row_len: usize,
    to: &'a mut [f32],
}

impl Work for Pad<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (g, len) = (self.g, self.g.in_w * self.g.in_c);
        let left = (g.pad_left * g.in_c).min(self.row_len);
        let inside = len.min(self.row_len - left);
        for (i, to) in self.to.chunks_exact_mut(self.row_len).enumerate() {
            let row = (self.first + i).checked_sub(g.pad_top).filter(|row| *row < g.in_h);
            let Some(row) = row else {
                to.fill(0.0);
                continue;
            };
            let (margin, to) = to.split_at_mut(left);
            let (to, right) = to.split_at_mut(inside);
            // SAFETY: the caller has the instruction set.
            unsafe {
                zero::<L>(margin);
                copy::<L>(&self.x[row * len..][..inside], to);
                zero::<L>(right);
            }
        }
    }
}

/// Short runs of zeros, without a call.
///
/// # Safety
/// As [`Work::run`].
#[inline(always)]
unsafe fn zero<L: Lanes>(to: &mut [f32]) {
    for to in to.chunks_mut(L::LEN) {
        // SAFETY: only the first `to.len()` values are written.
        unsafe { L::splat(0.0).store_part(to.as_mut_ptr(), L::first(to.len())) };
    }
}

/// Short copies, without a call.
///
/// # Safety
/// As [`Work::run`].
#[inline(always)]
unsafe fn copy<L: Lanes>(from: &[f32], to: &mut [f32]) {
    for (from, to) in from.chunks(L::LEN).zip(to.chunks_mut(L::LEN)) {
        // SAFETY: only as many values as both chunks have are read and written.
        unsafe {
            let part = L::first(from.len().min(to.len()));
            L::load_part(from.as_ptr(), part).store_part(to.as_mut_ptr(), part);
        }
    }
}
