//! The features of many slides in one file of float32, and an index in JSON of the rows that each has, as AEGIS writes them
//! for its memory maps.

use super::super::entry::{Entry, Rows};
use super::super::format::{Format, Run};
use super::super::ids::examples;
use super::{Found, folder};
use crate::bounded;
use crate::data::{Opening, pictures};
use crate::error::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the index says; it may say more.
#[derive(Deserialize)]
struct Index {
    /// The first row of each slide, and how many it has.
    slides: BTreeMap<String, [u64; 2]>,
    total_rows: u64,
    feature_dim: u64,
}

fn ends_in(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

/// The index in a file, where it is one.
fn index(path: &Path) -> Option<Index> {
    serde_json::from_str(&bounded::text(path).ok()?).ok()
}

/// The indices that may be meant by the path of one, of the values, or of the folder of both: one alone is.
fn meant(path: &Path) -> Vec<(PathBuf, Index)> {
    let read = |file: PathBuf| index(&file).map(|index| (file, index));
    let all = |folder: &Path| {
        let files = folder::files(folder).unwrap_or_default().into_iter();
        files.filter(|file| ends_in(file, "json")).filter_map(read).collect::<Vec<_>>()
    };
    if path.is_dir() {
        return all(path);
    }
    if ends_in(path, "json") {
        return read(path.into()).into_iter().collect();
    }
    if !ends_in(path, "bin") {
        return Vec::new();
    }
    match read(path.with_extension("json")) {
        Some(named) => vec![named],
        None => all(folder_of(path)),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

pub(super) fn is(path: &Path) -> bool {
    !meant(path).is_empty()
}

pub(super) fn find(path: &Path, _: &Opening) -> Result<Found> {
    let mut all = meant(path);
    let names: Vec<String> = all.iter().map(|(file, _)| file.display().to_string()).collect();
    let (Some((file, index)), true) = (all.pop(), all.is_empty()) else {
        let message = format!("expected one index of slides in JSON, found {}: give one of them", examples(&names));
        return Err(Error::format(path, message));
    };
    let wrong = |message: String| Error::format(&file, message);
    let values = if ends_in(path, "bin") { path.to_owned() } else { values(&file)? };
    let length = std::fs::metadata(&values).map_err(|e| Error::io(&values, e))?.len();
    let Index { slides, total_rows, feature_dim } = index;
    let bytes = total_rows.checked_mul(feature_dim).and_then(|all| all.checked_mul(4));
    if bytes != Some(length) || feature_dim == 0 {
        let message = format!(
            "its {total_rows} rows of {feature_dim} float32 need another length than the {length} bytes of {}",
            values.display()
        );
        return Err(wrong(message));
    }
    let mut runs: Vec<(String, u64, u64)> =
        slides.into_iter().map(|(name, [first, rows])| (name, first, rows)).collect();
    runs.sort_by_key(|(_, first, _)| *first);
    let mut before: Option<&(String, u64, u64)> = None;
    for run in &runs {
        let (name, first, rows) = run;
        if first.checked_add(*rows).is_none_or(|end| end > total_rows) {
            return Err(wrong(format!(
                "slide '{name}' has {rows} rows from {first} on, of {total_rows} that there are"
            )));
        }
        if *rows == 0 {
            continue;
        }
        if let Some((other, start, count)) = before.filter(|(_, start, count)| start + count > *first) {
            let message =
                format!("slides '{other}' ({count} rows from {start} on) and '{name}' (from {first} on) share rows");
            return Err(wrong(message));
        }
        before = Some(run);
    }
    runs.sort_by_cached_key(|(name, ..)| pictures::natural(Path::new(name)));
    if runs.is_empty() {
        return Err(wrong("expected slides, found none".into()));
    }
    let entries = runs.into_iter().map(|(name, first, rows)| {
        let mut entry = Entry::new(values.clone(), name, Ok(Format::Memmap));
        entry.rows = Some(Rows::Run(Run { first, rows, width: feature_dim }));
        entry
    });
    let remarks =
        vec![format!("slides are rows of {}, as {} says; there are no places", values.display(), file.display())];
    Ok(Found { folder: path.into(), entries: entries.collect(), table: None, remarks })
}

/// The file of values beside an index: that with its name, else the only one.
fn values(index: &Path) -> Result<PathBuf> {
    let named = index.with_extension("bin");
    if named.is_file() {
        return Ok(named);
    }
    let all: Vec<PathBuf> = folder::files(folder_of(index))?.into_iter().filter(|file| ends_in(file, "bin")).collect();
    match &all[..] {
        [only] => Ok(only.clone()),
        [] => Err(Error::format(index, "expected the values beside it, in a file called .bin; found none")),
        several => {
            let several: Vec<String> = several.iter().map(|file| file.display().to_string()).collect();
            let message = format!("which of several files are its values? Give one of them: {}", examples(&several));
            Err(Error::format(index, message))
        }
    }
}
