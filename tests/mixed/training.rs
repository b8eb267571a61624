//! Training in mixed precision: the scale of the loss, updates that are left out, the same bits, and results
//! as good as those of f32.

use super::common::{self, error};
use bagrad::data::{Dataset, Split};
use bagrad::device::{Device, GpuOptions};
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::ops::update::{Average, Optimiser, RuleSettings, UpdateRule};
use bagrad::plan::{Family, PlanAs};
use bagrad::precision::{LossScale, Precision, ScaleState};
use bagrad::random::Random;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::training::{self, ClassWeights, Settings, predict::predict};
use bagrad::{Bags, Error, Features};

fn devices() -> Vec<Device> {
    let mut all = vec![Device::host()];
    all.extend(common::gpu());
    all.extend(common::gpu_without_f16());
    all.extend(common::gpu_with(GpuOptions {
        plan_as: Some(PlanAs::gpu(Family::Unknown, 1)),
        ..GpuOptions::default()
    }));
    all
}

fn bags(count: usize, width: usize, seed: u64) -> Bags {
    let mut random = Random::new(seed, 0);
    let sizes: Vec<usize> = (0..count).map(|_| 1 + random.below(40)).collect();
    let mut features = Vec::new();
    for (bag, &size) in sizes.iter().enumerate() {
        let shift = if bag % 2 == 1 { 1.0 } else { 0.0 };
        features.extend((0..size * width).map(|_| random.normal() as f32 + shift));
    }
    let labels = (0..count).map(|b| (b % 2) as u32).collect();
    Bags::packed(Features::F32(features), width, &sizes).unwrap().with_labels(labels).unwrap()
}

fn session(device: &Device, bags: &Bags, scale: LossScale) -> Session {
    let set = serde_json::json!({ "embed": [32], "attention": 16, "dropout": 0.1 });
    let method = Method::named("gated-attention").unwrap().with(set.as_object().unwrap()).unwrap();
    let model = Model::new(Spec::new(method, bags.width, bags.classes()), 3).unwrap();
    let mut session = Session::new(device, model, Storage::F32).unwrap();
    session.set_seed(3);
    session.set_mixed(Some(scale)).unwrap();
    session
}

fn steps(session: &mut Session, bags: &Bags, optimiser: &Optimiser, count: usize) {
    for n in 0..count {
        let batch: Vec<usize> = (0..4).map(|i| (n * 4 + i) % bags.len()).collect();
        session.train_step(bags, &batch, &[0.25; 4], None, (optimiser, 1e-3), None).unwrap();
    }
}

/// Whether updates are left out, and where the scale goes, follows the rule on every device.
#[test]
fn the_scale_moves_as_it_should() {
    let bags = bags(12, 20, 1);
    for device in devices() {
        // Far too large at first: f32 itself overflows. Then it grows after every third good update.
        let scale = LossScale { first: 2f32.powi(120), grow_every: 3 };
        let mut session = session(&device, &bags, scale);
        assert_eq!(session.loss_scale().unwrap(), None);
        let optimiser = Optimiser::adam(0.0);
        let (mut state, mut moved, mut grown) = (ScaleState { scale: scale.first, ..CLEAN }, 0, 0);
        let mut before = session.snapshot().unwrap();
        for n in 0..160 {
            steps(&mut session, &bags, &optimiser, 1);
            let after = session.snapshot().unwrap();
            let found = session.loss_scale().unwrap().unwrap();
            let bad = found.overflowed;
            let wanted = match (bad, state.good + 1 == 3) {
                (true, _) => {
                    ScaleState { scale: state.scale / 2.0, good: 0, skipped: state.skipped + 1, overflowed: true }
                }
                (false, true) => ScaleState { scale: state.scale * 2.0, good: 0, overflowed: false, ..state },
                (false, false) => ScaleState { good: state.good + 1, overflowed: false, ..state },
            };
            // Beyond the limit it does not grow.
            let wanted = if wanted.scale > state.scale && state.scale >= 2f32.powi(30) {
                ScaleState { scale: state.scale, ..wanted }
            } else {
                wanted
            };
            assert_eq!(found, wanted, "update {n} on {device:?}");
            assert_eq!(bad, before == after, "update {n} on {device:?}: left out, or not");
            (moved, grown) = (moved + !bad as u32, grown + (found.scale > state.scale) as u32);
            (state, before) = (found, after);
        }
        assert!(state.skipped >= 80 && moved > 20, "{state:?} on {device:?}");
        assert!(before.iter().all(|v| v.is_finite()), "{device:?}");
        assert!(grown > 0 || state.scale >= 2f32.powi(30), "{state:?} on {device:?}");
    }
}

const CLEAN: ScaleState = ScaleState { scale: 1.0, good: 0, skipped: 0, overflowed: false };

