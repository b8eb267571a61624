//! Ensembles on the command line: joined, shown, predicted with, taken apart, and refused where one model is meant.

use super::targets::{table, without};
use super::{BAGS, SIZE, bagrad, folder, good, json, names, refused, text, train};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Runs with these seeds and options.
fn runs(at: &Path, data: &Path, asked: &[(&str, &[&str])]) -> Vec<PathBuf> {
    let one = |(number, (name, more)): (usize, &(&str, &[&str]))| {
        let (out, seed) = (at.join(name), (number + 1).to_string());
        good(&train(text(data), text(&out), &[&["--validation", "0.2", "--seed", &seed], *more].concat()));
        out
    };
    asked.iter().enumerate().map(one).collect()
}

fn join(models: &[&Path], out: &Path) -> Value {
    let models: Vec<&str> = models.iter().map(|path| text(path)).collect();
    json(&[&["ensemble"], &models[..], &["--out", text(out), "--json"]].concat())
}

/// The cells of a column, by its name.
fn column(csv: &str, name: &str) -> Vec<f64> {
    let at = csv.lines().next().unwrap().split(',').position(|head| head == name);
    let at = at.unwrap_or_else(|| panic!("no {name} in {}", csv.lines().next().unwrap()));
    csv.lines().skip(1).map(|line| line.split(',').nth(at).unwrap().parse().unwrap()).collect()
}

#[test]
fn runs_are_joined_and_answer_together() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let runs = runs(dir.path(), &data, &[("a", &[]), ("b", &["--no-standardise", "--lr", "1e-4"]), ("c", &[])]);
    let all: Vec<&Path> = runs.iter().map(PathBuf::as_path).collect();
    let file = dir.path().join("e.safetensors");
    let told = join(&all, &file);
    let members = told["members"].as_array().unwrap();
    assert_eq!(members.len(), 3);
    assert_eq!(members[1]["name"], text(&runs[1]));
    assert_eq!((&members[0]["standardised"], &members[1]["standardised"]), (&true.into(), &false.into()));
    assert!(members[0]["metrics"]["validation_auc"].is_f64(), "{told}");

    let predict = |model: &Path| good(&["predict", "--model", text(model), "--data", text(&data), "--quiet"]);
    let together = predict(&file);
    let head = "bag,label,predicted,p(0),p(1),spread:p(0),spread:p(1),member1:p(0),member1:p(1),member2:p(0),member2:p(1),\
                member3:p(0),member3:p(1),distance,percentile(distance)";
    assert_eq!(together.lines().next(), Some(head));
    let each: Vec<Vec<f64>> = runs.iter().map(|run| column(&predict(run), "p(1)")).collect();
    let (mean, spread) = (column(&together, "p(1)"), column(&together, "spread:p(1)"));
    for (member, each) in each.iter().enumerate() {
        assert_eq!(column(&together, &format!("member{}:p(1)", member + 1)), *each);
    }
    for bag in 0..BAGS {
        let of: Vec<f64> = each.iter().map(|p| p[bag]).collect();
        let wanted = of.iter().sum::<f64>() / 3.0;
        let deviation = (of.iter().map(|p| (p - wanted).powi(2)).sum::<f64>() / 2.0).sqrt();
        assert!((mean[bag] - wanted).abs() < 1e-6 && (spread[bag] - deviation).abs() < 1e-6, "bag {bag}");
    }

    let said = json(&["predict", "--model", text(&file), "--data", text(&data), "--json", "--quiet"]);
    let alone = json(&["predict", "--model", text(&runs[1]), "--data", text(&data), "--json", "--quiet"]);
    assert_eq!(said["members"][1]["auc"], alone["auc"]);
    assert!(said["auc"].is_f64() && said["instance_auc"].is_f64() && alone.get("members").is_none());
    let bag = &said["predictions"][0];
    assert!(bag["spread"]["p(1)"].is_f64() && bag["members"][2]["p(1)"].is_f64(), "{bag}");
    let people =
        good(&["predict", "--model", text(&file), "--data", text(&data), "--out", text(&dir.path().join("p.csv"))]);
    assert!(people.contains("one member") && people.contains(" to "), "{people}");

    let out = dir.path().join("predicted");
    good(&["predict", "--model", text(&file), "--data", text(&data), "--out", text(&out), "--quiet"]);
    let instances = fs::read_to_string(out.join("attention.csv")).unwrap();
    assert_eq!(instances.lines().count(), 1 + BAGS * SIZE);
    // A table of an ensemble is one of ours.
    let table = dir.path().join("p.csv");
    good(&["predict", "--model", text(&file), "--data", text(&data), "--out", text(&table), "--force"]);

    let shown = good(&["show", text(&file)]);
    assert!(
        shown.contains("members   3") && shown.contains("gated-attention") && shown.contains("test_auc "),
        "{shown}"
    );
    assert_eq!(json(&["show", text(&file), "--json"])["members"], told["members"]);

    // A map has the numbers of the table.
    let maps = dir.path().join("maps");
    let drawn = json(&[
        "heatmap",
        "--model",
        text(&file),
        "--data",
        text(&data),
        "--out",
        text(&maps),
        "--only",
        "3",
        "--json",
    ]);
    assert_eq!(drawn["members"], 3);
    let (map, attention) = (fs::read_to_string(maps.join("3.csv")).unwrap(), column(&instances, "attention"));
    assert_eq!(column(&map, "attention"), attention[3 * SIZE..4 * SIZE]);
    assert!(fs::read_to_string(maps.join("index.html")).unwrap().contains("mean of 3 models"));

    // A member is the file it was; an ensemble among models gives its members.
    let one = dir.path().join("one.safetensors");
    good(&["ensemble", text(&file), "--member", "2", "--out", text(&one)]);
    assert!(fs::read(&one).unwrap() == fs::read(runs[1].join("model.safetensors")).unwrap());
    let pair = dir.path().join("pair.safetensors");
    join(&[&runs[0], &runs[1]], &pair);
    let flat = join(&[&pair, &runs[2]], &dir.path().join("flat.safetensors"));
    assert_eq!(flat["members"], told["members"]);
}

