//! Whole epochs of training and prediction: samples a second on one thread and on all, and their ratio.
//!
//! `cargo bench --bench training [-- NAME…]`. With `--json`, one line for each workload, all threads only,
//! as `benches/peers/compare.py` reads it.
use cornu::prelude::*;
use cornu::runtime::threads;
use ndarray::{Array1, Array4};
use std::time::Instant;

/// Samples of made-up 28 x 28 images in an epoch; training time does not depend on what they show.
const SAMPLES: usize = 12_800;

struct Workload {
    name: &'static str,
    batch_size: usize,
    model: fn() -> cornu::Result<Sequential>,
    predicts: bool,
}

fn lenet5() -> cornu::Result<Sequential> {
    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([28, 28, 1]))
        .add(Conv2D::new(6, 5).padding(Padding::Same).activation("relu"))
        .add(MaxPooling2D::new(2))
        .add(Conv2D::new(16, 5).activation("relu"))
        .add(MaxPooling2D::new(2))
        .add(Flatten::new())
        .add(Dense::new(120).activation("relu"))
        .add(Dense::new(84).activation("relu"))
        .add(Dense::new(10).activation("softmax"));
    model.compile(Sgd::new(0.01).momentum(0.9), "sparse_categorical_crossentropy", ["accuracy"])?;
    Ok(model)
}

fn mlp() -> cornu::Result<Sequential> {
    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([28, 28, 1]))
        .add(Flatten::new())
        .add(Dense::new(128).activation("relu"))
        .add(Dense::new(10).activation("softmax"));
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])?;
    Ok(model)
}

fn convnet() -> cornu::Result<Sequential> {
    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([28, 28, 1]))
        .add(Conv2D::new(32, 3).activation("relu"))
        .add(MaxPooling2D::new(2))
        .add(Conv2D::new(64, 3).activation("relu"))
        .add(MaxPooling2D::new(2))
        .add(Flatten::new())
        .add(Dropout::new(0.5))
        .add(Dense::new(10).activation("softmax"));
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])?;
    Ok(model)
}

const WORKLOADS: &[Workload] = &[
    Workload { name: "lenet5_b32_epoch", batch_size: 32, model: lenet5, predicts: false },
    Workload { name: "lenet5_b128_epoch", batch_size: 128, model: lenet5, predicts: false },
    Workload { name: "lenet5_b256_infer", batch_size: 256, model: lenet5, predicts: true },
    Workload { name: "mlp_b32_epoch", batch_size: 32, model: mlp, predicts: false },
    Workload { name: "mlp_b128_epoch", batch_size: 128, model: mlp, predicts: false },
    Workload { name: "convnet_b128_epoch", batch_size: 128, model: convnet, predicts: false },
];

/// The median and the least time of a pass over the samples, in seconds, after one that does not count.
fn measure(workload: &Workload, x: &Array4<f32>, y: &Array1<u8>, passes: usize) -> cornu::Result<(f64, f64)> {
    let mut model = (workload.model)()?;
    let mut seconds = Vec::new();
    for pass in 0..=passes {
        let start = Instant::now();
        if workload.predicts {
            model.predict(x, Predict::new().batch_size(workload.batch_size))?;
        } else {
            model.fit(x, y, Fit::new().batch_size(workload.batch_size).verbose(0))?;
        }
        if pass > 0 {
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    seconds.sort_by(f64::total_cmp);
    Ok((seconds[seconds.len() / 2], seconds[0]))
}

fn main() -> cornu::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let json = arguments.iter().any(|a| a == "--json");
    let names: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let x =
        Array4::from_shape_fn((SAMPLES, 28, 28, 1), |(n, i, j, _)| ((n * 31 + i * 7 + j * 13) % 256) as f32 / 255.0);
    let y = Array1::from_shape_fn(SAMPLES, |n| (n % 10) as u8);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if !json {
        println!("{:<20} {:>14} {:>14} {:>7}", "samples a second", "1 thread", format!("{cores} threads"), "ratio");
    }
    for workload in WORKLOADS.iter().filter(|w| names.is_empty() || names.iter().any(|n| w.name.contains(n.as_str()))) {
        let rate = |seconds: f64| SAMPLES as f64 / seconds;
        let (all, least) = threads::with_num_threads(cores, || measure(workload, &x, &y, 5))?;
        if json {
            println!("{{\"name\": \"{}\", \"median\": {:.1}, \"best\": {:.1}}}", workload.name, rate(all), rate(least));
            continue;
        }
        let (one, _) = threads::with_num_threads(1, || measure(workload, &x, &y, 5))?;
        println!("{:<20} {:>14.0} {:>14.0} {:>7.2}", workload.name, rate(one), rate(all), one / all);
    }
    Ok(())
}
