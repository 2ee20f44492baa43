//! Images with what they are and what they were taken for.

use super::paper::length;
use super::pixels::Pixels;
use super::{Area, Drawing, Drawn, PALETTE, fit, picture, px, stroke, text};
use crate::data::Rows;
use crate::error::{Error, Result, ensure};
use crate::metrics::labels::{class_labels, values, width};
use crate::picture::range_of;
use ndarray::Array3;
use plotters::element::{PathElement, Rectangle};
use plotters::style::{Color, RGBColor};
use plotters_backend::text_anchor::{HPos, VPos};

/// An image is shown so large that its longer side has at least so many pixels.
const LEAST_SIDE: usize = 84;
/// And a column is so wide that words fit.
const LEAST_COLUMN: f64 = 108.0;
const GAP: f64 = 14.0;
const LINE: f64 = 17.0;
const RIGHT: RGBColor = PALETTE[2];
const WRONG: RGBColor = PALETTE[1];

/// Images in rows, below each its true class and what it was taken for: a green frame and a tick where it is right, a red one
/// and a cross where it is wrong.
///
/// ```
/// use cornu::{datasets, visualize::SampleGrid};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("samples.png");
/// let digits = datasets::digits();
/// SampleGrid::new(&digits.x).labels(&digits.y).limit(10).title("handwriting").save(path)?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone)]
pub struct SampleGrid<'a> {
    images: &'a dyn Rows,
    labels: Option<&'a dyn Rows>,
    predictions: Option<&'a dyn Rows>,
    names: Vec<String>,
    columns: usize,
    limit: usize,
    wrong_only: bool,
    title: Option<String>,
}

impl<'a> SampleGrid<'a> {
    /// Images `(samples, height, width)` or `(samples, height, width, channels)`, with values from 0 to 1 or 0 to 255, or any
    /// others, which are then shown from the smallest (black) to the largest (white).
    pub fn new(images: &'a impl Rows) -> Self {
        SampleGrid {
            images,
            labels: None,
            predictions: None,
            names: Vec::new(),
            columns: 5,
            limit: 25,
            wrong_only: false,
            title: None,
        }
    }

    /// What they are: labels or one-hot rows, one for each image.
    pub fn labels(mut self, labels: &'a impl Rows) -> Self {
        self.labels = Some(labels);
        self
    }

    /// What they were taken for: labels or probabilities, one for each image. Of probabilities the largest is shown too.
    pub fn predictions(mut self, predictions: &'a impl Rows) -> Self {
        self.predictions = Some(predictions);
        self
    }

    /// What the classes are called, from class 0. Default: their numbers.
    pub fn class_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// How many images stand in a row. Default: 5.
    pub fn columns(mut self, columns: usize) -> Self {
        self.columns = columns.max(1);
        self
    }

    /// The most images that are shown, the first of them. Default: 25.
    pub fn limit(mut self, images: usize) -> Self {
        self.limit = images;
        self
    }

    /// Whether only images are shown that were taken for something else than they are. Default: false.
    pub fn wrong_only(mut self, wrong_only: bool) -> Self {
        self.wrong_only = wrong_only;
        self
    }

    /// The images that are shown, once all fits together.
    fn samples(&self) -> Result<Vec<Sample>> {
        let n = self.images.len();
        ensure!(n > 0, Data, "there are no images to show");
        let classes = |what: &str, rows: Option<&dyn Rows>| {
            let Some(rows) = rows else { return Ok(None) };
            ensure!(rows.len() == n, Data, "there are {n} images, and {} {what}; there must be as many", rows.len());
            class_labels(what, rows).map(Some)
        };
        let labels = classes("labels", self.labels)?;
        let predictions = classes("predictions", self.predictions)?;
        ensure!(
            !self.wrong_only || (labels.is_some() && predictions.is_some()),
            Argument,
            "wrong_only needs labels and predictions"
        );
        let sure = match self.predictions {
            Some(rows) if predictions.is_some() => confidences(rows)?,
            _ => None,
        };
        let is_wrong = |i: &usize| match (&labels, &predictions) {
            (Some(labels), Some(predictions)) => labels[*i] != predictions[*i],
            _ => false,
        };
        let shown: Vec<usize> = (0..n).filter(|i| !self.wrong_only || is_wrong(i)).take(self.limit).collect();
        let sample = |&i: &usize| {
            Ok(Sample {
                image: self.image(i)?,
                label: labels.as_ref().map(|labels| labels[i]),
                prediction: predictions.as_ref().map(|predictions| predictions[i]),
                sure: sure.as_ref().map(|sure| sure[i]),
            })
        };
        shown.iter().map(sample).collect()
    }

