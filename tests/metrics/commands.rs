//! What commands say of instances whose labels are known.

use super::{bagrad, folder, good, json, text, train};
use bagrad::metrics::{SlideDetections, froc};
use serde_json::Value;
use std::fs;

#[derive(Default)]
struct Slide {
    scores: Vec<f32>,
    key: Vec<bool>,
    places: Vec<[f32; 2]>,
}

#[test]
fn lesions_are_found_where_instances_have_places() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run, out) = (folder(dir.path(), "bags"), dir.path().join("run"), dir.path().join("said"));
    let trained = json(&train(text(&data), text(&run), &["--json"]));
    let said = json(&["predict", "--model", text(&run), "--data", text(&data), "--out", text(&out), "--json"]);

    // Once more from the table of instances: each bag is a line of tiles, of odd bags the third is key.
    let table = fs::read_to_string(out.join("attention.csv")).unwrap();
    let head: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let mut slides: Vec<Slide> = Vec::new();
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |name: &str| -> f32 { cells[head.iter().position(|of| *of == name).unwrap()].parse().unwrap() };
        if number("instance") == 0.0 {
            slides.push(Slide::default());
        }
        let bag = slides.len() - 1;
        let Slide { scores, key, places } = &mut slides[bag];
        key.push(bag % 2 == 1 && number("instance") == 2.0);
        scores.push(number("score"));
        places.push([number("x"), number("y")]);
    }
    let slides: Vec<SlideDetections> =
        slides.iter().map(|of| SlideDetections::of_tiles(&of.scores, &of.key, &of.places, None).unwrap()).collect();
    assert!(slides.iter().map(|slide| slide.detections.len()).sum::<usize>() > slides.len());
    let wanted = froc(&slides).unwrap();
    assert_eq!(
        (said["froc"].as_f64(), said["froc_lesions"].as_u64()),
        (Some(wanted.score), Some(wanted.lesions as u64))
    );
    let each: Vec<f64> = said["froc_sensitivities"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    assert_eq!(each, wanted.sensitivity);
    assert!(wanted.score > 0.9 && trained["froc"].as_f64().unwrap() > 0.9, "{wanted:?}");
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains(&format!("FROC, {} lesions", trained["froc_lesions"])));

    // A study has both of each fit, of methods that see instances.
    let study = dir.path().join("study");
    let method = "gated-attention,embed=[8],attention=8,epochs=15";
    let base = ["cross-validate", "--method", method, "--folds", "2", "--json", "--quiet", "--device", "host"];
    let found = json(&[&base[..], &["--data", text(&data), "--out", text(&study)]].concat());
    for row in found["methods"].as_array().unwrap() {
        let has = |name: &str| row["folds"].as_array().unwrap().iter().any(|of| of["metric"] == name);
        let sees = !["class shares", "mean features"].iter().any(|of| row["name"].as_str().unwrap().contains(of));
        assert_eq!([has("instance_auc"), has("froc")], [sees; 2], "{row}");
    }
    let page = fs::read_to_string(study.join("results.md")).unwrap();
    assert!(page.contains("| instance auc | froc |") && page.contains("8 false positives a slide"), "{page}");

    // Without places there are no lesions.
    fs::remove_file(data.join("coords.npy")).unwrap();
    let said = json(&["predict", "--model", text(&run), "--data", text(&data), "--json"]);
    assert!(said["instance_auc"].is_f64() && said.get("froc").is_none(), "{said}");
}

#[test]
fn the_instances_with_the_largest_scores_are_enough_and_needed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run, out) = (folder(dir.path(), "bags"), dir.path().join("run"), dir.path().join("said"));
    good(&train(text(&data), text(&run), &[]));
    let predict = ["predict", "--model", text(&run), "--data", text(&data)];
    let found = json(&[&predict[..], &["--top-shares", "--json", "--out", text(&out)]].concat());
    let parts = found["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 5 * 4);
    let of = |share: f64, first: &str, left: &str, name: &str| {
        let part = parts.iter().find(|of| of["share"] == share && of["first"] == first && of["left"] == left).unwrap();
        part[name].as_f64().unwrap_or_else(|| panic!("{name} in {part}"))
    };
    // One instance makes a bag positive: alone it says so, without it nothing does.
    assert!(found["auc"].as_f64().unwrap() > 0.95);
    assert!(of(0.25, "scored", "alone", "auc") > 0.95 && of(0.25, "scored", "without", "auc") < 0.8, "{parts:?}");
    assert!(of(0.25, "random", "without", "auc") > of(0.25, "scored", "without", "auc"));
    assert!(of(0.25, "scored", "without", "mean_change") < of(0.25, "random", "without", "mean_change"));
    assert!((0.0..=1.0).contains(&of(0.5, "random", "alone", "same_class")));
    let (all, kept) = (found["instances"].as_f64().unwrap(), of(0.5, "scored", "alone", "instances"));
    assert_eq!(kept + of(0.5, "scored", "without", "instances"), all);

    let table = std::fs::read_to_string(out.join("parts.csv")).unwrap();
    assert!(table.starts_with("share,first,left,instances,mean_change,same_class,auc,accuracy,"), "{table}");
    assert_eq!(table.lines().count(), 1 + parts.len());
    let line = format!("0.25,scored,alone,{},", of(0.25, "scored", "alone", "instances"));
    assert!(table.lines().any(|of| of.starts_with(&line)), "{line} in {table}");
    // Some shares, for people, beside the table of bags; bags without labels have no scores.
    std::fs::remove_file(data.join("labels.npy")).unwrap();
    std::fs::remove_file(data.join("instance_labels.npy")).unwrap();
    let told = bagrad(&[&predict[..], &["--top-shares=10%,12.5"]].concat());
    let [csv, text] = [told.stdout, told.stderr].map(|of| String::from_utf8(of).unwrap());
    assert!(csv.starts_with("bag,") && text.contains("scored, left out") && text.contains("12.5 %"), "{text}");
    assert!(!text.contains("AUC"), "{text}");
    let refused = bagrad(&[&predict[..], &["--top-shares=0,5"]].concat());
    let refused = (refused.status.code(), String::from_utf8(refused.stderr).unwrap());
    assert!(refused.0 == Some(2) && refused.1.contains("expected per cent above 0 and up to 100"), "{refused:?}");
}
