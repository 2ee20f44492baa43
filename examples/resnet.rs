//! A residual network of 20 layers (He, Zhang, Ren, Sun 2016) learns Fashion-MNIST from images that are shifted and
//! mirrored at random, anew in each epoch.
//!
//! `cargo run --release --example resnet -- [folder of Fashion-MNIST]`
use cornu::applications::ResNet20;
use cornu::prelude::*;
use ndarray::s;

#[path = "common/moved.rs"]
mod moved;

const BATCH: usize = 128;

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let folder = std::env::args().nth(1).unwrap_or_else(|| "examples/data/fashion-mnist".to_owned());
    let (train, test) = datasets::fashion_mnist::load(&folder)?;
    let (n, tests, epochs) = if short { (640, 300, 2) } else { (train.len(), test.len(), 8) };
    let (x, y) = (train.x.slice(s![..n, .., .., ..]).to_owned(), train.y.slice(s![..n]));
    let (x_test, y_test) = (test.x.slice(s![..tests, .., .., ..]), test.y.slice(s![..tests]));
    println!("{folder}: {n} images to learn from, {tests} to test on");

    let network = ResNet20::new().input_shape([28, 28, 1]).seed(1).build()?;
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([28, 28, 1])).add(Rescaling::new(1.0 / 255.0)).add(network.as_layer());
    // The rate rises for an epoch and then falls along a cosine to 0. Keras' weight decay takes no part in the momentum,
    // so that it must be ten times the paper's.
    let steps = (n as u64).div_ceil(BATCH as u64);
    let rate = CosineDecay::new(0.01, steps * (epochs as u64 - 1)).warmup(0.1, steps);
    let optimizer = Sgd::new(rate).momentum(0.9).nesterov(true).weight_decay(1e-3);
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])?;
    println!("{} layers, {} parameters", network.layers().len(), network.count_params());

    println!("\nepoch     loss  accuracy   on test images: loss  accuracy    time");
    let start = std::time::Instant::now();
    let mut accuracies = Vec::new();
    for epoch in 0..epochs {
        let x = moved::shifted_and_mirrored(&x, 2, epoch as u64);
        let options = Fit::new().initial_epoch(epoch).epochs(epoch + 1).batch_size(BATCH).verbose(0);
        // Ctrl-C ends training after the batch that runs; what is there by then is tested.
        #[cfg(feature = "interrupt")]
        let options = options.callback(StopOnInterrupt::new());
        let history = model.fit(&x, &y, options)?;
        let scores = model.evaluate(&x_test, &y_test, Evaluate::new().batch_size(256))?;
        let last = |name| history.last(name).unwrap_or(f64::NAN);
        println!(
            "{:>5}  {:>7.4}  {:>8.4}  {:>21.4}  {:>8.4}  {:>4.0} s",
            epoch + 1,
            last("loss"),
            last("accuracy"),
            scores["loss"],
            scores["accuracy"],
            start.elapsed().as_secs_f64()
        );
        accuracies.push((last("accuracy"), scores["accuracy"]));
        if model.is_interrupted() {
            break;
        }
    }
    #[cfg(feature = "plot")]
    {
        use cornu::visualize::{Curve, Curves};
        let (train, test) = accuracies.iter().copied().unzip::<f64, f64, Vec<_>, Vec<_>>();
        let curves = Curves::new([Curve::new("accuracy", train), Curve::new("val_accuracy", test)]);
        curves.title("ResNet-20 on Fashion-MNIST, training (moved images) and test").save("resnet.png")?;
        println!("accuracy by epoch: resnet.png");
    }
    println!("test accuracy: {:.4}", accuracies.last().map_or(0.0, |last| last.1));
    Ok(())
}
