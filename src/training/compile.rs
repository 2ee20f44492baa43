//! `compile`: what is minimized, how, and what is reported.

use super::pieces::Piece;
use crate::config::Shared;
use crate::error::{Context, Error, Result};
use crate::layer::Param;
use crate::losses::Loss;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::optimizers::{Optimizer, OptimizerState};
use crate::tensor::Tensor;

/// The settings of [`Model::compile_with`], for those that [`Model::compile`] has no place for.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([4])).add(Dense::new(1));
/// model.compile_with(Compile::new("adam", "mse").metrics("mae").weighted_metrics("mae"))?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Debug)]
pub struct Compile {
    optimizer: Shared<dyn Optimizer>,
    loss: Shared<dyn Loss>,
    metrics: Metrics,
    weighted_metrics: Metrics,
}

impl Compile {
    /// An optimizer and a loss, by name or by value.
    pub fn new(optimizer: impl Into<Shared<dyn Optimizer>>, loss: impl Into<Shared<dyn Loss>>) -> Self {
        Compile { optimizer: optimizer.into(), loss: loss.into(), metrics: ().into(), weighted_metrics: ().into() }
    }

    /// What is reported besides the loss. Sample and class weights do not count here.
    pub fn metrics(mut self, metrics: impl Into<Metrics>) -> Self {
        self.metrics = metrics.into();
        self
    }

    /// What is reported besides the loss, with sample and class weights.
    pub fn weighted_metrics(mut self, metrics: impl Into<Metrics>) -> Self {
        self.weighted_metrics = metrics.into();
        self
    }
}

/// A model's compile settings and what training keeps between steps.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub optimizer: Shared<dyn Optimizer>,
    pub state: OptimizerState,
    pub loss: Shared<dyn Loss>,
    /// The batches' losses, weighted by their sizes, and the sum of these.
    pub loss_total: (f64, f64),
    pub metrics: Metrics,
    pub weighted_metrics: Metrics,
    /// What the metrics are called in reports, the weighted ones last.
    names: Vec<String>,
    /// The weights that a step changes, as they were at `compile`.
    pub weights: Vec<Param>,
    /// Whether they are known: the model was built before it was compiled, or has been used since.
    pub collected: bool,
    /// Memory of the pieces that a batch is cut into, kept from step to step.
    pub pieces: Vec<Piece>,
}

impl Compiled {
    /// The number of values that the optimizer keeps, its step counter included, once it has begun.
    pub fn optimizer_params(&self) -> usize {
        match self.state.is_built() {
            true => 1 + self.state.variables().iter().map(|(_, tensor)| tensor.len()).sum::<usize>(),
            false => 0,
        }
    }

    /// Takes back a state of training from a file: the weights that a step changes, the number of
    /// steps, and the optimizer's variables (only its learning rate when no step was made).
    pub fn restore(&mut self, weights: Vec<Param>, iterations: u64, variables: Vec<Tensor>) -> Result<()> {
        let mut state = OptimizerState::new(&*self.optimizer)?;
        if iterations > 0 || variables.len() > state.variables().len() {
            let shapes: Vec<_> = weights.iter().map(|weight| (weight.path(), weight.shape())).collect();
            state.build(&*self.optimizer, shapes.iter().map(|(path, shape)| (*path, shape.as_slice())));
        }
        state.set_variables(variables)?;
        state.set_iterations(iterations);
        (self.state, self.weights, self.collected) = (state, weights, true);
        Ok(())
    }

    pub fn reset_metrics(&mut self) {
        self.loss_total = (0.0, 0.0);
        self.metrics.0.iter_mut().chain(&mut self.weighted_metrics.0).for_each(|metric| metric.reset());
    }

    /// The running loss and metrics, in the order in which they were given.
    pub fn logs(&self) -> super::Logs {
        let mut logs = super::Logs::new();
        let (total, samples) = self.loss_total;
        logs.insert("loss", if samples > 0.0 { total / samples } else { 0.0 });
        for (name, metric) in self.names.iter().zip(self.metrics.0.iter().chain(&self.weighted_metrics.0)) {
            logs.insert_list(name, metric.results());
        }
        logs
    }
}

