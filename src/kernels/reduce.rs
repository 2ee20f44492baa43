//! Rows and columns: biases, their gradients, dot products and norms.

/// Sets each row of `y` to `row`.
///
/// # Panics
/// When `y` is not a whole number of rows.
pub fn fill_rows(y: &mut [f32], row: &[f32]) {
    check_rows(y.len(), row.len());
    if row.is_empty() {
        return;
    }
    // Copying what is already there doubles the run each time; short rows need few copies.
    let Some(first) = y.get_mut(..row.len()) else { return };
    first.copy_from_slice(row);
    let mut done = row.len();
    while done < y.len() {
        let more = done.min(y.len() - done);
        y.copy_within(..more, done);
        done += more;
    }
}

/// Adds `row` to each row of `y`.
///
/// # Panics
/// When `y` is not a whole number of rows.
pub fn add_row(y: &mut [f32], row: &[f32]) {
    check_rows(y.len(), row.len());
    if !row.is_empty() {
        for y in y.chunks_exact_mut(row.len()) {
            add(y, row);
        }
    }
}

/// `y += x`, element by element.
///
/// # Panics
/// When the lengths differ.
pub fn add(y: &mut [f32], x: &[f32]) {
    assert_eq!(y.len(), x.len(), "slices of different lengths");
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

/// Adds to `sums` the sum of each column of `x` (summed in f64).
///
/// # Panics
/// When `x` is not a whole number of rows.
pub fn add_column_sums(x: &[f32], sums: &mut [f32]) {
    const LANES: usize = 64;
    let cols = sums.len();
    check_rows(x.len(), cols);
    if cols == 0 {
        return;
    }
    if cols > LANES {
        let mut start = 0;
        for sums in sums.chunks_mut(LANES) {
            let mut lanes = [0f64; LANES];
            for row in x.chunks_exact(cols) {
                for (lane, x) in lanes.iter_mut().zip(&row[start..start + sums.len()]) {
                    *lane += f64::from(*x);
                }
            }
            sums.iter_mut().zip(&lanes).for_each(|(sum, lane)| *sum = (f64::from(*sum) + lane) as f32);
            start += sums.len();
        }
        return;
    }
    // Narrow rows: as many of them side by side as there are lanes.
    let mut lanes = [0f64; LANES];
    let wide = LANES / cols * cols;
    for rows in x.chunks(wide) {
        for (lane, x) in lanes.iter_mut().zip(rows) {
            *lane += f64::from(*x);
        }
    }
    for (col, sum) in sums.iter_mut().enumerate() {
        let total: f64 = lanes[..wide].iter().skip(col).step_by(cols).sum();
        *sum = (f64::from(*sum) + total) as f32;
    }
}

/// The dot product, summed in f64.
///
/// # Panics
/// When the lengths differ.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    assert_eq!(a.len(), b.len(), "slices of different lengths");
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0f64; LANES];
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += f64::from(a[i]) * f64::from(b[i]);
        }
    }
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

            let (mut filled, mut added) = (vec![f32::NAN; rows * cols], x.clone());
            fill_rows(&mut filled, &row);
            add_row(&mut added, &row);
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
