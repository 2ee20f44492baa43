//! 3 x 3 kernels with a quarter of the multiplications: Winograd's F(4 x 4, 3 x 3).
//!
//! An output of 4 x 4 cells is computed from 6 x 6 cells of the input: both sides and the kernel are turned (by sums with
//! small factors) into 36 numbers for each channel, and between those there are 36 matrix products over the channels,
//! instead of 9 for each of 16 cells (Lavin & Gray, *Fast algorithms for convolutional neural networks*, 2016). The
//! turned kernel is made once for each version of the weights and kept. Since the factors are not 1, results differ from
//! those of other ways by some more rounding errors: see the tests for how much.
//!
//! There is much more to move than to multiply, so what is between lies tile by tile, in the order in which it is made
//! and used up, and what the next tile reads and writes is asked for while one is turned.

use super::{Conv2d, Epilogue};
use crate::kernels::packed::{Layout, Packed};
use crate::kernels::product::product_at;
use crate::kernels::scratch::{Aligned, LINE, Scratch};
use crate::kernels::simd::{Isa, Lanes, Work};
use crate::kernels::tile::{End, Reading, Sizes, Start, split};
use crate::runtime::{Workspace, threads, winograd_allowed};
use std::ops::Range;

/// Cells of a side of an output tile, ...
const TILE: usize = 4;
/// ... of the input that it sees, ...
const SEEN: usize = TILE + 2;
/// ... and the numbers that these are turned into.
pub(in crate::kernels) const POINTS: usize = SEEN * SEEN;

/// With fewer channels there is too little to multiply, ...
const LEAST_CHANNELS: usize = 32;
/// ... with fewer output cells there are too few tiles for all threads, ...
const LEAST_CELLS: usize = 384;
/// ... and if the turned kernel, which has four times as many values, has more than this for each output cell, reading it
/// takes longer than it saves.
const VALUES_PER_CELL: usize = 1 << 15;
/// With fewer cells, turning a kernel takes as long as it saves if the kernel is used once.
const LEAST_CELLS_AT_ONCE: usize = 1024;
/// A turned kernel of so many values is read again for every few tiles, which a thread works on from first to last: what
/// is between, up to so many values, stays in its core's second-level cache, ...
const SMALL_KERNEL: usize = if cfg!(test) { POINTS * 48 * 48 } else { 5 << 19 };
const SMALL_BAND: usize = 1 << 17;
/// ... and there are so many of these bands at least. A larger kernel is read once for ...
const BANDS: usize = 4;
/// ... so many tiles that what is between has this many values, on which all threads work.
const LARGE_BAND: usize = if cfg!(test) { 1 << 16 } else { 1 << 22 };
/// Tiles that a thread turns at once.
const PIECE: usize = 16;

/// How the kernel is turned: the factors of its rows (or columns) in each of 6 numbers.
const KERNEL: [[f64; 3]; SEEN] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// The factor of each tap in a point.
pub(in crate::kernels) fn factors(point: usize) -> [f32; 9] {
    let (row, col) = (KERNEL[point / SEEN], KERNEL[point % SEEN]);
    std::array::from_fn(|tap| (row[tap / 3] * col[tap % 3]) as f32)
}

/// A pointer that pieces share, and the number of values from there on.
struct Out(*mut f32, usize);

// SAFETY: whoever uses the pointer says why no two threads use the same values.
unsafe impl Sync for Out {}

impl Conv2d {
    /// Whether Winograd's way is possible, and pays with a turned kernel that is kept.
    pub(super) fn is_winograd(&self) -> bool {
        let sizes = [self.kernel_h, self.kernel_w, self.stride_h, self.stride_w, self.dilation_h, self.dilation_w];
        sizes == [3, 3, 1, 1, 1, 1]
            && self.groups == 1
            && self.in_c.min(self.out_c) >= LEAST_CHANNELS
            && self.positions() >= LEAST_CELLS
            && self.turned_kernel_len() <= VALUES_PER_CELL * self.positions()
    }

    /// Whether it is allowed, and pays although the kernel must be turned first.
    pub(super) fn is_winograd_at_once(&self) -> bool {
        winograd_allowed() && self.is_winograd() && self.positions() >= LEAST_CELLS_AT_ONCE
    }

    /// The turned kernel, of the forward pass or (rotated) of the gradient by the input.
    pub(super) fn turned_kernel(&self, rotated: bool) -> Layout {
        Layout::Winograd { in_c: self.in_c, out_c: self.out_c, rotated }
    }

