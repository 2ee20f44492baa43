//! Several networks that differ in their seeds alone, and their mean as one more model: it errs less than each.
//!
//! `cargo run --release --example ensemble -- [folder of MNIST]`
use cornu::prelude::*;
use ndarray::s;

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    // Few images to learn from, so that there is something left to get wrong.
    let (members, epochs, few, tests) = if short { (3, 4, 500, 500) } else { (7, 20, 2000, 10_000) };
    let folder = std::env::args().nth(1).unwrap_or_else(|| "examples/data/mnist".to_owned());
    let (train, test) = datasets::mnist::load(folder)?;
    let (x, y) = (train.x.slice(s![..few, .., .., ..]), train.y.slice(s![..few]));
    let (x_test, y_test) = (test.x.slice(s![..tests, .., .., ..]), test.y.slice(s![..tests]));
    println!("{few} images to learn from, {tests} to test on");

    let image = Input::new([28, 28, 1]).node();
    let mut outputs = Vec::new();
    let mut accuracies = Vec::new();
    for seed in 0..members {
        let mut model = Sequential::new().with_seed(seed).with_name(&format!("member_{seed}"));
        model
            .add(Input::new([28, 28, 1]))
            .add(Rescaling::new(1.0 / 255.0))
            .add(Conv2D::new(8, 3).padding(Padding::Same).activation("relu"))
            .add(MaxPooling2D::new(2))
            .add(Conv2D::new(16, 3).activation("relu"))
            .add(MaxPooling2D::new(2))
            .add(Flatten::new())
            .add(Dense::new(32).activation("relu"))
            .add(Dense::new(10).activation("softmax"));
        model.compile(Adam::new(2e-3), "sparse_categorical_crossentropy", ["accuracy"])?;
        model.fit(&x, &y, Fit::new().epochs(epochs).verbose(0))?;
        let accuracy = model.evaluate(&x_test, &y_test, Evaluate::default())?["accuracy"];
        println!("network {seed}: accuracy {accuracy:.4}");
        accuracies.push(accuracy);
        outputs.push(model.call(&image)?);
    }
    // The mean of the probabilities is a model like any other: it can be evaluated, saved, trained further.
    let mut ensemble = Model::new(&image, &Average::new().call(&outputs)?)?;
    ensemble.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])?;
    let together = ensemble.evaluate(&x_test, &y_test, Evaluate::default())?["accuracy"];
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    let mean = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
    println!("\nthe networks: mean {mean:.4}, best {best:.4}; together: test accuracy {together:.4}");
    Ok(())
}
