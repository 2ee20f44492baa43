//! Pixels of a file, in the channels and the size that a model asks for, as TensorFlow makes them.

use super::ColorMode;
use crate::data::image::decode;
use crate::error::{Context, Error, Result, ensure};
use crate::kernels::resize::{Interpolation, Runs, middle};
use crate::tensor::Tensor;
use image::{DynamicImage, ImageDecoder};
use std::path::Path;

/// An image of bytes, `(height, width, channels)`.
pub(super) struct Pixels {
    height: usize,
    width: usize,
    channels: usize,
    values: Vec<u8>,
}

impl Pixels {
    /// Reads an image that takes at most `most` bytes, as a file and decoded. What a camera noted about how it was held
    /// does not count.
    pub fn read(path: &Path, color_mode: ColorMode, most: u64) -> Result<Self> {
        let read = || Self::decode(&decode::file(path, most, "max_bytes")?, color_mode, most);
        read().at(|| format!("file '{}'", path.display()))
    }

    fn decode(bytes: &[u8], color_mode: ColorMode, most: u64) -> Result<Self> {
        let decoder = decode::decoder(bytes, most)?;
        let (width, height) = decoder.dimensions();
        let pixels = u64::from(width) * u64::from(height);
        let size = decoder.total_bytes().max(pixels.saturating_mul(color_mode.channels() as u64));
        ensure!(
            size <= most,
            Data,
            "its {width} x {height} pixels take {size} bytes, more than the limit of {most} (max_bytes)"
        );
        let image = DynamicImage::from_decoder(decoder).map_err(|error| decode::damaged(&error))?;
        let (height, width) = (height as usize, width as usize);
        ensure!(height > 0 && width > 0, Format, "the image has no pixels");
        let (from, values) = match image {
            DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
            DynamicImage::ImageLumaA8(image) => (2, image.into_raw()),
            DynamicImage::ImageRgb8(image) => (3, image.into_raw()),
            DynamicImage::ImageRgba8(image) => (4, image.into_raw()),
            DynamicImage::ImageLuma16(image) => (1, high_bytes(&image)),
            DynamicImage::ImageLumaA16(image) => (2, high_bytes(&image)),
            DynamicImage::ImageRgb16(image) => (3, high_bytes(&image)),
            DynamicImage::ImageRgba16(image) => (4, high_bytes(&image)),
            other => return Err(Error::Format(format!("pixels of the kind {:?} are not read", other.color()))),
        };
        let channels = color_mode.channels();
        Ok(Pixels { height, width, channels, values: converted(values, from, channels) })
    }

    /// The image as `f32` in another size; each value comes from those around its place, without averaging, as Keras
    /// does it.
    pub fn resized(&self, size: [usize; 2], interpolation: Interpolation) -> Result<Tensor> {
        self.window([0, 0], [self.height, self.width], size, interpolation)
    }

    /// As [`resized`](Self::resized), of the largest middle part that has the new proportions.
    pub fn cropped(&self, size: [usize; 2], interpolation: Interpolation) -> Result<Tensor> {
        let [at, part] = middle([self.height, self.width], size);
        self.window(at, part, size, interpolation)
    }

    /// As [`resized`](Self::resized), with zeros around the image where its proportions leave room.
    pub fn padded(&self, [height, width]: [usize; 2], interpolation: Interpolation) -> Result<Tensor> {
        // In f32, as TensorFlow reckons.
        let (image, target) = ([self.height as f32, self.width as f32], [height as f32, width as f32]);
        let ratio = (image[1] / target[1]).max(image[0] / target[0]);
        let exact = image.map(|n| n / ratio);
        let part = exact.map(|n| n.floor().max(1.0) as usize);
        let before = [0, 1].map(|i| ((target[i] - exact[i]) / 2.0).floor().max(0.0) as usize);
        let resized = self.resized(part, interpolation)?;
        let mut whole = Tensor::zeros([height, width, self.channels]);
        let (row, offset) = (width * self.channels, before[1] * self.channels);
        let rows = resized.data().chunks_exact(part[1] * self.channels);
        for (from, to) in rows.zip(whole.data_mut().chunks_exact_mut(row).skip(before[0])) {
            let n = from.len().min(row - offset);
            to[offset..offset + n].copy_from_slice(&from[..n]);
        }
        Ok(whole)
    }

