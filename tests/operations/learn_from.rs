//! Parameters that learn from bags of one class alone: steps without such bags leave them, their moments and the number of
//! their updates as they are.

use crate::common;
use bagrad::device::Device;
use bagrad::groups::Group;
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::ops::update::{Average, Optimiser};
use bagrad::precision::LossScale;
use bagrad::random::Random;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::{Bags, Features};
use std::collections::BTreeMap;

const RATE: f64 = 0.01;

/// Bag b has class b modulo 3.
fn bags() -> Bags {
    let mut random = Random::new(3, 0);
    let sizes = [7, 5, 70, 9, 4, 3];
    let features = (0..sizes.iter().sum::<usize>() * 4).map(|_| random.normal() as f32).collect();
    Bags::packed(Features::F32(features), 4, &sizes).unwrap().with_labels(vec![0, 1, 2, 0, 1, 2]).unwrap()
}

fn session(device: &Device) -> Session {
    let settings = serde_json::json!({"embed": [6], "attention": 5, "dropout": 0.0, "k": 2});
    let method = Method::named("clam-sb").unwrap().with(settings.as_object().unwrap()).unwrap();
    Session::new(device, Model::new(Spec::new(method, 4, 3), 5).unwrap(), Storage::F32).unwrap()
}

fn devices() -> Vec<Device> {
    [Device::oracle(), Device::host()].into_iter().chain(common::gpu()).collect()
}

fn optimisers() -> Vec<Optimiser> {
    let average = Average { momentum: 0.9, cosine_over: None };
    vec![
        Optimiser::adam(0.1),
        Optimiser { clip_norm: Some(0.5), ..Optimiser::adamw(0.1) },
        Optimiser { average: Some(average), ..Optimiser::radam(0.1).with_lookahead(2, 0.5) },
        Optimiser::nesterov(0.9, 0.1),
    ]
}

fn parameters(session: &mut Session) -> BTreeMap<String, Vec<f32>> {
    let model = session.model().unwrap();
    model.parameters().iter().map(|p| (p.name.clone(), model.parameter(&p.name).unwrap().to_vec())).collect()
}

fn step(session: &mut Session, batch: &[usize], optimiser: &Optimiser) {
    let weights = vec![1.0 / batch.len() as f32; batch.len()];
    session.train_step(&bags(), batch, &weights, None, (optimiser, RATE), None).unwrap();
}

/// The classes whose classifier of instances is another than before.
fn moved(before: &BTreeMap<String, Vec<f32>>, after: &BTreeMap<String, Vec<f32>>) -> Vec<u32> {
    let differs = |class: u32, part: &str| {
        let name = format!("instances.{class}.{part}");
        before[&name] != after[&name]
    };
    (0..3).filter(|&class| differs(class, "weight") || differs(class, "bias")).collect()
}

#[test]
fn classifiers_move_with_bags_of_their_class() {
    for device in devices() {
        let plain = optimisers().into_iter().map(|optimiser| (optimiser, None));
        let mixed = (Optimiser::adam(0.1), Some(LossScale::default()));
        for (optimiser, scale) in plain.chain([mixed]) {
            let mut session = session(&device);
            session.set_mixed(scale).unwrap();
            for batch in [&[0][..], &[2, 5], &[1, 2], &[0, 3], &[4, 0]] {
                let before = parameters(&mut session);
                step(&mut session, batch, &optimiser);
                let after = parameters(&mut session);
                let mut classes: Vec<u32> = batch.iter().map(|bag| *bag as u32 % 3).collect();
                classes.sort_unstable();
                classes.dedup();
                // Lookahead brings those that moved before back to their slow copy.
                let found = moved(&before, &after);
                let synced = optimiser.lookahead.is_some() && session.updates().is_multiple_of(2);
                assert!(classes.iter().all(|class| found.contains(class)), "{batch:?}, {optimiser:?}");
                assert!(synced || found == classes, "{batch:?} moved {found:?}, {optimiser:?} on {}", device.name());
                assert!(after.values().flatten().all(|v| v.is_finite()));
                assert_ne!(before["head.weight"], after["head.weight"]);
            }
        }
    }
}

/// A classifier whose first update is not the first of all is corrected as if it were: by Adam it moves by the rate.
#[test]
fn updates_are_counted_for_each_class() {
    let optimiser = Optimiser::adam(0.0);
    for device in devices() {
        let half = || vec![Group { rate: 0.5, ..Group::of(["instances"]) }];
        for (groups, scale) in [(vec![], None), (half(), None), (half(), Some(LossScale::default()))] {
            let mut session = session(&device);
            session.set_mixed(scale).unwrap();
            session.set_groups(&groups).unwrap();
            (0..10).for_each(|_| step(&mut session, &[0], &optimiser));
            let before = parameters(&mut session);
            step(&mut session, &[1], &optimiser);
            let after = parameters(&mut session);
            let rate = if groups.is_empty() { RATE } else { 0.5 * RATE };
            for (new, old) in after["instances.1.bias"].iter().zip(&before["instances.1.bias"]) {
                let by = f64::from((new - old).abs());
                assert!((by / rate - 1.0).abs() < 1e-4, "{by} on {}", device.name());
            }
        }
    }
}

/// Classes of batches that add up to one update are all its classes, and a frozen classifier stays frozen.
#[test]
fn batches_add_up() {
    let bags = bags();
    for device in devices() {
        let mut whole = session(&device);
        let mut parts = session(&device);
        for session in [&mut whole, &mut parts] {
            session.set_groups(&[Group::frozen(["instances.1"])]).unwrap();
        }
        let optimiser = Optimiser::adam(0.01);
        for _ in 0..3 {
            step(&mut whole, &[0, 2, 1], &optimiser);
            for bag in [0, 2, 1] {
                parts.accumulate(&bags, &[bag], &[1.0 / 3.0], None, None).unwrap();
            }
            parts.apply(&optimiser, RATE).unwrap();
        }
        let (a, b) = (parameters(&mut whole), parameters(&mut parts));
        let start = parameters(&mut session(&device));
        assert_eq!(moved(&start, &b), [0, 2]);
        for (name, values) in a.iter().filter(|(name, _)| *name != "attention.w.bias") {
            for (x, y) in values.iter().zip(&b[name]) {
                assert!((x - y).abs() < 1e-4, "{name}: {x} {y} on {}", device.name());
            }
        }
    }
}

/// A session that goes on from a state does what one does that never stopped, to the bit.
#[test]
fn states_keep_the_counts() {
    let optimiser = Optimiser::adam(0.01);
    for device in devices().into_iter().skip(1) {
        let mut one = session(&device);
        for batch in [[0], [3], [1], [0]] {
            step(&mut one, &batch, &optimiser);
        }
        let state = one.state(optimiser.states()).unwrap();
        assert_eq!(state.class_updates, [3, 1]);
        let mut other = session(&device);
        other.set_state(&state).unwrap();
        for session in [&mut one, &mut other] {
            [[2], [1], [5]].iter().for_each(|batch| step(session, batch, &optimiser));
        }
        assert!(parameters(&mut one) == parameters(&mut other), "on {}", device.name());
    }
}
