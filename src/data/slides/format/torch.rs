//! PyTorch files with the features of a slide: a tensor, a dict of tensors, or a list with one.

mod container;
mod pickle;
mod state;

use super::super::place::{Looked, Place};
use super::super::zip::read_at;
use super::arrays::COORDS;
use super::{About, Head, NAMES, Number, Reason, SlideFile, Unit, coords_columns, places, rows_and_width};
use crate::features::Features;
use container::Container;
use pickle::{Objects, Pickle, Tensor, Value};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub(super) use container::LEGACY;
pub(super) use state::read as state;

/// One file of a slide.
pub(super) struct TorchSlide {
    path: PathBuf,
    head: Head,
    features: Tensor,
    coords: Option<Tensor>,
    big_endian: bool,
    /// Where the storages of the two lie.
    at: (u64, Option<u64>),
}

impl TorchSlide {
    pub fn open(path: &Path) -> Result<Self, Reason> {
        let mut file = File::open(path).map_err(|e| e.to_string())?;
        let container = Container::open(&mut file, Objects::Refused)?;
        let (name, features, coords) = tensors(&container.pickle)?;
        let number = features.storage.number;
        if !number.is_float() {
            return Err(format!("expected {name} to be floats, found {}", number.name()));
        }
        let (rows, width, of_slide) = rows_and_width(&features.shape, name)?;
        let coords = coords.filter(|_| !of_slide);
        if let Some(coords) = coords {
            coords_columns(&coords.shape, rows)?;
        }
        let unit = coords.map(|c| if c.storage.number.is_float() { Unit::Unknown } else { Unit::Pixels });
        let head = Head { rows, width, number, coords: unit, of_slide, labelled: false, about: About::default() };
        let at = (container.place(&features.storage)?, coords.map(|c| container.place(&c.storage)).transpose()?);
        let (features, coords) = (features.clone(), coords.cloned());
        Ok(Self { path: path.into(), head, features, coords, big_endian: container.big_endian, at })
    }

    fn bytes(&self, tensor: &Tensor, at: u64) -> Result<Vec<u8>, Reason> {
        let mut file = File::open(&self.path).map_err(|e| e.to_string())?;
        values(&mut file, tensor, at, self.big_endian)
    }
}

/// The little-endian values of a tensor, whose storage lies at `at`, in C order.
fn values(file: &mut File, tensor: &Tensor, at: u64, big_endian: bool) -> Result<Vec<u8>, Reason> {
    let size = tensor.storage.number.bytes() as u64;
    let count: u64 = tensor.shape.iter().product();
    let mut bytes = if tensor.is_contiguous() {
        read_at(file, at + tensor.offset * size, count * size)?
    } else {
        let all = read_at(file, at, tensor.storage.items * size)?;
        let size = size as usize;
        tensor.places().flat_map(|place| &all[place as usize * size..][..size]).copied().collect()
    };
    if big_endian {
        bytes.chunks_exact_mut(size as usize).for_each(<[u8]>::reverse);
    }
    Ok(bytes)
}

impl SlideFile for TorchSlide {
    fn head(&self) -> &Head {
        &self.head
    }

    fn features(&self) -> Result<Features, Reason> {
        Ok(self.head.number.features(&self.bytes(&self.features, self.at.0)?))
    }

    fn read_features(&self, mut place: Place<'_>) -> Result<Looked, Reason> {
        let number = self.head.number;
        let lying = self.features.is_contiguous() && !self.big_endian && place.bytes(number).is_some();
        if !lying {
            return place.fill(&self.features()?).map(|()| Looked::No);
        }
        let at = self.at.0 + self.features.offset * number.bytes() as u64;
        let mut read = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(at))?;
            place.read(&mut file)
        };
        read().map_err(|e| e.to_string())
    }

    fn coords(&self) -> Result<Option<Vec<[f32; 2]>>, Reason> {
        let (Some(coords), Some(at)) = (&self.coords, self.at.1) else { return Ok(None) };
        let columns = coords_columns(&coords.shape, self.head.rows)?;
        places(&number(coords).floats(&self.bytes(coords, at)?), columns).map(Some)
    }
}

fn number(tensor: &Tensor) -> Number {
    tensor.storage.number
}

/// The tensor of features with its name, and that of the places.
fn tensors(pickle: &Pickle) -> Result<(&str, &Tensor, Option<&Tensor>), Reason> {
    let pairs = match pickle.root() {
        Value::Tensor(tensor) => return Ok(("the tensor", tensor, None)),
        Value::List(items) | Value::Tuple(items) => match items[..] {
            [only] if matches!(pickle.value(only), Value::Tensor(_)) => {
                let Value::Tensor(tensor) = pickle.value(only) else { unreachable!("it was looked at") };
                return Ok(("the tensor", tensor, None));
            }
            _ => return Err(format!("expected a list with one tensor, found one of {} values", items.len())),
        },
        Value::Dict(pairs) => pairs,
        _ => return Err("expected a tensor or a dict of tensors, found something else".into()),
    };
    let named: Vec<(&str, &Tensor)> = pairs
        .iter()
        .filter_map(|&(key, value)| match (pickle.value(key), pickle.value(value)) {
            (Value::Text(key), Value::Tensor(tensor)) => Some((key.as_str(), tensor)),
            _ => None,
        })
        .collect();
    let find = |names: &[&str]| names.iter().find_map(|name| named.iter().find(|(key, _)| key == name)).copied();
    let Some((name, features)) = find(&NAMES) else {
        let keys: Vec<&str> = named.iter().map(|(key, _)| *key).take(8).collect();
        return Err(format!("expected a tensor called {}, found {}", NAMES.join(", "), keys.join(", ")));
    };
    Ok((name, features, find(&COORDS).map(|(_, coords)| coords)))
}
