//! The gradient by the kernel in Winograd's way.
//!
//! A result is a sum over the points of a turned kernel times a turned input. So the gradient by the turned kernel is, in
//! each point, a matrix product of the turned input and the gradient by the output, turned by the transpose of what makes
//! results of sums; and the gradient by the kernel is that one, turned by the transpose of what turns a kernel.

use super::turn::Turn;
use super::{Conv2d, POINTS, TILE, factors};
use crate::kernels::conv::{MAX_PARTIAL, pieces, sum_of_parts};
use crate::kernels::product::{Panels, product};
use crate::kernels::scratch::Scratch;
use crate::kernels::simd::Isa;
use crate::kernels::tile::{End, Reading, Start, split};
use crate::kernels::{reduce, vectorised};
use crate::runtime::{Workspace, threads};
use std::ops::Range;

/// The largest turned kernel: the sums of a piece stay in a core's caches.
const LARGEST_KERNEL: usize = POINTS * 128 * 128;
/// What is between, of some rows of tiles, has so many values at least, ...
const BAND: usize = 1 << 17;
/// ... and so many for each sum of a kernel, which is read and stored for each of these bands.
const VALUES_PER_SUM: usize = 8;
/// Pieces of fewer tiles than twice the channels would spend too much time on their sums, but there are so many at least.
const LEAST_PIECES: usize = 4;

impl Conv2d {
    /// Whether that is allowed, possible and pays.
    pub(in crate::kernels::conv) fn is_winograd_by_weights(&self) -> bool {
        let enough = self.batch * self.tiles().iter().product::<usize>() >= self.in_c.max(self.out_c);
        self.is_winograd_at_once() && self.turned_kernel_len() <= LARGEST_KERNEL && enough
    }

    /// Adds the gradients by the kernel and, where its place is not empty, by the bias.
    pub(in crate::kernels::conv) fn winograd_weights(
        &self,
        isa: Isa,
        x: &[f32],
        dy: &[f32],
        dkernel: &mut [f32],
        dbias: &mut [f32],
        workspace: &Workspace,
    ) {
        let [rows, cols] = self.tiles();
        let rows = self.batch * rows;
        let most = (rows * cols / (2 * self.in_c.max(self.out_c))).clamp(LEAST_PIECES, MAX_PARTIAL);
        let piece = rows.div_ceil(pieces(self.flops()).min(most));
        let mut sums = workspace.take(self.turned_kernel_len());
        sums.fill(0.0);
        sum_of_parts([&mut sums, dbias], rows, piece, workspace, |rows, [sums, dbias]| {
            self.sum_of_rows(isa, x, dy, rows, sums, dbias);
        });
        threads::for_each_chunk(dkernel, self.in_c * self.out_c, |tap, dkernel| turn_kernel_back(&sums, tap, dkernel));
        workspace.give(sums);
    }

    /// Adds what some rows of tiles give, of all images one after another, to the sums of all points and the bias.
    fn sum_of_rows(&self, isa: Isa, x: &[f32], dy: &[f32], rows: Range<usize>, sums: &mut [f32], dbias: &mut [f32]) {
        let [in_image, cols] = self.tiles();
        let (turned_len, grads_len) = (self.turned_len(), self.sums_len());
        let values = BAND.max(VALUES_PER_SUM * self.turned_kernel_len());
        let most = (values / (cols * (turned_len + grads_len))).clamp(1, rows.len().max(1));
        let mut memory = Scratch::take(most * cols * (turned_len + grads_len));
        for band in split(rows.len(), most) {
            let band = rows.start + band.start..rows.start + band.end;
            if !dbias.is_empty() {
                // A row of tiles is four lines, or those that are left of an image.
                let first = |row: usize| {
                    let line = row / in_image * self.out_h + (row % in_image * TILE).min(self.out_h);
                    line * self.out_w * self.out_c
                };
                reduce::add_column_sums(&dy[first(band.start)..first(band.end)], dbias);
            }
            let tiles = band.start * cols..band.end * cols;
            let (turned, grads) = memory.split_at_mut(tiles.len() * turned_len);
            isa.run(Turn::input(self, x, tiles.clone(), turned));
            isa.run(Turn::gradient(self, dy, tiles.clone(), grads));
            for (point, sums) in sums.chunks_exact_mut(self.in_c * self.out_c).enumerate() {
                let (left, right) = (&turned[point * self.in_c..], &grads[point * self.out_c..]);
                let right = Panels::in_place(isa, right, tiles.len(), self.out_c, grads_len);
                let reading = Reading::Columns(turned_len);
                product(isa, left, reading, self.in_c, tiles.len(), &right, Start::Sum, End::Plain, sums, self.out_c);
            }
        }
    }
}

/// Adds to the gradient by a tap what the sums of all points give.
fn turn_kernel_back(sums: &[f32], tap: usize, dkernel: &mut [f32]) {
    let len = dkernel.len();
    vectorised(
        #[inline(always)]
        move || {
            for point in 0..POINTS {
                let factor = factors(point)[tap];
                if factor != 0.0 {
                    dkernel.iter_mut().zip(&sums[point * len..]).for_each(|(to, sum)| *to += factor * sum);
                }
            }
        },
    );
}
