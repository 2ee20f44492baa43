//! VGG-16: 13 convolutions and three dense layers.

use super::{Preprocessing, application, vgg};
use crate::data::Element;
use crate::error::Result;
use crate::model::SymbolicTensor;
use ndarray::{Array, ArrayBase, Data, RemoveAxis};

application! {
    /// VGG-16 (Simonyan, Zisserman: *Very deep convolutional networks for large-scale image recognition*, 2015), as Keras
    /// builds it: `keras.applications.VGG16`.
    ///
    /// ```no_run
    /// let model = cornu::applications::VGG16::new().build()?;
    /// assert_eq!(model.count_params(), 138_357_544);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    VGG16 { default: [224, 224, 3], least: 32, classes: 1000 }
    name: |_| "vgg16".to_owned()
}

impl VGG16 {
    fn network(&self, image: &SymbolicTensor) -> Result<SymbolicTensor> {
        vgg::network(&self.options, image, [2, 2, 3, 3, 3])
    }
}

/// Images of RGB from 0 to 255 as the pretrained weights want them: [`Preprocessing::Caffe`].
///
/// # Errors
/// When the last axis is not 3 channels.
pub fn preprocess_input<A: Element, D: RemoveAxis>(
    images: &ArrayBase<impl Data<Elem = A>, D>,
) -> Result<Array<f32, D>> {
    super::preprocess_input(images, Preprocessing::Caffe)
}
