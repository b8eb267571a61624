//! The real program: what it writes, what it prints, and how it refuses.

#![cfg(feature = "cli")]

#[path = "bench/commands.rs"]
mod bench;
#[path = "metrics/distances.rs"]
mod distances;
#[path = "ensembles/commands.rs"]
mod ensembles;
#[path = "foreign/commands.rs"]
mod foreign;
#[path = "heatmap/commands.rs"]
mod heatmap;
#[path = "label_sets/commands.rs"]
mod label_sets;
#[path = "bench/ladders.rs"]
mod ladders;
#[path = "metrics/commands.rs"]
mod measured;
#[path = "onnx/commands.rs"]
mod onnx;
#[path = "slides/packed.rs"]
mod packed;
#[path = "pretrain/commands.rs"]
mod patches;
#[path = "slides/commands.rs"]
mod slides;
#[path = "targets/studies.rs"]
mod studies;
#[path = "targets/commands.rs"]
mod targets;
#[path = "targets/verify.rs"]
mod verify;

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

fn bagrad(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bagrad"));
    command.args(args).env("BAGRAD_DEVICE", "host").env_remove("RUST_BACKTRACE").output().unwrap()
}

/// Stdout of a run that has to go well.
fn good(args: &[&str]) -> String {
    let out = bagrad(args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// The last line of stdout.
fn json(args: &[&str]) -> Value {
    serde_json::from_str(good(args).lines().last().unwrap()).unwrap()
}

/// Stderr of a run that has to fail in the agreed way.
fn refused(args: &[&str]) -> String {
    let out = bagrad(args);
    let message = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{args:?}: {message}");
    assert!(message.contains("error: ") && !message.contains("panicked"), "{message}");
    message
}

/// An npy file of version 1.
fn npy(path: &Path, descr: &str, shape: &str, data: &[u8]) {
    let mut head = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + head.len() + 1) % 64 != 0 {
        head.push(' ');
    }
    head.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((head.len() as u16).to_le_bytes());
    bytes.extend(head.as_bytes());
    bytes.extend(data);
    fs::write(path, bytes).unwrap();
}

fn floats(path: &Path, width: usize, values: &[f32]) {
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    npy(path, "<f4", &format!("({}, {width})", values.len() / width), &data);
}

fn integers(path: &Path, values: &[i32]) {
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    npy(path, "<i4", &format!("({},)", values.len()), &data);
}

const BAGS: usize = 40;
const SIZE: usize = 5;
const WIDTH: usize = 4;

/// Bags of five instances; in every second one the third instance stands out, and is the key.
fn folder(at: &Path, name: &str) -> PathBuf {
    let path = at.join(name);
    fs::create_dir(&path).unwrap();
    let mut state = 9u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as f32 / 65_536.0 - 0.5
    };
    let (mut features, mut keys, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..BAGS * SIZE {
        let key = (row / SIZE) % 2 == 1 && row % SIZE == 2;
        features.extend((0..WIDTH).map(|c| 10.0 * noise() + if key && c < 2 { 30.0 } else { 100.0 * c as f32 }));
        keys.push(i32::from(key));
        places.extend([row as f32, 0.5]);
    }
    floats(&path.join("features.npy"), WIDTH, &features);
    floats(&path.join("coords.npy"), 2, &places);
    integers(&path.join("instance_labels.npy"), &keys);
    integers(&path.join("bag_ids.npy"), &(0..BAGS * SIZE).map(|r| (r / SIZE) as i32).collect::<Vec<_>>());
    integers(&path.join("labels.npy"), &(0..BAGS).map(|b| b as i32 % 2).collect::<Vec<_>>());
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The lines of metrics.jsonl without what a clock says.
fn metrics(run: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let timeless = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        let object = value.as_object_mut().unwrap();
        object.retain(|key, _| !key.contains("seconds") && !key.contains("per_second"));
        value
    };
    lines.lines().map(timeless).collect()
}

const SMALL: [&str; 8] =
    ["--method", "gated-attention", "--set", "embed=[8]", "--set", "attention=8", "--epochs", "15"];

fn train<'a>(data: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--data", data, "--out", out], &SMALL[..], more].concat()
}

