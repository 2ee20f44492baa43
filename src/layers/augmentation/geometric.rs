//! Changes of the image's plane: each pixel is seen at another place.

use super::{Augmentation, Draws, FillMode, Projective, Range, augmentations};
use crate::error::Result;
use crate::kernels::resize::Interpolation;
use crate::kernels::warp::Warp;
use ndarray_rand::rand::Rng as _;
use serde::{Deserialize, Serialize};

/// How [`RandomFlip`] turns an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flip {
    /// Left and right.
    Horizontal,
    /// Top and bottom.
    Vertical,
    /// Both.
    #[default]
    HorizontalAndVertical,
}

impl Flip {
    /// Whether left and right, and whether top and bottom are exchanged.
    pub(super) fn axes(self) -> [bool; 2] {
        [self != Flip::Vertical, self != Flip::Horizontal]
    }
}

augmentations! {
    /// Flips each image or not, each with a probability of one half (Keras: `RandomFlip`); both directions share one
    /// draw, so an image is flipped both ways or not at all.
    RandomFlip() [seed] {
        /// The directions. Default: both.
        mode: Flip = Flip::default(),
    }
    /// Rotates each image about its centre (Keras: `RandomRotation`) by a share of a full turn, counter-clockwise
    /// where it is positive.
    RandomRotation(factor: impl Into<Range>) [seed] {
        /// The share of a turn, from -1 to 1: a number `f` means `-f` to `f`.
        factor: Range = Range::UpTo(0.0),
        /// What comes in at the borders. Default: the image, reflected.
        fill_mode: FillMode = FillMode::default(),
        /// The value of borders with [`FillMode::Constant`]. Default: 0.
        fill_value: f64 = 0.0,
        /// How values between those of the image are found: nearest or bilinear. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
    }
    /// Makes what each image shows larger or smaller, about its centre (Keras: `RandomZoom`): more than 0 zooms out.
    RandomZoom(height_factor: impl Into<Range>) [seed] {
        /// By how much of the height, above -1 and up to 1: a number `f` means `-f` to `f`.
        height_factor: Range = Range::UpTo(0.0),
        /// By how much of the width. Default: as the height, which keeps proportions.
        width_factor: Option<Range> as Range = None,
        /// What comes in at the borders. Default: the image, reflected.
        fill_mode: FillMode = FillMode::default(),
        /// The value of borders with [`FillMode::Constant`]. Default: 0.
        fill_value: f64 = 0.0,
        /// How values between those of the image are found: nearest or bilinear. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
    }
    /// Moves each image (Keras: `RandomTranslation`): down and right where the share is positive.
    RandomTranslation(height_factor: impl Into<Range>, width_factor: impl Into<Range>) [seed] {
        /// The share of the height, from -1 to 1: a number `f` means `-f` to `f`.
        height_factor: Range = Range::UpTo(0.0),
        /// The share of the width, from -1 to 1: a number `f` means `-f` to `f`.
        width_factor: Range = Range::UpTo(0.0),
        /// What comes in at the borders. Default: the image, reflected.
        fill_mode: FillMode = FillMode::default(),
        /// The value of borders with [`FillMode::Constant`]. Default: 0.
        fill_value: f64 = 0.0,
        /// How values between those of the image are found: nearest or bilinear. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
    }
    /// Slants each image about its first pixel (Keras: `RandomShear`). Both directions get the same sign, which is
    /// drawn too.
    RandomShear() [seed] {
        /// How much horizontally, in pixels for each row: a number `f` means `-f` to `f`. Default: 0.
        x_factor: Range = Range::UpTo(0.0),
        /// How much vertically, in pixels for each column: a number `f` means `-f` to `f`. Default: 0.
        y_factor: Range = Range::UpTo(0.0),
        /// What comes in at the borders. Default: the image, reflected.
        fill_mode: FillMode = FillMode::default(),
        /// The value of borders with [`FillMode::Constant`]. Default: 0.
        fill_value: f64 = 0.0,
        /// How values between those of the image are found: nearest or bilinear. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
    }
    /// Moves the four corners of each image (Keras: `RandomPerspective`), as far as they are from the first pixel times
    /// a number from `-scale / 2` to `scale / 2`; so the first corner stays.
    RandomPerspective() [seed] {
        /// How many of the images: a number `f` means a probability drawn from 0 to `f`. Default: 1.
        factor: Range = Range::Between(0.0, 1.0),
        /// How far the corners move at most, from 0 to 1. Default: 1.
        scale: f64 = 1.0,
        /// How values between those of the image are found: nearest or bilinear. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
        /// What comes in at the borders. Default: 0.
        fill_value: f64 = 0.0,
    }
}

impl RandomFlip {
    fn check_arguments(&self) -> Result<()> {
        Ok(())
    }

    /// Copies an image in the other order.
    fn flip(&self, [height, width, channels]: [usize; 3], image: &[f32], out: &mut [f32]) {
        let [horizontal, vertical] = self.mode.axes();
        let row = width * channels;
        for (i, out) in out.chunks_exact_mut(row).enumerate() {
            let from = if vertical { height - 1 - i } else { i };
            let from = &image[from * row..][..row];
            match (horizontal, channels) {
                (false, _) => out.copy_from_slice(from),
                (_, 1) => out.iter_mut().zip(from.iter().rev()).for_each(|(y, x)| *y = *x),
                _ => {
                    let pixels = from.rchunks_exact(channels);
                    out.chunks_exact_mut(channels).zip(pixels).for_each(|(y, x)| y.copy_from_slice(x));
                }
            }
        }
    }
}

