//! What a file says of its model: keys and values, and a sentence for people.

use super::outputs::Described;
use crate::model::Model;
use crate::origin::PlaceUnit;
use crate::tape::Link;
use crate::target::Target;
use serde_json::json;

/// Keys and values; lists and objects are JSON. What is not known has no key.
pub fn of(model: &Model, (link, pairs): (Link, bool), outputs: &[Described]) -> Vec<(String, String)> {
    let (spec, info) = (model.spec(), model.spec().method.info());
    let (target, details) = target(&spec.target);
    let mut all: Vec<(&str, String)> = vec![
        ("bagrad", env!("CARGO_PKG_VERSION").into()),
        ("method", info.name.into()),
        ("title", info.title.into()),
        ("paper", info.paper.into()),
        ("settings", json!(spec.method.settings()).to_string()),
        ("target", target.into()),
        ("link", said(link).into()),
        ("classes", json!(spec.classes).to_string()),
        ("width", spec.width.to_string()),
        ("standardised", model.standardisation.is_some().to_string()),
        ("parameters", model.parameter_count().to_string()),
        ("outputs", json!(outputs).to_string()),
        // What a caller has to know before it gives the graph a large bag.
        ("memory", if pairs { "grows with the square of the instances" } else { "grows with the instances" }.into()),
    ];
    all.extend(details.map(|details| ("target_settings", details)));
    if let Some(columns) = &model.columns {
        all.push(("feature_names", json!(columns).to_string()));
    }
    if let Some(origin) = &model.origin {
        let unit = |unit: PlaceUnit| if unit == PlaceUnit::Pixels { "pixels" } else { "micrometres" };
        all.extend(origin.encoder.clone().map(|encoder| ("encoder", encoder)));
        all.extend(origin.patch.map(|side| ("patch_size", side.to_string())));
        all.extend(origin.unit.map(|of| ("patch_unit", unit(of).to_owned())));
        all.extend(origin.magnification.map(|times| ("magnification", times.to_string())));
    }
    let record = &model.record;
    all.extend(record.licence.clone().map(|licence| ("licence", licence)));
    all.extend(record.data.clone().map(|data| ("trained_on", data)));
    if !record.bags.is_empty() {
        all.push(("bags", json!(record.bags).to_string()));
    }
    if !record.scores.is_empty() {
        all.push(("scores", json!(record.scores).to_string()));
    }
    all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What is learnt, and the numbers that belong to it.
fn target(target: &Target) -> (&'static str, Option<String>) {
    match target {
        Target::Classes => ("classes", None),
        Target::LabelSets => ("label-sets", None),
        Target::Ordered => ("ordered", None),
        Target::Number(number) => ("number", Some(json!(number).to_string())),
        Target::Hazards(hazards) => ("hazards", Some(json!(hazards).to_string())),
        Target::Cox(cox) => ("cox", Some(json!(cox).to_string())),
    }
}

fn said(link: Link) -> &'static str {
    match link {
        Link::Sigmoid => "sigmoid",
        Link::Softmax => "softmax",
        Link::IndependentSigmoids => "independent-sigmoids",
        Link::Ordered => "ordered",
        Link::Value => "value",
        Link::Hazards => "hazards",
    }
}

/// A sentence for people.
pub fn in_words(model: &Model) -> String {
    let (spec, info) = (model.spec(), model.spec().method.info());
    let learnt = match &spec.target {
        Target::Classes if spec.classes.len() == 2 => format!("{} or {}", spec.classes[0], spec.classes[1]),
        Target::Classes => format!("one of {}", spec.classes.join(", ")),
        Target::LabelSets => format!("any of {}", spec.classes.join(", ")),
        Target::Ordered => spec.classes.join(" < "),
        Target::Number(_) => "a number".into(),
        Target::Hazards(_) => "survival in intervals of time".into(),
        Target::Cox(_) => "a log-risk".into(),
    };
    let encoder = model.origin.as_ref().and_then(|origin| origin.encoder.as_ref());
    let encoder = encoder.map_or_else(String::new, |encoder| format!(" of {encoder}"));
    format!(
        "{} ({}; {}) for bags of instances with {} features{encoder}: {learnt}. Trained and written by bagrad.",
        info.name, info.title, info.paper, spec.width
    )
}
