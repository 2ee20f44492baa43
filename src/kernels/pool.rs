//! Maximum and average pooling over two axes.

use super::reduce;
use super::simd::{Isa, Lanes, Work};
use crate::error::{Result, ensure};
use crate::runtime::threads;
use crate::shape::{Padding, Window, padded};
use std::ops::Range;

/// The geometry of a pooling: `(batch, in_h, in_w, channels)` to `(batch, out_h, out_w, channels)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Pool2d {
    pub batch: usize,
    pub in_h: usize,
    pub in_w: usize,
    pub channels: usize,
    pub pool_h: usize,
    pub pool_w: usize,
    pub out_h: usize,
    pub out_w: usize,
    pub stride_h: usize,
    pub stride_w: usize,
    /// Rows of padding before the first: they count as -inf for the maximum, not at all for the mean.
    pub pad_top: usize,
    pub pad_left: usize,
}

impl Pool2d {
    /// The pooling of `input`, `(batch, height, width, channels)`, with windows of `pool` cells
    /// moved by `strides`, both `(height, width)`.
    ///
    /// # Errors
    /// When a size is zero, the window does not fit, or an image has 2^32 values or more.
    pub fn new(input: [usize; 4], pool: [usize; 2], strides: [usize; 2], padding: Padding) -> Result<Self> {
        let [batch, in_h, in_w, channels] = input;
        let rows = Window::new(in_h, pool[0], strides[0], 1, padding)?;
        let cols = Window::new(in_w, pool[1], strides[1], 1, padding)?;
        let image = in_h.checked_mul(in_w).and_then(|n| n.checked_mul(channels));
        ensure!(
            image.is_some_and(|n| u32::try_from(n).is_ok()),
            Shape,
            "an image of {in_h} x {in_w} x {channels} is too large to pool"
        );
        Ok(Pool2d {
            batch,
            in_h,
            in_w,
            channels,
            pool_h: pool[0],
            pool_w: pool[1],
            out_h: rows.out,
            out_w: cols.out,
            stride_h: strides[0],
            stride_w: strides[1],
            pad_top: rows.before,
            pad_left: cols.before,
        })
    }

    /// The same with so many more rows and columns of padding, before and after; in this one there is none.
    ///
    /// # Errors
    /// When the padding is too large.
    pub(crate) fn with_margins(self, [rows, cols]: [[usize; 2]; 2]) -> Result<Self> {
        let input = [self.batch, padded(self.in_h, rows)?, padded(self.in_w, cols)?, self.channels];
        let (pool, strides) = ([self.pool_h, self.pool_w], [self.stride_h, self.stride_w]);
        let padded = Pool2d::new(input, pool, strides, Padding::Valid)?;
        Ok(Pool2d { in_h: self.in_h, in_w: self.in_w, pad_top: rows[0], pad_left: cols[0], ..padded })
    }

