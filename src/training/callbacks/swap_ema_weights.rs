//! Evaluates with averaged weights.

use super::Callback;
use crate::error::{Result, ensure};
use crate::layer::Param;
use crate::model::Model;
use crate::state::State;
use crate::tensor::Tensor;
use crate::training::Logs;

const NAME: &str = "SwapEMAWeights";

/// Puts the moving averages in the weights' place while the model is evaluated, validated or asked for predictions (Keras:
/// `SwapEMAWeights`). The optimizer must keep averages:
/// [`use_ema(true)`](crate::optimizers::Options::use_ema).
///
/// Before the first step there are no averages, and nothing happens.
///
/// ```
/// use cornu::prelude::*;
/// # let x = ndarray::Array2::from_shape_fn((64, 3), |(i, j)| ((i * 7 + j * 3) % 11) as f32 / 11.0);
/// # let y = x.map_axis(ndarray::Axis(1), |row| row.sum()).insert_axis(ndarray::Axis(1));
/// let mut model = Sequential::new().with_seed(1);
/// model.add(Input::new([3])).add(Dense::new(1));
/// model.compile(Sgd::new(0.1).use_ema(true).ema_momentum(0.9), "mse", ())?;
/// let options = Fit::new().epochs(3).verbose(0).validation_split(0.25);
/// // Saved are the averages, too.
/// let checkpoint = ModelCheckpoint::new("run/{epoch}.keras");
/// # let checkpoint = LambdaCallback::new();
/// model.fit(&x, &y, options.callback(SwapEMAWeights::new().swap_on_epoch(true)).callback(checkpoint))?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct SwapEMAWeights {
    swap_on_epoch: bool,
    /// The weights whose place the averages have taken.
    aside: Option<Vec<Tensor>>,
    /// Where they belong, and the version that is there meanwhile.
    places: Vec<(Param, u64)>,
}

impl SwapEMAWeights {
    /// Averages take the weights' place for evaluations, validations and predictions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether they do so from the end of an epoch to the beginning of the next one, too, so that what is saved in
    /// between are the averages. Put it before the [`ModelCheckpoint`](super::ModelCheckpoint) then. Default: no.
    pub fn swap_on_epoch(mut self, swap: bool) -> Self {
        self.swap_on_epoch = swap;
        self
    }

    fn swap_in(&mut self, model: &Model) -> Result<()> {
        // A run that failed may have left them there.
        self.put_back()?;
        self.aside = Some(model.compiled()?.weights.iter().map(Param::value).collect());
        model.put_averages()?;
        self.note(model)
    }

    fn swap_back(&mut self, model: &Model) -> Result<()> {
        if let Some(values) = self.aside.take() {
            for (weight, value) in model.compiled()?.weights.iter().zip(values) {
                weight.set(value)?;
            }
        }
        Ok(())
    }

    /// Notes the weights as they are now.
    fn note(&mut self, model: &Model) -> Result<()> {
        let weights = model.compiled()?.weights.iter();
        self.places = weights.map(|weight| (weight.clone(), weight.version())).collect();
        Ok(())
    }

    /// Puts the weights back where they were taken from, but for those that someone else has set since then.
    fn put_back(&mut self) -> Result<()> {
        let values = self.aside.take().unwrap_or_default();
        let places = self.places.drain(..).zip(values);
        places
            .filter(|((weight, version), _)| weight.version() == *version)
            .try_for_each(|((weight, _), value)| weight.set(value))
    }

    fn check(model: &Model) -> Result<()> {
        let averages = model.compiled()?.optimizer.options().use_ema;
        ensure!(averages, Argument, "{NAME} needs an optimizer that keeps averages: use_ema(true)");
        Ok(())
    }
}

impl Drop for SwapEMAWeights {
    /// A run that failed did not say that it was over: nothing is lost by that.
    fn drop(&mut self) {
        let _ = self.put_back();
    }
}

impl Callback for SwapEMAWeights {
    fn on_train_begin(&mut self, model: &mut Model) -> Result<()> {
        // A run that failed may have left them there.
        self.put_back()?;
        self.note(model)?;
        Self::check(model)
    }

    fn on_epoch_begin(&mut self, model: &mut Model, _epoch: usize) -> Result<()> {
        self.swap_back(model)
    }

    fn on_epoch_end(&mut self, model: &mut Model, _epoch: usize, _logs: &mut Logs) -> Result<()> {
        if self.swap_on_epoch { self.swap_in(model) } else { Ok(()) }
    }

    fn on_train_end(&mut self, _model: &mut Model, _logs: &Logs) -> Result<()> {
        // The averages have taken the weights' place for good.
        self.aside = None;
        self.places.clear();
        Ok(())
    }

    fn on_test_begin(&mut self, model: &mut Model) -> Result<()> {
        Self::check(model)?;
        self.swap_in(model)
    }

    fn on_test_end(&mut self, model: &mut Model, _logs: &Logs) -> Result<()> {
        self.swap_back(model)
    }

    fn on_predict_begin(&mut self, model: &Model) -> Result<()> {
        Self::check(model)?;
        self.swap_in(model)
    }

    fn on_predict_end(&mut self, model: &Model) -> Result<()> {
        self.swap_back(model)
    }

    fn state(&self) -> Result<Option<State>> {
        State::of(&self.aside).map(Some)
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        self.aside = state.get()?;
        Ok(())
    }
}
