//! Plain arrays, which the compiler turns into vectors of what every processor of the target has:
//! SSE2 on x86-64, NEON on AArch64.

use super::{Lanes, Work};

const LEN: usize = 8;

#[derive(Clone, Copy)]
pub(crate) struct Portable([f32; LEN]);

/// # Safety
/// None is needed: it is the twin of the other sets' functions.
pub(crate) unsafe fn run<W: Work>(work: W) -> W::Output {
    // SAFETY: every processor runs this.
    unsafe { work.run::<Portable>() }
}

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Portable(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Portable {
    const LEN: usize = LEN;

    type Mask = usize;

    #[inline(always)]
    unsafe fn first(n: usize) -> usize {
        n.min(LEN)
    }

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Portable([x; LEN])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises 8 readable values.
        Portable(unsafe { from.cast::<[f32; LEN]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, mask: usize) -> Self {
        if mask == LEN {
            // SAFETY: all lanes are asked for.
            return unsafe { Self::load(from) };
        }
        let mut lanes = [0.0; LEN];
        for (i, lane) in lanes.iter_mut().enumerate().take(mask) {
            // SAFETY: the caller promises the first `mask` values.
            *lane = unsafe { *from.add(i) };
        }
        Portable(lanes)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises 8 writable values.
        unsafe { to.cast::<[f32; LEN]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, mask: usize) {
        for (i, lane) in self.0.iter().enumerate().take(mask) {
            // SAFETY: the caller promises the first `mask` values.
            unsafe { *to.add(i) = *lane };
        }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        // Without the instruction, `f32::mul_add` would be a call for each lane.
        if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
            Portable(std::array::from_fn(|i| self.0[i].mul_add(factor.0[i], addend.0[i])))
        } else {
            Portable(std::array::from_fn(|i| self.0[i] * factor.0[i] + addend.0[i]))
        }
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        self.zip(other, |a, b| if a < b { a } else { b })
    }

    #[inline(always)]
    unsafe fn larger(self, next: Self) -> Self {
        self.zip(next, |a, b| if (b > a) | (b.is_nan() & !a.is_nan()) { b } else { a })
    }

    #[inline(always)]
    unsafe fn where_above_zero(self, gate: Self) -> Self {
        Portable(std::array::from_fn(|i| if gate.0[i] > 0.0 { self.0[i] } else { 0.0 }))
    }

    #[inline(always)]
    unsafe fn split_where_equal(self, a: Self, b: Self) -> (Self, Self) {
        let equal = |i: usize| (a.0[i] == b.0[i]) | a.0[i].is_nan() | b.0[i].is_nan();
        let pick = |when: bool| Portable(std::array::from_fn(|i| if equal(i) == when { self.0[i] } else { 0.0 }));
        (pick(true), pick(false))
    }
}
