//! A file with the features of one slide, whatever format it has. Each format is a file of its own here; those that hold
//! arrays by name implement [`arrays::Arrays`], and what the arrays are is found in one place.

pub(super) mod arrays;
mod csv;
mod hdf5;
mod npy;
mod npz;
mod parquet;
mod run;
mod safetensors;
mod torch;
mod weights;

pub(super) use hdf5::{about_patches, groups, patches_beside};
pub(in crate::data) use parquet::without_features;
pub(super) use parquet::{ParquetSlide, Part};
pub(super) use run::{Run, RunSlide};
pub(in crate::data) use weights::read as weights;

use super::parquet::{MAGIC, Parquet};
use super::place::{Looked, Place};
use super::said::Said;
use super::zip;
use crate::error::Error;
use crate::features::Features;
use crate::origin::PlaceUnit;
use arrays::{ArraySlide, Arrays};
use half::{bf16, f16};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What is wrong with a file, without its path.
pub(super) type Reason = String;

/// An error without the path that it names.
pub(super) fn reason(error: Error) -> Reason {
    match error {
        Error::Format { message, .. } => message,
        Error::Io { cause, .. } => cause.to_string(),
        other => other.to_string(),
    }
}

/// What labels of instances are called.
pub(super) const LABELS: [&str; 4] = ["inst_labels", "patch_labels", "instance_labels", "y_inst"];

/// What features are called in a file with several things, the usual name first.
pub(super) const NAMES: [&str; 3] = ["features", "feats", "patch_embeddings"];

/// What a value is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    F16,
    Bf16,
    F32,
    F64,
    /// Bytes, and whether there is a sign.
    Integer(usize, bool),
}

impl Number {
    pub fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Integer(bytes, _) => bytes,
        }
    }

    pub fn name(self) -> String {
        match self {
            Self::F16 => "float16".into(),
            Self::Bf16 => "bfloat16".into(),
            Self::F32 => "float32".into(),
            Self::F64 => "float64".into(),
            Self::Integer(bytes, signed) => format!("{}int{}", if signed { "" } else { "u" }, bytes * 8),
        }
    }

    pub fn is_float(self) -> bool {
        !matches!(self, Self::Integer(..))
    }

    /// Little-endian values as features: float16 stays, all else becomes float32.
    pub fn features(self, bytes: &[u8]) -> Features {
        match self {
            Self::F16 => Features::F16(bytes.as_chunks::<2>().0.iter().map(|&b| f16::from_le_bytes(b)).collect()),
            _ => Features::F32(self.floats(bytes)),
        }
    }

    /// Little-endian values as float32, rounded where they are longer.
    pub fn floats(self, bytes: &[u8]) -> Vec<f32> {
        fn each<const N: usize>(bytes: &[u8], of: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks::<N>().0.iter().map(|&b| of(b)).collect()
        }
        match self {
            Self::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Self::F32 => each(bytes, f32::from_le_bytes),
            Self::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Self::Integer(1, true) => each(bytes, |[b]| f32::from(b as i8)),
            Self::Integer(1, false) => each(bytes, |[b]| f32::from(b)),
            Self::Integer(2, true) => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Self::Integer(2, false) => each(bytes, |b| f32::from(u16::from_le_bytes(b))),
            Self::Integer(4, true) => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Self::Integer(4, false) => each(bytes, |b| u32::from_le_bytes(b) as f32),
            Self::Integer(_, true) => each(bytes, |b| i64::from_le_bytes(b) as f32),
            Self::Integer(_, false) => each(bytes, |b| u64::from_le_bytes(b) as f32),
        }
    }
}

/// The unit of coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    /// Pixels of the slide at its full resolution.
    Pixels,
    Micrometres,
    /// The file does not say.
    Unknown,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pixels => PlaceUnit::Pixels.name(),
            Self::Micrometres => PlaceUnit::Micrometres.name(),
            Self::Unknown => "a unit that the files do not tell",
        }
    }
}

/// What a file says about its patches.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct About {
    /// Who made the features.
    pub encoder: Option<String>,
    /// Side of a patch in the unit of the coordinates.
    pub patch: Option<f64>,
    /// Magnification at which patches were seen.
    pub magnification: Option<f64>,
    /// Width and height of the slide in the unit of the coordinates.
    pub slide: Option<[f64; 2]>,
}

/// What is known of a slide before its features are read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Head {
    pub rows: usize,
    pub width: usize,
    pub number: Number,
    /// The unit of the coordinates, where there are some.
    pub coords: Option<Unit>,
    /// Features are of the slide as a whole: a vector.
    pub of_slide: bool,
    /// Its instances have labels.
    pub labelled: bool,
    pub about: About,
}

/// A file that was opened: its head is checked against its length, its features are not read yet.
pub(super) trait SlideFile {
    fn head(&self) -> &Head;

