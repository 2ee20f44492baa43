//! The gradient by the input as products that are added to where they belong: each output position gives a patch of
//! the gradient, and patches overlap.

use super::{Conv2d, MAX_PIECES, pieces};
use crate::kernels::product::{Panels, Source, product};
use crate::kernels::scratch::Scratch;
use crate::kernels::simd::{Isa, Lanes, Work};
use crate::kernels::tile::{End, Reading, Start};
use crate::runtime::threads;
use smallvec::SmallVec;
use std::ops::Range;

/// One kernel for each group, as panels.
type Kernels = SmallVec<[Panels<'static>; 1]>;

/// Values of the patches that are made at once, if a line has no more: the first-level cache.
const PATCHES_LEN: usize = 1 << 13;

impl Conv2d {
    pub(super) fn backward_data_by_patches(&self, isa: Isa, dy: &[f32], kernel: &[f32], dx: &mut [f32]) {
        dx.fill(0.0);
        if dx.is_empty() || dy.is_empty() {
            return;
        }
        let kernels = self.transposed_kernels(isa, kernel);
        // Patches overlap in dx, images do not.
        let images = self.batch.div_ceil(pieces(self.flops()).min(MAX_PIECES));
        let (from, to) = (self.out_h * self.out_w * self.out_c, self.in_h * self.in_w * self.in_c);
        let mut pieces: Vec<_> = dx.chunks_mut(images * to).zip(dy.chunks(images * from)).collect();
        threads::for_each(&mut pieces, |_, (dx, dy)| match self.direct() {
            Some(step) => self.products(isa, dy, &kernels, dx, step),
            None => {
                for (dx, dy) in dx.chunks_exact_mut(to).zip(dy.chunks_exact(from)) {
                    self.add_patches(isa, dy, &kernels, dx);
                }
            }
        });
    }

    /// The kernel of each group as right operand of these products.
    fn transposed_kernels(&self, isa: Isa, kernel: &[f32]) -> Kernels {
        let width = self.out_c / self.groups;
        let one = |group: usize| {
            let source = Source { data: &kernel[group * width..], row_stride: 1, col_stride: self.out_c };
            Panels::copy(isa, source, width, self.patch(), 1.0)
        };
        (0..self.groups).map(one).collect()
    }

    /// Patches that do not overlap, `step` apart, are the gradient itself.
    fn products(&self, isa: Isa, dy: &[f32], kernels: &Kernels, dx: &mut [f32], step: usize) {
        let (rows, width) = (dy.len() / self.out_c, self.out_c / self.groups);
        for (group, kernel) in kernels.iter().enumerate() {
            let (dy, dx) = (&dy[group * width..], &mut dx[group * (self.in_c / self.groups)..]);
            product(isa, dy, Reading::Rows(self.out_c), rows, width, kernel, Start::Zero, End::Plain, dx, step);
        }
    }

    /// The patches of one image.
    fn add_patches(&self, isa: Isa, dy: &[f32], kernels: &Kernels, dx: &mut [f32]) {
        let (patch, width) = (self.patch(), self.out_c / self.groups);
        let lines = (PATCHES_LEN / (self.out_w * patch)).clamp(1, self.out_h);
        let mut patches = Scratch::take(lines * self.out_w * patch);
        for first in (0..self.out_h).step_by(lines) {
            let lines = first..(first + lines).min(self.out_h);
            let dy = &dy[lines.start * self.out_w * self.out_c..];
            for (group, kernel) in kernels.iter().enumerate() {
                let (dy, rows) = (&dy[group * width..], lines.len() * self.out_w);
                product(
                    isa,
                    dy,
                    Reading::Rows(self.out_c),
                    rows,
                    width,
                    kernel,
                    Start::Zero,
                    End::Plain,
                    &mut patches,
                    patch,
                );
                isa.run(Add { g: self, lines: lines.clone(), patches: &patches, group, dx });
            }
        }
    }

    /// The offset in its image of the input row that tap `ky` sees at output row `oy`; none in the padding.
    fn input_row(&self, oy: usize, ky: usize) -> Option<usize> {
        let iy = (oy * self.stride_h + ky * self.dilation_h).checked_sub(self.pad_top)?;
        (iy < self.in_h).then(|| iy * self.in_w * self.in_c)
    }

    /// The input column that tap `kx` sees at output column `ox`; none in the padding.
    fn input_col(&self, ox: usize, kx: usize) -> Option<usize> {
        (ox * self.stride_w + kx * self.dilation_w).checked_sub(self.pad_left).filter(|ix| *ix < self.in_w)
    }

    /// The taps side by side that are inside at output column `ox`, and the first one's column.
    fn inside(&self, ox: usize) -> (Range<usize>, usize) {
        let start = ox * self.stride_w;
        let end = (self.in_w + self.pad_left).saturating_sub(start).min(self.kernel_w);
        let first = self.pad_left.saturating_sub(start).min(end);
        (first..end, (start + first).saturating_sub(self.pad_left).min(self.in_w))
    }
}

/// Adds the patches of some lines and one group to the gradient of an image.
struct Add<'a> {
    g: &'a Conv2d,
    lines: Range<usize>,
    patches: &'a [f32],
    group: usize,
    dx: &'a mut [f32],
}

