//! A layer whose kernel has a largest singular value of 1.

use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::initializers::TruncatedNormal;
use crate::layer::{Backward, Build, Forward, Gradients, Layer, LayerHandle, Param, Values};
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Divides the kernel of a layer by its largest singular value in each training step (Keras:
/// `SpectralNormalization`; Miyato et al. 2018), which keeps the layer from amplifying what it is given: for the
/// discriminators of GANs.
///
/// The layer must have a weight `kernel` or `embeddings`, which is seen as the matrix of its last axis. The singular
/// value is estimated by power iteration, which goes on from step to step. As in Keras the kernel itself is changed
/// before the layer computes, and the gradient does not flow through the division.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([28, 28, 1])).add(SpectralNormalization::new(Conv2D::new(8, 3)));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 26, 26, 8)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SpectralNormalization {
    layer: LayerHandle,
    #[serde(default = "one")]
    power_iterations: usize,
    #[serde(skip)]
    made: Option<Made>,
}

fn one() -> usize {
    1
}

#[derive(Clone, Debug)]
struct Made {
    /// The layer's kernel, which Keras counts among this layer's weights too.
    kernel: Param,
    vector_u: Param,
}

impl SpectralNormalization {
    /// Around this layer, with one power iteration in a step.
    pub fn new(layer: impl Into<LayerHandle>) -> Self {
        SpectralNormalization { layer: layer.into(), power_iterations: 1, made: None }
    }

    /// The power iterations in each step. Default: 1.
    pub fn power_iterations(mut self, power_iterations: usize) -> Self {
        self.power_iterations = power_iterations;
        self
    }

    /// Brings the kernel to a largest singular value of 1, as well as it is known.
    fn normalize(&self, Made { kernel, vector_u }: &Made) -> Result<()> {
        let weights = kernel.value();
        let columns = weights.last().max(1);
        if weights.data().iter().all(|&weight| weight == 0.0) {
            return Ok(());
        }
        let rows = || weights.data().chunks_exact(columns);
        let mut u: Vec<f64> = vector_u.value().data().iter().map(|&u| f64::from(u)).collect();
        let mut v = Vec::new();
        for _ in 0..self.power_iterations {
            v = to_unit(rows().map(|row| row.iter().zip(&u).map(|(&w, u)| f64::from(w) * u).sum()).collect());
            u.fill(0.0);
            rows().zip(&v).for_each(|(row, v)| u.iter_mut().zip(row).for_each(|(u, &w)| *u += v * f64::from(w)));
            u = to_unit(u);
        }
        let along = |row: &[f32]| row.iter().zip(&u).map(|(&w, u)| f64::from(w) * u).sum::<f64>();
        let sigma: f64 = rows().zip(&v).map(|(row, v)| v * along(row)).sum();
        let u: Vec<f32> = u.into_iter().map(|u| u as f32).collect();
        vector_u.set(Tensor::new([1, columns], u)?)?;
        kernel.set(weights.clone().map(|weight| (f64::from(weight) / sigma) as f32))
    }
}

/// `x / max(|x|, 1e-7)`
fn to_unit(mut x: Vec<f64>) -> Vec<f64> {
    let length = x.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-7);
    x.iter_mut().for_each(|x| *x /= length);
    x
}

impl Layer for SpectralNormalization {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.power_iterations > 0, Argument, "power_iterations is 0; at least one is needed");
        Ok(())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        self.layer.output_shapes(inputs)
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        self.layer.build_as("layer", inputs, cx)?;
        let weights = self.layer.weights();
        let kernel = weights.iter().find(|weight| ["kernel", "embeddings"].contains(&weight.name()));
        let kernel = kernel.ok_or_else(|| {
            Error::Argument(format!("layer is a {}, which has no kernel to normalize", self.layer.class_name()))
        })?;
        let columns = kernel.shape().last().copied().unwrap_or(1);
        self.made = Some(Made {
            kernel: cx.alias("kernel", kernel),
            vector_u: cx.state("vector_u", &[1, columns], &TruncatedNormal::new(0.0, 0.02).into())?,
        });
        Ok(())
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        if let Some(made) = self.made.as_ref().filter(|_| cx.training()) {
            self.normalize(made)?;
        }
        let masks = cx.masks().to_vec();
        Ok(cx.wrapped(0, &self.layer, inputs, masks)?.0)
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let wanted = [cx.wants(0)];
        cx.wrapped(&self.layer, gradients.into_iter().map(Some), &wanted)
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        if let Some(Made { kernel, vector_u }) = &self.made {
            visit(kernel);
            visit(vector_u);
        }
        self.layer.visit(visit);
    }

    /// A step normalizes the kernel once.
    fn couples_samples(&self) -> bool {
        true
    }
}
