//! Bags with several labels each: the loss and its gradients, against the formula and finite differences in f64.

use super::*;
use crate::methods::Method;
use crate::model::Spec;
use crate::random::Random;
use crate::{Features, LabelSets};

const YES: Option<bool> = Some(true);
const NO: Option<bool> = Some(false);
const LABELS: usize = 3;

/// Bags with none of the labels, all of them, some, and some that nobody knows.
fn bags() -> Bags {
    let sizes = [3, 1, 70, 4];
    let mut random = Random::new(8, 0);
    let features = (0..sizes.iter().sum::<usize>() * 5).map(|_| random.normal() as f32).collect();
    let sets = [[NO; 3], [YES; 3], [YES, NO, YES], [None, YES, None]].concat();
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let bags = Bags::packed(Features::F32(features), 5, &sizes).unwrap();
    bags.with_label_sets(LabelSets::new(LABELS, sets).unwrap(), names).unwrap()
}

fn model(bags: &Bags) -> Model {
    let settings = serde_json::json!({ "embed": [6], "query": 4 });
    let method = Method::named("dsmil").unwrap().with(settings.as_object().unwrap()).unwrap();
    Model::new(Spec::of(method, bags), 3).unwrap()
}

/// A weight for each label of each bag.
fn weights(bags: &Bags) -> Vec<f32> {
    (0..bags.len() * LABELS).map(|i| 0.1 + (i * 7 % 5) as f32 / 8.0).collect()
}

/// Binary cross-entropy with independent sigmoids, mean over all labels, of the streams' logits; half of each stream.
fn formula(found: &Gradients, bags: &Bags, weights: &[f32]) -> f64 {
    let (logits, scores) = (&found.outputs["bag_logits"].values, &found.outputs["scores"].values);
    let mut loss = 0.0;
    for bag in 0..bags.len() {
        for label in 0..LABELS {
            let Some(has) = bags.label_sets.as_ref().unwrap().bag(bag)[label] else { continue };
            let largest = bags.rows(bag).map(|row| scores[row * LABELS + label]).fold(f64::NEG_INFINITY, f64::max);
            // The logit of the bag is the mean of both streams'.
            let attended = 2.0 * logits[bag * LABELS + label] - largest;
            for logit in [largest, attended] {
                let p = 1.0 / (1.0 + (-logit).exp());
                let entropy = if has { -p.ln() } else { -(1.0 - p).ln() };
                loss += 0.5 * f64::from(weights[bag * LABELS + label]) * entropy / LABELS as f64;
            }
        }
    }
    loss
}

