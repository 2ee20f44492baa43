//! Data that comes element by element, with what is done to it on the way.

mod arrays;
mod batch;
mod cache;
mod combine;
mod item;
mod map;
mod numpy;
mod prefetch;
mod shuffle;
mod sources;
mod stage;
#[cfg(test)]
mod tests;

pub use arrays::Columns;
pub use batch::Batch;
pub use combine::Portion;
pub use item::Item;
pub(crate) use map::Address;
pub use prefetch::Prefetch;
pub use shuffle::Shuffle;
pub(super) use stage::{Job, Jobs, Pass, Stage};

use crate::error::{Context, Result};
use crate::random;
use std::fmt;
use std::sync::Arc;

/// Samples and their targets, made when they are needed, as in TensorFlow's `tf.data`.
///
/// It begins with a source ([`from_arrays`](Self::from_arrays), [`from_fn`](Self::from_fn),
/// [`from_generator`](Self::from_generator), files, a folder of images) and goes on with what is done to the elements:
/// [`map`](Self::map), [`shuffle`](Self::shuffle), [`batch`](Self::batch), [`prefetch`](Self::prefetch) and others.
/// Nothing runs before someone iterates, and each iteration starts afresh: an *epoch*, whose random numbers follow from
/// the seed and its number. `fit`, `evaluate` and `predict` take a dataset where they take arrays, with `()` for the
/// targets, since they come along:
///
/// ```
/// use cornu::prelude::*;
/// use cornu::data::Dataset;
///
/// let digits = datasets::digits();
/// let data = Dataset::from_arrays(digits.x, digits.y)?;
/// let (train, test) = data.shuffle(1797).with_seed(1).split(0.8)?;
/// let noisy = train.shuffle(2000).map_random(|item, rng| {
///     use ndarray_rand::rand::Rng;
///     let bright: f32 = rng.random_range(0.8..1.2);
///     item.map_x(|x| Ok(x.map(|v| v * bright / 16.0)))
/// });
///
/// let mut model = Sequential::new().with_seed(1);
/// model.add(Input::new([8, 8, 1])).add(Flatten::new()).add(Dense::new(10).activation("softmax"));
/// model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])?;
/// model.fit(&noisy.batch(32).prefetch(4), (), Fit::new().epochs(3).verbose(0))?;
/// let scaled = test.map(|item| item.map_x(|x| Ok(x.map(|v| v / 16.0))));
/// let scores = model.evaluate(&scaled, (), Evaluate::new())?;
/// assert!(scores["accuracy"] > 0.5);
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// A clone is cheap: it is the same dataset, with the same cache.
#[derive(Clone)]
pub struct Dataset {
    stage: Arc<dyn Stage>,
    /// Whether the elements are batches.
    batched: bool,
    /// Whether little is left to do when an element is asked for: it was made ahead, or only copied.
    ready: bool,
    seed: Option<u64>,
    /// The seed where nobody gives one.
    own_seed: u64,
}

/// How many elements a dataset has: see [`Dataset::cardinality`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// So many.
    Known(usize),
    /// They never end.
    Infinite,
    /// It shows when they have come.
    Unknown,
}

impl Cardinality {
    fn map(self, f: impl FnOnce(usize) -> usize) -> Self {
        match self {
            Cardinality::Known(n) => Cardinality::Known(f(n)),
            other => other,
        }
    }

    /// The number, where there is one.
    pub fn known(self) -> Option<usize> {
        match self {
            Cardinality::Known(n) => Some(n),
            _ => None,
        }
    }
}

impl Dataset {
    pub(crate) fn new(source: impl Stage + 'static) -> Self {
        Dataset { stage: Arc::new(source), batched: false, ready: false, seed: None, own_seed: random::fresh_seed() }
    }

    /// This dataset with a stage that was made around its own.
    fn then(&self, stage: impl Stage + 'static) -> Self {
        Dataset { stage: Arc::new(stage), ..*self }
    }

    /// The number of elements, as far as it is known: of samples, or of batches.
    pub fn cardinality(&self) -> Cardinality {
        self.stage.cardinality()
    }

    /// Whether the elements are batches.
    pub fn is_batched(&self) -> bool {
        self.batched
    }

    /// Says that the elements are batches already, which a generator may well give; `fit` then takes them as they are.
    pub fn assume_batched(&self) -> Dataset {
        Dataset { batched: true, ..self.clone() }
    }

    /// Batches for `fit` and its kin, without the first `skip`: of this size unless the elements are batches already, and
    /// made ahead unless they are already or cost too little for that.
    pub(crate) fn batches(&self, size: usize, skip: usize) -> Dataset {
        let batches = if self.batched { self.clone() } else { self.batch(size) };
        let batches = if skip > 0 { batches.skip(skip) } else { batches };
        if batches.ready { batches } else { batches.prefetch(Prefetch::new()) }
    }

    /// The elements of epoch 0.
    pub fn iter(&self) -> Iter {
        self.epoch(0)
    }

    /// The elements of an epoch: the same seed and epoch give the same elements.
    pub fn epoch(&self, epoch: usize) -> Iter {
        self.pass(self.own_seed, epoch)
    }

    /// As [`epoch`](Self::epoch), with this seed unless the dataset has one.
    pub(crate) fn pass(&self, seed: u64, epoch: usize) -> Iter {
        Iter { jobs: self.stage.jobs(Pass { seed: self.seed.unwrap_or(seed), epoch: epoch as u64 }) }
    }
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("cardinality", &self.cardinality())
            .field("batched", &self.batched)
            .finish_non_exhaustive()
    }
}

impl IntoIterator for &Dataset {
    type Item = Result<Item>;
    type IntoIter = Iter;

    fn into_iter(self) -> Iter {
        self.iter()
    }
}

/// One pass over a [`Dataset`]. After an error the next element may well be good.
pub struct Iter {
    jobs: Jobs,
}

impl Iterator for Iter {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        self.jobs.next().map(|job| job.run().at(|| "dataset".to_owned()))
    }
}
