//! All that is not a product or a convolution: how near it comes to the speed at which memory can be copied.
//!
//! `cargo bench --bench layers [-- NAME…]`. Each row has one tensor that fits the second-level cache and one that
//! does not. `GB/s` counts the bytes that must be read and written at least once; `copy` is their share of what
//! `copy_from_slice` moves, in turns with it, on as many threads.
use cornu::activations::Activation;
use cornu::layer::{Backward, Build, Forward, Gradients, Values};
use cornu::losses::{self, Loss};
use cornu::optimizers::{self, Optimizer, OptimizerState, Update};
use cornu::prelude::*;
use cornu::runtime::{Workspace, threads};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// The values of a small and of a large tensor.
const SIZES: [(&str, usize); 2] = [("L2", 1 << 16), ("memory", 1 << 24)];
const BYTES: f64 = size_of::<f32>() as f64;

/// Numbers around zero.
fn noise(n: usize) -> Vec<f32> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 22) as f32 - 2.0
    };
    (0..n).map(next).collect()
}

fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed().as_secs_f64()
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

struct Bench {
    names: Vec<String>,
    threads: usize,
}

impl Bench {
    /// Whether the arguments ask for this row: all do if they name none.
    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part.as_str()))
    }

    /// Measures what moves `passes` times the bytes of `n` values: `run` does it once and tells its seconds.
    fn row(&self, name: &str, (size, n): (&str, usize), passes: f64, mut run: impl FnMut() -> f64) {
        let (from, mut to) = (noise(n), vec![0.0; n]);
        let rounds = if n > 1 << 20 { 9 } else { 201 };
        let (mut own, mut copies) = (Vec::new(), Vec::new());
        for round in 0..rounds + 3 {
            let mut parts: Vec<_> =
                to.chunks_mut(n.div_ceil(self.threads)).zip(from.chunks(n.div_ceil(self.threads))).collect();
            let copy = seconds(|| threads::for_each(&mut parts, |_, (to, from)| to.copy_from_slice(from)));
            let run = run();
            // The first ones meet cold memory.
            if round >= 3 {
                own.push(run);
                copies.push(copy);
            }
        }
        let (own, copy) = (median(own), median(copies));
        let rate = |passes: f64, seconds: f64| passes * n as f64 * BYTES / seconds / 1e9;
        let (rate, limit) = (rate(passes, own), rate(2.0, copy));
        println!(
            "{name:<34} {size:<7} {:>3} {:>10.1} {rate:>8.1} {:>6.0}%",
            self.threads,
            own * 1e6,
            100.0 * rate / limit
        );
    }
}

fn activations(bench: &Bench) -> cornu::Result<()> {
    let all = ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "softplus", "gelu", "silu", "mish", "softmax"];
    for (name, size) in all.into_iter().flat_map(|name| SIZES.map(|size| (name, size))) {
        if !bench.wants(name) {
            continue;
        }
        let activation: Activation = name.parse()?;
        // Softmax over ten classes.
        let last = if name == "softmax" { 10 } else { 64 };
        let n = size.1 / last * last;
        let x = Tensor::new([n / last, last], noise(n))?;
        let mut y = Tensor::zeros(x.shape());
        bench.row(name, size, 2.0, || {
            y.data_mut().copy_from_slice(x.data());
            seconds(|| activation.apply(&mut y).unwrap())
        });
        let mut gradient = Tensor::zeros(x.shape());
        bench.row(&format!("{name} backward"), size, 3.0, || {
            gradient.data_mut().copy_from_slice(x.data());
            seconds(|| activation.backward(Some(&x), &y, &mut gradient).unwrap())
        });
    }
    Ok(())
}

/// A layer in a model of its own, which measures it: the model's memory is recycled as in training.
struct Timed {
    layer: Box<dyn Layer>,
    input: Tensor,
    gradient: Tensor,
    /// Seconds of the last forward and backward call.
    took: Arc<Mutex<[f64; 2]>>,
}