#[test]
fn the_loss_is_the_mean_of_the_known_labels() {
    let bags = bags();
    let weights = weights(&bags);
    let mut oracle = Session::new(&Device::oracle(), model(&bags), Storage::F32).unwrap();
    let found = oracle.gradients(&bags, Some(&weights)).unwrap();
    let wanted = formula(&found, &bags, &weights);
    assert!((found.loss - wanted).abs() < 1e-12, "{} {wanted}", found.loss);
    // One weight a bag counts for all of its labels.
    let of_bags = [0.5f32, 0.25, 0.125, 1.0];
    let found = oracle.gradients(&bags, Some(&of_bags)).unwrap();
    let each: Vec<f32> = of_bags.iter().flat_map(|w| [*w; LABELS]).collect();
    assert!((found.loss - formula(&found, &bags, &each)).abs() < 1e-12);
    // In windows of rows, in f32, and on the host the same.
    for limit in [None, Some(2 << 10)] {
        let mut session = Session::new(&Device::host(), model(&bags), Storage::F32).unwrap();
        session.limit_bindings(limit);
        let found = session.gradients(&bags, Some(&weights)).unwrap();
        assert!((found.loss - wanted).abs() < 1e-5 * wanted, "{limit:?}: {} {wanted}", found.loss);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let all = bags();
    // Each kind of bag by itself, and together.
    for of in [vec![0], vec![1], vec![2], vec![3], vec![0, 1, 2, 3]] {
        let bags = all.select(&of).unwrap();
        let weights = weights(&bags);
        let mut session = Session::new(&Device::oracle(), model(&bags), Storage::F32).unwrap();
        let gradients = session.gradients(&bags, Some(&weights)).unwrap();
        let mut random = Random::new(2, of.len() as u64);
        for (name, gradient) in &gradients.parameters {
            let start = session.model().unwrap().parameter(name).unwrap().to_vec();
            // Steps that are exact in f32, over numbers that are on their grid.
            let start: Vec<f32> = start.iter().map(|v| (v * 65536.0).round() / 65536.0).collect();
            session.set_parameter(name, &start).unwrap();
            let gradient_here = session.gradients(&bags, Some(&weights)).unwrap().parameters[name].values.clone();
            let direction: Vec<f32> = start.iter().map(|_| if random.u32() & 1 == 0 { 1.0 } else { -1.0 }).collect();
            let h = 2f32.powi(-16);
            let mut at = |step: f32| {
                let moved: Vec<f32> = start.iter().zip(&direction).map(|(v, d)| v + step * d).collect();
                session.set_parameter(name, &moved).unwrap();
                session.gradients(&bags, Some(&weights)).unwrap().loss
            };
            let slope = (at(h) - at(-h)) / (2.0 * f64::from(h));
            let along: f64 = gradient_here.iter().zip(&direction).map(|(g, d)| g * f64::from(*d)).sum();
            let size = gradient_here.iter().map(|g| g.abs()).sum::<f64>().max(1e-3);
            assert!((slope - along).abs() < 1e-6 * size, "{of:?} {name}: {slope} {along}");
            assert_eq!(gradient.values.len(), start.len());
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let bags = bags();
    let mut session = Session::new(&Device::host(), model(&bags), Storage::F32).unwrap();
    let said = |result: Result<Gradients>| result.unwrap_err().to_string();
    assert!(said(session.gradients(&bags, Some(&[1.0; 5]))).contains("or for each of their 3 labels, found 5"));
    assert!(said(session.gradients(&bags, Some(&[f32::NAN; 12]))).contains("weight of bag 0 is NaN"));
    let mut single = bags.clone();
    (single.label_sets, single.labels) = (None, Some(vec![0, 1, 2, 0]));
    assert!(said(session.gradients(&single, None)).contains("these bags have one class each ('a', 'b', 'c')"));
    single.labels = None;
    assert!(said(session.gradients(&single, None)).contains("a label for every bag"));
    session.outputs(&single, &[0, 1], None).unwrap();
    let mut unknown = bags.clone();
    unknown.label_sets = Some(LabelSets::new(3, vec![None; 12]).unwrap());
    assert!(said(session.gradients(&unknown, None)).contains("bag 0 has no label"));
    let mut fewer = bags.clone();
    fewer.label_sets = Some(LabelSets::new(2, vec![YES; 8]).unwrap());
    assert!(said(session.gradients(&fewer, None)).contains("sets of 2 labels, the model has 3"));
    let method = Method::named("dsmil").unwrap();
    let mut other =
        Session::new(&Device::host(), Model::new(Spec::new(method, 5, 3), 1).unwrap(), Storage::F32).unwrap();
    assert!(said(other.gradients(&bags, None)).contains("these bags have any number of labels each"));
}

#[test]
fn methods_say_whether_they_take_label_sets() {
    let bags = bags();
    for method in Method::all() {
        let made = Model::new(Spec::of(method.clone(), &bags), 1);
        match method.takes_label_sets() {
            true => assert!(made.unwrap().spec().target.is_label_sets()),
            false => {
                let message = made.unwrap_err().to_string();
                let (_, able) = message.split_once("methods for those: ").expect("a list");
                assert!(message.contains(method.name()) && able.contains("dsmil"), "{message}");
            }
        }
    }
    let settings = serde_json::json!({ "negative": true });
    let negative = Method::named("dsmil").unwrap().with(settings.as_object().unwrap()).unwrap();
    let message = Model::new(Spec::of(negative, &bags), 1).unwrap_err().to_string();
    assert!(message.contains("with these settings (negative)"), "{message}");
}

/// Two labels are two logits, not one of two classes; the file says so.
#[test]
fn the_model_file_keeps_the_kind() {
    let bags = bags();
    let two = bags.clone().with_label_sets(LabelSets::new(2, vec![YES; 8]).unwrap(), vec!["a".into(), "b".into()]);
    let model = Model::new(Spec::of(Method::named("dsmil").unwrap(), &two.unwrap()), 1).unwrap();
    assert_eq!(model.parameter("score.weight").unwrap().len(), 2 * 5);
    let again = Model::from_bytes(&model.to_bytes()).unwrap();
    assert_eq!((again.spec(), &again.values), (model.spec(), &model.values));
    // A reader that knows one class a bag alone must not take it for that.
    let text = String::from_utf8_lossy(&model.to_bytes()).into_owned();
    assert!(text.contains(r#"\"format_version\":2"#) && text.contains(r#"\"multi_label\":true"#), "no version 2");
    let single = Model::new(Spec::new(Method::named("dsmil").unwrap(), 5, 2), 1).unwrap();
    assert!(String::from_utf8_lossy(&single.to_bytes()).contains(r#"\"format_version\":1"#));
}
