//! What can be done with an image before a network sees it, with the crates `image` and `imageproc`: equalising, blurring
//! and restoring, a cosine transform and compression by it, edges, drawing, colours, channels. All on one sheet.
//!
//! `cargo run --release --features vision --example image_processing [-- photograph.jpg [image_processing.png]]`
#[path = "support/sheet.rs"]
mod sheet;

use cornu::data::image;
use cornu::layers::RandomGaussianBlur;
use cornu::layers::augmentation::Augmentation;
use imageproc::drawing;
use imageproc::rect::Rect;
use ndarray::{Array2, Array3, Axis};
use sheet::image_crate::{GrayImage, Rgb, RgbImage};
use sheet::{Sheet, picture};

fn main() -> cornu::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let (height, width) = if short { (64, 96) } else { (192, 256) };
    let color = picture(arguments.first(), [height, width])?;
    let grey = image::rgb_to_grayscale(&color)?;
    let mut sheet = Sheet::new(4, height, width)?;
    sheet.add("the picture", &color)?;
    sheet.add("grey", &grey)?;

    // imageproc works on images of the crate image: array_to_img and img_to_array lead there and back.
    let grey_image: GrayImage = image::array_to_img(&grey, false)?.into_luma8();
    let equal = imageproc::contrast::equalize_histogram(&grey_image);
    sheet.add("equalised", &image::img_to_array(&equal.into()))?;
    let edges = imageproc::edges::canny(&grey_image, 30.0, 80.0);
    sheet.add("edges (Canny)", &image::img_to_array(&edges.into()).mapv(|v| 255.0 - v))?;

    let blurred = blur(&grey)?;
    sheet.add("blurred", &blurred)?;
    let restored = restore(&blurred, if short { 5 } else { 40 })?;
    sheet.add("restored (Richardson, Lucy)", &restored)?;
    println!(
        "error of the blurred picture {:.2}, of the restored one {:.2}",
        rms(&blurred, &grey),
        rms(&restored, &grey)
    );

    let coefficients = blocks(&grey, dct);
    sheet.add("cosine transform, 8 by 8", &coefficients.mapv(|v| 30.0 * (1.0 + v.abs()).ln()))?;
    for step in [16.0, 80.0] {
        let quantised = coefficients.mapv(|v| (v / step).round() * step);
        let kept = quantised.iter().filter(|v| **v != 0.0).count() as f32 / quantised.len() as f32;
        let back = blocks(&quantised, inverse_dct);
        sheet.add(&format!("steps of {step}: {:.0} % are not 0", 100.0 * kept), &back)?;
        println!(
            "quantised in steps of {step}: {:.1} % of the coefficients are left, error {:.2}",
            100.0 * kept,
            rms(&back, &grey)
        );
    }

    let mut drawn: RgbImage = image::array_to_img(&color, false)?.into_rgb8();
    draw(&mut drawn);
    sheet.write(&mut drawn, [8, height as i32 - 26], 18.0, [255; 3], "lines, shapes, text");
    sheet.add_image("drawing", drawn);

    let hsv = image::rgb_to_hsv(&color)?;
    let [hue, saturation] = [0, 1].map(|c| hsv.index_axis(Axis(2), c).mapv(|v| 255.0 * v).insert_axis(Axis(2)));
    sheet.add("hue", &hue)?;
    sheet.add("saturation", &saturation)?;
    let mut turned = hsv;
    turned.index_axis_mut(Axis(2), 0).mapv_inplace(|hue| (hue + 1.0 / 3.0).fract());
    sheet.add("hue turned by a third", &image::hsv_to_rgb(&turned)?)?;

    let channels: Vec<Array2<f32>> = image::split_channels(&color);
    sheet.add("the red channel", &channels[0].clone().insert_axis(Axis(2)))?;
    let zeros = Array2::zeros((height, width));
    sheet.add("red and blue, merged", &image::merge_channels(&[channels[0].clone(), zeros, channels[2].clone()])?)?;
    sheet.add("as blue, green, red", &image::rgb_to_bgr(&color)?)?;
    sheet.save(arguments.get(1).map_or("image_processing.png", String::as_str))
}

/// The mean distance of two pictures, leaving out their borders.
fn rms(a: &Array3<f32>, b: &Array3<f32>) -> f32 {
    let (height, width, _) = a.dim();
    let inside = ndarray::s![12..height - 12, 12..width - 12, ..];
    (&a.slice(inside) - &b.slice(inside)).mapv(|d| d * d).mean().unwrap_or(0.0).sqrt()
}

