//! Whole numbers of any range as few.

use super::encoding::Encoding;
use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Whole numbers of any range as bins: the hash of each number's digits, modulo the number of bins (Keras: `Hashing`,
/// with the same bins). Different numbers may fall in the same bin.
///
/// By default the output has the shape of the input; see [`Encoding`] for the others. What stands behind the point is cut
/// off. Values of 32 bits hold whole numbers up to 16,777,216 exactly; larger ones are an error.
///
/// ```
/// use cornu::{layers::Hashing, prelude::*};
/// let mut model = Sequential::new();
/// model.add(Input::new([2])).add(Hashing::new(7));
/// model.build()?;
/// let y = model.predict(&ndarray::array![[12, 12]], Predict::default())?;
/// assert!(y[[0, 0]] == y[[0, 1]] && y[[0, 0]] < 7.0);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hashing {
    num_bins: u64,
    #[serde(default)]
    mask_value: Option<i64>,
    #[serde(default)]
    salt: Option<Salt>,
    #[serde(default = "int")]
    output_mode: Encoding,
    #[serde(default)]
    sparse: bool,
}

/// Keras takes one number for both, and writes both.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(from = "OneOrTwo")]
struct Salt([u64; 2]);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrTwo {
    One(u64),
    Two([u64; 2]),
}

impl From<OneOrTwo> for Salt {
    fn from(salt: OneOrTwo) -> Self {
        match salt {
            OneOrTwo::One(one) => Salt([one, one]),
            OneOrTwo::Two(two) => Salt(two),
        }
    }
}

fn int() -> Encoding {
    Encoding::Int
}

impl Hashing {
    /// With so many bins, that of masked values included.
    pub fn new(num_bins: usize) -> Self {
        Hashing { num_bins: num_bins as u64, mask_value: None, salt: None, output_mode: Encoding::Int, sparse: false }
    }

    /// A value that has bin 0 for itself. Default: none.
    pub fn mask_value(mut self, mask_value: i64) -> Self {
        self.mask_value = Some(mask_value);
        self
    }

    /// Two numbers that choose among other hashes: SipHash with this key. Default: FarmHash.
    pub fn salt(mut self, salt: [u64; 2]) -> Self {
        self.salt = Some(Salt(salt));
        self
    }

    /// What becomes of the bins. Default: [`Encoding::Int`].
    pub fn output_mode(mut self, output_mode: Encoding) -> Self {
        self.output_mode = output_mode;
        self
    }

    fn bin(&self, value: i64) -> u64 {
        let masked = self.mask_value.filter(|_| self.num_bins > 1);
        if masked == Some(value) {
            return 0;
        }
        let digits = value.to_string();
        let hash = match self.salt {
            Some(Salt(key)) => siphash(key, digits.as_bytes()),
            None => farmhash(digits.as_bytes()),
        };
        match masked {
            Some(_) => 1 + hash % (self.num_bins - 1),
            None => hash % self.num_bins,
        }
    }
}

/// The largest size up to which all whole numbers are exact in 32 bits.
const EXACT: f32 = 16_777_216.0;

/// What stands before the point of each value.
pub(super) fn whole(x: &Tensor) -> Result<Vec<i64>> {
    let each = |(at, x): (usize, &f32)| match x.abs() <= EXACT {
        true => Ok(x.trunc() as i64),
        false => Err(Error::Data(format!(
            "the value {x} at place {at} is no whole number up to {EXACT} in size, beyond which values of 32 bits are not \
             exact"
        ))),
    };
    x.data().iter().enumerate().map(each).collect()
}

impl Layer for Hashing {
    fn config(&self) -> Result<Config> {
        let mut config = config::of(self)?;
        if self.output_mode == Encoding::Int {
            config.insert("dtype".to_owned(), "int64".into());
        }
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        ensure!(
            (1..=EXACT as u64).contains(&self.num_bins),
            Argument,
            "num_bins is {}; it must be from 1 to {EXACT}",
            self.num_bins
        );
        ensure!(!self.sparse, Argument, "sparse is true; there are no sparse tensors here");
        Ok(())
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![self.output_mode.shape(one_shape(inputs)?, self.num_bins as usize)?])
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let bins = whole(&x)?.into_iter().map(|value| self.bin(value) as f32).collect();
        Ok(self.output_mode.encode(&Tensor::new(x.shape(), bins)?, self.num_bins as usize)?.into())
    }

    fn backward(&self, _: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        Ok(None.into())
    }
}

