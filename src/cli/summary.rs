//! What a run answers: an object for programs, a table for people.

use super::experiment::{Evaluation, Finished, Plan, part_name};
use super::table::{score, table};
use bagrad::data::{Split, split};
use bagrad::device::Device;
use serde_json::{Map, Value, json};

/// The result as one object. Scores are named `<part>_<score>`, and `positive` is the class that AUC and F1 are of (null
/// for more than two, of which they are means); what is not defined is null, and the
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
    put("precision", json!(plan.settings.precision));
    if let Some(state) = done.outcome.loss_scale {
        put("loss_scale", json!(state.scale));
        put("skipped_updates", json!(state.skipped));
    }
    put("parameters", json!(done.outcome.model.parameter_count()));
    put("positive", json!(positive(&done.set.bags.class_names)));
    if let Some(groups) = &done.set.bags.groups {
        put("groups", json!(split::count_groups(groups)));
    }
    for part in Split::ALL {
        let bags = done.part(part).map_or(0, |e| e.bags.len());
        put(&format!("{}_bags", part_name(part)), json!(bags));
    }
    for part in Split::ALL {
        if let Some(e) = done.part(part) {
            scores(part_name(part), e).into_iter().for_each(|(name, value)| put(&name, value));
        }
    }
    if let Some((part, e)) = done.judged()
        && let Some(auc) = e.instances
    {
        put("instance_auc", json!(auc.pooled));
        put("instance_auc_per_bag", json!(auc.per_bag));
        put("instance_auc_of", json!(part_name(part)));
    }
    all
}

/// The positive class, where there are two.
pub fn positive(classes: &[String]) -> Option<&str> {
    match classes {
        [_, positive] => Some(positive),
        _ => None,
    }
}

/// A score with the class that it is of; of more than two classes it is their mean.
pub fn of_positive(score: &str, classes: &[String]) -> String {
    match positive(classes) {
        Some(class) => format!("{score} ({class})"),
        None => format!("{score} (mean of {} classes)", classes.len()),
    }
}

/// `<part>_auc` and the others.
fn scores(part: &str, e: &Evaluation) -> Vec<(String, Value)> {
    let s = &e.scores;
    let named = [
        ("auc", s.auc),
        ("accuracy", s.accuracy),
        ("balanced_accuracy", s.balanced_accuracy),
        ("f1", s.f1),
        ("log_loss", s.log_loss),
    ];
    named.into_iter().map(|(name, value)| (format!("{part}_{name}"), json!(value))).collect()
}

/// The result as a table with a column for each part.
pub fn people(done: &Finished) -> String {
    let parts: Vec<(Split, &Evaluation)> =
        Split::ALL.into_iter().filter_map(|part| Some((part, done.part(part)?))).collect();
    let head: Vec<&str> = std::iter::once("").chain(parts.iter().map(|(part, _)| part_name(*part))).collect();
    let row = |name: &str, value: &dyn Fn(&Evaluation) -> String| -> Vec<String> {
        std::iter::once(name.to_owned()).chain(parts.iter().map(|(_, e)| value(e))).collect()
    };
    let classes = &done.set.bags.class_names;
    let mut rows = vec![
        row("bags", &|e| e.bags.len().to_string()),
        row(&of_positive("AUC", classes), &|e| score(e.scores.auc)),
        row("accuracy", &|e| score(e.scores.accuracy)),
        row("balanced accuracy", &|e| score(e.scores.balanced_accuracy)),
        row(&of_positive("F1", classes), &|e| score(e.scores.f1)),
        row("log loss", &|e| score(e.scores.log_loss)),
    ];
    if parts.iter().any(|(_, e)| e.instances.is_some()) {
        rows.push(row("instance AUC", &|e| score(e.instances.and_then(|i| i.pooled))));
        rows.push(row("instance AUC per bag", &|e| score(e.instances.and_then(|i| i.per_bag))));
    }
    table(&head, &rows)
}
