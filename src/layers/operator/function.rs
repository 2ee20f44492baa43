//! What is done with one tensor.

use super::super::broadcast::{combine, expand, joint_shape, sum_to};
use super::super::permute::{inverse, transpose};
use super::super::{activate, deactivate};
use super::index::{part, resolve_place};
use super::reduction::{inner_axes, reduce, spread};
use super::{Elementwise, Index, Reduction};
use crate::Activation;
use crate::activations::math::{exp, ln};
use crate::error::{Error, Result, ensure};
use crate::kernels::vectorised;
use crate::layer::{Backward, Forward};
use crate::runtime::threads;
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use ndarray::{ArrayViewMutD, IxDyn};

/// What is done with one operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Function {
    /// An activation: `relu`, `sigmoid`, `softmax` over the last axis, ….
    Activation(Activation),
    /// `-x`
    Negative,
    /// `|x|`
    Absolute,
    /// `e^x`
    Exp,
    /// The natural logarithm.
    Log,
    /// The square root.
    Sqrt,
    /// `1 / sqrt(x)`
    Rsqrt,
    /// `x²`
    Square,
    /// `1 / x`
    Reciprocal,
    /// `x` within limits.
    Clip {
        /// The lower one.
        min: f64,
        /// The upper one.
        max: f64,
    },
    /// `x`, with these in the places of what is no number and of the infinite.
    NanToNum {
        /// Where it is no number.
        nan: f64,
        /// Where it is infinite; none: the largest number.
        posinf: Option<f64>,
        /// Where it is minus infinite; none: the smallest number.
        neginf: Option<f64>,
    },
    /// A function of each value.
    Each(Elementwise),
    /// Repeated along axes of size 1, and new ones in front of the sample, to this shape of a sample.
    BroadcastTo(Vec<usize>),
    /// A sum, mean, maximum or minimum over axes.
    Reduce {
        /// Which.
        how: Reduction,
        /// The axes, at least one and never the batch.
        axes: Vec<isize>,
        /// Whether they stay, with size 1.
        keepdims: bool,
    },
    /// The axes in this order, the batch first.
    Transpose(Vec<usize>),
    /// Samples of another shape; one size may be -1, which takes what is left.
    Reshape(Vec<isize>),
    /// New axes of size 1 at these places of the result.
    ExpandDims(Vec<isize>),
    /// Without these axes of size 1; empty: without all of them.
    Squeeze(Vec<isize>),
    /// A part of the tensor, axis by axis, the batch left out.
    GetItem(Vec<Index>),
}

impl Function {
    pub(super) fn name(&self) -> &str {
        match self {
            Function::Activation(activation) => activation.name(),
            Function::Negative => "Negative",
            Function::Absolute => "Absolute",
            Function::Exp => "Exp",
            Function::Log => "Log",
            Function::Sqrt => "Sqrt",
            Function::Rsqrt => "Rsqrt",
            Function::Square => "Square",
            Function::Reciprocal => "Reciprocal",
            Function::Clip { .. } => "Clip",
            Function::NanToNum { .. } => "NanToNum",
            Function::Reduce { how: Reduction::Sum, .. } => "Sum",
            Function::Reduce { how: Reduction::Mean, .. } => "Mean",
            Function::Reduce { how: Reduction::Max, .. } => "Max",
            Function::Reduce { how: Reduction::Min, .. } => "Min",
            Function::Reduce { how: Reduction::Any, .. } => "Any",
            Function::Reduce { how: Reduction::All, .. } => "All",
            Function::Each(each) => Elementwise::ALL.iter().find(|(_, known)| known == each).map_or("Sin", |(n, _)| n),
            Function::BroadcastTo(_) => "BroadcastTo",
            Function::Transpose(_) => "Transpose",
            Function::Reshape(_) => "Reshape",
            Function::ExpandDims(_) => "ExpandDims",
            Function::Squeeze(_) => "Squeeze",
            Function::GetItem(_) => "GetItem",
        }
    }

