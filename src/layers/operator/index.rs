//! Parts of a tensor, as Python's square brackets take them.

use crate::error::{Result, ensure};
use ndarray::{ArrayBase, Axis, IxDyn, RawData, Slice as Cut};

/// What is taken of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// One place, without the axis; from the end where it is negative.
    At(isize),
    /// The places from `start` up to `stop`, `step` apart, as Python counts them.
    Slice {
        /// The first one. Default: the beginning.
        start: Option<isize>,
        /// The one before which it ends. Default: the end.
        stop: Option<isize>,
        /// How far they are apart; negative: backwards.
        step: isize,
    },
    /// A new axis of size 1.
    NewAxis,
}

impl Index {
    /// All of an axis.
    pub const ALL: Index = Index::Slice { start: None, stop: None, step: 1 };
}

impl Index {
    /// The first place of a slice, how many there are, and how far apart.
    pub(super) fn range(&self, size: usize) -> Result<(usize, usize, isize)> {
        let Index::Slice { start, stop, step } = *self else { return Ok((0, size, 1)) };
        ensure!(step != 0, Argument, "the step of a slice is 0");
        let size = size as isize;
        // As Python does.
        let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
        let limit = |place: isize| (if place < 0 { place + size } else { place }).clamp(low, high);
        let start = start.map_or(if step > 0 { low } else { high }, limit);
        let stop = stop.map_or(if step > 0 { high } else { low }, limit);
        let span = if step > 0 { stop - start } else { start - stop };
        let count = if span > 0 { (span - 1) / step.abs() + 1 } else { 0 };
        Ok((start.max(0).unsigned_abs(), count.unsigned_abs(), step))
    }
}

/// A place that may count from the end.
pub(super) fn resolve_place(place: isize, size: usize) -> Result<usize> {
    let from_start = if place < 0 { place + size as isize } else { place };
    ensure!((0..size as isize).contains(&from_start), Argument, "index {place} is outside of an axis of {size} places");
    Ok(from_start.unsigned_abs())
}

/// What the indices take, the batch left out.
pub(super) fn part<S: RawData>(mut array: ArrayBase<S, IxDyn>, indices: &[Index]) -> Result<ArrayBase<S, IxDyn>> {
    let mut axis = 1;
    for index in indices {
        match index {
            Index::NewAxis => array = array.insert_axis(Axis(axis)),
            Index::At(place) => {
                let place = resolve_place(*place, array.len_of(Axis(axis)))?;
                array = array.index_axis_move(Axis(axis), place);
                continue;
            }
            slice => {
                let (first, count, step) = slice.range(array.len_of(Axis(axis)))?;
                let last = first as isize + count.saturating_sub(1) as isize * step;
                let (low, high) = (last.min(first as isize), last.max(first as isize));
                let cut = if count == 0 { Cut::new(0, Some(0), 1) } else { Cut::new(low, Some(high + 1), step) };
                array.slice_axis_inplace(Axis(axis), cut);
            }
        }
        axis += 1;
    }
    Ok(array)
}
