//! Residual networks: [`ResNet20`] to [`ResNet56`] for small images, [`ResNet18`] to [`ResNet152`] for large ones.

use super::{Options, Preprocessing, application};
use crate::data::Element;
use crate::error::Result;
use crate::layer::LayerExt;
use crate::layers::{
    Activation, Add, BatchNormalization, Conv2D, DataFormat, GlobalAveragePooling2D, MaxPooling2D, ZeroPadding2D,
};
use crate::model::SymbolicTensor;
use crate::shape::Padding;
use ndarray::{Array, ArrayBase, Data, RemoveAxis};

/// The networks of one kind; `network` is called with the number of blocks in each stage.
macro_rules! networks {
    ($default:expr, $least:expr, $classes:literal, $network:ident;
        $($(#[$doc:meta])* $network_type:ident, $name:literal, $blocks:expr, $parameters:literal;)*) => { $(
        application! {
            $(#[$doc])*
            ///
            #[doc = concat!("Parameters, moving averages included: ", $parameters, ".")]
            $network_type { default: $default, least: $least, classes: $classes }
            name: |_| $name.to_owned()
        }

        impl $network_type {
            fn network(&self, image: &SymbolicTensor) -> Result<SymbolicTensor> {
                $network(&self.options, image, $blocks)
            }
        }
    )* };
}

networks! { [32, 32, 3], 8, 10, small;
    /// The residual network of 20 layers for images of 32x32 pixels (He, Zhang, Ren, Sun: *Deep residual learning for
    /// image recognition*, 2016, section 4.2).
    ///
    /// A 3x3 convolution, then three stages of blocks of two, with 16, 32 and 64 filters. Shortcuts have no weights:
    /// where the features become fewer and deeper, every second pixel goes on and the new channels are zeros.
    /// Convolutions have no bias and start as He et al. draw them. The paper trains with `SGD`, momentum 0.9 and weight
    /// decay 1e-4, from a rate of 0.1 that falls tenfold twice, on images that are shifted and mirrored at random.
    ///
    /// ```
    /// let model = cornu::applications::ResNet20::new().input_shape([28, 28, 1]).build()?;
    /// assert_eq!(model.output_shape()?.to_string(), "(None, 10)");
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ResNet20, "resnet20", 3, "271,098";
    /// As [`ResNet20`], with 32 layers.
    ResNet32, "resnet32", 5, "466,426";
    /// As [`ResNet20`], with 44 layers.
    ResNet44, "resnet44", 7, "661,754";
    /// As [`ResNet20`], with 56 layers.
    ResNet56, "resnet56", 9, "857,082";
}

networks! { [224, 224, 3], 32, 1000, basic;
    /// The residual network of 18 layers (He et al. 2016, table 1): four stages of blocks of two 3x3 convolutions
    /// without a bias. Where the shape changes, a 1x1 convolution stands in the shortcut. Keras has no such network;
    /// the layers are named as in its [`ResNet50`], and the arithmetic is that of PyTorch's `resnet18`.
    ResNet18, "resnet18", [2, 2, 2, 2], "11,699,112";
    /// As [`ResNet18`], with 34 layers.
    ResNet34, "resnet34", [3, 4, 6, 3], "21,814,696";
}

networks! { [224, 224, 3], 32, 1000, deep;
    /// The residual network of 50 layers (He et al. 2016), as Keras builds it: `keras.applications.ResNet50`.
    ///
    /// ```no_run
    /// let model = cornu::applications::ResNet50::new().build()?;
    /// assert_eq!(model.count_params(), 25_636_712);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ResNet50, "resnet50", [3, 4, 6, 3], "25,636,712";
    /// The residual network of 101 layers, as Keras builds it: `keras.applications.ResNet101`.
    ResNet101, "resnet101", [3, 4, 23, 3], "44,707,176";
    /// The residual network of 152 layers, as Keras builds it: `keras.applications.ResNet152`.
    ResNet152, "resnet152", [3, 8, 36, 3], "60,419,944";
}

/// For small images: `blocks` in each of three stages.
fn small(options: &Options, image: &SymbolicTensor, blocks: usize) -> Result<SymbolicTensor> {
    let convolution = |filters: usize, strides: usize| {
        let convolution = Conv2D::new(filters, 3).strides(strides).padding(Padding::Same).use_bias(false);
        convolution.kernel_initializer("he_normal")
    };
    let norm = |x: &SymbolicTensor, name: String| BatchNormalization::new().name(&name).call(x);
    let x = norm(&convolution(16, 1).name("conv1_conv").call(image)?, "conv1_bn".to_owned())?;
    let mut x = relu(&x, "conv1_relu".to_owned())?;
    for (stage, filters) in [(2, 16), (3, 32), (4, 64)] {
        for block in 1..=blocks {
            let name = |part: &str| format!("conv{stage}_block{block}_{part}");
            let (shrinks, mut shortcut) = (stage > 2 && block == 1, x.clone());
            if shrinks {
                shortcut = MaxPooling2D::new(1).strides(2).name(&name("0_pool")).call(&shortcut)?;
                // Channels last are to this layer the columns of an image with its channels first.
                let zeros = ZeroPadding2D::new(((0, 0), (filters / 4, filters / 4)));
                shortcut = zeros.data_format(DataFormat::ChannelsFirst).name(&name("0_pad")).call(&shortcut)?;
            }
            let strides = if shrinks { 2 } else { 1 };
            x = norm(&convolution(filters, strides).name(&name("1_conv")).call(&x)?, name("1_bn"))?;
            x = relu(&x, name("1_relu"))?;
            x = norm(&convolution(filters, 1).name(&name("2_conv")).call(&x)?, name("2_bn"))?;
            x = Add::new().name(&name("add")).call([&shortcut, &x])?;
            x = relu(&x, name("out"))?;
        }
    }
    top(options, x)
}

/// Stages of blocks of two 3x3 convolutions.
fn basic(options: &Options, image: &SymbolicTensor, blocks: [usize; 4]) -> Result<SymbolicTensor> {
    large(options, image, blocks, false, |x, name, filters, strides, first| {
        let named = |part: &str| format!("{name}_{part}");
        // The padding is the same on all sides, also where a stride leaves out the last row.
        let convolution = |x: &SymbolicTensor, i: usize, strides: usize| {
            let padded = ZeroPadding2D::new(1).name(&named(&format!("{i}_pad"))).call(x)?;
            let convolution = Conv2D::new(filters, 3).strides(strides).use_bias(false).kernel_initializer("he_normal");
            norm(&convolution.name(&named(&format!("{i}_conv"))).call(&padded)?, named(&format!("{i}_bn")))
        };
        let mut shortcut = x.clone();
        if first && (strides > 1 || x.shape()?.last() != Some(filters)) {
            let projection = Conv2D::new(filters, 1).strides(strides).use_bias(false);
            shortcut = norm(&projection.name(&named("0_conv")).call(x)?, named("0_bn"))?;
        }
        let x = relu(&convolution(x, 1, strides)?, named("1_relu"))?;
        let x = Add::new().name(&named("add")).call([&shortcut, &convolution(&x, 2, 1)?])?;
        relu(&x, named("out"))
    })
}

/// Stages of blocks that narrow the features by a 1x1 convolution, filter them and widen them again.
fn deep(options: &Options, image: &SymbolicTensor, blocks: [usize; 4]) -> Result<SymbolicTensor> {
    large(options, image, blocks, true, |x, name, filters, strides, first| {
        let named = |part: &str| format!("{name}_{part}");
        let mut shortcut = x.clone();
        if first {
            let projection = Conv2D::new(4 * filters, 1).strides(strides);
            shortcut = norm(&projection.name(&named("0_conv")).call(x)?, named("0_bn"))?;
        }
        let x = norm(&Conv2D::new(filters, 1).strides(strides).name(&named("1_conv")).call(x)?, named("1_bn"))?;
        let x = relu(&x, named("1_relu"))?;
        let convolution = Conv2D::new(filters, 3).padding(Padding::Same);
        let x = norm(&convolution.name(&named("2_conv")).call(&x)?, named("2_bn"))?;
        let x = relu(&x, named("2_relu"))?;
        let x = norm(&Conv2D::new(4 * filters, 1).name(&named("3_conv")).call(&x)?, named("3_bn"))?;
        let x = Add::new().name(&named("add")).call([&shortcut, &x])?;
        relu(&x, named("out"))
    })
}

/// For large images: a 7x7 convolution and a pool, then four stages. `block` is called with its input, its name, the
/// filters and the stride of its stage, and whether it is the first there.
fn large(
    options: &Options,
    image: &SymbolicTensor,
    blocks: [usize; 4],
    bias: bool,
    block: impl Fn(&SymbolicTensor, &str, usize, usize, bool) -> Result<SymbolicTensor>,
) -> Result<SymbolicTensor> {
    let x = ZeroPadding2D::new(3).name("conv1_pad").call(image)?;
    let x = Conv2D::new(64, 7).strides(2).use_bias(bias).name("conv1_conv").call(&x)?;
    let x = relu(&norm(&x, "conv1_bn".to_owned())?, "conv1_relu".to_owned())?;
    let x = ZeroPadding2D::new(1).name("pool1_pad").call(&x)?;
    let mut x = MaxPooling2D::new(3).strides(2).name("pool1_pool").call(&x)?;
    for (stage, (blocks, filters)) in (2..).zip(blocks.into_iter().zip([64, 128, 256, 512])) {
        for i in 1..=blocks {
            let strides = if stage > 2 && i == 1 { 2 } else { 1 };
            x = block(&x, &format!("conv{stage}_block{i}"), filters, strides, i == 1)?;
        }
    }
    top(options, x)
}

fn top(options: &Options, x: SymbolicTensor) -> Result<SymbolicTensor> {
    if !options.include_top {
        return options.pooled(x, ["avg_pool", "max_pool"]);
    }
    options.classifier(&GlobalAveragePooling2D::new().name("avg_pool").call(&x)?)
}

fn norm(x: &SymbolicTensor, name: String) -> Result<SymbolicTensor> {
    BatchNormalization::new().epsilon(1.001e-5).name(&name).call(x)
}

fn relu(x: &SymbolicTensor, name: String) -> Result<SymbolicTensor> {
    Activation::relu().name(&name).call(x)
}

/// Images of RGB from 0 to 255 as the pretrained weights of Keras' ResNet-50, -101 and -152 want them:
/// [`Preprocessing::Caffe`]. Weights of PyTorch want [`Preprocessing::Torch`].
///
/// # Errors
/// When the last axis is not 3 channels.
pub fn preprocess_input<A: Element, D: RemoveAxis>(
    images: &ArrayBase<impl Data<Elem = A>, D>,
) -> Result<Array<f32, D>> {
    super::preprocess_input(images, Preprocessing::Caffe)
}
