//! Keras-style deep learning in pure Rust: build, compile, fit, look at the curves, evaluate, predict.
//!
//! ```
//! use cornu::prelude::*;
//! use cornu::data::train_test_split;
//!
//! // 1,797 handwritten digits of 8 x 8 pixels, embedded in the crate.
//! let digits = datasets::digits();
//! let (x_train, x_test, y_train, y_test) = train_test_split(&digits.x, &digits.y, 0.2, 1)?;
//!
//! let mut model = Sequential::new().with_seed(1);
//! model
//!     .add(Input::new([8, 8, 1]))
//!     .add(Rescaling::new(1.0 / 16.0))
//!     .add(Conv2D::new(16, 3).padding(Padding::Same).activation("relu"))
//!     .add(MaxPooling2D::new(2))
//!     .add(Flatten::new())
//!     .add(Dense::new(10).activation("softmax"));
//! model.compile(Adam::new(0.003), "sparse_categorical_crossentropy", ["accuracy"])?;
//!
//! let history = model.fit(
//!     &x_train,
//!     &y_train,
//!     Fit::new().epochs(12).validation_split(0.1).verbose(0)
//!         .callback(EarlyStopping::new().monitor("val_loss").patience(3).restore_best_weights(true)),
//! )?;
//! assert!(history["loss"].last() < history["loss"].first());
//!
//! let scores = model.evaluate(&x_test, &y_test, Evaluate::default())?;
//! assert!(scores["accuracy"] > 0.93);
//! let probabilities = model.predict(&x_test, Predict::default())?;
//! assert_eq!(probabilities.shape(), [360, 10]);
//! # Ok::<(), cornu::Error>(())
//! ```
//!
//! The names, defaults and numbers are Keras 3's. Modules stand alone: [`layers`], [`losses`],
//! [`metrics`](mod@metrics), [`optimizers`], [`schedules`], [`initializers`], [`regularizers`], [`constraints`],
//! [`activations`], [`training::callbacks`]. Each family is known by name (`"relu"`, `"he_normal"`,
//! `"adam"`) and open to types of one's own: a [`SimpleLayer`] or [`Layer`], a
//! [`Loss`](losses::Loss), a [`Metric`](metrics::Metric), an [`Optimizer`](optimizers::Optimizer), an
//! [`Initializer`](initializers::Initializer), a [`Regularizer`](regularizers::Regularizer), a
//! [`Callback`](training::callbacks::Callback).
//!
//! What happens in a training run depends on the seed alone: the same seed gives the same bits on any
//! number of threads (on one kind of processor). Mistakes are [`Error`]s that say where, what was expected, what came and what to do.
//!
//! # Features
//!
//! | feature | default | what it brings |
//! |---|---|---|
//! | `parallel` | yes | several threads; the number is `CORNU_NUM_THREADS` or that of the cores |
//! | `progress` | yes | a moving progress bar in terminals |
//! | `interrupt` | yes | [`StopOnInterrupt`](training::callbacks::StopOnInterrupt): Ctrl-C ends training in order |
//! | `plot` | yes | [`visualize`]: pictures of training, data and networks as PNG and SVG; the callback [`HtmlReport`](training::callbacks::HtmlReport) |
//! | `keras` | yes | [`formats`]: Keras' `.keras` and `.weights.h5` files, read and written; older `.h5` files, read |
//! | `image` | no | [`data::image`]: photographs as arrays and back, PNG and JPEG, and BMP, which is only read; folders of them as datasets |
//! | `vision` | no | what the examples `augmentation` and `image_processing` need, the crates imageproc and ab_glyph; brings `image` |
//! | `download` | no | [`datasets`] from the network; [`RemoteMonitor`](training::callbacks::RemoteMonitor) |
//! | `tensorboard` | no | [`tensorboard`] and the callback [`TensorBoard`](training::callbacks::TensorBoard): event files that TensorBoard shows |
//! | `safetensors` | no | weights as `.safetensors`, also those of PyTorch |
//! | `cli` | no | the program `cornu`: `cargo install cornu --features cli` |
//! | `full` | no | all that need no system library |

pub mod activations;
pub mod applications;
pub mod config;
pub mod constraints;
mod container;
pub mod data;
pub mod datasets;
pub mod error;
mod files;
pub mod formats;
pub mod initializers;
pub mod kernels;
pub mod layer;
pub mod layers;
pub mod losses;
pub mod metrics;
pub mod model;
pub mod optimizers;
#[cfg(any(feature = "plot", feature = "tensorboard"))]
mod picture;
pub mod random;
pub mod regularizers;
pub mod runtime;
pub mod schedules;
pub mod shape;
mod signal;
mod state;
pub mod tensor;
#[cfg(feature = "tensorboard")]
pub mod tensorboard;
pub mod testing;
pub mod training;
#[cfg(feature = "plot")]
pub mod visualize;

pub use activations::Activation;
pub use config::{Registry, Shared};
pub use error::{Error, Result};
pub use layer::{Layer, LayerExt, SimpleLayer};
pub use model::{Model, Sequential, SymbolicTensor};
pub use random::{Rng, set_random_seed};
pub use shape::{Padding, Shape};
pub use state::State;
pub use tensor::Tensor;

/// All that a program usually needs: `use cornu::prelude::*;`.
pub mod prelude {
    pub use crate::data::Dataset;
    pub use crate::layer::{CallExt, Layer, LayerExt, LayerHandle, SimpleLayer};
    pub use crate::layers::*;
    pub use crate::model::{Model, Sequential, SymbolicTensor};
    pub use crate::optimizers::{
        Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Ftrl, Lamb, Lion, LossScaleOptimizer, Muon, Nadam, RMSprop,
        SGD, ScheduleFreeAdamW, Sgd,
    };
    pub use crate::regularizers::{L1, L1L2, L2};
    pub use crate::schedules::{
        CosineDecay, CosineDecayRestarts, ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay,
    };
    #[cfg(feature = "plot")]
    pub use crate::training::callbacks::HtmlReport;
    #[cfg(feature = "interrupt")]
    pub use crate::training::callbacks::StopOnInterrupt;
    #[cfg(feature = "tensorboard")]
    pub use crate::training::callbacks::TensorBoard;
    pub use crate::training::callbacks::{
        BackupAndRestore, CSVLogger, Callback, EarlyStopping, LambdaCallback, LearningRateScheduler, Mode,
        ModelCheckpoint, ReduceLROnPlateau, SwapEMAWeights, TerminateOnNaN,
    };
    pub use crate::training::{Compile, Evaluate, Fit, History, Logs, Predict};
    pub use crate::{Error, Padding, Result, Shape, Shared, Tensor, datasets};
}
