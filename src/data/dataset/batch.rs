//! Samples put together into batches.

use super::stage::{Job, Jobs, Pass, Stage};
use super::{Cardinality, Dataset, Item};
use crate::error::{Context, Error};
use std::sync::Arc;

/// Options of [`Dataset::batch`].
#[derive(Clone, Debug)]
pub struct Batch {
    size: usize,
    drop_remainder: bool,
}

impl Batch {
    /// So many samples in a batch; 1 at least.
    pub fn new(size: usize) -> Self {
        Batch { size, drop_remainder: false }
    }

    /// Whether a last batch with fewer samples is left out. Default: no.
    pub fn drop_remainder(mut self, drop: bool) -> Self {
        self.drop_remainder = drop;
        self
    }
}

impl From<usize> for Batch {
    fn from(size: usize) -> Self {
        Batch::new(size)
    }
}

impl Dataset {
    /// So many samples one above the other, as one element: `batch(32)`, or [`Batch`] with its options. Tensors of
    /// shape `(height, width, channels)` become `(batch, height, width, channels)`, single numbers `(batch,)`.
    ///
    /// Samples of different shapes give an error when they meet.
    ///
    /// ```
    /// use cornu::data::{Batch, Dataset};
    /// let data = Dataset::from_arrays(ndarray::Array2::<f32>::zeros((10, 3)), vec![0; 10])?;
    /// let batches = data.batch(Batch::new(4).drop_remainder(true));
    /// assert_eq!(batches.iter().count(), 2);
    /// let last = data.batch(4).iter().last().unwrap()?;
    /// assert_eq!((last.x[0].shape(), last.y[0].shape()), (&[2, 3][..], &[2][..]));
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn batch(&self, options: impl Into<Batch>) -> Dataset {
        let options = options.into();
        Dataset { batched: true, ..self.then(Batched { above: self.stage.clone(), options }) }
    }
}

struct Batched {
    above: Arc<dyn Stage>,
    options: Batch,
}

impl Stage for Batched {
    fn jobs(&self, pass: Pass) -> Jobs {
        let Batch { size, drop_remainder } = self.options;
        if size == 0 {
            let error = Error::Argument("the size of a batch must be at least 1".to_owned());
            return Box::new(std::iter::once(Job::ready(Err(error))));
        }
        let mut above = self.above.jobs(pass);
        let mut batches = 0..;
        Box::new(std::iter::from_fn(move || {
            let samples: Vec<Job> = above.by_ref().take(size).collect();
            if samples.is_empty() || drop_remainder && samples.len() < size {
                return None;
            }
            let number = batches.next().unwrap_or(usize::MAX);
            Some(Job::new(move || {
                let samples = samples.into_iter().map(Job::run).collect::<Result<_, _>>();
                samples.and_then(Item::stack).at(|| format!("batch {number}"))
            }))
        }))
    }

    fn cardinality(&self) -> Cardinality {
        self.above.cardinality().map(|n| match self.options.drop_remainder {
            true => n / self.options.size.max(1),
            false => n.div_ceil(self.options.size.max(1)),
        })
    }
}
