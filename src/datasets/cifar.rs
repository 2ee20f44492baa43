//! The binary files of CIFAR-10 and CIFAR-100: records of labels and a 32x32 image, channel by channel.
//!
//! Keras downloads the version for Python, which is a pickle; this is the authors' own other version, with the same
//! images and labels in the same order.

use super::Split;
use super::origin::{Checksum, Origin, locate};
use crate::error::{Context, Error, Result, ensure};
use flate2::read::GzDecoder;
use ndarray::{Array1, Array4};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Bytes of an image.
const IMAGE: usize = 32 * 32 * 3;
/// No file of the sets has more: 50,000 records.
const LARGEST: u64 = 50_000 * (IMAGE as u64 + 2);

/// One of the two sets.
pub(super) struct Cifar {
    pub archive: Origin,
    /// The folder that the archive unpacks to.
    pub folder: &'static str,
    pub train: &'static [&'static str],
    pub test: &'static str,
    /// The number of classes that each label of a record tells apart.
    pub labels: &'static [u8],
}

pub(super) const CIFAR10: Cifar = Cifar {
    archive: Origin {
        folder: "cifar10",
        file: "cifar-10-binary.tar.gz",
        url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        checksum: Checksum::Md5("c32a1d4ab5d03f1284b67883e8d87530"),
    },
    folder: "cifar-10-batches-bin",
    train: &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"],
    test: "test_batch.bin",
    labels: &[10],
};

pub(super) const CIFAR100: Cifar = Cifar {
    archive: Origin {
        folder: "cifar100",
        file: "cifar-100-binary.tar.gz",
        url: "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
        checksum: Checksum::Md5("03b5dce01913d631647c71ecec9e9cb8"),
    },
    folder: "cifar-100-binary",
    train: &["train.bin"],
    test: "test.bin",
    labels: &[20, 100],
};

impl Cifar {
    /// The training and the test part, with label number `label` of each record.
    pub fn load(&self, given: Option<&Path>, label: usize) -> Result<(Split, Split)> {
        let names: Vec<&str> = self.train.iter().copied().chain([self.test]).collect();
        let unpacked = given.and_then(|given| self.unpacked(given, &names));
        let files = match unpacked {
            Some(paths) => {
                let read = |path: &PathBuf| {
                    let file = File::open(path).map_err(|source| Error::io(path, source))?;
                    records(file).at(|| format!("file '{}'", path.display()))
                };
                paths.iter().map(read).collect::<Result<Vec<_>>>()?
            }
            None => {
                let path = locate(given, &self.archive)?;
                let file = File::open(&path).map_err(|source| Error::io(&path, source))?;
                from_archive(GzDecoder::new(BufReader::new(file)), &names)
                    .at(|| format!("file '{}'", path.display()))?
            }
        };
        let part = |files: &[Vec<u8>], names: &[&str]| {
            self.split(&files.concat(), label).at(|| format!("{} of {}", names.join(", "), self.folder))
        };
        let (train, test) = (files.len() - 1, names.len() - 1);
        Ok((part(&files[..train], &names[..test])?, part(&files[train..], &names[test..])?))
    }

    /// The files in the folder or in the one that the archive makes there, if they all are.
    fn unpacked(&self, given: &Path, names: &[&str]) -> Option<Vec<PathBuf>> {
        let folders = [given.to_path_buf(), given.join(self.folder)];
        let paths = folders.map(|folder| names.iter().map(|name| folder.join(name)).collect::<Vec<_>>());
        paths.into_iter().find(|paths| paths.iter().all(|path| path.is_file()))
    }

    fn split(&self, bytes: &[u8], label: usize) -> Result<Split> {
        let size = self.labels.len() + IMAGE;
        ensure!(
            !bytes.is_empty() && bytes.len().is_multiple_of(size),
            Format,
            "{} bytes are no whole number of records of {size}",
            bytes.len()
        );
        let records = bytes.chunks_exact(size);
        let y: Array1<u8> = records.clone().map(|record| record[label]).collect();
        let classes = self.labels[label];
        if let Some(i) = y.iter().position(|&y| y >= classes) {
            return Err(Error::Format(format!("record {i} has the label {}, expected one below {classes}", y[i])));
        }
        let mut x = Vec::with_capacity(y.len() * IMAGE);
        for record in records {
            let image = &record[self.labels.len()..];
            // All of red, of green, of blue: pixel by pixel they are what a model reads.
            x.extend((0..IMAGE).map(|i| image[i % 3 * 1024 + i / 3]));
        }
        let shape = |error: ndarray::ShapeError| Error::Format(error.to_string());
        Ok(Split { x: Array4::from_shape_vec((y.len(), 32, 32, 3), x).map_err(shape)?, y, full: 255 })
    }
}

fn records(source: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(LARGEST + 1).read_to_end(&mut bytes).map_err(damaged)?;
    ensure!(bytes.len() as u64 <= LARGEST, Format, "it has more than the {LARGEST} bytes of the largest file");
    Ok(bytes)
}

fn damaged(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::InvalidInput => {
            Error::Format(format!("the archive is cut off or damaged ({error}); get it again"))
        }
        _ => Error::Data(error.to_string()),
    }
}