/// Blurred with a deviation of 2 pixels. Beyond the border it is black.
fn blur(picture: &Array3<f32>) -> cornu::Result<Array3<f32>> {
    let layer = RandomGaussianBlur::new().kernel_size(13).value_range([0.0, 1e6]);
    layer.apply(picture, &Some([2.0, 2.0]))
}

/// What was before the blur, found step by step: a guess is blurred, and changed where it differs from what is seen
/// (Richardson 1972, Lucy 1974).
fn restore(seen: &Array3<f32>, steps: usize) -> cornu::Result<Array3<f32>> {
    // Near the border a part of each pixel's light was lost.
    let (mut guess, kept) = (seen.clone(), blur(&Array3::ones(seen.dim()))?);
    for _ in 0..steps {
        let ratio = seen / &blur(&guess)?.mapv(|v| v.max(1e-3));
        guess = &guess * &blur(&ratio)? / &kept;
    }
    Ok(guess.mapv(|v| v.clamp(0.0, 255.0)))
}

type Block = [[f32; 8]; 8];

/// Each block of 8 by 8 pixels changed; what is left at the right and at the bottom stays.
fn blocks(picture: &Array3<f32>, change: fn(&Block) -> Block) -> Array3<f32> {
    let mut out = picture.clone();
    let (height, width, _) = picture.dim();
    for top in (0..height / 8 * 8).step_by(8) {
        for left in (0..width / 8 * 8).step_by(8) {
            let block = std::array::from_fn(|i| std::array::from_fn(|j| picture[[top + i, left + j, 0]]));
            let changed = change(&block);
            for (i, row) in changed.iter().enumerate() {
                row.iter().enumerate().for_each(|(j, v)| out[[top + i, left + j, 0]] = *v);
            }
        }
    }
    out
}

/// The cosine of row `frequency` at position `i`, with a length of 1 for each row.
fn cosine(frequency: usize, i: usize) -> f32 {
    let scale = if frequency == 0 { 0.125_f32.sqrt() } else { 0.5 };
    scale * (std::f32::consts::PI * frequency as f32 * (2 * i + 1) as f32 / 16.0).cos()
}

/// How much of each pair of cosines is in a block (the transform of JPEG).
fn dct(block: &Block) -> Block {
    let sum = |u: usize, v: usize| -> f32 {
        (0..64).map(|k| block[k / 8][k % 8] * cosine(u, k / 8) * cosine(v, k % 8)).sum()
    };
    std::array::from_fn(|u| std::array::from_fn(|v| sum(u, v)))
}

/// The opposite of [`dct`].
fn inverse_dct(block: &Block) -> Block {
    let sum = |i: usize, j: usize| -> f32 {
        (0..64).map(|k| block[k / 8][k % 8] * cosine(k / 8, i) * cosine(k % 8, j)).sum()
    };
    std::array::from_fn(|i| std::array::from_fn(|j| sum(i, j)))
}

/// Lines, rectangles, circles and ellipses.
fn draw(picture: &mut RgbImage) {
    let (width, height) = (picture.width() as i32, picture.height() as i32);
    let [red, green, blue, yellow] = [[220, 40, 40], [40, 200, 80], [60, 90, 240], [250, 220, 60]].map(Rgb);
    let (right, bottom) = (width as f32 - 1.0, height as f32 - 1.0);
    drawing::draw_line_segment_mut(picture, (0.0, 0.0), (right, bottom), red);
    drawing::draw_antialiased_line_segment_mut(picture, (0, height - 1), (width - 1, 0), red, |a, b, weight| {
        Rgb(std::array::from_fn(|c| (f32::from(a.0[c]) * weight + f32::from(b.0[c]) * (1.0 - weight)) as u8))
    });
    let (third, half) = (width as u32 / 3, height as u32 / 2);
    drawing::draw_hollow_rect_mut(picture, Rect::at(width / 3, height / 4).of_size(third, half), green);
    drawing::draw_filled_rect_mut(picture, Rect::at(6, 6).of_size(third / 3, half / 4), yellow);
    drawing::draw_filled_circle_mut(picture, (width - width / 8, height / 6), height / 10, yellow);
    drawing::draw_hollow_circle_mut(picture, (width / 2, height / 2), height / 4, blue);
    drawing::draw_hollow_ellipse_mut(picture, (width / 2, height / 2), width / 3, height / 8, red);
    drawing::draw_filled_ellipse_mut(picture, (width / 8, height / 2), width / 16, height / 8, blue);
}
