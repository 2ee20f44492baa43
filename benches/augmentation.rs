//! What an image costs on its way into training: microseconds on one core, the draw included.
//!
//! `cargo bench --bench augmentation [-- NAME…]`. Each row has an image of 28 by 28 with one channel, as MNIST, and one
//! of 224 by 224 with three; values are medians.
use cornu::layers::augmentation::{Augmentation, Draws};
use cornu::layers::{FillMode, Flip};
use cornu::prelude::*;
use std::time::Instant;

const SIZES: [[usize; 3]; 2] = [[28, 28, 1], [224, 224, 3]];

fn picture(size: [usize; 3]) -> Vec<f32> {
    (0..size.iter().product()).map(|i: usize| ((i * 7919) % 65_536) as f32 / 65_536.0).collect()
}

/// The median of the microseconds that `work` takes for an image.
fn microseconds(mut work: impl FnMut(u64)) -> f64 {
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < 20 || (start.elapsed().as_secs_f64() < 0.4 && times.len() < 400) {
        let (first, of_run) = (times.len() as u64 * 8, Instant::now());
        (first..first + 8).for_each(&mut work);
        times.push(of_run.elapsed().as_secs_f64() * 1e6 / 8.0);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

struct Bench {
    names: Vec<String>,
}

impl Bench {
    fn row(&self, name: &str, layer: &impl Augmentation) {
        if !self.names.is_empty() && !self.names.iter().any(|part| name.contains(part.as_str())) {
            return;
        }
        let costs = SIZES.map(|size| {
            if layer.check_size(size).is_err() {
                return "-".to_owned();
            }
            let image = picture(size);
            let mut out = vec![0.0; layer.output_size(size).iter().product()];
            let cost = microseconds(|i| {
                let parameters = layer.draw(size, &mut Draws::new(1, 0, i));
                layer.write(size, &parameters, &image, &mut out).unwrap();
                std::hint::black_box(&mut out);
            });
            format!("{cost:.2}")
        });
        println!("{name:<44} {:>10} {:>10}", costs[0], costs[1]);
    }
}

fn main() {
    let bench = Bench { names: std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect() };
    println!("{}", cornu::kernels::instruction_set());
    println!("{:<44} {:>10} {:>10}", "µs an image", "28x28x1", "224x224x3");
    let range = [0.0, 1.0];
    let shift_rotation_zoom = RandomAffine::new().shift(0.1).rotation(20.0).scale(0.1);
    bench.row("shift, rotation and zoom as one", &shift_rotation_zoom);
    bench.row("the same, what lies outside is 0", &shift_rotation_zoom.clone().fill_mode(FillMode::Constant));
    let all = shift_rotation_zoom.shear(20.0).stretch((1.0, 1.3)).flip(Flip::HorizontalAndVertical);
    bench.row("all six changes as one", &all);
    // One after the other, as three layers would.
    if bench.names.is_empty() || bench.names.iter().any(|name| "warp, brightness, contrast".contains(name.as_str())) {
        let (brightness, contrast) = (RandomBrightness::new(0.2), RandomContrast::new(0.2));
        let (brightness, contrast) = (brightness.value_range(range), contrast.value_range(range));
        let costs = SIZES.map(|size| {
            let mut image = picture(size);
            let mut out = image.clone();
            microseconds(|i| {
                let mut draws = Draws::new(1, 0, i);
                let map = all.draw(size, &mut draws);
                all.write(size, &map, &image, &mut out).unwrap();
                let delta = brightness.draw(size, &mut draws);
                brightness.write(size, &delta, &out, &mut image).unwrap();
                let factor = contrast.draw(size, &mut draws);
                contrast.write(size, &factor, &image, &mut out).unwrap();
                std::hint::black_box(&mut out);
            })
        });
        println!("{:<44} {:>10.2} {:>10.2}", "warp, brightness, contrast", costs[0], costs[1]);
    }
    bench.row("RandomFlip", &RandomFlip::new());
    bench.row("RandomRotation", &RandomRotation::new(0.1));
    bench.row("RandomTranslation", &RandomTranslation::new(0.1, 0.1));
    bench.row("RandomZoom", &RandomZoom::new(0.2));
    bench.row("RandomShear", &RandomShear::new().x_factor(0.2));
    bench.row("RandomPerspective", &RandomPerspective::new().factor((1.0, 1.0)));
    bench.row("RandomElasticTransform", &RandomElasticTransform::new().factor((1.0, 1.0)));
    bench.row("RandomCrop", &RandomCrop::new(24, 24));
    bench.row("RandomBrightness", &RandomBrightness::new(0.2).value_range(range));
    bench.row("RandomContrast", &RandomContrast::new(0.2).value_range(range));
    bench.row("RandomHue", &RandomHue::new(0.2).value_range(range));
    bench.row("RandomSaturation", &RandomSaturation::new(0.2).value_range(range));
    bench.row("RandomColorDegeneration", &RandomColorDegeneration::new(0.5).value_range(range));
    let jitter = RandomColorJitter::new().value_range(range).brightness_factor(0.2);
    let jitter = jitter.contrast_factor(0.2).saturation_factor(0.2).hue_factor(0.2);
    bench.row("RandomColorJitter", &jitter);
    bench.row("RandomGrayscale", &RandomGrayscale::new().factor(1.0));
    bench.row("RandomInvert", &RandomInvert::new().factor((1.0, 1.0)).value_range(range));
    bench.row("RandomPosterization", &RandomPosterization::new(4.0).value_range(range));
    bench.row("Solarization", &Solarization::new().threshold_factor(0.5).value_range(range));
    bench.row("Equalization", &Equalization::new().value_range(range));
    bench.row("AutoContrast", &AutoContrast::new().value_range(range));
    bench.row("RandomSharpness", &RandomSharpness::new(1.0).value_range(range));
    bench.row("RandomGaussianBlur", &RandomGaussianBlur::new().factor((1.0, 1.0)).value_range(range));
    bench.row("RandomErasing", &RandomErasing::new().value_range(range));
    bench.row("RandAugment", &RandAugment::new().value_range(range));
    bench.row("AugMix", &AugMix::new().value_range(range));
}
