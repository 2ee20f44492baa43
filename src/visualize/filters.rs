//! What a convolution looks for.

use super::axis::significant;
use super::colors::signed;
use super::pixels::Pixels;
use super::probe::layer_at;
use super::tiles::{Colors, Tiles};
use super::{Area, Drawing, Drawn, picture};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::tensor::Tensor;
use ndarray::{ArrayView4, Ix4, s};

/// The filters of a convolution as tiles.
///
/// Those of three input channels are drawn as red, green and blue, each filter from its smallest value (dark) to its largest.
/// Others are drawn channel by channel: blue below 0, white at 0, vermillion above, on one scale for all; a row holds one
/// input channel of all filters, or one filter, whichever fits. Up to 100 tiles are shown.
///
/// ```
/// use cornu::{applications::LeNet5, visualize::Filters};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("filters.png");
/// let model = LeNet5::new().build()?;
/// Filters::of(&model, "conv1")?.title("the first convolution").save(path)?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Filters {
    kernel: Tensor,
    limit: usize,
    title: Option<String>,
}

impl Filters {
    /// Those of the layer of this name: a `Conv2D`, `DepthwiseConv2D`, `Conv2DTranspose`, or another whose first weight has
    /// the shape `(height, width, input channels, filters)`. The layer of a model inside is had by the path `base/conv`.
    ///
    /// # Errors
    /// When the model is not built, has no such layer, or the layer no such weight.
    pub fn of(model: &Model, layer: &str) -> Result<Self> {
        model.built()?;
        let handle = layer_at(model, layer)?;
        let weights = handle.weights();
        let kernel = weights.first().ok_or_else(|| Error::Argument(format!("layer '{layer}' has no weights")))?.value();
        // Its filters stand before the input channels.
        let turned = handle.class_name() == "Conv2DTranspose";
        match kernel.view().into_dimensionality::<Ix4>() {
            Ok(view) if turned => Filters::new(view.permuted_axes([0, 1, 3, 2]).as_standard_layout().into_owned()),
            _ => Filters::new(kernel),
        }
    }

    /// Those of a kernel `(height, width, input channels, filters)`.
    ///
    /// # Errors
    /// When it has another number of dimensions, or no values.
    pub fn new(kernel: impl Into<Tensor>) -> Result<Self> {
        let kernel = kernel.into();
        match kernel.rank() == 4 && !kernel.is_empty() {
            true => Ok(Filters { kernel, limit: 100, title: None }),
            false => Err(Error::Shape(format!(
                "a kernel of shape {:?} has no filters to show; expected (height, width, input channels, filters)",
                kernel.shape()
            ))),
        }
    }

    /// The most tiles that are shown. Default: 100.
    pub fn limit(mut self, tiles: usize) -> Self {
        self.limit = tiles.max(1);
        self
    }

    fn tiles(&self) -> Result<Tiles> {
        let view = self.kernel.view().into_dimensionality::<Ix4>().map_err(|error| Error::Shape(error.to_string()))?;
        let (height, width, channels, filters) = view.dim();
        if channels == 3 {
            let shown = filters.min(self.limit);
            let tiles = (0..shown).map(|f| (f.to_string(), in_color(view, f))).collect();
            let note = (shown < filters).then(|| format!("{shown} of {filters} filters"));
            return Ok(Tiles { tiles, of: (height, width), columns: Tiles::columns(shown), note, scale: None });
        }
        let largest = view.iter().filter(|v| v.is_finite()).fold(0.0, |largest: f32, v| largest.max(v.abs()));
        let largest = if largest == 0.0 { 1.0 } else { largest };
        let shown = (filters * channels).min(self.limit);
        // A row for each input channel where filters fit side by side and are more, else for each filter.
        let by_channel = filters <= 16 && filters >= channels;
        let tile = |i: usize| {
            let (filter, channel) = if by_channel { (i % filters, i / filters) } else { (i / channels, i % channels) };
            let name = if channels == 1 { filter.to_string() } else { format!("{filter}, in {channel}") };
            let value = |y: usize, x: usize| f64::from(view[[y, x, channel, filter]] / largest);
            (name, Pixels::new(height, width, |y, x| signed(value(y, x))))
        };
        let note = (shown < filters * channels).then(|| match channels {
            1 => format!("{shown} of {filters} filters"),
            _ => format!("{shown} of {} tiles: {filters} filters of {channels} input channels", filters * channels),
        });
        let labels = [-largest, 0.0, largest].map(|v| significant(f64::from(v)));
        let color: Colors = |share| signed(2.0 * share - 1.0);
        let columns = match channels {
            1 => Tiles::columns(shown),
            _ if by_channel => filters,
            2..=16 => channels,
            _ => 16,
        };
        Ok(Tiles {
            tiles: (0..shown).map(tile).collect(),
            of: (height, width),
            columns: columns.min(shown),
            note,
            scale: Some((labels, color)),
        })
    }
}

