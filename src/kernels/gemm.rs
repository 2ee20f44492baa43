//! Matrix products.
//!
//! ```
//! use cornu::kernels::gemm::{Mat, MatMut, gemm};
//! let a = [1.0, 2.0, 3.0, 4.0];
//! let mut c = [0.0; 4];
//! // A Aᵀ
//! gemm(1.0, Mat::new(&a, 2, 2), Mat::new(&a, 2, 2).t(), 0.0, MatMut::new(&mut c, 2, 2));
//! assert_eq!(c, [5.0, 11.0, 11.0, 25.0]);
//! ```

mod few_rows;

use self::few_rows::{are_few, few_rows};
use super::epilogue::Epilogue;
use super::packed::Packed;
use super::product::{DEPTH, Panels, Source, Transpose, WIDTH, product, product_at};
use super::scratch::Scratch;
use super::simd::Isa;
use super::tile::{End, Out, Reading, Sizes, Start, split};
use crate::runtime::threads;
use smallvec::SmallVec;
use std::ops::Range;

/// A view of a matrix that is read: rows of contiguous values, or the transpose of such.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

/// A view of a matrix that is written: rows of contiguous values, or the transpose of such.
#[derive(Debug)]
pub struct MatMut<'a> {
    data: &'a mut [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

/// Every index `row * row_stride + col`, and `row_stride` itself, is within `len`; no two are the same.
fn check(len: usize, rows: usize, cols: usize, row_stride: usize) {
    assert!(row_stride >= cols, "a row of {cols} values does not fit a row stride of {row_stride}");
    if rows > 0 && cols > 0 {
        let end = (rows - 1).checked_mul(row_stride).and_then(|last| last.checked_add(cols));
        assert!(
            end.is_some_and(|end| end <= len) && isize::try_from(row_stride).is_ok(),
            "{rows} rows of {cols} values, {row_stride} apart, are more than the {len} values given"
        );
    }
}

