//! Batches that do not fit the device run in windows of rows, with the results of the whole batch.

#[path = "../common/mod.rs"]
mod common;

mod columns;

use bagrad::device::{Device, GpuOptions};
use bagrad::kernels::launch::Extent;
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::ops::update::Optimiser;
use bagrad::plan::Purpose;
use bagrad::precision::LossScale;
use bagrad::random::Random;
use bagrad::session::{Gradients, Session, extent_of};
use bagrad::tape::Storage;
use bagrad::training::predict::predict;
use bagrad::{Bags, Error, Features};
use common::error;

const WIDTH: usize = 6;

/// Bags within a window, over the ends of windows, and over several.
fn bags(seed: u64) -> Bags {
    let sizes = [1, 200, 3, 64, 65, 500, 129, 2];
    let mut random = Random::new(seed, 0);
    let count = sizes.iter().sum::<usize>() * WIDTH;
    let features = (0..count).map(|_| random.normal() as f32).collect();
    let labels = (0..sizes.len() as u32).map(|b| b % 2).collect();
    Bags::packed(Features::F32(features), WIDTH, &sizes).unwrap().with_labels(labels).unwrap()
}

/// A small network of each method and pool that can run in windows.
fn methods(dropout: f64) -> Vec<Method> {
    let named = |name: &str, settings: serde_json::Value| {
        Method::named(name).unwrap().with(settings.as_object().unwrap()).unwrap()
    };
    let mut all = Vec::new();
    for name in ["attention", "gated-attention"] {
        let settings = serde_json::json!({"embed": [5], "attention": 4, "heads": 2, "dropout": dropout});
        all.push(named(name, settings));
    }
    for pool in ["max", "mean", "sum", "log-mean-exp"] {
        let settings = serde_json::json!({"embed": [5, 5], "pool": pool, "dropout": dropout});
        if pool != "sum" {
            all.push(named("mi-net", settings.clone()));
        }
        for name in ["mi-net-bag", "mi-net-ds", "mi-net-rc"] {
            all.push(named(name, settings.clone()));
        }
    }
    for name in ["mi-net-bag", "mi-net-ds", "mi-net-rc"] {
        all.push(named(name, serde_json::json!({"embed": [5, 5], "pool": "lme", "dropout": dropout})));
    }
    for pool in ["conjunctive", "additive", "instance", "attention", "gap"] {
        let settings = serde_json::json!({"embed": [5], "pool": pool, "positions": false, "dropout": dropout});
        all.push(named("millet", settings));
    }
    for pool in ["attention", "gated", "mean", "max"] {
        let settings = serde_json::json!({"embed": [5], "hidden": 4, "pool": pool, "fisher": 0.01, "dropout": dropout});
        all.push(named("mirel", settings));
    }
    // Samples, whose numbers are those of the whole batch, and a mean over all instances; a row that a maximum chose.
    all.push(named("focus-mil", serde_json::json!({"embed": [5], "code": 4, "latent": 3, "beta": 0.5})));
    all.push(named("causal-mil", serde_json::json!({"embed": [5], "latent": 3, "classification": 2.0})));
    // Masks of passes are those of the weights, which all windows share.
    let mut certainty = serde_json::json!({"embed": [5], "head": [4], "passes": 3, "fresh": false});
    if dropout > 0.0 {
        certainty["dropout"] = dropout.into();
        certainty["fresh"] = true.into();
    }
    all.push(named("certainty-pooling", certainty));
    // Two looks at every window.
    for pool in ["sum", "mean"] {
        let settings = serde_json::json!({"embed": [5], "pointer": [4], "psi": [4], "pool": pool, "batch_norm": false,
            "dropout": dropout});
        all.push(named("additive", settings));
    }
    all.push(named("extreme", serde_json::json!({"projection": 5, "head": [4], "dropout": dropout})));
    for mean in [false, true] {
        let settings =
            serde_json::json!({"embed": [5], "lambda": 0.5, "mean_over_instances": mean, "dropout": dropout});
        all.push(named("loss-attention", settings));
    }
    all.push(named("dsmil", serde_json::json!({"embed": [5], "query": 4, "dropout": dropout})));
    all.push(named(
        "dsmil",
        serde_json::json!({"variant": "h", "query": 4, "value_layer": true, "value_dropout": dropout}),
    ));
    all.push(named("dsmil", serde_json::json!({"variant": "lin", "query": 4, "value_dropout": dropout})));
    all
}

