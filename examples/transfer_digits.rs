//! Transfer learning, all offline: a network learns the digits 0 to 4 of MNIST, and its convolutions are used again to
//! tell 5 to 9 apart, of which it sees only a few images a class.
//!
//! Three ways, several seeds: a network that starts from nothing; the convolutions frozen, with a new head on their
//! features, which are computed once; and then the last convolution set free as well, at a small rate.
//!
//! `cargo run --release --example transfer_digits`
use cornu::prelude::*;
use ndarray::{Array1, Array4, Axis};

const WAYS: [&str; 3] = ["from scratch", "frozen base", "fine-tuned"];

/// Images and classes from 0 to 4.
type Images = (Array4<f32>, Array1<u8>);

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let (seeds, per_class, epochs) = if short { (2, vec![5], 10) } else { (5, vec![1, 2, 5, 10, 20], 40) };
    let (train, test) = datasets::mnist::load("examples/data/mnist")?;
    let first = numbers(&train, 0..5, if short { 1000 } else { 10_000 });
    let (second, tests) = (numbers(&train, 5..10, 1000), numbers(&test, 5..10, if short { 300 } else { 2000 }));
    println!("{} images of 0 to 4 to learn from, {} of 5 to 9 to test on", first.1.len(), tests.1.len());
    println!("test accuracy for 5 to 9, mean ± deviation of {seeds} seeds");
    println!("{:>14} | {:^15} | {:^15} | {:^15}", "images a class", WAYS[0], WAYS[1], WAYS[2]);
    let bases = (0..seeds).map(|seed| base(seed, &first, 2)).collect::<cornu::Result<Vec<_>>>()?;
    for &count in &per_class {
        let mut found: [Vec<f64>; 3] = Default::default();
        for (seed, base) in (0..).zip(&bases) {
            let few = few(&second, count, seed as usize);
            let accuracies = [
                from_scratch(seed, &few, &tests, epochs)?,
                reused(seed, base, &few, &tests, epochs, false)?,
                reused(seed, base, &few, &tests, epochs, true)?,
            ];
            found.iter_mut().zip(accuracies).for_each(|(all, accuracy)| all.push(accuracy));
        }
        let cells: Vec<String> = found.iter().map(|all| format!("{:.3} ± {:.3}", mean(all), deviation(all))).collect();
        println!("{count:>14} | {:^15} | {:^15} | {:^15}", cells[0], cells[1], cells[2]);
    }
    Ok(())
}

/// The convolutions.
fn convolutions(seed: u64) -> cornu::Result<Sequential> {
    let mut model = Sequential::new().with_name("base").with_seed(seed);
    model
        .add(Input::new([28, 28, 1]))
        .add(Conv2D::new(16, 5).padding(Padding::Same).activation("relu").name("conv1"))
        .add(MaxPooling2D::new(2).name("pool1"))
        .add(Conv2D::new(32, 3).padding(Padding::Same).activation("relu").name("conv2"))
        .add(MaxPooling2D::new(2).name("pool2"));
    model.build()?;
    Ok(model)
}

/// A classifier for five classes on features of this shape.
fn head(seed: u64, features: &[usize]) -> cornu::Result<Sequential> {
    let mut model = Sequential::new().with_name("head").with_seed(seed + 100);
    model.add(Input::new(features)).add(Flatten::new()).add(Dense::new(5).activation("softmax"));
    model.build()?;
    Ok(model)
}

/// A base and a head as one model, of which both stay parts.
fn joined(base: &Sequential, head: &Sequential) -> Sequential {
    let mut model = Sequential::new();
    model.add(Input::new([28, 28, 1])).add(base.as_layer()).add(head.as_layer());
    model
}

fn train(model: &mut Sequential, x: &Array4<f32>, y: &Array1<u8>, rate: f64, epochs: usize) -> cornu::Result<()> {
    model.compile(Adam::new(rate), "sparse_categorical_crossentropy", ["accuracy"])?;
    model.fit(x, y, Fit::new().epochs(epochs).batch_size(16).verbose(0)).map(drop)
}

fn accuracy(model: &mut Sequential, (x, y): &Images) -> cornu::Result<f64> {
    Ok(model.evaluate(x, y, Evaluate::default())?["accuracy"])
}

/// Convolutions that have learned to tell 0 to 4 apart.
fn base(seed: u64, (x, y): &Images, epochs: usize) -> cornu::Result<Sequential> {
    let base = convolutions(seed)?;
    let mut model = joined(&base, &head(seed, &[7, 7, 32])?);
    train(&mut model, x, y, 2e-3, epochs)?;
    Ok(base)
}

fn from_scratch(seed: u64, (x, y): &Images, test: &Images, epochs: usize) -> cornu::Result<f64> {
    let mut model = joined(&convolutions(seed + 1000)?, &head(seed, &[7, 7, 32])?);
    train(&mut model, x, y, 2e-3, epochs)?;
    accuracy(&mut model, test)
}

fn reused(
    seed: u64,
    base: &Sequential,
    (x, y): &Images,
    test: &Images,
    epochs: usize,
    tune: bool,
) -> cornu::Result<f64> {
    // 1. The base runs once; the head learns on what it gave.
    let features = base.predict(x, Predict::default())?;
    let features = features.into_dimensionality().map_err(|error| cornu::Error::Shape(error.to_string()))?;
    let mut head = head(seed, &[7, 7, 32])?;
    train(&mut head, &features, y, 2e-3, epochs)?;
    // 2. Both together; the base stays as it is,
    let mut model = joined(base, &head);
    base.layers().iter().for_each(|layer| layer.set_trainable(false));
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])?;
    if tune {
        // 3. or its last convolution goes on learning, slowly: the head is good already. What the seeds share is kept.
        let before = base.get_weights();
        base.layer("conv2")?.set_trainable(true);
        train(&mut model, x, y, 2e-4, epochs)?;
        let accuracy = accuracy(&mut model, test);
        base.weights().iter().zip(before).try_for_each(|(weight, value)| weight.set(value))?;
        return accuracy;
    }
    accuracy(&mut model, test)
}

/// The first `most` images of these digits, with their classes counted from 0.
fn numbers(digits: &datasets::Split, wanted: std::ops::Range<u8>, most: usize) -> Images {
    let rows = (0..digits.len()).filter(|&i| wanted.contains(&digits.y[i]));
    let rows: Vec<usize> = rows.take(most).collect();
    let x = digits.x.select(Axis(0), &rows).mapv(|pixel| f32::from(pixel) / 255.0);
    (x, digits.y.select(Axis(0), &rows).mapv(|y| y - wanted.start))
}

/// So many images of each class, other ones for each seed.
fn few((x, y): &Images, count: usize, seed: usize) -> Images {
    let of = |class: u8| (0..y.len()).filter(move |&i| y[i] == class).skip(seed * count).take(count);
    let rows: Vec<usize> = (0..5).flat_map(of).collect();
    (x.select(Axis(0), &rows), y.select(Axis(0), &rows))
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1).max(1) as f64).sqrt()
}
