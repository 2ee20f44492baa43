//! Several answers at once: which digits are in the picture? Ten sigmoid outputs, each a yes or no of its own.
//!
//! `cargo run --release --example multi_label`
use cornu::prelude::*;
use ndarray::{Array2, Array4, s};

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let (pictures, epochs) = if short { (600, 2) } else { (4000, 12) };
    let digits = datasets::digits();
    // Other handwriting to test on than to learn from.
    let (x, y) = draw(&digits, 0..1400, pictures, 1);
    let (x_test, y_test) = draw(&digits, 1400..1797, 1000, 2);

    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([20, 20, 1]))
        .add(Rescaling::new(1.0 / 16.0))
        .add(Conv2D::new(32, 3).padding(Padding::Same).activation("relu"))
        .add(Conv2D::new(32, 3).padding(Padding::Same).activation("relu"))
        .add(MaxPooling2D::new(2))
        .add(Conv2D::new(64, 3).padding(Padding::Same).activation("relu"))
        .add(Conv2D::new(64, 3).padding(Padding::Same).activation("relu"))
        .add(GlobalMaxPooling2D::new())
        .add(Dense::new(10).activation("sigmoid"));
    model.compile(Adam::new(2e-3), "binary_crossentropy", ["binary_accuracy"])?;
    model.fit(&x, &y, Fit::new().epochs(epochs).batch_size(50).verbose(if short { 0 } else { 2 }))?;

    let found = model.predict(&x_test, Predict::default())?;
    println!("five pictures, what is in them and what the network says:");
    for (row, answers) in y_test.rows().into_iter().zip(found.rows()).take(5) {
        let there: Vec<usize> = (0..10).filter(|&d| row[d] == 1.0).collect();
        let seen: Vec<String> =
            (0..10).filter(|&d| answers[d] > 0.5).map(|d| format!("{d} ({:.0} %)", 100.0 * answers[d])).collect();
        println!("  {there:?}: {}", seen.join(", "));
    }
    let right = y_test.rows().into_iter().zip(found.rows());
    let right = right.filter(|(row, answers)| row.iter().zip(answers).all(|(y, p)| (*y == 1.0) == (*p > 0.5))).count();
    let scores = model.evaluate(&x_test, &y_test, Evaluate::default())?;
    println!("single answers that are right: {:.4}", scores["binary_accuracy"]);
    println!("pictures with all ten answers right: {:.4}", right as f64 / x_test.shape()[0] as f64);
    Ok(())
}

/// Pictures of 20 x 20 pixels with one to three digits among these samples, each in a corner of its own and a little
/// away from it; and which digits they are.
fn draw(
    digits: &datasets::Split,
    samples: std::ops::Range<usize>,
    pictures: usize,
    seed: u64,
) -> (Array4<f32>, Array2<f32>) {
    let mut state = seed;
    // The numbers of Knuth's MMIX: good enough to place digits.
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut x, mut y) = (Array4::zeros((pictures, 20, 20, 1)), Array2::zeros((pictures, 10)));
    for picture in 0..pictures {
        let (count, first) = (1 + random(3), random(4));
        for corner in (first..first + count).map(|corner| corner % 4) {
            let sample = samples.start + random(samples.len());
            let (top, left) = (corner / 2 * 10 + random(3), corner % 2 * 10 + random(3));
            let digit = digits.x.slice(s![sample, .., .., 0]).mapv(f32::from);
            x.slice_mut(s![picture, top..top + 8, left..left + 8, 0]).assign(&digit);
            y[[picture, usize::from(digits.y[sample])]] = 1.0;
        }
    }
    (x, y)
}
