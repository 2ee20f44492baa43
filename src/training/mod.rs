//! Compile, fit, evaluate, predict: the workflow of a [`Model`](crate::Model).
//!
//! [`Model::fit`](crate::Model::fit) is a loop and a step; everything else that can happen during training is a
//! [`Callback`](callbacks::Callback). Those who write their own loop use
//! [`forward`](crate::Model::forward), [`backward`](crate::Model::backward) and [`apply`](crate::Model::apply).

mod augment;
pub(crate) mod backup;
pub mod callbacks;
mod compile;
mod custom;
pub(crate) mod direction;
mod evaluate;
mod feed;
mod fit;
mod history;
mod inputs;
mod lr_find;
mod pieces;
mod predict;
mod profile;
mod step;

pub use compile::Compile;
pub(crate) use compile::{Compiled, Term};
pub use custom::{Differentiate, Differentiated, Recorded};
pub use evaluate::{Evaluate, Scores};
pub use fit::Fit;
pub use history::{History, Logs};
pub use inputs::Inputs;
pub use lr_find::{LrFind, LrFound};
pub use predict::{Predict, Predictor};
pub use profile::{LayerProfile, Profile};
