//! Convolutions: each pass of known layers, and all of them together (counted as three forward passes).
//!
//! `cargo bench --bench conv [-- ROW…] [--json] [--threads=N]`. Lines with `#` tell the plan.
mod support;

use cornu::Padding;
use cornu::kernels::conv::Conv2d;
use cornu::runtime::Workspace;
use support::{Bench, Contender};

/// Name, input, output channels, kernel, stride, padding before (and after), groups.
type Case = (&'static str, [usize; 4], usize, usize, usize, usize, usize);
const CASES: [Case; 13] = [
    ("lenet_c1", [32, 28, 28, 1], 6, 5, 1, 2, 1),
    ("lenet_c2", [32, 14, 14, 6], 16, 5, 1, 0, 1),
    ("alexnet_c1", [8, 227, 227, 3], 96, 11, 4, 0, 1),
    ("alexnet_c2", [8, 27, 27, 96], 256, 5, 1, 2, 1),
    ("alexnet_c3", [8, 13, 13, 256], 384, 3, 1, 1, 1),
    ("vgg_56x128", [4, 56, 56, 128], 128, 3, 1, 1, 1),
    ("vgg_224x3", [2, 224, 224, 3], 64, 3, 1, 1, 1),
    ("resnet_56x64", [8, 56, 56, 64], 64, 3, 1, 1, 1),
    ("resnet_28x128", [8, 28, 28, 128], 128, 3, 1, 1, 1),
    ("resnet_14x256", [8, 14, 14, 256], 256, 3, 1, 1, 1),
    ("resnet_7x512", [8, 7, 7, 512], 512, 3, 1, 1, 1),
    ("resnet_1x1_56x64_256", [8, 56, 56, 64], 256, 1, 1, 0, 1),
    ("dw3x3_56x128", [8, 56, 56, 128], 128, 3, 1, 1, 128),
];

fn main() {
    support::main(|bench| {
        for case in CASES {
            rows(bench, case);
        }
    });
}

fn rows(bench: &mut Bench, (name, input, out_c, kernel, stride, pad, groups): Case) {
    let passes = ["forward", "data", "weights", "both ways"].map(|pass| format!("{name} {pass}"));
    if !passes.iter().any(|row| bench.wants(row)) {
        return;
    }
    let padding = if pad > 0 { Padding::Same } else { Padding::Valid };
    let Ok(g) = Conv2d::new(input, [kernel; 2], out_c, [stride; 2], [1, 1], padding, groups) else { return };
    println!("# {name}: {}", g.plan());
    let values = |n: usize| (0..n).map(|i| (i * 7919 % 1000) as f32 * 1e-3 - 0.5).collect::<Vec<f32>>();
    let (x, weights, dy, bias) = (values(g.input_len()), values(g.kernel_len()), values(g.output_len()), values(out_c));
    let (mut y, mut dx, mut dw, mut db) = (dy.clone(), x.clone(), weights.clone(), bias.clone());
    let (workspace, threads) = (Workspace::new(), bench.threads);
    let bias = Some(bias.as_slice());
    let mut row = |row: usize, times: f64, run: &mut (dyn FnMut() + Send)| {
        bench.row(&passes[row], times * g.flops(), vec![Contender::new("cornu", threads, run)]);
    };
    row(0, 1.0, &mut || g.forward(&x, &weights, bias, &mut y, &workspace));
    row(1, 1.0, &mut || g.backward_data(&dy, &weights, &mut dx, &workspace));
    row(2, 1.0, &mut || g.backward_weights(&x, &dy, &mut dw, &workspace));
    row(3, 3.0, &mut || {
        g.forward(&x, &weights, bias, &mut y, &workspace);
        g.backward(&x, &dy, &weights, &mut dx, &mut dw, Some(&mut db), &workspace);
    });
}
