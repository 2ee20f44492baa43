//! Where in an image a class was seen.

use super::overlay::{Overlay, enlarged, normalized};
use super::probe::{Slopes, first_sample, last_map, predicted_class, slopes_of};
use super::{Area, Drawing, Drawn, picture};
use crate::data::Rows;
use crate::error::{Error, Result, ensure};
use crate::model::Model;
use ndarray::{Array2, Array3};

/// Grad-CAM: the places of an image that speak for a class, by the maps of a convolution
/// (Selvaraju et al., 2017: *Grad-CAM: Visual explanations from deep networks via gradient-based localization*).
///
/// The map of each channel counts with the mean of the gradient, by it, of the class' score; their sum is cut off below 0.
/// The picture shows the image, this heat map at the image's size, and the one over the other. It is coarse: as fine as the
/// maps of the layer.
///
/// ```
/// use cornu::{applications::LeNet5, visualize::GradCam};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("cam.png");
/// let model = LeNet5::new().build()?;
/// let image = ndarray::Array4::<f32>::from_shape_fn((1, 28, 28, 1), |(_, i, j, _)| (i * j) as f32 / 729.0);
/// let cam = GradCam::of(&model, &image, "conv2", 7)?;
/// assert_eq!(cam.map().dim(), (10, 10));
/// cam.save(path)?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GradCam {
    image: Array3<f32>,
    map: Array2<f32>,
    layer: String,
    class: usize,
    score: f32,
    names: Vec<String>,
    title: Option<String>,
}

impl GradCam {
    /// Looks at the first image of `x`, a batch as the model takes it: `(batch, height, width, channels)`.
    ///
    /// `layer` is the name of the layer whose maps are used; `None` takes the last convolution. That of a model inside is
    /// found as `base/block5_conv3`. `class` is the number of a class; `None` takes the one that the model sees. A single
    /// unit speaks for class 1, whatever it says. The score is that before the softmax or sigmoid that the model ends in (of
    /// a model inside that is the last layer, its output).
    ///
    /// # Errors
    /// When the model is not built, has no such layer or class, its output is not `(batch, classes)`, that of the layer not
    /// `(batch, height, width, channels)`, or the image does not fit.
    pub fn of<'a>(
        model: &Model,
        x: &impl Rows,
        layer: impl Into<Option<&'a str>>,
        class: impl Into<Option<usize>>,
    ) -> Result<Self> {
        let x = first_sample(x)?;
        let layer = layer.into().map_or_else(|| last_map(model), |layer| Ok(layer.to_owned()))?;
        let (scores, best) = predicted_class(model, &x)?;
        let class = class.into().unwrap_or(best);
        let unit = unit_of(class, scores.len())?;
        let Slopes { output, gradient } = slopes_of(model, Some(&layer), unit, &x)?;
        let (height, width, channels) = match *output.shape() {
            [_, height, width, channels] if !output.is_empty() => (height, width, channels),
            _ => {
                return Err(Error::Shape(format!(
                    "layer '{layer}' puts out {:?}; Grad-CAM needs (batch, height, width, channels)",
                    output.shape()
                )));
            }
        };
        let cells = height * width;
        let mean = |channel: usize| {
            let slopes = gradient.data().iter().skip(channel).step_by(channels);
            slopes.map(|&slope| f64::from(slope)).sum::<f64>() / cells as f64
        };
        let weights: Vec<f64> = (0..channels).map(mean).collect();
        let sum = |cell: usize| -> f64 {
            output.data()[cell * channels..][..channels].iter().zip(&weights).map(|(&a, w)| f64::from(a) * w).sum()
        };
        let map = Array2::from_shape_fn((height, width), |(i, j)| sum(i * width + j).max(0.0) as f32);
        Ok(GradCam { image: image_of(&x)?, map, layer, class, score: scores[unit], names: Vec::new(), title: None })
    }

    /// What the classes are called, from class 0. Default: their numbers.
    pub fn class_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// How much each place of the layer's maps speaks for the class, `(height, width)`: 0 or above, in the score's units.
    pub fn map(&self) -> &Array2<f32> {
        &self.map
    }

    /// The class that was looked for.
    pub fn class(&self) -> usize {
        self.class
    }

    fn on_image(&self) -> Array2<f32> {
        let (height, width, _) = self.image.dim();
        enlarged(normalized(&self.map).view(), height, width)
    }
}

picture!(GradCam);

impl Drawing for GradCam {
    fn heading(&self) -> Option<&str> {
        self.title.as_deref()
    }

    fn size(&self) -> Result<(u32, u32)> {
        Ok(Overlay::size(&self.image))
    }

    fn draw(&self, area: &Area) -> Drawn {
        let class = class_caption(&self.names, self.class, self.score);
        let of = match self.map.iter().any(|&v| v > 0.0) {
            true => format!("Grad-CAM of {}", self.layer),
            false => format!("{}: nothing speaks for it", self.layer),
        };
        let captions = ["image".to_owned(), of, class];
        Overlay { image: &self.image, map: &self.on_image(), captions }.draw(area)
    }
}

/// The class by its name or number, and the model's output for it.
pub(super) fn class_caption(names: &[String], class: usize, score: f32) -> String {
    let name = names.get(class).cloned().unwrap_or_else(|| format!("class {class}"));
    format!("{name}: {score:.3}")
}

/// The unit that speaks for a class, which must exist: of a single one that is class 1.
pub(super) fn unit_of(class: usize, units: usize) -> Result<usize> {
    if units == 1 {
        ensure!(
            class == 1,
            Argument,
            "the model has a single unit, which speaks for class 1, and none for class {class}"
        );
        return Ok(0);
    }
    ensure!(class < units, Argument, "there is no class {class}; the model has {units}, counted from 0");
    Ok(class)
}

