//! The element of a dataset.

use crate::error::{Error, Result, ensure};
use crate::shape::Dims;
use crate::tensor::Tensor;

/// An element of a [`Dataset`](super::Dataset): one sample, or a batch of them after
/// [`batch`](super::Dataset::batch).
///
/// Most have one input and one target; `(x, y).into()` makes such an item from tensors or `ndarray` arrays.
///
/// ```
/// use cornu::data::Item;
/// use ndarray::arr0;
/// let item = Item::from((ndarray::Array3::<f32>::zeros((28, 28, 1)), arr0(7.0)));
/// assert_eq!((item.x[0].shape(), item.y[0].data()), (&[28, 28, 1][..], &[7.0][..]));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// The inputs of the model, in its order. A sample has the shape of one; an image is `(height, width, channels)`,
    /// a batch of them `(batch, height, width, channels)`.
    pub x: Vec<Tensor>,
    /// The targets: none, or as many as the model asks for.
    pub y: Vec<Tensor>,
    /// How much the sample counts: none, one for all targets, or one for each.
    pub weights: Vec<Tensor>,
}

impl<X: Into<Tensor>, Y: Into<Tensor>> From<(X, Y)> for Item {
    fn from((x, y): (X, Y)) -> Self {
        Item { x: vec![x.into()], y: vec![y.into()], weights: Vec::new() }
    }
}

impl<X: Into<Tensor>, Y: Into<Tensor>, W: Into<Tensor>> From<(X, Y, W)> for Item {
    fn from((x, y, weights): (X, Y, W)) -> Self {
        Item { weights: vec![weights.into()], ..Item::from((x, y)) }
    }
}

impl From<Tensor> for Item {
    fn from(x: Tensor) -> Self {
        Item { x: vec![x], ..Item::default() }
    }
}

impl Item {
    /// This item with its first input changed by `f`, which is what most maps do.
    ///
    /// ```
    /// use cornu::data::Dataset;
    /// let data = Dataset::from_arrays(ndarray::array![[0u8, 255]], ())?;
    /// let scaled = data.map(|item| item.map_x(|x| Ok(x.map(|v| v / 255.0))));
    /// assert_eq!(scaled.iter().next().unwrap()?.x[0].data(), [0.0, 1.0]);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of `f`, and when there is no input.
    pub fn map_x(mut self, f: impl FnOnce(Tensor) -> Result<Tensor>) -> Result<Self> {
        let first = self.x.first_mut().ok_or_else(|| Error::Data("the element has no input".to_owned()))?;
        *first = f(std::mem::take(first))?;
        Ok(self)
    }

    /// The number of samples, for a batch.
    pub(crate) fn samples(&self) -> usize {
        self.x.first().map_or(0, Tensor::batch)
    }

    /// The samples one above the other.
    pub(crate) fn stack(samples: Vec<Item>) -> Result<Item> {
        let column = |what: &str, get: fn(&Item) -> &Vec<Tensor>| -> Result<Vec<Tensor>> {
            let count = samples.first().map_or(0, |first| get(first).len());
            if let Some(i) = samples.iter().position(|item| get(item).len() != count) {
                return Err(Error::Data(format!(
                    "sample {i} of the batch has {} tensors of {what}, the first one {count}",
                    get(&samples[i]).len()
                )));
            }
            (0..count).map(|k| stacked(samples.iter().map(|item| &get(item)[k]), what)).collect()
        };
        Ok(Item {
            x: column("x", |item| &item.x)?,
            y: column("y", |item| &item.y)?,
            weights: column("sample weights", |item| &item.weights)?,
        })
    }
}

fn stacked<'a>(parts: impl ExactSizeIterator<Item = &'a Tensor> + Clone, what: &str) -> Result<Tensor> {
    let shape = parts.clone().next().map(|first| Dims::from_slice(first.shape())).unwrap_or_default();
    let mut dims: Dims = smallvec::smallvec![parts.len()];
    dims.extend_from_slice(&shape);
    let mut values = Vec::with_capacity(dims.iter().product());
    for (i, part) in parts.enumerate() {
        ensure!(
            part.shape() == &shape[..],
            Shape,
            "{what} of sample {i} of the batch has shape {:?}, that of the first one {:?}; bring all samples to one shape before batching",
            part.shape(),
            &shape[..]
        );
        values.extend_from_slice(part.data());
    }
    Tensor::new(dims, values)
}
