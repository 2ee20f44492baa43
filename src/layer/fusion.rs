//! What layers say about themselves so that the executor can run several of them as one when it predicts.

use crate::activations::Activation;
use crate::tensor::Tensor;

/// What a layer does when it predicts, where that is so simple that a layer beside it can do it on the way: see
/// [`Layer::fusible`](super::Layer::fusible).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fusible {
    /// Adds so many rows of zeros `[above, below]` and columns `[to the left, to the right]` of an image, channels last.
    Padding([[usize; 2]; 2]),
    /// Multiplies each channel, the last axis, with a factor and adds an offset, which
    /// [`Layer::affine`](super::Layer::affine) tells (BatchNormalization).
    Affine,
    /// Adds its two inputs, which have one shape.
    Sum,
    /// Applies an activation, to each value or, as softmax, to the last axis.
    Activation(Activation),
    /// Takes the largest value of each window of so many rows and columns of an image, channels last. Windows do not
    /// overlap, and where one is not whole it is left out.
    MaxPooling([usize; 2]),
}

/// What the executor asks of a layer besides its own work, because the layer [said that it can](super::Layer::fuses).
/// It is done in the order of the fields.
#[derive(Clone, Debug, Default)]
pub struct Fused {
    /// Its input is meant with so many rows of zeros above and below, and columns to the left and to the right.
    pub padding: [[usize; 2]; 2],
    /// Its results are multiplied with a factor and added to an offset: a value of each for each channel, the last
    /// axis.
    pub affine: Option<[Tensor; 2]>,
    /// This is added to them. It has the shape of the output, and may be overwritten.
    pub sum: Option<Tensor>,
    /// This is applied to them.
    pub activation: Option<Activation>,
    /// Of windows of so many rows and columns of them the largest are given: see [`Fusible::MaxPooling`].
    pub max_pooling: Option<[usize; 2]>,
}