impl Layer for Timed {
    fn build(&mut self, _: &[Shape], cx: &mut Build) -> cornu::Result<()> {
        let shape = |tensor: &Tensor| Shape::new(tensor.shape().iter().map(|&n| Some(n)).collect::<Vec<_>>());
        self.layer.build(&[shape(&self.input)], cx)
    }
    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> cornu::Result<Values> {
        let mut x = cx.scratch(self.input.shape());
        x.data_mut().copy_from_slice(self.input.data());
        let start = Instant::now();
        let y = cx.child(0, &*self.layer, x.into())?;
        self.took.lock().unwrap()[0] = start.elapsed().as_secs_f64();
        drop(y);
        inputs.one().map(Values::from)
    }
    fn backward(&self, _: Values, cx: &mut Backward<'_>) -> cornu::Result<Gradients> {
        let mut gradient = cx.scratch(self.gradient.shape());
        gradient.data_mut().copy_from_slice(self.gradient.data());
        let start = Instant::now();
        let dx = cx.child(&*self.layer, gradient.into(), &[true])?;
        self.took.lock().unwrap()[1] = start.elapsed().as_secs_f64();
        drop(dx);
        Ok(None.into())
    }
    fn visit(&self, visit: &mut dyn FnMut(&cornu::layer::Param)) {
        self.layer.visit(visit);
    }
    fn couples_samples(&self) -> bool {
        true
    }
}

fn layer(
    bench: &Bench,
    name: &str,
    size: (&str, usize),
    channels: usize,
    shrinks: usize,
    passes: [f64; 2],
    layer: impl Layer,
) -> cornu::Result<()> {
    if !bench.wants(name) {
        return Ok(());
    }
    // Images of 16 x 16, whole ones.
    let batch = size.1.div_ceil(256 * channels);
    let n = batch * 256 * channels;
    let outputs = n / shrinks;
    let input = Tensor::new([batch, 16, 16, channels], noise(n))?;
    let shape = match shrinks {
        1 => vec![batch, 16, 16, channels],
        4 => vec![batch, 8, 8, channels],
        _ => vec![batch, channels],
    };
    let took = Arc::new(Mutex::new([0.0; 2]));
    let gradient = Tensor::new(shape, noise(outputs))?;
    let timed = Timed { layer: Box::new(layer), input, gradient, took: took.clone() };
    let mut model = Sequential::new();
    model.add(Input::new([1])).add(Dense::new(1)).add(timed);
    model.compile(Sgd::new(0.0), "mse", ())?;
    let one = ndarray::Array2::<f32>::zeros((1, 1));
    for (pass, label) in ["", " backward"].into_iter().enumerate() {
        bench.row(&format!("{name}{label}"), (size.0, n), passes[pass], || {
            model.train_on_batch(&one, &one).unwrap();
            took.lock().unwrap()[pass]
        });
    }
    Ok(())
}

fn layers(bench: &Bench) -> cornu::Result<()> {
    for size in SIZES {
        layer(bench, "batch_normalization c64", size, 64, 1, [2.0, 3.0], BatchNormalization::new())?;
        layer(bench, "batch_normalization c6", size, 6, 1, [2.0, 3.0], BatchNormalization::new())?;
        layer(bench, "max_pooling c64", size, 64, 4, [1.25, 2.5], MaxPooling2D::new(2))?;
        layer(bench, "average_pooling c64", size, 64, 4, [1.25, 1.25], AveragePooling2D::new(2))?;
        layer(bench, "average_pooling c6", size, 6, 4, [1.25, 1.25], AveragePooling2D::new(2))?;
        layer(bench, "global_average_pooling c64", size, 64, 256, [1.0, 1.0], GlobalAveragePooling2D::new())?;
        layer(bench, "global_max_pooling c64", size, 64, 256, [1.0, 2.0], GlobalMaxPooling2D::new())?;
        layer(bench, "lrn c64", size, 64, 1, [3.0, 4.0], LocalResponseNormalization::new())?;
        layer(bench, "dropout", size, 64, 1, [2.0, 2.0], Dropout::new(0.5))?;
        layer(bench, "rescaling", size, 64, 1, [2.0, 2.0], Rescaling::new(0.5))?;
    }
    Ok(())
}

fn optimizers(bench: &Bench) -> cornu::Result<()> {
    // By name, and how many times the bytes of the weights move: weight, gradient, and the slots twice.
    let all: [(&str, Shared<dyn Optimizer>, f64); 9] = [
        ("sgd", Sgd::new(1e-3).into(), 3.0),
        ("sgd momentum", Sgd::new(1e-3).momentum(0.9).into(), 5.0),
        ("sgd nesterov", Sgd::new(1e-3).momentum(0.9).nesterov(true).into(), 5.0),
        ("adam", optimizers::Adam::new(1e-3).into(), 7.0),
        ("rmsprop", optimizers::RMSprop::new(1e-3).into(), 5.0),
        ("adagrad", optimizers::Adagrad::new(1e-3).into(), 5.0),
        ("adadelta", optimizers::Adadelta::new(1e-3).into(), 7.0),
        ("lion", optimizers::Lion::new(1e-3).into(), 5.0),
        ("nadam", optimizers::Nadam::new(1e-3).into(), 7.0),
    ];
    for ((name, optimizer, passes), size) in all.iter().flat_map(|all| SIZES.map(|size| (all, size))) {
        if !bench.wants(name) {
            continue;
        }
        let mut state = OptimizerState::new(&**optimizer)?;
        let (mut weight, mut gradient) = (Tensor::new([size.1], noise(size.1))?, noise(size.1));
        bench.row(name, size, *passes, || {
            let mut updates = [Update::new("weight", &mut weight, &mut gradient)];
            seconds(|| state.apply(&**optimizer, &mut updates).unwrap())
        });
    }
    Ok(())
}

