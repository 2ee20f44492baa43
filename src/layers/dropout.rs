//! Units that are left out at random.

use crate::config::{self, Config};
use crate::error::{Context, Result, ensure};
use crate::kernels::vectorised;
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::random::{Rng, check_rate};
use crate::runtime::threads;
use crate::shape::Shape;
use crate::tensor::Tensor;
use ndarray_rand::rand::RngCore;
use serde::{Deserialize, Serialize};

/// In training, sets each value to 0 with probability `rate` and multiplies the others by
/// `1 / (1 - rate)`; else lets all pass (Keras: `Dropout`; Srivastava et al. 2014).
///
/// The output has the shape of the input. What is dropped depends on the seed, the layer, the step
/// and the sample's place in the epoch, not on how a batch is split.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([3])).add(Dropout::new(0.5));
/// model.build()?;
/// let x = ndarray::array![[1.0, 2.0, 3.0]];
/// assert_eq!(model.predict(&x, Predict::default())?, x.into_dyn()); // not in training
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dropout {
    rate: f64,
    seed: Option<u64>,
    noise_shape: Option<Vec<Option<usize>>>,
}

impl Dropout {
    /// Drops this share of the values: at least 0, below 1.
    pub fn new(rate: f64) -> Self {
        Dropout { rate, ..Self::default() }
    }

    /// A seed of the layer's own. Default: the model's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The shape of the draws, the batch first: along an axis of size 1 all values share one draw;
    /// `None` takes the input's size. Default: a draw for each value.
    ///
    /// `[None, Some(1), None]` drops whole features of `(batch, time, features)`.
    pub fn noise_shape(mut self, noise_shape: impl Into<Vec<Option<usize>>>) -> Self {
        self.noise_shape = Some(noise_shape.into());
        self
    }
}

