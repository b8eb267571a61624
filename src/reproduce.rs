//! Experiments of papers, run from data to table.
//!
//! An [`Experiment`] lays out a [`Grid`]: cells in rows and columns, each with the settings that decide its result, what
//! a paper published for it, and a closure from seed to metrics. [`runs::Runs`] does what is missing, seed by seed, and
//! keeps each finished run as a line of a file; [`table::Table`] sets means and spreads beside the published figures.
//!
//! No figure is tuned on the bags it is measured on: epochs and settings are those of the papers, or chosen on
//! validation bags.

pub mod additive;
pub mod assumptions;
pub mod causal;
pub mod certainty;
pub mod classic;
pub mod collage;
pub mod digits;
pub mod fit;
pub mod focus;
pub mod ibmil;
pub mod joined;
mod kept;
pub mod measures;
pub mod mhim;
pub mod mirel;
pub mod mnist_bags;
pub mod runs;
pub mod sets;
pub mod simclr;
pub mod table;
pub mod weak_events;

use crate::device::Device;
use crate::fit::{Persistence, Shelf};
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a run measured, by name; an undefined metric is left out.
pub type Metrics = BTreeMap<String, f64>;

/// A table of a paper that can be computed again.
pub struct Experiment {
    /// Name on the command line and in files.
    pub name: &'static str,
    /// What is measured, as a heading.
    pub title: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// Which data it needs below the data folder, and where they come from; empty when they are shipped.
    pub data: &'static str,
    /// How long it takes, on what.
    pub takes: &'static str,
    /// How runs are trained and judged, where this differs from the paper too; for under the table.
    pub protocol: &'static str,
    /// Seeds unless asked otherwise.
    pub seeds: u64,
    /// Lays out the runs. Reads no data: that is for the closures.
    pub grid: fn(&Options) -> Result<Grid>,
}

/// What a user asked of an experiment.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The folder with the data sets.
    pub data: PathBuf,
    /// A small version, to see that it works; its figures mean little.
    pub quick: bool,
    /// The costly columns too.
    pub full: bool,
}

/// A published figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// The mean.
    pub value: f64,
    /// Its standard deviation, where it was published.
    pub spread: Option<f64>,
    /// Where it stands.
    pub source: String,
}

impl Published {
    /// A mean with its standard deviation, if there is one.
    pub fn new(value: f64, spread: impl Into<Option<f64>>, source: &str) -> Option<Self> {
        Some(Self { value, spread: spread.into(), source: source.into() })
    }
}

/// One run about to be done.
pub struct Task<'a> {
    /// Where to compute.
    pub device: &'a Device,
    /// Decides all that is drawn: data, weights, order, dropout.
    pub seed: u64,
    /// Where its trainings keep how they stand, if they do.
    pub shelf: Option<&'a Shelf>,
    /// The file for the model that it ends with, if that is kept ([`Cell::ends_with_a_model`]).
    pub model: Option<&'a Path>,
}

impl Task<'_> {
    /// For a training of this run.
    pub fn persistence(&self) -> Persistence {
        Persistence { shelf: self.shelf.cloned(), ..Persistence::default() }
    }
}

/// What a run found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// What it measured.
    pub metrics: Metrics,
    /// What it said of bags that it had not seen, where that is kept.
    pub bags: Vec<Predicted>,
    /// The settings that it chose among, where there were several.
    pub tried: Vec<Tried>,
}

impl From<Metrics> for Found {
    fn from(metrics: Metrics) -> Self {
        Self { metrics, ..Self::default() }
    }
}

/// One of several settings that a run chose among, by bags that it was not measured on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// The settings, as they were asked for.
    pub settings: String,
    /// What decides; `None` where it is not defined.
    pub score: Option<f64>,
    /// The log loss on the same bags, or the loss where there are no classes, which decides between equal scores.
    pub log_loss: Option<f64>,
    /// The epoch that was kept.
    pub epoch: u32,
    /// These were taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chosen: bool,
    /// The epochs that it was trained for, where that are not all: others were better by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<u32>,
    /// Why its training came to nothing, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What a run said of a bag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// Its number in the data set.
    pub bag: usize,
    /// The probability of each class; none where there are no classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub probabilities: Vec<f32>,
    /// The number or the risk that was predicted, where there are no classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f32>,
}

