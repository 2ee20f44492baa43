//! Convolution over three axes: the taps along the depth become channels of a convolution over two.

use super::conv::Conv2d;
use super::epilogue::Epilogue;
use super::packed::{Layout, Packed};
use super::reduce;
use crate::error::{Error, Result, ensure};
use crate::runtime::{Workspace, threads};
use crate::shape::{Padding, Window};

/// The geometry of a convolution over depth, height and width.
///
/// Input `(batch, depth, height, width, channels)`, kernel `(kernel_depth, kernel_height, kernel_width,
/// channels / groups, out_channels)`. One over fewer axes has a depth (and a height) of 1 and costs nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv3d {
    batch: usize,
    in_d: usize,
    out_d: usize,
    /// Taps along the depth, and their step, distance and padding in front.
    taps: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    in_c: usize,
    groups: usize,
    /// What is done for each depth of the output: its image has the channels of `taps` images of the input.
    plane: Conv2d,
}

impl Conv3d {
    /// The convolution of `input` with `out_c` kernels of `kernel` taps; see [`Conv2d::new`].
    ///
    /// # Errors
    /// As for [`Conv2d::new`].
    pub fn new(
        input: [usize; 5],
        kernel: [usize; 3],
        out_c: usize,
        strides: [usize; 3],
        dilation: [usize; 3],
        padding: Padding,
        groups: usize,
    ) -> Result<Self> {
        let window = |axis: usize| Window::new(input[axis + 1], kernel[axis], strides[axis], dilation[axis], padding);
        Self::with_windows(input, kernel, out_c, strides, dilation, [window(0)?, window(1)?, window(2)?], groups)
    }

    /// As [`new`](Self::new), with the positions and the padding given for each axis.
    ///
    /// # Errors
    /// As for [`Conv2d::with_windows`].
    pub fn with_windows(
        input: [usize; 5],
        kernel: [usize; 3],
        out_c: usize,
        strides: [usize; 3],
        dilation: [usize; 3],
        [depth, rows, cols]: [Window; 3],
        groups: usize,
    ) -> Result<Self> {
        let [batch, in_d, in_h, in_w, in_c] = input;
        ensure!(in_d > 0, Shape, "the depth of the input is 0");
        ensure!(kernel[0] > 0 && strides[0] > 0 && dilation[0] > 0, Argument, "sizes must be at least 1");
        ensure!(groups > 0 && in_c.is_multiple_of(groups), Argument, "{groups} groups do not divide {in_c} channels");
        let large =
            || Error::Shape(format!("a convolution of {input:?} with {out_c} kernels of {kernel:?} is too large"));
        // Checked as a convolution over depth and all cells of a plane: no offset along the depth overflows.
        let plane = in_h.checked_mul(in_w).ok_or_else(large)?;
        let whole = Window { out: plane, before: 0, after: 0 };
        Conv2d::with_windows(
            [batch, in_d, plane, in_c],
            [kernel[0], 1],
            out_c,
            [strides[0], 1],
            [dilation[0], 1],
            [depth, whole],
            groups,
        )?;
        let images = batch.checked_mul(depth.out).ok_or_else(large)?;
        let channels = kernel[0].checked_mul(in_c).ok_or_else(large)?;
        ensure!(depth.out > 0, Shape, "the depth of the output is 0");
        let plane = Conv2d::with_windows(
            [images, in_h, in_w, channels],
            [kernel[1], kernel[2]],
            out_c,
            [strides[1], strides[2]],
            [dilation[1], dilation[2]],
            [rows, cols],
            groups,
        )?;
        Ok(Conv3d {
            batch,
            in_d,
            out_d: depth.out,
            taps: kernel[0],
            stride: strides[0],
            dilation: dilation[0],
            before: depth.before,
            in_c,
            groups,
            plane,
        })
    }

    /// The shape of the input, `(batch, depth, height, width, channels)`.
    pub fn input(&self) -> [usize; 5] {
        [self.batch, self.in_d, self.plane.in_h, self.plane.in_w, self.in_c]
    }

    /// The shape of the output, `(batch, depth, height, width, channels)`.
    pub fn output(&self) -> [usize; 5] {
        [self.batch, self.out_d, self.plane.out_h, self.plane.out_w, self.plane.out_c]
    }

