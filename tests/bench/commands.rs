//! `bagrad bench`: files of runs, comparisons of them, and shaders from outside.

use super::{bagrad, good, json, refused, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The least there is to measure: a product in both widths.
const PRODUCT: [&str; 5] = ["bench", "--product", "8,8,8", "--repeats", "2"];

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(name)
}

/// The run of a file, changed.
fn changed(from: &Path, to: &Path, change: impl Fn(&mut Value)) {
    let mut run: Value = serde_json::from_str(&fs::read_to_string(from).unwrap()).unwrap();
    change(&mut run);
    fs::write(to, run.to_string()).unwrap();
}

/// Samples without noise, so that what a comparison says does not depend on the machine; one case is slower by `factor`.
fn steady(run: &mut Value, factor: f64) {
    for (n, case) in run["cases"].as_array_mut().unwrap().iter_mut().enumerate() {
        let us = 100.0 * (n + 1) as f64 * if n == 1 { factor } else { 1.0 };
        for (round, samples) in case["samples_us"].as_array_mut().unwrap().iter_mut().enumerate() {
            *samples = serde_json::json!([us * (1.0 + 0.002 * (round % 3) as f64), us]);
        }
    }
}

#[test]
fn runs_are_kept_and_compared_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (run, a, b) = (file(folder.path(), "run.json"), file(folder.path(), "a.json"), file(folder.path(), "b.json"));
    let csv = file(folder.path(), "run.csv");
    let kept = ["--rounds", "5", "--label", "abc123", "--json", text(&run), "--csv", text(&csv)];
    let table = good(&[&PRODUCT[..], &kept].concat());
    assert!(table.contains("matmul") && table.contains("drift"), "{table}");
    let found: Value = serde_json::from_str(&fs::read_to_string(&run).unwrap()).unwrap();
    assert_eq!((&found["format"], &found["label"]), (&"bagrad bench 1".into(), &"abc123".into()));
    assert!(found["device"]["kind"] == "host" && found["machine"]["threads"].as_u64().unwrap() > 0);
    let cases = found["cases"].as_array().unwrap();
    assert!(cases.len() == 2 && cases.iter().all(|c| c["samples_us"].as_array().unwrap().len() == 5));
    let lines = fs::read_to_string(&csv).unwrap();
    assert_eq!(lines.lines().count(), 1 + cases.len() * 5 * 3);

    // A page of the same, with the ceilings of the device.
    let page = file(folder.path(), "page.html");
    good(&[&PRODUCT[..], &["--html", text(&page), "--rounds", "3"]].concat());
    let html = fs::read_to_string(&page).unwrap();
    for part in ["Bandwidth by the size", "f32 multiply-add"] {
        assert!(html.contains(part), "no {part} on the page");
    }
    // On a machine that is too busy to measure a ceiling the page says so instead.
    for part in ["Roofline", "Share of the closest ceiling"] {
        assert!(html.contains(part) || html.contains("A ceiling is missing or wrong"), "no {part} on the page");
    }
    assert!(!html.contains("<script") && !html.contains("NaN"));

    // Nothing is replaced unasked, and nothing that is no run at all.
    assert!(refused(&[&PRODUCT[..], &["--json", text(&run)]].concat()).contains("--force replaces it"));
    let note = file(folder.path(), "note.txt");
    fs::write(&note, "mine").unwrap();
    let refusal = refused(&[&PRODUCT[..], &["--json", text(&note), "--force"]].concat());
    assert!(refusal.contains("no file of a benchmark that bagrad wrote"), "{refusal}");

    // A slowed kernel ends in exit code 3, and the same numbers in none.
    changed(&run, &a, |run| steady(run, 1.0));
    changed(&run, &b, |run| steady(run, 1.25));
    let quiet = good(&["bench", "compare", text(&a), text(&a), "--fail-above", "5%"]);
    assert!(quiet.contains("0 slower and 0 faster"), "{quiet}");
    let out = bagrad(&["bench", "compare", text(&a), text(&b), "--fail-above", "5%"]);
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(3), "{stdout}{stderr}");
    assert!(stderr.contains("error: 1 kernel is slower by more than 5 %: matmul"), "{stderr}");
    good(&["bench", "compare", text(&a), text(&b), "--fail-above", "30%"]);
    let compared = json(&["bench", "compare", text(&b), text(&a), "--json"]);
    let faster = compared["ratios"].as_array().unwrap().iter().filter(|r| r["verdict"] == "faster").count();
    assert_eq!((faster, &compared["same_program"]), (1, &true.into()));

    let [other, few] = ["other.json", "few.json"].map(|name| file(folder.path(), name));
    changed(&run, &other, |run| {
        run["device"]["name"] = "Another".into();
        run["device"]["description"] = "Another (vulkan)".into();
        run["cases"][1]["shape"] = "new".into();
    });
    let refusal = refused(&["bench", "compare", text(&run), text(&other)]);
    assert!(refusal.contains("Another (vulkan); --across compares them nevertheless"), "{refusal}");
    let across = good(&["bench", "compare", text(&run), text(&other), "--across"]);
    assert!(across.contains("only in the first file: ") && across.contains("only in the second file: "), "{across}");
    changed(&run, &few, |run| {
        run["cases"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .for_each(|c| c["samples_us"].as_array_mut().unwrap().truncate(4));
    });
    good(&["bench", "compare", text(&run), text(&few)]);
    let refusal = refused(&["bench", "compare", text(&run), text(&few), "--fail-above", "5%"]);
    assert!(refusal.contains("at least 5 rounds"), "{refusal}");
    fs::write(&few, "{\"a\": 1}").unwrap();
    assert!(refused(&["bench", "compare", text(&run), text(&few)]).contains("expected \"bagrad bench 1\""));
    assert!(
        refused(&["bench", "--steps", "40,8,8,4", "--repeats", "1", "--json", text(&few)]).contains("--json prints")
    );
    assert!(refused(&["bench", "--filter", "nothing"]).contains("no kernel has \"nothing\" in its name"));
}

