//! A safetensors file that is a slide.

use super::super::said::Said;
use super::super::zip::read_at;
use super::arrays::{Array, Arrays};
use super::{Number, Reason};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Bytes of the head, at most: a slide has a few tensors.
const LONGEST_HEAD: u64 = 1 << 20;

/// The file in `path`, whose tensors lie within it.
pub(in super::super) struct Safetensors {
    path: PathBuf,
    arrays: Vec<Array>,
    /// Where each begins.
    places: Vec<u64>,
}

/// Bytes of the head, where the file begins with their number and a brace, as safetensors files do.
pub(super) fn head_length(start: &[u8], file: u64) -> Option<u64> {
    let length = u64::from_le_bytes(start.get(..8)?.try_into().ok()?);
    (start.get(8) == Some(&b'{') && length <= file.saturating_sub(8)).then_some(length)
}

impl Safetensors {
    /// The file, and what it says of itself.
    pub fn open(path: &Path) -> Result<(Self, Said), Reason> {
        let mut file = File::open(path).map_err(|e| e.to_string())?;
        let length = file.metadata().map_err(|e| e.to_string())?.len();
        let start = read_at(&mut file, 0, length.min(9))?;
        let head = head_length(&start, length).ok_or("it does not begin as safetensors files do, or is cut off")?;
        if head > LONGEST_HEAD {
            return Err(format!("its head has {head} bytes, more than {LONGEST_HEAD}: is this a model?"));
        }
        let bytes = read_at(&mut file, 8, head)?;
        let metadata: Metadata = serde_json::from_slice(&bytes).map_err(|e| format!("its head is broken ({e})"))?;
        let (wanted, found) = (metadata.data_len() as u64, length - 8 - head);
        if wanted != found {
            return Err(format!("its tensors need {wanted} bytes, and the file has {found} (is it cut off?)"));
        }
        let (mut arrays, mut places) = (Vec::new(), Vec::new());
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            // What is no array of numbers is nothing of a slide.
            let Some(number) = number(info.dtype) else { continue };
            arrays.push(Array::new(name, info.shape.iter().map(|&d| d as u64).collect(), number)?);
            places.push(8 + head + info.data_offsets.0 as u64);
        }
        let said = metadata.metadata().iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok((Self { path: path.into(), arrays, places }, Said(said)))
    }
}

fn number(dtype: Dtype) -> Option<Number> {
    Some(match dtype {
        Dtype::F16 => Number::F16,
        Dtype::BF16 => Number::Bf16,
        Dtype::F32 => Number::F32,
        Dtype::F64 => Number::F64,
        Dtype::I8 => Number::Integer(1, true),
        Dtype::I16 => Number::Integer(2, true),
        Dtype::I32 => Number::Integer(4, true),
        Dtype::I64 => Number::Integer(8, true),
        Dtype::U8 | Dtype::BOOL => Number::Integer(1, false),
        Dtype::U16 => Number::Integer(2, false),
        Dtype::U32 => Number::Integer(4, false),
        Dtype::U64 => Number::Integer(8, false),
        _ => return None,
    })
}

impl Arrays for Safetensors {
    fn arrays(&self) -> &[Array] {
        &self.arrays
    }

    fn bytes(&self, at: usize) -> Result<Vec<u8>, Reason> {
        let Array { shape, number, .. } = &self.arrays[at];
        let count = shape.iter().product::<u64>() * number.bytes() as u64;
        read_at(&mut File::open(&self.path).map_err(|e| e.to_string())?, self.places[at], count)
    }
}
