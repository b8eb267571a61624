//! Cross-validation of methods on one data set: every bag is tested by models that have seen no bag of its group.
//!
//! A study is methods times divisions times folds times seeds. In each fold the training bags are divided once more: validation
//! bags choose the epoch, and the bags of the fold are looked at once, at the end. All methods have the same folds and the same
//! validation bags, so that they can be compared pair by pair. Runs are kept and go on side by side as those of
//! [`crate::reproduce`].

pub mod card;
mod choice;
mod chosen;
pub mod contenders;
pub mod ensembles;
mod fit;
mod halves;
mod kind;
mod page;
mod pools;
pub mod results;
mod tables;

pub use contenders::{Candidate, Contender, Sees};
pub use halves::Halves;
pub use kind::{Kind, predictions_of};

use crate::bag::{Bags, Features};
use crate::bounded;
use crate::data::{Dataset, Folds, Split, split};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::front::Scaling;
use crate::model::Spec;
use crate::reproduce::Grid;
use crate::target::{Target, TargetChoice};
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

/// What the folds of a study are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Divided {
    /// Each division tests every bag once.
    InFolds,
    /// Each division tests some of the bags, and a bag may be tested in none ([`Folds::monte_carlo`]).
    MonteCarlo,
    /// No site is in two folds.
    BySite,
}

/// What is compared on what.
#[derive(Clone, Debug)]
pub struct Study {
    /// Bags, some of them with labels.
    pub set: Dataset,
    /// What is learnt of them.
    pub target: TargetChoice,
    /// Which fold tests each bag, for each division.
    pub folds: Folds,
    /// What they keep apart.
    pub divided: Divided,
    /// The methods.
    pub contenders: Vec<Contender>,
    /// Share of the training bags of a fold that chooses the epoch; 0 takes the last one.
    pub validation: f64,
    /// What happens to features.
    pub scaling: Scaling,
}

/// Pairs of bags that are named in an error, at most.
const NAMED: usize = 10;

