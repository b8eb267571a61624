//! What commands say of instances whose labels are known.

use super::{folder, json, text, train};
use bagrad::metrics::{SlideDetections, froc};
use serde_json::Value;
use std::fs;

#[test]
fn lesions_are_found_where_instances_have_places() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run, out) = (folder(dir.path(), "bags"), dir.path().join("run"), dir.path().join("said"));
    let trained = json(&train(text(&data), text(&run), &["--json"]));
    let said = json(&["predict", "--model", text(&run), "--data", text(&data), "--out", text(&out), "--json"]);

    // Once more from the table of instances: each bag is a line of tiles, of odd bags the third is key.
    let table = fs::read_to_string(out.join("attention.csv")).unwrap();
    let head: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let mut slides: Vec<(Vec<f32>, Vec<bool>, Vec<[f32; 2]>)> = Vec::new();
    for line in table.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |name: &str| -> f32 { cells[head.iter().position(|of| *of == name).unwrap()].parse().unwrap() };
        if number("instance") == 0.0 {
            slides.push(Default::default());
        }
        let bag = slides.len() - 1;
        let (scores, key, places) = &mut slides[bag];
        key.push(bag % 2 == 1 && number("instance") == 2.0);
        scores.push(number("score"));
        places.push([number("x"), number("y")]);
    }
    let slides: Vec<SlideDetections> = slides
        .iter()
        .map(|(scores, key, places)| SlideDetections::of_tiles(scores, key, places, None).unwrap())
        .collect();
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