#[test]
fn a_run_folder_is_whole_and_its_configuration_repeats_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let (first, second) = (dir.path().join("runs/first"), dir.path().join("second"));
    let more = ["--validation", "0.25", "--patience", "9", "--monitor", "auc", "--lr", "0.01", "--seed", "3", "--json"];
    let more =
        [&more[..], &["--schedule", "warm-up:20+cosine-updates", "--clip-norm", "5", "--optimiser", "adamw"]].concat();
    let result = json(&train(text(&data), text(&first), &more));
    for key in ["test_auc", "test_accuracy", "instance_auc", "instance_auc_per_bag", "device", "seconds", "steps"] {
        assert!(!result[key].is_null(), "{key} in {result}");
    }
    assert_eq!(
        (&result["device"], &result["test_bags"], &result["validation_bags"]),
        (&"host".into(), &8.into(), &8.into())
    );
    assert!(result["test_auc"].as_f64().unwrap() > 0.9 && result["instance_auc"].as_f64().unwrap() > 0.9, "{result}");

    let files = [
        "attention.csv",
        "config.toml",
        "epochs.csv",
        "events.out.tfevents.bagrad",
        "metrics.jsonl",
        "model.safetensors",
        "predictions.csv",
        "provenance.json",
        "report.html",
    ];
    assert_eq!(names(&first), [&[".bagrad.json"], &files[..]].concat());
    assert_eq!(names(&dir.path().join("runs")), ["first"]);
    let lines = metrics(&first);
    assert_eq!(lines.last().unwrap()["kind"], "result");
    assert!(lines[0]["loss"].is_f64() && lines[0]["validation"]["auc"].is_f64());
    // The epochs as a table, and as records: a length, its checksum, as many bytes, and theirs.
    let table = fs::read_to_string(first.join("epochs.csv")).unwrap();
    let second_line = format!("0,1,{},", lines[0]["loss"]);
    assert!(table.starts_with("epoch,kept_so_far,loss/training,loss/validation,validation/auc,"), "{table}");
    assert!(table.lines().nth(1).unwrap().starts_with(&second_line) && table.lines().count() == lines.len(), "{table}");
    let (events, mut at, mut records) = (fs::read(first.join("events.out.tfevents.bagrad")).unwrap(), 0, 0);
    while at < events.len() {
        at += 16 + u64::from_le_bytes(events[at..at + 8].try_into().unwrap()) as usize;
        records += 1;
    }
    assert_eq!((at, records), (events.len(), lines.len()));
    let bags = fs::read_to_string(first.join("predictions.csv")).unwrap();
    assert!(bags.starts_with("bag,split,label,predicted,p(0),p(1)\n"), "{bags}");
    assert_eq!((bags.lines().count(), bags.matches(",test,").count()), (BAGS + 1, 8));
    let instances = fs::read_to_string(first.join("attention.csv")).unwrap();
    assert!(instances.starts_with("bag,instance,score,attention,x,y\n"), "{instances}");
    assert_eq!(instances.lines().count(), BAGS * SIZE + 1);
    assert!(fs::read_to_string(first.join("report.html")).unwrap().ends_with("</html>\n"));

    let config = first.join("config.toml");
    good(&["train", "--config", text(&config), "--out", text(&second)]);
    assert_eq!(metrics(&first), metrics(&second));
    for same in ["config.toml", "predictions.csv", "attention.csv"] {
        assert_eq!(fs::read(first.join(same)).unwrap(), fs::read(second.join(same)).unwrap(), "{same}");
    }
    // A flag goes before the configuration.
    let other = json(&["train", "--config", text(&config), "--seed", "4", "--json"]);
    assert_eq!(other["seed"], 4);
}

#[test]
fn a_run_is_replaced_only_when_asked_and_nothing_else_ever_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let run = dir.path().join("run");
    good(&train(text(&data), text(&run), &["--quiet"]));
    assert!(refused(&train(text(&data), text(&run), &[])).contains("--force"));
    good(&train(text(&data), text(&run), &["--force", "--seed", "2"]));
    assert!(fs::read_to_string(run.join("config.toml")).unwrap().contains("seed = 2"));
    let message = refused(&train(text(&data), text(&data), &["--force"]));
    assert!(message.contains("this call reads") && message.contains("bags"), "{message}");
    // Predictions do not replace the run they come from, and nothing that others wrote.
    let predict = |out: &Path, more: &[&'static str]| -> Vec<String> {
        let args = ["predict", "--model", text(&run), "--data", text(&data), "--out", text(out)];
        args.iter().chain(more).map(ToString::to_string).collect()
    };
    let refused = |args: Vec<String>| refused(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(refused(predict(&run, &["--force"])).contains("this call reads"));
    let table = dir.path().join("cohort.csv");
    fs::write(&table, "slide,label\na,1\n").unwrap();
    assert!(refused(predict(&table, &["--force"])).contains("no table of predictions"));
    good(&predict(&dir.path().join("p.csv"), &[]).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(refused(predict(&dir.path().join("p.csv"), &[])).contains("--force"));
    fs::write(run.join("notes.txt"), "mine").unwrap();
    let other = train(text(&data), text(&run), &["--force"]);
    assert!(refused(other.iter().map(ToString::to_string).collect()).contains("notes.txt"));
    let page = dir.path().join("page.html");
    fs::write(&page, "<html>mine</html>").unwrap();
    let demo = ["demo", "--out", text(&page), "--force"].map(String::from).to_vec();
    assert!(refused(demo).contains("no page that bagrad wrote"));
    assert_eq!(names(dir.path()), ["bags", "cohort.csv", "p.csv", "page.html", "run"]);
}

/// Kills replacing runs at moments over the whole of their time: the run that was there, or the new one, is whole.
#[test]
fn killed_training_leaves_the_old_run_or_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let run = dir.path().join("run");
    let clock = Instant::now();
    good(&train(text(&data), text(&run), &["--quiet"]));
    let whole = clock.elapsed();
    let files = names(&run);
    for part in 0..12 {
        let args = train(text(&data), text(&run), &["--force", "--quiet"]);
        let mut child =
            Command::new(env!("CARGO_BIN_EXE_bagrad")).args(args).env("BAGRAD_DEVICE", "host").spawn().unwrap();
        std::thread::sleep(whole * part / 10);
        let _ = child.kill();
        child.wait().unwrap();
        // A command that reads the place puts it right.
        good(&["predict", "--model", text(&run), "--data", text(&data), "--quiet"]);
        assert_eq!(names(&run), files, "killed after {part} tenths");
    }
    good(&train(text(&data), text(&run), &["--force", "--quiet"]));
    assert_eq!(names(dir.path()), ["bags", "run"]);
}

