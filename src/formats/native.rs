//! The `.cornu` file: a header around one flat container.
//!
//! ```text
//! 8 bytes   89 'c' 'o' 'r' 'n' 'u' 0d 0a   (changes when a file is sent as text or cut to 7 bits)
//! u32       version of this layout: 1
//! u32       what encodes the container: 1 = bincode 2, its standard configuration
//! u64       length of the container
//! u32       CRC-32 of the container
//! container
//! ```
//! Numbers are little-endian. The container holds no nested types: the architecture and the compile
//! settings are JSON text, whose parser limits how deep it goes, and a tensor is its path, its shape
//! and its bytes. When it is read, text and tensors are borrowed from the bytes that are there, so a
//! length that lies allocates nothing.

use super::load_weights::{LoadWeights, Skipped, by_path};
use super::{Contents, StoredArray};
use crate::error::{Context, Error, Result, ensure};
use crate::files::write_whole;
use crate::layer::Param;
use crate::model::{Model, config::parse};
use crate::tensor::Tensor;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

const MAGIC: [u8; 8] = *b"\x89cornu\r\n";
const VERSION: u32 = 1;
const BINCODE: u32 = 1;
const HEADER: usize = 28;

#[derive(Serialize, Deserialize)]
struct Container<'a> {
    /// The version of cornu that wrote the file, for people.
    #[serde(borrow)]
    writer: Cow<'a, str>,
    /// None in a file of weights alone.
    #[serde(borrow)]
    model: Option<Whole<'a>>,
    #[serde(borrow)]
    weights: Vec<Blob<'a>>,
}

/// What there is besides the weights.
#[derive(Serialize, Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    architecture: Cow<'a, str>,
    seed: u64,
    built: bool,
    #[serde(borrow)]
    training: Option<Training<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Training<'a> {
    #[serde(borrow)]
    compile: Cow<'a, str>,
    iterations: u64,
    /// The places among the weights of those that a step changes.
    weights: Vec<u64>,
    /// The optimizer's variables, the learning rate first.
    #[serde(borrow)]
    variables: Vec<Blob<'a>>,
}

/// A tensor.
#[derive(Serialize, Deserialize)]
struct Blob<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    shape: Vec<u64>,
    #[serde(borrow)]
    values: Bytes<'a>,
}

/// The values of a tensor, as little-endian bytes in the file.
enum Bytes<'a> {
    Of(Tensor),
    Read(&'a [u8]),
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Bytes::Of(tensor) => {
                let bytes: Vec<u8> = tensor.data().iter().flat_map(|value| value.to_le_bytes()).collect();
                serializer.serialize_bytes(&bytes)
            }
            Bytes::Read(bytes) => serializer.serialize_bytes(bytes),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Borrow;
        impl<'de> de::Visitor<'de> for Borrow {
            type Value = &'de [u8];
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> std::result::Result<Self::Value, E> {
                Ok(bytes)
            }
        }
        deserializer.deserialize_bytes(Borrow).map(Bytes::Read)
    }
}

impl<'a> Blob<'a> {
    fn of(path: impl Into<Cow<'a, str>>, tensor: Tensor) -> Self {
        let shape = tensor.shape().iter().map(|&d| d as u64).collect();
        Blob { path: path.into(), shape, values: Bytes::Of(tensor) }
    }

    fn of_weights(weights: &'a [Param]) -> Vec<Self> {
        weights.iter().map(|weight| Blob::of(weight.path(), weight.value())).collect()
    }

    fn tensor(&self) -> Result<Tensor> {
        let bytes = match &self.values {
            Bytes::Of(tensor) => return Ok(tensor.clone()),
            Bytes::Read(bytes) => bytes,
        };
        let (values, []) = bytes.as_chunks::<4>() else {
            return Err(Error::Format(format!("tensor '{}' has {} bytes, no multiple of 4", self.path, bytes.len())));
        };
        let shape: Vec<usize> = self.shape.iter().map(|&d| usize::try_from(d).unwrap_or(usize::MAX)).collect();
        Tensor::new(shape, values.iter().map(|value| f32::from_le_bytes(*value)).collect())
            .at(|| format!("tensor '{}'", self.path))
    }
}

