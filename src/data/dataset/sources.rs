//! Datasets from closures and iterators.

use super::stage::{Job, Jobs, Pass, Stage, caught};
use super::{Cardinality, Dataset, Item};
use crate::error::{Context, Result};
use std::sync::Arc;

impl Dataset {
    /// Elements by number: `make(i)` for each `i` below `n`, on whichever worker is free.
    ///
    /// ```
    /// use cornu::data::{Dataset, Item};
    /// use ndarray::arr0;
    /// let squares = Dataset::from_fn(5, |i| Ok(Item::from((arr0(i as f32), arr0((i * i) as f32)))));
    /// assert_eq!(squares.iter().last().unwrap()?.y[0].data(), [16.0]);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn from_fn(n: usize, make: impl Fn(usize) -> Result<Item> + Send + Sync + 'static) -> Dataset {
        Dataset::new(Numbered { make: Arc::new(make), n })
    }

    /// What an iterator gives (Keras: a generator, `tf.data.Dataset.from_generator`). `open` is called for each pass
    /// with the number of its epoch, and its iterator runs in order, on one thread at a time.
    ///
    /// ```
    /// use cornu::data::{Dataset, Item};
    /// use ndarray::arr0;
    /// let data = Dataset::from_generator(|_epoch| (0..3).map(|i| Ok(Item::from((arr0(i as f32), arr0(1.0))))));
    /// assert_eq!(data.iter().count(), 3);
    /// assert_eq!(data.iter().count(), 3);
    /// ```
    pub fn from_generator<I>(open: impl Fn(u64) -> I + Send + Sync + 'static) -> Dataset
    where
        I: IntoIterator<Item = Result<Item>>,
        I::IntoIter: Send + 'static,
    {
        Dataset::new(Generator(move |epoch| {
            Box::new(open(epoch).into_iter()) as Box<dyn Iterator<Item = Result<Item>> + Send>
        }))
    }
}

/// The elements are kept in memory.
impl FromIterator<Item> for Dataset {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        let items: Vec<Item> = items.into_iter().collect();
        // Shared memory: a clone copies no values.
        Dataset::from_fn(items.len(), move |i| Ok(items[i].clone()))
    }
}

struct Numbered<F> {
    make: Arc<F>,
    n: usize,
}

impl<F: Fn(usize) -> Result<Item> + Send + Sync + 'static> Stage for Numbered<F> {
    fn jobs(&self, _pass: Pass) -> Jobs {
        let make = self.make.clone();
        Box::new((0..self.n).map(move |i| {
            let make = make.clone();
            Job::new(move || caught("the closure", || make(i)).at(|| format!("element {i} of the dataset")))
        }))
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Known(self.n)
    }
}

struct Generator<F>(F);

impl<F> Stage for Generator<F>
where
    F: Fn(u64) -> Box<dyn Iterator<Item = Result<Item>> + Send> + Send + Sync + 'static,
{
    fn jobs(&self, pass: Pass) -> Jobs {
        let open = caught("the generator", || Ok((self.0)(pass.epoch)));
        let mut items = match open {
            Ok(items) => Some(items),
            Err(error) => return Box::new(std::iter::once(Job::ready(Err(error)))),
        };
        let mut i = 0;
        Box::new(std::iter::from_fn(move || {
            let next = caught("the iterator", || Ok(items.as_mut().and_then(Iterator::next)));
            let item = match next {
                Ok(item) => item?,
                Err(error) => {
                    // What state it is in nobody knows.
                    items = None;
                    Err(error)
                }
            };
            let item = item.at(|| format!("element {i} of the dataset"));
            i += 1;
            Some(Job::ready(item))
        }))
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Unknown
    }
}
