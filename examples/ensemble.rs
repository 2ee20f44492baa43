//! Several networks that differ in their seeds alone, and their mean as one more model: it errs less than each.
//!
//! `cargo run --release --example ensemble`
use cornu::data::train_test_split;
use cornu::prelude::*;

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let (members, epochs) = if short { (3, 4) } else { (7, 25) };
    let digits = datasets::digits();
    // Few images to learn from, so that there is something left to get wrong.
    let (x_train, x_test, y_train, y_test) = train_test_split(&digits.x, &digits.y, 0.7, 1)?;
    println!("{} images to learn from, {} to test on", y_train.len(), y_test.len());

    let image = Input::new([8, 8, 1]).node();
    let mut outputs = Vec::new();
    let mut accuracies = Vec::new();
    for seed in 0..members {
        let mut model = Sequential::new().with_seed(seed).with_name(&format!("member_{seed}"));
        model
            .add(Input::new([8, 8, 1]))
            .add(Rescaling::new(1.0 / 16.0))
            .add(Conv2D::new(8, 3).padding(Padding::Same).activation("relu"))
            .add(MaxPooling2D::new(2))
            .add(Flatten::new())
            .add(Dense::new(32).activation("relu"))
            .add(Dense::new(10).activation("softmax"));
        model.compile(Adam::new(3e-3), "sparse_categorical_crossentropy", ["accuracy"])?;
        model.fit(&x_train, &y_train, Fit::new().epochs(epochs).verbose(0))?;
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
