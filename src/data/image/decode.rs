//! Files of images, opened: of which kinds, and how large they may be.

use crate::error::{Error, Result, ensure};
use image::{ImageDecoder, ImageFormat, ImageReader, Limits};
use std::fmt::Display;
use std::io::Cursor;
use std::path::Path;

/// The bytes of a file, at most `most` of them, as the argument `limit` says.
pub(crate) fn file(path: &Path, most: u64, limit: &str) -> Result<Vec<u8>> {
    let size = std::fs::metadata(path).map_err(|source| Error::io(path, source))?.len();
    ensure!(size <= most, Data, "it has {size} bytes, more than the limit of {most} ({limit})");
    std::fs::read(path).map_err(|source| Error::io(path, source))
}

/// A decoder of a PNG, JPEG or BMP file that takes about `most` bytes at most.
pub(crate) fn decoder(bytes: &[u8], most: u64) -> Result<impl ImageDecoder + '_> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|error| damaged(&error))?;
    let format = reader.format();
    ensure!(
        matches!(format, Some(ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Bmp)),
        Format,
        "it starts neither as a PNG nor as a JPEG or BMP image{}",
        if format == Some(ImageFormat::Gif) { "; GIF is not read, convert it to PNG" } else { "" }
    );
    // The decoder fills up what is missing with grey.
    if format == Some(ImageFormat::Jpeg) && !jpeg_is_whole(bytes) {
        return Err(damaged(&"it is cut off"));
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(most);
    reader.limits(limits);
    reader.into_decoder().map_err(|error| damaged(&error))
}

/// What is wrong with a file.
pub(crate) fn damaged(error: &dyn Display) -> Error {
    Error::Format(format!("the image cannot be read: {error}"))
}

/// Whether a JPEG file comes to its end: marker by marker to the one that says so.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // Between an `ff` and the marker there may be more of them; data holds `ff 00`, and `ff d0` to `ff d7`.
        while bytes.get(at).is_some_and(|&byte| byte != 0xff) {
            at += 1;
        }
        while bytes.get(at) == Some(&0xff) {
            at += 1;
        }
        match bytes.get(at) {
            None => return false,
            Some(0xd9) => return true,
            Some(0x00 | 0x01 | 0xd0..=0xd8) => at += 1,
            Some(_) => match bytes.get(at + 1..at + 3) {
                Some(&[high, low]) => at += 1 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
        }
    }
}
