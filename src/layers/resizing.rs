//! Images of another size.

use super::Margins;
use super::spatial::{DataFormat, Sizes, channels, dims, volume};
use super::up_sampling::Interpolation;
use crate::config::{self, Config};
use crate::error::{Result, ensure};
use crate::kernels::resize::{self, Runs};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, one_shape};
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Makes images larger or smaller (Keras: `Resizing`).
///
/// Output `i` along an axis lies at `(i + 0.5) · input / output - 0.5` of the input; beyond the border counts nothing.
/// Without [`antialias`](Self::antialias) a smaller image is sampled and not averaged, as in Keras.
///
/// Input `(batch, any height, any width, channels)`, output `(batch, height, width, channels)`. Defaults: bilinear,
/// each axis stretched on its own.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([480, 640, 3])).add(Resizing::new(224, 224).crop_to_aspect_ratio(true));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 224, 224, 3)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Resizing {
    height: usize,
    width: usize,
    interpolation: Interpolation,
    crop_to_aspect_ratio: bool,
    pad_to_aspect_ratio: bool,
    fill_mode: String,
    fill_value: f64,
    antialias: bool,
    data_format: DataFormat,
}

impl Resizing {
    /// Images of this size.
    pub fn new(height: usize, width: usize) -> Self {
        Resizing { height, width, ..Self::default() }
    }

    /// How values between those of the image are found. Default: bilinear.
    pub fn interpolation(mut self, interpolation: Interpolation) -> Self {
        self.interpolation = interpolation;
        self
    }

    /// Cuts the image's middle to the new proportions first, so that nothing is distorted. Default: no.
    pub fn crop_to_aspect_ratio(mut self, crop: bool) -> Self {
        self.crop_to_aspect_ratio = crop;
        self
    }

    /// Puts borders around the image to reach the new proportions first, so that nothing is distorted. Default: no.
    pub fn pad_to_aspect_ratio(mut self, pad: bool) -> Self {
        self.pad_to_aspect_ratio = pad;
        self
    }

    /// The value of those borders. Default: 0.
    pub fn fill_value(mut self, value: f64) -> Self {
        self.fill_value = value;
        self
    }

    /// Whether each value of a smaller image is a mean over what it stands for. Default: no.
    pub fn antialias(mut self, antialias: bool) -> Self {
        self.antialias = antialias;
        self
    }

    /// Where the channels are. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }

    fn size(&self) -> Sizes<2> {
        [self.height, self.width].into()
    }

    /// What is cut off an image of this size, or put around it.
    fn margins(&self, height: usize, width: usize) -> Margins<2> {
        let wanted = (width * self.height / self.width, height * self.width / self.height);
        match (self.crop_to_aspect_ratio, self.pad_to_aspect_ratio) {
            (true, _) => middle([height, width], [self.height, self.width]),
            (_, true) if wanted.0 > height + 1 => [(wanted.0 - height) / 2, 0].into(),
            (_, true) if wanted.1 > width + 1 => [0, (wanted.1 - width) / 2].into(),
            _ => 0.into(),
        }
    }
}

impl Default for Resizing {
    /// Images of one pixel.
    fn default() -> Self {
        Resizing {
            height: 1,
            width: 1,
            interpolation: Interpolation::Bilinear,
            crop_to_aspect_ratio: false,
            pad_to_aspect_ratio: false,
            fill_mode: "constant".to_owned(),
            fill_value: 0.0,
            antialias: false,
            data_format: DataFormat::default(),
        }
    }
}

impl Layer for Resizing {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.fill_mode == "constant", Argument, "fill_mode is '{}'; Keras has only 'constant'", self.fill_mode);
        ensure!(
            !(self.crop_to_aspect_ratio && self.pad_to_aspect_ratio),
            Argument,
            "crop_to_aspect_ratio and pad_to_aspect_ratio are both set; choose one"
        );
        check_size(self.height, self.width)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        image_shape(one_shape(inputs)?, self.size(), self.data_format)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let mut x = self.data_format.last(inputs.one()?);
        let [_, _, height, width, _] = volume::<2>(x.shape())?;
        cx.save_shape(x.shape());
        let margins = self.margins(height, width);
        if self.crop_to_aspect_ratio {
            x = margins.take_away(&x)?;
        } else if self.pad_to_aspect_ratio {
            x = margins.add(&x, self.fill_value as f32)?;
        }
        Ok(self.data_format.given(resized(x, self.size(), self.interpolation, self.antialias, cx)?).into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let input = volume::<2>(&cx.restore_shape()?)?;
        let margins = self.margins(input[2], input[3]);
        let [top, left] = margins.0.map(|[before, after]| before + after);
        let (height, width) = match (self.crop_to_aspect_ratio, self.pad_to_aspect_ratio) {
            (true, _) => (input[2] - top, input[3] - left),
            (_, true) => (input[2] + top, input[3] + left),
            _ => (input[2], input[3]),
        };
        let dy = self.data_format.last(gradients.one()?);
        let mut dx = resized_back(dy, [height, width], self.interpolation, self.antialias, cx)?;
        if self.crop_to_aspect_ratio {
            dx = margins.add(&dx, 0.0)?;
        } else if self.pad_to_aspect_ratio {
            dx = margins.take_away(&dx)?;
        }
        Ok(self.data_format.given(dx).into())
    }
}

