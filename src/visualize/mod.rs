//! Pictures of data, training and networks, as PNG and SVG files, without any system library or system font.
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
//! | what it shows | picture |
//! |---|---|
//! | a training run; values that are compared; the learning rates of a schedule | [`Curves`] |
//! | which classes are mistaken for which | [`ConfusionMatrix`] |
//! | how well scores separate classes, at every threshold | [`RocCurve`], [`PrecisionRecall`] |
//! | images with what they are and what they were taken for | [`SampleGrid`] |
//! | what a convolution looks for, and what it finds in an image | [`Filters`], [`FeatureMaps`] |
//! | where in an image a class was seen | [`GradCam`], [`Saliency`] |
//! | how large weights are | [`WeightHistograms`] |
//! | which layers there are, and what flows between them | [`PlotModel`] |
//! | the loss by the learning rate | [`LrFound`](crate::training::LrFound) |
//! | the ways of optimizers over a surface | [`Surface`] |
//!
//! Each picture is saved as `.png` or `.svg`, is had as text or pixels (`to_svg`, `to_rgb`), and displays itself in a Jupyter
//! notebook with the kernel evcxr. Text is set in an embedded subset of DejaVu Sans (ASCII, Greek and a few signs, 14 KB);
//! an SVG names that family and falls back on the viewer's sans serif. The font's licence, which permits
//! embedding and redistribution, stands beside it as `src/visualize/font/LICENSE-DejaVu.txt`.

mod axis;
mod colors;
mod confusion_matrix;
mod curves;
mod feature_maps;
mod filters;
mod grad_cam;
mod history;
mod notebook;
mod overlay;
mod paper;
mod pixels;
mod plot_model;
mod precision_recall;
mod probe;
mod ranking;
mod rate_search;
mod roc_curve;
mod saliency;
mod sample_grid;
mod surface;
mod tiles;
mod weight_histograms;

pub use confusion_matrix::ConfusionMatrix;
pub use curves::{Curve, Curves};
pub use feature_maps::FeatureMaps;
pub use filters::Filters;
pub use grad_cam::GradCam;
pub use plot_model::{PlotModel, RankDir};
pub use precision_recall::PrecisionRecall;
pub use roc_curve::RocCurve;
pub use saliency::Saliency;
pub use sample_grid::SampleGrid;
pub use surface::Surface;
pub use weight_histograms::WeightHistograms;

use crate::error::{Error, Result, ensure};
use crate::files::write_whole;
use ndarray::Array3;
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

/// The height of the line of text above a picture, in pixels.
const HEADING: u32 = 40;

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

/// What a picture is: its title, its size and how it is drawn. `picture!` gives it the methods that users call.
pub(crate) trait Drawing {
    /// The line of text above it.
    fn heading(&self) -> Option<&str>;

    /// Width and height in pixels without the heading, once there is something to draw that makes sense.
    fn size(&self) -> Result<(u32, u32)>;

    /// Draws it below the heading.
    fn draw(&self, area: &Area) -> Drawn;
}

/// The public methods of a picture that has a field `title: Option<String>`.
macro_rules! picture {
    ($picture:ident $(<$life:lifetime>)?) => {
        impl $picture $(<$life>)? {
            /// A line of text above the picture. Default: none.
            pub fn title(mut self, title: impl Into<String>) -> Self {
                self.title = Some(title.into());
                self
            }

            /// Writes the picture as `.png` or `.svg`, as the extension of `path` says. The file appears whole or not at all.
            ///
            /// # Errors
            /// [`Error::Data`](crate::Error::Data) when there is nothing to draw or it does not fit together;
            /// [`Error::Argument`](crate::Error::Argument) for another extension or a PNG that would be too large;
            /// [`Error::Io`](crate::Error::Io) when the file cannot be written.
            pub fn save(&self, path: impl AsRef<std::path::Path>) -> crate::Result<()> {
                $crate::visualize::save(self, path.as_ref())
            }

            /// The picture as the text of an SVG file.
            ///
            /// # Errors
            /// As [`save`](Self::save), without those of files.
            pub fn to_svg(&self) -> crate::Result<String> {
                $crate::visualize::Canvas::of(self)?.svg()
            }

            /// The picture as pixels, `(height, width, 3)`, red, green and blue from 0 to 255.
            ///
            /// # Errors
            /// As [`save`](Self::save), without those of files.
            pub fn to_rgb(&self) -> crate::Result<ndarray::Array3<u8>> {
                $crate::visualize::Canvas::of(self)?.rgb()
            }

            /// Shows the picture in a Jupyter notebook whose kernel is evcxr, which calls this for the last value of a
            /// cell. Elsewhere it prints SVG.
            pub fn evcxr_display(&self) {
                println!("{}", $crate::visualize::notebook::cell(self));
            }
        }
    };
}
pub(crate) use picture;

