//! Maximum and average pooling over two axes.

use super::reduce;
use crate::error::{Result, ensure};
use crate::shape::{Padding, Window};
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

    /// The number of values in the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.in_h * self.in_w * self.channels
    }

    /// The number of values in the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.out_h * self.out_w * self.channels
    }

    /// The maximum of each window. `indices`, as long as `y`, takes where it was: the offset in its
    /// image. Of equal maxima the first (in row-major order) counts; NaN beats all.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn max_forward(&self, x: &[f32], y: &mut [f32], indices: Option<&mut [u32]>) {
        self.check(x.len(), y.len());
        let (image, c) = (self.in_h * self.in_w * self.channels, self.channels);
        match indices {
            Some(indices) => {
                assert_eq!(indices.len(), y.len(), "indices and y");
                self.for_windows(|out, b, rows, cols| {
                    let x = &x[b * image..][..image];
                    let (best, index) = (&mut y[out..][..c], &mut indices[out..][..c]);
                    if rows.len() == 2 && cols.len() == 2 {
                        let at = (rows.start * self.in_w + cols.start) * c;
                        max_of_four(x, self.in_w * c, at, c, |i, max| (best[i], index[i]) = max);
                        return;
                    }
                    for iy in rows.clone() {
                        for ix in cols.clone() {
                            let at = (iy * self.in_w + ix) * c;
                            if iy == rows.start && ix == cols.start {
                                best.copy_from_slice(&x[at..][..c]);
                                index.iter_mut().zip(at as u32..).for_each(|(index, at)| *index = at);
                            } else {
                                for (i, ((best, index), x)) in
                                    best.iter_mut().zip(&mut *index).zip(&x[at..][..c]).enumerate()
                                {
                                    (*best, *index) = larger((*best, *index), (*x, (at + i) as u32));
                                }
                            }
                        }
                    }
                });
            }
            None => self.for_windows(|out, b, rows, cols| {
                let (x, best) = (&x[b * image..][..image], &mut y[out..][..c]);
                if rows.len() == 2 && cols.len() == 2 {
                    let at = (rows.start * self.in_w + cols.start) * c;
                    return max_of_four(x, self.in_w * c, at, c, |i, max| best[i] = max.0);
                }
                for iy in rows.clone() {
                    for ix in cols.clone() {
                        let cell = &x[(iy * self.in_w + ix) * c..][..c];
                        if iy == rows.start && ix == cols.start {
                            best.copy_from_slice(cell);
                        } else {
                            for (best, x) in best.iter_mut().zip(cell) {
                                *best = larger((*best, ()), (*x, ())).0;
                            }
                        }
                    }
                }
            }),
        }
    }

    /// The gradient by `x` of [`max_forward`](Self::max_forward), into `dx`: each window's goes to
    /// the cell that `indices` names.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says, or an index lies outside the image.
    pub fn max_backward(&self, dy: &[f32], indices: &[u32], dx: &mut [f32]) {
        self.check(dx.len(), dy.len());
        assert_eq!(indices.len(), dy.len(), "indices and dy");
        dx.fill(0.0);
        let (from, to) = (self.out_h * self.out_w * self.channels, self.in_h * self.in_w * self.channels);
        if from == 0 || to == 0 {
            return;
        }
        for ((dx, dy), indices) in dx.chunks_exact_mut(to).zip(dy.chunks_exact(from)).zip(indices.chunks_exact(from)) {
            for (dy, index) in dy.iter().zip(indices) {
                dx[*index as usize] += dy;
            }
        }
    }

    /// The mean of the real cells of each window.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn average_forward(&self, x: &[f32], y: &mut [f32]) {
        self.check(x.len(), y.len());
        let c = self.channels;
        self.for_windows(|out, b, rows, cols| {
            let y = &mut y[out..][..c];
            let share = 1.0 / (rows.len() * cols.len()) as f32;
            y.fill(0.0);
            for iy in rows {
                for ix in cols.clone() {
                    reduce::add(y, &x[((b * self.in_h + iy) * self.in_w + ix) * c..][..c]);
                }
            }
            y.iter_mut().for_each(|y| *y *= share);
        });
    }

    /// The gradient by `x` of [`average_forward`](Self::average_forward), into `dx`: the real cells
    /// of a window share its gradient.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn average_backward(&self, dy: &[f32], dx: &mut [f32]) {
        self.check(dx.len(), dy.len());
        let c = self.channels;
        dx.fill(0.0);
        self.for_windows(|out, b, rows, cols| {
            let dy = &dy[out..][..c];
            let share = 1.0 / (rows.len() * cols.len()) as f32;
            for iy in rows {
                for ix in cols.clone() {
                    let dx = &mut dx[((b * self.in_h + iy) * self.in_w + ix) * c..][..c];
                    dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy * share);
                }
            }
        });
    }

    fn check(&self, x: usize, y: usize) {
        assert_eq!((x, y), (self.input_len(), self.output_len()), "lengths of the input and the output of {self:?}");
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
    for (x, y) in x.chunks_exact(cells * channels).zip(y.chunks_exact_mut(channels)) {
        reduce::add_column_sums(x, y);
        y.iter_mut().for_each(|y| *y /= cells as f32);
    }
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
    for (dx, dy) in dx.chunks_exact_mut(cells * channels).zip(dy.chunks_exact(channels)) {
        for dx in dx.chunks_exact_mut(channels) {
            dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = dy / cells as f32);
        }
    }
}