    fn window(
        &self,
        [top, left]: [usize; 2],
        [height, width]: [usize; 2],
        size: [usize; 2],
        interpolation: Interpolation,
    ) -> Result<Tensor> {
        let down = Runs::resize(height, size[0], interpolation, false)?;
        let across = Runs::resize(width, size[1], interpolation, false)?;
        let channels = self.channels;
        let mut out = Tensor::zeros([size[0], size[1], channels]);
        let mut line = vec![0.0f32; width * channels];
        for (y, out) in out.data_mut().chunks_exact_mut(size[1] * channels).enumerate() {
            let (first, weights) = down.run(y);
            for (i, &weight) in weights.iter().enumerate() {
                let start = ((top + first + i) * self.width + left) * channels;
                let pixels = self.values[start..start + line.len()].iter().map(|&v| weight * f32::from(v));
                let line = line.iter_mut().zip(pixels);
                if i == 0 { line.for_each(|(sum, v)| *sum = v) } else { line.for_each(|(sum, v)| *sum += v) }
            }
            match channels {
                1 => line_across::<1>(&across, &line, out),
                3 => line_across::<3>(&across, &line, out),
                _ => line_across::<4>(&across, &line, out),
            }
        }
        Ok(out)
    }
}

fn line_across<const CHANNELS: usize>(across: &Runs, line: &[f32], out: &mut [f32]) {
    let pixels = line.as_chunks::<CHANNELS>().0;
    for (x, out) in out.as_chunks_mut::<CHANNELS>().0.iter_mut().enumerate() {
        let (first, weights) = across.run(x);
        let mut sum = [0.0; CHANNELS];
        for (weight, pixel) in weights.iter().zip(&pixels[first..]) {
            sum.iter_mut().zip(pixel).for_each(|(sum, v)| *sum += weight * v);
        }
        *out = sum;
    }
}

fn high_bytes(values: &[u16]) -> Vec<u8> {
    values.iter().map(|v| (v >> 8) as u8).collect()
}

/// Pixels of 1 (grey), 2 (grey, alpha), 3 or 4 channels as pixels of 1, 3 or 4.
fn converted(values: Vec<u8>, from: usize, to: usize) -> Vec<u8> {
    if from == to {
        return values;
    }
    let mut made = Vec::with_capacity(values.len() / from * to);
    for pixel in values.chunks_exact(from) {
        let (rgb, alpha) = match *pixel {
            [grey] => ([grey; 3], 255),
            [grey, alpha] => ([grey; 3], alpha),
            [red, green, blue] => ([red, green, blue], 255),
            [red, green, blue, alpha, ..] => ([red, green, blue], alpha),
            [] => continue,
        };
        match to {
            1 => made.push(grey(rgb)),
            3 => made.extend(rgb),
            _ => made.extend([rgb[0], rgb[1], rgb[2], alpha]),
        }
    }
    made
}

