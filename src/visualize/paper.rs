//! The one plotters backend of all pictures: pixels or SVG, both set in the embedded font.

use super::pixels::Pixels;
use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};
use plotters::backend::{BitMapBackend, SVGBackend};
use plotters::element::{Drawable, PointCollection};
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, rasterizer,
};
use std::fmt::Display;
use std::io;
use std::sync::OnceLock;

/// The family, as SVG viewers read it.
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

/// What plotters calls a font's size is the height of its line: this many ems.
pub(super) const SIZE_PER_EM: f64 = 1.24;

type Done = Result<(), DrawingErrorKind<io::Error>>;

fn io_error(error: impl Display) -> DrawingErrorKind<io::Error> {
    DrawingErrorKind::DrawingError(io::Error::other(error.to_string()))
}

/// Pixels or SVG. Being one type, it spares the drawing code a parameter.
pub(crate) enum Paper<'a> {
    Png(BitMapBackend<'a>),
    Svg(SVGBackend<'a>),
}

impl<'a> Paper<'a> {
    pub(super) fn png(buffer: &'a mut [u8], size: (u32, u32)) -> Self {
        Paper::Png(BitMapBackend::with_buffer(buffer, size))
    }

    pub(super) fn svg(buffer: &'a mut String, size: (u32, u32)) -> Self {
        Paper::Svg(SVGBackend::with_string(buffer, size))
    }
}

impl Paper<'_> {
    /// Draws an image into a rectangle, its pixels as squares or oblongs.
    pub(super) fn image(&mut self, pixels: &Pixels, corner: (i32, i32), size: (i32, i32)) -> Done {
        let (width, height) = (size.0.max(1), size.1.max(1));
        match self {
            Paper::Png(backend) => {
                for y in 0..height {
                    for x in 0..width {
                        let [r, g, b] = pixels.nearest((x, width), (y, height));
                        let color = BackendColor { alpha: 1.0, rgb: (r, g, b) };
                        backend.draw_pixel((corner.0 + x, corner.1 + y), color).map_err(io_error)?;
                    }
                }
                Ok(())
            }
            // plotters' SVG has no images: what is to become one stands as a text between marks that no other text holds.
            Paper::Svg(backend) => {
                let place = format!("{MARK}{} {} {width} {height} {}{MARK}", corner.0, corner.1, pixels.data_url());
                let style = super::text(12.0, HPos::Left, VPos::Top);
                backend.draw_text(&place, &style, corner).map_err(io_error)
            }
        }
    }
}

/// What marks the place of an image in an SVG. XML cannot hold it, so it is in no other text.
const MARK: char = '\u{1}';

/// Makes the images that [`Paper::image`] left as texts.
pub(super) fn unfold_images(svg: String) -> String {
    if !svg.contains(MARK) {
        return svg;
    }
    let mut whole = String::with_capacity(svg.len());
    let mut parts = svg.split(MARK);
    whole.push_str(parts.next().unwrap_or_default());
    while let (Some(image), Some(rest)) = (parts.next(), parts.next()) {
        whole.truncate(whole.rfind("<text").unwrap_or(whole.len()));
        if let [x, y, width, height, url] = image.split(' ').collect::<Vec<_>>()[..] {
            whole.push_str(&format!(
                "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" style=\"image-rendering:pixelated\" href=\"{url}\"/>"
            ));
        }
        whole.push_str(rest.trim_start().strip_prefix("</text>").unwrap_or(rest));
    }
    whole
}

/// An image in a rectangle, as an element that is drawn.
pub(super) struct Image<'p> {
    pub(super) pixels: &'p Pixels,
    /// Upper left and lower right corner.
    pub(super) corners: [(i32, i32); 2],
}

impl<'a> PointCollection<'a, (i32, i32)> for &'a Image<'_> {
    type Point = &'a (i32, i32);
    type IntoIter = &'a [(i32, i32)];

    fn point_iter(self) -> &'a [(i32, i32)] {
        &self.corners
    }
}

impl Drawable<Paper<'_>> for Image<'_> {
    fn draw<I: Iterator<Item = BackendCoord>>(&self, mut at: I, paper: &mut Paper<'_>, _: (u32, u32)) -> Done {
        match (at.next(), at.next()) {
            (Some(from), Some(to)) => paper.image(self.pixels, from, (to.0 - from.0, to.1 - from.1)),
            _ => Ok(()),
        }
    }
}

/// Hands a call on to the backend inside.
macro_rules! inner {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self {
            Paper::Png(backend) => backend.$method($($argument),*).map_err(io_error),
            Paper::Svg(backend) => backend.$method($($argument),*).map_err(io_error),
        }
    };
}

