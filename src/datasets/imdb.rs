//! IMDB: 25,000 + 25,000 film reviews as sequences of word numbers, and whether they are good (1) or bad (0).
//!
//! A. L. Maas and others, *Learning Word Vectors for Sentiment Analysis*, 2011,
//! <https://ai.stanford.edu/~amaas/data/sentiment/>, in the form that Keras gave it: `imdb.npz`, 17 MB. Its arrays of
//! lists are pickles, of which only lists of numbers are read; nothing in the file can run.

use super::origin::{Checksum, Origin};
use super::text::{self, Texts, Words};
use crate::error::Result;
use std::path::Path;

const ORIGIN: Origin = Origin {
    folder: "imdb",
    file: "imdb.npz",
    url: "https://storage.googleapis.com/tensorflow/tf-keras-datasets/imdb.npz",
    checksum: Checksum::Sha256("69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f"),
};

/// Reads the training and the test part: from `imdb.npz` in `folder`, else in [`cache_dir`](super::cache_dir), to where
/// the feature `download` brings it. Texts come in Keras' order.
///
/// ```no_run
/// use cornu::data::{PadSequences, pad_sequences};
/// use cornu::datasets::{Words, imdb};
/// let (train, test) = imdb::load("data", Words::new().num_words(10_000))?;
/// let x = pad_sequences(&train.x, PadSequences::new().maxlen(200))?;
/// assert_eq!((x.dim(), test.len()), ((25_000, 200), 25_000));
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When the file is nowhere or not what it should be; when `maxlen` leaves no text.
pub fn load(folder: impl AsRef<Path>, words: Words) -> Result<(Texts, Texts)> {
    read(Some(folder.as_ref()), words)
}

/// As [`load`], from the cache (Keras: `load_data`).
///
/// # Errors
/// As [`load`].
pub fn load_data(words: Words) -> Result<(Texts, Texts)> {
    read(None, words)
}

fn read(given: Option<&Path>, words: Words) -> Result<(Texts, Texts)> {
    let parts = text::read(given, &ORIGIN, [("x_train", "y_train"), ("x_test", "y_test")])?;
    let [train, test] = words.shuffled(parts);
    let [train, test] = words.limited([words.marked(train)?, words.marked(test)?]);
    Ok((train, test))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small file that NumPy wrote in the form of Keras', and what Keras' `load_data` makes of it.
    fn small() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/imdb_small.npz");
        std::fs::copy(file, folder.path().join("imdb.npz")).unwrap();
        folder
    }

    #[test]
    fn it_is_keras() {
        let folder = small();
        let (train, test) = load(folder.path(), Words::new()).unwrap();
        assert_eq!(train.x[1], [1, 1451, 6546, 19964, 3614, 2]);
        assert_eq!(train.x[3], [1, 7192, 15202, 5529, 33155, 8059, 22074]);
        assert_eq!(train.y, [1, 0, 0, 0, 1, 1, 0]);
        assert_eq!(
            test.x,
            [
                vec![1, 169],
                vec![1, 16050, 33317, 2165, 11269, 8025, 30670],
                vec![1, 103, 223, 164, 278],
                vec![1, 278, 169],
                vec![1, 8900]
            ]
        );
        assert_eq!(test.y, [0, 1, 1, 0, 1]);
        let (train, test) = load(folder.path(), Words::new().num_words(200).skip_top(10)).unwrap();
        assert_eq!(
            train.x[4..],
            [vec![2, 151, 2, 173, 142, 123, 152], vec![2, 2, 133, 73, 114, 101, 110, 156], vec![2, 11, 175, 37, 180]]
        );
        assert_eq!(test.x[2], [2, 103, 2, 164, 2]);
        let bare = Words::new().num_words(150).oov_char(None).start_char(None).index_from(0);
        let (train, test) = load(folder.path(), bare).unwrap();
        assert_eq!(train.x[3..], [vec![], vec![148, 139, 120, 149], vec![130, 70, 111, 98, 107], vec![8, 34]]);
        assert_eq!(test.x, [vec![], vec![], vec![100], vec![], vec![]]);
        let (train, test) = load(folder.path(), Words::new().maxlen(6)).unwrap();
        assert_eq!(train.x, [vec![1, 281], vec![1, 1692, 11517, 2], vec![1, 11, 175, 37, 180]]);
        assert_eq!((train.y, test.y), (vec![1, 0, 0], vec![0, 1, 0, 1]));
    }

    #[test]
    fn damage_is_an_error() {
        let folder = small();
        assert!(load(folder.path(), Words::new().maxlen(2)).unwrap_err().to_string().contains("larger one"));
        let path = folder.path().join("imdb.npz");
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 10, 200, whole.len() / 2, whole.len() - 30] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(load(folder.path(), Words::new()).unwrap_err().to_string().contains("imdb.npz"));
        }
        // Any byte of the first pickle changed: an error or other numbers, never a panic.
        for place in (30..whole.len().min(500)).step_by(3) {
            let mut changed = whole.clone();
            changed[place] ^= 0x55;
            std::fs::write(&path, &changed).unwrap();
            let _ = load(folder.path(), Words::new());
        }
    }
}
