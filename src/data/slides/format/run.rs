//! Rows of a file that is one matrix of float32, as AEGIS writes it.

use super::super::place::{Looked, Matrix, Place};
use super::{About, Head, Number, Reason, SlideFile};
use crate::features::Features;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Which rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Run {
    pub first: u64,
    pub rows: u64,
    pub width: u64,
}

/// A slide in such a file.
pub(in super::super) struct RunSlide {
    path: PathBuf,
    run: Run,
    head: Head,
}

impl RunSlide {
    pub fn open(path: &Path, run: Run) -> Result<Self, Reason> {
        let length = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
        let end = run.first.checked_add(run.rows).and_then(|rows| rows.checked_mul(run.width)?.checked_mul(4));
        if end.is_none_or(|end| end > length) {
            return Err(format!("the file ends early: {} rows from {} on are not in it", run.rows, run.first));
        }
        if run.rows == 0 {
            return Err("no patches: it has no rows".into());
        }
        let whole = |value: u64| usize::try_from(value).map_err(|e| e.to_string());
        let head = Head {
            rows: whole(run.rows)?,
            width: whole(run.width)?,
            number: Number::F32,
            coords: None,
            of_slide: false,
            labelled: false,
            about: About::default(),
        };
        Ok(Self { path: path.into(), run, head })
    }
}

impl SlideFile for RunSlide {
    fn head(&self) -> &Head {
        &self.head
    }

    fn features(&self) -> Result<Features, Reason> {
        let size = self.head.rows * self.head.width;
        let mut matrix = Matrix::new(false, size);
        self.read_features(matrix.places(&[size]).pop().ok_or("no place")?)?;
        Ok(matrix.kept(&[size], &[true]))
    }

    fn read_features(&self, mut place: Place<'_>) -> Result<Looked, Reason> {
        let at = self.run.first * self.run.width * 4;
        let mut file = File::open(&self.path).map_err(|e| e.to_string())?;
        file.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
        if place.bytes(Number::F32).is_some() {
            return place.read(&mut file).map_err(|e| e.to_string());
        }
        let bytes = super::super::zip::read_at(&mut file, at, self.run.rows * self.run.width * 4)?;
        place.fill(&Number::F32.features(&bytes)).map(|()| Looked::No)
    }

    fn coords(&self) -> Result<Option<Vec<[f32; 2]>>, Reason> {
        Ok(None)
    }
}
