//! What training minimizes.
//!
//! A loss compares targets with predictions and gives one number for each *entry*: each sample, or
//! each step of each sample where the model puts out sequences or images. The entries are added up
//! with weights that follow from the loss's [`Reduction`] and from sample weights
//! ([`entry_weights`]); the gradient is that of this weighted sum.
//!
//! | name | class |
//! |---|---|
//! | `mse` `mean_squared_error` | [`MeanSquaredError`] |
//! | `mae` `mean_absolute_error` | [`MeanAbsoluteError`] |
//! | `mape` `mean_absolute_percentage_error` | [`MeanAbsolutePercentageError`] |
//! | `msle` `mean_squared_logarithmic_error` | [`MeanSquaredLogarithmicError`] |
//! | `huber`, `log_cosh`, `cosine_similarity` | [`Huber`], [`LogCosh`], [`CosineSimilarity`] |
//! | `bce` `binary_crossentropy` | [`BinaryCrossentropy`] |
//! | `categorical_crossentropy`, `sparse_categorical_crossentropy` | [`CategoricalCrossentropy`], [`SparseCategoricalCrossentropy`] |
//! | `crossentropy` `ce` | [`Crossentropy`]: the one of these three that fits the shapes |
//! | `kld` `kl_divergence`, `poisson` | [`KLDivergence`], [`Poisson`] |
//! | `binary_focal_crossentropy`, `categorical_focal_crossentropy` | [`BinaryFocalCrossentropy`], [`CategoricalFocalCrossentropy`] |
//! | `hinge`, `squared_hinge`, `categorical_hinge` | [`Hinge`], [`SquaredHinge`], [`CategoricalHinge`] |
//! | `dice`, `tversky` | [`Dice`], [`Tversky`] |
//! | `circle` | [`Circle`] |
//! | `ctc` | [`CTC`]; [`CtcDecoder`] turns its predictions into labels |

use crate::config::{self, Config, Shared, Unknown, family};
use crate::error::{Error, Result, ensure};
use crate::kernels::vectorised;
use crate::shape::{Dims, resolve_axis};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

mod circle;
mod ctc;
mod ctc_decoder;
mod focal;
mod hinge;
mod probabilistic;
mod regression;
mod segmentation;

pub use circle::Circle;
pub use ctc::{CTC, ctc_loss};
pub use ctc_decoder::{CtcDecoder, CtcPath};
pub use focal::{Alpha, BinaryFocalCrossentropy, CategoricalFocalCrossentropy};
pub use hinge::{CategoricalHinge, Hinge, SquaredHinge};
pub use probabilistic::{
    BinaryCrossentropy, CategoricalCrossentropy, CategoricalGeneralizedCrossEntropy, Crossentropy, KLDivergence,
    Poisson, SparseCategoricalCrossentropy,
};
pub use regression::{
    CosineSimilarity, Huber, LogCosh, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredError,
    MeanSquaredLogarithmicError,
};
pub use segmentation::{Axes, Dice, Tversky};

/// Keras' `epsilon`: probabilities are kept this far from 0 and 1.
pub(crate) const EPSILON: f32 = 1e-7;

/// A measure of how far predictions are from targets, with its derivative.
///
/// [`call`](Loss::call) and [`gradient`](Loss::gradient) are all that a loss of your own needs:
///
/// ```
/// use cornu::losses::{self, Loss};
/// use cornu::{Result, Tensor};
///
/// /// The mean of the fourth powers of the errors.
/// #[derive(Debug)]
/// struct Quartic;
///
/// impl Loss for Quartic {
///     fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
///         losses::mean_of(y_true, y_pred, |y, p| (p - y).powi(4))
///     }
///     fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
///         losses::mean_gradient(y_true, y_pred, weights, |y, p| 4.0 * (p - y).powi(3))
///     }
/// }
///
/// let y_true = Tensor::new([2, 1], vec![0.0, 1.0])?;
/// let y_pred = Tensor::new([2, 1], vec![1.0, 3.0])?;
/// assert_eq!(losses::value(&Quartic, &y_true, &y_pred, None)?, 8.5);
/// # Ok::<(), cornu::Error>(())
/// ```
pub trait Loss: Debug + Send + Sync {
    /// The name it is saved under.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }

    /// What makes it again (Keras: `get_config`). Without it a model that uses it cannot be saved.
    ///
    /// # Errors
    /// By default: that it has none.
    fn config(&self) -> Result<Config> {
        Err(config::no_config("loss", self.class_name()))
    }

    /// Whether its arguments make sense.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Its name in reports; by default the class name in Keras' snake case.
    fn name(&self) -> String {
        config::snake_case(self.class_name())
    }

    /// How entries become one number.
    fn reduction(&self) -> Reduction {
        Reduction::SumOverBatchSize
    }

    /// Whether the loss of one sample depends on the other samples of its batch. Such a batch is
    /// not cut into pieces.
    fn couples_samples(&self) -> bool {
        false
    }

    /// The shape of [`call`](Self::call)'s result for predictions of this shape: all but the last
    /// axis, and `(batch,)` for predictions of shape `(batch,)`.
    ///
    /// # Errors
    /// When there is no such shape.
    fn entries_shape(&self, y_pred: &[usize]) -> Result<Dims> {
        ensure!(!y_pred.is_empty(), Shape, "a loss needs predictions with a batch axis, found a scalar");
        Ok(Dims::from_slice(&y_pred[..(y_pred.len() - 1).max(1)]))
    }

    /// The loss of each entry.
    ///
    /// `y_pred` is `(batch, …, features)`, the result `(batch, …)`. What `y_true` must look like
    /// depends on the loss: mostly as `y_pred` (see [`align`]), for sparse losses as the result.
    ///
    /// # Errors
    /// When the shapes do not fit each other, or a label makes no sense.
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor>;

    /// The gradient of `sum(weights * call(y_true, y_pred))` with respect to `y_pred`: `weights` has
    /// the shape of [`call`](Self::call)'s result, the gradient that of `y_pred`.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor>;

    /// 1 for entries that count and 0 for those that are left out of the loss and of its divisor,
    /// with one value for each entry; `None` when all count.
    fn counted(&self, y_true: &Tensor) -> Option<Tensor> {
        let _ = y_true;
        None
    }
}

family! { Shared<dyn Loss>, "loss", "keras.losses";
    MeanSquaredError = "mse" | "mean_squared_error" | "MSE";
    MeanAbsoluteError = "mae" | "mean_absolute_error" | "MAE";
    MeanAbsolutePercentageError = "mape" | "mean_absolute_percentage_error" | "MAPE";
    MeanSquaredLogarithmicError = "msle" | "mean_squared_logarithmic_error" | "MSLE";
    Huber = "huber" | "huber_loss";
    LogCosh = "log_cosh" | "logcosh";
    CosineSimilarity = "cosine_similarity";
    BinaryCrossentropy = "binary_crossentropy" | "bce" | "BCE";
    CategoricalCrossentropy = "categorical_crossentropy";
    SparseCategoricalCrossentropy = "sparse_categorical_crossentropy";
    Crossentropy = "crossentropy" | "ce";
    KLDivergence = "kl_divergence" | "kld" | "KLD" | "kullback_leibler_divergence";
    Poisson = "poisson";
    BinaryFocalCrossentropy = "binary_focal_crossentropy";
    CategoricalFocalCrossentropy = "categorical_focal_crossentropy";
    CategoricalGeneralizedCrossEntropy = "categorical_generalized_cross_entropy";
    Hinge = "hinge";
    SquaredHinge = "squared_hinge";
    CategoricalHinge = "categorical_hinge";
    Dice = "dice";
    Tversky = "tversky";
    Circle = "circle";
    CTC = "ctc";
}

impl Loss for Unknown {
    fn check(&self) -> Result<()> {
        Err(self.error())
    }
    fn call(&self, _: &Tensor, _: &Tensor) -> Result<Tensor> {
        Err(self.error())
    }
    fn gradient(&self, _: &Tensor, _: &Tensor, _: &Tensor) -> Result<Tensor> {
        Err(self.error())
    }
}

