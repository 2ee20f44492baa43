//! LeNet-5 (LeCun et al. 1998, with today's relu and max-pooling) learns MNIST: build, compile, fit,
//! look at the curves, evaluate, save, load, predict.
//!
//! `cargo run --release --example lenet5`
use cornu::prelude::*;
use ndarray::s;

fn main() -> cornu::Result<()> {
    let epochs = if std::env::var_os("CORNU_SHORT").is_some() { 1 } else { 12 };
    let (train, test) = datasets::mnist::load("examples/data/mnist")?;
    println!("{} images to train and validate on, {} to test on", train.len(), test.len());

    let mut model = Sequential::new().with_seed(42).with_name("lenet5");
    model
        .add(Input::new([28, 28, 1]))
        .add(Rescaling::new(1.0 / 255.0))
        .add(Conv2D::new(6, 5).padding(Padding::Same).activation("relu").kernel_regularizer(L2::new(5e-4)))
        .add(MaxPooling2D::new(2))
        .add(Conv2D::new(16, 5).activation("relu").kernel_regularizer(L2::new(5e-4)))
        .add(MaxPooling2D::new(2))
        .add(Flatten::new())
        .add(Dense::new(120).activation("relu").kernel_regularizer(L2::new(5e-4)))
        .add(Dense::new(84).activation("relu").kernel_regularizer(L2::new(5e-4)))
        .add(Dense::new(10).activation("softmax"));
    // The rate falls along a cosine, from 0.05 to 0 at the last step.
    let steps = (train.len() as u64 * 9 / 10).div_ceil(64) * epochs as u64;
    let optimizer = Sgd::new(CosineDecay::new(0.05, steps)).momentum(0.9);
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])?;
    println!("{}", model.summary());

    let options = Fit::new().epochs(epochs).batch_size(64).validation_split(0.1);
    // Ctrl-C ends training after the batch that runs; what is there by then is tested and saved.
    #[cfg(feature = "interrupt")]
    let options = options.callback(StopOnInterrupt::new());
    let history = model.fit(&train.x, &train.y, options)?;
    #[cfg(feature = "plot")]
    {
        history.plot("lenet5.png")?;
        println!("training curves: lenet5.png");
    }

    let scores = model.evaluate(&test.x, &test.y, Evaluate::default())?;
    model.save("lenet5.cornu")?;
    println!("saved model: lenet5.cornu");

    let again = Sequential::load("lenet5.cornu")?;
    let probabilities = again.predict(&test.x.slice(s![..10, .., .., ..]), Predict::default())?;
    println!("\nten test images, by the model as it was loaded again:");
    for (row, label) in probabilities.rows().into_iter().zip(&test.y) {
        let (digit, p) = row.iter().enumerate().fold((0, 0.0), |best, (i, &p)| if p > best.1 { (i, p) } else { best });
        println!("  a {label}, seen as {digit} ({:.1} %)", 100.0 * p);
    }
    println!(
        "\ntrained {} epochs, last validation accuracy {:.4}",
        epochs,
        history.last("val_accuracy").unwrap_or(0.0)
    );
    println!("test accuracy: {:.4}", scores["accuracy"]);
    Ok(())
}
