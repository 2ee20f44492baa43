//! The fully connected layer.

use super::{Activation, activate, deactivate, save_activated};
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Error, Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::gemm::{Mat, gemm_packed, gemm_with};
use crate::kernels::reduce::add_column_sums;
use crate::kernels::{Epilogue, Layout};
use crate::layer::{Backward, Build, Forward, Gradients, Layer, Param, Values, one_shape};
use crate::regularizers::Regularizer;
use crate::shape::{Dims, Shape};
use serde::{Deserialize, Serialize};

/// `activation(x · kernel + bias)` over the last axis (Keras: `Dense`).
///
/// Input `(batch, …, features)`, output `(batch, …, units)`; kernel `(features, units)`, bias `(units)`.
/// Defaults: linear, with bias, kernel `glorot_uniform`, bias `zeros`.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([784])).add(Dense::new(128).activation("relu").kernel_regularizer(L2::new(1e-4)));
/// model.build()?;
/// assert_eq!(model.count_params(), 784 * 128 + 128);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Dense {
    units: usize,
    activation: Activation,
    use_bias: bool,
    kernel_initializer: Shared<dyn Initializer>,
    bias_initializer: Shared<dyn Initializer>,
    kernel_regularizer: Option<Shared<dyn Regularizer>>,
    bias_regularizer: Option<Shared<dyn Regularizer>>,
    kernel_constraint: Option<Shared<dyn Constraint>>,
    bias_constraint: Option<Shared<dyn Constraint>>,
    #[serde(skip)]
    kernel: Param,
    #[serde(skip)]
    bias: Option<Param>,
}

impl Dense {
    /// A layer of `units` outputs.
    pub fn new(units: usize) -> Self {
        Dense { units, ..Self::default() }
    }

    /// What is applied to the result. Default: nothing.
    pub fn activation(mut self, activation: impl Into<Activation>) -> Self {
        self.activation = activation.into();
        self
    }

    super::weight_builders!(kernel, bias);
}

impl Default for Dense {
    fn default() -> Self {
        Dense {
            units: 0,
            activation: Activation::Linear,
            use_bias: true,
            kernel_initializer: "glorot_uniform".into(),
            bias_initializer: "zeros".into(),
            kernel_regularizer: None,
            bias_regularizer: None,
            kernel_constraint: None,
            bias_constraint: None,
            kernel: Param::default(),
            bias: None,
        }
    }
}

impl Layer for Dense {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.units > 0, Argument, "units is 0; a Dense layer needs at least one unit");
        self.activation.check()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        ensure!(
            input.rank() >= 2,
            Shape,
            "expected an input of at least 2 dimensions, (batch, …, features), got {input}"
        );
        Ok(vec![input.with_last(self.units)])
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let input = one_shape(inputs)?;
        let features = input.last().ok_or_else(|| {
            Error::Shape(format!("the number of features, the last dimension of {input}, must be known"))
        })?;
        self.kernel = cx.weight(
            "kernel",
            &[features, self.units],
            &self.kernel_initializer,
            &self.kernel_regularizer,
            &self.kernel_constraint,
        )?;
        self.bias = match self.use_bias {
            true => {
                let (regularizer, constraint) = (&self.bias_regularizer, &self.bias_constraint);
                Some(cx.weight("bias", &[self.units], &self.bias_initializer, regularizer, constraint)?)
            }
            false => None,
        };
        Ok(())
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let kernel = self.kernel.value();
        let [features, units] = [kernel.shape()[0], kernel.shape()[1]];
        ensure!(x.last() == features, Shape, "expected {features} features, got an input of shape {:?}", x.shape());
        let rows = x.len() / features.max(1);
        let mut dims = Dims::from_slice(x.shape());
        if let Some(last) = dims.last_mut() {
            *last = units;
        }
        let mut y = cx.scratch(&dims);
        let bias = self.bias.as_ref().map(Param::value);
        let bias = bias.as_ref().map(|b| b.data());
        let relu = self.activation == Activation::Relu;
        let epilogue = Epilogue { bias, relu, ..Epilogue::default() };
        let x_rows = Mat::new(x.data(), rows, features);
        let layout = Layout::columns_of(0..units, features, units);
        let keep = cx.keeps_weights() && rows > 1;
        match keep.then(|| self.kernel.packed(layout)).flatten() {
            Some(kernel) => gemm_packed(x_rows, &kernel, epilogue, y.data_mut()),
            None => gemm_with(x_rows, Mat::new(kernel.data(), features, units), epilogue, y.data_mut()),
        }
        cx.save(x);
        if relu {
            save_activated(&self.activation, &y, cx);
            return Ok(y.into());
        }
        Ok(activate(&self.activation, y, cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let dy = deactivate(&self.activation, gradients.one()?, cx)?;
        let x = cx.restore()?;
        let kernel = self.kernel.value();
        let [features, units] = [kernel.shape()[0], kernel.shape()[1]];
        let rows = x.len() / features.max(1);
        let dy_rows = Mat::new(dy.data(), rows, units);
        cx.add_product(&self.kernel, &x, &dy)?;
        if let Some(dbias) = self.bias.as_ref().and_then(|bias| cx.gradient(bias)) {
            add_column_sums(dy.data(), dbias);
        }
        if !cx.wants(0) {
            return Ok(None.into());
        }
        let mut dx = cx.scratch(x.shape());
        let epilogue = Epilogue { gate: cx.gates_input().then(|| x.data()), ..Epilogue::default() };
        gemm_with(dy_rows, Mat::new(kernel.data(), features, units).t(), epilogue, dx.data_mut());
        Ok(dx.into())
    }

    fn ends_in_relu(&self) -> bool {
        self.activation == Activation::Relu
    }

    fn gates_relu(&self) -> bool {
        true
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        visit(&self.kernel);
        self.bias.iter().for_each(visit);
    }
}
