//! Checks of gradients against differences, for the layers, losses, activations and regularizers of
//! this crate and of yours.
//!
//! # How
//!
//! What is checked is made into one number *f*: the sum of all outputs with random weights, or the
//! loss. Along a random direction *d* (each value moves by +t or -t) the derivative is taken from
//! differences, Richardson's way, `(4 C(t) - C(2t)) / 3` with `C(t) = (f(t) - f(-t)) / 2t`, and
//! compared with `<gradient, d>`, for several directions over each input and each weight. Sums are
//! made in f64; the passes themselves are the layer's own, in f32.
//!
//! # What it can tell
//!
//! Steps start at [`step`](GradientCheck::step) and are halved until two estimates agree and the
//! one-sided slopes meet, so that kinks (relu, the largest of a window) are kept out; where that never
//! happens another direction is drawn, and for layers other weights, at which a fault must show again.
//!
//! The error is `|difference| / max(|derivative|, ‖gradient‖)`, less what rounding in f32 can explain.
//! So a fault that changes less than [`tolerance`](GradientCheck::tolerance) of the gradient's length
//! is not seen, and neither is one behind a value that the draws never reach. Weights are moved away
//! from their first values before a check of a layer, since a bias of zero hides faults.
//!
//! It is also checked that gradients of weights are **added** to what is there, that they do not
//! depend on whether the inputs' are asked for, that `backward` restores all that `forward` saved,
//! and that a pass that saves gives the outputs of one that does not.
//!
//! ```
//! use cornu::{prelude::*, testing};
//!
//! /// y = x³, value by value.
//! struct Cube;
//!
//! impl SimpleLayer for Cube {
//!     fn forward(&self, x: &Tensor) -> Result<Tensor> {
//!         Ok(x.clone().map(|v| v * v * v))
//!     }
//!     fn backward(&self, x: &Tensor, _y: &Tensor, gradient: Tensor) -> Result<Tensor> {
//!         gradient.zip_map(x, |g, v| g * 3.0 * v * v)
//!     }
//! }
//!
//! let report = testing::check_layer(Cube, &[[4, 5]])?;
//! assert!(report.max_error() < 1e-3);
//! # Ok::<(), cornu::Error>(())
//! ```

use crate::Activation;
use crate::config::{Family, Shared, snake_case};
use crate::error::{Context, Error, Result, ensure};
use crate::layer::{
    Backward, Build, Effects, Forward, GradientStore, Gradients, Layer, LayerHandle, Param, Pass, Saved, Values,
};
use crate::losses::{self, Loss};
use crate::model::Model;
use crate::random;
use crate::regularizers::Regularizer;
use crate::runtime::Workspace;
use crate::shape::Shape;
use crate::tensor::Tensor;
use approx::{abs_diff_eq, relative_eq};
use ndarray_rand::rand::Rng as _;
use std::fmt;

/// Checks the gradients of a layer for inputs of these shapes, the batch included, with the defaults
/// of [`GradientCheck`].
///
/// ```
/// use cornu::{prelude::*, testing};
/// let report = testing::check_layer(Conv2D::new(3, 3).activation("tanh"), &[[2, 7, 6, 4]])?;
/// println!("{report}"); // input, kernel, bias: their largest errors
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// [`Error::Gradient`] when one is wrong; those of the layer.
pub fn check_layer(layer: impl Into<LayerHandle>, inputs: &[impl AsRef<[usize]>]) -> Result<Report> {
    GradientCheck::new().layer(layer, inputs)
}

/// Checks the gradients of a loss for these targets and predictions.
///
/// # Errors
/// [`Error::Gradient`] when they are wrong; those of the loss.
pub fn check_loss(loss: impl Into<Shared<dyn Loss>>, y_true: &Tensor, y_pred: &Tensor) -> Result<Report> {
    GradientCheck::new().loss(loss, y_true, y_pred, None)
}

/// Checks the gradients of a model's loss by all its trainable weights and its inputs.
///
/// # Errors
/// [`Error::Gradient`] when one is wrong; those of the model and the loss.
pub fn check_model(model: &Model, loss: impl Into<Shared<dyn Loss>>, x: &Tensor, y: &Tensor) -> Result<Report> {
    GradientCheck::new().model(model, loss, std::slice::from_ref(x), y)
}

