//! A table whose paths lead to the files of the slides, wherever they are: that of MIL_BASELINE, with its parts side by side
//! or not, the manifest of eva.

use super::super::entry::Entry;
use super::super::format::{Format, Unit};
use super::super::ids::reduced;
use super::super::sheet::Sheet;
use super::super::table::Table;
use super::super::table::columns::{Names, side_by_side};
use super::Found;
use crate::data::Opening;
use crate::data::classes::is_unknown;
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
    let paths = columns(path, &sheet);
    let mut found = Found { folder: path.into(), entries: Vec::new(), table: None, remarks: Vec::new() };
    let mut table = Table::beside(path);
    table.remarks.extend(sheet.remarks.iter().cloned());
    let Some(&first) = paths.first() else {
        return Err(wrong("expected a column of paths to files, found none".into()));
    };
    let name = |at: usize| &sheet.columns[at];

    // What a slide is called, and what its label is.
    let (mut id, mut group, mut places, mut labels) = (None, None, None, vec![None; paths.len()]);
    if paths.len() > 1 || side_by_side(&sheet).is_some() {
        let beside = side_by_side(&sheet).unwrap_or_default();
        labels = beside.iter().map(|b| b.label).collect();
        table.remarks.push(format!("paths are in {} columns side by side, such as '{}'", paths.len(), name(first)));
        table.remarks.push("their parts are used with --splits and this table".into());
    } else {
        let mut names = Names::of(&sheet);
        let asked = if opening.labels.is_none() { opening.columns.clone() } else { Default::default() };
        id = names.given(&asked.bag, "id-column").map_err(wrong)?;
        labels[0] = names.given(&asked.label, "label-column").map_err(wrong)?;
        group = names.given(&asked.group, "patient-column").map_err(wrong)?;
        names.take(first);
        id = id.or_else(|| names.id());
        group = group.or_else(|| names.group());
        labels[0] = labels[0].or_else(|| names.label().ok());
        let told =
            |what: &str, at: Option<usize>| at.map(|at| format!(", {what} in '{}'", name(at))).unwrap_or_default();
        places = (0..sheet.columns.len()).find(|&at| at != first && name(at).eq_ignore_ascii_case(PLACES));
        let told =
            [told("the slide", id), told("the label", labels[0]), told("the patient", group), told("places", places)]
                .concat();
        table.remarks.push(format!("paths of files are in column '{}'{told}", name(first)));
    }

    // Only where slides have names of their own can several files be of one.
    let of_several = id.is_some();
    let mut at_id: HashMap<String, usize> = HashMap::new();
    for row in &sheet.rows {
        for (&at, label) in paths.iter().zip(&labels) {
            let text = row.field(at);
            if is_unknown(text) {
                continue;
            }
            let file = leads(path, text);
            let promised = Format::by_name(&file).is_some();
            let stem = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let stem = if promised { reduced(&stem).to_owned() } else { stem };
            let id = id.map_or(stem, |id| row.field(id).to_owned());
            if is_unknown(&id) {
                return Err(wrong(format!("line {}: expected the name of a slide, found none", row.number)));
            }
            let label = label.map_or("", |at| row.field(at));
            let group = group.map(|at| row.field(at).to_owned());
            match at_id.get(&id) {
                Some(&before) => {
                    let before = &mut found.entries[before];
                    match (before.path == file || before.pieces.contains(&file), of_several) {
                        (true, _) => {}
                        (false, true) => before.pieces.push(file),
                        (false, false) => {
                            let mut entry = Entry::new(file, &id, Err(String::new()));
                            entry.format = Err(format!("{} is a file of the same slide", before.path.display()));
                            found.entries.push(entry);
                        }
                    }
                }
                None => {
                    at_id.insert(id.clone(), found.entries.len());
                    let mut entry = entry(file, &id);
                    // MIL_BASELINE's are files of TRIDENT.
                    let beside = places.map(|at| row.field(at)).filter(|text| !is_unknown(text));
                    entry.coords = beside.map(|text| (leads(path, text), Unit::Pixels));
                    found.entries.push(entry);
                }
            }
            table.add_line(&id, label, group, row.number);
        }
    }
    let pieces = found.entries.iter().filter(|entry| !entry.pieces.is_empty()).count();
    if pieces > 0 {
        found.remarks.push(format!("{pieces} slides have several files, whose patches follow one another"));
    }
    if found.entries.is_empty() {
        return Err(wrong("expected a line for each slide, found none".into()));
    }
    let labelled = labels.iter().any(Option::is_some);
    found.remarks.extend(if labelled { Vec::new() } else { table.remarks.clone() });
    if opening.labels.is_none() && labelled {
        found.table = Some(table);
    }
    Ok(found)
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
