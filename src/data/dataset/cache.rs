//! Elements kept in memory once they were made.

use super::stage::{Job, Jobs, Pass, Stage};
use super::{Cardinality, Dataset, Item};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

impl Dataset {
    /// Keeps each element in memory when it is first made, and hands that on in later epochs. Put it behind what is
    /// slow and always the same (decoding) and before what is random; what is random above it stays as it was in epoch
    /// 0. An element that ended in an error is tried again.
    ///
    /// ```
    /// use cornu::data::Dataset;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// static MADE: AtomicUsize = AtomicUsize::new(0);
    /// let slow = Dataset::from_arrays(vec![1, 2, 3], ())?.map(|item| {
    ///     MADE.fetch_add(1, Ordering::SeqCst);
    ///     Ok(item)
    /// });
    /// let data = slow.cache();
    /// assert_eq!((data.iter().count(), data.iter().count()), (3, 3));
    /// assert_eq!(MADE.load(Ordering::SeqCst), 3);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn cache(&self) -> Dataset {
        self.then(Cache { above: self.stage.clone(), kept: Arc::default() })
    }
}

struct Cache {
    above: Arc<dyn Stage>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    items: Vec<Option<Item>>,
    /// Of the pass that they are from: with another seed they would be others.
    seed: Option<u64>,
    /// How many there are, once a pass came to its end.
    count: Option<usize>,
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    // What is in the list is whole, whatever happened elsewhere.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stage for Cache {
    fn jobs(&self, pass: Pass) -> Jobs {
        let kept = self.kept.clone();
        let seed = *lock(&kept).seed.get_or_insert(pass.seed);
        // The stages above are asked only for what is not there.
        let complete = {
            let kept = lock(&kept);
            kept.count.filter(|&n| kept.items.len() == n && kept.items.iter().all(Option::is_some))
        };
        if let Some(n) = complete {
            return Box::new((0..n).map(move |i| {
                let item = lock(&kept).items[i].clone();
                Job::ready(Ok(item.unwrap_or_default()))
            }));
        }
        let mut above = self.above.jobs(Pass { seed, epoch: 0 }).enumerate();
        let mut seen = 0;
        Box::new(std::iter::from_fn(move || {
            let Some((i, job)) = above.next() else {
                lock(&kept).count = Some(seen);
                return None;
            };
            seen = i + 1;
            let kept = kept.clone();
            Some(Job::new(move || {
                if let Some(item) = lock(&kept).items.get(i).cloned().flatten() {
                    return Ok(item);
                }
                let item = job.run()?;
                let mut kept = lock(&kept);
                let room = kept.items.len().max(i + 1);
                kept.items.resize(room, None);
                kept.items[i] = Some(item.clone());
                Ok(item)
            }))
        }))
    }

    fn cardinality(&self) -> Cardinality {
        match lock(&self.kept).count {
            Some(n) => Cardinality::Known(n),
            None => self.above.cardinality(),
        }
    }
}
