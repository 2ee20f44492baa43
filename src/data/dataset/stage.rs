//! What a dataset is made of: stages, each an iterator over jobs that make elements.
//!
//! A stage hands on *jobs*, not elements. So a chain of maps is one job, which any thread can run, shuffling moves
//! jobs about that nobody has run yet, and what is skipped is never made. The jobs come in a fixed order and each
//! carries the address of its random draws, so that who runs them, and when, changes nothing.

use super::{Cardinality, Item};
use crate::error::{Error, Result};
use crate::random::{self, Rng};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One part of a dataset: a source, or what is done to the elements of another stage.
pub(crate) trait Stage: Send + Sync {
    /// One pass over the elements.
    fn jobs(&self, pass: Pass) -> Jobs;

    /// How many there will be.
    fn cardinality(&self) -> Cardinality;
}

/// The elements of a pass, in order, not made yet.
pub(crate) type Jobs = Box<dyn Iterator<Item = Job> + Send>;

/// What makes one element, on whichever thread it is called.
pub(crate) struct Job(Box<dyn FnOnce() -> Result<Item> + Send>);

impl Job {
    pub fn new(make: impl FnOnce() -> Result<Item> + Send + 'static) -> Self {
        Job(Box::new(make))
    }

    /// An element that is there already, or the reason why it is not.
    pub fn ready(item: Result<Item>) -> Self {
        Job::new(|| item)
    }

    pub fn run(self) -> Result<Item> {
        (self.0)()
    }
}

/// The address of a pass: what is random in it follows from these two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub seed: u64,
    pub epoch: u64,
}

impl Pass {
    /// The random stream of element `i` of a stage of this kind.
    pub fn rng(self, stage: &str, i: usize) -> Rng {
        random::stream(self.seed, random::stream_of(stage), self.epoch, i as u64)
    }

    /// The pass of branch `i` above a stage, so that what is random there does not draw the same numbers.
    pub fn branch(self, i: u64) -> Self {
        // SplitMix64: neighbouring seeds become far ones.
        let mut seed = self.seed.wrapping_add((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Pass { seed: seed ^ (seed >> 31), ..self }
    }
}

/// Runs code of the caller's: a panic becomes an error.
pub(crate) fn caught<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let reason = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
        text.unwrap_or("without a message").to_owned()
    };
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Error::Data(format!("{what} panicked: {}", reason(panic)))))
}