/// A device that runs WGSL, unless this run is for the host alone.
pub fn gpu() -> Option<String> {
    if std::env::var("BAGRAD_HOST_ONLY").is_ok_and(|v| v == "1") {
        eprintln!("BAGRAD_HOST_ONLY=1: the GPU half of this test DID NOT RUN");
        return None;
    }
    Some(std::env::var("BAGRAD_TEST_DEVICE").unwrap_or_else(|_| "gpu:0".into()))
}

#[test]
fn all_devices_are_measured_one_after_the_other() {
    let all = ["bench", "--device", "all"];
    let refusal = refused(&[&all[..], &["--tune"]].concat());
    assert!(refusal.contains("--tune, --out and --against are for one device"), "{refusal}");
    if gpu().is_none() {
        return;
    }
    let lines = good(&[&all[..], &["--steps", "12,4,4,2", "--repeats", "1", "--json"]].concat());
    let devices: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()[0]["device"].as_str().unwrap().to_owned())
        .collect();
    assert!(devices.len() > 1 && devices.last().unwrap().starts_with("host"), "{devices:?}");

    // Shaders run on no host.
    let folder = tempfile::tempdir().unwrap();
    let [run, host] = ["run.json", "host.json"].map(|name| file(folder.path(), name));
    let shader = ["--ladder", "matmul", "--shape", "4,4,4", "--step", "tiled", "--rounds", "5", "--json", text(&run)];
    let out = bagrad(&[&all[..], &shader].concat());
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && stderr.contains("the host is left out: it runs no WGSL"), "{stderr}");
    let files: Vec<String> = super::names(folder.path());
    assert!(files.len() == devices.len() - 1 && files.iter().all(|f| f.starts_with("run-gpu")), "{files:?}");
    let first = file(folder.path(), &files[0]);
    good(&["bench", "compare", text(&first), text(&first)]);
    assert!(refused(&[&all[..], &shader].concat()).contains("--force replaces it"));

    // What cannot be opened is left out, and nothing is written of it.
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_bagrad"))
        .args([&all[..], &PRODUCT[1..], &["--rounds", "5", "--json", text(&host)]].concat())
        .env("BAGRAD_PLAN_AS", "nothing")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && stderr.contains("is left out: ") && stderr.contains("nothing"), "{stderr}");
    let written = super::names(folder.path());
    assert!(written.len() == files.len() + 1 && written.contains(&"host-host.json".to_owned()), "{written:?}");
}