impl Work for Add<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Add { g, lines, patches, group, dx } = self;
        let (patch, run, depth) = (g.patch(), g.run(), g.in_c / g.groups);
        for (oy, patches) in lines.zip(patches.chunks_exact(g.out_w * patch)) {
            if !g.contiguous() {
                for (ox, patch) in patches.chunks_exact(patch).enumerate() {
                    for (tap, from) in patch.chunks_exact(depth).enumerate() {
                        let (ky, kx) = (tap / g.kernel_w, tap % g.kernel_w);
                        if let (Some(row), Some(ix)) = (g.input_row(oy, ky), g.input_col(ox, kx)) {
                            // SAFETY: the caller has the instruction set.
                            unsafe { add::<L>(&mut dx[row + ix * g.in_c + group * depth..][..depth], from) };
                        }
                    }
                }
                continue;
            }
            // Neighbouring patches overlap: adding to what was stored just now would wait for the store.
            let apart = g.kernel_w.div_ceil(g.stride_w);
            for ox in (0..apart).flat_map(|start| (start..g.out_w).step_by(apart)) {
                let (taps, ix) = g.inside(ox);
                for ky in 0..g.kernel_h {
                    if let Some(row) = g.input_row(oy, ky) {
                        let from = &patches[ox * patch + ky * run..][taps.start * depth..taps.end * depth];
                        // SAFETY: the caller has the instruction set.
                        unsafe { add::<L>(&mut dx[row + ix * depth..][..from.len()], from) };
                    }
                }
            }
        }
    }
}

/// `to += from` for short runs, without a call.
///
/// # Safety
/// As [`Work::run`].
#[inline(always)]
unsafe fn add<L: Lanes>(to: &mut [f32], from: &[f32]) {
    let full = to.len().min(from.len()) / L::LEN * L::LEN;
    let ((to, to_rest), (from, from_rest)) = (to.split_at_mut(full), from.split_at(full));
    // SAFETY: the chunks have a vector's length, and the rests that of the mask.
    unsafe {
        for (to, from) in to.chunks_exact_mut(L::LEN).zip(from.chunks_exact(L::LEN)) {
            L::load(to.as_ptr()).add(L::load(from.as_ptr())).store(to.as_mut_ptr());
        }
        if !to_rest.is_empty() {
            let part = L::first(to_rest.len().min(from_rest.len()));
            let sum = L::load_part(to_rest.as_ptr(), part).add(L::load_part(from_rest.as_ptr(), part));
            sum.store_part(to_rest.as_mut_ptr(), part);
        }
    }
}
