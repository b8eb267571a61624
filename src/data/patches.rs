//! Patches: bags whose instances are still pictures, a byte a value.

use super::{Dataset, Source, npy, pictures};
use crate::bag::{Bags, Features};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// How pictures in folders are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Brings every picture to this height and width; without it all have to be of one size.
    pub size: Option<usize>,
    /// What the two numbers in the names of files are.
    pub places: Places,
}

/// What the last two numbers in the name of a file mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Places {
    /// x, then y, as `1024_2048.png`.
    #[default]
    XY,
    /// Line, then column: y before x.
    RowColumn,
    /// Nothing.
    None,
}

impl Places {
    /// The place that the name of a file has, x and then y; `None` when there are fewer than two numbers in it.
    pub fn of(self, file: &Path) -> Option<[f32; 2]> {
        pictures::place(file, self)
    }
}

/// Bags of pictures of one size, in memory or in files.
#[derive(Clone, Debug)]
pub struct Patches {
    /// The bags without features: one column of zeros stands for what is to come.
    frame: Dataset,
    image: [usize; 3],
    store: Store,
}

#[derive(Clone, Debug)]
pub(super) enum Store {
    Bytes(Vec<u8>),
    /// Read when they are asked for.
    Files(Vec<PathBuf>),
}

/// Pictures of more bytes than this in all stay in their files.
const MOST_BYTES: usize = 1 << 31;

impl Patches {
    /// Opens a folder of pictures, a folder of npy files with `pixels.npy`, or what the generator `textures` draws.
    ///
    /// In a folder of pictures (PNG or JPEG) each folder with pictures is a bag. Bags lie in the folder itself, or
    /// one folder deeper, in which case the outer folder is the class of the bag. `Reading` says how places are read
    /// from names.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Format`] that names the file, what was expected and what was found.
    pub fn open(source: impl AsRef<Path>, reading: &Reading) -> Result<Self> {
        let path = source.as_ref();
        if path.is_dir() {
            return match ["pixels.npy", "features.npy"].map(|name| path.join(name).exists()) {
                [true, _] => npy::patches(path),
                [_, true] => Err(Error::format(path, "expected pixels.npy or pictures, found features.npy")),
                _ => pictures::open(path, reading),
            };
        }
        match Source::parse(path)? {
            Source::Textures(textures) => textures.patches(),
            _ => Err(Error::format(path, "expected a folder of pictures, a folder with pixels.npy, or textures")),
        }
    }

    /// Patches of bytes, `[instances, height, width, channels]` of `image`, in the bags of `frame`, whose features
    /// are not looked at.
    ///
    /// # Errors
    /// [`Error::Shape`] when the bytes are not a patch for each instance of the frame.
    pub fn new(pixels: Vec<u8>, image: [usize; 3], frame: Dataset) -> Result<Self> {
        let wanted = image.iter().try_fold(frame.bags.instances(), |a, &d| a.checked_mul(d));
        if wanted != Some(pixels.len()) || pixels.is_empty() {
            return Err(Error::Shape {
                operation: "patches",
                expected: format!("{} pictures of {image:?}", frame.bags.instances()),
                found: format!("{} bytes", pixels.len()),
            });
        }
        Ok(Self { frame, image, store: Store::Bytes(pixels) })
    }

    /// Patches in files; those that fit are read now.
    pub(super) fn of_files(frame: Dataset, image: [usize; 3], files: Vec<PathBuf>) -> Result<Self> {
        let values: usize = image.iter().product();
        if values.saturating_mul(files.len()) > MOST_BYTES {
            return Ok(Self { frame, image, store: Store::Files(files) });
        }
        let mut pixels = vec![0; values * files.len()];
        let read = |(to, file): (&mut [u8], &PathBuf)| {
            to.copy_from_slice(&pictures::read(file, image)?);
            Ok(())
        };
        pixels.par_chunks_exact_mut(values).zip(&files).try_for_each(read)?;
        Self::new(pixels, image, frame)
    }

    /// Bags of nothing but their sizes, for [`Patches::new`].
    ///
    /// # Errors
    /// [`Error::Bags`] for an empty bag.
    pub fn frame(sizes: &[usize], name: &str) -> Result<Dataset> {
        let bags = Bags::packed(Features::F32(vec![0.0; sizes.iter().sum()]), 1, sizes)?;
        Ok(Dataset::new(bags, name))
    }

    /// Number of patches.
    pub fn len(&self) -> usize {
        self.frame.bags.instances()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// (height, width, channels) of a patch.
    pub fn image(&self) -> [usize; 3] {
        self.image
    }

    /// Values of a patch.
    pub fn values(&self) -> usize {
        self.image.iter().product()
    }

    /// The bags, their labels, places and parts. Their features are a column of zeros.
    pub fn bags(&self) -> &Dataset {
        &self.frame
    }

    /// Patch `index`: bytes `[height, width, channels]`.
    ///
    /// # Errors
    /// [`Error::Bags`] when there is no such patch; as [`Patches::open`], where it is still in its file.
    pub fn pixels(&self, index: usize) -> Result<Cow<'_, [u8]>> {
        if index >= self.len() {
            return Err(Error::bags(format!("there is no patch {index}; there are {} from 0 on", self.len())));
        }
        match &self.store {
            Store::Bytes(bytes) => {
                let values = self.values();
                Ok(Cow::Borrowed(&bytes[index * values..(index + 1) * values]))
            }
            Store::Files(files) => Ok(Cow::Owned(pictures::read(&files[index], self.image)?)),
        }
    }

    /// The same bags with features `[instances, width]`.
    ///
    /// # Errors
    /// As [`Bags::validate`].
    pub fn with_features(&self, features: Vec<f32>, width: usize) -> Result<Dataset> {
        let mut set = self.frame.clone();
        (set.bags.features, set.bags.width) = (Features::F32(features), width);
        set.bags.validate()?;
        Ok(set)
    }

    /// The same bags with the pixels themselves as features, 0 to 1.
    ///
    /// # Errors
    /// As [`Patches::pixels`].
    pub fn dataset(&self) -> Result<Dataset> {
        let mut features = Vec::with_capacity(self.len() * self.values());
        for index in 0..self.len() {
            features.extend(self.pixels(index)?.iter().map(|&p| f32::from(p) / 255.0));
        }
        let mut set = self.with_features(features, self.values())?;
        set.bags.image = Some(self.image);
        Ok(set)
    }
}
