//! Threads, recycled memory, and how much of it copies of weights may take.

mod copies;
pub mod threads;
mod winograd;
pub mod workspace;

pub(crate) use copies::Share;
pub use copies::{set_weight_copies, weight_copies};
pub use winograd::set_winograd;
pub(crate) use winograd::winograd_allowed;
pub use workspace::Workspace;
pub(crate) use workspace::Workspaces;