/// Adam on units that have died: their gradients are zero, and their moments decay for ever.
fn dead_units(bench: &Bench) -> cornu::Result<()> {
    if !bench.wants("adam dead") {
        return Ok(());
    }
    let optimizer = optimizers::Adam::new(1e-3);
    let n = SIZES[0].1;
    let mut state = OptimizerState::new(&optimizer)?;
    let (mut weight, mut gradient) = (Tensor::new([n], noise(n))?, noise(n));
    for step in 0..1200 {
        if step == 1 {
            gradient.fill(0.0);
        }
        state.apply(&optimizer, &mut [Update::new("weight", &mut weight, &mut gradient)])?;
    }
    bench.row("adam dead units", SIZES[0], 7.0, || {
        let mut updates = [Update::new("weight", &mut weight, &mut gradient)];
        seconds(|| state.apply(&optimizer, &mut updates).unwrap())
    });
    Ok(())
}

fn losses(bench: &Bench) -> cornu::Result<()> {
    let all = ["sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy", "mse", "huber"];
    for (name, size) in all.into_iter().flat_map(|name| SIZES.map(|size| (name, size))) {
        if !bench.wants(name) {
            continue;
        }
        let loss: Shared<dyn Loss> = name.into();
        let workspace = Workspace::new();
        let (classes, sparse) = (10, name.starts_with("sparse"));
        let rows = size.1 / classes;
        let mut y_pred = Tensor::scratch([rows, classes], &workspace);
        y_pred.data_mut().copy_from_slice(&noise(rows * classes));
        Activation::Softmax.apply(&mut y_pred)?;
        let class = |row: usize| row * 7 % classes;
        let y_true = match sparse {
            true => Tensor::new([rows], (0..rows).map(|row| class(row) as f32).collect())?,
            false => Tensor::new(
                [rows, classes],
                (0..rows * classes).map(|i| f32::from(u8::from(class(i / classes) == i % classes))).collect(),
            )?,
        };
        let weights = losses::entry_weights(&*loss, &y_true, &[rows], None)?;
        let targets = if sparse { 0.1 } else { 1.0 };
        bench.row(name, (size.0, rows * classes), 1.1 + targets, || seconds(|| loss.call(&y_true, &y_pred).unwrap()));
        bench.row(&format!("{name} gradient"), (size.0, rows * classes), 2.1 + targets, || {
            seconds(|| loss.gradient(&y_true, &y_pred, &weights).unwrap())
        });
    }
    Ok(())
}

fn sums(bench: &Bench) {
    for columns in [6, 16, 10, 84, 120, 128] {
        let rows = SIZES[0].1 / columns;
        let x = noise(rows * columns);
        let mut sums = vec![0.0; columns];
        let name = format!("add_column_sums c{columns}");
        if bench.wants(&name) {
            bench.row(&name, ("L2", x.len()), 1.0, || {
                seconds(|| cornu::kernels::reduce::add_column_sums(&x, &mut sums))
            });
        }
    }
    for size in SIZES.into_iter().filter(|_| bench.wants("sum_of_squares")) {
        let x = noise(size.1);
        bench.row("sum_of_squares", size, 1.0, || seconds(|| cornu::kernels::reduce::sum_of_squares(&x)));
    }
}

fn main() -> cornu::Result<()> {
    let names: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{}", cornu::kernels::instruction_set());
    println!("{:<34} {:<7} {:>3} {:>10} {:>8} {:>7}", "row", "size", "thr", "µs", "GB/s", "copy");
    for threads in [1, cores] {
        let bench = Bench { names: names.clone(), threads };
        threads::with_num_threads(threads, || -> cornu::Result<()> {
            activations(&bench)?;
            layers(&bench)?;
            optimizers(&bench)?;
            dead_units(&bench)?;
            losses(&bench)?;
            sums(&bench);
            Ok(())
        })?;
    }
    Ok(())
}
