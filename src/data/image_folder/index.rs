//! Which images lie in a folder.

use super::OnError;
use crate::error::{Error, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// The extensions of images, as in Keras.
const FORMATS: [&str; 5] = ["bmp", "gif", "jpeg", "jpg", "png"];

/// The names of the folders in `directory` in alphabetical order, hidden ones left out.
pub(super) fn classes(directory: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in entries(directory)? {
        // A link to a folder is a class, too.
        if entry.is_dir()
            && let Some(name) = entry.file_name().map(|name| name.to_string_lossy().into_owned())
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The images in and below a folder: folder by folder and in each by name, in alphabetical order. Links to folders are
/// followed if `follow_links` says so.
pub(super) fn images(
    folder: &Path,
    follow_links: bool,
    on_error: OnError,
    skipped: &mut Vec<Error>,
) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    // Folders to look into, each with the real places that lead to it.
    let mut folders = vec![(folder.to_path_buf(), Vec::new())];
    while let Some((folder, mut above)) = folders.pop() {
        let look = || -> Result<(PathBuf, Vec<PathBuf>)> {
            let place = fs::canonicalize(&folder).map_err(|source| Error::io(&folder, source))?;
            ensure!(
                !above.contains(&place),
                Data,
                "folder '{}' is a link to a folder that it lies in: it has no end",
                folder.display()
            );
            Ok((place, entries(&folder)?))
        };
        let (place, entries) = match (look(), on_error) {
            (Ok(looked), _) => looked,
            (Err(error), OnError::Fail) => return Err(error),
            (Err(error), OnError::Skip) => {
                skipped.push(error);
                continue;
            }
        };
        above.push(place);
        for path in entries {
            let linked = path.is_symlink();
            if path.is_dir() {
                if !linked || follow_links {
                    folders.push((path, above.clone()));
                }
            } else if is_image(&path) {
                found.push((folder.clone(), path));
            }
        }
    }
    // As texts, not part by part: so `a-b/x` stands before `a/x`.
    found.sort_unstable_by(|a, b| (a.0.as_os_str(), a.1.as_os_str()).cmp(&(b.0.as_os_str(), b.1.as_os_str())));
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn is_image(path: &Path) -> bool {
    // All of the name may be the extension: `.png`.
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    name.rsplit_once('.').is_some_and(|(_, extension)| FORMATS.contains(&extension))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |source| Error::io(folder, source);
    fs::read_dir(folder).map_err(io)?.map(|entry| Ok(entry.map_err(io)?.path())).collect()
}
