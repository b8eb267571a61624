//! The head of a parquet file, which stands at its end: its columns, and where the values of each are.

use super::super::format::Number;
use super::packing::Packing;
use super::thrift::{Compact, Kind as Field};
use super::{MAGIC, Parquet, Reason};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes of the head, at most: a thousand columns in a thousand groups of rows have some hundred million.
const LONGEST: u64 = 256 << 20;

/// The logical type of integers, which says whether there is a sign.
const INTEGER: i64 = 10;

/// Groups of columns within each other.
const DEEPEST: usize = 16;

/// What the values of a column are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Number(Number),
    Text,
    /// Days since the beginning of 1970.
    Date,
    /// What is not read, in words.
    Other(String),
}

/// A column of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its name; within structs those of all, with points between.
    pub name: String,
    pub kind: Kind,
    /// Each row has a list of values, not one.
    pub list: bool,
    /// Bytes of a value in a page, of text 0.
    pub size: usize,
    /// Levels of what may be missing, and of what may be there several times.
    pub definition: u8,
    pub repetition: u8,
}

/// Rows that stand together.
#[derive(Debug)]
pub struct Group {
    pub rows: u64,
    /// In the order of the columns.
    pub chunks: Vec<Chunk>,
}

/// The values of a column in a group.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    pub at: u64,
    pub bytes: u64,
    pub values: u64,
    /// Or the number of one that is not read.
    pub packing: Result<Packing, i64>,
}

#[derive(Default)]
struct Element {
    physical: Option<i64>,
    length: i64,
    repetition: i64,
    name: String,
    children: usize,
    converted: Option<i64>,
    logical: Option<i64>,
    unsigned: bool,
}

