//! `bagrad cross-validate`: methods on one data set, in folds that no patient is on both sides of.

use super::args::{self, Output, Where};
use super::division::Division;
use super::experiment;
use super::interruption::Interval;
use super::out_of_fold;
use super::progress::Live;
use super::shard::Shard;
use super::study_file::{SPLIT_SEED, StudyFile};
use super::{answer, answer_json, kept_models, note, open_device, side_by_side};
use anyhow::{Context, Result, bail};
use bagrad::data::{Dataset, Folds, Split, classes, sites, split};
use bagrad::files::{Claim, Kind, write_atomically};
use bagrad::fit::Every;
use bagrad::reproduce::runs::Runs;
use bagrad::study::results::{self, Results};
use bagrad::study::{self, Divided, Study, card};
use bagrad::training::metrics::Metric;
use bagrad::training::{Cache, ClassWeights};
use bagrad::{Scaling, TargetChoice, class_match};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const HELP: &str = "\
All methods have the same folds and the same validation bags. Bags of a group (the slides of a patient) are in one fold, and
validation bags choose the epoch, so a test fold is looked at once. Before anything runs, groups and equal features on both
sides of a fold are looked for, and are an error.

The out folder gets results.md, .html, .json, .csv and .tex (scores with intervals, methods in pairs, the settings that --search
chose), model-card.md (what was learnt from what, and what that does not say), predictions.csv (what was said of each bag by
models that had not seen it), study.toml (for --study), and runs.jsonl, a line for each finished fit: what is there is not done
again, and a fit that was cut short goes on where it stood. With --keep-models it also gets models/METHOD.safetensors, all fits of a
method as one model for `bagrad predict` (docs/ensembles.md).

Examples:
  bagrad cross-validate --data features_uni_v1/ --labels slides.csv --method gated-attention --method dsmil --out runs/study
  bagrad cross-validate --data musk1.csv.gz --method gated-attention,embed=[64] --method mi-net-ds --folds 10 --seeds 3 --out m
  bagrad cross-validate --data musk1.csv.gz --search 'gated-attention: lr=[1e-4,1e-3], embed=[64,128]' --out searched
  bagrad cross-validate --data features/ --labels slides.csv --folds sites:5 --method dsmil --out by-site
  bagrad cross-validate --data features/ --labels survival.csv --target cox --method gated-attention --out survival
  bagrad cross-validate --data features/ --labels slides.csv --method dsmil --keep-models --out runs/study
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
    /// Method whose settings the validation bags of each fit choose, repeatable: 'gated-attention: lr=[1e-4,3e-4],
    /// embed=[64,128]' tries each combination; the settings of a --method, and lr, epochs, batch, weight-decay, instances,
    /// instance-dropout, feature-dropout, mixup, sampling, label-smoothing, focal
    #[arg(long, value_name = "NAME: SETTING=[VALUE,..],..")]
    search: Vec<String>,
    /// Draw so many candidates of each --search in place of every combination; a setting may then have a range, such as
    /// dropout=0..0.5 or lr=1e-5..1e-3 log
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    trials: Option<u16>,
    /// Choose among the candidates of a --search by successive halving: all are trained for a part of their epochs, of each
    /// SHARE (3) the best that much longer, and so on, in place of training every one to the end
    #[arg(long, value_name = "SHARE", num_args = 0..=1, default_missing_value = "3", value_parser = clap::value_parser!(u16).range(2..=16))]
    halving: Option<u16>,
    /// Compare without the baselines: the shares of the classes, a network on the mean of a bag's features, and one with
    /// log-mean-exp pooling
    #[arg(long)]
    no_baselines: bool,
    /// A study as a study.toml has it; options go before what it says
    #[arg(long, value_name = "FILE")]
    study: Option<PathBuf>,
    /// Folder for runs and results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Folds of a division, stratified by class; monte-carlo:N[:SHARE] for N divisions that test a share drawn anew
    /// [default: 0.2]; sites:K for folds of whole sites; each-site for one of each [default: those of the data set, else 5]
    #[arg(long, value_name = "K")]
    folds: Option<Division>,
    /// Sites are those of TCGA's barcodes (A7 of TCGA-A7-A0CD), of patients or else of bags
    #[arg(long)]
    tcga_sites: bool,
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
    #[arg(long, help = args::TARGETS)]
    target: Option<TargetChoice>,
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
    /// Keep the model of each fit, and write those of a method as one file that `bagrad predict` takes: models/METHOD.safetensors.
    /// Fits without their model are done again
    #[arg(long)]
    keep_models: bool,
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

