//! Tables that say something of each slide: its label, its patient. Ids are text, whatever they look like.

pub(super) mod columns;
mod pair;

use super::super::Dataset;
use super::super::classes;
use super::super::classes::is_unknown;
use super::super::opening::Opening;
use super::super::responses::{self, LabelsAre};
use super::super::text::ColumnNames;
use super::ids::{Finder, examples};
use super::sheet::Sheet;
use super::splits::columns_of_parts;
use crate::error::{Error, Result};
use columns::{Columns, side_by_side};
use std::path::{Path, PathBuf};

/// A line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// What names the slide.
    pub id: String,
    pub label: String,
    pub group: Option<String>,
    /// Where it is from.
    pub site: Option<String>,
    /// Line of the file, from 1.
    pub number: u64,
}

/// A table of slides.
#[derive(Debug)]
pub(super) struct Table {
    /// What the file is called, for messages.
    pub name: String,
    pub lines: Vec<Line>,
    pub remarks: Vec<String>,
    /// The file that the lines are in.
    pub path: PathBuf,
    /// The name of the first column: of a table without a line of names it is a slide.
    first: String,
    /// Slides are called by their patients.
    by_patient: bool,
    labels_are: LabelsAre,
}

/// The file of each line, and what is left over.
pub(super) struct Matched {
    /// The line of each file.
    pub of_file: Vec<Option<usize>>,
    /// Lines without a file.
    pub without_file: Vec<usize>,
}

/// Reads the table of labels that `opening` names; of patients, with the table of their slides.
///
/// # Errors
/// [`Error::Io`], and [`Error::Format`] that names the line, or the columns there are.
pub(super) fn read(opening: &Opening) -> Result<Option<Table>> {
    let Some(labels) = opening.labels.as_deref() else {
        return match opening.slides {
            None => Ok(None),
            Some(_) => Err(Error::setting("slides", "is the table of slides beside one of patients (--labels TABLE)")),
        };
    };
    let sheet = Sheet::read(labels)?;
    let mut table = match opening.slides.as_deref() {
        Some(slides) => pair::read(labels, &sheet, slides, &opening.columns)?,
        None => of(&sheet, &opening.columns)?,
    };
    if table.lines.is_empty() {
        return Err(Error::format(labels, "expected a line of column names and a line for each slide, found none"));
    }
    let parts = columns_of_parts(&sheet);
    if opening.splits.is_none() && !parts.is_empty() {
        let parts: Vec<&str> = parts.iter().map(|&at| sheet.columns[at].as_str()).collect();
        table.remarks.push(format!(
            "column {} says which slides train; it is used with --splits {}",
            examples(&parts),
            table.name
        ));
    }
    Ok(Some(table))
}

/// The table of `sheet`.
///
/// # Errors
/// [`Error::Format`] that says what it lacks.
pub(super) fn of(sheet: &Sheet, asked: &ColumnNames) -> Result<Table> {
    lines_of(sheet, asked).map_err(|message| Error::format(&sheet.path, message))
}

fn lines_of(sheet: &Sheet, asked: &ColumnNames) -> Result<Table, String> {
    let mut table = Table {
        name: sheet.name.clone(),
        path: sheet.path.clone(),
        lines: Vec::new(),
        remarks: sheet.remarks.clone(),
        first: sheet.columns.first().cloned().unwrap_or_default(),
        by_patient: false,
        labels_are: asked.kind(),
    };
    let beside =
        side_by_side(sheet).filter(|_| asked.is_empty() && asked.kind() != LabelsAre::Times).unwrap_or_default();
    if !beside.is_empty() && beside.iter().all(|b| b.label.is_some()) {
        let columns = || beside.iter().filter_map(|b| Some((b.id, b.label?)));
        for row in &sheet.rows {
            for (id, label) in columns().filter(|&(id, _)| !is_unknown(row.field(id))) {
                let (id, label) = (row.field(id).to_owned(), row.field(label).to_owned());
                table.lines.push(Line { id, label, group: None, site: None, number: row.number });
            }
        }
        let names: Vec<&str> = columns().map(|(id, _)| sheet.columns[id].as_str()).collect();
        table.remarks.push(format!("columns {} name the slides, side by side with their labels", examples(&names)));
        return Ok(table);
    }
    if sheet.columns.is_empty() {
        return Ok(table);
    }
    let columns = Columns::of(sheet, asked)?;
    table.remarks.push(columns.told(sheet));
    table.by_patient = columns.by_patient;
    let mut blank = 0;
    for row in &sheet.rows {
        let (id, label) = (row.field(columns.id), row.field(columns.label));
        if is_unknown(id) {
            blank += 1;
            continue;
        }
        let group = columns.group.map(|at| row.field(at).to_owned());
        if group.as_deref().is_some_and(is_unknown) {
            return Err(format!("line {}: slide '{id}' has no patient; expected one for each", row.number));
        }
        let site = columns.site.map(|at| row.field(at).to_owned()).filter(|site| !is_unknown(site));
        if columns.site.is_some() && site.is_none() {
            return Err(format!("line {}: slide '{id}' has no site; expected one for each", row.number));
        }
        let label = match columns.event {
            None => label.to_owned(),
            Some(at) => responses::joined(label, row.field(at), &sheet.columns[at])
                .map_err(|message| format!("line {}: {message}", row.number))?,
        };
        table.lines.push(Line { id: id.into(), label, group, site, number: row.number });
    }
    if blank > 0 {
        table.remarks.push(format!("{blank} lines name no slide and are left out"));
    }
    Ok(table)
}

