//! Rows: where batches are gathered from, whatever the element type and the memory layout.

use crate::shape::Dims;
use crate::tensor::Tensor;
use ndarray::{ArrayBase, Axis, Data, Dimension};
use std::sync::Arc;

/// An element that a model accepts: `f32`, `f64`, any integer, `bool` (as 0 and 1).
///
/// Models compute in `f32`: values beyond its range become infinite, and whole numbers above 2^24
/// are rounded.
pub trait Element: Copy + Send + Sync {
    /// The nearest `f32`.
    fn to_f32(self) -> f32;
}

macro_rules! elements {
    ($($number:ty),+) => {
        $(impl Element for $number {
            #[inline]
            fn to_f32(self) -> f32 {
                self as f32
            }
        })+
    };
}
elements!(f32, f64, u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

impl Element for bool {
    #[inline]
    fn to_f32(self) -> f32 {
        f32::from(u8::from(self))
    }
}

/// Samples along the first axis, to be gathered into batches in any order.
///
/// Every `ndarray` array or view of an [`Element`] has rows, in any memory layout (transposed, sliced,
/// reversed), and so have vectors and fixed arrays (of single numbers) and [`Tensor`]s. Implement it
/// to feed a model from somewhere else, such as a memory-mapped file.
///
/// ```
/// use cornu::data::Rows;
/// let x = ndarray::array![[1u8, 2], [3, 4], [5, 6]];
/// let mut batch = [0.0; 4];
/// x.gather(&[2, 0], &mut batch);
/// assert_eq!(batch, [5.0, 6.0, 1.0, 2.0]);
/// ```
pub trait Rows: Send + Sync {
    /// The number of samples. An array of rank 0 has none.
    fn len(&self) -> usize;

    /// The shape of one sample: all axes but the first.
    fn sample_shape(&self) -> Dims;

    /// Writes these samples to `out`, one after the other, each in row-major order.
    ///
    /// # Panics
    /// When there is no such row, or when `out` is not exactly as long as the samples together.
    fn gather(&self, rows: &[usize], out: &mut [f32]);

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<A: Element, S: Data<Elem = A> + Send + Sync, D: Dimension> Rows for ArrayBase<S, D> {
    fn len(&self) -> usize {
        self.shape().first().copied().unwrap_or(0)
    }

    fn sample_shape(&self) -> Dims {
        Dims::from_slice(self.shape().get(1..).unwrap_or(&[]))
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) {
        let size = self.sample_shape().iter().product();
        if let Some(values) = self.as_slice() {
            return gather_slice(values, size, rows, out);
        }
        check(rows, Rows::len(self), size, out);
        if out.is_empty() {
            return;
        }
        let mut array = self.view().into_dyn();
        // Axes of length 1 change nothing but make for short lanes (below): grey images end in one.
        for axis in (1..array.ndim()).rev().filter(|&axis| self.len_of(Axis(axis)) == 1) {
            array.index_axis_inplace(Axis(axis), 0);
        }
        let width = array.shape()[1..].last().copied().unwrap_or(1);
        for (&row, out) in rows.iter().zip(out.chunks_exact_mut(size)) {
            let sample = array.index_axis(Axis(0), row);
            match sample.as_slice() {
                Some(values) => convert(values, out),
                // Lane by lane: ndarray is much faster along one axis than over many.
                None => {
                    for (lane, out) in sample.rows().into_iter().zip(out.chunks_exact_mut(width)) {
                        out.iter_mut().zip(lane).for_each(|(out, v)| *out = v.to_f32());
                    }
                }
            }
        }
    }
}

impl<R: Rows + ?Sized> Rows for Arc<R> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn sample_shape(&self) -> Dims {
        (**self).sample_shape()
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) {
        (**self).gather(rows, out);
    }
}

impl Rows for Tensor {
    fn len(&self) -> usize {
        self.shape().first().copied().unwrap_or(0)
    }

    fn sample_shape(&self) -> Dims {
        Dims::from_slice(self.shape().get(1..).unwrap_or(&[]))
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) {
        gather_slice(self.data(), self.sample_shape().iter().product(), rows, out);
    }
}

impl<A: Element> Rows for Vec<A> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn sample_shape(&self) -> Dims {
        Dims::new()
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) {
        gather_slice(self, 1, rows, out);
    }
}

impl<A: Element, const N: usize> Rows for [A; N] {
    fn len(&self) -> usize {
        N
    }

    fn sample_shape(&self) -> Dims {
        Dims::new()
    }

    fn gather(&self, rows: &[usize], out: &mut [f32]) {
        gather_slice(self, 1, rows, out);
    }
}

/// Gathers samples of `size` values that lie one after the other.
fn gather_slice<A: Element>(values: &[A], size: usize, rows: &[usize], out: &mut [f32]) {
    if out.is_empty() {
        // A slice of samples without values does not know how many there are.
        assert!(size == 0 || rows.is_empty(), "the batch has no room for {} samples", rows.len());
        return;
    }
    check(rows, values.len() / size.max(1), size, out);
    for (&row, out) in rows.iter().zip(out.chunks_exact_mut(size)) {
        convert(&values[row * size..(row + 1) * size], out);
    }
}

