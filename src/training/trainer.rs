//! The training loop: shuffled batches of bags, a validation set, early stopping, the best weights kept.

use super::cache::Cache;
use super::metrics::{BagScores, LabelSetScores, Metric};
use super::predict::{self, evaluate};
use super::sampling;
use super::stages::{self, Before, Setting};
use super::weights;
use crate::bag::Bags;
use crate::class_match;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::fit::{self, Judged, Limits, Persistence, Standing, Task, Update, Watch};
use crate::groups::Group;
use crate::kernels::launch::{Extent, Pseudo};
use crate::methods::Method;
use crate::model::Model;
use crate::ops::schedule::Schedule;
use crate::ops::update::Optimiser;
use crate::plan::Purpose;
use crate::precision::{LossScale, Precision, ScaleState};
use crate::random::Random;
use crate::session::{Resident, Session};
use crate::tape::Storage;
use crate::target::Target;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How much a bag of each class counts in the loss. Of bags with several labels each: how much a label counts where a bag
/// has it, beside 1 where it has not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeights {
    /// All the same.
    #[default]
    None,
    /// Bags / (classes x bags of the class): every class counts the same in all. Of several labels a bag: bags without
    /// the label / bags with it.
    Balanced,
    /// A number for each class.
    Given(Vec<f32>),
}

/// Which bags an epoch learns from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// Each training bag once.
    #[default]
    Each,
    /// As many draws as there are training bags, with replacement: a stratum, all alike, and a bag of it. Strata are
    /// classes, of several labels the rarest that a bag has, quarters of numbers, events ([`Bags::strata`]). CLAM's weighted
    /// sampling.
    Balanced,
}

impl Sampling {
    fn is_each(&self) -> bool {
        *self == Self::Each
    }
}

impl std::str::FromStr for Sampling {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "each" => Ok(Self::Each),
            "balanced" => Ok(Self::Balanced),
            _ => Err(Error::setting("sampling", format!("expected each or balanced, found {text:?}"))),
        }
    }
}

fn one() -> usize {
    1
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Passes over the training bags, at most.
    pub epochs: u32,
    /// Bags packed into one batch.
    pub batch: usize,
    /// Batches whose gradients add up to one update: as one batch of all their bags, in the memory of one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub accumulate: usize,
    /// Instances of a bag that an epoch learns from, at most: drawn anew for each epoch, without replacement. Validation and
    /// prediction see all of them. All when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<usize>,
    /// Which bags an epoch learns from.
    #[serde(default, skip_serializing_if = "Sampling::is_each")]
    pub sampling: Sampling,
    /// Learning rate that the schedule starts from.
    pub learning_rate: f64,
    /// How the learning rate moves.
    pub schedule: Schedule,
    /// Update rule, decay and clipping.
    pub optimiser: Optimiser,
    /// Seed of shuffling and dropout.
    pub seed: u64,
    /// Stop after this many epochs without a better validation score; never when `None`.
    pub patience: Option<u32>,
    /// Epochs before which training does not stop early.
    pub min_epochs: u32,
    /// The validation score that decides which epoch's weights are kept; of equal ones the loss decides.
    pub monitor: Metric,
    /// Weights of the classes in the loss.
    pub class_weights: ClassWeights,
    /// Features are stored in f16 on the device.
    pub half: bool,
    /// Bytes of device memory to stay within; larger batches then run in windows of rows. No bound when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Where features are meanwhile.
    #[serde(default, skip_serializing_if = "Cache::is_auto")]
    pub cache: Cache,
    /// What matrix products compute with.
    #[serde(default)]
    pub precision: Precision,
    /// The scale of the loss in mixed precision.
    #[serde(default)]
    pub loss_scale: LossScale,
    /// Parameters that learn otherwise than the optimiser says, or not at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
}

