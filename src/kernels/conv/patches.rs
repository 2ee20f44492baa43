//! Tiles of gathered patches: from the input, and back into its gradient.

use super::{Conv2d, ROW_BLOCK};
use crate::kernels::gemm::{Mat, MatMut, gemm};
use crate::kernels::reduce;
use crate::runtime::Workspace;
use std::ops::Range;

/// Values in the buffer of a tile: 128 KiB, a part of a small second-level cache.
const TILE_LEN: usize = 1 << 15;
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
    padded: Option<Padded>,
}

/// A copy of one image with its padding, so that short runs need no care at the borders.
struct Padded {
    /// Values in a row of it.
    row_len: usize,
    /// Which image it is, once there is one.
    image: Option<usize>,
    buffer: Vec<f32>,
}

impl<'a> Tiles<'a> {
    /// For a piece of `positions` output positions.
    pub(super) fn new(g: &'a Conv2d, positions: usize, workspace: &'a Workspace) -> Self {
        if g.direct().is_some() {
            return Tiles { g, workspace, buffer: Vec::new(), stride: 0, step: positions.max(1), padded: None };
        }
        let stride = g.patch();
        let step = (TILE_LEN / stride).clamp(MIN_POSITIONS, MAX_POSITIONS) / ROW_BLOCK * ROW_BLOCK;
        let step = step.min(positions).max(1);
        Tiles { g, workspace, buffer: workspace.take(step * stride), stride, step, padded: None }
    }

    /// The same, for tiles that are gathered.
    pub(super) fn to_gather(g: &'a Conv2d, positions: usize, workspace: &'a Workspace) -> Self {
        let mut tiles = Self::new(g, positions, workspace);
        tiles.padded = Padded::of(g, workspace);
        tiles
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
        if let Some(padded) = &mut self.padded {
            let step = g.stride_w * g.in_c;
            g.for_rows(at.clone(), |first, image, oy, ox| {
                padded.load(g, x, image);
                for ky in 0..g.kernel_h {
                    let cols = &mut self.buffer[first * stride + ky * run..];
                    let x = &padded.buffer[(oy * g.stride_h + ky * g.dilation_h) * padded.row_len + ox.start * step..];
                    copy_runs(x, step, cols, stride, run, ox.len());
                }
            });
            return Mat::strided(&self.buffer, at.len(), patch, stride);
        }
        let inside = g.interior();
        g.for_rows(at.clone(), |first, image, oy, ox| {
            for ky in 0..g.kernel_h {
                let cols = &mut self.buffer[first * stride + ky * run..];
                match g.input_row(image, oy, ky) {
                    None => zero_runs(cols, stride, run, ox.len()),
                    Some(row) if g.contiguous() => gather_row(g, x, row, ox.clone(), inside.clone(), cols, stride),
                    Some(row) => gather_taps(g, x, row, ox.clone(), group, cols, stride),
                }
            }
        });
        Mat::strided(&self.buffer, at.len(), patch, stride)
    }

