//! What the fits of a study said of bags that they had not seen, put together.

use super::{Study, column};
use crate::metrics::{Placements, Ranks};
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
    /// `[bags, classes]`.
    pub probabilities: Vec<f32>,
    /// Of each bag.
    pub labels: Vec<u32>,
    classes: usize,
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
        let classes = study.set.bags.classes();
        let one = |folds: &Vec<(usize, &Line)>| {
            let mut of_bag: Vec<Option<&[f32]>> = vec![None; labelled.len()];
            for said in folds.iter().flat_map(|(_, line)| &line.bags) {
                let at = labelled.binary_search(&said.bag).ok().filter(|_| said.probabilities.len() == classes);
                let Some(at) = at else { bail!("a run speaks of bag {} as no run of this study does", said.bag) };
                of_bag[at] = Some(&said.probabilities);
            }
            let bags: Vec<usize> = (0..labelled.len()).filter(|&at| of_bag[at].is_some()).collect();
            let label = |&at: &usize| study.set.bags.label(labelled[at]).context("a bag lost its label");
            Ok(Pool {
                labels: bags.iter().map(label).collect::<Result<_>>()?,
                probabilities: of_bag.into_iter().flatten().flatten().copied().collect(),
                bags,
                classes,
            })
        };
        self.of.iter().map(one).collect()
    }
}

impl Pool {
    /// Their order.
    pub fn ranks(&self) -> Option<Ranks> {
        Ranks::of_some(&self.probabilities, self.classes, &self.labels, &self.bags)
    }

    /// The structural components of the AUC of two classes.
    pub fn placements(&self) -> Option<Placements> {
        let scores: Vec<f32> = self.probabilities.iter().skip(1).step_by(2).copied().collect();
        let positive: Vec<bool> = self.labels.iter().map(|label| *label == 1).collect();
        Placements::of(&scores, &positive).filter(|_| self.classes == 2)
    }
}
