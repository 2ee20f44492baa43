//! An image, a map of what mattered in it, and the two together.

use super::colors::heat;
use super::pixels::Pixels;
use super::{Area, Drawn, fit, px, text};
use crate::picture::range_of;
use ndarray::{Array2, Array3, ArrayView2};
use plotters::style::RGBColor;
use plotters_backend::text_anchor::{HPos, VPos};

const GAP: f64 = 16.0;
const CAPTION: f64 = 30.0;
const SCALE: f64 = 74.0;
/// An image is shown so large that its longer side has at least so many pixels.
const LEAST_SIDE: usize = 224;

/// Three panels: the image, the map (0 to 1), the image under the map.
pub(super) struct Overlay<'a> {
    pub(super) image: &'a Array3<f32>,
    /// As large as the image.
    pub(super) map: &'a Array2<f32>,
    pub(super) captions: [String; 3],
}

impl Overlay<'_> {
    /// The size of a panel in pixels.
    fn panel(image: &Array3<f32>) -> (f64, f64) {
        let (height, width, _) = image.dim();
        let by = LEAST_SIDE.div_ceil(height.max(width).max(1));
        ((width * by) as f64, (height * by) as f64)
    }

    /// The size of the picture in pixels.
    pub(super) fn size(image: &Array3<f32>) -> (u32, u32) {
        let (width, height) = Self::panel(image);
        ((3.0 * width + 4.0 * GAP + SCALE) as u32, (height + CAPTION + GAP) as u32)
    }

    pub(super) fn draw(&self, area: &Area) -> Drawn {
        let (height, width, _) = self.image.dim();
        let (across, down) = Self::panel(self.image);
        let base = Pixels::of_image(self.image.view(), range_of(self.image.iter().copied()));
        let at = |y: usize, x: usize| f64::from(self.map[[y, x]]);
        let map = Pixels::new(height, width, |y, x| heat(at(y, x)));
        let both = Pixels::new(height, width, |y, x| {
            let below = base.nearest((x as i32, width as i32), (y as i32, height as i32));
            let RGBColor(r, g, b) = heat(at(y, x));
            // Where nothing mattered the image is seen as it is, a little darker.
            let share = 0.25 + 0.45 * at(y, x).clamp(0.0, 1.0);
            let mix = |under: u8, over: u8| ((1.0 - share) * f64::from(under) + share * f64::from(over)).round() as u8;
            RGBColor(mix(below[0], r), mix(below[1], g), mix(below[2], b))
        });
        for (i, (pixels, caption)) in [base.clone(), map, both].iter().zip(&self.captions).enumerate() {
            let left = px(GAP + i as f64 * (across + GAP));
            pixels.draw(area, (left, px(GAP)), (px(across), px(down)))?;
            let style = text(12.0, HPos::Center, VPos::Top);
            let caption = fit(area, caption, &style, px(across + GAP - 4.0))?;
            area.draw_text(&caption, &style, (left + px(across / 2.0), px(GAP + down + 8.0)))?;
        }
        scale(area, px(3.0 * across + 4.0 * GAP), (px(GAP), px(GAP + down)), heat, ["0", "0.5", "1"])
    }
}

/// A bar of colours from below (0) to above (1), with labels at its ends and its middle.
pub(super) fn scale(
    area: &Area,
    left: i32,
    (top, bottom): (i32, i32),
    color: impl Fn(f64) -> RGBColor,
    labels: [&str; 3],
) -> Drawn {
    let bar = Pixels::new(128, 1, |y, _| color(1.0 - y as f64 / 127.0));
    bar.draw(area, (left, top), (px(14.0), bottom - top))?;
    let style = text(11.0, HPos::Left, VPos::Center);
    for (label, at) in labels.iter().zip([bottom - px(5.0), (top + bottom) / 2, top + px(5.0)]) {
        area.draw_text(label, &style, (left + px(20.0), at))?;
    }
    Ok(())
}

/// A map in another size, its values between those of the nearest cells (bilinear, cells seen as areas).
pub(super) fn enlarged(map: ArrayView2<'_, f32>, height: usize, width: usize) -> Array2<f32> {
    let (rows, columns) = map.dim();
    let place = |at: usize, of: usize, n: usize| {
        let at = ((at as f64 + 0.5) * n as f64 / of as f64 - 0.5).clamp(0.0, (n - 1) as f64);
        let first = (at as usize).min(n - 1);
        (first, (first + 1).min(n - 1), (at - first as f64) as f32)
    };
    Array2::from_shape_fn((height, width), |(y, x)| {
        let ((y0, y1, down), (x0, x1, right)) = (place(y, height, rows), place(x, width, columns));
        let row = |y: usize| (1.0 - right) * map[[y, x0]] + right * map[[y, x1]];
        (1.0 - down) * row(y0) + down * row(y1)
    })
}

/// The map over its largest value: from 0 to 1; all 0 if nothing is above 0.
pub(super) fn normalized(map: &Array2<f32>) -> Array2<f32> {
    let largest = map.iter().copied().fold(0.0, f32::max);
    if largest > 0.0 { map.mapv(|v| v / largest) } else { Array2::zeros(map.raw_dim()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn maps_grow_without_moving() {
        let map = array![[0.0f32, 1.0]];
        assert_eq!(enlarged(map.view(), 2, 4), array![[0.0, 0.25, 0.75, 1.0], [0.0, 0.25, 0.75, 1.0]]);
        let same = array![[1.0f32, 2.0], [3.0, 5.0]];
        assert_eq!(enlarged(same.view(), 2, 2), same);
        assert_eq!(enlarged(array![[3.0f32]].view(), 1, 3), array![[3.0, 3.0, 3.0]]);
    }

    #[test]
    fn maps_end_at_one() {
        assert_eq!(normalized(&array![[0.0, 2.0], [4.0, 1.0]]), array![[0.0, 0.5], [1.0, 0.25]]);
        assert_eq!(normalized(&array![[0.0, 0.0]]), array![[0.0, 0.0]]);
    }
}
