//! How the files of slides are laid out. Each layout is a file of its own here: how it is known, and which files it has.

mod aegis;
mod clam;
mod dsmil;
mod folder;
mod groups;
mod nested;
mod parquet;
mod paths;
mod slideflow;
mod torchmil;

use super::entry::Entry;
use super::table::Table;
use crate::data::Opening;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// What a layout has.
pub(super) struct Found {
    /// The folder of the features, for messages.
    pub folder: PathBuf,
    pub entries: Vec<Entry>,
    /// Labels that come with the layout, of slides that are called as the entries are.
    pub table: Option<Table>,
    pub remarks: Vec<String>,
}

/// A way to lay out slides.
struct Layout {
    is: fn(&Path) -> bool,
    find: fn(&Path, &Opening) -> Result<Found>,
}

/// All of them, those first that are told by more than a few files.
const ALL: [Layout; 10] = [
    Layout { is: groups::is, find: groups::find },
    Layout { is: paths::is, find: paths::find },
    Layout { is: torchmil::is, find: torchmil::find },
    Layout { is: slideflow::is, find: slideflow::find },
    Layout { is: clam::is, find: clam::find },
    Layout { is: parquet::is, find: parquet::find },
    Layout { is: folder::is, find: folder::find },
    Layout { is: dsmil::is, find: dsmil::find },
    Layout { is: aegis::is, find: aegis::find },
    Layout { is: nested::is, find: nested::find },
];

/// True for what one of the layouts is known by.
pub(in crate::data) fn is_slides(path: &Path) -> bool {
    ALL.iter().any(|layout| (layout.is)(path))
}

/// The slides in `path`.
///
/// # Errors
/// When there are none, and what is wrong with the files that say which there are.
pub(super) fn find(path: &Path, opening: &Opening) -> Result<Found> {
    match ALL.iter().find(|layout| (layout.is)(path)) {
        Some(layout) => (layout.find)(path, opening),
        None => folder::find(path, opening),
    }
}

/// Files of a folder, or folders in it, that are not hidden, in the order of their names.
///
/// # Errors
/// [`Error::Io`].
fn list(folder: &Path, wanted: fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let io = |e| Error::io(folder, e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if !hidden && wanted(&path) {
            paths.push(path);
        }
    }
    paths.sort_by_cached_key(|path| crate::data::pictures::natural(Path::new(path.file_stem().unwrap_or_default())));
    Ok(paths)
}