impl<'a> Mat<'a> {
    /// A matrix of rows that follow each other without a gap.
    ///
    /// # Panics
    /// When `data` is shorter than that.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A matrix whose rows begin `row_stride` values after each other (a group of channels).
    ///
    /// # Panics
    /// When `data` is shorter than that, or rows overlap.
    pub fn strided(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        check(data.len(), rows, cols, row_stride);
        Mat { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// The transpose; nothing is moved.
    pub fn t(self) -> Self {
        Mat {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            data: self.data,
        }
    }

    /// The rows from `start` on, `count` of them.
    pub(crate) fn rows(self, start: usize, count: usize) -> Self {
        assert!(start + count <= self.rows);
        // Without columns there may be no data to skip.
        let skip = (start * self.row_stride).min(self.data.len());
        Mat { data: &self.data[skip..], rows: count, ..self }
    }

    /// Whether each row's values follow each other (a row of one value does).
    fn rows_are_contiguous(&self) -> bool {
        self.col_stride == 1 || self.cols == 1
    }

    fn source(&self) -> Source<'a> {
        Source { data: self.data, row_stride: self.row_stride, col_stride: self.col_stride }
    }

    fn reading(&self) -> Reading {
        if self.col_stride == 1 { Reading::Rows(self.row_stride) } else { Reading::Columns(self.col_stride) }
    }
}

impl<'a> MatMut<'a> {
    /// A matrix of rows that follow each other without a gap.
    ///
    /// # Panics
    /// When `data` is shorter than that.
    pub fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// A matrix whose rows begin `row_stride` values after each other (a group of channels).
    ///
    /// # Panics
    /// When `data` is shorter than that, or rows overlap.
    pub fn strided(data: &'a mut [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        check(data.len(), rows, cols, row_stride);
        MatMut { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// The transpose; nothing is moved.
    pub fn t(self) -> Self {
        MatMut {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            data: self.data,
        }
    }

    /// The same for a while.
    fn again(&mut self) -> MatMut<'_> {
        MatMut { data: &mut *self.data, ..*self }
    }

    /// Does what is left to do to each row, where they are contiguous.
    fn apply(&mut self, end: End) {
        let step = self.row_stride;
        self.rows_mut().enumerate().for_each(|(i, row)| end.from(i * step).apply(row));
    }

    /// The rows, where they are contiguous.
    fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let cols = self.cols;
        // A single row may have any stride.
        self.data.chunks_mut(self.row_stride.max(cols)).take(self.rows).map(move |row| &mut row[..cols])
    }
}

/// `c = alpha * a * b + beta * c`, on this thread. With `beta = 0` it does not matter what `c` held.
///
/// # Panics
/// When the sizes do not fit: `a` is m x k, `b` is k x n, `c` is m x n.
pub fn gemm(alpha: f32, a: Mat, b: Mat, beta: f32, c: MatMut) {
    multiply(alpha, a, b, Old::Times(beta), End::Plain, c, false);
}

/// [`gemm`] with the rows of `c` cut into blocks that run on all threads, if they are worth it.
///
/// # Panics
/// As [`gemm`].
pub fn gemm_parallel(alpha: f32, a: Mat, b: Mat, beta: f32, c: MatMut) {
    multiply(alpha, a, b, Old::Times(beta), End::Plain, c, true);
}

/// Copies the transpose of `a` into `to`: for a product that needs it again and again.
///
/// # Panics
/// When `to` has not as many values as `a`.
pub fn transpose(a: Mat, to: &mut [f32]) {
    assert_eq!(to.len(), a.rows * a.cols, "values of the transpose");
    if a.col_stride != 1 {
        return to.chunks_exact_mut(a.rows.max(1)).enumerate().for_each(|(i, to)| {
            to.copy_from_slice(&a.data[i * a.col_stride..][..a.rows]);
        });
    }
    let (rows, cols) = (a.cols, a.rows);
    Isa::get().run(Transpose { from: a.data, from_step: a.row_stride, to, to_step: cols, rows, cols });
}

/// `c = a * b`, and what the epilogue does to it: a bias alone can be given as `Some(&bias)`. `c` has no gaps.
///
/// # Panics
/// When the sizes do not fit.
pub fn gemm_with<'e>(a: Mat, b: Mat, epilogue: impl Into<Epilogue<'e>>, c: &mut [f32]) {
    let (rows, cols, epilogue) = (a.rows, b.cols, epilogue.into());
    epilogue.check(cols, c.len());
    assert!(!epilogue.is_of_convolutions(), "scale, sum and pool of an epilogue are for convolutions");
    let old = epilogue.bias.map_or(Old::Times(0.0), Old::Bias);
    multiply(1.0, a, b, old, epilogue.end(), MatMut::new(c, rows, cols), true);
}

/// [`gemm_with`] and a right operand that somebody keeps.
pub(crate) fn gemm_packed<'e>(a: Mat, b: &Packed, epilogue: impl Into<Epilogue<'e>>, c: &mut [f32]) {
    let (rows, cols, epilogue) = (a.rows, b.size()[1], epilogue.into());
    epilogue.check(cols, c.len());
    assert!(!epilogue.is_of_convolutions(), "scale, sum and pool of an epilogue are for convolutions");
    multiply_packed(a, b, epilogue.start(0), epilogue.end(), MatMut::new(c, rows, cols));
}

/// `c = a * b`, or with `add` what `c` holds and that, where somebody keeps `b`.
pub(crate) fn gemm_packed_into(a: Mat, b: &Packed, add: bool, c: MatMut) {
    multiply_packed(a, b, if add { Start::Sum } else { Start::Zero }, End::Plain, c);
}

/// A product of fewer multiplications and additions runs on one thread: waking another one takes as long.
const PARALLEL_FLOPS: usize = 5 << 19;
/// Else it is cut into tasks of about this many, ...
const TASK_FLOPS: usize = 16 << 20;
/// ... but no more than this; always a power of two, so that all threads have the same to do.
const MOST_TASKS: usize = 16;

/// What is added to the product.
#[derive(Clone, Copy)]
enum Old<'a> {
    /// This much of what `c` holds.
    Times(f32),
    /// A value for each column.
    Bias(&'a [f32]),
}