/// How the losses of all entries become one number.
///
/// In Keras' configurations: `"sum_over_batch_size"`, `"sum"`, `"mean"`, `"mean_with_sample_weight"`,
/// `"none"` or null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Option<String>", into = "&'static str")]
pub enum Reduction {
    /// The weighted sum divided by the number of entries (not by the sum of the weights).
    #[default]
    SumOverBatchSize,
    /// The weighted sum.
    Sum,
    /// As [`SumOverBatchSize`](Self::SumOverBatchSize).
    Mean,
    /// The weighted sum divided by the sum of the sample weights.
    MeanWithSampleWeight,
    /// Not reduced: [`Loss::call`] gives the separate values. Training needs one number and
    /// takes their weighted sum.
    None,
}

impl From<Reduction> for &'static str {
    fn from(reduction: Reduction) -> Self {
        match reduction {
            Reduction::SumOverBatchSize => "sum_over_batch_size",
            Reduction::Sum => "sum",
            Reduction::Mean => "mean",
            Reduction::MeanWithSampleWeight => "mean_with_sample_weight",
            Reduction::None => "none",
        }
    }
}

impl TryFrom<Option<String>> for Reduction {
    type Error = Error;
    fn try_from(name: Option<String>) -> Result<Self> {
        let Some(name) = name else { return Ok(Reduction::None) };
        let all = [
            Reduction::SumOverBatchSize,
            Reduction::Sum,
            Reduction::Mean,
            Reduction::MeanWithSampleWeight,
            Reduction::None,
        ];
        let found = all.into_iter().find(|reduction| <&str>::from(*reduction) == name);
        found.ok_or_else(|| Error::unknown_name("reduction", &name, all.map(<&str>::from)))
    }
}

/// The loss of a whole batch as one number.
///
/// `sample_weight` is `(batch,)`, or for sequences `(batch, time)` or `(batch, 1)`.
///
/// ```
/// use cornu::{Tensor, losses::{self, SparseCategoricalCrossentropy}};
/// let y_true = Tensor::new([2], vec![1.0, 0.0])?;
/// let y_pred = Tensor::new([2, 2], vec![0.1, 0.9, 0.6, 0.4])?;
/// let loss = losses::value(&SparseCategoricalCrossentropy::new(), &y_true, &y_pred, None)?;
/// assert!((loss - 0.3081).abs() < 1e-4);
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When the loss's arguments make no sense or the shapes do not fit each other.
pub fn value(loss: &dyn Loss, y_true: &Tensor, y_pred: &Tensor, sample_weight: Option<&Tensor>) -> Result<f64> {
    loss.check()?;
    let entries = loss.call(y_true, y_pred)?;
    let weights = entry_weights(loss, y_true, entries.shape(), sample_weight)?;
    Ok(weighted_sum(&entries, &weights))
}

/// `sum(weights * entries)`, the total of a loss.
pub fn weighted_sum(entries: &Tensor, weights: &Tensor) -> f64 {
    entries
        .data()
        .iter()
        .zip(weights.data())
        .filter(|(_, w)| **w != 0.0)
        .map(|(l, w)| f64::from(*l) * f64::from(*w))
        .sum()
}

/// The weight of each entry in the total, so that the loss of the batch is `sum(weights * call(…))`.
///
/// It is computed for the whole batch; a step that works on a piece of it takes the matching slice.
/// `entries` is [`Loss::entries_shape`]; `sample_weight` is `(batch,)`, or for entries of more axes
/// of their rank, where an axis may have size 1.
///
/// # Errors
/// When `sample_weight` does not fit the entries.
pub fn entry_weights(
    loss: &dyn Loss,
    y_true: &Tensor,
    entries: &[usize],
    sample_weight: Option<&Tensor>,
) -> Result<Tensor> {
    masked_entry_weights(loss, y_true, entries, sample_weight, None)
}

