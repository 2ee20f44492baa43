//! What stands between layers in a graph: arithmetic with tensors and numbers, sums over axes, other shapes.

use super::broadcast::{combine, expand, joint_shape, sum_to};
pub(crate) use super::operator_config::Written;
use super::permute::{inverse, transpose};
use crate::Activation;
use crate::activations::math::{exp, ln};
use crate::error::{Error, Result, ensure};
use crate::kernels::vectorised;
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::runtime::threads;
use crate::shape::{Dims, Shape, resolve_axis};
use crate::tensor::Tensor;
use ndarray::{ArrayBase, ArrayViewMutD, Axis, IxDyn, RawData, Slice as Cut};

/// What is done with two operands, element by element; sizes of 1 are repeated to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `a + b`
    Add,
    /// `a - b`
    Subtract,
    /// `a * b`
    Multiply,
    /// `a / b` (Keras: `TrueDivide`, `Divide`)
    Divide,
    /// `a ^ b`
    Power,
    /// The larger one; of equal ones the first takes the gradient.
    Maximum,
    /// The smaller one; of equal ones the first takes the gradient.
    Minimum,
    /// A comparison, 1 where it holds and 0 elsewhere; no gradient passes.
    Compare(Comparison),
}

/// What is asked of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `a == b`
    Equal,
    /// `a != b`
    NotEqual,
    /// `a > b`
    Greater,
    /// `a >= b`
    GreaterEqual,
    /// `a < b`
    Less,
    /// `a <= b`
    LessEqual,
    /// Both are not 0 (Keras: `LogicalAnd`).
    And,
    /// One is not 0 (Keras: `LogicalOr`).
    Or,
}

impl Comparison {
    /// Each of them, under Keras' name.
    pub(super) const ALL: [(&'static str, Comparison); 8] = [
        ("Equal", Comparison::Equal),
        ("NotEqual", Comparison::NotEqual),
        ("Greater", Comparison::Greater),
        ("GreaterEqual", Comparison::GreaterEqual),
        ("Less", Comparison::Less),
        ("LessEqual", Comparison::LessEqual),
        ("LogicalAnd", Comparison::And),
        ("LogicalOr", Comparison::Or),
    ];

    fn holds(self, a: f32, b: f32) -> bool {
        match self {
            Comparison::Equal => a == b,
            Comparison::NotEqual => a != b,
            Comparison::Greater => a > b,
            Comparison::GreaterEqual => a >= b,
            Comparison::Less => a < b,
            Comparison::LessEqual => a <= b,
            Comparison::And => a != 0.0 && b != 0.0,
            Comparison::Or => a != 0.0 || b != 0.0,
        }
    }
}

/// A function of each value alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elementwise {
    /// The sine.
    Sin,
    /// The cosine.
    Cos,
    /// The tangent.
    Tan,
    /// The inverse of the tangent.
    Arctan,
    /// The hyperbolic sine.
    Sinh,
    /// The hyperbolic cosine.
    Cosh,
    /// `ln(1 + x)`
    Log1p,
    /// `e^x - 1`
    Expm1,
    /// The logarithm to the base 2.
    Log2,
    /// The logarithm to the base 10.
    Log10,
    /// The next whole number below.
    Floor,
    /// The next whole number above.
    Ceil,
    /// The nearest whole number, the even one of two.
    Round,
    /// -1, 0 or 1.
    Sign,
    /// 1 where it is 0, else 0.
    LogicalNot,
    /// 0
    ZerosLike,
    /// 1
    OnesLike,
}

