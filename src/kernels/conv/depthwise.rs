//! Each channel on its own: nothing to multiply matrices with, so vectors run over the channels.
//!
//! One loop serves the forward pass and the gradient by the input: each value of the target is a sum over taps,
//! and tables say which row and column of the source each tap reads. With `m` outputs for each channel (a depth
//! multiplier) the input is first repeated, or the gradient summed up afterwards, `m` at a time. All passes
//! are bound by memory: about 1 multiplication for each byte. Kernels of 3 x 3 with stride 1 have loops of their own
//! (`three`).

mod three;

use super::{Conv2d, Epilogue, pieces, sum_of_parts};
use crate::kernels::reduce;
use crate::kernels::simd::{Isa, Lanes, Work};
use crate::runtime::{Workspace, threads};
use std::ops::Range;

/// Columns of the target that are computed together: a tap's weights are loaded once for all.
const COLUMNS: usize = 4;
/// Taps side by side whose weights' gradients are summed together.
const TAPS: usize = 4;

/// What a row or a column of the target is the sum of: `(row or column of the source, tap)`.
type Terms = Vec<Vec<(usize, usize)>>;

/// The terms of the forward pass along one axis.
fn terms_of_outputs(out: usize, size: usize, input: usize, [stride, dilation, pad]: [usize; 3]) -> Terms {
    let at = |o: usize, tap: usize| (o * stride + tap * dilation).checked_sub(pad).filter(|i| *i < input);
    (0..out).map(|o| (0..size).filter_map(|tap| Some((at(o, tap)?, tap))).collect()).collect()
}

/// Those of the gradient by the input: the same pairs seen from the other side.
fn terms_of_inputs(outputs: &Terms, input: usize) -> Terms {
    let mut terms = vec![Vec::new(); input];
    for (o, taps) in outputs.iter().enumerate() {
        taps.iter().for_each(|&(i, tap)| terms[i].push((o, tap)));
    }
    terms
}

/// A run of columns of the target that see the same taps; each column reads `step` columns further than the one before.
struct Run {
    cols: Range<usize>,
    step: usize,
}

fn runs(cols: &Terms) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < cols.len() {
        let all = cols.get(at..at + COLUMNS).filter(|cols| !cols[0].is_empty());
        let step = all.and_then(|cols| cols[1].first()?.0.checked_sub(cols[0][0].0));
        let follows = |i: usize, step: usize| {
            cols[at + i].len() == cols[at].len()
                && cols[at].iter().zip(&cols[at + i]).all(|(a, b)| (a.0 + i * step, a.1) == *b)
        };
        let step = step.filter(|&step| (1..COLUMNS).all(|i| follows(i, step)));
        let count = if step.is_some() { COLUMNS } else { 1 };
        runs.push(Run { cols: at..at + count, step: step.unwrap_or(0) });
        at += count;
    }
    runs
}

