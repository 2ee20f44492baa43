//! Vectors of f32 values, over what the processor has.
//!
//! A numeric loop is written once, as [`Work`] that is generic over [`Lanes`]; [`Isa::run`] runs it
//! with the vectors of one instruction set. An instruction set is one file with an `impl Lanes` and
//! a `run` that is compiled for it.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
pub(super) mod portable;

use std::sync::OnceLock;

/// A vector of [`LEN`](Self::LEN) values.
///
/// # Safety
/// Of all functions: the processor must have the instruction set. Pointers need not be aligned.
pub(super) trait Lanes: Copy {
    /// The number of values.
    const LEN: usize;

    /// Which lanes a masked load or store touches.
    type Mask: Copy;

    /// The first `n` lanes; all of them when there are fewer.
    unsafe fn first(n: usize) -> Self::Mask;

    unsafe fn splat(x: f32) -> Self;

    /// Reads `LEN` values.
    unsafe fn load(from: *const f32) -> Self;

    /// Reads the values of the mask's lanes, which alone must be readable; the others are zero.
    unsafe fn load_part(from: *const f32, mask: Self::Mask) -> Self;

    /// Writes `LEN` values.
    unsafe fn store(self, to: *mut f32);

    /// Writes the mask's lanes, which alone must be writable.
    unsafe fn store_part(self, to: *mut f32, mask: Self::Mask);

    /// The pointer itself, hidden from the optimizer: it would compute a row's address from the row
    /// before where a register is to hold it.
    fn opaque(pointer: *const f32) -> *const f32 {
        pointer
    }

    /// Asks for the cache line of a value that is needed soon; any pointer is fine.
    fn prefetch(_at: *const f32) {}

    /// Transposes a block whose rows are `from_step` apart to one whose rows are `to_step` apart.
    ///
    /// # Safety
    /// Both blocks are valid, `from` with `rows` rows of `cols` values; neither is more than [`LEN`](Self::LEN).
    unsafe fn transpose(from: *const f32, from_step: usize, [rows, cols]: [usize; 2], to: *mut f32, to_step: usize) {
        for i in 0..rows {
            for j in 0..cols {
                // SAFETY: the caller promises both blocks.
                unsafe { *to.add(j * to_step + i) = *from.add(i * from_step + j) };
            }
        }
    }

    unsafe fn add(self, other: Self) -> Self;

    /// `self * factor + addend`, rounded once where the processor can.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;

    /// The larger one; `other` if either is NaN.
    unsafe fn max(self, other: Self) -> Self;

    /// The smaller one; `other` if either is NaN.
    unsafe fn min(self, other: Self) -> Self;

    /// `next` if it is larger, or the first NaN of the two.
    unsafe fn larger(self, next: Self) -> Self;

    /// This where `gate` is above 0, else zero.
    unsafe fn where_above_zero(self, gate: Self) -> Self;

    /// This where `a` and `b` are equal or one of them is NaN, else zero; and this where they are not, else zero.
    unsafe fn split_where_equal(self, a: Self, b: Self) -> (Self, Self);
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch(at: *const f32) {
    // SAFETY: a hint; it never fails, whatever the pointer.
    unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast()) };
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn opaque(mut pointer: *const f32) -> *const f32 {
    // SAFETY: no instruction at all.
    unsafe { std::arch::asm!("/* {0} */", inout(reg) pointer, options(pure, readonly, nostack, preserves_flags)) };
    pointer
}

/// A loop over vectors, written once for all instruction sets.
pub(super) trait Work {
    type Output;

    /// # Safety
    /// The processor must have the instruction set of `L`. Implementations are `#[inline(always)]`,
    /// as everything generic that they call: so all of it is compiled for that set.
    unsafe fn run<L: Lanes>(self) -> Self::Output;
}

/// An instruction set that this processor has: whoever holds one may run its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Isa(Kind);

