//! Where a data set's files lie: in a folder given, in a cache, or still on the network.

use crate::error::{Error, Result};
use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

/// A file as its authors publish it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "download"), allow(dead_code))]
pub(super) struct Origin {
    /// The folder in the cache.
    pub folder: &'static str,
    pub file: &'static str,
    /// With or, if it ends in `/`, without the file's name.
    pub url: &'static str,
    pub checksum: Checksum,
}

impl Origin {
    fn address(&self) -> String {
        if self.url.ends_with('/') { format!("{}{}", self.url, self.file) } else { self.url.to_owned() }
    }
}

/// The published sum of a file's bytes, in hexadecimal digits.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "download"), allow(dead_code))]
pub(super) enum Checksum {
    Md5(&'static str),
    Sha256(&'static str),
}

/// The folder that downloaded data sets are kept in: `CORNU_DATA`, or the folder `cornu/datasets` where the system keeps
/// caches. None if the system does not say where that is.
pub fn cache_dir() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = variable("CORNU_DATA") {
        return Some(folder);
    }
    let caches = match cfg!(windows) {
        true => variable("LOCALAPPDATA"),
        false => variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache"))),
    };
    Some(caches?.join("cornu").join("datasets"))
}

/// Where a file of this origin lies: in `given`, in the cache, or in the cache after it was downloaded.
pub(super) fn locate(given: Option<&Path>, origin: &Origin) -> Result<PathBuf> {
    let cached = cache_dir().map(|cache| cache.join(origin.folder));
    let places = given.map(Path::to_path_buf).into_iter().chain(cached.clone());
    if let Some(path) = places.map(|folder| folder.join(origin.file)).find(|path| path.is_file()) {
        return Ok(path);
    }
    #[cfg(feature = "download")]
    if let Some(folder) = cached {
        let path = folder.join(origin.file);
        super::download::download(&origin.address(), &path, origin.checksum)?;
        return Ok(path);
    }
    let places: Vec<String> = given.into_iter().map(|path| path.display().to_string()).chain(cached_text()).collect();
    let how = match cfg!(feature = "download") {
        true => "the environment variable CORNU_DATA names a folder to download it to",
        false => "the feature `download` fetches it",
    };
    let reason = format!("'{}' is not there; get it from {}, or {how}", origin.file, origin.address());
    Err(Error::io(places.join(" or "), IoError::new(ErrorKind::NotFound, reason)))
}

fn cached_text() -> Option<String> {
    Some(cache_dir()?.display().to_string())
}
