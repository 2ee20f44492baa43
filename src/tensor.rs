//! The array that flows through a model: contiguous `f32`, cheap to share, recycled when dropped.

use crate::error::{Result, ensure};
use crate::runtime::Workspace;
use crate::shape::Dims;
use ndarray::{Array, ArrayD, ArrayViewD, Dimension, IxDyn};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::sync::Arc;

/// A contiguous, row-major `f32` array of any rank, channels last: `(batch, height, width, channels)`.
///
/// A clone shares the values; writing to a shared tensor copies them first. A tensor that came from
/// a model's workspace gives its memory back when the last clone is dropped, which is why layers
/// work with this type, while users hand in and get `ndarray` arrays.
///
/// ```
/// use cornu::Tensor;
/// let x = Tensor::new([2, 3], vec![1., 2., 3., 4., 5., 6.])?;
/// let y = x.clone().map(|v| v * 10.0);
/// assert_eq!(y.row(1), [40.0, 50.0, 60.0]);
/// assert_eq!(x.view()[[0, 2]], 3.0);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor {
    dims: Dims,
    buffer: Arc<Buffer>,
}

/// As its shape and its values.
impl Serialize for Tensor {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        (self.shape(), self.data()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tensor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let (shape, values) = <(Vec<usize>, Vec<f32>)>::deserialize(deserializer)?;
        Tensor::new(shape, values).map_err(de::Error::custom)
    }
}

struct Buffer {
    /// The first ones are the tensor's.
    values: Vec<f32>,
    len: usize,
    home: Option<Arc<Workspace>>,
}

impl Buffer {
    /// Of the tensor's own memory.
    fn own(values: Vec<f32>) -> Self {
        Buffer { len: values.len(), values, home: None }
    }

    /// Of a workspace's memory.
    fn of(len: usize, home: Arc<Workspace>) -> Self {
        Buffer { values: home.take_at_least(len), len, home: Some(home) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            home.give(std::mem::take(&mut self.values));
        }
    }
}

impl Tensor {
    /// A tensor of this shape from its values in row-major order.
    ///
    /// # Errors
    /// When there are more or fewer values than the shape holds.
    pub fn new(shape: impl AsRef<[usize]>, values: Vec<f32>) -> Result<Self> {
        let shape = shape.as_ref();
        let expected = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        ensure!(
            expected == Some(values.len()),
            Shape,
            "a tensor of shape {shape:?} cannot be made of {} values",
            values.len()
        );
        Ok(Tensor { dims: Dims::from_slice(shape), buffer: Arc::new(Buffer::own(values)) })
    }

    /// A tensor full of zeros.
    pub fn zeros(shape: impl AsRef<[usize]>) -> Self {
        Self::full(shape, 0.0)
    }

    /// A tensor full of `value`.
    pub fn full(shape: impl AsRef<[usize]>, value: f32) -> Self {
        let dims = Dims::from_slice(shape.as_ref());
        let values = vec![value; dims.iter().product()];
        Tensor { dims, buffer: Arc::new(Buffer::own(values)) }
    }

    /// A tensor whose memory comes from `workspace` and returns there. **Its values are whatever was
    /// left there: overwrite them all.**
    pub fn scratch(shape: impl AsRef<[usize]>, workspace: &Arc<Workspace>) -> Self {
        let dims = Dims::from_slice(shape.as_ref());
        let buffer = Buffer::of(dims.iter().product(), workspace.clone());
        Tensor { dims, buffer: Arc::new(buffer) }
    }

    /// A tensor of another shape whose memory comes from where this one's does. **Its values are
    /// whatever was left there: overwrite them all.**
    pub(crate) fn sibling(&self, shape: impl AsRef<[usize]>) -> Self {
        match &self.buffer.home {
            Some(home) => Self::scratch(shape, home),
            None => Self::zeros(shape),
        }
    }

    /// The dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.dims
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.buffer.len
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The size of the first dimension: the number of samples in a batch (1 for a scalar).
    pub fn batch(&self) -> usize {
        self.dims.first().copied().unwrap_or(1)
    }

    /// The size of the last dimension: channels or features (1 for a scalar).
    pub fn last(&self) -> usize {
        self.dims.last().copied().unwrap_or(1)
    }

    /// All values, in row-major order.
    pub fn data(&self) -> &[f32] {
        &self.buffer.values[..self.buffer.len]
    }

    /// All values, to be written. Copies them first if another tensor shares them.
    pub fn data_mut(&mut self) -> &mut [f32] {
        if Arc::get_mut(&mut self.buffer).is_none() {
            self.buffer = Arc::new(match &self.buffer.home {
                Some(home) => {
                    let mut copy = Buffer::of(self.len(), home.clone());
                    copy.values[..self.len()].copy_from_slice(self.data());
                    copy
                }
                None => Buffer::own(self.data().to_vec()),
            });
        }
        match Arc::get_mut(&mut self.buffer) {
            Some(buffer) => &mut buffer.values[..buffer.len],
            None => unreachable!("the buffer was just made unique"),
        }
    }

