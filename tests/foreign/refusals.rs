//! Weights that are not what they seem: an error that names the key, and what would be recognised.

use super::{GATED, LENET, by_formula, fixture, named, save};
use bagrad::data::weights::Weights;
use bagrad::foreign::{Asked, import};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The weights of a fixture, as a file of ours.
fn weights(name: &str) -> Tensors {
    let read = Weights::open(fixture(name)).unwrap();
    read.tensors.into_iter().filter_map(|t| Some((t.name, (t.shape, t.values?)))).collect()
}

/// What a caller has to say of TransMIL, and nothing else.
fn asked(name: &str) -> Asked {
    let mut asked = Asked::default();
    if name.contains("transmil") {
        asked.settings.insert("legacy_shift".into(), json!(false));
    }
    asked
}

/// The error of a fixture with something changed.
fn refused(name: &str, change: impl Fn(&mut Tensors)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut all = weights(name);
    change(&mut all);
    save(&path, &all);
    import(&path, &asked(name)).map(|found| found.origin).unwrap_err().to_string()
}

fn rename(all: &mut Tensors, from: &str, to: &str) {
    let tensor = all.remove(from).unwrap();
    all.insert(to.to_owned(), tensor);
}

#[test]
fn a_key_that_is_missing_renamed_or_too_much_is_named() {
    for (name, key) in [
        ("clam-sb.pt", "classifiers.bias"),
        ("clam-mb.safetensors", "attention_net.3.attention_b.0.weight"),
        ("dsmil-h.pt", "b_classifier.fcc.bias"),
        ("transmil-multi.safetensors", "layer2.attn.res_conv.weight"),
        ("mil-lab-plain.pt", "global_attn.module.3.bias"),
    ] {
        let missing = refused(name, |all| drop(all.remove(key)));
        assert!(missing.contains(&format!("{key} is missing")), "{name}: {missing}");
        assert!(missing.contains("the keys are: "), "{name}: {missing}");
        let renamed = refused(name, |all| rename(all, key, &format!("{key}_old")));
        assert!(renamed.contains(&format!("{key} is missing")), "{name}: {renamed}");
        assert!(renamed.contains(&format!("{key}_old belongs to no part of it")), "{name}: {renamed}");
        let more = refused(name, |all| drop(all.insert("classifiers_norm.weight".into(), (vec![2], vec![1.0; 2]))));
        assert!(more.contains("classifiers_norm.weight belongs to no part of it"), "{name}: {more}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let turned = |key: &'static str| {
        move |all: &mut Tensors| {
            let shape = &mut all.get_mut(key).unwrap().0;
            shape.reverse();
        }
    };
    let clam = refused("clam-sb.pt", turned("attention_net.3.attention_b.0.weight"));
    assert!(clam.contains("attention_net.3.attention_b.0.weight: expected [5, 6], found [6, 5]"), "{clam}");
    let first = refused("clam-sb.pt", turned("attention_net.0.weight"));
    assert!(first.contains("attention_net.0.bias: expected [9], found [6]"), "{first}");
    let qkv = refused("transmil-multi.safetensors", turned("layer1.attn.to_qkv.weight"));
    assert!(qkv.contains("layer1.attn.to_qkv.weight: expected [36, 12], found [12, 36]"), "{qkv}");
    let fcc = refused("dsmil-h-multi.safetensors", turned("module.b_classifier.fcc.weight"));
    assert!(fcc.contains("b_classifier.fcc.weight: expected [3, 3, 8], found [8, 3, 3]"), "{fcc}");
    let flat = refused("clam-sb.pt", |all| all.get_mut("classifiers.weight").unwrap().0 = vec![12]);
    assert!(flat.contains("classifiers.weight: expected [outputs, inputs], found [12]"), "{flat}");
    // Two branches of attention belong to CLAM_MB, whose classifiers are others.
    let mixed = refused("clam-sb.pt", |all| {
        all.insert("attention_net.3.attention_c.weight".into(), (vec![2, 5], vec![0.0; 10]));
        all.insert("attention_net.3.attention_c.bias".into(), (vec![2], vec![0.0; 2]));
    });
    assert!(
        mixed.contains("2 classes and 2 branches of attention; expected at least 2, and CLAM_SB has one"),
        "{mixed}"
    );
    let nan = refused("clam-sb.pt", |all| all.get_mut("classifiers.bias").unwrap().1[1] = f32::NAN);
    assert!(nan.contains("classifiers.bias: ") && nan.contains("value 1 is NaN"), "{nan}");
}

#[test]
fn what_no_method_computes_is_refused_with_the_reason() {
    let layer = |all: &mut Tensors, name: &str, [outputs, inputs]: [usize; 2]| {
        all.insert(format!("{name}.weight"), (vec![outputs, inputs], vec![0.1; outputs * inputs]));
        all.insert(format!("{name}.bias"), (vec![outputs], vec![0.1; outputs]));
    };
    let surest = refused("clam-mil.safetensors", |all| {
        all.retain(|key, _| !key.starts_with("classifier."));
        (0..3).for_each(|class| layer(all, &format!("classifiers.{class}"), [1, 6]));
    });
    assert!(surest.contains("MIL_fc_mc") && surest.contains("no method here computes that"), "{surest}");
    let rho = refused("porpoise.safetensors", |all| layer(all, "rho.0", [6, 6]));
    assert!(rho.contains("rho, a layer with ReLU between the attention and the classifier"), "{rho}");
    let omic = refused("porpoise.safetensors", |all| {
        layer(all, "fc_omic.0.0", [6, 6]);
        layer(all, "classifier_mm", [4, 6]);
    });
    assert!(omic.contains("fc_omic, a network of molecular features; classifier_mm, "), "{omic}");
    let residual = refused("dtfd-multi.safetensors", |all| layer(all, "dim_reduction.resBlocks.0.block.0", [6, 6]));
    assert!(residual.contains("residual layers behind the first one"), "{residual}");
    let deep = refused("mil-lab-transmil.pt", |all| layer(all, "model.blocks.2.norm", [8, 1]));
    assert!(deep.contains("there are layers [0, 1, 2] of blocks, and transmil has [0, 1]"), "{deep}");
    // A layer norm between the layer and the attention.
    let norm = refused("clam-sb.pt", |all| drop(all.insert("attention_net.1.weight".into(), (vec![6], vec![1.0; 6]))));
    assert!(norm.contains("nothing else with weights behind attention_net.0; found parts [1, 3]"), "{norm}");
    let norm = refused("mil-lab-plain.pt", |all| layer(all, "patch_embed.1", [6, 6]));
    assert!(norm.contains("expected the layers of patch_embed at 0, 3, 6"), "{norm}");
    let bare = refused("mil-lab-plain.pt", |all| all.retain(|key, _| !key.starts_with("classifier")));
    assert!(bare.contains("make features of slides and classify nothing"), "{bare}");
    let one = refused("mil-lab-plain.pt", |all| layer(all, "classifier", [1, 6]));
    assert!(one.contains("classifier has one output") && one.contains("--classes NEGATIVE,POSITIVE"), "{one}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut ilse = by_formula(&[&LENET[..], &GATED[..]].concat());
    layer(&mut ilse, "attention_w", [2, 6]);
    save(&path, &ilse);
    let branches = import(&path, &Asked::default()).unwrap_err().to_string();
    assert!(branches.contains("2 branches of attention and 1 outputs"), "{branches}");
}

/// Relatives that no method computes are called by their names, with the keys that are in the way.
#[test]
fn architectures_that_are_known_and_not_computed_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let front = "patch_embed.0.weight";
    for (keys, title, why) in [
        (&[front, "b_classifier.q.weight", "b_classifier.norm.weight"][..], "MIL-Lab's DSMIL", "b_classifier.norm"),
        (&["patch_embed.fc1.0.weight", "attCls.classifier.fc.weight"], "MIL-Lab's DFTD", "without a softmax"),
        (&[front, "cls_token", "blocks.0.attention.in_proj_weight"], "MIL-Lab's Transformer", "cls_token"),
        (&["gab_blocks.0.latent", "pooling.S"], "MIL-Lab's ILRA", "gab_blocks"),
        (&[front, "W_head.weight", "W_tail.weight"], "MIL-Lab's WiKG", "a graph of heads and tails"),
        (&[front, "encoder.layer1.attn.qkv.weight", "encoder.pool_fn.attention.0.weight"], "RRT-MIL", "regions"),
        (&["phi.0.weight", "rho.0.weight", "classifier.weight"], "MIL_Sum_FC_surv", "rho"),
    ] {
        for prefix in ["", "model.", "module.model."] {
            let tensors = keys.iter().map(|key| (format!("{prefix}{key}"), (vec![2, 2], vec![0.5; 4])));
            save(&path, &tensors.collect());
            let message = import(&path, &Asked::default()).map(|found| found.origin).unwrap_err().to_string();
            assert!(message.contains(title) && message.contains(why), "{prefix}{title}: {message}");
            assert!(message.contains(&format!("{prefix}{} [2, 2]", keys[0])), "{message}");
        }
    }
}

#[test]
fn other_files_are_refused_with_what_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let error = |path: &Path| import(path, &Asked::default()).map(|found| found.origin).unwrap_err().to_string();
    let others = BTreeMap::from([("encoder.layer.0.weight".to_owned(), (vec![2, 2], vec![0.0; 4]))]);
    save(&path, &others);
    let unknown = error(&path);
    assert!(
        unknown.contains("no weights that are recognised")
            && unknown.contains("CLAM (CLAM_SB, CLAM_MB): attention_net.0, "),
        "{unknown}"
    );
    assert!(unknown.contains("Its keys are: encoder.layer.0.weight [2, 2]"), "{unknown}");
    // The list is bounded.
    save(&path, &(0..500).map(|i| (format!("layer.{i:03}.weight"), (vec![1], vec![0.0]))).collect());
    let many = error(&path);
    assert!(many.contains("layer.039.weight [1] and 460 more") && many.len() < 4000, "{many}");
    // Two architectures in one.
    let mut two = weights("clam-sb.pt");
    two.extend(weights("dsmil-h.pt"));
    save(&path, &two);
    assert!(error(&path).contains("those of several architectures"), "{}", error(&path));
    // Cut off, of either kind, at any place.
    for name in ["clam-sb.pt", "clam-mb-old.pt", "clam-mb.safetensors"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for length in [0, 1, 7, 40, whole.len() / 3, whole.len() / 2, whole.len() - 30] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let message = error(&path);
            assert!(message.contains("weights.safetensors: "), "{name} of {length} bytes: {message}");
        }
    }
    // Not weights at all.
    let slides = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/slides").join(name);
    let tensor = error(&slides("torch/tensor.pt"));
    assert!(tensor.contains("expected tensors by name (a state dict), found something else"), "{tensor}");
    let module = error(&slides("torch-bad/module.pt"));
    assert!(module.contains("torch.save(model.state_dict(), \"weights.pt\")"), "{module}");
    let features = error(&slides("torch/dict.pt"));
    assert!(features.contains("no weights that are recognised"), "{features}");
    let executed = std::env::current_dir().unwrap().join("EXECUTED");
    let malicious = error(&slides("torch-bad/malicious.pt"));
    assert!(!executed.exists() && malicious.contains("no weights that are recognised"), "{malicious}");
    // A model of ours is none of theirs.
    let model = import(fixture("clam-sb.pt"), &Asked::default()).unwrap().model;
    model.save(&path).unwrap();
    assert!(error(&path).contains("a model of bagrad already"), "{}", error(&path));
    std::fs::remove_file(&path).unwrap();
    assert!(error(&path).contains("No such file"), "{}", error(&path));
}

