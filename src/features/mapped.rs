//! Features in a file whose pages the system reads when they are wanted.

use super::{Features, any};
use crate::error::{Error, Result};
use crate::standardise::Standardiser;
use half::f16;
use memmap2::Mmap;
use rayon::prelude::*;
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Bytes from which on it is worth while to ask the system for them.
#[cfg(unix)]
const EXPECTED: usize = 1 << 20;

/// A file that is mapped into memory.
pub(crate) struct MappedFile {
    map: Mmap,
    file: File,
    /// Length and time of modification when it was mapped.
    seen: (u64, Option<SystemTime>),
    path: Box<Path>,
}

impl MappedFile {
    /// Maps a file, whatever is in it.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be mapped.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |e| Error::io(path, e);
        let file = File::open(path).map_err(io)?;
        // SAFETY: the file is opened for reading; what others do to it meanwhile is documented at `Mapped`.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let seen = seen(&file).map_err(io)?;
        Ok(Self { map, file, seen, path: path.into() })
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Tells the system that these bytes are wanted next, so that it reads them in long pieces and not page by page.
    pub fn expect(&self, bytes: Range<usize>) {
        #[cfg(unix)]
        if bytes.len() >= EXPECTED {
            // It is advice: where it is not taken, pages come one by one.
            let _ = self.map.advise_range(memmap2::Advice::WillNeed, bytes.start, bytes.len());
        }
        #[cfg(not(unix))]
        let _ = bytes;
    }

    /// Refuses a file whose length or time of modification is not what it was when it was mapped.
    ///
    /// # Errors
    /// [`Error::Format`] that says what changed, [`Error::Io`] when the file cannot be asked.
    pub fn check_unchanged(&self) -> Result<()> {
        let now = seen(&self.file).map_err(|e| Error::io(&*self.path, e))?;
        if now == self.seen {
            return Ok(());
        }
        let what = match now.0 == self.seen.0 {
            true => "it was written to".to_string(),
            false => format!("it had {} bytes and has {}", self.seen.0, now.0),
        };
        let message = format!(
            "the file changed while it was in use ({what}); leave it alone until the end, or read it \
                               into memory (--cache host)"
        );
        Err(Error::format(&*self.path, message))
    }
}

/// Rows that stand one after the other in the file.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Number of its first row among all.
    first: usize,
    /// The byte where that begins.
    at: usize,
}

/// Values of a file that is mapped into memory: the system reads pages as they are touched, and drops them again
/// when memory is short. A file that was changed or shortened meanwhile is noticed before and after each read of a batch
/// by its length and its time of modification, and is an error; one that is shortened in the moment of the read still
/// ends the program.
#[derive(Clone)]
pub struct Mapped {
    source: Arc<MappedFile>,
    runs: Arc<[Run]>,
    rows: usize,
    width: usize,
    /// Values from a row to the next in the file.
    stride: usize,
    half: bool,
    standardiser: Option<Arc<Standardiser>>,
}

impl Mapped {
    /// Maps `[rows, width]` little-endian values of a file from byte `offset` on, and looks through them once.
    /// `None` when they cannot be used where they lie: out of alignment, or on a machine of the other byte order.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be mapped, [`Error::Format`] when it is too short or a value is not
    /// finite.
    pub fn open(path: &Path, offset: usize, [rows, width]: [usize; 2], half: bool) -> Result<Option<Self>> {
        let source = MappedFile::open(path)?;
        let Some(mapped) = Self::of(source.into(), &[(offset, rows)], [width, width], half)? else { return Ok(None) };
        mapped.check_unchanged()?;
        let bad = mapped.first_not_finite();
        mapped.check_unchanged()?;
        match bad {
            None => Ok(Some(mapped)),
            Some(i) => Err(Error::not_finite(path, i, width, mapped.get(i))),
        }
    }

