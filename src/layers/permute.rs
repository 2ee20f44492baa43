//! Axes in another order.

use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use crate::tensor::Tensor;
use ndarray::{ArrayViewMutD, IxDyn};
use serde::{Deserialize, Serialize};

/// Puts the axes of each sample in another order (Keras: `Permute`). The axes count from 1, since
/// the batch, axis 0, stays: `Permute::new([2, 1])` makes `(batch, time, features)` into
/// `(batch, features, time)`.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([10, 64])).add(Permute::new([2, 1]));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 64, 10)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Permute {
    dims: Vec<usize>,
}

impl Permute {
    /// Output axis `i` is input axis `dims[i]`, both counted from 1.
    pub fn new(dims: impl Into<Vec<usize>>) -> Self {
        Permute { dims: dims.into() }
    }

    /// The order with the batch in front.
    fn order(&self) -> Vec<usize> {
        std::iter::once(0).chain(self.dims.iter().copied()).collect()
    }

    fn check_rank(&self, rank: usize) -> Result<()> {
        let n = self.dims.len();
        ensure!(rank == n + 1, Shape, "dims {:?} permute {n} axes besides the batch, got rank {rank}", self.dims);
        Ok(())
    }
}

impl Layer for Permute {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        let mut sorted = self.dims.clone();
        sorted.sort_unstable();
        let n = sorted.len();
        ensure!(
            sorted.into_iter().eq(1..=n),
            Argument,
            "dims is {:?}; it must hold each of 1 to {n} once (the batch, axis 0, stays)",
            self.dims
        );
        Ok(())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        self.check_rank(input.rank())?;
        Ok(vec![Shape::new(self.order().iter().map(|&axis| input.dims()[axis]).collect::<Vec<_>>())])
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        self.check_rank(x.rank())?;
        Ok(transpose(&x, &self.order())?.into())
    }

    fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Ok(transpose(&gradients.one()?, &inverse(&self.order()))?.into())
    }
}

/// The values with axis `order[i]` as axis `i`; `order` must hold each axis once.
pub(super) fn transpose(x: &Tensor, order: &[usize]) -> Result<Tensor> {
    let view = x.view().permuted_axes(order);
    let mut y = x.sibling(view.shape());
    let shape = IxDyn(view.shape());
    let mut target = ArrayViewMutD::from_shape(shape, y.data_mut()).map_err(|error| Error::Shape(error.to_string()))?;
    target.assign(&view);
    Ok(y)
}

/// The order that undoes `order`.
pub(super) fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    order.iter().enumerate().for_each(|(i, &axis)| inverse[axis] = i);
    inverse
}