fn check(rows: &[usize], len: usize, size: usize, out: &[f32]) {
    assert_eq!(out.len(), rows.len() * size, "the batch must hold {} samples of {size} values", rows.len());
    if let Some(row) = rows.iter().find(|row| **row >= len) {
        panic!("row {row} does not exist: there are {len}");
    }
}

fn convert<A: Element>(values: &[A], out: &mut [f32]) {
    out.iter_mut().zip(values).for_each(|(out, v)| *out = v.to_f32());
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array, Array4, ArrayD, Ix4, IxDyn, ShapeBuilder, arr0, array, s};

    /// Gathers some rows and compares them with what indexing says.
    fn check_gather<A: Element, S: Data<Elem = A> + Send + Sync, D: Dimension>(array: &ArrayBase<S, D>) {
        let n = Rows::len(array);
        let rows = [n - 1, 0, n / 2, n - 1];
        let size: usize = array.sample_shape().iter().product();
        let mut batch = vec![f32::NAN; rows.len() * size];
        array.gather(&rows, &mut batch);
        let view = array.view().into_dyn();
        let expected: Vec<f32> = rows
            .iter()
            .flat_map(|&r| view.index_axis(Axis(0), r).iter().map(|v| v.to_f32()).collect::<Vec<_>>())
            .collect();
        assert_eq!(batch, expected);
        assert!(size == 0 || batch.iter().any(|&v| v != batch[0]), "the test data must differ");
    }

    #[test]
    fn any_layout_gives_the_same_rows() {
        let number = |(a, b, c, d): (usize, usize, usize, usize)| (a * 64 + b * 16 + c * 4 + d) as u8;
        let plain = Array4::from_shape_fn((4, 3, 4, 2), number);
        check_gather(&plain);
        check_gather(&plain.view().into_dyn());
        check_gather(&plain.slice(s![..;-1, .., .., ..]));
        check_gather(&plain.slice(s![..;2, .., ..;-1, ..]));
        check_gather(&plain.slice(s![1.., 1.., 1..3, ..1]));
        check_gather(&plain.t());
        check_gather(&plain.view().permuted_axes([0, 2, 3, 1]));
        check_gather(&plain.slice(s![.., .., ..1, ..]).permuted_axes([0, 3, 2, 1]));
        check_gather(&plain.slice(s![.., ..1, ..1, ..1]));
        check_gather(&plain.broadcast((5, 4, 3, 4, 2)).unwrap().permuted_axes([1, 0, 2, 3, 4]));
        let fortran = Array::<u8, Ix4>::from_shape_fn((4, 3, 4, 2).f(), number);
        assert!(!fortran.is_standard_layout());
        check_gather(&fortran);
        check_gather(&plain.into_shared());
        check_gather(&array![1, 2, 3, 4, 5].slice(s![..;-2]));
        check_gather(&array![[1.0, 2.0], [3.0, 4.0]].column(1));
    }

    #[test]
    fn all_elements_are_accepted() {
        fn one<A: Element>(value: A) -> f32 {
            let mut out = [0.0];
            vec![value].gather(&[0], &mut out);
            out[0]
        }
        let unsigned = [one(7u8), one(7u16), one(7u32), one(7u64), one(7usize)];
        let signed = [one(-7i8), one(-7i16), one(-7i32), one(-7i64), one(-7isize)];
        assert_eq!((unsigned, signed), ([7.0; 5], [-7.0; 5]));
        assert_eq!([one(true), one(false), one(0.1f32), one(0.1f64)], [1.0, 0.0, 0.1, 0.1]);
        assert_eq!(one(1e300f64), f32::INFINITY);
    }

    #[test]
    fn lengths_and_shapes() {
        let x = ArrayD::<f32>::zeros(IxDyn(&[3, 2, 5]));
        assert_eq!((Rows::len(&x), x.sample_shape().to_vec()), (3, vec![2, 5]));
        let scalar = arr0(1.0);
        assert_eq!((Rows::len(&scalar), scalar.sample_shape().len()), (0, 0));
        assert!(Rows::is_empty(&scalar));
        scalar.gather(&[], &mut []);
        assert_eq!((Rows::len(&vec![1, 2]), Rows::is_empty(&[0u8; 0])), (2, true));
        let tensor = Tensor::new([2, 2], vec![1., 2., 3., 4.]).unwrap();
        let mut batch = [0.0; 4];
        tensor.gather(&[1, 0], &mut batch);
        assert_eq!((Rows::len(&tensor), batch), (2, [3., 4., 1., 2.]));
        assert_eq!(tensor.sample_shape().as_slice(), [2]);
        // Samples without values.
        ArrayD::<f32>::zeros(IxDyn(&[3, 0])).gather(&[0, 2], &mut []);
        ArrayD::<f32>::zeros(IxDyn(&[3, 0, 2])).t().gather(&[1], &mut []);
        let dynamic: &dyn Rows = &x;
        assert_eq!(dynamic.len(), 3);
    }

    #[test]
    #[should_panic(expected = "row 2 does not exist")]
    fn a_row_that_is_not_there_is_never_read() {
        array![[1.0, 2.0], [3.0, 4.0]].gather(&[2], &mut [0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "the batch must hold 1 samples")]
    fn a_batch_of_the_wrong_length_is_refused() {
        array![[1.0, 2.0], [3.0, 4.0]].t().gather(&[0], &mut [0.0; 3]);
    }
}
