//! `bagrad ensemble`: several models of one task as one file, and one of them taken out again.

use super::args::Output;
use super::show::{changed_settings, learnt, origin_lines};
use super::table::table;
use super::{answer, answer_json, note, run_folder};
use anyhow::{Context, Result, bail};
use bagrad::files::{Claim, Kind};
use bagrad::{Ensemble, Member};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const HELP: &str = "\
The models have to learn the same of the same features: the kind of target, classes in their order, number and names of the
features, and encoder and patches where files tell them. Methods and standardisations may differ. `bagrad predict` then gives the
mean of their answers, each of them, and how far they are apart (docs/ensembles.md).

An ensemble among the models gives all of its members. `bagrad cross-validate --keep-models` writes one for each method.

Examples:
  bagrad ensemble runs/seed-1 runs/seed-2 runs/seed-3 --out ensemble.safetensors
  bagrad predict --model ensemble.safetensors --data new-bags/ --out new.csv
  bagrad show ensemble.safetensors
  bagrad ensemble ensemble.safetensors --member 2 --out second.safetensors   one of them, for heatmap, export and others";

/// Arguments of `bagrad ensemble`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Model files, ensembles, or run folders
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<PathBuf>,
    /// Model file to write
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Write this member of the ensemble alone, from 1, as the model file it was
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    member: Option<u16>,
    /// Replace a model that is there already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: Output,
}

/// Reads, joins, writes, tells.
///
/// # Errors
/// When a model cannot be read, models do not fit each other, or the file cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let inputs: Vec<&Path> = args.models.iter().map(PathBuf::as_path).collect();
    let claim = Claim::files(&[(&args.out, Kind::Model)], args.force, &inputs)?;
    let mut members = Vec::new();
    for path in &args.models {
        members.extend(read(path)?);
    }
    let kept = match args.member {
        Some(number) => {
            let count = members.len();
            if args.models.len() > 1 {
                bail!("--member {number} is of one ensemble, and {} files are named", args.models.len());
            }
            if usize::from(number) > count {
                bail!("--member {number}: {} has {count}", args.models[0].display());
            }
            let member = members.swap_remove(usize::from(number) - 1);
            member.model.save(claim.staged(&args.out))?;
            Ensemble::new(vec![member])?
        }
        None => {
            let ensemble = Ensemble::new(members)?;
            ensemble.save(claim.staged(&args.out))?;
            ensemble
        }
    };
    claim.commit()?;
    if args.output.json {
        let mut told = described(&kept)?;
        told.insert("out".into(), json!(args.out.display().to_string()));
        return answer_json(&told);
    }
    answer(&people(&kept, &args.out.display().to_string()))?;
    note(args.output.quiet, format!("written: {}", args.out.display()));
    Ok(())
}

/// The models of a file or run folder; of a run what it measured comes with its model.
fn read(path: &Path) -> Result<Vec<Member>> {
    let file = run_folder::model_of(path)?;
    let mut members = Ensemble::load(&file)?.into_members();
    if let [member] = &mut members[..]
        && path.is_dir()
    {
        member.name = path.display().to_string();
        // A folder with a model alone is no run.
        let result = run_folder::result(path).unwrap_or_default();
        let of_bags = |name: &str| ["validation_", "test_"].iter().any(|part| name.starts_with(part));
        let measured = result.into_iter().filter(|(name, _)| of_bags(name));
        member.metrics = measured.filter_map(|(name, value)| Some((name, value.as_f64()?))).collect();
    }
    Ok(members)
}

/// An ensemble for programs.
///
/// # Errors
/// Of what JSON does not have.
pub fn described(ensemble: &Ensemble) -> Result<Map<String, Value>> {
    let member = |Member { model, name, metrics }: &Member| -> Result<Value> {
        let mut told = serde_json::to_value(model.spec()).context("a member")?;
        for (key, value) in [
            ("name", json!(name)),
            ("metrics", json!(metrics)),
            ("parameter_count", json!(model.parameter_count())),
            ("standardised", json!(model.standardisation.is_some())),
            ("origin", json!(model.origin)),
            ("remarks", json!(model.remarks)),
        ] {
            told[key] = value;
        }
        Ok(told)
    };
    let members = ensemble.members().iter().map(member).collect::<Result<Vec<_>>>()?;
    Ok(Map::from_iter([
        ("members".to_owned(), json!(members)),
        ("classes".to_owned(), json!(ensemble.classes())),
        ("width".to_owned(), json!(ensemble.width())),
        ("columns".to_owned(), json!(ensemble.members()[0].model.columns)),
    ]))
}

/// Metrics that people are shown of a member, at most.
const SHOWN: usize = 3;

/// An ensemble for people.
pub fn people(ensemble: &Ensemble, file: &str) -> String {
    let first = &ensemble.members()[0].model;
    let mut lines = vec![
        ["file".to_owned(), file.to_owned()],
        ["members".to_owned(), ensemble.members().len().to_string()],
        ["learnt".to_owned(), learnt(ensemble.target(), ensemble.classes())],
        ["features".to_owned(), ensemble.width().to_string()],
    ];
    lines.extend(first.origin.iter().flat_map(origin_lines));
    let wide = lines.iter().map(|[name, _]| name.len()).max().unwrap_or(0) + 2;
    let text: String = lines.iter().map(|[name, value]| format!("{name:<wide$}{value}\n")).collect();
    let row = |(at, Member { model, name, metrics }): (usize, &Member)| {
        let of_method = &model.spec().method;
        let standardised = if model.standardisation.is_some() { "yes" } else { "no" };
        vec![
            format!("{} {name}", at + 1),
            of_method.name().to_owned(),
            standardised.to_owned(),
            measured(metrics),
            changed_settings(of_method),
        ]
    };
    let rows: Vec<Vec<String>> = ensemble.members().iter().enumerate().map(row).collect();
    format!("{text}\n{}", table(&["member", "method", "standardised", "measured", "settings"], &rows))
}

/// The metrics that methods are judged by, those of test bags before others.
fn measured(metrics: &BTreeMap<String, f64>) -> String {
    let judged = ["auc", "r2", "c_index", "accuracy", "balanced_accuracy", "mae", "log_loss"];
    let named = ["test_", "", "validation_"].iter().flat_map(|part| judged.map(|name| format!("{part}{name}")));
    let known = named.filter_map(|name| metrics.get(&name).map(|value| format!("{name} {value:.4}")));
    let known: Vec<String> = known.take(SHOWN).collect();
    if known.is_empty() { "-".into() } else { known.join(", ") }
}
