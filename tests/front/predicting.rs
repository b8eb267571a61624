//! What a predictor does to bags by itself, and what it leaves alone.

use super::{bags, devices, said, trainer};
use bagrad::class_match;
use bagrad::device::Device;
use bagrad::engine::session::Session;
use bagrad::engine::tape::Storage;
use bagrad::model::Model;
use bagrad::training::{Predictions, predict};
use bagrad::{Bags, Features, LabelSets, Mapped, Origin, PlaceUnit, Trainer};
use std::io::Write;

fn trained(device: &Device) -> Model {
    trainer(device).fit(&bags(24, 1)).unwrap().model
}

fn same(a: &Predictions, b: &Predictions) {
    assert_eq!((&a.probabilities, &a.scores, &a.offsets), (&b.probabilities, &b.scores, &b.offsets));
    assert_eq!(a.attention, b.attention);
}

/// Standardised by hand, bags predicted by a session are what the predictor gives, bit for bit; in memory and in a file,
/// in either width.
#[test]
fn features_are_standardised_by_itself() {
    for device in devices() {
        let model = trained(&device);
        assert!(model.standardisation.is_some());
        let plain = bags(10, 2);
        let mut half = plain.clone();
        half.features = plain.features.to_f16();
        for given in [plain, half] {
            let before = given.clone();
            let all: Vec<usize> = (0..given.len()).collect();
            let mut by_hand = given.clone();
            model.standardisation.as_ref().unwrap().apply(&mut by_hand).unwrap();
            let mut session = Session::new(&device, model.clone(), Storage::F32).unwrap();
            let wanted = predict(&mut session, &by_hand, &all, None).unwrap();
            let mut predictor = model.clone().on(&device).unwrap();
            same(&predictor.predict(&given).unwrap(), &wanted);
            let some = predictor.predict_some(&given, &[7, 2]).unwrap();
            assert_eq!((some.len(), some.offsets[1]), (2, given.rows(7).len()));
            for (at, bag) in [(0, 7), (1, 2)] {
                let close = some.bag(at).iter().zip(wanted.bag(bag)).all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(close, "{:?} and {:?}", some.bag(at), wanted.bag(bag));
            }
            // From a file.
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let is_half = match &given.features {
                Features::F32(v) => file.write_all(bytemuck::cast_slice(v)).map(|()| false).unwrap(),
                Features::F16(v) => file.write_all(bytemuck::cast_slice(v)).map(|()| true).unwrap(),
                Features::Mapped(_) => unreachable!("made in memory"),
            };
            file.flush().unwrap();
            let mapped = Mapped::open(file.path(), 0, [given.instances(), 5], is_half).unwrap().unwrap();
            let from_file = Bags { features: Features::Mapped(mapped), ..given.clone() };
            same(&predictor.predict(&from_file).unwrap(), &wanted);
            // Stored in f16 on the device it is what a session makes of that.
            let mut session = Session::new(&device, model.clone(), Storage::F16).unwrap();
            let wanted = predict(&mut session, &by_hand, &all, None).unwrap();
            same(&model.clone().on(&device).unwrap().half().unwrap().predict(&given).unwrap(), &wanted);
            assert_eq!(given, before);
        }
    }
}

