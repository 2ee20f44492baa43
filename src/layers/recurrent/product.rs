//! Products of inputs or states with the kernels of gates, with parts of what goes in dropped.

use crate::kernels::gemm::{Mat, MatMut, gemm_packed_into, gemm_parallel};
use crate::kernels::{Layout, Packed, vectorised};
use crate::layer::Param;
use crate::runtime::Workspace;
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// A product of rows of inputs with some columns of a kernel.
pub(super) struct Product<'a> {
    /// `(inputs, all columns)`
    pub kernel: &'a Tensor,
    /// The first of the columns.
    pub first: usize,
    /// How many there are.
    pub columns: usize,
    /// `(groups, batch, inputs)`: what the inputs are multiplied by for each group of columns; none: nothing is dropped.
    pub drops: Option<&'a Tensor>,
    /// The kernel, or its transpose, for each group of columns, as products read it: for one that is made at each
    /// step.
    pub packed: Pieces,
}

/// See [`Product::packed`].
type Pieces = SmallVec<[Option<Arc<Packed>>; 1]>;

/// Rows of some length, of which the columns from `first` on are meant.
pub(super) struct Place<T> {
    pub rows: T,
    pub len: usize,
    pub first: usize,
}

impl<'a> Product<'a> {
    /// A product that is made once.
    pub fn once(kernel: &'a Tensor, columns: usize, drops: Option<&'a Tensor>) -> Self {
        Product { kernel, first: 0, columns, drops, packed: Pieces::new() }
    }

    /// A product of [`forward`](Self::forward) that is made at each step, with these columns of a weight of this value.
    pub fn each_step(weight: &Param, kernel: &'a Tensor, columns: Range<usize>, drops: Option<&'a Tensor>) -> Self {
        Self::packed(weight, kernel, columns, drops, |layout| layout)
    }

    /// The same of [`backward`](Self::backward).
    pub fn each_step_back(
        weight: &Param,
        kernel: &'a Tensor,
        columns: Range<usize>,
        drops: Option<&'a Tensor>,
    ) -> Self {
        Self::packed(weight, kernel, columns, drops, Layout::t)
    }

    fn packed(
        weight: &Param,
        kernel: &'a Tensor,
        columns: Range<usize>,
        drops: Option<&'a Tensor>,
        turn: impl Fn(Layout) -> Layout,
    ) -> Self {
        let mut product =
            Product { kernel, first: columns.start, columns: columns.len(), drops, packed: Pieces::new() };
        let layout = |columns: Range<usize>| {
            let columns = product.first + columns.start..product.first + columns.end;
            turn(Layout::columns_of(columns, product.inputs(), kernel.shape()[1]))
        };
        product.packed = product.groups().map(|(_, columns)| weight.packed(layout(columns))).collect();
        product
    }

    fn inputs(&self) -> usize {
        self.kernel.shape()[0]
    }

    /// For each group, what its inputs are multiplied by, and its columns.
    fn groups(&self) -> impl Iterator<Item = (Option<&[f32]>, Range<usize>)> + '_ {
        let count = self.drops.map_or(1, |drops| drops.shape()[0]);
        let each = self.columns / count;
        (0..count).map(move |g| (self.drops.map(|drops| drops.row(g)), g * each..(g + 1) * each))
    }

    fn kernel(&self, columns: &Range<usize>) -> Mat<'_> {
        let all = self.kernel.shape()[1];
        Mat::strided(&self.kernel.data()[self.first + columns.start..], self.inputs(), columns.len(), all)
    }

    /// What is kept of a group of columns.
    fn kept(&self, group: usize) -> Option<&Packed> {
        self.packed.get(group)?.as_deref()
    }

    /// `y = dropped x · kernel + beta y`, with a `beta` of 0 or 1.
    pub fn forward(&self, x: &[f32], beta: f32, y: Place<&mut [f32]>, workspace: &Arc<Workspace>) {
        let rows = x.len() / self.inputs();
        for (g, (drops, columns)) in self.groups().enumerate() {
            let dropped = drops.map(|drops| dropped(x, drops, workspace));
            let x = Mat::new(dropped.as_deref().unwrap_or(x), rows, self.inputs());
            let place = MatMut::strided(&mut y.rows[y.first + columns.start..], rows, columns.len(), y.len);
            match self.kept(g) {
                Some(kernel) => gemm_packed_into(x, kernel, beta != 0.0, place),
                None => gemm_parallel(1.0, x, self.kernel(&columns), beta, place),
            }
            dropped.into_iter().for_each(|dropped| workspace.give(dropped));
        }
    }

    /// `dkernel += dropped xᵀ · dy`
    pub fn add_weights(&self, x: &[f32], dy: &Place<&[f32]>, dkernel: &mut [f32], workspace: &Arc<Workspace>) {
        let (rows, all) = (x.len() / self.inputs(), self.kernel.shape()[1]);
        for (drops, columns) in self.groups() {
            let dropped = drops.map(|drops| dropped(x, drops, workspace));
            let x = Mat::new(dropped.as_deref().unwrap_or(x), rows, self.inputs());
            let dy = Mat::strided(&dy.rows[dy.first + columns.start..], rows, columns.len(), dy.len);
            let place = &mut dkernel[self.first + columns.start..];
            gemm_parallel(1.0, x.t(), dy, 1.0, MatMut::strided(place, self.inputs(), columns.len(), all));
            dropped.into_iter().for_each(|dropped| workspace.give(dropped));
        }
    }

    /// `dx = dropped (dy · kernelᵀ) + beta dx`, with a `beta` of 0 or 1.
    pub fn backward(&self, dy: &Place<&[f32]>, beta: f32, dx: &mut [f32], workspace: &Arc<Workspace>) {
        let rows = dx.len() / self.inputs();
        for (g, (drops, columns)) in self.groups().enumerate() {
            let dy = Mat::strided(&dy.rows[dy.first + columns.start..], rows, columns.len(), dy.len);
            let multiply = |beta: f32, dx: &mut [f32]| {
                let dx = MatMut::new(dx, rows, self.inputs());
                match self.kept(g) {
                    Some(kernel) => gemm_packed_into(dy, kernel, beta != 0.0, dx),
                    None => gemm_parallel(1.0, dy, self.kernel(&columns).t(), beta, dx),
                }
            };
            let Some(drops) = drops else {
                multiply(beta, dx);
                continue;
            };
            let mut part = workspace.take(dx.len());
            multiply(0.0, &mut part);
            if g == 0 && beta == 0.0 {
                dx.fill(0.0);
            }
            for (dx, part) in dx.chunks_exact_mut(drops.len()).zip(part.chunks_exact(drops.len())) {
                vectorised(
                    #[inline(always)]
                    move || dx.iter_mut().zip(part).zip(drops).for_each(|((dx, part), drop)| *dx += part * drop),
                );
            }
            workspace.give(part);
        }
    }
}

/// Each step's values times the same `drops`.
fn dropped(x: &[f32], drops: &[f32], workspace: &Arc<Workspace>) -> Vec<f32> {
    let mut y = workspace.take(x.len());
    multiply(x, drops, &mut y);
    y
}

/// `y = x ∘ drops`, where `drops` are as many values as a step has, or as all have.
pub(super) fn multiply(x: &[f32], drops: &[f32], y: &mut [f32]) {
    for (y, x) in y.chunks_exact_mut(drops.len().max(1)).zip(x.chunks_exact(drops.len().max(1))) {
        vectorised(
            #[inline(always)]
            move || y.iter_mut().zip(x).zip(drops).for_each(|((y, x), drop)| *y = x * drop),
        );
    }
}
