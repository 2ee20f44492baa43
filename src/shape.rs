//! Shapes as layers see them before there is data, and the geometry of sliding windows.

use crate::error::{Error, Result, ensure};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The dimensions of a tensor that exists.
pub type Dims = smallvec::SmallVec<[usize; 6]>;

/// The shape of a symbolic tensor: the batch first, `None` where the size is not known yet.
///
/// Prints as Keras does: `(None, 28, 28, 1)`.
///
/// ```
/// use cornu::Shape;
/// let shape = Shape::batch_of([28, 28, 1]);
/// assert_eq!(shape.to_string(), "(None, 28, 28, 1)");
/// assert_eq!(shape.last(), Some(1));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shape(Vec<Option<usize>>);

impl Shape {
    /// A shape from all its dimensions, the batch included.
    pub fn new(dims: impl Into<Vec<Option<usize>>>) -> Self {
        Shape(dims.into())
    }

    /// The shape of a batch of unknown size of samples of this shape.
    pub fn batch_of(sample: impl AsRef<[usize]>) -> Self {
        Shape(std::iter::once(None).chain(sample.as_ref().iter().map(|&d| Some(d))).collect())
    }

    /// All dimensions, the batch first.
    pub fn dims(&self) -> &[Option<usize>] {
        &self.0
    }

    /// The number of dimensions, the batch included.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The dimensions of one sample: all but the batch.
    pub fn sample(&self) -> &[Option<usize>] {
        self.0.get(1..).unwrap_or(&[])
    }

    /// The dimension at `axis`, if it is there and known.
    pub fn get(&self, axis: usize) -> Option<usize> {
        self.0.get(axis).copied().flatten()
    }

    /// The last dimension (channels, features), if it is known.
    pub fn last(&self) -> Option<usize> {
        self.0.last().copied().flatten()
    }

    /// The number of values in one sample, if all its dimensions are known.
    pub fn sample_len(&self) -> Option<usize> {
        self.sample().iter().try_fold(1usize, |n, d| n.checked_mul((*d)?))
    }

    /// This shape with another last dimension.
    pub fn with_last(&self, last: usize) -> Shape {
        let mut dims = self.0.clone();
        if let Some(d) = dims.last_mut() {
            *d = Some(last);
        }
        Shape(dims)
    }

    /// Whether a tensor with these dimensions can stand where this shape is asked for.
    pub fn accepts(&self, dims: &[usize]) -> bool {
        self.0.len() == dims.len() && self.0.iter().zip(dims).all(|(want, have)| want.is_none_or(|want| want == *have))
    }

    /// Turns a possibly negative axis (Keras: the batch is axis 0, the last one -1) into an index.
    ///
    /// # Errors
    /// When there is no such axis.
    pub fn axis(&self, axis: isize) -> Result<usize> {
        resolve_axis(axis, self.rank())
    }
}

/// Turns a possibly negative axis of a tensor with `rank` dimensions into an index.
pub(crate) fn resolve_axis(axis: isize, rank: usize) -> Result<usize> {
    let index = if axis < 0 { axis + rank as isize } else { axis };
    ensure!(
        index >= 0 && (index as usize) < rank,
        Argument,
        "axis {axis} does not exist in a tensor of rank {rank}; use -{rank} to {}",
        rank as isize - 1
    );
    Ok(index as usize)
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.0.iter().map(|d| d.map_or("None".to_owned(), |d| d.to_string())).collect();
        match dims.as_slice() {
            [only] => write!(f, "({only},)"),
            dims => write!(f, "({})", dims.join(", ")),
        }
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<&[usize]> for Shape {
    /// The shape of a tensor that exists, its batch size included.
    fn from(dims: &[usize]) -> Self {
        Shape(dims.iter().map(|&d| Some(d)).collect())
    }
}

/// What happens at the border of an image.
///
/// With stride `s` and a window that spans `k` cells: `Valid` gives `(n - k) / s + 1` positions,
/// `Same` gives `ceil(n / s)` and pads with what is missing, the smaller half in front
/// (TensorFlow's and Keras' rule). `Causal` gives `ceil(n / s)` too and pads in front alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// Only windows that lie wholly inside.
    #[default]
    Valid,
    /// As many positions as the input has (divided by the stride).
    Same,
    /// As `Same`, but no position sees what comes after it: for [`Conv1D`](crate::layers::Conv1D) alone.
    Causal,
}

