//! Watches LeNet-5 learn MNIST: pages for the browser (`training_report/gentle.html`, `brisk.html`), and event files for TensorBoard
//! (`tensorboard --logdir training_report/logs`), of two runs with different hyper-parameters.
//!
//! `cargo run --release --example training_report --features tensorboard`
use cornu::prelude::*;
use ndarray::s;

fn main() -> cornu::Result<()> {
    let (samples, epochs) = if std::env::var_os("CORNU_SHORT").is_some() { (2_000, 2) } else { (20_000, 8) };
    let (train, test) = datasets::mnist::load("examples/data/mnist")?;
    let (x, y) = (train.x.slice(s![..samples, .., .., ..]), train.y.slice(s![..samples]));
    let (x_test, y_test) = (test.x.slice(s![..2_000, .., .., ..]), test.y.slice(s![..2_000]));

    for (run, rate, dropout) in [("gentle", 0.01, 0.0), ("brisk", 0.05, 0.3)] {
        let mut model = Sequential::new().with_seed(1).with_name("lenet5");
        model
            .add(Input::new([28, 28, 1]))
            .add(Rescaling::new(1.0 / 255.0))
            .add(Conv2D::new(6, 5).padding(Padding::Same).activation("relu"))
            .add(MaxPooling2D::new(2))
            .add(Conv2D::new(16, 5).activation("relu"))
            .add(MaxPooling2D::new(2))
            .add(Flatten::new())
            .add(Dense::new(120).activation("relu"))
            .add(Dropout::new(dropout))
            .add(Dense::new(84).activation("relu"))
            .add(Dense::new(10).activation("softmax"));
        model.compile(Sgd::new(rate).momentum(0.9), "sparse_categorical_crossentropy", ["accuracy"])?;

        let board = TensorBoard::new(format!("training_report/logs/{run}"))
            .update_freq(50)
            .histogram_freq(1)
            .write_images(true)
            .hparams([("learning rate", rate), ("dropout", dropout)]);
        let report = HtmlReport::new(format!("training_report/{run}.html"))
            .title(format!("LeNet-5 on MNIST, {run}"))
            .samples(&x_test, &y_test)
            .note(
                "data",
                format!("the first {samples} images of MNIST; the page's predictions are on 2,000 test images"),
            )
            .note("dropout", dropout);
        let options = Fit::new().epochs(epochs).batch_size(64).validation_split(0.1);
        let history = model.fit(&x, &y, options.callback(board).callback(report))?;
        println!("training_report/{run}.html: validation accuracy {:.4}", history.last("val_accuracy").unwrap_or(0.0));
    }
    println!("tensorboard --logdir training_report/logs");
    Ok(())
}
