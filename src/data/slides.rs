//! Folders with a file of features for each slide, as CLAM, TRIDENT and STAMP write them, and the table that goes with them.
//!
//! - A file is known by its first bytes. In HDF5 the features are called `features`, `feats` or `patch_embeddings`,
//!   `[patches, width]` or `[1, patches, width]`, of any float; a vector is a slide with one instance. `coords` are the
//!   places of the patches. In PyTorch files the features are a tensor, in a list of one or not, or that of a dict under one
//!   of these names. Such files are pickles; nothing in them is executed.
//! - A slide is a bag, called as its file without the ending. Bags are in the order of their names.
//! - [`Opening::labels`] is a text table with a line of column names: the slide, its label and, where there is one, its
//!   patient, by which bags are grouped. Ids are text; a path in front and the endings of slides and features are left out
//!   where that brings an id and a file together.
//! - With a table the slides that it has are read, without one all, and they have no labels.
//! - [`Opening::splits`] is a file of CLAM's that says which slides train, validate and test; the others are left out.
//! - All files are looked through before anything is trained. Those that cannot be used are listed together, and
//!   [`Opening::on_bad`] says whether that is an error.

mod file;
mod hdf5;
mod splits;
mod table;
mod torch;

use super::{Dataset, OnBad, Opening, Split};
use crate::bag::Bags;
use crate::bounded;
use crate::error::{Error, Result};
use crate::features::Features;
use file::{About, Format, Head, Number, Reason, Unit};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use table::{Table, examples};

/// A file of a slide.
#[derive(Clone, Debug)]
struct Entry {
    path: PathBuf,
    /// Its name without the ending.
    stem: String,
    /// What it is, or why it is nothing.
    format: Result<Format, Reason>,
}

/// The files of a folder.
struct Found {
    folder: PathBuf,
    entries: Vec<Entry>,
    remarks: Vec<String>,
}

/// What has been read of a slide.
struct Slide {
    features: Features,
    coords: Option<Vec<[f32; 2]>>,
}

/// A file with what its head says.
struct Known {
    entry: Entry,
    /// Its line in the table.
    line: Option<usize>,
    /// Where it is, as a file of splits says.
    part: Option<Split>,
    head: Result<Head, Reason>,
}

/// True for a file of a slide, or a folder with such files or with the folders that CLAM makes.
pub(super) fn is_slides(path: &Path) -> bool {
    let is = |path: &Path| path.is_file() && matches!(Format::by_content(path), Ok(Some(_)));
    if path.is_file() {
        return is(path);
    }
    files(path).is_ok_and(|files| files.iter().any(|f| is(f) || Format::by_name(f).is_some())) || clam(path).is_some()
}

/// The folder of features in what CLAM writes, the one with places before the one without.
fn clam(folder: &Path) -> Option<PathBuf> {
    ["h5_files", "pt_files"].map(|name| folder.join(name)).into_iter().find(|f| f.is_dir() && is_slides(f))
}

/// Files of a folder that are not hidden, in the order of their names.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |e| Error::io(folder, e);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if !hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort_by_cached_key(|path| super::pictures::natural(Path::new(path.file_stem().unwrap_or_default())));
    Ok(files)
}

