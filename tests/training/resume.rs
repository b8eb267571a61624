//! Trainings that go on from a checkpoint, against one that ran through: the same bits.

use crate::common::small::{bags, devices, small};
use bagrad::device::Device;
use bagrad::fit::{Checkpoint, Checkpoints, Every, Persistence};
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::ops::update::{Average, Optimiser};
use bagrad::precision::Precision;
use bagrad::target::{Target, Ties};
use bagrad::training::metrics::Metric;
use bagrad::training::{Observer, Outcome, Progress, Sampling, Settings, train, train_on};
use bagrad::{Bags, LabelSets, Responses, TargetChoice};
use std::path::{Path, PathBuf};

/// Keeps the checkpoint that stood after each update.
struct Keeping<'a> {
    folder: &'a Path,
    kept: Vec<PathBuf>,
}

impl Observer for Keeping<'_> {
    fn step(&mut self, _: &Progress) {
        let now = self.folder.join("now");
        if now.exists() {
            let copy = self.folder.join(self.kept.len().to_string());
            std::fs::copy(now, &copy).unwrap();
            self.kept.push(copy);
        }
    }
}

struct Case {
    bags: Bags,
    method: Method,
    target: TargetChoice,
    settings: Settings,
}

impl Case {
    fn model(&self) -> Model {
        let training = &self.parts()[0];
        let target = Target::of(self.target, &self.bags, training).unwrap();
        Model::new(Spec::learning(target, self.method.clone(), &self.bags), 5).unwrap()
    }

    fn parts(&self) -> [Vec<usize>; 2] {
        let held = self.bags.len() / 4;
        [(held..self.bags.len()).collect(), (0..held).collect()]
    }

    fn run(&self, device: &Device, persistence: Persistence, observer: &mut dyn Observer) -> bagrad::Result<Outcome> {
        let [training, validation] = self.parts();
        train_on(device, self.model(), &self.settings, &self.bags, &training, &validation, observer, persistence)
    }
}

/// Updates of each of two trainings: three epochs of five batches.
const STAGE: u64 = 15;

/// Everything of an outcome but times.
fn result(outcome: &Outcome) -> impl PartialEq + std::fmt::Debug + use<> {
    let epochs: Vec<_> = outcome
        .epochs
        .iter()
        .map(|e| {
            (
                e.epoch,
                e.loss,
                e.learning_rate,
                e.validation_loss,
                e.validation.clone(),
                e.validation_terms.clone(),
                e.best,
                e.loss_scale,
            )
        })
        .collect();
    let bytes = |model: &Model| model.to_bytes();
    let models = (bytes(&outcome.model), outcome.average.as_ref().map(bytes), outcome.follower.as_ref().map(bytes));
    (epochs, models, outcome.kept, outcome.steps, outcome.loss_scale, outcome.before.clone())
}

fn cases() -> Vec<(&'static str, Case)> {
    let case = |name: &str, change: &dyn Fn(&mut Settings)| {
        let method = small(name);
        let mut settings = Settings { epochs: 3, batch: 2, ..Settings::for_method(&method) };
        change(&mut settings);
        Case { bags: bags(12, 8, 11), method, target: TargetChoice::Auto, settings }
    };
    let everything = Optimiser {
        clip_norm: Some(1.0),
        average: Some(Average { momentum: 0.9, cosine_over: Some(12) }),
        ..Optimiser::adamw(0.01).with_lookahead(3, 0.5)
    };
    let mut sets = case("dsmil", &|_| ());
    let labels = (0..24).map(|i| [Some(true), Some(false), Some(false), None, Some(true)][i % 5]).collect();
    let names = vec!["zebra".to_owned(), "ape".to_owned()];
    sets.bags = sets.bags.with_label_sets(LabelSets::new(2, labels).unwrap(), names).unwrap();
    let mut numbers = case("dsmil", &|s| s.monitor = Metric::Mae);
    let ages = (0..12).map(|i| 50.0 + 3.0 * i as f32).collect();
    numbers.bags = numbers.bags.with_responses(Responses::Numbers(ages)).unwrap();
    let mut survival = case("gated-attention", &|s| (s.batch, s.monitor) = (3, Metric::CIndex));
    let (times, events) = (0..12).map(|i| ((i * 7 % 5) as f32 + 1.0, i % 3 != 0)).unzip();
    survival.bags = survival.bags.with_responses(Responses::Survival { times, events }).unwrap();
    survival.target = TargetChoice::Cox(Ties::Efron);
    vec![
        ("attention", case("gated-attention", &|s| (s.optimiser, s.patience) = (everything, Some(9)))),
        ("mixed", case("attention", &|s| (s.precision, s.monitor) = (Precision::Mixed, Metric::Auc))),
        ("accumulated", case("dsmil", &|s| (s.batch, s.accumulate) = (1, 3))),
        ("teacher", case("mhim-attention", &|_| ())),
        ("stages", case("ibmil", &|_| ())),
        ("windows", case("gated-attention", &|s| s.memory = Some(1 << 20))),
        ("terms", case("mi-net-ds", &|_| ())),
        ("label sets", sets),
        ("drawn", case("gated-attention", &|s| (s.instances, s.sampling) = (Some(7), Sampling::Balanced))),
        ("parts, mixed", case("gated-attention", &|s| (s.feature_dropout, s.mixup) = (0.3, 0.4))),
        ("drawn, accumulated", case("transmil", &|s| (s.batch, s.accumulate, s.instances) = (1, 2, Some(5)))),
        ("numbers", numbers),
        ("survival", survival),
    ]
}

