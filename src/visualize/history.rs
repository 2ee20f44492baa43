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
}
