//! Folders of slides in a folder: one for each site, cohort or class, each with files of slides as they lie alone.

use super::super::entry::Entry;
use super::super::ids::examples;
use super::{Found, Layout, clam, dsmil, folder, list, parquet, slideflow, torchmil};
use crate::data::Opening;
use crate::error::{Error, Result};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// Folders within each other that are looked into.
const DEEPEST: usize = 4;

/// Files of a folder that are opened to see whether they are slides.
const TRIED: usize = 3;

/// What CLAM and TRIDENT call the folder of places without features, which goes with one of features.
const PLACES: &str = "patches";

/// Folders in a message, at most.
const SHOWN: usize = 6;

/// What a folder with slides may be laid out as.
const PLAIN: [Layout; 4] = [
    Layout { is: slideflow::is, find: slideflow::find },
    Layout { is: clam::is, find: clam::find },
    Layout { is: parquet::is, find: parquet::find },
    Layout { is: folder::is, find: folder::find },
];

/// The folders within `path` that have slides, and those that have nothing of them.
#[derive(Default)]
struct Within {
    slides: Vec<PathBuf>,
    others: Vec<PathBuf>,
}

impl Within {
    fn of(path: &Path) -> Result<Self> {
        let mut within = Self::default();
        within.look(path, 1)?;
        Ok(within)
    }

    /// True where some folder in `path` has slides.
    fn look(&mut self, path: &Path, deep: usize) -> Result<bool> {
        let mut any = false;
        for inner in list(path, Path::is_dir)? {
            let is = PLAIN.iter().any(|layout| (layout.is)(&inner)) || torchmil::is(&inner) || dsmil::is(&inner);
            let below = !is && deep < DEEPEST && self.look(&inner, deep + 1)?;
            any |= is || below;
            match (is, below) {
                (true, _) => self.slides.push(inner),
                (false, false) if deep == 1 => self.others.push(inner),
                _ => {}
            }
        }
        Ok(any)
    }
}

pub(super) fn is(path: &Path) -> bool {
    path.is_dir() && !folder::is(path) && Within::of(path).is_ok_and(|within| !within.slides.is_empty())
}

pub(super) fn find(path: &Path, opening: &Opening) -> Result<Found> {
    let within = Within::of(path)?;
    let name = |folder: &Path| folder.strip_prefix(path).unwrap_or(folder).display().to_string();
    let (mut found, mut wrong, mut places): (Vec<(PathBuf, Found)>, Vec<String>, Vec<String>) = Default::default();
    for folder in within.slides {
        if torchmil::is(&folder) || dsmil::is(&folder) {
            wrong.push(format!("{}: a data set with labels of its own", name(&folder)));
            continue;
        }
        let Some(layout) = PLAIN.iter().find(|layout| (layout.is)(&folder)) else { continue };
        let inner = (layout.find)(&folder, opening)?;
        match unlike(&inner.entries) {
            None => found.push((folder, inner)),
            Some(_) if folder.file_name().is_some_and(|name| name == PLACES) => places.push(name(&folder)),
            Some(reason) => wrong.push(format!("{}: {reason}", name(&folder))),
        }
    }
    let names: Vec<String> = found.iter().map(|(folder, _)| name(folder)).collect();
    if !wrong.is_empty() || found.is_empty() {
        let wrong: Vec<String> = wrong.iter().chain(&places).take(SHOWN).map(|what| format!("\n  {what}")).collect();
        let message = match names.is_empty() {
            true => format!("folders in it have no slides that can be read:{}", wrong.concat()),
            false => format!(
                "folders in it have files of slides ({}), and others have something else; expected one of them, a folder \
                 whose folders all have slides, or a table of the paths of all:{}",
                examples(&names),
                wrong.concat()
            ),
        };
        return Err(Error::format(path, message));
    }
    let sites = sites(path, &found.iter().map(|(folder, _)| folder.as_path()).collect::<Vec<_>>());
    let mut all = Found { folder: path.into(), entries: Vec::new(), table: None, remarks: Vec::new() };
    let told = match &sites {
        None => format!("features are read from {}", names.join(", ")),
        Some(sites) => {
            let each: BTreeSet<&String> = sites.iter().collect();
            let each: Vec<&String> = each.into_iter().collect();
            format!(
                "files are in {} folders, {}, and each slide's is taken as its site (not as its class), where a table \
                 names no sites",
                names.len(),
                examples(&each)
            )
        }
    };
    all.remarks.push(told);
    for (what, folders) in
        [("places alone", places), ("no files of slides", within.others.iter().map(|f| name(f)).collect())]
    {
        if !folders.is_empty() {
            all.remarks.push(format!("folders with {what} are left out, such as {}", examples(&folders)));
        }
    }
    let mut first_of: HashMap<String, String> = HashMap::new();
    for (at, (inner, found)) in found.into_iter().enumerate() {
        if found.table.is_some() {
            return Err(Error::format(
                inner,
                "has labels of its own, and is one of several folders; expected it alone",
            ));
        }
        let label = name(&inner);
        all.remarks.extend(found.remarks.into_iter().map(|remark| format!("{label}: {remark}")));
        for mut entry in found.entries {
            if let Some(before) = first_of.insert(entry.stem.clone(), label.clone()).filter(|before| *before != label) {
                let message = format!(
                    "slide '{}' is in {before} and in {label}; expected each name once. Of one slide in several versions (of \
                     encoders, of magnifications) give one folder; slides that are only called alike have to be renamed, or \
                     get names in a table of their paths",
                    entry.stem
                );
                return Err(Error::format(path, message));
            }
            entry.site = sites.as_ref().map(|sites| sites[at].clone());
            all.entries.push(entry);
        }
    }
    all.entries.sort_by_cached_key(|entry| crate::data::pictures::natural(Path::new(&entry.stem)));
    Ok(all)
}

/// What is wrong with the first files of a folder, where none of them is a slide.
fn unlike(entries: &[Entry]) -> Option<String> {
    let mut reason = None;
    for entry in entries.iter().take(TRIED) {
        match entry.open() {
            Ok(_) => return None,
            Err(found) => drop(reason.get_or_insert(format!("{} ({found})", entry.stem))),
        }
    }
    reason
}

/// The part of the path of each folder in which they differ first; nothing of one alone.
fn sites(path: &Path, folders: &[&Path]) -> Option<Vec<String>> {
    let parts = |folder: &&Path| -> Vec<String> {
        let inner = folder.strip_prefix(path).unwrap_or(folder);
        inner.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
    };
    let all: Vec<Vec<String>> = folders.iter().map(parts).collect();
    let at = (0..DEEPEST).find(|&at| all.iter().any(|parts| parts.get(at) != all[0].get(at)))?;
    all.into_iter().map(|parts| parts.into_iter().nth(at)).collect()
}
