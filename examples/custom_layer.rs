//! Extensions of one's own: a layer, a loss, a metric and a callback, each one small type; the layer's
//! gradient is checked, and a model with it is saved and loaded.
//!
//! `cargo run --release --example custom_layer`
use cornu::config::{self, Config, Registry};
use cornu::metrics::Metric;
use cornu::prelude::*;
use cornu::{losses, losses::Loss, metrics, testing};
use serde::{Deserialize, Serialize};

/// `x · sigmoid(beta · x)`: swish with a slope.
#[derive(Debug, Serialize, Deserialize)]
struct Swish {
    beta: f32,
}

impl SimpleLayer for Swish {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.clone().map(|v| v * sigmoid(self.beta * v)))
    }
    fn backward(&self, x: &Tensor, y: &Tensor, gradient: Tensor) -> Result<Tensor> {
        // y' = s + beta · y · (1 - s), with s = sigmoid(beta · x).
        let slope = x.clone().zip_map(y, |v, y| {
            let s = sigmoid(self.beta * v);
            s + self.beta * y * (1.0 - s)
        })?;
        gradient.zip_map(&slope, |g, s| g * s)
    }
}

fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + (-v).exp())
}

/// Squared error in which predictions below the target cost `under` times as much.
#[derive(Debug)]
struct Lopsided {
    under: f32,
}

impl Loss for Lopsided {
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        losses::mean_of(y_true, y_pred, |y, p| (p - y).powi(2) * if p < y { self.under } else { 1.0 })
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        losses::mean_gradient(y_true, y_pred, weights, |y, p| 2.0 * (p - y) * if p < y { self.under } else { 1.0 })
    }
}

/// The share of predictions that lie below the target.
#[derive(Debug, Default)]
struct Under {
    below: f64,
    count: f64,
}

impl Metric for Under {
    fn name(&self) -> String {
        "under".to_owned()
    }
    fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, _: Option<&Tensor>) -> Result<()> {
        self.below += y_true.data().iter().zip(y_pred.data()).filter(|(y, p)| p < y).count() as f64;
        self.count += y_pred.len() as f64;
        Ok(())
    }
    fn result(&self) -> f64 {
        self.below / self.count.max(1.0)
    }
    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Prints every tenth epoch.
struct Now;

impl Callback for Now {
    fn on_epoch_end(&mut self, _: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        if (epoch + 1).is_multiple_of(10) {
            let value = |name| logs.get(name).unwrap_or(f64::NAN);
            println!("epoch {:>3}: loss {:.4}, below the target {:.2}", epoch + 1, value("loss"), value("under"));
        }
        Ok(())
    }
}

fn main() -> cornu::Result<()> {
    println!("{}", testing::check_layer(Swish { beta: 1.5 }, &[&[4, 6]])?);

    // A noisy parabola.
    let x = ndarray::Array2::from_shape_fn((256, 1), |(i, _)| i as f32 / 128.0 - 1.0);
    let y = ndarray::Array1::from_shape_fn(256, |i| x[[i, 0]].powi(2) + ((i * 37 % 64) as f32 / 64.0 - 0.5) * 0.4);

    let mut model = Sequential::new().with_seed(3);
    model.add(Input::new([1])).add(Dense::new(16)).add(Swish { beta: 1.5 }).add(Dense::new(1));
    model.compile(Adam::new(0.02), Lopsided { under: 9.0 }, metrics![Under::default(), "mae"])?;
    let epochs = if std::env::var_os("CORNU_SHORT").is_some() { 10 } else { 50 };
    model.fit(&x, &y, Fit::new().epochs(epochs).verbose(0).callback(Now))?;
    println!("The loss makes the curve lie above most points.");

    // Saved without its compile settings, since the loss has no configuration; the layer has one.
    let path = std::env::temp_dir().join("cornu-custom-layer.cornu");
    model.save_weights(&path)?;
    let registry = Registry::new().register::<Box<dyn Layer>, Swish>("Swish");
    let mut again = Model::from_json(&model.to_json()?, &registry)?;
    again.load_weights(&path)?;
    assert_eq!(model.predict(&x, Predict::default())?, again.predict(&x, Predict::default())?);
    println!("The model was taken apart into JSON and weights, and put together again.");
    Ok(())
}
