//! Sums, means and extremes over axes.

use super::super::broadcast::{combine, expand, sum_to};
use super::function::each;
use crate::error::{Result, ensure};
use crate::layer::{Backward, Forward};
use crate::runtime::threads;
use crate::shape::{Dims, resolve_axis};
use crate::tensor::Tensor;

/// How a reduction sums up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// The sum.
    Sum,
    /// The mean.
    Mean,
    /// The largest value; equal ones share the gradient.
    Max,
    /// The smallest value; equal ones share the gradient.
    Min,
    /// 1 where a value is not 0, else 0; no gradient passes.
    Any,
    /// 1 where no value is 0, else 0; no gradient passes.
    All,
}

pub(super) fn reduce(
    x: Tensor,
    how: Reduction,
    axes: &[isize],
    keepdims: bool,
    cx: &mut Forward<'_>,
) -> Result<Tensor> {
    let axes = inner_axes(axes, x.rank())?;
    let (ones, left) = reduced(x.shape(), &axes);
    let n: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
    cx.save_shape(x.shape());
    let y = match how {
        // Of nothing, as in NumPy: none is there, and all are.
        Reduction::Any | Reduction::All if n == 0 => Tensor::full(&ones, f32::from(u8::from(how == Reduction::All))),
        Reduction::Any | Reduction::All => {
            let any = how == Reduction::Any;
            let mut y = each(x, |x| f32::from(u8::from(x != 0.0)));
            for &axis in &axes {
                y = fold_axis(&y, axis, cx, if any { f32::max } else { f32::min });
            }
            y
        }
        Reduction::Sum => sum_to(x, &ones, cx.workspace())?,
        Reduction::Mean => each(sum_to(x, &ones, cx.workspace())?, move |sum| sum / n as f32),
        Reduction::Max | Reduction::Min => {
            ensure!(n > 0, Shape, "{:?} has no values to take the largest or the smallest of", x.shape());
            let larger = |a: f32, b: f32| if a > b || a.is_nan() { a } else { b };
            let smaller = |a: f32, b: f32| if a < b || a.is_nan() { a } else { b };
            let mut y = x.clone();
            for &axis in &axes {
                y = match how {
                    Reduction::Max => fold_axis(&y, axis, cx, larger),
                    _ => fold_axis(&y, axis, cx, smaller),
                };
            }
            cx.save(x);
            cx.save(y.clone());
            y
        }
    };
    if keepdims { Ok(y) } else { y.reshape(left) }
}

/// The gradient of [`reduce`].
pub(super) fn spread(g: Tensor, how: Reduction, axes: &[isize], cx: &mut Backward<'_>) -> Result<Tensor> {
    let extreme = match how {
        Reduction::Max | Reduction::Min => {
            let (y, x) = (cx.restore()?, cx.restore()?);
            Some(combine(&x, &y, cx.workspace(), |x, y| f32::from(u8::from(x == y)))?)
        }
        _ => None,
    };
    let dims = cx.restore_shape()?;
    let axes = inner_axes(axes, dims.len())?;
    let (ones, _) = reduced(&dims, &axes);
    let n: usize = axes.iter().map(|&axis| dims[axis]).product();
    if matches!(how, Reduction::Any | Reduction::All) {
        return Ok(Tensor::zeros(&dims));
    }
    let g = g.reshape(&ones)?;
    match (how, extreme) {
        (_, Some(extreme)) => {
            let count = sum_to(extreme.clone(), &ones, cx.workspace())?;
            let share = combine(&g, &count, cx.workspace(), |g, count| g / count)?;
            combine(&extreme, &share, cx.workspace(), |extreme, share| extreme * share)
        }
        (Reduction::Mean, _) => expand(&each(g, move |g| g / n as f32), &dims, cx.workspace()),
        _ => expand(&g, &dims, cx.workspace()),
    }
}

/// `op` over an axis, which stays with size 1.
pub(super) fn fold_axis(
    x: &Tensor,
    axis: usize,
    cx: &Forward<'_>,
    op: impl Fn(f32, f32) -> f32 + Copy + Sync,
) -> Tensor {
    let mut dims = Dims::from_slice(x.shape());
    let n = std::mem::replace(&mut dims[axis], 1);
    let inner: usize = dims[axis..].iter().product();
    let mut y = cx.scratch(&dims);
    let x = x.data();
    if inner > 0 {
        let samples = ((1 << 16) / (n * inner)).max(1);
        threads::for_each_chunk(y.data_mut(), samples * inner, |i, y| {
            let rows = x[i * samples * n * inner..].chunks_exact(n * inner);
            for (y, x) in y.chunks_exact_mut(inner).zip(rows) {
                y.copy_from_slice(&x[..inner]);
                for x in x[inner..].chunks_exact(inner) {
                    y.iter_mut().zip(x).for_each(|(y, x)| *y = op(*y, *x));
                }
            }
        });
    }
    y
}

/// The dimensions with size 1 along these axes, and without them.
pub(super) fn reduced(dims: &[usize], axes: &[usize]) -> (Dims, Dims) {
    let ones = dims.iter().enumerate().map(|(i, &size)| if axes.contains(&i) { 1 } else { size });
    let left = dims.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, &size)| size);
    (ones.collect(), left.collect())
}

/// The axes as indices, each once.
pub(super) fn inner_axes(axes: &[isize], rank: usize) -> Result<Vec<usize>> {
    ensure!(!axes.is_empty(), Argument, "no axis is named");
    let mut resolved = axes.iter().map(|&axis| resolve_axis(axis, rank)).collect::<Result<Vec<_>>>()?;
    resolved.sort_unstable();
    resolved.dedup();
    ensure!(resolved[0] > 0, Argument, "axis {axes:?} holds the batch, 0; samples stay apart");
    Ok(resolved)
}