/// One wrong number is found wherever it is, by every rule, and no state of the optimiser keeps a trace of it.
#[test]
fn an_overflow_leaves_no_trace() {
    let bags = bags(8, 20, 2);
    let nesterov = UpdateRule::Nesterov { momentum: 0.9 };
    let second =
        RuleSettings { rule: nesterov, rate: 1.0, weight_decay: 0.0, decay_biases: true, clip_norm: Some(1.0) };
    let rules = [
        Optimiser { clip_norm: Some(0.5), ..Optimiser::adam(1e-3) },
        Optimiser::radam(1e-2).with_lookahead(2, 0.5),
        Optimiser { average: Some(Average { momentum: 0.9, cosine_over: None }), ..Optimiser::nesterov(0.9, 1e-4) },
        Optimiser { second: Some(second), ..Optimiser::adamw(1e-2) },
    ];
    for device in devices() {
        for optimiser in rules {
            let mut one = session(&device, &bags, LossScale { first: 1024.0, grow_every: 1000 });
            steps(&mut one, &bags, &optimiser, 3);
            let before = (one.snapshot().unwrap(), one.loss_scale().unwrap().unwrap());
            let huge = ScaleState { scale: 2f32.powi(120), ..before.1 };
            one.set_loss_scale(&huge).unwrap();
            steps(&mut one, &bags, &optimiser, 1);
            let after = one.loss_scale().unwrap().unwrap();
            let wanted =
                ScaleState { scale: huge.scale / 2.0, good: 0, skipped: before.1.skipped + 1, overflowed: true };
            assert_eq!(after, wanted, "{optimiser:?} on {device:?}");
            let slow = optimiser.lookahead.is_some();
            assert!(slow || one.snapshot().unwrap() == before.0, "{optimiser:?} on {device:?}");
            one.set_loss_scale(&before.1).unwrap();
            steps(&mut one, &bags, &optimiser, 2);
            assert_eq!(one.loss_scale().unwrap().unwrap().skipped, before.1.skipped);
            assert!(one.snapshot().unwrap().iter().all(|v| v.is_finite()), "{optimiser:?} on {device:?}");
        }
    }
}

/// The same seed gives the same bits, and so does a run that continues with a scale that was read; all devices
/// agree with the host to what rounding to f16 does to sums that differ in the last bits.
#[test]
fn devices_agree_and_repeat_themselves() {
    let bags = bags(10, 24, 3);
    let optimiser = Optimiser::adam(1e-4);
    let run = |device: &Device, first: f32| {
        let mut session = session(device, &bags, LossScale { first, grow_every: 4 });
        steps(&mut session, &bags, &optimiser, 12);
        (session.snapshot().unwrap(), session.loss_scale().unwrap().unwrap())
    };
    let widened = |v: &[f32]| v.iter().map(|v| *v as f64).collect::<Vec<f64>>();
    let wanted = run(&Device::host(), 1024.0);
    assert_eq!(wanted.1, ScaleState { scale: 8192.0, ..CLEAN });
    for device in devices() {
        let found = run(&device, 1024.0);
        assert_eq!(found, run(&device, 1024.0), "twice on {device:?}");
        assert_eq!(found.1, wanted.1, "{device:?}");
        let e = error(&widened(&found.0), &widened(&wanted.0));
        assert!(e < 2e-3, "{device:?}: {e:.1e}");
        // The scale alone, a power of two, does not change what is learned while nothing under- or overflows.
        let other = error(&widened(&run(&device, 64.0).0), &widened(&found.0));
        assert!(other < 2e-3, "{device:?}: {other:.1e}");
    }
}

/// Gradients and outputs differ from those of f32, by no more than f16 explains.
#[test]
fn rounding_shows_and_is_small() {
    let bags = bags(6, 24, 4);
    for device in devices() {
        let mut session = session(&device, &bags, LossScale::default());
        let mixed = session.gradients(&bags, None).unwrap();
        session.set_mixed(None).unwrap();
        let full = session.gradients(&bags, None).unwrap();
        for (name, full) in &full.parameters {
            if full.values.iter().all(|v| v.abs() < 1e-6) {
                // Nothing but rounding is left of the gradient of an attention bias.
                continue;
            }
            let e = error(&mixed.parameters[name].values, &full.values);
            assert!(e < 2e-2, "{name} on {device:?}: {e:.1e}");
        }
        let e = error(&mixed.outputs["bag_logits"].values, &full.outputs["bag_logits"].values);
        assert!((1e-7..1e-2).contains(&e), "{device:?}: {e:.1e}");
    }
}

