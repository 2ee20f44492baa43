//! Many tiles: the loops of a matrix product around [`tile`](super::tile), and the copy of the right operand
//! that it reads.
//!
//! The right operand is cut into panels as wide as a tile. A panel is read again for each few rows of the left one, so
//! where there are many rows, its rows are copied to follow each other. The left one is copied, a few rows at a time and
//! as a tile reads them, where there are enough columns to make up for it.

use super::scratch::Scratch;
use super::simd::{Isa, Lanes, Work};
use super::tile::{End, Left, Reading, Right, Sizes, Start, split, tile_at};
use crate::runtime::threads;
use smallvec::SmallVec;
use std::ops::Range;

/// Rows of panels that are worked on at once: few rows of the left operand, as long as these, stay in the
/// first-level cache ...
pub(super) const DEPTH: usize = 512;
/// ... and so many columns of the right one in the second-level cache.
pub(super) const WIDTH: usize = 512;

/// A matrix that is a right operand, by panels of [`Sizes::cols`] columns; the last one is narrower.
pub(super) struct Panels<'a> {
    data: Data<'a>,
    rows: usize,
    cols: usize,
    sizes: &'static Sizes,
}

enum Data<'a> {
    /// Read where it is: rows so far apart.
    InPlace(&'a [f32], usize),
    /// Panel after panel, each without gaps between its rows; the last one is filled up to whole vectors.
    Copied(Scratch),
    /// The same, but somebody else's: see [`Packed`](super::packed::Packed).
    Kept(&'a [f32]),
}

/// Where the values of a matrix lie: one of the strides is 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub data: &'a [f32],
    pub row_stride: usize,
    pub col_stride: usize,
}

impl<'a> Source<'a> {
    /// The columns from `first` on.
    pub(super) fn columns(self, first: usize) -> Self {
        Source { data: self.data.get(first * self.col_stride..).unwrap_or_default(), ..self }
    }

    /// The rows from `first` on.
    pub(super) fn rows(self, first: usize) -> Self {
        Source { data: self.data.get(first * self.row_stride..).unwrap_or_default(), ..self }
    }
}

impl<'a> Panels<'a> {
    /// Reads `rows` rows of `cols` contiguous values where they are.
    pub(super) fn in_place(isa: Isa, data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        Panels { data: Data::InPlace(data, row_stride), rows, cols, sizes: Sizes::of(isa) }
    }

    /// Panels that were copied before.
    pub(super) fn kept(isa: Isa, data: &'a [f32], rows: usize, cols: usize) -> Self {
        let sizes = Sizes::of(isa);
        assert_eq!(data.len(), rows * cols.next_multiple_of(sizes.lanes), "values in panels");
        Panels { data: Data::Kept(data), rows, cols, sizes }
    }

    /// Some columns of kept panels; only whole panels.
    pub(super) fn columns(&self, cols: Range<usize>) -> Self {
        let Data::Kept(data) = self.data else { unreachable!("only of kept panels") };
        let whole = |at: usize| at.is_multiple_of(self.sizes.cols()) || at == self.cols;
        assert!(whole(cols.start) && whole(cols.end) && cols.end <= self.cols, "panels are not cut");
        let width = cols.len().next_multiple_of(self.sizes.lanes);
        let data = &data[cols.start * self.rows..][..width * self.rows];
        Panels { data: Data::Kept(data), rows: self.rows, cols: cols.len(), sizes: self.sizes }
    }

