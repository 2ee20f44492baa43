//! A function of each value alone.

use crate::activations::math::normal;

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
    /// The inverse of the sine.
    Arcsin,
    /// The inverse of the cosine.
    Arccos,
    /// The inverse of the hyperbolic sine.
    Arcsinh,
    /// The inverse of the hyperbolic cosine.
    Arccosh,
    /// The inverse of the hyperbolic tangent.
    Arctanh,
    /// The error function.
    Erf,
    /// `2^x`
    Exp2,
    /// The whole number before the point.
    Trunc,
    /// `x`, whose gradient ends here.
    StopGradient,
    /// 1 where it is no number, else 0.
    Isnan,
    /// 1 where it is infinite, else 0.
    Isinf,
    /// 1 where it is neither, else 0.
    Isfinite,
}

impl Elementwise {
    /// Each of them, under Keras' name.
    pub(super) const ALL: [(&'static str, Elementwise); 29] = [
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
        ("Arcsin", Elementwise::Arcsin),
        ("Arccos", Elementwise::Arccos),
        ("Arcsinh", Elementwise::Arcsinh),
        ("Arccosh", Elementwise::Arccosh),
        ("Arctanh", Elementwise::Arctanh),
        ("Erf", Elementwise::Erf),
        ("Exp2", Elementwise::Exp2),
        ("Trunc", Elementwise::Trunc),
        ("StopGradient", Elementwise::StopGradient),
        ("Isnan", Elementwise::Isnan),
        ("Isinf", Elementwise::Isinf),
        ("Isfinite", Elementwise::Isfinite),
    ];

    pub(super) fn value(self, x: f32) -> f32 {
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
            Elementwise::Arcsin => x.asin(),
            Elementwise::Arccos => x.acos(),
            Elementwise::Arcsinh => x.asinh(),
            Elementwise::Arccosh => x.acosh(),
            Elementwise::Arctanh => x.atanh(),
            Elementwise::Erf => 2.0 * normal(x * std::f32::consts::SQRT_2).0 - 1.0,
            Elementwise::Exp2 => x.exp2(),
            Elementwise::Trunc => x.trunc(),
            Elementwise::StopGradient => x,
            Elementwise::Isnan => f32::from(u8::from(x.is_nan())),
            Elementwise::Isinf => f32::from(u8::from(x.is_infinite())),
            Elementwise::Isfinite => f32::from(u8::from(x.is_finite())),
        }
    }

    /// The derivative: 0 for those that have steps.
    pub(super) fn slope(self, x: f32) -> f32 {
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
            Elementwise::Arcsin => 1.0 / (1.0 - x * x).sqrt(),
            Elementwise::Arccos => -1.0 / (1.0 - x * x).sqrt(),
            Elementwise::Arcsinh => 1.0 / (1.0 + x * x).sqrt(),
            Elementwise::Arccosh => 1.0 / (x * x - 1.0).sqrt(),
            Elementwise::Arctanh => 1.0 / (1.0 - x * x),
            Elementwise::Erf => std::f32::consts::FRAC_2_SQRT_PI * (-x * x).exp(),
            Elementwise::Exp2 => std::f32::consts::LN_2 * x.exp2(),
            _ => 0.0,
        }
    }
}
