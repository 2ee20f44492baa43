//! Convolution over two axes, as a tiled matrix product.
//!
//! The patches of a few hundred output positions are gathered into a small buffer, one patch a row,
//! and multiplied by the kernel; the matrix of all patches never exists. A pointwise (1x1) kernel
//! and one as large as its input need no gathering: the input already is that matrix.

mod patches;
#[cfg(test)]
mod tests;
mod wide;

use super::gemm::{Mat, MatMut, gemm, gemm_parallel};
use super::reduce;
use crate::error::{Result, ensure};
use crate::runtime::{Workspace, threads};
use crate::shape::{Padding, Window};
use patches::Tiles;
use std::ops::Range;
use wide::Wide;

/// The geometry of a convolution.
///
/// Input `(batch, in_h, in_w, in_c)`, kernel `(kernel_h, kernel_w, in_c / groups, out_c)`, output
/// `(batch, out_h, out_w, out_c)`. Output channels of group `g` see the input channels of group `g`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Conv2d {
    pub batch: usize,
    pub in_h: usize,
    pub in_w: usize,
    pub in_c: usize,
    pub kernel_h: usize,
    pub kernel_w: usize,
    pub out_h: usize,
    pub out_w: usize,
    pub out_c: usize,
    pub stride_h: usize,
    pub stride_w: usize,
    pub dilation_h: usize,
    pub dilation_w: usize,
    pub pad_top: usize,
    pub pad_left: usize,
    pub groups: usize,
}

/// More values than this in one tensor are refused, so that no size below can overflow.
const MAX_LEN: usize = 1 << 40;
/// The matrix product works on blocks of this many rows.
const ROW_BLOCK: usize = 64;
/// Work is cut into pieces of at least this many multiplications and additions ...
const PIECE_FLOPS: f64 = (1 << 20) as f64;
/// ... but not more pieces than this, ...
const MAX_PIECES: usize = 16;
/// ... and partial weight gradients have at most this many values in all.
const MAX_PARTIAL_LEN: usize = 1 << 22;

impl Conv2d {
    /// The convolution of `input`, `(batch, height, width, channels)`, with `out_c` kernels of
    /// `kernel` taps; `kernel`, `strides` and `dilation` are `(height, width)`.
    ///
    /// # Errors
    /// When a size is zero, the kernel does not fit, `groups` does not divide the channels, or a
    /// tensor would be too large.
    ///
    /// ```
    /// use cornu::kernels::conv::Conv2d;
    /// use cornu::Padding;
    /// let g = Conv2d::new([16, 28, 28, 1], [5, 5], 6, [1, 1], [1, 1], Padding::Same, 1)?;
    /// assert_eq!((g.out_h, g.out_w, g.pad_top), (28, 28, 2));
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn new(
        input: [usize; 4],
        kernel: [usize; 2],
        out_c: usize,
        strides: [usize; 2],
        dilation: [usize; 2],
        padding: Padding,
        groups: usize,
    ) -> Result<Self> {
        let rows = Window::new(input[1], kernel[0], strides[0], dilation[0], padding)?;
        let cols = Window::new(input[2], kernel[1], strides[1], dilation[1], padding)?;
        Self::with_windows(input, kernel, out_c, strides, dilation, [rows, cols], groups)
    }

