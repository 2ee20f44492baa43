//! Matrix products of the shapes of networks, against `matrixmultiply`.
//!
//! `cargo bench --bench gemm [-- ROW…] [--json] [--threads=N]`. A row is `layouts MxNxK`: `NT` is `A Bᵀ`.
mod support;

use cornu::kernels::gemm::{Mat, MatMut, gemm, gemm_parallel};
use cornu::runtime::threads;
use support::{Bench, Contender};

/// Layouts, and the sizes M, N and K.
const ROWS: &[(&str, &[[usize; 3]])] = &[
    (
        "NN",
        &[
            [128, 128, 128],
            [256, 256, 256],
            [512, 512, 512],
            [1024, 1024, 1024],
            [2048, 2048, 2048],
            [25088, 6, 25],
            [3200, 16, 150],
            [32, 120, 400],
            [32, 128, 784],
            [128, 128, 784],
            [128, 4096, 9216],
            [32, 4096, 4096],
            [3136, 64, 576],
            [784, 128, 1152],
            [196, 256, 2304],
            [1, 4096, 9216],
            [1, 128, 784],
        ],
    ),
    // The gradient by the weights: K is the batch.
    ("TN", &[[256, 256, 256], [1024, 1024, 1024], [784, 128, 32], [784, 128, 128], [196, 256, 2304]]),
    // The gradient by the input.
    ("NT", &[[256, 256, 256], [1024, 1024, 1024], [32, 784, 128], [128, 784, 128], [1, 9216, 4096]]),
];

fn main() {
    support::main(|bench| {
        for (layouts, sizes) in ROWS {
            for size in *sizes {
                row(bench, layouts, *size);
            }
        }
    });
}

fn row(bench: &mut Bench, layouts: &str, [m, n, k]: [usize; 3]) {
    let name = format!("{layouts} {m}x{n}x{k}");
    if !bench.wants(&name) {
        return;
    }
    let values = |len: usize| -> Vec<f32> { (0..len).map(|i| (i % 97) as f32 / 48.0 - 1.0).collect() };
    let (a, b) = (values(m * k), values(k * n));
    let mut results = vec![vec![0f32; m * n]; 4];
    let [c, c_all, theirs, theirs_all] = &mut results[..] else { return };
    let flip = |layout: &str| layouts.starts_with(layout);
    let (a_turned, b_turned) = (flip("T"), layouts.ends_with('T'));
    let left = if a_turned { Mat::new(&a, k, m).t() } else { Mat::new(&a, m, k) };
    let right = if b_turned { Mat::new(&b, n, k).t() } else { Mat::new(&b, k, n) };
    let a_strides = if a_turned { [1, m] } else { [k, 1] };
    let b_strides = if b_turned { [1, k] } else { [n, 1] };
    let (a, b) = (&a, &b);
    let other = move |first: usize, rows: usize, c: &mut [f32]| {
        let a = &a[first * a_strides[0]..];
        let [(a_rows, a_cols), (b_rows, b_cols)] =
            [a_strides, b_strides].map(|[rows, cols]| (rows as isize, cols as isize));
        assert!(c.len() == rows * n);
        // SAFETY: the strides are those of the matrices that `a`, `b` and `c` hold.
        unsafe {
            let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
            matrixmultiply::sgemm(rows, k, n, 1.0, a, a_rows, a_cols, b, b_rows, b_cols, 0.0, c, n as isize, 1);
        }
    };
    let parts = bench.threads;
    let mut contenders = vec![
        Contender::new("matrixmultiply", 1, || other(0, m, theirs)),
        Contender::new("cornu", 1, || gemm(1.0, left, right, 0.0, MatMut::new(c, m, n))),
    ];
    if parts > 1 {
        contenders.push(Contender::new("matrixmultiply rows", parts, || {
            let part = m.div_ceil(parts);
            let mut parts: Vec<_> = theirs_all.chunks_mut(part * n).collect();
            threads::for_each(&mut parts, |i, c| other(i * part, c.len() / n, c));
        }));
        contenders.push(Contender::new("cornu parallel", parts, || {
            gemm_parallel(1.0, left, right, 0.0, MatMut::new(c_all, m, n));
        }));
    }
    bench.row(&name, 2.0 * (m * n * k) as f64, contenders);
    // One that did not run has nothing but zeros.
    results.retain(|result| result.iter().any(|c| *c != 0.0));
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-2 * (1.0 + b.abs()));
    assert!(results.iter().all(|result| close(result, &results[0])), "{name}: the results differ");
}