#[test]
fn several_methods_say_nothing_of_instances() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let mut models = runs(dir.path(), &data, &[("a", &[])]);
    models.push(dir.path().join("b"));
    good(&[
        "train",
        "--data",
        text(&data),
        "--out",
        text(&models[1]),
        "--method",
        "mi-net",
        "--set",
        "embed=[8]",
        "--epochs",
        "3",
    ]);
    let file = dir.path().join("e.safetensors");
    join(&[&models[0], &models[1]], &file);
    let out = dir.path().join("predicted");
    let done = bagrad(&["predict", "--model", text(&file), "--data", text(&data), "--out", text(&out)]);
    let remarks = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && remarks.contains("attention.csv is left out"), "{remarks}");
    assert_eq!(names(&out), [".bagrad.json", "prediction.json", "predictions.csv"]);
    let result: Value = serde_json::from_str(&fs::read_to_string(out.join("prediction.json")).unwrap()).unwrap();
    assert!(result["scores_are"].is_null() && result.get("instance_auc").is_none() && result["auc"].is_f64());
    assert_eq!(result["members"][1]["method"], "mi-net");
    let maps = dir.path().join("maps");
    let told = refused(&["heatmap", "--model", text(&file), "--data", text(&data), "--out", text(&maps)]);
    assert!(told.contains("members of several methods") && told.contains("--member N"), "{told}");
}

