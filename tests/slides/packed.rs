//! Packed files on the command line.

use super::slides::cohort;
use super::{bagrad, good, json, refused, text};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Names of what lies in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What is trained of a packed file is what is trained of the folder, wherever its features are meanwhile.
#[test]
fn a_packed_file_trains_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, table) = cohort(dir.path());
    let file = dir.path().join("uni.bags");
    let told = json(&["pack", text(&folder), "--labels", text(&table), "--out", text(&file), "--json"]);
    assert_eq!(
        (told["slides"].as_u64(), told["width"].as_u64(), told["half"].as_bool()),
        (Some(12), Some(6), Some(true))
    );
    let run = |name: &str, data: &[&str]| {
        let out = dir.path().join(name);
        let args = ["train", "--method", "gated-attention", "--epochs", "3", "--validation", "0.2", "--seed", "4"];
        good(&[&args[..], &["--quiet", "--out", text(&out)], data].concat());
        let [predictions, attention, model] =
            ["predictions.csv", "attention.csv", "model.safetensors"].map(|name| fs::read(out.join(name)).unwrap());
        // The header tells what the data are called; all numbers stand behind it.
        let header = 8 + u64::from_le_bytes(model[..8].try_into().unwrap()) as usize;
        [predictions, attention, model[header..].to_vec()]
    };
    let (data, labels) = (["--data", text(&folder)], ["--labels", text(&table)]);
    let wanted = run("folder", &[data, labels].concat());
    for (name, more) in [("auto", &[][..]), ("host", &["--cache", "host"]), ("none", &["--cache", "none"])] {
        assert!(run(name, &[&["--data", text(&file)], more].concat()) == wanted, "--cache {name}");
    }
    assert!(run("labels", &[&["--data", text(&file)], &labels[..]].concat()) == wanted);
    let unscaled = ["--no-standardise"];
    let packed = run("unscaled", &[&["--data", text(&file)], &unscaled[..]].concat());
    assert!(packed == run("unscaled-folder", &[&data[..], &labels, &unscaled].concat()) && packed != wanted);
    // Float16 on the device too: rows are copied as they lie.
    let half = ["--no-standardise", "--half", "--cache", "none"];
    let packed = run("half", &[&["--data", text(&file)], &half[..]].concat());
    assert!(packed == run("half-folder", &[&data[..], &labels, &half].concat()));

    let model = dir.path().join("folder");
    let of = |data: &Path| json(&["predict", "--model", text(&model), "--data", text(data), "--json"]);
    let (mut of_folder, of_file) = (of(&folder), of(&file));
    assert_eq!(of_file["predictions"][3]["label"], "tumour");
    of_folder["predictions"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .zip(of_file["predictions"].as_array().unwrap())
        .for_each(|(folder, file)| {
            folder["label"] = file["label"].clone();
            assert_eq!(folder, file);
        });
    let inspected = json(&["inspect", text(&file), "--json"]);
    assert_eq!((inspected["slides"].as_u64(), inspected["patients"].as_u64()), (Some(12), Some(6)));
    let told = good(&["inspect", text(&file)]);
    assert!(told.contains("12 in") && told.contains("(packed)") && told.contains("encoder       uni_v1"), "{told}");
}

/// A run goes on with the file it began with, and with no other.
#[test]
fn checkpoints_know_a_packed_file() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, table) = cohort(dir.path());
    let (file, run) = (dir.path().join("uni.bags"), dir.path().join("run"));
    good(&["pack", text(&folder), "--labels", text(&table), "--out", text(&file), "--quiet"]);
    let args = ["train", "--data", text(&file), "--method", "attention", "--epochs", "100000", "--out", text(&run)];
    let args = [&args[..], &["--checkpoint-every", "1u", "--quiet", "--device", "host"]].concat();
    let mut child = Command::new(env!("CARGO_BIN_EXE_bagrad")).args(&args).spawn().unwrap();
    let (checkpoint, begin) = (dir.path().join("run.checkpoint"), Instant::now());
    while !checkpoint.exists() {
        assert!(begin.elapsed() < Duration::from_secs(60), "no checkpoint");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Other slides under the same name.
    fs::copy(folder.join("000.h5"), folder.join("003.h5")).unwrap();
    good(&["pack", text(&folder), "--labels", text(&table), "--out", text(&file), "--quiet", "--force"]);
    let message = refused(&["train", "--resume", "--out", text(&run), "--device", "host", "--quiet"]);
    assert!(message.contains("checkpoint"), "{message}");
}

