//! Threads, panics and dropped sessions: what one caller does to its own does not disturb others on the device.

use super::{bags, devices, trainer};
use bagrad::device::Device;
use bagrad::engine::ops::update::Optimiser;
use bagrad::engine::session::Session;
use bagrad::engine::tape::Storage;
use bagrad::model::{Model, Spec};
use bagrad::training::{Observer, Progress};
use bagrad::{Bags, Features, Fitted, Predictor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

#[test]
fn everything_may_move_between_threads() {
    fn sent<T: Send>() {}
    fn shared<T: Send + Sync>() {}
    sent::<Session>();
    sent::<Predictor>();
    sent::<Fitted>();
    shared::<Device>();
    shared::<Model>();
    shared::<Bags>();
    shared::<bagrad::methods::Method>();
    shared::<bagrad::methods::Methods>();
    shared::<bagrad::Error>();
}

fn session(device: &Device, seed: u64) -> Session {
    let spec = Spec::of(super::method(), &bags(8, 1));
    Session::new(device, Model::new(spec, seed).unwrap(), Storage::F32).unwrap()
}

/// A few updates, beginning with number `from`.
fn step(session: &mut Session, data: &Bags, from: usize, count: usize) {
    for update in from..from + count {
        let batch = [update % 8, (update + 3) % 8];
        session.train_step(data, &batch, &[0.5, 0.5], None, (&Optimiser::adam(1e-4), 1e-3), None).unwrap();
    }
}

fn parameters(session: Session) -> Vec<u8> {
    session.into_model().unwrap().to_bytes()
}

#[test]
fn sessions_side_by_side_do_what_they_do_alone() {
    for device in devices() {
        let data = bags(8, 1);
        let alone = [1, 2].map(|seed| {
            let mut session = session(&device, seed);
            step(&mut session, &data, 0, 12);
            parameters(session)
        });
        // In turn in one thread.
        let mut both = [session(&device, 1), session(&device, 2)];
        for round in 0..4 {
            both.iter_mut().for_each(|session| step(session, &data, 3 * round, 3));
        }
        assert_eq!(both.map(parameters), alone, "in turn on {}", device.name());
        // In threads of their own, several times, one of them made elsewhere and moved there.
        let moved = session(&device, 1);
        let found = thread::scope(|scope| {
            let first = scope.spawn(|| {
                let mut moved = moved;
                step(&mut moved, &data, 0, 12);
                vec![parameters(moved)]
            });
            let run = |seed| {
                let mut session = session(&device, seed);
                step(&mut session, &data, 0, 12);
                parameters(session)
            };
            let rest = [1, 2].map(|_| scope.spawn(move || [1, 2].map(run).to_vec()));
            let mut all = first.join().unwrap();
            rest.into_iter().for_each(|thread| all.extend(thread.join().unwrap()));
            all
        });
        let wanted = [0, 0, 1, 0, 1].map(|which: usize| alone[which].clone());
        assert_eq!(found, wanted, "in threads on {}", device.name());
    }
}

#[test]
fn a_dropped_session_leaves_the_device_as_it_was() {
    for device in devices() {
        let data = bags(8, 1);
        let mut kept = session(&device, 1);
        step(&mut kept, &data, 0, 4);
        for seed in 0..8 {
            // Dropped with its work under way, and after an error.
            let mut dropped = session(&device, seed);
            step(&mut dropped, &data, 0, 3);
            assert!(dropped.outputs(&data, &[99], None).is_err());
            drop(dropped);
            let mut kept_too = session(&device, seed);
            drop(kept_too.keep(&data).unwrap());
        }
        step(&mut kept, &data, 4, 4);
        let mut alone = session(&device, 1);
        step(&mut alone, &data, 0, 8);
        assert_eq!(parameters(kept), parameters(alone), "on {}", device.name());
    }
}

/// Panics at an update.
struct Panics(usize);

impl Observer for Panics {
    fn step(&mut self, _: &Progress) {
        assert!(self.0 > 0, "the caller's own mistake");
        self.0 -= 1;
    }
}

#[test]
fn a_panic_of_a_caller_stays_with_the_caller() {
    for device in devices() {
        let data = bags(16, 2);
        let wanted = trainer(&device).fit(&data).unwrap().model;
        for updates in [0, 1, 7, 20] {
            let (device, data) = (device.clone(), data.clone());
            let ended =
                thread::spawn(move || trainer(&device).observer(&mut Panics(updates)).fit(&data).map(drop)).join();
            let message = *ended.unwrap_err().downcast::<String>().unwrap_or_else(|other| {
                Box::new(other.downcast::<&str>().map_or(String::new(), |text| text.to_string()))
            });
            assert!(message.contains("the caller's own mistake"), "{message}");
        }
        // In the same thread, with a predictor that is in use.
        let mut predictor = wanted.clone().on(&device).unwrap();
        let before = predictor.predict(&data).unwrap();
        let ended = catch_unwind(AssertUnwindSafe(|| trainer(&device).observer(&mut Panics(5)).fit(&data).map(drop)));
        assert!(ended.is_err());
        assert_eq!(predictor.predict(&data).unwrap().probabilities, before.probabilities);
        let again = trainer(&device).fit(&data).unwrap().model;
        assert_eq!(again.to_bytes(), wanted.to_bytes(), "on {}", device.name());
    }
}

/// Tells another thread of each update, and waits until that has predicted.
struct InStep(mpsc::Sender<()>, mpsc::Receiver<()>);

impl Observer for InStep {
    fn step(&mut self, _: &Progress) {
        if self.0.send(()).is_ok() {
            self.1.recv().ok();
        }
    }
}

#[test]
fn predictions_go_on_while_another_model_trains() {
    for device in devices() {
        let (data, other) = (bags(12, 3), bags(6, 4));
        let wanted = trainer(&device).fit(&data).unwrap().model;
        let mut predictor = wanted.clone().on(&device).unwrap();
        let predicted = predictor.predict(&other).unwrap();
        let (told, hears) = mpsc::channel();
        let (answers, waits) = mpsc::channel();
        let trained = thread::scope(|scope| {
            let (device, data) = (&device, &data);
            let training =
                scope.spawn(move || trainer(device).observer(&mut InStep(told, waits)).fit(data).unwrap().model);
            let mut rounds = 0;
            while hears.recv().is_ok() {
                assert_eq!(predictor.predict(&other).unwrap().probabilities, predicted.probabilities);
                rounds += 1;
                answers.send(()).unwrap();
            }
            assert_eq!(rounds, 6 * 9);
            training.join().unwrap()
        });
        assert_eq!(trained.to_bytes(), wanted.to_bytes(), "on {}", device.name());
    }
}

/// Every public field of bags, changed by itself so that it no longer fits: an error, or nothing that matters; no panic.
#[test]
fn inconsistent_bags_are_errors() {
    let device = Device::host();
    let model = trainer(&device).fit(&bags(12, 5)).unwrap().model;
    type Change = (&'static str, fn(&mut Bags));
    let changes: Vec<Change> = vec![
        ("features short", |b| b.features = Features::F32(vec![0.0; 7])),
        ("no features", |b| b.features = Features::F32(Vec::new())),
        ("not finite", |b| b.features = Features::F32(vec![f32::INFINITY; b.features.len()])),
        ("width 0", |b| b.width = 0),
        ("width 1", |b| b.width = 1),
        ("width huge", |b| b.width = usize::MAX),
        ("no offsets", |b| b.offsets.clear()),
        ("offsets fall", |b| b.offsets[3] = 0),
        ("offsets beyond", |b| b.offsets[12] = usize::MAX),
        ("offsets begin late", |b| b.offsets[0] = 1),
        ("one offset", |b| b.offsets.truncate(1)),
        ("no names", |b| b.names.clear()),
        ("many names", |b| b.names.push("more".into())),
        ("few labels", |b| b.labels = Some(vec![0])),
        ("labels beyond", |b| b.labels = Some(vec![9; 12])),
        ("no class names", |b| b.class_names.clear()),
        ("classes twice", |b| b.class_names = vec!["normal".into(), "normal".into()]),
        ("few groups", |b| b.groups = Some(vec!["x".into()])),
        ("few instance labels", |b| b.instance_labels = Some(vec![1])),
        ("few coordinates", |b| b.coords = Some(vec![[0.0; 2]])),
        ("few columns", |b| b.columns = Some(vec!["a".into()])),
        ("columns twice", |b| b.columns = Some(vec!["a".into(); 5])),
        ("image of other size", |b| b.image = Some([100, 100, 3])),
        ("image huge", |b| b.image = Some([usize::MAX; 3])),
        ("sets and labels", |b| b.label_sets = Some(bagrad::LabelSets::new(2, vec![Some(true); 24]).unwrap())),
        ("few sets", |b| {
            b.labels = None;
            b.label_sets = Some(bagrad::LabelSets::new(2, vec![Some(true); 4]).unwrap());
        }),
    ];
    let mut panicked = Vec::new();
    for (name, change) in &changes {
        let mut broken = bags(12, 5);
        change(&mut broken);
        let mut predictor = model.clone().on(&device).unwrap();
        let tries: [(&str, &mut dyn FnMut() -> bool); 5] = [
            ("predict", &mut || predictor.predict(&broken).is_ok()),
            ("evaluate", &mut || model.clone().on(&device).unwrap().evaluate(&broken).is_ok()),
            ("look", &mut || model.look(&broken).is_ok()),
            ("fit", &mut || trainer(&device).epochs(1).fit(&broken).is_ok()),
            ("select", &mut || broken.select(&[0, 3]).is_ok()),
        ];
        for (what, run) in tries {
            if catch_unwind(AssertUnwindSafe(run)).is_err() {
                panicked.push(format!("{what} of {name}"));
            }
        }
        // A predictor that met broken bags goes on.
        predictor.predict(&bags(12, 5)).unwrap();
    }
    assert!(panicked.is_empty(), "{panicked:?}");
}