    /// The number of values in the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_h * self.in_w * self.channels
    }

    /// The number of values in the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_h * self.out_w * self.channels
    }

    /// The maximum of each window; NaN beats all.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn max_forward(&self, x: &[f32], y: &mut [f32]) {
        self.check(x.len(), y.len());
        let (of_x, of_y) = self.image_lens();
        let images = images_at_once(of_x);
        threads::for_each_chunk(y, images * of_y, |i, y| {
            let g = &Pool2d { batch: y.len() / of_y, ..*self };
            Isa::get().run(MaxForward { g, x: &x[i * images * of_x..][..g.input_len()], y });
        });
    }

    /// Whether each line of results comes from two lines of an image of its own, all of them whole, so that lines can be
    /// pooled without their images.
    pub(super) fn pairs_lines(&self) -> bool {
        self.is_two_by_two() && 2 * self.out_h == self.in_h
    }

    /// [`max_forward`](Self::max_forward) of some lines of such a pooling, on this thread.
    pub(super) fn max_of_lines(&self, isa: Isa, x: &[f32], y: &mut [f32]) {
        let lines = x.len() / (self.in_w * self.channels);
        let g = &Pool2d { batch: 1, in_h: lines, out_h: lines / 2, ..*self };
        assert!(g.pairs_lines(), "lines that are not pooled in pairs");
        g.check(x.len(), y.len());
        isa.run(MaxForward { g, x, y });
    }

    /// The gradient by `x` of [`max_forward`](Self::max_forward), into `dx`, from `x`, `y` and the gradient by `y`:
    /// that of a window goes to its first cell, in row-major order, that equals the maximum. Where `relu` says that `x`
    /// is a ReLU's output, it also goes back through that: of a maximum of 0 or NaN nothing is left.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn max_backward(&self, x: &[f32], y: &[f32], dy: &[f32], relu: bool, dx: &mut [f32]) {
        self.check(x.len(), y.len());
        self.check(dx.len(), dy.len());
        let (of_x, of_y) = self.image_lens();
        let images = images_at_once(of_x);
        threads::for_each_chunk(dx, images * of_x, |i, dx| {
            let g = &Pool2d { batch: dx.len() / of_x, ..*self };
            let apart = self.clear_between(dx);
            let (x, outputs) =
                (&x[i * images * of_x..][..dx.len()], i * images * of_y..i * images * of_y + g.output_len());
            Isa::get().run(MaxBackward { g, x, y: &y[outputs.clone()], dy: &dy[outputs], relu, dx, apart });
        });
    }

    /// The mean of the real cells of each window.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn average_forward(&self, x: &[f32], y: &mut [f32]) {
        self.check(x.len(), y.len());
        let (of_x, of_y) = self.image_lens();
        let images = images_at_once(of_x);
        threads::for_each_chunk(y, images * of_y, |i, y| {
            let g = &Pool2d { batch: y.len() / of_y, ..*self };
            Isa::get().run(AverageForward { g, x: &x[i * images * of_x..][..g.input_len()], y });
        });
    }

    /// The gradient by `x` of [`average_forward`](Self::average_forward), into `dx`: the real cells
    /// of a window share its gradient.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn average_backward(&self, dy: &[f32], dx: &mut [f32]) {
        self.check(dx.len(), dy.len());
        let (of_x, of_y) = self.image_lens();
        let images = images_at_once(of_x);
        threads::for_each_chunk(dx, images * of_x, |i, dx| {
            let g = &Pool2d { batch: dx.len() / of_x, ..*self };
            let apart = self.clear_between(dx);
            Isa::get().run(AverageBackward { g, dy: &dy[i * images * of_y..][..g.output_len()], dx, apart });
        });
    }

    /// The number of values in one image of the input and of the output.
    fn image_lens(&self) -> (usize, usize) {
        (self.in_h * self.in_w * self.channels, self.out_h * self.out_w * self.channels)
    }

    /// Clears `dx` where windows do not write it, or add to it; returns whether they do not overlap.
    fn clear_between(&self, dx: &mut [f32]) -> bool {
        let apart = self.pool_h <= self.stride_h && self.pool_w <= self.stride_w;
        let covers = |out: usize, stride: usize, pool: usize, n: usize| stride == pool && out * stride >= n;
        let all = covers(self.out_h, self.stride_h, self.pool_h, self.in_h)
            && covers(self.out_w, self.stride_w, self.pool_w, self.in_w);
        // Windows that do not overlap write each of their cells once.
        if !(apart && all) {
            dx.fill(0.0);
        }
        apart
    }

    fn check(&self, x: usize, y: usize) {
        assert_eq!((x, y), (self.input_len(), self.output_len()), "lengths of the input and the output of {self:?}");
    }

    /// Whether all windows are whole and 2 x 2, side by side: by far the most frequent pooling.
    pub(super) fn is_two_by_two(&self) -> bool {
        let sizes = [self.pool_h, self.pool_w, self.stride_h, self.stride_w];
        sizes == [2; 4]
            && (self.pad_top, self.pad_left) == (0, 0)
            && 2 * self.out_h <= self.in_h
            && 2 * self.out_w <= self.in_w
    }

    /// Calls `visit(offset of the first cell, offset of the output, channels)` for each vector of channels of each
    /// window of such a pooling: line by line, so that the channels are the same from one call to the next.
    ///
    /// # Safety
    /// The processor has the instruction set.
    #[inline(always)]
    unsafe fn for_two_by_two<L: Lanes>(&self, mut visit: impl FnMut(usize, usize, L::Mask)) {
        let (c, line) = (self.channels, self.in_w * self.channels);
        for b in 0..self.batch {
            for oy in 0..self.out_h {
                for channel in (0..c).step_by(L::LEN) {
                    // SAFETY: as promised.
                    let mask = unsafe { L::first(c - channel) };
                    let mut first = (b * self.in_h + 2 * oy) * line + channel;
                    let mut out = (b * self.out_h + oy) * self.out_w * c + channel;
                    for _ in 0..self.out_w {
                        visit(first, out, mask);
                        first += 2 * c;
                        out += c;
                    }
                }
            }
        }
    }

    /// Calls `visit(offset of the output, image, real rows, real columns)` for each window.
    #[inline(always)]
    fn for_windows(&self, mut visit: impl FnMut(usize, usize, Range<usize>, Range<usize>)) {
        let clip = |at: usize, size: usize, pad: usize, n: usize| at.saturating_sub(pad)..(at + size - pad).min(n);
        let mut out = 0;
        for b in 0..self.batch {
            for oy in 0..self.out_h {
                let rows = clip(oy * self.stride_h, self.pool_h, self.pad_top, self.in_h);
                for ox in 0..self.out_w {
                    let cols = clip(ox * self.stride_w, self.pool_w, self.pad_left, self.in_w);
                    visit(out, b, rows.clone(), cols);
                    out += self.channels;
                }
            }
        }
    }
}

