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
mod page;
mod pools;
pub mod results;
mod tables;

pub use contenders::{Candidate, Contender, Sees};

use crate::bag::{Bags, Features};
use crate::bounded;
use crate::data::{Dataset, Folds, Split, split};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::front::{Scaling, Trainer};
use crate::metrics::{self, Confusion, KappaWeights, Metric, Scores};
use crate::reproduce::{Found, Grid, Metrics, Predicted, Task, Tried};
use crate::training::Settings;
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
    /// Bags with one label each.
    pub set: Dataset,
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
    /// Refuses what would make results look better than they are, or cannot be run: bags without labels or with several,
    /// groups in several folds, the same features under several names in different folds, classes that are missing where a
    /// fold trains.
    ///
    /// # Errors
    /// [`Error::Bags`] that names the bags, [`Error::Setting`] for settings.
    pub fn audit(&self) -> Result<()> {
        let bags = &self.set.bags;
        bags.validate()?;
        if bags.label_sets.is_some() || bags.responses.is_some() {
            return Err(Error::bags(
                "bags have several labels, a number or a time each; a study compares methods on bags of one class each",
            ));
        }
        if bags.labels.is_none() {
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
        for (repeat, folds) in self.folds.of().iter().enumerate() {
            for fold in 0..self.folds.count(repeat) {
                let parts = self.parts(repeat, fold)?;
                let training = split::indices(&parts, Split::Train);
                split::check_training(bags, &training).map_err(|error| {
                    Error::bags(format!(
                        "division {repeat}, fold {fold}: {error}; fewer folds leave more to train with"
                    ))
                })?;
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
        let mut grid = Grid::new("accuracy", ["method", "fold"]);
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
                    }
                    let (study, contender) = (self.clone(), contender.clone());
                    let means = means.clone().filter(|_| contender.sees == Sees::Means);
                    grid.cell([&contender.name.clone(), &column(repeat, fold)], settings, None, move |task| {
                        let bags = means.as_deref().unwrap_or(&study.set.bags);
                        Ok(study.fit(&contender, bags, [repeat, fold], task)?)
                    });
                }
            }
        }
        Ok(grid)
    }

    /// One fold of one method on `bags`, which are those of the study or their means.
    fn fit(&self, contender: &Contender, bags: &Bags, [repeat, fold]: [usize; 2], task: &Task) -> Result<Found> {
        let parts = self.parts(repeat, fold)?;
        let seen: Vec<usize> =
            (0..bags.len()).filter(|&b| matches!(parts[b], Split::Train | Split::Validation)).collect();
        let test = split::indices(&parts, Split::Test);
        if contender.sees == Sees::Labels {
            return shares(bags, &seen, &test);
        }
        let of_seen: Vec<Split> = seen.iter().map(|&bag| parts[bag]).collect();
        let [training, validation] = [Split::Train, Split::Validation].map(|part| split::indices(&of_seen, part));
        let train = |candidate: &Candidate| {
            Trainer::new(candidate.method.clone())
                .settings(Settings { seed: task.seed, ..candidate.training.clone() })
                .division(training.clone(), validation.clone())
                .scaling(self.scaling)
                .device(task.device)
                .persistence(task.persistence())
                // A copy of what the fit sees, standardised where it lies; the test bags stay where they are.
                .fit_in_place(&mut bags.select(&seen)?)
        };
        let (at, fitted, tried) = choice::best(&contender.candidates, train)?;
        let chosen = &contender.candidates[at];
        let mut predictor = fitted.model.on(task.device)?.memory(chosen.training.memory);
        let found = predictor.predict_some(bags, &test)?;
        let scores = found.scores_among(&found.probabilities, bags, &test)?;
        let usual = Metric::ALL.into_iter().filter_map(|metric| Some((metric.name().to_owned(), scores.get(metric)?)));
        let mut metrics: Metrics = usual.collect();
        metrics.insert("kept_epoch".into(), f64::from(fitted.kept));
        told(&found.probabilities, bags, &test, metrics, tried)
    }
}

/// What is said of `test` by the shares of the classes among `seen`.
fn shares(bags: &Bags, seen: &[usize], test: &[usize]) -> Result<Found> {
    let mut counts = vec![0u32; bags.classes()];
    seen.iter().filter_map(|&bag| bags.label(bag)).for_each(|label| counts[label as usize] += 1);
    let all: u32 = counts.iter().sum();
    let row: Vec<f32> = counts.iter().map(|count| *count as f32 / all.max(1) as f32).collect();
    let probabilities = row.repeat(test.len());
    let labels: Vec<u32> = test.iter().filter_map(|&bag| bags.label(bag)).collect();
    let scores = Scores::new(&probabilities, row.len(), &labels)?;
    let usual = Metric::ALL.into_iter().filter_map(|metric| Some((metric.name().to_owned(), scores.get(metric)?)));
    told(&probabilities, bags, test, usual.collect(), Vec::new())
}

/// A run that said `p` of the bags `test`, with what else is measured of it.
fn told(p: &[f32], bags: &Bags, test: &[usize], mut metrics: Metrics, tried: Vec<Tried>) -> Result<Found> {
    let labels: Vec<u32> = test.iter().filter_map(|&bag| bags.label(bag)).collect();
    let classes = bags.classes();
    let confusion = Confusion::new(&metrics::predictions(p, classes), &labels, classes)?;
    let more = [
        ("auc_micro", metrics::micro_auc(p, classes, &labels).filter(|_| classes > 2)),
        ("average_precision", metrics::macro_average_precision(p, classes, &labels)),
        ("mcc", confusion.mcc()),
        ("kappa", confusion.kappa(KappaWeights::None)),
        ("kappa_quadratic", confusion.kappa(KappaWeights::Quadratic)),
        ("brier", metrics::brier(p, classes, &labels)),
        ("ece", metrics::calibration(p, classes, &labels, metrics::BINS).map(|found| found.error)),
    ];
    metrics.extend(more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    if classes > 2 {
        let of_classes = metrics::class_aucs(p, classes, &labels).into_iter().zip(&bags.class_names);
        metrics.extend(of_classes.filter_map(|(auc, name)| Some((format!("auc ({name})"), auc?))));
    }
    let said = |(&bag, p): (&usize, &[f32])| Predicted { bag, probabilities: p.to_vec() };
    Ok(Found { metrics, bags: test.iter().zip(p.chunks(classes.max(1))).map(said).collect(), tried })
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
