//! Bags with several labels each, from labels.npy to predictions, metrics and page (run by `tests/cli.rs`).

use crate::{bagrad, floats, good, integers, json, metrics, npy, refused, text};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const BAGS: usize = 80;
const SIZE: usize = 4;

fn labels(path: &Path, rows: &[[f32; 2]]) {
    let data: Vec<u8> = rows.as_flattened().iter().flat_map(|v| v.to_le_bytes()).collect();
    npy(&path.join("labels.npy"), "<f4", &format!("({}, 2)", rows.len()), &data);
}

/// Whether bag `bag` has oedema and a nodule: every one of the four subsets comes as often.
fn truth(bag: usize) -> [f32; 2] {
    [(bag % 2) as f32, (bag / 2 % 2) as f32]
}

/// An instance with a large first feature makes oedema, one with a large second feature a nodule.
pub(crate) fn folder(at: &Path, name: &str) -> PathBuf {
    let path = at.join(name);
    fs::create_dir(&path).unwrap();
    let mut state = 5u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as f32 / 65_536.0 - 0.5
    };
    let mut features = Vec::new();
    for row in 0..BAGS * SIZE {
        let has = truth(row / SIZE);
        let shows = [row % SIZE == 1 && has[0] == 1.0, row % SIZE == 2 && has[1] == 1.0, false];
        features.extend(shows.map(|shows| noise() + if shows { 3.0 } else { 0.0 }));
    }
    floats(&path.join("features.npy"), 3, &features);
    integers(&path.join("bag_ids.npy"), &(0..BAGS * SIZE).map(|row| (row / SIZE) as i32).collect::<Vec<_>>());
    labels(&path, &(0..BAGS).map(truth).collect::<Vec<_>>());
    fs::write(path.join("class_names.txt"), "oedema\nnodule\n").unwrap();
    path
}

const DSMIL: [&str; 8] = ["--method", "dsmil", "--set", "query=8", "--lr", "0.01", "--epochs", "25"];

fn train<'a>(data: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--data", data, "--out", out], &DSMIL[..], more].concat()
}

#[test]
fn several_labels_go_from_data_to_predictions() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    // Of one bag nothing is known, of another one label.
    let mut rows: Vec<[f32; 2]> = (0..BAGS).map(truth).collect();
    (rows[10], rows[21]) = ([f32::NAN; 2], [f32::NAN, 0.0]);
    labels(&data, &rows);
    let (run, again) = (dir.path().join("run"), dir.path().join("again"));
    let more = ["--validation", "0.25", "--monitor", "auc", "--class-weights", "balanced", "--seed", "3", "--json"];
    let out = bagrad(&train(text(&data), text(&run), &more));
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && told.contains("3 of 160 labels of bags are not known"), "{told}");
    let result: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&result["positive"], &result["test_bags"]), (&Value::Null, &16.into()));
    for label in ["oedema", "nodule"] {
        let of = &result["test_labels"][label];
        assert!(of["auc"].as_f64().unwrap() > 0.9 && of["average_precision"].as_f64().unwrap() > 0.9, "{result}");
        assert!(of["f1"].is_f64() && of["prevalence"].is_f64() && of["bags"].is_u64(), "{result}");
    }
    for key in ["test_auc", "test_average_precision", "test_f1", "test_subset_accuracy", "test_hamming_loss"] {
        assert!(result[key].is_f64(), "{key} in {result}");
    }
    let lines = metrics(&run);
    assert!(lines[0]["validation"]["auc"].is_f64() && lines[0]["validation"]["labels"]["nodule"]["auc"].is_f64());

    let table = fs::read_to_string(run.join("predictions.csv")).unwrap();
    let head = "bag,split,label(oedema),label(nodule),predicted(oedema),predicted(nodule),p(oedema),p(nodule)\n";
    assert!(table.starts_with(head), "{table}");
    let row = |bag: usize| table.lines().nth(bag + 1).unwrap();
    assert!(row(10).starts_with("10,unlabelled,,,"), "{}", row(10));
    assert!(row(21).contains(",,0,"), "{}", row(21));
    assert!(row(3).contains(",1,1,"), "{}", row(3));
    // Each label looks at instances of its own; what stands without a label is of the most likely one.
    let table = fs::read_to_string(run.join("attention.csv")).unwrap();
    let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let of_labels = ["score(oedema)", "score(nodule)", "attention(oedema)", "attention(nodule)"];
    assert_eq!(lines.next().unwrap()[..8], [&["bag", "instance", "score", "attention"][..], &of_labels].concat());
    let cells: Vec<Vec<f64>> = lines.map(|cells| cells.iter().map(|c| c.parse().unwrap()).collect()).collect();
    for bag in 0..BAGS {
        let rows = || cells.iter().filter(|cells| cells[0] == bag as f64);
        for label in 0..2 {
            let sum: f64 = rows().map(|cells| cells[6 + label]).sum();
            assert!((sum - 1.0).abs() < 1e-5, "bag {bag}, label {label}: {sum}");
        }
        let of = |label: usize| rows().all(|cells| (cells[2], cells[3]) == (cells[4 + label], cells[6 + label]));
        assert!(of(0) || of(1), "bag {bag}");
        if truth(bag) == [1.0, 1.0] {
            let highest = |column: usize| rows().max_by(|a, b| a[column].total_cmp(&b[column])).unwrap()[1];
            assert_eq!([4, 5].map(highest), [1.0, 2.0], "bag {bag}");
            assert!(rows().any(|cells| cells[6] != cells[7]), "bag {bag}");
        }
    }
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    for part in ["Labels of the test bags</h2>", ">nodule</th>", "Hamming loss", "oedema, nodule"] {
        assert!(page.contains(part), "{part}");
    }
    let shown = good(&train(text(&data), text(&dir.path().join("shown")), &more[..8]));
    assert!(shown.contains("AUC (mean of 2 labels)") && shown.contains("prevalence"), "{shown}");

    // The configuration repeats the run, bit for bit.
    good(&["train", "--config", text(&run.join("config.toml")), "--out", text(&again)]);
    assert_eq!(metrics(&run), metrics(&again));
    for same in ["config.toml", "predictions.csv", "attention.csv", "model.safetensors"] {
        assert!(fs::read(run.join(same)).unwrap() == fs::read(again.join(same)).unwrap(), "{same}");
    }

    // Labels are matched by name, whatever their order.
    let predict = ["predict", "--model", text(&run), "--data", text(&data), "--json"];
    let first = json(&predict);
    assert_eq!((&first["classes"], &first["positive"]), (&json!(["oedema", "nodule"]), &Value::Null));
    assert_eq!(first["predictions"][21]["labels"], json!({ "oedema": null, "nodule": false }));
    assert_eq!(first["predictions"][3]["predicted"], json!(["oedema", "nodule"]));
    let swapped: Vec<[f32; 2]> = rows.iter().map(|[a, b]| [*b, *a]).collect();
    labels(&data, &swapped);
    fs::write(data.join("class_names.txt"), "Nodule\noedema\n").unwrap();
    let again = json(&predict);
    assert_eq!((&again["labels"], &again["predictions"]), (&first["labels"], &first["predictions"]));
    // A table of ours is replaced when that is asked for.
    let file = dir.path().join("new.csv");
    for force in [&[][..], &["--force"]] {
        good(&[&predict[..5], &["--out", text(&file)], force].concat());
    }
    fs::write(data.join("class_names.txt"), "lump\noedema\n").unwrap();
    assert!(refused(&predict).contains("does not know 'lump'"));
    let mapped = json(&[&predict[..], &["--classes", "lump=nodule"]].concat());
    assert_eq!(mapped["predictions"], first["predictions"]);
    fs::remove_file(data.join("labels.npy")).unwrap();
    let bare = json(&predict);
    assert_eq!((bare.get("auc"), &bare["predictions"][0]["labels"]), (None, &Value::Null));
    assert_eq!(bare["predictions"][0]["probabilities"], first["predictions"][0]["probabilities"]);
}

