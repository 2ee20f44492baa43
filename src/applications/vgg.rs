//! What VGG's networks have in common.

use super::Options;
use crate::error::Result;
use crate::layer::LayerExt;
use crate::layers::{Conv2D, Dense, Flatten, MaxPooling2D};
use crate::model::SymbolicTensor;
use crate::shape::Padding;

/// Five blocks with so many convolutions, then three dense layers.
pub(super) fn network(options: &Options, image: &SymbolicTensor, blocks: [usize; 5]) -> Result<SymbolicTensor> {
    let mut x = image.clone();
    for (block, (convolutions, filters)) in (1..).zip(blocks.into_iter().zip([64, 128, 256, 512, 512])) {
        for i in 1..=convolutions {
            let convolution = Conv2D::new(filters, 3).padding(Padding::Same).activation("relu");
            x = convolution.name(&format!("block{block}_conv{i}")).call(&x)?;
        }
        x = MaxPooling2D::new(2).strides(2).name(&format!("block{block}_pool")).call(&x)?;
    }
    if !options.include_top {
        return options.pooled(x, ["global_average_pooling2d", "global_max_pooling2d"]);
    }
    let x = Flatten::new().name("flatten").call(&x)?;
    let x = Dense::new(4096).activation("relu").name("fc1").call(&x)?;
    let x = Dense::new(4096).activation("relu").name("fc2").call(&x)?;
    options.classifier(&x)
}
