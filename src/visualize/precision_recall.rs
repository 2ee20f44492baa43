//! Precision over recall.

use super::ranking::{Comparison, Order, Ranked, orders};
use super::{Area, Drawing, Drawn, picture};
use crate::data::Rows;
use crate::error::Result;

/// How many of those that are taken for a class are of it (precision), by how many samples of the class are found (recall),
/// at every threshold; with the average precision (AP), the area below these steps. It tells more than [`RocCurve`] where a
/// class is rare.
///
/// Of two classes the curve is that of class 1; of more there is one for each class against the rest. With more than ten
/// classes all are drawn faintly, and the five worst in colours.
///
/// ```
/// use cornu::visualize::PrecisionRecall;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("precision_recall.png");
/// let curve = PrecisionRecall::new(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8])?;
/// assert!((curve.average_precision()[0] - 5.0 / 6.0).abs() < 1e-12);
/// curve.save(path)?;
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// [`RocCurve`]: super::RocCurve
#[derive(Clone, Debug, PartialEq)]
pub struct PrecisionRecall {
    curves: Vec<Ranked>,
    /// The share of class 1, where there are two.
    share: Option<f64>,
    names: Vec<String>,
    title: Option<String>,
}

impl PrecisionRecall {
    /// `y_true` are labels or one-hot rows, `y_score` scores or probabilities: `(samples,)` or `(samples, 1)`, higher for
    /// class 1, or `(samples, classes)`.
    ///
    /// # Errors
    /// When they are empty, not of one length, hold what is no class, or NaN.
    pub fn new(y_true: &impl Rows, y_score: &impl Rows) -> Result<Self> {
        let orders = orders(y_true, y_score)?;
        let share = match &orders[..] {
            [Order { positives, negatives, .. }] => Some(*positives as f64 / (positives + negatives) as f64),
            _ => None,
        };
        let curves = orders.iter().map(precision_recall).collect();
        Ok(PrecisionRecall { curves, share, names: Vec::new(), title: None })
    }

    /// What the classes are called, from class 0. Default: their numbers.
    pub fn class_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// The sum over thresholds of the precision times what the recall gains, as scikit-learn's `average_precision_score`:
    /// one for each class, or only that of class 1 of two. NaN for a class that no sample is of.
    pub fn average_precision(&self) -> Vec<f64> {
        self.curves.iter().map(|curve| curve.area).collect()
    }
}

fn precision_recall(order: &Order) -> Ranked {
    let positives = order.positives as f64;
    let (mut area, mut before, mut points) = (0.0, 0.0, Vec::new());
    for &(hits, others) in &order.counts {
        let (recall, precision) = (hits as f64 / positives, hits as f64 / (hits + others) as f64);
        area += (recall - before) * precision;
        // Steps, as they are added up.
        points.extend([(before, precision), (recall, precision)]);
        before = recall;
    }
    Ranked { class: order.class, points, area: if order.positives == 0 { f64::NAN } else { area } }
}

picture!(PrecisionRecall);

impl Drawing for PrecisionRecall {
    fn heading(&self) -> Option<&str> {
        self.title.as_deref()
    }

    fn size(&self) -> Result<(u32, u32)> {
        Ok(Comparison::SIZE)
    }

    fn draw(&self, area: &Area) -> Drawn {
        let comparison = Comparison {
            curves: &self.curves,
            names: &self.names,
            labels: ("recall", "precision"),
            area: "AP",
            chance: self.share.map(|share| ([(0.0, share), (1.0, share)], "chance")),
        };
        comparison.draw(area)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// scikit-learn 1.9's average_precision_score, one class against the rest.
    #[test]
    fn average_precision_is_that_of_scikit_learn() {
        let truth = [0, 1, 2, 2, 1, 0, 2, 1];
        let scores = array![
            [0.7f32, 0.2, 0.1],
            [0.3, 0.4, 0.3],
            [0.2, 0.2, 0.6],
            [0.5, 0.3, 0.2],
            [0.1, 0.6, 0.3],
            [0.4, 0.4, 0.2],
            [0.1, 0.3, 0.6],
            [0.3, 0.3, 0.4]
        ];
        let found = PrecisionRecall::new(&truth, &scores).unwrap().average_precision();
        let golden = [0.8333333333333333, 0.7222222222222222, 0.8095238095238095];
        assert!(found.iter().zip(golden).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        let roc = super::super::RocCurve::new(&truth, &scores).unwrap().auc();
        let golden = [0.9166666666666666, 0.8333333333333333, 0.7666666666666666];
        assert!(roc.iter().zip(golden).all(|(a, b)| (a - b).abs() < 1e-12), "{roc:?}");
    }

    #[test]
    fn the_picture_says_what_it_shows() {
        let curve = PrecisionRecall::new(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8]).unwrap();
        let svg = curve.clone().title("cats").class_names(["dog", "cat"]).to_svg().unwrap();
        for text in ["cats", "cat: AP = 0.8333", "recall", "precision", "chance"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(PrecisionRecall::new(&[0, 0], &[0.5, 0.1]).unwrap().average_precision()[0].is_nan());
        assert!(
            PrecisionRecall::new(&[0, 0], &[0.5, 0.1]).unwrap().to_svg().unwrap().contains("undefined for 1 classes")
        );
    }
}
