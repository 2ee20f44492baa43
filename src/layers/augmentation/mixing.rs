//! Images that are mixed with others of the batch, and their labels.

use super::erasing::{Rectangle, rectangle};
use super::{Draws, Range, between};
use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use crate::layers::DataFormat;
use crate::layers::spatial::volume;
use crate::random::{self, Address, Rng};
use ndarray::{Array, Array2, Array4, ArrayBase, Axis, Data, Dimension, Ix2, Ix4};
use ndarray_rand::rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

/// Which image each image of a batch is mixed with, and how much of itself stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// The place in the batch of the other image.
    pub order: Vec<usize>,
    /// The share of the image itself, from 0 to 1.
    pub weights: Vec<f32>,
}

/// As [`Mixture`], with the rectangles that come from the other images.
#[derive(Clone, Debug, PartialEq)]
pub struct Cuts {
    /// Partners, and the share of each image that stays.
    pub mixture: Mixture,
    /// Rows and columns of each image's rectangle.
    pub rectangles: Vec<[std::ops::Range<usize>; 2]>,
}

/// Mixes each image with another one of the batch (Keras: `MixUp`; Zhang et al.: *mixup*, 2018).
///
/// Input and output `(batch, height, width, channels)`; a batch is not cut. In a model it works in training only, and
/// **on images alone**, as Keras' does there: labels are mixed beforehand, with [`apply_labels`](Self::apply_labels) and
/// what [`draw`](Self::draw) gave.
///
/// ```
/// use cornu::prelude::*;
/// let (images, labels) = (ndarray::Array4::<f32>::zeros((8, 28, 28, 1)), ndarray::Array2::<f32>::eye(8));
/// let mix_up = MixUp::new().alpha(0.2);
/// let mixture = mix_up.draw(8, 1, 0)?;
/// let (images, labels) = (mix_up.apply(&images, &mixture)?, mix_up.apply_labels(&labels, &mixture)?);
/// # assert!((labels.sum() - 8.0).abs() < 1e-5 && images.len() == 8 * 784);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct MixUp {
    alpha: f64,
    seed: Option<u64>,
    data_format: DataFormat,
}

/// Puts a rectangle of another image of the batch into each (Keras: `CutMix`; Yun et al.: *CutMix*, 2019).
///
/// Input and output `(batch, height, width, channels)`; a batch is not cut. In a model it works in training only, and
/// **on images alone**, as Keras' does there: labels are mixed beforehand, with [`apply_labels`](Self::apply_labels) and
/// what [`draw`](Self::draw) gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct CutMix {
    factor: Range,
    seed: Option<u64>,
    data_format: DataFormat,
}

impl Default for MixUp {
    fn default() -> Self {
        MixUp { alpha: 0.2, seed: None, data_format: DataFormat::default() }
    }
}

impl Default for CutMix {
    fn default() -> Self {
        CutMix { factor: Range::Between(0.0, 1.0), seed: None, data_format: DataFormat::default() }
    }
}

/// How much of each image stays: a draw from a beta distribution, the same on both sides of one half.
fn share(alpha: f64, rng: &mut Rng) -> f64 {
    let drawn = Beta::new(alpha, alpha).map_or(f64::NAN, |beta| beta.sample(rng));
    // For the smallest parameters the distribution is a coin.
    if drawn.is_finite() { drawn } else { f64::from(u8::from(between(rng, (0.0, 1.0)) < 0.5)) }
}

/// Where the numbers of a call by hand come from.
fn by_hand(seed: u64, step: u64) -> Address {
    Address { seed, stream: random::stream_of("augmentation"), step, first_sample: 0 }
}

impl Mixture {
    fn draw(batch: usize, address: Address, weight: impl Fn(&mut Rng) -> f64) -> Self {
        let weights = (0..batch).map(|i| weight(&mut address.sample(i)) as f32).collect();
        Mixture { order: random::permutation(batch, &mut address.shared()), weights }
    }

    fn check(&self, batch: usize) -> Result<()> {
        let Mixture { order, weights } = self;
        ensure!(
            order.len() == batch && weights.len() == batch && order.iter().all(|i| *i < batch),
            Argument,
            "a mixture of {} images does not fit a batch of {batch}",
            order.len()
        );
        Ok(())
    }

    /// Rows of labels, or of images, mixed.
    fn apply<D: Dimension + ndarray::RemoveAxis>(
        &self,
        rows: &ArrayBase<impl Data<Elem = f32>, D>,
    ) -> Result<Array<f32, D>> {
        self.check(rows.len_of(Axis(0)))?;
        let mut mixed = rows.to_owned();
        for (i, mut row) in mixed.outer_iter_mut().enumerate() {
            let weight = self.weights[i];
            row.zip_mut_with(&rows.index_axis(Axis(0), self.order[i]), |own, other| {
                *own = weight * *own + (1.0 - weight) * other;
            });
        }
        Ok(mixed)
    }
}

