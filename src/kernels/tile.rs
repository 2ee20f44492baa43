//! The one inner loop of matrix products and convolutions: a small tile of the result in registers.
//!
//! `c[i][j] = start + sum_k a(i, k) * b[k][j]`, where `k` runs through segments of `a` of equal
//! length. What makes it serve both products and convolutions, forward and backward, without
//! gathering anything, is how `a` is read:
//!
//! | | `a(i, k)` is | of a matrix | of an image |
//! |---|---|---|---|
//! | [`Reading::Rows`] | `a[segment + k + i * step]` | plain | `i` is the output column, a segment a row of the kernel |
//! | [`Reading::Columns`] | `a[segment + k * step + i]` | transposed | `k` is the output column, a segment an output row |
//!
//! Rows of `b` simply follow each other through all segments.

use super::simd::{Isa, Kind, Lanes, Work, portable};
#[cfg(target_arch = "x86_64")]
use super::simd::{avx2, avx512};

/// How the values of `a` lie in memory; the number is the step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    /// Those of one row of the result are contiguous.
    Rows(usize),
    /// Those of one `k` are contiguous.
    Columns(usize),
}

/// What is added to the sums.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start<'a> {
    /// Nothing.
    Zero,
    /// A value for each column.
    Bias(&'a [f32]),
    /// What `c` holds.
    Sum,
    /// Of sums that are whole: they are first multiplied with a value for each column, then a value for each column is
    /// added, then, where `sum` says so, what `c` holds.
    Whole { scale: Option<&'a [f32]>, bias: Option<&'a [f32]>, sum: bool },
}

impl<'a> Start<'a> {
    /// The same for the columns from `column` on.
    pub(super) fn from(self, column: usize) -> Self {
        match self {
            Start::Bias(bias) => Start::Bias(&bias[column..]),
            Start::Whole { scale, bias, sum } => {
                Start::Whole { scale: scale.map(|scale| &scale[column..]), bias: bias.map(|bias| &bias[column..]), sum }
            }
            start => start,
        }
    }

    /// The factors, what is added for each column, and whether what `c` holds is added.
    pub(super) fn parts(self) -> (Option<&'a [f32]>, Option<&'a [f32]>, bool) {
        match self {
            Start::Zero => (None, None, false),
            Start::Sum => (None, None, true),
            Start::Bias(bias) => (None, Some(bias), false),
            Start::Whole { scale, bias, sum } => (scale, bias, sum),
        }
    }
}

/// What is done to the sums before they are stored.
#[derive(Clone, Copy, Debug)]
pub(super) enum End<'a> {
    Plain,
    /// Negative ones become 0, and those above this one this one.
    Relu(f32),
    /// Those become 0 for which the value here, which lie as in `c`, is not above 0: the gradient of a ReLU that gave
    /// these values.
    Gate(&'a [f32]),
}

impl<'a> End<'a> {
    /// The same for what begins `at` values further.
    pub(super) fn from(self, at: usize) -> Self {
        match self {
            End::Gate(gate) => End::Gate(&gate[at..]),
            end => end,
        }
    }
}

/// The left operand: where its values lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left<'a> {
    pub a: &'a [f32],
    pub reading: Reading,
    /// Where each run of the sum begins in `a`.
    pub segments: &'a [usize],
    /// The length of each.
    pub run: usize,
}

/// The right operand: rows of `cols` values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Right<'a> {
    pub b: &'a [f32],
    pub step: usize,
    pub cols: usize,
}

/// Where several threads write: a pointer, and the number of values from there on.
pub(super) struct Out(pub *mut f32, pub usize);

// SAFETY: whoever uses the pointer says why no two threads use the same values.
unsafe impl Sync for Out {}

/// The largest tiles of an instruction set: they fill its registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Values in a vector.
    pub lanes: usize,
    /// Rows of a tile that is one vector wide.
    pub narrow: usize,
    /// Rows of a tile that is two vectors wide.
    pub wide: usize,
}

impl Sizes {
    pub(super) fn of(isa: Isa) -> &'static Sizes {
        &tiles(isa).sizes
    }

    /// Columns of the widest tile.
    pub(super) fn cols(&self) -> usize {
        2 * self.lanes
    }

    /// The most rows of a tile of `cols` columns.
    pub(super) fn rows(&self, cols: usize) -> usize {
        if cols <= self.lanes { self.narrow } else { self.wide }
    }
}

/// Computes `rows` x `right.cols` values of `c`, whose rows are `c_step` apart; `a` of the first
/// row begins at offset `a_start`.
///
/// # Panics
/// When the tile is larger than [`Sizes`] allow, or reaches out of a slice.
#[allow(clippy::too_many_arguments, reason = "the innermost function, called everywhere")]
#[inline]
pub(super) fn tile(
    isa: Isa,
    rows: usize,
    left: &Left,
    a_start: usize,
    right: &Right,
    start: Start,
    end: End,
    c: &mut [f32],
    c_step: usize,
) {
    // SAFETY: the slice is borrowed alone.
    unsafe { tile_at(isa, rows, left, a_start, right, start, end, (c.as_mut_ptr(), c.len()), c_step) }
}

