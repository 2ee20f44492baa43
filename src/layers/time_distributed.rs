//! A layer for each step of a sequence.

use super::permute::transpose;
use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Build, Forward, Gradients, Layer, LayerHandle, Param, Pass, Values, one_shape};
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Calls a layer on each time step of a sequence alone (Keras: `TimeDistributed`).
///
/// Input `(batch, time, …)`, output `(batch, time, …)`, with what the layer makes of `(batch, …)`. Where a layer takes
/// means over a batch in training, each step is a batch of its own. As in Keras, the layer's own `activity_regularizer`
/// is not asked.
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

/// `(batch, time, …)` as the tensors `(batch, …)` of its steps.
fn split(x: &Tensor) -> Result<Vec<Tensor>> {
    let turned = transpose(x, &swapped(x.rank()))?;
    let shape = &turned.shape()[1..];
    let size = turned.len() / turned.batch().max(1);
    turned.data().chunks_exact(size.max(1)).map(|step| Tensor::new(shape, step.to_vec())).collect()
}

/// What undoes [`split`].
fn join(steps: Vec<Tensor>) -> Result<Tensor> {
    let shape: Dims = std::iter::once(steps.len()).chain(steps[0].shape().iter().copied()).collect();
    let values = steps.iter().flat_map(|step| step.data()).copied().collect();
    transpose(&Tensor::new(&shape, values)?, &swapped(shape.len()))
}

/// The order of axes in which the first two have changed places.
fn swapped(rank: usize) -> Vec<usize> {
    [1, 0].into_iter().chain(2..rank).collect()
}

impl TimeDistributed {
    /// Calls the layer on samples of one step or of all of them.
    fn call(
        &self,
        x: Tensor,
        mask: Option<Tensor>,
        [steps, first]: [usize; 2],
        cx: &mut Forward<'_>,
    ) -> Result<Tensor> {
        // Each step is a sample of its own, so that it draws at random for itself however a batch is cut.
        let first_sample = cx.pass.first_sample.wrapping_mul(steps as u64).wrapping_add(first as u64);
        let pass = Pass { first_sample, ..cx.pass.clone() };
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
        inner.wrapped_bare(0, &self.layer, x.into(), [mask])?.0.one()
    }
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

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> f64 {
        let Some(Ok(input)) = inputs.first().map(step) else { return 0.0 };
        let steps = inputs[0].get(1).unwrap_or(1) as f64;
        let input = [input];
        let outputs = self.layer.output_shapes(&input).unwrap_or_default();
        steps * self.layer.layer().flops(&input, &outputs)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        ensure!(x.rank() >= 3, Shape, "expected (batch, time, …), got an input of shape {:?}", x.shape());
        let (batch, steps) = (x.shape()[0], x.shape()[1]);
        let mask = cx.mask(0).cloned();
        let alone = cx.training && steps > 0 && self.couples_samples();
        let y = if alone {
            let masks = match &mask {
                Some(mask) => split(mask)?.into_iter().map(Some).collect(),
                None => vec![None; steps],
            };
            let each = split(&x)?.into_iter().zip(masks).enumerate();
            join(each.map(|(t, (x, mask))| self.call(x, mask, [steps, t * batch], cx)).collect::<Result<Vec<_>>>()?)?
        } else {
            // All steps are one batch. A mask of the steps is not the layer's business; one of what is inside them is.
            let inside = mask.clone().filter(|mask| mask.rank() > 2);
            let inside = inside.map(|mask| mask.clone().reshape(fold(mask.shape()))).transpose()?;
            let folded = fold(x.shape());
            let y = self.call(x.reshape(&folded)?, inside, [steps, 0], cx)?;
            let unfolded = unfold(batch, steps, y.shape());
            y.reshape(&unfolded)?
        };
        cx.save_shape(&[batch, steps, usize::from(alone)]);
        cx.set_masks([mask]);
        Ok(y.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let dy = gradients.one()?;
        let shape = cx.restore_shape()?;
        let wanted = [cx.wants(0)];
        if shape[2] == 1 {
            let mut steps = Vec::new();
            for dy in split(&dy)?.into_iter().rev() {
                steps.extend(cx.wrapped_bare(&self.layer, dy.into(), &wanted)?.into_iter().next().flatten());
            }
            steps.reverse();
            return Ok([(!steps.is_empty()).then(|| join(steps)).transpose()?].into_iter().collect());
        }
        let folded = fold(dy.shape());
        let gradients = cx.wrapped_bare(&self.layer, dy.reshape(&folded)?.into(), &wanted)?;
        let unfolded = |dx: Option<Tensor>| {
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

    fn carries_states(&self) -> bool {
        self.layer.layer().carries_states()
    }

    fn visit_states(&self, visit: &mut dyn FnMut(&Param)) {
        self.layer.layer().visit_states(visit);
    }

    fn couples_samples(&self) -> bool {
        self.layer.trainable() && self.layer.layer().couples_samples()
    }
}
