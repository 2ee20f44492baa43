//! MobileNetV2, a small network of separable convolutions.

use super::{Preprocessing, application};
use crate::data::Element;
use crate::error::{Result, ensure};
use crate::layer::LayerExt;
use crate::layers::{Add, BatchNormalization, Conv2D, DepthwiseConv2D, GlobalAveragePooling2D, ReLU, ZeroPadding2D};
use crate::model::SymbolicTensor;
use crate::shape::Padding;
use ndarray::{Array, ArrayBase, Data, RemoveAxis};

application! {
    /// MobileNetV2 (Sandler et al.: *MobileNetV2: inverted residuals and linear bottlenecks*, 2018), as Keras builds it:
    /// `keras.applications.MobileNetV2`.
    ///
    /// ```
    /// let model = cornu::applications::MobileNetV2::new().build()?;
    /// assert_eq!(model.count_params(), 3_538_984);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    MobileNetV2 {
        default: [224, 224, 3], least: 32, classes: 1000,
        /// The factor of the number of filters in each layer. Default: 1. Keras has weights for 0.35, 0.5, 0.75, 1, 1.3
        /// and 1.4.
        alpha: f64 = 1.0,
    }
    name: |network| {
        let side = network.options.input_shape.as_ref().map(|shape| shape[0]);
        let any = if network.options.include_top { "224" } else { "None" };
        format!("mobilenetv2_{:.2}_{}", network.alpha, side.map_or(any.to_owned(), |side| side.to_string()))
    }
}

impl MobileNetV2 {
    fn network(&self, image: &SymbolicTensor) -> Result<SymbolicTensor> {
        let alpha = self.alpha;
        ensure!(alpha > 0.0 && alpha <= 1e3, Argument, "alpha is {alpha}; it must be above 0, such as 1.0 or 0.5");
        let convolution = Conv2D::new(divisible(32.0 * alpha), 3).strides(2).padding(Padding::Same).use_bias(false);
        let x = relu6(&norm(&convolution.name("Conv1").call(image)?, "bn_Conv1")?, "Conv1_relu")?;
        // Expansion, filters, blocks and the stride of the first of them: table 2 of the paper.
        let stages =
            [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];
        let blocks = stages.into_iter().flat_map(|(expansion, filters, blocks, stride)| {
            (0..blocks).map(move |i| (expansion, filters, if i == 0 { stride } else { 1 }))
        });
        let mut x = x;
        for (block, (expansion, filters, stride)) in blocks.enumerate() {
            x = inverted_residual(&x, block, expansion, divisible((filters as f64 * alpha).floor()), stride)?;
        }
        // Narrow networks keep all of the last filters.
        let last = if alpha > 1.0 { divisible(1280.0 * alpha) } else { 1280 };
        let x = Conv2D::new(last, 1).use_bias(false).name("Conv_1").call(&x)?;
        let x = relu6(&norm(&x, "Conv_1_bn")?, "out_relu")?;
        if !self.options.include_top {
            return self.options.pooled(x, ["global_average_pooling2d", "global_max_pooling2d"]);
        }
        let x = GlobalAveragePooling2D::new().name("global_average_pooling2d").call(&x)?;
        self.options.classifier(&x)
    }
}

/// Widens by a 1x1 convolution, filters each channel alone, and narrows again; what went in is added where it fits.
fn inverted_residual(
    input: &SymbolicTensor,
    block: usize,
    expansion: usize,
    filters: usize,
    stride: usize,
) -> Result<SymbolicTensor> {
    let prefix = if block == 0 { "expanded_conv".to_owned() } else { format!("block_{block}") };
    let name = |part: &str| format!("{prefix}_{part}");
    let channels = input.shape()?.last().unwrap_or(0);
    let pointwise = |filters| Conv2D::new(filters, 1).padding(Padding::Same).use_bias(false);
    let mut x = input.clone();
    if block > 0 {
        x = norm(&pointwise(expansion * channels).name(&name("expand")).call(&x)?, &name("expand_BN"))?;
        x = relu6(&x, &name("expand_relu"))?;
    }
    if stride == 2 {
        // Keras' `correct_pad`: one row less above where their number is even, as in the networks of the paper.
        let before = |axis: usize| x.shape().map(|shape| shape.get(axis).map_or(0, |size| size % 2));
        x = ZeroPadding2D::new(((before(1)?, 1), (before(2)?, 1))).name(&name("pad")).call(&x)?;
    }
    let padding = if stride == 1 { Padding::Same } else { Padding::Valid };
    let depthwise = DepthwiseConv2D::new(3).strides(stride).padding(padding).use_bias(false);
    x = norm(&depthwise.name(&name("depthwise")).call(&x)?, &name("depthwise_BN"))?;
    x = relu6(&x, &name("depthwise_relu"))?;
    x = norm(&pointwise(filters).name(&name("project")).call(&x)?, &name("project_BN"))?;
    if channels == filters && stride == 1 { Add::new().name(&name("add")).call([input, &x]) } else { Ok(x) }
}

fn norm(x: &SymbolicTensor, name: &str) -> Result<SymbolicTensor> {
    BatchNormalization::new().epsilon(1e-3).momentum(0.999).name(name).call(x)
}

fn relu6(x: &SymbolicTensor, name: &str) -> Result<SymbolicTensor> {
    ReLU::new().max_value(6.0).name(name).call(x)
}

/// The multiple of 8 next to `filters`, and not much less than it.
fn divisible(filters: f64) -> usize {
    let near = 8 * ((filters + 4.0) as usize / 8).max(1);
    if (near as f64) < 0.9 * filters { near + 8 } else { near }
}

/// Images of RGB from 0 to 255 as the pretrained weights want them: [`Preprocessing::Tf`].
///
/// # Errors
/// None for images of any shape; the type is that of the other networks' functions.
pub fn preprocess_input<A: Element, D: RemoveAxis>(
    images: &ArrayBase<impl Data<Elem = A>, D>,
) -> Result<Array<f32, D>> {
    super::preprocess_input(images, Preprocessing::Tf)
}
