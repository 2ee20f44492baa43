//! `predict`: outputs for inputs. Needs no `compile`, changes nothing, works from several threads.

use super::callbacks::{Callback, CallbackList, Params, ProgbarLogger, Verbose};
use super::inputs::{Inputs, check_batch_size, gather};
use super::pieces::{self, concatenate};
use super::step::sample_dims;
use crate::data::{Cardinality, Dataset, Rows};
use crate::error::{Context, Error, Result, ensure};
use crate::layer::{Forward, Pass, Values};
use crate::model::{Graph, Model};
use crate::runtime::{Workspace, Workspaces, threads};
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use ndarray::{ArrayD, ArrayViewMut, Axis, Dimension};
use smallvec::SmallVec;
use std::sync::Arc;

/// Options of [`Model::predict`]: batches of 32, silent.
pub struct Predict<'a> {
    batch_size: usize,
    steps: Option<usize>,
    verbose: Verbose,
    callbacks: CallbackList<'a>,
}

impl Default for Predict<'_> {
    fn default() -> Self {
        Predict { batch_size: 32, steps: None, verbose: Verbose::Silent, callbacks: CallbackList::default() }
    }
}

impl<'a> Predict<'a> {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Samples that are computed together: more need more memory.
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Stops after so many batches. Default: at the end; a dataset that never ends needs it.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = Some(steps);
        self
    }

    /// What is printed: 0 nothing (the default), 1 a progress bar, 2 a line.
    pub fn verbose(mut self, verbose: impl Into<Verbose>) -> Self {
        self.verbose = verbose.into();
        self
    }

    super::callbacks::callback_builder!();
}

/// Predicts batch after batch into memory of the caller's, without allocating any that grows with the model or the
/// batch once it is warm: for programs that must answer at once. See [`Model::predictor`].
pub struct Predictor<'m> {
    model: &'m Model,
    rows: Vec<usize>,
    workspaces: Workspaces,
}