/// As [`entry_weights`], with a mask that came to the output: 1 for entries that count, 0 for the others.
///
/// With a mean as reduction, the entries that count weigh `total / counted`, so that the loss is the
/// mean over them.
///
/// # Errors
/// When `sample_weight` or `mask` does not fit the entries.
pub fn masked_entry_weights(
    loss: &dyn Loss,
    y_true: &Tensor,
    entries: &[usize],
    sample_weight: Option<&Tensor>,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let reduction = loss.reduction();
    if entries.is_empty() {
        // One loss for the whole batch: Keras multiplies it with each weight, then reduces.
        let weight = match sample_weight {
            Some(weights) => {
                let all = reduce(reduction, y_true, weights.shape(), Some(weights), None)?;
                all.data().iter().map(|w| f64::from(*w)).sum()
            }
            None => 1.0,
        };
        return Tensor::new([], vec![weight as f32]);
    }
    let sample_weight = sample_weight.map(|weights| fit_sample_weight(weights, entries)).transpose()?;
    let counted = loss.counted(y_true).map(|counted| counted.reshape(entries)).transpose()?;
    let mask = match (counted, mask) {
        (None, None) => None,
        (Some(counted), None) => Some(counted),
        (None, Some(mask)) => Some(spread("mask", mask, entries)?),
        (Some(counted), Some(mask)) => Some(counted.zip_map(&spread("mask", mask, entries)?, |a, b| a * b)?),
    };
    reduce(reduction, y_true, entries, sample_weight.as_ref(), mask)
}

/// The weights of entries, from those of samples and from which entries count, in memory from where that of `y_true`
/// is.
fn reduce(
    reduction: Reduction,
    y_true: &Tensor,
    entries: &[usize],
    samples: Option<&Tensor>,
    mask: Option<Tensor>,
) -> Result<Tensor> {
    let total = entries.iter().product::<usize>() as f64;
    let sum = |weights: &Tensor| weights.data().iter().map(|w| f64::from(*w)).sum::<f64>();
    let over = |a: f64, b: f64| if b == 0.0 { 0.0 } else { a / b };
    let masked = mask.is_some();
    let averages = matches!(reduction, Reduction::SumOverBatchSize | Reduction::Mean);

    let scale = match &mask {
        Some(mask) if averages => over(total, sum(mask)),
        _ => 1.0,
    };
    let mut weights = mask.unwrap_or_else(|| {
        let mut all = y_true.sibling(entries);
        all.data_mut().fill(1.0);
        all
    });
    if let Some(samples) = samples {
        weights = weights.zip_map(&spread("sample_weight", samples, entries)?, |a, b| a * b)?;
    }
    let divisor = match reduction {
        Reduction::Sum | Reduction::None => 1.0,
        Reduction::SumOverBatchSize | Reduction::Mean => total,
        // Keras sums the weights as given, before they are repeated for the steps of a sequence.
        Reduction::MeanWithSampleWeight => sum(samples.filter(|_| !masked).unwrap_or(&weights)),
    };
    let factor = over(scale, divisor) as f32;
    Ok(weights.map(|w| w * factor))
}

/// Sample weights with the rank of the entries.
fn fit_sample_weight(weights: &Tensor, entries: &[usize]) -> Result<Tensor> {
    let rank = entries.len();
    let mut shape = Dims::from_slice(weights.shape());
    if shape.len() == rank + 1 && shape.last() == Some(&1) {
        shape.pop();
    }
    if shape.len() == 1 && entries[1..].iter().all(|&n| n == 1) {
        shape.resize(rank, 1);
    }
    ensure!(
        shape.len() == rank && shape[0] == entries[0] && shape.iter().zip(entries).all(|(&w, &n)| w == n || w == 1),
        Shape,
        "sample_weight of shape {:?} does not fit {entries:?}, the losses that it weighs{}",
        weights.shape(),
        match entries {
            [n] => format!("; give one weight for each sample: ({n},)"),
            [n, t] => format!("; give one for each step, ({n}, {t}), or one for each sample, ({n}, 1)"),
            _ => "; give it their shape, with 1 for axes along which it does not change".to_owned(),
        }
    );
    weights.clone().reshape(shape)
}

/// Repeats `weights` along the axes of `shape` that it lacks at its end or has with size 1.
pub(crate) fn spread(what: &str, weights: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let mut own = Dims::from_slice(weights.shape());
    if own.len() == shape.len() + 1 && own.last() == Some(&1) {
        own.pop();
    }
    ensure!(
        own.len() <= shape.len() && own.iter().zip(shape).all(|(w, n)| w == n || *w == 1),
        Shape,
        "{what} of shape {:?} does not fit {shape:?}",
        weights.shape()
    );
    own.resize(shape.len(), 1);
    if own.as_slice() == shape {
        return weights.clone().reshape(shape);
    }
    let mut values = Vec::with_capacity(shape.iter().product());
    repeat(weights.data(), &own, shape, &mut values);
    Tensor::new(shape, values)
}

