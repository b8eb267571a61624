//! The file of a slide, and what belongs to it and stands in other files.

use super::format::arrays::{Array, Arrays, COORDS, named};
use super::format::{
    Format, Head, LABELS, Number, ParquetSlide, Part, Reason, Run, RunSlide, SlideFile, Unit, check_labels,
    coords_columns, places, whole,
};
use super::place::{Looked, Place};
use crate::features::Features;
use std::path::{Path, PathBuf};

/// Where the rows of a slide are in files that have those of many.
#[derive(Clone, Debug)]
pub(super) enum Rows {
    Parquet(Vec<Part>),
    Run(Run),
}

/// The file of a slide.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub path: PathBuf,
    /// Its name without the ending, which is that of the slide.
    pub stem: String,
    /// What it is, or why it is nothing.
    pub format: Result<Format, Reason>,
    /// The group within the file, where the file has several slides.
    pub group: Option<String>,
    /// Its rows in files that have those of many slides.
    pub rows: Option<Rows>,
    /// A file with the places of its patches, and their unit where they are whole numbers.
    pub coords: Option<(PathBuf, Unit)>,
    /// A file with the labels of its instances.
    pub labels: Option<PathBuf>,
    /// Where it is from, as the folder says that it is in.
    pub site: Option<String>,
    /// Further files whose patches follow those of the first.
    pub pieces: Vec<PathBuf>,
}

impl Entry {
    pub fn new(path: PathBuf, stem: impl Into<String>, format: Result<Format, Reason>) -> Self {
        Self {
            path,
            stem: stem.into(),
            format,
            group: None,
            rows: None,
            coords: None,
            labels: None,
            site: None,
            pieces: Vec::new(),
        }
    }

    /// The files of the slide, that of its features first.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let beside = self.coords.iter().map(|(path, _)| path).chain(&self.labels);
        std::iter::once(&self.path).chain(&self.pieces).chain(beside).map(PathBuf::as_path)
    }

    /// Opens all that belongs to the slide. Heads are checked, values are not read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(&self) -> Result<Box<dyn SlideFile>, Reason> {
        if let Some(rows) = &self.rows {
            let opened = match rows.clone() {
                Rows::Parquet(parts) => ParquetSlide::of(parts).map(|slide| Box::new(slide) as Box<dyn SlideFile>),
                Rows::Run(run) => RunSlide::open(&self.path, run).map(|slide| Box::new(slide) as Box<dyn SlideFile>),
            };
            return opened.map_err(|reason| format!("slide {}: {reason}", self.stem));
        }
        let group = self.group.as_deref();
        let named = |reason: Reason| group.map_or_else(|| reason.clone(), |group| format!("group {group}: {reason}"));
        let mut file = self.format.clone()?.open(&self.path, group).map_err(named)?;
        if !self.pieces.is_empty() {
            let more = self.pieces.iter().map(|path| {
                let open = || format_of(path)?.open(path, None);
                open().map_err(|reason| format!("{}: {reason}", path.display()))
            });
            file = Box::new(Pieces::of(std::iter::once(Ok(file)).chain(more).collect::<Result<_, _>>()?)?);
        }
        if self.coords.is_none() && self.labels.is_none() {
            return Ok(file);
        }
        let mut head = file.head().clone();
        let coords = self.coords.as_ref().filter(|_| head.coords.is_none() && !head.of_slide);
        let coords = coords.map(|(path, unit)| {
            let beside = Beside::open(path, &COORDS)?;
            coords_columns(&beside.array().shape, head.rows).map_err(|reason| beside.of(reason))?;
            head.coords = Some(if beside.array().number.is_float() { Unit::Unknown } else { *unit });
            Ok::<_, Reason>(beside)
        });
        let coords = coords.transpose()?;
        let labels = self.labels.as_ref().map(|path| {
            let beside = Beside::open(path, &LABELS)?;
            check_labels(&beside.array().shape, head.rows).map_err(|reason| beside.of(reason))?;
            head.labelled = true;
            Ok::<_, Reason>(beside)
        });
        Ok(Box::new(WithBeside { file, head, coords, labels: labels.transpose()? }))
    }
}

/// The format of a file by its content.
fn format_of(path: &Path) -> Result<Format, Reason> {
    let found = Format::by_content(path).map_err(|e| e.to_string())?;
    found.ok_or_else(|| "it does not begin as a file of features does".into())
}

/// An array in a file beside that of a slide.
struct Beside {
    path: PathBuf,
    file: Box<dyn Arrays>,
    at: usize,
}

