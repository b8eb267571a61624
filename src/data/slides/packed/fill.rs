//! The slides of a packed file as it is written: read a few at a time.

use super::super::format::{Head as SlideHead, Reason};
use super::super::gather::{Gathered, Known};
use super::super::{about, read};
use super::block::{BeyondHalf, Block};
use super::format::Header;
use super::index::{Description, Entry, Index, Rounding, SourceFile};
use super::part::Part;
use super::write::{Packed, Progress};
use crate::data::{OnBad, Opening};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Bytes of features that are read at a time, unless one slide has more.
const AT_A_TIME: u64 = 128 << 20;

/// What has been written of a file.
pub struct Written<'a> {
    pub part: Part,
    header: Header,
    entries: Vec<Entry>,
    found: usize,
    done: Progress,
    watch: &'a mut dyn FnMut(Progress),
}

impl<'a> Written<'a> {
    /// A file that `slides` slides are to be in.
    pub fn new(part: Part, header: Header, slides: usize, watch: &'a mut dyn FnMut(Progress)) -> Self {
        let done = Progress { slides: 0, of: slides, bytes: 0 };
        Self { part, header, entries: Vec::new(), found: 0, done, watch }
    }

    /// Refuses, before the work, what the disk of `path` has no room for.
    ///
    /// # Errors
    /// [`Error::Limit`] with both sizes.
    pub fn check_space(&self, path: &Path, rows: u64) -> Result<()> {
        let bytes = rows.saturating_mul(self.bytes_of_row());
        let wanted = bytes.saturating_sub(self.part.bytes_found());
        match free(path) {
            Some(possible) if wanted > possible => {
                let what = format!("the packed file {}", path.display());
                Err(Error::Limit { limit: "space that is free on the disk", what, wanted, possible })
            }
            _ => Ok(()),
        }
    }

    fn bytes_of_row(&self) -> u64 {
        self.header.stride() * self.header.size()
    }

    /// Writes a slide.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add(&mut self, block: &Block) -> Result<()> {
        self.entries.push(self.part.add(block)?);
        self.step(block.head.rows);
        Ok(())
    }

    /// Keeps a slide that an earlier call packed.
    fn keep(&mut self) {
        if let Some(entry) = self.part.keep() {
            self.found += 1;
            self.step(entry.rows);
            self.entries.push(entry);
        }
    }

    /// Tells that a slide of so many rows, 0 for one that is not written, is done with.
    fn step(&mut self, rows: u64) {
        self.done.slides += 1;
        self.done.bytes = rows * self.bytes_of_row();
        (self.watch)(self.done);
    }

    /// Completes the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self, mut index: Index, remarks: Vec<String>) -> Result<Packed> {
        let Self { part, header, entries, found, .. } = self;
        let rounding = Rounding::of_all(&entries);
        (index.bagrad, index.slides) = (env!("CARGO_PKG_VERSION").into(), entries);
        Ok(Packed {
            slides: index.slides.len(),
            instances: index.slides.iter().map(|slide| slide.rows as usize).sum(),
            width: header.width as usize,
            half: header.half,
            bytes: part.finish(&index)?,
            found,
            rounding,
            remarks,
        })
    }
}

/// Bytes that are free on the disk of a file, where the system tells.
#[cfg(unix)]
fn free(path: &Path) -> Option<u64> {
    let there = rustix::fs::statvfs(path).ok()?;
    there.f_bavail.checked_mul(there.f_frsize)
}

#[cfg(not(unix))]
fn free(_: &Path) -> Option<u64> {
    None
}

/// Slides, and what has become of them.
pub struct Filling<'a> {
    gathered: &'a Gathered,
    known: &'a [Known],
    described: Vec<Option<Description>>,
    header: Header,
    on_bad: OnBad,
    /// Slides that cannot be used.
    pub bad: Vec<(PathBuf, Reason)>,
    /// Slides that float16 cannot hold.
    pub beyond: Vec<(PathBuf, Reason)>,
    /// Places of the slides that are in the file.
    pub good: Vec<usize>,
}

/// A slide that was read, or why not.
type Outcome = Result<Result<Block, BeyondHalf>, Reason>;

impl<'a> Filling<'a> {
    /// Of these slides none has been packed.
    pub fn new(gathered: &'a Gathered, known: &'a [Known], opening: &Opening, header: Header) -> Self {
        let described = known.par_iter().map(|k| describe(k, gathered)).collect();
        let (bad, beyond, good) = Default::default();
        Self { gathered, known, described, header, on_bad: opening.on_bad, bad, beyond, good }
    }

