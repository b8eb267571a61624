//! A csv file that is a slide, as dsmil writes it: a first line with the numbers of the columns from 0 on, and a line for
//! each patch.

use super::super::super::text::dialect::{Limits, Opened};
use super::{About, Head, Number, Reason, SlideFile, reason};
use crate::bounded;
use crate::features::Features;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Bytes of the first line, at most.
const LONGEST_HEAD: u64 = 1 << 20;

/// One file of a slide.
pub(super) struct CsvSlide {
    path: PathBuf,
    head: Head,
}

/// How many columns the first line numbers from 0 on; `None` where it does something else.
pub(super) fn columns(line: &str) -> Option<usize> {
    let line = line.trim_end_matches(['\r', '\n']);
    let numbered = |(at, field): (usize, &str)| field.trim_matches('"').parse() == Ok(at);
    (line.contains(',') && line.split(',').enumerate().all(numbered)).then(|| line.split(',').count())
}

/// The first line of a file.
fn first_line(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = Vec::new();
    reader.take(LONGEST_HEAD).read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// True for a file whose first line is that of a slide.
pub(in super::super) fn is(path: &Path) -> std::io::Result<bool> {
    Ok(columns(&first_line(&mut BufReader::new(File::open(path)?))?).is_some())
}

impl CsvSlide {
    /// Counts the lines; their values are not looked at.
    pub fn open(path: &Path) -> Result<Self, Reason> {
        let io = |e: std::io::Error| e.to_string();
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(io)?);
        let columns = columns(&first_line(&mut reader).map_err(io)?);
        let width = columns.ok_or("expected a first line with the numbers of the columns, 0, 1, 2, ..")?;
        let (mut rows, mut empty) = (0, true);
        loop {
            let bytes = reader.fill_buf().map_err(io)?;
            if bytes.is_empty() {
                break;
            }
            for byte in bytes {
                match byte {
                    b'\n' => {
                        rows += usize::from(!empty);
                        empty = true;
                    }
                    b'\r' => {}
                    _ => empty = false,
                }
            }
            let read = bytes.len();
            reader.consume(read);
        }
        rows += usize::from(!empty);
        if rows == 0 {
            return Err("no patches: the file has a line of numbers of columns alone".into());
        }
        // Each value has a digit and a separator at least, which the values that are read are held against.
        bounded::check_room("its values", &[rows as u64, width as u64, 4]).map_err(reason)?;
        let head = Head {
            rows,
            width,
            number: Number::F32,
            coords: None,
            of_slide: false,
            labelled: false,
            about: About::default(),
        };
        Ok(Self { path: path.into(), head })
    }
}

impl SlideFile for CsvSlide {
    fn head(&self) -> &Head {
        &self.head
    }

    fn features(&self) -> Result<Features, Reason> {
        let file = BufReader::with_capacity(1 << 16, File::open(&self.path).map_err(|e| e.to_string())?);
        let mut opened = Opened::new(&self.path, file, &Limits::default()).map_err(reason)?;
        let mut record = csv::ByteRecord::new();
        let (mut values, mut first) = (Vec::new(), true);
        while opened.next(&self.path, &mut record).map_err(reason)? {
            if std::mem::take(&mut first) || record.iter().all(<[u8]>::is_empty) {
                continue;
            }
            let (line, found, width) = (opened.line, record.len(), self.head.width);
            if found != width {
                return Err(format!("line {line}: expected {width} values, found {found}"));
            }
            for (column, field) in record.iter().enumerate() {
                let value: Option<f32> = std::str::from_utf8(field).ok().and_then(|text| text.parse().ok());
                let Some(value) = value else {
                    let field = String::from_utf8_lossy(field);
                    return Err(format!("line {line}, column {column} (0-based): expected a number, found '{field}'"));
                };
                values.push(value);
            }
        }
        Ok(Features::F32(values))
    }

    fn coords(&self) -> Result<Option<Vec<[f32; 2]>>, Reason> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_numbered_from_zero() {
        assert_eq!((columns("0,1,2\n"), columns("\"0\",\"1\"\r\n")), (Some(3), Some(2)));
        for other in ["0", "", "1,2", "0,1,label", "0,2", "slide,label", "0.0,1.0"] {
            assert_eq!(columns(other), None, "{other}");
        }
    }
}
