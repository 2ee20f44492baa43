//! Saves the model while it trains.

use super::monitor::{Mode, Monitor};
use super::{Callback, Verbose, path_template, say};
use crate::error::{Context, Error, Result, ensure};
use crate::model::Model;
use crate::state::State;
use crate::training::Logs;
use std::path::{Path, PathBuf};

const NAME: &str = "ModelCheckpoint";

/// Saves the model after every epoch, every few epochs or every few batches (Keras: `ModelCheckpoint`).
///
/// The path may hold values in Python's format language: the epoch and the batch, counted from 1
/// (`{epoch:02d}`; `{batch}` with [`save_freq`](Self::save_freq) only), and the logs
/// (`{val_loss:.2f}`). Missing folders are made. What can be saved is what [`Model::save`] and
/// [`Model::save_weights`] take, as the extension says.
///
/// ```
/// use cornu::prelude::*;
/// let every_epoch = ModelCheckpoint::new("run/{epoch:02d}-{val_loss:.2f}.keras");
/// let best = ModelCheckpoint::new("run/best.keras").monitor("val_accuracy").save_best_only(true);
/// let options = Fit::new().epochs(10).validation_split(0.1).callback(every_epoch).callback(best);
/// # let _ = options;
/// ```
#[derive(Debug)]
pub struct ModelCheckpoint {
    path: String,
    monitor: Monitor,
    save_best_only: bool,
    save_weights_only: bool,
    period: usize,
    save_freq: Option<usize>,
    verbose: Verbose,
    save: Save,
    best: Option<f64>,
    last_saved: Option<PathBuf>,
    epoch: usize,
    epochs_since: usize,
    batches_since: usize,
}

/// Writes the model, or its weights only, to a path.
type Save = fn(&Model, &Path, weights_only: bool) -> Result<()>;

fn save(model: &Model, path: &Path, weights_only: bool) -> Result<()> {
    if weights_only { model.save_weights(path) } else { model.save(path) }
}

impl ModelCheckpoint {
    /// Saves to `path` after every epoch.
    pub fn new(path: impl AsRef<Path>) -> Self {
        ModelCheckpoint {
            path: path.as_ref().to_string_lossy().into_owned(),
            monitor: Monitor::new(0.0),
            save_best_only: false,
            save_weights_only: false,
            period: 1,
            save_freq: None,
            verbose: Verbose::Silent,
            save,
            best: None,
            last_saved: None,
            epoch: 0,
            epochs_since: 0,
            batches_since: 0,
        }
    }

    /// The value that decides what is best. Default: `val_loss`.
    pub fn monitor(mut self, name: &str) -> Self {
        self.monitor.name = name.to_owned();
        self
    }

    /// Whether to save only when the value is better than at all saves before. Default: no. Where the
    /// value is missing from the logs, that is said once and the model is saved.
    pub fn save_best_only(mut self, only: bool) -> Self {
        self.save_best_only = only;
        self
    }

    /// Whether to save the weights without the architecture. Default: no.
    pub fn save_weights_only(mut self, only: bool) -> Self {
        self.save_weights_only = only;
        self
    }

