//! `bagrad import`: what it prints and writes, and what it leaves alone.

use super::{good, json, refused, text};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/fixtures").join(name)
}

#[test]
fn weights_become_a_model_that_predicts() {
    let dir = tempfile::tempdir().unwrap();
    let [out, bags] = ["models/clam.safetensors", "bags"].map(|name| dir.path().join(name));
    let weights = fixture("clam-sb.pt");
    let terms = ["--licence", "CC BY-NC-ND 4.0"];
    let args = ["import", text(&weights), "--classes", "normal,tumour", "--out", text(&out)];
    let said = good(&[&args[..], &terms].concat());
    for part in ["recognised  CLAM (CLAM_SB, CLAM_MB)", "method      clam-sb", "classes     normal, tumour"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("attention_net.3.attention_c.weight") && said.contains("attention.w.weight"), "{said}");
    assert!(said.contains("of the two classes the second, tumour, is taken for the positive one"), "{said}");
    // The model says the same, and predicts.
    let shown = good(&["show", text(&out)]);
    assert!(
        shown.contains("imported from clam-sb.pt, weights of CLAM") && shown.contains("CC BY-NC-ND 4.0"),
        "{shown}"
    );
    assert!(json(&["show", text(&out), "--json"])["remarks"].as_array().unwrap().len() > 3);
    fs::create_dir(&bags).unwrap();
    super::floats(&bags.join("features.npy"), 9, &(0..54).map(|v| (v as f32).sin()).collect::<Vec<_>>());
    super::integers(&bags.join("bag_ids.npy"), &[0, 0, 0, 1, 1, 1]);
    let table = good(&["predict", "--model", text(&out), "--data", text(&bags), "--quiet"]);
    assert!(table.starts_with("bag,") && table.contains("tumour") && table.lines().count() == 3, "{table}");
    // Without --out nothing is written.
    let names = || fs::read_dir(dir.path()).unwrap().count();
    let before = names();
    assert!(good(&["import", text(&weights)]).contains("called by their numbers"));
    assert_eq!(names(), before);
    let told = json(&["import", text(&fixture("dsmil-h-multi.safetensors")), "--multi-label", "--json"]);
    assert_eq!((&told["method"], &told["variant"], &told["out"]), (&json!("dsmil"), &json!("h"), &Value::Null));
    assert_eq!(told["tensors"][0]["key"], "module.i_classifier.fc.0.weight");
    let set = ["--set", "legacy_shift=true", "--json"];
    let told = json(&[&["import", text(&fixture("transmil.pt"))][..], &set].concat());
    assert_eq!(told["legacy_shift"], json!(true));
    // Survival in intervals of time.
    let survival = dir.path().join("models/survival.safetensors");
    let porpoise = fixture("porpoise.safetensors");
    let args = ["import", text(&porpoise), "--edges", "11.5,22.75,47", "--out", text(&survival)];
    let said = good(&args);
    assert!(said.contains("intervals   4 of time, which meet at 11.5, 22.75, 47"), "{said}");
    let table = good(&["predict", "--model", text(&survival), "--data", text(&bags), "--quiet"]);
    assert!(table.lines().next().unwrap().contains("survival(11.5)") && table.lines().count() == 3, "{table}");
    assert!(refused(&["import", text(&porpoise)]).contains("--edges TIME,.."));
}

#[test]
fn nothing_is_overwritten_and_refusals_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let [out, mine, copy] = ["out.safetensors", "notes.txt", "copy.safetensors"].map(|name| dir.path().join(name));
    let weights = fixture("clam-mb.safetensors");
    good(&["import", text(&weights), "--out", text(&out), "--quiet"]);
    let whole = fs::read(&out).unwrap();
    let import = |weights: &Path, out: &Path, force: bool| {
        let force: &[&str] = if force { &["--force"] } else { &[] };
        refused(&[&["import", text(weights), "--out", text(out), "--quiet"][..], force].concat())
    };
    assert!(import(&weights, &out, false).contains("exists already; --force replaces it"));
    fs::write(&mine, "mine").unwrap();
    assert!(import(&weights, &mine, true).contains("no model that bagrad wrote"));
    // Weights are not replaced by their model.
    fs::copy(&weights, &copy).unwrap();
    assert!(import(&copy, &copy, true).contains("this call reads"));
    // What is not recognised leaves what was there.
    fs::write(&copy, b"nothing").unwrap();
    assert!(import(&copy, &out, true).contains("begins as neither of them"));
    assert_eq!(fs::read(&out).unwrap(), whole);
    let other = refused(&["import", text(&out)]);
    assert!(other.contains("it is a model of bagrad already"), "{other}");
    good(&["import", text(&fixture("mil-lab.safetensors")), "--out", text(&out), "--force", "--quiet"]);
    assert_ne!(fs::read(&out).unwrap(), whole);
    assert_eq!(super::names(dir.path()), ["copy.safetensors", "notes.txt", "out.safetensors"]);
}

#[test]
fn a_model_becomes_a_state_dict_and_a_model_again() {
    let dir = tempfile::tempdir().unwrap();
    let [model, out, back] = ["model", "weights", "back"].map(|name| dir.path().join(format!("{name}.safetensors")));
    let weights = fixture("clam-sb.pt");
    good(&["import", text(&weights), "--classes", "normal,tumour", "--set", "k=3", "--out", text(&model), "--quiet"]);
    let export = ["export", text(&model), "--format", "state-dict", "--out", text(&out)];
    let said = good(&export);
    assert!(said.contains("keys of CLAM (CLAM_SB, CLAM_MB)"), "{said}");
    assert!(said.contains("CLAM_SB(gate=True, n_classes=2, embed_dim=9)"), "{said}");
    assert!(said.contains("attention_net.3.attention_c.weight") && said.contains("an entry [9, 6, 5]"), "{said}");
    let told = json(&["import", text(&out), "--out", text(&back), "--json"]);
    assert_eq!((&told["classes"], &told["k"]), (&json!(["normal", "tumour"]), &json!(3)));
    // All but what is said of where it is from.
    let tensors = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut all: Vec<_> = file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect();
        all.sort();
        all
    };
    assert_eq!(tensors(&back), tensors(&model));
    // Nothing is overwritten, and only what is one.
    assert!(refused(&export).contains("exists already; --force replaces it"));
    good(&[&export[..], &["--force"]].concat());
    let over = refused(&["export", text(&back), "--format", "state-dict", "--out", text(&model), "--force"]);
    assert!(over.contains("no state dict that bagrad wrote"), "{over}");
    let told = json(&[&export[..], &["--force", "--json"]].concat());
    assert_eq!((&told["format"], &told["tensors"][0]["key"]), (&json!("state-dict"), &json!("attention_net.0.weight")));
    let run = dir.path().join("run");
    let data = super::folder(dir.path(), "bags");
    let train = ["train", "--data", text(&data), "--epochs", "1", "--out", text(&run), "--quiet"];
    good(&[&train[..], &["--method", "mi-net"]].concat());
    let none = dir.path().join("none.safetensors");
    let message = refused(&["export", text(&run), "--format", "state-dict", "--out", text(&none)]);
    assert!(message.contains("mi-net has no layout of another program") && !none.exists(), "{message}");
}
