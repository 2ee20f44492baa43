//! Two operands, element by element.

use super::super::broadcast::{combine, sum_to};
use crate::error::Result;
use crate::layer::{Backward, Forward};
use crate::runtime::Workspace;
use crate::tensor::Tensor;
use std::sync::Arc;

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
    /// The whole number below `a / b`; no gradient passes.
    FloorDivide,
    /// What `a / b` leaves, with the sign of `b`.
    Mod,
    /// The angle of the point `(b, a)`.
    Arctan2,
    /// `ln(e^a + e^b)`
    Logaddexp,
    /// `sqrt(a² + b²)`
    Hypot,
    /// `a / b`, 0 where `b` is 0.
    DivideNoNan,
    /// What `a / b` leaves, with the sign of `a`.
    Fmod,
    /// The larger one, the other where one is no number; of equal ones the first takes the gradient.
    Fmax,
    /// The smaller one, the other where one is no number; of equal ones the first takes the gradient.
    Fmin,
    /// `log2(2^a + 2^b)`
    Logaddexp2,
    /// `a * 2^b`
    Ldexp,
    /// 0 where `a` is negative, `b` where it is 0, else 1.
    Heaviside,
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
    /// One of them is 0, the other is not (Keras: `LogicalXor`).
    Xor,
}

impl Comparison {
    /// Each of them, under Keras' name.
    pub(super) const ALL: [(&'static str, Comparison); 9] = [
        ("Equal", Comparison::Equal),
        ("NotEqual", Comparison::NotEqual),
        ("Greater", Comparison::Greater),
        ("GreaterEqual", Comparison::GreaterEqual),
        ("Less", Comparison::Less),
        ("LessEqual", Comparison::LessEqual),
        ("LogicalAnd", Comparison::And),
        ("LogicalOr", Comparison::Or),
        ("LogicalXor", Comparison::Xor),
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
            Comparison::Xor => (a != 0.0) != (b != 0.0),
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
            Op::FloorDivide => "FloorDivide",
            Op::Mod => "Mod",
            Op::Arctan2 => "Arctan2",
            Op::Logaddexp => "Logaddexp",
            Op::Hypot => "Hypot",
            Op::DivideNoNan => "DivideNoNan",
            Op::Fmod => "Fmod",
            Op::Fmax => "Fmax",
            Op::Fmin => "Fmin",
            Op::Logaddexp2 => "Logaddexp2",
            Op::Ldexp => "Ldexp",
            Op::Heaviside => "Heaviside",
            Op::Compare(asked) => Comparison::ALL.iter().find(|(_, known)| *known == asked).map_or("Equal", |(n, _)| n),
        }
    }