/// The mean over the `cells` of each image of `x`, `(batch, cells, channels)`, summed in f64.
///
/// # Panics
/// When `y` is not `(batch, channels)` long.
pub fn global_average_forward(x: &[f32], [batch, cells, channels]: [usize; 3], y: &mut [f32]) {
    assert_eq!((x.len(), y.len()), (batch * cells * channels, batch * channels), "lengths of the input and the output");
    y.fill(0.0);
    if x.is_empty() {
        return;
    }
    let (image, images) = (cells * channels, images_at_once(cells * channels));
    threads::for_each_chunk(y, images * channels, |i, y| {
        for (x, y) in x[i * images * image..].chunks_exact(image).zip(y.chunks_exact_mut(channels)) {
            reduce::add_column_sums(x, y);
            y.iter_mut().for_each(|y| *y /= cells as f32);
        }
    });
}

/// How many images of so many values one thread takes at once.
fn images_at_once(image: usize) -> usize {
    ((1 << 16) / image.max(1)).max(1)
}

/// The gradient by `x` of [`global_average_forward`], into `dx`.
///
/// # Panics
/// When `dy` is not `(batch, channels)` long.
pub fn global_average_backward(dy: &[f32], [batch, cells, channels]: [usize; 3], dx: &mut [f32]) {
    assert_eq!(
        (dx.len(), dy.len()),
        (batch * cells * channels, batch * channels),
        "lengths of the input and the output"
    );
    if dx.is_empty() {
        return;
    }
    let (image, images) = (cells * channels, images_at_once(cells * channels));
    threads::for_each_chunk(dx, images * image, |i, dx| {
        for (dx, dy) in dx.chunks_exact_mut(image).zip(dy[i * images * channels..].chunks_exact(channels)) {
            let (first, _) = dx.split_at_mut(channels);
            first.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = dy / cells as f32);
            reduce::repeat_first_row(dx, channels);
        }
    });
}