#[test]
fn damaged_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, _) = cohort(dir.path());
    let file = dir.path().join("uni.bags");
    good(&["pack", text(&folder), "--out", text(&file), "--quiet"]);
    assert!(good(&["pack", "--verify", text(&file)]).contains("12 slides, "));
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(8).rposition(|w| w == b"BAGSLIDE").unwrap() - 8;
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
    let out = bagrad(&["pack", "--verify", text(&file)]);
    let [told, message] = [out.stdout, out.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(told.contains("uni.bags/010: its values are damaged: the checksum is another"), "{told}");
    assert_eq!((out.status.code(), message.contains("1 of 12 slides are damaged")), (Some(1), true), "{message}");
    let message = refused(&["predict", "--model", text(&file), "--data", text(&file)]);
    assert!(message.contains("uni.bags"), "{message}");
    for wrong in [&["pack"][..], &["pack", text(&folder)], &["pack", "--verify", text(&file), "--out", "x"]] {
        assert_eq!(bagrad(wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// Killed at several moments, and stopped by a disk without room: the file is the same in the end, and never half there.
#[test]
fn a_killed_pack_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("slides");
    fs::create_dir(&folder).unwrap();
    for slide in 0..300 {
        let from = format!("tests/readers/slides/trident/00{}.h5", slide % 3);
        let to = folder.join(format!("{slide:03}.h5"));
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(from), to).unwrap();
    }
    let (whole, parts) = (dir.path().join("whole.bags"), dir.path().join("parts.bags"));
    let clock = Instant::now();
    good(&["pack", text(&folder), "--out", text(&whole), "--quiet"]);
    let time = clock.elapsed();
    let args = ["pack", text(&folder), "--out", text(&parts), "--json"];
    let mut killed = 0;
    for moment in 1..=10 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bagrad"));
        let mut child = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(time.mul_f64(f64::from(moment) / 11.0));
        child.kill().unwrap();
        let over = child.wait().unwrap().success();
        killed += usize::from(!over);
        // Also where it was killed behind its last step.
        if parts.exists() {
            assert!(fs::read(&parts).unwrap() == fs::read(&whole).unwrap());
            break;
        }
        assert!(!over);
    }
    println!("killed {killed} times within {time:?}; then there is {:?}", names(dir.path()));
    if !parts.exists() {
        good(&args);
    }
    assert!(killed > 0 && fs::read(&parts).unwrap() == fs::read(&whole).unwrap(), "killed {killed} times");
    // One that was killed between the last rename and its cleaning leaves that to the next, which has nothing else to do.
    assert!(refused(&args).contains("exists already"));
    assert_eq!(names(dir.path()), ["parts.bags", "slides", "whole.bags"]);
    fs::remove_file(&parts).unwrap();
    #[cfg(unix)]
    {
        // No file beyond some kilobytes: what a full disk does, without one.
        let limited = format!("trap '' XFSZ; ulimit -f 64; exec \"$0\" pack {} --out {}", text(&folder), text(&parts));
        let out = Command::new("sh").args(["-c", &limited, env!("CARGO_BIN_EXE_bagrad")]).output().unwrap();
        let message = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.code() == Some(1) && message.contains("parts.bags.part: "), "{message}");
        assert_eq!(names(dir.path()), ["parts.bags.part", "slides", "whole.bags"]);
        let told = json(&args);
        assert!(told["found"].as_u64().unwrap() > 10, "{told}");
        assert!(fs::read(&parts).unwrap() == fs::read(&whole).unwrap());
        assert_eq!(names(dir.path()), ["parts.bags", "slides", "whole.bags"]);
    }
}