    pub(super) fn output_shape(&self, x: &Shape) -> Result<Shape> {
        Ok(match self {
            Function::Reduce { axes, keepdims, .. } => {
                let axes = inner_axes(axes, x.rank())?;
                let size = |(i, size): (usize, &Option<usize>)| match axes.contains(&i) {
                    true => keepdims.then_some(Some(1)),
                    false => Some(*size),
                };
                Shape::new(x.dims().iter().enumerate().filter_map(size).collect::<Vec<_>>())
            }
            Function::BroadcastTo(sizes) => {
                let wanted = Shape::batch_of(sizes);
                let joint = joint_shape(x, &wanted)?;
                ensure!(joint.sample() == wanted.sample(), Shape, "samples of {x} cannot be repeated to {sizes:?}");
                Shape::new(std::iter::once(x.get(0)).chain(sizes.iter().map(|&n| Some(n))).collect::<Vec<_>>())
            }
            Function::Transpose(order) => {
                check_order(order, x.rank())?;
                Shape::new(order.iter().map(|&axis| x.dims()[axis]).collect::<Vec<_>>())
            }
            Function::Reshape(target) => {
                let unknown = target.iter().position(|&size| size < 0);
                ensure!(
                    target.iter().filter(|&&size| size < 0).count() <= 1 && target.iter().all(|&size| size >= -1),
                    Argument,
                    "the shape {target:?} of a sample may have one size of -1, and no other negative one"
                );
                let mut known = target.iter().filter(|&&size| size >= 0);
                let known = known.try_fold(1usize, |n, &size| n.checked_mul(size.unsigned_abs()));
                let sizes = target.iter().map(|&size| Some(size.unsigned_abs()));
                let mut dims: Vec<Option<usize>> = std::iter::once(x.get(0)).chain(sizes).collect();
                let values = x.sample_len();
                let fits = match (values, known) {
                    (Some(values), Some(known)) if unknown.is_some() => known > 0 && values.is_multiple_of(known),
                    (Some(values), Some(known)) => values == known,
                    (None, known) => known.is_some(),
                    (_, None) => false,
                };
                ensure!(fits, Shape, "samples of {x} cannot become {target:?}: their values do not fit");
                if let Some(at) = unknown {
                    dims[at + 1] = values.zip(known).map(|(values, known)| values / known);
                }
                Shape::new(dims)
            }
            Function::ExpandDims(axes) => {
                let mut dims = x.dims().to_vec();
                for axis in new_axes(axes, x.rank())? {
                    dims.insert(axis, Some(1));
                }
                Shape::new(dims)
            }
            Function::Squeeze(axes) => {
                let axes = match axes.is_empty() {
                    true => (1..x.rank()).filter(|&axis| x.get(axis) == Some(1)).collect(),
                    false => inner_axes(axes, x.rank())?,
                };
                let ones = axes.iter().all(|&axis| x.dims()[axis].is_none_or(|size| size == 1));
                ensure!(ones, Shape, "axes {axes:?} of {x} cannot be left out: their size is not 1");
                let left = x.dims().iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
                Shape::new(left.map(|(_, size)| *size).collect::<Vec<_>>())
            }
            Function::GetItem(indices) => {
                let taken = indices.iter().filter(|index| **index != Index::NewAxis).count();
                ensure!(taken < x.rank(), Argument, "{taken} indices are more than the axes of {x} without the batch");
                let (mut dims, mut sizes) = (vec![x.get(0)], x.sample().iter().copied());
                for index in indices {
                    match index {
                        Index::NewAxis => dims.push(Some(1)),
                        Index::At(place) => {
                            let size = sizes.next().flatten();
                            size.map(|size| resolve_place(*place, size)).transpose()?;
                        }
                        slice => {
                            let size = sizes.next().flatten();
                            dims.push(size.map(|size| slice.range(size).map(|range| range.1)).transpose()?);
                        }
                    }
                }
                dims.extend(sizes);
                Shape::new(dims)
            }
            _ => x.clone(),
        })
    }

    pub(super) fn forward(&self, x: Tensor, cx: &mut Forward<'_>) -> Result<Tensor> {
        match self {
            Function::Activation(activation) => activate(activation, x, cx),
            Function::Reduce { how, axes, keepdims } => reduce(x, *how, axes, *keepdims, cx),
            Function::Transpose(order) => {
                check_order(order, x.rank())?;
                transpose(&x, order)
            }
            Function::Reshape(_) | Function::ExpandDims(_) | Function::Squeeze(_) => {
                let shape = self.output_shape(&Shape::from(x.shape()))?;
                cx.save_shape(x.shape());
                x.reshape(shape.dims().iter().flatten().copied().collect::<Dims>())
            }
            Function::GetItem(indices) => {
                let shape = self.output_shape(&Shape::from(x.shape()))?;
                let mut y = cx.scratch(shape.dims().iter().flatten().copied().collect::<Dims>());
                let part = part(x.view(), indices)?;
                y.data_mut().iter_mut().zip(part.iter()).for_each(|(y, x)| *y = *x);
                cx.save_shape(x.shape());
                Ok(y)
            }
            Function::Each(function) => {
                let function = *function;
                Ok(each(saved(x, cx), move |x| function.value(x)))
            }
            Function::BroadcastTo(sizes) => {
                cx.save_shape(x.shape());
                let dims: Dims = std::iter::once(x.batch()).chain(sizes.iter().copied()).collect();
                expand(&x, &dims, cx.workspace())
            }
            Function::Negative => Ok(each(x, |x| -x)),
            // Of these the result tells the derivative.
            Function::Exp => Ok(saved(each(x, exp), cx)),
            Function::Sqrt => Ok(saved(each(x, f32::sqrt), cx)),
            Function::Rsqrt => Ok(saved(each(x, |x| 1.0 / x.sqrt()), cx)),
            Function::Reciprocal => Ok(saved(each(x, |x| 1.0 / x), cx)),
            Function::Absolute => Ok(each(saved(x, cx), f32::abs)),
            Function::Log => Ok(each(saved(x, cx), ln)),
            Function::Square => Ok(each(saved(x, cx), |x| x * x)),
            Function::Clip { min, max } => {
                let (min, max) = (*min as f32, *max as f32);
                let clip = move |x| {
                    let x = if x < min { min } else { x };
                    if x > max { max } else { x }
                };
                Ok(each(saved(x, cx), clip))
            }
            Function::NanToNum { nan, posinf, neginf } => {
                let (nan, high) = (*nan as f32, posinf.map_or(f32::MAX, |x| x as f32));
                let low = neginf.map_or(f32::MIN, |x| x as f32);
                let finite = move |x: f32| match x {
                    x if x.is_finite() => x,
                    x if x.is_nan() => nan,
                    x => {
                        if x > 0.0 {
                            high
                        } else {
                            low
                        }
                    }
                };
                Ok(each(saved(x, cx), finite))
            }
        }
    }