impl Layer for Dropout {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        check_rate("rate", self.rate)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        check_noise_shape(self.noise_shape.as_deref(), input)?;
        Ok(vec![input.clone()])
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        Ok(drop_values(inputs.one()?, self.rate, self.seed, self.noise_shape.as_deref(), cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        Ok(drop_gradients(gradients.one()?, self.rate, cx)?.into())
    }
}

/// Checks that each size of a noise shape is 1 or the input's.
pub(super) fn check_noise_shape(noise_shape: Option<&[Option<usize>]>, input: &Shape) -> Result<()> {
    if let Some(noise) = noise_shape {
        let fits = |(noise, input): (&Option<usize>, &Option<usize>)| match (noise, input) {
            (Some(noise), Some(input)) => *noise == 1 || noise == input,
            (Some(0), None) => false,
            _ => true,
        };
        ensure!(
            noise.len() == input.rank() && noise.iter().zip(input.dims()).all(fits),
            Shape,
            "noise_shape {} does not fit the input {input}; each of its sizes must be 1 or the input's",
            Shape::new(noise)
        );
    }
    Ok(())
}

/// Drops values in training, and saves which, one bit for each.
pub(super) fn drop_values(
    mut x: Tensor,
    rate: f64,
    seed: Option<u64>,
    noise_shape: Option<&[Option<usize>]>,
    cx: &mut Forward<'_>,
) -> Result<Tensor> {
    if !cx.training() || rate == 0.0 || x.is_empty() {
        // No bits: nothing was dropped.
        cx.save_indices(Vec::new());
        return Ok(x);
    }
    let len = x.len() / x.batch();
    let words = len.div_ceil(32);
    let mut kept = cx.workspace().take_indices(x.batch() * words);
    let noise = noise_shape.map(|noise| Noise::new(noise, x.shape())).transpose().at(|| "noise_shape".to_owned())?;
    for (i, kept) in kept.chunks_exact_mut(words).enumerate() {
        match &noise {
            None => draw(kept, rate, cx.rng_with(seed, i)),
            Some(noise) => {
                let rng = if noise.shared { cx.shared_rng(seed) } else { cx.rng_with(seed, i) };
                let mut drawn = cx.workspace().take_indices(noise.len.div_ceil(32));
                draw(&mut drawn, rate, rng);
                noise.spread(&drawn, kept);
                cx.workspace().give_indices(drawn);
            }
        }
    }
    keep(&mut x, &kept, rate);
    cx.save_indices(kept);
    Ok(x)
}

/// The gradient of [`drop_values`].
pub(super) fn drop_gradients(mut gradient: Tensor, rate: f64, cx: &mut Backward<'_>) -> Result<Tensor> {
    let kept = cx.restore_indices()?;
    if !kept.is_empty() {
        keep(&mut gradient, &kept, rate);
        cx.workspace().give_indices(kept);
    }
    Ok(gradient)
}

/// Draws bits, each set with probability `1 - rate`.
fn draw(kept: &mut [u32], rate: f64, mut rng: Rng) {
    let threshold = (rate * 2f64.powi(32)) as u32;
    let mut bytes = [0; 32 * size_of::<u32>()];
    vectorised(
        #[inline(always)]
        move || {
            for word in kept {
                rng.fill_bytes(&mut bytes);
                let (draws, _) = bytes.as_chunks();
                let bits = draws.iter().enumerate();
                *word =
                    bits.fold(0, |bits, (bit, &draw)| bits | u32::from(u32::from_le_bytes(draw) >= threshold) << bit);
            }
        },
    );
}

/// Scales the values whose bit is set and drops the others. Each sample starts with a new word.
fn keep(x: &mut Tensor, kept: &[u32], rate: f64) {
    let scale = (1.0 / (1.0 - rate)) as f32;
    let len = x.len() / x.batch();
    let words = len.div_ceil(32);
    let samples = ((1 << 16) / len).max(1);
    threads::for_each_chunk(x.data_mut(), samples * len, |i, x| {
        vectorised(
            #[inline(always)]
            move || {
                for (x, kept) in x.chunks_exact_mut(len).zip(kept[i * samples * words..].chunks_exact(words)) {
                    for (x, word) in x.chunks_mut(32).zip(kept) {
                        for (bit, x) in x.iter_mut().enumerate() {
                            *x = if word >> bit & 1 == 1 { *x * scale } else { 0.0 };
                        }
                    }
                }
            },
        );
    });
}

/// Draws that several values of a sample share.
struct Noise {
    /// Whether all samples share them too.
    shared: bool,
    /// The number of draws for a sample.
    len: usize,
    /// The size of each axis of a sample, and how far apart its draws are.
    axes: Vec<(usize, usize)>,
}

impl Noise {
    fn new(noise: &[Option<usize>], shape: &[usize]) -> Result<Self> {
        let fits = noise.iter().zip(shape).all(|(noise, &size)| noise.is_none_or(|n| n == 1 || n == size));
        ensure!(
            fits && noise.len() == shape.len(),
            Shape,
            "{} does not fit an input of shape {shape:?}",
            Shape::new(noise)
        );
        let mut len = 1;
        let mut axes: Vec<(usize, usize)> = Vec::with_capacity(shape.len());
        for (noise, &size) in noise.iter().zip(shape).skip(1).rev() {
            let apart = *noise != Some(1);
            axes.push((size, if apart { len } else { 0 }));
            len *= if apart { size } else { 1 };
        }
        axes.reverse();
        Ok(Noise { shared: noise.first() == Some(&Some(1)), len, axes })
    }

    /// Sets the bit of each value of a sample to that of its draw.
    fn spread(&self, drawn: &[u32], kept: &mut [u32]) {
        kept.fill(0);
        let len: usize = self.axes.iter().map(|(size, _)| size).product();
        for i in 0..len {
            let (mut rest, mut at) = (i, 0);
            for (size, stride) in self.axes.iter().rev() {
                at += rest % size * stride;
                rest /= size;
            }
            kept[i / 32] |= (drawn[at / 32] >> (at % 32) & 1) << (i % 32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Pass;
    use crate::runtime::Workspace;

    fn dropped(x: Tensor, first_sample: u64) -> Tensor {
        let pass = Pass { training: true, seed: 5, step: 2, first_sample, share: 1.0, workspace: Workspace::new() };
        let (mut saved, mut effects) = Default::default();
        let mut cx = Forward { stream: 9, ..Forward::of_model(&pass, &mut saved, &mut effects, false) };
        drop_values(x, 0.4, None, None, &mut cx).unwrap()
    }

    #[test]
    fn how_a_batch_is_split_changes_nothing() {
        let whole = dropped(Tensor::full([32, 45], 1.0), 0);
        let halves = [0, 16].map(|first| dropped(Tensor::full([16, 45], 1.0), first));
        assert_eq!(whole.data(), [halves[0].data(), halves[1].data()].concat());
        assert_ne!(halves[0].data(), halves[1].data());
    }
}
