//! Methods that need another model first: what is made of it, and what is kept of that.

use crate::common::small::{bags, devices, small};
use bagrad::device::Device;
use bagrad::kmeans::{KMeans, Seeding};
use bagrad::methods::{BAG_FEATURES, Method};
use bagrad::model::{Model, Spec};
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::training::{Observer, Settings, train};
use bagrad::{Bags, Trainer};

fn of(base: &str, settings: serde_json::Value) -> Method {
    let mut base = small(base).settings().into_iter().collect::<serde_json::Map<_, _>>();
    base.insert("method".into(), settings["base"].clone());
    let set = serde_json::json!({ "base": base, "clusters": settings["clusters"], "hidden": 7 });
    Method::named("ibmil").unwrap().with(set.as_object().unwrap()).unwrap()
}

#[derive(Default)]
struct Stages(Vec<(String, [usize; 2])>);

impl Observer for Stages {
    fn stage(&mut self, method: &str, of: [usize; 2]) {
        self.0.push((method.to_owned(), of));
    }
}

/// The dictionary by hand: the base trained, its features of the training bags, their clusters.
fn dictionary(device: &Device, base: &Method, settings: &Settings, bags: &Bags, training: &[usize]) -> Vec<f32> {
    let model = Model::new(Spec::of(base.clone(), bags), settings.seed).unwrap();
    let trained = train(device, model, settings, bags, training, &[], &mut ()).unwrap().model;
    let mut session = Session::new(device, trained, Storage::F32).unwrap();
    let mut rows = Vec::new();
    for bag in training {
        rows.extend_from_slice(&session.outputs(bags, &[*bag], None).unwrap()[BAG_FEATURES]);
    }
    let classes = if base.name() == "dsmil" { bags.classes() } else { 1 };
    let parts = if classes == 2 { 1 } else { classes };
    let width = rows.len() / training.len() / parts;
    let kmeans = KMeans { unit_rows: true, seeding: Seeding::Sample, seed: 66, ..KMeans::new(3) };
    kmeans.run(device, &rows, width).unwrap().means
}

#[test]
fn contexts_are_means_of_clusters_of_what_the_base_makes_of_training_bags() {
    let training: Vec<usize> = (0..10).collect();
    for device in devices() {
        for (base, classes) in [("attention", 2), ("dsmil", 3), ("dtfd", 2), ("transmil", 2)] {
            let mut bags = bags(12, 8, 11);
            if classes == 3 {
                bags = bags.with_labels((0..12).map(|bag| bag % 3).collect()).unwrap();
            }
            let method = of(base, serde_json::json!({ "base": base, "clusters": 3 }));
            let settings = Settings { epochs: 2, batch: 2, ..Settings::for_method(&method) };
            let mut seen = Stages::default();
            let model = Model::new(Spec::of(method.clone(), &bags), settings.seed).unwrap();
            let outcome = train(&device, model, &settings, &bags, &training, &[], &mut seen).unwrap();
            let what = format!("{base} on {}", device.name());
            assert_eq!(seen.0, [(base.to_owned(), [1, 2]), ("ibmil".to_owned(), [2, 2])], "{what}");
            let before = outcome.before.unwrap();
            assert_eq!((&before.method[..], before.epochs, before.kept), (base, 2, 1), "{what}");
            let rows = if classes == 3 { 30 } else { 10 };
            assert_eq!(before.constants[0].counts.iter().sum::<u32>(), rows, "{what}");
            let found = outcome.model.parameter(&before.constants[0].name).unwrap();
            let wanted = dictionary(&device, &method.before().unwrap(), &settings, &bags, &training);
            assert!(found.iter().any(|v| *v != 0.0) && found.len() == wanted.len(), "{what}");
            for (found, wanted) in found.iter().zip(&wanted) {
                assert!((found - wanted).abs() < 1e-4 * wanted.abs().max(1.0), "{what}: {found} {wanted}");
            }
        }
    }
}

/// No bag that validates or tests has a part in the dictionary.
#[test]
fn other_bags_have_no_part_in_contexts() {
    let method = small("ibmil");
    let fit = |shift: f32| {
        let mut bags = bags(12, 8, 11);
        let rows = bags.rows(11);
        let bagrad::Features::F32(values) = &mut bags.features else { unreachable!("made in f32") };
        values[rows.start * 8..rows.end * 8].iter_mut().for_each(|value| *value += shift);
        let trainer = Trainer::new(method.clone()).epochs(1).device(&Device::host());
        let fitted = trainer.division((0..9).collect::<Vec<_>>(), [9, 10]).fit(&bags).unwrap();
        (fitted.before.unwrap(), fitted.model.to_bytes())
    };
    assert_eq!(fit(0.0), fit(3.0));
}

#[test]
fn a_dictionary_that_was_changed_is_refused_and_one_that_is_given_is_kept() {
    let bags = bags(12, 8, 11);
    let trainer = Trainer::new(small("ibmil")).epochs(1).device(&Device::host());
    let mut model = trainer.fit(&bags).unwrap().model;
    let bytes = model.to_bytes();
    let back = Model::from_bytes(&bytes).unwrap();
    let values = back.parameter("context.dictionary").unwrap().to_vec();
    assert_eq!(values, model.parameter("context.dictionary").unwrap());
    let at = bytes.windows(4).position(|w| w == values[5].to_le_bytes()).unwrap();
    let mut changed = bytes.clone();
    changed[at..at + 4].copy_from_slice(&(values[5] + 1.0).to_le_bytes());
    let message = Model::from_bytes(&changed).unwrap_err();
    assert!(message.contains("context.dictionary") && message.contains("fingerprint"), "{message}");

    // Whoever brings contexts of their own trains with those.
    let own: Vec<f32> = (0..values.len()).map(|n| n as f32).collect();
    model.set_parameter("context.dictionary", &own).unwrap();
    let settings = Settings { epochs: 1, ..Settings::for_method(&small("ibmil")) };
    let outcome = train(&Device::host(), model, &settings, &bags, &[0, 1, 2, 3], &[], &mut ()).unwrap();
    assert_eq!((outcome.before, outcome.model.parameter("context.dictionary").unwrap()), (None, &own[..]));
}

#[test]
fn more_contexts_than_bags_are_refused() {
    let message = Trainer::new(of("attention", serde_json::json!({ "base": "attention", "clusters": 30 })))
        .epochs(1)
        .device(&Device::host())
        .fit(&bags(12, 8, 11))
        .unwrap_err()
        .to_string();
    assert!(message.contains("clusters") && message.contains("1 to 12"), "{message}");
}

#[test]
fn only_methods_with_features_of_bags_take_others_around() {
    for name in ["ibmil", "mhim"] {
        let around = |base: &str| {
            let set = serde_json::json!({ "base": base });
            Method::named(name).unwrap().with(set.as_object().unwrap()).unwrap().record(8, 2, Storage::F32, false)
        };
        for base in bagrad::methods::base::able() {
            let has_teacher = name == "mhim" && base.starts_with("mhim");
            assert_eq!(around(base).is_err(), has_teacher, "{name} around {base}");
        }
        let message = around("mi-net").unwrap_err().to_string();
        assert!(message.contains("mi-net tells of no features") && message.contains("dtfd"), "{message}");
        let message = around("ibmil").unwrap_err().to_string();
        assert!(message.contains("around a method itself"), "{message}");
    }
    let wrong = Method::named("ibmil").unwrap().with(serde_json::json!({ "base": "no-such" }).as_object().unwrap());
    assert!(wrong.unwrap_err().to_string().contains("no-such"));
}
