//! A training from bags as their files have them to a model that knows what it needs.

use crate::bag::Bags;
use crate::device::{Device, DeviceChoice};
use crate::error::{Error, Result};
use crate::fit::Persistence;
use crate::methods::Method;
use crate::model::{Model, Spec};
use crate::ops::schedule::Schedule;
use crate::ops::update::Optimiser;
use crate::precision::ScaleState;
use crate::split::{self, Split};
use crate::standardise::{Distances, Standardiser};
use crate::target::{Target, TargetChoice};
use crate::training::metrics::Metric;
use crate::training::{Before, ClassWeights, Epoch, Observer, Outcome, Sampling, Settings, train_on};
use std::borrow::Cow;

/// What happens to features before a model sees them. The model does the same to the bags it predicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scaling {
    /// Pictures stay as they are, everything else is standardised.
    #[default]
    Auto,
    /// Mean 0 and standard deviation 1 of each feature over the instances of the training bags.
    Standardise,
    /// Nothing.
    None,
}

/// How a method is trained: the recipe of its paper, and what is changed of it here.
///
/// ```
/// use bagrad::methods::GatedAttention;
/// use bagrad::{Bags, Device, Features, Trainer};
///
/// # fn main() -> bagrad::Result<()> {
/// // Ten bags of three instances with two features; those of class 1 have one that stands out.
/// let values = (0..60).map(|i| if i % 12 == 6 { 9.0 } else { (i * 7 % 5) as f32 }).collect();
/// let bags = Bags::packed(Features::F32(values), 2, &[3; 10])?.with_labels(vec![0, 1, 0, 1, 0, 1, 0, 1, 0, 1])?;
/// let fitted = Trainer::new(GatedAttention { embed: vec![8], attention: 4, ..Default::default() })
///     .validation(0.2)
///     .patience(20)
///     .seed(1)
///     .device(&Device::host())
///     .fit(&bags)?;
/// assert_eq!((fitted.training.len(), fitted.validation.len()), (8, 2));
/// fitted.model.to_bytes(); // or fitted.model.save("model.safetensors")?
/// # Ok(())
/// # }
/// ```
pub struct Trainer<'a> {
    method: Method,
    settings: Settings,
    validation: Option<f64>,
    division: Option<[Vec<usize>; 2]>,
    division_seed: Option<u64>,
    keep_groups: bool,
    scaling: Scaling,
    target: TargetChoice,
    device: Option<Device>,
    start: Option<&'a Model>,
    observer: Option<&'a mut dyn Observer>,
    persistence: Persistence,
    monitored: bool,
}

/// Share of the training bags that validates where validation is needed and nobody says how many.
const VALIDATION: f64 = 0.2;

impl<'a> Trainer<'a> {
    /// The recipe of the method's paper: bag by bag, all labelled bags, no early stopping, the device that `auto` means.
    pub fn new(method: impl Into<Method>) -> Self {
        let method = method.into();
        Self {
            settings: Settings::for_method(&method),
            method,
            validation: None,
            division: None,
            division_seed: None,
            keep_groups: true,
            scaling: Scaling::Auto,
            target: TargetChoice::Auto,
            device: None,
            start: None,
            observer: None,
            persistence: Persistence::default(),
            monitored: false,
        }
    }

    /// Share of the labelled bags that chooses the epoch, class by class; bags of a group ([`Bags::groups`]: the slides of
    /// a patient, say) stay together. Without it a fifth, where patience or a metric asks for validation bags, else none.
    pub fn validation(mut self, share: f64) -> Self {
        self.validation = Some(share);
        self
    }

    /// Numbers of the bags that train and of those that choose the epoch (none for the last epoch), in place of a share.
    pub fn division(mut self, training: impl Into<Vec<usize>>, validation: impl Into<Vec<usize>>) -> Self {
        self.division = Some([training.into(), validation.into()]);
        self
    }

    /// Seed of the division [default: the seed].
    pub fn division_seed(mut self, seed: u64) -> Self {
        self.division_seed = Some(seed);
        self
    }

    /// Divides bags without regard to their groups.
    pub fn ignore_groups(mut self) -> Self {
        self.keep_groups = false;
        self
    }

    /// What happens to features before the model sees them.
    pub fn scaling(mut self, scaling: Scaling) -> Self {
        self.scaling = scaling;
        self
    }

    /// What is learnt of bags, where it is not what they have plainly: classes in an order, a loss of numbers, a way to
    /// learn survival. Edges of intervals and the scale of numbers come from the training bags.
    pub fn target(mut self, target: TargetChoice) -> Self {
        self.target = target;
        self
    }

    /// Where it trains.
    pub fn device(mut self, device: &Device) -> Self {
        self.device = Some(device.clone());
        self
    }

    /// Passes over the training bags, at most.
    pub fn epochs(mut self, epochs: u32) -> Self {
        self.settings.epochs = epochs;
        self
    }

    /// Bags of an update.
    pub fn batch(mut self, bags: usize) -> Self {
        self.settings.batch = bags;
        self
    }

