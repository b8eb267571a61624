//! Which slides there are: the files of a folder, their lines in the table, their parts, and what their heads say.

use super::super::{Opening, Split};
use super::about::counted;
use super::file::{Format, Head, Reason};
use super::ids::examples;
use super::splits::{self, Candidate};
use super::table::{self, Table};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A file of a slide.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub path: PathBuf,
    /// Its name without the ending.
    pub stem: String,
    /// What it is, or why it is nothing.
    pub format: Result<Format, Reason>,
}

/// The files of a folder.
struct Found {
    folder: PathBuf,
    entries: Vec<Entry>,
    remarks: Vec<String>,
}

/// A file with what its head says.
pub(super) struct Known {
    pub entry: Entry,
    /// Its line in the table.
    pub line: Option<usize>,
    /// Where it is, as a file of splits says.
    pub part: Option<Split>,
    pub head: Result<Head, Reason>,
}

impl Known {
    fn new(entry: Entry, line: Option<usize>) -> Self {
        Self { entry, line, part: None, head: Err("it was not opened".into()) }
    }
}

/// All of a folder but its values.
pub(super) struct Gathered {
    pub folder: PathBuf,
    /// The slides that are to be read.
    pub known: Vec<Known>,
    /// Features of an instance.
    pub width: usize,
    pub table: Option<Table>,
    /// Slides of the table without a file, and files without a line there.
    pub without_file: Vec<String>,
    pub without_line: Vec<String>,
    pub remarks: Vec<String>,
}

/// Looks at all files but for their values.
///
/// # Errors
/// When there is none, or what is wrong with the tables.
pub(super) fn gather(path: &Path, opening: &Opening) -> Result<Gathered> {
    let Found { folder, entries, remarks } = find(path)?;
    let table = table::read(opening)?;
    let (known, without_file, without_line) = Default::default();
    let mut gathered = Gathered { folder, known, width: 0, table: None, without_file, without_line, remarks };
    match &table {
        Some(table) => choose(table, entries, &mut gathered)?,
        None => gathered.known = entries.into_iter().map(|entry| Known::new(entry, None)).collect(),
    }
    let known = &mut gathered.known;
    if opening.which_split.is_some() && opening.splits.is_none() {
        return Err(Error::setting("which-split", "chooses a division of the file of splits (--splits FILE)"));
    }
    if let Some(file) = &opening.splits {
        let patient = |line: Option<usize>| table.as_ref()?.lines[line?].group.clone();
        let candidate = |k: &Known| Candidate { stem: k.entry.stem.clone(), patient: patient(k.line) };
        let candidates: Vec<Candidate> = known.iter().map(candidate).collect();
        let (parts, told) = splits::parts(file, opening, &candidates)?;
        gathered.remarks.extend(told);
        known.iter_mut().zip(parts).for_each(|(known, part)| known.part = part);
        known.retain(|k| k.part.is_some());
    }
    known.par_iter_mut().for_each(|known| known.head = look(&known.entry));
    (gathered.width, gathered.table) = (agree_on_width(known), table);
    Ok(gathered)
}

/// True for a file of a slide, or a folder with such files or with the folders that CLAM makes.
pub(in crate::data) fn is_slides(path: &Path) -> bool {
    let is = |path: &Path| path.is_file() && matches!(Format::by_content(path), Ok(Some(_)));
    if path.is_file() {
        return is(path);
    }
    files(path).is_ok_and(|files| files.iter().any(|f| is(f) || Format::by_name(f).is_some())) || clam(path).is_some()
}

/// The folder of features in what CLAM writes, the one with places before the one without.
fn clam(folder: &Path) -> Option<PathBuf> {
    ["h5_files", "pt_files"].map(|name| folder.join(name)).into_iter().find(|f| f.is_dir() && is_slides(f))
}

/// Files of a folder that are not hidden, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |e| Error::io(folder, e);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if !hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort_by_cached_key(|path| super::super::pictures::natural(Path::new(path.file_stem().unwrap_or_default())));
    Ok(files)
}