fn find(path: &Path) -> Result<Found> {
    let mut remarks = Vec::new();
    let (folder, paths) = match (path.is_file(), clam(path)) {
        (true, _) => (path.to_owned(), vec![path.to_owned()]),
        (false, Some(inner)) if !files(path)?.iter().any(|f| Format::by_name(f).is_some()) => {
            let other = path.join("pt_files");
            let why =
                if other.is_dir() && other != inner { ", which has places too, and not from pt_files" } else { "" };
            remarks.push(format!("features are read from {}{why}", inner.display()));
            let paths = files(&inner)?;
            (inner, paths)
        }
        _ => (path.to_owned(), files(path)?),
    };
    let mut entries: Vec<Entry> = Vec::new();
    let (mut others, mut twice, mut at_stem) = (Vec::new(), Vec::new(), HashMap::new());
    for path in paths {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let promised = Format::by_name(&path);
        let format = match (Format::by_content(&path), promised) {
            (Ok(Some(format)), _) => Ok(format),
            (Ok(None), None) => {
                others.push(name);
                continue;
            }
            (Ok(None), Some(promised)) => Err(format!("it does not begin as {} files do", promised.name())),
            (Err(e), _) => Err(e.to_string()),
        };
        let stem = name.rsplit_once('.').filter(|_| promised.is_some()).map_or(name.as_str(), |(stem, _)| stem);
        let mut entry = Entry { stem: stem.to_owned(), path, format };
        let before = at_stem.get(&entry.stem).map(|&at: &usize| &mut entries[at]);
        match before {
            None => {
                at_stem.insert(entry.stem.clone(), entries.len());
                entries.push(entry);
            }
            Some(before) => match (&before.format, &entry.format) {
                (Ok(first), Ok(second)) if first != second => {
                    twice.push(entry.stem.clone());
                    if second < first {
                        *before = entry;
                    }
                }
                _ => {
                    entry.format = Err(format!("{} is a file of the same slide", before.path.display()));
                    entries.push(entry);
                }
            },
        }
    }
    if let Some(first) = twice.first() {
        let count = twice.len();
        remarks.push(format!("{count} slides have an HDF5 file, which is read, and a PyTorch file, such as '{first}'"));
    }
    if entries.is_empty() {
        return Err(Error::format(&folder, "expected a file of features for each slide in this folder, found none"));
    }
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(String::as_str).collect();
        remarks.push(format!("{} other files are left out, such as {}", others.len(), examples(&names)));
    }
    Ok(Found { folder, entries, remarks })
}

/// Opens a folder of slides, or the file of one.
///
/// # Errors
/// [`Error::Format`] that lists every file that cannot be used with its reason, or says what is wrong with the table.
pub fn open(path: &Path, opening: &Opening) -> Result<Dataset> {
    let Found { folder, entries, mut remarks } = find(path)?;
    let table = opening.labels.as_deref().map(|labels| table::read(labels, &opening.columns)).transpose()?;
    let chosen = match (&table, &opening.labels) {
        (Some(table), Some(labels)) => choose(table, labels, entries, &mut remarks)?,
        _ => entries.into_iter().map(|entry| (entry, None)).collect(),
    };
    let mut known: Vec<Known> = chosen
        .into_iter()
        .map(|(entry, line)| Known { entry, line, part: None, head: Err("it was not opened".into()) })
        .collect();
    if let Some(file) = &opening.splits {
        let stems: Vec<String> = known.iter().map(|k| k.entry.stem.clone()).collect();
        let (parts, told) = splits::parts(file, &stems)?;
        remarks.extend(told);
        known.iter_mut().zip(parts).for_each(|(known, part)| known.part = part);
        known.retain(|k| k.part.is_some());
    }
    known.par_iter_mut().for_each(|known| known.head = look(&known.entry));
    let width = agree_on_width(&mut known);
    let heads = || known.iter().filter_map(|k| k.head.as_ref().ok());
    let half = heads().all(|h| h.number == Number::F16);
    let values: u64 = heads().map(|h| h.rows as u64 * h.width as u64).sum();
    bounded::check_memory(&folder, values.saturating_mul(if half { 2 } else { 4 }))?;
    let kinds = counted(heads().map(|h| h.number.name()));
    if kinds.len() > 1 {
        remarks.push(format!("features are {}: all become float32", told(&kinds)));
    }

    // Room for all at once: a vector that grows holds its values several times for a moment.
    let room = values as usize;
    let mut features =
        if half { Features::F16(Vec::with_capacity(room)) } else { Features::F32(Vec::with_capacity(room)) };
    let mut coords = Some(Vec::new());
    let (mut bad, mut good): (Vec<(PathBuf, Reason)>, Vec<Known>) = Default::default();
    let mut rest = known.into_iter();
    loop {
        let batch: Vec<Known> = rest.by_ref().take(2 * rayon::current_num_threads()).collect();
        if batch.is_empty() {
            break;
        }
        let read: Vec<(Known, Result<Slide, Reason>)> = batch.into_par_iter().map(read).collect();
        for (known, slide) in read {
            match slide {
                // Nothing comes of slides beside one that is an error; they are read to list all that is wrong.
                Ok(_) if !bad.is_empty() && opening.on_bad == OnBad::Fail => {}
                Ok(slide) => {
                    append(&mut features, slide.features);
                    match (&mut coords, slide.coords) {
                        (Some(all), Some(places)) => all.extend(places),
                        (all, _) => *all = None,
                    }
                    good.push(known);
                }
                Err(reason) => bad.push((known.entry.path, reason)),
            }
        }
    }
    judge(&folder, &bad, &good, opening.on_bad, &mut remarks)?;

    let heads: Vec<&Head> = good.iter().filter_map(|k| k.head.as_ref().ok()).collect();
    let sizes: Vec<usize> = heads.iter().map(|h| h.rows).collect();
    let mut bags = Bags::packed(features, width, &sizes)?;
    bags.names = good.iter().map(|k| k.entry.stem.clone()).collect();
    bags.coords = coords;
    describe(&heads, &good, &mut remarks);
    let mut set = Dataset::new(bags, super::name_of(&folder));
    if let (Some(table), Some(labels)) = (table, &opening.labels) {
        let lines: Vec<usize> = good.iter().filter_map(|k| k.line).collect();
        label(&mut set, &table, &lines, &mut remarks).map_err(|message| Error::format(labels, message))?;
    }
    set.split = good.iter().map(|k| k.part).collect();
    if let Some(mut split) = set.split.take() {
        set.leave_out_unlabelled(&mut split);
        set.split = Some(split);
    }
    set.remarks = remarks;
    set.bags.validate()?;
    Ok(set)
}

