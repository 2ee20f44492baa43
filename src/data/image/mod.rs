//! Photographs: PNG, JPEG and BMP files as arrays, and arrays as PNG and JPEG files.
//!
//! ```
//! use cornu::data::image;
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("red.png");
//! let red = ndarray::Array3::from_shape_fn((4, 6, 3), |(_, _, channel)| if channel == 0 { 255.0 } else { 0.0 });
//! image::save_img(&path, &red)?;
//! assert_eq!(image::load_img(&path)?, red);
//! # Ok::<(), cornu::Error>(())
//! ```

mod color;
pub(super) mod decode;
mod resize;

pub use color::{
    from_bytes, grayscale_to_rgb, hsv_to_rgb, merge_channels, rgb_to_bgr, rgb_to_grayscale, rgb_to_hsv, split_channels,
    to_bytes,
};
pub use resize::resize;

use super::Element;
use crate::error::{Context, Error, Result, ensure};
use crate::files::write_whole;
use crate::kernels::resize::Interpolation;
use image::{DynamicImage, GrayImage, ImageDecoder, ImageFormat, RgbImage, RgbaImage};
use ndarray::{Array3, ArrayBase, Data, Ix3};
use std::borrow::Cow;
use std::io::Cursor;
use std::path::Path;

/// The channels of an image that is read (Keras: `color_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorMode {
    /// Red, green and blue. Grey images have three equal channels; transparency is left out.
    #[default]
    Rgb,
    /// Red, green, blue and opacity.
    Rgba,
    /// Brightness alone: `0.299 red + 0.587 green + 0.114 blue`.
    Grayscale,
}

impl ColorMode {
    /// How many channels there are.
    pub fn channels(self) -> usize {
        match self {
            ColorMode::Grayscale => 1,
            ColorMode::Rgb => 3,
            ColorMode::Rgba => 4,
        }
    }
}

/// How an image is read (Keras: the arguments of `load_img`).
///
/// Defaults: three channels, in its own size.
///
/// ```
/// use cornu::data::image::{self, ColorMode, LoadImg};
/// use cornu::layers::Interpolation;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("grey.png");
/// # image::save_img(&path, &ndarray::Array3::<u8>::zeros((40, 60, 3)))?;
/// let options = LoadImg::new().color_mode(ColorMode::Grayscale).target_size(28, 28).interpolation(Interpolation::Bilinear);
/// assert_eq!(options.load(&path)?.dim(), (28, 28, 1));
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LoadImg {
    color_mode: ColorMode,
    target_size: Option<[usize; 2]>,
    interpolation: Interpolation,
    keep_aspect_ratio: bool,
    max_pixels: u64,
}

impl Default for LoadImg {
    fn default() -> Self {
        LoadImg {
            color_mode: ColorMode::Rgb,
            target_size: None,
            interpolation: Interpolation::Nearest,
            keep_aspect_ratio: false,
            max_pixels: 1 << 26,
        }
    }
}

impl LoadImg {
    /// As it is, in three channels.
    pub fn new() -> Self {
        Self::default()
    }

    /// Which channels it gets. Default: red, green and blue.
    pub fn color_mode(mut self, color_mode: ColorMode) -> Self {
        self.color_mode = color_mode;
        self
    }

    /// The height and the width that it gets. Default: its own.
    pub fn target_size(mut self, height: usize, width: usize) -> Self {
        self.target_size = Some([height, width]);
        self
    }

    /// How it is resized: nearest, bilinear, bicubic or Lanczos' kernel of six values, the latter three averaging where
    /// it becomes smaller, as Pillow does. Default: nearest, as in Keras.
    pub fn interpolation(mut self, interpolation: Interpolation) -> Self {
        self.interpolation = interpolation;
        self
    }

    /// Whether the middle in the proportions of the target size is cut out first. Default: no, all is stretched.
    pub fn keep_aspect_ratio(mut self, keep: bool) -> Self {
        self.keep_aspect_ratio = keep;
        self
    }

    /// Larger images are refused before they are decoded, and files that are larger than so many pixels need before they
    /// are read. Default: 2²⁶, some 67 million pixels, which take up to 2 GB while they are read.
    pub fn max_pixels(mut self, max_pixels: u64) -> Self {
        self.max_pixels = max_pixels;
        self
    }

