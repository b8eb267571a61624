//! Bags of slideflow: `SLIDE.pt` with the features, and `SLIDE.index.npz` with the places of the patches.

use super::super::format::Unit;
use super::{Found, folder};
use crate::data::Opening;
use crate::error::Result;
use std::path::{Path, PathBuf};

const ENDING: &str = ".index.npz";

/// The file of places of the slide that `path` without its ending is called after.
fn index(path: &Path) -> Option<PathBuf> {
    let name = path.file_stem()?.to_string_lossy().into_owned() + ENDING;
    Some(path.with_file_name(name)).filter(|index| index.is_file())
}

pub(super) fn is(path: &Path) -> bool {
    if path.is_file() {
        return path.extension().is_some_and(|e| e == "pt") && index(path).is_some();
    }
    let slide = |file: &PathBuf| {
        let name = file.file_name()?.to_string_lossy().into_owned();
        Some(file.with_file_name(format!("{}.pt", name.strip_suffix(ENDING)?)))
    };
    folder::files(path).is_ok_and(|files| files.iter().filter_map(slide).any(|slide| slide.is_file()))
}

pub(super) fn find(path: &Path, _: &Opening) -> Result<Found> {
    let mut paths = if path.is_file() { vec![path.to_owned()] } else { folder::files(path)? };
    let is_index = |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ENDING));
    paths.retain(|file| !is_index(file));
    let mut found = folder::of(path, paths)?;
    for entry in &mut found.entries {
        // The files do not say of what level the pixels are.
        entry.coords = index(&entry.path).map(|index| (index, Unit::Unknown));
    }
    let placed = found.entries.iter().filter(|entry| entry.coords.is_some()).count();
    found
        .remarks
        .push(format!("places of {placed} slides are read from their {ENDING} files, as slideflow writes them"));
    Ok(found)
}