/// Log-risks have a mean and no deviation; curves of survival meet at the edges of all.
#[test]
fn survival_is_averaged() {
    let dir = tempfile::tempdir().unwrap();
    let data = without(&table(dir.path()), &[2, 3]);
    let fit = |name: &str, seed: &str, target: &str| {
        let out = dir.path().join(name);
        let small =
            ["--set", "embed=[4]", "--set", "attention=4", "--epochs", "3", "--validation", "0.2", "--seed", seed];
        let args = ["train", "--data", text(&data), "--out", text(&out), "--method", "attention", "--target", target];
        good(&[&args[..], &small].concat());
        out
    };
    let together = |target: &str| {
        let (a, b) = (fit(&format!("{target}1"), "1", target), fit(&format!("{target}2"), "2", target));
        let file = dir.path().join(format!("{target}.safetensors"));
        join(&[&a, &b], &file);
        let csv = good(&["predict", "--model", text(&file), "--data", text(&data), "--quiet"]);
        (json(&["predict", "--model", text(&file), "--data", text(&data), "--json", "--quiet"]), csv, file)
    };
    let (said, csv, cox) = together("cox");
    assert_eq!(csv.lines().next(), Some("bag,time,event,risk,member1:risk,member2:risk,distance,percentile(distance)"));
    let [a, b, mean] = ["member1:risk", "member2:risk", "risk"].map(|name| column(&csv, name));
    assert!((0..60).all(|bag| ((a[bag] + b[bag]) / 2.0 - mean[bag]).abs() < 1e-5));
    assert!(said["c_index"].is_f64() && said["members"][0]["c_index"].is_f64());
    assert!(said["predictions"][0]["spread"].is_null());

    let (_, csv, hazards) = together("hazards");
    let head = csv.lines().next().unwrap();
    assert!(
        head.contains(",risk,survival(") && head.contains("spread:survival(") && head.contains("member2:survival("),
        "{head}"
    );
    let curve = head.split(',').find(|name| name.starts_with("survival(")).unwrap();
    let [a, b, mean] = ["member1:", "member2:", ""].map(|who| column(&csv, &format!("{who}{curve}")));
    assert!((0..60).all(|bag| ((a[bag] + b[bag]) / 2.0 - mean[bag]).abs() < 1e-5));

    let told = refused(&["ensemble", text(&cox), text(&hazards), "--out", text(&dir.path().join("x.safetensors"))]);
    assert!(told.contains("members have to be of one task: what is learnt is a log-risk (Cox)"), "{told}");
    assert!(!dir.path().join("x.safetensors").exists());
}

#[test]
fn what_is_no_ensemble_or_needs_one_model_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let runs = runs(dir.path(), &data, &[("a", &[]), ("b", &[])]);
    let (file, new) = (dir.path().join("e.safetensors"), dir.path().join("new"));
    join(&[&runs[0], &runs[1]], &file);
    let (file, new, data, a, b) = (text(&file), text(&new), text(&data), text(&runs[0]), text(&runs[1]));
    for (args, expected) in [
        (vec!["ensemble", a, "--out", new], "expected two models at least, found 1"),
        (vec!["ensemble", a, a, "--out", new], "are the same model"),
        (vec!["ensemble", a, data, "--out", new], "model.safetensors"),
        (vec!["ensemble", a, b, "--out", file], "--force replaces it"),
        (vec!["ensemble", file, "--out", file, "--force"], "this call reads"),
        (vec!["ensemble", file, "--member", "3", "--out", new], "--member 3:"),
        (vec!["ensemble", a, b, "--member", "1", "--out", new], "is of one ensemble, and 2 files are named"),
        (vec!["export", file, "--format", "onnx", "--out", new], "is an ensemble of 2 models"),
        (vec!["export", file, "--format", "state-dict", "--out", new], "--member N"),
        (vec!["embed", "--encoder", file, "--images", data, "--out", new], "is an ensemble of 2 models"),
        (
            vec!["train", "--data", data, "--method", "mhim-attention", "--start", file, "--out", new],
            "is an ensemble of 2 models",
        ),
        (vec!["verify", file], "is a file; a run folder"),
    ] {
        let told = refused(&args);
        assert!(told.contains(expected), "{args:?}: {told}");
        assert!(!Path::new(new).exists(), "{args:?}");
    }
    let bytes = fs::read(file).unwrap();
    for length in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        let cut = dir.path().join("cut.safetensors");
        fs::write(&cut, &bytes[..length]).unwrap();
        for args in [vec!["show", text(&cut)], vec!["predict", "--model", text(&cut), "--data", data]] {
            refused(&args);
        }
    }
}

