//! Colours in other coordinates and orders, channels one by one, and bytes.

use crate::error::{Error, Result, ensure};
use crate::kernels::color;
use ndarray::{Array2, Array3, ArrayBase, ArrayView2, Axis, Data, Ix3};

/// Checks that an image has three channels.
fn check_colours(image: &ArrayBase<impl Data<Elem = f32>, Ix3>) -> Result<()> {
    ensure!(image.dim().2 == 3, Shape, "an image of shape {:?}; expected (height, width, 3)", image.shape());
    Ok(())
}

/// `image` with each pixel changed.
fn each_pixel(
    image: &ArrayBase<impl Data<Elem = f32>, Ix3>,
    change: impl Fn([f32; 3]) -> [f32; 3],
) -> Result<Array3<f32>> {
    check_colours(image)?;
    let mut out = image.to_owned();
    for mut pixel in out.lanes_mut(Axis(2)) {
        let changed = change([pixel[0], pixel[1], pixel[2]]);
        pixel.iter_mut().zip(changed).for_each(|(to, from)| *to = from);
    }
    Ok(out)
}

/// Red and blue exchanged, `(height, width, 3)`: takes images to OpenCV's order and back.
///
/// # Errors
/// When there are not three channels.
pub fn rgb_to_bgr(image: &ArrayBase<impl Data<Elem = f32>, Ix3>) -> Result<Array3<f32>> {
    each_pixel(image, |[red, green, blue]| [blue, green, red])
}

/// The brightness, `(height, width, 1)`: 0.2989 red, 0.587 green and 0.114 blue (Keras: `rgb_to_grayscale`).
///
/// # Errors
/// When there are not three channels.
pub fn rgb_to_grayscale(image: &ArrayBase<impl Data<Elem = f32>, Ix3>) -> Result<Array3<f32>> {
    check_colours(image)?;
    let (height, width, _) = image.dim();
    Ok(Array3::from_shape_fn((height, width, 1), |(i, j, _)| color::grey([0, 1, 2].map(|c| image[[i, j, c]]))))
}

/// Three equal channels of one: `(height, width, 1)` to `(height, width, 3)`.
///
/// # Errors
/// When there is not one channel.
pub fn grayscale_to_rgb(image: &ArrayBase<impl Data<Elem = f32>, Ix3>) -> Result<Array3<f32>> {
    let (height, width, channels) = image.dim();
    ensure!(channels == 1, Shape, "an image of shape {:?}; expected (height, width, 1)", image.shape());
    Ok(Array3::from_shape_fn((height, width, 3), |(i, j, _)| image[[i, j, 0]]))
}

/// Hue and saturation from 0 to 1, and the value in the range of the colours (Keras: `rgb_to_hsv`).
///
/// # Errors
/// When there are not three channels.
pub fn rgb_to_hsv(image: &ArrayBase<impl Data<Elem = f32>, Ix3>) -> Result<Array3<f32>> {
    each_pixel(image, color::rgb_to_hsv)
}

/// The opposite of [`rgb_to_hsv`] (Keras: `hsv_to_rgb`).
///
/// # Errors
/// When there are not three channels.
pub fn hsv_to_rgb(image: &ArrayBase<impl Data<Elem = f32>, Ix3>) -> Result<Array3<f32>> {
    each_pixel(image, color::hsv_to_rgb)
}

/// The channels of an image, `(height, width)` each.
pub fn split_channels<A: Clone>(image: &ArrayBase<impl Data<Elem = A>, Ix3>) -> Vec<Array2<A>> {
    image.axis_iter(Axis(2)).map(|channel| channel.to_owned()).collect()
}

/// Channels, `(height, width)` each, as an image `(height, width, channels)`.
///
/// # Errors
/// When there are none, or their sizes differ.
pub fn merge_channels<A: Clone>(channels: &[Array2<A>]) -> Result<Array3<A>> {
    let views: Vec<ArrayView2<'_, A>> = channels.iter().map(|channel| channel.view()).collect();
    ndarray::stack(Axis(2), &views).map_err(|error| Error::Shape(format!("channels that do not fit: {error}")))
}

/// A value from 0 to 255, rounded.
pub(super) fn byte(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// Bytes of values from 0 to 255, which are rounded and brought into this range; NaN becomes 0.
pub fn to_bytes(image: &ArrayBase<impl Data<Elem = f32>, Ix3>) -> Array3<u8> {
    image.mapv(byte)
}

/// Numbers from 0 to 255 of bytes.
pub fn from_bytes(image: &ArrayBase<impl Data<Elem = u8>, Ix3>) -> Array3<f32> {
    image.mapv(f32::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_there_and_back() {
        let image = Array3::from_shape_fn((3, 4, 3), |(i, j, c)| ((i * 53 + j * 29 + c * 91) % 200) as f32 / 200.0);
        let back = hsv_to_rgb(&rgb_to_hsv(&image).unwrap()).unwrap();
        assert!((&back - &image).iter().all(|d| d.abs() < 1e-6));
        assert_eq!(rgb_to_bgr(&rgb_to_bgr(&image).unwrap()).unwrap(), image);
        assert_eq!(rgb_to_bgr(&image).unwrap()[[1, 2, 0]], image[[1, 2, 2]]);
        let grey = rgb_to_grayscale(&image).unwrap();
        let want = 0.2989 * image[[2, 1, 0]] + 0.587 * image[[2, 1, 1]] + 0.114 * image[[2, 1, 2]];
        assert!((grey[[2, 1, 0]] - want).abs() < 1e-6);
        assert_eq!(grayscale_to_rgb(&grey).unwrap()[[2, 1, 2]], grey[[2, 1, 0]]);
        let channels = split_channels(&image);
        assert_eq!(channels.len(), 3);
        assert_eq!(merge_channels(&channels).unwrap(), image);
        let bytes = to_bytes(&(&image * 255.0));
        assert_eq!(from_bytes(&bytes)[[0, 1, 2]], (image[[0, 1, 2]] * 255.0).round());
    }

    #[test]
    fn wrong_channels_are_errors() {
        let one = Array3::<f32>::zeros((2, 3, 1));
        for error in [rgb_to_hsv(&one), rgb_to_bgr(&one), rgb_to_grayscale(&one), hsv_to_rgb(&one)] {
            assert!(error.unwrap_err().to_string().contains("(height, width, 3)"));
        }
        assert!(grayscale_to_rgb(&Array3::<f32>::zeros((2, 3, 3))).is_err());
        assert!(merge_channels::<f32>(&[]).is_err());
        assert!(merge_channels(&[Array2::<f32>::zeros((2, 3)), Array2::zeros((3, 2))]).is_err());
    }
}