impl Model {
    /// Sets what is minimized (`loss`), how (`optimizer`) and what is reported (`metrics`), each by
    /// name or by value. Starts the optimizer afresh; weights keep their values.
    ///
    /// Builds the model if its input shape is known. What is [trainable](Model::set_trainable) is
    /// decided here: compile again after a change.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// let mut model = Sequential::new();
    /// model.add(Input::new([4])).add(Dense::new(3).activation("softmax"));
    /// model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])?;
    ///
    /// let error = model.compile("adamm", "mse", ()).unwrap_err();
    /// assert!(error.to_string().contains("did you mean 'adam'"));
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// When a name is unknown, an argument makes no sense or a layer does not fit.
    pub fn compile(
        &mut self,
        optimizer: impl Into<Shared<dyn Optimizer>>,
        loss: impl Into<Shared<dyn Loss>>,
        metrics: impl Into<Metrics>,
    ) -> Result<()> {
        self.compile_with(Compile::new(optimizer, loss).metrics(metrics))
    }

    /// As [`compile`](Self::compile), with all settings.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn compile_with(&mut self, settings: Compile) -> Result<()> {
        let Compile { optimizer, loss, metrics, weighted_metrics } = settings;
        optimizer.check().at(|| "optimizer".to_owned())?;
        loss.check().at(|| "loss".to_owned())?;
        metrics.check().and(weighted_metrics.check()).at(|| "metrics".to_owned())?;
        if self.graph.is_some() || self.starts_with_input() {
            self.build()?;
        }
        let state = OptimizerState::new(&*optimizer)?;
        self.compiled = Some(Compiled {
            optimizer,
            state,
            loss,
            loss_total: (0.0, 0.0),
            names: report_names(&metrics, &weighted_metrics),
            metrics,
            weighted_metrics,
            weights: self.trainable_weights(),
            collected: self.graph.is_some(),
            pieces: Vec::new(),
        });
        Ok(())
    }

    pub(crate) fn compiled(&self) -> Result<&Compiled> {
        self.compiled.as_ref().ok_or_else(|| not_compiled(&self.name))
    }

    pub(crate) fn compiled_mut(&mut self) -> Result<&mut Compiled> {
        self.compiled.as_mut().ok_or_else(|| not_compiled(&self.name))
    }

    /// The learning rate that the next step will use.
    ///
    /// # Errors
    /// When the model is not compiled.
    pub fn learning_rate(&self) -> Result<f64> {
        let compiled = self.compiled()?;
        Ok(f64::from(compiled.state.learning_rate(&*compiled.optimizer)))
    }

    /// Sets the learning rate.
    ///
    /// # Errors
    /// When the model is not compiled, its rate follows a schedule, or the rate is no number of at least 0.
    pub fn set_learning_rate(&mut self, rate: f64) -> Result<()> {
        self.compiled_mut()?.state.set_learning_rate(rate)
    }

    /// The number of steps that the optimizer has made since `compile`.
    ///
    /// # Errors
    /// When the model is not compiled.
    pub fn iterations(&self) -> Result<u64> {
        Ok(self.compiled()?.state.iterations())
    }

    /// Ends `fit` after the current batch.
    pub fn stop_training(&mut self) {
        self.stop_training = true;
    }
}

/// Keras' names of metrics in reports: repeats are numbered, a weighted metric whose name is taken
/// becomes `weighted_…`.
fn report_names(metrics: &Metrics, weighted: &Metrics) -> Vec<String> {
    let mut names = metrics.names();
    for metric in &weighted.0 {
        let name = metric.name();
        let first = [name.clone(), format!("weighted_{name}")];
        let numbered = (1..).map(|n| format!("weighted_{name}_{n}"));
        let free = first.into_iter().chain(numbered).find(|name| !names.contains(name));
        names.extend(free);
    }
    names
}

fn not_compiled(name: &str) -> Error {
    Error::State(format!("model '{name}' is not compiled; call compile(optimizer, loss, metrics) first"))
}
