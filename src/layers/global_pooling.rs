//! The largest or the mean value of a whole sequence, image or volume, channel by channel.

use super::spatial::{DataFormat, channels, class_of, volume};
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::kernels::pool::{global_average_backward, global_average_forward};
use crate::kernels::vectorised;
use crate::layer::{Backward, Forward, Gradients, Layer, Values, flops, one_shape};
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The largest value of each channel of a sequence (Keras: `GlobalMaxPooling1D`): see [`GlobalMaxPooling`].
pub type GlobalMaxPooling1D = GlobalMaxPooling<1>;
/// The largest value of each channel of an image (Keras: `GlobalMaxPooling2D`): see [`GlobalMaxPooling`].
pub type GlobalMaxPooling2D = GlobalMaxPooling<2>;
/// The largest value of each channel of a volume (Keras: `GlobalMaxPooling3D`): see [`GlobalMaxPooling`].
pub type GlobalMaxPooling3D = GlobalMaxPooling<3>;
/// The mean of each channel of a sequence (Keras: `GlobalAveragePooling1D`): see [`GlobalAveragePooling`].
///
/// Where the sequence has a mask, it is the mean of the steps that count.
pub type GlobalAveragePooling1D = GlobalAveragePooling<1>;
/// The mean of each channel of an image (Keras: `GlobalAveragePooling2D`): see [`GlobalAveragePooling`].
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([7, 7, 512])).add(GlobalAveragePooling2D::new());
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 512)");
/// # Ok::<(), cornu::Error>(())
/// ```
pub type GlobalAveragePooling2D = GlobalAveragePooling<2>;
/// The mean of each channel of a volume (Keras: `GlobalAveragePooling3D`): see [`GlobalAveragePooling`].
pub type GlobalAveragePooling3D = GlobalAveragePooling<3>;

