//! Wine: 178 wines from three grape varieties (cultivars) of one region of Italy, each with 13
//! chemical measurements, inside the crate.
//!
//! The table that scikit-learn's `load_wine` gives, in the same order: S. Aeberhard and M. Forina,
//! *Wine*, 1992, UCI Machine Learning Repository, <https://doi.org/10.24432/C5PC7J>, CC BY 4.0.
//!
//! The columns have very different units (proline is above 1000, hue about 1): put a `Normalization`
//! layer first.

use crate::error::{Error, Result};
use ndarray::{Array1, Array2, Axis, s};

/// The names of the 13 columns.
pub const FEATURES: [&str; 13] = [
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280_od315_of_diluted_wines",
    "proline",
];

/// The measurements, of shape `(178, 13)` with the columns [`FEATURES`], and the cultivar of each
/// wine (0, 1 or 2): a small problem of classification.
///
/// ```
/// let (x, y) = cornu::datasets::wine::load();
/// assert_eq!((x.dim(), y.len()), ((178, 13), 178));
/// ```
pub fn load() -> (Array2<f32>, Array1<u8>) {
    let rows = include_str!("wine.csv").lines().skip(1);
    let cells: Vec<f32> = rows.flat_map(|row| row.split(',')).filter_map(|cell| cell.parse().ok()).collect();
    let columns = FEATURES.len() + 1;
    match Array2::from_shape_vec((cells.len() / columns, columns), cells) {
        Ok(table) => (table.slice(s![.., ..-1]).to_owned(), table.column(columns - 1).mapv(|class| class as u8)),
        Err(_) => unreachable!("the table inside the crate is read by a test"),
    }
}

/// A small problem of regression: the column `target` is to be predicted, of shape `(178,)`, from the
/// twelve others, of shape `(178, 12)`. Returns `(x, y, names of x's columns)`.
///
/// `"proline"` and `"flavanoids"` are good targets, on which a small network does better than a
/// straight line.
///
/// ```
/// let (x, y, names) = cornu::datasets::wine::regression("proline")?;
/// assert_eq!((x.dim(), y.len(), names.len()), ((178, 12), 178, 12));
/// # Ok::<(), cornu::Error>(())
/// ```
///
/// # Errors
/// When no column has this name.
pub fn regression(target: &str) -> Result<(Array2<f32>, Array1<f32>, Vec<&'static str>)> {
    let (table, _) = load();
    let others = |&i: &usize| FEATURES[i] != target;
    let inputs: Vec<usize> = (0..FEATURES.len()).filter(others).collect();
    match FEATURES.iter().position(|name| *name == target) {
        Some(column) => Ok((
            table.select(Axis(1), &inputs),
            table.column(column).to_owned(),
            inputs.iter().map(|&i| FEATURES[i]).collect(),
        )),
        None => Err(Error::unknown_name("column", target, FEATURES)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_scikit_learns() {
        let (x, y) = load();
        assert_eq!(x.dim(), (178, 13));
        assert_eq!(include_str!("wine.csv").lines().next().unwrap(), format!("{},cultivar", FEATURES.join(",")));
        let sums: Vec<f64> = x.columns().into_iter().map(|c| c.iter().map(|&v| f64::from(v)).sum()).collect();
        let expected = [
            2314.11, 415.87, 421.24, 3470.1, 17754., 408.53, 361.21, 64.41, 283.18, 900.339999, 170.426, 464.88,
            132947.,
        ];
        for (sum, expected) in sums.iter().zip(expected) {
            approx::assert_relative_eq!(*sum, expected, max_relative = 1e-6);
        }
        assert_eq!(x.row(177).to_vec()[..3], [14.13, 4.1, 2.74]);
        assert_eq!([0, 1, 2].map(|class| y.iter().filter(|&&y| y == class).count()), [59, 71, 48]);
    }

    #[test]
    fn any_column_can_be_the_target() {
        let (x, y, names) = regression("ash").unwrap();
        assert_eq!((y[0], x[[0, 1]], x[[0, 2]], x[[177, 11]]), (2.43, 1.71, 15.6, 560.0));
        assert_eq!((names[2], names.len()), ("alcalinity_of_ash", 12));
        assert!(regression("flavonoids").unwrap_err().to_string().contains("did you mean 'flavanoids'"));
    }
}