    fn image(&self, i: usize) -> Result<Array3<f32>> {
        let dims = match *self.images.sample_shape() {
            [height, width] => (height, width, 1),
            [height, width, channels] => (height, width, channels),
            _ => {
                return Err(Error::Shape(format!(
                    "images have the shape (samples, height, width, channels); each sample here has {:?}",
                    self.images.sample_shape().as_slice()
                )));
            }
        };
        let mut values = vec![0.0; dims.0 * dims.1 * dims.2];
        ensure!(!values.is_empty(), Data, "the images have no pixels");
        self.images.gather(&[i], &mut values);
        Array3::from_shape_vec(dims, values).map_err(|error| Error::Shape(error.to_string()))
    }

    fn name(&self, class: usize) -> String {
        self.names.get(class).cloned().unwrap_or_else(|| class.to_string())
    }

    /// The lines below an image.
    fn captions(&self, sample: &Sample) -> Vec<String> {
        let mut lines = Vec::new();
        match sample.label {
            Some(label) if sample.prediction.is_some() => lines.push(format!("is {}", self.name(label))),
            Some(label) => lines.push(self.name(label)),
            None => {}
        }
        if let Some(prediction) = sample.prediction {
            let sure = sample.sure.map_or(String::new(), |sure| format!(" ({:.0} %)", 100.0 * sure));
            lines.push(self.name(prediction) + &sure);
        }
        lines
    }

    fn layout(&self, samples: &[Sample]) -> Layout {
        let (height, width) = samples.first().map_or((1, 1), |sample| (sample.image.dim().0, sample.image.dim().1));
        let by = LEAST_SIDE.div_ceil(height.max(width).max(1));
        let (across, down) = ((width * by) as f64, (height * by) as f64);
        let widest = samples.iter().flat_map(|sample| self.captions(sample)).map(|line| length(&line, 12.0) + 18.0);
        let column = widest.fold(across.max(LEAST_COLUMN), f64::max).min(across.max(170.0));
        let lines = samples.first().map_or(0, |sample| self.captions(sample).len());
        Layout { across, down, column, row: down + LINE * lines as f64 + GAP }
    }
}

/// The probability of the predicted class, where predictions are probabilities.
fn confidences(rows: &dyn Rows) -> Result<Option<Vec<f32>>> {
    let (width, values) = (width("predictions", rows)?, values(rows));
    let probabilities = values.iter().all(|p| (0.0..=1.0).contains(p)) && values.iter().any(|p| p.fract() != 0.0);
    Ok(probabilities.then(|| match width {
        1 => values.iter().map(|&p| p.max(1.0 - p)).collect(),
        _ => values.chunks_exact(width).map(|row| row.iter().copied().fold(0.0, f32::max)).collect(),
    }))
}

struct Sample {
    image: Array3<f32>,
    label: Option<usize>,
    prediction: Option<usize>,
    sure: Option<f32>,
}

/// Lengths in pixels.
struct Layout {
    across: f64,
    down: f64,
    column: f64,
    row: f64,
}

