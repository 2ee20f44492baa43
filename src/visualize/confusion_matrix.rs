//! Which classes are mistaken for which.

use super::colors::{amount, is_dark};
use super::overlay::scale;
use super::paper::length;
use super::pixels::Pixels;
use super::{Area, Drawing, Drawn, INK, fit, picture, px, text};
use crate::data::Rows;
use crate::error::{Result, ensure};
use crate::metrics::labels::{MOST_CONFUSED, confusion};
use ndarray::Array2;
use plotters::element::{PathElement, Rectangle};
use plotters::style::{Color, FontTransform, RGBColor, WHITE};
use plotters_backend::text_anchor::{HPos, VPos};

/// The longest that names of classes are written, in pixels.
const LONGEST_NAME: f64 = 150.0;
/// From here on the numbers are too small to read and are left out.
const SMALLEST_NUMBER: f64 = 7.5;
const NAME: f64 = 12.0;
const TOP: f64 = 14.0;
const SCALE: f64 = 86.0;

/// A table of how often samples of each class (rows) were taken for each class (columns), coloured by these numbers.
///
/// Numbers are written where they fit: up to about 30 classes.
///
/// ```
/// use cornu::visualize::ConfusionMatrix;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("confusion.png");
/// let truth = [0, 0, 1, 2, 2];
/// let probabilities = ndarray::array![[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.0, 1.0, 0.0], [0.0, 0.2, 0.8], [0.1, 0.1, 0.8]];
/// let matrix = ConfusionMatrix::new(&truth, &probabilities)?.class_names(["ape", "bee", "cat"]);
/// assert_eq!(matrix.counts(), &ndarray::array![[1, 1, 0], [0, 1, 0], [0, 0, 2]]);
/// matrix.normalized(true).save(path)?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ConfusionMatrix {
    counts: Array2<u64>,
    names: Vec<String>,
    normalized: bool,
    title: Option<String>,
}

impl ConfusionMatrix {
    /// Counts. `y_true` and `y_pred` are labels `(samples,)` or `(samples, 1)`, one-hot rows or probabilities
    /// `(samples, classes)`, each as it comes; values between 0 and 1, one a sample, are probabilities of class 1.
    ///
    /// # Errors
    /// When they are empty, not of one length, hold what is no class, or are of more than 2000 classes.
    pub fn new(y_true: &impl Rows, y_pred: &impl Rows) -> Result<Self> {
        let counts = confusion(y_true, y_pred)?;
        Ok(ConfusionMatrix { counts, names: Vec::new(), normalized: false, title: None })
    }

    /// What the classes are called, from class 0. Default: their numbers. Names beyond the largest label are classes that
    /// no sample is of, with a row and a column of their own.
    pub fn class_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        let (known, named) = (self.counts.nrows(), self.names.len());
        // Of too many no table is made; the size says that they do not fit.
        if (known + 1..=MOST_CONFUSED).contains(&named) {
            let old = std::mem::take(&mut self.counts);
            self.counts = Array2::from_shape_fn((named, named), |at| old.get(at).copied().unwrap_or(0));
        }
        self
    }

    /// Whether shares of the true classes (rows add up to 1) are shown instead of numbers of samples. Default: false.
    pub fn normalized(mut self, normalized: bool) -> Self {
        self.normalized = normalized;
        self
    }

    /// How often a sample of class `row` was taken for class `column`.
    pub fn counts(&self) -> &Array2<u64> {
        &self.counts
    }

    /// What the cells show: their numbers, or their shares of their rows. A row without samples has none.
    fn values(&self) -> Array2<f64> {
        let mut values = self.counts.mapv(|count| count as f64);
        if self.normalized {
            for mut row in values.rows_mut() {
                let all = row.sum();
                row.mapv_inplace(|count| count / all);
            }
        }
        values
    }

    fn label(&self, value: f64) -> String {
        match self.normalized {
            false => format!("{value}"),
            true if value.is_nan() => "-".to_owned(),
            true => format!("{value:.2}"),
        }
    }

    fn layout(&self) -> Layout {
        let n = self.counts.nrows();
        // Small pictures have large cells, and those of very many classes are no larger than a PNG may be.
        let cell = (560 / n).clamp((3600 / n).clamp(1, 7), 56) as f64;
        let names: Vec<String> =
            (0..n).map(|class| self.names.get(class).cloned().unwrap_or_else(|| class.to_string())).collect();
        let shown = names.iter().step_by(every(cell));
        let widest = shown.map(|name| length(name, NAME)).fold(0.0, f64::max).min(LONGEST_NAME);
        // Names below the columns stand upright where one is wider than its column.
        let upright = widest > cell - 6.0;
        // In small cells no number fits, whatever it is.
        let number = (cell * 0.45).min(14.0);
        let number = (number >= SMALLEST_NUMBER).then(|| {
            let longest = self.values().iter().map(|value| length(&self.label(*value), 1.0)).fold(0.0, f64::max);
            number.min((cell - 4.0) / longest)
        });
        Layout {
            cell,
            left: 34.0 + widest + 8.0,
            bottom: if upright { widest + 44.0 } else { 54.0 },
            names,
            upright,
            number: number.filter(|number| *number >= SMALLEST_NUMBER),
        }
    }
}