impl Settings {
    /// The recipe of the method's paper; no early stopping.
    pub fn for_method(method: &Method) -> Self {
        let recipe = method.recipe();
        Self {
            epochs: recipe.epochs,
            batch: recipe.bags as usize,
            accumulate: 1,
            instances: None,
            sampling: Sampling::Each,
            learning_rate: recipe.learning_rate,
            schedule: method.schedule(),
            optimiser: recipe.optimiser,
            seed: 1,
            patience: None,
            min_epochs: 0,
            monitor: Metric::Loss,
            class_weights: ClassWeights::None,
            half: false,
            memory: None,
            cache: Cache::Auto,
            precision: Precision::F32,
            loss_scale: LossScale::default(),
            groups: method.groups(),
        }
    }

    fn validate(&self, classes: usize) -> Result<()> {
        let instances = self.instances.unwrap_or(1);
        let counts = [("epochs", self.epochs as usize), ("batch", self.batch), ("accumulate", self.accumulate)];
        for (name, value) in counts.into_iter().chain([("instances", instances)]) {
            if value == 0 {
                return Err(Error::setting(name, "must be at least 1, found 0"));
            }
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(Error::setting("learning_rate", format!("must be above 0, found {}", self.learning_rate)));
        }
        if let ClassWeights::Given(w) = &self.class_weights
            && (w.len() != classes || w.iter().any(|w| !(*w >= 0.0 && w.is_finite())))
        {
            let message = format!("expected {classes} numbers of at least 0, found {w:?}");
            return Err(Error::setting("class_weights", message));
        }
        self.loss_scale.validate()?;
        self.optimiser.validate()?;
        self.schedule.validate()
    }

    /// Refuses batches of one bag where a loss compares bags.
    fn check_batch(&self, target: &Target) -> Result<()> {
        match target {
            Target::Cox(_) if self.batch < 2 => Err(Error::setting(
                "batch",
                "the Cox partial likelihood compares the bags of a batch and is 0 of one alone; use more, such as 32, or \
                 survival in intervals of time",
            )),
            _ => Ok(()),
        }
    }

    /// Checks that the metric that decides is defined on the validation bags.
    fn check_watched(&self, bags: &Bags, validation: &[usize], classes: usize) -> Result<()> {
        if validation.is_empty() {
            return match self.patience {
                Some(_) => Err(Error::setting("patience", "needs validation bags, found none")),
                None => Ok(()),
            };
        }
        if let Some(sets) = &bags.label_sets {
            return self.monitor.check_defined_of_sets(&sets.select(validation));
        }
        if let Some(responses) = &bags.responses {
            return self.monitor.check_defined_of_responses(&responses.select(validation));
        }
        let truth: Vec<u32> = validation.iter().filter_map(|&b| bags.label(b)).collect();
        if let Some(&label) = truth.iter().find(|&&l| l as usize >= classes) {
            return Err(Error::bags(format!("a validation bag has label {label}, the model has {classes} classes")));
        }
        self.monitor.check_defined(&truth, classes)
    }
}

/// Where training stands, after each update.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Update of this epoch, from 1.
    pub step: usize,
    /// Updates of an epoch.
    pub steps: usize,
    /// Bags of this update.
    pub bags: usize,
}

/// What an epoch gave.
#[derive(Clone, Debug, Serialize)]
pub struct Epoch {
    /// Epoch, from 0.
    pub epoch: u32,
    /// Mean loss over the training bags, each at the time of its update.
    pub loss: f64,
    /// Learning rate of the last update.
    pub learning_rate: f64,
    /// Loss of the validation bags: the objective that is trained, class weights and all terms of the method included,
    /// without dropout or masks.
    pub validation_loss: Option<f64>,
    /// The terms of that loss by name, before their weights, of a method with more than one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub validation_terms: BTreeMap<String, f64>,
    /// Metrics of the validation bags.
    pub validation: Option<BagScores>,
    /// True when this epoch's weights are the best so far.
    pub best: bool,
    /// Seconds for the epoch, validation included.
    pub seconds: f64,
    /// Training bags a second.
    pub bags_per_second: f64,
    /// Where the scale of the loss stands, in mixed precision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<ScaleState>,
}

