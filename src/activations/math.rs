//! Elementary functions in plain `f32` arithmetic, without branches, so that loops over them
//! become SIMD code. All of them pass NaN on.
//!
//! Nothing here uses `mul_add`: without the FMA instructions it is a slow library call.

use std::f32::consts::LOG2_E;

/// Adding this rounds to an integer, whose bits are then the lowest ones of the sum.
const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23

/// ln 2 in two parts; the first has few bits, so that its products with small integers are exact.
const LN_2_HIGH: f32 = 355.0 / 512.0;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Splits `x` (within ±150 ln 2) into `n ln 2 + r` with `r` around zero; returns `n` and `e^r - 1`.
#[inline(always)]
fn reduce(x: f32) -> (i32, f32) {
    let t = x * LOG2_E + ROUND;
    let n = t - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // (e^r - 1 - r) / r^2, fitted on |r| < 0.3475 to 1e-9 of e^r - 1.
    let q = polynomial(r, [0.5, 0.166_666_66, 0.041_666_36, 0.008_333_39, 0.001_394_089_3, 1.984_589_8e-4]);
    ((t.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32), r + r * r * q)
}

/// `2^n` for a normal result.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// `c[0] + c[1] x + c[2] x² + …`
#[inline(always)]
fn polynomial<const N: usize>(x: f32, c: [f32; N]) -> f32 {
    c[..N - 1].iter().rev().fold(c[N - 1], |sum, c| sum * x + c)
}

/// `x` within `low..=high`.
#[inline(always)]
fn limit(x: f32, low: f32, high: f32) -> f32 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

/// `e^x`, to 1 ulp.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Beyond these the result is 0 or infinite.
    let (n, e) = reduce(limit(x, -104.0, 89.0));
    // In two steps, since 2^n itself may be too large or too small for an f32.
    let half = n >> 1;
    (1.0 + e) * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// `e^x - 1` for `x <= 0`, to 2 ulp also near zero.
#[inline(always)]
pub fn exp_m1(x: f32) -> f32 {
    let (n, e) = reduce(limit(x, -25.0, 0.0));
    let scale = power_of_two(n);
    scale * e + (scale - 1.0)
}

/// The square root of `x >= 0`, to 3 ulp; of a subnormal number it may be 0. Processors take roots one after another,
/// these steps of Newton's method side by side.
#[inline(always)]
pub fn sqrt(x: f32) -> f32 {
    let half = 0.5 * x;
    // 1 / sqrt(x), from the exponent and the mantissa's place between powers of two.
    let mut y = f32::from_bits(0x5f37_59df_u32.wrapping_sub(x.to_bits() >> 1));
    for _ in 0..3 {
        y *= 1.5 - half * y * y;
    }
    // Infinity is its own root; NaN stays.
    if x > f32::MAX { x } else { x * y }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    let e = exp(-x.abs());
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// The hyperbolic tangent.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let e = exp_m1(-2.0 * x.abs());
    (-e / (2.0 + e)).copysign(x)
}

/// `(atanh(s) / s - 1) / s²` for `|s| <= 1/3` from `s²`, fitted to 4e-10 of `atanh(s) / s`.
#[inline(always)]
fn atanh_tail(square: f32) -> f32 {
    polynomial(square, [0.333_333_34, 0.199_998_2, 0.142_973_23, 0.108_391_33, 0.116_702_38])
}

/// The natural logarithm of a normal number above 0, to 2 ulp.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    const ROOT_HALF: i32 = 0x3f35_04f3;
    let bits = x.to_bits() as i32;
    let n = bits.wrapping_sub(ROOT_HALF) >> 23;
    // x = 2^n m, with m from √½ to √2, and ln m = 2 atanh((m - 1) / (m + 1)).
    let m = f32::from_bits(bits.wrapping_sub(n << 23) as u32);
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let n = n as f32;
    // The last term passes NaN on, whose bits are no number.
    n * LN_2_HIGH + (n * LN_2_LOW + (2.0 * s + 2.0 * s * square * atanh_tail(square))) + 0.0 * x
}