#[test]
fn what_does_not_go_with_several_labels_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let (run, single) = (dir.path().join("run"), dir.path().join("single"));
    let with = |more: &[&str]| refused(&[&["train", "--data", text(&data), "--epochs", "1"], more].concat());
    let message = with(&["--method", "attention"]);
    assert!(message.contains("attention is for bags of exactly one class") && message.contains("dsmil"), "{message}");
    assert!(with(&["--method", "dsmil", "--positive", "oedema"]).contains("any number of labels each"));
    assert!(with(&["--method", "dsmil", "--monitor", "balanced_accuracy"]).contains("of other bags"));
    assert!(with(&["--method", "dsmil", "--class-weights", "1,2,3"]).contains("expected 2 numbers"));
    let mut none: Vec<[f32; 2]> = (0..BAGS).map(|bag| [truth(bag)[0], 0.0]).collect();
    labels(&data, &none);
    assert!(with(&["--method", "dsmil"]).contains("label 'nodule': 0 of the 64 training bags"));
    // The validation bags have neither label, or all have both.
    none = (0..BAGS).map(truth).collect();
    let parts: Vec<i32> = (0..BAGS).map(|bag| if bag % 4 == 0 { 2 } else { 0 }).collect();
    labels(&data, &none);
    integers(&data.join("split.npy"), &parts);
    let message = with(&["--method", "dsmil", "--monitor", "auc"]);
    assert!(message.contains("auc is not defined on the 20 validation bags"), "{message}");
    fs::remove_file(data.join("split.npy")).unwrap();

    // One kind of labels for a model of the other.
    good(&train(text(&data), text(&run), &["--quiet"]));
    fs::write(data.join("class_names.txt"), "well\nsick\n").unwrap();
    integers(&data.join("labels.npy"), &(0..BAGS).map(|bag| bag as i32 % 2).collect::<Vec<_>>());
    good(&train(text(&data), text(&single), &["--quiet"]));
    let predict = |model: &Path| refused(&["predict", "--model", text(model), "--data", text(&data)]);
    let message = predict(&run);
    assert!(message.contains("one class each ('well', 'sick')") && message.contains("'oedema', 'nodule'"), "{message}");
    labels(&data, &none);
    let message = predict(&single);
    assert!(
        message.contains("any number of labels each") && message.contains("exactly one ('well', 'sick')"),
        "{message}"
    );
}