/// Someone who watches training. Every method has an empty default.
pub trait Observer {
    /// Called before each training of a method that trains in stages ([`crate::stages`]): what is trained, and its number
    /// (from 1) and how many there are.
    fn stage(&mut self, _method: &str, _of: [usize; 2]) {}
    /// Called after each update was handed to the device.
    fn step(&mut self, _progress: &Progress) {}
    /// Called after each epoch.
    fn epoch(&mut self, _epoch: &Epoch) {}
    /// Asked after each epoch; true ends training as if it were the last.
    fn stop(&mut self) -> bool {
        false
    }
}

impl Observer for () {}

/// A trained model and how it came about.
pub struct Outcome {
    /// The model; with a validation set, the weights of the best epoch.
    pub model: Model,
    /// All epochs.
    pub epochs: Vec<Epoch>,
    /// Epoch whose weights were kept.
    pub kept: u32,
    /// The last moving average of the parameters, when the optimiser keeps one.
    pub average: Option<Model>,
    /// The copy that follows the parameters as it ended, where the method has one: the teacher of MHIM-MIL.
    pub follower: Option<Model>,
    /// Updates done, those that mixed precision left out included.
    pub steps: u64,
    /// Where the scale of the loss ended, in mixed precision.
    pub loss_scale: Option<ScaleState>,
    /// Seconds for all of it, without what came before.
    pub seconds: f64,
    /// The training that came before, where the method has one.
    pub before: Option<Before>,
}

/// Streams of the run's seed for the order of bags, one an epoch.
const ORDER_STREAM: u64 = 1 << 40;

/// Trains `model` on the bags `training`, choosing the epoch by the bags `validation` when there are any.
///
/// The same seed on the same device gives the same bits.
///
/// # Errors
/// [`Error::Bags`] without labels or training bags, [`Error::Setting`] for settings out of range,
/// [`Error::NotFinite`] when the loss diverges, [`Error::Diverged`] when parameters do, [`Error::GradientOverflow`] when
/// gradients in mixed precision do, and what the device answers.
pub fn train(
    device: &Device,
    model: Model,
    settings: &Settings,
    bags: &Bags,
    training: &[usize],
    validation: &[usize],
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    train_on(device, model, settings, bags, training, validation, observer, Persistence::default())
}

/// As [`train`], which goes on from a checkpoint, writes checkpoints, or both. One that goes on is given what the one that
/// was interrupted was given, and ends with the same bits on the same device.
///
/// # Errors
/// As [`train`]; [`Error::Setting`] for the checkpoint of another training, which names what differs; and of writing
/// checkpoints.
#[allow(clippy::too_many_arguments, reason = "each is a part that callers have apart")]
pub fn train_on(
    device: &Device,
    model: Model,
    settings: &Settings,
    bags: &Bags,
    training: &[usize],
    validation: &[usize],
    observer: &mut dyn Observer,
    persistence: Persistence,
) -> Result<Outcome> {
    stages::run(&Setting { device, settings, bags, training, validation }, model, observer, persistence)
}