fn devices() -> Vec<(Device, f64)> {
    let mut devices = vec![(Device::oracle(), 1e-12), (Device::host(), 5e-5)];
    devices.extend(common::gpu().map(|gpu| (gpu, 5e-5)));
    devices
}

/// A session whose budget is as small as allows any step over `extent`, so that windows are short.
fn narrow(device: &Device, method: &Method, storage: Storage, purpose: Purpose, extent: Extent) -> Session {
    let model = || Model::new(Spec::new(method.clone(), WIDTH, 2), 3).unwrap();
    let mut budget = 4096.0;
    loop {
        let mut session = Session::with_instance_gradients(device, model(), storage, true).unwrap();
        session.set_budget(Some(budget as u64));
        match session.make_ready(purpose, extent) {
            Ok(windows) => {
                assert!(windows, "{} fits whole into {budget} bytes", method.name());
                return session;
            }
            Err(Error::Limit { limit, .. }) => assert_eq!(limit, "memory budget"),
            Err(other) => panic!("{other}"),
        }
        budget *= 1.05;
    }
}

fn assert_same(found: &Gradients, wanted: &Gradients, most: f64, what: &str) {
    assert!((found.loss - wanted.loss).abs() <= most * wanted.loss.abs(), "{what}: {} {}", found.loss, wanted.loss);
    assert_eq!(found.outputs.keys().collect::<Vec<_>>(), wanted.outputs.keys().collect::<Vec<_>>());
    let outputs = found.outputs.iter().map(|(name, t)| (name, t, &wanted.outputs[name]));
    let parameters = found.parameters.iter().map(|(name, t)| (name, t, &wanted.parameters[name]));
    let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let largest = wanted.parameters.values().map(|t| norm(&t.values)).fold(0.0, f64::max);
    for (name, found, wanted) in outputs.chain(parameters) {
        assert_eq!(found.shape, wanted.shape, "{what}: {name}");
        // A gradient that is zero but for rounding is compared with 1, one that nearly cancels with the largest.
        let size = norm(&wanted.values).min(1.0);
        let scale = if size < 1e-6 { size } else { (size / (1e-3 * largest)).min(1.0) };
        let e = error(&found.values, &wanted.values) * scale;
        assert!(e <= most, "{what}: {name} {e:.1e}");
    }
    let (found, wanted) = (found.instances.as_ref().unwrap(), wanted.instances.as_ref().unwrap());
    assert_eq!(found.shape, wanted.shape);
    assert!(error(&found.values, &wanted.values) <= most, "{what}: instances");
}

#[test]
fn gradients_are_those_of_the_whole_batch() {
    let bags = bags(1);
    let all: Vec<usize> = (0..bags.len()).collect();
    let purpose = Purpose::Gradients { dropout: false };
    for (device, most) in devices() {
        for method in methods(0.0) {
            for storage in [Storage::F32, Storage::F16] {
                let model = Model::new(Spec::new(method.clone(), WIDTH, 2), 3).unwrap();
                let mut whole = Session::with_instance_gradients(&device, model, storage, true).unwrap();
                let wanted = whole.gradients(&bags, None).unwrap();
                let mut session = narrow(&device, &method, storage, purpose, extent_of(&bags, &all).unwrap());
                for _ in 0..2 {
                    session.executor().poison().unwrap();
                    let found = session.gradients(&bags, None).unwrap();
                    assert_same(&found, &wanted, most, &format!("{} on {device:?}", method.name()));
                }
            }
        }
    }
}

/// With dropout, whose masks are the same, from features that stay on the device or not.
#[test]
fn training_is_that_of_the_whole_batch() {
    let bags = bags(2);
    let all: Vec<usize> = (0..bags.len()).collect();
    let optimiser = Optimiser { clip_norm: Some(0.5), ..Optimiser::adam(1e-3) };
    let even = vec![1.0 / bags.len() as f32; bags.len()];
    for (device, _) in devices() {
        for method in methods(0.25) {
            let train = |session: &mut Session, keep: bool| {
                let resident = if keep { session.keep(&bags).unwrap() } else { None };
                session.set_seed(7);
                session.executor().reserve_history(4).unwrap();
                for step in 0..4 {
                    let resident = resident.as_ref();
                    session.train_step(&bags, &all, &even, resident, (&optimiser, 1e-2), Some(step)).unwrap();
                }
                let losses = session.executor().history(4).unwrap();
                let values: Vec<f64> = session.snapshot().unwrap().into_iter().map(f64::from).collect();
                (losses, values)
            };
            let model = Model::new(Spec::new(method.clone(), WIDTH, 2), 3).unwrap();
            let mut whole = Session::new(&device, model, Storage::F32).unwrap();
            let (wanted_losses, wanted) = train(&mut whole, false);
            let purpose = Purpose::Train(optimiser);
            for keep in [false, true] {
                let mut session = narrow(&device, &method, Storage::F32, purpose, extent_of(&bags, &all).unwrap());
                if keep {
                    session.set_budget(None);
                }
                let (losses, found) = train(&mut session, keep);
                let what = format!("{} on {device:?}", method.name());
                for (found, wanted) in losses.iter().zip(&wanted_losses) {
                    assert!((found - wanted).abs() <= 2e-4 * wanted.abs(), "{what}: {losses:?} {wanted_losses:?}");
                }
                let e = error(&found, &wanted);
                assert!(e < 1e-3, "{what}: parameters {e:.1e}");
            }
        }
    }
}