    pub(super) fn backward(&self, g: Tensor, cx: &mut Backward<'_>) -> Result<Tensor> {
        match self {
            Function::Activation(activation) => deactivate(activation, g, cx),
            Function::Reduce { how, axes, .. } => spread(g, *how, axes, cx),
            Function::Each(function) => {
                let function = *function;
                with_saved(g, cx, move |g, x| g * function.slope(x))
            }
            Function::BroadcastTo(_) => sum_to(g, &cx.restore_shape()?, cx.workspace()),
            Function::Transpose(order) => transpose(&g, &inverse(order)),
            Function::Reshape(_) | Function::ExpandDims(_) | Function::Squeeze(_) => g.reshape(cx.restore_shape()?),
            Function::GetItem(indices) => {
                let dims = cx.restore_shape()?;
                let mut dx = cx.scratch(dims);
                dx.data_mut().fill(0.0);
                let shape = IxDyn(&Dims::from_slice(dx.shape()));
                let view = ArrayViewMutD::from_shape(shape, dx.data_mut());
                let mut part = part(view.map_err(|error| Error::Shape(error.to_string()))?, indices)?;
                part.iter_mut().zip(g.data()).for_each(|(dx, g)| *dx = *g);
                Ok(dx)
            }
            Function::Negative => Ok(each(g, |g| -g)),
            Function::Exp => with_saved(g, cx, |g, y| g * y),
            Function::Sqrt => with_saved(g, cx, |g, y| g * 0.5 / y),
            Function::Rsqrt => with_saved(g, cx, |g, y| g * -0.5 * y * y * y),
            Function::Reciprocal => with_saved(g, cx, |g, y| -g * y * y),
            Function::Absolute => with_saved(g, cx, |g, x| if x == 0.0 { 0.0 } else { g * x.signum() }),
            Function::Log => with_saved(g, cx, |g, x| g / x),
            Function::Square => with_saved(g, cx, |g, x| g * 2.0 * x),
            Function::Clip { min, max } => {
                let (min, max) = (*min as f32, *max as f32);
                with_saved(g, cx, move |g, x| if x < min || x > max { 0.0 } else { g })
            }
            Function::NanToNum { .. } => with_saved(g, cx, |g, x| if x.is_finite() { g } else { 0.0 }),
        }
    }
}

fn saved(x: Tensor, cx: &mut Forward<'_>) -> Tensor {
    cx.save(x.clone());
    x
}

fn with_saved(g: Tensor, cx: &mut Backward<'_>, f: impl Fn(f32, f32) -> f32 + Copy + Sync) -> Result<Tensor> {
    let saved = cx.restore()?;
    combine(&g, &saved, cx.workspace(), f)
}

/// Applies `f` to each value.
pub(super) fn each(mut x: Tensor, f: impl Fn(f32) -> f32 + Copy + Sync) -> Tensor {
    threads::for_each_chunk(x.data_mut(), 1 << 16, |_, x| {
        vectorised(
            #[inline(always)]
            move || x.iter_mut().for_each(|x| *x = f(*x)),
        );
    });
    x
}

/// The places of new axes in the result.
fn new_axes(axes: &[isize], rank: usize) -> Result<Vec<usize>> {
    inner_axes(axes, rank + axes.len())
}

fn check_order(order: &[usize], rank: usize) -> Result<()> {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    ensure!(
        sorted.into_iter().eq(0..rank) && order.first() == Some(&0),
        Argument,
        "axes {order:?} must hold each of 0 to {} once, and the batch, 0, must stay first",
        rank.saturating_sub(1)
    );
    Ok(())
}
