use super::*;
use crate::device::Device;
use crate::methods::Method;
use crate::random::Random;
use crate::reproduce::{Found, Task, Tried};
use crate::training::Settings;
use serde_json::json;

/// Bags of two classes that a feature tells, of three instances each.
pub(super) fn bags(count: usize) -> Bags {
    let mut random = Random::new(8, 0);
    let labels: Vec<u32> = (0..count as u32).map(|bag| bag % 2).collect();
    let values = labels.iter().flat_map(|&label| {
        (0..12)
            .map(|at| (random.normal() + if at == 4 { 2.0 * f64::from(label) } else { 0.0 }) as f32)
            .collect::<Vec<_>>()
    });
    Bags::packed(Features::F32(values.collect()), 4, &vec![3; count]).unwrap().with_labels(labels).unwrap()
}

/// Of attention with these learning rates.
pub(super) fn contender(rates: &[f64]) -> Contender {
    let settings = json!({ "embed": [8], "attention": 4, "dropout": 0.0 });
    let method = Method::named("attention").unwrap().with(settings.as_object().unwrap()).unwrap();
    let candidate = |&rate: &f64| Candidate {
        settings: format!("lr={rate}"),
        method: method.clone(),
        training: Settings { epochs: 4, learning_rate: rate, ..Settings::for_method(&method) },
    };
    Contender::new("attention", rates.iter().map(candidate).collect())
}

fn study(bags: Bags, rates: &[f64]) -> Arc<Study> {
    let folds = Folds::new(vec![(0..bags.len()).map(|bag| (bag / 2 % 3) as u32).collect()]).unwrap();
    let (set, contenders) = (Dataset::new(bags, "made up"), vec![contender(rates)]);
    let target = TargetChoice::Auto;
    Arc::new(Study {
        set,
        target,
        folds,
        divided: Divided::InFolds,
        contenders,
        validation: 0.3,
        scaling: Scaling::Auto,
    })
}

/// What the first fold finds.
fn first_fold(study: &Arc<Study>) -> Found {
    let device = Device::host();
    (study.grid().unwrap().cells[0].run)(&Task { device: &device, seed: 1, shelf: None, model: None }).unwrap()
}

#[test]
fn the_test_fold_has_no_say_in_what_is_chosen() {
    const RATES: [f64; 3] = [1e-5, 3e-3, 3e-2];
    let found = first_fold(&study(bags(36), &RATES));
    let scores: Vec<Option<f64>> = found.tried.iter().map(|tried| tried.score).collect();
    assert_eq!(found.tried.iter().filter(|tried| tried.chosen).count(), 1);
    assert!(scores.iter().all(Option::is_some) && scores[0] != scores[1], "{scores:?}");
    let best = scores.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(found.tried.iter().find(|tried| tried.chosen).unwrap().score, Some(best), "the smallest log loss");

    // Other labels on the test fold: the same choice and the same predictions, which now are wrong.
    let mut changed = bags(36);
    let labels = changed.labels.as_mut().unwrap();
    (0..36).filter(|bag| bag / 2 % 3 == 0).for_each(|bag| labels[bag] = 1 - labels[bag]);
    let again = first_fold(&study(changed, &RATES));
    assert_eq!((&again.tried, &again.bags), (&found.tried, &found.bags));
    assert_ne!(again.metrics["accuracy"], found.metrics["accuracy"]);

    // Other features there: the same choice.
    let mut changed = bags(36);
    let Features::F32(values) = &mut changed.features else { unreachable!("made in f32") };
    values.chunks_exact_mut(12).enumerate().filter(|(bag, _)| bag / 2 % 3 == 0).for_each(|(_, bag)| bag.fill(9.0));
    // Equal bags within one fold are no leak.
    let again = first_fold(&study(changed, &RATES));
    assert_eq!(again.tried, found.tried);
    assert_ne!(again.bags, found.bags);

    // Labels of training bags do move it.
    let mut changed = bags(36);
    changed.labels.as_mut().unwrap().swap(2, 3);
    assert_ne!(first_fold(&study(changed, &RATES)).tried, found.tried);
}

