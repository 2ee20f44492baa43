//! The borders of a sequence, an image or a volume, and adding or taking them away.

use super::spatial::{channels, dims, lift, side, spatial_shape, volume};
use crate::error::{Error, Result};
use crate::runtime::threads;
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How many cells to add or to take away before and after each spatial axis.
///
/// One number means all sides; a number for each axis means both its sides; a pair for each axis means (before,
/// after): ((top, bottom), (left, right)) for an image. For a sequence, a pair is (before, after).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margins<const N: usize>(pub [[usize; 2]; N]);

impl<const N: usize> Serialize for Margins<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [only] => only.serialize(serializer),
            all => all.serialize(serializer),
        }
    }
}

impl<'de, const N: usize> Deserialize<'de> for Margins<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Side {
            Both(usize),
            Each([usize; 2]),
        }
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Sides {
            All(usize),
            Axes(Vec<Side>),
        }
        let sides = match Sides::deserialize(deserializer)? {
            Sides::All(n) => return Ok(n.into()),
            Sides::Axes(sides) => sides,
        };
        if let (1, [Side::Both(before), Side::Both(after)]) = (N, sides.as_slice()) {
            return Ok(Margins([[*before, *after]; N]));
        }
        let pairs: Vec<[usize; 2]> = sides
            .into_iter()
            .map(|side| match side {
                Side::Both(n) => [n, n],
                Side::Each(pair) => pair,
            })
            .collect();
        pairs.try_into().map(Margins).map_err(|pairs| {
            serde::de::Error::custom(format!("expected a number, or one or two for each of {N} axes, got {pairs:?}"))
        })
    }
}

impl<const N: usize> From<usize> for Margins<N> {
    fn from(n: usize) -> Self {
        Margins([[n, n]; N])
    }
}

impl<const N: usize> From<[[usize; 2]; N]> for Margins<N> {
    fn from(sides: [[usize; 2]; N]) -> Self {
        Margins(sides)
    }
}

impl From<(usize, usize)> for Margins<1> {
    fn from((before, after): (usize, usize)) -> Self {
        Margins([[before, after]])
    }
}

impl From<[usize; 2]> for Margins<2> {
    fn from([height, width]: [usize; 2]) -> Self {
        Margins([[height, height], [width, width]])
    }
}

impl From<(usize, usize)> for Margins<2> {
    fn from((height, width): (usize, usize)) -> Self {
        [height, width].into()
    }
}

impl From<((usize, usize), (usize, usize))> for Margins<2> {
    fn from(((top, bottom), (left, right)): ((usize, usize), (usize, usize))) -> Self {
        Margins([[top, bottom], [left, right]])
    }
}

impl From<[usize; 3]> for Margins<3> {
    fn from(sides: [usize; 3]) -> Self {
        Margins(sides.map(|n| [n, n]))
    }
}

impl From<(usize, usize, usize)> for Margins<3> {
    fn from((depth, height, width): (usize, usize, usize)) -> Self {
        [depth, height, width].into()
    }
}

impl<const N: usize> Margins<N> {
    /// The shape of an input, its channels last, whose sides `change` has made longer or shorter.
    pub(super) fn shape(
        self,
        input: &Shape,
        change: impl Fn(usize, [usize; 2], &'static str) -> Result<usize>,
    ) -> Result<Shape> {
        // Margins do not depend on the channels: with channels first in the data, images of any width have these last.
        let unknown = input.rank() == N + 2 && input.last().is_none();
        let channels = if unknown { 1 } else { channels::<N>(input)? };
        let shape = spatial_shape::<N>(input, channels, |axis, n| change(n, self.0[axis], side::<N>(axis)))?;
        let mut dims = shape.dims().to_vec();
        dims.iter_mut().skip(N + 1).filter(|_| unknown).for_each(|channels| *channels = None);
        Ok(Shape::new(dims))
    }

    /// `x` with borders of this value around each sample.
    pub(super) fn add(self, x: &Tensor, fill: f32) -> Result<Tensor> {
        let inner = volume::<N>(x.shape())?;
        let mut outer = inner;
        let sides = lift(self.0, [0, 0]);
        outer[1..4].iter_mut().zip(sides).for_each(|(n, [before, after])| *n += before + after);
        let mut y = x.sibling(dims::<N>(outer));
        let (run, rows) = ((inner[3] * inner[4]).max(1), inner[1] * inner[2]);
        let sample: usize = outer[1..].iter().product();
        threads::for_each_chunk(y.data_mut(), sample, |i, y| {
            y.fill(fill);
            for (row, x) in x.data().chunks_exact(run).enumerate().skip(i * rows).take(rows) {
                y[place(row, inner, outer, sides) - i * sample..][..run].copy_from_slice(x);
            }
        });
        Ok(y)
    }

    /// The inner part of each sample of `x`, whose sides must be longer than the margins.
    pub(super) fn take_away(self, x: &Tensor) -> Result<Tensor> {
        let outer = volume::<N>(x.shape())?;
        let mut inner = outer;
        let sides = lift(self.0, [0, 0]);
        for (n, [before, after]) in inner[1..4].iter_mut().zip(sides) {
            *n = n.checked_sub(before + after).ok_or_else(|| {
                Error::Shape(format!("an input of shape {:?} is smaller than the margins {self:?}", x.shape()))
            })?;
        }
        let mut y = x.sibling(dims::<N>(inner));
        let (run, rows) = ((inner[3] * inner[4]).max(1), inner[1] * inner[2]);
        threads::for_each_chunk(y.data_mut(), rows * run, |i, y| {
            for (row, y) in y.chunks_exact_mut(run).enumerate() {
                y.copy_from_slice(&x.data()[place(i * rows + row, inner, outer, sides)..][..run]);
            }
        });
        Ok(y)
    }
}

/// Where a row of the inner part begins in the whole.
fn place(row: usize, inner: [usize; 5], outer: [usize; 5], [front, top, left]: [[usize; 2]; 3]) -> usize {
    let (plane, line) = (row / inner[2], row % inner[2]);
    let (sample, depth) = (plane / inner[1], plane % inner[1]);
    let plane = sample * outer[1] + depth + front[0];
    ((plane * outer[2] + line + top[0]) * outer[3] + left[0]) * outer[4]
}
