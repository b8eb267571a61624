//! Several models as one: what fits together, what they say together, and their file.

use super::{bags, devices, method, said, trainer};
use bagrad::device::Device;
use bagrad::engine::tape::Link;
use bagrad::methods::{Attention, Dsmil, Method};
use bagrad::metrics::BagScores;
use bagrad::model::Spec;
use bagrad::target::{Cox, Hazards, Number, NumberLoss};
use bagrad::training::Predictions;
use bagrad::{Bags, Ensemble, Features, Member, Model, Origin, PlaceUnit, Responses, Target};

fn ensemble(models: impl IntoIterator<Item = Model>) -> bagrad::Result<Ensemble> {
    Ensemble::new(models.into_iter().enumerate().map(|(at, model)| Member::new(format!("m{at}"), model)).collect())
}

fn trained(device: &Device, method: Method, seeds: &[u64]) -> Vec<Model> {
    let fit = |&seed: &u64| {
        let given = bags(24, seed);
        bagrad::Trainer::new(method.clone()).epochs(4).learning_rate(5e-3).seed(seed).device(device).fit(&given)
    };
    seeds.iter().map(|seed| fit(seed).unwrap().model).collect()
}

/// A model of one method for another target, without training.
fn fresh(target: Target, classes: &[&str], width: usize, seed: u64) -> Model {
    let classes = classes.iter().map(|&name| name.to_owned()).collect();
    let method = Attention { embed: vec![4], ..Default::default() }.into();
    Model::new(Spec { method, width, classes, target }, seed).unwrap()
}

fn alone(models: &[Model], bags: &Bags, device: &Device) -> Vec<Predictions> {
    models.iter().map(|model| model.clone().on(device).unwrap().predict(bags).unwrap()).collect()
}

fn means(all: &[Predictions], of: fn(&Predictions) -> &[f32]) -> Vec<f64> {
    let sum = |at: usize| all.iter().map(|p| f64::from(of(p)[at])).sum::<f64>();
    (0..of(&all[0]).len()).map(|at| sum(at) / all.len() as f64).collect()
}

fn close(found: &[f32], wanted: &[f64], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let apart = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs() / b.abs().max(1.0);
    let apart = found.iter().zip(wanted).map(apart).fold(0.0, f64::max);
    assert!(apart < 1e-5, "{what}: {apart}");
}

/// Members say what they say alone, to the bit, each by its own standardisation; the mean and the deviation are theirs.
#[test]
fn members_answer_as_alone_and_together() {
    for device in devices() {
        let mut models = trained(&device, method(), &[1, 2, 3]);
        assert_ne!(models[0].standardisation, models[1].standardisation);
        models[2].standardisation = None;
        let given = bags(9, 7);
        let each = alone(&models, &given, &device);
        let mut predictor = ensemble(models).unwrap().on(&device);
        let found = predictor.predict(&given).unwrap();
        for (member, each) in found.members.iter().zip(&each) {
            assert_eq!(member.probabilities, each.probabilities);
            assert!(member.scores.is_empty() && member.attention.is_none());
        }
        let mean = means(&each, |p| &p.probabilities);
        close(&found.mean.probabilities, &mean, "probabilities");
        close(&found.mean.scores, &means(&each, |p| &p.scores), "scores");
        close(found.mean.attention.as_ref().unwrap(), &means(&each, |p| p.attention.as_ref().unwrap()), "attention");
        let spread = found.spread.as_ref().unwrap();
        let deviation = |at: usize| {
            let squares = each.iter().map(|p| (f64::from(p.probabilities[at]) - mean[at]).powi(2)).sum::<f64>();
            (squares / 2.0).sqrt()
        };
        close(&spread.probabilities, &(0..mean.len()).map(deviation).collect::<Vec<_>>(), "spread");
        assert!(spread.probabilities.iter().any(|s| *s > 1e-4) && spread.values.is_empty());

        let judged = predictor.evaluate(&given).unwrap();
        let auc = |scores: &BagScores| match scores {
            BagScores::Classes(scores) => scores.auc.unwrap(),
            _ => panic!("classes"),
        };
        assert_eq!(judged.members.len(), 3);
        assert!((0.0..=1.0).contains(&auc(&judged.scores)));
        for (member, each) in judged.members.iter().zip(&each) {
            assert_eq!(auc(member), each.measure(given.labels.as_ref().unwrap()).unwrap().auc.unwrap());
        }
        let again = predictor.predict(&given).unwrap();
        assert_eq!((&again.mean.probabilities, &again.mean.scores), (&found.mean.probabilities, &found.mean.scores));
    }
}

