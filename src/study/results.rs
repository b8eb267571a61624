//! What a study found: scores with intervals, and methods in pairs.

use super::chosen::Chosen;
use super::pools::{Fits, Pool};
use super::{Divided, Sees, Study};
use crate::data::split;
use crate::metrics::{self, Calibration, Compared, Difference, Placements, Ranks, Resamples, difference, interval};
use crate::reproduce::runs::{Line, Runs};
use crate::reproduce::{Grid, Predicted};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Samples of an interval.
pub(super) const SAMPLES: usize = 2000;
/// Their seed.
const SEED: u64 = 1;

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The data set.
    pub data: String,
    /// Labelled bags, and the groups (patients) that they are of, where there are groups.
    pub bags: usize,
    /// Groups.
    pub groups: Option<usize>,
    /// Names of the classes; of two the second is the positive one.
    pub classes: Vec<String>,
    /// What folds keep apart.
    pub divided: Divided,
    /// How many bags of each class folds test: of each class the fewest and the most, in the order of the classes.
    pub tested: Vec<[usize; 2]>,
    /// Where bags are from, how many sites, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sites: Option<usize>,
    /// Divisions into folds, folds of a division, seeds of each.
    pub repeats: usize,
    /// Folds.
    pub folds: usize,
    /// Seeds.
    pub seeds: u64,
    /// Share of the training bags that chose the epoch.
    pub validation: f64,
    /// Share of the bags that the most frequent class has: what is right without looking.
    pub majority: f64,
    /// What it ran on.
    pub device: String,
    /// The methods, best AUC first.
    pub methods: Vec<Row>,
    /// Each pair of them.
    pub pairs: Vec<Pair>,
    /// Why there is nothing of DeLong's, where there is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_delong: Option<String>,
}

/// What a method reached.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name in the study.
    pub name: String,
    /// The AUC of the predictions of all folds together, a mean over divisions and seeds.
    pub auc: Option<f64>,
    /// Where 95 % of the AUCs of resampled groups are.
    pub auc_interval: Option<[f64; 2]>,
    /// DeLong's 95 % interval, of two classes where bags are independent.
    pub auc_delong: Option<[f64; 2]>,
    /// The AUC as of each fit, in the order of divisions, folds and seeds; none where a fold has bags of one class.
    pub auc_of_fits: Vec<Option<f64>>,
    /// What probabilities are worth, of the predictions of all fits together.
    pub calibration: Option<Calibration>,
    /// The corners of the ROC curve of the predictions of all fits together, of two classes.
    #[serde(skip)]
    pub roc: Vec<(f64, f64)>,
    /// It is there to be beaten.
    pub baseline: bool,
    /// How it stands against each baseline.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<Against>,
    /// Mean and standard deviation over folds, divisions and seeds.
    pub folds: Vec<OverFolds>,
    /// Seconds of a fit, on average.
    pub seconds: f64,
    /// The settings that its fits chose, where there was a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<Chosen>,
}

/// A method beside a baseline, on the same samples.
#[derive(Clone, Debug, Serialize)]
pub struct Against {
    /// The baseline.
    pub baseline: String,
    /// Its AUC more than that of the baseline.
    pub difference: f64,
    /// Where 95 % of the differences on resampled groups are.
    pub interval: [f64; 2],
    /// All of them are above 0.
    pub beats: bool,
}

/// A score over all fits.
#[derive(Clone, Debug, Serialize)]
pub struct OverFolds {
    /// The score.
    pub metric: String,
    /// Its mean over the fits where it is defined.
    pub mean: f64,
    /// Its standard deviation; `None` of one fit.
    pub deviation: Option<f64>,
    /// Fits where it is defined.
    pub fits: usize,
}

/// How two methods differ on the same bags.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// The one that is ahead.
    pub better: String,
    /// The other.
    pub worse: String,
    /// AUC of the first less that of the second.
    pub difference: f64,
    /// Where 95 % of the differences on resampled groups are.
    pub interval: [f64; 2],
    /// How likely a difference as large is where there is none, by the same samples.
    pub p: f64,
    /// DeLong's interval and p of the same difference, of two classes where bags are independent.
    pub delong: Option<Compared>,
}

