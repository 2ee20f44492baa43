//! A sheet of labelled pictures: panels of one size, in rows.

use cornu::data::image;
use image_crate::{Rgb, RgbImage};
use ndarray::Array3;

/// The crate `image`, under another name than cornu's module.
pub use ::image as image_crate;

const TITLE: u32 = 18;
const TEXT: f32 = 13.0;
const GAP: u32 = 6;

/// Pictures with their titles, `columns` in a row.
pub struct Sheet {
    columns: u32,
    panel: [u32; 2],
    font: ab_glyph::FontRef<'static>,
    panels: Vec<(String, RgbImage)>,
}

impl Sheet {
    /// An empty sheet for pictures of this height and width.
    pub fn new(columns: u32, height: usize, width: usize) -> cornu::Result<Self> {
        let font = ab_glyph::FontRef::try_from_slice(include_bytes!("../../src/visualize/font/DejaVuSans-subset.ttf"));
        let font = font.map_err(|error| cornu::Error::Format(error.to_string()))?;
        Ok(Sheet { columns, panel: [height as u32, width as u32], font, panels: Vec::new() })
    }

    /// Puts text on a picture.
    pub fn write(&self, picture: &mut RgbImage, [x, y]: [i32; 2], size: f32, color: [u8; 3], text: &str) {
        imageproc::drawing::draw_text_mut(picture, Rgb(color), x, y, size, &self.font, text);
    }

    /// Adds a picture with values from 0 to 255, of one or three channels.
    pub fn add(&mut self, title: &str, picture: &Array3<f32>) -> cornu::Result<()> {
        self.add_image(title, image::array_to_img(picture, false)?.into_rgb8());
        Ok(())
    }

    /// Adds a picture of the crate `image`.
    pub fn add_image(&mut self, title: &str, picture: RgbImage) {
        self.panels.push((title.to_owned(), picture));
    }

    /// Writes the sheet as a PNG file.
    pub fn save(&self, path: &str) -> cornu::Result<()> {
        let [height, width] = self.panel;
        let rows = (self.panels.len() as u32).div_ceil(self.columns);
        // Columns are wide enough for their titles.
        let widths = self.panels.iter().map(|(title, _)| imageproc::drawing::text_size(TEXT, &self.font, title).0);
        let [down, across] = [height + TITLE + GAP, widths.fold(width, u32::max) + GAP];
        let mut sheet = RgbImage::from_pixel(self.columns * across + GAP, rows * down + GAP, Rgb([250; 3]));
        for (i, (title, picture)) in self.panels.iter().enumerate() {
            let (row, column) = (i as u32 / self.columns, i as u32 % self.columns);
            let (x, y) = (GAP + column * across, GAP + row * down);
            self.write(&mut sheet, [x as i32, y as i32], TEXT, [30; 3], title);
            image_crate::imageops::overlay(&mut sheet, picture, i64::from(x), i64::from(y + TITLE));
        }
        image::save_img(path, &image::img_to_array(&sheet.into()))?;
        println!("{path}: {} pictures", self.panels.len());
        Ok(())
    }
}

/// The picture that the examples start from, `(height, width, 3)`: the file that is named, or else a photograph that
/// comes with the examples, or else a drawing. Its middle, in the proportions of the panel.
pub fn picture(path: Option<&String>, [height, width]: [usize; 2]) -> cornu::Result<Array3<f32>> {
    let bundled = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/cat.jpg").to_owned();
    let path = path.cloned().or_else(|| std::path::Path::new(&bundled).exists().then_some(bundled));
    match path {
        Some(path) => {
            let options = image::LoadImg::new().target_size(height, width).keep_aspect_ratio(true);
            options.interpolation(cornu::layers::Interpolation::Bicubic).load(path)
        }
        None => Ok(drawing(height, width)),
    }
}

/// A house on a hill under the sun, with the grain of a photograph.
fn drawing(height: usize, width: usize) -> Array3<f32> {
    let (h, w) = (height as f32, width as f32);
    Array3::from_shape_fn((height, width, 3), |(i, j, channel)| {
        let (y, x) = (i as f32 / h, j as f32 / w);
        let hill = 0.75 + 0.1 * (x * 5.0).sin();
        let roof = (0.3..0.5).contains(&y) && (x - 0.45).abs() < (y - 0.3) * 0.8;
        let wall = (0.5..0.78).contains(&y) && (x - 0.45).abs() < 0.13;
        let window = (y - 0.6).abs() < 0.045 && ((x - 0.38).abs() < 0.03 || (x - 0.52).abs() < 0.03);
        let sun = (x - 0.82).hypot((y - 0.2) * h / w) < 0.07;
        let color = match () {
            _ if window => [60.0, 80.0, 110.0],
            _ if wall => [225.0, 205.0, 170.0],
            _ if roof => [170.0, 60.0, 45.0],
            _ if y > hill => [70.0, 130.0, 60.0],
            _ if sun => [250.0, 220.0, 90.0],
            _ => [130.0 + 60.0 * y, 175.0 + 40.0 * y, 235.0],
        };
        let grain = ((i * 7919 + j * 104_729 + i * j * 31) % 13) as f32 - 6.0;
        (color[channel] + grain).clamp(0.0, 255.0)
    })
}