impl Model {
    /// The outputs for `x`, an `ndarray` array or view whose first axis counts samples, or a
    /// [`Dataset`], of which the targets are left aside.
    ///
    /// # Errors
    /// When the model is not built, `x` is empty or has another shape than the model's input, or an element of a dataset
    /// cannot be made.
    pub fn predict<'a>(&self, x: impl Into<Inputs<'a>>, options: Predict<'_>) -> Result<ArrayD<f32>> {
        let outputs = self.built()?.outputs.len();
        ensure!(outputs == 1, Argument, "the model has {outputs} outputs; predict_all returns them all");
        Ok(self.predict_all(x, options)?.remove(0))
    }

    /// As [`predict`](Self::predict), for a model of any number of outputs.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn predict_all<'a>(&self, x: impl Into<Inputs<'a>>, options: Predict<'_>) -> Result<Vec<ArrayD<f32>>> {
        let x = x.into();
        self.built()?;
        let Predict { batch_size, steps, verbose, mut callbacks } = options;
        check_batch_size(batch_size)?;
        ensure!(steps != Some(0), Argument, "steps must be at least 1");
        if verbose != Verbose::Silent {
            callbacks.push(ProgbarLogger::new(verbose));
        }
        let batches = match &x {
            Inputs::Dataset(dataset) => Batches::Dataset(dataset.batches(batch_size, 0)),
            Inputs::Arrays(_) => {
                Batches::Rows(x.samples("x")?.min(steps.unwrap_or(usize::MAX).saturating_mul(batch_size)))
            }
        };
        let known = match &batches {
            Batches::Dataset(batches) => {
                let never_ends = batches.cardinality() == Cardinality::Infinite;
                ensure!(
                    !never_ends || steps.is_some(),
                    Argument,
                    "the dataset never ends; steps says how many batches to take"
                );
                batches.cardinality().known().into_iter().chain(steps).min()
            }
            Batches::Rows(n) => Some(n.div_ceil(batch_size)),
        };
        callbacks.set_params(&Params { epochs: 1, steps: known, batch_size })?;
        callbacks.on_predict_begin(self)?;
        let outputs = match batches {
            Batches::Dataset(batches) => self.predict_dataset(&batches, batch_size, steps, &mut callbacks),
            Batches::Rows(n) => self.predict_arrays(&x, n, batch_size, &mut callbacks),
        };
        // Also after an error: what a callback has changed for the prediction is set right again.
        let ended = callbacks.on_predict_end(self);
        let outputs = outputs?;
        ended.map(|()| outputs)
    }

    /// As [`predict_all`](Self::predict_all), for the first `n` rows of arrays.
    fn predict_arrays(
        &self,
        x: &Inputs<'_>,
        n: usize,
        batch_size: usize,
        callbacks: &mut CallbackList<'_>,
    ) -> Result<Vec<ArrayD<f32>>> {
        let graph = self.built()?;
        let rows: Vec<usize> = (0..n).collect();
        let workspaces = Workspaces::default();
        let outputs = match output_dims(graph, n) {
            Some(dims) => {
                let mut outputs: Vec<Tensor> = dims.iter().map(Tensor::zeros).collect();
                let mut places: Places<'_> = outputs.iter_mut().map(Tensor::data_mut).collect();
                let each: SmallVec<[usize; 1]> = places.iter().map(|place| place.len() / n.max(1)).collect();
                // Where nobody is to be told of batches, the threads share all of them.
                let told = if callbacks.is_empty() { n } else { batch_size };
                for (batch, rows) in rows.chunks(told.max(1)).enumerate() {
                    callbacks.on_predict_batch_begin(self, batch)?;
                    let part = places.iter_mut().zip(&each).map(|(rest, each)| cut(rest, rows.len() * each)).collect();
                    self.predict_rows(x, rows, batch_size, part, &workspaces)?;
                    callbacks.on_predict_batch_end(self, batch)?;
                }
                drop(places);
                outputs
            }
            // The shapes show when the model has run.
            None => threads::enter(|| {
                let workspace = Workspace::new();
                let mut parts: Vec<Vec<Tensor>> = graph.outputs.iter().map(|_| Vec::new()).collect();
                for (batch, rows) in rows.chunks(batch_size).enumerate() {
                    callbacks.on_predict_batch_begin(self, batch)?;
                    let outputs = self.infer(x, rows, &workspace)?;
                    parts.iter_mut().zip(outputs).for_each(|(parts, output)| parts.push(detached(output)));
                    callbacks.on_predict_batch_end(self, batch)?;
                }
                parts.into_iter().map(|parts| concatenate(parts, &workspace)).collect::<Result<_>>()
            })?,
        };
        Ok(outputs.into_iter().map(Tensor::into_array).collect())
    }

    /// As [`predict_all`](Self::predict_all), batch after batch of a dataset.
    fn predict_dataset(
        &self,
        batches: &Dataset,
        batch_size: usize,
        steps: Option<usize>,
        callbacks: &mut CallbackList<'_>,
    ) -> Result<Vec<ArrayD<f32>>> {
        let mut parts: Vec<Vec<ArrayD<f32>>> = Vec::new();
        for (i, item) in batches.pass(self.seed, 0).take(steps.unwrap_or(usize::MAX)).enumerate() {
            let x = item?.x;
            callbacks.on_predict_batch_begin(self, i)?;
            let x: Vec<&dyn Rows> = x.iter().map(|x| x as &dyn Rows).collect();
            let outputs = self.predict_all(x, Predict::new().batch_size(batch_size));
            let outputs = outputs.at(|| format!("batch {i} of the dataset"))?;
            callbacks.on_predict_batch_end(self, i)?;
            parts.resize_with(outputs.len(), Vec::new);
            parts.iter_mut().zip(outputs).for_each(|(parts, output)| parts.push(output));
        }
        ensure!(!parts.is_empty(), Data, "the dataset is empty: it has no batches");
        let join = |parts: Vec<ArrayD<f32>>| {
            let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
            let joined = ndarray::concatenate(Axis(0), &views);
            joined.map_err(|error| Error::Shape(format!("the outputs of the batches differ in shape: {error}")))
        };
        parts.into_iter().map(join).collect()
    }

    /// The outputs for one batch, computed together (Keras: `predict_on_batch`).
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    pub fn predict_on_batch<'a>(&self, x: impl Into<Inputs<'a>>) -> Result<ArrayD<f32>> {
        let x = x.into();
        let n = x.samples("x")?;
        self.predict(x, Predict::new().batch_size(n))
    }

    /// What predicts again and again into memory of the caller's.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// let mut model = Sequential::new();
    /// model.add(Input::new([4])).add(Dense::new(2));
    /// model.build()?;
    /// let mut predictor = model.predictor();
    /// let (x, mut y) = (ndarray::Array2::<f32>::ones((3, 4)), ndarray::Array2::zeros((3, 2)));
    /// predictor.predict_into(&x, y.view_mut())?;
    /// assert_eq!(y.into_dyn(), model.predict(&x, Predict::new())?);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn predictor(&self) -> Predictor<'_> {
        Predictor { model: self, rows: Vec::new(), workspaces: Workspaces::default() }
    }

    /// Predicts these rows into `outputs`, each of which has the size of that output for all of them.
    fn predict_rows(
        &self,
        x: &Inputs<'_>,
        rows: &[usize],
        batch_size: usize,
        outputs: Places<'_>,
        workspaces: &Workspaces,
    ) -> Result<()> {
        let graph = self.built()?;
        let each: SmallVec<[usize; 1]> = outputs.iter().map(|output| output.len() / rows.len().max(1)).collect();
        let largest = largest(graph).max(1);
        // Samples that do not fit into a core's cache are computed one task after the other: a layer then shares its
        // work among the threads by itself, and reads its weights once for all samples of the task.
        let large = largest > CACHED;
        let together = (if large { LARGE } else { CACHED } / largest).clamp(1, MOST_TOGETHER);
        // No layer couples samples when it predicts, so batches are cut as suits the threads and their caches; but those
        // of stateful layers run whole and in order.
        let in_order = graph.carries_states();
        let mut tasks: SmallVec<[Task<'_>; 8]> = SmallVec::new();
        let mut rest = outputs;
        for rows in rows.chunks(batch_size) {
            let work = rows.len() as f64 * graph.work();
            let count = match (in_order, large) {
                (true, _) => 1,
                (false, true) => rows.len().div_ceil(together),
                (false, false) => rows.len().div_ceil(together).max(pieces::count(rows.len(), work, 0)),
            };
            for range in pieces::cut(rows.len(), count) {
                let outputs = rest.iter_mut().zip(&each).map(|(rest, each)| cut(rest, range.len() * each)).collect();
                tasks.push(Task { rows: &rows[range], outputs, result: Ok(()) });
            }
        }
        let run = |workspace: &Arc<Workspace>, task: &mut Task<'_>| {
            for (y, place) in self.infer(x, task.rows, workspace)?.into_iter().zip(&mut task.outputs) {
                ensure!(
                    y.len() == place.len(),
                    Shape,
                    "the model gave an output of shape {:?}, not the {} values that its output shape promises",
                    y.shape(),
                    place.len()
                );
                place.copy_from_slice(y.data());
            }
            Ok(())
        };
        let run = |task: &mut Task<'_>| workspaces.with(|workspace| run(workspace, task));
        match &mut tasks[..] {
            // Alone it stays here, where the caller's caches are warm, unless a layer forks by itself.
            [task] if rows.len() as f64 * graph.work() < ALONE => run(task),
            tasks if in_order || large => threads::enter(|| tasks.iter_mut().try_for_each(run)),
            tasks => {
                threads::enter(|| threads::for_each(tasks, |_, task| task.result = run(task)));
                tasks.iter_mut().try_for_each(|task| std::mem::replace(&mut task.result, Ok(())))
            }
        }
    }

    fn infer(&self, x: &Inputs<'_>, rows: &[usize], workspace: &Arc<Workspace>) -> Result<Values> {
        let pass = Pass {
            training: false,
            seed: self.seed,
            step: 0,
            first_sample: 0,
            share: 1.0,
            workspace: workspace.clone(),
        };
        let (mut saved, mut effects) = Default::default();
        let mut cx = Forward::of_model(&pass, &mut saved, &mut effects, false);
        let outputs = self.built()?.forward(gather(x, rows, workspace), &mut cx)?.0;
        // Of stateful layers.
        effects.states.into_iter().try_for_each(|(param, value)| param.set(detached(value)))?;
        Ok(outputs)
    }
}

