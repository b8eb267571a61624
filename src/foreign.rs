//! Weights of other people's programs as models of this one, and back.
//!
//! A state dict is recognised by its keys and shapes: those of Ilse's attention network (AttentionDeepMIL), CLAM and its
//! baseline, DSMIL, TransMIL, DTFD-MIL, Porpoise, torchmil's transformer, and the ABMIL, CLAM and TransMIL of MIL-Lab. Each origin is a file here: how its keys are known, what of a method's settings they
//! tell, and one list of which tensor is which parameter, which is read in both directions.
//!
//! [`export()`] writes a model with the keys of such a program.
//!
//! Nothing is guessed in silence. A tensor that is missing, has another shape or belongs to nothing is an error with its key;
//! what weights cannot tell (a rate of dropout, which of two classes is the positive one) is assumed in words, which are
//! kept with the model ([`Model::remarks`]).
//!
//! ```no_run
//! use bagrad::foreign::{Asked, import};
//!
//! # fn main() -> bagrad::Result<()> {
//! let asked = Asked { classes: Some(vec!["normal".into(), "tumour".into()]), ..Asked::default() };
//! let imported = import("s_0_checkpoint.pt", &asked)?;
//! imported.assumed.iter().for_each(|remark| println!("{remark}"));
//! imported.model.save("clam.safetensors")?;
//! # Ok(())
//! # }
//! ```

mod abmil;
mod clam;
mod clam_mil;
mod dsmil;
mod dtfd;
mod export;
mod keys;
mod layout;
mod mil_lab;
mod mil_lab_clam;
mod others;
mod porpoise;
mod torchmil;
mod transmil;

use crate::data::weights::Weights;
use crate::error::{Error, Result};
use crate::methods::Method;
use crate::model::{Model, Spec};
use crate::target::Target;
use export::{Said, Written};
use keys::Keys;
use layout::Entry;
use others::{OTHERS, Other};
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::Path;

pub use export::{Exported, METADATA, export};

/// What a caller says of weights that do not tell.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Names of the classes in the order of the outputs; of two the second is the positive one. Without them classes are
    /// called by their numbers. DSMIL may have one name more than outputs: the first is then of bags that show none of the
    /// others.
    pub classes: Option<Vec<String>>,
    /// The outputs are labels of which a bag has any number, where the origin allows it (DSMIL).
    pub multi_label: bool,
    /// The outputs are hazards of intervals of time, which meet at these times, where the origin allows it (Porpoise).
    pub edges: Option<Vec<f32>>,
    /// Settings of the method that the weights do not tell, by name.
    pub settings: Map<String, Value>,
}

/// A tensor of the weights and what it became.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Read {
    /// Its key, as the file has it.
    pub key: String,
    /// Its shape there.
    pub shape: Vec<usize>,
    /// The parameters that it became.
    pub parameters: Vec<String>,
    /// How, where it is not value by value.
    pub how: Option<&'static str>,
}

/// A model that was made of other people's weights.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The model; [`Model::remarks`] has where it is from and what was assumed.
    pub model: Model,
    /// Whose architecture it is.
    pub origin: &'static str,
    /// The tensors that were used.
    pub read: Vec<Read>,
    /// Keys that were not, and why.
    pub unused: Vec<(String, String)>,
    /// What the weights do not tell, and what was taken in its place, a sentence each.
    pub assumed: Vec<String>,
    /// What the reader of the file looked past.
    pub remarks: Vec<String>,
}

/// An architecture of other people.
struct Origin {
    /// Its name, for people.
    title: &'static str,
    /// Keys by which it is known, for people.
    known_by: &'static str,
    /// Whether these are its keys.
    is: fn(&Keys) -> bool,
    /// What they are a model of.
    ///
    /// # Errors
    /// Which tensor does not fit, or what there is of it that no method computes.
    read: fn(&Keys, &Asked) -> Result<Found, String>,
    /// A model with its keys; `None` for a method that is not of this origin.
    write: fn(&Spec) -> Option<Result<Written, String>>,
}

/// All of them. No two have a key in common by which they are known.
static ORIGINS: [Origin; 11] = [
    clam::ORIGIN,
    clam_mil::ORIGIN,
    porpoise::ORIGIN,
    dsmil::ORIGIN,
    transmil::ORIGIN,
    dtfd::ORIGIN,
    torchmil::ORIGIN,
    abmil::ORIGIN,
    mil_lab::ORIGIN,
    mil_lab_clam::ORIGIN,
    transmil::MIL_LAB,
];

/// What keys and shapes tell.
struct Found {
    method: Method,
    /// Features of an instance.
    width: usize,
    /// Number of classes.
    classes: usize,
    target: Target,
    entries: Vec<Entry>,
    /// Keys that belong to the architecture and not to what is computed, and why.
    unused: Vec<(String, String)>,
    assumed: Vec<String>,
}

/// What may stand in front of all keys: of Lightning's modules, of `DataParallel`, of programs that wrap a model.
const PREFIXES: [&str; 4] = ["module.", "model.", "net.", "network."];

/// Names that a message lists.
const SHOWN: usize = 40;