#[test]
fn classes_and_settings_have_to_fit() {
    let with =
        |name: &str, asked: &Asked| import(fixture(name), asked).map(|found| found.origin).unwrap_err().to_string();
    let three = with("clam-sb.pt", &named(&["a", "b", "c"]));
    assert!(three.contains("expected names of 2 classes, found 3: a, b, c"), "{three}");
    let twice = with("clam-sb.pt", &named(&["a", "a"]));
    assert!(twice.contains("\"a\" is given twice"), "{twice}");
    let set =
        |name: &str, value: Value| Asked { settings: Map::from_iter([(name.to_owned(), value)]), ..Asked::default() };
    let unknown = with("clam-sb.pt", &set("heads", json!(2)));
    assert!(unknown.contains("clam-sb has no such setting"), "{unknown}");
    let plain = with("clam-sb.pt", &set("gated", json!(false)));
    assert!(
        plain.contains("attention.u") && plain.contains("a setting asks for what is not in the weights"),
        "{plain}"
    );
    let wide = with("clam-sb.pt", &set("attention", json!(9)));
    assert!(wide.contains("the method wants 54 values there"), "{wide}");
    let mut few = set("landmarks", json!(2));
    few.settings.insert("legacy_shift".into(), json!(false));
    let landmarks = import(fixture("transmil.pt"), &few).unwrap();
    assert_eq!(landmarks.model.spec().method.settings()["landmarks"], json!(2));
    let several = with("dsmil-h.pt", &Asked { multi_label: true, ..Asked::default() });
    assert!(several.contains("several labels a bag need several"), "{several}");
}