pub(super) fn save(model: &Model, path: &Path) -> Result<()> {
    let weights = model.weights();
    let training = match (&model.compiled, model.get_compile_config()?) {
        (Some(compiled), Some(compile)) => Some(Training {
            compile: Value::Object(compile).to_string().into(),
            iterations: compiled.state.iterations(),
            weights: compiled
                .weights
                .iter()
                .filter_map(|changed| weights.iter().position(|weight| weight.id() == changed.id()))
                .map(|place| place as u64)
                .collect(),
            variables: compiled.state.variables().into_iter().map(|(name, value)| Blob::of(name, value)).collect(),
        }),
        _ => None,
    };
    let whole = Whole { architecture: model.to_json()?.into(), seed: model.seed, built: model.is_built(), training };
    write(path, Some(whole), Blob::of_weights(&weights))
}

pub(super) fn save_weights(model: &Model, path: &Path) -> Result<()> {
    model.built()?;
    write(path, None, Blob::of_weights(&model.weights()))
}

pub(super) fn load(path: &Path, compile: bool) -> Result<Model> {
    let bytes = read(path)?;
    let Container { model, weights, .. } = decode(&bytes)?;
    let Some(Whole { architecture, seed, built, training }) = model else {
        return Err(Error::Format(
            "the file holds weights alone: build the model, then call its load_weights".to_owned(),
        ));
    };
    let mut model = Model::from_value(parse(&architecture)?)?;
    model.seed = seed;
    if built {
        let values = weights.iter().map(Blob::tensor).collect::<Result<Vec<_>>>()?;
        model.build_to_load(values.iter().map(Tensor::len).sum())?;
        model.set_weights(&values)?;
    }
    if let Some(training) = training.filter(|_| compile) {
        let Value::Object(settings) = parse(&training.compile)? else {
            return Err(Error::Format("the compile settings are no object".to_owned()));
        };
        model.compile_from(settings)?;
        let weights = model.weights();
        let changed = training.weights.iter().map(|&place| {
            let weight = usize::try_from(place).ok().and_then(|place| weights.get(place).cloned());
            weight.ok_or_else(|| Error::Format(format!("the optimizer's weight number {place} does not exist")))
        });
        let changed = changed.collect::<Result<_>>()?;
        let variables = training.variables.iter().map(Blob::tensor).collect::<Result<_>>()?;
        model.compiled_mut()?.restore(changed, training.iterations, variables)?;
    }
    Ok(model)
}

pub(super) fn load_weights(model: &mut Model, path: &Path, options: &LoadWeights) -> Result<Vec<Skipped>> {
    model.built()?;
    let bytes = read(path)?;
    let Container { weights: blobs, .. } = decode(&bytes)?;
    let by_name: HashMap<&str, &Blob<'_>> = blobs.iter().map(|blob| (&*blob.path, blob)).collect();
    let read = |_: &Param, name: &str| match by_name.get(name) {
        Some(blob) => blob.tensor(),
        None => Err(Error::Format(format!("the file has no '{name}'"))),
    };
    by_path(model, options, by_name.keys().copied(), |weight| weight.path().to_owned(), read)
}

pub(super) fn inspect(path: &Path) -> Result<Contents> {
    let bytes = read(path)?;
    let Container { writer, model, weights } = decode(&bytes)?;
    let kind = if model.is_some() { "model" } else { "weights alone" };
    let training = model.as_ref().and_then(|model| model.training.as_ref());
    let stored = |blob: &Blob<'_>, above: &str| StoredArray {
        path: format!("{above}{}", blob.path),
        dtype: "float32".to_owned(),
        shape: blob.shape.iter().map(|&d| d as usize).collect(),
    };
    let variables = training.iter().flat_map(|training| &training.variables);
    Ok(Contents {
        format: format!("cornu (.cornu), {kind}, version {VERSION}, written by cornu {writer}"),
        config: model.as_ref().map(|model| parse(&model.architecture)).transpose()?,
        compile: training.map(|training| parse(&training.compile)).transpose()?,
        arrays: weights
            .iter()
            .map(|blob| stored(blob, ""))
            .chain(variables.map(|blob| stored(blob, "optimizer/")))
            .collect(),
    })
}

