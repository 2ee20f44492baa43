//! Event files of TensorBoard, for what the callback [`TensorBoard`](crate::training::callbacks::TensorBoard) does not
//! write by itself: numbers, distributions, images and texts of one's own.
//!
//! They are the files of TensorFlow 2 (`tf.summary`), written without it; `tensorboard --logdir logs` shows them, also
//! while they grow.
//!
//! ```
//! use cornu::tensorboard::SummaryWriter;
//! # let folder = tempfile::tempdir().unwrap();
//! # let logs = folder.path().join("logs/mine");
//! let mut writer = SummaryWriter::create(&logs)?;
//! for step in 0..100 {
//!     writer.scalar("distance", 1.0 / (1.0 + step as f64), step)?;
//! }
//! writer.histogram("noise", &[0.1, -0.2, 0.4, 0.0], 0)?;
//! writer.image("checks", ndarray::array![[[0.0_f32], [1.0]], [[1.0], [0.0]]], 0)?;
//! writer.text("notes", "The *first* try.", 0)?;
//! # Ok::<(), cornu::Error>(())
//! ```

mod message;
mod record;

use crate::error::{Error, Result, ensure};
use crate::files::now;
use crate::picture;
use crate::shape::Shape;
use crate::tensor::Tensor;
use message::Message;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Buckets of a histogram, as of `tf.summary.histogram`.
const BUCKETS: usize = 30;
/// What is written reaches the file after this time at the latest, if more is written.
const FLUSH_AFTER: Duration = Duration::from_secs(5);

/// TensorFlow's numbers of types.
const FLOAT: u64 = 1;
const DOUBLE: u64 = 2;
const STRING: u64 = 7;

/// Writes an event file into a folder, which is a *run* of TensorBoard.
///
/// Values stand under a tag at a step; tags with the same beginning up to a `/` are shown together. Values of one tag may
/// come from several files in a folder, so a program that is started again goes on where it stopped. The file is complete
/// when the writer is dropped or [flushed](Self::flush), which it does by itself every few seconds of writing.
pub struct SummaryWriter {
    path: PathBuf,
    file: BufWriter<fs::File>,
    flushed: Instant,
}

impl SummaryWriter {
    /// Begins a new file in `folder`, which is made if there is none.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        let name = format!("events.out.tfevents.{:010}.cornu.{}", now() as u64, std::process::id());
        let mut count = 0;
        let (path, file) = loop {
            let path = folder.join(format!("{name}.{count}.v2"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => count += 1,
                Err(source) => return Err(Error::io(path, source)),
            }
        };
        let mut writer = SummaryWriter { path, file: BufWriter::new(file), flushed: Instant::now() };
        let source = Message::new().bytes(1, "cornu");
        writer.event(Message::new().double(1, now()).bytes(3, "brain.Event:2").message(10, source))?;
        writer.flush()?;
        Ok(writer)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A number, which is kept in 32 bits. NaN and infinities are values, too.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses, as for all of them.
    pub fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<()> {
        let tensor = tensor(FLOAT, &[]).bytes(4, (value as f32).to_le_bytes());
        self.value(tag, "scalars", b"", tensor, step)
    }

    /// How often values occur, in 30 buckets of equal width between the smallest and the largest of them. Those that are
    /// NaN or infinite are left out.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn histogram(&mut self, tag: &str, values: &[f32], step: u64) -> Result<()> {
        let bytes: Vec<u8> = buckets(values).into_iter().flatten().flat_map(f64::to_le_bytes).collect();
        self.value(tag, "histograms", b"", tensor(DOUBLE, &[BUCKETS, 3]).bytes(4, bytes), step)
    }

    /// An image `(height, width, channels)`, or several `(images, height, width, channels)`, with values from 0 to 1; what
    /// is outside is cut off. There are 1 (grey), 2 (grey and alpha), 3 (red, green, blue) or 4 channels (and alpha).
    ///
    /// # Errors
    /// [`Error::Shape`] for another shape, [`Error::Io`] when the system refuses.
    pub fn image(&mut self, tag: &str, images: impl Into<Tensor>, step: u64) -> Result<()> {
        let images = images.into();
        let (height, width, channels) = match *images.shape() {
            [height, width, channels] | [_, height, width, channels] => (height, width, channels),
            _ => (0, 0, 0),
        };
        ensure!(
            (1..=4).contains(&channels) && height * width > 0,
            Shape,
            "image '{tag}' has shape {:?}; it must be (height, width, channels) or (images, height, width, channels) with 1 \
             to 4 channels",
            images.shape()
        );
        let size = height * width * channels;
        // As TensorFlow rounds.
        let pixels: Vec<u8> = images.data().iter().map(|value| (value * 255.5) as u8).collect();
        let mut message = tensor(STRING, &[2 + pixels.len() / size]);
        message = message.bytes(8, width.to_string()).bytes(8, height.to_string());
        for image in pixels.chunks_exact(size) {
            let png = picture::png(width, height, channels, image).map_err(|source| Error::io(&self.path, source))?;
            message = message.bytes(8, png);
        }
        self.value(tag, "images", b"", message, step)
    }

