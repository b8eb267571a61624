//! One HDF5 file with a group for each slide.

use super::super::entry::Entry;
use super::super::format::{self, Format};
use super::Found;
use crate::data::{Opening, pictures};
use crate::error::{Error, Result};
use std::path::Path;

fn groups(path: &Path) -> Vec<String> {
    let is = path.is_file() && Format::by_content(path).is_ok_and(|format| format == Some(Format::Hdf5));
    if is { format::groups(path).unwrap_or_default() } else { Vec::new() }
}

pub(super) fn is(path: &Path) -> bool {
    !groups(path).is_empty()
}

pub(super) fn find(path: &Path, _: &Opening) -> Result<Found> {
    let mut groups = groups(path);
    if groups.is_empty() {
        return Err(Error::format(path, "expected a group for each slide, found none"));
    }
    groups.sort_by_cached_key(|name| pictures::natural(Path::new(name)));
    let entry = |group: String| {
        let mut entry = Entry::new(path.into(), group.clone(), Ok(Format::Hdf5));
        entry.group = Some(group);
        entry
    };
    let remarks = vec![format!("each of the {} groups of the file is a slide", groups.len())];
    Ok(Found { folder: path.into(), entries: groups.into_iter().map(entry).collect(), table: None, remarks })
}
