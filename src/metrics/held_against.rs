//! Metrics beside what other programs say of the same numbers (`tools/make_fixtures_metrics.py`): scikit-learn, SciPy, NumPy.

use super::*;
use crate::label_sets::LabelSets;
use serde_json::Value;
use std::convert::Infallible;

fn file() -> Value {
    serde_json::from_str(include_str!("../../tests/metrics/sklearn.json")).unwrap()
}

fn list(of: &Value) -> &[Value] {
    of.as_array().unwrap()
}

fn floats(of: &Value) -> Vec<f32> {
    list(of).iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn flags(of: &Value) -> Vec<bool> {
    list(of).iter().map(|v| v.as_f64() == Some(1.0)).collect()
}

/// Both are undefined, or close.
#[track_caller]
fn close(what: &str, found: Option<f64>, wanted: &Value) {
    let close = found.zip(wanted.as_f64()).map_or(found.is_none() && wanted.is_null(), |(a, b)| (a - b).abs() < 1e-9);
    assert!(close, "{what}: {found:?}, {wanted:?}");
}

#[test]
fn classes_by_themselves() {
    let file = file();
    let mut curves = 0;
    for (n, case) in list(&file["cases"]).iter().enumerate() {
        let (classes, p) = (case["classes"].as_u64().unwrap() as usize, floats(&case["probabilities"]));
        let (labels, wanted) = (floats(&case["labels"]), &case["scores"]);
        let labels: Vec<u32> = labels.iter().map(|label| *label as u32).collect();
        let confusion = Confusion::new(&predictions(&p, classes), &labels, classes).unwrap();
        for class in 0..classes {
            let of = |name: &str| format!("case {n}, {name} of {class}");
            close(&of("precision"), confusion.precision(class), &wanted["precision"][class]);
            close(&of("recall"), confusion.recall(class), &wanted["recall"][class]);
            close(&of("f1"), confusion.f1(class), &wanted["f1_of_classes"][class]);
        }
        for (outputs, name) in [(classes, "independent_log_loss"), (classes - 1, "independent_log_loss_without_first")]
        {
            close(&format!("case {n}, {name}"), independent_log_loss(&p, classes, outputs, &labels), &wanted[name]);
        }
        if let Some(corners) = wanted["roc"].as_array() {
            let scores: Vec<f32> = p.chunks(2).map(|row| row[1]).collect();
            let positive: Vec<bool> = labels.iter().map(|label| *label == 1).collect();
            let found = roc_curve(&scores, &positive).unwrap();
            assert_eq!(found.len(), corners.len(), "case {n}");
            for (found, wanted) in found.iter().zip(corners) {
                close("false positive rate", Some(found.0), &wanted[0]);
                close("true positive rate", Some(found.1), &wanted[1]);
            }
            curves += 1;
        }
    }
    assert!(curves >= 4);
}

#[test]
fn several_labels() {
    let file = file();
    for (n, case) in list(&file["label_sets"]).iter().enumerate() {
        let has = list(&case["has"]).iter().map(|has| Some(has.as_i64()? == 1).filter(|_| has.as_i64() != Some(-1)));
        let each = list(&case["labels"]);
        let sets = LabelSets::new(each.len(), has.collect()).unwrap();
        let names: Vec<String> = (0..each.len()).map(|label| label.to_string()).collect();
        let found = LabelSetScores::new(&floats(&case["probabilities"]), &sets, &names).unwrap();
        for (name, found) in [
            ("auc", found.auc),
            ("average_precision", found.average_precision),
            ("f1", found.f1),
            ("hamming_loss", found.hamming_loss),
            ("subset_accuracy", found.subset_accuracy),
            ("log_loss", found.log_loss),
        ] {
            close(&format!("case {n}, {name}"), found, &case[name]);
        }
        for (found, wanted) in found.labels.iter().zip(each) {
            assert_eq!(Some(found.bags as u64), wanted["bags"].as_u64());
            for (name, found) in [
                ("prevalence", found.prevalence),
                ("auc", found.auc),
                ("average_precision", found.average_precision),
                ("f1", found.f1),
            ] {
                close(&format!("case {n}, {name} of a label"), found, &wanted[name]);
            }
        }
    }
}

#[test]
fn instances_and_their_order() {
    let file = file();
    for case in list(&file["instances"]) {
        let offsets: Vec<usize> = floats(&case["offsets"]).iter().map(|of| *of as usize).collect();
        let found = instance_auc(&floats(&case["scores"]), &flags(&case["key"]), &offsets);
        close("pooled", found.pooled, &case["pooled"]);
        close("per bag", found.per_bag, &case["per_bag"]);
        assert_eq!(Some(found.bags as u64), case["bags"].as_u64());
    }
    for case in list(&file["orders"]) {
        let scores = floats(&case["scores"]);
        close("NDCG", ndcg(&scores, &flags(&case["key"])), &case["ndcg"]);
        let weights: Vec<f64> = list(&case["weights"]).iter().map(|v| v.as_f64().unwrap()).collect();
        let logit = |left: &[usize]| Ok::<_, Infallible>(left.iter().map(|&row| weights[row]).product());
        close("AOPC", aopc(&descending(&scores), logit).ok(), &case["aopc"]);
    }
}

#[test]
fn intervals() {
    let file = file();
    for share in list(&file["shares"]) {
        let [found, of] = [0, 1].map(|at| share[at].as_f64().unwrap());
        let interval = share_interval(found, of as usize).unwrap();
        [0, 1].iter().for_each(|&end| close(&format!("{found} of {of}"), Some(interval[end]), &share[2 + end]));
    }
    for case in list(&file["samples"]) {
        let of = |name: &str| list(&case[name]).iter().map(Value::as_f64).collect::<Vec<_>>();
        let (a, b) = (of("a"), of("b"));
        let (alone, apart) = (interval(&a).unwrap(), difference(&a, &b).unwrap());
        for end in [0, 1] {
            close("percentile", Some(alone[end]), &case["interval"][end]);
            close("percentile of the difference", Some(apart.interval[end]), &case["difference"][end]);
        }
        close("p", Some(apart.p), &case["p"]);
    }
}
