//! What a study found: scores with intervals, and methods in pairs.

use super::{Study, column};
use crate::metrics::{Ranks, Resamples, difference, interval};
use crate::reproduce::Grid;
use crate::reproduce::runs::{Line, Runs};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Samples of an interval.
const SAMPLES: usize = 2000;
/// Columns of the table; the files have all scores.
const SHOWN: [&str; 6] = ["auc", "average_precision", "balanced_accuracy", "f1", "mcc", "log_loss"];
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
    /// Mean and standard deviation over folds, divisions and seeds.
    pub folds: Vec<OverFolds>,
    /// Seconds of a fit, on average.
    pub seconds: f64,
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
        let (mut methods, mut draws) = (Vec::new(), Vec::new());
        for candidate in &study.candidates {
            let lines = lines(study, grid, runs, (&candidate.name, seeds, device))?;
            let ranks = pooled(study, &lines, &labelled, &labels)?;
            let mean_auc = |counts: &[u32]| {
                let all: Option<Vec<f64>> = ranks.iter().map(|ranks| ranks.auc(counts)).collect();
                all.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64)
            };
            let drawn = resamples.measure(mean_auc);
            let fits: Vec<&Line> = lines.iter().flat_map(|of| of.iter().map(|(_, line)| *line)).collect();
            methods.push(Row {
                name: candidate.name.clone(),
                auc: mean_auc(&vec![1; labelled.len()]),
                auc_interval: interval(&drawn),
                folds: over_folds(&fits),
                seconds: fits.iter().map(|line| line.seconds).sum::<f64>() / fits.len().max(1) as f64,
            });
            draws.push(drawn);
        }
        let mut order: Vec<usize> = (0..methods.len()).collect();
        order.sort_by(|&a, &b| methods[b].auc.unwrap_or(-1.0).total_cmp(&methods[a].auc.unwrap_or(-1.0)));
        let mut pairs = Vec::new();
        for (at, &a) in order.iter().enumerate() {
            for &b in &order[at + 1..] {
                let (Some(of_a), Some(of_b)) = (methods[a].auc, methods[b].auc) else { continue };
                let Some(found) = difference(&draws[a], &draws[b]) else { continue };
                pairs.push(Pair {
                    better: methods[a].name.clone(),
                    worse: methods[b].name.clone(),
                    difference: of_a - of_b,
                    interval: found.interval,
                    p: found.p,
                });
            }
        }
        let mut unique = groups;
        unique.sort_unstable();
        unique.dedup();
        Ok(Self {
            data: study.set.name.clone(),
            bags: labelled.len(),
            groups: bags.groups.as_ref().map(|_| unique.len()),
            classes: bags.class_names.clone(),
            repeats: study.folds.repeats(),
            folds: (0..study.folds.repeats()).map(|repeat| study.folds.count(repeat)).max().unwrap_or(0),
            seeds,
            validation: study.validation,
            majority: majority(&labels),
            device: device.to_owned(),
            methods: order.iter().map(|&at| methods[at].clone()).collect(),
            pairs,
        })
    }

    /// A table for people.
    pub fn markdown(&self) -> String {
        let mut text = format!("# Cross-validation on {}\n\n", self.data);
        let groups = self.groups.map_or(String::new(), |n| format!(" of {n} groups, each in one fold"));
        let of = match &self.classes[..] {
            [_, positive] => format!("AUC and F1 are of class {positive}"),
            _ => "AUC and F1 are means over the classes".to_owned(),
        };
        let _ = writeln!(
            text,
            "{} bags{groups}; {} x {} folds, {} seeds each; {:.0} % of the training bags of a fold chose the epoch, and each \
             bag was tested by models that saw no bag of its group. {of}. Always the most frequent class would be right in {:.1} %.\n",
            self.bags,
            self.repeats,
            self.folds,
            self.seeds,
            100.0 * self.validation,
            100.0 * self.majority
        );
        let _ = writeln!(
            text,
            "| method | AUC, all folds | 95 % | {} | seconds a fit |",
            SHOWN.join(" | ").replace('_', " ")
        );
        let _ = writeln!(text, "|---|---|---|{}---|", "---|".repeat(SHOWN.len()));
        for row in &self.methods {
            let auc = row.auc.map_or("-".into(), |auc| format!("{auc:.3}"));
            let interval = row.auc_interval.map_or("-".into(), |[low, high]| format!("{low:.3} to {high:.3}"));
            let cells: Vec<String> = SHOWN.iter().map(|name| row.cell(name)).collect();
            let _ = writeln!(
                text,
                "| {} | {auc} | {interval} | {} | {:.1} |",
                row.name.replace('|', "\\|"),
                cells.join(" | "),
                row.seconds
            );
        }
        text += "\nFor all folds: the AUC of the predictions of all folds together, a mean over divisions and seeds; its interval \
                 has 95 % of 2000 samples of the groups (of the bags, where there are no groups). The other columns: mean ± \
                 standard deviation over folds, divisions and seeds.\n";
        if !self.pairs.is_empty() {
            text += "\n| better | worse | AUC more | 95 % | p |\n|---|---|---|---|---|\n";
            for pair in &self.pairs {
                let [low, high] = pair.interval;
                let names = [&pair.better, &pair.worse].map(|name| name.replace('|', "\\|"));
                let _ = writeln!(
                    text,
                    "| {} | {} | {:.3} | {low:.3} to {high:.3} | {:.3} |",
                    names[0], names[1], pair.difference, pair.p
                );
            }
            text += "\nDifferences on the same samples of the groups; p is not corrected for the number of pairs.\n";
        }
        text
    }
}