impl Predicted {
    /// All that was said: probabilities, or the one value.
    pub fn said(&self) -> &[f32] {
        self.value.as_ref().map_or(&self.probabilities[..], std::slice::from_ref)
    }
}

/// From seed to what is found.
pub type Run = Box<dyn Fn(&Task) -> Result<Found> + Send + Sync>;

/// A row and a column of the table: one setting, run with several seeds.
pub struct Cell {
    /// Name of its row.
    pub row: String,
    /// Name of its column.
    pub column: String,
    /// All that decides the result besides the seed and the device; runs are told apart by it.
    pub settings: Value,
    /// What was published for it.
    pub published: Option<Published>,
    /// One run.
    pub run: Run,
    /// It writes a model where it is asked to.
    pub ends_with_a_model: bool,
}

/// The runs of an experiment.
pub struct Grid {
    /// The metric that the table shows; the others stand in the files.
    pub metric: &'static str,
    /// What rows and columns are.
    pub axes: [&'static str; 2],
    /// Row by row.
    pub cells: Vec<Cell>,
}

impl Grid {
    /// A grid without cells.
    pub fn new(metric: &'static str, axes: [&'static str; 2]) -> Self {
        Self { metric, axes, cells: Vec::new() }
    }

    /// Adds a cell, of which more can be said.
    pub fn cell<F: Into<Found>>(
        &mut self,
        [row, column]: [&str; 2],
        settings: Value,
        published: Option<Published>,
        run: impl Fn(&Task) -> Result<F> + Send + Sync + 'static,
    ) -> &mut Cell {
        let (row, column) = (row.to_owned(), column.to_owned());
        let run: Run = Box::new(move |task| run(task).map(Into::into));
        self.cells.push(Cell { row, column, settings, published, run, ends_with_a_model: false });
        self.cells.last_mut().expect("just put there")
    }
}

/// All experiments.
pub fn all() -> Vec<Experiment> {
    vec![
        digits::EXPERIMENT,
        mnist_bags::BAGS,
        mnist_bags::CLASSES,
        collage::NEAR,
        collage::FAR,
        classic::EXPERIMENT,
        additive::EXPERIMENT,
        mhim::EXPERIMENT,
        ibmil::EXPERIMENT,
        mirel::EXPERIMENT,
        simclr::EXPERIMENT,
        assumptions::EXPERIMENT,
        focus::EXPERIMENT,
        causal::EXPERIMENT,
        certainty::EXPERIMENT,
        weak_events::EXPERIMENT,
    ]
}

/// The experiment called `name`.
///
/// # Errors
/// When there is none; lists those there are.
pub fn named(name: &str) -> Result<Experiment> {
    let names: Vec<&str> = all().iter().map(|e| e.name).collect();
    match all().into_iter().find(|e| e.name == name) {
        Some(experiment) => Ok(experiment),
        None => bail!("there is no experiment {name:?}; there are: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_grid_can_be_laid_out_and_cells_are_told_apart() {
        for experiment in all() {
            for (quick, full) in [(false, false), (true, false), (false, true)] {
                let grid = (experiment.grid)(&Options { data: "absent".into(), quick, full }).unwrap();
                assert!(!grid.cells.is_empty(), "{}", experiment.name);
                let places: HashSet<_> = grid.cells.iter().map(|c| (&c.row, &c.column)).collect();
                assert_eq!(places.len(), grid.cells.len(), "{}: two cells in one place", experiment.name);
                let settings: HashSet<_> = grid.cells.iter().map(|c| c.settings.to_string()).collect();
                assert_eq!(settings.len(), grid.cells.len(), "{}: two cells with the same settings", experiment.name);
            }
        }
        assert!(named("nothing").err().unwrap().to_string().contains("there are: digits"));
    }
}