    /// Space for a matrix, to be filled by [`copy_in`](Self::copy_in).
    pub(super) fn new(isa: Isa, rows: usize, cols: usize) -> Panels<'static> {
        let sizes = Sizes::of(isa);
        Panels { data: Data::Copied(Scratch::take(rows * cols.next_multiple_of(sizes.lanes))), rows, cols, sizes }
    }

    /// A copy of a matrix, times `factor`.
    pub(super) fn copy(isa: Isa, source: Source, rows: usize, cols: usize, factor: f32) -> Panels<'static> {
        let mut panels = Panels::new(isa, rows, cols);
        panels.copy_in(isa, 0..rows, source, factor);
        panels
    }

    /// Copies a matrix into the rows `at`.
    pub(super) fn copy_in(&mut self, isa: Isa, at: Range<usize>, source: Source, factor: f32) {
        let Data::Copied(data) = &mut self.data else { return };
        copy_rows(isa, data, [self.rows, self.cols], at, source, factor);
    }

    /// [`copy`](Self::copy) on all threads.
    pub(super) fn copy_parallel(isa: Isa, source: Source, rows: usize, cols: usize, factor: f32) -> Panels<'static> {
        let mut panels = Panels::new(isa, rows, cols);
        let sizes = panels.sizes;
        let wide = GROUP * sizes.cols();
        if let Data::Copied(data) = &mut panels.data {
            let mut groups: Vec<_> = data.chunks_mut((rows * wide).max(1)).collect();
            threads::for_each(&mut groups, |i, group| {
                copy_group(
                    isa,
                    sizes,
                    group,
                    rows,
                    0..rows,
                    source.columns(i * wide),
                    wide.min(cols - i * wide),
                    factor,
                );
            });
        }
        panels
    }

    /// The panels of some rows, each with its first column.
    pub(super) fn of(&self, rows: Range<usize>) -> impl Iterator<Item = (usize, Right<'_>)> {
        self.some_of(rows, 0..self.cols.div_ceil(self.sizes.cols()))
    }

    /// [`of`](Self::of), and only these panels.
    fn some_of(&self, rows: Range<usize>, panels: Range<usize>) -> impl Iterator<Item = (usize, Right<'_>)> {
        let (cols, wide) = (self.cols, self.sizes.cols());
        panels.map(move |panel| {
            let first = panel * wide;
            let count = wide.min(cols - first);
            let (b, step) = match &self.data {
                Data::InPlace(data, step) => (&data[(rows.start * step + first).min(data.len())..], *step),
                Data::Copied(_) | Data::Kept(_) => {
                    let data = match &self.data {
                        Data::Copied(data) => &data[..],
                        Data::Kept(data) | Data::InPlace(data, _) => data,
                    };
                    let width = count.next_multiple_of(self.sizes.lanes);
                    (&data[first * self.rows..][rows.start * width..rows.end * width], width)
                }
            };
            (first, Right { b, step, cols: count })
        })
    }
}

/// Panels that are copied at once: that much of each row is read where it lies.
const GROUP: usize = 8;

/// Copies a matrix, times `factor`, into the rows `at` of the panels of a matrix of this size.
pub(super) fn copy_rows(
    isa: Isa,
    panels: &mut [f32],
    [rows, cols]: [usize; 2],
    at: Range<usize>,
    source: Source,
    factor: f32,
) {
    let sizes = Sizes::of(isa);
    let wide = GROUP * sizes.cols();
    for (i, group) in panels.chunks_mut((rows * wide).max(1)).enumerate().take(cols.div_ceil(wide)) {
        let (source, cols) = (source.columns(i * wide), wide.min(cols - i * wide));
        copy_group(isa, sizes, group, rows, at.clone(), source, cols, factor);
    }
}

/// Copies `cols` columns of a matrix into the rows `at` of panels of `total` rows.
#[allow(clippy::too_many_arguments)]
fn copy_group(
    isa: Isa,
    sizes: &Sizes,
    panels: &mut [f32],
    total: usize,
    at: Range<usize>,
    source: Source,
    cols: usize,
    factor: f32,
) {
    if source.col_stride == 1 {
        return isa.run(Pack { panels, total, at, source, cols, factor });
    }
    for first in (0..cols).step_by(sizes.cols()) {
        let count = sizes.cols().min(cols - first);
        let width = count.next_multiple_of(sizes.lanes);
        let panel = &mut panels[first * total..][at.start * width..at.end * width];
        let (from, rows) = (source.columns(first).data, at.len());
        isa.run(Transpose { from, from_step: source.col_stride, to: panel, to_step: width, rows, cols: count });
        if width > count {
            panel.chunks_exact_mut(width).for_each(|row| row[count..].fill(0.0));
        }
        if factor != 1.0 {
            panel.iter_mut().for_each(|x| *x *= factor);
        }
    }
}

/// Rows that are asked for before they are copied.
const AHEAD: usize = 8;

/// Copies rows into panels, row by row: a row of a large matrix is a page of memory of its own.
struct Pack<'a> {
    panels: &'a mut [f32],
    total: usize,
    at: Range<usize>,
    source: Source<'a>,
    cols: usize,
    factor: f32,
}