/// With factors of products in f16 and a scaled loss, whose scale is taken out once, before the update.
#[test]
fn mixed_precision_is_that_of_the_whole_batch() {
    let bags = bags(7);
    let all: Vec<usize> = (0..bags.len()).collect();
    let optimiser = Optimiser::adam(1e-3);
    let even = vec![1.0 / bags.len() as f32; bags.len()];
    let purpose = Purpose::Train(optimiser);
    for (device, _) in devices() {
        let method = &methods(0.0)[1];
        let train = |session: &mut Session| {
            session.set_mixed(Some(LossScale::default())).unwrap();
            for _ in 0..3 {
                session.train_step(&bags, &all, &even, None, (&optimiser, 1e-2), None).unwrap();
            }
            assert_eq!(session.loss_scale().unwrap().unwrap().skipped, 0);
            session.snapshot().unwrap().into_iter().map(f64::from).collect::<Vec<_>>()
        };
        let model = Model::new(Spec::new(method.clone(), WIDTH, 2), 3).unwrap();
        let wanted = train(&mut Session::new(&device, model, Storage::F32).unwrap());
        let found = train(&mut narrow(&device, method, Storage::F32, purpose, extent_of(&bags, &all).unwrap()));
        // Where a value rounds to f16 may turn on the last bit of f32.
        let e = error(&found, &wanted);
        assert!(e < 1e-2, "{device:?}: {e:.1e}");
    }
}

/// The same bits every time.
#[test]
fn windows_are_reproducible() {
    let bags = bags(3);
    let all: Vec<usize> = (0..bags.len()).collect();
    let purpose = Purpose::Gradients { dropout: false };
    for (device, _) in devices() {
        let method = &methods(0.0)[1];
        let mut session = narrow(&device, method, Storage::F32, purpose, extent_of(&bags, &all).unwrap());
        let (a, b) = (session.gradients(&bags, None).unwrap(), session.gradients(&bags, None).unwrap());
        assert_eq!(a.parameters, b.parameters);
    }
}

/// After the first, a step creates nothing and submits its passes alone.
#[test]
fn a_steady_step_creates_nothing() {
    let Some(device) = common::gpu() else { return };
    let bags = bags(8);
    let all: Vec<usize> = (0..bags.len()).collect();
    let (optimiser, even) = (Optimiser::adam(1e-3), vec![1.0; bags.len()]);
    let purpose = Purpose::Train(optimiser);
    let mut session = narrow(&device, &methods(0.0)[1], Storage::F32, purpose, extent_of(&bags, &all).unwrap());
    let step = |session: &mut Session| {
        session.train_step(&bags, &all, &even, None, (&optimiser, 1e-3), None).unwrap();
        session.executor().counters()
    };
    let (_, before, after) = (step(&mut session), step(&mut session), step(&mut session));
    assert_eq!(after.buffers, before.buffers);
    assert_eq!(after.bind_groups, before.bind_groups);
    assert_eq!(after.pipelines, before.pipelines);
    assert_eq!(after.readbacks, before.readbacks);
    assert_eq!(after.submissions - before.submissions, after.passes - before.passes);
}

