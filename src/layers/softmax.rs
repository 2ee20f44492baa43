//! Softmax along any axes, as a layer.

use super::axes::Axes;
use super::{Activation, activate, deactivate};
use crate::config::{self, Config};
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::{Dims, Shape};
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

    /// Calls `function` with these axes in one, at the end.
    fn along_rows(&self, x: Tensor, function: impl FnOnce(Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let end = self.axis.to_end(x.rank())?;
        let x = end.turn(x)?;
        let shape = Dims::from_slice(x.shape());
        let (rows, row) = shape.split_at(shape.len() - end.count);
        let y = function(x.reshape([rows.iter().product(), row.iter().product()])?)?;
        end.turn_back(y.reshape(&shape)?)
    }
}

impl Layer for Softmax {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        self.axis.of_rank(input.rank())?;
        Ok(vec![input.clone()])
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        Ok(self.along_rows(inputs.one()?, |x| activate(&Activation::Softmax, x, cx))?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        Ok(self.along_rows(gradients.one()?, |dy| deactivate(&Activation::Softmax, dy, cx))?.into())
    }
}
