//! The folder that a run leaves behind, and the tables of predictions in it.

use super::away;
use super::config::Config;
use super::csv::{self, Csv};
use super::epochs;
use super::experiment::{Finished, part_name};
use super::members;
use super::provenance::{self, Provenance};
use super::said;
use anyhow::{Context, Result};
use bagrad::data::Split;
use bagrad::files::{self, Claim};
use bagrad::report::Report;
use bagrad::standardise::Distance;
use bagrad::training::{Epoch, Predictions, Told};
use bagrad::{Answers, Bags, Error};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The configuration in it.
pub const CONFIG: &str = "config.toml";
/// The model in it.
pub const MODEL: &str = "model.safetensors";
/// A line for each epoch in it, and one for the result.
const METRICS: &str = "metrics.jsonl";

/// The model file that a path names: itself, or that of the run folder. What a killed run left there is put right first.
///
/// # Errors
/// When that cannot be done.
pub fn model_of(path: &Path) -> Result<PathBuf> {
    files::recover(path)?;
    Ok(if path.is_dir() { path.join(MODEL) } else { path.to_owned() })
}

/// Fills a table of a run.
type Fill = fn(&mut dyn Write, &Finished) -> io::Result<()>;
/// What was said of bags and of instances in it.
pub const TABLES: [(&str, Fill); 2] = [("predictions.csv", of_bags), ("attention.csv", of_instances)];

fn of_bags(out: &mut dyn Write, done: &Finished) -> io::Result<()> {
    let bags = &done.set.bags;
    bag_table(out, bags, (&done.predictions, None, &[]), &bags.class_names, done.set.split.as_deref())
}

fn of_instances(out: &mut dyn Write, done: &Finished) -> io::Result<()> {
    let bags = &done.set.bags;
    instance_table(out, bags, &done.predictions, &bags.class_names)
}

#[derive(Serialize)]
struct EpochLine<'a> {
    kind: &'static str,
    #[serde(flatten)]
    epoch: &'a Epoch,
}

/// Fills the folder that was claimed; it appears whole, or not at all.
///
/// # Errors
/// With the file that could not be written.
pub fn write(
    claim: Claim,
    config: &Config,
    done: &Finished,
    result: &Map<String, Value>,
    page: &Report,
    provenance: &Provenance,
) -> Result<()> {
    let config = config.to_toml()?;
    let mut lines = String::new();
    for epoch in &done.outcome.epochs {
        lines += &serde_json::to_string(&EpochLine { kind: "epoch", epoch })?;
        lines.push('\n');
    }
    let mut last = Map::from_iter([("kind".to_owned(), Value::from("result"))]);
    last.extend(result.clone());
    lines += &(serde_json::to_string(&last)? + "\n");
    let place = claim.staging();
    files::write_atomically(place.join(CONFIG), &config)?;
    files::write_atomically(place.join(METRICS), &lines)?;
    files::write_atomically(place.join(provenance::FILE), provenance.to_text()?)?;
    let of_epochs = &done.outcome.epochs;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    table_file(place.join(epochs::TABLE), |out| epochs::table(out, of_epochs))?;
    table_file(place.join(epochs::EVENTS), |out| epochs::events(out, of_epochs, now))?;
    done.outcome.model.save(place.join(MODEL))?;
    for (name, fill) in TABLES {
        table_file(place.join(name), |out| fill(out, done))?;
    }
    page.write(place.join("report.html"))?;
    Ok(claim.commit()?)
}

/// What a run gave, from its folder.
///
/// # Errors
/// With the path, for a folder that is no run's.
pub fn result(folder: &Path) -> Result<Map<String, Value>> {
    let path = folder.join(METRICS);
    let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
    let last = text.lines().last().unwrap_or_default();
    let mut last: Map<String, Value> = serde_json::from_str(last).with_context(|| path.display().to_string())?;
    last.remove("kind");
    Ok(last)
}

/// What each bag was for the run whose folder this is; `None` for what is no folder, such as a model file.
///
/// # Errors
/// When the table is there and cannot be read.
pub fn parts(folder: &Path) -> Result<Option<HashMap<String, Split>>> {
    let path = folder.join(TABLES[0].0);
    if !path.is_file() {
        return Ok(None);
    }
    let mut table = ::csv::Reader::from_path(&path).with_context(|| path.display().to_string())?;
    let headers = table.headers().with_context(|| path.display().to_string())?.clone();
    if headers.iter().take(2).ne(["bag", "split"]) {
        return Ok(None);
    }
    let mut parts = HashMap::new();
    for line in table.records() {
        let line = line.with_context(|| path.display().to_string())?;
        if let Some(part) = Split::ALL.into_iter().find(|part| part.name() == &line[1]) {
            parts.insert(line[0].to_owned(), part);
        }
    }
    Ok(Some(parts))
}