/// Checks that two tensors have the same shape and, up to `tolerance` times the larger of 1 and the
/// values, the same values.
///
/// # Errors
/// Where they differ first.
pub fn check_close(got: &Tensor, want: &Tensor, tolerance: f32) -> Result<()> {
    ensure!(got.shape() == want.shape(), Shape, "the shape is {:?}, expected {:?}", got.shape(), want.shape());
    let same = |(got, want): (&f32, &f32)| relative_eq!(*got, *want, epsilon = tolerance, max_relative = tolerance);
    match got.data().iter().zip(want.data()).position(|pair| !same(pair)) {
        None => Ok(()),
        Some(i) => Err(Error::Data(format!(
            "value {i} of shape {:?} is {}, expected {}",
            got.shape(),
            got.data()[i],
            want.data()[i]
        ))),
    }
}

/// The class names of all layers of this crate, inputs not counted.
pub fn built_in_layers() -> Vec<&'static str> {
    class_names::<Box<dyn Layer>>().into_iter().filter(|name| *name != "InputLayer").collect()
}

/// The class names of all losses of this crate.
pub fn built_in_losses() -> Vec<&'static str> {
    class_names::<Shared<dyn Loss>>()
}

/// The class names of all regularizers of this crate.
pub fn built_in_regularizers() -> Vec<&'static str> {
    class_names::<Shared<dyn Regularizer>>()
}

/// The names of all activations that have one.
pub fn built_in_activations() -> Vec<&'static str> {
    Activation::names().collect()
}

fn class_names<F: Family>() -> Vec<&'static str> {
    F::classes().iter().map(|class| class.class_name).collect()
}

/// Options of a check.
#[derive(Clone, Debug)]
pub struct GradientCheck {
    seed: u64,
    directions: usize,
    step: f64,
    tolerance: f64,
    training: bool,
    inputs: bool,
}

/// The result of a check: what was compared, and how well it agreed.
#[derive(Clone, Debug)]
pub struct Report {
    checks: Vec<Checked>,
    tolerance: f64,
}

/// The direction over an input or a weight in which the gradient was worst.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// `"input 0"`, or the path of the weight.
    pub name: String,
    /// `|numeric - analytic| / max(|numeric|, ‖gradient‖)`, less what rounding explains.
    pub error: f64,
    /// The derivative by differences.
    pub numeric: f64,
    /// The derivative by the gradient.
    pub analytic: f64,
}

impl Report {
    /// What was compared: inputs first, then weights.
    pub fn checks(&self) -> &[Checked] {
        &self.checks
    }

    /// The largest error.
    pub fn max_error(&self) -> f64 {
        self.checks.iter().fold(0.0, |max, check| if check.error > max { check.error } else { max })
    }

    /// Itself, if all errors are within the tolerance.
    fn passed(self) -> Result<Self> {
        if self.all_fine() { Ok(self) } else { Err(Error::Gradient(self.to_string())) }
    }

    fn all_fine(&self) -> bool {
        self.checks.iter().all(|check| check.error <= self.tolerance)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for Checked { name, error, numeric, analytic } in &self.checks {
            write!(f, "{separator}gradient of {name}: error {error:.1e}")?;
            if error.is_nan() || *error > self.tolerance {
                write!(
                    f,
                    " > {:.0e}, the derivative is {numeric:.6}, the gradient gives {analytic:.6}",
                    self.tolerance
                )?;
            }
            separator = "; ";
        }
        Ok(())
    }
}

/// How often a direction, or a layer's values, are drawn again when they meet kinks.
const DRAWS: u64 = 6;
/// How often the step is halved.
const HALVINGS: usize = 7;

impl Default for GradientCheck {
    /// Three directions, steps from 2^-6, tolerance 1e-3, in training, inputs included.
    fn default() -> Self {
        GradientCheck { seed: 0, directions: 3, step: 1.0 / 64.0, tolerance: 1e-3, training: true, inputs: true }
    }
}