impl Predictor<'_> {
    /// The outputs for the batch `x`, written to `output`, an array of the output's shape for as many samples.
    ///
    /// # Errors
    /// As [`Model::predict`]; when `output` has another shape or its values do not lie in order without gaps.
    pub fn predict_into<'a, D: Dimension>(
        &mut self,
        x: impl Into<Inputs<'a>>,
        mut output: ArrayViewMut<'_, f32, D>,
    ) -> Result<()> {
        let x = x.into();
        let n = x.samples("x")?;
        let Some(dims) = output_dims(self.model.built()?, n) else {
            return Err(Error::State("the model's output shape is not known before it runs; use predict".to_owned()));
        };
        ensure!(dims.len() == 1, Argument, "the model has {} outputs; predict_into serves models of one", dims.len());
        let dims = &dims[0];
        ensure!(
            output.shape() == &dims[..],
            Shape,
            "the outputs for {n} samples have shape {:?}, the array for them has {:?}",
            &dims[..],
            output.shape()
        );
        let Some(output) = output.as_slice_mut() else {
            return Err(Error::Argument(
                "the values of the array for the outputs must lie in order without gaps".to_owned(),
            ));
        };
        if self.rows.len() != n {
            self.rows = (0..n).collect();
        }
        self.model.predict_rows(&x, &self.rows, n, smallvec::smallvec![output], &self.workspaces)
    }
}

