//! Random streams that are addressed, not passed around.
//!
//! Each draw comes from a ChaCha8 stream keyed by *(seed, stream, step)* with the sample's index as
//! its position, so a dropout mask is the same however a batch is cut into pieces and however many
//! threads work on them.

use crate::error::{Result, ensure};
use ndarray_rand::rand::SeedableRng;
use std::sync::atomic::{AtomicU64, Ordering};

/// The generator behind every random draw in cornu: portable and reproducible.
pub type Rng = rand_chacha::ChaCha8Rng;

/// The stream for one (seed, stream, step, sample).
pub fn stream(seed: u64, stream: u64, step: u64, sample: u64) -> Rng {
    let mut key = [0u8; 32];
    for (part, value) in key.chunks_exact_mut(8).zip([seed, stream, step, 0x0063_6f72_6e75]) {
        part.copy_from_slice(&value.to_le_bytes());
    }
    let mut rng = Rng::from_seed(key);
    rng.set_stream(sample);
    rng
}

/// Where the draws of a layer in one step come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub seed: u64,
    pub stream: u64,
    pub step: u64,
    /// The place in the epoch of the first sample.
    pub first_sample: u64,
}

impl Address {
    /// The stream for sample `i`.
    pub fn sample(self, i: usize) -> Rng {
        stream(self.seed, self.stream, self.step, self.first_sample + i as u64)
    }

    /// The stream for what all samples of the step share.
    pub fn shared(self) -> Rng {
        stream(self.seed, self.stream, self.step, u64::MAX)
    }
}

/// The stream number that belongs to a name (64-bit FNV-1a): a layer's draws depend on its path,
/// not on how many layers were made before it.
pub fn stream_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

static PROCESS_SEED: AtomicU64 = AtomicU64::new(0);
static MODELS: AtomicU64 = AtomicU64::new(0);

/// Makes what follows reproducible: models made after this call without a seed of their own take
/// theirs from `seed`, in the order in which they are made (Keras: `keras.utils.set_random_seed`).
///
/// Without it such models start from a fresh random seed. A model's own `seed` is the better choice
/// where several threads make models.
pub fn set_random_seed(seed: u64) {
    // 0 stands for "not set", so every seed moves by one.
    PROCESS_SEED.store(seed.wrapping_add(1).max(1), Ordering::SeqCst);
    MODELS.store(0, Ordering::SeqCst);
}

/// A seed for something that was given none.
pub(crate) fn fresh_seed() -> u64 {
    match PROCESS_SEED.load(Ordering::SeqCst) {
        0 => ndarray_rand::rand::random(),
        seed => seed.wrapping_add(MODELS.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
    }
}

/// A random order of `0..n` (Fisher–Yates).
pub fn permutation(n: usize, rng: &mut Rng) -> Vec<usize> {
    use ndarray_rand::rand::seq::SliceRandom;
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(rng);
    order
}

/// Checks that `value`, an argument called `name`, is a probability below 1.
pub(crate) fn check_rate(name: &str, value: f64) -> Result<()> {
    ensure!((0.0..1.0).contains(&value), Argument, "{name} is {value}; it must be at least 0 and below 1");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray_rand::rand::RngCore;

    #[test]
    fn streams_differ_in_every_part_of_their_address() {
        let first = |a, b, c, d| stream(a, b, c, d).next_u64();
        let base = first(1, 2, 3, 4);
        assert_eq!(base, first(1, 2, 3, 4));
        for other in [first(2, 2, 3, 4), first(1, 3, 3, 4), first(1, 2, 4, 4), first(1, 2, 3, 5)] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn golden_values_do_not_move() {
        // A change here changes every seeded model: it would be a breaking change.
        assert_eq!(stream(42, stream_of("dense/kernel"), 0, 0).next_u64(), GOLDEN);
    }
    const GOLDEN: u64 = 1_989_435_627_596_358_617;
}
