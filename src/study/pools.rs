//! What the fits of a study said of bags that they had not seen, put together.

use super::{Kind, Study, column};
use crate::metrics::Placements;
use crate::reproduce::Grid;
use crate::reproduce::runs::{Line, Runs};
use anyhow::{Context, Result, bail};

/// The fits of a method, for each division and seed those of its folds.
pub(super) struct Fits<'a> {
    of: Vec<Vec<(usize, &'a Line)>>,
    seeds: u64,
}

/// Predictions of one division and seed, each bag once at most.
pub(super) struct Pool {
    /// Places of the bags among those with a label.
    pub bags: Vec<usize>,
    /// The fold that tested each.
    pub folds: Vec<usize>,
    /// What was said, `[bags, width]`: a probability of each class, or the one value.
    pub said: Vec<f32>,
    /// Numbers said of a bag.
    pub width: usize,
    /// The class of each, where bags have one.
    pub labels: Vec<u32>,
}

impl<'a> Fits<'a> {
    /// # Errors
    /// When one is missing.
    pub fn of(study: &Study, grid: &Grid, runs: &'a Runs, (name, seeds, device): (&str, u64, &str)) -> Result<Self> {
        let mut all = Vec::new();
        for repeat in 0..study.folds.repeats() {
            for seed in 1..=seeds {
                let of = |fold: usize| {
                    let place = column(repeat, fold);
                    let cell = grid.cells.iter().find(|cell| cell.row == name && cell.column == place);
                    let line = cell.and_then(|cell| runs.get(cell, seed, device));
                    line.map(|line| (fold, line))
                        .with_context(|| format!("{name}: fold {place}, seed {seed} has not run"))
                };
                all.push((0..study.folds.count(repeat)).map(of).collect::<Result<Vec<_>>>()?);
            }
        }
        Ok(Self { of: all, seeds })
    }

    /// Division, fold and seed of each, with its line.
    pub fn placed(&self) -> Vec<([usize; 3], &'a Line)> {
        let seeds = self.seeds as usize;
        let of = |(at, folds): (usize, &Vec<(usize, &'a Line)>)| {
            folds.iter().map(move |&(fold, line)| ([at / seeds, fold, at % seeds + 1], line)).collect::<Vec<_>>()
        };
        self.of.iter().enumerate().flat_map(of).collect()
    }

    /// The predictions of each division and seed, of all its folds together; `labelled` are the bags with a label.
    ///
    /// # Errors
    /// For lines of another study.
    pub fn pools(&self, study: &Study, labelled: &[usize]) -> Result<Vec<Pool>> {
        let bags = &study.set.bags;
        let kind = Kind::of(bags);
        let width = if kind.has_classes() { bags.classes() } else { 1 };
        let one = |folds: &Vec<(usize, &Line)>| {
            let mut of_bag: Vec<Option<(usize, &[f32])>> = vec![None; labelled.len()];
            for (fold, said) in folds.iter().flat_map(|(fold, line)| line.bags.iter().map(move |said| (*fold, said))) {
                let at = labelled.binary_search(&said.bag).ok().filter(|_| said.said().len() == width);
                let Some(at) = at else { bail!("a run speaks of bag {} as no run of this study does", said.bag) };
                of_bag[at] = Some((fold, said.said()));
            }
            let places: Vec<usize> = (0..labelled.len()).filter(|&at| of_bag[at].is_some()).collect();
            let label = |&at: &usize| bags.label(labelled[at]).context("a bag lost its label");
            let known = || of_bag.iter().flatten();
            Ok(Pool {
                labels: match kind {
                    Kind::Classes => places.iter().map(label).collect::<Result<_>>()?,
                    _ => Vec::new(),
                },
                folds: known().map(|(fold, _)| *fold).collect(),
                said: known().flat_map(|(_, said)| *said).copied().collect(),
                bags: places,
                width,
            })
        };
        self.of.iter().map(one).collect()
    }
}

impl Pool {
    /// The structural components of the AUC of two classes; `groups` are those of the bags with a label.
    pub fn placements(&self, groups: &[String]) -> Option<Placements> {
        if self.width != 2 || self.labels.is_empty() {
            return None;
        }
        let scores: Vec<f32> = self.said.iter().skip(1).step_by(2).copied().collect();
        let positive: Vec<bool> = self.labels.iter().map(|label| *label == 1).collect();
        let groups: Vec<String> = self.bags.iter().map(|&at| groups[at].clone()).collect();
        Placements::of_groups(&scores, &positive, &groups)
    }
}
