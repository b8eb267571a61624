//! Which slides there are: the files of a folder, their lines in the table, their parts, and what their heads say.

use super::super::{Opening, Split};
use super::about::counted;
use super::entry::Entry;
use super::format::{Head, Reason};
use super::ids::examples;
use super::layouts::{self, Found};
use super::packed::{self, Cohort};
use super::splits::{self, Candidate};
use super::table::{self, Table};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// The packed file that they are in, which is `folder` then.
    pub cohort: Option<Arc<Cohort>>,
}

/// Looks at all files but for their values.
///
/// # Errors
/// When there is none, or what is wrong with the tables.
pub(super) fn gather(path: &Path, opening: &Opening) -> Result<Gathered> {
    let cohort = if packed::is_packed(path) { Some(Arc::new(Cohort::open(path)?)) } else { None };
    let Found { folder, entries, table: theirs, remarks } = match &cohort {
        Some(cohort) => packed::found(cohort, path),
        None => layouts::find(path, opening)?,
    };
    let table = table::read(opening)?.or(theirs);
    if table.is_none() && !opening.columns.is_empty() {
        return Err(Error::setting("columns", "are named, but there is no table that has them (--labels TABLE)"));
    }
    let (known, without_file, without_line) = Default::default();
    let mut gathered = Gathered { folder, known, width: 0, table: None, without_file, without_line, remarks, cohort };
    match &table {
        Some(table) => choose(table, entries, &mut gathered)?,
        None => gathered.known = entries.into_iter().map(|entry| Known::new(entry, None)).collect(),
    }
    let known = &mut gathered.known;
    if opening.which_split.is_some() && opening.splits.is_none() {
        return Err(Error::setting("which-split", "chooses a division of the file of splits (--splits FILE)"));
    }
    if let Some(file) = &opening.splits {
        let cohort = gathered.cohort.as_deref();
        let patient = |k: &Known| match &table {
            Some(table) => table.lines[k.line?].group.clone(),
            None => cohort?.patient(&k.entry.stem),
        };
        let candidate = |k: &Known| Candidate { stem: k.entry.stem.clone(), patient: patient(k) };
        let candidates: Vec<Candidate> = known.iter().map(candidate).collect();
        let (parts, told) = splits::parts(file, opening, &candidates)?;
        gathered.remarks.extend(told);
        known.iter_mut().zip(parts).for_each(|(known, part)| known.part = part);
        known.retain(|k| k.part.is_some());
    }
    let cohort = gathered.cohort.as_deref();
    known.par_iter_mut().for_each(|known| known.head = look(&known.entry, cohort));
    (gathered.width, gathered.table) = (agree_on_width(known), table);
    Ok(gathered)
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

fn look(entry: &Entry, cohort: Option<&Cohort>) -> Result<Head, Reason> {
    match cohort {
        Some(cohort) => packed::head(cohort, &entry.stem),
        None => Ok(entry.open()?.head().clone()),
    }
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
