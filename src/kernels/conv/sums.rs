//! The gradient by the kernel: the transpose of all patches times the gradient by the output.
//!
//! The sum over output positions is cut into blocks. For a block, the gradient by the output is copied into panels, and
//! the columns of a few rows of the result, read from the image, into one vector for each position: both are read
//! again and again then. Pieces are lines with sums of their own; where the kernel is larger than the output, they are
//! rows of the result, and share one padded image and one copy of the panels.

use super::lines::Lines;
use super::{Conv2d, Shares, sum_of_parts};
use crate::kernels::reduce;
use crate::kernels::scratch::{Aligned, Scratch};
use crate::kernels::simd::{Isa, Lanes, Work};
use crate::kernels::tile::{End, Left, Reading, Right, Sizes, Start, split, tile};
use crate::runtime::{Workspace, threads};
use smallvec::SmallVec;
use std::ops::Range;

/// Output positions of a block, about: more, and they leave the first-level cache, fewer, and reading and storing the
/// sums costs too much.
const POSITIONS: usize = 256;
/// From so many rows of the result on, it is worth copying the right operand.
const COPY_ROWS: usize = 128;

/// The left operand is copied where so many columns read it ...
const COPY_COLS: usize = 128;
/// ... and its windows are so far apart that each is in a page of memory of its own, or nearly.
const COPY_STEP: usize = 192;

/// The windows of some output positions: lines of `len` windows, `step` apart, each line from its start on.
struct Block<'a> {
    data: &'a [f32],
    starts: &'a [usize],
    len: usize,
    step: usize,
    /// The positions, counted from the first one of all images on.
    at: Range<usize>,
}

impl Conv2d {
    /// Adds the gradients by the kernel and, where its place is not empty, by the bias: that only in shares of lines.
    pub(super) fn sum_weights(
        &self,
        isa: Isa,
        x: &[f32],
        dy: &[f32],
        dkernel: &mut [f32],
        dbias: &mut [f32],
        workspace: &Workspace,
    ) {
        self.sum_weights_in(self.shares(), isa, x, dy, dkernel, dbias, workspace);
    }

