//! One of two values, by a condition.

use super::super::broadcast::{combine, joint_shape, sum_to};
use crate::error::Result;
use crate::layer::{Backward, Forward};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// The shape of a choice.
pub(super) fn output_shape(operands: [&Shape; 3]) -> Result<Shape> {
    joint_shape(&joint_shape(operands[0], operands[1])?, operands[2])
}

/// `yes` where the condition is not 0, else `no`; sizes of 1 are repeated to fit.
pub(super) fn forward([condition, yes, no]: [Tensor; 3], cx: &mut Forward<'_>) -> Result<Tensor> {
    let workspace = cx.workspace().clone();
    let of_yes = combine(&condition, &yes, &workspace, |c, x| if c != 0.0 { x } else { 0.0 })?;
    let of_no = combine(&condition, &no, &workspace, |c, x| if c != 0.0 { 0.0 } else { x })?;
    cx.save_shape(yes.shape());
    cx.save_shape(no.shape());
    cx.save(condition);
    combine(&of_yes, &of_no, &workspace, |a, b| a + b)
}

/// The gradients of the condition, which has none, and of both values.
pub(super) fn backward(g: &Tensor, cx: &mut Backward<'_>) -> Result<[Option<Tensor>; 3]> {
    let condition = cx.restore()?;
    let (no, yes) = (cx.restore_shape()?, cx.restore_shape()?);
    let workspace = cx.workspace();
    let of_yes = combine(g, &condition, workspace, |g, c| if c != 0.0 { g } else { 0.0 })?;
    let of_no = combine(g, &condition, workspace, |g, c| if c != 0.0 { 0.0 } else { g })?;
    Ok([None, Some(sum_to(of_yes, &yes, workspace)?), Some(sum_to(of_no, &no, workspace)?)])
}
