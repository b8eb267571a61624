//! State dicts in PyTorch files, by themselves or within what trainings save.

use super::super::weights::{Found, gather};
use super::container::Container;
use super::pickle::{At, Objects, Pickle, Tensor, Value};
use super::{Reason, values};
use crate::data::weights::Weights;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;

/// Where trainings keep the state dict among other things; the first that is there is taken.
const WITHIN: [&str; 8] =
    ["state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params"];

/// Dicts within dicts that are looked through.
const DEEPEST: usize = 4;

/// Names in a message.
const SHOWN: usize = 8;

/// The tensors of a file of `length` bytes.
///
/// # Errors
/// What is wrong with it, or that it holds something else.
pub(in super::super) fn read(mut file: File, length: u64) -> Result<Weights, Reason> {
    let container = Container::open(&mut file, Objects::PassedOver)?;
    let (pickle, mut remarks) = (&container.pickle, Vec::new());
    let tensors = search(pickle, pickle.root(), DEEPEST, &mut remarks)?;
    let classes: BTreeSet<&str> = pickle.objects().collect();
    if !classes.is_empty() {
        let classes = listed(classes.into_iter());
        remarks.push(format!("the file also holds objects ({classes}), of which nothing was read or executed"));
    }
    let file = RefCell::new(file);
    let found = tensors.into_iter().map(|(name, tensor)| {
        let at = container.place(&tensor.storage)?;
        let (file, big_endian) = (&file, container.big_endian);
        let bytes = move || values(&mut file.borrow_mut(), tensor, at, big_endian);
        let (shape, number) = (tensor.shape.clone(), tensor.storage.number);
        Ok(Found { name, shape, number, bytes: Box::new(bytes) })
    });
    let tensors = gather(found.collect::<Result<_, Reason>>()?, length)?;
    Ok(Weights { tensors, remarks, metadata: Vec::new() })
}

/// Some names, and how many more there are.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// The tensors of a value by their names, where it is a dict that has some.
fn tensors_of<'a>(pickle: &'a Pickle, value: &'a Value) -> Vec<(&'a str, &'a Tensor)> {
    let Value::Dict(pairs) = value else { return Vec::new() };
    let named = |&(key, value): &(At, At)| match (pickle.value(key), pickle.value(value)) {
        (Value::Text(name), Value::Tensor(tensor)) => Some((name.as_str(), tensor)),
        _ => None,
    };
    pairs.iter().filter_map(named).collect()
}

/// The tensors of a dict by their names, or those of a dict in it, or of several that lie side by side.
fn search<'a>(
    pickle: &'a Pickle,
    root: &'a Value,
    deep: usize,
    remarks: &mut Vec<String>,
) -> Result<Vec<(String, &'a Tensor)>, Reason> {
    let pairs = match root {
        Value::Dict(pairs) => pairs,
        Value::Object(class) => {
            return Err(format!(
                "it holds an object of the class {class}, whose program alone can read it; there, save the tensors by name: \
                 torch.save(model.state_dict(), \"weights.pt\")"
            ));
        }
        _ => return Err("expected tensors by name (a state dict), found something else".into()),
    };
    let named = |&(key, value): &(At, At)| match pickle.value(key) {
        Value::Text(name) => Some((name.as_str(), pickle.value(value))),
        _ => None,
    };
    let all: Vec<(&str, &Value)> = pairs.iter().filter_map(named).collect();
    let tensors: Vec<(&str, &Tensor)> = all
        .iter()
        .filter_map(|&(name, value)| match value {
            Value::Tensor(tensor) => Some((name, tensor)),
            _ => None,
        })
        .collect();
    if !tensors.is_empty() {
        let others = all.iter().filter(|(_, value)| !matches!(value, Value::Tensor(_))).map(|(name, _)| *name);
        let others = listed(others);
        if !others.is_empty() {
            remarks.push(format!("no tensors, and not read: {others}"));
        }
        return Ok(tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect());
    }
    let is_dict = |value: &Value| matches!(value, Value::Dict(_));
    let within = WITHIN.iter().find_map(|name| all.iter().find(|(key, value)| key == name && is_dict(value)));
    if within.is_none() {
        let parts: Vec<(&str, Vec<(&str, &Tensor)>)> = all
            .iter()
            .map(|&(name, value)| (name, tensors_of(pickle, value)))
            .filter(|(_, of)| !of.is_empty())
            .collect();
        if parts.len() > 1 {
            let others =
                listed(all.iter().map(|(key, _)| *key).filter(|key| parts.iter().all(|(name, _)| name != key)));
            let not_read = if others.is_empty() { String::new() } else { format!("; not read: {others}") };
            let names = listed(parts.iter().map(|(name, _)| *name));
            remarks.push(format!(
                "the tensors are those of several dicts, by whose names theirs begin: {names}{not_read}"
            ));
            let joined = |(name, of): &(&str, Vec<(&str, &'a Tensor)>)| {
                of.iter().map(|&(key, tensor)| (format!("{name}.{key}"), tensor)).collect::<Vec<_>>()
            };
            return Ok(parts.iter().flat_map(joined).collect());
        }
    }
    let Some(&(name, dict)) = within.filter(|_| deep > 1) else {
        let found = listed(all.iter().map(|(name, _)| *name));
        return Err(format!("expected tensors by name, or a dict of them under {}; found {found}", WITHIN.join(", ")));
    };
    let others = listed(all.iter().map(|(key, _)| *key).filter(|key| *key != name));
    let not_read = if others.is_empty() { String::new() } else { format!("; not read: {others}") };
    remarks.push(format!("the tensors are those under {name:?}{not_read}"));
    search(pickle, dict, deep - 1, remarks)
}
