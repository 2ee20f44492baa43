//! Six optimizers from the same start: over a surface of two variables, whose minimum lies in a long curved valley, and on
//! MNIST. Their ways as a picture and as a film, their losses as curves.
//!
//! `cargo run --release --example optimizers_race` draws `optimizers_race_surface.png`, `optimizers_race.gif`,
//! `optimizers_race_losses.png` and `optimizers_race_mnist.png`.
use cornu::Shared;
use cornu::optimizers::{Optimizer, OptimizerState, Update};
use cornu::prelude::*;
use cornu::visualize::{Curve, Curves, Surface};
use gif::{Encoder, Frame, Repeat};
use ndarray::s;
use std::fs::File;

/// Where all begin, and the minimum of Beale's function.
const START: (f64, f64) = (0.5, 1.4);
const MINIMUM: (f64, f64) = (3.0, 0.5);

/// Beale's function: flat around its minimum, with steep walls at the corners.
fn beale(x: f64, y: f64) -> f64 {
    (1.5 - x + x * y).powi(2) + (2.25 - x + x * y * y).powi(2) + (2.625 - x + x * y.powi(3)).powi(2)
}

fn slope(x: f64, y: f64) -> [f32; 2] {
    let parts = [1.5 - x + x * y, 2.25 - x + x * y * y, 2.625 - x + x * y.powi(3)];
    let by_x = [y - 1.0, y * y - 1.0, y.powi(3) - 1.0];
    let by_y = [x, 2.0 * x * y, 3.0 * x * y * y];
    let sum = |by: [f64; 3]| parts.iter().zip(by).map(|(part, by)| 2.0 * part * by).sum::<f64>() as f32;
    [sum(by_x), sum(by_y)]
}

/// An optimizer, with a rate that suits it on the surface, and one on MNIST.
struct Racer {
    name: &'static str,
    surface: Shared<dyn Optimizer>,
    mnist: Shared<dyn Optimizer>,
}

fn racers() -> [Racer; 6] {
    fn racer<O: Into<Shared<dyn Optimizer>>>(name: &'static str, surface: O, mnist: O) -> Racer {
        Racer { name, surface: surface.into(), mnist: mnist.into() }
    }
    let momentum = |rate: f64| Sgd::new(rate).momentum(0.9);
    [
        racer("SGD", Sgd::new(0.01), Sgd::new(0.05)),
        racer("momentum", momentum(0.01), momentum(0.05)),
        racer("Nesterov", momentum(0.01).nesterov(true), momentum(0.05).nesterov(true)),
        racer("AdaGrad", Adagrad::new(0.5), Adagrad::new(0.02)),
        racer("RMSProp", RMSprop::new(0.02), RMSprop::new(0.001)),
        racer("Adam", Adam::new(0.1), Adam::new(0.002)),
    ]
}

