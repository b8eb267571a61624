//! `bagrad verify`: a run or a study once more, to see whether the same comes out, bit for bit.

use super::args::{Output, Where};
use super::config::Config;
use super::cross_validate;
use super::experiment;
use super::progress::{Live, Progress};
use super::provenance::{FILE, Provenance};
use super::run_folder::{self, TABLES};
use super::study_file::StudyFile;
use super::{answer, answer_json, note, open_device, side_by_side};
use anyhow::{Context, Result, bail};
use bagrad::fit::Persistence;
use bagrad::reproduce::runs::{Line, Runs};
use bagrad::reproduce::{Cell, Grid};
use bagrad::{Error, Model};
use serde_json::json;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

const HELP: &str = "\
A run folder is trained again as its config.toml says, and its model, predictions.csv and attention.csv are compared byte for byte.
provenance.json tells first whether the bags and their division are those of the run; where they are not, nothing is trained. Of a
study (a folder with study.toml) the fits of runs.jsonl are done again. The same version on the same device gives the same bits;
other ones may round otherwise, which is told beside what differs. The exit code is 0 when everything is the same, else 1. Nothing in
the folder is touched.

Examples:
  bagrad verify runs/mine
  bagrad verify runs/mine --data /elsewhere/my-bags
  bagrad verify runs/study --fits 10";

/// Arguments of `bagrad verify`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Run folder of `bagrad train`, or folder of `bagrad cross-validate`
    run: PathBuf,
    /// Where the bags are now [default: where they were]
    #[arg(long)]
    data: Option<String>,
    /// Of a study so many methods and folds, evenly drawn, with all seeds [default: all]
    #[arg(long, value_name = "N")]
    fits: Option<std::num::NonZeroUsize>,
    #[command(flatten)]
    device: Where,
    #[command(flatten)]
    output: Output,
}

/// What was found.
#[derive(Default)]
struct Verdict {
    /// What was compared and is the same.
    confirmed: Vec<String>,
    /// What is not.
    differences: Vec<String>,
    /// What is otherwise and may be why.
    circumstances: Vec<String>,
}

/// Does again, compares, tells.
///
/// # Errors
/// For a folder that is neither, what training answers, and where something differs.
pub fn run(args: &Args) -> Result<()> {
    if args.run.is_file() {
        bail!("{} is a file; a run folder or the folder of a study is done again, not a model", args.run.display());
    }
    let found = match args.run.join(cross_validate::STUDY).exists() {
        true => of_study(args)?,
        false => of_run(args)?,
    };
    let at = args.run.display();
    match args.output.json {
        true => answer_json(&json!({
            "same": found.is_same(),
            "confirmed": found.confirmed,
            "differences": found.differences,
            "circumstances": found.circumstances,
        }))?,
        false => {
            let lines = |title: &str, all: &[String]| match all {
                [] => String::new(),
                all => format!("{title}:\n{}", all.iter().map(|line| format!("  {line}\n")).collect::<String>()),
            };
            answer(&format!(
                "{}{}{}",
                lines("the same", &found.confirmed),
                lines("otherwise than before", &found.circumstances),
                lines("differs", &found.differences)
            ))?;
        }
    }
    match found.is_same() {
        true => Ok(()),
        false => bail!("{at}: what came out is not what is there"),
    }
}

impl Verdict {
    fn is_same(&self) -> bool {
        self.differences.is_empty()
    }

    fn tell(&mut self, what: &str, differences: Vec<String>) {
        match differences.is_empty() {
            true => self.confirmed.push(what.to_owned()),
            false => self.differences.extend(differences.into_iter().map(|of| format!("{what}: {of}"))),
        }
    }
}