/// Members of one network take turns by programs that are planned once, whatever their standardisation, and those of others
/// stay beside them; answers are those of each alone, to the bit, in every call.
#[test]
fn members_are_planned_once_for_all_calls() {
    for device in devices() {
        let mut models = trained(&device, method(), &[1, 2, 3]);
        models.extend(trained(&device, Dsmil { query: 4, ..Default::default() }.into(), &[1, 2]));
        // In turns, so that no member finds its network as it left it.
        models.swap(1, 3);
        let calls: Vec<Bags> = [7, 5, 6].into_iter().map(|count| bags(count, 2)).collect();
        let check = |of: &[Model], networks: u64, memory: Option<u64>| {
            let mut predictor = ensemble(of.to_vec()).unwrap().on(&device).memory(memory);
            assert_eq!(predictor.programs(), 0);
            let mut planned = Vec::new();
            for given in &calls {
                let found = predictor.predict(given).unwrap();
                for (member, alone) in found.members.iter().zip(alone(of, given, &device)) {
                    assert_eq!(member.probabilities, alone.probabilities, "{}", device.name());
                }
                planned.push(predictor.programs());
            }
            let one = {
                let mut alone = ensemble(of[..1].to_vec()).unwrap().on(&device).memory(memory);
                alone.predict(&calls[0]).unwrap();
                alone.programs()
            };
            assert!(one > 0);
            match memory {
                // The largest call is the first one.
                None => assert_eq!(planned, [networks * one; 3], "{}", device.name()),
                // A network at a time: planned anew whenever the other one was there.
                Some(_) => assert!(planned[0] > networks * one && planned[2] > planned[0], "{planned:?}"),
            }
        };
        check(&models, 2, None);
        check(&models, 2, Some(1 << 30));
        check(&trained(&device, method(), &[4, 5, 6]), 1, None);
    }
}

/// Numbers and survival of members that were told of other bags, in one place on the device.
#[test]
fn what_training_bags_gave_a_target_goes_with_its_member() {
    let device = Device::host();
    let number = |center, scale| Target::Number(Number { loss: NumberLoss::Squared, center, scale });
    let hazards = |edges: &[f32]| Target::Hazards(Hazards { edges: edges.to_vec(), alpha: 0.0 });
    let given = Bags { labels: None, class_names: Vec::new(), ..bags(6, 2) };
    for targets in [[number(3.0, 2.0), number(-40.0, 0.5)], [hazards(&[1.0, 2.0]), hazards(&[1.5, 9.0])]] {
        let models: Vec<Model> =
            targets.into_iter().zip([3, 4]).map(|(target, seed)| fresh(target, &[], given.width, seed)).collect();
        let mut predictor = ensemble(models.clone()).unwrap().on(&device);
        for _ in 0..2 {
            let found = predictor.predict(&given).unwrap();
            for (member, alone) in found.members.iter().zip(alone(&models, &given, &device)) {
                match &alone.target {
                    Target::Number(_) => assert_eq!((&member.values, &member.target), (&alone.values, &alone.target)),
                    // At common edges, from curves of its own.
                    _ => assert_eq!(member.survival.last(), alone.survival.last()),
                }
            }
        }
        assert_eq!(predictor.programs(), 1);
    }
}

#[test]
fn an_ensemble_of_one_is_its_model() {
    let device = Device::host();
    let models = trained(&device, method(), &[1]);
    let given = bags(5, 2);
    let [wanted] = &alone(&models, &given, &device)[..] else { panic!() };
    let one = ensemble(models.clone()).unwrap();
    assert_eq!(one.to_bytes(), models[0].to_bytes());
    assert!(said(one.save("nowhere/x")).contains("expected two models at least, found 1"));
    let found = one.on(&device).predict(&given).unwrap();
    assert!(found.members.is_empty() && found.spread.is_none());
    assert_eq!((&found.mean.probabilities, &found.mean.scores), (&wanted.probabilities, &wanted.scores));
    assert_eq!(found.mean.attention, wanted.attention);
}

