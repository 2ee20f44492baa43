//! What SimpleRNN, LSTM and GRU have in common: their arguments, their weights and the products with these.

use super::cell::{States, features};
use super::product::{Place, Product};
use crate::activations::Activation;
use crate::config::Shared;
use crate::constraints::Constraint;
use crate::error::{Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::gemm::{Mat, gemm_with};
use crate::kernels::reduce::{add_column_sums, fill_rows};
use crate::layer::{Backward, Build, Forward, Param};
use crate::random::check_rate;
use crate::regularizers::Regularizer;
use crate::shape::Shape;
use crate::tensor::Tensor;
use ndarray_rand::rand::Rng as _;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Gates {
    pub units: usize,
    pub activation: Activation,
    pub use_bias: bool,
    pub kernel_initializer: Shared<dyn Initializer>,
    pub recurrent_initializer: Shared<dyn Initializer>,
    pub bias_initializer: Shared<dyn Initializer>,
    pub kernel_regularizer: Option<Shared<dyn Regularizer>>,
    pub recurrent_regularizer: Option<Shared<dyn Regularizer>>,
    pub bias_regularizer: Option<Shared<dyn Regularizer>>,
    pub kernel_constraint: Option<Shared<dyn Constraint>>,
    pub recurrent_constraint: Option<Shared<dyn Constraint>>,
    pub bias_constraint: Option<Shared<dyn Constraint>>,
    pub dropout: f64,
    pub recurrent_dropout: f64,
    pub seed: Option<u64>,
    /// `(features, gates · units)`
    #[serde(skip)]
    pub kernel: Param,
    /// `(units, gates · units)`
    #[serde(skip)]
    pub recurrent_kernel: Param,
    #[serde(skip)]
    pub bias: Option<Param>,
}

impl Default for Gates {
    fn default() -> Self {
        Gates {
            units: 0,
            activation: Activation::Tanh,
            use_bias: true,
            kernel_initializer: "glorot_uniform".into(),
            recurrent_initializer: "orthogonal".into(),
            bias_initializer: "zeros".into(),
            kernel_regularizer: None,
            recurrent_regularizer: None,
            bias_regularizer: None,
            kernel_constraint: None,
            recurrent_constraint: None,
            bias_constraint: None,
            dropout: 0.0,
            recurrent_dropout: 0.0,
            seed: None,
            kernel: Param::default(),
            recurrent_kernel: Param::default(),
            bias: None,
        }
    }
}

/// What is dropped of the inputs and of the states: for each group of gates and each sample the same at all
/// steps; none where nothing is.
pub(super) struct Drops {
    pub input: Option<Tensor>,
    pub state: Option<Tensor>,
}

impl Gates {
    pub fn check(&self) -> Result<()> {
        ensure!(self.units > 0, Argument, "units is 0; a recurrent layer needs at least one unit");
        self.check_rates()
    }

    pub fn check_rates(&self) -> Result<()> {
        check_rate("dropout", self.dropout)?;
        check_rate("recurrent_dropout", self.recurrent_dropout)?;
        self.activation.check()
    }

    /// The shape of each state.
    pub fn state_shape(&self, input: &Shape) -> Result<Shape> {
        ensure!(
            input.rank() == 2,
            Shape,
            "expected an input (batch, time, features), so steps (batch, features), got steps {input}"
        );
        Ok(input.with_last(self.units))
    }

    /// Makes the weights of `gates` gates, the bias of this shape.
    pub fn build(
        &mut self,
        gates: usize,
        bias: &[usize],
        bias_initializer: &Shared<dyn Initializer>,
        input: &Shape,
        cx: &mut Build,
    ) -> Result<()> {
        let columns = gates * self.units;
        self.build_as([&[features(input)?, columns], &[self.units, columns], bias], bias_initializer, cx)
    }

    /// Makes the weights, of these shapes.
    pub fn build_as(
        &mut self,
        [kernel, recurrent_kernel, bias]: [&[usize]; 3],
        bias_initializer: &Shared<dyn Initializer>,
        cx: &mut Build,
    ) -> Result<()> {
        self.kernel =
            cx.weight("kernel", kernel, &self.kernel_initializer, &self.kernel_regularizer, &self.kernel_constraint)?;
        self.recurrent_kernel = cx.weight(
            "recurrent_kernel",
            recurrent_kernel,
            &self.recurrent_initializer,
            &self.recurrent_regularizer,
            &self.recurrent_constraint,
        )?;
        self.bias = match self.use_bias {
            true => Some(cx.weight("bias", bias, bias_initializer, &self.bias_regularizer, &self.bias_constraint)?),
            false => None,
        };
        Ok(())
    }

    pub fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        visit(&self.kernel);
        visit(&self.recurrent_kernel);
        self.bias.iter().for_each(visit);
    }

    /// How many groups of gates have draws of their own: with `recurrent_dropout` each of the gates, else one for
    /// all, as in Keras.
    pub fn groups(&self, gates: usize) -> usize {
        if self.recurrent_dropout > 0.0 { gates } else { 1 }
    }

    /// Draws what is dropped of an input and of a state of so many values for a sample, for so many groups, and
    /// saves it.
    pub fn drops(&self, groups: usize, batch: usize, [input, state]: [usize; 2], cx: &mut Forward<'_>) -> Drops {
        let make = |rate: f64, n: usize| {
            (cx.training() && rate > 0.0 && batch * n > 0).then(|| cx.scratch([groups, batch, n]))
        };
        let mut drops = Drops { input: make(self.dropout, input), state: make(self.recurrent_dropout, state) };
        for sample in 0..batch {
            let mut rng = cx.rng_with(self.seed, sample);
            for (drops, rate) in [(&mut drops.input, self.dropout), (&mut drops.state, self.recurrent_dropout)] {
                let Some(drops) = drops else { continue };
                let (n, scale) = (drops.last(), (1.0 / (1.0 - rate)) as f32);
                for group in drops.data_mut().chunks_exact_mut(batch * n) {
                    for drop in &mut group[sample * n..][..n] {
                        *drop = if rng.random::<f64>() < rate { 0.0 } else { scale };
                    }
                }
            }
        }
        for drops in [&drops.input, &drops.state] {
            // An empty one stands for none.
            cx.save(drops.clone().unwrap_or_default());
        }
        drops
    }

    /// Takes back what [`drops`](Self::drops) saved.
    pub fn restore_drops(cx: &mut Backward<'_>) -> Result<Drops> {
        let some = |drops: Tensor| (!drops.is_empty()).then_some(drops);
        let state = some(cx.restore()?);
        Ok(Drops { input: some(cx.restore()?), state })
    }

    /// `x · kernel + bias` for all steps: `(steps, batch, gates · units)`.
    pub fn project(&self, x: &Tensor, bias: Option<&[f32]>, drops: &Drops, cx: &Forward<'_>) -> Result<Tensor> {
        let kernel = self.kernel.value();
        let [features, columns] = [kernel.shape()[0], kernel.shape()[1]];
        ensure!(
            x.rank() == 3 && x.last() == features,
            Shape,
            "expected steps of {features} features, got an input of shape {:?}",
            x.shape()
        );
        let mut z = cx.scratch([x.shape()[0], x.shape()[1], columns]);
        if drops.input.is_none() {
            let rows = x.len() / features.max(1);
            gemm_with(
                Mat::new(x.data(), rows, features),
                Mat::new(kernel.data(), features, columns),
                bias,
                z.data_mut(),
            );
            return Ok(z);
        }
        match bias {
            Some(bias) => fill_rows(z.data_mut(), bias),
            None => z.data_mut().fill(0.0),
        }
        let product = Product::once(&kernel, columns, drops.input.as_ref());
        product.forward(x.data(), 1.0, Place { rows: z.data_mut(), len: columns, first: 0 }, cx.workspace());
        Ok(z)
    }

    /// Adds the kernel's gradient for those of [`project`](Self::project), and returns that of `x`.
    pub fn project_back(&self, x: &Tensor, dz: &Tensor, drops: &Drops, cx: &mut Backward<'_>) -> Option<Tensor> {
        let (kernel, workspace) = (self.kernel.value(), cx.workspace().clone());
        let product = Product::once(&kernel, dz.last(), drops.input.as_ref());
        let place = Place { rows: dz.data(), len: dz.last(), first: 0 };
        if let Some(dkernel) = cx.gradient(&self.kernel) {
            product.add_weights(x.data(), &place, dkernel, &workspace);
        }
        cx.wants(0).then(|| {
            let mut dx = cx.scratch(x.shape());
            product.backward(&place, 0.0, dx.data_mut(), &workspace);
            dx
        })
    }

    /// Adds the gradient of a bias that all steps add.
    pub fn bias_back(&self, dz: &Tensor, cx: &mut Backward<'_>) {
        if let Some(dbias) = self.bias.as_ref().and_then(|bias| cx.gradient(bias)) {
            add_column_sums(dz.data(), dbias);
        }
    }

    /// Adds the recurrent kernel's gradient: `before` are the states before all steps.
    pub fn recurrent_back(&self, product: &Product<'_>, before: &[f32], dz: Place<&[f32]>, cx: &mut Backward<'_>) {
        let workspace = cx.workspace().clone();
        if let Some(dkernel) = cx.gradient(&self.recurrent_kernel) {
            product.add_weights(before, &dz, dkernel, &workspace);
        }
    }
}