/// Writes a picture as the extension of `path` says.
pub(crate) fn save(picture: &dyn Drawing, path: &Path) -> Result<()> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let bytes = match extension.as_deref() {
        Some("png") => Canvas::of(picture)?.png(),
        Some("svg") => Canvas::of(picture)?.svg().map(String::into_bytes),
        _ => Err(Error::Argument(
            "a picture is saved as .png or .svg, please give the file one of these extensions".to_owned(),
        )),
    };
    // Whoever draws many pictures wants to know which.
    let named = |error| match error {
        Error::Argument(why) => Error::Argument(format!("{}: {why}", path.display())),
        Error::Io { source, .. } => Error::io(path, source),
        other => other,
    };
    write_whole(path, &bytes.map_err(named)?)
}

/// A picture on white ground, of its size in pixels.
pub(crate) struct Canvas<'p> {
    picture: &'p dyn Drawing,
    width: u32,
    height: u32,
}

impl<'p> Canvas<'p> {
    /// The size of a picture, its heading included.
    pub(crate) fn of(picture: &'p dyn Drawing) -> Result<Self> {
        let (width, height) = picture.size()?;
        let heading = if picture.heading().is_some() { HEADING } else { 0 };
        Ok(Canvas { picture, width, height: height + heading })
    }

    /// The pixels, `(height, width, 3)`.
    pub(crate) fn rgb(&self) -> Result<Array3<u8>> {
        let pixels = u64::from(self.width) * u64::from(self.height);
        ensure!(
            pixels <= MOST_PIXELS,
            Argument,
            "{} x {} pixels are too many for a PNG picture; draw less or save it as .svg",
            self.width,
            self.height
        );
        let (width, height, fine) = (self.width as usize, self.height as usize, FINE as usize);
        let mut drawn = vec![0; width * height * fine * fine * 3];
        self.draw(Paper::png(&mut drawn, (self.width * FINE, self.height * FINE)))?;
        Ok(Array3::from_shape_fn((height, width, 3), |(y, x, channel)| {
            let unit = |i: usize| drawn[((y * fine + i / fine) * width * fine + x * fine + i % fine) * 3 + channel];
            let sum: u32 = (0..fine * fine).map(|i| u32::from(unit(i))).sum();
            (sum / (FINE * FINE)) as u8
        }))
    }

    /// The bytes of a PNG file.
    pub(crate) fn png(&self) -> Result<Vec<u8>> {
        let rgb = self.rgb()?;
        let pixels = rgb.into_raw_vec_and_offset().0;
        crate::picture::png(self.width as usize, self.height as usize, 3, &pixels)
            .map_err(|source| Error::io("picture", source))
    }

    /// The text of an SVG file.
    pub(crate) fn svg(&self) -> Result<String> {
        let mut svg = String::new();
        let (width, height) = (self.width * FINE, self.height * FINE);
        self.draw(Paper::svg(&mut svg, (width, height)))?;
        // The coordinates stay fine; the picture is shown in pixels.
        let fine = format!("width=\"{width}\" height=\"{height}\"");
        let svg = svg.replacen(&fine, &format!("width=\"{}\" height=\"{}\"", self.width, self.height), 1);
        Ok(paper::unfold_images(svg))
    }

    fn draw(&self, paper: Paper) -> Result<()> {
        let area = paper.into_drawing_area();
        let draw = || {
            area.fill(&WHITE)?;
            match self.picture.heading() {
                None => self.picture.draw(&area)?,
                Some(heading) => {
                    let (head, body) = area.split_vertically(px(HEADING.into()));
                    let style = text(18.0, HPos::Center, VPos::Top);
                    let width = head.dim_in_pixel().0 as i32;
                    let heading = fit(&head, heading, &style, width - px(40.0))?;
                    head.draw_text(&heading, &style, (width / 2, px(16.0)))?;
                    self.picture.draw(&body)?;
                }
            }
            area.present()
        };
        draw().map_err(|error| Error::io("picture", io::Error::other(error.to_string())))
    }
}
