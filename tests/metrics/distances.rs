//! How far bags are from the training's: what `predict` and `heatmap` tell, and of whom.

use super::{WIDTH, bagrad, floats, folder, good, json, text, train};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The bags of [`folder`] with something added to all features.
fn moved(at: &Path, name: &str, by: f32) -> PathBuf {
    let path = folder(at, name);
    let file = path.join("features.npy");
    let bytes = fs::read(&file).unwrap();
    // The head of the file is a multiple of 64 bytes, behind 10 of its own.
    let head = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let values = bytes[head..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()) + by);
    floats(&file, WIDTH, &values.collect::<Vec<_>>());
    path
}

/// A column of a table.
fn column(csv: &str, name: &str) -> Option<Vec<f64>> {
    let at = csv.lines().next().unwrap().split(',').position(|head| head == name)?;
    Some(csv.lines().skip(1).map(|line| line.split(',').nth(at).unwrap().parse().unwrap()).collect())
}

/// A model file without the tensors whose names begin so.
fn without(path: &Path, start: &str) {
    let bytes = fs::read(path).unwrap();
    let (_, head) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let all = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let kept: Vec<_> = all.iter().filter(|(name, _)| !name.starts_with(start)).collect();
    assert!(kept.len() < all.len());
    fs::write(path, safetensors::serialize(kept, head.metadata().clone()).unwrap()).unwrap();
}

#[test]
fn bags_unlike_those_of_the_training_are_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run, out) = (folder(dir.path(), "bags"), dir.path().join("run"), dir.path().join("new.csv"));
    let other = moved(dir.path(), "other", 8.0);
    good(&train(text(&data), text(&run), &["--quiet"]));
    let shown = json(&["show", text(&run), "--json"]);
    assert_eq!(shown["distances_of_bags"], 32.0);
    assert!(good(&["show", text(&run)]).contains("of 32 training bags from each other"));
    let predict = |data: &Path| {
        let args = ["predict", "--model", text(&run), "--data", text(data)];
        let done = bagrad(&[&args[..], &["--out", text(&out), "--force"]].concat());
        let (told, csv) = (String::from_utf8(done.stderr).unwrap(), fs::read_to_string(&out).unwrap());
        assert!(done.status.success(), "{told}");
        (json(&[&args[..], &["--json"]].concat()), csv, told)
    };
    let (same, csv, told) = predict(&data);
    assert!(!told.contains("farther from those of the") && same["distances"]["remarkable"] == false, "{told}");
    let near = column(&csv, "distance").unwrap();
    let (found, csv, told) = predict(&other);
    let [far, percentiles] = ["distance", "percentile(distance)"].map(|name| column(&csv, name).unwrap());
    assert!(far.len() == 40 && far.iter().zip(&near).all(|(far, near)| far > near));
    assert!(percentiles.iter().all(|p| *p == 100.0));
    // No value is far by itself.
    assert!(found["far"].is_null() && !told.contains("standard deviations from what the model"), "{told}");
    assert!(told.contains("of 40 of 40 bags are farther from those of the 32 training bags"), "{told}");
    let distances = &found["distances"];
    assert_eq!((&distances["far"], &distances["training_bags"]), (&40.into(), &32.0.into()));
    assert_eq!(distances["remarkable"], true);
    let bag = &found["predictions"][3];
    assert!((bag["distance"].as_f64().unwrap() - far[3]).abs() < 1e-5 && bag["percentile(distance)"] == 100.0);

    // The maps of both.
    let draw = |data: &Path, name: &str| {
        let maps = dir.path().join(name);
        let args = ["heatmap", "--model", text(&run), "--data", text(data), "--patch-size", "1", "--max-side", "32"];
        let told = json(&[&args[..], &["--out", text(&maps), "--no-geojson", "--json"]].concat());
        (told, fs::read_to_string(maps.join("index.html")).unwrap())
    };
    let (told, page) = draw(&other, "far");
    assert_eq!(told["distances"], found["distances"]);
    assert_eq!(told["slides"][3]["distance"], bag["distance"]);
    let remark = "Its features are farther from the training slides&#39; than 100 % of these are from each other";
    let said = page.matches(remark).count() + page.matches(&remark.replace("&#39;", "'")).count();
    assert_eq!(said, 40, "{page}");
    assert!(
        page.contains("How far the slides are from those of the training: the means of the features of 40 of 40 bags")
    );
    let (_, page) = draw(&data, "near");
    assert!(!page.contains("How far the slides are from those of the training"));

    // A file from before there were distances is read, says the same of bags, and that it has none.
    let model = run.join("model.safetensors");
    let said = |value: &Value| value["predictions"][5]["probabilities"].clone();
    without(&model, "distances.");
    let (older, csv, told) = predict(&other);
    assert_eq!((said(&older), &older["distances"]), (said(&found), &Value::Null));
    assert_eq!((column(&csv, "distance"), column(&csv, "percentile(distance)")), (None, None));
    assert!(told.contains("the model file keeps no distances of its training bags"), "{told}");
    let (told, page) = draw(&other, "older");
    assert!(told["distances"].is_null() && told["slides"][3]["distance"].is_null());
    assert!(page.contains("keeps no distances of its training bags"));
}