impl Elementwise {
    /// Each of them, under Keras' name.
    pub(super) const ALL: [(&'static str, Elementwise); 17] = [
        ("Sin", Elementwise::Sin),
        ("Cos", Elementwise::Cos),
        ("Tan", Elementwise::Tan),
        ("Arctan", Elementwise::Arctan),
        ("Sinh", Elementwise::Sinh),
        ("Cosh", Elementwise::Cosh),
        ("Log1p", Elementwise::Log1p),
        ("Expm1", Elementwise::Expm1),
        ("Log2", Elementwise::Log2),
        ("Log10", Elementwise::Log10),
        ("Floor", Elementwise::Floor),
        ("Ceil", Elementwise::Ceil),
        ("Round", Elementwise::Round),
        ("Sign", Elementwise::Sign),
        ("LogicalNot", Elementwise::LogicalNot),
        ("ZerosLike", Elementwise::ZerosLike),
        ("OnesLike", Elementwise::OnesLike),
    ];

    fn value(self, x: f32) -> f32 {
        match self {
            Elementwise::Sin => x.sin(),
            Elementwise::Cos => x.cos(),
            Elementwise::Tan => x.tan(),
            Elementwise::Arctan => x.atan(),
            Elementwise::Sinh => x.sinh(),
            Elementwise::Cosh => x.cosh(),
            Elementwise::Log1p => x.ln_1p(),
            Elementwise::Expm1 => x.exp_m1(),
            Elementwise::Log2 => x.log2(),
            Elementwise::Log10 => x.log10(),
            Elementwise::Floor => x.floor(),
            Elementwise::Ceil => x.ceil(),
            Elementwise::Round => x.round_ties_even(),
            Elementwise::Sign if x == 0.0 || x.is_nan() => x,
            Elementwise::Sign => x.signum(),
            Elementwise::LogicalNot => f32::from(u8::from(x == 0.0)),
            Elementwise::ZerosLike => 0.0,
            Elementwise::OnesLike => 1.0,
        }
    }

    /// The derivative: 0 for those that have steps.
    fn slope(self, x: f32) -> f32 {
        match self {
            Elementwise::Sin => x.cos(),
            Elementwise::Cos => -x.sin(),
            Elementwise::Tan => 1.0 + x.tan() * x.tan(),
            Elementwise::Arctan => 1.0 / (1.0 + x * x),
            Elementwise::Sinh => x.cosh(),
            Elementwise::Cosh => x.sinh(),
            Elementwise::Log1p => 1.0 / (1.0 + x),
            Elementwise::Expm1 => x.exp(),
            Elementwise::Log2 => std::f32::consts::LOG2_E / x,
            Elementwise::Log10 => std::f32::consts::LOG10_E / x,
            _ => 0.0,
        }
    }
}

/// The side on which a constant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `1 - x`
    Left,
    /// `x - 1`
    Right,
}

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

/// What is taken of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// One place, without the axis; from the end where it is negative.
    At(isize),
    /// The places from `start` up to `stop`, `step` apart, as Python counts them.
    Slice {
        /// The first one. Default: the beginning.
        start: Option<isize>,
        /// The one before which it ends. Default: the end.
        stop: Option<isize>,
        /// How far they are apart; negative: backwards.
        step: isize,
    },
    /// A new axis of size 1.
    NewAxis,
}

impl Index {
    /// All of an axis.
    pub const ALL: Index = Index::Slice { start: None, stop: None, step: 1 };
}

/// An operator of a graph: of two tensors, of a tensor and a constant, or of one tensor.
///
/// Masks end here, as in Keras.
#[derive(Clone, Debug)]
pub struct Operator(pub(super) Kind);

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Binary(Op),
    Constant(Op, Tensor, Side),
    Unary(Function),
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
}

impl Layer for Operator {
    fn class_name(&self) -> &str {
        match &self.0 {
            Kind::Binary(op) | Kind::Constant(op, ..) => op.name(),
            Kind::Unary(function) => function.name(),
        }
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let shape = match &self.0 {
            Kind::Binary(_) => match inputs {
                [a, b] => joint_shape(a, b)?,
                other => return Err(Error::Argument(format!("expected two inputs, got {}", other.len()))),
            },
            Kind::Constant(_, constant, _) => {
                let x = one_shape(inputs)?;
                let joint = joint_shape(x, &Shape::from(constant.shape()))?;
                ensure!(
                    joint.rank() == x.rank() && (constant.rank() < x.rank() || constant.batch() == 1),
                    Shape,
                    "a constant of shape {:?} does not fit samples of {x}; it must be the same for all samples",
                    constant.shape()
                );
                joint
            }
            Kind::Unary(function) => function.output_shape(one_shape(inputs)?)?,
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
        }
        .map(Values::from)
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let gradient = gradients.one()?;
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
        }
    }
}