fn multiply(alpha: f32, a: Mat, b: Mat, old: Old, end: End, mut c: MatMut, parallel: bool) {
    assert!(
        a.cols == b.rows && a.rows == c.rows && b.cols == c.cols,
        "a {}x{} matrix times a {}x{} one does not give a {}x{} one",
        a.rows,
        a.cols,
        b.rows,
        b.cols,
        c.rows,
        c.cols
    );
    let (m, k, n) = (a.rows, a.cols, b.cols);
    if m == 0 || n == 0 {
        return;
    }
    if c.col_stride != 1 {
        // The same product seen from the other side, where rows of c are contiguous.
        return multiply(alpha, b.t(), a.t(), old, end, c.t(), parallel);
    }
    if n == 1 && m > 1 && c.row_stride == 1 && !matches!(old, Old::Bias(_)) {
        return multiply(alpha, b.t(), a.t(), old, end, c.t(), parallel);
    }
    let tasks = if parallel { tasks(m, k, n) } else { 1 };
    let isa = Isa::get();
    if isa.is_portable() {
        return elsewhere(alpha, a, b, old, end, c, tasks);
    }
    if are_few(m, &b) {
        few_rows(isa, alpha, a, b, old, &mut c, parallel);
        return c.apply(end);
    }
    if !b.rows_are_contiguous() && m * (k + n) < k * n {
        // With few rows, the transposed product copies less: `a`, where `b` would have to be turned.
        let mut turned = Scratch::take(m * n);
        multiply(alpha, b.t(), a.t(), Old::Times(0.0), End::Plain, MatMut::new(&mut turned, n, m), parallel);
        add_transposed(isa, &turned, old, &mut c);
        return c.apply(end);
    }
    let start = match old {
        Old::Bias(bias) => Start::Bias(bias),
        Old::Times(0.0) => Start::Zero,
        Old::Times(1.0) => Start::Sum,
        Old::Times(beta) => {
            c.rows_mut().for_each(|row| row.iter_mut().for_each(|c| *c *= beta));
            Start::Sum
        }
    };
    if tasks > 1 && m > SHARED_ROWS {
        // The tasks are blocks of rows, which share a copy of b.
        let panels = match copied(alpha, &b, m, k, n) {
            true => Panels::copy_parallel(isa, b.source(), k, n, alpha),
            false => Panels::in_place(isa, b.data, k, n, b.row_stride),
        };
        return row_blocks(isa, a, &panels, start, end, c, tasks);
    }
    // The tasks are blocks of columns, each with a copy of its part of b, if any.
    let out = Out(c.data.as_mut_ptr(), c.data.len());
    threads::for_each(&mut column_blocks(isa, n, tasks), |_, cols| {
        // SAFETY: `c` is borrowed for as long as this runs, and no two tasks have columns in common.
        unsafe { columns(isa, alpha, a, b, cols.clone(), start, end, &out, c.row_stride) }
    });
}

/// `c = start + a * b` for panels that are there.
fn multiply_packed(a: Mat, b: &Packed, start: Start, end: End, c: MatMut) {
    let [k, n] = b.size();
    assert!(
        a.cols == k && a.rows == c.rows && n == c.cols && c.col_stride == 1,
        "a {}x{} matrix times a {k}x{n} one does not give a {}x{} one of contiguous rows",
        a.rows,
        a.cols,
        c.rows,
        c.cols
    );
    let (isa, m) = (Isa::get(), a.rows);
    if m == 0 || n == 0 {
        return;
    }
    let (panels, tasks) = (b.group(0), tasks(m, k, n));
    if tasks == 1 || m > SHARED_ROWS {
        return row_blocks(isa, a, &panels, start, end, c, tasks);
    }
    let (out, step) = (&Out(c.data.as_mut_ptr(), c.data.len()), c.row_stride);
    threads::for_each(&mut column_blocks(isa, n, tasks), |_, cols| {
        let panels = panels.columns(cols.clone());
        let (start, at) = (start.from(cols.start), cols.start);
        let &Out(c, len) = out;
        assert!(at <= len);
        // SAFETY: `c` is borrowed for as long as this runs, and no two tasks have columns in common.
        unsafe {
            let c_at = (c.add(at), len - at);
            product_at(isa, a.data, a.reading(), m, k, &panels, start, end.from(at), c_at, step);
        }
    });
}

/// The product in so many blocks of rows, for panels that they share.
fn row_blocks(isa: Isa, a: Mat, panels: &Panels, start: Start, end: End, c: MatMut, tasks: usize) {
    let step = c.row_stride;
    in_blocks(c, tasks, |first: usize, rows: usize, c: &mut [f32], c_step| {
        let a = a.rows(first, rows);
        product(isa, a.data, a.reading(), rows, a.cols, panels, start, end.from(first * step), c, c_step);
    });
}

