//! Small images inside pictures.

use super::paper::Image;
use super::{Area, Drawn};
use crate::picture;
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
        let file = picture::png(self.width, self.height, 3, &self.rgb).unwrap_or_default();
        format!("data:image/png;base64,{}", picture::base64(&file))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::range_of;

    #[test]
    fn images_are_black_to_white_in_their_range() {
        let image = ndarray::array![[[0.0f32], [1.0]], [[0.5], [f32::NAN]]];
        let pixels = Pixels::of_image(image.view(), range_of(image.iter().copied()));
        assert_eq!(pixels.rgb, [[0; 3], [255; 3], [128; 3], [255, 190, 255]].concat());
        assert_eq!(pixels.nearest((5, 6), (0, 6)), [255; 3]);
        assert_eq!(pixels.nearest((2, 6), (3, 6)), [128; 3]);
    }
}
