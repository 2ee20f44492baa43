//! AVX-512: 16 values, masks in registers of their own.

use super::{Lanes, Work};
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(crate) struct Avx512(__m512);

/// # Safety
/// The processor must have AVX-512F.
#[target_feature(enable = "avx512f,avx2,fma")]
pub(crate) unsafe fn run<W: Work>(work: W) -> W::Output {
    // SAFETY: as the caller promised.
    unsafe { work.run::<Avx512>() }
}

impl Lanes for Avx512 {
    const LEN: usize = 16;

    type Mask = __mmask16;

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn first(n: usize) -> __mmask16 {
        ((1u32 << n.min(16)) - 1) as __mmask16
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn splat(x: f32) -> Self {
        Avx512(_mm512_set1_ps(x))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises 16 readable values; unaligned is fine.
        Avx512(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn load_part(from: *const f32, mask: __mmask16) -> Self {
        // SAFETY: masked lanes are not read, the caller promises the others.
        Avx512(unsafe { _mm512_maskz_loadu_ps(mask, from) })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises 16 writable values; unaligned is fine.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn store_part(self, to: *mut f32, mask: __mmask16) {
        // SAFETY: masked lanes are not written, the caller promises the others.
        unsafe { _mm512_mask_storeu_ps(to, mask, self.0) }
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
    #[target_feature(enable = "avx512f")]
    unsafe fn transpose(from: *const f32, from_step: usize, [rows, cols]: [usize; 2], to: *mut f32, to_step: usize) {
        // SAFETY: the caller promises the block, and lanes outside of it are masked.
        unsafe {
            // No branches, so that all of it stays in registers: a row outside is masked altogether.
            let part = Self::first(cols);
            let r: [__m512; 16] = std::array::from_fn(|i| {
                let part = if i < rows { part } else { 0 };
                _mm512_maskz_loadu_ps(part, from.wrapping_add(i * from_step))
            });
            // Pairs of rows, then fours, each within its quarter of the vectors ...
            let mut fours = [r[0]; 16];
            for i in (0..16).step_by(4) {
                let (low, high) = (_mm512_unpacklo_ps(r[i], r[i + 1]), _mm512_unpackhi_ps(r[i], r[i + 1]));
                let (next_low, next_high) =
                    (_mm512_unpacklo_ps(r[i + 2], r[i + 3]), _mm512_unpackhi_ps(r[i + 2], r[i + 3]));
                fours[i] = _mm512_shuffle_ps::<0b01_00_01_00>(low, next_low);
                fours[i + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(low, next_low);
                fours[i + 2] = _mm512_shuffle_ps::<0b01_00_01_00>(high, next_high);
                fours[i + 3] = _mm512_shuffle_ps::<0b11_10_11_10>(high, next_high);
            }
            // ... then the quarters to their places.
            let part = Self::first(rows);
            for j in 0..4 {
                let low = _mm512_shuffle_f32x4::<0b01_00_01_00>(fours[j], fours[j + 4]);
                let high = _mm512_shuffle_f32x4::<0b11_10_11_10>(fours[j], fours[j + 4]);
                let next_low = _mm512_shuffle_f32x4::<0b01_00_01_00>(fours[j + 8], fours[j + 12]);
                let next_high = _mm512_shuffle_f32x4::<0b11_10_11_10>(fours[j + 8], fours[j + 12]);
                let turned = [
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(low, next_low),
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(low, next_low),
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(high, next_high),
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(high, next_high),
                ];
                for (quarter, turned) in turned.into_iter().enumerate() {
                    let row = quarter * 4 + j;
                    let part = if row < cols { part } else { 0 };
                    _mm512_mask_storeu_ps(to.wrapping_add(row * to_step), part, turned);
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn add(self, other: Self) -> Self {
        Avx512(_mm512_add_ps(self.0, other.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Avx512(_mm512_fmadd_ps(self.0, factor.0, addend.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn max(self, other: Self) -> Self {
        Avx512(_mm512_max_ps(self.0, other.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn min(self, other: Self) -> Self {
        Avx512(_mm512_min_ps(self.0, other.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn larger(self, next: Self) -> Self {
        // The instruction gives its second operand where one of them is NaN.
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(next.0, next.0);
        Avx512(_mm512_mask_mov_ps(_mm512_max_ps(next.0, self.0), nan, next.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn where_above_zero(self, gate: Self) -> Self {
        Avx512(_mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(gate.0, _mm512_setzero_ps()), self.0))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn split_where_equal(self, a: Self, b: Self) -> (Self, Self) {
        let equal = _mm512_cmp_ps_mask::<_CMP_EQ_UQ>(a.0, b.0);
        (Avx512(_mm512_maskz_mov_ps(equal, self.0)), Avx512(_mm512_maskz_mov_ps(!equal, self.0)))
    }
}
