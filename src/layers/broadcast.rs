//! Element by element, where sizes of 1 are repeated to fit (NumPy's rule: shapes are aligned at their ends).

use crate::error::{Error, Result};
use crate::kernels::reduce::add_column_sums;
use crate::kernels::vectorised;
use crate::runtime::{Workspace, threads};
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::sync::Arc;

/// The values that one task works on.
const CHUNK: usize = 1 << 16;

/// The shape of a result of these two.
pub(super) fn joint_shape(a: &Shape, b: &Shape) -> Result<Shape> {
    let rank = a.rank().max(b.rank());
    let size = |shape: &Shape, i: usize| (i + shape.rank()).checked_sub(rank).map_or(Some(1), |at| shape.dims()[at]);
    let joint = |i: usize| match (size(a, i), size(b, i)) {
        (Some(1), other) | (other, Some(1)) => Ok(other),
        (None, other) | (other, None) => Ok(other),
        (Some(a), Some(b)) if a == b => Ok(Some(a)),
        _ => Err(Error::Shape(format!("{a} and {b} do not fit: each size must be the other's, or 1"))),
    };
    Ok(Shape::new((0..rank).map(joint).collect::<Result<Vec<_>>>()?))
}

/// The dimensions of a result of these two.
pub(super) fn joint_dims(a: &[usize], b: &[usize]) -> Result<Dims> {
    if a == b {
        return Ok(Dims::from_slice(a));
    }
    let rank = a.len().max(b.len());
    let size = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    let joint = |i: usize| match (size(a, i), size(b, i)) {
        (1, other) | (other, 1) => Ok(other),
        (a, b) if a == b => Ok(a),
        _ => Err(Error::Shape(format!("shapes {a:?} and {b:?} do not fit: each size must be the other's, or 1"))),
    };
    (0..rank).map(joint).collect()
}

/// `op` of each pair of values.
pub(super) fn combine(
    a: &Tensor,
    b: &Tensor,
    workspace: &Arc<Workspace>,
    op: impl Fn(f32, f32) -> f32 + Copy + Sync,
) -> Result<Tensor> {
    let dims = joint_dims(a.shape(), b.shape())?;
    let walk = Walk::new(&dims, [a.shape(), b.shape()]);
    let mut y = Tensor::scratch(&dims, workspace);
    let (a, b) = (a.data(), b.data());
    threads::for_each_chunk(y.data_mut(), CHUNK, |i, y| {
        walk.runs(i * CHUNK, y, |y, [at_a, at_b], [step_a, step_b]| {
            let n = y.len();
            vectorised(
                #[inline(always)]
                move || match (step_a, step_b) {
                    (1, 1) => {
                        let pairs = a[at_a..][..n].iter().zip(&b[at_b..][..n]);
                        y.iter_mut().zip(pairs).for_each(|(y, (a, b))| *y = op(*a, *b));
                    }
                    (1, _) => {
                        let b = b[at_b];
                        y.iter_mut().zip(&a[at_a..][..n]).for_each(|(y, a)| *y = op(*a, b));
                    }
                    (_, 1) => {
                        let a = a[at_a];
                        y.iter_mut().zip(&b[at_b..][..n]).for_each(|(y, b)| *y = op(a, *b));
                    }
                    _ => y.fill(op(a[at_a], b[at_b])),
                },
            );
        });
    });
    Ok(y)
}

/// The values repeated to this shape.
pub(super) fn expand(x: &Tensor, dims: &[usize], workspace: &Arc<Workspace>) -> Result<Tensor> {
    if x.shape() == dims {
        return Ok(x.clone());
    }
    if joint_dims(x.shape(), dims)?.as_slice() != dims {
        return Err(Error::Shape(format!("shape {:?} cannot be repeated to {dims:?}", x.shape())));
    }
    let walk = Walk::new(dims, [x.shape()]);
    let mut y = Tensor::scratch(dims, workspace);
    let x = x.data();
    threads::for_each_chunk(y.data_mut(), CHUNK, |i, y| {
        walk.runs(i * CHUNK, y, |y, [at], [step]| match step {
            1 => y.copy_from_slice(&x[at..][..y.len()]),
            _ => y.fill(x[at]),
        });
    });
    Ok(y)
}

/// The gradient of what was repeated: the sums over the axes along which `dims` has size 1 or nothing.
pub(super) fn sum_to(gradient: Tensor, dims: &[usize], workspace: &Arc<Workspace>) -> Result<Tensor> {
    if gradient.shape() == dims {
        return Ok(gradient);
    }
    if gradient.is_empty() {
        return Ok(Tensor::zeros(dims));
    }
    let walk = Walk::new(gradient.shape(), [dims]);
    let (mut sum, mut inner) = (gradient, 1);
    for (size, [step]) in walk.axes {
        match step {
            0 => sum = sum_axis(&sum, size, inner, workspace),
            _ => inner *= size,
        }
    }
    sum.reshape(dims)
}

/// The sums over the middle axis of `x` seen as `(…, n, inner)`, in f64; the result has one axis.
pub(super) fn sum_axis(x: &Tensor, n: usize, inner: usize, workspace: &Arc<Workspace>) -> Tensor {
    let outer = x.len() / (n * inner).max(1);
    let mut y = Tensor::scratch([outer * inner], workspace);
    let x = x.data();
    if n == 0 || x.is_empty() {
        y.data_mut().fill(0.0);
        return y;
    }
    let samples = (CHUNK / (n * inner)).max(1);
    threads::for_each_chunk(y.data_mut(), samples * inner, |i, y| {
        let x = &x[i * samples * n * inner..];
        if inner == 1 {
            y.iter_mut().zip(x.chunks_exact(n)).for_each(|(y, x)| *y = sum(x) as f32);
        } else {
            y.fill(0.0);
            y.chunks_exact_mut(inner).zip(x.chunks_exact(n * inner)).for_each(|(y, x)| add_column_sums(x, y));
        }
    });
    y
}

