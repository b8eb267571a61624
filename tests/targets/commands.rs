//! Numbers, survival and classes in an order on the command line.

use super::{good, json, refused, text};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Sixty bags of two instances with an age, a time and what became of them then, all told by the first feature.
pub(crate) fn table(at: &Path) -> PathBuf {
    let mut lines = "bag,patient,stage,age,os_months,os_status,a,b\n".to_owned();
    for bag in 0..60 {
        let key = f64::from(bag * 37 % 60) / 60.0;
        let (age, time) = (50.0 + 20.0 * key, 40.0 - 35.0 * key + f64::from(bag % 3));
        let status = match bag {
            8 => "NA",
            _ if bag % 4 == 1 => "0:LIVING",
            _ => "1:DECEASED",
        };
        let stage = ["I", "II", "III"][(key * 3.0) as usize];
        for instance in 0..2 {
            let told = if instance == 0 { 4.0 * key } else { 0.0 };
            writeln!(lines, "s{bag},p{bag},{stage},{age:.1},{time:.1},{status},{told:.3},{}", bag * 13 % 7).unwrap();
        }
    }
    let path = at.join("bags.csv");
    fs::write(&path, lines).unwrap();
    path
}

/// Without the columns of this number.
pub(crate) fn without(path: &Path, columns: &[usize]) -> PathBuf {
    let left = |line: &str| {
        let cells = line.split(',').enumerate().filter(|(at, _)| !columns.contains(at)).map(|(_, cell)| cell);
        cells.collect::<Vec<_>>().join(",") + "\n"
    };
    let stem = path.file_stem().unwrap().to_string_lossy();
    let to = path.with_file_name(format!("{stem} without {columns:?}.csv"));
    fs::write(&to, fs::read_to_string(path).unwrap().lines().map(left).collect::<String>()).unwrap();
    to
}

const RECIPE: &str = "--method gated-attention --set embed=[8] --set attention=4 --set dropout=0 --epochs 60 --lr 0.02 \
                      --device host --quiet --seed 2";

fn train(data: &Path, out: &Path, more: &str) -> serde_json::Value {
    let args: Vec<&str> = ["train", "--data", text(data), "--out", text(out), "--json"].into();
    json(&[args, RECIPE.split_whitespace().collect(), more.split_whitespace().collect()].concat())
}

fn first_lines(path: &Path, count: usize) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().take(count).map(str::to_owned).collect()
}

#[test]
fn survival_from_a_table_to_predictions() {
    let dir = tempfile::tempdir().unwrap();
    let data = without(&table(dir.path()), &[2, 3]);
    let (cox, hazards) = (dir.path().join("cox"), dir.path().join("hazards"));
    let found = train(&data, &cox, "--target cox --batch 16 --validation 0.2 --monitor c_index");
    assert!(found["test_c_index"].as_f64().unwrap() > 0.8, "{found}");
    assert_eq!(first_lines(&cox.join("predictions.csv"), 1), ["bag,split,time,event,risk"]);
    let page = fs::read_to_string(cox.join("report.html")).unwrap();
    assert!(page.contains("log-rank p") && page.contains("C-index") && page.contains("event at "));
    let unknown = fs::read_to_string(cox.join("predictions.csv")).unwrap();
    assert!(unknown.lines().any(|line| line.starts_with("s8,") && line.contains(",,,")), "{unknown}");

    // The columns by their names, and intervals of time.
    let named = "--label-column os_months --event-column os_status --target hazards:3:0.1 --licence CC0-1.0";
    let found = train(&data, &hazards, named);
    assert!(found["test_c_index"].as_f64().unwrap() > 0.7, "{found}");
    let head = first_lines(&hazards.join("predictions.csv"), 1).remove(0);
    assert_eq!(head.matches("survival(").count(), 2, "{head}");
    // A configuration runs the same again.
    let again = dir.path().join("again");
    let config = hazards.join("config.toml");
    good(&["train", "--config", text(&config), "--out", text(&again), "--quiet"]);
    let model = |run: &Path| fs::read(run.join("model.safetensors")).unwrap();
    assert!(model(&again) == model(&hazards));

    // Models say what they are, and without their folder how they came about.
    let alone = dir.path().join("alone.safetensors");
    fs::copy(hazards.join("model.safetensors"), &alone).unwrap();
    let told = good(&["show", text(&alone)]);
    for line in ["data ", "bags ", "seed ", "test_c_index"] {
        assert!(told.lines().any(|told| told.starts_with(line)), "{line} is not in:\n{told}");
    }
    let record = json(&["show", text(&alone), "--json"])["record"].take();
    assert_eq!(record["scores"]["test_c_index"], found["test_c_index"]);
    assert_eq!(record["bags"]["train"], found["train_bags"]);
    let told = good(&["show", text(&hazards)]);
    let wanted = [
        "gated-attention (",
        "attention=4, dropout=0.0, embed=[8]",
        "intervals of time that meet at ",
        "2: a, b",
        "kept of 60",
        "CC0-1.0",
    ];
    wanted.iter().for_each(|what| assert!(told.contains(what), "{what} is not in:\n{told}"));
    let told = json(&["show", text(&cox.join("model.safetensors")), "--json"]);
    assert_eq!((told["target"]["cox"]["ties"].as_str(), told["result"].is_null()), (Some("efron"), true), "{told}");
    assert!(refused(&["show", text(&data)]).contains("safetensors"));

    // Of bags without times, and with them.
    let bare = without(&data, &[2, 3]);
    let told = good(&["predict", "--model", text(&cox), "--data", text(&bare), "--quiet"]);
    assert!(told.starts_with("bag,time,event,risk,distance,percentile(distance)\ns0,,,"), "{told}");
    let found = json(&["predict", "--model", text(&hazards), "--data", text(&data), "--json", "--quiet"]);
    assert!(found["c_index"].as_f64().unwrap() > 0.8 && found["events"].as_u64() == Some(44), "{found}");
    assert_eq!(found["predictions"][1]["event"], 0);
    let message = refused(&["predict", "--model", text(&cox), "--data", text(&without(&data, &[3])), "--quiet"]);
    assert!(message.contains("column of events"), "{message}");
    // What bagrad wrote it writes anew.
    let risks = dir.path().join("risks.csv");
    for _ in 0..2 {
        let args =
            ["predict", "--model", text(&cox), "--data", text(&bare), "--out", text(&risks), "--quiet", "--force"];
        good(&args);
    }
    assert_eq!(first_lines(&risks, 1), ["bag,time,event,risk,distance,percentile(distance)"]);
}

