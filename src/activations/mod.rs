//! Functions between layers: relu, softmax, ….
//!
//! [`Activation`] is all of Keras' named activations, with their derivatives. Wherever a layer
//! takes an activation, a name and a value both do: `"relu"`, `Activation::leaky_relu(0.1)`.

#[cfg(test)]
mod golden;
pub(crate) mod math;
mod names;
mod rows;
#[cfg(test)]
mod tests;

use crate::config::check_non_negative;
use crate::error::{Error, Result, ensure};
use crate::kernels::vectorised;
use crate::runtime::threads;
use crate::tensor::Tensor;
use math::{exp, exp_m1, normal, sigmoid, softplus, tanh, tanh_softplus};

/// An activation function. All work value by value, but for the three that work along the last
/// axis: softmax, log_softmax and sparsemax.
///
/// Formulas and defaults are Keras'; where Keras' own arithmetic would overflow or cancel, ours
/// keeps to the formula. NaN stays NaN (but in the shrinking functions and `Threshold`, which
/// compare, as in Keras). Keras' `glu` is not here, since it alone
/// changes the shape: it is an operator, [`Along::Glu`](crate::layers::operator::Along::Glu).
///
/// ```
/// use cornu::{activations::Activation, Tensor};
/// let mut x = Tensor::new([1, 3], vec![-1.0, 0.0, 2.0])?;
/// Activation::Relu.apply(&mut x)?;
/// assert_eq!(x.data(), [0.0, 0.0, 2.0]);
/// assert_eq!("swish".parse::<Activation>()?, Activation::Silu);
/// assert!("rleu".parse::<Activation>().is_err());
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Activation {
    /// `x`
    #[default]
    Linear,
    /// `max(x, 0)`
    Relu,
    /// The arguments of Keras' `relu`: `min(x, max_value)` above `threshold`,
    /// `negative_slope * (x - threshold)` up to it. All arguments are at least 0.
    ReluWith {
        /// The slope up to the threshold; Keras' default is 0.
        negative_slope: f64,
        /// The largest output; Keras' default is none.
        max_value: Option<f64>,
        /// Where the function starts; Keras' default is 0.
        threshold: f64,
    },
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `x` if positive, else `negative_slope * x`; `"leaky_relu"` has 0.2.
    LeakyRelu {
        /// The slope of the negative side, at least 0.
        negative_slope: f64,
    },
    /// `x` if positive, else `alpha * (e^x - 1)`; `"elu"` has 1.
    Elu {
        /// The limit of the negative side, at least 0.
        alpha: f64,
    },
    /// `scale * elu(x, 1.67326)` with a scale of 1.05070 (Klambauer et al. 2017).
    Selu,
    /// `max(x, 0) + alpha * (e^(min(x, 0) / alpha) - 1)`; `"celu"` has 1.
    Celu {
        /// The limit of the negative side, above 0.
        alpha: f64,
    },
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `min(max(x / 6 + 0.5, 0), 1)`
    HardSigmoid,
    /// `max(0, min(1, (x + 1) / 2))`
    SparseSigmoid,
    /// `ln(sigmoid(x))`
    LogSigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `max(-1, min(1, x))`
    HardTanh,
    /// `x - tanh(x)`
    TanhShrink,
    /// `e^x / sum(e^x)` along the last axis.
    Softmax,
    /// `x - ln(sum(e^x))` along the last axis.
    LogSoftmax,
    /// `max(x - t, 0)` with a threshold `t` for each row along the last axis, as Keras 3.15 computes
    /// it, so that models of Keras give the same. In the function of that name (Martins & Astudillo
    /// 2016) `t` makes the row sum to 1: of its `k` largest values, those that stay above 0, `k t` is
    /// the sum less 1. Keras adds up not these values but all their running sums
    /// (keras-team/keras#23425), so its rows sum to 1 only where one value stays.
    Sparsemax,
    /// `ln(1 + e^x)`
    Softplus,
    /// `(x + sqrt(x^2 + b)) / 2`; `"squareplus"` has 4.
    Squareplus {
        /// How smooth the bend is, at least 0.
        b: f64,
    },
    /// 0 up to -1, `(x + 1)^2 / 4` up to 1, then `x`.
    SparsePlus,
    /// `x / (1 + |x|)`
    Softsign,
    /// `e^x`
    Exponential,
    /// `x` times the normal distribution function of `x`; `"gelu"` is the exact one.
    Gelu {
        /// Whether to use `x / 2 * (1 + tanh(sqrt(2 / π) * (x + 0.044715 x^3)))` instead.
        approximate: bool,
    },
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `x * hard_sigmoid(x)`, also called hard_swish.
    HardSilu,
    /// `x * tanh(softplus(x))`
    Mish,
    /// 0 within the threshold, else `x`; `"hard_shrink"` has 0.5.
    HardShrink {
        /// Half the width of the gap, at least 0.
        threshold: f64,
    },
    /// 0 within the threshold, else `x` moved towards 0 by it; `"soft_shrink"` has 0.5.
    SoftShrink {
        /// Half the width of the gap, at least 0.
        threshold: f64,
    },
    /// `x` above the threshold, else the default value. Has no name alone: Keras has no defaults.
    Threshold {
        /// What `x` must exceed.
        threshold: f64,
        /// What replaces it.
        default_value: f64,
    },
    /// A name that nothing has, kept until [`check`](Activation::check).
    #[doc(hidden)]
    Unknown(String),
}

