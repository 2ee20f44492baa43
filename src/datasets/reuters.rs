//! Reuters: 11,228 newswires as sequences of word numbers, on 46 topics.
//!
//! D. D. Lewis, *Reuters-21578*, in the form that Keras gave it: `reuters.npz`, 2 MB. Its array of lists is a pickle, of
//! which only lists of numbers are read; nothing in the file can run.

use super::origin::{Checksum, Origin};
use super::text::{self, Texts, Words};
use crate::error::{Result, ensure};
use std::path::Path;

const ORIGIN: Origin = Origin {
    folder: "reuters",
    file: "reuters.npz",
    url: "https://storage.googleapis.com/tensorflow/tf-keras-datasets/reuters.npz",
    checksum: Checksum::Sha256("d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916"),
};

/// Reads the training and the test part: from `reuters.npz` in `folder`, else in [`cache_dir`](super::cache_dir), to
/// where the feature `download` brings it. The last `test_split` of the texts, 0.2 in Keras, is the test part.
///
/// # Errors
/// When the file is nowhere or not what it should be; when `maxlen` leaves no text or `test_split` is not between 0 and 1.
pub fn load(folder: impl AsRef<Path>, words: Words, test_split: f64) -> Result<(Texts, Texts)> {
    read(Some(folder.as_ref()), words, test_split)
}

/// As [`load`], from the cache (Keras: `load_data`).
///
/// # Errors
/// As [`load`].
pub fn load_data(words: Words, test_split: f64) -> Result<(Texts, Texts)> {
    read(None, words, test_split)
}

fn read(given: Option<&Path>, words: Words, test_split: f64) -> Result<(Texts, Texts)> {
    ensure!((0.0..=1.0).contains(&test_split), Argument, "test_split is {test_split}; it must be between 0 and 1");
    let [all] = words.shuffled(text::read(given, &ORIGIN, [("x", "y")])?);
    let [all] = words.limited([words.marked(all)?]);
    let train = (all.len() as f64 * (1.0 - test_split)) as usize;
    Ok(all.split_at(train))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_keras() {
        let folder = tempfile::tempdir().unwrap();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/reuters_small.npz");
        std::fs::copy(file, folder.path().join("reuters.npz")).unwrap();
        let (train, test) = load(folder.path(), Words::new().num_words(250), 0.3).unwrap();
        assert_eq!(train.x[3..5], [vec![1, 171, 182, 39], vec![1, 212, 80, 48, 2, 124]]);
        assert_eq!(train.y, [0, 1, 3, 0, 3, 2]);
        assert_eq!(test.x, [vec![1, 246, 6, 160, 40, 236], vec![1, 2, 117], vec![1, 108]]);
        assert_eq!(test.y, [2, 0, 1]);
        assert!(load(folder.path(), Words::new(), 1.5).is_err());
    }
}
