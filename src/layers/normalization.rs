//! Values with mean 0 and variance 1 over the data.

use super::axes::places;
use crate::config::{self, Config};
use crate::data::Rows;
use crate::error::{Error, Result, ensure};
use crate::kernels::vectorised;
use crate::layer::{Backward, Build, Forward, Gradients, Layer, Param, Values, flops, one_shape};
use crate::runtime::threads;
use crate::shape::{Shape, resolve_axis};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::iter::once;

/// `(x - mean) / max(sqrt(variance), 1e-7)` with a mean and a variance for each place of some axes (Keras:
/// `Normalization`), which are given or [taken from data](Self::adapt) and are not learned.
///
/// The output has the shape of the input. Default: the last axis.
///
/// ```
/// use cornu::prelude::*;
/// let x = ndarray::array![[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]];
/// let mut model = Sequential::new();
/// model.add(Input::new([2])).add(Normalization::new().adapt(&x)?);
/// model.build()?;
/// let y = model.predict(&x, Predict::default())?;
/// assert!((y[[2, 0]] - 1.2247449).abs() < 1e-6 && (y[[0, 1]] + 1.2247449).abs() < 1e-6);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Normalization {
    axis: KeptAxes,
    invert: bool,
    mean: Option<Statistic>,
    variance: Option<Statistic>,
    /// Mean and variance of the data, in the order of the axes.
    #[serde(skip)]
    adapted: Option<[Vec<f64>; 2]>,
    #[serde(skip)]
    tracked: Option<Tracked>,
}

/// Keras writes a list, and reads a number or none as well.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Option<OneOrMore>")]
struct KeptAxes(Vec<isize>);

impl Serialize for KeptAxes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(isize),
    More(Vec<isize>),
}

impl From<Option<OneOrMore>> for KeptAxes {
    fn from(axes: Option<OneOrMore>) -> Self {
        match axes {
            None => KeptAxes(Vec::new()),
            Some(OneOrMore::One(axis)) => KeptAxes(vec![axis]),
            Some(OneOrMore::More(axes)) => KeptAxes(axes),
        }
    }
}

/// A mean or a variance: one number, or an array of any rank as nested lists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Statistic {
    /// The same for all values.
    One(f64),
    /// One for each place of the (last) axis, or arrays of them.
    Each(Vec<Statistic>),
}

impl From<f64> for Statistic {
    fn from(value: f64) -> Self {
        Statistic::One(value)
    }
}

