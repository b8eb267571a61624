//! Folders of PNG and JPEG files, as patches are cut from slides: a folder for each slide, places in the names.
//!
//! ```text
//! slides/                     slides/
//!   slide-1/0_0.png             normal/slide-1/0_0.png
//!   slide-1/0_224.png           normal/slide-1/0_224.png
//!   slide-2/...                 tumour/slide-2/...
//! ```

use super::classes;
use super::patches::{Patches, Places, Reading};
use super::resize::resize_bytes;
use crate::error::{Error, Result};
use image::{ImageReader, Limits};
use std::path::{Path, PathBuf};

const CHANNELS: usize = 3;
/// Height or width that pictures can be brought to, at most.
const MOST_SIDE: usize = 1 << 14;
/// Pixels of a picture, at most: some hundreds of megabytes as it is decoded.
const MOST_PIXELS: u64 = 1 << 27;
/// Labels of patches, a line each: `path/below/the/folder.png,3`.
const PATCH_LABELS: &str = "patch_labels.csv";

/// A folder with pictures in it.
struct Bag {
    name: String,
    class: Option<String>,
    files: Vec<PathBuf>,
}

/// Opens `folder`; see [`Patches::open`]. Bags and files are in the order of their names, with numbers in them
/// compared as numbers.
pub(super) fn open(folder: &Path, reading: &Reading) -> Result<Patches> {
    let mut bags = Vec::new();
    collect(folder, folder, 0, &mut bags)?;
    if bags.is_empty() {
        let message = "expected features.npy, pixels.npy, or PNG or JPEG files in this folder or in folders in it, \
                       found none";
        return Err(Error::format(folder, message));
    }
    let classed = bags.iter().filter(|b| b.class.is_some()).count();
    if classed != 0 && classed != bags.len() {
        let message = "some folders with pictures lie one deeper than others; expected SLIDE/PICTURE or \
                       CLASS/SLIDE/PICTURE throughout";
        return Err(Error::format(folder, message));
    }
    let files: Vec<PathBuf> = bags.iter().flat_map(|b| b.files.iter().cloned()).collect();
    let side = |file: &PathBuf| size_of(file).map(|[h, w]| [h as usize, w as usize, CHANNELS]);
    let image = match reading.size {
        Some(size) if !(1..=MOST_SIDE).contains(&size) => {
            return Err(Error::setting("size", format!("expected 1 to {MOST_SIDE} pixels, found {size}")));
        }
        Some(size) => [size, size, CHANNELS],
        None => side(&files[0])?,
    };
    if reading.size.is_none() {
        // Only the headers: a picture of another size shows now and not in the middle of the work.
        for file in &files[1..] {
            let found = side(file)?;
            if found != image {
                return Err(another_size(file, image, found));
            }
        }
    }
    let sizes: Vec<usize> = bags.iter().map(|b| b.files.len()).collect();
    let mut set = Patches::frame(&sizes, &super::name_of(folder))?;
    set.bags.names = bags.iter().map(|b| b.name.clone()).collect();
    if classed > 0 {
        let of_bags: Vec<&str> = bags.iter().filter_map(|b| b.class.as_deref()).collect();
        let read = classes::of_names(&of_bags).map_err(|message| Error::format(folder, message))?;
        if let Some(mut classes) = read {
            // A single class is one of two, as everywhere.
            if let [only] = &classes.names[..] {
                classes.names.push(format!("not {only}"));
            }
            classes.put_in(&mut set.bags, &mut set.remarks);
        }
    }
    set.bags.coords = files.iter().map(|file| place(file, reading.places)).collect();
    set.bags.instance_labels = patch_labels(folder, &files)?;
    set.bags.validate()?;
    Patches::of_files(set, image, files)
}

fn collect(root: &Path, folder: &Path, depth: usize, bags: &mut Vec<Bag>) -> Result<()> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            _ if hidden => {}
            _ if path.is_dir() => folders.push(path),
            Some("png" | "jpg" | "jpeg") => files.push(path),
            _ => {}
        }
    }
    files.sort_by_cached_key(|p| natural(p));
    folders.sort_by_cached_key(|p| natural(p));
    if !files.is_empty() {
        let below = folder.strip_prefix(root).unwrap_or(folder);
        let parts: Vec<String> = below.iter().map(|p| p.to_string_lossy().into_owned()).collect();
        let (name, class) = match &parts[..] {
            [] => (super::name_of(root), None),
            [slide] => (slide.clone(), None),
            [class, .., slide] => (slide.clone(), Some(class.clone())),
        };
        bags.push(Bag { name, class, files });
    }
    for folder in folders {
        if depth == 2 {
            let message = "expected SLIDE/PICTURE or CLASS/SLIDE/PICTURE, found a folder below these";
            return Err(Error::format(folder, message));
        }
        collect(root, &folder, depth + 1, bags)?;
    }
    Ok(())
}

