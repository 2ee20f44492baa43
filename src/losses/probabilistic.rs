//! Losses for probabilities.

use super::{
    EPSILON, Labels, LastAxis, Loss, align_labels, check_share, check_weights, loss, mean_gradient, mean_of, per_row,
    row_gradient, sum_of, width,
};
use crate::activations::math::{exp, ln};
pub(super) use crate::activations::math::{sigmoid, softplus};
use crate::error::{Error, Result, ensure};
use crate::shape::Dims;
use crate::tensor::Tensor;

/// The largest probability that is not clipped.
pub(super) const TOP: f32 = 1.0 - EPSILON;

/// Whether clipping to `[1e-7, 1 - 1e-7]` changes `p` (it never changes NaN): there its derivative is 0.
pub(super) fn clipped(p: f32) -> bool {
    !(EPSILON..=TOP).contains(&p) && !p.is_nan()
}

/// The largest value; NaN if there is one.
fn largest(x: &[f32]) -> f32 {
    x.iter().fold(f32::NEG_INFINITY, |a, b| if *b > a || b.is_nan() { *b } else { a })
}

/// `log(sum(exp(x)))`.
#[inline(always)]
fn log_sum_exp(x: &[f32]) -> f64 {
    let largest = largest(x);
    let sum = sum_of(x, x, |x, _| exp(x - largest));
    sum.ln() + f64::from(largest)
}

/// Writes `softmax(x)`.
#[inline(always)]
pub(super) fn softmax_into(x: &[f32], out: &mut [f32]) {
    let largest = largest(x);
    out.iter_mut().zip(x).for_each(|(o, x)| *o = exp(x - largest));
    let scale = (1.0 / sum(out)) as f32;
    out.iter_mut().for_each(|o| *o *= scale);
}

pub(super) fn sum(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x)).sum()
}

/// What label smoothing makes of a one-hot target of `classes` values: `y * (1 - s) + s / classes`.
pub(super) fn smooth(smoothing: f64, classes: usize) -> impl Fn(f32) -> f32 + Copy {
    let (keep, add) = ((1.0 - smoothing) as f32, (smoothing / classes.max(1) as f64) as f32);
    move |y| y * keep + add
}

loss! {
    /// The crossentropy of independent yes/no labels: the mean of `-y log p - (1 - y) log(1 - p)`.
    ///
    /// Targets and predictions have one shape, `(batch, labels)`; each label is 0 or 1 (or a
    /// probability). Probabilities are clipped to `[1e-7, 1 - 1e-7]`.
    BinaryCrossentropy, "binary_crossentropy";
    /// Whether predictions are logits (the last layer has no sigmoid); the default is false.
    from_logits: bool = false;
    /// How far labels are drawn towards 1/2, from 0 to 1: `y * (1 - s) + s / 2`.
    label_smoothing: f64 = 0.0;
    /// The axis that the mean is over; the default is -1.
    axis: isize = -1;
}

impl Loss for BinaryCrossentropy {
    loss!(@common);
    fn check(&self) -> Result<()> {
        check_share("label_smoothing", self.label_smoothing)
    }
    fn couples_samples(&self) -> bool {
        LastAxis::may_couple(self.axis)
    }
    fn entries_shape(&self, y_pred: &[usize]) -> Result<Dims> {
        LastAxis::entries(self.axis, y_pred)
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        let smooth = smooth(self.label_smoothing, 2);
        LastAxis::call(self.axis, y_true, y_pred, |y_true, y_pred| {
            if self.from_logits {
                mean_of(y_true, y_pred, |y, x| softplus(x) - smooth(y) * x)
            } else {
                mean_of(y_true, y_pred, |y, p| crossentropy(smooth(y), p))
            }
        })
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let smooth = smooth(self.label_smoothing, 2);
        LastAxis::gradient(self.axis, y_true, y_pred, |y_true, y_pred| {
            if self.from_logits {
                mean_gradient(y_true, y_pred, weights, |y, x| sigmoid(x) - smooth(y))
            } else {
                mean_gradient(y_true, y_pred, weights, |y, p| crossentropy_slope(smooth(y), p))
            }
        })
    }
}

