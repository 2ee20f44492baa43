//! The classic networks for images, ready to train or to take weights of Keras.
//!
//! | module | networks | images by default | parameters |
//! |---|---|---|---|
//! | [`lenet5`] | [`LeNet5`] | 28 x 28 x 1 | 61,706 |
//! | [`alexnet`] | [`AlexNet`] | 227 x 227 x 3 | 62,378,344 |
//! | [`alexnet_lite`] | [`AlexNetLite`] | 28 x 28 x 1 | 380,042 |
//! | [`vgg16`], [`vgg19`] | [`VGG16`], [`VGG19`] | 224 x 224 x 3 | 138,357,544, 143,667,240 |
//! | [`resnet`] | [`ResNet20`], [`ResNet32`], [`ResNet44`], [`ResNet56`] | 32 x 32 x 3 | 271,098 to 857,082 |
//! | [`resnet`] | [`ResNet18`], [`ResNet34`] | 224 x 224 x 3 | 11,699,112, 21,814,696 |
//! | [`resnet`] | [`ResNet50`], [`ResNet101`], [`ResNet152`] | 224 x 224 x 3 | 25,636,712 to 60,419,944 |
//! | [`mobilenet_v2`] | [`MobileNetV2`] | 224 x 224 x 3 | 3,538,984 |
//! | [`hed`] | [`Hed`], the outlines in a photograph | of any size | 14,716,171 |
//!
//! Each but the last has Keras' options: `include_top`, `input_shape`, `classes`, `pooling`, `classifier_activation` and `weights`.
//! VGG, ResNet-50, -101 and -152 and MobileNetV2 are Keras' networks layer by layer: names, shapes and order are the
//! same, so that files of weights fit.
//!
//! ```
//! use cornu::applications::{MobileNetV2, Pooling};
//! use cornu::prelude::*;
//!
//! // A base for other classes, and a head on it.
//! let base = MobileNetV2::new().alpha(0.35).include_top(false).input_shape([64, 64, 3]).pooling(Pooling::Avg).build()?;
//! let mut model = Sequential::new();
//! model.add(Input::new([64, 64, 3])).add(base.as_layer()).add(Dense::new(5).activation("softmax"));
//! base.layers().iter().for_each(|layer| layer.set_trainable(false));
//! model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])?;
//! assert_eq!(model.trainable_weights().len(), 2);
//! # Ok::<(), cornu::Error>(())
//! ```
//!
//! # Pretrained weights
//!
//! Weights are not downloaded. `weights(path)` takes a file that you have: Keras' own
//! (`vgg16_weights_tf_dim_ordering_tf_kernels.h5`, with `_notop` for `include_top(false)`), a `.weights.h5` or a
//! `.keras` of the same network. Each network wants its images as they were when it was trained, by the
//! `preprocess_input` of its module, and [`decode_predictions`] names the classes:
//!
//! ```no_run
//! use cornu::applications::{ClassIndex, VGG16, decode_predictions, vgg16};
//! use cornu::prelude::*;
//!
//! # let photographs = ndarray::Array4::<u8>::zeros((1, 224, 224, 3));
//! let model = VGG16::new().weights("vgg16_weights_tf_dim_ordering_tf_kernels.h5").build()?;
//! let x = vgg16::preprocess_input(&photographs)?; // (batch, 224, 224, 3), RGB from 0 to 255
//! let index = ClassIndex::read("imagenet_class_index.json")?;
//! for best in decode_predictions(&model.predict(&x, Predict::default())?, &index, 5)? {
//!     println!("{} ({:.1} %)", best[0].description, 100.0 * best[0].score);
//! }
//! # Ok::<(), cornu::Error>(())
//! ```

pub mod alexnet;
pub mod alexnet_lite;
pub mod hed;
mod imagenet;
pub mod lenet5;
pub mod mobilenet_v2;
pub mod resnet;
#[cfg(test)]
mod tests;
mod vgg;
pub mod vgg16;
pub mod vgg19;

