//! Which methods keep to the MIL assumption: every one of them on the bags of [`crate::data::assumption`].

use super::fit::Fit;
use super::{Experiment, Grid, Options};
use crate::data::{Assumption, Probe, Split};
use crate::methods::Method;
use crate::ops::schedule::Schedule;
use crate::training::{Optimiser, Settings, predict};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// Every method and the three tests.
pub const EXPERIMENT: Experiment = Experiment {
    name: "assumptions",
    title: "Who keeps to the MIL assumption",
    paper: "Raff, Holt: Reproducibility in Multiple Instance Learning: A Case For Algorithmic Unit Tests, NeurIPS 2023",
    data: "",
    takes: "half an hour on two CPU cores",
    protocol: "AUC on the test bags; training_auc stands in the files. 500 training and 500 test bags of 16 features. In \
               the training bags there is another way to tell the classes that breaks the assumption, and in the test \
               bags it leads to the wrong answer: below 0.5 a model has learnt it. A model that keeps to the assumption \
               has on the test bags what it has on the training bags. All methods are trained alike: \
               one layer of 64 in front, two where the method has several, no dropout that is not part of it, Adam without decay, learning \
               rate 0.001, 8 bags an update, 40 epochs, the last one taken. Pair and frequency need two concepts together, \
               which a method cannot tell that classifies instances one by one and takes the largest: what it has there on \
               the training bags it has by heart. DAS-MIL needs places and is left out.",
    seeds: 5,
    grid,
};

/// The settings that make a method small enough for these bags.
fn small(method: &Method) -> Map<String, Value> {
    // Of one layer the networks with supervision of each layer and with residuals would be the plain one.
    let deep = method.settings().get("embed").and_then(Value::as_array).is_some_and(|layers| layers.len() > 1);
    let wanted = [
        ("embed", if deep { json!([64, 64]) } else { json!([64]) }),
        ("width", json!(64)),
        ("heads", json!(4)),
        ("landmarks", json!(8)),
        ("residual", json!(7)),
        ("attention", json!(64)),
    ];
    let has = method.settings();
    let transformer = has.contains_key("landmarks");
    let mut settings: Map<String, Value> = wanted
        .into_iter()
        .filter(|(name, value)| has.get(*name).is_some_and(|default| default.is_array() == value.is_array()))
        .filter(|(name, _)| *name != "heads" || transformer)
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    // Dropout that a method is made of stays.
    if has.contains_key("dropout") && method.name() != "certainty-pooling" {
        settings.insert("dropout".into(), json!(0.0));
    }
    settings
}

fn grid(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new("auc", ["method", "test"]);
    let (bags, epochs) = if options.quick { (40, 2) } else { (500, 40) };
    let quick = ["mi-net", "attention"];
    let left_out = |name: &str| name == "das-mil" || (options.quick && !quick.contains(&name));
    for method in Method::all().into_iter().filter(|method| !left_out(method.name())) {
        let fit = Fit::new(method.name(), Value::Object(small(&method)))?.trained(|training| {
            *training = Settings {
                epochs,
                batch: 8,
                learning_rate: 1e-3,
                schedule: Schedule::Constant,
                optimiser: Optimiser::adam(0.0),
                ..training.clone()
            };
        });
        for (name, kind) in Probe::ALL {
            let fit = fit.clone();
            let key = fit.settings(json!({ "generator": "mil-assumption", "kind": name, "bags": bags }))?;
            grid.cell([method.name(), name], key, None, move |task| {
                let set =
                    Assumption { kind, train: bags, test: bags, seed: task.seed, ..Assumption::default() }.bags()?;
                let (mut metrics, model) = fit.run_from(task, &set, task.seed, None)?;
                let mut session = crate::session::Session::new(task.device, model, crate::tape::Storage::F32)?;
                let train = set.indices(Split::Train);
                let labels = set.bags.labels.as_ref().context("these bags have labels")?;
                let labels: Vec<u32> = train.iter().map(|&bag| labels[bag]).collect();
                let scores = predict(&mut session, &set.bags, &train, None)?.measure(&labels)?;
                metrics.extend(scores.auc.map(|auc| ("training_auc".to_owned(), auc)));
                Ok(metrics)
            });
        }
    }
    Ok(grid)
}
