//! Arrays in NumPy's npy format, and a folder of them as a data set.
//!
//! | file | content |
//! |---|---|
//! | `features.npy` | float16, float32 or float64 `[instances, width]` |
//! | `pixels.npy` | instead: uint8 `[instances, pixels]`, `[.., height, width]` or `[.., height, width, channels]`, scaled by 1/255 |
//! | `bag_ids.npy` | integers `[instances]`: the bag of each instance, from 0, ascending without a gap |
//! | `labels.npy` | integers `[bags]`: the class of each bag, from 0; left out for bags without labels |
//! | | or `[bags, labels]` of 0 and 1 (floats may be nan where that is not known): any subset of several labels a bag |
//! | `numbers.npy` | instead: numbers `[bags]` to be predicted, nan where one is not known |
//! | `times.npy` | instead: times `[bags]` of at least 0, nan where one is not known |
//! | `events.npy` | beside `times.npy`: 1 where the event came at that time, 0 where the bag was censored |
//! | `instance_labels.npy` | optional integers `[instances]` |
//! | `key_instances.npy` | optional integers `[instances]`, 1 for a key instance; goes before `instance_labels.npy` |
//! | `coords.npy` | optional numbers `[instances, 2 or 3]` (x, y; a third column is left out) |
//! | `split.npy` | optional integers `[bags]`: 0 train, 1 test, 2 validation |
//! | `folds.npy` | optional integers `[bags]` or `[repeats, bags]`: the fold that tests each bag |
//! | `groups.npy` | optional integers `[bags]` from 0: the group of each bag, such as the patient of a slide |
//! | `groups.txt` | in its place: a line for each bag |
//! | `bag_names.txt` | optional: a line for each bag |
//! | `class_names.txt` | optional: a line for each class, or for each of several labels |
//!
//! Both byte orders are read; Fortran order in one and two dimensions.

pub(super) mod array;
mod labels;
mod save;

pub use save::save;

use super::classes;
use super::{Dataset, Folds, Patches, Split};
use crate::bag::Bags;
use crate::bounded;
use crate::error::{Error, Result};
use crate::features::{Features, Mapped};
use crate::responses::Responses;
use array::{Array, check_finite};
use labels::{labels, several_labels};
use npyz::TypeChar;
use std::path::Path;

/// What the files of the layout are called.
pub(super) const FILES: [&str; 13] = [
    "features.npy",
    "pixels.npy",
    "bag_ids.npy",
    "labels.npy",
    "numbers.npy",
    "times.npy",
    "events.npy",
    "instance_labels.npy",
    "key_instances.npy",
    "coords.npy",
    "split.npy",
    "folds.npy",
    "groups.npy",
];

/// Features, width and image shape.
type Instances = (Features, usize, Option<[usize; 3]>);

fn instances(folder: &Path, mapped: bool) -> Result<Instances> {
    let path = folder.join("features.npy");
    if !path.exists() {
        let (pixels, width, image) = pixels(folder)?;
        return Ok((Features::F32(pixels.into_iter().map(|b| f32::from(b) / 255.0).collect()), width, image));
    }
    let mut array = Array::open(&path)?;
    let [rows, width] = array.shape[..] else {
        return array.wrong("two dimensions [instances, width]", format!("{:?}", array.shape));
    };
    if rows == 0 || width == 0 {
        return array.wrong("at least one instance and one feature", format!("shape {:?}", array.shape));
    }
    let usable = array.kind == TypeChar::Float && array.size <= 4 && !array.big_endian && !array.fortran;
    if mapped
        && usable
        && let Some(features) = Mapped::open(&path, array.header, [rows, width], array.size == 2)?
    {
        return Ok((Features::Mapped(features), width, None));
    }
    let features = array.floats()?;
    check_finite(&path, &features, width)?;
    Ok((features, width, None))
}