impl Augmentation for RandomFlip {
    /// Whether the image is flipped.
    type Parameters = bool;

    fn draw(&self, _: [usize; 3], draws: &mut Draws) -> bool {
        draws.sample.random::<f64>() <= 0.5
    }

    fn write(&self, size: [usize; 3], flipped: &bool, image: &[f32], out: &mut [f32]) -> Result<()> {
        if *flipped {
            self.flip(size, image, out)
        } else {
            out.copy_from_slice(image)
        }
        Ok(())
    }

    fn gradient(&self, size: [usize; 3], flipped: &bool, _: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<()> {
        // To flip is its own opposite.
        self.write(size, flipped, dy, dx)
    }
}

/// What a layer that draws a [`Projective`] has in common with the others.
macro_rules! projective {
    ($class:ident, $fill_mode:expr, |$this:ident, $size:ident, $draws:ident| $draw:block) => {
        impl Augmentation for $class {
            /// Where each pixel is read.
            type Parameters = Projective;

            fn draw(&self, $size: [usize; 3], $draws: &mut Draws) -> Projective {
                let $this = self;
                $draw
            }

            fn write(&self, size: [usize; 3], map: &Projective, image: &[f32], out: &mut [f32]) -> Result<()> {
                if *map == Projective::default() {
                    out.copy_from_slice(image);
                    return Ok(());
                }
                let fill_mode: fn(&Self) -> FillMode = $fill_mode;
                Warp::new(size, self.interpolation, fill_mode(self), self.fill_value)?.forward(map, image, out);
                Ok(())
            }

            fn gradient(
                &self,
                size: [usize; 3],
                map: &Projective,
                _: &[f32],
                dy: &[f32],
                dx: &mut [f32],
            ) -> Result<()> {
                let fill_mode: fn(&Self) -> FillMode = $fill_mode;
                Warp::new(size, self.interpolation, fill_mode(self), self.fill_value)?.backward(map, dy, dx);
                Ok(())
            }
        }
    };
}
pub(super) use projective;

/// Symmetrical where one number is given.
const BOTH_SIGNS: f64 = f64::NEG_INFINITY;

projective! { RandomRotation, |layer| layer.fill_mode, |layer, size, draws| {
    Projective::rotation(360.0 * draws.between(layer.factor.bounds(BOTH_SIGNS)), size)
}}

projective! { RandomZoom, |layer| layer.fill_mode, |layer, size, draws| {
    let height = 1.0 + draws.between(layer.height_factor.bounds(BOTH_SIGNS));
    let width = layer.width_factor.map_or(height, |factor| 1.0 + draws.between(factor.bounds(BOTH_SIGNS)));
    Projective::zoom(width, height, size)
}}

projective! { RandomTranslation, |layer| layer.fill_mode, |layer, size, draws| {
    let down = draws.between(layer.height_factor.bounds(BOTH_SIGNS)) * size[0] as f64;
    let right = draws.between(layer.width_factor.bounds(BOTH_SIGNS)) * size[1] as f64;
    Projective::translation(right, down)
}}

projective! { RandomShear, |layer| layer.fill_mode, |layer, _size, draws| {
    let sign = draws.sign();
    let y = sign * draws.between(layer.y_factor.bounds(BOTH_SIGNS));
    let x = sign * draws.between(layer.x_factor.bounds(BOTH_SIGNS));
    Projective::shear(x, y)
}}

projective! { RandomPerspective, |_| FillMode::Constant, |layer, size, draws| {
    let happens = draws.happens(layer.factor);
    let [right, bottom] = [size[1], size[0]].map(|n| n as f64 - 1.0);
    let start = [[0.0, 0.0], [right, 0.0], [0.0, bottom], [right, bottom]];
    let end = start.map(|point| point.map(|v| v * (1.0 + draws.between((-0.5 * layer.scale, 0.5 * layer.scale)))));
    if happens { Projective::perspective(start, end) } else { Projective::default() }
}}

impl RandomRotation {
    fn check_arguments(&self) -> Result<()> {
        self.factor.check_within("factor", -1.0, 1.0)
    }
}

impl RandomZoom {
    fn check_arguments(&self) -> Result<()> {
        // At -1 nothing of the image would be seen.
        let above = -1.0 + f64::EPSILON;
        self.height_factor.check_within("height_factor", above, 1.0)?;
        self.width_factor.map_or(Ok(()), |factor| factor.check_within("width_factor", above, 1.0))
    }
}

impl RandomTranslation {
    fn check_arguments(&self) -> Result<()> {
        self.height_factor.check_within("height_factor", -1.0, 1.0)?;
        self.width_factor.check_within("width_factor", -1.0, 1.0)
    }
}

impl RandomShear {
    fn check_arguments(&self) -> Result<()> {
        // Keras takes 0 to 1 and writes `[-f, f]` into its files.
        self.x_factor.check_within("x_factor", -1.0, 1.0)?;
        self.y_factor.check_within("y_factor", -1.0, 1.0)
    }
}

impl RandomPerspective {
    fn check_arguments(&self) -> Result<()> {
        self.factor.check_within("factor", 0.0, 1.0)?;
        Range::UpTo(self.scale).check_within("scale", 0.0, 1.0)
    }
}
