//! AlexNet's competition between channels.

use super::spatial::{channels, volume};
use crate::config::{self, Config};
use crate::error::Result;
use crate::kernels::lrn::Lrn;
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// Divides each value by `(k + alpha * sum(x²))^beta`, where the sum runs over the `size` channels
/// around it (Krizhevsky, Sutskever, Hinton: *ImageNet classification with deep convolutional neural
/// networks*, 2012, section 3.3). `alpha` is not divided by `size`.
///
/// Input and output `(batch, height, width, channels)`. Defaults, the paper's: size 5, k 2,
/// alpha 1e-4, beta 0.75. Keras has no such layer, so files name it as a class of cornu's own.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([27, 27, 96])).add(LocalResponseNormalization::new());
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 27, 27, 96)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct LocalResponseNormalization {
    size: usize,
    k: f64,
    alpha: f64,
    beta: f64,
}

impl LocalResponseNormalization {
    /// With the paper's constants.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of adjacent channels, odd. Default: 5.
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// What is added to the sum, positive. Default: 2.
    pub fn k(mut self, k: f64) -> Self {
        self.k = k;
        self
    }

    /// The factor of the sum of squares. Default: 1e-4.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// The exponent. Default: 0.75.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    fn kernel(&self) -> Result<Lrn> {
        Lrn::new(self.size, self.k, self.alpha, self.beta)
    }
}

impl Default for LocalResponseNormalization {
    fn default() -> Self {
        LocalResponseNormalization { size: 5, k: 2.0, alpha: 1e-4, beta: 0.75 }
    }
}

impl Layer for LocalResponseNormalization {
    fn class_name(&self) -> &str {
        "cornu>LocalResponseNormalization"
    }

    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.kernel().map(|_| ())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        channels::<2>(input)?;
        Ok(vec![input.clone()])
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let [.., channels] = volume::<2>(x.shape())?;
        let (mut y, mut scale) = (cx.scratch(x.shape()), cx.scratch(x.shape()));
        self.kernel()?.forward(x.data(), channels, y.data_mut(), scale.data_mut());
        cx.save(x);
        cx.save(scale);
        Ok(y.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let scale = cx.restore()?;
        let x = cx.restore()?;
        if !cx.wants(0) {
            return Ok(None.into());
        }
        let dy = gradients.one()?;
        let (mut dx, mut work) = (cx.scratch(x.shape()), cx.scratch(x.shape()));
        self.kernel()?.backward(x.data(), scale.data(), dy.data(), x.last(), dx.data_mut(), work.data_mut());
        Ok(dx.into())
    }
}
