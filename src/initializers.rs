//! How weights start.
//!
//! Those that draw at random take a `seed`: with one they give the same values each time, without
//! one the values follow from the model's seed and the weight's path.

use crate::config::{self, Config, Shared, Unknown, family};
use crate::error::{Error, Result, ensure};
use crate::random::{Rng, stream};
use crate::runtime::threads;
pub use crate::signal::SignalWindow;
use crate::tensor::Tensor;
use ndarray::{ArrayD, IxDyn};
use ndarray_rand::RandomExt;
use ndarray_rand::rand_distr::{Distribution, StandardNormal, Uniform};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt::Debug;

/// Makes the first values of a weight.
///
/// An initializer of one's own:
///
/// ```
/// use cornu::{Result, Rng, Tensor, initializers::Initializer};
///
/// /// 0, 1, 2, … in row-major order.
/// #[derive(Debug)]
/// struct Count;
///
/// impl Initializer for Count {
///     fn initialize(&self, shape: &[usize], _: &mut Rng) -> Result<Tensor> {
///         Tensor::new(shape, (0..shape.iter().product()).map(|i: usize| i as f32).collect())
///     }
/// }
/// assert_eq!(Count.initialize(&[3], &mut cornu::random::stream(0, 0, 0, 0))?.data(), [0.0, 1.0, 2.0]);
/// # Ok::<(), cornu::Error>(())
/// ```
pub trait Initializer: Debug + Send + Sync {
    /// The name it is saved under.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }

    /// What makes it again (Keras: `get_config`). Without it a model that uses it cannot be saved.
    ///
    /// # Errors
    /// By default: that it has none.
    fn config(&self) -> Result<Config> {
        Err(config::no_config("initializer", self.class_name()))
    }

    /// Whether its arguments make sense.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The first values of a weight of this shape.
    ///
    /// # Errors
    /// When it cannot serve this shape.
    fn initialize(&self, shape: &[usize], rng: &mut Rng) -> Result<Tensor>;
}

family! { Shared<dyn Initializer>, "initializer", "keras.initializers";
    Zeros = "zeros" | "zero";
    Ones = "ones" | "one";
    Constant = "constant";
    RandomNormal = "random_normal" | "normal";
    RandomUniform = "random_uniform" | "uniform";
    TruncatedNormal = "truncated_normal";
    VarianceScaling = "variance_scaling";
    GlorotUniform = "glorot_uniform";
    GlorotNormal = "glorot_normal";
    HeUniform = "he_uniform";
    HeNormal = "he_normal";
    LecunUniform = "lecun_uniform";
    LecunNormal = "lecun_normal";
    Orthogonal = "orthogonal" | "OrthogonalInitializer";
    Identity = "identity" | "IdentityInitializer";
    STFT = "stft" | "STFTInitializer";
}

impl Initializer for Unknown {
    fn check(&self) -> Result<()> {
        Err(self.error())
    }
    fn initialize(&self, _: &[usize], _: &mut Rng) -> Result<Tensor> {
        Err(self.error())
    }
}

/// By what of a window its frames are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowScaling {
    /// The root of the sum of squares.
    Density,
    /// The sum of sizes.
    Spectrum,
}

/// The cosines, or minus the sines, of a short-time Fourier transform: the kernels of
/// [`STFTSpectrogram`](crate::layers::STFTSpectrogram), of shape `(frame length, 1, frequencies)`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct STFT {
    side: Side,
    window: Option<SignalWindow>,
    scaling: Option<WindowScaling>,
    periodic: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Side {
    Real,
    Imag,
}

impl STFT {
    /// The sines if `imaginary`, else the cosines, times a window that may be periodic, divided by what `scaling` says.
    pub fn new(
        imaginary: bool,
        window: impl Into<Option<SignalWindow>>,
        scaling: impl Into<Option<WindowScaling>>,
        periodic: bool,
    ) -> Self {
        let side = if imaginary { Side::Imag } else { Side::Real };
        STFT { side, window: window.into(), scaling: scaling.into(), periodic }
    }
}