#[test]
fn unlabelled_bags_are_predicted_as_labelled_ones() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (folder(dir.path(), "bags"), dir.path().join("run"));
    good(&train(text(&data), text(&run), &["--validation", "0.2"]));
    let model = run.join("model.safetensors");
    let labelled = json(&["predict", "--model", text(&run), "--data", text(&data), "--json"]);
    assert!(labelled["auc"].is_f64() && labelled["instance_auc"].is_f64(), "{labelled}");

    fs::remove_file(data.join("labels.npy")).unwrap();
    fs::remove_file(data.join("instance_labels.npy")).unwrap();
    let unlabelled = json(&["predict", "--model", text(&model), "--data", text(&data), "--json"]);
    assert!(unlabelled.get("auc").is_none() && unlabelled["predictions"][0]["label"].is_null());
    let pairs = |v: &Value| -> Vec<Value> {
        v["predictions"].as_array().unwrap().iter().map(|p| p["probabilities"].clone()).collect()
    };
    assert_eq!(pairs(&labelled), pairs(&unlabelled));

    // The same numbers as in the run: the model standardises by itself.
    let in_run = fs::read_to_string(run.join("predictions.csv")).unwrap();
    let csv = good(&["predict", "--model", text(&run), "--data", text(&data)]);
    // Behind them is how far the bag is from the training's, which the run does not tell.
    let last = |text: &str, behind: usize| text.lines().last().unwrap().rsplit(',').nth(behind).unwrap().to_owned();
    assert_eq!((csv.lines().count(), last(&csv, 2)), (BAGS + 1, last(&in_run, 0)));

    let (file, both) = (dir.path().join("new.csv"), dir.path().join("new/both"));
    good(&["predict", "--model", text(&run), "--data", text(&data), "--out", text(&file)]);
    assert_eq!(fs::read_to_string(&file).unwrap(), csv);
    good(&["predict", "--model", text(&run), "--data", text(&data), "--out", text(&both)]);
    assert_eq!(names(&both), [".bagrad.json", "attention.csv", "prediction.json", "predictions.csv"]);
}

#[test]
fn classes_go_by_name_and_groups_stay_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (folder(dir.path(), "bags"), dir.path().join("run"));
    // The bags with a key instance are the first class, and four bags in turn are a group.
    integers(&data.join("labels.npy"), &(0..BAGS).map(|b| 1 - b as i32 % 2).collect::<Vec<_>>());
    integers(&data.join("groups.npy"), &(0..BAGS).map(|b| b as i32 % 10).collect::<Vec<_>>());
    fs::write(data.join("class_names.txt"), "sick\nwell\n").unwrap();
    let out = bagrad(&train(text(&data), text(&run), &["--positive", "SICK", "--validation", "0.25", "--json"]));
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(told.contains("40 bags of 10 groups, each kept together: 6 train, 2 validation, 2 test"), "{told}");
    let result: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&result["positive"], &result["groups"]), (&"sick".into(), &10.into()));
    assert!(fs::read_to_string(run.join("config.toml")).unwrap().contains("positive = \"SICK\""));
    assert!(fs::read_to_string(run.join("report.html")).unwrap().contains("F1 (sick)"));

    let predict = ["predict", "--model", text(&run), "--data", text(&data), "--json"];
    let first = json(&predict);
    assert_eq!((&first["classes"], &first["positive"]), (&serde_json::json!(["well", "sick"]), &"sick".into()));
    assert_eq!(first["predictions"][1]["label"], "sick");
    fs::write(data.join("class_names.txt"), "Ill\nWELL\n").unwrap();
    let message = refused(&predict);
    for part in ["'Ill', 'WELL'", "'well', 'sick'", "--classes"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let mapped = json(&[&predict[..], &["--classes", "Ill=sick"]].concat());
    assert_eq!((&mapped["auc"], &mapped["predictions"]), (&first["auc"], &first["predictions"]));

    // A division that parts a group.
    integers(&data.join("split.npy"), &(0..BAGS).map(|b| i32::from(b < 8)).collect::<Vec<_>>());
    let again = dir.path().join("again");
    let message = refused(&train(text(&data), text(&again), &[]));
    assert!(message.contains("group '0' is parted: bag '0' is for test and bag '10' for train"), "{message}");
    good(&train(text(&data), text(&again), &["--ignore-groups"]));
}