/// Samples that are computed together at most when predicting, ...
const MOST_TOGETHER: usize = 32;
/// ... and so few that what a layer reads and writes, this many values, stays in a core's cache.
const CACHED: usize = 1 << 18;
/// Of larger samples so few that what a layer reads and writes takes 128 MiB.
const LARGE: usize = 1 << 25;
/// Below so many floating-point operations, some 100 µs, a single batch is not handed to the pool.
const ALONE: f64 = 1e7;

/// Where the values of each output go.
type Places<'a> = SmallVec<[&'a mut [f32]; 1]>;

/// The dimensions of all outputs for `n` samples, if they are known before the model runs.
fn output_dims(graph: &Graph, n: usize) -> Option<SmallVec<[Dims; 1]>> {
    graph.output_shapes().iter().map(|shape| sample_dims(shape, n)).collect()
}

/// The most values that a layer reads and writes for one sample.
fn largest(graph: &Graph) -> usize {
    let values = |shapes: &[Shape]| shapes.iter().filter_map(Shape::sample_len).sum::<usize>();
    let pairs = graph.nodes.iter().map(|node| {
        let read = node.inputs.iter().filter_map(|port| graph.nodes[port.node].output_shapes[port.output].sample_len());
        read.sum::<usize>() + values(&node.output_shapes)
    });
    pairs.max().unwrap_or(0)
}

/// Where predictions take their inputs.
enum Batches {
    /// Of these batches.
    Dataset(Dataset),
    /// Of so many rows of arrays.
    Rows(usize),
}

/// Cuts the first `n` values off.
fn cut<'a>(values: &mut &'a mut [f32], n: usize) -> &'a mut [f32] {
    values.split_off_mut(..n).unwrap_or_default()
}

struct Task<'a> {
    rows: &'a [usize],
    outputs: Places<'a>,
    result: Result<()>,
}

/// The same values in memory of their own, so that a workspace gets its memory back.
fn detached(tensor: Tensor) -> Tensor {
    let mut copy = Tensor::zeros(tensor.shape());
    copy.data_mut().copy_from_slice(tensor.data());
    copy
}