/// So many blocks of columns, each of whole panels.
fn column_blocks(isa: Isa, n: usize, tasks: usize) -> SmallVec<[Range<usize>; MOST_TASKS]> {
    let wide = Sizes::of(isa).cols();
    let block = |i: usize| [i, i + 1].map(|i| (n.div_ceil(wide) * i / tasks * wide).min(n));
    (0..tasks).map(block).map(|[first, end]| first..end).collect()
}

/// With at most this many rows, the threads share columns instead of rows: then they copy nothing twice.
const SHARED_ROWS: usize = 256;

/// The number of tasks that a product is cut into: by its sizes alone, so that results do not depend on threads.
fn tasks(m: usize, k: usize, n: usize) -> usize {
    // Columns are computed by whole vectors.
    let flops = m.saturating_mul(n.next_multiple_of(16)).saturating_mul(2 * k);
    if flops < PARALLEL_FLOPS {
        return 1;
    }
    // Lower or narrower, and what they share is read too often.
    let most = if m > SHARED_ROWS { m.div_ceil(256) } else { n.div_ceil(64) };
    1 << (flops / TASK_FLOPS).clamp(2, MOST_TASKS).min(most.max(1)).ilog2()
}

/// Some columns of `c = start + alpha * a * b`, block by block: a copied block of `b` stays in the second-level cache.
///
/// # Safety
/// `c` is valid, and nobody else uses the columns `cols` of it.
#[allow(clippy::too_many_arguments, reason = "a product has many")]
unsafe fn columns(
    isa: Isa,
    alpha: f32,
    a: Mat,
    b: Mat,
    cols: Range<usize>,
    start: Start,
    end: End,
    c: &Out,
    c_step: usize,
) {
    let (m, k) = (a.rows, a.cols);
    let copies = copied(alpha, &b, m, k, cols.len());
    let (most_cols, most_depth) = if copies { (WIDTH, DEPTH) } else { (usize::MAX, usize::MAX) };
    for at in split(cols.len(), most_cols).map(|at| cols.start + at.start..cols.start + at.end) {
        for ks in split(k, most_depth).chain((k == 0).then_some(0..0)) {
            let start = match start {
                _ if ks.start > 0 => Start::Sum,
                start => start.from(at.start),
            };
            let end = if ks.end < k { End::Plain } else { end.from(at.start) };
            let b = b.source().columns(at.start).rows(ks.start);
            let panels = match copies {
                true => Panels::copy(isa, b, ks.len(), at.len(), alpha),
                false => Panels::in_place(isa, b.data, ks.len(), at.len(), b.row_stride),
            };
            let a = a.source().columns(ks.start);
            let reading = if a.col_stride == 1 { Reading::Rows(a.row_stride) } else { Reading::Columns(a.col_stride) };
            assert!(at.start < c.1);
            // SAFETY: the columns `at` are some of `cols`.
            unsafe {
                let c = (c.0.add(at.start), c.1 - at.start);
                product_at(isa, a.data, reading, m, ks.len(), &panels, start, end, c, c_step);
            }
        }
    }
}

/// Whether `b` is copied.
fn copied(alpha: f32, b: &Mat, m: usize, k: usize, n: usize) -> bool {
    let small = k * n <= IN_PLACE_LEN || m <= IN_PLACE_ROWS && (b.row_stride < FAR || m <= 4);
    alpha != 1.0 || !b.rows_are_contiguous() || !small
}

/// Up to this many rows of `a`, copying `b` costs more than it saves, ...
const IN_PLACE_ROWS: usize = 64;
/// ... but not if each row of it is a page of memory of its own ...
const FAR: usize = 1024;
/// ... and also when all of `b` lies in the first-level cache.
const IN_PLACE_LEN: usize = 4096;

/// Calls `run` with the first row, the number of rows, the values and the row stride of each of `tasks` blocks of
/// rows of `c`.
fn in_blocks(c: MatMut, tasks: usize, run: impl Fn(usize, usize, &mut [f32], usize) + Sync) {
    let (m, stride, block) = (c.rows, c.row_stride, c.rows.div_ceil(tasks));
    if tasks <= 1 {
        // A single row may have any stride.
        return run(0, m, c.data, stride);
    }
    let mut blocks: Vec<_> = c.data.chunks_mut(block * stride).take(m.div_ceil(block)).collect();
    threads::for_each(&mut blocks, |i, data| run(i * block, block.min(m - i * block), data, stride));
}