/// The instruction sets, the best one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Kind {
    const ALL: &'static [(&'static str, Kind)] = &[
        #[cfg(target_arch = "x86_64")]
        ("avx512", Kind::Avx512),
        #[cfg(target_arch = "x86_64")]
        ("avx2", Kind::Avx2),
        ("portable", Kind::Portable),
    ];

    fn available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => is_x86_feature_detected!("avx512f") && Kind::Avx2.available(),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            Kind::Portable => true,
        }
    }
}

impl Isa {
    /// All that this processor has, the best one first.
    #[cfg(test)]
    pub(super) fn all() -> impl Iterator<Item = Isa> {
        Kind::ALL.iter().filter(|(_, kind)| kind.available()).map(|(_, kind)| Isa(*kind))
    }

    /// The one to use: the best, or the first from the one that `CORNU_SIMD` names (`avx512`, `avx2` or
    /// `portable`) on. It is chosen once.
    pub(super) fn get() -> Isa {
        #[cfg(test)]
        if let Some(isa) = testing::FORCED.get() {
            return isa;
        }
        static CHOSEN: OnceLock<Isa> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let wish = std::env::var("CORNU_SIMD").unwrap_or_default();
            let start = Kind::ALL.iter().position(|(name, _)| *name == wish).unwrap_or_else(|| {
                if !wish.is_empty() {
                    let names: Vec<_> = Kind::ALL.iter().map(|(name, _)| *name).collect();
                    // Nobody waits for a result here; ignoring the wish in silence would make a measurement wrong.
                    eprintln!("cornu: CORNU_SIMD is {wish:?}, expected one of {names:?}; using the best there is");
                }
                0
            });
            let found = Kind::ALL[start..].iter().find(|(_, kind)| kind.available());
            Isa(found.map_or(Kind::Portable, |(_, kind)| *kind))
        })
    }

    /// Whether there are no vectors of a processor's own.
    pub(super) fn is_portable(self) -> bool {
        matches!(self.0, Kind::Portable)
    }

    pub(super) fn kind(self) -> Kind {
        self.0
    }

    /// Runs `work` with this set's vectors.
    pub(super) fn run<W: Work>(self, work: W) -> W::Output {
        // SAFETY: an `Isa` is only made after its instruction set was found.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Kind::Avx512 => avx512::run(work),
                #[cfg(target_arch = "x86_64")]
                Kind::Avx2 => avx2::run(work),
                Kind::Portable => portable::run(work),
            }
        }
    }
}

/// Calls `work` compiled for the best instruction set: plain loops over slices in it become loops over
/// wide vectors. What it calls is only compiled so where it is inlined, and so is the closure itself: an
/// `#[inline(always)]` before it makes sure. It should own the numbers that it works with (`move`): those behind a
/// reference might change with each value that is written, and would be read again each time. Its results are the same on each set, since
/// the compiler keeps the order and the rounding of what is written.
pub(crate) fn vectorised<T>(work: impl FnOnce() -> T) -> T {
    struct Call<F>(F);

    impl<T, F: FnOnce() -> T> Work for Call<F> {
        type Output = T;

        #[inline(always)]
        unsafe fn run<L: Lanes>(self) -> T {
            (self.0)()
        }
    }

    Isa::get().run(Call(work))
}

/// The name of the instruction set that the kernels use: `avx512`, `avx2` or `portable`.
pub fn instruction_set() -> &'static str {
    let isa = Isa::get();
    Kind::ALL.iter().find(|(_, kind)| *kind == isa.0).map_or("portable", |(name, _)| name)
}

#[cfg(test)]
pub(super) mod testing {
    use super::Isa;
    use std::cell::Cell;

    thread_local! {
        pub(super) static FORCED: Cell<Option<Isa>> = const { Cell::new(None) };
    }

    /// Runs `test` once with each instruction set that this processor has, for what is called on
    /// this thread.
    pub(crate) fn on_each(test: impl Fn()) {
        for isa in Isa::all() {
            on(isa, &test);
        }
    }

