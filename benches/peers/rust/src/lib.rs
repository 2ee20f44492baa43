//! What the peers share.
#[path = "../../serve.rs"]
mod serve;
pub use serve::*;