struct MaxForward<'a> {
    g: &'a Pool2d,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Work for MaxForward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let MaxForward { g, x, y } = self;
        let (c, line) = (g.channels, g.in_w * g.channels);
        let (x, y) = (x.as_ptr(), y.as_mut_ptr());
        // SAFETY, of both loops: the lengths of the slices were checked, a window's cells lie in its image, and the
        // mask ends with the channels.
        if g.is_two_by_two() {
            let visit = |first, out, mask| {
                // SAFETY: as above.
                unsafe {
                    let top = x.add(first);
                    let below = top.add(line);
                    let upper = L::load_part(top, mask).larger(L::load_part(top.add(c), mask));
                    let lower = L::load_part(below, mask).larger(L::load_part(below.add(c), mask));
                    upper.larger(lower).store_part(y.add(out), mask);
                }
            };
            // SAFETY: the caller has the instruction set.
            return unsafe { g.for_two_by_two::<L>(visit) };
        }
        // A comparison waits for the one before, so several vectors go side by side.
        const SIDE: usize = 4;
        g.for_windows(|out, b, rows, cols| {
            let cells = [rows.len(), cols.len()];
            // SAFETY: as above.
            unsafe {
                let (x, y) = (x.add((b * g.in_h + rows.start) * line + cols.start * c), y.add(out));
                let mut channel = 0;
                while c - channel >= SIDE * L::LEN {
                    largest::<L, SIDE, true>(x.add(channel), [line, c], cells, y.add(channel), L::LEN);
                    channel += SIDE * L::LEN;
                }
                for channel in (channel..c).step_by(L::LEN) {
                    largest::<L, 1, false>(x.add(channel), [line, c], cells, y.add(channel), c - channel);
                }
            }
        });
    }
}

/// The largest values of a window of `rows` x `cols` cells, at least one, whose rows and columns are these steps apart:
/// of a few vectors of channels, which are whole or of which there are `some`.
///
/// # Safety
/// They are valid in all cells and in `to`. The processor must have the instruction set.
#[inline(always)]
unsafe fn largest<L: Lanes, const VECTORS: usize, const WHOLE: bool>(
    from: *const f32,
    [row_step, col_step]: [usize; 2],
    [rows, cols]: [usize; 2],
    to: *mut f32,
    some: usize,
) {
    // SAFETY: as promised.
    unsafe {
        let mask = L::first(some);
        let load = |at: *const f32| if WHOLE { L::load(at) } else { L::load_part(at, mask) };
        let mut best: [L; VECTORS] = std::array::from_fn(|v| load(from.add(v * L::LEN)));
        for row in 0..rows {
            for col in 0..cols {
                let from = from.add(row * row_step + col * col_step);
                for (v, best) in best.iter_mut().enumerate() {
                    *best = best.larger(load(from.add(v * L::LEN)));
                }
            }
        }
        for (v, best) in best.into_iter().enumerate() {
            let to = to.add(v * L::LEN);
            if WHOLE { best.store(to) } else { best.store_part(to, mask) }
        }
    }
}

struct AverageForward<'a> {
    g: &'a Pool2d,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Work for AverageForward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let AverageForward { g, x, y } = self;
        let (c, line) = (g.channels, g.in_w * g.channels);
        let (x, y) = (x.as_ptr(), y.as_mut_ptr());
        g.for_windows(|out, b, rows, cols| {
            let share = 1.0 / (rows.len() * cols.len()) as f32;
            for channel in (0..c).step_by(L::LEN) {
                // SAFETY: as in the maximum.
                unsafe {
                    let mask = L::first(c - channel);
                    let first = x.add((b * g.in_h + rows.start) * line + cols.start * c + channel);
                    let mut sum = L::splat(0.0);
                    for row in 0..rows.len() {
                        for col in 0..cols.len() {
                            sum = sum.add(L::load_part(first.add(row * line + col * c), mask));
                        }
                    }
                    sum.mul_add(L::splat(share), L::splat(0.0)).store_part(y.add(out + channel), mask);
                }
            }
        });
    }
}

struct AverageBackward<'a> {
    g: &'a Pool2d,
    dy: &'a [f32],
    dx: &'a mut [f32],
    /// Whether windows do not overlap.
    apart: bool,
}

impl Work for AverageBackward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let AverageBackward { g, dy, dx, apart } = self;
        let (c, line) = (g.channels, g.in_w * g.channels);
        let (dy, dx) = (dy.as_ptr(), dx.as_mut_ptr());
        g.for_windows(|out, b, rows, cols| {
            let share = 1.0 / (rows.len() * cols.len()) as f32;
            for channel in (0..c).step_by(L::LEN) {
                // SAFETY: as in the maximum.
                unsafe {
                    let mask = L::first(c - channel);
                    let first = dx.add((b * g.in_h + rows.start) * line + cols.start * c + channel);
                    let each = L::load_part(dy.add(out + channel), mask).mul_add(L::splat(share), L::splat(0.0));
                    for row in 0..rows.len() {
                        for col in 0..cols.len() {
                            let cell = first.add(row * line + col * c);
                            let sum = if apart { each } else { each.add(L::load_part(cell, mask)) };
                            sum.store_part(cell, mask);
                        }
                    }
                }
            }
        });
    }
}

