//! `bagrad train`: a model from bags, and a folder with everything about it.

use super::args::{self, FoldOf, Memory, Output, SCHEDULES, Where};
use super::config::{Config, SplitConfig, TrainingConfig};
use super::experiment::{self, part_name};
use super::interruption::{self, Interruption};
use super::optimiser::{self, Chosen, LookaheadFlag, Rule};
use super::progress::Progress;
use super::provenance::Provenance;
use super::{answer, answer_json, note, open_device, page, run_folder, summary};
use anyhow::{Result, bail};
use bagrad::TargetChoice;
use bagrad::files::Claim;
use bagrad::precision::Precision;
use bagrad::training::Cache;
use bagrad::training::metrics::Metric;
use bagrad::training::schedule::Schedule;
use bagrad::training::{ClassWeights, Sampling};
use serde_json::json;
use std::path::{Path, PathBuf};

const HELP: &str = "\
The run folder has config.toml (reusable with --config), provenance.json (for `bagrad verify`), metrics.jsonl, epochs.csv, an event
file for TensorBoard, model.safetensors, predictions.csv, attention.csv and report.html. It appears whole at the end, or not at all. Options go before the
configuration, and the configuration before the recipe of the method's paper; each changes the part it names.
Beside it RUN.checkpoint says how a run stands while it lasts: `bagrad train --resume --out RUN` goes on with one that was
interrupted.
Relative paths in a configuration count from its folder; those of config.toml are absolute.

Bags of a group (the patient of each slide: groups.npy or groups.txt in the folder of the data, or the column group or
patient of a text file or of the table of --labels, or the one that --group-column names) stay together in --test, --folds and --validation. Of two classes the second is positive, unless --positive says which.

A bag may have several labels at once: labels.npy [bags, labels] of 0 and 1, class_names.txt with their names, and
--method dsmil. Every label then has scores of its own (docs/data.md).

Examples:
  bagrad train --data digits-bags,train=500 --method gated-attention --set embed=[64] --out runs/digits
  bagrad train --data musk1/ --method mi-net-ds --fold 0:3 --out runs/musk1-fold3
  bagrad train --data bags.csv.gz --method attention --validation 0.2 --patience 20 --monitor auc --out runs/csv
  bagrad train --data features_uni_v1/ --labels slides.csv --method gated-attention --validation 0.2 --out runs/uni
  bagrad train --data features_uni_v1/ --labels clinical.csv --label-column os_months --event-column os_status \
    --target cox --batch 32 --method gated-attention --validation 0.2 --monitor c_index --out runs/survival
  bagrad train --data scans.csv --bag-column scan --label-column outcome --group-column hospital --method mi-net
  bagrad train --resume --out runs/digits
  bagrad train --config runs/digits/config.toml --seed 7 --out runs/digits-7 --json";

/// Arguments of `bagrad train`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Folder of npy files, folder with a file of features for each slide (with --labels), packed file (bagrad pack), text file (csv and the like: label, bag, features; docs/data.md tells all), or a generator: digits-bags, mnist-bags:DIR, digits-classes,
    /// mnist-classes:DIR, digits-collage, mnist-collage:DIR, digits-haystack, mnist-haystack:DIR, textures, mil-assumption, each with [,k=v...]
    #[arg(long)]
    data: Option<String>,
    /// Method (`bagrad methods` lists them)
    #[arg(long)]
    method: Option<String>,
    /// Setting of the method, repeatable; values as in TOML or JSON; base.query=64 is a setting of the method that the
    /// setting base is
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Run folder to write; without it nothing is written
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    /// Replace a run folder that is there already
    #[arg(long)]
    force: bool,
    /// Configuration to start from, such as the config.toml of a run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    interruption: Interruption,
    #[command(flatten)]
    device: Where,
    #[command(flatten)]
    memory: Memory,
    #[command(flatten)]
    output: Output,
    #[command(flatten, next_help_heading = "Training")]
    training: Training,
    #[command(flatten, next_help_heading = "Data")]
    bags: BagArgs,
}

