//! What layers for sequences, images and volumes share: one code for one, two and three spatial axes.
//!
//! `N` is the number of spatial axes of `(batch, …, channels)`. Kernels see three of them: those that
//! a layer lacks have size 1 and stand in front.

use crate::error::{Context, Error, Result, ensure};
use crate::kernels::pool3d::Pool3d;
use crate::runtime::threads;
use crate::shape::{Dims, Padding, Shape, Window, padded};
use crate::tensor::Tensor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number for each spatial axis, outermost first: how Keras writes `kernel_size`, `strides`, ….
///
/// One number stands for all of them: for an image `2` and `[2, 2]`, `[height, width]`, mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes<const N: usize>(pub [usize; N]);

impl<const N: usize> Sizes<N> {
    /// With ones for the axes that are not there.
    pub(super) fn lift(self) -> [usize; 3] {
        lift(self.0, 1)
    }

    /// Whether all are 1.
    pub(super) fn ones(self) -> bool {
        self.0 == [1; N]
    }

    /// Checks that none of them, an argument called `name`, is zero.
    pub(super) fn check(self, name: &str) -> Result<()> {
        let all = if N == 1 {
            "it"
        } else if N == 2 {
            "both"
        } else {
            "all"
        };
        ensure!(self.0.iter().all(|&n| n > 0), Argument, "{name} is {:?}; {all} must be at least 1", self.0);
        Ok(())
    }
}

impl<const N: usize> From<usize> for Sizes<N> {
    fn from(n: usize) -> Self {
        Sizes([n; N])
    }
}

impl<const N: usize> From<[usize; N]> for Sizes<N> {
    fn from(sizes: [usize; N]) -> Self {
        Sizes(sizes)
    }
}

impl From<(usize, usize)> for Sizes<2> {
    fn from((height, width): (usize, usize)) -> Self {
        Sizes([height, width])
    }
}

impl From<(usize, usize, usize)> for Sizes<3> {
    fn from((depth, height, width): (usize, usize, usize)) -> Self {
        Sizes([depth, height, width])
    }
}

impl<const N: usize> Serialize for Sizes<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Sizes<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            One(usize),
            Many(Vec<usize>),
        }
        match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(n) => Ok(n.into()),
            OneOrMany::Many(sizes) => sizes.try_into().map(Sizes).map_err(|sizes| {
                serde::de::Error::custom(format!(
                    "expected one number, or {N}, for the {N} spatial axes, got {sizes:?}"
                ))
            }),
        }
    }
}

/// The place of the channels (Keras: `data_format`).
///
/// Values lie in memory with the channels last; a layer for `channels_first` turns its input and its output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataFormat {
    /// `(batch, …, channels)`.
    #[default]
    ChannelsLast,
    /// `(batch, channels, …)`.
    ChannelsFirst,
}

impl Serialize for DataFormat {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(if *self == DataFormat::ChannelsLast { "channels_last" } else { "channels_first" })
    }
}

impl<'de> Deserialize<'de> for DataFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        match Option::<String>::deserialize(deserializer)?.as_deref() {
            None | Some("channels_last") => Ok(DataFormat::ChannelsLast),
            Some("channels_first") => Ok(DataFormat::ChannelsFirst),
            Some(other) => Err(serde::de::Error::custom(format!(
                "data_format is '{other}'; it must be 'channels_last' or 'channels_first'"
            ))),
        }
    }
}

impl DataFormat {
    /// The shape with the channels last.
    pub(super) fn last_shape(self, shape: &Shape) -> Shape {
        let mut dims = shape.dims().to_vec();
        if self == DataFormat::ChannelsFirst && dims.len() > 2 {
            dims[1..].rotate_left(1);
        }
        Shape::new(dims)
    }

    /// The opposite of [`last_shape`](Self::last_shape).
    pub(super) fn given_shape(self, shape: Shape) -> Shape {
        let mut dims = shape.dims().to_vec();
        if self == DataFormat::ChannelsFirst && dims.len() > 2 {
            dims[1..].rotate_right(1);
        }
        Shape::new(dims)
    }

    /// The values with the channels last.
    pub(super) fn last(self, x: Tensor) -> Tensor {
        if self == DataFormat::ChannelsLast || x.rank() < 3 {
            return x;
        }
        let mut shape = Dims::from_slice(x.shape());
        shape[1..].rotate_left(1);
        let channels = x.shape()[1];
        turn(&x, channels, shape)
    }

    /// The opposite of [`last`](Self::last).
    pub(super) fn given(self, x: Tensor) -> Tensor {
        if self == DataFormat::ChannelsLast || x.rank() < 3 {
            return x;
        }
        let mut shape = Dims::from_slice(x.shape());
        shape[1..].rotate_right(1);
        let cells = shape[2..].iter().product();
        turn(&x, cells, shape)
    }
}

