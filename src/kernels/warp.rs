//! Images seen through a transformation of their plane: each pixel of the output is read at some place of the input.

use super::resize::Interpolation;
use super::vectorised;
use crate::error::{Result, ensure};
use serde::{Deserialize, Serialize};

/// What stands beyond the border of an image that was moved, of the row `abcd`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FillMode {
    /// `dcba|abcd|dcba`
    #[default]
    Reflect,
    /// `abcd|abcd|abcd`
    Wrap,
    /// `aaaa|abcd|dddd`
    Nearest,
    /// A fixed value.
    Constant,
}

/// A projective map of the plane, `[a0, a1, a2, b0, b1, b2, c0, c1]` (Keras: `transform` of `affine_transform`): pixel
/// `(x, y)` of the output is read at `((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k)` with `k = c0 x + c1 y + 1`.
///
/// It is affine where `c0` and `c1` are 0. `x` runs along the width and `y` along the height, from the centre of the
/// first pixel. Sizes of images are `[height, width, channels]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projective(pub [f64; 8]);

impl Default for Projective {
    /// All stays where it is.
    fn default() -> Self {
        Projective([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    }
}

impl Projective {
    /// Turns the image about its centre, counter-clockwise (Keras: `RandomRotation`).
    pub fn rotation(degrees: f64, [height, width, _]: [usize; 3]) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Self::linear([cos, -sin, sin, cos]).about([height, width, 0])
    }

    /// Moves the image to the right and down by so many pixels (Keras: `RandomTranslation`).
    pub fn translation(right: f64, down: f64) -> Self {
        Projective([1.0, 0.0, -right, 0.0, 1.0, -down, 0.0, 0.0])
    }

    /// Shows so many times as much of the width and of the height, about the centre: what is seen becomes smaller
    /// above 1 (Keras: `RandomZoom`).
    pub fn zoom(width: f64, height: f64, size: [usize; 3]) -> Self {
        Self::linear([width, 0.0, 0.0, height]).about(size)
    }

    /// Slants the image about its first pixel: a place moves along the width by `x` for each row, and along the height
    /// by `y` for each column (Keras: `RandomShear`).
    pub fn shear(x: f64, y: f64) -> Self {
        Self::linear([1.0, x, y, 1.0])
    }

    /// Exchanges left and right, or top and bottom, or both.
    pub fn flip(horizontal: bool, vertical: bool, size: [usize; 3]) -> Self {
        let sign = |flip| if flip { -1.0 } else { 1.0 };
        Self::linear([sign(horizontal), 0.0, 0.0, sign(vertical)]).about(size)
    }

    /// Takes the four points `start`, `[x, y]` each, to the points `end` (Keras: `RandomPerspective`); all stays where
    /// it is if there is no such map.
    pub fn perspective(start: [[f64; 2]; 4], end: [[f64; 2]; 4]) -> Self {
        // Two equations a point, each with its right side last.
        let mut rows = [[0.0; 9]; 8];
        for (i, ([x, y], [u, v])) in start.into_iter().zip(end).enumerate() {
            rows[2 * i] = [u, v, 1.0, 0.0, 0.0, 0.0, -x * u, -x * v, x];
            rows[2 * i + 1] = [0.0, 0.0, 0.0, u, v, 1.0, -y * u, -y * v, y];
        }
        solve(rows).map_or_else(Self::default, Projective)
    }

    /// The image transformed by this, and the result by `next`, as one map.
    pub fn then(self, next: Projective) -> Self {
        let [m, n] = [self, next]
            .map(|Projective([a0, a1, a2, b0, b1, b2, c0, c1])| [[a0, a1, a2], [b0, b1, b2], [c0, c1, 1.0]]);
        let mut product = [0.0; 9];
        for i in 0..3 {
            for j in 0..3 {
                product[3 * i + j] = (0..3).map(|k| m[i][k] * n[k][j]).sum();
            }
        }
        let [all @ .., last] = product;
        Projective(if last == 1.0 { all } else { all.map(|v| v / last) })
    }

    /// The same about the centre of an image instead of its first pixel.
    pub fn about(self, [height, width, _]: [usize; 3]) -> Self {
        let [x, y] = [width, height].map(|n| (n as f64 - 1.0) / 2.0);
        Self::translation(-x, -y).then(self).then(Self::translation(x, y))
    }

    fn linear([a0, a1, b0, b1]: [f64; 4]) -> Self {
        Projective([a0, a1, 0.0, b0, b1, 0.0, 0.0, 0.0])
    }
}

/// The solution of eight linear equations, by elimination with the largest pivot.
fn solve(mut rows: [[f64; 9]; 8]) -> Option<[f64; 8]> {
    for i in 0..8 {
        let pivot = (i..8).max_by(|&a, &b| rows[a][i].abs().total_cmp(&rows[b][i].abs()))?;
        rows.swap(i, pivot);
        let row = rows[i].map(|v| v / rows[i][i]);
        if !row.iter().all(|v| v.is_finite()) {
            return None;
        }
        rows[i] = row;
        for (_, other) in rows.iter_mut().enumerate().filter(|(j, _)| *j != i) {
            let factor = other[i];
            other.iter_mut().zip(row).for_each(|(v, r)| *v -= factor * r);
        }
    }
    Some(rows.map(|row| row[8]))
}

/// So many pixels of a row are found at once.
const RUN: usize = 32;

/// Where the pixels of a run are read: four places each, with their weights, and the share of what lies outside.
struct Taps {
    at: [[u32; RUN]; 4],
    weight: [[f32; RUN]; 4],
    outside: [f32; RUN],
}

/// The two positions along one axis that a run of places lies between, and their weights.
#[derive(Clone, Copy)]
struct Between {
    low: [f32; RUN],
    high: [f32; RUN],
    low_weight: [f32; RUN],
    high_weight: [f32; RUN],
}

/// Where to read.
#[derive(Clone, Copy)]
enum Places<'a> {
    Transform(&'a Projective),
    /// `x` and `y` of each pixel.
    Given([&'a [f32]; 2]),
}

/// Images of one size, `(height, width, channels)`, sampled at other places.
///
/// Between pixels values are found [bilinearly](Interpolation::Bilinear) or taken from the
/// [nearest](Interpolation::Nearest) pixel. Borders are those of Keras on JAX and PyTorch: what [`FillMode`] says holds
/// for each pixel that takes part in a value. On TensorFlow [`FillMode::Wrap`] does not mix the last pixel and the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warp {
    size: [usize; 3],
    nearest: bool,
    fill_mode: FillMode,
    fill_value: f32,
}

impl Warp {
    /// For images of this height and width, with so many channels. `fill_value` is what lies outside of them with
    /// [`FillMode::Constant`].
    ///
    /// # Errors
    /// When there are no values or more than 2³¹, a side is longer than 2²⁴, or another interpolation is asked for.
    pub fn new(size: [usize; 3], interpolation: Interpolation, fill_mode: FillMode, fill_value: f64) -> Result<Self> {
        check_interpolation(interpolation)?;
        let values = size.iter().try_fold(1usize, |values, n| values.checked_mul(*n)).unwrap_or(usize::MAX);
        ensure!(values > 0 && values <= 1 << 31, Shape, "an image of {size:?} has no values or too many");
        // Positions are f32, which holds whole numbers up to there.
        ensure!(size[0].max(size[1]) <= 1 << 24, Shape, "an image of {size:?} is too long to be moved");
        let fill_value = if fill_mode == FillMode::Constant { fill_value as f32 } else { 0.0 };
        Ok(Warp { size, nearest: interpolation == Interpolation::Nearest, fill_mode, fill_value })
    }

    /// The image as `transform` shows it, into `out`.
    ///
    /// # Panics
    /// When a slice has another length than the image.
    pub fn forward(&self, transform: &Projective, image: &[f32], out: &mut [f32]) {
        self.read(Places::Transform(transform), image, out);
    }

    /// The image read at `x` (along the width) and `y` (along the height) of each pixel, into `out`.
    ///
    /// # Panics
    /// When a slice has another length than the image, or `x` or `y` than it has pixels.
    pub fn forward_at(&self, [x, y]: [&[f32]; 2], image: &[f32], out: &mut [f32]) {
        self.read(Places::Given([x, y]), image, out);
    }

    /// The gradient by the image of [`forward`](Self::forward), into `dx`.
    ///
    /// # Panics
    /// When a slice has another length than the image.
    pub fn backward(&self, transform: &Projective, dy: &[f32], dx: &mut [f32]) {
        self.spread(Places::Transform(transform), dy, dx);
    }

    /// The gradient by the image of [`forward_at`](Self::forward_at), into `dx`.
    ///
    /// # Panics
    /// As [`forward_at`](Self::forward_at).
    pub fn backward_at(&self, [x, y]: [&[f32]; 2], dy: &[f32], dx: &mut [f32]) {
        self.spread(Places::Given([x, y]), dy, dx);
    }

    fn read(&self, places: Places<'_>, image: &[f32], out: &mut [f32]) {
        self.check(places, image.len(), out.len());
        let (channels, fill) = (self.size[2], self.fill_value);
        vectorised(
            #[inline(always)]
            || match channels {
                1 => self.each_run(
                    places,
                    #[inline(always)]
                    |first, n, taps| gather::<1>(image, &mut out[first..], n, taps, fill),
                ),
                3 => self.each_run(
                    places,
                    #[inline(always)]
                    |first, n, taps| gather::<3>(image, &mut out[first * 3..], n, taps, fill),
                ),
                _ => self.each_run(
                    places,
                    #[inline(always)]
                    |first, n, taps| {
                        for (i, y) in out[first * channels..].chunks_exact_mut(channels).take(n).enumerate() {
                            y.fill(fill * taps.outside[i]);
                            for t in 0..4 {
                                let x = &image[taps.at[t][i] as usize..][..channels];
                                y.iter_mut().zip(x).for_each(|(y, x)| *y += taps.weight[t][i] * x);
                            }
                        }
                    },
                ),
            },
        );
    }

    fn spread(&self, places: Places<'_>, dy: &[f32], dx: &mut [f32]) {
        self.check(places, dx.len(), dy.len());
        let channels = self.size[2];
        dx.fill(0.0);
        vectorised(
            #[inline(always)]
            || {
                self.each_run(
                    places,
                    #[inline(always)]
                    |first, n, taps| {
                        for (i, dy) in dy[first * channels..].chunks_exact(channels).take(n).enumerate() {
                            for t in 0..4 {
                                let dx = &mut dx[taps.at[t][i] as usize..][..channels];
                                dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += taps.weight[t][i] * dy);
                            }
                        }
                    },
                );
            },
        );
    }

    fn check(&self, places: Places<'_>, image: usize, out: usize) {
        let [height, width, channels] = self.size;
        assert_eq!([image, out], [height * width * channels; 2], "lengths of the images");
        if let Places::Given(places) = places {
            assert_eq!(places.map(<[f32]>::len), [height * width; 2], "one place for each pixel");
        }
    }

    /// Calls `visit(first pixel, number of pixels, taps)` for runs of pixels.
    #[inline(always)]
    fn each_run(&self, places: Places<'_>, mut visit: impl FnMut(usize, usize, &Taps)) {
        let [height, width, _] = self.size;
        let (mut x, mut y) = ([0.0; RUN], [0.0; RUN]);
        for row in 0..height {
            for column in (0..width).step_by(RUN) {
                let (first, n) = (row * width + column, (width - column).min(RUN));
                match places {
                    Places::Transform(transform) => transformed(transform, row, column, &mut x, &mut y),
                    Places::Given([given_x, given_y]) => {
                        x[..n].copy_from_slice(&given_x[first..first + n]);
                        y[..n].copy_from_slice(&given_y[first..first + n]);
                    }
                }
                visit(first, n, &self.taps(x, y));
            }
        }
    }

    #[inline(always)]
    fn taps(&self, mut x: [f32; RUN], mut y: [f32; RUN]) -> Taps {
        let [height, width, channels] = self.size;
        if self.nearest {
            x = x.map(f32::round_ties_even);
            y = y.map(f32::round_ties_even);
        }
        let (x, y) = (self.between(x, width), self.between(y, height));
        let mut taps = Taps { at: [[0; RUN]; 4], weight: [[0.0; RUN]; 4], outside: [0.0; RUN] };
        let (of_x, of_y) = (channels as i32, (width * channels) as i32);
        for i in 0..RUN {
            // SAFETY: `between` gives whole numbers from 0 to the size of the axis less 1.
            let [left, right, top, bottom] =
                [x.low[i], x.high[i], y.low[i], y.high[i]].map(|v| unsafe { v.to_int_unchecked::<i32>() });
            let (left, right, top, bottom) = (left * of_x, right * of_x, top * of_y, bottom * of_y);
            let [wl, wr, wt, wb] = [x.low_weight[i], x.high_weight[i], y.low_weight[i], y.high_weight[i]];
            taps.at[0][i] = (top + left) as u32;
            taps.at[1][i] = (top + right) as u32;
            taps.at[2][i] = (bottom + left) as u32;
            taps.at[3][i] = (bottom + right) as u32;
            taps.weight[0][i] = wt * wl;
            taps.weight[1][i] = wt * wr;
            taps.weight[2][i] = wb * wl;
            taps.weight[3][i] = wb * wr;
            taps.outside[i] = 1.0 - (wl + wr) * (wt + wb);
        }
        taps
    }

    /// Of places along an axis, the positions around them. Whatever a place is, NaN too, positions are whole numbers
    /// from 0 to `size - 1`.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // five arrays side by side
    fn between(&self, places: [f32; RUN], size: usize) -> Between {
        let zero = [0.0; RUN];
        let mut b = Between { low: zero, high: zero, low_weight: zero, high_weight: zero };
        let (size, last) = (size as f32, size as f32 - 1.0);
        // `max` before `min`: a NaN becomes 0.
        let clamp = |v: f32| v.max(0.0).min(last);
        match self.fill_mode {
            FillMode::Constant => {
                for i in 0..RUN {
                    let low = places[i].floor();
                    let (high, part) = (low + 1.0, places[i] - low);
                    b.low_weight[i] = if low >= 0.0 && low <= last { 1.0 - part } else { 0.0 };
                    b.high_weight[i] = if high >= 0.0 && high <= last { part } else { 0.0 };
                    b.low[i] = clamp(low);
                    b.high[i] = clamp(high);
                }
            }
            FillMode::Wrap => {
                for i in 0..RUN {
                    let place = (places[i] - size * (places[i] / size).floor()).max(0.0).min(size);
                    let low = place.floor();
                    let part = place - low;
                    let low = if low >= size { 0.0 } else { low };
                    b.low[i] = low;
                    b.high[i] = if low >= last { 0.0 } else { low + 1.0 };
                    b.low_weight[i] = 1.0 - part;
                    b.high_weight[i] = part;
                }
            }
            FillMode::Reflect | FillMode::Nearest => {
                let (reflect, period, turns) = (self.fill_mode == FillMode::Reflect, 2.0 * size, 0.5 / size);
                for i in 0..RUN {
                    let mut place = places[i];
                    if reflect {
                        // The border of the image lies half a pixel outside of its first pixel.
                        let from_border = place + 0.5;
                        let within = from_border - period * (from_border * turns).floor();
                        let back = if within < size { within } else { period - within } - 0.5;
                        // Inside, the place itself: nothing is rounded away.
                        place = if place >= 0.0 && place <= last { place } else { back };
                    }
                    let place = clamp(place);
                    let low = place.floor();
                    b.low[i] = low;
                    b.high[i] = (low + 1.0).min(last);
                    b.low_weight[i] = 1.0 - (place - low);
                    b.high_weight[i] = place - low;
                }
            }
        }
        b
    }
}

/// Checks that images can be sampled so.
///
/// # Errors
/// When it is neither nearest nor bilinear.
pub fn check_interpolation(interpolation: Interpolation) -> Result<()> {
    ensure!(
        matches!(interpolation, Interpolation::Nearest | Interpolation::Bilinear),
        Argument,
        "interpolation is {interpolation:?}; images are transformed with nearest or bilinear"
    );
    Ok(())
}

/// Where `RUN` pixels of a row, from this column on, are read.
#[inline(always)]
fn transformed(transform: &Projective, row: usize, column: usize, x: &mut [f32; RUN], y: &mut [f32; RUN]) {
    let Projective([a0, a1, a2, b0, b1, b2, c0, c1]) = *transform;
    let (first, row) = (column as f64, row as f64);
    let start = |by_x: f64, by_y: f64, at: f64| (by_x * first + by_y * row + at) as f32;
    let (x0, y0, k0) = (start(a0, a1, a2), start(b0, b1, b2), start(c0, c1, 1.0));
    let (a0, b0, affine, c0) = (a0 as f32, b0 as f32, c0 == 0.0 && c1 == 0.0, c0 as f32);
    for i in 0..RUN {
        x[i] = x0 + a0 * i as f32;
        y[i] = y0 + b0 * i as f32;
    }
    if !affine {
        for i in 0..RUN {
            let k = k0 + c0 * i as f32;
            // Beyond the horizon there is nothing: NaN lies outside.
            x[i] = if k == 0.0 { f32::NAN } else { x[i] / k };
            y[i] = if k == 0.0 { f32::NAN } else { y[i] / k };
        }
    }
}

/// The pixels of a run, `C` values each.
#[inline(always)]
fn gather<const C: usize>(image: &[f32], out: &mut [f32], n: usize, taps: &Taps, fill: f32) {
    let (pixels, _) = out.as_chunks_mut::<C>();
    for (i, pixel) in pixels.iter_mut().take(n).enumerate() {
        let outside = fill * taps.outside[i];
        for (c, y) in pixel.iter_mut().enumerate() {
            let mut sum = outside;
            for t in 0..4 {
                // SAFETY: `Warp::taps` gives the first value of a pixel within the image, whose length was checked.
                sum += taps.weight[t][i] * unsafe { image.get_unchecked(taps.at[t][i] as usize + c) };
            }
            *y = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reference::testing::{Draws, assert_close};

    /// The position that stands for one beyond the border; none where there is nothing.
    fn position(mut i: i64, size: i64, fill_mode: FillMode) -> Option<i64> {
        match fill_mode {
            FillMode::Constant => return (0..size).contains(&i).then_some(i),
            FillMode::Nearest => i = i.clamp(0, size - 1),
            FillMode::Wrap => i = i.rem_euclid(size),
            FillMode::Reflect => {
                i = i.rem_euclid(2 * size);
                i = i.min(2 * size - 1 - i);
            }
        }
        Some(i)
    }

    /// Each pixel by its definition: the pixels around its place, each with its weight.
    fn naive(warp: &Warp, map: &Projective, image: &[f32]) -> Vec<f32> {
        let [height, width, channels] = warp.size;
        let [a0, a1, a2, b0, b1, b2, c0, c1] = map.0;
        let mut out = Vec::new();
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y as f64, x as f64))) {
            let k = c0 * x + c1 * y + 1.0;
            let (x, y) = ((a0 * x + a1 * y + a2) / k, (b0 * x + b1 * y + b2) / k);
            for channel in 0..channels {
                let read = |i: i64, j: i64| {
                    let i = position(i, height as i64, warp.fill_mode);
                    let j = position(j, width as i64, warp.fill_mode);
                    i.zip(j).map_or(f64::from(warp.fill_value), |(i, j)| {
                        f64::from(image[(i as usize * width + j as usize) * channels + channel])
                    })
                };
                let value = if warp.nearest {
                    read(y.round_ties_even() as i64, x.round_ties_even() as i64)
                } else {
                    let (i, j) = (y.floor(), x.floor());
                    let mix = |i: i64| read(i, j as i64) * (1.0 - (x - j)) + read(i, j as i64 + 1) * (x - j);
                    mix(i as i64) * (1.0 - (y - i)) + mix(i as i64 + 1) * (y - i)
                };
                out.push(value as f32);
            }
        }
        out
    }