impl GradientCheck {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What all draws follow. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Random directions for each input and each weight. Default: 3.
    pub fn directions(mut self, directions: usize) -> Self {
        self.directions = directions;
        self
    }

    /// The first and largest step; a power of two loses least to rounding. Default: 1/64.
    pub fn step(mut self, step: f64) -> Self {
        self.step = step;
        self
    }

    /// The largest error that passes. Default: 1e-3.
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// Whether the passes are training passes. Default: true.
    pub fn training(mut self, training: bool) -> Self {
        self.training = training;
        self
    }

    /// Whether gradients of inputs are checked: not where inputs are whole numbers. Default: true.
    pub fn inputs(mut self, inputs: bool) -> Self {
        self.inputs = inputs;
        self
    }

    /// Checks a layer for inputs of these shapes, the batch included, with values from -1.5 to 1.5
    /// that stay away from 0 and from each other.
    ///
    /// # Errors
    /// [`Error::Gradient`] when one is wrong; those of the layer.
    pub fn layer(&self, layer: impl Into<LayerHandle>, inputs: &[impl AsRef<[usize]>]) -> Result<Report> {
        let inputs: Vec<Tensor> =
            inputs.iter().enumerate().map(|(i, shape)| self.values(shape.as_ref(), "input", i as u64)).collect();
        self.layer_at(layer, &inputs)
    }

