//! Elements changed one by one.

use super::stage::{Job, Jobs, Pass, Stage, caught};
use super::{Cardinality, Dataset, Item};
use crate::error::{Context, Result};
use crate::random::Rng;
use std::sync::Arc;

impl Dataset {
    /// Each element changed by `f`: a sample before [`batch`](Self::batch), a batch after it. A chain of maps runs as
    /// one task, on the workers of the next [`prefetch`](Self::prefetch).
    ///
    /// An error of `f`, or a panic in it, comes out of the iteration as an error that names the element.
    ///
    /// ```
    /// use cornu::data::Dataset;
    /// let data = Dataset::from_arrays(vec![1.0, 2.0], ())?.map(|item| item.map_x(|x| Ok(x.map(|v| v + 0.5))));
    /// let values: Vec<f32> = data.iter().map(|item| Ok(item?.x[0].data()[0])).collect::<cornu::Result<_>>()?;
    /// assert_eq!(values, [1.5, 2.5]);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn map(&self, f: impl Fn(Item) -> Result<Item> + Send + Sync + 'static) -> Dataset {
        self.map_random(move |item, _| f(item))
    }

    /// As [`map`](Self::map), with random numbers, for augmentation: the stream that `f` draws from depends on the
    /// seed, the epoch and the element's number, not on who works on it.
    ///
    /// ```
    /// use cornu::data::Dataset;
    /// use ndarray_rand::rand::Rng;
    /// let data = Dataset::from_arrays(vec![0.0; 4], ())?.with_seed(1);
    /// let noisy = data.map_random(|item, rng| {
    ///     let noise: f32 = rng.random();
    ///     item.map_x(|x| Ok(x.map(|v| v + noise)))
    /// });
    /// let draws = |epoch| noisy.epoch(epoch).map(|item| Ok(item?.x[0].data()[0])).collect::<cornu::Result<Vec<f32>>>();
    /// assert_eq!(draws(0)?, draws(0)?);
    /// assert_ne!(draws(0)?, draws(1)?);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn map_random(&self, f: impl Fn(Item, &mut Rng) -> Result<Item> + Send + Sync + 'static) -> Dataset {
        self.map_addressed(move |item, at| f(item, &mut at.pass.rng("map", at.index)))
    }

    /// As [`map`](Self::map), for what needs the element's address.
    pub(crate) fn map_addressed(&self, f: impl Fn(Item, Address) -> Result<Item> + Send + Sync + 'static) -> Dataset {
        Dataset { ready: false, ..self.then(Map { above: self.stage.clone(), f: Arc::new(f) }) }
    }
}

/// Where an element stands in the course of training.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    pub pass: Pass,
    /// The element's number in the pass.
    pub index: usize,
}

struct Map<F> {
    above: Arc<dyn Stage>,
    f: Arc<F>,
}

impl<F: Fn(Item, Address) -> Result<Item> + Send + Sync + 'static> Stage for Map<F> {
    fn jobs(&self, pass: Pass) -> Jobs {
        let f = self.f.clone();
        Box::new(self.above.jobs(pass.branch(0)).enumerate().map(move |(index, job)| {
            let f = f.clone();
            Job::new(move || {
                let item = job.run()?;
                caught("the closure", || f(item, Address { pass, index })).at(|| format!("map of element {index}"))
            })
        }))
    }

    fn cardinality(&self) -> Cardinality {
        self.above.cardinality()
    }
}
