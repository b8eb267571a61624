//! Text tables: one instance a line, `label, bag, features`.
//!
//! - Fields are separated by tabs, semicolons or commas, or by white space when the first line has none of them; they may
//!   be quoted, as R and spreadsheets do. Beside any separator but the comma, numbers may have a decimal comma.
//! - A first line without a number is taken for column names. Then the columns of labels and bags may stand anywhere
//!   (`label`, `class`, `target`, ..; `bag`, `slide`, ..), `group` or `patient` says which bags belong together, row names
//!   are left out, and the features keep their names. Columns that are called otherwise are named in [`ColumnNames`].
//! - Empty lines and lines that begin with `#` are skipped. The file may be packed with gzip.
//! - Rows of a bag have one label; those that stand apart are put together, and that is told.
//! - Labels are read as [`super::classes`] says.
//! - The original UCI Musk files (molecule, conformation, features, class) are known by their first line.

pub(super) mod dialect;
mod roles;

pub use roles::ColumnNames;

use super::responses::{self, LabelsAre};
use super::{Dataset, classes, file};
use crate::bag::{Bags, Features};
use crate::error::{Error, Result};
use dialect::{Limits, Opened, Separator};
use roles::{Columns, Role};
use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

/// What has been read so far.
struct Table {
    separator: Separator,
    limits: Limits,
    asked: ColumnNames,
    columns: Option<Columns>,
    features: Vec<f32>,
    /// The bag of each row.
    of_row: Vec<u32>,
    names: Vec<String>,
    labels: Vec<String>,
    /// The group of each bag, where a column says.
    groups: Vec<String>,
    /// The site of each bag, where a column says.
    sites: Vec<String>,
    numbers: HashMap<String, u32>,
    /// Some bag's rows stand apart.
    apart: bool,
    /// A decimal point, and a decimal comma, that were seen.
    points: [Option<String>; 2],
}

impl Table {
    fn new(separator: Separator, limits: &Limits, asked: &ColumnNames) -> Self {
        Self {
            separator,
            limits: limits.clone(),
            asked: asked.clone(),
            columns: None,
            features: Vec::new(),
            of_row: Vec::new(),
            names: Vec::new(),
            labels: Vec::new(),
            groups: Vec::new(),
            sites: Vec::new(),
            numbers: HashMap::new(),
            apart: false,
            points: [None, None],
        }
    }

    fn rows(&self) -> usize {
        self.of_row.len()
    }

    /// Takes one line; the message of an error lacks the place.
    fn take(&mut self, fields: &[&str]) -> Result<(), String> {
        let Some(columns) = &mut self.columns else {
            let columns = Columns::of(fields, &self.asked)?;
            let header = columns.header;
            self.columns = Some(columns);
            return if header { Ok(()) } else { self.take(fields) };
        };
        let first = self.of_row.is_empty();
        if first {
            columns.with_row_names(fields.len());
        }
        let (width, found) = (columns.width(), fields.len());
        if first && fields.len() < 2 {
            return Err(format!("expected label, bag and features, found {found} columns"));
        }
        if width == 0 {
            return Err(format!("expected features after label and bag, found {found} columns"));
        }
        if found != columns.roles.len() {
            let names = if columns.header { "column names" } else { "the first row" };
            return Err(format!("expected {} columns as in {names}, found {found}", columns.roles.len()));
        }
        if self.features.len() + width > self.limits.values {
            let limit = self.limits.values;
            return Err(format!(
                "more than {limit} features in all, the limit of text here; use a folder of npy files"
            ));
        }
        let roles = std::mem::take(&mut columns.roles);
        let taken = self.take_fields(fields, &roles);
        if let Some(columns) = &mut self.columns {
            columns.roles = roles;
        }
        taken
    }

