//! Images that are changed at random in training: one file for each kind of change.
//!
//! Each of these layers draws numbers for an image and applies them, and both can be called alone: see [`Augmentation`].
//! In a model they work in training only and hand images on in inference. What an image gets depends on the seed, the
//! layer, the step and the image's place in the epoch, not on how a batch is cut or on threads.
//!
//! ```
//! use cornu::layers::augmentation::{Augmentation, Draws};
//! use cornu::prelude::*;
//! let image = ndarray::Array3::from_shape_fn((28, 28, 1), |(i, j, _)| (i * j) as f32);
//! let layer = RandomRotation::new(0.1);
//! let drawn = layer.draw([28, 28, 1], &mut Draws::new(1, 0, 0));
//! let turned = layer.apply(&image, &drawn)?;
//! assert_eq!(turned, layer.augment(&image, &mut Draws::new(1, 0, 0))?);
//! # Ok::<(), cornu::Error>(())
//! ```
//!
//! Names, arguments and pixels are those of Keras 3.15 on PyTorch and JAX, its peculiarities included, which the
//! layers' documentation names.

mod affine;
mod clahe;
mod color;
mod crop;
mod elastic;
mod erasing;
mod filters;
mod geometric;
mod mixing;
mod pipeline;
mod policies;
mod tone;

pub use crate::kernels::warp::{FillMode, Projective};
pub use affine::RandomAffine;
pub use clahe::ContrastLimitedAdaptiveHistogramEqualization;
pub use color::{
    Jitter, RandomBrightness, RandomColorDegeneration, RandomColorJitter, RandomContrast, RandomGrayscale, RandomHue,
    RandomInvert, RandomSaturation,
};
pub use crop::RandomCrop;
pub use elastic::{Displacement, RandomElasticTransform};
pub use erasing::{Erased, Filling, RandomErasing};
pub use filters::{RandomGaussianBlur, RandomSharpness};
pub use geometric::{Flip, RandomFlip, RandomPerspective, RandomRotation, RandomShear, RandomTranslation, RandomZoom};
pub use mixing::{CutMix, Cuts, MixUp, Mixture};
pub use pipeline::Pipeline;
pub use policies::{AugMix, Chains, Operation, RandAugment};
pub use tone::{AutoContrast, Equalization, RandomPosterization, Solarization};

use super::spatial::{DataFormat, Sizes, volume};
use super::up_sampling::Interpolation;
use crate::config::short_name;
use crate::error::{Error, Result, ensure};
use crate::kernels::warp::check_interpolation;
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use crate::random::{self, Address, Rng};
use crate::runtime::threads;
use ndarray::{Array3, ArrayBase, Data, Ix3};
use ndarray_rand::rand::Rng as _;
use serde::{Deserialize, Serialize};
use std::sync::Mutex;

/// A random change of images: what is drawn, and what is done with it (Keras: `get_random_transformation` and
/// `transform_images`).
///
/// Sizes are `[height, width, channels]`; images have their channels last.
pub trait Augmentation: Layer {
    /// What is drawn for an image.
    type Parameters: Send + Sync;

    /// Draws the parameters for an image of this size.
    fn draw(&self, size: [usize; 3], draws: &mut Draws) -> Self::Parameters;

    /// Changes an image, `height · width · channels` values, into `out`, which has as many values as
    /// [`output_size`](Self::output_size) says.
    ///
    /// # Errors
    /// When there can be no such image.
    fn write(&self, size: [usize; 3], parameters: &Self::Parameters, image: &[f32], out: &mut [f32]) -> Result<()>;

    /// The size of what becomes of an image of this size. By default the same.
    fn output_size(&self, size: [usize; 3]) -> [usize; 3] {
        size
    }

    /// Whether it takes images of this size.
    ///
    /// # Errors
    /// When it needs another number of channels.
    fn check_size(&self, _size: [usize; 3]) -> Result<()> {
        Ok(())
    }

    /// The gradient by the image of [`write`](Self::write), into `dx`, from that of its output, `dy`.
    ///
    /// # Errors
    /// By default: that there is none. Then it must stand in front of all layers that learn.
    fn gradient(
        &self,
        _size: [usize; 3],
        _parameters: &Self::Parameters,
        _image: &[f32],
        _dy: &[f32],
        _dx: &mut [f32],
    ) -> Result<()> {
        Err(no_gradient::<Self>())
    }

