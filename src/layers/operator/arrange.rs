//! The values of a sample in another order, repeated, left out, or between filled places.
//!
//! Each of these is a table: for each value of the result the place in the sample that it comes from. The gradient
//! goes back the same way.

use super::super::spatial::DataFormat;
use super::reduction::inner_axes;
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Forward, Values};
use crate::runtime::threads;
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use ndarray::{ArrayD, Axis, IxDyn, stack};
use serde::{Deserialize, Serialize};

/// An integer or several, as Keras writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Integers {
    /// One.
    One(isize),
    /// A list of them.
    Many(Vec<isize>),
}

impl Integers {
    /// All of them.
    pub fn list(&self) -> &[isize] {
        match self {
            Integers::One(one) => std::slice::from_ref(one),
            Integers::Many(list) => list,
        }
    }
}

/// What stands in the places that a padding adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PadMode {
    /// A value: `00|abc|00`.
    Constant,
    /// The values before the edge, backwards: `cb|abc|ba`.
    Reflect,
    /// The same with the edge itself: `ba|abc|cb`.
    Symmetric,
    /// The edge: `aa|abc|cc`.
    Edge,
}

/// Another arrangement of the values of each sample (Keras: the operations of these names in `keras.ops`, with their
/// arguments). Axes count the batch, 0, which stays; negative ones count from the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "class_name", content = "config")]
#[allow(missing_docs)] // the fields are Keras' arguments
pub enum Arrange {
    /// Backwards along axes.
    Flip { axis: Integers },
    /// Backwards along axis 1.
    Fliplr {},
    /// Moved along axes; what leaves at one end comes back at the other.
    Roll { shift: Integers, axis: Integers },
    /// The whole tensor, so many times along each axis.
    Tile { repeats: Integers },
    /// Each place of an axis, so many times.
    Repeat { repeats: Integers, axis: isize },
    /// Axes at other places.
    Moveaxis { source: Integers, destination: Integers },
    /// Two axes in each other's places.
    Swapaxes { axis1: isize, axis2: isize },
    /// So many parts of equal size, or parts that end at these places: one output each.
    Split { indices_or_sections: Integers, axis: isize },
    /// The same, where the first parts may be larger by 1.
    ArraySplit { indices_or_sections: Integers, axis: isize },
    /// The places of an axis, one output each.
    Unstack { num: Option<usize>, axis: isize },
    /// More places before and after, axis by axis.
    Pad {
        pad_width: Vec<[usize; 2]>,
        mode: PadMode,
        #[serde(skip)]
        constant_values: f32,
    },
    /// Zeros above the `k`-th diagonal of the last two axes.
    Tril { k: isize },
    /// Zeros below it.
    Triu { k: isize },
    /// A diagonal of two axes, as the last axis.
    Diagonal { offset: isize, axis1: isize, axis2: isize },
    /// Turned `k` times by 90 degrees, from the first of two axes to the second.
    Rot90 { k: isize, axes: [isize; 2] },
    /// These places of an axis, which becomes axes of this shape.
    Take {
        axis: isize,
        #[serde(skip)]
        indices: Vec<isize>,
        #[serde(skip)]
        shape: Vec<usize>,
    },
    /// Blocks of `block_size` by `block_size` pixels from the channels of each, row by row (pixel shuffle).
    DepthToSpace { block_size: usize, data_format: DataFormat },
    /// The pixels of each such block as channels of one.
    SpaceToDepth { block_size: usize, data_format: DataFormat },
}

/// Stands for a value that comes from nowhere.
const FILLED: usize = usize::MAX;

impl Arrange {
    /// The names of all.
    pub(super) const CLASSES: &[&str] = &[
        "Flip",
        "Fliplr",
        "Roll",
        "Tile",
        "Repeat",
        "Moveaxis",
        "Swapaxes",
        "Split",
        "ArraySplit",
        "Unstack",
        "Pad",
        "Tril",
        "Triu",
        "Diagonal",
        "Rot90",
        "Take",
        "DepthToSpace",
        "SpaceToDepth",
    ];