    /// Packs the slides.
    ///
    /// # Errors
    /// [`Error::Io`] of the file. Slides that cannot be used are none here.
    pub fn run(&mut self, written: &mut Written<'_>) -> Result<()> {
        let mut next = 0;
        // What an earlier call packed of the same files stays.
        while let Some(found) = written.part.next_found().filter(|_| next < self.known.len()) {
            if self.is_same(next, found) && !self.is_lost() {
                written.keep();
                self.good.push(next);
            } else {
                let read = self.read(next);
                self.take(next, read, written)?;
            }
            next += 1;
        }
        let mut batch = self.read_batch(next);
        while !batch.is_empty() {
            next += batch.len();
            for (at, outcome) in (next - batch.len()..).zip(batch) {
                self.take(at, outcome, written)?;
            }
            batch = self.read_batch(next);
        }
        Ok(())
    }

    /// Whether nothing comes of more slides: they are read to list all that is wrong.
    fn is_lost(&self) -> bool {
        !self.beyond.is_empty() || (!self.bad.is_empty() && self.on_bad == OnBad::Fail)
    }

    fn is_same(&self, at: usize, found: &Entry) -> bool {
        let rounding = found.description.rounding;
        let same = |wanted: &Description| found.description == Description { rounding, ..wanted.clone() };
        self.described[at].as_ref().is_some_and(|wanted| !wanted.files.is_empty() && same(wanted))
    }

    fn read(&self, at: usize) -> Outcome {
        let slide = read(&self.known[at], self.gathered.cohort.as_ref())?;
        let description = self.described[at].clone().ok_or("the system does not tell its size")?;
        Ok(Block::new(&self.header, description, slide))
    }

    /// As many slides from the `first` on as are read at a time.
    fn read_batch(&self, first: usize) -> Vec<Outcome> {
        let row = self.header.stride() * self.header.size();
        let bytes = |k: &Known| k.head.as_ref().map_or(0, |h| (h.rows as u64).saturating_mul(row));
        let mut left = AT_A_TIME;
        let fits = |k: &&Known| {
            let (whole, of) = (left == AT_A_TIME, bytes(k));
            let fits = whole || of <= left;
            left = left.saturating_sub(of.max(1));
            fits
        };
        let count = self.known[first..].iter().take(2 * rayon::current_num_threads()).take_while(fits).count();
        (first..first + count).into_par_iter().map(|at| self.read(at)).collect()
    }

    fn take(&mut self, at: usize, outcome: Outcome, written: &mut Written<'_>) -> Result<()> {
        let path = || self.known[at].entry.path.clone();
        match outcome {
            Ok(Ok(block)) if !self.is_lost() => {
                written.add(&block)?;
                self.good.push(at);
                return Ok(());
            }
            Ok(Ok(_)) => {}
            Ok(Err(BeyondHalf(reason))) => self.beyond.push((path(), reason)),
            Err(reason) => self.bad.push((path(), reason)),
        }
        written.step(0);
        Ok(())
    }
}

/// What is said of a slide in the packed file; `None` for one that cannot be used, or that the system tells nothing of.
fn describe(known: &Known, gathered: &Gathered) -> Option<Description> {
    let head: &SlideHead = known.head.as_ref().ok()?;
    if let Some(cohort) = &gathered.cohort {
        return Some(cohort.slide(&known.entry.stem)?.description.clone());
    }
    let about = about::completed(head, &known.entry);
    Some(Description {
        name: known.entry.stem.clone(),
        files: known.entry.files().map(origin).collect::<Option<_>>()?,
        number: Some(head.number.name()),
        unit: head.coords.map(|unit| Description::unit_name(unit).into()),
        patch: about.patch,
        magnification: about.magnification,
        size: about.slide,
        encoder: about.encoder,
        of_slide: head.of_slide,
        rounding: None,
    })
}

/// What tells a file from one that has changed.
fn origin(path: &Path) -> Option<SourceFile> {
    let file = std::fs::metadata(path).ok()?;
    let modified = file.modified().ok().and_then(|at| match at.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).ok(),
        Err(before) => i64::try_from(before.duration().as_nanos()).ok().map(|n| -n),
    });
    Some(SourceFile { name: path.file_name()?.to_string_lossy().into_owned(), bytes: file.len(), modified })
}
