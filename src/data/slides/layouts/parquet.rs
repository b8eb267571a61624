//! Parquet files: one for each slide, or with the rows of many slides, which a column names.

use super::super::entry::{Entry, Rows};
use super::super::format::{Format, Part};
use super::super::sheet::Sheet;
use super::super::table::columns::Names;
use super::super::table::{Line, Table};
use super::{Found, folder};
use crate::data::classes::is_unknown;
use crate::data::responses::LabelsAre;
use crate::data::text::ColumnNames;
use crate::data::{Opening, pictures};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The columns that say something of the slide of a row.
struct Columns {
    id: usize,
    label: Option<usize>,
    group: Option<usize>,
    site: Option<usize>,
}

impl Columns {
    /// Those of `part`, where one names slides.
    ///
    /// # Errors
    /// When there is none that is asked for.
    fn of(path: &Path, part: &Part, asked: &ColumnNames, labels: bool) -> Result<Option<Self>, String> {
        let others = &part.roles.others;
        let sheet = Sheet::of_columns(path, others.iter().map(|&at| part.file.leaves[at].name.clone()).collect());
        let mut names = Names::of(&sheet);
        let (id, label) = (names.given(&asked.bag, "id-column")?, names.given(&asked.label, "label-column")?);
        let (group, site) = (names.given(&asked.group, "patient-column")?, names.given(&asked.site, "site-column")?);
        let Some(id) = id.or_else(|| names.slide()) else { return Ok(None) };
        let at = |found: Option<usize>| found.filter(|_| labels).map(|at| others[at]);
        let label = label.or_else(|| names.usual_label());
        let group = group.or_else(|| names.group());
        let site = site.or_else(|| names.site());
        Ok(Some(Self { id: others[id], label: at(label), group: at(group), site: at(site) }))
    }