use Activation as A;

const SELU_SCALE: f32 = 1.050_701;
const SELU_ALPHA: f32 = 1.673_263_2;

impl Activation {
    /// The activation of this name. A name that nothing has is reported by
    /// [`check`](Self::check); `name.parse()` reports it at once.
    pub fn new(name: &str) -> Self {
        name.into()
    }

    /// `max(x, 0)`
    pub fn relu() -> Self {
        A::Relu
    }

    /// `x` if positive, else `negative_slope * x`.
    pub fn leaky_relu(negative_slope: f64) -> Self {
        A::LeakyRelu { negative_slope }
    }

    /// `x` if positive, else `alpha * (e^x - 1)`.
    pub fn elu(alpha: f64) -> Self {
        A::Elu { alpha }
    }

    /// `1 / (1 + e^-x)`
    pub fn sigmoid() -> Self {
        A::Sigmoid
    }

    /// The hyperbolic tangent.
    pub fn tanh() -> Self {
        A::Tanh
    }

    /// `e^x / sum(e^x)` along the last axis.
    pub fn softmax() -> Self {
        A::Softmax
    }

    /// `x` times the normal distribution function of `x`, exactly.
    pub fn gelu() -> Self {
        A::Gelu { approximate: false }
    }

    /// `x * sigmoid(x)`
    pub fn silu() -> Self {
        A::Silu
    }

    /// Whether the name is known and the arguments make sense.
    ///
    /// # Errors
    /// An unknown name, with the nearest known ones; an argument out of its range.
    pub fn check(&self) -> Result<()> {
        match *self {
            A::ReluWith { negative_slope, max_value, threshold } => {
                check_non_negative("negative_slope of relu", negative_slope)?;
                check_non_negative("max_value of relu", max_value.unwrap_or(0.0))?;
                check_non_negative("threshold of relu", threshold)
            }
            A::LeakyRelu { negative_slope } => check_non_negative("negative_slope of leaky_relu", negative_slope),
            A::Elu { alpha } => check_non_negative("alpha of elu", alpha),
            A::Celu { alpha } => {
                // As f32, since the function divides by that.
                let usable = alpha > 0.0 && (alpha as f32).is_normal();
                ensure!(usable, Argument, "alpha of celu is {alpha}; it must be a number above 0");
                Ok(())
            }
            A::Squareplus { b } => check_non_negative("b of squareplus", b),
            A::HardShrink { threshold } => check_non_negative("threshold of hard_shrink", threshold),
            A::SoftShrink { threshold } => check_non_negative("threshold of soft_shrink", threshold),
            A::Threshold { threshold, default_value } => {
                let finite = threshold.is_finite() && default_value.is_finite();
                ensure!(finite, Argument, "threshold is ({threshold}, {default_value}); both must be finite");
                Ok(())
            }
            A::Unknown(ref name) => Err(names::unknown(name)),
            _ => Ok(()),
        }
    }

