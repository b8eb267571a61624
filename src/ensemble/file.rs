//! Ensembles as files: a model file with several models in it, each of them under a prefix of its own.

use super::{Ensemble, Member};
use crate::bounded;
use crate::error::{Error, Result};
use crate::methods::Methods;
use crate::model::{self, Model};
use safetensors::tensor::SafeTensors;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The format of ensembles, above that of every single model: who reads those alone says so.
const FORMAT_VERSION: u32 = 4;

/// What the metadata says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    format_version: u32,
    ensemble: Vec<Told>,
}

/// What it says of a member.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metrics: BTreeMap<String, f64>,
    /// The description as in a file of this model alone.
    model: String,
}

/// What stands before the names of the tensors of a member.
fn prefix(at: usize) -> String {
    format!("members.{at}.")
}

impl Ensemble {
    /// Writes the ensemble: safetensors with the tensors of member n (from 0) as `members.n.NAME`, and all descriptions in
    /// the metadata. The file appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Setting`] for an ensemble of one: that is a model file ([`Model::save`]).
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        if self.members.len() < 2 {
            let message = "expected two models at least, found 1, which is a model file by itself";
            return Err(Error::setting("ensemble", message));
        }
        crate::files::write_atomically(path.as_ref(), self.to_bytes())
    }

    /// The content of a file; of a single member that of its model file.
    pub fn to_bytes(&self) -> Vec<u8> {
        if let [Member { model, .. }] = &self.members[..] {
            return model.to_bytes();
        }
        let told = |Member { model, name, metrics }: &Member| {
            // JSON has no other numbers.
            let metrics = metrics.iter().filter(|(_, value)| value.is_finite()).map(|(k, v)| (k.clone(), *v)).collect();
            Told { name: name.clone(), metrics, model: model.described() }
        };
        let described = Described { format_version: FORMAT_VERSION, ensemble: self.members.iter().map(told).collect() };
        let described = serde_json::to_string(&described).expect("plain data");
        let tensors = self.members.iter().enumerate().flat_map(|(at, member)| member.model.tensors(&prefix(at)));
        model::serialised(tensors.collect(), described)
    }

    /// Reads an ensemble, or a model file, which is an ensemble of one named after the file, of methods of this crate.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] that says what is wrong with the file, and of which member.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(path, &Methods::default())
    }

    /// As [`Ensemble::load`], of these methods.
    ///
    /// # Errors
    /// As [`Ensemble::load`].
    pub fn load_with(path: impl AsRef<Path>, methods: &Methods) -> Result<Self> {
        let path = path.as_ref();
        let bytes = bounded::read(path, model::MOST_OF_FILE)?;
        let read = Self::from_bytes_with(&bytes, &path.display().to_string(), methods);
        read.map_err(|message| Error::format(path, message))
    }

    /// Reads the content of such a file. `name` is that of the member where it is a file of one model.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self, String> {
        Self::from_bytes_with(bytes, name, &Methods::default())
    }

    fn from_bytes_with(bytes: &[u8], name: &str, methods: &Methods) -> Result<Self, String> {
        let text = model::description(bytes)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let version = serde_json::from_str::<Version>(&text).map(|found| found.format_version);
        if version.map_or(true, |found| found != FORMAT_VERSION) {
            let model = Model::read(&text, (&tensors, ""), methods)?;
            // A path may be longer than a name; its end tells it apart.
            let from = (0..=name.len()).find(|&at| name.len() - at <= Self::LONGEST && name.is_char_boundary(at));
            let member = Member::new(&name[from.unwrap_or(name.len())..], model);
            return Self::new(vec![member]).map_err(|e| e.to_string());
        }
        let Described { ensemble, .. } =
            serde_json::from_str(&text).map_err(|e| format!("metadata \"bagrad\": {e}"))?;
        if !(2..=Self::MOST).contains(&ensemble.len()) {
            return Err(format!("expected 2 to {} members, found {}", Self::MOST, ensemble.len()));
        }
        let read = |(at, told): (usize, Told)| {
            let model = Model::read(&told.model, (&tensors, &prefix(at)), methods);
            let model = model.map_err(|message| format!("member {} ({}): {message}", at + 1, told.name))?;
            Ok(Member { model, name: told.name, metrics: told.metrics })
        };
        let members = ensemble.into_iter().enumerate().map(read).collect::<Result<_, String>>()?;
        Self::new(members).map_err(|e| e.to_string())
    }
}

/// What every description has.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}
