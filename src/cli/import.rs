//! `bagrad import`: a model file from the weights of other people's programs.

use super::args::{self, Output};
use super::show::changed_settings;
use super::table::table;
use super::{answer, answer_json, note};
use anyhow::Result;
use bagrad::Target;
use bagrad::files::{Claim, Kind};
use bagrad::foreign::{self, Asked, Imported, Read};
use serde_json::{Value, json};
use std::path::PathBuf;

const HELP: &str = "\
Recognised, by keys and shapes: CLAM (CLAM_SB, CLAM_MB, MIL_fc), DSMIL, TransMIL, DTFD-MIL, PorpoiseAMIL, torchmil's
TransformerABMIL, the attention networks of AttentionDeepMIL, and MIL-Lab's ABMIL, CLAM and TransMIL; docs/weights.md has all
keys. A file is a PyTorch state dict, by itself or in what a training saved (`state_dict`, Lightning's too), or safetensors.
Pickles are read, never executed.

What weights do not tell (names of classes, which of two is the positive one, settings of the training) is assumed, printed,
and kept in the model file: `bagrad show` tells it again.

Examples:
  bagrad import s_0_checkpoint.pt                                        what it is; nothing is written
  bagrad import s_0_checkpoint.pt --classes normal,tumour --out clam.safetensors
  bagrad import transmil.ckpt --set legacy_shift=true --out transmil.safetensors
  bagrad import s_0_checkpoint.pt --edges 11.5,22.8,47 --out porpoise.safetensors    survival in four intervals
  bagrad predict --model clam.safetensors --data features/ --out new.csv";

/// Arguments of `bagrad import`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// File of weights: .pt, .pth, .ckpt or .safetensors
    weights: PathBuf,
    /// Model file to write [default: none, and what the weights are is printed alone]
    #[arg(long, value_name = "FILE.safetensors")]
    out: Option<PathBuf>,
    /// Replace a model that is there already
    #[arg(long)]
    force: bool,
    /// Names of the classes in the order of the outputs; of two the second is the positive one. DSMIL: one more than there
    /// are outputs makes the first that of bags that show none of the others [default: their numbers]
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    classes: Option<Vec<String>>,
    /// DSMIL: a bag may have any number of the labels, not one class
    #[arg(long)]
    multi_label: bool,
    /// Porpoise: the times where the intervals meet whose hazards the outputs are, one less than there are outputs, in the unit
    /// of the training's times
    #[arg(long, value_name = "TIME,..", value_delimiter = ',', conflicts_with = "classes")]
    edges: Option<Vec<f32>>,
    /// The terms that the weights may be used under, kept in the model file
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// Setting that the weights do not tell, repeatable; values as in TOML or JSON
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    output: Output,
}

/// Reads, recognises, writes, tells.
///
/// # Errors
/// When the weights are not recognised or not whole, or where the model cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let claim = |out: &PathBuf| Claim::files(&[(out, Kind::Model)], args.force, &[&args.weights]);
    let claimed = args.out.as_ref().map(claim).transpose()?;
    let names = args.classes.as_ref().map(|names| names.iter().map(|name| name.trim().to_owned()).collect());
    let settings = args::settings(&args.set)?;
    let asked = Asked { classes: names, multi_label: args.multi_label, edges: args.edges.clone(), settings };
    let mut imported = foreign::import(&args.weights, &asked)?;
    imported.model.record.licence.clone_from(&args.licence);
    if let (Some(claim), Some(out)) = (claimed, &args.out) {
        imported.model.save(claim.staged(out))?;
        claim.commit()?;
    }
    if args.output.json {
        return answer_json(&described(args, &imported)?);
    }
    answer(&people(&imported))?;
    note(
        args.output.quiet,
        match &args.out {
            Some(out) => format!("written: {}", out.display()),
            None => "nothing was written: --out FILE writes the model".to_owned(),
        },
    );
    Ok(())
}

fn described(args: &Args, imported: &Imported) -> Result<Value> {
    let mut told = serde_json::to_value(imported.model.spec())?;
    let unused = imported.unused.iter().map(|(key, why)| json!({ "key": key, "why": why }));
    for (name, value) in [
        ("weights", json!(args.weights.display().to_string())),
        ("recognised", json!(imported.origin)),
        ("tensors", json!(imported.read)),
        ("unused", unused.collect()),
        ("assumed", json!(imported.assumed)),
        ("remarks", json!(imported.remarks)),
        ("out", json!(args.out.as_ref().map(|out| out.display().to_string()))),
    ] {
        told[name] = value;
    }
    Ok(told)
}

/// A tensor, its shape and its parameters, for a table.
pub fn row(read: &Read) -> Vec<String> {
    let shape: Vec<String> = read.shape.iter().map(usize::to_string).collect();
    vec![read.key.clone(), shape.join(" x "), read.parameters.join(", ")]
}

fn people(imported: &Imported) -> String {
    let spec = imported.model.spec();
    let (learnt, of) = match &spec.target {
        Target::LabelSets => ("classes  ", format!("any of {}", spec.classes.join(", "))),
        Target::Hazards(hazards) => {
            let edges: Vec<String> = hazards.edges.iter().map(f32::to_string).collect();
            ("intervals", format!("{} of time, which meet at {}", edges.len() + 1, edges.join(", ")))
        }
        _ => ("classes  ", spec.classes.join(", ")),
    };
    let mut text = format!(
        "recognised  {}\nmethod      {}\nsettings    {}\nfeatures    {}\n{learnt}   {of}\n\n",
        imported.origin,
        spec.method.name(),
        changed_settings(&spec.method),
        spec.width,
    );
    let how = |read: &Read| read.how.unwrap_or_default().to_owned();
    let rows = imported.read.iter().map(|read| [&row(read)[..], &[how(read)]].concat());
    text += &table(&["tensor", "shape", "parameter", ""], &rows.collect::<Vec<_>>());
    let unused = imported.unused.iter().map(|(key, why)| format!("{key}: {why}"));
    for (title, lines) in [
        ("not used", unused.collect::<Vec<_>>()),
        ("of the file", imported.remarks.clone()),
        ("assumed", imported.assumed.clone()),
    ] {
        if !lines.is_empty() {
            text += &format!("\n{title}:\n{}", lines.iter().map(|line| format!("- {line}\n")).collect::<String>());
        }
    }
    text
}
