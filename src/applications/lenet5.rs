//! LeNet-5, the network that read cheques.

use super::application;
use crate::error::Result;
use crate::layer::LayerExt;
use crate::layers::{Conv2D, Dense, Flatten, MaxPooling2D};
use crate::model::SymbolicTensor;
use crate::shape::Padding;

application! {
    /// LeNet-5 (LeCun, Bottou, Bengio, Haffner: *Gradient-based learning applied to document recognition*, 1998), with
    /// what is used today for its squashing functions and trained pools: relu and max-pooling.
    ///
    /// Convolutions of 6 and 16 5x5 filters, each with a 2x2 pool behind it, then 120, 84 and 10 units. The first
    /// convolution pads, so that images of 28x28 pixels give the features that 32x32 gave in the paper.
    ///
    /// ```
    /// use cornu::applications::LeNet5;
    /// let model = LeNet5::new().build()?;
    /// assert_eq!(model.count_params(), 61_706);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    LeNet5 { default: [28, 28, 1], least: 12, classes: 10 }
    name: |_| "lenet5".to_owned()
}

impl LeNet5 {
    fn network(&self, image: &SymbolicTensor) -> Result<SymbolicTensor> {
        let x = Conv2D::new(6, 5).padding(Padding::Same).activation("relu").name("conv1").call(image)?;
        let x = MaxPooling2D::new(2).name("pool1").call(&x)?;
        let x = Conv2D::new(16, 5).activation("relu").name("conv2").call(&x)?;
        let x = MaxPooling2D::new(2).name("pool2").call(&x)?;
        if !self.options.include_top {
            return self.options.pooled(x, ["avg_pool", "max_pool"]);
        }
        let x = Flatten::new().name("flatten").call(&x)?;
        let x = Dense::new(120).activation("relu").name("fc1").call(&x)?;
        let x = Dense::new(84).activation("relu").name("fc2").call(&x)?;
        self.options.classifier(&x)
    }
}
