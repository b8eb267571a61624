//! Pictures that lie beside the data: of slides, and of patches.

use anyhow::{Context, Result, bail};
use bagrad::data::Rgb;
use bagrad::data::patches::Places;
use bagrad::heatmap::{Backdrop, Cells, Patch, SIDE};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Pixels of a thumbnail's longer side that are kept; a map has no more.
const MOST: usize = 4096;

/// True for what is read as a picture.
fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    matches!(ending.as_deref(), Some("png" | "jpg" | "jpeg"))
}

/// Pictures in a folder by their names without the ending.
///
/// # Errors
/// When the folder cannot be read.
pub fn within(folder: &Path) -> Result<HashMap<String, PathBuf>> {
    let named = |path: PathBuf| Some((path.file_stem()?.to_string_lossy().into_owned(), path));
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut all = Vec::new();
    for entry in entries {
        all.push(entry.with_context(|| folder.display().to_string())?.path());
    }
    all.sort();
    Ok(all.into_iter().filter(|path| is_picture(path)).filter_map(named).collect())
}

/// A thumbnail below the map, stretched to the whole slide, whose size is told with how it is known, or else is the smallest of the thumbnail's form
/// that holds all cells; and what was assumed.
///
/// # Errors
/// For a file that is no picture.
pub fn backdrop(
    file: &Path,
    cells: &Cells,
    slide: Option<([f64; 2], &str)>,
    opacity: f64,
) -> Result<(Backdrop, String)> {
    let Rgb { width, height, pixels } = Rgb::read(file, MOST)?;
    let [low, high] = cells.extent();
    if low.iter().any(|&c| c < 0.0) {
        bail!("{}: places below 0 lie outside of the slide, so it cannot be laid below them", file.display());
    }
    let told = |slide: [f64; 2], how: &str| {
        format!("Below it: {} stretched to {} x {}{how}.", name(file), slide[0].round(), slide[1].round())
    };
    let (slide, told) = match slide {
        Some((slide, how)) => (slide, told(slide, &format!(", the size of the slide {how}"))),
        None => {
            let form = width as f64 / height as f64;
            let wide = high[0].max(high[1] * form);
            let slide = [wide, wide / form];
            (
                slide,
                told(
                    slide,
                    ", assumed: the smallest slide of that form that holds all patches (--slide-size tells it)",
                ),
            )
        }
    };
    Ok((Backdrop { width, height, pixels, slide, opacity }, told))
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Pictures of the patches of one slide.
pub struct Tiles(HashMap<[i64; 2], PathBuf>);

impl Tiles {
    /// The pictures in `folder/SLIDE`, by the last two numbers of their names: x and y. `None` where the slide has no folder.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn of(folder: &Path, slide: &str) -> Result<Option<Self>> {
        // A name with a slash would lead elsewhere.
        let below = folder.join(slide);
        if below.parent() != Some(folder) || !below.is_dir() {
            return Ok(None);
        }
        let placed = within(&below)?.into_values().filter_map(|path| {
            let place = Places::XY.of(&path)?;
            Some((place.map(|c| c as i64), path))
        });
        Ok(Some(Self(placed.collect())))
    }

    /// The picture of the patch at this place: named by the place itself, or where none of the slide is, by its column and row.
    fn at(&self, place: [f64; 2], cells: &Cells) -> Option<&PathBuf> {
        let key = |place: [f64; 2]| place.map(|c| c.round() as i64);
        let by_place = cells.corners().iter().any(|&corner| corner != [0.0, 0.0] && self.0.contains_key(&key(corner)));
        self.0.get(&key(if by_place { place } else { place.map(|c| c / cells.side()) }))
    }

    /// The patch at this place for a sheet, and whether there is a picture of it.
    ///
    /// # Errors
    /// For a file that is no picture.
    pub fn patch(&self, place: [f64; 2], cells: &Cells, caption: [String; 2]) -> Result<(Patch, bool)> {
        Ok(match self.at(place, cells) {
            Some(file) => {
                let Rgb { width, pixels, .. } = Rgb::read(file, SIDE)?;
                (Patch { width, pixels, caption }, true)
            }
            None => (Patch { width: 0, pixels: Vec::new(), caption }, false),
        })
    }
}
