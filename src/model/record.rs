//! How a model came about, as its file tells those who have nothing else of it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a model came about. What is left empty is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Record {
    /// What the bags are called that it was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// How many bags it was trained on (`train`), chosen by (`validation`) and tested on (`test`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub bags: BTreeMap<String, u64>,
    /// Its scores, such as `test_auc`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, f64>,
    /// Seed of the training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The terms that it may be used under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
}

impl Record {
    /// True when nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