pub fn read(path: &Path, file: &mut File) -> Result<Parquet, Reason> {
    let io = |e: std::io::Error| e.to_string();
    let length = file.metadata().map_err(io)?.len();
    let cut = || "it is no parquet file, or is cut off: PAR1 is not at both of its ends".to_owned();
    let (mut start, mut end) = ([0; 4], [0; 8]);
    if length < 12 {
        return Err(cut());
    }
    file.read_exact(&mut start).map_err(io)?;
    file.seek(SeekFrom::Start(length - 8)).and_then(|_| file.read_exact(&mut end)).map_err(io)?;
    if &end[4..] == b"PARE" {
        return Err("it is encrypted, which is not read".into());
    }
    if start != MAGIC || end[4..] != MAGIC {
        return Err(cut());
    }
    let size = u64::from(u32::from_le_bytes([end[0], end[1], end[2], end[3]]));
    if size > (length - 12).min(LONGEST) {
        return Err(format!("its head has {size} bytes, and the file {length} (is it cut off?)"));
    }
    let begins = length - 8 - size;
    let mut head = vec![0; size as usize];
    file.seek(SeekFrom::Start(begins)).and_then(|_| file.read_exact(&mut head)).map_err(io)?;

    let (mut elements, mut groups, mut said, mut rows, mut encrypted) =
        (Vec::new(), Vec::new(), Vec::new(), None, false);
    Compact::new(&head).fields(|c, field, kind| {
        match (field, kind) {
            (2, Field::List) => elements = c.list(element)?,
            (3, Field::Integer) => rows = u64::try_from(c.integer()?).ok(),
            (4, Field::List) => groups = c.list(|c| group(c, begins))?,
            (5, Field::List) => said = c.list(pair)?,
            (8, Field::Struct) => {
                encrypted = true;
                return Ok(false);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if encrypted {
        return Err("it is encrypted, which is not read".into());
    }
    let leaves = leaves(&elements)?;
    let rows = rows.ok_or("the head of the file does not say how many rows there are")?;
    if groups.iter().try_fold(0u64, |all, group| all.checked_add(group.rows)) != Some(rows) {
        return Err(format!("its head says {rows} rows, and that its groups have others (is it broken?)"));
    }
    for group in &groups {
        if group.chunks.len() != leaves.len() {
            let found = group.chunks.len();
            return Err(format!("a group of rows has {found} of {} columns (is it broken?)", leaves.len()));
        }
        for (leaf, chunk) in leaves.iter().zip(&group.chunks) {
            // Values that are missing count, too.
            if leaf.repetition == 0 && chunk.values != group.rows {
                let (name, found, rows) = (&leaf.name, chunk.values, group.rows);
                return Err(format!("{name} has {found} values in a group of {rows} rows (is it broken?)"));
            }
        }
    }
    let said = said.into_iter().filter(|(name, _)| !matches!(&name[..], "pandas" | "ARROW:schema")).collect();
    Ok(Parquet { path: path.into(), leaves, rows, said, length, groups, marks: Default::default() })
}

fn pair(c: &mut Compact) -> Result<(String, String), Reason> {
    let mut pair = (String::new(), String::new());
    c.fields(|c, field, kind| {
        match (field, kind) {
            (1, Field::Bytes) => pair.0 = c.text()?,
            (2, Field::Bytes) => pair.1 = c.text()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(pair)
}

fn element(c: &mut Compact) -> Result<Element, Reason> {
    let mut element = Element::default();
    c.fields(|c, field, kind| {
        match (field, kind) {
            (1, Field::Integer) => element.physical = Some(c.integer()?),
            (2, Field::Integer) => element.length = c.integer()?,
            (3, Field::Integer) => element.repetition = c.integer()?,
            (4, Field::Bytes) => element.name = c.text()?,
            (5, Field::Integer) => element.children = usize::try_from(c.integer()?).unwrap_or(0),
            (6, Field::Integer) => element.converted = Some(c.integer()?),
            // The one field that is there says which.
            (10, Field::Struct) => {
                c.fields(|c, field, _| {
                    element.logical = Some(field);
                    if field != INTEGER {
                        return Ok(false);
                    }
                    c.fields(|_, field, kind| {
                        element.unsigned |= (field, kind) == (2, Field::Flag(false));
                        Ok(false)
                    })?;
                    Ok(true)
                })?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(element)
}

fn group(c: &mut Compact, end: u64) -> Result<Group, Reason> {
    let mut group = Group { rows: 0, chunks: Vec::new() };
    c.fields(|c, field, kind| {
        match (field, kind) {
            (1, Field::List) => group.chunks = c.list(|c| chunk(c, end))?,
            (3, Field::Integer) => {
                group.rows = u64::try_from(c.integer()?).map_err(|_| "a group has less than no rows")?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(group)
}

fn chunk(c: &mut Compact, end: u64) -> Result<Chunk, Reason> {
    let (mut elsewhere, mut codec, mut values, mut bytes, mut data, mut dictionary) = (false, 0, 0, 0, 0, 0);
    c.fields(|c, field, kind| {
        match (field, kind) {
            (1, Field::Bytes) => elsewhere = !c.bytes()?.is_empty(),
            (3, Field::Struct) => c.fields(|c, field, kind| {
                match (field, kind) {
                    (4, Field::Integer) => codec = c.integer()?,
                    (5, Field::Integer) => values = c.integer()?,
                    (7, Field::Integer) => bytes = c.integer()?,
                    (9, Field::Integer) => data = c.integer()?,
                    (11, Field::Integer) => dictionary = c.integer()?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if elsewhere {
        return Err("its values are in another file, which is not read".into());
    }
    let at = if dictionary > 0 { dictionary.min(data) } else { data };
    match [at, bytes, values].map(u64::try_from) {
        [Ok(at), Ok(bytes), Ok(values)] if at.checked_add(bytes).is_some_and(|last| last <= end) => {
            Ok(Chunk { at, bytes, values, packing: Packing::of(codec).map_err(|_| codec) })
        }
        _ => Err("the file ends early: a column of it is not within it".into()),
    }
}

/// The columns of a schema, which lists groups in front of what is in them.
fn leaves(elements: &[Element]) -> Result<Vec<Leaf>, Reason> {
    let broken = || "its list of columns is broken".to_owned();
    let (root, mut rest) = elements.split_first().ok_or_else(broken)?;
    let mut leaves = Vec::new();
    for _ in 0..root.children {
        below(&mut rest, &Above::default(), &mut leaves)?;
    }
    if rest.is_empty() && !leaves.is_empty() { Ok(leaves) } else { Err(broken()) }
}

/// What a column is within.
#[derive(Clone, Default)]
struct Above {
    name: String,
    definition: u8,
    repetition: u8,
    deep: usize,
    /// A list, whose parts have no names of their own.
    list: bool,
}

fn below(rest: &mut &[Element], above: &Above, leaves: &mut Vec<Leaf>) -> Result<(), Reason> {
    let element = rest.split_off_first().ok_or("its list of columns is broken")?;
    if above.deep > DEEPEST {
        return Err("its columns are within each other too often".into());
    }
    let name = match (above.name.is_empty(), above.list) {
        (true, _) => element.name.clone(),
        (false, true) => above.name.clone(),
        (false, false) => format!("{}.{}", above.name, element.name),
    };
    let repeated = element.repetition == 2;
    let definition = above.definition + u8::from(element.repetition != 0);
    let repetition = above.repetition + u8::from(repeated);
    let Some(physical) = element.physical else {
        // Lists are groups with one thing in them that is repeated, which has one thing in it again, or none.
        let one = element.children == 1 && rest.first().is_some_and(|next| next.children <= 1);
        let list = one && (repeated || rest.first().is_some_and(|next| next.repetition == 2));
        let above = Above { name, definition, repetition, deep: above.deep + 1, list };
        for _ in 0..element.children {
            below(rest, &above, leaves)?;
        }
        return Ok(());
    };
    let (kind, size) = kind(element, physical);
    let kind = if repetition > 1 { Kind::Other("lists of lists".into()) } else { kind };
    leaves.push(Leaf { name, kind, list: repetition > 0, size, definition, repetition });
    Ok(())
}

fn kind(element: &Element, physical: i64) -> (Kind, usize) {
    let number = |number: Number| (Kind::Number(number), number.bytes());
    let other = |what: &str, size: usize| (Kind::Other(what.into()), size);
    let is = |converted: i64, logical: i64| element.converted == Some(converted) || element.logical == Some(logical);
    let decimal = is(5, 5);
    match physical {
        0 => number(Number::Integer(1, false)),
        1 if is(6, 6) => (Kind::Date, 4),
        1 if decimal => other("decimal numbers", 4),
        1 if is(7, 7) => other("times", 4),
        1 => number(Number::Integer(4, !(element.unsigned || element.converted == Some(13)))),
        2 if decimal => other("decimal numbers", 8),
        2 if is(8, 7) || is(9, 8) || is(10, 8) => other("times", 8),
        2 => number(Number::Integer(8, !(element.unsigned || element.converted == Some(14)))),
        3 => other("times of 96 bits", 12),
        4 => number(Number::F32),
        5 => number(Number::F64),
        6 if decimal => other("decimal numbers", 0),
        6 => (Kind::Text, 0),
        7 if element.logical == Some(15) && element.length == 2 => number(Number::F16),
        7 => other("values of a fixed length", usize::try_from(element.length).unwrap_or(0)),
        _ => other("an unknown type", 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(name: &str, physical: Option<i64>, repetition: i64, children: usize) -> Element {
        Element { name: name.into(), physical, repetition, children, ..Element::default() }
    }

    #[test]
    fn lists_have_the_names_of_their_columns() {
        let float = Some(4);
        let schema = [
            element("schema", None, 0, 5),
            element("slide", Some(6), 1, 0),
            // As Arrow writes lists now, as others did, and as the format allows.
            element("features", None, 1, 1),
            element("list", None, 2, 1),
            element("element", float, 1, 0),
            element("feats", None, 1, 1),
            element("array", float, 2, 0),
            element("plain", float, 2, 0),
            element("at", None, 1, 2),
            element("x", Some(2), 1, 0),
            element("y", Some(2), 0, 0),
        ];
        let found = leaves(&schema).unwrap();
        let told: Vec<_> = found.iter().map(|l| (&l.name[..], l.list, l.definition, l.repetition)).collect();
        let expected = [
            ("slide", false, 1, 0),
            ("features", true, 3, 1),
            ("feats", true, 2, 1),
            ("plain", true, 1, 1),
            ("at.x", false, 2, 0),
            ("at.y", false, 1, 0),
        ];
        assert_eq!(told, expected);
        assert!(leaves(&schema[..6]).is_err() && leaves(&[]).is_err() && leaves(&schema[..1]).is_err());
    }
}
