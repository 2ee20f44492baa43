//! What stands between layers in a graph: arithmetic with tensors and numbers, sums over axes, other shapes.

mod along;
mod arrange;
mod binary;
mod choose;
mod config;
mod contract;
mod elementwise;
mod encode;
mod function;
mod index;
mod reduction;
#[cfg(test)]
mod tests;

pub use along::{Along, Order};
pub use arrange::{Arrange, Integers, PadMode};
pub use binary::{Comparison, Op};
pub(crate) use config::Written;
pub use contract::{Axes, Contract};
pub use elementwise::Elementwise;
pub use encode::Encode;
pub use function::Function;
pub use index::Index;
pub use reduction::Reduction;

use super::broadcast::joint_shape;
use super::concatenate::{cut, join};
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::{Dims, Shape, resolve_axis};
use crate::tensor::Tensor;

/// The side on which a constant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `1 - x`
    Left,
    /// `x - 1`
    Right,
}

/// An operator of a graph: what `keras.ops` does with symbolic tensors.
///
/// Masks end here, as in Keras.
///
/// ```
/// use cornu::layers::operator::{Arrange, Integers, Operator};
/// use cornu::{layer::LayerHandle, prelude::*};
///
/// // The halves of the features, one scaled by the other.
/// let input = Input::new([10, 8]).node();
/// let split = Arrange::Split { indices_or_sections: Integers::One(2), axis: -1 };
/// let halves = LayerHandle::from(Operator::arrange(split)).call_all(&input)?;
/// let output = Multiply::new().call(&halves)?;
/// assert_eq!(output.shape()?.to_string(), "(None, 10, 4)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Operator(Kind);

/// What an operator does; operands that are not there are inputs, the others constants.
#[derive(Clone, Debug)]
enum Kind {
    Binary(Op),
    Constant(Op, Tensor, Side),
    Unary(Function),
    Arrange(Arrange),
    Along(Along),
    Encode(Encode),
    Contract(Contract, [Option<Tensor>; 2]),
    Choose([Option<Tensor>; 3]),
    Stack(isize),
}

impl Operator {
    /// Of two tensors.
    pub fn binary(op: Op) -> Self {
        Operator(Kind::Binary(op))
    }

    /// Of a tensor and a number, which stands at `side`: `1 - x` is `with_constant(Op::Subtract, 1.0, Side::Left)`.
    pub fn with_constant(op: Op, constant: f64, side: Side) -> Self {
        Self::with_tensor(op, Tensor::full([], constant as f32), side)
    }

    /// Of a tensor and a constant one, whose shape is aligned at the end: `(features)` or `(time, features)`.
    pub fn with_tensor(op: Op, constant: Tensor, side: Side) -> Self {
        Operator(Kind::Constant(op, constant, side))
    }

    /// Of one tensor.
    pub fn unary(function: Function) -> Self {
        Operator(Kind::Unary(function))
    }

    /// The values of one tensor in another arrangement; a split has several outputs.
    pub fn arrange(arrange: Arrange) -> Self {
        Operator(Kind::Arrange(arrange))
    }

    /// A function of the values along an axis.
    pub fn along(along: Along) -> Self {
        Operator(Kind::Along(along))
    }

    /// Classes as vectors.
    pub fn encode(encode: Encode) -> Self {
        Operator(Kind::Encode(encode))
    }

    /// A product of two tensors, of which one may be a constant: `[None, Some(matrix)]`.
    pub fn contract(contract: Contract, constants: [Option<Tensor>; 2]) -> Self {
        Operator(Kind::Contract(contract, constants))
    }

    /// The second operand where the first, a condition, is not 0, else the third (Keras: `where`). Those that are
    /// constants are given here, the others are inputs.
    pub fn choose(constants: [Option<Tensor>; 3]) -> Self {
        Operator(Kind::Choose(constants))
    }

    /// Tensors of one shape along a new axis, which stands at this place of the result.
    pub fn stack(axis: isize) -> Self {
        Operator(Kind::Stack(axis))
    }
}

