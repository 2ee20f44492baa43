//! `compile`: what is minimized, how, and what is reported.

use super::pieces::Piece;
use crate::config::Shared;
use crate::error::{Context, Error, Result, ensure};
use crate::layer::Param;
use crate::losses::Loss;
use crate::metrics::{Metric, Metrics};
use crate::model::{Graph, Model};
use crate::optimizers::{Optimizer, OptimizerState, Stored};
use crate::runtime::{Workspace, Workspaces};
use crate::state::State;
use crate::tensor::Tensor;
use std::sync::Arc;

/// The settings of [`Model::compile_with`], for those that [`Model::compile`] has no place for.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([4])).add(Dense::new(1));
/// model.compile_with(Compile::new("adam", "mse").metrics("mae").weighted_metrics("mae"))?;
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// A model of several outputs is in the example of [`Model::new`].
#[derive(Debug)]
pub struct Compile {
    optimizer: Shared<dyn Optimizer>,
    loss: Losses,
    loss_weights: Vec<(String, f64)>,
    metrics: Vec<(Option<String>, Metrics)>,
    weighted_metrics: Vec<(Option<String>, Metrics)>,
}

#[derive(Debug)]
enum Losses {
    /// The same for all outputs.
    All(Shared<dyn Loss>),
    /// By the names of the outputs.
    Each(Vec<(String, Shared<dyn Loss>)>),
}

impl Compile {
    /// An optimizer and a loss, by name or by value. A model of several outputs has this loss on each of them.
    pub fn new(optimizer: impl Into<Shared<dyn Optimizer>>, loss: impl Into<Shared<dyn Loss>>) -> Self {
        Self::with(optimizer.into(), Losses::All(loss.into()))
    }

    /// An optimizer, and the loss of each output by the name of the layer that gives it. An output that is not named
    /// has none.
    pub fn each<N: Into<String>, L: Into<Shared<dyn Loss>>>(
        optimizer: impl Into<Shared<dyn Optimizer>>,
        losses: impl IntoIterator<Item = (N, L)>,
    ) -> Self {
        let losses = losses.into_iter().map(|(name, loss)| (name.into(), loss.into())).collect();
        Self::with(optimizer.into(), Losses::Each(losses))
    }

    fn with(optimizer: Shared<dyn Optimizer>, loss: Losses) -> Self {
        Compile { optimizer, loss, loss_weights: Vec::new(), metrics: Vec::new(), weighted_metrics: Vec::new() }
    }

    /// How much the loss of each output counts in the total, by the name of the output. Default: 1.
    pub fn loss_weights<N: Into<String>>(mut self, weights: impl IntoIterator<Item = (N, f64)>) -> Self {
        self.loss_weights.extend(weights.into_iter().map(|(name, weight)| (name.into(), weight)));
        self
    }

    /// What is reported besides the loss of the only output. Sample and class weights do not count here.
    pub fn metrics(mut self, metrics: impl Into<Metrics>) -> Self {
        self.metrics.push((None, metrics.into()));
        self
    }

    /// What is reported besides the loss of the only output, with sample and class weights.
    pub fn weighted_metrics(mut self, metrics: impl Into<Metrics>) -> Self {
        self.weighted_metrics.push((None, metrics.into()));
        self
    }

    /// As [`metrics`](Self::metrics), of the output of this name.
    pub fn metrics_of(mut self, output: impl Into<String>, metrics: impl Into<Metrics>) -> Self {
        self.metrics.push((Some(output.into()), metrics.into()));
        self
    }

    /// As [`weighted_metrics`](Self::weighted_metrics), of the output of this name.
    pub fn weighted_metrics_of(mut self, output: impl Into<String>, metrics: impl Into<Metrics>) -> Self {
        self.weighted_metrics.push((Some(output.into()), metrics.into()));
        self
    }

