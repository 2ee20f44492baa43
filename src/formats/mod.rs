//! Models as files: architecture, weights, compile settings and the state of training.
//!
//! | file | holds | written by | read by |
//! |---|---|---|---|
//! | `.cornu` | all of it, to the last bit | [`Model::save`] | [`Model::load`] |
//! | `.cornu` | weights alone | [`Model::save_weights`] | [`Model::load_weights`] |
//! | `.keras` | all but the seed, for Keras 3 in Python | [`Model::save`] | [`Model::load`] |
//! | `.weights.h5` | weights alone, for Keras 3 in Python | [`Model::save_weights`] | [`Model::load_weights`] |
//! | `.h5` | models and weights of before Keras 3 | | [`Model::load`], [`Model::load_weights`] |
//! | `.safetensors` | weights alone, by path | [`Model::save_weights`] | [`Model::load_weights`] |
//!
//! The files of Keras need the feature `keras`, which is on by default, and `.safetensors` the feature
//! `safetensors`. Weights that fit in part, by name, or that come from PyTorch are read with
//! [`Model::load_weights_with`]; [`inspect`] tells what a file holds.
//!
//! A file that is loaded gives the whole model or an error, and one that is saved appears whole or
//! not at all: what stood there before stays until the new file is complete. Files are data, never
//! code: they can only name classes that are built in or that the [`Registry`] knows.

mod inspect;
#[cfg(feature = "keras")]
mod keras;
mod load_weights;
mod native;
#[cfg(feature = "safetensors")]
mod safetensors;

pub use inspect::{Contents, StoredArray, inspect};
pub use load_weights::{LoadWeights, Skipped};

use crate::config::Registry;
use crate::error::{Context, Error, Result};
use crate::model::{Model, Sequential};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// How [`Model::load_with`] reads a file.
///
/// ```no_run
/// use cornu::{Registry, formats::Load, prelude::*};
/// # struct Square;
/// # impl SimpleLayer for Square {
/// #     fn forward(&self, x: &Tensor) -> Result<Tensor> { Ok(x.clone()) }
/// #     fn backward(&self, _: &Tensor, _: &Tensor, g: Tensor) -> Result<Tensor> { Ok(g) }
/// # }
/// # impl<'de> serde::Deserialize<'de> for Square {
/// #     fn deserialize<D: serde::Deserializer<'de>>(_: D) -> std::result::Result<Self, D::Error> { Ok(Square) }
/// # }
/// // A layer of one's own, and no need for the loss that the model was trained with.
/// let known = Registry::new().register::<Box<dyn Layer>, Square>("Square");
/// let model = Model::load_with("model.cornu", Load::new().registry(known).compile(false))?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Load {
    registry: Registry,
    compile: bool,
}

impl Default for Load {
    fn default() -> Self {
        Load { registry: Registry::new(), compile: true }
    }
}

impl Load {
    /// The defaults: built-in classes alone, compiled if the saved model was.
    pub fn new() -> Self {
        Self::default()
    }

    /// Classes of one's own (Keras: `custom_objects`).
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Whether compile settings and the state of training are taken too. Without them the model can
    /// predict, and be compiled anew.
    pub fn compile(mut self, compile: bool) -> Self {
        self.compile = compile;
        self
    }
}

impl From<&Registry> for Load {
    fn from(registry: &Registry) -> Self {
        Load::new().registry(registry.clone())
    }
}

/// The kinds of files.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Native,
    Keras,
    Hdf5,
    Safetensors,
}

impl Kind {
    /// The kind that an extension asks for.
    fn to_write(path: &Path) -> Result<Kind> {
        match path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).as_deref() {
            Some("cornu") => Ok(Kind::Native),
            Some("keras") => Ok(Kind::Keras),
            Some("h5") => Ok(Kind::Hdf5),
            Some("safetensors") => Ok(Kind::Safetensors),
            _ => Err(Error::Argument(
                "the extension says what kind of file is written; known are .cornu (cornu's own), .keras (a model \
                 for Keras 3), .weights.h5 (weights for Keras 3) and .safetensors (weights)"
                    .to_owned(),
            )),
        }
    }

    /// The kind that the first bytes of a file tell, whatever its name is.
    fn to_read(path: &Path) -> Result<Kind> {
        let io = |source| Error::io(path, source);
        let mut start = Vec::new();
        File::open(path).map_err(io)?.take(9).read_to_end(&mut start).map_err(io)?;
        match start.as_slice() {
            [0x89, b'c', b'o', b'r', b'n', b'u', ..] => Ok(Kind::Native),
            [b'P', b'K', ..] => Ok(Kind::Keras),
            [0x89, b'H', b'D', b'F', ..] => Ok(Kind::Hdf5),
            // The length of the header, then the header, which is JSON.
            [_, _, _, _, _, _, _, 0, b'{'] => Ok(Kind::Safetensors),
            _ => Err(Error::Format(
                "this is no model: it starts neither as a .cornu file, nor as a .keras archive, nor as HDF5 or \
                 .safetensors"
                    .to_owned(),
            )),
        }
    }
}

#[cfg(not(feature = "keras"))]
fn no_keras<T>() -> Result<T> {
    Err(Error::Argument("files of Keras need cornu's feature 'keras', which this program was built without".to_owned()))
}

#[cfg(not(feature = "safetensors"))]
fn no_safetensors<T>() -> Result<T> {
    Err(Error::Argument(
        "a .safetensors file needs cornu's feature 'safetensors', which this program was built without".to_owned(),
    ))
}

