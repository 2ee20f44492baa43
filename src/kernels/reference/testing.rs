//! Random cases and comparisons for the tests of the kernels.

use crate::random::{self, Rng};
use ndarray_rand::rand::Rng as _;

/// A seeded source of sizes and values.
pub(crate) struct Draws(Rng);

impl Draws {
    pub(crate) fn new(name: &str) -> Self {
        Draws(random::stream(1, random::stream_of(name), 0, 0))
    }

    /// A whole number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    /// Values from -1 to 1.
    pub(crate) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.0.random_range(-1.0..1.0)).collect()
    }

    /// Few different values, so that there are ties.
    pub(crate) fn levels(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.below(5) as f32 - 2.0).collect()
    }
}

/// Equal up to `tolerance`, relative to the largest value (sums may cancel).
#[track_caller]
pub(crate) fn assert_close(got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(1f32, |m, v| m.max(v.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance * scale, "element {i}: got {got}, want {want}");
    }
}
