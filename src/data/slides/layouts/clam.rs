//! The folder that CLAM writes, with `h5_files` and `pt_files` in it.

use super::super::format::Format;
use super::{Found, folder};
use crate::data::Opening;
use crate::error::Result;
use std::path::{Path, PathBuf};

/// The folder of features, the one with places before the one without.
fn inner(path: &Path) -> Option<PathBuf> {
    ["h5_files", "pt_files"].map(|name| path.join(name)).into_iter().find(|f| f.is_dir() && folder::is(f))
}

pub(super) fn is(path: &Path) -> bool {
    // What lies beside the folders, such as statistics, is no slide; files of the formats that CLAM writes are.
    let own = |file: &PathBuf| Format::by_name(file).is_some_and(|format| format.rank() == 0);
    inner(path).is_some() && !folder::files(path).is_ok_and(|files| files.iter().any(own))
}

pub(super) fn find(path: &Path, opening: &Opening) -> Result<Found> {
    let Some(inner) = inner(path) else { return folder::find(path, opening) };
    let mut found = folder::find(&inner, opening)?;
    let other = path.join("pt_files");
    let why = if other.is_dir() && other != inner { ", which has places too, and not from pt_files" } else { "" };
    found.remarks.insert(0, format!("features are read from {}{why}", inner.display()));
    Ok(found)
}
