//! `bagrad export`: a trained model in the formats of other programs.

use super::args::Output;
use super::table::table;
use super::{answer, answer_json, import, note, run_folder};
use anyhow::{Context, Result};
use bagrad::Model;
use bagrad::files::{self, Claim, Kind};
use bagrad::{foreign, onnx};
use clap::ValueEnum;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

const HELP: &str = "\
onnx: the graph for one bag of any number of instances, for onnxruntime and others. Features go in as the encoder gave
them; logits, probabilities and what the model tells of each instance come out. What the model was trained on is in
the file's metadata (docs/onnx.md).

state-dict: the weights with the keys of the program whose architecture the model has (CLAM, DSMIL, TransMIL, DTFD-MIL, Porpoise,
torchmil's TransformerABMIL, MIL-Lab's ABMIL and CLAM, AttentionDeepMIL), as safetensors for its load_state_dict. A standardisation becomes part of the first layers
(docs/weights.md).

Examples:
  bagrad export runs/mine --format onnx --out model.onnx
  bagrad export model.safetensors --format onnx --out model.onnx --json | jq .outputs
  bagrad export runs/mine --format state-dict --out weights.safetensors";

/// Arguments of `bagrad export`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Model file, or the run folder it is in
    model: PathBuf,
    /// What to write
    #[arg(long, value_enum)]
    format: Format,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file of that format that bagrad wrote
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: Output,
}

/// A format of other programs.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// An ONNX file
    Onnx,
    /// Weights with the keys of another program, as safetensors
    StateDict,
}

impl Format {
    fn kind(self) -> Kind {
        match self {
            Format::Onnx => Kind::Onnx,
            Format::StateDict => Kind::StateDict,
        }
    }
}

/// A model in a format, and what to tell of it: for programs, and for people.
struct Written {
    bytes: Vec<u8>,
    told: Map<String, Value>,
    says: String,
}

/// Reads, translates, writes, tells.
///
/// # Errors
/// Of the model, of the file to write, or of what the format has no form for.
pub fn run(args: &Args) -> Result<()> {
    let claim = Claim::files(&[(&args.out, args.format.kind())], args.force, &[&args.model])?;
    let path = run_folder::model_of(&args.model)?;
    let model = Model::load(&path)?;
    let written = match args.format {
        Format::Onnx => as_onnx(&model),
        Format::StateDict => as_state_dict(&model),
    };
    let Written { bytes, mut told, says } = written.with_context(|| path.display().to_string())?;
    files::write_atomically(claim.staged(&args.out), &bytes)?;
    claim.commit()?;
    if args.output.json {
        told.insert("out".into(), json!(args.out.display().to_string()));
        told.insert("bytes".into(), json!(bytes.len()));
        return answer_json(&told);
    }
    answer(&says)?;
    note(args.output.quiet, format!("written: {} ({} bytes)", args.out.display(), bytes.len()));
    Ok(())
}

fn as_onnx(model: &Model) -> Result<Written> {
    let exported = onnx::export(model)?;
    let mut told = Map::new();
    told.insert("format".into(), json!("onnx"));
    told.insert("inputs".into(), json!(exported.inputs));
    told.insert("outputs".into(), json!(exported.outputs));
    told.insert("metadata".into(), exported.metadata.iter().map(|(key, value)| (key.clone(), json!(value))).collect());
    told.insert("nodes".into(), json!(exported.nodes));
    let names: Vec<&str> = exported.outputs.iter().map(|output| output.name.as_str()).collect();
    let says = format!(
        "{} as a graph of {} nodes: {} to {}\n",
        model.spec().method.name(),
        exported.nodes,
        exported.inputs.join(" and "),
        names.join(", ")
    );
    let memory = exported.metadata.iter().find(|(key, _)| key == "memory").map_or("", |(_, memory)| memory);
    let says = format!("{says}memory {memory}\n");
    Ok(Written { bytes: exported.bytes, told, says })
}

fn as_state_dict(model: &Model) -> Result<Written> {
    let exported = foreign::export(model)?;
    let mut told = Map::new();
    for (name, value) in [
        ("format", json!("state-dict")),
        ("keys_of", json!(exported.origin)),
        ("class", json!(exported.class)),
        ("tensors", json!(exported.written)),
        ("remarks", json!(exported.remarks)),
    ] {
        told.insert(name.into(), value);
    }
    let rows: Vec<Vec<String>> = exported.written.iter().map(import::row).collect();
    let mut says = format!("keys of {}\nclass   {}\n\n", exported.origin, exported.class);
    says += &table(&["tensor", "shape", "parameter"], &rows);
    says += &exported.remarks.iter().map(|remark| format!("- {remark}\n")).collect::<String>();
    Ok(Written { bytes: exported.bytes, told, says })
}
