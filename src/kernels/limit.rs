//! The processor's limit, to compare rates with.

use super::simd::{Isa, Lanes, Work};
use std::time::Instant;

/// The most additions and multiplications a second that `threads` threads do at once with the vectors of
/// [`instruction_set`](super::instruction_set): the best of some tries of a loop that does nothing else,
/// about 50 ms together. No program gets there: a product of matrices has to read them too.
#[doc(hidden)]
pub fn peak_flops(threads: usize) -> f64 {
    const ROUNDS: usize = 1 << 19;
    let isa = Isa::get();
    let rate = || {
        let start = Instant::now();
        let operations: usize = std::thread::scope(|scope| {
            let run = || isa.run(MultiplyAndAdd { rounds: ROUNDS });
            let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
        });
        operations as f64 / start.elapsed().as_secs_f64()
    };
    (0..24).map(|_| rate()).fold(0.0, f64::max)
}

/// Multiplies and adds, in more registers than the processor has such operations under way. Returns how
/// many it did, each counted as two.
struct MultiplyAndAdd {
    rounds: usize,
}

impl Work for MultiplyAndAdd {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> usize {
        // SAFETY: the caller promises the instruction set, and no memory is touched.
        unsafe {
            let (factor, addend) = (L::splat(0.999), L::splat(0.001));
            let mut sums = [L::splat(0.0); 12];
            for _ in 0..self.rounds {
                for sum in &mut sums {
                    *sum = sum.mul_add(factor, addend);
                }
            }
            std::hint::black_box(sums);
            self.rounds * sums.len() * L::LEN * 2
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_rate_is_measured() {
        let rate = super::peak_flops(1);
        assert!(rate > 1e7 && rate < 1e13, "{rate}");
    }
}
