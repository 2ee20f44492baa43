//! The oracle: each kernel as the plain loops of its definition, summed in f64.
//!
//! Slow on purpose and short on purpose. Nothing but tests should call it.

mod conv;
mod pool;
#[cfg(test)]
pub(crate) mod testing;

pub use conv::{conv_backward_data, conv_backward_weights, conv_forward};
pub use pool::{average_pool, average_pool_gradient, max_pool, max_pool_gradient};

/// `c = alpha a b + beta c` for dense matrices, `a` m x k, `b` k x n, `c` m x n.
pub fn gemm(alpha: f32, a: &[f32], b: &[f32], beta: f32, c: &mut [f32], [m, k, n]: [usize; 3]) {
    for i in 0..m {
        for j in 0..n {
            let sum: f64 = (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(b[l * n + j])).sum();
            // By definition, with beta = 0 the old value does not count, not even a NaN.
            let old = if beta == 0.0 { 0.0 } else { f64::from(beta) * f64::from(c[i * n + j]) };
            c[i * n + j] = (f64::from(alpha) * sum + old) as f32;
        }
    }
}

/// Local response normalisation of rows of `channels` values; see [`Lrn`](super::lrn::Lrn).
pub fn lrn(x: &[f32], channels: usize, (size, k, alpha, beta): (usize, f64, f64, f64)) -> Vec<f32> {
    let scale = lrn_scale(x, channels, size, k, alpha);
    x.iter().zip(&scale).map(|(x, s)| (f64::from(*x) * s.powf(-beta)) as f32).collect()
}

/// The gradient of [`lrn`]: every output's derivative by every input of its window.
pub fn lrn_gradient(
    x: &[f32],
    dy: &[f32],
    channels: usize,
    (size, k, alpha, beta): (usize, f64, f64, f64),
) -> Vec<f32> {
    let scale = lrn_scale(x, channels, size, k, alpha);
    let mut dx = vec![0f64; x.len()];
    for i in 0..x.len() {
        for j in lrn_window(i, channels, size) {
            let through_scale = -2.0 * alpha * beta * f64::from(x[i]) * f64::from(x[j]) * scale[i].powf(-beta - 1.0);
            let direct = if i == j { scale[i].powf(-beta) } else { 0.0 };
            dx[j] += f64::from(dy[i]) * (direct + through_scale);
        }
    }
    dx.iter().map(|v| *v as f32).collect()
}

fn lrn_scale(x: &[f32], channels: usize, size: usize, k: f64, alpha: f64) -> Vec<f64> {
    let square_sum = |i| lrn_window(i, channels, size).map(|j| f64::from(x[j]).powi(2)).sum::<f64>();
    (0..x.len()).map(|i| k + alpha * square_sum(i)).collect()
}

/// The indices of the channels around the one at index `i`, in the same row.
fn lrn_window(i: usize, channels: usize, size: usize) -> std::ops::Range<usize> {
    let (row, channel) = (i - i % channels, i % channels);
    row + channel.saturating_sub(size / 2)..row + (channel + size / 2 + 1).min(channels)
}