    pub(super) fn forward(self, a: &Tensor, b: &Tensor, cx: &mut Forward<'_>) -> Result<Tensor> {
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
            Op::FloorDivide => return combine(a, b, &workspace, |a, b| (a / b).floor()),
            Op::Mod => combine(a, b, &workspace, |a, b| a - b * (a / b).floor()),
            Op::Arctan2 => combine(a, b, &workspace, f32::atan2),
            Op::Logaddexp => combine(a, b, &workspace, |a, b| {
                if a == b { a + std::f32::consts::LN_2 } else { a.max(b) + (-(a - b).abs()).exp().ln_1p() }
            }),
            Op::Hypot => combine(a, b, &workspace, f32::hypot),
            Op::DivideNoNan => combine(a, b, &workspace, |a, b| if b == 0.0 { 0.0 } else { a / b }),
            Op::Fmod => combine(a, b, &workspace, |a, b| a % b),
            Op::Fmax => combine(a, b, &workspace, f32::max),
            Op::Fmin => combine(a, b, &workspace, f32::min),
            Op::Logaddexp2 => combine(a, b, &workspace, |a, b| {
                if a == b { a + 1.0 } else { a.max(b) + (-(a - b).abs()).exp2().ln_1p() * std::f32::consts::LOG2_E }
            }),
            Op::Ldexp => combine(a, b, &workspace, |a, b| a * b.exp2()),
            Op::Heaviside => combine(a, b, &workspace, |a, b| match a {
                0.0 => b,
                a if a.is_nan() => a,
                a => f32::from(u8::from(a > 0.0)),
            }),
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

    pub(super) fn backward(self, g: Tensor, wanted: [bool; 2], cx: &mut Backward<'_>) -> Result<[Option<Tensor>; 2]> {
        let workspace = cx.workspace().clone();
        let w = &workspace;
        if matches!(self, Op::Compare(_) | Op::FloorDivide) {
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
        // The derivative at each place, where it is short to say.
        let slope_a = match self {
            Op::Mod => Some(combine(a, b, w, |_, _| 1.0)),
            Op::Arctan2 => Some(combine(a, b, w, |a, b| b / (a * a + b * b))),
            Op::Logaddexp => Some(combine(a, b, w, |a, b| 1.0 / (1.0 + (b - a).exp()))),
            Op::Hypot => Some(combine(a, b, w, |a, b| a / a.hypot(b))),
            Op::DivideNoNan => Some(combine(a, b, w, |_, b| if b == 0.0 { 0.0 } else { 1.0 / b })),
            Op::Fmod => Some(combine(a, b, w, |_, _| 1.0)),
            Op::Fmax => Some(combine(a, b, w, |a, b| if a >= b || b.is_nan() { 1.0 } else { 0.0 })),
            Op::Fmin => Some(combine(a, b, w, |a, b| if a <= b || b.is_nan() { 1.0 } else { 0.0 })),
            Op::Logaddexp2 => Some(combine(a, b, w, |a, b| 1.0 / (1.0 + (b - a).exp2()))),
            Op::Ldexp => Some(combine(a, b, w, |_, b| b.exp2())),
            Op::Heaviside => Some(combine(a, b, w, |_, _| 0.0)),
            _ => None,
        };
        if let Some(slope_a) = slope_a {
            let slope_b = || match self {
                Op::Mod => combine(a, b, w, |a, b| -(a / b).floor()),
                Op::Arctan2 => combine(a, b, w, |a, b| -a / (a * a + b * b)),
                Op::Logaddexp => combine(a, b, w, |a, b| 1.0 / (1.0 + (a - b).exp())),
                Op::Hypot => combine(a, b, w, |a, b| b / a.hypot(b)),
                Op::Fmod => combine(a, b, w, |a, b| -(a / b).trunc()),
                Op::Fmax => combine(a, b, w, |a, b| if a >= b || b.is_nan() { 0.0 } else { 1.0 }),
                Op::Fmin => combine(a, b, w, |a, b| if a <= b || b.is_nan() { 0.0 } else { 1.0 }),
                Op::Logaddexp2 => combine(a, b, w, |a, b| 1.0 / (1.0 + (a - b).exp2())),
                Op::Ldexp => combine(a, b, w, |a, b| a * b.exp2() * std::f32::consts::LN_2),
                Op::Heaviside => combine(a, b, w, |a, _| f32::from(u8::from(a == 0.0))),
                _ => combine(a, b, w, |a, b| if b == 0.0 { 0.0 } else { -a / (b * b) }),
            };
            let times = |slope: Tensor, dims: &[usize]| sum_to(combine(&g, &slope, w, |g, slope| g * slope)?, dims, w);
            let da = wanted[0].then(|| times(slope_a?, a.shape())).transpose()?;
            return Ok([da, wanted[1].then(|| times(slope_b()?, b.shape())).transpose()?]);
        }
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
    fn first(self, a: &Tensor, b: &Tensor, workspace: &Arc<Workspace>) -> Result<Tensor> {
        let one_if = |yes: bool| f32::from(u8::from(yes));
        match self {
            Op::Minimum => combine(a, b, workspace, |a, b| one_if(a <= b)),
            _ => combine(a, b, workspace, |a, b| one_if(a >= b)),
        }
    }
}
