//! Threads and recycled memory.

pub mod threads;
pub mod workspace;

pub use workspace::Workspace;
pub(crate) use workspace::Workspaces;
