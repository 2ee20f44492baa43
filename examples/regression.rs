//! Regression: how much proline a wine holds, from twelve other measurements. A linear output, the
//! mean squared error, and inputs brought to a common scale with the training part's statistics.
//!
//! `cargo run --release --example regression`
use cornu::data::train_test_split;
use cornu::prelude::*;
use ndarray::Axis;

fn main() -> cornu::Result<()> {
    let (x, y, names) = datasets::wine::regression("proline")?;
    println!("{} wines; predicting proline from {}", x.nrows(), names.join(", "));
    let (mut x_train, mut x_test, y_train, y_test) = train_test_split(&x, &y, 0.2, 7)?;

    // Standardise: without it, alcohol (about 13) and magnesium (about 100) would not weigh alike.
    let (Some(mean), deviation) = (x_train.mean_axis(Axis(0)), x_train.std_axis(Axis(0), 0.0)) else {
        return Err(Error::Data("there are no wines".to_owned()));
    };
    x_train = (x_train - &mean) / &deviation;
    x_test = (x_test - &mean) / &deviation;
    let (center, spread) = (y_train.mean().unwrap_or(0.0), y_train.std(0.0));
    let scaled = y_train.mapv(|y| (y - center) / spread);

    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([x_train.ncols()]))
        .add(Dense::new(32).activation("relu").kernel_regularizer(L2::new(1e-3)))
        .add(Dense::new(16).activation("relu").kernel_regularizer(L2::new(1e-3)))
        .add(Dense::new(1));
    model.compile(Adam::new(0.005), "mse", ["mae"])?;

    let mut early = EarlyStopping::new().monitor("val_loss").patience(30).restore_best_weights(true);
    let epochs = if std::env::var_os("CORNU_SHORT").is_some() { 5 } else { 400 };
    let options = Fit::new().epochs(epochs).batch_size(16).validation_split(0.2).verbose(0).callback(&mut early);
    let history = model.fit(&x_train, &scaled, options)?;
    println!(
        "trained {} epochs, validation loss {:.3}",
        history.epochs().len(),
        history.last("val_loss").unwrap_or(0.0)
    );

    let predicted = model.predict(&x_test, Predict::default())?.mapv(|v| v * spread + center);
    println!("\n{:>10} {:>10}", "measured", "predicted");
    for (measured, predicted) in y_test.iter().zip(&predicted).take(8) {
        println!("{measured:>10.0} {predicted:>10.0}");
    }
    let residual: f32 = y_test.iter().zip(&predicted).map(|(y, p)| (y - p).powi(2)).sum();
    let total: f32 = y_test.iter().map(|y| (y - center).powi(2)).sum();
    let error: f32 = y_test.iter().zip(&predicted).map(|(y, p)| (y - p).abs()).sum::<f32>() / y_test.len() as f32;
    println!("\nmean absolute error: {error:.0} mg/l (proline ranges from 278 to 1680)");
    println!("R² on wines not seen: {:.3}", 1.0 - residual / total);
    Ok(())
}
