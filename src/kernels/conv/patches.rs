//! Tiles of gathered patches: from the input, and back into its gradient.

use super::{Conv2d, ROW_BLOCK};
use crate::kernels::gemm::{Mat, MatMut, gemm};
use crate::kernels::reduce;
use crate::runtime::Workspace;
use std::ops::Range;

/// Values in the buffer of a tile: 256 KiB, half of a small second-level cache.
const TILE_LEN: usize = 1 << 16;
/// Positions in a tile: enough that packing the kernel for each tile does not matter, however long
/// the patches are.
const MIN_POSITIONS: usize = 128;
const MAX_POSITIONS: usize = 1024;

/// A buffer for the patches of one tile of output positions. Positions count through rows and
/// images, so a tile may begin and end anywhere.
pub(super) struct Tiles<'a> {
    g: &'a Conv2d,
    workspace: &'a Workspace,
    buffer: Vec<f32>,
    /// The distance between patches in the buffer.
    stride: usize,
    /// Positions in a tile.
    step: usize,
}

impl<'a> Tiles<'a> {
    /// For a piece of `positions` output positions.
    pub(super) fn new(g: &'a Conv2d, positions: usize, workspace: &'a Workspace) -> Self {
        if g.direct().is_some() {
            return Tiles { g, workspace, buffer: Vec::new(), stride: 0, step: positions.max(1) };
        }
        // The last run of a patch may be copied in a block that is too wide.
        let run = g.run();
        let stride = g.patch() - run + block(run);
        let step = (TILE_LEN / stride).clamp(MIN_POSITIONS, MAX_POSITIONS) / ROW_BLOCK * ROW_BLOCK;
        let step = step.min(positions).max(1);
        Tiles { g, workspace, buffer: workspace.take(step * stride), stride, step }
    }

    /// The tiles that cover `all`.
    pub(super) fn of(&self, all: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let step = self.step;
        all.clone().step_by(step).map(move |start| start..(start + step).min(all.end))
    }

    /// The patches of one group's input channels at some positions, one a row.
    pub(super) fn gather<'b>(&'b mut self, x: &'b [f32], at: Range<usize>, group: usize) -> Mat<'b> {
        let (g, patch) = (self.g, self.g.patch());
        if let Some(stride) = g.direct() {
            return Mat::strided(&x[at.start * stride + group * g.group_c()..], at.len(), patch, stride);
        }
        let (run, stride) = (g.run(), self.stride);
        g.for_rows(at.clone(), |first, image, oy, ox| {
            for ky in 0..g.kernel_h {
                let cols = &mut self.buffer[first * stride + ky * run..];
                match g.input_row(image, oy, ky) {
                    None => zero_runs(cols, stride, run, ox.len()),
                    Some(row) if g.contiguous() => gather_row(g, x, row, ox.clone(), cols, stride),
                    Some(row) => gather_taps(g, x, row, ox.clone(), group, cols, stride),
                }
            }
        });
        Mat::strided(&self.buffer, at.len(), patch, stride)
    }

    /// Adds the product `dy * kernel`, patches of the input's gradient, to where they come from in
    /// `dx`, which holds the images from `first` on.
    pub(super) fn scatter(
        &mut self,
        dy: Mat,
        kernel: Mat,
        at: Range<usize>,
        group: usize,
        first_image: usize,
        dx: &mut [f32],
    ) {
        let (g, patch) = (self.g, self.g.patch());
        if let Some(stride) = g.direct() {
            let start = (at.start - first_image * g.out_h * g.out_w) * stride + group * g.group_c();
            return gemm(1.0, dy, kernel, 0.0, MatMut::strided(&mut dx[start..], at.len(), patch, stride));
        }
        let (run, stride) = (g.run(), self.stride);
        gemm(1.0, dy, kernel, 0.0, MatMut::strided(&mut self.buffer, at.len(), patch, stride));
        g.for_rows(at, |first, image, oy, ox| {
            for ky in 0..g.kernel_h {
                let cols = &self.buffer[first * stride + ky * run..];
                if let Some(row) = g.input_row(image - first_image, oy, ky) {
                    if g.contiguous() {
                        scatter_row(g, dx, row, ox.clone(), cols, stride);
                    } else {
                        scatter_taps(g, dx, row, ox.clone(), group, cols, stride);
                    }
                }
            }
        });
    }
}

