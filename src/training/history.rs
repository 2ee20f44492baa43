//! What training reports: the logs of one epoch, and the history of all.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Named values of an epoch or a batch, in order: `loss`, the metrics, then the same with `val_`.
///
/// A value is a list of numbers, nearly always of one; some metrics give one for each class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Logs(Vec<(String, Vec<f64>)>);

impl Logs {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number under this name; none if there is no such name, or it holds a list.
    pub fn get(&self, name: &str) -> Option<f64> {
        match self.get_list(name) {
            Some([only]) => Some(*only),
            _ => None,
        }
    }

    /// The numbers under this name.
    pub fn get_list(&self, name: &str) -> Option<&[f64]> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, values)| values.as_slice())
    }

    /// Sets a number.
    pub fn insert(&mut self, name: &str, value: f64) {
        self.insert_list(name, vec![value]);
    }

    /// Sets a list of numbers.
    pub fn insert_list(&mut self, name: &str, values: Vec<f64>) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = values,
            None => self.0.push((name.to_owned(), values)),
        }
    }

    /// All names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[f64])> {
        self.0.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// What `fit` returns: the logs of each epoch (Keras: `History.history` and `.epoch`).
///
/// `history["val_loss"]` is the list of a value's numbers, one for each epoch that has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    epochs: Vec<usize>,
    values: Vec<Series>,
    not_finite: Option<(usize, usize)>,
}

/// The values under one name, and the epochs they belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Series {
    name: String,
    epochs: Vec<usize>,
    values: Vec<Vec<f64>>,
    /// The first number of each value, for indexing.
    scalars: Vec<f64>,
}

impl History {
    pub(crate) fn push(&mut self, epoch: usize, logs: &Logs) {
        self.epochs.push(epoch);
        for (name, value) in logs.iter() {
            let at = self.values.iter().position(|s| s.name == name).unwrap_or_else(|| {
                self.values.push(Series {
                    name: name.to_owned(),
                    epochs: Vec::new(),
                    values: Vec::new(),
                    scalars: Vec::new(),
                });
                self.values.len() - 1
            });
            let series = &mut self.values[at];
            series.epochs.push(epoch);
            series.values.push(value.to_vec());
            series.scalars.push(value.first().copied().unwrap_or(f64::NAN));
        }
    }

    /// Notes the first batch whose loss was not a finite number.
    pub(crate) fn note_not_finite(&mut self, epoch: usize, batch: usize) {
        self.not_finite.get_or_insert((epoch, batch));
    }

    /// The epochs that ran, counted from 0.
    pub fn epochs(&self) -> &[usize] {
        &self.epochs
    }

    /// All names, in order: `loss`, the metrics, `val_loss`, ….
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|s| s.name.as_str())
    }

    /// The numbers under this name, one an epoch. Of a metric that gives a list, the first of each.
    pub fn get(&self, name: &str) -> Option<&[f64]> {
        self.series(name).map(|s| s.scalars.as_slice())
    }

    /// The values under this name as lists, one an epoch.
    pub fn get_lists(&self, name: &str) -> Option<&[Vec<f64>]> {
        self.series(name).map(|s| s.values.as_slice())
    }

    /// The epochs that have a value under this name (validation may run on some only).
    pub fn epochs_of(&self, name: &str) -> Option<&[usize]> {
        self.series(name).map(|s| s.epochs.as_slice())
    }

    /// The number of the last epoch under this name.
    pub fn last(&self, name: &str) -> Option<f64> {
        self.get(name)?.last().copied()
    }

    /// The first (epoch, batch), counted from 0, whose loss was NaN or infinite, if any.
    pub fn first_non_finite(&self) -> Option<(usize, usize)> {
        self.not_finite
    }

    /// The values as Keras has them in `History.history`, for JSON: `{"loss": [0.9, 0.5], …}`.
    ///
    /// Values that are lists stay lists; NaN and infinities, which JSON lacks, are null.
    pub fn to_json(&self) -> serde_json::Value {
        let value = |value: &Vec<f64>| match value[..] {
            [one] => serde_json::Value::from(one),
            _ => value.as_slice().into(),
        };
        let list = |s: &Series| (s.name.clone(), s.values.iter().map(value).collect());
        serde_json::Value::Object(self.values.iter().map(list).collect())
    }

    fn series(&self, name: &str) -> Option<&Series> {
        self.values.iter().find(|s| s.name == name)
    }
}

impl std::ops::Index<&str> for History {
    type Output = [f64];

    /// The numbers under this name, one an epoch.
    ///
    /// # Panics
    /// When there is no such name; [`History::get`] does not.
    fn index(&self, name: &str) -> &[f64] {
        match self.get(name) {
            Some(values) => values,
            None => panic!("the history has no '{name}', only {:?}", self.names().collect::<Vec<_>>()),
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, epoch) in self.epochs.iter().enumerate() {
            write!(f, "{}epoch {}", if i > 0 { "\n" } else { "" }, epoch + 1)?;
            for series in &self.values {
                if let Some(at) = series.epochs.iter().position(|e| e == epoch) {
                    let numbers: Vec<String> = series.values[at].iter().map(|v| format!("{v:.4}")).collect();
                    write!(f, " - {}: {}", series.name, numbers.join(" "))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_shape_of_keras() {
        let (mut history, mut logs) = (History::default(), Logs::new());
        logs.insert("loss", 0.5);
        history.push(0, &logs);
        logs.insert("loss", f64::NAN);
        logs.insert_list("val_f1_score", vec![0.25, 1.0]);
        history.push(1, &logs);
        assert_eq!(history.to_json().to_string(), r#"{"loss":[0.5,null],"val_f1_score":[[0.25,1.0]]}"#);
        assert_eq!(history.epochs_of("val_f1_score"), Some(&[1][..]));
    }
}