    /// Row-major `[rows, width]`.
    ///
    /// # Errors
    /// What is wrong with them.
    fn features(&self) -> Result<Features, Reason>;

    /// Reads the features into `place`, which has as many values as the head tells; answers whether each was looked at.
    ///
    /// # Errors
    /// What is wrong with them.
    fn read_features(&self, mut place: Place<'_>) -> Result<Looked, Reason> {
        place.fill(&self.features()?).map(|()| Looked::No)
    }

    /// The place of each row.
    ///
    /// # Errors
    /// What is wrong with them.
    fn coords(&self) -> Result<Option<Vec<[f32; 2]>>, Reason>;

    /// The label of each row.
    ///
    /// # Errors
    /// What is wrong with them.
    fn instance_labels(&self) -> Result<Option<Vec<i32>>, Reason> {
        Ok(None)
    }
}

/// A kind of file with the features of a slide; of two for one slide the first goes before, as it has places too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Format {
    Hdf5,
    Torch,
    Safetensors,
    Npz,
    Npy,
    Parquet,
    Csv,
    /// A matrix with the rows of many slides, which an index tells.
    Memmap,
    /// One of many in a packed file, which is opened as a whole.
    Packed,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hdf5 => "HDF5",
            Self::Torch => "PyTorch",
            Self::Safetensors => "safetensors",
            Self::Npz => "npz",
            Self::Npy => "npy",
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Memmap => "memmap",
            Self::Packed => "packed",
        }
    }

    /// Folders of features often have other things beside them: with files of one rank those of later ones are none of slides.
    pub fn rank(self) -> usize {
        match self {
            Self::Hdf5 | Self::Torch => 0,
            Self::Safetensors => 1,
            Self::Npz => 2,
            Self::Npy => 3,
            Self::Parquet => 4,
            Self::Csv => 5,
            Self::Memmap => 6,
            Self::Packed => 7,
        }
    }

    /// The format that the ending promises. That of csv promises nothing: most are tables.
    pub fn by_name(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_string_lossy().to_lowercase();
        match ending.as_str() {
            "h5" | "hdf5" | "hdf" | "he5" => Some(Self::Hdf5),
            "pt" | "pth" => Some(Self::Torch),
            "safetensors" => Some(Self::Safetensors),
            "npz" => Some(Self::Npz),
            "npy" => Some(Self::Npy),
            "parquet" | "pq" => Some(Self::Parquet),
            _ => None,
        }
    }

    /// The format that the first bytes are of. HDF5 may have a block of the user's in front, 512 bytes or twice, four
    /// times, .. as many. Zip archives and braces are many things: of those the name tells.
    pub fn by_content(path: &Path) -> std::io::Result<Option<Self>> {
        let mut file = File::open(path)?;
        let named = Self::by_name(path);
        let mut start = Vec::new();
        file.by_ref().take(torch::LEGACY.len() as u64).read_to_end(&mut start)?;
        if start == torch::LEGACY {
            return Ok(Some(Self::Torch));
        }
        if start.starts_with(&npy::MAGIC) {
            return Ok(Some(Self::Npy));
        }
        if start.starts_with(&MAGIC) {
            // What is broken is told when it is opened.
            let is = Parquet::open(path).map_or(true, |file| parquet::has_features(&file));
            return Ok(is.then_some(Self::Parquet));
        }
        match named {
            Some(Self::Torch | Self::Npz) if start.starts_with(&zip::ZIP) => return Ok(named),
            Some(Self::Safetensors) => {
                let length = file.metadata()?.len();
                return Ok(named.filter(|_| safetensors::head_length(&start, length).is_some()));
            }
            None if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) => {
                return Ok(csv::is(path)?.then_some(Self::Csv));
            }
            _ => {}
        }
        let places = [0, 512, 1024, 2048, 4096, 8192];
        for place in &places[..if named == Some(Self::Hdf5) { places.len() } else { 1 }] {
            let mut start = [0; 8];
            file.seek(SeekFrom::Start(*place))?;
            match file.read_exact(&mut start) {
                Ok(()) if start == *b"\x89HDF\r\n\x1a\n" => return Ok(Some(Self::Hdf5)),
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => break,
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// The format by the first bytes, else by the name; none of a table.
    pub fn of_file(path: &Path) -> Option<Self> {
        let named = || Self::by_name(path).filter(|_| !Self::is_table(path));
        Self::by_content(path).ok().flatten().or_else(named)
    }

    /// True for a parquet file without features.
    pub fn is_table(path: &Path) -> bool {
        let mut start = [0; MAGIC.len()];
        let mut begins = || File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == MAGIC;
        Self::by_name(path) == Some(Self::Parquet)
            && Self::by_content(path).is_ok_and(|format| format.is_none())
            && begins()
    }

    /// Opens a file of this format; `group` is that of the slide where a file has several.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(self, path: &Path, group: Option<&str>) -> Result<Box<dyn SlideFile>, Reason> {
        Ok(match self {
            Self::Hdf5 => Box::new(hdf5::Hdf5Slide::open(path, group)?),
            Self::Torch => Box::new(torch::TorchSlide::open(path)?),
            Self::Safetensors => {
                let (file, said) = safetensors::Safetensors::open(path)?;
                Box::new(ArraySlide::of(file, &said)?)
            }
            Self::Npz => Box::new(ArraySlide::of(npz::Npz::open(path)?, &Said::default())?),
            Self::Npy => Box::new(ArraySlide::of(npy::Npy::open(path)?, &Said::default())?),
            Self::Parquet => Box::new(ParquetSlide::open(path)?),
            Self::Csv => Box::new(csv::CsvSlide::open(path)?),
            Self::Memmap => return Err("its index tells which rows are of which slide".into()),
            Self::Packed => return Err("a packed file is opened as a whole".into()),
        })
    }

    /// Opens a file of this format that has something beside features, such as places.
    ///
    /// # Errors
    /// What is wrong with it, or that such files have no arrays.
    pub fn arrays(self, path: &Path) -> Result<Box<dyn Arrays>, Reason> {
        Ok(match self {
            Self::Hdf5 => Box::new(hdf5::Hdf5Arrays::open(path)?),
            Self::Safetensors => Box::new(safetensors::Safetensors::open(path)?.0),
            Self::Npz => Box::new(npz::Npz::open(path)?),
            Self::Npy => Box::new(npy::Npy::open(path)?),
            Self::Torch | Self::Parquet | Self::Csv | Self::Memmap | Self::Packed => {
                return Err(format!("expected an npy, npz or HDF5 file, found one of {}", self.name()));
            }
        })
    }
}

