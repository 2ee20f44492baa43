//! Precision, recall and F1 of each class, as a table.

use super::labels::confusion;
use super::over;
use crate::data::Rows;
use crate::error::Result;
use std::fmt;

/// Of longer names of classes only the beginning is shown.
const LONGEST: usize = 200;

/// How well one class was recognised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassScores {
    /// The share of samples taken for this class that are of it; 0 if none were.
    pub precision: f64,
    /// The share of samples of this class that were taken for it; 0 if there are none.
    pub recall: f64,
    /// The harmonic mean of the two.
    pub f1: f64,
    /// The number of samples that are of this class.
    pub support: u64,
}

/// How well each class was recognised, and all together: what scikit-learn's `classification_report` prints.
///
/// Printed it is scikit-learn's table; the numbers are had from its methods. Made by [`classification_report`].
#[derive(Clone, Debug, PartialEq)]
pub struct ClassificationReport {
    classes: Vec<(usize, ClassScores)>,
    right: u64,
    total: u64,
    names: Vec<String>,
    digits: usize,
}

/// Compares predicted with true classes.
///
/// `y_true` and `y_pred` are labels `(samples,)` or `(samples, 1)`, one-hot rows or probabilities `(samples, classes)`, each
/// as it comes; values between 0 and 1, one a sample, are probabilities of class 1. Classes that occur in neither are left
/// out.
///
/// ```
/// use cornu::metrics::classification_report;
/// let report = classification_report(&[0, 1, 2, 2, 2], &[0, 0, 2, 2, 1])?.class_names(["ape", "bee", "cat"]);
/// assert_eq!(report.class(2).unwrap().precision, 1.0);
/// assert_eq!(
///     report.to_string(),
///     "              precision    recall  f1-score   support
///
///          ape       0.50      1.00      0.67         1
///          bee       0.00      0.00      0.00         1
///          cat       1.00      0.67      0.80         3
///
///     accuracy                           0.60         5
///    macro avg       0.50      0.56      0.49         5
/// weighted avg       0.70      0.60      0.61         5"
/// );
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When they are empty, not of one length, or hold what is no class.
pub fn classification_report(y_true: &impl Rows, y_pred: &impl Rows) -> Result<ClassificationReport> {
    let counts = confusion(y_true, y_pred)?;
    let (supports, predicted) = (counts.sum_axis(ndarray::Axis(1)), counts.sum_axis(ndarray::Axis(0)));
    let scores = |class: usize| {
        let right = counts[[class, class]] as f64;
        let (support, predicted) = (supports[class], predicted[class]);
        ClassScores {
            precision: over(right, predicted as f64),
            recall: over(right, support as f64),
            f1: over(2.0 * right, (support + predicted) as f64),
            support,
        }
    };
    let occurring = (0..supports.len()).filter(|&class| supports[class] + predicted[class] > 0);
    Ok(ClassificationReport {
        classes: occurring.map(|class| (class, scores(class))).collect(),
        right: counts.diag().sum(),
        total: counts.sum(),
        names: Vec::new(),
        digits: 2,
    })
}

impl ClassificationReport {
    /// What the classes are called, from class 0. Default: their numbers; so are those that have no name here.
    pub fn class_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// How many digits stand behind the point, at most 17. Default: 2.
    pub fn digits(mut self, digits: usize) -> Self {
        self.digits = digits.min(17);
        self
    }

    /// The classes that occur, with their scores, in order.
    pub fn classes(&self) -> &[(usize, ClassScores)] {
        &self.classes
    }

    /// The scores of a class; none if it does not occur.
    pub fn class(&self, class: usize) -> Option<ClassScores> {
        self.classes.iter().find(|(known, _)| *known == class).map(|(_, scores)| *scores)
    }

    /// The share of samples whose class was recognised.
    pub fn accuracy(&self) -> f64 {
        over(self.right as f64, self.total as f64)
    }

    /// The mean over classes, each counting the same. Its support is that of all.
    pub fn macro_average(&self) -> ClassScores {
        self.mean(|_| 1.0)
    }

    /// The mean over classes, each counting as many times as it has samples.
    pub fn weighted_average(&self) -> ClassScores {
        self.mean(|scores| scores.support as f64)
    }

