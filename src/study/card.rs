//! A model card of a study: what was learnt from what, how it was judged, and what that does not say (after Mitchell et al.,
//! "Model cards for model reporting", FAT* 2019).

use super::results::{Results, Row};
use super::tables::{range, three};
use super::{Divided, Study};
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
    let _ = writeln!(
        text,
        "\n## Results\n\n| method | {} | 95 % | balanced accuracy | log loss | ECE |",
        results.auc_told()
    );
    text += "|---|---|---|---|---|---|\n";
    for row in &results.methods {
        let error = row.calibration.as_ref().map(|calibration| calibration.error);
        let cells = [
            row.name.replace('|', "\\|"),
            three(row.auc),
            range(row.auc_interval),
            row.cell("balanced_accuracy"),
            row.cell("log_loss"),
            three(error),
        ];
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
    let count = |class: u32| (0..bags.len()).filter(|&bag| bags.label(bag) == Some(class)).count();
    let classes: Vec<String> =
        (0..).zip(&bags.class_names).map(|(at, name)| format!("{name} ({} bags)", count(at))).collect();
    let positive = match &bags.class_names[..] {
        [_, positive] => format!("; {positive} is the positive one"),
        _ => String::new(),
    };
    let _ = writeln!(text, "- Classes: {}{positive}.", classes.join(", "));
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
        "Probabilities are as trained: see the calibration error before a threshold is read off them.".to_owned(),
    ];
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