/// Bytes, width and image shape.
fn pixels(folder: &Path) -> Result<(Vec<u8>, usize, Option<[usize; 3]>)> {
    let path = folder.join("pixels.npy");
    if !path.exists() {
        return Err(Error::format(folder, "expected features.npy or pixels.npy in this folder, found neither"));
    }
    let mut array = Array::open(&path)?;
    if (array.kind, array.size) != (TypeChar::Uint, 1) {
        return array.wrong("uint8 pixels", &array.descr);
    }
    let (width, image) = match array.shape[..] {
        [_, width] => (width, Some(width.isqrt()).filter(|s| s * s == width).map(|s| [s, s, 1])),
        [_, h, w] => (h * w, Some([h, w, 1])),
        [_, h, w, c] => (h * w * c, Some([h, w, c])),
        _ => return array.wrong("two to four dimensions [instances, ...]", format!("{:?}", array.shape)),
    };
    if array.shape.contains(&0) {
        return array.wrong("at least one instance and one pixel", format!("shape {:?}", array.shape));
    }
    Ok((array.items(|[b]| b)?, width, image))
}

/// How bags are brought into order.
const ORDERED: &str = "in NumPy: ids = np.unique(ids, return_inverse=True)[1]; order = np.argsort(ids, kind='stable'), \
                       then [order] of ids and of every array of instances";

/// Sizes of the bags from the bag number of each instance.
fn bag_sizes(path: &Path, ids: &[i64]) -> Result<Vec<usize>> {
    let mut sizes: Vec<usize> = Vec::new();
    for (row, &id) in ids.iter().enumerate() {
        let current = sizes.len() as i64 - 1;
        if id == current + 1 {
            sizes.push(0);
        } else if id != current || row == 0 {
            let message = if row == 0 {
                format!("row 0 (0-based): expected bag 0 first, found bag {id} ({ORDERED})")
            } else if id > current {
                format!(
                    "row {row} (0-based): bag {id} after bag {current}; bag {} has no instance ({ORDERED})",
                    current + 1
                )
            } else {
                format!("row {row} (0-based): bag {id} after bag {current}; expected ascending bags ({ORDERED})")
            };
            return Err(Error::format(path, message));
        }
        if let Some(size) = sizes.last_mut() {
            *size += 1;
        }
    }
    Ok(sizes)
}

/// Reads `folder/name` with `read` where the file exists.
fn optional<T>(folder: &Path, name: &str, read: impl FnOnce(Array) -> Result<T>) -> Result<Option<T>> {
    let path = folder.join(name);
    if path.exists() { Array::open(&path).and_then(read).map(Some) } else { Ok(None) }
}

/// Opens a folder in the layout above. The key instances are those labelled above zero; set
/// [`Dataset::key`] where the folder's labels mean something else.
///
/// # Errors
/// [`Error::Format`] that names the file, the row or the shape, and what was expected and found.
pub fn open(folder: &Path) -> Result<Dataset> {
    read(folder, false)
}

/// As [`open`], with the features left in the file: the system reads them when they are wanted. Float64,
/// big-endian and Fortran-ordered features, and pixels, are read into memory all the same.
///
/// # Errors
/// As [`open`].
pub fn open_mapped(folder: &Path) -> Result<Dataset> {
    read(folder, true)
}

fn read(folder: &Path, mapped: bool) -> Result<Dataset> {
    let (features, width, image) = instances(folder, mapped)?;
    let mut set = around(folder, features, width)?;
    set.bags.image = image;
    Ok(set)
}

/// Opens a folder with `pixels.npy` and leaves its instances bytes.
///
/// # Errors
/// As [`open`], and [`Error::Format`] when it is not known how high and wide a row of pixels is.
pub fn patches(folder: &Path) -> Result<Patches> {
    let (pixels, width, image) = pixels(folder)?;
    let Some(image) = image else {
        let message = format!("expected pixels [instances, height, width, channels], found [instances, {width}]");
        return Err(Error::format(folder.join("pixels.npy"), message));
    };
    let frame = around(folder, Features::F32(vec![0.0; pixels.len() / width]), 1)?;
    Patches::new(pixels, image, frame)
}