/// 0.299 red + 0.587 green + 0.114 blue, as libpng computes it in whole numbers.
fn grey([red, green, blue]: [u8; 3]) -> u8 {
    ((9797 * u32::from(red) + 19234 * u32::from(green) + 3737 * u32::from(blue)) >> 15) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_tensorflows() {
        // What tf.image.decode_image gives for PNG files of these pixels.
        let rgb = [172, 47, 117, 192, 67, 251, 195, 103, 9, 216, 88, 140];
        assert_eq!(converted(rgb.to_vec(), 3, 1), [92, 125, 119, 132]);
        assert_eq!(converted(vec![88, 81, 165, 25], 4, 1), [92]);
        assert_eq!(converted(vec![172, 47, 117], 3, 4), [172, 47, 117, 255]);
        assert_eq!(converted(vec![7, 9], 2, 3), [7, 7, 7]);
        assert_eq!(converted(vec![7], 1, 4), [7, 7, 7, 255]);
        assert_eq!(high_bytes(&[0, 255, 256, 300, 32768, 65535, 40000, 511]), [0, 0, 1, 1, 128, 255, 156, 1]);
    }

    /// What tf.image.resize gives for a grey image of 5 x 7 pixels: three rows of four, then the first two of seven rows
    /// of nine.
    #[test]
    fn sizes_are_tensorflows() {
        let image = Pixels {
            height: 5,
            width: 7,
            channels: 1,
            values: vec![
                28, 115, 134, 66, 92, 220, 102, 101, 123, 197, 109, 73, 100, 182, 77, 149, 251, 159, 81, 35, 237, 243,
                250, 136, 254, 25, 21, 173, 229, 214, 144, 153, 238, 119, 165,
            ],
        };
        for (interpolation, small, large) in GOLDEN {
            for (size, expected) in [([3, 4], &small[..]), ([7, 9], &large[..])] {
                let values = image.resized(size, interpolation).unwrap();
                // TensorFlow takes the weights of its bicubic from a table of 1024 places between two pixels.
                let exact = if interpolation == Interpolation::Bicubic { 0.1 } else { 2e-3 };
                for (value, expected) in values.data().iter().zip(expected) {
                    assert!((value - expected).abs() < exact, "{interpolation:?}: {value} {expected}");
                }
            }
        }
    }

    #[rustfmt::skip]
    const GOLDEN: [(Interpolation, [f32; 12], [f32; 9]); 8] = [
        (Interpolation::Area, [83.3429, 131.6286, 96.5714, 150.2857, 136.0, 195.5429, 93.4286, 141.2, 231.9429, 168.3429, 153.9714, 130.3143],
            [28.0, 90.1429, 123.1429, 124.2857, 66.0, 88.2857, 165.1429, 186.2857, 102.0]),
        (Interpolation::Gaussian, [77.2857, 140.2193, 90.6003, 148.0737, 119.795, 216.3887, 87.3799, 154.8982, 230.904, 154.4871, 164.39, 136.7708],
            [39.7611, 88.7905, 124.5921, 121.0507, 78.747, 90.3714, 157.1227, 174.2949, 115.968]),
        (Interpolation::MitchellCubic, [73.6399, 142.302, 85.0589, 148.8498, 108.5052, 230.7186, 88.2053, 161.2863, 235.8948, 145.9492, 172.1582, 136.4052],
            [28.9693, 84.9799, 128.6641, 119.3671, 71.2222, 83.1717, 168.7824, 184.2333, 103.3146]),
        (Interpolation::Bilinear, [76.8333, 145.6667, 85.0, 147.9167, 104.0, 239.5, 90.75, 161.25, 230.7917, 147.0, 169.4583, 137.1667],
            [28.0, 86.0, 123.4444, 118.8889, 66.0, 86.2222, 163.1111, 180.6667, 102.0]),
        (Interpolation::Bicubic, [69.2803, 144.8529, 80.2041, 147.9427, 96.0155, 248.6875, 89.123, 170.05, 238.6398, 137.4817, 182.3772, 137.8149],
            [19.4499, 84.263, 131.2321, 119.1551, 63.4991, 77.6405, 179.8505, 194.9269, 91.2006]),
        (Interpolation::Lanczos3, [68.3481, 139.7477, 74.2155, 150.256, 89.9883, 249.8147, 92.4351, 171.198, 249.2928, 131.9257, 185.8062, 133.458],
            [15.8882, 78.3971, 143.3753, 116.1703, 63.8092, 67.8598, 192.2863, 195.0934, 85.8763]),
        (Interpolation::Nearest, [28.0, 134.0, 92.0, 102.0, 77.0, 251.0, 81.0, 237.0, 229.0, 144.0, 238.0, 165.0],
            [28.0, 115.0, 115.0, 134.0, 66.0, 92.0, 220.0, 220.0, 102.0]),
        (Interpolation::Lanczos5, [71.093, 136.9965, 68.0909, 148.8568, 87.5719, 245.6254, 95.1685, 170.4961, 255.8279, 130.247, 187.3439, 133.6057],
            [12.9785, 73.0003, 147.6636, 118.0815, 61.8351, 66.8172, 202.2801, 192.9804, 85.8191]),
    ];
}
