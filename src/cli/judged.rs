//! How right predictions are: scores with intervals and charts, for the pages of runs and of maps.

use super::summary::{self, Told};
use super::table::score;
use bagrad::metrics::{self, BagScores, Ranks, Resamples, auc_interval};
use bagrad::report::{Curve, Predictions, Series};
use bagrad::training;
use bagrad::{Bags, Target};

/// Resamples of the interval of the AUC.
const RESAMPLES: usize = 2000;

/// Predictions of the bags `of`, which have labels and are called `told`; of what is no single class there are none. `said` is
/// as [`training::Predictions::said`] has it.
pub fn predictions(
    found: &training::Predictions,
    said: &[f32],
    bags: &Bags,
    of: &[usize],
    told: &str,
) -> Option<Predictions> {
    let labels = bags.labels.as_ref().filter(|_| found.target.has_classes() && !found.multi_label)?;
    Some(Predictions {
        class_names: bags.class_names.clone(),
        probabilities: said.to_vec(),
        labels: of.iter().map(|&bag| labels[bag]).collect(),
        groups: groups(bags, of).unwrap_or_default(),
        told: told.into(),
    })
}

fn groups(bags: &Bags, of: &[usize]) -> Option<Vec<String>> {
    bags.groups.as_ref().map(|groups| of.iter().map(|&bag| groups[bag].clone()).collect())
}

/// The scores of the bags `of` by name; of two classes the AUC with its 95 % interval, by groups where bags have them.
pub fn results(scores: &BagScores, said: &[f32], bags: &Bags, of: &[usize]) -> Vec<(String, String)> {
    let interval = match (scores, &bags.labels, bags.class_names.len()) {
        (BagScores::Classes(_), Some(labels), 2) => {
            let labels: Vec<u32> = of.iter().map(|&bag| labels[bag]).collect();
            interval(said, &labels, groups(bags, of).as_deref())
        }
        _ => None,
    };
    let row = |told: Told| match (told.key, interval) {
        ("auc", Some([low, high])) => {
            let value = format!("{} ({low:.3} – {high:.3})", score(told.value));
            let by = if bags.groups.is_some() { ", by groups" } else { "" };
            (format!("{} (95 % interval{by})", told.name), value)
        }
        _ => (told.name, score(told.value)),
    };
    summary::told(scores, bags).into_iter().map(row).collect()
}

/// Percentiles of resampled AUCs. Bags of one group are no independent draws.
fn interval(said: &[f32], labels: &[u32], groups: Option<&[String]>) -> Option<[f64; 2]> {
    match groups {
        Some(groups) => {
            let ranks = Ranks::new(said, 2, labels)?;
            metrics::interval(&Resamples::of(groups, RESAMPLES, 1).measure(|counts| ranks.auc(counts)))
        }
        None => {
            let positive: Vec<bool> = labels.iter().map(|&label| label == 1).collect();
            let probability: Vec<f32> = said.chunks(2).map(|of| of[1]).collect();
            auc_interval(&probability, &positive, RESAMPLES, 1).map(|(low, high)| [low, high])
        }
    }
}

/// Kaplan-Meier curves of the bags `of` with a risk from `cut` on, and of the others; `title` says which bags they are, and what the
/// cut is. `risks` are those of these bags. `None` where bags have no times.
pub fn survival(target: &Target, risks: &[f32], bags: &Bags, of: &[usize], cut: f32, title: &str) -> Option<Curve> {
    let (times, events) = bags.responses.as_ref()?.survival().filter(|_| target.is_survival())?;
    let times: Vec<f32> = of.iter().map(|&bag| times[bag]).collect();
    let events: Vec<bool> = of.iter().map(|&bag| events[bag]).collect();
    let high: Vec<bool> = risks.iter().map(|&risk| risk >= cut).collect();
    let steps = |name: &str, wanted: bool| {
        let which = (0..of.len()).filter(|&at| high[at] == wanted);
        let (times, events): (Vec<f32>, Vec<bool>) = which.map(|at| (times[at], events[at])).unzip();
        let last = times.iter().copied().max_by(f32::total_cmp);
        Series::survival(format!("{name} ({} bags)", times.len()), &metrics::kaplan_meier(&times, &events), last)
    };
    let p = metrics::log_rank(&times, &events, &high).map(|(_, p)| match p {
        p if p < 0.0005 => ", log-rank p < 0.001".to_owned(),
        p => format!(", log-rank p = {p:.3}"),
    });
    Some(Curve {
        title: format!("{title}{}; areas are 95 % intervals", p.unwrap_or_default()),
        unit: "share without event".into(),
        along: "time".into(),
        series: vec![steps("low risk", false), steps("high risk", true)],
        ..Curve::default()
    })
}