/// The later value if it is larger, or the first NaN. Written without branches, to vectorise.
#[inline(always)]
fn larger<T>(best: (f32, T), next: (f32, T)) -> (f32, T) {
    let take = (next.0 > best.0) | (next.0.is_nan() & !best.0.is_nan());
    if take { next } else { best }
}

/// The 2x2 window at `at`, by far the most frequent one, in one pass over its `c` channels: calls
/// `store(channel, (maximum, where))`.
#[inline(always)]
fn max_of_four(x: &[f32], row_len: usize, at: usize, c: usize, mut store: impl FnMut(usize, (f32, u32))) {
    let at = [at, at + c, at + row_len, at + row_len + c];
    let cells = at.map(|at| &x[at..][..c]);
    (0..c).for_each(|i| {
        let cell = |t: usize| (cells[t][i], (at[t] + i) as u32);
        // A tournament keeps the order of cells: first maximum and first NaN still win.
        store(i, larger(larger(cell(0), cell(1)), larger(cell(2), cell(3))));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reference;
    use crate::kernels::reference::testing::{Draws, assert_close};

    #[test]
    fn agrees_with_the_reference() {
        let mut draws = Draws::new("pool");
        let mut cases = 0;
        while cases < 1200 {
            let size = |draws: &mut Draws, n| 1 + draws.below(n);
            let input = [draws.below(3), size(&mut draws, 9), size(&mut draws, 9), size(&mut draws, 18)];
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

            let (mut y, mut plain) = (vec![7.0; dy.len()], vec![7.0; dy.len()]);
            let mut indices = vec![u32::MAX; dy.len()];
            g.max_forward(&x, &mut y, Some(&mut indices));
            g.max_forward(&x, &mut plain, None);
            let want = reference::max_pool(&g, &x);
            assert_eq!((bits(&y), bits(&plain)), (bits(&want), bits(&want)), "{g:?}");
            let mut dx = vec![7.0; x.len()];
            g.max_backward(&dy, &indices, &mut dx);
            assert_close(&dx, &reference::max_pool_gradient(&g, &x, &dy), 1e-5);

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
        let (mut y, mut indices) = ([0.0; 4], [0; 4]);
        g.max_forward(&x, &mut y, Some(&mut indices));
        assert_eq!((y, indices), ([20., 30., 112., 37.], [1, 2, 12, 10]));
        g.average_forward(&x, &mut y);
        assert_eq!(y, [13., 8., 79., 19.5]);
    }

    #[test]
    fn of_equal_cells_the_first_gets_the_gradient() {
        let g = Pool2d::new([1, 2, 2, 1], [2, 2], [1, 1], Padding::Same).unwrap();
        let (mut y, mut indices, mut dx) = ([0.0; 4], [9; 4], [0.0; 4]);
        g.max_forward(&[-3.0; 4], &mut y, Some(&mut indices));
        g.max_backward(&[1.0; 4], &indices, &mut dx);
        assert_eq!((y, indices, dx), ([-3.0; 4], [0, 1, 2, 3], [1.0; 4]));
        let g = Pool2d::new([1, 2, 2, 1], [2, 2], [1, 1], Padding::Valid).unwrap();
        g.max_backward(&[1.0], &[0], &mut dx);
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
