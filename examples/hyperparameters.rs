//! The search for good hyper-parameters: a small grid, then random draws around what it found, each tried with few epochs;
//! the best is trained longer. The first question, the order of the learning rate, is asked with `lr_find`.
//!
//! `cargo run --release --example hyperparameters`
use cornu::data::train_test_split;
use cornu::prelude::*;
use cornu::random;
use cornu::training::LrFind;
use cornu::visualize::{Curve, Curves};
use ndarray::{Array1, Array4};
use ndarray_rand::rand::Rng;

/// What is searched for.
#[derive(Clone, Copy, Debug)]
struct Settings {
    rate: f64,
    filters: usize,
    dropout: f64,
}

fn build(settings: Settings) -> cornu::Result<Sequential> {
    let mut model = Sequential::new().with_seed(7);
    model
        .add(Input::new([8, 8, 1]))
        .add(Rescaling::new(1.0 / 16.0))
        .add(Conv2D::new(settings.filters, 3).padding(Padding::Same).activation("relu"))
        .add(MaxPooling2D::new(2))
        .add(Flatten::new())
        .add(Dropout::new(settings.dropout))
        .add(Dense::new(10).activation("softmax"));
    model.compile(Adam::new(settings.rate), "sparse_categorical_crossentropy", ["accuracy"])?;
    Ok(model)
}

struct Data {
    x: Array4<u8>,
    y: Array1<u8>,
    x_val: Array4<u8>,
    y_val: Array1<u8>,
}

/// Trains with these settings, and returns the history.
fn train(data: &Data, settings: Settings, epochs: usize) -> cornu::Result<(Sequential, History)> {
    let mut model = build(settings)?;
    let options = Fit::new().epochs(epochs).verbose(0).validation_data(&data.x_val, &data.y_val);
    let history = model.fit(&data.x, &data.y, options)?;
    Ok((model, history))
}

fn main() -> cornu::Result<()> {
    let (epochs, draws, long) = if std::env::var_os("CORNU_SHORT").is_some() { (2, 3, 4) } else { (8, 12, 40) };
    let digits = datasets::digits();
    // The test part decides nothing: it is looked at once, at the end.
    let (x, x_test, y, y_test) = train_test_split(&digits.x, &digits.y, 0.2, 1)?;
    let (x, x_val, y, y_val) = train_test_split(&x, &y, 0.2, 2)?;
    let data = Data { x, y, x_val, y_val };

    let mut model = build(Settings { rate: 1e-3, filters: 16, dropout: 0.2 })?;
    let found = model.lr_find(&data.x, &data.y, LrFind::new().min(1e-5))?;
    println!("lr_find: {found}");
    found.plot("hyperparameters_lr_find.png")?;
    let around = found.suggestion().unwrap_or(1e-3);

    let mut tried: Vec<(Settings, History)> = Vec::new();
    let mut attempt = |settings: Settings| -> cornu::Result<f64> {
        let (_, history) = train(&data, settings, epochs)?;
        let score = history.last("val_accuracy").unwrap_or(0.0);
        let Settings { rate, filters, dropout } = settings;
        println!("  rate {rate:.1e}, {filters:2} filters, dropout {dropout:.2}: validation accuracy {score:.4}");
        tried.push((settings, history));
        Ok(score)
    };
    println!("\na grid, {epochs} epochs each:");
    for rate in [around / 10.0, around / 3.0, around] {
        for filters in [8, 32] {
            attempt(Settings { rate, filters, dropout: 0.2 })?;
        }
    }
    // At random: rates and filters evenly in their logarithm. Where few of many settings matter, random draws try more
    // values of each than a grid does (Bergstra and Bengio, 2012).
    println!("\n{draws} random draws:");
    let mut rng = random::stream(3, random::stream_of("search"), 0, 0);
    for _ in 0..draws {
        let rate = around / 10.0 * 30f64.powf(rng.random_range(0.0..1.0));
        let filters = 2f64.powf(3.0 + 3.0 * rng.random_range(0.0..1.0)).round() as usize;
        attempt(Settings { rate, filters, dropout: 0.5 * rng.random_range(0.0..1.0) })?;
    }

    // The best by its validation; of equals the lower loss.
    let key = |(_, history): &(Settings, History)| {
        (history.last("val_accuracy").unwrap_or(0.0), -history.last("val_loss").unwrap_or(f64::INFINITY))
    };
    tried.sort_by(|a, b| key(b).partial_cmp(&key(a)).unwrap_or(std::cmp::Ordering::Equal));
    let curves = tried.iter().take(5).map(|(settings, history)| {
        let name = format!("{:.1e}, {} filters, {:.2}", settings.rate, settings.filters, settings.dropout);
        Curve::new(name, history["val_accuracy"].iter().copied())
    });
    let picture = Curves::new(curves).one_panel("validation accuracy").title("the five best");
    picture.save("hyperparameters_best.png")?;

    let best = tried[0].0;
    println!("\nthe best, {best:?}, for {long} epochs:");
    let (mut model, _) = train(&data, best, long)?;
    println!("test accuracy: {:.4}", model.evaluate(&x_test, &y_test, Evaluate::default())?["accuracy"]);
    Ok(())
}
