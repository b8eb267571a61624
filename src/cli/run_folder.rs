//! The folder that a run leaves behind, and the tables of predictions in it.

use super::config::Config;
use super::csv::Csv;
use super::experiment::{Finished, part_name};
use anyhow::{Context, Result, bail};
use bagrad::data::Split;
use bagrad::files;
use bagrad::report::Report;
use bagrad::training::{Epoch, Predictions};
use bagrad::{Bags, Error};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that every run folder has; a folder without it is not replaced.
pub const MARKER: &str = "config.toml";
/// The model in it.
const MODEL: &str = "model.safetensors";

/// The model file that a path names: itself, or that of the run folder.
pub fn model_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(MODEL) } else { path.to_owned() }
}

/// Refuses a place that a folder with `marker` could not take at the end, before the work is done.
///
/// # Errors
/// When something else stands there, when a run does and `force` is not given, or when nothing can be written.
pub fn check(path: &Path, marker: &str, force: bool) -> Result<()> {
    let shown = path.display();
    if path.file_name().is_none() {
        bail!("{shown}: expected a path that ends in the name of a folder");
    }
    if path.is_file() {
        bail!("{shown}: a file stands there; expected a new folder");
    }
    if path.is_dir() && fs::read_dir(path).with_context(|| shown.to_string())?.next().is_some() {
        if !path.join(marker).exists() {
            bail!("{shown}: the folder is not empty and has no {marker}, so it is not replaced");
        }
        if !force {
            bail!("{shown}: exists already; --force replaces it");
        }
    }
    // A new folder is made beside its place and renamed; find out now whether that will work.
    let above = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let there = above.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."));
    let probe = there.join(format!(".bagrad-{}.tmp", std::process::id()));
    fs::create_dir(&probe).and_then(|()| fs::remove_dir(&probe)).with_context(|| format!("{shown}: cannot write there"))
}

#[derive(Serialize)]
struct EpochLine<'a> {
    kind: &'static str,
    #[serde(flatten)]
    epoch: &'a Epoch,
}

/// Writes the whole folder, or nothing.
///
/// # Errors
/// With the file that could not be written.
pub fn write(path: &Path, config: &Config, done: &Finished, result: &Map<String, Value>, page: &Report) -> Result<()> {
    make_parent(path)?;
    let config = config.to_toml()?;
    let mut lines = String::new();
    for epoch in &done.outcome.epochs {
        lines += &serde_json::to_string(&EpochLine { kind: "epoch", epoch })?;
        lines.push('\n');
    }
    let mut last = Map::from_iter([("kind".to_owned(), Value::from("result"))]);
    last.extend(result.clone());
    lines += &(serde_json::to_string(&last)? + "\n");
    let split = done.set.split.as_deref();
    let (bags, predictions) = (&done.set.bags, &done.predictions);
    files::replace_folder(path, MARKER, |place| {
        files::write_atomically(place.join(MARKER), &config)?;
        files::write_atomically(place.join("metrics.jsonl"), &lines)?;
        done.outcome.model.save(place.join(MODEL))?;
        table_file(place.join("predictions.csv"), |out| {
            let labels = bags.labels.as_deref();
            bag_table(out, bags, predictions, &bags.class_names, split, labels)
        })?;
        table_file(place.join("attention.csv"), |out| instance_table(out, bags, predictions))?;
        page.write(place.join("report.html"))
    })?;
    Ok(())
}

/// The folders above `path`.
///
/// # Errors
/// With the folder that cannot be made.
pub fn make_parent(path: &Path) -> Result<()> {
    match path.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(above) => fs::create_dir_all(above).with_context(|| above.display().to_string()),
        None => Ok(()),
    }
}

/// Fills a file that may be too large to hold in memory, in a folder that nobody sees yet.
///
/// # Errors
/// [`Error::Io`] with `path`.
pub fn table_file(path: PathBuf, fill: impl FnOnce(&mut BufWriter<fs::File>) -> io::Result<()>) -> bagrad::Result<()> {
    let write = || {
        let mut out = BufWriter::new(fs::File::create(&path)?);
        fill(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    };
    write().map_err(|e| Error::io(&path, e))
}

/// A line for each bag: `bag[,split],label,predicted,p(class)..`; a label nobody knows is empty.
///
/// # Errors
/// When `out` cannot be written.
pub fn bag_table(
    out: &mut impl Write,
    bags: &Bags,
    predictions: &Predictions,
    classes: &[String],
    split: Option<&[Split]>,
    labels: Option<&[u32]>,
) -> io::Result<()> {
    let mut csv = Csv::new(out);
    csv.cell("bag")?;
    if split.is_some() {
        csv.cell("split")?;
    }
    csv.cell("label")?.cell("predicted")?;
    classes.iter().try_for_each(|class| csv.name(&format!("p({class})")).map(|_| ()))?;
    csv.end()?;
    for bag in 0..bags.len() {
        csv.name(&bags.names[bag])?;
        if let Some(split) = split {
            csv.cell(part_name(split[bag]))?;
        }
        let label = labels.and_then(|l| classes.get(l[bag] as usize)).map_or("", |c| c);
        csv.name(label)?.name(&classes[predictions.class(bag)])?;
        predictions.bag(bag).iter().try_for_each(|p| csv.cell(p).map(|_| ()))?;
        csv.end()?;
    }
    Ok(())
}

/// A line for each instance: `bag,instance,score[,attention][,x,y]`.
///
/// # Errors
/// When `out` cannot be written.
pub fn instance_table(out: &mut impl Write, bags: &Bags, predictions: &Predictions) -> io::Result<()> {
    let (attention, coords) = (predictions.attention.as_deref(), bags.coords.as_deref());
    let mut csv = Csv::new(out);
    csv.cell("bag")?.cell("instance")?.cell("score")?;
    let more = [(attention.is_some(), "attention"), (coords.is_some(), "x"), (coords.is_some(), "y")];
    more.iter().filter(|(there, _)| *there).try_for_each(|(_, name)| csv.cell(name).map(|_| ()))?;
    csv.end()?;
    for bag in 0..bags.len() {
        for (instance, row) in bags.rows(bag).enumerate() {
            csv.name(&bags.names[bag])?.cell(instance)?.cell(predictions.scores[row])?;
            if let Some(attention) = attention {
                csv.cell(attention[row])?;
            }
            if let Some([x, y]) = coords.map(|c| c[row]) {
                csv.cell(x)?.cell(y)?;
            }
            csv.end()?;
        }
    }
    Ok(())
}