fn of_run(args: &Args) -> Result<Verdict> {
    let quiet = args.output.quiet;
    if args.fits.is_some() {
        bail!("--fits is of a study, and {} has no {}", args.run.display(), cross_validate::STUDY);
    }
    let config = Config::read(&args.run.join(run_folder::CONFIG))?;
    let config = Config { data: args.data.clone().or(config.data.clone()), ..config };
    let plan = config.plan()?;
    let before = Provenance::read(&args.run)?;
    let (device, _) = open_device(&args.device, config.device.as_deref(), quiet)?;
    let mut bar = Progress::new(quiet, plan.method.name());
    let prepared = experiment::prepare(&plan, quiet)?;
    let now = Provenance::of(&prepared.set, &device)?;
    let mut found = Verdict::default();
    match &before {
        Some(before) => {
            found.circumstances = now.circumstances(before);
            found.tell("bags", now.data.differences(&before.data));
            let other = (now.division != before.division).then(|| "other bags train, validate or test".to_owned());
            found.tell("division", other.into_iter().collect());
        }
        None => {
            note(quiet, format!("{} has no {FILE}: whether the bags are the same is not known", args.run.display()));
        }
    }
    if !found.is_same() {
        return Ok(found);
    }
    let done = experiment::train(prepared, &plan, &device, &mut bar, Persistence::default())?;
    let path = args.run.join(run_folder::MODEL);
    let bytes = std::fs::read(&path).map_err(|error| Error::io(&path, error))?;
    let model = &done.outcome.model;
    let differences = match bytes == model.to_bytes() {
        true => Vec::new(),
        false => of_models(&Model::load(&path)?, model)?,
    };
    found.tell(&format!("model, {} parameters", model.parameter_count()), differences);
    for (name, fill) in TABLES {
        let path = args.run.join(name);
        let theirs = File::open(&path).map_err(|error| Error::io(&path, error))?;
        let mut comparing = Comparing::new(BufReader::new(theirs));
        fill(&mut comparing, &done).map_err(|error| Error::io(&path, error))?;
        let differs = comparing.end().map_err(|error| Error::io(&path, error))?;
        found.tell(name, differs.map(|line| format!("line {line} is another")).into_iter().collect());
    }
    Ok(found)
}

/// In what two models differ.
fn of_models(before: &Model, now: &Model) -> Result<Vec<String>> {
    let mut all = Vec::new();
    if serde_json::to_value(before.spec())? != serde_json::to_value(now.spec())? {
        all.push("another method, settings, classes or target".to_owned());
    }
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for info in now.parameters() {
        let Ok(then) = before.parameter(&info.name) else { continue };
        let values = now.parameter(&info.name)?;
        if values.len() == then.len() && bits(values) != bits(then) {
            let pairs = || values.iter().zip(then).filter(|(a, b)| a.to_bits() != b.to_bits());
            let largest = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let (count, of) = (pairs().count(), values.len());
            all.push(format!("{}: {count} of {of} values, by {largest:e} at most", info.name));
        }
    }
    if all.is_empty() {
        all.push("something in the file beside the parameters: statistics of features, origin, or names".to_owned());
    }
    Ok(all)
}

/// A file that is compared with what is written, in place of being written.
struct Comparing<R> {
    theirs: R,
    line: usize,
    differs: Option<usize>,
}

impl<R: Read> Comparing<R> {
    fn new(theirs: R) -> Self {
        Self { theirs, line: 1, differs: None }
    }

    /// The first line that differs, if one does.
    fn end(mut self) -> io::Result<Option<usize>> {
        let more = self.theirs.read(&mut [0])? > 0;
        Ok(self.differs.or(more.then_some(self.line)))
    }
}

