//! `bagrad cross-validate`: methods on one data set, in folds that no patient is on both sides of.

use super::args::{self, Output, Where};
use super::csv::Csv;
use super::experiment::{self, groups_told};
use super::interruption::Interval;
use super::{answer, answer_json, note, open_device, side_by_side};
use anyhow::{Context, Result, bail};
use bagrad::data::{Folds, Split, classes};
use bagrad::files::{Claim, Kind, write_atomically};
use bagrad::fit::Every;
use bagrad::methods::Method;
use bagrad::reproduce::runs::Runs;
use bagrad::study::results::{OutOfFold, Results, out_of_fold};
use bagrad::study::{Candidate, Study};
use bagrad::training::metrics::Metric;
use bagrad::training::{Cache, ClassWeights, Settings};
use bagrad::{Bags, Scaling, class_match};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

const HELP: &str = "\
All methods have the same folds and the same validation bags. Bags of a group (the slides of a patient) are in one fold, and
validation bags choose the epoch, so a test fold is looked at once. Before anything runs, groups and equal features on both
sides of a fold are looked for, and are an error.

The out folder gets results.md and results.json (scores with intervals, methods in pairs), predictions.csv (what was said of
each bag by models that had not seen it), study.toml (for --study), and runs.jsonl, a line for each finished fit: what is there is
not done again, and a fit that was cut short goes on where it stood.

Examples:
  bagrad cross-validate --data features_uni_v1/ --labels slides.csv --method gated-attention --method dsmil --out runs/study
  bagrad cross-validate --data musk1.csv.gz --method gated-attention,embed=[64] --method mi-net-ds --folds 10 --seeds 3 --out m
  bagrad cross-validate --study runs/study/study.toml --seeds 5 --out runs/study";

/// Arguments of `bagrad cross-validate`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Folder, file or generator, as of `bagrad train`
    #[arg(long)]
    data: Option<String>,
    /// Method, repeatable, with settings behind commas: dsmil, or gated-attention,embed=[256],dropout=0.25
    #[arg(long = "method", value_name = "NAME[,SETTING=VALUE]")]
    methods: Vec<String>,
    /// A study as a study.toml has it; options go before what it says
    #[arg(long, value_name = "FILE")]
    study: Option<PathBuf>,
    /// Folder for runs and results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folds of a division, stratified by class [default: those of the data set, else 5]
    #[arg(long, value_name = "K")]
    folds: Option<usize>,
    /// Divisions into folds [default: 1]
    #[arg(long, value_name = "N")]
    repeats: Option<usize>,
    /// Fits of each fold, with seeds 1 to N for weights and order [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,
    /// Share of the training bags of a fold that chooses the epoch; 0 takes the last one [default: 0.2]
    #[arg(long, value_name = "FRACTION")]
    validation: Option<f64>,
    /// Seed of the divisions [default: 1]
    #[arg(long, value_name = "SEED", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    split_seed: Option<u64>,
    /// Passes over the training bags, of all methods [default: that of each recipe]
    #[arg(long)]
    epochs: Option<u32>,
    /// Learning rate of all methods [default: that of each recipe]
    #[arg(long)]
    lr: Option<f64>,
    /// Stop a fit after so many epochs without a better validation score
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<u32>,
    /// Validation score that decides which epoch is kept, as of `bagrad train` [default: loss]
    #[arg(long)]
    monitor: Option<Metric>,
    /// Weights of the classes in the loss, as of `bagrad train` [default: none]
    #[arg(long, value_name = "WEIGHTS", value_parser = args::class_weights)]
    class_weights: Option<ClassWeights>,
    /// Take the features as they are [default for images; others are z-scored by the training bags of each fit]
    #[arg(long)]
    no_standardise: bool,
    /// The positive class of two [default: the second]
    #[arg(long, value_name = "NAME")]
    positive: Option<String>,
    /// Fits side by side, which changes none of their results [default: as many as there are cores on the host, which they
    /// share, or as memory has room for; one on a GPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Do only the fits of part I of N, from 1, and write no results: N such processes share a study, and one without it
    /// joins what they did and does what is missing. Of a job array under Slurm the part is its task, unless --shard says
    /// otherwise; `--shard none` takes no part
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// How often a fit writes down how it stands: 30s, 10m, 500u (updates), 5e (epochs), or never [default: 1m]
    #[arg(long, value_name = "INTERVAL")]
    checkpoint_every: Option<Interval>,
    #[command(flatten)]
    opening: args::Bags,
    #[command(flatten)]
    device: Where,
    #[command(flatten)]
    output: Output,
}