impl Default for STFT {
    fn default() -> Self {
        STFT::new(false, SignalWindow::from("hann"), WindowScaling::Density, false)
    }
}

impl Initializer for STFT {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        self.window.as_ref().map_or(Ok(()), SignalWindow::check)
    }
    fn initialize(&self, shape: &[usize], _: &mut Rng) -> Result<Tensor> {
        let &[length, 1, bins] = shape else {
            return Err(Error::Shape(format!(
                "STFT is for kernels of shape (frame length, 1, frequencies), not {shape:?}"
            )));
        };
        ensure!(bins > 1, Shape, "STFT needs at least 2 frequencies");
        let window = match &self.window {
            Some(window) => window.values(length, self.periodic)?,
            None => vec![1.0; length],
        };
        // Without a window nothing is divided, as in Keras.
        let divisor = match self.scaling.filter(|_| self.window.is_some()) {
            Some(WindowScaling::Density) => window.iter().map(|w| w * w).sum::<f64>().sqrt(),
            Some(WindowScaling::Spectrum) => window.iter().map(|w| w.abs()).sum(),
            None => 1.0,
        };
        let value = |i: usize| {
            let (t, f) = (i / bins, i % bins);
            let angle = std::f64::consts::PI * (t * f) as f64 / (bins - 1) as f64;
            let wave = if self.side == Side::Real { angle.cos() } else { -angle.sin() };
            (wave * window[t] / divisor) as f32
        };
        Tensor::new(shape, (0..length * bins).map(value).collect())
    }
}

/// All zeros.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Zeros {}

impl Zeros {
    /// The initializer.
    pub fn new() -> Self {
        Zeros {}
    }
}

impl Initializer for Zeros {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn initialize(&self, shape: &[usize], _: &mut Rng) -> Result<Tensor> {
        Ok(Tensor::zeros(shape))
    }
}

/// All ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ones {}

impl Ones {
    /// The initializer.
    pub fn new() -> Self {
        Ones {}
    }
}

impl Initializer for Ones {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn initialize(&self, shape: &[usize], _: &mut Rng) -> Result<Tensor> {
        Ok(Tensor::full(shape, 1.0))
    }
}

/// The same value everywhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Constant {
    value: f64,
}

impl Constant {
    /// This value (Keras' default is 0).
    pub fn new(value: f64) -> Self {
        Constant { value }
    }
}

impl Initializer for Constant {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn initialize(&self, shape: &[usize], _: &mut Rng) -> Result<Tensor> {
        Ok(Tensor::full(shape, self.value as f32))
    }
}

/// `gain` on the diagonal of a matrix, zeros elsewhere.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    gain: f64,
}

impl Default for Identity {
    fn default() -> Self {
        Identity { gain: 1.0 }
    }
}

impl Identity {
    /// With this gain (Keras' default is 1).
    pub fn new(gain: f64) -> Self {
        Identity { gain }
    }
}

impl Initializer for Identity {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn initialize(&self, shape: &[usize], _: &mut Rng) -> Result<Tensor> {
        let &[_, columns] = shape else {
            return Err(Error::Shape(format!("Identity makes matrices, not weights of shape {shape:?}")));
        };
        let mut matrix = Tensor::zeros(shape);
        matrix.data_mut().chunks_mut(columns.max(1)).enumerate().for_each(|(i, row)| {
            if let Some(v) = row.get_mut(i) {
                *v = self.gain as f32;
            }
        });
        Ok(matrix)
    }
}

/// Keras' `seed`: null, a number, or the settings of a generator, of which the seed counts.
fn seed<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let seed = value.pointer("/config/seed").unwrap_or(&value);
    // Python's seeds may be negative; any 64 bits serve.
    Ok(seed.as_u64().or_else(|| seed.as_i64().map(|seed| seed as u64)))
}

