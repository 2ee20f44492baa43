//! Files of our own: a header around one flat container of anything that serde knows, tensors among it.
//!
//! ```text
//! 8 bytes   89, five letters, 0d 0a        (changes when a file is sent as text or cut to 7 bits)
//! u32       version of this layout: 1
//! u32       what encodes the container: 1 = bincode 2, its standard configuration
//! u64       length of the container
//! u32       CRC-32 of the container
//! container
//! ```
//! Numbers are little-endian. A container holds no nested types, since how deep they go would not be limited, and a tensor
//! is its path, its shape and its bytes. When it is read, tensors are borrowed from the bytes that are there, and what is
//! not borrowed has a [limit](state::decode) that goes with their number: a length that lies does no harm.

use crate::error::{Context, Error, Result, ensure};
use crate::files::write_whole;
use crate::state::{self, LIMIT};
use crate::tensor::Tensor;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub(crate) const VERSION: u32 = 1;
const BINCODE: u32 = 1;
const HEADER: usize = 28;

/// One kind of file.
pub(crate) struct Kind {
    /// How it starts.
    pub magic: [u8; 8],
    /// What it is called in errors: "model".
    pub name: &'static str,
}

/// A tensor.
#[derive(Serialize, Deserialize)]
pub(crate) struct Blob<'a> {
    #[serde(borrow)]
    pub path: Cow<'a, str>,
    pub shape: Vec<u64>,
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
    pub fn of(path: impl Into<Cow<'a, str>>, tensor: Tensor) -> Self {
        let shape = tensor.shape().iter().map(|&d| d as u64).collect();
        Blob { path: path.into(), shape, values: Bytes::Of(tensor) }
    }

    pub fn tensor(&self) -> Result<Tensor> {
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

impl Kind {
    /// Writes a file of this kind, whole or not at all.
    pub fn write(&self, path: &Path, container: &impl Serialize) -> Result<()> {
        write_whole(path, &self.encode(container)?)
    }

    /// The whole file for a container.
    fn encode(&self, container: &impl Serialize) -> Result<Vec<u8>> {
        let name = self.name;
        let mut file = vec![0; HEADER];
        bincode::serde::encode_into_std_write(container, &mut file, bincode::config::standard())
            .map_err(|error| Error::Format(format!("the {name} cannot be encoded: {error}")))?;
        let (header, body) = file.split_at_mut(HEADER);
        ensure!(body.len() <= LIMIT, Format, "the {name} has {} bytes, more than a file may have", body.len());
        let checksum = crc32fast::hash(body);
        header[..8].copy_from_slice(&self.magic);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[12..16].copy_from_slice(&BINCODE.to_le_bytes());
        header[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
        header[24..].copy_from_slice(&checksum.to_le_bytes());
        Ok(file)
    }

    /// The bytes of the container, after all that the header says of them was checked.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let io = |source| Error::io(path, source);
        let mut file = File::open(path).map_err(io)?;
        let mut header = Vec::with_capacity(HEADER);
        file.by_ref().take(HEADER as u64).read_to_end(&mut header).map_err(io)?;
        ensure!(
            header.starts_with(&self.magic),
            Format,
            "this is no {} saved by cornu: the file does not start as one",
            self.name
        );
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
}

/// The container of a file that was [read](Kind::read).
pub(crate) fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T> {
    let (container, used) =
        state::decode(body).map_err(|error| Error::Format(format!("the file is damaged: {error}")))?;
    ensure!(used == body.len(), Format, "the file is damaged: {} bytes follow its end", body.len() - used);
    Ok(container)
}