/// A filter of three channels, from its smallest value to its largest.
fn in_color(kernel: ArrayView4<'_, f32>, filter: usize) -> Pixels {
    let filter = kernel.slice(s![.., .., .., filter]);
    let finite = || filter.iter().copied().filter(|v| v.is_finite());
    let range = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    Pixels::of_image(filter, range)
}

picture!(Filters);

impl Drawing for Filters {
    fn heading(&self) -> Option<&str> {
        self.title.as_deref()
    }

    fn size(&self) -> Result<(u32, u32)> {
        Ok(self.tiles()?.size())
    }

    fn draw(&self, area: &Area) -> Drawn {
        // That it makes sense was asked with its size.
        self.tiles().map_or(Ok(()), |tiles| tiles.draw(area))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::LayerExt;
    use crate::layers::{Conv2D, Conv2DTranspose, Dense, Flatten, Input};
    use crate::model::Sequential;
    use ndarray::{Array4, array};
    use plotters::style::RGBColor;

    #[test]
    fn values_have_their_colours() {
        let kernel = array![[[[1.0f32, 0.0]], [[-2.0, f32::NAN]]]];
        let tiles = Filters::new(kernel).unwrap().tiles().unwrap();
        assert_eq!((tiles.tiles.len(), tiles.of), (2, (1, 2)));
        let expected = Pixels::new(1, 2, |_, x| signed([0.5, -1.0][x]));
        assert_eq!(tiles.tiles[0], ("0".to_owned(), expected));
        assert_eq!(tiles.scale.unwrap().0, ["-2.000", "0", "2.000"]);
        let color = Array4::from_shape_fn((1, 2, 3, 1), |(_, x, c, _)| (x * 3 + c) as f32 - 2.5);
        let tiles = Filters::new(color).unwrap().tiles().unwrap();
        let expected = Pixels::new(1, 2, |_, x| if x == 0 { RGBColor(0, 51, 102) } else { RGBColor(153, 204, 255) });
        assert_eq!(tiles.tiles, [("0".to_owned(), expected)]);
    }

    #[test]
    fn filters_of_a_transposed_convolution_come_first() {
        let mut model = Sequential::new().with_seed(1);
        model.add(Input::new([4, 4, 3])).add(Conv2DTranspose::new(5, 2).name("up"));
        let error = Filters::of(&model, "up").unwrap_err().to_string();
        assert!(error.contains("is not built: call build, compile or fit"), "{error}");
        model.build().unwrap();
        let kernel = model.get_weights().remove(0);
        assert_eq!(kernel.shape(), [2, 2, 5, 3]);
        let filters = Filters::of(&model, "up").unwrap();
        assert_eq!(filters.kernel.shape(), [2, 2, 3, 5]);
        assert_eq!(filters.kernel.view()[[1, 0, 2, 4]], kernel[[1, 0, 4, 2]]);
        assert_eq!(filters.tiles().unwrap().tiles.len(), 5, "in colours");
    }

    #[test]
    fn layers_are_found_and_large_kernels_cut() {
        let mut base = Sequential::new().with_name("base");
        base.add(Input::new([8, 8, 3])).add(Conv2D::new(5, 3).name("c1")).add(Conv2D::new(40, 3).name("c2"));
        base.build().unwrap();
        let mut model = Sequential::new();
        model.add(Input::new([8, 8, 3])).add(base.as_layer()).add(Flatten::new()).add(Dense::new(2).name("fc"));
        model.build().unwrap();
        assert_eq!(Filters::of(&base, "c1").unwrap().tiles().unwrap().tiles.len(), 5);
        let inner = Filters::of(&model, "base/c2").unwrap();
        assert_eq!(inner.kernel.shape(), [3, 3, 5, 40]);
        let svg = inner.limit(10).to_svg().unwrap();
        assert!(svg.contains("10 of 200 tiles: 40 filters of 5 input channels") && svg.contains("1, in 4"));
        assert!(Filters::of(&model, "fc").unwrap_err().to_string().contains("[640"));
        assert!(Filters::of(&model, "flatten").unwrap_err().to_string().contains("no weights"));
        assert!(Filters::of(&model, "base/c3").unwrap_err().to_string().contains("'c3'"));
    }
}
