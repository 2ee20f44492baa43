//! Losses of overlap, for masks of images.

use super::{LastAxis, Loss, align, check_weights, loss};
use crate::config::check_non_negative;
use crate::error::{Result, ensure};
use crate::shape::{Dims, resolve_axis};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The axes that a loss of overlap sums over; in Keras' configurations a number, a list, or null for all.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Axes {
    /// All axes, the batch included: one loss for the whole batch.
    #[default]
    All,
    /// One axis.
    One(isize),
    /// Several axes.
    Some(Vec<isize>),
}

impl From<isize> for Axes {
    fn from(axis: isize) -> Self {
        Axes::One(axis)
    }
}

impl<const N: usize> From<[isize; N]> for Axes {
    fn from(axes: [isize; N]) -> Self {
        Axes::Some(axes.to_vec())
    }
}

impl Axes {
    /// For each axis of a tensor of this rank, whether it is summed over.
    fn summed(&self, rank: usize) -> Result<Vec<bool>> {
        let axes = match self {
            Axes::All => return Ok(vec![true; rank]),
            Axes::One(axis) => std::slice::from_ref(axis),
            Axes::Some(axes) => axes,
        };
        let mut summed = vec![false; rank];
        for axis in axes {
            summed[resolve_axis(*axis, rank)?] = true;
        }
        Ok(summed)
    }

    /// Whether the batch may be summed over.
    fn may_couple(&self) -> bool {
        match self {
            Axes::All => true,
            Axes::One(axis) => LastAxis::may_couple(*axis),
            Axes::Some(axes) => axes.iter().any(|axis| LastAxis::may_couple(*axis)),
        }
    }

    fn entries(&self, y_pred: &[usize]) -> Result<Dims> {
        let summed = self.summed(y_pred.len())?;
        Ok(y_pred.iter().zip(summed).filter(|(_, summed)| !summed).map(|(n, _)| *n).collect())
    }
}

/// For each group of values that are summed: `sum(y * p)`, `sum(y)`, `sum(p)`.
struct Overlap {
    entries: Dims,
    sums: Vec<[f64; 3]>,
    groups: Groups,
}

/// Which group a value belongs to, by its place.
struct Groups {
    /// Size of each axis, and what a step along it adds to the number of the group.
    axes: Vec<(usize, usize)>,
}

impl Groups {
    fn of(&self, mut place: usize) -> usize {
        let mut group = 0;
        for (n, step) in self.axes.iter().rev() {
            group += place % n * step;
            place /= n;
        }
        group
    }
}

impl Overlap {
    fn new(axes: &Axes, y_true: &Tensor, y_pred: &Tensor) -> Result<Self> {
        ensure!(!y_pred.is_empty(), Shape, "predictions of shape {:?} have no values", y_pred.shape());
        let entries = axes.entries(y_pred.shape())?;
        let mut step = 1;
        let mut steps: Vec<(usize, usize)> = Vec::new();
        for (n, summed) in y_pred.shape().iter().zip(axes.summed(y_pred.rank())?).rev() {
            steps.push((*n, if summed { 0 } else { step }));
            step *= if summed { 1 } else { *n };
        }
        steps.reverse();
        let groups = Groups { axes: steps };
        let mut sums = vec![[0.0; 3]; step];
        for (i, (y, p)) in y_true.data().iter().zip(y_pred.data()).enumerate() {
            let (y, p) = (f64::from(*y), f64::from(*p));
            let [both, truth, predicted] = &mut sums[groups.of(i)];
            *both += y * p;
            *truth += y;
            *predicted += p;
        }
        Ok(Overlap { entries, sums, groups })
    }

    fn entries(&self, value: impl Fn([f64; 3]) -> f64) -> Result<Tensor> {
        Tensor::new(&self.entries, self.sums.iter().map(|sums| value(*sums) as f32).collect())
    }

