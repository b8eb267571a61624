//! Tables that say something of each slide: its label, its patient. Ids are text, whatever they look like.

use super::super::classes::is_unknown;
use super::super::text::ColumnNames;
use super::super::text::dialect::{Limits, Opened};
use super::super::{classes, file};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

/// Usual names of the columns, the surest first.
const IDS: [&str; 21] = [
    "slide_id",
    "slide",
    "slide_name",
    "slideid",
    "wsi_id",
    "wsi",
    "wsi_name",
    "filename",
    "file_name",
    "file",
    "slide_path",
    "slide_file",
    "image_id",
    "image",
    "image_name",
    "bag",
    "bag_id",
    "bag_name",
    "path",
    "id",
    "name",
];
const LABELS: [&str; 9] =
    ["label", "labels", "slide_label", "bag_label", "class", "class_label", "target", "diagnosis", "y"];
const GROUPS: [&str; 11] = [
    "case_id",
    "case",
    "patient",
    "patient_id",
    "patients",
    "case_submitter_id",
    "subject",
    "subject_id",
    "group",
    "group_id",
    "groups",
];
/// Columns that are never taken for labels because no other is left.
const OTHERS: [&str; 7] = ["", "unnamed:_0", "split", "fold", "source", "site", "index"];

/// Endings of files of slides and features, which ids have on one side and not on the other.
const ENDINGS: [&str; 24] = [
    "h5", "hdf5", "hdf", "he5", "pt", "pth", "npy", "npz", "csv", "svs", "tif", "tiff", "ndpi", "mrxs", "scn", "vms",
    "vmu", "bif", "czi", "svslide", "dcm", "isyntax", "qptiff", "ome",
];

/// Examples in a message, at most.
const SHOWN: usize = 3;

/// A line of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub id: String,
    pub label: String,
    pub group: Option<String>,
    /// From 1, as editors count.
    pub number: u64,
}

/// A table that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// What messages call it.
    pub name: String,
    pub lines: Vec<Line>,
    /// Which columns were taken, and what was assumed.
    pub remarks: Vec<String>,
    /// The first column name, which is an id where the table has no line of names.
    first: String,
}

/// The file of each line, and what is left over.
pub(super) struct Matched {
    /// The line of each file.
    pub of_file: Vec<Option<usize>>,
    /// Lines without a file.
    pub without_file: Vec<usize>,
}

fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '.', '-'], "_")
}

/// The last part of a path without the endings of slides and features.
pub(super) fn reduced(id: &str) -> &str {
    let mut id = id.rsplit(['/', '\\']).next().unwrap_or(id).trim();
    while let Some((stem, ending)) = id.rsplit_once('.') {
        if stem.is_empty() || !ENDINGS.iter().any(|e| e.eq_ignore_ascii_case(ending)) {
            break;
        }
        id = stem;
    }
    id
}

/// The columns of a table.
struct Columns {
    id: usize,
    label: usize,
    group: Option<usize>,
}

impl Columns {
    fn of(names: &[&str], asked: &ColumnNames, remarks: &mut Vec<String>) -> Result<Self, String> {
        let listed = || names.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ");
        let words: Vec<String> = names.iter().map(|n| plain(n)).collect();
        let given = |name: &Option<String>, flag: &str| match name {
            None => Ok(None),
            Some(name) => match names.iter().position(|n| n == name) {
                Some(at) => Ok(Some(at)),
                None => Err(format!("no column is called '{name}' (--{flag}); the columns are {}", listed())),
            },
        };
        let usual = |list: &[&str], taken: &[usize]| {
            let place = |word: &&str| (0..words.len()).find(|at| words[*at] == **word && !taken.contains(at));
            list.iter().find_map(place)
        };
        let (id, label, group) = (
            given(&asked.bag, "id-column")?,
            given(&asked.label, "label-column")?,
            given(&asked.group, "patient-column")?,
        );
        let mut taken: Vec<usize> = [id, label, group].into_iter().flatten().collect();
        if let Some(twice) = (1..taken.len()).find(|&at| taken[..at].contains(&taken[at])) {
            return Err(format!("column '{}' cannot be two things at once", names[taken[twice]]));
        }
        let id = id.or_else(|| usual(&IDS, &taken));
        taken.extend(id);
        let group = group.or_else(|| usual(&GROUPS, &taken));
        taken.extend(group);
        let label = label.or_else(|| usual(&LABELS, &taken));
        taken.extend(label);
        // Where each patient has one slide, slides may be called by their patients; and two columns need no names.
        let free: Vec<usize> =
            (0..names.len()).filter(|at| !taken.contains(at) && !OTHERS.contains(&words[*at].as_str())).collect();
        let (id, group) = match (id, group, &free[..]) {
            (Some(id), group, _) => (id, group),
            (None, Some(group), []) => (group, None),
            (None, group, [first]) if label.is_some() => (*first, group),
            (None, group, [first, _]) if label.is_none() => (*first, group),
            _ => {
                return Err(format!(
                    "expected a column of slides called {}, or --id-column NAME; the columns are {}",
                    IDS[..4].join(", "),
                    listed()
                ));
            }
        };
        let left: Vec<usize> = free.into_iter().filter(|at| *at != id).collect();
        let label = match (label, &left[..]) {
            (Some(label), _) => label,
            (None, [only]) => *only,
            (None, _) => {
                return Err(format!(
                    "expected a column of labels called {}, or --label-column NAME; the columns are {}",
                    LABELS[..5].join(", "),
                    listed()
                ));
            }
        };
        let patients = group.map(|g| format!(", the patient '{}'", names[g])).unwrap_or_default();
        remarks.push(format!("column '{}' names the slide, '{}' the label{patients}", names[id], names[label]));
        Ok(Self { id, label, group })
    }
}

