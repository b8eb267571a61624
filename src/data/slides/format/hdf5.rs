//! HDF5 files as CLAM, TRIDENT and STAMP write them, one for each slide.

mod chunks;
mod storage;

use super::super::place::{Looked, Place};
use super::super::said::Said;
use super::arrays::{Array, Arrays};
use super::{
    About, Head, LABELS, NAMES, Number, Reason, SlideFile, Unit, check_labels, coords_columns, places, rows_and_width,
    whole,
};
use crate::bounded;
use crate::features::Features;
use chunks::Rows;
use hdf5_reader::storage::Storage;
use hdf5_reader::{Attribute, ByteOrder, Dataset, Datatype, FilterRegistry, Hdf5File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::Bytes;

/// Deflate, the closest packing that is read, makes a byte of at most 1032.
const CLOSEST: u64 = 1040;

/// The filter LZF, which h5py brings with it.
const LZF: u16 = 32000;

/// One file of a slide.
pub(super) struct Hdf5Slide {
    head: Head,
    features: Numbers,
    coords: Option<Numbers>,
    bytes: Arc<Bytes>,
    labels: Option<Numbers>,
}

/// A dataset of numbers whose size was checked.
struct Numbers {
    dataset: Dataset,
    number: Number,
    big_endian: bool,
}

impl Numbers {
    /// # Errors
    /// When it holds no numbers, or more than a file of `length` bytes can.
    fn of(dataset: Dataset, length: u64) -> Result<Self, Reason> {
        let name = dataset.name().to_owned();
        let (number, order) = match *dataset.dtype() {
            Datatype::FloatingPoint { size, byte_order } => (float(&dataset, size)?, byte_order),
            Datatype::FixedPoint { size: size @ (1 | 2 | 4 | 8), signed, byte_order } => {
                (Number::Integer(size.into(), signed), byte_order)
            }
            ref other => return Err(format!("expected {name} to be numbers, found {other:?}")),
        };
        let items = dataset.shape().iter().try_fold(1u64, |all, &d| all.checked_mul(d));
        let bytes = items.and_then(|n| n.checked_mul(number.bytes() as u64));
        let packed = dataset.chunks().is_some();
        let most = if packed { length.saturating_mul(CLOSEST) } else { length };
        let shape = dataset.shape();
        match bytes {
            Some(bytes) if bytes <= most && bytes <= isize::MAX as u64 => {
                bounded::check_room(name, &[bytes]).map_err(|e| e.to_string())?;
                Ok(Self { dataset, number, big_endian: order == ByteOrder::BigEndian })
            }
            Some(bytes) => Err(format!(
                "{name} of shape {shape:?} needs {bytes} bytes, and the file has {length} (is it cut off?)"
            )),
            None => Err(format!("{name} has the shape {shape:?}, which is too large")),
        }
    }

    /// Fills `out` with all values in C order, which are little-endian.
    fn read_into(&self, bytes: &Bytes, out: &mut [u8]) -> Result<(), Reason> {
        let read = |out: &mut [u8]| self.dataset.read_raw_bytes_into(out);
        let done = match self.dataset.chunks() {
            None => bytes.straight(out, read)?,
            Some(chunk) => {
                let rows = Rows::of(&self.dataset, &chunk, self.number.bytes());
                match rows.map_or(Ok(false), |rows| rows.read(&self.dataset, bytes, out))? {
                    true => Ok(()),
                    false => read(out),
                }
            }
        };
        done.map_err(|e| told(&e))
    }

    /// All values in C order, little-endian.
    fn bytes(&self, bytes: &Bytes) -> Result<Vec<u8>, Reason> {
        let mut all = vec![0; self.dataset.raw_byte_len().map_err(|e| told(&e))?];
        self.read_into(bytes, &mut all)?;
        if self.big_endian {
            all.chunks_exact_mut(self.number.bytes()).for_each(<[u8]>::reverse);
        }
        Ok(all)
    }
}

/// Which float of `size` bytes, after the bits of its exponent and mantissa.
fn float(dataset: &Dataset, size: u8) -> Result<Number, Reason> {
    // Four bytes of class, flags and the size, four of offset and precision; then place and bits of exponent and mantissa.
    let stored = dataset.raw_datatype().map_err(|e| told(&e))?;
    match (size, stored.get(12..16)) {
        (2, Some([_, 5, _, 10])) => Ok(Number::F16),
        (2, Some([_, 8, _, 7])) => Ok(Number::Bf16),
        (4, Some([_, 8, _, 23])) => Ok(Number::F32),
        (8, Some([_, 11, _, 52])) => Ok(Number::F64),
        _ => Err(format!("{} has floats of {size} bytes that are none of float16, 32 or 64", dataset.name())),
    }
}

/// The reader's message, on one line.
fn told(error: &hdf5_reader::error::Error) -> Reason {
    let message = error.to_string().replace('\n', " ");
    format!("the file cannot be read ({message})")
}

/// The file in `path`, within bounds that its `length` in bytes sets.
fn file(path: &Path) -> Result<(Hdf5File, u64, Arc<Bytes>), Reason> {
    let bytes = Arc::new(Bytes::open(path).map_err(|e| told(&e))?);
    let length = Storage::len(&*bytes);
    let within = |bytes: u64| usize::try_from(bytes.min(isize::MAX as u64)).unwrap_or(usize::MAX);
    let mut filters = FilterRegistry::new();
    filters.register(LZF, Box::new(|_, packed, _| lzf(packed).ok_or_else(broken_lzf)));
    // Each chunk is read once, so none is kept.
    let options = OpenOptions::default()
        .with_chunk_cache_bytes(0)
        .with_filter_registry(filters)
        .with_max_chunk_bytes(within(length.saturating_mul(CLOSEST).min(1 << 30)))
        .with_max_read_bytes(within(length.saturating_mul(CLOSEST)))
        .with_max_object_header_bytes(within(length.min(16 << 20)));
    let file = Hdf5File::from_storage_with_options(bytes.clone(), options);
    Ok((file.map_err(|e| told(&e))?, length, bytes))
}

/// The groups of a file that has a group for each slide and no features beside them; none of another.
///
/// # Errors
/// When the file cannot be read.
pub(in super::super) fn groups(path: &Path) -> Result<Vec<String>, Reason> {
    let root = file(path)?.0.root_group().map_err(|e| told(&e))?;
    let (groups, names) = root.member_names().map_err(|e| told(&e))?;
    let is_features = |name: &String| NAMES.contains(&&name[..]);
    let of_slides = match groups.first() {
        Some(first) if !names.iter().any(is_features) => {
            root.group(first).and_then(|group| group.member_names()).map_err(|e| told(&e))?.1.iter().any(is_features)
        }
        _ => false,
    };
    Ok(if of_slides { groups } else { Vec::new() })
}

impl Hdf5Slide {
    /// The slide in `path`, in its root or in the group that is named.
    pub fn open(path: &Path, group: Option<&str>) -> Result<Self, Reason> {
        let (file, length, bytes) = file(path)?;
        let mut root = file.root_group().map_err(|e| told(&e))?;
        if let Some(group) = group {
            root = root.group(group).map_err(|e| told(&e))?;
        }
        let (groups, names) = root.member_names().map_err(|e| told(&e))?;
        let Some(name) = NAMES.iter().find(|name| names.iter().any(|n| n == *name)) else {
            let (coords, only) = (names.iter().any(|n| n == "coords"), names.len() == 1);
            let found = match (names.is_empty(), groups.first()) {
                (true, None) => "nothing in it".into(),
                (true, Some(group)) => {
                    format!(
                        "no dataset, and a group {group} (a file with a group for each slide is given as --data FILE)"
                    )
                }
                (false, _) if coords && only => "coords alone: a file of patches, not of features".into(),
                (false, _) => names.join(", "),
            };
            return Err(format!("expected a dataset called {}, found {found}", NAMES.join(", ")));
        };
        let features = Numbers::of(root.dataset(name).map_err(|e| told(&e))?, length)?;
        if !features.number.is_float() {
            return Err(format!("expected {name} to be floats, found {}", features.number.name()));
        }
        let (rows, width, of_slide) = rows_and_width(features.dataset.shape(), name)?;
        let coords = match names.iter().any(|n| n == "coords") && !of_slide {
            true => Some(Numbers::of(root.dataset("coords").map_err(|e| told(&e))?, length)?),
            false => None,
        };
        if let Some(coords) = &coords {
            coords_columns(coords.dataset.shape(), rows)?;
        }
        let labels = LABELS.iter().find(|name| !of_slide && names.iter().any(|n| n == *name)).map(|name| {
            let labels = Numbers::of(root.dataset(name).map_err(|e| told(&e))?, length)?;
            check_labels(labels.dataset.shape(), rows).map_err(|reason| format!("{name}: {reason}"))?;
            Ok::<_, Reason>(labels)
        });
        let labels = labels.transpose()?;
        let mut attributes = root.attributes().map_err(|e| told(&e))?;
        attributes.extend(features.dataset.attributes());
        attributes.extend(coords.iter().flat_map(|c| c.dataset.attributes()));
        let said = said(&attributes);
        let unit = coords.as_ref().map(|coords| said.unit(coords.number));
        let head = Head {
            rows,
            width,
            number: features.number,
            coords: unit,
            of_slide,
            labelled: labels.is_some(),
            about: said.about(unit),
        };
        Ok(Self { head, features, coords, labels, bytes })
    }
}

impl SlideFile for Hdf5Slide {
    fn head(&self) -> &Head {
        &self.head
    }

    fn features(&self) -> Result<Features, Reason> {
        Ok(self.features.number.features(&self.features.bytes(&self.bytes)?))
    }

    fn read_features(&self, mut place: Place<'_>) -> Result<Looked, Reason> {
        match place.bytes(self.features.number).filter(|_| !self.features.big_endian) {
            Some(out) => self.features.read_into(&self.bytes, out)?,
            None => place.fill(&self.features()?)?,
        }
        Ok(Looked::No)
    }

    fn coords(&self) -> Result<Option<Vec<[f32; 2]>>, Reason> {
        let Some(coords) = &self.coords else { return Ok(None) };
        let columns = coords_columns(coords.dataset.shape(), self.head.rows)?;
        places(&coords.number.floats(&coords.bytes(&self.bytes)?), columns).map(Some)
    }

    fn instance_labels(&self) -> Result<Option<Vec<i32>>, Reason> {
        let Some(labels) = &self.labels else { return Ok(None) };
        whole(labels.number.floats(&labels.bytes(&self.bytes)?)).map(Some)
    }
}

/// Attributes by their names, numbers as text.
fn said(attributes: &[Attribute]) -> Said {
    let value = |a: &Attribute| a.read_string().ok().or_else(|| Some(a.read_as_f64().ok()?.to_string()));
    Said(attributes.iter().filter_map(|a| Some((a.name.clone(), value(a)?))).collect())
}

fn broken_lzf() -> hdf5_reader::error::Error {
    hdf5_reader::error::Error::InvalidData("a chunk that is packed with LZF is broken".into())
}

/// Unpacks LZF: runs of literal bytes, and copies of what came before.
fn lzf(packed: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(packed.len().saturating_mul(2));
    let mut rest = packed;
    while let [control, after @ ..] = rest {
        let control = usize::from(*control);
        if control < 32 {
            let (literal, after) = after.split_at_checked(control + 1)?;
            out.extend_from_slice(literal);
            rest = after;
            continue;
        }
        let (mut length, mut after) = (control >> 5, after);
        if length == 7 {
            let (more, behind) = after.split_first()?;
            length += usize::from(*more);
            after = behind;
        }
        let (low, behind) = after.split_first()?;
        let back = ((control & 31) << 8) + usize::from(*low) + 1;
        let start = out.len().checked_sub(back)?;
        // The copy may overlap what it writes.
        (0..length + 2).for_each(|at| out.push(out[start + at]));
        rest = behind;
    }
    Some(out)
}

/// The arrays of numbers in the root of a file.
pub(in super::super) struct Hdf5Arrays {
    arrays: Vec<Array>,
    numbers: Vec<Numbers>,
    bytes: Arc<Bytes>,
}

impl Hdf5Arrays {
    pub fn open(path: &Path) -> Result<Self, Reason> {
        let (file, length, bytes) = file(path)?;
        let root = file.root_group().map_err(|e| told(&e))?;
        let (mut arrays, mut numbers) = (Vec::new(), Vec::new());
        for name in root.member_names().map_err(|e| told(&e))?.1 {
            // What is no array of numbers is nothing of a slide.
            let Ok(found) = Numbers::of(root.dataset(&name).map_err(|e| told(&e))?, length) else { continue };
            arrays.push(Array::new(name, found.dataset.shape().to_vec(), found.number)?);
            numbers.push(found);
        }
        Ok(Self { arrays, numbers, bytes })
    }
}

impl Arrays for Hdf5Arrays {
    fn arrays(&self) -> &[Array] {
        &self.arrays
    }

    fn bytes(&self, at: usize) -> Result<Vec<u8>, Reason> {
        self.numbers[at].bytes(&self.bytes)
    }
}

/// Where CLAM and TRIDENT keep the patches of a slide whose features are in `path`: in a folder `patches` beside the folder
/// of the features, or one above.
pub(in super::super) fn patches_beside(path: &Path, stem: &str) -> Option<PathBuf> {
    let folder = path.parent()?;
    let around = [folder.parent(), folder.parent().and_then(Path::parent)];
    let names = [format!("{stem}.h5"), format!("{stem}_patches.h5")];
    let places = around.into_iter().flatten().flat_map(|f| names.iter().map(move |n| f.join("patches").join(n)));
    places.into_iter().find(|p| p.is_file())
}

/// What a file of patches says of them; nothing where it cannot be read.
pub(in super::super) fn about_patches(path: &Path) -> About {
    let read = || {
        let file =
            Hdf5File::open_with_options(path, OpenOptions::default().with_max_object_header_bytes(16 << 20)).ok()?;
        Some(said(&file.root_group().ok()?.dataset("coords").ok()?.attributes()).about(Some(Unit::Pixels)))
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lzf_is_unpacked_and_nothing_in_it_believed() {
        // Three literals, then four bytes from three back: a copy over its own end.
        assert_eq!(lzf(&[2, b'a', b'b', b'c', 2 << 5, 2]).unwrap(), b"abcabca");
        // A long copy has its length in a byte of its own.
        assert_eq!(lzf(&[0, b'x', 7 << 5, 3, 0]).unwrap(), b"x".repeat(13));
        assert_eq!(lzf(&[]), Some(Vec::new()));
        for broken in [&[5, b'a'][..], &[2 << 5, 0], &[0, b'x', 7 << 5], &[0, b'x', 2 << 5], &[0, b'x', 2 << 5, 1]] {
            assert_eq!(lzf(broken), None, "{broken:?}");
        }
    }
}