    /// The gradient, from the derivatives of a group's loss with respect to `sum(y * p)` and `sum(p)`.
    fn gradient(
        &self,
        y_true: &Tensor,
        y_pred: &Tensor,
        weights: &Tensor,
        slopes: impl Fn([f64; 3]) -> [f64; 2],
    ) -> Result<Tensor> {
        check_weights(weights, &self.entries)?;
        let slopes: Vec<[f64; 2]> = self.sums.iter().map(|sums| slopes(*sums)).collect();
        let mut gradient = y_pred.sibling(y_pred.shape());
        for (i, (g, y)) in gradient.data_mut().iter_mut().zip(y_true.data()).enumerate() {
            let group = self.groups.of(i);
            let [by_both, by_predicted] = slopes[group];
            *g = (f64::from(weights.data()[group]) * (by_both * f64::from(*y) + by_predicted)) as f32;
        }
        Ok(gradient)
    }
}

const EPSILON: f64 = 1e-7;

loss! {
    /// One minus twice the overlap divided by both areas: `1 - 2 sum(y p) / (sum(y) + sum(p) + 1e-7)`.
    ///
    /// By default over all axes: one loss for the whole batch. For `(batch, height, width, channels)`,
    /// `axis([1, 2, 3])` gives each image its own.
    Dice, "dice";
    /// The axes that the sums are over; the default is all of them.
    axis(impl Into<Axes>): Axes = Axes::All;
}

impl Loss for Dice {
    loss!(@common);
    fn couples_samples(&self) -> bool {
        self.axis.may_couple()
    }
    fn entries_shape(&self, y_pred: &[usize]) -> Result<Dims> {
        self.axis.entries(y_pred)
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        let y_true = align(y_true, y_pred.shape())?;
        let overlap = Overlap::new(&self.axis, &y_true, y_pred)?;
        overlap.entries(|[both, truth, predicted]| 1.0 - 2.0 * both / (truth + predicted + EPSILON))
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let y_true = align(y_true, y_pred.shape())?;
        let overlap = Overlap::new(&self.axis, &y_true, y_pred)?;
        overlap.gradient(&y_true, y_pred, weights, |[both, truth, predicted]| {
            let areas = truth + predicted + EPSILON;
            [-2.0 / areas, 2.0 * both / (areas * areas)]
        })
    }
}

loss! {
    /// [`Dice`] with weights for the two kinds of error: `1 - I / (I + alpha F + beta G + 1e-7)` with
    /// `I = sum(y p)`, `F = sum(y (1 - p))` and `G = sum((1 - y) p)`
    /// ([Salehi et al., 2017](https://arxiv.org/abs/1706.05721)).
    Tversky, "tversky";
    /// The weight of what is missing from the prediction, `F`; the default is 0.5.
    alpha: f64 = 0.5;
    /// The weight of what is predicted wrongly, `G`; the default is 0.5.
    beta: f64 = 0.5;
    /// The axes that the sums are over; the default is all of them.
    axis(impl Into<Axes>): Axes = Axes::All;
}

impl Tversky {
    /// The denominator.
    fn area(&self, [both, truth, predicted]: [f64; 3]) -> f64 {
        both + self.alpha * (truth - both) + self.beta * (predicted - both) + EPSILON
    }
}

impl Loss for Tversky {
    loss!(@common);
    fn check(&self) -> Result<()> {
        check_non_negative("alpha", self.alpha)?;
        check_non_negative("beta", self.beta)
    }
    fn couples_samples(&self) -> bool {
        self.axis.may_couple()
    }
    fn entries_shape(&self, y_pred: &[usize]) -> Result<Dims> {
        self.axis.entries(y_pred)
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        let y_true = align(y_true, y_pred.shape())?;
        Overlap::new(&self.axis, &y_true, y_pred)?.entries(|sums| 1.0 - sums[0] / self.area(sums))
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let y_true = align(y_true, y_pred.shape())?;
        let overlap = Overlap::new(&self.axis, &y_true, y_pred)?;
        overlap.gradient(&y_true, y_pred, weights, |sums| {
            let area = self.area(sums);
            let per_area = sums[0] / (area * area);
            [per_area * (1.0 - self.alpha - self.beta) - 1.0 / area, per_area * self.beta]
        })
    }
}