/// Trains a model that needs nothing more.
pub(super) fn train_alone(
    of: &Setting,
    model: Model,
    observer: &mut dyn Observer,
    persistence: Persistence,
) -> Result<Outcome> {
    let &Setting { device, settings, bags, training, validation } = of;
    if !bags.has_labels() {
        return Err(Error::bags("training needs a label for every bag"));
    }
    let classes = model.spec().classes.len();
    class_match::check_kind(bags, &model.spec().classes, &model.spec().target)?;
    class_match::check_order(bags, &model.spec().classes)?;
    settings.validate(classes)?;
    settings.check_batch(&model.spec().target)?;
    if training.is_empty() {
        return Err(Error::bags("there are no training bags"));
    }
    bags.validate()?;
    bags.check_indices(training)?;
    bags.check_indices(validation)?;
    if let Some(&bag) = training.iter().chain(validation).find(|&&b| !bags.is_labelled(b)) {
        return Err(Error::bags(format!("bag {bag} ('{}') is to be learnt from and has no label", bags.names[bag])));
    }
    if settings.half {
        bags.check_f16()?;
    }
    let class_weights = weights::of_classes(&settings.class_weights, bags, training, classes)?;
    settings.check_watched(bags, validation, classes)?;
    let identity = match persistence.is_wanted() {
        true => identity(&model, settings, bags, [training, validation]),
        false => Value::Null,
    };
    let storage = if settings.half { Storage::F16 } else { Storage::F32 };
    let mut session = Session::new(device, model, storage)?;
    session.set_seed(settings.seed);
    session.set_groups(&settings.groups)?;
    session.set_mixed((settings.precision == Precision::Mixed).then_some(settings.loss_scale))?;
    session.set_budget(settings.memory);
    let updates = Update::of_epoch(training.len(), settings.batch, settings.accumulate);
    let total = updates.len() as u64 * settings.epochs as u64;
    session.set_planned(Some(total));
    let passed = settings.cache.pass_front(&mut session, bags)?;
    let bags = passed.as_ref().unwrap_or(bags);
    let mut fit = Fit { settings, bags, training, validation, class_weights, updates, total, resident: None };
    fit.make_ready(&mut session)?;
    fit.resident = match settings.instances {
        None => settings.cache.keep(&mut session, bags)?,
        Some(_) => settings.cache.keep_none()?,
    };
    let limits = Limits {
        epochs: settings.epochs,
        patience: settings.patience,
        min_epochs: settings.min_epochs,
        metric: settings.monitor,
        states: settings.optimiser.states(),
    };
    let mut watching = Watching { observer, updates: fit.updates.len() };
    let done = fit::run(&mut session, &mut fit, &limits, &identity, persistence, &mut watching)?;
    let (average, follower) = (session.average()?, session.follower()?);
    let epochs: Vec<Epoch> = done.epochs.iter().map(Epoch::of).collect();
    let mut kept = epochs.len() as u32 - 1;
    if let Some((epoch, snapshot)) = done.best {
        session.restore(&snapshot)?;
        kept = epoch;
    }
    let steps = session.updates();
    let loss_scale = epochs.last().and_then(|e| e.loss_scale);
    let model = session.into_model()?;
    Ok(Outcome { model, average, follower, epochs, kept, steps, loss_scale, seconds: done.seconds, before: None })
}

/// All that decides the result of a training, to tell its checkpoints from those of others.
fn identity(model: &Model, settings: &Settings, bags: &Bags, parts: [&[usize]; 2]) -> Value {
    // Where features are does not change a bit.
    let settings = Settings { cache: Cache::Auto, ..settings.clone() };
    let [training, validation] = parts.map(|part| Fingerprint::of_places(part).to_string());
    json!({
        "bagrad": env!("CARGO_PKG_VERSION"),
        "model": model.spec(),
        "start": model.fingerprint(),
        "settings": settings,
        "data": bags.fingerprint(),
        "training bags": training,
        "validation bags": validation,
    })
}

/// Bags to train on and to validate with.
struct Fit<'a> {
    settings: &'a Settings,
    bags: &'a Bags,
    training: &'a [usize],
    validation: &'a [usize],
    class_weights: Vec<f32>,
    updates: Vec<Update>,
    /// Updates of all epochs.
    total: u64,
    resident: Option<Resident>,
}