/// Reads the table in `path`, packed with gzip or not.
///
/// # Errors
/// [`Error::Io`], and [`Error::Format`] that names the line, or the columns there are.
pub(super) fn read(path: &Path, asked: &ColumnNames) -> Result<Table> {
    read_from(path, file::open(path)?, asked)
}

/// As [`read`], from a reader; `path` is what errors call it.
fn read_from(path: &Path, reader: impl BufRead, asked: &ColumnNames) -> Result<Table> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut table = Table { name, lines: Vec::new(), remarks: Vec::new(), first: String::new() };
    let (mut columns, mut blank) = (None, 0usize);
    rows(path, reader, |number, fields| {
        let Some((columns, count)) = &columns else {
            columns = Some((Columns::of(fields, asked, &mut table.remarks)?, fields.len()));
            table.first = fields[0].to_owned();
            return Ok(());
        };
        if fields.len() > *count {
            return Err(format!("expected {count} columns as in the line of names, found {}", fields.len()));
        }
        let Columns { id, label, group } = *columns;
        let field = |at: usize| fields.get(at).copied().unwrap_or("");
        if is_unknown(field(id)) {
            blank += 1;
            return Ok(());
        }
        let group = group.map(field).map(str::to_owned);
        if group.as_deref().is_some_and(is_unknown) {
            return Err(format!("slide '{}' has no patient; expected one for each", field(id)));
        }
        table.lines.push(Line { id: field(id).into(), label: field(label).into(), group, number });
        Ok(())
    })?;
    if table.lines.is_empty() {
        return Err(Error::format(path, "expected a line of column names and a line for each slide, found none"));
    }
    if blank > 0 {
        table.remarks.push(format!("{blank} lines name no slide and are left out"));
    }
    Ok(table)
}

/// Gives each line that is not empty to `take`, with its number.
///
/// # Errors
/// [`Error::Format`] with the line where the text cannot be read, or what `take` says of it.
pub(super) fn rows(
    path: &Path,
    reader: impl BufRead,
    mut take: impl FnMut(u64, &[&str]) -> Result<(), String>,
) -> Result<()> {
    let mut opened = Opened::new(path, reader, &Limits::default())?;
    let mut record = csv::ByteRecord::new();
    while opened.next(path, &mut record)? {
        let line = opened.line;
        let wrong = |m: String| Error::format(path, format!("line {line}: {m}"));
        let fields: Result<Vec<&str>, _> = record.iter().map(std::str::from_utf8).collect();
        let fields = fields.map_err(|_| wrong("expected UTF-8 text".into()))?;
        if !fields.iter().all(|field| field.is_empty()) {
            take(line, &fields).map_err(wrong)?;
        }
    }
    Ok(())
}

/// Finds what is called `id` among names of files without their endings: by the whole name, and else without what ids have
/// on one side only, where that leaves one.
pub(super) struct Finder<'a> {
    whole: HashMap<&'a str, usize>,
    short: HashMap<&'a str, Option<usize>>,
}

impl<'a> Finder<'a> {
    pub fn new(stems: &'a [String]) -> Self {
        let whole = stems.iter().enumerate().map(|(at, stem)| (stem.as_str(), at)).collect();
        let mut short = HashMap::new();
        for (at, stem) in stems.iter().enumerate() {
            short.entry(reduced(stem)).and_modify(|found| *found = None).or_insert(Some(at));
        }
        Self { whole, short }
    }

