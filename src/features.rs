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
            Self::F32(v) => v.iter().position(|x| !x.is_finite()),
            Self::F16(v) => v.iter().position(|x| !x.is_finite()),
            Self::Mapped(_) => None,
        }
    }

    /// A copy of `range` (in values, not rows), in memory.
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
/// when memory is short. Whoever changes or shortens the file meanwhile changes the values, or ends the program.
#[derive(Clone)]
pub struct Mapped {
    map: Arc<Mmap>,
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
        let standardiser = None;
        let mapped = Self { map: Arc::new(map), path: path.into(), bytes: offset..end, width, half, standardiser };
        let bad = match mapped.values() {
            Values::F32(v) => v.par_iter().position_first(|x| !x.is_finite()),
            Values::F16(v) => v.par_iter().position_first(|x| !x.is_finite()),
        };
        match bad {
            None => Ok(Some(mapped)),
            Some(i) => Err(Error::not_finite(path, i, width, mapped.get(i))),
        }
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

    /// From now on values are standardised as they are read. `standardiser` has the width of the rows.
    pub(crate) fn standardise(&mut self, standardiser: &Standardiser) {
        self.standardiser = Some(Arc::new(standardiser.clone()));
    }

    fn values(&self) -> Values<'_> {
        let bytes = &self.map[self.bytes.clone()];
        match self.half {
            true => Values::F16(bytemuck::cast_slice(bytes)),
            false => Values::F32(bytemuck::cast_slice(bytes)),
        }
    }

    /// The value at `index`.
    pub fn get(&self, index: usize) -> f32 {
        let value = match self.values() {
            Values::F32(v) => v[index],
            Values::F16(v) => v[index].to_f32(),
        };
        let Some(standardiser) = &self.standardiser else { return value };
        let value = standardiser.scaled(index % self.width, value);
        // As features in memory, which stay in f16.
        if self.half { f16::from_f32(value).to_f32() } else { value }
    }

    /// Values `range` in memory.
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
