//! Memory that features are read into and stay in: of one slide, and of all.

use super::format::{Number, Reason};
use crate::features::{Features, Value, first_of};
use half::f16;
use std::io::Read;

/// Bytes that are read at a time: few enough to be in the processor's cache still when they are looked at.
const BLOCK: usize = 256 << 10;

/// Whether values were looked at while they were read, and which is the first that is not finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Looked {
    No,
    At(Option<(usize, f32)>),
}

/// Where the features of a slide go, all of them.
pub(super) enum Place<'a> {
    F16(&'a mut [f16]),
    F32(&'a mut [f32]),
}

impl Place<'_> {
    /// The bytes of the place where values of this type, little-endian, lie there as they do in a file.
    pub fn bytes(&mut self, number: Number) -> Option<&mut [u8]> {
        match (self, number) {
            _ if cfg!(target_endian = "big") => None,
            (Self::F16(values), Number::F16) => Some(bytemuck::cast_slice_mut(values)),
            (Self::F32(values), Number::F32) => Some(bytemuck::cast_slice_mut(values)),
            _ => None,
        }
    }

    /// Reads values that lie in a file as they lie here ([`Place::bytes`]), and looks at them on the way.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&mut self, from: &mut impl Read) -> std::io::Result<Looked> {
        fn each<T: Value>(values: &mut [T], from: &mut impl Read) -> std::io::Result<Looked> {
            let (mut found, mut at) = (None, 0);
            for block in values.chunks_mut(BLOCK / size_of::<T>()) {
                from.read_exact(bytemuck::cast_slice_mut(block))?;
                found = found.or_else(|| first_of(block, T::is_wrong).map(|first| (at + first, block[first].into())));
                at += block.len();
            }
            Ok(Looked::At(found))
        }
        match self {
            Self::F16(values) => each(values, from),
            Self::F32(values) => each(values, from),
        }
    }

    /// The same place for a while.
    pub fn again(&mut self) -> Place<'_> {
        match self {
            Self::F16(values) => Place::F16(values),
            Self::F32(values) => Place::F32(values),
        }
    }

    /// Copies features that were read elsewhere.
    ///
    /// # Errors
    /// When they are not as many as they were to be.
    pub fn fill(&mut self, features: &Features) -> Result<(), Reason> {
        let room = match self {
            Self::F16(values) => values.len(),
            Self::F32(values) => values.len(),
        };
        if features.len() != room {
            return Err("the file changed while it was read".into());
        }
        match (self, features) {
            (Self::F16(to), Features::F16(from)) => to.copy_from_slice(from),
            (Self::F32(to), Features::F32(from)) => to.copy_from_slice(from),
            (Self::F32(to), from) => to.copy_from_slice(&from.to_f32()),
            (Self::F16(_), _) => return Err("the file changed while it was read: it had float16".into()),
        }
        Ok(())
    }

    /// Place and value of the first that is not finite.
    pub fn first_not_finite(&self) -> Option<(usize, f32)> {
        match self {
            Self::F16(values) => first_of(values, Value::is_wrong).map(|at| (at, values[at].to_f32())),
            Self::F32(values) => first_of(values, Value::is_wrong).map(|at| (at, values[at])),
        }
    }
}