    /// A text, in which Markdown is shown as such.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn text(&mut self, tag: &str, text: &str, step: u64) -> Result<()> {
        self.value(tag, "text", b"", tensor(STRING, &[]).bytes(8, text), step)
    }

    /// A graph, of which a run has one.
    pub(crate) fn graph(&mut self, nodes: &[GraphNode]) -> Result<()> {
        let node = |node: &GraphNode| {
            let attribute = |name: &str, value: Message| Message::new().bytes(1, name).message(2, value);
            let shapes = node.shapes.iter().fold(Message::new(), |all, shape| {
                // A dimension that is not known is -1.
                let dims = shape.dims().iter().map(|n| n.map_or(u64::MAX, |n| n as u64));
                all.message(7, dims.fold(Message::new(), |dims, n| dims.message(2, Message::new().int(1, n))))
            });
            let named = Message::new().bytes(1, &node.name).bytes(2, &node.op);
            let read = node.inputs.iter().fold(named, |message, input| message.bytes(3, input));
            read.message(5, attribute("_output_shapes", Message::new().message(1, shapes)))
                .message(5, attribute("params", Message::new().int(3, node.params as u64)))
        };
        let graph = nodes.iter().fold(Message::new(), |graph, each| graph.message(1, node(each)));
        let graph = graph.message(4, Message::new().int(1, 22));
        self.event(Message::new().double(1, now()).message(4, graph))
    }

    /// The graph of a model as Keras' JSON (see [`Model::to_json`](crate::Model::to_json)), under the name `keras`.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn keras_model(&mut self, json: &str) -> Result<()> {
        self.value("keras", "graph_keras_model", b"1", tensor(STRING, &[]).bytes(8, json), 0)
    }

    /// The hyper-parameters of this run, which TensorBoard shows beside the numbers of the run and of those below it
    /// (`train`, `validation`).
    ///
    /// ```
    /// use cornu::tensorboard::{HParam, SummaryWriter};
    /// # let folder = tempfile::tempdir().unwrap();
    /// let mut writer = SummaryWriter::create(folder.path().join("logs/run-1"))?;
    /// let hparams: [(&str, HParam); 2] = [("units", 64.into()), ("optimizer", "adam".into())];
    /// writer.hparams(hparams)?;
    /// writer.scalar("accuracy", 0.97, 10)?;
    /// writer.end_session(true)?;
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn hparams<N: AsRef<str>, V: Into<HParam>>(&mut self, hparams: impl IntoIterator<Item = (N, V)>) -> Result<()> {
        let mut start = Message::new().double(5, now());
        for (name, value) in hparams {
            let value = match value.into() {
                HParam::Number(number) => Message::new().double(2, number),
                HParam::Text(text) => Message::new().bytes(3, text),
                HParam::Flag(flag) => Message::new().int(4, u64::from(flag)),
            };
            start = start.message(1, Message::new().bytes(1, name.as_ref()).message(2, value));
        }
        self.session("_hparams_/session_start_info", Message::new().message(3, start))
    }

    /// The run that [`hparams`](Self::hparams) belong to is over: all went well, or it failed.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn end_session(&mut self, success: bool) -> Result<()> {
        let end = Message::new().int(1, if success { 1 } else { 2 }).double(2, now());
        self.session("_hparams_/session_end_info", Message::new().message(4, end))
    }

    fn session(&mut self, tag: &str, data: Message) -> Result<()> {
        self.value(tag, "hparams", data.as_bytes(), tensor(FLOAT, &[0]), 0)
    }

    /// Hands everything to the system, so that TensorBoard sees it.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        self.file.flush().map_err(|source| Error::io(&self.path, source))
    }

    /// Writes a tensor under a tag, for a plugin of TensorBoard, which may want data of its own.
    fn value(&mut self, tag: &str, plugin: &str, data: &[u8], tensor: Message, step: u64) -> Result<()> {
        let mut plugin = Message::new().bytes(1, plugin);
        if !data.is_empty() {
            plugin = plugin.bytes(2, data);
        }
        let value = Message::new().bytes(1, tag).message(8, tensor).message(9, Message::new().message(1, plugin));
        self.event(Message::new().double(1, now()).int(2, step).message(5, Message::new().message(1, value)))?;
        if self.flushed.elapsed() > FLUSH_AFTER { self.flush() } else { Ok(()) }
    }

    fn event(&mut self, event: Message) -> Result<()> {
        record::write(&mut self.file, event.as_bytes()).map_err(|source| Error::io(&self.path, source))
    }
}

