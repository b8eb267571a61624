//! The values of some rows of a column.

use super::footer::{Chunk, Leaf};
use super::packing::Packing;
use super::pages::{Mark, Pages, Sort};
use super::values::{Dictionary, numbers, texts};
use super::{Parquet, Reason};
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

/// Values of rows that follow one another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Piece<'a> {
    /// Little-endian.
    Numbers(&'a [u8]),
    Texts(&'a [&'a [u8]]),
    /// The row with this number has none.
    Missing(u64),
}

type Take<'a> = &'a mut dyn FnMut(Piece) -> Result<(), Reason>;

impl Parquet {
    /// Hands the values of the rows `rows`, which ascend, to `take`; of lists those of each row, which are `width`.
    ///
    /// # Errors
    /// What is wrong with them, or what `take` says.
    pub fn read(&self, leaf: usize, rows: &[Range<u64>], width: u64, take: Take) -> Result<(), Reason> {
        let (at, leaf) = (leaf, &self.leaves[leaf]);
        let named = |reason: Reason| format!("column {}: {reason}", leaf.name);
        let mut file = File::open(&self.path).map_err(|e| e.to_string())?;
        let mut first = 0;
        for (number, group) in self.groups.iter().enumerate() {
            let here = first..first + group.rows;
            let within: Vec<Range<u64>> =
                rows.iter().map(|r| r.start.max(here.start)..r.end.min(here.end)).filter(|r| r.start < r.end).collect();
            first = here.end;
            if within.is_empty() {
                continue;
            }
            let chunk = &group.chunks[at];
            let packing = chunk.packing.or_else(Packing::of).map_err(named)?;
            self.check_size(leaf, chunk.values, leaf.size.max(1))?;
            let whole = !leaf.list || within[..] == [here.clone()];
            let marks = if whole { None } else { Some(self.marks((number, at), &mut file, chunk, packing, width)?) };
            let reader = Reader { file: &mut file, leaf, chunk, packing, first: here.start };
            let done = match leaf.list {
                false => reader.flat(&within, take),
                true => reader.lists(&within, width, marks.as_deref().map_or(&[], Vec::as_slice), take),
            };
            done.map_err(named)?;
        }
        Ok(())
    }

    /// Where the pages of a column of lists begin.
    fn marks(
        &self,
        which: (usize, usize),
        file: &mut File,
        chunk: &Chunk,
        packing: Packing,
        width: u64,
    ) -> Result<Arc<Vec<Mark>>, Reason> {
        let known = || self.marks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(marks) = known().get(&which) {
            return Ok(marks.clone());
        }
        let leaf = &self.leaves[which.1];
        let reader = Reader { file, leaf, chunk, packing, first: 0 };
        let marks = Arc::new(reader.marks(width).map_err(|reason| format!("column {}: {reason}", leaf.name))?);
        known().insert(which, marks.clone());
        Ok(marks)
    }
}

/// A column in a group of rows.
struct Reader<'a> {
    file: &'a mut File,
    leaf: &'a Leaf,
    chunk: &'a Chunk,
    packing: Packing,
    /// The first row of the group.
    first: u64,
}

/// More values than the head of the file tells.
fn check_left(values: usize, left: u64) -> Result<u64, Reason> {
    left.checked_sub(values as u64).ok_or_else(|| "a page is broken: it has more values than its column".into())
}

