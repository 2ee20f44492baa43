//! Kernels of 3 x 3 with stride 1, one output for each channel: what most depthwise convolutions are.
//!
//! Memory is the limit, so each value is loaded from the first-level cache once for a few rows of the output: the nine
//! weights of a vector of channels (or the sums of their gradients) stay in registers, and so do the three columns of the
//! output that a column of the input reaches. What the next block of columns needs is asked for ahead.
//!
//! Both gradients read the gradient by the output around a place, and one of them the input there: made in one pass
//! ([`Both`]), each value comes from memory once.

use crate::kernels::conv::{Conv2d, Epilogue};
use crate::kernels::scratch::Scratch;
use crate::kernels::simd::{Isa, Lanes, Work};
use crate::runtime::threads;
use std::ops::Range;

/// Values of a line that are worked on at once, vector of channels after vector of channels.
const BLOCK_LEN: usize = 2048;
/// The most rows of the output that are computed together, with 32 registers.
const ROWS: usize = 4;
/// From so many values of input and output on, they come from beyond the second-level cache, ...
const LARGE_LEN: usize = 1 << 21;
/// ... and of the outputs fewer are computed at once, so that the next ones, which are asked for meanwhile, do not push
/// out what is still needed.
const LARGE: (usize, usize) = (512, 2);

impl Conv2d {
    /// Whether this is such a convolution.
    pub(in crate::kernels::conv) fn is_three(&self) -> bool {
        let sizes = [self.kernel_h, self.kernel_w, self.stride_h, self.stride_w, self.dilation_h, self.dilation_w];
        sizes == [3, 3, 1, 1, 1, 1] && self.out_c == self.in_c
    }

    /// The forward pass, in pieces of so many lines.
    pub(super) fn three(&self, isa: Isa, x: &[f32], kernel: &[f32], epilogue: Epilogue, y: &mut [f32], piece: usize) {
        if y.is_empty() {
            return;
        }
        let mut pieces: Vec<_> = y.chunks_mut(piece * self.out_w * self.out_c).collect();
        threads::for_each(&mut pieces, |i, y| {
            isa.run(Sum { strips: Strips::of_outputs(self, x), kernel, epilogue, first: i * piece, y });
        });
    }

    /// The gradient by the input.
    pub(super) fn three_data(&self, isa: Isa, dy: &[f32], kernel: &[f32], dx: &mut [f32], piece: usize) {
        let mut turned = Scratch::take(kernel.len());
        for (to, from) in turned.chunks_exact_mut(self.out_c).zip(kernel.chunks_exact(self.out_c).rev()) {
            to.copy_from_slice(from);
        }
        let g = self.turned_three();
        g.three(isa, dy, &turned, Epilogue::default(), dx, piece);
    }

    /// The gradient by the input for some of its lines, and what these add to the gradients by the kernel and, where
    /// its place is not empty, by the bias.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn three_backward(
        &self,
        isa: Isa,
        [x, dy, kernel]: [&[f32]; 3],
        first: usize,
        dx: &mut [f32],
        dkernel: &mut [f32],
        dbias: &mut [f32],
    ) {
        let g = self.turned_three();
        isa.run(Both { strips: Strips::of(&g, dy), x, kernel, first, dx, dkernel, dbias });
    }

    /// The convolution that gives the gradient by the input.
    fn turned_three(&self) -> Conv2d {
        // It fits: the taps outside read zeros, before the first output as well as after the last one.
        Conv2d {
            in_h: self.out_h,
            in_w: self.out_w,
            out_h: self.in_h,
            out_w: self.in_w,
            pad_top: 2usize.wrapping_sub(self.pad_top),
            pad_left: 2usize.wrapping_sub(self.pad_left),
            ..*self
        }
    }

    /// Whether input and output are far larger than the caches near the cores.
    pub(in crate::kernels::conv) fn is_large(&self) -> bool {
        self.input_len() + self.output_len() >= LARGE_LEN
    }

    /// Whether the tap in the middle sees the input at each output.
    pub(super) fn middle_sees_all(&self) -> bool {
        let sees = |pad: usize, out: usize, input: usize| pad <= 1 && out < input + pad;
        sees(self.pad_top, self.out_h, self.in_h) && sees(self.pad_left, self.out_w, self.in_w)
    }

    /// Adds what some lines give to the gradient by the kernel, and by the bias where its place is not empty.
    pub(super) fn three_weights(
        &self,
        isa: Isa,
        x: &[f32],
        dy: &[f32],
        lines: Range<usize>,
        dkernel: &mut [f32],
        dbias: &mut [f32],
    ) {
        isa.run(Weights { strips: Strips::of(self, x), dy, lines, dkernel, dbias });
    }
}

