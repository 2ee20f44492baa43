//! The learning rate range test: how fast can this model learn?

use super::feed::Feed;
use super::inputs::{Inputs, check_batch_size};
use crate::error::{Error, Result, ensure};
use crate::model::Model;
use crate::runtime::threads;
use crate::tensor::Tensor;
use std::fmt;

/// Options of [`Model::lr_find`]: from 1e-7 to 10 in 100 batches of 32 samples.
#[derive(Clone, Debug)]
pub struct LrFind {
    min: f64,
    max: f64,
    steps: usize,
    batch_size: usize,
    smoothing: f64,
    divergence: f64,
}

impl Default for LrFind {
    fn default() -> Self {
        LrFind { min: 1e-7, max: 10.0, steps: 100, batch_size: 32, smoothing: 0.8, divergence: 4.0 }
    }
}

impl LrFind {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rate of the first batch. Default: 1e-7.
    pub fn min(mut self, rate: f64) -> Self {
        self.min = rate;
        self
    }

    /// The rate of the last batch. Default: 10.
    pub fn max(mut self, rate: f64) -> Self {
        self.max = rate;
        self
    }

    /// How many batches are trained on; when the data is over it begins anew. Default: 100.
    pub fn steps(mut self, batches: usize) -> Self {
        self.steps = batches;
        self
    }

    /// Samples in a batch: those of the training that the rate is for. Default: 32.
    pub fn batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// How much of the smoothed loss stays from batch to batch, from 0 (nothing) to below 1. Default: 0.8.
    pub fn smoothing(mut self, smoothing: f64) -> Self {
        self.smoothing = smoothing;
        self
    }

    /// The test ends when the smoothed loss is so many times the least one before. Default: 4.
    pub fn divergence(mut self, times: f64) -> Self {
        self.divergence = times;
        self
    }

    fn check(&self) -> Result<()> {
        check_batch_size(self.batch_size)?;
        ensure!(
            self.min > 0.0 && self.min < self.max && self.max.is_finite(),
            Argument,
            "the learning rate runs from {} to {}; the first must be above 0 and below the second",
            self.min,
            self.max
        );
        ensure!(self.steps >= 2, Argument, "steps is {}; the test needs at least 2 batches", self.steps);
        ensure!(
            (0.0..1.0).contains(&self.smoothing),
            Argument,
            "smoothing is {}; it must be from 0 to below 1",
            self.smoothing
        );
        ensure!(
            !self.divergence.is_nan() && self.divergence > 1.0,
            Argument,
            "divergence is {}; it must be above 1",
            self.divergence
        );
        Ok(())
    }

    /// The rate of a batch: each is the same number of times that of the one before.
    fn rate(&self, step: usize) -> f64 {
        self.min * (self.max / self.min).powf(step as f64 / (self.steps - 1) as f64)
    }
}

/// What [`Model::lr_find`] found: the loss at each learning rate. Printed it says the suggestion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LrFound {
    rates: Vec<f64>,
    losses: Vec<f64>,
    smoothed: Vec<f64>,
    diverged: bool,
}

impl LrFound {
    /// The rates that were tried, each for one batch.
    pub fn rates(&self) -> &[f64] {
        &self.rates
    }

    /// The loss of each batch, before its step.
    pub fn losses(&self) -> &[f64] {
        &self.losses
    }

    /// The losses smoothed: a moving average, corrected for its beginning at 0.
    pub fn smoothed(&self) -> &[f64] {
        &self.smoothed
    }

    /// Whether the test ended early, because the loss grew too large or was no number.
    pub fn diverged(&self) -> bool {
        self.diverged
    }

    /// The rate at which the smoothed loss falls most steeply (over the logarithm of the rate), in front of its least value.
    /// None where it falls nowhere.
    ///
    /// The first tenth is left out: there the average is of few batches. Often a good rate to train with; with a schedule
    /// that begins high, take a few times less than where the loss begins to rise.
    pub fn suggestion(&self) -> Option<f64> {
        self.steepest().map(|i| self.rates[i])
    }