/// The arguments of a global pooling layer, and what the layers share.
macro_rules! global_pooling {
    ($(#[$doc:meta])* $class:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(default = "Default::default")]
        pub struct $class<const N: usize> {
            data_format: DataFormat,
            keepdims: bool,
        }

        impl<const N: usize> $class<N> {
            /// The layer.
            pub fn new() -> Self {
                Self::default()
            }

            /// Whether the spatial axes stay, with size 1. Default: false.
            pub fn keepdims(mut self, keepdims: bool) -> Self {
                self.keepdims = keepdims;
                self
            }

            /// Where the channels are. Default: last.
            pub fn data_format(mut self, data_format: DataFormat) -> Self {
                self.data_format = data_format;
                self
            }
        }
    };
}

global_pooling! {
    /// The largest value of each channel (Keras: [`GlobalMaxPooling1D`], [`GlobalMaxPooling2D`],
    /// [`GlobalMaxPooling3D`]).
    ///
    /// Input `(batch, …, channels)`, output `(batch, channels)`, or `(batch, 1…, channels)` with `keepdims`. Where
    /// several cells are the largest, the gradient is split between them, as in Keras.
    GlobalMaxPooling
}

global_pooling! {
    /// The mean of each channel (Keras: [`GlobalAveragePooling1D`], [`GlobalAveragePooling2D`],
    /// [`GlobalAveragePooling3D`]; Lin, Chen, Yan: *Network in network*, 2013).
    ///
    /// Input `(batch, …, channels)`, output `(batch, channels)`, or `(batch, 1…, channels)` with `keepdims`.
    GlobalAveragePooling
}

fn output_shapes<const N: usize>(inputs: &[Shape], keepdims: bool, format: DataFormat) -> Result<Vec<Shape>> {
    let input = &format.last_shape(one_shape(inputs)?);
    let channels = Some(channels::<N>(input)?);
    ensure!(!input.dims()[1..=N].contains(&Some(0)), Shape, "the samples of input {input} have no cells");
    let batch = input.dims()[0];
    let ones = std::iter::repeat_n(Some(1), if keepdims { N } else { 0 });
    let output: Vec<_> = std::iter::once(batch).chain(ones).chain([channels]).collect();
    Ok(vec![format.given_shape(Shape::new(output))])
}

/// The output's dimensions and the number of cells of a sample.
fn geometry<const N: usize>(x: &Tensor, keepdims: bool) -> Result<(Dims, usize)> {
    let [batch, depth, height, width, channels] = volume::<N>(x.shape())?;
    let ones = std::iter::repeat_n(1, if keepdims { N } else { 0 });
    Ok((std::iter::once(batch).chain(ones).chain([channels]).collect(), depth * height * width))
}

impl<const N: usize> Layer for GlobalMaxPooling<N> {
    fn class_name(&self) -> &str {
        class_of::<N>(["GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D"])
    }

    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        output_shapes::<N>(inputs, self.keepdims, self.data_format)
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> f64 {
        flops::values(inputs)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = self.data_format.last(inputs.one()?);
        let (dims, cells) = geometry::<N>(&x, self.keepdims)?;
        let channels = x.last().max(1);
        let mut y = cx.scratch(&dims);
        y.data_mut().fill(f32::NEG_INFINITY);
        let samples = y.data_mut().chunks_exact_mut(channels).zip(x.data().chunks_exact((cells * channels).max(1)));
        vectorised(
            #[inline(always)]
            move || {
                for (y, x) in samples {
                    for cell in x.chunks_exact(channels) {
                        // A NaN stays, so that it is seen.
                        y.iter_mut().zip(cell).for_each(|(y, x)| *y = if *x > *y || x.is_nan() { *x } else { *y });
                    }
                }
            },
        );
        cx.save(x);
        cx.save(y.clone());
        Ok(self.data_format.given(y).into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let y = cx.restore()?;
        let mut dx = cx.restore()?;
        let mut share = self.data_format.last(gradients.one()?);
        let channels = y.last().max(1);
        let sample = dx.len() / y.len().max(1) * channels;
        let mut counts = cx.scratch([channels]);
        let counts = counts.data_mut();
        let samples = share.data_mut().chunks_exact_mut(channels).zip(y.data().chunks_exact(channels));
        let samples = samples.zip(dx.data_mut().chunks_exact_mut(sample.max(1)));
        vectorised(
            #[inline(always)]
            move || {
                for ((share, y), dx) in samples {
                    counts.fill(0.0);
                    for cell in dx.chunks_exact(channels) {
                        let same = counts.iter_mut().zip(cell).zip(y);
                        same.for_each(|((count, x), y)| *count += if x == y { 1.0 } else { 0.0 });
                    }
                    share.iter_mut().zip(&*counts).for_each(|(share, count)| *share /= count.max(1.0));
                    for cell in dx.chunks_exact_mut(channels) {
                        let each = cell.iter_mut().zip(&*share).zip(y);
                        each.for_each(|((x, share), y)| *x = if *x == *y { *share } else { 0.0 });
                    }
                }
            },
        );
        Ok(self.data_format.given(dx).into())
    }
}

impl<const N: usize> Layer for GlobalAveragePooling<N> {
    fn class_name(&self) -> &str {
        class_of::<N>(["GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D"])
    }

    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        output_shapes::<N>(inputs, self.keepdims, self.data_format)
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> f64 {
        flops::values(inputs)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = self.data_format.last(inputs.one()?);
        let (dims, cells) = geometry::<N>(&x, self.keepdims)?;
        let mut y = cx.scratch(&dims);
        match cx.mask(0).filter(|_| N == 1).cloned() {
            None => {
                global_average_forward(x.data(), [x.batch(), cells, x.last()], y.data_mut());
                cx.save_indices(Vec::new());
            }
            Some(mask) => {
                let mut counts = cx.workspace().take_indices(mask.len());
                counting_steps(&mask, &x, &mut counts)?;
                masked_average(&x, &counts, y.data_mut());
                cx.save_indices(counts);
            }
        }
        cx.save_shape(x.shape());
        Ok(self.data_format.given(y).into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let (shape, counts) = (cx.restore_shape()?, cx.restore_indices()?);
        let [batch, depth, height, width, channels] = volume::<N>(&shape)?;
        let dy = self.data_format.last(gradients.one()?);
        let (mut dx, cells) = (cx.scratch(&shape), depth * height * width);
        if counts.is_empty() {
            global_average_backward(dy.data(), [batch, cells, channels], dx.data_mut());
        } else {
            let samples = dx.data_mut().chunks_exact_mut(cells * channels).zip(dy.data().chunks_exact(channels));
            for ((dx, dy), counts) in samples.zip(counts.chunks_exact(cells)) {
                let share = 1.0 / counts.iter().sum::<u32>() as f32;
                for (dx, &counts) in dx.chunks_exact_mut(channels).zip(counts) {
                    dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = if counts == 1 { dy * share } else { 0.0 });
                }
            }
            cx.workspace().give_indices(counts);
        }
        Ok(self.data_format.given(dx).into())
    }
}

/// Which steps count, by a mask.
fn counting_steps(mask: &Tensor, x: &Tensor, counts: &mut [u32]) -> Result<()> {
    ensure!(
        mask.shape() == &x.shape()[..2],
        Shape,
        "a mask of shape {:?} does not fit an input of shape {:?}",
        mask.shape(),
        x.shape()
    );
    counts.iter_mut().zip(mask.data()).for_each(|(counts, &mask)| *counts = u32::from(mask != 0.0));
    Ok(())
}

/// The mean of the steps that count; a sequence without any gives NaN, as in Keras.
fn masked_average(x: &Tensor, counts: &[u32], y: &mut [f32]) {
    let (steps, channels) = (x.shape()[1], x.last());
    if y.is_empty() || steps == 0 {
        return;
    }
    let samples = x.data().chunks_exact(steps * channels).zip(y.chunks_exact_mut(channels));
    for ((x, y), counts) in samples.zip(counts.chunks_exact(steps)) {
        let of = f64::from(counts.iter().sum::<u32>());
        for (channel, y) in y.iter_mut().enumerate() {
            let values = x[channel..].iter().step_by(channels).zip(counts);
            *y = (values.filter(|(_, counts)| **counts == 1).map(|(&x, _)| f64::from(x)).sum::<f64>() / of) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{GradientStore, Pass};
    use crate::runtime::Workspace;

    /// Against Keras 3.15.
    #[test]
    #[allow(clippy::excessive_precision, reason = "as Keras prints them")]
    fn steps_that_are_masked_do_not_count() {
        let x: Vec<f32> = (0..30).map(|i| (f64::from(i) * 1.7).sin() as f32).collect();
        let x = Tensor::new([2, 5, 3], x).unwrap();
        let mask = Tensor::new([2, 5], vec![1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]).unwrap();
        let pass = Pass { training: false, seed: 0, step: 0, first_sample: 0, share: 1.0, workspace: Workspace::new() };
        let layer = GlobalAveragePooling1D::new();
        let forward = |mask: &Tensor| {
            let (mut saved, mut effects) = Default::default();
            let mut cx = Forward::of_model(&pass, &mut saved, &mut effects, true);
            cx.masks = [Some(mask.clone())].into_iter().collect();
            Layer::forward(&layer, x.clone().into(), &mut cx)?.one().map(|y| (y, saved))
        };
        let (y, mut saved) = forward(&mask).unwrap();
        let want = [-0.176_358, 0.174_794, 0.131_316, -0.164_226, -0.243_939, 0.227_087];
        crate::testing::check_close(&y, &Tensor::new([2, 3], want.to_vec()).unwrap(), 1e-6).unwrap();

        // Its gradient: a map that is linear, and does not see what is masked.
        let mut gradients = GradientStore::new(&[]);
        let mut cx = Backward {
            saved: &mut saved,
            gradients: &mut gradients,
            workspace: &pass.workspace,
            share: 1.0,
            trainable: true,
            wanted: smallvec::smallvec![true],
            gates: Default::default(),
        };
        let dy = Tensor::new([2, 3], vec![1.0, -2.0, 3.0, 0.5, 1.5, -1.0]).unwrap();
        let gradients = Layer::backward(&layer, dy.clone().into(), &mut cx).unwrap();
        let dx = gradients.into_iter().next().flatten().unwrap();
        let dot = |a: &Tensor, b: &Tensor| a.data().iter().zip(b.data()).map(|(a, b)| a * b).sum::<f32>();
        assert!((dot(&dx, &x) - dot(&dy, &y)).abs() < 1e-6);
        assert_eq!(dx.data()[6..9], [0.0; 3]);
        assert_eq!(dx.data()[3..6], [1.0 / 3.0, -2.0 / 3.0, 1.0]);

        let error = forward(&Tensor::zeros([2, 4])).unwrap_err().to_string();
        assert!(error.contains("a mask of shape [2, 4] does not fit"), "{error}");
        assert!(forward(&Tensor::zeros([2, 5])).unwrap().0.data().iter().all(|v| v.is_nan()));
    }
}
