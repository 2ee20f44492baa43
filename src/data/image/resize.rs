//! Images of another size.

use crate::error::{Error, Result, ensure};
use crate::kernels::resize::{Interpolation, Runs, middle};
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::DynamicImage;
use ndarray::{Array3, ArrayBase, Data, Ix3};

/// An image `(height, width, channels)` in another size (Keras: `ops.image.resize`).
///
/// Output `i` along an axis lies at `(i + 0.5) · input / output - 0.5` of the input. With `antialias` each value of a
/// smaller image is a mean over what it stands for; without, as is Keras' default, the image is sampled.
///
/// ```
/// use cornu::{data::image, layers::Interpolation};
/// let photograph = ndarray::Array3::<f32>::zeros((480, 640, 3));
/// assert_eq!(image::resize(&photograph, [224, 224], Interpolation::Bilinear, true)?.dim(), (224, 224, 3));
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When a size is 0.
pub fn resize(
    image: &ArrayBase<impl Data<Elem = f32>, Ix3>,
    [height, width]: [usize; 2],
    interpolation: Interpolation,
    antialias: bool,
) -> Result<Array3<f32>> {
    let (from_height, from_width, channels) = image.dim();
    let across = Runs::resize(from_width, width, interpolation, antialias)?;
    let down = Runs::resize(from_height, height, interpolation, antialias)?;
    let pixels: Vec<f32> = image.iter().copied().collect();
    let mut narrow = vec![0.0; from_height * width * channels];
    let mut out = vec![0.0; height * width * channels];
    if channels > 0 {
        across.forward(&pixels, channels, &mut narrow);
        down.forward(&narrow, width * channels, &mut out);
    }
    Array3::from_shape_vec((height, width, channels), out).map_err(|error| Error::Shape(error.to_string()))
}

/// An image of 8 bits a channel in another size, with Pillow's kernels and its rounding.
pub(super) fn resize_bytes(
    image: DynamicImage,
    [height, width]: [usize; 2],
    interpolation: Interpolation,
    keep_aspect_ratio: bool,
) -> Result<DynamicImage> {
    let (from_height, from_width) = (image.height() as usize, image.width() as usize);
    let range = 1..=1 << 15;
    ensure!(
        range.contains(&height) && range.contains(&width),
        Argument,
        "target_size is {height} by {width}; both must be from 1 to {}",
        range.end()
    );
    if [from_height, from_width] == [height, width] {
        return Ok(image);
    }
    let algorithm = match interpolation {
        Interpolation::Nearest => ResizeAlg::Nearest,
        Interpolation::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
        Interpolation::Bicubic => ResizeAlg::Convolution(FilterType::CatmullRom),
        Interpolation::Lanczos3 => ResizeAlg::Convolution(FilterType::Lanczos3),
        other => {
            return Err(Error::Argument(format!(
                "interpolation is {other:?}; files are resized with nearest, bilinear, bicubic or lanczos3"
            )));
        }
    };
    let mut options = ResizeOptions::new().resize_alg(algorithm).use_alpha(false);
    if keep_aspect_ratio {
        let [[top, left], part] = middle([from_height, from_width], [height, width]);
        options = options.crop(left as f64, top as f64, part[1] as f64, part[0] as f64);
    }
    let mut out = DynamicImage::new(width as u32, height as u32, image.color());
    let resized = Resizer::new().resize(&image, &mut out, &options);
    resized.map_err(|error| Error::Argument(format!("the image cannot be resized: {error}")))?;
    Ok(out)
}