    /// Whether the value is to fall or to rise. Default: as its name says.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.monitor.mode = mode;
        self
    }

    /// Saves after so many epochs. Default: 1.
    pub fn period(mut self, epochs: usize) -> Self {
        self.period = epochs;
        self
    }

    /// Saves after so many batches of training, counted through the epochs, instead of after epochs. The
    /// logs are then the running values of the epoch, without validation.
    pub fn save_freq(mut self, batches: usize) -> Self {
        self.save_freq = Some(batches);
        self
    }

    /// With `save_best_only`, the value that the first save must be better than.
    pub fn initial_value_threshold(mut self, value: f64) -> Self {
        self.best = Some(value);
        self
    }

    /// Whether to say what is done (1) or not (0, the default).
    pub fn verbose(mut self, verbose: impl Into<Verbose>) -> Self {
        self.verbose = verbose.into();
        self
    }

    /// The best value so far, with `save_best_only`. It is kept from one `fit` to the next.
    pub fn best(&self) -> Option<f64> {
        self.best
    }

    /// Where the model was saved last.
    pub fn last_saved(&self) -> Option<&Path> {
        self.last_saved.as_deref()
    }

    fn save_model(&mut self, model: &Model, batch: Option<usize>, logs: &Logs) -> Result<()> {
        let epoch = self.epoch + 1;
        let counts = [("epoch", epoch), ("batch", batch.map_or(0, |batch| batch + 1))];
        let counts = if batch.is_some() { &counts[..] } else { &counts[..1] };
        let path = PathBuf::from(path_template::fill(&self.path, counts, logs).at(|| NAME.to_owned())?);
        let wanted = self.is_wanted(logs);
        if wanted {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, source)).at(|| NAME.to_owned())?;
            }
            (self.save)(model, &path, self.save_weights_only).at(|| NAME.to_owned())?;
        }
        if self.verbose != Verbose::Silent {
            match wanted {
                true => say(&format!("Epoch {epoch}: saved model to {}", path.display())),
                false => say(&format!("Epoch {epoch}: {} did not improve", self.monitor.name)),
            }
        }
        if wanted {
            self.last_saved = Some(path);
        }
        Ok(())
    }

    fn is_wanted(&mut self, logs: &Logs) -> bool {
        if !self.save_best_only {
            return true;
        }
        // Better too many files than none.
        let Some(current) = self.monitor.current(NAME, logs) else { return true };
        let better = self.monitor.is_better(current, self.best);
        if better {
            self.best = Some(current);
        }
        better
    }
}

impl Callback for ModelCheckpoint {
    fn on_train_begin(&mut self, _model: &mut Model) -> Result<()> {
        path_template::check(&self.path).at(|| NAME.to_owned())?;
        ensure!(self.period > 0, Argument, "{NAME}: period must be at least 1");
        ensure!(self.save_freq != Some(0), Argument, "{NAME}: save_freq must be at least 1");
        if self.save_best_only { self.monitor.begin(NAME) } else { Ok(()) }
    }

    fn on_epoch_begin(&mut self, _model: &mut Model, epoch: usize) -> Result<()> {
        self.epoch = epoch;
        Ok(())
    }

