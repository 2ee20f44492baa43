//! The pieces that a batch is cut into, and the memory each keeps from step to step.

use crate::error::{Error, Result};
use crate::layer::{GradientStore, Param, Values};
use crate::runtime::Workspace;
use crate::shape::Dims;
use crate::tensor::Tensor;
use std::ops::Range;
use std::sync::Arc;

/// Samples in a piece, where a batch has so many.
const PIECE: usize = 16;
/// The largest number of pieces.
const MAX_PIECES: usize = 8;
/// Copies of the gradients may take this many values together: larger models are not cut.
pub(super) const MAX_GRADIENT_COPIES: usize = 32 << 20;

/// The ranges of samples that a batch of `n` is cut into.
pub(super) fn cut(n: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let pieces = (n / PIECE).clamp(1, MAX_PIECES);
    (0..pieces).map(move |i| i * n / pieces..(i + 1) * n / pieces)
}

/// The memory of one piece, kept from step to step.
#[derive(Debug)]
pub(crate) struct Piece {
    pub workspace: Arc<Workspace>,
    pub(super) gradients: Option<GradientStore>,
    /// What the last batch gave.
    pub(super) result: Result<Option<Done>>,
}

#[derive(Debug)]
pub(super) struct Done {
    pub outputs: Values,
    pub loss: f64,
    pub states: Vec<(Param, Tensor)>,
}

impl Piece {
    pub fn new() -> Self {
        Piece { workspace: Workspace::new(), gradients: None, result: Ok(None) }
    }
}

/// Some samples of a tensor; a loss that gives one number for a whole batch has nothing to cut.
pub(super) fn slice(tensor: &Tensor, range: Range<usize>, workspace: &Arc<Workspace>) -> Tensor {
    let mut dims = Dims::from_slice(tensor.shape());
    if dims.is_empty() {
        return tensor.clone();
    }
    let each = tensor.len() / dims[0].max(1);
    dims[0] = range.len();
    let mut part = Tensor::scratch(&dims, workspace);
    part.data_mut().copy_from_slice(&tensor.data()[range.start * each..range.end * each]);
    part
}

/// The samples of several tensors, one after another.
pub(super) fn concatenate(parts: Vec<Tensor>) -> Result<Tensor> {
    let Some(first) = parts.first() else { return Ok(Tensor::default()) };
    if parts.len() == 1 {
        return Ok(parts.into_iter().next().unwrap_or_default());
    }
    let mut dims = Dims::from_slice(first.shape());
    dims[0] = parts.iter().map(Tensor::batch).sum();
    let mut values = Vec::with_capacity(dims.iter().product());
    parts.iter().for_each(|part| values.extend_from_slice(part.data()));
    Tensor::new(&dims, values)
        .map_err(|_| Error::Shape("pieces of a batch gave outputs of different shapes".to_owned()))
}