/// Columns that are called as nobody would guess, in training, in the run's configuration and in predictions.
#[test]
fn columns_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("scans.csv"), dir.path().join("run"));
    let row = |r: usize| {
        let (bag, value) = (r / 3, (r * 37 % 11) as f32 / 11.0);
        let outcome = if bag % 2 == 0 { "normal" } else { "tumour" };
        format!("s{bag},{},{outcome},{value},{}\n", ["north", "south", "east"][bag / 2 % 3], value + (bag % 2) as f32)
    };
    fs::write(&data, "scan,hospital,outcome,f,g\n".to_owned() + &(0..90).map(row).collect::<String>()).unwrap();
    let named = ["--bag-column", "scan", "--label-column", "outcome", "--group-column", "hospital"];
    let out = bagrad(&train(text(&data), text(&run), &[&named[..], &["--test", "0.3", "--json"]].concat()));
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(told.contains("30 bags of 3 groups, each kept together"), "{told}");
    assert_eq!(serde_json::from_slice::<Value>(&out.stdout).unwrap()["groups"], 3);
    let path = run.join("config.toml");
    let config = fs::read_to_string(&path).unwrap();
    assert!(config.contains("[columns]\nlabel = \"outcome\"\nbag = \"scan\"\ngroup = \"hospital\"\n"), "{config}");
    assert_eq!(json(&["train", "--config", text(&path), "--json"])["groups"], 3);

    let predict = ["predict", "--model", text(&run), "--data", text(&data), "--json"];
    let found = json(&[&predict[..], &named].concat());
    assert_eq!((&found["bags"], &found["predictions"][1]["label"]), (&30.into(), &"tumour".into()));
    let message = refused(&[&predict[..], &named[..4], &["--group-column", "site"]].concat());
    let columns = "the columns are 'scan', 'hospital', 'outcome', 'f', 'g'";
    assert!(message.contains("no column is called 'site'") && message.contains(columns), "{message}");
    let bags = folder(dir.path(), "bags");
    let message = refused(&train(text(&bags), text(&dir.path().join("other")), &["--group-column", "site"]));
    assert!(message.contains("only a text file has columns") && message.contains("groups.npy"), "{message}");
}

/// A whole data set that is packed together is not read, and the message says how to unpack it.
#[test]
fn a_data_set_in_one_npz_file_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/slides/arrays-bad/dataset.npz");
    fs::copy(packed, dir.path().join("bags.npz")).unwrap();
    let run = dir.path().join("run");
    for data in [dir.path(), &dir.path().join("bags.npz")] {
        let message = refused(&train(text(data), text(&run), &[]));
        assert!(message.contains("np.load('bags.npz')") && message.contains("np.save("), "{message}");
        assert!(message.contains("the arrays of a whole data set (bag_ids)") && !run.exists(), "{message}");
    }
}

#[test]
fn a_width_that_does_not_fit_the_model_is_told_with_both() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (folder(dir.path(), "bags"), dir.path().join("run"));
    good(&train(text(&data), text(&run), &[]));
    let message = refused(&["predict", "--model", text(&run), "--data", "digits-bags"]);
    assert!(message.contains("64 features") && message.contains("made for 4"), "{message}");
    let broken = dir.path().join("broken.safetensors");
    fs::write(&broken, &fs::read(run.join("model.safetensors")).unwrap()[..300]).unwrap();
    assert!(refused(&["predict", "--model", text(&broken), "--data", text(&data)]).contains("broken.safetensors"));
    assert!(refused(&["predict", "--model", "absent", "--data", text(&data)]).contains("absent"));
}

