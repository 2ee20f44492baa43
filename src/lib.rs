//! cornu: Keras-style deep learning in pure Rust.

pub mod activations;
pub mod config;
pub mod constraints;
pub mod data;
pub mod datasets;
pub mod error;
pub mod initializers;
pub mod kernels;
pub mod losses;
pub mod metrics;
pub mod optimizers;
pub mod random;
pub mod regularizers;
pub mod runtime;
pub mod schedules;
pub mod shape;
pub mod tensor;
#[cfg(feature = "plot")]
pub mod visualize;

pub use activations::Activation;
pub use config::{Registry, Shared};
pub use error::{Error, Result};
pub use random::{Rng, set_random_seed};
pub use shape::{Padding, Shape};
pub use tensor::Tensor;
