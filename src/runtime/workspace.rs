//! Recycled buffers: after the first step, a training step allocates nothing large.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A pool of `f32` buffers, sorted by length. A [`Tensor`](crate::Tensor) made from it gives its
/// buffer back when it is dropped.
///
/// Threads that work side by side have a workspace each, so the lock is never contended.
#[derive(Debug, Default)]
pub struct Workspace {
    free: Mutex<HashMap<usize, Vec<Vec<f32>>>>,
}

impl Workspace {
    /// An empty workspace.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A buffer of `len` values. What they are is not specified: the caller overwrites them.
    pub fn take(&self, len: usize) -> Vec<f32> {
        let recycled = self.lock().get_mut(&len).and_then(Vec::pop);
        recycled.unwrap_or_else(|| vec![0.0; len])
    }

    /// Gives a buffer back for the next [`take`](Self::take) of its length.
    pub fn give(&self, buffer: Vec<f32>) {
        if !buffer.is_empty() {
            self.lock().entry(buffer.len()).or_default().push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Vec<Vec<f32>>>> {
        // A panic elsewhere leaves the lists usable: they only hold spare buffers.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