/// `ln(1 + x)` for `x` from 0 to 1, to 2 ulp also near zero.
#[inline(always)]
pub fn ln_1p(x: f32) -> f32 {
    // 2 atanh(s), whose first term 2 s is x - s x: so what rounding takes from s counts little.
    let s = x / (2.0 + x);
    let square = s * s;
    x - s * (x - 2.0 * square * atanh_tail(square))
}

/// `ln(1 + e^x)`.
#[inline(always)]
pub fn softplus(x: f32) -> f32 {
    (if x > 0.0 { x } else { 0.0 }) + ln_1p(exp(-x.abs()))
}

/// `tanh(ln(1 + e^x))`, as a quotient of polynomials in `e^-|x|`.
#[inline(always)]
pub fn tanh_softplus(x: f32) -> f32 {
    let e = exp(-x.abs());
    let n = if x < 0.0 { e * (e + 2.0) } else { 1.0 + 2.0 * e };
    let d = if x < 0.0 { 2.0 } else { 2.0 * e * e };
    n / (n + d)
}

#[rustfmt::skip]
const TAIL: [f32; 10] = [
    0.11968669, 0.11957181, 0.11023547, 0.07838944, 0.09615744,
    -0.079424635, 0.19178593, -0.22821465, 0.11243606, -0.020623552,
];

