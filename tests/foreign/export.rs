//! Models as state dicts: the keys and values of the programs, and the way back without loss.

use super::{Case, cases, imported, tensors};
use bagrad::foreign::{Asked, export, import};
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::session::Session;
use bagrad::standardise::Standardiser;
use bagrad::tape::Storage;
use bagrad::target::{Hazards, Number, NumberLoss};
use bagrad::{Bags, Device, Features, Target};
use serde_json::{Map, Value, json};
use std::path::Path;

/// A model with random parameters and names of classes.
fn model(method: &str, settings: Value, width: usize, classes: usize) -> Model {
    let settings: Map<String, Value> = settings.as_object().unwrap().clone();
    let method = Method::named(method).unwrap().with(&settings).unwrap();
    let mut spec = Spec::new(method, width, classes);
    spec.classes = (0..classes).map(|class| format!("class {class}")).collect();
    Model::new(spec, 7).unwrap()
}

/// One model for each form that there are keys for.
fn all() -> Vec<Model> {
    let small = |more: Value| {
        let mut settings = json!({ "embed": [6], "attention": 5 });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    };
    let labels = |model: Model| {
        let spec = Spec { target: Target::LabelSets, ..model.spec().clone() };
        Model::new(spec, 8).unwrap()
    };
    let survival = |model: Model| {
        let target = Target::Hazards(Hazards { edges: vec![0.5, 1.25, 9.0], alpha: 0.0 });
        Model::new(Spec { target, classes: Vec::new(), ..model.spec().clone() }, 9).unwrap()
    };
    let dsmil = |settings: Value, classes| model("dsmil", settings, 8, classes);
    vec![
        model("clam-sb", small(json!({ "k": 3, "subtyping": true })), 9, 2),
        model("clam-sb", small(json!({ "gated": false, "dropout": 0.0 })), 9, 3),
        model("clam-mb", small(json!({ "inst_loss": "svm" })), 9, 3),
        model("clam-mb", small(json!({ "gated": false, "cluster": false })), 9, 2),
        dsmil(json!({ "query": 5 }), 2),
        dsmil(json!({ "variant": "h", "query": 5, "answer": "bag" }), 3),
        dsmil(json!({ "variant": "h", "query": 5, "value_layer": true, "negative": true }), 4),
        dsmil(json!({ "variant": "l", "query": 5 }), 2),
        dsmil(json!({ "variant": "l", "query": 5, "value_layer": true }), 2),
        labels(dsmil(json!({ "query": 5 }), 2)),
        labels(dsmil(json!({ "variant": "h", "query": 5 }), 3)),
        model("transmil", json!({ "width": 8, "heads": 2, "landmarks": 4, "residual": 5 }), 7, 2),
        model("transmil", json!({ "width": 8, "heads": 4, "landmarks": 3, "legacy_shift": true }), 7, 3),
        model("gated-attention", small(json!({ "heads": 2 })), 9, 2),
        model("attention", json!({ "embed": [6, 6], "attention": 5 }), 9, 3),
        model("gated-attention", json!({ "embedder": "lenet", "image": [16, 16, 1], "attention": 4 }), 256, 2),
        model("attention", json!({ "embedder": "lenet", "image": [20, 20, 2], "attention": 4 }), 800, 2),
        dsmil(json!({ "variant": "lin", "query": 5, "answer": "bag" }), 3),
        model("clam-sb", json!({ "embed": [6, 6], "attention": 5, "gated": false }), 9, 3),
        model("mi-net", json!({ "embed": [6] }), 9, 2),
        survival(model("gated-attention", small(json!({})), 9, 2)),
        model("dtfd", json!({ "reduce": 6, "attention": 5, "distil": "max-s", "pseudo_bags": 3 }), 9, 2),
        model("dtfd", json!({ "reduce": 6, "attention": 5 }), 9, 3),
        model("transformer", json!({ "width": 8, "heads": 2, "attention": 5, "layers": 2 }), 8, 2),
        model("transformer", json!({ "width": 8, "heads": 4, "attention": 5, "gated": true, "mlp": false }), 6, 3),
    ]
}

fn parameters(model: &Model) -> Vec<(&str, Vec<u32>)> {
    let bits = |name: &str| model.parameter(name).unwrap().iter().map(|v| v.to_bits()).collect();
    model.parameters().iter().map(|info| (&info.name[..], bits(&info.name))).collect()
}

#[test]
fn models_come_back_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    for model in all() {
        let exported = export(&model).unwrap();
        std::fs::write(&path, &exported.bytes).unwrap();
        let back = import(&path, &Asked::default()).unwrap();
        let name = format!("{:?}", model.spec());
        assert_eq!(back.model.spec(), model.spec());
        assert_eq!(parameters(&back.model), parameters(&model), "{name}");
        assert_eq!(back.origin, exported.origin, "{name}");
        assert!(exported.written.iter().zip(&back.read).all(|(to, from)| to.key == from.key), "{name}");
        // The same model, the same bytes.
        assert_eq!(export(&model).unwrap().bytes, exported.bytes, "{name}");
    }
}