/// A study keeps the model of each fit, and a member says of the bags of its fold what the study said of them.
#[test]
fn the_fits_of_a_study_are_one_model() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (folder(dir.path(), "bags"), dir.path().join("study"));
    let method = "attention,embed=[8],attention=4";
    let study = |more: &[&str]| {
        let args = ["cross-validate", "--data", text(&data), "--method", method, "--folds", "3", "--epochs", "4"];
        let done = bagrad(&[&args[..], &["--out", text(&out)], more].concat());
        let told = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success(), "{told}");
        told
    };
    assert!(study(&["--seeds", "2"]).contains("24 fits done, 0 were there") && !out.join("models").exists());
    // Fits without a model are done again: those of the method and of one baseline, as the others have none.
    assert!(study(&["--seeds", "2", "--keep-models"]).contains("12 fits done, 12 were there"));
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    assert_eq!(read("runs.jsonl").lines().count(), 24);
    let models = out.join("models");
    let files = ["attention,embed=_8_,attention=4.safetensors", "baseline_ log-mean-exp pooling.safetensors", "fits"];
    assert_eq!(names(&models), files);
    // The models are there once: the files of single fits gave way to a few bytes that say which file has them.
    let places = |ending: &str| names(&models.join("fits")).iter().filter(|name| name.ends_with(ending)).count();
    assert_eq!((places(".json"), places(".safetensors")), (12, 0));

    let file = models.join(files[0]);
    let shown = json(&["show", text(&file), "--json"]);
    let members = shown["members"].as_array().unwrap();
    let named: Vec<&str> = members.iter().map(|member| member["name"].as_str().unwrap()).collect();
    assert_eq!(named[..3], ["fold 0, seed 1", "fold 0, seed 2", "fold 1, seed 1"]);
    assert!(named.len() == 6 && members[0]["metrics"]["accuracy"].is_f64(), "{shown}");
    let csv = good(&["predict", "--model", text(&file), "--data", text(&data), "--quiet"]);
    let said: Vec<Vec<f64>> = (1..=6).map(|n| column(&csv, &format!("member{n}:p(1)"))).collect();
    let bags: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    let mut compared = 0;
    for line in read("predictions.csv").lines().filter(|line| line.contains("\"attention,")) {
        let (bag, rest) = (line.split(',').next().unwrap(), line.rsplit('"').next().unwrap());
        let cells: Vec<&str> = rest.split(',').skip(1).collect();
        let [fold, seed]: [usize; 2] = [1, 2].map(|at| cells[at].parse().unwrap());
        let p: f64 = cells.last().unwrap().parse().unwrap();
        let at = bags.iter().position(|other| *other == bag).unwrap();
        assert!((said[fold * 2 + seed - 1][at] - p).abs() < 1e-5, "{line}");
        compared += 1;
    }
    assert_eq!(compared, BAGS * 2);

    // What is missing is done again, with the same bits; more seeds make a larger ensemble.
    let before = fs::read(&file).unwrap();
    let lost = models.join("fits").join(&names(&models.join("fits"))[0]);
    fs::remove_file(lost).unwrap();
    assert!(study(&["--seeds", "2", "--keep-models"]).contains("1 fits done, 23 were there"));
    assert!(fs::read(&file).unwrap() == before && places(".safetensors") == 0);
    assert!(study(&["--seeds", "2", "--keep-models"]).contains("0 fits done, 24 were there"));
    fs::remove_file(&file).unwrap();
    assert!(study(&["--seeds", "2", "--keep-models"]).contains("6 fits done, 18 were there"));
    assert!(fs::read(&file).unwrap() == before);
    // With fewer seeds the models of the others keep files of their own, from which they come back.
    assert!(study(&["--seeds", "1", "--keep-models"]).contains("0 fits done, 12 were there"));
    assert_eq!(json(&["show", text(&file), "--json"])["members"].as_array().unwrap().len(), 3);
    assert_eq!((places(".json"), places(".safetensors")), (6, 6));
    study(&["--seeds", "3", "--keep-models"]);
    assert_eq!(json(&["show", text(&file), "--json"])["members"].as_array().unwrap().len(), 9);
    assert_eq!((places(".json"), places(".safetensors")), (18, 0));

    // A file that bagrad did not write stays, and is told of before anything is fitted.
    fs::write(&file, "mine").unwrap();
    let args = ["cross-validate", "--data", text(&data), "--method", method, "--folds", "3", "--seeds", "4"];
    let told = refused(&[&args[..], &["--epochs", "4", "--keep-models", "--out", text(&out)]].concat());
    assert!(told.contains("no model that bagrad wrote"), "{told}");
    assert_eq!((fs::read_to_string(&file).unwrap(), read("runs.jsonl").lines().count()), ("mine".into(), 36));
}
