//! Studies of what is no class: survival, numbers, several labels a bag.

use super::targets::{table, without};
use super::{good, json, label_sets, refused, text};
use std::fs;
use std::path::Path;

const STUDY: &str = "--folds 3 --seeds 2 --epochs 30 --lr 0.02 --device host --json --quiet --data";
const ATTENTION: &str = "gated-attention,embed=[8],attention=4,dropout=0";

fn study(data: &Path, out: &Path, more: &[&str]) -> serde_json::Value {
    let of = STUDY.split_whitespace().collect::<Vec<_>>();
    json(&[&["cross-validate"], &of[..], &[text(data), "--out", text(out)], more].concat())
}

fn method<'a>(found: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let all = found["methods"].as_array().unwrap();
    all.iter().find(|row| row["name"].as_str().unwrap().contains(name)).unwrap_or_else(|| panic!("{name} in {found}"))
}

#[test]
fn survival_is_judged_within_folds() {
    let dir = tempfile::tempdir().unwrap();
    let data = without(&table(dir.path()), &[2, 3]);
    let out = dir.path().join("cox");
    let found = study(&data, &out, &["--target", "cox", "--method", ATTENTION]);
    assert_eq!((found["bags_have"].as_str(), found["judged_by"].as_str()), (Some("survival"), Some("c_index")));
    // One bag has no event or time that is known.
    assert_eq!((found["bags"].as_u64(), &found["tested"][0]["what"]), (Some(59), &"bags without an event".into()));
    let (row, nothing) = (method(&found, "gated-attention"), method(&found, "all alike"));
    let value = row["value"].as_f64().unwrap();
    let [low, high] = [0, 1].map(|end| row["interval"][end].as_f64().unwrap());
    assert!(value > 0.85 && low < value && value < high, "{row}");
    assert_eq!((nothing["value"].as_f64(), nothing["interval"][0].as_f64()), (Some(0.5), Some(0.5)));
    assert!(
        row["against"].as_array().unwrap().iter().any(|of| of["baseline"] == nothing["name"] && of["beats"] == true)
    );
    let halves = &row["halves"];
    let sum = |name: &str| halves[name][0].as_u64().unwrap() + halves[name][1].as_u64().unwrap();
    assert_eq!((sum("bags"), sum("events")), (59, 44));
    assert!(halves["p"].as_f64().unwrap() < 0.01 && halves["curves"][1].as_array().unwrap().len() > 3, "{halves}");
    let scores: Vec<&str> = row["folds"].as_array().unwrap().iter().map(|of| of["metric"].as_str().unwrap()).collect();
    assert!(scores.contains(&"c_index") && scores.contains(&"c_index_uno") && !scores.contains(&"auc"), "{scores:?}");

    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let lines = read("predictions.csv");
    assert!(lines.starts_with("bag,method,division,fold,seed,time,event,risk\n"), "{lines}");
    assert_eq!(lines.lines().count(), 1 + 59 * 4 * 2);
    let line = format!("\"{ATTENTION}\",false,c_index_all_folds,{value}");
    assert!(read("results.csv").contains(&line), "{line} is not in:\n{}", read("results.csv"));
    assert!(read("results.md").contains("log-rank") && read("results.tex").contains("C-index"));
    assert!(read("results.html").contains("higher risk") && read("model-card.md").contains("44 events, 15 censored"));
    // Its file has the target, and the fits are there.
    let again =
        good(&["cross-validate", "--study", text(&out.join("study.toml")), "--out", text(&out), "--device", "host"]);
    assert!(again.contains("C-index, all folds"), "{again}");
    assert_eq!(read("runs.jsonl").lines().count(), 4 * 3 * 2);
    assert_eq!(read("predictions.csv"), lines);

    // In intervals of time, whose edges each fit has by its own training bags.
    let hazards = dir.path().join("hazards");
    let found = study(&data, &hazards, &["--target", "hazards:3", "--method", ATTENTION]);
    assert!(method(&found, "gated")["value"].as_f64().unwrap() > 0.8, "{found}");
    // Their probabilities are better than the Kaplan-Meier curve of the other bags, which is there for each fit too.
    let brier = |name: &str| {
        let row = method(&found, name);
        let of = row["folds"].as_array().unwrap().iter().find(|of| of["metric"] == "integrated_brier").unwrap().clone();
        assert_eq!(of["fits"], 6, "{row}");
        of["mean"].as_f64().unwrap()
    };
    let [told, nothing] = ["gated", "all alike"].map(brier);
    assert!(told > 0.0 && told < nothing - 0.02 && nothing < 0.25, "{told} {nothing}");
    let page = |out: &Path| fs::read_to_string(out.join("results.md")).unwrap();
    assert!(page(&hazards).contains("| integrated brier |") && page(&hazards).contains("of which smaller is better"));
    assert!(!page(&out).contains("integrated brier"), "log-risks are no probabilities");
    // More intervals than a fold has times of events are refused before anything runs.
    let wrong = ["cross-validate", "--target", "hazards:60", "--method", "attention", "--data", text(&data)];
    let message = refused(&[&wrong[..], &["--out", text(&dir.path().join("none"))]].concat());
    assert!(message.contains("division 0, fold 0") && message.contains("no 60 intervals"), "{message}");
}

