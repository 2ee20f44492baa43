//! The four borders of an image, and adding or taking them away.

use super::image_channels;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// How many rows and columns to add or to take away at the four sides of an image.
///
/// One number means all four sides; a pair means (top and bottom, left and right); two pairs mean
/// ((top, bottom), (left, right)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Sides")]
pub struct Margins(pub [[usize; 2]; 2]);

#[derive(Deserialize)]
#[serde(untagged)]
enum Sides {
    All(usize),
    Two([usize; 2]),
    Four([[usize; 2]; 2]),
}

impl From<Sides> for Margins {
    fn from(sides: Sides) -> Self {
        match sides {
            Sides::All(n) => n.into(),
            Sides::Two(pair) => pair.into(),
            Sides::Four(pairs) => Margins(pairs),
        }
    }
}

impl Serialize for Margins {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl From<usize> for Margins {
    fn from(n: usize) -> Self {
        Margins([[n, n], [n, n]])
    }
}

impl From<[usize; 2]> for Margins {
    fn from([height, width]: [usize; 2]) -> Self {
        Margins([[height, height], [width, width]])
    }
}

impl From<(usize, usize)> for Margins {
    fn from((height, width): (usize, usize)) -> Self {
        [height, width].into()
    }
}

impl From<[[usize; 2]; 2]> for Margins {
    fn from(sides: [[usize; 2]; 2]) -> Self {
        Margins(sides)
    }
}

impl From<((usize, usize), (usize, usize))> for Margins {
    fn from(((top, bottom), (left, right)): ((usize, usize), (usize, usize))) -> Self {
        Margins([[top, bottom], [left, right]])
    }
}

impl Margins {
    /// The shape of an image whose sides `change` has made longer or shorter.
    pub(super) fn shape(
        self,
        input: &Shape,
        change: impl Fn(usize, [usize; 2], &'static str) -> Result<usize>,
    ) -> Result<Shape> {
        image_channels(input)?;
        let mut dims = input.dims().to_vec();
        for (axis, name) in [(1, "height"), (2, "width")] {
            dims[axis] = dims[axis].map(|n| change(n, self.0[axis - 1], name)).transpose()?;
        }
        Ok(Shape::new(dims))
    }

    /// `x` with borders of zeros around each image.
    pub(super) fn add(self, x: &Tensor) -> Result<Tensor> {
        let [batch, h, w, c] = image(x)?;
        let [[top, bottom], [left, right]] = self.0;
        let mut y = x.sibling([batch, top + h + bottom, left + w + right, c]);
        y.data_mut().fill(0.0);
        let (wide, tall) = (left + w + right, top + h + bottom);
        for (i, row) in x.data().chunks_exact((w * c).max(1)).enumerate() {
            let at = ((i / h * tall + top + i % h) * wide + left) * c;
            y.data_mut()[at..at + row.len()].copy_from_slice(row);
        }
        Ok(y)
    }

    /// The inner part of each image of `x`, whose sides must be longer than the margins.
    pub(super) fn take_away(self, x: &Tensor) -> Result<Tensor> {
        let [batch, tall, wide, c] = image(x)?;
        let [[top, bottom], [left, right]] = self.0;
        let (Some(h), Some(w)) = (tall.checked_sub(top + bottom), wide.checked_sub(left + right)) else {
            return Err(Error::Shape(format!(
                "an input of shape {:?} is smaller than the margins {self:?}",
                x.shape()
            )));
        };
        let mut y = x.sibling([batch, h, w, c]);
        for (i, row) in y.data_mut().chunks_exact_mut((w * c).max(1)).enumerate() {
            let at = ((i / h * tall + top + i % h) * wide + left) * c;
            row.copy_from_slice(&x.data()[at..at + row.len()]);
        }
        Ok(y)
    }
}

/// The dimensions of a batch of images.
pub(super) fn image(x: &Tensor) -> Result<[usize; 4]> {
    x.shape().try_into().map_err(|_| {
        Error::Shape(format!("expected (batch, height, width, channels), got an input of shape {:?}", x.shape()))
    })
}