/// The product by `matrixmultiply`, for processors that it has a kernel for and we have none.
fn elsewhere(alpha: f32, a: Mat, b: Mat, old: Old, end: End, mut c: MatMut, tasks: usize) {
    let beta = match old {
        Old::Times(beta) => beta,
        Old::Bias(bias) => {
            c.rows_mut().for_each(|row| row.copy_from_slice(bias));
            1.0
        }
    };
    let (k, n) = (a.cols, b.cols);
    let run = |first: usize, rows: usize, c: &mut [f32], c_step: usize| {
        let a = a.rows(first, rows);
        let stride = |stride: usize| stride as isize;
        // `rows` of `c` is the last thing that `chunks_mut` cut: its last row may end before the stride does.
        assert!(c.len() >= (rows - 1) * c_step + n);
        // SAFETY: `Mat` and `MatMut` checked when they were made that their last value lies in their data, and
        // `Mat::rows` keeps that; the assertion checks it for this block of `c`, which is borrowed alone.
        unsafe {
            matrixmultiply::sgemm(
                rows,
                k,
                n,
                alpha,
                a.data.as_ptr(),
                stride(a.row_stride),
                stride(a.col_stride),
                b.data.as_ptr(),
                stride(b.row_stride),
                stride(b.col_stride),
                beta,
                c.as_mut_ptr(),
                stride(c_step),
                1,
            );
        }
    };
    in_blocks(c.again(), tasks, run);
    c.apply(end);
}