fn write(path: &Path, model: Option<Whole<'_>>, weights: Vec<Blob<'_>>) -> Result<()> {
    write_whole(path, &encode(&Container { writer: env!("CARGO_PKG_VERSION").into(), model, weights })?)
}

/// The most that is read or written: 1 TiB, or what the machine can address.
const LIMIT: usize = match 1usize.checked_shl(40) {
    Some(limit) => limit,
    None => isize::MAX as usize,
};

/// The whole file for a container.
fn encode(container: &Container<'_>) -> Result<Vec<u8>> {
    let mut file = vec![0; HEADER];
    bincode::serde::encode_into_std_write(container, &mut file, bincode::config::standard())
        .map_err(|error| Error::Format(format!("the model cannot be encoded: {error}")))?;
    let (header, body) = file.split_at_mut(HEADER);
    ensure!(body.len() <= LIMIT, Format, "the model has {} bytes, more than a file may have", body.len());
    let checksum = crc32fast::hash(body);
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&BINCODE.to_le_bytes());
    header[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
    header[24..].copy_from_slice(&checksum.to_le_bytes());
    Ok(file)
}

/// The container of a file that was [`read`].
fn decode(body: &[u8]) -> Result<Container<'_>> {
    let config = bincode::config::standard().with_limit::<LIMIT>();
    let (container, used) = bincode::serde::borrow_decode_from_slice(body, config)
        .map_err(|error| Error::Format(format!("the file is damaged: {error}")))?;
    ensure!(used == body.len(), Format, "the file is damaged: {} bytes follow its end", body.len() - used);
    Ok(container)
}

/// The bytes of the container, after all that the header says of them was checked.
fn read(path: &Path) -> Result<Vec<u8>> {
    let io = |source| Error::io(path, source);
    let mut file = File::open(path).map_err(io)?;
    let mut header = Vec::with_capacity(HEADER);
    file.by_ref().take(HEADER as u64).read_to_end(&mut header).map_err(io)?;
    ensure!(header.starts_with(&MAGIC), Format, "this is no model saved by cornu: the file does not start as one");
    let (Some(&[version, codec]), Some(length), Some(checksum)) = (
        header.get(8..16).and_then(|bytes| bytes.as_chunks::<4>().0.first_chunk::<2>()),
        header.get(16..24).and_then(|bytes| bytes.first_chunk::<8>()),
        header.get(24..28).and_then(|bytes| bytes.first_chunk::<4>()),
    ) else {
        return Err(Error::Format("the file is cut off".to_owned()));
    };
    let version = u32::from_le_bytes(version);
    ensure!(
        version == VERSION,
        Format,
        "the file has version {version} of the format, this cornu reads version {VERSION}; a newer cornu may read it"
    );
    let codec = u32::from_le_bytes(codec);
    ensure!(codec == BINCODE, Format, "the file is encoded in way {codec}, which this cornu does not know");
    let (length, checksum) = (u64::from_le_bytes(*length), u32::from_le_bytes(*checksum));
    let mut body = Vec::new();
    // One byte more would show that something follows; a length that lies costs nothing.
    file.take(length.saturating_add(1)).read_to_end(&mut body).map_err(io)?;
    ensure!(
        body.len() as u64 == length,
        Format,
        "the file {}",
        if (body.len() as u64) < length { "is cut off" } else { "goes on after its end" }
    );
    ensure!(crc32fast::hash(&body) == checksum, Format, "the file is damaged: its checksum does not fit");
    Ok(body)
}