    /// Rows of `width` values, `stride` from one to the next, that stand in `runs`: the byte where each begins and how
    /// many rows it has. Values are not looked at; `None` as for [`Mapped::open`].
    ///
    /// # Errors
    /// [`Error::Format`] when the file is too short.
    pub(crate) fn of(
        source: Arc<MappedFile>,
        runs: &[(usize, usize)],
        [width, stride]: [usize; 2],
        half: bool,
    ) -> Result<Option<Self>> {
        let (size, there) = (if half { 2 } else { 4 }, source.bytes().len());
        let mut rows = 0usize;
        let mut placed = Vec::with_capacity(runs.len());
        for &(at, count) in runs {
            let bytes = count.checked_mul(stride).and_then(|n| n.checked_mul(size)).and_then(|n| n.checked_add(at));
            let all = rows.checked_add(count);
            let (Some(end), true) = (all, bytes.is_some_and(|end| end <= there)) else {
                let message = format!("expected [{count}, {width}] values after {at} bytes, found {there}");
                return Err(Error::format(&*source.path, message));
            };
            if cfg!(target_endian = "big") || !(source.bytes().as_ptr() as usize + at).is_multiple_of(size) {
                return Ok(None);
            }
            placed.push(Run { first: rows, at });
            rows = end;
        }
        Ok(Some(Self { source, runs: placed.into(), rows, width, stride, half, standardiser: None }))
    }

    /// True when values are f16 where they lie, else f32.
    pub fn is_half(&self) -> bool {
        self.half
    }

    fn size(&self) -> usize {
        if self.half { 2 } else { 4 }
    }

    /// The run of a row, and the row behind its last.
    fn run_of(&self, row: usize) -> (Run, usize) {
        let after = self.runs.partition_point(|run| run.first <= row);
        (self.runs[after - 1], self.runs.get(after).map_or(self.rows, |next| next.first))
    }

    /// The bytes of values `range` as they lie, in as few pieces as there are.
    fn pieces(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        assert!(range.end <= self.len(), "values {range:?} of {}", self.len());
        let (mut at, size) = (range.start, self.size());
        std::iter::from_fn(move || {
            if at >= range.end {
                return None;
            }
            let (row, column) = (at / self.width, at % self.width);
            let (run, after) = self.run_of(row);
            let last = if self.stride == self.width { after } else { row + 1 };
            let end = (last * self.width).min(range.end);
            let start = run.at + ((row - run.first) * self.stride + column) * size;
            let bytes = start..start + (end - at) * size;
            self.source.expect(bytes.clone());
            at = end;
            Some(&self.source.bytes()[bytes])
        })
    }

    /// The bytes of `rows`, each with what stands between it and the next, where values are neither standardised nor at
    /// another stride than `stride`: as a device takes them.
    pub(crate) fn as_they_lie(&self, rows: Range<usize>, stride: usize) -> Option<impl Iterator<Item = &[u8]>> {
        assert!(rows.end <= self.rows, "rows {rows:?} of {}", self.rows);
        (self.standardiser.is_none() && self.stride == stride).then(|| {
            let (mut row, bytes) = (rows.start, stride * self.size());
            std::iter::from_fn(move || {
                if row >= rows.end {
                    return None;
                }
                let (run, after) = self.run_of(row);
                let (start, end) = (run.at + (row - run.first) * bytes, after.min(rows.end));
                let lying = start..start + (end - row) * bytes;
                self.source.expect(lying.clone());
                row = end;
                Some(&self.source.bytes()[lying])
            })
        })
    }

    /// Place of the first value that is not finite.
    pub(crate) fn first_not_finite(&self) -> Option<usize> {
        if self.standardiser.is_some() {
            return self.position(|x| !x.is_finite());
        }
        // Bits are looked at, many at a time: a pass over a file should take no longer than it is read.
        let bad = |row: &usize| {
            let bytes = self.pieces(row * self.width..(row + 1) * self.width).next().expect("a row has values");
            match self.half {
                true => any(bytemuck::cast_slice(bytes), |v: &f16| !v.is_finite()),
                false => any(bytemuck::cast_slice(bytes), |v: &f32| !v.is_finite()),
            }
        };
        let row = (0..self.rows).into_par_iter().with_min_len(64).position_first(|row| bad(&row))?;
        (row * self.width..self.len()).find(|&i| !self.get(i).is_finite())
    }