fn find(path: &Path) -> Result<Found> {
    let mut remarks = Vec::new();
    let (folder, paths) = match (path.is_file(), clam(path)) {
        (true, _) => (path.to_owned(), vec![path.to_owned()]),
        (false, Some(inner)) if !files(path)?.iter().any(|f| Format::by_name(f).is_some()) => {
            let other = path.join("pt_files");
            let why =
                if other.is_dir() && other != inner { ", which has places too, and not from pt_files" } else { "" };
            remarks.push(format!("features are read from {}{why}", inner.display()));
            let paths = files(&inner)?;
            (inner, paths)
        }
        _ => (path.to_owned(), files(path)?),
    };
    let mut entries: Vec<Entry> = Vec::new();
    let (mut others, mut twice, mut at_stem) = (Vec::new(), Vec::new(), HashMap::new());
    for path in paths {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let promised = Format::by_name(&path);
        let format = match (Format::by_content(&path), promised) {
            (Ok(Some(format)), _) => Ok(format),
            (Ok(None), None) => {
                others.push(name);
                continue;
            }
            (Ok(None), Some(promised)) => Err(format!("it does not begin as {} files do", promised.name())),
            (Err(e), _) => Err(e.to_string()),
        };
        let stem = name.rsplit_once('.').filter(|_| promised.is_some()).map_or(name.as_str(), |(stem, _)| stem);
        let mut entry = Entry { stem: stem.to_owned(), path, format };
        let before = at_stem.get(&entry.stem).map(|&at: &usize| &mut entries[at]);
        match before {
            None => {
                at_stem.insert(entry.stem.clone(), entries.len());
                entries.push(entry);
            }
            Some(before) => match (&before.format, &entry.format) {
                (Ok(first), Ok(second)) if first != second => {
                    twice.push(entry.stem.clone());
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
    if let Some(first) = twice.first() {
        let count = twice.len();
        remarks.push(format!("{count} slides have an HDF5 file, which is read, and a PyTorch file, such as '{first}'"));
    }
    if entries.is_empty() {
        return Err(Error::format(&folder, "expected a file of features for each slide in this folder, found none"));
    }
    if !others.is_empty() {
        remarks.push(format!("{} other files are left out, such as {}", others.len(), examples(&others)));
    }
    Ok(Found { folder, entries, remarks })
}

/// The files that the table has a line for, with it; tells of what has no counterpart.
fn choose(table: &Table, entries: Vec<Entry>, gathered: &mut Gathered) -> Result<()> {
    let stems: Vec<String> = entries.iter().map(|e| e.stem.clone()).collect();
    let matched = table.matched(&stems)?;
    let Gathered { known, remarks, without_file, without_line, .. } = gathered;
    remarks.extend(table.remarks.iter().map(|remark| format!("{}: {remark}", table.name)));
    without_file.extend(matched.without_file.iter().map(|&line| table.lines[line].id.clone()));
    if !without_file.is_empty() {
        let (count, which) = (without_file.len(), examples(without_file));
        remarks.push(format!("{count} slides of {} have no file, such as {which}", table.name));
    }
    for (entry, line) in entries.into_iter().zip(matched.of_file) {
        match line {
            Some(_) => known.push(Known::new(entry, line)),
            None => without_line.push(entry.stem),
        }
    }
    if !without_line.is_empty() {
        let (count, which) = (without_line.len(), examples(without_line));
        remarks.push(format!("{count} files have no line in {} and are left out, such as {which}", table.name));
    }
    Ok(())
}

fn look(entry: &Entry) -> Result<Head, Reason> {
    Ok(entry.format.clone()?.open(&entry.path)?.head().clone())
}

/// The width that most slides have; others are bad.
fn agree_on_width(known: &mut [Known]) -> usize {
    let widths = counted(known.iter().filter_map(|k| k.head.as_ref().ok()).map(|h| h.width));
    let Some(&(width, most)) = widths.first() else { return 0 };
    let slides: usize = widths.iter().map(|(_, count)| count).sum();
    for slide in known {
        if let Some(found) = slide.head.as_ref().ok().map(|h| h.width).filter(|&found| found != width) {
            slide.head = Err(format!("{found} features, where {most} of {slides} slides have {width}"));
        }
    }
    width
}
