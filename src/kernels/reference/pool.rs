//! Pooling by its definition.

use crate::kernels::pool::Pool2d;

/// The indices in `x` of the real cells of the window behind output `y`, in row-major order.
fn window(g: &Pool2d, y: usize) -> Vec<usize> {
    let (c, cell) = (y % g.channels, y / g.channels);
    let (ox, oy, b) = (cell % g.out_w, cell / g.out_w % g.out_h, cell / g.out_w / g.out_h);
    let mut cells = Vec::new();
    for ky in 0..g.pool_h {
        for kx in 0..g.pool_w {
            let iy = (oy * g.stride_h + ky) as isize - g.pad_top as isize;
            let ix = (ox * g.stride_w + kx) as isize - g.pad_left as isize;
            if (0..g.in_h as isize).contains(&iy) && (0..g.in_w as isize).contains(&ix) {
                cells.push(((b * g.in_h + iy as usize) * g.in_w + ix as usize) * g.channels + c);
            }
        }
    }
    cells
}

/// The index in `x` of the first maximum (or the first NaN) of the window behind output `y`.
fn first_max(g: &Pool2d, x: &[f32], y: usize) -> usize {
    let cells = window(g, y);
    if let Some(&nan) = cells.iter().find(|&&i| x[i].is_nan()) {
        return nan;
    }
    cells.into_iter().reduce(|best, i| if x[i] > x[best] { i } else { best }).unwrap_or(0)
}

/// The maximum of each window.
pub fn max_pool(g: &Pool2d, x: &[f32]) -> Vec<f32> {
    (0..g.output_len()).map(|y| x[first_max(g, x, y)]).collect()
}

/// The gradient of [`max_pool`]: all of it goes to the first maximum.
pub fn max_pool_gradient(g: &Pool2d, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let mut dx = vec![0f64; x.len()];
    for (y, dy) in dy.iter().enumerate() {
        dx[first_max(g, x, y)] += f64::from(*dy);
    }
    dx.iter().map(|v| *v as f32).collect()
}

/// The mean of the real cells of each window.
pub fn average_pool(g: &Pool2d, x: &[f32]) -> Vec<f32> {
    let mean = |cells: Vec<usize>| cells.iter().map(|&i| f64::from(x[i])).sum::<f64>() / cells.len() as f64;
    (0..g.output_len()).map(|y| mean(window(g, y)) as f32).collect()
}

/// The gradient of [`average_pool`]: the real cells share it.
pub fn average_pool_gradient(g: &Pool2d, dy: &[f32]) -> Vec<f32> {
    let mut dx = vec![0f64; g.input_len()];
    for (y, dy) in dy.iter().enumerate() {
        let cells = window(g, y);
        for &i in &cells {
            dx[i] += f64::from(*dy) / cells.len() as f64;
        }
    }
    dx.iter().map(|v| *v as f32).collect()
}
