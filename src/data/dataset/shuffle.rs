//! Elements in another order.

use super::stage::{Job, Jobs, Pass, Stage};
use super::{Cardinality, Dataset};
use ndarray_rand::rand::Rng as _;
use std::sync::Arc;

/// Options of [`Dataset::shuffle`].
#[derive(Clone, Debug)]
pub struct Shuffle {
    buffer_size: usize,
    seed: Option<u64>,
    reshuffle_each_iteration: bool,
}

impl Shuffle {
    /// The next element is one of so many, chosen at random. With at least as many as there are elements every order
    /// is equally likely.
    pub fn new(buffer_size: usize) -> Self {
        Shuffle { buffer_size, seed: None, reshuffle_each_iteration: true }
    }

    /// The seed of the order. Default: that of the dataset.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Whether each epoch has an order of its own. Default: yes.
    pub fn reshuffle_each_iteration(mut self, reshuffle: bool) -> Self {
        self.reshuffle_each_iteration = reshuffle;
        self
    }
}

impl From<usize> for Shuffle {
    fn from(buffer_size: usize) -> Self {
        Shuffle::new(buffer_size)
    }
}

impl Dataset {
    /// A random order, anew in each epoch: `shuffle(1000)`, or [`Shuffle`] with its options.
    ///
    /// Elements wait in the buffer before they are made, so that a large one costs no memory for images that are read
    /// from files or maps that are still to run. Shuffle before [`batch`](Self::batch), else whole batches change
    /// places.
    ///
    /// ```
    /// use cornu::data::{Dataset, Shuffle};
    /// let data = Dataset::from_arrays((0..100).collect::<Vec<i32>>(), ())?;
    /// let shuffled = data.shuffle(Shuffle::new(100).seed(1));
    /// let values = |data: &Dataset| data.iter().map(|item| Ok(item?.x[0].data()[0])).collect::<cornu::Result<Vec<_>>>();
    /// let mut order = values(&shuffled)?;
    /// assert_ne!(order, values(&data)?);
    /// order.sort_by(f32::total_cmp);
    /// assert_eq!(order, values(&data)?);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn shuffle(&self, options: impl Into<Shuffle>) -> Dataset {
        self.then(Shuffled { above: self.stage.clone(), options: options.into() })
    }
}

struct Shuffled {
    above: Arc<dyn Stage>,
    options: Shuffle,
}

impl Stage for Shuffled {
    fn jobs(&self, pass: Pass) -> Jobs {
        let mut above = self.above.jobs(pass.branch(0));
        let mut address = pass;
        if let Some(seed) = self.options.seed {
            address.seed = seed;
        }
        if !self.options.reshuffle_each_iteration {
            address.epoch = 0;
        }
        let mut rng = address.rng("shuffle", 0);
        let size = self.options.buffer_size.max(1);
        let mut buffer: Vec<Job> = Vec::new();
        Box::new(std::iter::from_fn(move || {
            while buffer.len() < size
                && let Some(job) = above.next()
            {
                buffer.push(job);
            }
            if buffer.is_empty() {
                return None;
            }
            // As u64, so that the order is the same on all machines.
            let chosen = rng.random_range(0..buffer.len() as u64) as usize;
            Some(buffer.swap_remove(chosen))
        }))
    }

    fn cardinality(&self) -> Cardinality {
        self.above.cardinality()
    }
}
