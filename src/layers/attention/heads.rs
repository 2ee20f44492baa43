//! Scores and what they make of the values, head by head.
//!
//! Queries, keys and values lie as projections give them, `(batch, steps, heads, size)`; scores are
//! `(batch, heads, queries, keys)`. Several heads of queries may share one of keys and values.

use crate::Activation;
use crate::error::{Error, Result};
use crate::kernels::gemm::{Mat, MatMut, gemm};
use crate::layer::{Backward, Forward};
use crate::runtime::threads;
use crate::tensor::Tensor;

/// The sizes of an attention.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    pub batch: usize,
    pub queries: usize,
    pub keys: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values, each for as many of queries.
    pub groups: usize,
    /// Of a query and a key.
    pub size: usize,
    /// Of a value.
    pub value_size: usize,
}

/// The matrix of one head's steps in `(batch, steps, heads, size)`.
fn head(x: &[f32], [batch, head]: [usize; 2], [steps, heads, size]: [usize; 3]) -> Mat<'_> {
    let start = (batch * steps * heads + head) * size;
    Mat::strided(x.get(start..).unwrap_or(&[]), steps, size, heads * size)
}

impl Heads {
    pub fn to_array(self) -> [usize; 7] {
        [self.batch, self.queries, self.keys, self.heads, self.groups, self.size, self.value_size]
    }

    /// From [`to_array`](Self::to_array).
    pub fn from_slice(sizes: &[usize]) -> Result<Self> {
        let &[batch, queries, keys, heads, groups, size, value_size] = sizes else {
            return Err(Error::State(format!("backward asks for the sizes of an attention, forward saved {sizes:?}")));
        };
        Ok(Heads { batch, queries, keys, heads, groups, size, value_size })
    }

    fn per_group(&self) -> usize {
        self.heads / self.groups
    }

