//! Writes what happens in training for TensorBoard.

mod graph;

use super::Callback;
use crate::error::Result;
use crate::model::Model;
use crate::tensor::Tensor;
use crate::tensorboard::{HParam, SummaryWriter};
use crate::training::Logs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Weights of more values are not drawn.
const MOST_PIXELS: usize = 1 << 20;

/// How often [`TensorBoard`] writes losses and metrics while an epoch runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdateFreq {
    /// Not at all: only at its end.
    #[default]
    Epoch,
    /// After every so many batches (Keras' `"batch"` is 1).
    Batches(u64),
}

impl From<u64> for UpdateFreq {
    /// After every so many batches; 0 is not at all.
    fn from(batches: u64) -> Self {
        if batches == 0 { UpdateFreq::Epoch } else { UpdateFreq::Batches(batches) }
    }
}

/// Writes logs for TensorBoard (Keras: `TensorBoard`), which `tensorboard --logdir logs` shows, also while training runs.
///
/// In `log_dir/train` and `log_dir/validation`, under Keras' tags:
///
/// - `epoch_loss`, `epoch_accuracy`, … at the end of each epoch, counted from 0, and `epoch_learning_rate`;
/// - `batch_loss`, … with [`update_freq`](Self::update_freq): the running values of the epoch, by the number of steps that
///   the optimizer has made, so that training that is taken up again goes on there;
/// - `evaluation_loss_vs_iterations`, … for each validation, and for [`evaluate`](Model::evaluate), by the same number;
/// - the model's graph: as TensorBoard's *op graph* the calls of layers with the shapes between them, and under `keras` as
///   its *conceptual graph* what Keras writes;
/// - with [`histogram_freq`](Self::histogram_freq) `conv2d/kernel/histogram` of each weight, and with
///   [`write_images`](Self::write_images) a picture of it; with [`hparams`](Self::hparams) a row of the table of runs.
///
/// A metric that gives a list has a tag for each of its numbers: `epoch_f1_score/0`. Use a folder of its own for each run,
/// below a common one: TensorBoard then shows the runs side by side.
///
/// ```
/// use cornu::prelude::*;
/// # let folder = tempfile::tempdir().unwrap();
/// # let logs = folder.path().join("logs");
/// # let (x, y) = (ndarray::arr2(&[[1.0], [2.0]]), ndarray::arr2(&[[2.0], [4.0]]));
/// let mut model = Sequential::new();
/// model.add(Input::new([1])).add(Dense::new(1));
/// model.compile("sgd", "mse", ())?;
/// let board = TensorBoard::new(logs.join("run-1")).histogram_freq(1).hparams([("units", 1)]);
/// model.fit(&x, &y, Fit::new().epochs(2).verbose(0).callback(board))?;
/// assert!(logs.join("run-1/train").is_dir());
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Debug)]
pub struct TensorBoard {
    log_dir: PathBuf,
    histogram_freq: usize,
    write_graph: bool,
    write_images: bool,
    write_steps_per_second: bool,
    update_freq: UpdateFreq,
    hparams: Vec<(String, HParam)>,
    train: Run,
    validation: Run,
    session: Run,
    /// When the epoch began and the batch, and how many steps the optimizer had made when the epoch did.
    epoch_began: (Instant, u64),
    batch_began: Instant,
}

/// A folder of event files; the file is begun when something is written.
#[derive(Debug)]
struct Run {
    folder: PathBuf,
    writer: Option<SummaryWriter>,
}

impl Run {
    fn new(folder: PathBuf) -> Self {
        Run { folder, writer: None }
    }

    fn writer(&mut self) -> Result<&mut SummaryWriter> {
        match &mut self.writer {
            Some(writer) => Ok(writer),
            none => Ok(none.insert(SummaryWriter::create(&self.folder)?)),
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.writer.as_mut().map_or(Ok(()), SummaryWriter::flush)
    }

    fn close(&mut self) -> Result<()> {
        let flushed = self.flush();
        self.writer = None;
        flushed
    }
}

impl TensorBoard {
    /// Writes below the folder `log_dir`, which is made if there is none (Keras' default: `logs`).
    pub fn new(log_dir: impl AsRef<Path>) -> Self {
        let log_dir = log_dir.as_ref();
        TensorBoard {
            log_dir: log_dir.to_owned(),
            histogram_freq: 0,
            write_graph: true,
            write_images: false,
            write_steps_per_second: false,
            update_freq: UpdateFreq::Epoch,
            hparams: Vec::new(),
            train: Run::new(log_dir.join("train")),
            validation: Run::new(log_dir.join("validation")),
            session: Run::new(log_dir.to_owned()),
            epoch_began: (Instant::now(), 0),
            batch_began: Instant::now(),
        }
    }

