//! What else than classes is learnt of bags: numbers, survival, classes in an order.

use crate::common::small::{devices, small};
use bagrad::device::Device;
use bagrad::methods::Method;
use bagrad::metrics::{BagScores, Metric};
use bagrad::model::Model;
use bagrad::random::Random;
use bagrad::target::{NumberLoss, Ties};
use bagrad::{Bags, Features, Responses, Target, TargetChoice, Trainer};
use std::collections::BTreeMap;

/// Bags of one to seven instances, of which one has what `answer` is made of in its first feature: how much, from -1 to 1.
fn bags(count: usize, answer: impl Fn(&[f32], &mut Random) -> Bags) -> Bags {
    let mut random = Random::new(41, 0);
    let (mut values, mut sizes, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for bag in 0..count {
        let (size, key) = (1 + bag % 7, 2.0 * random.uniform() as f32 - 1.0);
        let at = random.below(size);
        for instance in 0..size {
            let told = if instance == at { [4.0 * key, 3.0] } else { [0.0, 0.0] };
            values.extend(told.map(|v| v + 0.1 * random.normal() as f32));
            values.extend((0..2).map(|_| random.normal() as f32));
        }
        sizes.push(size);
        keys.push(key);
    }
    let like = Bags::packed(Features::F32(values), 4, &sizes).unwrap();
    let answered = answer(&keys, &mut random);
    Bags { features: like.features, width: 4, offsets: like.offsets, ..answered }
}

fn frame(count: usize) -> Bags {
    Bags::packed(Features::F32(vec![0.0; count]), 1, &vec![1; count]).unwrap()
}

/// An age around 60.
fn numbers(count: usize) -> Bags {
    bags(count, |keys, _| {
        let ages = keys.iter().map(|k| 60.0 + 12.0 * k).collect();
        frame(keys.len()).with_responses(Responses::Numbers(ages)).unwrap()
    })
}

/// Times with a hazard that grows with the key, some of them censored, whole days, so that some are the same.
fn survival(count: usize) -> Bags {
    bags(count, |keys, random| {
        let day = |rate: f64, random: &mut Random| (-(1.0 - random.uniform()).ln() / rate * 30.0).ceil() as f32;
        let pairs = keys.iter().map(|&k| (day(f64::from(3.0 * k).exp(), random), day(0.2, random)));
        let (times, events) = pairs.map(|(event, end)| (event.min(end), event <= end)).unzip();
        frame(keys.len()).with_responses(Responses::Survival { times, events }).unwrap()
    })
}

/// Four grades.
fn grades(count: usize) -> Bags {
    bags(count, |keys, _| {
        let labels = keys.iter().map(|k| ((k + 1.0) * 2.0).floor().clamp(0.0, 3.0) as u32).collect();
        frame(keys.len()).with_labels(labels).unwrap()
    })
}

/// Draws so many bags.
type Drawn = fn(usize) -> Bags;

fn targets() -> Vec<(TargetChoice, Drawn)> {
    vec![
        (TargetChoice::Number(NumberLoss::Squared), numbers),
        (TargetChoice::Number(NumberLoss::Absolute), numbers),
        (TargetChoice::Number(NumberLoss::Huber(0.5)), numbers),
        (TargetChoice::Hazards { intervals: 5, alpha: 0.1 }, survival),
        (TargetChoice::Cox(Ties::Efron), survival),
        (TargetChoice::Ordered, grades),
    ]
}

fn trainer<'a>(method: Method, target: TargetChoice, device: &Device) -> Trainer<'a> {
    let batch = if matches!(target, TargetChoice::Cox(_)) { 16 } else { 4 };
    Trainer::new(method).target(target).batch(batch).device(device).seed(3)
}

/// Gated attention finds the instance that tells, and what it tells, of bags that it has not seen.
#[test]
fn every_target_is_learnt() {
    let device = Device::host();
    for (target, of) in targets() {
        let (bags, others) = (of(240), of(400));
        let others = others.select(&(240..400).collect::<Vec<_>>()).unwrap();
        let fitted = trainer(small("gated-attention"), target, &device)
            .epochs(60)
            .learning_rate(0.01)
            .validation(0.2)
            .patience(60)
            .fit(&bags)
            .unwrap();
        let found = fitted.model.clone().on(&device).unwrap().evaluate(&others).unwrap();
        let (what, least) = match &found.scores {
            BagScores::Numbers(scores) => (scores.r2, 0.8),
            BagScores::Survival(scores) => (scores.c_index, 0.78),
            BagScores::Classes(scores) => (scores.accuracy, 0.65),
            BagScores::LabelSets(_) => unreachable!("nobody has label sets here"),
        };
        assert!(what.unwrap() > least, "{target:?}: {:?}", found.scores);
        // A model file has all that predictions need.
        let again = Model::from_bytes(&fitted.model.to_bytes()).unwrap();
        assert_eq!(again.spec(), fitted.model.spec());
        let again = again.on(&device).unwrap().predict(&others).unwrap();
        assert_eq!(
            (&again.values, &again.probabilities),
            (&found.predictions.values, &found.predictions.probabilities)
        );
        match &again.target {
            Target::Hazards(_) => {
                let falls = again.survival.chunks_exact(5).all(|s| s.windows(2).all(|w| w[0] >= w[1]) && s[0] <= 1.0);
                assert!(falls && again.survival.len() == 5 * others.len());
            }
            Target::Ordered => {
                let sums = again.probabilities.chunks_exact(4).map(|p| p.iter().sum::<f32>());
                assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-5));
            }
            _ => assert_eq!(again.values.len(), others.len()),
        }
        // Other bags than those that have it are refused.
        let wrong = if again.target.has_classes() { numbers(8) } else { grades(8) };
        let refused = fitted.model.on(&device).unwrap().evaluate(&wrong).unwrap_err().to_string();
        assert!(refused.contains("these bags have"), "{refused}");
    }
}

