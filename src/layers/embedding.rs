//! Vectors for whole numbers.

use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Error, Result, ensure};
use crate::initializers::Initializer;
use crate::layer::{Backward, Build, Forward, Gradients, Layer, Param, Values, one_shape};
use crate::regularizers::Regularizer;
use crate::shape::{Dims, Shape};
use serde::{Deserialize, Serialize};

/// A vector that is learned for each of the numbers from 0 to `input_dim - 1`: words, categories (Keras: `Embedding`).
///
/// Input whole numbers of any shape, `(batch, …)`, output `(batch, …, output_dim)`; weight `(input_dim, output_dim)`.
/// Defaults: starts with `uniform` values from -0.05 to 0.05, no mask. With `mask_zero` the number 0 stands for
/// padding, and the output has a mask that leaves it out.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([20])).add(Embedding::new(1000, 8).mask_zero(true)).add(LSTM::new(16));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 16)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Embedding {
    input_dim: usize,
    output_dim: usize,
    embeddings_initializer: Shared<dyn Initializer>,
    embeddings_regularizer: Option<Shared<dyn Regularizer>>,
    embeddings_constraint: Option<Shared<dyn Constraint>>,
    mask_zero: bool,
    #[serde(skip)]
    embeddings: Param,
}

impl Embedding {
    /// Vectors of `output_dim` values for `input_dim` numbers.
    pub fn new(input_dim: usize, output_dim: usize) -> Self {
        Embedding { input_dim, output_dim, ..Self::default() }
    }

    /// How the vectors start, by name or by value. Default: `uniform`.
    pub fn embeddings_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
        self.embeddings_initializer = initializer.into();
        self
    }

    /// The penalty on the vectors. Default: none.
    pub fn embeddings_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
        self.embeddings_regularizer = Some(regularizer.into());
        self
    }

    /// What the vectors are brought back to after each step. Default: nothing.
    pub fn embeddings_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
        self.embeddings_constraint = Some(constraint.into());
        self
    }

    /// Whether 0 stands for padding, which layers above are to leave out. Default: false.
    pub fn mask_zero(mut self, mask_zero: bool) -> Self {
        self.mask_zero = mask_zero;
        self
    }
}

impl Default for Embedding {
    fn default() -> Self {
        Embedding {
            input_dim: 0,
            output_dim: 0,
            embeddings_initializer: "uniform".into(),
            embeddings_regularizer: None,
            embeddings_constraint: None,
            mask_zero: false,
            embeddings: Param::default(),
        }
    }
}

impl Layer for Embedding {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.input_dim > 0 && self.output_dim > 0,
            Argument,
            "input_dim is {}, output_dim {}; both must be at least 1",
            self.input_dim,
            self.output_dim
        );
        Ok(())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let dims = one_shape(inputs)?.dims().iter().copied().chain([Some(self.output_dim)]);
        Ok(vec![Shape::new(dims.collect::<Vec<_>>())])
    }

    fn build(&mut self, _: &[Shape], cx: &mut Build) -> Result<()> {
        self.embeddings = cx.weight(
            "embeddings",
            &[self.input_dim, self.output_dim],
            &self.embeddings_initializer,
            &self.embeddings_regularizer,
            &self.embeddings_constraint,
        )?;
        Ok(())
    }

    fn creates_mask(&self) -> bool {
        self.mask_zero
    }

    fn flops(&self, _inputs: &[Shape], _outputs: &[Shape]) -> f64 {
        // Rows are looked up.
        0.0
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let embeddings = self.embeddings.value();
        let mut dims = Dims::from_slice(x.shape());
        dims.push(self.output_dim);
        let mut y = cx.scratch(&dims);
        let mut places = cx.workspace().take_indices(x.len());
        let rows = y.data_mut().chunks_exact_mut(self.output_dim);
        for ((row, place), &number) in rows.zip(&mut places).zip(x.data()) {
            // Keras casts to int32, which drops the fraction.
            if !(number > -1.0 && number.trunc() < self.input_dim as f32) {
                return Err(Error::Data(format!(
                    "got the number {number}; input_dim is {}, so numbers must be from 0 to {}",
                    self.input_dim,
                    self.input_dim - 1
                )));
            }
            *place = number as u32;
            row.copy_from_slice(embeddings.row(*place as usize));
        }
        cx.save_indices(places);
        cx.save_shape(x.shape());
        if self.mask_zero {
            cx.set_masks([Some(x.map(|number| f32::from(u8::from(number != 0.0))))]);
        }
        Ok(y.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let dy = gradients.one()?;
        let shape = cx.restore_shape()?;
        let places = cx.restore_indices()?;
        let width = self.output_dim;
        if let Some(d) = cx.gradient(&self.embeddings) {
            for (place, dy) in places.iter().zip(dy.data().chunks_exact(width)) {
                let row = &mut d[*place as usize * width..][..width];
                row.iter_mut().zip(dy).for_each(|(d, dy)| *d += dy);
            }
        }
        cx.workspace().give_indices(places);
        // Between whole numbers nothing changes.
        let dx = cx.wants(0).then(|| crate::tensor::Tensor::zeros(&shape));
        Ok(dx.into())
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        visit(&self.embeddings);
    }
}