#[test]
fn bad_data_is_refused_by_name_and_leaves_no_run() {
    type Spoil = fn(&Path);
    let cases: [(&str, &str, Spoil); 8] = [
        ("features.npy", "found neither", |p| fs::remove_file(p.join("features.npy")).unwrap()),
        ("bag_ids.npy", "found none", |p| fs::remove_file(p.join("bag_ids.npy")).unwrap()),
        ("features.npy", "expected float16", |p| npy(&p.join("features.npy"), "<i4", "(1, 1)", &[0; 4])),
        ("features.npy", "NaN", |p| {
            let mut values = vec![0.0; BAGS * SIZE * WIDTH];
            values[7] = f32::NAN;
            floats(&p.join("features.npy"), WIDTH, &values);
        }),
        ("bag_ids.npy", "bag 1 has no instance", |p| {
            let ids: Vec<i32> = (0..BAGS * SIZE).map(|r| 2 * (r / SIZE) as i32).collect();
            integers(&p.join("bag_ids.npy"), &ids);
        }),
        ("bag_ids.npy", "ascending", |p| {
            let mut ids: Vec<i32> = (0..BAGS * SIZE).map(|r| (r / SIZE) as i32).collect();
            ids[50] = 3;
            integers(&p.join("bag_ids.npy"), &ids);
        }),
        ("spoilt", "class 1 ('1') has no bag", |p| {
            integers(&p.join("labels.npy"), &(0..BAGS).map(|b| 2 * (b as i32 % 2)).collect::<Vec<_>>());
        }),
        ("features.npy", "ends early", |p| {
            let bytes = fs::read(p.join("features.npy")).unwrap();
            fs::write(p.join("features.npy"), &bytes[..bytes.len() - 3]).unwrap();
        }),
    ];
    for (file, what, spoil) in cases {
        let dir = tempfile::tempdir().unwrap();
        let data = folder(dir.path(), "spoilt");
        spoil(&data);
        let run = dir.path().join("run");
        let message = refused(&train(text(&data), text(&run), &[]));
        assert!(message.contains(file) && message.contains(what), "{file}, {what}: {message}");
        assert_eq!(names(dir.path()), ["spoilt"], "{what}");
    }
}

#[test]
fn bad_settings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let (data, run) = (text(&data), dir.path().join("run"));
    let config = dir.path().join("mine.toml");
    fs::write(&config, "[training]\nepoch = 3\n").unwrap();
    let wrong: [(&[&str], &[&str]); 13] = [
        (&["--set", "embed=[65536,65536]"], &["size of a model", "17", "2147483648"]),
        (&["--set", "embed=[4294967295]"], &["embed", "at most 65536"]),
        (&["--set", "colour=3"], &["colour", "embed"]),
        (&["--set", "embed=many"], &["embed"]),
        (&["--fold", "0:1"], &["--folds"]),
        (&["--fold", "0:7", "--folds", "5"], &["0 to 4", "found 7"]),
        (&["--validation", "1.5"], &["validation", "1.5"]),
        (&["--validation", "0", "--patience", "3"], &["--patience"]),
        (&["--lr=-1"], &["learning_rate"]),
        (&["--class-weights", "1,2,3"], &["expected 2 numbers"]),
        (&["--weight-decay=-1"], &["weight_decay"]),
        (&["--device", "gpu:99"], &["adapter number 99"]),
        (&["--config", text(&config)], &["mine.toml", "epoch", "line 2"]),
    ];
    for (args, parts) in wrong {
        let message = refused(&train(data, text(&run), args));
        assert!(parts.iter().all(|p| message.contains(p)), "{args:?}: {message}");
        assert!(!run.exists());
    }
    assert!(refused(&["train", "--data", data]).contains("--method"));
    assert!(refused(&["train", "--method", "mi-net"]).contains("--data"));
    assert!(refused(&["train", "--data", data, "--method", "best-net"]).contains("mi-net-rc"));
    let absent = refused(&["train", "--data", "absent", "--method", "mi-net"]);
    assert!(
        absent.contains("absent: there is no such file") && absent.matches("no such file").count() == 1,
        "{absent}"
    );
    let diverged = refused(&train(data, text(&run), &["--lr", "1e30", "--no-standardise"]));
    assert!(diverged.contains("smaller learning rate") && !run.exists(), "{diverged}");
    // Numbers beyond what can be: told before anything is made of them.
    let large = ["--steps", "1000000000x1000000000,8,8,8"];
    assert!(refused(&["bench", large[0], large[1]]).contains("at most 2147483648 instances"));
    // Wrong usage is clap's affair.
    assert_eq!(
        bagrad(&["pretrain", "--images", "textures", "--out", "x", "--size", "4294967296"]).status.code(),
        Some(2)
    );
    assert_eq!(bagrad(&train(data, text(&run), &["--fold", "4294967295:0"])).status.code(), Some(2));
    assert_eq!(bagrad(&["train", "--colour"]).status.code(), Some(2));
}

