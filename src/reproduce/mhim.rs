//! MHIM-MIL (Tang and others 2023) on long bags with few key instances: what each mask gains over the same network
//! without.

use super::fit::Fit;
use super::kept::Kept;
use super::sets::held_out;
use super::{Experiment, Grid, Options};
use crate::data::Haystack;
use crate::metrics::Metric;
use anyhow::Result;
use serde_json::{Value, json};

/// Masks over attention pooling and DSMIL.
pub const EXPERIMENT: Experiment = Experiment {
    name: "mhim",
    title: "Masked hard instance mining on long bags of digits",
    paper: "Tang, Huang, Zhang, Zhou, Zhang, Liu: Multiple Instance Learning Framework with Masked Hard Instance Mining \
            for Whole Slide Image Classification, 2023 (arXiv 2307.15254)",
    data: "",
    takes: "15 minutes on two CPU cores",
    protocol: "The paper's slides are not at hand, and there is no published figure for these bags: digits-haystack, 500 \
               to 2000 instances, 1 to 5 % of them a 9 in positive bags, noise 0.2; 45 training, 15 validation and 100 test \
               bags. A seed draws bags, weights, order and masks, and is the same in every row. Networks of width 64, Adam, \
               learning rate 1e-3 along a cosine, one bag an update, 60 epochs, of which the loss of the validation bags \
               chooses one. Masks have the paper's settings for Camelyon16. As in the paper, teachers start from the \
               network of the first row, so that all rows but the first have seen the bags twice as often as it; the \
               second row has so too. Noise and learning rate were chosen on four other seeds.",
    seeds: 10,
    grid,
};

/// Row, strategy, weight of the consistency, epochs as a multiple, whether it has a teacher.
const ROWS: [(&str, &str, f64, u32, bool); 8] = [
    ("no teacher", "none", 0.0, 1, false),
    ("no teacher, twice as long", "none", 0.0, 2, false),
    ("teacher, no masks", "none", 0.1, 1, true),
    ("random", "random", 0.1, 1, true),
    ("HAM", "ham", 0.1, 1, true),
    ("L-HAM", "l-ham", 0.1, 1, true),
    ("R-HAM", "r-ham", 0.1, 1, true),
    ("LR-HAM", "lr-ham", 0.1, 1, true),
];

/// Seeds up to this one served to choose the data and the learning rate.
const SPENT: u64 = 100;

fn grid(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new("auc", ["training", "network"]);
    let (haystack, epochs) = match options.quick {
        false => (Haystack { size: [500, 2000], noise: 0.2, train: 60, test: 100, ..Haystack::default() }, 60),
        true => (Haystack { size: [50, 100], train: 16, test: 10, ..Haystack::default() }, 2),
    };
    // What the runs of a seed share: its bags, and the networks that teachers start from.
    let (sets, starts) = (Kept::new(4), Kept::new(8));
    for (column, method, widths) in [
        ("attention", "mhim-attention", json!({ "embed": [64], "attention": 32 })),
        ("DSMIL", "mhim-dsmil", json!({ "embed": [64], "query": 32 })),
    ] {
        let fit = |strategy: &str, consistency: f64, times: u32| -> Result<Fit> {
            let mut settings = widths.clone();
            (settings["strategy"], settings["consistency"]) = (strategy.into(), consistency.into());
            Ok(Fit::new(method, settings)?
                .trained(|t| (t.learning_rate, t.epochs, t.monitor) = (1e-3, times * epochs, Metric::LogLoss)))
        };
        for (row, strategy, consistency, times, teacher) in ROWS {
            let (fit, plain) = (fit(strategy, consistency, times)?, fit("none", 0.0, 1)?);
            let Haystack { size, share, noise, train, test, .. } = haystack;
            let data = json!({ "generator": "digits-haystack", "size": size, "share": share, "noise": noise,
                               "train": train, "test": test, "validation": 0.25, "first_seed": SPENT + 1 });
            let mut settings = fit.settings(data)?;
            settings["start"] = if teacher { plain.settings(Value::Null)? } else { Value::Null };
            let (haystack, sets, starts) = (haystack.clone(), sets.clone(), starts.clone());
            grid.cell([row, column], settings, None, move |task| {
                let seed = SPENT + task.seed;
                let set = sets.get(seed, || held_out(&haystack, seed))?;
                let trained = || Ok(plain.run_from(task, &set, seed, None)?.1);
                let start = if teacher { Some(starts.get((method, seed), trained)?) } else { None };
                Ok(fit.run_from(task, &set, seed, start.as_deref())?.0)
            });
        }
    }
    Ok(grid)
}