pub use alexnet::AlexNet;
pub use alexnet_lite::AlexNetLite;
pub use hed::Hed;
pub use imagenet::{ClassIndex, Preprocessing, Recognised, decode_predictions, preprocess_input};
pub use lenet5::LeNet5;
pub use mobilenet_v2::MobileNetV2;
pub use resnet::{ResNet18, ResNet20, ResNet32, ResNet34, ResNet44, ResNet50, ResNet56, ResNet101, ResNet152};
pub use vgg16::VGG16;
pub use vgg19::VGG19;

use crate::activations::Activation;
use crate::error::{Context, Result, ensure};
use crate::layer::LayerExt;
use crate::layers::{Dense, GlobalAveragePooling2D, GlobalMaxPooling2D, Input};
use crate::model::{Model, SymbolicTensor};
use crate::random;
use crate::shape::Shape;
use std::path::PathBuf;

/// What follows the features of a network without its top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of each channel: the output is `(batch, channels)`.
    Avg,
    /// The largest value of each channel: the output is `(batch, channels)`.
    Max,
}

/// The options that all networks share.
#[derive(Clone, Debug)]
struct Options {
    include_top: bool,
    input_shape: Option<Vec<usize>>,
    classes: usize,
    pooling: Option<Pooling>,
    classifier_activation: Activation,
    weights: Option<PathBuf>,
    name: Option<String>,
    seed: Option<u64>,
}

impl Options {
    fn new(classes: usize) -> Self {
        Options {
            include_top: true,
            input_shape: None,
            classes,
            pooling: None,
            classifier_activation: Activation::softmax(),
            weights: None,
            name: None,
            seed: None,
        }
    }

    /// The images: those of the options, else with a top `[height, width, channels]`, and without one of any size.
    fn image(&self, default: [usize; 3], least: usize) -> Result<SymbolicTensor> {
        let shape = match &self.input_shape {
            Some(shape) => {
                ensure!(
                    shape.len() == 3,
                    Argument,
                    "input_shape is {shape:?}; expected [height, width, channels], without the batch"
                );
                ensure!(
                    shape[0] >= least && shape[1] >= least && shape[2] > 0,
                    Argument,
                    "input_shape is {shape:?}; height and width must be at least {least}"
                );
                Shape::batch_of(shape)
            }
            None if self.include_top => Shape::batch_of(default),
            None => Shape::new([None, None, None, Some(default[2])]),
        };
        Ok(Input::of(shape).node())
    }

    /// The network without its weights.
    fn outline(
        &self,
        name: &str,
        image: &SymbolicTensor,
        network: impl FnOnce(&SymbolicTensor) -> Result<SymbolicTensor>,
    ) -> Result<Model> {
        // Keras' rule: other weights than one's own were trained for these.
        let activation = &self.classifier_activation;
        ensure!(
            self.weights.is_none() || [Activation::softmax(), Activation::default()].contains(activation),
            Argument,
            "classifier_activation is '{}'; with weights from a file it can be 'softmax' or 'linear' (the logits)",
            activation.name()
        );
        let mut model = Model::unbuilt(self.name.as_deref().unwrap_or(name), image, network(image)?)?;
        model.seed = self.seed.unwrap_or_else(random::fresh_seed);
        Ok(model)
    }

    /// The same network with its weights: those of the file, if one was named.
    fn finish(&self, mut model: Model) -> Result<Model> {
        match &self.weights {
            None => model.build()?,
            Some(path) => {
                // Zeros take no time and, until the file's values replace them, no memory.
                model.build_to_load(usize::MAX)?;
                model.load_weights(path).at(|| format!("weights of '{}'", model.name()))?;
            }
        }
        Ok(model)
    }

    /// The classifier `predictions`.
    fn classifier(&self, x: &SymbolicTensor) -> Result<SymbolicTensor> {
        Dense::new(self.classes).activation(self.classifier_activation.clone()).name("predictions").call(x)
    }

