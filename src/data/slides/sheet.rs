//! A table with a line of column names, as text or as a workbook, whatever it says: of labels, of slides, of parts.

mod parquet;
mod xlsx;
mod xml;

use super::super::file;
use super::super::text::dialect::{Limits, Opened};
use super::ids::examples;
use super::parquet::MAGIC;
use super::zip::ZIP;
use crate::error::{Error, Result};
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// How workbooks begin that Excel wrote before xlsx.
const OLD_EXCEL: [u8; 8] = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];

/// A line of a table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// In the file, from 1.
    pub number: u64,
    fields: Vec<String>,
}

impl Row {
    /// What stands under the column `at`; nothing where the line is shorter.
    pub fn field(&self, at: usize) -> &str {
        self.fields.get(at).map_or("", String::as_str)
    }
}

/// A table whose first line names the columns.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    pub path: PathBuf,
    /// What the file is called.
    pub name: String,
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    /// What was assumed.
    pub remarks: Vec<String>,
}

impl Sheet {
    /// Reads the table in `path`, packed with gzip or not.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Format`] that names the line.
    pub fn read(path: &Path) -> Result<Self> {
        Self::beginning(path, usize::MAX)
    }

    /// As [`Sheet::read`], of at most so many lines, of text or parquet, behind that of the names.
    pub fn beginning(path: &Path, lines: usize) -> Result<Self> {
        let mut reader = file::open(path)?;
        let start = reader.fill_buf().map_err(|e| file::reading(path, e))?;
        if start.starts_with(&OLD_EXCEL) {
            return Err(Error::format(
                path,
                "expected a table as csv, xlsx or parquet, found a workbook from before 2007 (xls): save it as xlsx or csv",
            ));
        }
        if start.starts_with(&MAGIC) {
            return Self::of_parquet(path, lines).map_err(|message| Error::format(path, message));
        }
        match start.starts_with(&ZIP) {
            true => Self::workbook(path).map_err(|message| Error::format(path, message)),
            false => Self::lines(path, reader, lines),
        }
    }

    /// The table in the parquet file `path`.
    fn of_parquet(path: &Path, lines: usize) -> Result<Self, String> {
        let mut sheet = Self::empty(path);
        let read = parquet::read(path, lines)?;
        (sheet.columns, sheet.remarks) = (read.columns, read.remarks);
        for (number, fields) in (1..).zip(read.rows) {
            let fields = fields.iter().map(String::as_str).collect();
            sheet.take(number, fields).map_err(|m| format!("row {number}: {m}"))?;
        }
        Ok(sheet)
    }

    /// A table with these columns and nothing under them.
    pub fn of_columns(path: &Path, columns: Vec<String>) -> Self {
        Self { columns, ..Self::empty(path) }
    }

    /// The first table of the workbook in `path`.
    fn workbook(path: &Path) -> Result<Self, String> {
        let mut sheet = Self::empty(path);
        let (rows, others) = xlsx::read(path)?;
        for (number, fields) in rows {
            let fields = fields.iter().map(String::as_str).collect();
            sheet.take(number, fields).map_err(|m| format!("row {number}: {m}"))?;
        }
        if !others.is_empty() {
            sheet.remarks.push(format!("the first table of the workbook is read, and not {}", examples(&others)));
        }
        Ok(sheet)
    }

    fn empty(path: &Path) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let (columns, rows, remarks) = Default::default();
        Self { path: path.into(), name, columns, rows, remarks }
    }

    /// As [`Sheet::read`], from a reader; `path` is what errors call it.
    #[cfg(test)]
    pub fn from_text(path: &Path, reader: impl BufRead) -> Result<Self> {
        Self::lines(path, reader, usize::MAX)
    }

    fn lines(path: &Path, reader: impl BufRead, lines: usize) -> Result<Self> {
        let mut sheet = Self::empty(path);
        let mut opened = Opened::new(path, reader, &Limits::default())?;
        let mut record = csv::ByteRecord::new();
        while sheet.rows.len() < lines && opened.next(path, &mut record)? {
            let line = opened.line;
            let wrong = |m: String| Error::format(path, format!("line {line}: {m}"));
            let fields: Result<Vec<&str>, _> = record.iter().map(std::str::from_utf8).collect();
            let fields = fields.map_err(|_| wrong("expected UTF-8 text".into()))?;
            sheet.take(line, fields).map_err(wrong)?;
        }
        Ok(sheet)
    }

    /// Takes a line that is not empty: the first has the names.
    fn take(&mut self, number: u64, fields: Vec<&str>) -> Result<(), String> {
        if fields.iter().all(|field| field.is_empty()) {
            return Ok(());
        }
        let fields: Vec<String> = fields.into_iter().map(str::to_owned).collect();
        if self.columns.is_empty() {
            self.columns = fields;
            return Ok(());
        }
        let (count, found) = (self.columns.len(), fields.len());
        if found > count {
            return Err(format!("expected {count} columns as in the line of names, found {found}"));
        }
        self.rows.push(Row { number, fields });
        Ok(())
    }

    /// The names of all columns, for a message.
    pub fn listed(&self) -> String {
        self.columns.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
    }
}