    /// Which bags an epoch learns from.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.settings.sampling = sampling;
        self
    }

    /// Instances of a bag that an epoch learns from, at most, drawn anew for each epoch.
    pub fn instances(mut self, most: usize) -> Self {
        self.settings.instances = Some(most);
        self
    }

    /// Share of the instances of a bag that an epoch leaves out, drawn anew for each epoch.
    pub fn instance_dropout(mut self, share: f32) -> Self {
        self.settings.instance_dropout = share;
        self
    }

    /// Share of the features of a bag that an epoch leaves out, drawn anew for each epoch.
    pub fn feature_dropout(mut self, share: f32) -> Self {
        self.settings.feature_dropout = share;
        self
    }

    /// Mixup of bags, by shares drawn from Beta(alpha, alpha).
    pub fn mixup(mut self, alpha: f32) -> Self {
        self.settings.mixup = alpha;
        self
    }

    /// The share of a bag's target that all classes have in common (label smoothing).
    pub fn label_smoothing(mut self, share: f32) -> Self {
        self.settings.label_smoothing = share;
        self
    }

    /// The focal loss in place of the cross-entropy, with this focusing parameter.
    pub fn focal(mut self, focusing: f32) -> Self {
        self.settings.focal = focusing;
        self
    }

    /// Learning rate that the schedule starts from.
    pub fn learning_rate(mut self, rate: f64) -> Self {
        self.settings.learning_rate = rate;
        self
    }

    /// How the learning rate moves.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.settings.schedule = schedule;
        self
    }

    /// Update rule, decay and clipping.
    pub fn optimiser(mut self, optimiser: Optimiser) -> Self {
        self.settings.optimiser = optimiser;
        self
    }

    /// Seed of the parameters, the order of bags, dropout, and the division.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Stops after so many epochs without a better validation score.
    pub fn patience(mut self, epochs: u32) -> Self {
        self.settings.patience = Some(epochs);
        self
    }

    /// The validation score that decides which epoch is kept; of equal ones the loss decides.
    pub fn monitor(mut self, metric: Metric) -> Self {
        (self.settings.monitor, self.monitored) = (metric, true);
        self
    }

    /// Weights of the classes in the loss.
    pub fn class_weights(mut self, weights: ClassWeights) -> Self {
        self.settings.class_weights = weights;
        self
    }

    /// All settings at once, in place of the recipe and of what was changed of it so far.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Changes what has no function of its own here.
    ///
    /// ```
    /// # use bagrad::{Trainer, methods::Attention};
    /// Trainer::new(Attention::default()).change(|settings| (settings.half, settings.min_epochs) = (true, 10));
    /// ```
    pub fn change(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// A trained model that the teacher of the method starts from ([`Model::start_from`]).
    pub fn start(mut self, trained: &'a Model) -> Self {
        self.start = Some(trained);
        self
    }

    /// Who watches, and may end training early.
    pub fn observer(mut self, observer: &'a mut dyn Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Writes checkpoints, goes on from one, or both. What goes on is given what the interrupted training was given.
    pub fn persistence(mut self, persistence: Persistence) -> Self {
        self.persistence = persistence;
        self
    }

    /// Trains. The bags stay as they are; where features are standardised that takes a copy of those in memory.
    ///
    /// # Errors
    /// [`Error::Bags`] for bags that cannot be learnt from, [`Error::Setting`] for settings out of range or a model to
    /// start from that does not fit, and as [`crate::training::train`].
    pub fn fit(self, bags: &Bags) -> Result<Fitted> {
        let prepared = self.prepare(bags)?;
        let mut bags = Cow::Borrowed(bags);
        if prepared.standardises {
            prepared.statistics.apply(bags.to_mut())?;
        }
        self.finish(prepared, &bags)
    }

    /// As [`Trainer::fit`] without the copy: afterwards `bags` are standardised, if the model is.
    ///
    /// # Errors
    /// As [`Trainer::fit`].
    pub fn fit_in_place(self, bags: &mut Bags) -> Result<Fitted> {
        let prepared = self.prepare(bags)?;
        if prepared.standardises {
            prepared.statistics.apply(bags)?;
        }
        self.finish(prepared, bags)
    }

    fn prepare(&self, bags: &Bags) -> Result<Prepared> {
        bags.validate()?;
        let strata = bags.strata().ok_or_else(|| Error::bags("expected labels to train with, found none"))?;
        let [training, validation] = match &self.division {
            Some(division) => division.clone(),
            None => self.divide(bags, &strata)?,
        };
        bags.check_indices(&validation)?;
        split::check_training(bags, &training)?;
        let mut part: Vec<Option<Split>> = vec![None; bags.len()];
        for (of, bag) in [(Split::Train, &training), (Split::Validation, &validation)]
            .into_iter()
            .flat_map(|(of, bags)| bags.iter().map(move |&bag| (of, bag)))
        {
            if let Some(before) = part[bag].replace(of) {
                let (name, parts) = (&bags.names[bag], [before.name(), of.name()].join(" and for "));
                return Err(Error::bags(format!("bag '{name}' is for {parts}; expected it once")));
            }
        }
        if let (Some(groups), true) = (&bags.groups, self.keep_groups) {
            let parts: Vec<Split> = part.into_iter().map(|part| part.unwrap_or(Split::Unlabelled)).collect();
            split::check_groups(&parts, groups, &bags.names)?;
        }
        let standardises = match self.scaling {
            Scaling::Auto => bags.image.is_none(),
            Scaling::Standardise => true,
            Scaling::None => false,
        };
        let statistics = Standardiser::fit(bags, &training)?;
        let distances = Distances::fit(bags, &training, &statistics)?;
        Ok(Prepared { statistics, distances, training, validation, standardises })
    }

    /// Training and validation bags, by the share of the latter.
    fn divide(&self, bags: &Bags, strata: &[u32]) -> Result<[Vec<usize>; 2]> {
        let labelled = |bag| if bags.is_labelled(bag) { Split::Train } else { Split::Unlabelled };
        let mut parts: Vec<Split> = (0..bags.len()).map(labelled).collect();
        let chooses = self.settings.patience.is_some() || self.monitored;
        if let Some(share) = self.validation.or(chooses.then_some(VALIDATION)) {
            let groups = bags.groups.as_deref().filter(|_| self.keep_groups);
            let seed = self.division_seed.unwrap_or(self.settings.seed);
            split::hold_out(&mut parts, strata, groups, share, seed)?;
        }
        Ok([Split::Train, Split::Validation].map(|part| split::indices(&parts, part)))
    }

    /// Trains on bags that are standardised where they are to be.
    fn finish(self, prepared: Prepared, bags: &Bags) -> Result<Fitted> {
        let Prepared { training, validation, statistics, distances, standardises } = prepared;
        let target = Target::of(self.target, bags, &training)?;
        let mut model = Model::new(Spec::learning(target, self.method, bags), self.settings.seed)?;
        model.columns.clone_from(&bags.columns);
        model.origin.clone_from(&bags.origin);
        let (standardisation, seen) = if standardises { (Some(statistics), None) } else { (None, Some(statistics)) };
        if let Some(start) = self.start {
            check_start(start, standardisation.as_ref(), bags)?;
            model.start_from(start)?;
        }
        let device = match self.device {
            Some(device) => device,
            None => Device::open(&DeviceChoice::default())?.device,
        };
        let mut nobody = ();
        let observer = self.observer.unwrap_or(&mut nobody);
        let (settings, persistence) = (&self.settings, self.persistence);
        let mut outcome = train_on(&device, model, settings, bags, &training, &validation, observer, persistence)?;
        let models = [Some(&mut outcome.model), outcome.average.as_mut(), outcome.follower.as_mut()];
        for model in models.into_iter().flatten() {
            model.standardisation.clone_from(&standardisation);
            model.seen.clone_from(&seen);
            model.distances.clone_from(&distances);
        }
        let Outcome { model, epochs, kept, average, follower, steps, loss_scale, seconds, before } = outcome;
        Ok(Fitted { model, training, validation, epochs, kept, average, follower, steps, loss_scale, seconds, before })
    }
}

/// Refuses a model to start from whose features were others.
fn check_start(start: &Model, standardisation: Option<&Standardiser>, bags: &Bags) -> Result<()> {
    if start.standardisation.as_ref() != standardisation {
        let message = "its features were z-scored by other bags than these; expected a model of the same data and \
                       training bags";
        return Err(Error::setting("start", message));
    }
    match (&start.columns, &bags.columns) {
        (Some(of_model), Some(here)) if of_model != here => {
            Err(Error::setting("start", "its features have other names or another order than these"))
        }
        _ => Ok(()),
    }
}

/// What is known before training.
struct Prepared {
    training: Vec<usize>,
    validation: Vec<usize>,
    statistics: Standardiser,
    /// What the means of the training bags are like.
    distances: Option<Distances>,
    standardises: bool,
}

/// A model that was trained, and how it came about.
#[derive(Debug)]
pub struct Fitted {
    /// The model, with its standardisation; of the best epoch where there are validation bags, else of the last.
    pub model: Model,
    /// Bags it learnt from.
    pub training: Vec<usize>,
    /// Bags that chose the epoch.
    pub validation: Vec<usize>,
    /// All epochs.
    pub epochs: Vec<Epoch>,
    /// Epoch whose parameters were kept.
    pub kept: u32,
    /// The last moving average of the parameters, when the optimiser keeps one.
    pub average: Option<Model>,
    /// The network that follows the trained one (a teacher), as it ended, where the method has one.
    pub follower: Option<Model>,
    /// Updates done.
    pub steps: u64,
    /// Where the scale of the loss ended, in mixed precision.
    pub loss_scale: Option<ScaleState>,
    /// Seconds for all of it, without what came before.
    pub seconds: f64,
    /// The training that came before, where the method has one.
    pub before: Option<Before>,
}