/// The files that the table has a line for, with it; tells of what has no counterpart.
fn choose(
    table: &Table,
    labels: &Path,
    entries: Vec<Entry>,
    remarks: &mut Vec<String>,
) -> Result<Vec<(Entry, Option<usize>)>> {
    let stems: Vec<String> = entries.iter().map(|e| e.stem.clone()).collect();
    let matched = table.matched(labels, &stems)?;
    remarks.extend(table.remarks.iter().map(|remark| format!("{}: {remark}", table.name)));
    if !matched.without_file.is_empty() {
        let ids: Vec<&str> = matched.without_file.iter().map(|&line| table.lines[line].id.as_str()).collect();
        remarks.push(format!("{} slides of {} have no file, such as {}", ids.len(), table.name, examples(&ids)));
    }
    let without_line: Vec<&str> =
        entries.iter().zip(&matched.of_file).filter(|(_, line)| line.is_none()).map(|(e, _)| e.stem.as_str()).collect();
    if !without_line.is_empty() {
        let (count, which) = (without_line.len(), examples(&without_line));
        remarks.push(format!("{count} files have no line in {} and are left out, such as {which}", table.name));
    }
    Ok(entries.into_iter().zip(matched.of_file).filter(|(_, line)| line.is_some()).collect())
}

fn look(entry: &Entry) -> Result<Head, Reason> {
    Ok(entry.format.clone()?.open(&entry.path)?.head().clone())
}

/// The width that most slides have; others are bad.
fn agree_on_width(known: &mut [Known]) -> usize {
    let widths = counted(known.iter().filter_map(|k| k.head.as_ref().ok()).map(|h| h.width));
    let Some(&(width, most)) = widths.first() else { return 0 };
    let slides: usize = widths.iter().map(|(_, count)| count).sum();
    for slide in known {
        if let Some(found) = slide.head.as_ref().ok().map(|h| h.width).filter(|&found| found != width) {
            slide.head = Err(format!("{found} features, where {most} of {slides} slides have {width}"));
        }
    }
    width
}

