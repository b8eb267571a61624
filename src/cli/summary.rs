//! What a run answers: an object for programs, a table for people.

use super::experiment::{Evaluation, Finished, Plan, part_name};
use super::table::{score, table};
use bagrad::Bags;
use bagrad::data::{Split, split};
use bagrad::device::Device;
use bagrad::model::Record;
use bagrad::training::metrics::{BagScores, Froc, LabelScores};
use serde_json::{Map, Value, json};

/// The result as one object. Scores are named `<part>_<score>`, and `positive` is the class that AUC and F1 are of (null
/// for more than two, and for several labels a bag, of which they are means); what is not defined is null, and the
/// instance scores are left out where nobody knows the key instances.
pub fn object(plan: &Plan, done: &Finished, device: &Device) -> Map<String, Value> {
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| drop(all.insert(name.to_owned(), value));
    put("method", json!(plan.method.name()));
    put("data", json!(plan.data));
    put("seed", json!(plan.settings.seed));
    put("device", json!(device.name()));
    put("device_description", json!(device.description()));
    put("seconds", json!(done.seconds));
    put("training_seconds", json!(done.outcome.seconds));
    put("steps", json!(done.outcome.steps));
    put("epochs", json!(done.outcome.epochs.len()));
    put("kept_epoch", json!(done.outcome.kept));
    if let Some(before) = &done.outcome.before {
        put("before", json!(before));
    }
    put("precision", json!(plan.settings.precision));
    if let Some(state) = done.outcome.loss_scale {
        put("loss_scale", json!(state.scale));
        put("skipped_updates", json!(state.skipped));
    }
    put("parameters", json!(done.outcome.model.parameter_count()));
    put("positive", json!(positive(&done.set.bags)));
    put("scores_are", json!(done.predictions.scores_are));
    if let Some(groups) = &done.set.bags.groups {
        put("groups", json!(split::count_groups(groups)));
    }
    for part in Split::ALL {
        let bags = done.part(part).map_or(0, |e| e.bags.len());
        put(&format!("{}_bags", part_name(part)), json!(bags));
    }
    for part in Split::ALL {
        if let Some(e) = done.part(part) {
            scores(part_name(part), e, &done.set.bags).into_iter().for_each(|(name, value)| put(&name, value));
        }
    }
    if let Some((part, e)) = done.judged()
        && let Some(auc) = e.instances
    {
        put("instance_auc", json!(auc.pooled));
        put("instance_auc_per_bag", json!(auc.per_bag));
        put("instance_auc_of", json!(part_name(part)));
        of_lesions(e).into_iter().for_each(|(name, value)| put(name, value));
    }
    all
}

/// The free-response ROC curve, where there is one.
pub fn of_lesions(e: &Evaluation) -> Vec<(&'static str, Value)> {
    let found = |froc: &Froc| {
        vec![
            ("froc", json!(froc.score)),
            ("froc_sensitivities", json!(froc.sensitivity)),
            ("froc_lesions", json!(froc.lesions)),
        ]
    };
    e.froc.as_ref().map(found).unwrap_or_default()
}

/// What the file of the model tells of the run: nothing that differs between two runs of the same.
pub fn record(plan: &Plan, done: &Finished) -> Record {
    let parts = || Split::ALL.into_iter().filter_map(|part| Some((part_name(part), done.part(part)?)));
    let of_part = |(part, e): (&str, &Evaluation)| {
        let all = told(&e.scores, &done.set.bags).into_iter();
        all.filter_map(|told| Some((format!("{part}_{}", told.key), told.value?))).collect::<Vec<_>>()
    };
    Record {
        data: Some(done.set.name.clone()),
        bags: parts().map(|(part, e)| (part.to_owned(), e.bags.len() as u64)).collect(),
        scores: parts().flat_map(of_part).collect(),
        seed: Some(plan.settings.seed),
        licence: plan.licence.clone(),
    }
}

/// The positive class, where bags have one of two.
pub fn positive(bags: &Bags) -> Option<&str> {
    match &bags.class_names[..] {
        [_, positive] if bags.label_sets.is_none() => Some(positive),
        _ => None,
    }
}

/// What is told of one set of bags.
pub struct Told {
    /// What people read.
    pub name: String,
    /// What programs read.
    pub key: &'static str,
    /// `None` where it is not defined.
    pub value: Option<f64>,
}

