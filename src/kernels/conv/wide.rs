//! Few output channels: several adjacent output columns at once.
//!
//! A tile is at least one vector wide, so 6 output channels waste most of it. But `n` adjacent
//! output columns with all their channels lie side by side in memory: they are one
//! column with `n * out_c` channels of a convolution whose kernel spans all `n` windows and holds
//! the kernel once for each of them, shifted, among zeros.
//!
//! A NaN or an infinity in the input may therefore reach outputs up to `n - 1` columns further away
//! than the kernel does.

use super::direct::Kernel;
use super::{Conv2d, Epilogue};
use crate::kernels::simd::Isa;
use crate::kernels::tile::Sizes;
use crate::runtime::Workspace;

/// The convolution of a narrow one, widened.
pub(super) struct Wide<'a> {
    narrow: &'a Conv2d,
    pub(super) wide: Conv2d,
    /// Output columns side by side.
    pub(super) columns: usize,
}

impl<'a> Wide<'a> {
    /// The best widening of this convolution; none where it does not help.
    pub(super) fn of(narrow: &'a Conv2d, isa: Isa) -> Option<Self> {
        if narrow.out_c >= 16 || narrow.groups > 1 || narrow.dilation_w > 1 || narrow.direct().is_some() {
            return None;
        }
        let span = |columns: usize| narrow.kernel_w + (columns - 1) * narrow.stride_w;
        // Vectors of products per output column.
        let vectors = |columns: usize| (narrow.out_c * columns).div_ceil(Sizes::of(isa).lanes);
        // The number divides by all of these.
        let cost = |columns: &usize| span(*columns) * vectors(*columns) * 720_720 / columns;
        let fits = |columns: &usize| {
            narrow.out_w.is_multiple_of(*columns) && (*columns == 1 || narrow.out_c * columns <= Sizes::of(isa).cols())
        };
        let columns = (1..=16).filter(fits).min_by_key(cost)?;
        let wide = Conv2d {
            kernel_w: span(columns),
            out_w: narrow.out_w / columns,
            out_c: narrow.out_c * columns,
            stride_w: narrow.stride_w * columns,
            ..*narrow
        };
        (columns > 1).then_some(Wide { narrow, wide, columns })
    }

    pub(super) fn forward(
        &self,
        isa: Isa,
        x: &[f32],
        kernel: &[f32],
        epilogue: Epilogue,
        y: &mut [f32],
        workspace: &Workspace,
    ) {
        let values = self.widen(kernel, workspace);
        let mut repeated = [0.0; 64];
        let bias = epilogue.bias.map(|bias| {
            let repeated = &mut repeated[..self.wide.out_c];
            repeated.chunks_exact_mut(bias.len()).for_each(|part| part.copy_from_slice(bias));
            &*repeated
        });
        let kernel = Kernel { values: &values, turned: false, packed: None };
        self.wide.convolve(isa, x, kernel, Epilogue { bias, ..epilogue }, y, workspace);
        workspace.give(values);
    }

    pub(super) fn backward_data(&self, isa: Isa, dy: &[f32], kernel: &[f32], dx: &mut [f32], workspace: &Workspace) {
        let kernel = self.widen(kernel, workspace);
        self.wide.backward_data_by_patches(isa, dy, &kernel, dx);
        workspace.give(kernel);
    }

    pub(super) fn backward_weights(&self, isa: Isa, x: &[f32], dy: &[f32], dkernel: &mut [f32], workspace: &Workspace) {
        let mut wide = workspace.take(self.wide.kernel_len());
        wide.fill(0.0);
        self.wide.sum_weights(isa, x, dy, &mut wide, &mut [], workspace);
        self.copies(|narrow, at| {
            for (sum, part) in dkernel[narrow..][..self.narrow.out_c].iter_mut().zip(&wide[at..]) {
                *sum += part;
            }
        });
        workspace.give(wide);
    }

    /// The kernel of the wide convolution.
    fn widen(&self, kernel: &[f32], workspace: &Workspace) -> Vec<f32> {
        let mut wide = workspace.take(self.wide.kernel_len());
        wide.fill(0.0);
        let out_c = self.narrow.out_c;
        self.copies(|narrow, at| wide[at..][..out_c].copy_from_slice(&kernel[narrow..][..out_c]));
        wide
    }

    /// Calls `visit(offset in the narrow kernel, offset in the wide one)` for each copy of each row
    /// of output channels.
    fn copies(&self, mut visit: impl FnMut(usize, usize)) {
        let Conv2d { kernel_h, kernel_w, stride_w, in_c, out_c, .. } = *self.narrow;
        for ky in 0..kernel_h {
            for column in 0..self.columns {
                for tap in 0..kernel_w * in_c {
                    let narrow = (ky * kernel_w * in_c + tap) * out_c;
                    let wide = (ky * self.wide.kernel_w + column * stride_w) * in_c + tap;
                    visit(narrow, wide * self.wide.out_c + column * out_c);
                }
            }
        }
    }
}
