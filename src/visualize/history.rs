//! The picture of a history.

use super::{Curve, Curves};
use crate::error::Result;
use crate::training::History;
use std::path::Path;

impl From<&History> for Curves {
    /// A curve for each name, with the epochs that have a value. Of values that are lists the means.
    fn from(history: &History) -> Self {
        Curves::new(history.names().map(|name| {
            let mean = |values: &Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
            let values = history.get_lists(name).unwrap_or_default().iter().map(mean);
            Curve::new(name, values).epochs(history.epochs_of(name).unwrap_or_default().iter().copied())
        }))
    }
}

impl History {
    /// Draws loss and metrics by epoch, training and validation together, and writes the picture as
    /// `.png` or `.svg`. [`Curves`] says how it looks; `Curves::from(&history)` can be given a title.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path();
    /// # let (x, y) = (ndarray::arr2(&[[1.0], [2.0]]), ndarray::arr2(&[[2.0], [4.0]]));
    /// let mut model = Sequential::new();
    /// model.add(Input::new([1])).add(Dense::new(1));
    /// model.compile("sgd", "mse", ())?;
    /// let history = model.fit(&x, &y, Fit::new().epochs(5).verbose(0))?;
    /// history.plot(folder.join("curves.svg"))?;
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Curves::save`]: nothing to draw, another extension, a file that cannot be written.
    pub fn plot(&self, path: impl AsRef<Path>) -> Result<()> {
        Curves::from(self).save(path)
    }

    /// Shows the curves in a Jupyter notebook whose kernel is evcxr, which calls this when a history is the last value of a
    /// cell. Elsewhere it prints SVG.
    pub fn evcxr_display(&self) {
        Curves::from(self).evcxr_display();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::Logs;

    #[test]
    fn curves_keep_their_own_epochs() {
        let mut history = History::default();
        for epoch in 0..4 {
            let mut logs = Logs::new();
            logs.insert("loss", 1.0 / (epoch + 1) as f64);
            if epoch % 2 == 1 {
                logs.insert_list("val_f1_score", vec![0.25, 0.25 * epoch as f64]);
            }
            history.push(epoch, &logs);
        }
        let loss = Curve::new("loss", [1.0, 0.5, 1.0 / 3.0, 0.25]).epochs(0..4);
        let score = Curve::new("val_f1_score", [0.25, 0.5]).epochs([1, 3]);
        assert_eq!(Curves::from(&history), Curves::new([loss, score]));
        let folder = tempfile::tempdir().unwrap();
        history.plot(folder.path().join("curves.png")).unwrap();
        assert!(History::default().plot(folder.path().join("none.png")).is_err());
    }
}
