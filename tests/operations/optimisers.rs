//! Groups of parameters, two rules in one step, clipping by group, and moving averages: every update against
//! the same arithmetic written out over the gradients that a session reports.

use crate::common;
use crate::common::error;
use bagrad::device::{Device, GpuDevice, GpuOptions};
use bagrad::groups::Group;
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::ops::update::{Average, Optimiser, RuleSettings, UpdateRule};
use bagrad::plan::Purpose;
use bagrad::random::Random;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::training::{self, Settings};
use bagrad::{Bags, Features};
use std::collections::BTreeMap;

const WIDTH: usize = 7;
const RATE: f64 = 0.05;

fn bags() -> Bags {
    let mut random = Random::new(21, 0);
    let sizes = [5, 1, 70, 12];
    let features = (0..sizes.iter().sum::<usize>() * WIDTH).map(|_| random.normal() as f32).collect();
    Bags::packed(Features::F32(features), WIDTH, &sizes).unwrap().with_labels(vec![0, 1, 1, 0]).unwrap()
}

fn method() -> Method {
    let settings = serde_json::json!({ "embed": [20, 12], "dropout": 0.0, "attention": 9 });
    Method::named("gated-attention").unwrap().with(settings.as_object().unwrap()).unwrap()
}

fn session(device: &Device) -> Session {
    let model = Model::new(Spec::new(method(), WIDTH, 2), 5).unwrap();
    Session::new(device, model, Storage::F32).unwrap()
}

fn devices() -> Vec<(Device, f64)> {
    let mut devices = vec![(Device::oracle(), 1e-6), (Device::host(), 2e-5)];
    devices.extend(common::gpu().map(|gpu| (gpu, 5e-5)));
    devices
}

type Values = BTreeMap<String, Vec<f64>>;

fn parameters(session: &mut Session) -> Values {
    let model = session.model().unwrap();
    let of = |name: &str| model.parameter(name).unwrap().iter().map(|&v| v as f64).collect();
    model.parameters().iter().map(|p| (p.name.clone(), of(&p.name))).collect()
}

fn gradients(session: &mut Session, bags: &Bags) -> Values {
    let found = session.gradients(bags, None).unwrap();
    found.parameters.into_iter().map(|(name, tensor)| (name, tensor.values)).collect()
}

fn step(session: &mut Session, bags: &Bags, optimiser: &Optimiser) {
    session.train_step(bags, &[0, 1, 2, 3], &[0.25; 4], None, (optimiser, RATE), None).unwrap();
}

fn norm<'a>(values: impl IntoIterator<Item = &'a Vec<f64>>) -> f64 {
    values.into_iter().flatten().map(|v| v * v).sum::<f64>().sqrt()
}

fn compare(device: &Device, what: &str, found: &Values, wanted: &Values, tolerance: f64) {
    for (name, wanted) in wanted {
        let e = error(&found[name], wanted);
        assert!(e < tolerance, "{what}, {name} on {}: {e:.1e}", device.name());
    }
}

/// Plain gradient descent, which shows every factor as it is.
fn descent(decay: f32) -> Optimiser {
    Optimiser::nesterov(0.0, decay)
}

/// Frozen parameters keep their bits and have no launch for their gradient; the others learn as before.
#[test]
fn frozen_parameters_stay() {
    let bags = bags();
    for (device, _) in devices() {
        for optimiser in
            [Optimiser::adam(0.1), Optimiser::adamw(0.1), Optimiser::radam(0.1), Optimiser::nesterov(0.9, 0.1)]
        {
            let run = |frozen: &[&str]| {
                let mut session = session(&device);
                session.set_groups(&[Group::frozen(frozen.iter().copied())]).unwrap();
                let id = session.prepare(Purpose::Train(optimiser)).unwrap();
                let launches = session.executor().program(id).launches.len();
                let before = parameters(&mut session);
                step(&mut session, &bags, &optimiser);
                (before, parameters(&mut session), launches, gradients(&mut session, &bags))
            };
            let (_, all, all_launches, _) = run(&[]);
            let (before, after, launches, gradients) = run(&["embed.0", "attention.v.weight", "attention.u.weight"]);
            assert!(launches < all_launches, "{launches} of {all_launches}");
            // What the softmax ignores has a gradient of rounding alone, which may be zero.
            for (name, values) in after.iter().filter(|(name, _)| *name != "attention.w.bias") {
                let frozen = name.starts_with("embed.0.") || name.ends_with("v.weight") || name.ends_with("u.weight");
                assert_eq!(values == &before[name], frozen, "{name} with {optimiser:?} on {}", device.name());
                assert_eq!(gradients[name].iter().all(|g| *g == 0.0), frozen, "gradient of {name}");
                if !frozen {
                    assert_eq!(values, &all[name], "{name} with {optimiser:?} on {}", device.name());
                }
            }
        }
    }
}

