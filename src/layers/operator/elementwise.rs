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
    /// 1 where it is infinite and positive, else 0.
    Isposinf,
    /// 1 where it is infinite and negative, else 0.
    Isneginf,
    /// 1 where the sign is minus, that of -0 too, else 0.
    Signbit,
    /// The cube root.
    Cbrt,
    /// Degrees as radians.
    Deg2rad,
    /// Radians as degrees.
    Rad2deg,
    /// `sin(πx) / (πx)`, 1 at 0.
    Sinc,
    /// `1 - erf(x)`
    Erfc,
    /// The inverse of the error function.
    Erfinv,
}

impl Elementwise {
    /// Each of them, under Keras' name.
    pub(super) const ALL: [(&'static str, Elementwise); 38] = [
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
        ("Isposinf", Elementwise::Isposinf),
        ("Isneginf", Elementwise::Isneginf),
        ("Signbit", Elementwise::Signbit),
        ("Cbrt", Elementwise::Cbrt),
        ("Deg2rad", Elementwise::Deg2rad),
        ("Rad2deg", Elementwise::Rad2deg),
        ("Sinc", Elementwise::Sinc),
        ("Erfc", Elementwise::Erfc),
        ("Erfinv", Elementwise::Erfinv),
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
            Elementwise::Isposinf => f32::from(u8::from(x == f32::INFINITY)),
            Elementwise::Isneginf => f32::from(u8::from(x == f32::NEG_INFINITY)),
            Elementwise::Signbit => f32::from(u8::from(x.is_sign_negative())),
            Elementwise::Cbrt => x.cbrt(),
            Elementwise::Deg2rad => x.to_radians(),
            Elementwise::Rad2deg => x.to_degrees(),
            Elementwise::Sinc if x == 0.0 => 1.0,
            Elementwise::Sinc => {
                let angle = std::f64::consts::PI * f64::from(x);
                (angle.sin() / angle) as f32
            }
            // The share of the normal distribution above x, which does not cancel.
            Elementwise::Erfc => 2.0 * normal(-x * std::f32::consts::SQRT_2).0,
            Elementwise::Erfinv => erfinv(x),
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
            Elementwise::Cbrt => 1.0 / (3.0 * x.cbrt() * x.cbrt()),
            Elementwise::Deg2rad => 1f32.to_radians(),
            Elementwise::Rad2deg => 1f32.to_degrees(),
            Elementwise::Sinc if x == 0.0 => 0.0,
            Elementwise::Sinc => {
                let angle = std::f64::consts::PI * f64::from(x);
                ((angle.cos() - angle.sin() / angle) / f64::from(x)) as f32
            }
            Elementwise::Erfc => -std::f32::consts::FRAC_2_SQRT_PI * (-x * x).exp(),
            Elementwise::Erfinv => {
                let y = erfinv(x);
                (y * y).exp() / std::f32::consts::FRAC_2_SQRT_PI
            }
            _ => 0.0,
        }
    }
}

/// The inverse of the error function (Giles 2012, in single precision: relative errors up to 4e-7).
fn erfinv(x: f32) -> f32 {
    let square = f64::from(x) * f64::from(x);
    let w = -(-square).ln_1p();
    let polynomial = |w: f64, factors: &[f64]| factors.iter().fold(0.0, |sum, factor| sum * w + factor);
    let factor = if w < 5.0 {
        let factors = [
            2.81022636e-08,
            3.43273939e-07,
            -3.5233877e-06,
            -4.39150654e-06,
            0.00021858087,
            -0.00125372503,
            -0.00417768164,
            0.246640727,
            1.50140941,
        ];
        polynomial(w - 2.5, &factors)
    } else if w.is_infinite() {
        f64::INFINITY
    } else {
        let factors = [
            -0.000200214257,
            0.000100950558,
            0.00134934322,
            -0.00367342844,
            0.00573950773,
            -0.0076224613,
            0.00943887047,
            1.00167406,
            2.83297682,
        ];
        polynomial(w.sqrt() - 3.0, &factors)
    };
    (factor * f64::from(x)) as f32
}