    pub fn find(&self, id: &str) -> Option<usize> {
        let last = id.rsplit(['/', '\\']).next().unwrap_or(id);
        let stem = last.rsplit_once('.').map_or(last, |(stem, _)| stem);
        let whole = [id, last, stem].into_iter().find_map(|id| self.whole.get(id).copied());
        whole.or_else(|| self.short.get(reduced(id)).copied().flatten())
    }
}

impl Table {
    /// The line of each of the files that are called `stems`.
    ///
    /// # Errors
    /// [`Error::Format`] when no line has a file, with names from both sides, or when two lines of a file differ.
    pub fn matched(&self, path: &Path, stems: &[String]) -> Result<Matched> {
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
            if !same || before.group != line.group {
                return Err(Error::format(
                    path,
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
            return Err(Error::format(path, message));
        }
        if matched.of_file.iter().all(Option::is_none) {
            let ids: Vec<&str> = self.lines.iter().map(|l| l.id.as_str()).collect();
            return Err(Error::format(
                path,
                format!(
                    "none of its {} slides is the name of a file: the table has {}, the folder has {}; is another \
                     column the right one (--id-column NAME)? {}",
                    ids.len(),
                    examples(&ids),
                    examples(stems),
                    self.remarks.join("; ")
                ),
            ));
        }
        Ok(matched)
    }

    /// The classes of the bags, whose lines these are, and the group of each.
    ///
    /// # Errors
    /// What is wrong with the labels.
    pub fn classes(&self, lines: &[usize]) -> Result<Option<classes::Classes>, String> {
        classes::of_text(&lines.iter().map(|&line| &self.lines[line].label).collect::<Vec<_>>())
    }
}

/// A few of many names.
pub(super) fn examples<S: std::fmt::Display>(names: &[S]) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN).map(|n| format!("'{n}'")).collect();
    let more = if names.len() > SHOWN { ", .." } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str, asked: &ColumnNames) -> Result<Table> {
        read_from(Path::new("labels.csv"), text.as_bytes(), asked)
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
        refused("slide,label\n", &none, "found none");
        refused("slide,label\na,1,2\n", &none, "line 2: expected 2 columns");
        refused("slide,label,patient\na,1,p\nb,0,\n", &none, "line 3: slide 'b' has no patient");
    }

    #[test]
    fn ids_and_files_meet_without_their_endings() {
        for (id, short) in [
            ("a.svs", "a"),
            ("a.ome.tif", "a"),
            ("dir/a.H5", "a"),
            (r"C:\slides\a.ndpi", "a"),
            ("TCGA-05.4A7E-uuid", "TCGA-05.4A7E-uuid"),
            (".svs", ".svs"),
            ("1.5", "1.5"),
        ] {
            assert_eq!(reduced(id), short);
        }
        let stems = ["007", "b.svs", "c.1", "c.1.svs"].map(String::from);
        let finder = Finder::new(&stems);
        let found = |id: &str| finder.find(id);
        assert_eq!(found("007"), Some(0));
        assert_eq!(found("7"), None, "ids are text");
        assert_eq!((found("007.svs"), found("b"), found("x/b.tif")), (Some(0), Some(1), Some(1)));
        assert_eq!((found("c.1"), found("c.1.svs"), found("c.1.h5")), (Some(2), Some(3), Some(2)));
        // Two files that only an ending tells apart are found by their whole names alone.
        assert_eq!(found("c.1.tif.h5"), None);
    }

    #[test]
    fn lines_that_contradict_each_other_are_refused() {
        let stems = ["a", "b"].map(String::from);
        let matched = |text: &str| {
            let table = table(text, &ColumnNames::default()).unwrap();
            table.matched(Path::new("labels.csv"), &stems)
        };
        let message = |text: &str| matched(text).map(|_| ()).unwrap_err().to_string();
        assert_eq!(matched("slide,label\na,1\na.svs,1\nc,0\n").unwrap().of_file, [Some(0), None]);
        assert!(message("slide,label\na,1\nb,0\na.svs,0\n").contains("lines 2 and 4 are both of slide 'a'"));
        assert!(message("a,1\nb,0\n").contains("line 1: expected the names of the columns"));
        let found = message("slide,label\nx,1\ny,0\n");
        assert!(found.contains("the table has 'x', 'y', the folder has 'a', 'b'"), "{found}");
    }
}
