//! Connectionist temporal classification.

use super::{Loss, check_weights, loss};
use crate::error::{Context, Error, Result, ensure};
use crate::shape::Dims;
use crate::tensor::Tensor;

loss! {
    /// For labels whose places in a sequence are not known, as in speech and handwriting: minus the logarithm of the
    /// probability that the steps spell the labels, each repeated any number of times, with any number of blanks
    /// between them ([Graves et al., 2006](https://www.cs.toronto.edu/~graves/icml_2006.pdf)).
    ///
    /// Predictions are logits `(batch, time, classes)`, before softmax; class 0 is the blank. Targets are class numbers
    /// `(batch, labels)` from 1 on, filled up at the end with 0. The loss of a sample is a sum over its steps, not a
    /// mean. [`CtcDecoder`](super::CtcDecoder) turns predictions into labels.
    ///
    /// Labels that do not fit into the steps (equal neighbours need a blank between them) are an error here; Keras gives
    /// an infinite loss on PyTorch and a very large one on JAX.
    CTC, "ctc";
}

/// The CTC loss of each sample of a batch `(batch,)`, with lengths and a blank of one's own (Keras: `ops.ctc_loss`).
///
/// `target` holds class numbers `(batch, labels)`, `output` logits `(batch, time, classes)`; of sample `i` count the first
/// `target_length[i]` labels and the first `output_length[i]` steps. `mask_index` is the class of the blank.
///
/// ```
/// use cornu::{Tensor, losses::ctc_loss};
/// // Two steps of two classes, of even chances: of the four ways three spell the label 1.
/// let loss = ctc_loss(&Tensor::new([1, 1], vec![1.0])?, &Tensor::zeros([1, 2, 2]), &[1], &[2], 0)?;
/// assert!((loss.data()[0] - (4f32 / 3.0).ln()).abs() < 1e-6);
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When shapes or lengths do not fit, a label is no class or the blank, or labels do not fit into the steps.
pub fn ctc_loss(
    target: &Tensor,
    output: &Tensor,
    target_length: &[usize],
    output_length: &[usize],
    mask_index: usize,
) -> Result<Tensor> {
    let [n, time, classes] = sizes(target, output)?;
    ensure!(
        target_length.len() == n && output_length.len() == n,
        Shape,
        "{n} samples have {} lengths of labels and {} of steps",
        target_length.len(),
        output_length.len()
    );
    ensure!(mask_index < classes, Argument, "mask_index is {mask_index}; there are {classes} classes");
    let of = |i: usize| {
        let (labels, steps) = (target_length[i], output_length[i]);
        ensure!(
            labels <= target.last() && steps <= time,
            Shape,
            "it has {labels} labels of {} and {steps} steps of {time}",
            target.last()
        );
        let labels = classes_of(&target.row(i)[..labels], classes, mask_index)?;
        Ok(-Lattice::new(&labels, &output.row(i)[..steps * classes], classes, mask_index)?.total as f32)
    };
    let losses = (0..n).map(|i| of(i).at(|| format!("sample {i}"))).collect::<Result<_>>()?;
    Tensor::new([n], losses)
}

/// Batch, time and classes.
fn sizes(target: &Tensor, output: &Tensor) -> Result<[usize; 3]> {
    match (target.shape(), output.shape()) {
        ([m, _], [n, time, classes]) if m == n && *classes > 0 => Ok([*n, *time, *classes]),
        (target, output) => Err(Error::Shape(format!(
            "CTC needs targets of shape (batch, labels) and logits of shape (batch, time, classes), found {target:?} and \
             {output:?}"
        ))),
    }
}

/// Labels as classes, none of which is the blank.
fn classes_of(labels: &[f32], classes: usize, blank: usize) -> Result<Vec<usize>> {
    let class = |(at, &label): (usize, &f32)| {
        let is_class = label.fract() == 0.0 && label >= 0.0 && label < classes as f32 && label as usize != blank;
        ensure!(
            is_class,
            Data,
            "label {label} at position {at} is none of the classes 0 to {} without the blank, {blank}",
            classes - 1
        );
        Ok(label as usize)
    };
    labels.iter().enumerate().map(class).collect()
}

/// `ln(e^a + e^b)`
pub(super) fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// The ways through a sequence. A state is a label or one of the blanks around it: of `l` labels there are `2 l + 1`
/// states, and a step leads from one to itself, to the next, or over a blank between two different labels. All in
/// logarithms of 64 bits.
struct Lattice<'a> {
    /// The class of each state.
    states: Vec<usize>,
    classes: usize,
    /// The logarithms of the probabilities, `(time, classes)`.
    log_probs: Vec<f64>,
    /// Those of all ways up to a step that are in a state then, `(time, states)`.
    before: Vec<f64>,
    /// That of all ways.
    total: f64,
    labels: &'a [usize],
}

