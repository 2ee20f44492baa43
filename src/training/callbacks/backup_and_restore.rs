//! Training that survives its process.

use super::Callback;
use crate::error::{Context, Error, Result, ensure};
use crate::model::Model;
use crate::training::Logs;
use crate::training::backup::Backup;
use std::fs;
use std::path::{Path, PathBuf};

const NAME: &str = "BackupAndRestore";
const FILE: &str = "training.backup";
const PREVIOUS: &str = "training.previous.backup";

/// Backs up the whole state of training, and goes on from there when the program is started again (Keras:
/// `BackupAndRestore`).
///
/// Whenever the process ends before training does (it is killed, the machine stops, an error ends it), start the same
/// program again: final weights and history are those of a run that was never interrupted, bit for bit. A backup
/// holds the weights, what stateful layers carry, the optimizer with its steps and averages, the seed, the epoch, the
/// batch and the place in the data, the running loss and metrics of the epoch, the history so far, and what the other
/// callbacks count (patience, best values, best weights).
///
/// The same program means: the same model, optimizer and data, batches of the same size. Compared are names and shapes of
/// weights, the optimizer with its arguments, the batch size, `steps_per_epoch`, of arrays the number of samples and
/// `shuffle`, how many outputs and metrics there are, and the names of callbacks with a state: what differs is an error that
/// says so. `epochs` may grow. A model without a seed of its own goes on with that of the backup; but data that
/// the program itself draws at random needs a seed, as do datasets before [`split`](crate::data::Dataset::split). Closures
/// such as a [`LearningRateScheduler`](super::LearningRateScheduler)'s must not remember anything. When a run goes on,
/// `on_train_begin` is called, then [`restore`](Callback::restore), and no hook twice for the same moment, except that
/// what happened between the last backup and the end of the process happens again.
///
/// A backup is written under another name first, so that it is there whole or not at all, at whatever moment the process is
/// killed. When training has come to its end the backup is removed, unless
/// [`delete_checkpoint`](Self::delete_checkpoint) says otherwise. A backup that is damaged or belongs to something else
/// is an error, and stays where it is.
///
/// ```
/// use cornu::prelude::*;
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path().join("backup");
/// # let x = ndarray::Array2::from_shape_fn((64, 3), |(i, j)| ((i * 7 + j * 3) % 11) as f32 / 11.0);
/// # let y = x.map_axis(ndarray::Axis(1), |row| row.sum()).insert_axis(ndarray::Axis(1));
/// let train = |die: bool| -> Result<History> {
///     let mut model = Sequential::new().with_seed(1);
///     model.add(Input::new([3])).add(Dropout::new(0.1)).add(Dense::new(1));
///     model.compile("adam", "mse", ())?;
///     // Stands for a process that is killed in its third epoch.
///     let killed = LambdaCallback::new().on_epoch_begin(move |_, epoch| match epoch {
///         2 if die => Err(Error::State("killed".to_owned())),
///         _ => Ok(()),
///     });
///     let options = Fit::new().epochs(5).verbose(0).callback(BackupAndRestore::new(&folder)).callback(killed);
///     model.fit(&x, &y, options)
/// };
/// assert!(train(true).is_err());
/// let resumed = train(false)?;
/// assert_eq!(resumed.epochs(), [0, 1, 2, 3, 4]);
/// // The backup is gone, so this trains from the beginning, to the same numbers.
/// assert_eq!(train(false)?, resumed);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Debug)]
pub struct BackupAndRestore {
    folder: PathBuf,
    save_freq: Option<usize>,
    double_checkpoint: bool,
    delete_checkpoint: bool,
    /// Whether a run of `fit` uses it now.
    at_work: bool,
    batches_since: usize,
}

impl BackupAndRestore {
    /// Keeps its backup in this folder, which is made if it is not there, after every epoch. Each training needs a
    /// folder of its own.
    pub fn new(folder: impl AsRef<Path>) -> Self {
        BackupAndRestore {
            folder: folder.as_ref().to_owned(),
            save_freq: None,
            double_checkpoint: false,
            delete_checkpoint: true,
            at_work: false,
            batches_since: 0,
        }
    }

    /// Backs up after so many batches, counted through the epochs, instead of after epochs.
    pub fn save_freq(mut self, batches: usize) -> Self {
        self.save_freq = Some(batches);
        self
    }

    /// Whether to keep the backup before the last one, too, to be put in its place by hand should that be damaged. Default:
    /// no.
    pub fn double_checkpoint(mut self, double: bool) -> Self {
        self.double_checkpoint = double;
        self
    }

    /// Whether to remove the backup when training has come to its end. Default: yes. If it stays, starting the program
    /// again gives the trained model and the history at once, or trains on if `epochs` has grown. (With
    /// [`save_freq`](Self::save_freq) it is that of the last batches, from which the rest is trained again.)
    ///
    /// A program that saves the model at its end would lose it if it were ended between `fit` and that: let the backup stay,
    /// save, and then [remove](Self::remove) it.
    pub fn delete_checkpoint(mut self, delete: bool) -> Self {
        self.delete_checkpoint = delete;
        self
    }

