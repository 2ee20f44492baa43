//! Convolution over two axes: matrix products that never see a matrix of patches.
//!
//! `direct` multiplies windows where they lie in the image, copied once with its padding
//! (`lines`). `wide` makes few output channels more. The gradient by the input is a convolution
//! as well, with strides several (`phases`), or, with few input channels, products that `patches` adds to where they
//! belong.

mod depthwise;
mod direct;
mod lines;
mod pair;
mod patches;
mod phases;
mod plan;
mod sums;
mod taps;
#[cfg(test)]
mod tests;
mod wide;
pub(super) mod winograd;

use super::epilogue::Epilogue;
use super::packed::{Layout, Packed};
use super::reduce;
use super::simd::Isa;
use crate::error::{Result, ensure};
use crate::runtime::{Workspace, threads, winograd_allowed};
use crate::shape::{Padding, Window};
use direct::Kernel;
pub use plan::Plan;

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
/// Work is cut into pieces of at least this many multiplications and additions ...
const PIECE_FLOPS: f64 = (1 << 20) as f64;
/// ... but not more pieces than this, ...
const MAX_PIECES: usize = 16;
/// ... and partial sums of the weights' gradient are fewer.
const MAX_PARTIAL: usize = 8;

/// How the gradient by the kernel is cut into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shares {
    /// Of so many lines of the output, with sums of their own.
    Lines(usize),
    /// Of so many rows of the result.
    Rows(usize),
}

/// The number of pieces for so much work.
fn pieces(flops: f64) -> usize {
    ((flops / PIECE_FLOPS) as usize).clamp(1, MAX_PIECES)
}

