//! Limits that weights are brought back to after each step.

use crate::config::{self, Config, Shared, Unknown, family};
use crate::error::{Result, ensure};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// Keras' epsilon, which keeps norms of zero from dividing.
const EPSILON: f64 = 1e-7;

/// A rule that a weight keeps: after each step of the optimizer it is applied.
///
/// A constraint of one's own:
///
/// ```
/// use cornu::{Result, Tensor, constraints::Constraint};
///
/// #[derive(Debug)]
/// struct AtMostOne;
///
/// impl Constraint for AtMostOne {
///     fn apply(&self, weight: &mut Tensor) -> Result<()> {
///         weight.data_mut().iter_mut().for_each(|w| *w = w.min(1.0));
///         Ok(())
///     }
/// }
/// let mut weight = Tensor::full([3], 2.0);
/// AtMostOne.apply(&mut weight)?;
/// assert_eq!(weight.data(), [1.0; 3]);
/// # Ok::<(), cornu::Error>(())
/// ```
pub trait Constraint: Debug + Send + Sync {
    /// The name it is saved under.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }

    /// What makes it again (Keras: `get_config`). Without it a model that uses it cannot be saved.
    ///
    /// # Errors
    /// By default: that it has none.
    fn config(&self) -> Result<Config> {
        Err(config::no_config("constraint", self.class_name()))
    }

    /// Whether its arguments make sense.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Brings a weight within the limits.
    ///
    /// # Errors
    /// When it cannot serve this shape.
    fn apply(&self, weight: &mut Tensor) -> Result<()>;
}

family! { Shared<dyn Constraint>, "constraint", "keras.constraints";
    MaxNorm = "max_norm";
    NonNeg = "non_neg";
    UnitNorm = "unit_norm";
    MinMaxNorm = "min_max_norm";
}

impl Constraint for Unknown {
    fn check(&self) -> Result<()> {
        Err(self.error())
    }
    fn apply(&self, _: &mut Tensor) -> Result<()> {
        Err(self.error())
    }
}

/// The axes along which norms are taken. For a dense kernel `(inputs, units)` axis 0 gives a norm
/// for each unit, for a convolution's `(height, width, inputs, filters)` it is `[0, 1, 2]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Axes {
    /// One axis; negative ones count from the last.
    One(isize),
    /// Several together.
    Many(Vec<isize>),
    /// All of them: one norm for the whole weight.
    All,
}

impl Default for Axes {
    fn default() -> Self {
        Axes::One(0)
    }
}

impl From<i32> for Axes {
    fn from(axis: i32) -> Self {
        Axes::One(axis as isize)
    }
}

impl<const N: usize> From<[i32; N]> for Axes {
    fn from(axes: [i32; N]) -> Self {
        Axes::Many(axes.iter().map(|&axis| axis as isize).collect())
    }
}

/// Scales the parts of a weight along `axes`: `scale` gets a part's norm and gives its factor.
fn scale_norms(weight: &mut Tensor, axes: &Axes, scale: impl Fn(f64) -> f64) -> Result<()> {
    let shape = weight.shape().to_vec();
    let mut reduced = vec![matches!(axes, Axes::All); shape.len()];
    let listed = match axes {
        Axes::One(axis) => std::slice::from_ref(axis),
        Axes::Many(axes) => axes.as_slice(),
        Axes::All => &[],
    };
    for &axis in listed {
        let index = if axis < 0 { axis + shape.len() as isize } else { axis };
        match usize::try_from(index).ok().and_then(|index| reduced.get_mut(index)) {
            Some(flag) => *flag = true,
            None => return Err(crate::Error::Shape(format!("a weight of shape {shape:?} has no axis {axis}"))),
        }
    }
    let norms_len = shape.iter().zip(&reduced).filter(|(_, reduced)| !**reduced).map(|(d, _)| d).product();
    let mut norms = vec![0f64; norms_len];
    walk(&shape, &reduced, |i, part| norms[part] += f64::from(weight.data()[i]).powi(2));
    norms.iter_mut().for_each(|norm| *norm = scale(norm.sqrt()));
    let values = weight.data_mut();
    walk(&shape, &reduced, |i, part| values[i] *= norms[part] as f32);
    Ok(())
}

