//! A folder of photographs as batches of 224 x 224, with and without augmentation: images a second with all workers, and
//! what one image costs on one thread. `benches/peers/images.py` compares it with Keras.
//!
//! `cargo bench --features image --bench images -- FOLDER` prints the costs; with `serve` behind it the program answers
//! each line on its standard input, `plain` or `augmented`, with the seconds of a pass.

use cornu::data::{ImageDataset, Prefetch, image_dataset_from_directory};
use cornu::layers::{RandomBrightness, RandomContrast, RandomFlip, RandomRotation, RandomTranslation, RandomZoom};
use cornu::prelude::*;
use std::io::{BufRead, Write};
use std::time::Instant;

const SIDE: usize = 224;
const BATCH: usize = 32;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let Some(folder) = arguments.first() else {
        println!("images: give a folder of photographs, with a folder for each class");
        return Ok(());
    };
    let photographs = |height: usize, width: usize| {
        image_dataset_from_directory(folder).image_size(height, width).batch_size(BATCH).seed(1).verbose(false).load()
    };
    let images = photographs(SIDE, SIDE)?;
    match arguments.get(1).map(String::as_str) {
        Some("serve") => serve(&images),
        _ => costs(&images, &photographs(375, 500)?),
    }
}

/// The layers of the comparison, as in Keras' guide to image classification and a little more.
fn augmentation() -> Result<Sequential, Failure> {
    let mut layers = Sequential::new();
    layers.add(RandomFlip::new()).add(RandomRotation::new(0.1)).add(RandomZoom::new(0.1)).add(RandomContrast::new(0.1));
    Ok(layers)
}

fn serve(images: &ImageDataset) -> Result<(), Failure> {
    let augmented = images.augment(augmentation()?).prefetch(Prefetch::new());
    let plain = images.prefetch(Prefetch::new());
    for (epoch, line) in std::io::stdin().lock().lines().enumerate() {
        let data = if line?.trim() == "augmented" { &augmented } else { &plain };
        let start = Instant::now();
        let seen: usize = data.epoch(epoch).map(|batch| Ok(batch?.x[0].batch())).sum::<cornu::Result<usize>>()?;
        println!("{} {seen}", start.elapsed().as_secs_f64());
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// The time of an image on one thread, step by step.
fn costs(images: &ImageDataset, whole: &ImageDataset) -> Result<(), Failure> {
    let each = |name: &str, data: &Dataset| -> Result<f64, Failure> {
        let mut best = f64::INFINITY;
        for epoch in 0..3 {
            let start = Instant::now();
            let seen: usize = data.epoch(epoch).map(|batch| Ok(batch?.x[0].batch())).sum::<cornu::Result<usize>>()?;
            best = best.min(start.elapsed().as_secs_f64() / seen as f64 * 1e6);
        }
        println!("{name:>32} {best:8.0} µs");
        Ok(best)
    };
    cornu::runtime::threads::with_num_threads(1, || {
        each("read, decode, as f32", whole)?;
        each("read, decode, to 224 x 224", images)?;
        let kept = images.take(8).cache();
        let copied = each("batch from the cache", &kept)?;
        let layers: [(&str, LayerHandle); 6] = [
            ("RandomFlip", RandomFlip::new().into()),
            ("RandomRotation(0.1)", RandomRotation::new(0.1).into()),
            ("RandomZoom(0.1)", RandomZoom::new(0.1).into()),
            ("RandomTranslation(0.1, 0.1)", RandomTranslation::new(0.1, 0.1).into()),
            ("RandomContrast(0.1)", RandomContrast::new(0.1).into()),
            ("RandomBrightness(0.1)", RandomBrightness::new(0.1).into()),
        ];
        for (name, layer) in layers {
            let mut chain = Sequential::new();
            chain.add(layer);
            let all = each(name, &kept.augment(chain))?;
            println!("{:>32} {:8.0} µs", "of that the layer", (all - copied).max(0.0));
        }
        each("all four of the comparison", &kept.augment(augmentation()?))?;
        Ok(())
    })
}