    /// Applies the function in place.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    pub fn apply(&self, x: &mut Tensor) -> Result<()> {
        self.check()?;
        let last = x.last();
        if *self != A::Linear {
            threads::for_each_chunk(x.data_mut(), chunk(last), |_, x| self.apply_slice(x, last));
        }
        Ok(())
    }

    /// Applies the function in place to whole rows of `last` values; an activation that does not
    /// pass [`check`](Self::check) is not for it. Works on any part of a tensor made of whole rows,
    /// such as a tile that was just computed.
    pub fn apply_slice(&self, x: &mut [f32], last: usize) {
        match *self {
            A::Linear | A::Unknown(_) => {}
            // This order of the comparison makes one `max` instruction that passes NaN on.
            A::Relu => map(x, move |x| if x < 0.0 { 0.0 } else { x }),
            A::ReluWith { negative_slope, max_value, threshold } => {
                let (slope, threshold) = (negative_slope as f32, threshold as f32);
                let max = max_value.map_or(f32::INFINITY, |max| max as f32);
                map(x, move |x| {
                    let below = if slope == 0.0 { 0.0 } else { slope * (x - threshold) };
                    let above = if x > max { max } else { x };
                    if x <= threshold { below } else { above }
                });
            }
            A::Relu6 => clip(x, 0.0, 6.0),
            A::LeakyRelu { negative_slope } => {
                let slope = negative_slope as f32;
                map(x, move |x| if x > 0.0 { x } else { slope * x });
            }
            A::Elu { alpha } => elu(x, 1.0, alpha as f32, 1.0),
            A::Selu => elu(x, SELU_SCALE, SELU_SCALE * SELU_ALPHA, 1.0),
            A::Celu { alpha } => elu(x, 1.0, alpha as f32, 1.0 / alpha as f32),
            A::Sigmoid => map(x, sigmoid),
            A::HardSigmoid => map(x, hard_sigmoid),
            A::SparseSigmoid => {
                map(x, move |x| 0.5 * (x + 1.0));
                clip(x, 0.0, 1.0);
            }
            A::LogSigmoid => map(x, move |x| -softplus(-x)),
            A::Tanh => map(x, tanh),
            A::HardTanh => clip(x, -1.0, 1.0),
            A::TanhShrink => map(x, move |x| x - tanh(x)),
            A::Softmax => rows::softmax(x, last),
            A::LogSoftmax => rows::log_softmax(x, last),
            A::Sparsemax => rows::sparsemax(x, last),
            A::Softplus => map(x, softplus),
            A::Squareplus { b } => {
                let b = b as f32;
                // Left of zero the sum would cancel; b / 2 / (|x| + root) is the same.
                map(x, move |x| {
                    let sum = x.abs() + (x * x + b).sqrt();
                    if x < 0.0 { 0.5 * b / sum } else { 0.5 * sum }
                });
            }
            A::SparsePlus => map(x, move |x| {
                let curve = 0.25 * (x + 1.0) * (x + 1.0);
                let upper = if x < 1.0 { curve } else { x };
                if x <= -1.0 { 0.0 } else { upper }
            }),
            A::Softsign => map(x, move |x| x / (1.0 + x.abs())),
            A::Exponential => map(x, exp),
            A::Gelu { approximate: false } => map(x, move |x| x * normal(x).0),
            A::Gelu { approximate: true } => map(x, move |x| x * sigmoid(gelu_argument(x).0)),
            A::Silu => map(x, move |x| x * sigmoid(x)),
            A::HardSilu => map(x, move |x| x * hard_sigmoid(x)),
            A::Mish => map(x, move |x| x * tanh_softplus(x)),
            A::HardShrink { threshold } => {
                let threshold = threshold as f32;
                map(x, move |x| if x.abs() > threshold { x } else { 0.0 });
            }
            A::SoftShrink { threshold } => {
                let threshold = threshold as f32;
                map(x, move |x| if x.abs() > threshold { x - threshold.copysign(x) } else { 0.0 });
            }
            A::Threshold { threshold, default_value } => {
                let (threshold, default) = (threshold as f32, default_value as f32);
                map(x, move |x| if x > threshold { x } else { default });
            }
        }
    }

    /// Whether [`backward`](Self::backward) needs the input. For all others the output is enough,
    /// so that the function can be applied in place and the input forgotten.
    pub fn needs_input(&self) -> bool {
        use Activation::*;
        matches!(
            self,
            ReluWith { .. } | TanhShrink | Sparsemax | Gelu { .. } | Silu | HardSilu | Mish | Threshold { .. }
        )
    }

    /// Turns the gradient with respect to the output into the one with respect to the input, in
    /// place. `input` may be `None` where [`needs_input`](Self::needs_input) is false.
    ///
    /// # Errors
    /// Those of [`check`](Self::check); a missing input; tensors of different shapes.
    pub fn backward(&self, input: Option<&Tensor>, output: &Tensor, gradient: &mut Tensor) -> Result<()> {
        self.check()?;
        let saved = match input {
            _ if !self.needs_input() => output,
            Some(input) => input,
            None => {
                return Err(Error::State(format!(
                    "the gradient of {} needs its input, which was not kept: see needs_input",
                    self.name()
                )));
            }
        };
        ensure!(
            saved.shape() == gradient.shape(),
            Shape,
            "the gradient of {} has shape {:?}, its values {:?}",
            self.name(),
            gradient.shape(),
            saved.shape()
        );
        let last = gradient.last();
        if *self != A::Linear {
            let (saved, chunk) = (saved.data(), chunk(last));
            threads::for_each_chunk(gradient.data_mut(), chunk, |i, gradient| {
                self.backward_slice(&saved[i * chunk..][..gradient.len()], gradient, last);
            });
        }
        Ok(())
    }

    /// As [`backward`](Self::backward), on whole rows of `last` values. `saved` is the input where
    /// [`needs_input`](Self::needs_input), else the output.
    pub fn backward_slice(&self, saved: &[f32], gradient: &mut [f32], last: usize) {
        let g = gradient;
        match *self {
            A::Linear | A::Unknown(_) => {}
            A::Relu => gate(g, saved, move |y| y > 0.0, 1.0, 0.0),
            A::ReluWith { negative_slope, max_value, threshold } => {
                let (slope, threshold) = (negative_slope as f32, threshold as f32);
                let max = max_value.map_or(f32::INFINITY, |max| max as f32);
                chain(g, saved, move |x| {
                    let above = if x > max { 0.0 } else { 1.0 };
                    if x > threshold { above } else { slope }
                });
            }
            A::Relu6 => gate(g, saved, move |y| y > 0.0 && y < 6.0, 1.0, 0.0),
            A::LeakyRelu { negative_slope } => gate(g, saved, move |y| y > 0.0, 1.0, negative_slope as f32),
            A::Elu { alpha } => chain(g, saved, move |y| if y > 0.0 { 1.0 } else { y + alpha as f32 }),
            A::Selu => chain(g, saved, move |y| if y < 0.0 { y + SELU_SCALE * SELU_ALPHA } else { SELU_SCALE }),
            A::Celu { alpha } => chain(g, saved, move |y| if y > 0.0 { 1.0 } else { y / alpha as f32 + 1.0 }),
            A::Sigmoid => chain(g, saved, move |y| y * (1.0 - y)),
            A::HardSigmoid => gate(g, saved, move |y| y > 0.0 && y < 1.0, 1.0 / 6.0, 0.0),
            A::SparseSigmoid => gate(g, saved, move |y| y > 0.0 && y < 1.0, 0.5, 0.0),
            // sigmoid(-x) = 1 - e^y
            A::LogSigmoid => chain(g, saved, move |y| -exp_m1(y)),
            A::Tanh => chain(g, saved, move |y| 1.0 - y * y),
            A::HardTanh => gate(g, saved, move |y| y.abs() < 1.0, 1.0, 0.0),
            A::TanhShrink => chain(g, saved, move |x| tanh(x) * tanh(x)),
            A::Softmax => rows::softmax_backward(saved, g, last),
            A::LogSoftmax => rows::log_softmax_backward(saved, g, last),
            A::Sparsemax => rows::sparsemax_backward(saved, g, last),
            // sigmoid(x) = 1 - e^-y
            A::Softplus => chain(g, saved, move |y| -exp_m1(-y)),
            A::Squareplus { b } => {
                let quarter = 0.25 * b as f32;
                // From y = (x + root) / 2 follows root = y + b / (4 y); the slope is y / root.
                chain(g, saved, move |y| if y > 0.0 { 1.0 / (1.0 + quarter / y / y) } else { 0.0 });
            }
            A::SparsePlus => chain(g, saved, move |y| if y < 1.0 { y.sqrt() } else { 1.0 }),
            A::Softsign => chain(g, saved, move |y| (1.0 - y.abs()) * (1.0 - y.abs())),
            A::Exponential => chain(g, saved, move |y| y),
            A::Gelu { approximate: false } => chain(g, saved, move |x| {
                let (cdf, density) = normal(x);
                cdf + x * density
            }),
            A::Gelu { approximate: true } => chain(g, saved, move |x| {
                let (u, slope) = gelu_argument(x);
                let s = sigmoid(u);
                s + x * s * (1.0 - s) * slope
            }),
            A::Silu => chain(g, saved, move |x| {
                let s = sigmoid(x);
                s + x * s * (1.0 - s)
            }),
            A::HardSilu => chain(g, saved, move |x| {
                let middle = (2.0 * x + 3.0) * (1.0 / 6.0);
                let lower = if x > -3.0 { middle } else { 0.0 };
                if x >= 3.0 { 1.0 } else { lower }
            }),
            A::Mish => chain(g, saved, move |x| {
                let t = tanh_softplus(x);
                t + x * (1.0 - t * t) * sigmoid(x)
            }),
            A::HardShrink { .. } | A::SoftShrink { .. } => gate(g, saved, move |y| y != 0.0, 1.0, 0.0),
            A::Threshold { threshold, .. } => gate(g, saved, move |x| x > threshold as f32, 1.0, 0.0),
        }
    }
}

