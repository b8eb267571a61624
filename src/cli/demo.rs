//! `bagrad demo`: Gated Attention on bags of digits, and a page that shows where it looked.

use super::args::{Output, Where};
use super::experiment::{self, Division, Finished, Plan};
use super::progress::Progress;
use super::table::{score, table};
use super::{answer, answer_json, note, open_device, page, summary};
use anyhow::{Result, bail};
use bagrad::TargetChoice;
use bagrad::data::Opening;
use bagrad::files::{Claim, Kind};
use bagrad::fit::Persistence;
use bagrad::methods::Method;
use bagrad::ops::update::Optimiser;
use bagrad::precision::Precision;
use bagrad::report::Report;
use bagrad::training::Settings;
use bagrad::training::metrics::Metric;
use bagrad::training::schedule::Schedule;
use clap::builder::RangedU64ValueParser;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

const HELP: &str = "\
A bag is positive when it holds a 9. The training never sees which digit is which: it finds the 9s by the
labels of the bags. 4000 training bags of digits that are shifted, turned and scaled a little (a fifth of the bags held out to
choose the epoch), 200 test bags of other images as they are.

Examples:
  bagrad demo
  bagrad demo --seeds 20 --out page.html --device host --json";

/// Arguments of `bagrad demo`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Seed of the bags, the weights and the training
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..1 << 62))]
    seed: u64,
    /// Runs with seed, seed + 1, ...; their mean and spread are told
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Report to write [default: bagrad-demo.html, or with a number where that is taken]
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// Replace a report that is there already
    #[arg(long)]
    force: bool,
    /// Training bags
    #[arg(long, default_value_t = 4000, value_name = "BAGS", value_parser = RangedU64ValueParser::<usize>::new().range(2..=1_000_000))]
    train: usize,
    /// Passes over them; the one with the smallest validation loss is kept
    #[arg(long, default_value_t = 12)]
    epochs: u32,
    /// What matrix products compute with: f32 or mixed
    #[arg(long, default_value_t)]
    precision: Precision,
    #[command(flatten)]
    device: Where,
    #[command(flatten)]
    output: Output,
}

/// How training images are seen: 1000 of them are few.
const VIEWS: &str = "shift=0.5,turn=10,zoom=0.1";

/// The run of one seed. The recipe was found by validation bags of seeds from which no figure is, without a look at
/// any test bag: `examples/demo_recipe.rs` is the search, docs/demo-recipe.md its result.
fn plan(args: &Args, seed: u64) -> Result<Plan> {
    let Value::Object(set) = json!({ "embed": [256], "attention": 128, "dropout": 0.25 }) else {
        unreachable!("an object is an object")
    };
    let method = Method::named("gated-attention")?.with(&set)?;
    let settings = Settings {
        epochs: args.epochs,
        precision: args.precision,
        learning_rate: 2e-3,
        optimiser: Optimiser::adam(1e-3),
        seed,
        schedule: Schedule::CosineEpochs { floor: 0.0 },
        monitor: Metric::Loss,
        ..Settings::for_method(&method)
    };
    Ok(Plan {
        data: format!("digits-bags,train={},seed={seed},{VIEWS}", args.train),
        opening: Opening::default(),
        positive: None,
        target: TargetChoice::Auto,
        key: None,
        standardise: None,
        division: Division { validation: Some(0.2), validation_asked: true, seed, ..Division::default() },
        method,
        settings,
        start: None,
        licence: None,
        remarks: Vec::new(),
    })
}

/// What the table shows.
const SHOWN: [(&str, &str); 4] = [
    ("test AUC", "test_auc"),
    ("test accuracy", "test_accuracy"),
    ("instance AUC", "instance_auc"),
    ("seconds", "seconds"),
];