impl Model {
    /// Saves all that is needed to use the model and to go on training it as if it had never stopped:
    /// architecture, weights, compile settings, the optimizer's state and the model's seed. The
    /// extension names the format (see [`formats`](crate::formats)).
    ///
    /// ```
    /// use cornu::prelude::*;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("model.cornu");
    /// let mut model = Sequential::new();
    /// model.add(Input::new([4])).add(Dense::new(1));
    /// model.compile("adam", "mse", ())?;
    /// model.save(&path)?;
    /// let same = Sequential::load(&path)?;
    /// assert_eq!(same.get_weights(), model.get_weights());
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the extension is unknown, something of the model has no configuration
    /// ([`Error::NotSerializable`]) or the file cannot be written. Then an older file stays as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let save = || {
            match Kind::to_write(path)? {
            Kind::Native => native::save(self, path),
            #[cfg(feature = "keras")]
            Kind::Keras => keras::save(self, path),
            #[cfg(not(feature = "keras"))]
            Kind::Keras => no_keras(),
            Kind::Hdf5 => Err(Error::Argument(
                "an .h5 file is written for weights alone, by save_weights; save the model as .keras".to_owned(),
            )),
            Kind::Safetensors => Err(Error::Argument(
                "a .safetensors file holds weights alone, which save_weights writes; save the model as .keras or .cornu"
                    .to_owned(),
            )),
        }
        };
        save().in_file(path)
    }

    /// Loads a model that was saved, with what was saved of it. What kind of file it is, its first
    /// bytes tell.
    ///
    /// # Errors
    /// When the file cannot be read, is none of the known kinds, is damaged, or names a class that is
    /// unknown here (see [`load_with`](Self::load_with)).
    pub fn load(path: impl AsRef<Path>) -> Result<Model> {
        Self::load_with(path, Load::new())
    }

    /// As [`load`](Self::load), with classes of one's own (a [`Registry`]) or other options ([`Load`]).
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(path: impl AsRef<Path>, options: impl Into<Load>) -> Result<Model> {
        let (path, options) = (path.as_ref(), options.into());
        let load = || match Kind::to_read(path)? {
            Kind::Native => native::load(path, options.compile),
            #[cfg(feature = "keras")]
            Kind::Keras => keras::load(path, options.compile),
            #[cfg(feature = "keras")]
            Kind::Hdf5 => keras::load_h5(path, options.compile),
            #[cfg(not(feature = "keras"))]
            Kind::Keras | Kind::Hdf5 => no_keras(),
            Kind::Safetensors => Err(Error::Format(
                "the file holds weights alone: build the model, then call its load_weights".to_owned(),
            )),
        };
        options.registry.scope(load).in_file(path)
    }

    /// Saves the weights alone.
    ///
    /// # Errors
    /// As [`save`](Self::save); also when the model is not built.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let save = || match Kind::to_write(path)? {
            Kind::Native => native::save_weights(self, path),
            #[cfg(feature = "keras")]
            Kind::Hdf5 => keras::save_weights(self, path),
            #[cfg(not(feature = "keras"))]
            Kind::Hdf5 => no_keras(),
            #[cfg(feature = "safetensors")]
            Kind::Safetensors => safetensors::save_weights(self, path),
            #[cfg(not(feature = "safetensors"))]
            Kind::Safetensors => no_safetensors(),
            Kind::Keras => Err(Error::Argument(
                "a .keras file holds a whole model; save weights alone as .weights.h5 or .cornu".to_owned(),
            )),
        };
        save().in_file(path)
    }

    /// Loads weights into this model, from a file of weights or of a whole model. In a `.cornu` file
    /// they must have the same paths and shapes; in Keras' files the layers are told by their classes
    /// and their order, as Keras does.
    ///
    /// # Errors
    /// When the model is not built, the file is damaged or its weights are not this model's; then no
    /// weight is changed.
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.load_weights_with(path, LoadWeights::new()).map(drop)
    }

    /// As [`load_weights`](Self::load_weights), where not everything must fit (Keras: `by_name` and
    /// `skip_mismatch`), or from PyTorch; see [`LoadWeights`]. Returns what was left as it was.
    ///
    /// # Errors
    /// As [`load_weights`](Self::load_weights), for what may not be skipped.
    pub fn load_weights_with(&mut self, path: impl AsRef<Path>, options: LoadWeights) -> Result<Vec<Skipped>> {
        let path = path.as_ref();
        let mut load = || match Kind::to_read(path)? {
            Kind::Native => native::load_weights(self, path, &options),
            #[cfg(feature = "keras")]
            Kind::Keras => keras::load_weights(self, path, &options),
            #[cfg(feature = "keras")]
            Kind::Hdf5 => keras::load_weights_h5(self, path, &options),
            #[cfg(not(feature = "keras"))]
            Kind::Keras | Kind::Hdf5 => no_keras(),
            #[cfg(feature = "safetensors")]
            Kind::Safetensors => safetensors::load_weights(self, path, &options),
            #[cfg(not(feature = "safetensors"))]
            Kind::Safetensors => no_safetensors(),
        };
        load().in_file(path)
    }
}

impl Sequential {
    /// Loads a model that was saved; see [`Model::load`].
    ///
    /// # Errors
    /// Those of [`Model::load`].
    pub fn load(path: impl AsRef<Path>) -> Result<Sequential> {
        Model::load(path).map(Into::into)
    }

    /// Loads a model with classes of one's own or other options; see [`Model::load_with`].
    ///
    /// # Errors
    /// Those of [`Model::load`].
    pub fn load_with(path: impl AsRef<Path>, options: impl Into<Load>) -> Result<Sequential> {
        Model::load_with(path, options).map(Into::into)
    }
}