    /// Checks a layer at these inputs.
    ///
    /// # Errors
    /// [`Error::Gradient`] when one is wrong; those of the layer.
    pub fn layer_at(&self, layer: impl Into<LayerHandle>, inputs: &[Tensor]) -> Result<Report> {
        let handle = layer.into();
        if handle.name().is_empty() {
            handle.set_name(snake_case(&handle.class_name()));
        }
        let of_batch = |x: &Tensor| Shape::batch_of(x.shape().get(1..).unwrap_or(&[]));
        let shapes: Vec<Shape> = inputs.iter().map(of_batch).collect();
        let promised = handle.output_shapes(&shapes)?;
        handle.build(&shapes, &Build::new(self.seed))?;
        let weights = handle.weights();
        let learned =
            if handle.trainable() { weights.into_iter().filter(Param::is_learned).collect() } else { Vec::new() };
        let first: Vec<Tensor> = learned.iter().map(Param::value).collect();

        let forward = |inputs: Values, cx: &mut Forward<'_>| {
            let outputs = handle.forward(inputs, cx)?;
            let fits = outputs.iter().zip(&promised).all(|(output, shape)| shape.accepts(output.shape()));
            let given: Vec<&[usize]> = outputs.iter().map(Tensor::shape).collect();
            ensure!(
                fits && given.len() == promised.len(),
                Gradient,
                "the outputs have shapes {given:?} where output_shapes said {promised:?}"
            );
            Ok(outputs)
        };
        let score = |outputs: &Values| {
            let sum =
                outputs.iter().enumerate().map(|(i, y)| Score::of(y, &self.values(y.shape(), "output", i as u64)));
            Ok(sum.fold(Score::default(), |a, b| a + b))
        };
        let slope = |outputs: &Values| {
            let one = |(i, y): (usize, &Tensor)| self.values(y.shape(), "output", i as u64);
            Ok(outputs.iter().enumerate().map(one).collect())
        };
        let function = Function {
            forward: &forward,
            backward: &|gradients, cx| handle.backward(gradients.into_iter().map(Some).collect(), cx),
            score: &score,
            slope: &slope,
            trainable: handle.trainable(),
            weights: &learned,
        };
        let check = |draw: u64| {
            for (i, (weight, first)) in learned.iter().zip(&first).enumerate() {
                let moved = self.values(first.shape(), "weight", i as u64 + (draw << 32));
                weight.set(first.clone().zip_map(&moved, |value, z| value + 0.3 * z)?)?;
            }
            self.function(&function, inputs)
        };
        // At other weights a value may be farther from a kink, where no derivative was found and where
        // kinks on both sides made a wrong one: so a fault must show twice.
        let settle = || {
            let mut fault: Option<Report> = None;
            for draw in 0..DRAWS {
                match check(draw)? {
                    Some(report) if report.all_fine() || fault.is_some() => return report.passed(),
                    Some(report) => fault = Some(report),
                    None => {}
                }
            }
            fault.ok_or_else(inconclusive)?.passed()
        };
        let report = settle();
        learned.iter().zip(first).try_for_each(|(weight, first)| weight.set(first))?;
        report.at(|| handle.place())
    }

    /// Checks the loss of a model, penalties included, by its trainable weights, as they are, and by
    /// its inputs.
    ///
    /// # Errors
    /// [`Error::Gradient`] when one is wrong; those of the model and the loss.
    pub fn model(&self, model: &Model, loss: impl Into<Shared<dyn Loss>>, x: &[Tensor], y: &Tensor) -> Result<Report> {
        let (graph, loss) = (model.built()?, loss.into());
        loss.check()?;
        let weighed = |outputs: &Values| {
            let y_pred = outputs.clone().one()?;
            let weights = losses::entry_weights(&*loss, y, &loss.entries_shape(y_pred.shape())?, None)?;
            Ok((y_pred, weights))
        };
        let function = Function {
            forward: &|inputs, cx| graph.forward(inputs, cx).map(|(outputs, _)| outputs),
            backward: &|gradients, cx| graph.backward(gradients.into_iter().map(Some).collect(), cx),
            score: &|outputs| {
                let (y_pred, weights) = weighed(outputs)?;
                Ok(Score::of(&loss.call(y, &y_pred)?, &weights))
            },
            slope: &|outputs| {
                let (y_pred, weights) = weighed(outputs)?;
                Ok(loss.gradient(y, &y_pred, &weights)?.into())
            },
            trainable: true,
            weights: &model.trainable_weights(),
        };
        let report = self.function(&function, x).and_then(|report| report.ok_or_else(inconclusive));
        report.and_then(Report::passed).at(|| format!("model '{}'", model.name()))
    }

    /// Checks a loss at these targets and predictions.
    ///
    /// # Errors
    /// [`Error::Gradient`] when it is wrong; those of the loss.
    pub fn loss(
        &self,
        loss: impl Into<Shared<dyn Loss>>,
        y_true: &Tensor,
        y_pred: &Tensor,
        sample_weight: Option<&Tensor>,
    ) -> Result<Report> {
        let loss = loss.into();
        let check = || {
            loss.check()?;
            let entries = loss.call(y_true, y_pred)?;
            let shape = loss.entries_shape(y_pred.shape())?;
            ensure!(
                entries.shape() == &shape[..],
                Gradient,
                "the entries have shape {:?} where entries_shape said {shape:?}",
                entries.shape()
            );
            let weights = losses::entry_weights(&*loss, y_true, entries.shape(), sample_weight)?;
            let gradient = loss.gradient(y_true, y_pred, &weights)?;
            self.one("predictions", y_pred, gradient, |y_pred| Ok(Score::of(&loss.call(y_true, y_pred)?, &weights)))
        };
        check().at(|| format!("loss '{}'", loss.name()))
    }

    /// Checks an activation at values of this shape.
    ///
    /// # Errors
    /// [`Error::Gradient`] when it is wrong.
    pub fn activation(&self, activation: impl Into<Activation>, shape: impl AsRef<[usize]>) -> Result<Report> {
        let (activation, x) = (activation.into(), self.values(shape.as_ref(), "input", 0));
        let apply = |x: &Tensor| {
            let mut y = x.clone();
            activation.apply(&mut y).map(|()| y)
        };
        let check = || {
            let r = self.values(x.shape(), "output", 0);
            let mut gradient = r.clone();
            let y = apply(&x)?;
            activation.backward(activation.needs_input().then_some(&x), &y, &mut gradient)?;
            self.one("input", &x, gradient, |x| Ok(Score::of(&apply(x)?, &r)))
        };
        check().at(|| format!("activation '{}'", activation.name()))
    }

    /// Checks a regularizer at a weight of this shape.
    ///
    /// # Errors
    /// [`Error::Gradient`] when it is wrong.
    pub fn regularizer(
        &self,
        regularizer: impl Into<Shared<dyn Regularizer>>,
        shape: impl AsRef<[usize]>,
    ) -> Result<Report> {
        let (regularizer, weight) = (regularizer.into(), self.values(shape.as_ref(), "weight", 0));
        let check = || {
            regularizer.check()?;
            // Twice the derivative on top of 1, so that neither the scale nor what was there is lost.
            let mut gradient = Tensor::full(weight.shape(), 1.0);
            regularizer.add_gradient(&weight, 2.0, gradient.data_mut());
            let gradient = gradient.map(|g| (g - 1.0) / 2.0);
            self.one("weight", &weight, gradient, |w| Ok(Score::from(regularizer.loss(w))))
        };
        check().at(|| format!("regularizer '{}'", regularizer.class_name()))
    }

    /// Compares the gradient of a function of one tensor.
    fn one(
        &self,
        name: &str,
        at: &Tensor,
        gradient: Tensor,
        value: impl Fn(&Tensor) -> Result<Score>,
    ) -> Result<Report> {
        ensure!(
            gradient.shape() == at.shape(),
            Gradient,
            "the gradient of {name} has shape {:?}, its values {:?}",
            gradient.shape(),
            at.shape()
        );
        let checked = self.compare(name, at, &gradient, &value)?.ok_or_else(inconclusive)?;
        Report { checks: vec![checked], tolerance: self.tolerance }.passed()
    }

    /// Compares the gradients of a function of inputs and weights; none when kinks are in the way.
    fn function(&self, function: &Function<'_>, inputs: &[Tensor]) -> Result<Option<Report>> {
        let weights = function.weights;
        let mut store = GradientStore::new(weights);
        let (outputs, gradients) = function.gradients(self, inputs, true, &mut store)?;
        let once: Vec<Tensor> = store.values().to_vec();
        function.gradients(self, inputs, false, &mut store)?;
        for ((weight, once), twice) in weights.iter().zip(&once).zip(store.values()) {
            let largest = once.data().iter().fold(1f32, |max, g| max.max(g.abs()));
            let halves = twice.clone().map(|g| g / 2.0);
            check_close(&halves, once, largest * 1e-5).map_err(|error| {
                Error::Gradient(format!(
                    "the gradient of {} must be added to what is there, and not depend on whether the inputs' is asked for: {error}",
                    weight.path()
                ))
            })?;
        }
        let plain = function.outputs(self, inputs)?.0;
        for (recorded, plain) in outputs.iter().zip(plain.iter()) {
            check_close(recorded, plain, 1e-5)
                .map_err(|error| Error::Gradient(format!("a pass that saves gives other outputs: {error}")))?;
        }

        let mut checks = Vec::new();
        for (i, gradient) in gradients.into_iter().enumerate().filter(|_| self.inputs) {
            let gradient = gradient.unwrap_or_else(|| Tensor::zeros(inputs[i].shape()));
            let name = format!("input {i}");
            ensure!(
                gradient.shape() == inputs[i].shape(),
                Gradient,
                "the gradient of {name} has shape {:?}, the input {:?}",
                gradient.shape(),
                inputs[i].shape()
            );
            let value = |x: &Tensor| {
                let mut inputs = inputs.to_vec();
                inputs[i] = x.clone();
                function.value(self, &inputs)
            };
            let Some(checked) = self.compare(&name, &inputs[i], &gradient, &value)? else { return Ok(None) };
            checks.push(checked);
        }
        for (weight, mut gradient) in weights.iter().zip(once) {
            let at = weight.value();
            if let Some(regularizer) = weight.regularizer() {
                regularizer.add_gradient(&at, 1.0, gradient.data_mut());
            }
            let value = |w: &Tensor| {
                weight.set(w.clone())?;
                function.value(self, inputs)
            };
            let checked = self.compare(weight.path(), &at, &gradient, &value);
            weight.set(at)?;
            let Some(checked) = checked? else { return Ok(None) };
            checks.push(checked);
        }
        Ok(Some(Report { checks, tolerance: self.tolerance }))
    }

    /// The worst of some random directions; none when kinks are in the way of one.
    fn compare(
        &self,
        name: &str,
        at: &Tensor,
        gradient: &Tensor,
        value: &dyn Fn(&Tensor) -> Result<Score>,
    ) -> Result<Option<Checked>> {
        let length = gradient.data().iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let mut worst: Option<Checked> = None;
        for i in 0..self.directions as u64 {
            let mut draws = (0..DRAWS).map(|draw| random::stream(self.seed, random::stream_of(name), i, draw));
            let found = draws.find_map(|mut rng| {
                let signs: Vec<f32> = at.data().iter().map(|_| if rng.random() { 1.0 } else { -1.0 }).collect();
                let numeric = self.derivative(at, &signs, length, value).transpose()?;
                let analytic = gradient.data().iter().zip(&signs).map(|(&g, &d)| f64::from(g) * f64::from(d)).sum();
                Some(numeric.map(|(numeric, rounding)| {
                    let scale = length.max(numeric.abs()).max(f64::MIN_POSITIVE);
                    let within = abs_diff_eq!(numeric, analytic, epsilon = rounding);
                    let error = if within { 0.0 } else { ((numeric - analytic).abs() - rounding) / scale };
                    Checked { name: name.to_owned(), error, numeric, analytic }
                }))
            });
            let Some(checked) = found.transpose()? else { return Ok(None) };
            // An error that is not a number is the worst.
            if worst.as_ref().is_none_or(|worst| checked.error.is_nan() || checked.error > worst.error) {
                worst = Some(checked);
            }
        }
        Ok(worst)
    }

    /// The derivative along `direction` and what rounding may have done to it; none where estimates
    /// do not agree.
    fn derivative(
        &self,
        at: &Tensor,
        direction: &[f32],
        length: f64,
        value: &dyn Fn(&Tensor) -> Result<Score>,
    ) -> Result<Option<(f64, f64)>> {
        let moved = |t: f64| {
            let mut x = at.clone();
            x.data_mut().iter_mut().zip(direction).for_each(|(x, d)| *x += t as f32 * d);
            value(&x)
        };
        let centre = value(at)?;
        ensure!(
            centre.value.is_finite() && length.is_finite(),
            Gradient,
            "the value is {} and the gradient's length {length}; both must be finite",
            centre.value
        );
        let mut t = self.step;
        let (mut slopes, mut bends): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
        let mut before: Option<f64> = None;
        for _ in 0..=HALVINGS {
            let (after, behind) = (moved(t)?.value, moved(-t)?.value);
            slopes.push((after - behind) / (2.0 * t));
            bends.push((after - 2.0 * centre.value + behind) / (2.0 * t));
            if let ([.., wide, narrow], [.., wide_bend, narrow_bend]) = (&slopes[..], &bends[..]) {
                let estimate = (4.0 * narrow - wide) / 3.0;
                // What is left of the difference of the one-sided slopes as the step goes to 0.
                let kink = (2.0 * narrow_bend - wide_bend).abs();
                let rounding = 4.0 * f64::from(f32::EPSILON) * centre.size / t;
                let near = 0.25 * self.tolerance * length.max(estimate.abs()) + rounding;
                let agree = before.is_some_and(|before| abs_diff_eq!(before, estimate, epsilon = near));
                if agree && kink <= near {
                    return Ok(Some((estimate, rounding)));
                }
                before = Some(estimate);
            }
            t /= 2.0;
        }
        Ok(None)
    }

    /// Values from -1.5 to 1.5 that stay away from 0 and from each other, in random order.
    fn values(&self, shape: &[usize], what: &str, index: u64) -> Tensor {
        let mut rng = random::stream(self.seed, random::stream_of(what), index, 0);
        let mut values = Tensor::zeros(shape);
        let n = values.len();
        let order = random::permutation(n, &mut rng);
        for (value, place) in values.data_mut().iter_mut().zip(order) {
            let size = 0.15 + 1.35 * (place as f32 + 0.5) / n as f32;
            *value = if rng.random() { size } else { -size };
        }
        values
    }
}

