//! Elements made ahead, by threads of their own.

use super::stage::{Job, Jobs, Pass, Stage, caught};
use super::{Cardinality, Dataset, Item};
use crate::error::Result;
use crate::runtime::threads;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Options of [`Dataset::prefetch`]. By default there are as many workers as the process has threads, and two elements
/// more than that are made ahead (Keras: `AUTOTUNE`).
#[derive(Clone, Debug, Default)]
pub struct Prefetch {
    ahead: Option<usize>,
    workers: Option<usize>,
}

impl Prefetch {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many elements may be ready or being made at a time: they bound the memory. 0 turns prefetching off.
    pub fn ahead(mut self, elements: usize) -> Self {
        self.ahead = Some(elements);
        self
    }

    /// How many threads make elements. What they make does not depend on it. Default: as many as train (without the
    /// feature `parallel` none: each element is made when it is asked for); 0 is none.
    pub fn workers(mut self, threads: usize) -> Self {
        self.workers = Some(threads);
        self
    }
}

impl From<usize> for Prefetch {
    fn from(elements: usize) -> Self {
        Prefetch::new().ahead(elements)
    }
}

impl Dataset {
    /// Makes elements ahead in the background, while the model trains: `prefetch(4)`, or [`Prefetch`] with its
    /// options. All that stands above, reading, decoding and maps, runs there on several threads side by side, in
    /// an order that nobody sees: elements come out one after another, the same for any number of threads.
    ///
    /// Put it at the end, after [`batch`](Self::batch). `fit` and its kin do so by themselves, with the defaults, where
    /// there is something to make. The threads end with the iteration, also when it is dropped
    /// half way; then each finishes the element that it is at.
    ///
    /// ```
    /// use cornu::data::{Dataset, Prefetch};
    /// let data = Dataset::from_arrays((0..100).collect::<Vec<i32>>(), ())?;
    /// let squares = data.map(|item| item.map_x(|x| Ok(x.map(|v| v * v)))).batch(10);
    /// let ahead = squares.prefetch(Prefetch::new().workers(3));
    /// assert!(squares.iter().zip(ahead.iter()).all(|(a, b)| a.unwrap() == b.unwrap()));
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn prefetch(&self, options: impl Into<Prefetch>) -> Dataset {
        Dataset { ready: true, ..self.then(Prefetched { above: self.stage.clone(), options: options.into() }) }
    }
}

struct Prefetched {
    above: Arc<dyn Stage>,
    options: Prefetch,
}

impl Stage for Prefetched {
    fn jobs(&self, pass: Pass) -> Jobs {
        let jobs = self.above.jobs(pass);
        let workers =
            self.options.workers.unwrap_or_else(|| if cfg!(feature = "parallel") { threads::count() } else { 0 });
        let ahead = self.options.ahead.unwrap_or(workers.saturating_add(2));
        match workers.min(ahead) {
            0 => jobs,
            workers => Box::new(Ahead::start(jobs, workers, ahead).map(Job::ready)),
        }
    }

    fn cardinality(&self) -> Cardinality {
        self.above.cardinality()
    }
}

/// The elements of a pass in order, made by workers.
struct Ahead {
    queue: Arc<Queue>,
    workers: Vec<JoinHandle<()>>,
}

struct Queue {
    /// The jobs that nobody has taken, and the number of the first.
    jobs: Mutex<(Jobs, usize)>,
    state: Mutex<State>,
    /// A worker may go on.
    room: Condvar,
    /// The consumer may go on.
    made: Condvar,
    ahead: usize,
}

#[derive(Default)]
struct State {
    done: BTreeMap<usize, Result<Item>>,
    /// The number of the element that the consumer gets next.
    next: usize,
    /// Places that workers took, for elements made or being made.
    taken: usize,
    /// How many elements there are, once that is known.
    end: Option<usize>,
    stopped: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Code of the caller's runs elsewhere or is caught, so what is locked is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ahead {
    fn start(jobs: Jobs, workers: usize, ahead: usize) -> Self {
        let queue = Arc::new(Queue {
            jobs: Mutex::new((jobs, 0)),
            state: Mutex::default(),
            room: Condvar::new(),
            made: Condvar::new(),
            ahead,
        });
        let start = |i: usize| {
            let queue = queue.clone();
            // Where the system gives no threads the consumer does the work.
            Builder::new().name(format!("cornu-data-{i}")).spawn(move || while queue.make_one() {}).ok()
        };
        Ahead { workers: (0..workers).filter_map(start).collect(), queue }
    }
}

impl Queue {
    /// Makes the next element when there is room for it; whether there may be more.
    fn make_one(&self) -> bool {
        let mut state = lock(&self.state);
        while !state.stopped && state.end.is_none() && state.taken >= state.next.saturating_add(self.ahead) {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopped || state.end.is_some() {
            return false;
        }
        state.taken += 1;
        drop(state);

        let (job, i) = {
            let (jobs, number) = &mut *lock(&self.jobs);
            let job = caught("the iterator", || Ok(jobs.next())).unwrap_or_else(|error| Some(Job::ready(Err(error))));
            *number += usize::from(job.is_some());
            (job, *number)
        };
        let Some(job) = job else {
            lock(&self.state).end = Some(i);
            self.room.notify_all();
            self.made.notify_all();
            return false;
        };
        // The threads that train have other work: what a job does it does on this thread.
        let item = caught("making the element", || threads::alone(|| job.run()));
        lock(&self.state).done.insert(i - 1, item);
        self.made.notify_all();
        true
    }
}

impl Iterator for Ahead {
    type Item = Result<Item>;

    fn next(&mut self) -> Option<Result<Item>> {
        loop {
            let mut state = lock(&self.queue.state);
            let next = state.next;
            if let Some(item) = state.done.remove(&next) {
                state.next += 1;
                drop(state);
                self.queue.room.notify_one();
                return Some(item);
            }
            if state.end.is_some_and(|end| next >= end) {
                return None;
            }
            if self.workers.is_empty() {
                drop(state);
                self.queue.make_one();
            } else {
                drop(self.queue.made.wait(state).unwrap_or_else(PoisonError::into_inner));
            }
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        lock(&self.queue.state).stopped = true;
        self.queue.room.notify_all();
        for worker in self.workers.drain(..) {
            // It catches panics, so there is nothing to report.
            let _ = worker.join();
        }
    }
}
