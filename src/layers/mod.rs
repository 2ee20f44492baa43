//! The layers: one file each, with Keras' names, arguments and defaults.

mod activation;
mod conv2d;
mod dense;
mod flatten;
mod input;
mod pooling2d;

pub use crate::activations::Activation;
pub use conv2d::Conv2D;
pub use dense::Dense;
pub use flatten::Flatten;
pub use input::Input;
pub use pooling2d::{AveragePooling2D, MaxPooling2D};

use crate::config::{Unknown, family};
use crate::error::{Context, Error, Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use crate::shape::{Padding, Shape, Window};
use crate::tensor::Tensor;
use input::Input as InputLayer;
use serde::Deserialize;

family! { Box<dyn Layer>, "layer", "keras.layers";
    InputLayer;
    Dense;
    Activation;
    Flatten;
    Conv2D;
    MaxPooling2D;
    AveragePooling2D;
}

impl Layer for Unknown {
    fn check(&self) -> Result<()> {
        Err(self.error())
    }
    fn forward(&self, _: Values, _: &mut Forward<'_>) -> Result<Values> {
        Err(self.error())
    }
    fn backward(&self, _: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Err(self.error())
    }
}

/// Applies a layer's own activation to its result and saves what [`deactivate`] needs.
pub(crate) fn activate(activation: &Activation, mut y: Tensor, cx: &mut Forward<'_>) -> Result<Tensor> {
    if *activation == Activation::Linear {
        return Ok(y);
    }
    if activation.needs_input() {
        cx.save(y.clone());
        activation.apply(&mut y)?;
    } else {
        activation.apply(&mut y)?;
        cx.save(y.clone());
    }
    Ok(y)
}

/// Takes the gradient back through a layer's own activation.
pub(crate) fn deactivate(activation: &Activation, mut gradient: Tensor, cx: &mut Backward<'_>) -> Result<Tensor> {
    if *activation == Activation::Linear {
        return Ok(gradient);
    }
    let saved = cx.restore()?;
    let input = activation.needs_input().then_some(&saved);
    activation.backward(input, &saved, &mut gradient)?;
    Ok(gradient)
}

/// The builder methods of a layer with a kernel and a bias.
macro_rules! weight_builders {
    (kernel, bias) => {
        /// Whether a bias is added. Default: true.
        pub fn use_bias(mut self, use_bias: bool) -> Self {
            self.use_bias = use_bias;
            self
        }

        /// How the kernel starts, by name or by value. Default: `glorot_uniform`.
        pub fn kernel_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
            self.kernel_initializer = initializer.into();
            self
        }

        /// How the bias starts, by name or by value. Default: `zeros`.
        pub fn bias_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
            self.bias_initializer = initializer.into();
            self
        }

        /// The penalty on the kernel. Default: none.
        pub fn kernel_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
            self.kernel_regularizer = Some(regularizer.into());
            self
        }

        /// The penalty on the bias. Default: none.
        pub fn bias_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
            self.bias_regularizer = Some(regularizer.into());
            self
        }

        /// What the kernel is brought back to after each step. Default: nothing.
        pub fn kernel_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
            self.kernel_constraint = Some(constraint.into());
            self
        }

        /// What the bias is brought back to after each step. Default: nothing.
        pub fn bias_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
            self.bias_constraint = Some(constraint.into());
            self
        }
    };
}
pub(crate) use weight_builders;

/// One number for both directions, or one for each: how Keras writes `kernel_size`, `strides`, ….
///
/// `2` and `[2, 2]` mean the same; the height comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrTwo")]
pub struct Pair(pub [usize; 2]);

impl serde::Serialize for Pair {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrTwo {
    One(usize),
    Two([usize; 2]),
}

impl From<OneOrTwo> for Pair {
    fn from(value: OneOrTwo) -> Self {
        match value {
            OneOrTwo::One(n) => Pair([n, n]),
            OneOrTwo::Two(pair) => Pair(pair),
        }
    }
}

impl From<usize> for Pair {
    fn from(n: usize) -> Self {
        Pair([n, n])
    }
}

impl From<[usize; 2]> for Pair {
    fn from(pair: [usize; 2]) -> Self {
        Pair(pair)
    }
}

impl From<(usize, usize)> for Pair {
    fn from((height, width): (usize, usize)) -> Self {
        Pair([height, width])
    }
}

/// Checks that neither number of an argument is zero.
pub(crate) fn check_positive(name: &str, Pair(pair): Pair) -> Result<()> {
    ensure!(pair[0] > 0 && pair[1] > 0, Argument, "{name} is {pair:?}; both must be at least 1");
    Ok(())
}

/// The channels of `(batch, height, width, channels)`.
pub(crate) fn image_channels(input: &Shape) -> Result<usize> {
    match (input.rank(), input.last()) {
        (4, Some(channels)) => Ok(channels),
        (4, None) => Err(Error::Shape(format!("the number of channels, the last dimension of {input}, must be known"))),
        _ => Err(Error::Shape(format!("expected an input (batch, height, width, channels), got {input}"))),
    }
}

/// The shape of an image after a window slid over it.
pub(crate) fn window_shape(
    input: &Shape,
    size: Pair,
    strides: Pair,
    dilation: Pair,
    padding: Padding,
    channels: usize,
) -> Result<Vec<Shape>> {
    let mut dims = vec![input.dims()[0]];
    for axis in 0..2 {
        let window = |n| Window::new(n, size.0[axis], strides.0[axis], dilation.0[axis], padding);
        let side = if axis == 0 { "height" } else { "width" };
        let out = input.get(axis + 1).map(window).transpose().at(|| format!("{side} of input {input}"))?;
        dims.push(out.map(|w| w.out));
    }
    dims.push(Some(channels));
    Ok(vec![Shape::new(dims)])
}
