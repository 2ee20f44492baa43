//! Data on its way into a model.
//!
//! What `fit`, `evaluate` and `predict` accept is anything with [`Rows`]: every `ndarray` array or view
//! of numbers or bools, in any memory layout, vectors, and [`Tensor`](crate::Tensor)s; and a [`Dataset`], whose samples
//! are read, decoded or drawn at random only when their batch is needed.

mod csv;
mod dataset;
#[cfg(feature = "image")]
pub mod image;
#[cfg(feature = "image")]
mod image_folder;
pub mod npy;
#[cfg(any(feature = "image", feature = "keras"))]
mod random_state;
mod rows;
mod sequences;

pub use csv::Csv;
pub(crate) use dataset::Address;
pub use dataset::{Batch, Cardinality, Columns, Dataset, Item, Iter, Portion, Prefetch, Shuffle};
#[cfg(feature = "image")]
pub use image_folder::{ImageDataset, ImageFolder, LabelMode, OnError, Subset, image_dataset_from_directory};
#[cfg(any(feature = "image", feature = "keras"))]
pub(crate) use random_state::RandomState;
pub use rows::{Element, Rows};
pub use sequences::{End, PadSequences, pad_sequences};

use crate::error::{Error, Result, ensure};
use crate::random;
use crate::shape::resolve_axis;
use ndarray::{Array, Array2, ArrayBase, Axis, Data, Dimension, RemoveAxis};

/// Class numbers as rows with a single 1: Keras' `to_categorical`, for the loss
/// `categorical_crossentropy`.
///
/// `labels` are whole numbers from 0, of shape `(samples,)` or `(samples, 1)` and of any number type.
/// The result has the shape `(samples, classes)`; without `num_classes` (or with 0) there are as many
/// classes as the largest label asks for.
///
/// ```
/// use cornu::data::to_categorical;
/// let y = to_categorical(&[2, 0], None)?;
/// assert_eq!(y, ndarray::array![[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]);
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// For labels that are negative, not whole, not below `num_classes` or of another shape; when there is
/// neither a label nor `num_classes`; when the result does not fit in memory.
pub fn to_categorical(labels: &impl Rows, num_classes: Option<usize>) -> Result<Array2<f32>> {
    // From here on f32 no longer tells whole numbers apart.
    const LIMIT: f32 = (1 << 24) as f32;
    let shape = labels.sample_shape();
    ensure!(
        matches!(shape.as_slice(), [] | [1]),
        Shape,
        "labels must have the shape (samples,) or (samples, 1); each sample here has the shape {:?}",
        shape.as_slice()
    );
    let n = labels.len();
    let mut values = vec![0.0; n];
    labels.gather(&(0..n).collect::<Vec<_>>(), &mut values);
    if let Some(i) = values.iter().position(|v| !(v.fract() == 0.0 && (0.0..LIMIT).contains(v))) {
        return Err(Error::Data(format!(
            "label {i} is {}; labels are whole numbers from 0 to the number of classes - 1",
            values[i]
        )));
    }
    let largest = values.iter().copied().reduce(f32::max);
    let classes = match (num_classes, largest) {
        (None | Some(0), Some(largest)) => largest as usize + 1,
        (None | Some(0), None) => {
            return Err(Error::Data("there are no labels to count the classes of; give num_classes".to_owned()));
        }
        (Some(classes), _) => classes,
    };
    if let Some(i) = values.iter().position(|v| *v as usize >= classes) {
        return Err(Error::Data(format!("label {i} is {}, but there are only {classes} classes, from 0", values[i])));
    }

    let too_large = || {
        Error::Data(format!(
            "{n} rows of {classes} classes do not fit in memory; the loss sparse_categorical_crossentropy takes the labels as they are"
        ))
    };
    let size = n.checked_mul(classes).ok_or_else(too_large)?;
    let mut ones = Vec::new();
    ones.try_reserve_exact(size).map_err(|_| too_large())?;
    ones.resize(size, 0.0);
    for (i, label) in values.iter().enumerate() {
        ones[i * classes + *label as usize] = 1.0;
    }
    Array2::from_shape_vec((n, classes), ones).map_err(|_| too_large())
}