impl Drop for Tiles<'_> {
    fn drop(&mut self) {
        self.workspace.give(std::mem::take(&mut self.buffer));
    }
}

impl Conv2d {
    /// Input channels of a group.
    fn group_c(&self) -> usize {
        self.in_c / self.groups
    }

    /// Values of a patch that come from one row of the input.
    fn run(&self) -> usize {
        self.kernel_w * self.group_c()
    }

    /// Whether these lie side by side in the input.
    fn contiguous(&self) -> bool {
        self.groups == 1 && (self.dilation_w == 1 || self.kernel_w == 1)
    }

    /// Calls `visit(offset of the first one, image, output row, output columns)` for the parts of
    /// rows that make up the positions `at`.
    fn for_rows(&self, at: Range<usize>, mut visit: impl FnMut(usize, usize, usize, Range<usize>)) {
        let mut position = at.start;
        while position < at.end {
            let (row, start) = (position / self.out_w, position % self.out_w);
            let end = self.out_w.min(start + at.end - position);
            visit(position - at.start, row / self.out_h, row % self.out_h, start..end);
            position += end - start;
        }
    }

    /// The offset of the input row that tap `ky` sees at output row `oy`; none in the padding.
    fn input_row(&self, image: usize, oy: usize, ky: usize) -> Option<usize> {
        let iy = (oy * self.stride_h + ky * self.dilation_h).checked_sub(self.pad_top)?;
        (iy < self.in_h).then(|| (image * self.in_h + iy) * self.in_w * self.in_c)
    }

    /// The output columns whose windows lie wholly inside the input's.
    fn interior(&self, ox: &Range<usize>) -> Range<usize> {
        let start = self.pad_left.div_ceil(self.stride_w).clamp(ox.start, ox.end);
        let last = (self.in_w + self.pad_left).checked_sub(self.kernel_w);
        start..last.map_or(0, |last| last / self.stride_w + 1).clamp(start, ox.end)
    }

    /// The taps of a contiguous run at output column `ox` that are inside, and the first one's column.
    fn taps(&self, ox: usize) -> (Range<usize>, usize) {
        let start = ox * self.stride_w;
        let end = (self.in_w + self.pad_left).saturating_sub(start).min(self.kernel_w);
        let first = self.pad_left.saturating_sub(start).min(end);
        (first..end, (start + first).saturating_sub(self.pad_left).min(self.in_w))
    }

    /// The input column that tap `kx` sees at output column `ox`; none in the padding.
    fn input_col(&self, ox: usize, kx: usize) -> Option<usize> {
        (ox * self.stride_w + kx * self.dilation_w).checked_sub(self.pad_left).filter(|ix| *ix < self.in_w)
    }
}

/// Runs of one input row, side by side in it, into the patches of `ox`.
fn gather_row(g: &Conv2d, x: &[f32], row: usize, ox: Range<usize>, cols: &mut [f32], stride: usize) {
    let (c, run) = (g.in_c, g.run());
    let inside = g.interior(&ox);
    if !inside.is_empty() {
        let x = &x[row + (inside.start * g.stride_w - g.pad_left) * c..];
        copy_runs(x, g.stride_w * c, &mut cols[(inside.start - ox.start) * stride..], stride, run, inside.len());
    }
    for at in (ox.start..inside.start).chain(inside.end..ox.end) {
        let (taps, ix) = g.taps(at);
        let patch = &mut cols[(at - ox.start) * stride..][..run];
        patch[..taps.start * c].fill(0.0);
        patch[taps.end * c..].fill(0.0);
        patch[taps.start * c..taps.end * c].copy_from_slice(&x[row + ix * c..][..taps.len() * c]);
    }
}

