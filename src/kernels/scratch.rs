//! Buffers of the calling thread that begin at a cache line and are used again.

use crate::runtime::Workspace;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Values in a cache line.
pub(super) const LINE: usize = 16;
/// Buffers that a thread keeps: more than are ever in use at once.
const MOST: usize = 8;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Values that begin at a cache line.
#[derive(Debug, Default)]
pub(super) struct Aligned {
    buffer: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(super) fn new(len: usize) -> Self {
        Self::within(vec![0.0; len + LINE], len)
    }

    /// Memory of a workspace: what several threads work on. What it holds is not specified.
    pub(super) fn take(len: usize, workspace: &Workspace) -> Self {
        Self::within(workspace.take(len + LINE), len)
    }

    /// Gives that back.
    pub(super) fn give(self, workspace: &Workspace) {
        workspace.give(self.buffer);
    }

    /// The first `len` values of a buffer that begin so; it has a line more.
    fn within(buffer: Vec<f32>, len: usize) -> Self {
        let start = buffer.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Aligned { buffer, start, len }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.buffer[self.start..self.start + self.len]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.buffer[self.start..self.start + self.len]
    }
}

/// A buffer; the thread gets it back when it is dropped. What it holds is not specified.
pub(crate) struct Scratch(Aligned);

impl Scratch {
    pub(crate) fn take(len: usize) -> Self {
        let mut buffer = FREE.with_borrow_mut(|free| {
            // The smallest that is large enough, or the largest, which then grows.
            let fits = (0..free.len()).filter(|&i| free[i].len() >= len + LINE).min_by_key(|&i| free[i].len());
            let best = fits.or_else(|| (0..free.len()).max_by_key(|&i| free[i].len()));
            best.map(|i| free.swap_remove(i)).unwrap_or_default()
        });
        if buffer.len() < len + LINE {
            // A new one: growing would copy what nobody needs.
            buffer = vec![0.0; len + LINE];
        }
        Scratch(Aligned::within(buffer, len))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0.buffer);
        // The thread may be ending: then there is nothing to give it back to.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < MOST {
                free.push(buffer);
            }
        });
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_used_again() {
        let first = Scratch::take(100);
        let at = first.as_ptr();
        assert_eq!((first.len(), at as usize % 64), (100, 0));
        let second = Scratch::take(100);
        assert_ne!(second.as_ptr(), at);
        drop((first, second));
        assert!([Scratch::take(100), Scratch::take(90)].iter().any(|buffer| buffer.as_ptr() == at));
    }
}