/// Everything of a folder but its instances, which are given.
fn around(folder: &Path, features: Features, width: usize) -> Result<Dataset> {
    let ids = folder.join("bag_ids.npy");
    if !ids.exists() {
        return Err(Error::format(
            folder,
            "expected bag_ids.npy (the bag of each instance) in this folder, found none",
        ));
    }
    let rows = features.len() / width;
    let sizes = bag_sizes(&ids, &Array::open(&ids)?.vector(rows, "one bag for each instance")?)?;
    let count = sizes.len();
    let mut set = Dataset::new(Bags::packed(features, width, &sizes)?, super::name_of(folder));
    let class_names = lines(folder, "class_names.txt", |found| found > 0, "the names of the classes".into())?;
    let labels = optional(folder, "labels.npy", |array| match array.shape.len() {
        2 => several_labels(array, count, class_names.as_deref(), &mut set),
        _ => labels(array, count, class_names.as_deref()),
    })?;
    if let Some(classes) = labels.flatten() {
        classes.put_in(&mut set.bags, &mut set.remarks);
    }
    set.bags.responses = responses(folder, count)?;
    let bags = &mut set.bags;
    if let Some(names) = class_names {
        bags.class_names = names;
    }
    if let Some(names) = lines(folder, "bag_names.txt", |found| found == count, format!("{count} lines (bags)"))? {
        bags.names = names;
    }
    if let Some(names) =
        lines(folder, "feature_names.txt", |found| found == width, format!("{width} lines (features)"))?
    {
        bags.columns = Some(names);
    }
    bags.groups = groups(folder, count)?;
    let labels_of = |name| optional(folder, name, |array| instance_labels(array, rows));
    bags.instance_labels = match labels_of("key_instances.npy")? {
        Some(keys) => Some(keys),
        None => labels_of("instance_labels.npy")?,
    };
    bags.coords = optional(folder, "coords.npy", |array| coords(array, rows))?;
    bags.validate()?;
    set.split = optional(folder, "split.npy", |array| split(array, count))?;
    if let Some(mut split) = set.split.take() {
        set.leave_out_unlabelled(&mut split);
        set.split = Some(split);
    }
    set.folds = optional(folder, "folds.npy", |array| folds(array, count))?;
    set.remarks.extend(classes::misread(&set.bags).map_err(|message| Error::format(folder, message))?);
    Ok(set)
}

/// What is known of bags that is no class, where the folder has it.
fn responses(folder: &Path, bags: usize) -> Result<Option<Responses>> {
    let values = |mut array: Array| {
        array.expect_shape(&[bags], "one number for each bag of bag_ids.npy")?;
        match array.kind {
            TypeChar::Float => Ok(array.floats()?.to_f32()),
            _ => Ok(array.integers()?.into_iter().map(|v| v as f32).collect()),
        }
    };
    let came = |mut array: Array| {
        let all = array.vector(bags, "1 or 0 for each bag of bag_ids.npy")?;
        match all.iter().position(|&v| v != 0 && v != 1) {
            Some(row) => array.wrong("1 for an event and 0 for none", format!("{} in row {row} (0-based)", all[row])),
            None => Ok(all.into_iter().map(|v| v == 1).collect()),
        }
    };
    let (numbers, times) = (optional(folder, "numbers.npy", values)?, optional(folder, "times.npy", values)?);
    match (numbers, times, optional(folder, "events.npy", came)?) {
        (None, None, None) => Ok(None),
        (Some(numbers), None, None) => Ok(Some(Responses::Numbers(numbers))),
        (None, Some(times), Some(events)) => Ok(Some(Responses::Survival { times, events })),
        (Some(_), ..) => Err(Error::format(folder, "expected numbers.npy or times.npy with events.npy, found both")),
        (None, ..) => Err(Error::format(folder, "expected times.npy and events.npy, found one of them alone")),
    }
}

