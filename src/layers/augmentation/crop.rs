//! Pieces of images.

use super::{Augmentation, Draws};
use crate::config::{self, Config};
use crate::error::Result;
use crate::kernels::resize::{Interpolation, Runs, middle};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::layers::DataFormat;
use crate::layers::resizing::{check_size, image_shape};
use crate::shape::Shape;
use ndarray_rand::rand::Rng as _;
use serde::{Deserialize, Serialize};

/// In training, cuts the same random piece out of all images of a batch (Keras: `RandomCrop`).
///
/// Where an image is not larger in both directions, what is cut is stretched to the size, bilinearly, as Keras 3.15
/// does.
///
/// Input `(batch, any height, any width, channels)`. The output is said to be `(batch, height, width, channels)`. In
/// inference Keras 3.15 hands images on **in their own size**, whatever its documentation says, and so does this layer:
/// give it images of the size that it makes, or put a [`CenterCrop`](crate::layers::CenterCrop) in its place.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct RandomCrop {
    height: usize,
    width: usize,
    seed: Option<u64>,
    data_format: DataFormat,
}

impl RandomCrop {
    /// Pieces of this size.
    pub fn new(height: usize, width: usize) -> Self {
        RandomCrop { height, width, ..Self::default() }
    }

    /// A seed of the layer's own. Default: the model's.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Where the channels are in a model. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }

    /// The height and the width of what is cut at this place.
    fn piece(&self, size: [usize; 3], [top, left]: [usize; 2]) -> [usize; 2] {
        [self.height.min(size[0].saturating_sub(top)), self.width.min(size[1].saturating_sub(left))]
    }

    /// How a piece is stretched, down and across.
    fn stretch(&self, piece: [usize; 2]) -> Result<[Runs; 2]> {
        let runs = |from, to| Runs::resize(from, to, Interpolation::Bilinear, false);
        Ok([runs(piece[0], self.height)?, runs(piece[1], self.width)?])
    }
}

impl Default for RandomCrop {
    /// Pieces of one pixel.
    fn default() -> Self {
        RandomCrop { height: 1, width: 1, seed: None, data_format: DataFormat::default() }
    }
}

impl Augmentation for RandomCrop {
    /// The first row and the first column of the piece.
    type Parameters = [usize; 2];

    fn draw(&self, [height, width, _]: [usize; 3], draws: &mut Draws) -> [usize; 2] {
        if height > self.height && width > self.width {
            return [height - self.height, width - self.width].map(|most| draws.batch.random_range(0..=most));
        }
        // The middle, in the proportions of the piece.
        let [place, _] = middle([height, width], [self.height, self.width]);
        place
    }

    fn output_size(&self, size: [usize; 3]) -> [usize; 3] {
        [self.height, self.width, size[2]]
    }

    fn write(&self, size: [usize; 3], place: &[usize; 2], image: &[f32], out: &mut [f32]) -> Result<()> {
        let ([_, width, channels], piece) = (size, self.piece(size, *place));
        let row = |i: usize| &image[((place[0] + i) * width + place[1]) * channels..][..piece[1] * channels];
        if piece == [self.height, self.width] {
            let rows = out.chunks_exact_mut(self.width * channels);
            rows.enumerate().for_each(|(i, out)| out.copy_from_slice(row(i)));
            return Ok(());
        }
        let [down, across] = self.stretch(piece)?;
        let cut: Vec<f32> = (0..piece[0]).flat_map(|i| row(i).iter().copied()).collect();
        let mut tall = vec![0.0; self.height * piece[1] * channels];
        down.forward(&cut, piece[1] * channels, &mut tall);
        across.forward(&tall, channels, out);
        Ok(())
    }

    fn gradient(&self, size: [usize; 3], place: &[usize; 2], _: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<()> {
        let ([_, width, channels], piece) = (size, self.piece(size, *place));
        let mut cut = dy.to_vec();
        if piece != [self.height, self.width] {
            let [down, across] = self.stretch(piece)?;
            let mut tall = vec![0.0; self.height * piece[1] * channels];
            across.backward(dy, channels, &mut tall);
            cut.resize(piece[0] * piece[1] * channels, 0.0);
            down.backward(&tall, piece[1] * channels, &mut cut);
        }
        dx.fill(0.0);
        for (i, row) in cut.chunks_exact(piece[1] * channels).enumerate() {
            dx[((place[0] + i) * width + place[1]) * channels..][..row.len()].copy_from_slice(row);
        }
        Ok(())
    }
}

impl Layer for RandomCrop {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        check_size(self.height, self.width)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        image_shape(one_shape(inputs)?, [self.height, self.width].into(), self.data_format)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        super::forward(self, cx.training(), self.seed, self.data_format, inputs, cx)
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        super::backward(self, self.data_format, gradients, cx)
    }
}