/// A study as a file has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    data: Option<String>,
    labels: Option<PathBuf>,
    methods: Vec<String>,
    folds: Option<usize>,
    repeats: Option<usize>,
    seeds: Option<u64>,
    validation: Option<f64>,
    split_seed: Option<u64>,
    epochs: Option<u32>,
    learning_rate: Option<f64>,
    patience: Option<u32>,
    monitor: Option<Metric>,
    class_weights: Option<ClassWeights>,
    standardise: Option<bool>,
    positive: Option<String>,
}

impl Asked {
    fn of(args: &Args) -> Result<Self> {
        let below = match &args.study {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
                let mut read: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
                let folder = path.parent().unwrap_or(Path::new(""));
                read.labels = read.labels.map(|labels| folder.join(labels));
                read
            }
            None => Self::default(),
        };
        Ok(Self {
            data: args.data.clone().or(below.data),
            labels: args.opening.labels.clone().or(below.labels),
            methods: if args.methods.is_empty() { below.methods } else { args.methods.clone() },
            folds: args.folds.or(below.folds),
            repeats: args.repeats.or(below.repeats),
            seeds: args.seeds.or(below.seeds),
            validation: args.validation.or(below.validation),
            split_seed: args.split_seed.or(below.split_seed),
            epochs: args.epochs.or(below.epochs),
            learning_rate: args.lr.or(below.learning_rate),
            patience: args.patience.or(below.patience),
            monitor: args.monitor.or(below.monitor),
            class_weights: args.class_weights.clone().or(below.class_weights),
            standardise: if args.no_standardise { Some(false) } else { below.standardise },
            positive: args.positive.clone().or(below.positive),
        })
    }

    /// The method of `NAME,SETTING=VALUE,..` and its training.
    fn candidate(&self, text: &str) -> Result<Candidate> {
        let mut parts = parts(text).into_iter();
        let name = parts.next().unwrap_or_default();
        let set: Vec<String> = parts.collect();
        let of = || format!("--method {text}");
        let method = Method::named(name.trim()).with_context(of)?.with(&args::settings(&set)?).with_context(of)?;
        let recipe = Settings::for_method(&method);
        let training = Settings {
            epochs: self.epochs.unwrap_or(recipe.epochs),
            learning_rate: self.learning_rate.unwrap_or(recipe.learning_rate),
            patience: self.patience,
            monitor: self.monitor.unwrap_or(recipe.monitor),
            class_weights: self.class_weights.clone().unwrap_or(recipe.class_weights.clone()),
            ..recipe
        };
        Ok(Candidate { name: text.to_owned(), method, training })
    }
}

/// Pieces between the commas that are in no brackets and no quotes.
fn parts(text: &str) -> Vec<String> {
    let (mut all, mut depth, mut quoted) = (vec![String::new()], 0, false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.last_mut().expect("it begins with one").push(c);
    }
    all
}

/// A part of the fits: its number from 0 and how many there are; or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard(Option<[usize; 2]>);

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let numbers = text.split_once('/').and_then(|(part, of)| Some([part.parse().ok()?, of.parse().ok()?]));
        match numbers {
            Some([part, of]) if (1..=of).contains(&part) => Ok(Self(Some([part - 1, of]))),
            _ => Err(format!("expected I/N with I from 1 to N, such as 2/8, or none, found {text:?}")),
        }
    }
}

impl Shard {
    /// The part of a task of a job array, whose numbers may begin anywhere.
    fn of_slurm(variable: impl Fn(&str) -> Option<String>) -> Option<[usize; 2]> {
        let number = |name: &str| variable(name)?.parse::<usize>().ok();
        let (task, first) = (number("SLURM_ARRAY_TASK_ID")?, number("SLURM_ARRAY_TASK_MIN")?);
        let of = number("SLURM_ARRAY_TASK_COUNT").filter(|of| *of > 1)?;
        let (last, part) = (number("SLURM_ARRAY_TASK_MAX")?, task.checked_sub(first)?);
        // Tasks with gaps between them cannot be told from their number alone.
        (last.checked_sub(first)? + 1 == of && part < of).then_some([part, of])
    }
}