    /// Adds the product `dy * kernel`, patches of the input's gradient, to where they come from in
    /// `dx`, which holds the images from `first_image` on.
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
        let inside = g.interior();
        gemm(1.0, dy, kernel, 0.0, MatMut::strided(&mut self.buffer, at.len(), patch, stride));
        g.for_rows(at, |first, image, oy, ox| {
            for ky in 0..g.kernel_h {
                let cols = &self.buffer[first * stride + ky * run..];
                if let Some(row) = g.input_row(image - first_image, oy, ky) {
                    if g.contiguous() {
                        scatter_row(g, dx, row, ox.clone(), inside.clone(), cols, stride);
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
        if let Some(padded) = self.padded.take() {
            self.workspace.give(padded.buffer);
        }
    }
}

impl Padded {
    /// For a padded convolution of short runs and not too large images.
    fn of(g: &Conv2d, workspace: &Workspace) -> Option<Self> {
        let in_h = (g.out_h.max(1) - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1;
        let in_w = (g.out_w.max(1) - 1) * g.stride_w + g.kernel_w;
        let inside = g.pad_top == 0 && g.pad_left == 0 && in_h <= g.in_h && in_w <= g.in_w;
        let len = in_h.checked_mul(in_w)?.checked_mul(g.in_c)?;
        if inside || g.direct().is_some() || !g.contiguous() || g.run() > SHORT || len > TILE_LEN {
            return None;
        }
        let mut buffer = workspace.take(len);
        buffer.fill(0.0);
        Some(Padded { row_len: in_w * g.in_c, image: None, buffer })
    }

    /// Copies the image of `x`, described by `g`, if it is not here.
    fn load(&mut self, g: &Conv2d, x: &[f32], image: usize) {
        if self.image.replace(image) == Some(image) {
            return;
        }
        let x = &x[image * g.in_h * g.in_w * g.in_c..];
        let rows = self.buffer.chunks_exact_mut(self.row_len).skip(g.pad_top);
        for (to, x) in rows.zip(x.chunks_exact(g.in_w * g.in_c)).take(g.in_h) {
            let to = to.get_mut(g.pad_left * g.in_c..).unwrap_or_default();
            let len = to.len().min(x.len());
            to[..len].copy_from_slice(&x[..len]);
        }
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
        let (row, mut start) = (at.start / self.out_w.max(1), at.start % self.out_w.max(1));
        let (mut image, mut oy) = (row / self.out_h.max(1), row % self.out_h.max(1));
        let mut done = 0;
        while done < at.len() {
            let end = self.out_w.min(start + at.len() - done);
            visit(done, image, oy, start..end);
            done += end - start;
            start = 0;
            oy += 1;
            if oy == self.out_h {
                (image, oy) = (image + 1, 0);
            }
        }
    }

    /// The offset of the input row that tap `ky` sees at output row `oy`; none in the padding.
    fn input_row(&self, image: usize, oy: usize, ky: usize) -> Option<usize> {
        let iy = (oy * self.stride_h + ky * self.dilation_h).checked_sub(self.pad_top)?;
        (iy < self.in_h).then(|| (image * self.in_h + iy) * self.in_w * self.in_c)
    }

    /// The output columns whose windows lie wholly inside the input's.
    fn interior(&self) -> Range<usize> {
        let last = (self.in_w + self.pad_left).checked_sub(self.kernel_w);
        self.pad_left.div_ceil(self.stride_w)..last.map_or(0, |last| last / self.stride_w + 1)
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
fn gather_row(
    g: &Conv2d,
    x: &[f32],
    row: usize,
    ox: Range<usize>,
    inside: Range<usize>,
    cols: &mut [f32],
    stride: usize,
) {
    let (c, run) = (g.in_c, g.run());
    let inside = inside.start.clamp(ox.start, ox.end)..inside.end.clamp(ox.start, ox.end);
    if !inside.is_empty() {
        let x = &x[row + (inside.start * g.stride_w - g.pad_left) * c..];
        copy_runs(x, g.stride_w * c, &mut cols[(inside.start - ox.start) * stride..], stride, run, inside.len());
    }
    for at in (ox.start..inside.start).chain(inside.end.max(inside.start)..ox.end) {
        let (taps, ix) = g.taps(at);
        let (start, end) = (taps.start * c, taps.end * c);
        let patch = &mut cols[(at - ox.start) * stride..][..run];
        patch[..start].fill(0.0);
        patch[end..].fill(0.0);
        patch[start..end].copy_from_slice(&x[row + ix * c..][..end - start]);
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
fn scatter_row(
    g: &Conv2d,
    dx: &mut [f32],
    row: usize,
    ox: Range<usize>,
    inside: Range<usize>,
    cols: &[f32],
    stride: usize,
) {
    let (c, run) = (g.in_c, g.run());
    let inside = inside.start.clamp(ox.start, ox.end)..inside.end.clamp(ox.start, ox.end);
    if !inside.is_empty() {
        let dx = &mut dx[row + (inside.start * g.stride_w - g.pad_left) * c..];
        let cols = &cols[(inside.start - ox.start) * stride..];
        // Neighbouring runs overlap: adding to what was stored just now waits for the store.
        let apart = g.kernel_w.div_ceil(g.stride_w);
        for start in 0..apart {
            for i in (start..inside.len()).step_by(apart) {
                reduce::add(&mut dx[i * g.stride_w * c..][..run], &cols[i * stride..][..run]);
            }
        }
    }
    for at in (ox.start..inside.start).chain(inside.end.max(inside.start)..ox.end) {
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

/// Runs up to this length are copied without a call of memcpy, which costs more than they are worth.
const SHORT: usize = 32;

/// Copies `count` runs, `from_step` apart, to places `to_step` apart.
fn copy_runs(from: &[f32], from_step: usize, to: &mut [f32], to_step: usize, run: usize, count: usize) {
    let runs = (0..count).map(|i| (i * from_step, i * to_step));
    match run {
        1 => runs.for_each(|(i, o)| to[o] = from[i]),
        2..=4 => runs.for_each(|(i, o)| copy_short::<2>(&from[i..i + run], &mut to[o..o + run])),
        5..=8 => runs.for_each(|(i, o)| copy_short::<4>(&from[i..i + run], &mut to[o..o + run])),
        9..=16 => runs.for_each(|(i, o)| copy_short::<8>(&from[i..i + run], &mut to[o..o + run])),
        17..=SHORT => runs.for_each(|(i, o)| copy_short::<16>(&from[i..i + run], &mut to[o..o + run])),
        _ => runs.for_each(|(i, o)| to[o..o + run].copy_from_slice(&from[i..i + run])),
    }
}

/// Copies `N` to `2 N` values as two blocks of `N`, which overlap: blocks of constant size are a few
/// vector moves.
#[inline(always)]
fn copy_short<const N: usize>(from: &[f32], to: &mut [f32]) {
    if let (Some(head), Some(tail)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) {
        let (head, tail) = (*head, *tail);
        to.first_chunk_mut::<N>().into_iter().for_each(|to| *to = head);
        to.last_chunk_mut::<N>().into_iter().for_each(|to| *to = tail);
    }
}

/// Sets `count` runs, `step` apart, to zero.
fn zero_runs(to: &mut [f32], step: usize, run: usize, count: usize) {
    if run <= SHORT {
        return copy_runs(&[0.0; SHORT], 0, to, step, run, count);
    }
    (0..count).for_each(|i| to[i * step..][..run].fill(0.0));
}
