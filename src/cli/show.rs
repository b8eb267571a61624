//! `bagrad show`: what a model file says of itself, and its run folder of how it came about.

use super::ensemble;
use super::run_folder;
use super::table::table;
use super::{answer, answer_json};
use anyhow::Result;
use bagrad::methods::Method;
use bagrad::model::Record;
use bagrad::standardise::Standardiser;
use bagrad::target::{NumberLoss, Target};
use bagrad::{Ensemble, Member, Model, Origin};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

const HELP: &str = "\
Examples:
  bagrad show runs/mine                    the model, and what its run gave
  bagrad show model.safetensors --json | jq .parameters
  bagrad show ensemble.safetensors         its members: where they are from, what was measured of them";

/// Arguments of `bagrad show`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Model file, or the run folder it is in
    model: PathBuf,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// Names of features that people are shown, at most; JSON has them all.
const SHOWN: usize = 10;

/// Reads, tells.
///
/// # Errors
/// When there is no model.
pub fn run(args: &Args) -> Result<()> {
    let path = run_folder::model_of(&args.model)?;
    let ensemble = Ensemble::load(&path)?;
    let [Member { model, .. }] = ensemble.members() else {
        if args.json {
            let mut told = ensemble::described(&ensemble)?;
            told.insert("file".into(), json!(path.display().to_string()));
            return answer_json(&told);
        }
        return answer(&ensemble::people(&ensemble, &path.display().to_string()));
    };
    let result = if args.model.is_dir() { run_folder::result(&args.model).ok() } else { None };
    if args.json {
        let mut told = described(model)?;
        told.insert("file".into(), json!(path.display().to_string()));
        told.extend(result.map(|result| ("result".to_owned(), Value::Object(result))));
        return answer_json(&told);
    }
    answer(&people(model, &path.display().to_string(), result.as_ref()))
}

/// What the file says, for programs.
fn described(model: &Model) -> Result<Map<String, Value>> {
    let Value::Object(mut told) = serde_json::to_value(model.spec())? else { unreachable!("a spec is an object") };
    let parameters =
        model.parameters().iter().map(|p| json!({ "name": p.name, "shape": p.shape, "trained": p.trained }));
    told.insert("parameters".into(), parameters.collect());
    told.insert("parameter_count".into(), json!(model.parameter_count()));
    told.insert("standardised".into(), json!(model.standardisation.is_some()));
    let bags = model.distances.as_ref().map(|of| of.bags[0]);
    told.insert("distances_of_bags".into(), json!(bags));
    told.insert("origin".into(), json!(model.origin));
    told.insert("columns".into(), json!(model.columns));
    told.insert("remarks".into(), json!(model.remarks));
    told.insert("record".into(), json!(model.record));
    Ok(told)
}

/// What it learnt, in words.
pub fn learnt(target: &Target, classes: &[String]) -> String {
    match target {
        Target::Classes if classes.len() == 2 => format!("{} or {} (the positive one)", classes[0], classes[1]),
        Target::Classes => format!("one of {}", classes.join(", ")),
        Target::LabelSets => format!("any of {}", classes.join(", ")),
        Target::Ordered => classes.join(" < "),
        Target::Number(number) => {
            let loss = match number.loss {
                NumberLoss::Squared => "squared error".to_owned(),
                NumberLoss::Absolute => "absolute error".to_owned(),
                NumberLoss::Huber(delta) => format!("Huber loss with delta {delta}"),
            };
            format!("a number around {:.4} with a deviation of {:.4}, {loss}", number.center, number.scale)
        }
        Target::Hazards(hazards) => {
            let edges: Vec<String> = hazards.edges.iter().map(f32::to_string).collect();
            format!("survival in intervals of time that meet at {}", edges.join(", "))
        }
        Target::Cox(cox) => format!("log-risk by the Cox partial likelihood, ties by {:?}", cox.ties),
    }
}

/// The settings of a method that are not those by default, in words.
pub fn changed_settings(method: &Method) -> String {
    let defaults = method.defaults().settings();
    let changed = method.settings().into_iter().filter(|(name, value)| defaults.get(name) != Some(value));
    let changed: Vec<String> = changed.map(|(name, value)| format!("{name}={value}")).collect();
    if changed.is_empty() { "all as by default".into() } else { changed.join(", ") }
}

/// Where instances come from, as names and values.
pub fn origin_lines(origin: &Origin) -> Vec<[String; 2]> {
    let unit = origin.unit.map_or(String::new(), |unit| format!(" {}", unit.name()));
    let told = [
        origin.encoder.clone().map(|encoder| ("encoder", encoder)),
        origin.patch.map(|side| ("patches", format!("{side}{unit}"))),
        origin.magnification.map(|times| ("magnification", times.to_string())),
    ];
    told.into_iter().flatten().map(|(name, value)| [name.to_owned(), value]).collect()
}

