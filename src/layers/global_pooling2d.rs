//! The largest or the mean value of a whole image, channel by channel.

use super::margins::image;
use super::{ChannelsLast, image_channels};
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::kernels::reduce::{add_column_sums, fill_rows};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The argument of a global pooling layer, and what the layers share.
macro_rules! global_pooling {
    ($(#[$doc:meta])* $class:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $class {
            data_format: ChannelsLast,
            keepdims: bool,
        }

        impl $class {
            /// The layer.
            pub fn new() -> Self {
                Self::default()
            }

            /// Whether height and width stay, with size 1. Default: false.
            pub fn keepdims(mut self, keepdims: bool) -> Self {
                self.keepdims = keepdims;
                self
            }
        }
    };
}

global_pooling! {
    /// The largest value of each channel (Keras: `GlobalMaxPooling2D`).
    ///
    /// Input `(batch, height, width, channels)`, output `(batch, channels)`, or
    /// `(batch, 1, 1, channels)` with `keepdims`. Where several cells are the largest, the gradient
    /// is split between them, as in Keras.
    GlobalMaxPooling2D
}

global_pooling! {
    /// The mean of each channel (Keras: `GlobalAveragePooling2D`; Lin, Chen, Yan: *Network in
    /// network*, 2013).
    ///
    /// Input `(batch, height, width, channels)`, output `(batch, channels)`, or
    /// `(batch, 1, 1, channels)` with `keepdims`.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// let mut model = Sequential::new();
    /// model.add(Input::new([7, 7, 512])).add(GlobalAveragePooling2D::new());
    /// model.build()?;
    /// assert_eq!(model.output_shape()?.to_string(), "(None, 512)");
    /// # Ok::<(), cornu::Error>(())
    /// ```
    GlobalAveragePooling2D
}

fn output_shapes(inputs: &[Shape], keepdims: bool) -> Result<Vec<Shape>> {
    let input = one_shape(inputs)?;
    let channels = Some(image_channels(input)?);
    let empty = input.get(1) == Some(0) || input.get(2) == Some(0);
    ensure!(!empty, Shape, "the images of input {input} have no cells");
    let batch = input.dims()[0];
    Ok(vec![if keepdims { Shape::new([batch, Some(1), Some(1), channels]) } else { Shape::new([batch, channels]) }])
}

/// The output's dimensions and the number of cells of an image.
fn geometry(x: &Tensor, keepdims: bool) -> Result<(Dims, usize)> {
    let [batch, height, width, channels] = image(x)?;
    let dims: &[usize] = if keepdims { &[batch, 1, 1, channels] } else { &[batch, channels] };
    Ok((Dims::from_slice(dims), height * width))
}

impl Layer for GlobalMaxPooling2D {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        output_shapes(inputs, self.keepdims)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let (dims, cells) = geometry(&x, self.keepdims)?;
        let channels = x.last().max(1);
        let mut y = cx.scratch(&dims);
        y.data_mut().fill(f32::NEG_INFINITY);
        for (y, x) in y.data_mut().chunks_exact_mut(channels).zip(x.data().chunks_exact((cells * channels).max(1))) {
            for cell in x.chunks_exact(channels) {
                // A NaN stays, so that it is seen.
                y.iter_mut().zip(cell).for_each(|(y, x)| *y = if *x > *y || x.is_nan() { *x } else { *y });
            }
        }
        cx.save(x);
        cx.save(y.clone());
        Ok(y.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let y = cx.restore()?;
        let mut dx = cx.restore()?;
        let mut share = gradients.one()?;
        let channels = y.last().max(1);
        let image = dx.len() / y.len().max(1) * channels;
        let mut counts = vec![0f32; channels];
        let samples = share.data_mut().chunks_exact_mut(channels).zip(y.data().chunks_exact(channels));
        for ((share, y), dx) in samples.zip(dx.data_mut().chunks_exact_mut(image.max(1))) {
            counts.fill(0.0);
            for cell in dx.chunks_exact(channels) {
                let same = counts.iter_mut().zip(cell).zip(y);
                same.for_each(|((count, x), y)| *count += f32::from(u8::from(x == y)));
            }
            share.iter_mut().zip(&counts).for_each(|(share, count)| *share /= count.max(1.0));
            for cell in dx.chunks_exact_mut(channels) {
                let each = cell.iter_mut().zip(&*share).zip(y);
                each.for_each(|((x, share), y)| *x = if *x == *y { *share } else { 0.0 });
            }
        }
        Ok(dx.into())
    }
}

impl Layer for GlobalAveragePooling2D {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        output_shapes(inputs, self.keepdims)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let (dims, cells) = geometry(&x, self.keepdims)?;
        let channels = x.last().max(1);
        let mut y = cx.scratch(&dims);
        y.data_mut().fill(0.0);
        for (y, x) in y.data_mut().chunks_exact_mut(channels).zip(x.data().chunks_exact((cells * channels).max(1))) {
            add_column_sums(x, y);
            y.iter_mut().for_each(|y| *y /= cells as f32);
        }
        cx.save_shape(x.shape());
        Ok(y.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let shape = cx.restore_shape()?;
        let mut dx = cx.scratch(&shape);
        let cells = shape[1] * shape[2];
        let share = gradients.one()?.map(|g| g / cells as f32);
        let channels = shape[3].max(1);
        let images = dx.data_mut().chunks_exact_mut((cells * channels).max(1));
        images.zip(share.data().chunks_exact(channels)).for_each(|(dx, share)| fill_rows(dx, share));
        Ok(dx.into())
    }
}
