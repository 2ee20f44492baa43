//! Which pixels of an image a class depends on.

use super::grad_cam::{class_caption, image_of, unit_of};
use super::overlay::{Overlay, normalized};
use super::probe::{first_sample, predicted_class, slopes_of};
use super::{Area, Drawing, Drawn, picture};
use crate::data::Rows;
use crate::error::Result;
use crate::model::Model;
use ndarray::{Array2, Array3, Axis};

/// A saliency map: how much the score of a class changes with each pixel
/// (Simonyan, Vedaldi and Zisserman, 2014: *Deep inside convolutional networks*).
///
/// Of the gradient of the score by a pixel the size counts, and of several channels the largest. The picture shows the
/// image, the map, and the one over the other.
///
/// ```
/// use cornu::{applications::LeNet5, visualize::Saliency};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("saliency.png");
/// let model = LeNet5::new().build()?;
/// let image = ndarray::Array4::<f32>::from_shape_fn((1, 28, 28, 1), |(_, i, j, _)| (i * j) as f32 / 729.0);
/// let saliency = Saliency::of(&model, &image, None)?;
/// assert_eq!(saliency.map().dim(), (28, 28));
/// saliency.save(path)?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Saliency {
    image: Array3<f32>,
    map: Array2<f32>,
    class: usize,
    score: f32,
    names: Vec<String>,
    title: Option<String>,
}

impl Saliency {
    /// Looks at the first image of `x`, a batch as the model takes it: `(batch, height, width, channels)`. `class` is the
    /// number of a class; `None` takes the one that the model sees. A single unit speaks for class 1, whatever it says. The
    /// score is that before the softmax or sigmoid that the model ends in.
    ///
    /// # Errors
    /// When the model is not built, has no such class, its output is not `(batch, classes)`, or the image does not fit.
    pub fn of(model: &Model, x: &impl Rows, class: impl Into<Option<usize>>) -> Result<Self> {
        let x = first_sample(x)?;
        let image = image_of(&x)?;
        let (scores, best) = predicted_class(model, &x)?;
        let class = class.into().unwrap_or(best);
        let unit = unit_of(class, scores.len())?;
        let slopes = image_of(&slopes_of(model, None, unit, &x)?.gradient)?;
        let map = slopes.map_axis(Axis(2), |channels| channels.iter().fold(0.0, |most: f32, g| most.max(g.abs())));
        Ok(Saliency { image, map, class, score: scores[unit], names: Vec::new(), title: None })
    }

    /// What the classes are called, from class 0. Default: their numbers.
    pub fn class_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// How much the score changes with each pixel, `(height, width)`: 0 or above, in the score's units.
    pub fn map(&self) -> &Array2<f32> {
        &self.map
    }

    /// The class that was looked for.
    pub fn class(&self) -> usize {
        self.class
    }
}

picture!(Saliency);

impl Drawing for Saliency {
    fn heading(&self) -> Option<&str> {
        self.title.as_deref()
    }

    fn size(&self) -> Result<(u32, u32)> {
        Ok(Overlay::size(&self.image))
    }

    fn draw(&self, area: &Area) -> Drawn {
        let class = class_caption(&self.names, self.class, self.score);
        let captions = ["image".to_owned(), "size of the gradient".to_owned(), class];
        Overlay { image: &self.image, map: &normalized(&self.map), captions }.draw(area)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::LayerExt;
    use crate::layers::{Conv2D, Dense, GlobalAveragePooling2D, Input};
    use crate::model::Sequential;
    use ndarray::Array4;

    #[test]
    fn pixels_count_as_finite_differences_say() {
        let mut model = Sequential::new().with_seed(9);
        model.add(Input::new([5, 4, 3])).add(Conv2D::new(4, 3).activation("tanh")).add(GlobalAveragePooling2D::new());
        model.add(Dense::new(2).name("scores"));
        model.build().unwrap();
        let x = Array4::from_shape_fn((1, 5, 4, 3), |(_, i, j, c)| ((3 * i + 5 * j + 7 * c) % 8) as f32 / 4.0 - 1.0);
        let saliency = Saliency::of(&model, &x, 1).unwrap();
        for ((i, j), &found) in saliency.map().indexed_iter() {
            let slope = |c: usize| {
                let score = |by: f32| {
                    let mut x = x.clone();
                    x[[0, i, j, c]] += by;
                    model.predict(&x, Default::default()).unwrap()[[0, 1]]
                };
                ((score(1e-2) - score(-1e-2)) / 2e-2).abs()
            };
            let expected = (0..3).map(slope).fold(0.0, f32::max);
            assert!((found - expected).abs() < 1e-3, "at {i} {j}: {found} {expected}");
        }
        let svg = saliency.class_names(["no", "yes"]).to_svg().unwrap();
        assert!(svg.contains("yes: ") && svg.contains("size of the gradient"));
    }
}
