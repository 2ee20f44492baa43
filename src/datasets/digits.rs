use super::{Split, idx};
use crate::error::{Error, Result};
use flate2::read::GzDecoder;

/// 1,797 handwritten digits as grey images of 8x8 pixels from 0 to 16, inside the crate.
///
/// Small enough to train a network on in a second, with nothing to download. They are the ones that
/// scikit-learn's `load_digits` gives, in the same order: the test part of E. Alpaydin and C. Kaynak,
/// *Optical Recognition of Handwritten Digits*, 1998, UCI Machine Learning Repository,
/// <https://doi.org/10.24432/C50P49>, CC BY 4.0. There is no official split;
/// [`train_test_split`](crate::data::train_test_split) makes one.
///
/// ```
/// let digits = cornu::datasets::digits();
/// assert_eq!(digits.x.shape(), [1797, 8, 8, 1]);
/// assert_eq!(digits.y.len(), 1797);
/// let x = digits.x_f32(); // 0..16 becomes 0..1
/// # assert_eq!(x.iter().copied().fold(0.0, f32::max), 1.0);
/// ```
pub fn digits() -> Split {
    match unpack() {
        Ok(digits) => digits,
        Err(error) => unreachable!("the digits inside the crate are read by a test: {error}"),
    }
}

fn unpack() -> Result<Split> {
    let read = |bytes: &'static [u8]| match idx::parse(GzDecoder::new(bytes), 1 << 20) {
        Ok(array) => Ok(array),
        Err(idx::Fault::Format(text)) => Err(Error::Format(text)),
        Err(idx::Fault::Io(error)) => Err(Error::io("digits", error)),
    };
    let images = read(include_bytes!("digits-images.idx3.gz"))?;
    let labels = read(include_bytes!("digits-labels.idx1.gz"))?;
    Ok(Split { full: 16, ..idx::split(images, labels)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_scikit_learns() {
        let digits = digits();
        assert_eq!(digits.x.shape(), [1797, 8, 8, 1]);
        assert_eq!(digits.x.iter().map(|&p| u32::from(p)).sum::<u32>(), 561_718);
        assert_eq!(digits.x.iter().max(), Some(&16));
        assert_eq!(digits.x.slice(ndarray::s![0, 0, .., 0]).to_vec(), [0, 0, 5, 13, 9, 1, 0, 0]);
        assert_eq!(digits.x.slice(ndarray::s![1796, 3, .., 0]).to_vec(), [0, 0, 5, 16, 16, 10, 0, 0]);
        let counts = digits.y.iter().fold([0; 10], |mut n, &y| {
            n[usize::from(y)] += 1;
            n
        });
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(digits.y.slice(ndarray::s![..10]).to_vec(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }
}
