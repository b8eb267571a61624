//! A slide as it stands in a packed file.

use super::super::Slide;
use super::super::format::Reason;
use super::format::{Head, Header, padding};
use super::index::{Description, Rounding};
use crate::features::Features;
use half::f16;

/// A slide that is ready to be written.
pub struct Block {
    pub head: Head,
    pub description: Description,
    /// Head and description, with the zeros behind.
    start: Vec<u8>,
    features: Features,
    /// Features at the stride of the file, where that is not their width.
    strided: Vec<u8>,
    /// Coordinates and labels of instances.
    end: Vec<u8>,
}

/// A slide cannot be what was asked for, though nothing is wrong with it.
pub struct BeyondHalf(pub Reason);

impl Block {
    /// # Errors
    /// [`BeyondHalf`] for a value that float16 does not have, where values are to be of that type.
    pub fn new(header: &Header, mut description: Description, slide: Slide) -> Result<Self, BeyondHalf> {
        let (width, stride) = (header.width as usize, header.stride() as usize);
        let rows = slide.features.len() / width;
        let features = match (slide.features, header.half) {
            (Features::F32(v), true) => {
                let (halves, rounding) = halved(&v, width)?;
                description.rounding = Some(rounding);
                Features::F16(halves)
            }
            (Features::F16(v), false) => Features::F32(v.iter().map(|x| x.to_f32()).collect()),
            (features, _) => features,
        };
        let strided = match (&features, stride == width) {
            (_, true) => Vec::new(),
            (Features::F16(v), _) => at_stride(v, width, stride),
            (Features::F32(v), _) => at_stride(v, width, stride),
            (Features::Mapped(_), _) => unreachable!("a slide that was read lies in memory"),
        };
        let mut end = Vec::new();
        if let Some(coords) = &slide.coords {
            end.extend_from_slice(bytemuck::cast_slice(coords));
            end.extend_from_slice(padding(end.len()));
        }
        if let Some(labels) = &slide.instance_labels {
            end.extend_from_slice(bytemuck::cast_slice(labels));
            end.extend_from_slice(padding(end.len()));
        }
        let told = description.to_bytes();
        let zeros = padding(told.len());
        let mut head = Head {
            rows: rows as u64,
            description: told.len() as u64,
            coords: slide.coords.is_some(),
            instance_labels: slide.instance_labels.is_some(),
            sum: 0,
            sum_of_description: super::format::sum(&[&told, zeros].concat()),
        };
        let mut block = Self { head, description, start: Vec::new(), features, strided, end };
        let mut sum = crc32fast::Hasher::new();
        block.values().into_iter().for_each(|bytes| sum.update(bytes));
        head.sum = sum.finalize();
        (block.head, block.start) = (head, [&head.to_bytes()[..], &told, zeros].concat());
        Ok(block)
    }

    fn feature_bytes(&self) -> &[u8] {
        match &self.features {
            _ if !self.strided.is_empty() => &self.strided,
            Features::F16(v) => bytemuck::cast_slice(v),
            Features::F32(v) => bytemuck::cast_slice(v),
            Features::Mapped(_) => unreachable!("a slide that was read lies in memory"),
        }
    }

    fn values(&self) -> [&[u8]; 3] {
        let features = self.feature_bytes();
        [features, padding(features.len()), &self.end]
    }

    /// All of it, in the order of the file.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(&self.start[..]).chain(self.values())
    }
}

/// Rows with zeros behind each.
fn at_stride<T: bytemuck::NoUninit>(values: &[T], width: usize, stride: usize) -> Vec<u8> {
    let zeros = vec![0; (stride - width) * size_of::<T>()];
    values.chunks_exact(width).flat_map(|row| [bytemuck::cast_slice(row), &zeros[..]]).flatten().copied().collect()
}

/// Values as float16, and what that did to them.
fn halved(values: &[f32], width: usize) -> Result<(Vec<f16>, Rounding), BeyondHalf> {
    let halves: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
    let mut rounding = Rounding::default();
    for (at, (&value, half)) in values.iter().zip(&halves).enumerate() {
        let rounded = half.to_f32();
        if rounded == value {
            continue;
        }
        if rounded.is_infinite() {
            return Err(BeyondHalf(format!(
                "row {}, column {} (0-based): {value} is beyond float16 ({} at most); pack without --half",
                at / width,
                at % width,
                f16::MAX
            )));
        }
        rounding.values += 1;
        match rounded == 0.0 {
            true => rounding.to_zero += 1,
            false => {
                let change = (f64::from(rounded) - f64::from(value)).abs() / f64::from(value).abs();
                rounding.largest = rounding.largest.max(change);
            }
        }
    }
    Ok((halves, rounding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_told_and_what_does_not_fit_refused() {
        let (halves, rounding) = halved(&[1.0, 0.1, 1e-9, -65_504.0], 2).map_err(|e| e.0).unwrap();
        assert_eq!(halves.iter().map(|h| h.to_f32()).collect::<Vec<_>>(), [1.0, 0.099_975_586, 0.0, -65_504.0]);
        assert_eq!((rounding.values, rounding.to_zero), (2, 1));
        // Half a unit in the last place of eleven bits, at most.
        assert!(rounding.largest > 1e-4 && rounding.largest < 1.0 / 2048.0, "{rounding:?}");
        let message = halved(&[1.0, 2.0, 3.0, 65_520.0], 2).map_err(|e| e.0).unwrap_err();
        assert!(message.contains("row 1, column 1 (0-based): 65520 is beyond float16 (65504 at most)"), "{message}");
    }
}
