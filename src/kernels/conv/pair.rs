//! A tile of two lines at once, for lines so short that one alone fills half of the registers.

use crate::kernels::simd::{Isa, Lanes, Work};
use crate::kernels::tile::{End, Right, Sizes, Start, unroll};

/// The most rows of a line.
const MOST: usize = 7;

/// Whether a pair of lines of so many windows is one tile of a panel of so many columns.
pub(super) fn fits(isa: Isa, rows: usize, cols: usize) -> bool {
    let sizes = Sizes::of(isa);
    (1..=MOST).contains(&rows) && 2 * rows <= sizes.wide && cols > sizes.lanes
}

/// Two lines of windows in the data, each `step` apart, and what their sums are made of: as
/// [`Left`](crate::kernels::tile::Left), read by rows.
pub(super) struct Lines<'a> {
    pub data: &'a [f32],
    pub starts: [usize; 2],
    pub step: usize,
    pub segments: &'a [usize],
    pub run: usize,
}

/// Computes two lines of `rows` rows: the second one's results begin `y_line` values after the first one's.
///
/// # Safety
/// `y` is a pointer and the number of values from there on that are valid. Nobody else uses those of these tiles.
///
/// # Panics
/// When it does not [`fit`](fits), or something reaches out of a slice.
#[allow(clippy::too_many_arguments, reason = "as a tile")]
pub(super) unsafe fn pair_at(
    isa: Isa,
    rows: usize,
    lines: &Lines,
    right: &Right,
    start: Start,
    end: End,
    (y, y_len): (*mut f32, usize),
    y_step: usize,
    y_line: usize,
) {
    assert!(fits(isa, rows, right.cols), "a pair of {rows} rows");
    let (depth, cols) = (lines.segments.len() * lines.run, right.cols);
    let most = lines.starts[0].max(lines.starts[1]) + lines.segments.iter().fold(0, |most, &at| most.max(at));
    assert!(depth > 0 && most + (rows - 1) * lines.step + lines.run <= lines.data.len(), "a pair reads outside");
    assert!((depth - 1) * right.step + cols <= right.b.len(), "a pair reads outside of its panel");
    assert!(y_line + (rows - 1) * y_step + cols <= y_len, "a pair writes outside of y");
    let (scale, bias, sum) = start.parts();
    let (scale, bias) = (scale.map(|scale| &scale[..cols]), bias.map(|bias| &bias[..cols]));
    let most = if let End::Relu(most) = end { Some(most) } else { None };
    let gate = match end {
        End::Gate(gate) => {
            assert!(y_line + (rows - 1) * y_step + cols <= gate.len(), "a pair reads outside of its gate");
            Some(gate)
        }
        _ => None,
    };
    macro_rules! run {
        ($($rows:literal)*) => {
            match rows {
                // The assertions above are what a tile needs.
                $($rows => isa.run(Pair::<$rows> { lines, right, scale, bias, sum, most, gate, y, y_step, y_line }),)*
                _ => unreachable!("asserted"),
            }
        };
    }
    run!(1 2 3 4 5 6 7)
}

/// Everything is checked: only [`pair_at`] makes it.
struct Pair<'a, const ROWS: usize> {
    lines: &'a Lines<'a>,
    right: &'a Right<'a>,
    scale: Option<&'a [f32]>,
    bias: Option<&'a [f32]>,
    /// Whether what lies in the place of the results is added.
    sum: bool,
    /// Of a ReLU.
    most: Option<f32>,
    gate: Option<&'a [f32]>,
    y: *mut f32,
    y_step: usize,
    y_line: usize,
}

