//! The report of a run, filled from its results.

use super::experiment::{self, Finished, Plan, part_name};
use super::summary;
use super::table::score;
use super::{judged, said};
use bagrad::data::Split;
use bagrad::device::Device;
use bagrad::report::{BagPicture, Curve, Report, Series, Shown, Table, frequent};
use bagrad::training::metrics::{BagScores, Metric};
use bagrad::training::{self, Epoch, Meaning};
use bagrad::{Bags, Target};

/// Classes whose bags are drawn, at most: those with the most bags.
const PICTURED: usize = 8;

/// A page with everything a run can show; `pictures` bags of each class are drawn with what their instances weigh.
pub fn page(plan: &Plan, done: &Finished, device: &Device, pictures: usize) -> Report {
    let info = plan.method.info();
    let count = |part| done.part(part).map_or(0, |e| e.bags.len());
    let [train, validation, test] = Split::ALL.map(count);
    Report {
        title: format!("{} on {}", info.title, done.set.name),
        summary: format!(
            "{train} training bags, {validation} validation bags, {test} test bags; {} instances of {} features.",
            done.set.bags.instances(),
            done.set.bags.width
        ),
        results: results(done),
        facts: facts(plan, done, device),
        curves: curves(done),
        tables: labels_table(done).into_iter().collect(),
        predictions: done.judged().and_then(|(part, e)| {
            let told = format!("{} bags", part_name(part));
            judged::predictions(&done.predictions, &done.predictions.said(&e.bags), &done.set.bags, &e.bags, &told)
        }),
        shown: weights(&done.predictions).1,
        bags: bags(done, pictures),
        ..Report::default()
    }
}

fn results(done: &Finished) -> Vec<(String, String)> {
    let Some((part, e)) = done.judged() else { return Vec::new() };
    let name = match part_name(part) {
        "test" => "Test",
        "validation" => "Validation",
        _ => "Training",
    };
    let rows = judged::results(&e.scores, &done.predictions.said(&e.bags), &done.set.bags, &e.bags);
    let mut rows: Vec<(String, String)> =
        rows.into_iter().map(|(what, value)| (format!("{name} {what}"), value)).collect();
    if let Some(auc) = e.instances {
        rows.push(("Instance AUC, all instances".into(), score(auc.pooled)));
        rows.push((format!("Instance AUC, mean of {} bags", auc.bags), score(auc.per_bag)));
    }
    if let Some(froc) = &e.froc {
        rows.push((format!("FROC, {} lesions", froc.lesions), score(Some(froc.score))));
    }
    rows
}

/// Each label by itself, where bags have several.
fn labels_table(done: &Finished) -> Option<Table> {
    let (part, e) = done.judged()?;
    let rows = summary::of_labels(&e.scores);
    let head = summary::OF_LABELS.map(str::to_owned).to_vec();
    (!rows.is_empty()).then(|| Table { title: format!("Labels of the {} bags", part_name(part)), head, rows })
}

