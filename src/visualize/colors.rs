//! Colours for values: scales that people with any kind of colour vision can read.

use super::PALETTE;
use super::pixels::NOT_A_NUMBER;
use plotters::style::RGBColor;

/// The colour at a share of the way through these colours, which stand at equal distances.
fn between(colors: &[RGBColor], share: f64) -> RGBColor {
    if share.is_nan() {
        return NOT_A_NUMBER;
    }
    let at = share.clamp(0.0, 1.0) * (colors.len() - 1) as f64;
    let (i, part) = ((at as usize).min(colors.len() - 2), at - (at as usize).min(colors.len() - 2) as f64);
    let (RGBColor(r0, g0, b0), RGBColor(r1, g1, b1)) = (colors[i], colors[i + 1]);
    let mix = |a: u8, b: u8| (f64::from(a) + part * (f64::from(b) - f64::from(a))).round() as u8;
    RGBColor(mix(r0, r1), mix(g0, g1), mix(b0, b1))
}

/// From white (0) to a dark blue (1): for amounts on white paper.
pub(super) fn amount(share: f64) -> RGBColor {
    between(&[RGBColor(255, 255, 255), RGBColor(150, 197, 224), PALETTE[0], RGBColor(0, 50, 90)], share)
}

/// From black over purple and orange to a pale yellow (the scale *inferno* of matplotlib): for intensities. Its lightness
/// rises evenly.
pub(super) fn heat(share: f64) -> RGBColor {
    const INFERNO: [RGBColor; 9] = [
        RGBColor(0, 0, 4),
        RGBColor(31, 12, 72),
        RGBColor(85, 15, 109),
        RGBColor(136, 34, 106),
        RGBColor(187, 55, 84),
        RGBColor(227, 89, 51),
        RGBColor(249, 140, 10),
        RGBColor(249, 201, 50),
        RGBColor(252, 255, 164),
    ];
    between(&INFERNO, share)
}

/// From blue (-1) over white (0) to vermillion (1): for what has a sign.
pub(super) fn signed(value: f64) -> RGBColor {
    let ends = [RGBColor(0, 60, 110), PALETTE[0], RGBColor(255, 255, 255), PALETTE[1], RGBColor(120, 45, 0)];
    between(&ends, (value + 1.0) / 2.0)
}

/// Whether text on this colour must be white to be read: by its relative luminance, roughly.
pub(super) fn is_dark(RGBColor(r, g, b): RGBColor) -> bool {
    0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b) < 140.0
}

/// The colours of lines that are compared: those of the palette that are seen on white as thin lines too.
pub(super) fn line(i: usize) -> RGBColor {
    PALETTE[i % 6]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_hit_their_ends_and_middles() {
        assert_eq!(amount(0.0), RGBColor(255, 255, 255));
        assert_eq!((amount(1.0), amount(7.0)), (RGBColor(0, 50, 90), RGBColor(0, 50, 90)));
        assert_eq!((signed(0.0), signed(-0.5), signed(0.5)), (RGBColor(255, 255, 255), PALETTE[0], PALETTE[1]));
        assert_eq!(
            (heat(0.0), heat(0.5), heat(1.0)),
            (RGBColor(0, 0, 4), RGBColor(187, 55, 84), RGBColor(252, 255, 164))
        );
        assert_eq!(heat(f64::NAN), NOT_A_NUMBER);
        assert!(is_dark(amount(1.0)) && !is_dark(amount(0.3)) && is_dark(RGBColor(0, 0, 0)));
    }

    #[test]
    fn heat_grows_lighter_all_the_way() {
        let light = |i: u32| {
            let RGBColor(r, g, b) = heat(f64::from(i) / 40.0);
            0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)
        };
        assert!((1..=40).all(|i| light(i) > light(i - 1)));
    }
}