    const FILLS: [FillMode; 4] = [FillMode::Reflect, FillMode::Wrap, FillMode::Nearest, FillMode::Constant];

    #[test]
    fn pixels_are_those_of_the_definition() {
        let mut draws = Draws::new("warp");
        for round in 0..60 {
            let size = [1 + draws.below(9), 1 + draws.below(70), 1 + draws.below(4)];
            let image = draws.floats(size.iter().product());
            let numbers = draws.floats(8);
            let number = |i: usize| f64::from(numbers[i]);
            let mut map = Projective::rotation(180.0 * number(0), size)
                .then(Projective::zoom(1.2 + number(1), 1.2 + number(2), size))
                .then(Projective::shear(number(3), number(4)).about(size))
                .then(Projective::translation(40.0 * number(5), 20.0 * number(6)));
            if round % 3 == 0 {
                map.0[6] = 0.3 * number(7) / size[1] as f64;
                map.0[7] = 0.3 * number(0) / size[0] as f64;
            }
            for fill_mode in FILLS {
                let warp = Warp::new(size, Interpolation::Bilinear, fill_mode, 0.7).unwrap();
                let mut out = vec![0.0; image.len()];
                warp.forward(&map, &image, &mut out);
                // Places are computed in f32.
                assert_close(&out, &naive(&warp, &map, &image), 1e-4);

                // <warp(x), g> = <x, backward(g)>, apart from what comes from outside.
                let warp = Warp::new(size, Interpolation::Bilinear, fill_mode, 0.0).unwrap();
                let gradient = draws.floats(image.len());
                let mut back = vec![9.0; image.len()];
                warp.forward(&map, &image, &mut out);
                warp.backward(&map, &gradient, &mut back);
                let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
                let (there, here) = (dot(&out, &gradient), dot(&image, &back));
                assert!((there - here).abs() < 1e-4 * (1.0 + there.abs()), "{fill_mode:?} {size:?}: {there} {here}");
            }
        }
    }

