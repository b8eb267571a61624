//! Models as state dicts with the keys of the programs whose architecture they have.

use super::layout::{self, Entry};
use super::{ORIGINS, Read};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::target::Target;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The key of the metadata of what is written here.
pub const METADATA: &str = crate::files::STATE_DICT;

/// A model as a state dict.
#[derive(Clone, Debug)]
pub struct Exported {
    /// A safetensors file: `load_state_dict(safetensors.torch.load_file(..))` takes it.
    pub bytes: Vec<u8>,
    /// Whose keys it has.
    pub origin: &'static str,
    /// The class that takes it, with its arguments.
    pub class: String,
    /// The tensors, and what parameters they were.
    pub written: Vec<Read>,
    /// What is otherwise than in the model, or has to be known to use it, a sentence each.
    pub remarks: Vec<String>,
}

/// What an origin makes of a model.
pub(super) struct Written {
    pub entries: Vec<Entry>,
    /// The class with its arguments.
    pub class: String,
    /// The layers whose inputs are features, if need be several times side by side, or sums of them whose weights add up to
    /// 1; none where there are others.
    pub first: Vec<&'static str>,
    pub remarks: Vec<String>,
}

/// What the file says of the model, for a way back without loss.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    pub method: String,
    pub settings: Map<String, Value>,
    pub classes: Vec<String>,
    pub multi_label: bool,
    /// Where intervals of time meet whose hazards the outputs are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edges: Option<Vec<f32>>,
}

/// Writes a model with the keys of the program that it is an architecture of: CLAM and its baseline, DSMIL, TransMIL, DTFD-MIL,
/// Porpoise, torchmil's transformer, AttentionDeepMIL, or MIL-Lab's ABMIL and CLAM. A standardisation becomes part of the first layers, as those programs have none.
///
/// # Errors
/// [`Error::Setting`] for a model that none of them can hold, with the reason.
pub fn export(model: &Model) -> Result<Exported> {
    model.check_finite()?;
    model.check_fields()?;
    let spec = model.spec();
    let name = spec.method.name();
    let refuse = |message: String| Err(Error::setting("state-dict", message));
    let found = ORIGINS.iter().find_map(|origin| Some((origin, (origin.write)(spec)?)));
    let Some((origin, written)) = found else {
        return refuse(format!(
            "{name} has no layout of another program. The model file is a safetensors file already, of its parameters by name: \
             safetensors.torch.load_file reads it, and `bagrad show` lists names and shapes"
        ));
    };
    let Written { entries, class, first, mut remarks } = match written {
        Ok(written) => written,
        Err(message) => return refuse(format!("{name} as {}: {message}", origin.title)),
    };
    let mut plain = model.clone();
    if let Some(standardiser) = &model.standardisation {
        if first.is_empty() {
            return refuse(format!(
                "{name} as {}: its features are standardised, which its layers cannot take in; train with --no-standardise",
                origin.title
            ));
        }
        for layer in &first {
            let [weight, bias] = ["weight", "bias"].map(|part| format!("{layer}.{part}"));
            let (weights, biases) = folded(standardiser, model.parameter(&weight)?, model.parameter(&bias)?);
            plain.set_parameter(&weight, &weights)?;
            plain.set_parameter(&bias, &biases)?;
        }
        remarks.push(format!(
            "features are taken as the files have them: the standardisation became part of {}, so results agree to rounding",
            first.join(", ")
        ));
    }
    if let Some(columns) = &model.columns {
        let names = columns.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        remarks.push(format!(
            "features have names, which state dicts have not: they have to come in this order ({names}, ..)"
        ));
    }
    let said = Said {
        method: name.to_owned(),
        settings: spec.method.settings(),
        classes: spec.classes.clone(),
        multi_label: matches!(spec.target, Target::LabelSets),
        edges: match &spec.target {
            Target::Hazards(hazards) => Some(hazards.edges.clone()),
            _ => None,
        },
    };
    let said = serde_json::to_string(&said).map_err(|e| Error::setting("state-dict", e.to_string()))?;
    let (tensors, written) = layout::taken(&plain, &entries).map_err(|m| Error::setting("state-dict", m))?;
    let views = tensors.iter().map(|(key, shape, values)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values));
        (key, view.expect("length follows from the shape"))
    });
    let metadata = HashMap::from([(METADATA.to_owned(), said)]);
    let bytes = safetensors::serialize(views, Some(metadata)).expect("tensors are well formed");
    Ok(Exported { bytes, origin: origin.title, class, written, remarks })
}

/// A layer that makes of features what the layer made of standardised ones, computed in f64.
fn folded(by: &crate::standardise::Standardiser, weights: &[f32], biases: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let width = by.mean.len();
    let inputs = weights.len() / biases.len();
    let wide = |v: f32| f64::from(v);
    let mut folded = Vec::with_capacity(weights.len());
    let mut shifted = Vec::with_capacity(biases.len());
    for (row, bias) in weights.chunks_exact(inputs).zip(biases) {
        let mut shift = 0.0;
        for (column, weight) in row.iter().enumerate() {
            let scaled = wide(*weight) / wide(by.std[column % width]);
            shift += scaled * wide(by.mean[column % width]);
            folded.push(scaled as f32);
        }
        shifted.push((wide(*bias) - shift) as f32);
    }
    (folded, shifted)
}
