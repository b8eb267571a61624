//! Bags written as a folder of npy files.

use super::super::{Dataset, Split};
use crate::bag::Bags;
use crate::error::{Error, Result};
use crate::responses::Responses;
use npyz::WriterBuilder;
use std::fs::File;
use std::path::Path;

/// Writes bags in the layout above into the folder `to`, which is there. Features are written in float32, pixels as features.
///
/// # Errors
/// [`Error::Io`] with the file.
pub fn save(set: &Dataset, to: &Path) -> Result<()> {
    let bags = &set.bags;
    let rows = [bags.instances() as u64, bags.width as u64];
    let features = &bags.features;
    array(to, "features.npy", &rows, (0..features.len()).map(|i| features.get(i)))?;
    let ids = (0..bags.len()).flat_map(|bag| bags.rows(bag).map(move |_| bag as i64));
    array(to, "bag_ids.npy", &rows[..1], ids)?;
    let each = [bags.len() as u64];
    if let Some(labels) = &bags.labels {
        if labels.contains(&Bags::UNKNOWN) {
            // NumPy's integers have no value for "not known".
            let value = |&l: &u32| if l == Bags::UNKNOWN { f64::NAN } else { f64::from(l) };
            array(to, "labels.npy", &each, labels.iter().map(value))?;
        } else {
            array(to, "labels.npy", &each, labels.iter().map(|&l| i64::from(l)))?;
        }
    }
    if let Some(sets) = &bags.label_sets {
        let shape = [each[0], sets.labels() as u64];
        if sets.bags().flatten().any(Option::is_none) {
            let value = |has: &Option<bool>| has.map_or(f64::NAN, |has| f64::from(u8::from(has)));
            array(to, "labels.npy", &shape, sets.bags().flatten().map(value))?;
        } else {
            array(to, "labels.npy", &shape, sets.bags().flatten().map(|has| u8::from(*has == Some(true))))?;
        }
    }
    match &bags.responses {
        Some(Responses::Numbers(values)) => array(to, "numbers.npy", &each, values.iter().copied())?,
        Some(Responses::Survival { times, events }) => {
            array(to, "times.npy", &each, times.iter().copied())?;
            array(to, "events.npy", &each, events.iter().map(|&event| u8::from(event)))?;
        }
        None => {}
    }
    if let Some(labels) = &bags.instance_labels {
        array(to, "instance_labels.npy", &rows[..1], labels.iter().copied())?;
    }
    if let Some(coords) = &bags.coords {
        array(to, "coords.npy", &[rows[0], 2], coords.as_flattened().iter().copied())?;
    }
    if let Some(split) = &set.split {
        let number = |part: &Split| match part {
            Split::Train | Split::Unlabelled => 0i32,
            Split::Test => 1,
            Split::Validation => 2,
        };
        array(to, "split.npy", &each, split.iter().map(number))?;
    }
    if let Some(folds) = &set.folds {
        let of = folds.of();
        array(to, "folds.npy", &[of.len() as u64, each[0]], of.iter().flatten().map(|&f| i64::from(f)))?;
    }
    let lines = |of: &Option<Vec<String>>| of.clone().unwrap_or_default();
    let (columns, groups) = (lines(&bags.columns), lines(&bags.groups));
    let names = [
        ("bag_names.txt", &bags.names),
        ("class_names.txt", &bags.class_names),
        ("feature_names.txt", &columns),
        ("groups.txt", &groups),
    ];
    for (name, lines) in names {
        // A name of several lines could not be told from several names.
        if !lines.is_empty() && !lines.iter().any(|l| l.is_empty() || l.contains(['\n', '\r'])) {
            crate::files::write_atomically(to.join(name), lines.join("\n") + "\n")?;
        }
    }
    Ok(())
}

fn array<T: npyz::AutoSerialize>(to: &Path, name: &str, shape: &[u64], values: impl Iterator<Item = T>) -> Result<()> {
    let path = to.join(name);
    let write = || {
        let file = std::io::BufWriter::new(File::create(&path)?);
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(file).begin_nd()?;
        writer.extend(values)?;
        writer.finish()
    };
    write().map_err(|e| Error::io(&path, e))
}