/// All operands, the constants in their places.
fn operands<T, const N: usize>(
    inputs: impl IntoIterator<Item = T>,
    constants: &[Option<Tensor>; N],
    constant: impl Fn(&Tensor) -> T,
) -> Result<[T; N]> {
    let mut inputs = inputs.into_iter();
    let all: Vec<T> =
        constants.iter().filter_map(|known| known.as_ref().map(&constant).or_else(|| inputs.next())).collect();
    let wanted = constants.iter().filter(|known| known.is_none()).count();
    match (inputs.next(), <[T; N]>::try_from(all)) {
        (None, Ok(all)) => Ok(all),
        _ => Err(Error::Argument(format!("expected {wanted} inputs"))),
    }
}

/// The axis that a stack makes.
fn stack_axis(axis: isize, rank: usize) -> Result<usize> {
    let axis = resolve_axis(axis, rank + 1)?;
    ensure!(axis > 0, Argument, "a stack along axis 0 would mix the samples");
    Ok(axis)
}

impl Layer for Operator {
    fn class_name(&self) -> &str {
        match &self.0 {
            Kind::Binary(op) | Kind::Constant(op, ..) => op.name(),
            Kind::Unary(function) => function.name(),
            Kind::Arrange(arrange) => arrange.name(),
            Kind::Along(along) => along.name(),
            Kind::Encode(encode) => encode.name(),
            Kind::Contract(contract, _) => contract.name(),
            Kind::Choose(_) => "Where",
            Kind::Stack(_) => "Stack",
        }
    }

