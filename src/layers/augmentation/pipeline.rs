//! Layers in a row, as one layer.

use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::layer::{Backward, Build, Forward, Gradients, Layer, LayerHandle, Param, Values};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// One layer after the other, each on what the last one gave (Keras: `Pipeline`). Layers with one input and one output.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model
///     .add(Input::new([32, 32, 3]))
///     .add(Pipeline::new().add(RandomFlip::new()).add(RandomContrast::new(0.2)))
///     .add(Conv2D::new(8, 3));
/// model.build()?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Pipeline {
    layers: Vec<LayerHandle>,
}

impl Pipeline {
    /// Without layers it hands its input on.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this layer as the last one.
    #[allow(clippy::should_implement_trait)] // its name is that of models' `add`
    pub fn add(mut self, layer: impl Into<LayerHandle>) -> Self {
        let layer = layer.into();
        if layer.name().is_empty() {
            let (name, same) = (config::snake_case(&layer.class_name()), |other: &&LayerHandle| {
                other.class_name() == layer.class_name()
            });
            let before = self.layers.iter().filter(same).count();
            layer.set_name(if before == 0 { name } else { format!("{name}_{before}") });
        }
        self.layers.push(layer);
        self
    }
}

impl Layer for Pipeline {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        self.layers.iter().try_fold(inputs.to_vec(), |shapes, layer| layer.output_shapes(&shapes))
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let mut shapes = inputs.to_vec();
        for layer in &self.layers {
            layer.build(&shapes, cx)?;
            shapes = layer.output_shapes(&shapes)?;
        }
        Ok(())
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let (mut values, mut masks) = (inputs, cx.masks().to_vec());
        for (i, layer) in self.layers.iter().enumerate() {
            let (outputs, next) = cx.wrapped(i as u64, layer, values, masks)?;
            (values, masks) = (outputs, next.into_vec());
        }
        cx.set_masks(masks);
        Ok(values)
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let mut gradient = gradients.one()?;
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let wanted = i > 0 || cx.wants(0);
            let mut inputs = cx.wrapped(layer, [Some(gradient)], &[wanted])?.into_iter();
            gradient = match inputs.next().flatten() {
                Some(gradient) => gradient,
                None if i == 0 => return Ok(None.into()),
                None => {
                    let name = layer.name();
                    return Err(Error::State(format!("layer '{name}' gives no gradient to the layer before it")));
                }
            };
        }
        Ok(gradient.into())
    }

    fn supports_masking(&self) -> bool {
        self.layers.iter().all(|layer| layer.layer().supports_masking())
    }

    fn couples_samples(&self) -> bool {
        self.layers.iter().any(|layer| layer.layer().couples_samples())
    }

    fn creates_mask(&self) -> bool {
        self.layers.iter().any(|layer| layer.layer().creates_mask())
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.layers.iter().for_each(|layer| layer.layer().visit(visit));
    }

    fn reset_states(&self) {
        self.layers.iter().for_each(|layer| layer.layer().reset_states());
    }

    fn visit_states(&self, visit: &mut dyn FnMut(&Param)) {
        self.layers.iter().for_each(|layer| layer.layer().visit_states(visit));
    }
}
