//! Writes the logs of each epoch to a CSV file.

use super::Callback;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::state::State;
use crate::training::Logs;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Writes a line an epoch to a CSV file (Keras: `CSVLogger`): the epoch, counted from 0, then the logs
/// of the first epoch by name, with room for validation.
///
/// What an epoch does not have is `NA`. Lines end as in Keras' files, with `\r\n`. A training that
/// [`BackupAndRestore`](super::BackupAndRestore) takes up again goes on behind the last line of before the backup.
///
/// ```
/// use cornu::prelude::*;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("training.csv");
/// # let (x, y) = (ndarray::arr2(&[[1.0], [2.0]]), ndarray::arr2(&[[2.0], [4.0]]));
/// let mut model = Sequential::new();
/// model.add(Input::new([1])).add(Dense::new(1));
/// model.compile("sgd", "mse", ())?;
/// model.fit(&x, &y, Fit::new().epochs(2).verbose(0).callback(CSVLogger::new(&path)))?;
/// assert!(std::fs::read_to_string(&path).unwrap().starts_with("epoch,loss,val_loss\r\n0,"));
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Debug)]
pub struct CSVLogger {
    path: PathBuf,
    separator: char,
    append: bool,
    /// The names of the columns after the first; known when the first epoch ends.
    columns: Option<Vec<String>>,
    file: Option<File>,
}

impl CSVLogger {
    /// Writes to the file at `path`, separated by commas, in place of what is there.
    pub fn new(path: impl AsRef<Path>) -> Self {
        CSVLogger { path: path.as_ref().to_owned(), separator: ',', append: false, columns: None, file: None }
    }

    /// What stands between values. Default: a comma.
    pub fn separator(mut self, separator: char) -> Self {
        self.separator = separator;
        self
    }

    /// Whether to go on where the file ends; a header is written only if it is empty. Default: no.
    pub fn append(mut self, append: bool) -> Self {
        self.append = append;
        self
    }

    fn row(&self, fields: impl Iterator<Item = String>) -> String {
        let special = [self.separator, '"', '\r', '\n'];
        let quoted = |field: String| match field.contains(special) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field,
        };
        fields.map(quoted).collect::<Vec<_>>().join(&self.separator.to_string()) + "\r\n"
    }

    /// Leaves so many bytes of the file, and goes on behind them.
    fn cut(&mut self, length: u64) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let cut = file.set_len(length).and_then(|()| file.seek(SeekFrom::Start(length)));
        cut.map(drop).map_err(|source| Error::io(&self.path, source))
    }

    fn write(&mut self, row: &str) -> Result<()> {
        let Some(file) = &mut self.file else {
            return Err(Error::State("CSVLogger: an epoch ended before training began".to_owned()));
        };
        file.write_all(row.as_bytes()).map_err(|source| Error::io(&self.path, source))
    }
}

/// The names of the first epoch, sorted; if there was no validation, it may still come.
fn columns(logs: &Logs) -> Vec<String> {
    let mut names: Vec<String> = logs.names().map(str::to_owned).collect();
    names.sort();
    if !names.iter().any(|name| name.starts_with("val_")) {
        names.extend(names.clone().iter().map(|name| format!("val_{name}")));
    }
    names
}

fn value(logs: &Logs, name: &str) -> String {
    match logs.get_list(name) {
        None => "NA".to_owned(),
        Some([one]) => format!("{one:?}"),
        Some(list) => format!("{list:?}"),
    }
}

impl Callback for CSVLogger {
    fn on_train_begin(&mut self, _model: &mut Model) -> Result<()> {
        self.columns = None;
        // What is there is cut off with the first line, when it is sure that this run does not go on behind it.
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&self.path)
            .map_err(|source| Error::io(&self.path, source))?;
        file.seek(SeekFrom::End(0)).map_err(|source| Error::io(&self.path, source))?;
        self.file = Some(file);
        Ok(())
    }

    fn on_epoch_end(&mut self, _model: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        let first = self.columns.is_none();
        let columns = self.columns.take().unwrap_or_else(|| columns(logs));
        let row = self.row(std::iter::once(epoch.to_string()).chain(columns.iter().map(|name| value(logs, name))));
        if first && !self.append {
            self.cut(0)?;
        }
        let headed = self.file.as_ref().is_some_and(|f| f.metadata().is_ok_and(|m| m.len() > 0));
        if first && !headed {
            let header = self.row(std::iter::once("epoch".to_owned()).chain(columns.iter().cloned()));
            self.write(&header)?;
        }
        self.columns = Some(columns);
        self.write(&row)
    }

    fn on_train_end(&mut self, _model: &mut Model, _logs: &Logs) -> Result<()> {
        self.file = None;
        Ok(())
    }

    fn state(&self) -> Result<Option<State>> {
        // What the backup knows of must be on the disk before it.
        let length = match &self.file {
            Some(file) => {
                let length = file.sync_data().and_then(|()| file.metadata()).map(|file| file.len());
                length.map_err(|source| Error::io(&self.path, source))?
            }
            None => 0,
        };
        State::of(&(&self.columns, length)).map(Some)
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let (columns, length): (Option<Vec<String>>, u64) = state.get()?;
        if columns.is_none() && !self.append {
            // No line was written yet, and what is there goes with the first one.
            return Ok(());
        }
        self.columns = columns;
        let there = self.file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |file| file.len());
        if there < length {
            // Someone else has changed it; what is there stays.
            eprintln!("cornu: CSVLogger: '{}' has lost lines since the backup was made", self.path.display());
            return Ok(());
        }
        // What was written since then will be written again.
        self.cut(length)
    }
}
