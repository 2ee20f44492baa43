//! AVX2 with FMA: 8 values, masks are vectors of integers.

use super::{Lanes, Work};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256);

/// # Safety
/// The processor must have AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn run<W: Work>(work: W) -> W::Output {
    // SAFETY: as the caller promised.
    unsafe { work.run::<Avx2>() }
}

/// Eight lanes taken from here, `n` values before the middle, are the mask of the first `n`.
static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

impl Lanes for Avx2 {
    const LEN: usize = 8;

    type Mask = __m256i;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn first(n: usize) -> __m256i {
        let start = 8 - n.min(8);
        // SAFETY: start is at most 8, so 8 values from there on lie in MASKS.
        unsafe { _mm256_loadu_si256(MASKS.as_ptr().add(start).cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn splat(x: f32) -> Self {
        Avx2(_mm256_set1_ps(x))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises 8 readable values; unaligned is fine.
        Avx2(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn load_part(from: *const f32, mask: __m256i) -> Self {
        // SAFETY: masked lanes are not read, the caller promises the others.
        Avx2(unsafe { _mm256_maskload_ps(from, mask) })
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises 8 writable values; unaligned is fine.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn store_part(self, to: *mut f32, mask: __m256i) {
        // SAFETY: masked lanes are not written, the caller promises the others.
        unsafe { _mm256_maskstore_ps(to, mask, self.0) }
    }

    #[inline(always)]
    fn opaque(pointer: *const f32) -> *const f32 {
        super::opaque(pointer)
    }

    #[inline(always)]
    fn prefetch(at: *const f32) {
        super::prefetch(at);
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn transpose(from: *const f32, from_step: usize, [rows, cols]: [usize; 2], to: *mut f32, to_step: usize) {
        // SAFETY: the caller promises the block, and lanes outside of it are masked.
        unsafe {
            // A row outside is masked altogether.
            let (part, none) = (Self::first(cols), Self::first(0));
            let r: [__m256; 8] = std::array::from_fn(|i| {
                Self::load_part(from.wrapping_add(i * from_step), if i < rows { part } else { none }).0
            });
            // Pairs of rows, then fours, each within its half of the vectors, then the halves to their places.
            let mut fours = [r[0]; 8];
            for i in [0, 4] {
                let (low, high) = (_mm256_unpacklo_ps(r[i], r[i + 1]), _mm256_unpackhi_ps(r[i], r[i + 1]));
                let (next_low, next_high) =
                    (_mm256_unpacklo_ps(r[i + 2], r[i + 3]), _mm256_unpackhi_ps(r[i + 2], r[i + 3]));
                fours[i] = _mm256_shuffle_ps::<0b01_00_01_00>(low, next_low);
                fours[i + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(low, next_low);
                fours[i + 2] = _mm256_shuffle_ps::<0b01_00_01_00>(high, next_high);
                fours[i + 3] = _mm256_shuffle_ps::<0b11_10_11_10>(high, next_high);
            }
            let part = Self::first(rows);
            for j in 0..4 {
                let low = Avx2(_mm256_permute2f128_ps::<0x20>(fours[j], fours[j + 4]));
                let high = Avx2(_mm256_permute2f128_ps::<0x31>(fours[j], fours[j + 4]));
                for (row, turned) in [(j, low), (j + 4, high)] {
                    match rows {
                        _ if row >= cols => {}
                        8 => turned.store(to.add(row * to_step)),
                        _ => turned.store_part(to.add(row * to_step), part),
                    }
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn add(self, other: Self) -> Self {
        Avx2(_mm256_add_ps(self.0, other.0))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Avx2(_mm256_fmadd_ps(self.0, factor.0, addend.0))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn max(self, other: Self) -> Self {
        Avx2(_mm256_max_ps(self.0, other.0))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn min(self, other: Self) -> Self {
        Avx2(_mm256_min_ps(self.0, other.0))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn larger(self, next: Self) -> Self {
        // The instruction gives its second operand where one of them is NaN.
        let nan = _mm256_cmp_ps::<_CMP_UNORD_Q>(next.0, next.0);
        Avx2(_mm256_blendv_ps(_mm256_max_ps(next.0, self.0), next.0, nan))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn where_above_zero(self, gate: Self) -> Self {
        Avx2(_mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(gate.0, _mm256_setzero_ps()), self.0))
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn split_where_equal(self, a: Self, b: Self) -> (Self, Self) {
        let equal = _mm256_cmp_ps::<_CMP_EQ_UQ>(a.0, b.0);
        (Avx2(_mm256_and_ps(equal, self.0)), Avx2(_mm256_andnot_ps(equal, self.0)))
    }
}
