//! Parts of datasets, and several as one.

use super::stage::{Job, Jobs, Pass, Stage, caught};
use super::{Cardinality, Dataset, Item};
use crate::error::{Context, Error, Result, ensure};
use std::sync::Arc;

/// How large a part is, for [`Dataset::split`]: a fraction (`0.8`) or a number of elements (`100`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Portion {
    /// Between 0 and 1, rounded to whole elements.
    Fraction(f64),
    /// So many elements.
    Count(usize),
}

impl From<f64> for Portion {
    fn from(fraction: f64) -> Self {
        Portion::Fraction(fraction)
    }
}

impl From<usize> for Portion {
    fn from(count: usize) -> Self {
        Portion::Count(count)
    }
}

impl Dataset {
    /// The first `n` elements.
    pub fn take(&self, n: usize) -> Dataset {
        self.then(Simple { above: self.stage.clone(), does: Does::Take(n) })
    }

    /// All but the first `n` elements, which are not made, unless a stage before must know them: a filter, what a generator
    /// gives, and what a [`prefetch`](Self::prefetch) makes ahead.
    pub fn skip(&self, n: usize) -> Dataset {
        self.then(Simple { above: self.stage.clone(), does: Does::Skip(n) })
    }

    /// The elements `count` times over, each time as in an epoch of its own; without a count (`repeat(None)`) without
    /// end: then `fit` needs `steps_per_epoch`.
    ///
    /// ```
    /// let data = cornu::data::Dataset::from_arrays(vec![1, 2, 3], ())?;
    /// assert_eq!(data.repeat(4).iter().count(), 12);
    /// assert_eq!(data.repeat(None).take(7).iter().count(), 7);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn repeat(&self, count: impl Into<Option<usize>>) -> Dataset {
        self.then(Repeat { above: self.stage.clone(), count: count.into() })
    }

    /// The elements of this dataset, then those of `other`.
    pub fn concatenate(&self, other: &Dataset) -> Dataset {
        let both = Concatenate { first: self.stage.clone(), second: other.seeded() };
        Dataset { batched: self.batched && other.batched, ready: self.ready && other.ready, ..self.then(both) }
    }

    /// Inputs with their targets (Keras: `tf.data.Dataset.zip((x, y))`): the inputs of `targets` become the targets of
    /// this dataset's elements. It ends with the shorter of the two.
    ///
    /// ```
    /// use cornu::data::Dataset;
    /// let x = Dataset::from_arrays(vec![1.0, 2.0], ())?;
    /// let y = Dataset::from_arrays(vec![0, 1], ())?;
    /// let item = x.zip(&y).iter().last().unwrap()?;
    /// assert_eq!((item.x[0].data(), item.y[0].data()), (&[2.0][..], &[1.0][..]));
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn zip(&self, targets: &Dataset) -> Dataset {
        let pairs = self.zip_with(targets, |a, b| {
            ensure!(
                a.y.is_empty() && b.y.is_empty(),
                Argument,
                "zip is for datasets without targets, and one of these has some; use zip_with"
            );
            Ok(Item { x: a.x, y: b.x, weights: a.weights.into_iter().chain(b.weights).collect() })
        });
        // This closure only moves.
        Dataset { ready: self.ready && targets.ready, ..pairs }
    }

    /// The elements of two datasets, put together by `f`. It ends with the shorter of the two.
    pub fn zip_with(&self, other: &Dataset, f: impl Fn(Item, Item) -> Result<Item> + Send + Sync + 'static) -> Dataset {
        let both = Zip { first: self.stage.clone(), second: other.seeded(), f: Arc::new(f) };
        Dataset { batched: self.batched && other.batched, ready: false, ..self.then(both) }
    }

    /// Only the elements of which `keep` says yes. To find out they are made one after another; where that is much
    /// work put a [`prefetch`](Self::prefetch) above.
    ///
    /// ```
    /// let data = cornu::data::Dataset::from_arrays(vec![1, 5, 2, 6], ())?;
    /// assert_eq!(data.filter(|item| Ok(item.x[0].data()[0] > 3.0)).iter().count(), 2);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn filter(&self, keep: impl Fn(&Item) -> Result<bool> + Send + Sync + 'static) -> Dataset {
        let keep = move |i: usize, item: Result<Item>| {
            let item = item?;
            let keep = caught("the closure", || keep(&item)).at(|| format!("filter of element {i}"))?;
            Ok(keep.then_some(item))
        };
        Dataset { ready: false, ..self.then(Sieve { above: self.stage.clone(), keep: Arc::new(keep) }) }
    }

    /// Leaves out elements that end in an error, and tells `seen` about each error (Keras: `ignore_errors`). They are
    /// made one after another; where that is much work put a [`prefetch`](Self::prefetch) above.
    pub fn ignore_errors(&self, seen: impl Fn(Error) + Send + Sync + 'static) -> Dataset {
        let keep = move |_: usize, item: Result<Item>| Ok(item.map_err(&seen).ok());
        self.then(Sieve { above: self.stage.clone(), keep: Arc::new(keep) })
    }

    /// Two datasets: the first elements, and the rest (Keras: `split_dataset`). `split(0.8)` or `split(100)`.
    ///
    /// So that no element is in both, what stands above is the same in each epoch: the order of a shuffle and the
    /// numbers of a random map, too. Shuffle and augment the parts again.
    ///
    /// ```
    /// let data = cornu::data::Dataset::from_arrays(vec![1, 2, 3, 4, 5], ())?;
    /// let (train, validation) = data.shuffle(5).split(0.8)?;
    /// assert_eq!((train.iter().count(), validation.iter().count()), (4, 1));
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the number of elements is not known before they are made, or a part would be empty.
    pub fn split(&self, left: impl Into<Portion>) -> Result<(Dataset, Dataset)> {
        let Cardinality::Known(n) = self.cardinality() else {
            return Err(Error::Data(
                "the number of elements is not known, so it cannot be split; use take and skip".to_owned(),
            ));
        };
        let left = match left.into() {
            Portion::Count(count) => count,
            Portion::Fraction(fraction) => {
                ensure!(
                    (0.0..=1.0).contains(&fraction),
                    Argument,
                    "the part is {fraction}; it must be between 0 and 1"
                );
                (fraction * n as f64).round_ties_even() as usize
            }
        };
        ensure!(0 < left && left < n, Data, "of {n} elements, {left} for the first part leave one part empty");
        let still =
            self.then(Simple { above: self.stage.clone(), does: Does::StandStill(self.seed.unwrap_or(self.own_seed)) });
        Ok((still.take(left), still.skip(left)))
    }

    /// The seed of all that is random in this dataset, also in what is added to it later; of several the last counts.
    /// Default: that of the model in `fit`, elsewhere a fresh one (see [`set_random_seed`](crate::set_random_seed)).
    pub fn with_seed(&self, seed: u64) -> Dataset {
        Dataset { seed: Some(seed), ..self.clone() }
    }

    /// The stages with this dataset's own seed, if it has one, to be part of another dataset.
    fn seeded(&self) -> Arc<dyn Stage> {
        match self.seed {
            Some(seed) => Arc::new(Simple { above: self.stage.clone(), does: Does::Seed(seed) }),
            None => self.stage.clone(),
        }
    }
}