/// `-y log p - (1 - y) log(1 - p)`, clipped.
#[inline(always)]
pub(super) fn crossentropy(y: f32, p: f32) -> f32 {
    let p = p.clamp(EPSILON, TOP);
    -y * ln(p) - (1.0 - y) * ln(1.0 - p)
}

/// Its derivative.
pub(super) fn crossentropy_slope(y: f32, p: f32) -> f32 {
    if clipped(p) { 0.0 } else { (1.0 - y) / (1.0 - p) - y / p }
}

loss! {
    /// The crossentropy of one class out of many, for one-hot targets: `-sum(y log p)`.
    ///
    /// Targets and predictions have one shape, `(batch, classes)`. Probabilities are divided by their
    /// sum and clipped to `[1e-7, 1 - 1e-7]`. For class numbers as targets there is
    /// [`SparseCategoricalCrossentropy`].
    CategoricalCrossentropy, "categorical_crossentropy";
    /// Whether predictions are logits (the last layer has no softmax); the default is false.
    from_logits: bool = false;
    /// How far targets are drawn towards the even distribution, from 0 to 1: `y * (1 - s) + s / classes`.
    label_smoothing: f64 = 0.0;
    /// The axis of the classes; the default is -1.
    axis: isize = -1;
}

impl Loss for CategoricalCrossentropy {
    loss!(@common);
    fn check(&self) -> Result<()> {
        check_share("label_smoothing", self.label_smoothing)
    }
    fn couples_samples(&self) -> bool {
        LastAxis::may_couple(self.axis)
    }
    fn entries_shape(&self, y_pred: &[usize]) -> Result<Dims> {
        LastAxis::entries(self.axis, y_pred)
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        let smooth = smooth(self.label_smoothing, y_pred.last());
        LastAxis::call(self.axis, y_true, y_pred, |y_true, y_pred| {
            per_row(y_true, y_pred, |y, p| {
                if self.from_logits {
                    let total = log_sum_exp(p);
                    y.iter().zip(p).map(|(y, x)| f64::from(smooth(*y)) * (total - f64::from(*x))).sum()
                } else {
                    let scale = (1.0 / sum(p)) as f32;
                    sum_of(y, p, |y, p| -smooth(y) * ln((p * scale).clamp(EPSILON, TOP)))
                }
            })
        })
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let smooth = smooth(self.label_smoothing, y_pred.last());
        LastAxis::gradient(self.axis, y_true, y_pred, |y_true, y_pred| {
            row_gradient(y_true, y_pred, weights, |y, p, w, g| {
                if self.from_logits {
                    softmax_into(p, g);
                    let total = y.iter().map(|y| f64::from(smooth(*y))).sum::<f64>() as f32;
                    for (g, y) in g.iter_mut().zip(y) {
                        *g = w * (*g * total - smooth(*y));
                    }
                } else {
                    slope_of_normalized(p, w, g, |i, q| if clipped(q) { 0.0 } else { -smooth(y[i]) / q });
                }
            })
        })
    }
}

/// Writes `w` times the gradient of a function of `q = p / sum(p)`, from `slope(i, q[i])`, its
/// derivative with respect to `q[i]`: that of `p[k]` is `(slope[k] - sum(slope * q)) / sum(p)`.
pub(super) fn slope_of_normalized(p: &[f32], w: f32, g: &mut [f32], slope: impl Fn(usize, f32) -> f32) {
    let scale = (1.0 / sum(p)) as f32;
    let mut common = 0.0;
    for (i, (g, p)) in g.iter_mut().zip(p).enumerate() {
        let q = p * scale;
        *g = slope(i, q);
        common += f64::from(*g * q);
    }
    let common = common as f32;
    for g in g {
        *g = w * (*g - common) * scale;
    }
}