#[test]
fn a_report_is_a_run_with_steps_beside_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let (run, page) = (file(folder.path(), "r.json"), file(folder.path(), "r.html"));
    let asked = ["bench", "--report", text(&run), "--quick", "--filter", "activate", "--repeats", "1"];
    let out = bagrad(&asked);
    let stderr = String::from_utf8_lossy(&out.stderr);
    // A machine that is too busy to measure a ceiling has it marked in the files.
    assert!(out.status.success() || stderr.contains("twice the work"), "{stderr}");
    let found: Value = serde_json::from_str(&fs::read_to_string(&run).unwrap()).unwrap();
    assert_eq!((&found["format"], &found["device"]["kind"]), (&"bagrad bench 1".into(), &"host".into()));
    let steps: Vec<&str> = found["steps"].as_array().unwrap().iter().map(|s| s["shape"].as_str().unwrap()).collect();
    assert!(steps.len() == 2 && steps[1].contains("clam-sb"), "{steps:?}");
    assert!(found["roofs"].as_array().unwrap().iter().any(|c| c["what"] == "copy"));
    let kernels = found["cases"].as_array().unwrap();
    assert!(kernels.iter().any(|c| c["kernel"] == "activate") && kernels.iter().any(|c| c["kernel"] == "matmul"));
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("Training steps") && !html.contains("NaN"));
    good(&["bench", "compare", text(&run), text(&run)]);

    assert!(refused(&asked).contains("--force replaces it"));
    let named = refused(&["bench", "--report", text(&page), "--quick"]);
    assert!(named.contains("name the JSON file"), "{named}");
}

const SHADER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/product.wgsl");
const WORDS: &str = "40u,56u,24u,24u,56u,56u,0u,0u,0f,24u,0u,1u";