#[test]
fn columns_are_found_by_their_names() {
    let device = Device::host();
    let model = trained(&device);
    let given = bags(6, 3);
    let order = [3, 0, 4, 1, 2];
    let mut moved = given.clone();
    let values = given.features.to_f32();
    moved.features = Features::F32(values.chunks_exact(5).flat_map(|row| order.map(|c| row[c])).collect());
    moved.columns = Some(order.map(|c| given.columns.as_ref().unwrap()[c].clone()).to_vec());
    let mut predictor = model.clone().on(&device).unwrap();
    same(&predictor.predict(&moved).unwrap(), &predictor.predict(&given).unwrap());
    let [straight, turned] = [&given, &moved].map(|bags| model.look(bags).unwrap());
    assert_eq!(straight.remark, None);
    assert!(turned.remark.unwrap().contains("5 columns stood in another order"));
    let (straight, turned) = (straight.far.unwrap(), turned.far.unwrap());
    assert_eq!((straight.values, straight.instances), (turned.values, turned.instances));
    // How far values are is told of the columns as the bags have them.
    let far_in_b = |bags: &Bags, column: usize| {
        let values = bags.features.to_f32().into_iter().enumerate();
        let values = values.map(|(i, v)| if i % 5 == column { v + 1e4 } else { v }).collect();
        let far = model.look(&Bags { features: Features::F32(values), ..bags.clone() }).unwrap().far.unwrap();
        assert!(far.is_remarkable() && far.column == column, "{far:?}");
    };
    far_in_b(&given, 1);
    far_in_b(&moved, 3);
    moved.columns.as_mut().unwrap()[0] = "other".into();
    assert!(said(predictor.predict(&moved)).contains("missing 'd'; new 'other'"));
    assert!(said(model.look(&moved)).contains("missing 'd'"));
    moved.columns = None;
    assert!(model.look(&moved).unwrap().remark.unwrap().contains("taken in order"));
    moved.columns = Some(vec!["a".into()]);
    assert!(said(predictor.predict(&moved)).contains("names of 5 features, found 1"));
    let narrow = Bags::packed(Features::F32(vec![0.0; 6]), 3, &[2]).unwrap();
    let message = said(predictor.predict(&narrow));
    assert!(message.contains("instances of 5 features") && message.contains("found 3 features"), "{message}");
}

#[test]
fn where_features_come_from_goes_with_the_model() {
    let device = Device::host();
    let mut given = bags(12, 3);
    let encoder = |name: &str| Some(name.to_owned());
    let unit = Some(PlaceUnit::Pixels);
    given.origin = Some(Origin { encoder: encoder("uni"), unit, patch: Some(512.0), magnification: Some(20.0) });
    let model = trainer(&device).epochs(1).fit(&given).unwrap().model;
    let mut again = Model::from_bytes(&model.to_bytes()).unwrap();
    assert_eq!((&model.origin, &again.origin), (&given.origin, &given.origin));
    assert_eq!(again.look(&given.select(&[0, 1]).unwrap()).unwrap().remark, None);
    given.origin = Some(Origin { encoder: encoder("conch"), ..Origin::default() });
    let told = again.look(&given).unwrap().remark.unwrap();
    assert!(told.contains("of the encoder conch, and the model was trained on those of uni"), "{told}");
    again.origin = Some(Origin { patch: Some(-1.0), ..Origin::default() });
    assert!(
        said(again.look(&given)).contains("setting origin: expected a side of patches and a magnification above 0")
    );
}

/// Labels that mean nothing to the model do not disturb its predictions, and are matched by name where they count.
#[test]
fn labels_count_where_they_are_asked_for() {
    let device = Device::host();
    let mut predictor = trained(&device).on(&device).unwrap();
    let given = bags(12, 4);
    let wanted = predictor.evaluate(&given).unwrap();
    assert_eq!(wanted.bags.len(), 12);
    let bagrad::training::metrics::BagScores::Classes(scores) = &wanted.scores else { panic!("one class a bag") };
    assert!(scores.auc.unwrap() > 0.5);
    let mut turned = given.clone();
    class_match::set_positive(&mut turned, "normal").unwrap();
    turned.labels.as_mut().unwrap()[3] = Bags::UNKNOWN;
    let found = predictor.evaluate(&turned).unwrap();
    assert_eq!(found.bags.len(), 11);
    same(&found.predictions, &wanted.predictions);
    let known: Vec<u32> = (0..12).filter(|b| *b != 3).map(|b| b % 2).collect();
    let kept: Vec<f32> = found.bags.iter().flat_map(|&b| found.predictions.bag(b)).copied().collect();
    let by_hand = found.predictions.scores_of(&kept, &known).unwrap();
    let bagrad::training::metrics::BagScores::Classes(scores) = &found.scores else { panic!("one class a bag") };
    assert_eq!((scores.auc, scores.log_loss), (by_hand.auc, by_hand.log_loss));
    // Other classes: no metrics, and the same predictions.
    let mut other = given.clone();
    (other.labels, other.class_names) = (Some(vec![7; 12]), (0..8).map(|c| format!("x{c}")).collect());
    same(&predictor.predict(&other).unwrap(), &wanted.predictions);
    assert!(said(predictor.evaluate(&other)).contains("does not know 'x7'"));
    let sets = LabelSets::new(3, vec![Some(true); 36]).unwrap();
    let names = ["p", "q", "r"].map(str::to_owned).to_vec();
    let several = given.clone().with_label_sets(sets, names).unwrap();
    same(&predictor.predict(&several).unwrap(), &wanted.predictions);
    assert!(said(predictor.evaluate(&several)).contains("any number of labels"));
    let mut renamed = given.clone();
    renamed.class_names = vec!["ok".into(), "ill".into()];
    let names = [("ok", "normal"), ("ill", "tumour")].map(|(a, b)| (a.to_string(), b.to_string()));
    let mut predictor = predictor.renamed(names);
    let bagrad::training::metrics::BagScores::Classes(by_new) = predictor.evaluate(&renamed).unwrap().scores else {
        panic!("one class a bag")
    };
    let bagrad::training::metrics::BagScores::Classes(wanted) = wanted.scores else { panic!("one class a bag") };
    assert_eq!(by_new.auc, wanted.auc);
    renamed.labels = None;
    assert!(said(predictor.evaluate(&renamed)).contains("these bags have none"));
}