/// Files of runs in a folder: of one process, and of those that share a study.
fn known(folder: &Path) -> Result<Vec<PathBuf>> {
    let at = || folder.display().to_string();
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(at)? {
        let path = entry.with_context(at)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name == RUNS || name.starts_with(OF_SHARD) && name.ends_with(".jsonl") {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

/// The file of finished fits, and the beginning of those of shards.
const RUNS: &str = "runs.jsonl";
const OF_SHARD: &str = "runs-";

/// The default of `--checkpoint-every`.
const USUAL: Every = Every::Time(std::time::Duration::from_secs(60));
/// Folds where neither the data set nor the user says.
const FOLDS: usize = 5;
/// The default of `--validation`.
const VALIDATION: f64 = 0.2;

/// Divides, fits, tells.
///
/// # Errors
/// Of the arguments, the data, the device, or the out folder.
pub fn run(args: &Args) -> Result<()> {
    let quiet = args.output.quiet;
    let asked = Asked::of(args)?;
    let seeds = asked.seeds.unwrap_or(1);
    let study = Arc::new(study(args, &asked)?);
    let grid = study.grid()?;
    let file = |name: &str| args.out.join(name);
    let [page, data, table] = ["results.md", "results.json", "predictions.csv"].map(file);
    let kinds = [(&*page, Kind::Study), (&*data, Kind::Study), (&*table, Kind::Table)];
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let shard = match args.shard {
        Some(Shard(given)) => given,
        None => Shard::of_slurm(|name| std::env::var(name).ok()),
    };
    // A shard writes none of these.
    let claim = if shard.is_none() { Some(Claim::files(&kinds, true, &[])?) } else { None };
    let name = shard.map_or(RUNS.to_owned(), |[part, of]| format!("{OF_SHARD}{}-of-{of}.jsonl", part + 1));
    let mut runs = Runs::open(file(&name))?.shared(shard, &known(&args.out)?)?;
    if let Some(every) = args.checkpoint_every.unwrap_or(Interval(Some(USUAL))).0 {
        runs = runs.with_checkpoints(every);
    }
    let (device, _) = open_device(&args.device, None, quiet)?;
    let most = if args.jobs.is_some() { usize::MAX } else { study.most_at_once() };
    let jobs = side_by_side(args.jobs, &device).min(most);
    let [done, there] = runs.complete(&grid, seeds, &device, jobs, &|text| note(quiet, text))?;
    note(quiet, format!("{done} fits done, {there} were there"));

    let Some(claim) = claim else {
        let told = "the fits of this part are done; without --shard the parts are joined";
        note(quiet, told);
        return if args.output.json { answer_json(&json!({ "done": done, "there": there })) } else { Ok(()) };
    };
    let results = Results::of(&study, &grid, &runs, seeds, device.name())?;
    let said = out_of_fold(&study, &grid, &runs, seeds, device.name())?;
    let text = results.markdown();
    write_atomically(claim.staged(&page), &text)?;
    write_atomically(claim.staged(&data), serde_json::to_string_pretty(&results)? + "\n")?;
    write_atomically(claim.staged(&table), predictions(&study.set.bags, &said)?)?;
    claim.commit()?;
    // It may be one that a person wrote, or of a smaller study.
    let (place, text_of_study) = (file("study.toml"), toml::to_string_pretty(&asked.told(&study))?);
    match std::fs::read_to_string(&place) {
        Ok(there) if there != text_of_study => note(quiet, format!("{} is left as it is", place.display())),
        Ok(_) => {}
        Err(_) => write_atomically(&place, text_of_study)?,
    }
    note(quiet, format!("written: {}", args.out.display()));
    match args.output.json {
        true => answer_json(&results),
        false => answer(&text),
    }
}

impl Asked {
    /// The same with what was assumed, for a file: paths that do not depend on where it lies.
    fn told(&self, study: &Study) -> Self {
        let whole = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let data = self.data.as_ref().map(|data| match Path::new(data).exists() {
            true => whole(&PathBuf::from(data)).display().to_string(),
            false => data.clone(),
        });
        Self { data, labels: self.labels.as_ref().map(whole), validation: Some(study.validation), ..self.clone() }
    }
}

/// Opens the data and lays out the study.
fn study(args: &Args, asked: &Asked) -> Result<Study> {
    let quiet = args.output.quiet;
    let Some(data) = &asked.data else { bail!("--data: expected bags to learn from, found none") };
    if asked.methods.is_empty() {
        bail!("--method: expected a method at least (`bagrad methods` lists them), found none");
    }
    let candidates = asked.methods.iter().map(|text| asked.candidate(text)).collect::<Result<Vec<_>>>()?;
    let mut opening = args.opening.opening();
    if opening.splits.is_some() {
        bail!(
            "--splits: a file of parts is one division, for `bagrad train`; folds are those of the data set or drawn (--folds)"
        );
    }
    opening.labels.clone_from(&asked.labels);
    let mut set = experiment::open(data, &opening, None, Cache::Auto, quiet)?;
    match &asked.positive {
        Some(name) => class_match::set_positive(&mut set.bags, name).context("--positive")?,
        None => {
            if let Some(told) = classes::guessed_positive(&set.bags.class_names) {
                note(quiet, format!("{told}; --positive NAME says which it is"));
            }
        }
    }
    let folds = folds(&set.bags, set.folds.take(), asked).with_context(|| format!("data {data}"))?;
    if set
        .split
        .as_ref()
        .is_some_and(|parts| parts.iter().any(|part| *part != Split::Train && *part != Split::Unlabelled))
    {
        note(quiet, "the parts that come with the data divide nothing here: all labelled bags are in the folds");
    }
    // Nothing but folds divides.
    set.split = Some(vec![Split::Train; set.bags.len()]);
    if let Some(told) = groups_told(&set) {
        note(quiet, told.split(", each").next().unwrap_or_default().to_owned() + ", each kept in one fold");
    }
    set.split = None;
    let validation = asked.validation.unwrap_or(VALIDATION);
    if validation == 0.0 && asked.patience.is_some() {
        bail!("--patience needs validation bags; give --validation a share above 0");
    }
    let scaling = if asked.standardise == Some(false) { Scaling::None } else { Scaling::Auto };
    Ok(Study { set, folds, candidates, validation, scaling })
}

/// The folds of the data set, or drawn ones.
fn folds(bags: &Bags, own: Option<Folds>, asked: &Asked) -> Result<Folds> {
    if let (Some(own), None, None) = (own, asked.folds, asked.repeats) {
        return Ok(own);
    }
    let labels = bags.strata().context("expected labels to train with, found none")?;
    let (count, repeats) = (asked.folds.unwrap_or(FOLDS), asked.repeats.unwrap_or(1));
    Ok(Folds::stratified(&labels, bags.groups.as_deref(), count, repeats, asked.split_seed.unwrap_or(1))?)
}

/// A line for each bag, method, division and seed.
fn predictions(bags: &Bags, said: &[OutOfFold]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    {
        let mut out = BufWriter::new(&mut text);
        let mut csv = Csv::new(&mut out);
        for name in ["bag", "method", "division", "fold", "seed", "label", "predicted"] {
            csv.cell(name)?;
        }
        bags.class_names.iter().try_for_each(|class| csv.name(&format!("p({class})")).map(|_| ()))?;
        csv.end()?;
        for OutOfFold { method, place, bag, probabilities } in said {
            let class = |n: usize| bags.class_names.get(n).map_or("", String::as_str);
            let label = bags.label(*bag).map_or("", |label| class(label as usize));
            let predicted = bagrad::training::metrics::predictions(probabilities, bags.classes());
            csv.name(&bags.names[*bag])?.name(method)?;
            place.iter().try_for_each(|at| csv.cell(at).map(|_| ()))?;
            csv.name(label)?.name(class(predicted[0] as usize))?;
            probabilities.iter().try_for_each(|p| csv.cell(p).map(|_| ()))?;
            csv.end()?;
        }
        out.flush()?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_study_are_read() {
        assert_eq!("2/8".parse(), Ok(Shard(Some([1, 8]))));
        assert_eq!("none".parse(), Ok(Shard(None)));
        assert!(["0/2", "3/2", "1", "a/b", "1/0"].iter().all(|text| text.parse::<Shard>().is_err()));
        let slurm = |task: &str, [min, max, count]: [&str; 3]| {
            let of = [("TASK_ID", task), ("TASK_MIN", min), ("TASK_MAX", max), ("TASK_COUNT", count)];
            Shard::of_slurm(|name| {
                let found = of.iter().find(|(ending, _)| name == format!("SLURM_ARRAY_{ending}"));
                found.map(|(_, value)| value.to_string()).filter(|value| !value.is_empty())
            })
        };
        assert_eq!(slurm("3", ["1", "4", "4"]), Some([2, 4]));
        assert_eq!(slurm("0", ["0", "1", "2"]), Some([0, 2]));
        assert_eq!(slurm("4", ["1", "9", "4"]), None);
        assert_eq!(slurm("", ["", "", ""]), None);
    }

    #[test]
    fn settings_stand_behind_commas() {
        let of = |text: &str| parts(text).join(" | ");
        assert_eq!(of("dsmil"), "dsmil");
        assert_eq!(of("gated-attention,embed=[64,32],init=glorot"), "gated-attention | embed=[64,32] | init=glorot");
        assert_eq!(of("ibmil,base={method=\"a,b\",x=[1,2]},k=1"), "ibmil | base={method=\"a,b\",x=[1,2]} | k=1");
        let candidate = Asked { epochs: Some(3), ..Asked::default() }.candidate("dsmil,query=64").unwrap();
        assert_eq!((&candidate.name[..], candidate.training.epochs), ("dsmil,query=64", 3));
        assert_eq!(candidate.method.settings()["query"], 64);
        let refused = |text: &str| format!("{:#}", Asked::default().candidate(text).unwrap_err());
        assert!(
            refused("dsmil,queri=3").contains("--method dsmil,queri=3") && refused("no").contains("there are: mi-net")
        );
    }
}