/// Each sample, a matrix of so many rows, with rows and columns exchanged.
fn turn(x: &Tensor, rows: usize, shape: Dims) -> Tensor {
    let mut y = x.sibling(&shape);
    let sample = x.len() / x.batch().max(1);
    let cols = sample / rows.max(1);
    let values = x.data();
    threads::for_each_chunk(y.data_mut(), sample, |i, y| {
        let x = &values[i * sample..][..sample];
        for (col, y) in y.chunks_exact_mut(rows).enumerate() {
            y.iter_mut().enumerate().for_each(|(row, y)| *y = x[row * cols + col]);
        }
    });
    y
}

/// Puts values for the spatial axes that are not there in front.
pub(super) fn lift<T: Copy, const N: usize>(values: [T; N], missing: T) -> [T; 3] {
    const { assert!(N >= 1 && N <= 3, "layers have one to three spatial axes") }
    let mut lifted = [missing; 3];
    lifted[3 - N..].copy_from_slice(&values);
    lifted
}

/// The name of the class for this number of axes.
pub(super) fn class_of<const N: usize>(names: [&'static str; 3]) -> &'static str {
    names[N.clamp(1, 3) - 1]
}

/// The windows along each axis of an input that is meant with margins of zeros around the last two axes: those of
/// kernel size, strides and dilation (in this order) over the larger input, whose margins are padding.
pub(super) fn padded_windows(
    input: [usize; 5],
    [rows, cols]: [[usize; 2]; 2],
    [kernel, strides, dilation]: [[usize; 3]; 3],
    padding: Padding,
) -> Result<[Window; 3]> {
    let window = |axis: usize, [before, after]: [usize; 2]| {
        let window = Window::new(
            padded(input[axis + 1], [before, after])?,
            kernel[axis],
            strides[axis],
            dilation[axis],
            padding,
        )?;
        Ok::<_, Error>(Window { before: window.before + before, after: window.after + after, ..window })
    };
    Ok([window(0, [0, 0])?, window(1, rows)?, window(2, cols)?])
}

/// What an input must look like.
fn layout<const N: usize>() -> &'static str {
    class_of::<N>([
        "(batch, steps, channels)",
        "(batch, height, width, channels)",
        "(batch, depth, height, width, channels)",
    ])
}

/// The dimensions of a batch that has its channels last, with three spatial axes.
pub(super) fn volume<const N: usize>(shape: &[usize]) -> Result<[usize; 5]> {
    let wrong = || Error::Shape(format!("expected {}, got an input of shape {shape:?}", layout::<N>()));
    let [batch, cells @ .., channels] = shape else { return Err(wrong()) };
    let cells: [usize; N] = cells.try_into().map_err(|_| wrong())?;
    let [depth, height, width] = lift(cells, 1);
    Ok([*batch, depth, height, width, *channels])
}

/// The dimensions of a tensor with `N` spatial axes.
pub(super) fn dims<const N: usize>(volume: [usize; 5]) -> Dims {
    std::iter::once(volume[0]).chain(volume[4 - N..].iter().copied()).collect()
}

/// The channels of a shape that has them last.
pub(super) fn channels<const N: usize>(input: &Shape) -> Result<usize> {
    match input.last() {
        _ if input.rank() != N + 2 => Err(Error::Shape(format!("expected an input {}, got {input}", layout::<N>()))),
        Some(channels) => Ok(channels),
        None => Err(Error::Shape(format!("the number of channels, the last dimension of {input}, must be known"))),
    }
}

/// The shape `(batch, …, channels)` whose spatial sizes are `size(axis, size of the input)`.
pub(super) fn spatial_shape<const N: usize>(
    input: &Shape,
    channels: usize,
    size: impl Fn(usize, usize) -> Result<usize>,
) -> Result<Shape> {
    let mut dims = vec![input.dims()[0]];
    for axis in 0..N {
        let out = input.get(axis + 1).map(|n| size(axis, n)).transpose();
        dims.push(out.at(|| format!("{} of input {input}", side::<N>(axis)))?);
    }
    dims.push(Some(channels));
    Ok(Shape::new(dims))
}

/// The name of a spatial axis.
pub(super) fn side<const N: usize>(axis: usize) -> &'static str {
    if N == 1 { "length" } else { ["depth", "height", "width"][(axis + 3 - N).min(2)] }
}

/// The shape after a window slid over it.
pub(super) fn window_shape<const N: usize>(
    input: &Shape,
    size: Sizes<N>,
    strides: Sizes<N>,
    dilation: Sizes<N>,
    padding: Padding,
    channels: usize,
) -> Result<Shape> {
    spatial_shape::<N>(input, channels, |axis, n| {
        Ok(Window::new(n, size.0[axis], strides.0[axis], dilation.0[axis], padding)?.out)
    })
}

/// Checks that the padding is one that all layers have.
pub(super) fn check_padding(padding: Padding) -> Result<()> {
    ensure!(padding != Padding::Causal, Argument, "padding is causal, which Conv1D alone has; use valid or same");
    Ok(())
}

/// The geometry of a pooling.
pub(super) fn pooling<const N: usize>(
    input: &[usize],
    pool_size: Sizes<N>,
    strides: Sizes<N>,
    padding: Padding,
) -> Result<Pool3d> {
    Pool3d::new(volume::<N>(input)?, pool_size.lift(), strides.lift(), padding)
}