#[test]
fn what_a_model_cannot_be_given_is_an_error() {
    let device = Device::host();
    let mut model = trained(&device);
    let mut given = bags(4, 5);
    model.standardisation.as_mut().unwrap().std[1] = 1e-38;
    let message = said(model.clone().on(&device).unwrap().predict(&given));
    assert!(message.contains("column 1 (0-based), is") && message.contains("of bag 0"), "{message}");
    model.standardisation.as_mut().unwrap().std[1] = 1e-5;
    assert!(said(model.clone().on(&device).unwrap().half().unwrap().predict(&given)).contains("within float16"));
    model.standardisation.as_mut().unwrap().std.pop();
    assert!(said(model.clone().on(&device)).contains("a deviation for each of 5 means"));
    model.standardisation.as_mut().unwrap().mean.pop();
    assert!(said(model.clone().on(&device)).contains("statistics of 5 features, found 4"));
    assert!(said(model.look(&given)).contains("statistics of 5 features, found 4"));
    (model.standardisation, model.columns) = (None, Some(vec!["a".into()]));
    assert!(said(model.save("never.safetensors")).contains("names of 5 features, found 1"));
    assert!(said(model.on(&device)).contains("names of 5 features, found 1"));
    let encoder = bagrad::methods::encoder::Encoder::default();
    let encoder = Model::new(bagrad::model::Spec::new(encoder.into(), 3072, 2), 1).unwrap();
    assert!(said(encoder.on(&device)).contains("encoder of patches"));
    let model = trained(&device);
    given.offsets.clear();
    let none = model.on(&device).unwrap().predict(&given);
    assert!(none.is_err() || none.unwrap().is_empty());
}

