//! Files that hold tensors by name and are no slides: state dicts.

use super::super::zip::{ZIP, read_at};
use super::arrays::Arrays;
use super::safetensors::{Safetensors, head_length};
use super::{Number, Reason, torch};
use crate::data::weights::{Tensor, Weights};
use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

/// A tensor that was found, and what gives its little-endian values in C order.
pub(super) struct Found<'a> {
    pub name: String,
    pub shape: Vec<u64>,
    pub number: Number,
    pub bytes: Box<dyn Fn() -> Result<Vec<u8>, Reason> + 'a>,
}

/// Reads all of them. A view may show a value of the file several times; in all there are no more than are in the file.
pub(super) fn gather(found: Vec<Found>, length: u64) -> Result<Vec<Tensor>, Reason> {
    let mut names = HashSet::new();
    if let Some(twice) = found.iter().find(|found| !names.insert(found.name.clone())) {
        return Err(format!("the key {:?} is there twice", twice.name));
    }
    let size = |found: &Found| found.shape.iter().map(|&d| u128::from(d)).product::<u128>();
    let bytes = |found: &Found| size(found) * found.number.bytes() as u128;
    if found.iter().map(bytes).sum::<u128>() > u128::from(length) {
        return Err("its tensors show the same values several times, which no model here does".into());
    }
    let read = |found: &Found| {
        let values = found.number.is_float().then(|| Ok::<_, Reason>(found.number.floats(&(found.bytes)()?)));
        Ok(Tensor {
            name: found.name.clone(),
            shape: found.shape.iter().map(|&d| d as usize).collect(),
            kind: found.number.name(),
            values: values.transpose()?,
        })
    };
    found.iter().map(read).collect()
}

/// The file at `path`, whichever of the two it is.
pub(in crate::data) fn read(path: &Path) -> Result<Weights, Reason> {
    let mut file = File::open(path).map_err(|e| e.to_string())?;
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let start = read_at(&mut file, 0, length.min(torch::LEGACY.len() as u64))?;
    if start.starts_with(&ZIP) || start == torch::LEGACY {
        return torch::state(file, length);
    }
    if head_length(&start, length).is_none() {
        return Err(
            "expected the weights of a model, a PyTorch file (.pt, .pth, .ckpt) or a safetensors file; it begins \
                    as neither of them, or is cut off"
                .into(),
        );
    }
    let (file, said) = Safetensors::open(path)?;
    let reader = &file;
    let found = (0..file.arrays().len()).map(|at| {
        let array = &file.arrays()[at];
        let bytes: Box<dyn Fn() -> Result<Vec<u8>, Reason>> = Box::new(move || reader.bytes(at));
        Found { name: array.name.clone(), shape: array.shape.clone(), number: array.number, bytes }
    });
    let tensors = gather(found.collect(), length)?;
    Ok(Weights { tensors, remarks: Vec::new(), metadata: said.0 })
}
