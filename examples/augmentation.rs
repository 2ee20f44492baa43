//! One picture in 24 variants: what the augmentation layers do in training.
//!
//! `cargo run --release --features vision --example augmentation [-- photograph.jpg [augmentation.png]]`
//!
//! Then all of the course's six changes at once, as a layer in a model: the same seed gives the same pictures.
#[path = "support/sheet.rs"]
mod sheet;

use cornu::layers::augmentation::{Augmentation, Draws};
use cornu::layers::{FillMode, Flip};
use cornu::prelude::*;
use ndarray::{Array3, Axis};
use sheet::{Sheet, picture};

fn main() -> cornu::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let (height, width) = if short { (60, 80) } else { (150, 200) };
    let image = picture(arguments.first(), [height, width])?;
    let mut sheet = Variants { sheet: Sheet::new(6, height, width)?, image, number: 0 };

    sheet.sheet.add("the picture", &sheet.image)?;
    // Ranges that begin and end alike: what is shown is what is asked for.
    sheet.add("RandomFlip", RandomFlip::new().mode(Flip::Horizontal))?;
    sheet.add("RandomRotation, 40°", RandomRotation::new((0.11, 0.11)).fill_mode(FillMode::Constant))?;
    sheet.add("RandomTranslation", RandomTranslation::new((0.2, 0.2), (0.25, 0.25)).fill_mode(FillMode::Wrap))?;
    sheet.add("RandomZoom, in", RandomZoom::new((-0.4, -0.4)))?;
    sheet.add("RandomZoom, one axis", RandomZoom::new((0.0, 0.0)).width_factor((-0.4, -0.4)))?;
    sheet.add("RandomShear, nearest", RandomShear::new().x_factor((0.4, 0.4)).fill_mode(FillMode::Nearest))?;
    sheet.add("RandomPerspective", RandomPerspective::new().factor((1.0, 1.0)).scale(0.9))?;
    sheet.add("RandomElasticTransform", RandomElasticTransform::new().factor((1.0, 1.0)).scale((0.4, 0.4)))?;
    sheet.add("RandomCrop and back", RandomCrop::new(height / 2, width / 2))?;
    sheet.add("RandomBrightness", RandomBrightness::new((0.3, 0.3)))?;
    sheet.add("RandomContrast", RandomContrast::new((0.8, 0.8)))?;
    sheet.add("RandomHue", RandomHue::new((0.5, 0.5)))?;
    sheet.add("RandomSaturation", RandomSaturation::new((0.75, 0.75)).value_range([0.0, 1.0]))?;
    sheet.add("RandomGrayscale", RandomGrayscale::new().factor(1.0))?;
    sheet.add("RandomInvert", RandomInvert::new().factor((1.0, 1.0)))?;
    sheet.add("RandomPosterization, 2 bits", RandomPosterization::new((2.0, 2.0)))?;
    sheet.add("Solarization", Solarization::new().threshold_factor((0.3, 0.4)))?;
    sheet.add("Equalization", Equalization::new())?;
    sheet.add("RandomGaussianBlur", RandomGaussianBlur::new().factor((1.0, 1.0)).kernel_size(9).sigma((1.0, 1.0)))?;
    sheet.add("RandomErasing", RandomErasing::new().factor((1.0, 1.0)).scale((0.1, 0.2)))?;
    sheet.add("RandAugment", RandAugment::new().num_ops(3))?;
    sheet.add("AugMix", AugMix::new().factor((0.0, 0.6)))?;

    // All changes of the plane as one: the picture is sampled once.
    let all = RandomAffine::new()
        .rotation((0.0, 360.0))
        .shift(0.1)
        .scale((1.0, 1.6))
        .flip(Flip::HorizontalAndVertical)
        .shear(20.0)
        .stretch((1.0, 1.3));
    sheet.add("RandomAffine: all at once", all.clone())?;
    sheet.sheet.save(arguments.get(1).map_or("augmentation.png", String::as_str))?;

    // In a model it works in training alone, and the seed decides.
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([height, width, 3])).add(all).add(GlobalAveragePooling2D::new()).add(Dense::new(1));
    model.compile(Sgd::new(1e-6), "mse", ())?;
    let (x, y) = (sheet.image.insert_axis(Axis(0)), ndarray::array![[1.0]]);
    let losses = (0..3).map(|_| model.train_on_batch(&x, &y)).collect::<cornu::Result<Vec<_>>>()?;
    println!("three steps on one picture, which is another one each time: {losses:?}");
    Ok(())
}

/// Collects variants of a picture.
struct Variants {
    sheet: Sheet,
    image: Array3<f32>,
    number: u64,
}

impl Variants {
    fn add(&mut self, title: &str, layer: impl Augmentation) -> cornu::Result<()> {
        self.number += 1;
        let (height, width, _) = self.image.dim();
        let mut variant = layer.augment(&self.image, &mut Draws::new(7, 0, self.number))?;
        if variant.dim() != self.image.dim() {
            let bilinear = cornu::layers::Interpolation::Bilinear;
            variant = cornu::data::image::resize(&variant, [height, width], bilinear, false)?;
        }
        self.sheet.add(title, &variant)
    }
}