/// Lengths in pixels.
struct Layout {
    cell: f64,
    left: f64,
    bottom: f64,
    names: Vec<String>,
    upright: bool,
    /// The size of the numbers in the cells, where they fit.
    number: Option<f64>,
}

picture!(ConfusionMatrix);

impl Drawing for ConfusionMatrix {
    fn heading(&self) -> Option<&str> {
        self.title.as_deref()
    }

    fn size(&self) -> Result<(u32, u32)> {
        let (n, named) = (self.counts.nrows(), self.names.len());
        ensure!(
            named == 0 || named == n,
            Argument,
            "there are {named} class names for {n} classes; give one for each, or none"
        );
        let Layout { cell, left, bottom, .. } = self.layout();
        let side = cell * n as f64;
        Ok(((left + side + SCALE) as u32, (TOP + side.max(140.0) + bottom) as u32))
    }

    fn draw(&self, area: &Area) -> Drawn {
        let Layout { cell, left, bottom, names, upright, number } = self.layout();
        let n = names.len();
        let side = cell * n as f64;
        let at = |i: usize| px(left + cell * i as f64);
        let down = |i: usize| px(TOP + cell * i as f64);
        let values = self.values();
        let most = if self.normalized { 1.0 } else { values.iter().copied().fold(1.0, f64::max) };
        let color = |value: f64| if value.is_nan() { RGBColor(240, 240, 240) } else { amount(value / most) };
        match number {
            None => {
                let cells = Pixels::new(n, n, |row, column| color(values[[row, column]]));
                cells.draw(area, (at(0), down(0)), (px(side), px(side)))?;
            }
            Some(size) => {
                for ((row, column), &value) in values.indexed_iter() {
                    let color = color(value);
                    let corners = [(at(column), down(row)), (at(column + 1), down(row + 1))];
                    area.draw(&Rectangle::new(corners, color.filled()))?;
                    let ink = if is_dark(color) { WHITE } else { INK };
                    let style = text(size, HPos::Center, VPos::Center).color(&ink);
                    let middle = (at(column) + px(cell / 2.0), down(row) + px(cell / 2.0));
                    area.draw_text(&self.label(value), &style, middle)?;
                }
            }
        }
        self.draw_lines(area, n, at, down)?;

        let middle = |i: usize| cell * (i as f64 + 0.5);
        for i in (0..n).step_by(every(cell)) {
            let style = text(NAME, HPos::Right, VPos::Center);
            let name = fit(area, &names[i], &style, px(LONGEST_NAME))?;
            area.draw_text(&name, &style, (px(left - 7.0), px(TOP + middle(i))))?;
            let (x, y) = (px(left + middle(i)), px(TOP + side + 7.0));
            match upright {
                true => area.draw_text(&name, &style.transform(FontTransform::Rotate270), (x, y))?,
                false => area.draw_text(&name, &text(NAME, HPos::Center, VPos::Top), (x, y))?,
            }
        }
        let style = text(13.0, HPos::Center, VPos::Top);
        area.draw_text("predicted", &style, (px(left + side / 2.0), px(TOP + side + bottom - 26.0)))?;
        let turned = style.transform(FontTransform::Rotate270);
        area.draw_text("true", &turned, (px(10.0), px(TOP + side / 2.0)))?;

        let labels = [0.0, most / 2.0, most].map(|value| match self.normalized {
            true => format!("{value:.1}"),
            false => format!("{}", (value * 10.0).round() / 10.0),
        });
        let [low, half, high] = [0, 1, 2].map(|i| labels[i].as_str());
        scale(area, px(left + side + 18.0), (px(TOP), px(TOP + side.max(120.0))), amount, [low, half, high])
    }
}

/// Names that would run into each other are left out, all but every so many.
fn every(cell: f64) -> usize {
    ((13.0 / cell).ceil() as usize).max(1)
}