    fn take_fields(&mut self, fields: &[&str], roles: &[Role]) -> Result<(), String> {
        let (mut label, mut bag, mut group, mut site, mut event) = ("?", "", None, None, None);
        for (column, (text, role)) in fields.iter().zip(roles).enumerate() {
            if text.starts_with('"') {
                return Err(format!("column {column} (0-based): a quote stands behind a space, in {text}"));
            }
            match role {
                Role::Label => label = text,
                Role::Bag => bag = text,
                Role::Group | Role::Site if classes::is_unknown(text) => {
                    let what = if *role == Role::Group { "group" } else { "site" };
                    return Err(format!("column {column} (0-based): expected the {what} of the bag, found '{text}'"));
                }
                Role::Group => group = Some(*text),
                Role::Site => site = Some(*text),
                Role::Event => event = Some((column, text)),
                Role::Ignored => {}
                Role::Feature => {
                    let value = self.number(text).map_err(|m| format!("column {column} (0-based): {m}"))?;
                    self.features.push(value);
                }
            }
        }
        if classes::is_unknown(bag) {
            return Err(format!("expected the name of a bag, found '{bag}'"));
        }
        let bag = match event {
            None => self.bag(bag, label)?,
            Some((column, event)) => {
                let named = self.columns.as_ref().and_then(|columns| columns.event.clone()).unwrap_or_default();
                let label = responses::joined(label, event, &named);
                self.bag(bag, &label.map_err(|m| format!("column {column} (0-based): {m}"))?)?
            }
        };
        let name = &self.names[bag as usize];
        for (what, told, all) in [("group", group, &mut self.groups), ("site", site, &mut self.sites)] {
            let Some(told) = told else { continue };
            if all.len() < self.names.len() {
                all.push(told.into());
            }
            let first = &all[bag as usize];
            if first != told {
                return Err(format!("bag '{name}' is of {what} '{first}' before and of '{told}' here; expected one"));
            }
        }
        self.apart |= self.of_row.last().is_some_and(|&last| last != bag && (bag as usize) + 1 < self.names.len());
        self.of_row.push(bag);
        Ok(())
    }

    fn number(&mut self, text: &str) -> Result<f32, String> {
        let comma = text.contains(',') && self.separator.leaves_commas();
        let parsed = if comma { text.replacen(',', ".", 1).parse::<f32>() } else { text.parse::<f32>() };
        let place = if comma { 1 } else { 0 };
        if self.points[place].is_none() && (comma || text.contains('.')) {
            self.points[place] = Some(text.into());
            if let [Some(point), Some(comma)] = &self.points {
                return Err(format!("found '{comma}' and '{point}': is the decimal point a comma or a point?"));
            }
        }
        match parsed {
            Ok(value) if value.is_finite() => Ok(value),
            _ if classes::is_unknown(text) => Err(format!(
                "expected a finite number, found '{text}'; missing values have to be filled in or their rows left out"
            )),
            _ => Err(format!("expected a finite number, found '{text}'")),
        }
    }

    /// The number of a bag, whose rows have one label.
    fn bag(&mut self, name: &str, label: &str) -> Result<u32, String> {
        let Some(&bag) = self.numbers.get(name) else {
            let bag = self.names.len() as u32;
            if self.names.len() == self.limits.bags {
                return Err(format!("more than {} bags, the limit", self.limits.bags));
            }
            self.numbers.insert(name.into(), bag);
            self.names.push(name.into());
            self.labels.push(label.into());
            return Ok(bag);
        };
        let first = &self.labels[bag as usize];
        let same = first == label
            || (classes::is_unknown(first) && classes::is_unknown(label))
            || classes::whole(first).is_some_and(|value| classes::whole(label) == Some(value));
        match same {
            true => Ok(bag),
            false => Err(format!(
                "bag '{name}' has label '{}' before and '{}' here; expected one label (columns are label, bag, features)",
                responses::shown(first),
                responses::shown(label)
            )),
        }
    }