/// Visits all values of an array: calls `visit` with the position of each, and its position in the
/// array that is left when the `reduced` axes are gone.
fn walk(shape: &[usize], reduced: &[bool], mut visit: impl FnMut(usize, usize)) {
    let mut strides = vec![0; shape.len()];
    let mut stride = 1;
    for axis in (0..shape.len()).rev().filter(|&axis| !reduced[axis]) {
        strides[axis] = stride;
        stride *= shape[axis];
    }
    let mut index = vec![0; shape.len()];
    let mut part = 0;
    for i in 0..shape.iter().product() {
        visit(i, part);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            part += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            part -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
}

/// Shortens parts of the weight whose norm is above a limit
/// (Srivastava et al., <https://jmlr.org/papers/v15/srivastava14a.html>).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct MaxNorm {
    max_value: f64,
    axis: Axes,
}

impl Default for MaxNorm {
    fn default() -> Self {
        MaxNorm { max_value: 2.0, axis: Axes::default() }
    }
}

impl MaxNorm {
    /// With this limit (Keras' default is 2), along axis 0.
    pub fn new(max_value: f64) -> Self {
        MaxNorm { max_value, ..Self::default() }
    }

    /// The axis or axes along which norms are taken. Default 0.
    pub fn axis(mut self, axis: impl Into<Axes>) -> Self {
        self.axis = axis.into();
        self
    }
}

impl Constraint for MaxNorm {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        config::check_non_negative("max_value", self.max_value)
    }
    fn apply(&self, weight: &mut Tensor) -> Result<()> {
        scale_norms(weight, &self.axis, |norm| norm.min(self.max_value) / (EPSILON + norm))
    }
}

/// Makes negative weights zero.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NonNeg {}

impl NonNeg {
    /// The constraint.
    pub fn new() -> Self {
        NonNeg {}
    }
}

impl Constraint for NonNeg {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn apply(&self, weight: &mut Tensor) -> Result<()> {
        // A comparison, so that a weight that is not a number stays visible.
        weight.data_mut().iter_mut().for_each(|w| *w = if *w < 0.0 { 0.0 } else { *w });
        Ok(())
    }
}

/// Scales each part of the weight to the norm 1.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitNorm {
    axis: Axes,
}

impl UnitNorm {
    /// Along axis 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// The axis or axes along which norms are taken. Default 0.
    pub fn axis(mut self, axis: impl Into<Axes>) -> Self {
        self.axis = axis.into();
        self
    }
}

impl Constraint for UnitNorm {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn apply(&self, weight: &mut Tensor) -> Result<()> {
        scale_norms(weight, &self.axis, |norm| 1.0 / (EPSILON + norm))
    }
}

/// Brings the norm of each part of the weight between two limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct MinMaxNorm {
    min_value: f64,
    max_value: f64,
    rate: f64,
    axis: Axes,
}

impl Default for MinMaxNorm {
    fn default() -> Self {
        MinMaxNorm { min_value: 0.0, max_value: 1.0, rate: 1.0, axis: Axes::default() }
    }
}

impl MinMaxNorm {
    /// With these limits (Keras' defaults are 0 and 1), along axis 0.
    pub fn new(min_value: f64, max_value: f64) -> Self {
        MinMaxNorm { min_value, max_value, ..Self::default() }
    }

    /// How far a norm outside moves towards the limit in each step: 0 to 1. Default 1, all the way.
    pub fn rate(mut self, rate: f64) -> Self {
        self.rate = rate;
        self
    }

    /// The axis or axes along which norms are taken. Default 0.
    pub fn axis(mut self, axis: impl Into<Axes>) -> Self {
        self.axis = axis.into();
        self
    }
}