/// [`tile`] where others work on other columns of the same rows.
///
/// # Safety
/// `c` is a pointer and the number of values from there on that are valid. Nobody else uses those of this tile.
///
/// # Panics
/// As [`tile`].
#[allow(clippy::too_many_arguments, reason = "the innermost function, called everywhere")]
#[inline]
pub(super) unsafe fn tile_at(
    isa: Isa,
    rows: usize,
    left: &Left,
    a_start: usize,
    right: &Right,
    start: Start,
    end: End,
    (c, c_len): (*mut f32, usize),
    c_step: usize,
) {
    let table = tiles(isa);
    let cols = right.cols;
    let (wide, by_rows) = (cols > table.sizes.lanes, matches!(left.reading, Reading::Rows(_)));
    assert!(rows > 0 && cols > 0 && cols <= table.sizes.cols(), "a tile of {rows} x {cols}");
    let table_of_rows = match (by_rows, wide) {
        (true, false) => table.rows_narrow,
        (true, true) => table.rows_wide,
        (false, false) => table.columns_narrow,
        (false, true) => table.columns_wide,
    };
    // These checks are all that the inner loop relies on; a few nanoseconds for each tile.
    let depth = left.segments.len() * left.run;
    let within = match left.reading {
        _ if depth == 0 => 0,
        Reading::Rows(step) => (rows - 1) * step + left.run,
        Reading::Columns(step) => (left.run - 1) * step + rows,
    };
    let reach = a_start + left.segments.iter().fold(0, |most, &at| most.max(at)) + within;
    assert!(depth == 0 || reach <= left.a.len(), "a tile reads up to {reach} of {} values of a", left.a.len());
    assert!(depth == 0 || (depth - 1) * right.step + cols <= right.b.len(), "a tile reads outside of b");
    assert!((rows - 1) * c_step + cols <= c_len && (c_step >= cols || rows == 1), "a tile writes outside of c");
    // What a vector reads beyond the last column is not stored; only behind the end of `b` must it be masked.
    let vectors = cols.next_multiple_of(table.sizes.lanes);
    let masked = depth > 0 && (depth - 1) * right.step + vectors > right.b.len();
    let tile = table_of_rows[rows - 1][usize::from(masked)];
    let (scale, bias, sum) = start.parts();
    let of_columns = |values: Option<&[f32]>| {
        assert!(values.is_none_or(|values| values.len() >= cols), "a value for each column");
        values.map_or(std::ptr::null(), <[f32]>::as_ptr)
    };
    let gate = match end {
        End::Gate(gate) => {
            assert!((rows - 1) * c_step + cols <= gate.len(), "a tile reads outside of its gate");
            gate.as_ptr()
        }
        _ => std::ptr::null(),
    };
    let raw = Raw {
        a: left.a[a_start.min(left.a.len())..].as_ptr(),
        a_step: match left.reading {
            Reading::Rows(step) | Reading::Columns(step) => step,
        },
        segments: left.segments,
        run: left.run,
        b: right.b.as_ptr(),
        b_step: right.step,
        cols,
        c,
        c_step,
        scale: of_columns(scale),
        bias: of_columns(bias),
        sum,
        relu: matches!(end, End::Relu(_)),
        most: if let End::Relu(most) = end { most } else { f32::INFINITY },
        gate,
    };
    // SAFETY: all that a tile reads and writes lies in the slices and in what the caller promised of `c`, as was
    // just checked; the instruction set is there, since `isa` is.
    unsafe { tile(&raw) }
}

/// The pieces of a line of `len` rows, of `most` rows at most and as equal as can be.
pub(super) fn split(len: usize, most: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let count = len.div_ceil(most);
    (0..count).map(move |i| i * len / count..(i + 1) * len / count)
}

/// The arguments of a tile, checked.
struct Raw<'a> {
    a: *const f32,
    a_step: usize,
    segments: &'a [usize],
    run: usize,
    b: *const f32,
    b_step: usize,
    cols: usize,
    c: *mut f32,
    c_step: usize,
    /// Null without one, as the next one and the gate.
    scale: *const f32,
    bias: *const f32,
    /// Whether what `c` holds is added.
    sum: bool,
    relu: bool,
    most: f32,
    gate: *const f32,
}

type TileFn = unsafe fn(&Raw);

