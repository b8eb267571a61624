//! `bagrad bench --ladder`: every step's result at sizes that fill no tile, files of a ladder, and refusals.

use super::bench::gpu;
use super::{bagrad, good, json, refused, text};
use serde_json::Value;

fn rows(ladder: &str, shape: &str, more: &[&str]) -> Option<Vec<Value>> {
    let device = gpu()?;
    let asked = ["bench", "--device", &device, "--ladder", ladder, "--shape", shape, "--repeats", "1", "--json"];
    Some(json(&[&asked[..], more].concat()).as_array().unwrap().clone())
}

fn steps(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|r| r["step"].as_str().unwrap()).collect()
}

/// Steps run over NaN in all that they write, so what is left unwritten is no small error.
fn all_right(ladder: &str, shapes: &[&str], names: &[&str]) {
    for shape in shapes {
        let Some(rows) = rows(ladder, shape, &[]) else { return };
        assert_eq!(steps(&rows), names);
        let absent = |row: &&Value| row["remark"] == "the device has no operations of subgroups";
        assert!(!rows.iter().any(|r| absent(&r) && r["device"].as_str().unwrap().contains("llvmpipe")));
        for row in rows.iter().filter(|r| r["step"] != "engine-mixed" && !absent(r)) {
            assert!(row["error"].as_f64().is_some_and(|e| e < 1e-5) && row["wrong"] == false, "{shape}: {row}");
            assert!(row["median_us"].as_f64().is_some_and(|us| us > 0.0), "{shape}: {row}");
        }
    }
}

#[test]
fn steps_of_a_product_are_right_at_any_size() {
    let names = ["plain", "tiled", "registers", "vectors", "wide", "engine", "engine-mixed"];
    all_right("matmul", &["1,1,1", "3,5,2", "17,31,67", "129,33,130"], &names);
}

#[test]
fn steps_of_attention_are_right_at_any_size() {
    let names = ["plain", "online", "blocks", "engine"];
    all_right("self-attention", &["1,1", "3,2", "67,17", "65,128"], &names);
}

#[test]
fn steps_of_a_pool_are_right_at_any_size() {
    let names = ["separate", "joined", "online", "fused", "subgroups", "engine"];
    all_right("gated-attention", &["1,1,1", "3,2,5", "67,17,37", "131,70,33"], &names);
}

#[test]
fn a_ladder_is_kept_as_other_runs_are() {
    let Some(device) = gpu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (run, csv) = (folder.path().join("run.json"), folder.path().join("run.csv"));
    let asked = ["bench", "--device", &device, "--ladder", "matmul", "--shape", "20,20,20", "--step", "tiled"];
    let kept = ["--step", "plain", "--rounds", "3", "--json", text(&run), "--csv", text(&csv)];
    let table = good(&[&asked[..], &kept].concat());
    // In the order of the ladder, each with its gain over the one before.
    assert!(table.find("plain").unwrap() < table.find("tiled").unwrap() && table.matches('x').count() == 1, "{table}");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(&run).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.iter().all(|c| c["kernel"] == "ladder matmul" && c["flops"] == 16000), "{file}");
    assert_eq!(std::fs::read_to_string(&csv).unwrap().lines().count(), 1 + 2 * 3 * 4);
    assert!(good(&["bench", "compare", text(&run), text(&run)]).contains("ladder matmul tiled 20x20x20"));
}

#[test]
fn a_step_that_is_wrong_fails_and_one_without_room_is_left_out() {
    let Some(device) = gpu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.json");
    let asked = ["bench", "--device", &device, "--repeats", "1", "--rounds", "1", "--ladder"];
    let long = ["matmul", "--shape", "1,70000,1", "--step", "plain", "--json", text(&file)];
    let out = bagrad(&[&asked[..], &long].concat());
    let stderr = String::from_utf8_lossy(&out.stderr);
    // llvmpipe ends a loop after 65,535 rounds.
    if stderr.contains("llvmpipe") {
        assert_eq!(out.status.code(), Some(1), "{stderr}");
        assert!(
            String::from_utf8_lossy(&out.stdout).contains("wrong") && stderr.contains("plain: an error of"),
            "{stderr}"
        );
        assert!(!file.exists());
    }
    let wide = refused(&[&asked[..], &["self-attention", "--shape", "1000000,1", "--step", "plain"]].concat());
    assert!(wide.contains("no step ran") && wide.contains("buffer \"energies\""), "{wide}");
}

#[test]
fn a_ladder_that_there_is_none_of_is_refused() {
    let on_host = ["bench", "--device", "host", "--ladder"];
    let refuse = |more: &[&str]| refused(&[&on_host[..], more].concat());
    assert!(refuse(&["matmul"]).contains("runs no WGSL; name a GPU with --device"));
    assert!(refuse(&["matmul", "--shape", "3,5"]).contains("the ladder matmul takes M,K,N, each from 1 to 1000000"));
    assert!(refuse(&["self-attention", "--shape", "9,500"]).contains("D to 128"));
    let unknown = bagrad(&["bench", "--ladder", "product"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("matmul, self-attention, gated-attention"));
    let Some(device) = gpu() else { return };
    let step = refused(&["bench", "--device", &device, "--ladder", "matmul", "--shape", "2,2,2", "--step", "quick"]);
    assert!(step.contains("the ladder matmul has no \"quick\"; it has: plain, tiled"), "{step}");
}