    pub(crate) fn on<T>(isa: Isa, test: impl FnOnce() -> T) -> T {
        let before = FORCED.replace(Some(isa));
        let result = test();
        FORCED.set(before);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Everything;

    impl Work for Everything {
        type Output = ();

        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            let values: Vec<f32> = (0..2 * L::LEN).map(|i| i as f32 - 3.0).collect();
            let (from, mut to) = (values.as_ptr(), vec![9.0; L::LEN]);
            for n in 0..=L::LEN + 3 {
                let part = n.min(L::LEN);
                // SAFETY: `values` and `to` are long enough, the caller has the instruction set.
                unsafe {
                    let x = L::load(from.add(1));
                    x.mul_add(L::splat(2.0), L::splat(1.0)).add(x).store(to.as_mut_ptr());
                    let want = |i: usize| values[i + 1] * 3.0 + 1.0;
                    (0..L::LEN).for_each(|i| assert_eq!(to[i], want(i)));
                    // Nothing beyond the mask is read: the pointer ends where the values do.
                    let last = L::load_part(from.add(2 * L::LEN - part), L::first(n));
                    last.store(to.as_mut_ptr());
                    for (i, to) in to.iter().enumerate() {
                        assert_eq!(*to, if i < part { values[2 * L::LEN - part + i] } else { 0.0 });
                    }
                    to.fill(9.0);
                    L::splat(0.0).max(L::load(from)).store_part(to.as_mut_ptr(), L::first(n));
                    for (i, to) in to.iter().enumerate() {
                        assert_eq!(*to, if i < part { values[i].max(0.0) } else { 9.0 });
                    }
                    let block: Vec<f32> = (0..400).map(|i| i as f32).collect();
                    for (rows, cols) in (0..=L::LEN).flat_map(|rows| (0..=L::LEN).map(move |cols| (rows, cols))) {
                        let mut turned = [-1.0; 400];
                        L::transpose(block.as_ptr(), 19, [rows, cols], turned.as_mut_ptr(), 21);
                        for (at, &value) in turned.iter().enumerate() {
                            let (j, i) = (at / 21, at % 21);
                            let inside = i < rows && j < cols;
                            assert_eq!(value, if inside { block[i * 19 + j] } else { -1.0 });
                        }
                    }
                    L::splat(0.0).max(L::splat(f32::NAN)).store(to.as_mut_ptr());
                    assert!(to.iter().all(|to| to.is_nan()));
                    for (best, next, want) in [(1.0, 2.0, 2.0), (2.0, 1.0, 2.0), (0.0, -0.0, 0.0)] {
                        L::splat(best).larger(L::splat(next)).store(to.as_mut_ptr());
                        assert!(to.iter().all(|to| to.to_bits() == f32::to_bits(want)));
                    }
                    for (best, next) in [(f32::NAN, 1.0), (1.0, f32::NAN), (f32::NAN, f32::NAN)] {
                        L::splat(best).larger(L::splat(next)).store(to.as_mut_ptr());
                        assert!(to.iter().all(|to| to.is_nan()));
                    }
                    for (gate, open) in [(1.0, true), (0.0, false), (-0.0, false), (-1.0, false), (f32::NAN, false)] {
                        L::splat(7.0).where_above_zero(L::splat(gate)).store(to.as_mut_ptr());
                        assert!(to.iter().all(|&to| to == if open { 7.0 } else { 0.0 }));
                    }
                    for (a, b, equal) in [(1.0, 1.0, true), (0.0, -0.0, true), (1.0, 2.0, false), (f32::NAN, 1.0, true)]
                    {
                        let (taken, left) = L::splat(7.0).split_where_equal(L::splat(a), L::splat(b));
                        taken.store(to.as_mut_ptr());
                        assert!(to.iter().all(|&to| to == if equal { 7.0 } else { 0.0 }));
                        left.store(to.as_mut_ptr());
                        assert!(to.iter().all(|&to| to == if equal { 0.0 } else { 7.0 }));
                    }
                }
            }
        }
    }

    #[test]
    fn lanes_do_what_they_say() {
        testing::on_each(|| Isa::get().run(Everything));
        assert!(Isa::all().any(|isa| isa.kind() == Kind::Portable));
        assert!(Kind::ALL.iter().any(|(name, _)| *name == instruction_set()));
    }
}
