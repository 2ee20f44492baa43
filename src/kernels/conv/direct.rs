//! Convolution as a matrix product that reads its left operand where it lies in the image.
//!
//! A row of patches is a row of windows in the image, and a row of the kernel is a segment of each
//! window; see [`tile`](crate::kernels::tile).

use super::Conv2d;
use super::lines::Lines;
use crate::kernels::product::{Panels, Source, product};
use crate::kernels::simd::Isa;
use crate::kernels::tile::{Left, Reading, Sizes, Start, split, tile};
use crate::runtime::threads;
use smallvec::SmallVec;
use std::ops::Range;

/// Output positions that a tile of the weights' gradient sums up, about: more, and they leave the first-level
/// cache, fewer, and reading and storing the sums costs too much.
const POSITIONS: usize = 256;

/// One kernel for each group, as panels.
pub(super) type Kernels = SmallVec<[Panels<'static>; 1]>;

impl Conv2d {
    /// The kernel as right operands of the forward pass.
    pub(super) fn kernels(&self, isa: Isa, kernel: &[f32]) -> Kernels {
        let width = self.out_c / self.groups;
        let one = |group: usize| {
            let source = Source { data: &kernel[group * width..], row_stride: self.out_c, col_stride: 1 };
            Panels::copy(isa, source, self.patch(), width, 1.0)
        };
        (0..self.groups).map(one).collect()
    }

    /// With stride 1 the gradient by the input is a convolution too: of the gradient by the output,
    /// with the kernel turned by 180 degrees and its channels exchanged. Its geometry.
    pub(super) fn turned(&self) -> Option<Conv2d> {
        let (pad_h, pad_w) = ((self.kernel_h - 1) * self.dilation_h, (self.kernel_w - 1) * self.dilation_w);
        let fits = (self.stride_h, self.stride_w) == (1, 1) && self.pad_top <= pad_h && self.pad_left <= pad_w;
        fits.then(|| Conv2d {
            in_h: self.out_h,
            in_w: self.out_w,
            in_c: self.out_c,
            out_h: self.in_h,
            out_w: self.in_w,
            out_c: self.in_c,
            pad_top: pad_h - self.pad_top,
            pad_left: pad_w - self.pad_left,
            ..*self
        })
    }

    /// The kernel as right operands of that convolution.
    pub(super) fn turned_kernels(&self, isa: Isa, kernel: &[f32]) -> Kernels {
        let (taps, width, depth) = (self.kernel_h * self.kernel_w, self.out_c / self.groups, self.in_c / self.groups);
        let one = |group: usize| {
            let mut panels = Panels::new(isa, taps * width, depth);
            for tap in 0..taps {
                let data = &kernel[(taps - 1 - tap) * depth * self.out_c + group * width..];
                let source = Source { data, row_stride: 1, col_stride: self.out_c };
                panels.copy_in(isa, tap * width..(tap + 1) * width, source, 1.0);
            }
            panels
        };
        (0..self.groups).map(one).collect()
    }

    pub(super) fn convolve(&self, isa: Isa, x: &[f32], kernels: &Kernels, bias: Option<&[f32]>, y: &mut [f32]) {
        if y.is_empty() {
            return;
        }
        let (line, piece) = (self.out_w * self.out_c, self.piece_lines(super::MAX_PIECES));
        let mut pieces: Vec<_> = y.chunks_mut(piece * line).collect();
        threads::for_each(&mut pieces, |i, y| {
            let all = i * piece..i * piece + y.len() / line;
            match self.direct() {
                Some(step) => self.product_lines(isa, x, step, all, kernels, bias, y),
                None => self.convolve_lines(isa, x, all, kernels, bias, y),
            }
        });
    }

    /// Where patches lie side by side there is one long line.
    #[allow(clippy::too_many_arguments)]
    fn product_lines(
        &self,
        isa: Isa,
        x: &[f32],
        step: usize,
        all: Range<usize>,
        kernels: &Kernels,
        bias: Option<&[f32]>,
        y: &mut [f32],
    ) {
        let (rows, width, depth) = (all.len() * self.out_w, self.out_c / self.groups, self.patch());
        for (group, panels) in kernels.iter().enumerate() {
            let a = &x[all.start * self.out_w * step + group * (self.in_c / self.groups)..];
            let start = bias.map_or(Start::Zero, |bias| Start::Bias(&bias[group * width..]));
            let y = &mut y[group * width..];
            product(isa, a, Reading::Rows(step), rows, depth, panels, start, y, self.out_c);
        }
    }

    fn convolve_lines(
        &self,
        isa: Isa,
        x: &[f32],
        all: Range<usize>,
        kernels: &Kernels,
        bias: Option<&[f32]>,
        y: &mut [f32],
    ) {
        let (width, step) = (self.out_c / self.groups, self.stride_w * self.in_c);
        let mut lines = Lines::of(self, x, usize::MAX);
        let (segments, run) = self.segments(lines.row_len());
        for at in lines.blocks(all.clone()) {
            let block = lines.load(isa, at.clone());
            let left = Left { a: block.data, reading: Reading::Rows(step), segments: &segments, run };
            for (group, panels) in kernels.iter().enumerate() {
                for (col, right) in panels.of(0..self.patch()) {
                    let channel = group * width + col;
                    let start = bias.map_or(Start::Zero, |bias| Start::Bias(&bias[channel..]));
                    let most = Sizes::of(isa).rows(right.cols);
                    for (i, line) in block.starts.iter().enumerate() {
                        let y = &mut y[(at.start - all.start + i) * self.out_w * self.out_c..];
                        for ox in split(self.out_w, most) {
                            let a_start = line + ox.start * step + group * (self.in_c / self.groups);
                            let y = &mut y[ox.start * self.out_c + channel..];
                            tile(isa, ox.len(), &left, a_start, &right, start, false, y, self.out_c);
                        }
                    }
                }
            }
        }
    }

    /// Adds the gradient by the kernel that some lines give.
    pub(super) fn add_weights(&self, isa: Isa, x: &[f32], dy: &[f32], all: Range<usize>, dkernel: &mut [f32]) {
        if dy.is_empty() {
            return;
        }
        let (width, depth) = (self.out_c / self.groups, self.in_c / self.groups);
        let dy_of =
            |lines: &Range<usize>| &dy[lines.start * self.out_w * self.out_c..lines.end * self.out_w * self.out_c];
        if let Some(step) = self.direct() {
            for group in 0..self.groups {
                let a = &x[all.start * self.out_w * step + group * depth..];
                let rows = all.len() * self.out_w;
                let right = Panels::in_place(isa, &dy_of(&all)[group * width..], rows, width, self.out_c);
                let sums = &mut dkernel[group * width..];
                product(isa, a, Reading::Columns(step), self.patch(), rows, &right, Start::Sum, sums, self.out_c);
            }
            return;
        }
        let step = self.stride_w * self.in_c;
        let mut lines = Lines::of(self, x, POSITIONS.div_ceil(self.out_w));
        let (segments, run) = self.segments(lines.row_len());
        for at in lines.blocks(all) {
            let block = lines.load(isa, at.clone());
            let left =
                Left { a: block.data, reading: Reading::Columns(step), segments: &block.starts, run: self.out_w };
            for group in 0..self.groups {
                let right =
                    Panels::in_place(isa, &dy_of(&at)[group * width..], at.len() * self.out_w, width, self.out_c);
                for (col, right) in right.of(0..at.len() * self.out_w) {
                    let most = Sizes::of(isa).rows(right.cols);
                    for (i, segment) in segments.iter().enumerate() {
                        for rows in split(run, most) {
                            let a_start = segment + rows.start + group * depth;
                            let sums = &mut dkernel[(i * run + rows.start) * self.out_c + group * width + col..];
                            tile(isa, rows.len(), &left, a_start, &right, Start::Sum, false, sums, self.out_c);
                        }
                    }
                }
            }
        }
    }

    /// Values of a patch that come from one row of the input.
    pub(super) fn run(&self) -> usize {
        self.kernel_w * (self.in_c / self.groups)
    }

    /// Whether these lie side by side in the input.
    pub(super) fn contiguous(&self) -> bool {
        self.groups == 1 && (self.dilation_w == 1 || self.kernel_w == 1)
    }

    /// Where the contiguous parts of a patch begin in an image whose rows are `row_len` long, and
    /// their length.
    fn segments(&self, row_len: usize) -> (SmallVec<[usize; 16]>, usize) {
        let row = self.dilation_h * row_len;
        if self.contiguous() {
            return ((0..self.kernel_h).map(|ky| ky * row).collect(), self.run());
        }
        let taps = (0..self.kernel_h).flat_map(|ky| (0..self.kernel_w).map(move |kx| (ky, kx)));
        (taps.map(|(ky, kx)| ky * row + kx * self.dilation_w * self.in_c).collect(), self.in_c / self.groups)
    }

    /// Lines in a piece: whole images if there are enough of them.
    pub(super) fn piece_lines(&self, most: usize) -> usize {
        let lines = (self.batch * self.out_h).div_ceil(self.pieces(most)).max(1);
        if lines > self.out_h { lines.next_multiple_of(self.out_h) } else { lines }
    }
}