    /// The settings of each output, of these names.
    fn terms(self, outputs: &[String]) -> Result<(Shared<dyn Optimizer>, Vec<Term>)> {
        let mut terms: Vec<Term> = outputs.iter().map(|_| Term::default()).collect();
        let place = |what: &str, name: &str| {
            let known = outputs.iter().position(|output| output == name);
            known
                .ok_or_else(|| Error::unknown_name("output of this model", name, outputs.iter().map(String::as_str)))
                .at(|| what.to_owned())
        };
        match self.loss {
            Losses::All(loss) => terms.iter_mut().for_each(|term| term.loss = Some(loss.clone())),
            Losses::Each(losses) => {
                for (name, loss) in losses {
                    terms[place("loss", &name)?].loss = Some(loss);
                }
            }
        }
        for (name, weight) in self.loss_weights {
            terms[place("loss_weights", &name)?].weight = Some(weight);
        }
        let of = |what: &str, name: Option<String>| match name {
            Some(name) => place(what, &name),
            None if outputs.len() == 1 => Ok(0),
            None => Err(Error::Argument(format!(
                "{what}: the model has {} outputs, {outputs:?}; say of which by {what}_of(name, ...)",
                outputs.len()
            ))),
        };
        for (name, mut metrics) in self.metrics {
            if !metrics.0.is_empty() {
                terms[of("metrics", name)?].metrics.0.append(&mut metrics.0);
            }
        }
        for (name, mut metrics) in self.weighted_metrics {
            if !metrics.0.is_empty() {
                terms[of("weighted_metrics", name)?].weighted_metrics.0.append(&mut metrics.0);
            }
        }
        Ok((self.optimizer, terms))
    }
}

/// What is minimized and reported of one output.
#[derive(Debug)]
pub(crate) struct Term {
    pub loss: Option<Shared<dyn Loss>>,
    pub weight: Option<f64>,
    pub metrics: Metrics,
    pub weighted_metrics: Metrics,
    /// The batches' losses, weighted by their sizes.
    pub loss_total: f64,
}

impl Default for Term {
    fn default() -> Self {
        Term { loss: None, weight: None, metrics: ().into(), weighted_metrics: ().into(), loss_total: 0.0 }
    }
}