#[test]
fn scores_of_other_methods_are_left_out() {
    let device = Device::host();
    let mut models = trained(&device, method(), &[1]);
    models.extend(trained(&device, Dsmil { query: 4, ..Default::default() }.into(), &[1, 2]));
    let given = bags(6, 2);
    let each = alone(&models, &given, &device);
    let found = ensemble(models).unwrap().on(&device).predict(&given).unwrap();
    close(&found.mean.probabilities, &means(&each, |p| &p.probabilities), "probabilities");
    let mean = &found.mean;
    assert!(mean.scores.is_empty() && mean.attention.is_none() && mean.class_scores.is_none());
    assert!(mean.instance_columns(&["a".into(), "b".into()]).is_empty());
    assert_eq!(mean.instance_auc(&vec![1; given.instances()]), Default::default());
    assert_eq!(mean.ndcg(&vec![1; given.instances()]), None);
}

/// Members may find another class: the one score of an instance is that of the class that the mean finds.
#[test]
fn scores_are_of_the_class_that_the_mean_finds() {
    let device = Device::host();
    let of = |seed| {
        let spec =
            Spec { classes: ["a", "b", "c"].map(String::from).to_vec(), ..Spec::new(Dsmil::default().into(), 5, 3) };
        Model::new(spec, seed).unwrap()
    };
    let models: Vec<Model> = (1..=6).map(of).collect();
    let mut given = bags(12, 3);
    (given.labels, given.columns) = (None, None);
    let each = alone(&models, &given, &device);
    let classes = |bag| each.iter().map(|p| p.class(bag)).collect::<std::collections::BTreeSet<_>>();
    assert!((0..12).any(|bag| classes(bag).len() > 1), "members agree, which tests nothing");
    let mean = ensemble(models).unwrap().on(&device).predict(&given).unwrap().mean;
    let of_classes = mean.class_scores.as_ref().unwrap();
    for bag in 0..12 {
        for row in given.rows(bag) {
            assert_eq!(mean.scores[row], of_classes[row * 3 + mean.class(bag)]);
        }
    }
    close(of_classes, &means(&each, |p| p.class_scores.as_ref().unwrap()), "scores of classes");
}

/// Probabilities that are independent of each other and such that are not: the log loss is that of each class by itself.
#[test]
fn links_may_differ() {
    let device = Device::host();
    let names = ["a", "b", "c"].map(String::from);
    let spec = |method: Method| Spec { classes: names.to_vec(), ..Spec::new(method, 5, 3) };
    let models = [Attention { embed: vec![4], ..Default::default() }.into(), Dsmil::default().into()]
        .map(|method: Method| Model::new(spec(method), 1).unwrap());
    let mut given = bags(12, 3).with_labels((0..12).map(|bag| bag % 3).collect()).unwrap();
    (given.class_names, given.columns) = (names.to_vec(), None);
    let judged = ensemble(models).unwrap().on(&device).evaluate(&given).unwrap();
    assert_eq!((judged.answers.mean.link, judged.answers.mean.outputs), (Link::IndependentSigmoids, 3));
    let BagScores::Classes(scores) = judged.scores else { panic!() };
    let p = &judged.answers.mean.probabilities;
    let wanted = bagrad::metrics::independent_log_loss(p, 3, 3, given.labels.as_ref().unwrap());
    assert_eq!(scores.log_loss, wanted);
}

/// Labels and grades have probabilities that are averaged; what is predicted is decided by the mean.
#[test]
fn labels_and_grades_are_decided_by_the_mean() {
    let device = Device::host();
    let mut given = bags(12, 3);
    (given.labels, given.columns) = (None, None);
    for target in [Target::LabelSets, Target::Ordered] {
        let of = |seed| {
            let classes = ["a", "b", "c"].map(String::from).to_vec();
            let method = Dsmil::default().into();
            Model::new(Spec { method, width: 5, classes, target: target.clone() }, seed).unwrap()
        };
        let models = [1, 2, 3].map(of);
        let each = alone(&models, &given, &device);
        let found = ensemble(models).unwrap().on(&device).predict(&given).unwrap();
        let mean = means(&each, |p| &p.probabilities);
        close(&found.mean.probabilities, &mean, "probabilities");
        assert_eq!(found.spread.unwrap().probabilities.len(), 36);
        for bag in 0..12 {
            let p = &mean[bag * 3..][..3];
            let likely: Vec<usize> = (0..3).filter(|&label| p[label] >= 0.5).collect();
            let best = (0..3).fold(0, |best, c| if p[c] > p[best] { c } else { best });
            match target {
                Target::LabelSets => assert_eq!(found.mean.labels(bag), likely),
                _ => assert_eq!(found.mean.class(bag), best),
            }
        }
        if target == Target::Ordered {
            close(&found.mean.scores, &means(&each, |p| &p.scores), "scores, means of all columns");
        }
    }
}