/// What needs no more than the iterator above.
struct Simple {
    above: Arc<dyn Stage>,
    does: Does,
}

#[derive(Clone, Copy)]
enum Does {
    Take(usize),
    Skip(usize),
    Seed(u64),
    /// Every pass is that of epoch 0 with this seed.
    StandStill(u64),
}

impl Stage for Simple {
    fn jobs(&self, pass: Pass) -> Jobs {
        match self.does {
            Does::Take(n) => Box::new(self.above.jobs(pass).take(n)),
            Does::Skip(n) => Box::new(self.above.jobs(pass).skip(n)),
            Does::Seed(seed) => self.above.jobs(Pass { seed, ..pass }),
            Does::StandStill(seed) => self.above.jobs(Pass { seed, epoch: 0 }),
        }
    }

    fn cardinality(&self) -> Cardinality {
        let above = self.above.cardinality();
        match (self.does, above) {
            (Does::Take(n), Cardinality::Infinite) => Cardinality::Known(n),
            (Does::Take(n), above) => above.map(|m| m.min(n)),
            (Does::Skip(n), above) => above.map(|m| m.saturating_sub(n)),
            _ => above,
        }
    }
}

struct Repeat {
    above: Arc<dyn Stage>,
    count: Option<usize>,
}

impl Stage for Repeat {
    fn jobs(&self, pass: Pass) -> Jobs {
        let (above, count) = (self.above.clone(), self.count);
        let first = match count {
            Some(count) => pass.epoch.wrapping_mul(count as u64),
            None => pass.epoch << 32,
        };
        let mut rounds = 0;
        let mut jobs: Option<Jobs> = None;
        Box::new(std::iter::from_fn(move || {
            if let Some(job) = jobs.as_mut().and_then(Iterator::next) {
                return Some(job);
            }
            if count.is_some_and(|count| rounds >= count as u64) {
                return None;
            }
            let mut fresh = above.jobs(Pass { epoch: first.wrapping_add(rounds), ..pass });
            rounds += 1;
            // Nothing again and again is nothing.
            let job = fresh.next()?;
            jobs = Some(fresh);
            Some(job)
        }))
    }

