//! Folders with a file of features for each slide, as other programs write them, and the table that goes with them.
//!
//! - How files are laid out is found in `layouts`: CLAM, TRIDENT, STAMP, torchmil, slideflow, dsmil, one file with a group for
//!   each slide, a table of paths. Another layout is another file there, another format of a file one in `format`.
//! - A file is known by its first bytes. In HDF5 the features are called `features`, `feats` or `patch_embeddings`,
//!   `[patches, width]` or `[1, patches, width]`, of any float; a vector is a slide with one instance. `coords` are the
//!   places of the patches. In PyTorch files the features are a tensor, in a list of one or not, or that of a dict under one
//!   of these names. Such files are pickles; nothing in them is executed. npy, npz, safetensors and parquet files are read, too.
//! - A slide is a bag, called as its file without the ending. Bags are in the order of their names.
//! - [`Opening::labels`] is a text table with a line of column names: the slide, its label and, where there is one, its
//!   patient, by which bags are grouped. Ids are text; a path in front and the endings of slides and features are left out
//!   where that brings an id and a file together.
//! - A table of patients goes with one of their slides, [`Opening::slides`].
//! - With a table the slides that it has are read, without one all; then labels are those that come with the layout, if any.
//! - [`Opening::splits`] says which slides train, validate and test; the others are left out. It has a column of slides for
//!   each part, a line for each slide with its part, or lists of patients; [`Opening::which_split`] chooses one of several.
//! - All files are looked through before anything is trained. Those that cannot be used are listed together, and
//!   [`Opening::on_bad`] says whether that is an error.

mod about;
mod entry;
mod format;
mod gather;
mod ids;
mod inspect;
mod layouts;
pub mod packed;
mod parquet;
mod place;
mod said;
mod sheet;
mod splits;
mod stream;
mod table;
mod zip;

pub(super) use format::{weights, without_features};
pub use inspect::{BadSlide, ClassCount, Inspection, PartCount, Sizes, inspect};
pub(super) use layouts::is_slides;
pub use stream::{Slides, Taken};

use super::{Dataset, OnBad, Opening};
use crate::bag::Bags;
use crate::bounded;
use crate::error::{Error, Result};
use crate::features::Features;
use about::{counted, describe, told};
use format::{Head, Number, Reason};
use gather::{Gathered, Known, gather};
use place::{Looked, Matrix, Place};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use table::Table;

/// What has been read of a slide.
struct Slide {
    features: Features,
    coords: Option<Vec<[f32; 2]>>,
    instance_labels: Option<Vec<i32>>,
}

/// The slides that were read, and those that cannot be used.
struct Read {
    good: Vec<Known>,
    bad: Vec<(PathBuf, Reason)>,
    features: Features,
    coords: Option<Vec<[f32; 2]>>,
    instance_labels: Option<Vec<i32>>,
    /// How many slides have such labels.
    with_labels: usize,
}

/// Opens a folder of slides, or the file of one.
///
/// # Errors
/// [`Error::Format`] that lists every file that cannot be used with its reason, or says what is wrong with the table.
pub fn open(path: &Path, opening: &Opening) -> Result<Dataset> {
    let mut gathered = gather(path, opening)?;
    let known = std::mem::take(&mut gathered.known);
    let heads = || known.iter().filter_map(|k| k.head.as_ref().ok());
    let half = heads().all(|h| h.number == Number::F16);
    let values: u64 = heads().map(|h| h.rows as u64 * h.width as u64).sum();
    bounded::check_memory(&gathered.folder, values.saturating_mul(if half { 2 } else { 4 }))?;
    let kinds = counted(heads().map(|h| h.number.name()));
    if kinds.len() > 1 {
        gathered.remarks.push(format!("features are {}: all become float32", told(&kinds)));
    }

    // Room for all at once, in which each slide is read where it stays.
    let mut matrix = Matrix::new(half, values as usize);
    let sizes: Vec<usize> = known.iter().map(|k| k.head.as_ref().map_or(0, |h| h.rows * h.width)).collect();
    let places = known.par_iter().zip(matrix.places(&sizes));
    let read: Vec<Result<Around, Reason>> = places.map(|(known, place)| read_into(known, place)).collect();
    let kept: Vec<bool> = read.iter().map(Result::is_ok).collect();
    let (mut coords, mut instance_labels, mut with_labels) = (Some(Vec::new()), Some(Vec::new()), 0);
    let (mut bad, mut good): (Vec<(PathBuf, Reason)>, Vec<Known>) = Default::default();
    for (known, read) in known.into_iter().zip(read) {
        match read {
            Ok((places, labels)) => {
                with_labels += usize::from(labels.is_some());
                join(&mut coords, places);
                join(&mut instance_labels, labels);
                good.push(known);
            }
            Err(reason) => bad.push((known.entry.path, reason)),
        }
    }
    let features = matrix.kept(&sizes, &kept);
    assembled(gathered, Read { good, bad, features, coords, instance_labels, with_labels }, opening)
}

/// Puts what slides have behind that of others; nothing where one has none.
fn join<T>(all: &mut Option<Vec<T>>, more: Option<Vec<T>>) {
    match (&mut *all, more) {
        (Some(all), Some(more)) => all.extend(more),
        _ => *all = None,
    }
}