#[test]
fn every_method_trains_on_every_way_to_divide() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let ways: [&[&str]; 7] = [
        &["--fold", "1:2", "--folds", "4"],
        &["--test", "0.5", "--validation", "0.1"],
        &["--test", "0", "--validation", "0.25", "--class-weights", "balanced"],
        &["--half"],
        &["--precision", "mixed", "--batch", "3"],
        // Features of hundreds, as they are: CausalMIL's variances are exponentials of them.
        &["--batch", "8", "--optimiser", "nesterov", "--no-standardise", "--lr", "1e-5", "--clip-norm", "1"],
        &["--key", "0", "--split-seed", "5"],
    ];
    let methods: Value = json(&["methods", "--json"]);
    for (method, way) in methods.as_array().unwrap().iter().zip(ways.into_iter().cycle()) {
        let name = method["name"].as_str().unwrap();
        let base = ["train", "--data", text(&data), "--method", name, "--epochs", "2", "--json", "--quiet"];
        let args: Vec<&str> = [&base[..], way].concat();
        let out = bagrad(&args);
        assert!(out.status.success() && out.stderr.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        let result: Value = serde_json::from_slice(&out.stdout).unwrap();
        let judged = if result["test_bags"] == 0 { "validation_auc" } else { "test_auc" };
        assert!(result[judged].is_f64(), "{result}");
    }
}

/// The run's files say what products computed with and where the scale of the loss went, and run again.
#[test]
fn mixed_precision_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let [first, again] = ["first", "again"].map(|name| dir.path().join(name));
    let config = dir.path().join("scale.toml");
    fs::write(&config, "[training.loss_scale]\nfirst = 1024.0\ngrow_every = 40\n").unwrap();
    let base = ["train", "--data", text(&data), "--method", "attention", "--epochs", "3", "--quiet"];
    let mixed = ["--precision", "mixed", "--config", text(&config), "--out", text(&first), "--json"];
    let result = json(&[&base[..], &mixed].concat());
    assert_eq!((&result["precision"], &result["skipped_updates"]), (&"mixed".into(), &0.into()), "{result}");
    assert!(result["loss_scale"] == 4096.0, "{result}");
    let written = fs::read_to_string(first.join("config.toml")).unwrap();
    assert!(written.contains("precision = \"mixed\"") && written.contains("grow_every = 40"), "{written}");
    let epochs = fs::read_to_string(first.join("metrics.jsonl")).unwrap();
    let epoch: Value = serde_json::from_str(epochs.lines().next().unwrap()).unwrap();
    assert!(epoch["loss_scale"]["scale"] == 1024.0, "{epoch}");
    good(&["train", "--config", text(&first.join("config.toml")), "--out", text(&again), "--quiet"]);
    let model = |run: &Path| fs::read(run.join("model.safetensors")).unwrap();
    assert_eq!(model(&first), model(&again));
    // In f32 nothing of it appears, and the results are others.
    let full = dir.path().join("full");
    let result = json(&[&base[..], &["--out", text(&full), "--json"]].concat());
    assert!(result["precision"] == "f32" && result.get("loss_scale").is_none(), "{result}");
    assert_ne!(model(&first), model(&full));
    assert!(!fs::read_to_string(full.join("config.toml")).unwrap().contains("loss_scale"));
    let wrong = bagrad(&[&base[..], &["--precision", "f16"]].concat());
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("expected f32 or mixed"));
}