    fn cardinality(&self) -> Cardinality {
        match (self.count, self.above.cardinality()) {
            (_, Cardinality::Known(0)) => Cardinality::Known(0),
            (Some(count), above) => above.map(|n| n.saturating_mul(count)),
            (None, _) => Cardinality::Infinite,
        }
    }
}

struct Concatenate {
    first: Arc<dyn Stage>,
    second: Arc<dyn Stage>,
}

impl Stage for Concatenate {
    fn jobs(&self, pass: Pass) -> Jobs {
        let second = self.second.clone();
        // The second one is opened when the first is at its end.
        let second = std::iter::once_with(move || second.jobs(pass.branch(1))).flatten();
        Box::new(self.first.jobs(pass.branch(0)).chain(second))
    }

    fn cardinality(&self) -> Cardinality {
        match (self.first.cardinality(), self.second.cardinality()) {
            (Cardinality::Known(a), Cardinality::Known(b)) => Cardinality::Known(a.saturating_add(b)),
            (Cardinality::Infinite, _) | (_, Cardinality::Infinite) => Cardinality::Infinite,
            _ => Cardinality::Unknown,
        }
    }
}

struct Zip<F> {
    first: Arc<dyn Stage>,
    second: Arc<dyn Stage>,
    f: Arc<F>,
}

impl<F: Fn(Item, Item) -> Result<Item> + Send + Sync + 'static> Stage for Zip<F> {
    fn jobs(&self, pass: Pass) -> Jobs {
        let f = self.f.clone();
        let pairs = self.first.jobs(pass.branch(0)).zip(self.second.jobs(pass.branch(1)));
        Box::new(pairs.enumerate().map(move |(i, (a, b))| {
            let f = f.clone();
            Job::new(move || {
                let (a, b) = (a.run()?, b.run()?);
                caught("the closure", || f(a, b)).at(|| format!("pair {i}"))
            })
        }))
    }

    fn cardinality(&self) -> Cardinality {
        match (self.first.cardinality(), self.second.cardinality()) {
            (Cardinality::Known(a), Cardinality::Known(b)) => Cardinality::Known(a.min(b)),
            (Cardinality::Infinite, other) | (other, Cardinality::Infinite) => other,
            _ => Cardinality::Unknown,
        }
    }
}

/// Lets through what `keep` gives for the element of a number, which it may not be.
struct Sieve<F> {
    above: Arc<dyn Stage>,
    keep: Arc<F>,
}

impl<F: Fn(usize, Result<Item>) -> Result<Option<Item>> + Send + Sync + 'static> Stage for Sieve<F> {
    fn jobs(&self, pass: Pass) -> Jobs {
        let keep = self.keep.clone();
        let items = self.above.jobs(pass).map(Job::run).enumerate();
        Box::new(items.filter_map(move |(i, item)| keep(i, item).transpose().map(Job::ready)))
    }

    fn cardinality(&self) -> Cardinality {
        match self.above.cardinality() {
            Cardinality::Infinite => Cardinality::Infinite,
            _ => Cardinality::Unknown,
        }
    }
}