/// The sum of all values.
fn sum(x: &[f32]) -> f64 {
    let (lanes, rest) = x.as_chunks::<16>();
    let mut sums = [0f64; 16];
    for lane in lanes {
        sums.iter_mut().zip(lane).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    sums.iter().sum::<f64>() + rest.iter().copied().map(f64::from).sum::<f64>()
}

/// The axes of a result, the last one first, and how far apart each operand's values are along them. Axes that can
/// be walked as one are one.
struct Walk<const N: usize> {
    axes: SmallVec<[(usize, [usize; N]); 6]>,
}

impl<const N: usize> Walk<N> {
    fn new(dims: &[usize], operands: [&[usize]; N]) -> Self {
        let mut axes: SmallVec<[(usize, [usize; N]); 6]> = SmallVec::new();
        let mut next = [1; N];
        for (i, &size) in dims.iter().enumerate().rev() {
            let steps: [usize; N] = std::array::from_fn(|n| {
                let own = (i + operands[n].len()).checked_sub(dims.len()).map_or(1, |at| operands[n][at]);
                let step = if own == 1 { 0 } else { next[n] };
                next[n] *= own;
                step
            });
            match axes.last_mut() {
                _ if size == 1 => {}
                Some((inner, inner_steps)) if (0..N).all(|n| steps[n] == inner_steps[n] * *inner) => *inner *= size,
                _ => axes.push((size, steps)),
            }
        }
        if axes.is_empty() {
            axes.push((1, [0; N]));
        }
        Walk { axes }
    }

    /// Calls `work` with each run of `y`, which begins at value `start` of the result: where the operands' values
    /// begin and how far apart they are, 1 or 0.
    #[inline(always)]
    fn runs(&self, start: usize, mut y: &mut [f32], mut work: impl FnMut(&mut [f32], [usize; N], [usize; N])) {
        let (inner, steps) = self.axes[0];
        let (mut row, mut within) = (start / inner.max(1), start % inner.max(1));
        let mut at = [0; N];
        let mut counts: SmallVec<[usize; 6]> = SmallVec::new();
        for (size, steps) in &self.axes[1..] {
            let count = row % size;
            row /= size;
            (0..N).for_each(|n| at[n] += count * steps[n]);
            counts.push(count);
        }
        while !y.is_empty() {
            let length = (inner - within).min(y.len());
            let (run, rest) = std::mem::take(&mut y).split_at_mut(length);
            work(run, std::array::from_fn(|n| at[n] + within * steps[n]), steps);
            (y, within) = (rest, 0);
            for (count, (size, steps)) in counts.iter_mut().zip(&self.axes[1..]) {
                *count += 1;
                (0..N).for_each(|n| at[n] += steps[n]);
                if *count < *size {
                    break;
                }
                *count = 0;
                (0..N).for_each(|n| at[n] -= size * steps[n]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(dims: &[usize]) -> Tensor {
        Tensor::new(dims, (0..dims.iter().product()).map(|i: usize| (i as f32 * 1.7).sin()).collect()).unwrap()
    }

    #[test]
    fn results_are_those_of_ndarray() {
        let workspace = Workspace::new();
        let shapes: [[&[usize]; 2]; 9] = [
            [&[2, 3, 4], &[2, 3, 4]],
            [&[2, 3, 4], &[4]],
            [&[2, 1, 4], &[2, 3, 1]],
            [&[3, 1, 1, 2], &[3, 4, 5, 2]],
            [&[1], &[5, 2]],
            [&[7, 1], &[1, 3]],
            [&[], &[]],
            [&[0, 3], &[1, 3]],
            [&[70, 1, 40], &[70, 50, 40]],
        ];
        for [a, b] in shapes {
            let (a, b) = (counting(a), counting(b).map(|x| x * 3.0));
            for (a, b) in [(&a, &b), (&b, &a)] {
                let want = Tensor::from(&a.view() - &b.view());
                let got = combine(a, b, &workspace, |a, b| a - b).unwrap();
                assert_eq!(got, want, "{:?} {:?}", a.shape(), b.shape());
                assert_eq!(expand(a, got.shape(), &workspace).unwrap(), {
                    let view = a.view();
                    Tensor::from(view.broadcast(got.shape()).unwrap().to_owned())
                });
                // The sum over what was repeated, by putting each value where it came from.
                let mut sums = vec![0f64; a.len()];
                let places = Tensor::new(a.shape(), (0..a.len()).map(|i| i as f32).collect()).unwrap();
                let places = expand(&places, got.shape(), &workspace).unwrap();
                places.data().iter().zip(got.data()).for_each(|(i, g)| sums[*i as usize] += f64::from(*g));
                let want = Tensor::new(a.shape(), sums.into_iter().map(|s| s as f32).collect()).unwrap();
                let sum = sum_to(got, a.shape(), &workspace).unwrap();
                crate::testing::check_close(&sum, &want, 1e-5).unwrap();
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_told() {
        let error = joint_dims(&[2, 3], &[2, 4]).unwrap_err().to_string();
        assert!(error.contains("[2, 3] and [2, 4] do not fit"), "{error}");
        let (a, b) = (Shape::batch_of([3, 1]), Shape::new([None, Some(4)]));
        assert_eq!(joint_shape(&a, &b).unwrap().to_string(), "(None, 3, 4)");
        assert!(joint_shape(&Shape::batch_of([3]), &Shape::batch_of([4])).is_err());
        assert!(expand(&counting(&[3]), &[2], &Workspace::new()).is_err());
    }
}
