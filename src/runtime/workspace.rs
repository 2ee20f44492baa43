//! Recycled buffers: after the first step, a training step allocates nothing large.

use std::collections::HashMap;
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

#[derive(Debug, Default)]
struct Pool<T> {
    free: Mutex<HashMap<usize, Vec<Vec<T>>>>,
}

impl<T: Copy + Default> Pool<T> {
    fn take(&self, len: usize) -> Vec<T> {
        let recycled = self.lock().get_mut(&len).and_then(Vec::pop);
        recycled.unwrap_or_else(|| vec![T::default(); len])
    }

    fn give(&self, buffer: Vec<T>) {
        if !buffer.is_empty() {
            self.lock().entry(buffer.len()).or_default().push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Vec<Vec<T>>>> {
        // A panic elsewhere leaves the lists usable: they only hold spare buffers.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
