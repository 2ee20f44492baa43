//! What callbacks and metrics remember, in a form that a file can hold.

use crate::error::{Error, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What something remembers between steps, such as the counters of a callback, to be written to a file and taken back.
///
/// It is made of any value that serde knows, and gives one of the same type back, to the last bit, NaN included. It does
/// not know which type that was: whoever takes it back must be the one who made it. Values that are told apart only
/// while they are read (`serde_json::Value`, untagged enums) cannot be taken back; store their text.
///
/// ```
/// use cornu::State;
/// let state = State::of(&(3, f64::NAN, Some("best")))?;
/// let (wait, best, name): (i32, f64, Option<String>) = state.get()?;
/// assert!(wait == 3 && best.is_nan() && name.as_deref() == Some("best"));
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State(#[serde(with = "bytes")] Vec<u8>);

impl State {
    /// The state that holds this value.
    ///
    /// # Errors
    /// When serde cannot write it.
    pub fn of(value: &(impl Serialize + ?Sized)) -> Result<Self> {
        bincode::serde::encode_to_vec(value, bincode::config::standard())
            .map(State)
            .map_err(|error| Error::Format(format!("a state cannot be encoded: {error}")))
    }

    /// The value that it holds.
    ///
    /// # Errors
    /// When it was made of a value of another type, as far as that shows, or is damaged.
    pub fn get<T: DeserializeOwned>(&self) -> Result<T> {
        let (value, used) =
            decode(&self.0).map_err(|error| Error::Format(format!("a state cannot be read: {error}")))?;
        ensure!(used == self.0.len(), Format, "a state cannot be read: {} bytes are left over", self.0.len() - used);
        Ok(value)
    }
}

/// The most that is read or written: 1 TiB, or what the machine can address.
pub(crate) const LIMIT: usize = limit(40);

const fn limit(bits: u32) -> usize {
    match 1usize.checked_shl(bits) {
        Some(limit) => limit,
        None => isize::MAX as usize,
    }
}

/// What bincode has encoded at the beginning of these bytes, and how many of them that are.
///
/// Owned text takes the memory that its length asks for before a byte of it is read. So that a length that lies asks for
/// no more than some multiple of what is there, the limit goes with it: what is encoded in a byte counts up to 16 (an
/// `u128`). Beyond 256 MiB a length may ask for up to [`LIMIT`].
pub(crate) fn decode<'a, T: Deserialize<'a>>(
    bytes: &'a [u8],
) -> std::result::Result<(T, usize), bincode::error::DecodeError> {
    use bincode::config::standard;
    use bincode::serde::borrow_decode_from_slice as decode;
    match bytes.len() {
        0..=0xffff => decode(bytes, standard().with_limit::<{ limit(20) }>()),
        0x1_0000..=0xff_ffff => decode(bytes, standard().with_limit::<{ limit(28) }>()),
        0x100_0000..=0xfff_ffff => decode(bytes, standard().with_limit::<{ limit(32) }>()),
        _ => decode(bytes, standard().with_limit::<LIMIT>()),
    }
}

/// As one block of bytes and not byte by byte.
mod bytes {
    use serde::{Deserializer, Serializer, de};
    use std::fmt;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Block;
        impl de::Visitor<'_> for Block {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let odd = f64::from_bits(0x7ff8_0000_dead_beef);
        let value = (vec![1.5f32, -0.0], Some(odd), "text".to_owned(), usize::MAX);
        let back: (Vec<f32>, Option<f64>, String, usize) = State::of(&value).unwrap().get().unwrap();
        assert_eq!(back.1.map(f64::to_bits), Some(odd.to_bits()));
        assert!(back.0[1].is_sign_negative() && back.2 == "text" && back.3 == usize::MAX);
    }

    #[test]
    fn another_type_is_an_error_where_it_shows() {
        let state = State::of(&(1u8, 2.0f64)).unwrap();
        assert!(state.get::<(u8, f64, f64)>().is_err());
        assert!(state.get::<u8>().unwrap_err().to_string().contains("left over"));
        // A length that lies.
        for lie in [isize::MAX as u64, u64::MAX, 1 << 40, 1 << 36, 1 << 33] {
            let state = State([&[253], lie.to_le_bytes().as_slice()].concat());
            assert!(state.get::<Vec<f64>>().is_err());
            assert!(state.get::<String>().unwrap_err().to_string().contains("cannot be read"), "{lie}");
        }
    }

    #[test]
    fn states_of_every_size_are_read() {
        // Small numbers take one byte each, and count most against the limit.
        for bytes in [0, 1, 0xfff0, 0x1_0000, 0xff_fff0, 0x100_0010] {
            let values = vec![7u64; bytes];
            assert!(State::of(&values).unwrap().get::<Vec<u64>>().unwrap() == values, "{bytes}");
            let values = vec![7u128; bytes.min(0x1_0000)];
            assert!(State::of(&values).unwrap().get::<Vec<u128>>().unwrap() == values, "{bytes}");
            let text = "x".repeat(bytes);
            assert!(State::of(&text).unwrap().get::<String>().unwrap() == text, "{bytes}");
        }
    }
}