impl Row {
    /// The mean and deviation of a score, as people read them.
    fn cell(&self, metric: &str) -> String {
        let found = self.folds.iter().find(|of| of.metric == metric);
        found.map_or("-".into(), |of| match of.deviation {
            Some(deviation) => format!("{:.3} ± {deviation:.3}", of.mean),
            None => format!("{:.3}", of.mean),
        })
    }
}

/// The runs of a method, for each division and seed those of its folds.
fn lines<'a>(
    study: &Study,
    grid: &Grid,
    runs: &'a Runs,
    (name, seeds, device): (&str, u64, &str),
) -> Result<Vec<Vec<(usize, &'a Line)>>> {
    let mut all = Vec::new();
    for repeat in 0..study.folds.repeats() {
        for seed in 1..=seeds {
            let of = |fold: usize| {
                let place = column(repeat, fold);
                let cell = grid.cells.iter().find(|cell| cell.row == name && cell.column == place);
                let line = cell.and_then(|cell| runs.get(cell, seed, device));
                line.map(|line| (fold, line)).with_context(|| format!("{name}: fold {place}, seed {seed} has not run"))
            };
            all.push((0..study.folds.count(repeat)).map(of).collect::<Result<Vec<_>>>()?);
        }
    }
    Ok(all)
}

/// The order of the predictions of all folds together, for each division and seed.
fn pooled(study: &Study, lines: &[Vec<(usize, &Line)>], labelled: &[usize], labels: &[u32]) -> Result<Vec<Ranks>> {
    let classes = study.set.bags.classes();
    let one = |folds: &Vec<(usize, &Line)>| {
        let mut probabilities = vec![f32::NAN; labelled.len() * classes];
        for said in folds.iter().flat_map(|(_, line)| &line.bags) {
            let at = labelled.binary_search(&said.bag).ok().filter(|_| said.probabilities.len() == classes);
            let Some(at) = at else { bail!("a run speaks of bag {} as no run of this study does", said.bag) };
            probabilities[at * classes..(at + 1) * classes].copy_from_slice(&said.probabilities);
        }
        Ranks::new(&probabilities, classes, labels).context("a bag was tested in no fold")
    };
    lines.iter().map(one).collect()
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
    for candidate in &study.candidates {
        let lines = lines(study, grid, runs, (&candidate.name, seeds, device))?;
        for (at, folds) in lines.iter().enumerate() {
            let (repeat, seed) = (at / seeds as usize, at % seeds as usize + 1);
            for (fold, said) in folds.iter().flat_map(|(fold, line)| line.bags.iter().map(move |said| (*fold, said))) {
                let (method, place) = (candidate.name.clone(), [repeat, fold, seed]);
                all.push(OutOfFold { method, place, bag: said.bag, probabilities: said.probabilities.clone() });
            }
        }
    }
    Ok(all)
}