/// Adds to both `sums` what `add` gives for pieces of `count` lines, each with a place of its own.
fn sum_of_parts(
    [first, second]: [&mut [f32]; 2],
    count: usize,
    piece: usize,
    workspace: &Workspace,
    add: impl Fn(std::ops::Range<usize>, [&mut [f32]; 2]) + Sync,
) {
    if count <= piece {
        return add(0..count, [first, second]);
    }
    let (middle, len) = (first.len(), first.len() + second.len());
    let mut partial = workspace.take(count.div_ceil(piece) * len);
    let mut slots: Vec<_> = partial.chunks_exact_mut(len).collect();
    threads::for_each(&mut slots, |i, slot| {
        slot.fill(0.0);
        let (first, second) = slot.split_at_mut(middle);
        add(i * piece..((i + 1) * piece).min(count), [first, second]);
    });
    let share = middle.div_ceil(pieces((32 * partial.len()) as f64));
    let mut shares: Vec<_> = first.chunks_mut(share).collect();
    threads::for_each(&mut shares, |i, sums| {
        for slot in partial.chunks_exact(len) {
            reduce::add(sums, &slot[i * share..][..sums.len()]);
        }
    });
    for slot in partial.chunks_exact(len) {
        reduce::add(second, &slot[middle..]);
    }
    workspace.give(partial);
}

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

    /// Which path each pass takes.
    pub fn plan(&self) -> Plan {
        Plan::of(self, Isa::get())
    }

    /// `y = x * kernel`, and what the epilogue does to it. A bias alone can be given as `Some(&bias)`, none as `None`.
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
        epilogue.check(self.out_c, self.output_len());
        assert_eq!(y.len(), epilogue.stored(self.output_len()), "length of the output");
        self.check(x.len(), kernel.len(), self.output_len());
        let isa = Isa::get();
        let winograd = packed.filter(|packed| matches!(packed.layout(), Layout::Winograd { .. }));
        let plan = plan::forward(self, isa);
        if let (plan::Forward::Winograd(layout), None) = (&plan, winograd) {
            let turned = Packed::take(*layout, kernel, workspace);
            self.forward_packed(x, kernel, Some(&turned), epilogue, y, workspace);
            return turned.give(workspace);
        }
        if let Some(pool) = epilogue.pool {
            let of = [pool.batch, pool.in_h, pool.in_w, pool.channels];
            assert_eq!(of, [self.batch, self.out_h, self.out_w, self.out_c], "a pooling of other results");
            let at_once = match (&plan, winograd) {
                (plan::Forward::Winograd(_), _) | (_, Some(_)) => pool.is_two_by_two(),
                (plan::Forward::Depthwise, _) => false,
                (plan::Forward::Wide(wide), _) => wide.wide.pools_lines(isa, &pool),
                (plan::Forward::Product, _) => self.pools_lines(isa, &pool),
            };
            if !at_once {
                let mut all = workspace.take(self.output_len());
                self.forward_packed(x, kernel, packed, Epilogue { pool: None, ..epilogue }, &mut all, workspace);
                pool.max_forward(&all, y);
                return workspace.give(all);
            }
        }
        if let Some(packed) = winograd {
            assert!(self.is_winograd(), "a turned kernel for another convolution");
            return self.winograd(isa, x, packed, epilogue, y, workspace);
        }
        let product = matches!(plan, plan::Forward::Product);
        if let Some(scale) = epilogue.scale.filter(|_| !product) {
            // These kernels are small.
            let mut scaled = workspace.take(kernel.len());
            for (to, from) in scaled.chunks_exact_mut(self.out_c).zip(kernel.chunks_exact(self.out_c)) {
                to.iter_mut().zip(from).zip(scale).for_each(|((to, from), scale)| *to = from * scale);
            }
            self.forward_packed(x, &scaled, None, Epilogue { scale: None, ..epilogue }, y, workspace);
            return workspace.give(scaled);
        }
        if epilogue.sum && matches!(plan, plan::Forward::Depthwise) {
            let mut more = workspace.take(y.len());
            self.depthwise(
                isa,
                x,
                kernel,
                Epilogue { bias: epilogue.bias, ..Epilogue::default() },
                &mut more,
                workspace,
            );
            reduce::add(y, &more);
            epilogue.end().apply(y);
            return workspace.give(more);
        }
        match plan {
            plan::Forward::Depthwise => {
                self.depthwise(isa, x, kernel, epilogue, y, workspace);
                if epilogue.gate.is_some() {
                    epilogue.end().apply(y);
                }
            }
            plan::Forward::Wide(wide) => wide.forward(isa, x, kernel, epilogue, y, workspace),
            plan::Forward::Winograd(_) => unreachable!("the kernel was turned above"),
            plan::Forward::Product => {
                self.convolve(isa, x, Kernel { values: kernel, turned: false, packed }, epilogue, y, workspace);
            }
        }
    }

    /// The turned kernel of Winograd's way, if it pays to keep that: results differ by rounding errors.
    pub(crate) fn winograd_layout(&self) -> Option<Layout> {
        (winograd_allowed() && self.is_winograd()).then(|| self.turned_kernel(false))
    }

    /// How the forward pass reads a kernel, if it pays to keep a copy of it.
    pub(crate) fn forward_layout(&self) -> Option<Layout> {
        let taps = self.kernel_h * self.kernel_w;
        let (in_c, out_c, groups) = (self.in_c / self.groups, self.out_c, self.groups);
        let product = matches!(plan::forward(self, Isa::get()), plan::Forward::Product);
        product.then_some(Layout::Kernel { depth: taps * in_c, out_c, groups })
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
        self.check(dx.len(), kernel.len(), dy.len());
        let epilogue = Epilogue { gate, ..Epilogue::default() };
        epilogue.check(self.in_c, dx.len());
        let (isa, end) = (Isa::get(), epilogue.end());
        match plan::data(self, isa) {
            plan::Data::Turned(turned) => {
                let kernel = Kernel { values: kernel, turned: true, packed: None };
                return turned.convolve(isa, dy, kernel, epilogue, dx, workspace);
            }
            plan::Data::Winograd(turned, layout) => {
                let kernel = Packed::take(layout, kernel, workspace);
                turned.winograd(isa, dy, &kernel, epilogue, dx, workspace);
                return kernel.give(workspace);
            }
            plan::Data::Phases(phases) => return self.backward_data_by_phases(isa, dy, kernel, dx, &phases, end),
            plan::Data::Depthwise => self.depthwise_data(isa, dy, kernel, dx, workspace),
            plan::Data::WidePatches(wide) => wide.backward_data(isa, dy, kernel, dx, workspace),
            plan::Data::Patches => self.backward_data_by_patches(isa, dy, kernel, dx),
        }
        end.apply(dx);
    }

    /// Adds the gradient by the kernel to `dkernel`.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn backward_weights(&self, x: &[f32], dy: &[f32], dkernel: &mut [f32], workspace: &Workspace) {
        self.weights_and_bias(x, dy, dkernel, &mut [], workspace);
    }

    /// [`backward_weights`](Self::backward_weights) and [`backward_bias`](Self::backward_bias), which reads `dy` once
    /// for both where it can.
    ///
    /// # Panics
    /// As these.
    pub fn backward_weights_and_bias(
        &self,
        x: &[f32],
        dy: &[f32],
        dkernel: &mut [f32],
        dbias: &mut [f32],
        workspace: &Workspace,
    ) {
        assert_eq!(dbias.len(), self.out_c, "length of the bias");
        self.weights_and_bias(x, dy, dkernel, dbias, workspace);
    }

    /// All gradients: [`backward_data`](Self::backward_data), and
    /// [`backward_weights_and_bias`](Self::backward_weights_and_bias), or without the bias where there is no place for
    /// it. The input and the gradient by the output are read
    /// once for all where that is possible.
    ///
    /// # Panics
    /// As these.
    #[allow(clippy::too_many_arguments)]
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
        let dbias = dbias.unwrap_or_default();
        assert!(dbias.is_empty() || dbias.len() == self.out_c, "length of the bias");
        if self.is_depthwise() && self.is_three() && self.is_large() {
            self.check(x.len(), kernel.len(), dy.len());
            assert_eq!((dx.len(), dkernel.len()), (x.len(), kernel.len()), "lengths of the gradients");
            self.depthwise_backward(Isa::get(), x, dy, kernel, dx, dkernel, dbias, workspace);
            return Epilogue { gate, ..Epilogue::default() }.end().apply(dx);
        }
        self.backward_data_gated(dy, kernel, gate, dx, workspace);
        self.weights_and_bias(x, dy, dkernel, dbias, workspace);
    }

    /// The same; the bias is left out where its place is empty.
    fn weights_and_bias(&self, x: &[f32], dy: &[f32], dkernel: &mut [f32], dbias: &mut [f32], workspace: &Workspace) {
        self.check(x.len(), dkernel.len(), dy.len());
        if dy.is_empty() {
            return;
        }
        let isa = Isa::get();
        match (plan::weights(self, isa), self.shares()) {
            (plan::Weights::Depthwise, _) => self.depthwise_weights(isa, x, dy, dkernel, dbias, workspace),
            (plan::Weights::Winograd, _) => self.winograd_weights(isa, x, dy, dkernel, dbias, workspace),
            (plan::Weights::Product, Shares::Lines(_)) => self.sum_weights(isa, x, dy, dkernel, dbias, workspace),
            (plan::Weights::Product, Shares::Rows(_)) => {
                self.sum_weights(isa, x, dy, dkernel, &mut [], workspace);
                self.bias_alone(dy, dbias);
            }
            (plan::Weights::Taps(taps), shares @ Shares::Lines(_)) => {
                taps.sum(shares, x, dy, dkernel, dbias, workspace)
            }
            (plan::Weights::Taps(taps), shares @ Shares::Rows(_)) => {
                taps.sum(shares, x, dy, dkernel, &mut [], workspace);
                self.bias_alone(dy, dbias);
            }
            (plan::Weights::Wide(wide), _) => {
                wide.backward_weights(isa, x, dy, dkernel, workspace);
                self.bias_alone(dy, dbias);
            }
        }
    }

    /// [`backward_bias`](Self::backward_bias), if it has a place.
    fn bias_alone(&self, dy: &[f32], dbias: &mut [f32]) {
        if !dbias.is_empty() {
            self.backward_bias(dy, dbias);
        }
    }

    /// How the weights' gradient is cut: partial sums over lines, or, where those would be larger than what they
    /// are made from, rows of the result.
    fn shares(&self) -> Shares {
        let lines = self.batch * self.out_h;
        let count = pieces(self.flops());
        if 4 * self.kernel_len() <= self.output_len() || count == 1 {
            return Shares::Lines(lines.div_ceil(count.min(MAX_PARTIAL)).max(1));
        }
        Shares::Rows(self.patch().div_ceil(count).next_multiple_of(14))
    }

    /// Adds the gradient by the bias to `dbias`.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn backward_bias(&self, dy: &[f32], dbias: &mut [f32]) {
        assert_eq!((dy.len(), dbias.len()), (self.output_len(), self.out_c), "lengths for {self:?}");
        let rows = self.positions().div_ceil(pieces(16.0 * dy.len() as f64)).max(1);
        let mut parts: Vec<_> =
            dy.chunks(rows * self.out_c).map(|dy| (dy, smallvec::SmallVec::<[f32; 64]>::new())).collect();
        threads::for_each(&mut parts, |_, (dy, sums)| {
            sums.resize(self.out_c, 0.0);
            reduce::add_column_sums(dy, sums);
        });
        for (_, sums) in &parts {
            reduce::add(dbias, sums);
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

    /// Whether each output position sees the input's at the same place.
    fn pointwise(&self) -> bool {
        (self.kernel_h, self.kernel_w, self.stride_h, self.stride_w) == (1, 1, 1, 1)
            && (self.pad_top, self.pad_left, self.out_h, self.out_w) == (0, 0, self.in_h, self.in_w)
    }

    /// The distance of consecutive patches in the input, where it is a matrix of patches already.
    fn direct(&self) -> Option<usize> {
        let plain = self.pad_top == 0 && self.pad_left == 0;
        let pointwise = self.pointwise();
        let whole = (self.kernel_h, self.kernel_w, self.out_h, self.out_w) == (self.in_h, self.in_w, 1, 1)
            && (self.dilation_h, self.dilation_w, self.groups) == (1, 1, 1);
        match plain {
            true if pointwise => Some(self.in_c),
            true if whole => Some(self.patch()),
            _ => None,
        }
    }
}
