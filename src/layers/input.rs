//! Where data enters a model.

use crate::config::Config;
use crate::error::Result;
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use crate::shape::Shape;

/// The shape of a model's input (Keras: `Input`).
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([28, 28, 1])).add(Flatten::new());
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 784)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Input {
    shape: Shape,
    batch_size: Option<usize>,
}

impl Input {
    /// An input whose samples have this shape, the batch left out: images are `[height, width, channels]`.
    pub fn new(sample: impl AsRef<[usize]>) -> Self {
        Input { shape: Shape::batch_of(sample), batch_size: None }
    }

    /// The batch size that a file tells Keras, which must know it for stateful layers. Here batches may have any size.
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = Some(batch_size);
        self
    }

    /// An input of this shape, the batch included.
    pub fn of(shape: Shape) -> Self {
        Input { shape, batch_size: None }
    }

    /// The shape, the batch included.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}

impl Layer for Input {
    fn class_name(&self) -> &str {
        "InputLayer"
    }

    fn config(&self) -> Result<Config> {
        let mut config = Config::new();
        let mut batch_shape = serde_json::json!(self.shape);
        if let (Some(batch_size), Some(first)) = (self.batch_size, batch_shape.get_mut(0)) {
            *first = batch_size.into();
        }
        config.insert("batch_shape".to_owned(), batch_shape);
        config.insert("sparse".to_owned(), false.into());
        config.insert("ragged".to_owned(), false.into());
        config.insert("optional".to_owned(), false.into());
        Ok(config)
    }

    fn output_shapes(&self, _: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![self.shape.clone()])
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        Ok(inputs)
    }

    fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Ok(gradients.into_iter().map(Some).collect())
    }
}

/// An input from its configuration: `batch_shape` (Keras 3) or `batch_input_shape` (Keras 2).
impl<'de> serde::Deserialize<'de> for Input {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Fields {
            #[serde(alias = "batch_input_shape")]
            batch_shape: Shape,
        }
        let Fields { batch_shape } = Fields::deserialize(deserializer)?;
        // The batch size of the call that built a model in Python does not bind later ones.
        let dims: Vec<_> = std::iter::once(None).chain(batch_shape.dims().iter().skip(1).copied()).collect();
        Ok(Input { shape: Shape::new(dims), batch_size: batch_shape.get(0) })
    }
}
