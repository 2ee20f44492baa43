//! Values with the same mean and variance in every batch.

use super::permute::{inverse, transpose};
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Error, Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::vectorised;
use crate::layer::{Backward, Build, Forward, Fusible, Gradients, Layer, Param, Values, flops, one_shape};
use crate::regularizers::Regularizer;
use crate::runtime::threads;
use crate::shape::{Dims, Shape, resolve_axis};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// `gamma * (x - mean) / sqrt(variance + epsilon) + beta` for each channel (Keras:
/// `BatchNormalization`; Ioffe & Szegedy 2015).
///
/// The output has the shape of the input; the weights have one value for each place of `axis`. In
/// training, mean and (biased) variance are those of the batch, over all other axes, and moving
/// averages are kept: `moving * momentum + batch * (1 - momentum)`. Else, and when the layer is
/// frozen, the moving averages take their place. Of sequences with a mask only the steps that count are measured, with
/// Keras' 1e-7 added to their number; all are normalized.
///
/// Defaults: the last axis, momentum 0.99, epsilon 1e-3, with gamma (`ones`) and beta (`zeros`).
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([32, 32, 16])).add(BatchNormalization::new()).add(Activation::relu());
/// model.build()?;
/// assert_eq!(model.count_params(), 4 * 16);
/// assert_eq!(model.trainable_weights().len(), 2); // gamma and beta
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchNormalization {
    axis: Axis,
    momentum: f64,
    epsilon: f64,
    center: bool,
    scale: bool,
    beta_initializer: Shared<dyn Initializer>,
    gamma_initializer: Shared<dyn Initializer>,
    moving_mean_initializer: Shared<dyn Initializer>,
    moving_variance_initializer: Shared<dyn Initializer>,
    beta_regularizer: Option<Shared<dyn Regularizer>>,
    gamma_regularizer: Option<Shared<dyn Regularizer>>,
    beta_constraint: Option<Shared<dyn Constraint>>,
    gamma_constraint: Option<Shared<dyn Constraint>>,
    /// Read to be refused.
    #[serde(skip_serializing)]
    renorm: bool,
    #[serde(skip)]
    gamma: Option<Param>,
    #[serde(skip)]
    beta: Option<Param>,
    #[serde(skip)]
    moving_mean: Param,
    #[serde(skip)]
    moving_variance: Param,
}

/// One axis. Keras 2 writes it as a list of one.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(from = "OneAxis")]
struct Axis(isize);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneAxis {
    Bare(isize),
    Listed([isize; 1]),
}

impl From<OneAxis> for Axis {
    fn from(axis: OneAxis) -> Self {
        match axis {
            OneAxis::Bare(axis) | OneAxis::Listed([axis]) => Axis(axis),
        }
    }
}

impl Serialize for Axis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl BatchNormalization {
    /// Along the last axis.
    pub fn new() -> Self {
        Self::default()
    }

    /// The axis of the channels; the batch is axis 0, the last one -1. Default: -1.
    pub fn axis(mut self, axis: isize) -> Self {
        self.axis = Axis(axis);
        self
    }