    #[test]
    fn the_nearest_pixel_is_taken_whole() {
        let mut draws = Draws::new("warp nearest");
        for _ in 0..20 {
            let size = [2 + draws.below(7), 2 + draws.below(40), 3];
            let image = draws.levels(size.iter().product());
            // Whole places and quarters, so that nothing lies between two pixels.
            let quarter = |draws: &mut Draws| draws.below(80) as f64 - 40.0 + 0.25;
            let map = Projective::translation(quarter(&mut draws), quarter(&mut draws));
            for fill_mode in FILLS {
                let warp = Warp::new(size, Interpolation::Nearest, fill_mode, 0.5).unwrap();
                let mut out = vec![0.0; image.len()];
                warp.forward(&map, &image, &mut out);
                assert_eq!(out, naive(&warp, &map, &image), "{fill_mode:?} {size:?} {map:?}");
            }
        }
    }

    #[test]
    fn whatever_the_places_are_nothing_outside_is_read() {
        let size = [3, 5, 1];
        let image = [1.0; 15];
        let wild = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, f32::MAX, -0.5, 4.5, 5.0, -5.0];
        for (x, y) in wild.iter().flat_map(|x| wild.map(|y| (*x, y))) {
            for fill_mode in FILLS {
                for interpolation in [Interpolation::Bilinear, Interpolation::Nearest] {
                    let warp = Warp::new(size, interpolation, fill_mode, 7.0).unwrap();
                    let mut out = [0.0; 15];
                    warp.forward_at([&[x; 15], &[y; 15]], &image, &mut out);
                    if fill_mode == FillMode::Constant && !(x.is_finite() && y.is_finite()) {
                        assert_eq!(out[0], 7.0);
                    }
                }
            }
        }
        assert!(Warp::new(size, Interpolation::Bicubic, FillMode::Wrap, 0.0).is_err());
        assert!(Warp::new([0, 2, 1], Interpolation::Nearest, FillMode::Wrap, 0.0).is_err());
        for side in [(1 << 24) + 1, 1 << 30] {
            assert!(Warp::new([1, side, 1], Interpolation::Nearest, FillMode::Wrap, 0.0).is_err());
            assert!(Warp::new([side, 1, 1], Interpolation::Nearest, FillMode::Wrap, 0.0).is_err());
        }
        assert!(Warp::new([1, 1 << 24, 1], Interpolation::Nearest, FillMode::Wrap, 0.0).is_ok());
    }

    #[test]
    fn maps_follow_each_other() {
        let size = [9, 13, 1];
        let close = |a: Projective, b: Projective| a.0.iter().zip(b.0).all(|(a, b)| (a - b).abs() < 1e-9);
        let turn = Projective::rotation(30.0, size);
        assert!(close(turn.then(Projective::rotation(60.0, size)), Projective::rotation(90.0, size)));
        assert!(close(turn.then(Projective::rotation(-30.0, size)), Projective::default()));
        let flip = Projective::flip(true, false, size);
        assert!(close(flip, Projective([-1.0, 0.0, 12.0, 0.0, 1.0, 0.0, 0.0, 0.0])));
        let moved = Projective::translation(2.0, -1.0).then(Projective::zoom(2.0, 2.0, size));
        // The centre was at (4, 5) before it was moved.
        let [a0, _, a2, _, b1, b2, ..] = moved.0;
        assert_eq!([a0 * 6.0 + a2, b1 * 4.0 + b2], [4.0, 5.0]);

        let corners = [[0.0, 0.0], [12.0, 0.0], [0.0, 8.0], [12.0, 8.0]];
        let ends = [[1.0, 0.5], [10.0, -1.0], [2.0, 9.0], [13.0, 6.0]];
        let map = Projective::perspective(corners, ends);
        for ([x, y], [u, v]) in corners.into_iter().zip(ends) {
            let [a0, a1, a2, b0, b1, b2, c0, c1] = map.0;
            let k = c0 * u + c1 * v + 1.0;
            assert!(((a0 * u + a1 * v + a2) / k - x).abs() < 1e-9 && ((b0 * u + b1 * v + b2) / k - y).abs() < 1e-9);
        }
        assert_eq!(Projective::perspective([[0.0; 2]; 4], [[0.0; 2]; 4]), Projective::default());
    }
}