    /// Whether another tensor has the same memory, so that writing to this one copies its values first.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.buffer) > 1
    }

    /// The values of sample `i`.
    ///
    /// # Panics
    /// When there is no such sample.
    pub fn row(&self, i: usize) -> &[f32] {
        let n = self.len() / self.batch().max(1);
        &self.data()[i * n..(i + 1) * n]
    }

    /// The same values in another shape, at no cost.
    ///
    /// # Errors
    /// When the shapes hold different numbers of values.
    pub fn reshape(mut self, shape: impl AsRef<[usize]>) -> Result<Self> {
        let shape = shape.as_ref();
        ensure!(
            shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) == Some(self.len()),
            Shape,
            "a tensor of shape {:?} cannot become {shape:?}: {} values do not fit",
            self.shape(),
            self.len()
        );
        self.dims = Dims::from_slice(shape);
        Ok(self)
    }

    /// Applies `f` to each value, in place unless the values are shared.
    pub fn map(mut self, f: impl Fn(f32) -> f32) -> Self {
        self.data_mut().iter_mut().for_each(|v| *v = f(*v));
        self
    }

    /// Combines each value with the one of `other` at the same place.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn zip_map(mut self, other: &Tensor, f: impl Fn(f32, f32) -> f32) -> Result<Self> {
        ensure!(self.shape() == other.shape(), Shape, "shapes {:?} and {:?} differ", self.shape(), other.shape());
        self.data_mut().iter_mut().zip(other.data()).for_each(|(a, b)| *a = f(*a, *b));
        Ok(self)
    }

    /// A view as an `ndarray` array.
    pub fn view(&self) -> ArrayViewD<'_, f32> {
        match ArrayViewD::from_shape(IxDyn(&self.dims), self.data()) {
            Ok(view) => view,
            Err(_) => unreachable!("a tensor's shape and values always agree"),
        }
    }

    /// The values as an `ndarray` array.
    pub fn into_array(self) -> ArrayD<f32> {
        let dims = IxDyn(&self.dims);
        match ArrayD::from_shape_vec(dims, self.into_vec()) {
            Ok(array) => array,
            Err(_) => unreachable!("a tensor's shape and values always agree"),
        }
    }

    /// The values, without a copy if nothing else shares them.
    pub fn into_vec(self) -> Vec<f32> {
        match Arc::try_unwrap(self.buffer) {
            Ok(mut buffer) => {
                let mut values = std::mem::take(&mut buffer.values);
                values.truncate(buffer.len);
                values
            }
            Err(shared) => shared.values[..shared.len].to_vec(),
        }
    }
}

impl Default for Tensor {
    /// A tensor with no values, of shape `[0]`.
    fn default() -> Self {
        Tensor::zeros([0])
    }
}

impl<D: Dimension> From<Array<f32, D>> for Tensor {
    fn from(array: Array<f32, D>) -> Self {
        let dims = Dims::from_slice(array.shape());
        let values = if array.is_standard_layout() {
            let n = array.len();
            let (mut values, offset) = array.into_raw_vec_and_offset();
            values.drain(..offset.unwrap_or(0));
            values.truncate(n);
            values
        } else {
            array.iter().copied().collect()
        };
        Tensor { dims, buffer: Arc::new(Buffer::own(values)) }
    }
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        self.dims == other.dims && self.data() == other.data()
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_to_a_clone_leaves_the_original() {
        let a = Tensor::new([2], vec![1.0, 2.0]).unwrap();
        let mut b = a.clone();
        b.data_mut()[0] = 9.0;
        assert_eq!(a.data(), [1.0, 2.0]);
        assert_eq!(b.data(), [9.0, 2.0]);
    }

    #[test]
    fn memory_is_recycled_through_the_workspace() {
        let workspace = Workspace::new();
        let first = Tensor::scratch([3, 4], &workspace);
        let address = first.data().as_ptr();
        let shared = first.clone();
        drop(first);
        assert_ne!(Tensor::scratch([12], &workspace).data().as_ptr(), address, "still in use");
        drop(shared);
        let again = [Tensor::scratch([12], &workspace), Tensor::scratch([12], &workspace)];
        assert!(again.iter().any(|t| t.data().as_ptr() == address));
    }

    #[test]
    fn large_buffers_serve_for_other_lengths_too() {
        let workspace = Workspace::new();
        let large = Tensor::scratch([1 << 18], &workspace);
        let address = large.data().as_ptr();
        drop(large);
        let mut smaller = Tensor::scratch([1 << 8, 1 << 8], &workspace);
        assert_eq!((smaller.data().as_ptr(), smaller.len(), smaller.data().len()), (address, 1 << 16, 1 << 16));
        smaller.data_mut().fill(1.0);
        let mut copy = smaller.clone();
        copy.data_mut()[0] = 2.0;
        assert_eq!((smaller.data()[0], copy.data()[0], copy.data()[1]), (1.0, 2.0, 1.0));
        assert_eq!(smaller.into_vec().len(), 1 << 16);
        // Neither for much smaller ones, nor for larger ones.
        drop(Tensor::scratch([1 << 18], &workspace));
        assert_ne!(Tensor::scratch([1 << 10], &workspace).len(), 1 << 18);
        assert_eq!(Tensor::scratch([1 << 19], &workspace).len(), 1 << 19);
    }

    #[test]
    fn arrays_of_any_layout_arrive_row_major() {
        let array = ndarray::array![[1.0, 2.0], [3.0, 4.0]].reversed_axes().into_dyn();
        assert_eq!(Tensor::from(array).data(), [1.0, 3.0, 2.0, 4.0]);
        let sliced = ndarray::array![[1.0, 2.0], [3.0, 4.0]].slice_move(ndarray::s![1.., ..]).into_dyn();
        assert_eq!(Tensor::from(sliced).data(), [3.0, 4.0]);
        assert!(Tensor::new([2, usize::MAX], vec![0.0]).is_err());
        assert!(Tensor::zeros([2, 3]).reshape([4]).is_err());
    }
}
