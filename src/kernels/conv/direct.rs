//! Convolution as a matrix product that reads its left operand where it lies in the image.
//!
//! A row of patches is a row of windows in the image, and a row of the kernel is a segment of each
//! window; see [`tile`](crate::kernels::tile). A kernel that fits in the second-level cache is copied once and read by
//! all pieces, which are lines of the output. A larger one is cut into panels, a piece each, so that it is
//! read once; the image is then padded once for all of them.

use super::lines::Lines;
use super::{Conv2d, Epilogue, MAX_PIECES, pair, pieces};
use crate::kernels::packed::Packed;
use crate::kernels::pool::Pool2d;
use crate::kernels::product::{Panels, Source};
use crate::kernels::scratch::Scratch;
use crate::kernels::simd::Isa;
use crate::kernels::tile::{End, Left, Out, Reading, Right, Sizes, Start, split, tile_at};
use crate::runtime::{Workspace, threads};
use smallvec::SmallVec;
use std::ops::Range;

/// Output positions whose columns are all computed before the next ones: few enough that what is stored stays in the
/// first-level cache until its lines are complete.
const ROWS: usize = 56;
/// A kernel of more values than this is cut into panels.
const KERNEL_LEN: usize = 1 << 18;

/// How the output is cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pieces {
    /// Lines of all columns: so many in a piece.
    Lines(usize),
    /// Panels of columns, of so many images.
    Panels(usize),
}

/// A kernel as right operand: of the forward pass, or of the gradient by the input of a convolution with stride 1.
#[derive(Clone, Copy)]
pub(super) struct Kernel<'a> {
    pub values: &'a [f32],
    pub turned: bool,
    /// The same as tiles read it, if somebody keeps that.
    pub packed: Option<&'a Packed>,
}

/// Windows that tiles read: each line is a row of them.
pub(super) struct Windows<'a> {
    pub data: &'a [f32],
    pub starts: &'a [usize],
    /// Windows in a line, and their distance.
    pub len: usize,
    pub step: usize,
    pub segments: &'a [usize],
    pub run: usize,
}

/// A panel of the kernel: what it reads begins `from` channels further, what it writes at column `to`.
pub(super) struct Panel<'a> {
    pub from: usize,
    pub to: usize,
    pub right: Right<'a>,
    pub start: Start<'a>,
}

/// Some columns of a turned kernel, of so many input and output channels, as right operand: its taps in this order,
/// its input channels as columns, the output channels of a group below each other.
pub(super) fn turned_panels(
    isa: Isa,
    kernel: &[f32],
    taps: impl ExactSizeIterator<Item = usize>,
    [in_c, out_c]: [usize; 2],
    outputs: Range<usize>,
    cols: Range<usize>,
) -> Panels<'static> {
    let depth = outputs.len();
    let mut panels = Panels::new(isa, taps.len() * depth, cols.len());
    for (i, tap) in taps.enumerate() {
        let data = &kernel[(tap * in_c + cols.start) * out_c + outputs.start..];
        let source = Source { data, row_stride: 1, col_stride: out_c };
        panels.copy_in(isa, i * depth..(i + 1) * depth, source, 1.0);
    }
    panels
}

