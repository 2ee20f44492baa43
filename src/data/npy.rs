//! NumPy's files of arrays: `.npy`, and `.npz` archives of them.
//!
//! Read are numbers and bools of any size and byte order, in C or Fortran order; as models compute in
//! `f32`, they become that. Written is `f32`.
//!
//! ```
//! use cornu::data::npy;
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("x.npy");
//! let x = ndarray::array![[1.0, 2.0], [3.0, 4.0]].into_dyn();
//! npy::write(&path, &x)?;
//! assert_eq!(npy::read(&path)?, x);
//! # Ok::<(), cornu::Error>(())
//! ```

use crate::error::{Context, Error, Result, ensure};
use crate::files::write_whole;
use crate::tensor::Tensor;
use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// A header is a line that names a type and a shape; NumPy itself refuses longer ones.
const LONGEST_HEADER: u64 = 10_000;

/// The array of a `.npy` file.
///
/// # Errors
/// When the file cannot be read, is no `.npy` file, is cut off, or holds something else than numbers
/// of at most 64 bits and bools.
pub fn read(path: impl AsRef<Path>) -> Result<ArrayD<f32>> {
    let path = path.as_ref();
    let open = || parse(BufReader::new(File::open(path).map_err(|source| Error::io(path, source))?));
    open().in_file(path)
}

/// The arrays of a `.npz` archive, with their names, in the order in which they stand there.
///
/// # Errors
/// When the file cannot be read, is no archive, or an array in it is not as [`read`] wants it.
#[cfg(feature = "keras")]
pub fn read_npz(path: impl AsRef<Path>) -> Result<Vec<(String, ArrayD<f32>)>> {
    let path = path.as_ref();
    let damaged = |error: zip::result::ZipError| Error::Format(format!("the archive cannot be read: {error}"));
    let open = || {
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
        let mut arrays = Vec::new();
        for i in 0..archive.len() {
            let member = archive.by_index(i).map_err(damaged)?;
            let name = member.name().map_err(damaged)?.into_owned();
            let array = parse(member).at(|| format!("member '{name}'"))?;
            arrays.push((name.strip_suffix(".npy").map(str::to_owned).unwrap_or(name), array));
        }
        Ok(arrays)
    };
    open().in_file(path)
}

/// Writes an array as a `.npy` file, in C order; the file appears whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: impl AsRef<Path>, array: &ArrayD<f32>) -> Result<()> {
    let shape: String = array.shape().iter().map(|d| format!("{d}, ")).collect();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", shape.trim_end());
    // The values start at a multiple of 64 bytes, after a line break.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let mut file = [MAGIC.as_slice(), &[1, 0], &(length as u16).to_le_bytes()].concat();
    file.extend(format!("{header:<width$}\n", width = length - 1).into_bytes());
    file.extend(array.iter().flat_map(|value| value.to_le_bytes()));
    write_whole(path.as_ref(), &file).in_file(path.as_ref())
}

/// What follows the header of an array: for arrays of objects, which are no numbers.
#[cfg(feature = "keras")]
pub(crate) fn after_header(file: &[u8]) -> Result<&[u8]> {
    let start = file.starts_with(MAGIC).then(|| file.get(6..12)).flatten();
    let start = start.ok_or_else(|| Error::Format("it is no array of NumPy".to_owned()))?;
    let length = match start[0] {
        1 => usize::from(u16::from_le_bytes([start[2], start[3]])) + 10,
        _ => (u32::from_le_bytes([start[2], start[3], start[4], start[5]]) as usize).saturating_add(12),
    };
    file.get(length..).ok_or_else(|| Error::Format("it is cut off in its header".to_owned()))
}

pub(crate) fn parse(mut source: impl Read) -> Result<ArrayD<f32>> {
    let (header, _) = Header::read(&mut source)?;
    let values = header.numbers(&exactly(&mut source, header.bytes(&header.shape)?)?)?;
    let shape = &header.shape;
    let damaged = |error: ndarray::ShapeError| Error::Format(format!("its shape {shape:?} does not fit: {error}"));
    ArrayD::from_shape_vec(IxDyn(shape).set_f(header.fortran), values).map_err(damaged)
}

/// So many bytes. The memory grows with what really comes.
fn exactly(source: &mut impl Read, n: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = source.by_ref().take(n).read_to_end(&mut bytes);
    read.map_err(|error| Error::Format(format!("it cannot be read: {error}")))?;
    ensure!(bytes.len() as u64 == n, Format, "it is cut off: {n} bytes were expected, {} are there", bytes.len());
    Ok(bytes)
}

