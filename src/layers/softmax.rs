//! Softmax along any axes, as a layer.

use super::permute::{inverse, transpose};
use super::{Activation, activate, deactivate};
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::{Dims, Shape, resolve_axis};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// `e^x / sum(e^x)` along an axis, or along several together (Keras: `Softmax`).
///
/// The output has the shape of the input. Default: the last axis.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([2, 3])).add(Softmax::new().axis(1));
/// model.build()?;
/// let y = model.predict(&ndarray::Array3::<f32>::zeros((1, 2, 3)), Predict::default())?;
/// assert_eq!(y[[0, 1, 2]], 0.5);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Softmax {
    axis: Axes,
}

/// One axis, or several.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Axes {
    One(isize),
    Several(Vec<isize>),
}

impl Default for Axes {
    fn default() -> Self {
        Axes::One(-1)
    }
}

impl Softmax {
    /// Along the last axis.
    pub fn new() -> Self {
        Self::default()
    }

    /// The axis; the batch is axis 0, the last one -1. Default: -1.
    pub fn axis(mut self, axis: isize) -> Self {
        self.axis = Axes::One(axis);
        self
    }

    /// Several axes, over which the outputs sum to 1 together.
    pub fn axes(mut self, axes: impl Into<Vec<isize>>) -> Self {
        self.axis = Axes::Several(axes.into());
        self
    }

    /// The order that brings these axes to the end, and how many they are.
    fn order(&self, rank: usize) -> Result<(Vec<usize>, usize)> {
        let axes = match &self.axis {
            Axes::One(axis) => std::slice::from_ref(axis),
            Axes::Several(axes) => axes,
        };
        let mut last = axes.iter().map(|&axis| resolve_axis(axis, rank)).collect::<Result<Vec<usize>>>()?;
        last.sort_unstable();
        last.dedup();
        ensure!(!last.is_empty() && last[0] > 0, Argument, "axis is {axes:?}; it cannot be empty or hold the batch, 0");
        let first = (0..rank).filter(|axis| !last.contains(axis));
        Ok((first.chain(last.iter().copied()).collect(), last.len()))
    }

    /// Calls `function` with these axes in one, at the end.
    fn along_rows(&self, x: Tensor, function: impl FnOnce(Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let (order, n) = self.order(x.rank())?;
        if n == 1 && order.is_sorted() {
            return function(x);
        }
        let x = transpose(&x, &order)?;
        let shape = Dims::from_slice(x.shape());
        let (rows, row) = shape.split_at(shape.len() - n);
        let y = function(x.reshape([rows.iter().product(), row.iter().product()])?)?;
        transpose(&y.reshape(&shape)?, &inverse(&order))
    }
}

impl Layer for Softmax {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        self.order(input.rank())?;
        Ok(vec![input.clone()])
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        Ok(self.along_rows(inputs.one()?, |x| activate(&Activation::Softmax, x, cx))?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        Ok(self.along_rows(gradients.one()?, |dy| deactivate(&Activation::Softmax, dy, cx))?.into())
    }
}