impl Fit<'_> {
    /// What an epoch sees of the bags of a batch, and their numbers among them, where it does not see all instances.
    fn drawn(&self, batch: &[usize], epoch: u32) -> Result<Option<(Bags, Vec<usize>)>> {
        let Some(most) = self.settings.instances else { return Ok(None) };
        let drawn = sampling::draw(self.bags, batch, most, self.settings.seed, epoch)?;
        Ok(Some((drawn, (0..batch.len()).collect())))
    }

    /// Plans for the largest batches before the first one: a program that was planned anew in between might round
    /// otherwise, and a training that goes on from a checkpoint would not meet it.
    fn make_ready(&self, session: &mut Session) -> Result<()> {
        let Settings { batch, instances, .. } = self.settings;
        let extent = largest_batch(self.bags, self.training, (*batch, *instances), session.pseudo());
        let optimiser = self.settings.optimiser;
        match self.settings.accumulate {
            1 => drop(session.make_ready(Purpose::Train(optimiser), extent)?),
            _ => {
                for first in [true, false] {
                    session.make_ready(Purpose::Accumulate { first }, extent)?;
                }
                session.prepare(Purpose::Update(optimiser))?;
            }
        }
        predict::make_ready(session, self.bags, self.validation)
    }
}

impl Task for Fit<'_> {
    type Details = Validated;

    fn updates(&self) -> &[Update] {
        &self.updates
    }

    fn rate(&self, update: u64, epoch: u32) -> f64 {
        let Settings { schedule, learning_rate, epochs, .. } = self.settings;
        schedule.rate(*learning_rate, update, u64::from(epoch), self.total, u64::from(*epochs))
    }

    fn epoch(
        &mut self,
        session: &mut Session,
        epoch: u32,
        first: usize,
        after: &mut dyn FnMut(&mut Session, usize) -> Result<()>,
    ) -> Result<()> {
        let Settings { seed, batch, accumulate, optimiser, .. } = self.settings;
        self.bags.features.check_unchanged()?;
        let mut random = Random::new(*seed, ORDER_STREAM + u64::from(epoch));
        let order: Vec<usize> = match self.settings.sampling {
            Sampling::Each => random.permutation(self.training.len()).into_iter().map(|i| self.training[i]).collect(),
            Sampling::Balanced => sampling::balanced(self.bags, self.training, &mut random),
        };
        let resident = self.resident.as_ref();
        session.set_epoch(Some(epoch));
        for (n, of_update) in order.chunks(batch.saturating_mul(*accumulate)).enumerate().skip(first) {
            let weights = weights::of_batch(self.bags, of_update, &self.class_weights)?;
            let rate = self.rate(session.updates(), epoch);
            let place = self.updates[n].places.start as u32;
            if *accumulate == 1 {
                let drawn = self.drawn(of_update, epoch)?;
                let (bags, of_update) = drawn.as_ref().map_or((self.bags, of_update), |(b, all)| (b, &all[..]));
                session.train_step(bags, of_update, &weights, resident, (optimiser, rate), Some(place))?;
            } else {
                let each = weights.len() / of_update.len();
                for (place, (batch, weights)) in
                    (place..).zip(of_update.chunks(*batch).zip(weights.chunks(batch.saturating_mul(each))))
                {
                    let drawn = self.drawn(batch, epoch)?;
                    let (bags, batch) = drawn.as_ref().map_or((self.bags, batch), |(b, all)| (b, &all[..]));
                    session.accumulate(bags, batch, weights, resident, Some(place))?;
                }
                session.apply(optimiser, rate)?;
            }
            after(session, n)?;
        }
        Ok(())
    }

    fn judge(&mut self, session: &mut Session) -> Result<Option<(Standing, Validated)>> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let Self { bags, validation, class_weights, resident, settings, .. } = self;
        let (predictions, loss) = evaluate(session, bags, validation, class_weights, resident.as_ref())?;
        let scores = predictions.scores_among(predictions.said_of_all(), bags, validation)?;
        let standing = Standing { score: scores.get(settings.monitor), loss: loss.total };
        Ok(Some((standing, Validated { scores, terms: loss.terms })))
    }

    fn pack(&self, Validated { scores, terms }: &Validated) -> Value {
        match scores {
            BagScores::Classes(scores) => json!({ "classes": scores, "terms": terms }),
            BagScores::LabelSets(scores) => json!({ "labels": scores, "terms": terms }),
            BagScores::Numbers(scores) => json!({ "numbers": scores, "terms": terms }),
            BagScores::Survival(scores) => json!({ "survival": scores, "terms": terms }),
        }
    }

    fn unpack(&self, packed: &Value) -> std::result::Result<Validated, String> {
        fn read<T: serde::de::DeserializeOwned>(scores: &Value) -> std::result::Result<T, String> {
            serde_json::from_value(scores.clone()).map_err(|e| e.to_string())
        }
        let kinds = ["classes", "labels", "numbers", "survival"];
        let scores = match kinds.map(|kind| packed.get(kind)) {
            [Some(scores), ..] => BagScores::Classes(read(scores)?),
            [_, Some(scores), ..] => BagScores::LabelSets(LabelSetScores::named(scores, &self.bags.class_names)?),
            [.., Some(scores), _] => BagScores::Numbers(read(scores)?),
            [.., Some(scores)] => BagScores::Survival(read(scores)?),
            _ => return Err("no scores of validation bags".into()),
        };
        let terms = packed.get("terms").cloned().unwrap_or_default();
        Ok(Validated { scores, terms: serde_json::from_value(terms).map_err(|e| e.to_string())? })
    }
}