/// Draws a weight's values: from the stream of `seed` if there is one, else from `rng`.
fn draw(shape: &[usize], values: impl Distribution<f32>, seed: Option<u64>, rng: &mut Rng) -> Tensor {
    let shape = IxDyn(shape);
    match seed {
        Some(seed) => ArrayD::random_using(shape, values, &mut stream(seed, 0, 0, 0)),
        None => ArrayD::random_using(shape, values, rng),
    }
    .into()
}

/// Normal values, if `cut` without those further than two standard deviations from the mean.
struct Normal {
    mean: f32,
    stddev: f32,
    cut: bool,
}

impl Distribution<f32> for Normal {
    fn sample<R: ndarray_rand::rand::Rng + ?Sized>(&self, rng: &mut R) -> f32 {
        let z = loop {
            let z: f32 = StandardNormal.sample(rng);
            if !self.cut || z.abs() < 2.0 {
                break z;
            }
        };
        self.mean + self.stddev * z
    }
}

fn uniform(low: f64, high: f64) -> Result<Uniform<f32>> {
    Uniform::new_inclusive(low as f32, high as f32)
        .map_err(|_| Error::Argument(format!("values cannot be drawn from {low} to {high}")))
}

/// A builder method and its field's rule are the same for each class that draws.
macro_rules! seed_setter {
    () => {
        /// Makes the values the same each time. Default: they follow from the model's seed.
        pub fn seed(mut self, seed: u64) -> Self {
            self.seed = Some(seed);
            self
        }
    };
}

macro_rules! normal {
    ($(#[$doc:meta])* $class:ident, cut = $cut:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $class {
            mean: f64,
            stddev: f64,
            #[serde(deserialize_with = "seed")]
            seed: Option<u64>,
        }

        impl Default for $class {
            fn default() -> Self {
                $class { mean: 0.0, stddev: 0.05, seed: None }
            }
        }

        impl $class {
            /// With this mean and standard deviation (Keras' defaults are 0 and 0.05).
            pub fn new(mean: f64, stddev: f64) -> Self {
                $class { mean, stddev, seed: None }
            }

            seed_setter!();
        }

        impl Initializer for $class {
            fn config(&self) -> Result<Config> {
                config::of(self)
            }
            fn check(&self) -> Result<()> {
                ensure!(self.mean.is_finite(), Argument, "mean is {}; it must be a number", self.mean);
                config::check_non_negative("stddev", self.stddev)
            }
            fn initialize(&self, shape: &[usize], rng: &mut Rng) -> Result<Tensor> {
                self.check()?;
                let normal = Normal { mean: self.mean as f32, stddev: self.stddev as f32, cut: $cut };
                Ok(draw(shape, normal, self.seed, rng))
            }
        }
    };
}

normal! {
    /// Values from a normal distribution.
    RandomNormal, cut = false
}
normal! {
    /// Values from a normal distribution, without those further than two standard deviations from the
    /// mean (which makes their own deviation 0.88 times as large).
    TruncatedNormal, cut = true
}

/// Values spread evenly between two limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct RandomUniform {
    minval: f64,
    maxval: f64,
    #[serde(deserialize_with = "seed")]
    seed: Option<u64>,
}

impl Default for RandomUniform {
    fn default() -> Self {
        RandomUniform { minval: -0.05, maxval: 0.05, seed: None }
    }
}

impl RandomUniform {
    /// Between these limits (Keras' defaults are -0.05 and 0.05).
    pub fn new(minval: f64, maxval: f64) -> Self {
        RandomUniform { minval, maxval, seed: None }
    }

    seed_setter!();
}

impl Initializer for RandomUniform {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        let (min, max) = (self.minval, self.maxval);
        ensure!(
            min.is_finite() && max.is_finite() && min <= max,
            Argument,
            "minval is {min} and maxval {max}; the first must not be larger"
        );
        Ok(())
    }
    fn initialize(&self, shape: &[usize], rng: &mut Rng) -> Result<Tensor> {
        self.check()?;
        Ok(draw(shape, uniform(self.minval, self.maxval)?, self.seed, rng))
    }
}