    /// Place of the first value, as it is read, for which `of` holds.
    pub(super) fn position(&self, of: impl Fn(f32) -> bool + Sync) -> Option<usize> {
        let any = |row: usize| {
            let bytes = self.pieces(row * self.width..(row + 1) * self.width).next().expect("a row has values");
            match self.half {
                true => {
                    bytemuck::cast_slice(bytes).iter().map(|v: &f16| v.to_f32()).enumerate().any(|v| self.holds(v, &of))
                }
                false => bytemuck::cast_slice(bytes).iter().copied().enumerate().any(|v| self.holds(v, &of)),
            }
        };
        let row = (0..self.rows).into_par_iter().with_min_len(64).position_first(any)?;
        (row * self.width..self.len()).find(|&i| of(self.get(i)))
    }

    fn holds(&self, (column, value): (usize, f32), of: &impl Fn(f32) -> bool) -> bool {
        of(self.scaled(column, value))
    }

    /// A value of column `c` as it is read.
    fn scaled(&self, c: usize, value: f32) -> f32 {
        let Some(standardiser) = &self.standardiser else { return value };
        let value = standardiser.scaled(c, value);
        // As features in memory, which stay in f16.
        if self.half { f16::from_f32(value).to_f32() } else { value }
    }

    /// Refuses a file whose length or time of modification is not what it was when it was mapped.
    ///
    /// # Errors
    /// [`Error::Format`] that says what changed, [`Error::Io`] when the file cannot be asked.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        self.source.check_unchanged()
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.rows * self.width
    }

    /// True when there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.source.path
    }

    /// From now on values are standardised as they are read. `standardiser` has the width of the rows. Answers where
    /// the first value is that is not finite then.
    pub(crate) fn standardise(&mut self, standardiser: &Standardiser) -> Result<Option<usize>> {
        self.check_unchanged()?;
        self.standardiser = Some(Arc::new(standardiser.clone()));
        let bad = self.first_not_finite();
        self.check_unchanged()?;
        Ok(bad)
    }

    /// The value at `index`.
    ///
    /// # Panics
    /// When there is no such value, as a slice would.
    pub fn get(&self, index: usize) -> f32 {
        let bytes = self.pieces(index..index + 1).next().expect("a value has bytes");
        let value = match self.half {
            true => bytemuck::cast_slice::<u8, f16>(bytes)[0].to_f32(),
            false => bytemuck::cast_slice(bytes)[0],
        };
        self.scaled(index % self.width, value)
    }

    /// Values `range` in memory.
    ///
    /// # Panics
    /// When the range ends beyond the values, as a slice would.
    pub fn read(&self, range: Range<usize>) -> Features {
        let mut features = match self.half {
            true => Features::F16(self.copied(range.clone())),
            false => Features::F32(self.copied(range.clone())),
        };
        if let Some(standardiser) = &self.standardiser {
            standardiser.apply_from(range.start % self.width, &mut features);
        }
        features
    }

    fn copied<T: bytemuck::Pod>(&self, range: Range<usize>) -> Vec<T> {
        let mut values = Vec::with_capacity(range.len());
        self.pieces(range).for_each(|bytes| values.extend_from_slice(bytemuck::cast_slice(bytes)));
        values
    }

    /// Ranges of rows, one after the other.
    pub(crate) fn gather(&self, rows: impl Iterator<Item = Range<usize>>) -> Features {
        let (mut full, mut halves) = (Vec::new(), Vec::new());
        for rows in rows {
            match self.read(rows.start * self.width..rows.end * self.width) {
                Features::F16(v) => halves.extend(v),
                other => full.extend(other.to_f32()),
            }
        }
        if self.half { Features::F16(halves) } else { Features::F32(full) }
    }
}

/// Length and time of modification of an open file.
fn seen(file: &File) -> std::io::Result<(u64, Option<SystemTime>)> {
    let data = file.metadata()?;
    Ok((data.len(), data.modified().ok()))
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapped({}, {} values)", self.path().display(), self.len())
    }
}

impl PartialEq for Mapped {
    fn eq(&self, other: &Self) -> bool {
        self.width == other.width && self.half == other.half && self.read(0..self.len()) == other.read(0..other.len())
    }
}

#[cfg(test)]
#[path = "mapped_tests.rs"]
mod tests;
