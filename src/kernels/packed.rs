//! Right operands that are copied once, as tiles read them, and used until they change: the weights of layers.

use super::conv::winograd::{POINTS, factors};
use super::product::{Panels, Source, copy_rows};
use super::scratch::{Aligned, Scratch};
use super::simd::Isa;
use super::tile::Sizes;
use super::vectorised;
use crate::runtime::{Workspace, threads};
use std::ops::Range;
use std::slice::ChunksExactMut;

/// Which values of a weight are a right operand, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A matrix, from this value on: one of the strides is 1.
    Matrix { first: usize, rows: usize, cols: usize, row_stride: usize, col_stride: usize },
    /// The kernel of a convolution: so many values that an output sees, and output channels.
    Kernel { depth: usize, out_c: usize, groups: usize },
    /// A kernel of 3 x 3 with so many input and output channels, turned as [`winograd`](super::conv::winograd) multiplies
    /// with it: a group for each point. For the gradient by the input it is rotated, and its channels exchanged.
    Winograd { in_c: usize, out_c: usize, rotated: bool },
}

impl Layout {
    /// A matrix of `rows` rows, of which these columns are the operand.
    pub(crate) fn columns_of(columns: Range<usize>, rows: usize, all: usize) -> Self {
        Layout::Matrix { first: columns.start, rows, cols: columns.len(), row_stride: all, col_stride: 1 }
    }

    /// The transpose of a matrix.
    pub(crate) fn t(self) -> Self {
        match self {
            Layout::Matrix { first, rows, cols, row_stride, col_stride } => {
                Layout::Matrix { first, rows: cols, cols: rows, row_stride: col_stride, col_stride: row_stride }
            }
            kernel => kernel,
        }
    }

    /// Rows and columns of each group.
    fn size(self) -> [usize; 2] {
        match self {
            Layout::Matrix { rows, cols, .. } => [rows, cols],
            Layout::Kernel { depth, out_c, groups } => [depth, out_c / groups],
            Layout::Winograd { in_c, out_c, rotated: false } => [in_c, out_c],
            Layout::Winograd { in_c, out_c, rotated: true } => [out_c, in_c],
        }
    }

    /// Whether to keep a copy: not a large one, since it takes as much memory as the weight itself, and none of a
    /// matrix where products are those of another crate.
    pub(crate) fn is_kept(self) -> bool {
        let [rows, cols] = self.size();
        let matrix = matches!(self, Layout::Matrix { .. });
        let each = if matches!(self, Layout::Winograd { .. }) { 9 } else { self.groups() };
        each * rows * cols <= MOST && !(matrix && Isa::get().is_portable())
    }

    /// The values of a copy.
    fn values(self) -> usize {
        let [rows, cols] = self.size();
        self.groups() * rows * cols.next_multiple_of(Sizes::of(Isa::get()).lanes)
    }

    /// The memory that a copy takes.
    pub(crate) fn bytes(self) -> usize {
        size_of::<f32>() * self.values()
    }

    fn groups(self) -> usize {
        match self {
            Layout::Matrix { .. } => 1,
            Layout::Kernel { groups, .. } => groups,
            Layout::Winograd { .. } => POINTS,
        }
    }

    /// Copies one group of `values`.
    fn copy(self, isa: Isa, values: &[f32], group: usize, panels: &mut [f32]) {
        let [rows, cols] = self.size();
        let turned;
        let source = match self {
            Layout::Matrix { first, row_stride, col_stride, .. } => {
                Source { data: &values[first..], row_stride, col_stride }
            }
            Layout::Kernel { out_c, .. } => Source { data: &values[group * cols..], row_stride: out_c, col_stride: 1 },
            Layout::Winograd { out_c, rotated, .. } => {
                let mut scratch = Scratch::take(rows * cols);
                turn(values, group, rotated, &mut scratch);
                turned = scratch;
                let (row_stride, col_stride) = if rotated { (1, out_c) } else { (out_c, 1) };
                Source { data: &turned, row_stride, col_stride }
            }
        };
        copy_rows(isa, panels, [rows, cols], 0..rows, source, 1.0);
    }
}

/// What becomes of a kernel of 3 x 3 in a point.
fn turn(kernel: &[f32], point: usize, rotated: bool, to: &mut [f32]) {
    let mut factors = factors(point);
    if rotated {
        factors.reverse();
    }
    let taps: [&[f32]; 9] = std::array::from_fn(|tap| &kernel[tap * to.len()..][..to.len()]);
    vectorised(
        #[inline(always)]
        move || {
            for (i, to) in to.chunks_mut(CHUNK).enumerate() {
                to.fill(0.0);
                for (tap, factor) in taps.iter().zip(factors).filter(|(_, factor)| *factor != 0.0) {
                    to.iter_mut().zip(&tap[i * CHUNK..]).for_each(|(to, tap)| *to += factor * tap);
                }
            }
        },
    );
}

/// Values of a point that are made at once: they stay in the first-level cache.
const CHUNK: usize = 1 << 12;

/// The most values of a weight that is copied: 16 MiB.
const MOST: usize = 4 << 20;

/// A copy of such an operand.
#[derive(Debug)]
pub(crate) struct Packed {
    layout: Layout,
    isa: Isa,
    /// Group after group, each in panels.
    values: Aligned,
}

impl Packed {
    /// A copy of `values` in this layout.
    ///
    /// # Panics
    /// When there are not enough of them.
    pub(crate) fn new(layout: Layout, values: &[f32]) -> Self {
        let mut packed = Packed { layout, isa: Isa::get(), values: Aligned::new(layout.values()) };
        packed.renew(values);
        packed
    }

    /// The same in memory of a workspace: of a kernel that is used once.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub(super) fn take(layout: Layout, values: &[f32], workspace: &Workspace) -> Self {
        let mut packed = Packed { layout, isa: Isa::get(), values: Aligned::take(layout.values(), workspace) };
        let isa = packed.isa;
        let mut groups: Vec<_> = packed.groups_mut().collect();
        threads::for_each(&mut groups, |group, panels| layout.copy(isa, values, group, panels));
        packed
    }

    /// Gives that back.
    pub(super) fn give(self, workspace: &Workspace) {
        self.values.give(workspace);
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Copies other values to the same place, on this thread.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub(crate) fn renew(&mut self, from: &[f32]) {
        let (layout, isa) = (self.layout, self.isa);
        for (group, panels) in self.groups_mut().enumerate() {
            layout.copy(isa, from, group, panels);
        }
    }

    /// The panels of each group.
    fn groups_mut(&mut self) -> ChunksExactMut<'_, f32> {
        let len = self.values.len() / self.layout.groups();
        self.values.chunks_exact_mut(len.max(1))
    }

    /// The operand of a group.
    pub(super) fn group(&self, group: usize) -> Panels<'_> {
        let [rows, cols] = self.layout.size();
        let len = self.values.len() / self.layout.groups();
        Panels::kept(self.isa, &self.values[group * len..][..len], rows, cols)
    }

    /// Rows and columns of the only group.
    pub(super) fn size(&self) -> [usize; 2] {
        self.layout.size()
    }
}