/// The group of each bag, where the folder has them.
fn groups(folder: &Path, bags: usize) -> Result<Option<Vec<String>>> {
    let numbers =
        optional(folder, "groups.npy", |mut array| array.vector(bags, "one group for each bag of bag_ids.npy"))?;
    let words = lines(folder, "groups.txt", |found| found == bags, format!("{bags} lines (the group of each bag)"))?;
    match (numbers, words) {
        (Some(_), Some(_)) => {
            Err(Error::format(folder, "expected groups.npy or groups.txt in this folder, found both"))
        }
        (Some(numbers), None) => match numbers.iter().position(|&n| n < 0) {
            Some(row) => {
                let message = format!("row {row} (0-based): expected a group from 0, found {}", numbers[row]);
                Err(Error::format(folder.join("groups.npy"), message))
            }
            None => Ok(Some(numbers.iter().map(i64::to_string).collect())),
        },
        (None, Some(words)) => match words.iter().position(|w| w.trim().is_empty()) {
            Some(line) => Err(Error::format(
                folder.join("groups.txt"),
                format!("line {}: expected a group, found none", line + 1),
            )),
            None => Ok(Some(words)),
        },
        (None, None) => Ok(None),
    }
}

/// The lines of an optional text file; their number has to be right.
fn lines(folder: &Path, name: &str, right: impl Fn(usize) -> bool, expected: String) -> Result<Option<Vec<String>>> {
    let path = folder.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let text = bounded::text(&path)?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    match right(lines.len()) {
        true => Ok(Some(lines)),
        false => Err(Error::format(&path, format!("expected {expected}, found {}", lines.len()))),
    }
}

fn instance_labels(mut array: Array, rows: usize) -> Result<Vec<i32>> {
    let labels = array.vector(rows, "one for each instance")?;
    if let Some(row) = labels.iter().position(|&l| i32::try_from(l).is_err()) {
        return array.wrong("labels within int32", format!("{} in row {row} (0-based)", labels[row]));
    }
    Ok(labels.into_iter().map(|l| l as i32).collect())
}

fn coords(mut array: Array, rows: usize) -> Result<Vec<[f32; 2]>> {
    let [found, columns @ 2..=3] = array.shape[..] else {
        return array.wrong(&format!("shape [{rows}, 2 or 3] (x, y)"), format!("{:?}", array.shape));
    };
    if found != rows {
        return array.wrong(&format!("{rows} rows (one for each instance)"), format!("{:?}", array.shape));
    }
    let values = match array.kind {
        TypeChar::Float => array.floats()?,
        _ => Features::F32(array.integers()?.into_iter().map(|v| v as f32).collect()),
    };
    check_finite(&array.path, &values, columns)?;
    Ok((0..rows).map(|r| [values.get(r * columns), values.get(r * columns + 1)]).collect())
}

fn split(mut array: Array, bags: usize) -> Result<Vec<Split>> {
    let parts = array.vector(bags, "one for each bag")?;
    let part = |(row, &part): (usize, &i64)| match part {
        0 => Ok(Split::Train),
        1 => Ok(Split::Test),
        2 => Ok(Split::Validation),
        _ => array.wrong("0 (train), 1 (test) or 2 (validation)", format!("{part} in row {row} (0-based)")),
    };
    parts.iter().enumerate().map(part).collect()
}

fn folds(mut array: Array, bags: usize) -> Result<Folds> {
    if array.shape.last() != Some(&bags) || array.shape.len() > 2 {
        return array.wrong(&format!("shape [{bags}] or [repeats, {bags}] (bags)"), format!("{:?}", array.shape));
    }
    let values = array.integers()?;
    if let Some(i) = values.iter().position(|v| !(0..bags as i64).contains(v)) {
        let (repeat, bag, found) = (i / bags, i % bags, values[i]);
        return array.wrong(
            &format!("folds from 0 to {}", bags - 1),
            format!("{found} in repeat {repeat}, bag {bag} (0-based)"),
        );
    }
    let of = values.chunks(bags).map(|repeat| repeat.iter().map(|&v| v as u32).collect()).collect();
    Folds::new(of).map_err(|e| Error::format(&array.path, e.to_string()))
}

#[cfg(test)]
#[path = "npy_tests.rs"]
mod tests;