fn repeat(values: &[f32], own: &[usize], shape: &[usize], out: &mut Vec<f32>) {
    let ([mine, own @ ..], [n, shape @ ..]) = (own, shape) else {
        return out.extend_from_slice(values);
    };
    let step = values.len() / (*mine).max(1);
    for i in 0..*n {
        let at = if *mine == 1 { 0 } else { i * step };
        repeat(&values[at..at + step], own, shape, out);
    }
}

/// Gives `y_true` the shape of the predictions, where Keras would: `(batch,)` and `(batch, 1)` stand
/// for each other, as do `(batch, time)` and `(batch, time, 1)`.
///
/// # Errors
/// When the shapes do not fit.
pub fn align(y_true: &Tensor, y_pred: &[usize]) -> Result<Tensor> {
    let shape = y_true.shape();
    if shape == y_pred {
        return Ok(y_true.clone());
    }
    if without_last_one(shape) == without_last_one(y_pred) && shape.len().abs_diff(y_pred.len()) == 1 {
        return y_true.clone().reshape(y_pred);
    }
    let hint = match (shape, y_pred) {
        ([n, ..], [m, ..]) if n != m => "there must be one target for each prediction",
        ([_] | [_, 1], [_, c]) if *c > 1 => {
            "targets that are class numbers need a sparse loss or metric, such as sparse_categorical_crossentropy"
        }
        _ => "the last layer must have as many units as the targets have values",
    };
    Err(Error::Shape(format!("targets of shape {shape:?} do not fit predictions of shape {y_pred:?}; {hint}")))
}

fn without_last_one(shape: &[usize]) -> &[usize] {
    match shape {
        [rest @ .., 1] if !rest.is_empty() => rest,
        all => all,
    }
}

/// The targets as class numbers, one for each row of the predictions: `(batch, …)` or `(batch, …, 1)`
/// for predictions `(batch, …, classes)`.
pub(crate) fn align_labels(y_true: &Tensor, y_pred: &[usize]) -> Result<Tensor> {
    let shape = y_true.shape();
    let [rows @ .., classes] = y_pred else {
        return Err(Error::Shape("class probabilities need an axis of classes, found a scalar".to_owned()));
    };
    ensure!(
        !rows.is_empty() && *classes > 0,
        Shape,
        "class probabilities must have the shape (batch, …, classes), found {y_pred:?}"
    );
    if shape == rows || matches!(shape, [head @ .., 1] if head == rows) {
        return y_true.clone().reshape(rows);
    }
    let hint = if shape == y_pred {
        "one-hot targets need the variant without \"sparse\", such as categorical_crossentropy".to_owned()
    } else {
        format!("they must be class numbers of shape {rows:?}")
    };
    Err(Error::Shape(format!("targets of shape {shape:?} do not fit predictions of shape {y_pred:?}: {hint}")))
}

/// The length of a row of the predictions: the last axis, or 1 for predictions of shape `(batch,)`.
fn width(y_pred: &Tensor) -> Result<usize> {
    let width = if y_pred.rank() < 2 { 1 } else { y_pred.last() };
    ensure!(
        y_pred.rank() > 0 && width > 0,
        Shape,
        "predictions of shape {:?} have no values to compare with targets",
        y_pred.shape()
    );
    Ok(width)
}

/// The shape of one entry a row.
fn rows_shape(y_pred: &Tensor) -> Dims {
    let shape = y_pred.shape();
    Dims::from_slice(&shape[..(shape.len() - 1).max(1)])
}

/// The entries of a loss that looks at rows: `value(targets, predictions)` of each.
fn per_row(y_true: &Tensor, y_pred: &Tensor, value: impl Fn(&[f32], &[f32]) -> f64) -> Result<Tensor> {
    let width = width(y_pred)?;
    let y_true = align(y_true, y_pred.shape())?;
    let mut entries = y_pred.sibling(rows_shape(y_pred));
    let rows = y_true.data().chunks_exact(width).zip(y_pred.data().chunks_exact(width));
    let entries_and_rows = entries.data_mut().iter_mut().zip(rows);
    vectorised(
        #[inline(always)]
        move || entries_and_rows.for_each(|(entry, (y, p))| *entry = value(y, p) as f32),
    );
    Ok(entries)
}

