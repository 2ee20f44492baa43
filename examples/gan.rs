//! A generative adversarial network (Goodfellow et al. 2014; convolutions as in Radford et al. 2016) learns to make
//! digits like MNIST's. Two models play against each other, so `fit` does not fit: the steps are written with the public
//! calls `forward`, `backward` and `apply`.
//!
//! `cargo run --release --features image --example gan -- [folder of MNIST]`
use cornu::applications::LeNet5;
use cornu::data::image;
use cornu::prelude::*;
use cornu::random;
use cornu::training::Differentiate;
use ndarray::{Array2, Array3, ArrayD, ArrayView4, Axis, concatenate, s};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::StandardNormal;

const NOISE: usize = 64;
const BATCH: usize = 64;
/// The picture has so many digits in a row, and so many rows.
const GRID: usize = 10;

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let folder = std::env::args().nth(1).unwrap_or_else(|| "examples/data/mnist".to_owned());
    let (train, test) = datasets::mnist::load(&folder)?;
    let (epochs, steps) = if short { (2, 6) } else { (10, train.len() / BATCH) };
    let mut rng = random::stream(1, random::stream_of("gan"), 0, 0);

    let mut generator = generator()?;
    let mut critic = discriminator()?;
    println!("generator: {} parameters, discriminator: {}", generator.count_params(), critic.count_params());
    let fixed = Array2::random_using((GRID * GRID, NOISE), StandardNormal, &mut rng);

    println!("\nepoch  loss of the discriminator  of the generator  true digits known  made digits known    time");
    let start = std::time::Instant::now();
    for epoch in 1..=epochs {
        let order = random::permutation(train.len(), &mut rng);
        let mut sums = [0.0; 4];
        for rows in order.chunks_exact(BATCH).take(steps) {
            let digits = train.x.select(Axis(0), rows).mapv(|pixel| f32::from(pixel) / 127.5 - 1.0).into_dyn();
            let noise = Array2::random_using((BATCH, NOISE), StandardNormal, &mut rng);
            let found = step(&mut generator, &mut critic, &digits, &noise)?;
            sums.iter_mut().zip(found).for_each(|(sum, value)| *sum += value / steps as f64);
        }
        let [of_critic, of_generator, known, seen_through] = sums;
        println!(
            "{epoch:>5}  {of_critic:>25.4}  {of_generator:>16.4}  {known:>17.3}  {seen_through:>17.3}  {:>4.0} s",
            start.elapsed().as_secs_f64()
        );
        save(&generator, &fixed, "gan.png")?;
    }
    println!("made digits: gan.png");

    // What does a network that knows digits say?
    let mut reader = LeNet5::new().seed(1).build()?;
    reader.compile(Adam::new(1e-3), "sparse_categorical_crossentropy", ["accuracy"])?;
    let few = if short { 2000 } else { train.len() };
    let x = train.x_f32();
    reader.fit(
        &x.slice(s![..few, .., .., ..]),
        &train.y.slice(s![..few]),
        Fit::new().epochs(2).batch_size(BATCH).verbose(0),
    )?;
    let right = reader.evaluate(&test.x_f32(), &test.y, Evaluate::default())?["accuracy"];
    let noise: Array2<f32> = Array2::random_using((if short { 50 } else { 1000 }, NOISE), StandardNormal, &mut rng);
    let made = generator.predict(&noise, Predict::default())?.mapv(|pixel| (pixel + 1.0) / 2.0);
    let mut counts = [0; 10];
    let mut sure = 0;
    for row in reader.predict(&made, Predict::default())?.outer_iter() {
        let (digit, p) = row.iter().enumerate().fold((0, 0.0), |best, (i, &p)| if p > best.1 { (i, p) } else { best });
        counts[digit] += 1;
        sure += usize::from(p > 0.9);
    }
    println!(
        "\na LeNet-5 that reads {:.1} % of the test images right, on {} made digits:",
        100.0 * right,
        noise.nrows()
    );
    println!("surer than 90 % of {:.1} %", 100.0 * sure as f64 / noise.nrows() as f64);
    println!("digit  {}", (0..10).map(|digit| format!("{digit:>5}")).collect::<String>());
    println!("made   {}", counts.map(|count| format!("{count:>5}")).concat());
    Ok(())
}