    /// Rows and columns of tiles.
    fn tiles(&self) -> [usize; 2] {
        [self.out_h.div_ceil(TILE), self.out_w.div_ceil(TILE)]
    }

    /// The forward pass with a turned kernel.
    pub(super) fn winograd(
        &self,
        isa: Isa,
        x: &[f32],
        kernel: &Packed,
        epilogue: Epilogue,
        y: &mut [f32],
        workspace: &Workspace,
    ) {
        let [rows, cols] = self.tiles();
        let all = self.batch * rows * cols;
        let len = self.turned_len() + self.sums_len();
        let y = &Out(y.as_mut_ptr(), y.len());
        if self.turned_kernel_len() <= SMALL_KERNEL {
            // As many as give whole tiles of the products.
            let rows = Sizes::of(isa).rows(self.out_c);
            let most = (SMALL_BAND / len / rows).max(1) * rows;
            let mut bands: Vec<_> = split(all, most.min(all.div_ceil(BANDS))).collect();
            return threads::for_each(&mut bands, |_, tiles| {
                let mut memory = Scratch::take(tiles.len() * len);
                self.winograd_band(isa, x, kernel, epilogue, y, tiles.clone(), &mut memory);
            });
        }
        let band = (LARGE_BAND / len).clamp(1, all.max(1));
        let mut memory = Aligned::take(band * len, workspace);
        for tiles in split(all, band) {
            self.winograd_band(isa, x, kernel, epilogue, y, tiles, &mut memory);
        }
        memory.give(workspace);
    }

    /// Values of the kernel when it is turned.
    fn turned_kernel_len(&self) -> usize {
        POINTS * self.in_c * self.out_c
    }

    /// Values that a tile of the input is turned into: its points follow each other. A line of the cache more, so that
    /// the tiles of a point do not all fall into the same set of it.
    fn turned_len(&self) -> usize {
        POINTS * self.in_c + LINE
    }

    /// The same of the products.
    fn sums_len(&self) -> usize {
        POINTS * self.out_c + LINE
    }

    /// Some tiles from first to last, with memory for all that is between.
    #[allow(clippy::too_many_arguments)]
    fn winograd_band(
        &self,
        isa: Isa,
        x: &[f32],
        kernel: &Packed,
        epilogue: Epilogue,
        y: &Out,
        tiles: Range<usize>,
        memory: &mut [f32],
    ) {
        let (turned_len, sums_len) = (self.turned_len(), self.sums_len());
        let (turned, sums) = memory.split_at_mut(tiles.len() * turned_len);
        let sums = &mut sums[..tiles.len() * sums_len];
        let pieces = || tiles.clone().step_by(PIECE).map(|at| at..(at + PIECE).min(tiles.end));
        let mut parts: Vec<_> = pieces().zip(turned.chunks_mut(PIECE * turned_len)).collect();
        threads::for_each(&mut parts, |_, (tiles, to)| isa.run(Turn { g: self, x, tiles: tiles.clone(), to }));
        let to = &Out(sums.as_mut_ptr(), sums.len());
        threads::for_each(&mut [(); POINTS], |point, ()| {
            let (left, right) = (&turned[point * self.in_c..], kernel.group(point));
            let (reading, first) = (Reading::Rows(turned_len), point * self.out_c);
            let &Out(to, len) = to;
            assert!(first <= len, "sums of a point outside");
            // SAFETY: `sums` is borrowed for as long as this runs, and each point has columns of its own.
            unsafe {
                let to = (to.add(first), len - first);
                product_at(isa, left, reading, tiles.len(), self.in_c, &right, Start::Zero, End::Plain, to, sums_len);
            }
        });
        let mut parts: Vec<_> = pieces().zip(sums.chunks(PIECE * sums_len)).collect();
        threads::for_each(&mut parts, |_, (tiles, sums)| {
            let &Out(y, len) = y;
            assert_eq!(len, epilogue.stored(self.output_len()), "length of the output");
            isa.run(TurnBack { g: self, sums, tiles: tiles.clone(), epilogue, y });
        });
    }
}

/// Turns what some tiles see.
struct Turn<'a> {
    g: &'a Conv2d,
    x: &'a [f32],
    tiles: Range<usize>,
    to: &'a mut [f32],
}

