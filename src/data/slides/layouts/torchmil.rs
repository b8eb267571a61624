//! The folders of torchmil: `features`, and beside it `labels`, `inst_labels` (or `patch_labels`) and `coords`, each with a file
//! for each bag.

use super::super::entry::one_number;
use super::super::format::Unit;
use super::super::table::Table;
use super::{Found, folder, list};
use crate::data::Opening;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// What the label of a bag is called in a file with several things.
const LABELS: [&str; 4] = ["labels", "label", "Y", "y"];

/// The folder that has `features` in it and one of the others beside that, for a path to it, to `features`, or to a folder in
/// that.
fn root(path: &Path) -> Option<PathBuf> {
    let named = |path: &Path| path.file_name().is_some_and(|name| name == "features");
    let has = |root: &Path| {
        let beside = ["labels", "inst_labels", "patch_labels", "coords"];
        root.join("features").is_dir() && beside.iter().any(|name| root.join(name).is_dir())
    };
    let above = path.parent().filter(|_| named(path));
    let two_above = path.parent().filter(|parent| named(parent)).and_then(Path::parent);
    [Some(path), above, two_above].into_iter().flatten().find(|root| path.is_dir() && has(root)).map(Path::to_owned)
}

/// The folder of features that is meant: `path`, `features`, or the only one in that.
fn features(path: &Path, root: &Path) -> Result<PathBuf> {
    let outer = root.join("features");
    if path != root && path != outer {
        return Ok(path.to_owned());
    }
    if folder::is(&outer) {
        return Ok(outer);
    }
    match &list(&outer, Path::is_dir)?[..] {
        [only] => Ok(only.clone()),
        [] => Ok(outer),
        several => {
            let several: Vec<String> = several.iter().map(|f| f.display().to_string()).collect();
            let message = format!("has features of several kinds; expected one of {}", several.join(", "));
            Err(Error::format(&outer, message))
        }
    }
}

pub(super) fn is(path: &Path) -> bool {
    root(path).is_some()
}

pub(super) fn find(path: &Path, opening: &Opening) -> Result<Found> {
    let Some(root) = root(path) else { return folder::find(path, opening) };
    let mut found = folder::find(&features(path, &root)?, opening)?;
    let beside = |name: &str| Some(root.join(name)).filter(|folder| folder.is_dir());
    let file = |folder: &Option<PathBuf>, stem: &str| {
        let name = |ending: &str| Some(folder.as_ref()?.join(format!("{stem}.{ending}")));
        ["npy", "h5", "npz"].into_iter().filter_map(name).find(|path| path.is_file())
    };
    let (coords, labels) = (beside("coords"), beside("labels"));
    let instances = beside("inst_labels").or_else(|| beside("patch_labels"));
    let (mut table, mut unlabelled) = (Table::beside(&root), 0);
    for entry in &mut found.entries {
        entry.coords = file(&coords, &entry.stem).map(|path| (path, Unit::Unknown));
        entry.labels = file(&instances, &entry.stem);
        let label = match file(&labels, &entry.stem) {
            Some(path) if opening.labels.is_none() => {
                one_number(&path, &LABELS).map_err(|reason| Error::format(&root, reason))?
            }
            _ => String::new(),
        };
        unlabelled += usize::from(label.is_empty());
        table.add(&entry.stem, &label);
    }
    let folders: Vec<String> =
        [&coords, &labels, &instances].into_iter().flatten().map(|f| f.display().to_string()).collect();
    found.remarks.insert(
        0,
        format!("beside {} these are read, as torchmil has them: {}", found.folder.display(), folders.join(", ")),
    );
    if opening.labels.is_none() && labels.is_some() {
        if unlabelled > 0 {
            found.remarks.push(format!("{unlabelled} bags have no file in labels"));
        }
        found.table = Some(table);
    }
    Ok(found)
}
