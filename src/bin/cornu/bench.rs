use crate::{args, arrays, print};
use cornu::kernels::{instruction_set, peak_flops};
use cornu::runtime::threads;
use cornu::training::Predict;
use cornu::{Error, Model, Result, Shape, Tensor};
use ndarray::ArrayD;
use serde_json::{Value, json};
use std::time::Instant;

/// Steps before those that are measured: they warm caches, clock and workspace.
const WARM_UP: usize = 3;
/// What a dimension is taken for that the model leaves open.
const OPEN: usize = 32;

/// `cornu bench`: how long a step takes on random inputs, and how far that is from what the processor can do.
pub fn run(args: &args::Bench) -> Result<()> {
    let mut model = Model::load(&args.model)?;
    model.build()?;
    let threads = args.threads.or_else(|| std::env::var("CORNU_NUM_THREADS").ok()?.parse().ok().filter(|n| *n > 0));
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let x = random(model.input_shapes()?, args.batch_size, 1)?;
    if args.train && model.get_compile_config()?.is_none() {
        model.compile("sgd", "mse", ())?;
    }
    let y = if args.train { targets(&model, args.batch_size)? } else { Vec::new() };
    let mut seconds = threads::with_num_threads(threads, || -> Result<Vec<f64>> {
        (0..WARM_UP + args.steps)
            .map(|_| {
                let start = Instant::now();
                match args.train {
                    true => drop(model.train_on_batch(arrays::inputs(&x), arrays::inputs(&y))?),
                    false => drop(model.predict_all(arrays::inputs(&x), Predict::new().batch_size(args.batch_size))?),
                }
                Ok(start.elapsed().as_secs_f64())
            })
            .skip(WARM_UP)
            .collect()
    })?;
    seconds.sort_by(f64::total_cmp);
    let (median, minimum) = (seconds[seconds.len() / 2], seconds[0]);
    let passes = if args.train { 3.0 } else { 1.0 };
    let rate = passes * model.flops()? * args.batch_size as f64 / median;
    let limit = peak_flops(threads);
    let memory = peak_memory();
    if args.json {
        return print(json!({
            "batch_size": args.batch_size, "train": args.train, "steps": args.steps, "threads": threads,
            "instruction_set": instruction_set(),
            "median_ms": median * 1e3, "minimum_ms": minimum * 1e3,
            "samples_per_second": args.batch_size as f64 / median,
            "gflops": rate / 1e9, "limit_gflops": limit / 1e9, "percent_of_limit": 100.0 * rate / limit,
            "peak_memory_mib": memory,
        }));
    }
    let what = if args.train { "training" } else { "prediction" };
    print(format_args!(
        "{what}, batch size {}, {threads} threads, {}, {} steps\n\
         ms a step       {:.3} (median), {:.3} (minimum)\n\
         samples/s       {:.0}\n\
         GFLOP/s         {:.1}, {:.0}% of the measured limit of {:.0}\n\
         peak memory     {}",
        args.batch_size,
        instruction_set(),
        args.steps,
        median * 1e3,
        minimum * 1e3,
        args.batch_size as f64 / median,
        rate / 1e9,
        100.0 * rate / limit,
        limit / 1e9,
        memory.map_or("not known on this system".to_owned(), |mib| format!("{mib:.0} MiB")),
    ))
}

/// Numbers from 0 to 1: as indices, which an Embedding wants, they are 0.
pub fn random(shapes: Vec<Shape>, batch: usize, seed: u64) -> Result<Vec<ArrayD<f32>>> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut one = |shape: &Shape| {
        let sample = shape.sample().iter().map(|d| d.unwrap_or(OPEN));
        let dims: Vec<usize> = std::iter::once(batch).chain(sample).collect();
        let size = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|size| *size < 1 << 40);
        let size = size.ok_or_else(|| Error::Shape(format!("a batch of shape {dims:?} is too large")))?;
        Ok(Tensor::new(&dims, (0..size).map(|_| next()).collect())?.into_array())
    };
    shapes.iter().map(&mut one).collect()
}

/// Targets that the loss can take: class 0 for the losses of labels, else random numbers.
fn targets(model: &Model, batch: usize) -> Result<Vec<ArrayD<f32>>> {
    let loss = model.get_compile_config()?.and_then(|mut settings| settings.remove("loss")).unwrap_or_default();
    let name = |loss: &Value| loss["class_name"].as_str().or(loss.as_str()).unwrap_or_default().to_lowercase();
    let loss_of = |i: usize| match &loss {
        Value::Array(losses) => losses.get(i).map(name).unwrap_or_default(),
        one => name(one),
    };
    let mut shapes = model.output_shapes()?;
    let labels: Vec<bool> = (0..shapes.len()).map(|i| loss_of(i).contains("sparse")).collect();
    for (shape, _) in shapes.iter_mut().zip(&labels).filter(|(_, labels)| **labels) {
        *shape = Shape::new(shape.dims()[..shape.rank() - 1].to_vec());
    }
    let mut y = random(shapes, batch, 2)?;
    y.iter_mut().zip(labels).filter(|(_, labels)| *labels).for_each(|(y, _)| y.fill(0.0));
    Ok(y)
}

/// The most memory that this process has had, in MiB, where the system tells.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}