/// The rows of a `.npy` file that stays on the disk.
pub(crate) struct FileRows {
    path: PathBuf,
    file: Mutex<File>,
    header: Header,
    /// Where the values start.
    start: u64,
}

impl FileRows {
    /// Opens a file and checks that it is as long as its header says. None if its rows do not lie one after another
    /// (Fortran order).
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let open = || {
            let io = |source| Error::io(path, source);
            let mut file = File::open(path).map_err(io)?;
            let (header, start) = Header::read(&mut file)?;
            ensure!(!header.shape.is_empty(), Shape, "it is a single number; expected samples along the first axis");
            if header.fortran && header.shape.len() > 1 {
                return Ok(None);
            }
            let (expected, size) = (header.bytes(&header.shape)?, file.metadata().map_err(io)?.len());
            let there = size.saturating_sub(start);
            ensure!(there >= expected, Format, "it is cut off: {expected} bytes were expected, {there} are there");
            header.numbers(&[])?;
            Ok(Some(FileRows { path: path.to_owned(), file: Mutex::new(file), header, start }))
        };
        open().in_file(path)
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.header.shape[0]
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> Result<Tensor> {
        let read = || {
            let shape = &self.header.shape[1..];
            let size = self.header.bytes(shape)?;
            let bytes = {
                let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
                let place = SeekFrom::Start(self.start + i as u64 * size);
                file.seek(place).map_err(|source| Error::io(&self.path, source))?;
                exactly(&mut *file, size)?
            };
            Tensor::new(shape, self.header.numbers(&bytes)?)
        };
        read().at(|| format!("file '{}', row {i}", self.path.display()))
    }
}

/// What the header of an array says: a Python dictionary.
struct Header {
    kind: char,
    size: usize,
    big_endian: bool,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    /// The header, and where the values start.
    fn read(source: &mut impl Read) -> Result<(Header, u64)> {
        let start = exactly(source, 8).ok().filter(|start| start.starts_with(MAGIC));
        let version = start.ok_or_else(|| Error::Format("it is no array of NumPy".to_owned()))?[6];
        ensure!((1..=3).contains(&version), Format, "its version is {version}; known are 1, 2 and 3");
        let length = exactly(source, if version == 1 { 2 } else { 4 })?;
        let before = 8 + length.len() as u64;
        let length = length.iter().rfold(0, |n, &byte| n << 8 | u64::from(byte));
        ensure!(length <= LONGEST_HEADER, Format, "its header claims {length} bytes; that is no array of numbers");
        let text = exactly(source, length)?;
        Ok((Header::parse(&String::from_utf8_lossy(&text))?, before + length))
    }

    /// The bytes of an array of this shape.
    fn bytes(&self, shape: &[usize]) -> Result<u64> {
        let count = shape.iter().try_fold(self.size as u64, |n, &d| n.checked_mul(d as u64));
        count.ok_or_else(|| Error::Format(format!("its shape {shape:?} is larger than any file")))
    }

    /// The numbers that these bytes hold.
    fn numbers(&self, bytes: &[u8]) -> Result<Vec<f32>> {
        let big_endian = self.big_endian;
        Ok(match (self.kind, self.size) {
            ('f', 2) => decode(bytes, big_endian, |b| f32_from_f16(u16::from_le_bytes(b))),
            ('f', 4) => decode(bytes, big_endian, f32::from_le_bytes),
            ('f', 8) => decode(bytes, big_endian, |b| f64::from_le_bytes(b) as f32),
            ('i', 1) => decode(bytes, big_endian, |b| f32::from(i8::from_le_bytes(b))),
            ('i', 2) => decode(bytes, big_endian, |b| f32::from(i16::from_le_bytes(b))),
            ('i', 4) => decode(bytes, big_endian, |b| i32::from_le_bytes(b) as f32),
            ('i', 8) => decode(bytes, big_endian, |b| i64::from_le_bytes(b) as f32),
            ('u', 1) => decode(bytes, big_endian, |b| f32::from(u8::from_le_bytes(b))),
            ('u', 2) => decode(bytes, big_endian, |b| f32::from(u16::from_le_bytes(b))),
            ('u', 4) => decode(bytes, big_endian, |b| u32::from_le_bytes(b) as f32),
            ('u', 8) => decode(bytes, big_endian, |b| u64::from_le_bytes(b) as f32),
            ('b', 1) => decode(bytes, big_endian, |[b]: [u8; 1]| f32::from(u8::from(b != 0))),
            (kind, size) => return Err(not_numbers(&format!("{kind}{size}"))),
        })
    }

