//! The receiver operating characteristic.

use super::ranking::{Comparison, Order, Ranked, orders};
use super::{Area, Drawing, Drawn, picture};
use crate::data::Rows;
use crate::error::Result;

/// How many samples of a class are found (the true positive rate) at the price of how many false alarms (the false positive
/// rate), at every threshold; with the area below the curve (AUC): 1 is perfect, 0.5 is chance.
///
/// Of two classes the curve is that of class 1; of more there is one for each class against the rest. With more than ten
/// classes all are drawn faintly, and the five worst in colours.
///
/// ```
/// use cornu::visualize::RocCurve;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("roc.png");
/// let curve = RocCurve::new(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8])?;
/// assert_eq!(curve.auc(), [0.75]);
/// curve.title("Is it a cat?").save(path)?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RocCurve {
    curves: Vec<Ranked>,
    names: Vec<String>,
    title: Option<String>,
}

impl RocCurve {
    /// `y_true` are labels or one-hot rows, `y_score` scores or probabilities: `(samples,)` or `(samples, 1)`, higher for
    /// class 1, or `(samples, classes)`.
    ///
    /// # Errors
    /// When they are empty, not of one length, hold what is no class, or NaN.
    pub fn new(y_true: &impl Rows, y_score: &impl Rows) -> Result<Self> {
        let curves = orders(y_true, y_score)?.iter().map(roc).collect();
        Ok(RocCurve { curves, names: Vec::new(), title: None })
    }

    /// What the classes are called, from class 0. Default: their numbers.
    pub fn class_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// The areas below the curves, by trapezoids as scikit-learn's `roc_auc_score`: one for each class, or only that of
    /// class 1 of two. NaN for a class that no sample or every sample is of.
    pub fn auc(&self) -> Vec<f64> {
        self.curves.iter().map(|curve| curve.area).collect()
    }

    /// The points of each curve, (false positive rate, true positive rate) from the highest threshold to the lowest.
    pub fn points(&self) -> Vec<&[(f64, f64)]> {
        self.curves.iter().map(|curve| curve.points.as_slice()).collect()
    }
}

fn roc(order: &Order) -> Ranked {
    let (positives, negatives) = (order.positives as f64, order.negatives as f64);
    let rates = order.counts.iter().map(|&(hits, others)| (others as f64 / negatives, hits as f64 / positives));
    let points: Vec<(f64, f64)> = std::iter::once((0.0, 0.0)).chain(rates).collect();
    let area = points.windows(2).map(|ends| (ends[1].0 - ends[0].0) * (ends[0].1 + ends[1].1) / 2.0).sum();
    Ranked { class: order.class, points, area }
}

picture!(RocCurve);

impl Drawing for RocCurve {
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
            labels: ("false positive rate", "true positive rate"),
            area: "AUC",
            chance: Some(([(0.0, 0.0), (1.0, 1.0)], "chance")),
        };
        comparison.draw(area)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array2};

    /// Scores with ties, of a fixed sequence.
    fn cases(n: usize, classes: usize) -> (Vec<usize>, Array2<f32>) {
        let mut state = 12345u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize
        };
        let truth: Vec<usize> = (0..n).map(|_| next() % classes).collect();
        let scores = Array2::from_shape_fn((n, classes), |(i, c)| {
            (next() % 20 + if truth[i] == c { 6 } else { 0 }) as f32 / 26.0
        });
        (truth, scores)
    }

    /// The share of pairs of a sample of the class and another one that stand in the right order, ties counting half.
    fn pairs(truth: &[usize], class: usize, score: impl Fn(usize) -> f32) -> f64 {
        let (mut right, mut all) = (0.0, 0.0);
        for i in (0..truth.len()).filter(|&i| truth[i] == class) {
            for j in (0..truth.len()).filter(|&j| truth[j] != class) {
                all += 1.0;
                right += if score(i) > score(j) {
                    1.0
                } else if score(i) == score(j) {
                    0.5
                } else {
                    0.0
                };
            }
        }
        right / all
    }

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        let (truth, scores) = cases(200, 5);
        let curve = RocCurve::new(&truth, &scores).unwrap();
        assert_eq!(curve.auc().len(), 5);
        for (class, found) in curve.auc().into_iter().enumerate() {
            let expected = pairs(&truth, class, |i| scores[[i, class]]);
            assert!((found - expected).abs() < 1e-12, "class {class}: {found} {expected}");
        }
        let (truth, scores) = cases(150, 2);
        let expected = pairs(&truth, 1, |i| scores[[i, 1]]);
        let two = RocCurve::new(&truth, &scores).unwrap();
        assert!((two.auc()[0] - expected).abs() < 1e-12);
        assert_eq!(RocCurve::new(&truth, &scores.column(1)).unwrap().auc(), two.auc());
    }

    #[test]
    fn points_run_from_corner_to_corner() {
        let curve = RocCurve::new(&[0, 0, 1, 1], &[0.1, 0.4, 0.35, 0.8]).unwrap();
        // scikit-learn's roc_curve with drop_intermediate=False.
        assert_eq!(curve.points(), [[(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]]);
        let tied = RocCurve::new(&[0, 1, 1, 0], &[1.0, 1.0, 1.0, 1.0]).unwrap();
        assert_eq!((tied.points()[0], tied.auc()), (&[(0.0, 0.0), (1.0, 1.0)][..], vec![0.5]));
    }

    #[test]
    fn the_legend_says_the_area() {
        let (truth, scores) = cases(60, 3);
        let curve = RocCurve::new(&truth, &scores).unwrap().class_names(["ape", "bee", "a name that is much too long"]);
        let svg = curve.to_svg().unwrap();
        assert!(svg.contains(&format!("ape: AUC = {:.4}", curve.auc()[0])), "{svg}");
        assert!(svg.contains("a name that is …: AUC") && svg.contains("mean AUC") && svg.contains("chance"));
        let (truth, scores) = cases(400, 20);
        let many = RocCurve::new(&truth, &scores).unwrap().to_svg().unwrap();
        assert!(many.contains("all 20 classes") && many.matches(": AUC = ").count() == 5);
    }

    #[test]
    fn many_scores_are_few_points_on_paper() {
        let truth: Vec<usize> = (0..100_000).map(|i| usize::from(i % 7 < 3)).collect();
        let scores: Vec<f32> = (0..100_000).map(|i| i as f32).collect();
        let curve = RocCurve::new(&truth, &scores).unwrap();
        assert_eq!(curve.points()[0].len(), 100_001);
        assert!(curve.to_svg().unwrap().len() < 100_000);
    }

    #[test]
    fn classes_without_samples_and_mistakes() {
        let scores = Array2::from_shape_fn((4, 3), |(i, c)| (i + c) as f32);
        let curve = RocCurve::new(&[0, 1, 0, 1], &scores).unwrap();
        assert!(curve.auc()[2].is_nan() && !curve.auc()[0].is_nan());
        assert!(curve.to_svg().unwrap().contains("undefined for 1 classes"));
        let error =
            |truth: &[usize], scores: Vec<f32>| RocCurve::new(&truth.to_vec(), &scores).unwrap_err().to_string();
        assert!(error(&[0, 2], vec![0.1, 0.2]).contains("one score a sample"));
        assert!(error(&[0, 1], vec![0.1]).contains("2 samples and y_score has 1"));
        assert!(error(&[0, 1], vec![0.1, f32::NAN]).contains("NaN"));
        assert!(RocCurve::new(&Array1::<f32>::zeros(0), &Array1::<f32>::zeros(0)).is_err());
    }
}
