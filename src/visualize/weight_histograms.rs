//! How large the weights of a model are.

use super::axis::{Axis, Frame, bar, significant, span};
use super::{Area, Drawing, Drawn, PALETTE, fit, picture, px, text};
use crate::error::{Result, ensure};
use crate::model::Model;
use crate::tensor::Tensor;
use plotters::element::Rectangle;
use plotters::style::{Color, RGBColor};
use plotters_backend::text_anchor::{HPos, VPos};

const PANEL: (u32, u32) = (420, 280);
const MOST_COLUMNS: usize = 3;
const ZERO: RGBColor = RGBColor(90, 90, 90);

/// The values of each weight as a histogram, a panel a weight, with their mean and standard deviation.
///
/// ```
/// use cornu::{applications::LeNet5, visualize::WeightHistograms};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("weights.png");
/// let model = LeNet5::new().build()?;
/// WeightHistograms::of(&model).only(["conv1", "conv2"]).save(path)?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct WeightHistograms {
    weights: Vec<(String, Tensor)>,
    bins: usize,
    title: Option<String>,
}

impl WeightHistograms {
    /// Of all weights of the model as they are now, in Keras' order.
    pub fn of(model: &Model) -> Self {
        let weights = model.weights().iter().map(|weight| (weight.path().to_owned(), weight.value())).collect();
        WeightHistograms { weights, bins: 40, title: None }
    }

    /// Only weights whose path begins so: names of layers, of models inside, or whole paths as `conv1/kernel`.
    pub fn only<N: AsRef<str>>(mut self, paths: impl IntoIterator<Item = N>) -> Self {
        let paths: Vec<N> = paths.into_iter().collect();
        let begins = |path: &str, with: &str| {
            path.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.weights.retain(|(path, _)| paths.iter().any(|with| begins(path, with.as_ref())));
        self
    }

    /// How many bars a histogram has. Default: 40.
    pub fn bins(mut self, bins: usize) -> Self {
        self.bins = bins.clamp(1, 300);
        self
    }
}

/// The bars of one weight.
#[derive(Debug, PartialEq)]
struct Histogram {
    counts: Vec<u64>,
    low: f64,
    high: f64,
    mean: f64,
    deviation: f64,
    /// Values that are NaN or infinite.
    lost: usize,
}

impl Histogram {
    fn of(values: &[f32], bins: usize) -> Self {
        let finite = || values.iter().filter(|v| v.is_finite()).map(|&v| f64::from(v));
        let n = finite().count();
        let (mut low, mut high) = span(finite()).unwrap_or((0.0, 0.0));
        let mean = if n == 0 { f64::NAN } else { finite().sum::<f64>() / n as f64 };
        let deviation = (finite().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
        if high - low <= 1e-6 * low.abs().max(high.abs()) {
            // All are one value: it stands in the middle.
            let margin = if low == 0.0 { 0.5 } else { 0.1 * low.abs() };
            (low, high) = (low - margin, high + margin);
        }
        let mut counts = vec![0; bins];
        for v in finite() {
            let bin = ((v - low) / (high - low) * bins as f64) as usize;
            counts[bin.min(bins - 1)] += 1;
        }
        Histogram { counts, low, high, mean, deviation, lost: values.len() - n }
    }

    fn draw(&self, area: &Area, name: &str) -> Drawn {
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let x = Axis::values([self.low, self.high].into_iter(), "");
        let y = Axis { low: 0.0, high: 1.06 * most, ..Axis::values([0.0, most].into_iter(), "") };
        let y = Axis { ticks: y.ticks.into_iter().filter(|(v, _)| *v >= 0.0 && *v <= 1.06 * most).collect(), ..y };
        let frame = Frame::within(area, &y, 48.0)?;
        frame.draw_axes(area, &x, &y, "value", "count")?;
        let width = (self.high - self.low) / self.counts.len() as f64;
        for (i, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let left = frame.x(x.place(self.low + width * i as f64));
            let right = frame.x(x.place(self.low + width * (i + 1) as f64)).max(left + px(1.0));
            // A bar of one value among thousands is seen, too.
            let top = frame.y(y.place(count as f64)).min(frame.bottom - px(1.0));
            area.draw(&Rectangle::new([(left, top), (right, frame.bottom)], PALETTE[0].filled()))?;
        }
        if (x.low..=x.high).contains(&0.0) {
            let at = frame.x(x.place(0.0));
            bar(area, (at, frame.top), (at, frame.bottom), ZERO)?;
        }
        let style = text(13.0, HPos::Left, VPos::Center);
        let name = fit(area, name, &style, frame.right - frame.left)?;
        area.draw_text(&name, &style, (frame.left, px(16.0)))?;
        let mut numbers = match self.mean.is_nan() {
            true => "no finite values".to_owned(),
            false => format!("mean {}, deviation {}", significant(self.mean), significant(self.deviation)),
        };
        if self.lost > 0 {
            numbers += &format!(", {} NaN or infinite", self.lost);
        }
        area.draw_text(&numbers, &text(11.0, HPos::Left, VPos::Center), (frame.left, px(34.0)))
    }
}

picture!(WeightHistograms);

impl Drawing for WeightHistograms {
    fn heading(&self) -> Option<&str> {
        self.title.as_deref()
    }

