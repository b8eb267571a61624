//! The pages of a column, one after the other.

use super::Reason;
use super::footer::{Chunk, Leaf};
use super::levels::levels;
use super::packing::Packing;
use super::thrift::{Compact, Kind as Field};
use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Bytes that are read at a time, where a page has no more.
const AT_A_TIME: u64 = 1 << 20;

/// Bytes of the head of a page, at most. It may have the least and the largest of its values, which may be text.
const LONGEST_HEAD: u64 = 1 << 20;

/// What is read of it at first.
const SHORT_HEAD: u64 = 4 << 10;

/// A page of a list: its place in the file, the row that it begins in, and how many values of that stand before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub at: u64,
    pub row: u64,
    pub within: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Data,
    /// With levels that are not packed with the values.
    Data2,
    Dictionary,
    Other,
}

/// The head of a page.
#[derive(Clone, Debug)]
pub struct Page {
    pub sort: Sort,
    /// Where the head begins, and where what follows it does.
    pub at: u64,
    body: u64,
    stored: u64,
    size: usize,
    sum: Option<u32>,
    pub values: usize,
    pub encoding: i64,
    /// How levels are written, of pages of the first version.
    levels: [i64; 2],
    /// Bytes of the levels, of pages of the second, and whether values are packed.
    definition: usize,
    repetition: usize,
    packed: bool,
    /// Rows that begin in it, which pages of the second version tell.
    pub rows: Option<u64>,
}

/// The content of a page.
pub struct Content<'a> {
    pub repetition: Vec<u8>,
    /// Empty where all values are there.
    pub definition: Vec<u8>,
    pub values: Cow<'a, [u8]>,
}

/// The pages of a column in a group of rows.
pub struct Pages<'f> {
    file: &'f mut File,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    start: u64,
}

impl<'f> Pages<'f> {
    pub fn of(file: &'f mut File, chunk: &Chunk) -> Self {
        Self { file, at: chunk.at, end: chunk.at + chunk.bytes, buffer: Vec::new(), start: chunk.at }
    }

    /// Goes on with the page that begins at `at`.
    pub fn seek(&mut self, at: u64) {
        self.at = at;
    }

    /// `count` bytes from `at` on, which are within the column.
    fn get(&mut self, at: u64, count: u64) -> Result<&[u8], Reason> {
        let end = at.checked_add(count).filter(|&end| end <= self.end);
        let end = end.ok_or("a page is broken: it is longer than its column")?;
        if at < self.start || end > self.start + self.buffer.len() as u64 {
            let wanted = count.max(AT_A_TIME).min(self.end - at);
            self.buffer.resize(usize::try_from(wanted).map_err(|e| e.to_string())?, 0);
            self.start = at;
            let read = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.read_exact(&mut self.buffer));
            if let Err(e) = read {
                self.buffer.clear();
                return Err(e.to_string());
            }
        }
        let from = (at - self.start) as usize;
        Ok(&self.buffer[from..from + count as usize])
    }

    /// The next page; nothing behind the last.
    pub fn next(&mut self) -> Result<Option<Page>, Reason> {
        let left = self.end - self.at.min(self.end);
        if left == 0 {
            return Ok(None);
        }
        let at = self.at;
        let page = match head(self.get(at, left.min(SHORT_HEAD))?) {
            Err(_) if left > SHORT_HEAD => head(self.get(at, left.min(LONGEST_HEAD))?),
            other => other,
        };
        let (mut page, read) = page?;
        (page.at, page.body) = (at, at + read as u64);
        self.at = page
            .body
            .checked_add(page.stored)
            .filter(|&end| end <= self.end)
            .ok_or("a page is broken: it is longer than its column")?;
        Ok(Some(page))
    }

    /// What is in a page.
    pub fn content(&mut self, page: &Page, leaf: &Leaf, packing: Packing) -> Result<Content<'_>, Reason> {
        let raw = self.get(page.body, page.stored)?;
        if page.sum.is_some_and(|sum| crc32fast::hash(raw) != sum) {
            return Err("a page does not have the checksum that its head has of it".into());
        }
        let none = |values| Content { repetition: Vec::new(), definition: Vec::new(), values };
        if page.sort == Sort::Dictionary {
            return packing.unpacked(raw, page.size).map(none);
        }
        let count = page.values;
        let (repetition, definition, values) = if page.sort == Sort::Data2 {
            let front = page.repetition.checked_add(page.definition).filter(|&front| front <= page.size);
            let front = front.ok_or("a page is broken: its levels are longer than it")?;
            let (front, packed) = raw.split_at_checked(front).ok_or("a page is broken: its levels end early")?;
            let (repetition, definition) = front.split_at(page.repetition);
            let packing = if page.packed { packing } else { Packing::None };
            (Cow::from(repetition), Cow::from(definition), packing.unpacked(packed, page.size - front.len())?)
        } else {
            let whole = packing.unpacked(raw, page.size)?;
            let mut at = 0;
            let mut part = |most: u8, code: i64| {
                if most == 0 {
                    return Ok(at..at);
                }
                if code != 3 {
                    return Err("its levels are written as packed bits, which is not read".to_owned());
                }
                let length = whole.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
                let from = at + 4;
                let to = length.map(|length| from + length as usize).filter(|&to| to <= whole.len());
                at = to.ok_or("a page is broken: its levels end early")?;
                Ok(from..at)
            };
            let (repetition, definition) =
                (part(leaf.repetition, page.levels[1])?, part(leaf.definition, page.levels[0])?);
            let levels = (whole[repetition].to_vec(), whole[definition].to_vec());
            let values = match whole {
                Cow::Borrowed(whole) => Cow::Borrowed(&whole[at..]),
                Cow::Owned(mut whole) => {
                    whole.drain(..at);
                    Cow::Owned(whole)
                }
            };
            (levels.0.into(), levels.1.into(), values)
        };
        let of = |bytes: &[u8], most: u8| if most == 0 { Ok(Vec::new()) } else { levels(bytes, most, count) };
        let repetition = of(&repetition, leaf.repetition)?;
        let mut definition = of(&definition, leaf.definition)?;
        if definition.iter().all(|&level| level == leaf.definition) {
            definition = Vec::new();
        }
        Ok(Content { repetition, definition, values })
    }
}

