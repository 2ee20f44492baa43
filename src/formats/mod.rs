//! Models as files: architecture, weights, compile settings and the state of training.
//!
//! | file | holds | written by | read by |
//! |---|---|---|---|
//! | `.cornu` | all of it, to the last bit | [`Model::save`] | [`Model::load`] |
//! | `.cornu` | weights alone | [`Model::save_weights`] | [`Model::load_weights`] |
//!
//! A file that is loaded gives the whole model or an error, and one that is saved appears whole or
//! not at all: what stood there before stays until the new file is complete. Files are data, never
//! code: they can only name classes that are built in or that the [`Registry`] knows.

mod native;

use crate::config::Registry;
use crate::error::{Context, Error, Result};
use crate::model::{Model, Sequential};
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

/// The kinds of files, told by extension where one is written and by their first bytes where one is
/// read.
enum Kind {
    Native,
}

impl Kind {
    fn to_write(path: &Path) -> Result<Kind> {
        match path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).as_deref() {
            Some("cornu") => Ok(Kind::Native),
            _ => Err(Error::Argument(
                "the extension says what kind of file is written; known are .cornu (native)".to_owned(),
            )),
        }
    }
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
        match Kind::to_write(path).at(place(path))? {
            Kind::Native => native::save(self, path).at(place(path)),
        }
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
        options.registry.scope(|| native::load(path, options.compile)).at(place(path))
    }

    /// Saves the weights alone.
    ///
    /// # Errors
    /// As [`save`](Self::save); also when the model is not built.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        match Kind::to_write(path).at(place(path))? {
            Kind::Native => native::save_weights(self, path).at(place(path)),
        }
    }

    /// Loads weights into this model: from a file of weights or of a whole model, whose weights must
    /// have the same paths and shapes.
    ///
    /// # Errors
    /// When the model is not built, the file is damaged or its weights are not this model's; then no
    /// weight is changed.
    pub fn load_weights(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        native::load_weights(self, path).at(place(path))
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

fn place(path: &Path) -> impl FnOnce() -> String {
    let path = path.display().to_string();
    move || format!("file '{path}'")
}