impl Work for Pack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Pack { panels, total, at, source, cols, factor } = self;
        let wide = 2 * L::LEN;
        assert!(at.end <= total && panels.len() >= total * cols.next_multiple_of(L::LEN));
        for (i, k) in at.enumerate() {
            let row = &source.data[i * source.row_stride..][..cols];
            for first in (0..cols).step_by(wide) {
                let count = wide.min(cols - first);
                // SAFETY: of `row`, `count` values from `first` on are read, and none that a mask hides; the row `k`
                // of the panel is as wide as the vectors that are written, as asserted; the caller has the
                // instruction set.
                unsafe {
                    let scale = L::splat(factor);
                    let from = row.as_ptr().add(first);
                    let to = panels.as_mut_ptr().add(first * total + k * count.next_multiple_of(L::LEN));
                    if count == wide {
                        // Rows that lie far apart are not foreseen by the processor.
                        let next = from.wrapping_add(AHEAD * source.row_stride);
                        L::prefetch(next);
                        L::prefetch(next.wrapping_add(L::LEN));
                        L::load(from).mul_add(scale, L::splat(0.0)).store(to);
                        L::load(from.add(L::LEN)).mul_add(scale, L::splat(0.0)).store(to.add(L::LEN));
                        continue;
                    }
                    for at in (0..count).step_by(L::LEN) {
                        L::load_part(from.add(at), L::first(count - at))
                            .mul_add(scale, L::splat(0.0))
                            .store(to.add(at));
                    }
                }
            }
        }
    }
}

/// Copies the transpose of a matrix with contiguous rows, `from_step` apart: `to` has `rows` rows
/// of `cols` values, `to_step` apart.
pub(super) struct Transpose<'a> {
    pub from: &'a [f32],
    pub from_step: usize,
    pub to: &'a mut [f32],
    pub to_step: usize,
    pub rows: usize,
    pub cols: usize,
}

impl Work for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Transpose { from, from_step, to, to_step, rows, cols } = self;
        assert!(rows == 0 || cols == 0 || (cols - 1) * from_step + rows <= from.len(), "the matrix is too short");
        assert!(rows == 0 || cols == 0 || (rows - 1) * to_step + cols <= to.len(), "the place is too short");
        for i in (0..rows).step_by(L::LEN) {
            for j in (0..cols).step_by(L::LEN) {
                let size = [(cols - j).min(L::LEN), (rows - i).min(L::LEN)];
                // SAFETY: the block is in both matrices, as asserted; the caller has the instruction set.
                unsafe {
                    let (from, to) = (from.as_ptr().add(j * from_step + i), to.as_mut_ptr().add(i * to_step + j));
                    L::transpose(from, from_step, size, to, to_step);
                }
            }
        }
    }
}

/// `c = start + left * right`, for `rows` rows of `c`, `c_step` apart; the left operand is one segment.
///
/// # Panics
/// When something does not fit in its slice.
#[allow(clippy::too_many_arguments, reason = "a product has many")]
pub(super) fn product(
    isa: Isa,
    a: &[f32],
    reading: Reading,
    rows: usize,
    depth: usize,
    right: &Panels,
    start: Start,
    end: End,
    c: &mut [f32],
    c_step: usize,
) {
    // SAFETY: the slice is borrowed alone.
    unsafe { product_at(isa, a, reading, rows, depth, right, start, end, (c.as_mut_ptr(), c.len()), c_step) }
}