impl ConfusionMatrix {
    /// Thin lines between cells that are large enough, and a frame.
    fn draw_lines(&self, area: &Area, n: usize, at: impl Fn(usize) -> i32, down: impl Fn(usize) -> i32) -> Drawn {
        let fine = RGBColor(214, 222, 228).stroke_width(px(1.0) as u32);
        if at(1) - at(0) >= px(12.0) {
            for i in 1..n {
                area.draw(&PathElement::new(vec![(at(i), down(0)), (at(i), down(n))], fine))?;
                area.draw(&PathElement::new(vec![(at(0), down(i)), (at(n), down(i))], fine))?;
            }
        }
        let corners = vec![(at(0), down(0)), (at(n), down(0)), (at(n), down(n)), (at(0), down(n)), (at(0), down(0))];
        area.draw(&PathElement::new(corners, RGBColor(110, 110, 110).stroke_width(px(1.0) as u32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, array};

    #[test]
    fn labels_and_rows_count_alike() {
        let matrix = ConfusionMatrix::new(&[0, 1, 1, 2], &[0, 1, 2, 2]).unwrap();
        assert_eq!(matrix.counts(), &array![[1, 0, 0], [0, 1, 1], [0, 0, 1]]);
        let one_hot = crate::data::to_categorical(&[0, 1, 1, 2], None).unwrap();
        let scores = array![[0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.0, 0.4, 0.6], [0.3, 0.3, 0.4]];
        assert_eq!(ConfusionMatrix::new(&one_hot, &scores).unwrap(), matrix);
        assert!(ConfusionMatrix::new(&[0, 1], &[0]).is_err());
    }

    #[test]
    fn cells_show_numbers_or_shares() {
        let matrix = ConfusionMatrix::new(&[0, 0, 0, 0, 1], &[0, 0, 0, 1, 1]).unwrap().class_names(["a", "b", "c"]);
        let texts = |matrix: &ConfusionMatrix| {
            let svg = matrix.to_svg().unwrap();
            svg.lines().filter(|line| !line.starts_with('<')).map(str::to_owned).collect::<Vec<_>>()
        };
        let plain = texts(&matrix);
        assert_eq!(plain[..9], ["3", "1", "0", "0", "1", "0", "0", "0", "0"]);
        assert!(["a", "b", "c", "true", "predicted"].iter().all(|name| plain.iter().any(|text| text == name)));
        let shares = texts(&matrix.normalized(true));
        assert_eq!(shares[..9], ["0.75", "0.25", "0.00", "0.00", "1.00", "0.00", "-", "-", "-"]);
    }

    #[test]
    fn colours_follow_the_values() {
        let pixels = ConfusionMatrix::new(&[0, 0, 1], &[0, 0, 1]).unwrap().to_rgb().unwrap();
        let at = |y: usize, x: usize| RGBColor(pixels[[y, x, 0]], pixels[[y, x, 1]], pixels[[y, x, 2]]);
        let left = 34.0 + length("0", NAME) + 8.0;
        let (x, y) = (left as usize + 8, TOP as usize + 8);
        assert_eq!((at(y, x), at(y, x + 56)), (amount(1.0), amount(0.0)));
        assert_eq!((at(y + 56, x), at(y + 56, x + 56)), (amount(0.0), amount(0.5)));
    }

    #[test]
    fn very_many_classes_are_one_image() {
        let labels = Array1::from_iter((0..300).chain([0]));
        let predicted = Array1::from_iter((0..300).chain([1]));
        let matrix = ConfusionMatrix::new(&labels, &predicted).unwrap().normalized(true);
        assert_eq!(matrix.to_svg().unwrap().matches("<image ").count(), 2, "the cells and the scale");
        let pixels = matrix.to_rgb().unwrap();
        let at = |y: usize, x: usize| RGBColor(pixels[[y, x, 0]], pixels[[y, x, 1]], pixels[[y, x, 2]]);
        let Layout { cell, left, .. } = matrix.layout();
        let middle = |start: f64, i: usize| (start + cell * (i as f64 + 0.5)) as usize;
        for (row, column, share) in [(0, 0, 0.5), (0, 1, 0.5), (1, 0, 0.0), (299, 299, 1.0)] {
            assert_eq!(at(middle(TOP, row), middle(left, column)), amount(share), "{row} {column}");
        }
        for n in [580, 700, 1000, MOST_CONFUSED] {
            let ends = [0, n - 1];
            let (width, height) = ConfusionMatrix::new(&ends, &ends).unwrap().size().unwrap();
            assert!(u64::from(width) * u64::from(height) <= super::super::MOST_PIXELS, "{n} classes");
        }
    }

    #[test]
    fn many_names_make_no_table() {
        let matrix = ConfusionMatrix::new(&[0, 1], &[0, 1]).unwrap();
        let many = matrix.class_names((0..100_000).map(|i| i.to_string()));
        assert_eq!(many.counts().dim(), (2, 2));
        assert!(many.to_svg().unwrap_err().to_string().contains("100000 class names for 2 classes"));
    }

    #[test]
    fn many_classes_leave_numbers_out() {
        let labels = Array1::from_iter(0..100);
        let matrix = ConfusionMatrix::new(&labels, &labels).unwrap();
        assert_eq!(matrix.layout().number, None);
        let svg = matrix.to_svg().unwrap();
        // Every second class has its number at both sides.
        assert_eq!(svg.lines().filter(|line| *line == "98").count(), 2);
        assert_eq!(svg.lines().filter(|line| *line == "97").count(), 0);
        assert!(matrix.clone().class_names(["x"]).to_svg().unwrap_err().to_string().contains("1 class names for 100"));
        let ten = ConfusionMatrix::new(&Array1::from_iter(0..10), &Array1::from_iter(0..10)).unwrap();
        assert_eq!(ten.layout().number, Some(14.0));
    }
}
