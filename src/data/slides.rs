//! Folders with a file of features for each slide, as other programs write them, and the table that goes with them.
//!
//! - How files are laid out is found in `layouts`: CLAM, TRIDENT, STAMP, torchmil, slideflow, dsmil, one file with a group for
//!   each slide, a table of paths. Another layout is another file there, another format of a file one in `format`.
//! - A file is known by its first bytes. In HDF5 the features are called `features`, `feats` or `patch_embeddings`,
//!   `[patches, width]` or `[1, patches, width]`, of any float; a vector is a slide with one instance. `coords` are the
//!   places of the patches. In PyTorch files the features are a tensor, in a list of one or not, or that of a dict under one
//!   of these names. Such files are pickles; nothing in them is executed. npy, npz and safetensors files are read, too.
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
mod said;
mod sheet;
mod splits;
mod table;
mod zip;

pub use inspect::{BadSlide, ClassCount, Inspection, PartCount, Sizes, inspect};
pub(super) use layouts::{folders_within, is_slides};

use super::{Dataset, OnBad, Opening};
use crate::bag::Bags;
use crate::bounded;
use crate::error::{Error, Result};
use crate::features::Features;
use about::{counted, describe, told};
use format::{Head, Number, Reason};
use gather::{Gathered, Known, gather};
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

    // Room for all at once: a vector that grows holds its values several times for a moment.
    let room = values as usize;
    let mut features =
        if half { Features::F16(Vec::with_capacity(room)) } else { Features::F32(Vec::with_capacity(room)) };
    let (mut coords, mut instance_labels, mut with_labels) = (Some(Vec::new()), Some(Vec::new()), 0);
    let (mut bad, mut good): (Vec<(PathBuf, Reason)>, Vec<Known>) = Default::default();
    let mut rest = known.into_iter();
    loop {
        let batch: Vec<Known> = rest.by_ref().take(2 * rayon::current_num_threads()).collect();
        if batch.is_empty() {
            break;
        }
        let read: Vec<(Known, Result<Slide, Reason>)> = batch
            .into_par_iter()
            .map(|known| {
                let slide = read(&known, None);
                (known, slide)
            })
            .collect();
        for (known, slide) in read {
            match slide {
                // Nothing comes of slides beside one that is an error; they are read to list all that is wrong.
                Ok(_) if !bad.is_empty() && opening.on_bad == OnBad::Fail => {}
                Ok(slide) => {
                    append(&mut features, slide.features);
                    with_labels += usize::from(slide.instance_labels.is_some());
                    join(&mut coords, slide.coords);
                    join(&mut instance_labels, slide.instance_labels);
                    good.push(known);
                }
                Err(reason) => bad.push((known.entry.path, reason)),
            }
        }
    }
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
    let mut bags = Bags::packed(features, gathered.width, &sizes)?;
    bags.names = good.iter().map(|k| k.entry.stem.clone()).collect();
    (bags.coords, bags.instance_labels) = (coords, instance_labels);
    if with_labels > 0 && bags.instance_labels.is_none() {
        remarks.push(format!("{with_labels} of {} slides have labels of instances: none is used", good.len()));
    }
    bags.origin = describe(&heads, &good, &mut remarks);
    let mut set = Dataset::new(bags, super::name_of(&gathered.folder));
    set.remarks = remarks;
    label_all(&mut set, &gathered, &good)?;
    set.bags.validate()?;
    Ok(set)
}

/// Labels, groups and parts of slides: from the tables, else from a packed file.
fn label_all(set: &mut Dataset, gathered: &Gathered, good: &[Known]) -> Result<()> {
    if let Some(cohort) = &gathered.cohort {
        let wrong = |message| Error::format(&gathered.folder, message);
        cohort.index.describe(good.len(), set).map_err(wrong)?;
        if gathered.table.is_none() {
            let places: Vec<usize> = good.iter().filter_map(|k| cohort.at_name.get(&k.entry.stem).copied()).collect();
            cohort.index.label(&places, set).map_err(wrong)?;
        }
    }
    if let Some(table) = &gathered.table {
        let lines: Vec<usize> = good.iter().filter_map(|k| k.line).collect();
        label(set, table, &lines).map_err(|message| Error::format(&table.path, message))?;
    }
    let split = good.iter().map(|k| k.part).collect::<Option<Vec<_>>>();
    if let Some(mut split) = split.or(set.split.take()) {
        set.leave_out_unlabelled(&mut split);
        set.split = Some(split);
    }
    Ok(())
}

/// The features and places of a slide, which are all finite.
fn read(known: &Known, cohort: Option<&Arc<packed::Cohort>>) -> Result<Slide, Reason> {
    let head = known.head.as_ref().map_err(Reason::clone)?;
    if let Some(cohort) = cohort {
        return packed::slide(cohort, &known.entry.stem);
    }
    let file = known.entry.open()?;
    let features = file.features()?;
    if file.head() != head || features.len() != head.rows * head.width {
        return Err("the file changed while it was read".to_owned());
    }
    if let Some(at) = features.first_not_finite() {
        return Err(not_finite(at, features.get(at), head.width));
    }
    Ok(Slide { features, coords: file.coords()?, instance_labels: file.instance_labels()? })
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
    if let Some(classes) = table.classes(lines)? {
        classes.put_in(&mut set.bags, &mut set.remarks);
    }
    let groups: Option<Vec<String>> = lines.iter().map(|&line| table.lines[line].group.clone()).collect();
    set.bags.groups = groups;
    Ok(())
}
