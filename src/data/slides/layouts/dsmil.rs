//! The folders of dsmil: one for each class, with a csv file for each slide, and `NAME.csv` in the folder `NAME` above, which
//! has the path and the label of each.

use super::super::format::Format;
use super::super::sheet::Sheet;
use super::super::table::{self, Table};
use super::{Found, folder, list};
use crate::data::Opening;
use crate::data::text::ColumnNames;
use crate::error::Result;
use std::path::{Path, PathBuf};

/// The files of the slides in each class.
fn classes(path: &Path) -> Vec<(PathBuf, Vec<PathBuf>)> {
    if !path.is_dir() {
        return Vec::new();
    }
    let slides = |class: PathBuf| {
        let mut files = folder::files(&class).ok()?;
        files.retain(|file| Format::by_content(file).is_ok_and(|format| format == Some(Format::Csv)));
        Some((class, files)).filter(|(_, files)| !files.is_empty())
    };
    list(path, Path::is_dir).unwrap_or_default().into_iter().filter_map(slides).collect()
}

pub(super) fn is(path: &Path) -> bool {
    !classes(path).is_empty()
}

pub(super) fn find(path: &Path, opening: &Opening) -> Result<Found> {
    let classes = classes(path);
    let mut table = Table::beside(path);
    for (class, files) in &classes {
        let name = class.file_name().unwrap_or_default().to_string_lossy();
        for file in files {
            table.add(&file.file_stem().unwrap_or_default().to_string_lossy(), &name);
        }
    }
    let names: Vec<String> = classes.iter().map(|(class, _)| class.display().to_string()).collect();
    let mut found = folder::of(path, classes.into_iter().flat_map(|(_, files)| files).collect())?;
    if opening.labels.is_some() {
        return Ok(found);
    }
    let folder = path.canonicalize().unwrap_or_else(|_| path.into());
    let list = folder.file_name().map(|name| path.join(format!("{}.csv", name.to_string_lossy())));
    match list.filter(|list| list.is_file()) {
        Some(list) => found.table = Some(table::of(&Sheet::read(&list)?, &ColumnNames::default())?),
        None => {
            found.remarks.push(format!("the folders are the classes: {}", names.join(", ")));
            found.table = Some(table);
        }
    }
    Ok(found)
}
