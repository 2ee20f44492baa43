//! cornu: Keras-style deep learning in pure Rust.

pub mod activations;
pub mod config;
pub mod constraints;
pub mod data;
pub mod datasets;
pub mod error;
pub mod initializers;
pub mod kernels;
pub mod layer;
pub mod layers;
pub mod losses;
pub mod metrics;
pub mod model;
pub mod optimizers;
pub mod random;
pub mod regularizers;
pub mod runtime;
pub mod schedules;
pub mod shape;
pub mod tensor;
pub mod testing;
pub mod training;
#[cfg(feature = "plot")]
pub mod visualize;

pub use activations::Activation;
pub use config::{Registry, Shared};
pub use error::{Error, Result};
pub use layer::{Layer, LayerExt, SimpleLayer};
pub use model::{Model, Sequential};
pub use random::{Rng, set_random_seed};
pub use shape::{Padding, Shape};
pub use tensor::Tensor;

/// All that a program usually needs: `use cornu::prelude::*;`.
pub mod prelude {
    pub use crate::layer::{Layer, LayerExt, LayerHandle, SimpleLayer};
    pub use crate::layers::*;
    pub use crate::model::{Model, Sequential};
    pub use crate::optimizers::*;
    pub use crate::regularizers::*;
    pub use crate::schedules::*;
    pub use crate::training::callbacks::*;
    pub use crate::training::{Compile, Evaluate, Fit, History, Logs, Predict};
    pub use crate::{Error, Padding, Result, Shape, Shared, Tensor, datasets};
}