#[test]
fn numbers_and_grades() {
    let dir = tempfile::tempdir().unwrap();
    let all = table(dir.path());
    let (ages, stages) = (without(&all, &[2, 4, 5]), without(&all, &[3, 4, 5]));
    let run = dir.path().join("ages");
    let found = train(&ages, &run, "--target huber:0.5 --label-column age --validation 0.2 --monitor r2");
    assert!(found["test_r2"].as_f64().unwrap() > 0.8, "{found}");
    assert_eq!(first_lines(&run.join("predictions.csv"), 1), ["bag,split,number,predicted"]);
    let found =
        json(&["predict", "--model", text(&run), "--data", text(&ages), "--label-column", "age", "--json", "--quiet"]);
    assert!(found["mae"].as_f64().unwrap() < 3.0, "{found}");
    let run = dir.path().join("stages");
    let found = train(&stages, &run, "--target ordered --label-column stage");
    assert!(found["test_accuracy"].as_f64().unwrap() > 0.6, "{found}");
    assert_eq!(first_lines(&run.join("predictions.csv"), 1), ["bag,split,label,predicted,p(I),p(II),p(III)"]);

    let data = ["train", "--data", text(&ages), "--method"];
    let wrong = |more: &[&str], what: &str| {
        let message = refused(&[&data[..], more, &["--device", "host", "--quiet"]].concat());
        assert!(message.contains(what), "{message}");
    };
    wrong(&["clam-sb", "--target", "squared", "--label-column", "age"], "learns classes without an order alone");
    let gauss = super::bagrad(&[&data[..], &["attention", "--target", "gauss"]].concat());
    let message = String::from_utf8(gauss.stderr).unwrap();
    assert!(gauss.status.code() == Some(2) && message.contains("hazards[:INTERVALS[:ALPHA]]"), "{message}");
    wrong(&["attention", "--target", "cox"], "expected labels to train with");
    let none = without(&all, &[2, 3, 4, 5]);
    let message = refused(&["train", "--data", text(&none), "--method", "attention", "--target", "squared", "--quiet"]);
    assert!(message.contains("expected labels"), "{message}");
}

/// Times come with the slides of a table, go into a packed file, and train from there.
#[test]
fn slides_with_times_are_packed() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, _) = super::slides::cohort(dir.path());
    let clini = dir.path().join("clini.csv");
    let mut lines = "case_id,slide_id,survival_months,censorship\n".to_owned();
    for slide in 0..12 {
        writeln!(lines, "p{},{slide:03}.svs,{},{}", slide / 2, 10 + slide / 2 * 3, u8::from(slide / 2 % 3 == 2))
            .unwrap();
    }
    fs::write(&clini, lines).unwrap();
    let slides = ["--data", text(&folder), "--labels", text(&clini)].map(str::to_owned);
    let slides: Vec<&str> = slides.iter().map(String::as_str).collect();
    let args = [&["train"], &slides[..], &["--target", "hazards:2", "--method", "attention", "--epochs", "2"]].concat();
    let run = dir.path().join("run");
    let args = [&args[..], &["--device", "host", "--json", "--out", text(&run)]].concat();
    let found = json(&args);
    assert!(found["train_c_index"].is_number() || found["train_c_index"].is_null(), "{found}");

    // Maps of them know of no class.
    let maps = dir.path().join("maps");
    let args =
        [&["heatmap", "--model", text(&run)], &slides[..], &["--out", text(&maps), "--json", "--quiet"]].concat();
    let found_maps = json(&args);
    let first = &found_maps["slides"][0];
    assert!(first["label"].as_str().unwrap().starts_with("event at 10") && first["value"].is_number(), "{first}");
    let page = fs::read_to_string(maps.join("index.html")).unwrap();
    assert!(page.contains("risk -") && page.contains("largest first") && !page.contains("least sure"));

    let file = dir.path().join("cohort.bags");
    let out = super::bagrad(&[
        "pack",
        text(&folder),
        "--labels",
        text(&clini),
        "--event-column",
        "censorship",
        "--label-column",
        "survival_months",
        "--out",
        text(&file),
    ]);
    let told = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success() && told.contains("by its name, 1 is a slide that was censored"), "{told}");
    let packed = json(&[
        "train",
        "--data",
        text(&file),
        "--target",
        "hazards:2",
        "--method",
        "attention",
        "--epochs",
        "2",
        "--device",
        "host",
        "--json",
    ]);
    assert_eq!(packed["train_c_index"], found["train_c_index"]);
    let seen = json(&["inspect", text(&file), "--json"]);
    let counts: Vec<u64> = (0..2).map(|class| seen["classes"][class]["slides"].as_u64().unwrap()).collect();
    assert_eq!((seen["classes"][1]["name"].as_str(), counts), (Some("event"), vec![4, 8]));
}
