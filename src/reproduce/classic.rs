//! The classic collections: Musk1, Musk2, Elephant, and where a user brings them Fox and Tiger.

use super::fit::{Fit, Peeks};
use super::{Experiment, Grid, Metrics, Options, Published, Task, sets};
use crate::data::{Dataset, Partition};
use crate::ops::schedule::Schedule;
use crate::ops::update::Optimiser;
use anyhow::Result;
use serde_json::{Value, json};

/// Ten-fold cross-validation.
pub const EXPERIMENT: Experiment = Experiment {
    name: "classic",
    title: "The classic collections",
    paper: "Wang and others: Revisiting Multiple Instance Neural Networks, 2018 (arXiv 1610.02501); Ilse and others 2018 \
            (arXiv 1802.04712); Li and others 2021 (arXiv 2011.08939); Shi and others: Loss-Based Attention, 2020; Yan and others: \
            Dynamic Pooling, 2018; Tu and others 2019 (arXiv 1906.04881)",
    data: "classic/musk1.csv, musk2.csv and elephant.csv (tools/fetch_data classic), or folders of these names; fox and \
           tiger with --full",
    takes: "two hours on two CPU cores",
    protocol: "Ten-fold cross-validation; a seed is a repeat: it draws the folds (stratified; those of the data set where \
               it has its own), weights and order, and its accuracy is over all bags, each tested once. In the first rows of a \
               set, features are z-scored by the training bags of each fold, and the last epoch is taken. \"As published\" are \
               the same fits under the rules of the papers, which let the test bags decide: features are z-scored by all bags; \
               DSMIL and Loss-Attention take the epoch with the most accurate answers for the test bags of each fold, DSMIL \
               also their best threshold. What the second rows are above the first is what these rules are worth, and no \
               result. Settings: the four networks and the two attentions SGD with Nesterov momentum 0.9, \
               learning rate and weight penalty of the papers for each set, 50 and 100 epochs; DSMIL Adam (0.5, 0.9), \
               2e-4 falling along a cosine over 40 epochs, weight decay 5e-3; Loss-Attention, DP-MINN and GNN-MIL as by \
               default, since only the first of these papers has a recipe for these sets.",
    seeds: 5,
    grid,
};

const NETWORKS: &str =
    "means of 5 repeats of 10-fold cross-validation, as quoted by GNN-MIL (2019) and Loss-Attention (2020)";
const DUAL: &str = "Li and others 2021, quoted from notes on the paper; the best epoch and threshold of each test fold";

const LOSS_ATTENTION: &str = "Shi and others 2020; the best epoch of each test fold";
const DYNAMIC: &str = "Yan and others 2018, recalled from quotations of the paper";
const GRAPHS: &str = "Tu and others 2019";

/// Learning rate, weight penalty, and what was published for the methods.
type Set = (&'static str, f64, f32, [f64; METHODS.len()]);

const SETS: [Set; 5] = [
    ("musk1", 5e-4, 0.005, [0.889, 0.887, 0.894, 0.898, 0.892, 0.900, 0.932, 0.917, 0.907, 0.917]),
    ("musk2", 5e-4, 0.03, [0.858, 0.859, 0.874, 0.873, 0.858, 0.863, 0.930, 0.911, 0.926, 0.892]),
    ("elephant", 1e-4, 0.005, [0.858, 0.862, 0.872, 0.857, 0.868, 0.857, 0.925, 0.900, 0.894, 0.903]),
    ("fox", 1e-4, 0.01, [0.613, 0.622, 0.630, 0.619, 0.615, 0.603, 0.729, 0.712, 0.655, 0.679]),
    ("tiger", 5e-4, 0.005, [0.824, 0.830, 0.845, 0.836, 0.839, 0.845, 0.869, 0.897, 0.897, 0.876]),
];

const METHODS: [&str; 10] = [
    "mi-net",
    "mi-net-bag",
    "mi-net-ds",
    "mi-net-rc",
    "attention",
    "gated-attention",
    "dsmil",
    "loss-attention",
    "dp-minn",
    "gnn-mil",
];
const FOLDS: usize = 10;

fn fit(method: &str, rate: f64, penalty: f32) -> Result<Fit> {
    let mut fit = Fit::new(method, json!({}))?;
    fit.standardise = true;
    let training = &mut fit.training;
    match method {
        "dsmil" => training.schedule = Schedule::CosineEpochs { floor: 0.0 },
        "loss-attention" | "dp-minn" | "gnn-mil" => {}
        _ => (training.learning_rate, training.optimiser) = (rate, Optimiser::nesterov(0.9, penalty)),
    }
    Ok(fit)
}

/// Each bag tested once.
fn validate(fit: &Fit, set: &Dataset, folds: usize, task: &Task) -> Result<Metrics> {
    let (drawn, repeat) = sets::folds(set, folds, task.seed as usize - 1)?;
    let mut set = set.clone();
    set.folds = Some(drawn);
    let mut sums = Metrics::new();
    let count = set.folds.as_ref().map_or(0, |f| f.count(repeat));
    for fold in 0..count {
        let split = set.partition(&Partition::Fold { repeat, fold })?;
        let tested = split.iter().filter(|s| **s == crate::data::Split::Test).count();
        set.split = Some(split);
        let found = fit.run(task, &set, task.seed * 1000 + fold as u64)?;
        // Weighted by bags: a fold of nine counts less than one of ten.
        *sums.entry("accuracy".into()).or_default() += found["accuracy"] * tested as f64 / set.bags.len() as f64;
    }
    sums.insert("folds".into(), count as f64);
    Ok(sums)
}

fn grid(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new("accuracy", ["data", "method"]);
    let data = [options.data.join("classic"), options.data.clone()];
    let sets = if options.full { 5 } else { 3 };
    for &(name, rate, penalty, published) in &SETS[..if options.quick { 1 } else { sets }] {
        let folder = &data[usize::from(!data[0].is_dir())];
        let set = sets::collection(folder, name);
        let own = sets::has_folds(folder, name);
        for (method, published) in METHODS.into_iter().zip(published) {
            let mut fit = fit(method, rate, penalty)?;
            let mut folds = FOLDS;
            if options.quick {
                (fit.training.epochs, folds) = (5, 3);
            }
            let source = match method {
                "dsmil" => DUAL,
                "loss-attention" => LOSS_ATTENTION,
                "dp-minn" => DYNAMIC,
                "gnn-mil" => GRAPHS,
                _ => NETWORKS,
            };
            let published = if options.quick { None } else { Published::new(published, None, source) };
            let described: Value = json!({ "set": name, "folds": folds, "own folds": own });
            let (threshold, epoch) = (method == "dsmil", matches!(method, "dsmil" | "loss-attention"));
            let peeks = Peeks { scales: true, epoch, threshold };
            for (row, peeks) in [(method.to_owned(), None), (format!("{method}, as published"), Some(peeks))] {
                let fit = Fit { peeks, ..fit.clone() };
                let (settings, set) = (fit.settings(described.clone())?, set.clone());
                let row = [name, row.as_str()];
                grid.cell(row, settings, published.clone(), move |task| validate(&fit, set.get()?, folds, task));
            }
        }
    }
    Ok(grid)
}