/// The lines of a convolution, few at a time.
struct Strips<'a> {
    g: &'a Conv2d,
    x: &'a [f32],
    /// A row of the input that lies in the padding.
    zeros: Scratch,
    /// Columns of a block.
    block: usize,
    /// The most lines of a strip.
    most: usize,
    /// Whether the next block is asked for ahead.
    ahead: bool,
}

/// Some lines of one image: the rows of the input that they see, row `i` of the output from row `i` on.
struct Strip {
    lines: Range<usize>,
    rows: [*const f32; ROWS + 2],
}

impl<'a> Strips<'a> {
    fn of(g: &'a Conv2d, x: &'a [f32]) -> Self {
        let mut zeros = Scratch::take(g.in_w * g.in_c);
        zeros.fill(0.0);
        Strips { g, x, zeros, block: (BLOCK_LEN / g.out_c).max(4), most: ROWS, ahead: false }
    }

    /// For the outputs: where they are large, fewer at once.
    fn of_outputs(g: &'a Conv2d, x: &'a [f32]) -> Self {
        let strips = Strips::of(g, x);
        let (len, most) = LARGE;
        match g.is_large() {
            true => Strips { block: (len / g.out_c).max(4), most, ahead: true, ..strips },
            false => strips,
        }
    }

    /// The strips that cover these lines, of `most` lines.
    fn strips(&self, lines: Range<usize>, most: usize) -> impl Iterator<Item = Strip> {
        let (g, mut at) = (self.g, lines.start);
        std::iter::from_fn(move || {
            if at >= lines.end {
                return None;
            }
            let (image, oy) = (at / g.out_h, at % g.out_h);
            let count = most.min(lines.end - at).min(g.out_h - oy);
            let rows = std::array::from_fn(|i| match (oy + i).wrapping_sub(g.pad_top) {
                row if row < g.in_h => self.x[(image * g.in_h + row) * self.zeros.len()..][..self.zeros.len()].as_ptr(),
                _ => self.zeros.as_ptr(),
            });
            at += count;
            Some(Strip { lines: at - count..at, rows })
        })
    }

    /// The blocks of columns of the output.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (block, width) = (self.block, self.g.out_w);
        (0..width).step_by(block).map(move |first| first..(first + block).min(width))
    }

    /// The offset in its row of what the first tap sees at a column of the output.
    fn offset(&self, col: usize) -> Option<usize> {
        let col = col.wrapping_sub(self.g.pad_left);
        (col < self.g.in_w).then(|| col * self.g.in_c)
    }
}

/// Calls `$call` with the constant `R` as the number of lines, and another as whether vectors are full.
macro_rules! strip {
    ($lines:expr, $full:expr, $R:ident, $F:ident, $call:expr) => {
        match ($lines, $full) {
            (1, true) => strip!(@ $R 1, $F true, $call),
            (2, true) => strip!(@ $R 2, $F true, $call),
            (3, true) => strip!(@ $R 3, $F true, $call),
            (_, true) => strip!(@ $R 4, $F true, $call),
            (1, false) => strip!(@ $R 1, $F false, $call),
            (2, false) => strip!(@ $R 2, $F false, $call),
            (3, false) => strip!(@ $R 3, $F false, $call),
            (_, false) => strip!(@ $R 4, $F false, $call),
        }
    };
    (@ $R:ident $rows:literal, $F:ident $full:literal, $call:expr) => {{
        const $R: usize = $rows;
        const $F: bool = $full;
        $call
    }};
}

