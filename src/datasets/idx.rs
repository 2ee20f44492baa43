//! IDX, the file format of MNIST: four bytes of type and rank, the dimensions, the bytes.
//!
//! Files may be compressed with gzip, whatever their name is. They are not trusted: nothing is
//! allocated on the word of a header, and no file unpacks to more than [`MAX_UNPACKED`] bytes.

use super::Split;
use super::origin::{Origin, cache_dir, locate};
use crate::error::{Context, Error, Result, ensure};
use flate2::read::GzDecoder;
use ndarray::{Array1, Array4, ArrayD, Axis, Dimension, Ix1, Ix3, IxDyn};
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};

/// The most bytes that a compressed file may unpack to (1 GiB; MNIST's largest takes 47 MB).
pub const MAX_UNPACKED: u64 = 1 << 30;

/// Deflate cannot shrink anything below this fraction of its size.
const BEST_RATIO: u64 = 1032;

/// Reads one IDX file of unsigned bytes, compressed or not, of any rank from 1 to 8.
///
/// ```no_run
/// let images = cornu::datasets::idx::read("examples/data/mnist/t10k-images-idx3-ubyte.gz")?;
/// assert_eq!(images.shape(), [10_000, 28, 28]);
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::Format`] (after the file's name) when it is
/// empty, cut off, damaged, too long, of another element type or no IDX file at all.
pub fn read(path: impl AsRef<Path>) -> Result<ArrayD<u8>> {
    let path = path.as_ref();
    let io = |error| Error::io(path, error);
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let size = file.get_ref().metadata().map_err(io)?.len();

    let mut start = [0; 2];
    let zipped = fill(&mut file, &mut start).map_err(io)? == 2 && start == [0x1f, 0x8b];
    file.rewind().map_err(io)?;
    let parsed = match zipped {
        true => parse(GzDecoder::new(file), size.saturating_mul(BEST_RATIO).min(MAX_UNPACKED)),
        false => parse(file, size),
    };
    match parsed {
        Ok(array) => Ok(array),
        Err(Fault::Format(text)) => Err(Error::Format(text)).at(|| path.display().to_string()),
        Err(Fault::Io(error)) => match error.kind() {
            // How flate2 reports a stream that is cut off or damaged.
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                Err(Error::Format(format!("the gzip stream is cut off or damaged ({error}); get the file again")))
                    .at(|| path.display().to_string())
            }
            _ => Err(io(error)),
        },
    }
}

/// Reads a folder of the four files that MNIST and the sets in its form consist of:
/// `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
/// `t10k-labels-idx1-ubyte`, each also with a dot (`train-images.idx3-ubyte`) or compressed (`.gz`).
///
/// Returns the training and the test part; the images may have any size.
///
/// # Errors
/// As [`read`]; also when a file is missing, is not of the expected rank, or when there are not as
/// many labels as images.
pub fn load(folder: impl AsRef<Path>) -> Result<(Split, Split)> {
    let part = |name: &str| {
        let (images, labels) =
            (find(folder.as_ref(), name, "images-idx3")?, find(folder.as_ref(), name, "labels-idx1")?);
        split(read(&images)?, read(&labels)?).at(|| format!("{} with {}", images.display(), labels.display()))
    };
    Ok((part("train")?, part("t10k")?))
}

/// The four files of a data set, as [`load`] wants them, and where to get them.
pub(super) struct Files(pub &'static [Origin; 4]);

impl Files {
    /// The images of size `height` x `width` and labels below `classes`, from a folder, else from the cache.
    pub fn load(&self, given: Option<&Path>, height: usize, width: usize, classes: u8) -> Result<(Split, Split)> {
        let folder = match given {
            Some(folder) if find(folder, "train", "images-idx3").is_ok() => folder.to_owned(),
            // What lies in the folder that was given is what is meant: errors are about that.
            Some(folder) if !(cfg!(feature = "download") || self.cached()) => folder.to_owned(),
            _ => {
                let places: Vec<PathBuf> = self.0.iter().map(|file| locate(None, file)).collect::<Result<_>>()?;
                places[0].parent().map(Path::to_path_buf).unwrap_or_default()
            }
        };
        let parts = load(&folder)?;
        check(&parts, &folder, height, width, classes)?;
        Ok(parts)
    }

    fn cached(&self) -> bool {
        let cache = cache_dir().map(|cache| cache.join(self.0[0].folder));
        cache.is_some_and(|folder| self.0.iter().all(|file| folder.join(file.file).is_file()))
    }
}

/// Checks that the images have this size and the labels are below `classes`.
pub(super) fn check(
    (train, test): &(Split, Split),
    place: &Path,
    height: usize,
    width: usize,
    classes: u8,
) -> Result<()> {
    for (part, split) in [("training", train), ("test", test)] {
        let found = &split.x.shape()[1..3];
        ensure!(
            found == [height, width],
            Format,
            "{}: the {part} images are {}x{}, expected {height}x{width}; for other sets use datasets::idx::load",
            place.display(),
            found[0],
            found[1]
        );
        ensure!(
            split.y.iter().all(|&label| label < classes),
            Format,
            "{}: there are {part} labels above {}; for sets with more classes use datasets::idx::load",
            place.display(),
            classes - 1
        );
    }
    Ok(())
}

/// Images and their labels as one part of a data set.
pub(super) fn split(images: ArrayD<u8>, labels: ArrayD<u8>) -> Result<Split> {
    let x: Array4<u8> = rank::<Ix3>(images, "images", "(samples, height, width)")?.insert_axis(Axis(3));
    let y: Array1<u8> = rank::<Ix1>(labels, "labels", "(samples,)")?;
    ensure!(x.len_of(Axis(0)) == y.len(), Format, "there are {} images but {} labels", x.len_of(Axis(0)), y.len());
    Ok(Split { x, y, full: 255 })
}

fn rank<D: Dimension>(array: ArrayD<u8>, what: &str, expected: &str) -> Result<ndarray::Array<u8, D>> {
    let found = format!("the {what} have shape {:?}, expected {expected}", array.shape());
    array.into_dimensionality().map_err(|_| Error::Format(found))
}

fn find(folder: &Path, part: &str, kind: &str) -> Result<PathBuf> {
    let dashed = format!("{part}-{kind}-ubyte");
    let dotted = format!("{part}-{}-ubyte", kind.replace('-', "."));
    let names = [&dashed, &dotted].map(|name| [name.clone(), format!("{name}.gz")]).concat();
    let found = names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let reason = format!("none of {} is there", names.join(", "));
        Error::io(folder, io::Error::new(ErrorKind::NotFound, reason))
    })
}