fn inconclusive() -> Error {
    Error::Gradient(
        "differences give no derivative here: the values lie on kinks or jumps in every direction that was tried; \
         use other values, another seed or smaller steps"
            .to_owned(),
    )
}

/// A sum of terms, and their root sum of squares: what rounding errors of the terms add up to, in f32's epsilons.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    value: f64,
    size: f64,
}

impl Score {
    /// `sum(terms * weights)`
    fn of(terms: &Tensor, weights: &Tensor) -> Self {
        let products = || terms.data().iter().zip(weights.data()).map(|(&y, &r)| f64::from(y) * f64::from(r));
        Score { value: products().sum(), size: products().map(|p| p * p).sum::<f64>().sqrt() }
    }
}

impl From<f64> for Score {
    fn from(value: f64) -> Self {
        Score { value, size: value.abs() }
    }
}

impl std::ops::Add for Score {
    type Output = Score;
    fn add(self, other: Score) -> Score {
        Score { value: self.value + other.value, size: self.size.hypot(other.size) }
    }
}

type ForwardFn<'a> = &'a dyn Fn(Values, &mut Forward<'_>) -> Result<Values>;
type BackwardFn<'a> = &'a dyn Fn(Values, &mut Backward<'_>) -> Result<Gradients>;

/// A layer or a model, and the number that is made of its outputs.
struct Function<'a> {
    forward: ForwardFn<'a>,
    backward: BackwardFn<'a>,
    score: &'a dyn Fn(&Values) -> Result<Score>,
    slope: &'a dyn Fn(&Values) -> Result<Values>,
    trainable: bool,
    weights: &'a [Param],
}

impl Function<'_> {
    /// One pass; `saved` is where it saves, and whether the inputs' gradients will be asked for.
    fn pass(
        &self,
        check: &GradientCheck,
        inputs: &[Tensor],
        saved: Option<(&mut Saved, bool)>,
    ) -> Result<(Values, f64)> {
        let pass = Pass {
            training: check.training,
            seed: check.seed,
            step: 0,
            first_sample: 0,
            share: 1.0,
            workspace: Workspace::new(),
        };
        let mut effects = Effects::default();
        let recording = saved.is_some();
        let mut none = Saved::default();
        let (saved, inputs_need_gradient) = saved.unwrap_or((&mut none, false));
        let outputs = (self.forward)(
            inputs.iter().cloned().collect(),
            &mut Forward {
                stream: 1,
                trainable: self.trainable,
                inputs_need_gradient,
                ..Forward::of_model(&pass, saved, &mut effects, recording)
            },
        )?;
        Ok((outputs, effects.loss))
    }

    fn outputs(&self, check: &GradientCheck, inputs: &[Tensor]) -> Result<(Values, f64)> {
        self.pass(check, inputs, None)
    }

    /// The number, terms that layers add and penalties included.
    fn value(&self, check: &GradientCheck, inputs: &[Tensor]) -> Result<Score> {
        let (outputs, added) = self.outputs(check, inputs)?;
        let penalty = |weight: &Param| weight.regularizer().map_or(0.0, |r| r.loss(&weight.value()));
        let penalties: f64 = self.weights.iter().map(penalty).sum();
        Ok((self.score)(&outputs)? + added.into() + penalties.into())
    }

    /// The outputs and the gradients of the inputs; adds those of the weights to `store`.
    fn gradients(
        &self,
        check: &GradientCheck,
        inputs: &[Tensor],
        wanted: bool,
        store: &mut GradientStore,
    ) -> Result<(Values, Gradients)> {
        let mut saved = Saved::default();
        let (outputs, _) = self.pass(check, inputs, Some((&mut saved, wanted)))?;
        let gradients = (self.backward)(
            (self.slope)(&outputs)?,
            &mut Backward {
                saved: &mut saved,
                gradients: store,
                workspace: &Workspace::new(),
                share: 1.0,
                trainable: self.trainable,
                wanted: inputs.iter().map(|_| wanted).collect(),
                gates: Default::default(),
            },
        )?;
        ensure!(
            saved.is_empty(),
            Gradient,
            "backward left something of what forward saved; they must mirror each other"
        );
        Ok((outputs, gradients))
    }
}