picture!(SampleGrid<'_>);

impl Drawing for SampleGrid<'_> {
    fn heading(&self) -> Option<&str> {
        self.title.as_deref()
    }

    fn size(&self) -> Result<(u32, u32)> {
        let samples = self.samples()?;
        ensure!(!samples.is_empty(), Data, "there are no images to show: no prediction is wrong, or the limit is 0");
        let Layout { column, row, .. } = self.layout(&samples);
        let (columns, rows) = (self.columns.min(samples.len()), samples.len().div_ceil(self.columns));
        Ok(((columns as f64 * (column + GAP) + GAP) as u32, (rows as f64 * row + GAP) as u32))
    }

    fn draw(&self, area: &Area) -> Drawn {
        let samples = self.samples().unwrap_or_default();
        let Layout { across, down, column, row } = self.layout(&samples);
        for (i, sample) in samples.iter().enumerate() {
            let left = GAP + (i % self.columns) as f64 * (column + GAP);
            let (x, y) = (left + (column - across) / 2.0, GAP + (i / self.columns) as f64 * row);
            let right = sample.label.zip(sample.prediction).map(|(label, prediction)| label == prediction);
            if let Some(right) = right {
                let corners = [(px(x - 3.0), px(y - 3.0)), (px(x + across + 3.0), px(y + down + 3.0))];
                area.draw(&Rectangle::new(corners, if right { RIGHT } else { WRONG }.filled()))?;
            }
            let pixels = Pixels::of_image(sample.image.view(), range_of(sample.image.iter().copied()));
            pixels.draw(area, (px(x), px(y)), (px(across), px(down)))?;
            let lines = self.captions(sample);
            for (k, line) in lines.iter().enumerate() {
                let style = text(12.0, HPos::Center, VPos::Center);
                let judged = right.filter(|_| k + 1 == lines.len());
                let room = column - if judged.is_some() { 18.0 } else { 0.0 };
                let line = fit(area, line, &style, px(room))?;
                let shift = if judged.is_some() { 8.0 } else { 0.0 };
                let (middle, base) = (left + column / 2.0 + shift, y + down + LINE * (k as f64 + 0.5) + 5.0);
                area.draw_text(&line, &style, (px(middle), px(base)))?;
                if let Some(right) = judged {
                    draw_sign(area, middle - length(&line, 12.0) / 2.0 - 12.0, base, right)?;
                }
            }
        }
        Ok(())
    }
}

/// A tick or a cross.
fn draw_sign(area: &Area, x: f64, y: f64, right: bool) -> Drawn {
    let at = |dx: f64, dy: f64| (px(x + dx), px(y + dy));
    match right {
        true => area.draw(&PathElement::new(vec![at(-4.0, 0.5), at(-1.0, 3.5), at(4.5, -4.0)], stroke(RIGHT, 2.2))),
        false => {
            area.draw(&PathElement::new(vec![at(-4.0, -4.0), at(4.0, 4.0)], stroke(WRONG, 2.2)))?;
            area.draw(&PathElement::new(vec![at(-4.0, 4.0), at(4.0, -4.0)], stroke(WRONG, 2.2)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array4, array};

    fn images(n: usize) -> Array4<f32> {
        Array4::from_shape_fn((n, 8, 8, 1), |(n, i, j, _)| ((n + i * j) % 17) as f32)
    }

    #[test]
    fn images_have_their_classes_below() {
        let (x, y) = (images(3), vec![0u8, 1, 1]);
        let p = array![[0.9, 0.1], [0.7, 0.3], [0.25, 0.75]];
        let svg = SampleGrid::new(&x).labels(&y).predictions(&p).class_names(["cat", "dog"]).to_svg().unwrap();
        let texts: Vec<&str> = svg.lines().filter(|line| !line.starts_with('<')).collect();
        assert_eq!(texts, ["is cat", "cat (90 %)", "is dog", "cat (70 %)", "is dog", "dog (75 %)"]);
        assert_eq!(svg.matches("<image ").count(), 3);
        // Two are right, one is wrong: frames, and one line for a tick, two for a cross.
        assert_eq!(svg.matches("fill=\"#009E73\"").count(), 2);
        assert_eq!(svg.matches("fill=\"#D55E00\"").count(), 1);
        assert_eq!((svg.matches("<polyline").count(), svg.matches("stroke=\"#009E73\"").count()), (4, 2));
    }

    #[test]
    fn wrong_ones_alone() {
        let (x, y, p) = (images(30), vec![1u8; 30], (0..30u8).map(|i| i % 2).collect::<Vec<_>>());
        let grid = SampleGrid::new(&x).labels(&y).predictions(&p).wrong_only(true).limit(7);
        assert_eq!(grid.samples().unwrap().len(), 7);
        assert_eq!(grid.samples().unwrap()[1].image, x.index_axis(ndarray::Axis(0), 2));
        let right = SampleGrid::new(&x).labels(&y).predictions(&y).wrong_only(true);
        assert!(right.to_svg().unwrap_err().to_string().contains("no prediction is wrong"));
    }

    #[test]
    fn mistakes_are_told() {
        let (x, y) = (images(3), vec![0u8, 1]);
        let error = |grid: SampleGrid| grid.to_svg().unwrap_err().to_string();
        assert!(error(SampleGrid::new(&x).labels(&y)).contains("3 images, and 2 labels"));
        assert!(error(SampleGrid::new(&x).wrong_only(true)).contains("needs labels and predictions"));
        assert!(error(SampleGrid::new(&y)).contains("(samples, height, width, channels)"));
        assert!(error(SampleGrid::new(&images(0))).contains("no images"));
    }
}
