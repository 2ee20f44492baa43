//! Rows and columns: biases, their gradients, dot products and norms.

use super::vectorised;

/// Sets each row of `y` to `row`.
///
/// # Panics
/// When `y` is not a whole number of rows.
pub fn fill_rows(y: &mut [f32], row: &[f32]) {
    check_rows(y.len(), row.len());
    if row.is_empty() {
        return;
    }
    let Some(first) = y.get_mut(..row.len()) else { return };
    first.copy_from_slice(row);
    repeat_first_row(y, row.len());
}

/// Sets each row of `cols` values to the first one.
pub(crate) fn repeat_first_row(y: &mut [f32], cols: usize) {
    // Copying what is already there doubles the run each time; short rows need few copies.
    let mut done = cols.max(1);
    while done < y.len() {
        let more = done.min(y.len() - done);
        y.copy_within(..more, done);
        done += more;
    }
}

/// `y += x`, element by element.
///
/// # Panics
/// When the lengths differ.
pub fn add(y: &mut [f32], x: &[f32]) {
    assert_eq!(y.len(), x.len(), "slices of different lengths");
    vectorised(
        #[inline(always)]
        move || y.iter_mut().zip(x).for_each(|(y, x)| *y += x),
    );
}

/// Adds to `sums` the sum of each column of `x` (summed in f64).
///
/// # Panics
/// When `x` is not a whole number of rows.
pub fn add_column_sums(x: &[f32], sums: &mut [f32]) {
    let cols = sums.len();
    check_rows(x.len(), cols);
    if cols == 0 {
        return;
    }
    // Several narrow rows are one that is a whole number of vectors wide, if there is one.
    let wide = (1..=BLOCK / cols).rev().map(|rows| rows * cols).find(|wide| wide.is_multiple_of(VECTOR));
    let wide = wide.unwrap_or(cols);
    let full = x.len() / wide * wide;
    let mut totals = [0f64; BLOCK];
    let mut start = 0;
    while start < wide {
        let left = wide - start;
        // The last block is moved back to be whole vectors too; what it sums again is not used.
        let width = (left.next_multiple_of(VECTOR)).min(BLOCK).min(wide / VECTOR * VECTOR).max(1);
        let first = (wide - width).min(start);
        column_block(&x[..full], wide, first, &mut totals[..width]);
        let again = start - first;
        if wide != cols {
            // All rows that stand side by side, and those that were too few to.
            for (i, x) in x[full..].iter().enumerate() {
                totals[i] += f64::from(*x);
            }
            for (col, sum) in sums.iter_mut().enumerate() {
                let total: f64 = totals[..wide].iter().skip(col).step_by(cols).sum();
                *sum = (f64::from(*sum) + total) as f32;
            }
        } else {
            for (sum, total) in sums[start..first + width].iter_mut().zip(&totals[again..width]) {
                *sum = (f64::from(*sum) + total) as f32;
            }
        }
        start = first + width;
    }
}

/// The most columns that are summed at once, in registers.
const BLOCK: usize = 64;
/// The columns of a block are a multiple of this: a vector of f64.
const VECTOR: usize = 8;

/// Sets `totals` to the sums of the columns of `x` from `first` on, in rows of `wide` values.
fn column_block(x: &[f32], wide: usize, first: usize, totals: &mut [f64]) {
    #[inline(always)]
    fn sums<const N: usize>(x: &[f32], wide: usize, first: usize, totals: &mut [f64]) {
        let mut lanes = [0f64; N];
        for row in x.chunks_exact(wide) {
            if let Some(row) = row[first..].first_chunk::<N>() {
                for i in 0..N {
                    lanes[i] += f64::from(row[i]);
                }
            }
        }
        totals.copy_from_slice(&lanes);
    }
    vectorised(
        #[inline(always)]
        move || match totals.len() {
            64 => sums::<64>(x, wide, first, totals),
            56 => sums::<56>(x, wide, first, totals),
            48 => sums::<48>(x, wide, first, totals),
            40 => sums::<40>(x, wide, first, totals),
            32 => sums::<32>(x, wide, first, totals),
            24 => sums::<24>(x, wide, first, totals),
            16 => sums::<16>(x, wide, first, totals),
            8 => sums::<8>(x, wide, first, totals),
            n => {
                totals.fill(0.0);
                for row in x.chunks_exact(wide) {
                    totals.iter_mut().zip(&row[first..first + n]).for_each(|(total, x)| *total += f64::from(*x));
                }
            }
        },
    );
}

/// The dot product, summed in f64.
///
/// # Panics
/// When the lengths differ.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 32;
    assert_eq!(a.len(), b.len(), "slices of different lengths");
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let lanes = vectorised(
        #[inline(always)]
        move || {
            // Inside, so that they stand in registers.
            let mut lanes = [0f64; LANES];
            for (a, b) in a.iter().zip(b) {
                for i in 0..LANES {
                    lanes[i] += f64::from(a[i]) * f64::from(b[i]);
                }
            }
            lanes
        },
    );
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    lanes.iter().sum::<f64>() + rest
}

/// The sum of squares, summed in f64.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    dot(x, x)
}

fn check_rows(len: usize, cols: usize) {
    assert!(len.is_multiple_of(cols), "{len} values are not rows of {cols}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reference::testing::{Draws, assert_close};

    #[test]
    fn rows_and_columns_are_what_a_plain_loop_gives() {
        let mut draws = Draws::new("reduce");
        for _ in 0..500 {
            let (rows, cols) = (draws.below(40), draws.below(150));
            let (x, row) = (draws.floats(rows * cols), draws.floats(cols));
            let mut sums = row.clone();
            add_column_sums(&x, &mut sums);
            let want: Vec<f32> = (0..cols)
                .map(|c| {
                    let column = (0..rows).map(|r| f64::from(x[r * cols + c])).sum::<f64>();
                    (f64::from(row[c]) + column) as f32
                })
                .collect();
            assert_close(&sums, &want, 1e-6);

            let mut filled = vec![f32::NAN; rows * cols];
            fill_rows(&mut filled, &row);
            let mut added = x.clone();
            add(&mut added, &filled);
            for i in 0..rows * cols {
                assert_eq!((filled[i], added[i]), (row[i % cols], x[i] + row[i % cols]));
            }
            let want: f64 = x.iter().zip(&filled).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((dot(&x, &filled) - want).abs() < 1e-9 * (1.0 + want.abs() + x.len() as f64));
        }
        assert_eq!(sum_of_squares(&[3.0, 4.0]), 25.0);
    }

    #[test]
    fn long_sums_keep_their_precision() {
        let mut sums = [0.0; 3];
        add_column_sums(&vec![0.1; 3_000_000], &mut sums);
        assert_close(&sums, &[100_000.0; 3], 1e-7);
    }
}
