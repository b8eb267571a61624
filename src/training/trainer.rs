//! The training loop: shuffled batches of bags, a validation set, early stopping, the best weights kept.

use super::cache::Cache;
use super::metrics::{BagScores, LabelSetScores};
use super::mixing::{self, Seen};
use super::predict::{self, evaluate};
use super::sampling;
use super::settings::{Sampling, Settings};
use super::stages::{self, Before, Setting};
use super::weights;
use crate::bag::Bags;
use crate::class_match;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::fit::{self, Judged, Limits, Persistence, Standing, Task, Update, Watch};
use crate::kernels::launch::{Extent, Pseudo};
use crate::model::Model;
use crate::plan::Purpose;
use crate::precision::{Precision, ScaleState};
use crate::random::Random;
use crate::session::{Resident, Session};
use crate::tape::Storage;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
    settings.check_mixed(model.spec())?;
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
    let mut session = Session::softened(device, model, storage, false, settings.soft())?;
    session.set_seed(settings.seed);
    session.set_groups(&settings.groups)?;
    session.set_mixed((settings.precision == Precision::Mixed).then_some(settings.loss_scale))?;
    session.set_budget(settings.memory);
    let updates = Update::of_epoch(training.len(), settings.batch, settings.accumulate);
    let total = updates.len() as u64 * settings.epochs as u64;
    session.set_planned(Some(total));
    // A front that is passed once would see all features.
    let passed = match settings.feature_dropout > 0.0 {
        true => None,
        false => settings.cache.pass_front(&mut session, bags)?,
    };
    let bags = passed.as_ref().unwrap_or(bags);
    let mut fit = Fit { settings, bags, training, validation, class_weights, updates, total, resident: None };
    fit.make_ready(&mut session)?;
    fit.resident = match settings.draws() {
        false => settings.cache.keep(&mut session, bags)?,
        true => settings.cache.keep_none()?,
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
    /// What an epoch sees in the place of a batch of bags with these weights, where it does not see them as they are, and the numbers
    /// of all that it sees; `update` are the bags that the weights divide by.
    fn drawn(&self, batch: &[usize], weights: &[f32], update: usize, epoch: u32) -> Result<Option<(Seen, Vec<usize>)>> {
        let Settings { seed, mixup, feature_dropout, .. } = *self.settings;
        if !self.settings.draws() {
            return Ok(None);
        }
        let seen = |all: usize| self.settings.seen(all);
        let mut drawn = match mixup > 0.0 {
            true => {
                let partners = mixing::partners(batch, self.training, seed, epoch);
                let mut others = weights::of_batch(self.bags, &partners, &self.class_weights)?;
                others.iter_mut().for_each(|weight| *weight *= batch.len() as f32 / update as f32);
                mixing::mix(self.bags, [batch, &partners], [weights, &others], seen, (mixup, seed, epoch))?
            }
            false => {
                let bags = sampling::draw(self.bags, batch, seen, seed, epoch)?;
                Seen { bags, of: batch.to_vec(), weights: weights.to_vec() }
            }
        };
        if feature_dropout > 0.0 {
            sampling::drop_features(&mut drawn.bags, &drawn.of, feature_dropout, seed, epoch);
            if self.settings.half {
                drawn.bags.check_f16()?;
            }
        }
        let all = (0..drawn.of.len()).collect();
        Ok(Some((drawn, all)))
    }

    /// Plans for the largest batches before the first one: a program that was planned anew in between might round
    /// otherwise, and a training that goes on from a checkpoint would not meet it.
    fn make_ready(&self, session: &mut Session) -> Result<()> {
        let extent = largest_batch(self.bags, self.training, self.settings, session.pseudo());
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
                let drawn = self.drawn(of_update, &weights, of_update.len(), epoch)?;
                let as_they_are = (self.bags, of_update, &weights[..]);
                let (bags, of_update, weights) = drawn.as_ref().map_or(as_they_are, told);
                session.train_step(bags, of_update, weights, resident, (optimiser, rate), Some(place))?;
            } else {
                let each = weights.len() / of_update.len();
                for (place, (batch, weights)) in
                    (place..).zip(of_update.chunks(*batch).zip(weights.chunks(batch.saturating_mul(each))))
                {
                    let drawn = self.drawn(batch, weights, of_update.len(), epoch)?;
                    let (bags, batch, weights) = drawn.as_ref().map_or((self.bags, batch, weights), told);
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

/// What a step is given of bags that were drawn for it.
fn told((seen, all): &(Seen, Vec<usize>)) -> (&Bags, &[usize], &[f32]) {
    (&seen.bags, all, &seen.weights)
}

/// The sizes of the largest batch that shuffling could draw.
fn largest_batch(bags: &Bags, indices: &[usize], settings: &Settings, pseudo: Option<Pseudo>) -> Extent {
    let mut sizes: Vec<u32> = indices.iter().map(|&b| settings.seen(bags.rows(b).len()) as u32).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    if settings.mixup > 0.0 {
        // Each bag may stand there twice, with instances of two bags, both rounded up.
        let largest = sizes.first().map_or(0, |size| size + 1);
        return Extent::cut(std::iter::repeat_n(largest, 2 * settings.batch.min(sizes.len())), pseudo);
    }
    Extent::cut(sizes.into_iter().take(settings.batch), pseudo)
}

#[cfg(test)]
#[path = "trainer_tests.rs"]
mod tests;