impl MixUp {
    /// With Keras' defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The parameter of the share's beta distribution, above 0: the larger, the more is mixed. Default: 0.2.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// A seed of the layer's own. Default: the model's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Where the channels are in a model. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }

    /// Draws partners and shares for a batch of so many images: the same for the same seed and step.
    ///
    /// # Errors
    /// When `alpha` is not above 0.
    pub fn draw(&self, batch: usize, seed: u64, step: u64) -> Result<Mixture> {
        self.check()?;
        Ok(self.draw_at(batch, by_hand(seed, step)))
    }

    fn draw_at(&self, batch: usize, address: Address) -> Mixture {
        Mixture::draw(batch, address, |rng| share(self.alpha, rng))
    }

    /// Images `(batch, height, width, channels)`, mixed.
    ///
    /// # Errors
    /// When the mixture is for another number of images.
    pub fn apply(&self, images: &ArrayBase<impl Data<Elem = f32>, Ix4>, mixture: &Mixture) -> Result<Array4<f32>> {
        mixture.apply(images)
    }

    /// Labels `(batch, classes)`, as of [`to_categorical`](crate::data::to_categorical), mixed as the images.
    ///
    /// # Errors
    /// When the mixture is for another number of images.
    pub fn apply_labels(
        &self,
        labels: &ArrayBase<impl Data<Elem = f32>, Ix2>,
        mixture: &Mixture,
    ) -> Result<Array2<f32>> {
        mixture.apply(labels)
    }
}

impl CutMix {
    /// With Keras' defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The parameter of the share's beta distribution, from 0 to 1: a number `f` means 0 to `f`, drawn once for a batch.
    /// Default: 1.
    pub fn factor(mut self, factor: impl Into<Range>) -> Self {
        self.factor = factor.into();
        self
    }

    /// A seed of the layer's own. Default: the model's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Where the channels are in a model. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }

    /// Draws partners and rectangles for a batch of images of this size, `[height, width, channels]`: the same for the
    /// same seed and step.
    ///
    /// # Errors
    /// When the factor is not within 0 and 1.
    pub fn draw(&self, batch: usize, size: [usize; 3], seed: u64, step: u64) -> Result<Cuts> {
        self.check()?;
        Ok(self.draw_at(batch, size, by_hand(seed, step)))
    }

    fn draw_at(&self, batch: usize, size: [usize; 3], address: Address) -> Cuts {
        let mut shared = address.shared();
        let alpha = between(&mut shared, self.factor.bounds(0.0)) + 1e-6;
        let order = random::permutation(batch, &mut shared);
        let (mut weights, mut rectangles) = (Vec::new(), Vec::new());
        for i in 0..batch {
            let mut draws = Draws::at(address, i);
            let ratio = (1.0 - share(alpha, &mut draws.sample)).max(0.0).sqrt();
            let (rectangle, part) = rectangle(size, [ratio; 2], &mut draws);
            weights.push((1.0 - part) as f32);
            rectangles.push(rectangle);
        }
        Cuts { mixture: Mixture { order, weights }, rectangles }
    }

    /// Images `(batch, height, width, channels)` with pieces of each other.
    ///
    /// # Errors
    /// When the cuts are for other images.
    pub fn apply(&self, images: &ArrayBase<impl Data<Elem = f32>, Ix4>, cuts: &Cuts) -> Result<Array4<f32>> {
        let (batch, height, width, channels) = images.dim();
        cuts.check(batch, [height, width, channels])?;
        let mut cut = images.to_owned();
        for (i, [rows, columns]) in cuts.rectangles.iter().enumerate() {
            let place = ndarray::s![rows.clone(), columns.clone(), ..];
            let other = images.index_axis(Axis(0), cuts.mixture.order[i]);
            cut.index_axis_mut(Axis(0), i).slice_mut(place).assign(&other.slice(place));
        }
        Ok(cut)
    }

    /// Labels `(batch, classes)`, as of [`to_categorical`](crate::data::to_categorical), mixed by the areas.
    ///
    /// # Errors
    /// When the cuts are for another number of images.
    pub fn apply_labels(&self, labels: &ArrayBase<impl Data<Elem = f32>, Ix2>, cuts: &Cuts) -> Result<Array2<f32>> {
        cuts.mixture.apply(labels)
    }
}

impl Cuts {
    fn check(&self, batch: usize, [height, width, _]: [usize; 3]) -> Result<()> {
        self.mixture.check(batch)?;
        let fits = |[rows, columns]: &Rectangle| {
            rows.start <= rows.end && rows.end <= height && columns.start <= columns.end && columns.end <= width
        };
        ensure!(
            self.rectangles.len() == batch && self.rectangles.iter().all(fits),
            Argument,
            "{} rectangles do not fit a batch of {batch} images of {height} by {width}",
            self.rectangles.len()
        );
        Ok(())
    }
}

