//! Which tensor of a state dict is which parameter of a model, in both directions.

use super::Read;
use super::keys::Keys;
use crate::model::{Model, ParamInfo};
use std::collections::HashMap;

/// A tensor of a state dict, and what of a model it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub shape: Vec<usize>,
    pub of: Of,
}

/// What of a model a tensor is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Of {
    /// These parameters, the values of one behind those of the other.
    Parameters(Vec<String>),
    /// Two rows for two classes, of which softmax knows the difference alone: this parameter of one row is the second less
    /// the first.
    Difference(String),
}

/// What is told of such a tensor.
const DIFFERENCE: &str = "the second row less the first: softmax over two outputs is sigmoid of their difference";
const PARTS: &str = "parts of its rows";
/// And where it is made.
const FROM_ONE: &str = "a row of zeros above that of the parameter: softmax over the two is sigmoid of the one logit";

/// Weight and bias of a layer with `[outputs, inputs]`.
pub(super) fn linear(key: &str, parameter: &str, [outputs, inputs]: [usize; 2]) -> [Entry; 2] {
    [("weight", vec![outputs, inputs]), ("bias", vec![outputs])].map(|(part, shape)| Entry {
        key: format!("{key}.{part}"),
        shape,
        of: Of::Parameters(vec![format!("{parameter}.{part}")]),
    })
}

/// A tensor that is a parameter.
pub(super) fn whole(key: impl Into<String>, parameter: impl Into<String>, shape: &[usize]) -> Entry {
    Entry { key: key.into(), shape: shape.into(), of: Of::Parameters(vec![parameter.into()]) }
}

/// Gain and bias of a layer norm.
pub(super) fn layer_norm(key: &str, parameter: &str, width: usize) -> [Entry; 2] {
    [("weight", "gain"), ("bias", "bias")]
        .map(|(part, of)| whole(format!("{key}.{part}"), format!("{parameter}.{of}"), &[width]))
}

/// The last layer of softmax over `classes` outputs, which a model of two classes has as one.
pub(super) fn softmax_head(key: &str, parameter: &str, classes: usize, inputs: usize) -> [Entry; 2] {
    linear(key, parameter, [classes, inputs]).map(|entry| match entry.of {
        Of::Parameters(mut parameters) if classes == 2 => Entry { of: Of::Difference(parameters.remove(0)), ..entry },
        _ => entry,
    })
}

impl Entry {
    fn parameters(&self) -> &[String] {
        match &self.of {
            Of::Parameters(names) => names,
            Of::Difference(name) => std::slice::from_ref(name),
        }
    }
}

/// Fills all parameters of `model` from the tensors; answers what became of each. `unused` are keys that need no entry.
///
/// # Errors
/// All keys that are missing, have another shape, or belong to nothing; a parameter that nothing fills.
pub(super) fn fill(
    model: &mut Model,
    keys: &Keys,
    entries: &[Entry],
    unused: &[(String, String)],
) -> Result<Vec<Read>, String> {
    check_keys(keys, entries, unused)?;
    let infos: HashMap<String, ParamInfo> =
        model.parameters().iter().map(|info| (info.name.clone(), info.clone())).collect();
    check_parameters(&infos, entries)?;
    let mut read = Vec::new();
    for entry in entries {
        let tensor = keys.get(&entry.key).ok_or_else(|| format!("{} is missing", entry.key))?;
        let values = tensor.values.as_deref().ok_or_else(|| of_integers(&entry.key, &tensor.kind))?;
        let set = |model: &mut Model, name: &str, values: &[f32]| {
            model.set_parameter(name, values).map_err(|e| format!("{}: {e}", entry.key))
        };
        let how = match &entry.of {
            Of::Parameters(names) => {
                let mut rest = values;
                for name in names {
                    let (first, after) = rest.split_at(infos[name].len());
                    set(model, name, first)?;
                    rest = after;
                }
                (names.len() > 1).then_some(PARTS)
            }
            Of::Difference(name) => {
                let (first, second) = values.split_at(values.len() / 2);
                set(model, name, &first.iter().zip(second).map(|(a, b)| b - a).collect::<Vec<f32>>())?;
                Some(DIFFERENCE)
            }
        };
        let parameters = entry.parameters().to_vec();
        read.push(Read { key: tensor.name.clone(), shape: tensor.shape.clone(), parameters, how });
    }
    Ok(read)
}