fn facts(plan: &Plan, done: &Finished, device: &Device) -> Vec<(String, String)> {
    let (s, o) = (&plan.settings, &done.outcome);
    let settings: Vec<String> =
        plan.method.info().parameters.iter().map(|p| format!("{} = {}", p.name, p.default)).collect();
    let facts = [
        ("Method", plan.method.name().to_owned()),
        ("Settings", settings.join(", ")),
        ("Data", plan.data.clone()),
        ("Standardised", if o.model.standardisation.is_some() { "by the training bags" } else { "no" }.into()),
        ("Device", device.description()),
        ("Seed", s.seed.to_string()),
        ("Epochs", format!("{} of at most {}, the weights of epoch {} kept", o.epochs.len(), s.epochs, o.kept)),
        ("Updates", format!("{} of {} bag{} each", o.steps, s.batch, if s.batch == 1 { "" } else { "s" })),
        ("Learning rate", s.learning_rate.to_string()),
        ("Parameters", o.model.parameter_count().to_string()),
        ("Seconds", format!("{:.1}", done.seconds)),
    ];
    let groups = experiment::groups_told(&done.set).map(|told| ("Groups", told));
    facts.into_iter().chain(groups).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Terms of a loss that are drawn; more could not be told apart.
const MOST_TERMS: usize = 6;

fn curves(done: &Finished) -> Vec<Curve> {
    let epochs = &done.outcome.epochs;
    let line = |name: &str, value: &dyn Fn(&Epoch) -> Option<f64>| Series {
        name: name.into(),
        points: epochs.iter().filter_map(|e| Some((f64::from(e.epoch), value(e)?))).collect(),
        ..Series::default()
    };
    let watched = done.part(Split::Validation).is_some();
    let curve = |title: &str, unit: &str, series: Vec<Series>| Curve {
        title: title.into(),
        unit: unit.into(),
        along: "epoch".into(),
        series: series.into_iter().filter(|s| !s.points.is_empty()).collect(),
        marker: watched.then_some(f64::from(done.outcome.kept)),
        ..Curve::default()
    };
    let losses = vec![line("training", &|e| Some(e.loss)), line("validation", &|e| e.validation_loss)];
    let mut all = vec![curve("Loss", "loss", losses)];
    let terms = epochs.first().map(|e| e.validation_terms.keys().collect::<Vec<_>>()).unwrap_or_default();
    if (2..=MOST_TERMS).contains(&terms.len()) {
        let terms = terms.iter().map(|name| line(name, &|e| e.validation_terms.get(*name).copied())).collect();
        all.push(curve("Terms of the validation loss", "loss", terms));
    }
    if watched {
        let scores = |metrics: &[(&str, Metric)]| -> Vec<Series> {
            metrics.iter().map(|&(name, metric)| line(name, &|e| e.validation.as_ref()?.get(metric))).collect()
        };
        let of_sets = epochs.iter().any(|e| matches!(e.validation, Some(BagScores::LabelSets(_))));
        let accuracy = if of_sets { "subset accuracy" } else { "accuracy" };
        all.push(match &done.predictions.target {
            Target::Number(_) => {
                curve("Validation", "score", scores(&[("R²", Metric::R2), ("Spearman", Metric::Spearman)]))
            }
            Target::Cox(_) | Target::Hazards(_) => curve("Validation", "score", scores(&[("C-index", Metric::CIndex)])),
            _ => curve("Validation", "score", scores(&[("AUC", Metric::Auc), (accuracy, Metric::Accuracy)])),
        });
    }
    all.extend(survival(done));
    all
}

/// Kaplan-Meier curves of the judged bags with a risk above the median of the training bags, and of the others.
fn survival(done: &Finished) -> Option<Curve> {
    let (part, e) = done.judged()?;
    let risks = &done.predictions.values;
    let mut training: Vec<f32> = done.outcome.training.iter().filter_map(|&bag| risks.get(bag)).copied().collect();
    training.sort_by(f32::total_cmp);
    let median = *training.get(training.len() / 2)?;
    let of_judged: Vec<f32> = e.bags.iter().map(|&bag| risks[bag]).collect();
    let title = format!("{} bags by risk above and below the median of training bags", part_name(part));
    judged::survival(&done.predictions.target, &of_judged, &done.set.bags, &e.bags, median, &title)
}

/// The first bags of each class, as they come, so that nobody has picked the pretty ones.
fn bags(done: &Finished, each: usize) -> Vec<BagPicture> {
    let Some((_, e)) = done.judged() else { return Vec::new() };
    let (weights, _) = weights(&done.predictions);
    let bags = &done.set.bags;
    // A class, or of several labels the rarest that a bag has, and one more for none of them.
    let strata = bags.strata().unwrap_or_default();
    let judged: Vec<u32> = e.bags.iter().map(|&b| strata[b]).collect();
    let targets = done.set.instance_targets();
    // The positive class first, as it has something to see.
    let kinds = strata.iter().filter(|&&s| s != Bags::UNKNOWN).max().map_or(0, |&s| s as usize + 1);
    let shown = frequent(&judged, kinds.max(bags.classes()), PICTURED);
    let classes = shown.into_iter().rev().map(|class| class as u32);
    let strata = &strata;
    let chosen = classes.flat_map(|class| e.bags.iter().filter(move |&&b| strata[b] == class).take(each));
    let picture = |&bag: &usize| {
        let rows = bags.rows(bag);
        let plain = BagPicture {
            name: bags.names[bag].clone(),
            label: None,
            predicted: String::new(),
            probability_of: String::new(),
            probability: f64::NAN,
            image: bags.image,
            pixels: if bags.image.is_some() { rows.clone().map(|r| pixels(done, r)).collect() } else { Vec::new() },
            weights: weights[rows.clone()].to_vec(),
            key: targets.as_ref().map(|t| t[rows].iter().map(|&t| t != 0).collect()),
        };
        if done.predictions.classes == 0 {
            let (label, predicted) = (said::known(bags, bag), said::predicted(&done.predictions, bag));
            return BagPicture { label, predicted, ..plain };
        }
        let class = done.predictions.class(bag);
        // Of two classes the chance of the second is told, of more that of the predicted one, of labels the most likely.
        let told = if bags.classes() == 2 && !done.predictions.multi_label { 1 } else { class };
        BagPicture {
            label: known(bags, bag),
            predicted: match done.predictions.multi_label {
                true => named(&bags.class_names, &done.predictions.labels(bag)),
                false => bags.class_names[class].clone(),
            },
            probability_of: bags.class_names[told].clone(),
            probability: f64::from(done.predictions.bag(bag)[told]),
            ..plain
        }
    };
    chosen.map(picture).collect()
}

/// The number of each instance that pictures show, and what it is: what a method says with a sign is what it explains
/// itself by; else its attention, where it has one.
fn weights(found: &training::Predictions) -> (&[f32], Shown) {
    let signed = found.scores_are == Meaning::Contribution;
    let (weights, name) = match &found.attention {
        Some(attention) if !signed => (attention, "attention"),
        _ => (&found.scores, name_of(found.scores_are)),
    };
    (weights, Shown { name: name.into(), signed })
}

/// What a number of that meaning is called under a picture.
fn name_of(meaning: Meaning) -> &'static str {
    match meaning {
        Meaning::Score => "score",
        Meaning::Logit => "logit of the instance",
        Meaning::Probability => "probability of the instance",
        Meaning::Contribution => "contribution to the logit",
        Meaning::Weight => "weight",
        Meaning::Evidence => "evidence",
        Meaning::Uncertainty => "uncertainty",
        Meaning::Deviation => "standard deviation",
    }
}

/// The class of a bag, or the labels that it is known to have.
pub fn known(bags: &Bags, bag: usize) -> Option<String> {
    match &bags.label_sets {
        None => bags.label(bag).map(|label| bags.class_names[label as usize].clone()),
        Some(sets) => {
            let of = sets.get(bag).filter(|of| of.iter().any(Option::is_some))?;
            Some(named(&bags.class_names, &(0..of.len()).filter(|&label| of[label] == Some(true)).collect::<Vec<_>>()))
        }
    }
}

/// The names of some labels.
pub fn named(names: &[String], labels: &[usize]) -> String {
    match labels {
        [] => "none".into(),
        _ => labels.iter().map(|&label| &names[label][..]).collect::<Vec<_>>().join(", "),
    }
}

/// The image of an instance as it was before it was standardised.
fn pixels(done: &Finished, row: usize) -> Vec<f32> {
    let bags = &done.set.bags;
    let values = (0..bags.width).map(|c| bags.features.get(row * bags.width + c));
    match &done.outcome.model.standardisation {
        Some(s) => values.enumerate().map(|(c, v)| v * s.std[c] + s.mean[c]).collect(),
        None => values.collect(),
    }
}
