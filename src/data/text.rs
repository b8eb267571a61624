//! The text layout of the classic multiple instance collections: one instance a line, `label, bag, features`.
//!
//! Fields are separated by commas, or by white space when the first line has no comma. Empty lines and lines
//! that begin with `#` are skipped, and a first line of column names. The lines of a bag stand together and
//! have the same label. Labels are 0 and 1, -1 and 1, class indices, or words (then the classes are the words
//! in alphabetical order); `?` everywhere means bags without labels. The file may be packed with gzip.

use super::{Dataset, classes, file};
use crate::bag::{Bags, Features};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

/// What has been read so far.
#[derive(Default)]
struct Table {
    features: Vec<f32>,
    width: usize,
    sizes: Vec<usize>,
    names: Vec<String>,
    labels: Vec<String>,
    /// The row in which each bag began.
    seen: HashMap<String, usize>,
    rows: usize,
}

impl Table {
    /// Takes one line; the message of an error lacks the place.
    fn take(&mut self, fields: &[&str]) -> Result<(), String> {
        let [label, bag, values @ ..] = fields else {
            return Err(format!("expected label, bag and features, found {} columns", fields.len()));
        };
        if self.rows == 0 {
            self.width = values.len();
        }
        if values.is_empty() {
            return Err(format!("expected features after label and bag, found {} columns", fields.len()));
        }
        if values.len() != self.width {
            let (expected, found) = (self.width + 2, fields.len());
            return Err(format!("expected {expected} columns as in the first row, found {found}"));
        }
        if label.is_empty() || bag.is_empty() {
            return Err("expected a label and a bag, found an empty field".into());
        }
        for (column, text) in values.iter().enumerate() {
            match text.parse::<f32>() {
                Ok(value) if value.is_finite() => self.features.push(value),
                _ => return Err(format!("column {} (0-based): expected a finite number, found '{text}'", column + 2)),
            }
        }
        if self.names.last().is_some_and(|last| last == bag) {
            let first = &self.labels[self.labels.len() - 1];
            if first != label {
                return Err(format!("bag '{bag}' has label '{first}' before and '{label}' here; expected one label"));
            }
        } else {
            if let Some(begun) = self.seen.insert((*bag).into(), self.rows) {
                return Err(format!("bag '{bag}' began in row {begun} and ended; the rows of a bag stand together"));
            }
            self.sizes.push(0);
            self.names.push((*bag).into());
            self.labels.push((*label).into());
        }
        if let Some(size) = self.sizes.last_mut() {
            *size += 1;
        }
        self.rows += 1;
        Ok(())
    }
}

/// Opens a text file in the layout above.
///
/// # Errors
/// [`Error::Io`] when it cannot be opened, [`Error::Format`] that names the line (from 1, as editors count)
/// and the row (instances from 0) of what is wrong.
pub fn open(path: &Path) -> Result<Dataset> {
    let mut reader = file::open(path)?;
    let mut table = Table::default();
    let mut raw = Vec::new();
    let (mut comma, mut first) = (false, true);
    for number in 1.. {
        raw.clear();
        if reader.read_until(b'\n', &mut raw).map_err(|e| file::reading(path, e))? == 0 {
            break;
        }
        let row = table.rows;
        let wrong = |m: String| Error::format(path, format!("line {number} (row {row}, 0-based): {m}"));
        let line = std::str::from_utf8(&raw).map_err(|_| wrong("expected UTF-8 text".into()))?;
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if first {
            comma = line.contains(',');
        }
        let fields: Vec<&str> =
            if comma { line.split(',').map(str::trim).collect() } else { line.split_whitespace().collect() };
        if !(std::mem::take(&mut first) && is_header(&fields)) {
            table.take(&fields).map_err(wrong)?;
        }
    }
    if table.rows == 0 {
        return Err(Error::format(path, "expected lines of label, bag and features, found none"));
    }
    let classes = classes::of_text(&table.labels).map_err(|message| Error::format(path, message))?;
    let mut bags = Bags::packed(Features::F32(table.features), table.width, &table.sizes)?;
    bags.names = table.names;
    let mut set = Dataset::new(bags, super::name_of(path));
    if let Some(classes) = classes {
        classes.put_in(&mut set.bags, &mut set.remarks);
    }
    set.bags.validate()?;
    Ok(set)
}