/// What the file tells of the run that it came of.
fn record_lines(record: &Record) -> Vec<[String; 2]> {
    let line = |name: &str, value: String| [name.to_owned(), value];
    let mut lines: Vec<[String; 2]> = record.data.iter().map(|data| line("data", data.clone())).collect();
    // In the order of a run, not of the alphabet.
    let parts = ["train", "validation", "test"];
    let bags = parts.iter().filter_map(|part| Some(format!("{} {part}", record.bags.get(*part)?)));
    let bags: Vec<String> = bags.collect();
    if !bags.is_empty() {
        lines.push(line("bags", bags.join(", ")));
    }
    lines.extend(record.seed.map(|seed| line("seed", seed.to_string())));
    // Of the bags that judge: what was trained on tells nothing.
    let judged = parts.iter().rev().find(|part| record.bags.contains_key(**part));
    let judged = judged.map(|part| format!("{part}_")).unwrap_or_default();
    let scores = record.scores.iter().filter(|(name, _)| name.starts_with(&judged));
    lines.extend(scores.map(|(name, value)| line(name, format!("{value:.4}"))));
    lines
}

fn people(model: &Model, path: &str, result: Option<&Map<String, Value>>) -> String {
    let (spec, info) = (model.spec(), model.spec().method.info());
    let mut rows: Vec<[String; 2]> = Vec::new();
    let mut line = |name: &str, value: String| rows.push([name.to_owned(), value]);
    line("file", path.to_owned());
    line("method", format!("{} ({}; {})", info.name, info.title, info.paper));
    line("settings", changed_settings(&spec.method));
    line("learnt", learnt(&spec.target, &spec.classes));
    let named = model.columns.as_ref().map_or_else(String::new, |names| {
        let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
        format!(": {}{more}", names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", "))
    });
    line("features", format!("{}{named}", spec.width));
    if let Some(origin) = &model.origin {
        origin_lines(origin).into_iter().for_each(|[name, value]| line(&name, value));
    }
    let spread = |s: &Standardiser| {
        let low = s.std.iter().copied().fold(f32::INFINITY, f32::min);
        let high = s.std.iter().copied().fold(0.0, f32::max);
        format!("deviations of the training features from {low:.3} to {high:.3}")
    };
    line(
        "standardised",
        match (&model.standardisation, model.statistics()) {
            (Some(of), _) => format!("yes, {}", spread(of)),
            (None, Some(of)) => format!("no, {}", spread(of)),
            (None, None) => "no".into(),
        },
    );
    if let Some(of) = &model.distances {
        line("distances", format!("of {} training bags from each other", of.bags[0]));
    }
    line("parameters", model.parameter_count().to_string());
    if let Some(licence) = &model.record.licence {
        line("licence", licence.clone());
    }
    model.remarks.iter().for_each(|remark| line("remark", remark.clone()));
    if result.is_none() {
        record_lines(&model.record).into_iter().for_each(|[name, value]| line(&name, value));
    }
    if let Some(result) = result {
        let text = |key: &str| match result.get(key)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let parts = ["train", "validation", "test"].map(|part| Some((part, text(&format!("{part}_bags"))?)));
        let parts: Vec<String> = parts.into_iter().flatten().map(|(part, bags)| format!("{bags} {part}")).collect();
        text("data").into_iter().for_each(|data| line("data", data));
        line("bags", parts.join(", "));
        let epochs = [text("kept_epoch"), text("epochs")].map(Option::unwrap_or_default);
        line("epoch", format!("{} kept of {}", epochs[0], epochs[1]));
        text("seed").into_iter().for_each(|seed| line("seed", seed));
        text("device_description").into_iter().for_each(|device| line("device", device));
        let scores = result.iter().filter(|(name, value)| name.starts_with("test_") && value.is_f64());
        scores.for_each(|(name, value)| line(name, format!("{:.4}", value.as_f64().unwrap_or(f64::NAN))));
    }
    let wide = rows.iter().map(|[name, _]| name.len()).max().unwrap_or(0) + 2;
    let text: String = rows.iter().map(|[name, value]| format!("{name:<wide$}{value}\n")).collect();
    let shapes: Vec<Vec<String>> = model
        .parameters()
        .iter()
        .map(|p| {
            let shape: Vec<String> = p.shape.iter().map(usize::to_string).collect();
            vec![p.name.clone(), shape.join(" x "), if p.trained { "" } else { "not trained" }.into()]
        })
        .collect();
    format!("{text}\n{}", table(&["parameter", "shape", ""], &shapes))
}