impl Reader<'_> {
    fn dictionary(&mut self) -> Result<Option<Dictionary>, Reason> {
        let mut pages = Pages::of(self.file, self.chunk);
        match pages.next()? {
            Some(page) if page.sort == Sort::Dictionary => {
                let content = pages.content(&page, self.leaf, self.packing)?;
                Dictionary::of(self.leaf, &content.values, page.values).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn flat(mut self, wanted: &[Range<u64>], take: Take) -> Result<(), Reason> {
        let dictionary = self.dictionary()?;
        let Self { file, leaf, chunk, packing, first } = self;
        let mut pages = Pages::of(file, chunk);
        let (mut row, mut left, mut next) = (first, chunk.values, 0);
        while next < wanted.len() {
            let Some(page) = pages.next()? else { break };
            if !matches!(page.sort, Sort::Data | Sort::Data2) {
                continue;
            }
            left = check_left(page.values, left)?;
            let here = row..row + page.values as u64;
            row = here.end;
            if wanted[next].start >= here.end {
                continue;
            }
            let content = pages.content(&page, leaf, packing)?;
            let there = |at: usize| content.definition.get(at).is_none_or(|&level| level == leaf.definition);
            let count = (0..page.values).filter(|&at| there(at)).count();
            let (mut room, mut of_texts, mut of_numbers) = (Vec::new(), Vec::new(), None);
            match leaf.size {
                0 => of_texts = texts(page.encoding, &content.values, count, dictionary.as_ref(), &mut room)?,
                _ => of_numbers = Some(numbers(leaf, page.encoding, &content.values, count, dictionary.as_ref())?),
            }
            let piece = |from: usize, to: usize| match &of_numbers {
                Some(bytes) => Piece::Numbers(&bytes[from * leaf.size..to * leaf.size]),
                None => Piece::Texts(&of_texts[from..to]),
            };
            // The row that is looked at, and where its value is.
            let (mut of, mut at) = (here.start, 0);
            while let Some(some) = wanted.get(next).filter(|some| some.start < here.end) {
                let (from, to) = (some.start.max(here.start), some.end.min(here.end));
                if content.definition.is_empty() {
                    take(piece((from - here.start) as usize, (to - here.start) as usize))?;
                }
                while of < to && !content.definition.is_empty() {
                    let found = there((of - here.start) as usize);
                    if of >= from {
                        take(if found { piece(at, at + 1) } else { Piece::Missing(of) })?;
                    }
                    at += usize::from(found);
                    of += 1;
                }
                if some.end > here.end {
                    // It goes on in the page behind.
                    break;
                }
                next += 1;
            }
        }
        match next < wanted.len() {
            true => Err(format!("its pages end before row {row} (0-based)")),
            false => Ok(()),
        }
    }

    /// Lists, of which all have `width` values. With marks it begins with the page that has the first row.
    fn lists(mut self, wanted: &[Range<u64>], width: u64, marks: &[Mark], take: Take) -> Result<(), Reason> {
        let dictionary = self.dictionary()?;
        let Self { file, leaf, chunk, packing, first } = self;
        let mut pages = Pages::of(file, chunk);
        let (mut walk, mut left) = (Walk { row: first, within: 0, width }, chunk.values);
        let start = wanted.first().map_or(0, |some| some.start);
        let before = |mark: &&Mark| (first + mark.row, mark.within) <= (start, 0);
        if let Some(mark) = marks.iter().rev().find(before) {
            pages.seek(mark.at);
            (walk.row, walk.within) = (first + mark.row, mark.within);
        }
        let (mut next, mut active) = (0, false);
        while next < wanted.len() {
            let Some(page) = pages.next()? else { break };
            if !matches!(page.sort, Sort::Data | Sort::Data2) {
                continue;
            }
            left = check_left(page.values, left)?;
            let content = pages.content(&page, leaf, packing)?;
            // The parts of the page that are wanted.
            let (mut parts, mut from) = (Vec::new(), 0);
            for at in 0..page.values {
                let begins = walk.step(&content.repetition, &content.definition, leaf, at)?;
                if begins {
                    while wanted.get(next).is_some_and(|some| some.end <= walk.row) {
                        next += 1;
                    }
                    let is = wanted.get(next).is_some_and(|some| some.start <= walk.row);
                    if active && !is {
                        parts.push(from..at);
                    }
                    if is && !active {
                        from = at;
                    }
                    active = is;
                }
            }
            if active {
                parts.push(from..page.values);
            }
            if !parts.is_empty() {
                let bytes = numbers(leaf, page.encoding, &content.values, page.values, dictionary.as_ref())?;
                for part in parts {
                    take(Piece::Numbers(&bytes[part.start * leaf.size..part.end * leaf.size]))?;
                }
            }
        }
        let last = wanted.last().map_or(0, |some| some.end);
        match walk.row + u64::from(walk.within == width) >= last {
            true => Ok(()),
            false => Err(format!("it ends in row {} (0-based), value {}", walk.row, walk.within)),
        }
    }

    /// Where the pages of lists begin, rows counted from the first of the group.
    fn marks(self, width: u64) -> Result<Vec<Mark>, Reason> {
        let Self { file, leaf, chunk, packing, .. } = self;
        let mut pages = Pages::of(file, chunk);
        let (mut walk, mut left, mut marks) = (Walk { row: 0, within: 0, width }, chunk.values, Vec::new());
        while let Some(page) = pages.next()? {
            if !matches!(page.sort, Sort::Data | Sort::Data2) || page.values == 0 {
                continue;
            }
            left = check_left(page.values, left)?;
            if let Some(rows) = page.rows {
                // Pages of the second version have whole rows.
                if rows.checked_mul(width) != Some(page.values as u64) {
                    return Err(format!("a page of {rows} rows has {} values, not {width} in each", page.values));
                }
                marks.push(Mark { at: page.at, row: walk.row, within: 0 });
                walk.row += rows;
                continue;
            }
            let content = pages.content(&page, leaf, packing)?;
            for at in 0..page.values {
                walk.step(&content.repetition, &content.definition, leaf, at)?;
                if at == 0 {
                    marks.push(Mark { at: page.at, row: walk.row, within: walk.within - 1 });
                }
            }
        }
        Ok(marks)
    }
}

/// Where one is in lists that all have `width` values.
struct Walk {
    row: u64,
    /// Values of this row that were seen.
    within: u64,
    width: u64,
}

impl Walk {
    /// Goes on to value `at` of a page, and answers whether a row begins with it.
    fn step(&mut self, repetition: &[u8], definition: &[u8], leaf: &Leaf, at: usize) -> Result<bool, Reason> {
        let begins = repetition.get(at).is_none_or(|&level| level == 0);
        if begins && self.within > 0 {
            if self.within != self.width {
                return Err(self.wrong(self.within));
            }
            (self.row, self.within) = (self.row + 1, 0);
        } else if !begins && (self.within == 0 || self.within == self.width) {
            return Err(self.wrong(self.within + 1));
        }
        if definition.get(at).is_some_and(|&level| level != leaf.definition) {
            return Err(format!("row {} (0-based): expected {} values, found a gap", self.row, self.width));
        }
        self.within += 1;
        Ok(begins)
    }

    fn wrong(&self, found: u64) -> Reason {
        let more = if found > self.width { " or more" } else { "" };
        format!("row {} (0-based): expected {} values, found {found}{more}", self.row, self.width)
    }
}
