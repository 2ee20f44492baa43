//! Products with a kernel of several axes, such as `(features, heads, size)`.

use crate::config::{Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::gemm::{Mat, MatMut, gemm_parallel, gemm_with};
use crate::kernels::reduce::add_column_sums;
use crate::layer::{Backward, Build, Forward, Param};
use crate::random::Rng;
use crate::regularizers::Regularizer;
use crate::shape::Dims;
use crate::tensor::Tensor;

/// How the weights of a layer's projections are made.
pub(super) struct Weights<'a> {
    pub use_bias: bool,
    pub initializers: [&'a Shared<dyn Initializer>; 2],
    pub regularizers: [&'a Option<Shared<dyn Regularizer>>; 2],
    pub constraints: [&'a Option<Shared<dyn Constraint>>; 2],
}

/// `x · kernel + bias` over the last axes of `x` together (Keras: `EinsumDense` inside of attention layers).
#[derive(Clone, Debug, Default)]
pub(super) struct Projection {
    kernel: Param,
    bias: Option<Param>,
    inputs: usize,
    outputs: usize,
}

impl Projection {
    /// From these axes to those; its weights stand below `name`.
    pub fn build(weights: &Weights<'_>, name: &str, from: &[usize], to: &[usize], cx: &mut Build) -> Result<Self> {
        let shape: Dims = from.iter().chain(to).copied().collect();
        let (inputs, outputs) = (from.iter().product(), to.iter().product());
        let fans: Shared<dyn Initializer> = Fans { inner: weights.initializers[0].clone(), inputs, outputs }.into();
        cx.child(name, |cx| {
            let kernel = cx.weight("kernel", &shape, &fans, weights.regularizers[0], weights.constraints[0])?;
            let bias = weights.use_bias.then(|| {
                cx.weight("bias", to, weights.initializers[1], weights.regularizers[1], weights.constraints[1])
            });
            Ok(Projection { kernel, bias: bias.transpose()?, inputs, outputs })
        })
    }

    /// The result for each row of `x`.
    pub fn forward(&self, x: &Tensor, cx: &Forward<'_>) -> Result<Tensor> {
        ensure!(
            self.inputs > 0 && x.len().is_multiple_of(self.inputs),
            Shape,
            "an input of shape {:?} does not fit the {} features that the weights were made for",
            x.shape(),
            self.inputs
        );
        let rows = x.len() / self.inputs;
        let mut y = cx.scratch([rows, self.outputs]);
        let (kernel, bias) = (self.kernel.value(), self.bias.as_ref().map(Param::value));
        let bias = bias.as_ref().map(Tensor::data);
        let kernel = Mat::new(kernel.data(), self.inputs, self.outputs);
        gemm_with(Mat::new(x.data(), rows, self.inputs), kernel, bias, y.data_mut());
        Ok(y)
    }

    /// Adds the gradients of the weights, and returns that of `x`, if it is wanted.
    pub fn backward(&self, x: &Tensor, dy: &Tensor, wanted: bool, cx: &mut Backward<'_>) -> Option<Tensor> {
        let rows = x.len() / self.inputs.max(1);
        let dy_rows = Mat::new(dy.data(), rows, self.outputs);
        if let Some(gradient) = cx.gradient(&self.kernel) {
            let x = Mat::new(x.data(), rows, self.inputs);
            gemm_parallel(1.0, x.t(), dy_rows, 1.0, MatMut::new(gradient, self.inputs, self.outputs));
        }
        if let Some(gradient) = self.bias.as_ref().and_then(|bias| cx.gradient(bias)) {
            add_column_sums(dy.data(), gradient);
        }
        wanted.then(|| {
            let mut dx = cx.scratch(x.shape());
            let kernel = self.kernel.value();
            let kernel = Mat::new(kernel.data(), self.inputs, self.outputs);
            gemm_parallel(1.0, dy_rows, kernel.t(), 0.0, MatMut::new(dx.data_mut(), rows, self.inputs));
            dx
        })
    }

    pub fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        visit(&self.kernel);
        self.bias.iter().for_each(visit);
    }
}

/// An initializer whose fans, if it goes by them, are the inputs and outputs of the product.
#[derive(Debug)]
struct Fans {
    inner: Shared<dyn Initializer>,
    inputs: usize,
    outputs: usize,
}

impl Initializer for Fans {
    fn class_name(&self) -> &str {
        self.inner.class_name()
    }
    fn config(&self) -> Result<Config> {
        self.inner.config()
    }
    fn check(&self) -> Result<()> {
        self.inner.check()
    }
    fn initialize(&self, shape: &[usize], rng: &mut Rng) -> Result<Tensor> {
        let by_fans = ["VarianceScaling", "GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal"];
        let by_fans = by_fans.contains(&self.class_name()) || self.class_name().starts_with("Lecun");
        let has_axes =
            || self.config().is_ok_and(|config| config.get("input_axes").is_some_and(|axes| !axes.is_null()));
        if by_fans && !has_axes() {
            return self.inner.initialize(&[self.inputs, self.outputs], rng)?.reshape(shape);
        }
        self.inner.initialize(shape, rng)
    }
}
