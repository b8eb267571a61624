//! `bagrad export`: what it writes, tells and refuses.

use super::{bagrad, folder, good, json, names, refused, text, train};
use bagrad::methods::encoder::Encoder;
use bagrad::model::{Model, Spec};
use bagrad::onnx::proto::{Message, ModelProto};
use std::fs;

#[test]
fn a_run_is_exported_whole_and_nothing_of_others_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run, out) = (folder(dir.path(), "bags"), dir.path().join("run"), dir.path().join("model.onnx"));
    fs::write(data.join("class_names.txt"), "well\nsick\n").unwrap();
    good(&train(text(&data), text(&run), &["--standardise"]));
    let export = ["export", text(&run), "--format", "onnx", "--out", text(&out)];
    let told = json(&[&export[..], &["--json"]].concat());
    assert_eq!((&told["format"], &told["metadata"]["method"]), (&"onnx".into(), &"gated-attention".into()));
    assert_eq!(told["inputs"], serde_json::json!(["features"]));
    let named: Vec<&str> = told["outputs"].as_array().unwrap().iter().map(|o| o["name"].as_str().unwrap()).collect();
    assert_eq!(named, ["bag_features", "logits", "probabilities", "scores", "attention"]);
    assert_eq!(told["outputs"][2]["columns"], serde_json::json!(["well", "sick"]));
    assert_eq!(told["metadata"]["memory"], "grows with the instances");
    assert_eq!((&told["metadata"]["standardised"], &told["metadata"]["width"]), (&"true".into(), &"4".into()));
    let bytes = fs::read(&out).unwrap();
    assert_eq!(told["bytes"], bytes.len());
    let file = ModelProto::decode(&bytes[..]).unwrap();
    assert_eq!(file.producer_name.as_deref(), Some("bagrad"));
    assert!(file.doc_string.unwrap().contains("well or sick"));

    // The same again is the same file; it is replaced when asked, and another's is not.
    assert!(refused(&export).contains("--force"));
    let said = good(&[&export[..], &["--force"]].concat());
    assert!(said.starts_with("gated-attention as a graph of ") && said.contains("features to bag_features"), "{said}");
    assert_eq!(fs::read(&out).unwrap(), bytes);
    fs::write(&out, "somebody's notes").unwrap();
    let message = refused(&[&export[..], &["--force"]].concat());
    assert!(message.contains("is no ONNX file that bagrad wrote"), "{message}");
    assert_eq!(fs::read(&out).unwrap(), b"somebody's notes");
    // Neither is the model itself, nor is a place that is none written to.
    let model = run.join("model.safetensors");
    let before = fs::read(&model).unwrap();
    refused(&["export", text(&model), "--format", "onnx", "--out", text(&model), "--force"]);
    assert_eq!(fs::read(&model).unwrap(), before);
    refused(&["export", text(&run), "--format", "onnx", "--out", "/dev/full"]);
}

#[test]
fn what_is_no_model_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("model.onnx");
    let notes = dir.path().join("notes.txt");
    fs::write(&notes, "no model").unwrap();
    for wrong in [&notes, &dir.path().join("missing")] {
        let message = refused(&["export", text(wrong), "--format", "onnx", "--out", text(&out)]);
        assert!(message.contains(text(wrong)), "{message}");
    }
    // An encoder says nothing of bags.
    let encoder = dir.path().join("encoder.safetensors");
    let spec = Spec::new(Encoder::default().into(), 3 * 32 * 32, 2);
    Model::new(spec, 1).unwrap().save(&encoder).unwrap();
    let message = refused(&["export", text(&encoder), "--format", "onnx", "--out", text(&out)]);
    assert!(message.contains("encoder of patches, which says nothing of bags"), "{message}");
    assert!(!names(dir.path()).iter().any(|name| name.contains("model.onnx")), "{:?}", names(dir.path()));
    assert_eq!(bagrad(&["export", text(&notes), "--format", "tin", "--out", text(&out)]).status.code(), Some(2));
}