/// What a method tells of bags and instances besides is in the predictions, however the bags are cut, and named by class.
#[test]
fn methods_tell_more_of_bags_and_instances() {
    use bagrad::methods::MilMethod;
    use bagrad::methods::layers::{Activation, Columns, Meaning, Network, Pool};
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    struct Telling {}

    impl MilMethod for Telling {
        const NAME: &'static str = "telling";
        fn record(&self, net: &mut Network) -> bagrad::Result<()> {
            let h = net.linear("embed", net.features, 3, Activation::Tanh)?;
            let pooled = net.pool(h, Pool::Mean)?;
            let outputs = net.outputs();
            let logits = net.linear("head", pooled, outputs, Activation::None)?;
            let scores = net.linear_shared(h, logits)?;
            let link = net.one_of_all();
            let loss = net.bag_loss(logits, link, 0.0)?;
            net.finish((logits, link), (scores, Columns::Classes), loss)?;
            net.scores_are(Meaning::Contribution);
            net.tell_of_bags("middle", pooled, Meaning::Evidence)?;
            net.tell_of_instances("share", scores, Meaning::Contribution)
        }
    }

    let device = Device::host();
    let data = bags(9, 4);
    let fitted = Trainer::new(Telling {}).epochs(2).device(&device).fit(&data).unwrap();
    let all = fitted.model.clone().on(&device).unwrap().predict(&data).unwrap();
    assert_eq!(all.scores_are, Meaning::Contribution);
    let ([middle], [share]) = (&all.of_bags[..], &all.of_instances[..]) else { panic!("{all:?}") };
    assert_eq!((middle.name.as_str(), middle.meaning, middle.columns), ("middle", Meaning::Evidence, 3));
    assert_eq!((middle.values.len(), share.values.len(), share.columns), (3 * data.len(), data.instances(), 1));
    // The mean of the shares of a bag is its logit.
    let classes = data.class_names.clone();
    assert_eq!((share.names(&classes), middle.names(&classes).len()), (vec!["share".to_owned()], 3));
    for bag in 0..data.len() {
        let of: Vec<f64> = data.rows(bag).map(|row| f64::from(share.row(row)[0])).collect();
        let logit = of.iter().sum::<f64>() / of.len() as f64;
        assert!((1.0 / (1.0 + (-logit).exp()) - f64::from(all.bag(bag)[1])).abs() < 1e-6);
    }
    // One by one, and within little memory, it is the same.
    let mut alone = fitted.model.clone().on(&device).unwrap();
    let mut tight = fitted.model.on(&device).unwrap().memory(20_000);
    for bag in [0, 8] {
        let one = alone.predict_some(&data, &[bag]).unwrap();
        assert_eq!(one.of_bags[0].values, middle.row(bag));
        assert_eq!(one.of_instances[0].values, share.values[data.rows(bag)]);
        let windows = tight.predict_some(&data, &[bag]).unwrap();
        assert!(windows.of_bags[0].values.iter().zip(middle.row(bag)).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_eq!(windows.of_instances[0].values.len(), one.of_instances[0].values.len());
    }
}

/// Features that another scanner moved a little, by which no value is far: bags are told of, and those as before are not.
#[test]
fn bags_of_moved_features_are_told_of() {
    let fit = |given: &Bags| {
        let method = bagrad::methods::Attention { embed: vec![4], ..Default::default() };
        bagrad::Trainer::new(method).epochs(1).device(&Device::host()).fit(given).unwrap().model
    };
    let training = bags(40, 1);
    let model = fit(&training);
    assert_eq!(model.distances.as_ref().unwrap().bags[0], 40.0);
    let moved = |by: f32| {
        let mut given = bags(30, 9);
        let (width, std) = (given.width, &model.statistics().unwrap().std);
        let values = given.features.to_f32().into_iter().enumerate().map(|(at, v)| v + by * std[at % width]).collect();
        given.features = Features::F32(values);
        given
    };
    let same = model.look(&moved(0.0)).unwrap();
    assert!(!same.far_bags.as_ref().unwrap().is_remarkable(), "{}", same.far_bags.unwrap());
    assert_eq!(same.distances.len(), 30);
    let other = model.look(&moved(1.5)).unwrap();
    assert!(!other.far.unwrap().is_remarkable(), "no value is far");
    assert!(other.far_bags.as_ref().unwrap().is_remarkable(), "{}", other.far_bags.unwrap());
    assert!(other.distances.iter().zip(&same.distances).all(|(other, same)| other.value > same.value));

    // An ensemble has the mean, and none where a member has none.
    let second = fit(&bags(24, 2));
    let alone = second.look(&moved(0.0)).unwrap();
    let both = |models: [Model; 2]| {
        let members = models.into_iter().enumerate().map(|(at, model)| bagrad::Member::new(format!("{at}"), model));
        bagrad::Ensemble::new(members.collect()).unwrap().look(&moved(0.0)).unwrap()
    };
    let found = both([model.clone(), second.clone()]);
    for ((mean, a), b) in found.distances.iter().zip(&same.distances).zip(&alone.distances) {
        assert!((mean.value - (a.value + b.value) / 2.0).abs() < 1e-12);
    }
    assert_eq!(found.far_bags.unwrap().training, 24.0);
    let mut older = second;
    older.distances = None;
    let found = both([model.clone(), older]);
    assert!(found.distances.is_empty() && found.far_bags.is_none());
}