    /// After every how many epochs histograms of all weights are written. Default: 0, none.
    pub fn histogram_freq(mut self, epochs: usize) -> Self {
        self.histogram_freq = epochs;
        self
    }

    /// Whether the model's graph is written. Default: yes. A model that cannot be saved has no conceptual graph, which is
    /// said once.
    pub fn write_graph(mut self, write: bool) -> Self {
        self.write_graph = write;
        self
    }

    /// Whether pictures of weights go with their histograms. Default: no.
    ///
    /// Grey is 0, white the largest magnitude in the weight and black its opposite; Keras cuts off what is below 0. A bias is
    /// a row, a kernel of a dense layer a table, that of a convolution a tile for each pair of channels: input channels one
    /// below the other, output channels side by side. Weights of more than 2²⁰ values and those of other ranks are left out.
    pub fn write_images(mut self, write: bool) -> Self {
        self.write_images = write;
        self
    }

    /// Whether the number of steps per second is written: for each epoch, and with `update_freq` for batches. Default: no.
    pub fn write_steps_per_second(mut self, write: bool) -> Self {
        self.write_steps_per_second = write;
        self
    }

    /// How often losses and metrics are written while an epoch runs: `update_freq(100)` is after every 100 batches.
    /// Default: only at its end.
    pub fn update_freq(mut self, freq: impl Into<UpdateFreq>) -> Self {
        self.update_freq = freq.into();
        self
    }

    /// What this run was tried with, which TensorBoard lists under *HParams* beside the run's results: pairs of names and
    /// numbers, texts or flags (TensorFlow: `hp.KerasCallback`). Can be called several times, for values of several types.
    pub fn hparams<N: Into<String>, V: Into<HParam>>(mut self, hparams: impl IntoIterator<Item = (N, V)>) -> Self {
        self.hparams.extend(hparams.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Where the files are.
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    fn write_weights(&mut self, model: &Model, epoch: u64) -> Result<()> {
        let writer = self.train.writer()?;
        for weight in model.weights() {
            let value = weight.value();
            writer.histogram(&format!("{}/histogram", weight.path()), value.data(), epoch)?;
            if self.write_images
                && let Some(picture) = picture(&value)?
            {
                writer.image(&format!("{}/image", weight.path()), picture, epoch)?;
            }
        }
        Ok(())
    }
}

/// Writes the numbers of `logs`, whose tags `tag` makes of the names; a list has a tag for each of its numbers.
fn scalars<'a>(
    writer: &mut SummaryWriter,
    logs: impl Iterator<Item = (&'a str, &'a [f64])>,
    tag: impl Fn(&str) -> String,
    step: u64,
) -> Result<()> {
    for (name, values) in logs {
        match values {
            [value] => writer.scalar(&tag(name), *value, step)?,
            values => {
                for (i, value) in values.iter().enumerate() {
                    writer.scalar(&format!("{}/{i}", tag(name)), *value, step)?;
                }
            }
        }
    }
    Ok(())
}

/// A weight as a grey image `(height, width, 1)`: see [`TensorBoard::write_images`].
fn picture(weight: &Tensor) -> Result<Option<Tensor>> {
    let dims: Vec<usize> = weight.shape().iter().copied().filter(|&n| n != 1).collect();
    if weight.is_empty() || weight.len() > MOST_PIXELS {
        return Ok(None);
    }
    // Tiles of height x width, and how many below each other and side by side.
    let kernel = weight.rank() == 4;
    let ([height, width], [down, across]) = match (kernel, &dims[..], weight.shape()) {
        (true, _, &[height, width, inputs, outputs]) => ([height, width], [inputs, outputs]),
        (false, &[], _) => ([1, 1], [1, 1]),
        (false, &[n], _) => ([1, n], [1, 1]),
        (false, &[rows, columns], _) => ([rows, columns], [1, 1]),
        (false, &[width, inputs, outputs], _) => ([1, width], [inputs, outputs]),
        _ => return Ok(None),
    };
    let most = weight.data().iter().filter(|v| v.is_finite()).fold(0.0_f32, |most, v| most.max(v.abs()));
    let scale = if most > 0.0 { 0.5 / most } else { 0.0 };
    let tiled = down * across > 1;
    let gap = usize::from(tiled);
    let (rows, columns) = (down * (height + gap) - gap, across * (width + gap) - gap);
    if rows * columns > 2 * MOST_PIXELS {
        return Ok(None);
    }
    // Lines between tiles are black.
    let mut pixels = vec![0.0; rows * columns];
    for (i, value) in weight.data().iter().enumerate() {
        let (output, rest) = (i % across, i / across);
        let (input, place) = (rest % down, rest / down);
        let (row, column) = (input * (height + gap) + place / width, output * (width + gap) + place % width);
        pixels[row * columns + column] = 0.5 + value * scale;
    }
    // A table that is taller than wide lies down, as in Keras.
    if !tiled && rows > columns {
        let turned = (0..rows * columns).map(|i| pixels[i % rows * columns + i / rows]).collect();
        return Tensor::new([columns, rows, 1], turned).map(Some);
    }
    Tensor::new([rows, columns, 1], pixels).map(Some)
}

impl Callback for TensorBoard {
    fn on_train_begin(&mut self, model: &mut Model) -> Result<()> {
        // A training that is taken up in the middle of an epoch does not begin it again.
        self.epoch_began = (Instant::now(), model.iterations()?);
        if self.write_graph {
            self.train.writer()?.graph(&graph::nodes(model))?;
            match model.to_json() {
                Ok(json) => self.train.writer()?.keras_model(&json)?,
                Err(error) => drop(writeln!(std::io::stderr(), "cornu: TensorBoard: no conceptual graph: {error}")),
            }
        }
        if !self.hparams.is_empty() {
            let writer = self.session.writer()?;
            writer.hparams(self.hparams.iter().cloned())?;
            writer.flush()?;
        }
        self.train.flush()
    }

