//! An npy file that is a slide.

use super::super::super::npy::array::Array as Opened;
use super::arrays::{Array, Arrays};
use super::{Number, Reason, reason};
use npyz::TypeChar;
use std::path::{Path, PathBuf};

/// How a file begins.
pub(super) const MAGIC: [u8; 6] = *b"\x93NUMPY";

/// The file in `path`, whose head fits its length.
pub(in super::super) struct Npy {
    path: PathBuf,
    array: [Array; 1],
}

/// What the values of an opened array are.
///
/// # Errors
/// When they are no numbers.
pub(super) fn number(opened: &Opened) -> Result<Number, Reason> {
    match (opened.kind, opened.size) {
        (TypeChar::Float, 2) => Ok(Number::F16),
        (TypeChar::Float, 4) => Ok(Number::F32),
        (TypeChar::Float, 8) => Ok(Number::F64),
        (TypeChar::Int, size @ (1 | 2 | 4 | 8)) => Ok(Number::Integer(size, true)),
        (TypeChar::Uint | TypeChar::Bool, size @ (1 | 2 | 4 | 8)) => Ok(Number::Integer(size, false)),
        _ => Err(format!("expected an array of numbers, found {}", opened.descr)),
    }
}

/// The description of an opened array.
///
/// # Errors
/// When it holds no numbers, or more than memory does.
pub(super) fn described(name: &str, opened: &Opened) -> Result<Array, Reason> {
    Array::new(name, opened.shape.iter().map(|&d| d as u64).collect(), number(opened)?)
}

impl Npy {
    pub fn open(path: &Path) -> Result<Self, Reason> {
        let array = described("the array", &Opened::open(path).map_err(reason)?)?;
        Ok(Self { path: path.into(), array: [array] })
    }
}

impl Arrays for Npy {
    fn arrays(&self) -> &[Array] {
        &self.array
    }

    fn bytes(&self, _: usize) -> Result<Vec<u8>, Reason> {
        let mut opened = Opened::open(&self.path).map_err(reason)?;
        let again = described("the array", &opened)?;
        if (&again.shape, again.number) != (&self.array[0].shape, self.array[0].number) {
            return Err("the file changed while it was read".into());
        }
        opened.bytes().map_err(reason)
    }
}