/// A model without masks, and the same with a teacher that starts from it; only bags of the same division will do.
#[test]
fn a_teacher_starts_from_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let run = |name: &str| dir.path().join(name);
    let (plain, masked, again) = (run("plain"), run("masked"), run("again"));
    let train = |out: &Path, more: &[&str]| {
        let base =
            ["train", "--data", text(&data), "--method", "mhim-attention", "--set", "embed=[8]", "--epochs", "6"];
        let settings = ["--set", "attention=4", "--seed", "3", "--json", "--out", text(out)];
        [&base[..], &settings, more].concat().into_iter().map(String::from).collect::<Vec<_>>()
    };
    let plain_args = train(&plain, &["--set", "strategy=none", "--set", "consistency=0"]);
    json(&plain_args.iter().map(String::as_str).collect::<Vec<_>>());
    let masked_args = train(&masked, &["--start", text(&plain), "--set", "momentum=0.9"]);
    let result = json(&masked_args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(result["test_auc"].is_f64(), "{result}");
    assert!(metrics(&masked)[0] != metrics(&plain)[0]);
    let config = fs::read_to_string(masked.join("config.toml")).unwrap();
    assert!(config.contains("strategy = \"r-ham\"") && config.contains("start = "), "{config}");
    good(&["train", "--config", text(&masked.join("config.toml")), "--out", text(&again)]);
    assert_eq!(metrics(&masked), metrics(&again));
    assert!(good(&["predict", "--model", text(&masked), "--data", text(&data)]).lines().count() > BAGS);

    let refuse = |more: &[&str]| {
        let args = train(&run("no"), more);
        refused(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert!(refuse(&["--start", text(&plain), "--split-seed", "9"]).contains("z-scored by other bags"));
    assert!(refuse(&["--start", text(&plain), "--set", "attention=5"]).contains("expected attention.v.weight [5, 8]"));
    assert!(refuse(&["--start", text(&run("absent"))]).contains("absent"));
    assert!(refuse(&["--set", "strategy=hard"]).contains("l-ham"));
    assert!(refuse(&["--set", "high=2"]).contains("setting high"));
    assert!(refuse(&["--memory", "10kB"]).contains("memory budget"));
}

/// What a search found is written whole, and taken only by the device that it was found on.
#[test]
fn a_tuning_is_searched_kept_and_taken() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tuning.json");
    let search = ["bench", "--tune", "--steps", "40,8,8,4", "--repeats", "1", "--json", "--out", text(&file)];
    assert!(refused(&search).contains("the host leaves its products to a library"));
    assert!(!file.exists());
    if std::env::var("BAGRAD_HOST_ONLY").is_ok_and(|v| v == "1") {
        eprintln!("BAGRAD_HOST_ONLY=1: the GPU half of this test DID NOT RUN");
        return;
    }
    let device = std::env::var("BAGRAD_TEST_DEVICE").unwrap_or_else(|_| "gpu:0".into());
    let on = ["--device", &device[..]];
    let candidates = json(&[&search[..], &on].concat());
    let candidates = candidates.as_array().unwrap();
    assert!(candidates.iter().any(|c| c["chosen"] == true));
    // Where the device has subgroups, kernels that reduce follow.
    for reduction in candidates.iter().filter(|c| c["kernel"].is_string()) {
        let faster = reduction["subgroups_us"].as_f64().unwrap() < 0.97 * reduction["workgroup_us"].as_f64().unwrap();
        assert_eq!(reduction["subgroups"], faster, "{reduction}");
    }
    let step = ["bench", "--steps", "40,8,8,4", "--repeats", "1", "--tuning"];
    let out = bagrad(&[&step[..], &[text(&file)], &on].concat());
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && said.contains("tuned by") && said.contains("reductions in subgroups"), "{said}");
    // What lies among the caches is told with the devices; where that folder is, is Linux's rule.
    if cfg!(target_os = "linux") {
        let tuned = || {
            let mut program = Command::new(env!("CARGO_BIN_EXE_bagrad"));
            program.env("XDG_CACHE_HOME", dir.path()).env("BAGRAD_DEVICE", &device);
            let out = program.args(["devices", "--json"]).output().unwrap().stdout;
            serde_json::from_slice::<Value>(&out).unwrap()["tuned"].clone()
        };
        assert_eq!(tuned(), Value::Null);
        let found: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let plain = |c: char| !(c.is_ascii_alphanumeric() || c == '.');
        let parts = found["device"].as_str().unwrap().split(plain).filter(|part| !part.is_empty());
        let name = format!("tuning-{}.json", parts.collect::<Vec<_>>().join("-"));
        fs::create_dir_all(dir.path().join("bagrad")).unwrap();
        fs::copy(&file, dir.path().join("bagrad").join(name)).unwrap();
        let told = tuned();
        let (products, all) =
            (found["products"].as_array().unwrap().len(), found["reductions"].as_array().unwrap().len());
        let counted = told.as_str().unwrap_or_default();
        assert!(counted.starts_with("tuned by ") && counted.contains(&format!("({products} products, ")), "{told}");
        assert!(counted.ends_with(&format!(" of {all} reductions in subgroups)")), "{told}");
    }
    let other = fs::read_to_string(&file).unwrap().replacen("\"device\": \"", "\"device\": \"another ", 1);
    fs::write(&file, other).unwrap();
    let message = refused(&[&step[..], &[text(&file)], &on].concat());
    assert!(message.contains("--tuning: ") && message.contains("found that of another "), "{message}");
}