#[derive(clap::Args)]
struct Training {
    /// The terms that the model may be used under; its file keeps them
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// Passes over the training bags
    #[arg(long)]
    epochs: Option<u32>,
    /// Bags of a batch
    #[arg(long)]
    batch: Option<usize>,
    /// Batches whose gradients add up to one update: as one larger batch, in the memory of one [default: 1]
    #[arg(long, value_name = "BATCHES")]
    accumulate: Option<usize>,
    /// Instances of a bag that an epoch learns from, at most: drawn anew for each epoch, without replacement; validation
    /// and test see all [default: all]
    #[arg(long, value_name = "N")]
    instances: Option<usize>,
    /// Share of the instances of a bag that an epoch leaves out, such as 0.2: drawn anew for each epoch; validation and test
    /// see all [default: 0]
    #[arg(long, value_name = "SHARE")]
    instance_dropout: Option<f32>,
    /// Share of the features of a bag that an epoch leaves out, such as 0.2, the same ones for all its instances: drawn anew for each
    /// epoch; validation and test see all [default: 0]
    #[arg(long, value_name = "SHARE")]
    feature_dropout: Option<f32>,
    /// Mixup of bags: each is mixed with another one, of both a share of the instances and of the class, by Beta(ALPHA, ALPHA), such as 0.4;
    /// for methods whose loss is the cross-entropy of bags [default: 0, not]
    #[arg(long, value_name = "ALPHA")]
    mixup: Option<f32>,
    /// Which bags an epoch learns from: each, or balanced (as many draws with replacement, every class as often as any
    /// other; of numbers quarters, of survival events) [default: each]
    #[arg(long)]
    sampling: Option<Sampling>,
    /// Learning rate
    #[arg(long)]
    lr: Option<f64>,
    /// Strength of the weight decay
    #[arg(long)]
    weight_decay: Option<f32>,
    #[arg(long, help = args::TARGETS)]
    target: Option<TargetChoice>,
    /// Update rule, in place of the recipe's and with its own usual constants; what that drops is told
    #[arg(long, value_enum)]
    optimiser: Option<Rule>,
    /// Decays of the two moments of adam, adamw and radam
    #[arg(long, value_name = "BETA1,BETA2", value_parser = optimiser::betas)]
    betas: Option<[f32; 2]>,
    /// What adam, adamw and radam add to the root of the second moment
    #[arg(long)]
    epsilon: Option<f32>,
    /// Momentum of nesterov
    #[arg(long)]
    momentum: Option<f32>,
    /// Lookahead: none, or the updates between two steps back and the share of the way, such as 6:0.5
    #[arg(long, value_name = "UPDATES:SHARE")]
    lookahead: Option<LookaheadFlag>,
    /// Largest norm of the gradient
    #[arg(long, value_name = "NORM")]
    clip_norm: Option<f32>,
    #[arg(long, value_parser = args::schedule, help = format!("Learning-rate schedule: {SCHEDULES}"))]
    schedule: Option<Schedule>,
    /// Seed of the weights, the order of bags, dropout, and the division unless --split-seed is given
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Stop after so many epochs without a better validation score
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<u32>,
    /// Do not stop early before this epoch
    #[arg(long, value_name = "EPOCHS")]
    min_epochs: Option<u32>,
    /// Validation score that decides which epoch is kept: loss, auc, accuracy, balanced_accuracy, f1, log_loss; of several
    /// labels a bag auc and f1 are means over the labels, and accuracy is of whole sets; of numbers r2, mae, spearman; of
    /// survival c_index
    #[arg(long)]
    monitor: Option<Metric>,
    /// Weights of the classes in the loss: none, balanced, or a number for each class; of several labels a bag, how much
    /// each counts where a bag has it
    #[arg(long, value_name = "WEIGHTS", value_parser = args::class_weights)]
    class_weights: Option<ClassWeights>,
    /// Label smoothing: the share of a bag's target that all classes have in common, such as 0.1; for methods whose loss
    /// is the cross-entropy of bags [default: 0]
    #[arg(long, value_name = "SHARE")]
    label_smoothing: Option<f32>,
    /// Focal loss in place of the cross-entropy of bags, with this focusing parameter, such as 2: what is predicted well
    /// counts less [default: 0]
    #[arg(long, value_name = "GAMMA")]
    focal: Option<f32>,
    /// Trained model, or the run folder it is in, that a teacher starts from, and the first layer of its student
    /// too (MHIM methods)
    #[arg(long, value_name = "MODEL")]
    start: Option<PathBuf>,
    /// Store features in 16 bits; what float16 cannot hold (beyond 65504, after standardising) is refused
    #[arg(long)]
    half: bool,
    /// Where features are meanwhile: auto (on the device if they fit), device, host (each step uploads its own), or
    /// none (left in features.npy, and read when they are wanted). Those of a packed file stay there but for device and host
    #[arg(long)]
    cache: Option<Cache>,
    /// What matrix products compute with: f32, or mixed (f16 factors, f32 sums and parameters, a scaled loss)
    #[arg(long)]
    precision: Option<Precision>,
}

