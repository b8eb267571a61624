//! IBMIL (Lin and others 2023) on bags whose stain goes with their class in training and not in the test: what a context
//! beside the features of a bag gains over the same network without.

use super::fit::Fit;
use super::sets::held_out;
use super::{Experiment, Grid, Options};
use crate::data::Haystack;
use crate::metrics::Metric;
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// IBMIL over attention, DSMIL and DTFD.
pub const EXPERIMENT: Experiment = Experiment {
    name: "ibmil",
    title: "Contexts of bags of digits that go with their class",
    paper: "Lin, Yu, Hu, Xu, Chen: Interventional Bag Multi-Instance Learning On Whole-Slide Pathological Images, 2023 \
            (arXiv 2303.06873)",
    data: "",
    takes: "15 minutes on two CPU cores",
    protocol: "The paper's slides are not at hand, and there is no published figure for these bags: digits-haystack, 20 to \
               40 instances, 5 to 15 % of them a 9 in positive bags, noise 0.2; 90 training, 30 validation and 200 test \
               bags. All instances of a bag are moved by a tenth of a pattern of normal numbers or by as much the other \
               way: its stain. In 50 %, 65 % or 80 % of the training and validation bags it is that of their class, in the test \
               bags by chance. Test AUC. A seed draws bags, weights and order, and is the same in every row. Networks of \
               width 64, Adam, learning rate 1e-3 along a cosine, one bag an update, 40 epochs, of which the loss of the \
               validation bags chooses one. Both stages of IBMIL have that, so there is a row of each base trained for \
               twice as many epochs. 8 contexts.",
    seeds: 20,
    grid,
};

/// Seeds up to this one served to choose the data.
const SPENT: u64 = 100;

fn grid(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new("auc", ["training", "confounded"]);
    let drawn = Haystack {
        size: [20, 40],
        share: [0.05, 0.15],
        noise: 0.2,
        stain: 0.1,
        train: 120,
        test: 200,
        ..Haystack::default()
    };
    let (drawn, columns, epochs) = match options.quick {
        false => (drawn, &[0.5, 0.65, 0.8][..], 40),
        true => (Haystack { train: 24, test: 10, ..drawn }, &[0.8][..], 2),
    };
    let bases = [
        ("attention", json!({ "method": "attention", "embed": [64], "attention": 32, "dropout": 0.0 })),
        ("DSMIL", json!({ "method": "dsmil", "embed": [64], "query": 32 })),
        ("DTFD", json!({ "method": "dtfd", "reduce": 64, "attention": 32 })),
    ];
    for (name, base) in bases {
        let mut alone = base.clone();
        let method = alone.as_object_mut().and_then(|settings| settings.remove("method"));
        let method = method.as_ref().and_then(Value::as_str).context("a name")?;
        let around = json!({ "base": base, "hidden": 32 });
        let rows = [
            (name.to_owned(), method, alone.clone(), 1),
            (format!("{name}, twice as long"), method, alone, 2),
            (format!("IBMIL over {name}"), "ibmil", around, 1),
        ];
        for (row, method, settings, times) in rows {
            for &confounded in columns {
                let haystack = Haystack { confounded, ..drawn.clone() };
                let schedule = crate::training::Schedule::CosineEpochs { floor: 0.0 };
                let optimiser = crate::training::Optimiser::adam(1e-4);
                let fit = Fit::new(method, settings.clone())?.trained(|t| {
                    (t.learning_rate, t.epochs, t.monitor) = (1e-3, times * epochs, Metric::LogLoss);
                    (t.schedule, t.optimiser) = (schedule, optimiser);
                });
                let data: Value = json!({
                    "generator": "digits-haystack", "size": haystack.size, "share": haystack.share,
                    "noise": haystack.noise, "stain": haystack.stain, "confounded": confounded,
                    "train": haystack.train, "test": haystack.test, "validation": 0.25, "first_seed": SPENT + 1,
                });
                let settings = fit.settings(data)?;
                grid.cell([&row, &format!("{:.0} %", 100.0 * confounded)], settings, None, move |task| {
                    let seed = SPENT + task.seed;
                    let set = held_out(&haystack, seed)?;
                    fit.run(task, &set, seed)
                });
            }
        }
    }
    Ok(grid)
}