    /// The same in these shares.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn sum_weights_in(
        &self,
        shares: Shares,
        isa: Isa,
        x: &[f32],
        dy: &[f32],
        dkernel: &mut [f32],
        dbias: &mut [f32],
        workspace: &Workspace,
    ) {
        let (lines, patch) = (self.batch * self.out_h, self.patch());
        match shares {
            Shares::Lines(piece) => {
                sum_of_parts([dkernel, dbias], lines, piece, workspace, |lines, [dkernel, dbias]| {
                    self.sum_lines(isa, x, dy, lines, dkernel, dbias);
                });
            }
            Shares::Rows(piece) => {
                let padded = self.padded(isa, x, workspace);
                let (g, x) = padded.as_ref().map_or((self, x), |(g, x)| (g, x.as_slice()));
                let mut copy = Aligned::take(self.positions() * self.copied_width(isa), workspace);
                g.copy_gradients(isa, x, dy, &mut copy);
                let mut parts: Vec<_> = dkernel.chunks_mut(piece * self.out_c).collect();
                threads::for_each(&mut parts, |i, sums| {
                    let of = i * piece..((i + 1) * piece).min(patch);
                    g.each_block(isa, x, 0..lines, |block| {
                        let copy = &copy[block.at.start * self.copied_width(isa)..];
                        g.add_block(isa, block, of.clone(), sums, |group| g.copied(isa, copy, block.at.len(), group));
                    });
                });
                copy.give(workspace);
                if let Some((_, x)) = padded {
                    workspace.give(x);
                }
            }
        }
    }

    /// Adds what some lines give.
    fn sum_lines(&self, isa: Isa, x: &[f32], dy: &[f32], lines: Range<usize>, dkernel: &mut [f32], dbias: &mut [f32]) {
        let width = self.out_c / self.groups;
        // Rows far apart fall on few lines of the cache: a copy, if it is read often enough.
        let in_place = width <= Sizes::of(isa).cols() || self.patch() < COPY_ROWS;
        let mut copy = Scratch::take(0);
        self.each_block(isa, x, lines, |block| {
            let dy = &dy[block.at.start * self.out_c..block.at.end * self.out_c];
            if !dbias.is_empty() {
                // It was read, or is about to be.
                reduce::add_column_sums(dy, dbias);
            }
            let (positions, of) = (block.at.len(), 0..self.patch());
            if in_place {
                return self.add_block(isa, block, of, dkernel, |group| {
                    let dy = &dy[group * width..];
                    let cols = split_cols(isa, width);
                    cols.map(|cols| (cols.start, Right { b: &dy[cols.start..], step: self.out_c, cols: cols.len() }))
                        .collect()
                });
            }
            if copy.len() < positions * self.copied_width(isa) {
                copy = Scratch::take(positions * self.copied_width(isa));
            }
            self.copy_block(isa, dy, &mut copy);
            self.add_block(isa, block, of, dkernel, |group| self.copied(isa, &copy, positions, group));
        });
    }

    /// Calls `visit` with the blocks of these lines.
    fn each_block(&self, isa: Isa, x: &[f32], all: Range<usize>, mut visit: impl FnMut(&Block)) {
        if let Some(step) = self.direct() {
            for at in split(all.len() * self.out_w, POSITIONS) {
                let first = all.start * self.out_w;
                let at = first + at.start..first + at.end;
                visit(&Block { data: &x[at.start * step..], starts: &[0], len: at.len(), step, at });
            }
            return;
        }
        let mut lines = Lines::of(self, x, POSITIONS.div_ceil(self.out_w), 1);
        for at in lines.blocks(all) {
            let block = lines.load(isa, at.clone());
            let at = at.start * self.out_w..at.end * self.out_w;
            let step = self.stride_w * self.in_c;
            visit(&Block { data: block.data, starts: &block.starts, len: self.out_w, step, at });
        }
    }

    /// Adds what a block gives to the rows `of` the result; `rights` are the panels of a group, each with its first column.
    fn add_block<'a>(
        &self,
        isa: Isa,
        block: &Block,
        of: Range<usize>,
        dkernel: &mut [f32],
        rights: impl Fn(usize) -> SmallVec<[(usize, Right<'a>); 16]>,
    ) {
        let (width, depth, sizes) = (self.out_c / self.groups, self.in_c / self.groups, Sizes::of(isa));
        let Block { data, starts, len, step, .. } = *block;
        let (segments, run) = match self.direct() {
            Some(_) => (SmallVec::from_slice(&[0]), self.patch()),
            None => self.segments(self.in_row_len()),
        };
        let copies = width > COPY_COLS && step >= COPY_STEP;
        let mut copy = copies.then(|| Scratch::take(block.at.len() * sizes.lanes));
        for group in 0..self.groups {
            let rights = rights(group);
            for (i, segment) in segments.iter().enumerate() {
                let rows = of.start.max(i * run)..of.end.min((i + 1) * run);
                if rows.is_empty() {
                    continue;
                }
                for at in split(rows.len(), sizes.rows(width)) {
                    let row = rows.start + at.start;
                    let first = segment + row - i * run + group * depth;
                    let left = match &mut copy {
                        Some(to) => {
                            isa.run(CopyColumns { block, first, rows: at.len(), to });
                            let reading = Reading::Columns(sizes.lanes);
                            (Left { a: to, reading, segments: &[0], run: block.at.len() }, 0)
                        }
                        None => (Left { a: data, reading: Reading::Columns(step), segments: starts, run: len }, first),
                    };
                    for (col, right) in &rights {
                        let sums = &mut dkernel[(row - of.start) * self.out_c + group * width + col..];
                        tile(isa, at.len(), &left.0, left.1, right, Start::Sum, End::Plain, sums, self.out_c);
                    }
                }
            }
        }
    }

    /// The distance of rows in the data of a block.
    fn in_row_len(&self) -> usize {
        Lines::of(self, &[], 1, 1).row_len()
    }

    /// Values of a position in the copy of the gradients by the output.
    fn copied_width(&self, isa: Isa) -> usize {
        self.groups * (self.out_c / self.groups).next_multiple_of(Sizes::of(isa).lanes)
    }

    /// Copies the gradients by the output, block by block.
    fn copy_gradients(&self, isa: Isa, x: &[f32], dy: &[f32], to: &mut [f32]) {
        let (mut rest, mut parts) = (to, Vec::new());
        self.each_block(isa, x, 0..self.batch * self.out_h, |block| {
            let (part, after) = std::mem::take(&mut rest).split_at_mut(block.at.len() * self.copied_width(isa));
            parts.push((&dy[block.at.start * self.out_c..block.at.end * self.out_c], part));
            rest = after;
        });
        threads::for_each(&mut parts, |_, (dy, to)| self.copy_block(isa, dy, to));
    }

    /// Copies a block of them, panel after panel.
    fn copy_block(&self, isa: Isa, dy: &[f32], to: &mut [f32]) {
        let positions = dy.len() / self.out_c;
        let group_len = positions * self.copied_width(isa) / self.groups;
        for (group, to) in to.chunks_exact_mut(group_len).take(self.groups).enumerate() {
            isa.run(CopyPanels {
                dy,
                step: self.out_c,
                first: group * (self.out_c / self.groups),
                width: self.out_c / self.groups,
                to,
            });
        }
    }

    /// The panels of a group in the copy of a block.
    fn copied<'a>(
        &self,
        isa: Isa,
        copy: &'a [f32],
        positions: usize,
        group: usize,
    ) -> SmallVec<[(usize, Right<'a>); 16]> {
        let (width, lanes) = (self.out_c / self.groups, Sizes::of(isa).lanes);
        let copy = &copy[group * positions * width.next_multiple_of(lanes)..];
        let panel = |cols: Range<usize>| {
            let step = cols.len().next_multiple_of(lanes);
            (cols.start, Right { b: &copy[cols.start * positions..][..positions * step], step, cols: cols.len() })
        };
        split_cols(isa, width).map(panel).collect()
    }
}