pub(super) enum Fault {
    Io(io::Error),
    Format(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

macro_rules! check {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(Fault::Format(format!($($message)+)));
        }
    };
}

/// Reads an IDX stream that holds at most `limit` bytes, and checks that it ends where it should.
pub(super) fn parse(mut source: impl Read, limit: u64) -> Result<ArrayD<u8>, Fault> {
    let mut magic = [0; 4];
    let found = fill(&mut source, &mut magic)?;
    check!(found > 0, "the file is empty, expected an IDX file");
    let [zero0, zero1, element, rank] = magic;
    check!(
        found == 4 && [zero0, zero1] == [0, 0] && (1..=8).contains(&rank),
        "not an IDX file: it starts with {:02x?}, expected 00 00 08 and a rank from 1 to 8",
        &magic[..found]
    );
    check!(element == 0x08, "the elements are of IDX type 0x{element:02x}, expected 0x08 (unsigned bytes)");

    let mut header = [0; 32];
    let header = &mut header[..4 * usize::from(rank)];
    check!(fill(&mut source, header)? == header.len(), "the file ends within its header of rank {rank}");
    let dims: Vec<usize> =
        header.chunks_exact(4).map(|d| u32::from_be_bytes([d[0], d[1], d[2], d[3]]) as usize).collect();
    let expected = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
    let room = limit.saturating_sub(4 + header.len() as u64);
    let expected = match expected {
        Some(n) if n <= room => n,
        _ => {
            return Err(Fault::Format(format!(
                "the header promises an array of shape {dims:?}, but the file can hold at most {room} bytes of it"
            )));
        }
    };

    // The vector grows with what really comes. One byte more is asked for, so that the end is seen
    // (and with it gzip's checksum is verified).
    let mut bytes = Vec::new();
    source.take(expected + 1).read_to_end(&mut bytes)?;
    check!(
        bytes.len() as u64 == expected,
        "the header promises {expected} bytes (shape {dims:?}), but {} follow",
        if bytes.len() as u64 > expected { "more".to_owned() } else { bytes.len().to_string() }
    );
    bytes.shrink_to_fit();
    let shape = format!("the file's shape {dims:?} is too large");
    ArrayD::from_shape_vec(IxDyn(&dims), bytes).map_err(|_| Fault::Format(shape))
}

