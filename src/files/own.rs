//! How bagrad knows what it wrote: a marker in a folder, the content of a file. Only that is ever replaced.

use super::{BENCHMARK, GENERATOR, ONNX_PRODUCER, PACKED, SAMPLES, STATE_DICT};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The file in each folder that bagrad writes: what the folder is, and which of its files are bagrad's.
pub(super) const MARKER: &str = ".bagrad.json";

/// What stands, or will stand, at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder of files: a run, predictions, features.
    Folder,
    /// A safetensors file with a model.
    Model,
    /// An HTML page.
    Page,
    /// A CSV file of predictions.
    Table,
    /// A file of JSON lines, one for each epoch.
    Epochs,
    /// Tiles of matrix products that a search found.
    Tuning,
    /// What `bagrad reproduce` keeps: runs, and tables of them as Markdown and JSON.
    Experiment,
    /// Many slides in one file.
    Packed,
    /// A model as an ONNX file.
    Onnx,
    /// A model with the keys of another program, as safetensors.
    StateDict,
    /// What a cross-validation found, as Markdown, JSON, CSV and LaTeX, and its model card.
    Study,
    /// Samples of a benchmark, as JSON or CSV.
    Benchmark,
}

#[derive(Serialize, Deserialize)]
struct Marker {
    /// The version that wrote the folder.
    bagrad: String,
    files: Vec<String>,
}

/// The start of a file, as far as kinds of files need it.
const HEAD: u64 = 1 << 16;

impl Kind {
    /// Refuses what stands at `path` unless bagrad wrote all of it as this kind.
    pub(super) fn check(self, path: &Path) -> Result<()> {
        let refuse = |message: String| Err(Error::format(path, message));
        match self {
            Kind::Folder => match strangers(path)? {
                None => refuse("the folder is not empty and not one that bagrad wrote, so it is not replaced".into()),
                Some(strange) if strange.is_empty() => Ok(()),
                Some(strange) => refuse(format!(
                    "the folder has {}, which bagrad did not write; move it elsewhere, or choose another place",
                    strange.join(", ")
                )),
            },
            _ if self.wrote(path).map_err(|e| Error::io(path, e))? => Ok(()),
            _ => refuse(format!("the file is no {} that bagrad wrote, so it is not replaced", self.name())),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Folder => "folder",
            Kind::Model => "model",
            Kind::Page => "page",
            Kind::Table => "table of predictions",
            Kind::Epochs => "list of epochs",
            Kind::Tuning => "tuning",
            Kind::Experiment => "table of an experiment",
            Kind::Packed => "packed file",
            Kind::Onnx => "ONNX file",
            Kind::StateDict => "state dict",
            Kind::Study => "result of a cross-validation",
            Kind::Benchmark => "file of a benchmark",
        }
    }

    fn wrote(self, path: &Path) -> io::Result<bool> {
        let mut head = Vec::new();
        File::open(path)?.take(HEAD).read_to_end(&mut head)?;
        let text = String::from_utf8_lossy(&head);
        let first = text.lines().next().unwrap_or_default();
        Ok(match self {
            Kind::Model => says(path, &head, "bagrad")?,
            Kind::StateDict => says(path, &head, STATE_DICT)?,
            Kind::Packed => head.starts_with(&PACKED),
            Kind::Onnx => {
                // Field 1, the version of the format, and field 2, the producer.
                let producer = [&[0x12, ONNX_PRODUCER.len() as u8], ONNX_PRODUCER.as_bytes()].concat();
                matches!(head[..], [0x08, _, ..]) && head[2..].starts_with(&producer)
            }
            Kind::Page => text.contains(GENERATOR),
            Kind::Table => {
                first.starts_with("bag,")
                    && (first.split(',').any(of_predictions) || first.contains(",time,event,risk"))
            }
            Kind::Epochs => {
                let line = serde_json::from_str::<serde_json::Value>(first).unwrap_or_default();
                // The encoder as it starts has no epochs.
                text.is_empty() || (line["epoch"].is_u64() && line["loss"].is_number())
            }
            Kind::Tuning => text.trim_start().starts_with('{') && text.contains("\"products\""),
            Kind::Experiment => {
                let starts = text.trim_start();
                starts.starts_with("# ") && text.contains("bagrad reproduce ")
                    || starts.starts_with('{') && text.contains("\"experiment\"") && text.contains("\"protocol\"")
            }
            Kind::Study => {
                let starts = text.trim_start();
                starts.starts_with("# Cross-validation on ")
                    || starts.starts_with("# Model card: ") && text.contains("bagrad cross-validate")
                    || starts.starts_with("% Written by bagrad cross-validate")
                    || first.starts_with("method,baseline,metric,")
                    || starts.starts_with('{') && text.contains("\"divided\"") && text.contains("\"repeats\"")
            }
            Kind::Benchmark => text.starts_with('{') && text.contains(BENCHMARK) || first == SAMPLES,
            Kind::Folder => unreachable!("told by its marker"),
        })
    }
}

/// Whether a column is one that tables of predictions alone have.
fn of_predictions(column: &str) -> bool {
    // A name with a comma is in quotes.
    let column = column.trim_start_matches('"');
    column == "predicted" || column.starts_with("label(")
}

/// Whether a safetensors file has metadata of ours under this key.
fn says(path: &Path, head: &[u8], key: &str) -> io::Result<bool> {
    let Some(length) = head.first_chunk::<8>().map(|b| u64::from_le_bytes(*b)) else { return Ok(false) };
    // Longer than any header that safetensors itself would read.
    if length > 100_000_000 || length > fs::metadata(path)?.len() {
        return Ok(false);
    }
    let mut header = Vec::new();
    File::open(path)?.take(8 + length).read_to_end(&mut header)?;
    let header: serde_json::Value = serde_json::from_slice(header.get(8..).unwrap_or_default()).unwrap_or_default();
    Ok(header["__metadata__"][key].is_string())
}

/// Names of what lies in a folder that bagrad wrote and is not on its list; `None` where bagrad did not write it.
fn strangers(folder: &Path) -> Result<Option<Vec<String>>> {
    let io = |e| Error::io(folder, e);
    let text = match fs::read(folder.join(MARKER)) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    let Ok(marker) = serde_json::from_slice::<Marker>(&text) else { return Ok(None) };
    let mut strange = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name == MARKER || marker.files.contains(&name);
        if !ours || !entry.file_type().map_err(io)?.is_file() {
            strange.push(name.escape_debug().to_string());
        }
    }
    strange.sort();
    if strange.len() > 5 {
        let more = strange.len() - 4;
        strange.truncate(4);
        strange.push(format!("{more} more"));
    }
    Ok(Some(strange))
}

/// Puts the marker into a folder that is complete.
pub(super) fn mark(folder: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        files.push(entry?.file_name().to_string_lossy().into_owned());
    }
    files.sort();
    let marker = Marker { bagrad: env!("CARGO_PKG_VERSION").into(), files };
    fs::write(folder.join(MARKER), serde_json::to_string_pretty(&marker)? + "\n")
}