impl<'a> Lattice<'a> {
    fn new(labels: &'a [usize], logits: &[f32], classes: usize, blank: usize) -> Result<Self> {
        let time = logits.len() / classes;
        let needed = labels.len() + labels.windows(2).filter(|pair| pair[0] == pair[1]).count();
        ensure!(
            needed <= time,
            Data,
            "its {} labels need at least {needed} steps, but it has {time}; leave it out, or let the model put out longer \
             sequences",
            labels.len()
        );
        let mut states = vec![blank; 2 * labels.len() + 1];
        labels.iter().enumerate().for_each(|(i, label)| states[2 * i + 1] = *label);
        let mut log_probs = Vec::with_capacity(logits.len());
        for row in logits.chunks_exact(classes) {
            let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let sum: f64 = row.iter().map(|x| (f64::from(*x) - largest).exp()).sum();
            log_probs.extend(row.iter().map(|x| f64::from(*x) - largest - sum.ln()));
        }
        let mut lattice = Lattice { states, classes, log_probs, before: Vec::new(), total: 0.0, labels };
        lattice.walk(time);
        Ok(lattice)
    }

    fn log_prob(&self, t: usize, state: usize) -> f64 {
        self.log_probs[t * self.classes + self.states[state]]
    }

    /// Whether a step may lead over the blank before this state.
    fn skips(&self, state: usize) -> bool {
        state >= 3 && state % 2 == 1 && self.states[state] != self.states[state - 2]
    }

    fn walk(&mut self, time: usize) {
        let n = self.states.len();
        // The empty way is in a blank before the first label.
        let mut last = vec![f64::NEG_INFINITY; n];
        if time == 0 {
            return;
        }
        for t in 0..time {
            let mut next = vec![f64::NEG_INFINITY; n];
            for (s, next) in next.iter_mut().enumerate() {
                let mut from = match t {
                    0 if s < 2 => 0.0,
                    _ => last[s],
                };
                if s >= 1 {
                    from = log_add(from, last[s - 1]);
                }
                if self.skips(s) {
                    from = log_add(from, last[s - 2]);
                }
                *next = from + self.log_prob(t, s);
            }
            self.before.extend_from_slice(&next);
            last = next;
        }
        // It ends with the last label, or with the blank after it.
        self.total = if self.labels.is_empty() { last[0] } else { log_add(last[n - 1], last[n - 2]) };
    }

    /// Adds `weight` times the gradient of the loss by the logits: how likely each class is, less the share of the ways
    /// that are in it.
    fn gradient(&self, weight: f32, gradient: &mut [f32]) {
        let n = self.states.len();
        let mut after = vec![f64::NEG_INFINITY; n];
        after[n - 1] = 0.0;
        if n > 1 {
            after[n - 2] = 0.0;
        }
        for (t, row) in gradient.chunks_exact_mut(self.classes).enumerate().rev() {
            let mut slope: Vec<f64> =
                self.log_probs[t * self.classes..][..self.classes].iter().map(|p| p.exp()).collect();
            for s in 0..n {
                slope[self.states[s]] -= (self.before[t * n + s] + after[s] - self.total).exp();
            }
            row.iter_mut().zip(slope).for_each(|(g, slope)| *g += weight * slope as f32);
            // The ways from the step before this one.
            let here: Vec<f64> = (0..n).map(|s| after[s] + self.log_prob(t, s)).collect();
            for s in 0..n {
                after[s] = here[s];
                if s + 1 < n {
                    after[s] = log_add(after[s], here[s + 1]);
                }
                if s + 2 < n && self.skips(s + 2) {
                    after[s] = log_add(after[s], here[s + 2]);
                }
            }
        }
    }
}

impl CTC {
    /// Calls `each` with the place of a sample and the ways through it.
    fn each(&self, y_true: &Tensor, y_pred: &Tensor, mut each: impl FnMut(usize, Lattice<'_>)) -> Result<()> {
        let [n, _, classes] = sizes(y_true, y_pred)?;
        for i in 0..n {
            let row = y_true.row(i);
            let len = row.iter().rposition(|label| *label != 0.0).map_or(0, |last| last + 1);
            let labels = classes_of(&row[..len], classes, 0).at(|| format!("sample {i}"))?;
            each(i, Lattice::new(&labels, y_pred.row(i), classes, 0).at(|| format!("sample {i}"))?);
        }
        Ok(())
    }
}

impl Loss for CTC {
    loss!(@common);
    fn entries_shape(&self, y_pred: &[usize]) -> Result<Dims> {
        ensure!(
            y_pred.len() == 3,
            Shape,
            "CTC needs logits of shape (batch, time, classes), found {y_pred:?}; use layers that put out a sequence"
        );
        Ok(Dims::from_slice(&y_pred[..1]))
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        let mut losses = Tensor::zeros([y_pred.batch()]);
        self.each(y_true, y_pred, |i, lattice| losses.data_mut()[i] = -lattice.total as f32)?;
        Ok(losses)
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        check_weights(weights, &[y_pred.batch()])?;
        let mut gradient = Tensor::zeros(y_pred.shape());
        let each = y_pred.len() / y_pred.batch().max(1);
        self.each(y_true, y_pred, |i, lattice| {
            lattice.gradient(weights.data()[i], &mut gradient.data_mut()[i * each..][..each]);
        })?;
        Ok(gradient)
    }
}