/// The name in pieces, numbers as numbers, so that 2 comes before 10.
pub(super) fn natural(path: &Path) -> Vec<(u64, String)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut pieces: Vec<(u64, String)> = Vec::new();
    let mut rest = &name[..];
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count().min(18);
        let (number, after) = rest.split_at(digits);
        let text = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        pieces.push((number.parse().unwrap_or(0), after[..text].to_owned()));
        rest = &after[text..];
    }
    pieces
}

/// The place in the name of a file; `None` when it has fewer than two numbers.
pub(super) fn place(file: &Path, places: Places) -> Option<[f32; 2]> {
    let stem = file.file_stem()?.to_string_lossy().into_owned();
    let mut numbers = stem.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).rev();
    let (second, first) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    match places {
        Places::XY => Some([first, second]),
        Places::RowColumn => Some([second, first]),
        Places::None => None,
    }
}

fn patch_labels(folder: &Path, files: &[PathBuf]) -> Result<Option<Vec<i32>>> {
    let path = folder.join(PATCH_LABELS);
    let text = match crate::bounded::text(&path) {
        Ok(text) => text,
        Err(Error::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(other) => return Err(other),
    };
    let mut labels = std::collections::HashMap::new();
    for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty() && !l.starts_with('#')) {
        let wrong = |message: String| Error::format(&path, format!("line {}: {message}", number + 1));
        let (name, label) =
            line.rsplit_once(',').ok_or_else(|| wrong(format!("expected PICTURE,LABEL, found '{line}'")))?;
        let label = label.trim();
        let label: i32 = label.parse().map_err(|_| wrong(format!("expected a whole number, found '{label}'")))?;
        if labels.insert(folder.join(name.trim()), label).is_some() {
            return Err(wrong(format!("'{name}' has a label already")));
        }
    }
    let of = |file: &PathBuf| {
        let name = file.strip_prefix(folder).unwrap_or(file).display();
        labels.remove(file).ok_or_else(|| Error::format(&path, format!("expected a label of {name}, found none")))
    };
    let found = files.iter().map(of).collect::<Result<Vec<_>>>()?;
    match labels.keys().min() {
        Some(name) => Err(Error::format(&path, format!("there is no picture {}", name.display()))),
        None => Ok(Some(found)),
    }
}

fn reader(file: &Path) -> Result<ImageReader<std::io::BufReader<std::fs::File>>> {
    let reader = ImageReader::open(file).and_then(ImageReader::with_guessed_format);
    let mut reader = reader.map_err(|e| Error::io(file, e))?;
    let mut limits = Limits::no_limits();
    // A pixel takes eight bytes at most: four channels of two.
    limits.max_alloc = Some(8 * MOST_PIXELS);
    reader.limits(limits);
    Ok(reader)
}

fn unreadable(file: &Path) -> impl Fn(image::ImageError) -> Error + '_ {
    move |e| match e {
        image::ImageError::IoError(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => Error::io(file, e),
        e => Error::format(file, format!("expected a picture: {e}")),
    }
}

/// Height and width, from the header.
fn size_of(file: &Path) -> Result<[u32; 2]> {
    let (width, height) = reader(file)?.into_dimensions().map_err(unreadable(file))?;
    let pixels = u64::from(width) * u64::from(height);
    match pixels <= MOST_PIXELS {
        true => Ok([height, width]),
        false => {
            let found = format!("{height} x {width}, which is {pixels}");
            Err(Error::format(file, format!("expected a picture of at most {MOST_PIXELS} pixels, found {found}")))
        }
    }
}

fn another_size(file: &Path, wanted: [usize; 3], found: [usize; 3]) -> Error {
    let ([h, w, _], [fh, fw, _]) = (wanted, found);
    let hint = "a size to bring all pictures to can be given";
    Error::format(file, format!("expected {h} x {w} pixels as the first picture has, found {fh} x {fw}; {hint}"))
}

/// Red, green and blue of a picture at the size of `image`.
pub(super) fn read(file: &Path, image: [usize; 3]) -> Result<Vec<u8>> {
    // Before a pixel is decoded: a header can promise anything.
    size_of(file)?;
    let picture = reader(file)?.decode().map_err(unreadable(file))?.to_rgb8();
    let from = [picture.height() as usize, picture.width() as usize];
    let to = [image[0], image[1]];
    let pixels = picture.into_raw();
    if from == to {
        return Ok(pixels);
    }
    Ok(resize_bytes(&pixels, CHANNELS, from, to))
}

/// A picture in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green and blue, row by row.
    pub pixels: Vec<u8>,
}

impl Rgb {
    /// Reads a PNG or JPEG file, brought down to at most `most` pixels a side where it is larger.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] for what is no such picture or one of too many pixels.
    pub fn read(file: &Path, most: usize) -> Result<Self> {
        let [height, width] = size_of(file)?.map(|side| side as usize);
        let longest = height.max(width);
        let side = |side: usize| if longest > most { (side * most).div_ceil(longest).max(1) } else { side };
        let (width, height) = (side(width), side(height));
        Ok(Self { width, height, pixels: read(file, [height, width, CHANNELS])? })
    }
}

#[cfg(test)]
#[path = "pictures_tests.rs"]
mod tests;