/// What validation bags give beside their loss.
#[derive(Clone, Debug)]
struct Validated {
    scores: BagScores,
    terms: BTreeMap<String, f64>,
}

/// Passes on to the observer what the loop tells.
struct Watching<'a> {
    observer: &'a mut dyn Observer,
    updates: usize,
}

impl Watch<Validated> for Watching<'_> {
    fn update(&mut self, epoch: u32, update: usize, bags: usize) {
        self.observer.step(&Progress { epoch, step: update + 1, steps: self.updates, bags });
    }

    fn epoch(&mut self, judged: &Judged<Validated>) {
        self.observer.epoch(&Epoch::of(judged));
    }

    fn stop(&mut self) -> bool {
        self.observer.stop()
    }
}

impl Epoch {
    fn of(judged: &Judged<Validated>) -> Self {
        let Judged { epoch, loss, learning_rate, best, seconds, items_per_second, loss_scale, .. } = *judged;
        let validation_loss = judged.validation.as_ref().map(|(loss, _)| *loss);
        let (validation, validation_terms) = match &judged.validation {
            Some((_, Validated { scores, terms })) => (Some(scores.clone()), terms.clone()),
            None => (None, BTreeMap::new()),
        };
        Self {
            epoch,
            loss,
            learning_rate,
            validation_loss,
            validation_terms,
            validation,
            best,
            seconds,
            bags_per_second: items_per_second,
            loss_scale,
        }
    }
}