/// Rows and width of features of this shape, and whether they are one vector for the slide.
///
/// # Errors
/// What is wrong with it.
pub(super) fn rows_and_width(shape: &[u64], name: &str) -> Result<(usize, usize, bool), Reason> {
    let (rows, width, of_slide) = match *shape {
        [0] => (0, 0, true),
        [width] => (1, width, true),
        [rows, width] | [1, rows, width] => (rows, width, false),
        _ => return Err(format!("expected {name} of shape [patches, width] or [1, patches, width], found {shape:?}")),
    };
    match (usize::try_from(rows), usize::try_from(width)) {
        (Ok(0), _) => Err(format!("no patches: {name} has the shape {shape:?}")),
        (_, Ok(0)) => Err(format!("expected at least one feature, found {name} of shape {shape:?}")),
        (Ok(rows), Ok(width)) => Ok((rows, width, of_slide)),
        _ => Err(format!("{name} has the shape {shape:?}, which is too large")),
    }
}

/// The first two columns of `values` `[rows, columns]` as places.
///
/// # Errors
/// When a value is not finite.
pub(super) fn places(values: &[f32], columns: usize) -> Result<Vec<[f32; 2]>, Reason> {
    let places: Vec<[f32; 2]> = values.chunks_exact(columns).map(|row| [row[0], row[1]]).collect();
    match places.iter().position(|p| !p.iter().all(|v| v.is_finite())) {
        Some(row) => Err(format!("coords in row {row} (0-based): expected finite numbers, found {:?}", places[row])),
        None => Ok(places),
    }
}

/// Columns of coordinates of this shape, one row for each of `rows`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn coords_columns(shape: &[u64], rows: usize) -> Result<usize, Reason> {
    match *shape {
        [found, columns @ 2..=3] | [1, found, columns @ 2..=3] if found == rows as u64 => Ok(columns as usize),
        _ => Err(format!("expected coords of shape [{rows}, 2] (a place for each patch), found {shape:?}")),
    }
}

/// Refuses labels of instances of this shape where they are not one for each of `rows`.
///
/// # Errors
/// With both.
pub(super) fn check_labels(shape: &[u64], rows: usize) -> Result<(), Reason> {
    match shape.iter().product::<u64>() == rows as u64 {
        true => Ok(()),
        false => Err(format!("expected a label for each of {rows} patches, found {shape:?}")),
    }
}

/// Values as labels of instances.
///
/// # Errors
/// With the first that is no whole number.
pub(super) fn whole(values: Vec<f32>) -> Result<Vec<i32>, Reason> {
    // Beyond this not every whole number is a float.
    let whole = |v: &f32| v.fract() == 0.0 && v.abs() < (1 << 24) as f32;
    match values.iter().position(|v| !whole(v)) {
        Some(row) => Err(format!("row {row} (0-based): expected a whole number as a label, found {}", values[row])),
        None => Ok(values.into_iter().map(|v| v as i32).collect()),
    }
}
