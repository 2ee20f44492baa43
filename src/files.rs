//! Files that appear whole or not at all, and the time that they are stamped with.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The time that files are stamped with: seconds since 1970.
#[cfg(any(feature = "plot", feature = "tensorboard"))]
pub(crate) fn now() -> f64 {
    use std::time::{SystemTime, UNIX_EPOCH};
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Writes a file under another name in the same folder, then gives it its name: whoever reads `path`
/// finds the old file or the new one, also when the machine stops half way.
///
/// # Errors
/// [`Error::Io`] when the system refuses; then the old file, if there is one, is as it was.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let unique = format!(".tmp{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(unique);
    let draft = path.with_file_name(name);
    let write = || -> io::Result<()> {
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        // The bytes must be on the disk before the name points to them.
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(|source| {
        // The first failure is the one to report.
        let _ = fs::remove_file(&draft);
        Error::io(path, source)
    })
}