impl Args {
    /// What the options ask for.
    fn asked(&self) -> StudyFile {
        let args::Bags { labels, slides, on_bad, .. } = self.opening.clone();
        StudyFile {
            data: self.data.clone(),
            labels,
            slides,
            on_bad,
            methods: self.methods.clone(),
            search: self.search.clone(),
            trials: self.trials.map(usize::from),
            halving: self.halving.map(usize::from),
            folds: self.folds,
            baselines: self.no_baselines.then_some(false),
            tcga_sites: self.tcga_sites.then_some(true),
            repeats: self.repeats,
            seeds: self.seeds,
            validation: self.validation,
            split_seed: self.split_seed,
            epochs: self.epochs,
            learning_rate: self.lr,
            patience: self.patience,
            monitor: self.monitor,
            class_weights: self.class_weights.clone(),
            standardise: self.no_standardise.then_some(false),
            target: self.target,
            positive: self.positive.clone(),
            columns: self.opening.columns(),
        }
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

/// What is written of results, anew each time.
const WRITTEN: [(&str, Kind); 7] = [
    ("results.md", Kind::Study),
    ("results.json", Kind::Study),
    ("results.csv", Kind::Study),
    ("results.tex", Kind::Study),
    ("results.html", Kind::Page),
    ("model-card.md", Kind::Study),
    ("predictions.csv", Kind::Table),
];

/// What was asked, in the folder of a study.
pub const STUDY: &str = "study.toml";
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
    let below = args.study.as_deref().map(StudyFile::read).transpose()?.unwrap_or_default();
    let asked = args.asked().over(below);
    let seeds = asked.seeds.unwrap_or(1);
    if args.opening.splits.is_some() {
        bail!(
            "--splits: a file of parts is one division, for `bagrad train`; folds are those of the data set or drawn (--folds)"
        );
    }
    let study = Arc::new(study(&asked, quiet)?);
    let grid = study.grid()?;
    let file = |name: &str| args.out.join(name);
    let places = WRITTEN.map(|(name, kind)| (file(name), kind));
    let kinds: Vec<(&Path, Kind)> = places.iter().map(|(place, kind)| (&**place, *kind)).collect();
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let shard = Shard::part(args.shard);
    // A shard writes none of these.
    let claim = if shard.is_none() { Some(Claim::files(&kinds, true, &[])?) } else { None };
    let name = shard.map_or(RUNS.to_owned(), |[part, of]| format!("{OF_SHARD}{}-of-{of}.jsonl", part + 1));
    let mut runs = Runs::open(file(&name))?.shared(shard, &known(&args.out)?)?;
    if let Some(every) = args.checkpoint_every.unwrap_or(Interval(Some(USUAL))).0 {
        runs = runs.with_checkpoints(every);
    }
    if args.keep_models {
        runs = kept_models::keeping(runs, &args.out)?;
    }
    let joins = args.keep_models && shard.is_none();
    let models = joins.then(|| kept_models::Places::claim(&grid, &args.out)).transpose()?;
    let (device, _) = open_device(&args.device, None, quiet)?;
    let most = if args.jobs.is_some() { usize::MAX } else { study.most_at_once() };
    let jobs = side_by_side(args.jobs, &device).min(most);
    let live = Live::new(quiet, grid.metric);
    let done = runs.complete(&grid, seeds, &device, jobs, &|told| live.tell(told));
    live.end();
    let [done, there] = done?;
    note(quiet, format!("{done} fits done, {there} were there"));

    let Some(claim) = claim else {
        let told = "the fits of this part are done; without --shard the parts are joined";
        note(quiet, told);
        return if args.output.json { answer_json(&json!({ "done": done, "there": there })) } else { Ok(()) };
    };
    let results = Results::of(&study, &grid, &runs, seeds, device.name())?;
    let said = results::out_of_fold(&study, &grid, &runs, seeds, device.name())?;
    let text = results.markdown();
    let texts = [
        text.clone().into_bytes(),
        (serde_json::to_string_pretty(&results)? + "\n").into_bytes(),
        results.csv().into_bytes(),
        results.tex().into_bytes(),
        results.report().to_html().into_bytes(),
        card::markdown(&study, &results).into_bytes(),
        out_of_fold::csv(&study.set.bags, &said)?,
    ];
    for ((place, _), text) in places.iter().zip(texts) {
        write_atomically(claim.staged(place), text)?;
    }
    claim.commit()?;
    let told = StudyFile { validation: Some(study.validation), ..asked };
    // It may be one that a person wrote, or of a smaller study.
    let (place, text_of_study) = (file(STUDY), told.to_toml()?);
    match std::fs::read_to_string(&place) {
        Ok(there) if there != text_of_study => note(quiet, format!("{} is left as it is", place.display())),
        Ok(_) => {}
        Err(_) => write_atomically(&place, text_of_study)?,
    }
    if let Some(models) = models {
        models.fill(&study, &grid, (&mut runs, seeds, device.name()), quiet)?;
    }
    note(quiet, format!("written: {}", args.out.display()));
    match args.output.json {
        true => answer_json(&results),
        false => answer(&text),
    }
}

/// The fits that a folder has, of whichever process.
///
/// # Errors
/// For a file of runs that is none.
pub fn runs(folder: &Path) -> Result<Runs> {
    Runs::open(folder.join(RUNS))?.shared(None, &known(folder)?)
}

/// Opens the data and lays out the study.
///
/// # Errors
/// Of what is asked, and of the data.
pub fn study(asked: &StudyFile, quiet: bool) -> Result<Study> {
    let Some(data) = &asked.data else { bail!("--data: expected bags to learn from, found none") };
    if asked.methods.is_empty() && asked.search.is_empty() {
        bail!("--method: expected a method at least (`bagrad methods` lists them), found none");
    }
    for (name, is_asked) in [("trials", asked.trials.is_some()), ("halving", asked.halving.is_some())] {
        if is_asked && asked.search.is_empty() {
            bail!("--{name} is of the candidates of --search, of which there is none");
        }
    }
    if let Some(share) = asked.halving.filter(|share| !(2..=16).contains(share)) {
        bail!("halving: expected a share of 2 to 16, found {share}");
    }
    let mut contenders = asked.contenders()?;
    let mut set = experiment::open(data, &asked.opening(), None, Cache::Auto, quiet)?;
    match &asked.positive {
        Some(name) => class_match::set_positive(&mut set.bags, name).context("--positive")?,
        None => {
            if let Some(told) = classes::guessed_positive(&set.bags.class_names) {
                note(quiet, format!("{told}; --positive NAME says which it is"));
            }
        }
    }
    if asked.tcga_sites == Some(true) {
        set.sites = Some(sites::of_barcodes(&set.bags).context("--tcga-sites")?);
    }
    let (folds, divided) = folds(&mut set, asked).with_context(|| format!("data {data}"))?;
    if set
        .split
        .as_ref()
        .is_some_and(|parts| parts.iter().any(|part| *part != Split::Train && *part != Split::Unlabelled))
    {
        note(quiet, "the parts that come with the data divide nothing here: all labelled bags are in the folds");
    }
    set.split = None;
    if let Some(groups) = &set.bags.groups {
        let (bags, all) = (groups.len(), split::count_groups(groups));
        note(quiet, format!("{bags} bags of {all} groups, each kept in one fold"));
    }
    if let Some(sites) = &set.sites {
        let (all, kept) = (split::count_groups(sites), divided == Divided::BySite);
        let told =
            if kept { "each kept in one fold" } else { "on both sides of folds; --folds sites:K keeps each in one" };
        note(quiet, format!("{all} sites, {told}"));
    }
    let validation = asked.validation.unwrap_or(VALIDATION);
    if validation == 0.0 && !asked.search.is_empty() {
        bail!("--search needs validation bags to choose by; give --validation a share above 0");
    }
    if validation == 0.0 && asked.patience.is_some() {
        bail!("--patience needs validation bags; give --validation a share above 0");
    }
    let scaling = if asked.standardise == Some(false) { Scaling::None } else { Scaling::Auto };
    contenders.extend(asked.baselines(study::Kind::of(&set.bags)));
    let target = asked.target.unwrap_or_default();
    Ok(Study { set, target, folds, divided, contenders, validation, scaling })
}

/// The folds of the data set, or drawn ones.
fn folds(set: &mut Dataset, asked: &StudyFile) -> Result<(Folds, Divided)> {
    if let (Some(own), None, None) = (set.folds.take(), asked.folds, asked.repeats) {
        return Ok((own, Divided::InFolds));
    }
    let bags = &set.bags;
    let labels = bags.strata().context("expected labels to train with, found none")?;
    let (groups, seed) = (bags.groups.as_deref(), asked.split_seed.unwrap_or(SPLIT_SEED));
    let division = asked.folds.unwrap_or(Division::Folds(FOLDS));
    if let (false, Some(repeats)) = (matches!(division, Division::Folds(_)), asked.repeats) {
        bail!("--repeats {repeats} is of folds that are drawn; --folds {division} has its own number of divisions");
    }
    let sites = || {
        let told =
            "expected to know where bags are from: a column 'site' of the labels, --site-column NAME, or --tcga-sites";
        set.sites.as_deref().with_context(|| format!("--folds {division}: {told}"))
    };
    Ok(match division {
        Division::Folds(count) => {
            (Folds::stratified(&labels, groups, count, asked.repeats.unwrap_or(1), seed)?, Divided::InFolds)
        }
        Division::MonteCarlo(count, share) => {
            (Folds::monte_carlo(&labels, groups, count, share, seed)?, Divided::MonteCarlo)
        }
        Division::Sites(count) => (Folds::by_site(&labels, groups, sites()?, count, seed)?, Divided::BySite),
        Division::EachSite => (Folds::of_each_site(groups, sites()?)?, Divided::BySite),
    })
}
