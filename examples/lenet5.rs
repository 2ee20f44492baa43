//! LeNet-5 learns MNIST: build, compile, fit, look at the curves, evaluate, save, load, predict.
use cornu::prelude::*;

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let (train, test) = datasets::mnist::load("examples/data/mnist")?;

    let mut model = Sequential::new().with_seed(42);
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
    model.compile(Sgd::new(0.05).momentum(0.9), "sparse_categorical_crossentropy", ["accuracy"])?;
    println!("{}", model.summary());
    let x = train.x_f32();
    let _history = model.fit(
        &x,
        &train.y,
        Fit::new().epochs(if short { 1 } else { 10 }).verbose(1).batch_size(128).validation_split(0.1),
    )?;
    let scores = model.evaluate(&test.x_f32(), &test.y, Evaluate::default())?;
    println!("test accuracy: {:.4}", scores["accuracy"]);
    Ok(())
}