/// The columns of each panel.
fn split_cols(isa: Isa, width: usize) -> impl Iterator<Item = Range<usize>> {
    let cols = Sizes::of(isa).cols();
    (0..width).step_by(cols).map(move |first| first..(first + cols).min(width))
}

/// Copies `rows` values from offset `first` of each window on, a vector for each window.
struct CopyColumns<'a> {
    block: &'a Block<'a>,
    first: usize,
    rows: usize,
    to: &'a mut [f32],
}

impl Work for CopyColumns<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let CopyColumns { block: &Block { data, starts, len, step, .. }, first, rows, to } = self;
        assert!(rows <= L::LEN && to.len() >= starts.len() * len * L::LEN && len > 0);
        for (start, to) in starts.iter().zip(to.chunks_exact_mut(len * L::LEN)) {
            let from = &data[start + first..][..(len - 1) * step + rows];
            for i in 0..len {
                // SAFETY: both ends lie in their slices, as was just asked; the caller has the instruction set.
                unsafe {
                    let x = L::load_part(from.as_ptr().add(i * step), L::first(rows));
                    x.store(to.as_mut_ptr().add(i * L::LEN));
                }
            }
        }
    }
}

/// Copies `width` columns from `first` on of rows that are `step` apart into panels, the last one filled up to whole
/// vectors.
pub(super) struct CopyPanels<'a> {
    pub dy: &'a [f32],
    pub step: usize,
    pub first: usize,
    pub width: usize,
    pub to: &'a mut [f32],
}

impl Work for CopyPanels<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let CopyPanels { dy, step, first, width, to } = self;
        let rows = dy.len() / step;
        assert!(first + width <= step && to.len() >= rows * width.next_multiple_of(L::LEN));
        for (i, row) in dy.chunks_exact(step).enumerate() {
            for col in (0..width).step_by(L::LEN) {
                // A panel is two vectors wide, the last one maybe one.
                let panel = col / (2 * L::LEN) * 2 * L::LEN;
                let wide = (width - panel).next_multiple_of(L::LEN).min(2 * L::LEN);
                // SAFETY: `width` values from `first` on are in the row; all panels are in `to`, as asserted; the
                // caller has the instruction set.
                unsafe {
                    let values = L::load_part(row.as_ptr().add(first + col), L::first(width - col));
                    values.store(to.as_mut_ptr().add(panel * rows + i * wide + col - panel));
                }
            }
        }
    }
}
