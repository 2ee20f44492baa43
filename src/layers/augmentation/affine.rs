//! All changes of the plane as one.

use super::geometric::{Flip, projective};
use super::{Augmentation, Draws, FillMode, Projective, Range, augmentations};
use crate::error::{Result, ensure};
use crate::kernels::resize::Interpolation;
use crate::kernels::warp::Warp;
use ndarray_rand::rand::Rng as _;

augmentations! {
    /// Flips, stretches, scales, slants, rotates and moves each image, in this order, about its centre and **in one
    /// pass**: an image is sampled once, whatever is asked for (as `ImageDataGenerator` of earlier Keras did). Without
    /// arguments it does nothing.
    ///
    /// What is asked for in words of photographs, not of coordinates: a scale of 1.6 shows things 1.6 times as large.
    ///
    /// ```
    /// use cornu::layers::{FillMode, Flip, RandomAffine};
    /// let all = RandomAffine::new()
    ///     .rotation((0.0, 360.0))
    ///     .shift(0.1)
    ///     .scale((1.0, 1.6))
    ///     .flip(Flip::Horizontal)
    ///     .shear(20.0)
    ///     .stretch((1.0, 1.3))
    ///     .fill_mode(FillMode::Nearest);
    /// ```
    ///
    /// Keras lacks it; it is saved as `cornu>RandomAffine`, and `docs/cornu_layers.py` has it for Python.
    RandomAffine = "cornu>RandomAffine" () [seed] {
        /// The angle in degrees, counter-clockwise: a number `f` means `-f` to `f`. Default: 0.
        rotation: Range = Range::UpTo(0.0),
        /// How far the image moves along its width and along its height, as shares of them and drawn one by one: a
        /// number `f` means `-f` to `f`. Default: 0.
        shift: Range = Range::UpTo(0.0),
        /// How many times as large all is shown: a number `f` means `1 - f` to `1 + f`. Default: 1.
        scale: Range = Range::UpTo(0.0),
        /// How it may be flipped: each direction with a probability of one half. Default: not at all.
        flip: Option<Flip> = None,
        /// The angle in degrees by which columns lean: a number `f` means `-f` to `f`. Default: 0.
        shear: Range = Range::UpTo(0.0),
        /// How many times as long all becomes along one axis, the width or the height by a draw of its own: a number
        /// `f` means `1 - f` to `1 + f`. Default: 1.
        stretch: Range = Range::UpTo(0.0),
        /// What comes in at the borders. Default: the image, reflected.
        fill_mode: FillMode = FillMode::default(),
        /// The value of borders with [`FillMode::Constant`]. Default: 0.
        fill_value: f64 = 0.0,
        /// How values between those of the image are found: nearest or bilinear. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
    }
}

/// The range of a factor around 1.
fn around_one(range: Range) -> (f64, f64) {
    match range {
        Range::UpTo(factor) => (1.0 - factor.abs(), 1.0 + factor.abs()),
        Range::Between(low, high) => (low, high),
    }
}

impl RandomAffine {
    fn check_arguments(&self) -> Result<()> {
        for (name, range) in [("scale", self.scale), ("stretch", self.stretch)] {
            let (low, _) = around_one(range);
            ensure!((f64::MIN_POSITIVE..).contains(&low), Argument, "{name} begins at {low}; it must be above 0");
        }
        let (low, high) = self.shear.bounds(f64::NEG_INFINITY);
        let possible = -89.9..=89.9;
        ensure!(
            possible.contains(&low) && possible.contains(&high),
            Argument,
            "shear is {low} to {high} degrees; it must be within -89.9 and 89.9"
        );
        Ok(())
    }
}

projective! { RandomAffine, |layer| layer.fill_mode, |layer, size, draws| {
    let signed = f64::NEG_INFINITY;
    let [horizontal, vertical] = layer.flip.map_or([false; 2], |flip| {
        flip.axes().map(|may| may && draws.sample.random())
    });
    let stretch = draws.between(around_one(layer.stretch));
    let stretch = if draws.sample.random() { [stretch, 1.0] } else { [1.0, stretch] };
    let scale = draws.between(around_one(layer.scale));
    let lean = draws.between(layer.shear.bounds(signed)).to_radians().tan();
    let angle = draws.between(layer.rotation.bounds(signed));
    let [right, down] = [size[1], size[0]].map(|n| draws.between(layer.shift.bounds(signed)) * n as f64);
    Projective::flip(horizontal, vertical, size)
        .then(Projective::zoom(1.0 / (scale * stretch[0]), 1.0 / (scale * stretch[1]), size))
        .then(Projective::shear(lean, 0.0).about(size))
        .then(Projective::rotation(angle, size))
        .then(Projective::translation(right, down))
}}