/// What [`VarianceScaling`] divides the variance by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FanMode {
    /// The number of inputs of a unit.
    #[default]
    FanIn,
    /// The number of units that an input goes to.
    FanOut,
    /// The mean of both.
    FanAvg,
}

/// What [`VarianceScaling`] draws from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaledDistribution {
    /// Normal, cut at two standard deviations and widened so that the variance is right again.
    #[default]
    #[serde(alias = "normal")]
    TruncatedNormal,
    /// Normal.
    UntruncatedNormal,
    /// Even between two limits.
    Uniform,
}

/// Values whose variance is `scale / fan`, so that signals keep their size through the layers.
///
/// The fans of a dense kernel `(inputs, units)` are its two sizes, those of a convolution's
/// `(height, width, inputs, filters)` its last two times the window's area.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct VarianceScaling {
    scale: f64,
    mode: FanMode,
    distribution: ScaledDistribution,
    #[serde(deserialize_with = "seed")]
    seed: Option<u64>,
    input_axes: Option<Vec<isize>>,
    output_axes: Option<Vec<isize>>,
}

impl Default for VarianceScaling {
    fn default() -> Self {
        VarianceScaling {
            scale: 1.0,
            mode: FanMode::default(),
            distribution: ScaledDistribution::default(),
            seed: None,
            input_axes: None,
            output_axes: None,
        }
    }
}

impl VarianceScaling {
    /// With these (Keras' defaults are 1, `FanIn` and `TruncatedNormal`).
    pub fn new(scale: f64, mode: FanMode, distribution: ScaledDistribution) -> Self {
        VarianceScaling { scale, mode, distribution, ..Self::default() }
    }

    seed_setter!();

    /// The axes whose sizes multiply to the two fans, for weights in an unusual layout.
    pub fn axes(mut self, input: impl Into<Vec<isize>>, output: impl Into<Vec<isize>>) -> Self {
        (self.input_axes, self.output_axes) = (Some(input.into()), Some(output.into()));
        self
    }
}

impl Initializer for VarianceScaling {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        ensure!(
            self.scale.is_finite() && self.scale > 0.0,
            Argument,
            "scale is {}; it must be a number above 0",
            self.scale
        );
        Ok(())
    }
    fn initialize(&self, shape: &[usize], rng: &mut Rng) -> Result<Tensor> {
        self.check()?;
        let (fan_in, fan_out) = match (&self.input_axes, &self.output_axes) {
            (Some(input), Some(output)) => (fan_of(shape, input)?, fan_of(shape, output)?),
            _ => fans(shape),
        };
        let fan = match self.mode {
            FanMode::FanIn => fan_in,
            FanMode::FanOut => fan_out,
            FanMode::FanAvg => (fan_in + fan_out) / 2.0,
        };
        let variance = self.scale / fan.max(1.0);
        let normal = |stddev: f64, cut| Normal { mean: 0.0, stddev: stddev as f32, cut };
        Ok(match self.distribution {
            // The standard deviation of a normal distribution that is cut at two of its own.
            ScaledDistribution::TruncatedNormal => {
                draw(shape, normal(variance.sqrt() / 0.879_625_661_034_239_8, true), self.seed, rng)
            }
            ScaledDistribution::UntruncatedNormal => draw(shape, normal(variance.sqrt(), false), self.seed, rng),
            ScaledDistribution::Uniform => {
                let limit = (3.0 * variance).sqrt();
                draw(shape, uniform(-limit, limit)?, self.seed, rng)
            }
        })
    }
}

