//! What a trainer does by itself: division, standardisation, classes, and errors for what cannot be.

use super::{bags, devices, method, said, trainer};
use bagrad::device::Device;
use bagrad::training::metrics::Metric;
use bagrad::training::{Epoch, Observer, Settings, train};
use bagrad::{Bags, Features, Scaling, Trainer};

#[test]
fn it_does_what_is_done_by_hand() {
    for device in devices() {
        let given = bags(24, 1);
        let before = given.clone();
        let fitted = trainer(&device).fit(&given).unwrap();
        assert_eq!(given, before);
        assert_eq!((fitted.training.len(), fitted.validation.len()), (18, 6));
        let mut all: Vec<usize> = fitted.training.iter().chain(&fitted.validation).copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..24).collect::<Vec<_>>());
        // By hand.
        let statistics = bagrad::standardise::Standardiser::fit(&given, &fitted.training).unwrap();
        assert_eq!(fitted.model.standardisation.as_ref(), Some(&statistics));
        let mut standardised = given.clone();
        statistics.apply(&mut standardised).unwrap();
        let settings = Settings { epochs: 6, learning_rate: 5e-3, seed: 3, ..Settings::for_method(&method()) };
        let spec = bagrad::model::Spec::of(method(), &standardised);
        let model = bagrad::model::Model::new(spec, 3).unwrap();
        let parts = (&fitted.training[..], &fitted.validation[..]);
        let outcome = train(&device, model, &settings, &standardised, parts.0, parts.1, &mut ()).unwrap();
        for parameter in outcome.model.parameters() {
            let [a, b] = [&fitted.model, &outcome.model].map(|m| m.parameter(&parameter.name).unwrap().to_vec());
            assert_eq!(a, b, "{} on {}", parameter.name, device.name());
        }
        assert_eq!((fitted.kept, fitted.epochs.len()), (outcome.kept, outcome.epochs.len()));
        assert_eq!(fitted.model.spec().classes, ["normal", "tumour"]);
        assert_eq!(fitted.model.columns, given.columns);
        // In place.
        let mut in_place = given.clone();
        let again = trainer(&device).fit_in_place(&mut in_place).unwrap();
        assert_eq!(in_place, standardised);
        assert_eq!(again.model.to_bytes(), fitted.model.to_bytes());
    }
}

#[test]
fn patients_stay_together() {
    let device = Device::host();
    let mut given = bags(30, 2);
    given.groups = Some((0..30).map(|bag| format!("patient {}", bag / 3)).collect());
    let fitted = trainer(&device).epochs(1).fit(&given).unwrap();
    let patients = |of: &[usize]| of.iter().map(|bag| bag / 3).collect::<std::collections::BTreeSet<_>>();
    let (learnt, chosen) = (patients(&fitted.training), patients(&fitted.validation));
    assert!(learnt.is_disjoint(&chosen) && !chosen.is_empty(), "{learnt:?} {chosen:?}");
    let parted = || trainer(&device).epochs(1).division([0, 1, 4, 5], [2, 3]);
    assert!(said(parted().fit(&given)).contains("group 'patient 0' is parted"));
    assert_eq!(parted().ignore_groups().fit(&given).unwrap().validation, [2, 3]);
}