/// The tiles of an instruction set, by the number of rows less one: one that reads whole vectors of `b` and, a little
/// slower, one that masks the last.
struct Tiles {
    sizes: Sizes,
    rows_narrow: &'static [[TileFn; 2]],
    rows_wide: &'static [[TileFn; 2]],
    columns_narrow: &'static [[TileFn; 2]],
    columns_wide: &'static [[TileFn; 2]],
}

fn tiles(isa: Isa) -> &'static Tiles {
    match isa.kind() {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => &AVX512,
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => &AVX2,
        Kind::Portable => &PORTABLE,
    }
}

macro_rules! tiles {
    ($isa:ident, $lanes:expr, narrow: $($narrow:literal)*, wide: $($wide:literal)*) => {
        Tiles {
            sizes: Sizes {
                lanes: $lanes,
                narrow: [$($narrow),*].len(),
                wide: [$($wide),*].len(),
            },
            rows_narrow: tiles!(@ $isa, 1, true, $($narrow)*),
            rows_wide: tiles!(@ $isa, 2, true, $($wide)*),
            columns_narrow: tiles!(@ $isa, 1, false, $($narrow)*),
            columns_wide: tiles!(@ $isa, 2, false, $($wide)*),
        }
    };
    (@ $isa:ident, $vectors:literal, $by_rows:literal, $($rows:literal)*) => {
        &[$([
            // SAFETY: callers of a `TileFn` promise what `Tile` needs.
            |raw| unsafe { $isa::run(Tile::<$rows, $vectors, $by_rows, false>(raw)) },
            // SAFETY: likewise.
            |raw| unsafe { $isa::run(Tile::<$rows, $vectors, $by_rows, true>(raw)) },
        ]),*]
    };
}

/// 28 of 32 registers hold sums.
#[cfg(target_arch = "x86_64")]
static AVX512: Tiles = tiles!(avx512, 16,
    narrow: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30,
    wide: 1 2 3 4 5 6 7 8 9 10 11 12 13 14);

/// 12 of 16.
#[cfg(target_arch = "x86_64")]
static AVX2: Tiles = tiles!(avx2, 8, narrow: 1 2 3 4 5 6 7 8 9 10 11 12, wide: 1 2 3 4 5 6);

/// A vector is two registers here, of 16 or 32.
static PORTABLE: Tiles = tiles!(portable, 8, narrow: 1 2 3 4 5 6, wide: 1 2 3);

/// The body for each constant `i` below `n`. The compiler unrolls loops only up to a size, and sums
/// that are indexed by a variable would live in memory.
macro_rules! unroll {
    ($i:ident in 0..$n:expr, $body:expr) => {
        unroll!(@ $i $n, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29)
    };
    (@ $i:ident $n:expr, $body:expr, $($number:literal)*) => {
        $(if $number < $n {
            let $i = $number;
            $body;
        })*
    };
}
pub(super) use unroll;

/// A tile of `ROWS` rows and `VECTORS` vectors; `BY_ROWS` says how `a` is read, `MASKED` whether the last vector of a
/// row of `b` is.
struct Tile<'a, const ROWS: usize, const VECTORS: usize, const BY_ROWS: bool, const MASKED: bool>(&'a Raw<'a>);

