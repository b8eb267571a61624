//! By which settings a model is trained.

use super::cache::Cache;
use super::metrics::Metric;
use crate::bag::Bags;
use crate::error::{Error, Result};
use crate::groups::Group;
use crate::methods::Method;
use crate::model::Spec;
use crate::ops::loss::Soft;
use crate::ops::schedule::Schedule;
use crate::ops::update::Optimiser;
use crate::precision::{LossScale, Precision};
use crate::tape::Storage;
use crate::target::Target;
use serde::{Deserialize, Serialize};

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

fn is_none(share: &f32) -> bool {
    *share == 0.0
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
    /// Share of the instances of a bag that an epoch leaves out, drawn anew for each epoch; one stays. Validation and
    /// prediction see all of them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub instance_dropout: f32,
    /// Share of the features of a bag that an epoch leaves out, the same ones for all its instances, drawn anew for each epoch; the
    /// others grow by as much as dropout makes them. Validation and prediction see all of them.
    #[serde(default, skip_serializing_if = "is_none")]
    pub feature_dropout: f32,
    /// Mixup of bags: each bag of an epoch is mixed with another one, by a share drawn from Beta(mixup, mixup); not where it is 0.
    #[serde(default, skip_serializing_if = "is_none")]
    pub mixup: f32,
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
    /// Label smoothing of the cross-entropy of bags ([`Soft::smoothing`]).
    #[serde(default, skip_serializing_if = "is_none")]
    pub label_smoothing: f32,
    /// The focusing parameter of the focal loss in place of the cross-entropy of bags ([`Soft::focusing`]).
    #[serde(default, skip_serializing_if = "is_none")]
    pub focal: f32,
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
            instance_dropout: 0.0,
            feature_dropout: 0.0,
            mixup: 0.0,
            sampling: Sampling::Each,
            learning_rate: recipe.learning_rate,
            schedule: method.schedule(),
            optimiser: recipe.optimiser,
            seed: 1,
            patience: None,
            min_epochs: 0,
            monitor: Metric::Loss,
            class_weights: ClassWeights::None,
            label_smoothing: 0.0,
            focal: 0.0,
            half: false,
            memory: None,
            cache: Cache::Auto,
            precision: Precision::F32,
            loss_scale: LossScale::default(),
            groups: method.groups(),
        }
    }

    /// How the targets of classes are softened.
    pub fn soft(&self) -> Soft {
        Soft { smoothing: self.label_smoothing, focusing: self.focal }
    }

    /// True where an epoch may see other bags than there are: not all instances or features, or mixed ones.
    pub(super) fn draws(&self) -> bool {
        self.instances.is_some() || self.instance_dropout > 0.0 || self.feature_dropout > 0.0 || self.mixup > 0.0
    }

    /// Instances that an epoch sees of a bag of so many: 1 where there are any.
    pub(super) fn seen(&self, instances: usize) -> usize {
        let left_out = (f64::from(self.instance_dropout) * instances as f64) as usize;
        (instances - left_out.min(instances.saturating_sub(1))).min(self.instances.unwrap_or(usize::MAX))
    }

    /// Refuses settings that are out of range, and a model that does not learn with them.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(&self, spec: &Spec) -> Result<()> {
        self.validate(spec.classes.len())?;
        self.check_batch(&spec.target)?;
        self.check_mixed(spec)?;
        spec.record_soft(Storage::F32, false, self.soft()).map(drop)
    }

    /// Refuses targets between two classes where there is no loss of them: of methods that refuse softened ones.
    pub(super) fn check_mixed(&self, spec: &Spec) -> Result<()> {
        let between = Soft { smoothing: 0.5, focusing: 0.0 };
        match spec.record_soft(Storage::F32, false, between) {
            Err(Error::Setting { message, .. }) if self.mixup > 0.0 => Err(Error::setting("mixup", message)),
            Err(error) if self.mixup > 0.0 => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn validate(&self, classes: usize) -> Result<()> {
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
        if !(0.0..1.0).contains(&self.instance_dropout) {
            let message = format!("expected a share of at least 0 and below 1, found {}", self.instance_dropout);
            return Err(Error::setting("instance_dropout", message));
        }
        if !(0.0..1.0).contains(&self.feature_dropout) {
            let message = format!("expected a share of at least 0 and below 1, found {}", self.feature_dropout);
            return Err(Error::setting("feature_dropout", message));
        }
        // Shares of smaller ones are 0 and 1 to rounding, and larger ones are drawn too seldom.
        if !(self.mixup == 0.0 || (0.01..=2.0).contains(&self.mixup)) {
            let message = format!("expected 0, or 0.01 to 2, found {}", self.mixup);
            return Err(Error::setting("mixup", message));
        }
        self.soft().validate()?;
        self.loss_scale.validate()?;
        self.optimiser.validate()?;
        self.schedule.validate()
    }

    /// Refuses batches of one bag where a loss compares bags.
    pub(super) fn check_batch(&self, target: &Target) -> Result<()> {
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
    pub(super) fn check_watched(&self, bags: &Bags, validation: &[usize], classes: usize) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_a_share_and_at_most_so_many() {
        let whole = Settings::for_method(&Method::named("attention").unwrap());
        assert!(!whole.draws() && [0, 1, 7].map(|n| whole.seen(n)) == [0, 1, 7]);
        let dropped = Settings { instance_dropout: 0.25, ..whole.clone() };
        assert!(dropped.draws() && [0, 1, 3, 4, 9, 100].map(|n| dropped.seen(n)) == [0, 1, 3, 3, 7, 75]);
        let most = Settings { instance_dropout: 0.999, ..whole.clone() };
        assert_eq!([1, 2, 100].map(|n| most.seen(n)), [1, 1, 1]);
        let both = Settings { instances: Some(10), ..dropped };
        assert_eq!([4, 9, 100].map(|n| both.seen(n)), [3, 7, 10]);
        for wrong in [1.0, -0.1, f32::NAN] {
            let told = Settings { instance_dropout: wrong, ..whole.clone() }.validate(2).unwrap_err().to_string();
            assert!(told.contains("instance_dropout"), "{told}");
            let told = Settings { feature_dropout: wrong, ..whole.clone() }.validate(2).unwrap_err().to_string();
            assert!(told.contains("feature_dropout"), "{told}");
        }
        for wrong in [-0.1, 0.001, 2.5, f32::NAN] {
            let told = Settings { mixup: wrong, ..whole.clone() }.validate(2).unwrap_err().to_string();
            assert!(told.contains("mixup"), "{told}");
        }
    }
}
