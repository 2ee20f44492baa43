//! Values with the same mean and variance in every group of channels of every sample.

use super::axes::Axes;
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::vectorised;
use crate::layer::{Backward, Build, Forward, Gradients, Layer, Param, Values, flops, one_shape};
use crate::regularizers::Regularizer;
use crate::runtime::threads;
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// `gamma * (x - mean) / sqrt(variance + epsilon) + beta` for each channel, with mean and (biased) variance over a
/// group of channels of one sample (Keras: `GroupNormalization`; Wu & He 2018).
///
/// The output has the shape of the input; gamma and beta have a value for each place of `axis`. One group is layer
/// normalization of whole samples, as many groups as channels (`-1`) is instance normalization.
///
/// Defaults: 32 groups, the last axis, epsilon 1e-3, with gamma (`ones`) and beta (`zeros`).
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([32, 32, 16])).add(GroupNormalization::new(4));
/// model.build()?;
/// assert_eq!(model.count_params(), 2 * 16);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupNormalization {
    groups: isize,
    axis: isize,
    epsilon: f64,
    center: bool,
    scale: bool,
    beta_initializer: Shared<dyn Initializer>,
    gamma_initializer: Shared<dyn Initializer>,
    beta_regularizer: Option<Shared<dyn Regularizer>>,
    gamma_regularizer: Option<Shared<dyn Regularizer>>,
    beta_constraint: Option<Shared<dyn Constraint>>,
    gamma_constraint: Option<Shared<dyn Constraint>>,
    #[serde(skip)]
    gamma: Option<Param>,
    #[serde(skip)]
    beta: Option<Param>,
}

impl GroupNormalization {
    /// With so many groups of neighbouring channels; -1: each channel by itself.
    pub fn new(groups: isize) -> Self {
        GroupNormalization { groups, ..Self::default() }
    }

    /// The axis of the channels; the batch is axis 0, the last one -1. Default: -1.
    pub fn axis(mut self, axis: isize) -> Self {
        self.axis = axis;
        self
    }

    super::affine::affine_builders!();

    /// The number of channels.
    fn channels(&self, input: &Shape) -> Result<usize> {
        let channels = Axes::One(self.axis).sizes(input)?[0];
        let groups = self.groups_of(channels);
        ensure!(
            groups > 0 && channels.is_multiple_of(groups),
            Argument,
            "groups is {groups}; it must divide the {channels} channels of the input {input}"
        );
        Ok(channels)
    }

    fn groups_of(&self, channels: usize) -> usize {
        if self.groups == -1 { channels } else { self.groups.unsigned_abs() }
    }
}

impl Default for GroupNormalization {
    fn default() -> Self {
        GroupNormalization {
            groups: 32,
            axis: -1,
            epsilon: 1e-3,
            center: true,
            scale: true,
            beta_initializer: "zeros".into(),
            gamma_initializer: "ones".into(),
            beta_regularizer: None,
            gamma_regularizer: None,
            beta_constraint: None,
            gamma_constraint: None,
            gamma: None,
            beta: None,
        }
    }
}

