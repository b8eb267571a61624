//! A folder with a file for each slide, or one such file: TRIDENT, STAMP, nnMIL, and whatever else is laid out so.

use super::super::entry::Entry;
use super::super::format::Format;
use super::super::ids::examples;
use super::{Found, list};
use crate::data::{Opening, npy};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The files of a folder.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    list(folder, Path::is_file)
}

/// True for the name of a file in the folder layout of npy files, which says nothing of slides.
fn is_of_npy_folder(path: &Path) -> bool {
    path.file_name().is_some_and(|name| npy::FILES.iter().any(|file| name == *file))
}

pub(super) fn is(path: &Path) -> bool {
    if path.is_file() {
        // A csv file alone is taken for a text file of bags, and an npy file may be a part of a folder of them.
        let format = Format::by_content(path)
            .ok()
            .flatten()
            .or(Format::by_name(path).filter(|f| f.rank() > 0 && !Format::is_table(path)));
        return format.is_some_and(|format| format != Format::Csv) && !is_of_npy_folder(path);
    }
    let Ok(files) = files(path) else { return false };
    // Most folders are known without opening thousands of files.
    if files.iter().any(|file| Format::by_name(file).is_some_and(|format| format.rank() == 0)) {
        return true;
    }
    let formats: Vec<Format> = files.iter().filter_map(|file| Format::of_file(file)).collect();
    match formats.iter().map(|format| format.rank()).min() {
        Some(rank) if rank == Format::Npy.rank() => !files.iter().any(|file| is_of_npy_folder(file)),
        found => found.is_some(),
    }
}

pub(super) fn find(path: &Path, _: &Opening) -> Result<Found> {
    if path.is_file() {
        return of(path, vec![path.to_owned()]);
    }
    let mut found = of(path, files(path)?)?;
    // What lies deeper is none of these slides, which somebody may not know.
    let has =
        |inner: &PathBuf| files(inner).is_ok_and(|files| files.iter().any(|file| Format::by_name(file).is_some()));
    let inner: Vec<String> =
        list(path, Path::is_dir)?.iter().filter(|f| has(f)).map(|f| f.display().to_string()).collect();
    if !inner.is_empty() {
        found.remarks.push(format!("files in folders within are not read, such as those of {}", examples(&inner)));
    }
    Ok(found)
}

/// The slides in these files of `folder`.
pub(super) fn of(folder: &Path, paths: Vec<PathBuf>) -> Result<Found> {
    let (mut named, mut others) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let promised = Format::by_name(&path).filter(|_| !Format::is_table(&path));
        let format = match (Format::by_content(&path), promised) {
            (Ok(Some(format)), _) => Ok(format),
            (Ok(None), None) => {
                others.push(name);
                continue;
            }
            (Ok(None), Some(promised)) => Err(format!("it does not begin as {} files do", promised.name())),
            (Err(e), _) => Err(e.to_string()),
        };
        let rank = format.as_ref().ok().copied().or(promised).map_or(0, Format::rank);
        let ended = promised.is_some() || format == Ok(Format::Csv);
        let stem = name.rsplit_once('.').filter(|_| ended).map_or(name.as_str(), |(stem, _)| stem).to_owned();
        named.push((rank, name, Entry::new(path, stem, format)));
    }
    let rank = named.iter().map(|(rank, ..)| *rank).min().unwrap_or(0);
    let mut entries = Vec::new();
    for (of, name, entry) in named {
        if of == rank { entries.push(entry) } else { others.push(name) }
    }
    let (entries, mut remarks) = one_for_each(entries);
    if entries.is_empty() {
        return Err(Error::format(folder, "expected a file of features for each slide in this folder, found none"));
    }
    if !others.is_empty() {
        remarks.push(format!("{} other files are left out, such as {}", others.len(), examples(&others)));
    }
    Ok(Found { folder: folder.to_owned(), entries, table: None, remarks })
}

/// One file for each slide: of two formats that which goes before; two of one format are an error of the second.
pub(super) fn one_for_each(all: Vec<Entry>) -> (Vec<Entry>, Vec<String>) {
    let mut entries: Vec<Entry> = Vec::new();
    let (mut twice, mut at_stem, mut remarks) = (Vec::new(), HashMap::new(), Vec::new());
    for mut entry in all {
        let before = at_stem.get(&entry.stem).map(|&at: &usize| &mut entries[at]);
        match before {
            None => {
                at_stem.insert(entry.stem.clone(), entries.len());
                entries.push(entry);
            }
            Some(before) => match (&before.format, &entry.format) {
                (Ok(first), Ok(second)) if first != second => {
                    let (read, left) = (first.min(second).name(), first.max(second).name());
                    twice.push((read, left, entry.stem.clone()));
                    if second < first {
                        *before = entry;
                    }
                }
                _ => {
                    entry.format = Err(format!("{} is a file of the same slide", before.path.display()));
                    entries.push(entry);
                }
            },
        }
    }
    if let Some((read, left, first)) = twice.first() {
        let count = twice.len();
        remarks
            .push(format!("{count} slides have a file of {read}, which is read, and one of {left}, such as '{first}'"));
    }
    (entries, remarks)
}