#[test]
fn numbers_are_judged_by_what_is_told_of_their_variance() {
    let dir = tempfile::tempdir().unwrap();
    let data = without(&table(dir.path()), &[2, 4, 5]);
    let out = dir.path().join("ages");
    let search = "gated-attention,embed=[8],attention=4,dropout=0: lr=[1e-5,0.02]";
    let target = ["--target", "squared", "--label-column", "age"];
    let found = study(&data, &out, &[&target[..], &["--search", search]].concat());
    assert_eq!((found["judged_by"].as_str(), found["majority"].is_null()), (Some("r2"), true));
    let (row, mean) = (method(&found, "gated-attention"), method(&found, "mean number"));
    assert!(row["value"].as_f64().unwrap() > 0.7, "{row}");
    assert_eq!((&row["search"]["metric"], row["search"]["candidates"][1]["chosen"].as_u64()), (&"r2".into(), Some(6)));
    // The mean of other bags tells a little less than nothing.
    let nothing = mean["value"].as_f64().unwrap();
    assert!(nothing <= 0.0 && nothing > -0.1, "{mean}");
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    assert!(read("predictions.csv").starts_with("bag,method,division,fold,seed,number,predicted\n"));
    assert!(read("results.md").contains("| method | R², all folds |") && read("results.tex").contains("R$^2$"));
    assert!(read("model-card.md").contains("A number each, from 50 to 69.7"), "{}", read("model-card.md"));
}

#[test]
fn several_labels_are_judged_by_their_mean() {
    let dir = tempfile::tempdir().unwrap();
    let data = label_sets::folder(dir.path(), "bags");
    let out = dir.path().join("out");
    let found = study(&data, &out, &["--method", "dsmil,query=8"]);
    assert_eq!((found["bags_have"].as_str(), found["judged_by"].as_str()), (Some("label-sets"), Some("auc")));
    let row = method(&found, "dsmil");
    assert!(row["value"].as_f64().unwrap() > 0.9, "{row}");
    assert_eq!(method(&found, "label shares")["value"].as_f64(), Some(0.5));
    let scores: Vec<&str> = row["folds"].as_array().unwrap().iter().map(|of| of["metric"].as_str().unwrap()).collect();
    assert!(["auc (oedema)", "auc (nodule)", "hamming_loss"].iter().all(|name| scores.contains(name)), "{scores:?}");
    let head = "bag,method,division,fold,seed,label(oedema),label(nodule),predicted(oedema),predicted(nodule),p(oedema),p(nodule)";
    let lines = fs::read_to_string(out.join("predictions.csv")).unwrap();
    assert!(lines.starts_with(head), "{lines}");
    assert_eq!(found["tested"][1]["what"], "nodule");
}
