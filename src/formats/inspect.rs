//! What a file holds, without making a model of it.

use super::Kind;
use crate::error::{Context, Result};
use serde_json::Value;
use std::path::Path;

/// What [`inspect`] found in a file.
#[derive(Clone, Debug)]
pub struct Contents {
    /// The kind of file, the version of its layout and who wrote it, as a line.
    pub format: String,
    /// The architecture, if there is one.
    pub config: Option<Value>,
    /// The compile settings, if there are any.
    pub compile: Option<Value>,
    /// Weights, then the optimizer's variables, in the order of the file.
    pub arrays: Vec<StoredArray>,
}

/// An array in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredArray {
    /// Where it stands in the file.
    pub path: String,
    /// The type of its values, as the file calls it.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// What a file of a model or of weights holds. Classes need not be known, since none is made.
///
/// ```
/// use cornu::prelude::*;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("model.cornu");
/// let mut model = Sequential::new();
/// model.add(Input::new([4])).add(Dense::new(3).name("hidden"));
/// model.build()?;
/// model.save(&path)?;
/// let contents = cornu::formats::inspect(&path)?;
/// assert_eq!((contents.arrays[0].path.as_str(), contents.arrays[0].shape.as_slice()), ("hidden/kernel", &[4, 3][..]));
/// assert!(contents.config.is_some() && contents.compile.is_none());
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When the file cannot be read, is none of the known kinds or is damaged.
pub fn inspect(path: impl AsRef<Path>) -> Result<Contents> {
    let path = path.as_ref();
    let read = || match Kind::to_read(path)? {
        Kind::Native => super::native::inspect(path),
        #[cfg(feature = "keras")]
        Kind::Keras => super::keras::inspect(path),
        #[cfg(feature = "keras")]
        Kind::Hdf5 => super::keras::inspect_h5(path),
        #[cfg(not(feature = "keras"))]
        Kind::Keras | Kind::Hdf5 => super::no_keras(),
        #[cfg(feature = "safetensors")]
        Kind::Safetensors => super::safetensors::inspect(path),
        #[cfg(not(feature = "safetensors"))]
        Kind::Safetensors => super::no_safetensors(),
    };
    read().in_file(path)
}