/// A model's compile settings and what training keeps between steps.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub optimizer: Shared<dyn Optimizer>,
    pub state: OptimizerState,
    /// What is minimized and reported of each output.
    pub terms: Vec<Term>,
    /// The batches' losses in total, weighted by their sizes, and the sum of these.
    pub loss_total: (f64, f64),
    /// What losses and metrics are called in reports.
    names: Names,
    /// The weights that a step changes, as they were at `compile`.
    pub weights: Vec<Param>,
    /// Whether they are known: the model was built before it was compiled, or has been used since.
    pub collected: bool,
    /// The pieces that a batch is cut into, kept from step to step.
    pub pieces: Vec<Piece>,
    /// Memory for work on them.
    pub workspaces: Workspaces,
    /// And for the whole batch.
    pub workspace: Arc<Workspace>,
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

    /// As [`restore`](Self::restore), from a file of Keras that has so many variables: `count` and `value` read one.
    #[cfg_attr(not(feature = "keras"), allow(dead_code))]
    pub fn restore_keras(
        &mut self,
        weights: Vec<Param>,
        variables: usize,
        count: impl Fn(usize) -> Result<u64>,
        value: impl Fn(usize) -> Result<Tensor>,
    ) -> Result<()> {
        let mut state = OptimizerState::new(&*self.optimizer)?;
        if variables > state.stored().len() {
            let shapes: Vec<_> = weights.iter().map(|weight| (weight.path(), weight.shape())).collect();
            state.build(&*self.optimizer, shapes.iter().map(|(path, shape)| (*path, shape.as_slice())));
        }
        let (mut iterations, mut values) = (0, Vec::new());
        let stored = state.stored();
        ensure!(
            variables == stored.len(),
            Data,
            "the optimizer's state has {} variables, but {variables} were given; they belong to another optimizer or model",
            stored.len()
        );
        for (i, stored) in stored.iter().enumerate() {
            match stored {
                Stored::Iterations(_) => iterations = count(i).at(|| "the optimizer's iterations".to_owned())?,
                Stored::Count(_) => values.push(Tensor::full([], count(i)? as f32)),
                Stored::Value(_) => values.push(value(i)?),
                Stored::NoCount | Stored::NoRate => {}
            }
        }
        values.extend(state.lacking_shared(&*self.optimizer, iterations));
        self.restore(weights, iterations, values)
    }

    /// The running losses and the states of all metrics that have one.
    pub fn running(&self) -> Result<(Vec<f64>, Vec<Option<State>>)> {
        let totals = [self.loss_total.0, self.loss_total.1].into_iter();
        let losses = totals.chain(self.terms.iter().map(|term| term.loss_total)).collect();
        let metrics = self.terms.iter().flat_map(|term| term.metrics.0.iter().chain(&term.weighted_metrics.0));
        let state = |metric: &dyn Metric| metric.state().at(|| format!("metric '{}'", metric.name()));
        Ok((losses, metrics.map(|metric| state(&**metric)).collect::<Result<_>>()?))
    }

    /// Takes back what [`running`](Self::running) gave.
    pub fn set_running(&mut self, losses: &[f64], states: &[Option<State>]) -> Result<()> {
        let outputs = self.terms.len();
        let metrics: Vec<_> = self
            .terms
            .iter_mut()
            .flat_map(|term| term.metrics.0.iter_mut().chain(&mut term.weighted_metrics.0))
            .collect();
        ensure!(
            metrics.len() == states.len() && losses.len() == outputs + 2,
            State,
            "the model had {} metrics and {} outputs when the backup was made, and has others now",
            states.len(),
            losses.len().saturating_sub(2)
        );
        for (metric, state) in metrics.into_iter().zip(states) {
            if let Some(state) = state {
                metric.restore(state).at(|| format!("metric '{}'", metric.name()))?;
            }
        }
        self.loss_total = (losses[0], losses[1]);
        self.terms.iter_mut().zip(&losses[2..]).for_each(|(term, loss)| term.loss_total = *loss);
        Ok(())
    }

    /// The first metric that cannot tell its state in the middle of an epoch, if there is one.
    pub fn metric_without_state(&self) -> Option<String> {
        let mut metrics = self.terms.iter().flat_map(|term| term.metrics.0.iter().chain(&term.weighted_metrics.0));
        metrics.find(|metric| !matches!(metric.state(), Ok(Some(_)))).map(|metric| metric.name())
    }

    pub fn reset_metrics(&mut self) {
        self.loss_total = (0.0, 0.0);
        for term in &mut self.terms {
            term.loss_total = 0.0;
            term.metrics.0.iter_mut().chain(&mut term.weighted_metrics.0).for_each(|metric| metric.reset());
        }
    }

    /// The running loss and metrics, in the order in which they were given.
    pub fn logs(&self) -> super::Logs {
        let mut logs = super::Logs::new();
        let (total, samples) = self.loss_total;
        let mean = |total: f64| if samples > 0.0 { total / samples } else { 0.0 };
        logs.insert("loss", mean(total));
        for (name, term) in self.names.losses.iter().zip(&self.terms) {
            if let Some(name) = name {
                logs.insert(name, mean(term.loss_total));
            }
        }
        let metrics = self.terms.iter().flat_map(|term| &term.metrics.0);
        let weighted = self.terms.iter().flat_map(|term| &term.weighted_metrics.0);
        for (name, metric) in self.names.metrics.iter().zip(metrics.chain(weighted)) {
            logs.insert_list(name, metric.results());
        }
        logs
    }

    /// Which of the arrays of targets belongs to each output: as many as outputs, or as outputs with a loss.
    pub fn target_places(&self, arrays: usize) -> Result<Vec<Option<usize>>> {
        let losses = self.terms.iter().filter(|term| term.loss.is_some()).count();
        let all = arrays == self.terms.len();
        ensure!(
            all || arrays == losses,
            Data,
            "y holds {arrays} arrays; the model has {} output{}",
            if losses == self.terms.len() {
                losses.to_string()
            } else {
                format!("{} ({losses} with a loss)", self.terms.len())
            },
            if self.terms.len() == 1 { "" } else { "s" }
        );
        let mut next = 0..arrays;
        Ok(self.terms.iter().map(|term| if all || term.loss.is_some() { next.next() } else { None }).collect())
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
        if self.graph.is_some() || self.starts_with_input() {
            self.build()?;
        }
        // A chain whose input is not known yet has one output.
        let outputs = self.graph.as_ref().map_or_else(|| vec![String::new()], Graph::output_names);
        let (optimizer, terms) = settings.terms(&outputs)?;
        self.compile_terms(optimizer, terms)
    }

    pub(crate) fn compile_terms(&mut self, optimizer: Shared<dyn Optimizer>, terms: Vec<Term>) -> Result<()> {
        optimizer.check().at(|| "optimizer".to_owned())?;
        for term in &terms {
            term.loss.as_ref().map_or(Ok(()), |loss| loss.check()).at(|| "loss".to_owned())?;
            term.metrics.check().and(term.weighted_metrics.check()).at(|| "metrics".to_owned())?;
        }
        ensure!(
            terms.iter().any(|term| term.loss.is_some()),
            Argument,
            "no output has a loss; there is nothing to minimize"
        );
        let outputs = self.graph.as_ref().map_or_else(|| vec![String::new()], Graph::output_names);
        let state = OptimizerState::new(&*optimizer)?;
        self.compiled = Some(Compiled {
            optimizer,
            state,
            names: Names::of(&outputs, &terms),
            terms,
            loss_total: (0.0, 0.0),
            weights: self.trainable_weights(),
            collected: self.graph.is_some(),
            pieces: Vec::new(),
            workspaces: Workspaces::default(),
            workspace: Workspace::new(),
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

    /// Whether a callback has ended or interrupted training: what a loop of one's own looks at.
    pub fn is_stopped(&self) -> bool {
        self.stop_training || self.interrupted
    }

    /// Ends `fit` after the current batch, as something that is not over: with a
    /// [`BackupAndRestore`](super::callbacks::BackupAndRestore) the epoch stays open and a backup is made, from which the
    /// same program goes on (where a metric does not tell its [`state`](crate::metrics::Metric::state), the backup from
    /// after the last epoch stays instead). Without one it is as [`stop_training`](Self::stop_training). What
    /// [`StopOnInterrupt`](super::callbacks::StopOnInterrupt) does at Ctrl-C.
    pub fn interrupt_training(&mut self) {
        self.interrupted = true;
    }

    /// Whether the last `fit` was [interrupted](Self::interrupt_training).
    pub fn is_interrupted(&self) -> bool {
        self.interrupted
    }
}

/// Keras' names in reports.
#[derive(Debug)]
struct Names {
    /// Of the loss of each output, where several have one.
    losses: Vec<Option<String>>,
    /// Of the metrics of all outputs, the weighted ones last.
    metrics: Vec<String>,
}

impl Names {
    /// With several outputs a name begins with the output's; repeats are numbered, a weighted metric whose name is
    /// taken becomes `weighted_…`.
    fn of(outputs: &[String], terms: &[Term]) -> Self {
        let several = terms.iter().filter(|term| term.loss.is_some()).count() > 1;
        let named = |term: &Term, output: &String| (several && term.loss.is_some()).then(|| format!("{output}_loss"));
        let losses = terms.iter().zip(outputs).map(|(term, output)| named(term, output)).collect();
        let prefix = |i: usize| if outputs.len() > 1 { format!("{}_", outputs[i]) } else { String::new() };
        let mut metrics: Vec<String> = Vec::new();
        for (i, term) in terms.iter().enumerate() {
            for metric in &term.metrics.0 {
                let name = prefix(i) + &metric.name();
                let numbered = (1..).map(|n| format!("{name}_{n}"));
                let free = std::iter::once(name.clone()).chain(numbered).find(|name| !metrics.contains(name));
                metrics.extend(free);
            }
        }
        for (i, term) in terms.iter().enumerate() {
            for metric in &term.weighted_metrics.0 {
                let (plain, weighted) =
                    (prefix(i) + &metric.name(), format!("{}weighted_{}", prefix(i), metric.name()));
                let numbered = (1..).map(|n| format!("{weighted}_{n}"));
                let free = [plain, weighted.clone()].into_iter().chain(numbered).find(|name| !metrics.contains(name));
                metrics.extend(free);
            }
        }
        Names { losses, metrics }
    }
}

fn not_compiled(name: &str) -> Error {
    Error::State(format!("model '{name}' is not compiled; call compile(optimizer, loss, metrics) first"))
}
