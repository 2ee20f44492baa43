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

use super::product::{Panels, Source, Transpose, product};
use super::scratch::Scratch;
use super::simd::Isa;
use super::tile::{Reading, Start};
use crate::runtime::threads;

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
    fn rows(self, start: usize, count: usize) -> Self {
        assert!(start + count <= self.rows);
        // Without columns there may be no data to skip.
        let skip = (start * self.row_stride).min(self.data.len());
        Mat { data: &self.data[skip..], rows: count, ..self }
    }

    /// Whether each row's values follow each other (a row of one value does).
    fn rows_are_contiguous(&self) -> bool {
        self.col_stride == 1 || self.cols == 1
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
    multiply(alpha, a, b, Old::Times(beta), c, false);
}

/// [`gemm`] with the rows of `c` cut into blocks that run on all threads, if they are worth it.
///
/// # Panics
/// As [`gemm`].
pub fn gemm_parallel(alpha: f32, a: Mat, b: Mat, beta: f32, c: MatMut) {
    multiply(alpha, a, b, Old::Times(beta), c, true);
}

/// `c = a * b + bias`, where `bias`, if there is one, is added to each row; `c` has no gaps.
///
/// # Panics
/// When the sizes do not fit.
pub fn gemm_bias(a: Mat, b: Mat, bias: Option<&[f32]>, c: &mut [f32]) {
    let (rows, cols) = (a.rows, b.cols);
    assert!(bias.is_none_or(|bias| bias.len() == cols), "length of the bias");
    multiply(1.0, a, b, bias.map_or(Old::Times(0.0), Old::Bias), MatMut::new(c, rows, cols), true);
}

/// A block of rows does at least this many multiplications and additions.
const BLOCK_FLOPS: usize = 2 << 20;
/// And it has at least this many rows, so that reading all of `b` is worth it.
const BLOCK_ROWS: usize = 64;

/// What is added to the product.
#[derive(Clone, Copy)]
enum Old<'a> {
    /// This much of what `c` holds.
    Times(f32),
    /// A value for each column.
    Bias(&'a [f32]),
}

fn multiply(alpha: f32, a: Mat, b: Mat, old: Old, mut c: MatMut, parallel: bool) {
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
        return multiply(alpha, b.t(), a.t(), old, c.t(), parallel);
    }
    let isa = Isa::get();
    if isa.is_portable() {
        return elsewhere(alpha, a, b, old, c, parallel);
    }
    if let Some(mut turned) = turned(a, b, parallel) {
        multiply(alpha, b.t(), a.t(), Old::Times(0.0), MatMut::new(&mut turned, n, m), parallel);
        return add_transposed(isa, &turned, old, c);
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
    let copy = alpha != 1.0 || !b.rows_are_contiguous() || (m > IN_PLACE_ROWS && k * n > IN_PLACE_LEN);
    let panels = match copy {
        true => {
            let source = Source { data: b.data, row_stride: b.row_stride, col_stride: b.col_stride };
            Panels::copy(isa, source, k, n, alpha)
        }
        false => Panels::in_place(isa, b.data, k, n, b.row_stride),
    };
    let run = |first: usize, rows: usize, c: &mut [f32], c_step| {
        let a = a.rows(first, rows);
        product(isa, a.data, a.reading(), rows, k, &panels, start, c, c_step);
    };
    in_blocks(c, k, parallel, run);
}

/// Calls `run` with the first row, the number of rows, the values and the row stride of each block of rows
/// of `c`, on all threads if the blocks, products of `k` terms, are worth it.
fn in_blocks(c: MatMut, k: usize, parallel: bool, run: impl Fn(usize, usize, &mut [f32], usize) + Sync) {
    let (m, stride) = (c.rows, c.row_stride);
    let block = BLOCK_FLOPS.div_ceil((2 * c.cols * k).max(1)).max(BLOCK_ROWS).next_multiple_of(BLOCK_ROWS);
    if !parallel || m <= block {
        return run(0, m, c.data, stride);
    }
    let mut blocks: Vec<_> = c.data.chunks_mut(block * stride).take(m.div_ceil(block)).collect();
    threads::for_each(&mut blocks, |i, data| run(i * block, block.min(m - i * block), data, stride));
}

/// The product by `matrixmultiply`, for processors that it has a kernel for and we have none.
fn elsewhere(alpha: f32, a: Mat, b: Mat, old: Old, mut c: MatMut, parallel: bool) {
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
    in_blocks(c, k, parallel, run);
}

/// Up to this many rows of `a`, copying `b` costs more than it saves, ...
const IN_PLACE_ROWS: usize = 64;
/// ... and also when all of `b` lies in the first-level cache.
const IN_PLACE_LEN: usize = 4096;

/// Space for the transposed product, where that one is faster: there the two operands change roles.
/// `a` is then copied instead of a `b` that would have to be, and its few rows become
/// columns, so that the threads share those of `b`.
fn turned(a: Mat, b: Mat, parallel: bool) -> Option<Scratch> {
    let (m, k, n) = (a.rows, a.cols, b.cols);
    let cheaper = !b.rows_are_contiguous() && m > 1 && m * (k + n) < k * n;
    let shared = parallel && (8..=BLOCK_ROWS).contains(&m) && n > BLOCK_ROWS && 2 * m * n * k > 2 * BLOCK_FLOPS;
    (cheaper || shared).then(|| Scratch::take(m * n))
}

/// Adds `turned`, the transpose of a product, to `c`.
fn add_transposed(isa: Isa, turned: &[f32], old: Old, mut c: MatMut) {
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
    fn big_products_are_the_same_on_any_number_of_threads() {
        let mut draws = Draws::new("gemm threads");
        let (m, k, n) = (500, 130, 90);
        let (a, b, bias) = (draws.floats(m * k), draws.floats(k * n), draws.floats(n));
        let run = |threads| {
            let (mut c, mut flipped) = (vec![0.0; m * n], vec![0.0; m * n]);
            threads::with_num_threads(threads, || {
                gemm_bias(Mat::new(&a, m, k), Mat::new(&b, k, n), Some(&bias), &mut c);
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
