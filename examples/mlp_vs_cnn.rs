//! Why convolutions: a multi-layer perceptron and a convolutional network on digits of any place and size.
//!
//! MNIST's digits stand in the middle and are equally large. Here they are put on a larger sheet, scaled and moved at
//! random, more and more from row to row. Both networks learn from as many images, once as MNIST has them and once moved
//! like those that they are tested on.
//!
//! `cargo run --release --example mlp_vs_cnn -- [folder of MNIST]`
use cornu::prelude::*;
use cornu::random;
use ndarray::{Array4, ArrayView2, ArrayViewMut2, Axis, s};
use ndarray_rand::rand::Rng;

/// The sheet's side in pixels.
const SIDE: usize = 44;
/// Digits move by so many pixels at most; [`change`] says how much larger or smaller they become.
const MOVES: [usize; 5] = [0, 2, 4, 6, 8];

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let folder = std::env::args().nth(1).unwrap_or_else(|| "examples/data/mnist".to_owned());
    let (train, test) = datasets::mnist::load(&folder)?;
    let (n, tests, epochs) = if short { (400, 200, 1) } else { (15_000, 5000, 6) };
    let moves = if short { &MOVES[..2] } else { &MOVES[..] };
    let (y, y_test) = (train.y.slice(s![..n]), test.y.slice(s![..tests]));
    println!("{n} digits to learn from, {tests} to test on, on {SIDE} x {SIDE} pixels");

    let learned = |mut model: Sequential, most: usize| -> cornu::Result<Sequential> {
        model.compile(Adam::new(1e-3), "sparse_categorical_crossentropy", ["accuracy"])?;
        let x = moved(&train, n, most, 1);
        model.fit(&x, &y, Fit::new().epochs(epochs).batch_size(64).verbose(0))?;
        Ok(model)
    };
    let accuracy = |model: &mut Sequential, most: usize| -> cornu::Result<f64> {
        Ok(model.evaluate(&moved(&test, tests, most, 2), &y_test, Evaluate::new().batch_size(250))?["accuracy"])
    };
    println!("weights: MLP {}, CNN {}", built(mlp())?.count_params(), built(cnn())?.count_params());

    println!("\ntest accuracy\n{:>28} | {:^21} | {:^21}", "", "learned in the middle", "learned moved");
    println!("{:>28} |  {:>8}  {:>8}   |  {:>8}  {:>8}", "digits move up to", "MLP", "CNN", "MLP", "CNN");
    let mut found = Vec::new();
    let mut in_the_middle = None;
    for &most in moves {
        let (mut mlp, mut cnn) = (learned(mlp(), most)?, learned(cnn(), most)?);
        let moved = [accuracy(&mut mlp, most)?, accuracy(&mut cnn, most)?];
        // Those of the first row never saw a digit elsewhere.
        let (mlp, cnn) = in_the_middle.get_or_insert((mlp, cnn));
        let row = [accuracy(mlp, most)?, accuracy(cnn, most)?, moved[0], moved[1]];
        let [a, b, c, d] = row;
        let (least, largest) = (1.0 - change(most), 1.0 + change(most));
        let moves = format!("{most} pixels, scale {least:.2} to {largest:.2}");
        println!("{moves:>28} |  {a:>8.4}  {b:>8.4}   |  {c:>8.4}  {d:>8.4}");
        found.push(row);
    }
    #[cfg(feature = "plot")]
    {
        use cornu::visualize::{Curve, Curves};
        let names =
            ["MLP, learned in the middle", "CNN, learned in the middle", "MLP, learned moved", "CNN, learned moved"];
        let curves = names.iter().enumerate().map(|(i, name)| {
            Curve::new(*name, found.iter().map(|row| row[i])).places(moves.iter().map(|&most| most as f64))
        });
        Curves::new(curves)
            .title("MNIST's digits, moved and scaled at random")
            .one_panel("test accuracy")
            .x_label("pixels that digits move at most")
            .save("mlp_vs_cnn.png")?;
        println!("\naccuracy by movement: mlp_vs_cnn.png");
    }
    Ok(())
}

/// Looks at each pixel by its place.
fn mlp() -> Sequential {
    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([SIDE, SIDE, 1]))
        .add(Rescaling::new(1.0 / 255.0))
        .add(Flatten::new())
        .add(Dense::new(256).activation("relu"))
        .add(Dense::new(128).activation("relu"))
        .add(Dense::new(10).activation("softmax"));
    model
}

/// Looks for strokes anywhere, and at the end no longer asks where they were.
fn cnn() -> Sequential {
    let mut model = Sequential::new().with_seed(1);
    let convolution = |filters| Conv2D::new(filters, 3).padding(Padding::Same).activation("relu");
    model
        .add(Input::new([SIDE, SIDE, 1]))
        .add(Rescaling::new(1.0 / 255.0))
        .add(convolution(16))
        .add(MaxPooling2D::new(2))
        .add(convolution(32))
        .add(MaxPooling2D::new(2))
        .add(convolution(64))
        .add(MaxPooling2D::new(2))
        .add(convolution(64))
        .add(GlobalMaxPooling2D::new())
        .add(Dense::new(10).activation("softmax"));
    model
}

fn built(mut model: Sequential) -> cornu::Result<Sequential> {
    model.build()?;
    Ok(model)
}

/// The first `n` digits, each scaled and moved at random by up to `most` pixels, on a black sheet.
fn moved(digits: &datasets::Split, n: usize, most: usize, seed: u64) -> Array4<u8> {
    let mut rng = random::stream(seed, random::stream_of("moved"), most as u64, 0);
    let mut sheets = Array4::zeros((n, SIDE, SIDE, 1));
    for (digit, sheet) in digits.x.outer_iter().zip(sheets.axis_iter_mut(Axis(0))) {
        let mut random = |most: f32| if most == 0.0 { 0.0 } else { rng.random_range(-most..=most) };
        let (scale, down, right) = (1.0 + random(change(most) as f32), random(most as f32), random(most as f32));
        draw(digit.index_axis(Axis(2), 0), sheet.index_axis_move(Axis(2), 0), scale, down, right);
    }
    sheets
}

/// By how much digits that move so far are scaled.
fn change(most: usize) -> f64 {
    0.04 * most as f64
}

/// Draws the digit into the middle of the sheet, scaled and moved; between pixels the values are interpolated.
fn draw(digit: ArrayView2<u8>, mut sheet: ArrayViewMut2<u8>, scale: f32, down: f32, right: f32) {
    let size = digit.nrows() as isize;
    let ink = |i: isize, j: isize| match (0..size).contains(&i) && (0..size).contains(&j) {
        true => f32::from(digit[[i as usize, j as usize]]),
        false => 0.0,
    };
    // Where a pixel of the sheet lies on the digit: both are scaled and moved about their middles.
    let place = |i: usize, by: f32| (i as f32 - (SIDE as f32 - 1.0) / 2.0 - by) / scale + (size as f32 - 1.0) / 2.0;
    for ((i, j), pixel) in sheet.indexed_iter_mut() {
        let (y, x) = (place(i, down), place(j, right));
        let ((top, left), (v, h)) = ((y.floor(), x.floor()), (y - y.floor(), x - x.floor()));
        let (top, left) = (top as isize, left as isize);
        let row = |i: isize| (1.0 - h) * ink(i, left) + h * ink(i, left + 1);
        *pixel = ((1.0 - v) * row(top) + v * row(top + 1)).round() as u8;
    }
}