    pub(super) fn name(&self) -> &'static str {
        match self {
            Arrange::Flip { .. } => "Flip",
            Arrange::Fliplr {} => "Fliplr",
            Arrange::Roll { .. } => "Roll",
            Arrange::Tile { .. } => "Tile",
            Arrange::Repeat { .. } => "Repeat",
            Arrange::Moveaxis { .. } => "Moveaxis",
            Arrange::Swapaxes { .. } => "Swapaxes",
            Arrange::Split { .. } => "Split",
            Arrange::ArraySplit { .. } => "ArraySplit",
            Arrange::Unstack { .. } => "Unstack",
            Arrange::Pad { .. } => "Pad",
            Arrange::Tril { .. } => "Tril",
            Arrange::Triu { .. } => "Triu",
            Arrange::Diagonal { .. } => "Diagonal",
            Arrange::Rot90 { .. } => "Rot90",
            Arrange::Take { .. } => "Take",
            Arrange::DepthToSpace { .. } => "DepthToSpace",
            Arrange::SpaceToDepth { .. } => "SpaceToDepth",
        }
    }

    fn fill(&self) -> f32 {
        match self {
            Arrange::Pad { constant_values, .. } => *constant_values,
            _ => 0.0,
        }
    }

    /// For each output, where its values come from in a sample of these dimensions, the batch among them.
    fn places(&self, dims: &[usize]) -> Result<Vec<ArrayD<usize>>> {
        let mut one = Dims::from_slice(dims);
        ensure!(!one.is_empty(), Shape, "a single value cannot be arranged");
        one[0] = 1;
        let count = (0..one.iter().product()).collect();
        let mut at = ArrayD::from_shape_vec(IxDyn(&one), count).map_err(|error| Error::Shape(error.to_string()))?;
        let axis_of = |axis: isize| Ok::<_, Error>(inner_axes(&[axis], dims.len())?[0]);
        match self {
            Arrange::Flip { axis } => {
                inner_axes(axis.list(), dims.len())?.into_iter().for_each(|axis| at.invert_axis(Axis(axis)));
            }
            Arrange::Fliplr {} => at.invert_axis(Axis(axis_of(1)?)),
            Arrange::Roll { shift, axis } => {
                let (shift, axes) = (shift.list(), axis.list());
                ensure!(
                    shift.len() == axes.len() || shift.len() == 1,
                    Argument,
                    "shift {shift:?} and axis {axes:?} differ in number"
                );
                for (&axis, shift) in axes.iter().zip(shift.iter().cycle()) {
                    let axis = axis_of(axis)?;
                    let n = one[axis] as isize;
                    at = along(&at, axis, (0..n).map(|i| Some((i - shift).rem_euclid(n).unsigned_abs())));
                }
            }
            Arrange::Tile { repeats } => {
                let list = repeats.list();
                let first = dims.len().checked_sub(list.len()).ok_or_else(|| {
                    Error::Argument(format!("repeats {list:?} are more than the {} axes there are", dims.len()))
                })?;
                for (axis, &repeats) in (first..).zip(list) {
                    let n = one[axis];
                    ensure!(
                        repeats >= 0 && (axis > 0 || repeats == 1),
                        Argument,
                        "repeats are {list:?}; the batch stays"
                    );
                    at = along(&at, axis, (0..n * repeats.unsigned_abs()).map(|i| Some(i % n)));
                }
            }
            Arrange::Repeat { repeats, axis } => {
                let (axis, list) = (axis_of(*axis)?, repeats.list());
                let n = one[axis];
                ensure!(
                    (list.len() == n || list.len() == 1) && list.iter().all(|&times| times >= 0),
                    Argument,
                    "repeats are {list:?}; one for each of {n} places, or one for all, is needed"
                );
                let times = (0..n).zip(list.iter().cycle());
                at = along(&at, axis, times.flat_map(|(i, &times)| std::iter::repeat_n(Some(i), times.unsigned_abs())));
            }
            Arrange::Moveaxis { source, destination } => {
                let all = |list: &Integers| list.list().iter().map(|&axis| axis_of(axis)).collect::<Result<Vec<_>>>();
                let (source, destination) = (all(source)?, all(destination)?);
                ensure!(source.len() == destination.len(), Argument, "source and destination differ in number");
                let mut order: Vec<usize> = (0..dims.len()).filter(|axis| !source.contains(axis)).collect();
                let mut moves: Vec<_> = destination.into_iter().zip(source).collect();
                moves.sort_unstable();
                moves.into_iter().for_each(|(to, axis)| order.insert(to.min(order.len()), axis));
                ensure!(order.len() == dims.len(), Argument, "source and destination name an axis twice");
                at = at.permuted_axes(order);
            }
            Arrange::Swapaxes { axis1, axis2 } => at.swap_axes(axis_of(*axis1)?, axis_of(*axis2)?),
            Arrange::Split { indices_or_sections, axis } | Arrange::ArraySplit { indices_or_sections, axis } => {
                let axis = axis_of(*axis)?;
                let bounds = self.bounds(indices_or_sections, one[axis])?;
                return Ok(bounds.windows(2).map(|ends| along(&at, axis, (ends[0]..ends[1]).map(Some))).collect());
            }
            Arrange::Unstack { num, axis } => {
                let axis = axis_of(*axis)?;
                ensure!(
                    num.is_none_or(|num| num == one[axis]),
                    Shape,
                    "num is {num:?}, but the axis has {} places",
                    one[axis]
                );
                return Ok(at.axis_iter(Axis(axis)).map(|part| part.to_owned()).collect());
            }
            Arrange::Pad { pad_width, mode, .. } => {
                ensure!(
                    pad_width.len() == dims.len() && pad_width[0] == [0, 0],
                    Argument,
                    "pad_width is {pad_width:?}; it must have a pair for each of {} axes, [0, 0] for the batch",
                    dims.len()
                );
                for (axis, &[before, after]) in pad_width.iter().enumerate().skip(1) {
                    let n = one[axis];
                    let most = match mode {
                        PadMode::Constant => usize::MAX,
                        PadMode::Reflect => n.saturating_sub(1),
                        PadMode::Symmetric => n,
                        PadMode::Edge if n == 0 => 0,
                        PadMode::Edge => usize::MAX,
                    };
                    ensure!(
                        before.max(after) <= most,
                        Argument,
                        "pad_width is {pad_width:?}, but an axis of {n} can be continued by {most} in this mode"
                    );
                    let n = n as isize;
                    let place = |i: isize| match mode {
                        _ if (0..n).contains(&i) => Some(i.unsigned_abs()),
                        PadMode::Constant => None,
                        PadMode::Reflect if i < 0 => Some(i.unsigned_abs()),
                        PadMode::Reflect => Some((2 * (n - 1) - i).unsigned_abs()),
                        PadMode::Symmetric if i < 0 => Some((-i - 1).unsigned_abs()),
                        PadMode::Symmetric => Some((2 * n - 1 - i).unsigned_abs()),
                        PadMode::Edge => Some(i.clamp(0, n - 1).unsigned_abs()),
                    };
                    at = along(&at, axis, (-(before as isize)..n + after as isize).map(place));
                }
            }
            Arrange::Tril { k } | Arrange::Triu { k } => {
                ensure!(dims.len() > 2, Shape, "a diagonal needs two axes besides the batch");
                let lower = matches!(self, Arrange::Tril { .. });
                for (index, place) in at.indexed_iter_mut() {
                    let (i, j) = (index[dims.len() - 2] as isize, index[dims.len() - 1] as isize);
                    if if lower { j - i > *k } else { j - i < *k } {
                        *place = FILLED;
                    }
                }
            }
            Arrange::Diagonal { offset, axis1, axis2 } => {
                let (a, b) = (axis_of(*axis1)?, axis_of(*axis2)?);
                ensure!(a != b, Argument, "axis1 and axis2 are the same axis");
                let down = offset.min(&0).unsigned_abs();
                let right = offset.max(&0).unsigned_abs();
                let n = one[a].saturating_sub(down).min(one[b].saturating_sub(right));
                ensure!(n > 0, Shape, "there is no diagonal {offset} in axes of sizes {} and {}", one[a], one[b]);
                let value = |i: usize| {
                    let (high, at_high, low, at_low) =
                        if a > b { (a, i + down, b, i + right) } else { (b, i + right, a, i + down) };
                    at.view().index_axis_move(Axis(high), at_high).index_axis_move(Axis(low), at_low)
                };
                let parts: Vec<_> = (0..n).map(value).collect();
                at = stack(Axis(dims.len() - 2), &parts).map_err(|error| Error::Shape(error.to_string()))?;
            }
            Arrange::Rot90 { k, axes } => {
                let (a, b) = (axis_of(axes[0])?, axis_of(axes[1])?);
                ensure!(a != b, Argument, "axes {axes:?} are the same axis");
                match k.rem_euclid(4) {
                    0 => {}
                    2 => [a, b].into_iter().for_each(|axis| at.invert_axis(Axis(axis))),
                    1 => {
                        at.invert_axis(Axis(b));
                        at.swap_axes(a, b);
                    }
                    _ => {
                        at.swap_axes(a, b);
                        at.invert_axis(Axis(b));
                    }
                }
            }
            Arrange::Take { axis, indices, shape } => {
                let axis = axis_of(*axis)?;
                let n = one[axis];
                let places = indices.iter().map(|&i| super::index::resolve_place(i, n)).collect::<Result<Vec<_>>>()?;
                at = along(&at, axis, places.into_iter().map(Some));
                let dims: Vec<usize> = one[..axis].iter().chain(shape).chain(&one[axis + 1..]).copied().collect();
                at = at.into_shape_with_order(dims).map_err(|error| Error::Shape(error.to_string()))?;
            }
            Arrange::DepthToSpace { block_size, data_format } | Arrange::SpaceToDepth { block_size, data_format } => {
                at = self.blocks(at, *block_size, *data_format)?;
            }
        }
        Ok(vec![at])
    }

    /// Blocks of pixels from channels, or the other way round.
    fn blocks(&self, at: ArrayD<usize>, n: usize, format: DataFormat) -> Result<ArrayD<usize>> {
        let first = format == DataFormat::ChannelsFirst;
        let (height, width, deep) = match *at.shape() {
            [_, deep, height, width] if first => (height, width, deep),
            [_, height, width, deep] => (height, width, deep),
            _ => return Err(Error::Shape("it needs images: a batch of three axes".to_owned())),
        };
        let apart = matches!(self, Arrange::DepthToSpace { .. });
        let fits = match apart {
            true => n > 0 && deep.is_multiple_of(n * n),
            false => n > 0 && height.is_multiple_of(n) && width.is_multiple_of(n),
        };
        ensure!(fits, Shape, "{height}x{width} pixels of {deep} channels do not fit blocks of {n}x{n}");
        // The place in the block is the slower one of two indices of channels, but with the channels in front the faster.
        let (split, order, joined) = if apart {
            let deep = deep / (n * n);
            match first {
                false => ([1, height, width, n, n, deep], [0, 1, 3, 2, 4, 5], [1, height * n, width * n, deep]),
                true => ([1, deep, n, n, height, width], [0, 1, 4, 2, 5, 3], [1, deep, height * n, width * n]),
            }
        } else {
            let (rows, columns) = (height / n, width / n);
            match first {
                false => ([1, rows, n, columns, n, deep], [0, 1, 3, 2, 4, 5], [1, rows, columns, n * n * deep]),
                true => ([1, deep, rows, n, columns, n], [0, 1, 3, 5, 2, 4], [1, deep * n * n, rows, columns]),
            }
        };
        let shape = |error: ndarray::ShapeError| Error::Shape(error.to_string());
        let at = at.as_standard_layout().into_owned().into_shape_with_order(IxDyn(&split)).map_err(shape)?;
        let at = at.permuted_axes(order.to_vec()).as_standard_layout().into_owned();
        at.into_shape_with_order(IxDyn(&joined)).map_err(shape)
    }

    /// Where the parts of an axis of `n` places begin and end.
    fn bounds(&self, parts: &Integers, n: usize) -> Result<Vec<usize>> {
        match parts {
            Integers::One(sections) => {
                let sections = sections.unsigned_abs();
                let even = matches!(self, Arrange::Split { .. });
                ensure!(
                    sections > 0 && (!even || n.is_multiple_of(sections)),
                    Shape,
                    "an axis of {n} places cannot be split into {sections} equal parts"
                );
                let larger = n % sections;
                Ok((0..=sections).map(|i| i * (n / sections) + i.min(larger)).collect())
            }
            Integers::Many(places) => {
                let place = |place: &isize| {
                    let place = if *place < 0 { place + n as isize } else { *place };
                    place.clamp(0, n as isize).unsigned_abs()
                };
                let mut bounds = vec![0];
                bounds.extend(places.iter().map(place));
                bounds.push(n);
                // As a slice of Python, a part that would end before it begins is empty.
                ensure!(bounds.is_sorted(), Argument, "the places {places:?} to split at do not ascend");
                Ok(bounds)
            }
        }
    }

    /// Sizes that are not known are tried with two values: what comes out the same for both is known.
    pub(super) fn output_shapes(&self, x: &Shape) -> Result<Vec<Shape>> {
        let with = |unknown: usize| {
            let dims: Vec<usize> = x.dims().iter().map(|size| size.unwrap_or(unknown)).collect();
            let shapes = self.places(&dims)?.iter().map(|places| places.shape().to_vec()).collect::<Vec<_>>();
            Ok::<_, Error>(shapes)
        };
        let (first, second) = (with(24)?, if x.sample_len().is_some() { None } else { Some(with(48)?) });
        let second = second.unwrap_or_else(|| first.clone());
        ensure!(first.len() == second.len(), Shape, "the size of an axis of {x} must be known to count the outputs");
        let shape = |(first, second): (&Vec<usize>, &Vec<usize>)| {
            let sizes = first.iter().zip(second).skip(1).map(|(a, b)| (a == b).then_some(*a));
            Shape::new(std::iter::once(x.get(0)).chain(sizes).collect::<Vec<_>>())
        };
        Ok(first.iter().zip(&second).map(shape).collect())
    }

    pub(super) fn forward(&self, x: &Tensor, cx: &mut Forward<'_>) -> Result<Values> {
        cx.save_shape(x.shape());
        let (fill, sample) = (self.fill(), x.len() / x.batch().max(1));
        let gather = |places: ArrayD<usize>| {
            let mut dims = Dims::from_slice(places.shape());
            dims[0] = x.batch();
            let mut y = cx.scratch(dims);
            let places: Vec<usize> = places.iter().copied().collect();
            if !places.is_empty() {
                threads::for_each_chunk(y.data_mut(), places.len(), |i, y| {
                    let x = &x.data()[i * sample..][..sample];
                    y.iter_mut().zip(&places).for_each(|(y, &at)| *y = if at == FILLED { fill } else { x[at] });
                });
            }
            y
        };
        Ok(self.places(x.shape())?.into_iter().map(gather).collect())
    }

    pub(super) fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Tensor> {
        let dims = cx.restore_shape()?;
        let mut dx = cx.scratch(dims);
        dx.data_mut().fill(0.0);
        let sample = dx.len() / dx.batch().max(1);
        let all = self.places(dx.shape())?;
        for (g, places) in gradients.into_iter().zip(all) {
            let places: Vec<usize> = places.iter().copied().collect();
            if sample == 0 || places.is_empty() {
                continue;
            }
            threads::for_each_chunk(dx.data_mut(), sample, |i, dx| {
                let g = &g.data()[i * places.len()..][..places.len()];
                places.iter().zip(g).filter(|(at, _)| **at != FILLED).for_each(|(&at, g)| dx[at] += g);
            });
        }
        Ok(dx)
    }
}

/// What stands at these places of an axis.
fn along(at: &ArrayD<usize>, axis: usize, places: impl Iterator<Item = Option<usize>>) -> ArrayD<usize> {
    let places: Vec<Option<usize>> = places.collect();
    let mut dims = at.shape().to_vec();
    dims[axis] = places.len();
    let mut result = ArrayD::from_elem(IxDyn(&dims), FILLED);
    for (mut to, place) in result.axis_iter_mut(Axis(axis)).zip(places) {
        if let Some(place) = place {
            to.assign(&at.index_axis(Axis(axis), place));
        }
    }
    result
}