    /// The pixels of a PNG, JPEG or BMP file, `(height, width, channels)`, from 0 to 255 (Keras:
    /// `img_to_array(load_img(path))`), upright as the camera was held.
    ///
    /// # Errors
    /// When the file cannot be read, is neither PNG nor JPEG nor BMP, is damaged, cut off or too large, or cannot be
    /// resized so. The error names the file.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<Array3<f32>> {
        self.load_dynamic(path).map(|image| img_to_array(&image))
    }

    /// As [`load`](Self::load), as an image of the crate `image`: 8 bits a channel.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_dynamic(&self, path: impl AsRef<Path>) -> Result<DynamicImage> {
        let path = path.as_ref();
        let load = || self.read(&decode::file(path, self.most_bytes(), "max_pixels")?);
        load().in_file(path)
    }

    /// As [`load`](Self::load), from the bytes of a file.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn decode(&self, bytes: &[u8]) -> Result<Array3<f32>> {
        self.read(bytes).map(|image| img_to_array(&image))
    }

    /// Pixels take at most 16 bytes each; what a file and a decoder need besides is little.
    fn most_bytes(&self) -> u64 {
        self.max_pixels.saturating_mul(16).saturating_add(1 << 24)
    }

    fn read(&self, bytes: &[u8]) -> Result<DynamicImage> {
        let mut decoder = decode::decoder(bytes, self.most_bytes())?;
        let (width, height) = decoder.dimensions();
        ensure!(
            u64::from(width) * u64::from(height) <= self.max_pixels,
            Format,
            "an image of {height} by {width} pixels is larger than {} pixels; raise max_pixels to read it",
            self.max_pixels
        );
        let orientation = decoder.orientation().map_err(|error| decode::damaged(&error))?;
        let mut pixels = DynamicImage::from_decoder(decoder).map_err(|error| decode::damaged(&error))?;
        pixels.apply_orientation(orientation);
        let pixels = match self.color_mode {
            ColorMode::Rgb => pixels.into_rgb8().into(),
            ColorMode::Rgba => pixels.into_rgba8().into(),
            ColorMode::Grayscale => grey(pixels).into(),
        };
        match self.target_size {
            Some(size) => resize::resize_bytes(pixels, size, self.interpolation, self.keep_aspect_ratio),
            None => Ok(pixels),
        }
    }
}

/// The brightness of an image, as Pillow computes it; the crate `image` has other weights.
fn grey(pixels: DynamicImage) -> GrayImage {
    if !pixels.color().has_color() {
        return pixels.into_luma8();
    }
    let rgb = pixels.into_rgb8();
    let grey = |[red, green, blue]: [u8; 3]| {
        let weighted = u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471;
        ((weighted + (1 << 15)) >> 16) as u8
    };
    let mut pixels = GrayImage::new(rgb.width(), rgb.height());
    pixels.pixels_mut().zip(rgb.pixels()).for_each(|(to, from)| to.0 = [grey(from.0)]);
    pixels
}

/// The pixels of a PNG, JPEG or BMP file, `(height, width, 3)`: red, green and blue from 0 to 255, upright as the camera
/// was held (Keras: `img_to_array(load_img(path))`). Other channels and sizes: [`LoadImg`].
///
/// # Errors
/// As [`LoadImg::load`].
pub fn load_img(path: impl AsRef<Path>) -> Result<Array3<f32>> {
    LoadImg::new().load(path)
}

/// An image of the crate `image` as an array `(height, width, channels)` with values from 0 to 255: one channel for
/// brightness, two with opacity, three for colours, four with opacity (Keras: `img_to_array`).
pub fn img_to_array(image: &DynamicImage) -> Array3<f32> {
    let (height, width) = (image.height() as usize, image.width() as usize);
    let channels = image.color().channel_count();
    let bytes = match (image, channels) {
        (DynamicImage::ImageLuma8(_) | DynamicImage::ImageLumaA8(_), _) => Cow::Borrowed(image.as_bytes()),
        (DynamicImage::ImageRgb8(_) | DynamicImage::ImageRgba8(_), _) => Cow::Borrowed(image.as_bytes()),
        (_, 1) => Cow::Owned(image.to_luma8().into_raw()),
        (_, 2) => Cow::Owned(image.to_luma_alpha8().into_raw()),
        (_, 3) => Cow::Owned(image.to_rgb8().into_raw()),
        _ => Cow::Owned(image.to_rgba8().into_raw()),
    };
    let mut values = bytes.iter().map(|byte| f32::from(*byte));
    let shape = (height, width, usize::from(channels));
    Array3::from_shape_simple_fn(shape, || values.next().unwrap_or_default())
}