/// What bag `name` was, by the names as tables have them.
pub fn part_of(parts: &HashMap<String, Split>, name: &str) -> Option<Split> {
    parts.get(&*csv::harmless(name)).copied()
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

/// A line for each bag: `bag[,split]` and what [`said::names`] has, such as `label,predicted,p(class)..`. Behind them is what
/// the method tells of bags besides, of an ensemble what [`members::names`] has, and how far bags are from the training's, if that
/// is known.
///
/// # Errors
/// When `out` cannot be written.
pub fn bag_table(
    out: &mut (impl Write + ?Sized),
    bags: &Bags,
    (predictions, apart, distances): (&Predictions, Option<&Answers>, &[Distance]),
    classes: &[String],
    split: Option<&[Split]>,
) -> io::Result<()> {
    let mut csv = Csv::new(out);
    csv.cell("bag")?;
    if split.is_some() {
        csv.cell("split")?;
    }
    said::names(predictions, classes).iter().try_for_each(|name| csv.name(name).map(|_| ()))?;
    told_names(&mut csv, &predictions.of_bags, classes)?;
    let of_members = apart.map_or_else(Vec::new, |answers| members::names(answers, classes));
    of_members.iter().try_for_each(|name| csv.name(name).map(|_| ()))?;
    if !distances.is_empty() {
        away::COLUMNS.iter().try_for_each(|name| csv.cell(name).map(|_| ()))?;
    }
    csv.end()?;
    for bag in 0..bags.len() {
        csv.name(&bags.names[bag])?;
        if let Some(split) = split {
            csv.cell(part_name(split[bag]))?;
        }
        said::write(&mut csv, said::cells((predictions, bag), (bags, bag), classes))?;
        told_cells(&mut csv, &predictions.of_bags, bag)?;
        let numbers = apart.map_or_else(Vec::new, |answers| members::numbers(answers, bag));
        numbers.iter().try_for_each(|number| csv.cell(number).map(|_| ()))?;
        if let Some(Distance { value, percentile }) = distances.get(bag) {
            csv.cell(*value as f32)?.cell(*percentile as f32)?;
        }
        csv.end()?;
    }
    Ok(())
}

fn told_names(csv: &mut Csv<'_, impl Write + ?Sized>, told: &[Told], classes: &[String]) -> io::Result<()> {
    told.iter().flat_map(|told| told.names(classes)).try_for_each(|name| csv.name(&name).map(|_| ()))
}

fn told_cells(csv: &mut Csv<'_, impl Write + ?Sized>, told: &[Told], row: usize) -> io::Result<()> {
    told.iter().flat_map(|told| told.row(row)).try_for_each(|value| csv.cell(value).map(|_| ()))
}

/// A line for each instance: `bag,instance,score[,attention][,x,y]`, where the model has a column for each class also
/// `score(class)..` and `attention(class)..`, and what the method tells of instances besides.
///
/// # Errors
/// When `out` cannot be written.
pub fn instance_table(
    out: &mut (impl Write + ?Sized),
    bags: &Bags,
    predictions: &Predictions,
    classes: &[String],
) -> io::Result<()> {
    let (columns, coords) = (predictions.instance_columns(classes), bags.coords.as_deref());
    // Places stand behind what every method has.
    let of_every = usize::from(!predictions.scores.is_empty()) + usize::from(predictions.attention.is_some());
    let (first, more) = columns.split_at(of_every);
    let mut csv = Csv::new(out);
    csv.cell("bag")?.cell("instance")?;
    first.iter().try_for_each(|column| csv.name(&column.name).map(|_| ()))?;
    if coords.is_some() {
        csv.cell("x")?.cell("y")?;
    }
    more.iter().try_for_each(|column| csv.name(&column.name).map(|_| ()))?;
    csv.end()?;
    for bag in 0..bags.len() {
        for (instance, row) in bags.rows(bag).enumerate() {
            csv.name(&bags.names[bag])?.cell(instance)?;
            first.iter().try_for_each(|column| csv.cell(column.get(row)).map(|_| ()))?;
            if let Some([x, y]) = coords.map(|c| c[row]) {
                csv.cell(x)?.cell(y)?;
            }
            more.iter().try_for_each(|column| csv.cell(column.get(row)).map(|_| ()))?;
            csv.end()?;
        }
    }
    Ok(())
}