    /// As [`new`](Self::new), with the positions and the padding given for each axis (causal
    /// padding, transposed convolutions). Taps outside the input, before or after, read zeros.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_windows(
        input: [usize; 4],
        kernel: [usize; 2],
        out_c: usize,
        strides: [usize; 2],
        dilation: [usize; 2],
        windows: [Window; 2],
        groups: usize,
    ) -> Result<Self> {
        let [batch, in_h, in_w, in_c] = input;
        let [rows, cols] = windows;
        ensure!(
            in_c > 0 && out_c > 0 && in_h > 0 && in_w > 0,
            Shape,
            "a convolution of {in_h} x {in_w} cells, {in_c} to {out_c} channels: all must be at least 1"
        );
        ensure!(
            kernel.iter().chain(&strides).chain(&dilation).all(|&n| n > 0),
            Argument,
            "kernel size {kernel:?}, strides {strides:?} and dilation {dilation:?} must all be at least 1"
        );
        ensure!(
            groups > 0 && in_c.is_multiple_of(groups) && out_c.is_multiple_of(groups),
            Argument,
            "{groups} groups do not divide {in_c} input channels and {out_c} output channels"
        );
        let reach = |w: Window, n: usize, size: usize, stride: usize, dilation: usize| {
            let span = dilation.checked_mul(size - 1)?;
            w.out.saturating_sub(1).checked_mul(stride)?.checked_add(span)?.checked_add(w.before)?.checked_add(n)
        };
        let len = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let sizes = [
            len(&[batch, in_h, in_w, in_c]),
            len(&[batch, rows.out, cols.out, out_c]),
            len(&[kernel[0], kernel[1], in_c, out_c]),
            reach(rows, in_h, kernel[0], strides[0], dilation[0]),
            reach(cols, in_w, kernel[1], strides[1], dilation[1]),
        ];
        ensure!(
            sizes.iter().all(|size| size.is_some_and(|size| size <= MAX_LEN)),
            Shape,
            "a convolution of {input:?} with {out_c} kernels of {kernel:?} is too large"
        );
        Ok(Conv2d {
            batch,
            in_h,
            in_w,
            in_c,
            kernel_h: kernel[0],
            kernel_w: kernel[1],
            out_h: rows.out,
            out_w: cols.out,
            out_c,
            stride_h: strides[0],
            stride_w: strides[1],
            dilation_h: dilation[0],
            dilation_w: dilation[1],
            pad_top: rows.before,
            pad_left: cols.before,
            groups,
        })
    }

    /// The number of values in the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_h * self.in_w * self.in_c
    }

    /// The number of values in the output.
    pub fn output_len(&self) -> usize {
        self.positions() * self.out_c
    }

    /// The number of values in the kernel.
    pub fn kernel_len(&self) -> usize {
        self.patch() * self.out_c
    }

    /// Multiplications and additions of one pass.
    pub fn flops(&self) -> f64 {
        2.0 * self.output_len() as f64 * self.patch() as f64
    }

    /// `y = x * kernel + bias`; `bias` has a value for each output channel.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn forward(&self, x: &[f32], kernel: &[f32], bias: Option<&[f32]>, y: &mut [f32], workspace: &Workspace) {
        self.check(x.len(), kernel.len(), y.len());
        assert!(bias.is_none_or(|bias| bias.len() == self.out_c), "length of the bias");
        if let Some(wide) = Wide::of(self) {
            return wide.forward(x, kernel, bias, y, workspace);
        }
        self.forward_tiled(x, kernel, bias, y, workspace);
    }

    fn forward_tiled(&self, x: &[f32], kernel: &[f32], bias: Option<&[f32]>, y: &mut [f32], workspace: &Workspace) {
        let beta = if bias.is_some() { 1.0 } else { 0.0 };
        let piece = self.piece_positions(MAX_PIECES);
        let mut pieces: Vec<_> = y.chunks_mut(piece * self.out_c).collect();
        threads::for_each(&mut pieces, |i, y| {
            let all = i * piece..i * piece + y.len() / self.out_c;
            let mut tiles = Tiles::to_gather(self, all.len(), workspace);
            for at in tiles.of(all.clone()) {
                let y = &mut y[(at.start - all.start) * self.out_c..][..at.len() * self.out_c];
                if let Some(bias) = bias {
                    reduce::fill_rows(y, bias);
                }
                for group in 0..self.groups {
                    let patches = tiles.gather(x, at.clone(), group);
                    gemm(1.0, patches, self.kernel_of(kernel, group), beta, self.channels_of_mut(y, group));
                }
            }
        });
    }

    /// The gradient by the input, into `dx`, from the one by the output.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn backward_data(&self, dy: &[f32], kernel: &[f32], dx: &mut [f32], workspace: &Workspace) {
        self.check(dx.len(), kernel.len(), dy.len());
        if let Some(wide) = Wide::of(self) {
            return wide.backward_data(dy, kernel, dx, workspace);
        }
        self.backward_data_tiled(dy, kernel, dx, workspace);
    }

    fn backward_data_tiled(&self, dy: &[f32], kernel: &[f32], dx: &mut [f32], workspace: &Workspace) {
        // Neighbouring patches overlap in dx, images do not.
        let piece = self.batch.div_ceil(self.pieces(MAX_PIECES)).max(1);
        let (image, positions) = (self.in_h * self.in_w * self.in_c, self.out_h * self.out_w);
        let mut pieces: Vec<_> = dx.chunks_mut(piece * image).collect();
        threads::for_each(&mut pieces, |i, dx| {
            let first = i * piece;
            let all = first * positions..(first + dx.len() / image) * positions;
            let mut tiles = Tiles::new(self, all.len(), workspace);
            dx.fill(0.0);
            for at in tiles.of(all) {
                for group in 0..self.groups {
                    let dy = self.channels_of(&dy[at.start * self.out_c..at.end * self.out_c], group);
                    tiles.scatter(dy, self.kernel_of(kernel, group).t(), at.clone(), group, first, dx);
                }
            }
        });
    }

    /// Adds the gradient by the kernel to `dkernel`.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn backward_weights(&self, x: &[f32], dy: &[f32], dkernel: &mut [f32], workspace: &Workspace) {
        self.check(x.len(), dkernel.len(), dy.len());
        if let Some(wide) = Wide::of(self) {
            return wide.backward_weights(x, dy, dkernel, workspace);
        }
        self.backward_weights_tiled(x, dy, dkernel, workspace);
    }

    fn backward_weights_tiled(&self, x: &[f32], dy: &[f32], dkernel: &mut [f32], workspace: &Workspace) {
        let len = self.kernel_len();
        let piece = self.piece_positions((MAX_PARTIAL_LEN / len).clamp(1, MAX_PIECES));
        let count = self.positions().div_ceil(piece);
        if count <= 1 {
            return self.add_weights(x, dy, 0..self.positions(), dkernel, workspace);
        }
        let mut partial = workspace.take(count * len);
        let mut slots: Vec<_> = partial.chunks_exact_mut(len).collect();
        threads::for_each(&mut slots, |i, slot| {
            slot.fill(0.0);
            self.add_weights(x, dy, i * piece..((i + 1) * piece).min(self.positions()), slot, workspace);
        });
        for slot in slots {
            reduce::add(dkernel, slot);
        }
        workspace.give(partial);
    }

    /// Adds the gradient by the bias to `dbias`.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn backward_bias(&self, dy: &[f32], dbias: &mut [f32]) {
        assert_eq!((dy.len(), dbias.len()), (self.output_len(), self.out_c), "lengths for {self:?}");
        reduce::add_column_sums(dy, dbias);
    }

    fn add_weights(&self, x: &[f32], dy: &[f32], all: Range<usize>, dkernel: &mut [f32], workspace: &Workspace) {
        let width = self.out_c / self.groups;
        let mut tiles = Tiles::to_gather(self, all.len(), workspace);
        for at in tiles.of(all) {
            for group in 0..self.groups {
                let patches = tiles.gather(x, at.clone(), group);
                let dy = self.channels_of(&dy[at.start * self.out_c..at.end * self.out_c], group);
                let out = MatMut::strided(&mut dkernel[group * width..], self.patch(), width, self.out_c);
                gemm_parallel(1.0, patches.t(), dy, 1.0, out);
            }
        }
    }

    fn check(&self, x: usize, kernel: usize, y: usize) {
        let want = (self.input_len(), self.kernel_len(), self.output_len());
        assert_eq!((x, kernel, y), want, "lengths of the input, the kernel and the output of {self:?}");
    }

    /// Output positions, of all images.
    fn positions(&self) -> usize {
        self.batch * self.out_h * self.out_w
    }

    /// Values that one output value sees.
    fn patch(&self) -> usize {
        self.kernel_h * self.kernel_w * (self.in_c / self.groups)
    }

    /// The number of pieces to cut the work into.
    fn pieces(&self, most: usize) -> usize {
        ((self.flops() / PIECE_FLOPS) as usize).clamp(1, most)
    }

    /// Positions in a piece: whole blocks of rows, so that no product ends in the middle of one.
    fn piece_positions(&self, most: usize) -> usize {
        self.positions().div_ceil(self.pieces(most)).max(1).next_multiple_of(ROW_BLOCK)
    }

    /// The distance of consecutive patches in the input, where it is a matrix of patches already.
    fn direct(&self) -> Option<usize> {
        let plain = self.pad_top == 0 && self.pad_left == 0;
        let pointwise = (self.kernel_h, self.kernel_w, self.stride_h, self.stride_w) == (1, 1, 1, 1)
            && (self.out_h, self.out_w) == (self.in_h, self.in_w);
        let whole = (self.kernel_h, self.kernel_w, self.out_h, self.out_w) == (self.in_h, self.in_w, 1, 1)
            && (self.dilation_h, self.dilation_w, self.groups) == (1, 1, 1);
        match plain {
            true if pointwise => Some(self.in_c),
            true if whole => Some(self.patch()),
            _ => None,
        }
    }

    /// One group's kernel, `(patch, out_c / groups)`.
    fn kernel_of<'a>(&self, kernel: &'a [f32], group: usize) -> Mat<'a> {
        let width = self.out_c / self.groups;
        Mat::strided(&kernel[group * width..], self.patch(), width, self.out_c)
    }

    /// One group's channels of consecutive output positions.
    fn channels_of<'a>(&self, y: &'a [f32], group: usize) -> Mat<'a> {
        let width = self.out_c / self.groups;
        Mat::strided(&y[group * width..], y.len() / self.out_c, width, self.out_c)
    }

    fn channels_of_mut<'a>(&self, y: &'a mut [f32], group: usize) -> MatMut<'a> {
        let (width, rows) = (self.out_c / self.groups, y.len() / self.out_c);
        MatMut::strided(&mut y[group * width..], rows, width, self.out_c)
    }
}