    /// How much of a moving average stays in each step. Default: 0.99.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// How the moving mean starts. Default: `zeros`.
    pub fn moving_mean_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
        self.moving_mean_initializer = initializer.into();
        self
    }

    /// How the moving variance starts. Default: `ones`.
    pub fn moving_variance_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
        self.moving_variance_initializer = initializer.into();
        self
    }

    super::affine::affine_builders!();

    /// The order of axes in which the channels come last; none when they do.
    fn order(&self, rank: usize) -> Result<Option<Vec<usize>>> {
        let axis = resolve_axis(self.axis.0, rank)?;
        let order = (0..rank).filter(|&other| other != axis).chain([axis]).collect();
        Ok((axis + 1 != rank).then_some(order))
    }

    fn channels(&self, input: &Shape) -> Result<usize> {
        let axis = input.axis(self.axis.0)?;
        ensure!(axis > 0, Argument, "axis {} is the batch; it cannot be normalized along", self.axis.0);
        let channels = input.get(axis);
        channels.ok_or_else(|| Error::Shape(format!("the size of axis {} of input {input} must be known", self.axis.0)))
    }

    /// The mask, which lacks the last axis, for each value of an input of this shape, its channels last.
    fn weights(&self, mask: &Tensor, shape: &[usize], cx: &Forward<'_>) -> Result<Tensor> {
        let steps = &shape[..shape.len() - 1];
        ensure!(
            mask.shape() == steps,
            Shape,
            "the mask has shape {:?}, but an input of shape {shape:?} takes one of shape {steps:?}",
            mask.shape()
        );
        let mut weights = cx.scratch(shape);
        let last = shape[shape.len() - 1].max(1);
        let rows = weights.data_mut().chunks_exact_mut(last);
        rows.zip(mask.data()).for_each(|(row, &counts)| row.fill(f32::from(u8::from(counts != 0.0))));
        match self.order(shape.len())? {
            Some(order) => transpose(&weights, &order),
            None => Ok(weights),
        }
    }

    /// `1 / sqrt(variance + epsilon)`
    fn inverse_deviations(&self, variances: &[f64]) -> Tensor {
        to_tensor(variances.iter().map(|variance| 1.0 / (variance + self.epsilon).sqrt()))
    }

    /// The next value of a moving average.
    fn moved(&self, moving: &Tensor, batch: &[f64]) -> Tensor {
        let pairs = moving.data().iter().zip(batch);
        to_tensor(pairs.map(|(&moving, &batch)| f64::from(moving) * self.momentum + batch * (1.0 - self.momentum)))
    }

    /// `gamma / sqrt(variance + epsilon)`
    fn factor(&self, inverse_deviation: &Tensor) -> Result<Tensor> {
        match &self.gamma {
            Some(gamma) => gamma.value().zip_map(inverse_deviation, |gamma, inverse| gamma * inverse),
            None => Ok(inverse_deviation.clone()),
        }
    }
}

impl Default for BatchNormalization {
    fn default() -> Self {
        BatchNormalization {
            axis: Axis(-1),
            momentum: 0.99,
            epsilon: 1e-3,
            center: true,
            scale: true,
            beta_initializer: "zeros".into(),
            gamma_initializer: "ones".into(),
            moving_mean_initializer: "zeros".into(),
            moving_variance_initializer: "ones".into(),
            beta_regularizer: None,
            gamma_regularizer: None,
            beta_constraint: None,
            gamma_constraint: None,
            renorm: false,
            gamma: None,
            beta: None,
            moving_mean: Param::default(),
            moving_variance: Param::default(),
        }
    }
}

