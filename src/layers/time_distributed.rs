//! A layer for each step of a sequence.

use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Build, Forward, Gradients, Layer, LayerHandle, Param, Pass, Values, one_shape};
use crate::shape::{Dims, Shape};
use serde::{Deserialize, Serialize};

/// Calls a layer on each time step of a sequence alone (Keras: `TimeDistributed`).
///
/// Input `(batch, time, …)`, output `(batch, time, …)`, with what the layer makes of `(batch, …)`. All steps are one
/// batch to it, in training too: where a layer takes means over a batch, they are over all steps.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model
///     .add(Input::new([10, 32, 32, 3]))
///     .add(TimeDistributed::new(Conv2D::new(8, 3)))
///     .add(TimeDistributed::new(GlobalAveragePooling2D::new()))
///     .add(LSTM::new(16));
/// model.build()?;
/// assert_eq!(model.layers()[0].weights()[0].path(), "time_distributed/layer/kernel");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TimeDistributed {
    layer: LayerHandle,
}

impl TimeDistributed {
    /// This layer for each step.
    pub fn new(layer: impl Into<LayerHandle>) -> Self {
        let layer = layer.into();
        if layer.name().is_empty() {
            layer.set_name(config::snake_case(&layer.class_name()));
        }
        TimeDistributed { layer }
    }

    /// The layer inside.
    #[cfg(feature = "keras")]
    pub(crate) fn layer(&self) -> &LayerHandle {
        &self.layer
    }
}

/// The shape of one step.
fn step(input: &Shape) -> Result<Shape> {
    match input.dims() {
        [batch, _, rest @ ..] if !rest.is_empty() => {
            Ok(Shape::new(std::iter::once(*batch).chain(rest.iter().copied()).collect::<Vec<_>>()))
        }
        _ => Err(Error::Shape(format!("expected an input of at least 3 dimensions, (batch, time, …), got {input}"))),
    }
}

/// `(batch, time, …)` as `(batch · time, …)`.
fn fold(dims: &[usize]) -> Dims {
    std::iter::once(dims[0] * dims[1]).chain(dims[2..].iter().copied()).collect()
}

/// `(batch · time, …)` as `(batch, time, …)`.
fn unfold(batch: usize, steps: usize, dims: &[usize]) -> Dims {
    [batch, steps].into_iter().chain(dims.iter().skip(1).copied()).collect()
}

impl Layer for TimeDistributed {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        let shapes = self.layer.output_shapes(&[step(input)?])?;
        let timed = |shape: &Shape| {
            let mut dims = shape.dims().to_vec();
            dims.insert(1, input.dims()[1]);
            Shape::new(dims)
        };
        Ok(vec![timed(one_shape(&shapes)?)])
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        self.layer.build_as("layer", &[step(one_shape(inputs)?)?], cx)
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        ensure!(x.rank() >= 3, Shape, "expected (batch, time, …), got an input of shape {:?}", x.shape());
        let (batch, steps) = (x.shape()[0], x.shape()[1]);
        // A mask of the steps is not the layer's business; one of what is inside them is.
        let mask = match cx.mask(0) {
            Some(mask) if mask.rank() > 2 => Some(mask.clone().reshape(fold(mask.shape()))?),
            _ => None,
        };
        let folded = fold(x.shape());
        // Each step is a sample of its own, so that it draws at random for itself however a batch is cut.
        let first_sample = cx.pass.first_sample.wrapping_mul(steps as u64);
        let pass = Pass { first_sample, ..cx.pass.clone() };
        let output_mask = cx.mask(0).cloned();
        let mut inner = Forward {
            pass: &pass,
            training: cx.training,
            arguments: cx.arguments,
            masks: Default::default(),
            output_masks: None,
            saved: &mut *cx.saved,
            effects: &mut *cx.effects,
            stream: cx.stream,
            trainable: cx.trainable,
            recording: cx.recording,
            inputs_need_gradient: cx.inputs_need_gradient,
            fused: Default::default(),
        };
        let (outputs, _) = inner.wrapped(0, &self.layer, x.reshape(&folded)?.into(), [mask])?;
        let y = outputs.one()?;
        let unfolded = unfold(batch, steps, y.shape());
        cx.save_shape(&[batch, steps]);
        cx.set_masks([output_mask]);
        Ok(y.reshape(&unfolded)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let dy = gradients.one()?;
        let shape = cx.restore_shape()?;
        let folded = fold(dy.shape());
        let wanted = [cx.wants(0)];
        let gradients = cx.wrapped(&self.layer, [Some(dy.reshape(&folded)?)], &wanted)?;
        let unfolded = |dx: Option<crate::tensor::Tensor>| {
            let dims = dx.as_ref().map(|dx| unfold(shape[0], shape[1], dx.shape()));
            dx.zip(dims).map(|(dx, dims)| dx.reshape(dims)).transpose()
        };
        gradients.into_iter().map(unfolded).collect()
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.layer.visit(visit);
    }

    fn reset_states(&self) {
        self.layer.layer().reset_states();
    }

    fn couples_samples(&self) -> bool {
        self.layer.trainable() && self.layer.layer().couples_samples()
    }
}