/// The cells of an axis with so many cells more before and after it.
pub(crate) fn padded(cells: usize, [before, after]: [usize; 2]) -> Result<usize> {
    let sum = before.checked_add(cells).and_then(|sum| sum.checked_add(after));
    sum.ok_or_else(|| Error::Argument(format!("a padding of ({before}, {after}) is too large")))
}

/// One axis of a sliding window: how many positions it takes and how much is padded in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Positions of the window: the output size.
    pub out: usize,
    /// Cells of padding before the input.
    pub before: usize,
    /// Cells of padding after the input.
    pub after: usize,
}

impl Window {
    /// The positions of a window of `size` taps, `dilation` apart, moved by `stride` over `input` cells.
    ///
    /// # Errors
    /// When a size is zero or the window does not fit.
    pub fn new(input: usize, size: usize, stride: usize, dilation: usize, padding: Padding) -> Result<Self> {
        ensure!(
            size > 0 && stride > 0 && dilation > 0,
            Argument,
            "window size {size}, stride {stride} and dilation {dilation} must all be at least 1"
        );
        // A hostile file may ask for a window that does not fit in memory's address space.
        let span = (size - 1).checked_mul(dilation).and_then(|n| n.checked_add(1));
        ensure!(
            span.is_some_and(|s| s <= 1 << 40),
            Argument,
            "a window of {size} taps, {dilation} apart, is too large"
        );
        let span = span.unwrap_or(1);
        match padding {
            Padding::Valid => {
                ensure!(
                    span <= input,
                    Shape,
                    "a window of {span} is larger than the input of {input}; use padding \"same\", a smaller window or a larger input"
                );
                Ok(Window { out: (input - span) / stride + 1, before: 0, after: 0 })
            }
            Padding::Same => {
                ensure!(input > 0, Shape, "the input has size 0");
                let out = input.div_ceil(stride);
                let total = ((out - 1) * stride + span).saturating_sub(input);
                Ok(Window { out, before: total / 2, after: total - total / 2 })
            }
            Padding::Causal => {
                ensure!(input > 0, Shape, "the input has size 0");
                Ok(Window { out: input.div_ceil(stride), before: span - 1, after: 0 })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_keras() {
        let w = |n, k, s, d, p| Window::new(n, k, s, d, p).unwrap();
        assert_eq!(w(28, 5, 1, 1, Padding::Same), Window { out: 28, before: 2, after: 2 });
        assert_eq!(w(28, 2, 2, 1, Padding::Valid), Window { out: 14, before: 0, after: 0 });
        assert_eq!(w(6, 3, 2, 1, Padding::Same), Window { out: 3, before: 0, after: 1 });
        assert_eq!(w(7, 3, 2, 1, Padding::Same), Window { out: 4, before: 1, after: 1 });
        assert_eq!(w(7, 3, 1, 3, Padding::Valid), Window { out: 1, before: 0, after: 0 });
        assert_eq!(w(7, 3, 2, 1, Padding::Causal), Window { out: 4, before: 2, after: 0 });
        assert_eq!(w(7, 3, 1, 2, Padding::Causal), Window { out: 7, before: 4, after: 0 });
        assert!(Window::new(2, 3, 1, 1, Padding::Valid).unwrap_err().to_string().contains("larger than the input"));
        assert!(Window::new(2, 0, 1, 1, Padding::Same).is_err());
        assert!(Window::new(2, usize::MAX, 1, usize::MAX, Padding::Same).is_err());
    }

    #[test]
    fn shapes_print_as_keras_does() {
        assert_eq!(Shape::batch_of([]).to_string(), "(None,)");
        assert_eq!(Shape::new([None, None, Some(3)]).to_string(), "(None, None, 3)");
        assert_eq!(Shape::batch_of([4, 5]).axis(-1).unwrap(), 2);
        assert!(Shape::batch_of([4]).axis(2).is_err());
    }
}