    /// The rows of each bag together, in the order in which bags first appear.
    fn pack(&mut self, width: usize) -> Vec<usize> {
        let mut sizes = vec![0usize; self.names.len()];
        self.of_row.iter().for_each(|&bag| sizes[bag as usize] += 1);
        if self.apart {
            let mut next: Vec<usize> = Vec::with_capacity(sizes.len());
            sizes.iter().fold(0, |start, size| {
                next.push(start);
                start + size
            });
            let mut sorted = vec![0.0; self.features.len()];
            for (row, &bag) in self.of_row.iter().enumerate() {
                let to = &mut next[bag as usize];
                sorted[*to * width..(*to + 1) * width].copy_from_slice(&self.features[row * width..(row + 1) * width]);
                *to += 1;
            }
            self.features = sorted;
        }
        sizes
    }
}

/// Opens a text file in the layout above.
///
/// # Errors
/// [`Error::Io`] when it cannot be opened, [`Error::Format`] that names the line (from 1, as editors count)
/// and the row (instances from 0) of what is wrong, or the limit that the file exceeds.
pub fn open(path: &Path) -> Result<Dataset> {
    open_naming(path, &ColumnNames::default())
}

/// As [`open`], with the columns that `columns` names.
///
/// # Errors
/// As [`open`]; a name that no column has is one too, and lists the columns.
pub fn open_naming(path: &Path, columns: &ColumnNames) -> Result<Dataset> {
    read_within(path, file::open(path)?, &Limits::default(), columns)
}

/// Reads text in the layout above; `path` is what errors call it.
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path, reader: impl BufRead) -> Result<Dataset> {
    read_within(path, reader, &Limits::default(), &ColumnNames::default())
}

fn read_within(path: &Path, reader: impl BufRead, limits: &Limits, asked: &ColumnNames) -> Result<Dataset> {
    let mut opened = Opened::new(path, reader, limits)?;
    let mut table = Table::new(opened.separator, limits, asked);
    let white = opened.separator == Separator::WhiteSpace;
    let mut record = csv::ByteRecord::new();
    while opened.next(path, &mut record)? {
        let line = opened.line;
        let row = table.rows();
        let wrong = |m: String| Error::format(path, format!("line {line} (row {row}, 0-based): {m}"));
        let fields: Result<Vec<&str>, _> = record.iter().map(std::str::from_utf8).collect();
        let mut fields = fields.map_err(|_| wrong("expected UTF-8 text".into()))?;
        if white {
            // Several spaces are one separator.
            fields.retain(|field| !field.is_empty());
        }
        if fields.iter().all(|field| field.is_empty()) {
            continue;
        }
        table.take(&fields).map_err(wrong)?;
    }
    finish(path, table)
}

fn finish(path: &Path, mut table: Table) -> Result<Dataset> {
    let rows = table.rows();
    let Some(columns) = table.columns.take().filter(|_| rows > 0) else {
        return Err(Error::format(path, "expected lines of label, bag and features, found none"));
    };
    let wrong = |message: String| Error::format(path, message);
    let width = columns.width();
    let sizes = table.pack(width);
    let classes = match table.asked.kind() {
        LabelsAre::Classes => classes::of_text(&table.labels).map_err(wrong)?,
        _ => None,
    };
    let mut bags = Bags::packed(Features::F32(table.features), width, &sizes)?;
    bags.names = table.names;
    bags.columns = columns.names;
    bags.groups = (!table.groups.is_empty()).then_some(table.groups);
    let sites = (!table.sites.is_empty()).then_some(table.sites);
    let mut set = Dataset { remarks: columns.remarks, sites, ..Dataset::new(bags, super::name_of(path)) };
    if table.apart {
        set.remarks
            .push("rows of a bag that stood apart were put together, bags in the order of their first rows".into());
    }
    if let Some(comma) = &table.points[1] {
        set.remarks.push(format!("commas within numbers, as in {comma}, are read as decimal points"));
    }
    if let Some(classes) = classes {
        classes.put_in(&mut set.bags, &mut set.remarks);
    }
    let kind = table.asked.kind();
    if !kind.is_classes() {
        responses::put_in(&mut set.bags, &mut set.remarks, &table.labels, kind).map_err(wrong)?;
    }
    set.bags.validate()?;
    set.remarks.extend(classes::misread(&set.bags).map_err(wrong)?);
    Ok(set)
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