/// The way of an optimizer over the surface.
fn way(optimizer: &dyn Optimizer, steps: usize) -> cornu::Result<Vec<(f64, f64)>> {
    let mut state = OptimizerState::new(optimizer)?;
    let mut place = Tensor::new([2], vec![START.0 as f32, START.1 as f32])?;
    let mut points = vec![START];
    for _ in 0..steps {
        let &(x, y) = points.last().unwrap_or(&START);
        let mut gradient = slope(x, y);
        state.apply(optimizer, &mut [Update::new("place", &mut place, &mut gradient)])?;
        points.push((f64::from(place.data()[0]), f64::from(place.data()[1])));
    }
    Ok(points)
}

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let (steps, frames, images, epochs) = if short { (60, 6, 1500, 1) } else { (400, 60, 12_000, 5) };

    let race = |racer: Racer| Ok((racer.name, way(&*racer.surface, steps)?));
    let ways: Vec<(&str, Vec<(f64, f64)>)> = racers().into_iter().map(race).collect::<cornu::Result<_>>()?;
    let ground = Surface::new(beale, -1.0..4.5, -1.5..2.0).mark("minimum", MINIMUM);
    let until = |step: usize| {
        let mut picture = ground.clone().title(format!("Beale's function, step {step}"));
        for (name, points) in &ways {
            picture = picture.path(*name, points[..=step].iter().copied());
        }
        picture
    };
    until(steps).save("optimizers_race_surface.png")?;
    println!("after {steps} steps:");
    for (name, points) in &ways {
        let &(x, y) = points.last().unwrap_or(&START);
        let far = (x - MINIMUM.0).hypot(y - MINIMUM.1);
        println!("  {name:<9} at ({x:6.3}, {y:6.3}), {far:.3} from the minimum, height {:.2e}", beale(x, y));
    }
    let losses = ways.iter().map(|(name, points)| {
        let heights = points.iter().map(|&(x, y)| beale(x, y).max(1e-12).log10());
        Curve::new(*name, heights).places((0..=steps).map(|step| step as f64))
    });
    let losses = Curves::new(losses).one_panel("height, as a power of ten").x_label("step");
    losses.title("Beale's function").save("optimizers_race_losses.png")?;

    // Slowly at first, when much happens.
    let moments = (0..=frames).map(|frame| (steps as f64 * (frame as f64 / frames as f64).powf(1.7)) as usize);
    film("optimizers_race.gif", moments.map(|step| until(step).to_rgb()))?;

    let (train, test) = datasets::mnist::load("examples/data/mnist")?;
    let images = images.min(train.len());
    let (x, y) = (train.x.slice(s![..images, .., .., ..]), train.y.slice(s![..images]));
    println!("\non {images} images of MNIST, {epochs} epochs:");
    let mut curves = Vec::new();
    for Racer { name, mnist, .. } in racers() {
        let mut model = Sequential::new().with_seed(5);
        model
            .add(Input::new([28, 28, 1]))
            .add(Rescaling::new(1.0 / 255.0))
            .add(Conv2D::new(6, 5).padding(Padding::Same).activation("relu"))
            .add(MaxPooling2D::new(2))
            .add(Conv2D::new(16, 5).activation("relu"))
            .add(MaxPooling2D::new(2))
            .add(Flatten::new())
            .add(Dense::new(84).activation("relu"))
            .add(Dense::new(10).activation("softmax"));
        model.compile(mnist, "sparse_categorical_crossentropy", ["accuracy"])?;
        // The mean loss of each twenty batches: what is logged is the mean since the epoch began.
        let (mut places, mut values, mut step, mut before) = (Vec::new(), Vec::new(), 0, 0.0);
        let watch = LambdaCallback::new().on_train_batch_end(|_, batch, logs| {
            step += 1;
            before = if batch == 0 { 0.0 } else { before };
            if batch % 20 == 19 {
                let sum = logs.get("loss").unwrap_or(f64::NAN) * (batch + 1) as f64;
                places.push(f64::from(step));
                values.push(((sum - before) / 20.0).log10());
                before = sum;
            }
            Ok(())
        });
        model.fit(&x, &y, Fit::new().epochs(epochs).batch_size(64).verbose(0).callback(watch))?;
        let scores = model.evaluate(&test.x, &test.y, Evaluate::new().batch_size(256))?;
        println!("  {name:<9} test accuracy: {:.4}", scores["accuracy"]);
        curves.push(Curve::new(name, values).places(places));
    }
    let curves = Curves::new(curves).one_panel("loss, as a power of ten").x_label("batch").title("MNIST");
    curves.save("optimizers_race_mnist.png")
}

/// Writes pictures as an animated GIF that begins again when it is over.
fn film(path: &str, pictures: impl Iterator<Item = cornu::Result<ndarray::Array3<u8>>>) -> cornu::Result<()> {
    let failed =
        |error: gif::EncodingError| cornu::Error::Io { path: path.into(), source: std::io::Error::other(error) };
    let mut encoder = None;
    for picture in pictures {
        let picture = picture?;
        let (height, width, _) = picture.dim();
        let (width, height) = (width as u16, height as u16);
        let mut frame = Frame::from_rgb_speed(width, height, picture.as_slice().unwrap_or_default(), 10);
        // In hundredths of a second.
        frame.delay = 8;
        let encoder = match &mut encoder {
            Some(encoder) => encoder,
            None => {
                let file = File::create(path).map_err(|source| cornu::Error::Io { path: path.into(), source })?;
                let mut first = Encoder::new(file, width, height, &[]).map_err(failed)?;
                first.set_repeat(Repeat::Infinite).map_err(failed)?;
                encoder.insert(first)
            }
        };
        encoder.write_frame(&frame).map_err(failed)?;
    }
    println!("{path}");
    Ok(())
}