    /// What a network without a top ends in; the pooling layers are named by their classes unless `names` has others.
    fn pooled(&self, x: SymbolicTensor, names: [&str; 2]) -> Result<SymbolicTensor> {
        match self.pooling {
            None => Ok(x),
            Some(Pooling::Avg) => GlobalAveragePooling2D::new().name(names[0]).call(&x),
            Some(Pooling::Max) => GlobalMaxPooling2D::new().name(names[1]).call(&x),
        }
    }
}

/// A type whose methods are Keras' options, and whose own `network` calls its layers.
///
/// `default` is the shape of the images with the top, `least` the smallest height and width; further fields are options
/// of this network alone.
macro_rules! application {
    (
        $(#[$doc:meta])*
        $network:ident { default: $default:expr, least: $least:expr, classes: $classes:literal
            $(, $(#[$of:meta])* $field:ident: $type:ty = $value:expr)* $(,)? }
        name: $name:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $network {
            options: super::Options,
            $($field: $type,)*
        }

        impl $network {
            /// With the defaults of all options, and without pretrained weights.
            pub fn new() -> Self {
                $network { options: super::Options::new($classes), $($field: $value,)* }
            }

            /// Whether the network ends in its classifier. Default: `true`.
            pub fn include_top(mut self, include_top: bool) -> Self {
                self.options.include_top = include_top;
                self
            }

            /// The shape of an image, `[height, width, channels]`. Default:
            #[doc = concat!("`", stringify!($default), "`; without the top, images of any size.")]
            pub fn input_shape(mut self, input_shape: impl AsRef<[usize]>) -> Self {
                self.options.input_shape = Some(input_shape.as_ref().to_vec());
                self
            }

            #[doc = concat!("The number of classes. Default: ", stringify!($classes), ".")]
            pub fn classes(mut self, classes: usize) -> Self {
                self.options.classes = classes;
                self
            }

            /// Without the top: how the last features become a vector. Default: not at all, the output is
            /// `(batch, height, width, channels)`.
            pub fn pooling(mut self, pooling: impl Into<Option<super::Pooling>>) -> Self {
                self.options.pooling = pooling.into();
                self
            }

            /// The activation of the classifier; `"linear"` gives the logits. Default: `"softmax"`.
            pub fn classifier_activation(mut self, activation: impl Into<crate::Activation>) -> Self {
                self.options.classifier_activation = activation.into();
                self
            }

            /// A file of weights for this network, top included or not as here: a `.h5`, `.weights.h5` or `.keras` of
            /// Keras, a `.cornu` or a `.safetensors`. Default: none, the weights are drawn.
            pub fn weights(mut self, path: impl Into<std::path::PathBuf>) -> Self {
                self.options.weights = Some(path.into());
                self
            }

            /// The name of the model. Default: Keras', or the module's.
            pub fn name(mut self, name: &str) -> Self {
                self.options.name = Some(name.to_owned());
                self
            }

            /// The model's seed. Default: as of [`Sequential::with_seed`](crate::Sequential::with_seed).
            pub fn seed(mut self, seed: u64) -> Self {
                self.options.seed = Some(seed);
                self
            }

            $($(#[$of])*
            pub fn $field(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            })*

            /// Makes the network, with its weights.
            ///
            /// # Errors
            /// When an option makes no sense, the images are too small, or the file's weights are not this network's.
            pub fn build(&self) -> crate::Result<crate::Model> {
                self.options.finish(self.outline()?)
            }

            /// The network without its weights.
            pub(super) fn outline(&self) -> crate::Result<crate::Model> {
                let image = self.options.image($default, $least)?;
                let name: fn(&Self) -> String = $name;
                self.options.outline(&name(self), &image, |image| self.network(image))
            }
        }

        impl Default for $network {
            fn default() -> Self {
                Self::new()
            }
        }
    };
}
pub(crate) use application;