/// Splits samples and their targets at random into a training and a test part, scikit-learn's way:
/// returns `(x_train, x_test, y_train, y_test)`.
///
/// Rows are shuffled, `x` and `y` alike; the test part gets `test_fraction` of them, rounded up. The
/// same seed gives the same split.
///
/// ```
/// use cornu::{data::train_test_split, datasets};
/// let digits = datasets::digits();
/// let (x_train, x_test, y_train, y_test) = train_test_split(&digits.x, &digits.y, 0.2, 42)?;
/// assert_eq!((x_train.shape()[0], x_test.shape()[0]), (1437, 360));
/// assert_eq!((y_train.len(), y_test.len()), (1437, 360));
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When `x` and `y` differ in the number of rows, `test_fraction` is not between 0 and 1, or no row
/// would be left for training.
#[allow(clippy::type_complexity)] // four arrays of two kinds: an alias would hide that
pub fn train_test_split<A: Clone, B: Clone, D: RemoveAxis, E: RemoveAxis>(
    x: &ArrayBase<impl Data<Elem = A>, D>,
    y: &ArrayBase<impl Data<Elem = B>, E>,
    test_fraction: f64,
    seed: u64,
) -> Result<(Array<A, D>, Array<A, D>, Array<B, E>, Array<B, E>)> {
    ensure!(x.ndim() > 0 && y.ndim() > 0, Shape, "x has rank {} and y rank {}; both need rows", x.ndim(), y.ndim());
    let n = x.len_of(Axis(0));
    ensure!(n == y.len_of(Axis(0)), Data, "x has {n} rows, y has {}; each sample needs one target", y.len_of(Axis(0)));
    ensure!(
        test_fraction > 0.0 && test_fraction < 1.0,
        Argument,
        "test_fraction is {test_fraction}; it must be above 0 and below 1"
    );
    let test = (n as f64 * test_fraction).ceil() as usize;
    ensure!(
        test < n,
        Data,
        "of {n} rows, {test} for the test leave none for training; use more data or a smaller test_fraction"
    );
    let stream = random::stream_of("train_test_split");
    let order = random::permutation(n, &mut random::stream(seed, stream, 0, 0));
    let (test, train) = order.split_at(test);
    let rows = Axis(0);
    Ok((x.select(rows, train), x.select(rows, test), y.select(rows, train), y.select(rows, test)))
}