/// Rates and decay by group, changed between two updates.
#[test]
fn groups_have_their_own_rate_and_decay() {
    let bags = bags();
    let head = Group { rate: 3.0, decay: 0.5, ..Group::of(["head"]) };
    let deep = Group { rate: 0.1, ..Group::of(["embed.1.weight"]) };
    for (device, tolerance) in devices() {
        let mut session = session(&device);
        for groups in [vec![], vec![head.clone(), deep.clone()], vec![deep.clone()]] {
            session.set_groups(&groups).unwrap();
            let (mut wanted, slopes) = (parameters(&mut session), gradients(&mut session, &bags));
            for (name, values) in &mut wanted {
                let group = groups.iter().find(|g| g.names.iter().any(|n| name.starts_with(n.as_str())));
                let (rate, decay) = group.map_or((1.0, 1.0), |g| (g.rate as f64, g.decay as f64));
                let decay = if name.ends_with("weight") { 2.0 * 0.2f32 as f64 * decay } else { 0.0 };
                values.iter_mut().zip(&slopes[name]).for_each(|(v, g)| *v -= RATE * rate * (g + decay * *v));
            }
            step(&mut session, &bags, &descent(0.2));
            compare(&device, "rates", &parameters(&mut session), &wanted, tolerance);
        }
    }
}

/// Groups with a limit of their own, the rest by the global norm.
#[test]
fn groups_are_clipped_by_themselves() {
    let bags = bags();
    for (device, tolerance) in devices() {
        for (global, own) in
            [(Some(0.01), Some(0.003)), (None, Some(0.003)), (Some(0.01), None), (Some(1e6), Some(1e6))]
        {
            let mut session = session(&device);
            session.set_groups(&[Group { clip_norm: own, ..Group::of(["head"]) }, Group::frozen(["embed.0"])]).unwrap();
            let optimiser = Optimiser { clip_norm: global, ..descent(0.0) };
            let (mut wanted, slopes) = (parameters(&mut session), gradients(&mut session, &bags));
            let is_own = |name: &str| own.is_some() && name.starts_with("head");
            let factor = |limit: Option<f32>, mine: bool| {
                let norm = norm(slopes.iter().filter(|(n, _)| is_own(n) == mine).map(|(_, v)| v));
                limit.map_or(1.0, |l| (l as f64 / (norm + 1e-6)).min(1.0))
            };
            let (rest, head) = (factor(global, false), factor(own, true));
            for (name, values) in &mut wanted {
                let factor = if is_own(name) { head } else { rest };
                values.iter_mut().zip(&slopes[name]).for_each(|(v, g)| *v -= RATE * factor * g);
            }
            step(&mut session, &bags, &optimiser);
            compare(&device, "clipping", &parameters(&mut session), &wanted, tolerance);
        }
    }
}