impl Windows<'_> {
    fn compute(&self, isa: Isa, panels: &[Panel], end: End, y: &mut [f32], y_step: usize) {
        self.compute_apart(isa, panels, end, y, y_step, self.len * y_step);
    }

    /// Results are `y_step` values apart, those of lines `y_line`.
    pub(super) fn compute_apart(
        &self,
        isa: Isa,
        panels: &[Panel],
        end: End,
        y: &mut [f32],
        y_step: usize,
        y_line: usize,
    ) {
        // SAFETY: the slice is borrowed alone.
        unsafe { self.compute_at(isa, panels, end, (y.as_mut_ptr(), y.len()), y_step, y_line) }
    }

    /// The same where others work on other columns of the same results.
    ///
    /// # Safety
    /// `y` is a pointer and the number of values from there on that are valid. Nobody else uses the columns of these
    /// panels.
    unsafe fn compute_at(
        &self,
        isa: Isa,
        panels: &[Panel],
        end: End,
        (y, y_len): (*mut f32, usize),
        y_step: usize,
        y_line: usize,
    ) {
        let Windows { data: a, starts, len, step, segments, run } = *self;
        let left = Left { a, reading: Reading::Rows(step), segments, run };
        let place = |at: usize| {
            assert!(at < y_len, "a tile begins outside of y");
            // SAFETY: it is inside.
            (unsafe { y.add(at) }, y_len - at)
        };
        for (i, pair) in starts.chunks(2).enumerate() {
            if let &[first, second] = pair
                && panels.iter().all(|panel| pair::fits(isa, len, panel.right.cols))
            {
                for panel in panels {
                    let starts = [first, second].map(|start| start + panel.from);
                    let lines = pair::Lines { data: a, starts, step, segments, run };
                    let at = 2 * i * y_line + panel.to;
                    let (y, end) = (place(at), end.from(at));
                    // SAFETY: these are columns of the panel.
                    unsafe { pair::pair_at(isa, len, &lines, &panel.right, panel.start, end, y, y_step, y_line) };
                }
                continue;
            }
            for (line, i) in pair.iter().zip(2 * i..) {
                for block in split(len, ROWS) {
                    for panel in panels {
                        for at in split(block.len(), Sizes::of(isa).rows(panel.right.cols)) {
                            let first = block.start + at.start;
                            let to = i * y_line + first * y_step + panel.to;
                            let (y, end) = (place(to), end.from(to));
                            let a_start = line + first * step + panel.from;
                            // SAFETY: these are columns of the panel.
                            unsafe {
                                tile_at(isa, at.len(), &left, a_start, &panel.right, panel.start, end, y, y_step);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Conv2d {
    /// Some columns of the kernel of a group as right operand of the forward pass.
    fn panels<'k>(&self, isa: Isa, kernel: Kernel<'k>, group: usize, cols: Range<usize>) -> Panels<'k> {
        if let Some(packed) = kernel.packed {
            return packed.group(group).columns(cols);
        }
        let (depth, width) = (self.in_c / self.groups, self.out_c / self.groups);
        if !kernel.turned {
            let data = &kernel.values[group * width + cols.start..];
            let source = Source { data, row_stride: self.out_c, col_stride: 1 };
            return Panels::copy(isa, source, self.patch(), cols.len(), 1.0);
        }
        // Here the kernel's input channels are our output, and its taps go backwards.
        let taps = (0..self.kernel_h * self.kernel_w).rev();
        turned_panels(isa, kernel.values, taps, [width, self.in_c], group * depth..(group + 1) * depth, cols)
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

    /// How the forward pass is cut.
    pub(super) fn cut(&self, isa: Isa) -> Pieces {
        if self.kernel_len() <= KERNEL_LEN {
            return Pieces::Lines(self.piece_lines(MAX_PIECES));
        }
        let panels = self.groups * (self.out_c / self.groups).div_ceil(Sizes::of(isa).cols());
        Pieces::Panels(self.batch.div_ceil((MAX_PIECES / 2).div_ceil(panels)).max(1))
    }

    pub(super) fn convolve(
        &self,
        isa: Isa,
        x: &[f32],
        kernel: Kernel,
        epilogue: Epilogue,
        y: &mut [f32],
        workspace: &Workspace,
    ) {
        if !y.is_empty() {
            self.convolve_in(self.cut(isa), isa, x, kernel, epilogue, y, workspace);
        }
    }

    /// The same in these pieces; there is at least one result.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn convolve_in(
        &self,
        pieces: Pieces,
        isa: Isa,
        x: &[f32],
        kernel: Kernel,
        epilogue: Epilogue,
        y: &mut [f32],
        workspace: &Workspace,
    ) {
        match pieces {
            Pieces::Lines(piece) => self.convolve_lines(isa, x, kernel, epilogue, y, piece),
            Pieces::Panels(images) => match self.padded(isa, x, workspace) {
                Some((padded, x)) => {
                    padded.convolve_panels(isa, &x, kernel, epilogue, y, images);
                    workspace.give(x);
                }
                None => self.convolve_panels(isa, x, kernel, epilogue, y, images),
            },
        }
    }

    /// Whether results are pooled a few lines at a time, as they are made.
    pub(super) fn pools_lines(&self, isa: Isa, pool: &Pool2d) -> bool {
        matches!(self.cut(isa), Pieces::Lines(_)) && self.direct().is_none() && pool.pairs_lines()
    }

    fn convolve_lines(&self, isa: Isa, x: &[f32], kernel: Kernel, epilogue: Epilogue, y: &mut [f32], piece: usize) {
        let (depth, width) = (self.in_c / self.groups, self.out_c / self.groups);
        let copies: SmallVec<[_; 1]> = (0..self.groups).map(|g| self.panels(isa, kernel, g, 0..width)).collect();
        let panels: Vec<Panel> = (copies.iter().enumerate())
            .flat_map(|(group, copy)| {
                copy.of(0..self.patch()).map(move |(col, right)| (group, group * width + col, right))
            })
            .map(|(group, to, right)| Panel { from: group * depth, to, right, start: epilogue.start(to) })
            .collect();
        let line = self.out_w * self.out_c;
        // So many lines of results become one that is stored.
        let (pool, height) = (epilogue.pool, if epilogue.pool.is_some() { 2 } else { 1 });
        let stored = pool.map_or(line, |pool| pool.out_w * pool.channels);
        let piece = piece.next_multiple_of(height);
        let mut parts: Vec<_> = y.chunks_mut(piece / height * stored).collect();
        threads::for_each(&mut parts, |i, y| {
            let all = i * piece..i * piece + y.len() / stored * height;
            if let Some(step) = self.direct() {
                let (data, len) = (&x[all.start * self.out_w * step..], all.len() * self.out_w);
                let windows = Windows { data, starts: &[0], len, step, segments: &[0], run: self.patch() };
                let end = epilogue.end().from(all.start * line);
                return windows.compute(isa, &panels, end, y, self.out_c);
            }
            let mut lines = Lines::of(self, x, usize::MAX, height);
            let mut results = pool.map(|_| Scratch::take(lines.most().min(all.len()) * line));
            let (segments, run) = self.segments(lines.row_len());
            for at in lines.blocks(all.clone()) {
                let block = lines.load(isa, at.clone());
                let step = self.stride_w * self.in_c;
                let windows = Windows {
                    data: block.data,
                    starts: &block.starts,
                    len: self.out_w,
                    step,
                    segments: &segments,
                    run,
                };
                let end = epilogue.end().from(at.start * line);
                let y = &mut y[(at.start - all.start) / height * stored..][..at.len() / height * stored];
                match (&pool, &mut results) {
                    (Some(pool), Some(results)) => {
                        let results = &mut results[..at.len() * line];
                        windows.compute(isa, &panels, end, results, self.out_c);
                        pool.max_of_lines(isa, results, y);
                    }
                    _ => windows.compute(isa, &panels, end, y, self.out_c),
                }
            }
        });
    }

    /// Nothing is padded here.
    #[allow(clippy::too_many_arguments)]
    fn convolve_panels(&self, isa: Isa, x: &[f32], kernel: Kernel, epilogue: Epilogue, y: &mut [f32], images: usize) {
        let (depth, width, cols) = (self.in_c / self.groups, self.out_c / self.groups, Sizes::of(isa).cols());
        let (segments, run) = self.segments(self.in_w * self.in_c);
        let image = self.out_h * self.out_w;
        let mut parts = Vec::new();
        for first in (0..self.batch).step_by(images) {
            for group in 0..self.groups {
                let columns = (0..width).step_by(cols).map(|at| at..(at + cols).min(width));
                parts.extend(columns.map(|cols| (first..(first + images).min(self.batch), group, cols)));
            }
        }
        let out = &Out(y.as_mut_ptr(), y.len());
        threads::for_each(&mut parts, |_, (batch, group, cols)| {
            let copy = self.panels(isa, kernel, *group, cols.clone());
            let panels: SmallVec<[Panel; 1]> = copy
                .of(0..self.patch())
                .map(|(_, right)| Panel {
                    from: *group * depth,
                    to: *group * width + cols.start,
                    right,
                    start: epilogue.start(*group * width + cols.start),
                })
                .collect();
            let starts: Vec<usize> = match self.direct() {
                Some(step) => vec![batch.start * image * step],
                None => (batch.clone())
                    .flat_map(|b| {
                        (0..self.out_h).map(move |oy| (b * self.in_h + oy * self.stride_h) * self.in_w * self.in_c)
                    })
                    .collect(),
            };
            let windows = match self.direct() {
                Some(step) => {
                    let len = batch.len() * image;
                    Windows { data: x, starts: &starts, len, step, segments: &[0], run: self.patch() }
                }
                None => {
                    let step = self.stride_w * self.in_c;
                    Windows { data: x, starts: &starts, len: self.out_w, step, segments: &segments, run }
                }
            };
            let &Out(y, len) = out;
            let first = batch.start * image * self.out_c;
            assert!(first < len, "a piece begins outside of y");
            // SAFETY: `y` is borrowed for as long as this runs, and no two pieces have images and columns in common.
            unsafe {
                let y = (y.add(first), len - first);
                windows.compute_at(isa, &panels, epilogue.end().from(first), y, self.out_c, windows.len * self.out_c);
            }
        });
    }

    /// This convolution with the padding in its input, and that input; none if there is no padding.
    pub(super) fn padded(&self, isa: Isa, x: &[f32], workspace: &Workspace) -> Option<(Conv2d, Vec<f32>)> {
        let (in_h, in_w) = Lines::size(self);
        let padded = Conv2d { in_h, in_w, pad_top: 0, pad_left: 0, ..*self };
        if self.direct().is_some() || self.pad_top == 0 && self.pad_left == 0 && in_h <= self.in_h && in_w <= self.in_w
        {
            return None;
        }
        let mut copy = workspace.take(padded.input_len());
        let mut images: Vec<_> = copy.chunks_exact_mut(in_h * in_w * self.in_c).collect();
        threads::for_each(&mut images, |i, to| Lines::pad(self, isa, x, i, to));
        Some((padded, copy))
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
    pub(super) fn segments(&self, row_len: usize) -> (SmallVec<[usize; 16]>, usize) {
        let row = self.dilation_h * row_len;
        if self.contiguous() {
            return ((0..self.kernel_h).map(|ky| ky * row).collect(), self.run());
        }
        let taps = (0..self.kernel_h).flat_map(|ky| (0..self.kernel_w).map(move |kx| (ky, kx)));
        (taps.map(|(ky, kx)| ky * row + kx * self.dilation_w * self.in_c).collect(), self.in_c / self.groups)
    }

    /// Lines in a piece: whole images if there are enough of them.
    pub(super) fn piece_lines(&self, most: usize) -> usize {
        let lines = (self.batch * self.out_h).div_ceil(pieces(self.flops()).min(most)).max(1);
        if lines > self.out_h { lines.next_multiple_of(self.out_h) } else { lines }
    }
}
