//! Penalties on weights and outputs.

use crate::config::{self, Config, Shared, Unknown, family};
use crate::error::Result;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// A penalty on the size of a weight or a layer's output, which is added to the loss.
///
/// A regularizer of one's own is a loss and its gradient:
///
/// ```
/// use cornu::{Tensor, regularizers::Regularizer};
///
/// /// The sum of fourth powers.
/// #[derive(Debug)]
/// struct Quartic;
///
/// impl Regularizer for Quartic {
///     fn loss(&self, weight: &Tensor) -> f64 {
///         weight.data().iter().map(|&w| f64::from(w).powi(4)).sum()
///     }
///     fn add_gradient(&self, weight: &Tensor, scale: f32, gradient: &mut [f32]) {
///         for (g, w) in gradient.iter_mut().zip(weight.data()) {
///             *g += scale * 4.0 * w.powi(3);
///         }
///     }
/// }
/// assert_eq!(Quartic.loss(&Tensor::full([2], 2.0)), 32.0);
/// ```
pub trait Regularizer: Debug + Send + Sync {
    /// The name it is saved under.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }

    /// What makes it again (Keras: `get_config`). Without it a model that uses it cannot be saved.
    ///
    /// # Errors
    /// By default: that it has none.
    fn config(&self) -> Result<Config> {
        Err(config::no_config("regularizer", self.class_name()))
    }

    /// Whether its arguments make sense.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The penalty.
    fn loss(&self, weight: &Tensor) -> f64;

    /// Adds `scale` times the derivative of the penalty to `gradient`, which has a value for each of
    /// the weight's.
    fn add_gradient(&self, weight: &Tensor, scale: f32, gradient: &mut [f32]);
}

family! { Shared<dyn Regularizer>, "regularizer", "keras.regularizers";
    L1 = "l1";
    L2 = "l2";
    L1L2 = "l1_l2" | "l1l2";
    OrthogonalRegularizer = "orthogonal_regularizer";
}

impl Regularizer for Unknown {
    fn check(&self) -> Result<()> {
        Err(self.error())
    }
    fn loss(&self, _: &Tensor) -> f64 {
        f64::NAN
    }
    fn add_gradient(&self, _: &Tensor, _: f32, gradient: &mut [f32]) {
        gradient.fill(f32::NAN);
    }
}

fn sum_abs(weight: &Tensor) -> f64 {
    weight.data().iter().map(|&w| f64::from(w.abs())).sum()
}

fn sum_squares(weight: &Tensor) -> f64 {
    weight.data().iter().map(|&w| f64::from(w) * f64::from(w)).sum()
}

/// -1, 0 or 1: unlike `signum` it is 0 at zero, where the absolute value has no slope.
fn sign(w: f32) -> f32 {
    if w == 0.0 { 0.0 } else { w.signum() }
}

/// `l1 * sum(|w|)`: drives weights to exactly zero.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct L1 {
    l1: f64,
}

impl Default for L1 {
    fn default() -> Self {
        L1 { l1: 0.01 }
    }
}

impl L1 {
    /// With this factor (Keras' default is 0.01).
    pub fn new(l1: f64) -> Self {
        L1 { l1 }
    }
}

impl Regularizer for L1 {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        config::check_non_negative("l1", self.l1)
    }
    fn loss(&self, weight: &Tensor) -> f64 {
        self.l1 * sum_abs(weight)
    }
    fn add_gradient(&self, weight: &Tensor, scale: f32, gradient: &mut [f32]) {
        let l1 = scale * self.l1 as f32;
        gradient.iter_mut().zip(weight.data()).for_each(|(g, &w)| *g += l1 * sign(w));
    }
}

/// `l2 * sum(w^2)`: keeps weights small. There is no factor of one half.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct L2 {
    l2: f64,
}

impl Default for L2 {
    fn default() -> Self {
        L2 { l2: 0.01 }
    }
}

impl L2 {
    /// With this factor (Keras' default is 0.01).
    pub fn new(l2: f64) -> Self {
        L2 { l2 }
    }
}

