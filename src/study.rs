//! Cross-validation of methods on one data set: every bag is tested by models that have seen no bag of its group.
//!
//! A study is methods times divisions times folds times seeds. In each fold the training bags are divided once more: validation
//! bags choose the epoch, and the bags of the fold are looked at once, at the end. All methods have the same folds and the same
//! validation bags, so that they can be compared pair by pair. Runs are kept and go on side by side as those of
//! [`crate::reproduce`].

pub mod results;

use crate::bag::{Bags, Features};
use crate::bounded;
use crate::data::{Dataset, Folds, Split, split};
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::front::{Scaling, Trainer};
use crate::methods::Method;
use crate::metrics::{self, Confusion, KappaWeights, Metric};
use crate::reproduce::{Found, Grid, Metrics, Predicted, Task};
use crate::training::Settings;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// A method with its settings, and how it is trained.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What it is called in tables; no two of a study are called alike.
    pub name: String,
    /// The method.
    pub method: Method,
    /// Its training; the seed is that of the run.
    pub training: Settings,
}

/// What is compared on what.
#[derive(Clone, Debug)]
pub struct Study {
    /// Bags with one label each.
    pub set: Dataset,
    /// Which fold tests each bag, for each division.
    pub folds: Folds,
    /// The methods.
    pub candidates: Vec<Candidate>,
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
        if bags.label_sets.is_some() {
            return Err(Error::bags(
                "bags have several labels each; a study compares methods on bags of one class each",
            ));
        }
        if bags.labels.is_none() {
            return Err(Error::bags("expected labels, found none"));
        }
        let mut names: Vec<&str> = self.candidates.iter().map(|c| c.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::setting(
                "method",
                format!("'{}' is there twice; give one of them another name", twice[0]),
            ));
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
        for candidate in &self.candidates {
            let mut training = serde_json::to_value(&candidate.training).unwrap_or(Value::Null);
            if let Some(training) = training.as_object_mut() {
                training.remove("seed");
            }
            for repeat in 0..self.folds.repeats() {
                for fold in 0..self.folds.count(repeat) {
                    let settings = json!({
                        "data": data, "folds": folds, "repeat": repeat, "fold": fold, "validation": self.validation,
                        "scaling": format!("{:?}", self.scaling), "method": candidate.method, "training": training,
                    });
                    let (study, candidate) = (self.clone(), candidate.clone());
                    grid.cell([&candidate.name.clone(), &column(repeat, fold)], settings, None, move |task| {
                        Ok(study.fit(&candidate, [repeat, fold], task)?)
                    });
                }
            }
        }
        Ok(grid)
    }

    /// One fold of one method.
    fn fit(&self, candidate: &Candidate, [repeat, fold]: [usize; 2], task: &Task) -> Result<Found> {
        let parts = self.parts(repeat, fold)?;
        let bags = &self.set.bags;
        // A copy of what the fit sees, standardised where it lies; the test bags stay where they are.
        let seen: Vec<usize> =
            (0..bags.len()).filter(|&b| matches!(parts[b], Split::Train | Split::Validation)).collect();
        let of_seen: Vec<Split> = seen.iter().map(|&bag| parts[bag]).collect();
        let [training, validation] = [Split::Train, Split::Validation].map(|part| split::indices(&of_seen, part));
        let test = split::indices(&parts, Split::Test);
        let fitted = Trainer::new(candidate.method.clone())
            .settings(Settings { seed: task.seed, ..candidate.training.clone() })
            .division(training, validation)
            .scaling(self.scaling)
            .device(task.device)
            .persistence(task.persistence())
            .fit_in_place(&mut bags.select(&seen)?)?;
        let mut predictor = fitted.model.on(task.device)?.memory(candidate.training.memory);
        let found = predictor.predict_some(bags, &test)?;
        let scores = found.scores_among(&found.probabilities, bags, &test)?;
        let labels: Vec<u32> = test.iter().filter_map(|&bag| bags.label(bag)).collect();
        let (p, classes) = (&found.probabilities, found.classes);
        let confusion = Confusion::new(&metrics::predictions(p, classes), &labels, classes)?;
        let more = [
            ("average_precision", metrics::macro_average_precision(p, classes, &labels)),
            ("mcc", confusion.mcc()),
            ("kappa", confusion.kappa(KappaWeights::None)),
            ("kappa_quadratic", confusion.kappa(KappaWeights::Quadratic)),
            ("brier", metrics::brier(p, classes, &labels)),
        ];
        let usual = Metric::ALL.into_iter().map(|metric| (metric.name(), scores.get(metric)));
        let measured = usual.chain(more).filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let mut metrics: Metrics = measured.collect();
        metrics.insert("kept_epoch".into(), f64::from(fitted.kept));
        let said = |(at, &bag): (usize, &usize)| Predicted { bag, probabilities: found.bag(at).to_vec() };
        Ok(Found { metrics, bags: test.iter().enumerate().map(said).collect() })
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
