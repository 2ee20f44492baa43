//! A multi-layer perceptron on MNIST: the network a course starts with, before convolutions.
//!
//! `cargo run --release --example mlp`
use cornu::prelude::*;

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let (train, test) = datasets::mnist::load("examples/data/mnist")?;

    let mut model = Sequential::new().with_seed(42);
    model
        .add(Input::new([28, 28, 1]))
        .add(Rescaling::new(1.0 / 255.0))
        .add(Flatten::new())
        .add(Dense::new(512).activation("relu").kernel_initializer("he_normal"))
        .add(Dropout::new(0.3))
        .add(Dense::new(256).activation("relu").kernel_initializer("he_normal"))
        .add(Dropout::new(0.3))
        .add(Dense::new(10).activation("softmax"));
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])?;
    println!("{}", model.summary());

    // The pixels stay bytes, a quarter of the memory: the first layer scales them.
    let options = Fit::new()
        .epochs(if short { 1 } else { 10 })
        .batch_size(128)
        .validation_split(0.1)
        .callback(ReduceLROnPlateau::new().monitor("val_loss").patience(1).factor(0.3));
    // Ctrl-C ends training after the batch that runs; what is there by then is tested.
    #[cfg(feature = "interrupt")]
    let options = options.callback(StopOnInterrupt::new());
    model.fit(&train.x, &train.y, options)?;

    let scores = model.evaluate(&test.x, &test.y, Evaluate::new().batch_size(256))?;
    println!("test loss: {:.4}", scores["loss"]);
    println!("test accuracy: {:.4}", scores["accuracy"]);
    Ok(())
}