/// Adds `turned`, the transpose of a product, to `c`.
fn add_transposed(isa: Isa, turned: &[f32], old: Old, c: &mut MatMut) {
    let (rows, cols) = (c.rows, c.cols);
    if let Old::Times(0.0) = old {
        return isa.run(Transpose { from: turned, from_step: rows, to: c.data, to_step: c.row_stride, rows, cols });
    }
    for (i, row) in c.rows_mut().enumerate() {
        let sums = turned[i..].iter().step_by(rows);
        match old {
            Old::Times(beta) => row.iter_mut().zip(sums).for_each(|(c, sum)| *c = beta * *c + sum),
            Old::Bias(bias) => row.iter_mut().zip(sums).zip(bias).for_each(|((c, sum), bias)| *c = sum + bias),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::packed::Layout;
    use crate::kernels::reference;
    use crate::kernels::reference::testing::{Draws, assert_close};
    use crate::kernels::simd::testing::on_each;

    #[test]
    fn all_layouts_agree_with_the_reference() {
        on_each(layouts);
    }

    fn layouts() {
        let mut draws = Draws::new("gemm");
        for case in 0..1500 {
            let [m, k, n] = [0; 3].map(|_| draws.below(if case % 10 == 0 { 70 } else { 20 }));
            let gaps = [0; 3].map(|_| draws.below(3));
            let flips = [0; 3].map(|_| draws.below(2) == 1);
            let (alpha, beta) = ([1.0, -0.5][draws.below(2)], [0.0, 1.0, 0.25][draws.below(3)]);
            let size = |r, c, i: usize| if flips[i] { (c, r + gaps[i]) } else { (r, c + gaps[i]) };
            let [(ar, ars), (br, brs), (cr, crs)] = [size(m, k, 0), size(k, n, 1), size(m, n, 2)];
            let (a, b, c) = (draws.floats(ar * ars), draws.floats(br * brs), draws.floats(cr * crs));
            let at = |data: &[f32], stride: usize, flip: bool, r: usize, c: usize| {
                if flip { data[c * stride + r] } else { data[r * stride + c] }
            };
            let dense = |data: &[f32], stride, flip, rows, cols| -> Vec<f32> {
                (0..rows * cols).map(|i| at(data, stride, flip, i / cols, i % cols)).collect()
            };
            let mut want = dense(&c, crs, flips[2], m, n);
            let (da, db) = (dense(&a, ars, flips[0], m, k), dense(&b, brs, flips[1], k, n));
            reference::gemm(alpha, &da, &db, beta, &mut want, [m, k, n]);

            let view = |data, r, c, stride, flip| {
                if flip { Mat::strided(data, c, r, stride).t() } else { Mat::strided(data, r, c, stride) }
            };
            let mut got = c.clone();
            let out =
                if flips[2] { MatMut::strided(&mut got, n, m, crs).t() } else { MatMut::strided(&mut got, m, n, crs) };
            let (a, b) = (view(&a, m, k, ars, flips[0]), view(&b, k, n, brs, flips[1]));
            if case % 2 == 0 {
                gemm(alpha, a, b, beta, out)
            } else {
                gemm_parallel(alpha, a, b, beta, out)
            }
            assert_close(&dense(&got, crs, flips[2], m, n), &want, 1e-5);
            // The gaps between the rows are not touched.
            let width = if flips[2] { m } else { n };
            for (i, (new, old)) in got.iter().zip(&c).enumerate() {
                assert!(i % crs < width || new == old);
            }
        }
    }

    #[test]
    fn sizes_across_the_limits_agree_with_another_crate() {
        on_each(across_limits);
    }

    /// Sizes around those where blocks, copies and tasks begin, against `matrixmultiply`.
    fn across_limits() {
        let mut draws = Draws::new("gemm limits");
        let (rows, depths) = ([1, 2, 5, 8, 13, 16, 63, 130, 257, 513], [1, 255, 257, 520]);
        let cols = [1, 31, 100, 130, 330, 2 * WIDTH + 70];
        for case in 0..200 {
            let (m, k, n) = (rows[case % rows.len()], depths[draws.below(4)], cols[draws.below(6)]);
            let (a, b, old) = (draws.floats(m * k), draws.floats(k * n), draws.floats(m * n));
            let (turn_a, turn_b, beta) = (draws.below(2) == 1, draws.below(2) == 1, [0.0, 1.0][draws.below(2)]);
            let left = if turn_a { Mat::new(&a, k, m).t() } else { Mat::new(&a, m, k) };
            let right = if turn_b { Mat::new(&b, n, k).t() } else { Mat::new(&b, k, n) };
            let (mut got, mut parallel, mut want) = (old.clone(), old.clone(), old);
            gemm(1.0, left, right, beta, MatMut::new(&mut got, m, n));
            gemm_parallel(1.0, left, right, beta, MatMut::new(&mut parallel, m, n));
            let [(ar, ac), (br, bc)] = [left, right].map(|x| (x.row_stride as isize, x.col_stride as isize));
            let c = want.as_mut_ptr();
            // SAFETY: the strides are those of matrices that hold their values.
            unsafe {
                matrixmultiply::sgemm(m, k, n, 1.0, a.as_ptr(), ar, ac, b.as_ptr(), br, bc, beta, c, n as isize, 1);
            }
            assert_close(&got, &want, 1e-5);
            assert_close(&parallel, &want, 1e-5);
        }
    }

    #[test]
    fn what_is_done_before_values_are_stored() {
        on_each(|| {
            let mut draws = Draws::new("gemm epilogues");
            let sizes = [1, 3, 15, 33, 70, 300, 520];
            for _ in 0..150 {
                let [m, k, n] = [0; 3].map(|_| sizes[draws.below(7)]);
                let (a, b) = (draws.floats(m * k), draws.floats(k * n));
                let (bias, gate) = (draws.floats(n), draws.floats(m * n));
                let turn = draws.below(2) == 1;
                let right = if turn { Mat::new(&b, n, k).t() } else { Mat::new(&b, k, n) };
                let (bias, kind) = ((draws.below(2) == 1).then_some(&bias[..]), draws.below(3));
                let epilogue =
                    Epilogue { bias, relu: kind == 1, gate: (kind == 2).then_some(&gate[..]), ..Epilogue::default() };
                let mut want = vec![0.0; m * n];
                gemm(1.0, Mat::new(&a, m, k), right, 0.0, MatMut::new(&mut want, m, n));
                for (i, want) in want.iter_mut().enumerate() {
                    *want += bias.map_or(0.0, |bias| bias[i % n]);
                    if kind == 1 && *want < 0.0 || kind == 2 && gate[i] <= 0.0 {
                        *want = 0.0;
                    }
                }
                let mut got = vec![f32::NAN; m * n];
                gemm_with(Mat::new(&a, m, k), right, epilogue, &mut got);
                assert_close(&got, &want, 1e-5);
                let layout = match turn {
                    true => Layout::columns_of(0..k, n, k).t(),
                    false => Layout::columns_of(0..n, k, n),
                };
                let packed = Packed::new(layout, &b);
                got.fill(f32::NAN);
                gemm_packed(Mat::new(&a, m, k), &packed, epilogue, &mut got);
                assert_close(&got, &want, 1e-5);
                let mut twice = want.clone();
                gemm_packed_into(Mat::new(&a, m, k), &packed, false, MatMut::new(&mut twice, m, n));
                gemm_packed_into(Mat::new(&a, m, k), &packed, true, MatMut::new(&mut twice, m, n));
                gemm(2.0, Mat::new(&a, m, k), right, 0.0, MatMut::new(&mut want, m, n));
                assert_close(&twice, &want, 1e-5);
            }
        });
    }

    #[test]
    fn every_cut_is_the_same_on_any_number_of_threads() {
        let mut draws = Draws::new("gemm cuts");
        // Rows with a shared copy, columns, a transposed product, few rows by rows and by columns.
        for [m, k, n] in
            [[700, 300, 90], [200, 300, 300], [70, 600, 700], [1, 1100, 1030], [7, 1100, 1030], [16, 1100, 1030]]
        {
            let (a, b) = (draws.floats(m * k), draws.floats(k * n));
            for right in [Mat::new(&b, k, n), Mat::new(&b, n, k).t()] {
                let run = |threads| {
                    let mut c = vec![f32::NAN; m * n];
                    threads::with_num_threads(threads, || {
                        gemm_parallel(1.0, Mat::new(&a, m, k), right, 0.0, MatMut::new(&mut c, m, n));
                    });
                    c
                };
                let (one, mut want) = (run(1), vec![0.0; m * n]);
                assert!(one == run(2) && one == run(3), "{m} x {k} x {n}");
                let dense: Vec<f32> =
                    (0..k * n).map(|i| b[i / n * right.row_stride + i % n * right.col_stride]).collect();
                reference::gemm(1.0, &a, &dense, 0.0, &mut want, [m, k, n]);
                assert_close(&one, &want, 1e-5);
            }
        }
    }

    #[test]
    fn big_products_are_the_same_on_any_number_of_threads() {
        let mut draws = Draws::new("gemm threads");
        let (m, k, n) = (500, 130, 90);
        let (a, b, bias) = (draws.floats(m * k), draws.floats(k * n), draws.floats(n));
        let run = |threads| {
            let (mut c, mut flipped) = (vec![0.0; m * n], vec![0.0; m * n]);
            threads::with_num_threads(threads, || {
                gemm_with(Mat::new(&a, m, k), Mat::new(&b, k, n), Some(&bias[..]), &mut c);
                let flipped = MatMut::new(&mut flipped, n, m).t();
                gemm_parallel(1.0, Mat::new(&a, m, k), Mat::new(&b, k, n), 0.0, flipped);
            });
            (c, flipped)
        };
        let (c, flipped) = run(1);
        assert_eq!((&c, &flipped), (&run(2).0, &run(3).1));
        let mut want: Vec<f32> = (0..m).flat_map(|_| bias.clone()).collect();
        reference::gemm(1.0, &a, &b, 1.0, &mut want, [m, k, n]);
        assert_close(&c, &want, 1e-5);
        let unbiased: Vec<f32> = (0..m * n).map(|i| flipped[i % n * m + i / n] + bias[i % n]).collect();
        assert_close(&unbiased, &want, 1e-5);
    }

    #[test]
    #[should_panic(expected = "more than the 5 values")]
    fn a_matrix_that_is_too_large_for_its_data_is_refused() {
        Mat::new(&[0.0; 5], 2, 3);
    }

    #[test]
    #[should_panic(expected = "more than the 5 values")]
    fn sizes_that_overflow_are_refused() {
        MatMut::strided(&mut [0.0; 5], usize::MAX, 3, usize::MAX);
    }

    #[test]
    #[should_panic(expected = "does not give a")]
    fn sizes_that_do_not_fit_are_refused() {
        gemm(1.0, Mat::new(&[0.0; 6], 2, 3), Mat::new(&[0.0; 6], 2, 3), 0.0, MatMut::new(&mut [0.0; 9], 3, 3));
    }
}