/// Methods whose losses know classes alone.
const OF_CLASSES: [&str; 8] =
    ["adaptive-pooling", "clam-mb", "clam-sb", "dp-minn", "dtfd", "loss-attention", "mirel", "mivae"];

/// Every method learns every target, or says that it does not: on each device a step, and predictions that are numbers.
#[test]
fn every_method_learns_every_target_or_says_so() {
    let [numbers, survival, grades] = [numbers(24), survival(24), grades(24)];
    let mut refused = BTreeMap::new();
    for device in devices() {
        for method in Method::all() {
            let method = small(method.name());
            for (target, _) in targets() {
                let bags = match target {
                    TargetChoice::Number(_) => &numbers,
                    TargetChoice::Ordered => &grades,
                    _ => &survival,
                };
                let mut bags = bags.clone();
                bags.coords = Some((0..bags.instances()).map(|i| [(i % 5) as f32, (i / 5) as f32]).collect());
                match trainer(method.clone(), target, &device).epochs(1).fit(&bags) {
                    Ok(fitted) => {
                        assert!(fitted.epochs[0].loss.is_finite(), "{} {target:?}", method.name());
                        let found = fitted.model.on(&device).unwrap().predict(&bags).unwrap();
                        let said = found.said_of_all();
                        assert!(!said.is_empty() && said.iter().all(|v| v.is_finite()), "{} {target:?}", method.name());
                        assert_eq!(found.scores.len(), bags.instances());
                    }
                    Err(error) => {
                        let told = error.to_string();
                        assert!(
                            told.contains("learns classes without an order alone"),
                            "{} {target:?}: {told}",
                            method.name()
                        );
                        *refused.entry(method.name()).or_insert(0) += 1;
                    }
                }
            }
        }
    }
    // All of them or none.
    let wanted: BTreeMap<&str, usize> = OF_CLASSES.map(|name| (name, targets().len() * devices().len())).into();
    assert_eq!(refused, wanted);
}

#[test]
fn what_cannot_be_learnt_is_refused() {
    let host = Device::host();
    let refused = |trainer: Trainer, bags: &Bags| trainer.epochs(1).fit(bags).unwrap_err().to_string();
    let attention = || small("attention");
    let alone = trainer(attention(), TargetChoice::Cox(Ties::Efron), &host).batch(1);
    assert!(refused(alone, &survival(20)).contains("compares the bags of a batch"));
    let weighted =
        trainer(attention(), TargetChoice::Auto, &host).class_weights(bagrad::training::ClassWeights::Balanced);
    assert!(refused(weighted, &numbers(20)).contains("no classes to weight"));
    let watched = trainer(attention(), TargetChoice::Auto, &host).monitor(Metric::Auc);
    assert!(refused(watched, &numbers(20)).contains("choose loss, r2, mae or spearman"));
    let watched = trainer(attention(), TargetChoice::Auto, &host).monitor(Metric::CIndex);
    assert!(refused(watched, &grades(20)).contains("of numbers or survival"));
    let ordered = trainer(attention(), TargetChoice::Ordered, &host);
    assert!(refused(ordered, &survival(20)).contains("one class each, and these have a time and an event each"));
    let mut censored = survival(20);
    let Some(Responses::Survival { events, .. }) = &mut censored.responses else { panic!("survival") };
    events.fill(false);
    assert!(
        refused(trainer(attention(), TargetChoice::Auto, &host), &censored)
            .contains("none of the 20 training bags has an event")
    );
}
