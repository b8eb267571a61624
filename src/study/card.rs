//! A model card of a study: what was learnt from what, how it was judged, and what that does not say (after Mitchell et al.,
//! "Model cards for model reporting", FAT* 2019).

use super::results::{Results, Row};
use super::tables::{range, three};
use super::{Divided, Kind, Study};
use crate::bag::Bags;
use crate::responses::Responses;
use std::fmt::Write;

/// The card.
pub fn markdown(study: &Study, results: &Results) -> String {
    let mut text = format!("# Model card: methods on {}\n\n", results.data);
    let version = env!("CARGO_PKG_VERSION");
    let _ =
        writeln!(text, "Written by `bagrad cross-validate` {version}; models of the folds are not kept.\n\n## Data\n");
    data(&mut text, study, results);
    let _ = writeln!(text, "\n## Division\n\n{}\n\n## Methods\n", results.summary());
    methods(&mut text, study);
    let columns = match results.bags_have {
        Kind::Classes => vec!["balanced_accuracy", "log_loss", "ECE"],
        Kind::LabelSets => vec!["average_precision", "f1", "log_loss"],
        Kind::Numbers => vec!["mae", "rmse", "spearman"],
        Kind::Survival => results.shown(),
    };
    let _ = writeln!(
        text,
        "\n## Results\n\n| method | {} | 95 % | {} |",
        results.value_told(),
        columns.iter().map(|name| name.replace('_', " ")).collect::<Vec<_>>().join(" | ")
    );
    let _ = writeln!(text, "|---|---|---|{}", "---|".repeat(columns.len()));
    for row in &results.methods {
        let scores = columns.iter().map(|&name| match (name, &row.calibration) {
            ("ECE", calibration) => three(calibration.as_ref().map(|calibration| calibration.error)),
            _ => row.cell(name),
        });
        let cells =
            [vec![row.name.replace('|', "\\|"), three(row.value), range(row.interval)], scores.collect()].concat();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    let _ = writeln!(text, "\n{}\n\n## Limits\n", results.notes());
    limits(results).iter().for_each(|limit| text += &format!("- {limit}\n"));
    text
}

fn data(text: &mut String, study: &Study, results: &Results) {
    let bags = &study.set.bags;
    let _ = writeln!(
        text,
        "- {} labelled bags of {} instances in all, with {} features each.",
        results.bags,
        bags.instances(),
        bags.width
    );
    let _ = writeln!(text, "- {}", learnt(bags));
    let _ = match results.groups {
        Some(groups) => writeln!(text, "- {groups} groups (patients), each in one part of every division."),
        None => writeln!(text, "- No groups are known: bags are taken for independent."),
    };
    let origin = bags.origin.clone().unwrap_or_default();
    let encoder = origin.encoder.map_or("is not told by the files".into(), |encoder| format!("is {encoder}"));
    let seen = origin.magnification.map_or(String::new(), |by| format!(", patches seen at a magnification of {by}"));
    let _ = writeln!(text, "- The encoder of the features {encoder}{seen}.");
    if let Some(sites) = results.sites {
        let _ = writeln!(text, "- {sites} sites.");
    }
    for remark in &study.set.remarks {
        let _ = writeln!(text, "- {remark}.");
    }
}

/// What bags have, in a sentence.
fn learnt(bags: &Bags) -> String {
    match (&bags.responses, &bags.label_sets) {
        (Some(Responses::Numbers(values)), _) => {
            let known: Vec<f32> = values.iter().copied().filter(|v| !v.is_nan()).collect();
            let count = known.len().max(1) as f64;
            let mean = known.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
            let deviation = (known.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count).sqrt();
            let low = known.iter().copied().fold(f32::INFINITY, f32::min);
            let high = known.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            format!("A number each, from {low} to {high}, mean {mean:.4}, standard deviation {deviation:.4}.")
        }
        (Some(Responses::Survival { times, events }), _) => {
            let known: Vec<(f32, bool)> =
                times.iter().copied().zip(events.iter().copied()).filter(|(time, _)| !time.is_nan()).collect();
            let came = known.iter().filter(|(_, event)| *event).count();
            let last = known.iter().map(|(time, _)| *time).fold(0.0, f32::max);
            format!("A time and an event each: {came} events, {} censored, the last time {last}.", known.len() - came)
        }
        (None, Some(sets)) => {
            let all: Vec<usize> = (0..bags.len()).collect();
            let of = |(label, name): (usize, &String)| {
                let (has, known) = sets.counts(label, &all);
                format!("{name} ({has} of {known} bags)")
            };
            let labels: Vec<String> = bags.class_names.iter().enumerate().map(of).collect();
            format!("Any of these labels each: {}.", labels.join(", "))
        }
        (None, None) => {
            let count = |class: u32| (0..bags.len()).filter(|&bag| bags.label(bag) == Some(class)).count();
            let classes: Vec<String> =
                (0..).zip(&bags.class_names).map(|(at, name)| format!("{name} ({} bags)", count(at))).collect();
            let positive = match &bags.class_names[..] {
                [_, positive] => format!("; {positive} is the positive one"),
                _ => String::new(),
            };
            format!("Classes: {}{positive}.", classes.join(", "))
        }
    }
}

fn methods(text: &mut String, study: &Study) {
    for contender in &study.contenders {
        let searched = match contender.candidates.len() {
            0 => " - says the shares of the classes among the training bags".to_owned(),
            1 => String::new(),
            count => format!(" - {count} candidates, of which validation bags choose in each fit"),
        };
        let _ = writeln!(text, "- **{}**{searched}", contender.name);
        if let [only] = &contender.candidates[..] {
            let training = &only.training;
            let _ = writeln!(
                text,
                "  - `{}` {}; up to {} epochs, learning rate {}, {} bags an update",
                only.method.name(),
                serde_json::Value::Object(only.method.settings()),
                training.epochs,
                training.learning_rate,
                training.batch * training.accumulate
            );
        }
    }
}

/// What the numbers do not say.
fn limits(results: &Results) -> Vec<String> {
    let mut all = vec![
        "Intervals say how much a result hangs on which groups were tested; not what training on other groups, or another \
         hospital, would change."
            .to_owned(),
        "p values are not corrected for the number of pairs.".to_owned(),
    ];
    all.extend(match results.bags_have {
        Kind::Classes | Kind::LabelSets => Some(
            "Probabilities are as trained: see the calibration error before a threshold is read off them.".to_owned(),
        ),
        Kind::Survival => Some("Risks order the bags that one model tells of; they are no probabilities.".to_owned()),
        Kind::Numbers => None,
    });
    let beaten = |row: &&Row| !row.baseline && row.against.iter().any(|against| !against.beats);
    let unbeaten: Vec<&str> = results.methods.iter().filter(beaten).map(|row| row.name.as_str()).collect();
    if !unbeaten.is_empty() {
        all.push(format!("Not shown to be better than every baseline: {}.", unbeaten.join("; ")));
    }
    if !results.has_baselines() {
        all.push("No baseline was compared.".to_owned());
    }
    let sites = match (results.sites, results.divided) {
        (_, Divided::BySite) => "Folds keep sites apart; other sites may differ from all of these.",
        (Some(_), _) => "Folds do not keep sites apart: what is learnt of a site counts as right.",
        (None, _) => "Sites are not known: results may lean on what tells them apart.",
    };
    all.push(sites.to_owned());
    if results.groups.is_none() {
        all.push("Where several bags are of one patient, results are too good, and intervals too narrow.".to_owned());
    }
    if results.bags < 100 {
        all.push(format!("{} bags are few: differences that matter may not show.", results.bags));
    }
    all
}