/// Reads weights and makes a model of them.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`] for a file that holds no weights that are recognised, with the keys that it has, or
/// with the tensor that is not as it should be, and [`Error::Setting`] for classes or settings that do not fit.
pub fn import(path: impl AsRef<Path>, asked: &Asked) -> Result<Imported> {
    let path = path.as_ref();
    let weights = Weights::open(path)?;
    let wrong = |message: String| Error::format(path, message);
    if weights.metadata.iter().any(|(key, _)| key == "bagrad") {
        return Err(wrong("it is a model of bagrad already".into()));
    }
    let (origin, keys) = recognise(&weights).map_err(wrong)?;
    let said = said_by(&weights).map_err(wrong)?;
    let asked = &with_said(asked, said.as_ref());
    let all = || format!("the keys are: {}", listed(&weights));
    let mut found = (origin.read)(&keys, asked).map_err(|m| wrong(format!("{}: {m}; {}", origin.title, all())))?;
    let strange = keys.outside().map(|key| (key.to_owned(), "not under the same prefix as the model".to_owned()));
    found.unused.extend(strange);
    if let Some(said) = &said {
        if said.method != found.method.name() {
            return Err(wrong(format!("its metadata tell of {}, its keys of {}", said.method, found.method.name())));
        }
        found.assumed =
            vec!["settings and names of classes are those of the model that bagrad exported to this file".into()];
    }
    if asked.edges.is_some() && !matches!(found.target, Target::Hazards(_)) {
        let message = format!("intervals of time are for outputs that are hazards; those of {} are not", origin.title);
        return Err(Error::setting("edges", message));
    }
    let classes = names_of(&found, asked)?;
    found.method = found.method.with(&asked.settings)?;
    let spec = Spec { method: found.method, width: found.width, classes, target: found.target };
    let mut model = Model::new(spec, 0)?;
    let read = layout::fill(&mut model, &keys, &found.entries, &found.unused)
        .map_err(|m| wrong(format!("{}: {m}; {}", origin.title, all())))?;
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    model.remarks = vec![format!("imported from {name}, weights of {}", origin.title)];
    model.remarks.extend(found.assumed.iter().cloned());
    let (unused, assumed) = (found.unused, found.assumed);
    Ok(Imported { model, origin: origin.title, read, unused, assumed, remarks: weights.remarks })
}

/// What a file that [`export()`] wrote says of the model.
fn said_by(weights: &Weights) -> Result<Option<Said>, String> {
    let text = weights.metadata.iter().find(|(key, _)| key == METADATA);
    text.map(|(_, text)| serde_json::from_str(text).map_err(|e| format!("metadata {METADATA:?}: {e}"))).transpose()
}

/// What the caller says, and else the file.
fn with_said(asked: &Asked, said: Option<&Said>) -> Asked {
    let mut asked = asked.clone();
    if let Some(said) = said {
        asked.multi_label |= said.multi_label;
        match &said.edges {
            Some(edges) => drop(asked.edges.get_or_insert_with(|| edges.clone())),
            None => drop(asked.classes.get_or_insert_with(|| said.classes.clone())),
        }
        for (name, value) in &said.settings {
            asked.settings.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    asked
}

/// The origin of these weights, and their keys without what stands in front of all.
fn recognise(weights: &Weights) -> Result<(&'static Origin, Keys<'_>), String> {
    let mut keys = Keys::of(weights);
    // A wrapper in a wrapper in a wrapper.
    for _ in 0..3 {
        let known: Vec<&Origin> = ORIGINS.iter().filter(|origin| (origin.is)(&keys)).collect();
        match known[..] {
            [] => {}
            [origin] => return Ok((origin, keys)),
            _ => {
                let titles: Vec<&str> = known.iter().map(|origin| origin.title).collect();
                return Err(format!("its keys are those of several architectures: {}", titles.join("; ")));
            }
        }
        if let Some(other) = OTHERS.iter().find(|other| known.is_empty() && (other.is)(&keys)) {
            let Other { title, why, .. } = other;
            return Err(format!(
                "its keys are those of {title}, which no method here computes: {why}; the keys are: {}",
                listed(weights)
            ));
        }
        let Some(prefix) = PREFIXES.iter().find(|prefix| keys.any(prefix)) else { break };
        keys = keys.below(prefix);
    }
    let known: Vec<String> = ORIGINS.iter().map(|origin| format!("{}: {}", origin.title, origin.known_by)).collect();
    let found = listed(weights);
    Err(format!(
        "these are no weights that are recognised. Recognised are: {}. Its keys are: {found}",
        known.join("; ")
    ))
}

/// Keys and shapes, and how many more there are.
fn listed(weights: &Weights) -> String {
    if weights.tensors.is_empty() {
        return "none".into();
    }
    let shown = |key: &str| key.chars().take(80).collect::<String>();
    let keys = weights.tensors.iter().take(SHOWN).map(|tensor| format!("{} {:?}", shown(&tensor.name), tensor.shape));
    let text = keys.collect::<Vec<_>>().join(", ");
    match weights.tensors.len().saturating_sub(SHOWN) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// Names of the classes: those that were given, or numbers, which is told.
fn names_of(found: &Found, asked: &Asked) -> Result<Vec<String>> {
    let count = found.classes;
    let Some(names) = &asked.classes else { return Ok((0..count).map(|class| class.to_string()).collect()) };
    if names.len() != count {
        let message = format!("expected names of {count} classes, found {}: {}", names.len(), names.join(", "));
        return Err(Error::setting("classes", message));
    }
    if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name) || name.is_empty()) {
        return Err(Error::setting("classes", format!("{:?} is given twice, or is no name", twice.1)));
    }
    Ok(names.clone())
}

/// What is told of classes that nobody named, and of which of two is the positive one.
fn of_classes(asked: &Asked, two: bool) -> Vec<String> {
    let mut told = Vec::new();
    if asked.classes.is_none() {
        told.push(
            "the weights have no names of classes: they are called by their numbers (--classes names them)".into(),
        );
    }
    if two {
        let second = asked.classes.as_ref().and_then(|names| names.get(1)).map_or("1", String::as_str);
        told.push(format!("of the two classes the second, {second}, is taken for the positive one"));
    }
    told
}
