//! The engine as a whole: what a steady step creates, independence of batch mates, the same bits for the
//! same seed, limits, and a training run that must learn.

mod common;

use bagrad::device::{Device, GpuDevice, GpuOptions};
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::ops::update::Optimiser;
use bagrad::random::Random;
use bagrad::session::Session;
use bagrad::standardise::Standardiser;
use bagrad::tape::Storage;
use bagrad::training::{self, Cache, ClassWeights, Settings};
use bagrad::{Bags, Error, Features, LabelSets, Mapped};
use common::error;
use common::small::{averages_instances, bags, devices, model, small};

/// After a warm-up, a step is one pass and one submission, and creates and reads back nothing.
#[test]
fn a_steady_step_creates_nothing() {
    let device = Device::Gpu(GpuDevice::noop(GpuOptions::default()).unwrap());
    let bags = bags(12, 10, 1);
    for method in Method::all() {
        for clip_norm in [None, Some(1.0)] {
            let mut session = Session::new(&device, model(method.name(), &bags), Storage::F32).unwrap();
            let optimiser = Optimiser { clip_norm, ..Optimiser::adam(1e-4) };
            let all: Vec<usize> = (0..bags.len()).collect();
            session.reserve(session.extent_of(&bags, &all).unwrap()).unwrap();
            let resident = session.keep(&bags).unwrap().expect("room for a few rows");
            session.executor().reserve_history(64).unwrap();
            let step = |session: &mut Session, n: u32| {
                let batch = [n as usize % bags.len(), (n as usize * 5 + 1) % bags.len()];
                session.train_step(&bags, &batch, &[0.5, 0.5], Some(&resident), (&optimiser, 1e-3), Some(n)).unwrap();
            };
            (0..4).for_each(|n| step(&mut session, n));
            let before = session.executor().counters();
            (4..24).for_each(|n| step(&mut session, n));
            let after = session.executor().counters();
            // A teacher's scores and features are read before its student's step can be laid out.
            let teachers = method.name().starts_with("mhim") as u64;
            assert_eq!(after.buffers, before.buffers, "{}: buffers", method.name());
            assert_eq!(after.bind_groups, before.bind_groups, "{}: bind groups", method.name());
            assert_eq!(after.pipelines, before.pipelines, "{}: pipelines", method.name());
            assert_eq!(after.readbacks - before.readbacks, 40 * teachers, "{}: read-backs", method.name());
            assert_eq!(after.passes - before.passes, 20 + 20 * teachers, "{}: one pass a step", method.name());
            let submissions = 20 + 60 * teachers;
            assert_eq!(after.submissions - before.submissions, submissions, "{}: submissions", method.name());
        }
    }
}

/// The result for a bag is the same, to rounding, whichever bags share its batch; losses and gradients are sums over bags.
#[test]
fn a_bag_does_not_depend_on_its_batch_mates() {
    let bags = bags(9, 7, 2);
    for device in devices() {
        for method in Method::all() {
            let mut session = Session::new(&device, model(method.name(), &bags), Storage::F32).unwrap();
            let together = session.gradients(&bags, Some(&vec![1.0; bags.len()])).unwrap();
            let mut sums: std::collections::BTreeMap<String, Vec<f64>> = Default::default();
            let mut loss = 0.0;
            for bag in 0..bags.len() {
                let alone = session.gradients(&bags.select(&[bag]).unwrap(), Some(&[1.0])).unwrap();
                loss += alone.loss;
                for (name, tensor) in &alone.outputs {
                    let all = &together.outputs[name];
                    let cols = all.shape[1];
                    let rows = if all.shape[0] == bags.len() { bag..bag + 1 } else { bags.rows(bag) };
                    let e = error(&tensor.values, &all.values[rows.start * cols..rows.end * cols]);
                    assert!(e < 1e-5, "{} {name} of bag {bag} on {device:?}: {e:.1e}", method.name());
                }
                for (name, tensor) in alone.parameters {
                    let sum = sums.entry(name).or_insert_with(|| vec![0.0; tensor.values.len()]);
                    sum.iter_mut().zip(&tensor.values).for_each(|(s, v)| *s += v);
                }
            }
            if averages_instances(&method) {
                continue;
            }
            assert!((together.loss - loss).abs() < 1e-4 * loss.abs(), "{} {loss}", method.name());
            for (name, sum) in &sums {
                if name == "attention.w.bias" {
                    continue; // zero but for rounding
                }
                let e = error(sum, &together.parameters[name].values);
                assert!(e < 5e-5, "{} gradient of {name} on {device:?}: {e:.1e}", method.name());
            }
        }
    }
}