impl Layer for BatchNormalization {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        let momentum = self.momentum;
        ensure!((0.0..=1.0).contains(&momentum), Argument, "momentum is {momentum}; it must lie between 0 and 1");
        ensure!(!self.renorm, Argument, "renorm is true; batch renormalization is not supported");
        self.check_epsilon()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        self.channels(input)?;
        Ok(vec![input.clone()])
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let shape = [self.channels(one_shape(inputs)?)?];
        self.build_affine(&shape, cx)?;
        self.moving_mean = cx.state("moving_mean", &shape, &self.moving_mean_initializer)?;
        self.moving_variance = cx.state("moving_variance", &shape, &self.moving_variance_initializer)?;
        Ok(())
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> f64 {
        // A factor and an offset.
        2.0 * flops::values(outputs)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let mut x = inputs.one()?;
        let shape = Dims::from_slice(x.shape());
        let order = self.order(x.rank())?;
        if let Some(order) = &order {
            x = transpose(&x, order)?;
        }
        let channels = self.moving_mean.shape()[0];
        ensure!(x.last() == channels, Shape, "expected {channels} channels, got an input of shape {:?}", x.shape());

        let rows = Rows::new(x.len(), channels);
        // A frozen layer leaves its averages alone, too (Keras' rule).
        let of_batch = cx.training() && cx.trainable();
        let weights = match cx.mask(0).filter(|_| of_batch) {
            Some(mask) => Some(self.weights(mask, &shape, cx)?),
            None => None,
        };
        let (mean, inverse_deviation) = if of_batch {
            // One pass, around a value of each channel: sums of squares around zero would lose the small variances
            // of large values.
            let centre: Vec<f64> = (0..channels).map(|c| x.data().get(c).map_or(0.0, |&x| f64::from(x))).collect();
            let moments = |x: f32, weight: f32, centre: f64| {
                let (x, weight) = (f64::from(x) - centre, f64::from(weight));
                [weight * x, weight * x * x]
            };
            let [sums, squares] = match &weights {
                None => rows.sums(x.data(), x.data(), &centre, |x, _, centre| moments(x, 1.0, centre)),
                Some(weights) => rows.sums(x.data(), weights.data(), &centre, moments),
            };
            let (divisors, shares) = rows.divisors(weights.as_ref());
            let (mut means, mut variances) = (divide(&sums, &divisors), divide(&squares, &divisors));
            let each = means.iter_mut().zip(&mut variances).zip(&centre).zip(&shares);
            for (((mean, variance), centre), share) in each {
                // The mean as seen from the centre; all of both were divided by somewhat more than the weights' sum.
                let moved = *mean + centre * (share - 1.0);
                *variance -= moved * (2.0 * *mean - moved * share);
                // A variance of rounding errors may fall below zero; NaN stays.
                *variance = if *variance < 0.0 { 0.0 } else { *variance };
                *mean = centre + moved;
            }
            let mean = self.moved(&cx.state(&self.moving_mean), &means);
            cx.update_state(&self.moving_mean, mean);
            let variance = self.moved(&cx.state(&self.moving_variance), &variances);
            cx.update_state(&self.moving_variance, variance);
            (to_tensor(means.into_iter()), self.inverse_deviations(&variances))
        } else {
            let variances = self.moving_variance.value();
            let variances: Vec<f64> = variances.data().iter().map(|&v| f64::from(v)).collect();
            (self.moving_mean.value(), self.inverse_deviations(&variances))
        };

        let (shift, factor) = (rows.widen(mean.data()), rows.widen(self.factor(&inverse_deviation)?.data()));
        let beta = self.beta.as_ref().map_or_else(|| Tensor::zeros([channels]), Param::value);
        let offset = rows.widen(beta.data());
        // Without a backward pass nothing keeps x, and the next line works in place.
        cx.save(x.clone());
        x = rows.change(x, |_, row| {
            let each = row.iter_mut().zip(&shift).zip(&factor).zip(&offset);
            each.for_each(|(((x, shift), factor), offset)| *x = (*x - shift) * factor + offset);
        });
        cx.save(mean);
        cx.save(inverse_deviation);
        let masked = weights.is_some();
        weights.into_iter().for_each(|weights| cx.save(weights));
        // A mark of whose statistics these were.
        cx.save_shape(&[usize::from(of_batch), usize::from(masked)]);
        Ok(match order {
            Some(order) => transpose(&x, &inverse(&order))?,
            None => x,
        }
        .into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let marks = cx.restore_shape()?;
        let of_batch = marks[0] == 1;
        let weights = if marks[1] == 1 { Some(cx.restore()?) } else { None };
        let inverse_deviation = cx.restore()?;
        let mean = cx.restore()?;
        let x = cx.restore()?;
        let mut dy = gradients.one()?;
        let order = self.order(dy.rank())?;
        if let Some(order) = &order {
            dy = transpose(&dy, order)?;
        }
        let rows = Rows::new(dy.len(), mean.len());

        let (mut sums, mut products) = (vec![0.0; mean.len()], vec![0.0; mean.len()]);
        if of_batch || cx.trainable() {
            let means: Vec<f64> = mean.data().iter().map(|&m| f64::from(m)).collect();
            [sums, products] = rows.sums(dy.data(), x.data(), &means, |dy, x, mean| {
                let dy = f64::from(dy);
                [dy, dy * (f64::from(x) - mean)]
            });
        }
        if let Some(dbeta) = self.beta.as_ref().and_then(|beta| cx.gradient(beta)) {
            dbeta.iter_mut().zip(&sums).for_each(|(d, &sum)| *d += sum as f32);
        }
        if let Some(dgamma) = self.gamma.as_ref().and_then(|gamma| cx.gradient(gamma)) {
            let each = dgamma.iter_mut().zip(&products).zip(inverse_deviation.data());
            each.for_each(|((d, &product), &inverse)| *d += (product * f64::from(inverse)) as f32);
        }
        if !cx.wants(0) {
            return Ok(None.into());
        }

        let factor = rows.widen(self.factor(&inverse_deviation)?.data());
        if of_batch {
            // The batch's mean and variance move with each x: what they take back is the part of dy
            // along 1 and along x - mean.
            let shift = rows.widen(mean.data());
            let (divisors, _) = rows.divisors(weights.as_ref());
            let along_one = rows.widen(to_tensor(divide(&sums, &divisors).into_iter()).data());
            let slopes = divide(&products, &divisors).into_iter().zip(inverse_deviation.data());
            let along_x = rows.widen(to_tensor(slopes.map(|(p, &inverse)| p * f64::from(inverse).powi(2))).data());
            let x = x.data();
            // Where a step does not count, mean and variance do not move with it.
            let back = |dy: f32, x: f32, weight: f32, [shift, one, slope, factor]: [f32; 4]| {
                (dy - weight * (one + (x - shift) * slope)) * factor
            };
            dy = rows.change(dy, |at, row| {
                let x = &x[at..at + row.len()];
                let numbers = shift.iter().zip(&along_one).zip(&along_x).zip(&factor);
                let each = row.iter_mut().zip(x).zip(numbers.map(|(((a, b), c), d)| [*a, *b, *c, *d]));
                match &weights {
                    None => each.for_each(|((dy, x), numbers)| *dy = back(*dy, *x, 1.0, numbers)),
                    Some(weights) => {
                        let weights = &weights.data()[at..];
                        each.zip(weights).for_each(|(((dy, x), numbers), w)| *dy = back(*dy, *x, *w, numbers));
                    }
                }
            });
        } else {
            dy = rows.change(dy, |_, row| row.iter_mut().zip(&factor).for_each(|(dy, factor)| *dy *= factor));
        }
        Ok(match order {
            Some(order) => transpose(&dy, &inverse(&order))?,
            None => dy,
        }
        .into())
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.gamma.iter().for_each(&mut *visit);
        self.beta.iter().for_each(&mut *visit);
        visit(&self.moving_mean);
        visit(&self.moving_variance);
    }

    fn couples_samples(&self) -> bool {
        true
    }

    fn fusible(&self, inputs: &[Shape]) -> Option<Fusible> {
        let rank = one_shape(inputs).ok()?.rank();
        matches!(self.order(rank), Ok(None)).then_some(Fusible::Affine)
    }

    fn affine(&self) -> Result<[Tensor; 2]> {
        let (mean, variance) = (self.moving_mean.value(), self.moving_variance.value());
        let values = |param: &Option<Param>, missing| {
            param.as_ref().map_or_else(|| Tensor::full(mean.shape(), missing), Param::value)
        };
        let (gamma, beta) = (values(&self.gamma, 1.0), values(&self.beta, 0.0));
        let each = gamma.data().iter().zip(variance.data());
        let scales: Vec<f64> = each.map(|(&g, &v)| f64::from(g) / (f64::from(v) + self.epsilon).sqrt()).collect();
        let each = beta.data().iter().zip(mean.data()).zip(&scales);
        let offsets: Vec<f64> = each.map(|((&b, &m), scale)| f64::from(b) - f64::from(m) * scale).collect();
        Ok([to_tensor(scales.into_iter()), to_tensor(offsets.into_iter())])
    }
}

fn divide(sums: &[f64], divisors: &[f64]) -> Vec<f64> {
    sums.iter().zip(divisors).map(|(sum, divisor)| sum / divisor).collect()
}

fn to_tensor(values: impl ExactSizeIterator<Item = f64>) -> Tensor {
    let mut tensor = Tensor::zeros([values.len()]);
    tensor.data_mut().iter_mut().zip(values).for_each(|(to, value)| *to = value as f32);
    tensor
}

/// Rows of `channels` values, taken several at once where they are short, in pieces for threads.
/// What is a piece depends on the shape alone.
struct Rows {
    len: usize,
    channels: usize,
    /// The values that are taken at once: some rows.
    wide: usize,
    /// The values of a piece: some times `wide`.
    piece: usize,
}

impl Rows {
    fn new(len: usize, channels: usize) -> Self {
        let channels = channels.max(1);
        let wide = channels * (256 / channels).max(1);
        Rows { len, channels, wide, piece: len.div_ceil(16).max(1 << 16).next_multiple_of(wide) }
    }

