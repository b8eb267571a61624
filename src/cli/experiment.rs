//! One run: data, division, standardisation, training, evaluation. `demo` and `train` both go through here.

use super::args::FoldOf;
use super::progress::Progress;
use super::{note, run_folder, summary};
use anyhow::{Context, Result, anyhow, bail};
use bagrad::data::{Dataset, Folds, Key, Opening, Partition, Source, Split, classes, split};
use bagrad::device::Device;
use bagrad::fit::Persistence;
use bagrad::methods::Method;
use bagrad::training::metrics::{self, BagScores, Froc, InstanceAuc};
use bagrad::training::{Cache, Predictions, Settings};
use bagrad::{Bags, Error, Features, Fitted, Model, Scaling, TargetChoice, Trainer, bounded, class_match};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// As [`Source::parse`] reads it.
    pub data: String,
    /// What is said of the data beside where they are.
    pub opening: Opening,
    /// The positive class of two; `None` for the second.
    pub positive: Option<String>,
    /// What is learnt.
    pub target: TargetChoice,
    /// Instance labels that are key; `None` for what the data set says.
    pub key: Option<Vec<i32>>,
    /// `None`: z-score whatever is not an image.
    pub standardise: Option<bool>,
    /// Which bags train, validate and test.
    pub division: Division,
    /// Method and settings.
    pub method: Method,
    /// How it is trained.
    pub settings: Settings,
    /// Model that the teacher of a method starts from.
    pub start: Option<PathBuf>,
    /// The terms that the model may be used under.
    pub licence: Option<String>,
    /// What a user should know of the settings.
    pub remarks: Vec<String>,
}

/// Which bags train, validate and test.
#[derive(Clone, Debug, Default)]
pub struct Division {
    /// Share of all bags that tests, drawn anew; `None` for the data set's own test bags, or a fifth.
    pub test: Option<f64>,
    /// This fold tests.
    pub fold: Option<FoldOf>,
    /// Folds to draw instead of the data set's own.
    pub folds: Option<usize>,
    /// Share of the training bags to validate with, in the absence of validation bags of the data set.
    pub validation: Option<f64>,
    /// The share goes before the data set's own validation bags.
    pub validation_asked: bool,
    /// Bags of a group may be in several parts.
    pub ignore_groups: bool,
    /// Seed of what is drawn here.
    pub seed: u64,
}

/// Test bags where neither the data set nor the user says.
const TEST_SHARE: f64 = 0.2;

impl Division {
    fn of(&self, set: &mut Dataset) -> Result<Vec<Split>> {
        if self.ignore_groups {
            set.bags.groups = None;
        }
        let labels = set.bags.strata().context("expected labels to train with, found none")?;
        let groups = set.bags.groups.clone();
        let random = |share: f64| Partition::Random { shares: [1.0 - share, 0.0, share], seed: self.seed };
        let how = match (self.fold, self.test) {
            (Some(FoldOf { repeat, fold }), _) => {
                if let Some(count) = self.folds {
                    set.folds = Some(Folds::stratified(&labels, groups.as_deref(), count, repeat + 1, self.seed)?);
                }
                if set.folds.is_none() {
                    bail!("--fold: the data set has no folds of its own; draw some with --folds K");
                }
                Partition::Fold { repeat, fold }
            }
            (None, Some(share)) => random(share),
            (None, None) if set.split.is_some() => Partition::Own,
            (None, None) => random(TEST_SHARE),
        };
        let mut parts = set.partition(&how)?;
        if self.validation_asked {
            // The data set's own validation bags train then.
            parts.iter_mut().filter(|p| **p == Split::Validation).for_each(|p| *p = Split::Train);
        }
        if let Some(share) = self.validation.filter(|_| !parts.contains(&Split::Validation)) {
            split::hold_out(&mut parts, &labels, groups.as_deref(), share, self.seed)?;
        }
        Ok(parts)
    }
}

/// How good the predictions of one part are.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// Numbers of its bags.
    pub bags: Vec<usize>,
    /// Of the bags.
    pub scores: BagScores,
    /// Of the instances, where it is known which are key.
    pub instances: Option<InstanceAuc>,
    /// How well lesions are found, where instances have places too.
    pub froc: Option<Froc>,
}

/// A run that is over.
pub struct Finished {
    /// The bags as the model saw them, divided.
    pub set: Dataset,
    /// The model and how it came about.
    pub outcome: Fitted,
    /// Predictions of all bags, by the model that was kept.
    pub predictions: Predictions,
    /// Training, validation and test; `None` for a part without bags.
    pub parts: [Option<Evaluation>; 3],
    /// Seconds for all of it, reading the data included.
    pub seconds: f64,
}

