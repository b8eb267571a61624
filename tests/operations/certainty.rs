//! Certainty Pooling as a method: what its predictions depend on, what it holds, and what it refuses.

use crate::common::small::{bags, devices};
use bagrad::device::Device;
use bagrad::kernels::launch::Extent;
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::plan::{Purpose, plan};
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::{Bags, Error};
use serde_json::{Value, json};

fn method(settings: Value) -> Method {
    let small = json!({ "embed": [12], "head": [9], "passes": 7 });
    let small = Method::named("certainty-pooling").unwrap().with(small.as_object().unwrap()).unwrap();
    small.with(settings.as_object().unwrap()).unwrap()
}

fn session(device: &Device, settings: Value, bags: &Bags) -> Session {
    let model = Model::new(Spec::new(method(settings), bags.width, bags.classes()), 5).unwrap();
    Session::new(device, model, Storage::F32).unwrap()
}

/// Values of an output for these bags.
fn output(session: &mut Session, bags: &Bags, name: &str) -> Vec<f64> {
    session.gradients(bags, None).unwrap().outputs[name].values.clone()
}

/// The seed of the run is that of training: predictions have their own, which is the model's.
#[test]
fn the_same_seed_gives_the_same_scores() {
    let bags = bags(4, 6, 1);
    for device in devices() {
        let mut one = session(&device, json!({}), &bags);
        one.set_seed(3);
        let first = output(&mut one, &bags, "deviation");
        assert!(first.iter().all(|sigma| *sigma > 0.0), "every instance is uncertain");
        assert_eq!(output(&mut one, &bags, "deviation"), first, "once more");
        let mut two = session(&device, json!({}), &bags);
        two.set_seed(4);
        assert_eq!(output(&mut two, &bags, "deviation"), first, "another run");
        let mut other = session(&device, json!({ "seed": 1 }), &bags);
        assert_ne!(output(&mut other, &bags, "deviation"), first, "other masks");
    }
}

/// One instance after the other, in any order and company.
#[test]
fn an_instance_is_as_certain_anywhere() {
    let all = bags(4, 6, 2);
    for device in devices() {
        let mut session = session(&device, json!({}), &all);
        let together = output(&mut session, &all, "deviation");
        for bag in 0..all.len() {
            let alone = output(&mut session, &all.select(&[bag]).unwrap(), "deviation");
            let error = crate::common::error(&alone, &together[all.rows(bag)]);
            assert!(error < 1e-5, "bag {bag} on {}: {error:e}", device.name());
        }
        let order: Vec<usize> = (0..all.len()).rev().collect();
        let turned = output(&mut session, &all.select(&order).unwrap(), "selection");
        let straight = output(&mut session, &all, "selection");
        let last = all.rows(all.len() - 1);
        assert!(crate::common::error(&turned[..last.len()], &straight[last]) < 1e-5);
    }
}

/// Neither what a pass computes nor its masks are kept: memory is that of a few passes, however many there are.
#[test]
fn memory_does_not_grow_with_the_passes() {
    let bytes = |passes: u32, purpose: Purpose| {
        let tape = method(json!({ "passes": passes })).record(6, 2, Storage::F32, false).unwrap();
        plan(&tape, purpose, Device::host().target(), Extent::of([1000, 3000])).unwrap().slot_bytes()
    };
    for purpose in [Purpose::Predict, Purpose::Gradients { dropout: true }] {
        let (few, many) = (bytes(3, purpose), bytes(100, purpose));
        assert_eq!(few, many, "{purpose:?}");
    }
}

#[test]
fn what_would_be_another_pool_is_refused() {
    for (settings, named) in [
        (json!({ "dropout": 0.0 }), "dropout"),
        (json!({ "dropout": 1.0 }), "dropout"),
        (json!({ "passes": 1 }), "passes"),
        (json!({ "passes": 513 }), "passes"),
        (json!({ "epsilon": 0.0 }), "epsilon"),
        (json!({ "head": [4, 0] }), "head"),
    ] {
        let error = method(settings).record(6, 2, Storage::F32, false).unwrap_err();
        assert!(matches!(&error, Error::Setting { name, .. } if name == named), "{error}");
    }
    let refused =
        [("power-pooling", "exponent", -1.0), ("power-pooling", "lambda", -1.0), ("adaptive-pooling", "lambda", -0.5)];
    for (name, setting, value) in refused {
        let settings = json!({ setting: value });
        let method = Method::named(name).unwrap().with(settings.as_object().unwrap()).unwrap();
        let error = method.record(6, 2, Storage::F32, false).unwrap_err();
        assert!(matches!(&error, Error::Setting { name, .. } if name == setting), "{error}");
    }
}
