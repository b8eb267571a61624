//! The training loop: shuffled batches of bags, a validation set, early stopping, the best weights kept.

use super::cache::Cache;
use super::metrics::{BagScores, Metric};
use super::predict::evaluate;
use super::weights;
use crate::bag::Bags;
use crate::class_match;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::groups::Group;
use crate::kernels::launch::Extent;
use crate::methods::Method;
use crate::model::Model;
use crate::ops::schedule::Schedule;
use crate::ops::update::Optimiser;
use crate::plan::Purpose;
use crate::precision::{LossScale, Precision, ScaleState};
use crate::random::Random;
use crate::session::Session;
use crate::tape::Storage;
use serde::{Deserialize, Serialize};
use std::time::Instant;

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

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Passes over the training bags, at most.
    pub epochs: u32,
    /// Bags packed into one update.
    pub batch: usize,
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
    /// The recipe of the method's paper; bag by bag, no early stopping.
    pub fn for_method(method: &Method) -> Self {
        let recipe = method.recipe();
        Self {
            epochs: recipe.epochs,
            batch: 1,
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
            groups: Vec::new(),
        }
    }

    fn validate(&self, classes: usize) -> Result<()> {
        for (name, value) in [("epochs", self.epochs as usize), ("batch", self.batch)] {
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
        let truth: Vec<u32> = validation.iter().filter_map(|&b| bags.label(b)).collect();
        if let Some(&label) = truth.iter().find(|&&l| l as usize >= classes) {
            return Err(Error::bags(format!("a validation bag has label {label}, the model has {classes} classes")));
        }
        self.monitor.check_defined(&truth, classes)
    }
}

/// How good an epoch is: by its validation score, and where that is the same by its loss. A score of a few bags soon
/// stands at its best; the loss then still tells which epoch is sure of it.
#[derive(Clone, Copy, Debug)]
struct Standing {
    score: Option<f64>,
    loss: f64,
}