struct MaxBackward<'a> {
    g: &'a Pool2d,
    x: &'a [f32],
    y: &'a [f32],
    dy: &'a [f32],
    relu: bool,
    dx: &'a mut [f32],
    /// Whether windows do not overlap.
    apart: bool,
}

impl Work for MaxBackward<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let MaxBackward { g, x, y, dy, relu, dx, apart } = self;
        let (c, line) = (g.channels, g.in_w * g.channels);
        let (x, y, dy, dx) = (x.as_ptr(), y.as_ptr(), dy.as_ptr(), dx.as_mut_ptr());
        if g.is_two_by_two() {
            let visit = |first, out, mask| {
                // SAFETY: as in the forward pass.
                unsafe {
                    let max = L::load_part(y.add(out), mask);
                    let mut left = of_open::<L>(L::load_part(dy.add(out), mask), max, relu);
                    for at in [first, first + c, first + line, first + line + c] {
                        let (taken, rest) = left.split_where_equal(L::load_part(x.add(at), mask), max);
                        taken.store_part(dx.add(at), mask);
                        left = rest;
                    }
                }
            };
            // SAFETY: the caller has the instruction set.
            return unsafe { g.for_two_by_two::<L>(visit) };
        }
        g.for_windows(|out, b, rows, cols| {
            for channel in (0..c).step_by(L::LEN) {
                // SAFETY: as in the forward pass.
                unsafe {
                    let mask = L::first(c - channel);
                    let first = (b * g.in_h + rows.start) * line + cols.start * c + channel;
                    let max = L::load_part(y.add(out + channel), mask);
                    let mut left = of_open::<L>(L::load_part(dy.add(out + channel), mask), max, relu);
                    for row in 0..rows.len() {
                        for col in 0..cols.len() {
                            let at = first + row * line + col * c;
                            let (taken, rest) = left.split_where_equal(L::load_part(x.add(at), mask), max);
                            let sum = if apart { taken } else { taken.add(L::load_part(dx.add(at), mask)) };
                            sum.store_part(dx.add(at), mask);
                            left = rest;
                        }
                    }
                }
            }
        });
    }
}