/// The data set of slides that were read.
fn assembled(gathered: Gathered, read: Read, opening: &Opening) -> Result<Dataset> {
    let Read { good, bad, features, coords, instance_labels, with_labels } = read;
    let mut remarks = gathered.remarks.clone();
    judge(&gathered.folder, &bad, &good, opening.on_bad, &mut remarks)?;
    let heads: Vec<&Head> = good.iter().filter_map(|k| k.head.as_ref().ok()).collect();
    let sizes: Vec<usize> = heads.iter().map(|h| h.rows).collect();
    let mut bags = Bags::of_sizes(features, gathered.width, &sizes)?;
    bags.names = good.iter().map(|k| k.entry.stem.clone()).collect();
    (bags.coords, bags.instance_labels) = (coords, instance_labels);
    if with_labels > 0 && bags.instance_labels.is_none() {
        remarks.push(format!("{with_labels} of {} slides have labels of instances: none is used", good.len()));
    }
    bags.origin = describe(&heads, &good, &mut remarks);
    let mut set = Dataset::new(bags, super::name_of(&gathered.folder));
    set.remarks = remarks;
    label_all(&mut set, &gathered, &good)?;
    // Values were looked at when they were read.
    set.bags.validate_but_values()?;
    Ok(set)
}

/// Labels, groups and parts of slides: from the tables, else from a packed file.
fn label_all(set: &mut Dataset, gathered: &Gathered, good: &[Known]) -> Result<()> {
    if let Some(cohort) = &gathered.cohort {
        let wrong = |message| Error::format(&gathered.folder, message);
        cohort.index.describe(good.len(), gathered.width, set).map_err(wrong)?;
        if gathered.table.is_none() {
            let places: Vec<usize> = good.iter().filter_map(|k| cohort.at_name.get(&k.entry.stem).copied()).collect();
            cohort.index.label(&places, set).map_err(wrong)?;
        }
    }
    if let Some(table) = &gathered.table {
        let lines: Vec<usize> = good.iter().filter_map(|k| k.line).collect();
        label(set, table, &lines).map_err(|message| Error::format(&table.path, message))?;
    }
    if set.sites.is_none() {
        set.sites = good.iter().map(|k| k.entry.site.clone()).collect();
    }
    let split = good.iter().map(|k| k.part).collect::<Option<Vec<_>>>();
    if let Some(mut split) = split.or(set.split.take()) {
        set.leave_out_unlabelled(&mut split);
        set.split = Some(split);
    }
    Ok(())
}

/// Places and labels of the instances of a slide.
type Around = (Option<Vec<[f32; 2]>>, Option<Vec<i32>>);

/// A slide in memory of its own, whose values are all finite.
fn read(known: &Known, cohort: Option<&Arc<packed::Cohort>>) -> Result<Slide, Reason> {
    let head = known.head.as_ref().map_err(Reason::clone)?;
    if let Some(cohort) = cohort {
        return packed::slide(cohort, &known.entry.stem);
    }
    let size = head.rows * head.width;
    let mut matrix = Matrix::new(head.number == Number::F16, size);
    let place = matrix.places(&[size]).pop().ok_or("no place")?;
    let (coords, instance_labels) = read_into(known, place)?;
    Ok(Slide { features: matrix.kept(&[size], &[true]), coords, instance_labels })
}

/// Reads the features of a slide, which are all finite, into `place`, and the rest of it.
fn read_into(known: &Known, mut place: Place<'_>) -> Result<Around, Reason> {
    let head = known.head.as_ref().map_err(Reason::clone)?;
    let file = known.entry.open()?;
    if file.head() != head {
        return Err("the file changed while it was read".to_owned());
    }
    let found = match file.read_features(place.again())? {
        Looked::At(found) => found,
        Looked::No => place.first_not_finite(),
    };
    match found {
        Some((at, value)) => Err(not_finite(at, value, head.width)),
        None => Ok((file.coords()?, file.instance_labels()?)),
    }
}

/// What is wrong with a feature, one of `width` a row.
fn not_finite(at: usize, value: f32, width: usize) -> Reason {
    let (row, column) = (at / width, at % width);
    format!("row {row}, column {column} (0-based): expected finite features within float32, found {value}")
}

/// Puts the features of a slide behind those of others.
fn append(all: &mut Features, more: Features) {
    match (all, more) {
        (Features::F16(all), Features::F16(more)) => all.extend(more),
        (Features::F32(all), Features::F32(more)) => all.extend(more),
        (Features::F32(all), more) => all.extend(more.to_f32()),
        _ => unreachable!("all slides are float16 where the first are"),
    }
}

/// What becomes of slides that cannot be used.
fn judge(
    folder: &Path,
    bad: &[(PathBuf, Reason)],
    good: &[Known],
    on_bad: OnBad,
    remarks: &mut Vec<String>,
) -> Result<()> {
    if bad.is_empty() {
        return Ok(());
    }
    let list: String = bad.iter().map(|(path, reason)| format!("\n  {}: {reason}", path.display())).collect();
    match on_bad {
        OnBad::Skip if !good.is_empty() => {
            remarks.push(format!("{} slides cannot be used and are left out:{list}", bad.len()));
            Ok(())
        }
        OnBad::Skip => Err(Error::format(folder, format!("none of {} slides can be used:{list}", bad.len()))),
        OnBad::Fail => {
            let message = format!("{} slides cannot be used (--on-bad skip leaves them out):{list}", bad.len());
            Err(Error::format(folder, message))
        }
    }
}

/// Labels and groups of the bags, which have these lines of the table.
fn label(set: &mut Dataset, table: &Table, lines: &[usize]) -> Result<(), String> {
    table.label(lines, set)?;
    let groups: Option<Vec<String>> = lines.iter().map(|&line| table.lines[line].group.clone()).collect();
    set.bags.groups = groups;
    set.sites = lines.iter().map(|&line| table.lines[line].site.clone()).collect();
    Ok(())
}