/// The files of these names in a tar archive, whatever folder they are in there, in the order of the names.
fn from_archive(mut source: impl Read, names: &[&str]) -> Result<Vec<Vec<u8>>> {
    let mut found: Vec<Option<Vec<u8>>> = vec![None; names.len()];
    let mut header = [0u8; 512];
    // Each file is a header of 512 bytes and its content, filled up to a multiple of that; zeros come at the end.
    while found.iter().any(Option::is_none) {
        source.read_exact(&mut header).map_err(damaged)?;
        if header.iter().all(|&byte| byte == 0) {
            break;
        }
        let text = |field: &[u8]| String::from_utf8_lossy(field).trim_matches(['\0', ' ']).to_owned();
        let size = u64::from_str_radix(&text(&header[124..136]), 8).ok().filter(|&size| size <= LARGEST);
        let size = size.ok_or_else(|| Error::Format("it is no archive of this data set".to_owned()))?;
        let path = text(&header[..100]);
        let place = names.iter().position(|name| path.rsplit('/').next() == Some(*name));
        let mut content = (&mut source).take(size.next_multiple_of(512));
        match place {
            Some(place) => {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes).map_err(damaged)?;
                ensure!(bytes.len() as u64 >= size, Format, "the archive is cut off in '{path}'; get it again");
                bytes.truncate(size as usize);
                found[place] = Some(bytes);
            }
            None => drop(std::io::copy(&mut content, &mut std::io::sink()).map_err(damaged)?),
        }
    }
    let missing = || names.iter().zip(&found).filter(|(_, file)| file.is_none()).map(|(name, _)| *name);
    let text = missing().collect::<Vec<_>>().join(", ");
    found.into_iter().collect::<Option<_>>().ok_or_else(|| Error::Format(format!("the archive has no {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    /// A record whose pixels tell their place and channel.
    fn record(labels: &[u8]) -> Vec<u8> {
        let pixels = (0..IMAGE).map(|i| (i / 1024 * 80 + i % 1024 / 32 + i % 32) as u8);
        labels.iter().copied().chain(pixels).collect()
    }

    fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (name, content) in files {
            let mut header = [0u8; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
            archive.extend(header);
            archive.extend(*content);
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
        archive.extend([0; 1024]);
        let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
        zipped.write_all(&archive).unwrap();
        zipped.finish().unwrap()
    }

    fn ten() -> Vec<(String, Vec<u8>)> {
        let names = CIFAR10.train.iter().chain([&CIFAR10.test]).enumerate();
        names.map(|(i, name)| ((*name).to_owned(), [record(&[i as u8]), record(&[9 - i as u8])].concat())).collect()
    }

    #[test]
    fn files_and_archives_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let check = |given: &Path| {
            let (train, test) = CIFAR10.load(Some(given), 0).unwrap();
            assert_eq!((train.x.dim(), test.x.dim()), ((10, 32, 32, 3), (2, 32, 32, 3)));
            assert_eq!(train.y.to_vec(), [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]);
            assert_eq!(test.y.to_vec(), [5, 4]);
            assert_eq!(train.x.slice(ndarray::s![3, 2, 7, ..]).to_vec(), [9, 89, 169]);
        };
        let archive = folder.path().join("archive");
        std::fs::create_dir_all(&archive).unwrap();
        let files: Vec<(String, Vec<u8>)> =
            ten().into_iter().rev().map(|(name, bytes)| (format!("cifar-10-batches-bin/{name}"), bytes)).collect();
        let mut listed: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (&name[..], &bytes[..])).collect();
        listed.insert(1, ("cifar-10-batches-bin/readme.html", b"<html>"));
        let zipped = tar(&listed);
        std::fs::write(archive.join(CIFAR10.archive.file), &zipped).unwrap();
        check(&archive);
        let unpacked = folder.path().join("unpacked").join(CIFAR10.folder);
        std::fs::create_dir_all(&unpacked).unwrap();
        ten().iter().for_each(|(name, bytes)| std::fs::write(unpacked.join(name), bytes).unwrap());
        check(&unpacked);
        check(unpacked.parent().unwrap());

        // Cut off anywhere, or with a file too few.
        let says = |bytes: &[u8], text: &str| {
            std::fs::write(archive.join(CIFAR10.archive.file), bytes).unwrap();
            let error = CIFAR10.load(Some(&archive), 0).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("cifar-10-binary.tar.gz"), "{error}");
        };
        says(&zipped[..zipped.len() / 2], "cut off or damaged");
        says(b"", "cut off or damaged");
        says(b"<html>404</html>", "cut off or damaged");
        says(&tar(&listed[2..]), "has no test_batch.bin");
        says(&tar(&[("x", &b""[..])]), "has no data_batch_1.bin");
        std::fs::write(unpacked.join(CIFAR10.test), [1, 2, 3]).unwrap();
        assert!(CIFAR10.load(Some(&unpacked), 0).unwrap_err().to_string().contains("whole number of records"));
        std::fs::write(unpacked.join(CIFAR10.test), record(&[10])).unwrap();
        assert!(CIFAR10.load(Some(&unpacked), 0).unwrap_err().to_string().contains("label 10"));
    }

    #[test]
    fn cifar_100_has_two_labels() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("train.bin"), [record(&[19, 99]), record(&[3, 40])].concat()).unwrap();
        std::fs::write(folder.path().join("test.bin"), record(&[0, 1])).unwrap();
        let load = |label| CIFAR100.load(Some(folder.path()), label).unwrap();
        let ((fine, test), (coarse, _)) = (load(1), load(0));
        assert_eq!((fine.y.to_vec(), coarse.y.to_vec(), test.y.to_vec()), (vec![99, 40], vec![19, 3], vec![1]));
        assert_eq!(fine.x, coarse.x);
        assert_eq!(fine.x[[1, 0, 31, 2]], 160 + 31);
    }
}