impl Results {
    /// Of the finished runs.
    ///
    /// # Errors
    /// When one of them is missing.
    pub fn of(study: &Study, grid: &Grid, runs: &Runs, seeds: u64, device: &str) -> Result<Self> {
        let bags = &study.set.bags;
        let labelled: Vec<usize> = (0..bags.len()).filter(|&bag| bags.is_labelled(bag)).collect();
        let labels: Vec<u32> = labelled.iter().filter_map(|&bag| bags.label(bag)).collect();
        let groups: Vec<String> = match &bags.groups {
            Some(groups) => labelled.iter().map(|&bag| groups[bag].clone()).collect(),
            None => labelled.iter().map(usize::to_string).collect(),
        };
        let resamples = Resamples::of(&groups, SAMPLES, SEED);
        let no_delong = no_delong(study, &groups);
        let (mut methods, mut draws, mut components) = (Vec::new(), Vec::new(), Vec::new());
        for contender in &study.contenders {
            let fits = Fits::of(study, grid, runs, (&contender.name, seeds, device))?;
            let mut pools = fits.pools(study, &labelled)?;
            let calibration = calibration(&pools, study.set.bags.classes());
            let roc = roc(&pools, study.set.bags.classes());
            if contender.sees == Sees::Labels {
                // What it says differs from fold to fold by what is left over for training: an order of folds, not of bags.
                pools.iter_mut().for_each(|pool| pool.probabilities.fill(0.5));
            }
            let ranks: Option<Vec<Ranks>> = pools.iter().map(Pool::ranks).collect();
            let ranks = ranks.context("a prediction is no number")?;
            let mean_auc = |counts: &[u32]| {
                let all: Option<Vec<f64>> = ranks.iter().map(|ranks| ranks.auc(counts)).collect();
                all.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64)
            };
            let drawn = resamples.measure(mean_auc);
            let of_pools = || pools.iter().map(Pool::placements).collect::<Option<Vec<_>>>();
            let placements = no_delong.is_none().then(of_pools).flatten().and_then(|all| Placements::mean(&all));
            let placed = fits.placed();
            let fits: Vec<&Line> = placed.iter().map(|(_, line)| *line).collect();
            methods.push(Row {
                name: contender.name.clone(),
                auc: mean_auc(&vec![1; labelled.len()]),
                auc_interval: interval(&drawn),
                auc_delong: placements.as_ref().and_then(Placements::interval),
                auc_of_fits: fits.iter().map(|line| line.metrics.get("auc").copied()).collect(),
                calibration,
                roc: if contender.sees == Sees::Labels { Vec::new() } else { roc },
                baseline: contender.is_baseline,
                against: Vec::new(),
                folds: over_folds(&fits),
                seconds: fits.iter().map(|line| line.seconds).sum::<f64>() / fits.len().max(1) as f64,
                search: Chosen::of(contender, &placed),
            });
            draws.push(drawn);
            components.push(placements);
        }
        let mut order: Vec<usize> = (0..methods.len()).collect();
        order.sort_by(|&a, &b| methods[b].auc.unwrap_or(-1.0).total_cmp(&methods[a].auc.unwrap_or(-1.0)));
        let compared = |a: usize, b: usize| {
            let found = difference(&draws[a], &draws[b])?;
            Some((methods[a].auc? - methods[b].auc?, found))
        };
        let mut pairs = Vec::new();
        for (at, &a) in order.iter().enumerate() {
            for &b in &order[at + 1..] {
                let Some((apart, found)) = compared(a, b) else { continue };
                let both = components[a].as_ref().zip(components[b].as_ref());
                pairs.push(Pair {
                    better: methods[a].name.clone(),
                    worse: methods[b].name.clone(),
                    difference: apart,
                    interval: found.interval,
                    p: found.p,
                    delong: both.and_then(|(a, b)| a.less(b)),
                });
            }
        }
        let against = |a: usize| {
            let baselines = order.iter().filter(|&&b| methods[b].baseline && !methods[a].baseline);
            let one = |&b: &usize| {
                let (difference, Difference { interval, .. }) = compared(a, b)?;
                let baseline = methods[b].name.clone();
                Some(Against { baseline, difference, interval, beats: interval[0] > 0.0 })
            };
            baselines.filter_map(one).collect::<Vec<_>>()
        };
        let all: Vec<Vec<Against>> = (0..methods.len()).map(against).collect();
        methods.iter_mut().zip(all).for_each(|(method, against)| method.against = against);
        let mut unique = groups;
        unique.sort_unstable();
        unique.dedup();
        Ok(Self {
            data: study.set.name.clone(),
            bags: labelled.len(),
            groups: bags.groups.as_ref().map(|_| unique.len()),
            classes: bags.class_names.clone(),
            divided: study.divided,
            tested: tested(study),
            sites: study.set.sites.as_ref().map(|sites| split::count_groups(sites)),
            repeats: study.folds.repeats(),
            folds: (0..study.folds.repeats()).map(|repeat| study.folds.count(repeat)).max().unwrap_or(0),
            seeds,
            validation: study.validation,
            majority: majority(&labels),
            device: device.to_owned(),
            methods: order.iter().map(|&at| methods[at].clone()).collect(),
            pairs,
            no_delong,
        })
    }
}