impl Work for Turn<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Turn { g, x, tiles, to } = self;
        let ([rows, cols], c) = (g.tiles(), g.in_c);
        assert_eq!(x.len(), g.input_len(), "values of the input");
        assert!(to.len() >= tiles.len() * g.turned_len(), "tiles are turned outside");
        let mut border = Scratch::take(POINTS * c);
        for (i, tile) in tiles.enumerate() {
            let (image, row, col) = (tile / (rows * cols), tile / cols % rows * TILE, tile % cols * TILE);
            let inside = row >= g.pad_top
                && col >= g.pad_left
                && row + SEEN <= g.pad_top + g.in_h
                && col + SEEN <= g.pad_left + g.in_w;
            let (from, step) = if inside {
                let first = ((image * g.in_h + row - g.pad_top) * g.in_w + col - g.pad_left) * c;
                (&x[first..], g.in_w * c)
            } else {
                border.fill(0.0);
                for (dy, to) in border.chunks_exact_mut(SEEN * c).enumerate() {
                    let Some(y) = (row + dy).checked_sub(g.pad_top).filter(|y| *y < g.in_h) else { continue };
                    let left = g.pad_left.saturating_sub(col).min(SEEN);
                    let end = (g.pad_left + g.in_w).saturating_sub(col).min(SEEN);
                    if left < end {
                        let first = ((image * g.in_h + y) * g.in_w + col + left - g.pad_left) * c;
                        to[left * c..end * c].copy_from_slice(&x[first..][..(end - left) * c]);
                    }
                }
                (&border[..], SEEN * c)
            };
            assert!(from.len() >= (SEEN - 1) * step + SEEN * c);
            for channel in (0..c).step_by(L::LEN) {
                // SAFETY: the six rows of six cells are in `from`, as asserted; the caller of this gave all points of
                // the tile; masked channels are neither read nor written; the caller has the instruction set.
                unsafe {
                    let from = from.as_ptr().add(channel);
                    let to = to.as_mut_ptr().add(i * g.turned_len() + channel);
                    if c - channel >= L::LEN {
                        turn_cells::<L, true>(from, step, c, to, L::LEN);
                    } else {
                        turn_cells::<L, false>(from, step, c, to, c - channel);
                    }
                }
            }
        }
    }
}

/// Turns some channels of 6 x 6 cells: a whole vector, or some.
///
/// # Safety
/// They are valid in `from`, whose lines are `step` and whose cells are `c` values apart, and in all points of `to`,
/// also `c` values apart. The processor must have the instruction set.
#[inline(always)]
unsafe fn turn_cells<L: Lanes, const WHOLE: bool>(from: *const f32, step: usize, c: usize, to: *mut f32, some: usize) {
    // SAFETY: as promised.
    unsafe {
        let mask = L::first(some);
        let load = |at: *const f32| if WHOLE { L::load(at) } else { L::load_part(at, mask) };
        let mut lines = [[L::splat(0.0); SEEN]; SEEN];
        for dy in 0..SEEN {
            for dx in SEEN..SEEN + TILE {
                // What the next tile sees.
                L::prefetch(from.wrapping_add(dy * step + dx * c));
            }
        }
        for (dy, line) in lines.iter_mut().enumerate() {
            *line = turn::<L>(std::array::from_fn(|dx| load(from.add(dy * step + dx * c))));
        }
        for dx in 0..SEEN {
            let turned = turn::<L>(lines.map(|line| line[dx]));
            for (dy, value) in turned.into_iter().enumerate() {
                let to = to.add((dy * SEEN + dx) * c);
                if WHOLE { value.store(to) } else { value.store_part(to, mask) }
            }
        }
    }
}

/// How a row or a column of the input is turned.
///
/// # Safety
/// The processor must have the instruction set.
#[inline(always)]
unsafe fn turn<L: Lanes>(d: [L; SEEN]) -> [L; SEEN] {
    // SAFETY: as promised.
    unsafe {
        let (two, four) = (L::splat(2.0), L::splat(4.0));
        let (less_one, less_two, less_four, less_five) =
            (L::splat(-1.0), L::splat(-2.0), L::splat(-4.0), L::splat(-5.0));
        let (even, odd) = (d[2].mul_add(less_four, d[4]), d[1].mul_add(less_four, d[3]));
        let (near, far) = (d[2].mul_add(less_one, d[4]), d[1].mul_add(less_one, d[3]));
        [
            d[0].mul_add(four, d[2].mul_add(less_five, d[4])),
            even.add(odd),
            odd.mul_add(less_one, even),
            far.mul_add(two, near),
            far.mul_add(less_two, near),
            d[1].mul_add(four, d[3].mul_add(less_five, d[5])),
        ]
    }
}

/// Makes the results of some tiles from the sums of their products.
struct TurnBack<'a> {
    g: &'a Conv2d,
    sums: &'a [f32],
    tiles: Range<usize>,
    /// Windows that are pooled are 2 x 2: no tile cuts one.
    epilogue: Epilogue<'a>,
    /// Valid for all that is stored; nobody else uses what these tiles store.
    y: *mut f32,
}

