//! Folders of slides on the command line.

use super::{good, json, refused, text};
use std::fs;
use std::path::{Path, PathBuf};

/// Twelve slides of six patients, and their table.
pub fn cohort(at: &Path) -> (PathBuf, PathBuf) {
    let (folder, table) = (at.join("features_uni_v1"), at.join("slides.csv"));
    fs::create_dir(&folder).unwrap();
    let mut lines = String::from("case_id,slide_id,label\n");
    for slide in 0..12 {
        // Three slides of other values, of which the first two are the two classes.
        let class = slide / 2 % 2;
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/readers/slides/trident/00{class}.h5"));
        fs::copy(from, folder.join(format!("{slide:03}.h5"))).unwrap();
        lines += &format!("p{},{slide:03}.svs,{}\n", slide / 2, ["normal", "tumour"][class]);
    }
    fs::write(&table, lines).unwrap();
    (folder, table)
}

/// Layouts that bring labels and parts of their own, and tables that lead to the files.
#[test]
fn layouts_are_inspected() {
    let fixture = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/slides").join(name);
    let (torchmil, splits) = (fixture("torchmil"), fixture("torchmil/splits.csv"));
    let told = good(&["inspect", text(&torchmil), "--splits", text(&splits)]);
    for what in [
        "slides        3 in",
        "(npy)",
        "a unit that the files do not tell; how wide a patch is is not told",
        "validation       1",
    ] {
        assert!(told.contains(what), "{what} is not in:\n{told}");
    }
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("table.csv");
    let slide = |name: &str| fixture("stamp").join(name).display().to_string();
    fs::write(&table, format!("slide_path,label\n{},no\n{},yes\n", slide("s0.h5"), slide("s2.h5"))).unwrap();
    let found = json(&["inspect", text(&table), "--json"]);
    assert_eq!((&found["slides"], &found["classes"][1]["name"]), (&serde_json::json!(2), &serde_json::json!("yes")));
    let (clini, slides) = (dir.path().join("clini.csv"), dir.path().join("slide.csv"));
    fs::write(&clini, "PATIENT,sex,isMSIH\n1,f,no\n2,m,yes\n").unwrap();
    fs::write(&slides, "PATIENT,FILENAME\n1,s0.h5\n1,s1.h5\n2,s2.h5\n").unwrap();
    let args =
        ["inspect", text(&fixture("stamp")), "--labels", text(&clini), "--slides", text(&slides)].map(String::from);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert!(refused(&args).contains("or --label-column NAME; the columns are 'PATIENT', 'sex', 'isMSIH'"));
    let found = json(&[&args[..], &["--label-column", "isMSIH", "--json"]].concat());
    assert_eq!((&found["patients"], &found["classes"][0]["slides"]), (&serde_json::json!(2), &serde_json::json!(2)));
}

/// Bags in all parts of a run.
fn bags(result: &serde_json::Value) -> u64 {
    ["train_bags", "validation_bags", "test_bags"].map(|part| result[part].as_u64().unwrap()).iter().sum()
}

#[test]
fn a_folder_of_slides_is_trained_on_and_predicted() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, table) = cohort(dir.path());
    let run = dir.path().join("run");
    let args = ["train", "--data", text(&folder), "--labels", text(&table), "--method", "gated-attention"];
    let more = ["--epochs", "2", "--validation", "0.2", "--out", text(&run), "--json"];
    let result = json(&[&args[..], &more].concat());
    assert_eq!(bags(&result), 12);
    // Slides of a patient are in one part.
    let predictions = fs::read_to_string(run.join("predictions.csv")).unwrap();
    let part = |line: &str| line.split(',').nth(1).unwrap().to_owned();
    let parts: Vec<String> = predictions.lines().skip(1).map(part).collect();
    assert!(parts.chunks(2).all(|patient| patient[0] == patient[1]), "{predictions}");
    // What was run can be run again, from any folder.
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(config.contains("labels = ") && config.contains("slides.csv"), "{config}");
    let again = dir.path().join("again");
    good(&["train", "--config", text(&run.join("config.toml")), "--out", text(&again), "--quiet"]);
    assert_eq!(fs::read_to_string(again.join("predictions.csv")).unwrap(), predictions);

    // Without a table all slides are predicted; a file alone is a slide too.
    let (run, one) = (text(&run), folder.join("003.h5"));
    let all = json(&["predict", "--model", run, "--data", text(&folder), "--json"]);
    assert_eq!((all["predictions"].as_array().unwrap().len(), &all["auc"]), (12, &serde_json::Value::Null));
    let one = json(&["predict", "--model", run, "--data", text(&one), "--json"]);
    assert_eq!(one["predictions"][0], all["predictions"][3]);
    let judged = json(&["predict", "--model", run, "--data", text(&folder), "--labels", text(&table), "--json"]);
    assert!(judged["auc"].is_number());
    // What a call reads it never replaces, the table and the splits among it.
    let out = dir.path().join("predicted.csv");
    let base = ["predict", "--model", run, "--data", text(&folder), "--out", text(&out), "--force"];
    good(&[&base[..], &["--quiet"]].concat());
    let before = fs::read(&out).unwrap();
    for flag in ["--labels", "--splits"] {
        let message = refused(&[&base[..], &[flag, text(&out)]].concat());
        assert!(message.contains("predicted.csv") && message.contains("read"), "{flag}: {message}");
        assert_eq!(fs::read(&out).unwrap(), before);
    }

    let inspected = json(&["inspect", text(&folder), "--labels", text(&table), "--json"]);
    assert_eq!((&inspected["slides"], &inspected["patients"]), (&serde_json::json!(12), &serde_json::json!(6)));
    let told = good(&["inspect", text(&folder), "--labels", text(&table)]);
    assert!(told.contains("encoder       uni_v1") && told.contains("a patch is 512 wide"), "{told}");

    // A slide that is cut off stops the run with its name, unless it may be left out.
    let whole = fs::read(folder.join("004.h5")).unwrap();
    fs::write(folder.join("004.h5"), &whole[..whole.len() / 2]).unwrap();
    let message = refused(&[&args[..], &["--epochs", "1"]].concat());
    assert!(message.contains("1 slides cannot be used") && message.contains("004.h5"), "{message}");
    let message = refused(&["inspect", text(&folder)]);
    assert!(message.contains("1 slides cannot be used"), "{message}");
    let left = json(&[&args[..], &["--epochs", "1", "--on-bad", "skip", "--validation", "0.2", "--json"]].concat());
    assert_eq!(bags(&left), 11);
    let message = refused(&[&args[..], &["--id-column", "scan"]].concat());
    assert!(message.contains("no column is called 'scan' (--id-column)"), "{message}");
}