/// Divides each vector along `axis` by its norm: Keras' `normalize` (there `axis=-1, order=2`).
///
/// `order` is the *p* of the norm `(Σ|x|^p)^(1/p)`: 2 is the Euclidean length, 1 the sum of absolute
/// values, `f64::INFINITY` the largest and `-f64::INFINITY` the smallest absolute value, 0 the number
/// of values other than 0. Vectors whose norm is 0 stay as they are. The axis may be negative: -1 is
/// the last one.
///
/// ```
/// use cornu::data::normalize;
/// let x = normalize(&ndarray::array![[3, 4], [0, 0]], -1, 2.0)?;
/// assert_eq!(x, ndarray::array![[0.6, 0.8], [0.0, 0.0]]);
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When there is no such axis or the order is not a number.
pub fn normalize<A: Element, D: Dimension>(
    array: &ArrayBase<impl Data<Elem = A>, D>,
    axis: isize,
    order: f64,
) -> Result<Array<f32, D>> {
    ensure!(!order.is_nan(), Argument, "the order of the norm is NaN");
    let axis = Axis(resolve_axis(axis, array.ndim())?);
    let mut out = array.map(|v| v.to_f32());
    for mut vector in out.lanes_mut(axis) {
        let sizes = vector.iter().map(|v| f64::from(v.abs()));
        let norm = if order == f64::INFINITY {
            sizes.fold(0.0, f64::max)
        } else if order == f64::NEG_INFINITY {
            sizes.fold(f64::INFINITY, f64::min)
        } else if order == 0.0 {
            sizes.filter(|v| *v != 0.0).count() as f64
        } else if order == 2.0 {
            sizes.map(|v| v * v).sum::<f64>().sqrt()
        } else {
            sizes.map(|v| v.powf(order)).sum::<f64>().powf(1.0 / order)
        };
        if norm != 0.0 {
            vector.mapv_inplace(|v| (f64::from(v) / norm) as f32);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array3, array};

    #[test]
    fn categories_follow_keras() {
        let golden = array![[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]];
        assert_eq!(to_categorical(&array![[0u8], [2], [1]], None).unwrap(), golden);
        assert_eq!(to_categorical(&vec![0.0f64, 2.0, 1.0], Some(0)).unwrap(), golden);
        assert_eq!(to_categorical(&array![1i64, 2, 0].slice(ndarray::s![..;-1]), Some(3)).unwrap(), golden);
        assert_eq!(to_categorical(&[1], Some(4)).unwrap(), array![[0.0, 1.0, 0.0, 0.0]]);
        assert_eq!(to_categorical(&Array1::<u8>::zeros(0), Some(4)).unwrap().dim(), (0, 4));
    }

    #[test]
    fn labels_that_are_none_are_refused() {
        let refusal = |labels: &[f64], classes| to_categorical(&labels.to_vec(), classes).unwrap_err().to_string();
        assert!(refusal(&[0.0, -1.0], None).contains("label 1 is -1"));
        assert!(refusal(&[0.5], None).contains("label 0 is 0.5"));
        assert!(refusal(&[f64::NAN], None).contains("NaN"));
        assert!(refusal(&[f64::INFINITY], None).contains("inf"));
        assert!(refusal(&[1e12], None).contains("whole numbers"));
        assert!(refusal(&[0.0, 3.0], Some(3)).contains("label 1 is 3, but there are only 3 classes"));
        assert!(refusal(&[], None).contains("num_classes"));
        assert!(refusal(&[0.0, 1.0], Some(usize::MAX)).contains("memory"));
        assert!(to_categorical(&array![[0, 1]], None).unwrap_err().to_string().contains("[2]"));
    }

    #[test]
    fn a_split_keeps_rows_together_and_loses_none() {
        let x = Array3::from_shape_fn((10, 2, 2), |(i, j, k)| 100 * i + 10 * j + k);
        let y = Array1::from_iter((0..10).map(|i| i.to_string()));
        let (x_train, x_test, y_train, y_test) = train_test_split(&x, &y, 0.25, 1).unwrap();
        assert_eq!((x_train.dim(), x_test.dim()), ((7, 2, 2), (3, 2, 2)));
        let mut seen = Vec::new();
        for (x, y) in [(x_train, y_train.clone()), (x_test, y_test)] {
            for (x, y) in x.outer_iter().zip(&y) {
                let i: usize = y.parse().unwrap();
                assert_eq!(x, array![[100 * i, 100 * i + 1], [100 * i + 10, 100 * i + 11]]);
                seen.push(i);
            }
        }
        assert!(!seen.is_sorted(), "shuffled");
        seen.sort();
        assert!(seen.into_iter().eq(0..10));

        let again = train_test_split(&x.view().into_dyn(), &y, 0.25, 1).unwrap();
        assert_eq!(again.2, y_train, "same seed, same split");
        assert_ne!(train_test_split(&x, &y, 0.25, 2).unwrap().2, y_train);
    }

    #[test]
    fn splits_that_make_no_sense_are_refused() {
        let (x, y) = (array![[1], [2], [3]], array![1, 2, 3]);
        assert!(train_test_split(&x, &array![1, 2], 0.5, 0).unwrap_err().to_string().contains("3 rows, y has 2"));
        for fraction in [0.0, 1.0, -0.5, f64::NAN] {
            assert!(train_test_split(&x, &y, fraction, 0).is_err(), "{fraction}");
        }
        assert!(train_test_split(&x, &y, 0.9, 0).unwrap_err().to_string().contains("leave none"));
        assert!(train_test_split(&Array1::<u8>::zeros(0), &Array1::<u8>::zeros(0), 0.5, 0).is_err());
        assert!(train_test_split(&ndarray::arr0(1).into_dyn(), &y, 0.5, 0).is_err());
    }

    fn assert_near(found: &Array2<f32>, expected: &Array2<f32>) {
        approx::assert_relative_eq!(found.as_slice().unwrap(), expected.as_slice().unwrap(), max_relative = 1e-6);
    }

    #[test]
    fn norms_follow_keras() {
        let x = array![[1.0, -2.0, 2.0], [0.0, 0.0, 0.0], [3.0, 4.0, 0.0]];
        let golden = [
            (1.0, [0.2, -0.4, 0.4, 0.428_571_43, 0.571_428_6, 0.0]),
            (2.0, [0.333_333_34, -0.666_666_7, 0.666_666_7, 0.6, 0.8, 0.0]),
            (3.0, [0.388_911_13, -0.777_822_26, 0.777_822_26, 0.666_971_8, 0.889_295_7, 0.0]),
            (0.5, [0.068_227_46, -0.136_454_92, 0.136_454_92, 0.215_390_31, 0.287_187_07, 0.0]),
            (0.0, [0.333_333_34, -0.666_666_7, 0.666_666_7, 1.5, 2.0, 0.0]),
            (f64::INFINITY, [0.5, -1.0, 1.0, 0.75, 1.0, 0.0]),
            (f64::NEG_INFINITY, [1.0, -2.0, 2.0, 3.0, 4.0, 0.0]),
        ];
        for (order, [a, b, c, d, e, f]) in golden {
            let expected = array![[a, b, c], [0.0, 0.0, 0.0], [d, e, f]];
            assert_near(&normalize(&x, -1, order).unwrap(), &expected);
        }
        let columns = array![[0.316_227_76, -0.447_213_6, 1.0], [0.0, 0.0, 0.0], [0.948_683_26, 0.894_427_2, 0.0]];
        assert_near(&normalize(&x, 0, 2.0).unwrap(), &columns);
        let middle = normalize(&Array1::from_iter(0..8u8).into_shape_with_order((2, 2, 2)).unwrap(), 1, 2.0).unwrap();
        approx::assert_relative_eq!(middle[[1, 0, 0]], 0.554_700_2, max_relative = 1e-6);
        assert!(normalize(&x, 2, 2.0).is_err());
        assert!(normalize(&x, -3, 2.0).is_err());
        assert!(normalize(&x, 0, f64::NAN).is_err());
    }
}