    /// The image that these parameters make of an image `(height, width, channels)`.
    ///
    /// # Errors
    /// When its arguments are not possible, or it cannot take such an image or such parameters.
    fn apply(&self, image: &ArrayBase<impl Data<Elem = f32>, Ix3>, parameters: &Self::Parameters) -> Result<Array3<f32>>
    where
        Self: Sized,
    {
        let (height, width, channels) = image.dim();
        let size = [height, width, channels];
        checked_size(self, size)?;
        let (image, out) = (image.as_standard_layout(), self.output_size(size));
        let mut values = vec![0.0; out.iter().product()];
        let pixels = image.as_slice().ok_or_else(|| Error::Shape("the image's values are not in order".to_owned()))?;
        self.write(size, parameters, pixels, &mut values)?;
        Array3::from_shape_vec(out, values).map_err(|error| Error::Shape(error.to_string()))
    }

    /// An image `(height, width, channels)` with parameters drawn for it.
    ///
    /// # Errors
    /// When its arguments are not possible, or it cannot take such an image.
    fn augment(&self, image: &ArrayBase<impl Data<Elem = f32>, Ix3>, draws: &mut Draws) -> Result<Array3<f32>>
    where
        Self: Sized,
    {
        let (height, width, channels) = image.dim();
        checked_size(self, [height, width, channels])?;
        let parameters = self.draw([height, width, channels], draws);
        self.apply(image, &parameters)
    }
}

/// Where an augmentation's numbers come from.
#[derive(Clone, Debug)]
pub struct Draws {
    /// For what each image has of its own.
    pub sample: Rng,
    /// For what Keras draws once for all images of a batch.
    pub batch: Rng,
}

impl Draws {
    /// The draws for image `sample` of step `step`: the same for the same numbers.
    pub fn new(seed: u64, step: u64, sample: u64) -> Self {
        Self::at(Address { seed, stream: random::stream_of("augmentation"), step, first_sample: sample }, 0)
    }

    fn at(address: Address, i: usize) -> Self {
        Draws { sample: address.sample(i), batch: address.shared() }
    }

    /// A number between two, for this image.
    fn between(&mut self, (low, high): (f64, f64)) -> f64 {
        between(&mut self.sample, (low, high))
    }

    /// Whether something happens whose probability is itself drawn from a range.
    fn happens(&mut self, probability: Range) -> bool {
        let probability = self.between(probability.bounds(0.0));
        self.sample.random::<f64>() < probability
    }

    /// 1 or -1.
    fn sign(&mut self) -> f64 {
        if self.sample.random() { 1.0 } else { -1.0 }
    }
}

/// A number from `low` to `high`.
fn between(rng: &mut Rng, (low, high): (f64, f64)) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

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

    /// Checks that the numbers, of an argument called `name`, are from `low` to `high`.
    fn check_within(self, name: &str, low: f64, high: f64) -> Result<()> {
        let (first, last) = match self {
            Range::UpTo(factor) => (factor, factor),
            Range::Between(first, last) => (first, last),
        };
        ensure!(
            low <= first && last <= high,
            Argument,
            "{name} is {first} to {last}; it must be within {low} and {high}"
        );
        Ok(())
    }

    /// The range itself; that of one number does not begin below `lowest`.
    fn bounds(self, lowest: f64) -> (f64, f64) {
        match self {
            Range::UpTo(factor) => ((-factor.abs()).max(lowest), factor.abs()),
            Range::Between(low, high) => (low, high),
        }
    }
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
        let [low, high] = *self;
        ensure!(
            low < high && (high - low).is_finite(),
            Argument,
            "{name} is ({low}, {high}); the second must be larger"
        );
        Ok(())
    }
}
impl Checked for f64 {
    fn checked(&self, name: &str) -> Result<()> {
        Range::UpTo(*self).check(name)
    }
}
impl Checked for Interpolation {
    fn checked(&self, _: &str) -> Result<()> {
        check_interpolation(*self)
    }
}
impl Checked for usize {}
impl Checked for bool {}
impl Checked for Flip {}
impl Checked for FillMode {}
impl Checked for Option<Filling> {}
impl Checked for Option<Flip> {}
impl Checked for Sizes<2> {}

