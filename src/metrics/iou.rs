//! Intersection over union, for masks of images.

use super::accuracy::argmax;
use super::{Metric, metric};
use crate::error::{Result, ensure};
use crate::losses;
use crate::shape::resolve_axis;
use crate::tensor::Tensor;

/// Keras' default type of these metrics.
const INT: &str = "int32";

/// Weighted counts of (true class, predicted class), row by row.
type Matrix = Vec<f64>;

/// Class numbers, from class numbers (`sparse`) or from values of each class along `axis`.
fn classes(values: &Tensor, sparse: bool, axis: isize) -> Result<Vec<f32>> {
    if sparse {
        // Keras casts to whole numbers.
        return Ok(values.data().iter().map(|v| v.trunc()).collect());
    }
    let axis = resolve_axis(axis, values.rank())?;
    let n = values.shape()[axis];
    ensure!(n > 0, Shape, "there are no classes along axis {axis} of {:?}", values.shape());
    let inner: usize = values.shape()[axis + 1..].iter().product();
    let data = values.data();
    let mut row = vec![0.0; n];
    let lines = (0..values.len() / n).map(|line| {
        let start = line / inner * inner * n + line % inner;
        row.iter_mut().enumerate().for_each(|(i, v)| *v = data[start + i * inner]);
        argmax(&row) as f32
    });
    Ok(lines.collect())
}

/// Counts pairs of classes. Those out of range, and those whose true class is ignored, do not count.
fn count(
    matrix: &mut Matrix,
    n: usize,
    ignore: Option<i64>,
    (y_true, y_pred): (Vec<f32>, Vec<f32>),
    (sample_weight, dtype): (Option<&Tensor>, &str),
    batch: usize,
) -> Result<()> {
    ensure!(
        y_true.len() == y_pred.len(),
        Shape,
        "there are {} target classes for {} predicted ones; sparse_y_true and sparse_y_pred say which of them are \
         class numbers already",
        y_true.len(),
        y_pred.len()
    );
    let weights = match sample_weight {
        Some(weights) if weights.len() == y_true.len() => Some(weights.clone()),
        Some(weights) => Some(losses::spread("sample_weight", weights, &[batch, y_true.len() / batch.max(1)])?),
        None => None,
    };
    matrix.resize(n * n, 0.0);
    let weigh = |weight: f64| if dtype.contains("int") { weight.trunc() } else { weight };
    for (i, (y, p)) in y_true.into_iter().zip(y_pred).enumerate() {
        let inside = |class: f32| class >= 0.0 && class < n as f32;
        if inside(y) && inside(p) && ignore.is_none_or(|ignored| y != ignored as f32) {
            matrix[y as usize * n + p as usize] += weights.as_ref().map_or(1.0, |w| weigh(f64::from(w.data()[i])));
        }
    }
    Ok(())
}

/// The mean of `TP / (TP + FP + FN)` over those of `targets` that occur.
fn mean_iou(matrix: &Matrix, n: usize, targets: impl Iterator<Item = usize>) -> f64 {
    if matrix.is_empty() {
        return 0.0;
    }
    let (mut total, mut valid) = (0.0, 0.0);
    for class in targets {
        let predicted: f64 = (0..n).map(|i| matrix[i * n + class]).sum();
        let actual: f64 = matrix[class * n..(class + 1) * n].iter().sum();
        let both = matrix[class * n + class];
        let union = predicted + actual - both;
        if union > 1e-9 {
            total += both / (union + 1e-7);
            valid += 1.0;
        }
    }
    total / (valid + 1e-7)
}

fn check(num_classes: usize, targets: &[usize]) -> Result<()> {
    ensure!(num_classes > 0, Argument, "num_classes must be given and at least 1");
    match targets.iter().find(|class| **class >= num_classes) {
        Some(wrong) => Err(crate::Error::Argument(format!(
            "target class {wrong} is out of range: the {num_classes} classes are 0 to {}",
            num_classes - 1
        ))),
        None => Ok(()),
    }
}

/// One metric of the family. `$targets` and `$sparse_true` are expressions over `self`.
macro_rules! iou {
    ($class:ident, |$self:ident| $targets:expr, sparse_y_true $sparse_true:expr) => {
        impl Metric for $class {
            metric!(@common);
            fn check(&$self) -> Result<()> {
                let targets: Vec<usize> = $targets.collect();
                check($self.num_classes, &targets)
            }
            fn higher_is_better(&self) -> Option<bool> {
                Some(true)
            }
            fn update(&mut $self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
                $self.check()?;
                let pairs = (
                    classes(y_true, $sparse_true, $self.axis)?,
                    classes(y_pred, $self.sparse_y_pred, $self.axis)?,
                );
                let weights = (sample_weight, $self.dtype.as_str());
                count(&mut $self.state, $self.num_classes, $self.ignore_class, pairs, weights, y_true.batch())
            }
            fn result(&$self) -> f64 {
                mean_iou(&$self.state, $self.num_classes, $targets)
            }
        }
    };
}