impl Beside {
    fn open(path: &Path, names: &[&str]) -> Result<Self, Reason> {
        let of = |reason: Reason| format!("{}: {reason}", path.display());
        let file = format_of(path).and_then(|format| format.arrays(path)).map_err(of)?;
        let at =
            named(file.arrays(), names).ok_or_else(|| of(format!("expected an array called {}", names.join(", "))))?;
        Ok(Self { path: path.into(), file, at })
    }

    fn array(&self) -> &Array {
        &self.file.arrays()[self.at]
    }

    fn bytes(&self) -> Result<Vec<u8>, Reason> {
        self.file.bytes(self.at).map_err(|reason| self.of(reason))
    }

    fn of(&self, reason: Reason) -> Reason {
        format!("{}: {reason}", self.path.display())
    }
}

/// The single number in a file, for its label, as text.
///
/// # Errors
/// With the path, when it is not one number.
pub(super) fn one_number(path: &Path, names: &[&str]) -> Result<String, Reason> {
    let beside = Beside::open(path, names)?;
    let Array { shape, number, .. } = beside.array();
    if shape.iter().product::<u64>() != 1 {
        return Err(beside.of(format!("expected one label, found an array of shape {shape:?}")));
    }
    let bytes = beside.bytes()?;
    Ok(match number {
        // A float of 64 bits is not to be rounded before it is looked at.
        Number::F64 => bytes.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).map(|v| v.to_string()).collect(),
        _ => number.floats(&bytes).iter().map(f32::to_string).collect(),
    })
}

/// A slide with what stands beside its file.
struct WithBeside {
    file: Box<dyn SlideFile>,
    head: Head,
    coords: Option<Beside>,
    labels: Option<Beside>,
}

impl SlideFile for WithBeside {
    fn head(&self) -> &Head {
        &self.head
    }

    fn features(&self) -> Result<Features, Reason> {
        self.file.features()
    }

    fn read_features(&self, place: Place<'_>) -> Result<Looked, Reason> {
        self.file.read_features(place)
    }

    fn coords(&self) -> Result<Option<Vec<[f32; 2]>>, Reason> {
        let Some(beside) = &self.coords else { return self.file.coords() };
        let array = beside.array();
        let columns = coords_columns(&array.shape, self.head.rows)?;
        places(&array.number.floats(&beside.bytes()?), columns).map_err(|reason| beside.of(reason)).map(Some)
    }

    fn instance_labels(&self) -> Result<Option<Vec<i32>>, Reason> {
        let Some(beside) = &self.labels else { return self.file.instance_labels() };
        whole(beside.array().number.floats(&beside.bytes()?)).map_err(|reason| beside.of(reason)).map(Some)
    }
}

/// Files whose patches follow one another.
struct Pieces {
    files: Vec<Box<dyn SlideFile>>,
    head: Head,
}

impl Pieces {
    fn of(files: Vec<Box<dyn SlideFile>>) -> Result<Self, Reason> {
        let mut head = files.first().ok_or("no piece")?.head().clone();
        for file in &files[1..] {
            let more = file.head();
            if more.width != head.width {
                return Err(format!("pieces of {} and {} features are no slide", head.width, more.width));
            }
            head.rows += more.rows;
            head.number = if head.number == more.number { head.number } else { Number::F32 };
            head.labelled &= more.labelled;
            head.coords = head.coords.filter(|unit| more.coords == Some(*unit));
        }
        // Vectors of patches, one a file, are the patches of a slide.
        head.of_slide = false;
        Ok(Self { files, head })
    }
}

impl SlideFile for Pieces {
    fn head(&self) -> &Head {
        &self.head
    }

    fn features(&self) -> Result<Features, Reason> {
        let half = self.head.number == Number::F16;
        let mut all = if half { Features::F16(Vec::new()) } else { Features::F32(Vec::new()) };
        for file in &self.files {
            super::append(&mut all, file.features()?);
        }
        Ok(all)
    }

    fn coords(&self) -> Result<Option<Vec<[f32; 2]>>, Reason> {
        if self.head.coords.is_none() {
            return Ok(None);
        }
        let pieces = self.files.iter().map(|file| Ok(file.coords()?.unwrap_or_default()));
        Ok(Some(pieces.collect::<Result<Vec<_>, Reason>>()?.concat()))
    }

    fn instance_labels(&self) -> Result<Option<Vec<i32>>, Reason> {
        if !self.head.labelled {
            return Ok(None);
        }
        let pieces = self.files.iter().map(|file| Ok(file.instance_labels()?.unwrap_or_default()));
        Ok(Some(pieces.collect::<Result<Vec<_>, Reason>>()?.concat()))
    }
}