    fn check(&self) -> Result<()> {
        match &self.0 {
            Kind::Along(along) => along.check(),
            Kind::Encode(encode) => encode.check(),
            _ => Ok(()),
        }
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let constant_shape = |constant: &Tensor| Shape::from(constant.shape());
        let shape = match &self.0 {
            Kind::Binary(_) => match inputs {
                [a, b] => joint_shape(a, b)?,
                other => return Err(Error::Argument(format!("expected two inputs, got {}", other.len()))),
            },
            Kind::Constant(_, constant, _) => {
                let x = one_shape(inputs)?;
                let joint = joint_shape(x, &constant_shape(constant))?;
                check_constant(constant, x, &joint)?;
                joint
            }
            Kind::Unary(function) => function.output_shape(one_shape(inputs)?)?,
            Kind::Arrange(arrange) => return arrange.output_shapes(one_shape(inputs)?),
            Kind::Along(along) => return along.output_shapes(one_shape(inputs)?),
            Kind::Encode(encode) => encode.output_shape(one_shape(inputs)?)?,
            Kind::Contract(contract, constants) => {
                let [a, b] = operands(inputs.iter().cloned(), constants, constant_shape)?;
                contract.output_shape(&a, &b, constants.each_ref().map(Option::is_none))?
            }
            Kind::Choose(constants) => {
                let all = operands(inputs.iter().cloned(), constants, constant_shape)?;
                let joint = choose::output_shape(all.each_ref())?;
                for constant in constants.iter().flatten() {
                    check_constant(constant, &joint, &joint)?;
                }
                joint
            }
            Kind::Stack(axis) => {
                let first = inputs.first().ok_or_else(|| Error::Argument("it needs at least 1 input".to_owned()))?;
                let axis = stack_axis(*axis, first.rank())?;
                let mut dims = first.dims().to_vec();
                for other in inputs {
                    let fits = |(a, b): (&Option<usize>, &Option<usize>)| a.is_none() || b.is_none() || a == b;
                    ensure!(
                        other.rank() == first.rank() && first.dims().iter().zip(other.dims()).all(fits),
                        Shape,
                        "{first} and {other} cannot be stacked: their shapes differ"
                    );
                    dims.iter_mut().zip(other.dims()).for_each(|(dim, other)| *dim = dim.or(*other));
                }
                dims.insert(axis, Some(inputs.len()));
                Shape::new(dims)
            }
        };
        Ok(vec![shape])
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        cx.set_masks([None]);
        match &self.0 {
            Kind::Binary(op) => match &*inputs {
                [a, b] => op.forward(a, b, cx),
                other => Err(Error::Argument(format!("expected two inputs, got {}", other.len()))),
            },
            Kind::Constant(op, constant, Side::Left) => op.forward(constant, &inputs.one()?, cx),
            Kind::Constant(op, constant, Side::Right) => op.forward(&inputs.one()?, constant, cx),
            Kind::Unary(function) => function.forward(inputs.one()?, cx),
            Kind::Arrange(arrange) => {
                let outputs = arrange.forward(&inputs.one()?, cx)?;
                cx.set_masks(vec![None; outputs.len()]);
                return Ok(outputs);
            }
            Kind::Along(along) => {
                let outputs = along.forward(inputs.one()?, cx)?;
                cx.set_masks(vec![None; outputs.len()]);
                return Ok(outputs);
            }
            Kind::Encode(encode) => encode.forward(&inputs.one()?, cx),
            Kind::Contract(contract, constants) => {
                let [a, b] = operands(inputs, constants, Tensor::clone)?;
                contract.forward(a, b, cx)
            }
            Kind::Choose(constants) => choose::forward(operands(inputs, constants, Tensor::clone)?, cx),
            Kind::Stack(axis) => {
                let axis = stack_axis(*axis, inputs.first().map_or(0, Tensor::rank))?;
                let parts = inputs.iter().map(|x| {
                    let mut dims = Dims::from_slice(x.shape());
                    dims.insert(axis, 1);
                    x.clone().reshape(dims)
                });
                let parts = parts.collect::<Result<Vec<_>>>()?;
                let mut dims = parts.first().map(|x| Dims::from_slice(x.shape())).unwrap_or_default();
                ensure!(
                    parts.iter().all(|x| x.shape() == &*dims),
                    Shape,
                    "tensors to be stacked have different shapes"
                );
                cx.save_shape(&[parts.len()]);
                dims[axis] = parts.len();
                Ok(join(&parts, axis, cx.scratch(dims)))
            }
        }
        .map(Values::from)
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        match &self.0 {
            Kind::Arrange(arrange) => return Ok(arrange.backward(gradients, cx)?.into()),
            Kind::Along(along) => return Ok(along.backward(gradients, cx)?.into()),
            _ => {}
        }
        let gradient = gradients.one()?;
        // Those of the inputs, of those of all operands.
        let of_inputs = |all: Vec<Option<Tensor>>, constants: &[Option<Tensor>]| {
            all.into_iter().zip(constants).filter(|(_, constant)| constant.is_none()).map(|(dx, _)| dx).collect()
        };
        match &self.0 {
            Kind::Binary(op) => {
                let wanted = [cx.wants(0), cx.wants(1)];
                Ok(op.backward(gradient, wanted, cx)?.into_iter().collect())
            }
            Kind::Constant(op, _, side) => {
                let left = *side == Side::Left;
                let [a, b] = op.backward(gradient, [!left, left], cx)?;
                Ok(a.or(b).into())
            }
            Kind::Unary(function) => Ok(function.backward(gradient, cx)?.into()),
            Kind::Contract(contract, constants) => {
                let dx = contract.backward(&gradient, constants.each_ref().map(Option::is_none), cx)?;
                Ok(of_inputs(dx.into(), constants))
            }
            Kind::Choose(constants) => Ok(of_inputs(choose::backward(&gradient, cx)?.into(), constants)),
            Kind::Stack(axis) => {
                let n = cx.restore_shape()?[0];
                let axis = stack_axis(*axis, gradient.rank() - 1)?;
                let part = |i: usize| {
                    let mut dims = Dims::from_slice(gradient.shape());
                    dims[axis] = 1;
                    let part = cut(&gradient, axis, i, cx.scratch(&dims));
                    dims.remove(axis);
                    part.reshape(dims).map(Some)
                };
                Ok((0..n).map(part).collect::<Result<Vec<_>>>()?.into_iter().collect())
            }
            Kind::Encode(_) | Kind::Arrange(_) | Kind::Along(_) => Ok(None.into()),
        }
    }
}

/// Checks that a constant beside samples is the same for all of them.
fn check_constant(constant: &Tensor, x: &Shape, joint: &Shape) -> Result<()> {
    ensure!(
        joint.rank() == x.rank() && (constant.rank() < x.rank() || constant.batch() == 1),
        Shape,
        "a constant of shape {:?} does not fit samples of {x}; it must be the same for all samples",
        constant.shape()
    );
    Ok(())
}