impl fmt::Debug for SummaryWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SummaryWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A node of a graph.
#[derive(Clone, Debug)]
pub(crate) struct GraphNode {
    /// What is inside something has its name and a `/` in front.
    pub name: String,
    /// What it does: the class of the layer.
    pub op: String,
    /// The names of the nodes it reads, with `:1` behind for their second output.
    pub inputs: Vec<String>,
    /// Of its outputs.
    pub shapes: Vec<Shape>,
    /// The number of values in its weights.
    pub params: usize,
}

/// The value of a hyper-parameter: a number, a text or a flag, made by `into`.
#[derive(Clone, Debug, PartialEq)]
pub enum HParam {
    /// A learning rate, a number of units.
    Number(f64),
    /// The name of an optimizer.
    Text(String),
    /// Whether something is done.
    Flag(bool),
}

macro_rules! hparam_from {
    ($($number:ty),+) => {$(
        impl From<$number> for HParam {
            fn from(number: $number) -> Self {
                HParam::Number(number as f64)
            }
        }
    )+};
}
hparam_from!(f64, f32, i32, u32, i64, u64, usize);

impl From<bool> for HParam {
    fn from(flag: bool) -> Self {
        HParam::Flag(flag)
    }
}

impl From<&str> for HParam {
    fn from(text: &str) -> Self {
        HParam::Text(text.to_owned())
    }
}

impl From<String> for HParam {
    fn from(text: String) -> Self {
        HParam::Text(text)
    }
}

/// A tensor of this type and shape, without its values.
fn tensor(kind: u64, shape: &[usize]) -> Message {
    let dims = shape.iter().fold(Message::new(), |dims, &n| dims.message(2, Message::new().int(1, n as u64)));
    Message::new().int(1, kind).message(2, dims)
}

/// The edges of each bucket and the number of values in it.
fn buckets(values: &[f32]) -> Vec<[f64; 3]> {
    let finite = || values.iter().filter(|value| value.is_finite()).map(|&value| f64::from(value));
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low > high {
        return vec![[0.0; 3]; BUCKETS];
    }
    let width = (high - low) / BUCKETS as f64;
    let edge = |i: usize| if i == BUCKETS { high } else { low + i as f64 * width };
    let mut buckets: Vec<[f64; 3]> = (0..BUCKETS).map(|i| [edge(i), edge(i + 1), 0.0]).collect();
    for value in finite() {
        // All alike: there is no width, and they are in the last bucket.
        let place = if width > 0.0 { ((value - low) / width) as usize } else { BUCKETS };
        buckets[place.min(BUCKETS - 1)][2] += 1.0;
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_tensorflow() {
        // np.histogram of TensorBoard's own writer for np.arange(7) ** 2: edges from 0 to 36, 1.2 apart.
        let squares = buckets(&[0.0, 1.0, 4.0, 9.0, 16.0, 25.0, 36.0]);
        let filled: Vec<usize> = (0..BUCKETS).filter(|&i| squares[i][2] > 0.0).collect();
        assert_eq!(filled, [0, 3, 7, 13, 20, 29]);
        assert_eq!(squares[0][2], 2.0);
        assert!((squares[3][0] - 3.6).abs() < 1e-12 && (squares[3][1] - 4.8).abs() < 1e-12);
        assert_eq!(squares[29][1], 36.0);
        // All alike: as TensorFlow, in the last of buckets without width.
        let alike = buckets(&[2.0; 5]);
        assert!(alike[..29].iter().all(|bucket| *bucket == [2.0, 2.0, 0.0]) && alike[29] == [2.0, 2.0, 5.0]);
        // What is not finite is left out.
        let some = buckets(&[f32::NAN, 1.0, f32::INFINITY, 2.0, f32::NEG_INFINITY]);
        assert_eq!((some[0], some[29][1], some[29][2]), ([1.0, 1.0 + 1.0 / 30.0, 1.0], 2.0, 1.0));
        assert_eq!(buckets(&[f32::NAN]), [[0.0; 3]; BUCKETS]);
        assert_eq!(buckets(&[]), [[0.0; 3]; BUCKETS]);
    }
}