/// The slide with its features and places, which are all finite.
fn read(known: Known) -> (Known, Result<Slide, Reason>) {
    let read = || {
        let head = known.head.as_ref().map_err(Reason::clone)?;
        let file = known.entry.format.clone()?.open(&known.entry.path)?;
        let features = file.features()?;
        if file.head() != head || features.len() != head.rows * head.width {
            return Err("the file changed while it was read".to_owned());
        }
        if let Some(at) = features.first_not_finite() {
            let (row, column, value) = (at / head.width, at % head.width, features.get(at));
            return Err(format!(
                "row {row}, column {column} (0-based): expected finite features within float32, found {value}"
            ));
        }
        Ok(Slide { features, coords: file.coords()? })
    };
    let slide = read();
    (known, slide)
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
fn label(set: &mut Dataset, table: &Table, lines: &[usize], remarks: &mut Vec<String>) -> Result<(), String> {
    if let Some(classes) = table.classes(lines)? {
        classes.put_in(&mut set.bags, remarks);
    }
    let groups: Option<Vec<String>> = lines.iter().map(|&line| table.lines[line].group.clone()).collect();
    set.bags.groups = groups;
    Ok(())
}

/// What the slides say of themselves.
fn describe(heads: &[&Head], good: &[Known], remarks: &mut Vec<String>) {
    if heads.iter().any(|h| h.of_slide) {
        remarks.push("features are of whole slides: a vector is a bag with one instance".into());
    }
    let abouts: Vec<About> = heads.iter().zip(good).map(|(head, known)| completed(head, &known.entry)).collect();
    let encoders = counted(abouts.iter().filter_map(|a| a.encoder.clone()));
    match &encoders[..] {
        [] => {}
        [(encoder, _)] => remarks.push(format!("the encoder of the features is {encoder}, as the files say")),
        _ => remarks.push(format!(
            "the features are of several encoders ({}), and what one means another does not: is this one data set?",
            told(&encoders)
        )),
    }
    let units = counted(heads.iter().filter_map(|h| h.coords));
    let placed: usize = units.iter().map(|(_, count)| count).sum();
    if placed == 0 {
        return;
    }
    if placed < heads.len() {
        remarks.push(format!("{placed} of {} slides have coordinates: no place is used", heads.len()));
        return;
    }
    let unit = match &units[..] {
        [(unit, _)] => unit.name().to_owned(),
        _ => told(&units.iter().map(|(unit, count)| (unit.name(), *count)).collect::<Vec<_>>()),
    };
    let patches = counted(abouts.iter().filter_map(|a| a.patch).map(f64::to_bits));
    let patches: Vec<(f64, usize)> = patches.into_iter().map(|(p, count)| (f64::from_bits(p), count)).collect();
    let patch = match &patches[..] {
        [] => "how large a patch is the files do not say".to_owned(),
        [(patch, count)] if *count == heads.len() => format!("a patch is {patch} of them wide"),
        _ => format!("patches are of several widths: {}", told(&patches)),
    };
    let magnifications = counted(abouts.iter().filter_map(|a| a.magnification).map(f64::to_bits));
    let seen = match magnifications[..] {
        [(m, count)] if count == heads.len() => format!(", seen at {} times", f64::from_bits(m)),
        _ => String::new(),
    };
    remarks.push(format!("places are in {unit}; {patch}{seen}"));
}

/// What is known of the patches of a slide: from its file, and what that leaves open from the file of patches beside it.
fn completed(head: &Head, entry: &Entry) -> About {
    let mut about = head.about.clone();
    if head.coords == Some(Unit::Pixels) && about.patch.is_none() {
        let beside = hdf5::patches_beside(&entry.path, &entry.stem).map(|path| hdf5::about_patches(&path));
        let beside = beside.unwrap_or_default();
        (about.patch, about.magnification) = (beside.patch, about.magnification.or(beside.magnification));
    }
    about
}

/// What there is and how often, the most frequent first.
fn counted<T: Ord + Clone>(items: impl Iterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts = BTreeMap::new();
    items.for_each(|item| *counts.entry(item).or_insert(0) += 1);
    let mut counts: Vec<(T, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// For people: `float16 in 3 slides, float32 in 1`.
fn told<T: Display>(counts: &[(T, usize)]) -> String {
    let each = counts.iter().enumerate().map(|(at, (item, count))| match at {
        0 => format!("{item} in {count} slides"),
        _ => format!("{item} in {count}"),
    });
    each.collect::<Vec<_>>().join(", ")
}
