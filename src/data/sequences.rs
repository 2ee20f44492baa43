//! Sequences of different lengths as one array.

use super::Element;
use crate::error::{Result, ensure};
use ndarray::Array2;

/// The end of a sequence at which values are added or cut off (Keras: `"pre"`, `"post"`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Its beginning.
    #[default]
    Pre,
    /// Its end.
    Post,
}

/// Options of [`pad_sequences`]. Defaults are Keras': as long as the longest sequence, zeros in front, cut off in front.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PadSequences {
    maxlen: Option<usize>,
    padding: End,
    truncating: End,
    value: f32,
}

impl PadSequences {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The length that all get.
    pub fn maxlen(mut self, maxlen: usize) -> Self {
        self.maxlen = Some(maxlen);
        self
    }

    /// Where values are added to sequences that are shorter.
    pub fn padding(mut self, padding: End) -> Self {
        self.padding = padding;
        self
    }

    /// Where values are cut off from sequences that are longer.
    pub fn truncating(mut self, truncating: End) -> Self {
        self.truncating = truncating;
        self
    }

    /// The value that is added.
    pub fn value(mut self, value: f32) -> Self {
        self.value = value;
        self
    }
}

/// Sequences as rows of an array of shape `(sequences, maxlen)`: Keras' `pad_sequences`.
///
/// ```
/// use cornu::data::{End, PadSequences, pad_sequences};
/// let words = [vec![1], vec![2, 3], vec![4, 5, 6]];
/// let x = pad_sequences(&words, PadSequences::new())?;
/// assert_eq!(x, ndarray::array![[0.0, 0.0, 1.0], [0.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
/// let x = pad_sequences(&words, PadSequences::new().maxlen(2).padding(End::Post).value(-1.0))?;
/// assert_eq!(x, ndarray::array![[1.0, -1.0], [2.0, 3.0], [5.0, 6.0]]);
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When the array does not fit in memory.
pub fn pad_sequences<A: Element, S: AsRef<[A]>>(sequences: &[S], options: PadSequences) -> Result<Array2<f32>> {
    let longest = sequences.iter().map(|sequence| sequence.as_ref().len()).max().unwrap_or(0);
    let length = options.maxlen.unwrap_or(longest);
    let size = sequences.len().checked_mul(length).filter(|&n| n < isize::MAX as usize / 4);
    ensure!(size.is_some(), Data, "{} sequences of length {length} do not fit in memory", sequences.len());
    let mut padded = Array2::from_elem((sequences.len(), length), options.value);
    for (sequence, mut row) in sequences.iter().zip(padded.outer_iter_mut()) {
        let sequence = sequence.as_ref();
        let kept = sequence.len().min(length);
        let part = match options.truncating {
            End::Pre => &sequence[sequence.len() - kept..],
            End::Post => &sequence[..kept],
        };
        let start = if options.padding == End::Pre { length - kept } else { 0 };
        row.iter_mut().skip(start).zip(part).for_each(|(to, from)| *to = from.to_f32());
    }
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_keras() {
        let words = [vec![1], vec![2, 3], vec![4, 5, 6], vec![]];
        let pad = |options: PadSequences| pad_sequences(&words, options).unwrap();
        let options = PadSequences::new();
        assert_eq!(pad(options.maxlen(2)), ndarray::array![[0.0, 1.0], [2.0, 3.0], [5.0, 6.0], [0.0, 0.0]]);
        assert_eq!(
            pad(options.maxlen(2).truncating(End::Post)),
            ndarray::array![[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [0.0, 0.0]]
        );
        assert_eq!(
            pad(options.maxlen(4).padding(End::Post).value(-1.0)),
            ndarray::array![
                [1.0, -1.0, -1.0, -1.0],
                [2.0, 3.0, -1.0, -1.0],
                [4.0, 5.0, 6.0, -1.0],
                [-1.0, -1.0, -1.0, -1.0]
            ]
        );
        assert_eq!(pad(options.maxlen(0)).dim(), (4, 0));
        assert_eq!(pad_sequences::<u8, Vec<u8>>(&[], options).unwrap().dim(), (0, 0));
        assert!(pad_sequences(&[[1u8], [2]], options.maxlen(usize::MAX)).is_err());
    }
}