#[derive(clap::Args)]
struct BagArgs {
    /// Share of the training bags to validate with [default: 0, or 0.2 with --patience or --monitor]
    #[arg(long, value_name = "FRACTION")]
    validation: Option<f64>,
    /// Share of all bags to test with, drawn anew [default: the data set's own test bags, else 0.2]
    #[arg(long, value_name = "FRACTION")]
    test: Option<f64>,
    /// The positive class of two: what AUC, F1 and the score of an instance are of, and what mi-net looks for
    /// [default: the second; negative words such as normal or benign come first]
    #[arg(long, value_name = "NAME")]
    positive: Option<String>,
    /// Test with this fold of a cross-validation, repeat and fold from 0
    #[arg(long, value_name = "R:F")]
    fold: Option<FoldOf>,
    /// Draw this many folds, instead of those of the data set
    #[arg(long, value_name = "K")]
    folds: Option<usize>,
    /// Divide bags without regard to their groups (groups.npy, groups.txt, or a column of a text file), which are
    /// otherwise kept together
    #[arg(long)]
    ignore_groups: bool,
    /// Seed of the division into training, validation and test bags [default: the seed]
    #[arg(long, value_name = "SEED", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    split_seed: Option<u64>,
    /// Take the features as they are [default for images; others are z-scored by the training bags]
    #[arg(long, conflicts_with = "standardise")]
    no_standardise: bool,
    /// Z-score the features by the training bags, images too
    #[arg(long)]
    standardise: bool,
    /// Instance label that makes a key instance, repeatable [default: what the data set says]
    #[arg(long, value_name = "LABEL", allow_negative_numbers = true)]
    key: Vec<i32>,
    #[command(flatten)]
    opening: args::Bags,
}

impl Args {
    /// What the flags ask for.
    fn asked(&self) -> Result<Config> {
        let (t, b) = (&self.training, &self.bags);
        let mut method = toml::Table::try_from(args::settings(&self.set)?)?;
        if let Some(name) = &self.method {
            method.insert("name".into(), name.as_str().into());
        }
        Ok(Config {
            data: self.data.clone(),
            labels: b.opening.labels.clone(),
            slides: b.opening.slides.clone(),
            splits: b.opening.splits.clone(),
            which_split: b.opening.which_split.clone(),
            on_bad: b.opening.on_bad,
            columns: b.opening.columns(),
            positive: b.positive.clone(),
            licence: t.licence.clone(),
            target: t.target,
            device: None,
            key: (!b.key.is_empty()).then(|| b.key.clone()),
            standardise: match (b.standardise, b.no_standardise) {
                (false, false) => None,
                (standardise, _) => Some(standardise),
            },
            seed: t.seed,
            split: SplitConfig {
                validation: b.validation,
                test: b.test,
                fold: b.fold.map(|f| f.to_string()),
                folds: b.folds,
                ignore_groups: b.ignore_groups.then_some(true),
                seed: b.split_seed,
            },
            method,
            training: TrainingConfig {
                epochs: t.epochs,
                batch: t.batch,
                accumulate: t.accumulate,
                instances: t.instances,
                instance_dropout: t.instance_dropout,
                feature_dropout: t.feature_dropout,
                mixup: t.mixup,
                sampling: t.sampling,
                learning_rate: t.lr,
                optimiser: t.optimiser.map(Chosen::Rule),
                betas: t.betas,
                epsilon: t.epsilon,
                momentum: t.momentum,
                lookahead: t.lookahead.map(|l| l.0),
                weight_decay: t.weight_decay,
                clip_norm: t.clip_norm,
                patience: t.patience,
                min_epochs: t.min_epochs,
                start: t.start.clone(),
                monitor: t.monitor,
                half: t.half.then_some(true),
                precision: t.precision,
                loss_scale: None,
                class_weights: t.class_weights.clone(),
                label_smoothing: t.label_smoothing,
                focal: t.focal,
                schedule: t.schedule.clone(),
                memory: self.memory.memory,
                cache: t.cache,
                parameter_groups: None,
                optimiser_below: Vec::new(),
            },
        })
    }
}

