//! What tiles see and what they give, turned: the vector code of [Winograd's way](super).

use super::{Conv2d, Epilogue, SEEN, TILE};
use crate::kernels::simd::{Lanes, Work};
use std::ops::Range;

/// Turns the cells of some tiles, `N` x `N` for each: 6 x 6 that it sees of the input, or 4 x 4 of the gradient by the
/// output.
pub(super) struct Turn<'a, const N: usize> {
    /// Rows and columns of tiles.
    grid: [usize; 2],
    values: &'a [f32],
    /// Lines, cells of a line, and channels of an image.
    image: [usize; 3],
    /// Lines and cells by which the first tile begins before the image.
    padding: [usize; 2],
    tiles: Range<usize>,
    to: &'a mut [f32],
    /// Values of `to` for each tile.
    len: usize,
}

impl<'a> Turn<'a, SEEN> {
    /// What these tiles see of the input.
    pub(super) fn input(g: &Conv2d, x: &'a [f32], tiles: Range<usize>, to: &'a mut [f32]) -> Self {
        let (image, padding) = ([g.in_h, g.in_w, g.in_c], [g.pad_top, g.pad_left]);
        assert_eq!(x.len(), g.input_len(), "values of the input");
        Turn { grid: g.tiles(), values: x, image, padding, tiles, to, len: g.turned_len() }
    }
}

impl<'a> Turn<'a, TILE> {
    /// The gradients by what these tiles give.
    pub(super) fn gradient(g: &Conv2d, dy: &'a [f32], tiles: Range<usize>, to: &'a mut [f32]) -> Self {
        let image = [g.out_h, g.out_w, g.out_c];
        assert_eq!(dy.len(), g.output_len(), "values of the gradient");
        Turn { grid: g.tiles(), values: dy, image, padding: [0, 0], tiles, to, len: g.sums_len() }
    }
}

impl<const N: usize> Work for Turn<'_, N> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Turn { grid: [rows, cols], values, image: [h, w, c], padding: [top, left], tiles, to, len } = self;
        assert!(to.len() >= tiles.len() * len && len >= SEEN * SEEN * c, "tiles are turned outside");
        assert!(tiles.end * h * w * c <= values.len() * rows * cols, "tiles of other images");
        for (i, tile) in tiles.enumerate() {
            let (image, row, col) = (tile / (rows * cols), tile / cols % rows * TILE, tile % cols * TILE);
            let (lines, cells) = (inside::<N>(row, top, h), inside::<N>(col, left, w));
            let whole = lines.len() == N && cells.len() == N;
            let first = ((image * h + row) * w + col) * c;
            let from = values.as_ptr().wrapping_add(first).wrapping_sub((top * w + left) * c);
            for channel in (0..c).step_by(L::LEN) {
                // SAFETY: these lines and cells are in the image, all of which is in `values`, as asserted; all points of
                // the tile are in `to`, as asserted; masked channels are neither read nor written; the caller has the
                // instruction set.
                unsafe {
                    let to = to.as_mut_ptr().add(i * len + channel);
                    let tile = Cells::<N> { first: from.wrapping_add(channel), step: w * c, c };
                    if whole && c - channel >= L::LEN {
                        tile.turn::<L, true>([0..N, 0..N], to, L::LEN);
                    } else {
                        tile.turn::<L, false>([lines.clone(), cells.clone()], to, c - channel);
                    }
                }
            }
        }
    }
}

/// Which of the `N` lines or cells from `at` on are in an image of this size, which begins after the padding.
fn inside<const N: usize>(at: usize, padding: usize, size: usize) -> Range<usize> {
    let end = (padding + size).saturating_sub(at).min(N);
    padding.saturating_sub(at).min(end)..end
}

/// Some channels of the cells of a tile, of which those outside of the image may lie anywhere.
struct Cells<const N: usize> {
    first: *const f32,
    /// The distance of lines, ...
    step: usize,
    /// ... and that of cells.
    c: usize,
}