    /// Removes the backup, as the end of training does: for one that [stays](Self::delete_checkpoint). It is no mistake if
    /// there is none.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// # let temp = tempfile::tempdir().unwrap();
    /// # let (folder, file) = (temp.path().join("backup"), temp.path().join("model.cornu"));
    /// # let (x, y) = (ndarray::arr2(&[[1.0], [2.0]]), ndarray::arr2(&[[2.0], [4.0]]));
    /// let mut model = Sequential::new();
    /// model.add(Input::new([1])).add(Dense::new(1));
    /// model.compile("sgd", "mse", ())?;
    /// let mut backup = BackupAndRestore::new(&folder).delete_checkpoint(false);
    /// model.fit(&x, &y, Fit::new().epochs(2).verbose(0).callback(&mut backup))?;
    /// model.save(&file)?;
    /// backup.remove()?;
    /// assert!(!folder.exists());
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove(&self) -> Result<()> {
        for path in [self.path(), self.folder.join(PREVIOUS)] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io(path, source)).at(|| NAME.to_owned());
                }
                _ => {}
            }
        }
        // Others may keep something there.
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }

    /// The file of the backup.
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Before a run: where the backup to go on from is, if there is one.
    pub(crate) fn begin(&mut self) -> Result<Option<Found>> {
        ensure!(self.save_freq != Some(0), Argument, "{NAME}: save_freq must be at least 1");
        (self.at_work, self.batches_since) = (true, 0);
        let folder = &self.folder;
        fs::create_dir_all(folder).map_err(|source| Error::io(folder, source)).at(|| NAME.to_owned())?;
        self.remove_drafts();
        let paths = [self.path(), folder.join(PREVIOUS)];
        // The last one may be missing where the process ended while it took the place of the one before.
        let is_there =
            |path: &PathBuf| path.try_exists().map_err(|source| Error::io(path, source)).at(|| NAME.to_owned());
        let [last, previous] = [is_there(&paths[0])?, is_there(&paths[1])?];
        let [path, other] = &paths;
        let (path, other) = match (last, previous) {
            (true, true) => (path, Some(other.clone())),
            (true, false) => (path, None),
            (false, true) => (other, None),
            (false, false) => return Ok(None),
        };
        let found = Found { path: path.clone(), other, bytes: Vec::new() };
        let bytes = found.explain(Backup::read(path))?;
        Ok(Some(Found { bytes, ..found }))
    }

    /// Whether a backup is due after this batch.
    pub(crate) fn is_due(&self) -> bool {
        self.save_freq.is_some_and(|batches| self.batches_since >= batches)
    }

    /// How often: none for after every epoch.
    pub(crate) fn frequency(&self) -> Option<usize> {
        self.save_freq
    }

    pub(crate) fn write(&mut self, backup: &Backup<'_>) -> Result<()> {
        self.batches_since = 0;
        let path = self.path();
        if self.double_checkpoint && path.exists() {
            let previous = self.folder.join(PREVIOUS);
            fs::rename(&path, &previous).map_err(|source| Error::io(previous, source)).at(|| NAME.to_owned())?;
        }
        backup.write(&path).at(|| NAME.to_owned())
    }

    /// Training has come to its end, or will go on another time.
    pub(crate) fn end(&mut self, finished: bool) -> Result<()> {
        self.at_work = false;
        if finished && self.delete_checkpoint { self.remove() } else { Ok(()) }
    }

    /// What is left of backups that were being written when their process ended.
    fn remove_drafts(&self) {
        let Ok(files) = fs::read_dir(&self.folder) else { return };
        for file in files.flatten() {
            if file.file_name().to_str().is_some_and(|name| name.strip_prefix(FILE).is_some_and(is_draft)) {
                let _ = fs::remove_file(file.path());
            }
        }
    }
}

/// Whether this is what [`write_whole`](crate::files::write_whole) adds to the name of a file that is not complete.
fn is_draft(rest: &str) -> bool {
    let numbers = rest.strip_prefix(".tmp").and_then(|rest| rest.split_once('-'));
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(process, count)| number(process) && number(count))
}

/// A backup that is there.
pub(crate) struct Found {
    path: PathBuf,
    other: Option<PathBuf>,
    bytes: Vec<u8>,
}

impl Found {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn backup(&self) -> Result<Backup<'_>> {
        self.explain(Backup::decode(&self.bytes))
    }

    /// Without the content of the file, which nobody needs once the run goes on.
    pub fn without_bytes(self) -> Self {
        Found { bytes: Vec::new(), ..self }
    }

    /// An error with the file and what to do.
    pub fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let path = self.path.display();
            let other = self.other.as_ref().map_or_else(String::new, |other| {
                format!(", or put the one before, '{}', in its place to go on from that", other.display())
            });
            let advice = format!("{NAME}: cannot go on from '{path}'; move it away to train from the beginning{other}");
            Error::At { place: advice, source: Box::new(error) }
        })
    }
}

impl Callback for BackupAndRestore {
    fn on_train_begin(&mut self, _model: &mut Model) -> Result<()> {
        ensure!(
            self.at_work,
            Argument,
            "{NAME} works in `fit` alone, which must have no more than one among its callbacks"
        );
        Ok(())
    }

    fn on_train_batch_end(&mut self, _model: &mut Model, _batch: usize, _logs: &Logs) -> Result<()> {
        self.batches_since += 1;
        Ok(())
    }

    fn backup(&mut self) -> Option<&mut BackupAndRestore> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_drafts_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let backup = BackupAndRestore::new(folder.path());
        let names = ["training.backup.tmp12-0", "training.backup.tmp12-x", "training.backup.old", "training.backup"];
        names.iter().for_each(|name| fs::write(folder.path().join(name), "x").unwrap());
        backup.remove_drafts();
        assert_eq!(names.map(|name| folder.path().join(name).exists()), [false, true, true, true]);
    }
}