impl Finished {
    /// The part that results are judged by: test, else validation, else training.
    pub fn judged(&self) -> Option<(Split, &Evaluation)> {
        let order = [Split::Test, Split::Validation, Split::Train];
        order.into_iter().find_map(|part| Some((part, self.part(part)?)))
    }

    /// The evaluation of one part.
    pub fn part(&self, part: Split) -> Option<&Evaluation> {
        let at = Split::ALL.iter().position(|&p| p == part)?;
        self.parts[at].as_ref()
    }
}

/// What a part is called in files and tables.
pub fn part_name(part: Split) -> &'static str {
    part.name()
}

/// Opens the bags as `opening` says and tells what the reader assumed; `key` replaces what
/// the data set says of its instance labels. Without a cache features stay in their file.
///
/// # Errors
/// With the name of the file that is wrong.
pub fn open(data: &str, opening: &Opening, key: Option<&[i32]>, cache: Cache, quiet: bool) -> Result<Dataset> {
    let source = Source::parse(data)?;
    let mapped = cache == Cache::None && opening.is_default();
    let opened = if mapped { source.open_mapped() } else { source.open_with(opening) };
    let mut set = opened.with_context(|| format!("data {data}"))?;
    set.remarks.iter().for_each(|remark| note(quiet, format!("data {data}: {remark}")));
    if let (Cache::Host, Features::Mapped(mapped)) = (cache, &set.bags.features) {
        let bytes = mapped.len() as u64 * if mapped.is_half() { 2 } else { 4 };
        bounded::check_memory(mapped.path(), bytes)?;
        set.bags.features = set.bags.features.slice(0..set.bags.features.len());
    }
    if let Some(labels) = key {
        if set.bags.instance_labels.is_none() {
            bail!("--key: {data}: expected labels of the instances, found none");
        }
        set.key = Key::Labels(labels.to_vec());
    }
    Ok(set)
}

/// Runs `plan` from the data to the evaluation.
///
/// # Errors
/// Of the data (with its name), the settings, or the device.
pub fn run(plan: &Plan, device: &Device, progress: &mut Progress, persistence: Persistence) -> Result<Finished> {
    train(prepare(plan, progress.quiet())?, plan, device, progress, persistence)
}

/// Bags that are read and divided.
pub struct Prepared<'a> {
    /// The bags as they were read, divided.
    pub set: Dataset,
    start: Option<Start<'a>>,
    clock: Instant,
}

/// Reads the bags of `plan` and divides them.
///
/// # Errors
/// Of the data, with its name.
pub fn prepare(plan: &Plan, quiet: bool) -> Result<Prepared<'_>> {
    let clock = Instant::now();
    let mut set = open(&plan.data, &plan.opening, plan.key.as_deref(), plan.settings.cache, quiet)?;
    let start = plan.start.as_deref().map(Start::read).transpose()?;
    let in_order = order_classes(&mut set, plan.positive.as_deref(), start.as_ref());
    let told = in_order.with_context(|| format!("data {}", plan.data))?;
    told.iter().for_each(|remark| note(quiet, remark));
    let of_data = || format!("data {}", plan.data);
    set.split = Some(plan.division.of(&mut set).with_context(of_data)?);
    set.check_for_training().with_context(of_data)?;
    if let Some(groups) = groups_told(&set) {
        note(quiet, groups);
    }
    if set.indices(Split::Validation).is_empty() && plan.settings.patience.is_some() {
        bail!("--patience needs validation bags, found none; hold some out with --validation 0.2");
    }
    Ok(Prepared { set, start, clock })
}

