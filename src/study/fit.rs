//! One fit of a study: a method learns from the training bags of a fold, its validation bags choose, and it tells of the test
//! bags, once.

use super::kind::{Kind, by_name, predicted, predictions_of};
use super::{Candidate, Contender, Sees, Study, choice};
use crate::bag::Bags;
use crate::data::{Split, split};
use crate::error::Result;
use crate::front::Trainer;
use crate::metrics::{self, Confusion, KappaWeights};
use crate::reproduce::{Found, Metrics, Task};
use crate::responses::Responses;
use crate::target::{Hazards, Target};
use crate::training::{Predictions, Settings};

/// The median risk of the validation bags of a fit (of its training bags where there are none): above it is the half that is
/// said to have its event early.
pub(super) const HALF: &str = "risk_median_before";

/// Scores that not every study has: they are of probabilities of survival, and of instances that are known to be key.
pub(super) const INTEGRATED_BRIER: &str = "integrated_brier";
pub(super) const INSTANCE_AUC: &str = "instance_auc";
pub(super) const FROC: &str = "froc";

impl Study {
    /// One fold of one method on `bags`, which are those of the study or their means.
    ///
    /// # Errors
    /// Of the division, and of the training.
    pub(super) fn fit(
        &self,
        contender: &Contender,
        bags: &Bags,
        [repeat, fold]: [usize; 2],
        task: &Task,
    ) -> Result<Found> {
        let parts = self.parts(repeat, fold)?;
        let of_part = |part| split::indices(&parts, part);
        let test = of_part(Split::Test);
        let seen: Vec<usize> =
            (0..bags.len()).filter(|&b| matches!(parts[b], Split::Train | Split::Validation)).collect();
        if contender.sees == Sees::Labels {
            let row = without_looking(bags, &seen);
            let said = row.repeat(test.len());
            let mut metrics = by_name(&predictions_of(bags).scores_among(&said, bags, &test)?);
            if let Ok(Target::Hazards(hazards)) = Target::of(self.target, bags, &of_part(Split::Train)) {
                let survival = survival_of_all(bags, &seen, &hazards).repeat(test.len());
                metrics.extend(integrated_brier(&survival, &hazards, bags, [&test, &seen]));
            }
            return told(bags, &said, [&test, &seen], metrics);
        }
        let of_seen: Vec<Split> = seen.iter().map(|&bag| parts[bag]).collect();
        let [training, validation] = [Split::Train, Split::Validation].map(|part| split::indices(&of_seen, part));
        let train = |candidate: &Candidate| {
            Trainer::new(candidate.method.clone())
                .settings(Settings { seed: task.seed, ..candidate.training.clone() })
                .target(self.target)
                .division(training.clone(), validation.clone())
                .scaling(self.scaling)
                .device(task.device)
                .persistence(task.persistence())
                // A copy of what the fit sees, standardised where it lies; the test bags stay where they are.
                .fit_in_place(&mut bags.select(&seen)?)
        };
        let (at, fitted, tried) = choice::best(Kind::of(bags), contender, train)?;
        let chosen = &contender.candidates[at];
        let mut predictor = fitted.model.on(task.device)?.memory(chosen.training.memory);
        let found = predictor.predict_some(bags, &test)?;
        let mut metrics = by_name(&found.scores_among(found.said_of_all(), bags, &test)?);
        metrics.insert("kept_epoch".into(), f64::from(fitted.kept));
        if contender.sees == Sees::Instances {
            metrics.extend(self.of_instances(&found, &test));
        }
        if Kind::of(bags) == Kind::Survival {
            let before = if validation.is_empty() { of_part(Split::Train) } else { of_part(Split::Validation) };
            let risks = predictor.predict_some(bags, &before)?.values;
            metrics.extend(median(&risks).map(|half| (HALF.to_owned(), half)));
            if let Target::Hazards(hazards) = &found.target {
                metrics.extend(integrated_brier(&found.survival, hazards, bags, [&test, &seen]));
            }
        }
        if let Some(file) = task.model {
            predictor.into_model()?.save(file)?;
        }
        let found = told(bags, found.said_of_all(), [&test, &seen], metrics)?;
        Ok(Found { tried, ..found })
    }
}

impl Study {
    /// How well key instances of the bags `test` are found, and lesions, where instances have places.
    fn of_instances(&self, found: &Predictions, test: &[usize]) -> Metrics {
        let (bags, Some(targets)) = (&self.set.bags, self.set.instance_targets()) else { return Metrics::new() };
        let of_test: Vec<u8> = test.iter().flat_map(|&bag| &targets[bags.rows(bag)]).copied().collect();
        let froc = found.froc(test.iter().copied().enumerate(), bags, &targets);
        let measured = [(INSTANCE_AUC, found.instance_auc(&of_test).pooled), (FROC, froc.map(|froc| froc.score))];
        measured.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

fn median(values: &[f32]) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| crate::quantile::quantile(&sorted, 0.5))
}

/// What is said of any bag by the labels of the bags `seen` alone: the shares of the classes or labels, the mean number, and of
/// survival nothing.
fn without_looking(bags: &Bags, seen: &[usize]) -> Vec<f32> {
    let share = |count: usize, all: usize| count as f32 / all.max(1) as f32;
    match (&bags.responses, &bags.label_sets) {
        (Some(Responses::Numbers(values)), _) => {
            let known: Vec<f64> = seen.iter().map(|&bag| values[bag]).filter(|v| !v.is_nan()).map(f64::from).collect();
            vec![(known.iter().sum::<f64>() / known.len().max(1) as f64) as f32]
        }
        (Some(Responses::Survival { .. }), _) => vec![0.0],
        (None, Some(sets)) => {
            let counts = (0..sets.labels()).map(|label| sets.counts(label, seen));
            counts.map(|(has, known)| share(has, known)).collect()
        }
        (None, None) => {
            let mut counts = vec![0usize; bags.classes()];
            seen.iter().filter_map(|&bag| bags.label(bag)).for_each(|label| counts[label as usize] += 1);
            let all: usize = counts.iter().sum();
            counts.into_iter().map(|count| share(count, all)).collect()
        }
    }
}