impl Conv2d {
    /// Whether each channel is a group.
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups == self.in_c && self.in_c > 1
    }

    fn terms(&self) -> [Terms; 2] {
        [
            terms_of_outputs(self.out_h, self.kernel_h, self.in_h, [self.stride_h, self.dilation_h, self.pad_top]),
            terms_of_outputs(self.out_w, self.kernel_w, self.in_w, [self.stride_w, self.dilation_w, self.pad_left]),
        ]
    }

    pub(super) fn depthwise(
        &self,
        isa: Isa,
        x: &[f32],
        kernel: &[f32],
        epilogue: Epilogue,
        y: &mut [f32],
        workspace: &Workspace,
    ) {
        if self.is_three() {
            return self.three(isa, x, kernel, epilogue, y, self.depthwise_piece(self.batch * self.out_h));
        }
        let [rows, cols] = self.terms();
        let sum = Sum { rows, cols, source_h: self.in_h, source_w: self.in_w, g: self, kernel, epilogue };
        self.with_repeated(x, workspace, |x| sum.compute(isa, x, y));
    }

    pub(super) fn depthwise_data(&self, isa: Isa, dy: &[f32], kernel: &[f32], dx: &mut [f32], workspace: &Workspace) {
        if dx.is_empty() || dy.is_empty() {
            return dx.fill(0.0);
        }
        if self.is_three() {
            return self.three_data(isa, dy, kernel, dx, self.depthwise_piece(self.batch * self.in_h));
        }
        let [rows, cols] = self.terms();
        let (rows, cols) = (terms_of_inputs(&rows, self.in_h), terms_of_inputs(&cols, self.in_w));
        let epilogue = Epilogue::default();
        let sum = Sum { rows, cols, source_h: self.out_h, source_w: self.out_w, g: self, kernel, epilogue };
        let times = self.out_c / self.in_c;
        if times == 1 {
            return sum.compute(isa, dy, dx);
        }
        let mut repeated = workspace.take(dx.len() * times);
        sum.compute(isa, dy, &mut repeated);
        for (dx, repeated) in dx.iter_mut().zip(repeated.chunks_exact(times)) {
            *dx = repeated.iter().sum();
        }
        workspace.give(repeated);
    }

    /// Adds the gradient by the kernel and, where its place is not empty, by the bias.
    pub(super) fn depthwise_weights(
        &self,
        isa: Isa,
        x: &[f32],
        dy: &[f32],
        dkernel: &mut [f32],
        dbias: &mut [f32],
        workspace: &Workspace,
    ) {
        let lines = self.batch * self.out_h;
        let piece = self.depthwise_piece(lines);
        if self.is_three() {
            return sum_of_parts([dkernel, dbias], lines, piece, workspace, |lines, [dkernel, dbias]| {
                self.three_weights(isa, x, dy, lines, dkernel, dbias);
            });
        }
        self.bias_alone(dy, dbias);
        self.with_repeated(x, workspace, |x| {
            sum_of_parts([dkernel, &mut []], lines, piece, workspace, |lines, [sums, _]| {
                isa.run(Weights { g: self, x, dy, lines, sums });
            });
        });
    }

    /// All gradients at once; that by the input is stored, the others are added.
    ///
    /// Only where [`is_three`](Self::is_three), and worth it where the tensors [are large](Self::is_large). There is at
    /// least one input and one output.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn depthwise_backward(
        &self,
        isa: Isa,
        x: &[f32],
        dy: &[f32],
        kernel: &[f32],
        dx: &mut [f32],
        dkernel: &mut [f32],
        dbias: &mut [f32],
        workspace: &Workspace,
    ) {
        let bias_len = if self.middle_sees_all() { dbias.len() } else { 0 };
        let lines = self.depthwise_piece(self.batch * self.in_h);
        let mut pieces: Vec<_> = dx.chunks_mut(lines * self.in_w * self.in_c).collect();
        let len = dkernel.len() + bias_len;
        let mut partial = workspace.take(pieces.len() * len);
        let mut parts: Vec<_> = pieces.iter_mut().zip(partial.chunks_exact_mut(len)).collect();
        threads::for_each(&mut parts, |i, (dx, sums)| {
            sums.fill(0.0);
            let (dkernel, dbias) = sums.split_at_mut(kernel.len());
            self.three_backward(isa, [x, dy, kernel], i * lines, dx, dkernel, dbias);
        });
        for sums in partial.chunks_exact(len) {
            reduce::add(dkernel, &sums[..kernel.len()]);
            reduce::add(&mut dbias[..bias_len], &sums[kernel.len()..]);
        }
        workspace.give(partial);
        if bias_len == 0 {
            self.bias_alone(dy, dbias);
        }
    }

    /// Calls `work` with each channel of `x` repeated for each of its outputs.
    fn with_repeated(&self, x: &[f32], workspace: &Workspace, work: impl FnOnce(&[f32])) {
        let times = self.out_c / self.in_c;
        if times == 1 {
            return work(x);
        }
        let mut repeated = workspace.take(x.len() * times);
        for (x, repeated) in x.iter().zip(repeated.chunks_exact_mut(times)) {
            repeated.fill(*x);
        }
        work(&repeated);
        workspace.give(repeated);
    }

    /// Lines in a piece, of so many.
    fn depthwise_piece(&self, lines: usize) -> usize {
        // Memory is the limit: a multiplication here takes as long as several elsewhere.
        lines.div_ceil(pieces(4.0 * self.flops())).max(1)
    }
}

/// Each value of the target is the sum of some taps.
struct Sum<'a> {
    rows: Terms,
    cols: Terms,
    source_h: usize,
    source_w: usize,
    g: &'a Conv2d,
    kernel: &'a [f32],
    epilogue: Epilogue<'a>,
}