    fn parse(text: &str) -> Result<Header> {
        // The text after `'key':`.
        let field = |key: &str| {
            let (_, rest) = [format!("'{key}'"), format!("\"{key}\"")].iter().find_map(|key| text.split_once(key))?;
            rest.trim_start().strip_prefix(':').map(str::trim_start)
        };
        let missing = |key: &str| Error::Format(format!("its header has no '{key}': {}", text.trim_end()));
        let descr = field("descr").ok_or_else(|| missing("descr"))?;
        let quote = descr.chars().next().filter(|quote| matches!(quote, '\'' | '"'));
        let descr = quote.and_then(|quote| descr[1..].split(quote).next());
        let descr = descr.ok_or_else(|| not_numbers("structured"))?;
        let mut letters = descr.chars();
        let order = letters.next().unwrap_or_default();
        let kind = letters.next().unwrap_or_default();
        let size = letters.as_str().parse().ok().filter(|_| "<>=|".contains(order) && "fiub".contains(kind));
        let fortran = match field("fortran_order").ok_or_else(|| missing("fortran_order"))? {
            order if order.starts_with("True") => true,
            order if order.starts_with("False") => false,
            _ => return Err(missing("fortran_order")),
        };
        let shape = field("shape").and_then(|shape| shape.strip_prefix('(')?.split_once(')'));
        let (shape, _) = shape.ok_or_else(|| missing("shape"))?;
        // Python 2 wrote long integers as 3L.
        let dims = shape.split(',').map(|d| d.trim().trim_end_matches('L')).filter(|d| !d.is_empty());
        let shape = dims.map(str::parse).collect::<Result<_, _>>().map_err(|_| missing("shape"))?;
        let size = size.ok_or_else(|| not_numbers(descr))?;
        Ok(Header {
            kind,
            size,
            big_endian: order == '>' || order == '=' && cfg!(target_endian = "big"),
            fortran,
            shape,
        })
    }
}

fn not_numbers(descr: &str) -> Error {
    Error::Format(format!(
        "its type is '{descr}'; only floats of 16 to 64 bits, integers and bools can be read: convert it with astype"
    ))
}

/// The numbers that these bytes hold, `N` bytes each.
pub(crate) fn decode<const N: usize>(bytes: &[u8], big_endian: bool, number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let values = bytes.as_chunks::<N>().0.iter().copied();
    match big_endian {
        false => values.map(number).collect(),
        true => values
            .map(|mut value| {
                value.reverse();
                number(value)
            })
            .collect(),
    }
}