#[test]
fn a_budget_is_kept() {
    let Some(device) = common::gpu() else { return };
    let bags = bags(4);
    let all: Vec<usize> = (0..bags.len()).collect();
    let optimiser = Optimiser::adam(0.0);
    let purpose = Purpose::Train(optimiser);
    for method in [&methods(0.0)[1], &methods(0.0)[3]] {
        let mut session = narrow(&device, method, Storage::F32, purpose, extent_of(&bags, &all).unwrap());
        let mut least = 4096.0;
        // The budget that `narrow` found.
        while {
            let mut other = Session::new(&device, session.model().unwrap().clone(), Storage::F32).unwrap();
            other.set_budget(Some(least as u64));
            other.make_ready(purpose, extent_of(&bags, &all).unwrap()).is_err()
        } {
            least *= 1.05;
        }
        let even = vec![1.0; bags.len()];
        (0..6).for_each(|_| session.train_step(&bags, &all, &even, None, (&optimiser, 1e-3), None).unwrap());
        let (_, peak) = session.executor().memory();
        // Buffers are rounded up to 256 bytes and tables are small; nothing else may come on top.
        assert!(peak as f64 <= 1.25 * least + 65_536.0, "{}: {peak} held, {least} allowed", method.name());
    }
}

/// A device whose bindings are too small for the batch: no setting is needed.
#[test]
fn a_limit_of_the_device_is_kept() {
    let tiny = GpuOptions { max_binding: Some(1 << 14), ..Default::default() };
    let (Some(device), Some(large)) = (common::gpu_with(tiny), common::gpu()) else { return };
    let bags = bags(5);
    let all: Vec<usize> = (0..bags.len()).collect();
    for method in methods(0.0) {
        let model = || Model::new(Spec::new(method.clone(), WIDTH, 2), 3).unwrap();
        let mut whole = Session::with_instance_gradients(&large, model(), Storage::F32, true).unwrap();
        let mut session = Session::with_instance_gradients(&device, model(), Storage::F32, true).unwrap();
        let found = session.gradients(&bags, None).unwrap();
        assert_same(&found, &whole.gradients(&bags, None).unwrap(), 5e-5, method.name());
        let found = predict(&mut session, &bags, &all, None).unwrap();
        let wanted = predict(&mut whole, &bags, &all, None).unwrap();
        let wide = |v: &[f32]| v.iter().map(|v| *v as f64).collect::<Vec<_>>();
        assert!(error(&wide(&found.probabilities), &wide(&wanted.probabilities)) < 1e-5);
        assert!(error(&wide(&found.scores), &wide(&wanted.scores)) < 1e-5);
        assert_eq!(found.attention.is_some(), wanted.attention.is_some());
        if let (Some(found), Some(wanted)) = (&found.attention, &wanted.attention) {
            assert!(error(&wide(found), &wide(wanted)) < 1e-5);
        }
    }
}

/// A folder of npy files whose features stay there, in windows within a budget: the training of the bags in memory.
#[cfg(feature = "data")]
#[test]
fn features_may_stay_in_their_file() {
    use bagrad::data::Source;
    use bagrad::training::{Cache, Settings, train};
    let bags = bags(9);
    let dir = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    (0..bags.len()).for_each(|b| ids.extend(bags.rows(b).map(|_| b as u32)));
    let write = |name: &str, descr: &str, shape: String, bytes: &[u8]| {
        let head = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        let head = format!("{head:117}\n");
        let size = (head.len() as u16).to_le_bytes();
        std::fs::write(dir.path().join(name), [b"\x93NUMPY\x01\x00", &size[..], head.as_bytes(), bytes].concat())
    };
    let rows = bags.instances();
    write("features.npy", "<f4", format!("({rows}, {WIDTH})"), bytemuck::cast_slice(&bags.features.to_f32())).unwrap();
    write("bag_ids.npy", "<u4", format!("({rows},)"), bytemuck::cast_slice(&ids)).unwrap();
    let labels = bags.labels.as_ref().unwrap();
    write("labels.npy", "<u4", format!("({},)", labels.len()), bytemuck::cast_slice(labels)).unwrap();
    let file = Source::parse(dir.path()).unwrap().open_mapped().unwrap().bags;
    assert!(matches!(file.features, Features::Mapped(_)));
    let all: Vec<usize> = (0..bags.len()).collect();
    let method = &methods(0.0)[0];
    for (device, _) in devices() {
        let trained = |bags: &Bags, cache, memory| {
            let settings = Settings { epochs: 2, batch: 4, cache, memory, ..Settings::for_method(method) };
            let model = Model::new(Spec::new(method.clone(), WIDTH, 2), 3).unwrap();
            train(&device, model, &settings, bags, &all, &[], &mut ()).unwrap().model.to_bytes()
        };
        let wanted = trained(&bags, Cache::Auto, None);
        assert!(trained(&file, Cache::None, None) == wanted && trained(&bags, Cache::Host, None) == wanted);
        let narrow = Some(200_000);
        assert!(trained(&file, Cache::None, narrow) == trained(&bags, Cache::Host, narrow));
    }
}