impl<const ROWS: usize> Work for Pair<'_, ROWS> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Pair { lines, right, scale, bias, sum, most, gate, y, y_step, y_line } = self;
        let &Lines { data, starts, step, segments, run } = lines;
        // SAFETY: all indices were checked when this was made; the columns of a panel are more than one vector and at
        // most two, the second one masked.
        unsafe {
            let mask = L::first(right.cols - L::LEN);
            let load = |from: *const f32| [L::load(from), L::load_part(from.add(L::LEN), mask)];
            let mut sums = [[[L::splat(0.0); 2]; ROWS]; 2];
            if let Some(bias) = bias.filter(|_| scale.is_none()) {
                sums = [[load(bias.as_ptr()); ROWS]; 2];
            }
            for line in 0..2 {
                for row in 0..ROWS {
                    let at = line * y_line + row * y_step;
                    for from in [Some(y.cast_const()), gate.map(<[f32]>::as_ptr)].into_iter().flatten() {
                        L::prefetch(from.wrapping_add(at));
                        L::prefetch(from.wrapping_add(at + L::LEN));
                    }
                }
            }
            let mut b = right.b.as_ptr();
            for segment in segments {
                // Every third one is used: the two after it are one and two steps away.
                let mut a = [[data.as_ptr(); ROWS]; 2];
                for (a, start) in a.iter_mut().zip(starts) {
                    for (third, a) in a.iter_mut().enumerate() {
                        *a = a.wrapping_add(start + segment + 3 * third * step);
                    }
                }
                for _ in 0..run {
                    let right_values = [L::load(b), L::load_part(b.add(L::LEN), mask)];
                    unroll!(row in 0..ROWS, {
                        let first = L::splat(*a[0][row / 3].add(row % 3 * step));
                        sums[0][row][0] = first.mul_add(right_values[0], sums[0][row][0]);
                        sums[0][row][1] = first.mul_add(right_values[1], sums[0][row][1]);
                        let second = L::splat(*a[1][row / 3].add(row % 3 * step));
                        sums[1][row][0] = second.mul_add(right_values[0], sums[1][row][0]);
                        sums[1][row][1] = second.mul_add(right_values[1], sums[1][row][1]);
                    });
                    unroll!(third in 0..ROWS.div_ceil(3), {
                        a[0][third] = L::opaque(a[0][third].wrapping_add(1));
                        a[1][third] = L::opaque(a[1][third].wrapping_add(1));
                    });
                    b = b.wrapping_add(right.step);
                }
            }
            let scale = scale.map(|scale| load(scale.as_ptr()));
            let offset = bias.map_or([L::splat(0.0); 2], |bias| load(bias.as_ptr()));
            let most = most.map(|most| L::splat(most));
            let gate = gate.map(|gate| gate.as_ptr());
            let finish = Finish { scale, offset, sum, most, gate, mask };
            unroll!(row in 0..ROWS, {
                finish.store(sums[0][row], y, row * y_step);
                finish.store(sums[1][row], y, y_line + row * y_step);
            });
        }
    }
}

/// What is done to the sums of a row.
struct Finish<L: Lanes> {
    scale: Option<[L; 2]>,
    /// Where there is a scale.
    offset: [L; 2],
    sum: bool,
    most: Option<L>,
    gate: Option<*const f32>,
    mask: L::Mask,
}

impl<L: Lanes> Finish<L> {
    /// # Safety
    /// From `at` on `y`, and the gate, are valid for these two vectors, the second one masked; the processor must have
    /// the instruction set.
    #[inline(always)]
    unsafe fn store(&self, [mut first, mut second]: [L; 2], y: *mut f32, at: usize) {
        // SAFETY: as promised.
        unsafe {
            let to = y.add(at);
            if let (Some(scale), offset) = (self.scale, self.offset) {
                (first, second) = (first.mul_add(scale[0], offset[0]), second.mul_add(scale[1], offset[1]));
            }
            if self.sum {
                (first, second) = (first.add(L::load(to)), second.add(L::load_part(to.add(L::LEN), self.mask)));
            }
            if let Some(most) = self.most {
                let zero = L::splat(0.0);
                (first, second) = (most.min(zero.max(first)), most.min(zero.max(second)));
            }
            if let Some(gate) = self.gate {
                let gate = gate.add(at);
                first = first.where_above_zero(L::load(gate));
                second = second.where_above_zero(L::load_part(gate.add(L::LEN), self.mask));
            }
            first.store(to);
            second.store_part(to.add(L::LEN), self.mask);
        }
    }
}