/// Trains on these bags and evaluates.
///
/// # Errors
/// Of the data (with its name), the settings, or the device.
pub fn train(
    prepared: Prepared<'_>,
    plan: &Plan,
    device: &Device,
    progress: &mut Progress,
    persistence: Persistence,
) -> Result<Finished> {
    let Prepared { mut set, start, clock } = prepared;
    let of_data = || format!("data {}", plan.data);
    let [training, validation] = [Split::Train, Split::Validation].map(|part| set.indices(part));
    progress.begin(&plan.settings, training.len());
    let mut trainer = Trainer::new(plan.method.clone())
        .settings(plan.settings.clone())
        .division(training, validation)
        .scaling(match plan.standardise {
            None => Scaling::Auto,
            Some(true) => Scaling::Standardise,
            Some(false) => Scaling::None,
        })
        .target(plan.target)
        .device(device)
        .observer(progress)
        .persistence(persistence);
    if let Some(Start { model, .. }) = &start {
        trainer = trainer.start(model);
    }
    let outcome = trainer.fit_in_place(&mut set.bags);
    progress.end();
    let outcome = outcome.map_err(|error| match (&error, &start) {
        (Error::Setting { name, message }, Some(Start { path, .. })) if name == "start" => {
            anyhow!("--start {}: {message}", path.display())
        }
        (Error::Bags { .. }, _) => anyhow::Error::from(error).context(of_data()),
        _ => error.into(),
    })?;
    // The bags are standardised by now.
    let mut model = outcome.model.clone();
    model.standardisation = None;
    let predictor = model.on(device)?.memory(plan.settings.memory);
    let predictions = if plan.settings.half { predictor.half()? } else { predictor }.predict(&set.bags)?;
    let targets = set.instance_targets();
    let mut parts = [None, None, None];
    for (part, slot) in Split::ALL.into_iter().zip(&mut parts) {
        let bags = set.indices(part);
        if !bags.is_empty() {
            *slot = Some(evaluate(&predictions, &set.bags, bags, targets.as_deref())?);
        }
    }
    let mut done = Finished { set, outcome, predictions, parts, seconds: clock.elapsed().as_secs_f64() };
    done.outcome.model.record = summary::record(plan, &done);
    Ok(done)
}

/// How the groups of bags were divided, where there are any.
pub fn groups_told(set: &Dataset) -> Option<String> {
    let (groups, split) = (set.bags.groups.as_ref()?, set.split.as_ref()?);
    let of = |part: Split| {
        let of_part: Vec<String> = split::indices(split, part).into_iter().map(|b| groups[b].clone()).collect();
        split::count_groups(&of_part)
    };
    let parts = Split::ALL.map(|part| format!("{} {}", of(part), part.name()));
    let all = split::count_groups(groups);
    Some(format!("{} bags of {all} groups, each kept together: {}", groups.len(), parts.join(", ")))
}

/// A model that a teacher starts from, and where it was.
struct Start<'a> {
    path: &'a Path,
    model: Model,
}

impl<'a> Start<'a> {
    fn read(path: &'a Path) -> Result<Self> {
        Ok(Self { path, model: Model::load(run_folder::model_of(path)?)? })
    }
}

/// Brings the classes of the data into the order that was asked for: the positive one last, or those of the model that
/// training starts from. Answers what was assumed.
fn order_classes(set: &mut Dataset, positive: Option<&str>, start: Option<&Start>) -> Result<Vec<String>> {
    if let Some(name) = positive {
        class_match::set_positive(&mut set.bags, name).context("--positive")?;
    }
    let Some(Start { path, model }) = start else {
        let open = positive.is_none() && set.bags.label_sets.is_none();
        let guessed = classes::guessed_positive(&set.bags.class_names).filter(|_| open);
        return Ok(guessed.map(|told| format!("{told}; --positive NAME says which it is")).into_iter().collect());
    };
    let asked = set.bags.class_names.last().cloned();
    let spec = model.spec();
    let remarks = class_match::check_kind(&set.bags, &spec.classes, &spec.target)
        .and_then(|()| class_match::adopt(&mut set.bags, &spec.classes, &[]))
        .with_context(|| format!("--start {}", path.display()))?;
    if let (Some(_), Some(asked), Some(theirs)) = (positive, asked, set.bags.class_names.last())
        && asked.to_lowercase() != theirs.to_lowercase()
    {
        bail!("--positive {asked}: the model of --start {} has '{theirs}' as its positive class", path.display());
    }
    Ok(remarks)
}

/// Scores the predictions of `bags`, some of those that were predicted, which are all of `predicted`; `targets` are those of
/// all instances.
///
/// # Errors
/// When a label has no class in the model.
pub fn evaluate(all: &Predictions, predicted: &Bags, bags: Vec<usize>, targets: Option<&[u8]>) -> Result<Evaluation> {
    let scores = all.scores_among(&all.said(&bags), predicted, &bags)?;
    let rows = || bags.iter().map(|&b| all.offsets[b]..all.offsets[b + 1]);
    let instances = targets.map(|targets| {
        let picked: Vec<f32> = rows().flat_map(|r| &all.scores[r]).copied().collect();
        let key: Vec<bool> = rows().flat_map(|r| &targets[r]).map(|&t| t != 0).collect();
        let mut offsets = vec![0];
        rows().for_each(|r| offsets.push(offsets[offsets.len() - 1] + r.len()));
        metrics::instance_auc(&picked, &key, &offsets)
    });
    let froc = targets.and_then(|targets| all.froc(bags.iter().map(|&b| (b, b)), predicted, targets));
    Ok(Evaluation { bags, scores, instances, froc })
}