/// A run that said this of the bags `test`, with what else is measured of it.
fn told(bags: &Bags, said: &[f32], [test, seen]: [&[usize]; 2], mut metrics: Metrics) -> Result<Found> {
    let kind = Kind::of(bags);
    match kind {
        Kind::Classes => metrics.extend(more_of_classes(said, bags, test)?),
        Kind::Survival => metrics.extend(more_of_survival(said, bags, [test, seen])),
        Kind::LabelSets | Kind::Numbers => {}
    }
    let width = said.len() / test.len().max(1);
    let rows = said.chunks(width.max(1));
    Ok(Found {
        metrics,
        bags: test.iter().zip(rows).map(|(&bag, row)| predicted(kind, bag, row)).collect(),
        tried: Vec::new(),
    })
}

fn more_of_classes(p: &[f32], bags: &Bags, test: &[usize]) -> Result<Metrics> {
    let labels: Vec<u32> = test.iter().filter_map(|&bag| bags.label(bag)).collect();
    let classes = bags.classes();
    let confusion = Confusion::new(&metrics::predictions(p, classes), &labels, classes)?;
    let more = [
        ("auc_micro", metrics::micro_auc(p, classes, &labels).filter(|_| classes > 2)),
        ("average_precision", metrics::macro_average_precision(p, classes, &labels)),
        ("mcc", confusion.mcc()),
        ("kappa", confusion.kappa(KappaWeights::None)),
        ("kappa_quadratic", confusion.kappa(KappaWeights::Quadratic)),
        ("brier", metrics::brier(p, classes, &labels)),
        ("ece", metrics::calibration(p, classes, &labels, metrics::BINS).map(|found| found.error)),
    ];
    let mut all: Metrics = more.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    if classes > 2 {
        let of_classes = metrics::class_aucs(p, classes, &labels).into_iter().zip(&bags.class_names);
        all.extend(of_classes.filter_map(|(auc, name)| Some((format!("auc ({name})"), auc?))));
    }
    Ok(all)
}

/// Times and events of the bags that are tested and of those that a fit saw, where bags have those.
fn survival_of(bags: &Bags, [test, seen]: [&[usize]; 2]) -> Option<[(Vec<f32>, Vec<bool>); 2]> {
    let (times, events) = bags.responses.as_ref()?.survival()?;
    let of = |indices: &[usize]| indices.iter().map(|&bag| (times[bag], events[bag])).unzip();
    Some([of(test), of(seen)])
}

/// Uno's concordance index, weighted by the censoring of the bags that the fit saw, up to the last of their events.
fn more_of_survival(risks: &[f32], bags: &Bags, parts: [&[usize]; 2]) -> Metrics {
    let Some([test, seen]) = survival_of(bags, parts) else { return Metrics::new() };
    let events = seen.0.iter().zip(&seen.1).filter(|(_, event)| **event).map(|(time, _)| *time);
    let last = events.fold(None, |last: Option<f32>, time| Some(last.map_or(time, |last| last.max(time))));
    let uno = metrics::c_index_uno(risks, (&test.0, &test.1), (&seen.0, &seen.1), last);
    uno.map(|uno| ("c_index_uno".to_owned(), uno)).into_iter().collect()
}

/// The integrated Brier score between the first and the last edge of the intervals, weighted by the censoring of the bags that
/// the fit saw; `survival` is `[test, intervals]`. Two intervals meet at one edge, between which and itself there is nothing.
fn integrated_brier(survival: &[f32], hazards: &Hazards, bags: &Bags, parts: [&[usize]; 2]) -> Metrics {
    let Some([test, seen]) = survival_of(bags, parts) else { return Metrics::new() };
    let until_edges = survival.chunks(hazards.edges.len() + 1).flat_map(|of| &of[..hazards.edges.len()]);
    let until_edges: Vec<f32> = until_edges.copied().collect();
    let at = before_edges(hazards);
    let found = metrics::integrated_brier(&until_edges, &at, (&test.0, &test.1), (&seen.0, &seen.1));
    found.map(|found| (INTEGRATED_BRIER.to_owned(), found)).into_iter().collect()
}

/// The last times before the edges: an event at an edge is in the later interval.
fn before_edges(hazards: &Hazards) -> Vec<f32> {
    hazards.edges.iter().map(|edge| edge.next_down()).collect()
}

/// What the Kaplan-Meier curve of the bags `seen` says of any bag: the probability of no event before each edge, and of none at all.
fn survival_of_all(bags: &Bags, seen: &[usize], hazards: &Hazards) -> Vec<f32> {
    let Some([(times, events), _]) = survival_of(bags, [seen, &[]]) else { return Vec::new() };
    let curve = metrics::kaplan_meier(&times, &events);
    let until = |at: f32| {
        let passed = curve.partition_point(|step| step.time <= at);
        passed.checked_sub(1).map_or(1.0, |last| curve[last].survival as f32)
    };
    before_edges(hazards).into_iter().chain([f32::INFINITY]).map(until).collect()
}