impl Standing {
    fn beats(&self, other: &Self, metric: Metric) -> bool {
        let loss = Metric::Loss.better(self.loss, other.loss);
        let mine = metric.better(self.score, other.score);
        mine || loss && !metric.better(other.score, self.score)
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
    /// The teacher as it ended, where the method has one.
    pub teacher: Option<Model>,
    /// Updates done, those that mixed precision left out included.
    pub steps: u64,
    /// Where the scale of the loss ended, in mixed precision.
    pub loss_scale: Option<ScaleState>,
    /// Seconds for all of it.
    pub seconds: f64,
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
    let started = Instant::now();
    if !bags.has_labels() {
        return Err(Error::bags("training needs a label for every bag"));
    }
    let classes = model.spec().classes.len();
    class_match::check_kind(bags, &model.spec().classes, model.spec().multi_label)?;
    class_match::check_order(bags, &model.spec().classes)?;
    settings.validate(classes)?;
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
    let storage = if settings.half { Storage::F16 } else { Storage::F32 };
    let mut session = Session::new(device, model, storage)?;
    session.set_seed(settings.seed);
    session.set_groups(&settings.groups)?;
    session.set_mixed((settings.precision == Precision::Mixed).then_some(settings.loss_scale))?;
    session.set_budget(settings.memory);
    let steps = training.len().div_ceil(settings.batch);
    let total = steps as u64 * settings.epochs as u64;
    session.set_planned(Some(total));
    session.make_ready(Purpose::Train(settings.optimiser), largest_batch(bags, training, settings.batch))?;
    let resident = settings.cache.keep(&mut session, bags)?;
    session.executor().reserve_history(steps)?;

    let mut epochs: Vec<Epoch> = Vec::new();
    let mut best: Option<(u32, Standing, Vec<f32>)> = None;
    for epoch in 0..settings.epochs {
        let clock = Instant::now();
        bags.features.check_unchanged()?;
        let order = Random::new(settings.seed, ORDER_STREAM + epoch as u64).permutation(training.len());
        let order: Vec<usize> = order.into_iter().map(|i| training[i]).collect();
        let mut rate = settings.learning_rate;
        for (step, batch) in order.chunks(settings.batch).enumerate() {
            let weights = weights::of_batch(bags, batch, &class_weights)?;
            let update = session.updates();
            rate = settings.schedule.rate(settings.learning_rate, update, epoch as u64, total, settings.epochs as u64);
            let rule = (&settings.optimiser, rate);
            session.train_step(bags, batch, &weights, resident.as_ref(), rule, Some(step as u32))?;
            observer.step(&Progress { epoch, step: step + 1, steps, bags: batch.len() });
        }
        let loss = epoch_loss(&mut session, epoch, order.chunks(settings.batch).map(<[usize]>::len))?;
        let loss_scale = session.loss_scale()?;
        if let Some(state) = loss_scale.filter(ScaleState::stuck) {
            return Err(Error::GradientOverflow { step: session.updates() - 1, skipped: state.skipped });
        }
        let trained = clock.elapsed().as_secs_f64();
        let mut report = Epoch {
            epoch,
            loss,
            learning_rate: rate,
            validation_loss: None,
            validation: None,
            best: false,
            seconds: 0.0,
            bags_per_second: training.len() as f64 / trained,
            loss_scale,
        };
        if !validation.is_empty() {
            let (predictions, loss) = evaluate(&mut session, bags, validation, &class_weights, resident.as_ref())?;
            let scores = predictions.scores_among(&predictions.probabilities, bags, validation)?;
            report.validation_loss = Some(loss);
            let standing = Standing { score: scores.get(settings.monitor), loss };
            report.validation = Some(scores);
            report.best = best.as_ref().is_none_or(|(_, best, _)| standing.beats(best, settings.monitor));
            if report.best {
                best = Some((epoch, standing, session.snapshot()?));
            }
        }
        report.seconds = clock.elapsed().as_secs_f64();
        observer.epoch(&report);
        epochs.push(report);
        let since = best.as_ref().map_or(0, |(at, ..)| epoch - at);
        let patience = settings.patience.is_some_and(|p| since >= p && epoch + 1 >= settings.min_epochs);
        if patience || observer.stop() {
            break;
        }
    }
    let (average, teacher) = (session.average()?, session.teacher()?);
    let mut kept = epochs.len() as u32 - 1;
    if let Some((epoch, _, snapshot)) = best {
        session.restore(&snapshot)?;
        kept = epoch;
    }
    let steps = session.updates();
    let loss_scale = epochs.last().and_then(|e| e.loss_scale);
    let model = session.into_model()?;
    Ok(Outcome { model, average, teacher, epochs, kept, steps, loss_scale, seconds: started.elapsed().as_secs_f64() })
}

/// The mean loss of an epoch's batches of these sizes, from the history.
///
/// # Errors
/// [`Error::NotFinite`] with the first step whose loss is not, and what the device answers.
pub(crate) fn epoch_loss(session: &mut Session, epoch: u32, sizes: impl Iterator<Item = usize>) -> Result<f64> {
    let sizes: Vec<usize> = sizes.collect();
    let losses = session.executor().history(sizes.len())?;
    if let Some(step) = losses.iter().position(|l| !l.is_finite()) {
        return Err(Error::NotFinite { step: epoch as u64 * sizes.len() as u64 + step as u64, loss: losses[step] });
    }
    let total: usize = sizes.iter().sum();
    Ok(losses.iter().zip(sizes).map(|(l, n)| *l as f64 * n as f64).sum::<f64>() / total as f64)
}

/// The sizes of the largest batch that shuffling could draw.
fn largest_batch(bags: &Bags, indices: &[usize], batch: usize) -> Extent {
    let mut sizes: Vec<u32> = indices.iter().map(|&b| bags.rows(b).len() as u32).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    Extent::of(sizes.into_iter().take(batch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::Features;
    use crate::model::Spec;

    #[test]
    fn equal_scores_are_decided_by_the_loss() {
        let standing = |score: Option<f64>, loss: f64| Standing { score, loss };
        let auc = |a: Standing, b: Standing| a.beats(&b, Metric::Auc);
        assert!(auc(standing(Some(0.9), 0.5), standing(Some(0.8), 0.1)));
        assert!(!auc(standing(Some(0.8), 0.1), standing(Some(0.9), 0.5)));
        assert!(auc(standing(Some(1.0), 0.1), standing(Some(1.0), 0.5)));
        assert!(!auc(standing(Some(1.0), 0.5), standing(Some(1.0), 0.5)));
        // Of the loss there is no score: it decides alone.
        assert!(standing(None, 0.1).beats(&standing(None, 0.2), Metric::Loss));
        assert!(!standing(None, 0.2).beats(&standing(None, 0.1), Metric::Loss));
        assert!(!standing(None, f64::NAN).beats(&standing(None, 0.1), Metric::Loss));
    }

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
