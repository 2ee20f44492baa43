//! 3 x 3 kernels with a quarter of the multiplications: Winograd's F(4 x 4, 3 x 3).
//!
//! An output of 4 x 4 cells is computed from 6 x 6 cells of the input: both sides and the kernel are turned (by sums with
//! small factors) into 36 numbers for each channel, and between those there are 36 matrix products over the channels,
//! instead of 9 for each of 16 cells (Lavin & Gray, *Fast algorithms for convolutional neural networks*, 2016). The
//! turned kernel is made once for each version of the weights and kept for predictions, and for each pass of training. The
//! gradient by the input is such a convolution as well, the one by the kernel is in [`weights`]. Since the factors are not
//! 1, rounding errors are larger than those of other ways: [`set_winograd`](crate::runtime::set_winograd) says how much.
//!
//! There is much more to move than to multiply, so what is between lies tile by tile, in the order in which it is made
//! and used up, and what the next tile reads and writes is asked for while one is turned.

mod turn;
mod weights;

use super::{Conv2d, Epilogue};
use crate::kernels::packed::{Layout, Packed};
use crate::kernels::product::product_at;
use crate::kernels::scratch::{Aligned, LINE, Scratch};
use crate::kernels::simd::Isa;
use crate::kernels::tile::{End, Out, Reading, Sizes, Start, split};
use crate::runtime::{Workspace, threads, winograd_allowed};
use std::ops::Range;
use turn::{Turn, TurnBack};

/// Cells of a side of an output tile, ...
const TILE: usize = 4;
/// ... of the input that it sees, ...
const SEEN: usize = TILE + 2;
/// ... and the numbers that these are turned into.
pub(in crate::kernels) const POINTS: usize = SEEN * SEEN;

/// With fewer channels, or fewer multiplications and additions, there is too little that is saved, ...
const LEAST_CHANNELS: usize = 16;
const LEAST_FLOPS: f64 = (1 << 23) as f64;
/// ... with fewer output cells there are too few tiles for all threads, ...
const LEAST_CELLS: usize = 384;
/// ... and if the turned kernel, which has four times as many values, has more than this for each output cell, reading it
/// takes longer than it saves.
const VALUES_PER_CELL: usize = 1 << 15;
/// With fewer of both, turning a kernel takes as long as it saves if the kernel is used once.
const LEAST_FLOPS_AT_ONCE: f64 = (1 << 25) as f64;
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

impl Conv2d {
    /// Whether Winograd's way is possible, and pays with a turned kernel that is kept.
    pub(super) fn is_winograd(&self) -> bool {
        let sizes = [self.kernel_h, self.kernel_w, self.stride_h, self.stride_w, self.dilation_h, self.dilation_w];
        sizes == [3, 3, 1, 1, 1, 1]
            && self.groups == 1
            && self.in_c.min(self.out_c) >= LEAST_CHANNELS
            && self.positions() >= LEAST_CELLS
            && self.flops() >= LEAST_FLOPS
            && self.turned_kernel_len() <= VALUES_PER_CELL * self.positions()
    }

    /// Whether it is allowed, and pays although the kernel must be turned first.
    pub(super) fn is_winograd_at_once(&self) -> bool {
        winograd_allowed()
            && self.is_winograd()
            && self.positions() >= LEAST_CELLS_AT_ONCE
            && self.flops() >= LEAST_FLOPS_AT_ONCE
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
        threads::for_each(&mut parts, |_, (tiles, to)| isa.run(Turn::input(self, x, tiles.clone(), to)));
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