impl Sum<'_> {
    fn compute(&self, isa: Isa, source: &[f32], target: &mut [f32]) {
        if target.is_empty() {
            return;
        }
        let (runs, piece) = (runs(&self.cols), self.g.depthwise_piece(self.g.batch * self.rows.len()));
        let mut pieces: Vec<_> = target.chunks_mut(piece * self.cols.len() * self.g.out_c).collect();
        threads::for_each(&mut pieces, |i, target| {
            isa.run(SumLines { sum: self, runs: &runs, source, first: i * piece, target });
        });
    }
}

/// Some lines of it.
struct SumLines<'a> {
    sum: &'a Sum<'a>,
    runs: &'a [Run],
    source: &'a [f32],
    first: usize,
    target: &'a mut [f32],
}

impl Work for SumLines<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let SumLines { sum, runs, source, first, target } = self;
        let (height, channels) = (sum.rows.len(), sum.g.out_c);
        let image_len = sum.source_h * sum.source_w * channels;
        for (i, line) in target.chunks_exact_mut(sum.cols.len() * channels).enumerate() {
            let (image, row) = ((first + i) / height, (first + i) % height);
            let at = Cells { sum, source: &source[image * image_len..][..image_len], rows: &sum.rows[row] };
            for run in runs {
                let target = &mut line[run.cols.start * channels..run.cols.end * channels];
                let mut channel = 0;
                while channel < channels {
                    let rest = channels - channel;
                    // SAFETY: the caller has the instruction set; the channels are there, and the columns of
                    // the run are those of `target`.
                    unsafe {
                        match (run.cols.len(), rest >= 2 * L::LEN) {
                            (COLUMNS, true) => at.add::<L, COLUMNS, 2>(run, channel, target),
                            (COLUMNS, false) => at.add::<L, COLUMNS, 1>(run, channel, target),
                            (_, true) => at.add::<L, 1, 2>(run, channel, target),
                            (_, false) => at.add::<L, 1, 1>(run, channel, target),
                        }
                    }
                    channel += if rest >= 2 * L::LEN { 2 * L::LEN } else { L::LEN };
                }
            }
        }
    }
}

/// A line of the target: its image in the source, and its rows there.
struct Cells<'a> {
    sum: &'a Sum<'a>,
    source: &'a [f32],
    rows: &'a [(usize, usize)],
}

impl Cells<'_> {
    /// Computes `N` columns and `V` vectors of channels, the last of them maybe in part.
    ///
    /// # Safety
    /// As [`Work::run`]; `V - 1` whole vectors and at least one more channel follow `channel`, and `target` is the
    /// `N` columns of `run`.
    #[inline(always)]
    unsafe fn add<L: Lanes, const N: usize, const V: usize>(&self, run: &Run, channel: usize, target: &mut [f32]) {
        let Sum { g, cols, source_w, kernel, epilogue, .. } = self.sum;
        let channels = g.out_c;
        let last = V - 1;
        // SAFETY: terms name rows and columns of the source, and taps of the kernel, and `runs` has made sure of
        // the other columns of a run; masked lanes are neither read nor written.
        unsafe {
            let mask = L::first(channels - channel - last * L::LEN);
            let load = |from: *const f32, v: usize| {
                let from = from.add(v * L::LEN);
                if v < last { L::load(from) } else { L::load_part(from, mask) }
            };
            let mut sums = [[L::splat(0.0); V]; N];
            if let Some(bias) = epilogue.bias {
                for v in 0..V {
                    let bias = load(bias.as_ptr().add(channel), v);
                    sums.iter_mut().for_each(|sums| sums[v] = bias);
                }
            }
            for &(row, ky) in self.rows {
                for &(col, kx) in &cols[run.cols.start] {
                    let weights = kernel.as_ptr().add((ky * g.kernel_w + kx) * channels + channel);
                    let from = self.source.as_ptr().add((row * source_w + col) * channels + channel);
                    for v in 0..V {
                        let weights = load(weights, v);
                        for (i, sums) in sums.iter_mut().enumerate() {
                            sums[v] = load(from.add(i * run.step * channels), v).mul_add(weights, sums[v]);
                        }
                    }
                }
            }
            for (i, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    let sum = epilogue.rectified(sum);
                    let to = target.as_mut_ptr().add(i * channels + channel + v * L::LEN);
                    if v < last { sum.store(to) } else { sum.store_part(to, mask) }
                }
            }
        }
    }
}