loss! {
    /// The crossentropy of one class out of many, for class numbers as targets: `-log p[y]`.
    ///
    /// Targets are `(batch,)` or `(batch, 1)` with whole numbers from 0, predictions `(batch, classes)`;
    /// for sequences `(batch, time)` and `(batch, time, classes)`. Probabilities are divided by their
    /// sum and clipped to `[1e-7, 1 - 1e-7]`. For one-hot targets there is [`CategoricalCrossentropy`].
    SparseCategoricalCrossentropy, "sparse_categorical_crossentropy";
    /// Whether predictions are logits (the last layer has no softmax); the default is false.
    from_logits: bool = false;
    /// A label whose entries are left out of the loss and of its mean, often -1 or 255.
    ignore_class(i64): Option<i64> = None;
}

/// The class that a label names.
///
/// # Errors
/// When it is not a whole number from 0 to below `classes`.
fn class_of(label: f32, at: usize, classes: usize, shape: &[usize]) -> Result<usize> {
    if label >= 0.0 && label < classes as f32 && label.fract() == 0.0 {
        return Ok(label as usize);
    }
    let mut place = Vec::new();
    let mut rest = at;
    for &n in shape.iter().rev() {
        place.push((rest % n.max(1)).to_string());
        rest /= n.max(1);
    }
    place.reverse();
    let hint = match classes {
        1 => "; with one output unit use binary_crossentropy",
        _ if label == -1.0 => "; to leave it out, set ignore_class",
        _ => "",
    };
    Err(Error::Data(format!(
        "label {label} at position ({}) is not a class of a model with {classes} classes: labels must be whole \
         numbers from 0 to {}{hint}",
        place.join(", "),
        classes - 1
    )))
}

impl SparseCategoricalCrossentropy {
    fn ignores(&self, label: f32) -> bool {
        self.ignore_class.is_some_and(|ignored| label == ignored as f32)
    }

    /// The class of each row of the predictions, `None` where it is ignored.
    fn classes<'a>(&'a self, labels: &'a Tensor, classes: usize) -> impl Iterator<Item = Result<Option<usize>>> + 'a {
        labels.data().iter().enumerate().map(move |(at, &label)| {
            if self.ignores(label) { Ok(None) } else { class_of(label, at, classes, labels.shape()).map(Some) }
        })
    }
}

impl Loss for SparseCategoricalCrossentropy {
    loss!(@common);
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        let labels = align_labels(y_true, y_pred.shape())?;
        let mut entries = y_pred.sibling(labels.shape());
        let rows = y_pred.data().chunks_exact(y_pred.last());
        for ((entry, class), p) in entries.data_mut().iter_mut().zip(self.classes(&labels, y_pred.last())).zip(rows) {
            *entry = match class? {
                None => 0.0,
                Some(class) if self.from_logits => (log_sum_exp(p) - f64::from(p[class])) as f32,
                Some(class) => -((f64::from(p[class]) / sum(p)) as f32).clamp(EPSILON, TOP).ln(),
            };
        }
        Ok(entries)
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let labels = align_labels(y_true, y_pred.shape())?;
        check_weights(weights, labels.shape())?;
        let n = y_pred.last();
        let mut gradient = y_pred.sibling(y_pred.shape());
        let rows = gradient.data_mut().chunks_exact_mut(n).zip(y_pred.data().chunks_exact(n));
        for (((g, p), class), w) in rows.zip(self.classes(&labels, n)).zip(weights.data()) {
            match class? {
                None => g.fill(0.0),
                Some(class) if self.from_logits => {
                    softmax_into(p, g);
                    g.iter_mut().for_each(|g| *g *= w);
                    g[class] -= w;
                }
                Some(class) => {
                    // -log(p / sum): every probability in the sum, the right one once more by itself.
                    let total = sum(p);
                    if clipped((f64::from(p[class]) / total) as f32) {
                        g.fill(0.0);
                    } else {
                        g.fill(w * (1.0 / total) as f32);
                        g[class] -= w / p[class];
                    }
                }
            }
        }
        Ok(gradient)
    }
    fn counted(&self, y_true: &Tensor) -> Option<Tensor> {
        self.ignore_class?;
        Some(y_true.clone().map(|label| if self.ignores(label) { 0.0 } else { 1.0 }))
    }
}

loss! {
    /// The crossentropy that fits the shapes: [`BinaryCrossentropy`] if predictions have one value,
    /// [`SparseCategoricalCrossentropy`] if targets have fewer axes than predictions or a last one of
    /// size 1, else [`CategoricalCrossentropy`]. This is Keras' `"crossentropy"`.
    Crossentropy, "crossentropy";
}

