//! Products of inputs or states with the kernels of gates, with parts of what goes in dropped.

use crate::kernels::gemm::{Mat, MatMut, gemm_parallel, transpose};
use crate::kernels::vectorised;
use crate::runtime::Workspace;
use crate::tensor::Tensor;
use std::ops::Range;
use std::sync::Arc;

/// A product of rows of inputs with some columns of a kernel.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// `(inputs, all columns)`
    pub kernel: &'a Tensor,
    /// The first of the columns.
    pub first: usize,
    /// How many there are.
    pub columns: usize,
    /// `(groups, batch, inputs)`: what the inputs are multiplied by for each group of columns; none: nothing is dropped.
    pub drops: Option<&'a Tensor>,
    /// The transpose of the whole kernel, where it is needed at each step of a way back.
    pub turned: Option<&'a [f32]>,
}

/// Rows of some length, of which the columns from `first` on are meant.
pub(super) struct Place<T> {
    pub rows: T,
    pub len: usize,
    pub first: usize,
}

impl Product<'_> {
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

    /// The transpose of some columns of the kernel.
    fn turned(&self, columns: &Range<usize>) -> Mat<'_> {
        match self.turned {
            Some(turned) => {
                let first = (self.first + columns.start) * self.inputs();
                Mat::new(&turned[first..], columns.len(), self.inputs())
            }
            None => self.kernel(columns).t(),
        }
    }

    /// `y = dropped x · kernel + beta y`
    pub fn forward(&self, x: &[f32], beta: f32, y: Place<&mut [f32]>, workspace: &Arc<Workspace>) {
        let rows = x.len() / self.inputs();
        for (drops, columns) in self.groups() {
            let dropped = drops.map(|drops| dropped(x, drops, workspace));
            let x = Mat::new(dropped.as_deref().unwrap_or(x), rows, self.inputs());
            let place = MatMut::strided(&mut y.rows[y.first + columns.start..], rows, columns.len(), y.len);
            gemm_parallel(1.0, x, self.kernel(&columns), beta, place);
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
            let Some(drops) = drops else {
                gemm_parallel(1.0, dy, self.turned(&columns), beta, MatMut::new(dx, rows, self.inputs()));
                continue;
            };
            let mut part = workspace.take(dx.len());
            gemm_parallel(1.0, dy, self.turned(&columns), 0.0, MatMut::new(&mut part, rows, self.inputs()));
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

/// The transpose of a kernel, in memory of the workspace.
pub(super) fn turned(kernel: &Tensor, workspace: &Workspace) -> Vec<f32> {
    let mut turned = workspace.take(kernel.len());
    transpose(Mat::new(kernel.data(), kernel.shape()[0], kernel.shape()[1]), &mut turned);
    turned
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