/// The distribution function of the standard normal distribution, `(1 + erf(x / √2)) / 2`, and its
/// density. The lower tail keeps its relative accuracy.
#[inline(always)]
pub fn normal(x: f32) -> (f32, f32) {
    let a = limit(x.abs(), 0.0, 14.5);
    // e^(-a²/2). What rounding takes from a² would matter in the tail, and is put back.
    let square = a * a;
    let high = f32::from_bits(a.to_bits() & 0xffff_f000);
    let low = a - high;
    let lost = ((high * high - square) + 2.0 * high * low) + low * low;
    let e = exp(-0.5 * square) * (1.0 - 0.5 * lost);
    // The tail is e^(-a²/2) times a smooth function of t, fitted to 4e-9.
    let t = 1.0 / (1.0 + 0.3 * a);
    let p = polynomial(t, TAIL);
    let tail = e * t * p;
    const DENSITY_AT_ZERO: f32 = 0.398_942_3;
    (if x < 0.0 { tail } else { 1.0 - tail }, e * DENSITY_AT_ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distance of `got` from `want` in units of the last place of an `f32` of that size.
    fn ulps(got: f32, want: f64) -> f64 {
        let size = (want.abs() as f32).max(f32::MIN_POSITIVE);
        (f64::from(got) - want).abs() / f64::from(f32::from_bits(size.to_bits() + 1) - size)
    }

    /// The largest error over a fine sieve of all floats whose absolute value is at most `limit`.
    fn worst(limit: f32, range: impl Fn(f32) -> bool, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let samples = (0..=limit.to_bits()).step_by(1009).map(f32::from_bits).flat_map(|x| [x, -x]);
        samples.filter(|&x| range(x)).map(|x| ulps(f(x), exact(f64::from(x)))).fold(0.0, f64::max)
    }

    #[test]
    fn close_to_exact_over_the_whole_range() {
        let all = |_| true;
        let stable_sigmoid = |x: f64| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) };
        for (name, limit, got) in [
            ("exp", 1.0, worst(88.72, all, exp, f64::exp)),
            ("exp_m1", 2.0, worst(1e4, |x| x <= 0.0, exp_m1, f64::exp_m1)),
            ("sigmoid", 2.5, worst(100.0, all, sigmoid, stable_sigmoid)),
            ("tanh", 3.0, worst(100.0, all, tanh, f64::tanh)),
            ("ln", 2.0, worst(f32::MAX, |x| x >= f32::MIN_POSITIVE, ln, f64::ln)),
            ("ln_1p", 2.0, worst(1.0, |x| x >= 0.0, ln_1p, f64::ln_1p)),
            ("softplus", 2.5, worst(100.0, all, softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p())),
            ("sqrt", 3.0, worst(f32::MAX, |x| x >= f32::MIN_POSITIVE, sqrt, f64::sqrt)),
            ("tanh_softplus", 3.5, worst(100.0, all, tanh_softplus, |x| x.exp().ln_1p().tanh())),
        ] {
            assert!(got <= limit, "{name} is off by {got} ulp");
        }
    }

    #[test]
    fn beyond_the_range() {
        assert_eq!([exp(89.0), exp(1e4), exp(f32::INFINITY)], [f32::INFINITY; 3]);
        assert_eq!([exp(-104.0), exp(-1e4), exp(f32::NEG_INFINITY)], [0.0; 3]);
        assert_eq!(exp(-100.0), (-100f64).exp() as f32, "a subnormal number");
        assert_eq!([sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY)], [1.0, 0.0]);
        assert_eq!([tanh(f32::INFINITY), tanh(f32::NEG_INFINITY)], [1.0, -1.0]);
        assert_eq!([exp_m1(f32::NEG_INFINITY), exp_m1(-0.0), tanh(-0.0)], [-1.0, 0.0, 0.0]);
        assert_eq!([normal(f32::INFINITY), normal(f32::NEG_INFINITY)], [(1.0, 0.0), (0.0, 0.0)]);
        assert_eq!([sqrt(0.0), sqrt(f32::INFINITY)], [0.0, f32::INFINITY]);
        for f in
            [sqrt, exp, ln, ln_1p, exp_m1, sigmoid, tanh, softplus, tanh_softplus, |x| normal(x).0, |x| normal(x).1]
        {
            assert!(f(f32::NAN).is_nan());
        }
    }

    #[test]
    fn normal_distribution() {
        // Python: 0.5 * math.erfc(-x / math.sqrt(2)), for x as an f32.
        for (x, cdf) in [
            (-13.0, 6.117164399549921e-39),
            (-12.25, 8.399796063633579e-35),
            (-9.5, 1.0494515075362727e-21),
            (-7.7, 6.8033216957885524e-15),
            (-5.3, 5.790127991099066e-08),
            (-5.0, 2.866515718791946e-07),
            (-4.1, 2.065751542520344e-05),
            (-3.3, 0.00048342422452227126),
            (-2.6, 0.004661189319091802),
            (-2.0, 0.02275013194817922),
            (-1.5, 0.06680720126885809),
            (-1.1, 0.1356660557523821),
            (-0.7, 0.24196365594543),
            (-0.4, 0.3445782561946148),
            (-0.1, 0.4601721621314656),
            (-0.001, 0.4996010577671402),
            (-1e-08, 0.4999999960105772),
            (0.0, 0.5),
            (1e-05, 0.5000039894227032),
            (0.01, 0.5039893562254655),
            (0.2, 0.5792597106045011),
            (0.45, 0.6736447754142636),
            (0.8, 0.7881446048699957),
            (1.2, 0.8849303390378042),
            (1.7, 0.9554345417260662),
            (2.3, 0.9892758886275856),
            (3.0, 0.9986501019683699),
            (3.9, 0.9999519036749277),
            (4.5, 0.9999966023268753),
            (5.5, 0.9999999810104375),
            (8.0, 0.9999999999999993),
            (14.0, 1.0),
            (10000.0, 1.0),
        ] {
            let (got, density) = normal(x);
            assert!(ulps(got, cdf) < 4.0, "{x}: {got} is not {cdf}, {} ulp", ulps(got, cdf));
            let x = f64::from(x);
            let exact = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            assert!(ulps(density, exact) < 4.0, "{x}: {density} is not {exact}");
        }
    }
}
