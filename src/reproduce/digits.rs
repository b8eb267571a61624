//! The shipped digits: no download, a minute, and the shape of what the larger experiments do.

use super::fit::Fit;
use super::{Experiment, Grid, Options};
use crate::data::Protocol;
use anyhow::Result;
use serde_json::json;

/// Bags of the shipped digits.
pub const EXPERIMENT: Experiment = Experiment {
    name: "digits",
    title: "Bags of the shipped digits",
    paper: "Ours, after the protocol of MNIST-bags (Ilse, Tomczak, Welling 2018)",
    data: "",
    takes: "half a minute on two CPU cores",
    protocol: "Target 9, mean size 10, positive and negative bags in turn, 200 test bags of other images; one layer of \
               64 in front of the pool, no dropout, Adam as for Attention MIL, 30 epochs, the last one taken. Nothing was \
               published for these bags.",
    seeds: 5,
    grid,
};

const METHODS: [(&str, &str, Option<&str>); 6] = [
    ("instance, max", "mi-net", Some("max")),
    ("instance, mean", "mi-net", Some("mean")),
    ("embedding, max", "mi-net-bag", Some("max")),
    ("embedding, mean", "mi-net-bag", Some("mean")),
    ("attention", "attention", None),
    ("gated attention", "gated-attention", None),
];

fn grid(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new("auc", ["method", "training bags"]);
    let (methods, columns, epochs, test) = match options.quick {
        true => (&METHODS[4..], &[30][..], 5, 40),
        false => (&METHODS[..], &[50, 100, 200][..], 30, 200),
    };
    let recipe = Fit::new("attention", json!({}))?.training;
    for &(row, method, pool) in methods {
        for &train in columns {
            let mut settings = json!({ "embed": [64], "dropout": 0.0, "init": "torch" });
            if let Some(pool) = pool {
                settings["pool"] = pool.into();
            }
            let mut fit = Fit::new(method, settings)?;
            fit.training = recipe.clone();
            fit.training.epochs = epochs;
            let key = fit.settings(json!({ "generator": "digits-bags", "train": train, "test": test }))?;
            grid.cell([row, &train.to_string()], key, None, move |task| {
                let set = Protocol { train, test, seed: task.seed, ..Protocol::digits() }.digits_bags()?;
                fit.run(task.device, &set, task.seed)
            });
        }
    }
    Ok(grid)
}