/// The value of a 16-bit float (IEEE 754 binary16).
pub(crate) fn f32_from_f16(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let (exponent, mantissa) = (u32::from(bits >> 10) & 31, u32::from(bits) & 1023);
    match exponent {
        // Zero and what is below the normal numbers: so many times 2^-24.
        0 => f32::from_bits(sign | (mantissa as f32 * f32::from_bits((127 - 24) << 23)).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | mantissa << 13),
        _ => f32::from_bits(sign | (exponent + 127 - 15) << 23 | mantissa << 13),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn file(descr: &str, fortran: bool, shape: &str, values: &[u8]) -> Vec<u8> {
        let fortran = if fortran { "True" } else { "False" };
        let header = format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), values].concat()
    }

    #[test]
    fn every_type_in_either_byte_order() {
        macro_rules! check {
            ($($kind:literal $type:ty: $values:expr),* $(,)?) => {$({
                let values: [$type; 2] = $values;
                let want = array![values[0] as f32, values[1] as f32].into_dyn();
                let bytes = values.map(|v| v.to_be_bytes()).concat();
                assert_eq!(parse(file(concat!("'>", $kind, "'"), false, "(2,)", &bytes).as_slice()).unwrap(), want);
                let bytes = values.map(|v| v.to_le_bytes()).concat();
                assert_eq!(parse(file(concat!("'<", $kind, "'"), false, "(2,)", &bytes).as_slice()).unwrap(), want);
            })*};
        }
        check!(
            "f4" f32: [1.5, -3e38], "f8" f64: [0.1, -1e300],
            "i1" i8: [-128, 7], "i2" i16: [-300, 300], "i4" i32: [i32::MIN, 5], "i8" i64: [1 << 40, -3],
            "u1" u8: [255, 1], "u2" u16: [65535, 2], "u4" u32: [u32::MAX, 3], "u8" u64: [u64::MAX, 4],
        );
        let bools = parse(file("'|b1'", false, "(3,)", &[1, 0, 1]).as_slice()).unwrap();
        assert_eq!(bools, array![1.0, 0.0, 1.0].into_dyn());
        // 1.5, -2, 65504, the least subnormal, infinity: as NumPy stores them.
        let halves = [0x3e00u16, 0xc000, 0x7bff, 0x0001, 0x7c00].map(u16::to_be_bytes).concat();
        let halves = parse(file("'>f2'", false, "(5,)", &halves).as_slice()).unwrap();
        assert_eq!(halves, array![1.5, -2.0, 65504.0, 5.960_464_5e-8, f32::INFINITY].into_dyn());
        assert!(f32_from_f16(0x7e00).is_nan() && f32_from_f16(0x8000).is_sign_negative());
    }

    #[test]
    fn both_orders_and_all_versions() {
        let c = parse(file("'|u1'", false, "(2, 3)", &[1, 2, 3, 4, 5, 6]).as_slice()).unwrap();
        let f = parse(file("'|u1'", true, "(2, 3)", &[1, 4, 2, 5, 3, 6]).as_slice()).unwrap();
        assert_eq!((&c, &f), (&array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]].into_dyn(), &c));
        let scalar = parse(file("\"|u1\"", false, "()", &[9]).as_slice()).unwrap();
        assert_eq!(scalar, ndarray::arr0(9.0).into_dyn());
        let header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1L,), }\n";
        let new = [b"\x93NUMPY\x03\x00".as_slice(), &(header.len() as u32).to_le_bytes(), header.as_bytes(), &[3]];
        assert_eq!(parse(new.concat().as_slice()).unwrap(), array![3.0].into_dyn());
    }

    #[test]
    fn what_is_written_starts_at_a_multiple_of_64() {
        let folder = tempfile::tempdir().unwrap();
        for array in [array![1.0, 2.0].into_dyn(), ndarray::arr0(0.5).into_dyn(), ArrayD::zeros(vec![0, 3])] {
            let path = folder.path().join("x.npy");
            write(&path, &array).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            let start = bytes.len() - 4 * array.len();
            assert_eq!((start % 64, bytes[start - 1]), (0, b'\n'));
            assert_eq!(read(&path).unwrap(), array);
        }
    }

    #[test]
    fn what_is_no_array_of_numbers_is_refused() {
        let error = |bytes: Vec<u8>| parse(bytes.as_slice()).unwrap_err().to_string();
        assert!(error(b"PK".to_vec()).contains("no array of NumPy"));
        assert!(error(file("'<c8'", false, "(1,)", &[0; 8])).contains("'<c8'"));
        assert!(error(file("'<U3'", false, "(1,)", &[0; 12])).contains("'<U3'"));
        assert!(error(file("'|O'", false, "(1,)", &[0; 8])).contains("'|O'"));
        assert!(error(file("'<f16'", false, "(1,)", &[0; 16])).contains("'f16'"));
        assert!(error(file("[('a', '<f4')]", false, "(1,)", &[0; 4])).contains("structured"));
        assert!(error(file("'<f4'", false, "(3,)", &[0; 8])).contains("cut off: 12 bytes"));
        assert!(error(file("'<f4'", false, "(-3,)", &[0; 8])).contains("no 'shape'"));
        let huge = file("'<f4'", false, "(4294967296, 4294967296, 2)", &[0; 8]);
        assert!(error(huge).contains("larger than any file"));
        assert!(error(file("'<f4'", false, "(9000000000000,)", &[0; 8])).contains("cut off"));
        let long = [b"\x93NUMPY\x02\x00".as_slice(), &u32::MAX.to_le_bytes(), &[0; 64]].concat();
        assert!(error(long).contains("claims 4294967295 bytes"));
        let whole = file("'<f4'", false, "(2,)", &[0; 8]);
        for cut in 0..whole.len() {
            error(whole[..cut].to_vec());
        }
    }
}
