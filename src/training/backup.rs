//! A run of `fit` as a file: all that it needs to go on, to the last bit, as if it had never stopped.
//!
//! Besides the model (weights, what stateful layers carry, the optimizer's state, the seed) that is the place in the
//! data, the running loss and metrics of the epoch, the history, and what callbacks remember. Random numbers need nothing
//! more: they are addressed by seed, step and place.

use super::feed::Place;
use super::{History, Logs};
use crate::container::{Blob, Kind, decode};
use crate::error::{Context, Error, Result, ensure};
use crate::layer::Param;
use crate::model::Model;
use crate::shape::Dims;
use crate::state::State;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::path::Path;

const FILE: Kind = Kind { magic: *b"\x89cobak\r\n", name: "backup" };

/// A run of `fit` at some moment.
#[derive(Serialize, Deserialize)]
pub(crate) struct Backup<'a> {
    /// The version of cornu that wrote the file, for people.
    #[serde(borrow)]
    writer: Cow<'a, str>,
    pub run: Cow<'a, Run>,
    seed: u64,
    iterations: u64,
    #[serde(borrow)]
    weights: Vec<Blob<'a>>,
    /// What stateful layers carry.
    #[serde(borrow)]
    states: Vec<Blob<'a>>,
    /// Of the optimizer, the learning rate first.
    #[serde(borrow)]
    variables: Vec<Blob<'a>>,
    /// The running losses of the epoch, and the states of the metrics.
    losses: Vec<f64>,
    metrics: Vec<Option<State>>,
}

/// What a run of `fit` is besides its model.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    /// What must be the same when it goes on, as (name, value).
    pub conditions: Vec<(String, String)>,
    pub epoch: usize,
    /// The batches of the epoch that are done; none if it has not begun.
    pub batch: Option<usize>,
    /// Where the data stands.
    pub place: Place,
    /// The shape of a sample.
    pub sample: Vec<usize>,
    pub history: History,
    /// The last logs.
    pub logs: Logs,
    /// Whether a callback has ended training.
    pub stopped: bool,
    /// Of the callbacks.
    pub callbacks: Option<State>,
}

impl<'a> Backup<'a> {
    /// The run and its model as they are now.
    pub fn of(run: &'a Run, model: &Model) -> Result<Self> {
        let compiled = model.compiled()?;
        let blobs = |params: Vec<Param>| -> Vec<Blob<'_>> {
            params.iter().map(|param| Blob::of(param.path().to_owned(), param.value())).collect()
        };
        let variables = compiled.state.variables();
        let (losses, metrics) = compiled.running()?;
        Ok(Backup {
            writer: env!("CARGO_PKG_VERSION").into(),
            run: Cow::Borrowed(run),
            seed: model.seed,
            iterations: compiled.state.iterations(),
            weights: blobs(model.weights()),
            states: blobs(model.carried_states()),
            variables: variables.into_iter().map(|(name, value)| Blob::of(name, value)).collect(),
            losses,
            metrics,
        })
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        FILE.write(path, self)
    }

    /// The bytes of the file, to be [decoded](Self::decode).
    pub fn read(path: &Path) -> Result<Vec<u8>> {
        FILE.read(path)
    }

    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        decode(bytes)
    }

    /// Whether what must be the same is the same.
    pub fn check(&self, conditions: &[(String, String)]) -> Result<()> {
        for (name, before) in &self.run.conditions {
            let now = conditions.iter().find(|(known, _)| known == name).map_or("not there", |(_, now)| now);
            ensure!(before == now, State, "{name} was {before} when the backup was made, and is {now} now");
        }
        Ok(())
    }

    /// The seed comes first, since data that is not there yet follows from it, too.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The shape of a sample, which a model without an input shape is built for.
    pub fn sample(&self) -> Result<Dims> {
        let values = self.run.sample.iter().try_fold(1usize, |values, d| values.checked_mul(*d));
        ensure!(
            values.is_some_and(|values| values <= 1 << 31),
            Format,
            "no sample has the shape {:?}",
            self.run.sample
        );
        Ok(Dims::from_slice(&self.run.sample))
    }

    /// Brings the model, which is built and compiled as before, to where it was.
    pub fn restore(&self, model: &mut Model) -> Result<()> {
        let (weights, states) = (model.weights(), model.carried_states());
        let values = values(&self.weights, &weights, true)?;
        let carried = self::values(&self.states, &states, false)?;
        let variables = self.variables.iter().map(Blob::tensor).collect::<Result<_>>()?;
        ensure!(self.iterations < 1 << 62, Format, "{} steps cannot have been made", self.iterations);
        let compiled = model.compiled_mut()?;
        let changed = compiled.weights.clone();
        // What fails here leaves nothing behind that the next epoch does not begin anew.
        compiled.set_running(&self.losses, &self.metrics)?;
        compiled.restore(changed, self.iterations, variables).at(|| "optimizer".to_owned())?;
        model.seed = self.seed;
        for (weight, value) in weights.iter().zip(values) {
            weight.set(value)?;
        }
        for (state, value) in states.iter().zip(carried) {
            *state.write() = value;
        }
        Ok(())
    }
}

/// The tensors for these weights, which must be the same, in the same order.
fn values(blobs: &[Blob<'_>], weights: &[Param], same_shape: bool) -> Result<Vec<crate::tensor::Tensor>> {
    ensure!(
        blobs.len() == weights.len(),
        State,
        "the model had {} weights when the backup was made, and has {} now",
        blobs.len(),
        weights.len()
    );
    let value = |(blob, weight): (&Blob<'_>, &Param)| {
        let tensor = blob.tensor()?;
        let (before, now) = (tensor.shape().to_vec(), weight.shape());
        // The states of a stateful layer have as many samples as the last batch.
        let fits = if same_shape { before == now } else { before.get(1..) == now.get(1..) };
        if blob.path == weight.path() && fits {
            return Ok(tensor);
        }
        Err(Error::State(format!(
            "the weight '{}' of shape {now:?} was '{}' of shape {before:?} when the backup was made",
            weight.path(),
            blob.path,
        )))
    };
    blobs.iter().zip(weights).map(value).collect()
}

impl Model {
    /// What stateful layers carry from batch to batch.
    fn carried_states(&self) -> Vec<Param> {
        let mut states: Vec<Param> = Vec::new();
        for layer in self.layers() {
            layer.layer().visit_states(&mut |state| {
                if states.iter().all(|known| known.id() != state.id()) {
                    states.push(state.clone());
                }
            });
        }
        states
    }
}