    /// `row` again and again, as long as what is taken at once.
    fn widen<T: Copy>(&self, row: &[T]) -> Vec<T> {
        row.iter().copied().cycle().take(self.wide).collect()
    }

    /// The sums of both of `f(a, b, centre)` for each channel.
    fn sums(
        &self,
        a: &[f32],
        b: &[f32],
        centre: &[f64],
        f: impl Fn(f32, f32, f64) -> [f64; 2] + Sync,
    ) -> [Vec<f64>; 2] {
        let (centre, f, wide) = (&*self.widen(centre), &f, self.wide);
        let mut partial = vec![[0, 0].map(|_| vec![0f64; self.wide]); self.len.div_ceil(self.piece)];
        threads::for_each(&mut partial, |i, [first, second]| {
            let range = i * self.piece..self.len.min((i + 1) * self.piece);
            vectorised(
                #[inline(always)]
                move || {
                    for (a, b) in a[range.clone()].chunks(wide).zip(b[range].chunks(wide)) {
                        let each = first.iter_mut().zip(second.iter_mut()).zip(a).zip(b).zip(centre);
                        each.for_each(|((((first, second), a), b), centre)| {
                            let [one, two] = f(*a, *b, *centre);
                            *first += one;
                            *second += two;
                        });
                    }
                },
            );
        });
        [0, 1].map(|which| {
            let mut sums = vec![0f64; self.channels];
            for row in partial.iter().flat_map(|piece| piece[which].chunks_exact(self.channels)) {
                sums.iter_mut().zip(row).for_each(|(sum, part)| *sum += part);
            }
            sums
        })
    }