/// Lines that are worked on together: with 16 registers, one.
fn most<L: Lanes>(strips: &Strips) -> usize {
    if L::LEN == 16 { strips.most } else { 1 }
}

/// Some lines of the forward pass, from the line `first` on.
struct Sum<'a> {
    strips: Strips<'a>,
    kernel: &'a [f32],
    epilogue: Epilogue<'a>,
    first: usize,
    y: &'a mut [f32],
}

impl Work for Sum<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let g = self.strips.g;
        let (channels, line) = (g.out_c, g.out_w * g.out_c);
        assert!(self.kernel.len() == 9 * channels && self.epilogue.bias.is_none_or(|bias| bias.len() == channels));
        let lines = self.first..self.first + self.y.len() / line;
        for strip in self.strips.strips(lines, most::<L>(&self.strips)) {
            let to = &mut self.y[(strip.lines.start - self.first) * line..][..strip.lines.len() * line];
            for cols in self.strips.blocks() {
                for channel in (0..channels).step_by(L::LEN) {
                    let (count, full) = (strip.lines.len(), channel + L::LEN <= channels);
                    let work = (&self.strips, self.kernel, self.epilogue);
                    // SAFETY: `to` is `count` lines of the output, and the rows of the strip are lines of the input; the
                    // columns and the channel are there. The caller has the instruction set.
                    strip!(count, full, R, F, unsafe { sum::<L, R, F>(work, &strip, cols.clone(), channel, to) });
                }
            }
        }
    }
}

/// Computes a vector of channels of some columns of `R` lines; `FULL` if there are as many channels.
///
/// # Safety
/// As [`Work::run`]; the rows of `strip` have the length of the input's, `to` is `R` lines of the output, `cols` and
/// `channel` are in them.
#[inline(always)]
unsafe fn sum<L: Lanes, const R: usize, const FULL: bool>(
    (strips, kernel, epilogue): (&Strips, &[f32], Epilogue),
    strip: &Strip,
    cols: Range<usize>,
    channel: usize,
    to: &mut [f32],
) {
    let (channels, line) = (strips.g.out_c, strips.g.out_w * strips.g.out_c);
    let ahead = strips.block * channels;
    // SAFETY: masked channels are neither read nor written; all others are as the caller promised. What is asked for
    // ahead need not exist.
    unsafe {
        let mask = L::first(channels - channel);
        let load = |from: *const f32| if FULL { L::load(from) } else { L::load_part(from, mask) };
        let weights: [L; 9] = std::array::from_fn(|tap| load(kernel.as_ptr().add(tap * channels + channel)));
        let bias = epilogue.bias.map_or(L::splat(0.0), |bias| load(bias.as_ptr().add(channel)));
        // The sums of three columns, of which the first one will be complete next.
        let mut sums = [[bias; 3]; R];
        let mut to = to.as_mut_ptr().add(cols.start * channels + channel);
        for col in cols.start..cols.end + 2 {
            if let Some(at) = strips.offset(col) {
                if strips.ahead {
                    // The rows before were read for the lines before.
                    for row in &strip.rows[2..R + 2] {
                        L::prefetch(row.wrapping_add(at + channel + ahead));
                    }
                }
                for (i, row) in strip.rows[..R + 2].iter().enumerate() {
                    let x = load(row.add(at + channel));
                    for (o, sums) in sums.iter_mut().enumerate() {
                        if let 0..3 = i.wrapping_sub(o) {
                            for (kx, sum) in sums.iter_mut().rev().enumerate() {
                                *sum = x.mul_add(weights[3 * (i - o) + kx], *sum);
                            }
                        }
                    }
                }
            }
            for (o, sums) in sums.iter_mut().enumerate() {
                if col >= cols.start + 2 {
                    let sum = epilogue.rectified(sums[0]);
                    let to = to.add(o * line);
                    if strips.ahead {
                        L::prefetch(to.wrapping_add(ahead));
                    }
                    if FULL { sum.store(to) } else { sum.store_part(to, mask) }
                }
                *sums = [sums[1], sums[2], bias];
            }
            if col >= cols.start + 2 {
                to = to.wrapping_add(channels);
            }
        }
    }
}

