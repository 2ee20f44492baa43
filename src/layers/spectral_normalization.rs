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
/// value is estimated by power iteration, which goes on from step to step. In training the layer computes with the divided
/// kernel, and the gradient flows through the division; the kernel that is learned, and that predictions use, is not
/// divided (so it is in Keras on JAX; on other backends the divided kernel takes its place).
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
    /// The layer's kernel, which Keras counts among this layer's weights too: here under this layer's path, ...
    kernel: Param,
    /// ... and as the layer learns it.
    learned: Param,
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

    /// The power iterations of a step: what makes the kernel's largest singular value 1, as well as it is known. None
    /// for a kernel of zeros.
    fn direction(&self, kernel: &Tensor, u: &Tensor) -> Option<Direction> {
        let columns = kernel.last().max(1);
        if kernel.data().iter().all(|&weight| weight == 0.0) {
            return None;
        }
        let rows = || kernel.data().chunks_exact(columns);
        let mut u: Vec<f64> = u.data().iter().map(|&u| f64::from(u)).collect();
        let mut v = Vec::new();
        for _ in 0..self.power_iterations {
            v = to_unit(rows().map(|row| row.iter().zip(&u).map(|(&w, u)| f64::from(w) * u).sum()).collect());
            u.fill(0.0);
            rows().zip(&v).for_each(|(row, v)| u.iter_mut().zip(row).for_each(|(u, &w)| *u += v * f64::from(w)));
            u = to_unit(u);
        }
        let along = |row: &[f32]| row.iter().zip(&u).map(|(&w, u)| f64::from(w) * u).sum::<f64>();
        let sigma: f64 = rows().zip(&v).map(|(row, v)| v * along(row)).sum();
        Some(Direction { u, v, sigma })
    }
}

/// Unit vectors and `sigma = v · kernel · uᵀ`, by which the kernel is divided.
struct Direction {
    u: Vec<f64>,
    v: Vec<f64>,
    sigma: f64,
}

impl Direction {
    fn normalize(&self, kernel: &Tensor) -> Tensor {
        kernel.clone().map(|weight| (f64::from(weight) / self.sigma) as f32)
    }

    /// Turns the gradient of the divided kernel into that of the kernel; the vectors count as constants, as in Keras.
    fn back(&self, kernel: &Tensor, gradient: &mut [f32]) {
        let along: f64 = gradient.iter().zip(kernel.data()).map(|(&g, &w)| f64::from(g) * f64::from(w)).sum();
        let of_sigma = along / (self.sigma * self.sigma);
        for (row, v) in gradient.chunks_exact_mut(self.u.len()).zip(&self.v) {
            let each = row.iter_mut().zip(&self.u);
            each.for_each(|(g, u)| *g = (f64::from(*g) / self.sigma - of_sigma * v * u) as f32);
        }
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
            learned: kernel.clone(),
            vector_u: cx.state("vector_u", &[1, columns], &TruncatedNormal::new(0.0, 0.02).into())?,
        });
        Ok(())
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let masks = cx.masks().to_vec();
        let made = self.made.as_ref().filter(|_| cx.training());
        let Some(Made { learned: kernel, vector_u, .. }) = made else {
            let outputs = cx.wrapped(0, &self.layer, inputs, masks)?.0;
            cx.save(Tensor::default());
            return Ok(outputs);
        };
        let (weights, before) = (kernel.value(), cx.state(vector_u));
        let direction = self.direction(&weights, &before);
        if let Some(direction) = &direction {
            let u = direction.u.iter().map(|&u| u as f32).collect();
            cx.update_state(vector_u, Tensor::new([1, direction.u.len()], u)?);
            kernel.set(direction.normalize(&weights))?;
        }
        // The layer reads the divided kernel; the one that is learned comes back whatever happens.
        let outputs = cx.wrapped(0, &self.layer, inputs, masks);
        kernel.set(weights)?;
        cx.save(before);
        Ok(outputs?.0)
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let Made { learned: kernel, .. } =
            self.made.as_ref().ok_or_else(|| Error::State("it is not built, so it has no gradient".to_owned()))?;
        let (wanted, before) = ([cx.wants(0)], cx.restore()?);
        let weights = kernel.value();
        // Nothing was divided outside of training.
        let direction = if before.is_empty() { None } else { self.direction(&weights, &before) };
        if let Some(direction) = &direction {
            kernel.set(direction.normalize(&weights))?;
        }
        // What other calls of the layer gave is not divided again.
        let others: Option<Vec<f32>> = cx.gradient(kernel).map(|gradient| {
            let others = gradient.to_vec();
            gradient.fill(0.0);
            others
        });
        let result = cx.wrapped(&self.layer, gradients.into_iter().map(Some), &wanted);
        kernel.set(weights.clone())?;
        if let (Some(gradient), Some(others)) = (cx.gradient(kernel), others) {
            if let Some(direction) = &direction {
                direction.back(&weights, gradient);
            }
            gradient.iter_mut().zip(others).for_each(|(gradient, other)| *gradient += other);
        }
        result
    }

    fn flops(&self, inputs: &[Shape], outputs: &[Shape]) -> f64 {
        self.layer.layer().flops(inputs, outputs)
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        if let Some(Made { kernel, vector_u, .. }) = &self.made {
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