impl<const N: usize> Cells<N> {
    /// Turns a whole vector of channels of cells that are all in the image, or some channels of these lines and cells,
    /// the others being zeros.
    ///
    /// # Safety
    /// They are valid, and so are the same channels in all points of `to`, which are as far apart as the cells. The
    /// processor must have the instruction set.
    #[inline(always)]
    unsafe fn turn<L: Lanes, const WHOLE: bool>(self, [lines, cells]: [Range<usize>; 2], to: *mut f32, some: usize) {
        let at = |dy: usize, dx: usize| self.first.wrapping_add(dy * self.step + dx * self.c);
        // SAFETY: as promised.
        unsafe {
            for dy in 0..N {
                for dx in N..N + TILE {
                    // What the next tile has.
                    L::prefetch(at(dy, dx));
                }
            }
            let mask = L::first(some);
            let of_cell: [L::Mask; N] = std::array::from_fn(|dx| if cells.contains(&dx) { mask } else { L::first(0) });
            let mut turned = [[L::splat(0.0); SEEN]; N];
            for (dy, line) in turned.iter_mut().enumerate() {
                if WHOLE {
                    *line = turn::<L, N>(std::array::from_fn(|dx| L::load(at(dy, dx))));
                } else if lines.contains(&dy) {
                    *line = turn::<L, N>(std::array::from_fn(|dx| L::load_part(at(dy, dx), of_cell[dx])));
                }
            }
            for dx in 0..SEEN {
                let points = turn::<L, N>(column(&turned, dx));
                for (dy, value) in points.into_iter().enumerate() {
                    let to = to.add((dy * SEEN + dx) * self.c);
                    if WHOLE { value.store(to) } else { value.store_part(to, mask) }
                }
            }
        }
    }
}

/// A column of some rows. By index: `map` on the rows would copy all of them to memory.
#[inline(always)]
fn column<L: Copy, const N: usize, const M: usize>(rows: &[[L; M]; N], at: usize) -> [L; N] {
    std::array::from_fn(|row| rows[row][at])
}

/// How a row or a column of cells is turned.
///
/// # Safety
/// The processor must have the instruction set.
#[inline(always)]
unsafe fn turn<L: Lanes, const N: usize>(cells: [L; N]) -> [L; SEEN] {
    // SAFETY: as promised.
    unsafe {
        match cells[..] {
            [a, b, c, d, e, f] => turn_input([a, b, c, d, e, f]),
            [a, b, c, d] => turn_gradient([a, b, c, d]),
            _ => unreachable!("tiles have 6 or 4 cells"),
        }
    }
}

/// How a row or a column of six cells of the input is turned.
///
/// # Safety
/// The processor must have the instruction set.
#[inline(always)]
unsafe fn turn_input<L: Lanes>(d: [L; SEEN]) -> [L; SEEN] {
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

/// How a row or a column of four cells of the gradient by the output is turned: the transpose of
/// [`turn_back`].
///
/// # Safety
/// The processor must have the instruction set.
#[inline(always)]
unsafe fn turn_gradient<L: Lanes>(e: [L; TILE]) -> [L; SEEN] {
    // SAFETY: as promised.
    unsafe {
        let (less_one, two, less_two, four) = (L::splat(-1.0), L::splat(2.0), L::splat(-2.0), L::splat(4.0));
        let (even, odd) = (e[0].add(e[2]), e[1].add(e[3]));
        let (wide_even, wide_odd) = (e[2].mul_add(four, e[0]), e[3].mul_add(four, e[1]));
        [
            e[0],
            even.add(odd),
            odd.mul_add(less_one, even),
            wide_odd.mul_add(two, wide_even),
            wide_odd.mul_add(less_two, wide_even),
            e[3],
        ]
    }
}

/// Makes the results of some tiles from the sums of their products.
pub(super) struct TurnBack<'a> {
    pub g: &'a Conv2d,
    pub sums: &'a [f32],
    pub tiles: Range<usize>,
    /// Windows that are pooled are 2 x 2: no tile cuts one.
    pub epilogue: Epilogue<'a>,
    /// Valid for all that is stored; nobody else uses what these tiles store.
    pub y: *mut f32,
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
            for channel in (0..c).step_by(L::LEN) {
                // SAFETY: the sums of all points are there, as asserted; the cells are in the image, and the caller
                // gave all of them; masked channels are neither read nor written; the caller has the instruction set.
                unsafe {
                    let sums = sums.as_ptr().add(i * g.sums_len() + channel);
                    let results = Results { g, epilogue: &epilogue, y, image, row, col, channel };
                    if c - channel >= L::LEN { results.store::<L, true>(sums) } else { results.store::<L, false>(sums) }
                }
            }
        }
    }
}