/// The head of a page, and how many bytes it has.
fn head(bytes: &[u8]) -> Result<(Page, usize), Reason> {
    let mut page = Page {
        sort: Sort::Other,
        at: 0,
        body: 0,
        stored: 0,
        size: 0,
        sum: None,
        values: 0,
        encoding: 0,
        levels: [3; 2],
        definition: 0,
        repetition: 0,
        packed: true,
        rows: None,
    };
    let whole =
        |value: i64| usize::try_from(value).map_err(|_| "a page is broken: a size of it is negative".to_owned());
    let mut compact = Compact::new(bytes);
    compact.fields(|c, field, kind| {
        match (field, kind) {
            (1, Field::Integer) => {
                page.sort = match c.integer()? {
                    0 => Sort::Data,
                    2 => Sort::Dictionary,
                    3 => Sort::Data2,
                    _ => Sort::Other,
                };
            }
            (2, Field::Integer) => page.size = whole(c.integer()?)?,
            (3, Field::Integer) => page.stored = whole(c.integer()?)? as u64,
            (4, Field::Integer) => page.sum = Some(c.integer()? as u32),
            (5, Field::Struct) => c.fields(|c, field, kind| {
                match (field, kind) {
                    (1, Field::Integer) => page.values = whole(c.integer()?)?,
                    (2, Field::Integer) => page.encoding = c.integer()?,
                    (3 | 4, Field::Integer) => page.levels[field as usize - 3] = c.integer()?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?,
            (7, Field::Struct) => c.fields(|c, field, kind| {
                match (field, kind) {
                    (1, Field::Integer) => page.values = whole(c.integer()?)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?,
            (8, Field::Struct) => c.fields(|c, field, kind| {
                match (field, kind) {
                    (1, Field::Integer) => page.values = whole(c.integer()?)?,
                    (3, Field::Integer) => page.rows = Some(whole(c.integer()?)? as u64),
                    (4, Field::Integer) => page.encoding = c.integer()?,
                    (5, Field::Integer) => page.definition = whole(c.integer()?)?,
                    (6, Field::Integer) => page.repetition = whole(c.integer()?)?,
                    (7, Field::Flag(packed)) => page.packed = packed,
                    _ => return Ok(false),
                }
                Ok(true)
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((page, compact.read()))
}