impl Work for TurnBack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let TurnBack { g, sums, tiles, epilogue, y } = self;
        let ([rows, cols], c) = (g.tiles(), g.out_c);
        assert!(tiles.len() * g.sums_len() <= sums.len(), "a tile reads outside of its sums");
        epilogue.check(c, g.output_len());
        for (i, tile) in tiles.enumerate() {
            let (image, row, col) = (tile / (rows * cols), tile / cols % rows * TILE, tile % cols * TILE);
            let (height, width) = ((g.out_h - row).min(TILE), (g.out_w - col).min(TILE));
            for channel in (0..c).step_by(L::LEN) {
                // SAFETY: the sums of all points are there, as asserted; the cells are in the image, and the caller
                // gave all of them; those that are pooled are whole windows of these results, since tiles begin at even
                // rows and columns; masked channels are neither read nor written; the caller has the instruction set.
                unsafe {
                    let mask = L::first(c - channel);
                    let from = sums.as_ptr().add(i * g.sums_len() + channel);
                    let mut lines = [[L::splat(0.0); TILE]; SEEN];
                    for (dy, line) in lines.iter_mut().enumerate() {
                        let load = |dx: usize| L::load_part(from.add((dy * SEEN + dx) * c), mask);
                        *line = turn_back::<L>(std::array::from_fn(load));
                    }
                    let of_channel = |values: Option<&[f32]>, missing: f32| match values {
                        Some(values) => L::load_part(values.as_ptr().add(channel), mask),
                        None => L::splat(missing),
                    };
                    let (scale, bias) = (of_channel(epilogue.scale, 1.0), of_channel(epilogue.bias, 0.0));
                    let mut left = [L::splat(0.0); TILE];
                    if epilogue.pool.is_none() {
                        for dy in 0..TILE {
                            for dx in TILE..2 * TILE {
                                // Where the next tile is stored, and its gate.
                                let cell = (image * g.out_h + row + dy) * g.out_w + col + dx;
                                L::prefetch(y.wrapping_add(cell * c + channel));
                                if let Some(gate) = epilogue.gate {
                                    L::prefetch(gate.as_ptr().wrapping_add(cell * c + channel));
                                }
                            }
                        }
                    }
                    for dx in 0..width {
                        let mut results = turn_back::<L>(lines.map(|line| line[dx]));
                        if let Some(pool) = &epilogue.pool {
                            for result in &mut results {
                                *result = epilogue.rectified(result.mul_add(scale, bias));
                            }
                            if dx % 2 == 1 {
                                for dy in 0..height / 2 {
                                    let cell = (image * pool.out_h + row / 2 + dy) * pool.out_w + (col + dx) / 2;
                                    let upper = left[2 * dy].larger(results[2 * dy]);
                                    let lower = left[2 * dy + 1].larger(results[2 * dy + 1]);
                                    upper.larger(lower).store_part(y.add(cell * c + channel), mask);
                                }
                            }
                            left = results;
                            continue;
                        }
                        for (dy, result) in results.into_iter().enumerate().take(height) {
                            let cell = (image * g.out_h + row + dy) * g.out_w + col + dx;
                            let to = y.add(cell * c + channel);
                            let mut result = result.mul_add(scale, bias);
                            if epilogue.sum {
                                result = result.add(L::load_part(to, mask));
                            }
                            let mut result = epilogue.rectified(result);
                            if let Some(gate) = epilogue.gate {
                                let gate = gate.as_ptr().add(cell * c + channel);
                                result = result.where_above_zero(L::load_part(gate, mask));
                            }
                            result.store_part(to, mask);
                        }
                    }
                }
            }
        }
    }
}

/// How four results of a row or a column are made of six sums.
///
/// # Safety
/// The processor must have the instruction set.
#[inline(always)]
unsafe fn turn_back<L: Lanes>(m: [L; SEEN]) -> [L; TILE] {
    // SAFETY: as promised.
    unsafe {
        let (less_one, two, four, eight) = (L::splat(-1.0), L::splat(2.0), L::splat(4.0), L::splat(8.0));
        let (near, apart) = (m[1].add(m[2]), m[2].mul_add(less_one, m[1]));
        let (far, wide) = (m[3].add(m[4]), m[4].mul_add(less_one, m[3]));
        [
            m[0].add(near).add(far),
            wide.mul_add(two, apart),
            far.mul_add(four, near),
            wide.mul_add(eight, apart).add(m[5]),
        ]
    }
}
