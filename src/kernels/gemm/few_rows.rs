//! Few rows times a large matrix, which takes as long as reading the matrix.

use super::{MOST_TASKS, Mat, MatMut, Old};
use crate::kernels::scratch::Scratch;
use crate::kernels::simd::{Isa, Lanes, Work};
use crate::kernels::tile::split;
use crate::runtime::threads;
use smallvec::SmallVec;
use std::ops::Range;

/// Rows of the left operand that are worked on at once: their sums stay in registers.
const ROWS_AT_ONCE: usize = 8;
/// The most rows for which reading the right operand in the order of memory pays.
const FEW_ROWS: usize = 16;
/// A matrix of so many values lies beyond a core's own caches.
const LARGE_LEN: usize = if cfg!(test) { 1 << 14 } else { 1 << 20 };
/// Columns of a task, at least: half a page of memory in each row.
const TASK_COLS: usize = 512;

/// Whether a product with so many rows takes about as long as reading `b`; the limits were measured.
pub(super) fn are_few(m: usize, b: &Mat) -> bool {
    let len = b.rows * b.cols;
    m == 1
        || match b.rows_are_contiguous() {
            true => m <= ROWS_AT_ONCE && len >= m * LARGE_LEN,
            // The other way would be to copy the transpose.
            false => m <= FEW_ROWS && len >= if m <= ROWS_AT_ONCE { LARGE_LEN / 16 } else { LARGE_LEN },
        }
}

/// Few rows times a matrix: bound by reading the matrix, so it is read once, in the order of memory.
pub(super) fn few_rows(isa: Isa, alpha: f32, a: Mat, b: Mat, old: Old, c: &mut MatMut, parallel: bool) {
    let (m, k, n) = (a.rows, b.rows, b.cols);
    let mut x = Scratch::take(m * k);
    for (i, x) in x.chunks_exact_mut(k.max(1)).enumerate() {
        x.iter_mut().enumerate().for_each(|(j, x)| *x = alpha * a.data[i * a.row_stride + j * a.col_stride]);
    }
    for row in c.rows_mut() {
        match old {
            Old::Times(0.0) => row.fill(0.0),
            Old::Times(beta) => row.iter_mut().for_each(|c| *c *= beta),
            Old::Bias(bias) => row.copy_from_slice(bias),
        }
    }
    // Reading so many values takes longer than waking a thread.
    let tasks = if parallel && k * n >= LARGE_LEN { MOST_TASKS.min(n.div_ceil(TASK_COLS)) } else { 1 };
    let part = n.div_ceil(tasks).next_multiple_of(16);
    let mut parts: Vec<SmallVec<[&mut [f32]; FEW_ROWS]>> = (0..n.div_ceil(part)).map(|_| SmallVec::new()).collect();
    for row in c.rows_mut() {
        parts.iter_mut().zip(row.chunks_mut(part)).for_each(|(part, columns)| part.push(columns));
    }
    threads::for_each(&mut parts, |i, y| {
        let b = b.source().columns(i * part);
        match b.col_stride {
            1 => isa.run(FewTimesRows { x: &x, b: b.data, step: b.row_stride, y }),
            step => isa.run(FewTimesColumns { x: &x, b: b.data, step, y }),
        }
    });
}

/// Calls a function with the number of rows as a constant.
macro_rules! with_rows {
    ($rows:expr, $call:ident::<$lanes:ident $(, $more:tt)*>($($argument:expr),*)) => {
        match $rows {
            1 => $call::<$lanes, 1 $(, $more)*>($($argument),*),
            2 => $call::<$lanes, 2 $(, $more)*>($($argument),*),
            3 => $call::<$lanes, 3 $(, $more)*>($($argument),*),
            4 => $call::<$lanes, 4 $(, $more)*>($($argument),*),
            5 => $call::<$lanes, 5 $(, $more)*>($($argument),*),
            6 => $call::<$lanes, 6 $(, $more)*>($($argument),*),
            7 => $call::<$lanes, 7 $(, $more)*>($($argument),*),
            _ => $call::<$lanes, 8 $(, $more)*>($($argument),*),
        }
    };
}