/// Cuts the middle out of images (Keras: `CenterCrop`). An image that is smaller in either direction is cut to the
/// new proportions instead and then resized, bilinearly.
///
/// Input `(batch, any height, any width, channels)`, output `(batch, height, width, channels)`.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([256, 256, 3])).add(CenterCrop::new(224, 224));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 224, 224, 3)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct CenterCrop {
    height: usize,
    width: usize,
    data_format: DataFormat,
}

impl CenterCrop {
    /// Images of this size.
    pub fn new(height: usize, width: usize) -> Self {
        CenterCrop { height, width, ..Self::default() }
    }

    /// Where the channels are. Default: last.
    pub fn data_format(mut self, data_format: DataFormat) -> Self {
        self.data_format = data_format;
        self
    }

    /// What is cut off an image of this size, and whether the rest must be resized.
    fn margins(&self, height: usize, width: usize) -> (Margins<2>, bool) {
        let small = height < self.height || width < self.width;
        if small {
            return (middle([height, width], [self.height, self.width]), true);
        }
        let cut = |n: usize, size: usize| [(n - size) / 2, (n - size).div_ceil(2)];
        (Margins([cut(height, self.height), cut(width, self.width)]), false)
    }
}

impl Default for CenterCrop {
    /// Images of one pixel.
    fn default() -> Self {
        CenterCrop { height: 1, width: 1, data_format: DataFormat::default() }
    }
}

impl Layer for CenterCrop {
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
        let x = self.data_format.last(inputs.one()?);
        let [_, _, height, width, _] = volume::<2>(x.shape())?;
        cx.save_shape(x.shape());
        let (margins, resize) = self.margins(height, width);
        let mut y = margins.take_away(&x)?;
        if resize {
            y = resized(y, [self.height, self.width].into(), Interpolation::Bilinear, false, cx)?;
        }
        Ok(self.data_format.given(y).into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let input = volume::<2>(&cx.restore_shape()?)?;
        let (margins, resize) = self.margins(input[2], input[3]);
        let mut dy = self.data_format.last(gradients.one()?);
        if resize {
            let [height, width] = margins.0.map(|[before, after]| before + after);
            dy = resized_back(dy, [input[2] - height, input[3] - width], Interpolation::Bilinear, false, cx)?;
        }
        Ok(self.data_format.given(margins.add(&dy, 0.0)?).into())
    }
}

/// What to cut off so that the middle remains, in other proportions, as large as it can be.
fn middle(image: [usize; 2], target: [usize; 2]) -> Margins<2> {
    let [before, part] = resize::middle(image, target);
    Margins([0, 1].map(|axis| [before[axis], image[axis].saturating_sub(part[axis] + before[axis])]))
}

/// Images, channels last, of another size.
fn resized(
    mut x: Tensor,
    size: Sizes<2>,
    interpolation: Interpolation,
    antialias: bool,
    cx: &Forward<'_>,
) -> Result<Tensor> {
    let mut shape = volume::<2>(x.shape())?;
    for (axis, size) in [(2, size.0[0]), (3, size.0[1])] {
        let runs = Runs::resize(shape[axis], size, interpolation, antialias)?;
        shape[axis] = size;
        let mut y = cx.scratch(dims::<2>(shape));
        runs.forward(x.data(), shape[axis + 1..].iter().product(), y.data_mut());
        x = y;
    }
    Ok(x)
}

/// The gradient of [`resized`] by images of this size.
fn resized_back(
    mut dy: Tensor,
    [height, width]: [usize; 2],
    interpolation: Interpolation,
    antialias: bool,
    cx: &Backward<'_>,
) -> Result<Tensor> {
    let mut shape = volume::<2>(dy.shape())?;
    for (axis, input) in [(3, width), (2, height)] {
        let runs = Runs::resize(input, shape[axis], interpolation, antialias)?;
        shape[axis] = input;
        let mut dx = cx.scratch(dims::<2>(shape));
        runs.backward(dy.data(), shape[axis + 1..].iter().product(), dx.data_mut());
        dy = dx;
    }
    Ok(dy)
}

/// The shape of images of this size.
pub(super) fn image_shape(input: &Shape, size: Sizes<2>, data_format: DataFormat) -> Result<Vec<Shape>> {
    let input = data_format.last_shape(input);
    let channels = channels::<2>(&input)?;
    let [height, width] = size.0.map(Some);
    Ok(vec![data_format.given_shape(Shape::new([input.dims()[0], height, width, Some(channels)]))])
}

/// Checks that there is something to make, and that a file does not ask for more than any memory holds.
pub(super) fn check_size(height: usize, width: usize) -> Result<()> {
    let range = 1..=1 << 20;
    ensure!(
        range.contains(&height) && range.contains(&width),
        Argument,
        "images of {height} by {width} cannot be made; both must be at least 1 and at most {}",
        range.end()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_nothing_nothing_is_cut_off() {
        let resizing = Resizing::new(2, 3).crop_to_aspect_ratio(true);
        assert_eq!(resizing.margins(0, 5).0, [[0, 0], [2, 2]]);
        assert_eq!(CenterCrop::new(2, 3).margins(5, 0).0.0, [[2, 2], [0, 0]]);
        assert_eq!(resizing.margins(7, 6).0, [[1, 2], [0, 0]]);
    }
}