impl Layer for GroupNormalization {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        let groups = self.groups;
        ensure!(
            groups > 0 || groups == -1,
            Argument,
            "groups is {groups}; it must be at least 1, or -1 for one a channel"
        );
        self.check_epsilon()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        self.channels(input)?;
        Ok(vec![input.clone()])
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let shape = [self.channels(one_shape(inputs)?)?];
        self.build_affine(&shape, cx)
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> f64 {
        // Mean and variance of each group take four, the scale, a factor and an offset the others.
        7.0 * flops::values(outputs)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let end = Axes::One(self.axis).to_end(x.rank())?;
        let x = end.turn(x)?;
        let channels = x.last();
        for param in self.gamma.iter().chain(&self.beta) {
            let n = param.len();
            ensure!(n == channels, Shape, "expected {n} channels, got an input of shape {:?}", x.shape());
        }
        let (batch, sample) = (x.batch(), x.len() / x.batch().max(1));
        let mut y = cx.scratch(x.shape());
        // The means of the channels' groups, then the inverse deviations.
        let mut known = cx.scratch([batch, 2, channels]);
        if y.is_empty() {
            return Ok(end.turn_back(y)?.into());
        }
        let group = channels / self.groups_of(channels).max(1);
        let (gamma, beta) = (self.gamma.as_ref().map(Param::value), self.beta.as_ref().map(Param::value));
        let (gamma, beta) = (gamma.as_ref().map(Tensor::data), beta.as_ref().map(Tensor::data));
        let samples = y.data_mut().chunks_mut(sample).zip(known.data_mut().chunks_mut(2 * channels));
        let mut samples: Vec<_> = samples.zip(x.data().chunks(sample)).collect();
        threads::for_each(&mut samples, |_, ((y, known), x)| {
            let n = (sample / channels * group) as f64;
            let (mut centres, none) = (vec![0f64; channels], vec![0f64; channels]);
            around(x, x, &none, &mut centres, |x, _, _| x);
            fold_groups(&mut centres, group, |sum| sum / n);
            let mut squares = vec![0f64; channels];
            around(x, x, &centres, &mut squares, |x, _, centre| (x - centre) * (x - centre));
            fold_groups(&mut squares, group, |sum| 1.0 / (sum / n + self.epsilon).sqrt());

            let (means, inverses) = known.split_at_mut(channels);
            means.iter_mut().zip(&centres).for_each(|(to, &from)| *to = from as f32);
            inverses.iter_mut().zip(&squares).for_each(|(to, &from)| *to = from as f32);
            let factor: Vec<f32> = (0..channels).map(|c| inverses[c] * gamma.map_or(1.0, |gamma| gamma[c])).collect();
            let offset: Vec<f32> = (0..channels).map(|c| beta.map_or(0.0, |beta| beta[c])).collect();
            let (y, x, means) = (&mut **y, *x, &*means);
            vectorised(
                #[inline(always)]
                move || {
                    for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                        let each = y.iter_mut().zip(x).zip(means).zip(&factor).zip(&offset);
                        each.for_each(|((((y, x), mean), factor), offset)| *y = (x - mean) * factor + offset);
                    }
                },
            );
        });
        drop(samples);
        cx.save(x);
        cx.save(known);
        Ok(end.turn_back(y)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let dy = gradients.one()?;
        let end = Axes::One(self.axis).to_end(dy.rank())?;
        let mut dy = end.turn(dy)?;
        if dy.is_empty() {
            return Ok(end.turn_back(dy)?.into());
        }
        let known = cx.restore()?;
        let x = cx.restore()?;
        let (channels, sample) = (x.last(), x.len() / x.batch().max(1));
        let group = channels / self.groups_of(channels).max(1);
        let gamma = self.gamma.as_ref().map(Param::value);
        let gamma = gamma.as_ref().map(Tensor::data);
        let samples = dy.data_mut().chunks_mut(sample).zip(x.data().chunks(sample));
        let samples = samples.zip(known.data().chunks(2 * channels));
        // Of each sample, the sums of dy and of dy * (x - mean) / deviation.
        let mut samples: Vec<_> =
            samples.map(|((dy, x), known)| (dy, x, known, vec![0f64; channels], vec![0f64; channels])).collect();
        threads::for_each(&mut samples, |_, (dy, x, known, sums, products)| {
            let (means, inverses) = known.split_at(channels);
            let centres: Vec<f64> = means.iter().map(|&mean| f64::from(mean)).collect();
            let none = vec![0f64; channels];
            around(dy, dy, &none, sums, |dy, _, _| dy);
            around(dy, x, &centres, products, |dy, x, centre| dy * (x - centre));
            products.iter_mut().zip(inverses).for_each(|(product, &inverse)| *product *= f64::from(inverse));

            let n = (sample / channels * group) as f64;
            let gamma = |c: usize| gamma.map_or(1.0, |gamma| gamma[c]);
            let of_group = |sums: &[f64]| {
                let mut scaled: Vec<f64> = sums.iter().enumerate().map(|(c, sum)| sum * f64::from(gamma(c))).collect();
                fold_groups(&mut scaled, group, |sum| sum / n);
                scaled
            };
            let factor: Vec<f32> = (0..channels).map(|c| inverses[c] * gamma(c)).collect();
            let each = |values: Vec<f64>, power: i32| {
                let pairs = values.into_iter().zip(inverses);
                pairs.map(|(v, &inverse)| (v * f64::from(inverse).powi(power)) as f32).collect::<Vec<f32>>()
            };
            let (along_one, along_x) = (each(of_group(sums), 1), each(of_group(products), 2));
            let (dy, x) = (&mut **dy, *x);
            vectorised(
                #[inline(always)]
                move || {
                    for (dy, x) in dy.chunks_exact_mut(channels).zip(x.chunks_exact(channels)) {
                        let each = dy.iter_mut().zip(x).zip(means).zip(&factor).zip(&along_one).zip(&along_x);
                        each.for_each(|(((((dy, x), mean), factor), one), slope)| {
                            *dy = *dy * factor - one - (x - mean) * slope;
                        });
                    }
                },
            );
        });
        let partial: Vec<_> = samples.into_iter().map(|(.., sums, products)| (sums, products)).collect();
        if let Some(dbeta) = self.beta.as_ref().and_then(|beta| cx.gradient(beta)) {
            for (c, d) in dbeta.iter_mut().enumerate() {
                *d += partial.iter().map(|(sums, _)| sums[c]).sum::<f64>() as f32;
            }
        }
        if let Some(dgamma) = self.gamma.as_ref().and_then(|gamma| cx.gradient(gamma)) {
            for (c, d) in dgamma.iter_mut().enumerate() {
                *d += partial.iter().map(|(_, products)| products[c]).sum::<f64>() as f32;
            }
        }
        Ok(end.turn_back(dy)?.into())
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.gamma.iter().for_each(&mut *visit);
        self.beta.iter().for_each(&mut *visit);
    }
}

/// Adds `f(a, b, centre)` to the sums of each channel.
fn around(a: &[f32], b: &[f32], centres: &[f64], sums: &mut [f64], f: impl Fn(f64, f64, f64) -> f64) {
    let channels = sums.len();
    vectorised(
        #[inline(always)]
        move || {
            for (a, b) in a.chunks_exact(channels).zip(b.chunks_exact(channels)) {
                let each = sums.iter_mut().zip(a).zip(b).zip(centres);
                each.for_each(|(((sum, &a), &b), &centre)| *sum += f(f64::from(a), f64::from(b), centre));
            }
        },
    );
}

/// Sets all channels of a group to `f` of their sum.
fn fold_groups(channels: &mut [f64], group: usize, f: impl Fn(f64) -> f64) {
    for group in channels.chunks_mut(group.max(1)) {
        let value = f(group.iter().sum());
        group.fill(value);
    }
}