/// How many inputs a unit has, and how many units an input goes to, by Keras' rule.
fn fans(shape: &[usize]) -> (f64, f64) {
    match *shape {
        [] => (1.0, 1.0),
        [n] => (n as f64, n as f64),
        [ref window @ .., inputs, outputs] => {
            let area: f64 = window.iter().map(|&d| d as f64).product();
            (inputs as f64 * area, outputs as f64 * area)
        }
    }
}

/// The product of the sizes along `axes`.
fn fan_of(shape: &[usize], axes: &[isize]) -> Result<f64> {
    let size = |&axis: &isize| {
        let index = if axis < 0 { axis + shape.len() as isize } else { axis };
        let size = usize::try_from(index).ok().and_then(|index| shape.get(index));
        size.map(|&d| d as f64).ok_or_else(|| Error::Shape(format!("a weight of shape {shape:?} has no axis {axis}")))
    };
    axes.iter().map(size).product()
}

macro_rules! scaled {
    ($($(#[$doc:meta])* $class:ident($scale:literal, $mode:ident, $distribution:ident);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $class {
            #[serde(deserialize_with = "seed")]
            seed: Option<u64>,
            input_axes: Option<Vec<isize>>,
            output_axes: Option<Vec<isize>>,
        }

        impl $class {
            /// The initializer.
            pub fn new() -> Self {
                Self::default()
            }

            seed_setter!();
        }

        impl Initializer for $class {
            fn config(&self) -> Result<Config> {
                config::of(self)
            }
            fn initialize(&self, shape: &[usize], rng: &mut Rng) -> Result<Tensor> {
                let scaling = VarianceScaling {
                    scale: $scale,
                    mode: FanMode::$mode,
                    distribution: ScaledDistribution::$distribution,
                    seed: self.seed,
                    input_axes: self.input_axes.clone(),
                    output_axes: self.output_axes.clone(),
                };
                scaling.initialize(shape, rng)
            }
        }
    )*};
}

scaled! {
    /// Even within `sqrt(6 / (fan_in + fan_out))`: what layers start with by default
    /// (Glorot and Bengio, <https://proceedings.mlr.press/v9/glorot10a.html>).
    GlorotUniform(1.0, FanAvg, Uniform);
    /// Normal of variance `2 / (fan_in + fan_out)`, cut at two standard deviations
    /// (Glorot and Bengio, <https://proceedings.mlr.press/v9/glorot10a.html>).
    GlorotNormal(1.0, FanAvg, TruncatedNormal);
    /// Even within `sqrt(6 / fan_in)`, for layers with relu (He et al., <https://arxiv.org/abs/1502.01852>).
    HeUniform(2.0, FanIn, Uniform);
    /// Normal of variance `2 / fan_in`, cut at two standard deviations, for layers with relu
    /// (He et al., <https://arxiv.org/abs/1502.01852>).
    HeNormal(2.0, FanIn, TruncatedNormal);
    /// Even within `sqrt(3 / fan_in)`, for layers with selu (Klambauer et al., <https://arxiv.org/abs/1706.02515>).
    LecunUniform(1.0, FanIn, Uniform);
    /// Normal of variance `1 / fan_in`, cut at two standard deviations, for layers with selu
    /// (Klambauer et al., <https://arxiv.org/abs/1706.02515>).
    LecunNormal(1.0, FanIn, TruncatedNormal);
}

/// A random orthogonal matrix times `gain`: a signal keeps its length through it
/// (Saxe et al., <https://arxiv.org/abs/1312.6120>).
///
/// The weight is seen as the matrix of its last axis: its columns are orthogonal when it has at least
/// as many rows, else its rows are.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Orthogonal {
    gain: f64,
    #[serde(deserialize_with = "seed")]
    seed: Option<u64>,
}

impl Default for Orthogonal {
    fn default() -> Self {
        Orthogonal { gain: 1.0, seed: None }
    }
}

impl Orthogonal {
    /// With this gain (Keras' default is 1).
    pub fn new(gain: f64) -> Self {
        Orthogonal { gain, seed: None }
    }