/// The sizes of the largest batch that shuffling could draw.
fn largest_batch(
    bags: &Bags,
    indices: &[usize],
    (batch, instances): (usize, Option<usize>),
    pseudo: Option<Pseudo>,
) -> Extent {
    let most = instances.unwrap_or(usize::MAX);
    let mut sizes: Vec<u32> = indices.iter().map(|&b| bags.rows(b).len().min(most) as u32).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    Extent::cut(sizes.into_iter().take(batch), pseudo)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::Features;
    use crate::model::Spec;

    /// Bags of three instances; those of class 1 have one that stands out.
    fn bags(count: usize) -> Bags {
        let mut random = Random::new(4, 0);
        let mut features: Vec<f32> = (0..count * 3 * 4).map(|_| random.normal() as f32).collect();
        (1..count).step_by(2).for_each(|bag| features[bag * 12] += 6.0);
        let labels = (0..count).map(|bag| (bag % 2) as u32).collect();
        Bags::packed(Features::F32(features), 4, &vec![3; count]).unwrap().with_labels(labels).unwrap()
    }

    fn trained(change: impl FnOnce(&mut Settings), validation: &[usize]) -> Result<Outcome> {
        let set = serde_json::json!({ "embed": [8], "attention": 4, "dropout": 0.0 });
        let method = Method::named("gated-attention")?.with(set.as_object().unwrap())?;
        let mut settings = Settings { epochs: 12, learning_rate: 3e-3, ..Settings::for_method(&method) };
        change(&mut settings);
        let model = Model::new(Spec::new(method, 4, 2), 1)?;
        let training: Vec<usize> = (0..40).collect();
        train(&Device::host(), model, &settings, &bags(60), &training, validation, &mut ())
    }

    /// What only decay moves ends at 0 and not among the subnormal numbers, with which CPUs compute slowly.
    #[test]
    fn weights_that_nothing_feeds_are_never_subnormal() {
        // The last feature is 0 throughout, so the loss says nothing of its weights.
        let mut bags = bags(4);
        let Features::F32(values) = &mut bags.features else { unreachable!("made in f32") };
        values.iter_mut().skip(3).step_by(4).for_each(|value| *value = 0.0);
        let set = serde_json::json!({ "embed": [3], "attention": 2, "dropout": 0.0 });
        let method = Method::named("attention").unwrap().with(set.as_object().unwrap()).unwrap();
        for optimiser in [Optimiser::adamw(1.0), Optimiser::radam(1.0), Optimiser::nesterov(0.9, 1.0)] {
            // Each update takes a tenth or a fifth of such a weight.
            let settings = Settings { epochs: 300, learning_rate: 0.1, optimiser, ..Settings::for_method(&method) };
            let model = Model::new(Spec::new(method.clone(), 4, 2), 1).unwrap();
            let outcome = train(&Device::host(), model, &settings, &bags, &[0, 1, 2, 3], &[], &mut ()).unwrap();
            let weights = outcome.model.parameter("embed.0.weight").unwrap();
            assert_eq!(weights.iter().skip(3).step_by(4).copied().collect::<Vec<_>>(), [0.0; 3], "{optimiser:?}");
        }
    }

    /// As many instances as bags have are all of them.
    #[test]
    fn drawing_all_instances_changes_nothing() {
        let bytes = |instances: Option<usize>| trained(|s| s.instances = instances, &[]).unwrap().model.to_bytes();
        let all = bytes(None);
        assert!(bytes(Some(3)) == all && bytes(Some(2)) != all);
        let refused = trained(|s| (s.instances, s.cache) = (Some(2), Cache::Device), &[]).err().unwrap().to_string();
        assert!(refused.contains("cannot stay on the device"), "{refused}");
        assert!(trained(|s| s.instances = Some(0), &[]).err().unwrap().to_string().contains("instances"));
    }

    #[test]
    fn a_saturated_score_does_not_keep_an_early_epoch() {
        let outcome = trained(|s| s.monitor = Metric::Auc, &[50, 51, 52, 53]).unwrap();
        let scores: Vec<_> = outcome
            .epochs
            .iter()
            .map(|e| (e.validation.as_ref().unwrap().get(Metric::Auc), e.validation_loss))
            .collect();
        let best = scores.iter().filter_map(|(auc, _)| *auc).fold(0.0, f64::max);
        let mut at_best = scores.iter().enumerate().filter(|(_, (auc, _))| *auc == Some(best));
        let (first, _) = at_best.clone().next().unwrap();
        let lowest = at_best.clone().map(|(_, (_, loss))| loss.unwrap()).fold(f64::INFINITY, f64::min);
        let (kept, _) = at_best.find(|(_, (_, loss))| *loss == Some(lowest)).unwrap();
        assert_eq!(outcome.kept as usize, kept, "{scores:?}");
        assert!(kept > first, "{scores:?}");
    }

    #[test]
    fn validation_bags_have_to_define_what_decides() {
        let message = trained(|s| s.monitor = Metric::Auc, &[51, 53]).err().unwrap().to_string();
        assert!(message.contains("auc is not defined") && message.contains("2 of class 1"), "{message}");
        let message = trained(|s| s.patience = Some(3), &[]).err().unwrap().to_string();
        assert!(message.contains("patience") && message.contains("validation bags"), "{message}");
    }
}
