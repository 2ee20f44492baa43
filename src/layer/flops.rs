//! What formulas of floating-point operations are made of: see [`Layer::flops`](super::Layer::flops).

use super::Param;
use crate::shape::Shape;

/// The number of places of a sample, each with all its channels, which are last. What is not known counts as 1.
pub(crate) fn positions(shape: &Shape) -> f64 {
    shape.sample().split_last().map_or(1.0, |(_, cells)| product(cells))
}

/// The number of values of the samples of all these shapes. What is not known counts as 1.
pub(crate) fn values(shapes: &[Shape]) -> f64 {
    shapes.iter().map(|shape| product(shape.sample())).sum()
}

fn product(dims: &[Option<usize>]) -> f64 {
    dims.iter().map(|n| n.unwrap_or(1) as f64).product()
}

/// The operations where each of the weights that are shown is used once: a multiplication and an addition for one of a
/// kernel, an addition for one of a bias.
pub(crate) fn of_weights(show: impl FnOnce(&mut dyn FnMut(&Param))) -> f64 {
    let mut flops = 0.0;
    show(&mut |weight| {
        // Of attention and of GRU biases have two axes.
        let kernel = weight.shape().len() > 1 && weight.name() != "bias";
        flops += weight.len() as f64 * if kernel { 2.0 } else { 1.0 };
    });
    flops
}