    seed_setter!();
}

impl Initializer for Orthogonal {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn check(&self) -> Result<()> {
        ensure!(self.gain.is_finite(), Argument, "gain is {}; it must be a number", self.gain);
        Ok(())
    }
    fn initialize(&self, shape: &[usize], rng: &mut Rng) -> Result<Tensor> {
        self.check()?;
        let (&columns, rows) = match shape {
            [rows @ .., columns] if !rows.is_empty() => (columns, rows.iter().product::<usize>()),
            _ => {
                return Err(Error::Shape(format!(
                    "Orthogonal needs a weight of at least two dimensions, not of shape {shape:?}"
                )));
            }
        };
        let (count, len) = (rows.min(columns), rows.max(columns));
        let random = draw(&[count, len], Normal { mean: 0.0, stddev: 1.0, cut: false }, self.seed, rng);
        let mut vectors: Vec<Vec<f64>> =
            (0..count).map(|i| random.row(i).iter().map(|&v| f64::from(v)).collect()).collect();
        orthonormalize(&mut vectors);
        let value =
            |row: usize, column: usize| if rows >= columns { vectors[column][row] } else { vectors[row][column] };
        let values = (0..rows * columns).map(|i| (self.gain * value(i / columns, i % columns)) as f32);
        Tensor::new(shape, values.collect())
    }
}

/// Modified Gram–Schmidt. It is the QR factorisation whose R has a positive diagonal, the sign that
/// makes the result uniform among all orthogonal matrices.
fn orthonormalize(vectors: &mut [Vec<f64>]) {
    for k in 0..vectors.len() {
        let (done, later) = vectors.split_at_mut(k + 1);
        let unit = &mut done[k];
        let norm = dot(unit, unit).sqrt();
        unit.iter_mut().for_each(|v| *v /= norm);
        threads::for_each(later, |_, vector| {
            let along = dot(unit, vector);
            vector.iter_mut().zip(&*unit).for_each(|(v, u)| *v -= along * u);
        });
    }
}

