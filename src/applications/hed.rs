//! Holistically-nested edge detection: the outlines in a photograph.

use crate::data::Element;
use crate::error::{Context, Result, ensure};
use crate::layer::{CallExt, LayerExt};
use crate::layers::{Concatenate, Conv2D, Input, Interpolation, MaxPooling2D, Resizing};
use crate::model::{Model, Sequential};
use crate::random;
use crate::shape::Padding;
use ndarray::{Array, ArrayBase, Axis, Data, RemoveAxis};
use std::path::PathBuf;

/// HED (Xie, Tu: *Holistically-nested edge detection*, 2015): VGG-16's convolutions, with a guess at the edges from each
/// of the five blocks and one from all guesses together.
///
/// Images are `(batch, height, width, 3)` as [`preprocess_input`] makes them, the output `(batch, height, width, 1)` is
/// how likely each pixel is on an edge, from 0 to 1. The layers are models `block1` to `block5` (2x2 max-pools in front
/// of the last four, padded), 1x1 convolutions `dsn1` to `dsn5`, whose outputs are resized bilinearly, and a 1x1
/// convolution `fuse`: so named and nested they fit the file of weights for a Keras model with these attributes.
///
/// ```
/// let model = cornu::applications::Hed::new(48, 64).build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 48, 64, 1)");
/// assert_eq!(model.count_params(), 14_716_171);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Hed {
    height: usize,
    width: usize,
    weights: Option<PathBuf>,
    seed: Option<u64>,
}

impl Hed {
    /// For images of this size.
    pub fn new(height: usize, width: usize) -> Self {
        Hed { height, width, weights: None, seed: None }
    }

    /// A file of weights. Default: none, the weights are drawn.
    pub fn weights(mut self, path: impl Into<PathBuf>) -> Self {
        self.weights = Some(path.into());
        self
    }

    /// The model's seed. Default: as of [`Sequential::with_seed`].
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Makes the network, with its weights.
    ///
    /// # Errors
    /// When the images have no pixels, or the file's weights are not this network's.
    pub fn build(&self) -> Result<Model> {
        let (height, width) = (self.height, self.width);
        ensure!(height > 0 && width > 0, Argument, "images of {height} x {width} pixels have none");
        let image = Input::new([height, width, 3]).node();
        let mut x = image.clone();
        let mut sides = Vec::new();
        for (i, (filters, convolutions)) in (1..).zip([(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]) {
            let mut block = Sequential::new().with_name(&format!("block{i}"));
            block.add(Input::of(x.shape()?.clone()));
            if i > 1 {
                block.add(MaxPooling2D::new(2).padding(Padding::Same));
            }
            for k in 1..=convolutions {
                let convolution = Conv2D::new(filters, 3).padding(Padding::Same).activation("relu");
                block.add(convolution.name(&format!("block{i}_conv{k}")));
            }
            x = block.call(&x)?;
            let side = Conv2D::new(1, 1).name(&format!("dsn{i}")).call(&x)?;
            sides.push(Resizing::new(height, width).interpolation(Interpolation::Bilinear).call(&side)?);
        }
        let all = Concatenate::new().call(&sides)?;
        let edges = Conv2D::new(1, 1).activation("sigmoid").name("fuse").call(&all)?;
        let mut model = Model::unbuilt("hed", &image, &edges)?;
        model.seed = self.seed.unwrap_or_else(random::fresh_seed);
        match &self.weights {
            None => model.build()?,
            Some(path) => {
                model.build_to_load(usize::MAX)?;
                model.load_weights(path).at(|| "weights of 'hed'".to_owned())?;
            }
        }
        Ok(model)
    }
}

/// Images of RGB from 0 to 255 as the weights of the paper want them: BGR, less (104.00699, 116.66877, 122.67892).
///
/// # Errors
/// When the last axis is not 3 channels.
pub fn preprocess_input<A: Element, D: RemoveAxis>(
    images: &ArrayBase<impl Data<Elem = A>, D>,
) -> Result<Array<f32, D>> {
    let mut x = images.map(|value| value.to_f32());
    ensure!(x.shape().last() == Some(&3), Shape, "images of shape {:?}: the last axis must be RGB", x.shape());
    let channels = Axis(x.ndim() - 1);
    x.invert_axis(channels);
    for (mut channel, mean) in x.axis_iter_mut(channels).zip([104.00699, 116.66877, 122.67892]) {
        channel.mapv_inplace(|value| value - mean);
    }
    Ok(x.as_standard_layout().into_owned())
}
