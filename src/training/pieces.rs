//! The pieces that a batch is cut into, and the memory each keeps from step to step.

use crate::error::{Error, Result};
use crate::layer::{GradientStore, Masks, Param, Values};
use crate::runtime::Workspace;
use crate::shape::Dims;
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// The largest number of pieces.
const MAX_PIECES: usize = 8;
/// Floating-point operations of a piece, at least: about 50 µs, several times what waking a thread costs.
const PIECE_WORK: f64 = 4e6;
/// And so many for each value of the gradients: each piece has a copy, to be cleared and added to the others ...
const WORK_PER_GRADIENT: f64 = 400.0;
/// ... which costs more when the copies together have more values than this and leave the cores' caches.
const CACHED: usize = 300_000;
const WORK_PER_UNCACHED_GRADIENT: f64 = 2000.0;
/// Copies of the gradients may take this many values together: larger models are not cut.
const MAX_GRADIENT_COPIES: usize = 32 << 20;

/// The number of pieces of a batch of `n` samples that takes `work` floating-point operations, where each piece has
/// a copy of `gradients` values. A power of two, so that threads get equal shares.
pub(super) fn count(n: usize, work: f64, gradients: usize) -> usize {
    let pays = |count: usize| {
        let copies = count * gradients;
        let each = if copies <= CACHED { WORK_PER_GRADIENT } else { WORK_PER_UNCACHED_GRADIENT };
        count <= n && copies <= MAX_GRADIENT_COPIES && work >= count as f64 * PIECE_WORK && work >= copies as f64 * each
    };
    let mut count = 1;
    while 2 * count <= MAX_PIECES && pays(2 * count) {
        count *= 2;
    }
    count
}

/// The ranges of samples of `count` pieces of a batch of `n`.
pub(super) fn cut(n: usize, count: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    (0..count).map(move |i| i * n / count..(i + 1) * n / count)
}

/// The gradients of one piece, their memory kept from step to step, and its results.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(super) gradients: Option<GradientStore>,
    /// Whether these are zeros, as a step leaves them.
    pub(super) cleared: bool,
    /// What the last batch gave.
    pub(super) result: Result<Option<Done>>,
}

#[derive(Debug)]
pub(super) struct Done {
    pub outputs: Values,
    pub masks: Masks,
    /// Of each output, and in total with weights and what layers added.
    pub losses: SmallVec<[f64; 2]>,
    pub loss: f64,
    pub states: Vec<(Param, Tensor)>,
}

impl Piece {
    pub fn new() -> Self {
        Piece { gradients: None, cleared: true, result: Ok(None) }
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
pub(super) fn concatenate(mut parts: Vec<Tensor>, workspace: &Arc<Workspace>) -> Result<Tensor> {
    if parts.len() <= 1 {
        return Ok(parts.pop().unwrap_or_default());
    }
    let mut dims = Dims::from_slice(parts[0].shape());
    dims[0] = parts.iter().map(Tensor::batch).sum();
    let mut whole = Tensor::scratch(&dims, workspace);
    let mut rest = whole.data_mut();
    for part in &parts {
        match rest.split_off_mut(..part.len()) {
            Some(place) => place.copy_from_slice(part.data()),
            None => return Err(unequal()),
        }
    }
    if rest.is_empty() { Ok(whole) } else { Err(unequal()) }
}

fn unequal() -> Error {
    Error::Shape("pieces of a batch gave outputs of different shapes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_work_and_gradients() {
        let (lenet, mlp) = ((2.5e6, 61_706), (0.6e6, 101_770));
        let pieces = |(work, gradients): (f64, usize), n: usize| count(n, work * n as f64, gradients);
        assert_eq!([pieces(lenet, 128), pieces(lenet, 32), pieces(lenet, 1)], [4, 2, 1]);
        assert_eq!([pieces(mlp, 128), pieces(mlp, 32)], [1, 1]);
        assert_eq!(pieces((1e12, 0), 3), 2, "no more pieces than samples");
        assert_eq!(pieces((1e12, 138_000_000), 128), 1, "copies of the gradients would be too large");
        assert_eq!(cut(10, 4).collect::<Vec<_>>(), [0..2, 2..5, 5..7, 7..10]);
    }

    #[test]
    fn concatenation() {
        let workspace = Workspace::new();
        let parts = |sizes: &[usize]| sizes.iter().map(|&n| Tensor::full([n, 2], n as f32)).collect::<Vec<_>>();
        let whole = concatenate(parts(&[1, 2]), &workspace).unwrap();
        assert_eq!((whole.shape(), whole.data()), (&[3, 2][..], &[1., 1., 2., 2., 2., 2.][..]));
        assert_eq!(concatenate(parts(&[4]), &workspace).unwrap().shape(), [4, 2]);
        let unlike = vec![Tensor::zeros([1, 2]), Tensor::zeros([1, 3])];
        assert!(concatenate(unlike, &workspace).is_err());
    }
}
