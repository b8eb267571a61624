//! Commands that are killed at any moment, a hundred times in all, and go on with `--resume`.

use bagrad::random::Random;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(super) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bagrad"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

pub(super) fn good(args: &[&str]) -> Duration {
    let clock = Instant::now();
    let output = command(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    clock.elapsed()
}

/// Runs until it is killed after a moment, at most `most` times; then lets it end. How often it was killed. A moment is
/// about half of what the whole takes, at most, and never long.
pub(super) fn kill_and_resume(
    first: &[&str],
    again: &[&str],
    whole: Duration,
    most: usize,
    random: &mut Random,
) -> usize {
    let mut killed = 0;
    for n in 0..most {
        let mut child = command(if n == 0 { first } else { again }).spawn().unwrap();
        std::thread::sleep(whole.min(Duration::from_millis(320)).mul_f64(0.05 + 0.5 * random.uniform()));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            return killed;
        }
        assert_eq!(output.status.code(), None, "{}", String::from_utf8_lossy(&output.stderr));
        killed += 1;
    }
    good(again);
    killed
}

fn same(a: &Path, b: &Path, files: &[&str]) {
    for name in files {
        let [a, b] = [a, b].map(|folder| std::fs::read(folder.join(name)).unwrap());
        assert!(a == b, "{name} differs");
    }
}

/// Each round kills one training ten times or more, at random moments.
#[test]
fn a_hundred_kills_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (whole, parts) = (path("whole"), path("parts"));
    let train = |out: &str| -> Vec<String> {
        let args = "train --data digits-bags,train=120,test=20,mean=10 --method gated-attention --set embed=[64] \
                    --validation 0.2 --epochs 12 --lr 0.002 --seed 3 --device host --quiet --checkpoint-every 2u --out";
        args.split_whitespace().map(str::to_owned).chain([out.to_owned()]).collect()
    };
    let texts = |args: &[String]| args.iter().map(String::as_str).map(str::to_owned).collect::<Vec<_>>();
    let (once, first) = (train(&whole), texts(&train(&parts)));
    let once: Vec<&str> = once.iter().map(String::as_str).collect();
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    let time = good(&once);
    let mut random = Random::new(17, 0);
    let (mut kills, mut rounds) = (0, 0);
    while kills < 100 {
        // What is not said again is taken from the checkpoint; a run that was killed before its first begins.
        let again: Vec<&str> = match rounds % 2 {
            0 => first.iter().copied().chain(["--resume"]).collect(),
            _ => {
                good_start(&first, &parts);
                vec!["train", "--resume", "--out", &parts, "--device", "host", "--quiet", "--checkpoint-every", "2u"]
            }
        };
        let begin = if rounds % 2 == 0 { &first } else { &again };
        kills += kill_and_resume(begin, &again, time, 40, &mut random);
        same(Path::new(&whole), Path::new(&parts), &["model.safetensors", "predictions.csv", "attention.csv"]);
        assert!(!folder.path().join("parts.checkpoint").exists());
        std::fs::remove_dir_all(&parts).unwrap();
        rounds += 1;
        assert!(rounds < 100, "{kills} kills in {rounds} rounds: the training is too short to be killed");
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["whole"], "after {kills} kills in {rounds} rounds");
}

/// To go on with a run that is over is no mistake, as it may have been killed at its very end; to ask for another is one.
#[test]
fn a_run_that_is_over_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run").display().to_string();
    let first = "train --data digits-bags,train=20,test=10,mean=5 --method attention --set embed=[8] --epochs 2 --device \
                 host --quiet --out";
    let first: Vec<&str> = first.split_whitespace().chain([out.as_str()]).collect();
    good(&first);
    let model = std::fs::read(Path::new(&out).join("model.safetensors")).unwrap();
    let run = |args: &[&str]| {
        let output = command(args).stdout(Stdio::piped()).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.success(), out, err)
    };
    let (well, _, err) = run(&["train", "--resume", "--out", &out]);
    assert!(well && err.contains("this run is over; nothing was trained"), "{err}");
    let (well, json, _) = run(&[&first[..], &["--resume", "--json"]].concat());
    assert!(well && json.contains("\"method\"") && json.contains("\"out\""), "{json}");
    let (well, _, err) = run(&["train", "--resume", "--out", &out, "--epochs", "3"]);
    assert!(!well && err.contains("epochs = 3") && err.contains("--force to train anew"), "{err}");
    assert_eq!(std::fs::read(Path::new(&out).join("model.safetensors")).unwrap(), model);
}

/// Killed between the run folder and the end of its checkpoint, a run is over all the same; the checkpoint of another one is no
/// part of it.
#[test]
fn a_checkpoint_that_a_run_left_behind_is_taken_away() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run").display().to_string();
    let (checkpoint, kept) = (folder.path().join("run.checkpoint"), folder.path().join("kept"));
    let train = |seed: &'static str| -> Vec<String> {
        let args = "train --data digits-bags,train=60,test=10 --method attention --set embed=[64] --epochs 40 --device host --quiet \
                    --checkpoint-every 2u --seed";
        args.split_whitespace().chain([seed, "--out", &out]).map(str::to_owned).collect()
    };
    let [one, other] = [train("1"), train("2")];
    let [one, other] = [&one, &other].map(|args| args.iter().map(String::as_str).collect::<Vec<_>>());
    let resume = ["train", "--resume", "--out", &out, "--device", "host"];
    good_start(&one, &out);
    std::fs::copy(&checkpoint, &kept).unwrap();
    good(&resume);
    let model = std::fs::read(Path::new(&out).join("model.safetensors")).unwrap();
    std::fs::rename(&kept, &checkpoint).unwrap();
    let output = command(&resume).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.contains("this run is over"), "{told}");
    assert!(!checkpoint.exists());
    assert_eq!(std::fs::read(Path::new(&out).join("model.safetensors")).unwrap(), model);

    // Of another run, whose place is taken.
    std::fs::rename(&out, folder.path().join("finished")).unwrap();
    good_start(&other, &out);
    std::fs::rename(folder.path().join("finished"), &out).unwrap();
    let output = command(&resume).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("exists already"), "{told}");
    assert!(checkpoint.exists());
}

