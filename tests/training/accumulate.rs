//! Gradients and updates apart.

use crate::common::error;
use crate::common::small::{bags, devices, small};
use bagrad::device::Device;
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::ops::update::Optimiser;
use bagrad::precision::LossScale;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::training::{Settings, train};
use bagrad::{Bags, Error};

fn without_dropout(method: &str) -> Method {
    let rates = ["dropout", "attention_dropout"].map(|name| (name.to_owned(), 0.0.into()));
    let mut set = serde_json::Map::from_iter(rates);
    if method == "certainty-pooling" {
        // It is nothing without; this much drops nothing here.
        set.insert("dropout".into(), 1e-9.into());
    }
    if method.starts_with("mhim") {
        set.extend([("strategy".to_owned(), "none".into()), ("consistency".to_owned(), 0.5.into())]);
    }
    if method == "mhim-transmil" {
        set.insert("row_dropout".into(), 0.0.into());
    }
    if matches!(method, "additive" | "gnn-mil") {
        // Statistics of a batch are not those of its bags.
        set.insert("batch_norm".into(), false.into());
    }
    if let Some(base) = small(method).settings().get("base") {
        let mut base = base.as_object().unwrap().clone();
        base.insert("dropout".into(), 0.0.into());
        set.insert("base".into(), base.into());
    }
    let known = small(method).info().parameters;
    set.retain(|name, _| known.iter().any(|p| p.name == *name));
    small(method).with(&set).unwrap()
}

fn session(device: &Device, method: Method, bags: &Bags) -> Session {
    let model = Model::new(Spec::new(method, bags.width, bags.classes()), 5).unwrap();
    Session::new(device, model, Storage::F32).unwrap()
}

/// Parameters after two updates of all bags, each of batches of `batch` bags.
fn trained(session: &mut Session, bags: &Bags, batch: usize, optimiser: &Optimiser) -> Vec<f64> {
    let all: Vec<usize> = (0..bags.len()).collect();
    let weights = vec![1.0 / bags.len() as f32; bags.len()];
    for _ in 0..2 {
        if batch >= all.len() {
            session.train_step(bags, &all, &weights, None, (optimiser, 1e-3), None).unwrap();
            continue;
        }
        for batch in all.chunks(batch) {
            session.accumulate(bags, batch, &weights[..batch.len()], None, None).unwrap();
        }
        assert_eq!(session.pending() as usize, all.len().div_ceil(batch));
        session.apply(optimiser, 1e-3).unwrap();
    }
    session.snapshot().unwrap().into_iter().map(f64::from).collect()
}

/// k batches of one bag are one batch of k bags, to rounding: every method without samples on the oracle, some on the other devices, whole
/// and in windows of rows, in f32 and in mixed precision, with clipping.
#[test]
fn batches_add_up_to_one() {
    let bags = bags(6, 10, 3);
    // Steps of Adam hide what gradients differ by; those of momentum do not.
    let optimiser = Optimiser { clip_norm: Some(0.5), ..Optimiser::nesterov(0.9, 1e-3) };
    let distance = |device: &Device, method: &str, batch: usize, prepare: &dyn Fn(&mut Session)| {
        let run = |batch: usize| {
            let mut session = session(device, without_dropout(method), &bags);
            let start: Vec<f64> = session.snapshot().unwrap().into_iter().map(f64::from).collect();
            prepare(&mut session);
            let end = trained(&mut session, &bags, batch, &optimiser);
            end.iter().zip(start).map(|(end, start)| end - start).collect::<Vec<_>>()
        };
        error(&run(batch), &run(bags.len()))
    };
    // What samples and pseudo-bags are drawn goes by places in a batch.
    let sampled = |method: &Method| ["focus-mil", "causal-mil", "mivae", "dtfd"].contains(&method.name());
    for method in Method::all().iter().filter(|method| !sampled(method)) {
        let found = distance(&Device::Oracle, method.name(), 1, &|_| ());
        // Snapshots are of f32.
        assert!(found < 1e-3, "{}: {found:e}", method.name());
    }
    for device in devices() {
        for method in ["gated-attention", "dsmil", "mhim-attention"] {
            for batch in [1, 4] {
                let found = distance(&device, method, batch, &|_| ());
                assert!(found < 2e-3, "{method} on {}: {found:e}", device.name());
            }
        }
        let found = distance(&device, "dsmil", 1, &|session| session.limit_bindings(Some(48 << 10)));
        assert!(found < 2e-3, "in windows on {}: {found:e}", device.name());
        let mixed = |session: &mut Session| session.set_mixed(Some(LossScale::default())).unwrap();
        let found = distance(&device, "gated-attention", 2, &mixed);
        assert!(found < 2e-2, "mixed on {}: {found:e}", device.name());
    }
}