    /// What the sums of each channel are divided by, and which part of that their weights are. Without weights it is
    /// their number.
    fn divisors(&self, weights: Option<&Tensor>) -> (Vec<f64>, Vec<f64>) {
        let Some(weights) = weights else {
            let count = (self.len / self.channels).max(1) as f64;
            return (vec![count; self.channels], vec![1.0; self.channels]);
        };
        let none = vec![0.0; self.channels];
        let [sums, _] = self.sums(weights.data(), weights.data(), &none, |weight, _, _| [f64::from(weight), 0.0]);
        let divisors: Vec<f64> = sums.iter().map(|sum| sum + 1e-7).collect();
        let shares = divide(&sums, &divisors);
        (divisors, shares)
    }

    /// What `work` makes of each run of `wide` values, of which it is told where it starts; the last may be shorter.
    /// That is in the same place, unless somebody else reads the values.
    fn change(&self, mut values: Tensor, work: impl Fn(usize, &mut [f32]) + Sync) -> Tensor {
        let read = values.is_shared().then(|| values.clone());
        if let Some(read) = &read {
            values = read.sibling(read.shape());
        }
        let from = read.as_ref().map(Tensor::data);
        let (work, wide, length) = (&work, self.wide, self.piece);
        threads::for_each_chunk(values.data_mut(), length, |i, piece| {
            vectorised(
                #[inline(always)]
                move || {
                    for (j, run) in piece.chunks_mut(wide).enumerate() {
                        let at = i * length + j * wide;
                        if let Some(from) = from {
                            // It is still in the first-level cache when it is changed.
                            run.copy_from_slice(&from[at..at + run.len()]);
                        }
                        work(at, run);
                    }
                },
            );
        });
        values
    }
}