/// In eight interleaved sums so that it vectorises.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0f64; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Holder {
        init: Shared<dyn Initializer>,
        other: Option<Shared<dyn Initializer>>,
    }

    #[test]
    fn names_and_configs() {
        let zeros: Shared<dyn Initializer> = "zeros".into();
        assert_eq!(zeros.class_name(), "Zeros");
        let wrong: Shared<dyn Initializer> = "zeroes".into();
        assert!(wrong.check().unwrap_err().to_string().contains("did you mean 'zeros'"), "{:?}", wrong.check());
        let text = serde_json::to_string(&Holder { init: Zeros {}.into(), other: None }).unwrap();
        let back: Holder = serde_json::from_str(&text).unwrap();
        assert_eq!(back.init.class_name(), "Zeros");
        assert!(back.other.is_none());
        assert!(serde_json::from_str::<Holder>(r#"{"init": "once"}"#).is_err());
    }

    fn values(initializer: &dyn Initializer, shape: &[usize]) -> Vec<f32> {
        initializer.initialize(shape, &mut stream(7, 0, 0, 0)).unwrap().into_vec()
    }

    /// Mean, standard deviation and largest size of many values.
    fn statistics(values: &[f32]) -> (f64, f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt(), values.iter().map(|&v| f64::from(v).abs()).fold(0.0, f64::max))
    }

    #[track_caller]
    fn close(value: f64, expected: f64, tolerance: f64) {
        assert!((value - expected).abs() < tolerance, "{value} is not {expected}");
    }

    #[test]
    fn constants() {
        assert_eq!(values(&Constant::new(0.3), &[2]), [0.3, 0.3]);
        assert_eq!(values(&Identity::new(2.0), &[2, 3]), [2.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
        assert_eq!(values(&Identity::default(), &[3, 2]), [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert!(Identity::default().initialize(&[2], &mut stream(0, 0, 0, 0)).is_err());
    }

    #[test]
    fn normal_and_uniform_statistics() {
        let n = 200_000;
        let (mean, sd, _) = statistics(&values(&RandomNormal::new(1.0, 0.5), &[n]));
        close(mean, 1.0, 0.005);
        close(sd, 0.5, 0.005);
        // A normal distribution that is cut at two standard deviations has 0.8796 of its deviation.
        let (mean, sd, largest) = statistics(&values(&TruncatedNormal::new(0.0, 0.5), &[n]));
        close(mean, 0.0, 0.005);
        close(sd, 0.5 * 0.8796, 0.003);
        assert!(largest < 1.0 && largest > 0.99);
        let (mean, sd, largest) = statistics(&values(&RandomUniform::new(-0.2, 0.2), &[n]));
        close(mean, 0.0, 0.002);
        close(sd, 0.4 / 12f64.sqrt(), 0.001);
        assert!(largest <= f64::from(0.2f32) && largest > 0.199);
        assert_eq!(values(&RandomUniform::new(0.5, 0.5), &[2]), [0.5, 0.5]);
        assert_eq!(values(&RandomNormal::new(0.5, 0.0), &[2]), [0.5, 0.5]);
    }

    #[test]
    fn scaled_variances_follow_the_fans() {
        assert_eq!(fans(&[]), (1.0, 1.0));
        assert_eq!(fans(&[5]), (5.0, 5.0));
        assert_eq!(fans(&[3, 4]), (3.0, 4.0));
        assert_eq!(fans(&[5, 3, 16, 32]), (240.0, 480.0));
        let (dense, conv): (&[usize], &[usize]) = (&[300, 500], &[5, 3, 40, 100]);
        let check = |initializer: &dyn Initializer, shape: &[usize], variance: f64, uniform: bool| {
            let (mean, sd, largest) = statistics(&values(initializer, shape));
            close(mean, 0.0, 0.02 * variance.sqrt());
            close(sd / variance.sqrt(), 1.0, 0.01);
            let limit = if uniform { (3.0 * variance).sqrt() } else { 2.0 * variance.sqrt() / 0.879_625_661 };
            assert!(largest <= limit * 1.000_001 && largest > 0.99 * limit, "{largest} {limit}");
        };
        check(&GlorotUniform::new(), dense, 1.0 / 400.0, true);
        check(&GlorotNormal::new(), conv, 1.0 / 1050.0, false);
        check(&HeUniform::new(), conv, 2.0 / 600.0, true);
        check(&HeNormal::new(), dense, 2.0 / 300.0, false);
        check(&LecunUniform::new(), dense, 1.0 / 300.0, true);
        check(&LecunNormal::new(), conv, 1.0 / 600.0, false);
        let scaling = |mode, distribution| VarianceScaling::new(3.0, mode, distribution);
        check(&scaling(FanMode::FanOut, ScaledDistribution::Uniform), dense, 3.0 / 500.0, true);
        check(&scaling(FanMode::FanIn, ScaledDistribution::Uniform).axes([1], [0]), dense, 3.0 / 500.0, true);
        let (_, sd, largest) =
            statistics(&values(&scaling(FanMode::FanIn, ScaledDistribution::UntruncatedNormal), dense));
        close(sd, 0.1, 0.001);
        assert!(largest > 0.35, "not cut");
    }

    #[test]
    fn orthogonal_weights_are_orthogonal() {
        for shape in [&[20, 12][..], &[12, 20], &[16, 16], &[3, 3, 2, 8], &[2, 40], &[1, 5]] {
            let columns = *shape.last().unwrap();
            let rows = shape.iter().product::<usize>() / columns;
            let w = values(&Orthogonal::new(1.5), shape);
            let (count, len, stride, step) =
                if rows >= columns { (columns, rows, 1, columns) } else { (rows, columns, columns, 1) };
            for i in 0..count {
                for j in 0..=i {
                    let dot: f64 = (0..len)
                        .map(|k| f64::from(w[i * stride + k * step]) * f64::from(w[j * stride + k * step]))
                        .sum();
                    close(dot, if i == j { 2.25 } else { 0.0 }, 1e-5);
                }
            }
        }
        // The sign of R's diagonal is positive, so the first vector is the first random one, scaled.
        let drawn = values(&RandomNormal::new(0.0, 1.0), &[1, 5]);
        let norm = drawn.iter().map(|v| v * v).sum::<f32>().sqrt();
        for (w, v) in values(&Orthogonal::default(), &[1, 5]).iter().zip(&drawn) {
            close((*w).into(), (v / norm).into(), 1e-6);
        }
        assert!(Orthogonal::default().initialize(&[5], &mut stream(0, 0, 0, 0)).is_err());
    }

    #[test]
    fn seeds_decide_over_the_given_stream() {
        let draw = |initializer: &dyn Initializer, seed| {
            let shape: &[usize] = if initializer.class_name() == "STFT" { &[4, 1, 4] } else { &[4, 4] };
            initializer.initialize(shape, &mut stream(seed, 0, 0, 0)).unwrap()
        };
        for class in <Shared<dyn Initializer> as config::Family>::classes() {
            let make = |config: serde_json::Value| match config {
                serde_json::Value::Object(config) => (class.from_config)(config).unwrap(),
                _ => unreachable!(),
            };
            let free = make(serde_json::json!({}));
            assert_eq!(draw(&*free, 1), draw(&*free, 1));
            if free.config().unwrap().contains_key("seed") {
                assert_ne!(draw(&*free, 1), draw(&*free, 2), "{}", class.class_name);
                let fixed = make(serde_json::json!({"seed": 5}));
                assert_eq!(draw(&*fixed, 1), draw(&*fixed, 2));
                assert_ne!(draw(&*fixed, 1), draw(&*make(serde_json::json!({"seed": -5})), 1));
                let generator = serde_json::json!({"seed": {"class_name": "SeedGenerator", "config": {"seed": 5}}});
                assert_eq!(draw(&*make(generator), 1), draw(&*fixed, 1));
            }
        }
    }

    #[test]
    fn golden_first_values_do_not_move() {
        // A change here changes every seeded model: it would be a breaking change.
        assert_eq!(values(&GlorotUniform::new().seed(1), &[2, 2]), [0.7407373, -0.30088633, 0.36584532, 0.2606169]);
        assert_eq!(values(&HeNormal::new().seed(1), &[2, 2]), [-0.68683773, 0.26516226, -1.4923204, 1.0974147]);
        assert_eq!(values(&Orthogonal::default().seed(1), &[2, 2]), [-0.93289256, 0.36015478, 0.36015478, 0.93289256]);
    }

    #[test]
    fn wrong_arguments_are_named() {
        let error = |initializer: Shared<dyn Initializer>| initializer.check().unwrap_err().to_string();
        assert!(error(RandomNormal::new(0.0, -1.0).into()).contains("stddev is -1"));
        assert!(error(RandomUniform::new(1.0, 0.0).into()).contains("minval is 1"));
        let scaling = VarianceScaling { scale: 0.0, ..VarianceScaling::default() };
        assert!(error(scaling.into()).contains("scale is 0"));
        let beyond = VarianceScaling::default().axes([2], [0]);
        assert!(beyond.initialize(&[3, 3], &mut stream(0, 0, 0, 0)).is_err());
        let mode = r#"{"class_name": "VarianceScaling", "config": {"mode": "fan_up"}}"#;
        assert!(serde_json::from_str::<Shared<dyn Initializer>>(mode).unwrap_err().to_string().contains("fan_avg"));
        let normal = r#"{"class_name": "VarianceScaling", "config": {"distribution": "normal"}}"#;
        assert!(serde_json::from_str::<Shared<dyn Initializer>>(normal).is_ok());
    }
}