impl Crossentropy {
    fn chosen<T>(&self, y_true: &Tensor, y_pred: &Tensor, with: impl FnOnce(&dyn Loss) -> T) -> T {
        match Labels::of(y_true.shape(), y_pred.shape()) {
            Labels::Binary => with(&BinaryCrossentropy::new()),
            Labels::Sparse => with(&SparseCategoricalCrossentropy::new()),
            Labels::Categorical => with(&CategoricalCrossentropy::new()),
        }
    }
}

impl Loss for Crossentropy {
    loss!(@common);
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        self.chosen(y_true, y_pred, |loss| loss.call(y_true, y_pred))
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        self.chosen(y_true, y_pred, |loss| loss.gradient(y_true, y_pred, weights))
    }
}

loss! {
    /// The Kullback–Leibler divergence: `sum(y log(y / p))`, both clipped to `[1e-7, 1]`.
    KLDivergence, "kl_divergence";
}

impl Loss for KLDivergence {
    loss!(@common);
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        per_row(y_true, y_pred, |y, p| {
            sum_of(y, p, |y, p| {
                let (y, p) = (y.clamp(EPSILON, 1.0), p.clamp(EPSILON, 1.0));
                y * ln(y / p)
            })
        })
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        row_gradient(y_true, y_pred, weights, |y, p, w, g| {
            for ((g, y), p) in g.iter_mut().zip(y).zip(p) {
                let clipped = *p < EPSILON || *p > 1.0;
                *g = if clipped { 0.0 } else { -w * y.clamp(EPSILON, 1.0) / p };
            }
        })
    }
}

loss! {
    /// The Poisson loss, for counts: the mean of `p - y log(p + 1e-7)`.
    Poisson, "poisson";
}

impl Loss for Poisson {
    loss!(@common);
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        mean_of(y_true, y_pred, |y, p| p - y * (p + EPSILON).ln())
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        mean_gradient(y_true, y_pred, weights, |y, p| 1.0 - y / (p + EPSILON))
    }
}

loss! {
    /// A crossentropy that bears wrong labels: `(1 - p[y]^q) / q`, for class numbers as targets.
    ///
    /// Near `q = 0` it is the crossentropy, near 1 the absolute error
    /// ([Zhang & Sabuncu, 2018](https://arxiv.org/abs/1805.07836)).
    CategoricalGeneralizedCrossEntropy, "categorical_generalized_cross_entropy";
    /// Between 0 and 1, both excluded; the default is 0.5.
    q: f64 = 0.5;
}

impl Loss for CategoricalGeneralizedCrossEntropy {
    loss!(@common);
    fn check(&self) -> Result<()> {
        ensure!(self.q > 0.0 && self.q < 1.0, Argument, "q is {}; it must lie between 0 and 1", self.q);
        Ok(())
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        let labels = align_labels(y_true, y_pred.shape())?;
        let n = width(y_pred)?;
        let mut entries = y_pred.sibling(labels.shape());
        let rows = y_pred.data().chunks_exact(n).zip(labels.data()).enumerate();
        for (entry, (at, (p, label))) in entries.data_mut().iter_mut().zip(rows) {
            let class = class_of(*label, at, n, labels.shape())?;
            *entry = ((1.0 - f64::from(p[class]).powf(self.q)) / self.q) as f32;
        }
        Ok(entries)
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let labels = align_labels(y_true, y_pred.shape())?;
        check_weights(weights, labels.shape())?;
        let n = width(y_pred)?;
        let mut gradient = y_pred.sibling(y_pred.shape());
        let rows = y_pred.data().chunks_exact(n).zip(labels.data()).zip(weights.data()).enumerate();
        for (g, (at, ((p, label), w))) in gradient.data_mut().chunks_exact_mut(n).zip(rows) {
            let class = class_of(*label, at, n, labels.shape())?;
            g.fill(0.0);
            g[class] = (-f64::from(*w) * f64::from(p[class]).powf(self.q - 1.0)) as f32;
        }
        Ok(gradient)
    }
}
