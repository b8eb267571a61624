//! Additive MIL (Javed and others 2022) and MILLET's pools (Early and others 2024): what an instance contributed finds key
//! instances better than where attention looked.

use super::fit::Fit;
use super::measures::{self, Measure, SHOWN};
use super::{Experiment, Grid, Options};
use crate::data::Protocol;
use crate::training::Settings;
use anyhow::Result;
use serde_json::{Value, json};

/// Contributions and attention on bags of the shipped digits.
pub const EXPERIMENT: Experiment = Experiment {
    name: "additive",
    title: "Contributions and attention as maps of instances",
    paper: "Javed and others: Additive MIL, NeurIPS 2022 (arXiv 2206.01794); Early and others: MILLET, ICLR 2024 (arXiv \
            2311.10049)",
    data: "",
    takes: "five minutes on two CPU cores",
    protocol: "Bags of the shipped digits, target 9, of 10 and of 50 instances in the mean, 200 training and 200 test bags of \
               other images, positive and negative bags in turn; one layer of 64 in front of everything, no dropout, no \
               places; Adam, learning rate 5e-4, weight decay 1e-4, one bag an update, 30 epochs, the last one taken, alike \
               for all rows. Instances are scored by attention before its softmax, by contributions, or by what the map \
               of the pool is. AUC-PR over the instances of all test bags; NDCG@n is the mean over bags with key \
               instances. The papers' slides and series are not at hand, and nothing was published for these bags; on \
               Camelyon16 the paper of Additive MIL has AUC-PR 0.47 for contributions beside 0.36 for attention.",
    seeds: 5,
    grid,
};

const MEASURES: [Measure; 4] = [
    ("bag AUC", "auc"),
    ("instance AUC-PR", "instance_auc_pr"),
    ("instance AUC", "instance_auc"),
    ("NDCG@n", "instance_ndcg"),
];

/// Rows with their method and what differs from its defaults.
fn rows() -> Vec<(&'static str, &'static str, Value)> {
    let millet = |pool: &str| json!({ "pool": pool, "positions": false });
    vec![
        ("attention", "attention", json!({})),
        ("additive", "additive", json!({})),
        ("additive, mean", "additive", json!({ "pool": "mean" })),
        ("additive, no batch norm, no bias", "additive", json!({ "batch_norm": false, "bias": false })),
        ("conjunctive", "millet", millet("conjunctive")),
        ("MILLET additive", "millet", millet("additive")),
        ("MILLET instance", "millet", millet("instance")),
        ("MILLET attention", "millet", millet("attention")),
        ("GAP", "millet", millet("gap")),
    ]
}

fn grid(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new(SHOWN, ["method, mean size of a bag", "measure"]);
    let (methods, sizes, train, test, epochs) = match options.quick {
        true => (0..2, &[10.0][..], 30, 40, 5),
        false => (0..rows().len(), &[10.0, 50.0][..], 200, 200, 30),
    };
    let recipe = Fit::new("attention", json!({}))?.training;
    for &mean in sizes {
        for (row, method, mut settings) in rows().drain(..).skip(methods.start).take(methods.len()) {
            (settings["embed"], settings["dropout"]) = (json!([64]), 0.0.into());
            let mut fit = Fit::new(method, settings)?;
            fit.training = Settings { epochs, ..recipe.clone() };
            let key =
                fit.settings(json!({ "generator": "digits-bags", "mean": mean, "train": train, "test": test }))?;
            let name = format!("{row}, {mean}");
            measures::row(
                &mut grid,
                &name,
                &key,
                &MEASURES,
                |_| None,
                move |task| {
                    let protocol =
                        Protocol { train, test, mean, spread: mean / 5.0, seed: task.seed, ..Protocol::digits() };
                    fit.run(task, &protocol.digits_bags()?, task.seed)
                },
            );
        }
    }
    Ok(grid)
}
