//! How a text file is written: separator, byte order mark, packing; and the bounds within which it is read.

use super::super::classes::is_comment;
use super::super::file;
use crate::error::{Error, Result};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::rc::Rc;

/// What a file may ask of memory and time. A file beyond a limit ends in an error that names it.
#[derive(Clone, Debug)]
pub(in crate::data) struct Limits {
    /// Bytes of a line, quoted line ends included.
    pub line: u64,
    /// Bytes of the text, unpacked.
    pub text: u64,
    /// Features in all.
    pub values: usize,
    pub bags: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // A vector that grows holds three times its values for a moment.
        let fits = crate::bounded::available().map_or(usize::MAX, |bytes| (bytes / 12) as usize);
        Self { line: 16 << 20, text: 16 << 30, values: fits.min(1 << 30), bags: 10_000_000 }
    }
}

/// Separator of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum Separator {
    /// Spaces and tabs, as many as there are.
    WhiteSpace,
    Char(u8),
}

impl Separator {
    /// Of a line: tabs before semicolons before commas, as decimal commas occur beside the first two and names with
    /// spaces beside all. What stands in quotes does not count.
    fn of(line: &[u8]) -> Self {
        let mut quoted = false;
        let mut counts = [(b'\t', 0), (b';', 0), (b',', 0)];
        for &byte in line {
            quoted ^= byte == b'"';
            if let Some((_, count)) = counts.iter_mut().find(|(c, _)| *c == byte && !quoted) {
                *count += 1;
            }
        }
        // A row has three fields or more.
        let found = [2, 1].into_iter().find_map(|least| counts.iter().find(|(_, count)| *count >= least));
        found.map_or(Self::WhiteSpace, |(c, _)| Self::Char(*c))
    }

    /// True where a comma within a number can be nothing but its decimal point.
    pub fn leaves_commas(self) -> bool {
        self != Self::Char(b',')
    }
}

/// The lines in front, the separator, and the reader of the records.
pub(in crate::data) struct Opened<R: Read> {
    pub separator: Separator,
    pub csv: csv::Reader<Bounded<io::Chain<io::Cursor<Vec<u8>>, R>>>,
    budget: Rc<Cell<u64>>,
    limits: Limits,
    /// Line ends that were given and not yet passed.
    ends: Rc<RefCell<VecDeque<u64>>>,
    passed: u64,
    /// Line of the record that was read last, from 1. The csv reader's own count is off behind lines it skips.
    pub line: u64,
}

impl<R: BufRead> Opened<R> {
    /// Looks at the first line that is no comment.
    pub fn new(path: &Path, mut reader: R, limits: &Limits) -> Result<Self> {
        let mut head = Vec::new();
        let mut passed = 0;
        let separator = loop {
            let start = head.len();
            let left = (limits.line + 1).saturating_sub(start as u64);
            let read = reader.by_ref().take(left).read_until(b'\n', &mut head).map_err(|e| file::reading(path, e))?;
            if read as u64 == left {
                return Err(Error::format(path, too_long(limits.line)));
            }
            if start == 0 {
                if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
                    return Err(Error::format(path, "expected UTF-8 text, found UTF-16; save the file as UTF-8"));
                }
                if head.starts_with("\u{feff}".as_bytes()) {
                    head.drain(..3);
                }
            }
            let line = head[start.min(head.len())..].trim_ascii();
            if let [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', named] = *line {
                // A line of Excel's, for itself.
                head.truncate(start);
                passed = 1;
                break Separator::Char(named);
            }
            if read == 0 || !(line.is_empty() || is_comment(line)) {
                break Separator::of(line);
            }
        };
        let budget = Rc::new(Cell::new(0));
        let ends = Rc::new(RefCell::new(VecDeque::new()));
        let white = separator == Separator::WhiteSpace;
        let source = io::Cursor::new(head).chain(reader);
        let (allowed, limits) = (budget.clone(), limits.clone());
        let bounded = Bounded { source, given: 0, allowed, ends: ends.clone(), limits: limits.clone(), white };
        let delimiter = if let Separator::Char(c) = separator { c } else { b' ' };
        let csv = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .buffer_capacity(BUFFER)
            .from_reader(bounded);
        Ok(Self { separator, csv, budget, limits, ends, passed, line: 0 })
    }

    /// The next record that is no comment; false at the end. Fields are trimmed.
    pub fn next(&mut self, path: &Path, record: &mut csv::ByteRecord) -> Result<bool> {
        while self.any(path, record)? {
            if !record.get(0).is_some_and(is_comment) {
                return Ok(true);
            }
            // A quote that a comment opens would take the rows behind it.
            if record.as_slice().contains(&b'\n') {
                let message = format!("line {}: a comment opens a quote that runs over several lines", self.line);
                return Err(Error::format(path, message));
            }
        }
        Ok(false)
    }

    /// The next record, comments too.
    fn any(&mut self, path: &Path, record: &mut csv::ByteRecord) -> Result<bool> {
        let begun = self.csv.position().byte();
        self.budget.set(begun + self.limits.line + BUFFER as u64);
        let more = self.csv.read_byte_record(record).map_err(|e| match e.into_kind() {
            csv::ErrorKind::Io(e) => file::reading(path, e),
            other => Error::format(path, format!("{other:?}")),
        })?;
        if more {
            let end = self.csv.position().byte();
            let mut last = None;
            let mut ends = self.ends.borrow_mut();
            while ends.front().is_some_and(|&at| at < end) {
                last = ends.pop_front();
                self.passed += 1;
            }
            let within = record.as_slice().iter().filter(|b| **b == b'\n').count() as u64;
            let own = u64::from(last.is_some_and(|at| at + 1 == end));
            self.line = (1 + self.passed).saturating_sub(within + own);
            record.trim();
        }
        Ok(more)
    }
}

/// Bytes that the csv reader takes at once.
const BUFFER: usize = 1 << 16;

fn too_long(limit: u64) -> String {
    format!("a line is longer than {limit} bytes, the limit; is a quote left open, or is this no text?")
}

/// Gives no more bytes than the line being read may have, and the text in all.
pub(in crate::data) struct Bounded<R> {
    source: R,
    given: u64,
    allowed: Rc<Cell<u64>>,
    ends: Rc<RefCell<VecDeque<u64>>>,
    limits: Limits,
    /// Tabs are spaces.
    white: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let refused = |message: String| Err(io::Error::new(io::ErrorKind::InvalidData, message));
        let read = self.source.read(buffer)?;
        let ends = (self.given..).zip(&buffer[..read]).filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        self.ends.borrow_mut().extend(ends);
        self.given += read as u64;
        if self.given > self.limits.text {
            let limit = self.limits.text;
            return refused(format!("the text is longer than {limit} bytes, the limit; use a folder of npy files"));
        }
        if self.given > self.allowed.get() {
            return refused(too_long(self.limits.line));
        }
        if self.white {
            buffer[..read].iter_mut().filter(|b| **b == b'\t').for_each(|b| *b = b' ');
        }
        Ok(read)
    }
}