impl Constraint for MinMaxNorm {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        let (min, max) = (self.min_value, self.max_value);
        config::check_non_negative("min_value", min)?;
        config::check_non_negative("max_value", max)?;
        ensure!(
            min.total_cmp(&max).is_le(),
            Argument,
            "min_value is {min} and max_value {max}; the first must not be larger"
        );
        ensure!((0.0..=1.0).contains(&self.rate), Argument, "rate is {}; it must be from 0 to 1", self.rate);
        Ok(())
    }
    fn apply(&self, weight: &mut Tensor) -> Result<()> {
        scale_norms(weight, &self.axis, |norm| {
            let desired = self.rate * norm.max(self.min_value).min(self.max_value) + (1.0 - self.rate) * norm;
            desired / (EPSILON + norm)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with Keras 3.15.1.
    #[track_caller]
    fn golden(constraint: impl Into<Shared<dyn Constraint>>, expected: [f32; 6]) {
        let constraint = constraint.into();
        constraint.check().unwrap();
        let text = serde_json::to_string(&constraint).unwrap();
        let back: Shared<dyn Constraint> = serde_json::from_str(&text).unwrap();
        for constraint in [constraint, back] {
            let mut weight = Tensor::new([2, 3], vec![0.5, -1.0, 0.25, 2.0, 0.0, -0.75]).unwrap();
            constraint.apply(&mut weight).unwrap();
            for (value, expected) in weight.data().iter().zip(expected) {
                assert!((value - expected).abs() < 1e-6, "{text}: {weight:?}");
            }
        }
    }

    #[test]
    fn weights_are_those_of_keras() {
        golden(MaxNorm::new(1.0), [0.24253564, -0.9999999, 0.24999996, 0.97014254, 0.0, -0.7499999]);
        golden(MaxNorm::new(1.0).axis(1), [0.43643573, -0.87287146, 0.21821786, 0.9363292, 0.0, -0.35112345]);
        golden(NonNeg::new(), [0.5, 0.0, 0.25, 2.0, 0.0, 0.0]);
        golden(UnitNorm::new(), [0.24253564, -0.9999999, 0.3162277, 0.97014254, 0.0, -0.94868314]);
        let whole = [0.20628424, -0.41256848, 0.10314212, 0.82513696, 0.0, -0.30942637];
        golden(UnitNorm::new().axis([0, 1]), whole);
        golden(MaxNorm { max_value: 1.0, axis: Axes::All }, whole);
        golden(MinMaxNorm::new(0.8, 1.2).rate(0.5), [0.39552137, -0.9999999, 0.25149107, 1.5820855, 0.0, -0.7544732]);
        golden(MinMaxNorm::new(0.8, 1.2).axis(-1), [0.49999994, -0.9999999, 0.24999997, 1.1235951, 0.0, -0.42134815]);
    }

    #[test]
    fn filters_of_a_convolution_have_a_norm_each() {
        let mut kernel = Tensor::new([2, 2, 3, 4], (0..48).map(|i| i as f32 - 20.0).collect()).unwrap();
        UnitNorm::new().axis([0, 1, 2]).apply(&mut kernel).unwrap();
        for filter in 0..4 {
            let squares: f32 = kernel.data().iter().skip(filter).step_by(4).map(|w| w * w).sum();
            assert!((squares - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn names_and_mistakes() {
        assert_eq!(Shared::<dyn Constraint>::from("max_norm").class_name(), "MaxNorm");
        assert_eq!(Shared::<dyn Constraint>::from("min_max_norm").class_name(), "MinMaxNorm");
        assert!(Shared::<dyn Constraint>::from("max_nrm").check().unwrap_err().to_string().contains("'max_norm'"));
        let error = MaxNorm::new(1.0).axis(2).apply(&mut Tensor::zeros([2, 3])).unwrap_err().to_string();
        assert!(error.contains("[2, 3]") && error.contains("axis 2"), "{error}");
        assert!(UnitNorm::new().axis(-1).apply(&mut Tensor::zeros([])).is_err());
        assert!(MaxNorm::new(-1.0).check().is_err());
        assert!(MinMaxNorm::new(2.0, 1.0).check().unwrap_err().to_string().contains("min_value is 2"));
        assert!(MinMaxNorm::new(0.0, 1.0).rate(1.5).check().is_err());
    }
}
