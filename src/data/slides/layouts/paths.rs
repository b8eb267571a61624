//! A table whose paths lead to the files of the slides, wherever they are: that of MIL_BASELINE, with its parts side by side
//! or not, the manifest of eva.

use super::super::entry::Entry;
use super::super::format::{Format, Unit};
use super::super::ids::reduced;
use super::super::sheet::{Row, Sheet};
use super::super::table::Table;
use super::super::table::columns::{Names, side_by_side};
use super::Found;
use crate::data::Opening;
use crate::data::classes::is_unknown;
use crate::data::text::ColumnNames;
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Lines that are looked at to tell a table of paths from another.
const LOOKED_AT: usize = 8;

/// What MIL_BASELINE calls the column of files with the places, where features have none.
const PLACES: &str = "h5_path";

/// Where a path of the table in `table` leads.
fn leads(table: &Path, path: &str) -> PathBuf {
    table.parent().unwrap_or(Path::new("")).join(path)
}

/// The columns with the paths of files of slides: one, or one for each of the parts that stand side by side.
fn columns(path: &Path, sheet: &Sheet) -> Vec<usize> {
    let is = |at: &usize| {
        let files = sheet.rows.iter().take(LOOKED_AT).map(|row| row.field(*at)).filter(|text| !is_unknown(text));
        files
            .map(|file| leads(path, file))
            .any(|file| file.is_file() && Format::by_content(&file).is_ok_and(|format| format.is_some()))
    };
    match side_by_side(sheet) {
        Some(beside) if beside.iter().any(|b| is(&b.id)) => beside.iter().map(|b| b.id).collect(),
        _ => (0..sheet.columns.len()).find(is).into_iter().collect(),
    }
}

pub(super) fn is(path: &Path) -> bool {
    let table = || {
        let sheet = Sheet::beginning(path, LOOKED_AT).ok()?;
        Some(!columns(path, &sheet).is_empty())
    };
    path.is_file() && Format::by_content(path).is_ok_and(|format| format.is_none()) && table() == Some(true)
}

pub(super) fn find(path: &Path, opening: &Opening) -> Result<Found> {
    let sheet = Sheet::read(path)?;
    let wrong = |message: String| Error::format(path, message);
    let asked = if opening.labels.is_none() { opening.columns.clone() } else { ColumnNames::default() };
    let mut table = Table::beside(path);
    table.remarks.extend(sheet.remarks.iter().cloned());
    let roles = Roles::of(&sheet, columns(path, &sheet), &asked, &mut table.remarks).map_err(wrong)?;
    let mut slides = Slides { roles: &roles, table: path, entries: Vec::new(), at_id: HashMap::new() };
    for row in &sheet.rows {
        for &(at, label) in &roles.paths {
            if !is_unknown(row.field(at)) {
                let id = slides.add(row, at).map_err(|m| wrong(format!("line {}: {m}", row.number)))?;
                let group = roles.group.map(|at| row.field(at).to_owned());
                table.add_line(&id, label.map_or("", |at| row.field(at)), group, row.number);
            }
        }
    }
    let entries = slides.entries;
    if entries.is_empty() {
        return Err(wrong("expected a line for each slide, found none".into()));
    }
    let mut remarks = Vec::new();
    let pieces = entries.iter().filter(|entry| !entry.pieces.is_empty()).count();
    if pieces > 0 {
        remarks.push(format!("{pieces} slides have several files, whose patches follow one another"));
    }
    let labelled = opening.labels.is_none() && roles.paths.iter().any(|(_, label)| label.is_some());
    if !labelled {
        remarks.extend(table.remarks.iter().cloned());
    }
    Ok(Found { folder: path.into(), entries, table: labelled.then_some(table), remarks })
}

/// What the columns are.
struct Roles {
    /// Paths, each with the labels of their slides.
    paths: Vec<(usize, Option<usize>)>,
    /// Names of slides where they are not those of the files.
    id: Option<usize>,
    group: Option<usize>,
    places: Option<usize>,
}

