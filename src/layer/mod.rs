//! The contract of a layer: the trait, its weights, and the contexts of a forward and a backward pass.
//!
//! A layer owns its weights and nothing else. What a forward pass must remember for its backward
//! pass is saved in the context of that **call**, gradients go to a store that belongs to the step,
//! and the name, the `trainable` flag and the activity regularizer belong to the [`LayerHandle`]
//! around it. So one layer can stand at several places of a graph or in several models, predictions
//! can share a model between threads, and inference saves nothing.

mod context;
pub(crate) mod flops;
mod fusion;
mod gradient_store;
mod handle;
mod param;
mod values;

pub use context::{Arguments, Backward, Forward, Masks, Saved};
pub(crate) use context::{Call, Effects, Gates, Pass, child_stream};
pub use fusion::{Fused, Fusible};
pub use gradient_store::GradientStore;
pub(crate) use gradient_store::Products;
pub use handle::{CallExt, LayerExt, LayerHandle};
pub use param::{Build, Param};
pub use values::{Gradients, Values};

use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::any::Any;
use std::fmt;

/// A layer with any number of inputs, outputs, weights and child layers.
///
/// A layer with one input, one output and nothing to learn is easier to write as a [`SimpleLayer`].
///
/// ```
/// use cornu::layer::{Backward, Build, Forward, Gradients, Param, Values};
/// use cornu::prelude::*;
///
/// /// y = scale · x, with one scale to learn.
/// #[derive(Default)]
/// struct Scale {
///     scale: Param,
/// }
///
/// impl Layer for Scale {
///     fn build(&mut self, _: &[Shape], cx: &mut Build) -> Result<()> {
///         self.scale = cx.weight("scale", &[1], &"ones".into(), &None, &None)?;
///         Ok(())
///     }
///     fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
///         let (x, scale) = (inputs.one()?, self.scale.value().data()[0]);
///         cx.save(x.clone());
///         Ok(x.map(|v| v * scale).into())
///     }
///     fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
///         let (x, g) = (cx.restore()?, gradients.one()?);
///         if let Some(sum) = cx.gradient(&self.scale) {
///             sum[0] += x.data().iter().zip(g.data()).map(|(x, g)| x * g).sum::<f32>();
///         }
///         let scale = self.scale.value().data()[0];
///         Ok(g.map(|g| g * scale).into())
///     }
///     fn visit(&self, visit: &mut dyn FnMut(&Param)) {
///         visit(&self.scale);
///     }
/// }
///
/// cornu::testing::check_layer(Scale::default(), &[[4, 3]])?;
/// # Ok::<(), cornu::Error>(())
/// ```
pub trait Layer: Any + Send + Sync {
    /// Keras' name of the class: `"Conv2D"`.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }

    /// What makes it again (Keras: `get_config`), without the name and what else belongs to the
    /// [`LayerHandle`]. Without it the layer runs, and a model that uses it cannot be saved.
    ///
    /// # Errors
    /// By default: that it has none.
    fn config(&self) -> Result<Config> {
        Err(config::no_config("layer", self.class_name()))
    }

    /// Whether its arguments make sense. Called before [`build`](Self::build).
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The shapes of its outputs for these inputs. By default those of the inputs.
    ///
    /// # Errors
    /// When it cannot take such inputs.
    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        Ok(inputs.to_vec())
    }

    /// As [`output_shapes`](Self::output_shapes), for a call with these arguments, by which a layer may give out
    /// more (`return_attention_scores`) or take inputs by name.
    ///
    /// # Errors
    /// As [`output_shapes`](Self::output_shapes).
    fn call_shapes(&self, inputs: &[Shape], _arguments: &Arguments) -> Result<Vec<Shape>> {
        self.output_shapes(inputs)
    }

    /// Makes its weights, once the shapes of its inputs are known.
    ///
    /// # Errors
    /// When it cannot take such inputs.
    fn build(&mut self, _inputs: &[Shape], _cx: &mut Build) -> Result<()> {
        Ok(())
    }

    /// Computes the outputs, and saves in `cx` what [`backward`](Self::backward) will need.
    ///
    /// # Errors
    /// When the inputs do not fit.
    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values>;

    /// From the gradients of the outputs, adds those of its weights to the store and returns those
    /// of its inputs. What `forward` saved last is restored first.
    ///
    /// # Errors
    /// When the gradients do not fit.
    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients>;

    /// Whether the mask of its first input goes on to its outputs (Keras: `supports_masking`): so for layers that
    /// work on each step of a sequence alone. A layer can also [set the masks](Forward::set_masks) of its outputs.
    fn supports_masking(&self) -> bool {
        false
    }

    /// Whether it makes masks itself (Masking, Embedding): then a batch is not split, since the loss is a mean over
    /// all entries that count.
    fn creates_mask(&self) -> bool {
        false
    }

    /// Shows its weights, its state and its child layers, in the order in which Keras stores them.
    fn visit(&self, _visit: &mut dyn FnMut(&Param)) {}

    /// The floating-point operations of a forward pass for one sample, whose inputs and outputs have these shapes, the batch
    /// first: a multiplication and an addition are two. Activations and what only moves values are not counted.
    ///
    /// By default a weight of a kernel is a multiplication and an addition for each position of the first output, that is,
    /// for each of its places but for the channels, which are last; and one of a bias, or of anything of rank 1, is an
    /// addition. So it is nothing for a layer without weights.
    fn flops(&self, _inputs: &[Shape], outputs: &[Shape]) -> f64 {
        outputs.first().map_or(0.0, |output| flops::positions(output) * flops::of_weights(|visit| self.visit(visit)))
    }

    /// Forgets what it carries from one batch to the next (a stateful recurrent layer), as do layers inside it.
    fn reset_states(&self) {}

    /// Whether it carries something from one batch to the next, in inference too: then batches run whole and one after
    /// another.
    fn carries_states(&self) -> bool {
        false
    }

    /// Shows `visit` what it carries so, which [`visit`](Self::visit) leaves out. Default: nothing.
    fn visit_states(&self, visit: &mut dyn FnMut(&Param)) {
        let _ = visit;
    }

    /// Whether, in training, an output or a tracked weight depends on several samples of the batch
    /// (BatchNormalization): then a batch is not split.
    fn couples_samples(&self) -> bool {
        false
    }

    /// Whether its output is what [`Activation::Relu`](crate::Activation::Relu) gave. Then its only reader may take
    /// over a part of its backward pass: see [`gates_relu`](Self::gates_relu).
    fn ends_in_relu(&self) -> bool {
        false
    }

    /// Whether its backward pass can make the gradient of its input 0 where that is not above 0, at less cost than a
    /// pass of its own over all values (MaxPooling, which reads fewer). It does when [`Backward::gates_input`] says so.
    fn gates_relu(&self) -> bool {
        false
    }

    /// What it does to inputs of these shapes when it predicts, where a layer beside it could do that on the way. Such
    /// a layer is then not called.
    fn fusible(&self, _inputs: &[Shape]) -> Option<Fusible> {
        None
    }

    /// Factor and offset for each channel of a layer that is [`Fusible::Affine`]. They are asked for again when one of
    /// its weights has changed.
    ///
    /// # Errors
    /// When it is not.
    fn affine(&self) -> Result<[Tensor; 2]> {
        Err(Error::State("the layer is no affine function".to_owned()))
    }

    /// Whether its forward pass does all of this, one after the other, with its results, when it finds it in
    /// [`Forward::fused`]; asked for a growing list, as long as it agrees: never two of a kind, and in the order of the
    /// fields of [`Fused`]. A padding, which stands alone, is that of its input, whose values are not below 0 where
    /// `positive` says so.
    fn fuses(&self, _what: &[Fusible], _positive: bool) -> bool {
        false
    }
}

