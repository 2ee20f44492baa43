//! Texts as sequences of word numbers: what IMDB's reviews and Reuters' newswires have in common.

use super::origin::{Origin, locate};
use super::pickle;
use crate::data::{RandomState, npy};
use crate::error::{Context, Error, Result, ensure};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// An array of an archive may unpack to so many bytes.
const LARGEST: u64 = 1 << 30;

/// How texts are read: the arguments of Keras' `load_data`, with its defaults.
///
/// Words are numbered by how often they occur, from 1; `index_from` is added to that, which leaves room for the marks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Words {
    pub(super) num_words: Option<usize>,
    pub(super) skip_top: usize,
    pub(super) maxlen: Option<usize>,
    pub(super) seed: u32,
    pub(super) start_char: Option<u32>,
    pub(super) oov_char: Option<u32>,
    pub(super) index_from: u32,
}

impl Default for Words {
    fn default() -> Self {
        Words {
            num_words: None,
            skip_top: 0,
            maxlen: None,
            seed: 113,
            start_char: Some(1),
            oov_char: Some(2),
            index_from: 3,
        }
    }
}

impl Words {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Numbers from here on become `oov_char`: only the most frequent words stay. Default: all.
    pub fn num_words(mut self, num_words: usize) -> Self {
        self.num_words = Some(num_words);
        self
    }

    /// Numbers below become `oov_char`: the most frequent words, which mean little. Default: 0.
    pub fn skip_top(mut self, skip_top: usize) -> Self {
        self.skip_top = skip_top;
        self
    }

    /// Leaves out texts that, with their mark, have so many words or more. Default: none.
    pub fn maxlen(mut self, maxlen: usize) -> Self {
        self.maxlen = Some(maxlen);
        self
    }

    /// The seed of the order of the texts. Default: 113.
    pub fn seed(mut self, seed: u32) -> Self {
        self.seed = seed;
        self
    }

    /// The mark at the beginning of each text, if any. Default: 1.
    pub fn start_char(mut self, mark: impl Into<Option<u32>>) -> Self {
        self.start_char = mark.into();
        self
    }

    /// The mark in the place of words that are left out; without it they are gone. Default: 2.
    pub fn oov_char(mut self, mark: impl Into<Option<u32>>) -> Self {
        self.oov_char = mark.into();
        self
    }

    /// What is added to the number of each word. Default: 3.
    pub fn index_from(mut self, index_from: u32) -> Self {
        self.index_from = index_from;
        self
    }

    /// Shuffles the texts of each part with their labels as NumPy does with this seed, one part after the other.
    pub(super) fn shuffled<const N: usize>(&self, parts: [Texts; N]) -> [Texts; N] {
        let mut state = RandomState::new(self.seed);
        parts.map(|texts| {
            let mut both: Vec<(Vec<u32>, u8)> = texts.x.into_iter().zip(texts.y).collect();
            state.shuffle(&mut both);
            let (x, y) = both.into_iter().unzip();
            Texts { x, y }
        })
    }

    /// Adds the marks and leaves out texts that are too long.
    pub(super) fn marked(&self, texts: Texts) -> Result<Texts> {
        let mark = |text: Vec<u32>| -> Vec<u32> {
            let words = text.into_iter().map(|word| word.saturating_add(self.index_from));
            self.start_char.into_iter().chain(words).collect()
        };
        let fits = |(text, _): &(Vec<u32>, u8)| self.maxlen.is_none_or(|maxlen| text.len() < maxlen);
        let (x, y): (Vec<_>, Vec<_>) = texts.x.into_iter().map(mark).zip(texts.y).filter(fits).unzip();
        ensure!(!x.is_empty(), Data, "no text is shorter than maxlen {}; use a larger one", self.maxlen.unwrap_or(0));
        Ok(Texts { x, y })
    }

    /// Leaves out words, in all parts alike.
    pub(super) fn limited<const N: usize>(&self, mut parts: [Texts; N]) -> [Texts; N] {
        let largest = parts.iter().flat_map(|part| part.x.iter().flatten()).max().copied().unwrap_or(0) as usize;
        let kept = self.skip_top..self.num_words.filter(|&n| n > 0).unwrap_or(largest);
        for text in parts.iter_mut().flat_map(|part| &mut part.x) {
            match self.oov_char {
                Some(mark) => text.iter_mut().filter(|word| !kept.contains(&(**word as usize))).for_each(|w| *w = mark),
                None => text.retain(|word| kept.contains(&(*word as usize))),
            }
        }
        parts
    }
}

/// Texts as sequences of word numbers, and the class of each: one part of a data set.
/// [`pad_sequences`](crate::data::pad_sequences) makes an array of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Texts {
    /// The words of each text.
    pub x: Vec<Vec<u32>>,
    /// The class of each text.
    pub y: Vec<u8>,
}

impl Texts {
    /// The number of texts.
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// Whether there are no texts.
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }

    /// The first `n` texts, and the rest.
    pub(super) fn split_at(mut self, n: usize) -> (Texts, Texts) {
        let rest = Texts { x: self.x.split_off(n), y: self.y.split_off(n) };
        (self, rest)
    }
}

/// The texts `x` and their classes `y`, under these names in the archive of Keras.
pub(super) fn read<const N: usize>(
    given: Option<&Path>,
    origin: &Origin,
    names: [(&str, &str); N],
) -> Result<[Texts; N]> {
    let path = locate(given, origin)?;
    let read = || {
        let damaged = |error: zip::result::ZipError| Error::Format(format!("the archive cannot be read: {error}"));
        let file = File::open(&path).map_err(|source| Error::io(&path, source))?;
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
        let mut member = |name: &str| -> Result<Vec<u8>> {
            let member = archive.by_name(&format!("{name}.npy")).map_err(damaged)?;
            let mut bytes = Vec::new();
            let read = member.take(LARGEST + 1).read_to_end(&mut bytes);
            read.map_err(|error| Error::Format(format!("'{name}' cannot be read: {error}")))?;
            ensure!(bytes.len() as u64 <= LARGEST, Format, "'{name}' unpacks to more than {LARGEST} bytes");
            Ok(bytes)
        };
        let mut parts = Vec::new();
        for (x, y) in names {
            let lists = pickle::lists(npy::after_header(&member(x)?)?).at(|| format!("'{x}'"))?;
            let labels = npy::parse(&member(y)?[..]).at(|| format!("'{y}'"))?;
            ensure!(lists.len() == labels.len(), Format, "there are {} texts but {} labels", lists.len(), labels.len());
            let word = |word| u32::try_from(word).map_err(|_| Error::Format(format!("a word has the number {word}")));
            let text = |list: Vec<i64>| list.into_iter().map(word).collect::<Result<Vec<u32>>>();
            let label = |&label: &f32| match label.fract() == 0.0 && (0.0..256.0).contains(&label) {
                true => Ok(label as u8),
                false => Err(Error::Format(format!("there is a label {label}"))),
            };
            parts.push(Texts {
                x: lists.into_iter().map(text).collect::<Result<_>>()?,
                y: labels.iter().map(label).collect::<Result<_>>()?,
            });
        }
        <[Texts; N]>::try_from(parts).map_err(|_| Error::Format("it has too few arrays".to_owned()))
    };
    read().in_file(&path)
}