#[test]
fn methods_and_devices_are_listed_for_programs() {
    let methods = json(&["methods", "--json"]);
    assert!(methods.as_array().unwrap().len() >= 6);
    for method in methods.as_array().unwrap() {
        for key in ["name", "title", "paper"] {
            assert!(method[key].is_string(), "{method}");
        }
        assert!(method["level"] == "instance" || method["level"] == "bag");
        assert!(method["parameters"][0]["name"].is_string() && method["parameters"][0].get("default").is_some());
    }
    let devices = json(&["devices", "--json"]);
    assert!(devices["adapters"].is_array() && devices["host"]["threads"].as_u64().unwrap() > 0);
    for adapter in devices["adapters"].as_array().unwrap().iter().filter(|a| a["usable"] == true) {
        assert!(adapter["cooperative"].as_str().unwrap().contains("cooperative matrices"), "{adapter}");
    }
    assert!(good(&["methods"]).contains("gated-attention") && good(&["devices"]).contains("host"));
}

#[test]
fn the_demo_finds_the_nines() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    // A tenth of the bags is enough to see that it learns.
    let args = ["demo", "--json", "--quiet", "--train", "400", "--seeds", "2", "--out", text(&page)];
    let result = json(&args);
    assert!(result["test_auc"].as_f64().unwrap() > 0.9, "{result}");
    assert!(result["instance_auc"].as_f64().unwrap() > 0.9, "{result}");
    assert_eq!(result["runs"].as_array().unwrap().len(), 2);
    assert!(result["test_auc_std"].is_f64() && result["steps"].as_u64().unwrap() > 0);
    let html = fs::read_to_string(&page).unwrap();
    assert_eq!(html.matches("<article class=\"bag\">").count(), 6);
    assert_eq!(names(dir.path()), ["page.html"]);
}

#[test]
fn an_experiment_goes_from_data_to_table_and_on_where_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    let reproduce = |more: &[&str]| {
        let args = ["reproduce", "digits", "--quick", "--json", "--out", text(dir.path())];
        let out = bagrad(&[&args[..], more].concat());
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.success(), "{said}");
        (serde_json::from_slice::<Value>(&out.stdout).unwrap(), said)
    };
    let (first, said) = reproduce(&["--only", "gated attention"]);
    assert!(said.contains("1 runs done, 0 were there"), "{said}");
    let cell = &first["cells"][0];
    assert_eq!((cell["row"].as_str(), cell["seeds"].as_u64()), (Some("gated attention"), Some(1)));
    assert!((0.3..=1.0).contains(&cell["mean"].as_f64().unwrap()) && cell["spread"].is_null(), "{first}");
    let (both, said) = reproduce(&["--seeds", "2"]);
    assert!(said.contains("3 runs done, 1 were there"), "{said}");
    assert_eq!(both["cells"].as_array().unwrap().len(), 2);
    assert!(both["cells"].as_array().unwrap().iter().all(|c| c["seeds"] == 2 && c["spread"].is_f64()), "{both}");
    let (again, said) = reproduce(&["--seeds", "2", "--table"]);
    assert!(again == both && !said.contains("runs done"), "{said}");
    let page = fs::read_to_string(dir.path().join("digits-quick.md")).unwrap();
    assert!(page.contains("bagrad reproduce digits --seeds 2 --quick") && page.contains("| gated attention | 30 |"));
    assert_eq!(names(dir.path()), ["digits-quick.json", "digits-quick.md", "digits-quick.runs.jsonl"]);
    assert_eq!(fs::read_to_string(dir.path().join("digits-quick.runs.jsonl")).unwrap().lines().count(), 4);
}

#[test]
fn experiments_are_listed_and_say_what_they_lack() {
    let list = json(&["reproduce", "--json"]);
    for experiment in list.as_array().unwrap() {
        for key in ["name", "title", "paper", "takes", "protocol"] {
            assert!(!experiment[key].as_str().unwrap().is_empty(), "{key} of {experiment}");
        }
        let name = experiment["name"].as_str().unwrap();
        assert!(good(&["reproduce"]).contains(name), "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    let out = text(dir.path());
    let at = ["--data", out, "--out", out];
    let message = refused(&[&["reproduce", "mnist-bags"], &at[..]].concat());
    assert!(message.contains("tools/fetch_data mnist") && message.contains("seed 1"), "{message}");
    assert!(refused(&["reproduce", "nothing"]).contains("there are: digits"));
    assert!(refused(&["reproduce", "digits", "--only", "nothing", "--out", out]).contains("no row or column"));
    assert!(refused(&["reproduce", "digits", "--table", "--out", out]).contains("no run of this experiment"));
}

#[test]
#[cfg(unix)]
fn a_reader_that_goes_away_is_no_error() {
    let program = env!("CARGO_BIN_EXE_bagrad");
    // The reader has to be gone before the program writes.
    let script = format!("(sleep 0.2; '{program}' methods; echo $? >&2) | true");
    let out = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(String::from_utf8(out.stderr).unwrap().trim(), "0");
}