/// From noise to an image, `(batch, 28, 28, 1)` from -1 to 1.
fn generator() -> cornu::Result<Sequential> {
    let mut model = Sequential::new().with_name("generator").with_seed(1);
    let up = |filters| Conv2DTranspose::new(filters, 4).strides(2).padding(Padding::Same);
    model
        .add(Input::new([NOISE]))
        .add(Dense::new(7 * 7 * 64).use_bias(false))
        .add(BatchNormalization::new().momentum(0.9))
        .add(Activation::relu())
        .add(Reshape::new([7, 7, 64]))
        .add(up(32).use_bias(false))
        .add(BatchNormalization::new().momentum(0.9))
        .add(Activation::relu())
        .add(up(1).activation("tanh"));
    model.compile(Adam::new(5e-4).beta_1(0.5), "mse", ())?;
    model.build()?;
    Ok(model)
}

/// From an image to how true it looks: a logit.
fn discriminator() -> cornu::Result<Sequential> {
    let mut model = Sequential::new().with_name("discriminator").with_seed(2);
    let down = |filters| Conv2D::new(filters, 4).strides(2).padding(Padding::Same);
    model
        .add(Input::new([28, 28, 1]))
        .add(down(32))
        .add(LeakyReLU::new().negative_slope(0.2))
        .add(down(64))
        .add(LeakyReLU::new().negative_slope(0.2))
        .add(Flatten::new())
        .add(Dropout::new(0.3))
        .add(Dense::new(1));
    model.compile(Adam::new(2e-4).beta_1(0.5), "mse", ())?;
    model.build()?;
    Ok(model)
}

/// A step of each model. Returns the loss of both, and the shares of true and of made digits that the discriminator knew.
fn step(
    generator: &mut Sequential,
    critic: &mut Sequential,
    digits: &ArrayD<f32>,
    noise: &Array2<f32>,
) -> cornu::Result<[f64; 4]> {
    let making = generator.forward(noise, true, Differentiate::Weights)?;
    let made = making.output();

    // The discriminator learns to say yes to true digits, though not too surely, and no to made ones.
    let both = concatenate(Axis(0), &[digits.view(), made.view()]).map_err(|e| cornu::Error::Shape(e.to_string()))?;
    let wanted = Tensor::new([2 * BATCH, 1], [[0.9; BATCH], [0.0; BATCH]].concat())?;
    let judging = critic.forward(&both, true, Differentiate::Weights)?;
    let said = judging.output();
    let (of_critic, gradient) = cross_entropy(&said, &wanted)?;
    let gradients = critic.backward(judging, gradient)?;
    critic.apply(gradients.weights)?;

    // The generator learns to be taken for true: the gradient goes back through the discriminator, which stays as it is.
    let judging = critic.forward(&made.view(), true, Differentiate::Inputs)?;
    let (of_generator, gradient) = cross_entropy(&judging.output(), &Tensor::full([BATCH, 1], 1.0))?;
    let through = critic.backward(judging, gradient)?.inputs.swap_remove(0);
    let through = through.ok_or_else(|| cornu::Error::State("the images have no gradient".to_owned()))?;
    let gradients = generator.backward(making, through)?;
    generator.apply(gradients.weights)?;

    let (yes, no) = said.data().split_at(BATCH);
    let share = |right: usize| right as f64 / BATCH as f64;
    let known = [yes.iter().filter(|&&z| z > 0.0).count(), no.iter().filter(|&&z| z <= 0.0).count()].map(share);
    Ok([of_critic, of_generator, known[0], known[1]])
}

/// The mean binary cross-entropy of logits, and its gradient.
fn cross_entropy(logits: &Tensor, wanted: &Tensor) -> cornu::Result<(f64, Tensor)> {
    let n = logits.len() as f32;
    // ln(1 + e^z) - z·y, written so that e^z cannot overflow.
    let each = logits.clone().zip_map(wanted, |z, y| z.max(0.0) + (-z.abs()).exp().ln_1p() - z * y)?;
    let loss = each.data().iter().map(|&loss| f64::from(loss)).sum::<f64>() / f64::from(n);
    let gradient = logits.clone().zip_map(wanted, |z, y| (1.0 / (1.0 + (-z).exp()) - y) / n)?;
    Ok((loss, gradient))
}

/// Writes what the generator makes of this noise, row by row, as one picture.
fn save(generator: &Sequential, noise: &Array2<f32>, path: &str) -> cornu::Result<()> {
    let made = generator.predict(noise, Predict::default())?;
    let made: ArrayView4<f32> = made.view().into_dimensionality().map_err(|e| cornu::Error::Shape(e.to_string()))?;
    let picture = Array3::from_shape_fn((GRID * 28, GRID * 28, 1), |(i, j, _)| {
        127.5 * (made[[i / 28 * GRID + j / 28, i % 28, j % 28, 0]] + 1.0)
    });
    image::save_img(path, &picture)
}