#[test]
fn numbers_are_averaged_in_their_unit() {
    let device = Device::host();
    let number = |center, scale| Target::Number(Number { loss: NumberLoss::Squared, center, scale });
    let models = [fresh(number(50.0, 9.0), &[], 5, 1), fresh(number(60.0, 4.0), &[], 5, 2)];
    let mut given = bags(6, 3);
    (given.labels, given.columns) = (None, None);
    given.responses = Some(Responses::Numbers(vec![40.0, 50.0, 60.0, 45.0, 55.0, f32::NAN]));
    let each = alone(&models, &given, &device);
    let judged = ensemble(models).unwrap().on(&device).evaluate(&given).unwrap();
    let found = &judged.answers;
    close(&found.mean.values, &means(&each, |p| &p.values), "values");
    let value = |model: usize, bag: usize| f64::from(each[model].values[bag]);
    let apart = |bag: usize| (value(0, bag) - value(1, bag)).abs() / 2f64.sqrt();
    close(&found.spread.as_ref().unwrap().values, &(0..6).map(apart).collect::<Vec<_>>(), "spread");
    assert_eq!((judged.bags.len(), judged.members.len()), (5, 2));
}

/// Of log-risks differences between bags are averaged, whatever the zero of each fit; no deviation is told of them.
#[test]
fn log_risks_keep_their_differences() {
    let device = Device::host();
    let models = [1, 2].map(|seed| fresh(Target::Cox(Cox::default()), &[], 5, seed));
    let mut given = bags(6, 3);
    (given.labels, given.columns) = (None, None);
    let each = alone(&models, &given, &device);
    let found = ensemble(models).unwrap().on(&device).predict(&given).unwrap();
    let difference = |of: &Predictions| f64::from(of.values[0] - of.values[3]);
    let wanted = each.iter().map(difference).sum::<f64>() / 2.0;
    assert!((difference(&found.mean) - wanted).abs() < 1e-5);
    assert!(found.spread.unwrap().values.is_empty());
}

#[test]
fn curves_of_other_intervals_meet_at_common_edges() {
    let device = Device::host();
    let hazards = |edges: &[f32]| Target::Hazards(Hazards { edges: edges.to_vec(), alpha: 0.0 });
    let models = [fresh(hazards(&[1.0, 2.0, 4.0]), &[], 5, 1), fresh(hazards(&[2.0, 3.0]), &[], 5, 2)];
    let mut given = bags(6, 3);
    (given.labels, given.columns) = (None, None);
    let each = alone(&models, &given, &device);
    let found = ensemble(models).unwrap().on(&device).predict(&given).unwrap();
    let Target::Hazards(common) = &found.mean.target else { panic!() };
    assert_eq!(common.edges, [1.0, 2.0, 3.0]);
    for bag in 0..6 {
        let (a, b) = (&each[0].survival[bag * 4..][..4], &each[1].survival[bag * 3..][..3]);
        let a = [a[0], a[1], (a[1] + a[2]) / 2.0, a[3]].map(f64::from);
        let b = [(1.0 + b[0]) / 2.0, b[0], b[1], b[2]].map(f64::from);
        let mean = [0, 1, 2, 3].map(|at| (a[at] + b[at]) / 2.0);
        close(&found.mean.survival[bag * 4..][..4], &mean, "survival");
        close(&found.mean.values[bag..=bag], &[-mean.iter().sum::<f64>()], "risk");
        close(&found.members[1].survival[bag * 4..][..4], &b, "survival of a member");
    }
    assert_eq!(found.spread.unwrap().survival.len(), 24);
    // Of the same intervals a member says what it says alone.
    let models = [1, 2].map(|seed| fresh(hazards(&[1.0, 2.0]), &[], 5, seed));
    let each = alone(&models, &given, &device);
    let found = ensemble(models).unwrap().on(&device).predict(&given).unwrap();
    for (member, each) in found.members.iter().zip(&each) {
        assert_eq!((&member.survival, &member.values), (&each.survival, &each.values));
    }
}