    /// The number of values in the kernel.
    pub fn kernel_len(&self) -> usize {
        self.plane.kernel_len()
    }

    /// `y = x * kernel`, and what the epilogue adds: see [`Conv2d::forward`].
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn forward<'a>(
        &self,
        x: &[f32],
        kernel: &[f32],
        epilogue: impl Into<Epilogue<'a>>,
        y: &mut [f32],
        workspace: &Workspace,
    ) {
        self.forward_packed(x, kernel, None, epilogue.into(), y, workspace);
    }

    /// [`forward`](Self::forward) with a copy of the kernel that somebody keeps in this
    /// [`layout`](Self::forward_layout).
    pub(crate) fn forward_packed(
        &self,
        x: &[f32],
        kernel: &[f32],
        packed: Option<&Packed>,
        epilogue: Epilogue,
        y: &mut [f32],
        workspace: &Workspace,
    ) {
        if self.flat() {
            return self.plane.forward_packed(x, kernel, packed, epilogue, y, workspace);
        }
        let (planes, turned) = (self.gather(x, workspace), self.turn(kernel, workspace));
        self.plane.forward(&planes, &turned, epilogue, y, workspace);
        workspace.give(planes);
        workspace.give(turned);
    }

    /// As [`Conv2d::winograd_layout`].
    pub(crate) fn winograd_layout(&self) -> Option<Layout> {
        if self.flat() { self.plane.winograd_layout() } else { None }
    }

    /// How [`forward`](Self::forward) reads a kernel, if it pays to keep a copy of it.
    pub(crate) fn forward_layout(&self) -> Option<Layout> {
        if self.flat() { self.plane.forward_layout() } else { None }
    }

    /// The gradient by the input, into `dx`, from the one by the output.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn backward_data(&self, dy: &[f32], kernel: &[f32], dx: &mut [f32], workspace: &Workspace) {
        self.backward_data_gated(dy, kernel, None, dx, workspace);
    }

    /// [`backward_data`](Self::backward_data) that becomes 0 where `gate`, of the size of the input, is not above 0.
    pub(crate) fn backward_data_gated(
        &self,
        dy: &[f32],
        kernel: &[f32],
        gate: Option<&[f32]>,
        dx: &mut [f32],
        workspace: &Workspace,
    ) {
        if self.flat() {
            return self.plane.backward_data_gated(dy, kernel, gate, dx, workspace);
        }
        let (mut planes, turned) = (workspace.take(self.plane.input_len()), self.turn(kernel, workspace));
        self.plane.backward_data(dy, &turned, &mut planes, workspace);
        self.scatter(&planes, dx);
        Epilogue { gate, ..Epilogue::default() }.end().apply(dx);
        workspace.give(planes);
        workspace.give(turned);
    }

    /// Adds the gradient by the kernel to `dkernel` and, where there is a place for it, the one by the bias to
    /// `dbias`.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn backward_weights(
        &self,
        x: &[f32],
        dy: &[f32],
        dkernel: &mut [f32],
        dbias: Option<&mut [f32]>,
        workspace: &Workspace,
    ) {
        let plane = |x: &[f32], dkernel: &mut [f32]| match dbias {
            Some(dbias) => self.plane.backward_weights_and_bias(x, dy, dkernel, dbias, workspace),
            None => self.plane.backward_weights(x, dy, dkernel, workspace),
        };
        if self.flat() {
            return plane(x, dkernel);
        }
        let (planes, mut turned) = (self.gather(x, workspace), workspace.take(dkernel.len()));
        turned.fill(0.0);
        plane(&planes, &mut turned);
        let (block, cells) = (self.block(), self.cells());
        for (i, from) in turned.chunks_exact(block).enumerate() {
            let at = (i % self.taps * cells + i / self.taps) * block;
            reduce::add(&mut dkernel[at..at + block], from);
        }
        workspace.give(planes);
        workspace.give(turned);
    }

    /// All gradients: [`backward_data`](Self::backward_data) and [`backward_weights`](Self::backward_weights).
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    #[allow(clippy::too_many_arguments, reason = "three operands, their gradients")]
    pub fn backward(
        &self,
        x: &[f32],
        dy: &[f32],
        kernel: &[f32],
        dx: &mut [f32],
        dkernel: &mut [f32],
        dbias: Option<&mut [f32]>,
        workspace: &Workspace,
    ) {
        self.backward_gated(x, dy, kernel, None, dx, dkernel, dbias, workspace);
    }

    /// [`backward`](Self::backward) with a gradient by the input that becomes 0 where `gate`, of its size, is not above 0.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn backward_gated(
        &self,
        x: &[f32],
        dy: &[f32],
        kernel: &[f32],
        gate: Option<&[f32]>,
        dx: &mut [f32],
        dkernel: &mut [f32],
        dbias: Option<&mut [f32]>,
        workspace: &Workspace,
    ) {
        if self.flat() {
            return self.plane.backward_gated(x, dy, kernel, gate, dx, dkernel, dbias, workspace);
        }
        self.backward_data_gated(dy, kernel, gate, dx, workspace);
        self.backward_weights(x, dy, dkernel, dbias, workspace);
    }

    /// Adds the gradient by the bias to `dbias`.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn backward_bias(&self, dy: &[f32], dbias: &mut [f32]) {
        self.plane.backward_bias(dy, dbias);
    }

    /// Whether each depth of the output sees the same depth of the input alone.
    fn flat(&self) -> bool {
        (self.taps, self.stride, self.before, self.out_d) == (1, 1, 0, self.in_d)
    }

    /// Taps of the kernel in a plane.
    fn cells(&self) -> usize {
        self.plane.kernel_h * self.plane.kernel_w
    }

    /// Values of the kernel for one tap.
    fn block(&self) -> usize {
        self.in_c / self.groups * self.plane.out_c
    }

    /// The kernel with the taps along the depth as channels: `(height, width, depth, channels, out_channels)`.
    fn turn(&self, kernel: &[f32], workspace: &Workspace) -> Vec<f32> {
        let mut turned = workspace.take(kernel.len());
        let (block, cells) = (self.block(), self.cells());
        for (i, to) in turned.chunks_exact_mut(block).enumerate() {
            to.copy_from_slice(&kernel[(i % self.taps * cells + i / self.taps) * block..][..block]);
        }
        turned
    }

    /// The depth of the input that a tap of an output's depth reads, unless it is padding.
    fn source(&self, out: usize, tap: usize) -> Option<usize> {
        (out * self.stride + tap * self.dilation).checked_sub(self.before).filter(|&depth| depth < self.in_d)
    }

    /// For each depth of the output the channels of all its taps; groups stay together.
    fn gather(&self, x: &[f32], workspace: &Workspace) -> Vec<f32> {
        let mut planes = workspace.take(self.plane.input_len());
        let (run, cells) = (self.in_c / self.groups, self.plane.in_h * self.plane.in_w);
        let line = self.taps * self.in_c;
        threads::for_each_chunk(&mut planes, cells * line, |image, plane| {
            let (sample, out) = (image / self.out_d, image % self.out_d);
            for tap in 0..self.taps {
                let from = self.source(out, tap).map(|d| &x[(sample * self.in_d + d) * cells * self.in_c..]);
                for cell in 0..cells {
                    for group in 0..self.groups {
                        let to = &mut plane[cell * line + (group * self.taps + tap) * run..][..run];
                        match from {
                            Some(x) => to.copy_from_slice(&x[cell * self.in_c + group * run..][..run]),
                            None => to.fill(0.0),
                        }
                    }
                }
            }
        });
        planes
    }

    /// The opposite of [`gather`](Self::gather): adds up what it copied.
    fn scatter(&self, planes: &[f32], dx: &mut [f32]) {
        let (run, cells) = (self.in_c / self.groups, self.plane.in_h * self.plane.in_w);
        let line = self.taps * self.in_c;
        threads::for_each_chunk(dx, self.in_d * cells * self.in_c, |sample, dx| {
            dx.fill(0.0);
            for out in 0..self.out_d {
                let plane = &planes[(sample * self.out_d + out) * cells * line..][..cells * line];
                for tap in 0..self.taps {
                    let Some(depth) = self.source(out, tap) else { continue };
                    for cell in 0..cells {
                        for group in 0..self.groups {
                            let from = &plane[cell * line + (group * self.taps + tap) * run..][..run];
                            let at = (depth * cells + cell) * self.in_c + group * run;
                            dx[at..at + run].iter_mut().zip(from).for_each(|(to, from)| *to += from);
                        }
                    }
                }
            }
        });
    }
}