impl Op {
    pub(super) fn name(self) -> &'static str {
        match self {
            Op::Add => "Add",
            Op::Subtract => "Subtract",
            Op::Multiply => "Multiply",
            Op::Divide => "TrueDivide",
            Op::Power => "Power",
            Op::Maximum => "Maximum",
            Op::Minimum => "Minimum",
            Op::Compare(asked) => Comparison::ALL.iter().find(|(_, known)| *known == asked).map_or("Equal", |(n, _)| n),
        }
    }

    fn forward(self, a: &Tensor, b: &Tensor, cx: &mut Forward<'_>) -> Result<Tensor> {
        let workspace = cx.workspace().clone();
        let y = match self {
            Op::Add => combine(a, b, &workspace, |a, b| a + b),
            Op::Subtract => combine(a, b, &workspace, |a, b| a - b),
            Op::Multiply => combine(a, b, &workspace, |a, b| a * b),
            Op::Divide => combine(a, b, &workspace, |a, b| a / b),
            Op::Power => match b.data() {
                [exponent] if *exponent == 2.0 => combine(a, b, &workspace, |a, _| a * a),
                _ => combine(a, b, &workspace, f32::powf),
            },
            Op::Maximum => combine(a, b, &workspace, |a, b| if a >= b || a.is_nan() { a } else { b }),
            Op::Minimum => combine(a, b, &workspace, |a, b| if a <= b || a.is_nan() { a } else { b }),
            Op::Compare(asked) => return combine(a, b, &workspace, |a, b| f32::from(u8::from(asked.holds(a, b)))),
        }?;
        if matches!(self, Op::Add | Op::Subtract) {
            cx.save_shape(a.shape());
            cx.save_shape(b.shape());
        } else {
            cx.save(a.clone());
            cx.save(b.clone());
        }
        Ok(y)
    }

    fn backward(self, g: Tensor, wanted: [bool; 2], cx: &mut Backward<'_>) -> Result<[Option<Tensor>; 2]> {
        let workspace = cx.workspace().clone();
        let w = &workspace;
        if matches!(self, Op::Compare(_)) {
            return Ok([None, None]);
        }
        if matches!(self, Op::Add | Op::Subtract) {
            let (dims_b, dims_a) = (cx.restore_shape()?, cx.restore_shape()?);
            let of_b = || match self {
                Op::Add => sum_to(g.clone(), &dims_b, w),
                _ => Ok(sum_to(g.clone(), &dims_b, w)?.map(|g| -g)),
            };
            let db = wanted[1].then(of_b).transpose()?;
            return Ok([wanted[0].then(|| sum_to(g, &dims_a, w)).transpose()?, db]);
        }
        let (b, a) = (cx.restore()?, cx.restore()?);
        let (b, a) = (&b, &a);
        let of_a = || match self {
            Op::Divide => combine(&g, b, w, |g, b| g / b),
            Op::Power => {
                let slope = combine(a, b, w, |a, b| b * if b == 2.0 { a } else { a.powf(b - 1.0) })?;
                combine(&g, &slope, w, |g, slope| g * slope)
            }
            Op::Maximum | Op::Minimum => combine(&g, &self.first(a, b, w)?, w, |g, first| g * first),
            _ => combine(&g, b, w, |g, b| g * b),
        };
        let of_b = || match self {
            Op::Divide => {
                let slope = combine(a, b, w, |a, b| -a / (b * b))?;
                combine(&g, &slope, w, |g, slope| g * slope)
            }
            Op::Power => {
                // Where the base is not positive Keras gives the exponent no gradient.
                let slope = combine(a, b, w, |a, b| if a > 0.0 { a.powf(b) * a.ln() } else { 0.0 })?;
                combine(&g, &slope, w, |g, slope| g * slope)
            }
            Op::Maximum | Op::Minimum => combine(&g, &self.first(a, b, w)?, w, |g, first| g * (1.0 - first)),
            _ => combine(&g, a, w, |g, a| g * a),
        };
        let da = wanted[0].then(|| sum_to(of_a()?, a.shape(), w)).transpose()?;
        let db = wanted[1].then(|| sum_to(of_b()?, b.shape(), w)).transpose()?;
        Ok([da, db])
    }

    /// 1 where the first operand is the result.
    fn first(self, a: &Tensor, b: &Tensor, workspace: &std::sync::Arc<crate::runtime::Workspace>) -> Result<Tensor> {
        let one_if = |yes: bool| f32::from(u8::from(yes));
        match self {
            Op::Minimum => combine(a, b, workspace, |a, b| one_if(a <= b)),
            _ => combine(a, b, workspace, |a, b| one_if(a >= b)),
        }
    }
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

    fn output_shape(&self, x: &Shape) -> Result<Shape> {
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

    fn forward(&self, x: Tensor, cx: &mut Forward<'_>) -> Result<Tensor> {
        match self {
            Function::Activation(activation) => super::activate(activation, x, cx),
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
        }
    }

    fn backward(&self, g: Tensor, cx: &mut Backward<'_>) -> Result<Tensor> {
        match self {
            Function::Activation(activation) => super::deactivate(activation, g, cx),
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
fn each(mut x: Tensor, f: impl Fn(f32) -> f32 + Copy + Sync) -> Tensor {
    threads::for_each_chunk(x.data_mut(), 1 << 16, |_, x| {
        vectorised(
            #[inline(always)]
            move || x.iter_mut().for_each(|x| *x = f(*x)),
        );
    });
    x
}

fn reduce(x: Tensor, how: Reduction, axes: &[isize], keepdims: bool, cx: &mut Forward<'_>) -> Result<Tensor> {
    let axes = inner_axes(axes, x.rank())?;
    let (ones, left) = reduced(x.shape(), &axes);
    let n: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
    cx.save_shape(x.shape());
    let y = match how {
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
fn spread(g: Tensor, how: Reduction, axes: &[isize], cx: &mut Backward<'_>) -> Result<Tensor> {
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
fn fold_axis(x: &Tensor, axis: usize, cx: &Forward<'_>, op: impl Fn(f32, f32) -> f32 + Copy + Sync) -> Tensor {
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
fn reduced(dims: &[usize], axes: &[usize]) -> (Dims, Dims) {
    let ones = dims.iter().enumerate().map(|(i, &size)| if axes.contains(&i) { 1 } else { size });
    let left = dims.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, &size)| size);
    (ones.collect(), left.collect())
}

/// The axes as indices, each once.
fn inner_axes(axes: &[isize], rank: usize) -> Result<Vec<usize>> {
    ensure!(!axes.is_empty(), Argument, "no axis is named");
    let mut resolved = axes.iter().map(|&axis| resolve_axis(axis, rank)).collect::<Result<Vec<_>>>()?;
    resolved.sort_unstable();
    resolved.dedup();
    ensure!(resolved[0] > 0, Argument, "axis {axes:?} holds the batch, 0; samples stay apart");
    Ok(resolved)
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

/// A place that may count from the end.
fn resolve_place(place: isize, size: usize) -> Result<usize> {
    let from_start = if place < 0 { place + size as isize } else { place };
    ensure!((0..size as isize).contains(&from_start), Argument, "index {place} is outside of an axis of {size} places");
    Ok(from_start.unsigned_abs())
}

impl Index {
    /// The first place of a slice, how many there are, and how far apart.
    fn range(&self, size: usize) -> Result<(usize, usize, isize)> {
        let Index::Slice { start, stop, step } = *self else { return Ok((0, size, 1)) };
        ensure!(step != 0, Argument, "the step of a slice is 0");
        let size = size as isize;
        // As Python does.
        let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
        let limit = |place: isize| (if place < 0 { place + size } else { place }).clamp(low, high);
        let start = start.map_or(if step > 0 { low } else { high }, limit);
        let stop = stop.map_or(if step > 0 { high } else { low }, limit);
        let span = if step > 0 { stop - start } else { start - stop };
        let count = if span > 0 { (span - 1) / step.abs() + 1 } else { 0 };
        Ok((start.max(0).unsigned_abs(), count.unsigned_abs(), step))
    }
}

/// What the indices take, the batch left out.
fn part<S: RawData>(mut array: ArrayBase<S, IxDyn>, indices: &[Index]) -> Result<ArrayBase<S, IxDyn>> {
    let mut axis = 1;
    for index in indices {
        match index {
            Index::NewAxis => array = array.insert_axis(Axis(axis)),
            Index::At(place) => {
                let place = resolve_place(*place, array.len_of(Axis(axis)))?;
                array = array.index_axis_move(Axis(axis), place);
                continue;
            }
            slice => {
                let (first, count, step) = slice.range(array.len_of(Axis(axis)))?;
                let last = first as isize + count.saturating_sub(1) as isize * step;
                let (low, high) = (last.min(first as isize), last.max(first as isize));
                let cut = if count == 0 { Cut::new(0, Some(0), 1) } else { Cut::new(low, Some(high + 1), step) };
                array.slice_axis_inplace(Axis(axis), cut);
            }
        }
        axis += 1;
    }
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::super::called::{Called, assert_values, tensor, wave};
    use super::*;
    use crate::testing::{GradientCheck, check_layer};

    fn positive(shape: &[usize], phase: f32) -> Tensor {
        wave(shape, phase, 1.0).map(|x| 1.5 + x)
    }

    fn apply(operator: Operator, x: &Tensor) -> Tensor {
        Called::new(operator).run(std::slice::from_ref(x)).unwrap().0.one().unwrap()
    }

    #[test]
    fn two_operands() {
        let (a, b) = (positive(&[2, 3, 2], 0.0), positive(&[2, 1, 2], 1.0));
        for op in [Op::Add, Op::Subtract, Op::Multiply, Op::Divide, Op::Power, Op::Maximum, Op::Minimum] {
            let f = |a: f32, b: f32| match op {
                Op::Add => a + b,
                Op::Subtract => a - b,
                Op::Multiply => a * b,
                Op::Divide => a / b,
                Op::Power => a.powf(b),
                Op::Maximum => a.max(b),
                Op::Minimum => a.min(b),
                Op::Compare(_) => unreachable!("compared below"),
            };
            let (y, _) = Called::new(Operator::binary(op)).run(&[a.clone(), b.clone()]).unwrap();
            let want: Vec<f32> = (0..12).map(|i| f(a.data()[i], b.data()[i / 6 * 2 + i % 2])).collect();
            assert_values(&y.one().unwrap(), &want);
            let right = apply(Operator::with_constant(op, 0.7, Side::Right), &a);
            assert_values(&right, &a.data().iter().map(|a| f(*a, 0.7)).collect::<Vec<_>>());
            let left = apply(Operator::with_constant(op, 0.7, Side::Left), &a);
            assert_values(&left, &a.data().iter().map(|a| f(0.7, *a)).collect::<Vec<_>>());

            GradientCheck::new().layer_at(Operator::binary(op), &[a.clone(), b.clone()]).unwrap();
            for side in [Side::Left, Side::Right] {
                GradientCheck::new()
                    .layer_at(Operator::with_constant(op, 0.7, side), std::slice::from_ref(&a))
                    .unwrap();
                let row = Operator::with_tensor(op, tensor(&[2], &[0.45, 1.9]), side);
                GradientCheck::new().layer_at(row, std::slice::from_ref(&a)).unwrap();
            }
        }
        assert_values(&apply(Operator::with_constant(Op::Power, 2.0, Side::Right), &a.clone().map(|a| -a)), &{
            a.data().iter().map(|a| a * a).collect::<Vec<_>>()
        });
        let error = Operator::with_tensor(Op::Add, Tensor::zeros([5, 2]), Side::Left);
        let error = error.output_shapes(&[Shape::batch_of([2])]).unwrap_err().to_string();
        assert!(error.contains("the same for all samples"), "{error}");
    }

    #[test]
    fn comparisons_give_zeros_and_ones() {
        let (a, b) = (tensor(&[1, 4], &[0.0, 1.0, 2.0, 0.0]), tensor(&[1, 4], &[0.0, 2.0, 1.0, 3.0]));
        for (name, asked) in Comparison::ALL {
            let (y, _) = Called::new(Operator::binary(Op::Compare(asked))).run(&[a.clone(), b.clone()]).unwrap();
            let want = match asked {
                Comparison::Equal => [1.0, 0.0, 0.0, 0.0],
                Comparison::NotEqual => [0.0, 1.0, 1.0, 1.0],
                Comparison::Greater => [0.0, 0.0, 1.0, 0.0],
                Comparison::GreaterEqual => [1.0, 0.0, 1.0, 0.0],
                Comparison::Less => [0.0, 1.0, 0.0, 1.0],
                Comparison::LessEqual => [1.0, 1.0, 0.0, 1.0],
                Comparison::And => [0.0, 1.0, 1.0, 0.0],
                Comparison::Or => [0.0, 1.0, 1.0, 1.0],
            };
            assert_eq!(y.one().unwrap().into_vec(), want, "{name}");
        }
        let x = tensor(&[2, 3], &[0.0, 1.0, 0.0, 2.0, -1.0, 1.0]);
        let over = |how| apply(Operator::unary(Function::Reduce { how, axes: vec![1], keepdims: false }), &x);
        assert_eq!(over(Reduction::Any).into_vec(), [1.0, 1.0]);
        assert_eq!(over(Reduction::All).into_vec(), [0.0, 1.0]);
    }

    #[test]
    fn one_operand() {
        let x = positive(&[2, 3, 4], 0.5);
        let reduce = |how, axes: &[isize], keepdims| Function::Reduce { how, axes: axes.to_vec(), keepdims };
        let smooth = Elementwise::ALL.into_iter().map(|(_, function)| Function::Each(function));
        for function in smooth.chain([
            Function::Activation("tanh".into()),
            Function::Activation("gelu".into()),
            Function::Negative,
            Function::Absolute,
            Function::Exp,
            Function::Log,
            Function::Sqrt,
            Function::Rsqrt,
            Function::Square,
            Function::Reciprocal,
            Function::Clip { min: 0.8, max: 2.1 },
            reduce(Reduction::Sum, &[1], false),
            reduce(Reduction::Mean, &[-1], true),
            reduce(Reduction::Mean, &[2, 1], false),
            reduce(Reduction::Max, &[1], false),
            reduce(Reduction::Max, &[1, 2], true),
            reduce(Reduction::Min, &[-1], false),
            Function::Transpose(vec![0, 2, 1]),
            Function::Reshape(vec![-1, 2]),
            Function::ExpandDims(vec![1]),
            Function::ExpandDims(vec![-1]),
            Function::GetItem(vec![Index::At(-1)]),
            Function::GetItem(vec![Index::ALL, Index::Slice { start: Some(1), stop: Some(-1), step: 1 }]),
            Function::GetItem(vec![Index::Slice { start: None, stop: None, step: -2 }, Index::NewAxis, Index::At(1)]),
        ]) {
            GradientCheck::new().layer_at(Operator::unary(function), std::slice::from_ref(&x)).unwrap();
        }
        check_layer(Operator::unary(Function::Absolute), &[[3, 4]]).unwrap();
        check_layer(Operator::unary(Function::Squeeze(vec![1])), &[[3, 1, 4]]).unwrap();

        assert_values(&apply(Operator::unary(Function::Log), &x), &x.data().iter().map(|x| x.ln()).collect::<Vec<_>>());
        let counting = Tensor::new([1, 2, 3], (0..6).map(|i| i as f32).collect()).unwrap();
        let reduced = |how, axes: &[isize]| apply(Operator::unary(reduce(how, axes, false)), &counting).into_vec();
        assert_eq!(reduced(Reduction::Sum, &[1]), [3.0, 5.0, 7.0]);
        assert_eq!(reduced(Reduction::Mean, &[2]), [1.0, 4.0]);
        assert_eq!(reduced(Reduction::Max, &[1]), [3.0, 4.0, 5.0]);
        assert_eq!(reduced(Reduction::Min, &[-1]), [0.0, 3.0]);
        assert_eq!(reduced(Reduction::Max, &[1, 2]), [5.0]);
        let item =
            |indices: &[Index]| apply(Operator::unary(Function::GetItem(indices.to_vec())), &counting).into_vec();
        assert_eq!(item(&[Index::At(1)]), [3.0, 4.0, 5.0]);
        assert_eq!(item(&[Index::ALL, Index::At(-1)]), [2.0, 5.0]);
        assert_eq!(
            item(&[Index::ALL, Index::Slice { start: None, stop: None, step: -1 }]),
            [2.0, 1.0, 0.0, 5.0, 4.0, 3.0]
        );
        assert_eq!(item(&[Index::ALL, Index::Slice { start: Some(-2), stop: Some(9), step: 1 }]), [1.0, 2.0, 4.0, 5.0]);
    }

    #[test]
    fn equal_extremes_share_the_gradient() {
        let workspace = crate::runtime::Workspace::new();
        let pass = crate::layer::Pass { training: true, seed: 1, step: 0, first_sample: 0, share: 1.0, workspace };
        let (mut saved, mut effects) = Default::default();
        let mut cx = Forward::of_model(&pass, &mut saved, &mut effects, true);
        let max = Operator::unary(Function::Reduce { how: Reduction::Max, axes: vec![1], keepdims: false });
        max.forward(tensor(&[1, 3], &[2.0, 1.0, 2.0]).into(), &mut cx).unwrap();
        let mut cx = Backward {
            saved: &mut saved,
            gradients: &mut crate::layer::GradientStore::new(&[]),
            workspace: &pass.workspace,
            share: 1.0,
            trainable: true,
            wanted: [true].into_iter().collect(),
            gates: Default::default(),
        };
        let dx = max.backward(tensor(&[1], &[3.0]).into(), &mut cx).unwrap().into_iter().next().unwrap();
        assert_eq!(dx.unwrap().data(), [1.5, 0.0, 1.5]);
    }

    #[test]
    fn mistakes_are_told() {
        let told = |function: Function, sample: &[usize]| {
            Operator::unary(function).output_shapes(&[Shape::batch_of(sample)]).unwrap_err().to_string()
        };
        let sum = |axes: &[isize]| Function::Reduce { how: Reduction::Sum, axes: axes.to_vec(), keepdims: false };
        assert!(told(sum(&[0]), &[3]).contains("the batch"));
        assert!(told(sum(&[]), &[3]).contains("no axis"));
        assert!(told(sum(&[3]), &[3]).contains("axis 3 does not exist"));
        assert!(told(Function::Reshape(vec![-1, 5]), &[3, 4]).contains("do not fit"));
        assert!(told(Function::Reshape(vec![-1, -1]), &[3, 4]).contains("one size of -1"));
        assert!(told(Function::Transpose(vec![1, 0]), &[3]).contains("stay first"));
        assert!(told(Function::Squeeze(vec![1]), &[3]).contains("not 1"));
        assert!(told(Function::GetItem(vec![Index::At(3)]), &[3]).contains("outside"));
        assert!(told(Function::GetItem(vec![Index::ALL, Index::ALL]), &[3]).contains("more than the axes"));
    }
}