impl<const ROWS: usize, const VECTORS: usize, const BY_ROWS: bool, const MASKED: bool> Work
    for Tile<'_, ROWS, VECTORS, BY_ROWS, MASKED>
{
    type Output = ();

    /// Besides the instruction set: `a`, `b`, `c` and `bias` must be valid for all that the
    /// tile touches, as [`tile`] checks.
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let raw = self.0;
        // SAFETY: every pointer is formed from an index that `tile` checked, and is used within.
        unsafe {
            // All vectors but the last are full.
            let mask = L::first(raw.cols - (VECTORS - 1) * L::LEN);
            let last = VECTORS - 1;
            let mut sums = [[L::splat(0.0); VECTORS]; ROWS];
            if !raw.bias.is_null() && raw.scale.is_null() {
                for v in 0..VECTORS {
                    let from = raw.bias.add(v * L::LEN);
                    let bias = if v < last { L::load(from) } else { L::load_part(from, mask) };
                    for row in &mut sums {
                        row[v] = bias;
                    }
                }
            }
            if ROWS * VECTORS > FEW {
                // What is read and written last may be far away: it comes while the sums are made.
                for i in 0..ROWS {
                    for v in 0..VECTORS {
                        L::prefetch(raw.c.wrapping_add(i * raw.c_step + v * L::LEN));
                        if !raw.gate.is_null() {
                            L::prefetch(raw.gate.wrapping_add(i * raw.c_step + v * L::LEN));
                        }
                    }
                }
            }
            let mut others = [[L::splat(0.0); VECTORS]; ROWS];
            let mut at = At::<ROWS, VECTORS, BY_ROWS, MASKED> { b: raw.b, a: [raw.a; ROWS] };
            for &segment in raw.segments {
                at.start(raw, segment);
                if ROWS * VECTORS > FEW {
                    for _ in 0..raw.run {
                        at.step(raw, mask, &mut sums);
                    }
                } else {
                    for _ in 0..raw.run / 2 {
                        at.step(raw, mask, &mut sums);
                        at.step(raw, mask, &mut others);
                    }
                    if raw.run % 2 == 1 {
                        at.step(raw, mask, &mut sums);
                    }
                }
            }
            if ROWS * VECTORS <= FEW {
                for (row, others) in sums.iter_mut().zip(&others) {
                    for (sum, other) in row.iter_mut().zip(others) {
                        *sum = sum.add(*other);
                    }
                }
            }
            if !raw.scale.is_null() {
                for v in 0..VECTORS {
                    let load = |from: *const f32| {
                        let from = from.add(v * L::LEN);
                        if v < last { L::load(from) } else { L::load_part(from, mask) }
                    };
                    let scale = load(raw.scale);
                    let bias = if raw.bias.is_null() { L::splat(0.0) } else { load(raw.bias) };
                    for row in &mut sums {
                        row[v] = row[v].mul_add(scale, bias);
                    }
                }
            }
            if raw.sum {
                for (i, row) in sums.iter_mut().enumerate() {
                    for (v, sum) in row.iter_mut().enumerate() {
                        let from = raw.c.add(i * raw.c_step + v * L::LEN);
                        *sum = sum.add(if v < last { L::load(from) } else { L::load_part(from, mask) });
                    }
                }
            }
            if raw.relu {
                for row in &mut sums {
                    for sum in row {
                        *sum = L::splat(raw.most).min(L::splat(0.0).max(*sum));
                    }
                }
            }
            if !raw.gate.is_null() {
                for (i, row) in sums.iter_mut().enumerate() {
                    for (v, sum) in row.iter_mut().enumerate() {
                        let from = raw.gate.add(i * raw.c_step + v * L::LEN);
                        *sum = sum.where_above_zero(if v < last { L::load(from) } else { L::load_part(from, mask) });
                    }
                }
            }
            for (i, row) in sums.iter().enumerate() {
                for (v, sum) in row.iter().enumerate() {
                    let to = raw.c.add(i * raw.c_step + v * L::LEN);
                    if v < last { sum.store(to) } else { sum.store_part(to, mask) }
                }
            }
        }
    }
}

/// An addition waits for the one before: up to this many sums, every other step has sums of its own.
const FEW: usize = 6;

/// Where a tile is in its operands.
struct At<const ROWS: usize, const VECTORS: usize, const BY_ROWS: bool, const MASKED: bool> {
    b: *const f32,
    /// Every third row of `a`: the two rows between are one and two steps away, which
    /// the processor adds for nothing. There are not enough registers for all rows.
    a: [*const f32; ROWS],
}

impl<const ROWS: usize, const VECTORS: usize, const BY_ROWS: bool, const MASKED: bool>
    At<ROWS, VECTORS, BY_ROWS, MASKED>
{
    #[inline(always)]
    fn start(&mut self, raw: &Raw, segment: usize) {
        self.a = [raw.a.wrapping_add(segment); ROWS];
        if BY_ROWS {
            unroll!(third in 0..ROWS.div_ceil(3), self.a[third] = self.a[third].wrapping_add(3 * third * raw.a_step));
        }
    }

    /// Adds the products of one `k`.
    ///
    /// # Safety
    /// As [`Tile::run`].
    #[inline(always)]
    unsafe fn step<L: Lanes>(&mut self, raw: &Raw, mask: L::Mask, sums: &mut [[L; VECTORS]; ROWS]) {
        let (step, last) = (raw.a_step, VECTORS - 1);
        // SAFETY: `tile` checked all that the pointers run through.
        unsafe {
            let mut right = [L::splat(0.0); VECTORS];
            for (v, right) in right.iter_mut().enumerate() {
                let from = self.b.add(v * L::LEN);
                *right = if v < last || !MASKED { L::load(from) } else { L::load_part(from, mask) };
            }
            unroll!(i in 0..ROWS, {
                let from = if BY_ROWS { self.a[i / 3].wrapping_add(i % 3 * step) } else { self.a[0].wrapping_add(i) };
                let left = L::splat(*from);
                for v in 0..VECTORS {
                    sums[i][v] = left.mul_add(right[v], sums[i][v]);
                }
            });
        }
        if BY_ROWS {
            unroll!(third in 0..ROWS.div_ceil(3), self.a[third] = L::opaque(self.a[third].wrapping_add(1)));
        } else {
            self.a[0] = self.a[0].wrapping_add(step);
        }
        self.b = self.b.wrapping_add(raw.b_step);
    }
}
