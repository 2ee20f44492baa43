//! The order that NumPy's `RandomState` shuffles to, so that the same seed picks the same files and samples as in Keras.

/// The Mersenne Twister MT19937 (M. Matsumoto and T. Nishimura, 1998), seeded as `numpy.random.RandomState(seed)`.
pub(crate) struct RandomState {
    state: [u32; N],
    next: usize,
}

const N: usize = 624;

impl RandomState {
    pub fn new(seed: u32) -> Self {
        let mut state = [0; N];
        let mut value = seed;
        for (i, place) in state.iter_mut().enumerate() {
            *place = value;
            value = 1_812_433_253u32.wrapping_mul(value ^ (value >> 30)).wrapping_add(i as u32 + 1);
        }
        RandomState { state, next: N }
    }

    fn next_u32(&mut self) -> u32 {
        if self.next == N {
            for i in 0..N {
                let bits = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
                let twist = if bits & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + 397) % N] ^ (bits >> 1) ^ twist;
            }
            self.next = 0;
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A whole number from 0 to `max`, by masking and trying again.
    fn up_to(&mut self, max: u32) -> u32 {
        let mask = u32::MAX.checked_shr(max.leading_zeros()).unwrap_or(0);
        loop {
            let value = self.next_u32() & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// Shuffles as `RandomState.shuffle`, for fewer than 2^32 values.
    pub fn shuffle<T>(&mut self, values: &mut [T]) {
        for i in (1..values.len()).rev() {
            values.swap(i, self.up_to(i as u32) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_numpys() {
        let mut state = RandomState::new(1);
        let first: Vec<u32> = (0..5).map(|_| state.next_u32()).collect();
        assert_eq!(first, [1_791_095_845, 4_282_876_139, 3_093_770_124, 4_005_303_368, 491_263]);
        let shuffled = |seed, n| {
            let mut values: Vec<usize> = (0..n).collect();
            RandomState::new(seed).shuffle(&mut values);
            values
        };
        assert_eq!(shuffled(7, 12), [7, 10, 2, 5, 0, 1, 11, 8, 3, 6, 9, 4]);
        assert_eq!(shuffled(113, 20), [14, 11, 19, 17, 1, 4, 8, 3, 13, 15, 16, 9, 0, 7, 6, 18, 12, 10, 2, 5]);
    }
}