/// All scores of bags, named with the class that they are of, where that is one of two, or with what they are a mean of.
pub fn told(scores: &BagScores, bags: &Bags) -> Vec<Told> {
    let classes = bags.class_names.len();
    let of = match (positive(bags), scores) {
        (Some(class), _) => class.to_owned(),
        (None, BagScores::Classes(_)) => format!("mean of {classes} classes"),
        (None, _) => format!("mean of {classes} labels"),
    };
    let named: Vec<(String, &str, Option<f64>)> = match scores {
        BagScores::Classes(s) => vec![
            (format!("AUC ({of})"), "auc", s.auc),
            ("accuracy".into(), "accuracy", s.accuracy),
            ("balanced accuracy".into(), "balanced_accuracy", s.balanced_accuracy),
            (format!("F1 ({of})"), "f1", s.f1),
            ("log loss".into(), "log_loss", s.log_loss),
        ],
        BagScores::LabelSets(s) => vec![
            (format!("AUC ({of})"), "auc", s.auc),
            (format!("average precision ({of})"), "average_precision", s.average_precision),
            (format!("F1 ({of})"), "f1", s.f1),
            ("subset accuracy".into(), "subset_accuracy", s.subset_accuracy),
            ("Hamming loss".into(), "hamming_loss", s.hamming_loss),
            ("log loss".into(), "log_loss", s.log_loss),
        ],
        BagScores::Numbers(s) => vec![
            ("R²".into(), "r2", s.r2),
            ("mean absolute error".into(), "mae", s.mae),
            ("root mean squared error".into(), "rmse", s.rmse),
            ("Pearson correlation".into(), "pearson", s.pearson),
            ("Spearman correlation".into(), "spearman", s.spearman),
        ],
        BagScores::Survival(s) => vec![("C-index".into(), "c_index", s.c_index)],
    };
    named.into_iter().map(|(name, key, value)| Told { name, key, value }).collect()
}

/// `<part>_auc` and the others; of several labels a bag `<part>_labels` has those of each by its name.
fn scores(part: &str, e: &Evaluation, bags: &Bags) -> Vec<(String, Value)> {
    let mut all: Vec<(String, Value)> =
        told(&e.scores, bags).into_iter().map(|told| (format!("{part}_{}", told.key), json!(told.value))).collect();
    if let BagScores::LabelSets(scores) = &e.scores {
        all.push((format!("{part}_labels"), json!(scores)["labels"].take()));
    }
    all
}

/// Columns of a table of labels.
pub const OF_LABELS: [&str; 6] = ["label", "bags", "prevalence", "AUC", "average precision", "F1"];

/// Each label by itself, a row for it under [`OF_LABELS`]; none where bags have one class each.
pub fn of_labels(scores: &BagScores) -> Vec<Vec<String>> {
    let BagScores::LabelSets(scores) = scores else { return Vec::new() };
    let row = |l: &LabelScores| {
        let values = [l.prevalence, l.auc, l.average_precision, l.f1].map(score);
        [l.name.clone(), l.bags.to_string()].into_iter().chain(values).collect()
    };
    scores.labels.iter().map(row).collect()
}

/// Labels that people are shown, at most.
const SHOWN: usize = 40;

/// The same as text, with an empty line in front; of many the first.
pub fn people_of_labels(scores: &BagScores) -> String {
    let mut rows = of_labels(scores);
    let more = rows.len().saturating_sub(SHOWN);
    rows.truncate(SHOWN);
    match (rows.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!("\n{}", table(&OF_LABELS, &rows)),
        (false, more) => format!("\n{}and {more} more labels (--json has them all)\n", table(&OF_LABELS, &rows)),
    }
}

/// The result as a table with a column for each part, and of several labels a bag one with a row for each label.
pub fn people(done: &Finished) -> String {
    let parts: Vec<(Split, &Evaluation)> =
        Split::ALL.into_iter().filter_map(|part| Some((part, done.part(part)?))).collect();
    let head: Vec<&str> = std::iter::once("").chain(parts.iter().map(|(part, _)| part_name(*part))).collect();
    let row = |name: &str, value: &dyn Fn(&Evaluation) -> String| -> Vec<String> {
        std::iter::once(name.to_owned()).chain(parts.iter().map(|(_, e)| value(e))).collect()
    };
    let mut rows = vec![row("bags", &|e| e.bags.len().to_string())];
    let of_parts: Vec<Vec<Told>> = parts.iter().map(|(_, e)| told(&e.scores, &done.set.bags)).collect();
    for at in 0..of_parts.first().map_or(0, Vec::len) {
        let values = of_parts.iter().map(|told| score(told[at].value));
        rows.push(std::iter::once(of_parts[0][at].name.clone()).chain(values).collect());
    }
    if parts.iter().any(|(_, e)| e.instances.is_some()) {
        rows.push(row("instance AUC", &|e| score(e.instances.and_then(|i| i.pooled))));
        rows.push(row("instance AUC per bag", &|e| score(e.instances.and_then(|i| i.per_bag))));
    }
    if parts.iter().any(|(_, e)| e.froc.is_some()) {
        rows.push(row("FROC", &|e| score(e.froc.as_ref().map(|froc| froc.score))));
    }
    let labels = done.judged().map(|(_, e)| people_of_labels(&e.scores)).unwrap_or_default();
    table(&head, &rows) + &labels
}
