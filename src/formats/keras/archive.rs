//! The zip around a Keras model.

use crate::error::{Error, Result, ensure};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// What members may have together: this many times the archive's size, and a little more.
const MOST_EXPANSION: u64 = 64;
const ALWAYS_ALLOWED: u64 = 16 << 20;
const MOST_MEMBERS: usize = 10_000;

/// The members of an archive by name.
pub(super) fn read(path: &Path) -> Result<HashMap<String, Vec<u8>>> {
    let io = |source| Error::io(path, source);
    let damaged = |error: zip::result::ZipError| Error::Format(format!("the archive cannot be read: {error}"));
    let file = File::open(path).map_err(io)?;
    let mut left = file.metadata().map_err(io)?.len().saturating_mul(MOST_EXPANSION).saturating_add(ALWAYS_ALLOWED);
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    ensure!(archive.len() <= MOST_MEMBERS, Format, "the archive has {} members; no model has so many", archive.len());
    let mut members = HashMap::new();
    for i in 0..archive.len() {
        let member = archive.by_index(i).map_err(damaged)?;
        let name = member.name().map_err(damaged)?.into_owned();
        let mut bytes = Vec::new();
        // What unpacks to more than it should shows by the byte after the limit.
        let read = member.take(left.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| Error::Format(format!("member '{name}' of the archive cannot be read: {error}")))?;
        left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            Error::Format(format!("the archive unpacks to more than {MOST_EXPANSION} times its size; that is no model"))
        })?;
        members.insert(name, bytes);
    }
    Ok(members)
}

/// An archive as Keras writes it: nothing is compressed.
pub(super) fn write(members: &[(&str, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let mut write = || -> zip::result::ZipResult<()> {
        for (name, bytes) in members {
            let large = bytes.len() as u64 >= u64::from(u32::MAX);
            let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
            archive.start_file(*name, options)?;
            archive.write_all(bytes)?;
        }
        Ok(())
    };
    let failed = |error: zip::result::ZipError| Error::Format(format!("the archive cannot be written: {error}"));
    write().map_err(failed)?;
    Ok(archive.finish().map_err(failed)?.into_inner())
}