impl fmt::Debug for dyn Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.class_name())
    }
}

/// A layer with one input, one output, and neither weights nor randomness.
///
/// ```
/// use cornu::prelude::*;
///
/// /// y = x², value by value.
/// struct Square;
///
/// impl SimpleLayer for Square {
///     fn forward(&self, x: &Tensor) -> Result<Tensor> {
///         Ok(x.clone().map(|v| v * v))
///     }
///     fn backward(&self, x: &Tensor, _y: &Tensor, gradient: Tensor) -> Result<Tensor> {
///         gradient.zip_map(x, |g, v| g * 2.0 * v)
///     }
/// }
///
/// let mut model = Sequential::new();
/// model.add(Input::new([3])).add(Square).add(Dense::new(1));
/// model.build()?;
/// assert_eq!(model.predict(&ndarray::array![[1.0, 2.0, 3.0]], Predict::default())?.shape(), [1, 1]);
/// # Ok::<(), cornu::Error>(())
/// ```
pub trait SimpleLayer: Any + Send + Sync {
    /// The name it is saved under. By default the name of the type.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }

    /// What makes it again. Without it the layer runs, and a model that uses it cannot be saved.
    ///
    /// # Errors
    /// By default: that it has none.
    fn config(&self) -> Result<Config> {
        Err(config::no_config("layer", self.class_name()))
    }

    /// Whether the mask of its input goes on to its output: see [`Layer::supports_masking`].
    fn supports_masking(&self) -> bool {
        false
    }

    /// The shape of the output. By default that of the input.
    ///
    /// # Errors
    /// When it cannot take such an input.
    fn output_shape(&self, input: &Shape) -> Result<Shape> {
        Ok(input.clone())
    }

    /// The output for a batch.
    ///
    /// # Errors
    /// When the input does not fit.
    fn forward(&self, x: &Tensor) -> Result<Tensor>;

    /// The gradient of the input, from the input, the output and the gradient of the output.
    ///
    /// # Errors
    /// When the gradient does not fit.
    fn backward(&self, x: &Tensor, y: &Tensor, gradient: Tensor) -> Result<Tensor>;
}

impl<T: SimpleLayer> Layer for T {
    fn class_name(&self) -> &str {
        SimpleLayer::class_name(self)
    }
    fn config(&self) -> Result<Config> {
        SimpleLayer::config(self)
    }
    fn supports_masking(&self) -> bool {
        SimpleLayer::supports_masking(self)
    }
    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        Ok(vec![self.output_shape(one_shape(inputs)?)?])
    }
    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let y = SimpleLayer::forward(self, &x)?;
        cx.save(x);
        cx.save(y.clone());
        Ok(y.into())
    }
    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let y = cx.restore()?;
        let x = cx.restore()?;
        Ok(SimpleLayer::backward(self, &x, &y, gradients.one()?)?.into())
    }
}

/// The only one of these shapes.
///
/// # Errors
/// When there are none or several.
pub fn one_shape(inputs: &[Shape]) -> Result<&Shape> {
    match inputs {
        [only] => Ok(only),
        other => Err(Error::Argument(format!("expected one input, got {}", other.len()))),
    }
}