/// Adam on one part and clipped descent on the other, in one step; each as if the other were not there.
#[test]
fn two_rules_in_one_step() {
    let bags = bags();
    let second = RuleSettings {
        rule: UpdateRule::Nesterov { momentum: 0.5 },
        rate: 0.3,
        weight_decay: 0.0,
        decay_biases: false,
        clip_norm: Some(0.02),
    };
    let optimiser = Optimiser { second: Some(second), clip_norm: Some(0.05), ..Optimiser::adam(0.01) };
    for (device, tolerance) in devices() {
        let mut session = session(&device);
        session.set_groups(&[Group { second: true, ..Group::of(["head", "attention"]) }]).unwrap();
        let is_second = |name: &str| name.starts_with("head") || name.starts_with("attention");
        let mut moments: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for t in 1..=3 {
            let (mut wanted, slopes) = (parameters(&mut session), gradients(&mut session, &bags));
            let factor = |limit: f64, of_second: bool| {
                (limit / (norm(slopes.iter().filter(|(n, _)| is_second(n) == of_second).map(|(_, v)| v)) + 1e-6))
                    .min(1.0)
            };
            let (first, other) = (factor(0.05f32 as f64, false), factor(0.02f32 as f64, true));
            for (name, values) in &mut wanted {
                let state = moments.entry(name.clone()).or_insert_with(|| vec![(0.0, 0.0); values.len()]);
                for ((p, g), (m, v)) in values.iter_mut().zip(&slopes[name]).zip(state) {
                    if is_second(name) {
                        *m = 0.5 * *m - 0.3 * RATE * other * g;
                        *p += 0.5 * *m - 0.3 * RATE * other * g;
                    } else {
                        let g = first * g + 0.01 * *p;
                        (*m, *v) = (0.9 * *m + 0.1 * g, 0.999 * *v + 0.001 * g * g);
                        let (c1, c2) = (1.0 - 0.9f64.powi(t), 1.0 - 0.999f64.powi(t));
                        *p -= RATE / c1 * *m / ((*v / c2).sqrt() + 1e-8);
                    }
                }
            }
            step(&mut session, &bags, &optimiser);
            // Adam divides by gradients, so their rounding shows.
            compare(&device, "two rules", &parameters(&mut session), &wanted, 50.0 * tolerance);
        }
    }
}

/// The average follows the parameters with constant and with rising momentum, and starts where they start.
#[test]
fn averages_follow() {
    let bags = bags();
    for (device, tolerance) in devices() {
        for (momentum, cosine_over) in [(0.8f32, None), (0.8, Some(4))] {
            let optimiser = Optimiser { average: Some(Average { momentum, cosine_over }), ..Optimiser::adam(0.0) };
            let mut session = session(&device);
            assert!(session.average().unwrap().is_none());
            let mut mean = parameters(&mut session);
            for t in 0..6 {
                step(&mut session, &bags, &optimiser);
                let weight = match cosine_over {
                    None => 0.2,
                    Some(n) if t >= n => 0.0,
                    Some(n) => 0.1 * (1.0 + (std::f64::consts::PI * t as f64 / n as f64).cos()),
                };
                for (name, values) in parameters(&mut session) {
                    let mean = mean.get_mut(&name).unwrap();
                    mean.iter_mut().zip(values).for_each(|(m, v)| *m += weight * (v - *m));
                }
            }
            let average = session.average().unwrap().unwrap();
            for (name, wanted) in &mean {
                let found: Vec<f64> = average.parameter(name).unwrap().iter().map(|&v| v as f64).collect();
                let e = error(&found, wanted);
                assert!(e < tolerance, "{name} on {}: {e:.1e}", device.name());
            }
        }
    }
}

/// Everything at once is still one pass and one submission, and a steady step creates nothing.
#[test]
fn a_steady_step_creates_nothing() {
    let device = Device::Gpu(GpuDevice::noop(GpuOptions::default()).unwrap());
    let bags = bags();
    let second = RuleSettings {
        rule: UpdateRule::Nesterov { momentum: 0.5 },
        rate: 0.3,
        weight_decay: 0.0,
        decay_biases: false,
        clip_norm: Some(0.02),
    };
    let average = Some(Average { momentum: 0.99, cosine_over: None });
    let optimiser = Optimiser { average, second: Some(second), ..Optimiser::radam(1e-5).with_lookahead(6, 0.5) };
    let mut session = session(&device);
    let groups =
        [Group { second: true, ..Group::of(["head"]) }, Group { clip_norm: Some(1.0), ..Group::of(["embed.0"]) }];
    session.set_groups(&groups).unwrap();
    session.reserve(bagrad::session::extent_of(&bags, &[0, 1, 2, 3]).unwrap()).unwrap();
    (0..4).for_each(|_| step(&mut session, &bags, &optimiser));
    let before = session.executor().counters();
    (0..20).for_each(|_| step(&mut session, &bags, &optimiser));
    let after = session.executor().counters();
    assert_eq!((after.buffers, after.bind_groups), (before.buffers, before.bind_groups));
    assert_eq!((after.pipelines, after.readbacks), (before.pipelines, before.readbacks));
    assert_eq!((after.passes - before.passes, after.submissions - before.submissions), (20, 20));
}