impl Roles {
    fn of(sheet: &Sheet, paths: Vec<usize>, asked: &ColumnNames, remarks: &mut Vec<String>) -> Result<Self, String> {
        let name = |at: usize| &sheet.columns[at];
        let first = *paths.first().ok_or("expected a column of paths to files, found none")?;
        let beside = side_by_side(sheet).unwrap_or_default();
        if beside.iter().any(|b| b.id == first) {
            remarks.push(format!("paths are in {} columns side by side, such as '{}'", paths.len(), name(first)));
            remarks.push("their parts are used with --splits and this table".into());
            let paths = beside.iter().map(|b| (b.id, b.label)).collect();
            return Ok(Self { paths, id: None, group: None, places: None });
        }
        let mut names = Names::of(sheet);
        let (id, label) = (names.given(&asked.bag, "id-column")?, names.given(&asked.label, "label-column")?);
        let group = names.given(&asked.group, "patient-column")?;
        names.take(first);
        let id = id.or_else(|| names.id());
        let group = group.or_else(|| names.group());
        // Another column is no label because it is the only one: slides to predict have none.
        let label = label.or_else(|| names.usual_label());
        let places = (0..sheet.columns.len()).find(|&at| at != first && name(at).eq_ignore_ascii_case(PLACES));
        let roles = [("slide", id), ("label", label), ("patient", group), ("file of places", places)];
        let told = roles.iter().filter_map(|(what, at)| Some(format!(", the {what} in '{}'", name((*at)?))));
        remarks.push(format!("paths of files are in column '{}'{}", name(first), told.collect::<String>()));
        Ok(Self { paths: vec![(first, label)], id, group, places })
    }
}

/// The slides that lines have so far.
struct Slides<'a> {
    roles: &'a Roles,
    table: &'a Path,
    entries: Vec<Entry>,
    at_id: HashMap<String, usize>,
}

impl Slides<'_> {
    /// Takes the path of a line in the column `at`, and answers what its slide is called.
    fn add(&mut self, row: &Row, at: usize) -> Result<String, String> {
        let file = leads(self.table, row.field(at));
        let stem = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stem = if Format::by_name(&file).is_some() { reduced(&stem).to_owned() } else { stem };
        let id = self.roles.id.map_or(stem, |id| row.field(id).to_owned());
        if is_unknown(&id) {
            return Err("expected the name of a slide, found none".into());
        }
        if self.roles.group.is_some_and(|at| is_unknown(row.field(at))) {
            return Err(format!("slide '{id}' has no patient; expected one for each"));
        }
        let Some(&before) = self.at_id.get(&id) else {
            self.at_id.insert(id.clone(), self.entries.len());
            let mut entry = entry(file, &id);
            // MIL_BASELINE's are files of TRIDENT.
            let places = self.roles.places.map(|at| row.field(at)).filter(|text| !is_unknown(text));
            entry.coords = places.map(|text| (leads(self.table, text), Unit::Pixels));
            self.entries.push(entry);
            return Ok(id);
        };
        let before = &mut self.entries[before];
        if before.path == file || before.pieces.contains(&file) {
            return Ok(id);
        }
        // Only where slides have names of their own can several files be of one.
        if self.roles.id.is_some() {
            before.pieces.push(file);
        } else {
            let reason = format!("{} is a file of the same slide", before.path.display());
            self.entries.push(Entry::new(file, &id, Err(reason)));
        }
        Ok(id)
    }
}

/// The file of a slide, which may not be there.
fn entry(file: PathBuf, id: &str) -> Entry {
    let format = match Format::by_content(&file) {
        Ok(Some(format)) => Ok(format),
        Ok(None) => Err("it does not begin as a file of features does".into()),
        Err(e) => Err(e.to_string()),
    };
    Entry::new(file, id, format)
}
