//! Images that are changed at random in training: the layers' names and configurations.
//!
//! In inference they hand their input on, so that a model of Keras that has them can be read, run, saved and taken
//! back. What they do in training is not written yet; a step of training says so instead of leaving it out.

use super::resizing::{check_size, image_shape};
use super::spatial::DataFormat;
use super::up_sampling::Interpolation;
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// The range that a random number is drawn from.
///
/// One number `f` means what the layer says, mostly `-f` to `f`; a pair is the range itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Range {
    /// Up to this number.
    UpTo(f64),
    /// From the first to the second.
    Between(f64, f64),
}

impl From<f64> for Range {
    fn from(factor: f64) -> Self {
        Range::UpTo(factor)
    }
}

impl From<(f64, f64)> for Range {
    fn from((low, high): (f64, f64)) -> Self {
        Range::Between(low, high)
    }
}

impl Range {
    fn check(self, name: &str) -> Result<()> {
        let (low, high) = match self {
            Range::UpTo(factor) => (0.0, factor.abs()),
            Range::Between(low, high) => (low, high),
        };
        ensure!(
            low.is_finite() && high.is_finite() && low <= high,
            Argument,
            "{name} is ({low}, {high}); it must be a number, or two of which the second is not smaller"
        );
        Ok(())
    }
}

/// What stands beyond the border of an image that was moved, of the row `abcd`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FillMode {
    /// `dcba|abcd|dcba`
    #[default]
    Reflect,
    /// `abcd|abcd|abcd`
    Wrap,
    /// `aaaa|abcd|dddd`
    Nearest,
    /// A fixed value.
    Constant,
}

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

/// A field with `UpTo` and `Between`, or none, is checked; others need it not.
trait Checked {
    fn checked(&self, _name: &str) -> Result<()> {
        Ok(())
    }
}
impl Checked for Range {
    fn checked(&self, name: &str) -> Result<()> {
        self.check(name)
    }
}
impl Checked for Option<Range> {
    fn checked(&self, name: &str) -> Result<()> {
        self.map_or(Ok(()), |range| range.check(name))
    }
}
impl Checked for [f64; 2] {
    fn checked(&self, name: &str) -> Result<()> {
        Range::Between(self[0], self[1]).check(name)
    }
}
impl Checked for f64 {
    fn checked(&self, name: &str) -> Result<()> {
        Range::UpTo(*self).check(name)
    }
}
impl Checked for Option<f64> {}
impl Checked for Option<u64> {}
impl Checked for Option<usize> {}
impl Checked for usize {}
impl Checked for bool {}
impl Checked for Flip {}
impl Checked for FillMode {}
impl Checked for Interpolation {}
impl Checked for DataFormat {}
impl Checked for [usize; 2] {}