    fn mean(&self, weight: impl Fn(&ClassScores) -> f64) -> ClassScores {
        let total: f64 = self.classes.iter().map(|(_, scores)| weight(scores)).sum();
        let mean = |value: fn(&ClassScores) -> f64| {
            over(self.classes.iter().map(|(_, scores)| weight(scores) * value(scores)).sum(), total)
        };
        ClassScores {
            precision: mean(|scores| scores.precision),
            recall: mean(|scores| scores.recall),
            f1: mean(|scores| scores.f1),
            support: self.total,
        }
    }
}

impl fmt::Display for ClassificationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |class: usize| match self.names.get(class) {
            Some(name) => name.chars().take(LONGEST).collect(),
            None => class.to_string(),
        };
        let names = self.classes.iter().map(|(class, _)| name(*class).chars().count());
        let (width, digits) = (names.fold("weighted avg".len(), usize::max), self.digits);
        let row = |f: &mut fmt::Formatter<'_>, name: &str, scores: ClassScores| {
            let ClassScores { precision, recall, f1, support } = scores;
            write!(f, "{name:>width$}  {precision:>9.digits$} {recall:>9.digits$} {f1:>9.digits$} {support:>9}")
        };
        writeln!(f, "{:>width$}  {:>9} {:>9} {:>9} {:>9}\n", "", "precision", "recall", "f1-score", "support")?;
        for (class, scores) in &self.classes {
            row(f, &name(*class), *scores)?;
            writeln!(f)?;
        }
        let accuracy = self.accuracy();
        writeln!(f, "\n{:>width$}  {:>9} {:>9} {accuracy:>9.digits$} {:>9}", "accuracy", "", "", self.total)?;
        row(f, "macro avg", self.macro_average())?;
        writeln!(f)?;
        row(f, "weighted avg", self.weighted_average())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// scikit-learn 1.9: `classification_report(y_true, y_pred, digits=4)` and its dictionary.
    #[test]
    fn numbers_and_text_are_those_of_scikit_learn() {
        let y_true = [0, 0, 0, 1, 1, 1, 1, 3, 3, 5, 5, 5, 5, 5, 11];
        let y_pred = [0, 1, 0, 1, 1, 3, 1, 3, 1, 5, 5, 2, 5, 5, 5];
        let report = classification_report(&y_true, &y_pred).unwrap().digits(4);
        let golden = "              precision    recall  f1-score   support

           0     1.0000    0.6667    0.8000         3
           1     0.6000    0.7500    0.6667         4
           2     0.0000    0.0000    0.0000         0
           3     0.5000    0.5000    0.5000         2
           5     0.8000    0.8000    0.8000         5
          11     0.0000    0.0000    0.0000         1

    accuracy                         0.6667        15
   macro avg     0.4833    0.4528    0.4611        15
weighted avg     0.6933    0.6667    0.6711        15";
        assert_eq!(report.to_string(), golden);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(report.accuracy(), 0.6666666666666666);
        let (macro_average, weighted) = (report.macro_average(), report.weighted_average());
        close(macro_average.f1, 0.4611111111111111);
        close(macro_average.precision, 0.4833333333333334);
        close(weighted.precision, 0.6933333333333334);
        close(weighted.recall, 0.6666666666666666);
        close(weighted.f1, 0.6711111111111111);
        assert_eq!(report.class(2), Some(ClassScores { precision: 0.0, recall: 0.0, f1: 0.0, support: 0 }));
        assert_eq!((report.class(4), report.class(99)), (None, None));
    }

    #[test]
    fn forms_of_labels_do_not_matter() {
        let labels = classification_report(&[1, 0, 1], &[1, 1, 1]).unwrap();
        let rows = classification_report(&array![[0, 1], [1, 0], [0, 1]], &array![[0.3, 0.7], [0.4, 0.6], [0.0, 1.0]]);
        assert_eq!(labels, rows.unwrap());
        assert_eq!(labels, classification_report(&[true, false, true], &array![[0.9], [0.6], [0.51]]).unwrap());
        assert!(classification_report(&[0, 1], &[0]).is_err());
    }

    #[test]
    fn long_and_missing_names() {
        let report = classification_report(&[0, 1], &[0, 1]).unwrap().class_names(["a rather long name"]);
        let text = report.to_string();
        assert!(text.contains("\na rather long name       1.00"), "{text}");
        assert!(text.contains("\n                 1       1.00"), "{text}");
        assert!(text.lines().filter(|line| !line.is_empty()).all(|line| line.chars().count() == 59), "{text}");
    }
}
