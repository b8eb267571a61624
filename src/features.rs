//! A matrix of instance features: in memory, or in a file whose pages the system reads when they are wanted.

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

/// A row-major matrix of instance features, stored as f32 or f16.
#[derive(Clone, Debug, PartialEq)]
pub enum Features {
    /// Four bytes a value.
    F32(Vec<f32>),
    /// Two bytes a value; arithmetic accumulates in f32.
    F16(Vec<f16>),
    /// Values of either size in a file, more than memory may hold.
    Mapped(Mapped),
}

impl Features {
    /// Number of values (instances times width).
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::Mapped(v) => v.len(),
        }
    }

    /// True when there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value at `index`, widened to f32.
    ///
    /// # Panics
    /// When there is no such value, as a slice would.
    pub fn get(&self, index: usize) -> f32 {
        match self {
            Self::F32(v) => v[index],
            Self::F16(v) => v[index].to_f32(),
            Self::Mapped(v) => v.get(index),
        }
    }

    /// The first value that is not finite. Those of a file were looked through when it was mapped.
    pub(crate) fn first_not_finite(&self) -> Option<usize> {
        match self {
            Self::F32(v) => v.par_iter().position_first(|x| !x.is_finite()),
            Self::F16(v) => v.par_iter().position_first(|x| !x.is_finite()),
            Self::Mapped(_) => None,
        }
    }

    /// True when values are f16 where they lie.
    pub(crate) fn is_half(&self) -> bool {
        match self {
            Self::F32(_) => false,
            Self::F16(_) => true,
            Self::Mapped(v) => v.half,
        }
    }

    /// The first value that f16 cannot hold, though it is finite.
    pub(crate) fn first_beyond_f16(&self) -> Option<usize> {
        let beyond = |x: &f32| f16::from_f32(*x).is_infinite();
        match self {
            Self::F32(v) => v.par_iter().position_first(beyond),
            Self::F16(_) => None,
            Self::Mapped(v) => v.position(|x| beyond(&x)),
        }
    }

    /// Refuses a file that is not as it was when it was mapped.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        match self {
            Self::Mapped(v) => v.check_unchanged(),
            _ => Ok(()),
        }
    }

    /// A copy of `range` (in values, not rows), in memory.
    ///
    /// # Panics
    /// When the range ends beyond the values, as a slice would.
    pub fn slice(&self, range: Range<usize>) -> Features {
        match self {
            Self::F32(v) => Self::F32(v[range].to_vec()),
            Self::F16(v) => Self::F16(v[range].to_vec()),
            Self::Mapped(v) => v.read(range),
        }
    }

    /// All values as f32.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::F32(v) => v.clone(),
            Self::F16(v) => v.iter().map(|x| x.to_f32()).collect(),
            Self::Mapped(v) => v.read(0..v.len()).to_f32(),
        }
    }

    /// The same matrix stored in f16 (round to nearest even; beyond 65504 it becomes infinite).
    pub fn to_f16(&self) -> Features {
        match self {
            Self::F32(v) => Self::F16(v.iter().map(|&x| f16::from_f32(x)).collect()),
            Self::F16(v) => Self::F16(v.clone()),
            Self::Mapped(v) => v.read(0..v.len()).to_f16(),
        }
    }
}

/// Values of a file that is mapped into memory: the system reads pages as they are touched, and drops them again
/// when memory is short. A file that was changed or shortened meanwhile is noticed before and after each read of a batch
/// by its length and its time of modification, and is an error; one that is shortened in the moment of the read still
/// ends the program.
#[derive(Clone)]
pub struct Mapped {
    map: Arc<Mmap>,
    file: Arc<File>,
    /// Length and time of modification when it was mapped.
    seen: (u64, Option<SystemTime>),
    path: Arc<Path>,
    /// Bytes of the values in the file.
    bytes: Range<usize>,
    width: usize,
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
        let size = if half { 2 } else { 4 };
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        // SAFETY: the file is opened for reading; what others do to it meanwhile is documented above.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
        let bytes = rows.checked_mul(width).and_then(|n| n.checked_mul(size)).and_then(|n| n.checked_add(offset));
        let Some(end) = bytes.filter(|&end| end <= map.len()) else {
            let message = format!("expected [{rows}, {width}] values after {offset} bytes, found {}", map.len());
            return Err(Error::format(path, message));
        };
        if cfg!(target_endian = "big") || !(map.as_ptr() as usize + offset).is_multiple_of(size) {
            return Ok(None);
        }
        let seen = seen(&file).map_err(|e| Error::io(path, e))?;
        let (map, file, bytes) = (Arc::new(map), Arc::new(file), offset..end);
        let mapped = Self { map, file, seen, path: path.into(), bytes, width, half, standardiser: None };
        mapped.check_unchanged()?;
        let bad = mapped.position(|x| !x.is_finite());
        mapped.check_unchanged()?;
        match bad {
            None => Ok(Some(mapped)),
            Some(i) => Err(Error::not_finite(path, i, width, mapped.get(i))),
        }
    }

    /// Place of the first value, as it is read, for which `of` holds.
    fn position(&self, of: impl Fn(f32) -> bool + Sync) -> Option<usize> {
        let row = match self.values() {
            Values::F32(v) => self.row_of(v, |x| *x, &of),
            Values::F16(v) => self.row_of(v, |x| x.to_f32(), &of),
        }?;
        (row * self.width..self.len()).find(|&i| of(self.get(i)))
    }

    fn row_of<T: Sync>(&self, values: &[T], wide: fn(&T) -> f32, of: &(impl Fn(f32) -> bool + Sync)) -> Option<usize> {
        let rows = values.par_chunks(self.width).with_min_len(64);
        rows.position_first(|row| row.iter().enumerate().any(|(c, x)| of(self.scaled(c, wide(x)))))
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

    /// Number of values.
    pub fn len(&self) -> usize {
        self.bytes.len() / if self.half { 2 } else { 4 }
    }

    /// True when there is no value.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// From now on values are standardised as they are read. `standardiser` has the width of the rows. Answers where
    /// the first value is that is not finite then.
    pub(crate) fn standardise(&mut self, standardiser: &Standardiser) -> Result<Option<usize>> {
        self.check_unchanged()?;
        self.standardiser = Some(Arc::new(standardiser.clone()));
        let bad = self.position(|x| !x.is_finite());
        self.check_unchanged()?;
        Ok(bad)
    }

    fn values(&self) -> Values<'_> {
        let bytes = &self.map[self.bytes.clone()];
        match self.half {
            true => Values::F16(bytemuck::cast_slice(bytes)),
            false => Values::F32(bytemuck::cast_slice(bytes)),
        }
    }

    /// The value at `index`.
    ///
    /// # Panics
    /// When there is no such value, as a slice would.
    pub fn get(&self, index: usize) -> f32 {
        let value = match self.values() {
            Values::F32(v) => v[index],
            Values::F16(v) => v[index].to_f32(),
        };
        self.scaled(index % self.width, value)
    }

    /// Values `range` in memory.
    ///
    /// # Panics
    /// When the range ends beyond the values, as a slice would.
    pub fn read(&self, range: Range<usize>) -> Features {
        let mut features = match self.values() {
            Values::F32(v) => Features::F32(v[range.clone()].to_vec()),
            Values::F16(v) => Features::F16(v[range.clone()].to_vec()),
        };
        if let Some(standardiser) = &self.standardiser {
            standardiser.apply_from(range.start % self.width, &mut features);
        }
        features
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

enum Values<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapped({}, {} values)", self.path.display(), self.len())
    }
}

