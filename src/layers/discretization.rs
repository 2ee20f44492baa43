//! Numbers as the bins they fall in.

use super::encoding::Encoding;
use crate::config::{self, Config};
use crate::data::Rows;
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// The number of the bin that each value falls in (Keras: `Discretization`): bin `i` begins at boundary `i - 1`,
/// which belongs to it, and ends before boundary `i`.
///
/// The boundaries are given, or [taken from data](Self::adapt) such that about as many values fall in each bin. By
/// default the output has the shape of the input; see [`Encoding`] for the others.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([3])).add(Discretization::new([0.0, 1.0]));
/// model.build()?;
/// let y = model.predict(&ndarray::array![[-0.5, 0.0, 7.0]], Predict::default())?;
/// assert_eq!(y, ndarray::array![[0.0, 1.0, 2.0]].into_dyn());
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Discretization {
    bin_boundaries: Option<Vec<f64>>,
    num_bins: Option<usize>,
    epsilon: f64,
    output_mode: Encoding,
    sparse: bool,
}

impl Discretization {
    /// With bins between these boundaries, in rising order, and one on either side.
    pub fn new(bin_boundaries: impl Into<Vec<f64>>) -> Self {
        Discretization { bin_boundaries: Some(bin_boundaries.into()), ..Self::default() }
    }

    /// With so many bins, whose boundaries come from [`adapt`](Self::adapt).
    pub fn with_num_bins(num_bins: usize) -> Self {
        Discretization { num_bins: Some(num_bins), ..Self::default() }
    }

    /// How exactly the bins found by [`adapt`](Self::adapt) hold as many values each; smaller is more exact. Default:
    /// 0.01.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// What becomes of the numbers. Default: [`Encoding::Int`].
    pub fn output_mode(mut self, output_mode: Encoding) -> Self {
        self.output_mode = output_mode;
        self
    }

    /// Takes the boundaries from these samples (Keras: `adapt`). It is to be called before the layer is added to a
    /// model.
    ///
    /// # Errors
    /// When there are no samples, or the boundaries were given.
    pub fn adapt(mut self, data: &dyn Rows) -> Result<Self> {
        self.check()?;
        let given = || Error::State("the boundaries were given; they cannot be taken from data as well".into());
        let bins = self.num_bins.ok_or_else(given)?;
        let rows: Vec<usize> = (0..data.len()).collect();
        let mut values = vec![0f32; rows.len() * data.sample_shape().iter().product::<usize>()];
        ensure!(!values.is_empty(), Data, "there are no values to take boundaries from");
        data.gather(&rows, &mut values);
        values.sort_by(f32::total_cmp);
        let step = (values.len() as f64 * self.epsilon).max(1.0);
        let each = values.iter().skip((step - 1.0) as usize).step_by(step as usize);
        let summary: Vec<[f64; 2]> = each.map(|&value| [f64::from(value), step]).collect();
        let mut bounds = compress(compress(summary, self.epsilon), 1.0 / bins as f64);
        bounds.pop();
        self.bin_boundaries = Some(bounds.into_iter().map(|[value, _]| f64::from(value as f32)).collect());
        Ok(self)
    }
}

/// Fewer values with larger weights, each at the end of its part of the whole.
fn compress(summary: Vec<[f64; 2]>, part: f64) -> Vec<[f64; 2]> {
    if (summary.len() as f64) * part < 1.0 {
        return summary;
    }
    let mut sums = Vec::with_capacity(summary.len());
    summary.iter().fold(0.0, |sum, [_, weight]| {
        sums.push(sum + weight);
        sum + weight
    });
    let total = sums.last().copied().unwrap_or(1.0);
    let parts = (1.0 / part).ceil() as usize;
    let at = |place: f64| {
        let after = sums.partition_point(|&sum| sum / total <= place).min(sums.len() - 1);
        let Some(before) = after.checked_sub(1) else { return [summary[0][0], sums[0]] };
        let (low, high) = (sums[before] / total, sums[after] / total);
        let way = ((place - low) / (high - low)).clamp(0.0, 1.0);
        let between = |a: f64, b: f64| a + way * (b - a);
        [between(summary[before][0], summary[after][0]), between(sums[before], sums[after])]
    };
    let ends: Vec<[f64; 2]> = (0..parts).map(|i| at(part + part * i as f64)).collect();
    let starts = std::iter::once(0.0).chain(ends.iter().map(|[_, sum]| *sum));
    ends.iter().zip(starts).map(|([value, sum], start)| [*value, sum - start]).collect()
}

impl Default for Discretization {
    fn default() -> Self {
        Discretization {
            bin_boundaries: None,
            num_bins: None,
            epsilon: 0.01,
            output_mode: Encoding::Int,
            sparse: false,
        }
    }
}

impl Layer for Discretization {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        let epsilon = self.epsilon;
        ensure!(epsilon > 0.0 && epsilon <= 1.0, Argument, "epsilon is {epsilon}; it must be above 0 and at most 1");
        ensure!(self.num_bins != Some(0), Argument, "num_bins is 0; there must be at least one bin");
        let rises = |bounds: &Vec<f64>| bounds.is_sorted() && bounds.iter().all(|bound| !bound.is_nan());
        ensure!(
            self.bin_boundaries.as_ref().is_none_or(rises),
            Argument,
            "bin_boundaries is {:?}; they must rise",
            self.bin_boundaries
        );
        Ok(())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let bounds = self.bin_boundaries.as_ref();
        let bounds = bounds.ok_or_else(|| Error::State("it has no bin_boundaries; give them, or call adapt".into()))?;
        Ok(vec![self.output_mode.shape(one_shape(inputs)?, bounds.len() + 1)?])
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        let bounds: Vec<f32> = self.bin_boundaries.iter().flatten().map(|&bound| bound as f32).collect();
        let x = inputs.one()?.map(|x| bounds.partition_point(|&bound| bound <= x) as f32);
        Ok(self.output_mode.encode(&x, bounds.len() + 1)?.into())
    }

    fn backward(&self, _: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Ok(None.into())
    }
}
