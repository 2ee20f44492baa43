//! Sequences of images: where does the digit go? A small convolutional network looks at each frame
//! (`TimeDistributed`), an LSTM puts together what it saw.
//!
//! The digit moves to the left, to the right, up, down, or stays, and comes in again on the other side. So one frame
//! says nothing, and the frames backwards say the opposite: the table shows that the network looks at their order.
//!
//! `cargo run --release --example cnn_rnn`
use cornu::prelude::*;
use cornu::random;
use ndarray::{Array1, Array5, s};
use ndarray_rand::rand::Rng;

const MOVES: [(&str, isize, isize); 5] =
    [("left", 0, -1), ("right", 0, 1), ("up", -1, 0), ("down", 1, 0), ("none", 0, 0)];
const FRAMES: usize = 6;
const SIDE: usize = 16;

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let (sequences, tests, epochs) = if short { (600, 200, 3) } else { (4000, 1000, 15) };
    let digits = datasets::digits();
    // Other handwriting to test on than to learn from.
    let (x, y) = films(&digits, 0..1400, sequences, 1);
    let (x_test, y_test) = films(&digits, 1400..1797, tests, 2);

    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([FRAMES, SIDE, SIDE, 1]))
        .add(Rescaling::new(1.0 / 16.0))
        .add(TimeDistributed::new(Conv2D::new(16, 3).padding(Padding::Same).activation("relu")))
        .add(TimeDistributed::new(MaxPooling2D::new(2)))
        .add(TimeDistributed::new(Conv2D::new(16, 3).padding(Padding::Same).activation("relu")))
        .add(TimeDistributed::new(MaxPooling2D::new(2)))
        .add(TimeDistributed::new(Flatten::new()))
        .add(LSTM::new(32))
        .add(Dense::new(MOVES.len()).activation("softmax"));
    model.compile(Adam::new(2e-3), "sparse_categorical_crossentropy", ["accuracy"])?;
    println!("{}", model.summary());
    let options = Fit::new().epochs(epochs).batch_size(50).verbose(if short { 0 } else { 2 });
    model.fit(&x, &y, options.validation_data(&x_test, &y_test))?;

    let still = Array5::from_shape_fn(x_test.raw_dim(), |(n, _, i, j, c)| x_test[[n, 0, i, j, c]]);
    let backwards = x_test.slice(s![.., ..;-1, .., .., ..]);
    let mut shuffled = x_test.clone();
    for (place, from) in [2, 5, 0, 3, 1, 4].into_iter().enumerate() {
        shuffled.slice_mut(s![.., place, .., .., ..]).assign(&x_test.slice(s![.., from, .., .., ..]));
    }
    println!(
        "\nshare of {tests} test sequences, by the way that the digit really goes, for which the network says so:"
    );
    println!("{:>28}  {}     all", "frames", MOVES.map(|(name, ..)| format!("{name:>6}")).concat());
    for (name, x) in [
        ("in order", x_test.view()),
        ("backwards", backwards),
        ("in another order", shuffled.view()),
        ("the first alone, repeated", still.view()),
    ] {
        let answers = model.predict(&x, Predict::default())?;
        let answers: Vec<usize> = answers
            .outer_iter()
            .map(|row| row.iter().enumerate().fold((0, 0.0), |best, (i, &p)| if p > best.1 { (i, p) } else { best }).0)
            .collect();
        let right = |class: Option<usize>| {
            let of = answers.iter().zip(&y_test).filter(|(_, y)| class.is_none_or(|class| class == usize::from(**y)));
            let (right, all) =
                of.fold((0, 0), |(right, all), (a, y)| (right + usize::from(*a == usize::from(*y)), all + 1));
            right as f64 / f64::max(all as f64, 1.0)
        };
        let cells: String = (0..MOVES.len()).map(|class| format!("{:>6.3}", right(Some(class)))).collect();
        println!("{name:>28}  {cells}  {:>6.3}", right(None));
    }
    println!("\ntest accuracy: {:.4}", model.evaluate(&x_test, &y_test, Evaluate::default())?["accuracy"]);
    Ok(())
}

/// Films `(sequences, frames, height, width, 1)` of one of these samples each, which moves by two pixels a frame from
/// anywhere, a little blurred by noise; and which of [`MOVES`] it makes.
fn films(
    digits: &datasets::Split,
    samples: std::ops::Range<usize>,
    sequences: usize,
    seed: u64,
) -> (Array5<u8>, Array1<u8>) {
    let mut rng = random::stream(seed, random::stream_of("films"), 0, 0);
    let y = Array1::from_shape_fn(sequences, |_| rng.random_range(0..MOVES.len()) as u8);
    let mut x = Array5::from_shape_fn((sequences, FRAMES, SIDE, SIDE, 1), |_| rng.random_range(0..3));
    for (mut film, &class) in x.outer_iter_mut().zip(&y) {
        let (_, down, right) = MOVES[usize::from(class)];
        let (sample, top, left) =
            (rng.random_range(samples.clone()), rng.random_range(0..SIDE), rng.random_range(0..SIDE));
        for (time, mut frame) in film.outer_iter_mut().enumerate() {
            let place = |start: usize, step: isize| {
                (start as isize + 2 * step * time as isize).rem_euclid(SIDE as isize) as usize
            };
            let (top, left) = (place(top, down), place(left, right));
            for ((i, j), &ink) in digits.x.slice(s![sample, .., .., 0]).indexed_iter() {
                let pixel = &mut frame[[(top + i) % SIDE, (left + j) % SIDE, 0]];
                *pixel = ink.max(*pixel);
            }
        }
    }
    (x, y)
}
