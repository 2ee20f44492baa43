//! Photographs: PNG and JPEG files as arrays and back.
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

use super::Element;
use crate::error::{Context, Error, Result, ensure};
use crate::files::write_whole;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use ndarray::{Array3, ArrayBase, Data, Ix3};
use std::io::{BufReader, Cursor};
use std::path::Path;

/// A decoded image may take so many bytes; larger ones are refused before they are read.
const MOST_BYTES: u64 = 1 << 30;

/// The pixels of a PNG or JPEG file, `(height, width, 3)`: red, green and blue from 0 to 255, upright as the camera was
/// held (Keras: `img_to_array(load_img(path))`). Grey images have three equal channels; transparency is left out.
///
/// # Errors
/// When the file cannot be read, is neither PNG nor JPEG, is damaged, or decoded takes more than 1 GB.
pub fn load_img(path: impl AsRef<Path>) -> Result<Array3<f32>> {
    let path = path.as_ref();
    let load = || -> Result<Array3<f32>> {
        let file = std::fs::File::open(path).map_err(|source| Error::io(path, source))?;
        let reader = ImageReader::new(BufReader::new(file)).with_guessed_format();
        let mut reader = reader.map_err(|source| Error::io(path, source))?;
        ensure!(
            matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)),
            Format,
            "it starts neither as a PNG nor as a JPEG image"
        );
        let mut limits = Limits::default();
        limits.max_alloc = Some(MOST_BYTES);
        reader.limits(limits);
        let damaged = |error: image::ImageError| Error::Format(format!("the image cannot be read: {error}"));
        let mut decoder = reader.into_decoder().map_err(damaged)?;
        let orientation = decoder.orientation().map_err(damaged)?;
        let mut pixels = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        pixels.apply_orientation(orientation);
        let pixels = pixels.into_rgb8();
        let shape = (pixels.height() as usize, pixels.width() as usize, 3);
        let values = pixels.into_raw().into_iter().map(f32::from).collect();
        Array3::from_shape_vec(shape, values).map_err(|error| Error::Format(error.to_string()))
    };
    load().in_file(path)
}

/// Writes pixels from 0 to 255 as a PNG or JPEG file, as the extension says: `(height, width, 1)` in grey,
/// `(height, width, 3)` in red, green and blue. Values are rounded and brought between 0 and 255. The file appears
/// whole or not at all.
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
        let values: Vec<f32> = pixels.iter().map(|value| value.to_f32()).collect();
        ensure!(values.iter().all(|value| !value.is_nan()), Data, "a pixel is NaN");
        let bytes: Vec<u8> = values.into_iter().map(|value| value.round().clamp(0.0, 255.0) as u8).collect();
        let (height, width, channels) = pixels.dim();
        let image = match (u32::try_from(width), u32::try_from(height), channels) {
            (Ok(width), Ok(height), 1) => image::GrayImage::from_raw(width, height, bytes).map(DynamicImage::from),
            (Ok(width), Ok(height), 3) => image::RgbImage::from_raw(width, height, bytes).map(DynamicImage::from),
            _ => None,
        };
        let image = image.filter(|_| height > 0 && width > 0).ok_or_else(|| {
            Error::Shape(format!(
                "pixels of shape {:?}; expected (height, width, 1) or (height, width, 3)",
                pixels.shape()
            ))
        })?;
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
