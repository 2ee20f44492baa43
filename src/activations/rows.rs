//! The activations that work along the last axis.

use super::math::exp;

/// Values that are folded side by side, so that the loops become SIMD code; their order is fixed.
const LANES: usize = 16;

/// The largest value; NaN does not count.
fn maximum(row: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, larger);
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, x);
        }
    }
    lanes.into_iter().fold(rest, larger)
}

/// The sum of `f(a, b)` over two rows.
fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut lanes = [0.0; LANES];
    let (chunks_a, chunks_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = chunks_a.remainder().iter().zip(chunks_b.remainder()).map(|(&a, &b)| f64::from(f(a, b))).sum();
    for (a, b) in chunks_a.zip(chunks_b) {
        for (lane, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += f64::from(f(a, b));
        }
    }
    rest + lanes.into_iter().sum::<f64>()
}

pub fn softmax(x: &mut [f32], last: usize) {
    for row in x.chunks_exact_mut(last.max(1)) {
        let max = maximum(row);
        row.iter_mut().for_each(|x| *x = exp(*x - max));
        let scale = (1.0 / sum(row, row, |x, _| x)) as f32;
        row.iter_mut().for_each(|x| *x *= scale);
    }
}

/// With `y = softmax(x)` the gradient is `y * (g - sum(g * y))`.
pub fn softmax_backward(output: &[f32], gradient: &mut [f32], last: usize) {
    for (y, g) in pairs(output, gradient, last) {
        let mean = sum(g, y, |g, y| g * y) as f32;
        g.iter_mut().zip(y).for_each(|(g, y)| *g = y * (*g - mean));
    }
}

pub fn log_softmax(x: &mut [f32], last: usize) {
    for row in x.chunks_exact_mut(last.max(1)) {
        let max = maximum(row);
        let log = sum(row, row, |x, _| exp(x - max)).ln() as f32;
        // Not x - (max + log), which would round the logarithm away when the values are large.
        row.iter_mut().for_each(|x| *x = (*x - max) - log);
    }
}

/// With `y = log_softmax(x)` the gradient is `g - e^y * sum(g)`.
pub fn log_softmax_backward(output: &[f32], gradient: &mut [f32], last: usize) {
    for (y, g) in pairs(output, gradient, last) {
        let total = sum(g, g, |g, _| g) as f32;
        g.iter_mut().zip(y).for_each(|(g, &y)| *g -= exp(y) * total);
    }
}

/// `max(x - t, 0)` with Keras' threshold (see [`Sparsemax`](super::Activation::Sparsemax)).
pub fn sparsemax(x: &mut [f32], last: usize) {
    let mut order = Vec::new();
    for row in x.chunks_exact_mut(last.max(1)) {
        let threshold = sparsemax_support(row, &mut order);
        row.iter_mut()
            .for_each(|x| *x = if f64::from(*x) < threshold { 0.0 } else { (f64::from(*x) - threshold) as f32 });
    }
}

/// The threshold; `order` becomes the places of the values that decide it, the largest first.
fn sparsemax_support(row: &[f32], order: &mut Vec<usize>) -> f64 {
    order.clear();
    order.extend(0..row.len());
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    let (mut sum, mut sums, mut support) = (0.0, 0.0, 0);
    for (i, &place) in order.iter().enumerate() {
        let value = f64::from(row[place]);
        sum += value;
        // A NaN, the largest of all, is let in, so that it shows.
        if value - (sum - 1.0) / (i + 1) as f64 <= 0.0 {
            break;
        }
        sums += sum;
        support = i + 1;
    }
    order.truncate(support);
    (sums - 1.0) / support as f64
}

/// Of the `k` values that decide the threshold the largest is in `k` running sums, the next in one
/// fewer, and so on: that is how much of the other values' gradient each takes.
pub fn sparsemax_backward(input: &[f32], gradient: &mut [f32], last: usize) {
    let mut support = Vec::new();
    for (x, g) in pairs(input, gradient, last) {
        let threshold = sparsemax_support(x, &mut support);
        g.iter_mut().zip(x).filter(|(_, x)| f64::from(**x) < threshold).for_each(|(g, _)| *g = 0.0);
        let total = sum(g, g, |g, _| g);
        let k = support.len() as f64;
        for (rank, &place) in support.iter().enumerate() {
            g[place] -= (total * (k - rank as f64) / k) as f32;
        }
    }
}

fn pairs<'a>(
    output: &'a [f32],
    gradient: &'a mut [f32],
    last: usize,
) -> impl Iterator<Item = (&'a [f32], &'a mut [f32])> {
    let last = last.max(1);
    output.chunks_exact(last).zip(gradient.chunks_exact_mut(last))
}