/// Adds the gradients by the kernel and the bias that some lines give.
struct Weights<'a> {
    strips: Strips<'a>,
    dy: &'a [f32],
    lines: Range<usize>,
    dkernel: &'a mut [f32],
    dbias: &'a mut [f32],
}

impl Work for Weights<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Weights { strips, dy, lines, dkernel, dbias } = self;
        let (channels, line) = (strips.g.out_c, strips.g.out_w * strips.g.out_c);
        assert!(dkernel.len() == 9 * channels && (dbias.is_empty() || dbias.len() == channels));
        for strip in strips.strips(lines, most::<L>(&strips)) {
            let dy = &dy[strip.lines.start * line..strip.lines.end * line];
            for cols in strips.blocks() {
                for channel in (0..channels).step_by(L::LEN) {
                    let (count, full) = (strip.lines.len(), channel + L::LEN <= channels);
                    let sums = (&mut *dkernel, &mut *dbias);
                    // SAFETY: as in `Sum`, and `dy` is `count` lines of the output.
                    strip!(count, full, R, F, unsafe {
                        weights::<L, R, F>(&strips, &strip, dy, cols.clone(), channel, sums);
                    });
                }
            }
        }
    }
}

/// Adds what a vector of channels of some columns of `R` lines gives.
///
/// # Safety
/// As [`sum`]; `dy` is `R` lines of the output, and `sums` have a value for each tap and channel.
#[inline(always)]
unsafe fn weights<L: Lanes, const R: usize, const FULL: bool>(
    strips: &Strips,
    strip: &Strip,
    dy: &[f32],
    cols: Range<usize>,
    channel: usize,
    (dkernel, dbias): (&mut [f32], &mut [f32]),
) {
    let (channels, line) = (strips.g.out_c, strips.g.out_w * strips.g.out_c);
    // SAFETY: as in `sum`.
    unsafe {
        let mask = L::first(channels - channel);
        let load = |from: *const f32| if FULL { L::load(from) } else { L::load_part(from, mask) };
        let mut sums = [L::splat(0.0); 9];
        let mut all = L::splat(0.0);
        // The gradients of three columns, the last one first.
        let mut gradients = [[L::splat(0.0); 3]; R];
        let mut from = dy.as_ptr().add(cols.start * channels + channel);
        for col in cols.start..cols.end + 2 {
            for (o, gradients) in gradients.iter_mut().enumerate() {
                let next = if col < cols.end { load(from.add(o * line)) } else { L::splat(0.0) };
                *gradients = [next, gradients[0], gradients[1]];
                all = all.add(next);
            }
            from = from.wrapping_add(channels);
            let Some(at) = strips.offset(col) else { continue };
            for (i, row) in strip.rows[..R + 2].iter().enumerate() {
                let x = load(row.add(at + channel));
                for (o, gradients) in gradients.iter().enumerate() {
                    if let 0..3 = i.wrapping_sub(o) {
                        for (kx, gradient) in gradients.iter().enumerate() {
                            sums[3 * (i - o) + kx] = x.mul_add(*gradient, sums[3 * (i - o) + kx]);
                        }
                    }
                }
            }
        }
        let add = |sum: L, to: *mut f32| load(to).add(sum).store_part(to, mask);
        for (tap, sum) in sums.into_iter().enumerate() {
            add(sum, dkernel.as_mut_ptr().add(tap * channels + channel));
        }
        if !dbias.is_empty() {
            add(all, dbias.as_mut_ptr().add(channel));
        }
    }
}

/// Some lines of the gradient by the input, from the line `first` on, and what they add to the others: the strips are
/// those of the turned convolution.
struct Both<'a> {
    strips: Strips<'a>,
    x: &'a [f32],
    kernel: &'a [f32],
    first: usize,
    dx: &'a mut [f32],
    dkernel: &'a mut [f32],
    dbias: &'a mut [f32],
}