impl Table {
    /// A table without lines, of labels that stand in `path` otherwise than as a table.
    pub fn beside(path: &Path) -> Self {
        Self::beside_as(path, LabelsAre::Classes)
    }

    /// As [`Table::beside`], of labels that are something else than classes.
    pub fn beside_as(path: &Path, labels_are: LabelsAre) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let (lines, remarks, first) = Default::default();
        Self { name, path: path.into(), lines, remarks, first, by_patient: false, labels_are }
    }

    /// Adds the label of a slide.
    pub fn add(&mut self, id: &str, label: &str) {
        let number = self.lines.len() as u64 + 1;
        self.add_line(id, label, None, number);
    }

    /// Adds what the line with this number says of a slide.
    pub fn add_line(&mut self, id: &str, label: &str, group: Option<String>, number: u64) {
        self.lines.push(Line { id: id.into(), label: label.into(), group, site: None, number });
    }

    /// The line of each of the files that are called `stems`.
    ///
    /// # Errors
    /// [`Error::Format`] when no line has a file, with names from both sides, or when two lines of a file differ.
    pub fn matched(&self, stems: &[String]) -> Result<Matched> {
        let finder = Finder::new(stems);
        let mut matched = Matched { of_file: vec![None; stems.len()], without_file: Vec::new() };
        for (number, line) in self.lines.iter().enumerate() {
            let Some(file) = finder.find(&line.id) else {
                matched.without_file.push(number);
                continue;
            };
            let Some(before) = matched.of_file[file] else {
                matched.of_file[file] = Some(number);
                continue;
            };
            let before = &self.lines[before];
            let same = before.label == line.label || (is_unknown(&before.label) && is_unknown(&line.label));
            if !same || before.group != line.group || before.site != line.site {
                return Err(Error::format(
                    &self.path,
                    format!(
                        "lines {} and {} are both of slide '{}' and say different things; expected one line for a slide",
                        before.number, line.number, stems[file]
                    ),
                ));
            }
        }
        if finder.find(&self.first).is_some() {
            let message = format!(
                "line 1: expected the names of the columns, such as slide_id,label, found the slide '{}'",
                self.first
            );
            return Err(Error::format(&self.path, message));
        }
        if matched.of_file.iter().all(Option::is_none) {
            let ids: Vec<&str> = self.lines.iter().map(|l| l.id.as_str()).collect();
            let way = match self.by_patient {
                true => "is it a table of patients, whose slides another table has (--slides TABLE)?",
                false => "is another column the right one (--id-column NAME)?",
            };
            return Err(Error::format(
                &self.path,
                format!(
                    "none of its {} slides is the name of a file: the table has {}, the folder has {}; {way} {}",
                    ids.len(),
                    examples(&ids),
                    examples(stems),
                    self.remarks.join("; ")
                ),
            ));
        }
        Ok(matched)
    }

    /// Puts the labels of these lines in place of those of the bags.
    ///
    /// # Errors
    /// What is wrong with the labels.
    pub fn label(&self, lines: &[usize], set: &mut Dataset) -> Result<(), String> {
        let labels: Vec<&String> = lines.iter().map(|&line| &self.lines[line].label).collect();
        let (bags, remarks) = (&mut set.bags, &mut set.remarks);
        if !self.labels_are.is_classes() {
            return responses::put_in(bags, remarks, &labels, self.labels_are);
        }
        if let Some(classes) = classes::of_text(&labels)? {
            classes.put_in(bags, remarks);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str, asked: &ColumnNames) -> Result<Table> {
        let path = Path::new("labels.csv");
        of(&Sheet::from_text(path, text.as_bytes())?, asked)
    }

    /// Id, label and group of each line.
    fn lines(text: &str) -> String {
        let table = table(text, &ColumnNames::default()).unwrap();
        let line = |l: &Line| format!("{} {} {}", l.id, l.label, l.group.as_deref().unwrap_or("-"));
        table.lines.iter().map(line).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn columns_are_found_by_their_names() {
        assert_eq!(lines("case_id,slide_id,label\np1,007,tumour\n"), "007 tumour p1");
        assert_eq!(lines("\u{feff}slide_id;label\r\n007 ;1\r\n"), "007 1 -");
        assert_eq!(lines("PATIENT\tFILENAME\tisMSIH\n7\ta.h5\tyes\n"), "a.h5 yes 7");
        assert_eq!(lines(",slide_id,label,source\n0,a,1,x\n"), "a 1 -");
        let with_sites = table("slide,label,site\na,1,Riga\n", &ColumnNames::default()).unwrap();
        assert_eq!(with_sites.lines[0].site.as_deref(), Some("Riga"));
        let named = ColumnNames { site: Some("centre".into()), ..ColumnNames::default() };
        assert_eq!(table("slide,label,centre\na,1,Riga\n", &named).unwrap().lines[0].site.as_deref(), Some("Riga"));
        assert_eq!(lines("scan,outcome\na,1\n"), "a 1 -");
        assert_eq!(lines("case_id,label\na,1\n"), "a 1 -");
        assert_eq!(lines("Case,ID,Label,Split\np,a,1,train\n"), "a 1 p");
        // Lines without a slide, and short ones.
        assert_eq!(lines("slide,label\na\n\n,1\nNA,2\nb,0\n"), "a  -; b 0 -");
    }

    #[test]
    fn what_a_table_lacks_is_told() {
        let refused = |text: &str, asked: &ColumnNames, what: &str| {
            let message = table(text, asked).unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        };
        let none = ColumnNames::default();
        refused("a,b,c\n1,2,3\n", &none, "or --id-column NAME; the columns are 'a', 'b', 'c'");
        refused("slide,b,c\n1,2,3\n", &none, "or --label-column NAME; the columns are 'slide', 'b', 'c'");
        let named = |name: &str| ColumnNames { bag: Some(name.into()), ..ColumnNames::default() };
        refused("slide,label\n1,2\n", &named("scan"), "no column is called 'scan' (--id-column)");
        let twice = ColumnNames { label: Some("a".into()), ..named("a") };
        refused("a,b\n1,2\n", &twice, "column 'a' cannot be two things at once");
        refused("slide,label\na,1,2\n", &none, "line 2: expected 2 columns");
        refused("slide,label,patient\na,1,p\nb,0,\n", &none, "line 3: slide 'b' has no patient");
        refused("slide,label,site\na,1,p\nb,0,\n", &none, "line 3: slide 'b' has no site");
    }

    #[test]
    fn lines_that_contradict_each_other_are_refused() {
        let stems = ["a", "b"].map(String::from);
        let matched = |text: &str| {
            let table = table(text, &ColumnNames::default()).unwrap();
            table.matched(&stems)
        };
        let message = |text: &str| matched(text).map(|_| ()).unwrap_err().to_string();
        assert_eq!(matched("slide,label\na,1\na.svs,1\nc,0\n").unwrap().of_file, [Some(0), None]);
        assert!(message("slide,label\na,1\nb,0\na.svs,0\n").contains("lines 2 and 4 are both of slide 'a'"));
        assert!(message("a,1\nb,0\n").contains("line 1: expected the names of the columns"));
        let found = message("slide,label\nx,1\ny,0\n");
        assert!(found.contains("the table has 'x', 'y', the folder has 'a', 'b'"), "{found}");
    }
}