/// The bytes from a place on, the first the lowest.
fn fetch(bytes: &[u8], from: usize, n: usize) -> u64 {
    bytes[from..from + n].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Google's FarmHash `Fingerprint64`, for texts of up to 32 bytes: numbers have not more.
fn farmhash(text: &[u8]) -> u64 {
    const K: [u64; 3] = [0xc3a5_c85c_97cb_3127, 0xb492_b66f_be98_f273, 0x9ae1_6a3b_2f90_404f];
    let n = text.len();
    let multiplier = K[2].wrapping_add(2 * n as u64);
    let shift = |x: u64| x ^ (x >> 47);
    let mix = |u: u64, v: u64| {
        let a = shift((u ^ v).wrapping_mul(multiplier));
        shift((v ^ a).wrapping_mul(multiplier)).wrapping_mul(multiplier)
    };
    match n {
        0 => K[2],
        1..4 => {
            let [a, b, c] = [0, n / 2, n - 1].map(|i| u64::from(text[i]));
            let (y, z) = (a + (b << 8), n as u64 + (c << 2));
            shift(y.wrapping_mul(K[2]) ^ z.wrapping_mul(K[0])).wrapping_mul(K[2])
        }
        4..8 => mix(n as u64 + (fetch(text, 0, 4) << 3), fetch(text, n - 4, 4)),
        8..17 => {
            let (a, b) = (fetch(text, 0, 8).wrapping_add(K[2]), fetch(text, n - 8, 8));
            let c = b.rotate_right(37).wrapping_mul(multiplier).wrapping_add(a);
            mix(c, a.rotate_right(25).wrapping_add(b).wrapping_mul(multiplier))
        }
        _ => {
            let (a, b) = (fetch(text, 0, 8).wrapping_mul(K[1]), fetch(text, 8, 8));
            let (c, d) = (fetch(text, n - 8, 8).wrapping_mul(multiplier), fetch(text, n - 16, 8).wrapping_mul(K[2]));
            let sum = a.wrapping_add(b).rotate_right(43).wrapping_add(c.rotate_right(30)).wrapping_add(d);
            mix(sum, a.wrapping_add(b.wrapping_add(K[2]).rotate_right(18)).wrapping_add(c))
        }
    }
}

/// SipHash-2-4 (Aumasson and Bernstein 2012).
fn siphash(key: [u64; 2], text: &[u8]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    fn round(v: &mut [u64; 4]) {
        v[0] = v[0].wrapping_add(v[1]);
        v[2] = v[2].wrapping_add(v[3]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].rotate_left(32).wrapping_add(v[3]);
        v[2] = v[2].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].rotate_left(32);
    }
    let words = text.chunks_exact(8);
    let rest = words.remainder();
    let last = fetch(rest, 0, rest.len()) | (text.len() as u64) << 56;
    for word in words.map(|word| fetch(word, 0, 8)).chain([last]) {
        v[3] ^= word;
        (0..2).for_each(|_| round(&mut v));
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..4).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[cfg(test)]
mod tests {
    use super::super::called::{Called, tensor};
    use super::*;

    /// Keras 3.15.1 with TensorFlow's hashes.
    #[test]
    fn bins_are_those_of_keras() {
        let x = tensor(&[2, 4], &[5.0, 7.0, -12.0, 3.0, 0.0, 1234567.0, -9007199.0, 1234.0]);
        let run = |layer: Hashing| Called::new(layer).run(std::slice::from_ref(&x)).unwrap().0.one().unwrap();
        assert_eq!(run(Hashing::new(7).mask_value(3)).into_vec(), [2.0, 5.0, 2.0, 0.0, 2.0, 2.0, 2.0, 5.0]);
        assert_eq!(run(Hashing::new(11).salt([3, 9])).into_vec(), [8.0, 6.0, 0.0, 6.0, 1.0, 7.0, 8.0, 6.0]);
        assert_eq!(
            run(Hashing::new(5).salt([4, 4]).output_mode(Encoding::MultiHot)).into_vec(),
            [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
        );
        assert_eq!(
            run(Hashing::new(1_000_000)).into_vec(),
            [460971.0, 856088.0, 313569.0, 502921.0, 572735.0, 208423.0, 129813.0, 58222.0]
        );
        assert_eq!(
            run(Hashing::new(1_000_000).salt([1234567890123, 5])).into_vec(),
            [965679.0, 441004.0, 759566.0, 341651.0, 186552.0, 213033.0, 825897.0, 594362.0]
        );
        assert_eq!(run(Hashing::new(3).output_mode(Encoding::Count)).into_vec(), [1.0, 3.0, 0.0, 0.0, 4.0, 0.0]);
        // Longer texts than numbers of 32 bits have, as TensorFlow hashes them.
        for (text, fast, strong) in [
            ("", 912170738, 927858980),
            ("a", 384735799, 841938364),
            ("12345678", 980357041, 751139252),
            ("1234567890123456", 966051395, 39070969),
            ("-9223372036854775808", 754750623, 547061880),
            ("abcdefghijklmnopqrstuvwxyz", 275241187, 363330643),
        ] {
            assert_eq!(farmhash(text.as_bytes()) % 1_000_000_007, fast, "{text}");
            assert_eq!(siphash([3, 9], text.as_bytes()) % 1_000_000_007, strong, "{text}");
        }
        let one: Hashing = serde_json::from_str(r#"{"num_bins": 5, "salt": 4}"#).unwrap();
        assert_eq!(one.config().unwrap()["salt"], serde_json::json!([4, 4]));
        let error = Called::new(Hashing::new(5)).run(&[tensor(&[1, 1], &[2e7])]).unwrap_err().to_string();
        assert!(error.contains("16777216"), "{error}");
        assert!(Hashing::new(0).check().is_err());
    }
}