metric! {
    /// The overlap of true and predicted regions of some classes: the mean of `TP / (TP + FP + FN)`
    /// over `target_class_ids`, of those that occur.
    ///
    /// Targets and predictions are class numbers, or values of each class along `axis`. As in Keras, sample weights are
    /// cut to whole numbers, unless `dtype` is a float.
    IoU(num_classes: usize = 0, target_class_ids: Vec<usize> = Vec::new()), "io_u", Matrix;
    /// A true class that does not count.
    ignore_class(i64): Option<i64> = None;
    /// Whether targets are class numbers; the default is true.
    sparse_y_true: bool = true;
    /// Whether predictions are class numbers; the default is true.
    sparse_y_pred: bool = true;
    /// The axis of the classes, where they are not numbers; the default is -1.
    axis: isize = -1;
    /// The type that is counted in; the default is "int32", which cuts sample weights to whole numbers. "float32" does
    /// not.
    dtype(&str): String = INT.to_owned();
}

iou!(IoU, |self| self.target_class_ids.iter().copied(), sparse_y_true self.sparse_y_true);

metric! {
    /// The mean of [`IoU`] over all classes that occur.
    MeanIoU(num_classes: usize = 0), "mean_io_u", Matrix;
    /// A true class that does not count.
    ignore_class(i64): Option<i64> = None;
    /// Whether targets are class numbers; the default is true.
    sparse_y_true: bool = true;
    /// Whether predictions are class numbers; the default is true.
    sparse_y_pred: bool = true;
    /// The axis of the classes, where they are not numbers; the default is -1.
    axis: isize = -1;
    /// The type that is counted in; the default is "int32", which cuts sample weights to whole numbers. "float32" does
    /// not.
    dtype(&str): String = INT.to_owned();
}

iou!(MeanIoU, |self| 0..self.num_classes, sparse_y_true self.sparse_y_true);

metric! {
    /// [`IoU`] for one-hot targets.
    OneHotIoU(num_classes: usize = 0, target_class_ids: Vec<usize> = Vec::new()), "one_hot_io_u", Matrix;
    /// A true class that does not count.
    ignore_class(i64): Option<i64> = None;
    /// Whether predictions are class numbers; the default is false.
    sparse_y_pred: bool = false;
    /// The axis of the classes; the default is -1.
    axis: isize = -1;
    /// The type that is counted in; the default is "int32", which cuts sample weights to whole numbers. "float32" does
    /// not.
    dtype(&str): String = INT.to_owned();
}

iou!(OneHotIoU, |self| self.target_class_ids.iter().copied(), sparse_y_true false);

metric! {
    /// [`MeanIoU`] for one-hot targets.
    OneHotMeanIoU(num_classes: usize = 0), "one_hot_mean_io_u", Matrix;
    /// A true class that does not count.
    ignore_class(i64): Option<i64> = None;
    /// Whether predictions are class numbers; the default is false.
    sparse_y_pred: bool = false;
    /// The axis of the classes; the default is -1.
    axis: isize = -1;
    /// The type that is counted in; the default is "int32", which cuts sample weights to whole numbers. "float32" does
    /// not.
    dtype(&str): String = INT.to_owned();
}

iou!(OneHotMeanIoU, |self| 0..self.num_classes, sparse_y_true false);

metric! {
    /// [`IoU`] of yes/no masks: predictions at or above the threshold are class 1.
    BinaryIoU(), "binary_io_u", Matrix;
    /// The classes whose overlaps are averaged; the default is both, 0 and 1.
    target_class_ids(Vec<usize>): Vec<usize> = vec![0, 1];
    /// From which value on a prediction is class 1; the default is 0.5.
    threshold: f64 = 0.5;
    /// The type that is counted in; the default is "int32", which cuts sample weights to whole numbers. "float32" does
    /// not.
    dtype(&str): String = INT.to_owned();
}

impl Metric for BinaryIoU {
    metric!(@common);
    fn check(&self) -> Result<()> {
        check(2, &self.target_class_ids)
    }
    fn higher_is_better(&self) -> Option<bool> {
        Some(true)
    }
    fn update(&mut self, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<()> {
        self.check()?;
        let predicted = y_pred.data().iter().map(|p| f32::from(*p >= self.threshold as f32)).collect();
        let pairs = (classes(y_true, true, -1)?, predicted);
        count(&mut self.state, 2, None, pairs, (sample_weight, self.dtype.as_str()), y_true.batch())
    }
    fn result(&self) -> f64 {
        mean_iou(&self.state, 2, self.target_class_ids.iter().copied())
    }
}