impl PartialEq for Mapped {
    fn eq(&self, other: &Self) -> bool {
        self.width == other.width && self.half == other.half && self.read(0..self.len()) == other.read(0..other.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::Bags;
    use std::io::Write;

    fn file(dir: &Path, values: &[f32]) -> std::path::PathBuf {
        let path = dir.join("values");
        std::fs::write(&path, bytemuck::cast_slice::<f32, u8>(values)).unwrap();
        path
    }

    fn bags(path: &Path, rows: usize, half: bool) -> Bags {
        let mapped = Mapped::open(path, 0, [rows, 2], half).unwrap().expect("aligned");
        Bags::packed(Features::Mapped(mapped), 2, &[1, rows - 1]).unwrap()
    }

    /// Whoever asks next is told: a longer file, a shorter one, and one of the same length that was written to.
    #[test]
    fn a_file_that_changes_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let values: Vec<f32> = (0..20).map(|i| i as f32).collect();
        let change = |change: &dyn Fn(&Path)| {
            let path = file(dir.path(), &values);
            let bags = bags(&path, 10, false);
            bags.features.check_unchanged().unwrap();
            change(&path);
            let error = bags.features.check_unchanged().unwrap_err().to_string();
            assert!(error.contains("values") && error.contains("changed while it was in use"), "{error}");
            assert_eq!(crate::standardise::Standardiser::fit(&bags, &[0]).unwrap_err().to_string(), error);
            error
        };
        let append = |path: &Path| File::options().append(true).open(path).unwrap().write_all(&[0; 4]).unwrap();
        assert!(change(&append).contains("it had 80 bytes and has 84"));
        let cut = |path: &Path| File::options().write(true).open(path).unwrap().set_len(40).unwrap();
        assert!(change(&cut).contains("it had 80 bytes and has 40"));
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        let touch = |path: &Path| File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
        assert!(change(&touch).contains("it was written to"));
        // Another file of its name is another file: what is mapped stays as it is.
        let path = file(dir.path(), &values);
        let bags = bags(&path, 10, false);
        std::fs::remove_file(&path).unwrap();
        file(dir.path(), &[1.0; 6]);
        assert_eq!((bags.features.check_unchanged().is_ok(), bags.features.get(19)), (true, 19.0));
    }

    /// Standardised values are looked at whether they lie in memory or in their file.
    #[test]
    fn values_that_leave_their_type_are_found_in_a_file_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut values = vec![0.5f32; 20];
        values[13] = 3e38;
        let path = file(dir.path(), &values);
        let spread = crate::standardise::Standardiser { mean: vec![0.0; 2], std: vec![0.1; 2] };
        let error = spread.apply(&mut bags(&path, 10, false)).unwrap_err().to_string();
        assert!(error.contains("row 6, column 1 is inf"), "{error}");
        // Halves stay halves: 60000 / 0.1 is beyond them.
        let halves: Vec<f16> = values.iter().map(|v| f16::from_f32(v.min(60_000.0))).collect();
        std::fs::write(&path, bytemuck::cast_slice::<f16, u8>(&halves)).unwrap();
        let error = spread.apply(&mut bags(&path, 10, true)).unwrap_err().to_string();
        assert!(error.contains("row 6, column 1 is inf"), "{error}");
        // f32 in a file that is to be stored in f16.
        values[13] = 65_520.0;
        let path = file(dir.path(), &values);
        let error = bags(&path, 10, false).check_f16().unwrap_err().to_string();
        assert!(error.contains("row 6, column 1 (0-based; bag 1) is 65520"), "{error}");
        values[13] = 65_519.0;
        let path = file(dir.path(), &values);
        bags(&path, 10, false).check_f16().unwrap();
    }
}