/// What a layer does with images of a batch.
enum Mixed {
    Whole(Mixture),
    Cut(Cuts),
}

/// A layer that mixes.
trait Mixing {
    fn mixed(&self, batch: usize, size: [usize; 3], address: Address) -> Mixed;
}

impl Mixing for MixUp {
    fn mixed(&self, batch: usize, _: [usize; 3], address: Address) -> Mixed {
        Mixed::Whole(self.draw_at(batch, address))
    }
}

impl Mixing for CutMix {
    fn mixed(&self, batch: usize, size: [usize; 3], address: Address) -> Mixed {
        Mixed::Cut(self.draw_at(batch, size, address))
    }
}

impl Mixed {
    /// Calls `work(i, other, share of image i, from..to)` for all values of the images of a batch, in runs whose share
    /// is the same.
    fn each(
        &self,
        [_, width, channels]: [usize; 3],
        image: usize,
        mut work: impl FnMut(usize, usize, f32, [usize; 2]),
    ) {
        match self {
            Mixed::Whole(Mixture { order, weights }) => {
                order.iter().zip(weights).enumerate().for_each(|(i, (other, w))| work(i, *other, *w, [0, image]));
            }
            Mixed::Cut(Cuts { mixture, rectangles }) => {
                for (i, ([rows, columns], other)) in rectangles.iter().zip(&mixture.order).enumerate() {
                    let mut done = 0;
                    for row in rows.clone() {
                        let [from, to] = [columns.start, columns.end].map(|column| (row * width + column) * channels);
                        work(i, *other, 1.0, [done, from]);
                        work(i, *other, 0.0, [from, to]);
                        done = to;
                    }
                    work(i, *other, 1.0, [done, image]);
                }
            }
        }
    }
}

fn forward(
    layer: &impl Mixing,
    seed: Option<u64>,
    data_format: DataFormat,
    inputs: Values,
    cx: &mut Forward<'_>,
) -> Result<Values> {
    let x = inputs.one()?;
    if !cx.training() {
        cx.save_shape(&[]);
        return Ok(x.into());
    }
    let x = data_format.last(x);
    let [batch, _, size @ ..] = volume::<2>(x.shape())?;
    let (image, address) = (size.iter().product(), cx.address(seed));
    let mut y = cx.scratch(x.shape());
    let data = y.data_mut();
    layer.mixed(batch, size, address).each(size, image, |i, other, weight, [from, to]| {
        let (own, other) = (&x.row(i)[from..to], &x.row(other)[from..to]);
        let y = data[i * image..][from..to].iter_mut().zip(own.iter().zip(other));
        y.for_each(|(y, (own, other))| *y = weight * own + (1.0 - weight) * other);
    });
    cx.save_indices(super::words(address, cx));
    cx.save_shape(x.shape());
    Ok(data_format.given(y).into())
}

fn backward(
    layer: &impl Mixing,
    data_format: DataFormat,
    gradients: Values,
    cx: &mut Backward<'_>,
) -> Result<Gradients> {
    let (dy, shape) = (gradients.one()?, cx.restore_shape()?);
    if shape.is_empty() {
        return Ok(dy.into());
    }
    let (address, dy) = (super::address(cx)?, data_format.last(dy));
    let [batch, _, size @ ..] = volume::<2>(&shape)?;
    let image = size.iter().product();
    let mut dx = cx.scratch(&shape);
    let data = dx.data_mut();
    data.fill(0.0);
    layer.mixed(batch, size, address).each(size, image, |i, other, weight, [from, to]| {
        let dy = &dy.row(i)[from..to];
        for (to_image, weight) in [(i, weight), (other, 1.0 - weight)] {
            data[to_image * image..][from..to].iter_mut().zip(dy).for_each(|(dx, dy)| *dx += weight * dy);
        }
    });
    Ok(data_format.given(dx).into())
}

/// The layers.
macro_rules! mixing_layer {
    ($class:ident, |$layer:ident| $check:expr) => {
        impl Layer for $class {
            fn config(&self) -> Result<Config> {
                config::of(self)
            }
            fn check(&self) -> Result<()> {
                let $layer = self;
                $check
            }
            fn couples_samples(&self) -> bool {
                true
            }
            fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
                forward(self, self.seed, self.data_format, inputs, cx)
            }
            fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
                backward(self, self.data_format, gradients, cx)
            }
        }
    };
}

mixing_layer! { MixUp, |layer| {
    let fits = layer.alpha > 0.0 && layer.alpha.is_finite();
    if fits { Ok(()) } else { Err(Error::Argument(format!("alpha is {}; it must be above 0", layer.alpha))) }
}}

mixing_layer! { CutMix, |layer| {
    layer.factor.check("factor")?;
    layer.factor.check_within("factor", 0.0, 1.0)
}}