    /// The place of the suggestion.
    pub(crate) fn steepest(&self) -> Option<usize> {
        let n = self.smoothed.len();
        let least = (0..n).filter(|&i| self.smoothed[i].is_finite());
        let least = least.min_by(|&a, &b| self.smoothed[a].total_cmp(&self.smoothed[b]))?;
        // Rates are evenly spaced in their logarithm, so differences stand for slopes.
        let slope = |i: usize| self.smoothed[i + 1] - self.smoothed[i - 1];
        let inner = (n / 10).max(1)..=least.min(n.saturating_sub(2));
        inner.filter(|&i| slope(i) < 0.0).min_by(|&a, &b| slope(a).total_cmp(&slope(b)))
    }

    /// Takes in the loss of a batch, and says whether to go on.
    fn push(&mut self, rate: f64, loss: f64, options: &LrFind) -> bool {
        let kept = options.smoothing;
        let n = self.losses.len() as i32;
        // The average before its correction.
        let before = self.smoothed.last().map_or(0.0, |last| last * (1.0 - kept.powi(n)));
        let smoothed = (kept * before + (1.0 - kept) * loss) / (1.0 - kept.powi(n + 1));
        let least = self.smoothed.iter().copied().fold(f64::INFINITY, f64::min);
        self.rates.push(rate);
        self.losses.push(loss);
        self.smoothed.push(smoothed);
        // Of losses below 0 no multiple is larger.
        self.diverged = !smoothed.is_finite() || (least > 0.0 && n > 0 && smoothed > options.divergence * least);
        !self.diverged
    }
}

impl fmt::Display for LrFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.rates.first().unwrap_or(&f64::NAN), self.rates.last().unwrap_or(&f64::NAN));
        match self.suggestion() {
            Some(rate) => write!(f, "the loss falls most steeply at a learning rate of {rate:.2e}")?,
            None => write!(f, "the loss falls nowhere")?,
        }
        write!(f, " ({} batches, rates from {first:.1e} to {last:.1e}", self.rates.len())?;
        f.write_str(if self.diverged { ", where it diverged)" } else { ")" })
    }
}