/// Adds the gradient by the kernel that some lines give.
struct Weights<'a> {
    g: &'a Conv2d,
    x: &'a [f32],
    dy: &'a [f32],
    lines: Range<usize>,
    sums: &'a mut [f32],
}

impl Work for Weights<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Weights { g, x, dy, lines, sums } = self;
        let (channels, row_len) = (g.out_c, g.in_w * g.out_c);
        // The output columns for which a tap is inside.
        let inside: Vec<Range<usize>> = (0..g.kernel_w)
            .map(|kx| {
                let reach = kx * g.dilation_w;
                let first = g.pad_left.saturating_sub(reach).div_ceil(g.stride_w).min(g.out_w);
                let end = (g.in_w + g.pad_left).saturating_sub(reach).div_ceil(g.stride_w).min(g.out_w);
                first..end.max(first)
            })
            .collect();
        for line in lines {
            let (image, oy) = (line / g.out_h, line % g.out_h);
            let (x, dy) = (&x[image * g.in_h * row_len..], &dy[line * g.out_w * channels..][..g.out_w * channels]);
            for channel in (0..channels).step_by(L::LEN) {
                for ky in 0..g.kernel_h {
                    let Some(iy) = (oy * g.stride_h + ky * g.dilation_h).checked_sub(g.pad_top) else { continue };
                    if iy >= g.in_h {
                        continue;
                    }
                    let x = &x[iy * row_len..][..row_len];
                    let sums = &mut sums[ky * g.kernel_w * channels..][..g.kernel_w * channels];
                    for first in (0..g.kernel_w).step_by(TAPS) {
                        let taps = first..(first + TAPS).min(g.kernel_w);
                        let within = &inside[taps.clone()];
                        let start = within.iter().fold(0, |most, cols| most.max(cols.start));
                        let end = within.iter().fold(g.out_w, |least, cols| least.min(cols.end)).max(start);
                        let mut strip = Strip { g, x, dy, sums, channel };
                        // SAFETY: the caller has the instruction set; the taps are inside at these columns.
                        unsafe {
                            match taps.len() {
                                1 => strip.add::<L, 1>(first, start..end),
                                2 => strip.add::<L, 2>(first, start..end),
                                3 => strip.add::<L, 3>(first, start..end),
                                _ => strip.add::<L, TAPS>(first, start..end),
                            }
                            for (tap, cols) in taps.zip(within) {
                                strip.add::<L, 1>(tap, cols.start..start.min(cols.end));
                                strip.add::<L, 1>(tap, end.max(cols.start).max(start.min(cols.end))..cols.end);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A vector of channels of a line, one row of taps.
struct Strip<'a> {
    g: &'a Conv2d,
    x: &'a [f32],
    dy: &'a [f32],
    sums: &'a mut [f32],
    channel: usize,
}

impl Strip<'_> {
    /// Adds what the columns give for the `N` taps from `tap` on.
    ///
    /// # Safety
    /// As [`Work::run`]; all the taps are inside at all the columns, and there is such a channel.
    #[inline(always)]
    unsafe fn add<L: Lanes, const N: usize>(&mut self, tap: usize, cols: Range<usize>) {
        if cols.is_empty() {
            return;
        }
        let (g, channels) = (self.g, self.g.out_c);
        let (apart, step) = (g.dilation_w * channels, g.stride_w * channels);
        let first = cols.start * g.stride_w + tap * g.dilation_w - g.pad_left;
        // SAFETY: all taps are inside, so the columns are in the line; masked lanes are neither read nor written.
        unsafe {
            let mask = L::first(channels - self.channel);
            let mut x = self.x.as_ptr().add(first * channels + self.channel);
            let mut dy = self.dy.as_ptr().add(cols.start * channels + self.channel);
            let to = self.sums.as_mut_ptr().add(tap * channels + self.channel);
            let mut sums = [L::splat(0.0); N];
            for _ in cols {
                let gradient = L::load_part(dy, mask);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = L::load_part(x.add(i * apart), mask).mul_add(gradient, *sum);
                }
                // The last step may leave the slices; nothing is read there.
                (x, dy) = (x.wrapping_add(step), dy.wrapping_add(channels));
            }
            for (i, sum) in sums.into_iter().enumerate() {
                let to = to.add(i * channels);
                L::load_part(to, mask).add(sum).store_part(to, mask);
            }
        }
    }
}