#[test]
fn the_first_of_equal_candidates_is_taken_and_one_that_diverges_is_none() {
    let found = first_fold(&study(bags(24), &[1e30, 1e-3, 1e-3]));
    let chosen: Vec<bool> = found.tried.iter().map(|tried| tried.chosen).collect();
    assert_eq!(chosen, [false, true, false]);
    let Tried { score, failed, .. } = &found.tried[0];
    assert!(score.is_none() && failed.as_ref().is_some_and(|told| told.contains("loss")), "{failed:?}");
    assert_eq!(found.tried[1].score, found.tried[2].score);
    // Where all do, the fit fails.
    let device = Device::host();
    let grid = study(bags(24), &[1e30, 2e30]).grid().unwrap();
    assert!((grid.cells[0].run)(&Task { device: &device, seed: 1, shelf: None, model: None }).is_err());
}

#[test]
fn baselines_see_means_and_shares_alone() {
    let with = |bags: Bags| {
        let study = (*study(bags, &[1e-3])).clone();
        let contenders = Contender::baselines(Kind::Classes, |training| Settings { epochs: 4, ..training });
        let grid = Arc::new(Study { contenders, ..study }).grid().unwrap();
        let device = Device::host();
        let fold = |row: &str| {
            let cell = grid.cells.iter().find(|cell| cell.row.contains(row) && cell.column == "0:0").unwrap();
            (cell.run)(&Task { device: &device, seed: 1, shelf: None, model: None }).unwrap()
        };
        [fold("mean features"), fold("class shares"), fold("log-mean-exp")]
    };
    let whole = bags(36);
    let [mean, shares, _] = with(whole.clone());
    // The instances of each bag in another order, and one moved against another: the same mean.
    let mut moved = whole.clone();
    let Features::F32(values) = &mut moved.features else { unreachable!("made in f32") };
    values.chunks_exact_mut(12).for_each(|bag| (bag[0] += 0.5, bag[8] -= 0.5).0);
    let close = |a: &Found, b: &Found| {
        let pairs = a.bags.iter().zip(&b.bags);
        pairs.flat_map(|(a, b)| a.probabilities.iter().zip(&b.probabilities)).all(|(a, b)| (a - b).abs() < 1e-4)
    };
    let [again, others, instances] = with(moved);
    assert!(close(&mean, &again) && shares.bags == others.bags && !close(&mean, &instances));
    // Half of the training bags are of each class.
    assert!(shares.bags.iter().all(|said| said.probabilities == [0.5, 0.5]));
    assert_eq!(shares.metrics["auc"], 0.5);
}

/// The best of three by short trainings is the one that is trained to the end.
#[test]
fn halving_trains_to_the_end_what_was_best_before() {
    let halved = |rates: &[f64], epochs: u32| {
        let mut study = Arc::unwrap_or_clone(study(bags(36), rates));
        let contender = study.contenders.remove(0).halving(Some(3));
        study.contenders.push(contender);
        study.contenders[0].candidates.iter_mut().for_each(|candidate| candidate.training.epochs = epochs);
        let found = first_fold(&Arc::new(study));
        found.tried.into_iter().map(|tried| (tried.given_up, tried.chosen)).collect::<Vec<_>>()
    };
    let given_up = (Some(2), false);
    assert_eq!(halved(&[1e-5, 3e-2, 1e-5], 6), [given_up, (None, true), given_up]);
    // Two epochs have no third part.
    assert_eq!(halved(&[1e-5, 3e-2, 1e-5], 2), [(None, false), (None, true), (None, false)]);
    let one = study(bags(36), &[1e-5, 1e-2]);
    let other = Contender::clone(&one.contenders[0]).halving(Some(2));
    assert_ne!(one.contenders[0].identity(), other.identity());
}

#[test]
fn what_no_fit_could_learn_is_refused_before_the_first() {
    let refused = |change: &dyn Fn(&mut Candidate)| {
        let mut study = Arc::unwrap_or_clone(study(bags(36), &[1e-3, 1e-2]));
        change(&mut study.contenders[0].candidates[1]);
        study.audit().unwrap_err().to_string()
    };
    let soft = refused(&|candidate| {
        candidate.method = Method::named("clam-sb").unwrap();
        candidate.training.focal = 2.0;
    });
    assert!(soft.contains("focal") && soft.contains("of its own beside the loss of the bags"), "{soft}");
    let dropped = refused(&|candidate| candidate.training.instance_dropout = 1.0);
    assert!(dropped.contains("instance_dropout") && dropped.contains("found 1"), "{dropped}");
}

#[test]
fn a_search_needs_validation_bags() {
    let alone = study(bags(24), &[1e-3, 1e-2]);
    let study = Study { validation: 0.0, ..(*alone).clone() };
    assert!(study.audit().unwrap_err().to_string().contains("needs validation bags to choose settings by"));
}