impl Regularizer for L2 {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        config::check_non_negative("l2", self.l2)
    }
    fn loss(&self, weight: &Tensor) -> f64 {
        self.l2 * sum_squares(weight)
    }
    fn add_gradient(&self, weight: &Tensor, scale: f32, gradient: &mut [f32]) {
        let l2 = scale * 2.0 * self.l2 as f32;
        gradient.iter_mut().zip(weight.data()).for_each(|(g, w)| *g += l2 * w);
    }
}

/// `l1 * sum(|w|) + l2 * sum(w^2)`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct L1L2 {
    l1: f64,
    l2: f64,
}

impl Default for L1L2 {
    // The name "l1_l2" alone asks for no penalty, as in Keras.
    fn default() -> Self {
        L1L2 { l1: 0.0, l2: 0.0 }
    }
}

impl L1L2 {
    /// With these factors.
    pub fn new(l1: f64, l2: f64) -> Self {
        L1L2 { l1, l2 }
    }
}

impl Regularizer for L1L2 {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        config::check_non_negative("l1", self.l1)?;
        config::check_non_negative("l2", self.l2)
    }
    fn loss(&self, weight: &Tensor) -> f64 {
        self.l1 * sum_abs(weight) + self.l2 * sum_squares(weight)
    }
    fn add_gradient(&self, weight: &Tensor, scale: f32, gradient: &mut [f32]) {
        let (l1, l2) = (scale * self.l1 as f32, scale * 2.0 * self.l2 as f32);
        gradient.iter_mut().zip(weight.data()).for_each(|(g, &w)| *g += l1 * sign(w) + l2 * w);
    }
}

/// What an [`OrthogonalRegularizer`] makes orthogonal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OrthogonalMode {
    /// The rows of the matrix.
    #[default]
    Rows,
    /// Its columns.
    Columns,
}

/// The mean of `|cos|` of the angles between the rows (or columns) of a matrix, times `factor`: pulls
/// them towards being orthogonal. A weight of another rank counts as the matrix of its last axis.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct OrthogonalRegularizer {
    factor: f64,
    mode: OrthogonalMode,
}

impl Default for OrthogonalRegularizer {
    fn default() -> Self {
        OrthogonalRegularizer { factor: 0.01, mode: OrthogonalMode::Rows }
    }
}

impl OrthogonalRegularizer {
    /// With this factor (Keras' default is 0.01), for rows.
    pub fn new(factor: f64) -> Self {
        OrthogonalRegularizer { factor, ..Self::default() }
    }

    /// Whether rows or columns are made orthogonal. Default rows.
    pub fn mode(mut self, mode: OrthogonalMode) -> Self {
        self.mode = mode;
        self
    }

    /// The vectors, in order, and what each pair of them counts.
    fn vectors(&self, weight: &Tensor) -> (Vec<Vector>, f64) {
        let columns = weight.last().max(1);
        let vectors: Vec<Vector> = match self.mode {
            OrthogonalMode::Rows => {
                let rows = 0..weight.len() / columns;
                rows.map(|i| Vector::new(weight.data(), i * columns, 1, columns)).collect()
            }
            OrthogonalMode::Columns => {
                let rows = weight.len() / columns;
                (0..columns).map(|i| Vector::new(weight.data(), i, columns, rows)).collect()
            }
        };
        let n = vectors.len();
        // A single vector has no other to be orthogonal to.
        let pairs = (n * n.saturating_sub(1) / 2).max(1);
        (vectors, self.factor / pairs as f64)
    }
}

impl Regularizer for OrthogonalRegularizer {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        config::check_non_negative("factor", self.factor)
    }

    fn loss(&self, weight: &Tensor) -> f64 {
        let (vectors, each) = self.vectors(weight);
        let cosines = |i: usize| vectors[..i].iter().map(|other| vectors[i].cosine(other).abs()).sum::<f64>();
        each * (0..vectors.len()).map(cosines).sum::<f64>()
    }

    fn add_gradient(&self, weight: &Tensor, scale: f32, gradient: &mut [f32]) {
        let (vectors, each) = self.vectors(weight);
        for (i, own) in vectors.iter().enumerate() {
            for (j, other) in vectors.iter().enumerate() {
                let cosine = own.cosine(other);
                if i == j || cosine == 0.0 {
                    continue;
                }
                // The slope of |cosine|: what is across the vector turns it, its length does not count.
                let slope = each * cosine.signum() / own.norm;
                for (k, (own_k, other_k)) in own.unit.iter().zip(&other.unit).enumerate() {
                    gradient[own.start + k * own.stride] += scale * (slope * (other_k - cosine * own_k)) as f32;
                }
            }
        }
    }
}

