//! What a study found: scores with intervals, and methods in pairs.

use super::chosen::Chosen;
use super::kind::Judge;
use super::pools::{Fits, Pool};
use super::{Divided, Halves, Kind, Sees, Study};
use crate::bag::Bags;
use crate::data::split;
use crate::metrics::{self, Calibration, Compared, Difference, Metric, Placements, Resamples, difference, interval};
use crate::reproduce::runs::{Line, Runs};
use crate::reproduce::{Grid, Predicted};
use crate::responses::Responses;
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
    /// What bags have.
    pub bags_have: Kind,
    /// The score that methods are judged by: their `value`.
    pub judged_by: Metric,
    /// Names of the classes or labels; of two classes the second is the positive one.
    pub classes: Vec<String>,
    /// What folds keep apart.
    pub divided: Divided,
    /// How many bags of each class folds test.
    pub tested: Vec<Tested>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub majority: Option<f64>,
    /// What it ran on.
    pub device: String,
    /// The methods, the best first.
    pub methods: Vec<Row>,
    /// Each pair of them.
    pub pairs: Vec<Pair>,
    /// Why there is nothing of DeLong's, where there is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_delong: Option<String>,
    /// Groups have several bags, so what stands as DeLong's is Obuchowski's, over groups.
    pub clustered: bool,
}

/// What a method reached.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name in the study.
    pub name: String,
    /// The score that it is judged by, of the predictions of all folds together (the concordance index over pairs of bags of one
    /// fold), a mean over divisions and seeds.
    pub value: Option<f64>,
    /// Where 95 % of the values of resampled groups are.
    pub interval: Option<[f64; 2]>,
    /// DeLong's 95 % interval, of two classes; Obuchowski's where groups have several bags.
    pub delong: Option<[f64; 2]>,
    /// The value as of each fit, in the order of divisions, folds and seeds; none where a fold leaves it undefined.
    pub of_fits: Vec<Option<f64>>,
    /// Survival of the bags of higher and of lower risk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halves: Option<Halves>,
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

/// How many bags of a class the folds test.
#[derive(Clone, Debug, Serialize)]
pub struct Tested {
    /// The class or label; of survival whether the event came, of numbers all bags.
    pub what: String,
    /// The fewest that a fold tests.
    pub fewest: usize,
    /// The most.
    pub most: usize,
}

/// A method beside a baseline, on the same samples.
#[derive(Clone, Debug, Serialize)]
pub struct Against {
    /// The baseline.
    pub baseline: String,
    /// Its value less that of the baseline.
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
    /// Value of the first less that of the second.
    pub difference: f64,
    /// Where 95 % of the differences on resampled groups are.
    pub interval: [f64; 2],
    /// How likely a difference as large is where there is none, by the same samples.
    pub p: f64,
    /// DeLong's interval and p of the same difference, of two classes; Obuchowski's where groups have several bags.
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
        let kind = Kind::of(bags);
        let groups: Vec<String> = match &bags.groups {
            Some(groups) => labelled.iter().map(|&bag| groups[bag].clone()).collect(),
            None => labelled.iter().map(usize::to_string).collect(),
        };
        let resamples = Resamples::of(&groups, SAMPLES, SEED);
        let no_delong = no_delong(study);
        let (mut methods, mut draws, mut components) = (Vec::new(), Vec::new(), Vec::new());
        for contender in &study.contenders {
            let fits = Fits::of(study, grid, runs, (&contender.name, seeds, device))?;
            let mut pools = fits.pools(study, &labelled)?;
            let (calibration, roc) = (calibration(&pools, kind), roc(&pools));
            if contender.sees == Sees::Labels && kind.judged_by() == Metric::Auc {
                // What it says differs from fold to fold by what is left over for training: an order of folds, not of bags.
                pools.iter_mut().for_each(|pool| pool.said.fill(0.5));
            }
            let judges: Option<Vec<Judge>> = pools.iter().map(|pool| Judge::of(pool, bags, &labelled)).collect();
            let judges = judges.context("a prediction is no number")?;
            let mean = |counts: &[u32]| {
                let all: Option<Vec<f64>> = judges.iter().map(|judge| judge.score(counts)).collect();
                all.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64)
            };
            let drawn = resamples.measure(mean);
            let of_pools = || pools.iter().map(|pool| pool.placements(&groups)).collect::<Option<Vec<_>>>();
            let placements = no_delong.is_none().then(of_pools).flatten().and_then(|all| Placements::mean(&all));
            let placed = fits.placed();
            let halves = Halves::of(&fits, bags).filter(|_| contender.sees != Sees::Labels);
            let fits: Vec<&Line> = placed.iter().map(|(_, line)| *line).collect();
            methods.push(Row {
                name: contender.name.clone(),
                value: mean(&vec![1; labelled.len()]),
                interval: interval(&drawn),
                delong: placements.as_ref().and_then(Placements::interval),
                of_fits: fits.iter().map(|line| line.metrics.get(kind.judged_by().name()).copied()).collect(),
                halves,
                calibration,
                roc: if contender.sees == Sees::Labels { Vec::new() } else { roc },
                baseline: contender.is_baseline,
                against: Vec::new(),
                folds: over_folds(&fits),
                seconds: fits.iter().map(|line| line.seconds).sum::<f64>() / fits.len().max(1) as f64,
                search: Chosen::of(kind, contender, &placed),
            });
            draws.push(drawn);
            components.push(placements);
        }
        let mut order: Vec<usize> = (0..methods.len()).collect();
        let value = |at: usize| methods[at].value.unwrap_or(f64::NEG_INFINITY);
        order.sort_by(|&a, &b| value(b).total_cmp(&value(a)));
        let compared = |a: usize, b: usize| {
            let found = difference(&draws[a], &draws[b])?;
            Some((methods[a].value? - methods[b].value?, found))
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
            bags_have: kind,
            judged_by: kind.judged_by(),
            classes: bags.class_names.clone(),
            divided: study.divided,
            tested: tested(study),
            sites: study.set.sites.as_ref().map(|sites| split::count_groups(sites)),
            repeats: study.folds.repeats(),
            folds: (0..study.folds.repeats()).map(|repeat| study.folds.count(repeat)).max().unwrap_or(0),
            seeds,
            validation: study.validation,
            majority: majority(bags),
            device: device.to_owned(),
            methods: order.iter().map(|&at| methods[at].clone()).collect(),
            pairs,
            clustered: no_delong.is_none() && unique.len() < labelled.len(),
            no_delong,
        })
    }
}