/// As [`gather_row`], tap by tap, for dilation and groups.
fn gather_taps(g: &Conv2d, x: &[f32], row: usize, ox: Range<usize>, group: usize, cols: &mut [f32], stride: usize) {
    let c = g.group_c();
    for (i, ox) in ox.enumerate() {
        for (kx, tap) in cols[i * stride..][..g.run()].chunks_exact_mut(c).enumerate() {
            match g.input_col(ox, kx) {
                None => tap.fill(0.0),
                Some(ix) => {
                    let x = &x[row + ix * g.in_c + group * c..][..c];
                    tap.iter_mut().zip(x).for_each(|(tap, x)| *tap = *x);
                }
            }
        }
    }
}

/// The opposite of [`gather_row`]: adds the runs to the row of the gradient.
fn scatter_row(g: &Conv2d, dx: &mut [f32], row: usize, ox: Range<usize>, cols: &[f32], stride: usize) {
    let (c, run) = (g.in_c, g.run());
    let inside = g.interior(&ox);
    if !inside.is_empty() {
        let dx = &mut dx[row + (inside.start * g.stride_w - g.pad_left) * c..];
        let cols = &cols[(inside.start - ox.start) * stride..];
        for i in 0..inside.len() {
            reduce::add(&mut dx[i * g.stride_w * c..][..run], &cols[i * stride..][..run]);
        }
    }
    for at in (ox.start..inside.start).chain(inside.end..ox.end) {
        let (taps, ix) = g.taps(at);
        let patch = &cols[(at - ox.start) * stride..][taps.start * c..taps.end * c];
        reduce::add(&mut dx[row + ix * c..][..patch.len()], patch);
    }
}

/// The opposite of [`gather_taps`].
fn scatter_taps(g: &Conv2d, dx: &mut [f32], row: usize, ox: Range<usize>, group: usize, cols: &[f32], stride: usize) {
    let c = g.group_c();
    for (i, ox) in ox.enumerate() {
        for (kx, tap) in cols[i * stride..][..g.run()].chunks_exact(c).enumerate() {
            if let Some(ix) = g.input_col(ox, kx) {
                reduce::add(&mut dx[row + ix * g.in_c + group * c..][..c], tap);
            }
        }
    }
}

/// The width in which a run is copied. A copy of constant width is a few vector moves, one of any
/// other is a call of memcpy, which costs more than a short run is worth. What is copied too much
/// is overwritten by the next run or lies behind the patch.
fn block(run: usize) -> usize {
    match run {
        0..=4 => 4,
        5..=8 => 8,
        9..=16 => 16,
        17..=32 => 32,
        long => long,
    }
}

/// Copies `count` runs, `from_step` apart, to places `to_step` apart.
fn copy_runs(from: &[f32], from_step: usize, to: &mut [f32], to_step: usize, run: usize, count: usize) {
    match block(run) {
        4 => copy_blocks::<4>(from, from_step, to, to_step, run, count),
        8 => copy_blocks::<8>(from, from_step, to, to_step, run, count),
        16 => copy_blocks::<16>(from, from_step, to, to_step, run, count),
        32 => copy_blocks::<32>(from, from_step, to, to_step, run, count),
        _ => (0..count).for_each(|i| to[i * to_step..][..run].copy_from_slice(&from[i * from_step..][..run])),
    }
}

#[inline(always)]
fn copy_blocks<const W: usize>(
    from: &[f32],
    from_step: usize,
    to: &mut [f32],
    to_step: usize,
    run: usize,
    count: usize,
) {
    for i in 0..count {
        let (from, to) = (&from[i * from_step..], &mut to[i * to_step..]);
        match from.first_chunk::<W>() {
            Some(from) => to[..W].copy_from_slice(from),
            // At the very end of the input.
            None => to[..run].copy_from_slice(&from[..run]),
        }
    }
}

/// Sets `count` runs, `step` apart, to zero.
fn zero_runs(to: &mut [f32], step: usize, run: usize, count: usize) {
    (0..count).for_each(|i| to[i * step..][..run].fill(0.0));
}