/// [`product`] where others work on other columns of `c`.
///
/// # Safety
/// `c` is a pointer and the number of values from there on that are valid. Nobody else uses `rows` rows of them, as
/// wide as `right`.
///
/// # Panics
/// As [`product`].
#[allow(clippy::too_many_arguments, reason = "a product has many")]
pub(super) unsafe fn product_at(
    isa: Isa,
    a: &[f32],
    reading: Reading,
    rows: usize,
    depth: usize,
    right: &Panels,
    start: Start,
    end: End,
    (c, c_len): (*mut f32, usize),
    c_step: usize,
) {
    let sizes = Sizes::of(isa);
    let (row_step, k_step) = match reading {
        Reading::Rows(step) => (step, 1),
        Reading::Columns(step) => (1, step),
    };
    let by_columns = matches!(reading, Reading::Columns(_));
    let copies = right.cols >= if by_columns { COPY_COLS } else { 2 * COPY_COLS } && depth > 0;
    let most = if copies { sizes.wide } else { sizes.rows(right.cols) };
    // Columns are read with their neighbours, which share lines of the cache with them.
    let height = if by_columns { COPY_TILES * most } else { most };
    let mut copy = copies.then(|| Scratch::take(height.min(rows) * depth.min(DEPTH)));
    // 1. Without depth there is still one round, which stores the start.
    for ks in split(depth, DEPTH).chain((depth == 0).then_some(0..0)) {
        let start = if ks.start > 0 { Start::Sum } else { start };
        let end = if ks.end < depth { End::Plain } else { end };
        // 2. Columns whose part of the right operand stays in the second-level cache.
        for cols in split(right.cols.div_ceil(sizes.cols()), WIDTH / sizes.cols()) {
            // 3. Rows whose part of the left operand is copied.
            for block in split(rows, height) {
                let from = a.get(block.start * row_step + ks.start * k_step..).unwrap_or_default();
                let copied = copy.as_mut().map(|to| {
                    isa.run(CopyLeft { from, reading, rows: block.len(), depth: ks.len(), most, to });
                    &to[..]
                });
                // 4. Those of a tile: what it reads of them stays in the first-level cache.
                for at in split(block.len(), most) {
                    let (a, reading, a_start) = match copied {
                        Some(a) => (a, Reading::Columns(at.len()), at.start * ks.len()),
                        None => (from, reading, at.start * row_step),
                    };
                    let left = Left { a, reading, segments: &[0], run: ks.len() };
                    // 5. A panel, which comes from the second-level cache.
                    for (col, right) in right.some_of(ks.clone(), cols.clone()) {
                        let start = start.from(col);
                        let first = (block.start + at.start) * c_step + col;
                        assert!(first <= c_len, "a tile begins outside of c");
                        // SAFETY: what is left of `c` from the tile on; it is one of the rows and columns that the
                        // caller promised.
                        unsafe {
                            let c = (c.add(first), c_len - first);
                            tile_at(isa, at.len(), &left, a_start, &right, start, end.from(first), c, c_step);
                        }
                    }
                }
            }
        }
    }
}

/// A left operand that is read by columns is copied when a right one of so many columns reads it often enough, one that
/// is read by rows when there are twice as many; ...
const COPY_COLS: usize = 128;
/// ... and that by columns for so many tiles at once.
const COPY_TILES: usize = 8;

/// Copies a block of a left operand as tiles of `most` rows read it: those of a tile one after another, in each the
/// values of one `k` side by side.
struct CopyLeft<'a> {
    from: &'a [f32],
    reading: Reading,
    rows: usize,
    depth: usize,
    most: usize,
    to: &'a mut [f32],
}

impl Work for CopyLeft<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let CopyLeft { from, reading, rows, depth, most, to } = self;
        let last = match reading {
            Reading::Rows(step) => (rows - 1) * step + depth,
            Reading::Columns(step) => (depth - 1) * step + rows,
        };
        assert!(most <= L::LEN && to.len() >= rows * depth && from.len() >= last);
        let (from, to) = (from.as_ptr(), to.as_mut_ptr());
        let tiles: SmallVec<[Range<usize>; COPY_TILES]> = split(rows, most).collect();
        // SAFETY: both ends of a copy lie in their slices, as asserted, and a tile's rows fit a vector; the caller has
        // the instruction set.
        unsafe {
            match reading {
                Reading::Rows(step) => {
                    for at in &tiles {
                        let (from, to) = (from.add(at.start * step), to.add(at.start * depth));
                        for k in (0..depth).step_by(L::LEN) {
                            let size = [at.len(), (depth - k).min(L::LEN)];
                            L::transpose(from.add(k), step, size, to.add(k * at.len()), at.len());
                        }
                    }
                }
                Reading::Columns(step) => {
                    for k in 0..depth {
                        for at in &tiles {
                            let part = L::first(at.len());
                            let to = to.add(at.start * depth + k * at.len());
                            L::load_part(from.add(k * step + at.start), part).store_part(to, part);
                        }
                    }
                }
            }
        }
    }
}
