//! The shipped digits: no download, a minute, and the shape of what the larger experiments do.

use super::fit::Fit;
use super::{Experiment, Grid, Options};
use crate::data::Protocol;
use crate::training::Settings;
use anyhow::Result;
use serde_json::{Value, json};

/// Bags of the shipped digits.
pub const EXPERIMENT: Experiment = Experiment {
    name: "digits",
    title: "Bags of the shipped digits",
    paper: "Ours, after the protocol of MNIST-bags (Ilse, Tomczak, Welling 2018)",
    data: "",
    takes: "two minutes on two CPU cores",
    protocol: "Target 9, mean size 10, positive and negative bags in turn, 200 test bags of other images; one layer of \
               64 in front of the pool (TransMIL: width 64, 4 heads, 8 landmarks, 7 taps), no dropout, Adam as for \
               Attention MIL, 30 epochs, the last one taken. Nothing was published for these bags.",
    seeds: 5,
    grid,
};

/// Rows with their method and what differs from its defaults.
fn rows() -> Vec<(&'static str, &'static str, Value)> {
    let plain = json!({ "embed": [64], "dropout": 0.0, "init": "torch" });
    let pooled = |pool: &str| {
        let mut settings = plain.clone();
        settings["pool"] = pool.into();
        settings
    };
    let transformer = json!({ "width": 64, "heads": 4, "landmarks": 8, "residual": 7, "dropout": 0.0 });
    vec![
        ("instance, max", "mi-net", pooled("max")),
        ("instance, mean", "mi-net", pooled("mean")),
        ("embedding, max", "mi-net-bag", pooled("max")),
        ("embedding, mean", "mi-net-bag", pooled("mean")),
        ("attention", "attention", plain.clone()),
        ("gated attention", "gated-attention", plain.clone()),
        ("DSMIL", "dsmil", plain),
        ("TransMIL", "transmil", transformer),
    ]
}

fn grid(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new("auc", ["method", "training bags"]);
    let (methods, columns, epochs, test) = match options.quick {
        true => (4..6, &[30][..], 5, 40),
        false => (0..rows().len(), &[50, 100, 200][..], 30, 200),
    };
    let recipe = Fit::new("attention", json!({}))?.training;
    for (row, method, settings) in &rows()[methods] {
        for &train in columns {
            let mut fit = Fit::new(method, settings.clone())?;
            fit.training = Settings { epochs, ..recipe.clone() };
            let key = fit.settings(json!({ "generator": "digits-bags", "train": train, "test": test }))?;
            grid.cell([row, &train.to_string()], key, None, move |task| {
                let set = Protocol { train, test, seed: task.seed, ..Protocol::digits() }.digits_bags()?;
                fit.run(task, &set, task.seed)
            });
        }
    }
    Ok(grid)
}