/// Some channels of the results of a tile.
struct Results<'a> {
    g: &'a Conv2d,
    epilogue: &'a Epilogue<'a>,
    y: *mut f32,
    image: usize,
    row: usize,
    col: usize,
    channel: usize,
}

impl Results<'_> {
    /// Makes them from the sums of the points, and stores those that are in the image: a whole vector of channels, or
    /// those that are left.
    ///
    /// # Safety
    /// The sums are valid, `y` is for all results, and nobody else uses these. The processor must have the instruction
    /// set.
    #[inline(always)]
    unsafe fn store<L: Lanes, const WHOLE: bool>(self, sums: *const f32) {
        let Results { g, epilogue, y, image, row, col, channel } = self;
        let c = g.out_c;
        let (height, width) = (g.out_h - row, g.out_w - col);
        let first = ((image * g.out_h + row) * g.out_w + col) * c + channel;
        let at = |dy: usize, dx: usize| first + (dy * g.out_w + dx) * c;
        // SAFETY: as promised.
        unsafe {
            let mask = L::first(c - channel);
            let load = |from: *const f32| if WHOLE { L::load(from) } else { L::load_part(from, mask) };
            let store = |value: L, to: *mut f32| if WHOLE { value.store(to) } else { value.store_part(to, mask) };
            let of_channel = |values: Option<&[f32]>, missing: f32| match values {
                Some(values) => load(values.as_ptr().add(channel)),
                None => L::splat(missing),
            };
            let (scale, bias) = (of_channel(epilogue.scale, 1.0), of_channel(epilogue.bias, 0.0));
            let mut lines = [[L::splat(0.0); TILE]; SEEN];
            for (dy, line) in lines.iter_mut().enumerate() {
                *line = turn_back::<L>(std::array::from_fn(|dx| load(sums.add((dy * SEEN + dx) * c))));
            }
            if let Some(pool) = &epilogue.pool {
                // The windows are 2 x 2, and whole ones of these results, since tiles begin at even rows and columns.
                for dx in (0..TILE).step_by(2) {
                    let mut left = turn_back::<L>(column(&lines, dx));
                    let mut right = turn_back::<L>(column(&lines, dx + 1));
                    for result in left.iter_mut().chain(&mut right) {
                        *result = epilogue.rectified(result.mul_add(scale, bias));
                    }
                    for dy in (0..TILE).step_by(2) {
                        let (row, col) = ((row + dy) / 2, (col + dx) / 2);
                        if row < pool.out_h && col < pool.out_w {
                            let cell = (image * pool.out_h + row) * pool.out_w + col;
                            let upper = left[dy].larger(right[dy]);
                            let lower = left[dy + 1].larger(right[dy + 1]);
                            store(upper.larger(lower), y.add(cell * c + channel));
                        }
                    }
                }
                return;
            }
            for dy in 0..TILE {
                for dx in TILE..2 * TILE {
                    // Where the next tile is stored, and its gate.
                    L::prefetch(y.wrapping_add(at(dy, dx)));
                    if let Some(gate) = epilogue.gate {
                        L::prefetch(gate.as_ptr().wrapping_add(at(dy, dx)));
                    }
                }
            }
            for dx in 0..TILE {
                let results = turn_back::<L>(column(&lines, dx));
                for (dy, result) in results.into_iter().enumerate() {
                    if dy >= height || dx >= width {
                        continue;
                    }
                    let to = y.add(at(dy, dx));
                    let mut result = result.mul_add(scale, bias);
                    if epilogue.sum {
                        result = result.add(load(to));
                    }
                    result = epilogue.rectified(result);
                    if let Some(gate) = epilogue.gate {
                        result = result.where_above_zero(load(gate.as_ptr().add(at(dy, dx))));
                    }
                    store(result, to);
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
