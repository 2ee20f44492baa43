//! Steps that are left out.

use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Leaves out of a sequence the steps of which all values are `mask_value` (Keras: `Masking`): they become zeros, and
/// the output has a mask, which tells recurrent layers above to skip them.
///
/// The output has the shape of the input, `(batch, time, features)`. Default: a `mask_value` of 0.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([10, 4])).add(Masking::new(-1.0)).add(GRU::new(8));
/// model.build()?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Masking {
    mask_value: f64,
}

impl Masking {
    /// Leaves out steps of this value alone.
    pub fn new(mask_value: f64) -> Self {
        Masking { mask_value }
    }
}

/// Sets the rows to zero whose mask is 0.
fn hide(x: &mut Tensor, mask: &Tensor) {
    let features = x.last().max(1);
    let rows = x.data_mut().chunks_exact_mut(features).zip(mask.data());
    rows.filter(|(_, counts)| **counts == 0.0).for_each(|(row, _)| row.fill(0.0));
}

impl Layer for Masking {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        ensure!(input.rank() >= 2, Shape, "expected an input (batch, time, features), got {input}");
        Ok(vec![input.clone()])
    }

    fn creates_mask(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let mut x = inputs.one()?;
        let value = self.mask_value as f32;
        let mut mask = cx.scratch(&x.shape()[..x.rank() - 1]);
        let steps = x.data().chunks_exact(x.last().max(1)).zip(mask.data_mut());
        steps.for_each(|(step, counts)| *counts = f32::from(u8::from(step.iter().any(|x| *x != value))));
        hide(&mut x, &mask);
        cx.save(mask.clone());
        cx.set_masks([Some(mask)]);
        Ok(x.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let mut d = gradients.one()?;
        hide(&mut d, &cx.restore()?);
        Ok(d.into())
    }
}