    /// Columns with what they say, but for the name of the slide.
    fn said(&self) -> [(&'static str, Option<usize>); 3] {
        [("label", self.label), ("patient", self.group), ("site", self.site)]
    }
}

/// A slide, the rows that it has, and what is said of it.
struct Slide {
    id: String,
    path: PathBuf,
    parts: Vec<Part>,
    said: [Option<String>; 3],
}

pub(super) fn is(path: &Path) -> bool {
    let parquet = |file: &PathBuf| Format::by_content(file).is_ok_and(|format| format == Some(Format::Parquet));
    if path.is_file() {
        return parquet(&path.to_owned());
    }
    let Ok(files) = folder::files(path) else { return false };
    // Most folders are known without opening thousands of files.
    let of_others = |format: Option<Format>| format.is_some_and(|format| format < Format::Parquet);
    !files.iter().any(|file| of_others(Format::by_name(file)))
        && files.iter().any(parquet)
        && !files.iter().any(|file| of_others(Format::of_file(file)))
}

pub(super) fn find(path: &Path, opening: &Opening) -> Result<Found> {
    let mut found = folder::find(path, opening)?;
    let own = opening.labels.is_none();
    let asked = if own { opening.columns.clone() } else { ColumnNames::default() };
    let (mut slides, mut at_id, mut bad): (Vec<Slide>, HashMap<String, usize>, Vec<Entry>) = Default::default();
    let (mut with, mut without, mut told) = (None, None, None);
    for entry in &found.entries {
        let file = entry.path.clone();
        let wrong = |reason: String| Error::format(&file, reason);
        let part = match entry.format.clone().and_then(|_| Part::whole(&file)) {
            Ok(part) => part,
            Err(reason) => {
                let mut entry = entry.clone();
                entry.format = Err(reason);
                bad.push(entry);
                continue;
            }
        };
        let Some(columns) = Columns::of(&file, &part, &asked, own).map_err(wrong)? else {
            told.get_or_insert_with(|| part.roles.told(&part.file, &[]));
            without.get_or_insert(file);
            continue;
        };
        read_ids(&file, &part, &columns, &mut slides, &mut at_id).map_err(wrong)?;
        with.get_or_insert((part, columns));
    }
    let Some((part, columns)) = with else {
        found.remarks.extend(told.map(|told| format!("each file is a slide; {told}")));
        return Ok(found);
    };
    let name = |at: usize| format!("'{}'", part.file.leaves[at].name);
    if let Some(other) = without {
        let message = format!(
            "{} names slides in {}, and this file has no such column",
            name(columns.id),
            part.file.path.display()
        );
        return Err(Error::format(other, message));
    }
    let said = columns.said();
    let used: Vec<usize> = said.iter().filter_map(|(_, at)| *at).chain([columns.id]).collect();
    let roles: String =
        said.iter().filter_map(|(what, at)| Some(format!(", the {what} in {}", name((*at)?)))).collect();
    let told = part.roles.told(&part.file, &used);
    found.remarks.push(format!("slides are named by column {} of each row{roles}; {told}", name(columns.id)));
    slides.sort_by_cached_key(|slide| pictures::natural(Path::new(&slide.id)));
    if roles.is_empty() && asked.is_empty() {
        found.table = None;
    } else {
        if asked.kind() == LabelsAre::Times {
            let message =
                "are in no file of features; times and events are read from a table of slides (--labels TABLE)";
            return Err(Error::setting("event-column", message));
        }
        let mut table = Table::beside_as(path, asked.kind());
        for (number, slide) in (1..).zip(&slides) {
            let [label, group, site] = slide.said.clone();
            let id = slide.id.clone();
            for (what, column, value) in [("patient", columns.group, &group), ("site", columns.site, &site)] {
                if column.is_some() && value.as_deref().is_none_or(is_unknown) {
                    return Err(Error::format(
                        &slide.path,
                        format!("slide '{id}' has no {what}; expected one for each"),
                    ));
                }
            }
            table.lines.push(Line { id, label: label.unwrap_or_default(), group, site, number });
        }
        found.table = Some(table);
    }
    let entries = slides.into_iter().map(|slide| {
        let mut entry = Entry::new(slide.path, slide.id, Ok(Format::Parquet));
        entry.rows = Some(Rows::Parquet(slide.parts));
        entry
    });
    found.entries = entries.chain(bad).collect();
    Ok(found)
}

/// Puts the rows of a file to the slides that they are of.
fn read_ids(
    path: &Path,
    part: &Part,
    columns: &Columns,
    slides: &mut Vec<Slide>,
    at_id: &mut HashMap<String, usize>,
) -> Result<(), String> {
    part.check()?;
    let all = 0..part.file.rows;
    let mut runs: Vec<(usize, Range<u64>)> = Vec::new();
    part.file.cells(columns.id, all.clone(), |row, id| {
        if let Some((last, rows)) = runs.last_mut().filter(|(last, _)| slides[*last].id == id) {
            debug_assert!(*last < slides.len());
            rows.end = row + 1;
            return Ok(());
        }
        if is_unknown(id) {
            return Err(format!("row {row} (0-based) names no slide"));
        }
        let at = at_id.get(id).copied().unwrap_or_else(|| {
            at_id.insert(id.to_owned(), slides.len());
            slides.push(Slide { id: id.into(), path: path.into(), parts: Vec::new(), said: Default::default() });
            slides.len() - 1
        });
        runs.push((at, row..row + 1));
        Ok(())
    })?;
    for (which, (what, column)) in columns.said().into_iter().enumerate() {
        let Some(column) = column else { continue };
        let mut run = 0;
        part.file.cells(column, all.clone(), |row, text| {
            while runs.get(run).is_some_and(|(_, rows)| rows.end <= row) {
                run += 1;
            }
            let slide = &mut slides[runs[run].0];
            let known = slide.said[which].get_or_insert_with(|| text.to_owned());
            match known == text {
                true => Ok(()),
                false => Err(format!(
                    "row {row} (0-based): slide '{}' has '{text}' as its {what}, and '{known}' before; expected one for a slide",
                    slide.id
                )),
            }
        })?;
    }
    // A slide may have rows in several places.
    let mut rows_of: HashMap<usize, Vec<Range<u64>>> = HashMap::new();
    runs.into_iter().for_each(|(slide, rows)| rows_of.entry(slide).or_default().push(rows));
    for (slide, rows) in rows_of {
        slides[slide].parts.push(Part { rows, ..part.clone() });
    }
    Ok(())
}
