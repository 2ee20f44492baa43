//! What a layer finds in an image.

use super::axis::significant;
use super::colors::heat;
use super::pixels::Pixels;
use super::probe::{first_sample, output_of};
use super::tiles::{Colors, Tiles};
use super::{Area, Drawing, Drawn, picture};
use crate::data::Rows;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::tensor::Tensor;
use ndarray::Array3;

/// The maps that a layer makes of an image, a tile for each channel.
///
/// Dark is the smallest value and a pale yellow the largest, of all maps together or of [each by itself](Self::scale_each).
/// Up to 64 are shown.
///
/// ```
/// use cornu::{applications::LeNet5, visualize::FeatureMaps};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("maps.png");
/// let model = LeNet5::new().build()?;
/// let image = ndarray::Array4::<f32>::from_shape_fn((1, 28, 28, 1), |(_, i, j, _)| (i * j) as f32 / 729.0);
/// let maps = FeatureMaps::of(&model, "conv1", &image)?;
/// assert_eq!(maps.maps().dim(), (28, 28, 6));
/// maps.save(path)?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FeatureMaps {
    maps: Array3<f32>,
    limit: usize,
    scale_each: bool,
    title: Option<String>,
}

impl FeatureMaps {
    /// What the layer of this name (of a model inside `base/conv`) puts out for the first image of `x`, a batch as the model
    /// takes it: `(batch, height, width, channels)`.
    ///
    /// # Errors
    /// When the model is not built, has no such layer, the layer's output is not `(batch, height, width, channels)`, or the
    /// image does not fit.
    pub fn of(model: &Model, layer: &str, x: &impl Rows) -> Result<Self> {
        let output = output_of(model, layer, &first_sample(x)?)?;
        match *output.shape() {
            [1, height, width, channels] if !output.is_empty() => {
                let maps = Array3::from_shape_vec((height, width, channels), Tensor::into_vec(output));
                let maps = maps.map_err(|error| Error::Shape(error.to_string()))?;
                Ok(FeatureMaps { maps, limit: 64, scale_each: false, title: None })
            }
            _ => Err(Error::Shape(format!(
                "layer '{layer}' puts out {:?}; maps need (batch, height, width, channels)",
                output.shape()
            ))),
        }
    }

    /// Whether each map has its colours for its own values, so that weak ones are seen, too. Default: false, so that they can
    /// be compared.
    pub fn scale_each(mut self, scale_each: bool) -> Self {
        self.scale_each = scale_each;
        self
    }

    /// The most maps that are shown. Default: 64.
    pub fn limit(mut self, maps: usize) -> Self {
        self.limit = maps.max(1);
        self
    }

    /// The maps, `(height, width, channels)`.
    pub fn maps(&self) -> &Array3<f32> {
        &self.maps
    }

    fn tiles(&self) -> Tiles {
        let (height, width, channels) = self.maps.dim();
        let shown = channels.min(self.limit);
        let span = |values: &mut dyn Iterator<Item = f32>| {
            let finite = values.filter(|v| v.is_finite());
            let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
            if low > high { (0.0, 1.0) } else { (low, high) }
        };
        let all = span(&mut self.maps.iter().copied());
        let tile = |channel: usize| {
            let map = self.maps.index_axis(ndarray::Axis(2), channel);
            let (low, high) = if self.scale_each { span(&mut map.iter().copied()) } else { all };
            let share = |v: f32| f64::from((v - low) / (high - low).max(f32::MIN_POSITIVE));
            (channel.to_string(), Pixels::new(height, width, |y, x| heat(share(map[[y, x]]))))
        };
        let labels = [all.0, (all.0 + all.1) / 2.0, all.1].map(|v| significant(f64::from(v)));
        let color: Colors = heat;
        Tiles {
            tiles: (0..shown).map(tile).collect(),
            of: (height, width),
            columns: Tiles::columns(shown),
            note: (shown < channels).then(|| format!("{shown} of {channels} maps")),
            scale: (!self.scale_each).then_some((labels, color)),
        }
    }
}

picture!(FeatureMaps);

impl Drawing for FeatureMaps {
    fn heading(&self) -> Option<&str> {
        self.title.as_deref()
    }

    fn size(&self) -> Result<(u32, u32)> {
        Ok(self.tiles().size())
    }

    fn draw(&self, area: &Area) -> Drawn {
        self.tiles().draw(area)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::LayerExt;
    use crate::layers::{Conv2D, Flatten, Input};
    use crate::model::Sequential;
    use ndarray::{Array1, Array4};

    fn model() -> Sequential {
        let mut model = Sequential::new().with_seed(1);
        model.add(Input::new([4, 3, 1])).add(Conv2D::new(2, 1).use_bias(false).name("conv")).add(Flatten::new());
        model.build().unwrap();
        let kernel = Array1::from(vec![1.0f32, -0.5]).into_shape_with_order((1, 1, 1, 2)).unwrap();
        model.set_weights(&[kernel]).unwrap();
        model
    }

    #[test]
    fn maps_are_the_output_of_the_layer() {
        let x = Array4::from_shape_fn((2, 4, 3, 1), |(n, i, j, _)| (3 * i + j) as f32 + 100.0 * n as f32);
        let maps = FeatureMaps::of(&model(), "conv", &x).unwrap();
        assert_eq!(maps.maps()[[3, 2, 0]], 11.0);
        assert_eq!(maps.maps()[[3, 2, 1]], -5.5);
        // From -5.5 to 11: 0 is a third of the way.
        let tiles = maps.tiles().tiles;
        let expected = Pixels::new(4, 3, |i, j| heat(f64::from(((3 * i + j) as f32 + 5.5) / 16.5)));
        assert_eq!(tiles[0].1, expected);
        let each = maps.clone().scale_each(true).tiles();
        assert_eq!(each.tiles[1].1, Pixels::new(4, 3, |i, j| heat(f64::from(((3 * i + j) as f32 * -0.5 + 5.5) / 5.5))));
        assert!(each.scale.is_none());
        assert!(maps.limit(1).to_svg().unwrap().contains("1 of 2 maps"));
        assert!(FeatureMaps::of(&model(), "flatten", &x).unwrap_err().to_string().contains("[1, 24]"));
    }
}
