//! The training step in its parts, for loops of one's own: forward, backward, apply.

use super::inputs::{Inputs, gather};
use super::step::apply;
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Effects, Forward, GradientStore, Param, Pass, Saved, Values};
use crate::model::Model;
use crate::runtime::{Workspace, threads};
use crate::tensor::Tensor;
use std::sync::Arc;

/// What [`Model::backward`] computes the gradients of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Differentiate {
    /// The weights that are learned.
    #[default]
    Weights,
    /// The inputs (saliency, adversarial examples, a generator behind a discriminator).
    Inputs,
    /// Both.
    Both,
}

impl Differentiate {
    fn inputs(self) -> bool {
        self != Differentiate::Weights
    }
}

/// A forward pass that remembers what its backward pass needs.
pub struct Recorded {
    outputs: Values,
    saved: Saved,
    states: Vec<(Param, Tensor)>,
    loss: f64,
    of: Differentiate,
    workspace: Arc<Workspace>,
}

impl Recorded {
    /// The first output.
    pub fn output(&self) -> Tensor {
        self.outputs.first().cloned().unwrap_or_default()
    }

    /// What the layers added to the loss: penalties on their outputs.
    pub fn added_loss(&self) -> f64 {
        self.loss
    }
}

/// What [`Model::backward`] found.
#[derive(Debug)]
pub struct Differentiated {
    /// The gradients of the weights that are learned.
    pub weights: GradientStore,
    /// The gradients of the inputs, where they were asked for.
    pub inputs: Vec<Option<Tensor>>,
}

impl Model {
    /// Runs the model on a batch and remembers what [`backward`](Self::backward) needs.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// use cornu::training::Differentiate;
    /// use ndarray::array;
    ///
    /// let mut model = Sequential::new().with_seed(1);
    /// model.add(Input::new([2])).add(Dense::new(1));
    /// model.compile(Sgd::new(0.1), "mse", ())?;
    /// let (x, y) = (array![[1.0, 2.0], [3.0, -1.0]], array![[1.0], [0.0]]);
    ///
    /// // The same as train_on_batch, in its parts.
    /// let pass = model.forward(&x, true, Differentiate::Weights)?;
    /// let error = pass.output().zip_map(&Tensor::from(y.mapv(|v: f64| v as f32).into_dyn()), |p, t| p - t)?;
    /// let gradients = model.backward(pass, error.map(|e| e * 2.0 / 2.0))?;
    /// model.apply(gradients.weights)?;
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the model is not built or the input does not fit.
    pub fn forward<'a>(&self, x: impl Into<Inputs<'a>>, training: bool, of: Differentiate) -> Result<Recorded> {
        let x = x.into();
        let graph = self.built()?;
        let rows: Vec<usize> = (0..x.samples("x")?).collect();
        let workspace = Workspace::new();
        let step = self.compiled.as_ref().map_or(0, |compiled| compiled.state.iterations());
        let pass = Pass { training, seed: self.seed, step, first_sample: 0, share: 1.0, workspace: workspace.clone() };
        let (mut saved, mut effects) = (Saved::default(), Effects::default());
        let (outputs, _) = threads::enter(|| {
            let mut cx = Forward {
                inputs_need_gradient: of.inputs(),
                ..Forward::of_model(&pass, &mut saved, &mut effects, true)
            };
            graph.forward(gather(&x, &rows, &workspace), &mut cx)
        })?;
        Ok(Recorded { outputs, saved, states: effects.states, loss: effects.loss, of, workspace })
    }

    /// From the gradient of the output, those of the weights, of the inputs, or of both, as `forward`
    /// was told. Penalties on weights are added by [`apply`](Self::apply). Tracked weights (moving
    /// averages) take the values of the forward pass.
    ///
    /// # Errors
    /// When the gradient does not have the output's shape.
    pub fn backward(&mut self, pass: Recorded, gradient: impl Into<Tensor>) -> Result<Differentiated> {
        let gradient = gradient.into();
        let graph = self.built()?;
        let Recorded { outputs, mut saved, states, of, workspace, .. } = pass;
        let output = outputs.one()?;
        ensure!(
            gradient.shape() == output.shape(),
            Shape,
            "the output has shape {:?}, its gradient {:?}; they must be equal",
            output.shape(),
            gradient.shape()
        );
        let weights = if of == Differentiate::Inputs { Vec::new() } else { self.trainable_weights() };
        let mut store = GradientStore::new(&weights);
        let wanted = graph.inputs.iter().map(|_| of.inputs()).collect();
        let inputs = threads::enter(|| {
            graph.backward(
                smallvec::smallvec![Some(gradient)],
                &mut Backward {
                    saved: &mut saved,
                    gradients: &mut store,
                    workspace: &workspace,
                    share: 1.0,
                    trainable: true,
                    wanted,
                    gates: Default::default(),
                },
            )
        })?;
        states.into_iter().try_for_each(|(param, value)| param.set(value))?;
        Ok(Differentiated { weights: store, inputs: inputs.into_iter().collect() })
    }

    /// Moves the weights along these gradients: one step of the compiled optimizer, penalties on
    /// weights, clipping and constraints included.
    ///
    /// # Errors
    /// When the model is not compiled, or the gradients are not those of its trainable weights.
    pub fn apply(&mut self, mut gradients: GradientStore) -> Result<()> {
        self.check_trainable()?;
        let super::Compiled { optimizer, state, weights, .. } = self.compiled_mut()?;
        if weights.len() != gradients.values().len() || weights.iter().any(|w| gradients.get(w).is_none()) {
            return Err(Error::Argument(
                "these are not the gradients of the weights that were trainable at compile; compile again after a change"
                    .to_owned(),
            ));
        }
        threads::enter(|| apply(&**optimizer, state, weights, &mut gradients, &mut []))
    }
}
