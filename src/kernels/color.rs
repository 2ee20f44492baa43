//! Colours of one pixel in other coordinates, as Keras computes them.

/// What red, green and blue weigh in a grey value (ITU-R 601-2).
pub const GREY: [f32; 3] = [0.2989, 0.587, 0.114];

/// The grey value of red, green and blue.
#[inline(always)]
pub fn grey([red, green, blue]: [f32; 3]) -> f32 {
    GREY[0] * red + GREY[1] * green + GREY[2] * blue
}

/// Hue, saturation and value of red, green and blue: hue and saturation from 0 to 1, the value in the range of the
/// colours.
#[inline(always)]
pub fn rgb_to_hsv(rgb: [f32; 3]) -> [f32; 3] {
    let [red, green, blue] = rgb.map(|v| if v.abs() < f32::EPSILON { 0.0 } else { v });
    let value = red.max(green).max(blue);
    let range = value - red.min(green).min(blue);
    let saturation = if value > 0.0 { range / value } else { 0.0 };
    let norm = 1.0 / (6.0 * if range > 0.0 { range } else { 1.0 });
    let from_green = norm * (blue - red) + 2.0 / 6.0;
    let from_blue = norm * (red - green) + 4.0 / 6.0;
    let hue = if value == green { from_green } else { from_blue };
    let hue = if value == red { norm * (green - blue) } else { hue };
    let hue = if range > 0.0 { hue } else { 0.0 };
    [if hue < 0.0 { hue + 1.0 } else { hue }, saturation, value]
}

/// The opposite of [`rgb_to_hsv`].
#[inline(always)]
pub fn hsv_to_rgb([hue, saturation, value]: [f32; 3]) -> [f32; 3] {
    let sixth = (hue - hue.floor()) * 6.0;
    let pure = [(sixth - 3.0).abs() - 1.0, 2.0 - (sixth - 2.0).abs(), 2.0 - (sixth - 4.0).abs()];
    pure.map(|part| value * (1.0 - saturation + saturation * part.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_have_their_hues() {
        let third = 1.0 / 3.0;
        let known: [([f32; 3], [f32; 3]); 7] = [
            ([1.0, 0.0, 0.0], [0.0, 1.0, 1.0]),
            ([0.0, 2.0, 0.0], [third, 1.0, 2.0]),
            ([0.0, 0.0, 1.0], [2.0 * third, 1.0, 1.0]),
            ([1.0, 0.0, 1.0], [2.5 * third, 1.0, 1.0]),
            ([0.5, 0.5, 0.25], [0.5 * third, 0.5, 0.5]),
            ([0.3, 0.3, 0.3], [0.0, 0.0, 0.3]),
            ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
        ];
        for (rgb, hsv) in known {
            let got = rgb_to_hsv(rgb);
            assert!(got.iter().zip(hsv).all(|(a, b)| (a - b).abs() < 1e-6), "{rgb:?}: {got:?}");
            let back = hsv_to_rgb(got);
            assert!(back.iter().zip(rgb).all(|(a, b)| (a - b).abs() < 1e-6), "{rgb:?}: {back:?}");
        }
    }
}
