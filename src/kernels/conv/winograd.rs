//! 3 x 3 kernels with a quarter of the multiplications: Winograd's F(4 x 4, 3 x 3).
//!
//! An output of 4 x 4 cells is computed from 6 x 6 cells of the input: both sides and the kernel are turned (by sums with
//! small factors) into 36 numbers for each channel, and between those there are 36 matrix products over the channels,
//! instead of 9 for each of 16 cells (Lavin & Gray, *Fast algorithms for convolutional neural networks*, 2016). The
//! turned kernel is made once for each version of the weights and kept. Since the factors are not 1, results differ from
//! those of other ways by some more rounding errors: see the tests for how much.

use super::{Conv2d, Epilogue};
use crate::kernels::packed::Packed;
use crate::kernels::product::product;
use crate::kernels::scratch::{LINE, Scratch};
use crate::kernels::simd::{Isa, Lanes, Work};
use crate::kernels::tile::{End, Reading, Start};
use crate::runtime::{Workspace, threads};
use std::ops::Range;

/// Cells of a side of an output tile, ...
const TILE: usize = 4;
/// ... of the input that it sees, ...
const SEEN: usize = TILE + 2;
/// ... and the numbers that these are turned into.
pub(in crate::kernels) const POINTS: usize = SEEN * SEEN;

/// With fewer channels there is too little to multiply, ...
const LEAST_CHANNELS: usize = 32;
/// ... and with fewer output cells reading the turned kernel, which has four times as many values, takes longer than it
/// saves.
const LEAST_CELLS: usize = 400;
/// What is between the products of so many tiles has at most this many values.
const BAND_LEN: usize = 1 << 21;
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
    /// Whether Winograd's way is possible and pays.
    pub(super) fn is_winograd(&self) -> bool {
        let sizes = [self.kernel_h, self.kernel_w, self.stride_h, self.stride_w, self.dilation_h, self.dilation_w];
        sizes == [3, 3, 1, 1, 1, 1]
            && self.groups == 1
            && self.in_c.min(self.out_c) >= LEAST_CHANNELS
            && self.positions() >= LEAST_CELLS
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
        let band = (BAND_LEN / (POINTS * (self.in_c + self.out_c))).clamp(PIECE, all.max(PIECE));
        // A line of the cache more, so that the points of a tile do not all fall into the same set of it.
        let [turned_step, sums_step] = [self.in_c, self.out_c].map(|channels| band * channels + LINE);
        let mut turned = workspace.take(POINTS * turned_step);
        let mut sums = workspace.take(POINTS * sums_step);
        for first in (0..all).step_by(band) {
            let tiles = first..(first + band).min(all);
            let count = tiles.len();
            let mut pieces: Vec<Range<usize>> =
                (tiles.clone()).step_by(PIECE).map(|at| at..(at + PIECE).min(tiles.end)).collect();
            let to = &Out(turned.as_mut_ptr(), turned.len());
            threads::for_each(&mut pieces, |_, piece| {
                let at = piece.start - first;
                let &Out(to, len) = to;
                assert!(at + piece.len() <= band && len == POINTS * turned_step, "a piece is turned outside");
                isa.run(Turn { g: self, x, tiles: piece.clone(), to, at, step: turned_step });
            });
            let mut points: Vec<&mut [f32]> = sums.chunks_exact_mut(sums_step).collect();
            threads::for_each(&mut points, |point, sums| {
                let left = &turned[point * turned_step..][..count * self.in_c];
                let reading = Reading::Rows(self.in_c);
                let right = kernel.group(point);
                let sums = &mut sums[..count * self.out_c];
                product(isa, left, reading, count, self.in_c, &right, Start::Zero, End::Plain, sums, self.out_c);
            });
            let to = &Out(y.as_mut_ptr(), y.len());
            threads::for_each(&mut pieces, |_, piece| {
                let at = piece.start - first;
                let &Out(y, len) = to;
                let stored = epilogue.stored(self.output_len());
                assert!(len == stored && at + piece.len() <= count, "a piece is turned back outside");
                isa.run(TurnBack { g: self, sums: &sums, tiles: piece.clone(), at, step: sums_step, epilogue, y });
            });
        }
        workspace.give(turned);
        workspace.give(sums);
    }
}