/// Why DeLong's interval would not be one, if it would not.
fn no_delong(study: &Study, groups: &[String]) -> Option<String> {
    let count = split::count_groups(groups);
    match study.set.bags.classes() {
        2 if study.divided == Divided::MonteCarlo => Some("divisions test different bags".into()),
        2 if count < groups.len() => {
            Some(format!("it takes bags for independent, and {} bags are of {count} groups", groups.len()))
        }
        2 => None,
        classes => Some(format!("it is of two classes, and there are {classes}")),
    }
}

/// Of the predictions of all fits together, of two classes.
fn roc(pools: &[Pool], classes: usize) -> Vec<(f64, f64)> {
    let scores: Vec<f32> =
        pools.iter().flat_map(|pool| pool.probabilities.iter().skip(1).step_by(2)).copied().collect();
    let positive: Vec<bool> = pools.iter().flat_map(|pool| &pool.labels).map(|label| *label == 1).collect();
    if classes == 2 { metrics::roc_curve(&scores, &positive).unwrap_or_default() } else { Vec::new() }
}

/// Of the predictions of all fits together.
fn calibration(pools: &[Pool], classes: usize) -> Option<Calibration> {
    let all = |of: fn(&Pool) -> &[f32]| pools.iter().flat_map(of).copied().collect::<Vec<f32>>();
    let labels: Vec<u32> = pools.iter().flat_map(|pool| &pool.labels).copied().collect();
    metrics::calibration(&all(|pool| &pool.probabilities), classes, &labels, metrics::BINS)
}

/// The fewest and the most bags of each class that a fold tests.
fn tested(study: &Study) -> Vec<[usize; 2]> {
    let (labels, classes) = (study.set.bags.labels.as_deref().unwrap_or_default(), study.set.bags.classes());
    let folds = (0..study.folds.repeats()).flat_map(|repeat| study.folds.class_counts(repeat, labels, classes));
    let folds: Vec<Vec<usize>> = folds.collect();
    let of = |class: usize| folds.iter().map(move |fold| fold[class]);
    (0..classes).map(|class| [of(class).min().unwrap_or(0), of(class).max().unwrap_or(0)]).collect()
}

/// Every score over all fits, by name.
fn over_folds(fits: &[&Line]) -> Vec<OverFolds> {
    let names: BTreeSet<&String> = fits.iter().flat_map(|line| line.metrics.keys()).collect();
    let one = |name: &String| {
        let values: Vec<f64> = fits.iter().filter_map(|line| line.metrics.get(name).copied()).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        let deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        OverFolds { metric: name.clone(), mean, deviation, fits: values.len() }
    };
    names.into_iter().map(one).collect()
}

/// The share of the most frequent class.
fn majority(labels: &[u32]) -> f64 {
    let mut counts = BTreeMap::new();
    labels.iter().for_each(|label| *counts.entry(label).or_insert(0) += 1);
    counts.values().max().map_or(0.0, |most| f64::from(*most) / labels.len() as f64)
}

/// A line of what was said of a bag by a model that had not seen it.
#[derive(Clone, Debug, PartialEq)]
pub struct OutOfFold {
    /// The method.
    pub method: String,
    /// Division, fold and seed.
    pub place: [usize; 3],
    /// Number of the bag.
    pub bag: usize,
    /// Probability of each class.
    pub probabilities: Vec<f32>,
}

/// Everything that was said of bags in their folds.
///
/// # Errors
/// When a run is missing.
pub fn out_of_fold(study: &Study, grid: &Grid, runs: &Runs, seeds: u64, device: &str) -> Result<Vec<OutOfFold>> {
    let mut all = Vec::new();
    for contender in &study.contenders {
        let fits = Fits::of(study, grid, runs, (&contender.name, seeds, device))?;
        for (place, line) in fits.placed() {
            let said = |said: &Predicted| OutOfFold {
                method: contender.name.clone(),
                place,
                bag: said.bag,
                probabilities: said.probabilities.clone(),
            };
            all.extend(line.bags.iter().map(said));
        }
    }
    Ok(all)
}