    fn query<'a>(&self, q: &'a Tensor, batch: usize, index: usize) -> Mat<'a> {
        head(q.data(), [batch, index], [self.queries, self.heads, self.size])
    }

    fn key<'a>(&self, k: &'a Tensor, batch: usize, group: usize) -> Mat<'a> {
        head(k.data(), [batch, group], [self.keys, self.groups, self.size])
    }

    fn value<'a>(&self, v: &'a Tensor, batch: usize, group: usize) -> Mat<'a> {
        head(v.data(), [batch, group], [self.keys, self.groups, self.value_size])
    }

    /// `softmax(finish(scale · q · kᵀ))`; `finish` gets the number of sample, head and query with each row, before
    /// the softmax and (true) after it.
    pub fn scores(
        &self,
        q: &Tensor,
        k: &Tensor,
        scale: f32,
        cx: &Forward<'_>,
        finish: impl Fn([usize; 3], &mut [f32], bool) + Sync,
    ) -> Tensor {
        let mut scores = cx.scratch([self.batch, self.heads, self.queries, self.keys]);
        threads::for_each_chunk(scores.data_mut(), self.queries * self.keys, |i, scores| {
            let (batch, index) = (i / self.heads, i % self.heads);
            let (q, k) = (self.query(q, batch, index), self.key(k, batch, index / self.per_group()));
            gemm(scale, q, k.t(), 0.0, MatMut::new(scores, self.queries, self.keys));
            self.softmax(scores, batch, index, &finish);
        });
        scores
    }

    /// The softmax of the scores of one head.
    pub fn softmax(
        &self,
        scores: &mut [f32],
        batch: usize,
        head: usize,
        finish: &impl Fn([usize; 3], &mut [f32], bool),
    ) {
        let rows = |scores: &mut [f32], after: bool| {
            let rows = scores.chunks_exact_mut(self.keys).enumerate();
            rows.for_each(|(query, row)| finish([batch, head, query], row, after));
        };
        rows(scores, false);
        Activation::Softmax.apply_slice(scores, self.keys);
        rows(scores, true);
    }

    /// The sums of the values, weighed by the scores: `(batch, queries, heads, value_size)`.
    pub fn weigh(&self, scores: &Tensor, v: &Tensor, cx: &Forward<'_>) -> Tensor {
        let mut outputs = cx.scratch([self.batch, self.heads, self.queries, self.value_size]);
        threads::for_each_chunk(outputs.data_mut(), self.queries * self.value_size, |i, output| {
            let (batch, index) = (i / self.heads, i % self.heads);
            let scores = &scores.data()[i * self.queries * self.keys..][..self.queries * self.keys];
            let scores = Mat::new(scores, self.queries, self.keys);
            let v = self.value(v, batch, index / self.per_group());
            gemm(1.0, scores, v, 0.0, MatMut::new(output, self.queries, self.value_size));
        });
        let y = cx.scratch([self.batch, self.queries, self.heads, self.value_size]);
        side_by_side(&outputs, y, [self.heads, self.queries, self.value_size])
    }

    /// The gradients of the scores and the values from that of [`weigh`](Self::weigh).
    pub fn weigh_backward(&self, scores: &Tensor, v: &Tensor, dy: &Tensor, cx: &Backward<'_>) -> [Tensor; 2] {
        let (area, n) = (self.queries * self.keys, self.per_group());
        let mut dscores = cx.scratch(scores.shape());
        let mut dv = cx.scratch([self.batch, self.groups, self.keys, self.value_size]);
        let parts = chunks(&mut dscores, n * area).zip(chunks(&mut dv, self.keys * self.value_size));
        let mut parts: Vec<_> = parts.collect();
        threads::for_each(&mut parts, |i, (dscores, dv)| {
            let (batch, group) = (i / self.groups, i % self.groups);
            for (j, dscores) in dscores.chunks_exact_mut(area).enumerate() {
                let index = group * n + j;
                let dy = head(dy.data(), [batch, index], [self.queries, self.heads, self.value_size]);
                let v = self.value(v, batch, group);
                gemm(1.0, dy, v.t(), 0.0, MatMut::new(dscores, self.queries, self.keys));
                let scores = &scores.data()[(batch * self.heads + index) * area..][..area];
                let scores = Mat::new(scores, self.queries, self.keys);
                let beta = if j == 0 { 0.0 } else { 1.0 };
                gemm(1.0, scores.t(), dy, beta, MatMut::new(dv, self.keys, self.value_size));
            }
        });
        let y = cx.scratch([self.batch, self.keys, self.groups, self.value_size]);
        [dscores, side_by_side(&dv, y, [self.groups, self.keys, self.value_size])]
    }

    /// Takes the gradient of scores back through their softmax, in place; `finish` gets each row of the result.
    pub fn softmax_backward(
        &self,
        scores: &Tensor,
        dscores: &mut Tensor,
        finish: impl Fn([usize; 3], &mut [f32]) + Sync,
    ) {
        let area = self.queries * self.keys;
        threads::for_each_chunk(dscores.data_mut(), area, |i, dscores| {
            let scores = &scores.data()[i * area..][..area];
            Activation::Softmax.backward_slice(scores, dscores, self.keys);
            for (query, row) in dscores.chunks_exact_mut(self.keys).enumerate() {
                finish([i / self.heads, i % self.heads, query], row);
            }
        });
    }

    /// The gradients of the queries and the keys from that of `scale · q · kᵀ`.
    pub fn product_backward(
        &self,
        dscores: &Tensor,
        q: &Tensor,
        k: &Tensor,
        scale: f32,
        cx: &Backward<'_>,
    ) -> [Tensor; 2] {
        let (area, n) = (self.queries * self.keys, self.per_group());
        let mut dq = cx.scratch([self.batch, self.heads, self.queries, self.size]);
        let mut dk = cx.scratch([self.batch, self.groups, self.keys, self.size]);
        let parts = chunks(&mut dq, n * self.queries * self.size).zip(chunks(&mut dk, self.keys * self.size));
        let mut parts: Vec<_> = parts.collect();
        threads::for_each(&mut parts, |i, (dq, dk)| {
            let (batch, group) = (i / self.groups, i % self.groups);
            for (j, dq) in dq.chunks_exact_mut((self.queries * self.size).max(1)).enumerate() {
                let index = group * n + j;
                let dscores = &dscores.data()[(batch * self.heads + index) * area..][..area];
                let dscores = Mat::new(dscores, self.queries, self.keys);
                gemm(scale, dscores, self.key(k, batch, group), 0.0, MatMut::new(dq, self.queries, self.size));
                let beta = if j == 0 { 0.0 } else { 1.0 };
                let q = self.query(q, batch, index);
                gemm(scale, dscores.t(), q, beta, MatMut::new(dk, self.keys, self.size));
            }
        });
        let y = cx.scratch([self.batch, self.queries, self.heads, self.size]);
        let dq = side_by_side(&dq, y, [self.heads, self.queries, self.size]);
        let y = cx.scratch([self.batch, self.keys, self.groups, self.size]);
        [dq, side_by_side(&dk, y, [self.groups, self.keys, self.size])]
    }
}

fn chunks(x: &mut Tensor, size: usize) -> std::slice::ChunksMut<'_, f32> {
    x.data_mut().chunks_mut(size.max(1))
}

/// `(batch, heads, steps, size)` as `(batch, steps, heads, size)`.
fn side_by_side(x: &Tensor, mut y: Tensor, [heads, steps, size]: [usize; 3]) -> Tensor {
    let row = heads * size;
    if row == 0 || heads == 1 {
        // The same order.
        y.data_mut().copy_from_slice(x.data());
        return y;
    }
    let rows = ((1 << 14) / row).max(1);
    let x = x.data();
    threads::for_each_chunk(y.data_mut(), rows * row, |i, y| {
        for (j, y) in y.chunks_exact_mut(row).enumerate() {
            let (batch, step) = ((i * rows + j) / steps, (i * rows + j) % steps);
            for (head, y) in y.chunks_exact_mut(size).enumerate() {
                y.copy_from_slice(&x[((batch * heads + head) * steps + step) * size..][..size]);
            }
        }
    });
    y
}