/// True when the run folder is of the run that a checkpoint with this note is of.
fn is_of(out: &Path, note: &str) -> Result<bool> {
    let whole = |config: Config| Config { standardise: None, ..config }.to_toml();
    Ok(whole(Config::noted(note)?)? == whole(Config::read(&out.join(run_folder::CONFIG))?)?)
}

/// What `--resume` answers of a run that is over: what it gave, unless another is asked for.
fn tell_of_finished(args: &Args, out: &Path) -> Result<()> {
    let done = Config::read(&out.join(run_folder::CONFIG))?;
    let mut asked = args.asked()?;
    if let Some(file) = &args.config {
        asked = asked.over(Config::read(file)?);
    }
    let (asked, done) = (asked.over(done.clone()).to_toml()?, done.to_toml()?);
    let differs = asked.lines().find(|line| !done.lines().any(|other| other == *line));
    if let Some(line) = differs {
        bail!(
            "{}: this run is over, so there is nothing to go on with, and it was not asked the same ({line}); give another --out, \
             or --force to train anew",
            out.display()
        );
    }
    note(args.output.quiet, format!("{}: this run is over; nothing was trained (--force trains anew)", out.display()));
    let mut result = run_folder::result(out)?;
    result.insert("out".into(), json!(out.display().to_string()));
    if args.output.json { answer_json(&result) } else { Ok(()) }
}

/// Trains, evaluates, writes, tells.
///
/// # Errors
/// Of the arguments, the data, the device, or the run folder.
pub fn run(args: &Args) -> Result<()> {
    let quiet = args.output.quiet;
    if let Some(out) = &args.out
        && args.interruption.is_over(out, &out.join(run_folder::MODEL), args.force, |note| is_of(out, note))?
    {
        tell_of_finished(args, out)?;
        return interruption::over(out);
    }
    let resume = args.interruption.found(args.out.as_deref())?;
    let below = match (&args.config, &resume) {
        (Some(file), _) => Config::read(file)?,
        (None, Some(checkpoint)) => Config::noted(checkpoint.note())?,
        (None, None) => Config::default(),
    };
    let config = args.asked()?.over(below);
    let plan = config.plan()?;
    plan.remarks.iter().for_each(|remark| note(quiet, remark));
    let inputs = [args.config.as_deref(), plan.start.as_deref(), Some(Path::new(&plan.data))];
    let inputs: Vec<&Path> = inputs.into_iter().flatten().chain(plan.opening.files()).collect();
    let claim = args.out.as_deref().map(|out| Claim::folder(out, args.force, &inputs)).transpose()?;
    let (device, choice) = open_device(&args.device, config.device.as_deref(), quiet)?;
    let out = (args.out.as_deref(), args.force);
    let asked = Config { standardise: plan.standardise, ..Config::of(&plan, true, &choice)? }.to_toml()?;
    let persistence = args.interruption.persistence(out, resume, &device, &asked, quiet)?;
    let prepared = experiment::prepare(&plan, quiet)?;
    // Before the features are standardised.
    let provenance = claim.is_some().then(|| Provenance::of(&prepared.set, &device)).transpose()?;
    let mut progress = Progress::new(quiet, plan.method.name());
    let done = experiment::train(prepared, &plan, &device, &mut progress, persistence)?;
    let mut result = summary::object(&plan, &done, &device);
    if let (Some(claim), Some(out), Some(provenance)) = (claim, &args.out, &provenance) {
        let standardised = done.outcome.model.standardisation.is_some();
        let config = Config::of(&plan, standardised, &choice)?;
        let page = page::page(&plan, &done, &device, 3);
        run_folder::write(claim, &config, &done, &result, &page, provenance)?;
        interruption::over(out)?;
        result.insert("out".into(), json!(out.display().to_string()));
    }
    if args.output.json {
        return answer_json(&result);
    }
    let o = &done.outcome;
    let kept = match done.judged().map(|(part, _)| part_name(part)) {
        _ if o.kept as usize + 1 == o.epochs.len() => String::new(),
        _ => format!(", epoch {} kept", o.kept),
    };
    let text = format!(
        "{}\n{} epochs{kept}, {} updates in {:.1} s on {}\n",
        summary::people(&done),
        o.epochs.len(),
        o.steps,
        done.seconds,
        device.name()
    );
    answer(&text)?;
    match &args.out {
        Some(out) => note(quiet, format!("written: {}", out.display())),
        None => note(quiet, "nothing was written; --out RUN keeps the model and its report"),
    }
    Ok(())
}