impl<R: Read> Write for Comparing<R> {
    fn write(&mut self, ours: &[u8]) -> io::Result<usize> {
        if self.differs.is_some() {
            return Ok(ours.len());
        }
        let mut theirs = Vec::with_capacity(ours.len());
        self.theirs.by_ref().take(ours.len() as u64).read_to_end(&mut theirs)?;
        let same = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
        self.line += ours[..same].iter().filter(|byte| **byte == b'\n').count();
        self.differs = (same < ours.len()).then_some(self.line);
        Ok(ours.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn of_study(args: &Args) -> Result<Verdict> {
    let quiet = args.output.quiet;
    let asked = StudyFile::read(&args.run.join(cross_validate::STUDY))?;
    let asked = StudyFile { data: args.data.clone().or(asked.data.clone()), ..asked };
    let seeds = asked.seeds.unwrap_or(1);
    let study = Arc::new(cross_validate::study(&asked, quiet)?);
    let mut grid = study.grid()?;
    thin(&mut grid, args.fits.map_or(usize::MAX, Into::into));
    let (device, _) = open_device(&args.device, None, quiet)?;
    let there = cross_validate::runs(&args.run)?;
    let known = || grid.cells.iter().flat_map(|cell| (1..=seeds).map(move |seed| (cell, seed)));
    if !known().any(|(cell, seed)| there.get(cell, seed, device.name()).is_some()) {
        bail!(
            "{}: none of its fits is of these bags and settings, this version ({}) and this device ({}); runs.jsonl says what they \
             were made with",
            args.run.display(),
            env!("CARGO_PKG_VERSION"),
            device.name()
        );
    }
    // Nothing is written beside what is verified.
    let folder = Scratch::new()?;
    let mut again = Runs::open(folder.0.join("runs.jsonl"))?;
    let live = Live::new(quiet, grid.metric);
    let jobs = side_by_side(None, &device).min(study.most_at_once());
    let done = again.complete(&grid, seeds, &device, jobs, &|told| live.tell(told));
    live.end();
    done?;
    let mut found = Verdict::default();
    let (mut same, mut missing) = (0, 0);
    for (cell, seed) in known() {
        let [then, now] = [&there, &again].map(|runs| runs.get(cell, seed, device.name()));
        let now = now.context("a fit that was just done is not there")?;
        let differences = then.map(|then| of_fits(then, now));
        match differences.as_deref() {
            None => missing += 1,
            Some([]) => same += 1,
            Some(_) => {
                let what = format!("{}, {}, seed {seed}", cell.row, cell.column);
                found.tell(&what, differences.unwrap_or_default());
            }
        }
    }
    if same > 0 {
        found.tell(&format!("{same} fits, with all that they measured and said"), Vec::new());
    }
    if missing > 0 {
        found.circumstances.push(format!("{missing} fits were never done, so nothing is said of them"));
    }
    Ok(found)
}

/// In what two fits differ.
fn of_fits(then: &Line, now: &Line) -> Vec<String> {
    let names = now.metrics.keys().chain(then.metrics.keys().filter(|name| !now.metrics.contains_key(*name)));
    let metrics = names.filter(|name| now.metrics.get(*name) != then.metrics.get(*name)).map(|name| {
        let told = |of: &Line| of.metrics.get(name).map_or("nothing".into(), f64::to_string);
        format!("{name} is {}, and was {}", told(now), told(then))
    });
    let mut all: Vec<String> = metrics.collect();
    all.extend((now.bags != then.bags).then(|| "something else is said of its test bags".to_owned()));
    all.extend((now.tried != then.tried).then(|| "its candidates have other scores".to_owned()));
    all
}

/// Leaves so many cells, evenly drawn.
fn thin(grid: &mut Grid, most: usize) {
    let count = grid.cells.len();
    if most < count {
        let mut cells: Vec<Option<Cell>> = std::mem::take(&mut grid.cells).into_iter().map(Some).collect();
        grid.cells = (0..most).filter_map(|n| cells[n * count / most].take()).collect();
    }
}

/// A folder of this process that goes away with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("bagrad-verify-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| Error::io(&path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left in a folder for temporary files harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_told() {
        let compare = |theirs: &str, ours: &[&str]| {
            let mut comparing = Comparing::new(theirs.as_bytes());
            ours.iter().for_each(|part| comparing.write_all(part.as_bytes()).unwrap());
            comparing.end().unwrap()
        };
        assert_eq!(compare("a\nb\nc\n", &["a\n", "b\nc", "\n"]), None);
        assert_eq!(compare("a\nb\nc\n", &["a\nb", "x"]), Some(2));
        assert_eq!(compare("a\nb\n", &["a\n"]), Some(2));
        assert_eq!(compare("a\n", &["a\nb\n"]), Some(2));
        assert_eq!(compare("", &[]), None);
    }
}