    fn on_train_batch_end(&mut self, model: &mut Model, batch: usize, logs: &Logs) -> Result<()> {
        let Some(save_freq) = self.save_freq else { return Ok(()) };
        self.batches_since += 1;
        if self.batches_since >= save_freq {
            self.batches_since = 0;
            self.save_model(model, Some(batch), logs)?;
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, model: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        self.epochs_since += 1;
        if self.save_freq.is_none() && self.epochs_since >= self.period {
            self.epochs_since = 0;
            self.epoch = epoch;
            self.save_model(model, None, logs)?;
        }
        Ok(())
    }

    fn state(&self) -> Result<Option<State>> {
        State::of(&(self.best, &self.last_saved, self.epoch, self.epochs_since, self.batches_since)).map(Some)
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        (self.best, self.last_saved, self.epoch, self.epochs_since, self.batches_since) = state.get()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A file that says how it was saved.
    fn note(model: &Model, path: &Path, weights_only: bool) -> Result<()> {
        fs::write(path, format!("{} {weights_only}", model.name())).map_err(|source| Error::io(path, source))
    }

    /// The files that a checkpoint wrote, and what it is after: epochs of four batches, with these
    /// validation losses (none: no validation).
    fn run(
        template: &str,
        set: impl FnOnce(ModelCheckpoint) -> ModelCheckpoint,
        val_losses: &[Option<f64>],
    ) -> Result<(Vec<String>, ModelCheckpoint)> {
        let folder = tempfile::tempdir().unwrap();
        let new = ModelCheckpoint { save: note, ..ModelCheckpoint::new(folder.path().join(template)) };
        let (mut checkpoint, mut model, mut logs) = (set(new), Model::empty("net"), Logs::new());
        checkpoint.on_train_begin(&mut model)?;
        for (epoch, val_loss) in val_losses.iter().enumerate() {
            logs = Logs::new();
            checkpoint.on_epoch_begin(&mut model, epoch)?;
            for batch in 0..4 {
                logs.insert("loss", 1.0 / (batch + 1) as f64);
                checkpoint.on_train_batch_end(&mut model, batch, &logs)?;
            }
            val_loss.iter().for_each(|v| logs.insert("val_loss", *v));
            checkpoint.on_epoch_end(&mut model, epoch, &mut logs)?;
        }
        checkpoint.on_train_end(&mut model, &logs)?;
        let saved = fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap());
        let mut saved: Vec<String> = saved.collect();
        saved.sort();
        Ok((saved, checkpoint))
    }

    const LOSSES: [Option<f64>; 5] = [Some(0.5), Some(0.625), Some(0.375), Some(0.375), Some(0.25)];

    #[test]
    fn every_epoch_has_its_file() -> Result<()> {
        let (saved, checkpoint) = run("{epoch:02d}-{val_loss:.2f}.keras", |c| c, &LOSSES)?;
        assert_eq!(saved, ["01-0.50.keras", "02-0.62.keras", "03-0.38.keras", "04-0.38.keras", "05-0.25.keras"]);
        assert!(checkpoint.last_saved().unwrap().ends_with("05-0.25.keras"));
        let (saved, _) = run("{epoch}", |c| c.period(2), &LOSSES)?;
        assert_eq!(saved, ["2", "4"]);
        Ok(())
    }

    #[test]
    fn only_the_best_are_saved() -> Result<()> {
        let (saved, checkpoint) = run("{epoch}", |c| c.save_best_only(true), &LOSSES)?;
        assert_eq!(saved, ["1", "3", "5"]);
        assert_eq!(checkpoint.best(), Some(0.25));
        assert_eq!(run("{epoch}", |c| c.save_best_only(true).mode(Mode::Max), &LOSSES)?.0, ["1", "2"]);
        assert_eq!(run("{epoch}", |c| c.save_best_only(true).initial_value_threshold(0.375), &LOSSES)?.0, ["5"]);
        assert_eq!(run("{epoch}", |c| c.save_best_only(true).period(2), &LOSSES)?.0, ["2", "4"]);
        // Where the value is missing, Keras saves.
        let some = [Some(0.5), None, Some(0.75)];
        assert_eq!(run("{epoch}", |c| c.save_best_only(true), &some)?.0, ["1", "2"]);
        Ok(())
    }

    #[test]
    fn batches_are_counted_through_the_epochs() -> Result<()> {
        let (saved, _) = run("{epoch}-{batch}-{loss:.2f}", |c| c.save_freq(3), &LOSSES)?;
        assert_eq!(saved, ["1-3-0.33", "2-2-0.50", "3-1-1.00", "3-4-0.25", "4-3-0.33", "5-2-0.50"]);
        Ok(())
    }

    #[test]
    fn folders_are_made_and_the_weights_alone_are_saved() -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b{epoch}/c.weights.h5");
        let mut checkpoint = ModelCheckpoint { save: note, ..ModelCheckpoint::new(path) }.save_weights_only(true);
        checkpoint.on_epoch_end(&mut Model::empty("net"), 8, &mut Logs::new())?;
        let saved = checkpoint.last_saved().unwrap();
        assert_eq!(saved, folder.path().join("a/b9/c.weights.h5"));
        assert_eq!(fs::read_to_string(saved).unwrap(), "net true");
        // A file stands where a folder is to be.
        let path = saved.join("d.keras");
        let mut checkpoint = ModelCheckpoint { save: note, ..ModelCheckpoint::new(path) };
        let error = checkpoint.on_epoch_end(&mut Model::empty("net"), 0, &mut Logs::new()).unwrap_err();
        assert!(matches!(error.root(), Error::Io { .. }), "{error}");
        Ok(())
    }

    #[test]
    fn mistakes_are_told() {
        let error = |template: &str, set: fn(ModelCheckpoint) -> ModelCheckpoint| {
            run(template, set, &LOSSES).map(|_| ()).unwrap_err().to_string()
        };
        let message = error("{val_los:.2f}", |c| c);
        assert!(message.starts_with("ModelCheckpoint: '"), "{message}");
        assert!(message.ends_with("there is no value 'val_los'; there are: epoch, loss, val_loss"), "{message}");
        assert!(error("{batch}", |c| c).contains("no value 'batch'"));
        assert!(error("{val_loss:.2f}", |c| c.save_freq(2)).contains("there are: epoch, batch, loss"));
        assert!(error("{epoch", |c| c).contains("not closed"));
        assert!(error("m", |c| c.period(0)).contains("period"));
        assert!(error("m", |c| c.save_freq(0)).contains("save_freq"));
        assert!(error("m", |c| c.save_best_only(true).monitor("mine")).contains("mode(Mode::Min)"));
    }
}
