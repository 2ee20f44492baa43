//! Attention: what a query makes of the values whose keys it resembles.

mod heads;
mod multi_head;
mod pairs;
mod projection;
mod single;
#[cfg(test)]
mod tests;
mod visible;

pub use multi_head::{GroupQueryAttention, MultiHeadAttention};
pub use single::{AdditiveAttention, Attention, ScoreMode};

use crate::error::{Result, ensure};
use crate::layer::Arguments;

/// A plain argument of a call that is true or false.
fn flag(arguments: &Arguments, name: &str) -> bool {
    arguments.values.get(name).and_then(serde_json::Value::as_bool).unwrap_or(false)
}

/// The places of the inputs that are known under these names: first those without a name, in this order.
fn places<const N: usize>(names: [&str; N], inputs: usize, arguments: &Arguments) -> Result<[Option<usize>; N]> {
    let mut places = [None; N];
    let unnamed = (0..inputs).filter(|place| !arguments.tensors.iter().any(|(_, named)| named.contains(place)));
    for (i, place) in unnamed.enumerate() {
        ensure!(i < N, Argument, "there are more than the {N} inputs {names:?}");
        places[i] = Some(place);
    }
    for (name, given) in &arguments.tensors {
        let known = names.iter().position(|known| known == name);
        let (Some(known), [place]) = (known, given.as_slice()) else {
            return Err(crate::Error::Argument(format!("input '{name}' is none of {names:?}")));
        };
        places[known] = Some(*place);
    }
    Ok(places)
}