/// What does not fit is refused, with the names there are.
#[test]
fn groups_that_do_not_fit_are_errors() {
    let mut session = session(&Device::host());
    let message = |session: &mut Session, groups: &[Group]| session.set_groups(groups).unwrap_err().to_string();
    assert!(message(&mut session, &[Group::of(["hea"])]).contains("head.weight"));
    assert!(message(&mut session, &[Group::of(["head"]), Group::of(["head.bias"])]).contains("head.bias is in 2"));
    assert!(message(&mut session, &[Group::of(["attention.v"])]).contains("stored together"));
    assert!(message(&mut session, &[Group { rate: -1.0, ..Group::of(["head"]) }]).contains("rate"));
    session.set_groups(&[Group { second: true, ..Group::of(["head"]) }]).unwrap();
    assert!(session.prepare(Purpose::Train(Optimiser::adam(0.0))).is_err(), "there is no second rule");
}

/// Training takes groups from its settings, and hands the average out.
#[test]
fn training_knows_groups() {
    let bags = bags();
    let optimiser = Optimiser { average: Some(Average { momentum: 0.9, cosine_over: None }), ..Optimiser::adam(0.0) };
    let groups = vec![Group::frozen(["embed"])];
    let settings = Settings { epochs: 2, optimiser, groups, ..Settings::for_method(&method()) };
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
    let model = Model::new(Spec::new(method(), WIDTH, 2), 5).unwrap();
    let outcome =
        training::train(&Device::host(), model.clone(), &settings, &bags, &[0, 1, 2, 3], &[], &mut ()).unwrap();
    let average = outcome.average.unwrap();
    for p in model.parameters() {
        let (old, new) = (model.parameter(&p.name).unwrap(), outcome.model.parameter(&p.name).unwrap());
        assert_eq!(old == new, p.name.starts_with("embed"), "{}", p.name);
        assert_eq!(average.parameter(&p.name).unwrap() == new, p.name.starts_with("embed"), "{}", p.name);
    }
}

/// A parameter that is kept above a value is put back there after an update that went below it, and no other is moved.
#[test]
fn exponents_are_kept_from_below_zero() {
    let settings = serde_json::json!({ "embed": [6], "dropout": 0.0, "exponent": 0.5, "lambda": 3.0 });
    let method = Method::named("power-pooling").unwrap().with(settings.as_object().unwrap()).unwrap();
    let (bags, rate) = (bags(), RATE * 10.0);
    for (device, bound) in devices() {
        let model = Model::new(Spec::new(method.clone(), WIDTH, 2), 5).unwrap();
        let mut session = Session::new(&device, model, Storage::F32).unwrap();
        let (start, slopes) = (parameters(&mut session), gradients(&mut session, &bags));
        session.train_step(&bags, &[0, 1, 2, 3], &[0.25; 4], None, (&descent(0.0), rate), None).unwrap();
        let mut kept = 0;
        for (name, found) in parameters(&mut session) {
            let moved = start[&name].iter().zip(&slopes[&name]).map(|(p, g)| p - rate * g);
            let wanted: Vec<f64> = match name.as_str() {
                "pool.exponent" => moved.inspect(|n| kept += usize::from(*n < 0.0)).map(|n| n.max(0.0)).collect(),
                _ => moved.collect(),
            };
            assert!(error(&found, &wanted) < bound, "{name}: {found:?} and {wanted:?}");
        }
        assert!(kept > 0, "no exponent would have gone below zero");
    }
}