/// A tensor of a state dict: its key, shape and values.
pub(super) type Made = (String, Vec<usize>, Vec<f32>);

/// The tensors of a state dict, from the parameters of `model`.
///
/// # Errors
/// When entries and parameters do not fit, which would be a mistake of the origin's file.
pub(super) fn taken(model: &Model, entries: &[Entry]) -> Result<(Vec<Made>, Vec<Read>), String> {
    let infos = model.parameters().iter().map(|info| (info.name.clone(), info.clone()));
    check_parameters(&infos.collect(), entries)?;
    let (mut tensors, mut written) = (Vec::new(), Vec::new());
    for entry in entries {
        let Entry { key, shape, of } = entry;
        let values = |name: &String| model.parameter(name).map_err(|e| e.to_string());
        let (values, how) = match of {
            Of::Parameters(names) => {
                let parts = names.iter().map(values).collect::<Result<Vec<_>, String>>()?;
                (parts.concat(), (parts.len() > 1).then_some(PARTS))
            }
            Of::Difference(name) => {
                let second = values(name)?;
                ([vec![0.0; second.len()], second.to_vec()].concat(), Some(FROM_ONE))
            }
        };
        tensors.push((key.clone(), shape.clone(), values));
        let parameters = entry.parameters().to_vec();
        written.push(Read { key: key.clone(), shape: shape.clone(), parameters, how });
    }
    Ok((tensors, written))
}

fn of_integers(key: &str, kind: &str) -> String {
    format!("{key}: expected floats, found {kind}")
}

/// Every entry has its tensor, every tensor its entry.
fn check_keys(keys: &Keys, entries: &[Entry], unused: &[(String, String)]) -> Result<(), String> {
    let mut wrong = Vec::new();
    for entry in entries {
        match keys.get(&entry.key) {
            None => wrong.push(format!("{} is missing", entry.key)),
            Some(tensor) if tensor.shape != entry.shape => {
                wrong.push(format!("{}: expected {:?}, found {:?}", entry.key, entry.shape, tensor.shape));
            }
            Some(tensor) if tensor.values.is_none() => wrong.push(of_integers(&entry.key, &tensor.kind)),
            Some(_) => {}
        }
    }
    let known = |key: &str| entries.iter().any(|e| e.key == key) || unused.iter().any(|(unused, _)| unused == key);
    wrong.extend(keys.all().filter(|key| !known(key)).map(|key| format!("{key} belongs to no part of it")));
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Every parameter is filled once, and has as many values as its tensor.
fn check_parameters(infos: &HashMap<String, ParamInfo>, entries: &[Entry]) -> Result<(), String> {
    let mut filled: Vec<&String> = entries.iter().flat_map(Entry::parameters).collect();
    filled.sort_unstable();
    if let Some(twice) = filled.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two tensors are the parameter {}", twice[0]));
    }
    let asks = "; a setting asks for what is not in the weights";
    for entry in entries {
        let mut values = 0;
        for name in entry.parameters() {
            let info = infos.get(name);
            values += info.ok_or_else(|| format!("{}: the method has no parameter {name}{asks}", entry.key))?.len();
        }
        let expected = if matches!(entry.of, Of::Difference(_)) { 2 * values } else { values };
        let found: usize = entry.shape.iter().product();
        if expected != found {
            let (key, shape) = (&entry.key, &entry.shape);
            return Err(format!("{key} {shape:?}: the method wants {expected} values there{asks}"));
        }
    }
    let mut names: Vec<&String> = infos.keys().filter(|name| filled.binary_search(name).is_err()).collect();
    names.sort_unstable();
    match names.first() {
        Some(name) => Err(format!("nothing in the weights is the parameter {name} {:?}{asks}", infos[*name].shape)),
        None => Ok(()),
    }
}
