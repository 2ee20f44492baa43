//! AlexNet, with which deep networks won ImageNet.

use super::application;
use crate::error::Result;
use crate::initializers::RandomNormal;
use crate::layer::LayerExt;
use crate::layers::{Conv2D, Dense, Dropout, Flatten, LocalResponseNormalization, MaxPooling2D, ZeroPadding2D};
use crate::model::SymbolicTensor;

application! {
    /// AlexNet (Krizhevsky, Sutskever, Hinton: *ImageNet classification with deep convolutional neural networks*, 2012).
    ///
    /// 96 filters of 11x11 with stride 4 and 256 of 5x5, each followed by local response normalization and a pool of
    /// 3x3 with stride 2; 384, 384 and 256 filters of 3x3 and such a pool; two layers of 4096 units with dropout 0.5.
    /// Weights start as in the paper: drawn with a deviation of 0.01, with biases of 1 in the second, fourth and fifth
    /// convolution and in the hidden dense layers. The paper trains it with `SGD`, momentum 0.9 and weight decay 5e-4.
    ///
    /// ```no_run
    /// let model = cornu::applications::AlexNet::new().build()?;
    /// assert_eq!(model.count_params(), 62_378_344);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    AlexNet {
        default: [227, 227, 3], least: 67, classes: 1000,
        /// In how many columns the second, fourth and fifth convolution are cut, which see nothing of each other: 2 in
        /// the paper, one for each of its processors (60,965,224 parameters). Default: 1.
        groups: usize = 1,
    }
    name: |_| "alexnet".to_owned()
}

impl AlexNet {
    fn network(&self, image: &SymbolicTensor) -> Result<SymbolicTensor> {
        let small = || RandomNormal::new(0.0, 0.01);
        let convolution =
            |filters: usize, size: usize| Conv2D::new(filters, size).activation("relu").kernel_initializer(small());
        let normalized = |x: SymbolicTensor, i: usize| -> Result<SymbolicTensor> {
            let x = LocalResponseNormalization::new().name(&format!("norm{i}")).call(&x)?;
            MaxPooling2D::new(3).strides(2).name(&format!("pool{i}")).call(&x)
        };
        let padded =
            |x: &SymbolicTensor, size: usize, i: usize| ZeroPadding2D::new(size).name(&format!("conv{i}_pad")).call(x);
        let x = convolution(96, 11).strides(4).name("conv1").call(image)?;
        let x = padded(&normalized(x, 1)?, 2, 2)?;
        let x = convolution(256, 5).groups(self.groups).bias_initializer("ones").name("conv2").call(&x)?;
        let x = padded(&normalized(x, 2)?, 1, 3)?;
        let x = padded(&convolution(384, 3).name("conv3").call(&x)?, 1, 4)?;
        let x = convolution(384, 3).groups(self.groups).bias_initializer("ones").name("conv4").call(&x)?;
        let x = padded(&x, 1, 5)?;
        let x = convolution(256, 3).groups(self.groups).bias_initializer("ones").name("conv5").call(&x)?;
        let mut x = MaxPooling2D::new(3).strides(2).name("pool5").call(&x)?;
        if !self.options.include_top {
            return self.options.pooled(x, ["avg_pool", "max_pool"]);
        }
        x = Flatten::new().name("flatten").call(&x)?;
        for i in [6, 7] {
            let dense = Dense::new(4096).activation("relu").kernel_initializer(small()).bias_initializer("ones");
            x = dense.name(&format!("fc{i}")).call(&x)?;
            x = Dropout::new(0.5).name(&format!("drop{i}")).call(&x)?;
        }
        self.options.classifier(&x)
    }
}