impl Model {
    /// Tries learning rates (Smith, 2015: *Cyclical learning rates for training neural networks*): trains on batch after batch
    /// with a rate that grows exponentially, notes the loss, and stops when it diverges. Afterwards weights and optimizer are
    /// as they were before, bit for bit.
    ///
    /// `x` and `y` are those of [`fit`](Model::fit); the samples are shuffled in its way.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// use cornu::training::LrFind;
    ///
    /// let digits = datasets::digits();
    /// let mut model = Sequential::new().with_seed(1);
    /// model.add(Input::new([8, 8, 1])).add(Rescaling::new(1.0 / 16.0)).add(Flatten::new());
    /// model.add(Dense::new(32).activation("relu")).add(Dense::new(10).activation("softmax"));
    /// model.compile("adam", "sparse_categorical_crossentropy", ())?;
    ///
    /// let found = model.lr_find(&digits.x, &digits.y, LrFind::new().min(1e-5))?;
    /// let rate = found.suggestion().unwrap();
    /// assert!((1e-4..1.0).contains(&rate), "{rate}");
    /// model.set_learning_rate(rate)?;
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`fit`](Model::fit); when an option makes no sense; for models with stateful recurrent layers, whose states
    /// would be lost. Weights and optimizer are as before then too.
    pub fn lr_find<'a>(
        &mut self,
        x: impl Into<Inputs<'a>>,
        y: impl Into<Inputs<'a>>,
        options: LrFind,
    ) -> Result<LrFound> {
        let (x, y) = (x.into(), y.into());
        options.check()?;
        self.compiled()?;
        let mut feed = Feed::new(&x, &y, None, options.batch_size)?.shuffled(true);
        threads::enter(|| {
            let sample = feed.sample_shape(self, 0)?;
            self.ensure_built(&sample)?;
            self.check_trainable()?;
            if let Inputs::Arrays(_) = x {
                self.check_targets(&y, None)?;
            }
            ensure!(
                !self.built()?.carries_states(),
                Argument,
                "the model has stateful layers, whose states lr_find would lose; try a copy of it that is not stateful"
            );
            let weights: Vec<Tensor> = self.weights().iter().map(|weight| weight.value()).collect();
            let state = self.compiled()?.state.clone();
            let found = self.try_rates(&mut feed, &options);
            self.compiled_mut()?.state = state;
            self.compiled_mut()?.reset_metrics();
            self.weights().iter().zip(weights).try_for_each(|(weight, value)| weight.set(value))?;
            found
        })
    }

    fn try_rates(&mut self, feed: &mut Feed<'_>, options: &LrFind) -> Result<LrFound> {
        let mut found = LrFound::default();
        let mut passes = 0;
        feed.begin(self, passes)?;
        for step in 0..options.steps {
            let workspace = self.compiled()?.workspace.clone();
            // Asked twice, since a pass may end here; an empty one is an error.
            let batch = match feed.next(&workspace)? {
                Some(batch) => batch,
                None => {
                    passes += 1;
                    feed.end();
                    feed.begin(self, passes)?;
                    let empty = || Error::Data("the dataset is empty: it has no batches".to_owned());
                    feed.next(&workspace)?.ok_or_else(empty)?
                }
            };
            let rate = options.rate(step);
            self.compiled_mut()?.state.force_learning_rate(rate);
            let loss = self.run_batch(&batch, true)?;
            if !found.push(rate, loss, options) {
                break;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{BatchNormalization, Dense, Dropout, Input};
    use crate::model::Sequential;
    use crate::optimizers::{Adam, Sgd};
    use crate::schedules::ExponentialDecay;
    use crate::training::{Fit, Predict};
    use ndarray::Array2;

    fn data() -> (Array2<f32>, Array2<f32>) {
        let x = Array2::from_shape_fn((96, 3), |(i, j)| ((7 * i + 5 * j) % 13) as f32 / 6.0 - 1.0);
        let y = Array2::from_shape_fn((96, 1), |(i, _)| x[[i, 0]] * x[[i, 1]] - x[[i, 2]]);
        (x, y)
    }

    fn model() -> Sequential {
        let mut model = Sequential::new().with_seed(3);
        model.add(Input::new([3])).add(Dense::new(8).activation("relu")).add(BatchNormalization::new());
        model.add(Dropout::new(0.2)).add(Dense::new(1));
        model
    }

    #[test]
    fn nothing_is_left_of_the_test() {
        let (x, y) = data();
        let runs = [false, true].map(|test| {
            let mut model = model();
            model.compile(Adam::new(0.01).use_ema(true), "mse", ["mae"]).unwrap();
            let first = model.fit(&x, &y, Fit::new().epochs(2).verbose(0)).unwrap();
            if test {
                let before = model.get_weights();
                let found = model.lr_find(&x, &y, LrFind::new().steps(30)).unwrap();
                assert!(found.rates().len() > 3);
                assert_eq!(model.get_weights(), before);
                assert_eq!(model.learning_rate().unwrap(), f64::from(0.01f32));
            }
            let second = model.fit(&x, &y, Fit::new().epochs(2).verbose(0)).unwrap();
            let bits: Vec<Vec<u32>> =
                model.get_weights().iter().map(|w| w.iter().map(|v| v.to_bits()).collect()).collect();
            let variables = model.compiled().unwrap().state.variables();
            (first, second, bits, variables, model.iterations().unwrap())
        });
        assert!(runs[0] == runs[1]);
    }

    #[test]
    fn rates_grow_by_the_same_factor_whatever_the_optimizer_says() {
        let (x, y) = data();
        let mut model = model();
        model.compile(Sgd::new(ExponentialDecay::new(0.1, 10, 0.5)), "mse", ()).unwrap();
        let found = model.lr_find(&x, &y, LrFind::new().min(1e-4).max(1e-2).steps(5)).unwrap();
        let expected = [1e-4, 10f64.powf(-3.5), 1e-3, 10f64.powf(-2.5), 1e-2];
        assert!(found.rates().iter().zip(expected).all(|(a, b)| (a / b - 1.0).abs() < 1e-12), "{:?}", found.rates());
        assert!(!found.diverged());
        // The schedule is asked again.
        assert_eq!(model.learning_rate().unwrap(), f64::from(0.1f32));
        assert_eq!(model.iterations().unwrap(), 0);
    }

    /// One weight, a loss w² (x = 1, y = 0): each step takes the loss by (1 - 2 rate)² exactly.
    #[test]
    fn losses_are_those_of_training_with_these_rates() {
        let (x, y) = (Array2::<f32>::ones((4, 1)), Array2::<f32>::zeros((4, 1)));
        let mut model = Sequential::new();
        model.add(Input::new([1])).add(Dense::new(1).use_bias(false).kernel_initializer("ones"));
        model.compile(Sgd::new(0.5), "mse", ()).unwrap();
        let found =
            model.lr_find(&x, &y, LrFind::new().min(0.01).max(100.0).steps(41).batch_size(4).smoothing(0.5)).unwrap();
        let (mut w, mut average, mut share) = (1.0f64, 0.0, 1.0);
        for (i, (&rate, &loss)) in found.rates().iter().zip(found.losses()).enumerate() {
            assert!((loss / (w * w) - 1.0).abs() < 1e-4, "step {i}: {loss} {}", w * w);
            w *= 1.0 - 2.0 * rate;
            average = 0.5 * average + 0.5 * loss;
            share *= 0.5;
            assert!((found.smoothed()[i] - average / (1.0 - share)).abs() <= 1e-9 * average);
        }
        assert!(found.diverged() && found.rates().len() < 41);
        let last = found.smoothed().last().unwrap();
        let least = found.smoothed().iter().copied().fold(f64::INFINITY, f64::min);
        assert!(*last > 4.0 * least);
        let rate = found.suggestion().unwrap();
        assert!((0.01..1.0).contains(&rate), "{rate}");
        assert!(found.to_string().contains("where it diverged"), "{found}");
        assert_eq!(model.predict(&x, Predict::default()).unwrap()[[0, 0]], 1.0);
    }

    #[test]
    fn the_suggestion_is_the_steepest_fall() {
        let found = LrFound {
            rates: (0..10).map(|i| 10f64.powi(i - 9)).collect(),
            losses: vec![0.0; 10],
            smoothed: vec![9.0, 1.0, 5.0, 4.9, 4.0, 2.0, 1.9, 1.95, 3.0, 9.0],
            diverged: true,
        };
        // Right behind the first tenth, and the least value.
        assert_eq!(found.suggestion(), Some(found.rates[1]));
        // The rates of the first and last are not asked for, nor what comes behind the least value.
        let rising = LrFound { smoothed: (0..10).map(f64::from).collect(), ..found.clone() };
        assert_eq!(rising.suggestion(), None);
        let smooth = LrFound { smoothed: vec![5.0, 5.0, 5.0, 4.9, 4.0, 2.0, 1.9, 1.95, 3.0, 9.0], ..found };
        assert_eq!(smooth.suggestion(), Some(1e-5));
        assert_eq!(LrFound::default().suggestion(), None);
    }

    #[test]
    fn options_that_make_no_sense() {
        let (x, y) = data();
        let mut model = model();
        assert!(model.lr_find(&x, &y, LrFind::new()).unwrap_err().to_string().contains("not compiled"));
        model.compile("sgd", "mse", ()).unwrap();
        let mut error = |options: LrFind| model.lr_find(&x, &y, options).unwrap_err().to_string();
        assert!(error(LrFind::new().min(0.0)).contains("from 0 to 10"));
        assert!(error(LrFind::new().max(f64::NAN)).contains("NaN"));
        assert!(error(LrFind::new().steps(1)).contains("at least 2 batches"));
        assert!(error(LrFind::new().smoothing(1.0)).contains("smoothing is 1"));
        assert!(error(LrFind::new().divergence(1.0)).contains("divergence is 1"));
        assert!(error(LrFind::new().batch_size(0)).contains("batch_size"));
    }
}
