//! A loss for embeddings.

use super::probabilistic::{sigmoid, softplus};
use super::{Loss, align_labels, check_weights, loss};
use crate::config::check_non_negative;
use crate::error::{Error, Result};
use crate::tensor::Tensor;

loss! {
    /// Draws embeddings of one class together and those of different classes apart, the worse placed
    /// ones most ([Sun et al., 2020](https://arxiv.org/abs/2002.10857)).
    ///
    /// Targets are class numbers `(batch,)` or `(batch, 1)`, predictions L2-normalized embeddings
    /// `(batch, features)`. Every sample is compared with all others of its batch; one that has no
    /// partner of its class, or no stranger, does not count.
    Circle, "circle";
    /// The scale of distances; the default is 80.
    gamma: f64 = 80.0;
    /// How far apart classes should be; the default is 0.4.
    margin: f64 = 0.4;
    /// Whether a sample is no partner of itself; the default is true.
    remove_diagonal: bool = true;
}

impl Circle {
    /// The label and the embedding of each sample.
    fn parts<'a>(&self, y_true: &Tensor, y_pred: &'a Tensor) -> Result<(Tensor, Vec<&'a [f32]>)> {
        let [_, width] = y_pred.shape() else {
            return Err(Error::Shape(format!(
                "Circle needs embeddings of shape (batch, features), found {:?}",
                y_pred.shape()
            )));
        };
        let labels = align_labels(y_true, y_pred.shape())?;
        if let Some(at) = labels.data().iter().position(|label| label.fract() != 0.0 || !label.is_finite()) {
            return Err(Error::Data(format!("label {} at position {at} is not a whole number", labels.data()[at])));
        }
        Ok((labels, y_pred.data().chunks_exact(*width).collect()))
    }

    /// Sample `i` with each sample that it is compared with.
    fn pairs<'a>(&'a self, labels: &'a [f32], rows: &'a [&'a [f32]], i: usize) -> impl Iterator<Item = Pair> + 'a {
        let (gamma, margin) = (self.gamma, self.margin);
        (0..rows.len()).filter(move |&j| !(self.remove_diagonal && i == j)).map(move |j| {
            let dot: f64 = rows[i].iter().zip(rows[j]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let (distance, moves) = if dot < 1.0 { (1.0 - dot, 1.0) } else { (0.0, 0.0) };
            let partner = labels[i] == labels[j];
            let (exponent, slope) = if partner {
                (gamma * (distance * distance - margin * margin), 2.0 * gamma * distance)
            } else {
                let weight = (1.0 + margin - distance).max(0.0);
                let gap = 1.0 - margin - distance;
                (gamma * weight * gap, if weight > 0.0 { -gamma * (weight + gap) } else { 0.0 })
            };
            Pair { j, partner, exponent, slope: slope * moves }
        })
    }
}

/// Two samples: the exponent that their distance gives, and its derivative with respect to the distance.
struct Pair {
    j: usize,
    partner: bool,
    exponent: f64,
    slope: f64,
}

/// `log(sum(exp(x)))`, minus infinity if there are none.
fn log_sum_exp(x: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = x.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() { largest } else { largest + x.map(|x| (x - largest).exp()).sum::<f64>().ln() }
}

fn log_sums(pairs: &[Pair]) -> (f64, f64) {
    let of = |partner| log_sum_exp(pairs.iter().filter(move |p| p.partner == partner).map(|p| p.exponent));
    (of(true), of(false))
}

impl Loss for Circle {
    loss!(@common);
    fn check(&self) -> Result<()> {
        check_non_negative("gamma", self.gamma)?;
        check_non_negative("margin", self.margin)
    }
    fn couples_samples(&self) -> bool {
        true
    }
    fn call(&self, y_true: &Tensor, y_pred: &Tensor) -> Result<Tensor> {
        let (labels, rows) = self.parts(y_true, y_pred)?;
        let entries = (0..rows.len()).map(|i| {
            let pairs: Vec<Pair> = self.pairs(labels.data(), &rows, i).collect();
            let (near, far) = log_sums(&pairs);
            softplus((near + far) as f32)
        });
        Tensor::new([rows.len()], entries.collect())
    }
    fn gradient(&self, y_true: &Tensor, y_pred: &Tensor, weights: &Tensor) -> Result<Tensor> {
        let (labels, rows) = self.parts(y_true, y_pred)?;
        check_weights(weights, &[rows.len()])?;
        let width = y_pred.last();
        let mut sums = vec![0.0; y_pred.len()];
        for (i, w) in weights.data().iter().enumerate() {
            let pairs: Vec<Pair> = self.pairs(labels.data(), &rows, i).collect();
            let (near, far) = log_sums(&pairs);
            if near.is_infinite() || far.is_infinite() {
                continue;
            }
            let outer = f64::from(*w) * f64::from(sigmoid((near + far) as f32));
            for pair in pairs {
                let share = (pair.exponent - if pair.partner { near } else { far }).exp();
                // The distance is 1 minus the product of the two embeddings.
                let slope = -outer * share * pair.slope;
                for k in 0..width {
                    sums[i * width + k] += slope * f64::from(rows[pair.j][k]);
                    sums[pair.j * width + k] += slope * f64::from(rows[i][k]);
                }
            }
        }
        Tensor::new(y_pred.shape(), sums.into_iter().map(|g| g as f32).collect())
    }
    fn counted(&self, y_true: &Tensor) -> Option<Tensor> {
        let labels = y_true.data();
        let counts = |i: usize| {
            let same = labels.iter().filter(|label| **label == labels[i]).count();
            let partners = same - usize::from(self.remove_diagonal);
            if partners > 0 && same < labels.len() { 1.0 } else { 0.0 }
        };
        // Labels that are NaN equal nothing, not even themselves; `call` refuses them.
        if labels.iter().any(|label| label.is_nan()) {
            return None;
        }
        Tensor::new(y_true.shape(), (0..labels.len()).map(counts).collect()).ok()
    }
}
