//! Category numbers as vectors.

use super::encoding::Encoding;
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// Whole numbers from 0 to below `num_tokens` as vectors of that length (Keras: `CategoryEncoding`).
///
/// Input `(batch, categories)`. By default the output is `(batch, num_tokens)` with a 1 for each category that occurs
/// in a sample; see [`Encoding`] for the others. Numbers outside that range are left out.
///
/// ```
/// use cornu::{layers::Encoding, prelude::*};
/// let mut model = Sequential::new();
/// model.add(Input::new([3])).add(CategoryEncoding::new(4).output_mode(Encoding::Count));
/// model.build()?;
/// let y = model.predict(&ndarray::array![[0, 3, 3]], Predict::default())?;
/// assert_eq!(y, ndarray::array![[1.0, 0.0, 0.0, 2.0]].into_dyn());
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CategoryEncoding {
    num_tokens: usize,
    output_mode: Encoding,
}

impl CategoryEncoding {
    /// For so many categories.
    pub fn new(num_tokens: usize) -> Self {
        CategoryEncoding { num_tokens, ..Self::default() }
    }

    /// What becomes of them. Default: [`Encoding::MultiHot`].
    pub fn output_mode(mut self, output_mode: Encoding) -> Self {
        self.output_mode = output_mode;
        self
    }
}

impl Layer for CategoryEncoding {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.num_tokens > 0, Argument, "num_tokens is 0; there must be at least one category");
        ensure!(
            self.output_mode != Encoding::Int,
            Argument,
            "output_mode is 'int'; it must be 'one_hot', 'multi_hot' or 'count'"
        );
        Ok(())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![self.output_mode.shape(one_shape(inputs)?, self.num_tokens)?])
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        Ok(self.output_mode.encode(&inputs.one()?, self.num_tokens)?.into())
    }

    fn backward(&self, _: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Ok(None.into())
    }
}