/// Runs all seeds, writes the page of the first, tells.
///
/// # Errors
/// Of the device, or when the page cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let quiet = args.output.quiet;
    let out = args.out.clone().unwrap_or_else(free_name);
    let claim = Claim::files(&[(&out, Kind::Page)], args.force, &[])?;
    let (device, _) = open_device(&args.device, None, quiet)?;
    let mut runs: Vec<Map<String, Value>> = Vec::new();
    let mut first: Option<(Report, Finished)> = None;
    for seed in args.seed..args.seed + args.seeds {
        let plan = plan(args, seed)?;
        let mut progress = Progress::new(quiet, format!("seed {seed}"));
        let done = experiment::run(&plan, &device, &mut progress, Persistence::default())?;
        runs.push(summary::object(&plan, &done, &device));
        if first.is_none() {
            first = Some((page::page(&plan, &done, &device, 3), done));
        }
    }
    let Some((mut page, done)) = first else { bail!("expected at least one seed") };
    page.title = "Gated Attention on bags of digits".into();
    page.summary = format!("A bag is positive when it holds a 9; only bags are labelled. {}", page.summary);
    for (name, key) in SHOWN.iter().filter(|_| runs.len() > 1) {
        let (mean, std) = spread(&runs, key);
        let row = (format!("Mean of {} seeds: {name}", runs.len()), format!("{} ± {}", score(mean), score(std)));
        page.results.push(row);
    }
    page.write(claim.staged(&out))?;
    claim.commit()?;
    if args.output.json {
        return answer_json(&answer_object(&runs, &out));
    }
    let mut text = people(&runs);
    text += &format!(
        "\n{} updates in {} epochs on {}; the page with the attention of every digit: {}\n",
        done.outcome.steps,
        done.outcome.epochs.len(),
        device.name(),
        out.display()
    );
    answer(&text)?;
    note(quiet, "the same, as a run folder: bagrad train --data digits-bags --method gated-attention --out RUN");
    Ok(())
}

/// The name of a report that nobody asked for: the first that nothing has.
fn free_name() -> PathBuf {
    let numbered = (2..).map(|n| format!("bagrad-demo-{n}.html"));
    let mut names = std::iter::once("bagrad-demo.html".to_owned()).chain(numbered).map(PathBuf::from);
    names.find(|name| name.symlink_metadata().is_err()).expect("there are names enough")
}

/// Mean and standard deviation (of a sample) over the runs that have the value.
fn spread(runs: &[Map<String, Value>], key: &str) -> (Option<f64>, Option<f64>) {
    let values: Vec<f64> = runs.iter().filter_map(|r| r.get(key)?.as_f64()).collect();
    let count = values.len() as f64;
    if values.is_empty() {
        return (None, None);
    }
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (Some(mean), (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()))
}

/// The object of a single run, or with several the means in its place and all of them in `runs`.
fn answer_object(runs: &[Map<String, Value>], out: &Path) -> Map<String, Value> {
    let mut all = runs[0].clone();
    all.insert("out".into(), json!(out.display().to_string()));
    if runs.len() > 1 {
        let numbers: Vec<String> = all.iter().filter(|(_, v)| v.is_f64()).map(|(k, _)| k.clone()).collect();
        for key in numbers {
            let (mean, std) = spread(runs, &key);
            all.insert(format!("{key}_std"), json!(std));
            all.insert(key, json!(mean));
        }
        let steps: u64 = runs.iter().filter_map(|r| r["steps"].as_u64()).sum();
        let seconds: f64 = runs.iter().filter_map(|r| r["seconds"].as_f64()).sum();
        // Work adds up; only scores are means.
        all.insert("steps".into(), json!(steps));
        all.insert("seconds".into(), json!(seconds));
        all.remove("seconds_std");
        all.insert("runs".into(), json!(runs));
    }
    all
}

fn people(runs: &[Map<String, Value>]) -> String {
    let head: Vec<&str> = std::iter::once("seed").chain(SHOWN.iter().map(|(name, _)| *name)).collect();
    let show = |key: &str, value: Option<f64>| match key {
        "seconds" => value.map_or("-".into(), |v| format!("{v:.1}")),
        _ => score(value),
    };
    let row = |r: &Map<String, Value>| -> Vec<String> {
        let cells = SHOWN.iter().map(|(_, key)| show(key, r.get(*key).and_then(Value::as_f64)));
        std::iter::once(r["seed"].to_string()).chain(cells).collect()
    };
    let mut rows: Vec<Vec<String>> = runs.iter().map(row).collect();
    if runs.len() > 1 {
        for (name, pick) in [("mean", 0), ("spread", 1)] {
            let value = |key: &str| [spread(runs, key).0, spread(runs, key).1][pick];
            let cells = SHOWN.iter().map(|(_, key)| show(key, value(key)));
            rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
        }
    }
    table(&head, &rows)
}