impl<T: Into<Statistic>> From<Vec<T>> for Statistic {
    fn from(values: Vec<T>) -> Self {
        Statistic::Each(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Statistic>, const N: usize> From<[T; N]> for Statistic {
    fn from(values: [T; N]) -> Self {
        Statistic::Each(values.into_iter().map(Into::into).collect())
    }
}

impl Statistic {
    /// Its shape; none if its lists are of unequal lengths.
    fn shape(&self) -> Option<Vec<usize>> {
        let Statistic::Each(parts) = self else { return Some(Vec::new()) };
        let first = parts.first().map_or_else(|| Some(Vec::new()), Statistic::shape)?;
        let same = parts.iter().all(|part| part.shape().as_ref() == Some(&first));
        same.then(|| once(parts.len()).chain(first).collect())
    }

    fn push_values(&self, values: &mut Vec<f64>) {
        match self {
            Statistic::One(value) => values.push(*value),
            Statistic::Each(parts) => parts.iter().for_each(|part| part.push_values(values)),
        }
    }
}

/// What Keras keeps where mean and variance come from data.
#[derive(Clone, Debug)]
struct Tracked {
    mean: Param,
    variance: Param,
    /// Not used by Keras any more.
    count: Param,
}

impl Normalization {
    /// For each place of the last axis.
    pub fn new() -> Self {
        Self::default()
    }

    /// The axis, or axes, whose places have a mean and a variance each; the last one is -1. Of none (`[]`) there is
    /// one mean and one variance for all values. Default: -1.
    pub fn axis(mut self, axis: impl Into<Vec<isize>>) -> Self {
        self.axis = KeptAxes(axis.into());
        self
    }

    /// These, instead of those of data: a number, or an array that fits the axes.
    pub fn mean_and_variance(mut self, mean: impl Into<Statistic>, variance: impl Into<Statistic>) -> Self {
        (self.mean, self.variance) = (Some(mean.into()), Some(variance.into()));
        self
    }

    /// Whether it computes the inverse, `mean + x * max(sqrt(variance), 1e-7)`. Default: false.
    pub fn invert(mut self, invert: bool) -> Self {
        self.invert = invert;
        self
    }

    /// Takes mean and variance from these samples (Keras: `adapt`). It is to be called before the layer is added to
    /// a model.
    ///
    /// # Errors
    /// When there are no samples, the axes do not fit, or mean and variance were given.
    pub fn adapt(mut self, data: &dyn Rows) -> Result<Self> {
        ensure!(self.mean.is_none(), State, "mean and variance were given; they cannot be taken from data as well");
        ensure!(!data.is_empty(), Data, "there are no samples to take mean and variance from");
        let shape = data.sample_shape();
        let input = Shape::batch_of(&shape);
        let places = places(&self.kept_shape(&input)?, &shape)?;
        let kept = places.iter().max().map_or(0, |last| last + 1);
        let (mut sums, mut values) = (vec![0f64; kept], vec![0f32; places.len()]);
        let count = (data.len() * places.len()) as f64 / kept.max(1) as f64;
        for i in 0..data.len() {
            data.gather(&[i], &mut values);
            places.iter().zip(&values).for_each(|(&place, &value)| sums[place] += f64::from(value));
        }
        let means: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
        let mut squares = vec![0f64; kept];
        for i in 0..data.len() {
            data.gather(&[i], &mut values);
            let pairs = places.iter().zip(&values);
            pairs.for_each(|(&place, &value)| squares[place] += (f64::from(value) - means[place]).powi(2));
        }
        self.adapted = Some([means, squares.into_iter().map(|sum| sum / count).collect()]);
        Ok(self)
    }

    /// The sizes of a sample's axes that are kept, and 1 for the others.
    fn kept_shape(&self, input: &Shape) -> Result<Vec<usize>> {
        let rank = input.rank();
        let kept = self.axis.0.iter().map(|&axis| resolve_axis(axis, rank)).collect::<Result<Vec<_>>>()?;
        ensure!(!kept.contains(&0), Argument, "axis is {:?}; it cannot hold the batch, 0", self.axis.0);
        let size = |axis| match input.get(axis) {
            _ if !kept.contains(&axis) => Ok(1),
            Some(size) => Ok(size),
            None => Err(Error::Shape(format!("the size of axis {axis} of input {input} must be known"))),
        };
        (1..rank).map(size).collect()
    }

    /// Mean and variance for the places of these axes.
    fn given(&self, kept: &[usize]) -> Result<Option<[Vec<f32>; 2]>> {
        let (Some(mean), Some(variance)) = (&self.mean, &self.variance) else { return Ok(None) };
        let sizes = self.sizes(kept);
        let spread = |statistic: &Statistic, name: &str| {
            let shape = statistic.shape().unwrap_or_default();
            let mut values = Vec::new();
            statistic.push_values(&mut values);
            ensure!(
                shape.len() <= sizes.len(),
                Shape,
                "{name} has shape {shape:?}, the axes {:?} of the input have sizes {sizes:?}",
                self.axis.0
            );
            let aligned: Vec<usize> = std::iter::repeat_n(1, sizes.len() - shape.len()).chain(shape).collect();
            Ok(places(&aligned, &sizes)?.into_iter().map(|place| values[place] as f32).collect::<Vec<f32>>())
        };
        Ok(Some([spread(mean, "mean")?, spread(variance, "variance")?]))
    }

    /// The sizes of the kept axes alone, in order.
    fn sizes(&self, kept: &[usize]) -> Vec<usize> {
        let rank = kept.len() + 1;
        let is_kept = |axis: usize| self.axis.0.iter().any(|&a| resolve_axis(a, rank).is_ok_and(|a| a == axis));
        kept.iter().enumerate().filter(|(i, _)| is_kept(i + 1)).map(|(_, &size)| size).collect()
    }

    /// The mean and the deviation of each value along the last axes of a sample.
    fn statistics(&self, sample: &[usize]) -> Result<[Vec<f32>; 2]> {
        let kept = self.kept_shape(&Shape::batch_of(sample))?;
        let [means, variances] = match (&self.tracked, self.given(&kept)?) {
            (_, Some(given)) => given,
            (Some(tracked), None) => [tracked.mean.value().into_vec(), tracked.variance.value().into_vec()],
            (None, None) => return Err(Error::State("it has no mean and variance; build the model first".into())),
        };
        // Axes in front that are not kept need no row of their own.
        let first = kept.iter().position(|&size| size != 1).unwrap_or(kept.len().saturating_sub(1));
        let places = places(&kept[first..], &sample[first..])?;
        let all = |values: &[f32]| places.iter().map(|&place| values[place]).collect::<Vec<f32>>();
        let deviations: Vec<f32> = variances.iter().map(|variance| variance.sqrt().max(1e-7)).collect();
        Ok([all(&means), all(&deviations)])
    }
}

impl Default for Normalization {
    fn default() -> Self {
        Normalization {
            axis: KeptAxes(vec![-1]),
            invert: false,
            mean: None,
            variance: None,
            adapted: None,
            tracked: None,
        }
    }
}

/// The values of a task.
const PIECE: usize = 1 << 15;

/// Calls `change` with each run of as many values as `row` has.
fn by_rows(x: &mut Tensor, row: usize, change: impl Fn(&mut [f32]) + Sync) {
    let (row, change) = (row.max(1), &change);
    threads::for_each_chunk(x.data_mut(), PIECE.next_multiple_of(row), |_, piece| {
        vectorised(
            #[inline(always)]
            move || piece.chunks_exact_mut(row).for_each(change),
        );
    });
}

impl Layer for Normalization {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        let shape = |statistic: &Option<Statistic>| statistic.as_ref().map(Statistic::shape);
        let (mean, variance) = (shape(&self.mean), shape(&self.variance));
        ensure!(
            mean == variance && mean != Some(None),
            Argument,
            "mean and variance must be given together, as arrays of the same shape"
        );
        Ok(())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        ensure!(input.rank() >= 2, Shape, "expected an input of at least 2 dimensions, got {input}");
        self.given(&self.kept_shape(input)?)?;
        Ok(vec![input.clone()])
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        if self.mean.is_some() {
            return Ok(());
        }
        let shape = self.sizes(&self.kept_shape(one_shape(inputs)?)?);
        let tracked = Tracked {
            mean: cx.state("mean", &shape, &"zeros".into())?,
            variance: cx.state("variance", &shape, &"ones".into())?,
            count: cx.state("count", &[], &"zeros".into())?,
        };
        if let Some(adapted) = &self.adapted {
            for (param, values) in [&tracked.mean, &tracked.variance].into_iter().zip(adapted) {
                let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
                param.set(Tensor::new(&shape, values)?)?;
            }
        }
        self.tracked = Some(tracked);
        Ok(())
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> f64 {
        // A factor and an offset.
        2.0 * flops::values(outputs)
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        let mut x = inputs.one()?;
        let [means, deviations] = self.statistics(x.shape().get(1..).unwrap_or(&[]))?;
        let invert = self.invert;
        by_rows(&mut x, means.len(), |row| {
            let each = row.iter_mut().zip(&means).zip(&deviations);
            if invert {
                each.for_each(|((x, mean), deviation)| *x = mean + *x * deviation);
            } else {
                each.for_each(|((x, mean), deviation)| *x = (*x - mean) / deviation);
            }
        });
        Ok(x.into())
    }

    fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        let mut dy = gradients.one()?;
        let [_, deviations] = self.statistics(dy.shape().get(1..).unwrap_or(&[]))?;
        let invert = self.invert;
        by_rows(&mut dy, deviations.len(), |row| {
            let each = row.iter_mut().zip(&deviations);
            each.for_each(|(dy, deviation)| *dy = if invert { *dy * deviation } else { *dy / deviation });
        });
        Ok(dy.into())
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        if let Some(Tracked { mean, variance, count }) = &self.tracked {
            [mean, variance, count].into_iter().for_each(visit);
        }
    }
}