/// The gradient of a loss that looks at rows. `fill(targets, predictions, weight, gradient)` writes one.
fn row_gradient(
    y_true: &Tensor,
    y_pred: &Tensor,
    weights: &Tensor,
    fill: impl Fn(&[f32], &[f32], f32, &mut [f32]),
) -> Result<Tensor> {
    let width = width(y_pred)?;
    let y_true = align(y_true, y_pred.shape())?;
    check_weights(weights, &rows_shape(y_pred))?;
    let mut gradient = y_pred.sibling(y_pred.shape());
    let rows = y_true.data().chunks_exact(width).zip(y_pred.data().chunks_exact(width));
    // Not over wide vectors: rows are mostly shorter than those.
    for ((g, (y, p)), w) in gradient.data_mut().chunks_exact_mut(width).zip(rows).zip(weights.data()) {
        fill(y, p, *w, g);
    }
    Ok(gradient)
}

/// The sum of `term(target, prediction)` over a row, several side by side.
#[inline(always)]
fn sum_of(y: &[f32], p: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    const LANES: usize = 8;
    let ((y, y_rest), (p, p_rest)) = (y.as_chunks::<LANES>(), p.as_chunks::<LANES>());
    let mut lanes = [0f64; LANES];
    for (y, p) in y.iter().zip(p) {
        for i in 0..LANES {
            lanes[i] += f64::from(term(y[i], p[i]));
        }
    }
    let rest: f64 = y_rest.iter().zip(p_rest).map(|(y, p)| f64::from(term(*y, *p))).sum();
    lanes.iter().sum::<f64>() + rest
}

fn check_weights(weights: &Tensor, entries: &[usize]) -> Result<()> {
    ensure!(
        weights.shape() == entries,
        Shape,
        "weights of shape {:?} do not fit losses of shape {entries:?}",
        weights.shape()
    );
    Ok(())
}

/// The entries of a loss that is the mean of `value(target, prediction)` over the last axis.
///
/// # Errors
/// When targets and predictions do not fit each other.
pub fn mean_of(y_true: &Tensor, y_pred: &Tensor, value: impl Fn(f32, f32) -> f32) -> Result<Tensor> {
    per_row(y_true, y_pred, move |y, p| sum_of(y, p, &value) / p.len() as f64)
}

/// The gradient of a loss made with [`mean_of`]: `derivative(target, prediction)` is that of the
/// value with respect to the prediction.
///
/// # Errors
/// When targets, predictions and weights do not fit each other.
pub fn mean_gradient(
    y_true: &Tensor,
    y_pred: &Tensor,
    weights: &Tensor,
    derivative: impl Fn(f32, f32) -> f32,
) -> Result<Tensor> {
    row_gradient(y_true, y_pred, weights, |y, p, w, g| {
        let w = w / p.len() as f32;
        for ((g, y), p) in g.iter_mut().zip(y).zip(p) {
            *g = w * derivative(*y, *p);
        }
    })
}

/// A loss over an axis that is not the last one: the tensors with that axis moved to the end.
struct LastAxis {
    axis: usize,
    rank: usize,
}

impl LastAxis {
    fn new(axis: isize, y_pred: &Tensor) -> Result<Self> {
        Ok(LastAxis { axis: resolve_axis(axis, y_pred.rank())?, rank: y_pred.rank() })
    }

    /// Whether there is nothing to move.
    fn is_last(&self) -> bool {
        self.axis + 1 == self.rank
    }

    /// Whether this axis may be the batch: a negative one may, as long as the rank is not known.
    fn may_couple(axis: isize) -> bool {
        axis == 0 || axis < -1
    }

    /// The shape of the entries of predictions of this shape.
    fn entries(axis: isize, y_pred: &[usize]) -> Result<Dims> {
        let mut dims = Dims::from_slice(y_pred);
        let axis = resolve_axis(axis, dims.len())?;
        if dims.len() > 1 {
            dims.remove(axis);
        }
        Ok(dims)
    }

