//! The gradient by the kernel, tap by tap: some channels of the input, seen by a tap at all positions of a block, times
//! the gradient by the output there.
//!
//! All taps see the same values, each at another offset. So a block of lines is copied once, with its padding, a few
//! channels at a time: as many as a tile has rows. The gradient by the output is copied into panels. What the taps of
//! these channels and of a panel read stays in the first-level cache until all of them are done.
//!
//! Pieces are lines with sums of their own; where the kernel is larger than the output, they are channels and panels of
//! the result, and share the copies.

use super::sums::CopyPanels;
use super::{Conv2d, MAX_PIECES, Shares};
use crate::kernels::reduce;
use crate::kernels::scratch::{Aligned, LINE, Scratch};
use crate::kernels::simd::{Isa, Lanes, Work};
use crate::kernels::tile::{End, Left, Out, Reading, Right, Sizes, Start, split, tile};
use crate::runtime::{Workspace, threads};
use smallvec::SmallVec;
use std::ops::Range;

/// Output positions of a block, about: with more, what is read leaves the first-level cache; with fewer, reading and
/// storing the sums costs too much.
const POSITIONS: usize = 192;
/// With fewer channels, the rows of several taps make better tiles; copying costs too much as well.
const CHANNELS: usize = 32;

/// How the copies of a convolution lie in memory.
pub(super) struct Taps<'a> {
    g: &'a Conv2d,
    isa: Isa,
    /// Channels of the input in a group, in so many parts of `step` channels at most.
    depth: usize,
    parts: usize,
    step: usize,
    /// Columns of a group.
    width: usize,
    /// Positions of a row of the input, with the padding.
    row: usize,
}

impl<'a> Taps<'a> {
    /// The copies of this convolution; none where they are not worth it.
    pub(super) fn of(g: &'a Conv2d, isa: Isa) -> Option<Self> {
        let several = g.kernel_h * g.kernel_w > 1 && g.positions() >= 2 * POSITIONS && g.out_w <= 2 * POSITIONS;
        (several && g.in_c / g.groups >= CHANNELS).then(|| Self::new(g, isa))
    }