#[test]
fn a_file_has_all_members_and_what_was_told_of_them() {
    let device = Device::host();
    let mut models = trained(&device, method(), &[1, 2]);
    models.extend(trained(&device, Dsmil { query: 4, ..Default::default() }.into(), &[1]));
    let wanted: Vec<Vec<u8>> = models.iter().map(Model::to_bytes).collect();
    let mut members = ensemble(models).unwrap().into_members();
    members[1].metrics.insert("test_auc".into(), 0.1 + 0.2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("e.safetensors");
    Ensemble::new(members).unwrap().save(&path).unwrap();
    let read = Ensemble::load(&path).unwrap();
    assert_eq!(read.members().iter().map(|m| m.model.to_bytes()).collect::<Vec<_>>(), wanted);
    assert_eq!(read.members().iter().map(|m| &m.name[..]).collect::<Vec<_>>(), ["m0", "m1", "m2"]);
    assert_eq!(read.members()[1].metrics["test_auc"], 0.1 + 0.2);
    assert_eq!(read.to_bytes(), std::fs::read(&path).unwrap());
    // Who reads one model says what it is.
    let told = said(Model::load(&path));
    assert!(told.contains("is an ensemble of 3 models") && told.contains("--member N"), "{told}");
    // A model file is an ensemble of one, called as the file.
    std::fs::write(&path, &wanted[0]).unwrap();
    let one = Ensemble::load(&path).unwrap();
    assert_eq!((one.members().len(), &one.members()[0].name), (1, &path.display().to_string()));
}

#[test]
fn members_are_of_one_task() {
    let device = Device::host();
    let base = || {
        let mut model = fresh(Target::Classes, &["a", "b"], 3, 1);
        model.columns = Some(["x", "y", "z"].map(String::from).to_vec());
        let unit = Some(PlaceUnit::Pixels);
        model.origin =
            Some(Origin { encoder: Some("uni".into()), unit, patch: Some(256.0), magnification: Some(20.0) });
        model
    };
    let with = |change: fn(&mut Model)| {
        let mut model = fresh(Target::Classes, &["a", "b"], 3, 2);
        (model.columns, model.origin) = (base().columns, base().origin);
        change(&mut model);
        model
    };
    assert!(ensemble([base(), with(|_| ())]).is_ok());
    assert!(ensemble([base(), with(|m| m.origin = None)]).is_ok());
    for (other, expected) in [
        (
            fresh(Target::Ordered, &["a", "b"], 3, 2),
            "what is learnt is one of several classes in m0, and one of several classes in an order in m1",
        ),
        (
            fresh(Target::Cox(Cox::default()), &[], 3, 2),
            "what is learnt is one of several classes in m0, and a log-risk (Cox) in m1",
        ),
        (fresh(Target::Classes, &["b", "a"], 3, 2), "the list of classes is [a, b] in m0, and [b, a] in m1"),
        (fresh(Target::Classes, &["a", "b"], 4, 2), "the number of features is 3 in m0, and 4 in m1"),
        (with(|m| m.columns = None), "the name of each feature is known in m0, and not known in m1"),
        (
            with(|m| m.columns = Some(["x", "z", "y"].map(String::from).to_vec())),
            "the name of feature 1 (from 0) is 'y' in m0, and 'z' in m1",
        ),
        (
            with(|m| m.origin.as_mut().unwrap().encoder = Some("conch".into())),
            "the encoder of the features is uni in m0, and conch in m1",
        ),
        (
            with(|m| m.origin.as_mut().unwrap().unit = Some(PlaceUnit::Micrometres)),
            "the unit of places is pixels of level 0 in m0, and micrometres in m1",
        ),
        (with(|m| m.origin.as_mut().unwrap().patch = Some(512.0)), "the side of a patch is 256 in m0, and 512 in m1"),
        (
            with(|m| m.origin.as_mut().unwrap().magnification = Some(40.0)),
            "the magnification is 20 in m0, and 40 in m1",
        ),
    ] {
        let told = said(ensemble([base(), other]));
        assert!(told.contains(expected), "{told}");
    }
    // A model that was told nothing does not hide two that were told otherwise.
    let mut third = with(|m| m.origin.as_mut().unwrap().encoder = Some("conch".into()));
    third.set_parameter("embed.0.bias", &[0.5; 4]).unwrap();
    let told = said(ensemble([with(|m| m.origin = None), base(), third]));
    assert!(told.contains("uni in m1, and conch in m2"), "{told}");

    assert!(said(ensemble([])).contains("expected 1 to 1024 models, found 0"));
    assert!(said(ensemble([base(), base()])).contains("m0 and m1 are the same model"));
    let named = Ensemble::new(vec![Member::new("x".repeat(1001), base())]);
    assert!(said(named).contains("a name of 1001 bytes"));
    let model = trainer(&device).fit(&bags(12, 1)).unwrap().model;
    let narrow = Bags::packed(Features::F32(vec![0.0; 6]), 3, &[2]).unwrap();
    let told = said(ensemble([model]).unwrap().on(&device).predict(&narrow));
    assert!(told.contains("instances of 5 features"), "{told}");
}