impl Study {
    /// Refuses what would make results look better than they are, or cannot be run: bags without labels, groups in several
    /// folds, the same features under several names in different folds, classes (events, times of events) that are missing
    /// where a fold trains, methods that do not learn what these bags have.
    ///
    /// # Errors
    /// [`Error::Bags`] that names the bags, [`Error::Setting`] for settings.
    pub fn audit(&self) -> Result<()> {
        let bags = &self.set.bags;
        bags.validate()?;
        if !bags.has_labels() {
            return Err(Error::bags("expected labels, found none"));
        }
        let mut names: Vec<&str> = self.contenders.iter().map(|c| c.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::setting(
                "method",
                format!("'{}' is there twice; give one of them another name", twice[0]),
            ));
        }
        if let Some(searched) = self.contenders.iter().find(|c| c.candidates.len() > 1 && self.validation <= 0.0) {
            let message = "needs validation bags to choose settings by; expected a share above 0, found 0";
            return Err(Error::setting("validation", format!("'{}' {message}", searched.name)));
        }
        if let Some(empty) = self.contenders.iter().find(|c| c.candidates.is_empty() && c.sees != Sees::Labels) {
            return Err(Error::setting("method", format!("'{}' has no settings to be trained with", empty.name)));
        }
        let same = same_features(bags)?;
        let mut first = None;
        for (repeat, folds) in self.folds.of().iter().enumerate() {
            for fold in 0..self.folds.count(repeat) {
                let parts = self.parts(repeat, fold)?;
                let training = split::indices(&parts, Split::Train);
                let fits =
                    split::check_training(bags, &training).and_then(|()| Target::of(self.target, bags, &training));
                let target = fits.map_err(|error| {
                    Error::bags(format!(
                        "division {repeat}, fold {fold}: {error}; fewer folds leave more to train with"
                    ))
                })?;
                first.get_or_insert(target);
                if let Some(groups) = &bags.groups {
                    split::check_groups(&parts, groups, &bags.names)?;
                }
            }
            self.check_sites(repeat)?;
            let apart: Vec<String> = same
                .iter()
                .filter(|&&[a, b]| folds[a] != folds[b])
                .map(|&[a, b]| format!("'{}' and '{}'", bags.names[a], bags.names[b]))
                .collect();
            if !apart.is_empty() {
                let more = if apart.len() > NAMED {
                    format!(" and {} pairs more", apart.len() - NAMED)
                } else {
                    String::new()
                };
                let message = format!(
                    "the same features on both sides of a fold: {}{more}; give them one group, or leave one of each out",
                    apart[..apart.len().min(NAMED)].join(", ")
                );
                return Err(Error::bags(message));
            }
        }
        first.map_or(Ok(()), |target| self.check_contenders(&target))
    }

    /// Refuses settings that are out of range, and methods that do not learn the target with theirs, before any fit.
    fn check_contenders(&self, target: &Target) -> Result<()> {
        for contender in &self.contenders {
            for candidate in &contender.candidates {
                let spec = Spec::learning(target.clone(), candidate.method.clone(), &self.set.bags);
                candidate.training.check(&spec).map_err(|error| {
                    let of = if contender.candidates.len() > 1 { &candidate.settings } else { "" };
                    let of = if of.is_empty() { String::new() } else { format!(" ({of})") };
                    Error::setting("method", format!("'{}'{of}: {error}", contender.name))
                })?;
            }
        }
        Ok(())
    }

    /// Refuses sites in several folds where folds are to keep them apart.
    fn check_sites(&self, repeat: usize) -> Result<()> {
        if self.divided != Divided::BySite {
            return Ok(());
        }
        let sites = self.set.sites.as_ref().ok_or_else(|| Error::bags("folds by site need to know the sites"))?;
        let bags = &self.set.bags;
        let mut first: HashMap<&str, usize> = HashMap::new();
        for bag in (0..bags.len()).filter(|&bag| bags.is_labelled(bag)) {
            let folds = &self.folds.of()[repeat];
            let other = *first.entry(&sites[bag]).or_insert(bag);
            if folds[other] != folds[bag] {
                let [a, b] = [other, bag].map(|bag| &bags.names[bag]);
                return Err(Error::bags(format!("site '{}' is in two folds, with bags '{a}' and '{b}'", sites[bag])));
            }
        }
        Ok(())
    }

    /// Training, validation and test bags of a fold, the same for all methods and seeds.
    fn parts(&self, repeat: usize, fold: usize) -> Result<Vec<Split>> {
        let bags = &self.set.bags;
        let mut parts = self.folds.split(repeat, fold)?;
        self.set.leave_out_unlabelled(&mut parts);
        if self.validation > 0.0 {
            let labels = bags.strata().ok_or_else(|| Error::bags("expected labels, found none"))?;
            let seed = (repeat as u64) << 32 | fold as u64;
            split::hold_out(&mut parts, &labels, bags.groups.as_deref(), self.validation, seed)?;
        }
        Ok(parts)
    }

    /// Fits that memory has room for at a time, where the system tells: each has a copy of the features it sees.
    pub fn most_at_once(&self) -> usize {
        let bags = &self.set.bags;
        let each: u64 = if matches!(bags.features, Features::F16(_)) { 2 } else { 4 };
        let copy = each * bags.instances() as u64 * bags.width as u64;
        let room = bounded::available().map_or(u64::MAX, |bytes| bytes / 4 * 3);
        usize::try_from(room / copy.max(1)).unwrap_or(usize::MAX).max(1)
    }

    /// All runs: a row for each method, a column for each fold of each division.
    ///
    /// # Errors
    /// As [`Study::audit`].
    pub fn grid(self: &Arc<Self>) -> Result<Grid> {
        self.audit()?;
        let kind = Kind::of(&self.set.bags);
        let told = if kind == Kind::Classes { "accuracy" } else { kind.judged_by().name() };
        let mut grid = Grid::new(told, ["method", "fold"]);
        let data = self.set.bags.fingerprint();
        let folds = self.folds.of().iter().flatten().map(|&fold| u64::from(fold));
        let folds = Fingerprint::default().numbers(folds).to_string();
        let means = self.contenders.iter().any(|contender| contender.sees == Sees::Means);
        let means = if means { Some(Arc::new(contenders::means(&self.set.bags)?)) } else { None };
        for contender in &self.contenders {
            let what = contender.identity();
            for repeat in 0..self.folds.repeats() {
                for fold in 0..self.folds.count(repeat) {
                    let mut settings = json!({
                        "data": data, "folds": folds, "repeat": repeat, "fold": fold, "validation": self.validation,
                        "scaling": format!("{:?}", self.scaling),
                    });
                    if let Some(settings) = settings.as_object_mut() {
                        settings.extend(what.clone());
                        if self.target != TargetChoice::Auto {
                            settings.insert("target".into(), json!(self.target));
                        }
                    }
                    let (study, contender) = (self.clone(), contender.clone());
                    // A model of means would be given instances.
                    let of_instances = contender.sees == Sees::Instances;
                    let means = means.clone().filter(|_| contender.sees == Sees::Means);
                    let cell =
                        grid.cell([&contender.name.clone(), &column(repeat, fold)], settings, None, move |task| {
                            let bags = means.as_deref().unwrap_or(&study.set.bags);
                            Ok(study.fit(&contender, bags, [repeat, fold], task)?)
                        });
                    cell.ends_with_a_model = of_instances;
                }
            }
        }
        Ok(grid)
    }
}

/// The column of a fold.
fn column(repeat: usize, fold: usize) -> String {
    format!("{repeat}:{fold}")
}

/// Pairs of labelled bags with the same instances, each with the first that has them.
fn same_features(bags: &Bags) -> Result<Vec<[usize; 2]>> {
    const ENDS: usize = 8;
    bags.features.check_unchanged()?;
    let values = |bag: usize, rows: std::ops::Range<usize>| {
        let start = bags.offsets[bag];
        bags.features.slice((start + rows.start) * bags.width..(start + rows.end) * bags.width).to_f32()
    };
    let mut first: HashMap<String, Vec<usize>> = HashMap::new();
    let mut pairs = Vec::new();
    for bag in (0..bags.len()).filter(|&bag| bags.is_labelled(bag)) {
        let size = bags.rows(bag).len();
        let ends = [0..size.min(ENDS), size.saturating_sub(ENDS)..size];
        let of = Fingerprint::default().numbers([size as u64]);
        let key = ends.into_iter().fold(of, |of, rows| of.values(&values(bag, rows))).to_string();
        let alike = first.entry(key).or_default();
        match alike.iter().find(|&&other| values(other, 0..size) == values(bag, 0..size)) {
            Some(&other) => pairs.push([other, bag]),
            None => alike.push(bag),
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests;