/// How many values of a tensor one thread takes at once: whole rows, and so many that handing them over costs little.
fn chunk(last: usize) -> usize {
    const VALUES: usize = 1 << 16;
    VALUES.next_multiple_of(last.max(1))
}

fn map(x: &mut [f32], f: impl Fn(f32) -> f32) {
    vectorised(
        #[inline(always)]
        move || {
            for x in x {
                *x = f(*x);
            }
        },
    );
}

/// The chain rule: each gradient times the slope at its place.
fn chain(gradient: &mut [f32], saved: &[f32], slope: impl Fn(f32) -> f32) {
    vectorised(
        #[inline(always)]
        move || {
            for (g, &s) in gradient.iter_mut().zip(saved) {
                *g *= slope(s);
            }
        },
    );
}

/// The chain rule for two straight pieces.
fn gate(gradient: &mut [f32], saved: &[f32], open: impl Fn(f32) -> bool, if_open: f32, if_not: f32) {
    chain(gradient, saved, move |s| if open(s) { if_open } else { if_not });
}

/// `x` within `low..=high`.
fn clip(x: &mut [f32], low: f32, high: f32) {
    map(x, move |x| {
        let x = if x < low { low } else { x };
        if x > high { high } else { x }
    });
}

/// `scale * x` if positive, else `limit * (e^(rate x) - 1)`.
fn elu(x: &mut [f32], scale: f32, limit: f32, rate: f32) {
    map(x, move |x| {
        let negative = limit * exp_m1(rate * x);
        if x > 0.0 { scale * x } else { negative }
    });
}

fn hard_sigmoid(x: f32) -> f32 {
    let x = x + 3.0;
    let x = if x < 0.0 { 0.0 } else { x };
    (if x > 6.0 { 6.0 } else { x }) * (1.0 / 6.0)
}

/// `u` in gelu's approximation `x * sigmoid(u)`, and its slope.
fn gelu_argument(x: f32) -> (f32, f32) {
    const ROOT: f32 = 1.595_769; // 2 sqrt(2 / π)
    const CUBIC: f32 = 0.044715;
    // Outside, the sigmoid is 0 or 1, and the cube of a large x would overflow.
    let x = if x < -20.0 { -20.0 } else { x };
    let x = if x > 20.0 { 20.0 } else { x };
    (ROOT * x * (1.0 + CUBIC * x * x), ROOT * (1.0 + 3.0 * CUBIC * x * x))
}