/// A step in mixed precision creates and reads back nothing either.
#[test]
fn a_steady_step_creates_nothing() {
    let bags = bags(8, 16, 5);
    for device in devices() {
        let mut session = session(&device, &bags, LossScale::default());
        let optimiser = Optimiser::adam(0.0);
        steps(&mut session, &bags, &optimiser, 6);
        let before = session.executor().counters();
        steps(&mut session, &bags, &optimiser, 6);
        let after = session.executor().counters();
        assert_eq!(after.buffers, before.buffers, "{device:?}");
        assert_eq!(after.bind_groups, before.bind_groups, "{device:?}");
        assert_eq!(after.readbacks, before.readbacks, "{device:?}");
        if let Device::Gpu(_) = device {
            assert_eq!(after.submissions - before.submissions, 6, "{device:?}");
        }
    }
}

/// What never becomes finite is an error that says so, and a scale out of range is refused.
#[test]
fn what_no_scale_helps_is_an_error() {
    let mut wild = bags(6, 8, 6);
    // 1e5 is infinite in f16, whatever the scale.
    wild.features = Features::F32(vec![1e5; wild.instances() * 8]);
    let method = Method::named("gated-attention").unwrap();
    let model = || Model::new(Spec::new(method.clone(), 8, 2), 1).unwrap();
    let mut settings = Settings { epochs: 2, precision: Precision::Mixed, ..Settings::for_method(&method) };
    settings.loss_scale = LossScale { first: 2.0, grow_every: 10 };
    let all: Vec<usize> = (0..6).collect();
    let tame = bags(6, 8, 6);
    for device in devices() {
        let train = |settings: &Settings, bags: &Bags| {
            training::train(&device, model(), settings, bags, &all, &[], &mut ()).err().expect("an error")
        };
        // Whether the loss shows it depends on what the layers make of a NaN; the gradients do.
        let error = train(&settings, &wild);
        assert!(matches!(error, Error::NotFinite { .. } | Error::GradientOverflow { .. }), "{error} on {device:?}");
        // The loss is finite here, its gradient is beyond f16 at a scale of 1.
        let heavy = Settings { class_weights: ClassWeights::Given(vec![1e12; 2]), ..settings.clone() };
        let error = train(&heavy, &tame);
        assert!(matches!(error, Error::GradientOverflow { skipped: 6, .. }), "{error} on {device:?}");
        assert!(error.to_string().contains("f32"), "{error}");
    }
    settings.loss_scale.first = 3.0;
    let refused = training::train(&Device::host(), model(), &settings, &wild, &all, &[], &mut ()).err().unwrap();
    assert!(refused.to_string().contains("power of two"), "{refused}");
}

/// On bags of digits mixed precision, also from an absurd scale, is as good as f32.
#[test]
fn digits_are_learned_as_well() {
    let host = [Device::host()];
    let seeds: u64 = 3;
    for device in host.into_iter().chain(common::gpu()) {
        let auc = |seed: u64, precision: Precision, loss_scale: LossScale| {
            let set = Dataset::open(format!("digits-bags,train=120,test=150,seed={seed}")).unwrap();
            let set_to = serde_json::json!({ "embed": [64], "attention": 32, "dropout": 0.1 });
            let method = Method::named("gated-attention").unwrap().with(set_to.as_object().unwrap()).unwrap();
            let (epochs, batch, learning_rate, optimiser) = (25, 4, 2e-3, Optimiser::adam(1e-4));
            let base = Settings::for_method(&method);
            let settings = Settings { epochs, batch, learning_rate, optimiser, seed, precision, loss_scale, ..base };
            let spec = Spec::new(method, set.bags.width, set.bags.classes());
            let model = Model::new(spec, seed).unwrap();
            let (train, test) = (set.indices(Split::Train), set.indices(Split::Test));
            let done = training::train(&device, model, &settings, &set.bags, &train, &[], &mut ()).unwrap();
            let mut session = Session::new(&device, done.model, Storage::F32).unwrap();
            let predictions = predict(&mut session, &set.bags, &test, None).unwrap();
            let labels = set.bags.labels.as_ref().unwrap();
            let truth: Vec<u32> = test.iter().map(|&b| labels[b]).collect();
            (predictions.measure(&truth).unwrap().auc.unwrap(), done.loss_scale)
        };
        let (mut full, mut mixed) = (0.0, 0.0);
        for seed in 1..=seeds {
            full += auc(seed, Precision::F32, LossScale::default()).0 / seeds as f64;
            let (one, state) = auc(seed, Precision::Mixed, LossScale::default());
            mixed += one / seeds as f64;
            let state = state.unwrap();
            assert!(state.skipped < 20 && state.scale > 1.0, "{state:?} on {device:?}");
        }
        let (absurd, state) = auc(1, Precision::Mixed, LossScale { first: 2f32.powi(110), grow_every: 2000 });
        let skipped = state.unwrap().skipped;
        eprintln!("{device:?}: AUC {full:.4} in f32, {mixed:.4} mixed, {absurd:.4} after {skipped} overflows");
        assert!(full > 0.9 && mixed > full - 0.03, "{full} {mixed} on {device:?}");
        assert!(skipped >= 50 && absurd > 0.88, "{absurd} {skipped} on {device:?}");
    }
}