/// The method that sets a field: to a whole number (`as usize`), to some value of an option (`as` its type), or to
/// whatever its type is made of.
macro_rules! setter {
    ($(#[$doc:meta])* $field:ident: $type:ty as usize) => {
        $(#[$doc])*
        pub fn $field(mut self, $field: usize) -> Self {
            self.$field = $field;
            self
        }
    };
    ($(#[$doc:meta])* $field:ident: $type:ty as $some:ident) => {
        $(#[$doc])*
        pub fn $field(mut self, $field: impl Into<$some>) -> Self {
            self.$field = Some($field.into());
            self
        }
    };
    ($(#[$doc:meta])* $field:ident: $type:ty) => {
        $(#[$doc])*
        pub fn $field(mut self, $field: impl Into<$type>) -> Self {
            self.$field = $field.into();
            self
        }
    };
}
use setter;

/// The layers of [`Augmentation`]s: what a layer does in training, its arguments with their defaults, what `new` takes,
/// and whether it has a seed. What stands behind a field's `as` is for its [`setter`].
macro_rules! augmentations {
    ($($(#[$doc:meta])* $class:ident $(= $class_name:literal)? ($($argument:ident: $given:ty),*) $([$seed:ident])? {
        $($(#[$of:meta])* $field:ident: $type:ty $(as $set:ident)? = $default:expr,)*
    })*) => { $(
        $(#[$doc])*
        ///
        /// Input and output `(batch, height, width, channels)`.
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $class {
            $($field: $type,)*
            $($seed: Option<u64>,)?
            data_format: $crate::layers::DataFormat,
        }

        impl $class {
            /// With Keras' defaults for all else.
            pub fn new($($argument: $given),*) -> Self {
                $class { $($argument: $argument.into(),)* ..Self::default() }
            }

            $($crate::layers::augmentation::setter! { $(#[$of])* $field: $type $(as $set)? })*

            $(/// A seed of the layer's own. Default: the model's.
            pub fn $seed(mut self, seed: u64) -> Self {
                self.$seed = Some(seed);
                self
            })?

            /// Where the channels are in a model. Default: last.
            pub fn data_format(mut self, data_format: $crate::layers::DataFormat) -> Self {
                self.data_format = data_format;
                self
            }
        }

        impl Default for $class {
            fn default() -> Self {
                $class { $($field: $default,)* $($seed: None,)? data_format: Default::default() }
            }
        }

        impl $crate::layer::Layer for $class {
            $(fn class_name(&self) -> &str {
                $class_name
            })?
            fn config(&self) -> $crate::error::Result<$crate::config::Config> {
                $crate::config::of(self)
            }
            fn check(&self) -> $crate::error::Result<()> {
                use $crate::layers::augmentation::Checked as _;
                $(self.$field.checked(stringify!($field))?;)*
                self.check_arguments()
            }
            fn forward(
                &self,
                inputs: $crate::layer::Values,
                cx: &mut $crate::layer::Forward<'_>,
            ) -> $crate::error::Result<$crate::layer::Values> {
                let seed: Option<u64> = None $(.or(self.$seed))?;
                $crate::layers::augmentation::forward(self, cx.training(), seed, self.data_format, inputs, cx)
            }
            fn backward(
                &self,
                gradients: $crate::layer::Values,
                cx: &mut $crate::layer::Backward<'_>,
            ) -> $crate::error::Result<$crate::layer::Gradients> {
                $crate::layers::augmentation::backward(self, self.data_format, gradients, cx)
            }
        }
    )* };
}
use augmentations;

/// Bytes.
const BYTES: [f64; 2] = [0.0, 255.0];

/// Checks that an image has this number of channels.
fn check_channels(size: [usize; 3], allowed: &[usize]) -> Result<()> {
    ensure!(
        allowed.contains(&size[2]),
        Shape,
        "an image of {} channels has no such colours; the number of channels must be one of {allowed:?}",
        size[2]
    );
    Ok(())
}

/// Checks the layer's arguments and an image of this size.
fn checked_size<A: Augmentation>(layer: &A, size: [usize; 3]) -> Result<()> {
    layer.check()?;
    ensure!(
        size.iter().all(|n| *n > 0),
        Shape,
        "{} got an image of shape {size:?}, which has no values",
        short_name::<A>()
    );
    layer.check_size(size)
}

fn no_gradient<A: ?Sized>() -> Error {
    let class = short_name::<A>();
    Error::State(format!("{class} has no gradient by its images; put it in front of all layers that learn"))
}

/// What an augmentation does in a model, if it is `active`.
fn forward<A: Augmentation>(
    layer: &A,
    active: bool,
    seed: Option<u64>,
    data_format: DataFormat,
    inputs: Values,
    cx: &mut Forward<'_>,
) -> Result<Values> {
    let x = inputs.one()?;
    if !active {
        cx.save_shape(&[]);
        return Ok(x.into());
    }
    let x = data_format.last(x);
    let [batch, _, size @ ..] = volume::<2>(x.shape())?;
    checked_size(layer, size)?;
    let ([height, width, channels], address) = (layer.output_size(size), cx.address(seed));
    let mut y = cx.scratch([batch, height, width, channels]);
    each_image(y.data_mut(), height * width * channels, |i, y| {
        let parameters = layer.draw(size, &mut Draws::at(address, i));
        layer.write(size, &parameters, x.row(i), y)
    })?;
    let shape = x.shape().to_vec();
    if cx.inputs_need_gradient() {
        cx.save(x);
        cx.save_indices(words(address, cx));
        cx.save_shape(&shape);
    } else {
        cx.save_shape(&[0]);
    }
    Ok(data_format.given(y).into())
}

/// The backward pass of [`forward`].
fn backward<A: Augmentation>(
    layer: &A,
    data_format: DataFormat,
    gradients: Values,
    cx: &mut Backward<'_>,
) -> Result<Gradients> {
    let (dy, shape) = (gradients.one()?, cx.restore_shape()?);
    if shape.is_empty() {
        return Ok(dy.into());
    }
    if shape.len() == 1 {
        return Ok(None.into());
    }
    let address = address(cx)?;
    let (x, dy) = (cx.restore()?, data_format.last(dy));
    let [_, _, size @ ..] = volume::<2>(&shape)?;
    let mut dx = cx.scratch(&shape);
    each_image(dx.data_mut(), size.iter().product(), |i, dx| {
        let parameters = layer.draw(size, &mut Draws::at(address, i));
        layer.gradient(size, &parameters, x.row(i), dy.row(i), dx)
    })?;
    Ok(data_format.given(dx).into())
}

/// An address as words to be saved: the backward pass draws the same numbers again.
fn words(address: Address, cx: &Forward<'_>) -> Vec<u32> {
    let Address { seed, stream, step, first_sample } = address;
    let mut words = cx.workspace().take_indices(8);
    let halves = [seed, stream, step, first_sample].into_iter().flat_map(|n| [n as u32, (n >> 32) as u32]);
    words.iter_mut().zip(halves).for_each(|(word, half)| *word = half);
    words
}

/// The address that was saved last.
fn address(cx: &mut Backward<'_>) -> Result<Address> {
    let words = cx.restore_indices()?;
    let number = |i: usize| u64::from(words[2 * i]) | u64::from(words[2 * i + 1]) << 32;
    let address = Address { seed: number(0), stream: number(1), step: number(2), first_sample: number(3) };
    cx.workspace().give_indices(words);
    Ok(address)
}

/// Calls `work` with each image of `values`, on all threads.
fn each_image(values: &mut [f32], image: usize, work: impl Fn(usize, &mut [f32]) -> Result<()> + Sync) -> Result<()> {
    let failed = Mutex::new(Ok(()));
    threads::for_each_chunk(values, image, |i, values| {
        if let Err(error) = work(i, values) {
            *failed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Err(error);
        }
    });
    failed.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Effects, Pass, Saved};
    use crate::runtime::Workspace;
    use crate::tensor::Tensor;
    use std::sync::Arc;

    fn train(layer: &dyn Layer, x: Tensor, first_sample: u64) -> Vec<f32> {
        let workspace = Arc::new(Workspace::default());
        let pass = Pass { training: true, seed: 5, step: 3, first_sample, share: 1.0, workspace };
        let (mut saved, mut effects) = (Saved::default(), Effects::default());
        let mut cx = Forward::of_model(&pass, &mut saved, &mut effects, false);
        layer.forward(x.into(), &mut cx).unwrap().one().unwrap().into_vec()
    }

    #[test]
    fn how_a_batch_is_cut_and_threads_change_no_bits() {
        let layers: Vec<Box<dyn Layer>> = vec![
            RandomAffine::new().rotation(180.0).shift(0.2).scale(0.3).shear(20.0).flip(Flip::Horizontal).into(),
            RandomFlip::new().into(),
            RandomRotation::new(0.4).seed(9).into(),
            RandomPerspective::new().into(),
            RandomElasticTransform::new().into(),
            RandomErasing::new().into(),
            RandomColorJitter::new().brightness_factor(0.3).hue_factor(0.3).into(),
            RandomGaussianBlur::new().into(),
            RandomCrop::new(4, 3).into(),
            RandAugment::new().into(),
            AugMix::new().into(),
            Pipeline::new().add(RandomZoom::new(0.3)).add(RandomContrast::new(0.3)).add(RandomZoom::new(0.3)).into(),
        ];
        let image = 6 * 5 * 3;
        let values: Vec<f32> = (0..8 * image).map(|i| ((i * 7919) % 256) as f32).collect();
        let x = Tensor::new([8, 6, 5, 3], values.clone()).unwrap();
        for layer in layers {
            let whole = threads::with_num_threads(1, || train(&*layer, x.clone(), 40));
            assert_eq!(whole, threads::with_num_threads(3, || train(&*layer, x.clone(), 40)));
            let mut pieces = Vec::new();
            for (first, n) in [(0, 3), (3, 1), (4, 4)] {
                let part = Tensor::new([n, 6, 5, 3], values[first * image..(first + n) * image].to_vec()).unwrap();
                pieces.extend(train(&*layer, part, 40 + first as u64));
            }
            assert_eq!(whole, pieces, "{layer:?}");
            let other = train(&*layer, x.clone(), 41);
            assert!(whole != other || layer.class_name() == "RandomCrop", "{layer:?} does not look at the sample");
        }
    }
}