impl DrawingBackend for Paper<'_> {
    type ErrorType = io::Error;

    fn get_size(&self) -> (u32, u32) {
        match self {
            Paper::Png(backend) => backend.get_size(),
            Paper::Svg(backend) => backend.get_size(),
        }
    }

    fn ensure_prepared(&mut self) -> Done {
        inner!(self.ensure_prepared())
    }

    fn present(&mut self) -> Done {
        inner!(self.present())
    }

    fn draw_pixel(&mut self, point: BackendCoord, color: BackendColor) -> Done {
        inner!(self.draw_pixel(point, color))
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Done {
        inner!(self.draw_line(from, to, style))
    }

    fn draw_rect<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S, fill: bool) -> Done {
        inner!(self.draw_rect(from, to, style, fill))
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Done {
        match self {
            Paper::Svg(backend) => backend.draw_path(path, style).map_err(io_error),
            // plotters makes one polygon of a thick line, with holes where it crosses itself: a bar for
            // each piece and a disc on each bend are always right.
            Paper::Png(backend) => {
                let (path, width): (Vec<_>, _) = (path.into_iter().collect(), style.stroke_width());
                for ends in path.windows(2).filter(|ends| ends[0] != ends[1]) {
                    backend.fill_polygon(rasterizer::polygonize(ends, width), style).map_err(io_error)?;
                }
                for &bend in path.iter().skip(1).take(path.len().saturating_sub(2)) {
                    backend.draw_circle(bend, width / 2, style, true).map_err(io_error)?;
                }
                Ok(())
            }
        }
    }

    fn draw_circle<S: BackendStyle>(&mut self, center: BackendCoord, radius: u32, style: &S, fill: bool) -> Done {
        inner!(self.draw_circle(center, radius, style, fill))
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, corners: I, style: &S) -> Done {
        inner!(self.fill_polygon(corners, style))
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, (left, top): BackendCoord) -> Done {
        // XML has no place for control characters and what is no character, nor has the font.
        let none = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
        let text: String = text.chars().map(|c| if none(c) { ' ' } else { c }).collect();
        let Paper::Png(backend) = self else { return inner!(self.draw_text(&text, style, (left, top))) };
        let em = style.size() / SIZE_PER_EM;
        let length = f64::from(advance(&text, style.size()));
        let x = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Center => -length / 2.0,
            HPos::Right => -length,
        };
        // Where plotters' SVG has the line that letters stand on.
        let y = match style.anchor().v_pos {
            VPos::Top => 0.76 * em,
            VPos::Center => 0.27 * em,
            VPos::Bottom => -0.27 * em,
        };
        let (color, turn, (width, height)) = (style.color(), style.transform(), backend.get_size());
        let Some(font) = font() else { return Ok(()) };
        let scaled = font.as_scaled(scale(font, style.size()));
        let mut pen = x as f32;
        for c in text.chars() {
            let glyph = scaled.glyph_id(c).with_scale_and_position(scaled.scale(), point(pen, y as f32));
            pen += scaled.h_advance(glyph.id);
            let Some(outline) = scaled.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            let mut done = Ok(());
            outline.draw(|dx, dy, coverage| {
                let (x, y) = turn.transform(corner.x as i32 + dx as i32, corner.y as i32 + dy as i32);
                let (x, y) = (left + x, top + y);
                let visible = (0..width as i32).contains(&x) && (0..height as i32).contains(&y);
                if visible && done.is_ok() {
                    let alpha = color.alpha * f64::from(coverage.min(1.0));
                    done = backend.draw_pixel((x, y), BackendColor { alpha, ..color });
                }
            });
            done.map_err(io_error)?;
        }
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<io::Error>> {
        Ok((advance(text, style.size()).ceil() as u32, style.size().ceil() as u32))
    }
}

fn font() -> Option<&'static FontRef<'static>> {
    static FONT: OnceLock<Option<FontRef<'static>>> = OnceLock::new();
    FONT.get_or_init(|| FontRef::try_from_slice(include_bytes!("font/DejaVuSans-subset.ttf")).ok()).as_ref()
}

/// ab_glyph measures fonts by the height of their line too, but by that of this very font.
fn scale(font: &FontRef, size: f64) -> PxScale {
    let line = font.units_per_em().map_or(1.0, |units| font.height_unscaled() / units);
    PxScale::from((size / SIZE_PER_EM) as f32 * line)
}

/// The length of a line of text whose em is `size` pixels, in pixels.
pub(super) fn length(text: &str, size: f64) -> f64 {
    f64::from(advance(text, size * SIZE_PER_EM))
}

/// The length of a line of text.
fn advance(text: &str, size: f64) -> f32 {
    let Some(font) = font() else { return 0.0 };
    let scaled = font.as_scaled(scale(font, size));
    text.chars().map(|c| scaled.h_advance(scaled.glyph_id(c))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_the_letters_of_pictures() {
        let font = font().expect("a font");
        for c in (' '..='~').chain('α'..='ω').chain("ΓΔΘΛΣΦΨΩ…−×±°²³µ".chars()) {
            assert_ne!(font.glyph_id(c).0, 0, "no glyph for {c:?}");
        }
    }

    #[test]
    fn images_stand_where_their_texts_stood() {
        let svg = "<svg>\n<text x=\"1\">\n\u{1}3 4 5 6 data:x\u{1}\n</text>\n<rect/>\n</svg>";
        let style = "preserveAspectRatio=\"none\" style=\"image-rendering:pixelated\"";
        let image = format!("<image x=\"3\" y=\"4\" width=\"5\" height=\"6\" {style} href=\"data:x\"/>");
        assert_eq!(unfold_images(svg.to_owned()), format!("<svg>\n{image}\n<rect/>\n</svg>"));
        assert_eq!(unfold_images("<svg/>".to_owned()), "<svg/>");
    }

    #[test]
    fn wider_text_is_longer() {
        assert!(advance("iii", 10.0) < advance("mmm", 10.0));
        assert!((advance("mmm", 20.0) - 2.0 * advance("mmm", 10.0)).abs() < 1e-3);
        // An em of 10 units: DejaVu Sans' figures are 1303/2048 of it.
        assert!((advance("0", 10.0 * SIZE_PER_EM) - 10.0 * 1303.0 / 2048.0).abs() < 1e-3);
    }
}