/// Turns what some tiles see: the numbers of a point and a tile lie side by side, the tiles of a point follow each
/// other.
struct Turn<'a> {
    g: &'a Conv2d,
    x: &'a [f32],
    tiles: Range<usize>,
    /// Valid for all points, `step` values each; nobody else uses the places of these tiles, which begin `at`.
    to: *mut f32,
    at: usize,
    step: usize,
}

impl Work for Turn<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Turn { g, x, tiles, to, at, step: point_step } = self;
        let ([rows, cols], c) = (g.tiles(), g.in_c);
        assert_eq!(x.len(), g.input_len(), "values of the input");
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
                    let mask = L::first(c - channel);
                    let from = from.as_ptr().add(channel);
                    let mut lines = [[L::splat(0.0); SEEN]; SEEN];
                    for (dy, line) in lines.iter_mut().enumerate() {
                        *line = turn::<L>(std::array::from_fn(|dx| L::load_part(from.add(dy * step + dx * c), mask)));
                    }
                    for dx in 0..SEEN {
                        let turned = turn::<L>(lines.map(|line| line[dx]));
                        for (dy, value) in turned.into_iter().enumerate() {
                            let point = dy * SEEN + dx;
                            value.store_part(to.add(point * point_step + (at + i) * c + channel), mask);
                        }
                    }
                }
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
    /// `step` values of each point; those of these tiles begin `at`.
    sums: &'a [f32],
    tiles: Range<usize>,
    at: usize,
    step: usize,
    /// Windows that are pooled are 2 x 2: no tile cuts one.
    epilogue: Epilogue<'a>,
    /// Valid for all that is stored; nobody else uses what these tiles store.
    y: *mut f32,
}

impl Work for TurnBack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let TurnBack { g, sums, tiles, at, step, epilogue, y } = self;
        let ([rows, cols], c) = (g.tiles(), g.out_c);
        assert!((at + tiles.len()) * c <= step && POINTS * step <= sums.len(), "a tile reads outside of its sums");
        assert!(
            epilogue.bias.is_none_or(|bias| bias.len() == c) && epilogue.scale.is_none_or(|scale| scale.len() == c)
        );
        for (i, tile) in tiles.enumerate() {
            let (image, row, col) = (tile / (rows * cols), tile / cols % rows * TILE, tile % cols * TILE);
            let (height, width) = ((g.out_h - row).min(TILE), (g.out_w - col).min(TILE));
            for channel in (0..c).step_by(L::LEN) {
                // SAFETY: the sums of all points are there, as asserted; the cells are in the image, and the caller
                // gave all of them; those that are pooled are whole windows of these results, since tiles begin at even
                // rows and columns; masked channels are neither read nor written; the caller has the instruction set.
                unsafe {
                    let mask = L::first(c - channel);
                    let from = sums.as_ptr().add((at + i) * c + channel);
                    let mut lines = [[L::splat(0.0); TILE]; SEEN];
                    for (dy, line) in lines.iter_mut().enumerate() {
                        let load = |dx: usize| L::load_part(from.add((dy * SEEN + dx) * step), mask);
                        *line = turn_back::<L>(std::array::from_fn(load));
                    }
                    let of_channel = |values: Option<&[f32]>, missing: f32| match values {
                        Some(values) => L::load_part(values.as_ptr().add(channel), mask),
                        None => L::splat(missing),
                    };
                    let (scale, bias) = (of_channel(epilogue.scale, 1.0), of_channel(epilogue.bias, 0.0));
                    let mut left = [L::splat(0.0); TILE];
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
                            epilogue.rectified(result).store_part(to, mask);
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