#[test]
fn what_is_not_said_is_as_on_the_command_line() {
    let device = Device::host();
    let mut given = bags(20, 3);
    let plain = || Trainer::new(method()).epochs(1).device(&device);
    assert!(plain().fit(&given).unwrap().validation.is_empty());
    assert_eq!(plain().patience(3).fit(&given).unwrap().validation.len(), 4);
    assert_eq!(plain().monitor(Metric::Auc).fit(&given).unwrap().validation.len(), 4);
    let settings = Settings::for_method(&method());
    assert_eq!(
        Trainer::new(method()).settings(settings.clone()).epochs(2).device(&device).fit(&given).unwrap().epochs.len(),
        2
    );
    // Pictures are taken as they are, and so is what is asked for.
    let fitted = plain().scaling(Scaling::None).fit(&given).unwrap().model;
    assert!(fitted.standardisation.is_none() && fitted.seen.is_some());
    given.image = Some([1, 5, 1]);
    assert!(plain().fit(&given).unwrap().model.standardisation.is_none());
    assert!(plain().scaling(Scaling::Standardise).fit(&given).unwrap().model.standardisation.is_some());
    // Bags without a label are in no part.
    let labels = given.labels.as_mut().unwrap();
    (labels[0], labels[7]) = (Bags::UNKNOWN, Bags::UNKNOWN);
    let fitted = plain().validation(0.5).fit(&given).unwrap();
    assert_eq!(fitted.training.len() + fitted.validation.len(), 18);
    assert!(![0, 7].iter().any(|bag| fitted.training.contains(bag) || fitted.validation.contains(bag)));
}

#[test]
fn an_observer_sees_and_stops() {
    #[derive(Default)]
    struct Two(Vec<u32>);
    impl Observer for Two {
        fn epoch(&mut self, epoch: &Epoch) {
            self.0.push(epoch.epoch);
        }
        fn stop(&mut self) -> bool {
            self.0.len() == 2
        }
    }
    let mut two = Two::default();
    let fitted = trainer(&Device::host()).observer(&mut two).fit(&bags(12, 4)).unwrap();
    assert_eq!((fitted.epochs.len(), two.0), (2, vec![0, 1]));
}

#[test]
fn what_cannot_be_learnt_from_is_an_error() {
    let device = Device::host();
    let given = bags(12, 5);
    let fit = |trainer: Trainer, bags: &Bags| said(trainer.fit(bags));
    let plain = || trainer(&device);
    let changed = |change: fn(&mut Bags)| {
        let mut bags = given.clone();
        change(&mut bags);
        fit(plain(), &bags)
    };
    assert!(changed(|b| b.labels = None).contains("expected labels to train with"));
    assert!(changed(|b| b.labels = Some(vec![0; 12])).contains("class 1 ('tumour') has no bag"));
    assert!(changed(|b| b.labels = Some(vec![5; 12])).contains("label"));
    assert!(changed(|b| b.labels.as_mut().unwrap().truncate(3)).contains("expected 12 labels, found 3"));
    assert!(changed(|b| b.class_names.clear()).contains("class"));
    assert!(changed(|b| b.offsets.clear()).contains("bags"));
    assert!(changed(|b| b.width = 4).contains("need"));
    assert!(changed(|b| b.features = Features::F32(vec![f32::NAN; b.features.len()])).contains("finite"));
    assert!(changed(|b| b.groups = Some(vec!["one".into(); 12])).contains("cannot be divided"));
    assert!(changed(|b| b.groups = Some(Vec::new())).contains("groups"));
    assert!(fit(plain().validation(1.0), &given).contains("share from 0 to below 1"));
    assert!(fit(plain().validation(f64::NAN), &given).contains("share from 0 to below 1"));
    assert!(fit(plain().division([0, 1], [1]), &given).contains("is for train and for validation"));
    assert!(fit(plain().division([0, 1, 1], []), &given).contains("is for train and for train"));
    assert!(fit(plain().division([0, 1], [99]), &given).contains("no bag 99"));
    assert!(fit(plain().division([0, 99], []), &given).contains("no bag 99"));
    assert!(fit(plain().division([], [1]), &given).contains("at least one training bag"));
    assert!(fit(plain().division([0, 1], []).patience(3), &given).contains("needs validation bags"));
    assert!(fit(plain().epochs(0), &given).contains("epochs"));
    assert!(fit(plain().batch(0), &given).contains("batch"));
    assert!(fit(plain().learning_rate(f64::NAN), &given).contains("learning_rate"));
    let other = plain().fit(&bags(12, 6)).unwrap().model;
    assert!(fit(plain().start(&other), &given).contains("z-scored by other bags"));
    let same = plain().fit(&given).unwrap().model;
    assert!(fit(plain().start(&same), &given).contains("learns from no"));
}