/// What a cell returns of its way back.
pub(super) type Back = (Option<Tensor>, States);

/// The builder methods of a layer or a cell around [`Gates`].
macro_rules! gate_builders {
    ($class:ty, $($gates:ident).+) => {
        impl $class {
            /// What is applied to the result of a step. Default: `tanh`.
            pub fn activation(mut self, activation: impl Into<Activation>) -> Self {
                self.$($gates).+.activation = activation.into();
                self
            }

            /// Whether a bias is added. Default: true.
            pub fn use_bias(mut self, use_bias: bool) -> Self {
                self.$($gates).+.use_bias = use_bias;
                self
            }

            /// How the kernel starts, by name or by value. Default: `glorot_uniform`.
            pub fn kernel_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
                self.$($gates).+.kernel_initializer = initializer.into();
                self
            }

            /// How the recurrent kernel starts, by name or by value. Default: `orthogonal`.
            pub fn recurrent_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
                self.$($gates).+.recurrent_initializer = initializer.into();
                self
            }

            /// How the bias starts, by name or by value. Default: `zeros`.
            pub fn bias_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
                self.$($gates).+.bias_initializer = initializer.into();
                self
            }

            /// The penalty on the kernel. Default: none.
            pub fn kernel_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
                self.$($gates).+.kernel_regularizer = Some(regularizer.into());
                self
            }

            /// The penalty on the recurrent kernel. Default: none.
            pub fn recurrent_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
                self.$($gates).+.recurrent_regularizer = Some(regularizer.into());
                self
            }

            /// The penalty on the bias. Default: none.
            pub fn bias_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
                self.$($gates).+.bias_regularizer = Some(regularizer.into());
                self
            }

            /// What the kernel is brought back to after each step of training. Default: nothing.
            pub fn kernel_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
                self.$($gates).+.kernel_constraint = Some(constraint.into());
                self
            }

            /// What the recurrent kernel is brought back to after each step of training. Default: nothing.
            pub fn recurrent_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
                self.$($gates).+.recurrent_constraint = Some(constraint.into());
                self
            }

            /// What the bias is brought back to after each step of training. Default: nothing.
            pub fn bias_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
                self.$($gates).+.bias_constraint = Some(constraint.into());
                self
            }

            /// The share of the inputs that is dropped in training, the same at all steps. Default: 0.
            pub fn dropout(mut self, rate: f64) -> Self {
                self.$($gates).+.dropout = rate;
                self
            }

            /// The share of the states that is dropped on their way into the next step in training, the same at
            /// all steps. Default: 0.
            pub fn recurrent_dropout(mut self, rate: f64) -> Self {
                self.$($gates).+.recurrent_dropout = rate;
                self
            }

            /// A seed of its own for what is dropped. Default: the model's.
            pub fn seed(mut self, seed: u64) -> Self {
                self.$($gates).+.seed = Some(seed);
                self
            }
        }
    };
}
pub(super) use gate_builders;