/// Keys, shapes and values of the file that was imported, but for what has no effect.
#[test]
fn what_was_imported_goes_back_into_the_same_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut compared = 0;
    for Case { name, asked, one_logit, .. } in cases() {
        // Those without dropout get the numbers of those with it.
        if !name.ends_with("safetensors") || name.contains("no-dropout") {
            continue;
        }
        let exported = export(&imported(name, &asked).model).unwrap();
        std::fs::write(&path, &exported.bytes).unwrap();
        let (found, wanted) = (tensors(&path), tensors(&super::fixture(name)));
        let plain =
            |key: &str| ["module.", "model."].iter().find_map(|p| key.strip_prefix(p)).unwrap_or(key).to_owned();
        let wanted: std::collections::BTreeMap<_, _> = wanted
            .into_iter()
            .map(|(key, tensor)| (plain(&key).replace("attention_net.module.", "attention_net."), tensor))
            .collect();
        assert!(found.keys().eq(wanted.keys()), "{name}: {:?} and {:?}", found.keys(), wanted.keys());
        for (key, (shape, values)) in &wanted {
            let head = key.starts_with("classifier.") || key.starts_with("_fc2.");
            assert_eq!(&found[key].0, shape, "{name}: {key}");
            // Of two rows that softmax sees the difference is kept.
            if !(one_logit && head) {
                assert_eq!(&found[key].1, values, "{name}: {key}");
                compared += 1;
            }
        }
    }
    assert!(compared > 80, "only {compared} tensors");
}

/// The state dict of a standardised model says of features as they are what the model says.
#[test]
fn a_standardisation_becomes_part_of_the_layers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut folded = 0;
    for mut model in all() {
        let width = model.spec().width;
        let mean: Vec<f32> = (0..width).map(|c| (c as f32).cos() * 3.0).collect();
        let std: Vec<f32> = (0..width).map(|c| 0.3 + c as f32 / width as f32).collect();
        let standardiser = Standardiser { mean, std };
        model.standardisation = Some(standardiser.clone());
        let name = format!("{:?}", model.spec());
        let lenet = model.spec().method.settings().get("embedder").is_some_and(|embedder| embedder == "lenet");
        if lenet || ["dtfd", "transformer"].contains(&model.spec().method.name()) {
            let message = export(&model).map(|e| e.origin).unwrap_err().to_string();
            assert!(message.contains("its features are standardised, which its layers cannot take in"), "{message}");
            continue;
        }
        let exported = export(&model).unwrap();
        assert!(exported.remarks.iter().any(|r| r.contains("the standardisation became part of ")), "{name}");
        std::fs::write(&path, &exported.bytes).unwrap();
        let back = import(&path, &Asked::default()).unwrap().model;
        assert!(back.standardisation.is_none());
        let rows = (0..13 * width).map(|i| ((i * i) as f32 * 0.7).sin() * 2.0 + standardiser.mean[i % width]);
        let raw = Bags::packed(Features::F32(rows.collect()), width, &[5, 1, 7]).unwrap();
        let mut standardised = raw.clone();
        standardiser.apply(&mut standardised).unwrap();
        let logits = |model: Model, bags: &Bags| {
            let mut session = Session::new(&Device::oracle(), model, Storage::F32).unwrap();
            let outputs = session.outputs(bags, &[0, 1, 2], None).unwrap();
            outputs["bag_logits"].iter().map(|&v| f64::from(v)).collect::<Vec<f64>>()
        };
        let off = super::error(&logits(back, &raw), &logits(model, &standardised));
        assert!(off < 1e-5, "{name}: {off:.2e}");
        folded += 1;
    }
    assert!(folded > 12);
}

#[test]
fn models_without_keys_are_refused_with_the_reason() {
    let refused = |model: Model| export(&model).map(|exported| exported.origin).unwrap_err().to_string();
    let none = refused(model("mi-net", json!({ "embed": [4], "pool": "mean" }), 5, 2));
    assert!(none.contains("mi-net has no layout of another program") && none.contains("load_file"), "{none}");
    let layers = refused(model("clam-sb", json!({ "embed": [6, 5], "attention": 4 }), 5, 2));
    assert!(layers.contains("there are 2 layers in front of the attention; CLAM has one"), "{layers}");
    let plain = refused(model("dtfd", json!({ "reduce": 6, "gated": false }), 5, 2));
    assert!(plain.contains("its attention has no gate"), "{plain}");
    let front = refused(model("dsmil", json!({ "embed": [6] }), 5, 2));
    assert!(front.contains("there are 1 layers in front; MILNet has none"), "{front}");
    let widths = refused(model("attention", json!({ "embed": [6, 5] }), 5, 2));
    assert!(widths.contains("its layers in front are [6, 5]; ABMIL has at least one, all of one width"), "{widths}");
    let small = refused(model("attention", json!({ "embedder": "lenet-small", "image": [16, 16, 1] }), 256, 2));
    assert!(small.contains("other ones than those of lenet-small"), "{small}");
    let three = refused(model("attention", json!({ "embedder": "lenet", "image": [16, 16, 1] }), 256, 3));
    assert!(three.contains("this model 1 heads, 3 classes"), "{three}");
    let number = Target::Number(Number { loss: NumberLoss::Squared, center: 0.0, scale: 1.0 });
    for method in ["gated-attention", "transmil", "dsmil"] {
        let spec = model(method, json!({}), 5, 2).spec().clone();
        let spec = Spec { target: number.clone(), classes: Vec::new(), ..spec };
        let message = refused(Model::new(spec, 1).unwrap());
        assert!(message.contains("its bags have a number each"), "{message}");
    }
}

#[test]
fn what_a_file_says_of_itself_has_to_fit_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let bytes = export(&all().remove(0)).unwrap().bytes;
    let changed = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut bytes = bytes.clone();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        import(Path::new(&path), &Asked::default()).map(|found| found.origin).unwrap_err().to_string()
    };
    let other = changed("clam-sb", "clam-mb");
    assert!(other.contains("its metadata tell of clam-mb, its keys of clam-sb"), "{other}");
    let unknown = changed("subtyping", "subTyping");
    assert!(unknown.contains("clam-sb has no such setting"), "{unknown}");
    let broken = changed("{\\\"method\\\"", "[\\\"method\\\"");
    assert!(broken.contains("metadata \"bagrad-state-dict\""), "{broken}");
}