    /// The same for any convolution with outputs.
    pub(super) fn new(g: &'a Conv2d, isa: Isa) -> Self {
        let depth = g.in_c / g.groups;
        let parts = depth.div_ceil(Sizes::of(isa).wide);
        let row = (g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1;
        Taps { g, isa, depth, parts, step: depth.div_ceil(parts), width: g.out_c / g.groups, row }
    }

    /// Adds the gradients by the kernel and, where its place is not empty, by the bias: that only in shares of lines.
    pub(super) fn sum(
        &self,
        shares: Shares,
        x: &[f32],
        dy: &[f32],
        dkernel: &mut [f32],
        dbias: &mut [f32],
        workspace: &Workspace,
    ) {
        match shares {
            Shares::Lines(piece) => self.sum_lines(x, dy, piece, dkernel, dbias, workspace),
            Shares::Rows(_) => self.sum_channels(x, dy, dkernel, workspace),
        }
    }

    /// In pieces of lines.
    fn sum_lines(
        &self,
        x: &[f32],
        dy: &[f32],
        piece: usize,
        dkernel: &mut [f32],
        dbias: &mut [f32],
        workspace: &Workspace,
    ) {
        let (groups, parts, panels) = (self.g.groups, 0..self.parts, 0..self.panels());
        let part_len = panels.len() * self.sums_len();
        let (lines, len) = (self.g.batch * self.g.out_h, groups * parts.len() * part_len);
        let slot_len = (len + dbias.len()).next_multiple_of(LINE);
        let mut buffer = Aligned::take(lines.div_ceil(piece) * slot_len, workspace);
        let mut slots: Vec<_> = buffer.chunks_exact_mut(slot_len).collect();
        threads::for_each(&mut slots, |i, slot| {
            let (sums, bias) = slot.split_at_mut(len);
            let bias = &mut bias[..dbias.len()];
            bias.fill(0.0);
            let lines = i * piece..((i + 1) * piece).min(lines);
            let mut copy = Scratch::take(0);
            for at in self.blocks(lines.clone()) {
                if !bias.is_empty() {
                    reduce::add_column_sums(&dy[at.start * self.line()..at.end * self.line()], bias);
                }
                if copy.len() < self.copy_len(at.len()) {
                    copy = Scratch::take(self.copy_len(at.len()));
                }
                self.copy(x, dy, at.clone(), &mut copy);
                let first = at.start == lines.start;
                for (group, sums) in sums.chunks_exact_mut(parts.len() * part_len).enumerate() {
                    self.add(&copy, at.clone(), first, group, parts.clone(), panels.clone(), sums);
                }
            }
        });
        let mut shares: Vec<_> = (0..groups * self.parts).collect();
        let out = &Out(dkernel.as_mut_ptr(), dkernel.len());
        threads::for_each(&mut shares, |_, share| {
            let (group, part) = (*share / self.parts, *share % self.parts);
            for slot in buffer.chunks_exact(slot_len) {
                let sums = &slot[*share * part_len..][..part_len];
                // SAFETY: `dkernel` is borrowed for as long as this runs, and no two shares have channels of a group in
                // common.
                unsafe { self.spread(sums, group, part, panels.clone(), out) };
            }
        });
        for slot in buffer.chunks_exact(slot_len) {
            reduce::add(dbias, &slot[len..][..dbias.len()]);
        }
        buffer.give(workspace);
    }

    /// In pieces of channels and panels.
    fn sum_channels(&self, x: &[f32], dy: &[f32], dkernel: &mut [f32], workspace: &Workspace) {
        let blocks: Vec<_> = self.blocks(0..self.g.batch * self.g.out_h).collect();
        let most = blocks.iter().map(|at| self.copy_len(at.len())).max().unwrap_or(0).next_multiple_of(LINE);
        let mut buffer = Aligned::take(most * blocks.len(), workspace);
        let mut copies: Vec<_> = buffer.chunks_exact_mut(most).collect();
        threads::for_each(&mut copies, |i, copy| self.copy(x, dy, blocks[i].clone(), copy));
        let share = (2 * MAX_PIECES).div_ceil(self.g.groups * self.parts).next_multiple_of(2);
        let mut shares = Vec::new();
        for group in 0..self.g.groups {
            for part in 0..self.parts {
                let panels = split(self.panels(), self.panels().div_ceil(share));
                shares.extend(panels.map(|panels| (group, part, panels)));
            }
        }
        let out = &Out(dkernel.as_mut_ptr(), dkernel.len());
        threads::for_each(&mut shares, |_, (group, part, panels)| {
            let mut sums = Scratch::take(panels.len() * self.sums_len());
            for (i, (copy, at)) in buffer.chunks_exact(most).zip(&blocks).enumerate() {
                self.add(copy, at.clone(), i == 0, *group, *part..*part + 1, panels.clone(), &mut sums);
            }
            // SAFETY: `dkernel` is borrowed for as long as this runs, and no two pieces have channels and columns in
            // common.
            unsafe { self.spread(&sums, *group, *part, panels.clone(), out) };
        });
        buffer.give(workspace);
    }

    /// Values of the sums of a part of the channels and a panel: those of a tap are a tile.
    fn sums_len(&self) -> usize {
        self.g.kernel_h * self.g.kernel_w * self.step * Sizes::of(self.isa).cols()
    }

    /// Adds the sums of some panels to where they belong in the kernel's gradient.
    ///
    /// # Safety
    /// `out` is valid, and nobody else uses these channels and columns of it.
    unsafe fn spread(&self, sums: &[f32], group: usize, part: usize, panels: Range<usize>, &Out(out, len): &Out) {
        let cols = Sizes::of(self.isa).cols();
        let channels = self.channels(part);
        for (panel, sums) in panels.zip(sums.chunks_exact(self.sums_len())) {
            let first = panel * cols;
            let count = cols.min(self.width - first);
            for (tap, sums) in sums.chunks_exact(self.step * cols).enumerate() {
                for (channel, sums) in channels.clone().zip(sums.chunks_exact(cols)) {
                    let to = (tap * self.depth + channel) * self.g.out_c + group * self.width + first;
                    assert!(to + count <= len, "sums outside of the gradient");
                    // SAFETY: it is inside, and the caller has it alone.
                    let out = unsafe { std::slice::from_raw_parts_mut(out.add(to), count) };
                    out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
                }
            }
        }
    }

    /// The channels of a part, in their group.
    fn channels(&self, part: usize) -> Range<usize> {
        part * self.depth / self.parts..(part + 1) * self.depth / self.parts
    }

    /// The blocks of these lines.
    fn blocks(&self, lines: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let most = (POSITIONS / self.g.out_w).max(1);
        split(lines.len(), most).map(move |at| lines.start + at.start..lines.start + at.end)
    }

    /// Values of a line of the output.
    fn line(&self) -> usize {
        self.g.out_w * self.g.out_c
    }

    /// Panels of a group.
    fn panels(&self) -> usize {
        self.width.div_ceil(Sizes::of(self.isa).cols())
    }

    /// Images that these lines belong to, each with its lines: `(image, first line, number)`.
    fn images(&self, lines: Range<usize>) -> impl Iterator<Item = (usize, usize, usize)> {
        let (height, mut at) = (self.g.out_h, lines.start);
        std::iter::from_fn(move || {
            let (image, first) = (at / height, at % height);
            let count = (height - first).min(lines.end - at);
            at += count;
            (count > 0).then_some((image, first, count))
        })
    }

    /// Positions of the input that these lines see, image by image.
    fn seen(&self, lines: Range<usize>) -> usize {
        self.images(lines).map(|(_, _, count)| self.rows(count) * self.row).sum()
    }

    /// Rows of an image that so many lines of it see.
    fn rows(&self, lines: usize) -> usize {
        (lines - 1) * self.g.stride_h + (self.g.kernel_h - 1) * self.g.dilation_h + 1
    }

    /// The most values of a copy of so many lines: those of the input, and those of the output.
    fn copy_len(&self, lines: usize) -> usize {
        let images = (lines - 1).div_ceil(self.g.out_h) + 1;
        let rows = lines * self.g.stride_h + images * ((self.g.kernel_h - 1) * self.g.dilation_h + 1);
        let lanes = Sizes::of(self.isa).lanes;
        let x = rows * self.row * self.g.groups * self.parts * self.step;
        x.next_multiple_of(lanes) + lines * self.g.out_w * self.g.groups * self.width.next_multiple_of(lanes)
    }

    /// Where the copy of the gradients begins.
    fn middle(&self, lines: Range<usize>) -> usize {
        (self.seen(lines) * self.g.groups * self.parts * self.step).next_multiple_of(Sizes::of(self.isa).lanes)
    }

    /// Copies what these lines see, and their gradients in panels, group after group.
    fn copy(&self, x: &[f32], dy: &[f32], lines: Range<usize>, to: &mut [f32]) {
        let (to_x, to_dy) = to.split_at_mut(self.middle(lines.clone()));
        self.isa.run(CopyInput { taps: self, x, lines: lines.clone(), to: to_x });
        let positions = lines.len() * self.g.out_w;
        let dy = &dy[lines.start * self.line()..lines.end * self.line()];
        let group_len = positions * self.width.next_multiple_of(Sizes::of(self.isa).lanes);
        for (group, to) in to_dy.chunks_exact_mut(group_len).take(self.g.groups).enumerate() {
            let (step, first, width) = (self.g.out_c, group * self.width, self.width);
            self.isa.run(CopyPanels { dy, step, first, width, to });
        }
    }

    /// Adds what a block gives to these parts of the channels and panels; the `first` block is all that there is.
    #[allow(clippy::too_many_arguments)]
    fn add(
        &self,
        copy: &[f32],
        lines: Range<usize>,
        first: bool,
        group: usize,
        parts: Range<usize>,
        panels: Range<usize>,
        sums: &mut [f32],
    ) {
        let g = self.g;
        let (lanes, cols) = (Sizes::of(self.isa).lanes, Sizes::of(self.isa).cols());
        let positions = lines.len() * g.out_w;
        let seen = self.seen(lines.clone());
        let (x, dy) = copy.split_at(self.middle(lines.clone()));
        let dy = &dy[group * positions * self.width.next_multiple_of(lanes)..];
        let mut starts = SmallVec::<[usize; 64]>::new();
        let mut done = 0;
        for (_, _, count) in self.images(lines) {
            starts.extend((0..count).map(|line| (done + line * g.stride_h * self.row) * self.step));
            done += self.rows(count) * self.row;
        }
        assert_eq!(sums.len(), parts.len() * panels.len() * self.sums_len(), "a tile of sums for each tap");
        let start = if first { Start::Zero } else { Start::Sum };
        let rights = panels.map(|panel| {
            let first = panel * cols;
            let count = cols.min(self.width - first);
            let width = count.next_multiple_of(lanes);
            Right { b: &dy[first * positions..][..positions * width], step: width, cols: count }
        });
        let mut sums = sums.chunks_exact_mut(self.step * cols);
        for part in parts {
            let a = &x[(group * self.parts + part) * seen * self.step..][..seen * self.step];
            let left = Left { a, reading: Reading::Columns(g.stride_w * self.step), segments: &starts, run: g.out_w };
            for right in rights.clone() {
                for (ky, kx) in (0..g.kernel_h).flat_map(|ky| (0..g.kernel_w).map(move |kx| (ky, kx))) {
                    let from = (ky * g.dilation_h * self.row + kx * g.dilation_w) * self.step;
                    let Some(sums) = sums.next() else { return };
                    tile(self.isa, self.channels(part).len(), &left, from, &right, start, End::Plain, sums, cols);
                }
            }
        }
    }
}

/// Copies what these lines see, part after part of the channels.
struct CopyInput<'a> {
    taps: &'a Taps<'a>,
    x: &'a [f32],
    lines: Range<usize>,
    to: &'a mut [f32],
}

