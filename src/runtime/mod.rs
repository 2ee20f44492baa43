//! Threads, recycled memory, and how much of it copies of weights may take.

mod copies;
pub mod threads;
pub mod workspace;

pub(crate) use copies::Share;
pub use copies::{set_weight_copies, weight_copies};
pub use workspace::Workspace;
pub(crate) use workspace::Workspaces;