/// Runs until there is a checkpoint, and kills.
fn good_start(args: &[&str], out: &str) {
    let checkpoint = format!("{out}.checkpoint");
    loop {
        let mut child = command(args).spawn().unwrap();
        while child.try_wait().unwrap().is_none() && !Path::new(&checkpoint).exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if Path::new(&checkpoint).exists() && !Path::new(out).exists() {
            return;
        }
        std::fs::remove_dir_all(out).unwrap();
    }
}

#[test]
fn pretraining_goes_on_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (whole, parts) = (path("whole.safetensors"), path("parts.safetensors"));
    let args = |out: &str, more: &[&str]| -> Vec<String> {
        let args = "pretrain --images textures,side=16,train=12,test=2,mean=12,spread=0 --set widths=[8,8] \
                    --set blocks=[1,1] --epochs 6 --batch 16 --device host --quiet --checkpoint-every 1u --out";
        let more = more.iter().map(ToString::to_string);
        args.split_whitespace().map(str::to_owned).chain([out.to_owned()]).chain(more).collect()
    };
    let (once, first, again) = (args(&whole, &[]), args(&parts, &[]), args(&parts, &["--resume"]));
    let texts = |args: &[String]| args.iter().map(String::as_str).map(str::to_owned).collect::<Vec<String>>();
    let once = texts(&once);
    let time = good(&once.iter().map(String::as_str).collect::<Vec<_>>());
    let [first, again] = [&first, &again].map(|args| args.iter().map(String::as_str).collect::<Vec<_>>());
    let mut random = Random::new(18, 0);
    let bytes = |path: &str| std::fs::read(path).unwrap();
    let mut kills = 0;
    for _ in 0..20 {
        kills += kill_and_resume(&first, &again, time, 12, &mut random);
        assert!(bytes(&whole) == bytes(&parts), "after {kills} kills");
        if kills > 5 {
            return;
        }
        for entry in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            if entry.file_name().to_string_lossy().contains("parts") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }
    panic!("{kills} kills in 20 rounds: too short to be killed");
}

#[test]
fn an_interrupted_run_is_not_lost_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run").display().to_string();
    let checkpoint = folder.path().join("run.checkpoint");
    let args: Vec<&str> =
        "train --data digits-bags,train=60,test=10,mean=5 --method attention --epochs 400 --device host \
                           --quiet --checkpoint-every 1e --out"
            .split_whitespace()
            .chain([out.as_str()])
            .collect();
    good_start(&args, &out);
    let refused = |args: &[&str], told: &str| {
        let output = command(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(told), "{args:?}: {text}");
    };
    let before = std::fs::read(&checkpoint).unwrap();
    refused(&args, "--resume goes on with it, --force begins anew");
    let other: Vec<&str> = args.iter().copied().chain(["--resume", "--seed", "9"]).collect();
    refused(&other, "settings.seed was 1 and is 9");
    refused(&["train", "--resume"], "--resume needs --out");
    assert!(std::fs::read(&checkpoint).unwrap() == before);
    let short: Vec<&str> = args.iter().map(|a| if *a == "400" { "2" } else { a }).chain(["--force"]).collect();
    good(&short);
    assert!(!checkpoint.exists() && Path::new(&out).exists());
    // What is no checkpoint is not replaced by one.
    std::fs::remove_dir_all(&out).unwrap();
    std::fs::write(&checkpoint, "mine").unwrap();
    refused(&short, "run.checkpoint");
    assert_eq!(std::fs::read_to_string(&checkpoint).unwrap(), "mine");
}

/// An experiment whose runs take several trainings each.
#[test]
fn experiments_go_on_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (whole, parts) = (path("whole"), path("parts"));
    let command = |out: &str| -> Vec<String> {
        let args = "reproduce mhim --quick --only attention --device host --quiet --checkpoint-every 1u --out";
        args.split_whitespace().map(str::to_owned).chain([out.to_owned()]).collect()
    };
    let (once, again) = (command(&whole), command(&parts));
    let [once, again] = [&once, &again].map(|args| args.iter().map(String::as_str).collect::<Vec<_>>());
    let time = good(&once);
    let mut random = Random::new(19, 0);
    let runs = |folder: &str| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(Path::new(folder).join("mhim-quick.runs.jsonl")).unwrap();
        let line = |line: &str| -> serde_json::Value { serde_json::from_str(line).unwrap() };
        let told = |run: serde_json::Value| serde_json::json!([run["key"], run["metrics"]]);
        let mut runs: Vec<serde_json::Value> = text.lines().map(line).map(told).collect();
        // Runs go on side by side, and are written down as they end.
        runs.sort_by_key(ToString::to_string);
        runs
    };
    let mut kills = 0;
    for _ in 0..20 {
        kills += kill_and_resume(&again, &again, time, 25, &mut random);
        assert_eq!(runs(&whole), runs(&parts), "after {kills} kills");
        let hidden = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
        let left: Vec<_> = std::fs::read_dir(&parts).unwrap().map(Result::unwrap).filter(hidden).collect();
        assert!(left.is_empty(), "{left:?}");
        if kills > 5 {
            return;
        }
        std::fs::remove_dir_all(&parts).unwrap();
    }
    panic!("{kills} kills in 20 rounds: too short to be killed");
}