/// What waits is what one pass over all bags has, can be replaced, and is what the update takes.
#[test]
fn gradients_can_be_read_and_replaced_before_their_update() {
    let bags = bags(5, 8, 4);
    let optimiser = Optimiser::nesterov(0.0, 0.0);
    for device in devices() {
        for mixed in [None, Some(LossScale::default())] {
            let mut session = session(&device, without_dropout("attention"), &bags);
            session.set_mixed(mixed).unwrap();
            let wanted = session.gradients(&bags, None).unwrap().parameters;
            for bag in 0..bags.len() {
                session.accumulate(&bags, &[bag], &[1.0 / bags.len() as f32], None, None).unwrap();
            }
            let found = session.pending_gradients().unwrap();
            assert!(found.keys().eq(wanted.keys()));
            // All together: some are zero but for rounding.
            let flat = |of: &std::collections::BTreeMap<String, bagrad::session::Tensor>| -> Vec<f64> {
                of.values().flat_map(|t| t.values.clone()).collect()
            };
            let distance = error(&flat(&found), &flat(&wanted));
            assert!(distance < if mixed.is_some() { 1e-2 } else { 1e-5 }, "{distance:e}");
            let name = "head.weight";
            let before = session.model().unwrap().parameter(name).unwrap().to_vec();
            let gradient: Vec<f32> = (0..before.len()).map(|i| i as f32 - 2.0).collect();
            session.set_pending_gradient(name, &gradient).unwrap();
            session.apply(&optimiser, 0.5).unwrap();
            let after = session.model().unwrap().parameter(name).unwrap().to_vec();
            for ((after, before), gradient) in after.iter().zip(&before).zip(&gradient) {
                assert!((after - (before - 0.5 * gradient)).abs() < 1e-5, "{after} {before} {gradient}");
            }
        }
    }
}

#[test]
fn steps_out_of_order_are_refused() {
    let bags = bags(3, 6, 5);
    let optimiser = Optimiser::adam(0.0);
    let mut session = session(&Device::host(), without_dropout("attention"), &bags);
    let message = |e: Error| e.to_string();
    let none = "none wait for their update";
    assert!(message(session.apply(&optimiser, 0.1).unwrap_err()).contains(none));
    assert!(message(session.pending_gradients().unwrap_err()).contains(none));
    assert!(message(session.set_pending_gradient("head.weight", &[]).unwrap_err()).contains(none));
    session.accumulate(&bags, &[0], &[1.0], None, None).unwrap();
    let found = session.train_step(&bags, &[0], &[1.0], None, (&optimiser, 0.1), None).unwrap_err();
    assert!(message(found).contains("gradients of 1 batches wait"));
    let waiting = "gradients of 1 batches wait";
    assert!(message(session.state(2).unwrap_err()).contains(waiting));
    // Both would write over what waits.
    assert!(message(session.gradients(&bags, None).unwrap_err()).contains(waiting));
    assert!(message(session.repeat_step(&optimiser, 0.1).unwrap_err()).contains(waiting));
    assert!(message(session.set_pending_gradient("head.weight", &[0.0]).unwrap_err()).contains("found 1 values"));
    assert!(message(session.set_pending_gradient("no", &[0.0]).unwrap_err()).contains("no trained parameter"));
    assert!(session.apply(&optimiser, f64::NAN).is_err());
    session.discard();
    session.train_step(&bags, &[0], &[1.0], None, (&optimiser, 0.1), None).unwrap();
    assert_eq!((session.updates(), session.pending()), (1, 0));
}

/// The batches of an update draw their own dropout, and the first one draws what a plain step draws.
#[test]
fn batches_of_an_update_draw_differently() {
    let bags = bags(4, 8, 6);
    let mut session = session(&Device::host(), small("attention"), &bags);
    let mut gradients = |batches: &[usize]| {
        for &bag in batches {
            session.accumulate(&bags, &[bag], &[1.0], None, None).unwrap();
        }
        let found = session.pending_gradients().unwrap()["embed.0.weight"].values.clone();
        session.discard();
        found
    };
    let (once, again, twice) = (gradients(&[1]), gradients(&[1]), gradients(&[1, 1]));
    assert_eq!(once, again);
    let doubled: Vec<f64> = once.iter().map(|g| 2.0 * g).collect();
    assert!(error(&twice, &doubled) > 0.05, "the second batch drew what the first drew");
}

/// In the loop: the same epochs, updates and losses as with larger batches.
#[test]
fn training_accumulates() {
    let bags = bags(30, 8, 7);
    let training: Vec<usize> = (0..21).collect();
    let validation: Vec<usize> = (21..30).collect();
    for device in devices() {
        let run = |batch: usize, accumulate: usize| {
            let method = without_dropout("gated-attention");
            let settings = Settings { batch, accumulate, epochs: 3, ..Settings::for_method(&method) };
            let model = Model::new(Spec::new(method, bags.width, 2), 5).unwrap();
            train(&device, model, &settings, &bags, &training, &validation, &mut ()).unwrap()
        };
        let (whole, parts) = (run(8, 1), run(2, 4));
        assert_eq!((whole.steps, parts.steps, parts.epochs.len()), (9, 9, 3));
        for (a, b) in whole.epochs.iter().zip(&parts.epochs) {
            assert!((a.loss - b.loss).abs() < 1e-4 * a.loss, "{} {}", a.loss, b.loss);
            let losses = [a, b].map(|e| e.validation_loss.unwrap());
            assert!((losses[0] - losses[1]).abs() < 1e-3 * losses[0], "{losses:?}");
        }
    }
    let method = small("attention");
    let settings = Settings { accumulate: 0, ..Settings::for_method(&method) };
    let model = Model::new(Spec::new(method, bags.width, 2), 5).unwrap();
    let refused = train(&Device::host(), model, &settings, &bags, &training, &[], &mut ()).err().unwrap();
    assert!(refused.to_string().contains("accumulate"), "{refused}");
}
