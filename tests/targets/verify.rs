//! Runs and studies that are done once more.

use super::targets::{table, without};
use super::{bagrad, folder, good, json, names, refused, text, train};
use std::fs;

#[test]
fn a_run_is_done_again_and_what_differs_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let (run, other) = (dir.path().join("run"), dir.path().join("other"));
    good(&train(text(&data), text(&run), &["--validation", "0.25", "--seed", "3", "--quiet"]));
    good(&train(text(&data), text(&other), &["--validation", "0.25", "--seed", "4", "--split-seed", "3", "--quiet"]));
    let before = names(&run);
    let told = good(&["verify", text(&run), "--quiet"]);
    assert!(
        ["bags", "division", "model, ", "predictions.csv", "attention.csv"].iter().all(|what| told.contains(what)),
        "{told}"
    );
    assert!(!told.contains("differs") && names(&run) == before, "{told}");
    let found = json(&["verify", text(&run), "--json", "--quiet"]);
    assert_eq!(
        (found["same"].as_bool(), found["confirmed"].as_array().map(Vec::len)),
        (Some(true), Some(5)),
        "{found}"
    );

    // Another model in its place, of the same division.
    let model = run.join("model.safetensors");
    let kept = fs::read(&model).unwrap();
    fs::copy(other.join("model.safetensors"), &model).unwrap();
    let out = bagrad(&["verify", text(&run), "--json", "--quiet"]);
    assert_eq!(out.status.code(), Some(1));
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let all: Vec<&str> = found["differences"].as_array().unwrap().iter().map(|of| of.as_str().unwrap()).collect();
    assert!(
        all.iter().all(|of| of.starts_with("model, ")) && all.iter().any(|of| of.contains("32 of 32 values, by ")),
        "{all:?}"
    );
    fs::write(&model, kept).unwrap();

    // A prediction was changed.
    let predictions = run.join("predictions.csv");
    let lines = fs::read_to_string(&predictions).unwrap();
    fs::write(&predictions, lines.replacen("0.", "1.", 1)).unwrap();
    let out = bagrad(&["verify", text(&run), "--quiet"]);
    let told = String::from_utf8(out.stdout).unwrap();
    assert!(
        told.contains("differs:\n  predictions.csv: line 2 is another\n") && out.status.code() == Some(1),
        "{told}"
    );
    fs::write(&predictions, lines).unwrap();

    // Other labels: nothing is trained.
    let labels = data.join("labels.npy");
    let mut bytes = fs::read(&labels).unwrap();
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    fs::write(&labels, bytes).unwrap();
    let out = bagrad(&["verify", text(&run), "--quiet"]);
    let told = String::from_utf8(out.stdout).unwrap();
    assert!(told.contains("bags: other labels") && !told.contains("model"), "{told}");
    // Without what tells of the bags, what came of them does.
    fs::remove_file(run.join("provenance.json")).unwrap();
    let out = bagrad(&["verify", text(&run)]);
    assert!(String::from_utf8(out.stderr).unwrap().contains("whether the bags are the same is not known"));
    assert_eq!(out.status.code(), Some(1));

    assert!(refused(&["verify", text(&run), "--fits", "3"]).contains("--fits is of a study"));
    assert!(refused(&["verify", text(&data)]).contains("config.toml"));
}

#[test]
fn fits_of_a_study_are_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = without(&table(dir.path()), &[2, 3]);
    let out = dir.path().join("study");
    let method = "gated-attention,embed=[8],attention=4,dropout=0";
    let args =
        ["cross-validate", "--method", method, "--target", "cox", "--epochs", "3", "--folds", "3", "--seeds", "2"];
    good(&[&args[..], &["--data", text(&data), "--out", text(&out), "--device", "host", "--quiet"]].concat());
    let found = json(&["verify", text(&out), "--json", "--quiet"]);
    assert!(found["same"] == true && found["confirmed"][0].as_str().unwrap().starts_with("24 fits"), "{found}");
    // Of four methods in three folds, four cells.
    let found = json(&["verify", text(&out), "--fits", "4", "--json", "--quiet"]);
    assert!(found["confirmed"][0].as_str().unwrap().starts_with("8 fits"), "{found}");

    let runs = out.join("runs.jsonl");
    let lines = fs::read_to_string(&runs).unwrap();
    let changed = lines.replacen("\"c_index\":", "\"c_index\":1", 1);
    assert_ne!(changed, lines);
    fs::write(&runs, changed).unwrap();
    let told = bagrad(&["verify", text(&out), "--quiet"]);
    let said = String::from_utf8(told.stdout).unwrap();
    assert!(said.contains("23 fits") && said.contains("c_index is ") && told.status.code() == Some(1), "{said}");
    // Fits of another version are none that can be compared.
    fs::write(&runs, lines.replace("\"version\":\"", "\"version\":\"9")).unwrap();
    assert!(refused(&["verify", text(&out), "--quiet"]).contains("none of its fits is of these bags"));
}