/// Asks the system for pages of 2 MiB: to get memory in pages of 4 KiB takes about as long as to read a file into it.
fn large_pages(bytes: &mut [u8]) {
    #[cfg(target_os = "linux")]
    {
        const LARGE: usize = 2 << 20;
        let before = bytes.as_ptr().align_offset(LARGE);
        let whole = bytes.len().saturating_sub(before) / LARGE * LARGE;
        if whole > 0 {
            // SAFETY: the pages are within the slice, and the advice changes nothing of what is in them.
            // Where it is not taken, pages are small.
            let _ = unsafe {
                rustix::mm::madvise(bytes[before..].as_mut_ptr().cast(), whole, rustix::mm::Advice::LinuxHugepage)
            };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = bytes;
}

/// The features of several slides behind one another.
pub(super) enum Matrix {
    F16(Vec<f16>),
    F32(Vec<f32>),
}

impl Matrix {
    /// Room for so many values. The system gives pages when they are written to.
    pub fn new(half: bool, values: usize) -> Self {
        let mut matrix = match half {
            true => Self::F16(bytemuck::zeroed_vec(values)),
            false => Self::F32(bytemuck::zeroed_vec(values)),
        };
        match &mut matrix {
            Self::F16(values) => large_pages(bytemuck::cast_slice_mut(values)),
            Self::F32(values) => large_pages(bytemuck::cast_slice_mut(values)),
        }
        matrix
    }

    /// Places of so many values each, behind one another.
    pub fn places(&mut self, sizes: &[usize]) -> Vec<Place<'_>> {
        fn parts<'a, T>(mut rest: &'a mut [T], sizes: &[usize]) -> Vec<&'a mut [T]> {
            let part = |&size: &usize| rest.split_off_mut(..size).expect("sizes add up to the room there is");
            sizes.iter().map(part).collect()
        }
        match self {
            Self::F16(values) => parts(values, sizes).into_iter().map(Place::F16).collect(),
            Self::F32(values) => parts(values, sizes).into_iter().map(Place::F32).collect(),
        }
    }

    /// The features without the places that are not to be kept.
    pub fn kept(mut self, sizes: &[usize], keep: &[bool]) -> Features {
        let (mut from, mut to) = (0, 0);
        for (&size, &keep) in sizes.iter().zip(keep) {
            if keep {
                if from != to {
                    match &mut self {
                        Self::F16(values) => values.copy_within(from..from + size, to),
                        Self::F32(values) => values.copy_within(from..from + size, to),
                    }
                }
                to += size;
            }
            from += size;
        }
        match self {
            Self::F16(mut values) => {
                values.truncate(to);
                Features::F16(values)
            }
            Self::F32(mut values) => {
                values.truncate(to);
                Features::F32(values)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_looked_at_while_they_are_read() {
        let count = 2 * BLOCK / 4 + 3;
        for wrong in [None, Some(0), Some(BLOCK / 4 - 1), Some(BLOCK / 4), Some(count - 1)] {
            let mut values: Vec<f32> = (0..count).map(|at| at as f32).collect();
            // Others behind the first change nothing.
            wrong.into_iter().for_each(|at| values[at..].fill(f32::INFINITY));
            let mut matrix = Matrix::new(false, count);
            let looked = matrix.places(&[count])[0].read(&mut bytemuck::cast_slice(&values)).unwrap();
            assert_eq!(looked, Looked::At(wrong.map(|at| (at, f32::INFINITY))));
            assert_eq!(matrix.kept(&[count], &[true]), Features::F32(values));
        }
        let mut halves = Matrix::new(true, 3);
        let values = [f16::ONE, f16::NEG_INFINITY, f16::ONE];
        let looked = halves.places(&[3])[0].read(&mut bytemuck::cast_slice(&values)).unwrap();
        assert_eq!(looked, Looked::At(Some((1, f32::NEG_INFINITY))));
        assert!(halves.places(&[3])[0].read(&mut &[0; 5][..]).is_err(), "too few bytes");
    }

    #[test]
    fn places_are_filled_and_those_of_bad_slides_left_out() {
        let mut matrix = Matrix::new(false, 7);
        let sizes = [2, 0, 3, 2];
        let mut places = matrix.places(&sizes);
        places[0].fill(&Features::F32(vec![1.0, 2.0])).unwrap();
        let bytes: Vec<u8> = [3.0f32, f32::NAN, 5.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        places[2].bytes(Number::F32).unwrap().copy_from_slice(&bytes);
        places[3].fill(&Features::F16(vec![f16::from_f32(6.0), f16::ONE])).unwrap();
        assert!(places[3].bytes(Number::F16).is_none() && places[3].fill(&Features::F32(vec![1.0])).is_err());
        assert_eq!(places[0].first_not_finite(), None);
        assert!(matches!(places[2].first_not_finite(), Some((1, value)) if value.is_nan()));
        assert_eq!(matrix.kept(&sizes, &[true, false, false, true]), Features::F32(vec![1.0, 2.0, 6.0, 1.0]));
        let mut halves = Matrix::new(true, 3);
        halves.places(&[1, 2])[1].fill(&Features::F16(vec![f16::ONE; 2])).unwrap();
        assert!(halves.places(&[3])[0].fill(&Features::F32(vec![0.0; 3])).is_err());
        assert_eq!(halves.kept(&[1, 2], &[false, true]), Features::F16(vec![f16::ONE; 2]));
    }
}
