//! The description of a model in its file, as JSON.

use super::file::FORMAT_VERSION;
use super::{Record, Spec};
use crate::methods::{Methods, ordered};
use crate::origin::Origin;
use crate::target::{Read, Target};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a model file's metadata says.
#[derive(Serialize)]
pub(super) struct Described {
    pub format_version: u32,
    #[serde(flatten)]
    pub spec: Spec,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Fingerprints of constants that were made of another model.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub derived: BTreeMap<String, String>,
    /// What people should know of the model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// How it came about.
    #[serde(skip_serializing_if = "Record::is_empty")]
    pub record: Record,
}

impl Described {
    /// Reads the text of a description. Its keys are those of the model and the settings of the method side by side; a
    /// setting may be called as a key of the model is (`width`, of transmil), and then comes first.
    pub fn read(text: &str, methods: &Methods) -> Result<Self, String> {
        let mut pairs = ordered::pairs(text).map_err(|e| e.to_string())?;
        fn take<T: DeserializeOwned>(pairs: &mut Vec<(String, Value)>, key: &str) -> Result<Option<T>, String> {
            let Some(at) = pairs.iter().rposition(|(name, _)| name == key) else { return Ok(None) };
            serde_json::from_value(pairs.remove(at).1).map(Some).map_err(|e| format!("{key}: {e}"))
        }
        let needed = |key: &str| format!("missing field `{key}`");
        let format_version = take(&mut pairs, "format_version")?.ok_or_else(|| needed("format_version"))?;
        if format_version > FORMAT_VERSION {
            if let Ok(Some(members)) = take::<Vec<Value>>(&mut pairs, "ensemble") {
                return Err(format!(
                    "is an ensemble of {} models, and one model is expected here: `bagrad ensemble FILE --member N --out \
                     model.safetensors` takes one out (in a program: Ensemble::load)",
                    members.len()
                ));
            }
            return Err(format!("has format version {format_version}; this program reads up to {FORMAT_VERSION}"));
        }
        let name: String = take(&mut pairs, "method")?.ok_or_else(|| needed("method"))?;
        let width = take(&mut pairs, "width")?.ok_or_else(|| needed("width"))?;
        let classes = take(&mut pairs, "classes")?.ok_or_else(|| needed("classes"))?;
        // A single one of these is the method's, if it has such a setting.
        let settings = methods.read(&name, &Map::new()).map_err(|e| e.to_string())?.settings();
        let count = |pairs: &[(String, Value)], key| pairs.iter().filter(|(name, _)| name == key).count();
        let of_model = |pairs: &[(String, Value)], key| count(pairs, key) > usize::from(settings.contains_key(key));
        let multi_label =
            if of_model(&pairs, "multi_label") { take(&mut pairs, "multi_label")?.unwrap_or(false) } else { false };
        let target: Option<Read> = if of_model(&pairs, "target") { take(&mut pairs, "target")? } else { None };
        let target = match (target, multi_label) {
            (Some(_), true) => return Err("has both `target` and `multi_label`".into()),
            (Some(read), false) => read.target().map_err(|message| format!("target: {message}"))?,
            (None, true) => Target::LabelSets,
            (None, false) => Target::Classes,
        };
        let columns = if of_model(&pairs, "columns") { take(&mut pairs, "columns")? } else { None };
        let derived: Option<_> = if of_model(&pairs, "derived") { take(&mut pairs, "derived")? } else { None };
        let derived = derived.unwrap_or_default();
        let origin: Option<Origin> = if of_model(&pairs, "origin") { take(&mut pairs, "origin")? } else { None };
        origin.as_ref().map_or(Ok(()), Origin::check).map_err(|message| format!("origin: {message}"))?;
        let remarks: Option<_> = if of_model(&pairs, "remarks") { take(&mut pairs, "remarks")? } else { None };
        let remarks = remarks.unwrap_or_default();
        let record: Option<Record> = if of_model(&pairs, "record") { take(&mut pairs, "record")? } else { None };
        let record = record.unwrap_or_default();
        if let Some((twice, _)) = pairs.iter().find(|(key, _)| count(&pairs, key) > 1) {
            return Err(format!("duplicate field `{twice}`"));
        }
        let method = methods.read(&name, &pairs.into_iter().collect()).map_err(|e| e.to_string())?;
        let spec = Spec { method, width, classes, target };
        Ok(Self { format_version, spec, columns, origin, derived, remarks, record })
    }
}