    fn to_end(&self, tensor: &Tensor) -> Tensor {
        let mut order: Vec<usize> = (0..self.rank).collect();
        order.remove(self.axis);
        order.push(self.axis);
        Tensor::from(tensor.view().permuted_axes(order).to_owned())
    }

    fn back(&self, tensor: &Tensor) -> Tensor {
        let mut order: Vec<usize> = (0..self.rank - 1).collect();
        order.insert(self.axis, self.rank - 1);
        Tensor::from(tensor.view().permuted_axes(order).to_owned())
    }

    /// The entries of a loss that `call` computes along the last axis.
    fn call(
        axis: isize,
        y_true: &Tensor,
        y_pred: &Tensor,
        call: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let moved = Self::new(axis, y_pred)?;
        if moved.is_last() {
            return call(y_true, y_pred);
        }
        call(&moved.to_end(&align(y_true, y_pred.shape())?), &moved.to_end(y_pred))
    }

    /// The gradient of a loss that `gradient` computes along the last axis.
    fn gradient(
        axis: isize,
        y_true: &Tensor,
        y_pred: &Tensor,
        gradient: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let moved = Self::new(axis, y_pred)?;
        if moved.is_last() {
            return gradient(y_true, y_pred);
        }
        let gradient = gradient(&moved.to_end(&align(y_true, y_pred.shape())?), &moved.to_end(y_pred))?;
        Ok(moved.back(&gradient))
    }
}

/// Checks that `value`, an argument called `name`, lies between 0 and 1.
fn check_share(name: &str, value: f64) -> Result<()> {
    ensure!((0.0..=1.0).contains(&value), Argument, "{name} is {value}; it must lie between 0 and 1");
    Ok(())
}

/// Which of the three crossentropies (and accuracies) fits targets and predictions of these shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Labels {
    Binary,
    Sparse,
    Categorical,
}

impl Labels {
    /// Keras' rule. It looks at shapes alone, not at the loss or the last activation.
    pub fn of(y_true: &[usize], y_pred: &[usize]) -> Self {
        match (y_true, y_pred) {
            (_, [.., 1] | []) => Labels::Binary,
            (y, p) if y.len() < p.len() || y.last() == Some(&1) => Labels::Sparse,
            _ => Labels::Categorical,
        }
    }
}

/// A loss's struct with Keras' arguments and defaults, its `new`, and a builder method for each.
macro_rules! loss {
    ($(#[$doc:meta])* $class:ident, $name:literal;
     $($(#[$field_doc:meta])* $field:ident $(($argument:ty))?: $type:ty = $default:expr;)*) => {
        $(#[$doc])*
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $class {
            pub(crate) name: String,
            pub(crate) reduction: $crate::losses::Reduction,
            $(pub(crate) $field: $type,)*
        }

        impl Default for $class {
            fn default() -> Self {
                $class { name: $name.to_owned(), reduction: Default::default(), $($field: $default,)* }
            }
        }

        impl $class {
            /// The loss with Keras' defaults.
            pub fn new() -> Self {
                Self::default()
            }

            /// Its name in reports.
            pub fn name(mut self, name: impl Into<String>) -> Self {
                self.name = name.into();
                self
            }

            /// How the losses of a batch become one number; the default is their mean.
            pub fn reduction(mut self, reduction: $crate::losses::Reduction) -> Self {
                self.reduction = reduction;
                self
            }

            $(
                $(#[$field_doc])*
                pub fn $field(mut self, $field: $crate::losses::loss!(@argument $type $(, $argument)?)) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
    // A builder takes the field's own type, unless another stands in brackets behind its name.
    (@argument $type:ty) => { $type };
    (@argument $type:ty, $argument:ty) => { $argument };
    // The methods of `Loss` that are the same in each.
    (@common) => {
        fn config(&self) -> $crate::error::Result<$crate::config::Config> {
            $crate::config::of(self)
        }
        fn name(&self) -> String {
            self.name.clone()
        }
        fn reduction(&self) -> $crate::losses::Reduction {
            self.reduction
        }
    };
}
use loss;

#[cfg(test)]
mod tests;
