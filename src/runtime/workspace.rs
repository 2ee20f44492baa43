//! Recycled buffers: after the first step, a training step allocates nothing large.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

/// A pool of buffers, sorted by length. A [`Tensor`](crate::Tensor) made from it gives its buffer
/// back when it is dropped.
///
/// Threads that work side by side have a workspace each, so the locks are never contended.
#[derive(Debug, Default)]
pub struct Workspace {
    floats: Pool<f32>,
    indices: Pool<u32>,
}

impl Workspace {
    /// An empty workspace.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A buffer of `len` values. What they are is not specified: the caller overwrites them.
    pub fn take(&self, len: usize) -> Vec<f32> {
        self.floats.take(len)
    }

    /// A buffer of at least `len` values, of which the first ones are to be used: where none of this length is free, a
    /// large one may serve that is not much larger.
    pub(crate) fn take_at_least(&self, len: usize) -> Vec<f32> {
        self.floats.take_at_least(len)
    }

    /// Gives a buffer back for the next [`take`](Self::take) of its length.
    pub fn give(&self, buffer: Vec<f32>) {
        self.floats.give(buffer);
    }

    /// As [`take`](Self::take), for indices.
    pub fn take_indices(&self, len: usize) -> Vec<u32> {
        self.indices.take(len)
    }

    /// As [`give`](Self::give), for indices.
    pub fn give_indices(&self, buffer: Vec<u32>) {
        self.indices.give(buffer);
    }
}

/// Workspaces for tasks that run side by side: as many as there are threads. A thread gets the one that it had before,
/// so that its memory stays in a core's cache.
#[derive(Debug, Default)]
pub(crate) struct Workspaces(Mutex<Vec<(ThreadId, Arc<Workspace>)>>);

impl Workspaces {
    /// Calls `work` with a workspace that no other task uses meanwhile.
    pub fn with<T>(&self, work: impl FnOnce(&Arc<Workspace>) -> T) -> T {
        let thread = std::thread::current().id();
        let workspace = {
            let mut free = self.lock();
            let own = free.iter().position(|(owner, _)| *owner == thread);
            let place = own.or(free.len().checked_sub(1));
            place.map(|place| free.swap_remove(place).1).unwrap_or_default()
        };
        let result = work(&workspace);
        self.lock().push((thread, workspace));
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(ThreadId, Arc<Workspace>)>> {
        // A panic elsewhere leaves the list usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Buffers of so many values serve for other lengths too: smaller ones take little memory, and are better those that
/// were used for the same thing before, which the cores' caches may still hold.
const LARGE: usize = 1 << 16;
/// They may be so many times larger than needed.
const MOST_LARGER: usize = 4;

#[derive(Debug, Default)]
struct Pool<T> {
    free: Mutex<BTreeMap<usize, Vec<Vec<T>>>>,
}

impl<T: Copy + Default> Pool<T> {
    fn take(&self, len: usize) -> Vec<T> {
        let recycled = self.lock().get_mut(&len).and_then(Vec::pop);
        recycled.unwrap_or_else(|| vec![T::default(); len])
    }

    fn take_at_least(&self, len: usize) -> Vec<T> {
        if len < LARGE {
            return self.take(len);
        }
        let recycled = self.lock().range_mut(len..=MOST_LARGER * len).find_map(|(_, buffers)| buffers.pop());
        recycled.unwrap_or_else(|| vec![T::default(); len])
    }

    fn give(&self, buffer: Vec<T>) {
        if !buffer.is_empty() {
            self.lock().entry(buffer.len()).or_default().push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, Vec<Vec<T>>>> {
        // A panic elsewhere leaves the lists usable: they only hold spare buffers.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
