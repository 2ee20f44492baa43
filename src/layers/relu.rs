//! The rectifier as a layer, with its options.

use super::{Activation, activate, deactivate};
use crate::config::{self, Config};
use crate::error::Result;
use crate::layer::{Backward, Forward, Fusible, Gradients, Layer, Values};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// `min(x, max_value)` above the threshold, else `negative_slope * (x - threshold)` (Keras: `ReLU`).
///
/// The output has the shape of the input. Defaults: no maximum, slope 0, threshold 0: `max(x, 0)`.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([3])).add(ReLU::new().max_value(6.0));
/// model.build()?;
/// let y = model.predict(&ndarray::array![[-1.0, 2.0, 7.0]], Predict::default())?;
/// assert_eq!(y, ndarray::array![[0.0, 2.0, 6.0]].into_dyn());
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReLU {
    max_value: Option<f64>,
    negative_slope: f64,
    threshold: f64,
}

impl ReLU {
    /// The plain rectifier.
    pub fn new() -> Self {
        Self::default()
    }

    /// The largest output. Default: none.
    pub fn max_value(mut self, max_value: f64) -> Self {
        self.max_value = Some(max_value);
        self
    }

    /// The slope up to the threshold. Default: 0.
    pub fn negative_slope(mut self, negative_slope: f64) -> Self {
        self.negative_slope = negative_slope;
        self
    }

    /// What an input must exceed to pass. Default: 0.
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }

    fn function(&self) -> Activation {
        let ReLU { max_value, negative_slope, threshold } = *self;
        if max_value.is_none() && negative_slope == 0.0 && threshold == 0.0 {
            // This one needs its output alone, and works in place.
            return Activation::Relu;
        }
        Activation::ReluWith { negative_slope, max_value, threshold }
    }
}

impl Layer for ReLU {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.function().check()
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn fusible(&self, _: &[Shape]) -> Option<Fusible> {
        Some(Fusible::Activation(self.function()))
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        Ok(activate(&self.function(), inputs.one()?, cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        Ok(deactivate(&self.function(), gradients.one()?, cx)?.into())
    }
}