impl Work for Both<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Both { strips, x, kernel, first, dx, dkernel, dbias } = self;
        let (channels, line) = (strips.g.out_c, strips.g.out_w * strips.g.out_c);
        assert!(kernel.len() == 9 * channels && dkernel.len() == 9 * channels);
        assert!(dbias.is_empty() || dbias.len() == channels);
        let x = &x[first * line..][..dx.len()];
        for strip in strips.strips(first..first + dx.len() / line, 1) {
            let at = (strip.lines.start - first) * line;
            let (x, dx) = (&x[at..][..line], &mut dx[at..][..line]);
            for cols in strips.blocks() {
                for channel in (0..channels).step_by(L::LEN) {
                    let (places, cols) = ((x, &mut *dx, &mut *dkernel, &mut *dbias), cols.clone());
                    // SAFETY: `x` and `dx` are a line, and the rows of the strip are lines of the gradient by the output;
                    // the columns and the channel are there. The caller has the instruction set.
                    unsafe {
                        match channel + L::LEN <= channels {
                            true => both::<L, true>(&strips, &strip, kernel, cols, channel, places),
                            false => both::<L, false>(&strips, &strip, kernel, cols, channel, places),
                        }
                    }
                }
            }
        }
    }
}

/// A vector of channels of some columns of a line.
///
/// # Safety
/// As [`sum`]; `x` and `dx` are a line, `dkernel` has a value for each tap and channel, `dbias` for each channel or none.
#[inline(always)]
unsafe fn both<L: Lanes, const FULL: bool>(
    strips: &Strips,
    strip: &Strip,
    kernel: &[f32],
    cols: Range<usize>,
    channel: usize,
    (x, dx, dkernel, dbias): (&[f32], &mut [f32], &mut [f32], &mut [f32]),
) {
    let channels = strips.g.out_c;
    let ahead = strips.block * channels;
    debug_assert!(channel < channels && cols.end * channels <= x.len() && x.len() == dx.len());
    // SAFETY: as in `sum`; what is asked for ahead need not exist.
    unsafe {
        let mask = L::first(channels - channel);
        let load = |from: *const f32| if FULL { L::load(from) } else { L::load_part(from, mask) };
        // The kernel is turned: its last tap comes first.
        let weights: [L; 9] = std::array::from_fn(|tap| load(kernel.as_ptr().add((8 - tap) * channels + channel)));
        let mut sums = [L::splat(0.0); 9];
        let mut all = L::splat(0.0);
        // Of three columns: the gradients by the input, the first one complete next, and the input, the last one first.
        let mut gradients = [L::splat(0.0); 3];
        let mut inputs = [L::splat(0.0); 3];
        let mut from = x.as_ptr().add(cols.start * channels + channel);
        let mut to = dx.as_mut_ptr().add(cols.start * channels + channel);
        for col in cols.start..cols.end + 2 {
            let next = if col < cols.end { load(from) } else { L::splat(0.0) };
            inputs = [next, inputs[0], inputs[1]];
            if let Some(at) = strips.offset(col) {
                L::prefetch(from.wrapping_add(ahead));
                L::prefetch(strip.rows[2].wrapping_add(at + channel + ahead));
                for (ky, row) in strip.rows[..3].iter().enumerate() {
                    let dy = load(row.add(at + channel));
                    for kx in 0..3 {
                        let tap = 3 * ky + kx;
                        gradients[2 - kx] = dy.mul_add(weights[tap], gradients[2 - kx]);
                        sums[tap] = dy.mul_add(inputs[kx], sums[tap]);
                    }
                    if ky == 1 && col > cols.start && col <= cols.end {
                        all = all.add(dy);
                    }
                }
            }
            from = from.wrapping_add(channels);
            if col >= cols.start + 2 {
                if FULL {
                    gradients[0].store(to)
                } else {
                    gradients[0].store_part(to, mask)
                }
                to = to.wrapping_add(channels);
                L::prefetch(to.wrapping_add(ahead));
            }
            gradients = [gradients[1], gradients[2], L::splat(0.0)];
        }
        let add = |sum: L, to: *mut f32| load(to).add(sum).store_part(to, mask);
        for (tap, sum) in sums.into_iter().enumerate() {
            add(sum, dkernel.as_mut_ptr().add((8 - tap) * channels + channel));
        }
        if !dbias.is_empty() {
            add(all, dbias.as_mut_ptr().add(channel));
        }
    }
}