impl Work for CopyInput<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let CopyInput { taps, x, lines, to } = self;
        let Taps { g, depth, parts, step, row: width, .. } = *taps;
        let seen = taps.seen(lines.clone());
        assert!(step <= L::LEN && to.len() >= seen * g.groups * parts * step && x.len() == g.input_len());
        let mut done = 0;
        for (image, first, count) in taps.images(lines) {
            for row in 0..taps.rows(count) {
                let from = (first * g.stride_h + row).checked_sub(g.pad_top).filter(|row| *row < g.in_h);
                // The columns that are inside.
                let inside = match from {
                    Some(_) => g.pad_left.min(width)..(g.pad_left + g.in_w).min(width),
                    None => width..width,
                };
                let from = (image * g.in_h + from.unwrap_or(0)) * g.in_w * g.in_c;
                for part in 0..g.groups * parts {
                    let group = part / parts;
                    let channels = taps.channels(part % parts);
                    let line = &mut to[(part * seen + done) * step..][..width * step];
                    line[..inside.start * step].fill(0.0);
                    line[inside.end * step..].fill(0.0);
                    let x = &x[from + group * depth + channels.start..];
                    for (i, to) in line[inside.start * step..inside.end * step].chunks_exact_mut(step).enumerate() {
                        // SAFETY: these channels of the position are in `x`, and there is place for them; the caller has the instruction
                        // set.
                        unsafe {
                            debug_assert!(i * g.in_c + channels.len() <= x.len());
                            let mask = L::first(channels.len());
                            L::load_part(x.as_ptr().add(i * g.in_c), mask).store_part(to.as_mut_ptr(), mask);
                        }
                    }
                }
                done += width;
            }
        }
    }
}
