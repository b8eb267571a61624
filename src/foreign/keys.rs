//! Tensors by their keys, as the files of origins ask for them.

use crate::data::weights::{Tensor, Weights};
use std::collections::{BTreeMap, BTreeSet};

/// The tensors of a state dict, by their keys without a prefix.
pub(super) struct Keys<'a> {
    tensors: BTreeMap<&'a str, &'a Tensor>,
    /// Keys without that prefix.
    outside: Vec<&'a str>,
}

impl<'a> Keys<'a> {
    pub fn of(weights: &'a Weights) -> Self {
        let tensors = weights.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor));
        Self { tensors: tensors.collect(), outside: Vec::new() }
    }

    /// Those that begin with `prefix`, without it.
    pub fn below(mut self, prefix: &str) -> Self {
        let mut tensors = BTreeMap::new();
        for (key, tensor) in &self.tensors {
            match key.strip_prefix(prefix) {
                Some(rest) => drop(tensors.insert(rest, *tensor)),
                None => self.outside.push(tensor.name.as_str()),
            }
        }
        Self { tensors, outside: self.outside }
    }

    /// Keys that were left out.
    pub fn outside(&self) -> impl Iterator<Item = &'a str> {
        self.outside.iter().copied()
    }

    /// All keys.
    pub fn all(&self) -> impl Iterator<Item = &'a str> {
        self.tensors.keys().copied()
    }

    /// The tensor of a key.
    pub fn get(&self, key: &str) -> Option<&'a Tensor> {
        self.tensors.get(key).copied()
    }

    /// True where there is the key.
    pub fn has(&self, key: &str) -> bool {
        self.tensors.contains_key(key)
    }

    /// True where a key begins so.
    pub fn any(&self, start: &str) -> bool {
        self.tensors.range(start..).next().is_some_and(|(key, _)| key.starts_with(start))
    }

    /// The numbers N of keys that begin with `start` and `N.`.
    pub fn numbers(&self, start: &str) -> BTreeSet<usize> {
        let keys = self.all().filter_map(|key| key.strip_prefix(start)?.split_once('.')?.0.parse().ok());
        keys.collect()
    }

    /// The shape of a key.
    ///
    /// # Errors
    /// When it is missing.
    pub fn shape(&self, key: &str) -> Result<&'a [usize], String> {
        self.get(key).map(|tensor| &tensor.shape[..]).ok_or_else(|| format!("{key} is missing"))
    }

    /// Outputs and inputs of the layer `name`, by the shape of its weight.
    ///
    /// # Errors
    /// When that is missing or no matrix with values.
    pub fn layer(&self, name: &str) -> Result<[usize; 2], String> {
        let key = format!("{name}.weight");
        match *self.shape(&key)? {
            [outputs, inputs] if outputs > 0 && inputs > 0 => Ok([outputs, inputs]),
            ref shape => Err(format!("{key}: expected [outputs, inputs], found {shape:?}")),
        }
    }
}