/// What looks at places says which are missing, in training and in prediction; what does not runs without.
#[test]
fn missing_coordinates_are_an_error() {
    let mut bags = bags(4, 7, 4);
    bags.coords = None;
    let with = |position: &str| {
        let settings = serde_json::json!({ "position": position });
        let method = Method::named("das-mil").unwrap().with(settings.as_object().unwrap()).unwrap();
        let mut session =
            Session::new(&Device::host(), Model::new(Spec::new(method, 7, 2), 5).unwrap(), Storage::F32).unwrap();
        let update = (&Optimiser::adam(0.0), 1e-3);
        [
            session.gradients(&bags, None).map(|_| ()),
            session.train_step(&bags, &[0], &[1.0], None, update, None).map(|_| ()),
        ]
    };
    for position in ["distance", "discrete", "absolute"] {
        for result in with(position) {
            let message = result.unwrap_err().to_string();
            assert!(message.contains("no coordinates: expected coords.npy [instances, 2]"), "{message}");
        }
    }
    assert!(with("none").iter().all(Result::is_ok));
}

/// Training twice with one seed gives the same parameters, bit for bit, dropout included; another seed
/// does not.
#[test]
fn the_same_seed_gives_the_same_bits() {
    let bags = bags(20, 9, 3);
    let all: Vec<usize> = (0..bags.len()).collect();
    for device in devices() {
        for method in ["gated-attention", "mi-net-bag", "transmil", "das-mil", "mhim-attention", "mhim-transmil"] {
            let run = |seed: u64| {
                let settings = Settings { epochs: 2, batch: 3, seed, ..Settings::for_method(&small(method)) };
                let model = Model::new(Spec::new(small(method), bags.width, 2), 5).unwrap();
                training::train(&device, model, &settings, &bags, &all[..14], &all[14..], &mut ()).unwrap()
            };
            let (a, b, c) = (run(1), run(1), run(2));
            assert_eq!(a.model.to_bytes(), b.model.to_bytes(), "{method}: model files on {device:?}");
            for p in a.model.parameters() {
                let of = |o: &training::Outcome| bits(o.model.parameter(&p.name).unwrap());
                assert_eq!(of(&a), of(&b), "{method} {} on {device:?}", p.name);
            }
            let losses = |o: &training::Outcome| o.epochs.iter().map(|e| e.loss.to_bits()).collect::<Vec<_>>();
            assert_eq!(losses(&a), losses(&b));
            assert_ne!(losses(&a), losses(&c), "another seed, other masks and order");
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// The GPU trains as the host does, with clipping and every update rule.
#[test]
fn gpu_and_host_train_alike() {
    let Some(gpu) = common::gpu() else { return };
    let bags = bags(16, 6, 4);
    let all: Vec<usize> = (0..bags.len()).collect();
    let rules = [
        Optimiser::adam(1e-3),
        Optimiser::adamw(1e-2),
        Optimiser::nesterov(0.9, 1e-3),
        Optimiser::radam(1e-2).with_lookahead(3, 0.5),
    ];
    for optimiser in rules {
        for clip_norm in [None, Some(0.05)] {
            let optimiser = Optimiser { clip_norm, ..optimiser };
            let run = |device: &Device| {
                let method = small("gated-attention");
                let settings = Settings { epochs: 3, batch: 4, optimiser, ..Settings::for_method(&method) };
                let model = Model::new(Spec::new(method, bags.width, 2), 5).unwrap();
                training::train(device, model, &settings, &bags, &all, &[], &mut ()).unwrap().model
            };
            let (host, gpu) = (run(&Device::host()), run(&gpu));
            for p in host.parameters() {
                if p.name == "attention.w.bias" {
                    continue; // moved by rounding noise alone
                }
                let of = |m: &Model| m.parameter(&p.name).unwrap().iter().map(|&v| v as f64).collect::<Vec<_>>();
                let e = error(&of(&gpu), &of(&host));
                assert!(e < 2e-4, "{optimiser:?} {}: {e:.1e}", p.name);
            }
        }
    }
}

/// Several labels a bag, some not known: the GPU trains as the host does, and batches and windows change nothing.
#[test]
fn several_labels_train_alike_everywhere() {
    let plain = bags(16, 6, 4);
    let all: Vec<usize> = (0..plain.len()).collect();
    let sets = (0..16 * 3).map(|i| if i % 11 == 5 { None } else { Some(i % 3 == 0 || i * 7 % 5 < 2) }).collect();
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let bags = plain.with_label_sets(LabelSets::new(3, sets).unwrap(), names).unwrap();
    let settings = serde_json::json!({ "embed": [12], "query": 8 });
    let method = Method::named("dsmil").unwrap().with(settings.as_object().unwrap()).unwrap();
    let run = |device: &Device, memory: Option<u64>| {
        let class_weights = ClassWeights::Given(vec![2.0, 1.0, 0.5]);
        let settings = Settings { epochs: 3, batch: 4, memory, class_weights, ..Settings::for_method(&method) };
        let model = Model::new(Spec::of(method.clone(), &bags), 5).unwrap();
        let done = training::train(device, model, &settings, &bags, &all[..12], &all[12..], &mut ()).unwrap();
        let mut session = Session::new(device, done.model, Storage::F32).unwrap();
        let found = training::predict(&mut session, &bags, &all, None).unwrap();
        let losses = done.epochs.iter().flat_map(|e| [e.loss, e.validation_loss.unwrap()]).collect::<Vec<_>>();
        (losses, found.probabilities.iter().map(|&p| f64::from(p)).collect::<Vec<_>>())
    };
    let wanted = run(&Device::host(), None);
    assert_eq!(run(&Device::host(), None), wanted);
    for device in devices() {
        // Little more than windows of the fewest rows take.
        let little = if matches!(device, Device::Gpu(_)) { 100 << 10 } else { 48 << 10 };
        for memory in [None, Some(little)] {
            let found = run(&device, memory);
            let e = error(&found.0, &wanted.0).max(error(&found.1, &wanted.1));
            assert!(e < 2e-4, "{} {memory:?}: {e:.1e}", device.name());
        }
    }
}

/// Learns what an attention model must find, on every device, and keeps the best epoch.
#[test]
fn training_reaches_its_auc() {
    let bags = bags(160, 8, 6);
    let all: Vec<usize> = (0..bags.len()).collect();
    let labels = bags.labels.clone().unwrap();
    for device in devices() {
        for half in [false, true] {
            let method = Method::named("gated-attention").unwrap();
            let settings = serde_json::json!({ "embed": [32], "dropout": 0.1, "attention": 32 });
            let method = method.with(settings.as_object().unwrap()).unwrap();
            let settings = Settings {
                epochs: 30,
                batch: 4,
                learning_rate: 3e-3,
                patience: Some(10),
                half,
                ..Settings::for_method(&method)
            };
            let model = Model::new(Spec::new(method, bags.width, 2), 1).unwrap();
            let outcome =
                training::train(&device, model, &settings, &bags, &all[..80], &all[80..110], &mut ()).unwrap();
            let mut session = Session::new(&device, outcome.model, Storage::F32).unwrap();
            let test = &all[110..];
            let predictions = training::predict(&mut session, &bags, test, None).unwrap();
            let truth: Vec<u32> = test.iter().map(|&b| labels[b]).collect();
            let auc = predictions.measure(&truth).unwrap().auc.unwrap();
            assert!(auc > 0.9, "AUC {auc} on {device:?}, half {half}");
            for bag in 0..predictions.len() {
                let rows = predictions.offsets[bag]..predictions.offsets[bag + 1];
                let sum: f32 = predictions.attention.as_ref().unwrap()[rows].iter().sum();
                assert!((sum - 1.0).abs() < 1e-4, "attention of a bag sums to 1, found {sum}");
            }
        }
    }
}

/// A bag of a million instances beside one of a single instance: forward and backward.
#[test]
fn a_million_instances() {
    const LARGE: usize = 1_000_000;
    let mut random = Random::new(10, 0);
    let features: Vec<f32> = (0..(LARGE + 1) * 4).map(|_| (random.uniform() - 0.5) as f32).collect();
    let bags = Bags::packed(Features::F32(features), 4, &[LARGE, 1]).unwrap().with_labels(vec![1, 0]).unwrap();
    let settings = serde_json::json!({ "embed": [], "attention": 4, "dropout": 0.0 });
    let method = Method::named("gated-attention").unwrap().with(settings.as_object().unwrap()).unwrap();
    let run = |device: &Device| {
        let model = Model::new(Spec::new(method.clone(), 4, 2), 3).unwrap();
        let mut session = Session::new(device, model, Storage::F32).unwrap();
        session.gradients(&bags, None).unwrap()
    };
    let wanted = run(&Device::oracle());
    for device in devices() {
        let found = run(&device);
        for (name, tensor) in &wanted.outputs {
            let e = error(&found.outputs[name].values, &tensor.values);
            assert!(e < 1e-5, "{name} on {device:?}: {e:.1e}");
        }
        for (name, tensor) in &wanted.parameters {
            if name == "attention.w.bias" {
                continue; // zero but for rounding
            }
            let e = error(&found.parameters[name].values, &tensor.values);
            assert!(e < 1e-3, "gradient of {name} on {device:?}: {e:.1e}");
        }
    }
}

/// A tensor beyond a limit that neither windows of rows nor blocks of columns get below is an error that names the
/// limit, what was wanted and what is possible.
#[test]
fn beyond_a_limit_is_an_error() {
    let Some(device) = common::gpu_with(GpuOptions { max_binding: Some(1 << 16), ..Default::default() }) else {
        return;
    };
    let bags = bags(120, 64, 7);
    let mut session = Session::new(&device, model("mhim-dsmil", &bags), Storage::F32).unwrap();
    match session.gradients(&bags, None) {
        Err(Error::Limit { limit, wanted, possible, .. }) => {
            assert_eq!((limit, possible), ("max_storage_buffer_binding_size", 1 << 16));
            assert!(wanted > possible);
        }
        other => panic!("expected a limit, found {:?}", other.map(|_| ())),
    }
    // One bag still fits, with the same session.
    session.gradients(&bags.select(&[0]).unwrap(), None).unwrap_or_else(|e| panic!("{e}"));
}

/// Grids beyond the device's limit are folded, with the same results.
#[test]
fn long_grids_are_folded() {
    let Some(folded) = common::gpu_with(GpuOptions { max_groups: Some(20), ..Default::default() }) else { return };
    let bags = bags(30, 33, 8);
    let run = |device: &Device| {
        let mut session = Session::new(device, model("gated-attention", &bags), Storage::F32).unwrap();
        session.gradients(&bags, None).unwrap()
    };
    let (a, b) = (run(&folded), run(&common::gpu().unwrap()));
    assert_eq!(a.loss.to_bits(), b.loss.to_bits());
    for (name, tensor) in &a.parameters {
        assert_eq!(tensor.values, b.parameters[name].values, "{name}");
    }
}

#[test]
fn wrong_input_is_an_error_that_says_what() {
    let good = bags(4, 5, 9);
    let wider = bags(4, 6, 9);
    let mut session = Session::new(&Device::host(), model("attention", &good), Storage::F32).unwrap();
    let message = session.gradients(&wider, None).unwrap_err().to_string();
    assert!(message.contains('5') && message.contains('6'), "{message}");
    let mut unlabelled = good.clone();
    unlabelled.labels = None;
    assert!(session.gradients(&unlabelled, None).is_err());
    assert!(session.outputs(&unlabelled, &[0, 1], None).is_ok(), "prediction needs no labels");
    let e = Method::named("attention").unwrap().with(serde_json::json!({"hedas": 2}).as_object().unwrap()).unwrap_err();
    assert!(e.to_string().contains("heads"), "{e}");
    let mut diverging = Settings::for_method(&small("attention"));
    diverging.learning_rate = 1e30;
    diverging.epochs = 50;
    diverging.optimiser = Optimiser::nesterov(0.9, 0.0);
    let all = [0, 1, 2, 3];
    let mut three = good.clone();
    three.class_names.push("2".into());
    // Softmax over three classes, and the clamped loss over two.
    for (method, bags) in [("mi-net-bag", &three), ("attention", &good)] {
        for device in devices() {
            match training::train(&device, model(method, bags), &diverging, bags, &all, &[], &mut ()) {
                Err(Error::NotFinite { .. } | Error::Diverged { .. }) => {}
                other => panic!("expected NotFinite, found {:?}", other.map(|o| o.epochs.last().map(|e| e.loss))),
            }
        }
    }
    // The only loss is that before the update.
    let last = Settings { epochs: 1, batch: 4, learning_rate: 1e300, ..diverging };
    for device in devices() {
        match training::train(&device, model("attention", &good), &last, &good, &all, &[], &mut ()) {
            Err(error @ Error::Diverged { updates: 1, .. }) => {
                assert!(error.to_string().contains("learning rate"), "{error}");
            }
            other => panic!("expected Diverged, found {:?}", other.map(|o| o.epochs.last().map(|e| e.loss))),
        }
    }
}

/// What a student learns does not depend on where the whole bags' features lie, and its teacher follows it.
#[test]
fn students_learn_the_same_wherever_bags_lie() {
    let bags = bags(10, 6, 12);
    for device in devices() {
        for method in ["mhim-attention", "mhim-dsmil", "mhim-transmil"] {
            let run = |keep: bool| {
                let mut session = Session::new(&device, model(method, &bags), Storage::F16).unwrap();
                session.set_planned(Some(6));
                let resident = if keep { session.keep(&bags).unwrap() } else { None };
                for step in 0..6 {
                    let batch = [step, step + 4];
                    let rule = (&Optimiser::adam(0.0), 1e-2);
                    session.train_step(&bags, &batch, &[0.5, 0.5], resident.as_ref(), rule, None).unwrap();
                }
                let teacher = session.follower().unwrap().unwrap();
                (session.into_model().unwrap().to_bytes(), teacher.to_bytes())
            };
            let models = run(true);
            assert!(models == run(false), "{method} on {device:?}");
            let (student, teacher) = models;
            let start = model(method, &bags).to_bytes();
            assert!(student != start && teacher != start && teacher != student, "{method}: both have moved");
        }
    }
}

/// A teacher looks at whole bags: a batch that does not fit is refused with the limit, not run in windows.
#[test]
fn a_teacher_has_no_windows() {
    let bags = bags(8, 64, 13);
    for method in ["mhim-attention", "mhim-dsmil", "mhim-transmil"] {
        let mut session = Session::new(&Device::host(), model(method, &bags), Storage::F32).unwrap();
        session.set_budget(Some(40_000));
        let all: Vec<usize> = (0..bags.len()).collect();
        let update = (&Optimiser::adam(0.0), 1e-3);
        let result = session.train_step(&bags, &all, &[0.125; 8], None, update, None);
        assert!(matches!(result, Err(Error::Limit { limit: "memory budget", .. })), "{method}: {result:?}");
    }
}

#[test]
fn what_a_teacher_starts_from_has_to_fit() {
    let bags = bags(4, 6, 14);
    let refused = |method: &str, from: &str| {
        let message = model(method, &bags).start_from(&model(from, &bags)).unwrap_err().to_string();
        assert!(message.starts_with("setting start"), "{message}");
        message
    };
    assert!(refused("attention", "attention").contains("attention learns from no teacher"));
    let message = refused("mhim-attention", "attention");
    assert!(message.contains("expected attention.w.weight [1, 20], found attention.v.bias [20]"), "{message}");
    assert!(refused("mhim-dsmil", "mhim-attention").contains("the same parameters: expected score.weight"));
    // The plain transformer has the parameters of the masked one.
    let (mut student, plain) =
        (model("mhim-transmil", &bags), Model::new(Spec::new(small("transmil"), 6, 2), 8).unwrap());
    let before = student.clone();
    student.start_from(&plain).unwrap();
    for p in plain.parameters() {
        let from = if p.name.starts_with("fc.") { &plain } else { &before };
        assert_eq!(student.parameter(&p.name).unwrap(), from.parameter(&p.name).unwrap(), "{}", p.name);
    }
    let mut session = Session::new(&Device::host(), student, Storage::F32).unwrap();
    let teacher = session.follower().unwrap().unwrap();
    let weight = |m: &Model| m.parameter("layer1.out.weight").unwrap().to_vec();
    assert_eq!(weight(&teacher), weight(&plain));
    assert!(Session::new(&Device::host(), plain, Storage::F32).unwrap().follower().unwrap().is_none());
}

/// Without steps a search measures every kernel that reduces, where the device has subgroups.
#[cfg(feature = "cli")]
#[test]
fn a_search_measures_all_reductions() {
    use bagrad::bench::{cases::Sizes, tune::search};
    let Some(device) = common::gpu() else { return };
    let Device::Gpu(gpu) = &device else { unreachable!() };
    let (tuning, candidates) = search(&device, &[], Some(Sizes::Small), false, 1, &mut |_| {}).unwrap();
    let all = bagrad::kernels::all().into_iter().filter(|k| k.reduces).map(|k| k.name.to_string());
    let mut wanted: Vec<String> = if gpu.facts().subgroups.is_some() { all.collect() } else { Vec::new() };
    wanted.sort();
    let found: Vec<String> = tuning.reductions.iter().map(|r| r.kernel.clone()).collect();
    assert_eq!((found, candidates.len(), tuning.products.len()), (wanted, 0, 0));
}

/// A search measures what plans would take, what it found is taken from then on, and no tile changes a result by
/// more than rounding.
#[cfg(feature = "cli")]
#[test]
fn tuned_tiles_give_the_same_results() {
    use bagrad::bench::steps::Work;
    use bagrad::bench::tune::search;
    use bagrad::tuning::{Choice, Product, Reduction, Tuning};
    let work = [Work::Gated("70x2,12,40,9".parse().unwrap())];
    assert!(search(&Device::host(), &work, None, false, 1, &mut |_| {}).is_err());
    let Some(device) = common::gpu() else { return };
    let Device::Gpu(gpu) = &device else { unreachable!() };
    let (tuning, candidates) = search(&device, &work, None, false, 1, &mut |_| {}).unwrap();
    assert_eq!((device.target().tuning, &tuning.device), (None, &device.description()));
    let products: Vec<Product> = tuning.products.iter().map(|e| e.product).collect();
    // Forward, the gradient of a weight, and the gradient of an input.
    for (a_t, b_t) in [(false, true), (true, false), (false, false)] {
        assert!(products.iter().any(|p| (p.form.a_t, p.form.b_t) == (a_t, b_t)), "{products:?}");
    }
    for product in &products {
        let of: Vec<_> = candidates.iter().filter(|c| c.product == *product).collect();
        let count = |f: &dyn Fn(&&&bagrad::bench::tune::Candidate) -> bool| of.iter().filter(f).count();
        assert_eq!((count(&|c| c.standard), count(&|c| c.chosen)), (1, 1), "{product:?}");
        assert!(of.len() >= 4 && of.iter().all(|c| c.us > 0.0));
    }
    let bags = bags(6, 12, 4);
    let gradients = || Session::new(&device, model("attention", &bags), Storage::F32).unwrap().gradients(&bags, None);
    let wanted = gradients().unwrap();
    // A few of the candidates for everything: entries for all products that could occur.
    let product = candidates[0].product;
    let choices: Vec<Choice> = candidates.iter().filter(|c| c.product == product).map(|c| c.choice).collect();
    for choice in choices.iter().step_by(4) {
        let mut all = Vec::new();
        for entry in &tuning.products {
            let sizes = (0..12).flat_map(|m| (0..12).map(move |n| (1 << m, 1 << n)));
            all.extend(sizes.map(|(m, n)| bagrad::tuning::Entry {
                product: Product { form: entry.product.form, m, n },
                choice: *choice,
                ..*entry
            }));
        }
        gpu.set_tuning(Some(Tuning::new(device.description(), all)));
        let found = gradients().unwrap();
        for (name, tensor) in &found.parameters {
            let e = error(&tensor.values, &wanted.parameters[name].values);
            assert!(e < 1e-5, "{choice:?}: {name} {e:.1e}");
        }
    }
    // And with all that reduces doing so within subgroups, where the device has any.
    let measured = gpu.facts().subgroups.is_some();
    let names: Vec<&str> = tuning.reductions.iter().map(|r| r.kernel.as_str()).collect();
    assert_eq!(names, if measured { vec!["pool_grad", "pool_part", "sigmoid_loss"] } else { Vec::new() });
    assert!(tuning.reductions.iter().all(|r| r.workgroup_us > 0.0 && r.subgroups_us > 0.0));
    let within = tuning.reductions.iter().map(|r| Reduction { subgroups: true, ..r.clone() });
    gpu.set_tuning(Some(Tuning::new(device.description(), Vec::new()).with_reductions(within.collect())));
    let kernel = bagrad::kernels::all().into_iter().find(|k| k.name == "pool_part").unwrap();
    assert_eq!(device.target().reduces_in_subgroups(kernel), measured);
    for (name, tensor) in &gradients().unwrap().parameters {
        let (found, wanted) = (&tensor.values, &wanted.parameters[name].values);
        // What is left of a softmax's gradients after they cancel rounds more than sums of products do; of the bias of the
        // scores, nothing is.
        let near = found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < 1e-6);
        assert!(near || error(found, wanted) < 1e-4, "within subgroups: {name} {found:?} for {wanted:?}");
    }
    gpu.set_tuning(None);
}

/// Features in memory, on the device, in their file: the same bits in training and in prediction, in both storages.
#[test]
fn results_are_the_same_for_every_cache() {
    let dir = tempfile::tempdir().unwrap();
    let plain = bags(12, 10, 6);
    let set = |features| Bags { features, ..plain.clone() };
    for half in [false, true] {
        let features = if half { plain.features.to_f16() } else { plain.features.clone() };
        let path = dir.path().join(format!("{half}"));
        let bytes: &[u8] = match &features {
            Features::F16(v) => bytemuck::cast_slice(v),
            Features::F32(v) => bytemuck::cast_slice(v),
            Features::Mapped(_) => unreachable!(),
        };
        std::fs::write(&path, bytes).unwrap();
        let mapped = Mapped::open(&path, 0, [plain.instances(), plain.width], half).unwrap().expect("aligned");
        let (training, rest): (Vec<usize>, Vec<usize>) = (0..plain.len()).partition(|b| b % 3 != 0);
        for device in devices() {
            let run = |features: Features, cache: Cache| {
                let mut bags = set(features);
                Standardiser::fit(&bags, &training).unwrap().apply(&mut bags).unwrap();
                let method = small("gated-attention");
                let settings = Settings { epochs: 2, batch: 3, cache, half: true, ..Settings::for_method(&method) };
                let model = model("gated-attention", &bags);
                let done = training::train(&device, model, &settings, &bags, &training, &rest, &mut ()).unwrap();
                let mut session = Session::new(&device, done.model, Storage::F16).unwrap();
                let all: Vec<usize> = (0..bags.len()).collect();
                let found = training::predict(&mut session, &bags, &all, None).unwrap();
                (bits(&session.snapshot().unwrap()), bits(&found.probabilities), bits(&found.scores))
            };
            let wanted = run(features.clone(), Cache::Host);
            for cache in [Cache::Auto, Cache::Device] {
                assert_eq!(run(features.clone(), cache), wanted, "{cache:?} on {device:?}, half {half}");
            }
            assert_eq!(run(Features::Mapped(mapped.clone()), Cache::None), wanted, "none on {device:?}, half {half}");
        }
    }
}

/// A step whose work would keep a GPU busy for too long is handed over in several submissions, with the same bits; or
/// in windows of rows, where a single launch is too long.
#[test]
fn long_steps_are_cut_and_stay_the_same() {
    let bags = bags(4, 10, 3);
    let all: Vec<usize> = (0..bags.len()).collect();
    let trained = |options: GpuOptions, open: &dyn Fn(GpuOptions) -> Option<Device>, method: &str| {
        let device = open(options)?;
        let mut session = Session::new(&device, model(method, &bags), Storage::F32).unwrap();
        let step = |session: &mut Session| {
            let rule = (&Optimiser::adam(1e-4), 1e-3);
            session.train_step(&bags, &all, &[0.25; 4], None, rule, None).unwrap();
        };
        step(&mut session);
        let before = session.executor().counters();
        step(&mut session);
        let after = session.executor().counters();
        assert_eq!(after.bind_groups, before.bind_groups, "{method}: a step in parts creates nothing");
        Some((after.submissions - before.submissions, bits(&session.snapshot().unwrap())))
    };
    let noop = |options| Some(Device::Gpu(GpuDevice::noop(options).unwrap()));
    let bound = |seconds| GpuOptions { longest_submission: Some(seconds), ..GpuOptions::default() };
    // This method has no windows, so a launch that is too long alone goes alone.
    for open in [&noop as &dyn Fn(GpuOptions) -> Option<Device>, &common::gpu_with] {
        let Some((one, wanted)) = trained(GpuOptions::default(), open, "transmil") else { continue };
        assert_eq!(one, 1);
        let mut parts = Vec::new();
        for seconds in [1e-3, 1e-4, 1e-5, 1e-6, 0.0] {
            let (submissions, found) = trained(bound(seconds), open, "transmil").unwrap();
            assert_eq!(found, wanted, "{submissions} submissions");
            parts.push(submissions);
        }
        let most = parts[parts.len() - 1];
        assert!(parts.is_sorted() && parts.iter().any(|&n| 1 < n && n < most), "{parts:?} submissions");
        let (windows, _) = trained(bound(0.0), open, "attention").unwrap();
        assert!(windows > 1, "{windows} submissions");
    }
}
