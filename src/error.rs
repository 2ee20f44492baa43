//! The one error type of the crate.

use std::path::{Path, PathBuf};

/// The result of everything in cornu that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, what was expected, what came, and what to do about it.
///
/// A user's mistake or a damaged file is always one of these, never a panic. The text of an error
/// starts with the place ("layer 'conv2d' (Conv2D): …") when there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An error with the place where it arose: a layer's path, a file, an argument.
    #[error("{place}: {source}")]
    At {
        /// The place, such as `layer 'conv2d' (Conv2D)`.
        place: String,
        /// What happened there.
        source: Box<Error>,
    },
    /// A shape that does not fit.
    #[error("{0}")]
    Shape(String),
    /// An argument whose value makes no sense.
    #[error("{0}")]
    Argument(String),
    /// A name that no built-in or registered class has.
    #[error("unknown {kind} '{name}'{}", did_you_mean(.nearest))]
    UnknownName {
        /// What was looked for: "layer", "loss", "optimizer", …
        kind: &'static str,
        /// The name as given.
        name: String,
        /// The known names that look most like it, best first.
        nearest: Vec<String>,
    },
    /// A call that came too early: before `build`, `compile` or `fit`.
    #[error("{0}")]
    State(String),
    /// Data that cannot be used: empty, of unequal lengths, labels out of range.
    #[error("{0}")]
    Data(String),
    /// A file that is not what it should be: foreign, truncated, damaged, too large.
    #[error("{0}")]
    Format(String),
    /// A gradient that is not the derivative of what it belongs to: see [`testing`](crate::testing).
    #[error("{0}")]
    Gradient(String),
    /// Something that cannot be saved because its author gave it no configuration.
    #[error("{0}")]
    NotSerializable(String),
    /// The operating system refused to read or write.
    #[error("file '{}': {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

fn did_you_mean(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("; did you mean {}?", names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ")),
    }
}

impl Error {
    /// The error of a name that is not among `known`, with the nearest ones of them.
    pub(crate) fn unknown_name<'a>(kind: &'static str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let wanted = name.to_lowercase();
        let mut scored: Vec<(f64, &str)> =
            known.into_iter().map(|known| (strsim::jaro_winkler(&wanted, &known.to_lowercase()), known)).collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        scored.dedup_by(|a, b| a.1 == b.1);
        let close: Vec<_> = scored.iter().filter(|(score, _)| *score > 0.7).take(3).collect();
        // Nothing similar: better some names than none.
        let shown = if close.is_empty() { scored.iter().take(5).collect() } else { close };
        Error::UnknownName {
            kind,
            name: name.to_owned(),
            nearest: shown.into_iter().map(|(_, name)| (*name).to_owned()).collect(),
        }
    }

    /// A failed read or write of `path`.
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io { path: path.into(), source }
    }

    /// This error without the places around it.
    ///
    /// ```
    /// use cornu::Error;
    /// let error = Error::At { place: "layer 'a'".into(), source: Box::new(Error::Shape("too small".into())) };
    /// assert!(matches!(error.root(), Error::Shape(_)));
    /// ```
    pub fn root(&self) -> &Error {
        match self {
            Error::At { source, .. } => source.root(),
            other => other,
        }
    }
}

/// Adds the place to an error on its way up.
pub(crate) trait Context<T> {
    /// Wraps the error, if there is one, in [`Error::At`].
    fn at(self, place: impl FnOnce() -> String) -> Result<T>;

    /// The same for a file; an error of the system names it already.
    fn in_file(self, path: &Path) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn at(self, place: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::At { place: place(), source: Box::new(source) })
    }

    fn in_file(self, path: &Path) -> Result<T> {
        match self {
            Err(Error::Io { path: named, source }) if named == path => Err(Error::Io { path: named, source }),
            other => other.at(|| format!("file '{}'", path.display())),
        }
    }
}

/// `return Err(...)` when `condition` does not hold: `ensure!(rate < 1.0, Argument, "rate is {rate}")`.
macro_rules! ensure {
    ($condition:expr, $kind:ident, $($message:tt)+) => {
        if !($condition) {
            return Err($crate::Error::$kind(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;
