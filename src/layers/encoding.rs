//! Categories as vectors.

use crate::error::{Error, Result, ensure};
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// How a category is written (Keras: `output_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As its number.
    Int,
    /// Each value as a vector of zeros with a 1 at its category; a last axis of size 1 becomes that vector.
    OneHot,
    /// All values along axis 1 as one vector, with a 1 at each category that occurs.
    #[default]
    #[serde(alias = "binary")]
    MultiHot,
    /// All values along axis 1 as one vector, which counts how often each category occurs.
    Count,
}

impl Encoding {
    /// The shape of what becomes of `input` with so many categories.
    pub(super) fn shape(self, input: &Shape, depth: usize) -> Result<Shape> {
        let mut dims = input.dims().to_vec();
        match self {
            Encoding::Int => return Ok(input.clone()),
            Encoding::OneHot if dims.len() > 1 && input.last() == Some(1) => {
                dims.pop();
            }
            Encoding::OneHot => {}
            Encoding::MultiHot | Encoding::Count => {
                ensure!(dims.len() > 1, Shape, "expected an input (batch, categories, …), got {input}");
                dims.remove(1);
            }
        }
        dims.push(Some(depth));
        Ok(Shape::new(dims))
    }

    /// The categories of `x`; those that are none of `depth` are left out, as in Keras.
    pub(super) fn encode(self, x: &Tensor, depth: usize) -> Result<Tensor> {
        if self == Encoding::Int {
            return Ok(x.clone());
        }
        let shape = self.shape(&Shape::from(x.shape()), depth)?;
        let dims: Option<Vec<usize>> = shape.dims().iter().copied().collect();
        let mut y = x.sibling(dims.ok_or_else(|| Error::Shape(format!("the shape {shape} is not known")))?);
        y.data_mut().fill(0.0);
        // One-hot, each value has a vector of its own; else those along axis 1 share one.
        let (along, inner) = match self {
            Encoding::MultiHot | Encoding::Count => (x.shape()[1], x.shape()[2..].iter().product::<usize>()),
            _ => (1, 1),
        };
        for (i, &category) in x.data().iter().enumerate() {
            let vector = i / (along * inner).max(1) * inner + i % inner.max(1);
            let category = category.trunc();
            if category >= 0.0 && category < depth as f32 {
                let value = &mut y.data_mut()[vector * depth + category as usize];
                *value = if self == Encoding::Count { *value + 1.0 } else { 1.0 };
            }
        }
        Ok(y)
    }
}
