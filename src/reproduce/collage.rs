//! MNIST-COLLAGE and its inverse (DAS-MIL, Wölflein and others 2023): bags that only the places of digits tell apart.

use super::fit::Fit;
use super::{Experiment, Grid, Options, Published, sets};
use crate::data::Collage;
use crate::ops::update::Optimiser;
use anyhow::Result;
use serde_json::{Value, json};

const PAPER: &str = "Wölflein, Magister, Liò, Harrison, Arandjelović: Deep Multiple Instance Learning with \
                     Distance-Aware Self-Attention, 2023 (arXiv 2305.10552)";
const TABLE: &str = "Wölflein and others 2023, test accuracy over 5 seeds of weights and one drawing of the data; their \
                     settings were searched by test accuracy";
const PROTOCOL: &str = "300 training and 100 test bags, half of them positive; a seed draws bags, weights and order. The \
                        authors' encoder (`lenet-small`, dropout 0.1 and 0.5), AdamW, one bag an update, 50 epochs, the \
                        last one taken; learning rate, weight decay and widths of each row are those of the paper, and so \
                        are the dropout of 0.1 on the attention matrix of the first two rows and the ten bins of \
                        \"discrete\". Where we differ: \"absolute\" is a learned encoding of two layers, the published \
                        figure is that of Fourier features.";

/// A pair near each other.
pub const NEAR: Experiment = Experiment {
    name: "mnist-collage",
    title: "MNIST-COLLAGE",
    paper: PAPER,
    data: sets::MNIST,
    takes: "10 minutes on two CPU cores",
    protocol: PROTOCOL,
    seeds: 5,
    grid: |options| grid(options, false),
};

/// A pair far apart.
pub const FAR: Experiment =
    Experiment { name: "mnist-collage-inv", title: "MNIST-COLLAGE-INV", grid: |options| grid(options, true), ..NEAR };

/// Row, method, its settings, learning rate, weight decay, what was published for both experiments.
type Row = (&'static str, &'static str, Value, f64, f32, [f64; 2]);

fn rows() -> [Row; 6] {
    [
        ("DAS-MIL", "das-mil", json!({ "position": "distance", "attention_dropout": 0.1 }), 1e-3, 0.01, [0.958, 0.906]),
        (
            "DAS-MIL, discrete",
            "das-mil",
            json!({ "position": "discrete", "attention_dropout": 0.1, "bins": 10 }),
            1e-4,
            0.1,
            [0.926, 0.846],
        ),
        (
            "DAS-MIL, absolute",
            "das-mil",
            json!({ "position": "absolute", "attention_dropout": 0 }),
            1e-3,
            0.1,
            [0.820, 0.808],
        ),
        (
            "DAS-MIL, no position",
            "das-mil",
            json!({ "position": "none", "attention_dropout": 0 }),
            1e-3,
            0.1,
            [0.848, 0.786],
        ),
        ("max pool", "mi-net-bag", json!({ "init": "torch" }), 1e-4, 0.01, [0.828, 0.788]),
        ("attention", "attention", json!({ "attention": 15 }), 1e-4, 1e-3, [0.740, 0.692]),
    ]
}

/// Standard deviations of DAS-MIL itself; the paper's others are not at hand.
const SPREADS: [f64; 2] = [0.013, 0.034];

fn grid(options: &Options, inverse: bool) -> Result<Grid> {
    let mut grid = Grid::new("accuracy", ["method", "bags"]);
    let pools = sets::mnist(&options.data);
    let (train, test, epochs) = if options.quick { (60, 40, 2) } else { (300, 100, 50) };
    for (at, (row, method, mut settings, rate, decay, published)) in rows().into_iter().enumerate() {
        settings["embedder"] = "lenet-small".into();
        settings["dropout"] = 0.5.into();
        let fit = Fit::new(method, settings)?.trained(|t| {
            (t.optimiser, t.learning_rate, t.epochs) = (Optimiser::adamw(decay), rate, epochs);
        });
        let which = usize::from(inverse);
        let published = match options.quick {
            false => Published::new(published[which], (at == 0).then_some(SPREADS[which]), TABLE),
            true => None,
        };
        let collage = Collage { inverse, train, test, ..Collage::default() };
        let data = json!({ "generator": "mnist-collage", "inverse": inverse, "train": train, "test": test });
        let (settings, pools) = (fit.settings(data)?, pools.clone());
        grid.cell([row, &format!("{train} + {test}")], settings, published, move |task| {
            let [train_images, test_images] = pools.get()?;
            let collage = Collage { seed: task.seed, ..collage.clone() };
            fit.run(task, &collage.bags(train_images, test_images, "mnist-collage")?, task.seed)
        });
    }
    Ok(grid)
}