/// `y += x * b`, where rows of `b` are contiguous and `y` are some columns of each row of the result.
struct FewTimesRows<'a, 'y> {
    x: &'a [f32],
    b: &'a [f32],
    step: usize,
    y: &'a mut [&'y mut [f32]],
}

/// Rows of `b` that are read side by side, so that sums are loaded and stored less often.
const SIDE: usize = 8;
/// Columns of the sums that stay in the first-level cache meanwhile.
const SUMS: usize = 512;

impl Work for FewTimesRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let FewTimesRows { x, b, step, y } = self;
        let (m, n) = (y.len(), y[0].len());
        let depth = x.len() / m;
        assert!(depth == 0 || (depth - 1) * step + n <= b.len(), "the matrix is too short");
        assert!(y.iter().all(|y| y.len() == n), "columns of all rows");
        for first in (0..n).step_by(SUMS) {
            let cols = first..(first + SUMS).min(n);
            for k in (0..depth).step_by(SIDE) {
                let count = SIDE.min(depth - k);
                for rows in split(m, ROWS_AT_ONCE) {
                    let (x, y) = (&x[rows.start * depth..], &mut y[rows]);
                    // SAFETY: of `count` rows from `k` on the columns `cols` are read, which the first assertion found
                    // in `b`; they are in `y`, by the second one. The caller has the instruction set.
                    unsafe {
                        let b = b.as_ptr().add(k * step + first);
                        if count == SIDE {
                            with_rows!(y.len(), add_rows::<L, SIDE>(&x[k..], depth, b, step, y, cols.clone()));
                        } else {
                            for i in 0..count {
                                let b = b.add(i * step);
                                with_rows!(y.len(), add_rows::<L, 1>(&x[k + i..], depth, b, step, y, cols.clone()));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Adds `DEPTH` rows of `b`, times values of each row of `x`, `x_step` apart, to some columns of `y`.
///
/// # Safety
/// `b` is valid for that and so many columns are in all of the `ROWS` rows of `y`; the processor has the instruction set.
#[inline(always)]
unsafe fn add_rows<L: Lanes, const ROWS: usize, const DEPTH: usize>(
    x: &[f32],
    x_step: usize,
    b: *const f32,
    step: usize,
    y: &mut [&mut [f32]],
    cols: Range<usize>,
) {
    let x: [&[f32; DEPTH]; ROWS] = std::array::from_fn(|i| x[i * x_step..].first_chunk().expect("as many values"));
    // SAFETY: as promised; the mask is that of the rest of the columns.
    unsafe {
        let y: [*mut f32; ROWS] = std::array::from_fn(|i| y[i].as_mut_ptr().add(cols.start));
        let full = cols.len() / L::LEN * L::LEN;
        for j in (0..full).step_by(L::LEN) {
            // The next rows come while these are worked on.
            (DEPTH..2 * DEPTH).for_each(|k| L::prefetch(b.wrapping_add(k * step + j)));
            let b: [L; DEPTH] = std::array::from_fn(|k| L::load(b.add(k * step + j)));
            for (x, y) in x.iter().zip(y) {
                let mut sum = L::load(y.add(j));
                for (x, b) in x.iter().zip(b) {
                    sum = b.mul_add(L::splat(*x), sum);
                }
                sum.store(y.add(j));
            }
        }
        if full < cols.len() {
            let part = L::first(cols.len() - full);
            let b: [L; DEPTH] = std::array::from_fn(|k| L::load_part(b.add(k * step + full), part));
            for (x, y) in x.iter().zip(y) {
                let mut sum = L::load_part(y.add(full), part);
                for (x, b) in x.iter().zip(b) {
                    sum = b.mul_add(L::splat(*x), sum);
                }
                sum.store_part(y.add(full), part);
            }
        }
    }
}

/// `y += x * b`, where columns of `b` are contiguous: a dot product for each.
struct FewTimesColumns<'a, 'y> {
    x: &'a [f32],
    b: &'a [f32],
    step: usize,
    y: &'a mut [&'y mut [f32]],
}

/// Values of each row of `x` that stay in the first-level cache for all columns.
const DOTS: usize = if cfg!(test) { 160 } else { 1024 };

impl Work for FewTimesColumns<'_, '_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let FewTimesColumns { x, b, step, y } = self;
        let (m, n) = (y.len(), y[0].len());
        let depth = x.len() / m;
        assert!(depth == 0 || (n - 1) * step + depth <= b.len(), "the matrix is too short");
        assert!(y.iter().all(|y| y.len() == n), "columns of all rows");
        // As many columns as have sums in registers.
        let side = if L::LEN >= 16 { 3 } else { 1 };
        for ks in (0..depth).step_by(DOTS).map(|k| k..(k + DOTS).min(depth)) {
            for first in (0..n).step_by(side) {
                let count = side.min(n - first);
                for rows in split(m, ROWS_AT_ONCE) {
                    let (x, y) = (&x[rows.start * depth..], &mut y[rows]);
                    // SAFETY: of `count` columns from `first` on the rows `ks` are read, which the first assertion found
                    // in `b`; they are in `y`, by the second one. The caller has the instruction set.
                    unsafe {
                        let b = b.as_ptr().add(first * step);
                        if count == 3 {
                            with_rows!(y.len(), add_dots::<L, 3>(x, depth, b, step, ks.clone(), y, first));
                        } else {
                            for i in 0..count {
                                let b = b.add(i * step);
                                with_rows!(y.len(), add_dots::<L, 1>(x, depth, b, step, ks.clone(), y, first + i));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Adds the dot products of some values of each row of `x`, `x_step` apart, and of `COLS` columns of `b`, `step` apart,
/// to those of `y` from `col` on.
///
/// # Safety
/// The columns of `b` are valid for that, and in all of the `ROWS` rows of `y`; the processor has the instruction set.
#[inline(always)]
unsafe fn add_dots<L: Lanes, const ROWS: usize, const COLS: usize>(
    x: &[f32],
    x_step: usize,
    b: *const f32,
    step: usize,
    ks: Range<usize>,
    y: &mut [&mut [f32]],
    col: usize,
) {
    assert!((ROWS - 1) * x_step + ks.end <= x.len(), "as many values");
    // SAFETY: as promised, and the assertion; the mask is that of the rest of the values; lanes are as long as `values`.
    unsafe {
        let x: [*const f32; ROWS] = std::array::from_fn(|i| x.as_ptr().add(i * x_step + ks.start));
        let b: [*const f32; COLS] = std::array::from_fn(|i| b.add(i * step + ks.start));
        let mut sums = [[L::splat(0.0); COLS]; ROWS];
        let full = ks.len() / L::LEN * L::LEN;
        for at in (0..full).step_by(L::LEN) {
            // The next columns come while these are worked on.
            b.iter().for_each(|b| L::prefetch(b.wrapping_add(COLS * step + at)));
            let b: [L; COLS] = b.map(|b| L::load(b.add(at)));
            for (sums, x) in sums.iter_mut().zip(x) {
                let x = L::load(x.add(at));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = x.mul_add(b, *sum);
                }
            }
        }
        if full < ks.len() {
            let part = L::first(ks.len() - full);
            let b: [L; COLS] = b.map(|b| L::load_part(b.add(full), part));
            for (sums, x) in sums.iter_mut().zip(x) {
                let x = L::load_part(x.add(full), part);
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = x.mul_add(b, *sum);
                }
            }
        }
        for (y, sums) in y.iter_mut().zip(sums) {
            for (y, sum) in y[col..].iter_mut().zip(sums) {
                let mut values = [0f32; 16];
                const { assert!(L::LEN <= 16) };
                sum.store(values.as_mut_ptr());
                let mut half = 8;
                while half > 0 {
                    (0..half).for_each(|i| values[i] += values[i + half]);
                    half /= 2;
                }
                *y += values[0];
            }
        }
    }
}
