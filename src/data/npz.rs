//! npz files, which are not read: what to do with one.

use crate::error::Error;
use std::path::{Path, PathBuf};

fn is_npz(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"))
}

/// The error of `path` where it is an npz file, or a folder with one.
pub(super) fn refusal(path: &Path) -> Option<Error> {
    let file: PathBuf = match path.is_dir() {
        true => std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.path()).filter(|p| is_npz(p)).min()?,
        false => Some(path).filter(|p| is_npz(p))?.into(),
    };
    let name = file.file_name()?.to_string_lossy();
    let message = format!(
        "expected npy files, found {name}, and npz files are not read. Unpack it into a folder, in Python: import \
         numpy as np; [np.save(f'FOLDER/{{name}}.npy', array) for name, array in np.load('{name}').items()]. That folder \
         then has to hold features.npy (or pixels.npy) and bag_ids.npy, and labels.npy to train with (docs/data.md has \
         the layout)"
    );
    Some(Error::format(path, message))
}
