//! A target among the keys of a model's description.

use super::{Cox, Hazards, Number, Target};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

impl Target {
    fn name(&self) -> Option<&'static str> {
        match self {
            Self::Classes | Self::LabelSets => None,
            Self::Ordered => Some("ordered"),
            Self::Number(_) => Some("number"),
            Self::Hazards(_) => Some("hazards"),
            Self::Cox(_) => Some("cox"),
        }
    }
}

/// As a map with one key or none, which stands among the keys of a model's description.
impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::Classes => {}
            Self::LabelSets => map.serialize_entry("multi_label", &true)?,
            _ => map.serialize_entry("target", &Described(self))?,
        }
        map.end()
    }
}

struct Described<'a>(&'a Target);

impl Serialize for Described<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = self.0.name().unwrap_or_default();
        let mut map = serializer.serialize_map(Some(1))?;
        match self.0 {
            Target::Number(number) => map.serialize_entry(name, number)?,
            Target::Hazards(hazards) => map.serialize_entry(name, hazards)?,
            Target::Cox(cox) => map.serialize_entry(name, cox)?,
            Target::Classes | Target::LabelSets | Target::Ordered => map.serialize_entry(name, &true)?,
        }
        map.end()
    }
}

/// What stands behind the key `target` of a description.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Read {
    Ordered(bool),
    Number(Number),
    Hazards(Hazards),
    Cox(Cox),
}

impl Read {
    /// The target.
    ///
    /// # Errors
    /// What is out of range.
    pub fn target(self) -> Result<Target, String> {
        let target = match self {
            Read::Ordered(true) => Target::Ordered,
            Read::Ordered(false) => return Err("expected true behind ordered".into()),
            Read::Number(number) => Target::Number(number),
            Read::Hazards(hazards) => Target::Hazards(hazards),
            Read::Cox(cox) => Target::Cox(cox),
        };
        target.checked().map_err(|e| e.to_string())
    }
}
