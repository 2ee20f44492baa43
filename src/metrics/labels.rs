//! Class numbers from whatever says which class a sample is of.

use crate::data::Rows;
use crate::error::{Error, Result, ensure};
use ndarray::Array2;

/// Labels are below this: of more classes nobody reads a table, and a table of them squared would fill the memory.
const MOST_CLASSES: usize = 10_000;

/// A table of confusions has this many classes at most: it is squared.
pub(crate) const MOST_CONFUSED: usize = 2_000;

/// All values of `rows`, in order.
pub(crate) fn values(rows: &dyn Rows) -> Vec<f32> {
    let each: usize = rows.sample_shape().iter().product();
    let mut values = vec![0.0; rows.len() * each];
    rows.gather(&(0..rows.len()).collect::<Vec<_>>(), &mut values);
    values
}

/// The number of values that a sample has: 1 for labels, the number of classes for one-hot rows and probabilities.
pub(crate) fn width(what: &str, rows: &dyn Rows) -> Result<usize> {
    let shape = rows.sample_shape();
    ensure!(
        shape.len() <= 1 && shape.first() != Some(&0),
        Shape,
        "{what}: expected the shape (samples,) or (samples, classes); each sample here has the shape {:?}",
        shape.as_slice()
    );
    Ok(shape.first().copied().unwrap_or(1))
}

/// The class of each sample, from labels, one-hot rows or probabilities.
///
/// One value a sample is a label if all are whole numbers; else the probability of class 1, which is chosen above 0.5. Of
/// several the largest counts, the first of equals.
pub(crate) fn class_labels(what: &str, rows: &dyn Rows) -> Result<Vec<usize>> {
    let width = width(what, rows)?;
    let values = values(rows);
    ensure!(!values.is_empty(), Data, "{what} is empty: it has no samples");
    if let Some(i) = values.iter().position(|value| value.is_nan()) {
        return Err(Error::Data(format!("{what}: sample {} has the value NaN; there is no class to it", i / width)));
    }
    if width > 1 {
        let largest = |row: &[f32]| (1..width).fold(0, |best, i| if row[i] > row[best] { i } else { best });
        return Ok(values.chunks_exact(width).map(largest).collect());
    }
    if values.iter().all(|value| value.fract() == 0.0) {
        let label = |(i, &value): (usize, &f32)| {
            ensure!(
                (0.0..MOST_CLASSES as f32).contains(&value),
                Data,
                "{what}: label {i} is {value}; labels are whole numbers from 0, below {MOST_CLASSES}"
            );
            Ok(value as usize)
        };
        return values.iter().enumerate().map(label).collect();
    }
    let class = |(i, &value): (usize, &f32)| {
        ensure!(
            (0.0..=1.0).contains(&value),
            Data,
            "{what}: value {i} is {value}, neither a label (a whole number) nor a probability from 0 to 1"
        );
        Ok(usize::from(value > 0.5))
    };
    values.iter().enumerate().map(class).collect()
}

/// How often a sample of class `row` was taken for class `column`; and the labels themselves fit to each other.
pub(crate) fn confusion(y_true: &dyn Rows, y_pred: &dyn Rows) -> Result<Array2<u64>> {
    let (truth, predicted) = (class_labels("y_true", y_true)?, class_labels("y_pred", y_pred)?);
    ensure!(
        truth.len() == predicted.len(),
        Data,
        "y_true has {} samples and y_pred has {}; they must have as many",
        truth.len(),
        predicted.len()
    );
    let largest = truth.iter().chain(&predicted).max().map_or(0, |&largest| largest + 1);
    // One-hot rows and probabilities know classes that no sample is of.
    let classes = [largest, width("y_true", y_true)?, width("y_pred", y_pred)?].into_iter().max().unwrap_or(1).max(2);
    ensure!(
        classes <= MOST_CONFUSED,
        Data,
        "there are {classes} classes; a table of which is taken for which has {MOST_CONFUSED} at most"
    );
    let mut counts = Array2::zeros((classes, classes));
    truth.iter().zip(&predicted).for_each(|(&t, &p)| counts[[t, p]] += 1);
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array3, array};

    #[test]
    fn labels_come_in_many_forms() {
        let labels = |rows: &dyn Rows| class_labels("y", rows).unwrap();
        assert_eq!(labels(&vec![2u8, 0, 1]), [2, 0, 1]);
        assert_eq!(labels(&array![[1i64], [0]]), [1, 0]);
        assert_eq!(labels(&array![true, false]), [1, 0]);
        assert_eq!(labels(&array![[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]), [1, 0]);
        assert_eq!(labels(&array![[0.1], [0.5], [0.51], [1.0]]), [0, 0, 1, 1]);
        assert_eq!(labels(&array![[-3.0, -2.0]]), [1], "logits");
    }

    #[test]
    fn what_is_no_label_is_refused() {
        let refusal = |rows: &dyn Rows| class_labels("y_true", rows).unwrap_err().to_string();
        assert!(refusal(&vec![1.0, -1.0]).contains("y_true: label 1 is -1"));
        assert!(refusal(&vec![1.0, 1e9]).contains("below 10000"));
        assert!(refusal(&vec![0.5, 1.5]).contains("value 1 is 1.5"));
        assert!(refusal(&array![[0.5, 0.5], [f32::NAN, 0.0]]).contains("sample 1 has the value NaN"));
        assert!(refusal(&Array1::<f32>::zeros(0)).contains("no samples"));
        assert!(refusal(&Array3::<f32>::zeros((2, 2, 2))).contains("[2, 2]"));
        let wide = confusion(&vec![0], &ndarray::Array2::<f32>::zeros((1, 50_000))).unwrap_err().to_string();
        assert!(wide.contains("50000 classes") && wide.contains("2000 at most"), "{wide}");
        assert!(confusion(&vec![0, 1], &vec![0]).unwrap_err().to_string().contains("2 samples and y_pred has 1"));
    }

    #[test]
    fn counts_stand_by_true_row_and_predicted_column() {
        let counts =
            confusion(&vec![0, 0, 1, 2], &array![[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.0, 1.0, 0.0], [0.6, 0.4, 0.0]]);
        assert_eq!(counts.unwrap(), array![[1, 1, 0], [0, 1, 0], [1, 0, 0]]);
        assert_eq!(confusion(&vec![0], &vec![0]).unwrap().dim(), (2, 2), "one class is no table");
    }
}
