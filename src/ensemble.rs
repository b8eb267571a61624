//! Several models of one task as one: which fit together, and their file.

mod agree;
mod file;

use crate::error::{Error, Result};
use crate::model::{MOST_BYTES, Model};
use crate::target::Target;
use std::collections::{BTreeMap, HashMap};

/// A model of an ensemble, and where it is from.
#[derive(Clone, Debug)]
pub struct Member {
    /// The model.
    pub model: Model,
    /// Where it is from, as people call it: a file, or a fold. At most [`Ensemble::LONGEST`] bytes.
    pub name: String,
    /// What was measured of it when it was trained, by name. At most [`Ensemble::MOST_METRICS`].
    pub metrics: BTreeMap<String, f64>,
}

impl Member {
    /// A model of which nothing was measured.
    pub fn new(name: impl Into<String>, model: Model) -> Self {
        Self { model, name: name.into(), metrics: BTreeMap::new() }
    }
}

/// Models that learnt the same of the same kind of bags, the fits of the folds of a study for one, which answer together:
/// each by its own standardisation and method, and all by their mean ([`Ensemble::on`]).
///
/// It may have a single member, which then answers alone; a file of several is written by [`Ensemble::save`].
#[derive(Clone, Debug)]
pub struct Ensemble {
    members: Vec<Member>,
}

impl Ensemble {
    /// Members, at most.
    pub const MOST: usize = 1024;
    /// Bytes of a member's name, at most.
    pub const LONGEST: usize = 1000;
    /// Metrics of a member, at most.
    pub const MOST_METRICS: usize = 1000;

    /// These models together, in this order.
    ///
    /// They have to agree in what they learn (the kind of target, and the classes in their order), in the number and names
    /// of the features, and, where they were told, in the encoder of the features, the unit of places, the side of a patch
    /// and the magnification. Methods, settings and standardisations may differ, as may the center of numbers and the
    /// intervals of survival, which are made of training bags.
    ///
    /// # Errors
    /// [`Error::Setting`] that names two members and what each has, for a model that says nothing of bags (an encoder of
    /// patches), for the same model twice, and for none or more than [`Ensemble::MOST`]; [`Error::Limit`] for more than a
    /// file holds.
    ///
    /// ```
    /// use bagrad::methods::Attention;
    /// use bagrad::{Bags, Device, Ensemble, Features, Member, Trainer};
    ///
    /// # fn main() -> bagrad::Result<()> {
    /// let bags = Bags::packed(Features::F32(vec![1.0, 2.0, 3.0, 9.0, 8.0, 7.0]), 1, &[2, 1, 2, 1])?.with_labels(vec![0, 0, 1, 1])?;
    /// let device = Device::host();
    /// let fit = |seed| {
    ///     let method = Attention { embed: vec![4], ..Default::default() };
    ///     Trainer::new(method).epochs(5).seed(seed).device(&device).fit(&bags)
    /// };
    /// let members = [1, 2, 3].into_iter().map(|seed| Ok(Member::new(format!("seed {seed}"), fit(seed)?.model)));
    /// let ensemble = Ensemble::new(members.collect::<bagrad::Result<_>>()?)?;
    ///
    /// let file = std::env::temp_dir().join(format!("bagrad-ensemble-{}.safetensors", std::process::id()));
    /// ensemble.save(&file)?;
    /// let found = Ensemble::load(&file)?.on(&device).predict(&bags)?;
    /// # std::fs::remove_file(&file).ok();
    /// assert_eq!((found.mean.len(), found.members.len()), (4, 3));
    /// // The probability of the second class of bag 0: the mean, and how far the members are apart.
    /// let (p, spread) = (found.mean.bag(0)[1], found.spread.unwrap().probabilities[1]);
    /// assert!((0.0..=1.0).contains(&p) && spread >= 0.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(members: Vec<Member>) -> Result<Self> {
        let refused = |message: String| Err(Error::setting("ensemble", message));
        if members.is_empty() || members.len() > Self::MOST {
            return refused(format!("expected 1 to {} models, found {}", Self::MOST, members.len()));
        }
        let mut seen: HashMap<(String, String), &str> = HashMap::new();
        for member in &members {
            let Member { model, name, metrics } = member;
            if name.len() > Self::LONGEST || metrics.len() > Self::MOST_METRICS {
                let message = format!(
                    "a member has a name of {} bytes and {} metrics; up to {} and {} are kept",
                    name.len(),
                    metrics.len(),
                    Self::LONGEST,
                    Self::MOST_METRICS
                );
                return refused(message);
            }
            model.check_finite()?;
            model.check_fields()?;
            if model.record(crate::tape::Storage::F32, false)?.logits().is_none() {
                let what = "is an encoder of patches, which says nothing of bags";
                return match members.len() {
                    1 => Err(Error::setting("model", what)),
                    _ => refused(format!("{name} {what}")),
                };
            }
            let statistics = format!("{:?}", model.standardisation);
            if let Some(first) = seen.insert((model.fingerprint(), statistics), name) {
                return refused(format!("{first} and {name} are the same model, which would count twice"));
            }
        }
        agree::check(&members)?;
        let values: u64 = members.iter().map(|member| member.model.values.len() as u64).sum();
        if values > MOST_BYTES / 4 {
            let what = format!("an ensemble of {} models", members.len());
            let wanted = values.saturating_mul(4);
            return Err(Error::Limit { limit: "size of a model", what, wanted, possible: MOST_BYTES });
        }
        Ok(Self { members })
    }

    /// The members, one at least.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The members by themselves.
    pub fn into_members(self) -> Vec<Member> {
        self.members
    }

    /// Names of the classes, in the order of the probabilities.
    pub fn classes(&self) -> &[String] {
        &self.members[0].model.spec().classes
    }

    /// What is learnt of bags, as the first member has it: of numbers and survival others may have another center, or other
    /// intervals.
    pub fn target(&self) -> &Target {
        &self.members[0].model.spec().target
    }

    /// Features of an instance.
    pub fn width(&self) -> usize {
        self.members[0].model.spec().width
    }

    /// True when all members are of one method, whatever its settings: only then their scores of instances mean the same.
    pub fn is_of_one_method(&self) -> bool {
        let name = |member: &Member| member.model.spec().method.name();
        self.members.iter().all(|member| name(member) == name(&self.members[0]))
    }
}
