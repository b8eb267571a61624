//! MNIST-bags of Attention MIL (Ilse, Tomczak, Welling 2018): which digit a bag holds, from few bags.

use super::fit::Fit;
use super::{Experiment, Grid, Options, Published, sets};
use crate::data::{ClassBags, Protocol};
use crate::training::Settings;
use anyhow::Result;
use serde_json::{Value, json};

/// With or without a 9.
pub const BAGS: Experiment = Experiment {
    name: "mnist-bags",
    title: "MNIST-bags",
    paper: "Ilse, Tomczak, Welling: Attention-based Deep Multiple Instance Learning, ICML 2018 (arXiv 1802.04712)",
    data: sets::MNIST,
    takes: "20 minutes on two CPU cores; with --full (300 to 500 training bags) three times as long",
    protocol: "Target 9, mean size 10, positive and negative bags in turn, 1000 test bags; a seed draws training bags, \
               test bags, weights and order. LeNet in front of every pool, end to end from pixels; Adam with learning \
               rate 5e-4 and weight decay 1e-4, one bag an update, 20 epochs, the last one taken, as in the authors' \
               program. The published figures are means of 50 runs, without a spread. \"instance, mean\" is the mean of \
               the instances' probabilities, as in mi-Net; the published row of that name is within 0.01 of \"embedding, \
               mean\", as a mean of logits would be, which is the same model.",
    seeds: 5,
    grid: bags,
};

/// Which of three digits a bag holds, or none.
pub const CLASSES: Experiment = Experiment {
    name: "mnist-bags-multiclass",
    title: "MNIST-bags of four classes",
    paper: "Shi, Xing, Xie, Zhang, Liu, Zhang: Loss-based Attention for Deep Multiple Instance Learning, AAAI 2020",
    data: sets::MNIST,
    takes: "15 minutes on two CPU cores",
    protocol: "Classes none, 3, 5 and 9, a bag holds one of these digits at most, mean size 10, 1000 test bags; a seed \
               draws training bags, test bags, weights and order. LeNet, Adam with learning rate 5e-4 and weight decay \
               1e-4, one bag an update, 20 epochs, the last one taken. Softmax over the four classes; \"instance, max\" \
               has a sigmoid a class here.",
    seeds: 5,
    grid: classes,
};

const SIZES: [usize; 4] = [50, 100, 150, 200];
const MORE: [usize; 3] = [300, 400, 500];

const TABLE: &str = "Shi and others, AAAI 2020 (Loss-Attention), table 2: their runs of the methods, 50 each";
const CLASS_TABLE: &str = "Shi and others, AAAI 2020 (Loss-Attention), the table of multi-class MNIST-bags";

/// Name of the row, method, pool, published at [`SIZES`].
type Row = (&'static str, &'static str, Option<&'static str>, [f64; 4]);

const BAG_ROWS: [Row; 6] = [
    ("instance, max", "mi-net", Some("max"), [0.904, 0.947, 0.952, 0.954]),
    ("instance, mean", "mi-net", Some("mean"), [0.800, 0.851, 0.913, 0.939]),
    ("embedding, max", "mi-net-bag", Some("max"), [0.805, 0.943, 0.962, 0.975]),
    ("embedding, mean", "mi-net-bag", Some("mean"), [0.794, 0.847, 0.904, 0.934]),
    ("attention", "attention", None, [0.858, 0.901, 0.942, 0.961]),
    ("gated attention", "gated-attention", None, [0.869, 0.912, 0.966, 0.968]),
];

const CLASS_ROWS: [Row; 4] = [
    ("instance, max", "mi-net", Some("max"), [0.477, 0.750, 0.846, 0.887]),
    ("embedding, max", "mi-net-bag", Some("max"), [0.635, 0.796, 0.879, 0.918]),
    ("attention", "attention", None, [0.753, 0.885, 0.923, 0.938]),
    ("gated attention", "gated-attention", None, [0.720, 0.869, 0.911, 0.930]),
];

/// The method of a row in front of whose pool stands LeNet, trained as the authors do.
fn fit((_, method, pool, _): &Row, epochs: u32) -> Result<Fit> {
    let mut settings = json!({ "embedder": "lenet", "embed": [], "dropout": 0.0, "init": "torch" });
    if let Some(pool) = pool {
        settings["pool"] = Value::from(*pool);
    }
    let training = Settings { epochs, ..Fit::new("attention", json!({}))?.training };
    Ok(Fit { training, ..Fit::new(method, settings)? })
}

/// Calls `add` with each row, its published figure, the training and test bags, and the epochs.
fn lay_out(
    rows: &[Row],
    source: &str,
    options: &Options,
    mut add: impl FnMut(&Row, Option<Published>, [usize; 2], u32) -> Result<()>,
) -> Result<()> {
    let more = if options.full { &MORE[..] } else { &[] };
    for row in rows {
        for (at, &train) in SIZES.iter().chain(more).enumerate() {
            let published = row.3.get(at).and_then(|&value| Published::new(value, None, source));
            match options.quick {
                false => add(row, published, [train, 1000], 20)?,
                // Figures of fewer test bags and epochs stand beside nothing.
                true if at == 0 => add(row, None, [train, 100], 3)?,
                true => (),
            }
        }
    }
    Ok(())
}

fn bags(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new("auc", ["method", "training bags"]);
    let pools = sets::mnist(&options.data);
    lay_out(&BAG_ROWS, TABLE, options, |row, published, [train, test], epochs| {
        let (fit, pools) = (fit(row, epochs)?, pools.clone());
        let settings = fit.settings(json!({ "generator": "mnist-bags", "train": train, "test": test }))?;
        grid.cell([row.0, &train.to_string()], settings, published, move |task| {
            let [train_images, test_images] = pools.get()?;
            let protocol = Protocol { train, test, seed: task.seed, ..Protocol::mnist() };
            fit.run(task, &protocol.bags(train_images, test_images, "mnist-bags")?, task.seed)
        });
        Ok(())
    })?;
    Ok(grid)
}

fn classes(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new("accuracy", ["method", "training bags"]);
    let pools = sets::mnist(&options.data);
    lay_out(&CLASS_ROWS, CLASS_TABLE, options, |row, published, [train, test], epochs| {
        let (fit, pools) = (fit(row, epochs)?, pools.clone());
        let settings = fit.settings(json!({ "generator": "mnist-classes", "train": train, "test": test }))?;
        grid.cell([row.0, &train.to_string()], settings, published, move |task| {
            let [train_images, test_images] = pools.get()?;
            let protocol = ClassBags { train, test, seed: task.seed, ..ClassBags::default() };
            fit.run(task, &protocol.bags(train_images, test_images, "mnist-classes")?, task.seed)
        });
        Ok(())
    })?;
    Ok(grid)
}
