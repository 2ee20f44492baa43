//! Pictures of training, as PNG and SVG files, without any system library or system font.
//!
//! [`Curves`] draws the history of a training run, one panel a metric:
//!
//! ```
//! use cornu::visualize::{Curve, Curves};
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("curves.svg");
//! let loss = Curve::new("loss", [0.9, 0.5, 0.3, 0.2]);
//! let val_loss = Curve::new("val_loss", [0.8, 0.6, 0.5, 0.6]);
//! Curves::new([loss, val_loss]).title("LeNet-5").save(path)?;
//! # Ok::<(), cornu::Error>(())
//! ```
//!
//! Text is set in an embedded subset of DejaVu Sans (ASCII, Greek and a few signs, 14 KB); an SVG
//! names that family and falls back on the viewer's sans serif. The font's licence, which permits
//! embedding and redistribution, stands beside it as `src/visualize/font/LICENSE-DejaVu.txt`.

mod curves;
mod history;
mod paper;

pub use curves::{Curve, Curves};

use crate::error::{Error, Result, ensure};
use crate::files::write_whole;
use paper::Paper;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle, WHITE};
use plotters_backend::text_anchor::{HPos, Pos, VPos};
use std::io;
use std::path::Path;

/// What a picture is drawn on. Its coordinates are the fine units of [`px`].
pub(crate) type Area<'a> = DrawingArea<Paper<'a>, Shift>;

/// The outcome of drawing.
pub(crate) type Drawn<T = ()> = Result<T, DrawingAreaErrorKind<io::Error>>;

/// Drawing units per pixel: a PNG is drawn this much larger and averaged down, which smooths all edges.
const FINE: u32 = 3;

/// The largest PNG in pixels: drawing takes 9 units of 3 bytes for each.
const MOST_PIXELS: u64 = 1 << 24;

/// A length in pixels as drawing units.
pub(crate) fn px(pixels: f64) -> i32 {
    (pixels * f64::from(FINE)).round() as i32
}

/// The colours of Okabe and Ito, which people with any kind of colour vision tell apart: blue,
/// vermillion, bluish green, orange, sky blue, reddish purple, yellow.
pub(crate) const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
    RGBColor(240, 228, 66),
];

/// The colour of text.
pub(crate) const INK: RGBColor = RGBColor(38, 38, 38);

/// A line of a thickness in pixels.
pub(crate) fn stroke(color: RGBColor, pixels: f64) -> ShapeStyle {
    color.stroke_width(px(pixels).max(1) as u32)
}

/// Text whose em is `size` pixels, hung up at the given side or corner.
pub(crate) fn text(size: f64, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    let size = size * f64::from(FINE) * paper::SIZE_PER_EM;
    let font = FontDesc::new(FontFamily::Name(paper::FAMILY), size, FontStyle::Normal);
    TextStyle::from(font).color(&INK).pos(Pos::new(horizontal, vertical))
}

/// The width of `text` in drawing units.
pub(crate) fn width(area: &Area, text: &str, style: &TextStyle) -> Drawn<i32> {
    Ok(area.estimate_text_size(text, style)?.0 as i32)
}

/// `text`, cut short with an ellipsis where it is wider than `room` drawing units.
pub(crate) fn fit(area: &Area, text: &str, style: &TextStyle, room: i32) -> Drawn<String> {
    let mut kept: Vec<char> = text.chars().collect();
    let mut shown = text.to_owned();
    while width(area, &shown, style)? > room && kept.pop().is_some() {
        shown = kept.iter().chain(['…'].iter()).collect();
    }
    Ok(shown)
}

/// A picture of a size in pixels.
pub(crate) struct Canvas {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Canvas {
    /// Draws on a white ground and writes the file: a PNG or an SVG, as the extension of `path` says.
    ///
    /// The file appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Argument`] for another extension or a PNG that is too large, [`Error::Io`] when the
    /// file cannot be written.
    pub(crate) fn save(&self, path: &Path, draw: impl FnOnce(&Area) -> Drawn) -> Result<()> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let bytes = match extension.as_deref() {
            Some("png") => {
                let (pixels, path) = (u64::from(self.width) * u64::from(self.height), path.display());
                ensure!(
                    pixels <= MOST_PIXELS,
                    Argument,
                    "{path}: {} x {} pixels are too many for a PNG picture; draw less or save it as .svg",
                    self.width,
                    self.height
                );
                self.png(draw)
            }
            Some("svg") => self.svg(draw),
            _ => {
                return Err(Error::Argument(format!(
                    "{}: a picture is saved as .png or .svg, please give the file one of these extensions",
                    path.display()
                )));
            }
        };
        write_whole(path, &bytes.map_err(|source| Error::io(path, source))?)
    }

    fn png(&self, draw: impl FnOnce(&Area) -> Drawn) -> io::Result<Vec<u8>> {
        let (width, height, fine) = (self.width as usize, self.height as usize, FINE as usize);
        let mut drawn = vec![0; width * height * fine * fine * 3];
        self.draw(Paper::png(&mut drawn, (self.width * FINE, self.height * FINE)), draw)?;

        let mut rgb = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                for channel in 0..3 {
                    let unit =
                        |i: usize| drawn[((y * fine + i / fine) * width * fine + x * fine + i % fine) * 3 + channel];
                    let sum: u32 = (0..fine * fine).map(|i| u32::from(unit(i))).sum();
                    rgb.push((sum / (FINE * FINE)) as u8);
                }
            }
        }
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&rgb)?;
        writer.finish()?;
        Ok(file)
    }

    fn svg(&self, draw: impl FnOnce(&Area) -> Drawn) -> io::Result<Vec<u8>> {
        let mut svg = String::new();
        let (width, height) = (self.width * FINE, self.height * FINE);
        self.draw(Paper::svg(&mut svg, (width, height)), draw)?;
        // The coordinates stay fine; the picture is shown in pixels.
        let fine = format!("width=\"{width}\" height=\"{height}\"");
        Ok(svg.replacen(&fine, &format!("width=\"{}\" height=\"{}\"", self.width, self.height), 1).into_bytes())
    }

    fn draw(&self, paper: Paper, draw: impl FnOnce(&Area) -> Drawn) -> io::Result<()> {
        let area = paper.into_drawing_area();
        area.fill(&WHITE)
            .and_then(|()| draw(&area))
            .and_then(|()| area.present())
            .map_err(|error| io::Error::other(error.to_string()))
    }
}