/// An array `(height, width, channels)` of one, three or four channels as an image of the crate `image` (Keras:
/// `array_to_img`). With `scale` the values are first moved and stretched to 0 to 255, whatever they are; without it
/// they are from 0 to 255 already. They are rounded and brought between 0 and 255.
///
/// # Errors
/// When there are no pixels or another number of channels, or a value is NaN.
pub fn array_to_img<A: Element>(pixels: &ArrayBase<impl Data<Elem = A>, Ix3>, scale: bool) -> Result<DynamicImage> {
    let mut values: Vec<f32> = pixels.iter().map(|value| value.to_f32()).collect();
    ensure!(values.iter().all(|value| !value.is_nan()), Data, "a pixel is NaN");
    if scale {
        let [low, high] =
            [f32::min as fn(f32, f32) -> f32, f32::max].map(|pick| values.iter().copied().reduce(pick).unwrap_or(0.0));
        let factor = if high > low { 255.0 / (high - low) } else { 0.0 };
        values.iter_mut().for_each(|value| *value = (*value - low) * factor);
    }
    let bytes: Vec<u8> = values.into_iter().map(color::byte).collect();
    let (height, width, channels) = pixels.dim();
    let image = match (u32::try_from(width), u32::try_from(height), channels) {
        (Ok(width), Ok(height), 1) => GrayImage::from_raw(width, height, bytes).map(DynamicImage::from),
        (Ok(width), Ok(height), 3) => RgbImage::from_raw(width, height, bytes).map(DynamicImage::from),
        (Ok(width), Ok(height), 4) => RgbaImage::from_raw(width, height, bytes).map(DynamicImage::from),
        _ => None,
    };
    image.filter(|_| height > 0 && width > 0).ok_or_else(|| {
        Error::Shape(format!(
            "pixels of shape {:?}; expected (height, width, 1), (height, width, 3) or (height, width, 4)",
            pixels.shape()
        ))
    })
}

/// Writes pixels from 0 to 255 as a PNG or JPEG file, as the extension says: `(height, width, 1)` in grey,
/// `(height, width, 3)` in red, green and blue, `(height, width, 4)` with opacity, which JPEG lacks. Values are rounded
/// and brought between 0 and 255; Keras stretches them to this range first, as `array_to_img(pixels, true)` does. The
/// file appears whole or not at all.
///
/// # Errors
/// When the extension is another one, the array has no pixels or another number of channels, a value is NaN, or the
/// file cannot be written.
pub fn save_img<A: Element>(path: impl AsRef<Path>, pixels: &ArrayBase<impl Data<Elem = A>, Ix3>) -> Result<()> {
    let path = path.as_ref();
    let save = || -> Result<()> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let format = match extension.as_deref() {
            Some("png") => ImageFormat::Png,
            Some("jpg" | "jpeg") => ImageFormat::Jpeg,
            _ => return Err(Error::Argument("an image is saved as .png, .jpg or .jpeg".to_owned())),
        };
        let mut image = array_to_img(pixels, false)?;
        if format == ImageFormat::Jpeg && image.color().has_alpha() {
            image = image.into_rgb8().into();
        }
        let mut file = Cursor::new(Vec::new());
        let written = image.write_to(&mut file, format);
        written.map_err(|error| Error::Argument(format!("the image cannot be written: {error}")))?;
        write_whole(path, &file.into_inner())
    };
    save().in_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(channels: usize) -> Array3<f32> {
        Array3::from_shape_fn((5, 7, channels), |(i, j, c)| ((i * 31 + j * 17 + c * 60) % 256) as f32)
    }

    #[test]
    fn pictures_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        save_img(&path, &picture(3)).unwrap();
        assert_eq!(load_img(&path).unwrap(), picture(3));
        save_img(&path, &picture(1)).unwrap();
        let grey = load_img(&path).unwrap();
        assert_eq!(grey, picture(1).broadcast((5, 7, 3)).unwrap());
        // JPEG keeps about what was there.
        let path = folder.path().join("x.JPG");
        let smooth = Array3::from_shape_fn((16, 16, 3), |(i, j, _)| (i * 8 + j * 4) as f32);
        save_img(&path, &smooth).unwrap();
        let worst = (load_img(&path).unwrap() - &smooth).iter().fold(0.0f32, |worst, d| worst.max(d.abs()));
        assert!(worst < 24.0, "{worst}");
        save_img(folder.path().join("y.png"), &ndarray::array![[[-3.0], [300.0], [0.6]]]).unwrap();
        let bounded = load_img(folder.path().join("y.png")).unwrap();
        assert_eq!(bounded.slice(ndarray::s![0, .., 0]).to_vec(), [0.0, 255.0, 1.0]);
    }

    #[test]
    fn mistakes_and_damage_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        let says = |result: Result<()>, text: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        says(save_img(folder.path().join("x.gif"), &picture(3)), ".png, .jpg or .jpeg");
        says(save_img(&path, &picture(2)), "(height, width, 3)");
        says(save_img(&path, &Array3::<u8>::zeros((0, 4, 3))), "(height, width, 3)");
        says(save_img(&path, &ndarray::array![[[f32::NAN]]]), "NaN");
        says(load_img(&path).map(drop), "x.png");
        save_img(&path, &picture(3)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 3, 8, 20, whole.len() / 2] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(load_img(&path).is_err(), "{cut} bytes");
        }
        // A header that claims 4 billion rows.
        let mut huge = whole.clone();
        huge[16..24].fill(0xff);
        std::fs::write(&path, huge).unwrap();
        assert!(load_img(&path).is_err());
    }
}
