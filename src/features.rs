//! A matrix of instance features: in memory, or in a file whose pages the system reads when they are wanted.

mod mapped;

pub use mapped::Mapped;
#[cfg(feature = "data")]
pub(crate) use mapped::MappedFile;

use crate::error::Result;
use half::f16;
use rayon::prelude::*;
use std::ops::Range;

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
            Self::F32(v) => first_in_parallel(v, Value::is_wrong),
            Self::F16(v) => first_in_parallel(v, Value::is_wrong),
            Self::Mapped(_) => None,
        }
    }

    /// True when values are f16 where they lie.
    pub(crate) fn is_half(&self) -> bool {
        match self {
            Self::F32(_) => false,
            Self::F16(_) => true,
            Self::Mapped(v) => v.is_half(),
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

/// A value of a feature. What is asked of millions of them is inlined wherever it is asked: a call for each takes longer than to
/// read them.
pub(crate) trait Value: bytemuck::Pod + Into<f32> {
    /// It is infinite or not a number.
    fn is_wrong(&self) -> bool;
}

impl Value for f32 {
    #[inline]
    fn is_wrong(&self) -> bool {
        !self.is_finite()
    }
}

impl Value for f16 {
    #[inline]
    fn is_wrong(&self) -> bool {
        !self.is_finite()
    }
}

/// Values that are looked at together, so that a processor looks at many at once: a pass over values should take no longer
/// than they take to be read.
const TOGETHER: usize = 4096;

/// True when `of` holds for one of the values; all are looked at.
pub(crate) fn any<T>(values: &[T], of: impl Fn(&T) -> bool) -> bool {
    values.iter().fold(false, |any, value| any | of(value))
}

/// The place of the first value for which `of` holds.
pub(crate) fn first_of<T>(values: &[T], of: impl Fn(&T) -> bool) -> Option<usize> {
    let part = values.chunks(TOGETHER).position(|part| any(part, &of))?;
    values[part * TOGETHER..].iter().position(of).map(|at| part * TOGETHER + at)
}

fn first_in_parallel<T: Sync>(values: &[T], of: impl Fn(&T) -> bool + Sync) -> Option<usize> {
    let part = values.par_chunks(TOGETHER).position_first(|part| any(part, &of))?;
    first_of(&values[part * TOGETHER..], of).map(|at| part * TOGETHER + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found_among_many() {
        for at in [0, 1, TOGETHER - 1, TOGETHER, 3 * TOGETHER + 5] {
            let mut values = vec![0.0f32; 3 * TOGETHER + 6];
            (values[at], values[3 * TOGETHER + 5]) = (f32::NAN, f32::INFINITY);
            assert_eq!(
                (first_of(&values, |v| !v.is_finite()), Features::F32(values).first_not_finite()),
                (Some(at), Some(at))
            );
        }
        assert_eq!((first_of(&[1.0f32], |v| !v.is_finite()), first_of(&[], |v: &f32| v.is_nan())), (None, None));
        assert_eq!(Features::F16(vec![f16::ONE, f16::INFINITY]).first_not_finite(), Some(1));
    }
}