    fn size(&self) -> Result<(u32, u32)> {
        ensure!(
            !self.weights.is_empty(),
            Data,
            "there are no weights to show: the model is not built or has none, or none has such a path"
        );
        let (rows, columns) = self.grid();
        Ok((PANEL.0 * columns as u32, PANEL.1 * rows as u32))
    }

    fn draw(&self, area: &Area) -> Drawn {
        let panels = area.split_evenly(self.grid());
        panels.iter().zip(&self.weights).try_for_each(|(panel, (path, value))| {
            Histogram::of(value.data(), self.bins).draw(panel, &format!("{path}, {:?}", value.shape()))
        })
    }
}

impl WeightHistograms {
    /// Rows and columns. A layer's kernel and bias stand side by side, where all have both.
    fn grid(&self) -> (usize, usize) {
        let n = self.weights.len();
        let pairs = n > 2 && n <= 10 && n.is_multiple_of(2);
        let columns = if pairs { 2 } else { n.clamp(1, MOST_COLUMNS) };
        (n.div_ceil(columns).max(1), columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::LayerExt;
    use crate::layers::{Dense, Input};
    use crate::model::Sequential;

    #[test]
    fn values_fall_into_their_bars() {
        let histogram = Histogram::of(&[0.0, 0.1, 0.5, 0.9, 1.0, f32::NAN, f32::INFINITY], 2);
        assert_eq!((histogram.counts, histogram.low, histogram.high, histogram.lost), (vec![2, 3], 0.0, 1.0, 2));
        assert!((histogram.mean - 0.5).abs() < 1e-8 && (histogram.deviation - (0.82f64 / 5.0).sqrt()).abs() < 1e-7);
        let same = Histogram::of(&[0.0; 4], 3);
        assert_eq!((same.counts, same.low, same.high), (vec![0, 4, 0], -0.5, 0.5));
        assert!(Histogram::of(&[f32::NAN], 3).mean.is_nan());
    }

    #[test]
    fn weights_are_chosen_by_path() {
        let mut model = Sequential::new();
        model.add(Input::new([3])).add(Dense::new(4).name("a")).add(Dense::new(2).name("ab"));
        model.build().unwrap();
        let svg = WeightHistograms::of(&model).title("weights").to_svg().unwrap();
        for text in ["weights", "a/kernel, [3, 4]", "ab/bias, [2]", "mean 0, deviation 0", "value", "count"] {
            assert!(svg.contains(text), "{text}");
        }
        let svg = WeightHistograms::of(&model).only(["a"]).to_svg().unwrap();
        assert!(svg.contains("a/bias") && !svg.contains("ab/bias"));
        assert!(WeightHistograms::of(&model).only(["b"]).to_svg().unwrap_err().to_string().contains("no weights"));
        model
            .set_weights(&[
                ndarray::ArrayD::from_elem(vec![3, 4], f32::NAN),
                ndarray::ArrayD::zeros(vec![4]),
                ndarray::ArrayD::zeros(vec![4, 2]),
                ndarray::ArrayD::zeros(vec![2]),
            ])
            .unwrap();
        assert!(WeightHistograms::of(&model).to_svg().unwrap().contains("no finite values, 12 NaN or infinite"));
    }
}