    fn on_epoch_begin(&mut self, model: &mut Model, _epoch: usize) -> Result<()> {
        self.epoch_began = (Instant::now(), model.iterations()?);
        Ok(())
    }

    fn on_train_batch_begin(&mut self, _model: &mut Model, _batch: usize) -> Result<()> {
        self.batch_began = Instant::now();
        Ok(())
    }

    fn on_train_batch_end(&mut self, model: &mut Model, _batch: usize, logs: &Logs) -> Result<()> {
        let step = model.iterations()?;
        if let UpdateFreq::Batches(freq) = self.update_freq
            && step.is_multiple_of(freq.max(1))
        {
            let seconds = self.batch_began.elapsed().as_secs_f64();
            let writer = self.train.writer()?;
            if self.write_steps_per_second {
                writer.scalar("batch_steps_per_second", 1.0 / seconds, step)?;
            }
            scalars(writer, logs.iter(), |name| format!("batch_{name}"), step)?;
        }
        Ok(())
    }

    fn on_test_end(&mut self, model: &mut Model, logs: &Logs) -> Result<()> {
        let step = model.iterations()?;
        let writer = self.validation.writer()?;
        scalars(writer, logs.iter(), |name| format!("evaluation_{name}_vs_iterations"), step)?;
        writer.flush()
    }

    fn on_epoch_end(&mut self, model: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        let epoch = epoch as u64;
        let of_train = logs.iter().filter(|(name, _)| !name.starts_with("val_") && *name != "learning_rate");
        let writer = self.train.writer()?;
        scalars(writer, of_train, |name| format!("epoch_{name}"), epoch)?;
        writer.scalar("epoch_learning_rate", model.learning_rate()?, epoch)?;
        if self.write_steps_per_second {
            let (began, steps) = self.epoch_began;
            let steps = model.iterations()?.saturating_sub(steps) as f64;
            writer.scalar("epoch_steps_per_second", steps / began.elapsed().as_secs_f64(), epoch)?;
        }
        let mut of_validation = logs.iter().filter_map(|(name, values)| Some((name.strip_prefix("val_")?, values)));
        if let Some(first) = of_validation.next() {
            let all = std::iter::once(first).chain(of_validation);
            scalars(self.validation.writer()?, all, |name| format!("epoch_{name}"), epoch)?;
        }
        if self.histogram_freq > 0 && epoch.is_multiple_of(self.histogram_freq as u64) {
            self.write_weights(model, epoch)?;
        }
        self.train.flush()?;
        self.validation.flush()
    }

    fn on_train_end(&mut self, _model: &mut Model, _logs: &Logs) -> Result<()> {
        if let Some(writer) = &mut self.session.writer {
            writer.end_session(true)?;
        }
        self.session.close()?;
        self.train.close()?;
        self.validation.close()
    }
}

impl Drop for TensorBoard {
    /// Training that ends with an error has failed.
    fn drop(&mut self) {
        if let Some(writer) = &mut self.session.writer {
            let _ = writer.end_session(false);
        }
    }
}