/// Column names: a usual word for the label, or not a single number among the features.
fn is_header(fields: &[&str]) -> bool {
    let usual = ["label", "labels", "class", "target", "y"];
    let named = fields.first().is_some_and(|f| usual.contains(&f.trim_matches('"').to_lowercase().as_str()));
    named || (fields.len() > 2 && fields[2..].iter().all(|f| f.parse::<f32>().is_err()))
}

#[cfg(test)]
mod tests {
    use super::super::idx::tests::gzip;
    use super::*;

    fn opened(bytes: &[u8]) -> Result<Dataset> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("set.csv");
        std::fs::write(&path, bytes).unwrap();
        open(&path)
    }

    fn refused(text: &str, what: &str) {
        let message = opened(text.as_bytes()).unwrap_err().to_string();
        assert!(message.contains("set.csv") && message.contains(what), "{message}");
    }

    #[test]
    fn commas_white_space_headers_and_comments() {
        let texts = [
            "0,a,1,2\n0,a,3,4\n1,b,5,6\n",
            "# a comment\nlabel,bag,0,1\n\n0, a, 1, 2\n0,a,3,4\r\n1,b,5,6",
            "cls id f g\n0 a 1 2\n0\ta 3  4\n 1 b 5e0 6.0\n",
        ];
        for text in texts {
            for bytes in [text.as_bytes().to_vec(), gzip(text.as_bytes())] {
                let set = opened(&bytes).unwrap();
                assert_eq!(set.bags.features, Features::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
                assert_eq!(
                    (&set.bags.offsets[..], &set.bags.names[..]),
                    (&[0, 2, 3][..], &["a".into(), "b".into()][..])
                );
                assert_eq!(set.bags.labels, Some(vec![0, 1]));
                assert_eq!(set.name, "set");
            }
        }
    }

    #[test]
    fn labels_of_every_kind() {
        let labels = |text: &str| {
            let bags = opened(text.as_bytes()).unwrap().bags;
            (bags.labels, bags.class_names.join(" "))
        };
        assert_eq!(labels("-1,a,0\n1,b,0"), (Some(vec![0, 1]), "-1 1".into()));
        assert_eq!(labels("1.0,a,0\n0.0,b,0"), (Some(vec![1, 0]), "0 1".into()));
        assert_eq!(labels("2,a,0\n0,b,0"), (Some(vec![2, 0]), "0 1 2".into()));
        assert_eq!(labels("tumour,a,0\nbenign,b,0"), (Some(vec![1, 0]), "benign tumour".into()));
        assert_eq!(labels("?,a,0\n?,b,0"), (None, String::new()));
        assert_eq!(labels("?,a,0\n1,b,0"), (Some(vec![Bags::UNKNOWN, 1]), "0 1".into()));
        refused("-1,a,0\n0,b,0", "labels are -1 and 0: expected class indices from 0");
        refused("99999999,a,0\n0,b,0", "expected a class from 0 to 65535, found 99999999");
    }

    #[test]
    fn wrong_rows_are_named() {
        refused("", "found none");
        refused("# only\n", "found none");
        refused("label,bag,x\n", "found none");
        refused("0,a,1,2\n\n0,a,1\n", "line 3 (row 1, 0-based): expected 4 columns as in the first row, found 3");
        refused("0,a,1\n0,a,1,\n", "expected 3 columns");
        refused("0,a\n", "expected features after label and bag, found 2 columns");
        refused("0\n", "expected label, bag and features, found 1 columns");
        refused("0,a,1,x\n", "line 1 (row 0, 0-based): column 3 (0-based): expected a finite number, found 'x'");
        refused("0,a,1,nan\n", "found 'nan'");
        refused("0,a,1e99\n", "found '1e99'");
        refused("0,a,1,\n", "found ''");
        refused("0,,1\n", "found an empty field");
        refused("0,a,1\n1,a,1\n", "line 2 (row 1, 0-based): bag 'a' has label '0' before and '1' here");
        refused("0,a,1\n0,b,1\n0,a,1\n", "bag 'a' began in row 0 and ended");
        let message = opened(b"0,a,1\n0,\xff,1\n").unwrap_err().to_string();
        assert!(message.contains("line 2 (row 1, 0-based): expected UTF-8"), "{message}");
        let packed = gzip("0,a,1\n".repeat(100).as_bytes());
        let message = opened(&packed[..packed.len() - 9]).unwrap_err().to_string();
        assert!(message.contains("ends early"), "{message}");
        assert!(matches!(open(Path::new("/nowhere/at-all")), Err(Error::Io { .. })));
    }
}