#[test]
fn a_training_goes_on_with_the_same_bits() {
    for device in devices() {
        for (name, case) in cases() {
            let what = format!("{name} on {}", device.name());
            let wanted = result(&case.run(&device, Persistence::default(), &mut ()).unwrap());
            let folder = tempfile::tempdir().unwrap();
            let mut keeping = Keeping { folder: folder.path(), kept: Vec::new() };
            let now = folder.path().join("now");
            let persistence =
                Persistence { checkpoints: Some(Checkpoints::new(&now, Every::Updates(1))), ..Default::default() };
            // Writing them changes nothing.
            assert!(result(&case.run(&device, persistence, &mut keeping).unwrap()) == wanted, "{what}");
            let all = keeping.kept.iter().chain([&now]);
            // On a GPU some do: in the middle of an epoch, at its end, and after the last one.
            let few = [1, 3, 4, keeping.kept.len()];
            let taken = all.enumerate().filter(|(n, _)| matches!(device, Device::Host(_)) || few.contains(n));
            let mut count = 0;
            for (n, path) in taken {
                let checkpoint = Checkpoint::load(path).unwrap();
                // The updates of a training that comes before are counted by themselves.
                let updates = if name == "stages" { n as u64 % STAGE + 1 } else { n as u64 + 1 };
                assert_eq!((checkpoint.updates(), checkpoint.device()), (updates, device.name()), "{what}");
                let persistence = Persistence { resume: Some(checkpoint), checkpoints: None, ..Default::default() };
                let found = result(&case.run(&device, persistence, &mut ()).unwrap());
                assert!(found == wanted, "{what}, from update {n}");
                count += 1;
            }
            assert!(count >= 3, "{what}: {count} checkpoints");
        }
    }
}

#[test]
fn another_training_is_refused() {
    let (_, case) = cases().remove(0);
    let folder = tempfile::tempdir().unwrap();
    let now = folder.path().join("now");
    let checkpoints = Checkpoints::new(&now, Every::Epochs(1)).with_note("mine");
    let host = Device::host();
    case.run(&host, Persistence { resume: None, checkpoints: Some(checkpoints), ..Default::default() }, &mut ())
        .unwrap();
    let checkpoint = Checkpoint::load(&now).unwrap();
    assert_eq!(checkpoint.note(), "mine");
    let refused = |case: &Case, told: &str| {
        let persistence = Persistence { resume: Some(checkpoint.clone()), checkpoints: None, ..Default::default() };
        let message = case.run(&host, persistence, &mut ()).err().expect(told).to_string();
        assert!(message.contains("another training") && message.contains(told), "{told}: {message}");
    };
    let changed = |change: &dyn Fn(&mut Case)| {
        let (_, mut case) = cases().remove(0);
        change(&mut case);
        case
    };
    refused(&changed(&|c| c.settings.epochs = 4), "settings.epochs was 3 and is 4");
    refused(&changed(&|c| c.settings.seed = 2), "settings.seed");
    refused(&changed(&|c| c.method = small("attention")), "model.method was \"gated-attention\"");
    refused(&changed(&|c| c.bags = bags(12, 8, 12)), "data was");
    // Where features are is not a part of it.
    let host_cache = changed(&|c| c.settings.cache = bagrad::training::Cache::Host);
    host_cache
        .run(&host, Persistence { resume: Some(checkpoint.clone()), checkpoints: None, ..Default::default() }, &mut ())
        .unwrap();
    let fewer = Case { bags: case.bags.select(&(0..11).collect::<Vec<_>>()).unwrap(), ..changed(&|_| ()) };
    refused(&fewer, "training bags");
}

/// A checkpoint that cannot be written ends the training with the path.
#[test]
fn a_full_disk_is_told() {
    let (_, case) = cases().remove(0);
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path().join("none/such"), Every::Updates(1));
    let persistence = Persistence { resume: None, checkpoints: Some(checkpoints), ..Default::default() };
    let message = case.run(&Device::host(), persistence, &mut ()).err().unwrap().to_string();
    assert!(message.contains("none/such"), "{message}");
}

/// Nothing of a training changes when it is planned for its validation bags before it begins.
#[test]
fn larger_validation_bags_do_not_change_what_is_planned_in_between() {
    let mut random = bagrad::random::Random::new(3, 3);
    let sizes = [5, 4, 6, 3, 400, 500];
    let features: Vec<f32> = (0..sizes.iter().sum::<usize>() * 4).map(|_| random.normal() as f32).collect();
    let bags = Bags::packed(bagrad::Features::F32(features), 4, &sizes).unwrap();
    let bags = bags.with_labels(vec![0, 1, 0, 1, 0, 1]).unwrap();
    for device in devices() {
        let method = small("gated-attention");
        let settings = Settings { epochs: 2, ..Settings::for_method(&method) };
        let run = |validation: &[usize]| {
            let model = Model::new(Spec::of(method.clone(), &bags), 5).unwrap();
            train(&device, model, &settings, &bags, &[0, 1, 2, 3], validation, &mut ()).unwrap()
        };
        let found = run(&[4, 5]);
        let losses = |o: &Outcome| o.epochs.iter().map(|e| e.loss).collect::<Vec<_>>();
        let alone = run(&[]);
        for (a, b) in losses(&found).iter().zip(losses(&alone)) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
        assert_eq!(losses(&found), losses(&run(&[4, 5])));
    }
}
