//! Small images inside pictures.

use super::paper::Image;
use super::{Area, Drawn};
use crate::error::{Error, Result};
use ndarray::ArrayView3;
use plotters::style::RGBColor;

/// An image of red, green and blue.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pixels {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Pixels {
    /// An image of this size, each pixel (row, column) by itself.
    pub(super) fn new(height: usize, width: usize, color: impl Fn(usize, usize) -> RGBColor) -> Self {
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
        let rgb = places.flat_map(|(y, x)| <[u8; 3]>::from(Rgb(color(y, x)))).collect();
        Pixels { width, height, rgb }
    }

    /// An array `(height, width, channels)` of 1, 3 or more channels; values from `low` to `high` become black to white.
    /// Of other numbers of channels the mean is shown; NaN is a light magenta.
    pub(super) fn of_image(image: ArrayView3<'_, f32>, (low, high): (f32, f32)) -> Self {
        let (height, width, channels) = image.dim();
        let byte = |value: f32| ((value - low) / (high - low).max(f32::MIN_POSITIVE) * 255.0).round() as u8;
        Pixels::new(height, width, |y, x| {
            let at = |c: usize| image[[y, x, c]];
            let mean = || (0..channels).map(at).sum::<f32>() / channels.max(1) as f32;
            let [r, g, b] = if channels == 3 { [at(0), at(1), at(2)] } else { [mean(); 3] };
            if r.is_nan() || g.is_nan() || b.is_nan() { NOT_A_NUMBER } else { RGBColor(byte(r), byte(g), byte(b)) }
        })
    }

    /// The pixel at place `x` of `width` and `y` of `height`.
    pub(super) fn nearest(&self, (x, width): (i32, i32), (y, height): (i32, i32)) -> [u8; 3] {
        let place = |at: i32, of: i32, n: usize| (at as usize * n / of.max(1) as usize).min(n.saturating_sub(1));
        let i = (place(y, height, self.height) * self.width + place(x, width, self.width)) * 3;
        [self.rgb[i], self.rgb[i + 1], self.rgb[i + 2]]
    }

    /// The image as an address that holds it.
    pub(super) fn data_url(&self) -> String {
        let file = png(self.width as u32, self.height as u32, &self.rgb).unwrap_or_default();
        format!("data:image/png;base64,{}", base64(&file))
    }

    /// Draws it with its upper left corner at `(x, y)`, of this width and height in drawing units.
    pub(super) fn draw(&self, area: &Area, (x, y): (i32, i32), (width, height): (i32, i32)) -> Drawn {
        match self.rgb.is_empty() {
            true => Ok(()),
            false => area.draw(&Image { pixels: self, corners: [(x, y), (x + width, y + height)] }),
        }
    }
}

/// What has no value: none of the palette's colours.
pub(super) const NOT_A_NUMBER: RGBColor = RGBColor(255, 190, 255);

struct Rgb(RGBColor);

impl From<Rgb> for [u8; 3] {
    fn from(Rgb(RGBColor(r, g, b)): Rgb) -> Self {
        [r, g, b]
    }
}

/// The range of values that an image is shown in: 0 to 1 or 0 to 255 where its values lie so, else its own. Much smaller ones
/// than 255 are of another range, such as the 0 to 16 of the digits.
pub(super) fn range_of(values: impl Iterator<Item = f32>) -> (f32, f32) {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    match (low, high) {
        (low, high) if low > high => (0.0, 1.0),
        (low, high) if low >= 0.0 && high <= 1.0 => (0.0, 1.0),
        (low, high) if low >= 0.0 && high <= 255.0 && high > 64.0 => (0.0, 255.0),
        other => other,
    }
}

/// The bytes of a PNG file of these pixels.
pub(super) fn png(width: u32, height: u32, rgb: &[u8]) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encode = || {
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(rgb)?;
        writer.finish()
    };
    encode().map_err(|error| Error::io("picture", error.into()))?;
    Ok(file)
}

/// Bytes as letters (RFC 4648).
pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * i)) as usize & 63]);
            text.push(if i > three.len() { '=' } else { letter });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_standard() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn images_are_black_to_white_in_their_range() {
        let image = ndarray::array![[[0.0f32], [1.0]], [[0.5], [f32::NAN]]];
        let pixels = Pixels::of_image(image.view(), range_of(image.iter().copied()));
        assert_eq!(pixels.rgb, [[0; 3], [255; 3], [128; 3], [255, 190, 255]].concat());
        assert_eq!(pixels.nearest((5, 6), (0, 6)), [255; 3]);
        assert_eq!(pixels.nearest((2, 6), (3, 6)), [128; 3]);
        assert_eq!(range_of([0.0, 200.0].into_iter()), (0.0, 255.0));
        assert_eq!(range_of([-1.0, 300.0, f32::INFINITY].into_iter()), (-1.0, 300.0));
        assert_eq!(range_of([0.0, 16.0].into_iter()), (0.0, 16.0));
        assert_eq!(range_of([f32::NAN].into_iter()), (0.0, 1.0));
    }
}
