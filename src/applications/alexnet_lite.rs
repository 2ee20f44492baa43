//! AlexNet for small images.

use super::application;
use crate::error::Result;
use crate::layer::LayerExt;
use crate::layers::{Conv2D, Dense, Dropout, Flatten, LocalResponseNormalization, MaxPooling2D};
use crate::model::SymbolicTensor;
use crate::shape::Padding;

application! {
    /// [`AlexNet`](super::AlexNet)'s plan at the size of MNIST's and CIFAR's images.
    ///
    /// Five convolutions (32 filters of 5x5, 64 of 5x5, then 96, 96 and 64 of 3x3), local response normalization behind
    /// the first two, overlapping pools of 3x3 with stride 2 behind the first, second and fifth, and two layers of 256
    /// units with dropout 0.5. Weights start as He et al. draw them for relu, so that it learns within a few epochs.
    ///
    /// ```
    /// use cornu::applications::AlexNetLite;
    /// let model = AlexNetLite::new().input_shape([32, 32, 3]).build()?;
    /// assert_eq!(model.output_shape()?.to_string(), "(None, 10)");
    /// # Ok::<(), cornu::Error>(())
    /// ```
    AlexNetLite { default: [28, 28, 1], least: 15, classes: 10 }
    name: |_| "alexnet_lite".to_owned()
}

impl AlexNetLite {
    fn network(&self, image: &SymbolicTensor) -> Result<SymbolicTensor> {
        let mut x = image.clone();
        for (i, filters, size) in [(1, 32, 5), (2, 64, 5), (3, 96, 3), (4, 96, 3), (5, 64, 3)] {
            let convolution = Conv2D::new(filters, size).padding(Padding::Same).activation("relu");
            x = convolution.kernel_initializer("he_normal").name(&format!("conv{i}")).call(&x)?;
            if i <= 2 {
                x = LocalResponseNormalization::new().name(&format!("norm{i}")).call(&x)?;
            }
            if i != 3 && i != 4 {
                x = MaxPooling2D::new(3).strides(2).name(&format!("pool{i}")).call(&x)?;
            }
        }
        if !self.options.include_top {
            return self.options.pooled(x, ["avg_pool", "max_pool"]);
        }
        x = Flatten::new().name("flatten").call(&x)?;
        for i in [6, 7] {
            let dense = Dense::new(256).activation("relu").kernel_initializer("he_normal");
            x = dense.name(&format!("fc{i}")).call(&x)?;
            x = Dropout::new(0.5).name(&format!("drop{i}")).call(&x)?;
        }
        self.options.classifier(&x)
    }
}