/// The layers: what a layer does in training, its arguments with their defaults, and what `new` takes.
macro_rules! augmentations {
    ($($(#[$doc:meta])* $class:ident($($argument:ident: $given:ty),*) {
        $($(#[$of:meta])* $field:ident: $type:ty = $default:expr,)*
    })*) => { $(
        $(#[$doc])*
        ///
        /// Input and output `(batch, height, width, channels)`. In inference the images go on as they are; in training
        /// it says that it cannot do its work yet.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $class {
            $($field: $type,)*
            data_format: DataFormat,
        }

        impl $class {
            /// With Keras' defaults for all else.
            pub fn new($($argument: $given),*) -> Self {
                $class { $($argument: $argument.into(),)* ..Self::default() }
            }

            $($(#[$of])*
            pub fn $field(mut self, $field: impl Into<$type>) -> Self {
                self.$field = $field.into();
                self
            })*

            /// Where the channels are. Default: last.
            pub fn data_format(mut self, data_format: DataFormat) -> Self {
                self.data_format = data_format;
                self
            }
        }

        impl Default for $class {
            fn default() -> Self {
                $class { $($field: $default,)* data_format: DataFormat::default() }
            }
        }

        impl Layer for $class {
            fn config(&self) -> Result<Config> {
                config::of(self)
            }
            fn check(&self) -> Result<()> {
                $(self.$field.checked(stringify!($field))?;)*
                Ok(())
            }
            fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
                unchanged(stringify!($class), inputs, cx)
            }
            fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
                Ok(gradients.one()?.into())
            }
        }
    )* };
}

/// What an augmentation does in inference: nothing.
fn unchanged(class: &str, inputs: Values, cx: &Forward<'_>) -> Result<Values> {
    ensure!(
        !cx.training(),
        State,
        "{class} cannot augment in training yet; it works in inference. Take it out to train the model, or call it \
         with training set to false"
    );
    Ok(inputs.one()?.into())
}

/// Bytes.
const BYTES: [f64; 2] = [0.0, 255.0];

augmentations! {
    /// Flips each image or not (Keras: `RandomFlip`); both directions share one draw.
    RandomFlip() {
        /// The directions. Default: both.
        mode: Flip = Flip::default(),
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Rotates each image about its centre (Keras: `RandomRotation`) by a share of a full turn, counter-clockwise
    /// where it is positive.
    RandomRotation(factor: impl Into<Range>) {
        /// The share of a turn: a number `f` means `-f` to `f`.
        factor: Range = Range::UpTo(0.0),
        /// What comes in at the borders. Default: the image, reflected.
        fill_mode: FillMode = FillMode::default(),
        /// The value of borders with [`FillMode::Constant`]. Default: 0.
        fill_value: f64 = 0.0,
        /// How values between those of the image are found. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Makes what each image shows larger or smaller (Keras: `RandomZoom`): more than 0 zooms out.
    RandomZoom(height_factor: impl Into<Range>) {
        /// By how much of the height: a number `f` means `-f` to `f`.
        height_factor: Range = Range::UpTo(0.0),
        /// By how much of the width. Default: as the height, which keeps proportions.
        width_factor: Option<Range> = None,
        /// What comes in at the borders. Default: the image, reflected.
        fill_mode: FillMode = FillMode::default(),
        /// The value of borders with [`FillMode::Constant`]. Default: 0.
        fill_value: f64 = 0.0,
        /// How values between those of the image are found. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Moves each image (Keras: `RandomTranslation`): down and right where the share is positive.
    RandomTranslation(height_factor: impl Into<Range>, width_factor: impl Into<Range>) {
        /// The share of the height: a number `f` means `-f` to `f`.
        height_factor: Range = Range::UpTo(0.0),
        /// The share of the width: a number `f` means `-f` to `f`.
        width_factor: Range = Range::UpTo(0.0),
        /// What comes in at the borders. Default: the image, reflected.
        fill_mode: FillMode = FillMode::default(),
        /// The value of borders with [`FillMode::Constant`]. Default: 0.
        fill_value: f64 = 0.0,
        /// How values between those of the image are found. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Slants each image (Keras: `RandomShear`).
    RandomShear() {
        /// How much horizontally: a number `f` means `-f` to `f`. Default: 0.
        x_factor: Range = Range::UpTo(0.0),
        /// How much vertically: a number `f` means `-f` to `f`. Default: 0.
        y_factor: Range = Range::UpTo(0.0),
        /// What comes in at the borders. Default: the image, reflected.
        fill_mode: FillMode = FillMode::default(),
        /// The value of borders with [`FillMode::Constant`]. Default: 0.
        fill_value: f64 = 0.0,
        /// How values between those of the image are found. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Moves the four corners of each image (Keras: `RandomPerspective`).
    RandomPerspective() {
        /// How many of the images: a number `f` means 0 to `f`. Default: 1.
        factor: Range = Range::Between(0.0, 1.0),
        /// How far the corners move at most. Default: 1.
        scale: f64 = 1.0,
        /// How values between those of the image are found. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
        /// What comes in at the borders. Default: 0.
        fill_value: f64 = 0.0,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Moves pixels by smooth noise (Keras: `RandomElasticTransform`).
    RandomElasticTransform() {
        /// How many of the images: a number `f` means 0 to `f`. Default: 1.
        factor: Range = Range::Between(0.0, 1.0),
        /// How strongly: a number `f` means 0 to `f`. Default: 1.
        scale: Range = Range::Between(0.0, 1.0),
        /// How values between those of the image are found. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
        /// What comes in at the borders. Default: the image, reflected.
        fill_mode: FillMode = FillMode::default(),
        /// The value of borders with [`FillMode::Constant`]. Default: 0.
        fill_value: f64 = 0.0,
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Changes the contrast of each image (Keras: `RandomContrast`): the distances from the mean of a channel times
    /// a number around 1.
    RandomContrast(factor: impl Into<Range>) {
        /// How far from 1: a number `f` means `1 - f` to `1 + f`.
        factor: Range = Range::UpTo(0.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Makes each image lighter or darker (Keras: `RandomBrightness`) by a share of the range of values.
    RandomBrightness(factor: impl Into<Range>) {
        /// The share: a number `f` means `-f` to `f`.
        factor: Range = Range::UpTo(0.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Turns the hue of each image (Keras: `RandomHue`).
    RandomHue(factor: impl Into<Range>) {
        /// By how much: a number `f` means 0 to `f`.
        factor: Range = Range::UpTo(0.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Changes how colourful each image is (Keras: `RandomSaturation`).
    RandomSaturation(factor: impl Into<Range>) {
        /// By how much.
        factor: Range = Range::UpTo(0.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Mixes each image with its own grey (Keras: `RandomColorDegeneration`).
    RandomColorDegeneration(factor: impl Into<Range>) {
        /// By how much.
        factor: Range = Range::UpTo(0.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Changes brightness, contrast, saturation and hue of each image (Keras: `RandomColorJitter`); those without a
    /// factor stay.
    RandomColorJitter() {
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// See [`RandomBrightness`]. Default: none.
        brightness_factor: Option<Range> = None,
        /// See [`RandomContrast`]. Default: none.
        contrast_factor: Option<Range> = None,
        /// See [`RandomSaturation`]. Default: none.
        saturation_factor: Option<Range> = None,
        /// See [`RandomHue`]. Default: none.
        hue_factor: Option<Range> = None,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Fills a rectangle of each image (Keras: `RandomErasing`).
    RandomErasing() {
        /// How many of the images: a number `f` means 0 to `f`. Default: 1.
        factor: Range = Range::Between(0.0, 1.0),
        /// The share of the image. Default: 0.02 to 0.33.
        scale: Range = Range::Between(0.02, 0.33),
        /// The value of the rectangle. Default: noise.
        fill_value: Option<f64> = None,
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Blurs images (Keras: `RandomGaussianBlur`).
    RandomGaussianBlur() {
        /// How many of the images: a number `f` means 0 to `f`. Default: 1.
        factor: Range = Range::Between(0.0, 1.0),
        /// The height and width of the kernel. Default: 3 by 3.
        kernel_size: [usize; 2] = [3, 3],
        /// The standard deviation in pixels: a number `s` means 0 to `s`. Default: 1.
        sigma: Range = Range::Between(0.0, 1.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Takes the colours of some images away (Keras: `RandomGrayscale`).
    RandomGrayscale() {
        /// How many of the images, from 0 to 1. Default: 0.5.
        factor: f64 = 0.5,
    }
    /// Inverts images (Keras: `RandomInvert`).
    RandomInvert() {
        /// How many of the images: a number `f` means 0 to `f`. Default: 1.
        factor: Range = Range::Between(0.0, 1.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Sharpens or softens each image (Keras: `RandomSharpness`).
    RandomSharpness(factor: impl Into<Range>) {
        /// By how much.
        factor: Range = Range::UpTo(0.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Leaves each image few different values (Keras: `RandomPosterization`).
    RandomPosterization(factor: impl Into<Range>) {
        /// How many bits are kept.
        factor: Range = Range::Between(1.0, 8.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Inverts what is lighter than a threshold (Keras: `Solarization`).
    Solarization() {
        /// What is added first. Default: nothing.
        addition_factor: Range = Range::UpTo(0.0),
        /// The threshold. Default: 0.
        threshold_factor: Range = Range::UpTo(0.0),
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Spreads the values of each channel evenly (Keras: `Equalization`), in training alone, as Keras does.
    Equalization() {
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// The number of bins of the histogram. Default: 256.
        bins: usize = 256,
    }
    /// Puts a rectangle of another image of the batch into each (Keras: `CutMix`).
    CutMix() {
        /// The parameter of the share's distribution: a number `f` means 0 to `f`. Default: 1.
        factor: Range = Range::Between(0.0, 1.0),
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Mixes each image with another one of the batch (Keras: `MixUp`).
    MixUp() {
        /// The parameter of the share's beta distribution. Default: 0.2.
        alpha: f64 = 0.2,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Mixes chains of simple changes (Keras: `AugMix`; Hendrycks et al.: *AugMix*, 2020).
    AugMix() {
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// The number of chains. Default: 3.
        num_chains: usize = 3,
        /// The number of changes in a chain. Default: 3.
        chain_depth: usize = 3,
        /// How strong they are: a number `f` means 0 to `f`. Default: 0.3.
        factor: Range = Range::Between(0.0, 0.3),
        /// The parameter of the shares' distributions. Default: 1.
        alpha: f64 = 1.0,
        /// Whether brightness, contrast, saturation and sharpness are among them. Default: yes.
        all_ops: bool = true,
        /// How values between those of the image are found. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
    /// Some simple changes of each image (Keras: `RandAugment`; Cubuk et al.: *RandAugment*, 2019).
    RandAugment() {
        /// The smallest and the largest value of an image. Default: 0 and 255.
        value_range: [f64; 2] = BYTES,
        /// How many. Default: 2.
        num_ops: usize = 2,
        /// How strong they are: a number `f` means 0 to `f`. Default: 0.5.
        factor: Range = Range::Between(0.0, 0.5),
        /// How values between those of the image are found. Default: bilinear.
        interpolation: Interpolation = Interpolation::Bilinear,
        /// A seed of the layer's own. Default: the model's.
        seed: Option<u64> = None,
    }
}

/// In training, cuts the same random piece out of all images of a batch (Keras: `RandomCrop`).
///
/// Its output is said to be `(batch, height, width, channels)`. In inference Keras 3.15 hands images on **in their own
/// size**, whatever its documentation says, and so does this layer: give it images of the size that it makes, or put a
/// [`CenterCrop`](super::CenterCrop) in its place. In training it says that it cannot do its work yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct RandomCrop {
    height: usize,
    width: usize,
    seed: Option<u64>,
    data_format: DataFormat,
}

impl RandomCrop {
    /// Pieces of this size.
    pub fn new(height: usize, width: usize) -> Self {
        RandomCrop { height, width, ..Self::default() }
    }

    /// A seed of the layer's own. Default: the model's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Where the channels are. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }
}

impl Default for RandomCrop {
    /// Pieces of one pixel.
    fn default() -> Self {
        RandomCrop { height: 1, width: 1, seed: None, data_format: DataFormat::default() }
    }
}

impl Layer for RandomCrop {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        check_size(self.height, self.width)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        image_shape(one_shape(inputs)?, [self.height, self.width].into(), self.data_format)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        unchanged("RandomCrop", inputs, cx)
    }

    fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Ok(gradients.one()?.into())
    }
}
