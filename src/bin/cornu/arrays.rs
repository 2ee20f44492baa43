//! Arrays from files, as many as a model has places for them.

use cornu::data::{Rows, npy};
use cornu::training::Inputs;
use cornu::{Error, Result};
use ndarray::ArrayD;
use std::path::{Path, PathBuf};

/// The arrays of these files for these places (the names of the model's inputs or outputs), in their order.
/// `option` and `kind` are what errors call the files and the places.
pub fn read(option: &str, kind: &str, files: &[PathBuf], places: &[String]) -> Result<Vec<ArrayD<f32>>> {
    let is_archive = |path: &Path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz"));
    let mut arrays: Vec<(String, ArrayD<f32>)> = Vec::new();
    for path in files {
        match is_archive(path) {
            true => arrays.extend(npy::read_npz(path)?),
            false => arrays.push((path.display().to_string(), npy::read(path)?)),
        }
    }
    if let [only] = files
        && is_archive(only)
        && places.iter().all(|place| arrays.iter().any(|(name, _)| name == place))
    {
        // By name; what else is in the archive does not matter.
        let find = |place| arrays.iter().find(|(name, _)| name == place).map(|(_, array)| array.clone());
        return Ok(places.iter().filter_map(find).collect());
    }
    check_count(option, kind, arrays.iter().map(|(name, _)| name.as_str()), places)?;
    Ok(arrays.into_iter().map(|(_, array)| array).collect())
}

/// Whether there is one of `given` for each of the places.
pub fn check_count<'a>(
    option: &str,
    kind: &str,
    given: impl Iterator<Item = &'a str>,
    places: &[String],
) -> Result<()> {
    let given: Vec<&str> = given.collect();
    if given.len() == places.len() {
        return Ok(());
    }
    let plural = if places.len() == 1 { "" } else { "s" };
    Err(Error::Argument(format!(
        "the model has {} {kind}{plural} ({}), {option} gives {} ({})",
        places.len(),
        places.join(", "),
        given.len(),
        given.join(", ")
    )))
}

/// As data for a model.
pub fn inputs(arrays: &[ArrayD<f32>]) -> Inputs<'_> {
    Inputs::from(arrays.iter().map(|array| array as &dyn Rows).collect::<Vec<_>>())
}