/// Why DeLong's interval would not be one, if it would not.
fn no_delong(study: &Study) -> Option<String> {
    match (Kind::of(&study.set.bags) == Kind::Classes, study.set.bags.classes()) {
        (false, _) => Some("it is of classes".into()),
        (_, 2) if study.divided == Divided::MonteCarlo => Some("divisions test different bags".into()),
        (_, 2) => None,
        (_, classes) => Some(format!("it is of two classes, and there are {classes}")),
    }
}

/// Of the predictions of all fits together, of two classes.
fn roc(pools: &[Pool]) -> Vec<(f64, f64)> {
    let of_two = pools.iter().all(|pool| pool.width == 2 && !pool.labels.is_empty());
    let scores: Vec<f32> = pools.iter().flat_map(|pool| pool.said.iter().skip(1).step_by(2)).copied().collect();
    let positive: Vec<bool> = pools.iter().flat_map(|pool| &pool.labels).map(|label| *label == 1).collect();
    if of_two { metrics::roc_curve(&scores, &positive).unwrap_or_default() } else { Vec::new() }
}

/// Of the predictions of all fits together.
fn calibration(pools: &[Pool], kind: Kind) -> Option<Calibration> {
    let width = pools.first().filter(|_| kind == Kind::Classes)?.width;
    let said: Vec<f32> = pools.iter().flat_map(|pool| &pool.said).copied().collect();
    let labels: Vec<u32> = pools.iter().flat_map(|pool| &pool.labels).copied().collect();
    metrics::calibration(&said, width, &labels, metrics::BINS)
}

/// The fewest and the most bags of each class that a fold tests.
fn tested(study: &Study) -> Vec<Tested> {
    let bags = &study.set.bags;
    let of = |what: &str, has: &dyn Fn(usize) -> bool| {
        let labels: Vec<u32> = (0..bags.len()).map(|bag| u32::from(bags.is_labelled(bag) && has(bag))).collect();
        let folds = (0..study.folds.repeats()).flat_map(|repeat| study.folds.class_counts(repeat, &labels, 2));
        let each: Vec<usize> = folds.map(|counts| counts[1]).collect();
        let (fewest, most) = (each.iter().min().copied(), each.iter().max().copied());
        Tested { what: what.to_owned(), fewest: fewest.unwrap_or(0), most: most.unwrap_or(0) }
    };
    let names = bags.class_names.iter().enumerate();
    match (&bags.responses, &bags.label_sets) {
        (Some(Responses::Numbers(_)), _) => vec![of("bags", &|_| true)],
        (Some(Responses::Survival { events, .. }), _) => {
            vec![of("bags without an event", &|bag| !events[bag]), of("bags with one", &|bag| events[bag])]
        }
        (None, Some(sets)) => names.map(|(label, name)| of(name, &|bag| sets.bag(bag)[label] == Some(true))).collect(),
        (None, None) => names.map(|(class, name)| of(name, &|bag| bags.label(bag) == Some(class as u32))).collect(),
    }
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

/// The share of the most frequent class, where bags have one class each.
fn majority(bags: &Bags) -> Option<f64> {
    let mut counts = BTreeMap::new();
    let known: Vec<u32> = (0..bags.len()).filter_map(|bag| bags.label(bag)).collect();
    known.iter().for_each(|label| *counts.entry(label).or_insert(0) += 1);
    counts.values().max().map(|most| f64::from(*most) / known.len() as f64)
}

/// A line of what was said of a bag by a model that had not seen it.
#[derive(Clone, Debug, PartialEq)]
pub struct OutOfFold {
    /// The method.
    pub method: String,
    /// Division, fold and seed.
    pub place: [usize; 3],
    /// What was said of which bag.
    pub said: Predicted,
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
            let said = |said: &Predicted| OutOfFold { method: contender.name.clone(), place, said: said.clone() };
            all.extend(line.bags.iter().map(said));
        }
    }
    Ok(all)
}
