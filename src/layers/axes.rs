//! One axis or several, and tensors turned so that these come last.

use super::permute::{inverse, transpose};
use crate::error::{Error, Result, ensure};
use crate::shape::{Shape, resolve_axis};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// One axis, or several: how Keras writes `axis`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Axes {
    /// The batch is axis 0, the last one -1.
    One(isize),
    /// Several together.
    Several(Vec<isize>),
}

impl Default for Axes {
    fn default() -> Self {
        Axes::One(-1)
    }
}

impl From<isize> for Axes {
    fn from(axis: isize) -> Self {
        Axes::One(axis)
    }
}

impl From<Vec<isize>> for Axes {
    fn from(axes: Vec<isize>) -> Self {
        Axes::Several(axes)
    }
}

impl<const N: usize> From<[isize; N]> for Axes {
    fn from(axes: [isize; N]) -> Self {
        Axes::Several(axes.to_vec())
    }
}

impl Axes {
    /// Them in a tensor of this rank, in order; neither none nor the batch.
    pub(crate) fn of_rank(&self, rank: usize) -> Result<Vec<usize>> {
        let axes = match self {
            Axes::One(axis) => std::slice::from_ref(axis),
            Axes::Several(axes) => axes,
        };
        let mut resolved = axes.iter().map(|&axis| resolve_axis(axis, rank)).collect::<Result<Vec<usize>>>()?;
        resolved.sort_unstable();
        resolved.dedup();
        ensure!(
            resolved.first().is_some_and(|&first| first > 0),
            Argument,
            "axis is {axes:?}; it cannot be empty or hold the batch, 0"
        );
        Ok(resolved)
    }

    /// The sizes of these axes, which must be known, in the order in which Keras gives them to a weight: the axes
    /// sorted as they are written, so that negative ones come first. The weight's values follow the input's order.
    pub(crate) fn sizes(&self, input: &Shape) -> Result<Vec<usize>> {
        let rank = input.rank();
        let mut axes = match self {
            Axes::One(axis) => vec![*axis],
            Axes::Several(axes) => axes.clone(),
        };
        axes.sort_unstable();
        let mut left = self.of_rank(rank)?;
        let mut sizes = Vec::with_capacity(left.len());
        for axis in axes {
            let axis = resolve_axis(axis, rank)?;
            let Some(at) = left.iter().position(|&one| one == axis) else { continue };
            left.remove(at);
            let size = input.get(axis);
            sizes.push(
                size.ok_or_else(|| Error::Shape(format!("the size of axis {axis} of input {input} must be known")))?,
            );
        }
        Ok(sizes)
    }

    /// How to bring them to the end.
    pub(crate) fn to_end(&self, rank: usize) -> Result<ToEnd> {
        let last = self.of_rank(rank)?;
        let order: Vec<usize> = (0..rank).filter(|axis| !last.contains(axis)).chain(last.iter().copied()).collect();
        Ok(ToEnd { order: (!order.is_sorted()).then_some(order), count: last.len() })
    }
}

/// How to bring some axes of a tensor to its end, and back.
pub(crate) struct ToEnd {
    /// None where they are there.
    order: Option<Vec<usize>>,
    /// How many they are.
    pub count: usize,
}

impl ToEnd {
    /// With these axes last.
    pub fn turn(&self, x: Tensor) -> Result<Tensor> {
        match &self.order {
            Some(order) => transpose(&x, order),
            None => Ok(x),
        }
    }

    /// As it was before [`turn`](Self::turn).
    pub fn turn_back(&self, x: Tensor) -> Result<Tensor> {
        match &self.order {
            Some(order) => transpose(&x, &inverse(order)),
            None => Ok(x),
        }
    }
}

/// The place in a tensor of shape `small` of each value of one of shape `large`; both have the same number of axes,
/// and where a size of `small` is 1 it is repeated.
pub(super) fn places(small: &[usize], large: &[usize]) -> Result<Vec<usize>> {
    let fits = small.len() == large.len() && small.iter().zip(large).all(|(s, n)| s == n || *s == 1);
    ensure!(fits, Shape, "weights of shape {small:?} do not fit values of shape {large:?}");
    let (mut places, mut width) = (vec![0], 1);
    for (&size, &n) in small.iter().zip(large).rev() {
        let step = if size == 1 { 0 } else { width };
        places = (0..n).flat_map(|i| places.iter().map(move |place| place + i * step)).collect();
        width *= size;
    }
    Ok(places)
}