/// The only image of a batch.
pub(super) fn image_of(x: &crate::tensor::Tensor) -> Result<Array3<f32>> {
    let shape = x.shape();
    let dims = match *shape {
        [1, height, width, channels] => (height, width, channels),
        [1, height, width] => (height, width, 1),
        _ => return Err(Error::Shape(format!("an image of shape {:?} cannot be shown", &shape[1..]))),
    };
    ensure!(!x.is_empty(), Data, "the image has no pixels");
    Array3::from_shape_vec(dims, x.data().to_vec()).map_err(|error| Error::Shape(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::LayerExt;
    use crate::layers::{Conv2D, Dense, Flatten, Input};
    use crate::model::Sequential;
    use ndarray::Array4;

    fn model() -> Sequential {
        let mut model = Sequential::new().with_seed(4);
        model.add(Input::new([6, 5, 1])).add(Conv2D::new(3, 2).activation("relu").name("conv")).add(Flatten::new());
        model.add(Dense::new(3).activation("softmax").name("head"));
        model.build().unwrap();
        model
    }

    fn image() -> Array4<f32> {
        Array4::from_shape_fn((2, 6, 5, 1), |(n, i, j, _)| ((5 * i + 3 * j + n) % 7) as f32 / 6.0)
    }

    /// Loops over the formula of the paper: relu(sum over k of mean(dy/dA_k) A_k).
    #[test]
    fn the_map_is_that_of_the_paper() {
        let model = model();
        for class in 0..3 {
            let cam = GradCam::of(&model, &image(), None, class).unwrap();
            let weights = model.get_weights();
            let (kernel, bias, head) = (&weights[0], &weights[1], &weights[2]);
            let x = image();
            let mut maps = Array3::<f64>::zeros((5, 4, 3));
            for ((i, j, k), a) in maps.indexed_iter_mut() {
                let mut sum = f64::from(bias[k]);
                for (di, dj) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    sum += f64::from(kernel[[di, dj, 0, k]]) * f64::from(x[[0, i + di, j + dj, 0]]);
                }
                *a = sum.max(0.0);
            }
            // The score is a product, so its slope is the column of the kernel.
            let slope = |i: usize, j: usize, k: usize| f64::from(head[[(i * 4 + j) * 3 + k, class]]);
            for ((i, j), &found) in cam.map().indexed_iter() {
                let mut sum = 0.0;
                for k in 0..3 {
                    let mut mean = 0.0;
                    for p in 0..5 {
                        for q in 0..4 {
                            mean += slope(p, q, k) / 20.0;
                        }
                    }
                    sum += mean * maps[[i, j, k]];
                }
                assert!((f64::from(found) - sum.max(0.0)).abs() < 1e-5, "class {class} at {i} {j}: {found} {sum}");
            }
        }
    }

    #[test]
    fn it_finds_layer_and_class_itself() {
        let model = model();
        let best = model.predict(&image(), Default::default()).unwrap();
        let best = (0..3).max_by(|&a, &b| best[[0, a]].total_cmp(&best[[0, b]])).unwrap();
        let cam = GradCam::of(&model, &image(), None, None).unwrap();
        assert_eq!((cam.class(), cam.layer.as_str()), (best, "conv"));
        let svg = cam.class_names(["ape", "bee", "cat"]).title("why?").to_svg().unwrap();
        assert_eq!(svg.matches("<image ").count(), 4, "three panels and the scale");
        assert!(svg.contains("Grad-CAM of conv") && svg.contains(["ape", "bee", "cat"][best]) && svg.contains("why?"));
    }

    #[test]
    fn a_single_unit_speaks_for_class_1() {
        let mut model = Sequential::new().with_seed(4);
        model.add(Input::new([6, 5, 1])).add(Conv2D::new(3, 2).activation("relu").name("conv")).add(Flatten::new());
        model.add(Dense::new(1).activation("sigmoid"));
        model.build().unwrap();
        let score = model.predict(&image(), Default::default()).unwrap()[[0, 0]];
        for class in [None, Some(1)] {
            let cam = GradCam::of(&model, &image(), None, class).unwrap().class_names(["no", "yes"]);
            assert_eq!(cam.class(), 1);
            assert!(cam.to_svg().unwrap().contains(&format!("yes: {score:.3}")));
            let saliency = super::super::Saliency::of(&model, &image(), class).unwrap().class_names(["no", "yes"]);
            assert_eq!(saliency.class(), 1);
            assert!(saliency.to_svg().unwrap().contains(&format!("yes: {score:.3}")));
        }
        let error = GradCam::of(&model, &image(), None, 0).unwrap_err().to_string();
        assert!(error.contains("speaks for class 1"), "{error}");
    }

    #[test]
    fn mistakes_are_told() {
        let model = model();
        let error = |layer: &str, class: usize| GradCam::of(&model, &image(), layer, class).unwrap_err().to_string();
        assert!(error("conv", 3).contains("there is no class 3"));
        assert!(error("cnv", 0).contains("did you mean 'conv'"));
        assert!(error("flatten", 0).contains("[1, 60]"));
        assert!(error("head", 0).contains("its output is the scores, not a map"));
        let mut flat = Sequential::new();
        flat.add(Input::new([4])).add(Dense::new(2));
        flat.build().unwrap();
        let message = GradCam::of(&flat, &ndarray::Array2::<f32>::zeros((1, 4)), None, None).unwrap_err().to_string();
        assert!(message.contains("Grad-CAM needs one"), "{message}");
    }
}
