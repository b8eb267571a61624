//! One key instance in a hundred, from few bags, after the evaluation of Certainty Pooling (Gildenblat and others 2020).

use super::fit::Fit;
use super::{Experiment, Grid, Options};
use crate::data::Haystack;
use crate::training::Settings;
use anyhow::Result;
use serde_json::{Value, json};

/// Bags of 100 digits, with one 9 or none.
pub const EXPERIMENT: Experiment = Experiment {
    name: "certainty",
    title: "One 9 among a hundred digits",
    paper: "Ours, after Gildenblat, Ben-Shaul, Lapp, Klaiman: Certainty Pooling for Multiple Instance Learning, 2020 (arXiv \
            2008.10548), who draw such bags of MNIST",
    data: "",
    takes: "a few minutes a seed on two CPU cores",
    protocol: "Bags of 100 of the shipped digits of 8 x 8, not of MNIST; positive ones, every second, have one 9. 200 test bags \
               of other images. One layer of 64 and dropout of 0.5 in front of every pool, Adam as for Attention MIL, 30 \
               epochs, the last one taken; 50 passes. The paper's figures are of MNIST, so there are none beside ours.",
    seeds: 3,
    grid,
};

fn rows() -> [(&'static str, &'static str, Value); 4] {
    [
        ("certainty", "certainty-pooling", json!({})),
        ("instance, max", "mi-net", json!({ "pool": "max" })),
        ("instance, mean", "mi-net", json!({ "pool": "mean" })),
        ("attention", "attention", json!({})),
    ]
}

fn grid(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new("auc", ["pool", "training bags"]);
    let (columns, epochs, test) = match options.quick {
        true => (&[20][..], 2, 20),
        false => (&[50, 100, 200, 300][..], 30, 200),
    };
    let recipe = Fit::new("attention", json!({}))?.training;
    for (row, method, of_pool) in rows() {
        let mut settings = json!({ "embed": [64], "dropout": 0.5, "init": "torch" });
        for (name, value) in of_pool.as_object().into_iter().flatten() {
            settings[name] = value.clone();
        }
        for &train in columns {
            let mut fit = Fit::new(method, settings.clone())?;
            fit.training = Settings { epochs, ..recipe.clone() };
            let data = json!({ "generator": "digits-haystack", "size": 100, "keys": 1, "train": train, "test": test });
            let key = fit.settings(data)?;
            grid.cell([row, &train.to_string()], key, None, move |task| {
                // Of a hundred that is one.
                let share = [0.01; 2];
                let haystack = Haystack { size: [100; 2], share, train, test, seed: task.seed, ..Haystack::default() };
                fit.run(task, &haystack.digits()?, task.seed)
            });
        }
    }
    Ok(grid)
}
