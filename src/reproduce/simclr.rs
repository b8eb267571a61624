//! What pretraining gives: DSMIL's first half (Li, Li, Eliceiri 2021) against its two references, on textures.

use super::fit::Fit;
use super::kept::Kept;
use super::{Experiment, Grid, Options};
use crate::data::{Split, Textures, split};
use crate::methods::encoder::{self, Objective};
use crate::metrics::Metric;
use crate::pretrain::{self, Augmentation, embed, pretrain_on};
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Features from three encoders, each under two pools.
pub const EXPERIMENT: Experiment = Experiment {
    name: "simclr",
    title: "Features by contrast, by labels of patches, and from an encoder as it starts",
    paper: "Ours, after DSMIL (Li, Li, Eliceiri 2021, arXiv 2011.08939)",
    data: "",
    takes: "two to three minutes a seed on two CPU cores",
    protocol: "Bags of textures (200 to train with, 200 to test, 20 patches of 32 x 32 each, a tenth of those of a positive bag \
               with the key pattern); a seed draws bags, weights, order and views. The small encoder is pretrained on the \
               patches of the training bags, 40 epochs, the one with the lowest loss of a held-out tenth kept; or it is left \
               as it starts. Features are z-scored, and both methods trained as the authors of DSMIL train classical MIL \
               (Adam, rate 0.0002, one bag an update), 60 epochs, the one with the lowest loss of a held-out fifth of the \
               training bags kept. Nothing was published for these bags.",
    seeds: 3,
    grid,
};

/// Share of the training bags that chooses the epoch of the bags' model.
const HELD: f64 = 0.2;

fn grid(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new("auc", ["features", "method"]);
    let rows: [(&str, Objective, u32); 3] = [
        ("contrast (SimCLR)", Objective::Contrast, 40),
        ("labels of patches", Objective::Classes, 40),
        ("as it starts", Objective::None, 0),
    ];
    let textures = match options.quick {
        true => Textures { train: 12, test: 8, mean: 6.0, ..Textures::default() },
        false => Textures { train: 200, test: 200, ..Textures::default() },
    };
    let linear = |mut fit: Fit| {
        fit.standardise = true;
        fit.trained(|t| {
            (t.epochs, t.monitor) = (if options.quick { 3 } else { 60 }, Metric::LogLoss);
        })
    };
    let dsmil = linear(Fit::new("dsmil", json!({}))?);
    // As DSMIL's first stream alone: a linear classifier of instances, trained in the same way.
    let mut max = linear(Fit::new("mi-net", json!({ "embed": [], "dropout": 0.0, "init": "torch" }))?);
    max.training = dsmil.training.clone();
    // Features of a row and seed, for all of its columns.
    let kept = Kept::new(8);
    for (row, objective, epochs) in rows {
        let network = encoder::Encoder { objective, ..encoder::Encoder::default() };
        let settings = pretrain::Settings {
            epochs: if options.quick { epochs.min(2) } else { epochs },
            batch: 64,
            learning_rate: 3e-3,
            // Patches are small: a crop of less than this has no whole period of a pattern.
            augmentation: Augmentation { area: [0.4, 1.0], ..Augmentation::default() },
            ..pretrain::Settings::default()
        };
        for (column, fit) in [("DSMIL", &dsmil), ("max pool", &max)] {
            let mut pretraining = serde_json::to_value(&settings)?;
            pretraining.as_object_mut().context("settings are an object")?.remove("seed");
            let data = json!({ "generator": "textures", "train": textures.train, "test": textures.test,
                               "mean": textures.mean, "encoder": network, "pretraining": pretraining, "held": HELD });
            let key: Value = fit.settings(data)?;
            let (textures, network, settings) = (textures.clone(), network.clone(), settings.clone());
            let (fit, kept) = (fit.clone(), kept.clone());
            grid.cell([row, column], key, None, move |task| {
                let set = kept.get((row, task.seed), || {
                    let patches = Textures { seed: task.seed, ..textures.clone() }.patches()?;
                    let settings = pretrain::Settings { seed: task.seed, ..settings.clone() };
                    let persistence = task.persistence();
                    let encoder =
                        pretrain_on(task.device, network.clone(), &settings, &patches, &mut (), persistence)?.model;
                    let mut set = embed(task.device, &encoder, &patches, 256, &mut |_| ())?;
                    let labels = set.bags.labels.clone().context("textures have labels")?;
                    let parts: &mut Vec<Split> = set.split.as_mut().context("textures have test bags")?;
                    split::hold_out(parts, &labels, None, HELD, task.seed)?;
                    Ok(set)
                })?;
                fit.run(task, &set, task.seed)
            });
        }
    }
    Ok(grid)
}