/// The gradient by a maximum; 0 where the maximum is the output of a ReLU that was closed.
///
/// # Safety
/// The processor has the instruction set.
#[inline(always)]
unsafe fn of_open<L: Lanes>(gradient: L, max: L, relu: bool) -> L {
    // SAFETY: as promised.
    unsafe { if relu { gradient.split_where_equal(max, L::splat(0.0)).1 } else { gradient } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reference;
    use crate::kernels::reference::testing::{Draws, assert_close};
    use crate::kernels::simd::testing::on_each;

    #[test]
    fn agrees_with_the_reference() {
        on_each(random_geometries);
    }

    fn random_geometries() {
        let mut draws = Draws::new("pool");
        let mut cases = 0;
        while cases < 1200 {
            let size = |draws: &mut Draws, n| 1 + draws.below(n);
            let input = [draws.below(3), size(&mut draws, 9), size(&mut draws, 9), size(&mut draws, 20)];
            let (pool, strides) = match draws.below(3) {
                0 => ([2, 2], [2, 2]),
                1 => ([input[1], input[2]], [1, 1]),
                _ => ([0; 2].map(|_| size(&mut draws, 4)), [0; 2].map(|_| size(&mut draws, 4))),
            };
            let padding = [Padding::Valid, Padding::Same][draws.below(2)];
            let Ok(g) = Pool2d::new(input, pool, strides, padding) else { continue };
            cases += 1;
            let mut x = draws.levels(g.input_len());
            if cases % 3 == 0 {
                for value in [f32::NAN, f32::NEG_INFINITY, f32::NAN] {
                    let at = draws.below(x.len().max(1));
                    if let Some(x) = x.get_mut(at) {
                        *x = value;
                    }
                }
            }
            let dy = draws.floats(g.output_len());
            let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();

            let mut y = vec![7.0; dy.len()];
            g.max_forward(&x, &mut y);
            assert_eq!(bits(&y), bits(&reference::max_pool(&g, &x)), "{g:?}");
            let mut dx = vec![7.0; x.len()];
            if cases % 3 == 0 {
                // Where the maximum is NaN it is not specified which cell gets the gradient.
                x.iter_mut().for_each(|x| *x = if x.is_nan() { 9.0 } else { *x });
                g.max_forward(&x, &mut y);
            }
            g.max_backward(&x, &y, &dy, false, &mut dx);
            assert_close(&dx, &reference::max_pool_gradient(&g, &x, &dy), 1e-5);

            // Of a ReLU's output, with the ReLU's gradient.
            x.iter_mut().for_each(|x| *x = x.max(0.0));
            g.max_forward(&x, &mut y);
            g.max_backward(&x, &y, &dy, true, &mut dx);
            let open: Vec<f32> = dy.iter().zip(&y).map(|(dy, y)| if *y > 0.0 { *dy } else { 0.0 }).collect();
            assert_close(&dx, &reference::max_pool_gradient(&g, &x, &open), 1e-5);

            let x = draws.floats(g.input_len());
            g.average_forward(&x, &mut y);
            assert_close(&y, &reference::average_pool(&g, &x), 1e-5);
            g.average_backward(&dy, &mut dx);
            assert_close(&dx, &reference::average_pool_gradient(&g, &dy), 1e-5);
        }
    }

    #[test]
    fn the_course_example() {
        let x = [12., 20., 30., 0., 8., 12., 2., 0., 34., 70., 37., 4., 112., 100., 25., 12.];
        let g = Pool2d::new([1, 4, 4, 1], [2, 2], [2, 2], Padding::Valid).unwrap();
        let (mut y, mut dx) = ([0.0; 4], [0.0; 16]);
        g.max_forward(&x, &mut y);
        assert_eq!(y, [20., 30., 112., 37.]);
        g.max_backward(&x, &y, &[1., 2., 3., 4.], false, &mut dx);
        assert_eq!(dx, [0., 1., 2., 0., 0., 0., 0., 0., 0., 0., 4., 0., 3., 0., 0., 0.]);
        g.average_forward(&x, &mut y);
        assert_eq!(y, [13., 8., 79., 19.5]);
    }

    #[test]
    fn of_equal_cells_the_first_gets_the_gradient() {
        let g = Pool2d::new([1, 2, 2, 1], [2, 2], [1, 1], Padding::Same).unwrap();
        let (x, mut y, mut dx) = ([-3.0; 4], [0.0; 4], [0.0; 4]);
        g.max_forward(&x, &mut y);
        g.max_backward(&x, &y, &[1.0; 4], false, &mut dx);
        assert_eq!((y, dx), ([-3.0; 4], [1.0; 4]));
        let g = Pool2d::new([1, 2, 2, 1], [2, 2], [1, 1], Padding::Valid).unwrap();
        g.max_backward(&x, &[-3.0], &[1.0], false, &mut dx);
        assert_eq!(dx, [1.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn global_averages() {
        let mut draws = Draws::new("global");
        let (x, dy) = (draws.floats(2 * 12 * 5), draws.floats(2 * 5));
        let g = Pool2d::new([2, 3, 4, 5], [3, 4], [1, 1], Padding::Valid).unwrap();
        let (mut y, mut dx) = (vec![0.0; 10], vec![0.0; 120]);
        global_average_forward(&x, [2, 12, 5], &mut y);
        global_average_backward(&dy, [2, 12, 5], &mut dx);
        assert_close(&y, &reference::average_pool(&g, &x), 1e-6);
        assert_close(&dx, &reference::average_pool_gradient(&g, &dy), 1e-6);
    }

    #[test]
    fn windows_that_do_not_fit_are_errors() {
        assert!(Pool2d::new([1, 2, 2, 1], [3, 3], [1, 1], Padding::Valid).is_err());
        assert!(Pool2d::new([1, 2, 2, 1], [2, 2], [0, 1], Padding::Valid).is_err());
        assert!(Pool2d::new([1, 1 << 20, 1 << 20, 1], [2, 2], [1, 1], Padding::Valid).is_err());
    }
}