/// Reads until `buffer` is full or the source ends; returns the number of bytes read.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::fs;
    use std::io::Write;

    fn idx(dims: &[u32], bytes: &[u8]) -> Vec<u8> {
        let header = [0, 0, 8, dims.len() as u8].into_iter().chain(dims.iter().flat_map(|d| d.to_be_bytes()));
        header.chain(bytes.iter().copied()).collect()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The error of reading a file with this content.
    fn refusal(content: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad-file");
        fs::write(&path, content).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error.root(), Error::Format(_)), "{error:?}");
        assert!(error.to_string().contains("bad-file"), "{error}");
        error.to_string()
    }

    #[test]
    fn a_good_file_is_read_compressed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..24).collect();
        let good = idx(&[4, 3, 2], &bytes);
        for content in [good.clone(), gz(&good)] {
            fs::write(&path, content).unwrap();
            let array = read(&path).unwrap();
            assert_eq!(array.shape(), [4, 3, 2]);
            assert_eq!(array.as_slice(), Some(bytes.as_slice()));
        }
        fs::write(&path, idx(&[0, 28, 28], &[])).unwrap();
        assert_eq!(read(&path).unwrap().shape(), [0, 28, 28]);
        assert!(matches!(read(folder.path().join("none")), Err(Error::Io { .. })));
    }

    #[test]
    fn foreign_files_are_refused() {
        assert!(refusal(b"").contains("empty"));
        assert!(refusal(b"<!DOCTYPE html><p>404").contains("not an IDX file"));
        assert!(refusal(&[0]).contains("not an IDX file"));
        assert!(refusal(&gz(b"hello, world")).contains("not an IDX file"));
        assert!(refusal(&gz(b"")).contains("empty"));
        assert!(refusal(&[0, 0, 8, 0]).contains("rank"));
        assert!(refusal(&[0, 0, 8, 9]).contains("rank"));
        assert!(refusal(&[0, 0, 0x0d, 1, 0, 0, 0, 0]).contains("0x0d"));
        assert!(refusal(&[0, 0, 8, 3, 0, 0, 0]).contains("header"));
    }

    #[test]
    fn cut_or_damaged_files_are_refused() {
        // Bytes without a pattern, so that the compressed file is long and can be cut anywhere.
        let noise: Vec<u8> = (0..10_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let good = idx(&[100, 10, 10], &noise);
        assert!(refusal(&good[..good.len() - 1]).contains("at most 9999 bytes"));
        assert!(refusal(&[good.as_slice(), &[0]].concat()).contains("more"));
        let zipped = gz(&good);
        for length in [5, 12, 500, zipped.len() - 9, zipped.len() - 1] {
            assert!(refusal(&zipped[..length]).contains("cut off or damaged"), "length {length}");
        }
        let mut flipped = zipped.clone();
        let at = flipped.len() - 5; // within gzip's checksum
        flipped[at] ^= 1;
        assert!(refusal(&flipped).contains("cut off or damaged"));
    }

    #[test]
    fn a_header_that_lies_costs_no_memory() {
        let huge = [1 << 31, 1 << 31, 1 << 31];
        assert!(refusal(&idx(&huge, &[1, 2, 3])).contains("promises"), "overflow");
        assert!(refusal(&idx(&huge[..1], &[1, 2, 3])).contains("at most 3 bytes"));
        assert!(refusal(&gz(&idx(&huge[..1], &[1, 2, 3]))).contains("promises"));
        // A product of 0 hides large factors, which do not fit an array.
        assert!(refusal(&idx(&[0, u32::MAX, u32::MAX, u32::MAX], &[])).contains("too large"));
        // A bomb unpacks no further than one byte beyond its header's promise.
        let bomb = gz(&idx(&[1000], &vec![0; 1 << 24]));
        assert!(refusal(&bomb).contains("more"));
    }

    fn folder_with(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    #[test]
    fn folders_are_read_in_every_spelling() {
        let folder = folder_with(&[
            ("train-images-idx3-ubyte", idx(&[2, 1, 2], &[0, 51, 255, 102])),
            ("train-labels.idx1-ubyte", idx(&[2], &[7, 8])),
            ("t10k-images.idx3-ubyte.gz", gz(&idx(&[1, 1, 2], &[1, 2]))),
            ("t10k-labels-idx1-ubyte.gz", gz(&idx(&[1], &[3]))),
        ]);
        let (train, test) = load(folder.path()).unwrap();
        assert_eq!((train.x.shape(), train.y.to_vec()), ([2, 1, 2, 1].as_slice(), vec![7, 8]));
        assert_eq!(train.x_f32().into_raw_vec_and_offset().0, [0.0, 0.2, 1.0, 0.4]);
        assert_eq!((test.len(), test.is_empty(), test.y.to_vec()), (1, false, vec![3]));
        let refused = |height, width, classes| {
            let parts = load(folder.path()).unwrap();
            check(&parts, folder.path(), height, width, classes).unwrap_err().to_string()
        };
        let error = refused(28, 28, 10);
        assert!(error.contains("training images are 1x2, expected 28x28"), "{error}");
        let error = refused(1, 2, 8);
        assert!(error.contains("training labels above 7"), "{error}");
    }

    #[test]
    fn folders_that_do_not_fit_together_are_refused() {
        let images = ("train-images-idx3-ubyte", idx(&[2, 1, 1], &[0, 1]));
        let missing = folder_with(std::slice::from_ref(&images));
        let error = load(missing.path()).unwrap_err();
        assert!(matches!(error, Error::Io { .. }));
        assert!(error.to_string().contains("train-labels.idx1-ubyte.gz"), "{error}");

        let mismatch = folder_with(&[images.clone(), ("train-labels-idx1-ubyte", idx(&[3], &[1, 2, 3]))]);
        let error = load(mismatch.path()).unwrap_err();
        assert!(matches!(error.root(), Error::Format(_)));
        assert!(error.to_string().contains("2 images but 3 labels"), "{error}");
        assert!(error.to_string().contains("train-labels-idx1-ubyte"), "{error}");

        let swapped =
            folder_with(&[("train-images-idx3-ubyte", idx(&[2], &[0, 1])), ("train-labels-idx1-ubyte", images.1)]);
        let error = load(swapped.path()).unwrap_err().to_string();
        assert!(error.contains("the images have shape [2]"), "{error}");
    }
}