#[test]
fn a_shader_from_outside_is_timed_and_held_against_a_twin() {
    let Some(device) = gpu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = file(folder.path(), "run.json");
    let asked = |more: &[&str]| -> Vec<String> {
        let own = ["bench", "--device", &device, "--shader", SHADER, "--repeats", "2", "--grid", "7,5"];
        let buffers = ["--buffer", "a=f32:960:random", "--buffer", "b=f32:1344:random", "--buffer", "c=f32:2240:zeros"];
        [&own[..], &buffers, &["--params", "sizes=40u,56u,24u"], more]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let with = |more: &[&str]| asked(more);
    fn all(args: &[String]) -> Vec<&str> {
        args.iter().map(String::as_str).collect()
    }
    let like = with(&["--entry", "product", "--like", "matmul", "--like-words", WORDS, "--flops", "107520", "--json"]);
    let found = json(&all(&like));
    assert_eq!((&found["workgroup"], &found["written"][0]["changed"]), (&serde_json::json!([8, 8, 1]), &2240.into()));
    let error = found["against"][0]["error"].as_f64().unwrap();
    assert!(error < 1e-5 && found["against"][0]["values"] == 2240, "{found}");
    assert!(found["median_us"].as_f64().unwrap() > 0.0 && found["gflops"].as_f64().unwrap() > 0.0);

    // Without the first of the inner sum it is another product, and the comparison knows.
    let off =
        with(&["--entry", "product", "--constant", "wrong=1", "--like", "matmul", "--like-words", WORDS, "--json"]);
    assert!(json(&all(&off))["against"][0]["error"].as_f64().unwrap() > 0.05);
    let idle = ["bench", "--device", &device, "--shader", SHADER, "--entry", "idle", "--grid", "1", "--repeats", "2"];
    let buffers = ["--buffer", "a=f32:960:random", "--buffer", "c=f32:2240:zeros", "--params", "sizes=4000u,1u,1u"];
    let idle = good(&[&idle[..], &buffers].concat());
    assert!(idle.contains("a launch changed 0 of 2240 values") && idle.contains("nothing was written"), "{idle}");

    // Its file is one like others.
    let kept = with(&["--entry", "product", "--rounds", "5", "--json", text(&run)]);
    good(&all(&kept));
    assert!(good(&["bench", "compare", text(&run), text(&run)]).contains("product product.wgsl 7x5x1"));
}

#[test]
fn ceilings_of_a_device_are_right() {
    let Some(device) = gpu() else { return };
    let found = json(&["bench", "--device", &device, "--ceilings", "--json"]);
    let found = found.as_array().unwrap();
    for what in
        ["read", "write", "copy", "f32 multiply-add", "integer multiply-add", "exponentials", "workgroup memory"]
    {
        assert!(found.iter().any(|c| c["what"] == what && c["best"].as_f64().unwrap() > 0.0), "{what}: {found:?}");
    }
    for what in ["launch after another", "submission to completion", "upload", "read back", "compile a pipeline"] {
        assert!(found.iter().any(|c| c["what"] == what && c["wrong"] == false), "{what}: {found:?}");
    }
}

#[test]
fn a_shader_that_does_not_fit_is_refused_with_what_it_wants() {
    let Some(device) = gpu() else { return };
    let refuse =
        |more: &[&str]| refused(&[&["bench", "--device", &device, "--shader", SHADER, "--grid", "7,5"], more].concat());
    let entry = ["--entry", "product"];
    let a = ["--buffer", "a=f32:960:random"];
    let b = ["--buffer", "b=f32:1344:random"];
    let c = ["--buffer", "c=f32:2240:zeros"];
    let sizes = ["--params", "sizes=40u,56u,24u"];
    let message = refuse(&[]);
    assert!(message.contains("name one entry point with --entry: product, idle"), "{message}");
    let message = refuse(&["--entry", "none"]);
    assert!(message.contains("there is no @compute entry point \"none\"; there is product, idle"), "{message}");
    let message = refuse(&[&entry[..], &a, &b, &c].concat());
    assert!(message.contains("\"sizes\" (@group(1) @binding(0), uniform, u32, at least 12 bytes)"), "{message}");
    assert!(message.contains("give --params sizes=1u,1u,1u"), "{message}");
    let message = refuse(&[&entry[..], &a, &b, &sizes].concat());
    assert!(message.contains("give --buffer c=f32:COUNT:random"), "{message}");
    let message = refuse(&[&entry[..], &a, &b, &c, &["--params", "sizes=40u,56u"]].concat());
    assert!(message.contains("has 2 numbers; the shader wants 3: m: u32, n: u32, k: u32"), "{message}");
    let message = refuse(&[&entry[..], &a, &b, &c, &["--params", "sizes=40u,56u,24i"]].concat());
    assert!(message.contains("24 is i32 where the shader has u32"), "{message}");
    let message = refuse(&[&entry[..], &["--buffer", "a=u32:960:index"], &b, &c, &sizes].concat());
    assert!(message.contains("--buffer a holds u32, but \"a\"") && message.contains("holds f32"), "{message}");
    let message = refuse(&[&entry[..], &a, &b, &c, &sizes, &["--buffer", "d=f32:4:zeros"]].concat());
    assert!(message.contains("product uses no such variable; it uses: a, b, c, sizes"), "{message}");
    let message = refuse(&[&entry[..], &a, &b, &c, &sizes, &["--like", "row_sum"]].concat());
    assert!(message.contains("--like row_sum: its bindings in group 0 are [0: f32 or f16, read; 1: f32"), "{message}");
    let message = refuse(&[&entry[..], &a, &b, &c, &sizes, &["--like", "matmul"]].concat());
    assert!(message.contains("its parameters are 12 words") && message.contains("--params has 3"), "{message}");
    let far = WORDS.replace("24u", "2400u");
    let message = refuse(&[&entry[..], &a, &b, &c, &sizes, &["--like", "matmul", "--like-words", &far]].concat());
    assert!(message.contains("outside of the buffers"), "{message}");
    let message = refuse(&[&entry[..], &a, &b, &c, &sizes, &["--constant", "right=1"]].concat());
    assert!(message.contains("no such override; it has: wrong"), "{message}");
    let host = refused(&[&["bench", "--device", "host", "--shader", SHADER, "--grid", "1"], &entry[..]].concat());
    assert!(host.contains("runs no WGSL"), "{host}");
}