/// A row or column of a matrix: its direction, its length, and where its values stand.
struct Vector {
    unit: Vec<f64>,
    norm: f64,
    start: usize,
    stride: usize,
}

impl Vector {
    fn new(values: &[f32], start: usize, stride: usize, len: usize) -> Self {
        let mut unit: Vec<f64> = (0..len).map(|k| f64::from(values[start + k * stride])).collect();
        // Keras' bound, so that a vector of zeros has no direction.
        let norm = unit.iter().map(|v| v * v).sum::<f64>().max(1e-24).sqrt();
        unit.iter_mut().for_each(|v| *v /= norm);
        Vector { unit, norm, start, stride }
    }

    fn cosine(&self, other: &Vector) -> f64 {
        self.unit.iter().zip(&other.unit).map(|(a, b)| a * b).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight() -> Tensor {
        Tensor::new([2, 3], vec![0.5, -1.0, 0.25, 2.0, 0.0, -0.75]).unwrap()
    }

    /// Compares with Keras 3.15.1.
    #[track_caller]
    fn golden(regularizer: impl Into<Shared<dyn Regularizer>>, loss: f64, gradient: [f32; 6]) {
        let regularizer = regularizer.into();
        assert!((regularizer.loss(&weight()) - loss).abs() < 1e-6, "{}", regularizer.loss(&weight()));
        let mut twice = [1.0; 6];
        regularizer.add_gradient(&weight(), 2.0, &mut twice);
        for (value, golden) in twice.iter().zip(gradient) {
            assert!((value - (1.0 + 2.0 * golden)).abs() < 1e-6, "{twice:?}");
        }
        regularizer.check().unwrap();
        let text = serde_json::to_string(&regularizer).unwrap();
        let back: Shared<dyn Regularizer> = serde_json::from_str(&text).unwrap();
        assert_eq!(back.loss(&weight()), regularizer.loss(&weight()), "{text}");
    }

    #[test]
    fn losses_and_gradients_are_those_of_keras() {
        golden(L1::new(0.1), 0.45, [0.1, -0.1, 0.1, 0.1, 0.0, -0.1]);
        golden(L2::new(0.1), 0.5875, [0.1, -0.2, 0.05, 0.4, 0.0, -0.15]);
        golden(L1L2::new(0.1, 0.2), 1.625, [0.3, -0.5, 0.2, 0.9, 0.0, -0.4]);
        golden(
            OrthogonalRegularizer::new(0.3),
            0.09960784,
            [0.2072427, 0.07589169, -0.110918626, 0.017633423, -0.12259427, 0.04702246],
        );
        golden(
            OrthogonalRegularizer::new(0.3).mode(OrthogonalMode::Columns),
            0.14024249,
            [0.020389035, 0.0, 0.049416933, -0.0050972626, -0.0021459297, 0.016472325],
        );
    }

    #[test]
    fn one_vector_is_orthogonal_already() {
        let one = Tensor::full([1, 4], 1.0);
        assert_eq!(OrthogonalRegularizer::new(1.0).loss(&one), 0.0);
        let mut gradient = [0.0; 4];
        OrthogonalRegularizer::new(1.0).add_gradient(&one, 1.0, &mut gradient);
        assert_eq!(gradient, [0.0; 4]);
        assert_eq!(OrthogonalRegularizer::new(1.0).loss(&Tensor::default()), 0.0);
    }

    #[test]
    fn names_and_mistakes() {
        let loss = |name: &str| Shared::<dyn Regularizer>::from(name).loss(&weight());
        assert_eq!(loss("l1"), L1::new(0.01).loss(&weight()));
        assert_eq!(loss("l2"), L2::new(0.01).loss(&weight()));
        assert_eq!(loss("l1_l2"), 0.0);
        assert!(Shared::<dyn Regularizer>::from("l3").check().unwrap_err().to_string().contains("'l2'"));
        assert!(L2::new(-1.0).check().unwrap_err().to_string().contains("l2 is -1"));
        assert!(L1L2::new(0.0, f64::INFINITY).check().is_err());
    }
}
